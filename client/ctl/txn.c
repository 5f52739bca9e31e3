#include "client/ctl/txn.h"

#include <ctype.h>
#include <stdlib.h>

#include "client/ctl/ctl.h"
#include "client/ctl/flags.h"
#include "client/ctl/gotext.h"
#include "client/ctl/kvop.h"

/* Exit code and text in one. */
#define FAIL(code, ...) ((void)err_set(err, KV_EINVAL, __VA_ARGS__), (code))
/* For "%.*s". */
#define TEXT(slice) (int)MIN((slice).len, (size_t)200), (const char *)(slice).data

static struct slice skip(struct slice text, size_t n)
{
    return slice_of(text.data + n, text.len - n);
}

static struct slice trim(struct slice text)
{
    while (text.len != 0 && isspace(text.data[0]))
        text = skip(text, 1);
    while (text.len != 0 && isspace(text.data[text.len - 1]))
        text.len--;
    return text;
}

/* ---- words ---- */

/* Length of a quoted word with its quotes, 0 if it does not end. */
static size_t quoted_len(struct slice text)
{
    size_t i;

    for (i = 1; i < text.len; i++) {
        if (text.data[i] == text.data[0])
            return i + 1;
        if (text.data[0] == '"' && text.data[i] == '\\')
            i++;
    }
    return 0;
}

/* The word at the front of *text, which is not a blank. False: a quote without its partner, which
 * is skipped as etcdctl's pattern skips it. */
static bool take_raw(struct slice *text, struct slice *out)
{
    size_t len = 0;

    if (text->data[0] == '"' || text->data[0] == '\'') {
        len = quoted_len(*text);
        if (len == 0) {
            *text = skip(*text, 1);
            return false;
        }
    } else {
        while (len < text->len && !isspace(text->data[len]))
            len++;
    }
    *out = slice_of(text->data, len);
    *text = skip(*text, len);
    return true;
}

/* Without its quotes, with a NUL behind it. */
static int cook(struct slice raw, struct arena *arena, struct slice *out, struct err *err)
{
    struct slice rest = raw;
    uint8_t *copy;

    if (raw.data[0] == '\'')
        raw = slice_of(raw.data + 1, raw.len - 2);
    else if (raw.data[0] == '"' && !go_unquote(&rest, arena, &raw))
        return FAIL(CTL_BAD_INPUT, "bad escape in %.*s", TEXT(raw));
    copy = arena_alloc(arena, raw.len + 1);
    if (raw.len != 0)
        memcpy(copy, raw.data, raw.len);
    copy[raw.len] = 0;
    *out = slice_of(copy, raw.len);
    return 0;
}

int txn_words(struct slice line, struct arena *arena, struct slice **out, size_t *out_len,
              struct err *err)
{
    struct slice *words = arena_alloc(arena, (line.len + 1) * sizeof *words);
    struct slice raw;
    int code = 0;

    *out = words;
    *out_len = 0;
    while (code == 0 && line.len != 0) {
        if (isspace(line.data[0]))
            line = skip(line, 1);
        else if (take_raw(&line, &raw))
            code = cook(raw, arena, &words[(*out_len)++], err);
    }
    return code;
}

/* ---- compares ---- */

static const struct {
    const char *name;
    Etcdserverpb__Compare__CompareTarget target;
    Etcdserverpb__Compare__TargetUnionCase member;
    int base; /* of the number; 0: the value is text */
} targets[] = {
    {"version", ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION,
     ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION, 10},
    {"ver", ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION,
     ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION, 10},
    {"create", ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE,
     ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION, 10},
    {"c", ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE,
     ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION, 10},
    {"mod", ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD,
     ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION, 10},
    {"m", ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD,
     ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION, 10},
    {"value", ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE,
     ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE, 0},
    {"val", ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE, ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE,
     0},
    {"lease", ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE,
     ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE, 16},
};

static bool parse_operator(struct slice text, Etcdserverpb__Compare__CompareResult *out)
{
    static const struct {
        const char *text;
        Etcdserverpb__Compare__CompareResult result;
    } operators[] = {
        {"=", ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL},
        {"!=", ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL},
        {">", ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER},
        {"<", ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS},
    };
    size_t i;

    for (i = 0; i < ARRAY_LEN(operators); i++) {
        if (slice_eq(text, slice_str(operators[i].text))) {
            *out = operators[i].result;
            return true;
        }
    }
    return false;
}

static struct slice skip_blanks(struct slice text)
{
    while (text.len != 0 && isspace(text.data[0]))
        text = skip(text, 1);
    return text;
}

/* What Sscanf("%q) %s %q") finds behind the parenthesis. */
static bool scan_operands(struct slice rest, struct arena *arena, struct slice *key,
                          struct slice *operator, struct slice * value)
{
    size_t len = 0;

