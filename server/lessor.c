#include "server/lessor.h"

#include <stdlib.h>

#include "base/codec.h"
#include "base/mem.h"
#include "proto/command.pb-c.h"
#include "server/member_internal.h"

/* ASK:    per question number u64, kind u8, lease u64
 * ANSWER: per question number u64, known u8, remaining u64, ttl u64 */
enum {
    QUESTION_SIZE = 8 + 1 + 8,
    ANSWER_SIZE = 8 + 1 + 8 + 8,
    FRAME_QUESTIONS = 2048,
    QUESTIONS_MAX = 1 << 18, /* of this member's clients, and as many of other members' */
    ASK_AGAIN_MS = 300,
    EXPIRE_BATCH = 128,       /* leases ended by one entry ... */
    EXPIRE_BATCH_KEYS = 1024, /* ... or so many keys: about a millisecond of every member's time */
    EXPIRE_AGAIN_MS = 3000,   /* as etcd */
    LEADERLESS_TIMEOUTS = 3,  /* after so many, streams that want a leader end */
};

/* A question of another member, and then its answer. */
struct guest {
    struct lease_question question;
    struct lease_answer answer;
    uint64_t from, session, number;
};

uint64_t lessor__now_ms(void)
{
    return uv_hrtime() / 1000000;
}

static struct lease_question *first(struct list *list)
{
    return LIST_FIRST(list, struct lease_question, link);
}

static struct leases *leases_of(const struct lessor *lessor)
{
    return lessor->member->machine->leases;
}

static bool leads(const struct lessor *lessor)
{
    return lessor->lead_term != 0 && lessor->lead_term == lessor->member->term;
}

/* ---- life ---- */

static void on_timer(uv_timer_t *timer)
{
    struct lessor *lessor = CONTAINER_OF(timer, struct lessor, timer);

    lessor->armed_ms = 0; /* the turn that follows does the work */
}

void lessor__init(struct lessor *lessor, struct member *member, uint64_t seed)
{
    lessor->member = member;
    prng_seed(&lessor->prng, seed);
    (void)uv_timer_init(member->loop, &lessor->timer); /* only links it into the loop */
    list_init(&lessor->confirm.link);
    list_init(&lessor->fresh);
    list_init(&lessor->round);
    list_init(&lessor->parked);
    list_init(&lessor->asked);
    list_init(&lessor->own);
    list_init(&lessor->answers);
    list_init(&lessor->streams);
    idmap_init(&lessor->sent);
    lessor->next_number = prng_next(&lessor->prng);
    buf_init(&lessor->frame, REPLICA_ASK_SIZE_MAX);
}

static bool is_guest(const struct lease_question *question)
{
    return list_empty(&question->deadline);
}

static void drop_guest(struct lessor *lessor, struct lease_question *question)
{
    list_remove(&question->link);
    free(CONTAINER_OF(question, struct guest, question));
    lessor->guests--;
}

static void drop_guests(struct lessor *lessor, struct list *list)
{
    LIST_EACH_SAFE (node, list) {
        struct lease_question *question = LIST_ENTRY(node, struct lease_question, link);

        if (is_guest(question))
            drop_guest(lessor, question);
    }
}

void lessor__release(struct lessor *lessor)
{
    drop_guests(lessor, &lessor->fresh);
    drop_guests(lessor, &lessor->round);
    drop_guests(lessor, &lessor->parked);
    drop_guests(lessor, &lessor->answers);
    ASSERT(list_empty(&lessor->own));
    idmap_release(&lessor->sent);
    buf_release(&lessor->frame);
}

int64_t lessor__new_id(struct lessor *lessor)
{
    int64_t id;

    do
        id = (int64_t)(prng_next(&lessor->prng) & INT64_MAX);
    while (id == LEASE_NONE || leases_known(leases_of(lessor), id));
    return id;
}

int64_t lessor__ttl_min(const struct lessor *lessor)
{
    const struct config *config = lessor->member->config;
    uint64_t ticks = config->election_ms / config->heartbeat_ms;

    return (int64_t)((3 * ticks / 2 * config->heartbeat_ms + 999) / 1000);
}

/* ---- questions of this member ---- */

bool lessor__ask(struct lessor *lessor, struct lease_question *question)
{
    if (lessor->own_count >= QUESTIONS_MAX)
        return false;
    lessor->own_count++;
    question->number = lessor->next_number++;
    question->deadline_ms = lessor__now_ms() + lessor->member->timeout_ms;
    list_push_back(&lessor->own, &question->deadline);
    list_push_back(&lessor->fresh, &question->link);
    return true;
}

