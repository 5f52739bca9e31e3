/* Watches by what their selectors pin: an event looks up a few groups instead of asking every watch
 * whether it is concerned. Ten thousand kubelets that watch the pods of their node cost an event of
 * one pod two lookups. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "kube/store/internal.h"

enum { BUCKETS_MIN = 16 };

struct pin {
    enum kube__group_kind kind;
    size_t field;
    struct slice value;
    uint64_t hash;
};

static struct pin pin_of(const struct kube_cache *cache, enum kube__group_kind kind, size_t field,
                         struct slice value)
{
    uint64_t salt = cache->store->salt + (uint64_t)kind * 256 + field;

    return (struct pin){kind, field, value, hash_bytes(value, salt)};
}

/* ---- the table ---- */

static struct kube__group **find(const struct kube__groups *groups, const struct pin *pin)
{
    struct kube__group **at;

    if (groups->bucket_count == 0)
        return NULL;
    at = &groups->buckets[pin->hash & (groups->bucket_count - 1)];
    while (*at != NULL &&
           ((*at)->hash != pin->hash || (*at)->kind != pin->kind || (*at)->field != pin->field ||
            !slice_eq(slice_of((*at)->value, (*at)->len), pin->value)))
        at = &(*at)->next;
    return at;
}

static void rehash(struct kube__groups *groups)
{
    struct kube__groups old = *groups;

    groups->bucket_count = MAX((size_t)BUCKETS_MIN, old.bucket_count * 2);
    groups->buckets = xcalloc(groups->bucket_count, sizeof(struct kube__group *));
    for (size_t i = 0; i < old.bucket_count; i++) {
        for (struct kube__group *group = old.buckets[i], *next; group != NULL; group = next) {
            struct kube__group **bucket =
                &groups->buckets[group->hash & (groups->bucket_count - 1)];

            next = group->next;
            group->next = *bucket;
            *bucket = group;
        }
    }
    free(old.buckets);
}

static struct kube__group *find_or_add(struct kube__groups *groups, const struct pin *pin)
{
    struct kube__group **at, *group;

    if (groups->count >= groups->bucket_count)
        rehash(groups);
    at = find(groups, pin);
    if (*at != NULL)
        return *at;
    group = xcalloc(1, sizeof(*group) + pin->value.len);
    group->hash = pin->hash;
    group->kind = pin->kind;
    group->field = pin->field;
    group->len = pin->value.len;
    if (pin->value.len > 0)
        memcpy(group->value, pin->value.data, pin->value.len);
    list_init(&group->watches);
    *at = group;
    groups->count++;
    groups->of_kind[pin->kind]++;
    return group;
}

static void drop(struct kube__groups *groups, struct kube__group *group)
{
    struct kube__group **at = &groups->buckets[group->hash & (groups->bucket_count - 1)];

    while (*at != group)
        at = &(*at)->next;
    *at = group->next;
    groups->count--;
    groups->of_kind[group->kind]--;
    free(group);
}

void kube__groups_release(struct kube__groups *groups)
{
    ASSERT(groups->count == 0); /* the watches have gone before */
    free(groups->buckets);
}

/* ---- joining and leaving ---- */

/* The number of a field that the selector pins, -1: none. */
static int pinned_field(const struct kube_watch *watch, struct slice *value)
{
    const char *at = watch->cache->resource->selectable;
    char path[128];

    for (int field = 0; at != NULL && *at != '\0'; field++) {
        size_t len = strcspn(at, " ");

        if (len >= sizeof(path))
            return -1;
        memcpy(path, at, len);
        path[len] = '\0';
        *value = kube_selector_pins(&watch->selector, path);
        if (value->len != 0)
            return field;
        at += len;
        at += strspn(at, " ");
    }
    return -1;
}

static struct pin best_pin(const struct kube_watch *watch, struct arena *scratch)
{
    const struct kube_cache *cache = watch->cache;
    bool namespaced = (cache->resource->flags & KUBE_NAMESPACED) != 0;
    struct slice name = kube_selector_pins(&watch->selector, "metadata.name"), value;
    int field;

    if (name.len != 0 && (!namespaced || watch->ns.len != 0))
        return pin_of(cache, GROUP_KEY, 0, kube__tail(scratch, watch->ns, name));
    field = pinned_field(watch, &value);
    if (field >= 0)
        return pin_of(cache, GROUP_FIELD, (size_t)field, value);
    if (name.len != 0)
        return pin_of(cache, GROUP_NAME, 0, name);
    if (watch->ns.len != 0)
        return pin_of(cache, GROUP_NAMESPACE, 0, watch->ns);
    return pin_of(cache, GROUP_ALL, 0, slice_str(""));
}

void kube__group_join(struct kube_watch *watch)
{
    struct arena *scratch = &watch->cache->store->scratch;
    struct pin pin = best_pin(watch, scratch);

    watch->group = find_or_add(&watch->cache->groups, &pin);
    watch->group->count++;
    list_remove(&watch->link);
    list_push_back(&watch->group->watches, &watch->link);
    arena_reset(scratch);
}

void kube__group_leave(struct kube_watch *watch)
{
    struct kube__group *group = watch->group;

    if (group == NULL)
        return;
    list_remove(&watch->link);
    watch->group = NULL;
    if (--group->count == 0)
        drop(&watch->cache->groups, group);
}

/* ---- whom an event concerns ---- */

static void collect(const struct kube__groups *groups, struct pin pin, struct list *todo)
{
    struct kube__group **group = find(groups, &pin);

    if (group != NULL && *group != NULL)
        list_splice(todo, &(*group)->watches);
}

static void collect_fields(const struct kube__groups *groups, const struct kube_cache *cache,
                           const struct kube_object *object, struct list *todo)
{
    if (object == NULL)
        return;
    for (size_t i = 0; i < object->field_count; i++)
        collect(groups, pin_of(cache, GROUP_FIELD, i, kube__object_field(object, i)), todo);
}

void kube__groups_collect(struct kube_cache *cache, const struct kube__event *event,
                          struct list *todo)
{
    const struct kube__groups *groups = &cache->groups;
    const struct kube_object *object = event->object;

    collect(groups, pin_of(cache, GROUP_ALL, 0, slice_str("")), todo);
    if (groups->of_kind[GROUP_NAMESPACE] != 0)
        collect(groups, pin_of(cache, GROUP_NAMESPACE, 0, kube_object_namespace(object)), todo);
    if (groups->of_kind[GROUP_KEY] != 0)
        collect(groups, pin_of(cache, GROUP_KEY, 0, kube__object_key(object)), todo);
    if (groups->of_kind[GROUP_NAME] != 0)
        collect(groups, pin_of(cache, GROUP_NAME, 0, kube_object_name(object)), todo);
    if (groups->of_kind[GROUP_FIELD] != 0) {
        collect_fields(groups, cache, event->prev, todo);
        collect_fields(groups, cache, object, todo);
    }
}
