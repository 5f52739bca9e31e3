/* Who a request is from, and what they may do.
 *
 * Authentication: the client's certificate (CN is the user, each O a group), a bearer token of the
 * token file, or nobody: system:anonymous. Authorization of this stage: members of system:masters
 * may do everything, everyone who is authenticated may read discovery, version, OpenAPI and health,
 * anonymous users health and version. Knows nothing of HTTP. Loop thread only. */
#ifndef KVD_KUBE_AUTH_AUTH_H
#define KVD_KUBE_AUTH_AUTH_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"
#include "base/util.h"

struct kube_auth;

struct kube_user {
    struct slice name, uid;
    struct slice *groups;
    size_t group_count;
};

struct kube_auth_options {
    const char *token_file; /* CSV: token,user,uid,"group1,group2"; NULL: none */
    bool always_allow;      /* --authorization-mode=AlwaysAllow */
    bool no_anonymous;      /* --anonymous-auth=false: then they are 401 */
};

/* KV_ENOTFOUND, KV_EIO: the file; KV_EINVAL: a line of it, which err names. */
int kube_auth_new(const struct kube_auth_options *options, struct kube_auth **out, struct err *err);
void kube_auth_free(struct kube_auth *auth);

/* The user behind a certificate, with system:authenticated among the groups. Texts are borrowed. */
void kube_auth_certificate(struct arena *arena, struct slice common_name,
                           const struct slice *organizations, size_t organization_count,
                           struct kube_user *out);
/* authorization: the header's value, data NULL: none. False: 401. Without a header the user is
 * system:anonymous. */
bool kube_auth_header(const struct kube_auth *auth, struct arena *arena, struct slice authorization,
                      struct kube_user *out);

/* What somebody wants to do. */
struct kube_attributes {
    const char *verb;
    bool is_resource;
    struct slice group, resource, subresource, ns, name; /* of a resource */
    const char *path;                                    /* else */
};

bool kube_auth_allows(const struct kube_auth *auth, const struct kube_user *user,
                      const struct kube_attributes *attributes);
/* `User "alice" cannot list resource "pods" in API group "" at the cluster scope`. */
const char *kube_auth_refusal(struct arena *arena, const struct kube_user *user,
                              const struct kube_attributes *attributes);
bool kube_user_in(const struct kube_user *user, const char *group);

#endif
