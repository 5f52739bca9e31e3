/* Questions to the leader's clock: this member's, and as leader those of others. A follower sends
 * them in frames and repeats what was not answered; the leader answers each as often as it comes.
 */
#include <stdlib.h>

#include "base/codec.h"
#include "base/mem.h"
#include "server/lessor_internal.h"

/* ASK:    per question number u64, kind u8, lease u64
 * ANSWER: per question number u64, known u8, remaining u64, ttl u64 */
enum {
    QUESTION_SIZE = 8 + 1 + 8,
    ANSWER_SIZE = 8 + 1 + 8 + 8,
    FRAME_QUESTIONS = 2048,
    QUESTIONS_MAX = 1 << 18, /* of this member's clients, and as many of other members' */
    ASK_AGAIN_MS = 300,
};

/* A question of another member, and then its answer. */
struct guest {
    struct lease_question question;
    struct lease_answer answer;
    uint64_t from, session, number;
};

void lessor__ask_init(struct lessor *lessor, uint64_t first_number)
{
    list_init(&lessor->fresh);
    list_init(&lessor->round);
    list_init(&lessor->parked);
    list_init(&lessor->held);
    list_init(&lessor->asked);
    list_init(&lessor->own);
    list_init(&lessor->answers);
    idmap_init(&lessor->sent);
    lessor->next_number = first_number;
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

static void drop_all_guests(struct lessor *lessor)
{
    drop_guests(lessor, &lessor->fresh);
    drop_guests(lessor, &lessor->round);
    drop_guests(lessor, &lessor->parked);
    drop_guests(lessor, &lessor->held);
    drop_guests(lessor, &lessor->answers);
}

void lessor__ask_release(struct lessor *lessor)
{
    drop_all_guests(lessor);
    ASSERT(list_empty(&lessor->own));
    idmap_release(&lessor->sent);
    buf_release(&lessor->frame);
}

void lessor__ask_follow(struct lessor *lessor)
{
    drop_all_guests(lessor);
    list_splice(&lessor->fresh, &lessor->round);
    list_splice(&lessor->fresh, &lessor->parked);
    list_splice(&lessor->fresh, &lessor->held);
    list_splice(&lessor->fresh, &lessor->asked);
}

/* ---- questions of this member ---- */

bool lessor__ask(struct lessor *lessor, struct lease_question *question)
{
    if (lessor->own_count >= QUESTIONS_MAX)
        return false;
    lessor->own_count++;
    question->number = lessor->next_number++;
    question->deadline_ms = lessor__now_ms(lessor) + lessor->options.timeout_ms;
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

void lessor__give_up_late(struct lessor *lessor, uint64_t now_ms)
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

void lessor__ask_leader(struct lessor *lessor, uint64_t now_ms)
{
    const struct lessor_env *env = &lessor->options.env;

    while (!list_empty(&lessor->fresh)) {
        buf_reset(&lessor->frame);
        for (int i = 0; i < FRAME_QUESTIONS && !list_empty(&lessor->fresh); i++) {
            struct lease_question *question = lessor__first(&lessor->fresh);

            add_le64(&lessor->frame, question->number);
            add_u8(&lessor->frame, (uint8_t)question->kind);
            add_le64(&lessor->frame, (uint64_t)question->lease);
            question->sent_ms = now_ms;
            (void)idmap_put(&lessor->sent, question->number, question); /* perhaps once more */
            list_remove(&question->link);
            list_push_back(&lessor->asked, &question->link);
        }
        /* If it gets lost they are asked again. */
        env->ask(env->ctx, buf_slice(&lessor->frame));
    }
}

void lessor__ask_again(struct lessor *lessor, uint64_t now_ms)
{
    while (!list_empty(&lessor->asked) &&
           lessor__first(&lessor->asked)->sent_ms + ASK_AGAIN_MS <= now_ms) {
        struct list *link = &lessor__first(&lessor->asked)->link;

        list_remove(link);
        list_push_back(&lessor->fresh, link);
    }
}

void lessor__on_answer(struct lessor *lessor, struct slice answers)
{
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

void lessor__on_ask(struct lessor *lessor, uint64_t from, uint64_t session, struct slice questions)
{
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
    const struct lessor_env *env = &lessor->options.env;

    while (!list_empty(&lessor->answers)) {
        const struct guest *head =
            CONTAINER_OF(lessor__first(&lessor->answers), struct guest, question);
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
        env->answer(env->ctx, from, session, buf_slice(&lessor->frame));
    }
}

/* ---- leading: answers ---- */

static void move(struct lease_question *question, struct list *to)
{
    list_remove(&question->link);
    list_push_back(to, &question->link);
}

static void answer(struct lessor *lessor, struct lease_question *question, uint64_t now_ms)
{
    struct lease_answer out;
    struct lease_time time;

    if (question->kind == LEASE_RENEW)
        leases_renew(lessor->leases, question->lease, lessor__begin_ms(lessor), &time);
    else
        leases_time(lessor->leases, question->lease, now_ms, &time);
    if (question->kind == LEASE_RENEW && time.state == LEASE_DUE) {
        move(question, &lessor->parked);
        return;
    }
    if (time.state == LEASE_HELD && (lessor->options.guards_off & LESSOR_GUARD_CLEAR) == 0) {
        move(question, &lessor->held);
        return;
    }
    lessor->renewed += question->kind == LEASE_RENEW && time.state == LEASE_LIVE;
    out = (struct lease_answer){.known = time.state != LEASE_UNKNOWN,
                                .remaining = time.remaining_ms / 1000,
                                .ttl = time.ttl};
    finish(lessor, question, &out);
}

void lessor__answer_round(struct lessor *lessor, uint64_t now_ms)
{
    while (!list_empty(&lessor->round))
        answer(lessor, lessor__first(&lessor->round), now_ms);
    send_answers(lessor);
}

void lessor__answer_parked(struct lessor *lessor, uint64_t now_ms)
{
    struct list parked;

    if (list_empty(&lessor->parked))
        return;
    list_init(&parked);
    list_splice(&parked, &lessor->parked);
    while (!list_empty(&parked))
        answer(lessor, lessor__first(&parked), now_ms); /* or back to lessor->parked */
    send_answers(lessor);
}

void lessor__release_held(struct lessor *lessor)
{
    while (!list_empty(&lessor->held) &&
           !leases_awaits_clear(lessor->leases, lessor__first(&lessor->held)->lease))
        move(lessor__first(&lessor->held), &lessor->fresh);
}

uint64_t lessor__ask_next_ms(const struct lessor *lessor)
{
    uint64_t at_ms = UINT64_MAX;

    if (!list_empty(&lessor->asked))
        at_ms = lessor__first(&lessor->asked)->sent_ms + ASK_AGAIN_MS;
    if (!list_empty(&lessor->own))
        at_ms = MIN(at_ms, LIST_FIRST(&lessor->own, struct lease_question, deadline)->deadline_ms);
    return at_ms;
}
