/* A whole member on a loop of its own, asked over the wire by our own gRPC client: what the
 * services answer, what survives a restart, how it stops. Other members of its cluster do not
 * exist, or do not answer; several members together are the affair of tests/cluster and tests/sim.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "net/client.h"
#include "proto/health.pb-c.h"
#include "proto/rpc.pb-c.h"
#include "proto/v3lock.pb-c.h"
#include "server/claims.h"
#include "server/machine_internal.h"
#include "server/member_internal.h"

enum { GIVE_UP_MS = 30000, CLUSTER_MAX = 3 };

struct fixture {
    uv_loop_t loop;
    uv_timer_t guard; /* ends a test that waits for what never comes */
    char dir[64];
    char *names[CLUSTER_MAX];
    char *urls[CLUSTER_MAX][1];
    struct net_addr addrs[CLUSTER_MAX];
    struct config_peer peers[CLUSTER_MAX];
    char *client_url[1];
    struct net_addr listen_client, listen_peer;
    struct config config;
    struct member *member;
    struct grpc_conn *conn;
    bool ready, stopped;
    int fatal_calls;
    struct err fatal;
};

/* A call and its answer. */
struct call {
    struct grpc_stream *stream;
    bool done;
    enum grpc_status status;
    char text[256];
    struct buf response; /* of the last message */
    int messages;
};

/* ---- the loop ---- */

static void on_guard(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("waited %d ms for nothing", GIVE_UP_MS);
}

static void run_until(struct fixture *f, const bool *flag)
{
    assert_int_equal(uv_timer_start(&f->guard, on_guard, GIVE_UP_MS, 0), 0);
    while (!*flag)
        (void)uv_run(&f->loop,
                     UV_RUN_ONCE); /* says whether handles are left; the guard always is */
    assert_int_equal(uv_timer_stop(&f->guard), 0);
}

static void set_flag(void *ctx)
{
    *(bool *)ctx = true;
}

/* ---- the member ---- */

static void on_fatal(void *ctx, const struct err *err)
{
    struct fixture *f = ctx;

    f->fatal_calls++;
    f->fatal = *err;
}

static void on_ready(void *ctx)
{
    ((struct fixture *)ctx)->ready = true;
}

static void configure(struct fixture *f, size_t members)
{
    for (size_t i = 0; i < members; i++) {
        f->names[i] = xasprintf("n%zu", i + 1);
        f->urls[i][0] = xasprintf("http://127.0.0.1:%zu", i + 1);
        /* Ports nobody listens on: connecting is refused at once. */
        assert_int_equal(net_addr_parse(f->urls[i][0], &f->addrs[i], NULL), 0);
        f->peers[i] = (struct config_peer){
            .name = f->names[i], .urls = {.text = f->urls[i], .addr = &f->addrs[i], .len = 1}};
    }
    f->client_url[0] = "http://127.0.0.1:2379";
    snprintf(f->listen_client.host, sizeof f->listen_client.host, "127.0.0.1");
    f->listen_peer = f->listen_client;
    f->config = (struct config){
        .name = "n1",
        .data_dir = f->dir,
        .initial_cluster = f->peers,
        .initial_cluster_len = members,
        .initial_cluster_token = "etcd-cluster",
        .advertise_peer = f->peers[0].urls,
        .listen_client = {.text = f->client_url, .addr = &f->listen_client, .len = 1},
        .advertise_client = {.text = f->client_url, .addr = &f->listen_client, .len = 1},
        .listen_peer = {.text = f->urls[0], .addr = &f->listen_peer, .len = 1},
        .heartbeat_ms = 10,
        .election_ms = 50,
        .max_txn_ops = 128,
        .max_request_bytes = 1572864,
        .pre_vote = true,
    };
}

static int try_start(struct fixture *f, struct member **out, struct err *err)
{
    struct member_options options = {.loop = &f->loop,
                                     .config = &f->config,
                                     .on_fatal = on_fatal,
                                     .on_ready = on_ready,
                                     .ctx = f};

    return member_start(&options, out, err);
}

/* Calls say for themselves how they fare. */
static void on_conn_ready(void *ctx)
{
    (void)ctx;
}

static void on_conn_down(void *ctx, const struct err *err)
{
    (void)ctx;
    (void)err;
}

static void connect_client(struct fixture *f)
{
    static const struct grpc_conn_events events = {.on_ready = on_conn_ready,
                                                   .on_down = on_conn_down};
    struct grpc_conn_options options = {0};
    struct net_addr addr = f->listen_client;

    addr.port = net_server_port(f->member->server, 0);
    assert_int_equal(grpc_conn_new(&f->loop, &addr, &options, &events, f, &f->conn, NULL), 0);
}

static void start(struct fixture *f)
{
    struct err err = ERR_INIT;

    f->ready = f->stopped = false;
    if (try_start(f, &f->member, &err) != 0)
        fail_msg("%s", err.text);
    connect_client(f);
}

static void start_ready(struct fixture *f)
{
    start(f);
    run_until(f, &f->ready);
}

static void stop(struct fixture *f)
{
    bool closed = false;

    if (f->conn != NULL) {
        grpc_conn_close(f->conn, set_flag, &closed);
        run_until(f, &closed);
        f->conn = NULL;
    }
    member_stop(f->member, set_flag, &f->stopped);
    run_until(f, &f->stopped);
    f->member = NULL;
}

static int setup_cluster(void **state, size_t members)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    snprintf(f->dir, sizeof f->dir, "/tmp/kvd-member-XXXXXX");
    if (mkdtemp(f->dir) == NULL || uv_loop_init(&f->loop) != 0 ||
        uv_timer_init(&f->loop, &f->guard) != 0)
        return -1;
    configure(f, members);
    *state = f;
    return 0;
}

static int setup_one(void **state)
{
    return setup_cluster(state, 1);
}

static int setup_three(void **state)
{
    return setup_cluster(state, 3);
}

static void remove_tree(const char *dir)
{
    struct disk disk = disk_posix();
    char **names;
    size_t len;

    if (disk.ops->list(disk.ctx, dir, &names, &len, NULL) != 0)
        return;
    for (size_t i = 0; i < len; i++) {
        char *path = xasprintf("%s/%s", dir, names[i]);

        if (unlink(path) != 0) {
            remove_tree(path);
            (void)rmdir(path); /* empty now */
        }
        free(path);
    }
    disk_free_names(names, len);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->member != NULL)
        stop(f);
    uv_close((uv_handle_t *)&f->guard, NULL);
    while (uv_run(&f->loop, UV_RUN_DEFAULT) != 0)
        ;
    assert_int_equal(uv_loop_close(&f->loop), 0); /* nothing was left open */
    for (size_t i = 0; i < CLUSTER_MAX; i++) {
        free(f->names[i]);
        free(f->urls[i][0]);
    }
    remove_tree(f->dir);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

