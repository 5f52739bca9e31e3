#include "client/ctl/flags.h"

#include <string.h>

#include "client/ctl/gotext.h"

static void *member_of(const struct flag_set *set, size_t at)
{
    return (char *)set->options + set->flags[at].offset;
}

/* "a,b" adds two items. Quoting as in CSV is not needed for endpoints and not offered. */
static void list_add(struct flag_list *list, const char *text, struct arena *arena)
{
    const char **items;
    size_t count = 1, len;
    const char *at;

    for (at = text; *at != '\0'; at++)
        count += *at == ',';
    items = arena_alloc(arena, (list->len + count) * sizeof *items);
    if (list->len != 0)
        memcpy(items, list->items, list->len * sizeof *items);
    list->items = items;
    for (at = text;; at += len + 1) {
        char *item;

        len = strcspn(at, ",");
        item = arena_alloc(arena, len + 1);
        memcpy(item, at, len);
        item[len] = '\0';
        list->items[list->len++] = item;
        if (at[len] == '\0')
            break;
    }
}

static bool store(struct flag_set *set, size_t at, const char *text, struct arena *arena)
{
    void *member = member_of(set, at);
    struct slice copy;

    switch (set->flags[at].kind) {
    case FLAG_BOOL:
        return go_parse_bool(text, member);
    case FLAG_STRING:
        copy = arena_copy(arena, slice_of(text, strlen(text) + 1));
        *(const char **)member = (const char *)copy.data;
        return true;
    case FLAG_INT:
        return go_parse_int(text, 10, member);
    case FLAG_DURATION:
        return go_parse_duration(text, member);
    case FLAG_LIST:
        if ((set->changed & 1ull << at) == 0) /* the first one replaces the default */
            *(struct flag_list *)member = (struct flag_list){.len = 0};
        list_add(member, text, arena);
        return true;
    }
    return false;
}

static const char *why_not(enum flag_kind kind)
{
    switch (kind) {
    case FLAG_BOOL:
        return "it is true or false";
    case FLAG_INT:
        return "it is a whole number";
    case FLAG_DURATION:
        return "it is a duration such as 500ms, 5s or 1m30s";
    default:
        return "it is not valid";
    }
}

int flag_set_value(struct flag_set *set, size_t at, const char *text, struct arena *arena,
                   struct err *err)
{
    if (store(set, at, text, arena))
        return 0;
    return err_set(err, KV_EINVAL, "invalid argument \"%s\" for \"--%s\" flag: %s", text,
                   set->flags[at].name, why_not(set->flags[at].kind));
}

void flags_init(struct flag_set *set, struct arena *arena)
{
    size_t i;

    set->len = 0;
    while (set->flags != NULL && set->flags[set->len].name != NULL)
        set->len++;
    ASSERT(set->len <= 64);
    set->changed = 0;
    set->args_at_dash = -1;
    for (i = 0; i < set->len; i++) {
        bool stored = store(set, i, set->flags[i].init, arena);

        ASSERT(stored); /* a default in our own table */
    }
}

bool flags_find(const struct flag_set *sets, size_t sets_len, const char *name, size_t name_len,
                size_t *out_set, size_t *out_at)
{
    size_t set, at;

    for (set = 0; set < sets_len; set++) {
        for (at = 0; at < sets[set].len; at++) {
            const char *have = sets[set].flags[at].name;

            if (strlen(have) == name_len && memcmp(have, name, name_len) == 0) {
                *out_set = set;
                *out_at = at;
                return true;
            }
        }
    }
    return false;
}

bool flags_find_letter(const struct flag_set *sets, size_t sets_len, char letter, size_t *out_set,
                       size_t *out_at)
{
    size_t set, at;

    for (set = 0; set < sets_len; set++) {
        for (at = 0; at < sets[set].len; at++) {
            if (sets[set].flags[at].letter == letter) {
                *out_set = set;
                *out_at = at;
                return true;
            }
        }
    }
    return false;
}

/* Where a parse stands. */
struct parse {
    struct flag_set *sets;
    size_t sets_len;
    int argc, next;
    char **argv;
    struct arena *arena;
    bool *help;
    struct err *err;
};

static int give(struct parse *parse, size_t set, size_t at, const char *text)
{
    int rc = flag_set_value(&parse->sets[set], at, text, parse->arena, parse->err);

    parse->sets[set].changed |= 1ull << at;
    return rc;
}

