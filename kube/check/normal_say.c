/* Complaints and errors of the normal form, in the words of Go's decoder. */
#include <string.h>

#include "kube/check/normal_internal.h"

/* ---- complaints ---- */

#define COMPLAINTS_MAX 100      /* as in Go's strict decoder */
#define COMPLAINT_PATH_MAX 8192 /* a longer one is cut */

static void print_place(struct buf *buf, const struct normal__place *place)
{
    if (place == NULL)
        return;
    print_place(buf, place->parent);
    if (place->name.data == NULL) {
        (void)buf_printf(buf, "[%zu]", place->index);
        return;
    }
    if (buf->len > 0)
        (void)buf_append_u8(buf, '.');
    (void)buf_append(buf, place->name.data, place->name.len);
}

static void complain(struct arena *arena, struct kube_complaints *complaints, const char *text)
{
    if (complaints->count >= COMPLAINTS_MAX)
        return;
    for (size_t i = 0; i < complaints->count; i++) {
        if (strcmp(complaints->texts[i], text) == 0)
            return;
    }
    /* Grown at 0 and at each power of two. */
    if ((complaints->count & (complaints->count - 1)) == 0) {
        size_t room = complaints->count == 0 ? 1 : complaints->count * 2;
        const char **texts = arena_alloc(arena, room * sizeof(texts[0]));

        if (complaints->count > 0)
            memcpy(texts, complaints->texts, complaints->count * sizeof(texts[0]));
        complaints->texts = texts;
    }
    complaints->texts[complaints->count++] = text;
}

void normal__unknown(struct normal__work *n, const struct normal__place *parent, struct slice name)
{
    struct normal__place place = {.parent = parent, .name = name};
    struct buf path;

    if (n->complaints == NULL || n->complaints->count >= COMPLAINTS_MAX)
        return;
    if (name.data == NULL) /* the key "" */
        place.name = slice_str("");
    buf_init(&path, COMPLAINT_PATH_MAX);
    print_place(&path, &place);
    complain(n->arena, n->complaints,
             check__print(n->arena, "unknown field \"%.*s\"", (int)path.len,
                          path.data == NULL ? "" : (const char *)path.data));
    buf_release(&path);
}

void kube_complain_of_duplicates(struct arena *arena, const struct json_duplicate *duplicates,
                                 struct kube_complaints *complaints)
{
    for (; duplicates != NULL; duplicates = duplicates->next)
        complain(arena, complaints,
                 check__print(arena, "duplicate field \"%.*s\"", TEXT(duplicates->path)));
}

/* ---- errors ---- */

/* The names of the fields on the way, without indices and map keys: Go's FieldStack. */
static void print_fields(struct buf *buf, const struct normal__place *place)
{
    if (place == NULL)
        return;
    print_fields(buf, place->parent);
    if (place->type == NULL)
        return;
    if (buf->len > 0)
        (void)buf_append_u8(buf, '.');
    (void)buf_append(buf, place->name.data, place->name.len);
}

const char *normal__package(const struct kube_struct *type)
{
    const char *slash = strrchr(type->package, '/');

    return slash == NULL ? type->package : slash + 1;
}

const char *normal__scalar_type(const struct kube_field *field)
{
    switch ((enum kube_kind)field->kind) {
    case KUBE_BOOL:
        return "bool";
    case KUBE_INT32:
        return "int32";
    case KUBE_INT64:
        return "int64";
    case KUBE_DOUBLE:
        return "float64";
    case KUBE_BYTES:
        return "[]uint8";
    case KUBE_QUANTITY:
        return "resource.Quantity";
    case KUBE_INT_OR_STRING:
        return "intstr.IntOrString";
    case KUBE_TIME:
        return "v1.Time";
    case KUBE_MICROTIME:
        return "v1.MicroTime";
    default:
        return "string";
    }
}

const char *normal__type(struct normal__work *n, const struct kube_field *field)
{
    const char *one = normal__scalar_type(field);

    if (field->kind == KUBE_STRUCT) {
        const struct kube_struct *type = kube_struct(field->type);

        one = check__print(n->arena, "%s.%s", normal__package(type), type->name);
    }
    if (field->shape == KUBE_LIST)
        return check__print(n->arena, "[]%s", one);
    if (field->shape == KUBE_MAP && field->kind == KUBE_QUANTITY)
        return "v1.ResourceList";
    if (field->shape == KUBE_MAP)
        return check__print(n->arena, "map[string]%s", one);
    return one;
}

const char *normal__json_type(const struct json *value)
{
    static const char *const names[] = {"null", "bool", "number", "string", "array", "object"};

    return names[value->type];
}

int normal__type_error(struct normal__work *n, const struct normal__place *place, const char *what,
                       const char *type)
{
    const struct normal__place *field = place;
    struct buf path;

    while (field != NULL && field->type == NULL)
        field = field->parent;
    if (field == NULL) {
        n->error = check__print(n->arena, "json: cannot unmarshal %s into Go value of type %s",
                                what, type);
        return KV_EINVAL;
    }
    buf_init(&path, COMPLAINT_PATH_MAX);
    print_fields(&path, place);
    n->error =
        check__print(n->arena, "json: cannot unmarshal %s into Go struct field %s.%.*s of type %s",
                     what, field->type->name, (int)path.len, (const char *)path.data, type);
    buf_release(&path);
    return KV_EINVAL;
}

int normal__wrong_type(struct normal__work *n, const struct normal__place *place,
                       const struct json *in, const char *type)
{
    return normal__type_error(n, place, normal__json_type(in), type);
}

int normal__own_error(struct normal__work *n, const char *text)
{
    n->error = text;
    return KV_EINVAL;
}

int normal__own_type_error(struct normal__work *n, const char *what, const char *type)
{
    return normal__own_error(
        n,
        check__print(n->arena, "json: cannot unmarshal %s into Go value of type %s", what, type));
}
