#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/check/normal_internal.h"

/* Only schemas of custom resources can nest at all; the stack of a thread is what limits it. */
#define STRUCT_DEPTH_MAX 2000

static int value_of(struct normal__work *n, const struct kube_field *field, const struct json *in,
                    const struct normal__place *place, struct json **out);
static int struct_of(struct normal__work *n, const struct kube_struct *type, const struct json *in,
                     const struct normal__place *place, struct json **out);

/* ---- scalars ---- */

static struct json *leaf(struct normal__work *n, enum json_type type, struct slice text)
{
    struct json *value = json_new(n->arena, type);

    value->text = (const char *)text.data;
    value->len = text.len;
    return value;
}

static struct json *share_leaf(struct normal__work *n, const struct json *in)
{
    struct json *value = arena_alloc(n->arena, sizeof(*value));

    *value = *in;
    value->next = NULL;
    value->key = NULL;
    value->key_len = 0;
    return value;
}

static bool in_range(const struct json *in, bool is_int32, int64_t *out)
{
    return json_int(in, out) && (!is_int32 || (*out >= INT32_MIN && *out <= INT32_MAX));
}

static int int_of(struct normal__work *n, const struct kube_field *field, const struct json *in,
                  const struct normal__place *place, struct json **out)
{
    int64_t value;

    if (in->type != JSON_NUMBER)
        return normal__wrong_type(n, place, in, normal__scalar_type(field));
    if (!in_range(in, field->kind == KUBE_INT32, &value))
        return normal__type_error(n, place,
                                  check__print(n->arena, "number %.*s", (int)in->len, in->text),
                                  normal__scalar_type(field));
    *out = value == 0 ? json_new_int(n->arena, 0) : share_leaf(n, in);
    return 0;
}

static int int_or_string_of(struct normal__work *n, const struct json *in, struct json **out)
{
    int64_t value;

    if (in->type == JSON_STRING) {
        *out = share_leaf(n, in);
        return 0;
    }
    if (in->type != JSON_NUMBER)
        return normal__own_type_error(n, normal__json_type(in), "int32");
    if (!in_range(in, true, &value))
        return normal__own_type_error(
            n, check__print(n->arena, "number %.*s", (int)in->len, in->text), "int32");
    *out = value == 0 ? json_new_int(n->arena, 0) : share_leaf(n, in);
    return 0;
}

/* The shortest digits that give the same double, in Go's choice of notation. */
static struct json *double_value(struct normal__work *n, double value)
{
    char digits[40], text[64];
    int exponent;

