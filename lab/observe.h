/* What a member says of itself: its /kvd/status, asked for over one connection again and again. */
#ifndef KVD_LAB_OBSERVE_H
#define KVD_LAB_OBSERVE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "lab/command.h"
#include "net/sock.h"

enum lab_role { LAB_NO_ROLE, LAB_FOLLOWER, LAB_CANDIDATE, LAB_LEADER };

struct lab_view {
    bool known; /* it has answered, and not longer ago than a moment */
    uint64_t answered_ms;
    enum lab_role role;
    uint64_t id, leader; /* member ids */
    uint64_t term, last_index, stored_index, commit_index, applied_index;
    int64_t revision;
    bool nospace;
};

struct lab_observer;
typedef void (*lab_observer_cb)(struct lab_observer *observer);

/* The owner embeds it; view is for reading, the rest is private. */
struct lab_observer {
    struct lab_view view;
    uv_loop_t *loop;
    uint16_t port;
    struct net_sock *sock; /* NULL: not connected */
    bool asked;
    uint64_t asked_ms;
    struct buf got;
    lab_observer_cb on_view;
    void *ctx;
};

/* on_view fires whenever there is a new answer. */
void lab_observer_init(struct lab_observer *observer, uv_loop_t *loop, uint16_t port,
                       lab_observer_cb on_view, void *ctx);
/* Asks, unless a question is open; to be called every few moments. A member that does not answer
 * for half a second is no longer known, and asked on another connection. */
void lab_observer_tick(struct lab_observer *observer);
/* The process ended: nothing is known of it, from now on. */
void lab_observer_forget(struct lab_observer *observer);
/* Asks no more; its socket closes with the loop's next turns. */
void lab_observer_release(struct lab_observer *observer);

#endif