/* ---- calls ---- */

static void on_message(void *ctx, struct slice message)
{
    struct call *call = ctx;

    buf_reset(&call->response);
    assert_int_equal(buf_append(&call->response, message.data, message.len), 0);
    call->messages++;
}

static void on_done(void *ctx, enum grpc_status status, const char *message, enum grpc_sent sent)
{
    struct call *call = ctx;

    (void)sent;
    call->done = true;
    call->status = status;
    snprintf(call->text, sizeof call->text, "%s", message);
}

static void begin_with(struct fixture *f, struct call *call, const char *path, struct slice request,
                       const struct grpc_metadata *metadata, size_t count)
{
    static const struct grpc_stream_events events = {.on_message = on_message, .on_done = on_done};

    *call = (struct call){.done = false};
    buf_init(&call->response, 64 << 20);
    assert_int_equal(
        grpc_conn_call(f->conn, path, metadata, count, 0, &events, call, &call->stream, NULL), 0);
    assert_int_equal(grpc_stream_send(call->stream, request, 1), 0);
}

static void begin(struct fixture *f, struct call *call, const char *path,
                  const ProtobufCMessage *request)
{
    size_t len = protobuf_c_message_get_packed_size(request);
    uint8_t *bytes = xmalloc(len + 1);

    (void)protobuf_c_message_pack(request, bytes); /* writes len bytes */
    begin_with(f, call, path, slice_of(bytes, len), NULL, 0);
    free(bytes);
}

static void release(struct call *call)
{
    buf_release(&call->response);
}

static void finish(struct fixture *f, struct call *call, enum grpc_status status, const char *text)
{
    run_until(f, &call->done);
    assert_string_equal(call->text, text);
    assert_int_equal(call->status, status);
}

/* The unpacked answer; free with protobuf_c_message_free_unpacked(). */
static void *ask(struct fixture *f, const char *path, const ProtobufCMessage *request,
                 const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *answer;
    struct call call;

    begin(f, &call, path, request);
    finish(f, &call, GRPC_OK, "");
    assert_int_equal(call.messages, 1);
    answer = protobuf_c_message_unpack(type, NULL, call.response.len, call.response.data);
    assert_non_null(answer);
    release(&call);
    return answer;
}

static void refuse(struct fixture *f, const char *path, const ProtobufCMessage *request,
                   enum grpc_status status, const char *text)
{
    struct call call;

    begin(f, &call, path, request);
    finish(f, &call, status, text);
    assert_int_equal(call.messages, 0);
    release(&call);
}

static int64_t put(struct fixture *f, const char *key, const char *value)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__PutResponse *answer;
    int64_t revision;

    request.key = pb_of_slice(slice_str(key));
    request.value = pb_of_slice(slice_str(value));
    answer = ask(f, "/etcdserverpb.KV/Put", &request.base, &etcdserverpb__put_response__descriptor);
    assert_true(answer->header->cluster_id == f->member->boot.cluster_id);
    assert_true(answer->header->member_id == f->member->boot.member_id);
    assert_true(answer->header->raft_term >= 1);
    revision = answer->header->revision;
    etcdserverpb__put_response__free_unpacked(answer, NULL);
    return revision;
}

static void get(struct fixture *f, const char *key, bool serializable, const char *value)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RangeResponse *answer;

    request.key = pb_of_slice(slice_str(key));
    request.serializable = serializable;
    answer =
        ask(f, "/etcdserverpb.KV/Range", &request.base, &etcdserverpb__range_response__descriptor);
    assert_int_equal(answer->count, value != NULL);
    assert_int_equal(answer->n_kvs, value != NULL);
    if (value != NULL)
        assert_true(slice_eq(slice_of_pb(answer->kvs[0]->value), slice_str(value)));
    etcdserverpb__range_response__free_unpacked(answer, NULL);
}

/* ---- KV ---- */

static void what_is_put_is_read_back_both_ways(void **state)
{
    struct fixture *f = *state;

    start_ready(f);
    assert_int_equal(put(f, "a", "1"), 2);
    get(f, "a", false, "1");
    get(f, "a", true, "1");
    get(f, "b", false, NULL);
}

static void acknowledged_writes_survive_a_restart(void **state)
{
    struct fixture *f = *state;

    start_ready(f);
    assert_int_equal(put(f, "a", "1"), 2);
    assert_int_equal(put(f, "b", "2"), 3);
    stop(f);
    start_ready(f);
    get(f, "a", false, "1");
    assert_int_equal(put(f, "b", "3"), 4);
}

/* Regression R3: memory comes back by itself, so Defragment has nothing to do that could end
 * half-way. */
static void r3_a_defragmentation_cut_short_leaves_everything(void **state)
{
    Etcdserverpb__DefragmentRequest request = ETCDSERVERPB__DEFRAGMENT_REQUEST__INIT;
    const char *path = "/etcdserverpb.Maintenance/Defragment";
    struct fixture *f = *state;
    struct call call;
    struct replica_status before, after;
    uint64_t digest;

    start_ready(f);
    assert_int_equal(put(f, "a", "1"), 2);
    digest = machine_digest(f->member->machine);
    replica_status(f->member->replica, &before);
    protobuf_c_message_free_unpacked(
        ask(f, path, &request.base, &etcdserverpb__defragment_response__descriptor), NULL);
    assert_true(machine_digest(f->member->machine) == digest);
    begin(f, &call, path, &request.base);
    stop(f); /* with the call on its way */
    release(&call);
    start_ready(f);
    assert_true(machine_digest(f->member->machine) == digest);
    replica_status(f->member->replica, &after);
    assert_true(after.applied_index >= before.applied_index);
    get(f, "a", false, "1");
    assert_int_equal(put(f, "a", "2"), 3);
}

static void bad_requests_get_etcds_texts(void **state)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct fixture *f = *state;
    struct call call;

    start_ready(f);
    refuse(f, "/etcdserverpb.KV/Put", &request.base, GRPC_INVALID_ARGUMENT,
           "etcdserver: key is not provided");
    request.key = pb_of_slice(slice_str("k"));
    request.lease = 7;
    refuse(f, "/etcdserverpb.KV/Put", &request.base, GRPC_NOT_FOUND,
           "etcdserver: requested lease not found");
    begin_with(f, &call, "/etcdserverpb.KV/Put", slice_str("\x0a\x05k"), NULL, 0);
    finish(f, &call, GRPC_INTERNAL, "grpc: error unmarshalling request: malformed message");
    release(&call);
}

