/* snapshot restore: what is in the data dir that it makes, and that a failure leaves nothing.
 * tests/compat/snapshot.py starts members on what it makes, from files of etcd too. */
#include <ftw.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "offline/restore.h"
#include "server/db_export.h"
#include "server/identity.h"
#include "server/state.h"
#include "snapshot/snapshot.h"
#include "tests/lib/machine_text.h"
#include "tests/unit/snapshot/dbfile_fixture.h"
#include "wal/wal.h"

struct fixture {
    char dir[32];
    struct machine_text text;
    struct prng prng;
    struct restore_options options;
    struct restore_report report;
    struct err err;
    unsigned calls, end_at_call; /* of progress; 0: never */
};

static int on_progress(void *ctx, const char *what, uint64_t done, uint64_t total, struct err *err)
{
    struct fixture *f = ctx;

    (void)what;
    assert_true(total == 0 || done <= total);
    f->calls++;
    return f->calls == f->end_at_call ? err_set(err, KV_ECANCELED, "enough") : 0;
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    machine_text_init(&f->text);
    prng_seed(&f->prng, 1);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/kvd-restore-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(chdir(f->dir), 0);
    f->options = (struct restore_options){
        .path = "snap.db",
        .target.name = "b",
        .target.data_dir = "data",
        .target.initial_cluster = "a=http://127.0.0.1:1,b=http://127.0.0.1:2",
        .target.initial_cluster_token = "token",
        .target.initial_advertise_peer_urls = "http://127.0.0.1:2",
        .progress = on_progress,
        .ctx = f,
    };
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    machine_text_release(&f->text);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    free(f);
    return 0;
}

static void run(struct fixture *f, const char *request)
{
    (void)machine_text_run(&f->text, request);
}

/* ---- files ---- */

static void write_file(const char *path, struct slice bytes, bool digest)
{
    uint8_t sum[SHA256_DIGEST_LENGTH];
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.len, file), bytes.len);
    SHA256(bytes.data, bytes.len, sum);
    if (digest)
        assert_int_equal(fwrite(sum, 1, sizeof sum, file), sizeof sum);
    assert_int_equal(fclose(file), 0);
}

static void save_machine(struct fixture *f)
{
    struct db_export *export = db_export_new(f->text.machine, 9, 4);
    struct buf file;

    while (!db_export_step(export, SIZE_MAX, SIZE_MAX))
        continue;
    buf_init(&file, SIZE_MAX / 2);
    (void)db_export_begin(export, &file);
    while (!db_export_step(export, SIZE_MAX, SIZE_MAX))
        continue;
    db_export_free(export);
    write_file("snap.db", buf_slice(&file), true);
    buf_release(&file);
}

struct raw_item {
    enum dbfile_bucket bucket;
    struct slice key, value;
};

/* A file with just these, in order. */
static void save_items(const struct raw_item *items, size_t count)
{
    struct dbfile_writer *writer = dbfile_writer_new();
    struct buf file;

    buf_init(&file, SIZE_MAX / 2);
    for (int pass = 0; pass < 2; pass++) {
        size_t at = 0;

        for (enum dbfile_bucket b = 0; b < DBFILE_BUCKET_COUNT; b++) {
            dbfile_writer_bucket(writer, dbfile_bucket_name(b));
            for (; at < count && items[at].bucket == b; at++) {
                uint8_t *p = dbfile_writer_add(writer, items[at].key, items[at].value.len);

                if (p != NULL && items[at].value.len > 0)
                    memcpy(p, items[at].value.data, items[at].value.len);
            }
        }
        assert_int_equal(at, count);
        if (pass == 0)
            (void)dbfile_writer_begin(writer, &file);
    }
    dbfile_writer_end(writer);
    dbfile_writer_free(writer);
    write_file("snap.db", buf_slice(&file), true);
    buf_release(&file);
}

