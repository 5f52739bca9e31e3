/* Label and field selectors as they come in queries: parsed once, asked for every object. */
#ifndef KVD_KUBE_CHECK_SELECTOR_H
#define KVD_KUBE_CHECK_SELECTOR_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/slice.h"
#include "kube/json/json.h"
#include "kube/types/kinds.h"
#include "kube/types/status.h"

enum kube_operator {
    KUBE_EXISTS,
    KUBE_NOT_EXISTS,
    KUBE_IN,     /* =, == and in */
    KUBE_NOT_IN, /* != and notin; a missing label matches */
    KUBE_GREATER,
    KUBE_LESS
};

struct kube_requirement {
    struct kube_requirement *next;
    struct slice key; /* label, or path of a field */
    enum kube_operator op;
    struct slice *values; /* sorted, each once */
    size_t value_count;
    int64_t number;       /* KUBE_GREATER, KUBE_LESS */
    struct slice missing; /* of fields: what an object without it compares as ("", "false", "0") */
};

/* All must hold. No requirements: matches everything. Lives in the arena it was parsed into. */
struct kube_selector {
    struct kube_requirement *labels;
    struct kube_requirement *fields;
};

/* Where a selector reads an object: the value of a label or of a selectable field. data NULL: there
 * is none. */
struct kube_selected {
    struct slice (*label)(const void *object, struct slice key);
    struct slice (*field)(const void *object, struct slice path);
};

/* Adds the parameter's requirements, which borrow from text. 0, or 400 with upstream's text
 * ("unable to parse requirement: found '' expected: '('"). */
int kube_label_selector_parse(struct arena *arena, struct slice text, struct kube_selector *out,
                              struct kube_status *status);
/* Paths must be metadata.name, metadata.namespace or among the resource's selectable ones: else 400
 * (`"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"`). */
int kube_field_selector_parse(struct arena *arena, const struct kube_resource *resource,
                              struct slice text, struct kube_selector *out,
                              struct kube_status *status);
bool kube_selector_matches(const struct kube_selector *selector, const struct kube_selected *how,
                           const void *object);
/* True if nothing is asked. */
bool kube_selector_empty(const struct kube_selector *selector);
/* The value that field path must have (`metadata.name=x`), so that one object can be read instead
 * of all; data NULL if the selector does not pin it. */
struct slice kube_selector_pins(const struct kube_selector *selector, const char *path);

/* How a tree is read. */
extern const struct kube_selected kube_selected_json;

#endif
