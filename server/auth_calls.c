#include "server/auth_calls.h"

#include <time.h>

#include "server/auth_jwt.h"
#include "server/auth_tokens.h"
#include "server/member_internal.h"

enum call_rule auth_rule(const struct grpc_method *method)
{
    return (enum call_rule)(uintptr_t)method->tag;
}

struct slice auth_token_of(const struct grpc_call *call)
{
    static const char bearer[] = "Bearer ";
    struct slice token = grpc_call_header(call, "token");

    if (token.data != NULL)
        return token;
    token = grpc_call_header(call, "authorization");
    if (token.len > strlen(bearer) && memcmp(token.data, bearer, strlen(bearer)) == 0)
        token = slice_of(token.data + strlen(bearer), token.len - strlen(bearer));
    return token;
}

/* A gateway's own certificate says nothing about its clients (CVE-2018-16886). */
static enum status author_of_certificate(struct member *member, const struct grpc_call *call,
                                         struct author *out)
{
    char *name = member->common_name;

    if (!member->config->client_tls.client_cert_auth ||
        grpc_call_header(call, "grpcgateway-accept").data != NULL ||
        !grpc_call_common_name(call, name, sizeof member->common_name))
        return STATUS_OK;
    out->kind = AUTHOR_USER;
    out->user = slice_str(name);
    out->revision = member->machine->auth->revision;
    return STATUS_OK;
}

enum status auth_author(struct member *member, const struct grpc_call *call, struct author *out)
{
    struct slice token;

    *out = (struct author){.kind = AUTHOR_NOBODY};
    if (!member->machine->auth->enabled)
        return STATUS_OK;
    token = auth_token_of(call);
    if (token.data == NULL)
        return author_of_certificate(member, call, out);
    out->revision = member->machine->auth->revision; /* a simple token does not grow old */
    if (member->jwt != NULL
            ? !auth_jwt_verify(member->jwt, token, time(NULL), &out->user, &out->revision)
            : !auth_tokens_find(member->tokens, token, &out->user))
        return STATUS_INVALID_TOKEN;
    out->kind = AUTHOR_USER;
    return STATUS_OK;
}

enum status auth_admit(struct member *member, const struct grpc_call *call)
{
    enum call_rule rule = auth_rule(grpc_call_method(call));
    struct author author;
    enum status status;

    if (!member->machine->auth->enabled || rule == CALL_OPEN || rule == CALL_COMMAND ||
        rule == CALL_REQUEST)
        return STATUS_OK;
    status = auth_author(member, call, &author);
    if (status != STATUS_OK)
        return status;
    if (rule == CALL_USER)
        return status_of_error(permit_user(member->machine, &author));
    if (rule == CALL_ROOT)
        return status_of_error(permit_root(member->machine, &author));
    return STATUS_PERMISSION_DENIED;
}