/* A put of "k<main>" or, with create 0, its tombstone; in static memory. */
static struct raw_item record_item(const char *key, int64_t main, int64_t create, int64_t version,
                                   int64_t lease)
{
    static uint8_t memory[16][2][64];
    static unsigned next;
    uint8_t(*place)[64] = memory[next++ % 16];
    const struct dbfile_record record = {.main = main,
                                         .is_tombstone = create == 0,
                                         .key = slice_str(key),
                                         .value = slice_str("v"),
                                         .create_revision = create,
                                         .version = version,
                                         .lease = lease};

    dbfile_record_value(&record, place[1]);
    return (struct raw_item){.bucket = DBFILE_KEY,
                             .key = slice_of(place[0], dbfile_record_key(&record, place[0])),
                             .value = slice_of(place[1], dbfile_record_value_size(&record))};
}

static struct raw_item mark_item(const char *name, int64_t main)
{
    static uint8_t memory[8][DBFILE_REVISION_SIZE];
    static unsigned next;
    uint8_t *place = memory[next++ % 8];

    dbfile_revision_put(place, main, 0);
    return (struct raw_item){.bucket = DBFILE_META,
                             .key = slice_str(name),
                             .value = slice_of(place, DBFILE_REVISION_SIZE)};
}

/* ---- outcomes ---- */

static struct machine *restore(struct fixture *f)
{
    struct snapshot_reader *reader;
    struct machine *machine;
    struct err err = ERR_INIT;
    char *path;

    f->err = (struct err)ERR_INIT;
    if (restore_snapshot(&f->options, &f->report, &f->err) != 0)
        fail_msg("%s", f->err.text);
    path = snapshot_path("data/snap", 2, 1);
    assert_int_equal(snapshot_open(disk_posix(), path, &reader, &err), 0);
    free(path);
    assert_true(snapshot_meta(reader)->cluster_id == f->report.cluster_id);
    assert_int_equal(snapshot_meta(reader)->configuration_index, 1);
    if (machine_load(reader, 1, &machine, &err) != 0)
        fail_msg("%s", err.text);
    snapshot_close(reader);
    return machine;
}

