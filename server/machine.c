#include "server/machine.h"

#include <stdlib.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "base/util.h"
#include "proto/command.pb-c.h"
#include "server/machine_internal.h"
#include "server/scan.h"

/* ---- members ---- */

static void free_texts(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
}

static char **copy_texts(char *const *texts, size_t count)
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
        .peer_urls = copy_texts(from->peer_urls, from->peer_url_count),
        .peer_url_count = from->peer_url_count,
        .client_urls = copy_texts(from->client_urls, from->client_url_count),
        .client_url_count = from->client_url_count,
    };
}

static void release_member(struct machine_member *member)
{
    free(member->name);
    free_texts(member->peer_urls, member->peer_url_count);
    free_texts(member->client_urls, member->client_url_count);
}

static int by_id(const void *a, const void *b)
{
    const struct machine_member *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

static struct machine_member *find_member(const struct machine *machine, uint64_t id)
{
    struct machine_member key = {.id = id};

    if (machine->member_count == 0)
        return NULL;
    return bsearch(&key, machine->members, machine->member_count, sizeof key, by_id);
}

const struct machine_member *machine_member(const struct machine *machine, uint64_t id)
{
    return find_member(machine, id);
}

/* A member says its name and where clients find it. */
static int publish(struct machine *machine, const Kvdpb__Publish *request)
{
    struct machine_member *member = find_member(machine, request->member_id);

    if (member == NULL)
        return KV_ENOTFOUND;
    free(member->name);
    free_texts(member->client_urls, member->client_url_count);
    member->name = xstrdup(request->name);
    member->client_urls = copy_texts(request->client_urls, request->n_client_urls);
    member->client_url_count = request->n_client_urls;
    return 0;
}

/* ---- alarms: ascending by type, then member ---- */

static int alarm_order(const struct machine_alarm *a, const struct machine_alarm *b)
{
    if (a->type != b->type)
        return a->type < b->type ? -1 : 1;
    return a->member < b->member ? -1 : a->member > b->member;
}

/* Where the alarm stands, or would. */
static size_t alarm_position(const struct machine *machine, const struct machine_alarm *alarm,
                             bool *there)
{
    size_t i = 0;

    while (i < machine->alarm_count && alarm_order(&machine->alarms[i], alarm) < 0)
        i++;
    *there = i < machine->alarm_count && alarm_order(&machine->alarms[i], alarm) == 0;
    return i;
}

static void raise_alarm(struct machine *machine, struct machine_alarm alarm)
{
    bool there;
    size_t at = alarm_position(machine, &alarm, &there);

    if (there)
        return;
    machine->alarms =
        xrealloc(machine->alarms, (machine->alarm_count + 1) * sizeof *machine->alarms);
    memmove(machine->alarms + at + 1, machine->alarms + at,
            (machine->alarm_count - at) * sizeof *machine->alarms);
    machine->alarms[at] = alarm;
    machine->alarm_count++;
}

/* Whether it was set. */
static bool clear_alarm(struct machine *machine, struct machine_alarm alarm)
{
    bool there;
    size_t at = alarm_position(machine, &alarm, &there);

    if (!there)
        return false;
    machine->alarm_count--;
    memmove(machine->alarms + at, machine->alarms + at + 1,
            (machine->alarm_count - at) * sizeof *machine->alarms);
    return true;
}

bool machine_has_alarm(const struct machine *machine, uint32_t type)
{
    for (size_t i = 0; i < machine->alarm_count; i++)
        if (machine->alarms[i].type == type)
            return true;
    return false;
}

/* The answer names the alarm that was raised or cleared; type NONE does nothing (section 9). */
static void apply_alarm(struct machine *machine, const Etcdserverpb__AlarmRequest *request,
                        bool want, struct arena *arena, struct machine_result *out)
{
    struct machine_alarm alarm = {.member = request->memberid, .type = (uint32_t)request->alarm};
    Etcdserverpb__AlarmResponse *response;
    Etcdserverpb__AlarmMember *entry;
    bool named = false;

    if (alarm.type != ETCDSERVERPB__ALARM_TYPE__NONE &&
        request->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE) {
        raise_alarm(machine, alarm);
        named = true;
    }
    if (alarm.type != ETCDSERVERPB__ALARM_TYPE__NONE &&
        request->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE)
        named = clear_alarm(machine, alarm);
    if (!want)
        return;

    response = arena_alloc(arena, sizeof *response);
    etcdserverpb__alarm_response__init(response);
    response->header = machine__header(arena, mvcc_revision(machine->mvcc));
    if (named) {
        entry = arena_alloc(arena, sizeof *entry);
        etcdserverpb__alarm_member__init(entry);
        entry->memberid = alarm.member;
        entry->alarm = request->alarm;
        response->alarms = arena_alloc(arena, sizeof *response->alarms);
        response->alarms[0] = entry;
        response->n_alarms = 1;
    }
    out->response = response;
}

/* ---- the machine ---- */

struct machine *machine_new(uint64_t seed, const struct machine_member *members, size_t count)
{
    struct machine *machine = xcalloc(1, sizeof *machine);

    machine->mvcc = mvcc_new(seed);
    machine->leases = leases_new(seed);
    machine->members = xcalloc(count + 1, sizeof *machine->members);
    machine->member_count = count;
    for (size_t i = 0; i < count; i++)
        copy_member(&machine->members[i], &members[i]);
    qsort(machine->members, count, sizeof *machine->members, by_id);
    return machine;
}

void machine_free(struct machine *machine)
{
    if (machine == NULL)
        return;
    for (size_t i = 0; i < machine->member_count; i++)
        release_member(&machine->members[i]);
    free(machine->members);
    free(machine->alarms);
    leases_free(machine->leases);
    mvcc_free(machine->mvcc);
    free(machine);
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
    default:
        return NULL;
    }
}

