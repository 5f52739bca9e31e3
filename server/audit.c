#include "server/audit.h"

#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "base/mem.h"
#include "base/util.h"

/* Little-endian, behind a number that no question of the lessor has and a kind (u8):
 *   REPORT  round u64, history known u8, history u64, keys known u8, compact revision u64, hash
 * u32, wanted index u64 ROUND   round u64, index u64, deep u8, agreed u8 */
enum {
    REPORT = 1,
    ROUND = 2,
    HEAD_SIZE = 8 + 1,
    REPORT_SIZE = HEAD_SIZE + 8 + 1 + 8 + 1 + 8 + 4 + 8,
    ROUND_SIZE = HEAD_SIZE + 8 + 8 + 1 + 1,

    INTERVAL_MS = 1000,
    DEEP_MS = 10 * 60 * 1000,
    SETTLE_MS = 10 * 1000,
    SILENT_MS = 5000, /* who has said nothing for so long is not waited for */
    ROUND_MS = 10 * 1000,
    DEEP_ROUND_MS = 30 * 60 * 1000,
    SPLITS = 2,           /* rounds without a majority in a row ... */
    SPLIT_MS = 60 * 1000, /* ... and since so long, if a voter may yet tell who is right */

    RING = 4096, /* entries whose hashes are remembered: followers are told of a round at once */
    SLICE_RECORDS = 2000, /* of a hash: some 0.3 ms ... */
    SLICE_MS = 10,        /* ... so often; at once while a compaction waits for it */
};

static const uint64_t magic = UINT64_MAX;

struct mark {
    uint64_t index, history;
    int64_t revision;
};

enum known { PENDING, UNKNOWN, KNOWN };

/* What a member says in a round. */
struct report {
    enum known history_known, keys_known;
    uint64_t history;
    int64_t compact_revision;
    uint32_t hash;
};

struct party {
    uint64_t id, session; /* session 0: not heard of in this term */
    uint64_t heard_ms;
    bool untold;         /* of the round under way, or of having agreed */
    bool voter, present; /* in the configuration of the round */
    uint64_t agreed;     /* session in which a deep round found it right; 0: none */
    struct report report;
};

struct audit {
    struct audit_options options;
    struct mark ring[RING];
    uint64_t applied;
    bool leads, has_agreed;
    uint64_t want;

    /* The round under way, as leader or follower; number 0: none. */
    uint64_t number, index;
    bool deep;
    struct report mine;
    struct mvcc_hash hash;
    bool hashing;
    bool report_due;
    uint64_t tick_ms, slice_ms;

    /* Leader. */
    uint64_t next_number;
    bool judged; /* the round is over */
    uint64_t begun_ms, deep_last_ms;
    uint64_t settle_ms; /* doubles while deep rounds settle nothing */
    unsigned splits;
    uint64_t split_ms; /* the first of them */
    struct party parties[REPLICA_MEMBERS_MAX];
    size_t party_count;
};

static uint64_t now_ms(const struct audit *a)
{
    return a->options.now_ms(a->options.ctx);
}

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
    return value == 0 ? otherwise : value;
}

struct audit *audit_new(const struct audit_options *options)
{
    struct audit *a = xcalloc(1, sizeof *a);

    a->options = *options;
    a->options.interval_ms = or_default(options->interval_ms, INTERVAL_MS);
    a->options.deep_ms = or_default(options->deep_ms, DEEP_MS);
    a->options.settle_ms = or_default(options->settle_ms, SETTLE_MS);
    return a;
}

static void stop_hashing(struct audit *a)
{
    if (a->hashing)
        mvcc_hash_end(&a->hash);
    a->hashing = false;
}

void audit_free(struct audit *a)
{
    if (a == NULL)
        return;
    stop_hashing(a);
    free(a);
}

void audit_applied(struct audit *a, uint64_t index, uint64_t history, int64_t revision)
{
    a->ring[index % RING] = (struct mark){.index = index, .history = history, .revision = revision};
    a->applied = index;
}

