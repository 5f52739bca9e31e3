/* JSON <-> protobuf by protobuf-c's descriptors, as protojson maps them: field names as in the
 * proto (lowerCamelCase is understood too), bytes as base64, 64-bit integers as strings, enums by
 * name, zero fields left out. No code per message. Knows the types that etcd's API uses; not floats
 * and not maps. Any thread.
 *
 * json-c recurses without much thought and spends hundreds of bytes on "{}", so a value is measured
 * before it gets to see it. */
#ifndef KVD_SERVER_JSON_PB_H
#define KVD_SERVER_JSON_PB_H

#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum {
    JSON_PB_DEPTH_MAX = 100,      /* of brackets */
    JSON_PB_ELEMENTS_MAX = 65536, /* values in one message */
};

/* Splits the first JSON value off the front of *rest, white space around it dropped; an empty
 * *value when there is none. It is not checked beyond what can be told by its brackets and quotes.
 * KV_EPROTO: it does not end, or a limit is passed. */
int json_pb_split(struct slice *rest, struct slice *value, struct err *err);

/* Appends to out the protobuf form of a value from json_pb_split(). Nothing but an object or null
 * (an empty message) is taken; unknown fields are ignored; of two equal names the last counts, as
 * in etcd 3.4, for json-c does not tell.
 * KV_EPROTO with a text for the client; KV_ETOOBIG from out, which then holds a part. */
int json_pb_parse(const ProtobufCMessageDescriptor *type, struct slice value, struct buf *out,
                  struct err *err);

/* Appends the JSON form of the message, without white space. KV_ETOOBIG from out. */
int json_pb_print(const ProtobufCMessage *message, struct buf *out);

/* The same of a message that comes in pieces, as its sender packed it: fields in the order of their
 * numbers. Holds no more of it than one field. */
struct json_pb_stream {
    const ProtobufCMessageDescriptor *type;
    struct buf rest;                      /* of a field that is not whole */
    const ProtobufCFieldDescriptor *list; /* whose "[" is open */
    bool begun;                           /* the "{" is out */
    bool first;                           /* no field is out yet */
};

void json_pb_stream_init(struct json_pb_stream *stream, const ProtobufCMessageDescriptor *type);
/* Appends what the piece completes. KV_EPROTO: it is no such message. */
int json_pb_stream_feed(struct json_pb_stream *stream, struct slice piece, struct buf *out);
/* All pieces have come; appends the end. KV_EPROTO: a field is cut off. */
int json_pb_stream_end(struct json_pb_stream *stream, struct buf *out);
void json_pb_stream_release(struct json_pb_stream *stream);

/* Appends the text as a JSON string, quotes included; what is no UTF-8 becomes U+FFFD. */
int json_pb_print_string(struct slice text, struct buf *out);

#endif
