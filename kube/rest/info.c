#include "kube/rest/info.h"
#include "base/util.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* ---- queries ---- */

static int hex(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* False: badly escaped. */
static bool decode(struct arena *arena, struct slice text, struct slice *out)
{
    uint8_t *to = arena_alloc(arena, text.len + 1);
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];

        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            if (i + 2 >= text.len || hex(text.data[i + 1]) < 0 || hex(text.data[i + 2]) < 0)
                return false;
            c = (uint8_t)(hex(text.data[i + 1]) << 4 | hex(text.data[i + 2]));
            i += 2;
        }
        to[len++] = c;
    }
    to[len] = '\0';
    *out = slice_of(to, len);
    return true;
}

static size_t parts(const char *text)
{
    size_t count = 1;

    for (; *text != '\0'; text++)
        count += *text == '&';
    return count;
}

void rest_query_parse(struct arena *arena, const char *text, struct rest_query *out)
{
    out->params = NULL;
    out->count = 0;
    if (text[0] == '\0')
        return;
    out->params = arena_alloc(arena, MIN(parts(text), REST_PARAMS_MAX) * sizeof *out->params);
    while (*text != '\0' && out->count < REST_PARAMS_MAX) {
        size_t len = strcspn(text, "&");
        const char *equals = memchr(text, '=', len);
        size_t key_len = equals != NULL ? (size_t)(equals - text) : len;
        struct slice value =
            equals != NULL ? slice_of(equals + 1, len - key_len - 1) : slice_of(text, 0);
        struct rest_param *param = &out->params[out->count];

        if (len > 0 && decode(arena, slice_of(text, key_len), &param->key) &&
            decode(arena, value, &param->value))
            out->count++;
        text += len + (text[len] == '&');
    }
}

struct slice rest_query_get(const struct rest_query *query, const char *key)
{
    for (size_t i = 0; i < query->count; i++)
        if (slice_eq(query->params[i].key, slice_str(key)))
            return query->params[i].value;
    return slice_of(NULL, 0);
}

bool rest_query_bool(const struct rest_query *query, const char *key)
{
    struct slice value = rest_query_get(query, key);

    return value.data != NULL && !slice_eq(value, slice_str("0")) &&
           strcasecmp((const char *)value.data, "false") != 0;
}

/* ---- paths ---- */

struct cursor {
    const char *at;
};

/* The next part of a path; len 0: there is none. */
static struct slice next_part(struct cursor *cursor)
{
    const char *start = cursor->at;
    size_t len = strcspn(start, "/");

    cursor->at += len + (start[len] == '/');
    return slice_of(start, len);
}

static struct slice peek_part(const struct cursor *cursor)
{
    struct cursor copy = *cursor;

    return next_part(&copy);
}

static void parse_resource(struct cursor *cursor, struct rest_info *out)
{
    struct slice part = next_part(cursor);

    /* /namespaces/NS/RESOURCE...; but /namespaces/NAME and its subresources are the namespace. */
    if (slice_eq(part, slice_str("namespaces"))) {
        struct slice ns = next_part(cursor);
        struct slice after = peek_part(cursor);

        out->plural = part;
        if (ns.len == 0)
            return;
        if (after.len == 0 || (out->group.len == 0 && (slice_eq(after, slice_str("status")) ||
                                                       slice_eq(after, slice_str("finalize"))))) {
            out->name = ns;
            out->ns = ns; /* as upstream's RequestInfo: rights on a namespace can be given in it */
            out->subresource = next_part(cursor);
            out->too_long = peek_part(cursor).len > 0;
            return;
        }
        out->ns = ns;
        part = next_part(cursor);
    }
    out->plural = part;
    out->name = next_part(cursor);
    out->subresource = next_part(cursor);
    out->too_long = cursor->at[0] != '\0';
}

static enum rest_verb verb_of(const char *method, bool has_name)
{
    if (strcmp(method, "POST") == 0)
        return REST_CREATE;
    if (strcmp(method, "GET") == 0) /* HEAD is not allowed, as upstream */
        return has_name ? REST_GET : REST_LIST;
    if (strcmp(method, "PUT") == 0)
        return REST_UPDATE;
    if (strcmp(method, "PATCH") == 0)
        return REST_PATCH;
    if (strcmp(method, "DELETE") == 0)
        return has_name ? REST_DELETE : REST_DELETECOLLECTION;
    return REST_OTHER;
}

static const char *lower(struct arena *arena, const char *text)
{
    size_t len = strlen(text);
    char *out = arena_alloc(arena, len + 1);

    for (size_t i = 0; i <= len; i++)
        out[i] = (char)tolower((unsigned char)text[i]);
    return out;
}

/* `metadata.name=x` as the whole selector, or one of its terms: then a watch of one name. */
static struct slice pinned_name(const struct rest_query *query)
{
    static const char key[] = "metadata.name=";
    struct slice text = rest_query_get(query, "fieldSelector");

    if (text.len > sizeof key - 1 && memcmp(text.data, key, sizeof key - 1) == 0 &&
        memchr(text.data, ',', text.len) == NULL)
        return slice_of(text.data + sizeof key - 1, text.len - (sizeof key - 1));
    return slice_of(NULL, 0);
}

static void find(struct rest_info *out)
{
    out->resource = kube_resource_find(out->group, out->version, out->plural);
    if (out->resource != NULL && (out->resource->flags & KUBE_NAMESPACED) == 0 &&
        !slice_eq(out->plural, slice_str("namespaces")) && out->ns.len > 0)
        out->resource = NULL; /* a cluster's resource below a namespace is none */
    if (out->resource != NULL && out->subresource.len > 0)
        out->sub = kube_subresource_find(out->resource, out->subresource);
}

void rest_info_parse(struct arena *arena, const char *method, const char *path,
                     const struct rest_query *query, struct rest_info *out)
{
    static const char *const names[] = {"create", "delete", "deletecollection", "get",
                                        "list",   "patch",  "update",           "watch"};
    struct cursor cursor = {path + (path[0] == '/')};
    struct slice root = next_part(&cursor);
    bool is_core = slice_eq(root, slice_str("api"));
    bool watches = false;

    *out = (struct rest_info){.verb = REST_OTHER};
    if (is_core || slice_eq(root, slice_str("apis"))) {
        if (!is_core)
            out->group = next_part(&cursor);
        out->version = next_part(&cursor);
        if (slice_eq(peek_part(&cursor), slice_str("watch"))) {
            (void)next_part(&cursor); /* the old form of ?watch=1 */
            watches = true;
        }
        out->is_resource = out->version.len > 0 && peek_part(&cursor).len > 0;
    }
    if (!out->is_resource) {
        out->verb_text = lower(arena, method);
        return;
    }
    parse_resource(&cursor, out);
    out->verb = verb_of(method, out->name.len > 0);
    if ((out->verb == REST_LIST || out->verb == REST_GET) && out->subresource.len == 0 &&
        (watches || rest_query_bool(query, "watch")))
        out->verb = REST_WATCH;
    if (out->name.len == 0 &&
        (out->verb == REST_LIST || out->verb == REST_WATCH || out->verb == REST_DELETECOLLECTION))
        out->name = pinned_name(query);
    out->verb_text = out->verb == REST_OTHER ? lower(arena, method) : names[out->verb];
    find(out);
}
