/* Field tables of the Kubernetes API types: what a JSON member means, how protobuf numbers it, how
 * a strategic merge patch treats it. The tables are generated (tools/kube-types) and committed.
 *
 * Constant data; any thread. */
#ifndef KVD_KUBE_TYPES_TYPES_H
#define KVD_KUBE_TYPES_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum kube_kind {
    KUBE_STRING,
    KUBE_BOOL,
    KUBE_INT32,
    KUBE_INT64,
    KUBE_DOUBLE,
    KUBE_BYTES,     /* base64 in JSON */
    KUBE_TIME,      /* RFC 3339, whole seconds, UTC */
    KUBE_MICROTIME, /* RFC 3339 with six digits */
    KUBE_DURATION,  /* metav1.Duration: "1h0m0s" in JSON, a message with nanoseconds in protobuf */
    KUBE_QUANTITY,  /* a string in protobuf's message Quantity */
    KUBE_INT_OR_STRING,
    KUBE_RAW,       /* RawExtension, JSON and the like: any JSON value */
    KUBE_FIELDS_V1, /* FieldsV1: a JSON object */
    KUBE_STRUCT
};

enum kube_shape { KUBE_ONE, KUBE_LIST, KUBE_MAP /* with string keys */ };

enum kube_field_flags {
    KUBE_OMITEMPTY = 1 << 0,   /* Go's tag: left out when empty */
    KUBE_POINTER = 1 << 1,     /* a Go pointer: absent is not the same as empty */
    KUBE_MERGE = 1 << 2,       /* patchStrategy merge */
    KUBE_REPLACE = 1 << 3,     /* patchStrategy replace */
    KUBE_RETAIN_KEYS = 1 << 4, /* patchStrategy retainKeys */
    KUBE_LIST_ITEMS = 1 << 5,  /* a named slice that protobuf wraps in a message of `items` (1); the
                                * values of a KUBE_MAP with it are such lists */
    KUBE_ENUM = 1 << 6,        /* a string type with named values */
    KUBE_SCHEMA_OR = 1 << 7 /* of KUBE_RAW: a schema of type, or else a bool, a list of schemas or
                             * of strings; in protobuf a message of the two */
};

enum kube_list_type {
    KUBE_ATOMIC, /* lists, and maps and structs that are marked so */
    KUBE_SET,
    KUBE_LIST_MAP, /* items are found by list_keys */
    KUBE_GRANULAR  /* no list: its parts are owned one by one */
};

/* Inline structs are flattened into their parent by the generator; inlined_in of such a field says
 * through which message numbers it is reached. */
struct kube_field {
    const char *name; /* in JSON */
    uint8_t name_len;
    uint8_t kind;          /* enum kube_kind; of the items or values if shape is not KUBE_ONE */
    uint8_t shape;         /* enum kube_shape */
    uint8_t flags;         /* enum kube_field_flags */
    uint8_t list_type;     /* enum kube_list_type, for server-side apply */
    uint16_t number;       /* protobuf; 0: none */
    uint16_t inlined_in;   /* protobuf number of the embedded message it lies in, of one within
                            * another outer << 8 | inner; 0: not inlined, or inlined without a
                            * message of its own */
    uint16_t type;         /* struct id if kind is KUBE_STRUCT, or with KUBE_SCHEMA_OR */
    const char *merge_key; /* patchMergeKey; NULL: none */
    const char *list_keys; /* of KUBE_LIST_MAP, comma-separated; NULL: none */
};

/* Fields are in the order in which Go writes them: kind and apiVersion first for objects. */
struct kube_struct {
    const char *name;    /* "DeploymentSpec" */
    const char *package; /* "apps/v1" */
    const struct kube_field *fields;
    uint16_t field_count;

    /* private: how kube_field_find() finds one */
    uint8_t slot_bits;
    uint16_t first_slot;
    uint32_t seed;
};

/* Struct by its id, as in kube_field.type. */
const struct kube_struct *kube_struct(uint16_t id);
uint16_t kube_struct_count(void);
/* By name: ("apps/v1", "Deployment"), ("meta/v1", "DeleteOptions"); NULL if there is none. */
const struct kube_struct *kube_struct_find(const char *package, const char *name);
/* Field by JSON name, exact case; NULL. */
const struct kube_field *kube_field_find(const struct kube_struct *type, struct slice name);
/* Field by protobuf number (inlined_in 0 for those that are not inlined); number is not 0; NULL. */
const struct kube_field *kube_field_numbered(const struct kube_struct *type, uint16_t inlined_in,
                                             uint16_t number);

#endif