static void refuse(struct fixture *f, const char *text)
{
    struct stat st;

    f->err = (struct err)ERR_INIT;
    f->calls = 0;
    assert_int_not_equal(restore_snapshot(&f->options, &f->report, &f->err), 0);
    if (strstr(f->err.text, text) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", f->err.text, text);
    assert_int_not_equal(stat("data", &st), 0);
    assert_int_not_equal(stat("elsewhere", &st), 0);
}

static uint32_t hash_of(struct mvcc *mvcc)
{
    int64_t compacted;
    uint32_t hash;

    assert_int_equal(mvcc_hash_kv(mvcc, 0, &hash, &compacted), 0);
    return hash;
}

static void fill(struct fixture *f)
{
    run(f, "grant 7 100");
    run(f, "grant 8 9000");
    run(f, "checkpoint 8 300000 1");
    for (unsigned i = 0; i < 300; i++) {
        char request[64];

        snprintf(request, sizeof request, "put k%u %u%s", i % 70, i, i % 9 == 0 ? " lease=7" : "");
        run(f, request);
        if (i % 17 == 0) {
            snprintf(request, sizeof request, "del k%u k%u", i % 70, i % 70 + 3);
            run(f, request);
        }
    }
    run(f, "compact 150");
    run(f, "alarm activate 5 nospace");
}

static void all_of_the_state_is_there_and_belongs_to_the_new_cluster(void **state)
{
    struct fixture *f = *state;
    struct identity identity;
    struct machine *machine;
    struct stat st;

    fill(f);
    save_machine(f);
    machine = restore(f);
    assert_int_equal(mvcc_revision(machine->mvcc), mvcc_revision(f->text.machine->mvcc));
    assert_int_equal(mvcc_compact_revision(machine->mvcc), 150);
    assert_int_equal(hash_of(machine->mvcc), hash_of(f->text.machine->mvcc));
    assert_true(leases_digest(machine->leases) == leases_digest(f->text.machine->leases));
    assert_int_equal(machine->alarm_count, 1);
    assert_int_equal(machine->alarms[0].member, 5);
    assert_int_equal(machine->member_count, 2);
    assert_non_null(machine_member(machine, f->report.member_id));
    assert_string_equal(machine_member(machine, f->report.member_id)->peer_urls[0],
                        "http://127.0.0.1:2");
    assert_int_equal(f->report.import.keys, mvcc_key_count(f->text.machine->mvcc));
    assert_int_equal(f->report.import.leases, 2);
    machine_free(machine);

    assert_int_equal(identity_read(disk_posix(), "data", &identity, NULL), 0);
    assert_true(identity.cluster_id == f->report.cluster_id);
    assert_true(identity.member_id == f->report.member_id);
    assert_true(identity.log_begun);
    assert_string_equal(identity.name, "b");
    assert_int_equal(stat("data", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

static void the_log_is_empty_and_knows_the_term(void **state)
{
    struct fixture *f = *state;
    struct wal_options options = {.disk = disk_posix(), .dir = "data/wal", .read_only = true};
    struct wal *wal;

    save_machine(f);
    machine_free(restore(f));
    options.cluster_id = f->report.cluster_id;
    options.member_id = f->report.member_id;
    assert_int_equal(wal_open(&options, &wal, NULL), 0);
    assert_int_equal(wal_last_index(wal), 0);
    assert_int_equal(wal_hard_state(wal).term, 1);
    assert_int_equal(wal_hard_state(wal).voted_for, 0);
    wal_close(wal);
}

static void all_members_get_the_same_state_and_their_own_identity(void **state)
{
    struct fixture *f = *state;
    uint64_t cluster, digest;
    struct machine *machine;

    fill(f);
    save_machine(f);
    machine = restore(f);
    digest = machine_digest(machine);
    cluster = f->report.cluster_id;
    machine_free(machine);
    assert_int_equal(rename("data", "data-b"), 0);
    f->options.target.name = "a";
    f->options.target.initial_advertise_peer_urls = "http://127.0.0.1:1";
    machine = restore(f);
    assert_true(machine_digest(machine) == digest);
    assert_true(f->report.cluster_id == cluster);
    machine_free(machine);
}

static void another_token_is_another_cluster(void **state)
{
    struct fixture *f = *state;
    uint64_t cluster;

    save_machine(f);
    machine_free(restore(f));
    cluster = f->report.cluster_id;
    assert_int_equal(rename("data", "data-1"), 0);
    f->options.target.initial_cluster_token = "other";
    machine_free(restore(f));
    assert_true(f->report.cluster_id != cluster);
}

static void a_raised_revision_leaves_the_newest_of_each_key_and_no_past(void **state)
{
    struct fixture *f = *state;
    struct mvcc_range range = {.span = {slice_str("k"), slice_str("l")}};
    struct mvcc_range_result before, after;
    struct mvcc_history history;
    struct mvcc_change change;
    struct machine *machine;
    int64_t revision;
    size_t changes = 0;

    fill(f);
    save_machine(f);
    revision = mvcc_revision(f->text.machine->mvcc);
    f->options.bump_revision = 1000000;
    machine = restore(f);
    assert_int_equal(mvcc_revision(machine->mvcc), revision + 1000000);
    assert_int_equal(mvcc_compact_revision(machine->mvcc), revision + 1000000);
    assert_int_equal(f->report.import.file_revision, revision);

    assert_int_equal(mvcc_range(f->text.machine->mvcc, &range, &f->text.arena, &before), 0);
    assert_int_equal(mvcc_range(machine->mvcc, &range, &f->text.arena, &after), 0);
    assert_int_equal(before.len, after.len);
    for (size_t i = 0; i < before.len; i++) {
        assert_true(slice_eq(before.kvs[i].key, after.kvs[i].key));
        assert_true(slice_eq(before.kvs[i].value, after.kvs[i].value));
        assert_int_equal(before.kvs[i].mod_revision, after.kvs[i].mod_revision);
        assert_int_equal(before.kvs[i].version, after.kvs[i].version);
    }
    range.revision = revision;
    assert_int_equal(mvcc_range(machine->mvcc, &range, &f->text.arena, &after), KV_ECOMPACTED);
    mvcc_history_begin(machine->mvcc, &history);
    while (mvcc_history_next(&history, &change))
        changes++;
    mvcc_history_end(&history);
    assert_int_equal(changes, mvcc_key_count(machine->mvcc));
    machine_free(machine);
}

static void an_empty_store_can_be_restored(void **state)
{
    struct fixture *f = *state;
    struct machine *machine;

    save_machine(f);
    machine = restore(f);
    assert_int_equal(mvcc_revision(machine->mvcc), 1);
    assert_int_equal(mvcc_compact_revision(machine->mvcc), -1);
    machine_free(machine);
}

/* ---- what etcd's files may hold ---- */

static void a_compaction_that_was_only_scheduled_is_done(void **state)
{
    struct fixture *f = *state;
    const struct raw_item items[] = {
        record_item("a", 2, 2, 1, 0),        record_item("a", 3, 2, 2, 0),
        record_item("a", 5, 2, 3, 0),        mark_item("finishedCompactRev", 2),
        mark_item("scheduledCompactRev", 4),
    };
    struct machine *machine;

    save_items(items, ARRAY_LEN(items));
    machine = restore(f);
    assert_int_equal(mvcc_compact_revision(machine->mvcc), 4);
    assert_int_equal(mvcc_revision(machine->mvcc), 5);
    machine_free(machine);
}

static void a_compaction_may_be_above_all_records(void **state)
{
    struct fixture *f = *state;
    const struct raw_item items[] = {
        record_item("a", 2, 2, 1, 0),
        mark_item("finishedCompactRev", 9),
        mark_item("scheduledCompactRev", 9),
    };
    struct machine *machine;

    save_items(items, ARRAY_LEN(items));
    machine = restore(f);
    assert_int_equal(mvcc_revision(machine->mvcc), 9);
    machine_free(machine);
}

static void etcds_mark_of_a_raised_revision_counts_and_is_no_key(void **state)
{
    struct fixture *f = *state;
    struct raw_item items[] = {record_item("a", 2, 2, 1, 0), record_item("", 50, 50, 0, 0)};
    struct machine *machine;

    items[1].value.len = 0;
    save_items(items, ARRAY_LEN(items));
    machine = restore(f);
    assert_int_equal(mvcc_revision(machine->mvcc), 50);
    assert_int_equal(mvcc_key_count(machine->mvcc), 1);
    machine_free(machine);
}

static void keys_whose_lease_is_missing_stay(void **state)
{
    struct fixture *f = *state;
    const struct raw_item items[] = {
        record_item("a", 2, 2, 1, 0xbad), /* not the newest: of no interest */
        record_item("a", 3, 2, 2, 0),
        record_item("b", 4, 4, 1, 0xbeef),
        record_item("c", 5, 5, 1, 0xbeef),
    };
    struct machine *machine;
    struct mvcc_kv kv;

    save_items(items, ARRAY_LEN(items));
    machine = restore(f);
    assert_int_equal(f->report.import.orphans, 1);
    assert_true(mvcc_get(machine->mvcc, slice_str("b"), &kv));
    assert_int_equal(kv.lease, 0xbeef);
    assert_int_equal(leases_key_count(machine->leases, 0xbeef), 2);
    assert_false(leases_known(machine->leases, 0xbad));
    machine_free(machine);
}

/* ---- failures ---- */

static void files_that_can_not_be_taken_over_are_refused(void **state)
{
    struct fixture *f = *state;
    const struct raw_item version[] = {
        {DBFILE_META, slice_str("storageVersion"), slice_str("4.0.0")}};
    const struct raw_item old[] = {{DBFILE_META, slice_str("storageVersion"), slice_str("3.5.0")}};
    const struct raw_item revision[] = {{DBFILE_AUTH, slice_str("authRevision"), slice_str("5")}};
    const struct raw_item user[] = {{DBFILE_AUTH_USERS, slice_str("ann"), slice_str("\xff")}};
    const struct raw_item role[] = {{DBFILE_AUTH_ROLES, slice_str("r"), slice_str("")}};
    const struct raw_item order[] = {record_item("a", 2, 2, 1, 0), record_item("a", 3, 2, 9, 0)};
    const struct raw_item lease[] = {{DBFILE_LEASE, slice_str("12345678"), slice_str("")}};
    const struct raw_item mark[] = {{DBFILE_META, slice_str("finishedCompactRev"), slice_str("5")}};

    save_items(version, 1);
    refuse(f, "version \"4.0.0\" is not supported");
    save_items(revision, 1);
    refuse(f, "the revision of authentication is none");
    save_items(user, 1);
    refuse(f, "a user that can not be");
    save_items(role, 1);
    refuse(f, "a role that can not be");
    save_items(order, 2);
    refuse(f, "the snapshot contradicts itself");
    save_items(lease, 1);
    refuse(f, "no lease");
    save_items(mark, 1);
    refuse(f, "mark of a compaction");
    save_items(old, 1);
    machine_free(restore(f));
}

static void a_file_must_be_there_and_have_its_digest(void **state)
{
    struct fixture *f = *state;
    struct stat st;

    refuse(f, "snap.db");
    write_file("snap.db", slice_str("no database"), false);
    refuse(f, "snap.db: no etcd snapshot");
    fill(f);
    save_machine(f);
    assert_int_equal(stat("snap.db", &st), 0);
    assert_int_equal(truncate("snap.db", st.st_size - 32), 0);
    refuse(f, "snapshot missing hash but --skip-hash-check=false");
    f->options.skip_hash_check = true;
    machine_free(restore(f));
}

static void damage_is_found_before_anything_is_made(void **state)
{
    struct fixture *f = *state;
    FILE *file;

    fill(f);
    save_machine(f);
    file = fopen("snap.db", "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 8192, SEEK_SET), 0);
    assert_int_equal(fputs("damage", file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
    refuse(f, "expected sha256 [");
    f->options.skip_hash_check = true;
    refuse(f, "snap.db: page ");
}

static void a_target_that_is_in_use_is_refused_and_left_alone(void **state)
{
    struct fixture *f = *state;
    FILE *file;

    save_machine(f);
    assert_int_equal(mkdir("data", 0755), 0);
    file = fopen("data/something", "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    assert_int_not_equal(restore_snapshot(&f->options, &f->report, &f->err), 0);
    assert_string_equal(f->err.text, "data-dir \"data\" not empty or could not be read");
    assert_int_equal(access("data/something", F_OK), 0);
    assert_int_equal(unlink("data/something"), 0);

    f->options.target.wal_dir = "elsewhere";
    assert_int_equal(mkdir("elsewhere", 0755), 0);
    assert_int_not_equal(restore_snapshot(&f->options, &f->report, &f->err), 0);
    assert_string_equal(f->err.text, "wal-dir \"elsewhere\" exists");
    assert_int_equal(rmdir("elsewhere"), 0);

    /* An empty one will do: it may be a mount point. */
    machine_free(restore(f));
    assert_int_equal(access("elsewhere", F_OK), 0);
}

static void flags_that_contradict_each_other_are_refused(void **state)
{
    struct fixture *f = *state;

    save_machine(f);
    f->options.target.initial_advertise_peer_urls = "http://127.0.0.1:3";
    refuse(f, "--initial-cluster has b=http://127.0.0.1:2 but missing from "
              "--initial-advertise-peer-urls=http://127.0.0.1:3");
    f->options.target.initial_advertise_peer_urls = "http://127.0.0.1:2";
    f->options.target.name = "c";
    refuse(f, "couldn't find local name \"c\" in the initial cluster configuration");
    f->options.target.name = "b";
    f->options.target.initial_cluster = "b=http://127.0.0.1:2,a=http://127.0.0.1:2";
    refuse(f, "has duplicate url");
    f->options.target.initial_cluster = "b=ftp://127.0.0.1:2";
    refuse(f, "URL scheme must be http, https, unix, or unixs");
    f->options.target.initial_cluster = "b=http://127.0.0.1:2";
    f->options.bump_revision = INT64_MAX / 2;
    refuse(f, "can not be raised");
}

static void ended_at_any_moment_nothing_is_left(void **state)
{
    struct fixture *f = *state;
    unsigned calls;

    fill(f);
    save_machine(f);
    f->options.target.wal_dir = "elsewhere";
    machine_free(restore(f));
    calls = f->calls;
    assert_true(calls > 100);
    assert_int_equal(rename("data", "done"), 0);
    assert_int_equal(rename("elsewhere", "done-wal"), 0);
    f->end_at_call = calls;
    refuse(f, "enough"); /* all was written but the identity */
    f->end_at_call = calls - 1;
    refuse(f, "enough"); /* the log was */
    for (f->end_at_call = 2; f->end_at_call < calls - 1; f->end_at_call += 29)
        refuse(f, "enough");
}

/* Files may not grow beyond what the log takes, or not even that. */
static void a_full_disk_leaves_nothing(void **state)
{
    static const rlim_t limits[] = {1, 4096, 100000, 17 << 20};
    struct fixture *f = *state;
    struct rlimit old, small;
    char *value = xmalloc((1 << 20) + 32);

    for (unsigned i = 0; i < 18; i++) {
        int len = sprintf(value, "put large%u ", i);

        memset(value + len, 'x', 1 << 20);
        value[len + (1 << 20)] = '\0';
        run(f, value);
    }
    free(value);
    save_machine(f);
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        small = (struct rlimit){.rlim_cur = limits[i], .rlim_max = old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        refuse(f, "data/");
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    }
    machine_free(restore(f));
}

static void missing_parents_are_made_and_unmade(void **state)
{
    struct fixture *f = *state;

    save_machine(f);
    f->options.target.data_dir = "deep/er/data";
    f->end_at_call = 2; /* the first is the digest's */
    assert_int_not_equal(restore_snapshot(&f->options, &f->report, &f->err), 0);
    assert_int_not_equal(access("deep", F_OK), 0);
    f->calls = f->end_at_call = 0;
    assert_int_equal(restore_snapshot(&f->options, &f->report, &f->err), 0);
    assert_int_equal(access("deep/er/data/identity", F_OK), 0);
    f->options.target.data_dir = "deep/other/data";
    f->end_at_call = f->calls;
    f->calls = 0;
    assert_int_not_equal(restore_snapshot(&f->options, &f->report, &f->err), 0);
    assert_int_not_equal(access("deep/other", F_OK), 0);
    assert_int_equal(access("deep/er/data/identity", F_OK), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(all_of_the_state_is_there_and_belongs_to_the_new_cluster),
        TEST(the_log_is_empty_and_knows_the_term),
        TEST(all_members_get_the_same_state_and_their_own_identity),
        TEST(another_token_is_another_cluster),
        TEST(a_raised_revision_leaves_the_newest_of_each_key_and_no_past),
        TEST(an_empty_store_can_be_restored),
        TEST(a_compaction_that_was_only_scheduled_is_done),
        TEST(a_compaction_may_be_above_all_records),
        TEST(etcds_mark_of_a_raised_revision_counts_and_is_no_key),
        TEST(keys_whose_lease_is_missing_stay),
        TEST(files_that_can_not_be_taken_over_are_refused),
        TEST(a_file_must_be_there_and_have_its_digest),
        TEST(damage_is_found_before_anything_is_made),
        TEST(a_target_that_is_in_use_is_refused_and_left_alone),
        TEST(flags_that_contradict_each_other_are_refused),
        TEST(ended_at_any_moment_nothing_is_left),
        TEST(a_full_disk_leaves_nothing),
        TEST(missing_parents_are_made_and_unmade),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
