/* The machine's state as a database file of etcd: made while the machine works on, read back as a
 * stranger's file. And when a client is too slow for it. */
#include "server/db_export.h"
#include "server/exports.h"
#include "tests/lib/machine_text.h"
#include "tests/unit/snapshot/dbfile_fixture.h"

struct fixture {
    struct machine_text text;
    struct memdisk *memdisk;
    struct prng prng;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    machine_text_init(&f->text);
    f->memdisk = memdisk_new(1);
    prng_seed(&f->prng, 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    machine_text_release(&f->text);
    memdisk_free(f->memdisk);
    free(f);
    return 0;
}

static void run(struct fixture *f, const char *request)
{
    (void)machine_text_run(&f->text, request);
}

static void write_randomly(struct fixture *f, unsigned count)
{
    char request[96];

    for (unsigned i = 0; i < count; i++) {
        unsigned key = (unsigned)prng_between(&f->prng, 0, 150);

        switch (prng_next(&f->prng) % 12) {
        case 0:
            snprintf(request, sizeof request, "del k%u k%u", key, key + 3);
            break;
        case 1:
            snprintf(request, sizeof request, "txn then put t%u 1 put k%u %u del k%u", key, key, i,
                     key + 1);
            break;
        case 2:
            snprintf(request, sizeof request, "grant %u 100", key + 1);
            break;
        case 3:
            snprintf(request, sizeof request, "put k%u leased lease=%u", key, key + 1);
            break;
        default:
            snprintf(request, sizeof request, "put k%u %u", key, i);
        }
        run(f, request);
    }
}

/* The file, made in small steps; between them others write. */
static void export_while_working(struct fixture *f, struct buf *out)
{
    struct db_export *export = db_export_new(f->text.machine, 77, 5);
    uint64_t size;

    buf_init(out, SIZE_MAX / 2);
    while (!db_export_step(export, 20, SIZE_MAX))
        write_randomly(f, 2);
    size = db_export_begin(export, out);
    while (!db_export_step(export, 20, SIZE_MAX))
        write_randomly(f, 2);
    db_export_free(export);
    assert_int_equal(out->len, size);
    store(memdisk_disk(f->memdisk), out->data, out->len);
}

/* ---- what is in the file ---- */

struct imported {
    struct mvcc *mvcc;
    struct buf text; /* of all buckets but "key": "bucket/key=value" */
    char name[32];
    int64_t compact_revision, last_main;
};

static int on_bucket(void *ctx, struct slice name)
{
    struct imported *imported = ctx;

    snprintf(imported->name, sizeof imported->name, "%.*s", (int)name.len, (const char *)name.data);
    return buf_printf(&imported->text, "[%s]\n", imported->name);
}

static int on_record(struct imported *imported, struct slice key, struct slice value)
{
    struct dbfile_record record;
    struct mvcc_change change;

    assert_int_equal(dbfile_record_parse(key, value, &record), 0);
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
    imported->last_main = record.main;
    return mvcc_load(imported->mvcc, &change);
}

static void print_bytes(struct buf *out, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        (void)buf_printf(out, bytes.data[i] >= ' ' && bytes.data[i] < 127 ? "%c" : "\\x%02x",
                         bytes.data[i]);
}

static int on_item(void *ctx, struct slice key, struct slice value)
{
    struct imported *imported = ctx;
    uint64_t sub;

    if (strcmp(imported->name, "key") == 0)
        return on_record(imported, key, value);
    if (slice_eq(key, slice_str("finishedCompactRev")))
        assert_true(dbfile_revision_get(value, &imported->compact_revision, &sub));
    print_bytes(&imported->text, key);
    (void)buf_printf(&imported->text, "=");
    print_bytes(&imported->text, value);
    return buf_printf(&imported->text, "\n");
}

static void import(struct fixture *f, struct imported *imported)
{
    const struct dbfile_visitor visitor = {.bucket = on_bucket, .item = on_item, .ctx = imported};
    struct err err = ERR_INIT;
    struct dbfile *file;

    *imported = (struct imported){.mvcc = mvcc_new(3), .compact_revision = -1, .last_main = 1};
    buf_init(&imported->text, SIZE_MAX / 2);
    assert_int_equal(dbfile_open(memdisk_disk(f->memdisk), FILE_PATH, &file, &err), 0);
    if (dbfile_walk(file, &visitor, &err) != 0)
        fail_msg("%s", err.text);
    dbfile_close(file);
    assert_int_equal(mvcc_load_end(imported->mvcc, imported->last_main, imported->compact_revision),
                     0);
}

static void imported_release(struct imported *imported)
{
    mvcc_free(imported->mvcc);
    buf_release(&imported->text);
}

/* ---- tests ---- */

static void the_file_is_the_state_at_its_begin_whatever_is_written_meanwhile(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = seed_from_clock(__func__);

    prng_seed(&f->prng, seed);
    for (unsigned round = 0; round < 30; round++) {
        uint32_t before, after;
        int64_t revision, compacted, compacted_after;
        struct imported imported;
        struct buf file;

        write_randomly(f, (unsigned)prng_between(&f->prng, 0, 400));
        if (round % 3 == 1) {
            char request[32];

            snprintf(request, sizeof request, "compact %lld",
                     (long long)mvcc_revision(f->text.machine->mvcc) - (round % 2) * 20);
            run(f, request);
        }
        if (round % 6 == 1) /* else what is condemned is still there */
            run(f, "sweep");
        revision = mvcc_revision(f->text.machine->mvcc);
        assert_int_equal(mvcc_hash_kv(f->text.machine->mvcc, 0, &before, &compacted), 0);
        export_while_working(f, &file);
        import(f, &imported);
        assert_int_equal(mvcc_hash_kv(imported.mvcc, 0, &after, &compacted_after), 0);
        assert_int_equal(mvcc_revision(imported.mvcc), revision);
        assert_int_equal(compacted_after, compacted);
        assert_int_equal(after, before);
        imported_release(&imported);
        buf_release(&file);
    }
}

static void buckets_hold_what_etcd_has_there(void **state)
{
    struct fixture *f = *state;
    struct db_export *export;
    struct imported imported;
    struct buf file;

    run(f, "put a 1");
    run(f, "put a 2");
    run(f, "compact 3");
    run(f, "grant 777 1000");
    run(f, "grant -1 60");
    run(f, "alarm activate 2 nospace");
    run(f, "publish 1 one http://c/?a=1&b");
    export = db_export_new(f->text.machine, 9, 4);
    while (!db_export_step(export, 1, SIZE_MAX))
        continue;
    buf_init(&file, SIZE_MAX / 2);
    (void)db_export_begin(export, &file);
    while (!db_export_step(export, 1, SIZE_MAX))
        continue;
    db_export_free(export);
    store(memdisk_disk(f->memdisk), file.data, file.len);
    import(f, &imported);
    assert_int_equal(buf_append_u8(&imported.text, 0), 0);
    assert_string_equal(
        (const char *)imported.text.data,
        "[alarm]\n\\x08\\x02\\x10\\x01=\n"
        "[auth]\nauthRevision=\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01\n"
        "[authRoles]\n[authUsers]\n"
        "[cluster]\nclusterVersion=3.6.0\n"
        "[key]\n"
        "[lease]\n\\x00\\x00\\x00\\x00\\x00\\x00\\x03\\x09=\\x08\\x89\\x06\\x10\\xe8\\x07\n"
        "\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff="
        "\\x08\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x01\\x10<\n"
        "[members]\n"
        "1={\"id\":1,\"peerURLs\":[\"http://127.0.0.1:1\"],\"name\":\"one\","
        "\"clientURLs\":[\"http://c/?a=1&b\"]}\n"
        "2={\"id\":2,\"peerURLs\":[\"http://127.0.0.1:2\"]}\n"
        "[members_removed]\n"
        "[meta]\n"
        "confState={\"voters\":[1,2],\"auto_leave\":false}\n"
        "consistent_index=\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x09\n"
        "finishedCompactRev=\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x03_"
        "\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\n"
        "scheduledCompactRev=\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x03_"
        "\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\n"
        "storageVersion=3.6.0\n"
        "term=\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x04\n");
    assert_int_equal(mvcc_key_count(imported.mvcc), 1);
    imported_release(&imported);
    buf_release(&file);
}

static void given_up_early_nothing_stays_pinned(void **state)
{
    struct fixture *f = *state;
    struct db_export *export;

    write_randomly(f, 200);
    export = db_export_new(f->text.machine, 9, 4);
    (void)db_export_step(export, 10, SIZE_MAX);
    run(f, "compact 50");
    (void)mvcc_compact_step(f->text.machine->mvcc, SIZE_MAX);
    assert_true(mvcc_compact_pending(f->text.machine->mvcc));
    db_export_free(export);
    (void)mvcc_compact_step(f->text.machine->mvcc, SIZE_MAX);
    assert_false(mvcc_compact_pending(f->text.machine->mvcc));
}

static void clients_that_take_nothing_are_given_up_and_slow_ones_if_a_compaction_waits(void **state)
{
    const uint64_t minute = EXPORT_PACE_MS, enough = EXPORT_PACE_BYTES;
    struct export_pace pace = {0};

    (void)state;
    /* Nobody waits: as slow as it likes, but for nothing at all. */
    assert_false(export_pace_fails(&pace, 1, 0, false));
    assert_false(export_pace_fails(&pace, 1 + minute, 1, false));
    assert_false(export_pace_fails(&pace, 2 * minute, 1, false));
    assert_true(export_pace_fails(&pace, 1 + 2 * minute, 1, false));
    /* A minute from when a compaction was first seen to wait. */
    pace = (struct export_pace){0};
    assert_false(export_pace_fails(&pace, minute / 2, 0, false));
    assert_false(export_pace_fails(&pace, minute, 1, true));
    assert_false(export_pace_fails(&pace, 2 * minute - 1, 1, true));
    assert_true(export_pace_fails(&pace, 2 * minute, enough, true));
    /* Fast enough, minute by minute. */
    pace = (struct export_pace){0};
    assert_false(export_pace_fails(&pace, minute, 0, true));
    assert_false(export_pace_fails(&pace, 2 * minute, enough, true));
    assert_false(export_pace_fails(&pace, 3 * minute, 2 * enough, true));
    assert_true(export_pace_fails(&pace, 4 * minute, 3 * enough - 1, true));
    /* It did not wait for a moment: counted anew. */
    pace = (struct export_pace){0};
    assert_false(export_pace_fails(&pace, minute, 0, true));
    assert_false(export_pace_fails(&pace, minute + 1, 0, false));
    assert_false(export_pace_fails(&pace, minute + 2, 0, true));
    assert_false(export_pace_fails(&pace, 2 * minute, 1, true));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_file_is_the_state_at_its_begin_whatever_is_written_meanwhile),
        TEST(buckets_hold_what_etcd_has_there),
        TEST(given_up_early_nothing_stays_pinned),
        TEST(clients_that_take_nothing_are_given_up_and_slow_ones_if_a_compaction_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
