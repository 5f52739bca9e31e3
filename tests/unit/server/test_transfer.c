/* A checkpoint on its way: two members with a wire between them that the test holds, each with its
 * own disk in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/transfer.h"
#include "snapshot/snapshot.h"
#include "tests/lib/machine_text.h"
#include "tests/lib/memdisk.h"
#include "tests/unit/server/jobs.h"

struct fixture;

struct side {
    struct fixture *f;
    uint64_t id; /* 1: sends; 2: receives */
    struct memdisk *memdisk;
    struct disk disk;
    struct list jobs;
    struct checkpoints *checkpoints;
    struct transfer *transfer;
    uint64_t applied;
    bool wanted, up; /* the connection that this side opened */
    struct replica_snapshot held;
    unsigned holds, failures, received, refused;
    char why[300];
};

struct packet {
    struct list link;
    struct side *from, *to;
    enum transfer_side side;
    size_t len;
    uint8_t bytes[];
};

struct fixture {
    struct side one, two;
    struct machine_text text;
    struct list wire;
    uint64_t now_ms;
    uint64_t sent_bytes; /* in chunks */
    size_t most_queued;  /* bytes on the wire at once */
};

static struct side *other(struct side *side)
{
    return side == &side->f->one ? &side->f->two : &side->f->one;
}

static uint64_t env_now(void *ctx)
{
    return ((struct side *)ctx)->f->now_ms;
}

static uint64_t env_applied(void *ctx)
{
    return ((struct side *)ctx)->applied;
}

static void env_open(void *ctx, uint64_t peer)
{
    struct side *side = ctx;

    assert_int_equal(peer, other(side)->id);
    side->wanted = true;
}

static void env_close(void *ctx, uint64_t peer)
{
    (void)peer;
    ((struct side *)ctx)->wanted = ((struct side *)ctx)->up = false;
}

static void env_send(void *ctx, uint64_t peer, enum transfer_side from, struct slice frame)
{
    struct side *side = ctx;
    struct fixture *f = side->f;
    struct packet *packet = xmalloc(sizeof *packet + frame.len);
    size_t queued = 0;

    assert_int_equal(peer, other(side)->id);
    assert_true(frame.len <= TRANSFER_FRAME_MAX);
    *packet = (struct packet){.from = side, .to = other(side), .side = from, .len = frame.len};
    memcpy(packet->bytes, frame.data, frame.len);
    list_push_back(&f->wire, &packet->link);
    if (frame.len > 1000)
        f->sent_bytes += frame.len;
    LIST_EACH (node, &f->wire)
        queued += LIST_ENTRY(node, struct packet, link)->len;
    f->most_queued = MAX(f->most_queued, queued);
}

static void on_held(void *ctx, uint64_t peer, const struct replica_snapshot *snapshot,
                    uint64_t bytes, uint64_t duration_ms)
{
    struct side *side = ctx;

    (void)peer;
    (void)duration_ms;
    assert_true(bytes > 0);
    assert_true(slice_eq(snapshot->configuration, slice_str("conf")));
    side->held = *snapshot;
    side->holds++;
}

static void on_failed(void *ctx, uint64_t peer, const char *why)
{
    struct side *side = ctx;

    (void)peer;
    side->failures++;
    snprintf(side->why, sizeof side->why, "%s", why);
}

static void on_receiving(void *ctx, uint64_t peer)
{
    (void)ctx;
    (void)peer;
}

static void on_received(void *ctx, uint64_t peer, int code, const char *text, uint64_t bytes,
                        uint64_t duration_ms)
{
    struct side *side = ctx;

    (void)peer;
    (void)bytes;
    (void)duration_ms;
    side->received += code == 0;
    side->refused += code != 0;
    if (code != 0)
        snprintf(side->why, sizeof side->why, "%s", text);
}

static void on_done(void *ctx, const struct checkpoint_done *done)
{
    (void)ctx;
    assert_int_equal(done->status, 0);
}

