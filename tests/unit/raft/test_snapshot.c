/* Checkpoints in consensus: a restart from one, a log that is dropped behind one, a member that
 * gets one instead of the log; guards G1, G6, G10 and G11 where they are about that. */
#include "tests/unit/raft/cluster.h"

enum { BULK_MAX = 64 };

struct bulk {
    struct proposal proposals[BULK_MAX];
    uint8_t *bytes[BULK_MAX];
    size_t count;
};

/* Commands that each take a segment of the log, so that it can be dropped piece by piece. */
static void write_bulk(struct cluster *c, uint64_t id, struct bulk *bulk, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct proposal *proposal = &bulk->proposals[bulk->count];
        uint8_t *bytes = xcalloc(1, LARGE + 1);

        assert_true(bulk->count < BULK_MAX);
        propose(c, id, proposal);
        memcpy(bytes, proposal->bytes, 8);
        proposal->base.command = slice_of(bytes, LARGE + 1);
        bulk->bytes[bulk->count++] = bytes;
        settle(c);
    }
}

static void release_bulk(struct bulk *bulk)
{
    for (size_t i = 0; i < bulk->count; i++)
        free(bulk->bytes[i]);
}

static struct cluster *small_reserve(size_t count, unsigned guards_off)
{
    struct cluster *c = cluster_new(count, 3);

    c->guards_off = guards_off;
    c->reserve_bytes = 1;
    c->cache_bytes = 1; /* entries come from the wal */
    for (uint64_t id = 1; id <= count; id++)
        node_open(c, id);
    return c;
}

static void all_equal(struct cluster *c)
{
    struct node *first = node_of(c, 1);

    for (uint64_t id = 2; id <= c->count; id++) {
        struct node *node = node_of(c, id);

        assert_int_equal(node->applied, first->applied);
        assert_int_equal(node->value_count, first->value_count);
        assert_int_equal(node->large_count, first->large_count);
        assert_memory_equal(node->values, first->values,
                            first->value_count * sizeof(first->values[0]));
    }
}

/* ---- alone ---- */

static void a_restart_begins_at_the_checkpoint_and_drops_what_is_before(void **state)
{
    struct cluster *c = small_reserve(1, 0);
    struct node *node = node_of(c, 1);
    struct bulk bulk = {.count = 0};
    struct proposal small;
    uint64_t applied, checkpoint;

    (void)state;
    await_leader(c);
    write_bulk(c, 1, &bulk, 5);
    take_checkpoint(node);
    settle(c);
    checkpoint = node->durable->meta.index;
    assert_int_equal(status_of(c, 1).snapshot_index, checkpoint);
    assert_true(status_of(c, 1).first_index > 1);
    propose(c, 1, &small);
    settle(c);
    applied = node->applied;
    assert_int_equal(times_applied(node, value_of(&small)), 1);

    node_crash(c, 1);
    node_open(c, 1);
    assert_true(node->applied >= checkpoint);
    await_leader(c);
    assert_true(node->applied >= applied);
    assert_int_equal(node->large_count, 5);
    assert_int_equal(times_applied(node, value_of(&small)), 1);
    cluster_free(c);
    release_bulk(&bulk);
}

/* What our disk has not is not in a checkpoint: others may have committed it, but if they and we
 * lose power the checkpoint would hold what never was. */
static void no_checkpoint_is_taken_ahead_of_our_own_disk(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    struct proposal proposal;
    uint64_t lead = await_leader(c);
    struct node *node = node_of(c, lead);
    struct replica_snapshot meta;

    (void)state;
    assert_true(replica_checkpoint_begin(node->replica, &meta));
    node->disk_hangs = true;
    propose(c, lead, &proposal);
    settle(c);
    assert_int_equal(times_applied(node, value_of(&proposal)), 1);
    assert_false(replica_checkpoint_begin(node->replica, &meta));
    node->disk_hangs = false;
    node->flush_wanted = true;
    settle(c);
    assert_true(replica_checkpoint_begin(node->replica, &meta));
    assert_int_equal(meta.index, node->applied);
    cluster_free(c);
}

