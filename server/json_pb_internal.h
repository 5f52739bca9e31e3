/* Shared by json_pb.c and json_pb_print.c. */
#ifndef KVD_SERVER_JSON_PB_INTERNAL_H
#define KVD_SERVER_JSON_PB_INTERNAL_H

#include <stddef.h>

#include "base/slice.h"

/* Length of the character at the front of text (RFC 3629, section 4); 0 if it is none. */
size_t json_pb__utf8(struct slice text);

#endif
