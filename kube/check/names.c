/* Names, labels, annotations and the rest of metadata (apimachinery's validation). */
#include <stdio.h>
#include <string.h>

#include "kube/check/internal.h"

#define SUBDOMAIN_MAX 253
#define LABEL_MAX 63
#define ANNOTATIONS_MAX (256 * 1024)

#define LABEL_REGEX "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define QUALIFIED_REGEX "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

#define SUBDOMAIN_TEXT                                                                             \
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "   \
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "  \
    "for validation is '" LABEL_REGEX "(\\." LABEL_REGEX ")*')"
#define LABEL_TEXT                                                                                 \
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "   \
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex "     \
    "used for validation is '" LABEL_REGEX "')"
#define LABEL_1035_TEXT                                                                            \
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "   \
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or "           \
    "'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
#define QUALIFIED_CHARACTERS                                                                       \
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "    \
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "         \
    "validation is '" QUALIFIED_REGEX "')"
#define LABEL_VALUE_TEXT                                                                           \
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "    \
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value', " \
    " or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"

static bool is_lower_alnum(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(uint8_t c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static bool is_label(struct slice text)
{
    if (text.len == 0 || !is_lower_alnum(text.data[0]) || !is_lower_alnum(text.data[text.len - 1]))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_lower_alnum(text.data[i]) && text.data[i] != '-')
            return false;
    }
    return true;
}

static bool is_subdomain(struct slice text)
{
    const uint8_t *dot;

    for (;;) {
        dot = text.len == 0 ? NULL : memchr(text.data, '.', text.len);
        if (dot == NULL)
            return is_label(text);
        if (!is_label(slice_of(text.data, (size_t)(dot - text.data))))
            return false;
        text = slice_of(dot + 1, text.len - (size_t)(dot + 1 - text.data));
    }
}

/* The name part of a label key; as value of a label it may be empty as well. */
static bool is_qualified(struct slice text)
{
    if (text.len == 0 || !is_alnum(text.data[0]) || !is_alnum(text.data[text.len - 1]))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_alnum(text.data[i]) && strchr("-_.", text.data[i]) == NULL)
            return false;
    }
    return memchr(text.data, '\0', text.len) == NULL;
}

unsigned check__subdomain(struct slice text, const char **out)
{
    unsigned count = 0;

    if (text.len > SUBDOMAIN_MAX)
        out[count++] = "must be no more than 253 bytes";
    if (!is_subdomain(text))
        out[count++] = SUBDOMAIN_TEXT;
    return count;
}

unsigned check__label_1123(struct slice text, const char **out)
{
    unsigned count = 0;

    if (text.len > LABEL_MAX)
        out[count++] = "must be no more than 63 bytes";
    if (!is_label(text))
        out[count++] = LABEL_TEXT;
    return count;
}

unsigned check__label_1035(struct slice text, const char **out)
{
    unsigned count = 0;

    if (text.len > LABEL_MAX)
        out[count++] = "must be no more than 63 bytes";
    if (!is_label(text) || text.data[0] < 'a')
        out[count++] = LABEL_1035_TEXT;
    return count;
}

unsigned check__path_segment(struct slice text, const char **out)
{
    unsigned count = 0;

    if (slice_eq(text, slice_str("."))) {
        out[count++] = "may not be '.'";
        return count;
    }
    if (slice_eq(text, slice_str(".."))) {
        out[count++] = "may not be '..'";
        return count;
    }
    if (text.len > 0 && memchr(text.data, '/', text.len) != NULL)
        out[count++] = "may not contain '/'";
    if (text.len > 0 && memchr(text.data, '%', text.len) != NULL)
        out[count++] = "may not contain '%'";
    return count;
}

unsigned check__label_value(struct slice text, const char **out)
{
    unsigned count = 0;

    if (text.len > LABEL_MAX)
        out[count++] = "must be no more than 63 bytes";
    if (text.len > 0 && !is_qualified(text))
        out[count++] = LABEL_VALUE_TEXT;
    return count;
}

static unsigned prefix_part(struct arena *arena, struct slice prefix, const char **out)
{
    unsigned count;

    if (prefix.len == 0) {
        out[0] = "prefix part must be non-empty";
        return 1;
    }
    count = check__subdomain(prefix, out);
    for (unsigned i = 0; i < count; i++)
        out[i] = check__print(arena, "prefix part %s", out[i]);
    return count;
}