void audit_switch(struct audit *a)
{
    stop_hashing(a);
    memset(a->ring, 0, sizeof a->ring);
    a->has_agreed = false;
    a->mine = (struct report){0}; /* the round goes on with what comes */
}

void audit_want(struct audit *a, uint64_t index)
{
    a->want = index;
}

bool audit_has_agreed(const struct audit *a)
{
    return a->has_agreed;
}

void audit_role_changed(struct audit *a, bool leads)
{
    stop_hashing(a);
    a->leads = leads;
    a->number = 0;
    a->party_count = 0;
    a->splits = 0;
    a->judged = true;
    a->settle_ms = a->options.settle_ms;
    a->deep_last_ms = now_ms(a); /* the first one comes after things have settled */
    a->tick_ms = 0;
}

/* ---- frames ---- */

bool audit_is_frame(struct slice bytes)
{
    return bytes.len >= HEAD_SIZE && get_le64(bytes.data) == magic;
}

static void send_report(struct audit *a)
{
    uint8_t frame[REPORT_SIZE], *p = frame;
    const struct report *r = &a->mine;
    bool deep_done = r->keys_known != PENDING || !a->deep;

    put_le64(p, magic);
    p[8] = REPORT;
    put_le64(p + 9, a->number);
    p[17] = (uint8_t)(a->number == 0 ? PENDING : r->history_known);
    put_le64(p + 18, r->history);
    p[26] = (uint8_t)(deep_done && r->keys_known == PENDING ? UNKNOWN : r->keys_known);
    put_le64(p + 27, (uint64_t)r->compact_revision);
    put_le32(p + 35, r->hash);
    put_le64(p + 39, a->want);
    (void)a->options.ask(a->options.ctx, slice_of(frame, sizeof frame)); /* lost: said again */
    a->report_due = false;
}

static void send_round(struct audit *a, const struct party *to)
{
    uint8_t frame[ROUND_SIZE];

    put_le64(frame, magic);
    frame[8] = ROUND;
    put_le64(frame + 9, a->number);
    put_le64(frame + 17, a->index);
    frame[25] = a->deep;
    frame[26] = to->agreed == to->session;
    a->options.answer(a->options.ctx, to->id, to->session, slice_of(frame, sizeof frame));
}

static enum known known_of(uint8_t byte)
{
    return byte == KNOWN ? KNOWN : byte == UNKNOWN ? UNKNOWN : PENDING;
}

/* ---- this member's own hashes ---- */

static void begin_hashing(struct audit *a, int64_t revision)
{
    struct mvcc *mvcc = a->options.mvcc(a->options.ctx);

    if (mvcc_hash_begin(mvcc, revision, &a->hash) != 0)
        return; /* compacted since: the next round will do */
    a->mine.keys_known = PENDING;
    a->hashing = true;
    a->slice_ms = 0;
}

static void look_up(struct audit *a)
{
    const struct mark *mark = &a->ring[a->index % RING];
    struct report *r = &a->mine;

    if (a->number == 0 || r->history_known != PENDING || a->applied < a->index)
        return;
    r->history_known = r->keys_known = UNKNOWN;
    if (a->want == 0 && mark->index == a->index) {
        r->history = mark->history;
        if (mark->history != 0)
            r->history_known = KNOWN;
        if (a->deep)
            begin_hashing(a, mark->revision);
    }
    a->report_due = true;
}

static void hash_on(struct audit *a)
{
    uint64_t now = now_ms(a);

    if (!a->hashing || (now < a->slice_ms && !mvcc_compact_pending(a->hash.mvcc)))
        return;
    a->slice_ms = now + SLICE_MS;
    if (!mvcc_hash_step(&a->hash, SLICE_RECORDS))
        return;
    a->mine.hash = a->hash.hash;
    a->mine.compact_revision = a->hash.compact_revision;
    a->mine.keys_known = KNOWN;
    stop_hashing(a);
    a->report_due = true;
}

static void enter_round(struct audit *a, uint64_t number, uint64_t index, bool deep)
{
    stop_hashing(a);
    a->number = number;
    a->index = index;
    a->deep = deep;
    a->mine = (struct report){0};
    look_up(a);
}

