#include "server/state.h"

#include <inttypes.h>
#include <stdlib.h>
#include <uv.h>

#include "base/codec.h"
#include "base/mem.h"
#include "proto/state.pb-c.h"
#include "server/auth_store.h"
#include "server/machine_internal.h"
#include "server/scan.h"

enum {
    LEASES_PER_MESSAGE = 8192, /* a message is unpacked with SCAN_ELEMENTS_MAX */
    CHANGE_DELETED = 1,
    CHANGE_LEASED = 2,
    CHANGE_OVERHEAD = 64, /* of a change, at most: flags, six varints, lease */
};

/* ---- saving: everything but the keys ---- */

struct saving {
    state_emit emit;
    void *ctx;
    struct err *err;
};

static int emit_state(const struct saving *saving, const Kvdpb__State *state, uint32_t items)
{
    size_t len = kvdpb__state__get_packed_size(state);
    uint8_t *bytes = xmalloc(len + 1);
    int rc;

    (void)kvdpb__state__pack(state, bytes); /* writes len bytes */
    rc = saving->emit(saving->ctx, slice_of(bytes, len), items, saving->err);
    free(bytes);
    return rc;
}

static void fill_member(const struct machine_member *member, Kvdpb__StateMember *out)
{
    kvdpb__state_member__init(out);
    out->id = member->id;
    out->name = member->name;
    out->peerurls = member->peer_urls;
    out->n_peerurls = member->peer_url_count;
    out->clienturls = member->client_urls;
    out->n_clienturls = member->client_url_count;
    out->learner = member->learner;
}

static void save_changes(const struct machine *machine, struct arena *arena, Kvdpb__State *state)
{
    state->n_removed_members = machine->removed_count;
    state->removed_members = machine->removed;
    state->n_member_changes = machine->change_count;
    state->member_changes =
        arena_alloc(arena, (state->n_member_changes + 1) * sizeof *state->member_changes);
    for (size_t i = 0; i < state->n_member_changes; i++) {
        const struct machine_change *from = &machine->changes[i];
        Kvdpb__StateMemberChange *to = arena_alloc(arena, sizeof *to);

        kvdpb__state_member_change__init(to);
        to->origin = from->origin;
        to->ticket = from->ticket;
        to->kind = from->kind;
        to->id = from->id;
        to->peerurls = from->urls;
        to->n_peerurls = from->url_count;
        to->learner = from->learner;
        state->member_changes[i] = to;
    }
}

/* Revisions, members and alarms: few. */
static int save_first(const struct machine *machine, const struct saving *saving)
{
    Kvdpb__State state = KVDPB__STATE__INIT;
    struct arena arena;
    int rc;

    arena_init(&arena);
    state.revision = mvcc_revision(machine->mvcc);
    state.compact_revision = mvcc_compact_revision(machine->mvcc);
    state.n_members = machine->member_count;
    state.members = arena_alloc(&arena, (state.n_members + 1) * sizeof *state.members);
    for (size_t i = 0; i < state.n_members; i++) {
        state.members[i] = arena_alloc(&arena, sizeof **state.members);
        fill_member(&machine->members[i], state.members[i]);
    }
    state.n_alarms = machine->alarm_count;
    state.alarms = arena_alloc(&arena, (state.n_alarms + 1) * sizeof *state.alarms);
    for (size_t i = 0; i < state.n_alarms; i++) {
        state.alarms[i] = arena_alloc(&arena, sizeof **state.alarms);
        kvdpb__state_alarm__init(state.alarms[i]);
        state.alarms[i]->member_id = machine->alarms[i].member;
        state.alarms[i]->type = machine->alarms[i].type;
        state.alarms[i]->by_quota = machine->alarms[i].by_quota;
        state.alarms[i]->healing = machine->alarms[i].healing;
    }
    save_changes(machine, &arena, &state);
    state.lease_grants = leases_grants(machine->leases);
    state.history = machine->history;
    if (machine->downgrade_target != NULL)
        state.downgrade_target = machine->downgrade_target;
    rc = emit_state(saving, &state, 1);
    arena_release(&arena);
    return rc;
}

