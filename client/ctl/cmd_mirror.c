/* make-mirror: copies what is there to another cluster, then every change as it happens. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/ctl/ctl.h"
#include "client/ctl/password.h"

struct mirror_options {
    const char *prefix, *dest_prefix;
    const char *dest_cert, *dest_key, *dest_cacert, *dest_user, *dest_password;
    int64_t rev, max_txn_ops;
    bool no_dest_prefix, dest_insecure_transport;
};

#define AT(member) offsetof(struct mirror_options, member)
static const struct flag mirror_flags[] = {
    {"dest-cacert", 0, FLAG_STRING, AT(dest_cacert), "",
     "Verify certificates of TLS enabled secure servers using this CA bundle"},
    {"dest-cert", 0, FLAG_STRING, AT(dest_cert), "",
     "Identify secure client using this TLS certificate file for the destination cluster"},
    {"dest-insecure-transport", 0, FLAG_BOOL, AT(dest_insecure_transport), "true",
     "Disable transport security for client connections"},
    {"dest-key", 0, FLAG_STRING, AT(dest_key), "",
     "Identify secure client using this TLS key file"},
    {"dest-password", 0, FLAG_STRING, AT(dest_password), "",
     "Destination password for authentication (if this option is used, --user option shouldn't "
     "include password)"},
    {"dest-prefix", 0, FLAG_STRING, AT(dest_prefix), "",
     "destination prefix to mirror a prefix to a different prefix in the destination cluster"},
    {"dest-user", 0, FLAG_STRING, AT(dest_user), "",
     "Destination username[:password] for authentication (prompt if password is not supplied)"},
    {"max-txn-ops", 0, FLAG_INT, AT(max_txn_ops), "128",
     "Maximum number of operations permitted in a transaction during syncing updates"},
    {"no-dest-prefix", 0, FLAG_BOOL, AT(no_dest_prefix), "false",
     "mirror key-values to the root of the destination cluster"},
    {"prefix", 0, FLAG_STRING, AT(prefix), "", "Key-value prefix to mirror"},
    {"rev", 0, FLAG_INT, AT(rev), "0", "Specify the kv revision to start to mirror"},
    {.name = NULL},
};
#undef AT

enum {
    PAGE = 1000,           /* keys of one read of the base, as etcdctl */
    BATCH_BYTES = 1 << 20, /* well under a server's request limit */
    REPORT_MS = 30 * 1000,
};

/* Operations for the destination that go in one transaction. */
struct batch {
    struct arena arena;
    Etcdserverpb__RequestOp **ops;
    size_t len, bytes;
};

struct mirror {
    struct ctl *ctl;
    const struct mirror_options *options;
    struct kv_client *from, *to;
    struct slice prefix, end, key; /* of the source; all keys: "\0" to "\0" */
    struct slice dest_prefix;
    struct batch batch;
    int64_t total;
    int64_t revision; /* the source's, up to which all is mirrored */
    uv_timer_t report;
    struct kv_watch watch;
    struct list arrived; /* arrival.link: what the watch brought, not yet written */
    struct err err;
    bool over; /* the watch is */
};

struct arrival {
    struct list link;
    Etcdserverpb__WatchResponse *response;
};

static ProtobufCBinaryData bytes_of(struct slice bytes)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)bytes.data, .len = bytes.len};
}

/* ---- writing ---- */

static int flush_batch(struct mirror *mirror)
{
    Etcdserverpb__TxnRequest request = ETCDSERVERPB__TXN_REQUEST__INIT;
    struct kv_call_options options = {.flags = KV_REPEATABLE}; /* the same again does no harm */
    struct kv_result result;
    int rc;

    if (mirror->batch.len == 0)
        return 0;
    request.success = mirror->batch.ops;
    request.n_success = mirror->batch.len;
    rc = kv_call(mirror->to, &kv_method_txn, &request.base, &options, &result);
    if (rc != 0)
        mirror->err = result.err;
    kv_result_release(&result);
    arena_reset(&mirror->batch.arena);
    mirror->batch.len = mirror->batch.bytes = 0;
    return rc;
}

/* The key with the source's prefix replaced by the destination's. */
static struct slice renamed(struct mirror *mirror, const ProtobufCBinaryData *key)
{
    struct slice rest = slice_of(key->data + mirror->prefix.len, key->len - mirror->prefix.len);
    size_t len = mirror->dest_prefix.len + rest.len;
    uint8_t *bytes = arena_alloc(&mirror->batch.arena, len + 1);

    if (mirror->dest_prefix.len != 0)
        memcpy(bytes, mirror->dest_prefix.data, mirror->dest_prefix.len);
    if (rest.len != 0)
        memcpy(bytes + mirror->dest_prefix.len, rest.data, rest.len);
    return slice_of(bytes, len);
}