void lessor__cancel(struct lessor *lessor, struct lease_question *question)
{
    if (is_guest(question)) /* answered already: its links are its own */
        return;
    lessor->own_count--;
    (void)idmap_remove(&lessor->sent, question->number); /* if it was sent at all */
    list_remove(&question->link);
    list_remove(&question->deadline);
}

static void finish_own(struct lessor *lessor, struct lease_question *question, enum status status,
                       const struct lease_answer *answer)
{
    lessor__cancel(lessor, question);
    question->cb(question, status, answer);
}

static void finish(struct lessor *lessor, struct lease_question *question,
                   const struct lease_answer *answer)
{
    struct guest *guest;

    if (!is_guest(question)) {
        finish_own(lessor, question, STATUS_OK, answer);
        return;
    }
    guest = CONTAINER_OF(question, struct guest, question);
    guest->answer = *answer;
    list_remove(&question->link);
    list_push_back(&lessor->answers, &question->link);
}

void lessor__fail(struct lessor *lessor, enum status status)
{
    while (!list_empty(&lessor->own))
        finish_own(lessor, LIST_FIRST(&lessor->own, struct lease_question, deadline), status, NULL);
}

static void give_up_late(struct lessor *lessor, uint64_t now_ms)
{
    while (!list_empty(&lessor->own)) {
        struct lease_question *question = LIST_FIRST(&lessor->own, struct lease_question, deadline);

        if (question->deadline_ms > now_ms)
            return;
        finish_own(lessor, question, STATUS_NO_LEADER, NULL);
    }
}

/* ---- following: asking the leader ---- */

static void add_le64(struct buf *out, uint64_t value)
{
    int rc = buf_append_le64(out, value);

    ASSERT(rc == 0); /* frames are far below REPLICA_ASK_SIZE_MAX */
}

static void add_u8(struct buf *out, uint8_t value)
{
    int rc = buf_append_u8(out, value);

    ASSERT(rc == 0); /* as above */
}

static void ask_leader(struct lessor *lessor, uint64_t now_ms)
{
    while (!list_empty(&lessor->fresh)) {
        buf_reset(&lessor->frame);
        for (int i = 0; i < FRAME_QUESTIONS && !list_empty(&lessor->fresh); i++) {
            struct lease_question *question = first(&lessor->fresh);

            add_le64(&lessor->frame, question->number);
            add_u8(&lessor->frame, (uint8_t)question->kind);
            add_le64(&lessor->frame, (uint64_t)question->lease);
            question->sent_ms = now_ms;
            (void)idmap_put(&lessor->sent, question->number, question); /* perhaps once more */
            list_remove(&question->link);
            list_push_back(&lessor->asked, &question->link);
        }
        /* If it gets lost they are asked again. */
        (void)replica_ask(lessor->member->replica, buf_slice(&lessor->frame));
    }
}

static void ask_again(struct lessor *lessor, uint64_t now_ms)
{
    while (!list_empty(&lessor->asked) && first(&lessor->asked)->sent_ms + ASK_AGAIN_MS <= now_ms) {
        struct list *link = &first(&lessor->asked)->link;

        list_remove(link);
        list_push_back(&lessor->fresh, link);
    }
}

void lessor__on_answer(void *ctx, struct slice answers)
{
    struct member *member = ctx;
    struct lessor *lessor = &member->lessor;
    struct reader in = reader_of(answers);

    while (in.rest.len >= ANSWER_SIZE) {
        struct lease_question *question = idmap_get(&lessor->sent, read_le64(&in));
        struct lease_answer answer = {.known = read_u8(&in) != 0};

        answer.remaining = (int64_t)read_le64(&in);
        answer.ttl = (int64_t)read_le64(&in);
        if (question != NULL) /* else: answered or given up already */
            finish_own(lessor, question, STATUS_OK, &answer);
    }
}

/* ---- leading: other members' questions ---- */

void lessor__on_ask(void *ctx, uint64_t from, uint64_t session, struct slice questions)
{
    struct member *member = ctx;
    struct lessor *lessor = &member->lessor;
    struct reader in = reader_of(questions);

    while (in.rest.len >= QUESTION_SIZE && lessor->guests < QUESTIONS_MAX) {
        struct guest *guest = xcalloc(1, sizeof *guest);

        guest->from = from;
        guest->session = session;
        guest->number = read_le64(&in);
        guest->question.kind = (enum lease_question_kind)read_u8(&in);
        guest->question.lease = (int64_t)read_le64(&in);
        list_init(&guest->question.deadline);
        list_push_back(&lessor->fresh, &guest->question.link);
        lessor->guests++;
    }
}