static int save_leases(const struct machine *machine, const struct saving *saving)
{
    const struct leases *leases = machine->leases;
    size_t count = leases_count(leases), at = 0;
    int64_t *ids = xcalloc(count + 1, sizeof *ids);
    Kvdpb__StateLease *all = xcalloc(LEASES_PER_MESSAGE, sizeof *all);
    Kvdpb__StateLease **list = xcalloc(LEASES_PER_MESSAGE, sizeof *list);
    int rc = 0;

    leases_list(leases, ids);
    while (at < count && rc == 0) {
        Kvdpb__State state = KVDPB__STATE__INIT;

        state.leases = list;
        for (; at < count && state.n_leases < LEASES_PER_MESSAGE; at++) {
            Kvdpb__StateLease *lease = &all[state.n_leases];
            struct lease_record record;

            (void)leases_get(leases, ids[at], &record); /* listed, so it is there */
            kvdpb__state_lease__init(lease);
            lease->id = record.id;
            lease->ttl = record.ttl;
            lease->grant = record.grant;
            lease->remaining_ms = record.remaining_ms;
            list[state.n_leases++] = lease;
        }
        rc = emit_state(saving, &state, (uint32_t)state.n_leases);
    }
    free(list);
    free(all);
    free(ids);
    return rc;
}

static int save_auth_part(void *ctx, const Kvdpb__StateAuth *part)
{
    const struct saving *saving = ctx;
    Kvdpb__State state = KVDPB__STATE__INIT;

    state.auth = (Kvdpb__StateAuth *)(uintptr_t)part; /* only read */
    return emit_state(saving, &state, (uint32_t)(1 + part->n_users + part->n_roles));
}

int machine_save_small(const struct machine *machine, state_emit emit, void *ctx, struct err *err)
{
    struct saving saving = {.emit = emit, .ctx = ctx, .err = err};
    int rc = save_first(machine, &saving);

    if (rc == 0)
        rc = save_leases(machine, &saving);
    return rc == 0 ? auth_store_save(machine->auth, save_auth_part, &saving) : rc;
}

/* ---- saving: keys ---- */

void state_block_init(struct state_block *block)
{
    *block = (struct state_block){0};
    buf_init(&block->out, SNAPSHOT_BLOCK_SIZE_MAX);
}

void state_block_release(struct state_block *block)
{
    buf_release(&block->out);
}

void state_block_reset(struct state_block *block)
{
    buf_reset(&block->out);
    block->revision = 0;
    block->items = 0;
}

static uint8_t *put_bytes(uint8_t *p, struct slice bytes)
{
    p += put_varint(p, bytes.len);
    if (bytes.len > 0)
        memcpy(p, bytes.data, bytes.len);
    return p + bytes.len;
}

bool state_block_add(struct state_block *block, const struct mvcc_change *change)
{
    const struct mvcc_kv *kv = &change->kv;
    bool leased = !change->is_tombstone && kv->lease != 0;
    size_t size = CHANGE_OVERHEAD + kv->key.len + (change->is_tombstone ? 0 : kv->value.len);
    uint8_t *begin, *p;
    int rc;

    if (block->items > 0 && block->out.len + size > SNAPSHOT_BLOCK_SIZE)
        return false;
    rc = buf_reserve(&block->out, size);
    ASSERT(rc == 0); /* no request is as large as a block may be */
    p = begin = block->out.data + block->out.len;
    *p++ = (uint8_t)((change->is_tombstone ? CHANGE_DELETED : 0) | (leased ? CHANGE_LEASED : 0));
    p += put_varint(p, (uint64_t)(kv->mod_revision - block->revision));
    p += put_varint(p, change->sub);
    p = put_bytes(p, kv->key);
    if (!change->is_tombstone) {
        p += put_varint(p, (uint64_t)(kv->mod_revision - kv->create_revision));
        p += put_varint(p, (uint64_t)kv->version);
        if (leased) {
            put_le64(p, (uint64_t)kv->lease);
            p += 8;
        }
        p = put_bytes(p, kv->value);
    }
    block->out.len += (size_t)(p - begin);
    block->revision = kv->mod_revision;
    block->items++;
    return true;
}

static int add_to_file(void *ctx, struct slice payload, uint32_t items, struct err *err)
{
    return snapshot_writer_add(ctx, STATE_SMALL, payload, items, err);
}

static int flush_block(struct snapshot_writer *writer, struct state_block *block, struct err *err)
{
    int rc = snapshot_writer_add(writer, STATE_CHANGES, buf_slice(&block->out), block->items, err);

    state_block_reset(block);
    return rc;
}

