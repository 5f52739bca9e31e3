/* The text of a transaction, and the flags of get, put and del in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "client/ctl/ctl.h"
#include "client/ctl/txn.h"
#include "tests/unit/client/capture.h"

struct fixture {
    struct arena arena;
    struct err err;
    Etcdserverpb__TxnRequest txn;
};

static int set_up(void **state)
{
    static struct fixture f;

    f = (struct fixture){.arena = ARENA_INIT};
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    arena_release(&((struct fixture *)*state)->arena);
    return 0;
}

static void assert_bytes(ProtobufCBinaryData bytes, const char *text, size_t len)
{
    assert_int_equal(bytes.len, len);
    if (len != 0)
        assert_memory_equal(bytes.data, text, len);
}

static const Etcdserverpb__Compare *compare(struct fixture *f, const char *line)
{
    Etcdserverpb__Compare *out = NULL;

    assert_int_equal(txn_parse_compare(slice_str(line), &f->arena, &out, &f->err), 0);
    return out;
}

static Etcdserverpb__RequestOp *request(struct fixture *f, const char *line)
{
    Etcdserverpb__RequestOp *out = NULL;

    assert_int_equal(txn_parse_request(slice_str(line), &f->arena, &out, &f->err), 0);
    return out;
}

static int read_txn(struct fixture *f, const char *text, FILE *prompt)
{
    FILE *in = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    int code;

    assert_non_null(in);
    code = txn_read(in, prompt, &f->arena, &f->txn, &f->err);
    (void)fclose(in);
    return code;
}

static void each_target_of_a_compare_has_its_names(void **state)
{
    static const struct {
        const char *line;
        Etcdserverpb__Compare__CompareTarget target;
        Etcdserverpb__Compare__TargetUnionCase member;
        int64_t number;
    } cases[] = {
        {"version(\"k\") = \"5\"", ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION,
         ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION, 5},
        {"ver(\"k\") = \"5\"", ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION,
         ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION, 5},
        {"create(\"k\") = \"6\"", ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE,
         ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION, 6},
        {"c(\"k\") = \"6\"", ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE,
         ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION, 6},
        {"mod(\"k\") = \"-7\"", ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD,
         ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION, -7},
        {"m(\"k\") = \"7\"", ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD,
         ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION, 7},
        {"lease(\"k\") = \"ff\"", ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE,
         ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE, 255},
    };
    struct fixture *f = *state;
    size_t i;

    for (i = 0; i < ARRAY_LEN(cases); i++) {
        const Etcdserverpb__Compare *c = compare(f, cases[i].line);

        assert_bytes(c->key, "k", 1);
        assert_int_equal(c->target, cases[i].target);
        assert_int_equal(c->target_union_case, cases[i].member);
        assert_int_equal(c->version, cases[i].number); /* all numbers share one place */
    }
    assert_bytes(compare(f, "value(\"k\") = \"\"")->value, "", 0);
    assert_bytes(compare(f, "val(\"k\") = \"x\\x00\\\"y\"")->value, "x\0\"y", 4);
}

static void each_operator_of_a_compare_is_known(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(compare(f, "mod(\"k\") = \"1\"")->result,
                     ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL);
    assert_int_equal(compare(f, "mod(\"k\") != \"1\"")->result,
                     ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL);
    assert_int_equal(compare(f, "mod(\"k\") < \"1\"")->result,
                     ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS);
    assert_int_equal(compare(f, "mod(\"k\") > \"1\"")->result,
                     ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER);
}

static void a_malformed_compare_is_refused_with_its_line(void **state)
{
    static const char *const lines[] = {
        "mod",
        "mod(\"k\"",
        "mod(k) > \"1\"",
        "mod(\"k\") > 1",
        "mod(\"k\")> \"1\"",
        "mod(\"k\") >\"1\"",
        "mod(\"k\") >= \"1\"",
        "mod(\"k\") >",
        "mad(\"k\") > \"1\"",
        "mod(\"k\") > \"x\"",
        "mod(\"k\") > \"1\\x00\"",
        "mod(\"k\") > \"99999999999999999999\"",
    };
    struct fixture *f = *state;
    Etcdserverpb__Compare *out = NULL;
    size_t i;

    for (i = 0; i < ARRAY_LEN(lines); i++) {
        assert_int_equal(txn_parse_compare(slice_str(lines[i]), &f->arena, &out, &f->err),
                         CTL_BAD_INPUT);
        assert_non_null(strstr(f->err.text, lines[i]));
    }
}

