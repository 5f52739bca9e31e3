/* watchcheck FILE: holds what clients of real processes wrote down against tests/lib/watch_check.h.
 * One line per fact, in the order of the streams; bytes in hexadecimal, "-" for none, values as any
 * number that stands for them:
 *
 *   history REVISION KEY put|delete CREATE VERSION VALUE PREV PREV_VALUE     all of these first
 *   compacted-to REVISION                     the highest compaction there was
 *   watch NAME KEY END START FLAGS            flags as in mvcc/watch.h
 *   resume NAME START                         what the client asks for on its next stream
 *   created NAME REVISION
 *   events NAME REVISION FRAGMENT COUNT       and COUNT lines "event ..." as those of the history
 *   progress NAME REVISION
 *   compacted NAME REVISION
 *   lost NAME                                 the stream broke, or the watcher was canceled
 *   end NAME [whole]                          whole: it must have been told of all of the history
 *
 * Exit code 0: every promise was kept; 1: one was broken; 2: the file is malformed. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/lib/watch_check.h"

enum { NAME_SIZE = 32, WATCHERS_MAX = 4096, WORDS_MAX = 10, FAILURES_SHOWN_MAX = 20 };

struct watcher {
    char name[NAME_SIZE];
    struct watch_check *check;
};

struct run {
    struct watch_history history;
    int64_t compacted;
    struct watcher watchers[WATCHERS_MAX];
    size_t count;
    size_t events, failed, ended;
    struct arena arena; /* of the line */
    char *words[WORDS_MAX];
    size_t word_count;
    unsigned long line;
    FILE *file;
    char *text;
    size_t text_size;
};

__attribute__((noreturn)) static void malformed(const struct run *run, const char *what)
{
    fprintf(stderr, "watchcheck: line %lu: %s\n", run->line, what);
    exit(2);
}

/* False at the end of the file. */
static bool next_line(struct run *run)
{
    char *rest;

    arena_reset(&run->arena);
    run->word_count = 0;
    run->line++;
    if (getline(&run->text, &run->text_size, run->file) < 0)
        return false;
    for (char *word = strtok_r(run->text, " \n", &rest); word != NULL;
         word = strtok_r(NULL, " \n", &rest)) {
        if (run->word_count == WORDS_MAX)
            malformed(run, "too many words");
        run->words[run->word_count++] = word;
    }
    if (run->word_count == 0)
        malformed(run, "no word");
    return true;
}

static const char *word(const struct run *run, size_t n)
{
    if (n >= run->word_count)
        malformed(run, "too few words");
    return run->words[n];
}

static int64_t number(const struct run *run, size_t n)
{
    char *end;
    int64_t value = strtoll(word(run, n), &end, 10);

    if (*end != 0)
        malformed(run, "that is no number");
    return value;
}

static struct slice bytes(struct run *run, size_t n)
{
    const char *text = word(run, n);
    size_t len = strcmp(text, "-") == 0 ? 0 : strlen(text) / 2;
    uint8_t *out = arena_alloc(&run->arena, len);

    for (size_t i = 0; i < len; i++) {
        char hex[3] = {text[2 * i], text[2 * i + 1], 0}, *end;

        out[i] = (uint8_t)strtoul(hex, &end, 16);
        if (*end != 0)
            malformed(run, "these are no bytes");
    }
    return slice_of(out, len);
}

static struct watch_change change(struct run *run)
{
    return (struct watch_change){.revision = number(run, 1),
                                 .key = bytes(run, 2),
                                 .is_delete = strcmp(word(run, 3), "delete") == 0,
                                 .create = number(run, 4),
                                 .version = number(run, 5),
                                 .value = (uint64_t)number(run, 6),
                                 .prev = number(run, 7),
                                 .prev_value = (uint64_t)number(run, 8)};
}

static void history(struct run *run)
{
    struct watch_change one = change(run);

    if (one.revision < watch_history_last(&run->history))
        malformed(run, "history does not go back");
    watch_history_add(&run->history, &one);
}