static void open_side(struct side *side)
{
    struct machine *none;
    struct checkpoints_options options = {.disk = side->disk,
                                          .dir = "/snap",
                                          .cluster_id = 1,
                                          .member_id = side->id,
                                          .runner = jobs_runner(&side->jobs),
                                          .ctx = side,
                                          .on_done = on_done};
    struct transfer_options moving = {.ctx = side,
                                      .disk = side->disk,
                                      .dir = "/snap",
                                      .cluster_id = 1,
                                      .seed = 1,
                                      .runner = options.runner,
                                      .now_ms = env_now,
                                      .open = env_open,
                                      .close = env_close,
                                      .send = env_send,
                                      .on_held = on_held,
                                      .on_failed = on_failed,
                                      .on_receiving = on_receiving,
                                      .on_received = on_received,
                                      .applied = env_applied};

    assert_int_equal(checkpoints_open(&options, 1, &side->checkpoints, &none, NULL), 0);
    machine_free(none);
    moving.checkpoints = side->checkpoints;
    side->transfer = transfer_new(&moving);
}

static void close_side(struct side *side)
{
    transfer_free(side->transfer);
    checkpoints_free(side->checkpoints);
    side->wanted = side->up = false;
}

static void drop_wire(struct fixture *f)
{
    LIST_EACH_SAFE (node, &f->wire) {
        list_remove(node);
        free(LIST_ENTRY(node, struct packet, link));
    }
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    list_init(&f->wire);
    f->now_ms = 1000000;
    machine_text_init(&f->text);
    for (int i = 0; i < 2; i++) {
        struct side *side = i == 0 ? &f->one : &f->two;

        side->f = f;
        side->id = (uint64_t)i + 1;
        side->memdisk = memdisk_new((uint64_t)i + 1);
        side->disk = memdisk_disk(side->memdisk);
        open_side(side);
    }
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    drop_wire(f);
    close_side(&f->one);
    close_side(&f->two);
    memdisk_free(f->one.memdisk);
    memdisk_free(f->two.memdisk);
    machine_text_release(&f->text);
    free(f);
    return 0;
}

/* ---- what moves ---- */

static void break_connection(struct fixture *f)
{
    drop_wire(f);
    if (!f->one.up)
        return;
    f->one.up = false;
    transfer_on_connection(f->one.transfer, 2, false);
}

static void deliver_first(struct fixture *f)
{
    struct packet *packet = LIST_FIRST(&f->wire, struct packet, link);
    struct err err = ERR_INIT;

    list_remove(&packet->link);
    if (transfer_on_frame(packet->to->transfer, packet->from->id, packet->side,
                          slice_of(packet->bytes, packet->len), &err) != 0)
        break_connection(f);
    free(packet);
}

/* One packet, or one job; false: nothing is left to do. */
static bool move(struct fixture *f)
{

    if (f->one.wanted && !f->one.up) {
        f->one.up = true;
        transfer_on_connection(f->one.transfer, 2, true);
        return true;
    }
    if (jobs_next(&f->one.jobs) || jobs_next(&f->two.jobs))
        return true;
    if (list_empty(&f->wire))
        return false;
    deliver_first(f);
    return true;
}

static void settle(struct fixture *f)
{
    for (int i = 0; move(f); i++)
        assert_true(i < 100000);
}

static void pass(struct fixture *f, uint64_t ms)
{
    for (uint64_t at = 0; at < ms; at += 250) {
        f->now_ms += 250;
        transfer_tick(f->one.transfer);
        transfer_tick(f->two.transfer);
        settle(f);
    }
}

/* About n * 1.5 MB of state. */
static void grow(struct fixture *f, int n)
{
    static char value[1500001], line[1500100];

    memset(value, 'v', sizeof value - 1);
    for (int i = 0; i < n; i++) {
        snprintf(line, sizeof line, "put big%d %s", i, value);
        (void)machine_text_run(&f->text, line);
    }
}

