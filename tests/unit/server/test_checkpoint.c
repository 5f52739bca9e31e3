/* Checkpoints of a member: written in slices while the machine goes on, kept, pruned, loaded, and
 * what happens when the disk does not do what it should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/checkpoint.h"
#include "snapshot/snapshot.h"
#include "tests/lib/machine_text.h"
#include "tests/lib/memdisk.h"
#include "tests/unit/server/jobs.h"

struct fixture {
    struct memdisk *memdisk;
    struct disk disk;
    struct list jobs;
    struct checkpoints *checkpoints;
    struct machine_text text;
    struct checkpoint_done done; /* the last */
    unsigned dones, damages;
    char damage[600];
};

static void on_done(void *ctx, const struct checkpoint_done *done)
{
    struct fixture *f = ctx;

    f->done = *done;
    f->dones++;
}

static void on_damage(void *ctx, const char *text)
{
    struct fixture *f = ctx;

    f->damages++;
    snprintf(f->damage, sizeof f->damage, "%s", text);
}

static int try_open(struct fixture *f, struct machine **machine, struct err *err)
{
    struct checkpoints_options options = {.disk = f->disk,
                                          .dir = "/snap",
                                          .cluster_id = 1,
                                          .member_id = 2,
                                          .runner = jobs_runner(&f->jobs),
                                          .interval_bytes = 1000,
                                          .ctx = f,
                                          .on_done = on_done,
                                          .on_damage = on_damage};

    return checkpoints_open(&options, 5, &f->checkpoints, machine, err);
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct machine *machine;

    f->memdisk = memdisk_new(1);
    f->disk = memdisk_disk(f->memdisk);
    machine_text_init(&f->text);
    assert_int_equal(try_open(f, &machine, NULL), 0);
    assert_null(machine);
    assert_null(checkpoints_base(f->checkpoints));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    checkpoints_free(f->checkpoints);
    machine_text_release(&f->text);
    memdisk_free(f->memdisk);
    free(f);
    return 0;
}

static void put(struct fixture *f, int from, int to)
{
    char line[100];

    for (int i = from; i < to; i++) {
        snprintf(line, sizeof line, "put key%07d value%d", i, i);
        (void)machine_text_run(&f->text, line);
    }
}

static void begin(struct fixture *f, uint64_t index)
{
    struct replica_snapshot snapshot = {
        .index = index, .term = 2, .configuration_index = 1, .configuration = slice_str("conf")};

    checkpoints_begin(f->checkpoints, f->text.machine, &snapshot);
}

static void finish(struct fixture *f)
{
    unsigned dones = f->dones;

    while (f->dones == dones) {
        bool more = checkpoints_step(f->checkpoints);

        assert_true(jobs_next(&f->jobs) || more);
    }
    while (jobs_next(&f->jobs)) /* old files go */
        ;
}

static void write_one(struct fixture *f, uint64_t index)
{
    begin(f, index);
    finish(f);
    assert_int_equal(f->done.status, 0);
    assert_int_equal(f->done.snapshot.index, index);
}

/* The process ends and starts again. */
static struct machine *reopen(struct fixture *f)
{
    struct machine *machine;
    struct err err = ERR_INIT;

    checkpoints_free(f->checkpoints);
    f->checkpoints = NULL;
    if (try_open(f, &machine, &err) != 0)
        fail_msg("%s", err.text);
    return machine;
}

static uint8_t *bytes_of(struct fixture *f, uint64_t index, uint64_t *len)
{
    char *path = snapshot_path("/snap", index, 2);
    uint8_t *bytes = memdisk_content(f->memdisk, path, len);

    free(path);
    return bytes;
}

static size_t file_count(struct fixture *f)
{
    struct snapshot_file *files;
    size_t len;

    assert_int_equal(snapshot_list(f->disk, "/snap", &files, &len, NULL), 0);
    free(files);
    return len;
}