static void a_hole_between_checkpoint_and_log_stops_the_start(void **state)
{
    struct cluster *c = small_reserve(1, 0);
    struct node *node = node_of(c, 1);
    struct bulk bulk = {.count = 0};
    struct checkpoint *old = xcalloc(1, sizeof(*old));
    struct err err = ERR_INIT;

    (void)state;
    await_leader(c);
    take_checkpoint(node);
    copy_checkpoint(old, node->durable);
    write_bulk(c, 1, &bulk, 5);
    take_checkpoint(node);
    settle(c);
    assert_true(status_of(c, 1).first_index > old->meta.index + 1);
    node_crash(c, 1);
    copy_checkpoint(node->durable, old); /* the newest is damaged */
    assert_int_equal(node_try_open(node, &err), KV_ECORRUPT);
    assert_non_null(strstr(err.text, "entries between are missing"));
    node->replica = NULL;
    cluster_free(c);
    release_bulk(&bulk);
    free(old);
}

/* ---- behind the log ---- */

/* Member 3 is cut off until the leader's log does not reach it any more. */
static uint64_t leave_behind(struct cluster *c, struct bulk *bulk)
{
    make_leader(c, 1);
    isolate(c, 3, true);
    write_bulk(c, 1, bulk, 6);
    take_checkpoint(node_of(c, 1));
    settle(c);
    assert_true(status_of(c, 1).first_index > status_of(c, 3).last_index + 1);
    isolate(c, 3, false);
    return node_of(c, 1)->durable->meta.index;
}

static void a_member_behind_the_log_gets_a_checkpoint_and_goes_on(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    struct bulk bulk = {.count = 0};
    struct proposal proposal;
    uint64_t index = leave_behind(c, &bulk);

    (void)state;
    advance(c, 2 * ELECTION);
    assert_int_equal(node_of(c, 1)->orders, 1);
    assert_int_equal(node_of(c, 1)->ordered_to, 3);
    assert_true(node_of(c, 1)->ordered_index <= index);
    assert_int_equal(leader(c), 1);

    carry_checkpoint(node_of(c, 1), node_of(c, 3));
    settle(c);
    assert_true(node_of(c, 3)->applied >= index);
    propose(c, 3, &proposal);
    advance(c, HEARTBEAT);
    all_equal(c);
    assert_int_equal(times_applied(node_of(c, 3), value_of(&proposal)), 1);

    /* And its own disk agrees. */
    node_crash(c, 3);
    node_open(c, 3);
    advance(c, 2 * HEARTBEAT);
    all_equal(c);
    cluster_free(c);
    release_bulk(&bulk);
}

/* The message that the file has arrived for may get lost, as any. */
static bool lose_installs(struct cluster *cluster, const struct frame *frame)
{
    (void)cluster;
    return frame->bytes[0] == WIRE_INSTALL;
}

static void a_lost_install_is_ordered_again(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    struct bulk bulk = {.count = 0};

    (void)state;
    (void)leave_behind(c, &bulk);
    advance(c, HEARTBEAT);
    c->lose = lose_installs;
    carry_checkpoint(node_of(c, 1), node_of(c, 3));
    advance(c, ELECTION);
    assert_int_equal(node_of(c, 1)->orders, 2);
    c->lose = NULL;
    carry_checkpoint(node_of(c, 1), node_of(c, 3));
    advance(c, HEARTBEAT);
    all_equal(c);
    cluster_free(c);
    release_bulk(&bulk);
}

/* Heartbeats then name the newer one, and libraft takes what the other says to them for stale. */
static void a_lost_install_is_ordered_again_though_there_is_a_newer_checkpoint(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    struct bulk bulk = {.count = 0};
    uint64_t index = leave_behind(c, &bulk);

    (void)state;
    advance(c, HEARTBEAT);
    assert_int_equal(node_of(c, 1)->orders, 1);
    c->lose = lose_installs;
    carry_checkpoint(node_of(c, 1), node_of(c, 3));
    write_bulk(c, 1, &bulk, 6);
    take_checkpoint(node_of(c, 1));
    c->lose = NULL;
    advance(c, 3 * ELECTION);
    assert_int_equal(node_of(c, 1)->orders, 2);
    assert_true(node_of(c, 1)->ordered_index > index);
    carry_checkpoint(node_of(c, 1), node_of(c, 3));
    advance(c, HEARTBEAT);
    all_equal(c);
    cluster_free(c);
    release_bulk(&bulk);
}

