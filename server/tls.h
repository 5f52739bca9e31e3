/* TLS of a member as its configuration says: certificates of the client listeners, of the peer
 * listeners, and for connections to other members; made where --auto-tls or --peer-auto-tls ask for
 * it. Start-up, loop thread. */
#ifndef KVD_SERVER_TLS_H
#define KVD_SERVER_TLS_H

#include "net/tls.h"
#include "server/config.h"
#include "server/log.h"

/* Each NULL if no certificates are configured. */
struct tls_set {
    struct net_tls *client;       /* for listeners of clients */
    struct net_tls *peer_accept;  /* for listeners of members */
    struct net_tls *peer_connect; /* to other members */
};

/* The data dir exists. Changes of the files are told to log, which outlives the set. On failure
 * *out is empty. */
int tls_set_open(const struct config *config, struct log *log, struct tls_set *out,
                 struct err *err);
void tls_set_release(struct tls_set *set);

#endif