/* Three batches of changes and more; after each job the machine is written to and compacted. */
static void r1_what_is_written_is_the_state_at_the_beginning(void **state)
{
    struct fixture *f = *state;
    struct machine *copy;
    uint64_t digest;

    put(f, 0, 15000);
    (void)machine_text_run(&f->text, "compact 5000");
    digest = machine_digest(f->text.machine);
    begin(f, 7);
    assert_true(mvcc_is_pinned(f->text.machine->mvcc));
    for (int i = 0; f->dones == 0; i++) {
        put(f, 1000, 1100 + i);
        (void)machine_text_run(&f->text, i == 3 ? "compact 15100" : "put x y");
        (void)mvcc_compact_step(f->text.machine->mvcc, 1000);
        assert_false(checkpoints_idle(f->checkpoints));
        (void)checkpoints_step(f->checkpoints);
        (void)jobs_next(&f->jobs);
    }
    assert_int_equal(f->done.status, 0);
    assert_true(checkpoints_idle(f->checkpoints));
    assert_false(mvcc_is_pinned(f->text.machine->mvcc));
    copy = reopen(f);
    assert_int_equal(machine_digest(copy), digest);
    assert_int_equal(checkpoints_base(f->checkpoints)->index, 7);
    assert_int_equal(checkpoints_base(f->checkpoints)->term, 2);
    assert_true(slice_eq(checkpoints_base(f->checkpoints)->configuration, slice_str("conf")));
    machine_free(copy);
}

static void one_is_due_by_bytes_of_log_and_by_its_own_size(void **state)
{
    struct fixture *f = *state;
    uint64_t percent;

    assert_false(checkpoints_due(f->checkpoints, 999, false));
    assert_true(checkpoints_due(f->checkpoints, 1000, false));
    assert_true(checkpoints_due(f->checkpoints, 1000, true));
    put(f, 0, 1000);
    begin(f, 7);
    assert_false(checkpoints_due(f->checkpoints, 1 << 20, false)); /* one is under way */
    finish(f);
    percent = f->done.bytes / 100;
    assert_true(percent > 100);
    for (int life = 0; life < 2; life++) {
        assert_false(checkpoints_due(f->checkpoints, 55 * percent - 1, false));
        assert_true(checkpoints_due(f->checkpoints, 55 * percent, false));
        assert_false(checkpoints_due(f->checkpoints, 40 * percent - 1, true));
        assert_true(checkpoints_due(f->checkpoints, 40 * percent, true));
        machine_free(reopen(f));
    }
}

static void one_is_due_when_the_state_has_shrunk(void **state)
{
    const struct fixture *f = *state;

    assert_false(checkpoints_shrunk(f->checkpoints, 10000, 9001, true)); /* the interval is 1000 */
    assert_false(checkpoints_shrunk(f->checkpoints, 10000, 9000, true));
    assert_true(checkpoints_shrunk(f->checkpoints, 10000, 8300, true));
    assert_false(checkpoints_shrunk(f->checkpoints, 10000, 8300, false));
    assert_true(checkpoints_shrunk(f->checkpoints, 10000, 6400, false));
    assert_false(checkpoints_shrunk(f->checkpoints, 6400, 10000, true));
}

static void the_last_two_are_kept_and_what_is_held(void **state)
{
    struct fixture *f = *state;
    struct checkpoint_file *held;

    for (uint64_t index = 1; index <= 3; index++)
        write_one(f, index);
    assert_int_equal(file_count(f), 2);
    assert_int_equal(checkpoints_oldest(f->checkpoints), 2);
    assert_null(checkpoints_hold(f->checkpoints, 4));
    held = checkpoints_hold(f->checkpoints, 2);
    assert_int_equal(held->index, 3);
    for (uint64_t index = 4; index <= 6; index++)
        write_one(f, index);
    assert_int_equal(file_count(f), 3);
    assert_int_equal(checkpoints_oldest(f->checkpoints), 3);
    checkpoints_release(f->checkpoints, held);
    while (jobs_next(&f->jobs))
        ;
    assert_int_equal(file_count(f), 2);
    assert_int_equal(checkpoints_oldest(f->checkpoints), 5);
}

static void one_is_kept_where_others_can_heal(void **state)
{
    struct fixture *f = *state;

    write_one(f, 1);
    write_one(f, 2);
    machine_free(reopen(f));
    assert_int_equal(file_count(f), 2);
    checkpoints_keep(f->checkpoints, 1);
    assert_true(jobs_next(&f->jobs)); /* without another one */
    assert_int_equal(file_count(f), 1);
    assert_int_equal(checkpoints_oldest(f->checkpoints), 2);
    write_one(f, 3);
    assert_int_equal(file_count(f), 1);
    assert_int_equal(checkpoints_oldest(f->checkpoints), 3);
    checkpoints_keep(f->checkpoints, 2); /* the others have gone */
    write_one(f, 4);
    assert_int_equal(file_count(f), 2);
    assert_int_equal(checkpoints_oldest(f->checkpoints), 3);
}

