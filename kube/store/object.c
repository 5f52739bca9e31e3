/* Objects as bytes: one allocation each, with where in them labels, selectable fields and the
 * resourceVersion are. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kube/store/internal.h"

enum { REVISION_TEXT_MAX = 48 };

/* What a selectable path reads where its name says something else, and what a missing value means:
 * as upstream's functions that make field sets. */
static const struct {
    const char *path, *from, *otherwise, *missing;
} selectable_rules[] = {
    {"spec.unschedulable", NULL, NULL, "false"},
    {"spec.hostNetwork", NULL, NULL, "false"},
    {"status.replicas", NULL, NULL, "0"},
    {"status.successful", "status.succeeded", NULL, "0"},
    {"reportingComponent", NULL, "source.component", ""},
    {"source", "source.component", "reportingComponent", ""},
};

/* ---- names of selectable fields ---- */

static bool next_path(const char **at, struct slice *out)
{
    size_t len;

    *at += strspn(*at, " ");
    len = strcspn(*at, " ");
    *out = slice_of(*at, len);
    *at += len;
    return len > 0;
}

int kube__field_index(const struct kube_resource *resource, struct slice path)
{
    const char *at = resource->selectable;
    struct slice name;

    for (int i = 0; at != NULL && next_path(&at, &name); i++)
        if (slice_eq(name, path))
            return i;
    return -1;
}

size_t kube__field_count(const struct kube_resource *resource)
{
    const char *at = resource->selectable;
    struct slice name;
    size_t count = 0;

    while (at != NULL && next_path(&at, &name))
        count++;
    return count;
}

static struct slice scalar(const struct json *value)
{
    if (json_is(value, JSON_BOOL))
        return value->boolean ? slice_str("true") : slice_str("false");
    return json_text(value);
}

static struct slice field_of(struct arena *arena, const struct json *root, struct slice path)
{
    char *name = arena_alloc(arena, path.len + 1);
    struct slice out = {0};

    memcpy(name, path.data, path.len);
    name[path.len] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(selectable_rules); i++) {
        if (strcmp(selectable_rules[i].path, name) != 0)
            continue;
        out = scalar(
            json_at(root, selectable_rules[i].from != NULL ? selectable_rules[i].from : name));
        if (out.len == 0 && selectable_rules[i].otherwise != NULL)
            out = scalar(json_at(root, selectable_rules[i].otherwise));
        return out.len != 0 ? out : slice_str(selectable_rules[i].missing);
    }
    return scalar(json_at(root, name));
}

/* ---- making one ---- */

struct draft {
    struct slice text; /* canonical */
    const struct json *root, *metadata;
    uint32_t revision_at;
    struct buf extra; /* behind the text */
    struct kube__label *labels;
    size_t label_count;
    struct kube__field *fields;
    size_t field_count;
};

static bool inside(struct slice text, struct slice part)
{
    return part.data >= text.data && part.data + part.len <= text.data + text.len;
}

