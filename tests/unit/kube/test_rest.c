/* kube/rest's pieces that need no store: what a path asks for, queries, indentation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "kube/json/json.h"
#include "kube/rest/indent.h"
#include "kube/rest/info.h"

static void parse(struct arena *arena, const char *method, const char *path, const char *query_text,
                  struct rest_info *out)
{
    struct rest_query query;

    rest_query_parse(arena, query_text, &query);
    rest_info_parse(arena, method, path, &query, out);
}

static const char *text(struct arena *arena, struct slice slice)
{
    char *out = arena_alloc(arena, slice.len + 1);

    if (slice.len > 0)
        memcpy(out, slice.data, slice.len);
    out[slice.len] = '\0';
    return out;
}

/* "verb group/version resource ns name sub", as upstream's RequestInfo would have it. */
static void path_says_verb_resource_namespace_and_name(void **state)
{
    static const struct {
        const char *method, *path, *query, *says;
    } cases[] = {
        {"GET", "/api/v1/namespaces", "", "list /v1 namespaces   "},
        {"GET", "/api/v1/namespaces/a", "", "get /v1 namespaces a a "},
        {"PUT", "/api/v1/namespaces/a/finalize", "", "update /v1 namespaces a a finalize"},
        {"PATCH", "/api/v1/namespaces/a/status", "", "patch /v1 namespaces a a status"},
        {"GET", "/api/v1/namespaces/a/pods", "", "list /v1 pods a  "},
        {"GET", "/api/v1/namespaces/a/pods", "watch=true", "watch /v1 pods a  "},
        {"GET", "/api/v1/namespaces/a/pods", "watch=0", "list /v1 pods a  "},
        {"GET", "/api/v1/namespaces/a/pods", "watch=False", "list /v1 pods a  "},
        {"GET", "/api/v1/namespaces/a/pods", "watch", "watch /v1 pods a  "},
        {"GET", "/api/v1/watch/namespaces/a/pods/b", "", "watch /v1 pods a b "},
        {"GET", "/api/v1/watch/pods", "", "watch /v1 pods   "},
        {"POST", "/api/v1/namespaces/a/pods/b/binding", "", "create /v1 pods a b binding"},
        {"DELETE", "/apis/apps/v1/namespaces/a/deployments", "",
         "deletecollection apps/v1 deployments a  "},
        {"DELETE", "/apis/apps/v1/namespaces/a/deployments/b", "",
         "delete apps/v1 deployments a b "},
        {"GET", "/api/v1/nodes/n", "", "get /v1 nodes  n "},
        {"GET", "/api/v1/pods", "fieldSelector=metadata.name%3Dx", "list /v1 pods  x "},
        {"GET", "/api/v1/pods", "fieldSelector=metadata.name%3Dx,spec.nodeName%3Dn",
         "list /v1 pods   "},
        {"HEAD", "/api/v1/pods", "", "head /v1 pods   "},
    };
    struct arena arena = ARENA_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rest_info info;
        char says[256];

        parse(&arena, cases[i].method, cases[i].path, cases[i].query, &info);
        assert_true(info.is_resource);
        assert_non_null(info.resource);
        (void)snprintf(says, sizeof says, "%s %s/%s %s %s %s %s", info.verb_text,
                       text(&arena, info.group), text(&arena, info.version),
                       text(&arena, info.plural), text(&arena, info.ns), text(&arena, info.name),
                       text(&arena, info.subresource));
        assert_string_equal(says, cases[i].says);
    }
    arena_release(&arena);
}

static void other_paths_are_no_resources(void **state)
{
    static const char *const paths[] = {"/",        "/api",          "/api/v1",
                                        "/apis",    "/apis/apps",    "/apis/apps/v1",
                                        "/version", "/api/v1/watch", "/healthz/etcd"};
    struct arena arena = ARENA_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct rest_info info;

        parse(&arena, "GET", paths[i], "", &info);
        assert_false(info.is_resource);
        assert_string_equal(info.verb_text, "get");
    }
    arena_release(&arena);
}

static void resource_of_the_cluster_is_not_found_in_a_namespace(void **state)
{
    struct arena arena = ARENA_INIT;
    struct rest_info info;

    (void)state;
    parse(&arena, "GET", "/api/v1/namespaces/a/nodes/b", "", &info);
    assert_true(info.is_resource);
    assert_null(info.resource);
    parse(&arena, "GET", "/api/v1/namespaces/a/pods/b/log/c", "", &info);
    assert_true(info.too_long);
    arena_release(&arena);
}

static void query_is_decoded_and_bounded(void **state)
{
    struct arena arena = ARENA_INIT;
    struct rest_query query;
    char many[REST_PARAMS_MAX * 8 + 64] = "first=1";

    (void)state;
    rest_query_parse(&arena, "a=b%20c+d&&e&f=%zz&g=%3d%26&a=second", &query);
    assert_string_equal(text(&arena, rest_query_get(&query, "a")), "b c d");
    assert_string_equal(text(&arena, rest_query_get(&query, "g")), "=&");
    assert_true(rest_query_bool(&query, "e"));
    assert_null(rest_query_get(&query, "f").data);
    assert_false(rest_query_bool(&query, "missing"));
    for (int i = 0; i < REST_PARAMS_MAX; i++)
        (void)strcat(many, "&x=y");
    (void)strcat(many, "&last=1");
    rest_query_parse(&arena, many, &query);
    assert_int_equal(query.count, REST_PARAMS_MAX);
    assert_true(rest_query_bool(&query, "first"));
    assert_false(rest_query_bool(&query, "last"));
    arena_release(&arena);
}

static void indent(struct slice in, size_t step, struct buf *out)
{
    struct rest_indent state = {0};

    buf_init(out, 8 << 20);
    for (size_t i = 0; i < in.len; i += step)
        assert_int_equal(
            rest_indent(&state, slice_of(in.data + i, in.len - i < step ? in.len - i : step), out),
            0);
}

/* However the text is cut, it comes out as Go's MarshalIndent has it. */
static void indented_text_is_the_same_for_any_cut(void **state)
{
    static const char compact[] =
        "{\"a\":{},\"b\":[],\"c\":[1,{\"d\":\"x{,\\\"y\\\\\"}],\"e\":null}";
    static const char wanted[] = "{\n"
                                 "  \"a\": {},\n"
                                 "  \"b\": [],\n"
                                 "  \"c\": [\n"
                                 "    1,\n"
                                 "    {\n"
                                 "      \"d\": \"x{,\\\"y\\\\\"\n"
                                 "    }\n"
                                 "  ],\n"
                                 "  \"e\": null\n"
                                 "}";

    (void)state;
    for (size_t step = 1; step < sizeof compact; step++) {
        struct buf out;

        indent(slice_str(compact), step, &out);
        assert_int_equal(out.len, strlen(wanted));
        assert_memory_equal(out.data, wanted, out.len);
        buf_release(&out);
    }
}

static void indentation_of_deep_nesting_stays_small(void **state)
{
    char deep[20001];
    struct buf out;

    (void)state;
    memset(deep, '[', 10000);
    memset(deep + 10000, ']', 10000);
    indent(slice_of(deep, 20000), 20000, &out);
    assert_true(out.len < 20000 * 210);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(path_says_verb_resource_namespace_and_name),
        cmocka_unit_test(other_paths_are_no_resources),
        cmocka_unit_test(resource_of_the_cluster_is_not_found_in_a_namespace),
        cmocka_unit_test(query_is_decoded_and_bounded),
        cmocka_unit_test(indented_text_is_the_same_for_any_cut),
        cmocka_unit_test(indentation_of_deep_nesting_stays_small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
