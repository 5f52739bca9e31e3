#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "kube/check/selector_internal.h"

/* What a missing field compares as: Go's zero value. */
static const char *zero_of(const struct kube_struct *type, struct slice path)
{
    while (type != NULL && path.len > 0) {
        const uint8_t *dot = memchr(path.data, '.', path.len);
        size_t len = dot == NULL ? path.len : (size_t)(dot - path.data);
        const struct kube_field *field = kube_field_find(type, slice_of(path.data, len));

        if (field == NULL || field->shape != KUBE_ONE)
            return "";
        if (dot == NULL && field->kind == KUBE_BOOL)
            return "false";
        if (dot == NULL && (field->kind == KUBE_INT32 || field->kind == KUBE_INT64))
            return "0";
        if (dot == NULL || field->kind != KUBE_STRUCT)
            return "";
        type = kube_struct(field->type);
        path = slice_of(dot + 1, path.len - len - 1);
    }
    return "";
}

static bool among(const char *words, struct slice word)
{
    while (*words != '\0') {
        size_t len = strcspn(words, " ");

        if (len > 0 && slice_eq(slice_of(words, len), word))
            return true;
        words += len + (words[len] == ' ');
    }
    return false;
}

static bool is_selectable(const struct kube_resource *resource, struct slice path)
{
    return among("metadata.name metadata.namespace", path) ||
           (resource->selectable != NULL && among(resource->selectable, path));
}

struct field_parser {
    struct arena *arena;
    struct kube_status *status;
    const struct kube_resource *resource;
    struct slice text;
};

/* The text behind backslashes: \\, \, and \= stand for the second character. */
static int unescape(struct field_parser *p, struct slice text, struct slice *out)
{
    uint8_t *plain = arena_alloc(p->arena, text.len + 1);
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        size_t end = i + 2;

        if (c == ',' || c == '=')
            return kube_status_bad_request(
                p->status, p->arena, "invalid field selector: unescaped character in value: %d", c);
        if (c == '\\') {
            if (i + 1 < text.len && memchr("\\,=", text.data[i + 1], 3) != NULL) {
                plain[len++] = text.data[++i];
                continue;
            }
            while (end < text.len && (text.data[end] & 0xc0) == 0x80) /* the whole character */
                end++;
            return kube_status_bad_request(
                p->status, p->arena, "invalid field selector: invalid escape sequence: %.*s",
                (int)(MIN(end, text.len) - i), (const char *)text.data + i);
        }
        plain[len++] = c;
    }
    *out = slice_of(plain, len);
    return 0;
}

/* Splits term at the first operator. */
static bool split_term(struct slice term, struct slice *path, enum kube_operator *op,
                       struct slice *value)
{
    for (size_t i = 0; i < term.len; i++) {
        size_t end = i + 1;
        bool more = end < term.len && term.data[end] == '=';

        if (term.data[i] != '=' && !(term.data[i] == '!' && more))
            continue;
        end += more;
        *path = slice_of(term.data, i);
        *op = term.data[i] == '!' ? KUBE_NOT_IN : KUBE_IN;
        *value = slice_of(term.data + end, term.len - end);
        return true;
    }
    return false;
}

static int parse_term(struct field_parser *p, struct slice term, struct kube_requirement *out)
{
    struct slice raw;

    if (!split_term(term, &out->key, &out->op, &raw))
        return kube_status_bad_request(
            p->status, p->arena, "invalid selector: '%.*s'; can't understand '%.*s'",
            (int)p->text.len, (const char *)p->text.data, (int)term.len, (const char *)term.data);
    out->values = arena_alloc(p->arena, sizeof(out->values[0]));
    out->value_count = 1;
    return unescape(p, raw, &out->values[0]);
}

static int check_path(struct field_parser *p, struct kube_requirement *out)
{
    if (!is_selectable(p->resource, out->key))
        return kube_status_bad_request(p->status, p->arena,
                                       "\"%.*s\" is not a known field selector: only "
                                       "\"metadata.name\", \"metadata.namespace\"",
                                       (int)out->key.len, (const char *)out->key.data);
    out->missing = slice_str(zero_of(p->resource->type, out->key));
    return 0;
}

/* Terms between commas that no backslash precedes. */
static size_t split_terms(struct slice text, struct slice *terms)
{
    size_t count = 0, began = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\\') {
            i++;
        } else if (text.data[i] == ',') {
            terms[count++] = slice_of(text.data + began, i - began);
            began = i + 1;
        }
    }
    terms[count++] = slice_of(text.data + began, text.len - began);
    return count;
}

int kube_field_selector_parse(struct arena *arena, const struct kube_resource *resource,
                              struct slice text, struct kube_selector *out,
                              struct kube_status *status)
{
    struct field_parser p = {.arena = arena, .status = status, .resource = resource, .text = text};
    struct kube_requirement **end = &out->fields, **first;
    struct slice *terms;
    size_t count = 1;

    *status = (struct kube_status){0};
    while (*end != NULL)
        end = &(*end)->next;
    first = end;
    for (size_t i = 0; i < text.len; i++)
        count += text.data[i] == ',';
    terms = arena_alloc(arena, count * sizeof(terms[0]));
    count = split_terms(text, terms);
    qsort(terms, count, sizeof(terms[0]), selector__compare); /* which one is complained of first */
    for (size_t i = 0; i < count; i++) {
        int rc;

        if (terms[i].len == 0)
            continue;
        *end = arena_calloc(arena, sizeof(**end));
        rc = parse_term(&p, terms[i], *end);
        if (rc != 0)
            return rc;
        end = &(*end)->next;
    }
    /* Paths are looked at when all terms are read. */
    for (struct kube_requirement *r = *first; r != NULL; r = r->next) {
        int rc = check_path(&p, r);

        if (rc != 0)
            return rc;
    }
    return 0;
}