    rest = skip_blanks(rest);
    if (!go_unquote(&rest, arena, key) || rest.len < 2 || rest.data[0] != ')' ||
        !isspace(rest.data[1]))
        return false;
    rest = skip_blanks(skip(rest, 1));
    while (len < rest.len && !isspace(rest.data[len]))
        len++;
    *operator= slice_of(rest.data, len);
    rest = skip_blanks(skip(rest, len));
    return len != 0 && go_unquote(&rest, arena, value);
}

static bool set_operand(Etcdserverpb__Compare *compare, int base, struct slice value)
{
    char number[32];
    int64_t parsed;

    if (base == 0) {
        compare->value = (ProtobufCBinaryData){
            .data = (uint8_t *)(uintptr_t)value.data,
            .len = value.len,
        };
        return true;
    }
    if (value.len >= sizeof number)
        return false;
    memcpy(number, value.data, value.len);
    number[value.len] = '\0';
    if (strlen(number) != value.len || !go_parse_int(number, base, &parsed))
        return false;
    compare->version = parsed; /* the number members of the union share one place */
    return true;
}

int txn_parse_compare(struct slice line, struct arena *arena, Etcdserverpb__Compare **out,
                      struct err *err)
{
    const uint8_t *paren = memchr(line.data, '(', line.len);
    Etcdserverpb__Compare *compare = arena_alloc(arena, sizeof *compare);
    struct slice name, key, operator, value;
    size_t i;

    etcdserverpb__compare__init(compare);
    if (paren == NULL)
        return FAIL(CTL_BAD_INPUT, "malformed comparison: %.*s", TEXT(line));
    name = slice_of(line.data, (size_t)(paren - line.data));
    if (!scan_operands(skip(line, name.len + 1), arena, &key, &operator, & value))
        return FAIL(CTL_BAD_INPUT,
                    "malformed comparison: %.*s; it is written as mod(\"key\") > \"5\"",
                    TEXT(line));
    for (i = 0; i < ARRAY_LEN(targets); i++) {
        if (slice_eq(name, slice_str(targets[i].name)))
            break;
    }
    if (i == ARRAY_LEN(targets))
        return FAIL(CTL_BAD_INPUT, "malformed comparison: %.*s (unknown target %.*s)", TEXT(line),
                    TEXT(name));
    if (!parse_operator(operator, & compare->result))
        return FAIL(CTL_BAD_INPUT,
                    "malformed comparison: %.*s (unknown operator %.*s; there are = != < >)",
                    TEXT(line), TEXT(operator));
    compare->key = (ProtobufCBinaryData){
        .data = (uint8_t *)(uintptr_t)key.data,
        .len = key.len,
    };
    compare->target = targets[i].target;
    compare->target_union_case = targets[i].member;
    if (!set_operand(compare, targets[i].base, value))
        return FAIL(CTL_BAD_INPUT, "invalid txn compare request: %.*s", TEXT(line));
    *out = compare;
    return 0;
}

/* ---- requests ---- */

/* What a request line is parsed into, and the flags of each. */
union op_options {
    struct get_options get;
    struct put_options put;
    struct del_options del;
};

enum op { OP_GET, OP_PUT, OP_DEL, OP_COUNT };

/* Names may be shortened here too; no two share a letter. */
static enum op op_named(struct slice word)
{
    static const char *const names[] = {[OP_GET] = "get", [OP_PUT] = "put", [OP_DEL] = "del"};
    int op;

    for (op = 0; op < OP_COUNT; op++) {
        if (word.len != 0 && word.len <= 3 && memcmp(word.data, names[op], word.len) == 0)
            return (enum op)op;
    }
    return OP_COUNT;
}

/* flags_parse() gives back pointers; the words know how long they are. */
static struct slice *slices_of(char **args, int args_len, const struct slice *words,
                               size_t words_len, struct arena *arena)
{
    struct slice *out = arena_alloc(arena, (size_t)(args_len + 1) * sizeof *out);
    size_t word;
    int i;

    for (i = 0; i < args_len; i++) {
        for (word = 0; word < words_len; word++) {
            if ((const char *)words[word].data == args[i])
                out[i] = words[word];
        }
    }
    return out;
}

static int build(enum op op, const union op_options *options, const struct slice *args,
                 size_t args_len, struct arena *arena, Etcdserverpb__RequestOp *out,
                 struct err *err)
{
    switch (op) {
    case OP_GET:
        out->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        out->request_range = arena_alloc(arena, sizeof *out->request_range);
        return kvop_get(&options->get, args, args_len, arena, out->request_range, err);
    case OP_PUT:
        out->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        out->request_put = arena_alloc(arena, sizeof *out->request_put);
        return kvop_put(&options->put, args, args_len, NULL, arena, out->request_put, err);
    default:
        out->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        out->request_delete_range = arena_alloc(arena, sizeof *out->request_delete_range);
        return kvop_del(&options->del, args, args_len, arena, out->request_delete_range, err);
    }
}

