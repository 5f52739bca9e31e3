/* What sock.c and listener.c share. */
#ifndef KVD_NET_SOCK_INTERNAL_H
#define KVD_NET_SOCK_INTERNAL_H

#include <stdbool.h>
#include <sys/socket.h>

#include "net/sock.h"

/* Longest text of a peer: an IPv6 address with zone, or a Unix path. */
enum { NET__NAME_SIZE = 280 };

/* A numeric host or a Unix path as a socket address; false for a name that must be resolved. */
bool net__addr_literal(const struct net_addr *addr, struct sockaddr_storage *out, socklen_t *len);
/* "127.0.0.1:4711", "[::1]:4711" or "unix:path"; returns out. */
const char *net__sockaddr_format(const struct sockaddr *addr, char *out, size_t size);
/* Wraps an accepted, non-blocking descriptor, which it then owns. Not yet reading. tls may be NULL.
 * NULL if the loop cannot watch it; fd is still the caller's then. */
struct net_sock *net__sock_accepted(uv_loop_t *loop, int fd, const struct sockaddr *peer,
                                    struct net_tls *tls);
/* KV_EINVAL for an address that wants TLS when there is none to use. */
int net__addr_check_tls(const struct net_addr *addr, const struct net_tls *tls, struct err *err);

#endif
