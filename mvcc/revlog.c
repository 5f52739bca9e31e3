#include "mvcc/revlog.h"

#include <stdlib.h>

#include "base/mem.h"

#define PART_BYTES (REVLOG_PART_SLOTS * sizeof(struct record *))

enum { PREFETCH_DISTANCE = 12 };

void revlog__init(struct revlog *log)
{
    *log = (struct revlog){0};
}

void revlog__release(struct revlog *log)
{
    for (size_t i = 0; i < log->len; i++)
        free(log->parts[i].slots);
    free(log->parts);
    revlog__init(log);
}

size_t revlog__bytes(const struct revlog *log)
{
    return log->len * mvcc__heap_size(PART_BYTES) +
           (log->cap > 0 ? mvcc__heap_size(log->cap * sizeof *log->parts) : 0);
}

static struct revlog_part *part_add(struct revlog *log, const struct record *first)
{
    struct revlog_part *part;

    if (log->len == log->cap) {
        log->cap = log->cap == 0 ? 16 : log->cap + log->cap / 2;
        log->parts = xrealloc(log->parts, log->cap * sizeof *log->parts);
    }
    part = &log->parts[log->len++];
    *part = (struct revlog_part){
        .slots = xmalloc(PART_BYTES),
        .first_main = first->main,
        .first_sub = first->sub,
    };
    return part;
}

void revlog__append(struct revlog *log, struct record *record)
{
    struct revlog_part *part = log->len > 0 ? &log->parts[log->len - 1] : NULL;

    if (part == NULL || part->len == REVLOG_PART_SLOTS)
        part = part_add(log, record);
    part->slots[part->len++] = record;
    part->live++;
}

static bool is_below(int64_t main_a, uint32_t sub_a, int64_t main_b, uint32_t sub_b)
{
    return main_a != main_b ? main_a < main_b : sub_a < sub_b;
}

/* The last part that starts at or below (main, sub), or the first. */
static size_t part_of(const struct revlog *log, int64_t main, uint32_t sub)
{
    size_t low = 0, high = log->len;

    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        const struct revlog_part *part = &log->parts[mid];

        if (is_below(main, sub, part->first_main, part->first_sub))
            high = mid;
        else
            low = mid;
    }
    return low;
}

struct revlog_pos revlog__seek(const struct revlog *log, int64_t main, uint32_t sub)
{
    struct revlog_pos pos = {0, 0};
    const struct record *record;

    if (log->len == 0)
        return pos;
    pos.part = part_of(log, main, sub);
    while ((record = revlog__next(log, &pos)) != NULL &&
           is_below(record->main, record->sub, main, sub))
        pos.slot++;
    return pos;
}

struct record *revlog__next(const struct revlog *log, struct revlog_pos *pos)
{
    for (; pos->part < log->len; pos->part++, pos->slot = 0) {
        const struct revlog_part *part = &log->parts[pos->part];

        for (; pos->slot < part->len; pos->slot++) {
            struct record *record = part->slots[pos->slot];

            if (pos->slot + PREFETCH_DISTANCE < part->len)
                __builtin_prefetch(part->slots[pos->slot + PREFETCH_DISTANCE]);
            if (record != NULL)
                return record;
        }
        /* The last part may yet grow: the end stays inside it. */
        if (pos->part + 1 == log->len)
            break;
    }
    return NULL;
}

static void part_drop(struct revlog *log, size_t at)
{
    free(log->parts[at].slots);
    log->len--;
    memmove(&log->parts[at], &log->parts[at + 1], (log->len - at) * sizeof *log->parts);
    if (log->cap > 64 && log->len < log->cap / 4) {
        log->cap /= 2;
        log->parts = xrealloc(log->parts, log->cap * sizeof *log->parts);
    }
}

static void part_squeeze(struct revlog_part *part)
{
    uint16_t kept = 0;

    for (uint16_t i = 0; i < part->len; i++)
        if (part->slots[i] != NULL)
            part->slots[kept++] = part->slots[i];
    ASSERT(kept == part->live);
    part->len = kept;
}

/* Moves what is left of a part to the end of the one before, if it fits. */
static bool part_merge(struct revlog *log, size_t at)
{
    struct revlog_part *left, *right;

    if (at == 0 || at >= log->len)
        return false;
    left = &log->parts[at - 1];
    right = &log->parts[at];
    if (left->live + right->live > REVLOG_PART_SLOTS)
        return false;
    part_squeeze(left);
    part_squeeze(right);
    if (right->len > 0)
        memcpy(left->slots + left->len, right->slots, right->len * sizeof *right->slots);
    left->len = (uint16_t)(left->len + right->len);
    left->live = left->len;
    part_drop(log, at);
    return true;
}

/* Begins where the record is if every revision has one record and none is gone; else it lies
 * mostly a little below. */
static size_t slot_of(const struct revlog_part *part, const struct record *record)
{
    uint64_t guess = (uint64_t)(record->main - part->first_main);
    size_t start = guess < part->len ? (size_t)guess : part->len - 1u;
    size_t slot;

    for (slot = start + 1; slot-- > 0;)
        if (part->slots[slot] == record)
            return slot;
    for (slot = start + 1; slot < part->len; slot++)
        if (part->slots[slot] == record)
            break;
    ASSERT(slot < part->len);
    return slot;
}

void revlog__remove(struct revlog *log, const struct record *record, struct revlog_pos *pos)
{
    size_t at = part_of(log, record->main, record->sub);
    struct revlog_part *part = &log->parts[at];
    size_t slot = slot_of(part, record);

    part->slots[slot] = NULL;
    part->live--;

    if (at >= pos->part)
        return; /* never the ground under the walk's own feet */
    if (part->live == 0) {
        part_drop(log, at);
        pos->part--;
    } else if (part_merge(log, at)) {
        pos->part--;
    } else if (at + 1 < pos->part && part_merge(log, at + 1)) {
        pos->part--;
    }
}

void revlog__move(struct revlog *log, const struct record *from, struct record *to)
{
    struct revlog_part *part = &log->parts[part_of(log, from->main, from->sub)];

    part->slots[slot_of(part, from)] = to;
}

void revlog__settle(struct revlog *log, struct revlog_pos *pos)
{
    size_t left = pos->part - 1;

    if (pos->part == 0)
        return;
    if (log->parts[left].live == 0)
        part_drop(log, left);
    else if (!part_merge(log, left))
        return;
    pos->part--;
}
