/* lock and elect: a place in the queue under a name, held while a command runs or until a signal.
 *
 * The create revision of the place is the fencing token: it grows from holder to holder, and a
 * resource that remembers the highest one it has seen can refuse a holder who has lost the lock
 * without knowing. */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/ctl/child.h"
#include "client/ctl/gotext.h"

enum { ELECT_TTL_S = 60 };

/* What the flags of both say. */
struct place_options {
    bool print_token;
};

static const char print_token_help[] =
    "after key and value print the fencing token (the key's create revision) on a line of its own; "
    "the other output formats have it as create_revision";

/* A client with a lease that is kept alive, and with its ears open for signals. */
struct session {
    struct ctl *ctl;
    struct kv_client *client;
    int64_t lease; /* 0: none */
    struct kv_keepalive keepalive;
    uv_signal_t signals[2];
    bool stop;     /* one of the next two happened */
    bool signaled; /* the user wants an end */
    bool expired;  /* the lease is gone */
};

static void on_signal(uv_signal_t *handle, int number)
{
    struct session *session = handle->data;

    (void)number;
    session->signaled = session->stop = true;
}

static void on_kept(struct kv_keepalive *keepalive,
                    const Etcdserverpb__LeaseKeepAliveResponse *response, const struct err *err)
{
    struct session *session = CONTAINER_OF(keepalive, struct session, keepalive);

    (void)response;
    if (err->code != 0)
        session->expired = session->stop = true;
}

static int take_lease(struct session *session, int64_t ttl_s)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    Etcdserverpb__LeaseGrantResponse *response = NULL;
    struct err err = ERR_INIT;

    request.ttl = ttl_s;
    if (kv_lease_grant(session->client, &request, &response, &err) != 0)
        return ctl_fail(session->ctl, CTL_ERROR, "%s", err.text);
    session->lease = response->id;
    kv_free(response);
    kv_keepalive_start(session->client, &session->keepalive, session->lease, on_kept);
    return 0;
}

/* ttl_s 0: no lease. On failure there is nothing to close. */
static int open_session(struct ctl *ctl, int64_t ttl_s, struct session *session)
{
    static const int numbers[ARRAY_LEN(session->signals)] = {SIGINT, SIGTERM};
    size_t i;
    int code;

    *session = (struct session){.ctl = ctl};
    code = ctl_connect(ctl, &etcdserverpb__range_response__descriptor, &session->client);
    if (code == 0 && ttl_s != 0)
        code = take_lease(session, ttl_s);
    if (code != 0) {
        kv_client_free(session->client);
        return code;
    }
    for (i = 0; i < ARRAY_LEN(session->signals); i++) {
        (void)uv_signal_init(kv_client_loop(session->client), &session->signals[i]);
        session->signals[i].data = session;
        (void)uv_signal_start(&session->signals[i], on_signal, numbers[i]);
    }
    return 0;
}

static void close_session(struct session *session)
{
    Etcdserverpb__LeaseRevokeRequest request = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    Etcdserverpb__LeaseRevokeResponse *response = NULL;
    size_t i;

    kv_keepalive_stop(&session->keepalive);
    request.id = session->lease;
    if (session->lease != 0 && !session->expired)
        (void)kv_lease_revoke(session->client, &request, &response, NULL); /* or it runs out */
    kv_free(response);
    for (i = 0; i < ARRAY_LEN(session->signals); i++)
        uv_close((uv_handle_t *)&session->signals[i], NULL);
    kv_client_free(session->client);
}

static void wait_for_stop(struct session *session)
{
    while (!session->stop)
        (void)uv_run(kv_client_loop(session->client), UV_RUN_ONCE);
}

/* Prints the key by which the place is held, as get would. */
static int show_place(struct session *session, const struct kv_lock *lock,
                      const struct place_options *options, const char *lost)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RangeResponse *response = NULL;
    struct err err = ERR_INIT;
    int code = CTL_OK;

    request.key = (ProtobufCBinaryData){.data = lock->key, .len = lock->key_len};
    if (kv_range(session->client, &request, &response, &err) != 0)
        return ctl_fail(session->ctl, CTL_ERROR, "%s", err.text);
    if (response->n_kvs == 0)
        code = ctl_fail(session->ctl, CTL_ERROR, "%s", lost);
    else
        output_message(&session->ctl->output, &response->base);
    if (code == CTL_OK && options->print_token && session->ctl->output.format == &output_simple)
        fprintf(session->ctl->out, "%" PRId64 "\n", lock->create_revision);
    (void)fflush(session->ctl->out); /* whoever reads a pipe waits for it */
    kv_free(response);
    return code;
}