/* The same if the order itself has come to nothing. */
static void a_failed_order_is_repeated_though_there_is_a_newer_checkpoint(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    struct bulk bulk = {.count = 0};

    (void)state;
    (void)leave_behind(c, &bulk);
    advance(c, HEARTBEAT);
    assert_int_equal(node_of(c, 1)->orders, 1);
    write_bulk(c, 1, &bulk, 6);
    take_checkpoint(node_of(c, 1));
    replica_snapshot_failed(node_of(c, 1)->replica, 3);
    advance(c, 2 * HEARTBEAT);
    assert_int_equal(node_of(c, 1)->orders, 2);
    carry_checkpoint(node_of(c, 1), node_of(c, 3));
    advance(c, HEARTBEAT);
    all_equal(c);
    cluster_free(c);
    release_bulk(&bulk);
}

/* It crashes with the file in its place and no word of it in its log. */
static void a_crash_between_file_and_install_starts_from_the_file(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    struct bulk bulk = {.count = 0};
    struct proposal proposal;
    uint64_t index = leave_behind(c, &bulk);

    (void)state;
    advance(c, HEARTBEAT);
    c->lose = lose_installs;
    carry_checkpoint(node_of(c, 1), node_of(c, 3));
    settle(c);
    node_crash(c, 3);
    close_connections(c, 3);
    c->lose = NULL;
    node_open(c, 3);
    assert_int_equal(node_of(c, 3)->applied, index);
    advance(c, 2 * ELECTION);
    propose(c, 3, &proposal);
    advance(c, HEARTBEAT);
    assert_int_equal(times_applied(node_of(c, 3), value_of(&proposal)), 1);
    all_equal(c);
    assert_int_equal(node_of(c, 1)->orders, 1);
    cluster_free(c);
    release_bulk(&bulk);
}

/* A leader that was cut off has a tail that nobody else has; the checkpoint it gets lies beyond. */
static void an_install_ends_a_branch_that_lost(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    struct bulk bulk = {.count = 0};
    struct proposal lost[3];
    uint64_t next;

    (void)state;
    make_leader(c, 1);
    isolate(c, 1, true);
    for (size_t i = 0; i < ARRAY_LEN(lost); i++)
        propose(c, 1, &lost[i]);
    settle(c);
    make_leader(c, 2);
    next = 2;
    write_bulk(c, next, &bulk, 6);
    take_checkpoint(node_of(c, next));
    settle(c);
    isolate(c, 1, false);
    advance(c, 2 * HEARTBEAT);
    assert_int_equal(node_of(c, next)->orders, 1);
    carry_checkpoint(node_of(c, next), node_of(c, 1));
    advance(c, HEARTBEAT);
    all_equal(c);
    for (size_t i = 0; i < ARRAY_LEN(lost); i++)
        forget(&lost[i]);
    node_crash(c, 1);
    node_open(c, 1);
    advance(c, 2 * HEARTBEAT);
    all_equal(c);
    cluster_free(c);
    release_bulk(&bulk);
}

/* Member 3 hands a command to the leader, which commits it, and never sees it applied: it was in
 * the part of the log that its checkpoint has skipped. A new leader must not get it once more. */
static void a_command_in_the_skipped_part_is_not_proposed_again(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    struct bulk bulk = {.count = 0};
    struct proposal proposal;

    (void)state;
    make_leader(c, 1);
    c->cut[1][3] = true; /* it can speak, and not hear */
    propose(c, 3, &proposal);
    settle(c);
    assert_int_equal(times_applied(node_of(c, 2), value_of(&proposal)), 1);
    assert_int_equal(times_applied(node_of(c, 3), value_of(&proposal)), 0);
    (void)leave_behind(c, &bulk);
    advance(c, HEARTBEAT);
    carry_checkpoint(node_of(c, 1), node_of(c, 3));
    settle(c);
    assert_int_equal(times_applied(node_of(c, 3), value_of(&proposal)), 1);
    isolate(c, 1, true);
    make_leader(c, 2);
    advance(c, ELECTION / 2);
    assert_int_equal(times_applied(node_of(c, 2), value_of(&proposal)), 1);
    assert_true(proposal.base.term != 0); /* its owner knows: it may have happened */
    assert_false(proposal.base.queued);
    list_remove(&proposal.link);
    cluster_free(c);
    release_bulk(&bulk);
}

