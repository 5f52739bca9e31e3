#include "tests/lib/watch_check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/mem.h"

enum { PROBLEM_SIZE = 384, NAME_SIZE = 64 };

/* Changes in a row, and the keys they point to. */
struct rows {
    struct watch_change *rows;
    size_t len, cap;
};

/* [from, to): revisions that compaction took. */
struct skip {
    int64_t from, to;
};

struct watch_check {
    struct watch_check_options options;
    char name[NAME_SIZE];
    char problem[PROBLEM_SIZE];
    struct arena arena;
    int64_t first;    /* revision that the whole begins with; 0: not known yet */
    int64_t next;     /* nothing below it may come any more */
    bool is_created;  /* on the present stream */
    bool is_ended;    /* by compaction, on the present stream */
    bool is_fragment; /* more of the last answer is to come */
    struct rows seen;
    struct rows pending; /* fragments of an answer that is not whole yet */
    struct skip *skips;
    size_t skip_len;
};

uint64_t watch_value(struct slice bytes)
{
    return (uint64_t)bytes.len << 32 | crc32c_extend(0, bytes.data, bytes.len);
}

/* By revision and key: how the changes of one revision are ordered reads cannot tell. */
static int order(const void *a, const void *b)
{
    const struct watch_change *left = a, *right = b;

    if (left->revision != right->revision)
        return left->revision < right->revision ? -1 : 1;
    return slice_cmp(left->key, right->key);
}

/* ---- history ---- */

static void add_row(struct watch_change **rows, size_t *len, size_t *cap, struct arena *arena,
                    const struct watch_change *change)
{
    if (*len == *cap) {
        *cap = MAX(*cap * 2, (size_t)64);
        *rows = xrealloc(*rows, *cap * sizeof **rows);
    }
    (*rows)[*len] = *change;
    (*rows)[*len].key = arena_copy(arena, change->key);
    ++*len;
}

void watch_history_init(struct watch_history *history)
{
    *history = (struct watch_history){.rows = NULL};
    arena_init(&history->keys);
}

void watch_history_release(struct watch_history *history)
{
    free(history->rows);
    arena_release(&history->keys);
}

void watch_history_add(struct watch_history *history, const struct watch_change *change)
{
    size_t at = history->len;

    ASSERT(change->revision >= watch_history_last(history));
    add_row(&history->rows, &history->len, &history->cap, &history->keys, change);
    for (; at > 0 && order(&history->rows[at - 1], &history->rows[at]) > 0; at--) {
        struct watch_change other = history->rows[at];

        history->rows[at] = history->rows[at - 1];
        history->rows[at - 1] = other;
    }
}

int64_t watch_history_last(const struct watch_history *history)
{
    return history->len == 0 ? 1 : history->rows[history->len - 1].revision;
}

const struct watch_change *watch_history_at(const struct watch_history *history, struct slice key,
                                            int64_t revision)
{
    for (size_t i = history->len; i-- > 0;) {
        const struct watch_change *change = &history->rows[i];

        if (change->revision <= revision && slice_eq(change->key, key))
            return change;
    }
    return NULL;
}

/* ---- what is sent ---- */