/* Prints the key and holds the place until a signal. */
static int hold_place(struct session *session, const struct kv_lock *lock,
                      const struct place_options *options, const char *lost, const char *expired)
{
    int code = show_place(session, lock, options, lost);

    if (code != 0)
        return code;
    wait_for_stop(session);
    return session->signaled ? CTL_OK : ctl_fail(session->ctl, CTL_ERROR, "%s", expired);
}

static int get_place(struct session *session, const char *name, const char *value,
                     struct kv_lock *lock)
{
    struct err err = ERR_INIT;

    if (kv_lock(session->client, slice_str(name), session->lease, slice_str(value), &session->stop,
                lock, &err) == 0)
        return 0;
    if (err.code == KV_ECANCELED && session->expired)
        return ctl_fail(session->ctl, CTL_ERROR, "session expired");
    return ctl_fail(session->ctl, CTL_ERROR, "%s", err.text);
}

static int leave_place(struct session *session, struct kv_lock *lock, int code)
{
    struct err err = ERR_INIT;

    if (!session->expired && kv_unlock(session->client, lock, &err) != 0 && code == CTL_OK)
        code = ctl_fail(session->ctl, CTL_ERROR, "%s", err.text);
    kv_lock_release(lock);
    return code;
}

/* ---- a command that runs meanwhile ---- */

struct command {
    struct child child;
    bool done;
};

static void on_command_end(struct child *child)
{
    CONTAINER_OF(child, struct command, child)->done = true;
}

/* NULL-terminated, in the arena. */
static char **command_of(struct ctl *ctl, int argc, char **argv)
{
    char **command = arena_calloc(&ctl->arena, ((size_t)argc + 1) * sizeof *command);

    memcpy(command, argv, (size_t)argc * sizeof *command);
    return command;
}

/* Signals reach the command by themselves; the place is given up once it has ended. what is LOCK or
 * ELECT: etcdctl has ETCD_LOCK_KEY and ETCD_LOCK_REV (of the answer that gave the lock), the rest
 * is ours. */
static int run_command(struct session *session, const struct kv_lock *lock, const char *what,
                       char **argv)
{
    struct ctl *ctl = session->ctl;
    struct command command = {.done = false};
    char *env[4] = {NULL};
    const char *outcome;
    bool told = false;

    env[0] = xasprintf("ETCD_%s_KEY=%.*s", what, (int)lock->key_len, (const char *)lock->key);
    env[1] = xasprintf("ETCD_%s_REV=%" PRId64, what, lock->revision);
    env[2] = xasprintf("ETCD_%s_TOKEN=%" PRId64, what, lock->create_revision);
    child_start(ctl, kv_client_loop(session->client), &command.child, argv,
                (const char *const *)env, on_command_end);
    while (!command.done) {
        (void)uv_run(kv_client_loop(session->client), UV_RUN_ONCE);
        if (session->expired && !told)
            fprintf(ctl->err,
                    "Warning: the %s is lost, its lease has expired; the command still runs\n",
                    strcmp(what, "LOCK") == 0 ? "lock" : "lead");
        told = session->expired;
    }
    free(env[0]);
    free(env[1]);
    free(env[2]);
    outcome = child_outcome(ctl, &command.child);
    if (outcome[0] == '\0')
        return CTL_OK;
    return ctl_fail(ctl, child_exit_code(&command.child), "%s", outcome);
}

/* ---- lock ---- */

struct lock_options {
    struct place_options place;
    int64_t ttl;
};

static const struct flag lock_flags[] = {
    {"ttl", 0, FLAG_INT, offsetof(struct lock_options, ttl), "10", "timeout for session"},
    {"print-token", 0, FLAG_BOOL, offsetof(struct lock_options, place.print_token), "false",
     print_token_help},
    {.name = NULL},
};

