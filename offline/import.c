/* Two walks over the file: what is small comes after the keys in it, but has to be known before
 * them; and so all of the file has been checked before anything is made of it. */
#include "offline/import.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "server/auth_store.h"
#include "server/machine_internal.h"
#include "snapshot/dbfile_items.h"

enum { MAJOR_VERSION = 3, COMPACT_SLICE = 1 << 16 };

struct import {
    const struct import_options *options;
    struct import_report *report;
    struct machine *machine;
    enum dbfile_bucket bucket;
    bool keys; /* the second walk */
    uint64_t bytes, total;
    int64_t last_main; /* of the records */
    int64_t scheduled, finished;
    bool leased; /* some key was put with a lease */
    struct err err;
};

static int bad(struct import *import, const char *what)
{
    return err_set(&import->err, KV_ECORRUPT, "the snapshot contradicts itself: %s", what);
}

/* ---- what is small ---- */

static int take_meta(struct import *import, struct slice key, struct slice value)
{
    struct import_report *report = import->report;
    uint64_t sub;
    int64_t *mark = NULL;

    if (slice_eq(key, slice_str("storageVersion")))
        (void)snprintf(report->storage_version, sizeof report->storage_version, "%.*s",
                       (int)MIN(value.len, 31), (const char *)value.data);
    if (slice_eq(key, slice_str("scheduledCompactRev")))
        mark = &import->scheduled;
    if (slice_eq(key, slice_str("finishedCompactRev")))
        mark = &import->finished;
    if (mark != NULL && !dbfile_revision_get(value, mark, &sub))
        return bad(import, "the mark of a compaction is no revision");
    return 0;
}

static int take_auth(struct import *import, struct slice key, struct slice value)
{
    struct auth_store *auth = import->machine->auth;

    if (slice_eq(key, slice_str("authEnabled")))
        auth->enabled = value.len == 1 && value.data[0] == 1;
    if (slice_eq(key, slice_str("authRevision"))) {
        if (value.len != sizeof(uint64_t) || get_be64(value.data) == 0)
            return bad(import, "the revision of authentication is none");
        auth->revision = get_be64(value.data);
    }
    return 0;
}

static int take_user(struct import *import, struct slice value)
{
    if (!auth_user_unpack(import->machine->auth, value))
        return bad(import, "a user that can not be");
    import->report->users++;
    return 0;
}

static int take_role(struct import *import, struct slice value)
{
    if (!auth_role_unpack(import->machine->auth, value))
        return bad(import, "a role that can not be");
    return 0;
}

static int take_lease(struct import *import, struct slice key, struct slice value)
{
    struct leases *leases = import->machine->leases;
    struct dbfile_lease lease;

    if (dbfile_lease_parse(key, value, &lease) != 0)
        return bad(import, "an item of bucket lease is no lease");
    lease.ttl = MAX(MIN(lease.ttl, LEASE_TTL_MAX), 1);
    if (leases_grant(leases, lease.id, lease.ttl, 0) != 0)
        return bad(import, "a lease that can not be");
    if (lease.remaining_ttl > 0) /* one above the TTL is none */
        (void)leases_checkpoint(
            leases, &(struct lease_checkpoint){
                        .id = lease.id,
                        .grant = leases_grant_number(leases, lease.id),
                        .remaining_ms = (uint64_t)MIN(lease.remaining_ttl, lease.ttl) * 1000});
    return 0;
}

static int take_alarm(struct import *import, struct slice key)
{
    struct dbfile_alarm alarm;

    if (dbfile_alarm_parse(key, &alarm) != 0)
        return bad(import, "an item of bucket alarm is no alarm");
    machine__raise_alarm(import->machine,
                         (struct machine_alarm){.member = alarm.member, .type = alarm.type});
    return 0;
}

/* ---- keys ---- */

static int take_record(struct import *import, struct slice key, struct slice value)
{
    struct dbfile_record record;
    struct mvcc_change change;

    if (dbfile_record_parse(key, value, &record) != 0)
        return bad(import, "an item of bucket key is no record");
    import->last_main = MAX(import->last_main, record.main);
    /* What etcd's --bump-revision leaves behind: it counts as a revision, and is no key. */
    if (record.key.len == 0 && !record.is_tombstone)
        return 0;
    change = (struct mvcc_change){
        .kv = {.key = record.key,
               .value = record.value,
               .create_revision = record.create_revision,
               .mod_revision = record.main,
               .version = record.version,
               .lease = record.lease},
        .sub = (uint32_t)record.sub,
        .is_tombstone = record.is_tombstone,
    };
    import->leased = import->leased || record.lease != 0;
    if (record.sub <= UINT32_MAX && mvcc_load(import->machine->mvcc, &change) == 0)
        return 0;
    return err_set(&import->err, KV_ECORRUPT,
                   "the snapshot contradicts itself: the change of revision %" PRId64
                   ", number %" PRIu64 ", does not follow from those before it",
                   record.main, record.sub);
}

/* ---- walks ---- */

static int on_bucket(void *ctx, struct slice name)
{
    ((struct import *)ctx)->bucket = dbfile_bucket_named(name);
    return 0;
}