static void checkpoint(struct fixture *f, uint64_t index)
{
    struct replica_snapshot snapshot = {
        .index = index, .term = 2, .configuration_index = 1, .configuration = slice_str("conf")};

    checkpoints_begin(f->one.checkpoints, f->text.machine, &snapshot);
    while (!checkpoints_idle(f->one.checkpoints)) {
        (void)checkpoints_step(f->one.checkpoints);
        (void)jobs_next(&f->one.jobs);
    }
    while (jobs_next(&f->one.jobs))
        ;
}

static void expect_installable(struct fixture *f, uint64_t index)
{
    struct machine *machine;

    assert_true(transfer_is_ready(f->two.transfer, index, 2));
    machine = transfer_take(f->two.transfer);
    assert_int_equal(machine_digest(machine), machine_digest(f->text.machine));
    machine_free(machine);
    assert_false(transfer_is_ready(f->two.transfer, index, 2));
}

static size_t files_at(struct side *side)
{
    char **names;
    size_t len;

    assert_int_equal(side->disk.ops->list(side->disk.ctx, "/snap", &names, &len, NULL), 0);
    disk_free_names(names, len);
    return len;
}

/* ---- tests ---- */

static void a_checkpoint_arrives_whole_in_bounded_memory(void **state)
{
    struct fixture *f = *state;

    grow(f, 8);
    checkpoint(f, 7);
    transfer_send(f->one.transfer, 2, 5);
    transfer_send(f->one.transfer, 2, 5); /* it is on its way */
    settle(f);
    assert_int_equal(f->one.holds, 1);
    assert_int_equal(f->one.held.index, 7);
    assert_int_equal(f->one.held.term, 2);
    assert_int_equal(f->two.received, 1);
    assert_true(f->sent_bytes > 11 << 20 && f->sent_bytes < 13 << 20);
    assert_true(f->most_queued < 5 * TRANSFER_FRAME_MAX);
    assert_false(f->one.wanted); /* the connection is not needed any more */
    /* What the receiver says "here it is" of survives a power cut. */
    memdisk_crash_to_synced(f->two.memdisk);
    assert_int_equal(files_at(&f->two), 1);
    expect_installable(f, 7);
}

/* The connection breaks after every so many moves; nothing is sent all over again. */
static void a_broken_connection_goes_on_where_it_was(void **state)
{
    struct fixture *f = *state;
    int moves = 0;

    grow(f, 8);
    checkpoint(f, 7);
    transfer_send(f->one.transfer, 2, 7);
    while (f->one.holds == 0) {
        assert_true(move(f));
        if (++moves % 37 == 0)
            break_connection(f);
        assert_true(moves < 100000);
    }
    assert_true(f->sent_bytes < 2 * (13 << 20));
    expect_installable(f, 7);
}

static void a_receiver_that_died_gets_it_from_the_start(void **state)
{
    struct fixture *f = *state;

    grow(f, 8);
    checkpoint(f, 7);
    transfer_send(f->one.transfer, 2, 7);
    for (int i = 0; i < 40; i++)
        assert_true(move(f));
    break_connection(f);
    close_side(&f->two);
    memdisk_crash(f->two.memdisk);
    open_side(&f->two);
    assert_int_equal(files_at(&f->two), 0);
    settle(f);
    assert_int_equal(f->one.holds, 1);
    expect_installable(f, 7);
}

/* While one arrives a newer one is offered, by a sender that has given up the first. */
static void r8_two_in_quick_succession_end_with_the_newer(void **state)
{
    struct fixture *f = *state;

    grow(f, 8);
    checkpoint(f, 7);
    transfer_send(f->one.transfer, 2, 7);
    for (int i = 0; i < 40; i++)
        assert_true(move(f));
    transfer_stop_sending(f->one.transfer);
    drop_wire(f);
    (void)machine_text_run(&f->text, "put one more");
    checkpoint(f, 9);
    transfer_send(f->one.transfer, 2, 9);
    settle(f);
    pass(f, 5000); /* "no" now, and then it comes again */
    if (f->one.holds == 0) {
        transfer_send(f->one.transfer, 2, 9);
        settle(f);
    }
    assert_int_equal(f->one.holds, 1);
    assert_int_equal(f->one.held.index, 9);
    expect_installable(f, 9);

    /* And once more, with the second one there and not installed. */
    checkpoint(f, 11);
    transfer_send(f->one.transfer, 2, 11);
    settle(f);
    assert_int_equal(f->one.held.index, 11);
    expect_installable(f, 11);
}

