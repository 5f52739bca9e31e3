/* Frames: what is encoded is decoded, and bytes from strangers do no harm. */
#include "tests/unit/raft/cluster.h"

static const struct wire_message samples[] = {
    {.type = WIRE_APPEND,
     .append = {.term = 1, .prev_index = 2, .prev_term = 1, .commit = 4, .lead_index = 5}},
    {.type = WIRE_APPEND_RESULT,
     .append_result = {.version = 2, .term = 1, .rejected = 9, .last_log_index = 3}},
    {.type = WIRE_VOTE,
     .vote = {.version = 2,
              .term = 1,
              .candidate_id = 2,
              .last_log_index = 3,
              .last_log_term = 1,
              .disrupt_leader = true}},
    {.type = WIRE_VOTE,
     .vote = {.version = 2,
              .term = 9,
              .candidate_id = 2,
              .last_log_index = 3,
              .last_log_term = 1,
              .pre_vote = true}},
    {.type = WIRE_VOTE_RESULT, .vote_result = {.version = 2, .term = 7, .vote_granted = true}},
    {.type = WIRE_VOTE_RESULT, .vote_result = {.version = 2, .term = 7, .pre_vote = true}},
    {.type = WIRE_TIMEOUT_NOW, .timeout_now = {.term = 7, .last_log_index = 6, .last_log_term = 5}},
    {.type = WIRE_COMMIT, .commit = {.term = 7, .index = 6, .index_term = 5}},
    {.type = WIRE_PROBE, .round = {.term = 7, .round = 1}},
    {.type = WIRE_PROBE_ACK, .round = {.term = 7, .round = 1}},
    {.type = WIRE_FORWARD_ACK, .forward = {.term = 7, .session = 6, .seq = 5}},
    {.type = WIRE_READ, .read = {.session = 6, .seq = 5}},
    {.type = WIRE_READ_OK, .read = {.session = 6, .seq = 5, .index = 4}},
};

static void every_frame_decodes_to_what_was_encoded(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, WIRE_FRAME_SIZE_MAX);
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct wire_message out;

        wire_encode(&buf, &samples[i]);
        assert_int_equal(wire_decode(buf_slice(&buf), &out, NULL), 0);
        assert_memory_equal(&out, &samples[i], sizeof(out));
        wire_release(&out);
    }
    buf_release(&buf);
}

static void entries_and_commands_survive_the_way(void **state)
{
    const struct wire_append append = {.term = 7, .prev_index = 8, .prev_term = 6, .lead_index = 3};
    const struct wire_message forward = {
        .type = WIRE_FORWARD,
        .forward = {.term = 7, .session = 1, .seq = 3, .after = 2, .commands = {(void *)"abc", 3}}};
    const struct wire_message ask = {
        .type = WIRE_ASK, .ask = {.term = 7, .session = 5, .bytes = {(void *)"abcd", 4}}};
    struct wire_message out;
    struct buf buf;

    (void)state;
    buf_init(&buf, WIRE_FRAME_SIZE_MAX);
    wire_append_begin(&buf, &append);
    wire_append_entry(&buf, 6, RAFT_COMMAND, slice_str("hello"));
    wire_append_entry(&buf, 7, RAFT_BARRIER, slice_of(NULL, 0));
    wire_append_end(&buf, 2, 9);
    assert_int_equal(wire_decode(buf_slice(&buf), &out, NULL), 0);
    assert_int_equal(out.append.count, 2);
    assert_int_equal(out.append.commit, 9);
    assert_int_equal(out.append.lead_index, 3);
    assert_true(slice_eq(out.append.entries[0].data, slice_str("hello")));
    assert_int_equal(out.append.entries[1].term, 7);
    assert_int_equal(out.append.entries[1].data.len, 0);
    wire_release(&out);

    wire_encode(&buf, &forward);
    assert_int_equal(wire_decode(buf_slice(&buf), &out, NULL), 0);
    assert_int_equal(out.forward.after, 2);
    assert_true(slice_eq(out.forward.commands, slice_str("abc")));

    wire_encode(&buf, &ask);
    assert_int_equal(wire_decode(buf_slice(&buf), &out, NULL), 0);
    assert_int_equal(out.ask.term, 7);
    assert_int_equal(out.ask.session, 5);
    assert_true(slice_eq(out.ask.bytes, slice_str("abcd")));
    buf_release(&buf);
}

