/* Commands as they stand in the log, and a machine that gets any bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/prng.h"
#include "proto/rpc.pb-c.h"
#include "server/machine.h"

enum { ROUNDS = 20000 };

static uint64_t start_seed(void)
{
    const char *given = getenv("KVD_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);

    print_message("KVD_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static void commands_back_to_back_come_out_as_they_went_in(void **state)
{
    const struct command in[] = {
        {.origin = 1, .ticket = 2, .kind = COMMAND_PUT, .body = slice_str("body")},
        {.origin = UINT64_MAX, .ticket = 0, .kind = COMMAND_PUBLISH, .body = slice_str("")},
        {.origin = 0, .ticket = UINT64_MAX, .kind = COMMAND_TXN, .body = slice_str("x")},
        {.kind = COMMAND_AUTH,
         .body = slice_str("y"),
         .author = {.kind = AUTHOR_USER, .user = slice_str("ann"), .revision = 1 << 20}},
        {.kind = COMMAND_COMPACT, .body = slice_str("z"), .author.kind = AUTHOR_MEMBER},
    };
    struct command out;
    struct slice rest;
    struct buf bytes;

    (void)state;
    buf_init(&bytes, 4096);
    for (size_t i = 0; i < ARRAY_LEN(in); i++)
        assert_int_equal(command_encode(&in[i], &bytes), 0);
    rest = buf_slice(&bytes);
    for (size_t i = 0; i < ARRAY_LEN(in); i++) {
        assert_int_equal(command_decode(&rest, &out), 0);
        assert_true(out.origin == in[i].origin && out.ticket == in[i].ticket);
        assert_int_equal(out.kind, in[i].kind);
        assert_true(slice_eq(out.body, in[i].body));
        assert_int_equal(out.author.kind, in[i].author.kind);
        assert_true(slice_eq(out.author.user, in[i].author.user));
        assert_true(out.author.revision == in[i].author.revision);
    }
    assert_int_equal(rest.len, 0);
    buf_release(&bytes);
}

/* The format is on disk: these bytes must never change. */
static void encoding_is_the_documented_one(void **state)
{
    const uint8_t expected[] = {19,   1,    0,    0,    0,    0,    0,    0, 0,   0xef,
                                0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 2, 'h', 'i'};
    struct command command = {
        .origin = 1, .ticket = 0x0123456789abcdef, .kind = COMMAND_DELETE, .body = slice_str("hi")};
    struct buf bytes;

    (void)state;
    buf_init(&bytes, 64);
    assert_int_equal(command_encode(&command, &bytes), 0);
    assert_true(slice_eq(buf_slice(&bytes), slice_of(expected, sizeof expected)));
    buf_release(&bytes);
}

static void command_that_does_not_fit_leaves_the_buffer_alone(void **state)
{
    struct command command = {.kind = COMMAND_PUT, .body = slice_str("twelve bytes")};
    struct buf bytes;

    (void)state;
    buf_init(&bytes, 29);
    assert_int_equal(command_encode(&command, &bytes), KV_ETOOBIG);
    assert_int_equal(bytes.len, 0);
    buf_release(&bytes);
}

static void every_cut_of_a_command_is_refused_and_takes_nothing(void **state)
{
    struct command command = {.origin = 1, .kind = COMMAND_PUT, .body = slice_str("body")}, out;
    struct buf bytes;

    (void)state;
    buf_init(&bytes, 64);
    assert_int_equal(command_encode(&command, &bytes), 0);
    for (size_t len = 0; len < bytes.len; len++) {
        struct slice rest = slice_of(bytes.data, len);

        assert_int_equal(command_decode(&rest, &out), KV_EPROTO);
        assert_int_equal(rest.len, len);
    }
    buf_release(&bytes);
}