/* Entries on their way to a slow member are dropped under its stream. */
static void a_stream_whose_entries_are_dropped_ends(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    struct bulk bulk = {.count = 0};

    (void)state;
    make_leader(c, 1);
    node_of(c, 1)->send_queued = SEND_QUEUE_MAX; /* to everybody: heartbeats too */
    isolate(c, 3, true);
    node_of(c, 1)->send_queued = 0;
    write_bulk(c, 1, &bulk, 3);
    node_of(c, 1)->send_queued = SEND_QUEUE_MAX;
    isolate(c, 3, false);
    advance(c, 2 * HEARTBEAT); /* libraft orders entries; they wait for room */
    node_of(c, 1)->send_queued = 0;
    isolate(c, 3, true);
    write_bulk(c, 1, &bulk, 3);
    take_checkpoint(node_of(c, 1));
    settle(c);
    isolate(c, 3, false);
    advance(c, 2 * HEARTBEAT);
    assert_int_equal(node_of(c, 1)->fatal.code, 0);
    assert_true(node_of(c, 1)->orders >= 1);
    carry_checkpoint(node_of(c, 1), node_of(c, 3));
    advance(c, 2 * HEARTBEAT);
    all_equal(c);
    cluster_free(c);
    release_bulk(&bulk);
}

/* While member 3 gets one checkpoint the leader takes the next. Told to keep the log behind the
 * older one, it lets the member go on from there, and sends no second. */
static void who_gets_the_older_checkpoint_goes_on_by_the_log(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    struct bulk bulk = {.count = 0};
    struct node *lead = node_of(c, 1);
    uint64_t older = leave_behind(c, &bulk);

    (void)state;
    advance(c, HEARTBEAT);
    write_bulk(c, 1, &bulk, 4);
    assert_true(checkpoint_begin(lead));
    replica_checkpoint_done(lead->replica, &lead->writing->meta, older);
    settle(c);
    assert_int_equal(status_of(c, 1).snapshot_index, lead->writing->meta.index);
    carry_checkpoint(lead, node_of(c, 3));
    advance(c, 2 * ELECTION);
    all_equal(c);
    assert_int_equal(lead->orders, 1);
    cluster_free(c);
    release_bulk(&bulk);
}

/* A new leader learns that member 3 has entries which it has dropped itself: there is nothing to
 * say about their commit. (deliver() fails on a frame that is refused.) */
static void no_commit_is_told_of_entries_that_are_dropped(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    struct bulk bulk = {.count = 0};
    struct wire_message answer = {.type = WIRE_APPEND_RESULT};

    (void)state;
    (void)leave_behind(c, &bulk);
    isolate(c, 3, true);
    advance(c, HEARTBEAT);
    take_checkpoint(node_of(c, 2));
    replica_on_peer(node_of(c, 2)->replica, 3, false);
    assert_int_equal(replica_transfer(node_of(c, 1)->replica, 2), 0);
    advance(c, HEARTBEAT);
    assert_int_equal(leader(c), 2);
    answer.append_result.term = node_of(c, 2)->term;
    answer.append_result.last_log_index = 1;
    assert_int_equal(give(c, 3, 2, &answer), 0);
    isolate(c, 3, false);
    replica_on_peer(node_of(c, 2)->replica, 3, true);
    settle(c);
    advance(c, 2 * HEARTBEAT);
    carry_checkpoint(node_of(c, 2), node_of(c, 3));
    advance(c, 2 * HEARTBEAT);
    all_equal(c);
    cluster_free(c);
    release_bulk(&bulk);
}

/* ---- guards ---- */

