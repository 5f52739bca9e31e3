/* Who is a member changes: a client that asks for additions, removals, promotions, new peer URLs
 * and replacements of members whose disk is gone, through any member, while everything else goes
 * wrong; and what must hold for that. The members' own code decides and makes the changes
 * (server/apply_member.c, server/reconfig.c, raft/members.c); what a member does about
 * connections (raft/peers.c, over sockets) is played here: who was removed is refused and told.
 *
 * Invariants: each configuration differs from the one before by one member at most, so quorums of
 * both overlap; all members have the same one at the same index, wherever they have it from; who
 * was removed never comes back, and stops; votes go to members that have the log. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "proto/command.pb-c.h"
#include "tests/sim/sim.h"

static const Kvdpb__MemberChange__Kind ADD = KVDPB__MEMBER_CHANGE__KIND__ADD,
                                       REMOVE = KVDPB__MEMBER_CHANGE__KIND__REMOVE,
                                       UPDATE = KVDPB__MEMBER_CHANGE__KIND__UPDATE,
                                       PROMOTE = KVDPB__MEMBER_CHANGE__KIND__PROMOTE,
                                       REPLACE = KVDPB__MEMBER_CHANGE__KIND__REPLACE;

enum {
    TIMEOUT_MS = 3000,   /* of a change that can not be made */
    CHECK_US = 300000,   /* for members that can be started, and lost ones */
    REDIAL_US = 100000,  /* who was hung up on tries again */
    VOTE_LAG_MAX = 1000, /* entries that a member may lack when it gets its vote */
    CONFIGURATIONS_MAX = 512,
    ADDRESS_SIZE = 32,
    LEARNERS_MAX = 2,
    VOTERS_LEFT = 3, /* fewer voters than that are not asked to shrink any further */
};

/* As the first member that applied it saw it. */
struct configuration {
    uint64_t index, hash;
    uint32_t members, voters; /* bit n: m<n> */
};

struct sim_churn {
    bool on, strict;
    uint64_t pause_us; /* between two requests, at most */
    struct configuration all[CONFIGURATIONS_MAX];
    size_t count;
    uint32_t ever_removed;  /* bits */
    uint32_t started;       /* members that have run */
    unsigned lost, instead; /* lost its disk, and who is to replace it; 0: nobody */
    unsigned urls;          /* handed out */
    uint32_t leaving;       /* bits: somebody has asked for their removal, and it may come about */
    char first[SIM_MEMBERS_MAX + 1][ADDRESS_SIZE];
};

static bool has(uint32_t set, unsigned n)
{
    return set >> n & 1;
}

static unsigned count(uint32_t set)
{
    return (unsigned)__builtin_popcount(set);
}

static const struct configuration *last(const struct sim *sim)
{
    static const struct configuration none;

    return sim->churn->count == 0 ? &none : &sim->churn->all[sim->churn->count - 1];
}

/* ---- configurations ---- */

static struct configuration configuration_of(uint64_t index, const struct replica_member *members,
                                             size_t len)
{
    struct configuration out = {.index = index, .hash = len};

    for (size_t i = 0; i < len; i++) {
        const char *address = members[i].address;

        out.members |= 1u << members[i].id;
        if (members[i].voter)
            out.voters |= 1u << members[i].id;
        out.hash = hash_mix(hash_mix(out.hash, members[i].id), members[i].voter);
        for (; *address != '\0'; address++)
            out.hash = hash_mix(out.hash, (uint8_t)*address);
    }
    return out;
}

/* NULL: nobody has applied a configuration of that index yet. */
static const struct configuration *known_at(const struct sim *sim, uint64_t index)
{
    for (size_t i = sim->churn->count; i-- > 0;)
        if (sim->churn->all[i].index == index)
            return &sim->churn->all[i];
    return NULL;
}

static void check_next(struct sim *sim, const struct configuration *now)
{
    struct sim_churn *churn = sim->churn;
    const struct configuration *before = last(sim);
    uint32_t came = now->members & ~before->members, went = before->members & ~now->members;
    uint32_t turned = now->voters ^ before->voters;
    unsigned long long index = now->index;

    if (churn->count > 0 && count(came | went | turned) > 1)
        sim_violation(sim, "M1: the configurations of %llu and %llu differ by %u members",
                      (unsigned long long)before->index, index, count(came | went | turned));
    if ((now->members & churn->ever_removed) != 0)
        sim_violation(sim, "M3: a member that was removed is back at %llu", index);
    churn->ever_removed |= went;
    churn->leaving &= ~went;
    if (churn->count == 0)
        return;
    sim->result->added += count(came);
    sim->result->removed += count(went);
    sim->result->voted += count(now->voters & ~before->voters);
    sim->result->moved += came == 0 && went == 0 && turned == 0;
    sim_say(sim, "configuration of %llu: members %x, voters %x", index, now->members, now->voters);
}

