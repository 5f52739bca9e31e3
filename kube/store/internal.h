/* What the files of kube/store share. */
#ifndef KVD_KUBE_STORE_INTERNAL_H
#define KVD_KUBE_STORE_INTERNAL_H

#include "kube/store/store.h"

enum {
    KUBE__PAGE = 1000, /* objects asked of kvd at once */
    KUBE__TIMEOUT_MS = 60000,
    KUBE__CREATE_TRIES = 8, /* while the namespace keeps changing */
    KUBE__VALUE_MAX = 8 << 20,
};

/* ---- object.c ---- */

/* A label: key and value lie in the text as key":"value. */
struct kube__label {
    uint32_t at;
    uint16_t key_len, value_len;
};
/* The value of a selectable field, in the order of kube_resource.selectable; len 0: "" or none. */
struct kube__field {
    uint32_t at, len;
};

/* One allocation: labels, fields, key, text, and behind it copies of what is escaped in the text.
 */
struct kube_object {
    uint32_t refs;
    uint32_t len; /* of the text; 0: what is stored cannot be read */
    int64_t revision;
    const struct kube_resource *resource;
    uint32_t metadata_at; /* where in the text "metadata" begins */
    uint32_t revision_at; /* where in the text resourceVersion belongs */
    uint16_t key_len;     /* key: namespace/name, or name */
    uint16_t ns_len;
    uint16_t label_count, field_count;
    uint8_t data[];
};

static inline const struct kube__label *kube__labels(const struct kube_object *object)
{
    return (const struct kube__label *)(const void *)object->data;
}

static inline const struct kube__field *kube__fields(const struct kube_object *object)
{
    return (const struct kube__field *)(const void *)(kube__labels(object) + object->label_count);
}

static inline struct slice kube__object_key(const struct kube_object *object)
{
    return slice_of(kube__fields(object) + object->field_count, object->key_len);
}

static inline const uint8_t *kube__object_text(const struct kube_object *object)
{
    return kube__object_key(object).data + object->key_len;
}

/* Makes an object of what is stored under key (ns/name or name): canonical JSON, or what
 * decode.c makes that of. scratch is used and not reset. KV_ECORRUPT: err says what is wrong with
 * it. */
int kube__object_new(const struct kube_resource *resource, struct slice key, struct slice value,
                     int64_t revision, struct arena *scratch, struct kube_object **out,
                     struct err *err);
/* Stands for a value that cannot be read. */
struct kube_object *kube__object_unreadable(const struct kube_resource *resource, struct slice key,
                                            int64_t revision);
/* The same at another revision: what a deletion leaves. */
struct kube_object *kube__object_at(const struct kube_object *object, int64_t revision);
/* Value of the selectable field number index. */
struct slice kube__object_field(const struct kube_object *object, size_t index);
/* Number of a path in resource->selectable; -1: it is none. */
int kube__field_index(const struct kube_resource *resource, struct slice path);
size_t kube__field_count(const struct kube_resource *resource);

/* ---- decode.c ---- */

/* Canonical JSON of a stored value that is not: protobuf of a kube-apiserver, JSON of another form
 * or version. *out lies in arena. KV_ECORRUPT. */
int kube__decode(struct arena *arena, const struct kube_resource *resource, struct slice value,
                 struct slice *out, struct err *err);

/* ---- store.c ---- */

struct kube_store {
    uv_loop_t *loop;
    struct kv_client *client;
    char *prefix;
    uint64_t timeout_ms;
    size_t history_max;
    uint64_t event_ttl_s;

    int64_t seen;                   /* highest revision that any answer had */
    struct list ops, lists;         /* waiting for kvd */
    struct list due_ops, due_lists; /* to be called back on the next turn */
    uv_idle_t idle;
    unsigned handles; /* open ones; the memory goes with the last */
    struct arena scratch;
};

/* Ends them on the loop's next turn. */
void kube__op_later(struct kube_op *op);
void kube__list_later(struct kube_list *list);
/* Calls back. */
void kube__op_finish(struct kube_op *op);
void kube__list_finish(struct kube_list *list);

const struct kube_resource *kube__namespaces(void);
bool kube__is_terminating(const struct kube_object *ns);
int kube__status_terminating(struct kube_status *status, struct arena *arena,
                             const struct kube_resource *resource, struct slice ns,
                             struct slice name);
/* Revision of an answer's header; the store remembers the highest. */
int64_t kube__seen(struct kube_store *store, const Etcdserverpb__ResponseHeader *header);

/* What the API says of a failed call to kvd. */
int kube__status_of(struct kube_status *status, struct arena *arena, const struct err *err);
int kube__status_too_large(struct kube_status *status, struct arena *arena, int64_t wanted,
                           int64_t current);
/* 500 that names the key. */
int kube__status_unreadable(struct kube_status *status, struct arena *arena,
                            const struct kube_store *store, const struct kube_resource *resource,
                            struct slice key, const char *why);

/* "<prefix>/<resource>/" + tail, in arena. */
struct slice kube__key(struct arena *arena, const struct kube_store *store,
                       const struct kube_resource *resource, struct slice tail);
/* ns/name, or name. */
struct slice kube__tail(struct arena *arena, struct slice ns, struct slice name);
/* The object in a record of kvd. Unreadable: 500, and *out NULL. */
int kube__object_of(struct kube_store *store, const struct kube_resource *resource,
                    const Mvccpb__KeyValue *kv, struct arena *arena, struct kube_status *status,
                    struct kube_object **out);

static inline ProtobufCBinaryData kube__bin(struct slice bytes)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)bytes.data, .len = bytes.len};
}
static inline struct slice kube__slice(ProtobufCBinaryData data)
{
    return slice_of(data.data, data.len);
}

/* ---- list.c ---- */

/* Takes over the reference. */
void kube__list_add(struct kube_list *list, struct kube_object *object);
/* The list ends behind last (a key relative to the list's prefix), and there is more. */
void kube__list_continue(struct kube_list *list, struct slice last);
/* Pages straight from kvd. */
void kube__list_direct(struct kube_list *list);

/* ---- token.c ---- */

/* Reads a continue token; *start is relative to the list's prefix, without a slash before it.
 * *revision -1: the newest. 0 or 400. */
int kube__token_read(struct arena *arena, struct slice token, int64_t *revision,
                     struct slice *start, struct kube_status *status);
/* start: the first key that is wanted, relative to the list's prefix. */
const char *kube__token_write(struct arena *arena, int64_t revision, struct slice start);

#endif
