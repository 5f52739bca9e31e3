/* Compact JSON text to text that is read by people, as Go's MarshalIndent has it; piece by piece.
 */
#ifndef KVD_KUBE_REST_INDENT_H
#define KVD_KUBE_REST_INDENT_H

#include <stdbool.h>

#include "base/buf.h"

/* Zeroed: at the start of a text. */
struct rest_indent {
    unsigned depth;
    bool in_string, escaped;
    bool opened; /* the last thing was { or [ */
};

/* in: valid compact JSON, or the next part of it, cut anywhere. KV_ETOOBIG. */
int rest_indent(struct rest_indent *state, struct slice in, struct buf *out);

#endif
