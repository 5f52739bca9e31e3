#include "server/db_export.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/codec.h"
#include "base/mem.h"
#include "base/version.h"
#include "server/auth_store.h"
#include "snapshot/dbfile_items.h"
#include "snapshot/dbfile_write.h"

enum { MEMBER_KEY_SIZE = 17 }; /* 16 hex digits and the end of a string */

struct small_item {
    enum dbfile_bucket bucket;
    struct slice key, value;
};

struct db_export {
    struct arena arena; /* holds the small items' bytes */
    struct small_item *items;
    size_t item_count, item_cap;
    struct mvcc_history history;
    struct dbfile_writer *writer;
    struct buf *out; /* second pass */

    /* Where the pass is. */
    bool begun;
    bool is_over;
    enum dbfile_bucket bucket;
    size_t next_item;
};

/* ---- what is small ---- */

static void add(struct db_export *export, enum dbfile_bucket bucket, struct slice key,
                struct slice value)
{
    if (export->item_count == export->item_cap) {
        export->item_cap = MAX(2 * export->item_cap, (size_t)32);
        export->items = xrealloc(export->items, export->item_cap * sizeof *export->items);
    }
    export->items[export->item_count++] =
        (struct small_item){.bucket = bucket,
                            .key = arena_copy(&export->arena, key),
                            .value = arena_copy(&export->arena, value)};
}

static void add_text(struct db_export *export, enum dbfile_bucket bucket, const char *key,
                     const char *value)
{
    add(export, bucket, slice_str(key), slice_str(value));
}

static void add_number(struct db_export *export, enum dbfile_bucket bucket, const char *key,
                       uint64_t value)
{
    uint8_t bytes[sizeof value];

    put_be64(bytes, value);
    add(export, bucket, slice_str(key), slice_of(bytes, sizeof bytes));
}

static struct json_object *json_of_texts(char *const *texts, size_t count)
{
    struct json_object *array = json_object_new_array();

    for (size_t i = 0; i < count; i++)
        (void)json_object_array_add(array, json_object_new_string(texts[i]));
    return array;
}

/* The object goes. */
static void add_json(struct db_export *export, enum dbfile_bucket bucket, const char *key,
                     struct json_object *json)
{
    add_text(export, bucket, key,
             json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN |
                                                      JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(json);
}

static void add_member(struct db_export *export, const struct machine_member *member)
{
    struct json_object *json = json_object_new_object();
    char key[MEMBER_KEY_SIZE];

    (void)snprintf(key, sizeof key, "%" PRIx64, member->id);
    (void)json_object_object_add(json, "id", json_object_new_uint64(member->id));
    (void)json_object_object_add(json, "peerURLs",
                                 json_of_texts(member->peer_urls, member->peer_url_count));
    if (member->name[0] != '\0')
        (void)json_object_object_add(json, "name", json_object_new_string(member->name));
    if (member->learner)
        (void)json_object_object_add(json, "isLearner", json_object_new_boolean(true));
    if (member->client_url_count > 0)
        (void)json_object_object_add(json, "clientURLs",
                                     json_of_texts(member->client_urls, member->client_url_count));
    add_json(export, DBFILE_MEMBERS, key, json);
}

static void add_removed(struct db_export *export, uint64_t id)
{
    char key[MEMBER_KEY_SIZE];

    (void)snprintf(key, sizeof key, "%" PRIx64, id);
    add_text(export, DBFILE_MEMBERS_REMOVED, key, "removed");
}

static void add_configuration(struct db_export *export, const struct machine *machine)
{
    struct json_object *json = json_object_new_object(), *voters = json_object_new_array();
    struct json_object *learners = json_object_new_array();

    for (size_t i = 0; i < machine->member_count; i++)
        (void)json_object_array_add(machine->members[i].learner ? learners : voters,
                                    json_object_new_uint64(machine->members[i].id));
    (void)json_object_object_add(json, "voters", voters);
    if (json_object_array_length(learners) > 0)
        (void)json_object_object_add(json, "learners", learners);
    else
        json_object_put(learners);
    (void)json_object_object_add(json, "auto_leave", json_object_new_boolean(false));
    add_json(export, DBFILE_META, "confState", json);
}

static void add_alarms(struct db_export *export, const struct machine *machine)
{
    for (size_t i = 0; i < machine->alarm_count; i++) {
        const struct dbfile_alarm alarm = {.member = machine->alarms[i].member,
                                           .type = machine->alarms[i].type};
        uint8_t key[DBFILE_ALARM_SIZE_MAX];

        add(export, DBFILE_ALARM, slice_of(key, dbfile_alarm_key(&alarm, key)), slice_of(NULL, 0));
    }
}

/* What is left of them is what the log says, not what the leader's clock does: a file of any member
 * should be the same. */
static void add_leases(struct db_export *export, const struct leases *leases)
{
    size_t count = leases_count(leases);
    int64_t *ids = xcalloc(count + 1, sizeof *ids);

    leases_list(leases, ids);
    for (size_t i = 0; i < count; i++) {
        struct dbfile_lease lease = {.id = ids[i]};
        uint8_t key[sizeof(uint64_t)], value[DBFILE_LEASE_SIZE_MAX];
        struct lease_record record;

        (void)leases_get(leases, ids[i], &record); /* listed, so it is there */
        lease.ttl = record.ttl;
        lease.remaining_ttl = (int64_t)((record.remaining_ms + 999) / 1000);
        put_be64(key, (uint64_t)lease.id);
        add(export, DBFILE_LEASE, slice_of(key, sizeof key),
            slice_of(value, dbfile_lease_value(&lease, value)));
    }
    free(ids);
}

static void add_auth(struct db_export *export, const struct auth_store *auth)
{
    struct arena arena;

    arena_init(&arena);
    if (auth->enabled)
        add(export, DBFILE_AUTH, slice_str("authEnabled"), slice_of("\1", 1));
    add_number(export, DBFILE_AUTH, "authRevision", auth->revision);
    for (size_t i = 0; i < auth->user_count; i++)
        add(export, DBFILE_AUTH_USERS, slice_str(auth->users[i]->name),
            auth_user_pack(auth->users[i], &arena));
    for (size_t i = 0; i < auth->role_count; i++)
        add(export, DBFILE_AUTH_ROLES, slice_str(auth->roles[i]->name),
            auth_role_pack(auth->roles[i], &arena));
    arena_release(&arena);
}

static void add_meta(struct db_export *export, const struct mvcc *mvcc, uint64_t index,
                     uint64_t term)
{
    int64_t compacted = mvcc_compact_revision(mvcc);
    uint8_t revision[DBFILE_REVISION_SIZE];

    add_number(export, DBFILE_META, "consistent_index", index);
    add_number(export, DBFILE_META, "term", term);
    add_text(export, DBFILE_META, "storageVersion", ETCD_CLUSTER_VERSION);
    if (compacted < 0)
        return;
    dbfile_revision_put(revision, compacted, 0);
    add(export, DBFILE_META, slice_str("scheduledCompactRev"), slice_of(revision, sizeof revision));
    add(export, DBFILE_META, slice_str("finishedCompactRev"), slice_of(revision, sizeof revision));
}

static int by_bucket_and_key(const void *a, const void *b)
{
    const struct small_item *x = a, *y = b;

    if (x->bucket != y->bucket)
        return x->bucket < y->bucket ? -1 : 1;
    return slice_cmp(x->key, y->key);
}

struct db_export *db_export_new(const struct machine *machine, uint64_t index, uint64_t term)
{
    struct db_export *export = xcalloc(1, sizeof *export);

