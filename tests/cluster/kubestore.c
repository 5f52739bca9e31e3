/* kubestore ENDPOINT,...: kube/store under the command of a test. Reads commands, one a line, words
 * separated by blanks, "-" for an empty one, and writes a line for each thing that happens:
 *
 *   get ID RESOURCE NS NAME FRESHNESS REVISION     ID object REVISION STORE-REVISION JSON
 *   create ID RESOURCE NS NAME JSON                the same
 *   update ID RESOURCE NS NAME EXPECTED JSON       the same
 *   delete ID RESOURCE NS NAME EXPECTED            the same
 *   list ID RESOURCE NS LABELS FIELDS FRESHNESS REVISION LIMIT TOKEN
 *                                                  ID list REVISION REMAINING TOKEN COUNT, and
 * COUNT lines with the items watch ID RESOURCE NS LABELS FIELDS REVISION FLAGS   FLAGS: a(ny state)
 * i(nitial events) b(ookmarks) q(uiet: the events are only counted) ID event TYPE JSON; ID bookmark
 * REVISION END; ID ended CODE REASON MESSAGE pause ID, resume ID                            its
 * client stops and goes on to read bookmark ID                                    asks for one now
 *   stop ID                                        ends the watch
 *   crowd ID COUNT RESOURCE NS FIELDS REVISION     COUNT quiet watches; %d in FIELDS is the number
 *   counts ID                                      ID counts EVENTS BYTES RSS-KIB of all quiet ones
 *   health ID                                      ID object 0 STORE-REVISION -
 *   many ID COUNT WINDOW what get, list or create is   COUNT of them, WINDOW at a time; %d is the
 *                                                  number; ID took SECONDS FAILED
 *
 * FRESHNESS: newest, any, notolder, exact. A failure: ID failed CODE REASON CONTINUE MESSAGE. Ends
 * with its input. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kube/store/store.h"

enum { WORDS_MAX = 12, COMMAND_MAX = 4 << 20, ENDPOINTS_MAX = 9 };

struct program {
    uv_loop_t loop;
    struct kv_client *client;
    struct kube_store *store;
    uv_pipe_t input;
    struct buf line;
    struct list watches; /* struct watch.link */
    struct crowd_counts {
        uint64_t events, bytes;
    } counts;
};

static struct program program;

/* ---- words ---- */

static struct slice word_slice(const char *word)
{
    return strcmp(word, "-") == 0 ? slice_str("") : slice_str(word);
}

static const char *shown(const char *text)
{
    return text == NULL || text[0] == '\0' ? "-" : text;
}

/* "v1/pods", "apps/v1/deployments" */
static const struct kube_resource *resource_of(const char *word)
{
    const char *last = strrchr(word, '/'), *first = strchr(word, '/');
    struct slice group = slice_str("");
    const struct kube_resource *resource;

    if (first != last) {
        group = slice_of(word, (size_t)(first - word));
        word = first + 1;
    }
    resource =
        kube_resource_find(group, slice_of(word, (size_t)(last - word)), slice_str(last + 1));
    if (resource == NULL) {
        fprintf(stderr, "kubestore: no resource %s\n", word);
        exit(2);
    }
    return resource;
}

static enum kube_freshness freshness_of(const char *word)
{
    static const char *const names[] = {"newest", "any", "notolder", "exact"};

    for (int i = 0; i < 4; i++)
        if (strcmp(word, names[i]) == 0)
            return (enum kube_freshness)i;
    fprintf(stderr, "kubestore: no freshness %s\n", word);
    exit(2);
}

static void say_failed(const char *id, const struct kube_status *status)
{
    printf("%s failed %d %s %s %s\n", id, status->code, shown(status->reason),
           shown(status->continue_token), shown(status->message));
}

static void print_object(const struct kube_object *object, bool with_type)
{
    size_t size = kube_object_size(object, with_type);
    uint8_t *text = xmalloc(size);
    size_t written = kube_object_write(object, with_type, text);

    ASSERT(written == size);
    (void)fwrite(text, 1, size, stdout);
    (void)putchar('\n');
    free(text);
}

/* ---- operations on one object ---- */

/* A command, once or many times. */
struct job {
    struct kube_op op;
    struct arena arena;
    char *id;
    char *words[WORDS_MAX], *line;
    struct many *many; /* NULL: once */
};