/* etcd-api.md section 15: these two values were tried on etcd. */
static void value_of_1572800_bytes_passes_and_of_1572864_is_too_large(void **state)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct fixture *f = *state;
    uint8_t *value = xcalloc(1, 1572864);
    void *answer;

    start_ready(f);
    request.key = pb_of_slice(slice_str("k"));
    request.value = pb_of_slice(slice_of(value, 1572864));
    refuse(f, "/etcdserverpb.KV/Put", &request.base, GRPC_INVALID_ARGUMENT,
           "etcdserver: request is too large");
    request.value.len = 1572800;
    answer = ask(f, "/etcdserverpb.KV/Put", &request.base, &etcdserverpb__put_response__descriptor);
    protobuf_c_message_free_unpacked(answer, NULL);
    free(value);
}

static void physical_compaction_answers_when_the_memory_is_back(void **state)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    struct fixture *f = *state;
    Etcdserverpb__CompactionResponse *answer;

    start_ready(f);
    for (int i = 0; i < 20; i++)
        (void)put(f, "a", "1"); /* the revision is looked at below */
    request.revision = 21;
    request.physical = true;
    answer = ask(f, "/etcdserverpb.KV/Compact", &request.base,
                 &etcdserverpb__compaction_response__descriptor);
    assert_int_equal(answer->header->revision, 21);
    assert_false(mvcc_compact_pending(f->member->machine->mvcc));
    etcdserverpb__compaction_response__free_unpacked(answer, NULL);
    refuse(f, "/etcdserverpb.KV/Compact", &request.base, GRPC_OUT_OF_RANGE,
           "etcdserver: mvcc: required revision has been compacted");
}

/* So that a snapshot has more to send than may wait for a client. */
static void put_four_mib(struct fixture *f)
{
    char *value = xmalloc((1 << 20) + 1);
    char key[] = "k0";

    memset(value, 'v', 1 << 20);
    value[1 << 20] = '\0';
    for (; key[1] < '4'; key[1]++)
        (void)put(f, key, value); /* the revision is looked at below */
    free(value);
}

static void a_snapshot_comes_in_pieces_and_its_digest_last(void **state)
{
    Etcdserverpb__SnapshotRequest request = ETCDSERVERPB__SNAPSHOT_REQUEST__INIT;
    struct fixture *f = *state;
    Etcdserverpb__SnapshotResponse *last;
    struct call call;

    start_ready(f);
    put_four_mib(f);
    begin(f, &call, "/etcdserverpb.Maintenance/Snapshot", &request.base);
    finish(f, &call, GRPC_OK, "");
    assert_true(call.messages > 4 * 32);
    last = etcdserverpb__snapshot_response__unpack(NULL, call.response.len, call.response.data);
    assert_non_null(last);
    assert_null(last->header);
    assert_int_equal(last->remaining_bytes, 0);
    assert_int_equal(last->blob.len, 32);
    assert_string_equal(last->version, "3.6.0");
    assert_true(list_empty(&f->member->exports));
    etcdserverpb__snapshot_response__free_unpacked(last, NULL);
    release(&call);
}

static void a_compaction_waits_for_a_snapshot_and_not_for_one_that_was_cancelled(void **state)
{
    Etcdserverpb__SnapshotRequest request = ETCDSERVERPB__SNAPSHOT_REQUEST__INIT;
    Etcdserverpb__CompactionRequest compaction = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    struct fixture *f = *state;
    struct call calls[2], wait;

    start_ready(f);
    put_four_mib(f);
    compaction.revision = 4;
    compaction.physical = true;
    for (size_t i = 0; i < 2; i++)
        begin(f, &calls[i], "/etcdserverpb.Maintenance/Snapshot", &request.base);
    while (calls[0].messages == 0 || calls[1].messages == 0)
        (void)uv_run(&f->loop, UV_RUN_ONCE); /* the messages end it */
    begin(f, &wait, "/etcdserverpb.KV/Compact", &compaction.base);
    grpc_stream_cancel(calls[0].stream);
    finish(f, &wait, GRPC_OK, "");
    assert_false(mvcc_compact_pending(f->member->machine->mvcc));
    finish(f, &calls[1], GRPC_OK, "");
    for (size_t i = 0; i < 2; i++)
        release(&calls[i]);
    release(&wait);
}

static void hundreds_of_puts_at_once_are_all_answered(void **state)
{
    enum { CALLS = 500 };
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct call *calls = xcalloc(CALLS, sizeof *calls);
    struct fixture *f = *state;
    struct replica_status status;

    start_ready(f);
    for (int i = 0; i < CALLS; i++) {
        char key[16];

        snprintf(key, sizeof key, "k%d", i);
        request.key = pb_of_slice(slice_str(key));
        begin(f, &calls[i], "/etcdserverpb.KV/Put", &request.base);
    }
    for (int i = 0; i < CALLS; i++) {
        finish(f, &calls[i], GRPC_OK, "");
        release(&calls[i]);
    }
    assert_int_equal(mvcc_revision(f->member->machine->mvcc), 1 + CALLS);
    assert_int_equal(f->member->pending.count, 0);
    replica_status(f->member->replica, &status);
    assert_true(status.last_index < CALLS / 2); /* those of one turn are one entry */
    free(calls);
}

static void cancelled_put_is_not_answered_and_leaves_nothing_behind(void **state)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct fixture *f = *state;
    struct call call;

    start_ready(f);
    request.key = pb_of_slice(slice_str("k"));
    begin(f, &call, "/etcdserverpb.KV/Put", &request.base);
    grpc_stream_cancel(call.stream);
    assert_int_equal(put(f, "a", "1") >= 2, 1);
    assert_int_equal(f->member->pending.count, 0);
    assert_true(list_empty(&f->member->writes));
    assert_false(call.done);
    release(&call);
}

/* ---- cluster, maintenance, health ---- */