/* Members of metadata that stand before resourceVersion, in upstream's order. */
static bool before_revision(const struct json *member)
{
    static const char *const names[] = {"name", "generateName", "namespace", "selfLink", "uid"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (member->key_len == strlen(names[i]) &&
            memcmp(member->key, names[i], member->key_len) == 0)
            return true;
    return false;
}

/* True if the text begins as upstream writes objects, so that resourceVersion, kind and apiVersion
 * can be put in and left out without reading it again. */
static bool is_canonical(const struct kube_resource *resource, struct draft *draft)
{
    const struct json *kind = json_is(draft->root, JSON_OBJECT) ? draft->root->first : NULL;
    const struct json *version = kind != NULL ? kind->next : NULL;
    const struct json *metadata = version != NULL ? version->next : NULL;
    const struct json *last = NULL;
    char text[128];

    if (draft->text.len < 2 || draft->text.data[1] != '"' || metadata == NULL ||
        json_get(draft->root, "kind") != kind || json_get(draft->root, "apiVersion") != version ||
        json_get(draft->root, "metadata") != metadata || !json_is(metadata, JSON_OBJECT) ||
        !json_equals(kind, resource->kind) ||
        !json_equals(version, kube_api_version(resource, text)))
        return false;
    json_each(member, metadata)
    {
        if (!before_revision(member))
            break;
        if (!json_is(member, JSON_STRING) ||
            !inside(draft->text, slice_of(member->text, member->len)))
            return false;
        last = member;
    }
    if (last == NULL || json_get(metadata, "resourceVersion") != NULL)
        return false;
    draft->metadata = metadata;
    draft->revision_at = (uint32_t)((const uint8_t *)last->text + last->len + 1 - draft->text.data);
    return true;
}

/* Where the bytes are, relative to the text; copied behind it if they are not in it. */
static uint32_t place(struct draft *draft, struct slice bytes)
{
    size_t at = draft->text.len + draft->extra.len;

    if (bytes.len == 0)
        return 0;
    if (inside(draft->text, bytes))
        return (uint32_t)(bytes.data - draft->text.data);
    (void)buf_append(&draft->extra, bytes.data, bytes.len); /* no longer than the text */
    return (uint32_t)at;
}

static uint32_t place_label(struct draft *draft, struct slice key, struct slice value)
{
    size_t at = draft->text.len + draft->extra.len;

    if (inside(draft->text, key) && inside(draft->text, value) &&
        value.data == key.data + key.len + 3)
        return (uint32_t)(key.data - draft->text.data);
    (void)buf_append(&draft->extra, key.data, key.len);
    (void)buf_append(&draft->extra, "\":\"", 3);
    if (value.len > 0)
        (void)buf_append(&draft->extra, value.data, value.len);
    return (uint32_t)at;
}

static void find_labels(struct draft *draft, struct arena *scratch)
{
    const struct json *labels = json_get(draft->metadata, "labels");

    if (!json_is(labels, JSON_OBJECT) || labels->count > UINT16_MAX)
        return;
    draft->labels = arena_alloc(scratch, labels->count * sizeof(*draft->labels));
    json_each(label, labels)
    {
        struct slice key = slice_of(label->key, label->key_len), value = json_text(label);

        if (key.len <= UINT16_MAX && value.len <= UINT16_MAX)
            draft->labels[draft->label_count++] = (struct kube__label){
                .at = place_label(draft, key, value),
                .key_len = (uint16_t)key.len,
                .value_len = (uint16_t)value.len,
            };
    }
}

static void find_fields(struct draft *draft, const struct kube_resource *resource,
                        struct arena *scratch)
{
    const char *at = resource->selectable;
    struct slice path;

    draft->fields = arena_alloc(scratch, kube__field_count(resource) * sizeof(*draft->fields));
    while (at != NULL && next_path(&at, &path)) {
        struct slice value = field_of(scratch, draft->root, path);

        draft->fields[draft->field_count++] =
            (struct kube__field){.at = place(draft, value), .len = (uint32_t)value.len};
    }
}

static struct kube_object *allocate(const struct kube_resource *resource, struct slice key,
                                    int64_t revision, size_t more)
{
    const uint8_t *slash = memchr(key.data, '/', key.len);
    struct kube_object *object = xmalloc(sizeof(*object) + more + key.len);

    *object = (struct kube_object){
        .refs = 1,
        .revision = revision,
        .resource = resource,
        .key_len = (uint16_t)key.len,
        .ns_len = slash != NULL ? (uint16_t)(slash - key.data) : 0,
    };
    return object;
}

static struct kube_object *assemble(const struct kube_resource *resource, struct slice key,
                                    int64_t revision, const struct draft *draft)
{
    size_t labels = draft->label_count * sizeof(*draft->labels);
    size_t fields = draft->field_count * sizeof(*draft->fields);
    struct kube_object *object =
        allocate(resource, key, revision, labels + fields + draft->text.len + draft->extra.len);
    uint8_t *at = object->data;

    object->len = (uint32_t)draft->text.len;
    object->metadata_at = (uint32_t)((const uint8_t *)draft->metadata->key - 1 - draft->text.data);
    object->revision_at = draft->revision_at;
    object->label_count = (uint16_t)draft->label_count;
    object->field_count = (uint16_t)draft->field_count;
    if (labels > 0)
        memcpy(at, draft->labels, labels);
    if (fields > 0)
        memcpy(at + labels, draft->fields, fields);
    at += labels + fields;
    memcpy(at, key.data, key.len);
    memcpy(at + key.len, draft->text.data, draft->text.len);
    if (draft->extra.len > 0)
        memcpy(at + key.len + draft->text.len, draft->extra.data, draft->extra.len);
    return object;
}

static struct slice trimmed(struct slice text)
{
    while (text.len > 0 && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == ' '))
        text.len--;
    return text;
}

