/* The log as its owner sees it, on a disk that does what it is told. */
#include "tests/unit/wal/fixture.h"

#include <inttypes.h>

static void a_missing_folder_becomes_a_new_empty_log(void **state)
{
    struct fixture *f = *state;

    open_log(f);
    assert_true(wal_is_new(f->wal));
    assert_int_equal(wal_first_index(f->wal), 0);
    assert_int_equal(wal_last_index(f->wal), 0);
    assert_int_equal(wal_term(f->wal, 1), 0);
    assert_state_is(f, 0, 0);
    assert_null(wal_flush_begin(f->wal));
    assert_int_equal(wal_disk_bytes(f->wal), WAL__SEGMENT_SIZE_MIN);
}

static void a_log_into_which_nothing_was_stored_is_still_new(void **state)
{
    struct fixture *f = *state;

    open_log(f);
    open_log(f);
    assert_true(wal_is_new(f->wal));
    append_text(f, "a");
    flush_log(f);
    open_log(f);
    assert_false(wal_is_new(f->wal));
}

static void what_was_flushed_is_there_after_opening_again(void **state)
{
    struct fixture *f = *state;

    open_log(f);
    vote(f, 2, 9);
    append_at(f, 1, 1, "a");
    append_at(f, 2, 2, "b");
    flush_log(f);
    append_at(f, 3, 2, "c");
    vote(f, 3, 0);
    flush_log(f);
    append_at(f, 4, 3, "lost: never flushed");

    open_log(f);
    assert_int_equal(wal_first_index(f->wal), 1);
    assert_int_equal(wal_last_index(f->wal), 3);
    assert_log_is(f, 1, "a b c ");
    assert_log_is(f, 3, "c ");
    assert_state_is(f, 3, 0);
    assert_int_equal(wal_term(f->wal, 1), 1);
    assert_int_equal(wal_term(f->wal, 2), 2);
    assert_int_equal(wal_term(f->wal, 3), 2);
    assert_int_equal(wal_term(f->wal, 4), 0);
}

/* Entries of 1000 bytes: a reserve of so many bytes reaches back over about so many of them. */
static void a_reserve_reaches_back_as_far_as_its_bytes(void **state)
{
    struct fixture *f = *state;
    uint8_t data[4000] = {0};
    uint64_t before = UINT64_MAX;

    f->options.segment_size = 1 << 20;
    open_log(f);
    for (uint64_t i = 1; i <= 1000; i++)
        append_bytes(f, i, 1, data, sizeof data);
    flush_log(f);
    assert_int_equal(wal_reserve_index(f->wal, 1000, UINT64_MAX / 2), 1);
    assert_int_equal(wal_bytes_behind(f->wal, 1000), 0);
    assert_in_range(wal_bytes_behind(f->wal, 500), 490 * sizeof data, 540 * sizeof data);
    assert_in_range(wal_bytes_behind(f->wal, 0), 970 * sizeof data, 1060 * sizeof data);
    for (uint64_t bytes = 0; bytes <= 4 << 20; bytes += 500000) {
        uint64_t first = wal_reserve_index(f->wal, 1000, bytes);

        assert_true(first <= before);
        assert_true((1000 - first) * sizeof data <= bytes + 2 * WAL__POINT_EVERY);
        assert_true((1000 - first) * sizeof data + 3 * WAL__POINT_EVERY + bytes / 50 >= bytes ||
                    first == 1);
        before = first;
    }
}

static int check_type(void *ctx, const struct wal_entry *entry)
{
    (*(unsigned *)ctx)++;
    assert_int_equal(entry->type, 3);
    assert_int_equal(entry->term, 5);
    return 17;
}

static void a_visit_that_returns_non_zero_ends_the_read(void **state)
{
    struct fixture *f = *state;
    unsigned visits = 0;

    open_log(f);
    append_at(f, 1, 5, "a");
    append_at(f, 2, 5, "b");
    flush_log(f);
    assert_int_equal(wal_read(f->wal, 1, UINT64_MAX, check_type, &visits, &f->err), 17);
    assert_int_equal(visits, 1);
}

