/* How watch and lease answers look: their printers, for the tables of the formats. */
#ifndef KVD_CLIENT_CTL_OUTPUT_WATCH_H
#define KVD_CLIENT_CTL_OUTPUT_WATCH_H

#include "client/ctl/output.h"

#define OUTPUT_PRINTERS(X)                                                                         \
    X(watch)                                                                                       \
    X(lease_grant)                                                                                 \
    X(lease_revoke)                                                                                \
    X(lease_keep_alive)                                                                            \
    X(lease_time_to_live)                                                                          \
    X(lease_leases)

#define X(name)                                                                                    \
    void output__simple_##name(struct output *output, const ProtobufCMessage *message);            \
    void output__fields_##name(struct output *output, const ProtobufCMessage *message);            \
    void output__json_##name(struct output *output, const ProtobufCMessage *message);
OUTPUT_PRINTERS(X)
#undef X

/* Rows for a format's table. */
#define OUTPUT_ROW(format, name)                                                                   \
    {                                                                                              \
        &etcdserverpb__##name##_response__descriptor, output__##format##_##name                    \
    }
#define OUTPUT_SIMPLE_ROW(name) OUTPUT_ROW(simple, name),
#define OUTPUT_FIELDS_ROW(name) OUTPUT_ROW(fields, name),
#define OUTPUT_JSON_ROW(name) OUTPUT_ROW(json, name),

/* Of the older printers. */
void output__simple_kv(struct output *output, const Mvccpb__KeyValue *kv);
void output__fields_header(struct output *output, const Etcdserverpb__ResponseHeader *header);
void output__fields_kv(struct output *output, const char *prev, const Mvccpb__KeyValue *kv);

#endif