static void check_same(struct sim_member *m, const struct configuration *now)
{
    const struct configuration *known = known_at(m->sim, now->index);

    if (known != NULL && known->hash != now->hash)
        sim_violation(m->sim, "M2: m%u has another configuration of %llu", m->n,
                      (unsigned long long)now->index);
}

/* One that knew from its log, before it could say so, has refused connections already: those are
 * tried again too. */
static void hang_up(struct sim_member *m)
{
    struct sim *sim = m->sim;

    for (unsigned n = 1; n <= sim->size; n++) {
        if (n == m->n || !machine_was_removed(m->machine, n) || sim->options.bug == SIM_BUG_UNTOLD)
            continue;
        if (!m->peers[n].up) {
            sim_peer_changed(sim, n, m->n, true, REDIAL_US);
            continue;
        }
        sim->links[m->n][n].epoch++;
        sim->links[n][m->n].epoch++;
        sim_peer_changed(sim, m->n, n, false, 1);
        sim_peer_changed(sim, n, m->n, false, prng_between(&sim->prng, 100, 3000));
        sim_peer_changed(sim, n, m->n, true, REDIAL_US);
    }
}

/* What it learned of the log or of a checkpoint may say that it is out itself. */
static void on_members(struct sim_member *m)
{
    if (machine_was_removed(m->machine, m->n))
        m->removed = m->sim->options.bug != SIM_BUG_UNTOLD;
    hang_up(m);
    m->new_configuration = true;
}

void sim_churn_configured(struct sim_member *m, const struct replica_entry *entry)
{
    struct sim_churn *churn = m->sim->churn;
    struct configuration now = configuration_of(entry->index, entry->members, entry->member_count);

    machine_configure(m->machine, entry->members, entry->member_count);
    if (m->sim->options.bug == SIM_BUG_ID_COMES_BACK)
        m->machine->removed_count = 0;
    if (now.index <= last(m->sim)->index) {
        check_same(m, &now);
    } else if (churn->count < CONFIGURATIONS_MAX) {
        check_next(m->sim, &now);
        churn->all[churn->count++] = now;
    }
    on_members(m);
}

void sim_churn_restated(struct sim_member *m)
{
    m->sim->result->joined_far += m->n > m->sim->founders && m->applied == 0;
    on_members(m);
}

bool sim_churn_is_member(const struct sim *sim, unsigned n)
{
    return has(last(sim)->members, n);
}

struct sim_member *sim_churn_someone(struct sim *sim)
{
    for (unsigned n = 1; n < sim->size; n++)
        if (sim_churn_is_member(sim, n) && sim->members[n].up)
            return &sim->members[n];
    return &sim->members[sim->size];
}

/* ---- connections ---- */

bool sim_churn_greets(struct sim_member *m, unsigned peer)
{
    const struct sim_member *to = &m->sim->members[peer];

    if (m->sim->options.bug == SIM_BUG_UNTOLD)
        return true;
    if (to->up && machine_was_removed(to->machine, m->n) && !m->sim->links[m->n][peer].cut &&
        !m->sim->links[peer][m->n].cut)
        m->removed = true;
    return !m->removed && !machine_was_removed(m->machine, peer);
}

/* By its log, which may be ahead of what it has applied. */
static bool knows(const struct sim_member *m, unsigned id)
{
    struct replica_configuration now;

    replica_configuration(m->replica, &now);
    for (unsigned i = 0; i < now.count; i++)
        if (now.members[i].id == id)
            return true;
    return false;
}

bool sim_churn_hears(const struct sim_member *m, unsigned from)
{
    bool founders = m->n <= m->sim->founders && from <= m->sim->founders;

    if (m->sim->options.bug != SIM_BUG_UNTOLD && machine_was_removed(m->machine, from))
        return false;
    if (founders && m->sim->churn->on)
        return knows(m, from); /* or the connection is closed */
    return founders || m->peers[from].up;
}

