#include "client/ctl/kvop.h"

#include <inttypes.h>
#include <strings.h>

#include "base/buf.h"
#include "client/ctl/ctl.h"
#include "client/ctl/gotext.h"
#include "client/kv.h"

#define AT(member) offsetof(struct get_options, member)
const struct flag get_flags[] = {
    {"consistency", 0, FLAG_STRING, AT(consistency), "l", "Linearizable(l) or Serializable(s)"},
    {"count-only", 0, FLAG_BOOL, AT(count_only), "false", "Get only the count"},
    {"from-key", 0, FLAG_BOOL, AT(from_key), "false",
     "Get keys that are greater than or equal to the given key using byte compare"},
    {"keys-only", 0, FLAG_BOOL, AT(keys_only), "false", "Get only the keys"},
    {"limit", 0, FLAG_INT, AT(limit), "0", "Maximum number of results"},
    {"max-create-rev", 0, FLAG_INT, AT(max_create_rev), "0", "Maximum create revision"},
    {"max-mod-rev", 0, FLAG_INT, AT(max_mod_rev), "0", "Maximum modification revision"},
    {"min-create-rev", 0, FLAG_INT, AT(min_create_rev), "0", "Minimum create revision"},
    {"min-mod-rev", 0, FLAG_INT, AT(min_mod_rev), "0", "Minimum modification revision"},
    {"order", 0, FLAG_STRING, AT(order), "",
     "Order of results; ASCEND or DESCEND (ASCEND by default)"},
    {"prefix", 0, FLAG_BOOL, AT(prefix), "false", "Get keys with matching prefix"},
    {"print-value-only", 0, FLAG_BOOL, AT(print_value_only), "false",
     "Only write values when using the \"simple\" output format"},
    {"rev", 0, FLAG_INT, AT(rev), "0", "Specify the kv revision"},
    {"sort-by", 0, FLAG_STRING, AT(sort_by), "",
     "Sort target; CREATE, KEY, MODIFY, VALUE, or VERSION"},
    {"stream", 0, FLAG_BOOL, AT(stream), "false",
     "Get the keys in parts, as the server reads them (etcd 3.7, or kvd)"},
    {.name = NULL},
};
#undef AT

#define AT(member) offsetof(struct put_options, member)
const struct flag put_flags[] = {
    {"ignore-lease", 0, FLAG_BOOL, AT(ignore_lease), "false",
     "updates the key using its current lease"},
    {"ignore-value", 0, FLAG_BOOL, AT(ignore_value), "false",
     "updates the key using its current value"},
    {"lease", 0, FLAG_STRING, AT(lease), "0", "lease ID (in hexadecimal) to attach to the key"},
    {"prev-kv", 0, FLAG_BOOL, AT(prev_kv), "false",
     "return the previous key-value pair before modification"},
    {.name = NULL},
};
#undef AT

#define AT(member) offsetof(struct del_options, member)
const struct flag del_flags[] = {
    {"from-key", 0, FLAG_BOOL, AT(from_key), "false",
     "delete keys that are greater than or equal to the given key using byte compare"},
    {"prefix", 0, FLAG_BOOL, AT(prefix), "false", "delete keys with matching prefix"},
    {"prev-kv", 0, FLAG_BOOL, AT(prev_kv), "false", "return deleted key-value pairs"},
    {"range", 0, FLAG_BOOL, AT(range), "false", "delete range of keys"},
    {.name = NULL},
};
#undef AT

/* Exit code and text in one. */
#define FAIL(code, ...) ((void)err_set(err, KV_EINVAL, __VA_ARGS__), (code))

static ProtobufCBinaryData bytes_of(struct slice text)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)text.data, .len = text.len};
}

/* [key, end) from one or two arguments and the two flags that stand for an end. */
static int span(const struct slice *args, size_t args_len, bool prefix, bool from_key,
                struct arena *arena, ProtobufCBinaryData *key, ProtobufCBinaryData *end,
                struct err *err)
{
    static const uint8_t zero[1];
    const struct slice open = slice_of(zero, 1);
    uint8_t *bytes;

    if (prefix && from_key)
        return FAIL(CTL_BAD_ARGS,
                    "`--prefix` and `--from-key` cannot be set at the same time, choose one");
    if (args_len > 1 && (prefix || from_key))
        return FAIL(CTL_BAD_ARGS, "too many arguments, only accept one argument when `--prefix` or "
                                  "`--from-key` is set");
    *key = bytes_of(args[0]);
    if (args_len > 1) {
        *end = bytes_of(args[1]);
    } else if ((prefix || from_key) && args[0].len == 0) {
        *key = bytes_of(open); /* all keys */
        *end = bytes_of(open);
    } else if (from_key) {
        *end = bytes_of(open);
    } else if (prefix) {
        bytes = arena_alloc(arena, args[0].len);
        *end = bytes_of(slice_of(bytes, kv_prefix_end(args[0], bytes)));
    }
    return 0;
}

int kvop_consistency(const char *text, bool *serializable, struct err *err)
{
    *serializable = strcmp(text, "s") == 0;
    if (!*serializable && strcmp(text, "l") != 0)
        return FAIL(CTL_BAD_FEATURE, "unknown consistency flag \"%s\"", text);
    return 0;
}

static int sorting(const struct get_options *options, Etcdserverpb__RangeRequest *out,
                   struct err *err)
{
    static const struct {
        const char *name;
        Etcdserverpb__RangeRequest__SortTarget target;
    } targets[] = {
        {"", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY},
        {"CREATE", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE},
        {"KEY", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY},
        {"MODIFY", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD},
        {"VALUE", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE},
        {"VERSION", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION},
    };
    size_t i;

