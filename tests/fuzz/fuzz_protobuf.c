/* Bytes as an envelope and as a bare Pod: what is decoded is JSON, what is not gets a reason. */
#include "kube/codec/protobuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(struct arena *arena, const char *package, const char *name, struct slice raw)
{
    struct err err = ERR_INIT;
    struct json *value, *again;
    struct buf buf;

    if (kube_protobuf_decode(arena, kube_struct_find(package, name), raw, &value, &err) != 0) {
        ASSERT(err.text[0] != '\0');
        return;
    }
    buf_init(&buf, 64u << 20);
    ASSERT(json_write(&buf, value) == 0);
    ASSERT(json_parse(arena, buf_slice(&buf), NULL, &again, NULL) == 0);
    buf_release(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct slice body = slice_of(data, size);
    struct kube_envelope envelope;
    struct err err = ERR_INIT;

    if (!kube_is_protobuf(body))
        decode(&arena, "core/v1", "Pod", body);
    else if (kube_envelope_read(body, &envelope, &err) == 0)
        decode(&arena, "apps/v1", "Deployment", envelope.raw);
    else
        ASSERT(err.text[0] != '\0');
    arena_release(&arena);
    return 0;
}
