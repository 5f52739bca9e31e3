/* A RangeResponse made piece by piece from a scan: the bytes that encode_range() would have made in
 * one go, however they are cut and whatever is written meanwhile. Loop thread, as the scan. */
#ifndef KVD_SERVER_ENCODE_RANGE_H
#define KVD_SERVER_ENCODE_RANGE_H

#include "mvcc/scan.h"
#include "server/encode.h"

enum { ENCODE_ENDS_MAX = 64 }; /* bytes before or behind the records */

/* One message under way; the scan gives its records and is measured as far as they go. */
struct range_encoder {
    struct mvcc_scan *scan;
    size_t size; /* of the message */
    size_t made;
    /* internal */
    uint8_t head[ENCODE_ENDS_MAX], tail[ENCODE_ENDS_MAX];
    size_t head_len, tail_len;
    size_t kv_size; /* on average */
    size_t kv_made; /* bytes of the next record that are made */
};

/* What the records of a message take, kvs being some of them. */
size_t range_encoder_measure(const struct mvcc_kv *kvs, size_t len);

/* For a message of `count` records that take kv_bytes. header NULL: it has neither header nor
 * `more` and `count`, as all messages of a stream but the last. */
struct range_encoding {
    size_t len;
    size_t kv_bytes;
    const struct encode_header *header;
    bool in_stream; /* a RangeStreamResponse */
};
void range_encoder_init(struct range_encoder *encoder, struct mvcc_scan *scan,
                        const struct range_encoding *encoding);
/* The next n bytes, at most what is left. */
void range_encoder_make(struct range_encoder *encoder, uint8_t *p, size_t n);

#endif