static void what_is_sent_is_not_removed_meanwhile(void **state)
{
    struct fixture *f = *state;

    grow(f, 3);
    checkpoint(f, 7);
    transfer_send(f->one.transfer, 2, 7);
    for (int i = 0; i < 5; i++)
        assert_true(move(f));
    for (uint64_t index = 8; index < 12; index++)
        checkpoint(f, index);
    assert_int_equal(files_at(&f->one), 3);
    settle(f);
    assert_int_equal(f->one.held.index, 7);
    expect_installable(f, 7);
    assert_int_equal(files_at(&f->one), 2);
}

/* The file rots at the sender, the wire is fine: every chunk is right, and the whole is not. */
static void a_damaged_file_is_received_and_refused(void **state)
{
    struct fixture *f = *state;
    char *path = snapshot_path("/snap", 7, 2);
    uint64_t len;

    grow(f, 3);
    checkpoint(f, 7);
    memdisk_content(f->one.memdisk, path, &len)[len / 2] ^= 4;
    transfer_send(f->one.transfer, 2, 7);
    settle(f);
    assert_int_equal(f->one.holds, 0);
    assert_int_equal(f->two.received, 0);
    assert_int_equal(f->two.refused, 1);
    assert_non_null(strstr(f->two.why, "bad checksum of a block"));
    assert_false(transfer_is_ready(f->two.transfer, 7, 2));
    assert_int_equal(files_at(&f->two), 0);
    pass(f, 4000);
    assert_int_equal(f->one.failures, 1);
    free(path);
}

static void a_chunk_that_was_changed_on_the_wire_breaks_the_connection(void **state)
{
    struct fixture *f = *state;
    bool changed = false;

    grow(f, 2);
    checkpoint(f, 7);
    transfer_send(f->one.transfer, 2, 7);
    while (f->one.holds == 0) {
        if (!changed && !list_empty(&f->wire)) {
            struct packet *packet = LIST_FIRST(&f->wire, struct packet, link);

            changed = packet->len > 1000;
            packet->bytes[packet->len - 1] ^= changed;
        }
        assert_true(move(f));
    }
    assert_true(changed);
    expect_installable(f, 7);
}

/* It refuses for a while, rather than fill the disk again and again. */
static void a_full_disk_at_the_receiver_leaves_nothing_half_done(void **state)
{
    struct fixture *f = *state;

    grow(f, 3);
    checkpoint(f, 7);
    memdisk_limit(f->two.memdisk, 2 << 20);
    transfer_send(f->one.transfer, 2, 7);
    settle(f);
    assert_int_equal(f->two.refused, 1);
    assert_int_equal(files_at(&f->two), 0);
    pass(f, 4000);
    assert_int_equal(f->one.failures, 1);
    f->sent_bytes = 0;
    transfer_send(f->one.transfer, 2, 7);
    settle(f);
    assert_int_equal(f->sent_bytes, 0);
    memdisk_limit(f->two.memdisk, 0);
    pass(f, 40000);
    transfer_send(f->one.transfer, 2, 7);
    settle(f);
    assert_int_equal(f->one.holds, 1);
    expect_installable(f, 7);
}

static void who_has_it_already_is_asked_and_sent_nothing(void **state)
{
    struct fixture *f = *state;

    grow(f, 1);
    checkpoint(f, 7);
    f->two.applied = 7;
    transfer_send(f->one.transfer, 2, 7);
    settle(f);
    assert_int_equal(f->one.holds, 1);
    assert_int_equal(f->sent_bytes, 0);
    transfer_send(f->one.transfer, 2, 8);
    assert_int_equal(f->one.failures, 1);
    assert_non_null(strstr(f->one.why, "new enough"));
}