    for (int precision = 0; precision < 17; precision++) {
        (void)snprintf(digits, sizeof(digits), "%.*e", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    exponent = atoi(strchr(digits, 'e') + 1);
    if (value == 0) {
        (void)snprintf(text, sizeof(text), "0");
    } else if (exponent >= -6 && exponent < 21) {
        int decimals = (int)(strchr(digits, 'e') - digits) - (digits[0] == '-') - 2;

        decimals = (decimals < 0 ? 0 : decimals) - exponent;
        (void)snprintf(text, sizeof(text), "%.*f", decimals < 0 ? 0 : decimals, value);
    } else {
        *strchr(digits, 'e') = '\0';
        (void)snprintf(text, sizeof(text), "%se%s%02d", digits, exponent < 0 ? "-" : "+",
                       abs(exponent));
        /* Go drops the zero of e-07. */
        if (exponent < 0 && exponent > -10)
            (void)snprintf(text, sizeof(text), "%se-%d", digits, -exponent);
    }
    return leaf(n, JSON_NUMBER, arena_copy(n->arena, slice_str(text)));
}

static int double_of(struct normal__work *n, const struct json *in,
                     const struct normal__place *place, struct json **out)
{
    char *text;
    double value;

    if (in->type != JSON_NUMBER)
        return normal__wrong_type(n, place, in, "float64");
    text = arena_alloc(n->arena, in->len + 1);
    memcpy(text, in->text, in->len);
    text[in->len] = '\0';
    errno = 0;
    value = strtod(text, NULL);
    if (value - value != 0)
        return normal__type_error(n, place, check__print(n->arena, "number %s", text), "float64");
    *out = double_value(n, value);
    return 0;
}

static int bytes_of(struct normal__work *n, const struct json *in,
                    const struct normal__place *place, struct json **out)
{
    struct slice text;
    const char *why;

    if (in->type != JSON_STRING)
        return normal__wrong_type(n, place, in, "[]uint8");
    why = check__base64(n->arena, json_text(in), &text);
    if (why != NULL)
        return normal__own_error(n, why);
    *out = leaf(n, JSON_STRING, text);
    return 0;
}

/* *out stays NULL for the zero time, which Go writes as null. */
static int time_of(struct normal__work *n, bool micro, const struct json *in, struct json **out)
{
    struct slice text;
    const char *why;

    if (in->type != JSON_STRING)
        return normal__own_type_error(n, normal__json_type(in), "string");
    why = check__time(n->arena, json_text(in), micro, &text);
    if (why != NULL)
        return normal__own_error(n, why);
    if (text.len >= 19 && memcmp(text.data, "0001-01-01T00:00:00", 19) == 0 &&
        (!micro || memcmp(text.data + 19, ".000000", 7) == 0))
        *out = NULL;
    else
        *out = leaf(n, JSON_STRING, text);
    return 0;
}

static int duration_of(struct normal__work *n, const struct json *in, struct json **out)
{
    struct slice text;
    const char *why;

    if (in->type != JSON_STRING)
        return normal__own_type_error(n, normal__json_type(in), "string");
    why = check__duration(n->arena, json_text(in), &text);
    if (why != NULL)
        return normal__own_error(n, why);
    *out = leaf(n, JSON_STRING, text);
    return 0;
}

/* Numbers are taken as well as strings. */
static int quantity_of(struct normal__work *n, const struct json *in, struct json **out)
{
    struct slice text = json_text(in);
    const char *why = check__quantity(n->arena, text, &text);

    if (why != NULL)
        return normal__own_error(n, why);
    *out = leaf(n, JSON_STRING, text);
    return 0;
}

/* ---- what is there when nothing was said ---- */

static struct json *zero_struct(struct normal__work *n, const struct kube_struct *type);

/* The zero value of one item of the field, written. */
static struct json *zero_item(struct normal__work *n, const struct kube_field *field)
{
    switch ((enum kube_kind)field->kind) {
    case KUBE_STRING:
        return json_new_cstring(n->arena, "");
    case KUBE_BOOL:
        return json_new_bool(n->arena, false);
    case KUBE_INT32:
    case KUBE_INT64:
    case KUBE_DOUBLE:
    case KUBE_INT_OR_STRING:
        return json_new_int(n->arena, 0);
    case KUBE_DURATION:
        return json_new_cstring(n->arena, "0s");
    case KUBE_QUANTITY:
        return json_new_cstring(n->arena, "0");
    case KUBE_STRUCT:
        return zero_struct(n, kube_struct(field->type));
    case KUBE_BYTES:
    case KUBE_TIME:
    case KUBE_MICROTIME:
    case KUBE_RAW:
    case KUBE_FIELDS_V1:
        break;
    }
    return json_new(n->arena, JSON_NULL);
}

/* Since 1.34 upstream leaves this one time out instead of writing null. */
static bool is_omitzero(const struct kube_field *field)
{
    return field->kind == KUBE_TIME && field->name_len == 17 &&
           memcmp(field->name, "creationTimestamp", 17) == 0;
}

/* True if Go's omitempty has an effect: not on structs and what is one in Go. */
static bool omits_empty(const struct kube_field *field)
{
    if ((field->flags & KUBE_OMITEMPTY) == 0)
        return false;
    if (field->shape != KUBE_ONE || (field->flags & KUBE_POINTER) != 0)
        return true;
    switch ((enum kube_kind)field->kind) {
    case KUBE_STRING:
    case KUBE_BOOL:
    case KUBE_INT32:
    case KUBE_INT64:
    case KUBE_DOUBLE:
    case KUBE_BYTES:
        return true;
    default:
        return is_omitzero(field);
    }
}

/* What an absent or null field is written as; NULL: nothing. */
static struct json *absent(struct normal__work *n, const struct kube_field *field)
{
    if (omits_empty(field))
        return NULL;
    if (field->shape != KUBE_ONE || (field->flags & KUBE_POINTER) != 0)
        return json_new(n->arena, JSON_NULL);
    return zero_item(n, field);
}

static struct json *zero_struct(struct normal__work *n, const struct kube_struct *type)
{
    struct json *object = json_new(n->arena, JSON_OBJECT);

    for (size_t i = 0; i < type->field_count; i++) {
        const struct kube_field *field = &type->fields[i];
        struct json *value = absent(n, field);

        if (value != NULL)
            json_add(object, slice_of(field->name, field->name_len), value);
    }
    return object;
}

static bool is_empty(const struct json *value)
{
    switch (value->type) {
    case JSON_NULL:
        return true;
    case JSON_BOOL:
        return !value->boolean;
    case JSON_NUMBER:
        return value->len == 1 && value->text[0] == '0';
    case JSON_STRING:
        return value->len == 0;
    case JSON_ARRAY:
    case JSON_OBJECT:
        return value->count == 0;
    }
    return false;
}

/* ---- values with structure ---- */

/* Any JSON, as it is. Members that are null go if drop_nulls. */
static struct json *raw_of(struct normal__work *n, const struct json *in, bool drop_nulls)
{
    struct json *out;

    if (in->type != JSON_ARRAY && in->type != JSON_OBJECT)
        return share_leaf(n, in);
    out = json_new(n->arena, in->type);
    json_each(child, in)
    {
        if (in->type == JSON_ARRAY)
            json_append(out, raw_of(n, child, drop_nulls));
        else if (!drop_nulls || child->type != JSON_NULL)
            json_add(out, json_key(child), raw_of(n, child, drop_nulls));
    }
    return out;
}

/* One item of a field's kind, not null. */
static int item_of(struct normal__work *n, const struct kube_field *field, const struct json *in,
                   const struct normal__place *place, struct json **out)
{
    switch ((enum kube_kind)field->kind) {
    case KUBE_STRING:
        if (in->type != JSON_STRING)
            return normal__wrong_type(n, place, in, "string");
        *out = share_leaf(n, in);
        return 0;
    case KUBE_BOOL:
        if (in->type != JSON_BOOL)
            return normal__wrong_type(n, place, in, "bool");
        *out = share_leaf(n, in);
        return 0;
    case KUBE_INT32:
    case KUBE_INT64:
        return int_of(n, field, in, place, out);
    case KUBE_DOUBLE:
        return double_of(n, in, place, out);
    case KUBE_BYTES:
        return bytes_of(n, in, place, out);
    case KUBE_TIME:
    case KUBE_MICROTIME:
        return time_of(n, field->kind == KUBE_MICROTIME, in, out);
    case KUBE_DURATION:
        return duration_of(n, in, out);
    case KUBE_QUANTITY:
        return quantity_of(n, in, out);
    case KUBE_INT_OR_STRING:
        return int_or_string_of(n, in, out);
    case KUBE_RAW:
    case KUBE_FIELDS_V1:
        *out = raw_of(n, in, false);
        return 0;
    case KUBE_STRUCT:
        return struct_of(n, kube_struct(field->type), in, place, out);
    }
    return normal__own_error(n, "a field of a kind that is not known here");
}

static int item_or_zero(struct normal__work *n, const struct kube_field *field,
                        const struct json *in, const struct normal__place *place, struct json **out)
{
    int rc = 0;

    *out = NULL;
    if (in->type != JSON_NULL)
        rc = item_of(n, field, in, place, out);
    if (rc == 0 && *out == NULL)
        *out = zero_item(n, field);
    return rc;
}

static int list_of(struct normal__work *n, const struct kube_field *field, const struct json *in,
                   const struct normal__place *parent, struct json **out)
{
    struct normal__place place = {.parent = parent};

    if (in->type != JSON_ARRAY)
        return normal__wrong_type(n, parent, in, normal__type(n, field));
    *out = json_new(n->arena, JSON_ARRAY);
    json_each(child, in)
    {
        struct json *item;
        int rc = item_or_zero(n, field, child, &place, &item);

        if (rc != 0)
            return rc;
        json_append(*out, item);
        place.index++;
    }
    return 0;
}

static int by_key(const void *a, const void *b)
{
    const struct json *x = *(struct json *const *)a, *y = *(struct json *const *)b;

    return slice_cmp(json_key(x), json_key(y));
}

/* Go writes maps sorted by key. */
static void sort_members(struct arena *arena, struct json *object)
{
    struct json **members, *last = NULL;
    bool sorted = true;
    size_t count = 0;

    json_each(member, object)
    {
        sorted = sorted && (last == NULL || by_key(&last, &member) < 0);
        last = member;
    }
    if (sorted)
        return;
    members = arena_alloc(arena, object->count * sizeof(members[0]));
    json_each(member, object) members[count++] = member;
    qsort(members, count, sizeof(members[0]), by_key);
    object->first = members[0];
    for (size_t i = 0; i < count; i++)
        members[i]->next = i + 1 < count ? members[i + 1] : NULL;
    object->last = members[count - 1];
}

/* The values of some maps are lists (UserInfo.extra). */
static int map_value_of(struct normal__work *n, const struct kube_field *field,
                        const struct json *in, const struct normal__place *place, struct json **out)
{
    if ((field->flags & KUBE_LIST_ITEMS) == 0)
        return item_or_zero(n, field, in, place, out);
    if (in->type == JSON_NULL) {
        *out = json_new(n->arena, JSON_NULL);
        return 0;
    }
    if (in->type != JSON_ARRAY)
        return normal__wrong_type(n, place, in, "[]string");
    return list_of(n, field, in, place, out);
}

static int map_of(struct normal__work *n, const struct kube_field *field, const struct json *in,
                  const struct normal__place *parent, struct json **out)
{
    struct normal__place place = {.parent = parent};

    if (in->type != JSON_OBJECT)
        return normal__wrong_type(n, parent, in, normal__type(n, field));
    *out = json_new(n->arena, JSON_OBJECT);
    json_each(child, in)
    {
        struct json *value;
        int rc;

        place.name = child->key_len == 0 ? slice_str("") : json_key(child);
        rc = map_value_of(n, field, child, &place, &value);
        if (rc != 0)
            return rc;
        json_add(*out, place.name, value);
    }
    sort_members(n->arena, *out);
    return 0;
}

/* What a field that was given is written as; *out NULL: it is left out. */
static int value_of(struct normal__work *n, const struct kube_field *field, const struct json *in,
                    const struct normal__place *place, struct json **out)
{
    int rc;

    *out = NULL;
    if (in->type == JSON_NULL) {
        *out = absent(n, field);
        return 0;
    }
    if (field->shape == KUBE_LIST)
        rc = list_of(n, field, in, place, out);
    else if (field->shape == KUBE_MAP)
        rc = map_of(n, field, in, place, out);
    else
        rc = item_of(n, field, in, place, out);
    if (rc != 0)
        return rc;
    if (*out == NULL && !is_omitzero(field)) /* the zero time */
        *out = json_new(n->arena, JSON_NULL);
    else if (*out != NULL && is_empty(*out) && omits_empty(field) &&
             (field->shape != KUBE_ONE || (field->flags & KUBE_POINTER) == 0))
        *out = NULL;
    return 0;
}

static void link_fields(struct normal__work *n, const struct kube_struct *type,
                        struct json **values, const bool *given, struct json *object)
{
    for (size_t i = 0; i < type->field_count; i++) {
        const struct kube_field *field = &type->fields[i];
        struct json *value = given[i] ? values[i] : absent(n, field);

        if (value != NULL)
            json_add(object, slice_of(field->name, field->name_len), value);
    }
}

static int struct_of(struct normal__work *n, const struct kube_struct *type, const struct json *in,
                     const struct normal__place *parent, struct json **out)
{
    struct normal__place place = {.parent = parent, .type = type};
    struct json **values;
    bool *given;

    if (in->type != JSON_OBJECT)
        return normal__wrong_type(
            n, parent, in, check__print(n->arena, "%s.%s", normal__package(type), type->name));
    if (n->depth >= STRUCT_DEPTH_MAX)
        return normal__own_error(n, "exceeded max depth");
    n->depth++;
    values = arena_calloc(n->arena, type->field_count * (sizeof(values[0]) + sizeof(given[0])));
    given = (bool *)(values + type->field_count);
    json_each(member, in)
    {
        const struct kube_field *field;
        int rc;

        place.name = json_key(member);
        field = kube_field_find(type, place.name);
        if (field == NULL) {
            normal__unknown(n, parent, place.name);
            continue;
        }
        given[field - type->fields] = true;
        rc = value_of(n, field, member, &place, &values[field - type->fields]);
        if (rc != 0)
            return rc;
    }
    n->depth--;
    *out = json_new(n->arena, JSON_OBJECT);
    link_fields(n, type, values, given, *out);
    return 0;
}

/* ---- whole objects ---- */

static int metadata_of(struct normal__work *n, const struct json *in, struct json **out)
{
    static const struct kube_struct object = {.name = "Object", .package = "meta/v1"};
    const struct kube_struct *type = kube_struct_find("meta/v1", "ObjectMeta");
    struct normal__place place = {.type = &object, .name = slice_str("metadata")};

    if (in == NULL || in->type == JSON_NULL) {
        *out = zero_struct(n, type);
        return 0;
    }
    return struct_of(n, type, in, &place, out);
}

static void add_raw(struct normal__work *n, const struct json *in, const char *key,
                    struct json *out)
{
    const struct json *value = json_get(in, key);

    if (value != NULL && value->type != JSON_NULL)
        json_add(out, slice_str(key), raw_of(n, value, true));
}

static bool is_one_of(const struct json *member, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(json_key(member), slice_str(keys[i])))
            return true;
    }
    return false;
}

