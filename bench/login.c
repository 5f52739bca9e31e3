/* Authentication: one call, before the keys are written. */
#include <string.h>

#include "base/mem.h"
#include "bench/bench.h"
#include "bench/wire.h"

struct login {
    struct call call;
    void (*logged_in)(struct bench *bench);
};

static const char *check(struct call *call, struct slice answer)
{
    struct slice token;

    if (!wire_read_token(answer, &token) || token.len == 0)
        return "the answer to an Authenticate has no token";
    call->bench->reach.token = xasprintf("%.*s", (int)token.len, (const char *)token.data);
    return NULL;
}

static void done(struct call *call, const char *error)
{
    struct login *login = CONTAINER_OF(call, struct login, call);

    if (error != NULL)
        bench_fail(call->bench, "%s", error);
    else
        login->logged_in(call->bench);
}

void login_start(struct bench *bench, void (*logged_in)(struct bench *bench))
{
    const char *user = bench->options->user, *password = strchr(user, ':') + 1;
    struct login *login = xcalloc(1, sizeof *login);

    bench->login = login; /* freed with the run */
    login->logged_in = logged_in;
    login->call =
        (struct call){.bench = bench, .conn = bench_conn(bench, 0), .check = check, .done = done};
    buf_reset(&bench->message);
    wire_authenticate(&bench->message, slice_of(user, (size_t)(password - user) - 1),
                      slice_str(password));
    call_send(&login->call, "/etcdserverpb.Auth/Authenticate", buf_slice(&bench->message));
}