static void a_read_stops_before_it_exceeds_its_bytes_but_gives_one_entry(void **state)
{
    struct fixture *f = *state;
    struct collected c = {.len = 0};

    open_log(f);
    for (uint64_t i = 1; i <= 6; i++)
        append_filled(f, i, 1, 100);
    flush_log(f);
    assert_int_equal(wal_read(f->wal, 1, 250, collect, &c, &f->err), 0);
    assert_int_equal(c.last, 2);
    assert_int_equal(wal_read(f->wal, 3, 10, collect, &c, &f->err), 0);
    assert_int_equal(c.last, 3);
    assert_int_equal(wal_read(f->wal, 4, 300, collect, &c, &f->err), 0);
    assert_int_equal(c.last, 6);
}

static void an_entry_at_or_below_the_last_replaces_it_and_all_after(void **state)
{
    struct fixture *f = *state;

    open_log(f);
    append_at(f, 1, 1, "a");
    append_at(f, 2, 1, "b");
    append_at(f, 3, 1, "c");
    flush_log(f);
    append_at(f, 2, 2, "B");
    assert_int_equal(wal_last_index(f->wal), 2);
    assert_int_equal(wal_term(f->wal, 2), 2);
    assert_int_equal(wal_term(f->wal, 3), 0);
    flush_log(f);
    append_at(f, 3, 2, "C");
    flush_log(f);
    assert_log_is(f, 1, "a B C ");
    open_log(f);
    assert_log_is(f, 1, "a B C ");
    assert_int_equal(wal_term(f->wal, 1), 1);
    assert_int_equal(wal_term(f->wal, 3), 2);
}

/* Between the append and the end of its flush nothing that it replaces may be read. */
static void replaced_entries_are_unreadable_before_the_replacement_is_durable(void **state)
{
    struct fixture *f = *state;
    struct collected c = {.len = 0};
    struct wal_flush *flush;

    open_log(f);
    append_text(f, "a");
    append_text(f, "b");
    flush_log(f);
    append_at(f, 2, 2, "B");
    assert_int_equal(wal_read(f->wal, 2, 1, collect, &c, &f->err), KV_ENOTFOUND);
    flush = wal_flush_begin(f->wal);
    assert_int_equal(wal_read(f->wal, 2, 1, collect, &c, &f->err), KV_ENOTFOUND);
    assert_log_is(f, 1, "a ");
    assert_int_equal(wal_flush_run(flush, &f->err), 0);
    (void)wal_flush_end(f->wal, flush);
    assert_log_is(f, 2, "B ");
}

static void appends_during_a_flush_go_into_the_next(void **state)
{
    struct fixture *f = *state;
    struct wal_flush *first, *second;
    uint64_t seq;

    open_log(f);
    append_text(f, "a");
    first = wal_flush_begin(f->wal);
    append_text(f, "b");
    append_text(f, "c");
    assert_null(wal_flush_begin(f->wal));
    assert_int_equal(wal_flush_run(first, &f->err), 0);
    seq = wal_flush_end(f->wal, first);
    second = wal_flush_begin(f->wal);
    assert_int_equal(wal_flush_run(second, &f->err), 0);
    assert_int_equal(wal_flush_end(f->wal, second), seq + 2);
    assert_log_is(f, 1, "a b c ");
}

static void entries_across_many_segments_are_read_in_order(void **state)
{
    struct fixture *f = *state;
    struct collected c = {.len = 0};

    open_log(f);
    for (uint64_t i = 1; i <= 100; i++) {
        append_filled(f, i, i / 10, 700);
        if (i % 7 == 0)
            flush_log(f);
    }
    flush_log(f);
    open_log(f);
    assert_true(f->wal->index.segments.len > 5);
    assert_int_equal(wal_read(f->wal, 1, UINT64_MAX, collect, &c, &f->err), 0);
    assert_int_equal(c.count, 100);
    for (uint64_t i = 1; i <= 100; i++) {
        c = (struct collected){.len = 0};
        assert_int_equal(wal_read(f->wal, i, 1, collect, &c, &f->err), 0);
        assert_int_equal(c.first, i);
        assert_int_equal(c.text[0] & 0xff, (i + i / 10) & 0xff);
        assert_int_equal(wal_term(f->wal, i), i / 10);
    }
}