int machine_save(const struct machine *machine, struct snapshot_writer *writer, struct err *err)
{
    struct mvcc_history history;
    struct mvcc_change change;
    struct state_block block;
    int rc = machine_save_small(machine, add_to_file, writer, err);

    state_block_init(&block);
    mvcc_history_begin(machine->mvcc, &history);
    while (rc == 0 && mvcc_history_next(&history, &change)) {
        if (state_block_add(&block, &change))
            continue;
        rc = flush_block(writer, &block, err);
        (void)state_block_add(&block, &change); /* the first of a block fits */
    }
    if (rc == 0 && block.items > 0)
        rc = flush_block(writer, &block, err);
    mvcc_history_end(&history);
    state_block_release(&block);
    return rc;
}

/* ---- loading: a thread reads and verifies ahead ---- */

enum {
    AHEAD_BLOCKS = 4,
    AHEAD_SIZE_MIN = 4 << 20, /* for less a thread is not worth it */
};

struct ahead_slot {
    struct snapshot_block block; /* its payload lives in bytes */
    struct buf bytes;
    int rc; /* of snapshot_next() */
    struct err err;
};

struct ahead {
    struct snapshot_reader *reader;
    bool threaded;
    uv_thread_t thread;
    uv_mutex_t mutex;
    uv_cond_t changed;
    struct ahead_slot slots[AHEAD_BLOCKS];
    /* Under the mutex. Slots [taken, filled) have something in them. */
    unsigned filled, taken;
    bool stop;
};

static void read_block(struct ahead *ahead, struct ahead_slot *slot)
{
    int rc;

    buf_reset(&slot->bytes);
    slot->rc = snapshot_next(ahead->reader, &slot->block, &slot->err);
    if (slot->rc != 1)
        return;
    rc = buf_append(&slot->bytes, slot->block.payload.data, slot->block.payload.len);
    ASSERT(rc == 0); /* the reader has the same bound */
    slot->block.payload = buf_slice(&slot->bytes);
}

static void ahead_main(void *arg)
{
    struct ahead *ahead = arg;
    bool more = true;

    uv_mutex_lock(&ahead->mutex);
    while (more) {
        struct ahead_slot *slot = &ahead->slots[ahead->filled % AHEAD_BLOCKS];

        while (!ahead->stop && ahead->filled - ahead->taken == AHEAD_BLOCKS)
            uv_cond_wait(&ahead->changed, &ahead->mutex);
        if (ahead->stop)
            break;
        uv_mutex_unlock(&ahead->mutex);
        read_block(ahead, slot);
        more = slot->rc == 1;
        uv_mutex_lock(&ahead->mutex);
        ahead->filled++;
        uv_cond_signal(&ahead->changed);
    }
    uv_mutex_unlock(&ahead->mutex);
}

static void ahead_begin(struct ahead *ahead, struct snapshot_reader *reader)
{
    *ahead = (struct ahead){.reader = reader};
    if (snapshot_size(reader) < AHEAD_SIZE_MIN)
        return;
    for (size_t i = 0; i < AHEAD_BLOCKS; i++)
        buf_init(&ahead->slots[i].bytes, SNAPSHOT_BLOCK_SIZE_MAX);
    ASSERT(uv_mutex_init(&ahead->mutex) == 0);
    ASSERT(uv_cond_init(&ahead->changed) == 0);
    ASSERT(uv_thread_create(&ahead->thread, ahead_main, ahead) == 0);
    ahead->threaded = true;
}

/* As snapshot_next(). */
static int ahead_next(struct ahead *ahead, struct snapshot_block *out, struct err *err)
{
    struct ahead_slot *slot = &ahead->slots[ahead->taken % AHEAD_BLOCKS];

    if (!ahead->threaded)
        return snapshot_next(ahead->reader, out, err);
    uv_mutex_lock(&ahead->mutex);
    while (ahead->filled == ahead->taken)
        uv_cond_wait(&ahead->changed, &ahead->mutex);
    uv_mutex_unlock(&ahead->mutex);
    *out = slot->block;
    if (slot->rc < 0 && err != NULL)
        *err = slot->err;
    return slot->rc;
}

/* The block is not needed any more. */
static void ahead_release(struct ahead *ahead)
{
    if (!ahead->threaded)
        return;
    uv_mutex_lock(&ahead->mutex);
    ahead->taken++;
    uv_cond_signal(&ahead->changed);
    uv_mutex_unlock(&ahead->mutex);
}