/* ---- the member's side ---- */

static bool env_connected_for(void *ctx, uint64_t id, uint64_t ms)
{
    const struct sim_member *m = ctx;

    return id <= m->sim->size && m->peers[id].up &&
           m->peers[id].since_us + ms * 1000 <= m->sim->now_us;
}

static void on_written(struct sim_write *write, const struct machine_result *result)
{
    (void)result; /* a drop that comes to nothing is proposed again by the next leader */
    free(write);
}

static bool env_propose_drop(void *ctx, struct slice body)
{
    struct sim_write *write = xcalloc(1, sizeof *write);

    write->done = on_written;
    sim_write(ctx, write, COMMAND_MEMBER_DROP, body);
    return true;
}

void sim_churn_start(struct sim_member *m)
{
    m->making = (struct reconfig){
        .env = {.ctx = m, .connected_for = env_connected_for, .propose_drop = env_propose_drop},
        .self = m->n,
        .strict = m->sim->churn->strict,
        .timeout_ms = TIMEOUT_MS,
    };
    m->removed = m->publishing = false;
    memset(m->peers, 0, sizeof m->peers);
    m->sim->churn->started |= 1u << m->n;
    if (machine_was_removed(m->machine, m->n))
        m->removed = m->sim->options.bug != SIM_BUG_UNTOLD;
}

static void on_published(struct sim_write *write, const struct machine_result *result)
{
    (void)result; /* lost: the next turn sees that */
    write->member->publishing = false;
    free(write);
}

/* A member counts as started once its name is known. */
static void publish(struct sim_member *m)
{
    const struct machine_member *self = machine_member(m->machine, m->n);
    Kvdpb__Publish message = KVDPB__PUBLISH__INIT;
    struct sim_write *write;
    uint8_t body[32];
    char name[8];

    if (self == NULL || self->name[0] != '\0' || m->publishing)
        return;
    m->publishing = true;
    (void)snprintf(name, sizeof name, "m%u", m->n);
    message.member_id = m->n;
    message.name = name;
    write = xcalloc(1, sizeof *write);
    write->done = on_published;
    sim_write(m, write, COMMAND_PUBLISH, slice_of(body, kvdpb__publish__pack(&message, body)));
}

/* A log is empty behind a checkpoint that has just been installed. */
static uint64_t log_end(const struct sim_member *m)
{
    return MAX(m->applied, wal_last_index(m->wal));
}

/* The leader has given votes: who got one has the log. */
static void check_votes(struct sim_member *m, uint32_t before)
{
    struct replica_configuration now;
    struct configuration mine;
    uint64_t end = log_end(m);

    replica_configuration(m->replica, &now);
    mine = configuration_of(now.index, now.members, now.count);
    for (unsigned n = 1; n <= m->sim->size; n++) {
        const struct sim_member *other = &m->sim->members[n];

        if (!has(mine.voters & ~before, n))
            continue;
        if (!has(m->sim->churn->started, n) || (other->up && log_end(other) + VOTE_LAG_MAX < end))
            sim_violation(m->sim, "M4: m%u gives m%u a vote, which does not have the log", m->n, n);
    }
}

/* The planted bug of a leader that counts a new member at once, as etcd does. */
static void vote_early(struct sim_member *m, struct replica_configuration *now)
{
    for (size_t i = 0; i < now->count; i++) {
        const struct machine_member *known = machine_member(m->machine, now->members[i].id);

        if (now->members[i].voter || known == NULL || known->learner)
            continue;
        now->members[i].voter = true;
        (void)replica_change(m->replica, now->members, now->count); /* not now: next turn */
        return;
    }
}

static void lead(struct sim_member *m, uint64_t term)
{
    struct replica_configuration now;
    uint32_t voters;

    replica_configuration(m->replica, &now);
    voters = configuration_of(now.index, now.members, now.count).voters;
    if (m->sim->options.bug == SIM_BUG_EARLY_VOTE && now.committed)
        vote_early(m, &now);
    reconfig_lead(&m->making, m->machine, m->replica, term, m->sim->now_us / 1000);
    check_votes(m, voters);
}

