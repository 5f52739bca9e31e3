/* Lists read as they come, in pieces of any size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/util.h"
#include "bench/list_reader.h"
#include "bench/wire.h"

static int setup(void **state)
{
    struct buf *out = xcalloc(1, sizeof *out);

    buf_init(out, SIZE_MAX / 2);
    *state = out;
    return 0;
}

static int teardown(void **state)
{
    buf_release(*state);
    free(*state);
    return 0;
}

static struct key_space small_space(uint64_t count)
{
    struct key_space keys;

    assert_int_equal(key_space_init(&keys, NULL, 16, count, NULL), 0);
    return keys;
}

/* The list of all keys of the space from number from on. */
static struct slice list_of(struct buf *out, const struct key_space *keys, uint64_t from,
                            size_t value_size)
{
    uint8_t space[KEY_SPACE_MAX], *value = xcalloc(1, value_size + 1);

    buf_reset(out);
    for (uint64_t i = from; i < keys->count; i++) {
        size_t at = wire_open(out, 2);

        wire_bytes(out, 1, key_at(keys, i, space));
        wire_number(out, 2, 1000000 + i);
        wire_bytes(out, 5, slice_of(value, value_size));
        wire_close(out, at);
    }
    wire_number(out, 4, keys->count);
    free(value);
    return buf_slice(out);
}

static const char *read_in_steps(const struct key_space *keys, struct slice list, size_t step,
                                 bool wrapped)
{
    struct list_reader reader;

    list_reader_init(&reader, keys, wrapped);
    for (size_t at = 0; at < list.len; at += step) {
        size_t n = MIN(step, list.len - at);

        list_reader_feed(&reader, slice_of(list.data + at, n), at + n == list.len);
    }
    return list_reader_verdict(&reader);
}

static void a_list_may_come_in_any_pieces(void **state)
{
    static const size_t value_sizes[] = {0, 100, 700};
    struct key_space keys = small_space(50);

    for (size_t i = 0; i < ARRAY_LEN(value_sizes); i++) {
        struct slice list = list_of(*state, &keys, 0, value_sizes[i]);

        for (size_t step = 1; step <= list.len; step += step < 300 ? 1 : 1009)
            assert_null(read_in_steps(&keys, list, step, false));
        assert_null(read_in_steps(&keys, list, list.len, false));
    }
}

/* RangeStreamResponse{1: RangeResponse}, several of them. */
static void a_streamed_list_is_read_over_its_messages(void **state)
{
    struct key_space keys = small_space(30), part = keys;
    struct buf *inner = *state, out;
    struct list_reader reader;

    buf_init(&out, SIZE_MAX / 2);
    for (size_t step = 1; step < 500; step += 7) {
        list_reader_init(&reader, &keys, true);
        for (uint64_t from = 0; from < keys.count; from += 10) {
            struct slice list;

            part.count = from + 10;
            list = list_of(inner, &part, from, 200);
            buf_reset(&out);
            wire_bytes(&out, 1, list);
            for (size_t at = 0; at < out.len; at += step) {
                size_t n = MIN(step, out.len - at);

                list_reader_feed(&reader, slice_of(out.data + at, n), at + n == out.len);
            }
        }
        assert_null(list_reader_verdict(&reader));
    }
    buf_release(&out);
}

static void a_wrong_list_is_seen(void **state)
{
    struct key_space keys = small_space(20), more = small_space(21);
    struct buf *out = *state;
    struct slice list = list_of(out, &keys, 1, 10); /* the first key is missing */

    assert_string_equal(read_in_steps(&keys, list, 64, false),
                        "a list has other keys than it should");
    list = list_of(out, &keys, 0, 10);
    assert_string_equal(read_in_steps(&more, list, 64, false),
                        "a list has fewer keys than there are");
    assert_string_equal(read_in_steps(&keys, slice_of(list.data, list.len - 1), 64, false),
                        "a list that ends in the middle of a field");
    wire_number(out, 4, 19);
    assert_string_equal(read_in_steps(&keys, buf_slice(out), 64, false),
                        "the count of a list is not that of its keys");
    (void)list_of(out, &keys, 0, 10);
    wire_number(out, 3, 1);
    assert_string_equal(read_in_steps(&keys, buf_slice(out), 64, false),
                        "a list without a limit says that there is more");
    (void)list_of(out, &keys, 0, 10);
    out->data[0] = 0x0d; /* a field of a type that is not there */
    assert_string_equal(read_in_steps(&keys, buf_slice(out), 64, false),
                        "a list that is no protobuf");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_list_may_come_in_any_pieces),
        TEST(a_streamed_list_is_read_over_its_messages),
        TEST(a_wrong_list_is_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
