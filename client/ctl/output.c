/* Choosing a format, and the two formats that need no code per message: json and protobuf. */
#include "client/ctl/output.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/util.h"
#include "client/ctl/json.h"
#include "client/ctl/output_watch.h"

const struct output_format *output_format_named(const char *name)
{
    static const struct output_format *const formats[] = {
        &output_simple, &output_fields, &output_json, &output_table, &output_protobuf,
    };
    size_t i;

    for (i = 0; i < ARRAY_LEN(formats); i++) {
        if (strcmp(formats[i]->name, name) == 0)
            return formats[i];
    }
    return NULL;
}

static output_message_fn printer_of(const struct output *output,
                                    const ProtobufCMessageDescriptor *message)
{
    const struct output_format *format = output->format;
    size_t i;

    for (i = 0; i < format->printers_len; i++) {
        if (format->printers[i].message == message)
            return format->printers[i].print;
    }
    return format->any;
}

bool output_knows_message(const struct output *output, const ProtobufCMessageDescriptor *message)
{
    return printer_of(output, message) != NULL;
}

void output_message(struct output *output, const ProtobufCMessage *message)
{
    output_message_fn print = printer_of(output, message->descriptor);

    ASSERT(print != NULL);
    print(output, message);
}

bool output_knows_report(const struct output *output, enum endpoint_report_kind kind)
{
    return output->format->report[kind] != NULL;
}

void output_report(struct output *output, enum endpoint_report_kind kind,
                   const struct endpoint_report *reports, size_t len)
{
    ASSERT(output->format->report[kind] != NULL);
    output->format->report[kind](output, reports, len);
}

/* ---- json ---- */

static void json_message(struct output *output, const ProtobufCMessage *message)
{
    /* etcdctl's --hex reaches ids in answers about members and leaves other headers alone */
    bool members = message->descriptor == &etcdserverpb__member_list_response__descriptor;
    struct json_object *json = json_of_message(message, output->hex && members);

    json_print(output->out, json);
    (void)json_object_put(json);
}

/* Go prints a slice that was never filled as null. */
static void print_array(struct output *output, struct json_object *array)
{
    json_print(output->out, json_object_array_length(array) != 0 ? array : NULL);
    (void)json_object_put(array);
}

static void json_health(struct output *output, const struct endpoint_report *reports, size_t len)
{
    struct json_object *array = json_object_new_array();
    size_t i;

    for (i = 0; i < len; i++) {
        struct json_object *one = json_object_new_object();

        (void)json_object_object_add(one, "endpoint", json_of_string(reports[i].endpoint));
        (void)json_object_object_add(one, "health", json_object_new_boolean(reports[i].healthy));
        (void)json_object_object_add(one, "took", json_of_string(reports[i].took));
        if (reports[i].error[0] != '\0')
            (void)json_object_object_add(one, "error", json_of_string(reports[i].error));
        (void)json_object_array_add(array, one);
    }
    print_array(output, array);
}

static void json_report(struct output *output, const struct endpoint_report *reports, size_t len,
                        const char *member)
{
    struct json_object *array = json_object_new_array();
    size_t i;

    for (i = 0; i < len; i++) {
        struct json_object *one = json_object_new_object();

        (void)json_object_object_add(one, "Endpoint", json_of_string(reports[i].endpoint));
        (void)json_object_object_add(one, member, json_of_message(reports[i].message, false));
        (void)json_object_array_add(array, one);
    }
    print_array(output, array);
}

static void json_status(struct output *output, const struct endpoint_report *reports, size_t len)
{
    json_report(output, reports, len, "Status");
}

static void json_hash_kv(struct output *output, const struct endpoint_report *reports, size_t len)
{
    json_report(output, reports, len, "HashKV");
}

static const struct output_printer json_printers[] = {OUTPUT_PRINTERS(OUTPUT_JSON_ROW)};

const struct output_format output_json = {
    .name = "json",
    .printers = json_printers,
    .printers_len = ARRAY_LEN(json_printers),
    .any = json_message,
    .report = {[REPORT_HEALTH] = json_health,
               [REPORT_STATUS] = json_status,
               [REPORT_HASH_KV] = json_hash_kv},
};

/* ---- protobuf ---- */

static void protobuf_message(struct output *output, const ProtobufCMessage *message)
{
    uint8_t *bytes = xmalloc(protobuf_c_message_get_packed_size(message));
    size_t len = protobuf_c_message_pack(message, bytes);

    fwrite(bytes, 1, len, output->out); /* ctl_run() looks for errors of the stream at the end */
    free(bytes);
}

const struct output_format output_protobuf = {
    .name = "protobuf",
    .any = protobuf_message,
};
