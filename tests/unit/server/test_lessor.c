/* The lessor by itself: time, consensus and the log are the test's. What it proposes is kept until
 * the test commits it, through a real state machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/codec.h"
#include "base/mem.h"
#include "proto/command.pb-c.h"
#include "server/lessor.h"

enum { PROPOSALS_MAX = 512, QUESTIONS = 400, ELECTION_MS = 1000, TERM = 5 };

struct proposal {
    enum command_kind kind;
    struct slice body;
    struct lessor_command *handle;
};

struct asked {
    struct lease_question question;
    int answers;
    enum status status;
    struct lease_answer answer;
};

struct fixture {
    struct machine *machine;
    struct lessor lessor;
    struct arena arena;
    uint64_t now_ms;
    uint64_t armed_ms;
    bool refuses;                 /* proposals */
    bool confirms;                /* at once */
    struct replica_read *pending; /* or when the test says so */
    struct proposal proposals[PROPOSALS_MAX];
    size_t proposal_count, done;
    struct buf frames;  /* questions sent to the leader */
    struct buf answers; /* sent to other members */
    uint64_t answered_whom;
    struct asked asked[QUESTIONS];
};

/* ---- the world ---- */

static uint64_t env_now_ms(void *ctx)
{
    return ((struct fixture *)ctx)->now_ms;
}

static void env_arm_timer(void *ctx, uint64_t at_ms)
{
    ((struct fixture *)ctx)->armed_ms = at_ms;
}

static bool env_propose(void *ctx, enum command_kind kind, struct slice body,
                        struct lessor_command *handle)
{
    struct fixture *f = ctx;

    if (f->refuses)
        return false;
    assert_true(f->proposal_count < PROPOSALS_MAX);
    f->proposals[f->proposal_count++] =
        (struct proposal){kind, arena_copy(&f->arena, body), handle};
    return true;
}

static bool env_read(void *ctx, struct replica_read *read)
{
    struct fixture *f = ctx;

    if (!f->confirms)
        f->pending = read;
    return f->confirms;
}

static void env_ask(void *ctx, struct slice questions)
{
    assert_int_equal(buf_append(&((struct fixture *)ctx)->frames, questions.data, questions.len),
                     0);
}

static void env_answer(void *ctx, uint64_t to, uint64_t session, struct slice answers)
{
    struct fixture *f = ctx;

    f->answered_whom = to * 100 + session;
    assert_int_equal(buf_append(&f->answers, answers.data, answers.len), 0);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct machine_member self = {.id = 1};
    struct lessor_options options = {
        .env = {.ctx = f,
                .now_ms = env_now_ms,
                .arm_timer = env_arm_timer,
                .propose = env_propose,
                .read = env_read,
                .ask = env_ask,
                .answer = env_answer},
        .seed = 1,
        .heartbeat_ms = 100,
        .election_ms = ELECTION_MS,
        .timeout_ms = 7000,
        .command_size_max = 1 << 20,
    };

    f->machine = machine_new(1, &self, 1);
    f->now_ms = 1000000;
    f->confirms = true;
    arena_init(&f->arena);
    buf_init(&f->frames, 1 << 20);
    buf_init(&f->answers, 1 << 20);
    lessor__init(&f->lessor, &options);
    f->lessor.leases = f->machine->leases;
    *state = f;
    return 0;
}

/* Commands that were never committed: nobody knows of them. */
static int teardown(void **state)
{
    struct fixture *f = *state;

    while (f->done < f->proposal_count)
        lessor__command_done(&f->lessor, f->proposals[f->done++].handle, false);
    lessor__fail(&f->lessor, STATUS_STOPPED);
    lessor__release(&f->lessor);
    machine_free(f->machine);
    arena_release(&f->arena);
    buf_release(&f->frames);
    buf_release(&f->answers);
    free(f);
    return 0;
}

/* ---- verbs ---- */