static void words_are_split_as_etcdctl_splits_them(void **state)
{
    static const struct {
        const char *line;
        const char *words; /* joined by | */
    } cases[] = {
        {"put a b", "put|a|b"},
        {"  put\ta  b ", "put|a|b"},
        {"put \"a b\" 'c d'", "put|a b|c d"},
        {"put \"a\\tb\"", "put|a\tb"},
        {"put a\"b c\"", "put|a\"b|c\""}, /* inside a word a quote is a letter */
        {"put \"ab", "put|ab"},           /* one without its partner vanishes */
        {"put \"\" ''", "put||"},
        {"put 'a\"b'", "put|a\"b"},
        {"\"a\"\"b\"", "a|b"},
        {"a\\ b", "a\\|b"},
    };
    struct fixture *f = *state;
    struct slice *words;
    size_t i, j, len;

    for (i = 0; i < ARRAY_LEN(cases); i++) {
        char joined[64] = "";

        assert_int_equal(txn_words(slice_str(cases[i].line), &f->arena, &words, &len, &f->err), 0);
        for (j = 0; j < len; j++) {
            strcat(joined, j == 0 ? "" : "|");
            strcat(joined, (const char *)words[j].data);
        }
        assert_string_equal(joined, cases[i].words);
    }
}

static void requests_take_the_flags_of_their_commands(void **state)
{
    struct fixture *f = *state;
    Etcdserverpb__RequestOp *op;

    op = request(f, "put k \"v w\" --lease=1f --prev-kv");
    assert_int_equal(op->request_case, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT);
    assert_bytes(op->request_put->key, "k", 1);
    assert_bytes(op->request_put->value, "v w", 3);
    assert_int_equal(op->request_put->lease, 31);
    assert_true(op->request_put->prev_kv);

    op = request(f, "get foo --prefix --limit 3 --order descend --sort-by modify --rev=9");
    assert_int_equal(op->request_case, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE);
    assert_bytes(op->request_range->key, "foo", 3);
    assert_bytes(op->request_range->range_end, "fop", 3);
    assert_int_equal(op->request_range->limit, 3);
    assert_int_equal(op->request_range->revision, 9);
    assert_int_equal(op->request_range->sort_order,
                     ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND);
    assert_int_equal(op->request_range->sort_target, ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD);

    op = request(f, "del a c");
    assert_int_equal(op->request_case, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE);
    assert_bytes(op->request_delete_range->key, "a", 1);
    assert_bytes(op->request_delete_range->range_end, "c", 1);

    op = request(f, "get \"\" --from-key"); /* all keys */
    assert_bytes(op->request_range->key, "\0", 1);
    assert_bytes(op->request_range->range_end, "\0", 1);

    op = request(f, "put \"a\\x00b\" \"\\x00\""); /* bytes of any value */
    assert_bytes(op->request_put->key, "a\0b", 3);
    assert_bytes(op->request_put->value, "\0", 1);

    op = request(f, "put k -- -v");
    assert_bytes(op->request_put->value, "-v", 2);
}

static void a_malformed_request_is_refused_with_etcdctls_exit_code(void **state)
{
    static const struct {
        const char *line;
        int code;
    } cases[] = {
        {"put", CTL_BAD_INPUT},
        {"set a b", CTL_BAD_INPUT},
        {"put a b --foo", CTL_BAD_INPUT},
        {"put a \"\\q\"", CTL_BAD_INPUT},
        {"get a --help", CTL_BAD_INPUT},
        {"put a", CTL_BAD_ARGS}, /* standard input holds the transaction, not a value */
        {"put a b c", CTL_BAD_ARGS},
        {"put a b --lease xyz", CTL_BAD_ARGS},
        {"get a b --prefix", CTL_BAD_ARGS},
        {"get a --prefix --from-key", CTL_BAD_ARGS},
        {"get a --keys-only --count-only", CTL_BAD_ARGS},
        {"get a --order sideways", CTL_BAD_FEATURE},
        {"get a --sort-by size", CTL_BAD_FEATURE},
        {"get a --consistency x", CTL_BAD_FEATURE},
        {"get a --min-mod-rev 5 --max-mod-rev 4", CTL_BAD_FEATURE},
        {"get a --min-create-rev 5 --max-create-rev 4", CTL_BAD_FEATURE},
    };
    struct fixture *f = *state;
    Etcdserverpb__RequestOp *out;
    size_t i;

    for (i = 0; i < ARRAY_LEN(cases); i++) {
        f->err.text[0] = '\0';
        assert_int_equal(txn_parse_request(slice_str(cases[i].line), &f->arena, &out, &f->err),
                         cases[i].code);
        assert_true(f->err.text[0] != '\0');
    }
}