struct many {
    char *id, *line;
    uint64_t left, running, window, number, failed, began_ns;
};

static void job_free(struct job *job)
{
    kube_object_unref(job->op.object);
    arena_release(&job->arena);
    free(job->id);
    free(job->line);
    free(job);
}

static void many_go_on(struct many *many);

static void many_done(struct many *many, bool failed)
{
    many->running--;
    many->failed += failed;
    many_go_on(many);
}

static void on_job(struct kube_op *op)
{
    struct job *job = CONTAINER_OF(op, struct job, op);
    struct many *many = job->many;
    bool failed = op->status.code != 0;

    if (many == NULL && failed) {
        say_failed(job->id, &op->status);
    } else if (many == NULL) {
        printf("%s object %" PRId64 " %" PRId64 " ", job->id,
               op->object == NULL ? 0 : kube_object_revision(op->object), op->revision);
        if (op->object != NULL)
            print_object(op->object, true);
        else
            (void)puts("-");
    }
    job_free(job);
    if (many != NULL)
        many_done(many, failed);
}

struct list_job {
    struct kube_list list;
    struct arena arena;
    char *id, *line;
    struct many *many;
};

static void on_list(struct kube_list *list)
{
    struct list_job *job = CONTAINER_OF(list, struct list_job, list);
    struct many *many = job->many;
    bool failed = list->status.code != 0;

    if (many == NULL && failed) {
        say_failed(job->id, &list->status);
    } else if (many == NULL) {
        printf("%s list %" PRId64 " %" PRId64 " %s %zu\n", job->id, list->revision, list->remaining,
               shown(list->continue_token), list->count);
        for (size_t i = 0; i < list->count; i++)
            print_object(list->objects[i], false);
    }
    kube_list_release(list);
    arena_release(&job->arena);
    free(job->id);
    free(job->line);
    free(job);
    if (many != NULL)
        many_done(many, failed);
}

static bool parse_selector(struct arena *arena, const char *id,
                           const struct kube_resource *resource, const char *labels,
                           const char *fields, struct kube_selector *out)
{
    struct kube_status status = {0};

    *out = (struct kube_selector){0};
    /* What was parsed borrows from the text. */
    if (kube_label_selector_parse(arena, arena_copy(arena, word_slice(labels)), out, &status) ==
            0 &&
        kube_field_selector_parse(arena, resource, arena_copy(arena, word_slice(fields)), out,
                                  &status) == 0)
        return true;
    say_failed(id, &status);
    return false;
}

static void start_list(char **words, char *line, struct many *many)
{
    struct list_job *job = xcalloc(1, sizeof(*job));
    const struct kube_resource *resource = resource_of(words[2]);
    struct kube_list_options options = {
        .ns = word_slice(words[3]),
        .freshness = freshness_of(words[6]),
        .revision = strtoll(words[7], NULL, 10),
        .limit = strtoull(words[8], NULL, 10),
        .continue_token = word_slice(words[9]),
    };

    job->id = xstrdup(words[1]);
    job->line = line;
    job->many = many;
    arena_init(&job->arena);
    if (parse_selector(&job->arena, job->id, resource, words[4], words[5], &options.selector))
        kube_list(program.store, &job->list, &job->arena, resource, &options, on_list);
}

static void start_job(char **words, char *line, struct many *many)
{
    struct job *job = xcalloc(1, sizeof(*job));
    const char *what = words[0];
    struct arena *arena = &job->arena;

    job->id = xstrdup(words[1]);
    job->line = line; /* the words lie in it */
    job->many = many;
    arena_init(arena);
    if (strcmp(what, "health") == 0)
        kube_store_health(program.store, &job->op, arena, on_job);
    else if (strcmp(what, "get") == 0)
        kube_get(program.store, &job->op, arena, resource_of(words[2]), word_slice(words[3]),
                 word_slice(words[4]), freshness_of(words[5]), strtoll(words[6], NULL, 10), on_job);
    else if (strcmp(what, "create") == 0)
        kube_create(program.store, &job->op, arena, resource_of(words[2]), word_slice(words[3]),
                    word_slice(words[4]), slice_str(words[5]), on_job);
    else if (strcmp(what, "update") == 0)
        kube_update(program.store, &job->op, arena, resource_of(words[2]), word_slice(words[3]),
                    word_slice(words[4]), strtoll(words[5], NULL, 10), slice_str(words[6]), on_job);
    else
        kube_delete(program.store, &job->op, arena, resource_of(words[2]), word_slice(words[3]),
                    word_slice(words[4]), strtoll(words[5], NULL, 10), on_job);
}

