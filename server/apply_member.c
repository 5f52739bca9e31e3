/* The members table and the queue of its changes.
 *
 *   request ──▶ COMMAND_MEMBER ──▶ checked, queued ──▶ the leader proposes a configuration
 *
 *   it is applied ──▶ the table follows, the request ends
 *   it can not be done ──▶ COMMAND_MEMBER_DROP ──▶ the request ends
 *
 * So a request survives a change of leader like any other command, and who is a member is decided
 * by configurations alone. */
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/util.h"
#include "server/machine_internal.h"

enum {
    ADD = KVDPB__MEMBER_CHANGE__KIND__ADD,
    REMOVE = KVDPB__MEMBER_CHANGE__KIND__REMOVE,
    UPDATE = KVDPB__MEMBER_CHANGE__KIND__UPDATE,
    PROMOTE = KVDPB__MEMBER_CHANGE__KIND__PROMOTE,
    REPLACE = KVDPB__MEMBER_CHANGE__KIND__REPLACE,
};

/* ---- removed ids ---- */

static size_t removed_at(const struct machine *machine, uint64_t id)
{
    size_t at = 0;

    while (at < machine->removed_count && machine->removed[at] < id)
        at++;
    return at;
}

bool machine_was_removed(const struct machine *machine, uint64_t id)
{
    size_t at = removed_at(machine, id);

    return at < machine->removed_count && machine->removed[at] == id;
}

void machine__add_removed(struct machine *machine, uint64_t id)
{
    size_t at = removed_at(machine, id);

    machine->removed =
        xrealloc(machine->removed, (machine->removed_count + 1) * sizeof *machine->removed);
    memmove(&machine->removed[at + 1], &machine->removed[at],
            (machine->removed_count - at) * sizeof *machine->removed);
    machine->removed[at] = id;
    machine->removed_count++;
}

/* ---- the queue ---- */

void machine__add_change(struct machine *machine, const struct machine_change *change)
{
    struct machine_change *to;

    machine->changes =
        xrealloc(machine->changes, (machine->change_count + 1) * sizeof *machine->changes);
    to = &machine->changes[machine->change_count++];
    *to = *change;
    to->urls = machine__copy_texts(change->urls, change->url_count);
}

/* The first one has ended. */
static void pop_change(struct machine *machine, int code)
{
    struct machine_change *first = machine->changes;

    machine->ended =
        (struct machine_change_end){.origin = first->origin, .ticket = first->ticket, .code = code};
    machine__free_texts(first->urls, first->url_count);
    memmove(first, first + 1, --machine->change_count * sizeof *first);
}

void machine__free_changes(struct machine *machine)
{
    for (size_t i = 0; i < machine->change_count; i++)
        machine__free_texts(machine->changes[i].urls, machine->changes[i].url_count);
    free(machine->changes);
    free(machine->removed);
    machine->changes = NULL;
    machine->removed = NULL;
    machine->change_count = machine->removed_count = 0;
}

/* ---- what will be, when all that waits is done ---- */

static bool will_exist(const struct machine *machine, uint64_t id, bool *learner)
{
    const struct machine_member *member = machine_member(machine, id);
    bool exists = member != NULL;

    *learner = exists && member->learner;
    for (size_t i = 0; i < machine->change_count; i++) {
        const struct machine_change *change = &machine->changes[i];

        if (change->id != id)
            continue;
        if (change->kind == ADD) {
            exists = true;
            *learner = change->learner;
        } else if (change->kind == REMOVE) {
            exists = false;
        } else if (change->kind == PROMOTE) {
            *learner = false;
        }
    }
    return exists;
}

static bool share_url(char *const *a, size_t a_count, char *const *b, size_t b_count)
{
    for (size_t i = 0; i < a_count; i++)
        for (size_t j = 0; j < b_count; j++)
            if (strcmp(a[i], b[j]) == 0)
                return true;
    return false;
}

/* A URL that a member still has, or will have, is nobody else's. */
static bool url_taken(const struct machine *machine, const Kvdpb__MemberChange *request)
{
    for (size_t i = 0; i < machine->member_count; i++) {
        const struct machine_member *member = &machine->members[i];

        if (member->id != request->id && share_url(member->peer_urls, member->peer_url_count,
                                                   request->peerurls, request->n_peerurls))
            return true;
    }
    for (size_t i = 0; i < machine->change_count; i++) {
        const struct machine_change *change = &machine->changes[i];

        if (change->id != request->id &&
            share_url(change->urls, change->url_count, request->peerurls, request->n_peerurls))
            return true;
    }
    return false;
}