static void a_transaction_is_three_blocks(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(read_txn(f,
                              "mod(\"a\") > \"0\"\nver(\"b\") = \"1\"\n\nput a 1\n\n"
                              "get a\ndel b\nput c 2\n\nnot read any more",
                              NULL),
                     0);
    assert_int_equal(f->txn.n_compare, 2);
    assert_int_equal(f->txn.n_success, 1);
    assert_int_equal(f->txn.n_failure, 3);
    assert_bytes(f->txn.compare[1]->key, "b", 1);
    assert_bytes(f->txn.success[0]->request_put->key, "a", 1);
    assert_bytes(f->txn.failure[2]->request_put->value, "2", 1);
    assert_int_equal(read_txn(f, "\n\n \t\n", NULL), 0); /* all may be empty */
    assert_int_equal(f->txn.n_compare + f->txn.n_success + f->txn.n_failure, 0);
}

static void a_transaction_that_ends_early_is_not_carried_out(void **state)
{
    static const char *const texts[] = {"\n\nput a 1\n", "\n\nput a 1", "\nput a 1\n\n",
                                        "mod(\"a\") > \"0\"\n", "\n\n"};
    struct fixture *f = *state;
    size_t i;

    for (i = 0; i < ARRAY_LEN(texts); i++) {
        assert_int_equal(read_txn(f, texts[i], NULL), CTL_BAD_INPUT);
        assert_memory_equal(f->err.text, "EOF", 3);
    }
}

static void interactive_mode_asks_for_each_block(void **state)
{
    struct fixture *f = *state;
    struct capture out;

    capture_open(&out);
    assert_int_equal(read_txn(f, "\n\n\n", out.file), 0);
    assert_string_equal(captured(&out), "compares:\nsuccess requests (get, put, del):\n"
                                        "failure requests (get, put, del):\n");
    capture_close(&out);
}

/* Whatever comes in is parsed or refused; the sanitizers watch. */
static void any_bytes_are_parsed_or_refused(void **state)
{
    static const char alphabet[] = "mod(\"k\") > `1`'x\\putgel --prefix=-\n\t\xff";
    const uint64_t seed = 20240607;
    struct fixture *f = *state;
    struct prng prng;
    int round, parsed = 0;

    print_message("seed %llu\n", (unsigned long long)seed);
    prng_seed(&prng, seed);
    for (round = 0; round < 20000; round++) {
        char line[33];
        size_t len = prng_between(&prng, 1, sizeof line - 1), i;
        Etcdserverpb__Compare *c;
        Etcdserverpb__RequestOp *op;

        for (i = 0; i < len; i++)
            line[i] = alphabet[prng_between(&prng, 0, sizeof alphabet - 2)];
        parsed += txn_parse_compare(slice_of(line, len), &f->arena, &c, &f->err) == 0;
        memcpy(line, "get ", MIN(len, (size_t)4));
        parsed += txn_parse_request(slice_of(line, len), &f->arena, &op, &f->err) == 0;
        arena_reset(&f->arena);
    }
    assert_true(parsed > 100 && parsed < 39900);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_target_of_a_compare_has_its_names),
        TEST(each_operator_of_a_compare_is_known),
        TEST(a_malformed_compare_is_refused_with_its_line),
        TEST(words_are_split_as_etcdctl_splits_them),
        TEST(requests_take_the_flags_of_their_commands),
        TEST(a_malformed_request_is_refused_with_etcdctls_exit_code),
        TEST(a_transaction_is_three_blocks),
        TEST(a_transaction_that_ends_early_is_not_carried_out),
        TEST(interactive_mode_asks_for_each_block),
        TEST(any_bytes_are_parsed_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
