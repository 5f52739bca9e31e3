/* The log thread on the real disk. */
#include <ftw.h>
#include <unistd.h>

#include "tests/unit/wal/fixture.h"
#include "wal/writer.h"

struct member {
    uv_loop_t loop;
    struct wal_options options;
    struct wal *wal;
    struct wal_writer *writer;
    char root[64];
    char dir[96];
    uint64_t durable, flushes, bytes;
    uint64_t appended, target;
    int status;
    unsigned statuses; /* how often on_durable was called */
    bool closed;
    struct err err;
};

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int member_setup(void **state)
{
    struct member *m = xcalloc(1, sizeof(*m));

    (void)snprintf(m->root, sizeof(m->root), "/tmp/kvd-test-wal-XXXXXX");
    assert_non_null(mkdtemp(m->root));
    (void)snprintf(m->dir, sizeof(m->dir), "%s/wal", m->root);
    assert_int_equal(uv_loop_init(&m->loop), 0);
    m->options = (struct wal_options){.disk = disk_posix(),
                                      .dir = m->dir,
                                      .cluster_id = 1,
                                      .member_id = 2,
                                      .segment_size = 256 << 10};
    *state = m;
    return 0;
}

static int member_teardown(void **state)
{
    struct member *m = *state;

    wal_close(m->wal);
    assert_int_equal(uv_loop_close(&m->loop), 0);
    assert_int_equal(nftw(m->root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    free(m);
    return 0;
}

static void append_one(struct member *m, size_t len)
{
    static const uint8_t data[100000];
    struct wal_entry entry = {.index = ++m->appended, .term = 1, .data = slice_of(data, len)};

    (void)wal_append_entry(m->wal, &entry);
}

static void on_durable(void *ctx, int status, uint64_t seq, const struct err *err)
{
    struct member *m = ctx;

    m->statuses++;
    m->status = status;
    if (status != 0) {
        m->err = *err;
        return;
    }
    assert_true(seq > m->durable);
    m->durable = seq;
}

static void on_flushed(void *ctx, uint64_t duration_us, uint64_t bytes)
{
    struct member *m = ctx;

    (void)duration_us;
    m->flushes++;
    m->bytes += bytes;
}

static void on_closed(void *ctx)
{
    ((struct member *)ctx)->closed = true;
}

static void start(struct member *m, wal_durable_cb cb)
{
    assert_int_equal(wal_open(&m->options, &m->wal, &m->err), 0);
    assert_int_equal(wal_writer_start(&m->loop, m->wal, cb, m, &m->writer, &m->err), 0);
    wal_writer_observe(m->writer, on_flushed, m);
}

static void close_writer(struct member *m)
{
    wal_writer_close(m->writer, on_closed, m);
    while (!m->closed)
        (void)uv_run(&m->loop, UV_RUN_ONCE);
    m->closed = false;
}

static void what_is_appended_becomes_durable_in_order(void **state)
{
    struct member *m = *state;

    start(m, on_durable);
    for (unsigned i = 0; i < 50; i++) {
        append_one(m, 100);
        wal_writer_kick(m->writer);
    }
    while (m->durable < 50)
        (void)uv_run(&m->loop, UV_RUN_ONCE);
    assert_true(m->flushes < 50); /* they went in groups */
    close_writer(m);
    wal_close(m->wal);
    m->wal = NULL;
    assert_int_equal(wal_open(&m->options, &m->wal, &m->err), 0);
    assert_int_equal(wal_last_index(m->wal), 50);
}

static void closing_writes_what_is_pending(void **state)
{
    struct member *m = *state;

    start(m, on_durable);
    append_one(m, 100);
    wal_writer_kick(m->writer);
    append_one(m, 100);
    close_writer(m);
    wal_close(m->wal);
    m->wal = NULL;
    assert_int_equal(wal_open(&m->options, &m->wal, &m->err), 0);
    assert_int_equal(wal_last_index(m->wal), 2);
}

static void closing_without_any_work_ends(void **state)
{
    struct member *m = *state;

    start(m, on_durable);
    close_writer(m);
}

/* Each callback appends more, drops what is old: segments are made and recycled beside it. */
static void on_durable_go_on(void *ctx, int status, uint64_t seq, const struct err *err)
{
    struct member *m = ctx;

    on_durable(ctx, status, seq, err);
    assert_int_equal(status, 0);
    if (m->appended >= m->target)
        return;
    for (unsigned i = 0; i < 5; i++)
        append_one(m, 3000);
    if (m->appended > 400)
        wal_drop_before(m->wal, m->appended - 400);
    wal_writer_kick(m->writer);
}

static int count_entry(void *ctx, const struct wal_entry *entry)
{
    (void)entry;
    ++*(uint64_t *)ctx;
    return 0;
}

static void segments_are_recycled_beside_the_flushes(void **state)
{
    struct member *m = *state;
    uint64_t count = 0, first;

    m->target = 5001; /* one, then fives */
    start(m, on_durable_go_on);
    append_one(m, 100);
    wal_writer_kick(m->writer);
    while (m->appended < m->target ||
           wal_read(m->wal, m->target, 1, count_entry, &count, NULL) != 0)
        (void)uv_run(&m->loop, UV_RUN_ONCE);
    assert_true(wal_disk_bytes(m->wal) < 20 * m->options.segment_size);
    first = wal_first_index(m->wal);
    assert_true(first > 4000);
    count = 0;
    assert_int_equal(wal_read(m->wal, first, UINT64_MAX, count_entry, &count, &m->err), 0);
    assert_int_equal(count, m->target - first + 1);
    close_writer(m);
    wal_close(m->wal);
    m->wal = NULL;
    assert_int_equal(wal_open(&m->options, &m->wal, &m->err), 0);
    assert_int_equal(wal_last_index(m->wal), m->target);
    assert_int_equal(wal_first_index(m->wal), first);
}

static int refuse_sync(void *ctx, struct disk_file *file, struct err *err)
{
    (void)ctx;
    (void)file;
    return err_set(err, KV_EIO, "no more syncs");
}

static void on_durable_close(void *ctx, int status, uint64_t seq, const struct err *err)
{
    struct member *m = ctx;

    on_durable(ctx, status, seq, err);
    wal_writer_close(m->writer, on_closed, m);
}

/* The first failure is reported, once; the callback may close the writer. */
static void a_failed_sync_is_reported_once_and_nothing_after_it(void **state)
{
    struct member *m = *state;
    struct disk_ops broken = *m->options.disk.ops;

    start(m, on_durable_close);
    broken.sync = refuse_sync;
    m->wal->side.disk.ops = &broken;
    append_one(m, 10);
    wal_writer_kick(m->writer);
    append_one(m, 10);
    while (!m->closed)
        (void)uv_run(&m->loop, UV_RUN_ONCE);
    assert_int_equal(m->statuses, 1);
    assert_int_equal(m->status, KV_EIO);
    assert_non_null(strstr(m->err.text, "no more syncs"));
    m->wal->side.disk.ops = disk_posix().ops;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, member_setup, member_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_appended_becomes_durable_in_order),
        TEST(closing_writes_what_is_pending),
        TEST(closing_without_any_work_ends),
        TEST(segments_are_recycled_beside_the_flushes),
        TEST(a_failed_sync_is_reported_once_and_nothing_after_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
