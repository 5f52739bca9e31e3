/* etcdserverpb.Maintenance (etcd-api.md section 9): Alarm, Defragment, Status, Hash, HashKV,
 * Snapshot. Downgrade is in service_downgrade.c, MoveLeader in service_move_leader.c. */
#include <inttypes.h>
#include <stdio.h>

#include "base/codec.h"
#include "base/crc32c.h"
#include "base/version.h"
#include "server/exports.h"
#include "server/service.h"

enum { ALARM_TEXT_SIZE = 64 };

/* ---- alarms ---- */

static void run_alarm_get(struct grpc_call *call, const void *message)
{
    const Etcdserverpb__AlarmRequest *request = message;
    const struct machine *machine = service_member(call)->machine;
    struct arena *arena = grpc_call_arena(call);
    Etcdserverpb__AlarmResponse response = ETCDSERVERPB__ALARM_RESPONSE__INIT;
    Etcdserverpb__AlarmMember *each = arena_alloc(arena, machine->alarm_count * sizeof *each);

    response.header = service_header(call, mvcc_revision(machine->mvcc));
    response.alarms = arena_alloc(arena, machine->alarm_count * sizeof *response.alarms);
    for (size_t i = 0; i < machine->alarm_count; i++) {
        const struct machine_alarm *alarm = &machine->alarms[i];

        if (request->alarm != ETCDSERVERPB__ALARM_TYPE__NONE &&
            alarm->type != (uint32_t)request->alarm)
            continue;
        etcdserverpb__alarm_member__init(&each[i]);
        each[i].memberid = alarm->member;
        each[i].alarm = (Etcdserverpb__AlarmType)alarm->type;
        response.alarms[response.n_alarms++] = &each[i];
    }
    service_reply(call, &response.base);
}

/* etcd sends a GET through the log; a read point says the same without writing. */
void service_maintenance_alarm(struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__AlarmRequest *request;
    enum status status;

    request = service_begin(call, message, &etcdserverpb__alarm_request__descriptor);
    if (request == NULL)
        return;
    if (request->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET) {
        service_read(call, request, run_alarm_get);
        return;
    }
    status = member__write(service_member(call), call, request, COMMAND_ALARM, message,
                           service_on_written);
    if (status != STATUS_OK)
        service_fail(call, status);
}

/* ---- defragment ---- */

/* Memory and disk come back by themselves after a compaction: there is nothing to wait for. The
 * answer has no header, as etcd's. */
void service_maintenance_defragment(struct grpc_call *call, struct slice message)
{
    Etcdserverpb__DefragmentResponse response = ETCDSERVERPB__DEFRAGMENT_RESPONSE__INIT;

    if (service_begin(call, message, &etcdserverpb__defragment_request__descriptor) != NULL)
        service_reply(call, &response.base);
}

/* ---- status ---- */

/* As Go prints the message AlarmMember: without fields that are zero, a blank behind each. */
static char *alarm_text(const struct machine_alarm *alarm, struct arena *arena)
{
    const ProtobufCEnumValue *name = protobuf_c_enum_descriptor_get_value(
        &etcdserverpb__alarm_type__descriptor, (int)alarm->type);
    char *text = arena_alloc(arena, ALARM_TEXT_SIZE);
    int len = 0;

    if (alarm->member != 0)
        len = snprintf(text, ALARM_TEXT_SIZE, "memberID:%" PRIu64 " ", alarm->member);
    if (name != NULL)
        (void)snprintf(text + len, (size_t)(ALARM_TEXT_SIZE - len), "alarm:%s ", name->name);
    else
        (void)snprintf(text + len, (size_t)(ALARM_TEXT_SIZE - len), "alarm:%" PRIu32 " ",
                       alarm->type);
    return text;
}

/* One text per thing that is wrong, as etcd words them. */
static void fill_errors(const struct member *member, struct arena *arena,
                        Etcdserverpb__StatusResponse *out)
{
    const struct machine *machine = member->machine;

    out->errors = arena_alloc(arena, (machine->alarm_count + 1) * sizeof *out->errors);
    if (member->leader == 0)
        out->errors[out->n_errors++] = (char *)(uintptr_t)status_line(STATUS_NO_LEADER)->text;
    for (size_t i = 0; i < machine->alarm_count; i++)
        out->errors[out->n_errors++] = alarm_text(&machine->alarms[i], arena);
}

