/* A kind, a NUL and an object of it, perhaps another NUL and what it was before: normal form,
 * defaults, preparation and validation end in a tree or in a status with a reason, and what is
 * normal stays as it is. */
#include <string.h>

#include "kube/check/normal.h"
#include "kube/check/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct kube_resource *resource_of(struct slice kind)
{
    for (size_t i = 0; i < kube_resource_count(); i++) {
        if (slice_eq(slice_str(kube_resource_at(i)->kind), kind))
            return kube_resource_at(i);
    }
    return NULL;
}

/* Up to the next NUL, which is taken off *rest too. */
static struct slice next_part(struct slice *rest)
{
    const uint8_t *nul = rest->len == 0 ? NULL : memchr(rest->data, '\0', rest->len);
    size_t len = nul == NULL ? rest->len : (size_t)(nul - rest->data);
    struct slice part = slice_of(rest->data, len);
    size_t taken = len + (nul != NULL);

    *rest = slice_of(rest->data + taken, rest->len - taken);
    return part;
}

/* The normal form with defaults; NULL: refused. */
static struct json *taken(struct arena *arena, const struct kube_resource *resource,
                          struct slice text)
{
    struct json_duplicate *duplicates = NULL;
    struct json_parse_options options = {.duplicates = &duplicates};
    struct kube_complaints complaints = {NULL, 0};
    struct kube_status status = {0};
    struct json *in, *once = NULL, *twice = NULL;

    if (json_parse(arena, text, &options, &in, NULL) != 0)
        return NULL;
    if (kube_normalise(arena, resource, in, &complaints, &once, &status) != 0) {
        ASSERT(status.code == 400 && status.message[0] != '\0');
        return NULL;
    }
    kube_complain_of_duplicates(arena, duplicates, &complaints);
    ASSERT(kube_normalise(arena, resource, once, NULL, &twice, &status) == 0);
    kube_defaults(arena, resource, twice);
    return twice;
}

static void check(struct arena *arena, const struct kube_resource *resource, const struct json *old,
                  struct json *object)
{
    struct kube_status status = {0};
    int rc;

    kube_prepare(arena, resource, old, object);
    rc = kube_validate(arena, resource, old, object, &status);
    ASSERT(rc == 0 || (rc == 422 && status.causes != NULL && status.message[0] != '\0'));
    ASSERT(kube_normalise(arena, resource, object, NULL, &object, &status) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_of(data, size);
    const struct kube_resource *resource = resource_of(next_part(&rest));
    struct arena arena = ARENA_INIT;
    struct json *object, *old;

    if (resource == NULL)
        return 0;
    object = taken(&arena, resource, next_part(&rest));
    old = taken(&arena, resource, rest);
    if (object != NULL && old != NULL)
        check(&arena, resource, old, json_copy(&arena, object));
    if (object != NULL)
        check(&arena, resource, NULL, object);
    arena_release(&arena);
    return 0;
}
