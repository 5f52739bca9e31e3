/* Writes that nobody waits for, so that there is more to watch than single puts: deletes, txns of
 * several changes, users and roles, and in some seeds compactions. Their effects show in the
 * history, those on users and roles in the state that all members must have alike. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "proto/command.pb-c.h"
#include "proto/rpc.pb-c.h"
#include "tests/sim/sim.h"

enum { WRITERS = 3, NAMES = 4, OPS_MAX = 4, KEY_SIZE = 16, BODY_SIZE = 1024 };

struct write {
    struct sim_member *member; /* NULL: nothing under way */
    struct replica_proposal proposal;
    struct buf command;
    uint64_t ticket;
};

struct sim_writer {
    uint32_t compact_ppm;
    struct write writes[WRITERS];
};

static void finish(struct write *w)
{
    replica_forget(w->member->replica, &w->proposal);
    buf_release(&w->command);
    *w = (struct write){.member = NULL};
}

static void give_up(struct write *w)
{
    sim_check_given_up(w->member, w->ticket, &w->proposal);
    finish(w);
}

static ProtobufCBinaryData random_key(struct sim *sim, char *space)
{
    const char *prefix = prng_chance(&sim->prng, 500000) ? "key" : "w";
    int len = snprintf(space, KEY_SIZE, "%s%u", prefix,
                       (unsigned)prng_between(&sim->prng, 0, SIM_KEYS - 1));

    return (ProtobufCBinaryData){.data = (uint8_t *)space, .len = (size_t)len};
}

static size_t pack_delete(struct sim *sim, uint8_t *body)
{
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    char space[KEY_SIZE];

    del.key = random_key(sim, space);
    if (prng_chance(&sim->prng, 100000))
        del.range_end =
            (ProtobufCBinaryData){/* not those of leases, which have an eye on them */
                                  .data = (uint8_t *)(uintptr_t)(space[0] == 'k' ? "kz" : "wz"),
                                  .len = 2};
    return etcdserverpb__delete_range_request__pack(&del, body);
}

/* Puts and deletes of different keys. */
static size_t pack_txn(struct sim *sim, uint8_t *body)
{
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__RequestOp ops[OPS_MAX], *list[OPS_MAX];
    Etcdserverpb__PutRequest puts[OPS_MAX];
    Etcdserverpb__DeleteRangeRequest dels[OPS_MAX];
    char keys[OPS_MAX][KEY_SIZE], value[24];
    unsigned first = (unsigned)prng_between(&sim->prng, 0, SIM_KEYS - 1);
    int len = snprintf(value, sizeof value, "%llu", (unsigned long long)++sim->serial_next);

    for (unsigned i = 0; i < OPS_MAX; i++) {
        ProtobufCBinaryData key = {.data = (uint8_t *)keys[i]};

        key.len = (size_t)snprintf(keys[i], KEY_SIZE, "%s%u", i % 2 == 0 ? "key" : "w",
                                   (first + i) % SIM_KEYS);
        etcdserverpb__request_op__init(&ops[i]);
        etcdserverpb__put_request__init(&puts[i]);
        etcdserverpb__delete_range_request__init(&dels[i]);
        list[i] = &ops[i];
        if (prng_chance(&sim->prng, 700000)) {
            puts[i].key = key;
            puts[i].value = (ProtobufCBinaryData){.data = (uint8_t *)value, .len = (size_t)len};
            ops[i].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
            ops[i].request_put = &puts[i];
        } else {
            dels[i].key = key;
            ops[i].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
            ops[i].request_delete_range = &dels[i];
        }
    }
    txn.success = list;
    txn.n_success = prng_between(&sim->prng, 1, OPS_MAX);
    return etcdserverpb__txn_request__pack(&txn, body);
}

static size_t pack_compact(struct sim *sim, struct sim_member *m, uint8_t *body)
{
    Etcdserverpb__CompactionRequest compact = ETCDSERVERPB__COMPACTION_REQUEST__INIT;

    compact.revision = mvcc_revision(m->machine->mvcc) - (int64_t)prng_between(&sim->prng, 0, 60);
    return etcdserverpb__compaction_request__pack(&compact, body);
}