void service_maintenance_status(struct grpc_call *call, struct slice message)
{
    struct member *member = service_member(call);
    Etcdserverpb__StatusResponse response = ETCDSERVERPB__STATUS_RESPONSE__INIT;
    Etcdserverpb__DowngradeInfo downgrade = ETCDSERVERPB__DOWNGRADE_INFO__INIT;
    char version[] = ETCD_API_VERSION, storage_version[] = ETCD_CLUSTER_VERSION;
    struct member_info info;

    if (service_begin(call, message, &etcdserverpb__status_request__descriptor) == NULL)
        return;
    member_info(member, &info);
    response.header = service_header(call, info.revision);
    response.version = version;
    response.dbsize = (int64_t)info.db_size;
    response.dbsizeinuse = (int64_t)info.db_size_in_use;
    response.leader = info.raft.leader;
    response.raftindex = info.raft.commit_index;
    response.raftterm = info.raft.term;
    response.raftappliedindex = info.raft.applied_index;
    response.islearner = info.is_learner;
    response.storageversion = storage_version;
    response.dbsizequota = info.quota;
    if (member->machine->downgrade_target != NULL) {
        downgrade.enabled = true;
        downgrade.targetversion = member->machine->downgrade_target;
    }
    response.downgradeinfo = &downgrade;
    fill_errors(member, grpc_call_arena(call), &response);
    service_reply(call, &response.base);
}

/* ---- hashes ---- */

static void count_hash(const struct hash_job *job, bool by_revision)
{
    struct metrics *metrics = job->member->metrics;

    if (metrics != NULL)
        metrics_observe(by_revision ? &metrics->hash_rev : &metrics->hash,
                        (double)(uv_hrtime() - job->asked_ns) / 1e9);
}

static bool hash_failed(struct hash_job *job, int code)
{
    grpc_call_set_data(job->call, NULL);
    if (code != 0)
        service_fail(job->call, status_of_error(code));
    return code != 0;
}

static void on_hash_kv(struct hash_job *job, int code)
{
    Etcdserverpb__HashKVResponse response = ETCDSERVERPB__HASH_KVRESPONSE__INIT;

    if (hash_failed(job, code))
        return;
    count_hash(job, true);
    response.header = service_header(job->call, mvcc_revision(job->member->machine->mvcc));
    response.hash = job->hash.hash;
    response.compact_revision = job->hash.compact_revision;
    response.hash_revision = job->hash.revision;
    service_reply(job->call, &response.base);
}

/* CRC-32C over what HashKV covers at the newest revision, then that revision, the compaction's, and
 * the alarms (type, member), each as 8 little-endian bytes. Equal on members in the same state; not
 * comparable with etcd's, which hashes its database file. */
static uint32_t state_hash(const struct hash_job *job)
{
    const struct machine *machine = job->member->machine;
    uint32_t hash = job->hash.hash;
    uint8_t bytes[16];

    put_le64(bytes, (uint64_t)job->hash.revision);
    put_le64(bytes + 8, (uint64_t)job->hash.compact_revision);
    hash = crc32c_extend(hash, bytes, sizeof bytes);
    for (size_t i = 0; i < machine->alarm_count; i++) {
        put_le64(bytes, machine->alarms[i].type);
        put_le64(bytes + 8, machine->alarms[i].member);
        hash = crc32c_extend(hash, bytes, sizeof bytes);
    }
    return hash;
}

static void on_hash(struct hash_job *job, int code)
{
    Etcdserverpb__HashResponse response = ETCDSERVERPB__HASH_RESPONSE__INIT;

    if (hash_failed(job, code))
        return;
    response.header = service_header(job->call, job->hash.revision);
    response.hash = state_hash(job);
    count_hash(job, false);
    service_reply(job->call, &response.base);
}

static void start_hash(struct grpc_call *call, int64_t revision,
                       void (*done)(struct hash_job *job, int code))
{
    struct hash_job *job = arena_calloc(grpc_call_arena(call), sizeof *job);

    job->call = call;
    job->revision = revision;
    job->done = done;
    job->asked_ns = uv_hrtime();
    member__hash(service_member(call), job);
}

/* As etcd: nothing stands at or below a negative revision. */
static void reply_hash_of_nothing(struct grpc_call *call, int64_t revision)
{
    const struct mvcc *mvcc = service_member(call)->machine->mvcc;
    Etcdserverpb__HashKVResponse response = ETCDSERVERPB__HASH_KVRESPONSE__INIT;

    response.header = service_header(call, mvcc_revision(mvcc));
    response.hash = crc32c_extend(0, "key", 3); /* what etcd's hash starts with */
    response.compact_revision = mvcc_compact_revision(mvcc);
    response.hash_revision = revision;
    service_reply(call, &response.base);
}

void service_maintenance_hash(struct grpc_call *call, struct slice message)
{
    if (service_begin(call, message, &etcdserverpb__hash_request__descriptor) != NULL)
        start_hash(call, 0, on_hash);
}

void service_maintenance_hash_kv(struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__HashKVRequest *request;

    request = service_begin(call, message, &etcdserverpb__hash_kvrequest__descriptor);
    if (request == NULL)
        return;
    if (request->revision < 0)
        reply_hash_of_nothing(call, request->revision);
    else
        start_hash(call, request->revision, on_hash_kv);
}

/* ---- snapshot ---- */

/* Of this member, as it is: no read point, so that a minority can be saved too; as etcd. */
void service_maintenance_snapshot(struct grpc_call *call, struct slice message)
{
    if (service_begin(call, message, &etcdserverpb__snapshot_request__descriptor) != NULL)
        exports_open(service_member(call), call);
}
