/* One fault at a time: torn tails, rot, lost files, a full disk, a disk that fails to sync. */
#include "tests/unit/wal/fixture.h"

#include <inttypes.h>

#include "base/codec.h"
#include "base/crc32c.h"

/* Where the first entry stands: behind the segment's block and the head. */
enum { FIRST_RECORD = WAL__DATA_START + WAL__RECORD_HEADER + WAL__HEAD_SIZE };

static uint8_t *bytes_of(struct fixture *f, const char *path)
{
    struct fault_inode *inode = fault_file(f->disk, path);

    assert_non_null(inode);
    return inode->now;
}

static uint64_t tail_of(struct fixture *f)
{
    return wal__side_tail(&f->wal->side);
}

static void close_log(struct fixture *f)
{
    wal_close(f->wal);
    f->wal = NULL;
}

static void assert_corrupt_at(struct fixture *f, const char *file, uint64_t offset)
{
    uint64_t before = fault_fingerprint(f->disk);
    char where[64];

    assert_int_equal(try_open(f), KV_ECORRUPT);
    (void)snprintf(where, sizeof(where), "%s: offset %" PRIu64 ":", file, offset);
    if (strstr(f->err.text, where) == NULL)
        fail_msg("\"%s\" not in \"%s\"", where, f->err.text);
    assert_non_null(strstr(f->err.text, "nothing was changed"));
    assert_int_equal(fault_fingerprint(f->disk), before);
}

/* A crash costs the flush that was under way and nothing before it. */
static void torn_tail_drops_only_the_last_flush(void **state)
{
    struct fixture *f = *state;

    open_log(f);
    append_text(f, "a");
    append_text(f, "b");
    flush_log(f);
    append_text(f, "c");
    append_text(f, "d");
    flush_without_sync(f);
    power_cut(f, 0);
    open_log(f);
    assert_log_is(f, 1, "a b ");
}

/* The power fails inside a flush of four; each of its records in turn is the first that is bad. */
static void torn_record_drops_itself_and_what_follows(void **state)
{
    static const char *const left[] = {"a ", "a b ", "a b c ", "a b c d "};
    struct fixture *f = *state;

    for (unsigned bad = 0; bad < 4; bad++) {
        for (unsigned byte = 0; byte < 48; byte++) {
            teardown(state);
            setup(state);
            f = *state;
            open_log(f);
            append_text(f, "a");
            flush_log(f);
            append_text(f, "b");
            append_text(f, "c");
            append_text(f, "d");
            append_text(f, "e");
            flush_without_sync(f);
            bytes_of(f, SEGMENT(1))[FIRST_RECORD + 48 * (bad + 1) + byte] ^= 0x10;
            open_log(f);
            assert_log_is(f, 1, left[bad]);
        }
    }
}

/* Without zeroing, "c" would follow the new "b", which is the same record as the old one. */
static void what_was_cut_never_comes_back(void **state)
{
    struct fixture *f = *state;

    open_log(f);
    append_text(f, "a");
    flush_log(f);
    append_text(f, "b");
    append_text(f, "c");
    flush_without_sync(f);
    bytes_of(f, SEGMENT(1))[FIRST_RECORD + 48 + 4] ^= 1;
    open_log(f);
    assert_log_is(f, 1, "a ");
    append_text(f, "b");
    flush_log(f);
    open_log(f);
    assert_log_is(f, 1, "a b ");
}

/* The cut itself is durable before anything is built on it. */
static void what_was_cut_stays_cut_after_a_power_cut(void **state)
{
    struct fixture *f = *state;
    const uint8_t *bytes;

    open_log(f);
    append_text(f, "a");
    flush_log(f);
    append_filled(f, 2, 1, 5000);
    append_text(f, "c");
    flush_without_sync(f);
    bytes_of(f, SEGMENT(1))[FIRST_RECORD + 48] ^= 1;
    open_log(f);
    power_cut(f, 0);
    bytes = bytes_of(f, SEGMENT(1));
    for (size_t at = FIRST_RECORD + 48; at < WAL__SEGMENT_SIZE_MIN; at++)
        assert_int_equal(bytes[at], 0);
}

/* The process dies, the machine does not: what is read back was never synced. Once somebody was
 * told about it, it must not go. */
