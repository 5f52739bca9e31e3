#include "raft/wire.h"

#include <stdlib.h>

#include "base/codec.h"
#include "base/mem.h"
#include "base/util.h"

/* Every frame: type u8, then
 *
 *   APPEND        term u64, prev_index u64, prev_term u64, commit u64, lead_index u64, count u32,
 *                 then per entry: term u64, type u8, length u32, bytes
 *   APPEND_RESULT term u64, rejected u64, last_index u64
 *   VOTE          flags u8 (1 disrupt leader, 2 pre-vote), term u64, candidate u64,
 *                 last_index u64, last_term u64
 *   VOTE_RESULT   flags u8 (1 granted, 2 pre-vote), term u64
 *   INSTALL       term u64, index u64, index_term u64, configuration_index u64, configuration to
 *                 the end
 *   TIMEOUT_NOW   term u64, last_index u64, last_term u64
 *   COMMIT        term u64, index u64, index_term u64
 *   PROBE(_ACK)   term u64, round u64
 *   FORWARD       term u64, session u64, seq u64, after u64, commands to the end
 *   FORWARD_ACK   term u64, session u64, seq u64
 *   READ          session u64, seq u64
 *   READ_OK       session u64, seq u64, index u64
 *   ASK, ANSWER   term u64, session u64, bytes to the end
 *
 * libraft's message versions and its capacity field are not sent: the hello fixes the versions, and
 * no capacity threshold is set. */
enum {
    ENTRY_HEADER_SIZE = 8 + 1 + 4,
    APPEND_COMMIT_AT = 1 + 3 * 8, /* patched when the frame's last entry is known */
    APPEND_COUNT_AT = 1 + 5 * 8,
    /* What libraft 0.22 puts into votes and results; a lower one switches checks off. */
    MESSAGE_VERSION = 2,
    FLAG_FIRST = 1, /* disrupt leader, or granted */
    FLAG_PRE_VOTE = 2,
};

/* ---- decoding ---- */

static int decode_append(struct reader *in, struct wire_append *out, struct err *err)
{
    uint32_t count;

    out->term = read_le64(in);
    out->prev_index = read_le64(in);
    out->prev_term = read_le64(in);
    out->commit = read_le64(in);
    out->lead_index = read_le64(in);
    count = read_le32(in);
    if (in->bad)
        return err_set(err, KV_EPROTO, "append: cut short");
    if (count > WIRE_ENTRIES_MAX || count > in->rest.len / ENTRY_HEADER_SIZE)
        return err_set(err, KV_EPROTO, "append: %u entries in %zu bytes", count, in->rest.len);

    if (count > 0)
        out->entries = xcalloc(count, sizeof(*out->entries));
    out->count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct wire_entry *entry = &out->entries[i];

        entry->term = read_le64(in);
        entry->type = read_u8(in);
        entry->data = read_bytes(in, read_le32(in));
        if (entry->data.len > WIRE_ENTRY_SIZE_MAX)
            return err_set(err, KV_EPROTO, "append: entry of %zu bytes", entry->data.len);
        if (!in->bad && entry->type == RAFT_CHANGE &&
            wire_check_configuration(entry->data, err) != 0)
            return KV_EPROTO;
    }
    return 0;
}

static void decode_vote(struct reader *in, struct raft_request_vote *out)
{
    uint8_t flags = read_u8(in);

    out->version = MESSAGE_VERSION;
    out->disrupt_leader = (flags & FLAG_FIRST) != 0;
    out->pre_vote = (flags & FLAG_PRE_VOTE) != 0;
    out->term = read_le64(in);
    out->candidate_id = read_le64(in);
    out->last_log_index = read_le64(in);
    out->last_log_term = read_le64(in);
}

static void decode_vote_result(struct reader *in, struct raft_request_vote_result *out)
{
    uint8_t flags = read_u8(in);

    out->version = MESSAGE_VERSION;
    out->vote_granted = (flags & FLAG_FIRST) != 0;
    out->pre_vote = (flags & FLAG_PRE_VOTE) != 0;
    out->term = read_le64(in);
}

static void decode_append_result(struct reader *in, struct raft_append_entries_result *out)
{
    out->version = MESSAGE_VERSION;
    out->term = read_le64(in);
    out->rejected = read_le64(in);
    out->last_log_index = read_le64(in);
}

static int decode_install(struct reader *in, struct wire_install *out, struct err *err)
{
    out->term = read_le64(in);
    out->index = read_le64(in);
    out->index_term = read_le64(in);
    out->configuration_index = read_le64(in);
    out->configuration = read_bytes(in, in->rest.len);
    if (in->bad)
        return err_set(err, KV_EPROTO, "install: cut short");
    return wire_check_configuration(out->configuration, err);
}