/* Random bytes: decoding ends, stays inside, and takes at least one byte each time. */
static void decoding_of_any_bytes_stays_inside_them(void **state)
{
    struct prng prng;
    struct command out;

    (void)state;
    prng_seed(&prng, start_seed());
    for (int round = 0; round < ROUNDS; round++) {
        size_t len = prng_between(&prng, 0, 60);
        uint8_t *bytes = xmalloc(len + 1); /* exact, so that ASan sees a step outside */
        struct slice rest = slice_of(bytes, len);

        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)prng_between(&prng, 0, prng_chance(&prng, 500000) ? 30 : 255);
        while (rest.len > 0) {
            size_t before = rest.len;

            if (command_decode(&rest, &out) != 0)
                break;
            assert_true(rest.len < before);
            assert_true(out.body.data >= bytes && out.body.data + out.body.len <= bytes + len);
        }
        free(bytes);
    }
}

static void unknown_kind_has_no_effect(void **state)
{
    struct machine *machine = machine_new(1, NULL, 0);
    struct arena arena = ARENA_INIT;
    uint64_t before = machine_digest(machine);
    struct machine_result result;

    (void)state;
    for (unsigned kind = 0; kind < 256; kind++) {
        struct command command = {.kind = (enum command_kind)kind, .body = slice_str("\xff")};

        machine_apply(machine, &command, true, &arena, &result);
        assert_int_equal(result.code, KV_EPROTO);
        assert_int_equal(result.revision, 1);
        assert_null(result.response);
    }
    assert_true(machine_digest(machine) == before);
    arena_release(&arena);
    machine_free(machine);
}

/* Mutated requests of every kind go to two machines, one of which owes the answers: whatever the
 * bytes are, nothing breaks and both end in the same state. */
static void any_bodies_leave_origin_and_others_in_the_same_state(void **state)
{
    static const uint8_t txn[] = {
        0x0a, 0x09, 0x10, 0x03, 0x1a, 0x01, 'a',  0x3a, 0x02, 'v',  '1',      /* compare value a */
        0x12, 0x0a, 0x12, 0x08, 0x0a, 0x01, 'a',  0x12, 0x03, 'x',  'y', 'z', /* put */
        0x12, 0x05, 0x0a, 0x03, 0x0a, 0x01, 'b',                              /* range */
        0x1a, 0x08, 0x1a, 0x06, 0x0a, 0x01, 'a',  0x12, 0x01, 'd',            /* delete */
        0x1a, 0x0b, 0x22, 0x09, 0x12, 0x07, 0x12, 0x05, 0x0a, 0x01, 'c', 0x12, 0x00,
    };
    struct machine *origin = machine_new(1, NULL, 0), *other = machine_new(2, NULL, 0);
    struct arena arena = ARENA_INIT;
    struct prng prng;

    (void)state;
    prng_seed(&prng, start_seed());
    for (int round = 0; round < ROUNDS; round++) {
        struct machine_result a, b;
        struct command command;
        uint8_t bytes[sizeof txn];
        size_t len = prng_between(&prng, 0, sizeof txn);
        size_t changes = prng_between(&prng, 0, 3);

        memcpy(bytes, txn, sizeof txn);
        for (size_t i = 0; i < changes; i++)
            bytes[prng_between(&prng, 0, sizeof txn - 1)] ^= (uint8_t)prng_next(&prng);
        command = (struct command){
            .kind = (enum command_kind)prng_between(&prng, 1, 6),
            .body = slice_of(bytes, prng_chance(&prng, 700000) ? sizeof txn : len)};
        if (command.kind == COMMAND_ALARM) /* an alarm that stays would end the game */
            command.kind = COMMAND_TXN;
        machine_apply(origin, &command, true, &arena, &a);
        arena_reset(&arena);
        machine_apply(other, &command, false, &arena, &b);
        assert_null(b.response);
        arena_reset(&arena);
        assert_int_equal(a.code, b.code);
        assert_true(a.revision == b.revision);
    }
    assert_true(mvcc_revision(origin->mvcc) > 100); /* many of them did something */
    assert_true(machine_digest(origin) == machine_digest(other));
    assert_true(machine_history(origin) == machine_history(other));
    arena_release(&arena);
    machine_free(origin);
    machine_free(other);
}