static void a_silent_receiver_is_given_up(void **state)
{
    struct fixture *f = *state;

    grow(f, 1);
    checkpoint(f, 7);
    transfer_send(f->one.transfer, 2, 7);
    (void)jobs_next(&f->one.jobs);
    for (int i = 0; i < 140; i++) {
        f->now_ms += 250;
        transfer_tick(f->one.transfer);
        drop_wire(f);
    }
    assert_int_equal(f->one.failures, 1);
    assert_false(transfer_busy(f->one.transfer));
}

/* Reading back a large file takes longer than a sender waits for a word. */
static void a_receiver_that_is_busy_with_the_file_is_waited_for(void **state)
{
    struct fixture *f = *state;

    grow(f, 1);
    checkpoint(f, 7);
    transfer_send(f->one.transfer, 2, 7);
    /* Until all is written and the last job is the only thing left to do. */
    while (list_empty(&f->two.jobs) || !list_empty(&f->wire) || !list_empty(&f->one.jobs) ||
           f->sent_bytes < 1500000) {
        while (jobs_next(&f->one.jobs))
            ;
        if (f->one.wanted && !f->one.up)
            assert_true(move(f));
        else if (!list_empty(&f->wire))
            deliver_first(f);
        else
            assert_true(jobs_next(&f->two.jobs));
    }
    for (int i = 0; i < 200; i++) {
        f->now_ms += 250;
        transfer_tick(f->two.transfer);
        while (!list_empty(&f->wire))
            deliver_first(f);
        transfer_tick(f->one.transfer);
    }
    assert_int_equal(f->one.failures, 0);
    settle(f);
    assert_int_equal(f->one.holds, 1);
    expect_installable(f, 7);
}

static void malformed_frames_are_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum transfer_side from;
        const char *bytes;
        size_t len;
    } rows[] = {
        {TRANSFER_SENDER, "", 0},
        {TRANSFER_SENDER, "\x09", 1},
        {TRANSFER_SENDER, "\x01xxxxxxxx", 9},
        {TRANSFER_SENDER, "\x01\0\0\0\0\0\0\0\0xxxxxxxxxxxxxxxxxxxx", 29}, /* index 0 */
        {TRANSFER_SENDER, "\x02xxxxxxxxxxxxxxxx", 17},                     /* empty chunk */
        {TRANSFER_SENDER, "\x02xxxx\0\0\0\0\0\0\0\0xxxxy", 18},            /* checksum */
        {TRANSFER_SENDER, "\x04xxxx", 5},                                  /* an answer */
        {TRANSFER_RECEIVER, "\x02xxxx\0\0\0\0\0\0\0\0xxxxy", 18},
        {TRANSFER_RECEIVER, "\x04xxxxx", 6},
        {TRANSFER_RECEIVER, "\x03xxxx", 5},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(transfer_on_frame(f->two.transfer, 1, rows[i].from,
                                           slice_of(rows[i].bytes, rows[i].len), NULL),
                         KV_EPROTO);
    /* Well-formed, and about nothing that is under way. */
    assert_int_equal(
        transfer_on_frame(f->two.transfer, 1, TRANSFER_RECEIVER, slice_of("\x04xxxx", 5), NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        T(a_checkpoint_arrives_whole_in_bounded_memory),
        T(a_broken_connection_goes_on_where_it_was),
        T(a_receiver_that_died_gets_it_from_the_start),
        T(r8_two_in_quick_succession_end_with_the_newer),
        T(what_is_sent_is_not_removed_meanwhile),
        T(a_damaged_file_is_received_and_refused),
        T(a_chunk_that_was_changed_on_the_wire_breaks_the_connection),
        T(a_full_disk_at_the_receiver_leaves_nothing_half_done),
        T(who_has_it_already_is_asked_and_sent_nothing),
        T(a_silent_receiver_is_given_up),
        T(a_receiver_that_is_busy_with_the_file_is_waited_for),
        T(malformed_frames_are_refused),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