static void turn(struct fixture *f)
{
    lessor__on_timer(&f->lessor);
    lessor__turn(&f->lessor);
    lessor__turn_end(&f->lessor);
}

static void begin_to_lead(struct fixture *f, uint64_t term)
{
    lessor__role_changed(&f->lessor, REPLICA_LEADER, term, 1);
    turn(f);
}

/* Its first entry is applied, or it will never be. */
static void open_term(struct fixture *f, bool applied)
{
    lessor__command_done(&f->lessor, f->proposals[--f->proposal_count].handle, applied);
    turn(f);
}

static void lead(struct fixture *f, uint64_t term)
{
    begin_to_lead(f, term);
    open_term(f, true);
}

static void follow(struct fixture *f, uint64_t term)
{
    lessor__role_changed(&f->lessor, REPLICA_FOLLOWER, term, 2);
}

/* A lease whose last leader wrote down that so much is left; 0: nothing. */
static void grant(struct fixture *f, int64_t id, int64_t ttl, uint64_t left_ms)
{
    struct lease_checkpoint checkpoint = {.id = id, .remaining_ms = left_ms};

    assert_int_equal(leases_grant(f->machine->leases, id, ttl, f->now_ms), 0);
    checkpoint.grant = leases_grant_number(f->machine->leases, id);
    assert_true(leases_checkpoint(f->machine->leases, &checkpoint));
}

static void on_answer(struct lease_question *question, enum status status,
                      const struct lease_answer *answer)
{
    struct asked *asked = CONTAINER_OF(question, struct asked, question);

    asked->answers++;
    asked->status = status;
    if (answer != NULL)
        asked->answer = *answer;
}

/* Question n is about lease n. */
static struct asked *ask(struct fixture *f, int64_t lease, enum lease_question_kind kind)
{
    struct asked *asked = &f->asked[lease];

    *asked = (struct asked){.question = {.kind = kind, .lease = lease, .cb = on_answer}};
    assert_true(lessor__ask(&f->lessor, &asked->question));
    return asked;
}

static void expect_renewed(const struct asked *asked, int64_t ttl)
{
    assert_int_equal(asked->answers, 1);
    assert_int_equal(asked->status, STATUS_OK);
    assert_int_equal(asked->answer.known, ttl != 0);
    assert_int_equal(asked->answer.ttl, ttl);
}

/* The oldest proposal is applied in an entry of that term. */
static void commit(struct fixture *f, uint64_t term)
{
    const struct proposal *proposal = &f->proposals[f->done];
    struct command command = {
        .origin = 1, .kind = proposal->kind, .body = proposal->body, .term = term};
    struct machine_result result;

    assert_true(f->done < f->proposal_count);
    f->done++;
    f->machine->lease_now_ms = f->now_ms;
    machine_apply(f->machine, &command, false, &f->arena, &result);
    lessor__command_done(&f->lessor, proposal->handle, result.code == 0);
}

static size_t waiting(const struct fixture *f)
{
    return f->proposal_count - f->done;
}

static size_t leases_in(struct fixture *f, size_t n)
{
    Kvdpb__LeaseCheckpoint *all;
    size_t count;

    assert_int_equal(f->proposals[n].kind, COMMAND_LEASE_CHECKPOINT);
    all =
        kvdpb__lease_checkpoint__unpack(NULL, f->proposals[n].body.len, f->proposals[n].body.data);
    assert_non_null(all);
    assert_int_equal(all->term, TERM);
    count = all->n_leases;
    kvdpb__lease_checkpoint__free_unpacked(all, NULL);
    return count;
}

/* ---- the beginning of a term ---- */