static int add_op(struct mirror *mirror, const Mvccpb__KeyValue *kv, bool deleted)
{
    struct batch *batch = &mirror->batch;
    size_t size = kv->key.len + kv->value.len + mirror->dest_prefix.len;
    Etcdserverpb__RequestOp *op;
    int rc = 0;

    if (kv->key.len < mirror->prefix.len)
        return err_set(&mirror->err, KV_EPROTO, "the source sent a key outside of the prefix");
    if (batch->len == (size_t)mirror->options->max_txn_ops || batch->bytes + size > BATCH_BYTES)
        rc = flush_batch(mirror);
    if (rc != 0)
        return rc;
    op = arena_alloc(&batch->arena, sizeof *op);
    etcdserverpb__request_op__init(op);
    if (deleted) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        op->request_delete_range = arena_alloc(&batch->arena, sizeof *op->request_delete_range);
        etcdserverpb__delete_range_request__init(op->request_delete_range);
        op->request_delete_range->key = bytes_of(renamed(mirror, &kv->key));
    } else {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        op->request_put = arena_alloc(&batch->arena, sizeof *op->request_put);
        etcdserverpb__put_request__init(op->request_put);
        op->request_put->key = bytes_of(renamed(mirror, &kv->key));
        op->request_put->value =
            bytes_of(arena_copy(&batch->arena, slice_of(kv->value.data, kv->value.len)));
    }
    batch->ops[batch->len++] = op;
    batch->bytes += size;
    mirror->total++;
    return 0;
}

/* ---- what is there ---- */

static int copy_page(struct mirror *mirror, struct slice *from, bool *more)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RangeResponse *response = NULL;
    size_t i;
    int rc;

    request.key = bytes_of(*from);
    request.range_end = bytes_of(mirror->end);
    request.limit = PAGE;
    request.revision = mirror->revision; /* 0 for the first: then all at that one's */
    rc = kv_range(mirror->from, &request, &response, &mirror->err);
    if (rc != 0)
        return rc;
    if (mirror->revision == 0 && response->header != NULL)
        mirror->revision = response->header->revision;
    for (i = 0; i < response->n_kvs && rc == 0; i++)
        rc = add_op(mirror, response->kvs[i], false);
    *more = response->more && response->n_kvs != 0;
    if (*more) { /* right behind the last */
        const ProtobufCBinaryData *last = &response->kvs[response->n_kvs - 1]->key;
        uint8_t *bytes = xrealloc((void *)(uintptr_t)from->data, last->len + 1);

        memcpy(bytes, last->data, last->len);
        bytes[last->len] = 0;
        *from = slice_of(bytes, last->len + 1);
    }
    kv_free(response);
    return rc;
}

static int copy_base(struct mirror *mirror)
{
    struct slice from = slice_of(xmemdup(mirror->key.data, mirror->key.len), mirror->key.len);
    bool more = true;
    int rc = 0;

    while (rc == 0 && more)
        rc = copy_page(mirror, &from, &more);
    free((void *)(uintptr_t)from.data);
    return rc != 0 ? rc : flush_batch(mirror);
}

/* ---- what changes ---- */

static void on_response(struct kv_watch *watch, const Etcdserverpb__WatchResponse *response,
                        const struct err *err)
{
    struct mirror *mirror = CONTAINER_OF(watch, struct mirror, watch);
    struct arrival *arrival;

    if (err->code != 0) {
        mirror->err = *err;
        mirror->over = true;
        return;
    }
    arrival = xcalloc(1, sizeof *arrival);
    arrival->response = (Etcdserverpb__WatchResponse *)(void *)kv_message_copy(&response->base);
    list_push_back(&mirror->arrived, &arrival->link);
}

/* A revision of the source becomes a transaction of the destination, unless it is too big. */
static int write_changes(struct mirror *mirror, const Etcdserverpb__WatchResponse *response)
{
    int64_t revision = 0;
    size_t i;
    int rc = 0;

    for (i = 0; i < response->n_events && rc == 0; i++) {
        const Mvccpb__Event *event = response->events[i];

        if (event->kv->mod_revision != revision)
            rc = flush_batch(mirror);
        revision = event->kv->mod_revision;
        if (rc == 0)
            rc = add_op(mirror, event->kv, event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE);
    }
    return rc != 0 ? rc : flush_batch(mirror);
}

static int write_arrived(struct mirror *mirror, int rc)
{
    while (!list_empty(&mirror->arrived)) {
        struct arrival *arrival = LIST_FIRST(&mirror->arrived, struct arrival, link);

        if (rc == 0)
            rc = write_changes(mirror, arrival->response);
        list_remove(&arrival->link);
        kv_free(arrival->response);
        free(arrival);
    }
    return rc;
}

