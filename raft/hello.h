/* What members say to each other first on a connection, and how frames follow. Encoding only.
 *
 *     hello and answer, 56 bytes           frame
 *      0  magic "kvd-peer"                  0  le32: kind in the upper 2 bits, length below
 *      8  le32 protocol version             4  that many bytes
 *     12  le16 verdict; in a hello the lane: 0 raft's messages, 1 bulk, 2 only asks who the members
 *         are: no ids are needed, and the answer is followed by one frame that says it; 3 the same,
 *         and says that the member `from` has lost what it had stored
 *     14  le16 in a hello, the port on which who connects listens; 0: it does not say
 *     16  le64 cluster id
 *     24  le64 from, le64 to: member ids
 *     40  le64 incarnation: random, of the connecting process
 *     48  le64 attempt: counts its connections
 */
#ifndef KVD_RAFT_HELLO_H
#define KVD_RAFT_HELLO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum {
    HELLO_SIZE = 56,
    HELLO_VERSION = 3,
    HELLO_LANE_ASKS = 2,
    HELLO_LANE_LOST = 3,
    FRAME_HEADER_SIZE = 4
};

/* The answer to a hello. */
#define HELLO_VERDICT_MAP(X)                                                                       \
    X(HELLO_WELCOME, "welcome")                                                                    \
    X(HELLO_VERSION_DIFFERS, "it speaks another version of the peer protocol")                     \
    X(HELLO_OTHER_CLUSTER, "it belongs to another cluster")                                        \
    X(HELLO_OTHER_MEMBER, "the connection was meant for another member")                           \
    X(HELLO_UNKNOWN, "it is no member of this cluster")                                            \
    X(HELLO_STALE, "a newer connection of it is known")                                            \
    X(HELLO_OTHER_HOST, "its certificate is for another host than it comes from")                  \
    X(HELLO_REMOVED, "it was removed from the cluster")

enum hello_verdict {
#define X(name, text) name,
    HELLO_VERDICT_MAP(X)
#undef X
};

struct hello {
    uint32_t version;
    union {
        uint16_t verdict; /* of an answer */
        uint16_t lane;    /* of a hello */
    };
    uint16_t port;
    uint64_t cluster_id;
    uint64_t from, to;
    uint64_t incarnation;
    uint64_t attempt;
};

void hello_encode(const struct hello *hello, uint8_t out[HELLO_SIZE]);
/* False if the bytes (HELLO_SIZE of them) do not begin with our magic. Checks nothing else. */
bool hello_decode(const uint8_t *bytes, struct hello *out);
/* Why a hello was not welcome; some text for every number. */
const char *hello_verdict_text(uint32_t verdict);

/* FRAME_RAFT carries bytes of raft; the others are ours: a ping's 8 bytes come back in the pong;
 * alive (empty) says that bytes keep coming although no ping has got through them yet. */
enum frame_kind { FRAME_RAFT, FRAME_PING, FRAME_PONG, FRAME_ALIVE };
enum { FRAME_TOKEN_SIZE = 8 };

void frame_header_encode(enum frame_kind kind, size_t len, uint8_t out[FRAME_HEADER_SIZE]);
void frame_header_decode(const uint8_t *bytes, enum frame_kind *kind, size_t *len);

#endif
