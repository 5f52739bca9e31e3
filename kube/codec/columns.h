/* Columns of tables: shared by table.c and the columns_*.c, each of which has the printers of some
 * kinds. A column is data; its printer makes a cell of an object. The cells are upstream's. */
#ifndef KVD_KUBE_CODEC_COLUMNS_H
#define KVD_KUBE_CODEC_COLUMNS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/util.h"
#include "kube/json/json.h"

/* One object on its way to cells. */
struct kube__row {
    struct arena *arena;
    const struct json *object;
    int64_t now_s;
    struct buf text; /* where cells are put together; kube__begin() empties it */
    void *memo;      /* what several columns of a kind need, made by the first */
};

struct kube__column {
    const char *name;
    const char *type; /* "string", "integer", "boolean", "date" */
    int priority;     /* 1: only with -o wide */
    struct json *(*print)(struct kube__row *row, const struct kube__column *column);
    const char *path;      /* of the member to print */
    const char *otherwise; /* what stands there without it; NULL: "" */
};

/* Columns of a kind; kinds of different groups that share a name look alike, so the kind is enough.
 */
struct kube__columns {
    const char *kind;
    const struct kube__column *columns;
    size_t count;
    /* Conditions of a row (pods that are done); NULL: never any. */
    struct json *(*conditions)(struct kube__row *row);
};

#define KUBE__COLUMNS(kind, columns)                                                               \
    {                                                                                              \
        kind, columns, ARRAY_LEN(columns), NULL                                                    \
    }

extern const struct kube__columns kube__pod_columns;
extern const struct kube__columns kube__workload_columns[];
extern const size_t kube__workload_columns_count;
extern const struct kube__columns kube__core_columns[];
extern const size_t kube__core_columns_count;
extern const struct kube__columns kube__network_columns[];
extern const size_t kube__network_columns_count;
extern const struct kube__columns kube__storage_columns[];
extern const size_t kube__storage_columns_count;
extern const struct kube__columns kube__policy_columns[];
extern const size_t kube__policy_columns_count;

/* ---- columns that many kinds have ---- */

#define KUBE__NAME                                                                                 \
    {                                                                                              \
        "Name", "string", 0, kube__text, "metadata.name", NULL                                     \
    }
#define KUBE__AGE                                                                                  \
    {                                                                                              \
        "Age", "string", 0, kube__age, "metadata.creationTimestamp", NULL                          \
    }
/* Containers and images of a pod template below path. */
#define KUBE__CONTAINERS(path)                                                                     \
    {"Containers", "string", 1, kube__container_names, path ".containers", NULL},                  \
    {                                                                                              \
        "Images", "string", 1, kube__container_images, path ".containers", NULL                    \
    }

/* ---- printers ---- */

#define KUBE__PRINTER(name)                                                                        \
    struct json *name(struct kube__row *row, const struct kube__column *column)

KUBE__PRINTER(kube__text);         /* a string or number, as a string */
KUBE__PRINTER(kube__integer);      /* a number; 0 if it is missing */
KUBE__PRINTER(kube__count);        /* of members or items */
KUBE__PRINTER(kube__boolean);      /* true or false; otherwise "true": if it is missing */
KUBE__PRINTER(kube__boolean_text); /* "True", "False", "<unset>" */
KUBE__PRINTER(kube__age);          /* of a time; otherwise, "<unknown>" if NULL */
KUBE__PRINTER(kube__of);           /* "1/3" of two numbers; otherwise is the second's path */
KUBE__PRINTER(kube__labels);       /* "a=b,c=d" of a map, "<none>" */
KUBE__PRINTER(kube__selector);     /* of a LabelSelector; otherwise if it selects all */
KUBE__PRINTER(kube__joined);       /* strings of an array with commas between */
KUBE__PRINTER(kube__reference);    /* "Role/reader": kind and name below path */
KUBE__PRINTER(kube__qualified);    /* "default/data": namespace and name */
KUBE__PRINTER(kube__container_names);
KUBE__PRINTER(kube__container_images);

/* ---- pieces of printers ---- */

void kube__begin(struct kube__row *row);
void kube__add(struct kube__row *row, const char *fmt, ...) PRINTF_LIKE(2, 3);
void kube__add_slice(struct kube__row *row, struct slice text);
void kube__add_lower(struct kube__row *row, struct slice text);
/* Adds text behind a comma, or without one if it is the first. */
void kube__add_item(struct kube__row *row, const char *comma, struct slice text);
/* The text that was put together; otherwise (NULL: "") if it is empty. */
struct json *kube__end(struct kube__row *row, const char *otherwise);
struct json *kube__string(struct kube__row *row, const char *text);

/* Member at path as an integer, 0 if it is none. */
int64_t kube__int_at(const struct json *value, const char *path);
bool kube__true_at(const struct json *value, const char *path);
/* Seconds of a time; false: it is missing, null or none. */
bool kube__seconds_at(const struct json *value, const char *path, int64_t *out);
/* Age of a time at path below value, "<unknown>" without one. */
const char *kube__age_at(struct kube__row *row, const struct json *value, const char *path);
/* Status of the condition of this type in the array; data NULL: there is none. */
struct slice kube__condition(const struct json *conditions, const char *type);
bool kube__condition_true(const struct json *conditions, const char *type);
bool kube__is_deleted(const struct kube__row *row);
/* Members of an object sorted by key, in arena. */
const struct json **kube__sorted(struct arena *arena, const struct json *object);
/* Adds what metav1.LabelSelector selects, as upstream's selectors are printed. */
void kube__add_selector(struct kube__row *row, const struct json *selector);

#endif
