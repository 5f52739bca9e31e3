#include "lab/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

enum { PACE_MS = 20, TROUBLE_MS = 50, KEY_SIZE = 40 };

static void next(struct lab_worker *worker, uint64_t pause_ms);

static int64_t now_ms(const struct lab_load *load)
{
    return (int64_t)(uv_now(load->options.loop) - load->options.began_ms);
}

/* ---- keys and values ---- */

static size_t key_text(uint32_t key, char *out)
{
    return (size_t)snprintf(out, KEY_SIZE, LAB_PREFIX "%u/%u", key / LAB_SLOTS, key % LAB_SLOTS);
}

static bool read_number(struct slice text, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || i > 18)
            return false;
        *out = *out * 10 + (uint64_t)(text.data[i] - '0');
    }
    return text.len != 0;
}

bool lab_load_decode(struct slice key, struct slice value, uint32_t *out_key, uint64_t *out_serial)
{
    size_t prefix = strlen(LAB_PREFIX);
    const uint8_t *slash, *blank;
    uint64_t member, slot;

    if (key.len <= prefix || memcmp(key.data, LAB_PREFIX, prefix) != 0)
        return false;
    key = slice_of(key.data + prefix, key.len - prefix);
    slash = memchr(key.data, '/', key.len);
    if (slash == NULL || !read_number(slice_of(key.data, (size_t)(slash - key.data)), &member) ||
        !read_number(slice_of(slash + 1, key.len - (size_t)(slash - key.data) - 1), &slot) ||
        member > LAB_MEMBERS_MAX || slot >= LAB_SLOTS)
        return false;
    *out_key = (uint32_t)(member * LAB_SLOTS + slot);
    blank = value.len != 0 ? memchr(value.data, ' ', value.len) : NULL;
    if (blank != NULL)
        value.len = (size_t)(blank - value.data);
    return read_number(value, out_serial);
}

/* ---- answers ---- */

static int outcome(const struct lab_worker *worker)
{
    const struct kv_result *result = &worker->call.result;

    if (result->err.code == 0)
        return LAB_OK;
    /* only what never went out is known not to have been done */
    return worker->topic != LAB_WRITES || result->attempts == 0 ? LAB_NOT_DONE : LAB_MAYBE_DONE;
}

static bool take_write(struct lab_worker *worker)
{
    const Etcdserverpb__PutResponse *put = (const void *)worker->call.result.message;
    struct lab_load *load = worker->clients->load;

    return lab_check_acknowledged(load->options.check, worker->clients->member, worker->key,
                                  worker->serial, put->header != NULL ? put->header->revision : 0,
                                  now_ms(load));
}

static bool take_read(struct lab_worker *worker, int64_t *age_ms)
{
    const Etcdserverpb__RangeResponse *range = (const void *)worker->call.result.message;
    struct lab_load *load = worker->clients->load;
    int64_t revision = range->header != NULL ? range->header->revision : 0, mod = 0;
    uint64_t serial = 0;
    uint32_t key;

    if (range->n_kvs != 0) {
        const Mvccpb__KeyValue *kv = range->kvs[0];

        mod = kv->mod_revision;
        if (!lab_load_decode(slice_of(kv->key.data, kv->key.len),
                             slice_of(kv->value.data, kv->value.len), &key, &serial))
            serial = UINT64_MAX; /* nobody wrote that: the check will say so */
    }
    if (worker->topic == LAB_READS)
        return lab_check_read(load->options.check, worker->clients->member, worker->key, serial,
                              mod, revision, worker->floor, now_ms(load));
    *age_ms = lab_check_local_read(load->options.check, worker->clients->member, worker->key,
                                   serial, mod, revision, worker->floor, worker->began_ms);
    return true;
}

static void on_done(struct kv_call *call)
{
    struct lab_worker *worker = CONTAINER_OF(call, struct lab_worker, call);
    struct lab_load *load = worker->clients->load;
    int how = outcome(worker);
    int64_t age_ms = -1;

    worker->calling = false;
    if (how == LAB_OK) {
        if (!(worker->topic == LAB_WRITES ? take_write(worker) : take_read(worker, &age_ms)))
            load->full = true;
        worker->ok_began_ms = worker->began_ms;
        worker->ok_at_ms = now_ms(load);
    } else {
        (void)snprintf(worker->clients->last_error, sizeof worker->clients->last_error, "%.190s",
                       call->result.err.text);
    }
    worker->tally.ok += how == LAB_OK;
    worker->tally.failed += how == LAB_NOT_DONE;
    worker->tally.unknown += how == LAB_MAYBE_DONE;
    worker->tally.stale += age_ms >= 0;
    kv_result_release(&call->result);
    load->options.on_done(load->options.ctx, worker->clients->member, worker->topic, how, age_ms);
    next(worker, how == LAB_OK ? load->options.pace_ms : MAX(load->options.pace_ms, TROUBLE_MS));
}

/* ---- requests ---- */

static int start_write(struct lab_worker *worker)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct lab_load *load = worker->clients->load;
    char key[KEY_SIZE], value[24 + LAB_VALUE_SIZE_MAX];

    worker->key =
        worker->clients->member * LAB_SLOTS + (uint32_t)prng_between(&load->prng, 0, LAB_SLOTS - 1);
    worker->serial = ++load->serial;
    put.key = (ProtobufCBinaryData){.data = (uint8_t *)key, .len = key_text(worker->key, key)};
    put.value.len =
        (size_t)snprintf(value, sizeof value, "%llu", (unsigned long long)worker->serial);
    if (put.value.len < load->value_size) {
        memset(value + put.value.len, ' ', load->value_size - put.value.len);
        put.value.len = load->value_size;
    }
    put.value.data = (uint8_t *)value;
    return kv_call_start(worker->clients->client, &worker->call, &kv_method_put, &put.base, NULL,
                         on_done, NULL);
}

