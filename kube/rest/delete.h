/* Deleting one object by upstream's rules: finalizers, grace, propagation, preconditions. */
#ifndef KVD_KUBE_REST_DELETE_H
#define KVD_KUBE_REST_DELETE_H

#include "kube/rest/internal.h"

enum rest_policy { REST_POLICY_DEFAULT, REST_ORPHAN, REST_FOREGROUND, REST_BACKGROUND };

struct rest_delete_options {
    enum rest_policy policy;
    bool has_grace;
    int64_t grace_s;
    struct slice uid, version; /* preconditions; empty: none */
};

/* One deletion; the request may have several, one after the other. */
struct rest_deletion {
    struct rest *rest;
    struct slice ns, name;
    struct rest_delete_options options;
    /* It has ended: rest->status.code 0, or why not. */
    void (*done)(struct rest_deletion *deletion);

    /* What became of it: */
    bool removed;               /* gone, else marked as being deleted */
    struct json *tree;          /* as it is answered; NULL: as object is */
    struct kube_object *object; /* last read or written; the request holds it */

    /* private */
    struct kube_op op;
    struct json *old;
    struct slice bytes;
    bool fresh;
    unsigned tries;
};

/* Of the body if there is one, else of the query; dryRun too. 0 or rest->status. */
int rest_read_delete_options(struct rest *rest, struct rest_delete_options *out);
/* The same of what a body holds; NULL: defaults. */
int rest_delete_options_of(struct rest *rest, const struct json *body,
                           struct rest_delete_options *out);
/* object: a first guess at what is there, already held; NULL: it is read. */
void rest_deletion_start(struct rest_deletion *deletion, struct kube_object *object);

#endif