unsigned check__qualified_name(struct arena *arena, struct slice text, const char **out)
{
    const uint8_t *slash = text.len == 0 ? NULL : memchr(text.data, '/', text.len);
    struct slice name = text;
    unsigned count = 0;

    if (slash != NULL) {
        name = slice_of(slash + 1, text.len - (size_t)(slash + 1 - text.data));
        if (name.len > 0 && memchr(name.data, '/', name.len) != NULL) {
            out[0] = "a qualified name " QUALIFIED_CHARACTERS
                     " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return 1;
        }
        count = prefix_part(arena, slice_of(text.data, (size_t)(slash - text.data)), out);
    }
    if (name.len == 0)
        out[count++] = "name part must be non-empty";
    else if (name.len > LABEL_MAX)
        out[count++] = "name part must be no more than 63 bytes";
    if (!is_qualified(name))
        out[count++] = "name part " QUALIFIED_CHARACTERS;
    return count;
}

const char *kube_subdomain_check(struct slice text)
{
    const char *out[CHECK_NAME_COMPLAINTS_MAX];

    return check__subdomain(text, out) > 0 ? out[0] : NULL;
}

const char *kube_label_name_check(struct slice text)
{
    const char *out[CHECK_NAME_COMPLAINTS_MAX];

    return check__label_1123(text, out) > 0 ? out[0] : NULL;
}

static void add_all(struct kube_issues *issues, struct arena *arena, const char *field,
                    struct slice value, const char *const *texts, unsigned count)
{
    for (unsigned i = 0; i < count && issues->count < KUBE_ISSUES_MAX; i++)
        kube_issues_add(issues, arena, "Invalid", field, "Invalid value: %s: %s",
                        check__quote(arena, value), texts[i]);
}

void kube_qualified_name_check(struct arena *arena, struct slice text, const char *field,
                               struct kube_issues *issues)
{
    const char *texts[CHECK_NAME_COMPLAINTS_MAX];

    add_all(issues, arena, field, text, texts, check__qualified_name(arena, text, texts));
}

void kube_label_value_check(struct arena *arena, struct slice text, const char *field,
                            struct kube_issues *issues)
{
    const char *texts[CHECK_NAME_COMPLAINTS_MAX];

    add_all(issues, arena, field, text, texts, check__label_value(text, texts));
}

void check__qualified(struct checker *checker, const struct check__place *place, const char *name,
                      struct slice text)
{
    const char *texts[CHECK_NAME_COMPLAINTS_MAX];
    unsigned count = check__qualified_name(checker->arena, text, texts);

    if (count > 0)
        add_all(&checker->issues, checker->arena, check__path(checker, place, name), text, texts,
                count);
}

/* ---- labels and selectors ---- */

void check__labels(struct checker *checker, const struct check__place *place,
                   const struct json *labels)
{
    const char *texts[CHECK_NAME_COMPLAINTS_MAX];

    json_each(label, labels)
    {
        unsigned count;

        check__qualified(checker, place, NULL, json_key(label));
        count = check__label_value(json_text(label), texts);
        if (count > 0)
            add_all(&checker->issues, checker->arena, check__path(checker, place, NULL),
                    json_text(label), texts, count);
    }
}