static void member_list_has_name_and_urls_once_published(void **state)
{
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    struct fixture *f = *state;
    Etcdserverpb__MemberListResponse *answer;

    start_ready(f);
    (void)put(f, "a", "1"); /* is behind the publication in the log */
    request.linearizable = true;
    answer = ask(f, "/etcdserverpb.Cluster/MemberList", &request.base,
                 &etcdserverpb__member_list_response__descriptor);
    assert_int_equal(answer->header->revision, 0);
    assert_int_equal(answer->n_members, 1);
    assert_true(answer->members[0]->id == f->member->boot.member_id);
    assert_string_equal(answer->members[0]->name, "n1");
    assert_string_equal(answer->members[0]->peerurls[0], f->urls[0][0]);
    assert_string_equal(answer->members[0]->clienturls[0], f->client_url[0]);
    etcdserverpb__member_list_response__free_unpacked(answer, NULL);
}

static void status_says_what_etcd_says(void **state)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    struct fixture *f = *state;
    Etcdserverpb__StatusResponse *answer;

    start_ready(f);
    (void)put(f, "a", "1"); /* makes indexes move */
    answer = ask(f, "/etcdserverpb.Maintenance/Status", &request.base,
                 &etcdserverpb__status_response__descriptor);
    assert_int_equal(answer->header->revision, 2);
    assert_string_equal(answer->version, "3.6.14");
    assert_string_equal(answer->storageversion, "3.6.0");
    assert_true(answer->leader == f->member->boot.member_id);
    assert_true(answer->raftindex >= 2 && answer->raftappliedindex == answer->raftindex);
    assert_true(answer->dbsize > 0 && answer->dbsizeinuse > 0);
    assert_true(answer->dbsizequota == 2147483648);
    assert_int_equal(answer->n_errors, 0);
    assert_non_null(answer->downgradeinfo);
    etcdserverpb__status_response__free_unpacked(answer, NULL);
}

static void raised_alarm_is_listed_shown_in_status_and_forbids_puts(void **state)
{
    Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
    Etcdserverpb__StatusRequest status = ETCDSERVERPB__STATUS_REQUEST__INIT;
    Etcdserverpb__PutRequest denied = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct fixture *f = *state;
    Etcdserverpb__StatusResponse *shown;
    Etcdserverpb__AlarmResponse *answer;

    start_ready(f);
    request.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
    request.memberid = 5;
    request.alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    answer = ask(f, "/etcdserverpb.Maintenance/Alarm", &request.base,
                 &etcdserverpb__alarm_response__descriptor);
    assert_int_equal(answer->n_alarms, 1);
    etcdserverpb__alarm_response__free_unpacked(answer, NULL);

    request.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET;
    request.alarm = ETCDSERVERPB__ALARM_TYPE__NONE;
    answer = ask(f, "/etcdserverpb.Maintenance/Alarm", &request.base,
                 &etcdserverpb__alarm_response__descriptor);
    assert_int_equal(answer->n_alarms, 1);
    assert_true(answer->alarms[0]->memberid == 5);
    etcdserverpb__alarm_response__free_unpacked(answer, NULL);

    request.alarm = ETCDSERVERPB__ALARM_TYPE__CORRUPT;
    answer = ask(f, "/etcdserverpb.Maintenance/Alarm", &request.base,
                 &etcdserverpb__alarm_response__descriptor);
    assert_int_equal(answer->n_alarms, 0);
    etcdserverpb__alarm_response__free_unpacked(answer, NULL);

    shown = ask(f, "/etcdserverpb.Maintenance/Status", &status.base,
                &etcdserverpb__status_response__descriptor);
    assert_int_equal(shown->n_errors, 1);
    assert_string_equal(shown->errors[0], "memberID:5 alarm:NOSPACE "); /* the blank is etcd's */
    etcdserverpb__status_response__free_unpacked(shown, NULL);

    denied.key = pb_of_slice(slice_str("k"));
    refuse(f, "/etcdserverpb.KV/Put", &denied.base, GRPC_RESOURCE_EXHAUSTED,
           "etcdserver: mvcc: database space exceeded");
}

/* ---- the space quota ---- */

enum { SMALL_QUOTA = 256 << 10, BIG_VALUE = 16 << 10 };

static const char no_space[] = "etcdserver: mvcc: database space exceeded";

static void begin_big_put(struct fixture *f, struct call *call, const char *key)
{
    static uint8_t value[BIG_VALUE];
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;

    request.key = pb_of_slice(slice_str(key));
    request.value = pb_of_slice(slice_of(value, sizeof value));
    begin(f, call, "/etcdserverpb.KV/Put", &request.base);
}

static enum grpc_status big_put(struct fixture *f, const char *key)
{
    enum grpc_status status;
    struct call call;

    begin_big_put(f, &call, key);
    run_until(f, &call.done);
    status = call.status;
    if (status != GRPC_OK)
        assert_string_equal(call.text, no_space);
    release(&call);
    return status;
}

/* The same key again and again: it is the history that takes the space. */
static int fill_up(struct fixture *f)
{
    int puts = 0;

    while (big_put(f, "k") == GRPC_OK) {
        assert_true(++puts < 2 * SMALL_QUOTA / BIG_VALUE);
        assert_true(machine_space(f->member->machine) < SMALL_QUOTA);
    }
    return puts;
}

static void compact_now(struct fixture *f)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;

    request.revision = mvcc_revision(f->member->machine->mvcc);
    request.physical = true;
    etcdserverpb__compaction_response__free_unpacked(
        ask(f, "/etcdserverpb.KV/Compact", &request.base,
            &etcdserverpb__compaction_response__descriptor),
        NULL);
}

static size_t alarms(struct fixture *f)
{
    Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
    Etcdserverpb__AlarmResponse *answer;
    size_t count;

    answer = ask(f, "/etcdserverpb.Maintenance/Alarm", &request.base,
                 &etcdserverpb__alarm_response__descriptor);
    count = answer->n_alarms;
    for (size_t i = 0; i < count; i++) {
        assert_true(answer->alarms[i]->memberid == f->member->boot.member_id);
        assert_int_equal(answer->alarms[i]->alarm, ETCDSERVERPB__ALARM_TYPE__NOSPACE);
    }
    etcdserverpb__alarm_response__free_unpacked(answer, NULL);
    return count;
}

/* For what is asked again and again until it is so. */
static void check_patience(uint64_t began_ns)
{
    if ((uv_hrtime() - began_ns) / 1000000 > GIVE_UP_MS)
        fail_msg("asked for %d ms in vain", GIVE_UP_MS);
}

static void await_alarms(struct fixture *f, size_t count)
{
    uint64_t began_ns = uv_hrtime();

    while (alarms(f) != count)
        check_patience(began_ns);
}

static void set_alarm(struct fixture *f, Etcdserverpb__AlarmRequest__AlarmAction action)
{
    Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;

    request.action = action;
    request.memberid = f->member->boot.member_id;
    request.alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    etcdserverpb__alarm_response__free_unpacked(ask(f, "/etcdserverpb.Maintenance/Alarm",
                                                    &request.base,
                                                    &etcdserverpb__alarm_response__descriptor),
                                                NULL);
}

