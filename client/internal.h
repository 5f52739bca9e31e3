/* What the files of libkv share. */
#ifndef KVD_CLIENT_INTERNAL_H
#define KVD_CLIENT_INTERNAL_H

#include <stdbool.h>

#include "base/prng.h"
#include "client/kv.h"
#include "net/client.h"

/* A connection. It may outlive its endpoint's interest: one that the server has said goodbye to
 * finishes its calls while the endpoint already has the next one. */
struct kv__conn {
    struct kv__endpoint *endpoint;
    struct grpc_conn *grpc;
    struct list link; /* in client->conns until it is closed */
};

/*      connect            on_ready
 * IDLE ────────▶ CONNECTING ────────▶ READY
 *                    │ on_down           │ on_down
 *                    ▼                   │
 *                  DOWN ◀────────────────┘      DOWN ─ connect after retry_at ▶ CONNECTING */
enum kv__endpoint_state { ENDPOINT_IDLE, ENDPOINT_CONNECTING, ENDPOINT_READY, ENDPOINT_DOWN };

struct kv__endpoint {
    struct kv_client *client;
    char *text; /* as given; names the endpoint in errors */
    struct net_addr addr;
    enum kv__endpoint_state state;
    struct kv__conn *conn;  /* while CONNECTING or READY */
    uint64_t since_ms;      /* start of CONNECTING */
    uint64_t not_before_ms; /* DOWN: no connect; READY: no call, its server was UNAVAILABLE */
    unsigned failures;      /* in a row; an answer ends the row */
    struct err err;         /* why it went down last; code 0: never did */
};

enum kv__auth_state { KV__AUTH_WANTED, KV__AUTH_RUNNING, KV__AUTH_DONE };

/* Who the client is (auth.c). */
struct kv__auth {
    char *user; /* NULL: nobody logs in */
    char *password;
    char *token; /* NULL: there is none, or none is needed */
    enum kv__auth_state state;
    unsigned generation; /* of the token: counts logins */
    unsigned refusals;   /* in a row */
    struct kv_call login;
};

enum { KV__NO_LOGIN = 1 << 30 }; /* a call's flag: the login itself */