static void check_expression(struct checker *checker, const struct check__place *place,
                             const struct json *expression)
{
    const struct json *op = json_get(expression, "operator");
    const struct json *values = json_get(expression, "values");
    size_t count = values == NULL ? 0 : values->count;

    if (json_equals(op, "In") || json_equals(op, "NotIn")) {
        if (count == 0)
            check__required(checker, place, "values",
                            "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (json_equals(op, "Exists") || json_equals(op, "DoesNotExist")) {
        if (count > 0)
            check__forbidden(checker, place, "values",
                             "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else {
        check__invalid(checker, place, "operator", op, "not a valid selector operator");
    }
    check__qualified(checker, place, "key", json_text_at(expression, "key"));
}

void check__label_selector(struct checker *checker, const struct check__place *place,
                           const struct json *selector)
{
    struct check__place labels = {.parent = place, .name = "matchLabels"};
    struct check__place expressions = {.parent = place, .name = "matchExpressions"};
    struct check__place item = {.parent = &expressions};

    check__labels(checker, &labels, json_get(selector, "matchLabels"));
    json_each(expression, json_get(selector, "matchExpressions"))
    {
        check_expression(checker, &item, expression);
        item.index++;
    }
}

static bool is_among(const struct json *values, struct slice text)
{
    json_each(value, values)
    {
        if (slice_eq(json_text(value), text))
            return true;
    }
    return false;
}

static bool expression_selects(const struct json *expression, const struct json_index *labels)
{
    const struct json *label = json_index_get(labels, json_text_at(expression, "key"));
    const struct json *op = json_get(expression, "operator");

    if (json_equals(op, "Exists"))
        return label != NULL;
    if (json_equals(op, "DoesNotExist"))
        return label == NULL;
    if (json_equals(op, "In"))
        return label != NULL && is_among(json_get(expression, "values"), json_text(label));
    return label == NULL || !is_among(json_get(expression, "values"), json_text(label));
}

bool check__selects(struct arena *arena, const struct json *selector, const struct json *labels)
{
    struct json_index index;

    json_index_init(&index, arena, labels);
    json_each(wanted, json_get(selector, "matchLabels"))
    {
        const struct json *label = json_index_get(&index, json_key(wanted));

        if (label == NULL || !slice_eq(json_text(label), json_text(wanted)))
            return false;
    }
    json_each(expression, json_get(selector, "matchExpressions"))
    {
        if (!expression_selects(expression, &index))
            return false;
    }
    return true;
}

/* ---- metadata ---- */

static check__name_check *const name_checks[] = {
    [KUBE_NAME_SUBDOMAIN] = check__subdomain,
    [KUBE_NAME_LABEL] = check__label_1123,
    [KUBE_NAME_LABEL_1035] = check__label_1035,
    [KUBE_NAME_PATH_SEGMENT] = check__path_segment,
};

/* A generateName is checked as if something valid were behind a trailing dash. */
static struct slice masked(struct arena *arena, struct slice prefix)
{
    if (prefix.len < 2 || prefix.data[prefix.len - 1] != '-')
        return prefix;
    return slice_str(check__print(arena, "%.*sa", (int)prefix.len - 2, (const char *)prefix.data));
}

static void check_name(struct checker *checker, const struct json *metadata)
{
    check__name_check *check = name_checks[checker->resource->name_rule];
    const char *texts[CHECK_NAME_COMPLAINTS_MAX];
    struct slice name = json_text_at(metadata, "name");
    struct slice prefix = json_text_at(metadata, "generateName");

    if (prefix.len > 0)
        add_all(&checker->issues, checker->arena, "metadata.generateName", prefix, texts,
                check(masked(checker->arena, prefix), texts));
    if (name.len == 0)
        kube_issues_add(&checker->issues, checker->arena, "Required", "metadata.name",
                        "Required value: name or generateName is required");
    else
        add_all(&checker->issues, checker->arena, "metadata.name", name, texts, check(name, texts));
}

static void check_namespace(struct checker *checker, const struct json *metadata)
{
    const char *texts[CHECK_NAME_COMPLAINTS_MAX];
    struct slice name = json_text_at(metadata, "namespace");

    if ((checker->resource->flags & KUBE_NAMESPACED) == 0) {
        if (name.len > 0)
            kube_issues_add(&checker->issues, checker->arena, "Forbidden", "metadata.namespace",
                            "Forbidden: not allowed on this type");
    } else if (name.len == 0) {
        kube_issues_add(&checker->issues, checker->arena, "Required", "metadata.namespace",
                        "Required value");
    } else {
        add_all(&checker->issues, checker->arena, "metadata.namespace", name, texts,
                check__label_1123(name, texts));
    }
}

static struct slice lowered(struct arena *arena, struct slice text)
{
    uint8_t *out = arena_alloc(arena, text.len + 1);

    for (size_t i = 0; i < text.len; i++)
        out[i] = text.data[i] >= 'A' && text.data[i] <= 'Z' ? text.data[i] | 0x20 : text.data[i];
    return slice_of(out, text.len);
}

static void check_annotations(struct checker *checker, const struct json *annotations)
{
    const char *texts[CHECK_NAME_COMPLAINTS_MAX];
    size_t size = 0;

    json_each(annotation, annotations)
    {
        struct slice key = json_key(annotation);

        add_all(&checker->issues, checker->arena, "metadata.annotations", key, texts,
                check__qualified_name(checker->arena, lowered(checker->arena, key), texts));
        size += key.len + json_text(annotation).len;
    }
    if (size > ANNOTATIONS_MAX)
        kube_issues_add(&checker->issues, checker->arena, "TooLong", "metadata.annotations",
                        "Too long: may not be more than %d bytes", ANNOTATIONS_MAX);
}

static const struct check__place owner_references = {.name = "metadata.ownerReferences"};

static void check_owner(struct checker *checker, const struct json *owner)
{
    static const char *const wanted[] = {"kind", "name", "uid"};
    struct slice version = json_text_at(owner, "apiVersion");

    if (version.len == 0 || version.data[version.len - 1] == '/')
        check__invalid(checker, &owner_references, "apiVersion", json_get(owner, "apiVersion"),
                       "version must not be empty");
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        if (json_text_at(owner, wanted[i]).len == 0)
            check__invalid_text(checker, &owner_references, wanted[i], "\"\"", "must not be empty");
    }
    if (json_equals(json_get(owner, "apiVersion"), "v1") &&
        json_equals(json_get(owner, "kind"), "Event"))
        check__invalid(checker, &owner_references, NULL, owner,
                       "/v1, Kind=Event is disallowed from being an owner");
}

static void check_owners(struct checker *checker, const struct json *owners)
{
    const struct json *controller = NULL;
    bool told = false; /* each complaint would show the whole list again */

    json_each(owner, owners)
    {
        const struct json *flag = json_get(owner, "controller");

        check_owner(checker, owner);
        if (!json_is(flag, JSON_BOOL) || !flag->boolean)
            continue;
        if (controller != NULL && !told)
            check__invalid(checker, &owner_references, NULL, owners,
                           check__print(checker->arena,
                                        "Only one reference can have Controller set to true. "
                                        "Found \"true\" in references for %.*s and %.*s",
                                        TEXT(json_text_at(controller, "name")),
                                        TEXT(json_text_at(owner, "name"))));
        told = controller != NULL;
        controller = owner;
    }
}

static bool is_standard_finalizer(struct slice name)
{
    return slice_eq(name, slice_str("kubernetes")) || slice_eq(name, slice_str("orphan")) ||
           slice_eq(name, slice_str("foregroundDeletion"));
}

static void check_finalizers(struct checker *checker, const struct json *finalizers)
{
    bool orphan = false, foreground = false;
    size_t index = 0;

    json_each(finalizer, finalizers)
    {
        kube_qualified_name_check(checker->arena, json_text(finalizer), "metadata.finalizers",
                                  &checker->issues);
        orphan = orphan || json_equals(finalizer, "orphan");
        foreground = foreground || json_equals(finalizer, "foregroundDeletion");
    }
    if (orphan && foreground)
        check__invalid(checker, NULL, "metadata.finalizers", finalizers,
                       "finalizer orphan and foregroundDeletion cannot be both set");
    json_each(finalizer, finalizers)
    {
        struct slice name = json_text(finalizer);

        if (memchr(name.len == 0 ? "" : (const char *)name.data, '/', name.len) == NULL &&
            !is_standard_finalizer(name))
            check__invalid(
                checker, NULL, check__print(checker->arena, "metadata.finalizers[%zu]", index),
                finalizer, "name is neither a standard finalizer name nor is it fully qualified");
        index++;
    }
}

#define FINALIZERS_SHOWN_MAX 100 /* the text is made longer piece by piece */

/* How Go prints the new ones: []string{"a", "b"}. */
static void check_no_new_finalizers(struct checker *checker, const struct json *had,
                                    const struct json *has)
{
    const char *list = "";
    struct check__set before;
    unsigned shown = 0;

    check__set_init_names(&before, checker->arena, had, NULL);
    json_each(finalizer, has)
    {
        if (!check__set_has(&before, json_text(finalizer)) && shown++ < FINALIZERS_SHOWN_MAX)
            list = check__print(checker->arena, "%s%s%s", list, list[0] == '\0' ? "" : ", ",
                                check__quote(checker->arena, json_text(finalizer)));
    }
    if (list[0] != '\0')
        kube_issues_add(&checker->issues, checker->arena, "Forbidden", "metadata.finalizers",
                        "Forbidden: no new finalizers can be added if the object is being deleted, "
                        "found new finalizers []string{%s}",
                        list);
}

static void check_immutable(struct checker *checker, const struct json *was,
                            const struct json *metadata)
{
    static const char *const fields[] = {"name", "namespace", "uid", "creationTimestamp"};
    static const struct check__place place = {.name = "metadata"};

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const struct json *before = json_get(was, fields[i]);
        const struct json *after = json_get(metadata, fields[i]);

        if (before != NULL && after != NULL && !json_same(before, after))
            check__invalid(checker, &place, fields[i], after, "field is immutable");
    }
}

static void check_common(struct checker *checker, const struct json *metadata)
{
    static const struct check__place labels = {.name = "metadata.labels"};

    check__labels(checker, &labels, json_get(metadata, "labels"));
    check_annotations(checker, json_get(metadata, "annotations"));
    check_owners(checker, json_get(metadata, "ownerReferences"));
}

void check__metadata(struct checker *checker)
{
    const struct json *metadata = json_get(checker->object, "metadata");
    const struct json *was = json_get(checker->old, "metadata");

    if (checker->old == NULL) {
        check_name(checker, metadata);
        check_namespace(checker, metadata);
        check_common(checker, metadata);
        check_finalizers(checker, json_get(metadata, "finalizers"));
        return;
    }
    if (json_text_at(was, "deletionTimestamp").len > 0)
        check_no_new_finalizers(checker, json_get(was, "finalizers"),
                                json_get(metadata, "finalizers"));
    check_immutable(checker, was, metadata);
    check_common(checker, metadata);
    if (!json_same(metadata, was))
        check_finalizers(checker, json_get(metadata, "finalizers"));
}