static int run_lock(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    const struct lock_options *options = options_;
    struct session session;
    struct kv_lock lock;
    int code;

    if (argc == 0)
        return ctl_fail(ctl, CTL_BAD_ARGS,
                        "lock takes a lock name argument and an optional command to execute");
    if (options->ttl <= 0)
        return ctl_fail(ctl, CTL_BAD_ARGS, "--ttl must be above zero");
    code = open_session(ctl, options->ttl, &session);
    if (code != 0)
        return code;
    code = get_place(&session, argv[0], "", &lock);
    if (code == 0) {
        code = argc > 1 ? run_command(&session, &lock, "LOCK", command_of(ctl, argc - 1, argv + 1))
                        : hold_place(&session, &lock, &options->place, "lock lost on init",
                                     "session expired");
        code = leave_place(&session, &lock, code);
    }
    close_session(&session);
    return code;
}

const struct ctl_command ctl_cmd_lock = {
    .name = "lock",
    .usage = "lock [options] <lockname> [-- exec-command arg1 arg2 ...]",
    .brief = "Acquires a named lock",
    .help = "Waits for the lock. With a command, runs it with ETCD_LOCK_KEY, ETCD_LOCK_REV and\n"
            "ETCD_LOCK_TOKEN set and exits with its code; without one, prints the key and holds\n"
            "the lock until SIGINT or SIGTERM. If this program dies, the lock is free again --ttl\n"
            "seconds later. The token grows from holder to holder: let what the lock protects\n"
            "refuse a token below the highest it has seen.\n\n"
            "  kvctl lock backup -- sh -c 'make backup'\n",
    .flags = lock_flags,
    .options_size = sizeof(struct lock_options),
    .run = run_lock,
};

/* ---- elect ---- */

struct elect_options {
    struct place_options place;
    bool listen;
};

static const struct flag elect_flags[] = {
    {"listen", 'l', FLAG_BOOL, offsetof(struct elect_options, listen), "false", "observation mode"},
    {"print-token", 0, FLAG_BOOL, offsetof(struct elect_options, place.print_token), "false",
     print_token_help},
    {.name = NULL},
};

/* command: what to do while leading; NULL: wait for a signal. */
static int campaign(struct ctl *ctl, const struct place_options *options, const char *name,
                    const char *value, char **command)
{
    struct session session;
    struct kv_lock lock;
    int code;

    code = open_session(ctl, ELECT_TTL_S, &session);
    if (code != 0)
        return code;
    code = get_place(&session, name, value, &lock);
    if (code == 0) {
        code = command != NULL ? run_command(&session, &lock, "ELECT", command)
                               : hold_place(&session, &lock, options, "elect: session expired",
                                            "elect: session expired");
        code = leave_place(&session, &lock, code);
    }
    close_session(&session);
    return code;
}

/* Listening: the oldest key under the name is followed until it is deleted, then the next. */
struct listener {
    struct session *session;
    struct slice prefix, prefix_end;
    struct kv_watch watch;
    struct kv_watcher *watcher;
    uint8_t *leader; /* its key; NULL: nobody leads */
    size_t leader_len;
    int64_t from; /* the first revision that is not known yet */
    bool gone;    /* the leader is */
    bool done;    /* watch is over */
    struct err err;
};

static void show_leader(struct listener *listener, const Etcdserverpb__ResponseHeader *header,
                        Mvccpb__KeyValue *kv, int64_t revision)
{
    Etcdserverpb__RangeResponse response = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader shown = *header;

    shown.revision = revision;
    response.header = &shown;
    response.kvs = &kv;
    response.n_kvs = 1;
    output_message(&listener->session->ctl->output, &response.base);
    if (fflush(listener->session->ctl->out) != 0) /* its reader has had enough */
        listener->session->stop = true;
    free(listener->leader);
    listener->leader = xmemdup(kv->key.data, kv->key.len);
    listener->leader_len = kv->key.len;
}

/* While there is no leader, the first put makes one; then only that key counts. */
static void on_event(struct listener *listener, const Etcdserverpb__ResponseHeader *header,
                     const Mvccpb__Event *event)
{
    bool mine = listener->leader != NULL && event->kv->key.len == listener->leader_len &&
                memcmp(event->kv->key.data, listener->leader, listener->leader_len) == 0;

    if (event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE)
        listener->gone = listener->gone || mine;
    else if (listener->leader == NULL || mine)
        show_leader(listener, header, event->kv, event->kv->mod_revision);
}

static void on_response(struct kv_watch *watch, const Etcdserverpb__WatchResponse *response,
                        const struct err *err)
{
    struct listener *listener = CONTAINER_OF(watch, struct listener, watch);
    size_t i;

    if (err->code != 0) {
        listener->err = *err;
        listener->done = true;
        return;
    }
    for (i = 0; i < response->n_events && !listener->gone && response->header != NULL; i++)
        on_event(listener, response->header, response->events[i]);
}