int txn_parse_request(struct slice line, struct arena *arena, Etcdserverpb__RequestOp **out,
                      struct err *err)
{
    static const struct flag *const tables[] = {
        [OP_GET] = get_flags, [OP_PUT] = put_flags, [OP_DEL] = del_flags};
    union op_options options;
    struct flag_set set = {.options = &options};
    struct slice *words;
    struct err why = ERR_INIT;
    size_t words_len, i;
    char **argv, **args;
    int args_len, code;
    bool help = false;
    enum op op;

    code = txn_words(line, arena, &words, &words_len, err);
    if (code != 0)
        return code;
    op = words_len != 0 ? op_named(words[0]) : OP_COUNT;
    if (op == OP_COUNT || words_len < 2)
        return FAIL(CTL_BAD_INPUT, "invalid txn request: %.*s (there are get, put and del)",
                    TEXT(line));

    argv = arena_alloc(arena, words_len * sizeof *argv);
    args = arena_alloc(arena, words_len * sizeof *args);
    for (i = 1; i < words_len; i++)
        argv[i - 1] = (char *)(uintptr_t)words[i].data;
    memset(&options, 0, sizeof options);
    set.flags = tables[op];
    flags_init(&set, arena);
    if (flags_parse(&set, 1, (int)words_len - 1, argv, arena, args, &args_len, &help, &why) != 0 ||
        help)
        return FAIL(CTL_BAD_INPUT, "invalid txn request: %.*s (%s)", TEXT(line),
                    help ? "no help here" : why.text);

    *out = arena_alloc(arena, sizeof **out);
    etcdserverpb__request_op__init(*out);
    return build(op, &options, slices_of(args, args_len, words, words_len, arena), (size_t)args_len,
                 arena, *out, err);
}

/* ---- blocks ---- */

/* Pointers that grow in the arena. */
struct pointers {
    void **items;
    size_t len, cap;
};

static void add(struct pointers *list, void *item, struct arena *arena)
{
    void **items;

    if (list->len == list->cap) {
        list->cap = MAX(list->cap * 2, (size_t)16);
        items = arena_alloc(arena, list->cap * sizeof *items);
        if (list->len != 0)
            memcpy(items, list->items, list->len * sizeof *items);
        list->items = items;
    }
    list->items[list->len++] = item;
}

static int parse_line(bool compares, struct slice line, struct arena *arena, void **out,
                      struct err *err)
{
    Etcdserverpb__Compare *compare = NULL;
    Etcdserverpb__RequestOp *op = NULL;
    int code;

    code = compares ? txn_parse_compare(line, arena, &compare, err)
                    : txn_parse_request(line, arena, &op, err);
    *out = compares ? (void *)compare : (void *)op;
    return code;
}

/* Lines up to the empty one that ends the block. An input that ends before is refused: half a
 * transaction must not be carried out. */
static int read_block(FILE *in, bool compares, const char *name, struct arena *arena,
                      struct pointers *out, struct err *err)
{
    char *text = NULL;
    size_t cap = 0;
    int code = 0;

    while (code == 0) {
        ssize_t len = getline(&text, &cap, in);
        struct slice line;
        void *item;

        if (len <= 0 || text[len - 1] != '\n') {
            code = FAIL(CTL_BAD_INPUT, "EOF: the %s are not ended by an empty line", name);
            break;
        }
        line = arena_copy(arena, trim(slice_of(text, (size_t)len)));
        if (line.len == 0)
            break;
        code = parse_line(compares, line, arena, &item, err);
        if (code == 0)
            add(out, item, arena);
    }
    free(text);
    return code;
}

int txn_read(FILE *in, FILE *prompt, struct arena *arena, Etcdserverpb__TxnRequest *out,
             struct err *err)
{
    static const char *const names[] = {"compares", "success requests (get, put, del)",
                                        "failure requests (get, put, del)"};
    struct pointers blocks[3] = {{.len = 0}};
    size_t i;
    int code;

    for (i = 0; i < ARRAY_LEN(blocks); i++) {
        if (prompt != NULL) {
            fprintf(prompt, "%s:\n", names[i]);
            (void)fflush(prompt);
        }
        code = read_block(in, i == 0, names[i], arena, &blocks[i], err);
        if (code != 0)
            return code;
    }
    etcdserverpb__txn_request__init(out);
    out->compare = (Etcdserverpb__Compare **)(void *)blocks[0].items;
    out->n_compare = blocks[0].len;
    out->success = (Etcdserverpb__RequestOp **)(void *)blocks[1].items;
    out->n_success = blocks[1].len;
    out->failure = (Etcdserverpb__RequestOp **)(void *)blocks[2].items;
    out->n_failure = blocks[2].len;
    return 0;
}