static void count_members(const struct machine *machine, size_t *all, size_t *learners)
{
    bool learner;

    *all = *learners = 0;
    for (size_t i = 0; i < machine->member_count; i++) {
        bool stays = will_exist(machine, machine->members[i].id, &learner);

        *all += stays;
        *learners += stays && learner;
    }
    for (size_t i = 0; i < machine->change_count; i++) {
        const struct machine_change *change = &machine->changes[i];
        bool comes = change->kind == ADD && will_exist(machine, change->id, &learner);

        *all += comes;
        *learners += comes && learner;
    }
}

/* ---- requests ---- */

/* In etcd's order. */
static int check_add(const struct machine *machine, const Kvdpb__MemberChange *request)
{
    size_t all, learners;
    bool learner;

    if (request->id == 0 || request->n_peerurls == 0)
        return KV_EINVAL;
    if (machine_was_removed(machine, request->id))
        return KV_ENOTFOUND;
    if (will_exist(machine, request->id, &learner))
        return KV_EMEMBEREXISTS;
    if (url_taken(machine, request))
        return KV_EURLEXISTS;
    count_members(machine, &all, &learners);
    if (request->learner && learners >= request->max_learners)
        return KV_ELEARNERS;
    return all < REPLICA_MEMBERS_MAX ? 0 : KV_ETOOBIG;
}

/* Asked for again and again: it must not be on its way already. */
static int check_replace(const struct machine *machine, const Kvdpb__MemberChange *request)
{
    bool learner;

    if (request->new_id == 0 || machine_was_removed(machine, request->new_id))
        return KV_EINVAL;
    if (will_exist(machine, request->new_id, &learner))
        return KV_EMEMBEREXISTS;
    return machine_member(machine, request->id) != NULL ? 0 : KV_ENOTFOUND;
}

static int check_change(const struct machine *machine, const Kvdpb__MemberChange *request)
{
    bool learner;

    if ((int)request->kind == ADD)
        return check_add(machine, request);
    if (!will_exist(machine, request->id, &learner))
        return KV_ENOTFOUND;
    switch ((int)request->kind) {
    case REMOVE:
        return 0;
    case UPDATE:
        if (request->n_peerurls == 0)
            return KV_EINVAL;
        return url_taken(machine, request) ? KV_EURLEXISTS : 0;
    case PROMOTE:
        return learner ? 0 : KV_ENOTLEARNER;
    case REPLACE:
        return check_replace(machine, request);
    default:
        return KV_EPROTO;
    }
}

/* Out with the old one first: it counts for the quorum and will never answer, and the new one has
 * its address. */
static void queue_replacement(struct machine *machine, const struct command *command,
                              const Kvdpb__MemberChange *request)
{
    const struct machine_member *old = machine_member(machine, request->id);
    struct machine_change change = {
        .origin = command->origin, .ticket = command->ticket, .kind = REMOVE, .id = request->id};

    machine__add_change(machine, &change);
    change.ticket = ~command->ticket; /* nobody else's, and nobody waits for it */
    change.kind = ADD;
    change.id = request->new_id;
    change.learner = old->learner;
    change.urls = old->peer_urls;
    change.url_count = old->peer_url_count;
    machine__add_change(machine, &change);
}

void machine__apply_member(struct machine *machine, const struct command *command,
                           const Kvdpb__MemberChange *request, struct machine_result *out)
{
    out->code = check_change(machine, request);
    if (out->code != 0)
        return;
    if ((int)request->kind == REPLACE) {
        queue_replacement(machine, command, request);
        return;
    }
    machine__add_change(machine, &(struct machine_change){.origin = command->origin,
                                                          .ticket = command->ticket,
                                                          .kind = (uint32_t)request->kind,
                                                          .id = request->id,
                                                          .urls = request->peerurls,
                                                          .url_count = request->n_peerurls,
                                                          .learner = request->learner});
}

static int code_of(Kvdpb__MemberDrop__Reason reason)
{
    static const int codes[] = {
        [KVDPB__MEMBER_DROP__REASON__NOTHING_TO_DO] = 0,
        [KVDPB__MEMBER_DROP__REASON__MEMBER_NOT_FOUND] = KV_ENOTFOUND,
        [KVDPB__MEMBER_DROP__REASON__MEMBER_EXISTS] = KV_EMEMBEREXISTS,
        [KVDPB__MEMBER_DROP__REASON__URL_EXISTS] = KV_EURLEXISTS,
        [KVDPB__MEMBER_DROP__REASON__NOT_LEARNER] = KV_ENOTLEARNER,
        [KVDPB__MEMBER_DROP__REASON__NOT_READY] = KV_ENOTREADY,
        [KVDPB__MEMBER_DROP__REASON__NOT_STARTED] = KV_ENOTSTARTED,
        [KVDPB__MEMBER_DROP__REASON__UNHEALTHY] = KV_EUNHEALTHY,
    };

    return (unsigned)reason < ARRAY_LEN(codes) ? codes[reason] : KV_EUNHEALTHY;
}

