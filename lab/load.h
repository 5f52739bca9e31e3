/* The clients: at each member one that writes, one that reads linearizably and one that reads
 * serializably, each with one request at a time, at an even pace. A client knows its own member
 * only, so that what each member still serves can be told apart.
 *
 * Keys are called as check.h says, values are <serial>, and blanks behind it if they shall be long;
 * no two writes have the same serial. Loop thread only. */
#ifndef KVD_LAB_LOAD_H
#define KVD_LAB_LOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/prng.h"
#include "base/slice.h"
#include "client/kv.h"
#include "lab/check.h"
#include "lab/command.h"

enum { LAB_TOPICS = 3, LAB_CALL_TIMEOUT_MS = 1000 };

/* How calls ended. ok: acknowledged, or answered. */
struct lab_tally {
    uint64_t ok, failed, unknown, stale;
};

struct lab_clients;

/* One call of one client. */
struct lab_worker {
    struct kv_call call;
    uv_timer_t timer;
    struct lab_clients *clients;
    enum lab_topic topic;
    bool calling;
    uint32_t key;
    uint64_t serial;
    int64_t began_ms, floor;
    struct lab_tally tally;
    int64_t ok_began_ms; /* when the last call that ended well had begun; -1: none */
    int64_t ok_at_ms;    /* and when it ended */
};

struct lab_clients {
    struct lab_load *load;
    unsigned member;
    bool used;
    bool learner; /* it takes serializable reads only */
    struct kv_client *client;
    struct lab_worker workers[LAB_TOPICS];
    char last_error[200]; /* of any of them; "" */
};

struct lab_load_options {
    uv_loop_t *loop;
    struct lab_check *check;
    uint64_t seed;
    uint64_t pace_ms;  /* between the answer and the next request; 0: 20 */
    uint64_t began_ms; /* uv_now() that counts as 0 */
    /* A call ended; how: enum below. age_ms: of a stale read, else -1. */
    void (*on_done)(void *ctx, unsigned member, enum lab_topic topic, int how, int64_t age_ms);
    void *ctx;
};
enum { LAB_OK, LAB_NOT_DONE, LAB_MAYBE_DONE };

struct lab_load {
    struct lab_load_options options;
    struct prng prng;
    struct lab_clients clients[LAB_MEMBERS_MAX + 1];
    uint64_t serial;
    size_t value_size; /* values are at least so long */
    bool on, full;     /* full: the history takes no more */
};

void lab_load_init(struct lab_load *load, const struct lab_load_options *options);
/* Clients for member n at 127.0.0.1:port. */
int lab_load_add(struct lab_load *load, unsigned n, uint16_t port, struct err *err);
/* A learner refuses all but serializable reads: its other clients wait until it is none. */
void lab_load_set_learner(struct lab_load *load, unsigned n, bool learner);
/* They stop; connections and timers close with the loop's next turns. */
void lab_load_remove(struct lab_load *load, unsigned n);
void lab_load_set(struct lab_load *load, bool on);
/* Whether a request has no answer yet. */
bool lab_load_is_calling(const struct lab_load *load);
/* Of one member, or of all (0). */
struct lab_tally lab_load_tally(const struct lab_load *load, unsigned n, enum lab_topic topic);
/* Removes all. */
void lab_load_close(struct lab_load *load);

/* Which key and serial a stored pair is; false: it is none of ours. */
bool lab_load_decode(struct slice key, struct slice value, uint32_t *out_key, uint64_t *out_serial);

#endif
