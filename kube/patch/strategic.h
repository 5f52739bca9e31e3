/* What the files of strategic merge share: objects (strategic.c), lists (lists.c), what tells items
 * apart and their order (items.c). */
#ifndef KVD_KUBE_PATCH_STRATEGIC_H
#define KVD_KUBE_PATCH_STRATEGIC_H

#include "kube/patch/internal.h"

#define DIRECTIVE "$patch"
#define RETAIN_KEYS "$retainKeys"
#define SET_ORDER "$setElementOrder"
#define DELETE_LIST "$deleteFromPrimitiveList"

struct merger {
    struct arena *arena;
    struct kube_status *status;
    unsigned depth;
};

/* All fill status with 422 and return it. */
int merge__fail(struct merger *m, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The JSON of value, cut if it is long, between before and after. */
int merge__fail_value(struct merger *m, const struct json *value, const char *before,
                      const char *after, const char *name);
int merge__fail_no_key(struct merger *m, const struct json *item, const char *key);

/* 400: a directive that is not written as it must be. */
int merge__fail_format(struct merger *m, const char *what);

/* What an object is: a struct, or a map of them. type NULL: nothing is known. */
struct schema {
    const struct kube_struct *type;
    bool is_map;
};

/* How a field is merged, and what is in it. */
struct strategy {
    bool merge, replace;
    const char *key; /* by which items of a list are told apart; NULL: they are scalars */
    struct schema inner;
};

/* All changes that a patch has for one member. */
struct change {
    const struct json *value, *order, *deletions; /* NULL: none */
};

/* Merges patch into old (NULL: an empty one), both objects. */
int merge__objects(struct merger *m, struct schema schema, const struct json *old,
                   const struct json *patch, struct json **out);
/* A value that meets nothing to merge with: without nulls and directives. NULL: it was a directive
 * itself. */
struct json *merge__plain_value(struct arena *arena, const struct json *value);

/* Two lists that are there. */
int merge__lists(struct merger *m, const struct strategy *strategy, const struct json *old,
                 const struct json *patch, struct json **out);
/* A list whose order the patch says. *out stays NULL if there is no list. */
int merge__ordered(struct merger *m, const struct strategy *strategy, const struct json *old,
                   const struct change *change, struct json **out);
/* A list of scalars without those of deletions. */
int merge__delete_scalars(struct merger *m, const struct json *deletions, struct json *list,
                          struct json **out);

/* A list as an array of its items, which may be exchanged. */
struct items {
    const struct json **at;
    size_t count;
};

/* array NULL: none. */
struct items merge__items(struct merger *m, const struct json *array);

/* What tells an item from others, as text: of its merge key, or of the item itself if key is NULL.
 * The type is part of it: "1" is not 1. False: it has none. */
bool merge__identity(struct merger *m, const struct json *item, const char *key, struct slice *out);

/* From identities to the first place where each is. */
struct places {
    struct json *object; /* a member per identity, whose count is the place */
    struct json_index index;
};

#define NOWHERE SIZE_MAX

void merge__places_init(struct merger *m, struct places *places);
/* False if it has a place already. */
bool merge__place(struct merger *m, struct places *places, struct slice identity, size_t at);
size_t merge__place_of(const struct places *places, struct slice identity);
/* Items by their index. 422 if one has no merge key. */
int merge__place_all(struct merger *m, struct places *places, const struct items *items,
                     const char *key);

/* Items that are in order take its order; the others that of the server. Then each of the others
 * goes before the first of the former that follows it on the server. */
int merge__put_in_order(struct merger *m, const struct items *merged, const struct items *order,
                        const struct items *server, const char *key, struct json **out);

#endif