/* G10: member 3 writes a checkpoint of its own while one from the leader overtakes it. */
static bool overtaken_checkpoint_harms(unsigned guards_off)
{
    struct cluster *c = small_reserve(3, guards_off);
    struct bulk bulk = {.count = 0};
    struct raft *raft;
    bool harmed;

    make_leader(c, 1);
    advance(c, HEARTBEAT);
    assert_true(checkpoint_begin(node_of(c, 3)));
    (void)leave_behind(c, &bulk);
    advance(c, HEARTBEAT);
    carry_checkpoint(node_of(c, 1), node_of(c, 3));
    settle(c);
    raft = &node_of(c, 3)->replica->raft;
    assert_true(raft->trail.offset > node_of(c, 3)->writing->meta.index);
    checkpoint_end(node_of(c, 3));
    /* A snapshot below the log's beginning: libraft would send it to others as what it is not. */
    harmed = raft->trail.snapshot.index < raft->trail.offset;
    cluster_free(c);
    release_bulk(&bulk);
    return harmed;
}

static void g10_a_checkpoint_that_was_overtaken_changes_nothing(void **state)
{
    (void)state;
    assert_false(overtaken_checkpoint_harms(0));
    assert_true(overtaken_checkpoint_harms(1u << 10));
}

static unsigned orders_in_two_seconds(unsigned guards_off)
{
    struct cluster *c = small_reserve(3, guards_off);
    struct bulk bulk = {.count = 0};
    unsigned orders;

    (void)leave_behind(c, &bulk);
    advance(c, 2000);
    orders = node_of(c, 1)->orders;
    cluster_free(c);
    release_bulk(&bulk);
    return orders;
}

static void g11_a_checkpoint_is_ordered_once_while_it_is_on_its_way(void **state)
{
    (void)state;
    assert_int_equal(orders_in_two_seconds(0), 1);
    assert_true(orders_in_two_seconds(1u << 11) > 10);
}

/* A message that was long on its way reaches back before the compacted log: libraft, which has no
 * terms to compare there, would append old entries at the end. (Our log would then stop the
 * process: so what is shown with the guard off is only that it lets them through.) */
static void g6_entries_below_a_compacted_log_are_not_appended(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    struct bulk bulk = {.count = 0};
    struct wire_entry entries[] = {{.term = 1, .type = RAFT_CHANGE},
                                   {.term = 1, .type = RAFT_COMMAND, .data = {(void *)"old", 3}}};
    struct wire_message message = {.type = WIRE_APPEND,
                                   .append = {.commit = 2, .entries = entries, .count = 2}};
    struct replica *r = node_of(c, 3)->replica;
    struct wire_append off;
    struct wire_message answer;
    uint64_t last;

    (void)state;
    make_leader(c, 1);
    write_bulk(c, 1, &bulk, 5);
    advance(c, HEARTBEAT);
    take_checkpoint(node_of(c, 3));
    settle(c);
    assert_true(r->raft.trail.offset > 2);
    entries[0].data = node_of(c, 3)->durable->meta.configuration;
    message.append.term = status_of(c, 3).term;
    last = status_of(c, 3).last_index;
    drop_frames(c, 3, 1);
    assert_int_equal(give(c, 1, 3, &message), 0);
    assert_int_equal(status_of(c, 3).last_index, last);
    assert_true(take(c, 3, 1, WIRE_APPEND_RESULT, &answer));
    assert_int_equal(answer.append_result.rejected, 0);
    assert_int_equal(answer.append_result.last_log_index, last);

    off = message.append;
    r->guards_off = 1u << 6;
    assert_true(guard_append(r, &off));
    assert_int_equal(off.prev_index, 0);
    assert_int_equal(off.count, 2);
    cluster_free(c);
    release_bulk(&bulk);
}

/* The answer to an install of a term that is over says nothing of what is stored. */
static void g1_an_outdated_install_is_not_answered_with_success(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    struct bulk bulk = {.count = 0};
    struct wire_message install = {.type = WIRE_INSTALL}, answer;

    (void)state;
    (void)leave_behind(c, &bulk);
    install.install =
        (struct wire_install){.term = 1,
                              .index = node_of(c, 1)->durable->meta.index,
                              .index_term = 1,
                              .configuration_index = 1,
                              .configuration = node_of(c, 1)->durable->meta.configuration};
    assert_true(node_of(c, 3)->term > 1);
    assert_int_equal(give(c, 1, 3, &install), 0);
    assert_true(take(c, 3, 1, WIRE_APPEND_RESULT, &answer));
    assert_int_equal(answer.append_result.rejected, 0);
    assert_int_equal(answer.append_result.last_log_index, 0);
    assert_true(answer.append_result.term > 1);
    cluster_free(c);
    release_bulk(&bulk);
}