/* ---- follower ---- */

void audit_on_round(struct audit *a, struct slice frame)
{
    uint64_t number;

    if (frame.len != ROUND_SIZE || frame.data[8] != ROUND || a->leads)
        return;
    number = get_le64(frame.data + 9);
    if (frame.data[26] == 1 && a->want == 0)
        a->has_agreed = true;
    if (number != 0 && number != a->number)
        enter_round(a, number, get_le64(frame.data + 17), frame.data[25] == 1);
}

/* ---- leader: the parties ---- */

static struct party *find(struct audit *a, uint64_t id)
{
    for (size_t i = 0; i < a->party_count; i++)
        if (a->parties[i].id == id)
            return &a->parties[i];
    return NULL;
}

/* Those of the configuration, and what is known of them; those that have gone are forgotten. */
static void list_parties(struct audit *a)
{
    struct replica_configuration *now = xmalloc(sizeof *now);
    size_t kept = 0;

    a->options.configuration(a->options.ctx, now);
    for (size_t i = 0; i < a->party_count; i++)
        a->parties[i].present = false;
    for (size_t i = 0; i < now->count; i++) {
        struct party *party = find(a, now->members[i].id);

        if (party == NULL && a->party_count < REPLICA_MEMBERS_MAX) {
            party = &a->parties[a->party_count++];
            *party = (struct party){.id = now->members[i].id};
        }
        if (party == NULL)
            continue; /* the table is full of those that left; next round */
        party->present = true;
        party->voter = now->members[i].voter;
        if (party->id == a->options.self)
            party->session = 1;
    }
    for (size_t i = 0; i < a->party_count; i++)
        if (a->parties[i].present)
            a->parties[kept++] = a->parties[i];
    a->party_count = kept;
    free(now);
}

void audit_on_report(struct audit *a, uint64_t from, uint64_t session, struct slice frame)
{
    struct party *party = find(a, from);
    uint64_t number, want;

    if (frame.len != REPORT_SIZE || frame.data[8] != REPORT || !a->leads || party == NULL ||
        session == 0)
        return;
    if (party->session != session) {
        party->report = (struct report){0};
        a->settle_ms = a->options.settle_ms;
    }
    party->session = session;
    number = get_le64(frame.data + 9);
    want = get_le64(frame.data + 39);
    party->heard_ms = now_ms(a);
    if (want != 0 && want != UINT64_MAX)
        a->options.on_want(a->options.ctx, from, want);
    if (number != a->number || a->number == 0 || a->judged) {
        party->untold = !a->judged; /* it has not heard of it */
        return;
    }
    party->report = (struct report){
        .history_known = known_of(frame.data[17]),
        .history = get_le64(frame.data + 18),
        .keys_known = known_of(frame.data[26]),
        .compact_revision = (int64_t)get_le64(frame.data + 27),
        .hash = get_le32(frame.data + 35),
    };
}

/* ---- leader: verdicts ---- */

typedef bool (*pairs)(const struct party *a, const struct party *b);

static bool compares_history(const struct party *a, const struct party *b)
{
    return a->report.history_known == KNOWN && b->report.history_known == KNOWN;
}

static bool same_history(const struct party *a, const struct party *b)
{
    return compares_history(a, b) && a->report.history == b->report.history;
}

/* Hashes after different compactions, or histories, say nothing about each other. Members that
 * began with a version that kept no history have hashes all the same. */
static bool compares_keys(const struct party *a, const struct party *b)
{
    return a->report.history == b->report.history && a->report.keys_known == KNOWN &&
           b->report.keys_known == KNOWN &&
           a->report.compact_revision == b->report.compact_revision;
}

static bool same_keys(const struct party *a, const struct party *b)
{
    return compares_keys(a, b) && a->report.hash == b->report.hash;
}

