#include "server/status.h"

#include "base/err.h"
#include "base/util.h"

static const struct status_line lines[STATUS_COUNT] = {[STATUS_OK] = {GRPC_OK, ""},
#define X(name, code, text) [name] = {code, text},
                                                       STATUS_MAP(X)
#undef X
};

const struct status_line *status_line(enum status status)
{
    ASSERT(status > STATUS_OK && status < STATUS_COUNT);
    return &lines[status];
}

enum status status_of_error(int code)
{
    switch (code) {
    case 0:
        return STATUS_OK;
    case KV_EPROTO:
        return STATUS_MALFORMED;
    case KV_EINVAL: /* the service checks what etcd checks; what is left is an empty key */
        return STATUS_EMPTY_KEY;
    case KV_ETOOBIG:
        return STATUS_REQUEST_TOO_LARGE;
    case KV_ENOTFOUND:
        return STATUS_MEMBER_NOT_FOUND;
    case KV_ECORRUPT:
        return STATUS_CORRUPT;
    case KV_ECANCELED:
        return STATUS_REQUEST_CANCELED;
    case KV_ETIMEDOUT:
        return STATUS_TIMEOUT;
    case KV_ECONN:
        return STATUS_TIMEOUT_CONNECTION;
    case KV_ENOTLEADER:
        return STATUS_NOT_LEADER;
    case KV_ENOLEADER:
        return STATUS_NO_LEADER;
    case KV_ELEADERCHANGED:
        return STATUS_LEADER_CHANGED;
    case KV_ECOMPACTED:
        return STATUS_COMPACTED;
    case KV_EFUTURE:
        return STATUS_FUTURE_REVISION;
    case KV_EKEYNOTFOUND:
        return STATUS_KEY_NOT_FOUND;
    case KV_EBUSY: /* of what a command begins, only a downgrade can be under way already */
        return STATUS_DOWNGRADE_IN_PROGRESS;
    case KV_EEXIST: /* of what a command makes, only a lease can be there already */
        return STATUS_LEASE_EXISTS;
    case KV_ELEASENOTFOUND:
        return STATUS_LEASE_NOT_FOUND;
    case KV_ENOQUOTA:
        return STATUS_NO_SPACE;
    case KV_EMEMBEREXISTS:
        return STATUS_MEMBER_EXISTS;
    case KV_EURLEXISTS:
        return STATUS_PEER_URL_EXISTS;
    case KV_ENOTLEARNER:
        return STATUS_MEMBER_NOT_LEARNER;
    case KV_ELEARNERS:
        return STATUS_TOO_MANY_LEARNERS;
    case KV_ENOTREADY:
        return STATUS_LEARNER_NOT_READY;
    case KV_ENOTSTARTED:
        return STATUS_NOT_ENOUGH_STARTED;
    case KV_EUNHEALTHY:
        return STATUS_UNHEALTHY;
    case KV_ESTOPPED:
        return STATUS_STOPPED;
    case KV_EUSEREMPTY:
        return STATUS_USER_EMPTY;
    case KV_EROLEEMPTY:
        return STATUS_ROLE_EMPTY;
    case KV_EAUTHFAILED:
        return STATUS_AUTH_FAILED;
    case KV_ENOPASSWORDUSER:
        return STATUS_NO_PASSWORD_USER;
    case KV_EPERMISSIONNOTGIVEN:
        return STATUS_PERMISSION_NOT_GIVEN;
    case KV_EAUTHMANAGEMENT:
        return STATUS_INVALID_AUTH_MANAGEMENT;
    case KV_EAUTHOLDREVISION:
        return STATUS_AUTH_OLD_REVISION;
    case KV_EPERMISSIONDENIED:
        return STATUS_PERMISSION_DENIED;
    case KV_EROOTUSERNOTEXIST:
        return STATUS_ROOT_USER_NOT_EXIST;
    case KV_EROOTROLENOTEXIST:
        return STATUS_ROOT_ROLE_NOT_EXIST;
    case KV_EUSEREXISTS:
        return STATUS_USER_EXISTS;
    case KV_EUSERNOTFOUND:
        return STATUS_USER_NOT_FOUND;
    case KV_EROLEEXISTS:
        return STATUS_ROLE_EXISTS;
    case KV_EROLENOTFOUND:
        return STATUS_ROLE_NOT_FOUND;
    case KV_EROLENOTGRANTED:
        return STATUS_ROLE_NOT_GRANTED;
    case KV_EPERMISSIONNOTGRANTED:
        return STATUS_PERMISSION_NOT_GRANTED;
    case KV_EAUTHNOTENABLED:
        return STATUS_AUTH_NOT_ENABLED;
    case KV_EINVALIDTOKEN:
        return STATUS_INVALID_TOKEN;
    default:
        return STATUS_INTERNAL;
    }
}
