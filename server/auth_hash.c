#include "server/auth_hash.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/util.h"

/* "$2b$" is computed where "$2a$" is said: libxcrypt's "$2a$" differs from everybody else's for a
 * few passwords with bytes above 127, its "$2b$" does not. */
static bool digest(const char *password, const char *setting, char out[BCRYPT_TEXT_SIZE])
{
    struct crypt_data *data = xcalloc(1, sizeof *data);
    char real[BCRYPT_TEXT_SIZE];
    const char *text;
    bool ok;

    (void)snprintf(real, sizeof real, "$2b$%s", setting + 4);
    text = crypt_r(password, real, data);
    ok = text != NULL && strlen(text) == BCRYPT_TEXT_SIZE - 1 && text[0] == '$';
    if (ok)
        (void)snprintf(out, BCRYPT_TEXT_SIZE, "$2a$%s", text + 4);
    OPENSSL_cleanse(data, sizeof *data);
    free(data);
    return ok;
}

bool bcrypt_make(const char *password, unsigned cost, char out[BCRYPT_TEXT_SIZE])
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];

    if (cost < BCRYPT_COST_MIN || cost > BCRYPT_COST_MAX)
        return false;
    /* Takes its random bytes from the kernel. */
    if (crypt_gensalt_rn("$2b$", cost, NULL, 0, setting, sizeof setting) == NULL)
        return false;
    return digest(password, setting, out);
}

bool bcrypt_fits(const char *password, const char *hash)
{
    char made[BCRYPT_TEXT_SIZE], wanted[BCRYPT_TEXT_SIZE];

    if (strlen(hash) != BCRYPT_TEXT_SIZE - 1 || strncmp(hash, "$2", 2) != 0 || hash[3] != '$')
        return false;
    (void)snprintf(wanted, sizeof wanted, "$2a$%s", hash + 4);
    return digest(password, hash, made) && CRYPTO_memcmp(made, wanted, sizeof made) == 0;
}

/* ---- the pool ---- */

static void work(struct job *job)
{
    struct auth_job *auth = CONTAINER_OF(job, struct auth_job, job);

    if (auth->work != NULL)
        auth->work(auth);
    else if (auth->cost != 0)
        auth->ok = bcrypt_make(auth->password, auth->cost, auth->hash);
    else
        auth->ok = bcrypt_fits(auth->password, auth->hash);
}

static void wipe(struct auth_job *job)
{
    OPENSSL_cleanse(job->password, strlen(job->password));
    free(job->password);
    job->password = NULL;
}

static void next(struct auth_pool *pool)
{
    while (pool->running < AUTH_POOL_RUNNING_MAX && !list_empty(&pool->waiting)) {
        struct auth_job *job = LIST_FIRST(&pool->waiting, struct auth_job, link);

        list_remove(&job->link);
        pool->waiting_count--;
        pool->running++;
        job_run(pool->runner, &job->job);
    }
}

static void done(struct job *job)
{
    struct auth_job *auth = CONTAINER_OF(job, struct auth_job, job);
    struct auth_pool *pool = auth->pool;

    pool->running--;
    wipe(auth);
    next(pool);
    auth->done(auth);
}

void auth_pool_init(struct auth_pool *pool, struct job_runner runner)
{
    *pool = (struct auth_pool){.runner = runner};
    list_init(&pool->waiting);
}

void auth_pool_release(struct auth_pool *pool)
{
    while (!list_empty(&pool->waiting)) {
        struct auth_job *job = LIST_FIRST(&pool->waiting, struct auth_job, link);

        list_remove(&job->link);
        job->ok = false;
        wipe(job);
        job->done(job);
    }
    pool->waiting_count = 0;
}

bool auth_pool_run(struct auth_pool *pool, struct auth_job *job, const char *password)
{
    if (pool->waiting_count >= AUTH_POOL_WAITING_MAX)
        return false;
    job->job = (struct job){.work = work, .done = done};
    list_init(&job->job.link);
    job->pool = pool;
    job->password = xstrdup(password);
    job->ok = false;
    list_push_back(&pool->waiting, &job->link);
    pool->waiting_count++;
    next(pool);
    return true;
}
