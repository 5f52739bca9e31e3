#include <string.h>

#include "base/util.h"
#include "kube/patch/internal.h"

/* Limits of a patch, so that a small one cannot become big or slow: operations; bytes that all its
 * `copy` make; and steps along members and items, which at a hundred million a second are 0.2 s. */
#define OPERATIONS_MAX 10000
#define COPIED_MAX (3u << 20)
#define STEPS_MAX 20000000u
#define NODE_WEIGHT 8 /* of a value beside its text: what separates it from the next */

struct patcher {
    struct arena *arena;
    struct json *document;
    size_t copied;
    size_t steps;
};

/* Where an operation acts: a member or item, which need not be there, of an object or array. */
struct target {
    struct json *parent;
    struct slice key;
};

const char *kube_patch__type_name(const struct json *value)
{
    static const char *const names[] = {
        [JSON_NULL] = "null",     [JSON_BOOL] = "bool",   [JSON_NUMBER] = "number",
        [JSON_STRING] = "string", [JSON_ARRAY] = "array", [JSON_OBJECT] = "object",
    };

    return names[value->type];
}

int kube_patch__not_a_map(struct arena *arena, const struct json *patch, struct kube_status *status)
{
    return kube_status_bad_request(status, arena,
                                   "error decoding patch: json: cannot unmarshal %s into Go value "
                                   "of type map[string]interface {}",
                                   kube_patch__type_name(patch));
}

/* ---- pointers (RFC 6901) ---- */

/* ~1 is a slash, ~0 a tilde. */
static struct slice decode_token(struct arena *arena, struct slice token)
{
    uint8_t *text;
    size_t len = 0;

    if (token.len == 0 || memchr(token.data, '~', token.len) == NULL)
        return token;
    text = arena_alloc(arena, token.len);
    for (size_t i = 0; i < token.len; i++) {
        uint8_t next = i + 1 < token.len ? token.data[i + 1] : 0;

        if (token.data[i] == '~' && (next == '0' || next == '1')) {
            text[len++] = next == '0' ? '~' : '/';
            i++;
        } else {
            text[len++] = token.data[i];
        }
    }
    return slice_of(text, len);
}

/* Upstream's rule, which is wider than the RFC's: a sign and leading zeros are allowed, and -1 is
 * the last item of length. False: no number, or before the first item. */
static bool read_index(struct slice token, size_t length, size_t *out)
{
    bool negative = token.len > 0 && token.data[0] == '-';
    size_t at = negative || (token.len > 0 && token.data[0] == '+') ? 1 : 0;
    size_t index = 0;

    if (at == token.len)
        return false;
    for (; at < token.len; at++) {
        if (token.data[at] < '0' || token.data[at] > '9')
            return false;
        index = MIN(index * 10 + (token.data[at] - '0'), (size_t)1 << 40);
    }
    if (negative && index > length)
        return false;
    *out = negative && index > 0 ? length - index : index;
    return true;
}

/* The link that holds item index of array: of its end if there are as many items. */
static struct json **link_at(struct patcher *p, struct json *array, size_t index,
                             struct json **before)
{
    struct json **link = &array->first;

    p->steps += index;
    *before = NULL;
    for (size_t i = 0; i < index; i++) {
        *before = *link;
        link = &(*link)->next;
    }
    return link;
}

/* What is there; *out NULL for a member that is not. False: no such index, or no container. */
static bool get(struct patcher *p, const struct target *target, struct json **out)
{
    struct json *parent = target->parent, *before;
    size_t index;

    if (parent->type == JSON_OBJECT) {
        p->steps += parent->count;
        *out = json_get_slice(parent, target->key);
        return true;
    }
    if (!read_index(target->key, parent->count, &index) || index >= parent->count)
        return false;
    *out = *link_at(p, parent, index, &before);
    return true;
}

static bool find(struct patcher *p, struct slice path, struct target *out)
{
    struct json *here = p->document;

    if (path.len == 0 || path.data[0] != '/')
        return false;
    for (;;) {
        const uint8_t *slash;
        size_t len;

        if (here == NULL || (here->type != JSON_OBJECT && here->type != JSON_ARRAY))
            return false;
        path = slice_of(path.data + 1, path.len - 1);
        slash = path.len == 0 ? NULL : memchr(path.data, '/', path.len);
        len = slash == NULL ? path.len : (size_t)(slash - path.data);
        out->parent = here;
        out->key = decode_token(p->arena, slice_of(path.data, len));
        if (slash == NULL)
            return true;
        if (p->steps > STEPS_MAX || !get(p, out, &here))
            return false;
        path = slice_of(path.data + len, path.len - len);
    }
}

/* ---- operations ---- */

static void insert(struct patcher *p, struct json *array, size_t index, struct json *item)
{
    struct json *before;
    struct json **link = link_at(p, array, index, &before);

    item->key = NULL;
    item->key_len = 0;
    item->next = *link;
    *link = item;
    if (item->next == NULL)
        array->last = item;
    array->count++;
}

static bool add(struct patcher *p, struct slice path, struct json *value)
{
    struct target target;
    struct json *parent;
    size_t index;

    if (!find(p, path, &target))
        return false;
    parent = target.parent;
    if (parent->type == JSON_OBJECT) {
        p->steps += parent->count;
        (void)json_set_slice(parent, target.key, value);
        return true;
    }
    if (slice_eq(target.key, slice_str("-"))) {
        json_append(parent, value);
        return true;
    }
    if (!read_index(target.key, parent->count + 1, &index) || index > parent->count)
        return false;
    insert(p, parent, index, value);
    return true;
}

