/* Messages as JSON, the way Go's encoding/json prints etcd's structs: 64-bit values are numbers,
 * bytes are base64, enums are numbers, fields that are zero are left out. One emitter walks the
 * protobuf-c descriptors; no message has code of its own. */
#ifndef KVD_CLIENT_CTL_JSON_H
#define KVD_CLIENT_CTL_JSON_H

#include <json-c/json.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdio.h>

/* The caller's to json_object_put(). hex_ids: ids of members and clusters become hex strings.
 * message may be NULL: null. */
struct json_object *json_of_message(const ProtobufCMessage *message, bool hex_ids);

/* A string that prints with Go's escapes (<, > and & among them). */
struct json_object *json_of_string(const char *text);

/* Base64. */
struct json_object *json_of_bytes(const ProtobufCBinaryData *bytes);

/* One line. */
void json_print(FILE *out, struct json_object *json);

#endif
