#include "server/machine.h"

#include <stdlib.h>

#include "base/crc32c.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/util.h"
#include "proto/command.pb-c.h"
#include "server/auth_store.h"
#include "server/machine_internal.h"
#include "server/permit.h"
#include "server/scan.h"

enum { HISTORY_BEGIN = 1 };

/* ---- members ---- */

void machine__free_texts(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
}

char **machine__copy_texts(char *const *texts, size_t count)
{
    char **copy = xcalloc(count + 1, sizeof *copy);

    for (size_t i = 0; i < count; i++)
        copy[i] = xstrdup(texts[i]);
    return copy;
}

static void copy_member(struct machine_member *to, const struct machine_member *from)
{
    *to = (struct machine_member){
        .id = from->id,
        .name = xstrdup(from->name != NULL ? from->name : ""),
        .peer_urls = machine__copy_texts(from->peer_urls, from->peer_url_count),
        .peer_url_count = from->peer_url_count,
        .client_urls = machine__copy_texts(from->client_urls, from->client_url_count),
        .client_url_count = from->client_url_count,
        .learner = from->learner,
    };
}

static void release_member(struct machine_member *member)
{
    free(member->name);
    machine__free_texts(member->peer_urls, member->peer_url_count);
    machine__free_texts(member->client_urls, member->client_url_count);
}

