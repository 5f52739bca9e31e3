#include <string.h>

#include "base/hash.h"
#include "kube/json/json.h"

static void put(struct json_index *index, struct json *member)
{
    uint64_t hash = hash_bytes(json_key(member), index->salt);
    size_t at = hash & (index->size - 1);

    while (index->slots[at] != NULL)
        at = (at + 1) & (index->size - 1);
    index->slots[at] = member;
}

/* At most half of the slots are taken. */
static void make_room(struct json_index *index)
{
    if (index->object == NULL || index->object->count < JSON_INDEX_MIN ||
        index->object->count * 2 <= index->size)
        return;
    index->size = 64;
    while (index->size < index->object->count * 4)
        index->size *= 2;
    index->slots = arena_calloc(index->arena, index->size * sizeof(index->slots[0]));
    /* Where memory lies is as good as a secret: clients do not learn it. */
    index->salt = (uintptr_t)index->slots * 0x9e3779b97f4a7c15u ^ (uintptr_t)index->object;
    json_each(member, index->object) put(index, member);
}

void json_index_init(struct json_index *index, struct arena *arena, const struct json *object)
{
    *index = (struct json_index){.arena = arena, .object = object};
    make_room(index);
}

struct json *json_index_get(const struct json_index *index, struct slice key)
{
    size_t at;

    if (index->size == 0)
        return json_get_slice(index->object, key);
    at = hash_bytes(key, index->salt) & (index->size - 1);
    for (; index->slots[at] != NULL; at = (at + 1) & (index->size - 1)) {
        struct json *member = index->slots[at];

        if (slice_eq(json_key(member), key))
            return member;
    }
    return NULL;
}

void json__index_added(struct json_index *index, struct json *member)
{
    size_t size = index->size;

    make_room(index);
    if (index->size == size && size > 0)
        put(index, member);
}
