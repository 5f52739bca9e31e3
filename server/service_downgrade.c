/* Maintenance.Downgrade (etcd-api.md section 9): whether the cluster may go back by one minor
 * version. What is replicated is the permission alone. kvd has no older minor version, so nothing
 * follows from it but Status.downgradeInfo: cluster and storage version stay what they are. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/version.h"
#include "proto/command.pb-c.h"
#include "server/service.h"

enum { TARGET_SIZE = 48 }; /* "MAJOR.MINOR.0" of two 64-bit numbers */

struct version {
    int64_t major, minor;
};

/* ---- versions: etcd's semver package, which wants three numbers and takes a suffix ---- */

static bool take_number(const char **text, int64_t *out)
{
    char *end;

    if (!isdigit((unsigned char)**text)) /* strtoll takes blanks and signs */
        return false;
    errno = 0;
    *out = strtoll(*text, &end, 10);
    *text = end;
    return errno == 0;
}

static bool take_dot(const char **text)
{
    return *(*text)++ == '.';
}

/* Letters, digits, dashes and dots. */
static bool is_identifier(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '-' && text[i] != '.')
            return false;
    return true;
}

/* "", "-rc.1", "+build" or "-rc.1+build"; the parts may be empty. */
static bool is_suffix(const char *text)
{
    size_t plus = strcspn(text, "+");

    if (text[0] != '\0' && text[0] != '-' && text[0] != '+')
        return false;
    return is_identifier(text, plus) &&
           (text[plus] == '\0' || is_identifier(text + plus + 1, strlen(text + plus + 1)));
}

/* "X.Y" or "X.Y.Z" with a suffix; the patch version does not count. */
static bool parse_version(const char *text, struct version *out)
{
    int64_t patch;

    if (!take_number(&text, &out->major) || !take_dot(&text) || !take_number(&text, &out->minor))
        return false;
    if (*text == '\0')
        return true;
    return take_dot(&text) && take_number(&text, &patch) && is_suffix(text);
}

static enum status check_target(const struct version *target)
{
    struct version cluster;
    bool ok = parse_version(ETCD_CLUSTER_VERSION, &cluster);

    ASSERT(ok);
    return target->major == cluster.major && target->minor == cluster.minor - 1
               ? STATUS_OK
               : STATUS_INVALID_DOWNGRADE_TARGET;
}

/* ---- the call ---- */

static void reply(struct grpc_call *call)
{
    const struct machine *machine = service_member(call)->machine;
    Etcdserverpb__DowngradeResponse response = ETCDSERVERPB__DOWNGRADE_RESPONSE__INIT;
    char version[] = ETCD_API_LINE;

    response.header = service_header(call, mvcc_revision(machine->mvcc));
    response.version = version;
    service_reply(call, &response.base);
}

static void on_written(struct member *member, struct grpc_call *call, const void *request,
                       enum status status, const struct machine_result *result)
{
    (void)member;
    (void)request;
    (void)result;
    if (status != STATUS_OK)
        service_fail(call, status);
    else
        reply(call);
}

static void write_downgrade(struct grpc_call *call, const void *request, bool enabled, char *target)
{
    Kvdpb__Downgrade message = KVDPB__DOWNGRADE__INIT;
    enum status status;
    uint8_t *body;
    size_t len;

    message.enabled = enabled;
    message.target = target;
    len = kvdpb__downgrade__get_packed_size(&message);
    body = arena_alloc(grpc_call_arena(call), len);
    (void)kvdpb__downgrade__pack(&message, body); /* writes len bytes */
    status = member__write(service_member(call), call, request, COMMAND_DOWNGRADE,
                           slice_of(body, len), on_written);
    if (status != STATUS_OK)
        service_fail(call, status);
}

/* The state is that of a read point: everything that was acknowledged is in it. */
static void run(struct grpc_call *call, const void *message)
{
    const Etcdserverpb__DowngradeRequest *request = message;
    bool enabled = service_member(call)->machine->downgrade_target != NULL;
    char target[TARGET_SIZE], none[] = "";
    struct version version;
    enum status status;

    if (request->action == ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL) {
        if (enabled)
            write_downgrade(call, request, false, none);
        else
            reply(call); /* as etcd since 3.6 */
        return;
    }
    (void)parse_version(request->version, &version); /* done before */
    status = check_target(&version);
    if (status == STATUS_OK && enabled)
        status = STATUS_DOWNGRADE_IN_PROGRESS;
    if (status != STATUS_OK) {
        service_fail(call, status);
    } else if (request->action == ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__VALIDATE) {
        reply(call);
    } else {
        (void)snprintf(target, sizeof target, "%" PRId64 ".%" PRId64 ".0", version.major,
                       version.minor);
        write_downgrade(call, request, true, target);
    }
}

void service_maintenance_downgrade(struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__DowngradeRequest *request;
    struct version version;

    request = service_begin(call, message, &etcdserverpb__downgrade_request__descriptor);
    if (request == NULL)
        return;
    if ((unsigned)request->action > ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL)
        service_fail(call, STATUS_UNKNOWN_METHOD);
    else if (request->action != ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL &&
             !parse_version(request->version, &version))
        service_fail(call, STATUS_WRONG_DOWNGRADE_FORMAT);
    else
        service_read(call, request, run);
}
