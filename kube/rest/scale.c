/* /scale: an object's replicas as an autoscaling/v1 Scale. */
#include <stdlib.h>
#include <string.h>

#include "kube/rest/internal.h"
#include "kube/rest/special.h"

/* ---- a selector as text ---- */

static int by_key(const void *a, const void *b)
{
    const struct json *x = *(struct json *const *)a, *y = *(struct json *const *)b;

    return slice_cmp(slice_of(x->key, x->key_len), slice_of(y->key, y->key_len));
}

static void write_labels(struct arena *arena, const struct json *labels, struct buf *out)
{
    struct json **sorted;
    size_t count = 0;

    if (!json_is(labels, JSON_OBJECT) || labels->count == 0)
        return;
    sorted = arena_alloc(arena, labels->count * sizeof *sorted);
    json_each(label, labels) sorted[count++] = label;
    qsort(sorted, count, sizeof *sorted, by_key);
    for (size_t i = 0; i < count; i++)
        (void)buf_printf(out, "%s%.*s=%.*s", out->len > 0 ? "," : "", (int)sorted[i]->key_len,
                         sorted[i]->key, REST_TEXT(json_text(sorted[i])));
}

static void write_expression(const struct json *expression, struct buf *out)
{
    struct slice key = json_text(json_get(expression, "key"));
    const struct json *operator= json_get(expression, "operator");
    bool first = true;

    (void)buf_printf(out, "%s%s%.*s", out->len > 0 ? "," : "",
                     json_equals(operator, "DoesNotExist") ? "!" : "", REST_TEXT(key));
    if (!json_equals(operator, "In") && !json_equals(operator, "NotIn"))
        return;
    (void)buf_printf(out, " %s (", json_equals(operator, "In") ? "in" : "notin");
    json_each(value, json_get(expression, "values"))
    {
        (void)buf_printf(out, "%s%.*s", first ? "" : ",", REST_TEXT(json_text(value)));
        first = false;
    }
    (void)buf_append_u8(out, ')');
}

struct slice rest_selector_text(struct arena *arena, const struct json *selector)
{
    bool structured =
        json_get(selector, "matchLabels") != NULL || json_get(selector, "matchExpressions") != NULL;
    struct slice text;
    struct buf out;

    buf_init(&out, 1 << 20);
    write_labels(arena, structured ? json_get(selector, "matchLabels") : selector, &out);
    if (structured)
        json_each(item, json_get(selector, "matchExpressions")) write_expression(item, &out);
    text = arena_copy(arena, buf_slice(&out));
    buf_release(&out);
    return text;
}

/* ---- the view ---- */

static struct json *scale_of(struct arena *arena, const struct json *object)
{
    static const char *const copied[] = {"name", "namespace", "uid", "resourceVersion",
                                         "creationTimestamp"};
    struct json *scale = json_new(arena, JSON_OBJECT);
    struct json *metadata, *spec, *status;
    int64_t wanted = 0, running = 0;

    (void)json_set(scale, "kind", json_new_cstring(arena, "Scale"));
    (void)json_set(scale, "apiVersion", json_new_cstring(arena, "autoscaling/v1"));
    metadata = rest_metadata(arena, scale);
    for (size_t i = 0; i < ARRAY_LEN(copied); i++)
        if (rest_meta(object, copied[i]).len > 0)
            (void)json_set(metadata, copied[i],
                           json_new_string(arena, rest_meta(object, copied[i])));
    (void)json_int(json_at(object, "spec.replicas"), &wanted);
    (void)json_int(json_at(object, "status.replicas"), &running);
    spec = json_set_object(arena, scale, "spec");
    if (wanted != 0)
        (void)json_set(spec, "replicas", json_new_int(arena, wanted));
    status = json_set_object(arena, scale, "status");
    (void)json_set(status, "replicas", json_new_int(arena, running));
    if (json_at(object, "spec.selector") != NULL)
        (void)json_set(
            status, "selector",
            json_new_string(arena, rest_selector_text(arena, json_at(object, "spec.selector"))));
    return scale;
}

