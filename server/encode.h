/* Answers written by hand straight into the output: range, whose protobuf-c form would copy every
 * key and value once more, those that are only a header, and what comes often: keep-alives, events.
 * Exact size first, then the bytes; what they write is what protobuf-c would (fields ascending,
 * zero fields absent). Any thread. */
#ifndef KVD_SERVER_ENCODE_H
#define KVD_SERVER_ENCODE_H

#include <stdint.h>

#include "mvcc/mvcc.h"
#include "mvcc/watch.h"

/* ResponseHeader. */
struct encode_header {
    uint64_t cluster_id;
    uint64_t member_id;
    int64_t revision;
    uint64_t raft_term;
};

size_t encode_range_size(const struct encode_header *header,
                         const struct mvcc_range_result *result);
/* Writes exactly that many bytes and returns the end. */
uint8_t *encode_range(uint8_t *p, const struct encode_header *header,
                      const struct mvcc_range_result *result);

/* The parts of a RangeResponse, for who makes it in pieces (encode_range.h): a record, bytes [from,
 * from + len) of it; `more` and `count`; and what a RangeStreamResponse puts before body_size bytes
 * of RangeResponse. */
size_t encode_range_kv_size(const struct mvcc_kv *kv);
void encode_range_kv_part(uint8_t *p, const struct mvcc_kv *kv, size_t from, size_t len);
uint8_t *encode_range_end(uint8_t *p, bool more, int64_t count);
uint8_t *encode_stream_head(uint8_t *p, size_t body_size);

/* An answer that is nothing but its header: put and compact. */
size_t encode_empty_size(const struct encode_header *header);
uint8_t *encode_empty(uint8_t *p, const struct encode_header *header);

/* LeaseKeepAliveResponse. */
size_t encode_keep_alive_size(const struct encode_header *header, int64_t id, int64_t ttl);
uint8_t *encode_keep_alive(uint8_t *p, const struct encode_header *header, int64_t id, int64_t ttl);

/* One event as it stands in a WatchResponse, tag included. */
size_t encode_event_size(const struct watch_event *event);
uint8_t *encode_event(uint8_t *p, const struct watch_event *event);

/* What those bytes say, for who takes events inside the member. Slices point into them. */
struct encoded_event {
    bool is_delete;
    struct slice kv; /* the KeyValue message */
    struct slice key;
    int64_t create_revision; /* 0 of a deletion */
    int64_t mod_revision;
    int64_t prev_create_revision; /* 0: no prev_kv */
};

void decode_event(struct slice bytes, struct encoded_event *out);

/* A LeaderResponse (v3election.proto): a header and a KeyValue that is encoded already. */
size_t encode_leader_size(const struct encode_header *header, struct slice kv);
uint8_t *encode_leader(uint8_t *p, const struct encode_header *header, struct slice kv);
/* The same with one from the keyspace. */
size_t encode_leader_kv_size(const struct encode_header *header, const struct mvcc_kv *kv);
uint8_t *encode_leader_kv(uint8_t *p, const struct encode_header *header, const struct mvcc_kv *kv);

/* A WatchResponse with events; they are encoded already. */
struct encode_watch {
    int64_t watch_id;
    bool fragment;
    const struct slice *events;
    size_t count;
    size_t bytes; /* of all events */
};

size_t encode_watch_size(const struct encode_header *header, const struct encode_watch *watch);
/* Takes the next part off *rest: all of it if it is below size_max bytes or a single event, else as
 * many events, at least one, as leave an answer below that; all parts but the last are marked.
 * False: nothing is left. */
bool encode_watch_fragment(const struct encode_header *header, struct encode_watch *rest,
                           size_t size_max, struct encode_watch *part);
uint8_t *encode_watch(uint8_t *p, const struct encode_header *header,
                      const struct encode_watch *watch);

#endif