static void an_entry_larger_than_a_segment_gets_one_of_its_own(void **state)
{
    struct fixture *f = *state;
    struct collected c = {.len = 0};

    open_log(f);
    append_text(f, "small");
    append_filled(f, 2, 1, 3 * WAL__SEGMENT_SIZE_MIN);
    append_at(f, 3, 1, "behind");
    flush_log(f);
    append_at(f, 4, 1, "later");
    flush_log(f);
    for (int i = 0; i < 2; i++) {
        c = (struct collected){.len = 0};
        assert_int_equal(wal_read(f->wal, 2, 1, collect, &c, &f->err), 0);
        assert_int_equal(c.bytes, 3 * WAL__SEGMENT_SIZE_MIN);
        assert_log_is(f, 3, "behind later ");
        open_log(f);
    }
}

static void the_largest_entry_goes_in_and_comes_out(void **state)
{
    struct fixture *f = *state;
    struct collected c = {.len = 0};

    f->options.segment_size = 0;
    open_log(f);
    append_filled(f, 1, 1, WAL_ENTRY_SIZE_MAX);
    append_filled(f, 2, 1, WAL_ENTRY_SIZE_MAX);
    flush_log(f);
    open_log(f);
    assert_int_equal(wal_read(f->wal, 1, UINT64_MAX, collect, &c, &f->err), 0);
    assert_int_equal(c.count, 2);
    assert_int_equal(c.bytes, 2 * (uint64_t)WAL_ENTRY_SIZE_MAX);
}

static size_t count_files(struct fixture *f, const char *suffix)
{
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(f->disk->names); i++)
        n += f->disk->names[i].path != NULL && strstr(f->disk->names[i].path, suffix) != NULL;
    return n;
}

static void fill(struct fixture *f, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i <= to; i++) {
        append_filled(f, i, i / 10, 700);
        flush_log(f);
    }
}

static void dropped_segments_go_and_the_rest_stays_readable(void **state)
{
    struct fixture *f = *state;
    struct collected c = {.len = 0};
    uint64_t first;

    open_log(f);
    vote(f, 4, 5);
    fill(f, 1, 100);
    wal_drop_before(f->wal, 60);
    first = wal_first_index(f->wal);
    assert_true(first > 40 && first <= 60);
    flush_log(f);
    while (wal_upkeep(f->wal, &f->err) == 1)
        ;
    assert_null(fault_file(f->disk, SEGMENT(1)));
    for (int i = 0; i < 2; i++) {
        c = (struct collected){.len = 0};
        assert_int_equal(wal_first_index(f->wal), first);
        assert_int_equal(wal_read(f->wal, first, UINT64_MAX, collect, &c, &f->err), 0);
        assert_int_equal(c.last, 100);
        assert_int_equal(wal_read(f->wal, first - 1, 1, collect, &c, &f->err), KV_ENOTFOUND);
        assert_int_equal(wal_term(f->wal, first - 1), 0);
        assert_int_equal(wal_term(f->wal, first), first / 10);
        assert_state_is(f, 4, 5); /* its record is gone with the first segment */
        open_log(f);
    }
}