/* A resource without a field table: metadata as everywhere, then what the client sent, less nulls.
 */
static int opaque_of(struct normal__work *n, const struct json *in, struct json **out)
{
    static const char *const placed[] = {"kind", "apiVersion", "metadata", "spec", "status"};
    struct json *object = json_new(n->arena, JSON_OBJECT), *metadata;
    int rc;

    if (in->type != JSON_OBJECT)
        return normal__own_type_error(n, normal__json_type(in), "map[string]interface {}");
    rc = metadata_of(n, json_get(in, "metadata"), &metadata);
    if (rc != 0)
        return rc;
    json_add(object, slice_str("metadata"), metadata);
    add_raw(n, in, "spec", object);
    json_each(member, in)
    {
        if (member->type != JSON_NULL && !is_one_of(member, placed, ARRAY_LEN(placed)))
            json_add(object, json_key(member), raw_of(n, member, true));
    }
    add_raw(n, in, "status", object);
    *out = object;
    return 0;
}

static void set_type(struct arena *arena, const struct kube_resource *resource, struct json *object)
{
    char version[128];
    struct slice text = slice_str(kube_api_version(resource, version));

    (void)json_set_first(object, "apiVersion", json_new_string(arena, arena_copy(arena, text)));
    (void)json_remove(object, "kind");
    (void)json_set_first(object, "kind", json_new_cstring(arena, resource->kind));
}

