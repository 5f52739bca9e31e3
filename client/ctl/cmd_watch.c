/* watch: prints what comes, runs a command for it, and takes more watches from a terminal. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/ctl/child.h"
#include "client/ctl/gotext.h"
#include "client/ctl/watch_args.h"

/* One command of the user's and all its watches. */
struct session {
    struct ctl *ctl;
    struct kv_client *client;
    struct kv_watcher *watcher;
    struct watch_env env;
    struct list watches; /* shown.link */
    bool done;
    int code;

    /* Interactive mode: a line at a time, each once the one before it is in effect. */
    bool interactive;
    const struct shown *starting; /* the watch of the last line, until a server has taken it */
    uv_work_t reader;
    bool reading; /* the reader's thread has line */
    char *line;
    size_t line_size;
    ssize_t line_len;
};

/* A watch. With a command, answers wait in a queue while it runs. */
struct shown {
    struct session *session;
    struct list link;
    struct watch_spec spec;
    struct kv_watch watch;
    struct child child;
    struct list queue; /* answer.link */
    size_t queue_len;
    bool running; /* child is there, for the first of the queue */
    bool paused;  /* the queue was full: the watch is cancelled and begins again behind it */
};

/* What is over QUEUE_MAX stays with the server. */
enum { QUEUE_MAX = 128 };

struct answer {
    struct list link;
    Etcdserverpb__WatchResponse *response;
    struct err err;
    size_t event; /* the next one to run the command for */
};

static void end_session(struct session *session, int code)
{
    if (!session->done)
        session->code = code;
    session->done = true;
}

/* ---- printing ---- */

static bool is_progress(const Etcdserverpb__WatchResponse *response)
{
    return response->n_events == 0 && !response->canceled && !response->created &&
           response->compact_revision == 0 && response->header != NULL &&
           response->header->revision != 0;
}

static void print(struct session *session, const Etcdserverpb__WatchResponse *response,
                  const struct err *err)
{
    struct ctl *ctl = session->ctl;
    Etcdserverpb__WatchResponse shown = *response;

    /* etcd's client does not tell these, and so they are not in etcdctl's protobuf output. */
    shown.watch_id = 0;
    shown.cancel_reason = (char *)protobuf_c_empty_string;
    if (err->code != 0)
        fprintf(ctl->err, "watch was canceled (%s)\n", err->text);
    else if (is_progress(response))
        fprintf(ctl->out, "progress notify: %" PRId64 "\n", response->header->revision);
    output_message(&ctl->output, &shown.base);
    if (fflush(ctl->out) != 0) /* whoever reads a pipe waits for it, or has had enough */
        end_session(session, CTL_IO);
}

/* A watch that is over ends the program, unless more can be typed. */
static void after_end(struct session *session, const struct err *err)
{
    if (session->interactive && err->code != KV_ECONN)
        return;
    if (err->code == KV_ECONN)
        end_session(session, ctl_fail(session->ctl, CTL_ERROR, "%s", err->text));
    else
        end_session(session,
                    ctl_fail(session->ctl, CTL_INTERRUPTED, "watch is canceled by the server"));
}

static void print_all(struct shown *shown, const Etcdserverpb__WatchResponse *response,
                      const struct err *err)
{
    Etcdserverpb__WatchResponse canceled = ETCDSERVERPB__WATCH_RESPONSE__INIT;

    canceled.canceled = true;
    print(shown->session, response != NULL ? response : &canceled, err);
    if (err->code != 0)
        after_end(shown->session, err);
}

/* ---- commands ---- */

static char *quoted(const char *name, struct slice value)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return xstrdup(name);
    fprintf(out, "%s=", name);
    go_quote(out, value);
    (void)fclose(out); /* in memory */
    return text;
}

static void on_command_end(struct child *child);

static void run_command(struct shown *shown, const Etcdserverpb__WatchResponse *response,
                        const Mvccpb__Event *event)
{
    bool deleted = event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE;
    const Mvccpb__KeyValue *kv = event->kv;
    char *env[5] = {NULL};
    size_t i;

    env[0] = xasprintf("ETCD_WATCH_REVISION=%" PRId64,
                       response->header != NULL ? response->header->revision : 0);
    env[1] = quoted("ETCD_WATCH_EVENT_TYPE", slice_str(deleted ? "DELETE" : "PUT"));
    env[2] = quoted("ETCD_WATCH_KEY", slice_of(kv->key.data, kv->key.len));
    env[3] = quoted("ETCD_WATCH_VALUE", slice_of(kv->value.data, kv->value.len));
    shown->running = true;
    child_start(shown->session->ctl, kv_client_loop(shown->session->client), &shown->child,
                shown->spec.command, (const char *const *)env, on_command_end);
    for (i = 0; env[i] != NULL; i++)
        free(env[i]);
}

