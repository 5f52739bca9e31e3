/* Values that others have stored: a real kube-apiserver's protobuf, JSON of another form. */
#include <string.h>

#include "kube/check/normal.h"
#include "kube/codec/protobuf.h"
#include "kube/store/internal.h"

static int read_protobuf(struct arena *arena, const struct kube_resource *resource,
                         struct slice value, struct json **out, struct err *err)
{
    struct kube_envelope envelope;
    struct json_error error;
    int rc = kube_envelope_read(value, &envelope, err);

    if (rc != 0)
        return rc;
    if (envelope.content_type.len == 0 && resource->type != NULL)
        return kube_protobuf_decode(arena, resource->type, envelope.raw, out, err);
    if (json_parse(arena, envelope.raw, NULL, out, &error) != 0)
        return err_set(err, KV_ECORRUPT, "its protobuf envelope holds no JSON: %s", error.text);
    return 0;
}

static int read_any(struct arena *arena, const struct kube_resource *resource, struct slice value,
                    struct json **out, struct err *err)
{
    struct json_error error;

    if (kube_is_protobuf(value))
        return read_protobuf(arena, resource, value, out, err);
    if (json_parse(arena, value, NULL, out, &error) != 0)
        return err_set(err, KV_ECORRUPT, "it is neither JSON (%s) nor a kube-apiserver's protobuf",
                       error.text);
    return 0;
}

static void put_first(struct arena *arena, struct json *object, const char *key, const char *text)
{
    (void)json_remove(object, key);
    (void)json_set_first(object, key, json_new_cstring(arena, text));
}

static int normalise(struct arena *arena, const struct kube_resource *resource,
                     const struct json *in, struct json **out, struct err *err)
{
    struct kube_status status = {0};
    char *version = arena_alloc(arena, 128);
    struct json *metadata;

    if (!json_is(in, JSON_OBJECT))
        return err_set(err, KV_ECORRUPT, "it is no JSON object");
    if (kube_normalise(arena, resource, in, NULL, out, &status) != 0)
        return err_set(err, KV_ECORRUPT, "%s", status.message);
    metadata = json_get(*out, "metadata");
    if (!json_is(metadata, JSON_OBJECT))
        return err_set(err, KV_ECORRUPT, "it has no metadata");
    (void)json_remove(metadata, "resourceVersion");
    (void)json_remove(*out, "metadata");
    (void)json_set_first(*out, "metadata", metadata);
    put_first(arena, *out, "apiVersion", kube_api_version(resource, version));
    put_first(arena, *out, "kind", resource->kind);
    return 0;
}

int kube__decode(struct arena *arena, const struct kube_resource *resource, struct slice value,
                 struct slice *out, struct err *err)
{
    struct json *stored = NULL, *object = NULL;
    struct buf text;
    int rc = read_any(arena, resource, value, &stored, err);

    if (rc == 0)
        rc = normalise(arena, resource, stored, &object, err);
    if (rc != 0)
        return err->code = KV_ECORRUPT;
    buf_init(&text, 64 * (size_t)KUBE__VALUE_MAX);
    rc = json_write(&text, object);
    if (rc == 0)
        *out = arena_copy(arena, buf_slice(&text));
    else
        (void)err_set(err, KV_ECORRUPT, "it is larger than an object can be");
    buf_release(&text);
    return rc == 0 ? 0 : KV_ECORRUPT;
}