static void problem(struct watch_check *check, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void problem(struct watch_check *check, const char *fmt, ...)
{
    va_list args;
    int used;

    if (check->problem[0] != 0)
        return; /* the first one is the cause */
    used = snprintf(check->problem, sizeof check->problem, "%s: ", check->name);
    va_start(args, fmt);
    (void)vsnprintf(check->problem + used, sizeof check->problem - (size_t)used, fmt, args);
    va_end(args);
}

struct watch_check *watch_check_new(const struct watch_check_options *options)
{
    struct watch_check *check = xcalloc(1, sizeof *check);

    check->options = *options;
    arena_init(&check->arena);
    (void)snprintf(check->name, sizeof check->name, "%s", options->name);
    check->options.span.key = arena_copy(&check->arena, options->span.key);
    check->options.span.end = arena_copy(&check->arena, options->span.end);
    check->first = check->next = options->start;
    return check;
}

void watch_check_free(struct watch_check *check)
{
    if (check == NULL)
        return;
    arena_release(&check->arena);
    free(check->seen.rows);
    free(check->pending.rows);
    free(check->skips);
    free(check);
}

void watch_check_created(struct watch_check *check, int64_t header_revision)
{
    if (check->is_created)
        problem(check, "created twice");
    check->is_created = true;
    if (check->next == 0)
        check->first = check->next = header_revision + 1;
}

static bool in_span(struct mvcc_span span, struct slice key)
{
    if (span.end.len == 0)
        return slice_eq(span.key, key);
    if (slice_cmp(key, span.key) < 0)
        return false;
    return (span.end.len == 1 && span.end.data[0] == 0) || slice_cmp(key, span.end) < 0;
}

static bool is_wanted(const struct watch_check *check, const struct watch_change *change)
{
    return in_span(check->options.span, change->key) &&
           !(check->options.flags & (change->is_delete ? WATCH_NO_DELETE : WATCH_NO_PUT));
}

/* The change among those of the same revision that came with this answer, in several pieces. */
static bool is_repeated(const struct rows *rows, const struct watch_change *change)
{
    for (size_t i = rows->len; i-- > 0 && rows->rows[i].revision == change->revision;)
        if (slice_eq(rows->rows[i].key, change->key))
            return true;
    return false;
}

static void take(struct watch_check *check, const struct watch_change *change)
{
    struct rows *pending = &check->pending;
    int64_t last = pending->len > 0 ? pending->rows[pending->len - 1].revision : check->next;

    if (change->revision < check->next)
        problem(check,
                "event of revision %" PRId64 ", but all below %" PRId64 " had been spoken for",
                change->revision, check->next);
    else if (change->revision < last)
        problem(check, "revision %" PRId64 " comes after %" PRId64, change->revision, last);
    else if (is_repeated(pending, change))
        problem(check, "a key twice in revision %" PRId64, change->revision);
    if (!is_wanted(check, change))
        problem(check, "revision %" PRId64 " has an event that was not asked for",
                change->revision);
    if (change->prev != 0 && !(check->options.flags & WATCH_PREV_KV))
        problem(check, "prev_kv in revision %" PRId64 " was not asked for", change->revision);
    add_row(&pending->rows, &pending->len, &pending->cap, &check->arena, change);
}

/* The answer is whole: what it says counts. */
static void settle(struct watch_check *check)
{
    for (size_t i = 0; i < check->pending.len; i++) {
        add_row(&check->seen.rows, &check->seen.len, &check->seen.cap, &check->arena,
                &check->pending.rows[i]);
        check->next = MAX(check->next, check->pending.rows[i].revision + 1);
    }
    check->pending.len = 0;
}

static bool may_speak(struct watch_check *check, const char *what)
{
    if (!check->is_created)
        problem(check, "%s before created", what);
    if (check->is_ended)
        problem(check, "%s after the end by compaction", what);
    return check->is_created && !check->is_ended;
}

void watch_check_events(struct watch_check *check, int64_t header_revision, bool fragment,
                        const struct watch_change *changes, size_t count)
{
    if (!may_speak(check, "events"))
        return;
    if (count == 0)
        problem(check, "an answer without events passes for one with some");
    if (fragment && !(check->options.flags & WATCH_FRAGMENT))
        problem(check, "a fragment was not asked for");
    for (size_t i = 0; i < count; i++) {
        take(check, &changes[i]);
        if (changes[i].revision > header_revision)
            problem(check, "header says %" PRId64 " above an event of %" PRId64, header_revision,
                    changes[i].revision);
    }
    check->is_fragment = fragment;
    if (!fragment)
        settle(check);
}

void watch_check_progress(struct watch_check *check, int64_t header_revision)
{
    if (!may_speak(check, "progress"))
        return;
    if (check->is_fragment)
        problem(check, "progress between two fragments");
    if (header_revision < check->next - 1)
        problem(check, "progress at %" PRId64 ", but %" PRId64 " was spoken for", header_revision,
                check->next - 1);
    check->next = MAX(check->next, header_revision + 1);
}

void watch_check_compacted(struct watch_check *check, int64_t compact_revision)
{
    if (!may_speak(check, "compaction"))
        return;
    check->is_ended = true;
    if (compact_revision <= check->next) {
        problem(check, "ended by compaction at %" PRId64 ", but wants only %" PRId64 " and later",
                compact_revision, check->next);
        return;
    }
    check->skips = xrealloc(check->skips, (check->skip_len + 1) * sizeof *check->skips);
    check->skips[check->skip_len++] = (struct skip){check->next, compact_revision};
    check->next = compact_revision;
}

void watch_check_lost(struct watch_check *check)
{
    check->is_created = check->is_ended = check->is_fragment = false;
    check->pending.len = 0; /* an answer that is not whole never was */
}

bool watch_check_is_created(const struct watch_check *check)
{
    return check->is_created;
}

int64_t watch_check_next(const struct watch_check *check)
{
    return check->next;
}

/* ---- the whole ---- */

static bool is_skipped(const struct watch_check *check, int64_t revision)
{
    for (size_t i = 0; i < check->skip_len; i++)
        if (revision >= check->skips[i].from && revision < check->skips[i].to)
            return true;
    return revision < check->first || revision >= check->next;
}

static void compare(struct watch_check *check, const struct watch_change *want,
                    const struct watch_change *got, int64_t compacted)
{
    bool prev_wanted = check->options.flags & WATCH_PREV_KV;

    if (got->is_delete != want->is_delete || got->create != want->create ||
        got->version != want->version || got->value != want->value)
        problem(check,
                "revision %" PRId64 " is told as %s created %" PRId64 " version %" PRId64
                ", it is %s created %" PRId64 " version %" PRId64 " (or has another value)",
                want->revision, got->is_delete ? "delete" : "put", got->create, got->version,
                want->is_delete ? "delete" : "put", want->create, want->version);
    else if (got->prev != 0 && (got->prev != want->prev || got->prev_value != want->prev_value))
        problem(check, "prev_kv of revision %" PRId64 " is that of %" PRId64 ", not %" PRId64,
                want->revision, got->prev, want->prev);
    else if (prev_wanted && got->prev == 0 && want->prev != 0 && want->revision > compacted)
        problem(check, "prev_kv of revision %" PRId64 " is missing", want->revision);
}

void watch_check_whole(struct watch_check *check, const struct watch_history *history,
                       int64_t compacted)
{
    size_t at = 0;

    if (check->next == 0)
        return; /* never got anywhere */
    if (check->seen.len > 1)
        qsort(check->seen.rows, check->seen.len, sizeof *check->seen.rows, order);
    for (size_t i = 0; i < history->len && check->problem[0] == 0; i++) {
        const struct watch_change *want = &history->rows[i];
        const struct watch_change *got = at < check->seen.len ? &check->seen.rows[at] : NULL;

        if (!is_wanted(check, want) || is_skipped(check, want->revision))
            continue;
        if (got == NULL || order(got, want) > 0) {
            problem(check, "an event of revision %" PRId64 " never came", want->revision);
        } else if (order(got, want) < 0) {
            problem(check, "an event of revision %" PRId64 " that never was", got->revision);
        } else {
            compare(check, want, got, compacted);
            at++;
        }
    }
    if (at < check->seen.len)
        problem(check, "an event of revision %" PRId64 " that never was",
                check->seen.rows[at].revision);
}

const char *watch_check_problem(const struct watch_check *check)
{
    return check->problem;
}

size_t watch_check_seen(const struct watch_check *check)
{
    return check->seen.len;
}