static void frames_cut_short_or_too_long_are_refused(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, WIRE_FRAME_SIZE_MAX);
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct wire_message out;

        wire_encode(&buf, &samples[i]);
        for (size_t len = 0; len < buf.len; len++)
            assert_int_equal(wire_decode(slice_of(buf.data, len), &out, NULL), KV_EPROTO);
        assert_int_equal(buf_append_u8(&buf, 0), 0);
        assert_int_equal(wire_decode(buf_slice(&buf), &out, NULL), KV_EPROTO);
    }
    buf_release(&buf);
}

static void counts_and_lengths_beyond_the_frame_are_refused(void **state)
{
    const struct wire_append append = {.term = 7, .prev_index = 8, .prev_term = 6};
    struct wire_message out;
    struct err err = ERR_INIT;
    struct buf buf;

    (void)state;
    buf_init(&buf, WIRE_FRAME_SIZE_MAX);
    wire_append_begin(&buf, &append);
    wire_append_entry(&buf, 6, RAFT_COMMAND, slice_str("hello"));
    wire_append_end(&buf, UINT32_MAX, 9);
    assert_int_equal(wire_decode(buf_slice(&buf), &out, &err), KV_EPROTO);
    wire_append_end(&buf, 1, 9);
    put_le32(buf.data + buf.len - 5 - 4, UINT32_MAX); /* the entry's length */
    assert_int_equal(wire_decode(buf_slice(&buf), &out, &err), KV_EPROTO);
    buf_release(&buf);
}

static void an_install_carries_a_configuration_that_was_walked(void **state)
{
    struct raft_configuration conf;
    struct raft_buffer payload;
    struct wire_message in = {
        .type = WIRE_INSTALL,
        .install = {.term = 7, .index = 6, .index_term = 5, .configuration_index = 4}};
    struct wire_message out;
    struct buf buf;

    (void)state;
    raft_configuration_init(&conf);
    assert_int_equal(raft_configuration_add(&conf, 1, "1", RAFT_VOTER), 0);
    assert_int_equal(raft_configuration_encode(&conf, &payload), 0);
    raft_configuration_close(&conf);
    in.install.configuration = slice_of(payload.base, payload.len);
    buf_init(&buf, WIRE_FRAME_SIZE_MAX);
    wire_encode(&buf, &in);
    assert_int_equal(wire_decode(buf_slice(&buf), &out, NULL), 0);
    assert_int_equal(out.install.term, 7);
    assert_int_equal(out.install.index, 6);
    assert_int_equal(out.install.index_term, 5);
    assert_int_equal(out.install.configuration_index, 4);
    assert_true(slice_eq(out.install.configuration, in.install.configuration));
    for (size_t len = 0; len < buf.len; len++)
        assert_int_equal(wire_decode(slice_of(buf.data, len), &out, NULL), KV_EPROTO);
    raft_free(payload.base);
    buf_release(&buf);
}

/* What libraft itself encodes is accepted; every shorter form of it, and every doubled member, not.
 */