/* Whoever says "install" and sent nothing is not believed; impossible numbers are refused. */
static void an_install_of_what_is_not_here_changes_nothing(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    struct wire_message install = {.type = WIRE_INSTALL};
    struct replica_snapshot meta;
    uint64_t applied;

    (void)state;
    make_leader(c, 1);
    advance(c, HEARTBEAT);
    assert_true(replica_checkpoint_begin(node_of(c, 1)->replica, &meta));
    applied = node_of(c, 3)->applied;
    install.install = (struct wire_install){.term = node_of(c, 1)->term,
                                            .index = applied + 100,
                                            .index_term = node_of(c, 1)->term,
                                            .configuration_index = 1,
                                            .configuration = meta.configuration};
    assert_int_equal(give(c, 1, 3, &install), 0);
    settle(c);
    assert_int_equal(node_of(c, 3)->applied, applied);
    install.install.index_term = install.install.term + 1;
    assert_int_equal(give(c, 1, 3, &install), KV_EPROTO);
    install.install.index_term = 1;
    install.install.configuration_index = applied + 101;
    assert_int_equal(give(c, 1, 3, &install), KV_EPROTO);
    install.install.configuration_index = 0;
    assert_int_equal(give(c, 1, 3, &install), KV_EPROTO);
    cluster_free(c);
}

/* ---- a member whose state is not to be trusted ---- */

/* The others lead; one begins again without a state. */
static struct node *hold_one(struct cluster *c, uint64_t lead)
{
    struct node *node = node_of(c, lead == 3 ? 2 : 3);

    node_crash(c, node->id);
    node->hold = true;
    node_open(c, node->id);
    node->hold = false;
    settle(c);
    assert_true(replica_is_held(node->replica));
    return node;
}

static void propose_some(struct cluster *c, uint64_t lead, struct proposal *some, size_t count)
{
    for (size_t i = 0; i < count; i++)
        propose(c, lead, &some[i]);
    settle(c);
}

static void a_held_member_stores_and_votes_but_applies_nothing_and_does_not_stand(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    uint64_t lead = await_leader(c), other;
    struct node *node = hold_one(c, lead);
    struct proposal some[4];
    uint64_t applied = node->applied;

    (void)state;
    other = 6 - lead - node->id;
    isolate(c, other, true);
    propose_some(c, lead, some, 2); /* committed by the leader and the held one */
    assert_int_equal(times_applied(node_of(c, lead), value_of(&some[1])), 1);
    assert_int_equal(node->applied, applied);
    assert_int_equal(status_of(c, node->id).commit_index, status_of(c, lead).commit_index);

    /* Only the two that are left can elect one: the held one gives its vote, and never stands. */
    isolate(c, other, false);
    advance(c, 3 * HEARTBEAT);
    node_crash(c, lead);
    close_connections(c, lead);
    advance(c, 10 * ELECTION);
    assert_int_equal(leader(c), other);
    assert_int_equal(node->leaderships, 0);
    assert_int_equal(node->applied, applied);
    propose_some(c, other, some + 2, 2);
    assert_int_equal(times_applied(node_of(c, other), value_of(&some[3])), 1);
    assert_int_equal(node->applied, applied);
    cluster_free(c);
}

static void a_hand_over_to_a_held_member_does_not_happen(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    uint64_t lead = await_leader(c);
    struct node *node = hold_one(c, lead);

    (void)state;
    assert_int_equal(replica_transfer(node_of(c, lead)->replica, node->id), 0);
    advance(c, 5 * ELECTION);
    assert_int_equal(node->leaderships, 0);
    assert_int_not_equal(leader(c), 0);
    cluster_free(c);
}

