/* metav1.Status: every failure that a client of kvapi sees. Built in a request's arena by whoever
 * finds the failure, written by kube/rest. The texts are upstream's, since clients show and match
 * them. */
#ifndef KVD_KUBE_TYPES_STATUS_H
#define KVD_KUBE_TYPES_STATUS_H

#include <stdint.h>

#include "base/arena.h"
#include "base/slice.h"
#include "base/util.h"
#include "kube/json/json.h"
#include "kube/types/kinds.h"

struct kube_cause {
    struct kube_cause *next;
    const char *reason; /* "FieldValueInvalid"; NULL: left out */
    const char *message;
    const char *field; /* "metadata.name"; NULL: left out */
};

/* Zeroed (code 0): all is well. Texts live in the arena or are static. */
struct kube_status {
    int code;           /* HTTP */
    const char *reason; /* "NotFound"; NULL: left out */
    const char *message;
    /* details; it is written if has_details is set or any of them is. */
    bool has_details;
    const char *name, *group, *kind, *uid; /* NULL: left out */
    struct kube_cause *causes;
    int retry_after_s;          /* 0: left out */
    const char *continue_token; /* in metadata, for 410; NULL: left out */
};

/* All return status->code, so that `return kube_status_...(...)` reads as one. Every argument is
 * copied into arena. resource NULL: no details of one. */
int kube_status_set(struct kube_status *status, struct arena *arena, int code, const char *reason,
                    const char *fmt, ...) PRINTF_LIKE(5, 6);
int kube_status_bad_request(struct kube_status *status, struct arena *arena, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
int kube_status_not_found(struct kube_status *status, struct arena *arena,
                          const struct kube_resource *resource, struct slice name);
int kube_status_exists(struct kube_status *status, struct arena *arena,
                       const struct kube_resource *resource, struct slice name);
/* 409 Conflict with `Operation cannot be fulfilled on configmaps "c1": <fmt>`; fmt NULL: "the
 * object has been modified; please apply your changes to the latest version and try again". */
int kube_status_conflict(struct kube_status *status, struct arena *arena,
                         const struct kube_resource *resource, struct slice name, const char *fmt,
                         ...) PRINTF_LIKE(5, 6);
int kube_status_forbidden(struct kube_status *status, struct arena *arena,
                          const struct kube_resource *resource, struct slice name, const char *fmt,
                          ...) PRINTF_LIKE(5, 6);
int kube_status_internal(struct kube_status *status, struct arena *arena, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* ---- 422 Invalid: first causes, then the status out of them ---- */

/* More than this many help nobody, and are dropped. */
#define KUBE_ISSUES_MAX 1000

/* field.ErrorList of upstream. Begin zeroed. */
struct kube_issues {
    struct kube_cause *first, *last;
    unsigned count;
};

/* type is the part after "FieldValue": "Required", "Invalid", "NotSupported", "Duplicate",
 * "Forbidden", "TooLong", "TooMany", "TypeInvalid". The cause's message is fmt's text, as upstream
 * has it in causes ("Invalid value: \"C_1\": a lowercase ..."). field is copied. */
void kube_issues_add(struct kube_issues *issues, struct arena *arena, const char *type,
                     const char *field, const char *fmt, ...) PRINTF_LIKE(5, 6);
/* `ConfigMap "C_1" is invalid: metadata.name: <cause>` or `... is invalid: [a, b]`, details with
 * Kind, group, name and the causes. kind such as "ConfigMap", "ListOptions". Causes with the same
 * text appear once in the message, as upstream's aggregate does. */
int kube_status_invalid(struct kube_status *status, struct arena *arena, const char *group,
                        const char *kind, struct slice name, const struct kube_issues *issues);

/* The object {"kind":"Status","apiVersion":"v1",...}. */
struct json *kube_status_json(struct arena *arena, const struct kube_status *status);

#endif