static void start_watch(struct shown *shown, int more_flags);

static void drop_answer(struct shown *shown, struct answer *answer)
{
    list_remove(&answer->link);
    shown->queue_len--;
    if (answer->response != NULL)
        etcdserverpb__watch_response__free_unpacked(answer->response, NULL);
    free(answer);
}

/* Prints and runs what waits, until a command is under way. */
static void work_off(struct shown *shown)
{
    while (!shown->running && !shown->session->done && !list_empty(&shown->queue)) {
        struct answer *answer = LIST_FIRST(&shown->queue, struct answer, link);
        const Etcdserverpb__WatchResponse *response = answer->response;

        if (answer->event == 0)
            print_all(shown, response, &answer->err);
        if (response == NULL || answer->event == response->n_events)
            drop_answer(shown, answer);
        else
            run_command(shown, response, response->events[answer->event++]);
    }
    if (shown->paused && !shown->running && !shown->session->done) {
        shown->paused = false;
        shown->spec.watch.start_revision = kv_watch_next_revision(&shown->watch);
        start_watch(shown, 0);
    }
}

static void on_command_end(struct child *child)
{
    struct shown *shown = CONTAINER_OF(child, struct shown, child);
    struct ctl *ctl = shown->session->ctl;
    const char *outcome = child_outcome(ctl, child);

    shown->running = false;
    if (outcome[0] != '\0' && !shown->session->done) {
        fputs("command ", ctl->err);
        child_print_argv(ctl->err, shown->spec.command);
        fprintf(ctl->err, " error (%s)\n", outcome);
        end_session(shown->session, CTL_ERROR);
    }
    work_off(shown);
}

static void queue_answer(struct shown *shown, const Etcdserverpb__WatchResponse *response,
                         const struct err *err)
{
    struct answer *answer = xcalloc(1, sizeof *answer);

    answer->err = *err;
    if (response != NULL)
        answer->response = (Etcdserverpb__WatchResponse *)(void *)kv_message_copy(&response->base);
    list_push_back(&shown->queue, &answer->link);
    shown->queue_len++;
    if (shown->queue_len >= QUEUE_MAX && err->code == 0 && shown->running) {
        kv_watch_cancel(&shown->watch);
        shown->paused = true;
    }
    work_off(shown);
}

/* ---- watches ---- */

static void read_line(struct session *session);

static void on_response(struct kv_watch *watch, const Etcdserverpb__WatchResponse *response,
                        const struct err *err)
{
    struct shown *shown = CONTAINER_OF(watch, struct shown, watch);
    struct session *session = shown->session;

    if (session->starting == shown) { /* in effect, or refused */
        session->starting = NULL;
        read_line(session);
    }
    if (err->code == 0 && response->created)
        return;
    if (shown->spec.command != NULL)
        queue_answer(shown, response, err);
    else
        print_all(shown, response, err);
}

static void start_watch(struct shown *shown, int more_flags)
{
    struct kv_watch_options options = shown->spec.watch;

    options.flags |= more_flags;
    kv_watch_start(shown->session->watcher, &shown->watch, &options, on_response);
}

static const struct shown *add_watch(struct session *session, const struct watch_spec *spec,
                                     int more_flags)
{
    struct shown *shown = xcalloc(1, sizeof *shown);

    shown->session = session;
    shown->spec = *spec;
    list_init(&shown->queue);
    list_push_back(&session->watches, &shown->link);
    start_watch(shown, more_flags);
    return shown;
}

/* ---- interactive mode ---- */

/* On a thread of its own: standard input may be a terminal, a pipe or a file, and only a blocking
 * read is good for all of them. */
static void on_read(uv_work_t *work)
{
    struct session *session = CONTAINER_OF(work, struct session, reader);

    session->line_len = getline(&session->line, &session->line_size, session->ctl->in);
}