static struct watch_check *find(const struct run *run)
{
    for (size_t i = run->count; i-- > 0;)
        if (strcmp(run->watchers[i].name, word(run, 1)) == 0)
            return run->watchers[i].check;
    malformed(run, "no such watcher");
}

static void watch(struct run *run)
{
    struct watch_check_options options = {.name = word(run, 1),
                                          .span = {bytes(run, 2), bytes(run, 3)},
                                          .start = number(run, 4),
                                          .flags = (int)number(run, 5)};
    struct watcher *watcher = &run->watchers[run->count++];

    if (run->count == WATCHERS_MAX)
        malformed(run, "too many watchers");
    (void)snprintf(watcher->name, sizeof watcher->name, "%s", options.name);
    watcher->check = watch_check_new(&options);
}

static void events(struct run *run)
{
    struct watch_check *check = find(run);
    int64_t revision = number(run, 2);
    bool fragment = number(run, 3) != 0;
    size_t count = (size_t)number(run, 4);
    struct watch_change *changes = xcalloc(count + 1, sizeof *changes);
    struct arena keys;

    arena_init(&keys);
    for (size_t i = 0; i < count; i++) {
        if (!next_line(run) || strcmp(word(run, 0), "event") != 0)
            malformed(run, "an event is missing");
        changes[i] = change(run);
        changes[i].key = arena_copy(&keys, changes[i].key);
    }
    watch_check_events(check, revision, fragment, changes, count);
    run->events += count;
    arena_release(&keys);
    free(changes);
}

static void report(struct run *run, const char *name, const char *text)
{
    if (run->failed++ < FAILURES_SHOWN_MAX)
        printf("watcher %s: %s\n", name, text);
}

static void end(struct run *run)
{
    struct watch_check *check = find(run);
    int64_t last = watch_history_last(&run->history);

    watch_check_whole(check, &run->history, run->compacted);
    run->ended++;
    if (watch_check_problem(check)[0] != 0)
        report(run, word(run, 1), watch_check_problem(check));
    else if (run->word_count > 2 && watch_check_next(check) <= last)
        report(run, word(run, 1), "was never told of the end of the history");
}

static void resume(struct run *run)
{
    if (number(run, 2) != watch_check_next(find(run)))
        report(run, word(run, 1), "the client resumes where it should not");
}

static void take(struct run *run)
{
    const char *what = word(run, 0);

    if (strcmp(what, "history") == 0)
        history(run);
    else if (strcmp(what, "compacted-to") == 0)
        run->compacted = number(run, 1);
    else if (strcmp(what, "watch") == 0)
        watch(run);
    else if (strcmp(what, "resume") == 0)
        resume(run);
    else if (strcmp(what, "created") == 0)
        watch_check_created(find(run), number(run, 2));
    else if (strcmp(what, "events") == 0)
        events(run);
    else if (strcmp(what, "progress") == 0)
        watch_check_progress(find(run), number(run, 2));
    else if (strcmp(what, "compacted") == 0)
        watch_check_compacted(find(run), number(run, 2));
    else if (strcmp(what, "lost") == 0)
        watch_check_lost(find(run));
    else if (strcmp(what, "end") == 0)
        end(run);
    else
        malformed(run, "no such fact");
}

int main(int argc, char **argv)
{
    static struct run run = {.compacted = -1};
    int code;

    if (argc != 2 || (run.file = fopen(argv[1], "r")) == NULL) {
        fprintf(stderr, "watchcheck FILE: can not read it\n");
        return 2;
    }
    watch_history_init(&run.history);
    arena_init(&run.arena);
    while (next_line(&run))
        take(&run);
    printf("%zu watchers, %zu events, history of %zu changes up to revision %" PRId64
           ", %zu watchers were cheated\n",
           run.ended, run.events, run.history.len, watch_history_last(&run.history), run.failed);
    code = run.failed != 0 || run.ended == 0 || run.ended != run.count;
    for (size_t i = 0; i < run.count; i++)
        watch_check_free(run.watchers[i].check);
    watch_history_release(&run.history);
    arena_release(&run.arena);
    free(run.text);
    (void)fclose(run.file); /* read only */
    return code;
}
