/* What method, path and query of a request ask for: upstream's RequestInfo. */
#ifndef KVD_KUBE_REST_INFO_H
#define KVD_KUBE_REST_INFO_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/slice.h"
#include "kube/types/kinds.h"

enum rest_verb {
    REST_CREATE,
    REST_DELETE,
    REST_DELETECOLLECTION,
    REST_GET,
    REST_LIST,
    REST_PATCH,
    REST_UPDATE,
    REST_WATCH,
    REST_OTHER /* of a path that is no resource: the method in lower case */
};

/* Slices borrow from the path, or from the query where a field selector pins the name. */
struct rest_info {
    enum rest_verb verb;
    const char *verb_text; /* "list", as authorizers name it */
    bool is_resource;
    struct slice group, version, plural, ns, name, subresource;
    bool too_long;                        /* more path behind the subresource (proxies) */
    const struct kube_resource *resource; /* NULL: no such one */
    const struct kube_subresource *sub;   /* NULL: none asked for, or no such one */
};

/* A query, decoded. */
struct rest_param {
    struct slice key, value;
};
struct rest_query {
    struct rest_param *params;
    size_t count;
};

enum { REST_PARAMS_MAX = 64 };

/* Parameters beyond REST_PARAMS_MAX and such that are badly escaped are left out, as Go does. */
void rest_query_parse(struct arena *arena, const char *text, struct rest_query *out);
/* The first value; data NULL: not there. Terminated by a zero that is not counted. */
struct slice rest_query_get(const struct rest_query *query, const char *key);
/* Go's conversion: there, and neither "0" nor "false". */
bool rest_query_bool(const struct rest_query *query, const char *key);

void rest_info_parse(struct arena *arena, const char *method, const char *path,
                     const struct rest_query *query, struct rest_info *out);

#endif
