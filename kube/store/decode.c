/* Values that others have stored: a real kube-apiserver's protobuf, JSON of another form. */
#include <string.h>

#include "kube/check/normal.h"
#include "kube/codec/convert.h"
#include "kube/codec/protobuf.h"
#include "kube/store/internal.h"

enum { TEXT_MAX = 256 << 20 }; /* protobuf grows when it becomes JSON */

/* A stored object, and as what it was stored: another version's view may be it. */
struct stored {
    const struct kube_resource *as;
    struct json *object;
};

/* "apps/v1" and a kind; what is not known is taken for what it should be. */
static const struct kube_resource *stored_as(const struct kube_resource *resource,
                                             struct slice api_version, struct slice kind)
{
    const uint8_t *slash =
        api_version.len == 0 ? NULL : memchr(api_version.data, '/', api_version.len);
    size_t group = slash == NULL ? 0 : (size_t)(slash - api_version.data);
    size_t skip = slash == NULL ? 0 : group + 1;
    const struct kube_resource *found =
        kube_resource_of_kind(slice_of(api_version.data, group),
                              slice_of(api_version.data + skip, api_version.len - skip), kind);

    return found != NULL && found->stored_as == resource ? found : resource;
}

static int read_json(struct arena *arena, const struct kube_resource *resource, struct slice text,
                     struct stored *out, struct err *err)
{
    struct json_error error;

    if (json_parse(arena, text, NULL, &out->object, &error) != 0)
        return err_set(err, KV_ECORRUPT, "it is neither JSON (%s) nor a kube-apiserver's protobuf",
                       error.text);
    out->as = stored_as(resource, json_text_at(out->object, "apiVersion"),
                        json_text_at(out->object, "kind"));
    return 0;
}

static int read_any(struct arena *arena, const struct kube_resource *resource, struct slice value,
                    struct stored *out, struct err *err)
{
    struct kube_envelope envelope;
    int rc;

    if (!kube_is_protobuf(value))
        return read_json(arena, resource, value, out, err);
    rc = kube_envelope_read(value, &envelope, err);
    if (rc != 0)
        return rc;
    out->as = stored_as(resource, envelope.api_version, envelope.kind);
    if (envelope.content_type.len != 0 || out->as->type == NULL)
        return read_json(arena, resource, envelope.raw, out, err);
    return kube_protobuf_decode(arena, out->as->type, envelope.raw, &out->object, err);
}

static void put_first(struct arena *arena, struct json *object, const char *key, const char *text)
{
    (void)json_remove(object, key);
    (void)json_set_first(object, key, json_new_cstring(arena, text));
}

static int normalise(struct arena *arena, const struct kube_resource *resource,
                     const struct stored *in, struct json **out, struct err *err)
{
    struct kube_status status = {0};
    char *version = arena_alloc(arena, 128);
    struct json *metadata;

    if (!json_is(in->object, JSON_OBJECT))
        return err_set(err, KV_ECORRUPT, "it is no JSON object");
    if (kube_normalise(arena, in->as, in->object, NULL, out, &status) != 0)
        return err_set(err, KV_ECORRUPT, "%s", status.message);
    *out = kube_convert(arena, in->as, resource, *out);
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
    struct stored stored = {0};
    struct json *object = NULL;
    struct buf text;
    int rc = read_any(arena, resource, value, &stored, err);

    if (rc == 0)
        rc = normalise(arena, resource, &stored, &object, err);
    if (rc != 0)
        return err->code = KV_ECORRUPT;
    buf_init(&text, TEXT_MAX);
    rc = json_write(&text, object);
    if (rc == 0)
        *out = arena_copy(arena, buf_slice(&text));
    else
        (void)err_set(err, KV_ECORRUPT, "it is larger than an object can be");
    buf_release(&text);
    return rc == 0 ? 0 : KV_ECORRUPT;
}
