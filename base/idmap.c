#include "base/idmap.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/util.h"

enum { IDMAP_CAP_MIN = 16 };

void idmap_init(struct idmap *map)
{
    *map = (struct idmap){.slots = NULL};
}

void idmap_release(struct idmap *map)
{
    free(map->slots);
    idmap_init(map);
}

/* splitmix64's finalizer: ids are often consecutive. */
static size_t home_of(const struct idmap *map, uint64_t id)
{
    id = (id ^ (id >> 30)) * 0xbf58476d1ce4e5b9u;
    id = (id ^ (id >> 27)) * 0x94d049bb133111ebu;
    return (size_t)(id ^ (id >> 31)) & (map->cap - 1);
}

/* The slot that holds id, or the free one where it would go. */
static struct idmap_slot *find(const struct idmap *map, uint64_t id)
{
    size_t i = home_of(map, id);

    while (map->slots[i].value != NULL && map->slots[i].id != id)
        i = (i + 1) & (map->cap - 1);
    return &map->slots[i];
}

static void grow(struct idmap *map)
{
    struct idmap old = *map;

    map->cap = MAX(old.cap * 2, (size_t)IDMAP_CAP_MIN);
    map->slots = xcalloc(map->cap, sizeof *map->slots);
    for (size_t i = 0; i < old.cap; i++) {
        if (old.slots[i].value != NULL)
            *find(map, old.slots[i].id) = old.slots[i];
    }
    free(old.slots);
}

void *idmap_put(struct idmap *map, uint64_t id, void *value)
{
    struct idmap_slot *slot;
    void *old;

    ASSERT(value != NULL);
    if ((map->count + 1) * 4 > map->cap * 3)
        grow(map);
    slot = find(map, id);
    old = slot->value;
    *slot = (struct idmap_slot){.id = id, .value = value};
    map->count += old == NULL;
    return old;
}

void *idmap_get(const struct idmap *map, uint64_t id)
{
    return map->count == 0 ? NULL : find(map, id)->value;
}

void *idmap_remove(struct idmap *map, uint64_t id)
{
    struct idmap_slot *slot;
    size_t hole, i;
    void *old;

    if (map->count == 0)
        return NULL;
    slot = find(map, id);
    old = slot->value;
    if (old == NULL)
        return NULL;

    /* Close the hole: move back whatever probed past it, so that no chain is cut. */
    hole = (size_t)(slot - map->slots);
    i = hole;
    for (;;) {
        size_t home;

        i = (i + 1) & (map->cap - 1);
        if (map->slots[i].value == NULL)
            break;
        home = home_of(map, map->slots[i].id);
        if (((i - home) & (map->cap - 1)) >= ((i - hole) & (map->cap - 1))) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    map->slots[hole].value = NULL;
    map->count--;
    return old;
}

void *idmap_next(const struct idmap *map, size_t *cursor)
{
    while (*cursor < map->cap) {
        void *value = map->slots[(*cursor)++].value;

        if (value != NULL)
            return value;
    }
    return NULL;
}
