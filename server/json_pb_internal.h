/* Shared by json_pb.c, json_pb_print.c and json_pb_stream.c. */
#ifndef KVD_SERVER_JSON_PB_INTERNAL_H
#define KVD_SERVER_JSON_PB_INTERNAL_H

#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"
#include "base/slice.h"

/* Length of the character at the front of text (RFC 3629, section 4); 0 if it is none. */
size_t json_pb__utf8(struct slice text);

/* "name":value with a comma before it unless it is the first; nothing if it is absent. base is the
 * message. */
int json_pb__put_field(const ProtobufCFieldDescriptor *field, const uint8_t *base, bool *first,
                       struct buf *out);
/* The values of a list, with commas between them; at points to the first. */
int json_pb__put_values(const ProtobufCFieldDescriptor *field, const void *at, size_t count,
                        struct buf *out);

#endif