/* What a predecessor has in its log alone could still end the lease. */
static void no_renewal_before_an_entry_of_the_term_is_applied(void **state)
{
    struct fixture *f = *state;
    struct asked *asked;

    grant(f, 1, 60, 0);
    begin_to_lead(f, TERM);
    asked = ask(f, 1, LEASE_RENEW);
    turn(f);
    assert_int_equal(asked->answers, 0);
    assert_int_equal(f->proposal_count, 1);
    assert_int_equal(leases_in(f, 0), 0);
    commit(f, TERM + 1); /* it came into the log of another */
    turn(f);
    assert_int_equal(asked->answers, 0);
    assert_int_equal(f->proposal_count, 2);
    commit(f, TERM);
    lessor__turn_end(&f->lessor); /* nothing else has to happen */
    expect_renewed(asked, 60);
    assert_int_equal(f->proposal_count, 2);
}

static void the_first_entry_is_proposed_until_it_is_taken(void **state)
{
    struct fixture *f = *state;

    f->refuses = true;
    begin_to_lead(f, TERM);
    assert_true(f->armed_ms <= f->now_ms + 1000);
    f->refuses = false;
    turn(f);
    assert_int_equal(f->proposal_count, 0); /* not at once */
    f->now_ms = f->armed_ms;
    turn(f);
    assert_int_equal(f->proposal_count, 1);
    f->now_ms += 10000; /* it is under way */
    turn(f);
    assert_int_equal(f->proposal_count, 1);
}

static void the_first_entry_of_an_earlier_term_opens_no_later_one(void **state)
{
    struct fixture *f = *state;
    struct asked *asked;

    grant(f, 1, 60, 0);
    begin_to_lead(f, TERM - 1);
    follow(f, TERM);
    begin_to_lead(f, TERM + 1);
    assert_int_equal(f->proposal_count, 2);
    asked = ask(f, 1, LEASE_RENEW);
    commit(f, TERM - 1);
    turn(f);
    assert_int_equal(asked->answers, 0);
    commit(f, TERM + 1);
    turn(f);
    expect_renewed(asked, 60);
}

/* ---- renewals ---- */

static void renewals_in_time_write_nothing(void **state)
{
    struct fixture *f = *state;

    lead(f, TERM);
    grant(f, 1, 60, 0);
    for (int i = 0; i < 1000; i++) {
        struct asked *asked = ask(f, 1, LEASE_RENEW);

        turn(f);
        expect_renewed(asked, 60);
        f->now_ms += 30000;
    }
    assert_int_equal(f->proposal_count, 0);
}

static void renewals_wait_for_one_clear_of_all_their_checkpoints(void **state)
{
    struct fixture *f = *state;

    for (int64_t id = 1; id <= 300; id++)
        grant(f, id, 60, 20000);
    lead(f, TERM);
    for (int64_t id = 1; id <= 300; id++)
        (void)ask(f, id, LEASE_RENEW);
    turn(f);
    turn(f);
    assert_int_equal(f->proposal_count, 1);
    assert_int_equal(leases_in(f, 0), 300);
    for (int64_t id = 1; id <= 300; id++)
        assert_int_equal(f->asked[id].answers, 0);
    commit(f, TERM);
    turn(f);
    for (int64_t id = 1; id <= 300; id++)
        expect_renewed(&f->asked[id], 60);
}

/* The next one to lead would start from the checkpoint: so a clear that did not get into the log
 * of this term is no clear. */
static void a_renewal_is_not_answered_after_a_void_clear(void **state)
{
    struct fixture *f = *state;
    struct asked *asked;

    grant(f, 1, 60, 20000);
    lead(f, TERM);
    asked = ask(f, 1, LEASE_RENEW);
    turn(f);
    commit(f, TERM + 1);
    turn(f);
    turn(f);
    assert_int_equal(asked->answers, 0);
    commit(f, TERM); /* proposed again */
    turn(f);
    expect_renewed(asked, 60);
}

