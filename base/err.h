/* Error codes and the buffer that explains one to a person. */
#ifndef KVD_BASE_ERR_H
#define KVD_BASE_ERR_H

#include <stddef.h>

#include "base/util.h"

/* Storage and start-up errors first, then those that etcd's API names. server/ maps the latter to
 * gRPC status and etcd's exact text; the texts here are for logs and the command line. */
#define KV_ERROR_MAP(X)                                                                            \
    X(KV_EINVAL, "invalid argument")                                                               \
    X(KV_EIO, "input/output error")                                                                \
    X(KV_ENOSPC, "no space left on the disk")                                                      \
    X(KV_ENOTFOUND, "not found")                                                                   \
    X(KV_EEXIST, "already exists")                                                                 \
    X(KV_EBUSY, "in use by another process")                                                       \
    X(KV_ECORRUPT, "stored data is corrupt")                                                       \
    X(KV_EMISMATCH, "belongs to another cluster or member")                                        \
    X(KV_ETOOBIG, "larger than the limit")                                                         \
    X(KV_EPROTO, "malformed message")                                                              \
    X(KV_ECANCELED, "canceled")                                                                    \
    X(KV_ETIMEDOUT, "timed out")                                                                   \
    X(KV_ECONN, "connection failed")                                                               \
    X(KV_EUNKNOWN, "outcome unknown")                                                              \
    X(KV_ENOTLEADER, "not the leader")                                                             \
    X(KV_ENOLEADER, "no leader")                                                                   \
    X(KV_ELEADERCHANGED, "leader changed")                                                         \
    X(KV_ECOMPACTED, "revision is compacted")                                                      \
    X(KV_EFUTURE, "revision is in the future")                                                     \
    X(KV_EKEYNOTFOUND, "key not found")                                                            \
    X(KV_ELEASENOTFOUND, "lease not found")                                                        \
    X(KV_ENOQUOTA, "database space exceeded")                                                      \
    X(KV_EMEMBEREXISTS, "member id already exists")                                                \
    X(KV_EURLEXISTS, "peer URL belongs to another member")                                         \
    X(KV_ENOTLEARNER, "member is no learner")                                                      \
    X(KV_ELEARNERS, "too many learners")                                                           \
    X(KV_ENOTREADY, "learner has not caught up")                                                   \
    X(KV_ENOTSTARTED, "too few members have started")                                              \
    X(KV_EUNHEALTHY, "too few members are connected")                                              \
    X(KV_ESTOPPED, "stopped")                                                                      \
    X(KV_EUSEREMPTY, "user name is empty")                                                         \
    X(KV_EROLEEMPTY, "role name is empty")                                                         \
    X(KV_EAUTHFAILED, "invalid user ID or password")                                               \
    X(KV_ENOPASSWORDUSER, "password was given for no password user")                               \
    X(KV_EPERMISSIONNOTGIVEN, "permission not given")                                              \
    X(KV_EAUTHMANAGEMENT, "invalid auth management")                                               \
    X(KV_EAUTHOLDREVISION, "revision of auth store is old")                                        \
    X(KV_EPERMISSIONDENIED, "permission denied")                                                   \
    X(KV_EROOTUSERNOTEXIST, "root user does not exist")                                            \
    X(KV_EROOTROLENOTEXIST, "root user does not have root role")                                   \
    X(KV_EUSEREXISTS, "user name already exists")                                                  \
    X(KV_EUSERNOTFOUND, "user name not found")                                                     \
    X(KV_EROLEEXISTS, "role name already exists")                                                  \
    X(KV_EROLENOTFOUND, "role name not found")                                                     \
    X(KV_EROLENOTGRANTED, "role is not granted to the user")                                       \
    X(KV_EPERMISSIONNOTGRANTED, "permission is not granted to the role")                           \
    X(KV_EAUTHNOTENABLED, "authentication is not enabled")                                         \
    X(KV_EINVALIDTOKEN, "invalid auth token")

enum kv_error {
    KV_ERROR_BASE = -20000, /* clear of errno, libuv, libraft, nghttp2 */
#define X(name, text) name,
    KV_ERROR_MAP(X)
#undef X
};

/* One line for a person: what failed, at which layer, what to do. Needs no memory. */
struct err {
    int code; /* 0 or the KV_E... that was returned */
    char text[512];
};

#define ERR_INIT                                                                                   \
    {                                                                                              \
        .code = 0                                                                                  \
    }

/* Fills err (which may be NULL) and returns code, so that `return err_set(...)` reads as one. */
int err_set(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* As err_set() with ": <strerror(errno_value)>" appended; picks KV_ENOSPC for ENOSPC, else KV_EIO.
 */
int err_set_errno(struct err *err, int errno_value, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts context before the text that is already there: "opening the log: <text>". */
void err_prefix(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Static text of a code, "unknown error" for a number that is not ours. */
const char *err_text(int code);
/* "KV_EIO" for KV_EIO; NULL for a number that is not ours. */
const char *err_name(int code);

#endif
