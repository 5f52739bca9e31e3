/* Lease commands in the state machine (etcd-api.md section 7); tests/golden/leases.txt tells them
 * as a story. Here: who is told, what time has to do with it, and large leases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/machine_text.h"

static int setup(void **state)
{
    struct machine_text *t = xcalloc(1, sizeof *t);

    machine_text_init(t);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    machine_text_release(*state);
    free(*state);
    return 0;
}

static void expect(void **state, const char *request, const char *answer)
{
    assert_string_equal(machine_text_run(*state, request), answer);
}

static const struct machine *machine_of(void **state)
{
    return ((struct machine_text *)*state)->machine;
}

#define LEASE_NOT_FOUND "etcdserver: requested lease not found"

static void put_on_an_unknown_lease_has_no_effect(void **state)
{
    expect(state, "put a 1 lease=5", LEASE_NOT_FOUND);
    expect(state, "range a", "revision 1 count 0");
    expect(state, "grant 5 10", "revision 1 lease 5 ttl 10");
    expect(state, "put a 1 lease=5", "revision 2");
}

/* Vector 8. */
static void revoke_deletes_the_attached_keys_in_one_revision(void **state)
{
    expect(state, "grant 1 100", "revision 1 lease 1 ttl 100");
    expect(state, "put zz 1 lease=1", "revision 2");
    expect(state, "put aa 1 lease=1", "revision 3");
    expect(state, "put mm 1 lease=1", "revision 4");
    expect(state, "put mm 2", "revision 5");
    expect(state, "revoke 1", "revision 6");
    expect(state, "range \\x00 \\x00", "revision 6 count 1\n  mm=2 c4 m5 v2");
    expect(state, "range aa zzz rev=5",
           "revision 6 count 3\n  aa=1 c3 m3 v1 l1\n  mm=2 c4 m5 v2\n  zz=1 c2 m2 v1 l1");
}

static void revoke_without_keys_makes_no_revision(void **state)
{
    expect(state, "grant 1 100", "revision 1 lease 1 ttl 100");
    expect(state, "revoke 1", "revision 1");
    expect(state, "revoke 1", LEASE_NOT_FOUND);
}

static void compaction_does_not_detach_live_keys(void **state)
{
    expect(state, "grant 1 100", "revision 1 lease 1 ttl 100");
    expect(state, "put a 1 lease=1", "revision 2");
    expect(state, "put a 2 lease=1", "revision 3");
    expect(state, "compact 3", "revision 3");
    expect(state, "sweep", "");
    expect(state, "leases", "leases 1\n  1 ttl 100 a");
    expect(state, "revoke 1", "revision 4");
    expect(state, "range a", "revision 4 count 0");
}

/* R12: what a paused leader proposed in its term is void in an entry of a later one. */
static void r12_end_found_in_another_term_is_void(void **state)
{
    expect(state, "grant 1 100", "revision 1 lease 1 ttl 100");
    expect(state, "put a 1 lease=1", "revision 2");
    expect(state, "expire 1 0", "etcdserver: not leader");
    expect(state, "expire 1 2", "etcdserver: not leader");
    expect(state, "range a", "revision 2 count 1\n  a=1 c2 m2 v1 l1");
    expect(state, "expire 1 1", "revision 3");
    expect(state, "range a", "revision 3 count 0");
}

/* Revoke and grant of the same id overtake an end, or a checkpoint, that is on its way. */
static void what_was_decided_about_a_lease_does_not_hit_the_next_of_its_id(void **state)
{
    struct lease_time time;

    expect(state, "grant 1 100", "revision 1 lease 1 ttl 100");
    expect(state, "revoke 1", "revision 1");
    expect(state, "grant 1 100", "revision 1 lease 1 ttl 100");
    expect(state, "put a 1 lease=1", "revision 2");
    expect(state, "expire 1 1 1", LEASE_NOT_FOUND);
    expect(state, "checkpoint 1 5000 1 1", "revision 2");
    expect(state, "range a", "revision 2 count 1\n  a=1 c2 m2 v1 l1");
    leases_lead(machine_of(state)->leases, 0, 0);
    leases_time(machine_of(state)->leases, 1, 0, &time);
    assert_int_equal(time.remaining_ms, 100000);
    expect(state, "expire 1 1 2", "revision 3");
}

/* R12, the other half. */
static void checkpoint_made_in_another_term_is_void(void **state)
{
    struct lease_time time;

    expect(state, "grant 1 100", "revision 1 lease 1 ttl 100");
    expect(state, "checkpoint 1 7000 2", "etcdserver: not leader");
    expect(state, "checkpoint 1 7000 0", "etcdserver: not leader");
    leases_lead(machine_of(state)->leases, 0, 0);
    leases_time(machine_of(state)->leases, 1, 0, &time);
    assert_int_equal(time.remaining_ms, 100000);
    expect(state, "checkpoint 1 7000 1", "revision 1");
    leases_lead(machine_of(state)->leases, 0, 0);
    leases_time(machine_of(state)->leases, 1, 0, &time);
    assert_int_equal(time.remaining_ms, 7000);
}

