/* snapshot status: what is in a snapshot file, from this program or etcd's. */
#include <inttypes.h>
#include <json-c/json.h>

#include "base/crc32c.h"
#include "base/idmap.h"
#include "client/ctl/ctl.h"
#include "client/ctl/gotext.h"
#include "client/ctl/json.h"
#include "client/ctl/progress.h"
#include "client/ctl/table.h"
#include "snapshot/dbfile_items.h"
#include "snapshot/dbfile_read.h"

/* As etcdutl computes them (etcd-db-format.md section 3). */
struct snapshot_status {
    uint32_t hash;    /* CRC-32C over names of buckets, keys and values */
    int64_t revision; /* of the last record */
    uint64_t total_key, total_size;
    char version[32];
};

/* ---- reading ---- */

struct reading {
    struct snapshot_status *status;
    enum dbfile_bucket bucket;
    struct idmap live; /* by a hash of the key: two keys of one hash are counted as one, which
                        * among a billion keys happens to less than one */
    struct progress progress;
    uint64_t bytes;
    struct err err;
};

static int on_bucket(void *ctx, struct slice name)
{
    struct reading *reading = ctx;

    reading->status->hash = crc32c_extend(reading->status->hash, name.data, name.len);
    reading->bucket = dbfile_bucket_named(name);
    return 0;
}

/* FNV-1a, its bits stirred at the end. */
static uint64_t key_hash(struct slice key)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < key.len; i++)
        hash = (hash ^ key.data[i]) * UINT64_C(0x100000001b3);
    hash = (hash ^ hash >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return hash ^ hash >> 32;
}

static int count_record(struct reading *reading, struct slice key, struct slice value)
{
    struct dbfile_record record;

    if (dbfile_record_parse(key, value, &record) != 0)
        return err_set(&reading->err, KV_ECORRUPT,
                       "an item of bucket key, behind revision %" PRId64 ", is no record of etcd",
                       reading->status->revision);
    reading->status->revision = record.main;
    if (record.is_tombstone)
        (void)idmap_remove(&reading->live, key_hash(record.key));
    else
        (void)idmap_put(&reading->live, key_hash(record.key), reading);
    return 0;
}

static int on_item(void *ctx, struct slice key, struct slice value)
{
    struct reading *reading = ctx;
    struct snapshot_status *status = reading->status;

    status->hash = crc32c_extend(status->hash, key.data, key.len);
    status->hash = crc32c_extend(status->hash, value.data, value.len);
    reading->bytes += key.len + value.len;
    progress_show(&reading->progress, reading->bytes, status->total_size);
    if (reading->bucket == DBFILE_META && slice_eq(key, slice_str("storageVersion")))
        (void)snprintf(status->version, sizeof status->version, "%.*s", (int)MIN(value.len, 31),
                       (const char *)value.data);
    return reading->bucket == DBFILE_KEY ? count_record(reading, key, value) : 0;
}

static int read_status(struct ctl *ctl, struct dbfile *file, struct snapshot_status *status,
                       struct err *err)
{
    struct reading reading = {.status = status, .bucket = DBFILE_BUCKET_COUNT};
    const struct dbfile_visitor visitor = {.bucket = on_bucket, .item = on_item, .ctx = &reading};
    int rc;

    idmap_init(&reading.live);
    progress_begin(&reading.progress, ctl->err, "reading");
    *status = (struct snapshot_status){.total_size = dbfile_size(file)};
    rc = dbfile_walk(file, &visitor, err);
    progress_end(&reading.progress);
    status->total_key = reading.live.count;
    idmap_release(&reading.live);
    if (reading.err.code != 0)
        *err = reading.err;
    return rc;
}

/* ---- printing ---- */

static const char *const headings[] = {"hash", "revision", "total keys", "total size", "version"};

static void make_table(struct ctl *ctl, const struct snapshot_status *status, struct table *table)
{
    char size[GO_TEXT_MAX];

    go_format_bytes(status->total_size, size);
    table_init(table, &ctl->arena, headings, ARRAY_LEN(headings));
    table_cell(table, "%" PRIx32, status->hash);
    table_cell(table, "%" PRId64, status->revision);
    table_cell(table, "%" PRIu64, status->total_key);
    table_cell(table, "%s", size);
    table_cell(table, "%s", status->version);
}

