/* Sorted arrays of at most KUBE__CHUNK pointers, and a sorted array of those. An insertion moves at
 * most two kilobytes; the upper array grows by one pointer in a hundred objects. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kube/store/internal.h"

struct kube__place kube__index_place(const struct kube__index *index,
                                     const struct kube_object *object)
{
    struct slice none = {0};

    return (struct kube__place){
        .value = index->by == 0 ? none : kube__object_field(object, index->by - 1),
        .key = kube__object_key(object),
    };
}

static int compare(const struct kube__index *index, const struct kube_object *object,
                   struct kube__place place)
{
    int order = 0;

    if (index->by != 0)
        order = slice_cmp(kube__object_field(object, index->by - 1), place.value);
    return order != 0 ? order : slice_cmp(kube__object_key(object), place.key);
}

/* The last chunk whose first object is not behind the place; 0 if there is none. */
static size_t chunk_of(const struct kube__index *index, struct kube__place place)
{
    size_t low = 0, high = index->chunk_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (compare(index, index->chunks[middle]->objects[0], place) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? 0 : low - 1;
}

static size_t place_in(const struct kube__index *index, const struct kube__chunk *chunk,
                       struct kube__place place)
{
    size_t low = 0, high = chunk->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (compare(index, chunk->objects[middle], place) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct kube__position kube__index_seek(const struct kube__index *index, struct kube__place place)
{
    struct kube__position at = {0};

    if (index->chunk_count == 0)
        return at;
    at.chunk = chunk_of(index, place);
    at.at = place_in(index, index->chunks[at.chunk], place);
    if (at.at == index->chunks[at.chunk]->count)
        at = (struct kube__position){.chunk = at.chunk + 1};
    return at;
}

struct kube_object *kube__index_next(const struct kube__index *index, struct kube__position *at)
{
    struct kube_object *object;

    if (at->chunk >= index->chunk_count)
        return NULL;
    object = index->chunks[at->chunk]->objects[at->at++];
    if (at->at == index->chunks[at->chunk]->count)
        *at = (struct kube__position){.chunk = at->chunk + 1};
    return object;
}

size_t kube__index_rank(const struct kube__index *index, struct kube__position at)
{
    size_t rank = at.at;

    for (size_t i = 0; i < at.chunk && i < index->chunk_count; i++)
        rank += index->chunks[i]->count;
    return rank;
}

static bool is_at(const struct kube__index *index, struct kube__position at,
                  struct kube__place place)
{
    return at.chunk < index->chunk_count &&
           compare(index, index->chunks[at.chunk]->objects[at.at], place) == 0;
}

struct kube_object *kube__index_find(const struct kube__index *index, struct slice key)
{
    struct kube__place place = {.key = key};
    struct kube__position at = kube__index_seek(index, place);

    return is_at(index, at, place) ? index->chunks[at.chunk]->objects[at.at] : NULL;
}

static void insert_chunk(struct kube__index *index, size_t at, struct kube__chunk *chunk)
{
    if (index->chunk_count == index->chunk_capacity) {
        index->chunk_capacity = MAX((size_t)8, index->chunk_capacity * 2);
        index->chunks = xrealloc(index->chunks, index->chunk_capacity * sizeof(*index->chunks));
    }
    memmove(index->chunks + at + 1, index->chunks + at,
            (index->chunk_count - at) * sizeof(*index->chunks));
    index->chunks[at] = chunk;
    index->chunk_count++;
}

/* Behind the end of the last chunk nothing is moved: a fill in order leaves full chunks. */
static struct kube__chunk *split(struct kube__index *index, size_t which, size_t at)
{
    struct kube__chunk *left = index->chunks[which], *right = xmalloc(sizeof(*right));
    bool appends = which + 1 == index->chunk_count && at == left->count;
    size_t keep = appends ? left->count : left->count / 2;

    right->count = left->count - keep;
    memcpy(right->objects, left->objects + keep, right->count * sizeof(*right->objects));
    left->count = keep;
    insert_chunk(index, which + 1, right);
    return right;
}

static void insert_object(struct kube__index *index, struct kube_object *object)
{
    struct kube__place place = kube__index_place(index, object);
    size_t which, at;
    struct kube__chunk *chunk;

    if (index->chunk_count == 0)
        insert_chunk(index, 0, xcalloc(1, sizeof(*chunk)));
    which = index->count == 0 ? 0 : chunk_of(index, place);
    chunk = index->chunks[which];
    at = place_in(index, chunk, place);
    if (chunk->count == KUBE__CHUNK) {
        struct kube__chunk *right = split(index, which, at);

        if (at > chunk->count || chunk->count == KUBE__CHUNK) {
            at -= chunk->count;
            chunk = right;
        }
    }
    memmove(chunk->objects + at + 1, chunk->objects + at,
            (chunk->count - at) * sizeof(*chunk->objects));
    chunk->objects[at] = object;
    chunk->count++;
    index->count++;
}

struct kube_object *kube__index_put(struct kube__index *index, struct kube_object *object)
{
    struct kube__place place = kube__index_place(index, object);
    struct kube__position at = kube__index_seek(index, place);
    struct kube_object *old = NULL;

    index->bytes += object->len;
    if (!is_at(index, at, place)) {
        insert_object(index, object);
        return NULL;
    }
    old = index->chunks[at.chunk]->objects[at.at];
    index->chunks[at.chunk]->objects[at.at] = object;
    index->bytes -= old->len;
    return old;
}

struct kube_object *kube__index_remove(struct kube__index *index, struct kube__place place)
{
    struct kube__position at = kube__index_seek(index, place);
    struct kube__chunk *chunk;
    struct kube_object *old;

    if (!is_at(index, at, place))
        return NULL;
    chunk = index->chunks[at.chunk];
    old = chunk->objects[at.at];
    chunk->count--;
    memmove(chunk->objects + at.at, chunk->objects + at.at + 1,
            (chunk->count - at.at) * sizeof(*chunk->objects));
    if (chunk->count == 0) {
        free(chunk);
        index->chunk_count--;
        memmove(index->chunks + at.chunk, index->chunks + at.chunk + 1,
                (index->chunk_count - at.chunk) * sizeof(*index->chunks));
    }
    index->count--;
    index->bytes -= old->len;
    return old;
}

void kube__index_release(struct kube__index *index)
{
    for (size_t i = 0; i < index->chunk_count; i++) {
        for (size_t k = 0; k < index->chunks[i]->count; k++)
            kube_object_unref(index->chunks[i]->objects[k]);
        free(index->chunks[i]);
    }
    free(index->chunks);
    *index = (struct kube__index){.by = index->by};
}