/* ---- watches ---- */

struct watch {
    struct kube_watch watch;
    struct list link;
    struct arena *arena; /* of the selector; NULL: the crowd's */
    char *id;            /* NULL: quiet */
    bool paused;
};

static void write_event(const struct kube_encoding *encoding, const struct kube_resource *resource,
                        enum kube_event_type type, const struct kube_object *object,
                        struct buf *out)
{
    static const char *const names[] = {"ADDED", "MODIFIED", "DELETED"};
    size_t size = kube_object_size(object, true);

    (void)encoding;
    (void)resource;
    (void)buf_printf(out, "event %s ", names[type]);
    if (buf_reserve(out, size + 1) == 0) {
        out->len += kube_object_write(object, true, out->data + out->len);
        (void)buf_append_u8(out, '\n');
    }
}

static const struct kube_encoding encoding = {.write = write_event};

static void on_bytes(struct kube_watch *of, struct slice bytes)
{
    const struct watch *watch = CONTAINER_OF(of, struct watch, watch);
    const uint8_t *at = bytes.data, *end = bytes.data + bytes.len;

    program.counts.bytes += bytes.len;
    while (at < end) {
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));

        if (watch->id != NULL)
            printf("%s %.*s\n", watch->id, (int)(newline - at), (const char *)at);
        program.counts.events++;
        at = newline + 1;
    }
}

static void on_bookmark(struct kube_watch *of, int64_t revision, bool initial_end)
{
    const struct watch *watch = CONTAINER_OF(of, struct watch, watch);

    if (watch->id != NULL)
        printf("%s bookmark %" PRId64 " %d\n", watch->id, revision, initial_end);
}

static void free_watch(struct watch *watch)
{
    list_remove(&watch->link);
    if (watch->arena != NULL) {
        arena_release(watch->arena);
        free(watch->arena);
    }
    free(watch->id);
    free(watch);
}

static void on_end(struct kube_watch *of, const struct kube_status *status)
{
    struct watch *watch = CONTAINER_OF(of, struct watch, watch);

    if (watch->id != NULL)
        printf("%s ended %d %s %s\n", watch->id, status->code, shown(status->reason),
               shown(status->message));
    free_watch(watch);
}

static size_t queued(struct kube_watch *of)
{
    return CONTAINER_OF(of, struct watch, watch)->paused ? SIZE_MAX : 0;
}

static const struct kube_watch_callbacks callbacks = {
    .on_bytes = on_bytes,
    .on_bookmark = on_bookmark,
    .on_end = on_end,
    .queued = queued,
};

static void start_watch(char **words)
{
    struct watch *watch = xcalloc(1, sizeof(*watch));
    const struct kube_resource *resource = resource_of(words[2]);
    struct kube_watch_options options = {
        .ns = word_slice(words[3]),
        .revision = strtoll(words[6], NULL, 10),
        .any_state = strchr(words[7], 'a') != NULL,
        .initial_events = strchr(words[7], 'i') != NULL,
        .bookmarks = strchr(words[7], 'b') != NULL,
    };

    watch->arena = xcalloc(1, sizeof(*watch->arena));
    watch->id = strchr(words[7], 'q') != NULL ? NULL : xstrdup(words[1]);
    list_push_back(&program.watches, &watch->link);
    if (!parse_selector(watch->arena, words[1], resource, words[4], words[5], &options.selector)) {
        free_watch(watch);
        return;
    }
    kube_watch_start(program.store, &watch->watch, resource, &options, &encoding, &callbacks);
}