static int by_id(const void *a, const void *b)
{
    const struct machine_member *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

struct machine_member *machine__find_member(const struct machine *machine, uint64_t id)
{
    struct machine_member key = {.id = id};

    if (machine->member_count == 0)
        return NULL;
    return bsearch(&key, machine->members, machine->member_count, sizeof key, by_id);
}

const struct machine_member *machine_member(const struct machine *machine, uint64_t id)
{
    return machine__find_member(machine, id);
}

void machine__add_member(struct machine *machine, const struct machine_member *member)
{
    machine->members =
        xrealloc(machine->members, (machine->member_count + 1) * sizeof *machine->members);
    copy_member(&machine->members[machine->member_count++], member);
    qsort(machine->members, machine->member_count, sizeof *machine->members, by_id);
}

void machine__remove_member(struct machine *machine, uint64_t id)
{
    struct machine_member *member = machine__find_member(machine, id);
    size_t at = (size_t)(member - machine->members);

    release_member(member);
    memmove(member, member + 1, (machine->member_count - at - 1) * sizeof *member);
    machine->member_count--;
}

static void release_members(struct machine *machine)
{
    for (size_t i = 0; i < machine->member_count; i++)
        release_member(&machine->members[i]);
    machine->member_count = 0;
}

void machine__set_members(struct machine *machine, const struct machine_member *members,
                          size_t count)
{
    release_members(machine);
    machine__free_changes(machine);
    for (size_t i = 0; i < count; i++)
        machine__add_member(machine, &members[i]);
}

/* A member says its name and where clients find it. */
static int publish(struct machine *machine, const Kvdpb__Publish *request)
{
    struct machine_member *member = machine__find_member(machine, request->member_id);

    if (member == NULL)
        return KV_ENOTFOUND;
    free(member->name);
    machine__free_texts(member->client_urls, member->client_url_count);
    member->name = xstrdup(request->name);
    member->client_urls = machine__copy_texts(request->client_urls, request->n_client_urls);
    member->client_url_count = request->n_client_urls;
    return 0;
}

/* ---- the cluster's version ---- */

/* Two may have been found valid at the same time: the second finds the first. */
static int set_downgrade(struct machine *machine, const Kvdpb__Downgrade *request)
{
    if (request->enabled && machine->downgrade_target != NULL)
        return KV_EBUSY;
    free(machine->downgrade_target);
    machine->downgrade_target = request->enabled ? xstrdup(request->target) : NULL;
    return 0;
}

/* ---- the machine ---- */

struct machine *machine_new(uint64_t seed, const struct machine_member *members, size_t count)
{
    struct machine *machine = xcalloc(1, sizeof *machine);

    machine->history = HISTORY_BEGIN;
    machine->mvcc = mvcc_new(seed);
    machine->leases = leases_new(seed);
    machine->auth = auth_store_new();
    machine->members = xcalloc(count + 1, sizeof *machine->members);
    machine->member_count = count;
    for (size_t i = 0; i < count; i++)
        copy_member(&machine->members[i], &members[i]);
    if (count > 0)
        qsort(machine->members, count, sizeof *machine->members, by_id);
    return machine;
}

void machine_free(struct machine *machine)
{
    if (machine == NULL)
        return;
    release_members(machine);
    free(machine->members);
    free(machine->alarms);
    machine__free_changes(machine);
    free(machine->downgrade_target);
    auth_store_free(machine->auth);
    leases_free(machine->leases);
    mvcc_free(machine->mvcc);
    free(machine);
}

size_t machine_space(const struct machine *machine)
{
    return mvcc_bytes_held(machine->mvcc) + leases_bytes(machine->leases);
}

static const ProtobufCMessageDescriptor *body_type(enum command_kind kind)
{
    switch (kind) {
    case COMMAND_PUT:
        return &etcdserverpb__put_request__descriptor;
    case COMMAND_DELETE:
        return &etcdserverpb__delete_range_request__descriptor;
    case COMMAND_TXN:
        return &etcdserverpb__txn_request__descriptor;
    case COMMAND_COMPACT:
        return &etcdserverpb__compaction_request__descriptor;
    case COMMAND_ALARM:
        return &etcdserverpb__alarm_request__descriptor;
    case COMMAND_PUBLISH:
        return &kvdpb__publish__descriptor;
    case COMMAND_LEASE_GRANT:
        return &etcdserverpb__lease_grant_request__descriptor;
    case COMMAND_LEASE_REVOKE:
        return &etcdserverpb__lease_revoke_request__descriptor;
    case COMMAND_LEASE_EXPIRE:
        return &kvdpb__lease_expire__descriptor;
    case COMMAND_SPACE:
        return &kvdpb__space_alarm__descriptor;
    case COMMAND_DOWNGRADE:
        return &kvdpb__downgrade__descriptor;
    case COMMAND_LEASE_CHECKPOINT:
        return &kvdpb__lease_checkpoint__descriptor;
    case COMMAND_MEMBER:
        return &kvdpb__member_change__descriptor;
    case COMMAND_MEMBER_DROP:
        return &kvdpb__member_drop__descriptor;
    case COMMAND_CORRUPT:
        return &kvdpb__corrupt_alarm__descriptor;
    case COMMAND_AUTH:
        return &kvdpb__auth_change__descriptor;
    case COMMAND_AUTHENTICATE:
        return &kvdpb__authenticate__descriptor;
    default:
        return NULL;
    }
}

/* About the cluster and not about what it stores. */
static bool is_maintenance(enum command_kind kind)
{
    return kind == COMMAND_ALARM || kind == COMMAND_SPACE || kind == COMMAND_PUBLISH ||
           kind == COMMAND_DOWNGRADE || kind == COMMAND_MEMBER || kind == COMMAND_MEMBER_DROP ||
           kind == COMMAND_AUTH || kind == COMMAND_AUTHENTICATE || kind == COMMAND_CORRUPT;
}

/* What alarms forbid (section 9). With both, CORRUPT speaks first, as in etcd. */
static int forbidden(const struct machine *machine, enum command_kind kind,
                     const ProtobufCMessage *body)
{
    bool space;

    /* Renewals go on under any alarm, so what they need in the log does. */
    if (machine->alarm_count == 0 || is_maintenance(kind) || kind == COMMAND_LEASE_CHECKPOINT)
        return 0;
    if (machine_has_alarm(machine, ETCDSERVERPB__ALARM_TYPE__CORRUPT))
        return KV_ECORRUPT;
    space = kind == COMMAND_PUT || kind == COMMAND_LEASE_GRANT ||
            (kind == COMMAND_TXN && machine__txn_puts((const Etcdserverpb__TxnRequest *)body));
    if (space && machine_has_alarm(machine, ETCDSERVERPB__ALARM_TYPE__NOSPACE))
        return KV_ENOQUOTA;
    return 0;
}

static void apply_body(struct machine *machine, const struct command *command,
                       const ProtobufCMessage *body, bool want, struct arena *arena,
                       struct machine_result *out)
{
    switch (command->kind) {
    case COMMAND_PUT:
        machine__apply_put(machine, (const Etcdserverpb__PutRequest *)body, want, arena, out);
        break;
    case COMMAND_DELETE:
        machine__apply_delete(machine, (const Etcdserverpb__DeleteRangeRequest *)body, want, arena,
                              out);
        break;
    case COMMAND_TXN:
        machine__apply_txn(machine, (const Etcdserverpb__TxnRequest *)body, want, arena, out);
        break;
    case COMMAND_COMPACT:
        machine__apply_compact(machine, (const Etcdserverpb__CompactionRequest *)body, want, arena,
                               out);
        break;
    case COMMAND_ALARM:
        machine__apply_alarm(machine, (const Etcdserverpb__AlarmRequest *)body, want, arena, out);
        break;
    case COMMAND_PUBLISH:
        out->code = publish(machine, (const Kvdpb__Publish *)body);
        break;
    case COMMAND_LEASE_GRANT:
        machine__apply_lease_grant(machine, (const Etcdserverpb__LeaseGrantRequest *)body, want,
                                   arena, out);
        break;
    case COMMAND_LEASE_REVOKE:
        machine__apply_lease_revoke(machine, (const Etcdserverpb__LeaseRevokeRequest *)body, want,
                                    arena, out);
        break;
    case COMMAND_LEASE_EXPIRE:
        machine__apply_lease_expire(machine, (const Kvdpb__LeaseExpire *)body, command->term, arena,
                                    out);
        break;
    case COMMAND_SPACE:
        machine__apply_space(machine, (const Kvdpb__SpaceAlarm *)body, out);
        break;
    case COMMAND_DOWNGRADE:
        out->code = set_downgrade(machine, (const Kvdpb__Downgrade *)body);
        break;
    case COMMAND_LEASE_CHECKPOINT:
        machine__apply_lease_checkpoint(machine, (const Kvdpb__LeaseCheckpoint *)body,
                                        command->term, out);
        break;
    case COMMAND_MEMBER:
        machine__apply_member(machine, command, (const Kvdpb__MemberChange *)body, out);
        break;
    case COMMAND_MEMBER_DROP:
        machine__apply_member_drop(machine, (const Kvdpb__MemberDrop *)body, command->term, out);
        break;
    case COMMAND_CORRUPT:
        out->code = 0;
        machine__apply_corrupt(machine, (const Kvdpb__CorruptAlarm *)body, out);
        break;
    case COMMAND_AUTH:
        machine__apply_auth(machine, (const Kvdpb__AuthChange *)body, want, arena, out);
        break;
    case COMMAND_AUTHENTICATE:
        machine__apply_authenticate(machine, (const Kvdpb__Authenticate *)body, command->index,
                                    out);
        break;
    case COMMAND_KIND_MAX:
        break; /* has no body type */
    }
}

/* A history that is not known stays so. */
static void note_history(struct machine *machine, enum command_kind kind,
                         const struct machine_result *result)
{
    uint64_t effects = mvcc_take_effects(machine->mvcc), hash = machine->history;

    if (hash == 0)
        return;
    hash = hash_mix(hash, (uint64_t)kind << 32 ^ (uint32_t)result->code);
    hash = hash_mix(hash ^ effects, (uint64_t)result->revision);
    hash = hash_mix(hash, (uint64_t)leases_count(machine->leases) << 40 ^
                              machine->auth->revision << 20 ^ machine->alarm_count);
    machine->history = hash == 0 ? 1 : hash;
}

void machine_apply(struct machine *machine, const struct command *command, bool want_response,
                   struct arena *arena, struct machine_result *out)
{
    const ProtobufCMessageDescriptor *type = body_type(command->kind);
    ProtobufCMessage *body;

    machine->ended.origin = 0;
    *out = (struct machine_result){.code = KV_EPROTO};
    if (type != NULL && scan_unpack(type, command->body, arena, &body) == 0) {
        out->code = forbidden(machine, command->kind, body);
        if (out->code == 0)
            out->code = permit_command(machine, command, body);
        if (out->code == 0)
            apply_body(machine, command, body, want_response, arena, out);
    }
    out->revision = mvcc_revision(machine->mvcc);
    out->index = command->index;
    note_history(machine, command->kind, out);
}

uint64_t machine_history(const struct machine *machine)
{
    return machine->history;
}

/* ---- digest ---- */

uint64_t machine__mix_text(uint64_t hash, const char *text)
{
    size_t len = strlen(text);

    return hash_mix(hash_mix(hash, len), crc32c_extend(0, text, len));
}

uint64_t machine_digest(const struct machine *machine)
{
    const struct mvcc *mvcc = machine->mvcc;
    int64_t compact_revision;
    uint64_t digest = 0;
    uint32_t hash;
    int rc;

    rc = mvcc_hash_kv(machine->mvcc, 0, &hash, &compact_revision);
    ASSERT(rc == 0); /* the newest revision is always there */
    digest = hash_mix(hash_mix(digest, hash), (uint64_t)compact_revision);
    digest = hash_mix(hash_mix(digest, (uint64_t)mvcc_revision(mvcc)), mvcc_key_count(mvcc));
    digest = hash_mix(digest, leases_digest(machine->leases));
    digest = hash_mix(digest, auth_store_digest(machine->auth));
    for (size_t i = 0; i < machine->alarm_count; i++)
        digest = hash_mix(hash_mix(digest, machine->alarms[i].type |
                                               (uint64_t)machine->alarms[i].by_quota << 32 |
                                               (uint64_t)machine->alarms[i].healing << 33),
                          machine->alarms[i].member);
    if (machine->downgrade_target != NULL)
        digest = machine__mix_text(digest, machine->downgrade_target);
    for (size_t i = 0; i < machine->member_count; i++) {
        const struct machine_member *member = &machine->members[i];

        digest = machine__mix_text(hash_mix(digest, member->id), member->name);
        for (size_t j = 0; j < member->peer_url_count; j++)
            digest = machine__mix_text(digest, member->peer_urls[j]);
        for (size_t j = 0; j < member->client_url_count; j++)
            digest = machine__mix_text(digest, member->client_urls[j]);
        digest = hash_mix(digest, member->learner);
    }
    return machine__mix_changes(digest, machine);
}