static void ahead_end(struct ahead *ahead)
{
    if (!ahead->threaded)
        return;
    uv_mutex_lock(&ahead->mutex);
    ahead->stop = true;
    uv_cond_signal(&ahead->changed);
    uv_mutex_unlock(&ahead->mutex);
    ASSERT(uv_thread_join(&ahead->thread) == 0);
    uv_cond_destroy(&ahead->changed);
    uv_mutex_destroy(&ahead->mutex);
    for (size_t i = 0; i < AHEAD_BLOCKS; i++)
        buf_release(&ahead->slots[i].bytes);
}

/* ---- loading ---- */

struct loading {
    struct machine *machine;
    struct arena arena;
    int64_t revision, compact_revision;
    bool has_small;
    uint64_t lease_grants;
    bool leased; /* some key hangs on a lease */
    struct err *err;
};

static int bad(const struct loading *loading, const char *what)
{
    return err_set(loading->err, KV_ECORRUPT, "the state makes no sense: %s", what);
}

static void load_member(struct machine *machine, const Kvdpb__StateMember *from)
{
    machine__add_member(machine, &(struct machine_member){.id = from->id,
                                                          .name = from->name,
                                                          .peer_urls = from->peerurls,
                                                          .peer_url_count = from->n_peerurls,
                                                          .client_urls = from->clienturls,
                                                          .client_url_count = from->n_clienturls,
                                                          .learner = from->learner});
}

static int load_changes_of_members(struct loading *loading, const Kvdpb__State *state)
{
    struct machine *machine = loading->machine;

    for (size_t i = 0; i < state->n_removed_members; i++) {
        if (machine_was_removed(machine, state->removed_members[i]))
            return bad(loading, "the same removed member twice");
        machine__add_removed(machine, state->removed_members[i]);
    }
    for (size_t i = 0; i < state->n_member_changes; i++) {
        const Kvdpb__StateMemberChange *from = state->member_changes[i];

        machine__add_change(machine, &(struct machine_change){.origin = from->origin,
                                                              .ticket = from->ticket,
                                                              .kind = from->kind,
                                                              .id = from->id,
                                                              .urls = from->peerurls,
                                                              .url_count = from->n_peerurls,
                                                              .learner = from->learner});
    }
    return 0;
}

static int load_leases(struct loading *loading, const Kvdpb__State *state)
{
    for (size_t i = 0; i < state->n_leases; i++) {
        const Kvdpb__StateLease *lease = state->leases[i];
        struct lease_record record = {.id = lease->id,
                                      .ttl = lease->ttl,
                                      .grant = lease->grant,
                                      .remaining_ms = lease->remaining_ms};

        if (leases_load(loading->machine->leases, &record) != 0)
            return bad(loading, "a lease twice, or one that can not be");
    }
    return 0;
}

static int load_small(struct loading *loading, struct slice payload)
{
    struct machine *machine = loading->machine;
    ProtobufCMessage *message;
    const Kvdpb__State *state;

    arena_reset(&loading->arena);
    if (scan_unpack(&kvdpb__state__descriptor, payload, &loading->arena, &message) != 0)
        return bad(loading, "a message that can not be decoded");
    state = (const Kvdpb__State *)message;
    if (!loading->has_small) {
        loading->revision = state->revision;
        loading->compact_revision = state->compact_revision;
        loading->lease_grants = state->lease_grants;
        machine->history = state->history;
        if (state->downgrade_target[0] != '\0')
            machine->downgrade_target = xstrdup(state->downgrade_target);
        loading->has_small = true;
    }
    for (size_t i = 0; i < state->n_members; i++) {
        if (machine_member(machine, state->members[i]->id) != NULL)
            return bad(loading, "the same member twice");
        load_member(machine, state->members[i]);
    }
    for (size_t i = 0; i < state->n_alarms; i++)
        machine__raise_alarm(machine, (struct machine_alarm){.member = state->alarms[i]->member_id,
                                                             .type = state->alarms[i]->type,
                                                             .by_quota = state->alarms[i]->by_quota,
                                                             .healing = state->alarms[i]->healing});
    if (load_changes_of_members(loading, state) != 0)
        return KV_ECORRUPT;
    if (state->auth != NULL && !auth_store_load(machine->auth, state->auth))
        return bad(loading, "a user or a role that can not be");
    return load_leases(loading, state);
}

