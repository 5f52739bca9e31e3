/* Who may talk to a member over HTTP: --cors and --host-whitelist. Loop thread only. */
#ifndef KVD_SERVER_ACCESS_H
#define KVD_SERVER_ACCESS_H

#include <stdbool.h>

#include "base/slice.h"

/* Comma-separated words. Empty, and then it allows all, if none was given or one of them is "*". */
struct access_list {
    char *text;
    char **words; /* into text; NULL-terminated, and NULL if there are none */
};

struct access {
    struct access_list origins; /* of pages whose scripts may read answers */
    struct access_list hosts;   /* names that a Host header may have */
};

/* Lists may be NULL. */
void access_init(struct access *access, const char *origins, const char *hosts);
void access_release(struct access *access);
/* Whether the Host header names one of the hosts, with or without a port. It protects against pages
 * that have their own name point here (DNS rebinding). */
bool access_allows_host(const struct access *access, struct slice host);

#endif
