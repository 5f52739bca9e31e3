/* Passwords and tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/util.h"
#include "server/auth_hash.h"
#include "server/auth_tokens.h"

/* ---- bcrypt ---- */

/* Made by other implementations: jBCrypt and crypt_blowfish. In the last one libxcrypt's own
 * "$2a$" would give something else. */
static void passwords_of_other_implementations_fit(void **state)
{
    static const struct {
        const char *password, *hash;
    } vectors[] = {
        {"allmine", "$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga"},
        {"", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."},
        {"a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"},
        {"abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"},
        {"\xa3", "$2a$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq"},
        {"\xff\xff\xa3", "$2a$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        assert_true(bcrypt_fits(vectors[i].password, vectors[i].hash));
        assert_false(bcrypt_fits("allmin", vectors[i].hash));
    }
}

static void what_is_made_fits_and_nothing_else_does(void **state)
{
    char one[BCRYPT_TEXT_SIZE], two[BCRYPT_TEXT_SIZE];

    (void)state;
    assert_true(bcrypt_make("secret", 4, one));
    assert_true(bcrypt_make("secret", 4, two));
    assert_memory_equal(one, "$2a$04$", 7);
    assert_string_not_equal(one, two);
    assert_true(bcrypt_fits("secret", one) && bcrypt_fits("secret", two));
    assert_false(bcrypt_fits("Secret", one));
    assert_false(bcrypt_fits("", one));
    assert_false(bcrypt_make("secret", 3, one));
    assert_false(bcrypt_make("secret", 32, one));
    assert_false(bcrypt_fits("secret", ""));
    assert_false(bcrypt_fits("secret", "secret"));
    assert_false(bcrypt_fits("*0", "*0"));
}

/* ---- the pool ---- */

struct fake {
    struct list queue;
    size_t most;
};

static void fake_run(void *ctx, struct job *job)
{
    struct fake *fake = ctx;
    size_t len = 0;

    list_push_back(&fake->queue, &job->link);
    LIST_EACH (node, &fake->queue)
        len++;
    fake->most = MAX(fake->most, len);
}

static size_t answered, good;

static void on_done(struct auth_job *job)
{
    answered++;
    good += job->ok;
    assert_null(job->password);
    free(job);
}

static struct auth_job *new_job(void)
{
    struct auth_job *job = xcalloc(1, sizeof *job);

    job->done = on_done;
    job->cost = 4;
    return job;
}

static void pool_is_bounded_and_answers_all(void **state)
{
    struct fake fake = {.most = 0};
    struct auth_job *late = new_job();
    struct auth_pool pool;

    (void)state;
    list_init(&fake.queue);
    auth_pool_init(&pool, (struct job_runner){.ctx = &fake, .run = fake_run});
    for (int i = 0; i < AUTH_POOL_RUNNING_MAX + AUTH_POOL_WAITING_MAX; i++)
        assert_true(auth_pool_run(&pool, new_job(), "x"));
    assert_false(auth_pool_run(&pool, late, "x"));
    free(late);
    for (int i = 0; i < 5; i++) {
        struct job *job = LIST_FIRST(&fake.queue, struct job, link);

        list_remove(&job->link);
        job->work(job);
        job->done(job);
    }
    assert_int_equal(answered, 5);
    assert_int_equal(good, 5);
    assert_int_equal(fake.most, AUTH_POOL_RUNNING_MAX);
    while (!list_empty(&fake.queue)) { /* those that run, as when the member stops */
        struct job *job = LIST_FIRST(&fake.queue, struct job, link);

        if (answered == 5)
            auth_pool_release(&pool);
        list_remove(&job->link);
        job->work(job);
        job->done(job);
    }
    assert_int_equal(answered, AUTH_POOL_RUNNING_MAX + AUTH_POOL_WAITING_MAX);
}

/* ---- tokens ---- */

enum { TTL_MS = 1000 };

static uint64_t clock_ms;

static uint64_t now(void *ctx)
{
    (void)ctx;
    return clock_ms;
}

static char *assign(struct auth_tokens *tokens, uint64_t index, const char *user)
{
    char letters[AUTH_TOKEN_LETTERS + 1];
    uint8_t hash[AUTH_TOKEN_HASH_SIZE];

    auth_tokens_make(letters);
    assert_int_equal(strlen(letters), AUTH_TOKEN_LETTERS);
    assert_int_equal(strspn(letters, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"),
                     AUTH_TOKEN_LETTERS);
    auth_tokens_hash(letters, hash);
    auth_tokens_assign(tokens, hash, index, user);
    return xasprintf("%s.%llu", letters, (unsigned long long)index);
}

static bool is_of(struct auth_tokens *tokens, const char *token, const char *user)
{
    struct slice found;

    return auth_tokens_find(tokens, slice_str(token), &found) && slice_eq(found, slice_str(user));
}

static void token_is_its_users_while_it_is_used(void **state)
{
    struct auth_tokens *tokens = auth_tokens_new(TTL_MS, now, NULL);
    char *a, *b;

    (void)state;
    auth_tokens_open(tokens);
    a = assign(tokens, 7, "ann");
    b = assign(tokens, 8, "bob");
    for (int i = 0; i < 3; i++) {
        clock_ms += TTL_MS - 1;
        assert_true(is_of(tokens, a, "ann"));
    }
    assert_false(is_of(tokens, b, "bob"));
    clock_ms += TTL_MS;
    assert_false(is_of(tokens, a, "ann"));
    free(assign(tokens, 9, "carl"));
    assert_int_equal(auth_tokens_count(tokens), 1);
    free(a);
    free(b);
    auth_tokens_free(tokens);
}

static void forgotten_tokens_are_nobodys(void **state)
{
    struct auth_tokens *tokens = auth_tokens_new(TTL_MS, now, NULL);
    char *a, *a2, *b;

    (void)state;
    free(assign(tokens, 1, "ann")); /* replayed */
    assert_int_equal(auth_tokens_count(tokens), 0);
    auth_tokens_open(tokens);
    a = assign(tokens, 7, "ann");
    a2 = assign(tokens, 8, "ann");
    b = assign(tokens, 9, "bob");
    auth_tokens_forget_user(tokens, "ann");
    assert_false(is_of(tokens, a, "ann") || is_of(tokens, a2, "ann"));
    assert_true(is_of(tokens, b, "bob"));
    auth_tokens_forget_all(tokens);
    assert_false(is_of(tokens, b, "bob"));
    free(a);
    free(a2);
    free(b);
    auth_tokens_free(tokens);
}

static void what_only_looks_like_a_token_is_none(void **state)
{
    struct auth_tokens *tokens = auth_tokens_new(TTL_MS, now, NULL);
    char *token, *changed;

    (void)state;
    auth_tokens_open(tokens);
    token = assign(tokens, 7, "ann");
    assert_true(is_of(tokens, token, "ann"));
    assert_false(is_of(tokens, "", "ann"));
    assert_false(is_of(tokens, ".", "ann"));
    assert_false(is_of(tokens, "7", "ann"));
    assert_false(is_of(tokens, "abcdefghijklmnop.7", "ann"));
    for (size_t i = 0; i < strlen(token); i++) {
        changed = xstrdup(token);
        changed[i] = changed[i] == 'x' ? 'y' : 'x';
        assert_false(is_of(tokens, changed, "ann"));
        changed[i] = '\0';
        assert_false(is_of(tokens, changed, "ann"));
        free(changed);
    }
    changed = xasprintf("%s8", token);
    assert_false(is_of(tokens, changed, "ann"));
    free(changed);
    free(token);
    auth_tokens_free(tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passwords_of_other_implementations_fit),
        cmocka_unit_test(what_is_made_fits_and_nothing_else_does),
        cmocka_unit_test(pool_is_bounded_and_answers_all),
        cmocka_unit_test(token_is_its_users_while_it_is_used),
        cmocka_unit_test(forgotten_tokens_are_nobodys),
        cmocka_unit_test(what_only_looks_like_a_token_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