static void a_clear_that_is_refused_is_written_later(void **state)
{
    struct fixture *f = *state;
    struct asked *asked;

    grant(f, 1, 60, 20000);
    lead(f, TERM);
    f->refuses = true;
    asked = ask(f, 1, LEASE_RENEW);
    turn(f);
    assert_int_equal(asked->answers, 0);
    assert_true(f->armed_ms <= f->now_ms + 1000);
    f->refuses = false;
    f->now_ms = f->armed_ms;
    turn(f);
    commit(f, TERM);
    turn(f);
    expect_renewed(asked, 60);
}

static void commands_keep_to_the_size_they_may_have(void **state)
{
    struct fixture *f = *state;

    f->lessor.options.command_size_max = 500;
    for (int64_t id = 1; id <= 100; id++)
        grant(f, id, 60, 20000);
    lead(f, TERM);
    for (int64_t id = 1; id <= 100; id++)
        (void)ask(f, id, LEASE_RENEW);
    turn(f);
    while (waiting(f) > 0) {
        assert_int_equal(waiting(f), 1);
        assert_true(f->proposals[f->done].body.len < 500);
        commit(f, TERM);
        turn(f);
    }
    assert_true(f->proposal_count > 5);
    for (int64_t id = 1; id <= 100; id++)
        expect_renewed(&f->asked[id], 60);
}

/* The clock says 1000 until just before 1001: a TTL that begins then must not end at 3000. */
static void no_lease_ends_early_because_the_clock_is_cut(void **state)
{
    struct fixture *f = *state;
    uint64_t began = f->now_ms;

    lead(f, TERM);
    assert_int_equal(leases_grant(f->machine->leases, 1, 2, lessor__begin_ms(&f->lessor)), 0);
    assert_int_equal(leases_next_due(f->machine->leases), began + 2001);
    f->now_ms += 500;
    (void)ask(f, 1, LEASE_RENEW);
    turn(f);
    assert_int_equal(leases_next_due(f->machine->leases), began + 2501);
}

static void a_lease_revoked_while_its_clear_is_under_way_is_unknown(void **state)
{
    struct fixture *f = *state;
    struct asked *asked;

    grant(f, 1, 60, 20000);
    lead(f, TERM);
    asked = ask(f, 1, LEASE_RENEW);
    turn(f);
    assert_true(leases_revoke(f->machine->leases, 1));
    commit(f, TERM);
    turn(f);
    expect_renewed(asked, 0);
}

static void a_renewal_of_a_due_lease_is_answered_by_its_end(void **state)
{
    struct fixture *f = *state;
    struct asked *asked;

    lead(f, TERM);
    grant(f, 1, 2, 0);
    f->now_ms += 2000;
    asked = ask(f, 1, LEASE_RENEW);
    turn(f);
    assert_int_equal(asked->answers, 0);
    commit(f, TERM);
    turn(f);
    expect_renewed(asked, 0);
}

/* ---- R12: who does not lead any more, or does not know ---- */

static void a_leader_that_is_not_confirmed_says_and_ends_nothing(void **state)
{
    struct fixture *f = *state;
    struct asked *asked;

    lead(f, TERM);
    grant(f, 1, 2, 0);
    f->confirms = false;
    f->now_ms += 10000;
    asked = ask(f, 1, LEASE_RENEW);
    turn(f);
    assert_non_null(f->pending);
    assert_int_equal(f->proposal_count, 0);
    assert_int_equal(asked->answers, 0);
    follow(f, TERM + 1);
    f->pending->cb(f->pending, 0); /* what a later leader confirmed is not this one's */
    assert_int_equal(f->proposal_count, 0);
    assert_int_equal(asked->answers, 0);
    turn(f);
    assert_true(f->frames.len > 0); /* it is asked instead */
}

/* Asked, then asleep for an election timeout: the answer is too old to rely on. */
static void a_confirmation_that_took_too_long_is_none(void **state)
{
    struct fixture *f = *state;
    struct asked *asked;

    lead(f, TERM);
    grant(f, 1, 60, 0);
    f->confirms = false;
    asked = ask(f, 1, LEASE_RENEW);
    turn(f);
    f->now_ms += ELECTION_MS;
    f->pending->cb(f->pending, 0);
    assert_int_equal(asked->answers, 0);
    f->confirms = true;
    turn(f);
    expect_renewed(asked, 60);
}

