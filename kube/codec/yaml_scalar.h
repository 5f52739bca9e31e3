/* What a plain scalar of YAML means to sigs.k8s.io/yaml (YAML 1.1 as go-yaml v2 reads it): shared
 * by reading and writing, so that what is written reads as the same value. Any thread. */
#ifndef KVD_KUBE_CODEC_YAML_SCALAR_H
#define KVD_KUBE_CODEC_YAML_SCALAR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum kube_scalar_kind {
    KUBE_SCALAR_STRING,
    KUBE_SCALAR_NULL,
    KUBE_SCALAR_BOOL,
    KUBE_SCALAR_INT,
    KUBE_SCALAR_FLOAT,
    KUBE_SCALAR_NOT_FINITE, /* .inf, .nan: no JSON */
    KUBE_SCALAR_TIMESTAMP,  /* read as a string */
    KUBE_SCALAR_MERGE       /* << */
};

/* Room for any number as text, its NUL included. */
#define KUBE_SCALAR_SIZE 64

struct kube_scalar {
    enum kube_scalar_kind kind;
    bool boolean;
    double number;               /* KUBE_SCALAR_FLOAT */
    char text[KUBE_SCALAR_SIZE]; /* of KUBE_SCALAR_INT and KUBE_SCALAR_FLOAT: as Go's JSON has it */
};

struct kube_scalar kube_scalar_resolve(struct slice plain);
/* The text of a float as a map's key: in single precision, Go's %g. out: KUBE_SCALAR_SIZE. */
void kube_scalar_float_key(double number, char *out);
/* A base 60 number of YAML 1.1 ("1:30"): a string to us, a number to others, so it is quoted. */
bool kube_scalar_is_base60(struct slice text);

#endif