static bool read_draft(const struct kube_resource *resource, struct slice value,
                       struct arena *scratch, struct draft *draft)
{
    struct json *root;

    *draft = (struct draft){.text = trimmed(value)};
    if (json_parse(scratch, draft->text, NULL, &root, NULL) != 0)
        return false;
    draft->root = root;
    return is_canonical(resource, draft);
}

int kube__object_new(const struct kube_resource *resource, struct slice key, struct slice value,
                     int64_t revision, struct arena *scratch, struct kube_object **out,
                     struct err *err)
{
    struct draft draft;
    int rc;

    if (key.len > UINT16_MAX || value.len > UINT32_MAX / 4)
        return err_set(err, KV_ECORRUPT, "it is larger than an object can be");
    if (!read_draft(resource, value, scratch, &draft)) {
        rc = kube__decode(scratch, resource, value, &value, err);
        if (rc != 0)
            return rc;
        if (!read_draft(resource, value, scratch, &draft))
            return err_set(err, KV_ECORRUPT, "it has no name in its metadata");
    }
    /* At most all labels and fields once more. */
    buf_init(&draft.extra, 16 * draft.text.len + 4096);
    find_labels(&draft, scratch);
    find_fields(&draft, resource, scratch);
    *out = assemble(resource, key, revision, &draft);
    buf_release(&draft.extra);
    return 0;
}

struct kube_object *kube__object_unreadable(const struct kube_resource *resource, struct slice key,
                                            int64_t revision)
{
    struct kube_object *object = allocate(resource, key, revision, 0);

    memcpy(object->data, key.data, key.len);
    return object;
}

static size_t whole_size(const struct kube_object *object)
{
    const uint8_t *end = kube__object_text(object) + object->len;
    const struct kube__label *labels = kube__labels(object);
    const struct kube__field *fields = kube__fields(object);
    size_t size = object->len;

    for (size_t i = 0; i < object->label_count; i++)
        size = MAX(size, (size_t)labels[i].at + labels[i].key_len + 3 + labels[i].value_len);
    for (size_t i = 0; i < object->field_count; i++)
        size = MAX(size, (size_t)fields[i].at + fields[i].len);
    return (size_t)(end - object->len + size - (const uint8_t *)object);
}

struct kube_object *kube__object_at(const struct kube_object *object, int64_t revision)
{
    struct kube_object *copy = xmemdup(object, whole_size(object));

    copy->refs = 1;
    copy->revision = revision;
    return copy;
}

struct kube_object *kube_object_ref(struct kube_object *object)
{
    object->refs++;
    return object;
}

void kube_object_unref(struct kube_object *object)
{
    if (object != NULL && --object->refs == 0)
        free(object);
}

/* ---- reading one ---- */

int64_t kube_object_revision(const struct kube_object *object)
{
    return object->revision;
}

struct slice kube_object_namespace(const struct kube_object *object)
{
    return slice_of(kube__object_key(object).data, object->ns_len);
}

