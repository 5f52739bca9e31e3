/* The interpreter of rule tables, and the words of its complaints. */
#include <string.h>

#include "kube/check/internal.h"

/* ---- complaints ---- */

#define PATH_MAX_LEN 8192

static void print_place(struct buf *buf, const struct check__place *place)
{
    if (place == NULL)
        return;
    print_place(buf, place->parent);
    if (place->key.data != NULL)
        (void)buf_printf(buf, "[%.*s]", TEXT(place->key));
    else if (place->name == NULL)
        (void)buf_printf(buf, "[%zu]", place->index);
    else
        (void)buf_printf(buf, "%s%s", buf->len > 0 ? "." : "", place->name);
}

const char *check__path(struct checker *checker, const struct check__place *place, const char *name)
{
    const char *text;
    struct buf buf;

    buf_init(&buf, PATH_MAX_LEN);
    print_place(&buf, place);
    if (name != NULL)
        (void)buf_printf(&buf, "%s%s", buf.len > 0 ? "." : "", name);
    text = check__print(checker->arena, "%.*s", TEXT(buf_slice(&buf)));
    buf_release(&buf);
    return text;
}

/* Complaints beyond the maximum are not even printed: values can be long. */
static bool is_full(const struct checker *checker)
{
    return checker->issues.count >= KUBE_ISSUES_MAX;
}

/* As field.Error prints it: strings as Go's %q, the rest as JSON. */
static const char *shown(struct checker *checker, const struct json *value)
{
    if (json_is(value, JSON_STRING))
        return check__quote(checker->arena, json_text(value));
    return check__json(checker->arena, value);
}

void check__invalid_text(struct checker *checker, const struct check__place *place,
                         const char *name, const char *value, const char *text)
{
    if (is_full(checker))
        return;
    kube_issues_add(&checker->issues, checker->arena, "Invalid", check__path(checker, place, name),
                    "Invalid value: %s: %s", value, text);
}

void check__invalid(struct checker *checker, const struct check__place *place, const char *name,
                    const struct json *value, const char *text)
{
    check__invalid_text(checker, place, name, value == NULL ? "\"\"" : shown(checker, value), text);
}

void check__required(struct checker *checker, const struct check__place *place, const char *name,
                     const char *text)
{
    bool more = text != NULL && text[0] != '\0';

    kube_issues_add(&checker->issues, checker->arena, "Required", check__path(checker, place, name),
                    "Required value%s%s", more ? ": " : "", more ? text : "");
}

void check__forbidden(struct checker *checker, const struct check__place *place, const char *name,
                      const char *text)
{
    kube_issues_add(&checker->issues, checker->arena, "Forbidden",
                    check__path(checker, place, name), "Forbidden: %s", text);
}

void check__duplicate(struct checker *checker, const struct check__place *place, const char *name,
                      const struct json *value)
{
    if (is_full(checker))
        return;
    kube_issues_add(&checker->issues, checker->arena, "Duplicate",
                    check__path(checker, place, name), "Duplicate value: %s",
                    shown(checker, value));
}

static bool next_word(const char **at, struct slice *word)
{
    size_t len;

    while (**at == ' ')
        (*at)++;
    len = strcspn(*at, " ");
    *word = slice_of(*at, len);
    *at += len;
    return len > 0;
}

void check__unsupported(struct checker *checker, const struct check__place *place, const char *name,
                        const struct json *value, const char *values)
{
    const char *list = "";
    struct slice word;

    for (const char *at = values; next_word(&at, &word);)
        list = check__print(checker->arena, "%s%s\"%.*s\"", list, list[0] == '\0' ? "" : ", ",
                            TEXT(word));
    kube_issues_add(&checker->issues, checker->arena, "NotSupported",
                    check__path(checker, place, name),
                    "Unsupported value: %s: supported values: %s",
                    value == NULL ? "\"\"" : shown(checker, value), list);
}

/* ---- single checks ---- */

static bool is_listed(const char *values, struct slice text)
{
    struct slice word;

    while (next_word(&values, &word)) {
        if (slice_eq(word, text))
            return true;
    }
    return false;
}

static void check_range(struct checker *checker, const struct check__place *place,
                        const struct json *value, int64_t low, int64_t high, const char *text)
{
    int64_t number;

    if (json_int(value, &number) && (number < low || number > high))
        check__invalid(checker, place, NULL, value, text);
}

static void check_name(struct checker *checker, const struct check__rule *rule,
                       const struct check__place *place, const struct json *value)
{
    const char *texts[CHECK_NAME_COMPLAINTS_MAX];
    unsigned count;

    if (check__missing(value))
        return;
    count = rule->name(json_text(value), texts);
    for (unsigned i = 0; i < count; i++)
        check__invalid(checker, place, NULL, value, texts[i]);
}

static void check_unique(struct checker *checker, const struct check__place *place,
                         const struct json *list, const char *key)
{
    struct check__place item = {.parent = place};
    struct check__set seen;

    if (!json_is(list, JSON_ARRAY) || list->count < 2)
        return;
    check__set_init(&seen, checker->arena, list->count);
    json_each(child, list)
    {
        const struct json *value = json_get(child, key);

        if (!check__missing(value) && !check__set_add(&seen, json_text(value)))
            check__duplicate(checker, &item, key, value);
        item.index++;
    }
}