/* One frame for all that go to the same place. */
static void send_answers(struct lessor *lessor)
{
    while (!list_empty(&lessor->answers)) {
        const struct guest *head = CONTAINER_OF(first(&lessor->answers), struct guest, question);
        uint64_t from = head->from, session = head->session;
        int count = 0;

        buf_reset(&lessor->frame);
        LIST_EACH_SAFE (node, &lessor->answers) {
            struct guest *guest = LIST_ENTRY(node, struct guest, question.link);

            if (guest->from != from || guest->session != session)
                continue;
            add_le64(&lessor->frame, guest->number);
            add_u8(&lessor->frame, guest->answer.known);
            add_le64(&lessor->frame, (uint64_t)guest->answer.remaining);
            add_le64(&lessor->frame, (uint64_t)guest->answer.ttl);
            drop_guest(lessor, &guest->question);
            if (++count == FRAME_QUESTIONS)
                break;
        }
        replica_answer(lessor->member->replica, from, session, buf_slice(&lessor->frame));
    }
}

/* ---- leading: answers ---- */

static void answer(struct lessor *lessor, struct lease_question *question, uint64_t now_ms)
{
    struct lease_answer out;
    struct lease_time time;

    if (question->kind == LEASE_RENEW)
        leases_renew(leases_of(lessor), question->lease, now_ms, &time);
    else
        leases_time(leases_of(lessor), question->lease, now_ms, &time);
    if (question->kind == LEASE_RENEW && time.state == LEASE_DUE) {
        list_remove(&question->link);
        list_push_back(&lessor->parked, &question->link);
        return;
    }
    out = (struct lease_answer){.known = time.state != LEASE_UNKNOWN,
                                .remaining = time.remaining_ms / 1000,
                                .ttl = time.ttl};
    finish(lessor, question, &out);
}

/* Renewals of leases that were due: the answer is how that ended. */
static void answer_parked(struct lessor *lessor, uint64_t now_ms)
{
    struct list parked;

    if (list_empty(&lessor->parked))
        return;
    list_init(&parked);
    list_splice(&parked, &lessor->parked);
    while (!list_empty(&parked))
        answer(lessor, first(&parked), now_ms); /* or back to lessor->parked */
    send_answers(lessor);
}

/* ---- leading: the end of leases ---- */

/* Inside apply: nothing may be proposed here. */
static void on_expired(struct member *member, struct grpc_call *call, const void *request,
                       enum status status, const struct machine_result *result)
{
    struct lessor *lessor = &member->lessor;
    const int64_t *id = request;

    (void)call; /* none */
    (void)result;
    lessor->expiring--;
    if (status != STATUS_OK) /* harmless if it is gone, or the clock is another leader's now */
        leases_put_back(leases_of(lessor), *id, lessor__now_ms() + EXPIRE_AGAIN_MS);
    free((void *)(uintptr_t)id);
}

static bool propose_end(struct lessor *lessor, int64_t id)
{
    Kvdpb__LeaseExpire message = KVDPB__LEASE_EXPIRE__INIT;
    uint8_t body[32]; /* two numbers with their tags */
    enum status status;
    int64_t *copy;

    message.term = lessor->lead_term;
    message.id = id;
    copy = xmemdup(&id, sizeof id);
    status = member__write(lessor->member, NULL, copy, COMMAND_LEASE_EXPIRE,
                           slice_of(body, kvdpb__lease_expire__pack(&message, body)), on_expired);
    if (status != STATUS_OK)
        free(copy);
    else
        lessor->expiring++;
    return status == STATUS_OK;
}

/* A bounded number at a time, the next ones only when these have been applied: clients' writes go
 * between. */
static void end_due(struct lessor *lessor, uint64_t now_ms)
{
    struct leases *leases = leases_of(lessor);
    size_t keys = 0;
    int64_t id;

    for (int i = 0; i < EXPIRE_BATCH && keys < EXPIRE_BATCH_KEYS; i++) {
        if (!leases_take_due(leases, now_ms, &id))
            return;
        keys += leases_key_count(leases, id);
        if (!propose_end(lessor, id)) {
            leases_put_back(leases, id, now_ms + EXPIRE_AGAIN_MS);
            return;
        }
    }
}

/* ---- leading: confirmed ---- */

/* Leadership was confirmed after everything in `round` had been asked. */
static void on_confirmed(struct lessor *lessor)
{
    struct member *member = lessor->member;
    uint64_t now_ms = lessor__now_ms();

    if (!leads(lessor)) {
        leases_lead(leases_of(lessor), now_ms, member->config->election_ms);
        lessor->lead_term = member->term;
    }
    while (!list_empty(&lessor->round))
        answer(lessor, first(&lessor->round), now_ms);
    send_answers(lessor);
    if (lessor->expiring == 0)
        end_due(lessor, now_ms);
}

