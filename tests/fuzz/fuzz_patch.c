/* Object and patch, a NUL between them: all three patches of a Pod end in a tree that can be
 * written or in a status with a reason, and the object stays as it was. */
#include <string.h>

#include "kube/patch/patch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int rc, const struct kube_status *status, const struct json *out)
{
    struct buf buf;

    if (rc != 0) {
        ASSERT(status->code == rc && rc >= 400 && rc < 500 && status->message[0] != '\0');
        return;
    }
    buf_init(&buf, 64u << 20);
    ASSERT(json_write(&buf, out) == 0);
    buf_release(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size == 0 ? NULL : memchr(data, '\0', size);
    struct arena arena = ARENA_INIT;
    struct kube_status status;
    struct json *old, *kept, *patch, *out;
    size_t first;

    if (nul == NULL)
        return 0;
    first = (size_t)(nul - data);
    if (json_parse(&arena, slice_of(data, first), NULL, &old, NULL) == 0 &&
        json_parse(&arena, slice_of(nul + 1, size - first - 1), NULL, &patch, NULL) == 0 &&
        old->type == JSON_OBJECT) {
        kept = json_copy(&arena, old);
        check(kube_patch_json(&arena, old, patch, &out, &status), &status, out);
        check(kube_patch_merge(&arena, old, patch, &out, &status), &status, out);
        check(kube_patch_strategic(&arena, kube_struct_find("core/v1", "Pod"), old, patch, &out,
                                   &status),
              &status, out);
        ASSERT(json_same(old, kept));
    }
    arena_release(&arena);
    return 0;
}