static void what_became_of_commands_of_an_earlier_term_does_not_matter(void **state)
{
    struct fixture *f = *state;

    lead(f, TERM);
    grant(f, 1, 2, 0);
    grant(f, 2, 8, 0);
    f->now_ms += 5000;
    turn(f);
    assert_int_equal(waiting(f), 2); /* an end and a checkpoint */
    follow(f, TERM + 1);
    lead(f, TERM + 2);
    commit(f, TERM + 2);
    commit(f, TERM + 2);
    assert_true(leases_known(f->machine->leases, 1));
    turn(f);
    assert_int_equal(waiting(f), 0); /* both have their whole time, and more */
    f->now_ms += 2000 + ELECTION_MS;
    turn(f);
    assert_int_equal(waiting(f), 1);
    assert_int_equal(f->proposals[f->done].kind, COMMAND_LEASE_EXPIRE);
}

/* ---- pace ---- */

static void ends_come_in_batches_each_after_the_last(void **state)
{
    struct fixture *f = *state;

    lead(f, TERM);
    for (int64_t id = 1; id <= 300; id++)
        grant(f, id, 2, 0);
    f->now_ms += 2000;
    turn(f);
    turn(f);
    assert_int_equal(waiting(f), 128);
    for (int i = 0; i < 127; i++)
        commit(f, TERM);
    turn(f);
    assert_int_equal(waiting(f), 1);
    commit(f, TERM);
    turn(f);
    assert_int_equal(waiting(f), 128);
    while (waiting(f) > 0) {
        commit(f, TERM);
        turn(f);
    }
    assert_int_equal(leases_count(f->machine->leases), 0);
}

static void checkpoints_come_in_batches_each_a_while_after_the_last(void **state)
{
    struct fixture *f = *state;

    lead(f, TERM);
    for (int64_t id = 1; id <= 2500; id++)
        grant(f, id, 160, 0);
    f->now_ms += 90000;
    turn(f);
    turn(f);
    assert_int_equal(waiting(f), 1);
    assert_int_equal(leases_in(f, 0), 1000);
    commit(f, TERM);
    turn(f);
    assert_int_equal(waiting(f), 0);
    f->now_ms = f->armed_ms;
    turn(f);
    assert_int_equal(leases_in(f, 1), 1000);
    f->now_ms += 1000; /* it takes its time */
    turn(f);
    assert_int_equal(waiting(f), 1);
    commit(f, TERM);
    turn(f);
    assert_int_equal(leases_in(f, 2), 500);
}

static void the_timer_runs_for_the_next_checkpoint_or_end(void **state)
{
    struct fixture *f = *state;
    uint64_t began_ms = f->now_ms;

    lead(f, TERM);
    grant(f, 1, 16, 0);
    turn(f);
    assert_int_equal(f->armed_ms, began_ms + 9000);
    f->now_ms += 9000;
    turn(f);
    commit(f, TERM);
    turn(f);
    assert_int_equal(f->armed_ms, began_ms + 11000);
}

/* ---- following ---- */