/* The state of another one, and what its own log has behind that. */
static void a_held_member_goes_on_behind_the_state_it_gets(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    uint64_t lead = await_leader(c), index, term;
    struct node *node = hold_one(c, lead);
    struct proposal some[4];

    (void)state;
    propose_some(c, lead, some, 2);
    take_checkpoint(node_of(c, lead));
    index = node_of(c, lead)->durable->meta.index;
    term = node_of(c, lead)->durable->meta.term;
    propose_some(c, lead, some + 2, 2);

    assert_false(replica_restate(node->replica, index, term + 1)); /* of another branch */
    assert_false(replica_restate(node->replica, index + 100, term));
    assert_true(replica_is_held(node->replica));
    assert_true(replica_restate(node->replica, index, term));
    load_checkpoint(node, node_of(c, lead)->durable);
    settle(c);
    assert_false(replica_is_held(node->replica));
    assert_false(replica_restate(node->replica, index, term)); /* once */
    all_equal(c);
    assert_int_equal(times_applied(node, value_of(&some[3])), 1);
    cluster_free(c);
}

static void count_read(struct replica_read *read, int status)
{
    (void)status;
    read->index = UINT64_MAX;
}

/* Its log begins where all others stand, and so it would seem to have applied everything. */
static void a_held_member_answers_no_read(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    uint64_t lead = await_leader(c);
    struct replica_read read = {.cb = count_read};
    struct node *node = node_of(c, lead == 3 ? 2 : 3);

    (void)state;
    advance(c, 3 * HEARTBEAT);
    take_checkpoint(node);
    (void)hold_one(c, lead);
    assert_int_equal(node->durable->meta.index, status_of(c, lead).commit_index);
    list_init(&read.link);
    assert_false(replica_read(node->replica, &read));
    advance(c, 3 * HEARTBEAT);
    assert_true(read.queued);
    assert_true(
        replica_restate(node->replica, node->durable->meta.index, node->durable->meta.term));
    load_checkpoint(node, node->durable);
    advance(c, 3 * HEARTBEAT);
    assert_false(read.queued);
    assert_true(read.index == UINT64_MAX);
    cluster_free(c);
}

/* So far behind that the leader's log does not reach: an install brings the state. */
static void an_install_ends_the_wait_of_a_held_member(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    uint64_t lead = await_leader(c);
    struct node *node = hold_one(c, lead);
    struct bulk bulk = {.count = 0};

    (void)state;
    isolate(c, node->id, true);
    write_bulk(c, lead, &bulk, 5);
    take_checkpoint(node_of(c, lead));
    settle(c);
    isolate(c, node->id, false);
    advance(c, 3 * HEARTBEAT);
    assert_int_equal(node_of(c, lead)->ordered_to, node->id);
    carry_checkpoint(node_of(c, lead), node);
    settle(c);
    assert_false(replica_is_held(node->replica));
    advance(c, 3 * HEARTBEAT);
    all_equal(c);
    cluster_free(c);
    release_bulk(&bulk);
}

/* ---- a cluster of one member alone ---- */

static void a_member_made_alone_keeps_all_it_stored_and_leads(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    uint64_t lead = await_leader(c);
    struct node *node = node_of(c, lead);
    struct replica_configuration now;
    struct proposal some[3];

    (void)state;
    propose_some(c, lead, some, 2);
    isolate(c, lead, true);
    propose(c, lead, &some[2]); /* on its disk alone: nobody can know */
    settle(c);
    assert_int_equal(times_applied(node, value_of(&some[2])), 0);
    for (uint64_t id = 1; id <= 3; id++)
        node_crash(c, id);
    for (int i = 0; i < 2; i++) { /* the flag may stay */
        node->alone = i == 0;
        node_open(c, lead);
        settle(c);
        assert_int_equal(leader(c), lead);
        replica_configuration(node->replica, &now);
        assert_int_equal(now.count, 1);
        assert_true(now.members[0].id == lead && now.members[0].voter && now.committed);
        for (int k = 0; k < 3; k++)
            assert_int_equal(times_applied(node, value_of(&some[k])), 1);
        node_crash(c, lead);
    }
    cluster_free(c);
}