static void on_confirm(struct replica_read *read, int status)
{
    struct lessor *lessor = CONTAINER_OF(read, struct lessor, confirm);
    const struct member *member = lessor->member;

    (void)status; /* it only says yes, late or never */
    lessor->confirming = false;
    /* Another leader may have answered, or this process have slept since. */
    if (member->role == REPLICA_LEADER && member->term == lessor->confirm_term &&
        lessor__now_ms() - lessor->confirm_ms < member->config->election_ms)
        on_confirmed(lessor);
    else
        list_splice(&lessor->fresh, &lessor->round);
}

static bool due(const struct lessor *lessor, uint64_t now_ms)
{
    return lessor->expiring == 0 && leases_next_due(leases_of(lessor)) <= now_ms;
}

static void confirm(struct lessor *lessor, uint64_t now_ms)
{
    list_splice(&lessor->round, &lessor->fresh);
    lessor->confirming = true;
    lessor->confirm_term = lessor->member->term;
    lessor->confirm_ms = now_ms;
    lessor->confirm = (struct replica_read){.cb = on_confirm};
    list_init(&lessor->confirm.link);
    if (replica_read(lessor->member->replica, &lessor->confirm))
        on_confirm(&lessor->confirm, 0);
}

/* ---- the turn ---- */

/* From inside consensus: questions only move. */
void lessor__role_changed(struct lessor *lessor)
{
    if (leads(lessor) && lessor->member->role == REPLICA_LEADER)
        return;
    if (leases_leading(leases_of(lessor)))
        leases_follow(leases_of(lessor));
    lessor->lead_term = 0;
    drop_guests(lessor, &lessor->fresh);
    drop_guests(lessor, &lessor->round);
    drop_guests(lessor, &lessor->parked);
    drop_guests(lessor, &lessor->answers);
    list_splice(&lessor->fresh, &lessor->round);
    list_splice(&lessor->fresh, &lessor->parked);
    list_splice(&lessor->fresh, &lessor->asked);
}

static uint64_t patience_ends(const struct lessor *lessor)
{
    if (lessor->leaderless_ms == 0 || list_empty(&lessor->streams))
        return UINT64_MAX;
    return lessor->leaderless_ms +
           LEADERLESS_TIMEOUTS * (uint64_t)lessor->member->config->election_ms;
}

static void watch_leader(struct lessor *lessor, uint64_t now_ms)
{
    if (lessor->member->leader != 0)
        lessor->leaderless_ms = 0;
    else if (lessor->leaderless_ms == 0)
        lessor->leaderless_ms = now_ms;
    if (patience_ends(lessor) > now_ms)
        return;
    lessor__end_streams(lessor, LESSOR_STREAMS_WITH_LEADER, STATUS_NO_LEADER);
    lessor->leaderless_ms = now_ms; /* those that came meanwhile: looked at again later */
}

static void arm(struct lessor *lessor, uint64_t now_ms)
{
    uint64_t at_ms = patience_ends(lessor);
    int rc;

    if (lessor->expiring == 0 && !lessor->confirming)
        at_ms = leases_next_due(leases_of(lessor));
    if (!list_empty(&lessor->asked))
        at_ms = MIN(at_ms, first(&lessor->asked)->sent_ms + ASK_AGAIN_MS);
    if (!list_empty(&lessor->own))
        at_ms = MIN(at_ms, LIST_FIRST(&lessor->own, struct lease_question, deadline)->deadline_ms);
    /* Running for something earlier: it looks for itself what comes next. */
    if (at_ms == UINT64_MAX || (lessor->armed_ms != 0 && lessor->armed_ms <= at_ms))
        return;
    lessor->armed_ms = at_ms;
    rc = uv_timer_start(&lessor->timer, on_timer, at_ms > now_ms ? at_ms - now_ms : 1, 0);
    ASSERT(rc == 0); /* fails only without a callback or while closing */
}

void lessor__turn(struct lessor *lessor)
{
    const struct member *member = lessor->member;
    uint64_t now_ms = lessor__now_ms();

    watch_leader(lessor, now_ms);
    give_up_late(lessor, now_ms);
    ask_again(lessor, now_ms);
    if (member->role == REPLICA_LEADER && !lessor->confirming &&
        (!list_empty(&lessor->fresh) || !leads(lessor) || due(lessor, now_ms)))
        confirm(lessor, now_ms);
    else if (member->role == REPLICA_FOLLOWER && member->leader != 0)
        ask_leader(lessor, now_ms);
}

void lessor__turn_end(struct lessor *lessor)
{
    uint64_t now_ms = lessor__now_ms();

    answer_parked(lessor, now_ms);
    arm(lessor, now_ms);
}
