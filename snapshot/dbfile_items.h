/* What stands in etcd's buckets: records, leases, alarms, revisions. Pure functions; slices borrow
 * from what they were read from. Parsers take untrusted bytes. */
#ifndef KVD_SNAPSHOT_DBFILE_ITEMS_H
#define KVD_SNAPSHOT_DBFILE_ITEMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* One change of one key: an item of the bucket "key". */
struct dbfile_record {
    int64_t main; /* revision; a put's mod_revision too */
    uint64_t sub; /* its number within the revision */
    bool is_tombstone;
    struct slice key;
    /* of a put: */
    struct slice value;
    int64_t create_revision, version, lease;
};

enum {
    DBFILE_REVISION_SIZE = 17,   /* main, '_', sub; big-endian, so that bytes sort as revisions */
    DBFILE_RECORD_KEY_SIZE = 18, /* and 't' for a tombstone */
};

void dbfile_revision_put(uint8_t *p, int64_t main, uint64_t sub);
/* False: the bytes are no revision. */
bool dbfile_revision_get(struct slice bytes, int64_t *main, uint64_t *sub);

/* Writes the key of the item and returns its length. */
size_t dbfile_record_key(const struct dbfile_record *record, uint8_t *p);
size_t dbfile_record_key_size(const struct dbfile_record *record);
/* The value, mvccpb.KeyValue: exactly the bytes that etcd stores and HashKV covers. Writes
 * _value_size() bytes. */
size_t dbfile_record_value_size(const struct dbfile_record *record);
void dbfile_record_value(const struct dbfile_record *record, uint8_t *p);
/* KV_ECORRUPT: no record, or key and value contradict each other. An empty value is one of etcd's
 * marks (restore --bump-revision), a put of the empty key, and is given out as such. */
int dbfile_record_parse(struct slice key, struct slice value, struct dbfile_record *out);

/* leasepb.Lease, in the bucket "lease" under the id, big-endian. */
struct dbfile_lease {
    int64_t id;
    int64_t ttl;           /* granted, seconds */
    int64_t remaining_ttl; /* 0: not known */
};

enum { DBFILE_LEASE_SIZE_MAX = 33 };

size_t dbfile_lease_value(const struct dbfile_lease *lease, uint8_t *p);
int dbfile_lease_parse(struct slice key, struct slice value, struct dbfile_lease *out);

/* etcdserverpb.AlarmMember: the key of an item of the bucket "alarm", whose value is empty. */
struct dbfile_alarm {
    uint64_t member;
    uint32_t type;
};

enum { DBFILE_ALARM_SIZE_MAX = 22 };

size_t dbfile_alarm_key(const struct dbfile_alarm *alarm, uint8_t *p);
int dbfile_alarm_parse(struct slice key, struct dbfile_alarm *out);

#endif