/* A renewal may need one, and etcd renews under any alarm. */
static void checkpoints_are_written_under_alarms(void **state)
{
    expect(state, "grant 1 100", "revision 1 lease 1 ttl 100");
    expect(state, "alarm activate 1 nospace", "revision 1 alarm 1 1");
    expect(state, "alarm activate 1 corrupt", "revision 1 alarm 1 2");
    expect(state, "checkpoint 1 0 1", "revision 1");
}

static void an_unknown_or_broken_command_has_no_effect(void **state)
{
    struct machine_text *t = *state;
    uint64_t before = machine_digest(t->machine);
    struct machine_result result;
    struct command command = {.origin = 1, .ticket = 1, .term = 1};

    for (int kind = COMMAND_LEASE_EXPIRE; kind < 256; kind++) {
        command.kind = (enum command_kind)kind;
        command.body = slice_str("\x12\xff\xff");
        machine_apply(t->machine, &command, true, &t->arena, &result);
        assert_int_equal(result.code, KV_EPROTO);
        if (kind == COMMAND_SPACE || kind == COMMAND_DOWNGRADE || kind == COMMAND_MEMBER_DROP)
            continue;                     /* an empty one clears what is not set */
        command.body = slice_of(NULL, 0); /* term 0, nothing else */
        machine_apply(t->machine, &command, true, &t->arena, &result);
        assert_int_not_equal(result.code, 0);
    }
    assert_true(machine_digest(t->machine) == before);
}

static void many_keys_go_in_one_revision(void **state)
{
    char request[64];

    expect(state, "grant 1 100", "revision 1 lease 1 ttl 100");
    for (int i = 0; i < 3000; i++) {
        snprintf(request, sizeof request, "put k%d 1 lease=1", (i * 7919) % 3000);
        (void)machine_text_run(*state, request);
    }
    assert_int_equal(leases_key_count(machine_of(state)->leases, 1), 3000);
    expect(state, "revoke 1", "revision 3002");
    expect(state, "range k l count_only", "revision 3002 count 0");
}

/* The clock runs on the leader only, and no answer and no digest shows it. */
static void members_agree_whether_they_lead_or_not(void **state)
{
    static const char *const requests[] = {
        "grant 1 100",
        "grant 2 200",
        "put a 1 lease=1",
        "put b 1 lease=2",
        "put a 2 lease=2",
        "put c 1 lease=1",
        "expire 1 1",
        "put d 1 lease=2",
        "del b",
        "put a 3",
        "grant 3 5",
        "put e 1 lease=3",
        "revoke 2",
        "put f 1 lease=99",
        "expire 3 7",
        "checkpoint 3 4000 1",
        "checkpoint 3 0 1",
        "expire 3 1 99",
    };
    struct machine_text leader, *follower = *state;

    machine_text_init(&leader);
    leases_lead(leader.machine->leases, 1000, 500);
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        leader.machine->lease_now_ms = 2000 + 10000 * i;
        assert_string_equal(machine_text_run(&leader, requests[i]),
                            machine_text_run(follower, requests[i]));
        assert_true(machine_digest(leader.machine) == machine_digest(follower->machine));
    }
    machine_text_release(&leader);
}

static void digest_has_leases_and_what_hangs_on_them(void **state)
{
    struct machine_text other;

    machine_text_init(&other);
    expect(state, "grant 1 100", "revision 1 lease 1 ttl 100");
    assert_false(machine_digest(machine_of(state)) == machine_digest(other.machine));
    (void)machine_text_run(&other, "grant 1 100");
    assert_true(machine_digest(machine_of(state)) == machine_digest(other.machine));
    expect(state, "checkpoint 1 5000 1", "revision 1");
    assert_false(machine_digest(machine_of(state)) == machine_digest(other.machine));
    machine_text_release(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(put_on_an_unknown_lease_has_no_effect),
        TEST(revoke_deletes_the_attached_keys_in_one_revision),
        TEST(revoke_without_keys_makes_no_revision),
        TEST(compaction_does_not_detach_live_keys),
        TEST(r12_end_found_in_another_term_is_void),
        TEST(what_was_decided_about_a_lease_does_not_hit_the_next_of_its_id),
        TEST(checkpoint_made_in_another_term_is_void),
        TEST(checkpoints_are_written_under_alarms),
        TEST(an_unknown_or_broken_command_has_no_effect),
        TEST(many_keys_go_in_one_revision),
        TEST(members_agree_whether_they_lead_or_not),
        TEST(digest_has_leases_and_what_hangs_on_them),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
