#include "client/ctl/watch_args.h"

#include <string.h>

#include "client/ctl/ctl.h"
#include "client/ctl/txn.h"

#define AT(member) offsetof(struct watch_options, member)
const struct flag watch_flags[] = {
    {"interactive", 'i', FLAG_BOOL, AT(interactive), "false", "Interactive mode"},
    {"prefix", 0, FLAG_BOOL, AT(prefix), "false", "Watch on a prefix if prefix is set"},
    {"prev-kv", 0, FLAG_BOOL, AT(prev_kv), "false",
     "get the previous key-value pair before the event happens"},
    {"progress-notify", 0, FLAG_BOOL, AT(progress_notify), "false",
     "get periodic watch progress notification from server"},
    {"rev", 0, FLAG_INT, AT(rev), "0", "Revision to start watching"},
    {.name = NULL},
};
#undef AT

/* Exit code and text in one. */
#define FAIL(...) ((void)err_set(err, KV_EINVAL, __VA_ARGS__), CTL_BAD_ARGS)

static bool is_set(const char *variable)
{
    return variable != NULL && variable[0] != '\0';
}

/* [key, end) as etcd's client makes it of a key and the flag. */
static void span(const struct watch_options *options, const char *key, const char *end,
                 struct arena *arena, struct kv_watch_options *out)
{
    static const uint8_t zero[1];
    uint8_t *bytes;

    out->key = slice_str(key);
    out->range_end = slice_str(end);
    if (!options->prefix)
        return;
    if (key[0] == '\0')
        out->key = slice_of(zero, 1);
    bytes = arena_alloc(arena, strlen(key) + 1);
    out->range_end = slice_of(bytes, kv_prefix_end(slice_str(key), bytes));
}

int watch_parse_args(const struct watch_options *options, char **args, int args_len,
                     int args_at_dash, const struct watch_env *env, struct arena *arena,
                     struct watch_spec *out, struct err *err)
{
    int len = args_at_dash >= 0 ? args_at_dash : args_len;
    const char *words[2] = {"", ""};
    int i;

    *out = (struct watch_spec){.command = NULL};
    if (is_set(env->range_end) && !is_set(env->key))
        return FAIL("ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=\"%s\"",
                    env->range_end);
    if (args_at_dash >= 0 && args_at_dash == args_len)
        return FAIL("bad number of arguments (found separator --, but no commands)");
    if (is_set(env->key) && len != 0)
        return FAIL("bad number of arguments (found conflicting environment key)");
    if (len > 2 || (len == 0 && !is_set(env->key)))
        return FAIL("bad number of arguments");

    for (i = 0; i < len; i++)
        words[i] = args[i];
    if (len == 0) {
        words[0] = env->key;
        words[1] = is_set(env->range_end) ? env->range_end : "";
        len = is_set(env->range_end) ? 2 : 1;
    }
    if (len == 2 && options->prefix)
        return FAIL("`range_end` and `--prefix` are mutually exclusive");

    span(options, words[0], words[1], arena, &out->watch);
    out->watch.start_revision = options->rev;
    out->watch.flags = (options->prev_kv ? KV_WATCH_PREV_KV : 0) |
                       (options->progress_notify ? KV_WATCH_PROGRESS : 0);
    if (args_at_dash >= 0) {
        out->command = arena_calloc(arena, (size_t)(args_len - args_at_dash + 1) * sizeof(char *));
        memcpy(out->command, args + args_at_dash,
               (size_t)(args_len - args_at_dash) * sizeof(char *));
    }
    return 0;
}

/* Words end with a NUL already. */
static char **strings_of(const struct slice *words, size_t len, struct arena *arena)
{
    char **strings = arena_alloc(arena, (len + 1) * sizeof *strings);
    size_t i;

    for (i = 0; i < len; i++)
        strings[i] = (char *)(uintptr_t)words[i].data;
    strings[len] = NULL;
    return strings;
}

int watch_parse_line(struct slice line, const struct watch_env *env, struct arena *arena,
                     enum watch_verb *verb, struct watch_spec *out, struct err *err)
{
    struct watch_options options;
    struct flag_set set = {.flags = watch_flags, .options = &options};
    struct slice *words = NULL;
    char **strings, **args;
    size_t len = 0;
    int args_len = 0;
    bool help = false;

    if (txn_words(line, arena, &words, &len, err) != 0)
        return CTL_BAD_ARGS;
    if (len == 0)
        return FAIL("(watch and progress supported)");
    strings = strings_of(words, len, arena);
    *verb = WATCH_VERB_PROGRESS;
    if (strcmp(strings[0], "progress") == 0)
        return 0;
    *verb = WATCH_VERB_WATCH;
    if (strcmp(strings[0], "watch") != 0)
        return FAIL("(only support watch)");
    if (len == 1 && !is_set(env->key))
        return FAIL("(command type or key is not provided)");
    args = arena_alloc(arena, len * sizeof *args);
    flags_init(&set, arena);
    if (flags_parse(&set, 1, (int)len - 1, strings + 1, arena, args, &args_len, &help, err) != 0 ||
        watch_parse_args(&options, args, args_len, set.args_at_dash, env, arena, out, err) != 0) {
        char text[sizeof err->text];

        memcpy(text, err->text, sizeof text);
        return FAIL("(%.*s)", (int)sizeof text - 3, text);
    }
    return 0;
}
