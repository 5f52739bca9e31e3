/* Who a call comes from, and what it needs for that: one rule per method, in the table of
 * services.c. What has no rule is denied while auth is on (faults.md section 6). */
#ifndef KVD_SERVER_AUTH_CALLS_H
#define KVD_SERVER_AUTH_CALLS_H

#include "net/server.h"
#include "server/permit.h"
#include "server/status.h"

struct member;

/* Stands in grpc_method.tag. */
enum call_rule {
    CALL_DENIED = 0, /* no rule */
    CALL_OPEN,       /* anybody */
    CALL_USER,       /* anybody who has logged in */
    CALL_ROOT,       /* who has the role root */
    CALL_COMMAND,    /* becomes a command: member__write() says who wants it, permit_command()
                        decides when it is applied */
    CALL_REQUEST,    /* depends on what is asked for: the service calls service_permit() when it
                        reads */
};

enum call_rule auth_rule(const struct grpc_method *method);

/* Who the call comes from: the metadata `token`, else `authorization` (with or without "Bearer "),
 * else the common name of the client's certificate if --client-cert-auth asks for one and the call
 * does not come through the JSON gateway. STATUS_INVALID_TOKEN: a token that is nobody's. Nobody,
 * with STATUS_OK, if auth is off. The name is valid until the next one is asked for. */
enum status auth_author(struct member *member, const struct grpc_call *call, struct author *out);

/* What the method's rule says before the service is asked. */
enum status auth_admit(struct member *member, const struct grpc_call *call);

/* The token that the call brings; data NULL: none. */
struct slice auth_token_of(const struct grpc_call *call);

/* True: the call waits until this member has applied the entry that its token names, and then comes
 * again, with a copy of the message (auth_wait.c). */
bool auth_wait(struct member *member, struct grpc_call *call, struct slice message);
/* member->applied_index has grown. */
void auth_wait_applied(struct member *member);
/* Lets those that have waited too long find out; when the next one will have (UINT64_MAX: none). */
uint64_t auth_wait_expire(struct member *member, uint64_t now_ms);

#endif
