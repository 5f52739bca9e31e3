#include "kube/check/selector.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kube/check/selector_internal.h"

bool selector__int64(struct slice text, int64_t *out)
{
    char digits[32];
    char *end;

    if (text.len == 0 || text.len >= sizeof(digits) || isspace(text.data[0]))
        return false;
    memcpy(digits, text.data, text.len);
    digits[text.len] = '\0';
    errno = 0;
    *out = strtoll(digits, &end, 10);
    return errno == 0 && end == digits + text.len;
}

int selector__compare(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

/* ---- matching ---- */

static bool has_value(const struct kube_requirement *requirement, struct slice value)
{
    if (requirement->value_count == 1)
        return slice_eq(requirement->values[0], value);
    return bsearch(&value, requirement->values, requirement->value_count,
                   sizeof(requirement->values[0]), selector__compare) != NULL;
}

static bool label_matches(const struct kube_requirement *requirement, struct slice value)
{
    bool exists = value.data != NULL;
    int64_t number;

    switch (requirement->op) {
    case KUBE_EXISTS:
        return exists;
    case KUBE_NOT_EXISTS:
        return !exists;
    case KUBE_IN:
        return exists && has_value(requirement, value);
    case KUBE_NOT_IN:
        return !exists || !has_value(requirement, value);
    case KUBE_GREATER:
        return exists && selector__int64(value, &number) && number > requirement->number;
    case KUBE_LESS:
        return exists && selector__int64(value, &number) && number < requirement->number;
    }
    return false;
}

static bool field_matches(const struct kube_requirement *requirement, struct slice value)
{
    if (value.data == NULL)
        value = requirement->missing;
    return slice_eq(value, requirement->values[0]) == (requirement->op == KUBE_IN);
}

bool kube_selector_matches(const struct kube_selector *selector, const struct kube_selected *how,
                           const void *object)
{
    for (const struct kube_requirement *r = selector->fields; r != NULL; r = r->next) {
        if (!field_matches(r, how->field(object, r->key)))
            return false;
    }
    for (const struct kube_requirement *r = selector->labels; r != NULL; r = r->next) {
        if (!label_matches(r, how->label(object, r->key)))
            return false;
    }
    return true;
}

bool kube_selector_empty(const struct kube_selector *selector)
{
    return selector->labels == NULL && selector->fields == NULL;
}

struct slice kube_selector_pins(const struct kube_selector *selector, const char *path)
{
    for (const struct kube_requirement *r = selector->fields; r != NULL; r = r->next) {
        if (r->op == KUBE_IN && slice_eq(r->key, slice_str(path)))
            return r->values[0];
    }
    return slice_of(NULL, 0);
}

/* ---- how a tree is read ---- */

static struct slice text_of(const struct json *value)
{
    if (json_is(value, JSON_BOOL))
        return slice_str(value->boolean ? "true" : "false");
    return json_text(value);
}

static struct slice label_of_json(const void *object, struct slice key)
{
    return text_of(json_get_slice(json_at(object, "metadata.labels"), key));
}

static struct slice field_of_json(const void *object, struct slice path)
{
    const struct json *value = object;

    while (value != NULL && path.len > 0) {
        const uint8_t *dot = memchr(path.data, '.', path.len);
        size_t len = dot == NULL ? path.len : (size_t)(dot - path.data);

        value = json_get_slice(value, slice_of(path.data, len));
        len += dot != NULL;
        path = slice_of(path.data + len, path.len - len);
    }
    if (json_is(value, JSON_OBJECT)) /* `source` of events stands for its component */
        value = json_get(value, "component");
    return text_of(value);
}

const struct kube_selected kube_selected_json = {.label = label_of_json, .field = field_of_json};