static int follow(struct mirror *mirror)
{
    struct kv_watcher *watcher = kv_watcher_new(mirror->from, KV_REQUIRE_LEADER);
    struct kv_watch_options options = {
        .key = mirror->key, .range_end = mirror->end, .start_revision = mirror->revision + 1};
    int rc = 0;

    kv_watch_start(watcher, &mirror->watch, &options, on_response);
    while (rc == 0 && !mirror->over) {
        (void)uv_run(kv_client_loop(mirror->from), UV_RUN_ONCE);
        rc = write_arrived(mirror, 0);
    }
    (void)write_arrived(mirror, KV_ECANCELED);
    kv_watcher_free(watcher);
    return rc != 0 ? rc : mirror->err.code;
}

/* ---- the command ---- */

static void on_report(uv_timer_t *timer)
{
    const struct mirror *mirror = timer->data;

    fprintf(mirror->ctl->out, "%" PRId64 "\n", mirror->total);
    (void)fflush(mirror->ctl->out);
}

static void choose_keys(struct mirror *mirror)
{
    static const uint8_t zero[1];
    const struct mirror_options *options = mirror->options;
    uint8_t *end = arena_alloc(&mirror->ctl->arena, strlen(options->prefix) + 1);

    mirror->prefix = slice_str(options->prefix);
    mirror->key = mirror->prefix.len != 0 ? mirror->prefix : slice_of(zero, 1);
    mirror->end = slice_of(end, kv_prefix_end(mirror->prefix, end));
    mirror->dest_prefix = slice_str(options->dest_prefix);
    if (mirror->dest_prefix.len == 0 && !options->no_dest_prefix)
        mirror->dest_prefix = mirror->prefix;
}

static int mirror_all(struct mirror *mirror)
{
    uv_loop_t *loop = kv_client_loop(mirror->from);
    int rc = 0;

    (void)uv_timer_init(loop, &mirror->report);
    mirror->report.data = mirror;
    (void)uv_timer_start(&mirror->report, on_report, REPORT_MS, REPORT_MS);
    /* --rev: only what changes from there on. */
    if (mirror->options->rev > 1)
        mirror->revision = mirror->options->rev - 1;
    else
        rc = copy_base(mirror);
    if (rc == 0)
        rc = follow(mirror);
    uv_close((uv_handle_t *)&mirror->report, NULL);
    return rc;
}

static int check_options(struct ctl *ctl, const struct mirror_options *options, int argc)
{
    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS, "make-mirror takes one destination argument");
    if (options->no_dest_prefix && options->dest_prefix[0] != '\0')
        return ctl_fail(
            ctl, CTL_BAD_ARGS,
            "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one");
    if (options->max_txn_ops <= 0)
        return ctl_fail(ctl, CTL_BAD_ARGS, "--max-txn-ops must be above zero");
    return 0;
}

static int open_destination(struct mirror *mirror, const char *endpoint)
{
    struct kv_options options = ctl_kv_options(mirror->ctl);
    const struct mirror_options *flags = mirror->options;
    struct net_tls_options tls;
    struct err err = ERR_INIT;
    int code;

    options.token = NULL; /* of the source */
    code = password_of_flags(mirror->ctl, flags->dest_user, flags->dest_password, &options.user,
                             &options.password);
    if (code != 0)
        return code;
    options.endpoints = &endpoint;
    options.endpoints_len = 1;
    options.tls = ctl_tls_options(flags->dest_cacert, flags->dest_cert, flags->dest_key,
                                  flags->dest_insecure_transport,
                                  mirror->ctl->globals.insecure_skip_tls_verify, &tls);
    if (kv_client_open(NULL, &options, &mirror->to, &err) != 0)
        return ctl_fail(mirror->ctl, CTL_BAD_ARGS, "%s", err.text);
    return 0;
}

static int run_mirror(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    const struct mirror_options *options = options_;
    struct mirror mirror = {.ctl = ctl, .options = options, .batch = {.arena = ARENA_INIT}};
    int code;

    code = check_options(ctl, options, argc);
    if (code != 0)
        return code;
    list_init(&mirror.arrived);
    choose_keys(&mirror);
    mirror.batch.ops = xcalloc((size_t)options->max_txn_ops, sizeof *mirror.batch.ops);
    code = ctl_connect(ctl, NULL, &mirror.from);
    if (code == 0)
        code = open_destination(&mirror, argv[0]);
    if (code == 0 && mirror_all(&mirror) != 0)
        code = ctl_fail(ctl, CTL_ERROR, "%s", mirror.err.text);
    kv_client_free(mirror.to);
    kv_client_free(mirror.from);
    arena_release(&mirror.batch.arena);
    free(mirror.batch.ops);
    return code;
}

const struct ctl_command ctl_cmd_make_mirror = {
    .name = "make-mirror",
    .usage = "make-mirror [options] <destination>",
    .brief = "Makes a mirror at the destination etcd cluster",
    .help = "Copies the keys to the destination and then every change, until interrupted. Prints\n"
            "how many operations it has written every 30 seconds. With --rev, copies only changes\n"
            "from that revision on: what an earlier mirror left off.\n",
    .flags = mirror_flags,
    .options_size = sizeof(struct mirror_options),
    .run = run_mirror,
};