/* Removing a large one takes longer than writing the next. */
static void what_becomes_old_while_one_is_removed_goes_too(void **state)
{
    struct fixture *f = *state;
    struct checkpoint_file *held;

    for (uint64_t index = 1; index <= 2; index++)
        write_one(f, index);
    held = checkpoints_hold(f->checkpoints, 2);
    write_one(f, 3);
    write_one(f, 4);
    assert_int_equal(file_count(f), 3);
    checkpoints_keep(f->checkpoints, 1);       /* 3 is about to go */
    checkpoints_release(f->checkpoints, held); /* 2 waits */
    assert_true(jobs_next(&f->jobs));
    assert_int_equal(file_count(f), 2);
    assert_true(jobs_next(&f->jobs));
    assert_int_equal(file_count(f), 1);
    assert_false(jobs_next(&f->jobs));
    assert_int_equal(checkpoints_oldest(f->checkpoints), 4);
}

/* The disk spoils it between the write and the read. */
/* One comes from another member while the newest of our own is written anew (its state has shrunk):
 * what goes then is the old file, not the new one under the hands of who reads it back. */
static void one_that_is_written_anew_is_not_removed_meanwhile(void **state)
{
    struct fixture *f = *state;

    checkpoints_keep(f->checkpoints, 1);
    put(f, 0, 100);
    write_one(f, 5);
    begin(f, 5);
    assert_true(jobs_next(&f->jobs));
    (void)checkpoints_step(f->checkpoints); /* its last batch is about to be written */
    checkpoints_add(f->checkpoints, 9, 2, 1000);
    finish(f);
    assert_int_equal(f->done.status, 0);
    assert_int_equal(checkpoints_newest(f->checkpoints), 9);
    assert_int_equal(file_count(f), 0); /* there is no file of 9 here, and 5 has gone in the end */
}

static void what_can_not_be_read_back_replaces_nothing(void **state)
{
    struct fixture *f = *state;
    struct machine *copy;
    uint64_t digest, len;

    checkpoints_keep(f->checkpoints, 1);
    put(f, 0, 100);
    write_one(f, 7);
    digest = machine_digest(f->text.machine);
    for (unsigned at = 0; at < 4; at++) {
        put(f, 100, 200);
        begin(f, 8);
        while (bytes_of(f, 8, &len) == NULL) {
            (void)checkpoints_step(f->checkpoints);
            (void)jobs_next(&f->jobs);
        }
        bytes_of(f, 8, &len)[at * (len - 1) / 3] ^= 4; /* the first byte, the last, between */
        finish(f);
        assert_int_equal(f->done.status, KV_ECORRUPT);
        assert_non_null(strstr(f->done.text, "read back"));
        assert_non_null(strstr(f->done.text, "0000000000000008-0000000000000002.ckpt: offset"));
        assert_int_equal(file_count(f), 1);
        assert_int_equal(checkpoints_oldest(f->checkpoints), 7);
    }
    copy = reopen(f);
    assert_int_equal(machine_digest(copy), digest);
    machine_free(copy);
    write_one(f, 8);
}

static void a_damaged_one_is_passed_over(void **state)
{
    struct fixture *f = *state;
    struct machine *copy, *none;
    struct err err = ERR_INIT;
    uint64_t digest, len;

    put(f, 0, 100);
    write_one(f, 7);
    digest = machine_digest(f->text.machine);
    put(f, 100, 200);
    write_one(f, 8);
    bytes_of(f, 8, &len)[3000] ^= 1;
    copy = reopen(f);
    assert_int_equal(machine_digest(copy), digest);
    assert_int_equal(checkpoints_base(f->checkpoints)->index, 7);
    assert_int_equal(f->damages, 1);
    assert_non_null(strstr(f->damage, "0000000000000008-0000000000000002.ckpt: offset"));
    /* Not offered to others; the next one replaces it. */
    assert_null(checkpoints_hold(f->checkpoints, 8));
    machine_free(copy);
    write_one(f, 9);
    assert_int_equal(file_count(f), 2);

    bytes_of(f, 7, &len)[70] ^= 1;
    bytes_of(f, 9, &len)[len - 1] ^= 1;
    checkpoints_free(f->checkpoints);
    f->checkpoints = NULL;
    assert_int_equal(try_open(f, &none, &err), KV_ECORRUPT);
    assert_non_null(strstr(err.text, "no checkpoint is whole"));
}