static void decode_timeout_now(struct reader *in, struct raft_timeout_now *out)
{
    out->term = read_le64(in);
    out->last_log_index = read_le64(in);
    out->last_log_term = read_le64(in);
}

static void decode_forward(struct reader *in, enum wire_type type, struct wire_forward *out)
{
    out->term = read_le64(in);
    out->session = read_le64(in);
    out->seq = read_le64(in);
    if (type == WIRE_FORWARD) {
        out->after = read_le64(in);
        out->commands = read_bytes(in, in->rest.len);
    }
}

static int decode_body(struct reader *in, struct wire_message *out, struct err *err)
{
    switch (out->type) {
    case WIRE_APPEND:
        return decode_append(in, &out->append, err);
    case WIRE_APPEND_RESULT:
        decode_append_result(in, &out->append_result);
        return 0;
    case WIRE_VOTE:
        decode_vote(in, &out->vote);
        return 0;
    case WIRE_VOTE_RESULT:
        decode_vote_result(in, &out->vote_result);
        return 0;
    case WIRE_INSTALL:
        return decode_install(in, &out->install, err);
    case WIRE_TIMEOUT_NOW:
        decode_timeout_now(in, &out->timeout_now);
        return 0;
    case WIRE_COMMIT:
        out->commit.term = read_le64(in);
        out->commit.index = read_le64(in);
        out->commit.index_term = read_le64(in);
        return 0;
    case WIRE_PROBE:
    case WIRE_PROBE_ACK:
        out->round.term = read_le64(in);
        out->round.round = read_le64(in);
        return 0;
    case WIRE_FORWARD:
    case WIRE_FORWARD_ACK:
        decode_forward(in, out->type, &out->forward);
        return 0;
    case WIRE_READ:
    case WIRE_READ_OK:
        out->read.session = read_le64(in);
        out->read.seq = read_le64(in);
        if (out->type == WIRE_READ_OK)
            out->read.index = read_le64(in);
        return 0;
    case WIRE_ASK:
    case WIRE_ANSWER:
        out->ask.term = read_le64(in);
        out->ask.session = read_le64(in);
        out->ask.bytes = read_bytes(in, in->rest.len);
        return 0;
    }
    return err_set(err, KV_EPROTO, "frame of unknown type %d", (int)out->type);
}

int wire_decode(struct slice frame, struct wire_message *out, struct err *err)
{
    struct reader in = reader_of(frame);
    int rc;

    memset(out, 0, sizeof(*out));
    out->type = read_u8(&in);
    rc = decode_body(&in, out, err);
    if (rc == 0 && (in.bad || in.rest.len > 0))
        rc = err_set(err, KV_EPROTO, "frame of type %d: %s", (int)out->type,
                     in.bad ? "cut short" : "bytes left over");
    if (rc != 0) {
        wire_release(out);
        memset(out, 0, sizeof(*out));
    }
    return rc;
}

void wire_release(struct wire_message *message)
{
    if (message->type == WIRE_APPEND)
        free(message->append.entries);
}

int wire_check_configuration(struct slice payload, struct err *err)
{
    struct reader in = reader_of(payload);
    uint64_t ids[WIRE_SERVERS_MAX];
    struct slice addresses[WIRE_SERVERS_MAX];
    uint64_t count;

    if (read_u8(&in) != 1)
        return err_set(err, KV_EPROTO, "configuration: unknown format");
    count = read_le64(&in);
    if (in.bad || count == 0 || count > WIRE_SERVERS_MAX)
        return err_set(err, KV_EPROTO, "configuration: %llu members", (unsigned long long)count);

    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *end;

        ids[i] = read_le64(&in);
        end = in.rest.len == 0 ? NULL : memchr(in.rest.data, 0, in.rest.len);
        if (end == NULL)
            return err_set(err, KV_EPROTO, "configuration: cut short");
        addresses[i] = read_bytes(&in, (size_t)(end - in.rest.data));
        (void)read_u8(&in); /* the NUL just found */
        if (read_u8(&in) > RAFT_SPARE || in.bad || ids[i] == 0 || addresses[i].len == 0)
            return err_set(err, KV_EPROTO, "configuration: member %llu is malformed",
                           (unsigned long long)i);
        for (uint64_t j = 0; j < i; j++)
            if (ids[j] == ids[i] || slice_eq(addresses[j], addresses[i]))
                return err_set(err, KV_EPROTO, "configuration: the same member twice");
    }
    /* Padded with zeros to a multiple of 8. */
    if (in.rest.len >= 8 || payload.len % 8 != 0)
        return err_set(err, KV_EPROTO, "configuration: bytes left over");
    return 0;
}

/* ---- encoding ---- */