static int parse_long(struct parse *parse, const char *arg)
{
    const char *name = arg + 2;
    size_t len = strcspn(name, "="), set, at;

    if (!flags_find(parse->sets, parse->sets_len, name, len, &set, &at)) {
        if (strcmp(name, "help") == 0) {
            *parse->help = true;
            return 0;
        }
        if (len == 0)
            return err_set(parse->err, KV_EINVAL, "bad flag syntax: %s", arg);
        return err_set(parse->err, KV_EINVAL, "unknown flag: --%.*s", (int)len, name);
    }
    if (name[len] == '=')
        return give(parse, set, at, name + len + 1);
    if (parse->sets[set].flags[at].kind == FLAG_BOOL)
        return give(parse, set, at, "true");
    if (parse->next == parse->argc)
        return err_set(parse->err, KV_EINVAL, "flag needs an argument: --%s", name);
    return give(parse, set, at, parse->argv[parse->next++]);
}

/* "-w json", "-wjson", "-w=json"; several bool letters may stand together. */
static int parse_letters(struct parse *parse, const char *arg)
{
    const char *letter;
    size_t set, at;
    int rc;

    for (letter = arg + 1; *letter != '\0'; letter++) {
        if (!flags_find_letter(parse->sets, parse->sets_len, *letter, &set, &at)) {
            if (*letter == 'h') {
                *parse->help = true;
                continue;
            }
            return err_set(parse->err, KV_EINVAL, "unknown shorthand flag: '%c' in %s", *letter,
                           arg);
        }
        if (parse->sets[set].flags[at].kind != FLAG_BOOL || letter[1] == '=')
            break;
        rc = give(parse, set, at, "true");
        if (rc != 0)
            return rc;
    }
    if (*letter == '\0')
        return 0;
    if (letter[1] != '\0')
        return give(parse, set, at, letter + 1 + (letter[1] == '='));
    if (parse->next == parse->argc)
        return err_set(parse->err, KV_EINVAL, "flag needs an argument: '%c' in %s", *letter, arg);
    return give(parse, set, at, parse->argv[parse->next++]);
}

int flags_parse(struct flag_set *sets, size_t sets_len, int argc, char **argv, struct arena *arena,
                char **args, int *args_len, bool *help, struct err *err)
{
    struct parse parse = {
        .sets = sets,
        .sets_len = sets_len,
        .argc = argc,
        .argv = argv,
        .arena = arena,
        .help = help,
        .err = err,
    };
    int rc = 0;

    *args_len = 0;
    while (rc == 0 && parse.next < argc) {
        char *arg = argv[parse.next++];

        if (strcmp(arg, "--") == 0) {
            sets[0].args_at_dash = *args_len;
            while (parse.next < argc)
                args[(*args_len)++] = argv[parse.next++];
        } else if (arg[0] != '-' || arg[1] == '\0') {
            args[(*args_len)++] = arg;
        } else if (arg[1] == '-') {
            rc = parse_long(&parse, arg);
        } else {
            rc = parse_letters(&parse, arg);
        }
    }
    return rc;
}

/* "--limit=0", "--prefix[=false]", "--order=\"\"", as etcdctl writes it. */
static int head_of(const struct flag *flag, char *out, size_t size)
{
    char value[64];
    char letter[5] = "    ";

    if (flag->letter != 0)
        (void)snprintf(letter, sizeof letter, "-%c, ", flag->letter);
    switch (flag->kind) {
    case FLAG_BOOL:
        (void)snprintf(value, sizeof value, "[=%s]", flag->init);
        break;
    case FLAG_STRING:
        (void)snprintf(value, sizeof value, "=\"%s\"", flag->init);
        break;
    case FLAG_LIST:
        (void)snprintf(value, sizeof value, "=[%s]", flag->init);
        break;
    default:
        (void)snprintf(value, sizeof value, "=%s", flag->init);
    }
    return snprintf(out, size, "  %s--%s%s", letter, flag->name, value);
}

void flags_print(FILE *out, const struct flag *flags)
{
    const struct flag *flag;
    char head[128];
    int width = 0;

    for (flag = flags; flag->name != NULL; flag++)
        width = MAX(width, head_of(flag, head, sizeof head));
    for (flag = flags; flag->name != NULL; flag++) {
        (void)head_of(flag, head, sizeof head);
        fprintf(out, "%-*s   %s\n", width, head, flag->help);
    }
}

void flag_print_value(FILE *out, const struct flag_set *set, size_t at)
{
    const void *member = member_of(set, at);
    const struct flag_list *list = member;
    char text[GO_TEXT_MAX];
    size_t i;

    switch (set->flags[at].kind) {
    case FLAG_BOOL:
        fputs(*(const bool *)member ? "true" : "false", out);
        break;
    case FLAG_STRING:
        fputs(*(const char *const *)member, out);
        break;
    case FLAG_INT:
        fprintf(out, "%lld", (long long)*(const int64_t *)member);
        break;
    case FLAG_DURATION:
        go_format_duration(*(const int64_t *)member, text);
        fputs(text, out);
        break;
    case FLAG_LIST:
        for (i = 0; i < list->len; i++)
            fprintf(out, "%s%s", i == 0 ? "[" : ",", list->items[i]);
        fputs("]", out);
        break;
    }
}