/* Steady state: no file is made, none grows, the disk does not fill. */
static void dropped_segments_are_used_again(void **state)
{
    struct fixture *f = *state;
    size_t files;
    uint64_t bytes;

    open_log(f);
    fill(f, 1, 100);
    for (uint64_t i = 101; i <= 200; i++) {
        fill(f, i, i);
        wal_drop_before(f->wal, i - 40);
        (void)wal_upkeep(f->wal, &f->err);
    }
    flush_log(f);
    files = f->disk->inodes_len;
    bytes = wal_disk_bytes(f->wal);
    for (uint64_t i = 201; i <= 600; i++) {
        fill(f, i, i);
        wal_drop_before(f->wal, i - 40);
        (void)wal_upkeep(f->wal, &f->err);
    }
    flush_log(f);
    assert_int_equal(f->disk->inodes_len, files);
    assert_int_equal(wal_disk_bytes(f->wal), bytes);
    assert_true(bytes <= 10 * WAL__SEGMENT_SIZE_MIN);
    assert_int_equal(bytes, fault_used(f->disk));
    open_log(f);
    assert_int_equal(wal_last_index(f->wal), 600);
    assert_int_equal(wal_disk_bytes(f->wal), fault_used(f->disk));
}

static void drop_most(struct fixture *f)
{
    fill(f, 1, 200);
    assert_true(count_files(f, ".wal") > 9);
    wal_drop_before(f->wal, 200);
    flush_log(f);
    while (wal_upkeep(f->wal, &f->err) == 1)
        ;
    assert_true(count_files(f, ".wal") <= 3);
}

static void no_more_spare_segments_are_kept_than_allowed(void **state)
{
    struct fixture *f = *state;

    open_log(f);
    drop_most(f);
    assert_true(count_files(f, ".spare") <= WAL__SPARES_ALWAYS);
}

static void spare_segments_are_kept_up_to_the_bytes_that_all_may_take(void **state)
{
    struct fixture *f = *state;
    uint64_t before;

    open_log(f);
    wal_keep_spares(f->wal, 8 * WAL__SEGMENT_SIZE_MIN);
    drop_most(f);
    before = fault_used(f->disk);
    assert_int_equal(before, 8 * WAL__SEGMENT_SIZE_MIN);
    fill(f, 201, 220); /* into the spares, without having them filled with zeros */
    assert_true(fault_used(f->disk) - before <= 6 * WAL__SEGMENT_SIZE_MIN);
    open_log(f);
    assert_int_equal(wal_disk_bytes(f->wal), fault_used(f->disk));
    (void)wal_append_mark(f->wal);
    flush_log(f);
    while (wal_upkeep(f->wal, &f->err) == 1)
        ;
    assert_true(count_files(f, ".spare") <= WAL__SPARES_ALWAYS);
}

static void the_last_entry_is_never_dropped(void **state)
{
    struct fixture *f = *state;

    open_log(f);
    append_text(f, "a");
    append_text(f, "b");
    flush_log(f);
    wal_drop_before(f->wal, 3);
    assert_int_equal(wal_last_index(f->wal), 2);
    append_at(f, 3, 1, "c");
    flush_log(f);
    assert_log_is(f, 3, "c ");
}

/* The state came as a snapshot from the leader: the log goes on behind it. */
static void dropping_beyond_the_end_empties_the_log(void **state)
{
    struct fixture *f = *state;
    struct collected c = {.len = 0};

    open_log(f);
    vote(f, 3, 1);
    fill(f, 1, 30);
    wal_drop_before(f->wal, 501);
    assert_int_equal(wal_last_index(f->wal), 0);
    assert_int_equal(wal_first_index(f->wal), 0);
    assert_int_equal(wal_term(f->wal, 30), 0);
    assert_int_equal(wal_read(f->wal, 30, 1, collect, &c, &f->err), KV_ENOTFOUND);
    flush_log(f);
    open_log(f);
    assert_int_equal(wal_last_index(f->wal), 0);
    assert_false(wal_is_new(f->wal));
    assert_state_is(f, 3, 1);
    append_at(f, 501, 9, "x");
    append_at(f, 502, 9, "y");
    flush_log(f);
    wal_drop_before(f->wal, 501);
    flush_log(f);
    open_log(f);
    assert_int_equal(wal_first_index(f->wal), 501);
    assert_log_is(f, 501, "x y ");
    assert_int_equal(wal_term(f->wal, 502), 9);
    assert_null(fault_file(f->disk, SEGMENT(1)));
}