    arena_init(&export->arena);
    export->writer = dbfile_writer_new();
    add_alarms(export, machine);
    add_auth(export, machine->auth);
    add_text(export, DBFILE_CLUSTER, "clusterVersion", ETCD_CLUSTER_VERSION);
    add_leases(export, machine->leases);
    for (size_t i = 0; i < machine->member_count; i++)
        add_member(export, &machine->members[i]);
    for (size_t i = 0; i < machine->removed_count; i++)
        add_removed(export, machine->removed[i]);
    add_configuration(export, machine);
    add_meta(export, machine->mvcc, index, term);
    qsort(export->items, export->item_count, sizeof *export->items, by_bucket_and_key);
    mvcc_history_begin(machine->mvcc, &export->history);
    return export;
}

void db_export_free(struct db_export *export)
{
    if (export == NULL)
        return;
    mvcc_history_end(&export->history);
    dbfile_writer_free(export->writer);
    arena_release(&export->arena);
    free(export->items);
    free(export);
}

int64_t db_export_revision(const struct db_export *export)
{
    return export->history.revision;
}

/* ---- a pass ---- */

static bool next_key(struct db_export *export)
{
    uint8_t key[DBFILE_RECORD_KEY_SIZE], *place;
    struct dbfile_record record;
    struct mvcc_change change;

    if (!mvcc_history_next(&export->history, &change))
        return false;
    record = (struct dbfile_record){
        .main = change.kv.mod_revision,
        .sub = change.sub,
        .is_tombstone = change.is_tombstone,
        .key = change.kv.key,
        .value = change.kv.value,
        .create_revision = change.kv.create_revision,
        .version = change.kv.version,
        .lease = change.kv.lease,
    };
    place = dbfile_writer_add(export->writer, slice_of(key, dbfile_record_key(&record, key)),
                              dbfile_record_value_size(&record));
    if (place != NULL)
        dbfile_record_value(&record, place);
    return true;
}

static bool next_small(struct db_export *export)
{
    const struct small_item *item = &export->items[export->next_item];
    uint8_t *place;

    if (export->next_item == export->item_count || item->bucket != export->bucket)
        return false;
    export->next_item++;
    place = dbfile_writer_add(export->writer, item->key, item->value.len);
    if (place != NULL && item->value.len > 0)
        memcpy(place, item->value.data, item->value.len);
    return true;
}

static void begin_bucket(struct db_export *export, enum dbfile_bucket bucket)
{
    export->bucket = bucket;
    dbfile_writer_bucket(export->writer, dbfile_bucket_name(bucket));
}

/* One item, or on to the next bucket; false: there is none. */
static bool advance(struct db_export *export)
{
    if (export->bucket == DBFILE_KEY ? next_key(export) : next_small(export))
        return true;
    if (export->bucket + 1 == DBFILE_BUCKET_COUNT)
        return false;
    begin_bucket(export, export->bucket + 1);
    return true;
}

bool db_export_step(struct db_export *export, size_t items, size_t enough)
{
    if (!export->begun)
        begin_bucket(export, 0);
    export->begun = true;
    while (!export->is_over && items-- > 0 && (export->out == NULL || export->out->len < enough)) {
        if (advance(export))
            continue;
        export->is_over = true;
        if (export->out != NULL)
            dbfile_writer_end(export->writer);
    }
    return export->is_over;
}

uint64_t db_export_begin(struct db_export *export, struct buf *out)
{
    ASSERT(export->is_over);
    ASSERT(export->out == NULL);
    export->out = out;
    export->begun = false;
    export->is_over = false;
    export->next_item = 0;
    mvcc_history_rewind(&export->history);
    return dbfile_writer_begin(export->writer, out);
}
