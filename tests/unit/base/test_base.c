/* What every other folder stands on: byte order, bounds, checksums, containers, files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/codec.h"
#include "base/crc32c.h"
#include "base/disk.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/idmap.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/prng.h"

static void every_error_has_name_and_text(void **state)
{
    (void)state;
#define X(code, text)                                                                              \
    assert_string_equal(err_name(code), #code);                                                    \
    assert_string_equal(err_text(code), text);
    KV_ERROR_MAP(X)
#undef X
    assert_null(err_name(0));
    assert_null(err_name(-1));
    assert_string_equal(err_text(7), "unknown error");
}

static void an_error_text_too_long_is_cut_and_ended(void **state)
{
    struct err err = ERR_INIT;
    char *text = xmalloc(2000);

    (void)state;
    memset(text, 'x', 1999);
    text[1999] = 0;
    assert_int_equal(err_set(&err, KV_EIO, "%s", text), KV_EIO);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    err_prefix(&err, "opening %s", "log");
    assert_int_equal(strncmp(err.text, "opening log: xxx", 16), 0);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_int_equal(err_set(NULL, KV_EIO, "nobody listens"), KV_EIO);
    free(text);
}

static void integers_have_the_byte_order_they_say(void **state)
{
    uint8_t b[8];

    (void)state;
    put_le16(b, 0x0102);
    assert_memory_equal(b, "\x02\x01", 2);
    put_le32(b, 0x01020304);
    assert_memory_equal(b, "\x04\x03\x02\x01", 4);
    put_be32(b, 0x01020304);
    assert_memory_equal(b, "\x01\x02\x03\x04", 4);
    assert_int_equal(get_be32(b), 0x01020304);
    put_le64(b, 0x0102030405060708);
    assert_memory_equal(b, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
    assert_true(get_le64(b) == 0x0102030405060708);
    put_be64(b, 0x0102030405060708);
    assert_true(get_be64(b) == 0x0102030405060708);
}

static void varints_round_trip_and_bad_ones_are_refused(void **state)
{
    static const uint64_t values[] = {0, 1, 127, 128, 300, UINT32_MAX, INT64_MAX, UINT64_MAX};
    uint8_t b[VARINT_SIZE_MAX];
    struct reader r;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        size_t len = put_varint(b, values[i]);

        assert_int_equal(len, varint_size(values[i]));
        r = reader_of(slice_of(b, len));
        assert_true(read_varint(&r) == values[i]);
        assert_false(r.bad);
        r = reader_of(slice_of(b, len - 1));
        assert_true(read_varint(&r) == 0);
        assert_true(r.bad);
    }
    memset(b, 0xff, sizeof b);
    r = reader_of(slice_of(b, sizeof b));
    (void)read_varint(&r);
    assert_true(r.bad);
}

static void a_varint_is_as_long_as_it_says_at_every_power_of_two(void **state)
{
    uint8_t b[VARINT_SIZE_MAX];

    (void)state;
    for (int bit = 0; bit < 64; bit++) {
        uint64_t v = UINT64_C(1) << bit;

        assert_int_equal(varint_size(v - 1), put_varint(b, v - 1));
        assert_int_equal(varint_size(v), put_varint(b, v));
        assert_int_equal(varint_size(v), (size_t)bit / 7 + 1);
    }
}

static void a_reader_past_the_end_turns_bad_and_stays_bad(void **state)
{
    struct reader r = reader_of(slice_of("abcde", 5));

    (void)state;
    assert_int_equal(read_le32(&r), 0x64636261);
    assert_true(read_le64(&r) == 0);
    assert_true(r.bad);
    assert_int_equal(read_u8(&r), 0);
    assert_int_equal(read_bytes(&r, 1).len, 0);
}

static void a_buffer_refuses_to_pass_its_maximum_and_keeps_its_content(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 10);
    assert_int_equal(buf_append(&buf, "12345678", 8), 0);
    assert_int_equal(buf_append(&buf, "abc", 3), KV_ETOOBIG);
    assert_int_equal(buf_append_le32(&buf, 1), KV_ETOOBIG);
    assert_int_equal(buf_reserve(&buf, SIZE_MAX), KV_ETOOBIG);
    assert_int_equal(buf_append(&buf, "ab", 2), 0);
    assert_memory_equal(buf.data, "12345678ab", 10);
    buf_consume(&buf, 8);
    assert_int_equal(buf.len, 2);
    assert_memory_equal(buf.data, "ab", 2);
    assert_int_equal(buf_printf(&buf, "%d", 42), 0);
    assert_memory_equal(buf.data, "ab42", 4);
    buf_release(&buf);
}

static void arena_pieces_are_aligned_apart_and_survive_growth(void **state)
{
    struct arena arena = ARENA_INIT;
    uint8_t *pieces[300];
    struct prng prng;

    (void)state;
    prng_seed(&prng, 1);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
            size_t size = prng_between(&prng, 1, i % 50 == 0 ? 10000 : 60);

            pieces[i] = arena_alloc(&arena, size);
            assert_int_equal((uintptr_t)pieces[i] % 16, 0);
            memset(pieces[i], (int)i, size);
        }
        for (size_t i = 0; i < ARRAY_LEN(pieces); i++)
            assert_int_equal(*pieces[i], (uint8_t)i);
        arena_reset(&arena);
        assert_int_equal(arena.used, 0);
    }
    arena_release(&arena);
}

static void an_idmap_agrees_with_a_plain_table(void **state)
{
    enum { IDS = 200 };
    static int values[IDS];
    void *model[IDS] = {NULL};
    struct idmap map;
    struct prng prng;
    size_t count = 0, cursor = 0, seen = 0;

    (void)state;
    idmap_init(&map);
    prng_seed(&prng, 7);
    assert_null(idmap_get(&map, 1));
    assert_null(idmap_remove(&map, 1));
    for (int i = 0; i < 200000; i++) {
        size_t at = prng_between(&prng, 0, IDS - 1);
        uint64_t id = at % 2 ? at : at << 40;

        if (prng_chance(&prng, 500000)) {
            assert_ptr_equal(idmap_put(&map, id, &values[at]), model[at]);
            model[at] = &values[at];
        } else {
            assert_ptr_equal(idmap_remove(&map, id), model[at]);
            model[at] = NULL;
        }
        at = prng_between(&prng, 0, IDS - 1);
        assert_ptr_equal(idmap_get(&map, at % 2 ? at : at << 40), model[at]);
    }
    for (size_t i = 0; i < IDS; i++)
        count += model[i] != NULL;
    assert_int_equal(map.count, count);
    while (idmap_next(&map, &cursor) != NULL)
        seen++;
    assert_int_equal(seen, count);
    idmap_release(&map);
}

/* Check values of RFC 3720 appendix B.4 and of the empty HashKV (etcd-api.md section 9). */
static void crc32c_gives_the_published_values_on_both_paths(void **state)
{
    uint8_t zeros[32] = {0}, ones[32], rising[32];

    (void)state;
    memset(ones, 0xff, sizeof ones);
    for (size_t i = 0; i < sizeof rising; i++)
        rising[i] = (uint8_t)i;
    assert_int_equal(crc32c_extend(0, zeros, 32), 0x8a9136aa);
    assert_int_equal(crc32c_extend(0, ones, 32), 0x62a8ab43);
    assert_int_equal(crc32c_extend(0, rising, 32), 0x46dd794e);
    assert_int_equal(crc32c_extend(0, "key", 3), 1084519789);
    assert_int_equal(crc32c_extend_portable(0, rising, 32), 0x46dd794e);
    for (size_t cut = 0; cut <= 32; cut++)
        assert_int_equal(crc32c_extend(crc32c_extend(0, rising, cut), rising + cut, 32 - cut),
                         0x46dd794e);
}

