/* A byte stream between two processes on the event loop: TCP or a Unix socket, connected or
 * accepted, with or without TLS: everything above (HTTP, gRPC, raft's peers) sees only these calls.
 *
 * Loop thread only. Callbacks never fire from inside a call of the same socket. */
#ifndef KVD_NET_SOCK_H
#define KVD_NET_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"
#include "net/tls.h"

/* Where to listen or connect: from a URL http://host:port, https://, unix:// or a bare host:port.
 */
struct net_addr {
    bool tls; /* https:// or unixs:// */
    bool is_unix;
    char host[256]; /* name or address without brackets; the path for a Unix socket */
    uint16_t port;
};

/* KV_EINVAL with a text that names the URL and what is wrong with it. A path is refused. */
int net_addr_parse(const char *url, struct net_addr *out, struct err *err);
/* "host:port", "[v6]:port" or "unix:path", as people read it; returns out. */
const char *net_addr_format(const struct net_addr *addr, char *out, size_t size);

struct net_sock;

struct net_sock_events {
    /* Connected, and with TLS the handshake is through (outgoing only, once, before anything else):
     * status 0 or KV_ECONN. */
    void (*on_connect)(void *ctx, int status, const struct err *err);
    /* Bytes came in; borrowed until return. */
    void (*on_read)(void *ctx, struct slice bytes);
    /* The other side ended (0) or the connection broke (KV_ECONN); nothing more comes. After an
     * orderly end writing still works. Under TLS an end without a word is a break. An accepted
     * socket whose handshake fails ends so too: net_sock_trouble() says why. The socket still has
     * to be closed by its owner. */
    void (*on_end)(void *ctx, int status);
    /* The last pending byte has gone to the kernel (or, when the connection breaks after on_end, to
     * nowhere); not called for writes that never had to wait. May be NULL. */
    void (*on_drain)(void *ctx);
};

/* Starts to connect (names are resolved off the loop); every failure to connect is told later by
 * on_connect. Writes before that wait. The socket lives until its close callback. tls: for an
 * address that wants it, and only then used; a reference is taken. KV_EINVAL: an address that
 * cannot be used at all. */
int net_sock_connect(uv_loop_t *loop, const struct net_addr *addr, struct net_tls *tls,
                     const struct net_sock_events *events, void *ctx, struct net_sock **out,
                     struct err *err);
/* Sets who is told; for accepted sockets this starts reading. */
void net_sock_start(struct net_sock *sock, const struct net_sock_events *events, void *ctx);
/* Stop and go on reading: back-pressure. What had been received may still come, up to 64 KiB. */
void net_sock_pause(struct net_sock *sock);
void net_sock_resume(struct net_sock *sock);
/* Copies what the kernel does not take at once. 0, KV_ECONN once broken, KV_ETOOBIG if more than
 * the bound would wait (nothing was taken then). */
int net_sock_write(struct net_sock *sock, struct slice bytes);
/* Bytes written but not yet taken by the kernel. */
size_t net_sock_pending(const struct net_sock *sock);
/* Bound for pending bytes; default 64 MiB. */
void net_sock_set_pending_max(struct net_sock *sock, size_t bytes);
/* "127.0.0.1:4711" of the other side; lives as long as the socket. */
const char *net_sock_peer(const struct net_sock *sock);
/* What went wrong with TLS, where on_end was told: the handshake of an accepted socket, or what the
 * other side thought of our certificate. "": nothing. */
const char *net_sock_trouble(const struct net_sock *sock);
bool net_sock_is_tls(const struct net_sock *sock);
/* Whether the other side has shown a certificate that is good for this host name or address.
 * False without TLS. */
bool net_sock_peer_is_host(const struct net_sock *sock, const char *host);
/* Whether that certificate names any host or address at all. */
bool net_sock_peer_names_hosts(const struct net_sock *sock);
/* Common name of that certificate; false if there is none or it does not fit. */
bool net_sock_peer_common_name(const struct net_sock *sock, char *out, size_t size);
/* Values of its subject, in arena: the common name, and the nth organization. data NULL: there is
 * none. */
struct slice net_sock_peer_name(const struct net_sock *sock, struct arena *arena);
struct slice net_sock_peer_organization(const struct net_sock *sock, size_t n, struct arena *arena);
/* Drops what is pending and closes; no callback fires after the call but cb (may be NULL). */
void net_sock_close(struct net_sock *sock, void (*cb)(void *ctx), void *ctx);

struct net_listener;

/* on_accept owns the socket and must net_sock_start() or close it at once. It may close the
 * listener. */
typedef void (*net_accept_cb)(void *ctx, struct net_sock *sock);
/* KV_EBUSY: the port is taken (text says which). Survives running out of file descriptors without
 * spinning. tls as for net_sock_connect(); handshakes run by themselves, how long they may take is
 * the owner's concern. Blocks to resolve a name: start-up only. */
int net_listen(uv_loop_t *loop, const struct net_addr *addr, struct net_tls *tls,
               net_accept_cb on_accept, void *ctx, struct net_listener **out, struct err *err);
/* The port in use, for addr.port 0. */
uint16_t net_listener_port(const struct net_listener *listener);
void net_listener_close(struct net_listener *listener, void (*cb)(void *ctx), void *ctx);

#endif