/* ---- reading ---- */

static void on_got(struct kube_op *op)
{
    struct rest *rest = CONTAINER_OF(op, struct rest, op);

    rest_hold(rest, op->object);
    if (op->status.code != 0)
        rest_fail_status(rest, &op->status);
    else
        rest_reply_json(
            rest, 200,
            scale_of(rest->arena, rest_object_json(rest->arena, rest->resource, op->object)));
}

static void get(struct rest *rest)
{
    enum kube_freshness freshness;
    int64_t revision;

    if (rest_freshness(rest, &freshness, &revision) != 0)
        rest_fail(rest);
    else
        kube_get(rest->api->store, &rest->op, rest->arena, rest->resource, rest_ns(rest),
                 rest->info.name, freshness, revision, on_got);
}

/* ---- writing ---- */

static int check_replicas(struct rest *rest, int64_t replicas)
{
    struct kube_issues issues = {0};

    if (replicas >= 0)
        return 0;
    kube_issues_add(&issues, rest->arena, "Invalid", "spec.replicas",
                    "Invalid value: %lld: must be greater than or equal to 0", (long long)replicas);
    return kube_status_invalid(&rest->status, rest->arena, "autoscaling", "Scale", rest->info.name,
                               &issues);
}

/* The object as the Scale wants it; the Scale's uid and resourceVersion are its preconditions. */
static int apply(struct rest *rest, const struct json *scale, const struct json *old,
                 struct json **out)
{
    struct arena *arena = rest->arena;
    int64_t replicas = 0;
    int code;

    (void)json_int(json_at(scale, "spec.replicas"), &replicas);
    code = rest_check_name(rest, scale);
    if (code == 0)
        code = check_replicas(rest, replicas);
    if (code != 0)
        return code;
    *out = json_copy(arena, old);
    (void)json_set(json_set_object(arena, *out, "spec"), "replicas", json_new_int(arena, replicas));
    rest_keep_meta(arena, *out, scale, "uid");
    rest_keep_meta(arena, *out, scale, "resourceVersion");
    return 0;
}

static int make_of_body(struct rest *rest, struct rest_change *change, const struct json *old,
                        struct json **out)
{
    return apply(rest, change->body, old, out);
}

static int make_of_patch(struct rest *rest, struct rest_change *change, const struct json *old,
                         struct json **out)
{
    const struct kube_struct *type = kube_struct_find("autoscaling/v1", "Scale");
    struct json *scale = scale_of(rest->arena, old), *patched;
    int code;

    (void)json_remove(rest_metadata(rest->arena, scale), "resourceVersion");
    code = rest_apply_patch(rest, change, type, scale, &patched);
    if (code == 0)
        code = kube_normalise_struct(rest->arena, type, "Scale", patched, NULL, &patched,
                                     &rest->status);
    return code != 0 ? code : apply(rest, patched, old, out);
}

static void changed(struct rest *rest, struct rest_change *change)
{
    rest_reply_json(rest, 200, scale_of(rest->arena, change->tree));
}

void rest_scale(struct rest *rest)
{
    struct rest_change *change = arena_calloc(rest->arena, sizeof *change);
    bool patches = rest->info.verb == REST_PATCH;
    int code;

    if (rest->info.verb == REST_GET) {
        get(rest);
        return;
    }
    change->part = REST_SCALE;
    change->make = patches ? make_of_patch : make_of_body;
    change->changed = changed;
    code =
        rest_write_options(rest, patches ? "PatchOptions" : "UpdateOptions", &change->validation);
    if (code == 0 && patches)
        code = rest_read_patch(rest, change);
    if (code == 0 && !patches)
        code = rest_read_struct(rest, "autoscaling/v1", "Scale", &change->body);
    if (code == 0 && change->body == NULL)
        code = kube_status_bad_request(&rest->status, rest->arena, "the body is empty");
    if (code != 0)
        rest_fail(rest);
    else
        rest_change(rest, change);
}
