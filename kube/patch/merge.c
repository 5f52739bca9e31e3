#include "kube/patch/patch.h"

#include "kube/patch/internal.h"

static struct json *merged(struct arena *arena, const struct json *old, const struct json *patch);

/* RFC 7386, section 2: MergePatch(Target, Patch) for two objects; old NULL is an empty one. */
static struct json *merged_objects(struct arena *arena, const struct json *old,
                                   const struct json *patch)
{
    struct json *out = json_new(arena, JSON_OBJECT);
    struct json_index in_old, in_patch;

    json_index_init(&in_old, arena, old);
    json_index_init(&in_patch, arena, patch);
    json_each(member, old)
    {
        struct slice key = json_key(member);
        const struct json *change = json_index_get(&in_patch, key);

        if (change == NULL)
            json_add(out, key, json_clone(arena, member));
        else if (change->type != JSON_NULL)
            json_add(out, key, merged(arena, member, change));
    }
    json_each(change, patch)
    {
        struct slice key = json_key(change);

        if (change->type != JSON_NULL && json_index_get(&in_old, key) == NULL)
            json_add(out, key, merged(arena, NULL, change));
    }
    return out;
}

/* Lists are taken as they are, but for members of their objects that are null: upstream's way. */
static struct json *merged(struct arena *arena, const struct json *old, const struct json *patch)
{
    struct json *out;

    if (patch->type == JSON_ARRAY) {
        out = json_new(arena, JSON_ARRAY);
        json_each(item, patch) json_append(out, merged(arena, NULL, item));
        return out;
    }
    if (patch->type != JSON_OBJECT)
        return json_clone(arena, patch);
    return merged_objects(arena, json_is(old, JSON_OBJECT) ? old : NULL, patch);
}

int kube_patch_merge(struct arena *arena, const struct json *old, const struct json *patch,
                     struct json **out, struct kube_status *status)
{
    if (patch->type == JSON_NULL)
        return kube_status_bad_request(status, arena, "Invalid JSON Patch");
    if (patch->type != JSON_OBJECT)
        return kube_patch__not_a_map(arena, patch, status);
    *status = (struct kube_status){0};
    *out = merged(arena, old, patch);
    return 0;
}