static void what_opening_found_is_durable(void **state)
{
    struct fixture *f = *state;

    open_log(f);
    append_text(f, "a");
    flush_without_sync(f);
    open_log(f);
    assert_log_is(f, 1, "a ");
    power_cut(f, 0);
    open_log(f);
    assert_log_is(f, 1, "a ");
}

/* Three flushes; every bit-flipped byte of the first two is found, at the record it is in. */
static void a_flipped_bit_in_acknowledged_data_is_found(void **state)
{
    struct fixture *f = *state;
    uint64_t starts[16] = {WAL__DATA_START};
    size_t n = 1;
    uint64_t end;

    open_log(f);
    vote(f, 1, 2);
    starts[n] = starts[n - 1] + WAL__RECORD_HEADER + WAL__HEAD_SIZE, n++;
    starts[n] = starts[n - 1] + WAL__RECORD_HEADER + 16, n++;
    for (unsigned i = 0; i < 6; i++) {
        append_filled(f, i + 1, 1, 60 + i);
        starts[n] = starts[n - 1] + wal__record_size(WAL__ENTRY_HEAD + 60 + i), n++;
        if (i == 3)
            flush_log(f);
    }
    flush_log(f);
    end = tail_of(f);
    assert_int_equal(starts[n - 1], end);
    append_text(f, "last");
    flush_log(f);
    close_log(f);

    for (uint64_t at = WAL__DATA_START; at < end; at++) {
        uint8_t *byte = &bytes_of(f, SEGMENT(1))[at];
        uint8_t bit = (uint8_t)(1u << (at % 8));
        size_t i = 0;

        while (starts[i + 1] <= at)
            i++;
        *byte ^= bit;
        assert_corrupt_at(f, SEGMENT(1), starts[i]);
        *byte ^= bit;
    }
    open_log(f);
    assert_int_equal(wal_last_index(f->wal), 7);
}

static void a_flipped_bit_in_the_last_flush_costs_at_most_that_flush(void **state)
{
    struct fixture *f = *state;

    for (uint64_t at = 0; at < 2 * wal__record_size(WAL__ENTRY_HEAD + 1); at++) {
        uint64_t start;

        teardown(state);
        setup(state);
        f = *state;
        open_log(f);
        append_text(f, "a");
        flush_log(f);
        start = tail_of(f);
        append_text(f, "b");
        append_text(f, "c");
        flush_log(f);
        bytes_of(f, SEGMENT(1))[start + at] ^= 4;
        open_log(f);
        assert_log_is(f, 1, at < wal__record_size(WAL__ENTRY_HEAD + 1) ? "a " : "a b ");
    }
}

/* After an orderly end even the last flush is known to have been synced. */
static void a_mark_makes_damage_to_the_last_flush_known(void **state)
{
    struct fixture *f = *state;

    open_log(f);
    append_text(f, "a");
    flush_log(f);
    (void)wal_append_mark(f->wal);
    flush_log(f);
    close_log(f);
    bytes_of(f, SEGMENT(1))[FIRST_RECORD + 40] ^= 1;
    assert_corrupt_at(f, SEGMENT(1), FIRST_RECORD);
}

static void zeroed_sectors_in_acknowledged_data_are_found(void **state)
{
    struct fixture *f = *state;

    open_log(f);
    for (uint64_t i = 1; i <= 9; i++) {
        append_filled(f, i, 1, 1000);
        flush_log(f);
    }
    close_log(f);
    memset(bytes_of(f, SEGMENT(1)) + WAL__BLOCK, 0, 4096);
    assert_corrupt_at(f, SEGMENT(1), WAL__DATA_START);
}

static void fill(struct fixture *f, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i <= to; i++) {
        append_filled(f, i, 1, 700);
        flush_log(f);
    }
}

/* Whatever is in a later segment, the one before it had been synced, to its end. */
static void damage_at_the_end_of_a_full_segment_is_found(void **state)
{
    struct fixture *f = *state;
    uint64_t seal;

    open_log(f);
    while (f->wal->index.segments.len < 2)
        fill(f, wal_last_index(f->wal) + 1, wal_last_index(f->wal) + 1);
    seal = f->wal->side.prev_end - wal__record_size(0);
    close_log(f);
    bytes_of(f, SEGMENT(1))[seal] ^= 1;
    assert_corrupt_at(f, SEGMENT(1), seal);
    memset(bytes_of(f, SEGMENT(1)) + seal, 0, wal__record_size(0));
    assert_corrupt_at(f, SEGMENT(1), seal);
}