static void configurations_are_walked_within_their_bounds(void **state)
{
    struct raft_configuration conf;
    struct raft_buffer payload;
    uint8_t *copy;

    (void)state;
    raft_configuration_init(&conf);
    for (unsigned id = 1; id <= 3; id++) {
        char address[24];

        snprintf(address, sizeof(address), "m%u", id);
        assert_int_equal(raft_configuration_add(&conf, id, address, RAFT_VOTER), 0);
    }
    assert_int_equal(raft_configuration_encode(&conf, &payload), 0);
    raft_configuration_close(&conf);
    copy = xmalloc(payload.len);
    assert_int_equal(wire_check_configuration(slice_of(payload.base, payload.len), NULL), 0);
    for (size_t len = 0; len < payload.len; len++) {
        uint8_t *exact = xmalloc(len + 1); /* so that ASan sees a read past the end */

        memcpy(exact, payload.base, len);
        exact = xrealloc(exact, len == 0 ? 1 : len);
        assert_int_equal(wire_check_configuration(slice_of(exact, len), NULL), KV_EPROTO);
        free(exact);
    }
    memcpy(copy, payload.base, payload.len);
    copy[9 + 8 + 4] = 1; /* the second member's id */
    assert_int_equal(wire_check_configuration(slice_of(copy, payload.len), NULL), KV_EPROTO);
    memcpy(copy, payload.base, payload.len);
    copy[9 + 8 + 3] = 9; /* the first member's role */
    assert_int_equal(wire_check_configuration(slice_of(copy, payload.len), NULL), KV_EPROTO);
    raft_free(payload.base);
    free(copy);
}

/* ---- fuzz ---- */

static void random_configuration(struct prng *prng, struct buf *out)
{
    struct raft_configuration conf;
    struct raft_buffer payload;

    raft_configuration_init(&conf);
    for (uint64_t id = 1; id <= 4; id++) {
        char address[24];

        snprintf(address, sizeof(address), "%" PRIx64, id);
        if (id == 1 || prng_chance(prng, 700000))
            (void)raft_configuration_add(&conf, id, address, (int)prng_between(prng, 0, 1));
    }
    assert_int_equal(raft_configuration_encode(&conf, &payload), 0);
    buf_reset(out);
    assert_int_equal(buf_append(out, payload.base, payload.len), 0);
    raft_free(payload.base);
    raft_configuration_close(&conf);
}

/* A frame of plausible small numbers, so that many get past the checks and into libraft. */
static void random_frame(struct prng *prng, uint64_t term, struct buf *out)
{
    static const uint8_t types[] = {1,  1,  1,  1,  2,  2,  3,  4,  5,  6,
                                    16, 17, 18, 19, 20, 21, 22, 23, 24, 99};
    uint8_t type = types[prng_between(prng, 0, ARRAY_LEN(types) - 1)];
    struct wire_append append = {.term = term,
                                 .prev_index = prng_between(prng, 0, 6),
                                 .prev_term = prng_between(prng, 0, term),
                                 .commit = prng_between(prng, 0, 8)};
    unsigned count = (unsigned)prng_between(prng, 0, 4);
    struct buf payload;

    buf_init(&payload, 4096);
    if (type == WIRE_APPEND) {
        uint64_t entry_term = append.prev_term;

        wire_append_begin(out, &append);
        for (unsigned i = 0; i < count; i++) {
            uint8_t entry_type = (uint8_t)prng_between(prng, 1, 3);

            entry_term = prng_between(prng, entry_term, term);
            if (entry_type == RAFT_CHANGE)
                random_configuration(prng, &payload);
            wire_append_entry(out, entry_term, entry_type,
                              entry_type == RAFT_CHANGE ? buf_slice(&payload)
                                                        : slice_str("abcdefgh"));
        }
        wire_append_end(out, count, append.commit);
    } else {
        buf_reset(out);
        assert_int_equal(buf_append_u8(out, type), 0);
        if (type == WIRE_VOTE || type == WIRE_VOTE_RESULT)
            assert_int_equal(buf_append_u8(out, (uint8_t)prng_between(prng, 0, 3)), 0);
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(buf_append_le64(out, prng_between(prng, 0, term + 1)), 0);
        if (type != WIRE_VOTE && type != WIRE_FORWARD)
            out->len -= 8 * prng_between(prng, 0, 3);
    }
    if (prng_chance(prng, 200000) && out->len > 0)
        out->data[prng_between(prng, 0, out->len - 1)] ^= (uint8_t)prng_between(prng, 1, 255);
    if (prng_chance(prng, 50000))
        out->len = prng_between(prng, 0, out->len);
    buf_release(&payload);
}

