/* What the server sets in an object's metadata. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "kube/codec/convert.h"
#include "kube/rest/internal.h"

const char *rest_print(struct arena *arena, const char *fmt, ...)
{
    va_list args, again;
    char *out;
    int len;

    va_start(args, fmt);
    va_copy(again, args);
    len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    out = arena_alloc(arena, (size_t)len + 1);
    (void)vsnprintf(out, (size_t)len + 1, fmt, args);
    va_end(args);
    return out;
}

/* RFC 9562 section 5.4. */
const char *rest_new_uid(struct rest *rest)
{
    uint64_t a = prng_next(&rest->api->prng), b = prng_next(&rest->api->prng);

    const uint64_t halves[] = {(a & ~0xf000ull) | 0x4000, (b & ~(3ull << 62)) | 2ull << 62};
    char *out = arena_alloc(rest->arena, 37);
    size_t len = 0;

    for (int digit = 0; digit < 32; digit++) { /* every answer has one: no printf() */
        if (digit == 8 || digit == 12 || digit == 16 || digit == 20)
            out[len++] = '-';
        out[len++] = "0123456789abcdef"[halves[digit / 16] >> (60 - digit % 16 * 4) & 0xf];
    }
    out[len] = '\0';
    return out;
}

static const char *time_text(struct arena *arena, time_t at)
{
    char *out = arena_alloc(arena, 32);
    struct tm parts;

    (void)gmtime_r(&at, &parts); /* years are within its range */
    (void)strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return out;
}

const char *rest_now(struct arena *arena)
{
    return time_text(arena, time(NULL));
}

const char *rest_time_after(struct arena *arena, int64_t seconds)
{
    return time_text(arena, time(NULL) + (time_t)seconds);
}

const char *rest_generate_name(struct rest *rest, struct slice base)
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    enum { NAME_MAX_LEN = 63, RANDOM = 5 };
    size_t len = MIN(base.len, (size_t)(NAME_MAX_LEN - RANDOM));
    char *name = arena_alloc(rest->arena, NAME_MAX_LEN + 1);

    memcpy(name, base.data, len);
    for (int i = 0; i < RANDOM; i++)
        name[len++] = alphabet[prng_between(&rest->api->prng, 0, sizeof alphabet - 2)];
    name[len] = '\0';
    return name;
}

struct json *rest_metadata(struct arena *arena, struct json *object)
{
    return json_set_object(arena, object, "metadata");
}

struct slice rest_meta(const struct json *object, const char *name)
{
    return json_text(json_get(json_get(object, "metadata"), name));
}

bool rest_has_finalizers(const struct json *object)
{
    const struct json *list = json_get(json_get(object, "metadata"), "finalizers");

    return json_is(list, JSON_ARRAY) && list->count > 0;
}

bool rest_is_deleting(const struct json *object)
{
    return rest_meta(object, "deletionTimestamp").len > 0;
}

void rest_keep_meta(struct arena *arena, struct json *object, const struct json *old,
                    const char *name)
{
    const struct json *kept = json_get(json_get(old, "metadata"), name);
    struct json *metadata = rest_metadata(arena, object);

    if (kept == NULL)
        (void)json_remove(metadata, name);
    else
        (void)json_set(metadata, name, json_copy(arena, kept));
}

void rest_raise_generation(struct arena *arena, const struct kube_resource *resource,
                           struct json *object, const struct json *old)
{
    int64_t generation = 0;

    if ((resource->flags & KUBE_HAS_GENERATION) == 0)
        return;
    (void)json_int(json_get(json_get(old, "metadata"), "generation"), &generation);
    (void)json_set(rest_metadata(arena, object), "generation", json_new_int(arena, generation + 1));
}

static bool is_beside_spec(const struct json *member)
{
    static const char *const names[] = {"metadata", "status", "kind", "apiVersion"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (slice_eq(slice_of(member->key, member->key_len), slice_str(names[i])))
            return true;
    return false;
}

/* Every member of a beside those has its equal in b. */
static bool covers(const struct json *a, const struct json *b)
{
    json_each(member, a)
    {
        const struct json *other;

        if (is_beside_spec(member))
            continue;
        other = json_get_slice(b, slice_of(member->key, member->key_len));
        if (other == NULL || !json_same(member, other))
            return false;
    }
    return true;
}

bool rest_same_spec(const struct json *a, const struct json *b)
{
    return covers(a, b) && covers(b, a);
}

void rest_set_version(struct arena *arena, struct json *object, int64_t revision)
{
    const char *text = rest_print(arena, "%lld", (long long)revision);

    (void)json_set(rest_metadata(arena, object), "resourceVersion", json_new_cstring(arena, text));
}

int rest_encode(struct rest *rest, const struct kube_resource *resource, const struct json *object,
                struct json **tree, struct slice *bytes)
{
    struct json *stored;
    struct buf out;
    int code = kube_normalise(rest->arena, resource, object, NULL, tree, &rest->status);

    if (code != 0)
        return code;
    (void)json_remove(rest_metadata(rest->arena, *tree), "resourceVersion");
    stored = kube_convert(rest->arena, resource, resource->stored_as, *tree);
    if (stored == NULL)
        return kube_status_bad_request(
            &rest->status, rest->arena, "%s of %s cannot be stored as %s of %s", resource->kind,
            resource->version, resource->stored_as->kind, resource->stored_as->version);
    buf_init(&out, 2 * KUBE_BODY_MAX);
    if (json_write(&out, stored) != 0)
        code = kube_status_set(&rest->status, rest->arena, 413, "RequestEntityTooLarge",
                               "Request entity too large: limit is %u", KUBE_BODY_MAX);
    else
        *bytes = arena_copy(rest->arena, buf_slice(&out));
    buf_release(&out);
    return code;
}

const char *rest_http_date(struct arena *arena, int64_t seconds)
{
    time_t at = time(NULL) + (time_t)seconds;
    char *out = arena_alloc(arena, 32);
    struct tm parts;

    (void)gmtime_r(&at, &parts); /* years are within its range */
    (void)strftime(out, 32, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    return out;
}