static void print_simple(struct ctl *ctl, const struct snapshot_status *status)
{
    struct table table;

    make_table(ctl, status, &table);
    table_print_csv(&table, ctl->out);
}

static void print_table(struct ctl *ctl, const struct snapshot_status *status)
{
    struct table table;

    make_table(ctl, status, &table);
    table_print(&table, ctl->out);
}

static void print_json(struct ctl *ctl, const struct snapshot_status *status)
{
    struct json_object *json = json_object_new_object();

    (void)json_object_object_add(json, "hash", json_object_new_int64(status->hash));
    (void)json_object_object_add(json, "revision", json_object_new_int64(status->revision));
    (void)json_object_object_add(json, "totalKey", json_object_new_uint64(status->total_key));
    (void)json_object_object_add(json, "totalSize", json_object_new_uint64(status->total_size));
    (void)json_object_object_add(json, "version", json_of_string(status->version));
    json_print(ctl->out, json);
    (void)json_object_put(json);
}

static void print_fields(struct ctl *ctl, const struct snapshot_status *status)
{
    fprintf(ctl->out,
            "\"Hash\" : %" PRIu32 "\n\"Revision\" : %" PRId64 "\n\"Keys\" : %" PRIu64
            "\n\"Size\" : %" PRIu64 "\n\"Version\" : ",
            status->hash, status->revision, status->total_key, status->total_size);
    go_quote(ctl->out, slice_str(status->version));
    fputc('\n', ctl->out);
}

typedef void (*print_fn)(struct ctl *ctl, const struct snapshot_status *status);

static print_fn printer_of(const struct output_format *format)
{
    static const struct {
        const struct output_format *format;
        print_fn print;
    } printers[] = {
        {&output_simple, print_simple},
        {&output_table, print_table},
        {&output_json, print_json},
        {&output_fields, print_fields},
    };

    for (size_t i = 0; i < ARRAY_LEN(printers); i++)
        if (printers[i].format == format)
            return printers[i].print;
    return NULL;
}

/* etcdutl does not look at it here, so it is no reason to fail; but restore will refuse the file,
 * and now is the time to hear that. */
static void warn_of_digest(struct ctl *ctl, struct dbfile *file, const char *path)
{
    struct err err = ERR_INIT;

    if (dbfile_has_digest(file) && dbfile_check_digest(file, NULL, NULL, &err) == KV_ECORRUPT)
        fprintf(ctl->err,
                "Warning: the SHA-256 at the end of %s is not that of what is before it: the file "
                "was changed after it was saved, and restore will refuse it\n",
                path);
}

static int run_status(struct ctl *ctl, const void *options, int argc, char **argv)
{
    print_fn print = printer_of(ctl->output.format);
    struct snapshot_status status;
    struct err err = ERR_INIT;
    struct dbfile *file;

    (void)options;
    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS, "snapshot status requires exactly one argument");
    if (print == NULL)
        return ctl_fail(ctl, CTL_BAD_FEATURE, "%s not supported as output format",
                        ctl->output.format->name);
    if (dbfile_open(disk_posix(), argv[0], &file, &err) != 0)
        return ctl_fail(ctl, CTL_ERROR, "%s", err.text);
    if (read_status(ctl, file, &status, &err) == 0) {
        print(ctl, &status);
        warn_of_digest(ctl, file, argv[0]);
    }
    dbfile_close(file);
    if (err.code != 0)
        return ctl_fail(ctl, CTL_ERROR, "snapshot file integrity check failed. %s", err.text);
    return CTL_OK;
}

const struct ctl_command ctl_cmd_snapshot_status = {
    .name = "snapshot status",
    .usage = "snapshot status <filename>",
    .brief = "Gets backend snapshot status of a given file",
    .help =
        "Reads and checks all of the file, which may come from kvd or etcd and is not changed.\n"
        "Prints hash, revision, number of keys, size and version of the storage.\n",
    .run = run_status,
};