void machine__apply_member_drop(struct machine *machine, const Kvdpb__MemberDrop *request,
                                uint64_t term, struct machine_result *out)
{
    const struct machine_change *first = machine->changes;

    out->code = KV_ENOTLEADER;
    if (request->term != term || machine->change_count == 0 || first->origin != request->origin ||
        first->ticket != request->ticket)
        return;
    out->code = 0;
    pop_change(machine, code_of(request->reason));
}

/* ---- configurations ---- */

static const struct replica_member *find(const struct replica_member *members, size_t count,
                                         uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (members[i].id == id)
            return &members[i];
    return NULL;
}

static bool is_address(const char *address)
{
    return strstr(address, "://") != NULL;
}

static void set_urls(struct machine_member *member, const char *address)
{
    char *copy = xstrdup(address), *rest = copy, *url;

    machine__free_texts(member->peer_urls, member->peer_url_count);
    member->peer_urls = xcalloc(strlen(address) + 1, sizeof *member->peer_urls);
    member->peer_url_count = 0;
    while ((url = strsep(&rest, ",")) != NULL)
        member->peer_urls[member->peer_url_count++] = xstrdup(url);
    free(copy);
}

/* A member without a vote is a learner, unless it was to become a voter: then it waits for its vote
 * until it has the log, so that a new member that is not even started costs no quorum. */
static bool begins_as_learner(const struct machine *machine, const struct replica_member *member)
{
    const struct machine_change *first = machine->changes;

    if (machine->change_count > 0 && first->kind == ADD && first->id == member->id)
        return first->learner;
    return !member->voter;
}

static void follow(struct machine *machine, const struct replica_member *member)
{
    struct machine_member *known = machine__find_member(machine, member->id);

    if (known == NULL) {
        machine__add_member(
            machine, &(struct machine_member){.id = member->id,
                                              .learner = begins_as_learner(machine, member)});
        known = machine__find_member(machine, member->id);
    }
    if (member->voter)
        known->learner = false;
    if (is_address(member->address))
        set_urls(known, member->address);
}

static bool has_urls(const struct machine_change *change, const struct machine_member *member)
{
    if (member == NULL || member->peer_url_count != change->url_count)
        return false;
    for (size_t i = 0; i < change->url_count; i++)
        if (strcmp(change->urls[i], member->peer_urls[i]) != 0)
            return false;
    return true;
}

static bool is_made(const struct machine *machine, const struct machine_change *change,
                    const struct replica_member *now)
{
    switch (change->kind) {
    case ADD:
        return now != NULL;
    case REMOVE:
        return now == NULL;
    case UPDATE:
        return has_urls(change, machine_member(machine, change->id));
    default:
        return now != NULL && now->voter;
    }
}

void machine_configure(struct machine *machine, const struct replica_member *members, size_t count)
{
    machine->ended.origin = 0;
    if (machine->history != 0)
        machine->history = hash_mix(machine->history, count);
    for (size_t i = machine->member_count; i-- > 0;) {
        uint64_t id = machine->members[i].id;

        if (find(members, count, id) != NULL)
            continue;
        machine__remove_member(machine, id);
        machine__drop_alarms(machine, id);
        machine__add_removed(machine, id);
    }
    for (size_t i = 0; i < count; i++)
        follow(machine, &members[i]);
    if (machine->change_count > 0 &&
        is_made(machine, machine->changes, find(members, count, machine->changes[0].id)))
        pop_change(machine, 0);
}

/* ---- digest ---- */

uint64_t machine__mix_changes(uint64_t hash, const struct machine *machine)
{
    for (size_t i = 0; i < machine->removed_count; i++)
        hash = hash_mix(hash, machine->removed[i]);
    for (size_t i = 0; i < machine->change_count; i++) {
        const struct machine_change *change = &machine->changes[i];

        hash = hash_mix(hash_mix(hash, change->origin), change->ticket);
        hash = hash_mix(hash_mix(hash, change->id), change->kind);
        for (size_t j = 0; j < change->url_count; j++)
            hash = machine__mix_text(hash, change->urls[j]);
        hash = hash_mix(hash, change->learner);
    }
    return hash;
}