static void obey(struct session *session)
{
    struct slice line = slice_of(session->line, (size_t)session->line_len);
    enum watch_verb verb = WATCH_VERB_WATCH;
    struct watch_spec spec;
    struct err err = ERR_INIT;

    if (line.len != 0 && line.data[line.len - 1] == '\n')
        line.len--;
    if (watch_parse_line(line, &session->env, &session->ctl->arena, &verb, &spec, &err) != 0) {
        fprintf(session->ctl->err, "Invalid command: %.*s %s\n", (int)MIN(line.len, (size_t)4096),
                (const char *)line.data, err.text);
        read_line(session);
    } else if (verb == WATCH_VERB_PROGRESS) {
        kv_watcher_progress(session->watcher);
        read_line(session);
    } else {
        session->starting = add_watch(session, &spec, KV_WATCH_CREATED);
    }
}

static void on_read_done(uv_work_t *work, int status)
{
    struct session *session = CONTAINER_OF(work, struct session, reader);

    (void)status; /* never cancelled */
    session->reading = false;
    if (session->done)
        return;
    if (session->line_len < 0)
        end_session(session,
                    ctl_fail(session->ctl, CTL_BAD_INPUT, "error reading watch request line: EOF"));
    else
        obey(session);
}

static void read_line(struct session *session)
{
    if (session->reading || session->done)
        return;
    session->reading = true;
    (void)uv_queue_work(kv_client_loop(session->client), &session->reader, on_read, on_read_done);
}

/* ---- the command ---- */

static void free_watches(struct session *session)
{
    while (!list_empty(&session->watches)) {
        struct shown *shown = LIST_FIRST(&session->watches, struct shown, link);

        while (shown->running) /* its handle is on the loop */
            (void)uv_run(kv_client_loop(session->client), UV_RUN_ONCE);
        while (!list_empty(&shown->queue))
            drop_answer(shown, LIST_FIRST(&shown->queue, struct answer, link));
        list_remove(&shown->link);
        free(shown);
    }
}

static int watch_until_done(struct session *session)
{
    struct ctl *ctl = session->ctl;

    while (!session->done)
        (void)uv_run(kv_client_loop(session->client), UV_RUN_ONCE);
    kv_watcher_free(session->watcher);
    if (session->reading) {
        /* Nobody can wake the thread that waits for a line. */
        (void)fflush(ctl->out);
        (void)fflush(ctl->err);
        _Exit(session->code);
    }
    free_watches(session);
    free(session->line);
    kv_client_free(session->client);
    return session->code;
}

static int run_watch(struct ctl *ctl, const void *options_, int argc, char **argv)
{
    const struct watch_options *options = options_;
    struct session session = {
        .ctl = ctl,
        .env = {.key = ctl_env(ctl, "WATCH_KEY"), .range_end = ctl_env(ctl, "WATCH_RANGE_END")},
    };
    struct watch_spec spec;
    struct err err = ERR_INIT;
    int code;

    if (!options->interactive) {
        code = watch_parse_args(options, argv, argc, ctl->args_at_dash, &session.env, &ctl->arena,
                                &spec, &err);
        if (code != 0)
            return ctl_fail(ctl, code, "%s", err.text);
    }
    code = ctl_connect(ctl, &etcdserverpb__watch_response__descriptor, &session.client);
    if (code != 0)
        return code;
    list_init(&session.watches);
    session.watcher = kv_watcher_new(session.client, KV_REQUIRE_LEADER);
    if (options->interactive) {
        session.interactive = true;
        read_line(&session);
    } else {
        (void)add_watch(&session, &spec, 0);
    }
    return watch_until_done(&session);
}

const struct ctl_command ctl_cmd_watch = {
    .name = "watch",
    .usage = "watch [options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]",
    .brief = "Watches events stream on keys or prefixes",
    .help = "Prints each change as it happens, and goes on by itself when a connection breaks:\n"
            "nothing is missed, nothing comes twice. With a command after --, runs it for each\n"
            "change with ETCD_WATCH_REVISION, ETCD_WATCH_EVENT_TYPE, ETCD_WATCH_KEY and\n"
            "ETCD_WATCH_VALUE set; it must succeed. With -i, reads lines from standard input:\n"
            "'watch [options] <key> [range_end] [-- command]' and 'progress'.\n\n"
            "  kvctl watch foo\n"
            "  kvctl watch --prefix --rev 100 --prev-kv /registry/\n"
            "  kvctl watch foo -- sh -c 'echo $ETCD_WATCH_VALUE'\n\n"
            "Without a key, ETCDCTL_WATCH_KEY and ETCDCTL_WATCH_RANGE_END name it.\n",
    .flags = watch_flags,
    .options_size = sizeof(struct watch_options),
    .run = run_watch,
};