static void start_crowd(char **words)
{
    static struct arena arena = ARENA_INIT; /* until the end */
    const struct kube_resource *resource = resource_of(words[3]);
    int count = atoi(words[2]);

    for (int i = 0; i < count; i++) {
        struct watch *watch = xcalloc(1, sizeof(*watch));
        const char *number = strstr(words[5], "%d");
        char *fields = number == NULL ? xstrdup(words[5])
                                      : xasprintf("%.*s%d%s", (int)(number - words[5]), words[5], i,
                                                  number + 2);
        struct kube_watch_options options = {
            .ns = word_slice(words[4]),
            .revision = strtoll(words[6], NULL, 10),
        };
        struct slice text = arena_copy(&arena, slice_of(fields, strlen(fields) + 1));

        list_push_back(&program.watches, &watch->link);
        if (parse_selector(&arena, words[1], resource, "-", (const char *)text.data,
                           &options.selector))
            kube_watch_start(program.store, &watch->watch, resource, &options, &encoding,
                             &callbacks);
        free(fields);
    }
    printf("%s started %d\n", words[1], count);
}

static struct watch *find_watch(const char *id)
{
    LIST_EACH (node, &program.watches) {
        struct watch *watch = LIST_ENTRY(node, struct watch, link);

        if (watch->id != NULL && strcmp(watch->id, id) == 0)
            return watch;
    }
    return NULL;
}

static long rss_kib(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = 0;

    if (file == NULL || fscanf(file, "%*s %ld", &pages) != 1)
        pages = 0;
    if (file != NULL)
        (void)fclose(file);
    return pages * 4;
}

static void on_watch_command(const char *what, const char *id)
{
    struct watch *watch = find_watch(id);

    if (strcmp(what, "counts") == 0)
        printf("%s counts %" PRIu64 " %" PRIu64 " %ld\n", id, program.counts.events,
               program.counts.bytes, rss_kib());
    if (watch == NULL)
        return; /* it has ended */
    if (strcmp(what, "bookmark") == 0)
        kube_watch_bookmark(&watch->watch);
    if (strcmp(what, "pause") == 0)
        watch->paused = true;
    if (strcmp(what, "resume") == 0) {
        watch->paused = false;
        kube_watch_resume(&watch->watch);
    }
    if (strcmp(what, "stop") == 0) {
        kube_watch_stop(&watch->watch);
        free_watch(watch);
    }
}

/* ---- commands ---- */

static size_t split(char *line, char **words, size_t max)
{
    size_t count = 0;

    for (char *at = line; at != NULL && count < max; count++) {
        words[count] = at;
        at = strchr(at, ' ');
        if (at != NULL)
            *at++ = '\0';
    }
    return count;
}

static bool is_watch_command(const char *what)
{
    static const char *const names[] = {"bookmark", "pause", "resume", "stop", "counts"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(what, names[i]) == 0)
            return true;
    return false;
}

static void start(char *line, struct many *many)
{
    char *words[WORDS_MAX];
    size_t count = split(line, words, WORDS_MAX);

    while (count < WORDS_MAX)
        words[count++] = line + strlen(line); /* "" */
    if (strcmp(words[0], "list") == 0)
        start_list(words, line, many);
    else
        start_job(words, line, many);
}

/* Every "%d" in the command is the number. */
static char *numbered(const char *line, uint64_t number)
{
    struct buf out;
    char *text;

    buf_init(&out, COMMAND_MAX);
    for (const char *at; (at = strstr(line, "%d")) != NULL; line = at + 2) {
        (void)buf_append(&out, line, (size_t)(at - line));
        (void)buf_printf(&out, "%" PRIu64, number);
    }
    (void)buf_append(&out, line, strlen(line) + 1);
    text = xstrdup((const char *)out.data);
    buf_release(&out);
    return text;
}

static void many_go_on(struct many *many)
{
    while (many->left > 0 && many->running < many->window) {
        many->left--;
        many->running++;
        start(numbered(many->line, many->number++), many);
    }
    if (many->left == 0 && many->running == 0) {
        printf("%s took %.6f %" PRIu64 "\n", many->id, (double)(uv_hrtime() - many->began_ns) / 1e9,
               many->failed);
        free(many->id);
        free(many->line);
        free(many);
    }
}

static void start_many(const char *line)
{
    struct many *many = xcalloc(1, sizeof(*many));
    int at = 0;
    char id[64];

    if (sscanf(line, "many %63s %" SCNu64 " %" SCNu64 " %n", id, &many->left, &many->window, &at) !=
        3)
        exit(2);
    many->id = xstrdup(id);
    many->line = xstrdup(line + at);
    many->began_ns = uv_hrtime();
    many_go_on(many);
}