/* Takes out what is at target; NULL if there is nothing. */
static struct json *take(struct patcher *p, const struct target *target)
{
    struct json *parent = target->parent, *found, *before;
    struct json **link;
    size_t index;

    if (!get(p, target, &found) || found == NULL)
        return NULL;
    if (parent->type == JSON_OBJECT) {
        (void)json_remove_slice(parent, target->key);
        return found;
    }
    (void)read_index(target->key, parent->count, &index);
    link = link_at(p, parent, index, &before);
    *link = found->next;
    if (parent->last == found)
        parent->last = before;
    parent->count--;
    return found;
}

/* A member that is missing is set, as upstream does; the RFC would refuse. */
static bool replace(struct patcher *p, struct slice path, struct json *value)
{
    struct target target;
    struct json *old;

    if (path.len == 0) {
        p->document = value;
        return value->type == JSON_OBJECT || value->type == JSON_ARRAY;
    }
    if (!find(p, path, &target) || !get(p, &target, &old))
        return false;
    if (old == NULL)
        json_add(target.parent, target.key, value);
    else
        json_become(old, value);
    return true;
}

static bool move(struct patcher *p, struct slice from, struct slice path)
{
    struct target source;
    struct json *value;

    if (!find(p, from, &source))
        return false;
    value = take(p, &source);
    return value != NULL && add(p, path, value);
}

static size_t weight(const struct json *value)
{
    size_t sum = NODE_WEIGHT + value->key_len;

    if (value->type == JSON_STRING || value->type == JSON_NUMBER)
        return sum + value->len;
    if (value->type == JSON_ARRAY || value->type == JSON_OBJECT) {
        json_each(child, value) sum += weight(child);
    }
    return sum;
}

static bool copy(struct patcher *p, struct slice from, struct slice path)
{
    struct target source;
    struct json *found;

    if (!find(p, from, &source) || !get(p, &source, &found))
        return false;
    if (found == NULL) /* as upstream: nothing is copied as null */
        return add(p, path, json_new(p->arena, JSON_NULL));
    p->copied += weight(found);
    return p->copied <= COPIED_MAX && add(p, path, json_clone(p->arena, found));
}

/* What is missing, member or value, is equal to null. */
static bool test(struct patcher *p, struct slice path, const struct json *value)
{
    struct target target;
    struct json *found;

    if (!find(p, path, &target) || !get(p, &target, &found))
        return false;
    if (found == NULL || found->type == JSON_NULL)
        return value == NULL || value->type == JSON_NULL;
    return json_same(found, value);
}

/* A string member; false if there is none. */
static bool string_at(const struct json *operation, const char *key, struct slice *out)
{
    const struct json *member = json_get(operation, key);

    *out = json_text(member);
    return json_is(member, JSON_STRING);
}

static bool apply(struct patcher *p, const struct json *operation)
{
    const struct json *op = json_get(operation, "op");
    const struct json *given = json_get(operation, "value");
    struct slice path, from;

    if (!string_at(operation, "path", &path))
        return false;
    if (json_equals(op, "test"))
        return test(p, path, given);
    if (json_equals(op, "remove")) {
        struct target target;

        return find(p, path, &target) && take(p, &target) != NULL;
    }
    if (json_equals(op, "move"))
        return string_at(operation, "from", &from) && move(p, from, path);
    if (json_equals(op, "copy"))
        return string_at(operation, "from", &from) && copy(p, from, path);
    if (json_equals(op, "add") || json_equals(op, "replace")) {
        struct json *value =
            given == NULL ? json_new(p->arena, JSON_NULL) : json_clone(p->arena, given);

        return json_equals(op, "add") ? add(p, path, value) : replace(p, path, value);
    }
    return false;
}

/* 400 unless patch is an array of objects. */
static int check_shape(struct arena *arena, const struct json *patch, struct kube_status *status)
{
    const struct json *wrong = patch->type == JSON_ARRAY ? NULL : patch;

    if (wrong != NULL)
        return kube_status_bad_request(
            status, arena, "json: cannot unmarshal %s into Go value of type jsonpatch.Patch",
            kube_patch__type_name(wrong));
    json_each(operation, patch)
    {
        if (operation->type != JSON_OBJECT && operation->type != JSON_NULL)
            return kube_status_bad_request(
                status, arena,
                "json: cannot unmarshal %s into Go value of type jsonpatch.Operation",
                kube_patch__type_name(operation));
    }
    if (patch->count > OPERATIONS_MAX)
        return kube_status_set(status, arena, 413, "RequestEntityTooLarge",
                               "Request entity too large: The allowed maximum operations in a JSON "
                               "patch is %d, got %zu",
                               OPERATIONS_MAX, patch->count);
    return 0;
}

int kube_patch_json(struct arena *arena, const struct json *old, const struct json *patch,
                    struct json **out, struct kube_status *status)
{
    struct patcher p = {.arena = arena};
    int rc = check_shape(arena, patch, status);

    if (rc != 0)
        return rc;
    p.document = json_clone(arena, old);
    json_each(operation, patch)
    {
        if (!apply(&p, operation) || p.steps > STEPS_MAX) {
            (void)kube_status_set(status, arena, 422, "Invalid",
                                  "the server rejected our request due to an error in our request");
            status->has_details = true;
            return status->code;
        }
    }
    *status = (struct kube_status){0};
    *out = p.document;
    return 0;
}