static int show_progress(struct import *import, size_t bytes)
{
    const struct import_options *options = import->options;

    import->bytes += bytes;
    if (options->progress == NULL)
        return 0;
    return options->progress(options->ctx, import->bytes, import->total, &import->err);
}

static int on_item(void *ctx, struct slice key, struct slice value)
{
    struct import *import = ctx;
    int rc = show_progress(import, key.len + value.len);

    if (rc != 0 || import->keys != (import->bucket == DBFILE_KEY))
        return rc;
    switch (import->bucket) {
    case DBFILE_KEY:
        return take_record(import, key, value);
    case DBFILE_META:
        return take_meta(import, key, value);
    case DBFILE_LEASE:
        return take_lease(import, key, value);
    case DBFILE_ALARM:
        return take_alarm(import, key);
    case DBFILE_AUTH:
        return take_auth(import, key, value);
    case DBFILE_AUTH_USERS:
        return take_user(import, value);
    case DBFILE_AUTH_ROLES:
        return take_role(import, value);
    default:
        return 0; /* of the cluster that was: its members, version */
    }
}

static int walk(struct import *import, struct dbfile *file, bool keys, struct err *err)
{
    const struct dbfile_visitor visitor = {.bucket = on_bucket, .item = on_item, .ctx = import};
    int rc;

    import->bucket = DBFILE_BUCKET_COUNT;
    import->keys = keys;
    rc = dbfile_walk(file, &visitor, err);
    if (import->err.code != 0)
        *err = import->err;
    return rc;
}

static int check_version(const struct import_report *report, struct err *err)
{
    if (report->storage_version[0] == '\0' ||
        strtoul(report->storage_version, NULL, 10) == MAJOR_VERSION)
        return 0;
    return err_set(err, KV_EMISMATCH, "version \"%s\" is not supported", report->storage_version);
}

/* ---- the end ---- */

static void compact(struct mvcc *mvcc, int64_t revision)
{
    if (mvcc_compact(mvcc, revision) != 0)
        return; /* it is compacted there already */
    while (mvcc_compact_step(mvcc, COMPACT_SLICE))
        continue;
}

/* As etcd does when it starts on such a file: a compaction that was begun is done again. */
static int finish_keys(struct import *import, struct err *err)
{
    struct import_report *report = import->report;
    struct mvcc *mvcc = import->machine->mvcc;
    int64_t bump = import->options->bump_revision;

    report->file_revision =
        MAX(MAX(import->last_main, 1), MAX(import->finished, import->scheduled));
    if (bump > INT64_MAX / 2 - report->file_revision)
        return err_set(err, KV_EINVAL, "revision %" PRId64 " can not be raised by %" PRId64,
                       report->file_revision, bump);
    if (mvcc_load_end(mvcc, report->file_revision + bump, import->finished) != 0)
        return err_set(err, KV_ECORRUPT,
                       "the snapshot contradicts itself: changes of its keys, or its revisions, do "
                       "not follow from "
                       "each other");
    compact(mvcc, bump > 0 ? report->file_revision + bump : import->scheduled);
    report->revision = mvcc_revision(mvcc);
    report->compact_revision = mvcc_compact_revision(mvcc);
    report->keys = mvcc_key_count(mvcc);
    return 0;
}

static bool attach_key(void *ctx, const struct mvcc_kv *kv)
{
    struct import *import = ctx;
    struct leases *leases = import->machine->leases;

    if (kv->lease == LEASE_NONE)
        return true;
    if (!leases_known(leases, kv->lease)) {
        int rc = leases_grant(leases, kv->lease, LEASE_TTL_MAX, 0);

        ASSERT(rc == 0); /* any id but none will do, and it is new */
        import->report->orphans++;
    }
    leases_move(leases, kv->key, LEASE_NONE, kv->lease);
    return true;
}

static void finish_leases(struct import *import)
{
    const struct mvcc_span all = {.key = slice_of("", 1), .end = slice_of("", 1)};

    if (import->leased)
        (void)mvcc_each(import->machine->mvcc, all, attach_key, import); /* goes to the end */
    import->report->leases = leases_count(import->machine->leases);
    import->report->alarms = import->machine->alarm_count;
    import->report->auth_enabled = import->machine->auth->enabled;
}

int import_dbfile(struct dbfile *file, const struct import_options *options, struct machine **out,
                  struct import_report *report, struct err *err)
{
    struct import import = {.options = options,
                            .report = report,
                            .total = 2 * dbfile_size(file),
                            .scheduled = -1,
                            .finished = -1};
    int rc;

    *report = (struct import_report){.compact_revision = -1};
    /* The seed shapes the index in this process alone. */
    import.machine = machine_new(1, options->members, options->member_count);
    rc = walk(&import, file, false, err);
    if (rc == 0)
        rc = check_version(report, err);
    if (rc == 0)
        rc = walk(&import, file, true, err);
    if (rc == 0)
        rc = finish_keys(&import, err);
    if (rc != 0) {
        machine_free(import.machine);
        return rc;
    }
    finish_leases(&import);
    *out = import.machine;
    return 0;
}