static void a_follower_asks_its_leader_again_until_it_answers(void **state)
{
    struct fixture *f = *state;
    struct asked *asked;
    struct reader in;
    struct buf reply;
    uint64_t number;

    grant(f, 1, 60, 0);
    follow(f, TERM);
    asked = ask(f, 1, LEASE_RENEW);
    turn(f);
    in = reader_of(buf_slice(&f->frames));
    number = read_le64(&in);
    assert_int_equal(read_u8(&in), LEASE_RENEW);
    assert_int_equal(read_le64(&in), 1);
    assert_int_equal(in.rest.len, 0);
    turn(f);
    assert_int_equal(f->frames.len, 17);
    f->now_ms = f->armed_ms;
    turn(f);
    assert_int_equal(f->frames.len, 2 * 17);

    buf_init(&reply, 100);
    for (uint64_t n = number - 1; n <= number; n++) { /* the first is nobody's */
        (void)buf_append_le64(&reply, n);
        (void)buf_append_u8(&reply, 1);
        (void)buf_append_le64(&reply, 60);
        (void)buf_append_le64(&reply, 60);
    }
    lessor__on_answer(&f->lessor, slice_of(reply.data, reply.len - 1)); /* cut off: no answer */
    assert_int_equal(asked->answers, 0);
    lessor__on_answer(&f->lessor, buf_slice(&reply));
    lessor__on_answer(&f->lessor, buf_slice(&reply));
    expect_renewed(asked, 60);
    buf_release(&reply);
}

static void a_leader_answers_other_members_once_a_checkpoint_is_cleared(void **state)
{
    struct fixture *f = *state;
    struct buf question;
    struct reader in;

    grant(f, 1, 60, 20000);
    lead(f, TERM);
    buf_init(&question, 100);
    (void)buf_append_le64(&question, 77);
    (void)buf_append_u8(&question, LEASE_RENEW);
    (void)buf_append_le64(&question, 1);
    (void)buf_append_u8(&question, 9); /* the rest of it got lost */
    lessor__on_ask(&f->lessor, 3, 42, buf_slice(&question));
    turn(f);
    assert_int_equal(f->answers.len, 0);
    commit(f, TERM);
    turn(f);
    assert_int_equal(f->answered_whom, 342);
    in = reader_of(buf_slice(&f->answers));
    assert_int_equal(read_le64(&in), 77);
    assert_int_equal(read_u8(&in), 1);
    assert_int_equal(read_le64(&in), 60);
    assert_int_equal(read_le64(&in), 60);
    assert_int_equal(in.rest.len, 0);
    buf_release(&question);
}

static void a_question_that_nobody_answers_ends(void **state)
{
    struct fixture *f = *state;
    struct asked *asked = ask(f, 1, LEASE_TIME);

    turn(f);
    f->now_ms += 6999;
    turn(f);
    assert_int_equal(asked->answers, 0);
    f->now_ms++;
    turn(f);
    assert_int_equal(asked->answers, 1);
    assert_int_equal(asked->status, STATUS_NO_LEADER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(no_renewal_before_an_entry_of_the_term_is_applied),
        TEST(the_first_entry_is_proposed_until_it_is_taken),
        TEST(the_first_entry_of_an_earlier_term_opens_no_later_one),
        TEST(renewals_in_time_write_nothing),
        TEST(renewals_wait_for_one_clear_of_all_their_checkpoints),
        TEST(a_renewal_is_not_answered_after_a_void_clear),
        TEST(a_clear_that_is_refused_is_written_later),
        TEST(commands_keep_to_the_size_they_may_have),
        TEST(a_lease_revoked_while_its_clear_is_under_way_is_unknown),
        TEST(a_renewal_of_a_due_lease_is_answered_by_its_end),
        TEST(no_lease_ends_early_because_the_clock_is_cut),
        TEST(a_leader_that_is_not_confirmed_says_and_ends_nothing),
        TEST(a_confirmation_that_took_too_long_is_none),
        TEST(what_became_of_commands_of_an_earlier_term_does_not_matter),
        TEST(ends_come_in_batches_each_after_the_last),
        TEST(checkpoints_come_in_batches_each_a_while_after_the_last),
        TEST(the_timer_runs_for_the_next_checkpoint_or_end),
        TEST(a_follower_asks_its_leader_again_until_it_answers),
        TEST(a_leader_answers_other_members_once_a_checkpoint_is_cleared),
        TEST(a_question_that_nobody_answers_ends),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
