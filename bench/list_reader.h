/* Reads a RangeResponse of any size as its bytes come, keeping none of them: a generator that held
 * sixteen lists of 54 MB would measure itself. Checks that the keys are 0, 1, 2, ... of the space.
 * Relies on the order of KeyValue's fields, key first, which every protobuf writer keeps. */
#ifndef KVD_BENCH_LIST_READER_H
#define KVD_BENCH_LIST_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "bench/keys.h"

enum { LIST_HEAD_MAX = KEY_SIZE_MAX + 8 /* of a KeyValue: its key and what stands before */ };

struct list_reader {
    const struct key_space *keys;
    bool wrapped;      /* RangeStreamResponse{1: RangeResponse} */
    uint64_t next;     /* number of the key that must come */
    uint64_t count;    /* as the server says */
    bool more;         /* as the server says */
    const char *wrong; /* the first thing that was */

    enum { LIST_TAG, LIST_VALUE, LIST_BODY } state;
    bool inside; /* the wrapper */
    uint64_t tag, varint;
    unsigned shift;
    uint64_t left;               /* of the body */
    uint8_t head[LIST_HEAD_MAX]; /* of the body */
    size_t head_len, head_size;
};

void list_reader_init(struct list_reader *reader, const struct key_space *keys, bool wrapped);
/* Bytes of a message; last: its end. */
void list_reader_feed(struct list_reader *reader, struct slice bytes, bool last);
/* NULL if all of the space has come and nothing was wrong. */
const char *list_reader_verdict(const struct list_reader *reader);

#endif
