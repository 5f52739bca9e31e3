/* A log on a fault disk, and verbs for it. */
#ifndef KVD_TESTS_WAL_FIXTURE_H
#define KVD_TESTS_WAL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/wal/fault_disk.h"
#include "wal/internal.h"

#define LOG_DIR "data/wal"
#define SEGMENT(n) LOG_DIR "/00000000000" #n ".wal"

struct fixture {
    struct fault_disk *disk;
    struct wal_options options;
    struct wal *wal;
    struct err err;
};

static inline int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    f->disk = fault_disk_new(1);
    f->options = (struct wal_options){
        .disk = fault_disk_ops(f->disk),
        .dir = LOG_DIR,
        .cluster_id = 7,
        .member_id = 8,
        .segment_size = WAL__SEGMENT_SIZE_MIN,
    };
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;

    wal_close(f->wal);
    assert_int_equal(f->disk->open_files, 0);
    fault_disk_free(f->disk);
    free(f);
    return 0;
}

static inline int try_open(struct fixture *f)
{
    wal_close(f->wal);
    f->wal = NULL;
    f->err = (struct err)ERR_INIT;
    return wal_open(&f->options, &f->wal, &f->err);
}

static inline void open_log(struct fixture *f)
{
    int rc = try_open(f);

    if (rc != 0)
        print_error("%s\n", f->err.text);
    assert_int_equal(rc, 0);
}

static inline void append_bytes(struct fixture *f, uint64_t index, uint64_t term, const void *data,
                                size_t len)
{
    struct wal_entry entry = {.index = index, .term = term, .type = 3, .data = slice_of(data, len)};

    (void)wal_append_entry(f->wal, &entry);
}

static inline void append_at(struct fixture *f, uint64_t index, uint64_t term, const char *text)
{
    append_bytes(f, index, term, text, strlen(text));
}

static inline void append_text(struct fixture *f, const char *text)
{
    append_at(f, wal_last_index(f->wal) + 1, 1, text);
}

/* An entry of len bytes, all made from its index. */
static inline void append_filled(struct fixture *f, uint64_t index, uint64_t term, size_t len)
{
    uint8_t *data = xmalloc(len);

    memset(data, (int)(index + term), len);
    append_bytes(f, index, term, data, len);
    free(data);
}

static inline void vote(struct fixture *f, uint64_t term, uint64_t voted_for)
{
    (void)wal_append_hard_state(f->wal, (struct wal_hard_state){term, voted_for});
}

static inline void flush_log(struct fixture *f)
{
    int rc = wal_flush_sync(f->wal, &f->err);

    if (rc != 0)
        print_error("%s\n", f->err.text);
    assert_int_equal(rc, 0);
}

static inline void power_cut(struct fixture *f, uint32_t keep_ppm)
{
    wal_close(f->wal);
    f->wal = NULL;
    fault_power_cut(f->disk, keep_ppm);
}

/* Writes what is pending, then the power fails before it is synced; what stays is the caller's to
 * decide by keeping all and then damaging it. */
static inline void flush_without_sync(struct fixture *f)
{
    struct wal_flush *flush = wal_flush_begin(f->wal);

    assert_non_null(flush);
    f->disk->cut_at = f->disk->calls + 2; /* after the one write */
    assert_int_equal(wal_flush_run(flush, &f->err), KV_EIO);
    f->disk->cut_at = 0;
    wal_close(f->wal);
    f->wal = NULL;
}

struct collected {
    char text[1 << 16];
    size_t len;
    uint64_t count, first, last;
    uint64_t bytes;
};

static inline int collect(void *ctx, const struct wal_entry *entry)
{
    struct collected *c = ctx;

    if (c->count == 0)
        c->first = entry->index;
    else
        assert_int_equal(entry->index, c->last + 1);
    c->last = entry->index;
    c->count++;
    c->bytes += entry->data.len;
    if (c->len + entry->data.len + 2 < sizeof(c->text)) {
        memcpy(c->text + c->len, entry->data.data, entry->data.len);
        c->len += entry->data.len;
        c->text[c->len++] = ' ';
        c->text[c->len] = '\0';
    }
    return 0;
}

/* "a b c " for everything from index on. */
static inline void assert_log_is(struct fixture *f, uint64_t index, const char *text)
{
    struct collected c = {.len = 0};

    assert_int_equal(wal_read(f->wal, index, UINT64_MAX, collect, &c, &f->err), 0);
    assert_string_equal(c.text, text);
    assert_int_equal(c.first, index);
}

static inline void assert_state_is(struct fixture *f, uint64_t term, uint64_t voted_for)
{
    struct wal_hard_state state = wal_hard_state(f->wal);

    assert_int_equal(state.term, term);
    assert_int_equal(state.voted_for, voted_for);
}

#endif
