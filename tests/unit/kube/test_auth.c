/* kube/auth: token files, who is who, and what each may do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kube/auth/auth.h"
#include "kube/auth/token_file.h"

static bool is(struct slice got, const char *wanted)
{
    return slice_eq(got, slice_str(wanted));
}

static void token_file_names_users_and_groups(void **state)
{
    static const char csv[] = "# comment\n\n"
                              "t1,alice,1,\"dev,ops\"\r\n"
                              "t2,bob,2\n"
                              "\"t,3\",\"ca\"\"rol\",3,single";
    const struct token_user *user;
    struct token_file *file;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(token_file_parse(slice_str(csv), "f", &file, &err), 0);
    user = token_file_find(file, slice_str("t1"));
    assert_true(is(user->name, "alice") && is(user->uid, "1"));
    assert_int_equal(user->group_count, 2);
    assert_true(is(user->groups[0], "dev") && is(user->groups[1], "ops"));
    assert_int_equal(token_file_find(file, slice_str("t2"))->group_count, 0);
    user = token_file_find(file, slice_str("t,3"));
    assert_true(is(user->name, "ca\"rol") && is(user->groups[0], "single"));
    assert_null(token_file_find(file, slice_str("t")));
    assert_null(token_file_find(file, slice_str("t11")));
    assert_null(token_file_find(file, slice_str("")));
    token_file_free(file);
}

static void bad_lines_are_named(void **state)
{
    static const char *const bad[] = {"a,b", "a", ",b,c", "a,b,c,d,e", "\"a,b,c", "\"a\"x,b,c"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct token_file *file = NULL;
        struct err err = ERR_INIT;
        char text[64];

        (void)snprintf(text, sizeof text, "t,u,1\n%s\n", bad[i]);
        assert_int_equal(token_file_parse(slice_str(text), "tokens.csv", &file, &err), KV_EINVAL);
        assert_non_null(strstr(err.text, "tokens.csv, line 2"));
        assert_null(file);
    }
}

static void missing_token_file_is_named(void **state)
{
    const struct kube_auth_options options = {.token_file = "/nowhere/tokens.csv"};
    struct kube_auth *auth;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(kube_auth_new(&options, &auth, &err), KV_ENOTFOUND);
    assert_non_null(strstr(err.text, "/nowhere/tokens.csv"));
}

static struct kube_auth *auth_with_token(void)
{
    char path[] = "/tmp/kvd-test-XXXXXX";
    struct kube_auth_options options = {.token_file = path};
    struct kube_auth *auth;
    struct err err = ERR_INIT;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "secret,alice,7,dev\n", 19), 19);
    assert_int_equal(close(fd), 0);
    assert_int_equal(kube_auth_new(&options, &auth, &err), 0);
    assert_int_equal(unlink(path), 0);
    return auth;
}

static void bearer_is_known_or_refused_but_never_anonymous(void **state)
{
    static const char *const refused[] = {"Bearer secre", "Bearer secret2", "bearer x"};
    static const char *const anonymous[] = {"Basic secret", "Bearer", "Bearersecret", ""};
    struct arena arena = ARENA_INIT;
    struct kube_auth *auth = auth_with_token();
    struct kube_user user;

    (void)state;
    assert_true(kube_auth_header(auth, &arena, slice_str("bearer  secret"), &user));
    assert_true(is(user.name, "alice") && is(user.uid, "7"));
    assert_true(kube_user_in(&user, "dev") && kube_user_in(&user, "system:authenticated"));
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        assert_false(kube_auth_header(auth, &arena, slice_str(refused[i]), &user));
    for (size_t i = 0; i < sizeof anonymous / sizeof anonymous[0]; i++) {
        assert_true(kube_auth_header(auth, &arena, slice_str(anonymous[i]), &user));
        assert_true(is(user.name, "system:anonymous"));
        assert_false(kube_user_in(&user, "system:authenticated"));
    }
    kube_auth_free(auth);
    arena_release(&arena);
}

static void without_anonymous_users_a_request_must_say_who_it_is(void **state)
{
    const struct kube_auth_options options = {.no_anonymous = true};
    struct arena arena = ARENA_INIT;
    struct kube_auth *auth;
    struct kube_user user;

    (void)state;
    assert_int_equal(kube_auth_new(&options, &auth, NULL), 0);
    assert_false(kube_auth_header(auth, &arena, slice_of(NULL, 0), &user));
    kube_auth_free(auth);
    arena_release(&arena);
}

enum who { NOBODY, SOMEBODY, MASTER };

static void each_may_do_what_its_groups_say(void **state)
{
    static const struct {
        const char *verb, *path; /* path NULL: pods */
        bool allowed[3];
    } cases[] = {
        {"list", NULL, {false, false, true}},
        {"get", "/healthz", {true, true, true}},
        {"get", "/livez/etcd", {true, true, true}},
        {"get", "/version", {true, true, true}},
        {"get", "/versions", {false, false, true}},
        {"get", "/api", {false, true, true}},
        {"get", "/apis/apps/v1", {false, true, true}},
        {"get", "/openapi/v3", {false, true, true}},
        {"get", "/metrics", {false, false, true}},
        {"post", "/api", {false, false, true}},
        {"get", "/", {false, false, true}},
    };
    const struct kube_auth_options options = {0};
    const struct slice masters = slice_str("system:masters");
    struct arena arena = ARENA_INIT;
    struct kube_auth *auth;
    struct kube_user users[3];

    (void)state;
    assert_int_equal(kube_auth_new(&options, &auth, NULL), 0);
    assert_true(kube_auth_header(auth, &arena, slice_of(NULL, 0), &users[NOBODY]));
    kube_auth_certificate(&arena, slice_str("bob"), NULL, 0, &users[SOMEBODY]);
    kube_auth_certificate(&arena, slice_str("root"), &masters, 1, &users[MASTER]);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kube_attributes attributes = {.verb = cases[i].verb,
                                             .is_resource = cases[i].path == NULL,
                                             .resource = slice_str("pods"),
                                             .path = cases[i].path};

        for (int who = NOBODY; who <= MASTER; who++)
            if (kube_auth_allows(auth, &users[who], &attributes) != cases[i].allowed[who])
                fail_msg("%s %s as %d", cases[i].verb, cases[i].path, who);
    }
    kube_auth_free(auth);
    arena_release(&arena);
}