struct slice kube_object_name(const struct kube_object *object)
{
    struct slice key = kube__object_key(object);
    size_t skip = object->ns_len > 0 ? object->ns_len + 1u : 0;

    return slice_of(key.data + skip, key.len - skip);
}

struct slice kube__object_field(const struct kube_object *object, size_t index)
{
    const struct kube__field *field = kube__fields(object) + index;

    if (index >= object->field_count)
        return (struct slice){0};
    return slice_of(kube__object_text(object) + field->at, field->len);
}

static struct slice object_label(const void *of, struct slice key)
{
    const struct kube_object *object = of;
    const struct kube__label *labels = kube__labels(object);
    const uint8_t *text = kube__object_text(object);

    for (size_t i = 0; i < object->label_count; i++)
        if (labels[i].key_len == key.len && memcmp(text + labels[i].at, key.data, key.len) == 0)
            return slice_of(text + labels[i].at + key.len + 3, labels[i].value_len);
    return (struct slice){0};
}

static struct slice object_field(const void *of, struct slice path)
{
    const struct kube_object *object = of;
    int index;

    if (slice_eq(path, slice_str("metadata.name")))
        return kube_object_name(object);
    if (slice_eq(path, slice_str("metadata.namespace")))
        return kube_object_namespace(object);
    index = kube__field_index(object->resource, path);
    return index < 0 ? (struct slice){0} : kube__object_field(object, (size_t)index);
}

const struct kube_selected kube_selected_object = {.label = object_label, .field = object_field};

/* ---- writing one ---- */

/* Lists ask for it three times per object: printf() would be a tenth of their cost. */
static size_t revision_text(const struct kube_object *object, char out[REVISION_TEXT_MAX])
{
    static const char before[] = ",\"resourceVersion\":\"";
    char digits[24];
    uint64_t left = (uint64_t)object->revision;
    size_t count = 0, len = sizeof before - 1;

    do {
        digits[count++] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    memcpy(out, before, len);
    while (count > 0)
        out[len++] = digits[--count];
    out[len++] = '"';
    return len;
}

size_t kube_object_size(const struct kube_object *object, bool with_type)
{
    char text[REVISION_TEXT_MAX];

    return object->len + revision_text(object, text) - (with_type ? 0 : object->metadata_at - 1);
}

size_t kube_object_write(const struct kube_object *object, bool with_type, uint8_t *out)
{
    const uint8_t *text = kube__object_text(object);
    size_t from = with_type ? 1 : object->metadata_at, at = 0;
    char revision[REVISION_TEXT_MAX];
    size_t revision_len = revision_text(object, revision);

    out[at++] = '{';
    memcpy(out + at, text + from, object->revision_at - from);
    at += object->revision_at - from;
    memcpy(out + at, revision, revision_len);
    at += revision_len;
    memcpy(out + at, text + object->revision_at, object->len - object->revision_at);
    return at + object->len - object->revision_at;
}

/* Behind the members that stand before it. */
static void set_revision(struct arena *arena, struct json *metadata, int64_t revision)
{
    char *text = arena_alloc(arena, REVISION_TEXT_MAX);
    struct json *value, *last = NULL;

    (void)snprintf(text, REVISION_TEXT_MAX, "%" PRId64, revision);
    value = json_new_string(arena, slice_str(text));
    value->key = "resourceVersion";
    value->key_len = (uint32_t)strlen(value->key);
    json_each(member, metadata)
    {
        if (!before_revision(member))
            break;
        last = member;
    }
    value->next = last->next;
    last->next = value;
    if (metadata->last == last)
        metadata->last = value;
    metadata->count++;
}

struct json *kube_object_json(struct arena *arena, const struct kube_object *object)
{
    struct json *root = NULL;
    int rc = json_parse(arena, slice_of(kube__object_text(object), object->len), NULL, &root, NULL);

    ASSERT(rc == 0); /* it was parsed when it came in */
    set_revision(arena, json_get(root, "metadata"), object->revision);
    return root;
}
