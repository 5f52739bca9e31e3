#include "base/codec.h"
#include "server/machine.h"

enum {
    COMMAND_HEAD_SIZE = 8 + 8 + 1, /* origin, ticket, kinds */
    AUTHOR_SHIFT = 6,              /* in the byte of the kinds */
};

static size_t author_size(const struct author *author)
{
    if (author->kind != AUTHOR_USER)
        return 0;
    return varint_size(author->revision) + varint_size(author->user.len) + author->user.len;
}

int command_encode(const struct command *command, struct buf *out)
{
    size_t rest = COMMAND_HEAD_SIZE + author_size(&command->author) + command->body.len;
    int rc;

    rc = buf_reserve(out, varint_size(rest) + rest);
    if (rc != 0)
        return rc;
    /* Cannot fail: the room is there. */
    (void)buf_append_varint(out, rest);
    (void)buf_append_le64(out, command->origin);
    (void)buf_append_le64(out, command->ticket);
    (void)buf_append_u8(
        out, (uint8_t)((unsigned)command->kind | (unsigned)command->author.kind << AUTHOR_SHIFT));
    if (command->author.kind == AUTHOR_USER) {
        (void)buf_append_varint(out, command->author.revision);
        (void)buf_append_varint(out, command->author.user.len);
        (void)buf_append(out, command->author.user.data, command->author.user.len);
    }
    (void)buf_append(out, command->body.data, command->body.len);
    return 0;
}

static void read_author(struct reader *r, enum author_kind kind, struct author *out)
{
    uint64_t len;

    *out = (struct author){.kind = kind};
    if (kind != AUTHOR_USER)
        return;
    out->revision = read_varint(r);
    len = read_varint(r);
    if (len > r->rest.len)
        r->bad = true;
    else
        out->user = read_bytes(r, (size_t)len);
}

int command_decode(struct slice *rest, struct command *out)
{
    struct reader r = reader_of(*rest), inner;
    struct command command;
    uint64_t len;
    uint8_t kinds;

    len = read_varint(&r);
    if (r.bad || len < COMMAND_HEAD_SIZE || len > r.rest.len)
        return KV_EPROTO;
    inner = reader_of(read_bytes(&r, (size_t)len));
    command.origin = read_le64(&inner);
    command.ticket = read_le64(&inner);
    kinds = read_u8(&inner);
    /* One that nobody knows is refused by machine_apply(). */
    command.kind = (enum command_kind)(kinds & COMMAND_KIND_MAX);
    read_author(&inner, (enum author_kind)(kinds >> AUTHOR_SHIFT), &command.author);
    if (inner.bad)
        return KV_EPROTO;
    command.body = inner.rest;
    command.term = 0;
    command.index = 0;
    *rest = r.rest;
    *out = command;
    return 0;
}
