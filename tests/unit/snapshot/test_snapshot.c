/* Checkpoint files: the documented bytes; every damage is an error that names its place; a crash
 * leaves the old file or the new one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/prng.h"
#include "base/util.h"
#include "snapshot/snapshot.h"
#include "tests/lib/memdisk.h"

enum { BLOCKS = 20 };

struct fixture {
    struct memdisk *memdisk;
    struct disk disk;
};

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    f->memdisk = memdisk_new(1);
    f->disk = memdisk_disk(f->memdisk);
    assert_int_equal(snapshot_prepare_dir(f->disk, "/snap", NULL), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    memdisk_free(f->memdisk);
    free(f);
    return 0;
}

static struct snapshot_meta meta_at(uint64_t index)
{
    return (struct snapshot_meta){.cluster_id = 0x11,
                                  .member_id = 0x22,
                                  .index = index,
                                  .term = 3,
                                  .configuration_index = 1,
                                  .configuration = slice_str("conf")};
}

static struct snapshot_writer *begin(const struct fixture *f, uint64_t index)
{
    struct snapshot_write_options options = {.disk = f->disk, .dir = "/snap"};
    struct snapshot_meta meta = meta_at(index);
    struct snapshot_writer *writer;

    assert_int_equal(snapshot_writer_open(&options, &meta, &writer, NULL), 0);
    return writer;
}

/* Block n: n + 1 items, sizes from 0 to some 100 kB. */
static size_t payload_len(unsigned n)
{
    return (size_t)n * n * 300;
}

static int add_blocks(struct snapshot_writer *writer, struct err *err)
{
    int rc = 0;

    for (unsigned n = 0; n < BLOCKS && rc == 0; n++) {
        uint8_t *bytes = xmalloc(payload_len(n) + 1);

        memset(bytes, (int)('a' + n), payload_len(n) + 1);
        rc = snapshot_writer_add(writer, (uint8_t)(n % 3), slice_of(bytes, payload_len(n)), n + 1,
                                 err);
        free(bytes);
    }
    return rc;
}

static int write_file(const struct fixture *f, uint64_t index, struct err *err)
{
    struct snapshot_write_options options = {.disk = f->disk, .dir = "/snap"};
    struct snapshot_meta meta = meta_at(index);
    struct snapshot_writer *writer;
    int rc = snapshot_writer_open(&options, &meta, &writer, err);

    if (rc != 0)
        return rc;
    rc = add_blocks(writer, err);
    if (rc == 0)
        rc = snapshot_writer_commit(writer, err);
    snapshot_writer_close(writer);
    return rc;
}

static void must_read(const struct fixture *f, uint64_t index)
{
    char *path = snapshot_path("/snap", index, 3);
    struct snapshot_reader *reader;
    struct snapshot_block block;

    assert_int_equal(snapshot_open(f->disk, path, &reader, NULL), 0);
    assert_int_equal(snapshot_meta(reader)->index, index);
    assert_int_equal(snapshot_meta(reader)->cluster_id, 0x11);
    assert_true(slice_eq(snapshot_meta(reader)->configuration, slice_str("conf")));
    for (unsigned n = 0; n < BLOCKS; n++) {
        assert_int_equal(snapshot_next(reader, &block, NULL), 1);
        assert_int_equal(block.kind, n % 3);
        assert_int_equal(block.items, n + 1);
        assert_int_equal(block.payload.len, payload_len(n));
        for (size_t i = 0; i < block.payload.len; i++)
            assert_int_equal(block.payload.data[i], 'a' + n);
    }
    assert_int_equal(snapshot_next(reader, &block, NULL), 0);
    assert_int_equal(snapshot_next(reader, &block, NULL), 0);
    snapshot_close(reader);
    free(path);
}

static void what_was_written_is_read(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(write_file(f, 7, NULL), 0);
    must_read(f, 7);
}