static void lists_splice_in_order_and_forgive_a_second_removal(void **state)
{
    struct item {
        int value;
        struct list link;
    } items[4];
    struct list a, b;
    int expect = 0;

    (void)state;
    list_init(&a);
    list_init(&b);
    for (int i = 0; i < 4; i++) {
        items[i].value = i;
        list_push_back(i < 2 ? &a : &b, &items[i].link);
    }
    list_splice(&a, &b);
    assert_true(list_empty(&b));
    LIST_EACH (node, &a) {
        assert_int_equal(LIST_ENTRY(node, struct item, link)->value, expect++);
    }
    assert_int_equal(expect, 4);
    list_remove(&items[1].link);
    list_remove(&items[1].link);
    assert_int_equal(LIST_ENTRY(a.next->next, struct item, link)->value, 2);
}

static void the_same_seed_gives_the_same_numbers(void **state)
{
    struct prng a, b;

    (void)state;
    prng_seed(&a, 42);
    prng_seed(&b, 42);
    for (int i = 0; i < 1000; i++) {
        uint64_t v = prng_between(&a, 10, 20);

        assert_true(v == prng_between(&b, 10, 20));
        assert_in_range(v, 10, 20);
    }
}

static void the_real_disk_tells_apart_its_errors_and_lists_sorted(void **state)
{
    struct disk disk = disk_posix();
    struct err err = ERR_INIT;
    struct disk_file *file = NULL;
    char dir[] = "/tmp/kvd-base-XXXXXX";
    char *path, *other;
    char **names = NULL;
    size_t len = 0, got = 0;
    uint64_t size = 0;
    char back[8];
    int fd = -1, second = -1;

    (void)state;
    assert_non_null(mkdtemp(dir));
    path = xasprintf("%s/b", dir);
    other = xasprintf("%s/a", dir);
    assert_int_equal(disk.ops->open(NULL, path, DISK_READ, &file, &err), KV_ENOTFOUND);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(disk.ops->open(NULL, path, DISK_WRITE | DISK_CREATE, &file, &err), 0);
    assert_int_equal(disk.ops->write(NULL, file, 3, "hello", 5, &err), 0);
    assert_int_equal(disk.ops->sync(NULL, file, &err), 0);
    assert_int_equal(disk.ops->size(NULL, file, &size, &err), 0);
    assert_int_equal(size, 8);
    assert_int_equal(disk.ops->read(NULL, file, 4, back, sizeof back, &got, &err), 0);
    assert_int_equal(got, 4);
    assert_memory_equal(back, "ello", 4);
    disk.ops->close(NULL, file);
    assert_int_equal(disk.ops->open(NULL, path, DISK_WRITE | DISK_CREATE, &file, &err), KV_EEXIST);
    assert_int_equal(disk_lock(other, &fd, &err), 0);
    assert_int_equal(disk_lock(other, &second, &err), KV_EBUSY);
    disk_unlock(fd);
    assert_int_equal(disk_lock(other, &fd, &err), 0);
    disk_unlock(fd);
    assert_int_equal(disk.ops->mkdir(NULL, dir, &err), 0);
    assert_int_equal(disk.ops->list(NULL, dir, &names, &len, &err), 0);
    assert_int_equal(len, 2);
    assert_string_equal(names[0], "a");
    assert_string_equal(names[1], "b");
    disk_free_names(names, len);
    assert_int_equal(disk.ops->sync_dir(NULL, dir, &err), 0);
    assert_int_equal(disk.ops->unlink(NULL, path, &err), 0);
    assert_int_equal(disk.ops->unlink(NULL, other, &err), 0);
    assert_int_equal(rmdir(dir), 0);
    free(path);
    free(other);
}