static void a_log_of_other_ids_is_refused(void **state)
{
    struct fixture *f = *state;

    open_log(f);
    append_text(f, "a");
    flush_log(f);
    f->options.member_id = 9;
    assert_int_equal(try_open(f), KV_EMISMATCH);
    f->options.member_id = 8;
    f->options.cluster_id = 1;
    assert_int_equal(try_open(f), KV_EMISMATCH);
    assert_non_null(strstr(f->err.text, "cluster 0000000000000007 member 0000000000000008"));
    f->options.cluster_id = f->options.member_id = 0;
    f->options.read_only = true;
    open_log(f);
    assert_log_is(f, 1, "a ");
}

static void reading_only_needs_a_log(void **state)
{
    struct fixture *f = *state;

    f->options.read_only = true;
    assert_int_equal(try_open(f), KV_ENOTFOUND);
    assert_int_equal(f->disk->calls, 0);
}

static void memory_for_positions_does_not_grow_with_entries(void **state)
{
    struct fixture *f = *state;

    f->options.segment_size = 1 << 20;
    open_log(f);
    for (uint64_t i = 1; i <= 20000; i++) {
        append_filled(f, i, 1, 24);
        if (i % 100 == 0)
            flush_log(f);
    }
    assert_true(f->wal->index.points.len <= 2 + wal_appended_bytes(f->wal) / WAL__POINT_EVERY);
    assert_int_equal(f->wal->index.runs_len, 1);
    for (uint64_t i = 1; i <= 20000; i += 61) {
        struct collected c = {.len = 0};

        assert_int_equal(wal_read(f->wal, i, 1, collect, &c, &f->err), 0);
        assert_int_equal(c.first, i);
    }
}

static void few_files_are_open_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct collected c = {.len = 0};

    open_log(f);
    fill(f, 1, 200);
    assert_int_equal(wal_read(f->wal, 1, UINT64_MAX, collect, &c, &f->err), 0);
    assert_true(f->disk->open_files <= 3);
}

struct lines {
    char text[1 << 16];
    size_t len;
};

static void on_line(void *ctx, const char *line)
{
    struct lines *lines = ctx;

    lines->len +=
        (size_t)snprintf(lines->text + lines->len, sizeof(lines->text) - lines->len, "%s\n", line);
    assert_true(lines->len < sizeof(lines->text));
}

static void a_dump_shows_every_record_and_what_became_of_it(void **state)
{
    struct fixture *f = *state;
    struct lines lines = {.len = 0};

    open_log(f);
    vote(f, 2, 0xab);
    append_at(f, 1, 2, "one");
    append_at(f, 2, 2, "two");
    flush_log(f);
    append_at(f, 2, 3, "TWO");
    flush_log(f);
    f->disk->frozen = true;
    assert_int_equal(wal_dump(f->options.disk, LOG_DIR, on_line, &lines, &f->err), 0);
    f->disk->frozen = false;
    assert_string_equal(
        lines.text,
        "000000000001.wal          0 segment 1 cluster 0000000000000007 member 0000000000000008 "
        "size 16384\n"
        "000000000001.wal       4096 head term 0 vote 0 last 0 oldest segment 1 crc ok\n"
        "000000000001.wal       4168 state term 2 vote ab crc ok\n"
        "000000000001.wal       4208 entry index 1 term 2 type 3 length 3 crc ok\n"
        "000000000001.wal       4256 entry index 2 term 2 type 3 length 3 crc ok superseded\n"
        "000000000001.wal       4304 entry index 2 term 3 type 3 length 3 crc ok\n"
        "000000000001.wal       4352 end\n");
}