/* docs/format/checkpoint.md, "Example". */
static void a_file_has_the_documented_bytes(void **state)
{
    static const uint8_t expected[] = {
#include "tests/unit/snapshot/example.inc"
    };
    struct fixture *f = *state;
    struct snapshot_writer *writer = begin(f, 7);
    char *path = snapshot_path("/snap", 7, 3);
    uint64_t len;
    const uint8_t *bytes;

    assert_int_equal(snapshot_writer_add(writer, 2, slice_str("hello"), 1, NULL), 0);
    assert_int_equal(snapshot_writer_commit(writer, NULL), 0);
    assert_int_equal(snapshot_writer_bytes(writer), sizeof expected);
    snapshot_writer_close(writer);
    bytes = memdisk_content(f->memdisk, path, &len);
    if (len != sizeof expected || memcmp(bytes, expected, len) != 0)
        for (uint64_t i = 0; i < len; i++)
            print_message("0x%02x,%s", bytes[i], i % 16 == 15 ? "\n" : " ");
    assert_int_equal(len, sizeof expected);
    assert_memory_equal(bytes, expected, len);
    free(path);
}

static void every_flipped_bit_is_found(void **state)
{
    struct fixture *f = *state;
    char *path = snapshot_path("/snap", 7, 3);
    struct prng prng;
    uint64_t len;

    assert_int_equal(write_file(f, 7, NULL), 0);
    prng_seed(&prng, 5);
    (void)memdisk_content(f->memdisk, path, &len);
    for (uint64_t at = 0; at < len; at += at < 200 || at + 200 > len ? 1 : 997) {
        uint8_t bit = (uint8_t)(1u << prng_between(&prng, 0, 7));
        uint8_t *bytes = memdisk_content(f->memdisk, path, &len);
        struct err err = ERR_INIT;
        int rc;

        bytes[at] ^= bit;
        rc = snapshot_verify(f->disk, path, &err);
        assert_true(rc == KV_ECORRUPT || rc == KV_EMISMATCH);
        assert_non_null(strstr(err.text, path));
        memdisk_content(f->memdisk, path, &len)[at] ^= bit;
    }
    assert_int_equal(snapshot_verify(f->disk, path, NULL), 0);
    free(path);
}

static void every_truncation_and_every_tail_is_found(void **state)
{
    struct fixture *f = *state;
    char *path = snapshot_path("/snap", 7, 3);
    struct disk_file *file;
    struct err err = ERR_INIT;
    uint64_t len, step;

    assert_int_equal(write_file(f, 7, NULL), 0);
    (void)memdisk_content(f->memdisk, path, &len);
    assert_int_equal(f->disk.ops->open(f->disk.ctx, path, DISK_WRITE, &file, NULL), 0);
    assert_int_equal(f->disk.ops->write(f->disk.ctx, file, len, "x", 1, NULL), 0);
    assert_int_equal(snapshot_verify(f->disk, path, &err), KV_ECORRUPT);
    assert_non_null(strstr(err.text, "something follows"));
    for (uint64_t size = len - 1;; size -= step) {
        assert_int_equal(f->disk.ops->truncate(f->disk.ctx, file, size, NULL), 0);
        assert_int_equal(snapshot_verify(f->disk, path, &err), KV_ECORRUPT);
        assert_non_null(strstr(err.text, "offset"));
        step = size < 300 || size + 100 > len ? 1 : 199;
        if (size == 0)
            break;
        step = MIN(step, size);
    }
    assert_non_null(strstr(err.text, "empty"));
    f->disk.ops->close(f->disk.ctx, file);
    free(path);
}

/* Blocks of two checkpoints of equal shape, one of them put into the other. */
static void a_block_of_another_file_is_found(void **state)
{
    struct fixture *f = *state;
    char *path = snapshot_path("/snap", 7, 3), *other = snapshot_path("/snap", 8, 3);
    uint64_t len;
    uint8_t *to;

    assert_int_equal(write_file(f, 7, NULL), 0);
    assert_int_equal(write_file(f, 8, NULL), 0);
    to = memdisk_content(f->memdisk, path, &len);
    memcpy(to + 72, memdisk_content(f->memdisk, other, &len) + 72, len - 72);
    assert_int_equal(snapshot_verify(f->disk, path, NULL), KV_ECORRUPT);
    assert_int_equal(snapshot_verify(f->disk, other, NULL), 0);
    free(path);
    free(other);
}