static void hashes_depend_on_every_byte_the_length_and_the_salt(void **state)
{
    uint8_t bytes[24] = {0};

    (void)state;
    for (size_t len = 0; len < sizeof bytes; len++) {
        uint64_t hash = hash_bytes(slice_of(bytes, len), 7);

        assert_true(hash == hash_bytes(slice_of(bytes, len), 7));
        assert_true(hash != hash_bytes(slice_of(bytes, len + 1), 7));
        assert_true(hash != hash_bytes(slice_of(bytes, len), 8));
        for (size_t i = 0; i < len; i++) {
            bytes[i] = 1;
            assert_true(hash != hash_bytes(slice_of(bytes, len), 7));
            bytes[i] = 0;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_name_and_text),
        cmocka_unit_test(an_error_text_too_long_is_cut_and_ended),
        cmocka_unit_test(integers_have_the_byte_order_they_say),
        cmocka_unit_test(varints_round_trip_and_bad_ones_are_refused),
        cmocka_unit_test(a_varint_is_as_long_as_it_says_at_every_power_of_two),
        cmocka_unit_test(a_reader_past_the_end_turns_bad_and_stays_bad),
        cmocka_unit_test(a_buffer_refuses_to_pass_its_maximum_and_keeps_its_content),
        cmocka_unit_test(arena_pieces_are_aligned_apart_and_survive_growth),
        cmocka_unit_test(an_idmap_agrees_with_a_plain_table),
        cmocka_unit_test(hashes_depend_on_every_byte_the_length_and_the_salt),
        cmocka_unit_test(crc32c_gives_the_published_values_on_both_paths),
        cmocka_unit_test(lists_splice_in_order_and_forgive_a_second_removal),
        cmocka_unit_test(the_same_seed_gives_the_same_numbers),
        cmocka_unit_test(the_real_disk_tells_apart_its_errors_and_lists_sorted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