struct kv_client {
    uv_loop_t *loop;
    uv_loop_t own_loop; /* initialised if loop points to it */
    uv_timer_t timer;   /* the earliest moment at which waiting calls or endpoints need care */
    struct kv_options options;
    struct net_tls *tls; /* NULL: no endpoint wants it */
    struct kv__endpoint *endpoints;
    size_t endpoints_len;
    size_t current;              /* where the search for a ready endpoint begins */
    struct list conns;           /* kv__conn.link */
    struct list waiting;         /* kv_call.link: no stream, wants a connection */
    struct list running;         /* kv_call.link: has a stream */
    struct list streams_waiting; /* kv__stream.link: wants a connection */
    struct list streams_running; /* kv__stream.link: has a stream */
    struct list alarms;          /* kv__alarm.link, in no order: they are few */
    struct prng prng;            /* spreads backoff */
    struct kv__auth auth;
    unsigned handles; /* connections and the timer, not yet closed */
    bool closing;
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

uint64_t kv__now(const struct kv_client *client);
/* 25 ms doubling with each failure up to 1.6 s, give or take a tenth. */
uint64_t kv__backoff(struct kv_client *client, unsigned failures);
/* Calls kv__pump() from the loop, at the latest at that moment. */
void kv__wake_at(struct kv_client *client, uint64_t at_ms);

/* Hands waiting calls to ready endpoints, makes connections, ends calls that waited too long. From
 * the loop only, never from inside kv_call_start(). */
void kv__pump(struct kv_client *client);

/* Takes user, password and token over from the options. */
void kv__auth_init(struct kv_client *client);
void kv__auth_release(struct kv_client *client);
/* Whether calls may go out; begins to log in if that is missing, and then wakes the client. */
bool kv__auth_ready(struct kv_client *client);
/* The token, if there is one: 0 or 1 field. */
size_t kv__auth_metadata(const struct kv_client *client, struct grpc_metadata *out);
/* Whether a call that ended with this message, sent after that login, is to be sent again. */
bool kv__auth_refused(struct kv_client *client, const char *message, unsigned generation);
/* Nobody can log in: ends all that wait for it (client.c). */
void kv__auth_failed(struct kv_client *client, const struct kv_result *why);

/* A ready endpoint by the client's way of balancing, or endpoints_len if there is none now. */
size_t kv__endpoint_pick(struct kv_client *client);
/* Starts connections for waiting calls: one, and the next one when that hangs. */
void kv__endpoint_connect_some(struct kv_client *client);
/* The earliest moment at which connect_some() or pick() can find something new; UINT64_MAX: none.
 */
uint64_t kv__endpoint_next_event(const struct kv_client *client);
/* Its server cannot serve now: others come first for a while. */
void kv__endpoint_avoid(struct kv__endpoint *endpoint);
/* Its connection takes no new calls: it shall have another one. */
void kv__endpoint_retire(struct kv__endpoint *endpoint);
void kv__conns_close(struct kv_client *client);
/* "connecting to a: refused; connecting to b: refused; is kvd running there?" */
void kv__endpoint_explain(const struct kv_client *client, struct err *err);

/* Ends call with KV_ECONN, KV_ETIMEDOUT or KV_ECANCELED and calls back. */
void kv__call_give_up(struct kv_call *call, int code);
/* Ends a call that waits as another one has ended. */
void kv__call_fail(struct kv_call *call, const struct kv_result *why);
/* Sends the request on a ready endpoint. KV_ECONN: it broke just now, call is as before. */
int kv__call_send(struct kv_call *call, size_t endpoint);
/* When the call has waited long enough for a connection. */
uint64_t kv__call_wait_until(const struct kv_call *call);

/* ---- streams that come back ---- */

struct kv__stream_kind {
    const char *path;
    bool require_leader;
    bool once; /* its beginning can not be made good: it is not begun again once it was sent, and an
                * end in good order is an end, with code 0 */
    /* There is a stream: time to send. */
    void (*on_open)(struct kv__stream *stream);
    void (*on_message)(struct kv__stream *stream, struct slice message);
    /* It broke; on_open() follows. */
    void (*on_down)(struct kv__stream *stream);
    /* It is over and closed. */
    void (*on_end)(struct kv__stream *stream, const struct err *err);
};

/* No callback fires from inside. */
void kv__stream_open(struct kv_client *client, struct kv__stream *stream,
                     const struct kv__stream_kind *kind);
/* No callback fires after it. Harmless when repeated. */
void kv__stream_close(struct kv__stream *stream);
/* Breaks what there is, and opens another; on_down() fires inside. */
void kv__stream_renew(struct kv__stream *stream);
/* Ends those that wait for a connection. */
void kv__streams_fail(struct kv_client *client, const struct err *err);
/* Does nothing while there is no stream: on_open() will send what matters. */
void kv__stream_send(struct kv__stream *stream, const ProtobufCMessage *message);
/* There will be no more to send. */
void kv__stream_half_close(struct kv__stream *stream);

/* Gives waiting streams a connection; true if one stays that only lacks it. */
bool kv__streams_open(struct kv_client *client);
/* The earliest moment at which a waiting stream or an alarm needs care; UINT64_MAX: none. */
uint64_t kv__streams_next_event(const struct kv_client *client);
/* Ends streams that waited too long and rings alarms. Their callbacks may close the client. */
void kv__streams_ring(struct kv_client *client);

/* Calls cb once from the loop, at at_ms or soon after it. Sets it anew if it is set. */
void kv__alarm_set(struct kv_client *client, struct kv__alarm *alarm, uint64_t at_ms,
                   void (*cb)(struct kv__alarm *alarm));
/* Harmless when it is not set. */
void kv__alarm_cancel(struct kv__alarm *alarm);

/* Code for a status and message of a server; GRPC_OK is 0. */
int kv__code_of(enum grpc_status status, const char *message);

#endif