    if (strcasecmp(options->order, "ASCEND") == 0)
        out->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    else if (strcasecmp(options->order, "DESCEND") == 0)
        out->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    else if (options->order[0] != '\0')
        return FAIL(CTL_BAD_FEATURE, "bad sort order %s", options->order);

    for (i = 0; i < ARRAY_LEN(targets); i++) {
        if (strcasecmp(options->sort_by, targets[i].name) == 0)
            break;
    }
    if (i == ARRAY_LEN(targets))
        return FAIL(CTL_BAD_FEATURE, "bad sort target %s", options->sort_by);
    out->sort_target = targets[i].target;
    /* Keys come in ascending order anyway; asking for it would make the server fetch them all. */
    if (out->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY &&
        out->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND)
        out->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE;
    return 0;
}

static int filters(const struct get_options *options, Etcdserverpb__RangeRequest *out,
                   struct err *err)
{
    if (options->max_create_rev > 0 && options->min_create_rev > options->max_create_rev)
        return FAIL(CTL_BAD_FEATURE,
                    "getMinCreateRev(=%" PRId64 ") > getMaxCreateRev(=%" PRId64 ")",
                    options->min_create_rev, options->max_create_rev);
    if (options->max_mod_rev > 0 && options->min_mod_rev > options->max_mod_rev)
        return FAIL(CTL_BAD_FEATURE, "getMinModRev(=%" PRId64 ") > getMaxModRev(=%" PRId64 ")",
                    options->min_mod_rev, options->max_mod_rev);
    out->min_create_revision = MAX(options->min_create_rev, (int64_t)0);
    out->max_create_revision = MAX(options->max_create_rev, (int64_t)0);
    out->min_mod_revision = MAX(options->min_mod_rev, (int64_t)0);
    out->max_mod_revision = MAX(options->max_mod_rev, (int64_t)0);
    return 0;
}

int kvop_get(const struct get_options *options, const struct slice *args, size_t args_len,
             struct arena *arena, Etcdserverpb__RangeRequest *out, struct err *err)
{
    bool serializable;
    int code;

    etcdserverpb__range_request__init(out);
    if (args_len == 0 || args_len > 2)
        return FAIL(CTL_BAD_ARGS, "get command needs one argument as key and an optional argument "
                                  "as range_end");
    if (options->keys_only && options->count_only)
        return FAIL(CTL_BAD_ARGS,
                    "`--keys-only` and `--count-only` cannot be set at the same time, choose one");
    code = kvop_consistency(options->consistency, &serializable, err);
    if (code == 0)
        code = span(args, args_len, options->prefix, options->from_key, arena, &out->key,
                    &out->range_end, err);
    if (code == 0)
        code = sorting(options, out, err);
    if (code == 0)
        code = filters(options, out, err);
    out->serializable = serializable;
    out->limit = options->limit;
    out->revision = MAX(options->rev, (int64_t)0);
    out->keys_only = options->keys_only;
    out->count_only = options->count_only;
    return code;
}

enum { VALUE_SIZE_MAX = 1 << 30 }; /* far above any server's limit */

/* All of in; 0 bytes count as nothing given, as for etcdctl. */
static bool read_value(FILE *in, struct arena *arena, ProtobufCBinaryData *out)
{
    uint8_t chunk[16384];
    struct buf buf;
    size_t n;
    int rc = 0;

    buf_init(&buf, VALUE_SIZE_MAX);
    while (rc == 0 && (n = fread(chunk, 1, sizeof chunk, in)) != 0)
        rc = buf_append(&buf, chunk, n);
    *out = bytes_of(arena_copy(arena, buf_slice(&buf)));
    buf_release(&buf);
    return rc == 0 && !ferror(in) && out->len != 0;
}

int kvop_put(const struct put_options *options, const struct slice *args, size_t args_len, FILE *in,
             struct arena *arena, Etcdserverpb__PutRequest *out, struct err *err)
{
    int64_t lease;

    etcdserverpb__put_request__init(out);
    if (args_len == 0 || args_len > 2)
        return FAIL(CTL_BAD_ARGS,
                    "put command needs 1 argument and input from stdin or 2 arguments");
    if (options->ignore_value && args_len > 1)
        return FAIL(CTL_BAD_ARGS, "put command needs only 1 argument when 'ignore-value' is set");
    if (!go_parse_int(options->lease, 16, &lease))
        return FAIL(CTL_BAD_ARGS,
                    "bad lease ID (\"%s\" is not a 64-bit hexadecimal number), "
                    "expecting ID in Hex",
                    options->lease);
    out->key = bytes_of(args[0]);
    out->lease = lease;
    out->prev_kv = options->prev_kv;
    out->ignore_value = options->ignore_value;
    out->ignore_lease = options->ignore_lease;
    if (options->ignore_value)
        return 0;
    if (args_len == 2)
        out->value = bytes_of(args[1]);
    else if (in == NULL || !read_value(in, arena, &out->value))
        return FAIL(CTL_BAD_ARGS,
                    "put command needs 1 argument and input from stdin or 2 arguments");
    return 0;
}

int kvop_del(const struct del_options *options, const struct slice *args, size_t args_len,
             struct arena *arena, Etcdserverpb__DeleteRangeRequest *out, struct err *err)
{
    etcdserverpb__delete_range_request__init(out);
    if (args_len == 0 || args_len > 2)
        return FAIL(CTL_BAD_ARGS, "del command needs one argument as key and an optional argument "
                                  "as range_end");
    out->prev_kv = options->prev_kv;
    return span(args, args_len, options->prefix, options->from_key, arena, &out->key,
                &out->range_end, err);
}