static void a_newer_format_is_told_from_damage(void **state)
{
    struct fixture *f = *state;
    char *path = snapshot_path("/snap", 7, 3);
    struct err err = ERR_INIT;
    uint64_t len;

    assert_int_equal(write_file(f, 7, NULL), 0);
    memdisk_content(f->memdisk, path, &len)[8] = 2;
    assert_int_equal(snapshot_verify(f->disk, path, &err), KV_EMISMATCH);
    assert_non_null(strstr(err.text, "newer kvd"));
    free(path);
}

static void checkpoints_are_listed_newest_first(void **state)
{
    struct fixture *f = *state;
    struct snapshot_file *files;
    struct snapshot_writer *unfinished;
    size_t len;

    assert_int_equal(write_file(f, 7, NULL), 0);
    assert_int_equal(write_file(f, 300, NULL), 0);
    unfinished = begin(f, 1000);
    assert_int_equal(snapshot_list(f->disk, "/snap", &files, &len, NULL), 0);
    assert_int_equal(len, 2);
    assert_int_equal(files[0].index, 300);
    assert_int_equal(files[1].index, 7);
    assert_int_equal(files[1].term, 3);
    free(files);
    snapshot_writer_close(unfinished);
    assert_int_equal(snapshot_list(f->disk, "/nowhere", &files, &len, NULL), 0);
    assert_int_equal(len, 0);
    free(files);
}

/* The power goes at every single step of writing a second checkpoint. */
static void a_crash_leaves_the_old_file_and_perhaps_the_new_one(void **state)
{
    bool finished = false;

    (void)state;
    for (uint64_t nth = 1; !finished; nth++) {
        struct fixture f = {.memdisk = memdisk_new(nth)};
        struct snapshot_file *files;
        size_t len;

        f.disk = memdisk_disk(f.memdisk);
        assert_int_equal(snapshot_prepare_dir(f.disk, "/snap", NULL), 0);
        assert_int_equal(write_file(&f, 7, NULL), 0);
        memdisk_cut_power(f.memdisk, nth);
        finished = write_file(&f, 8, NULL) == 0;
        memdisk_crash(f.memdisk);
        assert_int_equal(snapshot_prepare_dir(f.disk, "/snap", NULL), 0);
        assert_int_equal(snapshot_list(f.disk, "/snap", &files, &len, NULL), 0);
        must_read(&f, 7);
        if (finished)
            assert_int_equal(len, 2);
        if (len == 2)
            must_read(&f, 8);
        free(files);
        memdisk_free(f.memdisk);
        assert_true(nth < 1000);
    }
}

/* The power goes at every single step of removing one: what has a checkpoint's name is whole, and
 * nothing else is left after the next start. */
static void a_crash_leaves_no_half_of_a_file_that_is_removed(void **state)
{
    bool finished = false;

    (void)state;
    for (uint64_t nth = 1; !finished; nth++) {
        struct fixture f = {.memdisk = memdisk_new(nth)};
        struct snapshot_file *files;
        struct pace pace = {.bytes_per_second = 0};
        size_t len, names_len;
        char **names;

        f.disk = memdisk_disk(f.memdisk);
        assert_int_equal(snapshot_prepare_dir(f.disk, "/snap", NULL), 0);
        assert_int_equal(write_file(&f, 7, NULL), 0);
        assert_int_equal(write_file(&f, 8, NULL), 0);
        memdisk_cut_power(f.memdisk, nth);
        snapshot_remove(f.disk, "/snap", 7, 3, &pace);
        assert_int_equal(snapshot_list(f.disk, "/snap", &files, &len, NULL), 0);
        finished = len == 1 && f.disk.ops->sync_dir(f.disk.ctx, "/snap", NULL) == 0;
        free(files);
        memdisk_crash(f.memdisk);
        assert_int_equal(snapshot_prepare_dir(f.disk, "/snap", NULL), 0);
        assert_int_equal(snapshot_list(f.disk, "/snap", &files, &len, NULL), 0);
        must_read(&f, 8);
        if (len == 2)
            must_read(&f, 7);
        assert_int_equal(f.disk.ops->list(f.disk.ctx, "/snap", &names, &names_len, NULL), 0);
        assert_int_equal(names_len, len);
        if (finished)
            assert_int_equal(len, 1);
        disk_free_names(names, names_len);
        free(files);
        memdisk_free(f.memdisk);
        assert_true(nth < 100);
    }
}