static void a_dump_goes_on_behind_damage(void **state)
{
    struct fixture *f = *state;
    struct lines lines = {.len = 0};

    open_log(f);
    append_text(f, "one");
    append_text(f, "two");
    flush_log(f);
    append_text(f, "three");
    flush_log(f);
    fault_file(f->disk, SEGMENT(1))->now[4168 + 5] ^= 1;  /* header of "one" */
    fault_file(f->disk, SEGMENT(1))->now[4264 + 41] ^= 1; /* data of "three", of the last flush */
    assert_int_equal(wal_dump(f->options.disk, LOG_DIR, on_line, &lines, &f->err), 0);
    assert_string_equal(
        lines.text,
        "000000000001.wal          0 segment 1 cluster 0000000000000007 member 0000000000000008 "
        "size 16384\n"
        "000000000001.wal       4096 head term 0 vote 0 last 0 oldest segment 1 crc ok\n"
        "000000000001.wal       4168 DAMAGED rot_header: it had been stored, the log is corrupt\n"
        "000000000001.wal       4216 entry index 2 term 1 type 3 length 3 crc unknown\n"
        "000000000001.wal       4264 DAMAGED torn_body: never acknowledged, opening the log cuts "
        "it off\n");
}

/* The first segment of docs/format/wal.md, byte by byte. */
static void the_worked_example_of_the_format_is_true(void **state)
{
    /* clang-format off */
    static const uint8_t header[] = {
        0x4b, 0x56, 0x44, 0x57, 0x41, 0x4c, 0x0d, 0x0a, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0d, 0x19, 0x55, 0xc5, 0x7e, 0x9f, 0xce, 0x08,
        0xa6, 0xcf, 0x4c, 0x06,
    };
    static const uint8_t records[] = {
        0x74, 0xa5, 0x72, 0x8f, 0x21, 0x8b, 0xa4, 0xf1, 0x30, 0x00, 0x00, 0x00,
        0x01, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x23, 0x6c, 0x95, 0x4a, 0x8f, 0xd3, 0xef, 0x02, 0x15, 0x00, 0x00, 0x00,
        0x02, 0x03, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x00, 0x00, 0x00,
    };
    /* clang-format on */
    struct fixture *f = *state;

    open_log(f);
    append_text(f, "hello");
    flush_log(f);
    assert_memory_equal(fault_file(f->disk, SEGMENT(1))->now, header, sizeof(header));
    assert_memory_equal(fault_file(f->disk, SEGMENT(1))->now + 4096, records, sizeof(records));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_missing_folder_becomes_a_new_empty_log),
        TEST(a_log_into_which_nothing_was_stored_is_still_new),
        TEST(what_was_flushed_is_there_after_opening_again),
        TEST(a_reserve_reaches_back_as_far_as_its_bytes),
        TEST(a_visit_that_returns_non_zero_ends_the_read),
        TEST(a_read_stops_before_it_exceeds_its_bytes_but_gives_one_entry),
        TEST(an_entry_at_or_below_the_last_replaces_it_and_all_after),
        TEST(replaced_entries_are_unreadable_before_the_replacement_is_durable),
        TEST(appends_during_a_flush_go_into_the_next),
        TEST(entries_across_many_segments_are_read_in_order),
        TEST(an_entry_larger_than_a_segment_gets_one_of_its_own),
        TEST(the_largest_entry_goes_in_and_comes_out),
        TEST(dropped_segments_go_and_the_rest_stays_readable),
        TEST(dropped_segments_are_used_again),
        TEST(no_more_spare_segments_are_kept_than_allowed),
        TEST(spare_segments_are_kept_up_to_the_bytes_that_all_may_take),
        TEST(the_last_entry_is_never_dropped),
        TEST(dropping_beyond_the_end_empties_the_log),
        TEST(a_log_of_other_ids_is_refused),
        TEST(reading_only_needs_a_log),
        TEST(memory_for_positions_does_not_grow_with_entries),
        TEST(few_files_are_open_at_a_time),
        TEST(a_dump_shows_every_record_and_what_became_of_it),
        TEST(a_dump_goes_on_behind_damage),
        TEST(the_worked_example_of_the_format_is_true),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