/* Whatever could put is refused, even what would be refused for other reasons, as in etcd; the rest
 * works. After a compaction the alarm goes by itself. */
static void a_full_quota_refuses_until_space_is_back(void **state)
{
    Etcdserverpb__PutRequest empty_key = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    static uint8_t value[BIG_VALUE];
    struct fixture *f = *state;
    int puts;

    f->config.quota_backend_bytes = SMALL_QUOTA;
    start_ready(f);
    puts = fill_up(f);
    assert_true(puts >= SMALL_QUOTA / (BIG_VALUE + 4096) - 1); /* a big record takes whole pages */
    assert_int_equal(alarms(f), 1); /* it stood in the log before the refusal was told */
    assert_int_equal(mvcc_revision(f->member->machine->mvcc), 1 + puts);
    empty_key.value = pb_of_slice(slice_of(value, sizeof value));
    refuse(f, "/etcdserverpb.KV/Put", &empty_key.base, GRPC_RESOURCE_EXHAUSTED, no_space);
    grant.ttl = 60;
    refuse(f, "/etcdserverpb.Lease/LeaseGrant", &grant.base, GRPC_RESOURCE_EXHAUSTED, no_space);
    del.key = pb_of_slice(slice_str("k"));
    etcdserverpb__delete_range_response__free_unpacked(
        ask(f, "/etcdserverpb.KV/DeleteRange", &del.base,
            &etcdserverpb__delete_range_response__descriptor),
        NULL);
    compact_now(f);
    await_alarms(f, 0);
    assert_int_equal(big_put(f, "k"), GRPC_OK);
    assert_int_equal(fill_up(f), puts - 1); /* and once more */
}

/* Puts of one moment: all of them fit when they come. */
static void overrun(struct fixture *f)
{
    struct call calls[2 * SMALL_QUOTA / BIG_VALUE];

    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        begin_big_put(f, &calls[i], "k");
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        finish(f, &calls[i], GRPC_OK, "");
        release(&calls[i]);
    }
    assert_true(machine_space(f->member->machine) > SMALL_QUOTA);
}

/* They are done, and said to be. */
static void a_burst_that_overruns_the_quota_raises_the_alarm(void **state)
{
    struct fixture *f = *state;

    f->config.quota_backend_bytes = SMALL_QUOTA;
    start_ready(f);
    overrun(f);
    await_alarms(f, 1);
    assert_int_equal(big_put(f, "k"), GRPC_RESOURCE_EXHAUSTED);
    compact_now(f);
    await_alarms(f, 0);
    assert_int_equal(big_put(f, "k"), GRPC_OK);
}

static void calls_that_wait_for_the_alarm_can_be_cancelled(void **state)
{
    struct call calls[8];
    struct fixture *f = *state;

    f->config.quota_backend_bytes = SMALL_QUOTA;
    start_ready(f);
    while (space_fits(&f->member->space.quota, machine_space(f->member->machine), BIG_VALUE + 257))
        assert_int_equal(big_put(f, "k"), GRPC_OK);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        begin_big_put(f, &calls[i], "k");
    run_until(f, &f->member->space.proposing);
    assert_false(list_empty(&f->member->space.refused));
    grpc_stream_cancel(calls[0].stream);
    grpc_stream_cancel(calls[5].stream);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        if (i != 0 && i != 5)
            finish(f, &calls[i], GRPC_RESOURCE_EXHAUSTED, no_space);
        release(&calls[i]);
    }
    assert_int_equal(alarms(f), 1);
    assert_true(list_empty(&f->member->space.refused));
}

/* A txn of one delete that finds nothing. */
static void delete_in_txn(struct fixture *f)
{
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT, *ops[] = {&op};
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;

    del.key = pb_of_slice(slice_str("none"));
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op.request_delete_range = &del;
    txn.success = ops;
    txn.n_success = 1;
    etcdserverpb__txn_response__free_unpacked(
        ask(f, "/etcdserverpb.KV/Txn", &txn.base, &etcdserverpb__txn_response__descriptor), NULL);
}

static void a_disarmed_alarm_comes_back_at_the_next_write(void **state)
{
    struct fixture *f = *state;

    f->config.quota_backend_bytes = SMALL_QUOTA;
    start_ready(f);
    overrun(f);
    await_alarms(f, 1);
    set_alarm(f, ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(alarms(f), 0); /* not by itself, nor by what needs no space */
        delete_in_txn(f);
    }
    assert_int_equal(big_put(f, "k"), GRPC_RESOURCE_EXHAUSTED);
    assert_int_equal(alarms(f), 1);
}

static void an_alarm_of_a_client_stays_though_there_is_space(void **state)
{
    struct fixture *f = *state;

    f->config.quota_backend_bytes = SMALL_QUOTA;
    start_ready(f);
    set_alarm(f, ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE);
    for (int i = 0; i < 20; i++)
        assert_int_equal(alarms(f), 1);
    assert_int_equal(big_put(f, "k"), GRPC_RESOURCE_EXHAUSTED);
    set_alarm(f, ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE);
    assert_int_equal(fill_up(f) > 0, true);

    /* The quota's own, taken over by a client. */
    set_alarm(f, ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE);
    compact_now(f);
    for (int i = 0; i < 20; i++)
        assert_int_equal(alarms(f), 1);
}

static void an_alarm_survives_a_restart_unless_the_quota_has_grown(void **state)
{
    struct fixture *f = *state;

    f->config.quota_backend_bytes = SMALL_QUOTA;
    start_ready(f);
    (void)fill_up(f);
    stop(f);
    start_ready(f);
    for (int i = 0; i < 20; i++)
        assert_int_equal(alarms(f), 1);
    assert_int_equal(big_put(f, "k"), GRPC_RESOURCE_EXHAUSTED);
    stop(f);
    f->config.quota_backend_bytes = -1;
    start_ready(f);
    await_alarms(f, 0);
    for (int i = 0; i < 2 * SMALL_QUOTA / BIG_VALUE; i++)
        assert_int_equal(big_put(f, "k"), GRPC_OK);
    assert_int_equal(alarms(f), 0);
}

/* The shortest retention that can be told from none: the policy itself is tested on virtual time.
 */