/* One of a majority of the voters that say the same; NULL: there is none. */
static const struct party *majority(const struct audit *a, pairs is_same)
{
    size_t voters = 0;

    for (size_t i = 0; i < a->party_count; i++)
        voters += a->parties[i].voter;
    for (size_t i = 0; i < a->party_count; i++) {
        size_t count = 0;

        for (size_t k = 0; k < a->party_count; k++)
            count += a->parties[k].voter && is_same(&a->parties[i], &a->parties[k]);
        if (count > voters / 2)
            return &a->parties[i];
    }
    return NULL;
}

static bool differs_in_history(const struct party *a, const struct party *b)
{
    return compares_history(a, b) && !same_history(a, b);
}

static bool differs_in_keys(const struct party *a, const struct party *b)
{
    return compares_keys(a, b) && !same_keys(a, b);
}

static bool any_pair(const struct audit *a, pairs differs)
{
    for (size_t i = 0; i < a->party_count; i++)
        for (size_t k = 0; k < i; k++)
            if (differs(&a->parties[i], &a->parties[k]))
                return true;
    return false;
}

/* Looked at twice; and a while longer if a voter that says nothing now may make a majority when it
 * is back: nobody can undo for the members what is refused from then on. */
static bool is_split(struct audit *a, pairs compares)
{
    bool all = true;

    if (a->splits++ == 0)
        a->split_ms = now_ms(a);
    for (size_t i = 0; i < a->party_count; i++)
        all = all && (!a->parties[i].voter || compares(&a->parties[0], &a->parties[i]));
    return a->splits >= SPLITS && (all || now_ms(a) - a->split_ms >= SPLIT_MS);
}

/* Who differs from what a majority says; or that there is none. True: somebody does. */
static bool judge_by(struct audit *a, pairs is_same, pairs differs, pairs compares)
{
    const struct party *right = majority(a, is_same);
    bool odd = false;

    if (right == NULL && any_pair(a, differs)) {
        if (!is_split(a, compares))
            return true;
        for (size_t i = 0; i < a->party_count; i++)
            if (a->parties[i].report.history_known == KNOWN)
                a->options.on_verdict(a->options.ctx, a->parties[i].id, AUDIT_SPLIT, a->index);
        return true;
    }
    for (size_t i = 0; right != NULL && i < a->party_count; i++) {
        struct party *party = &a->parties[i];

        if (!differs(right, party))
            continue;
        party->agreed = 0;
        odd = true;
        a->options.on_verdict(a->options.ctx, party->id, AUDIT_ODD, a->index);
    }
    return odd;
}

static void note_agreement(struct audit *a)
{
    const struct party *right = majority(a, same_keys);

    for (size_t i = 0; right != NULL && i < a->party_count; i++) {
        struct party *party = &a->parties[i];

        if (!same_keys(right, party))
            continue;
        party->agreed = party->session;
        if (party->id == a->options.self)
            a->has_agreed = true;
        party->untold = true;
        a->options.on_verdict(a->options.ctx, party->id, AUDIT_AGREES, a->index);
    }
}

/* Started since the last deep round that found it right. */
static bool any_unsettled(const struct audit *a)
{
    for (size_t i = 0; i < a->party_count; i++)
        if (a->parties[i].session != 0 && a->parties[i].agreed != a->parties[i].session)
            return true;
    return false;
}

static void judge(struct audit *a)
{
    bool bad = judge_by(a, same_history, differs_in_history, compares_history);

    a->judged = true;
    if (a->deep) {
        bad = judge_by(a, same_keys, differs_in_keys, compares_keys) || bad;
        a->deep_last_ms = now_ms(a);
        note_agreement(a);
        a->settle_ms =
            any_unsettled(a) ? MIN(2 * a->settle_ms, a->options.deep_ms) : a->options.settle_ms;
        if (!bad)
            a->splits = 0;
    }
}

static bool is_silent(const struct audit *a, const struct party *party)
{
    return party->id != a->options.self &&
           (party->session == 0 || now_ms(a) - party->heard_ms >= SILENT_MS);
}