void sim_churn_turn(struct sim_member *m)
{
    struct replica_configuration now;
    struct configuration mine;
    struct replica_status status;

    if (m->new_configuration) {
        m->new_configuration = false;
        replica_configuration(m->replica, &now);
        mine = configuration_of(now.index, now.members, now.count);
        if (now.committed && now.count > 0)
            check_same(m, &mine);
    }
    if (!m->sim->churn->on)
        return;
    publish(m);
    replica_status(m->replica, &status);
    if (status.role == REPLICA_LEADER)
        lead(m, status.term);
}

/* ---- those who come ---- */

const char *sim_churn_address(const struct sim *sim, unsigned n)
{
    return sim->churn->first[n];
}

static unsigned new_member(struct sim *sim)
{
    struct sim_member *m;

    if (sim->size == SIM_MEMBERS_MAX)
        return 0;
    m = &sim->members[++sim->size];
    m->sim = sim;
    m->n = sim->size;
    m->memdisk = memdisk_new(prng_next(&sim->prng));
    return m->n;
}

static bool is_listed(const struct sim *sim, unsigned id)
{
    for (unsigned n = 1; n <= sim->size; n++)
        if (sim->members[n].up && machine_member(sim->members[n].machine, id) != NULL)
            return true;
    return false;
}

/* It asks who is there, and begins once somebody knows of it (server/join.c). */
static void start_awaited(struct sim *sim)
{
    for (unsigned n = sim->founders + 1; n <= sim->size; n++) {
        struct sim_member *m = &sim->members[n];

        if (m->state != SIM_AWAITED || !is_listed(sim, n) || prng_chance(&sim->prng, 500000))
            continue;
        m->state = SIM_PRESENT;
        sim_member_start(m);
    }
}

/* ---- who asks ---- */

static void on_answered(struct sim_write *write, const struct machine_result *result)
{
    if (result != NULL)
        write->member->sim->result->refused += result->code != 0;
    free(write);
}

static void ask(struct sim *sim, struct sim_member *m, Kvdpb__MemberChange *request)
{
    struct sim_write *write;
    uint8_t body[128];

    request->max_learners = LEARNERS_MAX;
    if (reconfig_may(&m->making, m->machine, request) != STATUS_OK) {
        sim->result->refused++;
        return;
    }
    sim_say(sim, "m%u is asked to change the members: kind %d, m%u", m->n, (int)request->kind,
            (unsigned)request->id);
    if (request->kind == REMOVE)
        sim->churn->leaving |= 1u << request->id;
    write = xcalloc(1, sizeof *write);
    write->done = on_answered;
    sim_write(m, write, COMMAND_MEMBER, slice_of(body, kvdpb__member_change__pack(request, body)));
    sim_member_settle(m);
}

/* An id again that was removed must be refused. */
static unsigned id_to_add(struct sim *sim)
{
    uint32_t gone = sim->churn->ever_removed;

    if (gone != 0 && prng_chance(&sim->prng, 200000))
        return (unsigned)__builtin_ctz(gone);
    return new_member(sim);
}

static unsigned pick(struct sim *sim, uint32_t from)
{
    unsigned nth = (unsigned)prng_between(&sim->prng, 0, count(from) - 1), n = 0;

    for (;; n++)
        if (has(from, n) && nth-- == 0)
            return n;
}

/* A cluster of which a lost one and one that is about to go were half can never decide anything
 * again: no fault of it. */
static bool may_lose(const struct sim *sim)
{
    return sim->churn->lost == 0 && sim->churn->leaving == 0 && sim->size < SIM_MEMBERS_MAX &&
           count(last(sim)->voters) >= VOTERS_LEFT;
}

/* The disk of one is gone: whoever it was must not come back, and somebody else comes instead. */
static void lose(struct sim *sim, unsigned n)
{
    struct sim_member *m = &sim->members[n];

    if (!m->up || m->removed)
        return;
    m->state = SIM_LOST;
    sim->churn->lost = n;
    sim->churn->instead = new_member(sim);
    sim_member_crash(m, "loses its disk");
}