/* As far as the last byte that is not zero: the last record of a full segment, the seal. */
static uint64_t last_written(struct fixture *f, const char *path)
{
    uint64_t at = fault_file(f->disk, path)->size;

    while (bytes_of(f, path)[at - 1] == 0)
        at--;
    return at;
}

static void a_flipped_bit_in_any_segment_is_found(void **state)
{
    static const char *const paths[] = {SEGMENT(1), SEGMENT(2), SEGMENT(3)};
    struct fixture *f = *state;
    uint64_t end;

    open_log(f);
    while (f->wal->index.segments.len < 3)
        fill(f, wal_last_index(f->wal) + 1, wal_last_index(f->wal) + 1);
    fill(f, wal_last_index(f->wal) + 1, wal_last_index(f->wal) + 4);
    end = tail_of(f);
    fill(f, wal_last_index(f->wal) + 1, wal_last_index(f->wal) + 1);
    close_log(f);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t stop = i == 2 ? end : last_written(f, paths[i]);

        for (uint64_t at = WAL__DATA_START; at < stop; at += 13) {
            bytes_of(f, paths[i])[at] ^= (uint8_t)(1u << (at % 8));
            assert_int_equal(try_open(f), KV_ECORRUPT);
            assert_non_null(strstr(f->err.text, paths[i]));
            bytes_of(f, paths[i])[at] ^= (uint8_t)(1u << (at % 8));
        }
    }
    open_log(f);
}

static void a_damaged_segment_header_is_found(void **state)
{
    struct fixture *f = *state;

    open_log(f);
    append_text(f, "a");
    flush_log(f);
    for (unsigned at = 0; at < WAL__HEADER_SIZE; at++) {
        close_log(f);
        bytes_of(f, SEGMENT(1))[at] ^= 0x20;
        assert_corrupt_at(f, SEGMENT(1), 0);
        bytes_of(f, SEGMENT(1))[at] ^= 0x20;
        open_log(f);
    }
}

static void a_segment_of_a_later_format_is_refused_as_such(void **state)
{
    struct fixture *f = *state;
    struct wal__segment_header header = {.cluster_id = 7, .member_id = 8};
    struct wal__segment_header out;
    uint8_t block[WAL__BLOCK];
    const char *what = NULL;

    (void)f;
    wal__header_encode(&header, block);
    assert_int_equal(wal__header_decode(block, sizeof(block), &out, &what), 0);
    block[8] = 2;
    put_le32(block + 48, crc32c_extend(0, block, 48));
    assert_int_equal(wal__header_decode(block, sizeof(block), &out, &what), KV_EMISMATCH);
    assert_non_null(strstr(what, "version"));
}

static void remove_file(struct fixture *f, const char *path)
{
    fault_unname(f->disk->names, path);
}

/* First, middle, last with records; the one made ahead holds nothing and may go. */
static void a_lost_segment_is_found(void **state)
{
    static const char *const paths[] = {SEGMENT(1), SEGMENT(2), SEGMENT(3), SEGMENT(4)};
    struct fixture *f = *state;

    for (unsigned lost = 0; lost < 4; lost++) {
        teardown(state);
        setup(state);
        f = *state;
        open_log(f);
        while (f->wal->index.segments.len < 3)
            fill(f, wal_last_index(f->wal) + 1, wal_last_index(f->wal) + 1);
        while (wal_upkeep(f->wal, &f->err) == 1)
            ;
        close_log(f);
        remove_file(f, paths[lost]);
        if (lost < 3) {
            assert_int_equal(try_open(f), KV_ECORRUPT);
            assert_non_null(strstr(f->err.text, paths[lost]));
            assert_non_null(strstr(f->err.text, "missing"));
        } else {
            open_log(f);
        }
    }
}

