/* What a command prints, in the formats of --write-out. A format prints messages (by descriptor)
 * and reports on endpoints; what it does not know is "not supported as output format". */
#ifndef KVD_CLIENT_CTL_OUTPUT_H
#define KVD_CLIENT_CTL_OUTPUT_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/slice.h"
#include "proto/rpc.pb-c.h"

struct output {
    const struct output_format *format;
    FILE *out;
    FILE *err; /* what the simple format says of a sick endpoint */
    struct arena *arena;
    bool hex;
    bool value_only;  /* get --print-value-only */
    bool count_only;  /* get --count-only: simple prints the number, where etcdctl refuses */
    bool lease_keys;  /* lease timetolive --keys */
    int64_t lease;    /* of lease revoke, whose answer does not name it */
    const char *verb; /* of downgrade, likewise */
    /* What was asked about, for answers of user and role commands. */
    const char *user, *role;
    struct slice key, range_end;
};

/* One endpoint's answer to "endpoint status" and its like. */
struct endpoint_report {
    const char *endpoint;
    const ProtobufCMessage *message; /* StatusResponse or HashKVResponse; NULL for health */
    bool healthy;                    /* health only, and so the rest */
    const char *took;                /* "3.6ms" */
    const char *error;               /* "": none */
};

enum endpoint_report_kind { REPORT_HEALTH, REPORT_STATUS, REPORT_HASH_KV, REPORT_KIND_COUNT };

typedef void (*output_message_fn)(struct output *output, const ProtobufCMessage *message);
typedef void (*output_report_fn)(struct output *output, const struct endpoint_report *reports,
                                 size_t len);

struct output_printer {
    const ProtobufCMessageDescriptor *message;
    output_message_fn print;
};

struct output_format {
    const char *name;
    const struct output_printer *printers;
    size_t printers_len;
    output_message_fn any;                      /* for messages without a printer; may be NULL */
    output_report_fn report[REPORT_KIND_COUNT]; /* NULL: not supported */
};

extern const struct output_format output_simple, output_fields, output_json, output_table,
    output_protobuf;

/* NULL: there is no such format. */
const struct output_format *output_format_named(const char *name);

bool output_knows_message(const struct output *output, const ProtobufCMessageDescriptor *message);
/* Only what is known may be printed. */
void output_message(struct output *output, const ProtobufCMessage *message);
bool output_knows_report(const struct output *output, enum endpoint_report_kind kind);
void output_report(struct output *output, enum endpoint_report_kind kind,
                   const struct endpoint_report *reports, size_t len);

/* ---- for the formats ---- */

/* Answers of user and role commands (output_auth.c): rows of the tables of simple and fields. */
#define OUTPUT_AUTH_PRINTERS(X)                                                                    \
    X(auth_status)                                                                                 \
    X(auth_user_add)                                                                               \
    X(auth_user_get)                                                                               \
    X(auth_user_list)                                                                              \
    X(auth_user_delete)                                                                            \
    X(auth_user_change_password)                                                                   \
    X(auth_user_grant_role)                                                                        \
    X(auth_user_revoke_role)                                                                       \
    X(auth_role_add)                                                                               \
    X(auth_role_get)                                                                               \
    X(auth_role_list)                                                                              \
    X(auth_role_delete)                                                                            \
    X(auth_role_grant_permission)                                                                  \
    X(auth_role_revoke_permission)
#define X(name)                                                                                    \
    void output__simple_##name(struct output *output, const ProtobufCMessage *message);            \
    void output__fields_##name(struct output *output, const ProtobufCMessage *message);
OUTPUT_AUTH_PRINTERS(X)
#undef X

struct table;

/* The rows that simple and table share. */
void output__member_table(struct table *table, struct output *output,
                          const Etcdserverpb__MemberListResponse *response);
void output__report_table(struct table *table, struct output *output,
                          enum endpoint_report_kind kind, const struct endpoint_report *reports,
                          size_t len);
/* "NOSPACE"; the number for an alarm this program does not know. */
const char *output__alarm_name(struct output *output, Etcdserverpb__AlarmType alarm);

#endif
