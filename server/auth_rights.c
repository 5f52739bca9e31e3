/* What a user may do, as sorted intervals that do not touch: a request is covered by the union of
 * the permissions if one of them holds all of it. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/util.h"
#include "server/auth_internal.h"

/* Bytes belong to the store's roles, or to the rights (ends of single keys). */
struct span {
    struct slice begin;
    struct slice end; /* behind the last key; none if open */
    bool open;        /* to the end of all keys */
};

struct spans {
    struct span *items;
    size_t len;
};

struct auth_rights {
    bool root;
    struct spans spans[2]; /* by enum auth_access */
    uint8_t **ends;        /* owned: key and a zero byte */
    size_t end_count;
};

void auth__free_rights(struct auth_rights *rights)
{
    if (rights == NULL)
        return;
    for (size_t i = 0; i < rights->end_count; i++)
        free(rights->ends[i]);
    free(rights->ends);
    for (size_t i = 0; i < ARRAY_LEN(rights->spans); i++)
        free(rights->spans[i].items);
    free(rights);
}

/* ---- made of permissions ---- */

static bool is_open(struct slice range_end)
{
    return range_end.len == 1 && range_end.data[0] == 0;
}

static struct slice behind(struct auth_rights *rights, struct slice key)
{
    uint8_t *bytes = xmalloc(key.len + 1);

    memcpy(bytes, key.data, key.len);
    bytes[key.len] = 0;
    rights->ends = xrealloc(rights->ends, (rights->end_count + 1) * sizeof *rights->ends);
    rights->ends[rights->end_count++] = bytes;
    return slice_of(bytes, key.len + 1);
}

static void add_span(struct spans *spans, struct span span)
{
    spans->items = xrealloc(spans->items, (spans->len + 1) * sizeof *spans->items);
    spans->items[spans->len++] = span;
}

static void add_permission(struct auth_rights *rights, const struct auth_permission *permission)
{
    struct span span = {.begin = permission->key, .open = is_open(permission->range_end)};
    int type = permission->type;

    if (!span.open)
        span.end =
            permission->range_end.len > 0 ? permission->range_end : behind(rights, permission->key);
    if (type == AUTHPB__PERMISSION__TYPE__READ || type == AUTHPB__PERMISSION__TYPE__READWRITE)
        add_span(&rights->spans[AUTH_READ], span);
    if (type == AUTHPB__PERMISSION__TYPE__WRITE || type == AUTHPB__PERMISSION__TYPE__READWRITE)
        add_span(&rights->spans[AUTH_WRITE], span);
}

static int by_begin(const void *a, const void *b)
{
    const struct span *x = a, *y = b;

    return slice_cmp(x->begin, y->begin);
}

static bool ends_later(const struct span *a, const struct span *b)
{
    return !b->open && (a->open || slice_cmp(a->end, b->end) > 0);
}

/* Those that overlap or touch become one. */
static void merge(struct spans *spans)
{
    size_t kept = 0;

    if (spans->len == 0)
        return;
    qsort(spans->items, spans->len, sizeof *spans->items, by_begin);
    for (size_t i = 1; i < spans->len; i++) {
        struct span *last = &spans->items[kept], *next = &spans->items[i];

        if (!last->open && slice_cmp(last->end, next->begin) < 0) {
            spans->items[++kept] = *next;
        } else if (ends_later(next, last)) {
            last->end = next->end;
            last->open = next->open;
        }
    }
    spans->len = kept + 1;
}

static struct auth_rights *make_rights(const struct auth_store *store, const struct auth_user *user)
{
    struct auth_rights *rights = xcalloc(1, sizeof *rights);

    rights->root = auth_user_has_role(user, AUTH_ROOT);
    for (size_t i = 0; i < user->role_count; i++) {
        const struct auth_role *role = auth_store_role(store, user->roles[i]);

        for (size_t j = 0; role != NULL && j < role->permission_count; j++)
            add_permission(rights, &role->permissions[j]);
    }
    merge(&rights->spans[AUTH_READ]);
    merge(&rights->spans[AUTH_WRITE]);
    return rights;
}

/* ---- asked ---- */

/* The last one that begins at or before the key; NULL: none does. */
static const struct span *span_before(const struct spans *spans, struct slice key)
{
    size_t low = 0, high = spans->len;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (slice_cmp(spans->items[mid].begin, key) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low == 0 ? NULL : &spans->items[low - 1];
}

static bool covers(const struct span *span, struct slice key, struct slice range_end)
{
    if (span->open)
        return true;
    if (is_open(range_end))
        return false;
    if (range_end.len > 0 && slice_cmp(key, range_end) < 0)
        return slice_cmp(range_end, span->end) <= 0;
    return slice_cmp(key, span->end) < 0;
}

bool auth_user_may(const struct auth_store *store, struct auth_user *user, enum auth_access access,
                   struct slice key, struct slice range_end)
{
    const struct span *span;

    if (user->rights == NULL || user->rights_revision != store->revision) {
        auth__free_rights(user->rights);
        user->rights = make_rights(store, user);
        user->rights_revision = store->revision;
    }
    if (user->rights->root)
        return true;
    span = span_before(&user->rights->spans[access], key);
    return span != NULL && covers(span, key, range_end);
}