static void a_log_whose_segments_are_all_lost_is_not_new(void **state)
{
    struct fixture *f = *state;

    open_log(f);
    fill(f, 1, 60);
    wal_drop_before(f->wal, 60);
    flush_log(f);
    while (wal_upkeep(f->wal, &f->err) == 1)
        ;
    close_log(f);
    for (size_t i = 0; i < ARRAY_LEN(f->disk->names); i++) {
        struct fault_name *name = &f->disk->names[i];

        if (name->path != NULL && strstr(name->path, ".wal") != NULL) {
            free(name->path);
            name->path = NULL;
        }
    }
    assert_int_equal(try_open(f), KV_ECORRUPT);
}

/* Segments that were dropped, but whose renaming did not survive, in any combination. */
static void leftovers_of_dropped_segments_do_no_harm(void **state)
{
    struct fixture *f = *state;
    struct collected c = {.len = 0};
    uint64_t first;

    for (unsigned seed = 1; seed <= 64; seed++) {
        teardown(state);
        setup(state);
        f = *state;
        prng_seed(&f->disk->prng, seed);
        open_log(f);
        fill(f, 1, 90);
        wal_drop_before(f->wal, 80);
        flush_log(f);
        while (f->wal->side.drop_next < f->wal->side.oldest)
            assert_true(wal_upkeep(f->wal, &f->err) >= 0);
        first = wal_first_index(f->wal);
        power_cut(f, 500000);
        open_log(f);
        assert_int_equal(wal_first_index(f->wal), first);
        c = (struct collected){.len = 0};
        assert_int_equal(wal_read(f->wal, first, UINT64_MAX, collect, &c, &f->err), 0);
        assert_int_equal(c.last, 90);
        assert_null(fault_file(f->disk, SEGMENT(1)));
    }
}

/* Old records of a recycled file would be good ones, were they not bound to their segment. */
static void old_bytes_of_a_recycled_segment_are_not_records(void **state)
{
    struct fixture *f = *state;
    struct collected c = {.len = 0};

    open_log(f);
    fill(f, 1, 100);
    for (uint64_t i = 101; i <= 300; i++) {
        fill(f, i, i);
        wal_drop_before(f->wal, i - 20);
        flush_log(f);
        open_log(f);
        assert_int_equal(wal_last_index(f->wal), i);
        assert_true(wal_upkeep(f->wal, &f->err) >= 0);
        assert_true(wal_upkeep(f->wal, &f->err) >= 0);
    }
    assert_int_equal(wal_read(f->wal, 281, UINT64_MAX, collect, &c, &f->err), 0);
    assert_int_equal(c.last, 300);
}

/* Each point where making the first segment can be interrupted, each with all or nothing of the
 * unsynced kept: the next open makes it, as new. */
static void a_half_made_log_is_made_again(void **state)
{
    struct fixture *f = *state;
    unsigned interrupted = 0;
    bool done = false;

    for (uint64_t cut = 1; !done; cut++) {
        for (uint32_t keep = 0; keep <= 1000000; keep += 500000) {
            teardown(state);
            setup(state);
            f = *state;
            prng_seed(&f->disk->prng, cut);
            f->disk->cut_at = cut;
            done = try_open(f) == 0;
            power_cut(f, keep);
            interrupted += !done;
            open_log(f);
            assert_true(wal_is_new(f->wal));
            append_text(f, "a");
            flush_log(f);
            power_cut(f, 0);
            open_log(f);
            assert_log_is(f, 1, "a ");
        }
    }
    assert_true(interrupted > 10);
}

static void a_full_disk_loses_nothing_that_was_flushed(void **state)
{
    struct fixture *f = *state;
    struct collected c = {.len = 0};
    uint64_t flushed = 0;
    int rc = 0;

    open_log(f);
    f->disk->capacity = 3 * WAL__SEGMENT_SIZE_MIN + 100;
    while (rc == 0) {
        append_filled(f, flushed + 1, 1, 700);
        rc = wal_flush_sync(f->wal, &f->err);
        flushed += rc == 0;
    }
    assert_int_equal(rc, KV_ENOSPC);
    assert_true(flushed > 40);
    f->disk->capacity = 0;
    append_text(f, "too late");
    assert_int_equal(wal_flush_sync(f->wal, &f->err), KV_ENOSPC);
    power_cut(f, 0);
    open_log(f);
    assert_int_equal(wal_last_index(f->wal), flushed);
    assert_int_equal(wal_read(f->wal, 1, UINT64_MAX, collect, &c, &f->err), 0);
    assert_int_equal(c.count, flushed);
    fill(f, flushed + 1, flushed + 30);
}