static int find_leader(struct listener *listener)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RangeResponse *response = NULL;
    int rc;

    request.key = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)listener->prefix.data,
                                        .len = listener->prefix.len};
    request.range_end = (ProtobufCBinaryData){
        .data = (uint8_t *)(uintptr_t)listener->prefix_end.data, .len = listener->prefix_end.len};
    request.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE;
    request.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    request.limit = 1;
    rc = kv_range(listener->session->client, &request, &response, &listener->err);
    if (rc != 0)
        return rc;
    free(listener->leader);
    listener->leader = NULL;
    listener->gone = listener->done = false;
    if (response->header != NULL) {
        listener->from = response->header->revision + 1;
        if (response->n_kvs != 0)
            show_leader(listener, response->header, response->kvs[0], response->header->revision);
    }
    kv_free(response);
    return 0;
}

/* One leader, from its first to its last word. */
static int follow_leader(struct listener *listener)
{
    struct kv_watch_options options = {.key = listener->prefix, .range_end = listener->prefix_end};
    int rc = find_leader(listener);

    if (rc != 0)
        return rc;
    options.start_revision = listener->from;
    kv_watch_start(listener->watcher, &listener->watch, &options, on_response);
    while (!listener->gone && !listener->done && !listener->session->stop)
        (void)uv_run(kv_client_loop(listener->session->client), UV_RUN_ONCE);
    kv_watch_cancel(&listener->watch);
    /* Compacted: what was missed is no news any more. */
    return listener->done && listener->err.code != KV_ECOMPACTED ? listener->err.code : 0;
}

static int listen_to(struct ctl *ctl, const char *name)
{
    struct listener listener = {.leader = NULL};
    struct session session;
    char *prefix = arena_alloc(&ctl->arena, strlen(name) + 2);
    uint8_t *end = arena_alloc(&ctl->arena, strlen(name) + 2);
    int code, rc = 0;

    code = open_session(ctl, 0, &session);
    if (code != 0)
        return code;
    (void)snprintf(prefix, strlen(name) + 2, "%s/", name);
    listener.session = &session;
    listener.prefix = slice_str(prefix);
    listener.prefix_end = slice_of(end, kv_prefix_end(listener.prefix, end));
    listener.watcher = kv_watcher_new(session.client, KV_REQUIRE_LEADER);
    while (rc == 0 && !session.stop)
        rc = follow_leader(&listener);
    if (rc != 0)
        code = ctl_fail(ctl, CTL_ERROR, "elect: observer lost: %s", listener.err.text);
    kv_watcher_free(listener.watcher);
    free(listener.leader);
    close_session(&session);
    return code;
}

static int run_elect(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    const struct elect_options *options = options_;
    char **command = NULL;

    if (argc > 2 && ctl->args_at_dash == 2) { /* etcdctl takes no command */
        command = command_of(ctl, argc - 2, argv + 2);
        argc = 2;
    }
    if (argc != 1 && argc != 2)
        return ctl_fail(ctl, CTL_BAD_ARGS,
                        "elect takes one election name argument and an optional proposal argument");
    if (argc == 1 && !options->listen)
        return ctl_fail(ctl, CTL_BAD_ARGS, "no proposal argument but -l not set");
    if (argc == 2 && options->listen)
        return ctl_fail(ctl, CTL_BAD_ARGS, "proposal given but -l is set");
    return argc == 1 ? listen_to(ctl, argv[0])
                     : campaign(ctl, &options->place, argv[0], argv[1], command);
}

const struct ctl_command ctl_cmd_elect = {
    .name = "elect",
    .usage = "elect [options] <election-name> [proposal [-- exec-command arg1 arg2 ...]]",
    .brief = "Observes and participates in leader election",
    .help =
        "With a proposal, waits to be elected, prints the key and the proposal, and leads until\n"
        "SIGINT or SIGTERM. With a command, runs it as leader instead, with ETCD_ELECT_KEY,\n"
        "ETCD_ELECT_REV and ETCD_ELECT_TOKEN set, and exits with its code. With -l, prints the\n"
        "leader and each change of it.\n",
    .flags = elect_flags,
    .options_size = sizeof(struct elect_options),
    .run = run_elect,
};
