/* Frames between members, and what they mean: libraft's messages and our own beside them. Explicit
 * little-endian; the layouts stand in wire.c, one table per frame. Decoding trusts nothing: every
 * length and count is bounded by what is really there. Whether the numbers make sense is for
 * guard_validate(). The version of all this is the one of the hello (raft/peers.h). */
#ifndef KVD_RAFT_WIRE_H
#define KVD_RAFT_WIRE_H

#include <raft.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "wal/wal.h"

enum {
    WIRE_ENTRY_SIZE_MAX = WAL_ENTRY_SIZE_MAX - (64 << 10),
    WIRE_FRAME_SIZE_MAX = WAL_ENTRY_SIZE_MAX + (64 << 10),
    WIRE_ENTRIES_MAX = 1024, /* in one frame; libraft sends at most its in-flight limit */
    WIRE_SERVERS_MAX = 64,   /* in one configuration */
};

enum wire_type {
    WIRE_APPEND = 1,
    WIRE_APPEND_RESULT = 2,
    WIRE_VOTE = 3,
    WIRE_VOTE_RESULT = 4,
    WIRE_INSTALL = 5, /* leader: go on from a checkpoint that you have */
    WIRE_TIMEOUT_NOW = 6,
    WIRE_COMMIT = 16,      /* leader: committed up to index, without waiting for a heartbeat */
    WIRE_PROBE = 17,       /* leader: is this still your term? */
    WIRE_PROBE_ACK = 18,   /* yes */
    WIRE_FORWARD = 19,     /* follower: commands for the leader's next entry */
    WIRE_FORWARD_ACK = 20, /* leader: taken, all up to seq */
    WIRE_READ = 21,        /* follower: which index must I have applied to read? */
    WIRE_READ_OK = 22,     /* leader: this one */
    WIRE_ASK = 23,         /* follower: questions for what runs above the leader */
    WIRE_ANSWER = 24,      /* leader: answers to some of them */
};

struct wire_entry {
    uint64_t term;
    uint8_t type;
    struct slice data; /* in the frame */
};

struct wire_append {
    uint64_t term;
    uint64_t prev_index, prev_term;
    uint64_t commit;
    uint64_t lead_index; /* the leader's last entry when it was elected in this term */
    struct wire_entry *entries;
    unsigned count;
};

/* The checkpoint itself has come by another way. */
struct wire_install {
    uint64_t term;
    uint64_t index, index_term;
    uint64_t configuration_index;
    struct slice configuration;
};

struct wire_commit {
    uint64_t term, index, index_term;
};

struct wire_round {
    uint64_t term, round;
};

struct wire_forward {
    uint64_t term;
    uint64_t session; /* life of the forwarding member */
    uint64_t seq;     /* of this frame, from 1 in each term */
    uint64_t after;   /* take it only if everything up to here was taken; 0 in an ack */
    struct slice commands;
};

struct wire_read {
    uint64_t session, seq;
    uint64_t index; /* of READ_OK */
};

struct wire_ask {
    uint64_t term;
    uint64_t session;   /* life of the asking member */
    struct slice bytes; /* mean something above only */
};

struct wire_message {
    enum wire_type type;
    union {
        struct wire_append append;
        struct raft_append_entries_result append_result;
        struct raft_request_vote vote;
        struct raft_request_vote_result vote_result;
        struct raft_timeout_now timeout_now;
        struct wire_install install;
        struct wire_commit commit;
        struct wire_round round;
        struct wire_forward forward;
        struct wire_read read;
        struct wire_ask ask;
    };
};

/* Slices in *out borrow from frame. KV_EPROTO: *out needs no release. */
int wire_decode(struct slice frame, struct wire_message *out, struct err *err);
/* Accepts a message that was never decoded, zeroed. */
void wire_release(struct wire_message *message);

/* Everything but WIRE_APPEND with entries. out is emptied first. */
void wire_encode(struct buf *out, const struct wire_message *message);
/* WIRE_APPEND in pieces: begin (entries and count of append are ignored), entries, end. */
void wire_append_begin(struct buf *out, const struct wire_append *append);
void wire_append_entry(struct buf *out, uint64_t term, uint8_t type, struct slice data);
void wire_append_end(struct buf *out, unsigned count, uint64_t commit);
/* Frame size of one more entry. */
size_t wire_entry_size(struct slice data);

/* A configuration as raft_configuration_encode() writes it, walked within its bounds: libraft's
 * decoder reads past the end of a short one. Entries from disk come through here too. KV_EPROTO. */
int wire_check_configuration(struct slice payload, struct err *err);

#endif