static void digest_tells_alarms_members_and_keys_apart(void **state)
{
    static char *urls[] = {"http://h:1"};
    const struct machine_member members[] = {{.id = 7, .peer_urls = urls, .peer_url_count = 1}};
    struct machine *machine = machine_new(1, members, 1);
    struct arena arena = ARENA_INIT;
    struct machine_result result;
    const struct command steps[] = {
        {.kind = COMMAND_PUT, .body = slice_str("\x0a\x01k")},
        {.kind = COMMAND_ALARM, .body = slice_str("\x08\x01\x10\x07\x18\x01")},
        {.kind = COMMAND_PUBLISH, .body = slice_str("\x08\x07\x12\x01n")},
        {.kind = COMMAND_PUBLISH, .body = slice_str("\x08\x07\x12\x01n\x1a\x01u")},
        {.kind = COMMAND_COMPACT, .body = slice_str("\x08\x01")},
        {.kind = COMMAND_SPACE, .body = slice_str("\x08\x09\x10\x01")},
        {.kind = COMMAND_ALARM, .body = slice_str("\x08\x01\x10\x09\x18\x01")}, /* takes it over */
        {.kind = COMMAND_DOWNGRADE,
         .body = slice_str("\x08\x01\x12\x05"
                           "3.5.0")},
        {.kind = COMMAND_DOWNGRADE, .body = slice_str("")},
    };
    uint64_t before = machine_digest(machine);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        machine_apply(machine, &steps[i], false, &arena, &result);
        assert_int_equal(result.code, 0);
        assert_true(machine_digest(machine) != before);
        before = machine_digest(machine);
        assert_true(machine_digest(machine) == before);
    }
    arena_release(&arena);
    machine_free(machine);
}

/* Two machines get the same commands but one; the states end equal, what happened does not. */
static void a_history_tells_what_the_state_forgets(void **state)
{
    const struct {
        struct command a, b;
    } rows[] = {
        {{.kind = COMMAND_PUT, .body = slice_str("\x0a\x01k\x12\x01v")},
         {.kind = COMMAND_PUT, .body = slice_str("\x0a\x01k\x12\x01w")}},
        {{.kind = COMMAND_PUT, .body = slice_str("\x0a\x01k\x12\x01v")},
         {.kind = COMMAND_PUT, .body = slice_str("\x0a\x01l\x12\x01v")}},
        {{.kind = COMMAND_PUT, .body = slice_str("\x0a\x01k")},
         {.kind = COMMAND_DELETE, .body = slice_str("\x0a\x01k")}},
        {{.kind = COMMAND_DELETE, .body = slice_str("\x0a\x01n")},
         {.kind = COMMAND_TXN, .body = slice_str("")}},
        {{.kind = COMMAND_LEASE_GRANT, .body = slice_str("\x08\x0a\x10\x07")},
         {.kind = COMMAND_LEASE_GRANT, .body = slice_str("\x08\x0a\x10")}},
    };
    struct arena arena = ARENA_INIT;
    struct machine_result result;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct machine *a = machine_new(1, NULL, 0), *b = machine_new(2, NULL, 0);

        assert_true(machine_history(a) == machine_history(b) && machine_history(a) != 0);
        machine_apply(a, &rows[i].a, false, &arena, &result);
        machine_apply(b, &rows[i].b, false, &arena, &result);
        assert_true(machine_history(a) != machine_history(b));
        machine_apply(a, &rows[0].a, false, &arena, &result);
        machine_apply(b, &rows[0].a, false, &arena, &result);
        assert_true(machine_history(a) != machine_history(b));
        machine_free(a);
        machine_free(b);
    }
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_back_to_back_come_out_as_they_went_in),
        cmocka_unit_test(encoding_is_the_documented_one),
        cmocka_unit_test(command_that_does_not_fit_leaves_the_buffer_alone),
        cmocka_unit_test(every_cut_of_a_command_is_refused_and_takes_nothing),
        cmocka_unit_test(decoding_of_any_bytes_stays_inside_them),
        cmocka_unit_test(unknown_kind_has_no_effect),
        cmocka_unit_test(a_history_tells_what_the_state_forgets),
        cmocka_unit_test(any_bodies_leave_origin_and_others_in_the_same_state),
        cmocka_unit_test(digest_tells_alarms_members_and_keys_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
