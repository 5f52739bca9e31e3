#include "server/scan.h"

#include "base/codec.h"
#include "base/err.h"

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* One message, and through it the ones inside. elements counts down over the whole tree. */
static int scan_message(const ProtobufCMessageDescriptor *type, struct slice bytes, int depth,
                        size_t *elements);

static int scan_field(const ProtobufCMessageDescriptor *type, struct reader *r, uint64_t tag,
                      int depth, size_t *elements)
{
    const ProtobufCFieldDescriptor *field;
    struct slice body;

    switch ((enum wire_type)(tag & 7)) {
    case WIRE_VARINT:
        (void)read_varint(r); /* only skipped */
        break;
    case WIRE_64:
        (void)read_bytes(r, 8); /* only skipped */
        break;
    case WIRE_32:
        (void)read_bytes(r, 4); /* only skipped */
        break;
    case WIRE_BYTES:
        body = read_bytes(r, (size_t)read_varint(r));
        field = protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
        if (!r->bad && field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE)
            return scan_message(field->descriptor, body, depth + 1, elements);
        break;
    default: /* groups are not proto3, and protobuf-c does not know them */
        return KV_EPROTO;
    }
    return r->bad ? KV_EPROTO : 0;
}

static int scan_message(const ProtobufCMessageDescriptor *type, struct slice bytes, int depth,
                        size_t *elements)
{
    struct reader r = reader_of(bytes);
    uint64_t tag;
    int rc;

    if (depth > SCAN_DEPTH_MAX)
        return KV_EPROTO;
    while (r.rest.len > 0) {
        if (*elements == 0)
            return KV_EPROTO;
        (*elements)--;

        tag = read_varint(&r);
        if (r.bad || tag >> 3 == 0 || tag > UINT32_MAX)
            return KV_EPROTO;
        rc = scan_field(type, &r, tag, depth, elements);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int scan_check(const ProtobufCMessageDescriptor *type, struct slice bytes)
{
    size_t elements = SCAN_ELEMENTS_MAX;

    return scan_message(type, bytes, 1, &elements);
}

static void *alloc_in_arena(void *ctx, size_t size)
{
    struct arena *arena = ctx;

    return arena_alloc(arena, size);
}

/* The arena frees everything at once. */
static void free_in_arena(void *ctx, void *ptr)
{
    (void)ctx;
    (void)ptr;
}

int scan_unpack_own(const ProtobufCMessageDescriptor *type, struct slice bytes, struct arena *arena,
                    ProtobufCMessage **out)
{
    ProtobufCAllocator allocator = {
        .alloc = alloc_in_arena, .free = free_in_arena, .allocator_data = arena};
    ProtobufCMessage *message;

    message = protobuf_c_message_unpack(type, &allocator, bytes.len, bytes.data);
    if (message == NULL)
        return KV_EPROTO;
    *out = message;
    return 0;
}

int scan_unpack(const ProtobufCMessageDescriptor *type, struct slice bytes, struct arena *arena,
                ProtobufCMessage **out)
{
    return scan_check(type, bytes) != 0 ? KV_EPROTO : scan_unpack_own(type, bytes, arena, out);
}
