#include <stdlib.h>

#include "base/mem.h"
#include "wal/internal.h"

/* Makes room for one more element. */
static void *grow(void *at, size_t len, size_t *cap, size_t element_size)
{
    if (len < *cap)
        return at;
    *cap = *cap == 0 ? 16 : *cap * 2;
    return xrealloc(at, *cap * element_size);
}

bool wal__pacer_entry(struct wal__pacer *pacer, uint64_t index, uint64_t offset)
{
    bool point = pacer->force || index != pacer->last_index + 1 ||
                 offset - pacer->offset >= WAL__POINT_EVERY;

    pacer->last_index = index;
    if (point) {
        pacer->offset = offset;
        pacer->force = false;
    }
    return point;
}

void wal__points_push(struct wal__points *points, const struct wal__point *point)
{
    points->at = grow(points->at, points->len, &points->cap, sizeof(*points->at));
    points->at[points->len++] = *point;
}

void wal__points_put(struct wal__points *points, const struct wal__point *point)
{
    while (points->len > 0 && points->at[points->len - 1].index >= point->index)
        points->len--;
    if (point->index != 0)
        wal__points_push(points, point);
}

size_t wal__points_floor(const struct wal__points *points, uint64_t index)
{
    size_t low = 0, high = points->len;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (points->at[mid].index <= index)
            low = mid + 1;
        else
            high = mid;
    }
    return low == 0 ? points->len : low - 1;
}

void wal__segments_push(struct wal__segments *segments, const struct wal__segment *segment)
{
    segments->at = grow(segments->at, segments->len, &segments->cap, sizeof(*segments->at));
    segments->at[segments->len++] = *segment;
}

const struct wal__segment *wal__segments_find(const struct wal__segments *segments, uint64_t number)
{
    uint64_t first = segments->len == 0 ? 0 : segments->at[0].number;

    if (first == 0 || number < first || number - first >= segments->len)
        return NULL;
    return &segments->at[number - first];
}

void wal__runs_put(struct wal__index *index, uint64_t entry_index, uint64_t term)
{
    while (index->runs_len > 0 && index->runs[index->runs_len - 1].first >= entry_index)
        index->runs_len--;
    if (index->runs_len > 0 && index->runs[index->runs_len - 1].term == term)
        return;
    index->runs = grow(index->runs, index->runs_len, &index->runs_cap, sizeof(*index->runs));
    index->runs[index->runs_len++] = (struct wal__run){.first = entry_index, .term = term};
}

void wal__runs_clear(struct wal__index *index)
{
    index->runs_len = 0;
}

uint64_t wal__runs_find(const struct wal__index *index, uint64_t entry_index)
{
    size_t low = 0, high = index->runs_len;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (index->runs[mid].first <= entry_index)
            low = mid + 1;
        else
            high = mid;
    }
    return low == 0 ? 0 : index->runs[low - 1].term;
}

void wal__index_drop_segments(struct wal__index *index, uint64_t number)
{
    struct wal__points *points = &index->points;
    struct wal__segments *segments = &index->segments;
    size_t n = 0;

    while (n < points->len && points->at[n].segment < number)
        n++;
    points->len -= n;
    if (n > 0)
        memmove(points->at, points->at + n, points->len * sizeof(*points->at));

    n = 0;
    while (n < segments->len && segments->at[n].number < number)
        n++;
    segments->len -= n;
    if (n > 0)
        memmove(segments->at, segments->at + n, segments->len * sizeof(*segments->at));
}

void wal__index_drop_runs(struct wal__index *index, uint64_t first)
{
    size_t n = 0;

    while (n + 1 < index->runs_len && index->runs[n + 1].first <= first)
        n++;
    index->runs_len -= n;
    if (n > 0)
        memmove(index->runs, index->runs + n, index->runs_len * sizeof(*index->runs));
}

void wal__index_release(struct wal__index *index)
{
    free(index->points.at);
    free(index->segments.at);
    free(index->runs);
}