/* What alarms forbid (section 9). With both, CORRUPT speaks first, as in etcd. */
static int forbidden(const struct machine *machine, enum command_kind kind,
                     const ProtobufCMessage *body)
{
    bool space;

    if (machine->alarm_count == 0 || kind == COMMAND_ALARM || kind == COMMAND_PUBLISH)
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
        apply_alarm(machine, (const Etcdserverpb__AlarmRequest *)body, want, arena, out);
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
    }
}

void machine_apply(struct machine *machine, const struct command *command, bool want_response,
                   struct arena *arena, struct machine_result *out)
{
    const ProtobufCMessageDescriptor *type = body_type(command->kind);
    ProtobufCMessage *body;

    *out = (struct machine_result){.code = KV_EPROTO};
    if (type != NULL && scan_unpack(type, command->body, arena, &body) == 0) {
        out->code = forbidden(machine, command->kind, body);
        if (out->code == 0)
            apply_body(machine, command, body, want_response, arena, out);
    }
    out->revision = mvcc_revision(machine->mvcc);
}

/* ---- digest ---- */

/* The finaliser of splitmix64 over the running value: every input bit reaches every output bit. */
static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash ^= value + 0x9e3779b97f4a7c15u;
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
    return hash ^ (hash >> 31);
}

static uint64_t mix_text(uint64_t hash, const char *text)
{
    size_t len = strlen(text);

    return mix(mix(hash, len), crc32c_extend(0, text, len));
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
    digest = mix(mix(digest, hash), (uint64_t)compact_revision);
    digest = mix(mix(digest, (uint64_t)mvcc_revision(mvcc)), mvcc_key_count(mvcc));
    digest = mix(digest, leases_digest(machine->leases));
    for (size_t i = 0; i < machine->alarm_count; i++)
        digest = mix(mix(digest, machine->alarms[i].type), machine->alarms[i].member);
    for (size_t i = 0; i < machine->member_count; i++) {
        const struct machine_member *member = &machine->members[i];

        digest = mix_text(mix(digest, member->id), member->name);
        for (size_t j = 0; j < member->peer_url_count; j++)
            digest = mix_text(digest, member->peer_urls[j]);
        for (size_t j = 0; j < member->client_url_count; j++)
            digest = mix_text(digest, member->client_urls[j]);
    }
    return digest;
}
