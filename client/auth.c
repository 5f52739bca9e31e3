/* Who the client is: logs in with user and password when the first call wants to go out, attaches
 * the token to everything, and logs in again when a server does not know it any more. As etcd's Go
 * client; a refusal for one of these reasons says that nothing was done, so writes are repeated
 * too. */
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/internal.h"

enum { REFUSALS_MAX = 3 }; /* of fresh tokens in a row: another will not help */

/* NULL for nothing; the caller's to free. */
static char *text_or_null(const char *text)
{
    return text != NULL && text[0] != '\0' ? xstrdup(text) : NULL;
}

void kv__auth_init(struct kv_client *client)
{
    struct kv__auth *auth = &client->auth;
    struct kv_options *options = &client->options;

    auth->user = text_or_null(options->user);
    auth->password = xstrdup(options->password != NULL ? options->password : "");
    auth->token = auth->user == NULL ? text_or_null(options->token) : NULL;
    auth->state = auth->user != NULL ? KV__AUTH_WANTED : KV__AUTH_DONE;
    options->user = NULL; /* the caller's memory: not kept */
    options->password = NULL;
    options->token = NULL;
}

static void wipe(char *text)
{
    if (text != NULL)
        OPENSSL_cleanse(text, strlen(text));
    free(text);
}

void kv__auth_release(struct kv_client *client)
{
    wipe(client->auth.password);
    wipe(client->auth.token);
    free(client->auth.user);
}

size_t kv__auth_metadata(const struct kv_client *client, struct grpc_metadata *out)
{
    if (client->auth.token == NULL)
        return 0;
    *out = (struct grpc_metadata){"token", client->auth.token};
    return 1;
}

/* ---- logging in ---- */

static void done(struct kv_client *client)
{
    client->auth.state = KV__AUTH_DONE;
    client->auth.generation++;
    kv__wake_at(client, kv__now(client));
}

static void on_login(struct kv_call *call)
{
    struct kv_client *client = call->client;
    struct kv__auth *auth = &client->auth;
    struct kv_result result = call->result; /* moves */
    const Etcdserverpb__AuthenticateResponse *response = (const void *)result.message;

    call->result = (struct kv_result){.message = NULL};
    if (result.err.code == 0) {
        auth->token = xstrdup(response->token);
        done(client);
    } else if (strcmp(result.err.text, "etcdserver: authentication is not enabled") == 0) {
        done(client); /* whoever asks for nothing gets everything */
    } else {
        auth->state = KV__AUTH_WANTED; /* the next call tries again */
        if (result.status != GRPC_UNAVAILABLE && result.err.code != KV_ETIMEDOUT)
            result.err.code = KV_EAUTHFAILED;
        kv__auth_failed(client, &result);
    }
    kv_result_release(&result);
}

static void log_in(struct kv_client *client)
{
    Etcdserverpb__AuthenticateRequest request = ETCDSERVERPB__AUTHENTICATE_REQUEST__INIT;
    struct kv_call_options options = {.flags = KV__NO_LOGIN | KV_REPEATABLE};
    struct kv__auth *auth = &client->auth;

    request.name = auth->user;
    request.password = auth->password;
    auth->state = KV__AUTH_RUNNING;
    if (kv_call_start(client, &auth->login, &kv_method_authenticate, &request.base, &options,
                      on_login, NULL) != 0)
        auth->state = KV__AUTH_WANTED; /* the client is closing */
}

bool kv__auth_ready(struct kv_client *client)
{
    if (client->auth.state == KV__AUTH_WANTED)
        log_in(client);
    return client->auth.state == KV__AUTH_DONE;
}

/* ---- refused ---- */

static bool is_refusal(const char *message)
{
    static const char *const texts[] = {"etcdserver: invalid auth token",
                                        "etcdserver: user name is empty",
                                        "etcdserver: revision of auth store is old"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (strcmp(texts[i], message) == 0)
            return true;
    return false;
}

bool kv__auth_refused(struct kv_client *client, const char *message, unsigned generation)
{
    struct kv__auth *auth = &client->auth;

    if (auth->user == NULL || !is_refusal(message))
        return false;
    if (auth->refusals >= REFUSALS_MAX) {
        auth->refusals = 0;
        return false;
    }
    if (generation == auth->generation && auth->state == KV__AUTH_DONE) {
        wipe(auth->token);
        auth->token = NULL;
        auth->state = KV__AUTH_WANTED;
        auth->refusals++;
    }
    return true;
}
