#include "lab/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/util.h"

enum { ANSWERS_MAX = 4000000 };

#define KEY LAB_PREFIX "%u/%u"
#define KEY_OF(answer) (answer)->key / LAB_SLOTS, (answer)->key % LAB_SLOTS

enum answer_kind { ANSWER_WRITE, ANSWER_READ, ANSWER_LOCAL_READ };

struct answer {
    int64_t revision; /* of a write: its own; of a read: of the header */
    int64_t mod;      /* of a read: of the write that it saw; 0: there was no key */
    int64_t at_ms;
    uint64_t serial;
    uint32_t key;
    uint8_t kind;   /* enum answer_kind */
    uint8_t member; /* that gave it */
    bool stale;     /* a linearizable read below its floor */
};

struct change {
    int64_t revision;
    uint64_t serial;
    uint32_t key;
};

/* When the floor rose. */
struct step {
    int64_t floor, at_ms;
};

struct lab_check {
    struct answer *answers;
    size_t answer_len, answer_cap;
    struct change *changes;
    size_t change_len, change_cap;
    struct step *steps;
    size_t step_len, step_cap;
    int64_t floor;
};

struct lab_check *lab_check_new(void)
{
    return xcalloc(1, sizeof(struct lab_check));
}

void lab_check_free(struct lab_check *check)
{
    if (check == NULL)
        return;
    free(check->answers);
    free(check->changes);
    free(check->steps);
    free(check);
}

static void grow(void **rows, size_t len, size_t *cap, size_t size)
{
    if (len < *cap)
        return;
    *cap = MAX(*cap * 2, (size_t)1024);
    *rows = xrealloc(*rows, *cap * size);
}

int64_t lab_check_floor(const struct lab_check *check)
{
    return check->floor;
}

static bool keep(struct lab_check *check, struct answer answer)
{
    if (check->answer_len == ANSWERS_MAX)
        return false;
    grow((void **)&check->answers, check->answer_len, &check->answer_cap, sizeof(struct answer));
    check->answers[check->answer_len++] = answer;
    return true;
}

bool lab_check_acknowledged(struct lab_check *check, unsigned member, uint32_t key, uint64_t serial,
                            int64_t revision, int64_t now_ms)
{
    if (!keep(check, (struct answer){.kind = ANSWER_WRITE,
                                     .member = (uint8_t)member,
                                     .key = key,
                                     .serial = serial,
                                     .revision = revision,
                                     .at_ms = now_ms}))
        return false;
    if (revision > check->floor) {
        check->floor = revision;
        grow((void **)&check->steps, check->step_len, &check->step_cap, sizeof(struct step));
        check->steps[check->step_len++] = (struct step){.floor = revision, .at_ms = now_ms};
    }
    return true;
}

bool lab_check_read(struct lab_check *check, unsigned member, uint32_t key, uint64_t serial,
                    int64_t mod, int64_t revision, int64_t floor, int64_t now_ms)
{
    return keep(check, (struct answer){.kind = ANSWER_READ,
                                       .member = (uint8_t)member,
                                       .key = key,
                                       .serial = serial,
                                       .mod = mod,
                                       .revision = revision,
                                       .at_ms = now_ms,
                                       .stale = revision < floor});
}

/* The first step above the revision, or NULL. */
static const struct step *step_above(const struct lab_check *check, int64_t revision)
{
    size_t low = 0, high = check->step_len;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (check->steps[middle].floor > revision)
            high = middle;
        else
            low = middle + 1;
    }
    return low < check->step_len ? &check->steps[low] : NULL;
}

int64_t lab_check_local_read(struct lab_check *check, unsigned member, uint32_t key,
                             uint64_t serial, int64_t mod, int64_t revision, int64_t floor,
                             int64_t began_ms)
{
    const struct step *missed = revision < floor ? step_above(check, revision) : NULL;

    (void)keep(check, (struct answer){.kind = ANSWER_LOCAL_READ,
                                      .member = (uint8_t)member,
                                      .key = key,
                                      .serial = serial,
                                      .mod = mod,
                                      .revision = revision,
                                      .at_ms = began_ms});
    if (missed == NULL)
        return -1;
    return MAX(began_ms - missed->at_ms, (int64_t)0);
}

size_t lab_check_roll_back(struct lab_check *check, int64_t revision)
{
    size_t kept = 0, writes = 0;

    for (size_t i = 0; i < check->answer_len; i++) {
        if (check->answers[i].revision <= revision)
            check->answers[kept++] = check->answers[i];
        else
            writes += check->answers[i].kind == ANSWER_WRITE;
    }
    check->answer_len = kept;
    while (check->step_len != 0 && check->steps[check->step_len - 1].floor > revision)
        check->step_len--;
    check->floor = check->step_len != 0 ? check->steps[check->step_len - 1].floor : 0;
    return writes;
}