/* Authentication itself stays off: the other clients have no names. */
static size_t pack_auth(struct sim *sim, uint8_t *body)
{
    Kvdpb__AuthChange change = KVDPB__AUTH_CHANGE__INIT;
    Etcdserverpb__AuthUserAddRequest user_add = ETCDSERVERPB__AUTH_USER_ADD_REQUEST__INIT;
    Etcdserverpb__AuthUserDeleteRequest user_delete = ETCDSERVERPB__AUTH_USER_DELETE_REQUEST__INIT;
    Etcdserverpb__AuthUserGrantRoleRequest grant = ETCDSERVERPB__AUTH_USER_GRANT_ROLE_REQUEST__INIT;
    Etcdserverpb__AuthRoleAddRequest role_add = ETCDSERVERPB__AUTH_ROLE_ADD_REQUEST__INIT;
    Etcdserverpb__AuthRoleDeleteRequest role_delete = ETCDSERVERPB__AUTH_ROLE_DELETE_REQUEST__INIT;
    Etcdserverpb__AuthRoleGrantPermissionRequest permit =
        ETCDSERVERPB__AUTH_ROLE_GRANT_PERMISSION_REQUEST__INIT;
    Authpb__UserAddOptions options = AUTHPB__USER_ADD_OPTIONS__INIT;
    Authpb__Permission permission = AUTHPB__PERMISSION__INIT;
    char user[KEY_SIZE], role[KEY_SIZE], key[KEY_SIZE];

    (void)snprintf(user, sizeof user, "u%u", (unsigned)prng_between(&sim->prng, 1, NAMES));
    (void)snprintf(role, sizeof role, "r%u", (unsigned)prng_between(&sim->prng, 1, NAMES));
    switch (prng_between(&sim->prng, 0, 5)) {
    case 0:
        options.no_password = true;
        user_add.name = user;
        user_add.options = &options;
        change.change_case = KVDPB__AUTH_CHANGE__CHANGE_USER_ADD;
        change.user_add = &user_add;
        break;
    case 1:
        user_delete.name = user;
        change.change_case = KVDPB__AUTH_CHANGE__CHANGE_USER_DELETE;
        change.user_delete = &user_delete;
        break;
    case 2:
        grant.user = user;
        grant.role = role;
        change.change_case = KVDPB__AUTH_CHANGE__CHANGE_USER_GRANT_ROLE;
        change.user_grant_role = &grant;
        break;
    case 3:
        role_add.name = role;
        change.change_case = KVDPB__AUTH_CHANGE__CHANGE_ROLE_ADD;
        change.role_add = &role_add;
        break;
    case 4:
        role_delete.role = role;
        change.change_case = KVDPB__AUTH_CHANGE__CHANGE_ROLE_DELETE;
        change.role_delete = &role_delete;
        break;
    default:
        permission.key = random_key(sim, key);
        permission.permtype = AUTHPB__PERMISSION__TYPE__READWRITE;
        permit.name = role;
        permit.perm = &permission;
        change.change_case = KVDPB__AUTH_CHANGE__CHANGE_ROLE_GRANT_PERMISSION;
        change.role_grant_permission = &permit;
        break;
    }
    return kvdpb__auth_change__pack(&change, body);
}

static void draw(struct sim *sim, struct sim_member *m, struct command *command, uint8_t *body)
{
    if (prng_chance(&sim->prng, sim->writer->compact_ppm)) {
        command->kind = COMMAND_COMPACT;
        command->body.len = pack_compact(sim, m, body);
    } else if (prng_chance(&sim->prng, 100000)) {
        command->kind = COMMAND_AUTH;
        command->body.len = pack_auth(sim, body);
    } else if (prng_chance(&sim->prng, 400000)) {
        command->kind = COMMAND_DELETE;
        command->body.len = pack_delete(sim, body);
    } else {
        command->kind = COMMAND_TXN;
        command->body.len = pack_txn(sim, body);
    }
}

static void start(struct sim *sim, struct write *w, struct sim_member *m)
{
    uint8_t body[BODY_SIZE];
    struct command command = {.origin = m->n, .ticket = m->ticket_next++, .body = {.data = body}};

    draw(sim, m, &command, body);
    w->member = m;
    w->ticket = command.ticket;
    buf_init(&w->command, 2 * BODY_SIZE);
    if (command_encode(&command, &w->command) != 0) {
        sim_violation(sim, "a small command does not fit");
        return;
    }
    w->proposal.command = buf_slice(&w->command);
    if (replica_propose(m->replica, &w->proposal) != 0)
        sim_violation(sim, "a small command is refused");
    sim_member_settle(m);
}

/* Each place begins one write at a time, and gives it up when its turn comes round again. */
static void next(struct sim *sim, void *data, uint64_t token)
{
    struct write *w = &sim->writer->writes[token];
    struct sim_member *m = &sim->members[prng_between(&sim->prng, 1, sim->size)];

    (void)data;
    if (w->member != NULL)
        give_up(w);
    if (sim->healed)
        return;
    if (m->up && m->asleep_until_us <= sim->now_us)
        start(sim, w, m);
    sim_at(sim, sim->now_us + prng_between(&sim->prng, 10000, 150000), next, NULL, token, NULL);
}

struct sim_writer *sim_writer_new(struct sim *sim)
{
    struct sim_writer *writer = xcalloc(1, sizeof *writer);

    if (prng_chance(&sim->prng, 500000))
        writer->compact_ppm = (uint32_t)prng_between(&sim->prng, 5000, 60000);
    for (uint64_t i = 0; i < WRITERS; i++)
        sim_at(sim, sim->now_us + 1000 * i, next, NULL, i, NULL);
    return writer;
}

void sim_writer_free(struct sim_writer *writer)
{
    free(writer);
}

void sim_writer_applied(struct sim_member *m, uint64_t ticket)
{
    struct sim_writer *writer = m->sim->writer;

    for (size_t i = 0; i < WRITERS; i++)
        if (writer->writes[i].member == m && writer->writes[i].ticket == ticket)
            finish(&writer->writes[i]);
}

void sim_writer_lost(struct sim_member *m)
{
    struct sim_writer *writer = m->sim->writer;

    for (size_t i = 0; i < WRITERS; i++)
        if (writer->writes[i].member == m)
            give_up(&writer->writes[i]);
}