/* Every write, and every sync, fails once; the disk fills up. */
static void a_failed_write_leaves_the_old_files_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    char **names;
    size_t len;

    assert_int_equal(write_file(f, 7, NULL), 0);
    for (uint64_t nth = 1;; nth++) {
        memdisk_fail_write(f->memdisk, nth);
        if (write_file(f, 8, &err) == 0)
            break;
        assert_int_equal(err.code, KV_EIO);
        assert_int_equal(f->disk.ops->list(f->disk.ctx, "/snap", &names, &len, NULL), 0);
        assert_int_equal(len, 1);
        disk_free_names(names, len);
        assert_true(nth < 100);
    }
    memdisk_fail_write(f->memdisk, 0);
    memdisk_fail_sync(f->memdisk, 1);
    assert_int_equal(write_file(f, 9, &err), KV_EIO);
    memdisk_fail_sync(f->memdisk, 0);
    memdisk_limit(f->memdisk, 2000000);
    assert_int_equal(write_file(f, 10, &err), KV_ENOSPC);
    memdisk_limit(f->memdisk, 0);
    must_read(f, 7);
    must_read(f, 8);
}

static void a_file_comes_in_pieces_and_gets_its_name_at_the_end(void **state)
{
    struct fixture *f = *state;
    char *path = snapshot_path("/snap", 7, 3);
    struct snapshot_incoming *incoming;
    struct snapshot_file *files;
    uint64_t len;
    size_t count;
    uint8_t *copy;

    assert_int_equal(write_file(f, 7, NULL), 0);
    (void)memdisk_content(f->memdisk, path, &len);
    copy = xmemdup(memdisk_content(f->memdisk, path, &len), len);
    assert_int_equal(f->disk.ops->unlink(f->disk.ctx, path, NULL), 0);

    assert_int_equal(snapshot_incoming_open(f->disk, "/snap", &incoming, NULL), 0);
    for (uint64_t at = 0; at < len; at += 10000)
        assert_int_equal(
            snapshot_incoming_write(
                incoming, slice_of(copy + at, (size_t)MIN(len - at, (uint64_t)10000)), NULL),
            0);
    assert_int_equal(snapshot_incoming_size(incoming), len);
    assert_int_equal(snapshot_list(f->disk, "/snap", &files, &count, NULL), 0);
    assert_int_equal(count, 0);
    free(files);
    assert_int_equal(snapshot_incoming_sync(incoming, NULL), 0);
    assert_int_equal(snapshot_verify(f->disk, snapshot_incoming_path(incoming), NULL), 0);
    assert_int_equal(snapshot_incoming_commit(incoming, 7, 3, NULL), 0);
    snapshot_incoming_close(incoming);
    memdisk_crash_to_synced(f->memdisk);
    must_read(f, 7);
    free(copy);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        T(what_was_written_is_read),
        T(a_file_has_the_documented_bytes),
        T(every_flipped_bit_is_found),
        T(every_truncation_and_every_tail_is_found),
        T(a_block_of_another_file_is_found),
        T(a_newer_format_is_told_from_damage),
        T(checkpoints_are_listed_newest_first),
        T(a_crash_leaves_the_old_file_and_perhaps_the_new_one),
        T(a_crash_leaves_no_half_of_a_file_that_is_removed),
        T(a_failed_write_leaves_the_old_files_and_nothing_else),
        T(a_file_comes_in_pieces_and_gets_its_name_at_the_end),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