static void one_of_another_cluster_is_refused(void **state)
{
    struct fixture *f = *state;
    struct snapshot_write_options options = {.disk = f->disk, .dir = "/snap"};
    struct snapshot_meta meta = {.cluster_id = 99,
                                 .index = 3,
                                 .term = 2,
                                 .configuration_index = 1,
                                 .configuration = slice_str("c")};
    struct snapshot_writer *writer;
    struct machine *none;
    struct err err = ERR_INIT;

    assert_int_equal(snapshot_writer_open(&options, &meta, &writer, NULL), 0);
    assert_int_equal(snapshot_writer_commit(writer, NULL), 0);
    snapshot_writer_close(writer);
    checkpoints_free(f->checkpoints);
    f->checkpoints = NULL;
    assert_int_equal(try_open(f, &none, &err), KV_EMISMATCH);
    assert_non_null(strstr(err.text, "belongs to cluster 63"));
}

/* Each write fails once, then the disk is full: what was there stays, and it works again after. */
static void a_failure_leaves_everything_as_it_was(void **state)
{
    struct fixture *f = *state;
    char **names;
    size_t len;

    put(f, 0, 10000);
    write_one(f, 7);
    for (uint64_t nth = 1;; nth++) {
        memdisk_fail_write(f->memdisk, nth);
        begin(f, 8);
        finish(f);
        if (f->done.status == 0)
            break;
        assert_int_equal(f->done.status, KV_EIO);
        assert_true(checkpoints_idle(f->checkpoints));
        assert_false(mvcc_is_pinned(f->text.machine->mvcc));
        assert_int_equal(f->disk.ops->list(f->disk.ctx, "/snap", &names, &len, NULL), 0);
        assert_int_equal(len, 1);
        disk_free_names(names, len);
        assert_true(nth < 50);
    }
    memdisk_fail_write(f->memdisk, 0);
    memdisk_limit(f->memdisk, 2 * f->done.bytes + 1000);
    begin(f, 9);
    finish(f);
    assert_int_equal(f->done.status, KV_ENOSPC);
    assert_non_null(strstr(f->done.text, "new.tmp"));
    assert_int_equal(file_count(f), 2);
    memdisk_limit(f->memdisk, 0);
    write_one(f, 10);
}

/* At each point of its course. */
static void an_abandoned_one_ends_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;

    put(f, 0, 10000);
    checkpoints_abandon(f->checkpoints); /* none: harmless */
    for (int steps = 0; steps < 12; steps++) {
        unsigned dones = f->dones;

        begin(f, 7 + (uint64_t)steps);
        for (int i = 0; i < steps && f->dones == dones; i++) {
            if (i % 2 == 0)
                (void)checkpoints_step(f->checkpoints);
            else
                (void)jobs_next(&f->jobs);
        }
        if (f->dones == dones) {
            checkpoints_abandon(f->checkpoints);
            while (jobs_next(&f->jobs))
                ;
        }
        assert_int_equal(f->dones, dones + 1);
        assert_true(f->done.status == KV_ECANCELED || f->done.status == 0);
        assert_false(mvcc_is_pinned(f->text.machine->mvcc));
        if (f->done.status == KV_ECANCELED)
            assert_int_equal(file_count(f), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        T(r1_what_is_written_is_the_state_at_the_beginning),
        T(one_is_due_by_bytes_of_log_and_by_its_own_size),
        T(one_is_due_when_the_state_has_shrunk),
        T(the_last_two_are_kept_and_what_is_held),
        T(one_is_kept_where_others_can_heal),
        T(what_becomes_old_while_one_is_removed_goes_too),
        T(one_that_is_written_anew_is_not_removed_meanwhile),
        T(what_can_not_be_read_back_replaces_nothing),
        T(a_damaged_one_is_passed_over),
        T(one_of_another_cluster_is_refused),
        T(a_failure_leaves_everything_as_it_was),
        T(an_abandoned_one_ends_and_leaves_nothing),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