/* ---- the interpreter ---- */

static void run_each(struct checker *checker, const struct check__rule *table,
                     const struct check__place *place, const struct json *values)
{
    struct check__place item = {.parent = place};

    if (!json_is(values, JSON_ARRAY) && !json_is(values, JSON_OBJECT))
        return;
    json_each(child, values)
    {
        if (values->type == JSON_OBJECT)
            item.key = json_key(child);
        check__run(checker, table, &item, child, NULL);
        item.index++;
    }
}

static void run_rule(struct checker *checker, const struct check__rule *rule,
                     const struct check__place *place, const struct json *value,
                     const struct json *old)
{
    switch (rule->what) {
    case CHECK_REQUIRED:
        if (check__missing(value))
            check__required(checker, place, NULL, rule->text);
        break;
    case CHECK_ENUM:
        if (!check__missing(value) && !is_listed(rule->text, json_text(value)))
            check__unsupported(checker, place, NULL, value, rule->text);
        break;
    case CHECK_NOT_NEGATIVE:
        check_range(checker, place, value, 0, INT64_MAX, "must be greater than or equal to 0");
        break;
    case CHECK_RANGE:
        check_range(checker, place, value, rule->low, rule->high, rule->text);
        break;
    case CHECK_PORT:
        check_range(checker, place, value, 1, 65535, "must be between 1 and 65535, inclusive");
        break;
    case CHECK_NAME:
        check_name(checker, rule, place, value);
        break;
    case CHECK_LABELS:
        check__labels(checker, place, value);
        break;
    case CHECK_SELECTOR:
        check__label_selector(checker, place, value);
        break;
    case CHECK_IMMUTABLE:
        if (checker->old == NULL || (check__missing(value) && check__missing(old)) ||
            (value != NULL && old != NULL && json_same(value, old)))
            break;
        if (rule->text != NULL)
            check__forbidden(checker, place, NULL, rule->text);
        else
            check__invalid(checker, place, NULL, value, "field is immutable");
        break;
    case CHECK_UNIQUE:
        check_unique(checker, place, value, rule->text);
        break;
    case CHECK_IN:
        if (json_is(value, JSON_OBJECT))
            check__run(checker, rule->table, place, value, old);
        break;
    case CHECK_EACH:
        run_each(checker, rule->table, place, value);
        break;
    case CHECK_CALL:
        rule->call(checker, place, value);
        break;
    case CHECK_END:
        break;
    }
}

void check__run(struct checker *checker, const struct check__rule *table,
                const struct check__place *place, const struct json *value, const struct json *old)
{
    for (const struct check__rule *rule = table; rule->what != CHECK_END; rule++) {
        struct check__place at = {.parent = place, .name = rule->path};

        if (rule->path == NULL)
            run_rule(checker, rule, place, value, old);
        else
            run_rule(checker, rule, &at, json_at(value, rule->path), json_at(old, rule->path));
    }
}

/* NULL: only metadata is looked at. */
static const struct check__rule *rules_of(const struct kube_resource *resource)
{
    static const struct check__kind_rules *const tables[] = {
        check__workload_kinds, check__network_kinds, check__other_kinds};

    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        for (const struct check__kind_rules *row = tables[i]; row->group != NULL; row++) {
            if (strcmp(row->kind, resource->kind) == 0 && strcmp(row->group, resource->group) == 0)
                return row->rules;
        }
    }
    return NULL;
}

static bool covers(const struct json *a, const struct json *b)
{
    json_each(member, a)
    {
        struct slice key = json_key(member);
        const struct json *other;

        if (slice_eq(key, slice_str("metadata")) || slice_eq(key, slice_str("status")))
            continue;
        other = json_get_slice(b, key);
        if (other == NULL || !json_same(member, other))
            return false;
    }
    return true;
}

/* Nothing but metadata and status differs. What was stored by other rules (a real kube-apiserver's,
 * or an older kvapi's) can still be labelled, deleted and told its status. */
static bool is_untouched(const struct json *old, const struct json *object)
{
    return old != NULL && covers(old, object) && covers(object, old);
}

int kube_validate(struct arena *arena, const struct kube_resource *resource, const struct json *old,
                  const struct json *object, struct kube_status *status)
{
    struct checker checker = {.arena = arena, .resource = resource, .old = old, .object = object};
    const struct check__rule *rules = rules_of(resource);

    check__metadata(&checker);
    /* An update is checked by the generic code and by the kind's, and both complain. */
    if (old != NULL && checker.issues.count > 0)
        check__metadata(&checker);
    if (rules != NULL && !is_untouched(old, object))
        check__run(&checker, rules, NULL, object, old);
    if (checker.issues.count == 0)
        return 0;
    return kube_status_invalid(status, arena, resource->group, resource->kind,
                               json_text_at(object, "metadata.name"), &checker.issues);
}