static void old_revisions_are_compacted_by_themselves(void **state)
{
    Etcdserverpb__StatusRequest status = ETCDSERVERPB__STATUS_REQUEST__INIT;
    struct fixture *f = *state;
    uint64_t began_ns = uv_hrtime();
    const struct mvcc *mvcc;

    f->config.auto_compaction_retention = 20;
    start_ready(f);
    mvcc = f->member->machine->mvcc;
    while (mvcc_compact_revision(mvcc) < 5) {
        assert_int_equal(big_put(f, "k"), GRPC_OK);
        check_patience(began_ns);
    }
    /* And once more when nobody writes: to the newest. */
    while (mvcc_compact_revision(mvcc) < mvcc_revision(mvcc)) {
        check_patience(began_ns);
        etcdserverpb__status_response__free_unpacked(
            ask(f, "/etcdserverpb.Maintenance/Status", &status.base,
                &etcdserverpb__status_response__descriptor),
            NULL);
    }
}

/* ---- downgrade ---- */

static void downgrade(struct fixture *f, int action, const char *version, enum grpc_status status,
                      const char *text)
{
    Etcdserverpb__DowngradeRequest request = ETCDSERVERPB__DOWNGRADE_REQUEST__INIT;
    Etcdserverpb__DowngradeResponse *answer;

    request.action = (Etcdserverpb__DowngradeRequest__DowngradeAction)action;
    request.version = (char *)(uintptr_t)version;
    if (status != GRPC_OK) {
        refuse(f, "/etcdserverpb.Maintenance/Downgrade", &request.base, status, text);
        return;
    }
    answer = ask(f, "/etcdserverpb.Maintenance/Downgrade", &request.base,
                 &etcdserverpb__downgrade_response__descriptor);
    assert_string_equal(answer->version, "3.6");
    assert_int_equal(answer->header->revision, 1);
    etcdserverpb__downgrade_response__free_unpacked(answer, NULL);
}

static void expect_downgrade(struct fixture *f, bool enabled, const char *target)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    Etcdserverpb__StatusResponse *answer;

    answer = ask(f, "/etcdserverpb.Maintenance/Status", &request.base,
                 &etcdserverpb__status_response__descriptor);
    assert_non_null(answer->downgradeinfo);
    assert_int_equal(answer->downgradeinfo->enabled, enabled);
    assert_string_equal(answer->downgradeinfo->targetversion, target);
    etcdserverpb__status_response__free_unpacked(answer, NULL);
}

static void a_downgrade_is_validated_enabled_kept_and_cancelled(void **state)
{
    enum { VALIDATE, ENABLE, CANCEL };
    static const char in_progress[] = "etcdserver: cluster has a downgrade job in progress";
    struct fixture *f = *state;

    start_ready(f);
    expect_downgrade(f, false, "");
    downgrade(f, VALIDATE, "3.5", GRPC_OK, NULL);
    downgrade(f, CANCEL, "", GRPC_OK, NULL); /* nothing to cancel: well, since 3.6 */
    expect_downgrade(f, false, "");
    downgrade(f, ENABLE, "3.5.99-rc.1+x", GRPC_OK, NULL);
    expect_downgrade(f, true, "3.5.0");
    downgrade(f, VALIDATE, "3.5.0", GRPC_FAILED_PRECONDITION, in_progress);
    downgrade(f, ENABLE, "3.5.0", GRPC_FAILED_PRECONDITION, in_progress);
    stop(f);
    start_ready(f);
    expect_downgrade(f, true, "3.5.0");
    downgrade(f, CANCEL, "not looked at", GRPC_OK, NULL);
    expect_downgrade(f, false, "");
    downgrade(f, VALIDATE, "3.5.0", GRPC_OK, NULL);
}

static void wrong_downgrades_get_etcds_texts(void **state)
{
    static const char *const malformed[] = {
        "",       "3",       "v3.5",    "3.5.",      "3.x",
        ".5",     "3.5.0.0", " 3.5",    "3.5 ",      "+3.5.0",
        "3.-5.0", "3.5-rc",  "3.5.0_1", "3.5.0+a b", "3.99999999999999999999",
    };
    static const char *const others[] = {"3.6",   "3.6.0",   "3.4",    "3.7.0", "4.5",
                                         "2.5.0", "03.04.0", "3.4.0-", "0.0",   "3.5000000000"};
    struct fixture *f = *state;

    start_ready(f);
    for (int action = 0; action < 2; action++) {
        for (size_t i = 0; i < ARRAY_LEN(malformed); i++)
            downgrade(f, action, malformed[i], GRPC_INVALID_ARGUMENT,
                      "etcdserver: wrong downgrade target version format");
        for (size_t i = 0; i < ARRAY_LEN(others); i++)
            downgrade(f, action, others[i], GRPC_INVALID_ARGUMENT,
                      "etcdserver: invalid downgrade target version");
    }
    downgrade(f, 3, "3.5", GRPC_UNKNOWN, "etcdserver: unknown method");
    downgrade(f, -1, "3.5", GRPC_UNKNOWN, "etcdserver: unknown method");
    expect_downgrade(f, false, "");
}

/* Vector 1 of etcd-api.md section 19. */
static void hash_kv_of_an_empty_store_is_etcds(void **state)
{
    Etcdserverpb__HashKVRequest request = ETCDSERVERPB__HASH_KVREQUEST__INIT;
    struct fixture *f = *state;
    Etcdserverpb__HashKVResponse *answer;

    start_ready(f);
    answer = ask(f, "/etcdserverpb.Maintenance/HashKV", &request.base,
                 &etcdserverpb__hash_kvresponse__descriptor);
    assert_true(answer->hash == 1084519789u);
    assert_true(answer->compact_revision == -1 && answer->hash_revision == 1);
    assert_int_equal(answer->header->revision, 1);
    etcdserverpb__hash_kvresponse__free_unpacked(answer, NULL);
    request.revision = -1;
    answer = ask(f, "/etcdserverpb.Maintenance/HashKV", &request.base,
                 &etcdserverpb__hash_kvresponse__descriptor);
    assert_true(answer->hash == 1084519789u && answer->hash_revision == -1);
    etcdserverpb__hash_kvresponse__free_unpacked(answer, NULL);
    request.revision = 2;
    refuse(f, "/etcdserverpb.Maintenance/HashKV", &request.base, GRPC_OUT_OF_RANGE,
           "etcdserver: mvcc: required revision is a future revision");
}

