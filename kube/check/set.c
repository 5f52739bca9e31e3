/* Texts found by their hash: so that a body of three megabytes cannot make anything here take
 * quadratic time. */
#include <string.h>

#include "base/hash.h"
#include "kube/check/internal.h"

/* Salted with where the table lies, which who sends the keys cannot know. */
static size_t hash_of(struct slice text, const void *slots)
{
    return (size_t)hash_bytes(text, (uint64_t)(uintptr_t)slots);
}

void check__set_init(struct check__set *set, struct arena *arena, size_t count)
{
    set->size = 16;
    while (set->size < 2 * count)
        set->size *= 2;
    set->slots = arena_calloc(arena, set->size * sizeof(set->slots[0]));
}

/* Where text is, or would be. */
static size_t slot_of(const struct check__set *set, struct slice text)
{
    size_t at = hash_of(text, set->slots) & (set->size - 1);

    while (set->slots[at].data != NULL && !slice_eq(set->slots[at], text))
        at = (at + 1) & (set->size - 1);
    return at;
}

/* A slot without data is free, so the empty text needs some. */
static struct slice filled(struct slice text)
{
    return text.data == NULL ? slice_str("") : text;
}

bool check__set_add(struct check__set *set, struct slice text)
{
    size_t at = slot_of(set, filled(text));

    if (set->slots[at].data != NULL)
        return false;
    set->slots[at] = filled(text);
    return true;
}

bool check__set_has(const struct check__set *set, struct slice text)
{
    return set->slots[slot_of(set, filled(text))].data != NULL;
}

void check__set_init_names(struct check__set *set, struct arena *arena, const struct json *list,
                           const char *key)
{
    check__set_init(set, arena, list == NULL ? 0 : list->count);
    json_each(item, list)(void)
        check__set_add(set, json_text(key == NULL ? item : json_get(item, key)));
}
