/* Shared inside kube/check only. */
#ifndef KVD_KUBE_CHECK_INTERNAL_H
#define KVD_KUBE_CHECK_INTERNAL_H

#include "base/arena.h"
#include "base/slice.h"
#include "base/util.h"
#include "kube/check/normal.h"
#include "kube/check/rules.h"

/* "%.*s" of a slice. */
#define TEXT(slice) (int)(slice).len, (const char *)(slice).data

/* Absent, or what Go writes for absent: null, "", [] or {}. */
static inline bool check__missing(const struct json *value)
{
    if (value == NULL || value->type == JSON_NULL)
        return true;
    if (value->type == JSON_STRING)
        return value->len == 0;
    return (value->type == JSON_ARRAY || value->type == JSON_OBJECT) && value->count == 0;
}
static inline bool check__true(const struct json *value)
{
    return json_is(value, JSON_BOOL) && value->boolean;
}
static inline bool check__zero(const struct json *value)
{
    return json_is(value, JSON_NUMBER) && value->len == 1 && value->text[0] == '0';
}
/* The same, or both missing. */
static inline bool check__unchanged(const struct json *a, const struct json *b)
{
    return (check__missing(a) && check__missing(b)) || (a != NULL && b != NULL && json_same(a, b));
}

/* printf into the arena. */
const char *check__print(struct arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The text as Go's %q and encoding/json quote it: with its quotes, terminated. */
const char *check__quote(struct arena *arena, struct slice text);
/* A value as compact JSON, terminated; how messages show lists, maps and structs. */
const char *check__json(struct arena *arena, const struct json *value);

/* As kube_quantity(), kube_time(), kube_duration(); NULL or why it is none, in upstream's words. */
const char *check__quantity(struct arena *arena, struct slice text, struct slice *out);
const char *check__time(struct arena *arena, struct slice text, bool micro, struct slice *out);
const char *check__duration(struct arena *arena, struct slice text, struct slice *out);
/* Standard base64 as Go's decoder takes it (line ends are skipped). *out is its canonical text,
 * without line ends. NULL, or "illegal base64 data at input byte N". */
const char *check__base64(struct arena *arena, struct slice text, struct slice *out);
/* The base64 of raw bytes. */
struct slice check__base64_encode(struct arena *arena, struct slice raw);

/* ---- texts found by hash ---- */

/* Borrows the texts. */
struct check__set {
    struct slice *slots; /* data NULL: free */
    size_t size;         /* a power of two, at least twice as many as there are texts */
};

/* Room for count texts. */
void check__set_init(struct check__set *set, struct arena *arena, size_t count);
/* With the items of list: their text, or that of their member key. */
void check__set_init_names(struct check__set *set, struct arena *arena, const struct json *list,
                           const char *key);
/* False if it was there. */
bool check__set_add(struct check__set *set, struct slice text);
bool check__set_has(const struct check__set *set, struct slice text);

/* ---- rules: what is checked, and where ---- */

/* A place in the object, for the fields of causes; lives on the stack. */
struct check__place {
    const struct check__place *parent;
    const char *name; /* "spec.template"; NULL: an item, or a member by key */
    size_t index;
    struct slice key; /* data not NULL: [key], a map's value */
};

struct checker {
    struct arena *arena;
    const struct kube_resource *resource;
    const struct json *old; /* NULL: a create */
    const struct json *object;
    struct kube_issues issues;
};

/* "spec.containers[0].name"; name and place may be NULL. */
const char *check__path(struct checker *checker, const struct check__place *place,
                        const char *name);
/* Adds `Invalid value: <value as JSON>: <text>` for the member name of the place (NULL: for
 * itself).
 */
void check__invalid(struct checker *checker, const struct check__place *place, const char *name,
                    const struct json *value, const char *text);
/* The same with the value already printed. */
void check__invalid_text(struct checker *checker, const struct check__place *place,
                         const char *name, const char *value, const char *text);
/* `Required value`, with ": <text>" if it is not NULL or empty. */
void check__required(struct checker *checker, const struct check__place *place, const char *name,
                     const char *text);
void check__forbidden(struct checker *checker, const struct check__place *place, const char *name,
                      const char *text);
void check__duplicate(struct checker *checker, const struct check__place *place, const char *name,
                      const struct json *value);
/* `Unsupported value: "x": supported values: "A", "B"`; values are separated by spaces. */
void check__unsupported(struct checker *checker, const struct check__place *place, const char *name,
                        const struct json *value, const char *values);

#define CHECK_NAME_COMPLAINTS_MAX 5
typedef unsigned check__name_check(struct slice text, const char **out);

enum check__what {
    CHECK_END,
    CHECK_REQUIRED, /* there and not empty; text: what the complaint adds */
    CHECK_ENUM,     /* text: the values, separated by spaces; an absent one passes */
    CHECK_NOT_NEGATIVE,
    CHECK_RANGE, /* low..high; text: the complaint */
    CHECK_PORT,  /* 1..65535 */
    CHECK_NAME,  /* name */
    CHECK_LABELS,
    CHECK_SELECTOR,
    CHECK_IMMUTABLE, /* text: it is Forbidden with this, NULL: Invalid, "field is immutable" */
    CHECK_UNIQUE,    /* text: the member by which items of the list must differ */
    CHECK_IN,        /* table, for the struct at path, if it is there */
    CHECK_EACH,      /* table, for every item of the list or value of the map at path */
    CHECK_CALL       /* call, with the value at path (which may be NULL) */
};

/* One thing that must hold below a value. Tables end with a row of zeros. */
struct check__rule {
    const char *path; /* members only, "spec.template"; NULL with CHECK_CALL: the value itself */
    enum check__what what;
    const char *text;
    const struct check__rule *table;
    check__name_check *name;
    void (*call)(struct checker *checker, const struct check__place *place,
                 const struct json *value);
    int64_t low, high;
};

/* place NULL: value is the whole object, old (NULL: there is none) what was there before. */
void check__run(struct checker *checker, const struct check__rule *table,
                const struct check__place *place, const struct json *value, const struct json *old);

/* Rules of a pod's spec, and of the template that workloads make pods of. */
extern const struct check__rule check__pod_template[];
extern const struct check__rule check__pod[];
/* What may change in a pod. */
void check__pod_update(struct checker *checker);
struct check__kind_rules {
    const char *group, *kind; /* group NULL: the end */
    const struct check__rule *rules;
};

extern const struct check__kind_rules check__workload_kinds[];
extern const struct check__kind_rules check__network_kinds[];
extern const struct check__kind_rules check__other_kinds[];

/* ---- names ---- */

/* What is wrong with a name, into out; returns how many complaints. */
unsigned check__subdomain(struct slice text, const char **out);
unsigned check__label_1123(struct slice text, const char **out);
unsigned check__label_1035(struct slice text, const char **out);
unsigned check__path_segment(struct slice text, const char **out);
unsigned check__label_value(struct slice text, const char **out);
unsigned check__qualified_name(struct arena *arena, struct slice text, const char **out);

/* "prefix.io/name": complaints about the member name of the place (NULL: itself). */
void check__qualified(struct checker *checker, const struct check__place *place, const char *name,
                      struct slice text);
/* metadata of the object: on create, or an update if checker->old is there. */
void check__metadata(struct checker *checker);
/* Keys and values of labels; place is that of the map. */
void check__labels(struct checker *checker, const struct check__place *place,
                   const struct json *labels);
/* metav1.LabelSelector. */
void check__label_selector(struct checker *checker, const struct check__place *place,
                           const struct json *selector);
/* True if the metav1.LabelSelector selects labels. */
bool check__selects(struct arena *arena, const struct json *selector, const struct json *labels);

#endif
