/* Shared by the files of kube/rest: a request under way. */
#ifndef KVD_KUBE_REST_INTERNAL_H
#define KVD_KUBE_REST_INTERNAL_H

#include <string.h>

#include "base/list.h"
#include "base/prng.h"
#include "kube/check/normal.h"
#include "kube/check/rules.h"
#include "kube/codec/media.h"
#include "kube/rest/api.h"
#include "kube/rest/info.h"
#include "kube/rest/metrics.h"

struct kube_api {
    struct kube_api_options options;
    struct kube_store *store;
    const struct kube_discovery *discovery;
    struct rest_metrics metrics;
    struct prng prng;     /* uids, generated names, how long watches last: no secrets */
    struct arena scratch; /* of one request at a time, and only until it returns to the loop */
    struct list watches;
    uv_timer_t watch_timer;
    struct rest_alias_encodings *aliases; /* of watch.c */
    struct bootstrap *bootstrap;          /* NULL: it has ended */
    bool started, stopping;
};

enum {
    REST_WARNINGS_MAX = 20, /* headers; clients bound them */
    REST_PIECE = 128 * 1024 /* of an answer that is written in pieces */
};

/* One request. Lives in its own arena, which net frees when it has been answered. */
struct rest {
    struct kube_api *api;
    struct http_request *http;
    struct arena *arena;
    struct rest_query query;
    struct rest_info info;
    const struct kube_resource *resource; /* = info.resource, once it is known to be there */
    struct kube_user user;
    struct kube_accept accept;
    bool pretty;
    bool dry_run;
    struct kube_status status; /* what went wrong, for rest_fail() */
    struct rest_held *held;    /* objects referenced until the end */
    unsigned warning_count;
    uint64_t started_ns;
    bool long_running; /* a watch: counted as one under way */

    struct kube_op op;
    struct kube_list list;
    void *state; /* of the verb's own file */
    /* Client gone: ends what the verb's file has begun beyond op and list. May be NULL. */
    void (*on_cancel)(struct rest *rest);
};

/* The namespace as the store wants it: empty for what has none. */
struct slice rest_ns(const struct rest *rest);
/* Takes over a reference, until the request ends: trees borrow from it. NULL is nothing. */
void rest_hold(struct rest *rest, struct kube_object *object);
const char *rest_print(struct arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3);
#define REST_TEXT(slice) (int)(slice).len, (const char *)(slice).data
int64_t rest_now_s(void);

/* ---- answers (reply.c); the request is gone after each ---- */

/* rest->status. */
void rest_fail(struct rest *rest);
void rest_fail_status(struct rest *rest, const struct kube_status *status);
void rest_reply_text(struct rest *rest, int code, const char *content_type, struct slice body);
/* A tree that is no stored object (Status, Scale, reviews): as it is, in the format asked for. */
void rest_reply_json(struct rest *rest, int code, struct json *value);
/* An object in the view asked for: from its bytes, or from a tree (that has resourceVersion). */
void rest_reply_object(struct rest *rest, int code, struct kube_object *object);
void rest_reply_tree(struct rest *rest, int code, struct json *object);
/* Status Success of a deletion. */
void rest_reply_deleted(struct rest *rest, struct slice uid);
/* A list, with all references that it has; rest->list. */
void rest_reply_list(struct rest *rest);
/* `Warning: 299 - "text"`; before the answer. */
void rest_warn(struct rest *rest, const char *text);
/* 405, 404 of a resource, 404 in plain text. */
void rest_reply_not_allowed(struct rest *rest);
void rest_reply_no_resource(struct rest *rest);
void rest_reply_no_page(struct rest *rest);
/* The request ends: what it holds is given back and counted. Called by all answers before they
 * write their last byte. */
void rest_end(struct rest *rest, int code);
/* Headers of every answer. */
void rest_add_headers(struct rest *rest);
const char *rest_content_type(const struct rest *rest);
/* The tree of a stored object as this resource shows it (another version of it, perhaps), kind and
 * apiVersion included. Borrows from object. */
struct json *rest_object_json(struct arena *arena, const struct kube_resource *resource,
                              const struct kube_object *object);
/* False: the stored bytes are another version's, and only trees will do. */
bool rest_is_stored_form(const struct kube_resource *resource);

/* ---- options and bodies (body.c); 0, or a code with rest->status filled ---- */

enum rest_validation { REST_IGNORE, REST_WARN, REST_STRICT };

/* dryRun, fieldValidation of a write; kind: "CreateOptions". */
int rest_write_options(struct rest *rest, const char *kind, enum rest_validation *validation);
/* The body as an object of resource, in normal form with defaults. Complaints are refused or become
 * warnings. */
int rest_read_object(struct rest *rest, const struct kube_resource *resource,
                     enum rest_validation validation, struct json **out);
/* The body as a struct that is no resource's: ("meta/v1", "DeleteOptions"); *out NULL: it is empty.
 */
