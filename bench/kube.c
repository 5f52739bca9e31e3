/* k8s-write: the Txn shapes of Kubernetes' storage (kubernetes-needs.md section 3). Each client
 * owns its keys, so every outcome is known beforehand: updates, and among them creations, deletions
 * and updates that must fail because somebody believes in an old revision. */
#include <stdlib.h>

#include "base/mem.h"
#include "bench/bench.h"
#include "bench/wire.h"

enum kind { CREATE, UPDATE, DELETE, STALE, LEARN };

enum { DELETE_PPM = 100000, STALE_PPM = 50000, UNKNOWN = -1 };

struct kube_state {
    struct closed_loop loop;
    int64_t *revisions; /* mod_revision of each key; 0: absent */
};

static void kube_defaults(struct bench_options *o)
{
    o->clients = 64;
    o->key_size = 48;
    o->value_size = 1024;
}

static int kube_check(const struct bench_options *o, struct err *err)
{
    if (o->keys >= o->clients)
        return 0;
    return err_set(err, KV_EINVAL, "%llu clients want a key each: --keys %llu is too few",
                   (unsigned long long)o->clients, (unsigned long long)o->keys);
}

static void kube_prepare(struct bench *bench)
{
    struct kube_state *state = bench->state;

    state->revisions = xmalloc(bench->options->keys * sizeof *state->revisions);
    for (uint64_t i = 0; i < bench->options->keys; i++)
        state->revisions[i] = UNKNOWN;
    bench_prepared(bench);
}

static void kube_release(struct bench *bench)
{
    struct kube_state *state = bench->state;

    calls_release(bench);
    free(state->revisions);
}

static enum kind choose(struct bench *bench, int64_t revision)
{
    if (revision == UNKNOWN)
        return LEARN;
    if (revision == 0)
        return CREATE;
    if (prng_chance(&bench->prng, DELETE_PPM))
        return DELETE;
    return prng_chance(&bench->prng, STALE_PPM) ? STALE : UPDATE;
}

/* Revision that the compare believes in. Nothing can have been modified at 1: it is the revision of
 * the empty store. */
static int64_t believed(enum kind kind, int64_t revision)
{
    return kind == LEARN || kind == STALE ? 1 : revision;
}

static const char *kube_request(struct client *client, struct buf *out)
{
    struct bench *bench = client->call.bench;
    const struct kube_state *state = bench->state;
    const struct bench_options *o = bench->options;
    uint64_t own = (o->keys - client->index - 1) / o->clients; /* the last of its keys */
    uint8_t space[KEY_SPACE_MAX];
    struct slice key;

    client->number = client->index + o->clients * prng_between(&bench->prng, 0, own);
    client->revision = state->revisions[client->number];
    client->kind = (int)choose(bench, client->revision);
    key = key_at(&o->space, client->number, space);
    wire_txn_compare_mod(out, key, WIRE_EQUAL, believed((enum kind)client->kind, client->revision));
    if (client->kind == DELETE)
        wire_txn_delete(out, WIRE_SUCCESS, key);
    else
        wire_txn_put(out, WIRE_SUCCESS, key, bench_value(bench), 0);
    if (client->kind != CREATE)
        wire_txn_range(out, WIRE_FAILURE, key);
    return "/etcdserverpb.KV/Txn";
}

/* A compare that failed must show the key as it is. */
static const char *check_refused(const struct client *client, const struct wire_txn_answer *txn,
                                 int64_t *revision)
{
    const struct key_space *keys = &client->call.bench->options->space;

    if (txn->succeeded)
        return "a compare with a wrong revision has held";
    if (txn->has_kv && !key_is(keys, txn->kv.key, client->number))
        return "a failed txn shows another key";
    if (client->kind == STALE && txn->kv.mod_revision != client->revision)
        return "a failed txn shows another revision than that of the last write";
    *revision = txn->has_kv ? txn->kv.mod_revision : 0;
    return NULL;
}

static const char *kube_answer(struct client *client, struct slice answer)
{
    struct kube_state *state = client->call.bench->state;
    int64_t *revision = &state->revisions[client->number];
    struct wire_txn_answer txn;

    *revision = UNKNOWN; /* until the answer turns out right */
    if (!wire_read_txn(answer, &txn))
        return "the answer to a Txn is no TxnResponse";
    if (client->kind == STALE || client->kind == LEARN)
        return check_refused(client, &txn, revision);
    if (!txn.succeeded)
        return "a compare with the right revision has failed";
    if (txn.revision <= client->revision)
        return "a write has no higher revision than the one before it";
    *revision = client->kind == DELETE ? 0 : txn.revision;
    return NULL;
}

const struct workload workload_k8s_write = {
    .name = "k8s-write",
    .help = "Kubernetes' create, update, delete as Txn, some refused as they must be",
    .takes = "clients keys key-size value-size no-fill requests",
    .key_prefix = "/registry/write/",
    .fills = true,
    .state_size = sizeof(struct kube_state),
    .defaults = kube_defaults,
    .check = kube_check,
    .prepare = kube_prepare,
    .start = calls_start,
    .finish = calls_finish,
    .release = kube_release,
    .request = kube_request,
    .answer = kube_answer,
};
