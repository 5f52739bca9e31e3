#include "base/codec.h"
#include "server/machine.h"

enum { COMMAND_HEAD_SIZE = 8 + 8 + 1 }; /* origin, ticket, kind */

int command_encode(const struct command *command, struct buf *out)
{
    size_t rest = COMMAND_HEAD_SIZE + command->body.len;
    int rc;

    rc = buf_reserve(out, varint_size(rest) + rest);
    if (rc != 0)
        return rc;
    /* Cannot fail: the room is there. */
    (void)buf_append_varint(out, rest);
    (void)buf_append_le64(out, command->origin);
    (void)buf_append_le64(out, command->ticket);
    (void)buf_append_u8(out, (uint8_t)command->kind);
    (void)buf_append(out, command->body.data, command->body.len);
    return 0;
}

int command_decode(struct slice *rest, struct command *out)
{
    struct reader r = reader_of(*rest);
    struct command command;
    uint64_t len;
    uint8_t kind;

    len = read_varint(&r);
    if (r.bad || len < COMMAND_HEAD_SIZE || len > r.rest.len)
        return KV_EPROTO;
    command.origin = read_le64(&r);
    command.ticket = read_le64(&r);
    kind = read_u8(&r);
    command.kind = (enum command_kind)kind; /* one nobody knows is refused by machine_apply() */
    command.body = read_bytes(&r, (size_t)len - COMMAND_HEAD_SIZE);
    *rest = r.rest;
    *out = command;
    return 0;
}
