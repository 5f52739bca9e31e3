/* The work of kube_normalise(), and what it says when it cannot go on. */
#ifndef KVD_KUBE_CHECK_NORMAL_INTERNAL_H
#define KVD_KUBE_CHECK_NORMAL_INTERNAL_H

#include "kube/check/internal.h"

/* Where in the object the work is; lives on the stack. */
struct normal__place {
    const struct normal__place *parent;
    const struct kube_struct *type; /* of which name is a field; NULL: a map key or an item */
    struct slice name;              /* of a field or a map key */
    size_t index;                   /* of an item, if name.data is NULL */
};

struct normal__work {
    struct arena *arena;
    struct kube_complaints *complaints;
    const char *error; /* the first one, in Go's words */
    unsigned depth;    /* structs that are open */
};

/* `unknown field "spec.foo"`: name below parent. */
void normal__unknown(struct normal__work *n, const struct normal__place *parent, struct slice name);
/* "v1" of "core/v1": the name that Go gives the package. */
const char *normal__package(const struct kube_struct *type);
/* Go's name of the type of one item. */
const char *normal__scalar_type(const struct kube_field *field);
/* And of the field: "[]v1.Container". */
const char *normal__type(struct normal__work *n, const struct kube_field *field);
/* "number", "object", ... */
const char *normal__json_type(const struct json *value);
/* All set the error and return KV_EINVAL. Go's UnmarshalTypeError: what was found, and where of
 * which type it should have been. */
int normal__type_error(struct normal__work *n, const struct normal__place *place, const char *what,
                       const char *type);
int normal__wrong_type(struct normal__work *n, const struct normal__place *place,
                       const struct json *in, const char *type);
/* Types that decode themselves report without a path. */
int normal__own_error(struct normal__work *n, const char *text);
int normal__own_type_error(struct normal__work *n, const char *what, const char *type);

#endif