/* Making the next segment ahead may fail; it is tried again when it is needed. */
static void a_full_disk_in_upkeep_is_not_final(void **state)
{
    struct fixture *f = *state;
    int rc;

    open_log(f);
    fill(f, 1, 1);
    f->disk->capacity = fault_used(f->disk) + 100;
    do {
        rc = wal_upkeep(f->wal, &f->err);
    } while (rc == 1);
    assert_int_equal(rc, KV_ENOSPC);
    assert_int_equal(wal_disk_bytes(f->wal), fault_used(f->disk));
    fill(f, 2, 3);
    f->disk->capacity = 0;
    fill(f, 4, 40);
    assert_int_equal(wal_disk_bytes(f->wal), fault_used(f->disk));
}

static void a_failed_sync_is_final(void **state)
{
    struct fixture *f = *state;
    struct wal_flush *flush;
    uint64_t calls;

    open_log(f);
    append_text(f, "a");
    flush_log(f);
    append_text(f, "b");
    flush = wal_flush_begin(f->wal);
    f->disk->fail_sync_at = f->disk->syncs + 1;
    assert_int_equal(wal_flush_run(flush, &f->err), KV_EIO);
    calls = f->disk->calls;
    /* The disk would say yes now, without having written anything. */
    assert_int_equal(wal_flush_run(flush, &f->err), KV_EIO);
    assert_int_equal(wal_flush_sync(f->wal, &f->err), KV_EIO);
    append_text(f, "c");
    assert_null(wal_flush_begin(f->wal));
    assert_int_equal(wal_upkeep(f->wal, &f->err), KV_EIO);
    assert_int_equal(f->disk->calls, calls);
    power_cut(f, 0);
    open_log(f);
    assert_log_is(f, 1, "a ");
}

/* The names in a folder are unknown once it could not be synced. */
static void a_failed_sync_of_the_folder_is_final(void **state)
{
    struct fixture *f = *state;

    open_log(f);
    fill(f, 1, 1);
    while (f->wal->side.next.state != WAL__NEXT_FILLED)
        assert_int_equal(wal_upkeep(f->wal, &f->err), 1);
    f->disk->fail_sync_at = f->disk->syncs + 2; /* the header's is the first */
    assert_int_equal(wal_upkeep(f->wal, &f->err), KV_EIO);
    append_text(f, "b");
    assert_int_equal(wal_flush_sync(f->wal, &f->err), KV_EIO);
}

/* The nth changing call fails, for every n of a flush that goes over into a new segment. */
static void any_failing_call_in_a_roll_loses_nothing(void **state)
{
    struct fixture *f = *state;
    bool done = false;
    unsigned failed = 0;

    for (uint64_t n = 1; !done; n++) {
        for (uint32_t keep = 0; keep <= 1000000; keep += 250000) {
            struct collected c = {.len = 0};

            teardown(state);
            setup(state);
            f = *state;
            prng_seed(&f->disk->prng, n * 7 + keep);
            open_log(f);
            vote(f, 6, 7);
            fill(f, 1, 12);
            for (uint64_t i = 13; i <= 30; i++)
                append_filled(f, i, 2, 700);
            f->disk->cut_at = f->disk->calls + n;
            done = wal_flush_sync(f->wal, &f->err) == 0;
            failed += !done;
            power_cut(f, keep);
            open_log(f);
            assert_true(wal_last_index(f->wal) >= (done ? 30u : 12u));
            assert_state_is(f, 6, 7);
            assert_int_equal(wal_read(f->wal, 1, UINT64_MAX, collect, &c, &f->err), 0);
            assert_int_equal(c.count, wal_last_index(f->wal));
            fill(f, wal_last_index(f->wal) + 1, wal_last_index(f->wal) + 30);
        }
    }
    assert_true(failed > 30);
}