static void hash_differs_when_the_state_does(void **state)
{
    Etcdserverpb__HashRequest request = ETCDSERVERPB__HASH_REQUEST__INIT;
    struct fixture *f = *state;
    Etcdserverpb__HashResponse *before, *again, *after;
    const ProtobufCMessageDescriptor *type = &etcdserverpb__hash_response__descriptor;

    start_ready(f);
    before = ask(f, "/etcdserverpb.Maintenance/Hash", &request.base, type);
    again = ask(f, "/etcdserverpb.Maintenance/Hash", &request.base, type);
    (void)put(f, "a", "1"); /* that it changes something is the point */
    after = ask(f, "/etcdserverpb.Maintenance/Hash", &request.base, type);
    assert_true(before->hash == again->hash && before->hash != after->hash);
    etcdserverpb__hash_response__free_unpacked(before, NULL);
    etcdserverpb__hash_response__free_unpacked(again, NULL);
    etcdserverpb__hash_response__free_unpacked(after, NULL);
}

static void health_is_serving_and_knows_no_other_service(void **state)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    struct fixture *f = *state;
    Grpc__Health__V1__HealthCheckResponse *answer;
    char other[] = "etcdserverpb.KV";

    start_ready(f);
    answer = ask(f, "/grpc.health.v1.Health/Check", &request.base,
                 &grpc__health__v1__health_check_response__descriptor);
    assert_int_equal(answer->status, 1);
    protobuf_c_message_free_unpacked(&answer->base, NULL);
    request.service = other;
    refuse(f, "/grpc.health.v1.Health/Check", &request.base, GRPC_NOT_FOUND, "unknown service");
}

static void health_watch_says_serving_and_ends_when_the_member_stops(void **state)
{
    struct fixture *f = *state;
    struct call watch;

    start_ready(f);
    begin_with(f, &watch, "/grpc.health.v1.Health/Watch", slice_of(NULL, 0), NULL, 0);
    (void)put(f, "a", "1"); /* answered after the stream's first message */
    assert_int_equal(watch.messages, 1);
    assert_true(slice_eq(buf_slice(&watch.response), slice_str("\x08\x01")));
    assert_false(watch.done);
    member_stop(f->member, set_flag, &f->stopped);
    finish(f, &watch, GRPC_UNAVAILABLE, "etcdserver: server stopped");
    run_until(f, &f->stopped);
    f->member = NULL;
    grpc_conn_close(f->conn, NULL, NULL);
    release(&watch);
}

/* ---- without a leader ---- */

static void begin_put_needing_a_leader(struct fixture *f, struct call *call)
{
    static const struct grpc_metadata hasleader = {"hasleader", "true"};

    begin_with(f, call, "/etcdserverpb.KV/Put", slice_str("\x0a\x01k"), &hasleader, 1);
}

static void without_a_leader_serializable_reads_and_status_are_served(void **state)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    struct fixture *f = *state;
    Etcdserverpb__StatusResponse *answer;
    struct call call;

    start(f);
    get(f, "a", true, NULL);
    answer = ask(f, "/etcdserverpb.Maintenance/Status", &request.base,
                 &etcdserverpb__status_response__descriptor);
    assert_int_equal(answer->leader, 0);
    assert_string_equal(answer->errors[0], "etcdserver: no leader");
    etcdserverpb__status_response__free_unpacked(answer, NULL);
    begin_with(f, &call, "/etcdserverpb.KV/Txn", slice_of(NULL, 0), NULL, 0);
    finish(f, &call, GRPC_OK, "");
    release(&call);
    begin_put_needing_a_leader(f, &call);
    finish(f, &call, GRPC_UNAVAILABLE, "etcdserver: no leader");
    release(&call);
    assert_false(f->ready);
}

/* etcd-api.md section 13; the server's own timeout is 5 s + 2 election timeouts. */
static void without_a_leader_writes_and_reads_end_with_etcds_texts(void **state)
{
    struct fixture *f = *state;
    struct call write, read, members;
    uint64_t start_ms;

    start(f);
    start_ms = uv_now(&f->loop);
    begin_with(f, &write, "/etcdserverpb.KV/Put", slice_str("\x0a\x01k"), NULL, 0);
    begin_with(f, &read, "/etcdserverpb.KV/Range", slice_str("\x0a\x01k"), NULL, 0);
    begin_with(f, &members, "/etcdserverpb.Cluster/MemberList", slice_str("\x08\x01"), NULL, 0);
    finish(f, &write, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
    finish(f, &read, GRPC_UNAVAILABLE, "etcdserver: request timed out");
    finish(f, &members, GRPC_UNAVAILABLE, "etcdserver: request timed out");
    assert_true(uv_now(&f->loop) - start_ms >= 5100);
    assert_int_equal(f->member->pending.count, 0);
    release(&write);
    release(&read);
    release(&members);
}

static void put_cancelled_before_it_left_is_taken_back(void **state)
{
    struct fixture *f = *state;
    struct call call;

    start(f);
    begin_with(f, &call, "/etcdserverpb.KV/Put", slice_str("\x0a\x01k"), NULL, 0);
    get(f, "a", true, NULL);
    assert_int_equal(f->member->pending.count, 1);
    grpc_stream_cancel(call.stream);
    get(f, "a", true, NULL);
    assert_int_equal(f->member->pending.count, 0);
    assert_int_equal(f->member->pending_bytes, 0);
    release(&call);
}

/* ---- start, stop, trouble ---- */

/* Closing may take longer than calls get to finish: a disk that is busy is waited for. */
static void a_member_that_closes_is_not_told_to_close_again(void **state)
{
    struct fixture *f = *state;
    bool closed = false;

    start_ready(f);
    grpc_conn_close(f->conn, set_flag, &closed);
    run_until(f, &closed);
    f->conn = NULL;
    member_stop(f->member, set_flag, &f->stopped);
    while (f->member->state != MEMBER_CLOSING)
        (void)uv_run(&f->loop, UV_RUN_ONCE); /* whether there is more is no matter */
    assert_false(uv_is_active((uv_handle_t *)&f->member->stop_timer));
    run_until(f, &f->stopped);
    f->member = NULL;
}

static void second_member_in_the_same_data_dir_is_refused(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    struct member *second;

    start_ready(f);
    assert_int_equal(try_start(f, &second, &err), KV_EBUSY);
    assert_non_null(strstr(err.text, "is in use by another process"));
    assert_int_equal(put(f, "a", "1"), 2);
}

static void data_dir_of_another_name_is_refused(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    struct member *other;

    start_ready(f);
    stop(f);
    f->config.name = "another";
    assert_int_equal(try_start(f, &other, &err), KV_EMISMATCH);
    assert_non_null(strstr(err.text, "belongs to member"));
}

/* As etcd: what the flags say about the cluster is for the first start. */
static void member_that_has_data_is_who_that_says(void **state)
{
    struct fixture *f = *state;
    uint64_t id;

    start_ready(f);
    id = f->member->boot.member_id;
    assert_int_equal(put(f, "a", "1"), 2);
    stop(f);
    f->config.initial_cluster_token = "another";
    f->config.initial_cluster_existing = true;
    start_ready(f);
    assert_true(f->member->boot.member_id == id);
    assert_int_equal(put(f, "a", "2"), 3);
}

static void member_works_without_fsync_too(void **state)
{
    struct fixture *f = *state;

    f->config.unsafe_no_fsync = true;
    start_ready(f);
    assert_int_equal(put(f, "a", "1"), 2);
}

/* A failed sync is final (faults.md D4): told once, and nobody is served any more. */
static void member_whose_log_failed_says_so_once_and_serves_no_more(void **state)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct fixture *f = *state;
    struct err err = ERR_INIT;

    start_ready(f);
    assert_int_equal(put(f, "a", "1"), 2);
    err_set(&err, KV_EIO, "wal/1: syncing: Input/output error");
    member__on_durable(f->member, KV_EIO, 0, &err);
    request.key = pb_of_slice(slice_str("k"));
    refuse(f, "/etcdserverpb.KV/Put", &request.base, GRPC_UNAVAILABLE,
           "etcdserver: server stopped");
    assert_int_equal(f->fatal_calls, 1);
    assert_int_equal(f->fatal.code, KV_EIO);
    assert_non_null(strstr(f->fatal.text, "syncing: Input/output error"));
}