static void made_alone_behind_a_checkpoint_too(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    uint64_t lead = await_leader(c);
    struct node *node = node_of(c, lead);
    struct bulk bulk = {.count = 0};
    struct replica_configuration now;

    (void)state;
    write_bulk(c, lead, &bulk, 5);
    take_checkpoint(node);
    settle(c);
    for (uint64_t id = 1; id <= 3; id++)
        node_crash(c, id);
    node->alone = true;
    node_open(c, lead);
    settle(c);
    assert_int_equal(leader(c), lead);
    assert_int_equal(node->large_count, 5);
    replica_configuration(node->replica, &now);
    assert_int_equal(now.count, 1);
    cluster_free(c);
    release_bulk(&bulk);
}

/* Neither its disk nor the leader's log has them any more. */
static void member_whose_disk_lied_gets_a_checkpoint_for_what_is_dropped(void **state)
{
    struct cluster *c = small_reserve(3, 0);
    uint64_t lead = await_leader(c), liar = lead % 3 + 1;
    struct bulk bulk = {.count = 0};

    (void)state;
    write_bulk(c, lead, &bulk, 2);
    memdisk_lie(node_of(c, liar)->disk, true);
    write_bulk(c, lead, &bulk, 6);
    node_crash(c, liar);
    close_connections(c, liar);
    memdisk_lie(node_of(c, liar)->disk, false);
    take_checkpoint(node_of(c, lead));
    settle(c);

    node_open(c, liar);
    assert_true(status_of(c, liar).last_index + 1 < status_of(c, lead).first_index);
    advance(c, 3 * HEARTBEAT);
    assert_int_equal(leader(c), lead);
    assert_int_equal(node_of(c, lead)->orders, 1);
    assert_int_equal(node_of(c, lead)->ordered_to, liar);
    carry_checkpoint(node_of(c, lead), node_of(c, liar));
    write_bulk(c, lead, &bulk, 1);
    advance(c, 3 * HEARTBEAT);
    assert_int_equal(node_of(c, lead)->losses, 1);
    all_equal(c);
    cluster_free(c);
    release_bulk(&bulk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_held_member_stores_and_votes_but_applies_nothing_and_does_not_stand),
        cmocka_unit_test(a_hand_over_to_a_held_member_does_not_happen),
        cmocka_unit_test(a_held_member_goes_on_behind_the_state_it_gets),
        cmocka_unit_test(a_held_member_answers_no_read),
        cmocka_unit_test(an_install_ends_the_wait_of_a_held_member),
        cmocka_unit_test(a_member_made_alone_keeps_all_it_stored_and_leads),
        cmocka_unit_test(made_alone_behind_a_checkpoint_too),
        cmocka_unit_test(member_whose_disk_lied_gets_a_checkpoint_for_what_is_dropped),
        cmocka_unit_test(a_restart_begins_at_the_checkpoint_and_drops_what_is_before),
        cmocka_unit_test(no_checkpoint_is_taken_ahead_of_our_own_disk),
        cmocka_unit_test(a_hole_between_checkpoint_and_log_stops_the_start),
        cmocka_unit_test(a_member_behind_the_log_gets_a_checkpoint_and_goes_on),
        cmocka_unit_test(a_lost_install_is_ordered_again),
        cmocka_unit_test(a_lost_install_is_ordered_again_though_there_is_a_newer_checkpoint),
        cmocka_unit_test(a_failed_order_is_repeated_though_there_is_a_newer_checkpoint),
        cmocka_unit_test(a_crash_between_file_and_install_starts_from_the_file),
        cmocka_unit_test(an_install_ends_a_branch_that_lost),
        cmocka_unit_test(a_command_in_the_skipped_part_is_not_proposed_again),
        cmocka_unit_test(a_stream_whose_entries_are_dropped_ends),
        cmocka_unit_test(who_gets_the_older_checkpoint_goes_on_by_the_log),
        cmocka_unit_test(no_commit_is_told_of_entries_that_are_dropped),
        cmocka_unit_test(g10_a_checkpoint_that_was_overtaken_changes_nothing),
        cmocka_unit_test(g11_a_checkpoint_is_ordered_once_while_it_is_on_its_way),
        cmocka_unit_test(g6_entries_below_a_compacted_log_are_not_appended),
        cmocka_unit_test(g1_an_outdated_install_is_not_answered_with_success),
        cmocka_unit_test(an_install_of_what_is_not_here_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