int kube_normalise(struct arena *arena, const struct kube_resource *resource, const struct json *in,
                   struct kube_complaints *complaints, struct json **out,
                   struct kube_status *status)
{
    struct normal__work n = {.arena = arena, .complaints = complaints};
    struct json *object = NULL;
    int rc;

    if (resource->type != NULL && (resource->flags & KUBE_OPAQUE) == 0)
        rc = struct_of(&n, resource->type, in, NULL, &object);
    else
        rc = opaque_of(&n, in, &object);
    if (rc != 0)
        return kube_status_bad_request(status, arena,
                                       "%s in version \"%s\" cannot be handled as a %s: %s",
                                       resource->kind, resource->version, resource->kind, n.error);
    set_type(arena, resource, object);
    *out = object;
    return 0;
}

int kube_normalise_struct(struct arena *arena, const struct kube_struct *type, const char *name,
                          const struct json *in, struct kube_complaints *complaints,
                          struct json **out, struct kube_status *status)
{
    struct normal__work n = {.arena = arena, .complaints = complaints};
    struct json *object = NULL;

    if (struct_of(&n, type, in, NULL, &object) != 0)
        return kube_status_bad_request(status, arena,
                                       "%s in version \"%s\" cannot be handled as a %s: %s", name,
                                       normal__package(type), name, n.error);
    *out = object;
    return 0;
}