static struct slice read_sized(struct reader *in)
{
    uint64_t len = read_varint(in);

    if (len > in->rest.len) {
        in->bad = true;
        len = 0;
    }
    return read_bytes(in, (size_t)len);
}

static bool read_change(struct reader *in, int64_t *revision, struct mvcc_change *out)
{
    uint8_t flags = read_u8(in);
    struct mvcc_kv *kv = &out->kv;
    uint64_t above = read_varint(in), sub = read_varint(in);

    *out = (struct mvcc_change){.is_tombstone = (flags & CHANGE_DELETED) != 0};
    if (in->bad || flags > (CHANGE_DELETED | CHANGE_LEASED) || sub > UINT32_MAX ||
        above > (uint64_t)(INT64_MAX - *revision))
        return false;
    *revision += (int64_t)above;
    out->sub = (uint32_t)sub;
    kv->mod_revision = *revision;
    kv->key = read_sized(in);
    if (!out->is_tombstone) {
        uint64_t below = read_varint(in);

        kv->create_revision = below < INT64_MAX ? *revision - (int64_t)below : 0;
        kv->version = (int64_t)read_varint(in);
        kv->lease = flags & CHANGE_LEASED ? (int64_t)read_le64(in) : 0;
        kv->value = read_sized(in);
    }
    return !in->bad;
}

static int load_changes(struct loading *loading, const struct snapshot_block *block)
{
    struct reader in = reader_of(block->payload);
    struct mvcc_change change;
    int64_t revision = 0;

    for (uint32_t i = 0; i < block->items; i++) {
        if (!read_change(&in, &revision, &change))
            return bad(loading, "a change that can not be decoded");
        if (mvcc_load(loading->machine->mvcc, &change) != 0)
            return bad(loading, "a change that contradicts those before it");
        loading->leased = loading->leased || change.kv.lease != 0;
    }
    return in.rest.len == 0 ? 0 : bad(loading, "bytes left over behind the changes");
}

static int load_block(struct loading *loading, const struct snapshot_block *block)
{
    switch (block->kind) {
    case STATE_SMALL:
        return load_small(loading, block->payload);
    case STATE_CHANGES:
        return load_changes(loading, block);
    default:
        return err_set(loading->err, KV_EMISMATCH,
                       "it holds data of kind %d, which this version of kvd does not know: it was "
                       "written by a newer one, use that",
                       block->kind);
    }
}

static bool attach_key(void *ctx, const struct mvcc_kv *kv)
{
    struct machine *machine = ctx;

    if (kv->lease == LEASE_NONE)
        return true;
    if (!leases_known(machine->leases, kv->lease))
        return false;
    leases_move(machine->leases, kv->key, LEASE_NONE, kv->lease);
    return true;
}

static int finish_load(struct loading *loading)
{
    struct mvcc_span all = {.key = slice_of("", 1), .end = slice_of("", 1)};
    struct mvcc *mvcc = loading->machine->mvcc;

    if (!loading->has_small)
        return bad(loading, "members and revisions are missing");
    if (mvcc_load_end(mvcc, loading->revision, loading->compact_revision) != 0)
        return bad(loading, "revisions that contradict the keys");
    if (leases_load_grants(loading->machine->leases, loading->lease_grants) != 0)
        return bad(loading, "fewer grants of leases than there are leases");
    if (loading->leased && !mvcc_each(mvcc, all, attach_key, loading->machine))
        return bad(loading, "a key on a lease that is not there");
    return 0;
}

int machine_load(struct snapshot_reader *reader, uint64_t seed, struct machine **out,
                 struct err *err)
{
    struct loading loading = {.machine = machine_new(seed, NULL, 0), .err = err};
    struct snapshot_block block;
    struct ahead ahead;
    int rc;

    arena_init(&loading.arena);
    ahead_begin(&ahead, reader);
    while ((rc = ahead_next(&ahead, &block, err)) == 1) {
        rc = load_block(&loading, &block);
        if (rc != 0)
            break;
        ahead_release(&ahead);
    }
    ahead_end(&ahead);
    if (rc == 0)
        rc = finish_load(&loading);
    arena_release(&loading.arena);
    if (rc != 0) {
        machine_free(loading.machine);
        return rc;
    }
    *out = loading.machine;
    return 0;
}