/* ---- locks ---- */

static void grant(struct fixture *f, int64_t id)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;

    request.id = id;
    request.ttl = 600;
    protobuf_c_message_free_unpacked(ask(f, "/etcdserverpb.Lease/LeaseGrant", &request.base,
                                         &etcdserverpb__lease_grant_response__descriptor),
                                     NULL);
}

static void begin_lock(struct fixture *f, struct call *call, int64_t lease)
{
    V3lockpb__LockRequest request = V3LOCKPB__LOCK_REQUEST__INIT;

    request.name = pb_of_slice(slice_str("l"));
    request.lease = lease;
    begin(f, call, "/v3lockpb.Lock/Lock", &request.base);
}

/* As many calls as may wait, all with one lease and so in one place; one more is refused, and what
 * they wait for reaches all. */
static void waiting_locks_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct call *calls = xcalloc(CLAIMS_MAX + 2, sizeof *calls), *one_more = &calls[CLAIMS_MAX + 1];
    V3lockpb__UnlockRequest unlock = V3LOCKPB__UNLOCK_REQUEST__INIT;

    start_ready(f);
    grant(f, 1);
    grant(f, 2);
    begin_lock(f, &calls[CLAIMS_MAX], 1);
    finish(f, &calls[CLAIMS_MAX], GRPC_OK, "");
    for (size_t i = 0; i < CLAIMS_MAX; i++)
        begin_lock(f, &calls[i], 2);
    while (claims_waiting(f->member->claims) < CLAIMS_MAX)
        (void)uv_run(&f->loop, UV_RUN_ONCE); /* says whether handles are left */
    begin_lock(f, one_more, 2);
    finish(f, one_more, GRPC_UNKNOWN, "etcdserver: too many requests");
    unlock.key = pb_of_slice(slice_str("l/1"));
    protobuf_c_message_free_unpacked(
        ask(f, "/v3lockpb.Lock/Unlock", &unlock.base, &v3lockpb__unlock_response__descriptor),
        NULL);
    for (size_t i = 0; i < CLAIMS_MAX; i++)
        finish(f, &calls[i], GRPC_OK, "");
    assert_int_equal(claims_waiting(f->member->claims), 0);
    for (size_t i = 0; i < CLAIMS_MAX + 2; i++)
        release(&calls[i]);
    free(calls);
}

int main(void)
{
#define ONE(name) cmocka_unit_test_setup_teardown(name, setup_one, teardown)
#define THREE(name) cmocka_unit_test_setup_teardown(name, setup_three, teardown)
    const struct CMUnitTest tests[] = {
        ONE(what_is_put_is_read_back_both_ways),
        ONE(acknowledged_writes_survive_a_restart),
        ONE(r3_a_defragmentation_cut_short_leaves_everything),
        ONE(bad_requests_get_etcds_texts),
        ONE(value_of_1572800_bytes_passes_and_of_1572864_is_too_large),
        ONE(physical_compaction_answers_when_the_memory_is_back),
        ONE(a_snapshot_comes_in_pieces_and_its_digest_last),
        ONE(a_compaction_waits_for_a_snapshot_and_not_for_one_that_was_cancelled),
        ONE(hundreds_of_puts_at_once_are_all_answered),
        ONE(cancelled_put_is_not_answered_and_leaves_nothing_behind),
        ONE(member_list_has_name_and_urls_once_published),
        ONE(status_says_what_etcd_says),
        ONE(raised_alarm_is_listed_shown_in_status_and_forbids_puts),
        ONE(a_full_quota_refuses_until_space_is_back),
        ONE(a_burst_that_overruns_the_quota_raises_the_alarm),
        ONE(calls_that_wait_for_the_alarm_can_be_cancelled),
        ONE(a_disarmed_alarm_comes_back_at_the_next_write),
        ONE(an_alarm_of_a_client_stays_though_there_is_space),
        ONE(an_alarm_survives_a_restart_unless_the_quota_has_grown),
        ONE(old_revisions_are_compacted_by_themselves),
        ONE(a_downgrade_is_validated_enabled_kept_and_cancelled),
        ONE(wrong_downgrades_get_etcds_texts),
        ONE(hash_kv_of_an_empty_store_is_etcds),
        ONE(hash_differs_when_the_state_does),
        ONE(health_is_serving_and_knows_no_other_service),
        ONE(health_watch_says_serving_and_ends_when_the_member_stops),
        THREE(without_a_leader_serializable_reads_and_status_are_served),
        THREE(without_a_leader_writes_and_reads_end_with_etcds_texts),
        THREE(put_cancelled_before_it_left_is_taken_back),
        ONE(a_member_that_closes_is_not_told_to_close_again),
        ONE(second_member_in_the_same_data_dir_is_refused),
        ONE(data_dir_of_another_name_is_refused),
        ONE(member_that_has_data_is_who_that_says),
        ONE(waiting_locks_are_bounded),
        ONE(member_works_without_fsync_too),
        ONE(member_whose_log_failed_says_so_once_and_serves_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