int rest_read_struct(struct rest *rest, const char *package, const char *name, struct json **out);
/* A tree that a patch has made, as the body of an update: normal form, defaults, complaints. */
int rest_accept_tree(struct rest *rest, const struct kube_resource *resource,
                     enum rest_validation validation, const struct json *in, struct json **out);

/* ---- metadata (meta.c) ---- */

const char *rest_new_uid(struct rest *rest);
const char *rest_now(struct arena *arena);
/* "Sun, 06 Nov 1994 08:49:37 GMT", so many seconds from now. */
const char *rest_http_date(struct arena *arena, int64_t seconds);
/* So many seconds from now. */
const char *rest_time_after(struct arena *arena, int64_t seconds);
/* base cut, and five characters of upstream's alphabet. */
const char *rest_generate_name(struct rest *rest, struct slice base);
/* metadata of an object in the making; made if it is missing. */
struct json *rest_metadata(struct arena *arena, struct json *object);
/* "pods" of the core group, and the like. */
static inline bool rest_is_core(const struct kube_resource *resource, const char *plural)
{
    return resource->group[0] == '\0' && strcmp(resource->plural, plural) == 0;
}
/* Text of metadata.name or the like, empty if missing. */
struct slice rest_meta(const struct json *object, const char *name);
bool rest_has_finalizers(const struct json *object);
bool rest_is_deleting(const struct json *object);
/* Sets member of metadata to the stored one's, or takes it away. */
void rest_keep_meta(struct arena *arena, struct json *object, const struct json *old,
                    const char *name);
/* +1, for kinds that have one. */
void rest_raise_generation(struct arena *arena, const struct kube_resource *resource,
                           struct json *object, const struct json *old);
/* Everything but metadata and status is the same. */
bool rest_same_spec(const struct json *a, const struct json *b);
/* Normal form once more, then bytes without resourceVersion; *out the tree written. */
int rest_encode(struct rest *rest, const struct kube_resource *resource, const struct json *object,
                struct json **tree, struct slice *bytes);
/* Sets metadata.resourceVersion. */
void rest_set_version(struct arena *arena, struct json *object, int64_t revision);

/* ---- verbs ---- */

void rest_get(struct rest *rest);
void rest_list(struct rest *rest);
void rest_watch(struct rest *rest);
void rest_create(struct rest *rest);
void rest_update(struct rest *rest);
void rest_patch(struct rest *rest);
void rest_delete(struct rest *rest);
void rest_delete_collection(struct rest *rest);
/* Subresources and resources that are answered by code. True: it was one, and is being answered. */
bool rest_special(struct rest *rest);
/* Health, metrics, discovery. */
void rest_page(struct rest *rest);
/* A create by PUT. */
void rest_create_named(struct rest *rest, struct json *object);

/* How freshly to read (read.c), from resourceVersion; 0 or 400. */
int rest_freshness(struct rest *rest, enum kube_freshness *freshness, int64_t *revision);
/* Selectors of the query; 0 or 400. */
int rest_selector(struct rest *rest, struct kube_selector *out);
/* An integer of the query, 0 if it is not there; 0 or 400. */
int rest_number(struct rest *rest, const char *name, int64_t *out);
/* All of a list's; 0, 400 or 422. */
int rest_list_options(struct rest *rest, struct kube_list_options *out);
/* 422 of ListOptions. */
int rest_forbid_option(struct rest *rest, const char *field, const char *why);

/* ---- read-modify-write (update.c) ---- */

enum rest_part { REST_MAIN, REST_STATUS, REST_FINALIZE, REST_SCALE, REST_BINDING };

struct rest_change;
/* Makes the wanted object from the stored one, in normal form; 0 or rest->status. It may run more
 * than once. */
typedef int (*rest_make)(struct rest *rest, struct rest_change *change, const struct json *old,
                         struct json **out);
/* The answer to a change that went well: change->tree, with its resourceVersion, and
 * change->object, NULL if the tree is not stored. */
typedef void (*rest_changed)(struct rest *rest, struct rest_change *change);

struct rest_change {
    enum rest_part part;
    enum rest_validation validation;
    rest_make make;
    rest_changed changed;
    struct json *body; /* make's own */
    int body_type;     /* enum kube_body */
    /* If the object is missing: NULL: 404. */
    void (*missing)(struct rest *rest, struct rest_change *change);

    struct json *tree;
    struct kube_object *object; /* what is stored */

    /* private */
    struct json *old;
    struct slice bytes;
    bool unchanged;
    bool warned;       /* of what make complained about */
    bool fresh;        /* object was read or refused just now, not cached */
    bool precondition; /* the wanted object names a resourceVersion */
    unsigned tries;
};

void rest_change(struct rest *rest, struct rest_change *change);
/* name and namespace of an object are those of the path; 0 or 400. */
int rest_check_name(struct rest *rest, const struct json *object);
/* The body as a patch; 0, 400 or 415. */
int rest_read_patch(struct rest *rest, struct rest_change *change);
int rest_apply_patch(struct rest *rest, struct rest_change *change, const struct kube_struct *type,
                     const struct json *old, struct json **out);

#endif