void lab_check_change(struct lab_check *check, uint32_t key, uint64_t serial, int64_t revision)
{
    grow((void **)&check->changes, check->change_len, &check->change_cap, sizeof(struct change));
    check->changes[check->change_len++] =
        (struct change){.revision = revision, .serial = serial, .key = key};
}

void lab_check_forget_changes(struct lab_check *check)
{
    check->change_len = 0;
}

/* ---- the check ---- */

static int by_key_and_revision(const void *a_, const void *b_)
{
    const struct change *a = a_, *b = b_;

    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    return a->revision < b->revision ? -1 : a->revision > b->revision;
}

/* What the key was at the revision; NULL: it was not there yet. Changes are sorted. */
static const struct change *change_at(const struct lab_check *check, uint32_t key, int64_t revision)
{
    size_t low = 0, high = check->change_len;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct change *change = &check->changes[middle];

        if (change->key > key || (change->key == key && change->revision > revision))
            high = middle;
        else
            low = middle + 1;
    }
    if (low == 0 || check->changes[low - 1].key != key)
        return NULL;
    return &check->changes[low - 1];
}

static void describe_history(const struct change *change, char *out, size_t size)
{
    if (change == NULL)
        (void)snprintf(out, size, "has no such key then");
    else
        (void)snprintf(out, size, "has write %llu there, of revision %lld",
                       (unsigned long long)change->serial, (long long)change->revision);
}

static void check_write(const struct answer *a, const struct change *change,
                        struct lab_findings *out)
{
    char history[80];

    out->writes++;
    if (change != NULL && change->revision == a->revision && change->serial == a->serial)
        return;
    if (out->lost++ != 0 || out->example[0] != '\0')
        return;
    describe_history(change, history, sizeof history);
    (void)snprintf(out->example, sizeof out->example,
                   "write %llu of " KEY " was acknowledged by m%u at %lld ms with revision %lld; "
                   "the cluster's history %s",
                   (unsigned long long)a->serial, KEY_OF(a), a->member, (long long)a->at_ms,
                   (long long)a->revision, history);
}

static void explain_stale(const struct lab_check *check, const struct answer *a,
                          struct lab_findings *out)
{
    const struct step *missed = step_above(check, a->revision);

    (void)snprintf(out->example, sizeof out->example,
                   "revision %lld was acknowledged at %lld ms; a linearizable read of " KEY " that "
                   "began after it was answered by m%u at %lld ms with revision %lld",
                   (long long)(missed != NULL ? missed->floor : 0),
                   (long long)(missed != NULL ? missed->at_ms : 0), KEY_OF(a), a->member,
                   (long long)a->at_ms, (long long)a->revision);
}

static void check_seen(const struct lab_check *check, const struct answer *a,
                       const struct change *change, struct lab_findings *out)
{
    bool real =
        change == NULL ? a->mod == 0 : change->revision == a->mod && change->serial == a->serial;
    bool local = a->kind == ANSWER_LOCAL_READ;
    char history[80];

    out->reads += !local;
    out->local_reads += local;
    if (real && !a->stale)
        return;
    out->wrong_reads += !local;
    out->invented += local;
    if (out->example[0] != '\0')
        return;
    if (a->stale) {
        explain_stale(check, a, out);
        return;
    }
    describe_history(change, history, sizeof history);
    (void)snprintf(out->example, sizeof out->example,
                   "a read of " KEY " by m%u at %lld ms and revision %lld gave write %llu of "
                   "revision %lld; the cluster's history %s",
                   KEY_OF(a), a->member, (long long)a->at_ms, (long long)a->revision,
                   (unsigned long long)a->serial, (long long)a->mod, history);
}

void lab_check_run(struct lab_check *check, int64_t until, struct lab_findings *out)
{
    *out = (struct lab_findings){.lost = 0};
    if (check->change_len != 0)
        qsort(check->changes, check->change_len, sizeof *check->changes, by_key_and_revision);
    for (size_t i = 0; i < check->answer_len; i++) {
        const struct answer *a = &check->answers[i];
        const struct change *change;

        if (a->revision > until)
            continue;
        change = change_at(check, a->key, a->revision);
        if (a->kind == ANSWER_WRITE)
            check_write(a, change, out);
        else
            check_seen(check, a, change, out);
    }
}