static void opening_to_read_changes_nothing(void **state)
{
    struct fixture *f = *state;

    open_log(f);
    fill(f, 1, 30);
    append_text(f, "torn");
    flush_without_sync(f);
    assert_non_null(fault_file(f->disk, SEGMENT(2)));
    f->options.read_only = true;
    f->disk->frozen = true;
    open_log(f);
    assert_int_equal(wal_last_index(f->wal), 31);
    close_log(f);
    f->disk->frozen = false;
}

static void a_torn_tail_is_hidden_from_a_reader_and_left_alone(void **state)
{
    struct fixture *f = *state;
    uint64_t before;

    open_log(f);
    append_text(f, "a");
    flush_log(f);
    append_text(f, "b");
    flush_without_sync(f);
    bytes_of(f, SEGMENT(1))[FIRST_RECORD + 48 + 40] ^= 1;
    before = fault_fingerprint(f->disk);
    f->options.read_only = true;
    f->disk->frozen = true;
    open_log(f);
    assert_log_is(f, 1, "a ");
    close_log(f);
    f->disk->frozen = false;
    assert_int_equal(fault_fingerprint(f->disk), before);
}

/* Rot under a running member: the read says so instead of giving wrong bytes. */
static void damage_is_found_when_an_entry_is_read(void **state)
{
    struct fixture *f = *state;
    struct collected c = {.len = 0};

    open_log(f);
    append_text(f, "a");
    append_text(f, "b");
    flush_log(f);
    bytes_of(f, SEGMENT(1))[FIRST_RECORD + 40] ^= 1;
    assert_int_equal(wal_read(f->wal, 1, 1, collect, &c, &f->err), KV_ECORRUPT);
    assert_non_null(strstr(f->err.text, SEGMENT(1) ": offset 4168:"));
    assert_int_equal(c.count, 0);
}

/* Data that is itself a log, at the very place where it would count. */
static void data_that_looks_like_records_is_not_taken_for_any(void **state)
{
    struct fixture *f = *state;
    uint8_t copy[6000];

    open_log(f);
    append_text(f, "x");
    flush_log(f);
    append_text(f, "y");
    flush_log(f);
    memcpy(copy, bytes_of(f, SEGMENT(1)) + WAL__DATA_START, 2000);
    memcpy(copy + 2000, bytes_of(f, SEGMENT(1)) + WAL__DATA_START, 4000);
    append_bytes(f, 3, 1, copy, sizeof(copy));
    flush_without_sync(f);
    bytes_of(f, SEGMENT(1))[FIRST_RECORD + 96] ^= 1; /* torn: a search follows */
    open_log(f);
    assert_log_is(f, 1, "x y ");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(torn_tail_drops_only_the_last_flush),
        TEST(torn_record_drops_itself_and_what_follows),
        TEST(what_was_cut_never_comes_back),
        TEST(what_was_cut_stays_cut_after_a_power_cut),
        TEST(what_opening_found_is_durable),
        TEST(a_flipped_bit_in_acknowledged_data_is_found),
        TEST(a_flipped_bit_in_the_last_flush_costs_at_most_that_flush),
        TEST(a_mark_makes_damage_to_the_last_flush_known),
        TEST(zeroed_sectors_in_acknowledged_data_are_found),
        TEST(damage_at_the_end_of_a_full_segment_is_found),
        TEST(a_flipped_bit_in_any_segment_is_found),
        TEST(a_damaged_segment_header_is_found),
        TEST(a_segment_of_a_later_format_is_refused_as_such),
        TEST(a_lost_segment_is_found),
        TEST(a_log_whose_segments_are_all_lost_is_not_new),
        TEST(leftovers_of_dropped_segments_do_no_harm),
        TEST(old_bytes_of_a_recycled_segment_are_not_records),
        TEST(a_half_made_log_is_made_again),
        TEST(a_full_disk_loses_nothing_that_was_flushed),
        TEST(a_full_disk_in_upkeep_is_not_final),
        TEST(a_failed_sync_is_final),
        TEST(a_failed_sync_of_the_folder_is_final),
        TEST(any_failing_call_in_a_roll_loses_nothing),
        TEST(opening_to_read_changes_nothing),
        TEST(a_torn_tail_is_hidden_from_a_reader_and_left_alone),
        TEST(damage_is_found_when_an_entry_is_read),
        TEST(data_that_looks_like_records_is_not_taken_for_any),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