/* Who has not applied as much yet is waited for, but not as long as who computes: it may never. */
static bool all_reported(const struct audit *a)
{
    bool late = now_ms(a) - a->begun_ms >= ROUND_MS;

    for (size_t i = 0; i < a->party_count; i++) {
        const struct report *r = &a->parties[i].report;

        if (is_silent(a, &a->parties[i]))
            continue;
        if (r->history_known == PENDING ? !late : a->deep && r->keys_known == PENDING)
            return false;
    }
    return true;
}

static bool heals(const struct audit *a, const struct party *party)
{
    return !is_silent(a, party) && a->options.is_healing(a->options.ctx, party->id);
}

static bool any_heals(const struct audit *a)
{
    for (size_t i = 0; i < a->party_count; i++)
        if (heals(a, &a->parties[i]))
            return true;
    return false;
}

/* It has a state again, as the last round has shown. */
static bool any_awaits_verdict(const struct audit *a)
{
    for (size_t i = 0; i < a->party_count; i++)
        if (a->parties[i].report.history_known == KNOWN &&
            a->parties[i].agreed != a->parties[i].session && heals(a, &a->parties[i]))
            return true;
    return false;
}

static bool deep_is_due(struct audit *a, uint64_t now)
{
    uint64_t since = now - a->deep_last_ms;

    if (since >= a->options.deep_ms)
        return true;
    if (since < a->options.interval_ms)
        return false;
    if (a->splits > 0 || any_awaits_verdict(a))
        return true;
    return since >= a->settle_ms && any_unsettled(a);
}

/* A majority of the voters. */
static bool enough_are_there(const struct audit *a)
{
    size_t voters = 0, there = 0;

    for (size_t i = 0; i < a->party_count; i++) {
        voters += a->parties[i].voter;
        there += a->parties[i].voter && !is_silent(a, &a->parties[i]);
    }
    return there > voters / 2;
}

static void begin_round(struct audit *a, uint64_t now)
{
    bool deep;

    list_parties(a);
    deep = deep_is_due(a, now);
    if (!enough_are_there(a) || a->party_count < 2 || a->applied == 0 ||
        (!deep && a->applied == a->index && a->number != 0 && !any_heals(a)))
        return; /* nothing to compare, or it was compared already */
    for (size_t i = 0; i < a->party_count; i++) {
        a->parties[i].report = (struct report){0};
        a->parties[i].untold = true;
    }
    a->judged = false;
    a->begun_ms = now;
    enter_round(a, ++a->next_number, a->applied, deep);
}

/* A little early where the member is awake anyway, most often with a heartbeat: what is said then
 * goes along with it, and neither side wakes up once more. */
static bool tick_due(const struct audit *a, uint64_t now)
{
    return now + a->options.interval_ms / 8 >= a->tick_ms;
}

static void lead(struct audit *a, uint64_t now)
{
    struct party *self = find(a, a->options.self);

    if (self != NULL)
        self->report = a->mine;
    if (!a->judged &&
        (all_reported(a) || now - a->begun_ms >= (uint64_t)(a->deep ? DEEP_ROUND_MS : ROUND_MS)))
        judge(a);
    if (!tick_due(a, now))
        return;
    a->tick_ms = now + a->options.interval_ms;
    if (a->judged)
        begin_round(a, now);
}

static void tell_parties(struct audit *a)
{
    for (size_t i = 0; i < a->party_count; i++) {
        struct party *party = &a->parties[i];

        if (party->untold && party->session != 0 && party->id != a->options.self)
            send_round(a, party);
        party->untold = false;
    }
}

/* ---- the turn ---- */

uint64_t audit_turn(struct audit *a)
{
    uint64_t now = now_ms(a), next;

    look_up(a);
    hash_on(a);
    if (a->leads) {
        lead(a, now);
        tell_parties(a);
    } else if (a->report_due || tick_due(a, now)) {
        send_report(a);
        a->tick_ms = now + a->options.interval_ms;
    }
    next = a->tick_ms;
    if (a->hashing)
        next = MIN(next, mvcc_compact_pending(a->hash.mvcc) ? now : a->slice_ms);
    return next;
}