/* Our own frames are bounded before they get here. */
static void must(int rc)
{
    ASSERT(rc == 0);
}

static void add_u8(struct buf *out, uint8_t value)
{
    must(buf_append_u8(out, value));
}

static void add_u64(struct buf *out, uint64_t value)
{
    must(buf_append_le64(out, value));
}

static void add_flags(struct buf *out, bool first, bool pre_vote)
{
    add_u8(out, (uint8_t)((first ? FLAG_FIRST : 0) | (pre_vote ? FLAG_PRE_VOTE : 0)));
}

static void encode_forward(struct buf *out, enum wire_type type, const struct wire_forward *forward)
{
    add_u64(out, forward->term);
    add_u64(out, forward->session);
    add_u64(out, forward->seq);
    if (type == WIRE_FORWARD) {
        add_u64(out, forward->after);
        if (forward->commands.len > 0)
            must(buf_append(out, forward->commands.data, forward->commands.len));
    }
}

static void encode_vote(struct buf *out, const struct raft_request_vote *vote)
{
    add_flags(out, vote->disrupt_leader, vote->pre_vote);
    add_u64(out, vote->term);
    add_u64(out, vote->candidate_id);
    add_u64(out, vote->last_log_index);
    add_u64(out, vote->last_log_term);
}

static void encode_three(struct buf *out, uint64_t a, uint64_t b, uint64_t c)
{
    add_u64(out, a);
    add_u64(out, b);
    add_u64(out, c);
}

void wire_encode(struct buf *out, const struct wire_message *message)
{
    if (message->type == WIRE_APPEND) {
        ASSERT(message->append.count == 0);
        wire_append_begin(out, &message->append);
        wire_append_end(out, 0, message->append.commit);
        return;
    }
    buf_reset(out);
    add_u8(out, (uint8_t)message->type);
    switch (message->type) {
    case WIRE_APPEND_RESULT:
        encode_three(out, message->append_result.term, message->append_result.rejected,
                     message->append_result.last_log_index);
        return;
    case WIRE_VOTE:
        encode_vote(out, &message->vote);
        return;
    case WIRE_VOTE_RESULT:
        add_flags(out, message->vote_result.vote_granted, message->vote_result.pre_vote);
        add_u64(out, message->vote_result.term);
        return;
    case WIRE_TIMEOUT_NOW:
        encode_three(out, message->timeout_now.term, message->timeout_now.last_log_index,
                     message->timeout_now.last_log_term);
        return;
    case WIRE_COMMIT:
        encode_three(out, message->commit.term, message->commit.index, message->commit.index_term);
        return;
    case WIRE_PROBE:
    case WIRE_PROBE_ACK:
        add_u64(out, message->round.term);
        add_u64(out, message->round.round);
        return;
    case WIRE_FORWARD:
    case WIRE_FORWARD_ACK:
        encode_forward(out, message->type, &message->forward);
        return;
    case WIRE_READ:
    case WIRE_READ_OK:
        add_u64(out, message->read.session);
        add_u64(out, message->read.seq);
        if (message->type == WIRE_READ_OK)
            add_u64(out, message->read.index);
        return;
    case WIRE_ASK:
    case WIRE_ANSWER:
        add_u64(out, message->ask.term);
        add_u64(out, message->ask.session);
        if (message->ask.bytes.len > 0)
            must(buf_append(out, message->ask.bytes.data, message->ask.bytes.len));
        return;
    case WIRE_INSTALL:
        add_u64(out, message->install.term);
        encode_three(out, message->install.index, message->install.index_term,
                     message->install.configuration_index);
        must(buf_append(out, message->install.configuration.data,
                        message->install.configuration.len));
        return;
    case WIRE_APPEND:
        break;
    }
    ASSERT(!"a frame that is never sent");
}

void wire_append_begin(struct buf *out, const struct wire_append *append)
{
    buf_reset(out);
    add_u8(out, WIRE_APPEND);
    add_u64(out, append->term);
    add_u64(out, append->prev_index);
    add_u64(out, append->prev_term);
    add_u64(out, append->commit);
    add_u64(out, append->lead_index);
    must(buf_append_le32(out, 0));
}

void wire_append_entry(struct buf *out, uint64_t term, uint8_t type, struct slice data)
{
    add_u64(out, term);
    add_u8(out, type);
    must(buf_append_le32(out, (uint32_t)data.len));
    if (data.len > 0)
        must(buf_append(out, data.data, data.len));
}

void wire_append_end(struct buf *out, unsigned count, uint64_t commit)
{
    put_le64(out->data + APPEND_COMMIT_AT, commit);
    put_le32(out->data + APPEND_COUNT_AT, count);
}

size_t wire_entry_size(struct slice data)
{
    return ENTRY_HEADER_SIZE + data.len;
}