static int start_read(struct lab_worker *worker)
{
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    struct lab_load *load = worker->clients->load;
    unsigned members = 0, nth;
    char key[KEY_SIZE];

    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++)
        members += load->clients[n].used;
    nth = (unsigned)prng_between(&load->prng, 1, members);
    worker->key = nth * LAB_SLOTS + (uint32_t)prng_between(&load->prng, 0, LAB_SLOTS - 1);
    range.key = (ProtobufCBinaryData){.data = (uint8_t *)key, .len = key_text(worker->key, key)};
    range.serializable = worker->topic == LAB_LOCAL_READS;
    return kv_call_start(worker->clients->client, &worker->call, &kv_method_range, &range.base,
                         NULL, on_done, NULL);
}

static void start(uv_timer_t *timer)
{
    struct lab_worker *worker = timer->data;
    struct lab_load *load = worker->clients->load;
    int rc;

    if (!load->on || load->full)
        return;
    if (worker->clients->learner && worker->topic != LAB_LOCAL_READS) {
        next(worker, TROUBLE_MS);
        return;
    }
    worker->began_ms = now_ms(load);
    worker->floor = lab_check_floor(load->options.check);
    rc = worker->topic == LAB_WRITES ? start_write(worker) : start_read(worker);
    worker->calling = rc == 0;
    if (rc != 0)
        next(worker, TROUBLE_MS);
}

static void next(struct lab_worker *worker, uint64_t pause_ms)
{
    if (worker->clients->load->on)
        (void)uv_timer_start(&worker->timer, start, pause_ms, 0);
}

/* ---- all of them ---- */

void lab_load_init(struct lab_load *load, const struct lab_load_options *options)
{
    *load = (struct lab_load){.options = *options};
    if (load->options.pace_ms == 0)
        load->options.pace_ms = PACE_MS;
    prng_seed(&load->prng, options->seed);
}

int lab_load_add(struct lab_load *load, unsigned n, uint16_t port, struct err *err)
{
    struct lab_clients *clients = &load->clients[n];
    char endpoint[32];
    const char *endpoints[] = {endpoint};
    struct kv_options options = {.endpoints = endpoints,
                                 .endpoints_len = 1,
                                 .dial_timeout_ms = LAB_CALL_TIMEOUT_MS / 2,
                                 .call_timeout_ms = LAB_CALL_TIMEOUT_MS};
    int rc;

    (void)snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u", port);
    *clients = (struct lab_clients){.load = load, .member = n};
    rc = kv_client_open(load->options.loop, &options, &clients->client, err);
    if (rc != 0)
        return rc;
    clients->used = true;
    for (size_t i = 0; i < LAB_TOPICS; i++) {
        struct lab_worker *worker = &clients->workers[i];

        worker->clients = clients;
        worker->topic = (enum lab_topic)i;
        worker->ok_began_ms = worker->ok_at_ms = -1;
        (void)uv_timer_init(load->options.loop, &worker->timer); /* cannot fail */
        worker->timer.data = worker;
        next(worker, i); /* not all at the same moment */
    }
    return 0;
}

void lab_load_set(struct lab_load *load, bool on)
{
    if (load->on == on)
        return;
    load->on = on;
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        for (size_t i = 0; load->clients[n].used && i < LAB_TOPICS; i++) {
            if (on && !load->clients[n].workers[i].calling)
                next(&load->clients[n].workers[i], n + i);
        }
    }
}

struct lab_tally lab_load_tally(const struct lab_load *load, unsigned n, enum lab_topic topic)
{
    struct lab_tally sum = {.ok = 0};

    for (unsigned i = n == 0 ? 1 : n; i <= (n == 0 ? LAB_MEMBERS_MAX : n); i++) {
        const struct lab_tally *tally = &load->clients[i].workers[topic].tally;

        sum.ok += tally->ok;
        sum.failed += tally->failed;
        sum.unknown += tally->unknown;
        sum.stale += tally->stale;
    }
    return sum;
}

void lab_load_set_learner(struct lab_load *load, unsigned n, bool learner)
{
    load->clients[n].learner = learner;
}

bool lab_load_is_calling(const struct lab_load *load)
{
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        for (size_t i = 0; load->clients[n].used && i < LAB_TOPICS; i++) {
            if (load->clients[n].workers[i].calling)
                return true;
        }
    }
    return false;
}

void lab_load_remove(struct lab_load *load, unsigned n)
{
    struct lab_clients *clients = &load->clients[n];

    if (!clients->used)
        return;
    clients->used = false;
    for (size_t i = 0; i < LAB_TOPICS; i++) {
        if (clients->workers[i].calling)
            kv_call_cancel(&clients->workers[i].call);
        clients->workers[i].calling = false;
        uv_close((uv_handle_t *)&clients->workers[i].timer, NULL);
    }
    kv_client_close(clients->client, NULL, NULL);
}

void lab_load_close(struct lab_load *load)
{
    load->on = false;
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++)
        lab_load_remove(load, n);
}