static void on_line(const char *text)
{
    char *line, *words[WORDS_MAX];

    if (strncmp(text, "many ", 5) == 0) {
        start_many(text);
        return;
    }
    line = xstrdup(text);
    if (strncmp(text, "watch ", 6) == 0 || strncmp(text, "crowd ", 6) == 0) {
        if (split(line, words, WORDS_MAX) >= 7 && text[0] == 'w')
            start_watch(words);
        else
            start_crowd(words);
        free(line);
        return;
    }
    if (strchr(text, ' ') != NULL && split(line, words, 2) == 2 && is_watch_command(words[0])) {
        on_watch_command(words[0], words[1]);
        free(line);
        return;
    }
    free(line);
    start(xstrdup(text), NULL);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *out)
{
    static char room[65536];

    (void)handle;
    (void)size;
    *out = uv_buf_init(room, sizeof(room));
}

static void on_client_closed(void *ctx)
{
    (void)ctx;
}

static void finish(void)
{
    kube_store_free(program.store);
    while (!list_empty(&program.watches))
        free_watch(LIST_FIRST(&program.watches, struct watch, link));
    kv_client_close(program.client, on_client_closed, NULL);
    uv_close((uv_handle_t *)&program.input, NULL);
}

static void on_input(uv_stream_t *stream, ssize_t got, const uv_buf_t *in)
{
    uint8_t *newline;

    (void)stream;
    if (got < 0) {
        finish();
        return;
    }
    if (buf_append(&program.line, in->base, (size_t)got) != 0)
        exit(2);
    while ((newline = memchr(program.line.data, '\n', program.line.len)) != NULL) {
        *newline = '\0';
        on_line((const char *)program.line.data);
        buf_consume(&program.line, (size_t)(newline + 1 - program.line.data));
    }
    (void)fflush(stdout);
}

static void on_prepare(uv_prepare_t *prepare)
{
    (void)prepare;
    (void)fflush(stdout); /* before the loop waits */
}

static int open_store(char *endpoints)
{
    const char *list[ENDPOINTS_MAX];
    struct kv_options options = {.endpoints = list};
    struct kube_store_options store = {.loop = &program.loop, .prefix = "/registry"};
    const char *timeout = getenv("KUBESTORE_TIMEOUT_MS"), *compact = getenv("KUBESTORE_COMPACT_MS");
    const char *history = getenv("KUBESTORE_HISTORY");
    struct err err = ERR_INIT;

    for (char *at = strtok(endpoints, ","); at != NULL && options.endpoints_len < ENDPOINTS_MAX;
         at = strtok(NULL, ","))
        list[options.endpoints_len++] = at;
    store.compact_every_ms = compact != NULL ? strtoull(compact, NULL, 10) : 0;
    store.history_max = history != NULL ? strtoull(history, NULL, 10) : 0;
    store.timeout_ms = timeout != NULL ? strtoull(timeout, NULL, 10) : 0;
    if (kv_client_open(&program.loop, &options, &program.client, &err) == 0) {
        store.client = program.client;
        if (kube_store_new(&store, &program.store, &err) == 0)
            return 0;
    }
    fprintf(stderr, "kubestore: %s\n", err.text);
    return 1;
}

int main(int argc, char **argv)
{
    uv_prepare_t prepare;

    if (argc != 2) {
        fprintf(stderr, "usage: kubestore ENDPOINT,...\n");
        return 2;
    }
    (void)uv_loop_init(&program.loop);
    list_init(&program.watches);
    buf_init(&program.line, COMMAND_MAX);
    if (open_store(argv[1]) != 0)
        return 1;
    (void)uv_prepare_init(&program.loop, &prepare);
    (void)uv_prepare_start(&prepare, on_prepare);
    uv_unref((uv_handle_t *)&prepare);
    (void)uv_pipe_init(&program.loop, &program.input, 0);
    (void)uv_pipe_open(&program.input, 0);
    (void)uv_read_start((uv_stream_t *)&program.input, on_alloc, on_input);
    (void)uv_run(&program.loop, UV_RUN_DEFAULT);
    buf_release(&program.line);
    uv_close((uv_handle_t *)&prepare, NULL);
    (void)uv_run(&program.loop, UV_RUN_DEFAULT);
    return uv_loop_close(&program.loop) == 0 ? 0 : 3;
}