static void refusals_are_worded_as_upstream(void **state)
{
    struct arena arena = ARENA_INIT;
    struct kube_user user = {.name = slice_str("alice")};
    struct kube_attributes attributes = {
        .verb = "list", .is_resource = true, .group = slice_str(""), .resource = slice_str("pods")};

    (void)state;
    assert_string_equal(kube_auth_refusal(&arena, &user, &attributes),
                        "User \"alice\" cannot list resource \"pods\" in API group \"\" at the "
                        "cluster scope");
    attributes.ns = slice_str("default");
    attributes.subresource = slice_str("log");
    attributes.group = slice_str("apps");
    assert_string_equal(kube_auth_refusal(&arena, &user, &attributes),
                        "User \"alice\" cannot list resource \"pods/log\" in API group \"apps\" in "
                        "the namespace \"default\"");
    attributes = (struct kube_attributes){.verb = "get", .path = "/metrics"};
    assert_string_equal(kube_auth_refusal(&arena, &user, &attributes),
                        "User \"alice\" cannot get path \"/metrics\"");
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_file_names_users_and_groups),
        cmocka_unit_test(bad_lines_are_named),
        cmocka_unit_test(missing_token_file_is_named),
        cmocka_unit_test(bearer_is_known_or_refused_but_never_anonymous),
        cmocka_unit_test(without_anonymous_users_a_request_must_say_who_it_is),
        cmocka_unit_test(each_may_do_what_its_groups_say),
        cmocka_unit_test(refusals_are_worded_as_upstream),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
