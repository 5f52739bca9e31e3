/* Protobuf messages from outside, made safe to unpack. protobuf-c recurses without limit and
 * allocates per element (faults.md section 6), so depth and element count are measured by walking
 * the bytes first; then the message is unpacked into an arena. Any thread. */
#ifndef KVD_SERVER_SCAN_H
#define KVD_SERVER_SCAN_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/slice.h"

enum {
    SCAN_DEPTH_MAX = 32, /* of messages in messages, the outermost counted */
    /* Fields in the whole message. A txn of 128 operations in both branches with every field set
     * has about 5,000; each costs at most some 150 bytes of heap. */
    SCAN_ELEMENTS_MAX = 65536,
};

/* 0 or KV_EPROTO: malformed, too deep or too many. Reads every byte of every sub-message that the
 * descriptor knows, once, without recursion deeper than SCAN_DEPTH_MAX and without memory. */
int scan_check(const ProtobufCMessageDescriptor *type, struct slice bytes);

/* scan_check() and unpack. *out lives in the arena and is never freed by itself. KV_EPROTO. */
int scan_unpack(const ProtobufCMessageDescriptor *type, struct slice bytes, struct arena *arena,
                ProtobufCMessage **out);

/* The same without limits, for bytes that this process has made. */
int scan_unpack_own(const ProtobufCMessageDescriptor *type, struct slice bytes, struct arena *arena,
                    ProtobufCMessage **out);

#endif