static void draw(struct sim *sim, struct sim_member *m)
{
    Kvdpb__MemberChange request = KVDPB__MEMBER_CHANGE__INIT;
    struct sim_churn *churn = sim->churn;
    const struct configuration *now = last(sim);
    uint32_t what = (uint32_t)prng_between(&sim->prng, 0, 99);
    char url[ADDRESS_SIZE], *urls = url;

    (void)snprintf(url, sizeof url, "http://u%u:2380", ++churn->urls);
    request.id = pick(sim, now->members);
    if (what < 40) {
        request.kind = ADD;
        request.id = id_to_add(sim);
        request.learner = prng_chance(&sim->prng, 500000);
    } else if (what < 65) {
        request.kind = REMOVE;
        if (churn->lost != 0 || count(now->voters) < VOTERS_LEFT)
            return;
    } else if (what < 75) {
        request.kind = UPDATE;
    } else if (what < 90) {
        request.kind = PROMOTE;
    } else {
        if (may_lose(sim))
            lose(sim, (unsigned)request.id);
        return;
    }
    if (request.kind == ADD || request.kind == UPDATE) {
        request.peerurls = &urls;
        request.n_peerurls = 1;
    }
    if (request.id != 0)
        ask(sim, m, &request);
}

static struct sim_member *any_up(struct sim *sim)
{
    struct sim_member *m = &sim->members[prng_between(&sim->prng, 1, sim->size)];

    return m->up && m->asleep_until_us <= sim->now_us ? m : NULL;
}

static void next_wish(struct sim *sim, void *data, uint64_t token)
{
    struct sim_member *m = any_up(sim);

    (void)data;
    (void)token;
    if (sim->healed)
        return;
    if (m != NULL && last(sim)->members != 0)
        draw(sim, m);
    sim_at(sim, sim->now_us + prng_between(&sim->prng, 50000, sim->churn->pause_us), next_wish,
           NULL, 0, NULL);
}

/* It asks until it is done, as a member that has lost its disk does. */
static void replace_lost(struct sim *sim)
{
    struct sim_churn *churn = sim->churn;
    Kvdpb__MemberChange request = KVDPB__MEMBER_CHANGE__INIT;
    struct sim_member *m = any_up(sim);

    if (has(churn->ever_removed, churn->lost)) {
        churn->lost = 0;
        return;
    }
    if (m == NULL || m->machine->change_count > 0)
        return;
    request.kind = REPLACE;
    request.id = churn->lost;
    request.new_id = churn->instead;
    ask(sim, m, &request);
}

static void look_after(struct sim *sim, void *data, uint64_t token)
{
    (void)data;
    (void)token;
    start_awaited(sim);
    if (sim->churn->lost != 0 && prng_chance(&sim->prng, 300000))
        replace_lost(sim);
    sim_at(sim, sim->now_us + CHECK_US, look_after, NULL, 0, NULL);
}

/* ---- life ---- */

static bool has_churn(struct sim *sim)
{
    bool drawn = prng_chance(&sim->prng, 350000);

    if (sim->options.bug >= SIM_BUG_OLD_CONFIGURATION)
        sim->flips = false;
    return (drawn && !sim->flips) || sim->options.bug >= SIM_BUG_OLD_CONFIGURATION;
}

struct sim_churn *sim_churn_new(struct sim *sim)
{
    struct sim_churn *churn = xcalloc(1, sizeof *churn);

    churn->on = has_churn(sim) && (sim->options.without & SIM_WITHOUT_CHURN) == 0;
    churn->strict = prng_chance(&sim->prng, 300000);
    churn->pause_us = prng_between(&sim->prng, 300000, 3000000);
    for (unsigned n = 1; n <= SIM_MEMBERS_MAX; n++)
        (void)snprintf(churn->first[n], ADDRESS_SIZE, "http://m%u:2380", n);
    if (churn->on) {
        sim_at(sim, sim->now_us + 1000000, next_wish, NULL, 0, NULL);
        sim_at(sim, sim->now_us + CHECK_US, look_after, NULL, 0, NULL);
    }
    return churn;
}

void sim_churn_free(struct sim_churn *churn)
{
    free(churn);
}

bool sim_churn_quiet(const struct sim *sim, const struct sim_member *leader)
{
    const struct configuration *now = last(sim);

    if (sim->churn->lost != 0 || leader->machine->change_count > 0)
        return false;
    for (unsigned n = 1; n <= sim->size; n++) {
        const struct machine_member *known = machine_member(leader->machine, n);

        if (sim->members[n].up != has(now->members, n) || has(now->members, n) != (known != NULL))
            return false;
        if (known != NULL && !known->learner && !has(now->voters, n))
            return false; /* it gets its vote when it has the log */
    }
    return true;
}