/* A member that meets nonsense it can not go on from stops by env.fatal, never by a crash. It is
 * then a new member. */
static void no_bytes_from_peers_crash_a_member(void **state)
{
    uint64_t seed = getenv("SEED") != NULL ? strtoull(getenv("SEED"), NULL, 10) : 1;
    unsigned rounds = getenv("ROUNDS") != NULL ? (unsigned)atoi(getenv("ROUNDS")) : 300;
    unsigned taken = 0, stopped = 0;
    struct prng prng;
    struct buf frame;

    (void)state;
    print_message("seed %" PRIu64 " (SEED, ROUNDS)\n", seed);
    prng_seed(&prng, seed);
    buf_init(&frame, WIRE_FRAME_SIZE_MAX);
    for (unsigned round = 0; round < rounds; round++) {
        struct cluster *c = cluster_new(3, prng_next(&prng));
        static struct proposal p[64];
        size_t proposals = 0;

        node_open(c, 1);
        for (unsigned i = 0; i < 200 && node_of(c, 1)->fatal.code == 0; i++) {
            uint64_t term = status_of(c, 1).term;

            term = prng_between(&prng, term > 1 ? term - 1 : 1, term + prng_chance(&prng, 100000));
            random_frame(&prng, term, &frame);
            taken += replica_on_frame(node_of(c, 1)->replica, prng_between(&prng, 2, 3),
                                      buf_slice(&frame), NULL) == 0;
            if (prng_chance(&prng, 300000))
                settle(c);
            if (prng_chance(&prng, 50000) && proposals < ARRAY_LEN(p))
                propose(c, 1, &p[proposals++]);
            if (prng_chance(&prng, 50000)) {
                c->now_ms = MAX(c->now_ms + 1, node_of(c, 1)->timer_ms);
                replica_on_timer(node_of(c, 1)->replica);
            }
            if (prng_chance(&prng, 20000)) {
                drop_frames(c, 0, 0);
                replica_on_peer(node_of(c, 1)->replica, 2, prng_chance(&prng, 500000));
            }
        }
        stopped += node_of(c, 1)->fatal.code != 0;
        cluster_free(c);
    }
    print_message("%u frames taken, %u members stopped\n", taken, stopped);
    assert_true(taken > rounds * 20); /* else it proves nothing */
    buf_release(&frame);
}

static void random_bytes_are_refused_or_harmless(void **state)
{
    uint64_t seed = getenv("SEED") != NULL ? strtoull(getenv("SEED"), NULL, 10) : 2;
    struct cluster *c = cluster_new(3, 2);
    struct prng prng;

    (void)state;
    print_message("seed %" PRIu64 "\n", seed);
    prng_seed(&prng, seed);
    node_open(c, 1);
    for (unsigned i = 0; i < 20000; i++) {
        size_t len = prng_between(&prng, 0, 80);
        uint8_t *bytes = xmalloc(len + 1);

        for (size_t at = 0; at < len; at++)
            bytes[at] = (uint8_t)prng_next(&prng);
        if (len > 0 && prng_chance(&prng, 900000))
            bytes[0] = (uint8_t)prng_between(&prng, 0, 25);
        bytes = xrealloc(bytes, len == 0 ? 1 : len);
        (void)replica_on_frame(node_of(c, 1)->replica, 2, slice_of(bytes, len), NULL);
        free(bytes);
    }
    settle(c);
    assert_int_equal(node_of(c, 1)->fatal.code, 0);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_frame_decodes_to_what_was_encoded),
        cmocka_unit_test(entries_and_commands_survive_the_way),
        cmocka_unit_test(frames_cut_short_or_too_long_are_refused),
        cmocka_unit_test(counts_and_lengths_beyond_the_frame_are_refused),
        cmocka_unit_test(an_install_carries_a_configuration_that_was_walked),
        cmocka_unit_test(configurations_are_walked_within_their_bounds),
        cmocka_unit_test(no_bytes_from_peers_crash_a_member),
        cmocka_unit_test(random_bytes_are_refused_or_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
