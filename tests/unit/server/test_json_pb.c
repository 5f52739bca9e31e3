/* JSON <-> protobuf: every message type with generated content there and back, and what JSON can
 * get wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "base/arena.h"
#include "base/codec.h"
#include "base/mem.h"
#include "base/prng.h"
#include "proto/rpc.pb-c.h"
#include "server/json_pb.h"
#include "server/scan.h"

#define TYPE(name) &etcdserverpb__##name##__descriptor

static const ProtobufCMessageDescriptor *const types[] = {
    &mvccpb__key_value__descriptor,
    &mvccpb__event__descriptor,
    TYPE(response_header),
    TYPE(range_request),
    TYPE(range_response),
    TYPE(put_request),
    TYPE(put_response),
    TYPE(delete_range_request),
    TYPE(delete_range_response),
    TYPE(request_op),
    TYPE(response_op),
    TYPE(compare),
    TYPE(txn_request),
    TYPE(txn_response),
    TYPE(compaction_request),
    TYPE(compaction_response),
    TYPE(member),
    TYPE(member_list_request),
    TYPE(member_list_response),
    TYPE(alarm_request),
    TYPE(alarm_member),
    TYPE(alarm_response),
    TYPE(status_request),
    TYPE(downgrade_info),
    TYPE(status_response),
    TYPE(hash_request),
    TYPE(hash_response),
    TYPE(hash_kvrequest),
    TYPE(hash_kvresponse),
    TYPE(watch_request),
    TYPE(watch_create_request),
    TYPE(watch_cancel_request),
    TYPE(watch_progress_request),
    TYPE(watch_response),
    TYPE(lease_grant_request),
    TYPE(lease_grant_response),
    TYPE(lease_revoke_request),
    TYPE(lease_revoke_response),
    TYPE(lease_keep_alive_request),
    TYPE(lease_keep_alive_response),
    TYPE(lease_time_to_live_request),
    TYPE(lease_time_to_live_response),
    TYPE(lease_leases_request),
    TYPE(lease_status),
    TYPE(lease_leases_response),
};

struct fixture {
    struct arena arena;
    struct buf wire, json;
    struct err err;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    arena_init(&f->arena);
    buf_init(&f->wire, SIZE_MAX / 2);
    buf_init(&f->json, SIZE_MAX / 2);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    arena_release(&f->arena);
    buf_release(&f->wire);
    buf_release(&f->json);
    free(f);
    return 0;
}

/* The first value of text as protobuf in f->wire. */
static int parse_bytes(struct fixture *f, const ProtobufCMessageDescriptor *type, struct slice text)
{
    struct slice value;
    int rc;

    buf_reset(&f->wire);
    f->err = (struct err)ERR_INIT;
    rc = json_pb_split(&text, &value, &f->err);
    return rc == 0 ? json_pb_parse(type, value, &f->wire, &f->err) : rc;
}

static int parse(struct fixture *f, const ProtobufCMessageDescriptor *type, const char *text)
{
    return parse_bytes(f, type, slice_str(text));
}

static void *parsed(struct fixture *f, const ProtobufCMessageDescriptor *type, const char *text)
{
    ProtobufCMessage *message;

    if (parse(f, type, text) != 0)
        fail_msg("%s: %s", text, f->err.text);
    assert_int_equal(scan_unpack(type, buf_slice(&f->wire), &f->arena, &message), 0);
    return message;
}

static Etcdserverpb__RangeRequest *range(struct fixture *f, const char *text)
{
    return parsed(f, TYPE(range_request), text);
}

static void refuse(struct fixture *f, const ProtobufCMessageDescriptor *type, const char *text,
                   const char *why)
{
    if (parse(f, type, text) != KV_EPROTO)
        fail_msg("taken: %.100s", text);
    if (strstr(f->err.text, why) == NULL)
        fail_msg("%.100s: '%s' does not say '%s'", text, f->err.text, why);
}

static const char *printed(struct fixture *f, const ProtobufCMessage *message)
{
    buf_reset(&f->json);
    assert_int_equal(json_pb_print(message, &f->json), 0);
    assert_int_equal(buf_append_u8(&f->json, 0), 0);
    return (const char *)f->json.data;
}

/* ---- there and back ---- */

static void generate(struct prng *prng, const ProtobufCMessageDescriptor *type, int depth,
                     struct buf *out);

static uint64_t any_integer(struct prng *prng, ProtobufCType type)
{
    static const uint64_t edges[] = {0,         1,          INT32_MAX,  UINT32_MAX,
                                     INT64_MAX, UINT64_MAX, UINT64_MAX, (uint64_t)INT64_MIN};
    uint64_t value = prng_next(prng) % 2 == 0 ? edges[prng_next(prng) % ARRAY_LEN(edges)]
                                              : prng_next(prng) >> prng_next(prng) % 64;

    if (type == PROTOBUF_C_TYPE_UINT32)
        return (uint32_t)value;
    if (type == PROTOBUF_C_TYPE_INT32)
        return (uint64_t)(int64_t)(int32_t)value;
    return value;
}

static void put_string(struct prng *prng, struct buf *out)
{
    static const char *const pieces[] = {
        "a",  "\"",       "\\",           "/",    "\n", "\x01",
        "\t", "\xc3\xa9", "\xe2\x82\xac", "\x7f", "<",  "\xf0\x9f\x98\x80"};
    char text[256] = "";
    size_t count = prng_next(prng) % 20;

    for (size_t i = 0; i < count; i++)
        (void)strcat(text, pieces[prng_next(prng) % ARRAY_LEN(pieces)]);
    (void)buf_append_varint(out, strlen(text));
    (void)buf_append(out, text, strlen(text));
}

static void put_bytes(struct prng *prng, struct buf *out)
{
    size_t len = prng_next(prng) % 50;

    (void)buf_append_varint(out, len);
    for (size_t i = 0; i < len; i++)
        (void)buf_append_u8(out, (uint8_t)prng_next(prng));
}

static void put_value(struct prng *prng, const ProtobufCFieldDescriptor *field, int depth,
                      struct buf *out)
{
    bool lengthy = field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_BYTES ||
                   field->type == PROTOBUF_C_TYPE_MESSAGE;
    const ProtobufCEnumDescriptor *names;
    struct buf inner;

    (void)buf_append_varint(out, (uint64_t)field->id << 3 | (lengthy ? 2 : 0));
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        put_string(prng, out);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        put_bytes(prng, out);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        buf_init(&inner, SIZE_MAX / 2);
        generate(prng, field->descriptor, depth + 1, &inner);
        (void)buf_append_varint(out, inner.len);
        (void)buf_append(out, inner.data, inner.len);
        buf_release(&inner);
        break;
    case PROTOBUF_C_TYPE_ENUM:
        names = field->descriptor;
        (void)buf_append_varint(out, prng_next(prng) % (names->n_values + 1)); /* one unknown */
        break;
    case PROTOBUF_C_TYPE_BOOL:
        (void)buf_append_varint(out, prng_next(prng) % 2);
        break;
    default:
        (void)buf_append_varint(out, any_integer(prng, field->type));
    }
}

static void generate(struct prng *prng, const ProtobufCMessageDescriptor *type, int depth,
                     struct buf *out)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        size_t count = prng_next(prng) % (field->label == PROTOBUF_C_LABEL_REPEATED ? 4 : 2);

        if (field->type == PROTOBUF_C_TYPE_MESSAGE && depth > 4)
            continue;
        for (size_t k = 0; k < count; k++)
            put_value(prng, field, depth, out);
    }
}

static struct slice packed(struct arena *arena, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = arena_alloc(arena, len + 1);

    assert_int_equal(protobuf_c_message_pack(message, bytes), len);
    return slice_of(bytes, len);
}

static void there_and_back(struct fixture *f, struct prng *prng,
                           const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *before, *after;
    struct json_object *tree;
    struct slice bytes;
    const char *text;

    buf_reset(&f->wire);
    generate(prng, type, 1, &f->wire);
    bytes = arena_copy(&f->arena, buf_slice(&f->wire));
    assert_int_equal(scan_unpack(type, bytes, &f->arena, &before), 0);
    text = printed(f, before);
    tree = json_tokener_parse(text); /* is it what others take for JSON? */
    assert_non_null(tree);
    (void)json_object_put(tree);
    after = parsed(f, type, text);
    if (!slice_eq(packed(&f->arena, before), packed(&f->arena, after)))
        fail_msg("%s: %s", type->name, text);
    arena_reset(&f->arena);
}

static void every_message_survives_the_way_there_and_back(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = (uint64_t)time(NULL);
    struct prng prng;

    print_message("seed %llu\n", (unsigned long long)seed);
    prng_seed(&prng, seed);
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        for (int n = 0; n < 200; n++)
            there_and_back(f, &prng, types[i]);
}

/* Cut anywhere, a message becomes the same text. */
static void in_pieces(struct fixture *f, struct prng *prng, const ProtobufCMessageDescriptor *type)
{
    struct json_pb_stream stream;
    ProtobufCMessage *message;
    struct slice bytes;
    struct buf text;

    buf_reset(&f->wire);
    generate(prng, type, 1, &f->wire);
    assert_int_equal(scan_unpack(type, buf_slice(&f->wire), &f->arena, &message), 0);
    bytes = packed(&f->arena, message);
    buf_init(&text, SIZE_MAX / 2);
    json_pb_stream_init(&stream, type);
    while (bytes.len > 0) {
        size_t n = (size_t)prng_between(prng, 1, 40);

        n = MIN(n, bytes.len);
        assert_int_equal(json_pb_stream_feed(&stream, slice_of(bytes.data, n), &text), 0);
        bytes = slice_of(bytes.data + n, bytes.len - n);
    }
    assert_int_equal(json_pb_stream_end(&stream, &text), 0);
    json_pb_stream_release(&stream);
    (void)printed(f, message);
    assert_int_equal(text.len, f->json.len - 1);
    assert_memory_equal(text.data, f->json.data, text.len);
    buf_release(&text);
    arena_reset(&f->arena);
}

static void message_in_pieces_becomes_the_same_text(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = (uint64_t)time(NULL);
    struct prng prng;

    print_message("seed %llu\n", (unsigned long long)seed);
    prng_seed(&prng, seed);
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        for (int n = 0; n < 200; n++)
            in_pieces(f, &prng, types[i]);
}

static void message_cut_off_is_refused(void **state)
{
    static const uint8_t bytes[] = {0x18, 1, 0x20}; /* more, and the tag of count */
    struct fixture *f = *state;
    struct json_pb_stream stream;

    json_pb_stream_init(&stream, TYPE(range_response));
    assert_int_equal(json_pb_stream_feed(&stream, slice_of(bytes, 3), &f->json), 0);
    assert_int_equal(json_pb_stream_end(&stream, &f->json), KV_EPROTO);
    json_pb_stream_release(&stream);
    json_pb_stream_init(&stream, TYPE(range_response));
    assert_int_equal(json_pb_stream_feed(&stream, slice_of("\x12\x01\x0a", 3), &f->json),
                     KV_EPROTO);
    json_pb_stream_release(&stream);
}

/* ---- written ---- */

static void answers_look_like_those_of_etcd(void **state)
{
    struct fixture *f = *state;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__AlarmMember alarm = ETCDSERVERPB__ALARM_MEMBER__INIT;
    Etcdserverpb__AlarmMember *alarms[] = {&alarm, &alarm};
    Etcdserverpb__AlarmResponse answer = ETCDSERVERPB__ALARM_RESPONSE__INIT;

    header.cluster_id = UINT64_MAX;
    header.revision = -1;
    alarm.memberid = 3;
    alarm.alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    answer.header = &header;
    answer.alarms = alarms;
    answer.n_alarms = 2;
    assert_string_equal(printed(f, &answer.base),
                        "{\"header\":{\"cluster_id\":\"18446744073709551615\",\"revision\":\"-1\"},"
                        "\"alarms\":[{\"memberID\":\"3\",\"alarm\":\"NOSPACE\"},"
                        "{\"memberID\":\"3\",\"alarm\":\"NOSPACE\"}]}");
}

static void zero_member_of_a_oneof_is_written(void **state)
{
    struct fixture *f = *state;
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT;

    assert_string_equal(printed(f, &compare.base), "{}");
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
    assert_string_equal(printed(f, &compare.base), "{\"version\":\"0\"}");
}

static void text_that_is_no_utf8_is_still_json(void **state)
{
    struct fixture *f = *state;
    Etcdserverpb__Member member = ETCDSERVERPB__MEMBER__INIT;

    member.name = (char[]){"a\xff\xc3\xe2\x82\xed\xa0\x80\"\n\x01z"};
    assert_string_equal(printed(f, &member.base),
                        "{\"name\":\"a\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd"
                        "\\\"\\n\\u0001z\"}");
}

static void output_stops_at_its_bound(void **state)
{
    Etcdserverpb__Member member = ETCDSERVERPB__MEMBER__INIT;
    struct buf out;

    (void)state;
    member.name = (char[]){"a name"};
    for (size_t max = 1; max < strlen("{\"name\":\"a name\"}"); max++) {
        buf_init(&out, max);
        assert_int_equal(json_pb_print(&member.base, &out), KV_ETOOBIG);
        buf_release(&out);
    }
}

/* ---- read ---- */

static void integers_come_as_numbers_or_strings(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(range(f, "{\"limit\":12}")->limit, 12);
    assert_int_equal(range(f, "{\"limit\":\"12\"}")->limit, 12);
    assert_int_equal(range(f, "{\"limit\":\"-12\"}")->limit, -12);
    assert_int_equal(range(f, "{\"limit\":1.0}")->limit, 1);
    assert_int_equal(range(f, "{\"limit\":-0}")->limit, 0);
    assert_true(range(f, "{\"limit\":9223372036854775807}")->limit == INT64_MAX);
    assert_true(range(f, "{\"limit\":\"-9223372036854775808\"}")->limit == INT64_MIN);
    assert_true(
        ((Etcdserverpb__Member *)parsed(f, TYPE(member), "{\"ID\":18446744073709551615}"))->id ==
        UINT64_MAX);
}

static void numbers_out_of_range_are_refused(void **state)
{
    struct fixture *f = *state;

    refuse(f, TYPE(range_request), "{\"limit\":9223372036854775808}", "out of range");
    refuse(f, TYPE(range_request), "{\"limit\":\"9223372036854775808\"}", "out of range");
    refuse(f, TYPE(range_request), "{\"limit\":\"-9223372036854775809\"}", "out of range");
    refuse(f, TYPE(range_request), "{\"limit\":\"99999999999999999999999\"}", "not an integer");
    refuse(f, TYPE(range_request), "{\"limit\":99999999999999999999999}", "");
    refuse(f, TYPE(member), "{\"ID\":-1}", "out of range");
    refuse(f, TYPE(member), "{\"ID\":\"18446744073709551616\"}", "not an integer");
    refuse(f, TYPE(hash_response), "{\"hash\":4294967296}", "out of range");
    refuse(f, TYPE(range_request), "{\"sort_order\":2147483648}", "out of range");
}

static void what_is_no_integer_is_refused(void **state)
{
    static const char *const bad[] = {"true",   "1.5",          "\"\"",   "\"x\"",
                                      "\"1x\"", "\" 1\"",       "\"+1\"", "\"0x1\"",
                                      "\"01\"", "\"1\\u0000\"", "{}",     "[1]"};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char text[64];

        (void)snprintf(text, sizeof text, "{\"limit\":%s}", bad[i]);
        refuse(f, TYPE(range_request), text, "limit");
    }
}

static void bytes_come_in_either_base64(void **state)
{
    static const struct {
        const char *text;
        struct slice bytes;
    } rows[] = {{"", {NULL, 0}},
                {"YQ==", {(const uint8_t *)"a", 1}},
                {"YQ", {(const uint8_t *)"a", 1}},
                {"YWI=", {(const uint8_t *)"ab", 2}},
                {"YWI", {(const uint8_t *)"ab", 2}},
                {"YWJj", {(const uint8_t *)"abc", 3}},
                {"YW\\nJj", {(const uint8_t *)"abc", 3}},
                {"+/8=", {(const uint8_t *)"\xfb\xff", 2}},
                {"-_8=", {(const uint8_t *)"\xfb\xff", 2}},
                {"-_8", {(const uint8_t *)"\xfb\xff", 2}},
                {"AA==", {(const uint8_t *)"", 1}}};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const Etcdserverpb__RangeRequest *request;
        char text[64];

        (void)snprintf(text, sizeof text, "{\"key\":\"%s\"}", rows[i].text);
        request = range(f, text);
        assert_true(slice_eq(slice_of(request->key.data, request->key.len), rows[i].bytes));
    }
}

static void bad_base64_is_refused(void **state)
{
    static const char *const bad[] = {
        "Y",    "YWJjZ", "YQ=",      "YQ===", "YWI==", "YWJj=", "=",
        "====", "Y=Q=",  "YQ==YQ==", "Y Q=",  "Y!==",  "+_8=",  "\\u0000"};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char text[64];

        (void)snprintf(text, sizeof text, "{\"key\":\"%s\"}", bad[i]);
        refuse(f, TYPE(range_request), text, "base64");
    }
    refuse(f, TYPE(range_request), "{\"key\":1}", "base64");
}

static void enums_come_by_name_or_number(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(range(f, "{\"sort_order\":\"DESCEND\"}")->sort_order, 2);
    assert_int_equal(range(f, "{\"sort_order\":1}")->sort_order, 1);
    assert_int_equal(range(f, "{\"sort_order\":7}")->sort_order, 7);
    assert_int_equal((int)range(f, "{\"sort_order\":-7}")->sort_order, -7);
    refuse(f, TYPE(range_request), "{\"sort_order\":\"descend\"}", "sort_order: unknown name");
    refuse(f, TYPE(range_request), "{\"sort_order\":true}", "sort_order");
    refuse(f, TYPE(watch_create_request), "{\"filters\":\"NOPUT\"}", "not an array");
}

static void repeated_enums_are_a_list(void **state)
{
    struct fixture *f = *state;
    const Etcdserverpb__WatchCreateRequest *request =
        parsed(f, TYPE(watch_create_request), "{\"filters\":[\"NODELETE\",0,\"NOPUT\",1]}");

    assert_int_equal(request->n_filters, 4);
    assert_int_equal(request->filters[0], 1);
    assert_int_equal(request->filters[3], 1);
}

static void nulls_and_unknown_fields_are_passed_over(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, TYPE(range_request), "null"), 0);
    assert_int_equal(f->wire.len, 0);
    assert_int_equal(parse(f, TYPE(range_request), "{}"), 0);
    assert_int_equal(f->wire.len, 0);
    assert_int_equal(range(f, "{\"key\":null,\"limit\":3,\"sort_order\":null}")->limit, 3);
    assert_int_equal(range(f, "{\"x\":{\"limit\":[1,{\"y\":null}]},\"limit\":3}")->limit, 3);
    refuse(f, TYPE(txn_request), "{\"success\":[null]}", "not an object");
    assert_int_equal(parse(f, TYPE(txn_request), "{\"success\":[]}"), 0);
    assert_int_equal(f->wire.len, 0);
}

static void fields_answer_to_both_their_names(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(range(f, "{\"sortOrder\":1}")->sort_order, 1);
    assert_int_equal(range(f, "{\"minModRevision\":4}")->min_mod_revision, 4);
    assert_int_equal(range(f, "{\"SortOrder\":1,\"sortorder\":1}")->sort_order, 0);
    refuse(f, TYPE(range_request), "{\"sort_order\":1,\"sortOrder\":2}", "given twice");
}

static void last_of_equal_names_counts(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(range(f, "{\"limit\":1,\"limit\":2}")->limit, 2);
}

static void one_member_of_a_oneof_at_most(void **state)
{
    struct fixture *f = *state;
    const Etcdserverpb__RequestOp *op =
        parsed(f, TYPE(request_op), "{\"request_put\":{\"key\":\"YQ==\"},\"request_range\":null}");

    assert_int_equal(op->request_case, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT);
    refuse(f, TYPE(request_op), "{\"request_put\":{},\"request_range\":{}}", "only one of");
    refuse(f, TYPE(compare), "{\"version\":0,\"lease\":0}", "only one of");
    /* Zero is a choice too. */
    assert_int_equal(
        ((Etcdserverpb__Compare *)parsed(f, TYPE(compare), "{\"lease\":0}"))->target_union_case,
        ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE);
}

static void wrong_types_are_refused(void **state)
{
    struct fixture *f = *state;

    refuse(f, TYPE(range_request), "{\"keys_only\":\"true\"}", "neither true nor false");
    refuse(f, TYPE(range_request), "{\"keys_only\":1}", "neither true nor false");
    refuse(f, TYPE(member), "{\"name\":1}", "not a string");
    refuse(f, TYPE(member), "{\"peerURLs\":\"a\"}", "not an array");
    refuse(f, TYPE(member), "{\"peerURLs\":[1]}", "not a string");
    refuse(f, TYPE(put_response), "{\"header\":[]}", "not an object");
    refuse(f, TYPE(range_request), "[]", "JSON object");
    refuse(f, TYPE(range_request), "12", "JSON object");
    refuse(f, TYPE(range_request), "\"x\"", "JSON object");
    refuse(f, TYPE(range_request), "nullx", "JSON object");
}

static void strings_are_utf8_without_nul(void **state)
{
    struct fixture *f = *state;
    const Etcdserverpb__Member *member =
        parsed(f, TYPE(member), "{\"name\":\"\\u00e9\\ud83d\\ude00\\\"\\n\"}");

    assert_string_equal(member->name, "\xc3\xa9\xf0\x9f\x98\x80\"\n");
    refuse(f, TYPE(member), "{\"name\":\"a\\u0000b\"}", "NUL");
    refuse(f, TYPE(member), "{\"name\":\"\xff\"}", "");
    refuse(f, TYPE(member), "{\"name\":\"\xc3\"}", "");
    refuse(f, TYPE(member), "{\"name\":\"\xed\xa0\x80\"}", "");
    refuse(f, TYPE(member), "{\"\xff\":1}", "");
}

static void broken_json_is_refused(void **state)
{
    static const char *const bad[] = {"{",
                                      "{\"key\"",
                                      "{\"key\":",
                                      "{\"key\":\"YQ==\"",
                                      "{\"key\":}",
                                      "{,}",
                                      "{]",
                                      "{\"a\":1,}",
                                      "{'a':1}",
                                      "{\"a\" 1}",
                                      "{\"a\":1 2}",
                                      "{\"a\":tru}",
                                      "{\"a\":01}",
                                      "{\"a\":[1,]}",
                                      "{\"a\":\"\\x\"}",
                                      "{a:1}",
                                      "{\"a\":\"\\u12\"}",
                                      "{\"a\":1e}",
                                      "{\"a\":\"b}",
                                      "{\"a\":\"\n\"}",
                                      "{\"a\":1/**/}",
                                      "{\"a\":'1'}",
                                      "{\"a\":\"\\"};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        refuse(f, TYPE(range_request), bad[i], "");
}

static char *nested(const char *open, const char *middle, const char *close, size_t levels)
{
    size_t size = levels * (strlen(open) + strlen(close)) + strlen(middle) + 1;
    char *text = xmalloc(size), *at = text;

    for (size_t i = 0; i < levels; i++)
        at = stpcpy(at, open);
    at = stpcpy(at, middle);
    for (size_t i = 0; i < levels; i++)
        at = stpcpy(at, close);
    return text;
}

static void deep_nesting_is_refused_early(void **state)
{
    struct fixture *f = *state;
    char *deep = nested("{\"success\":[{\"request_txn\":", "{}", "}]}", 10000);
    char *wide = nested("[", "", "]", 10000);
    char *fits = nested("{\"a\":", "{}", "}", JSON_PB_DEPTH_MAX - 1);

    refuse(f, TYPE(txn_request), deep, "levels deep");
    refuse(f, TYPE(txn_request), wide, "levels deep");
    assert_int_equal(parse(f, TYPE(txn_request), fits), 0);
    free(deep);
    free(wide);
    free(fits);
}

/* "{}" costs json-c hundreds of bytes: so many are not even tried. */
static void number_of_values_is_bounded(void **state)
{
    struct fixture *f = *state;
    char *list = nested("{},", "{}", "", JSON_PB_ELEMENTS_MAX);
    char *text = xasprintf("{\"x\":[%s]}", list);

    refuse(f, TYPE(range_request), text, "values in one message");
    free(text);
    free(list);
}

static void body_is_split_into_its_values(void **state)
{
    struct slice rest = slice_str(" {\"a\":\"}\\\"{\"}\n{\"b\":[{}]}[1] null12{} \t\r\n"), value;
    static const char *const wants[] = {"{\"a\":\"}\\\"{\"}", "{\"b\":[{}]}", "[1]", "null12",
                                        "{}"};
    struct err err = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wants); i++) {
        assert_int_equal(json_pb_split(&rest, &value, &err), 0);
        assert_true(slice_eq(value, slice_str(wants[i])));
    }
    rest = slice_str(" \n");
    assert_int_equal(json_pb_split(&rest, &value, &err), 0);
    assert_int_equal(value.len, 0);
    rest = slice_str("{\"a\":[}");
    assert_int_equal(json_pb_split(&rest, &value, &err), KV_EPROTO);
    rest = slice_str("\"abc\\");
    assert_int_equal(json_pb_split(&rest, &value, &err), KV_EPROTO);
}

/* Generated damage: a byte changed, taken out or put in. Nothing is expected but an answer. */
static void damaged_json_does_no_harm(void **state)
{
    static const char whole[] =
        "{\"compare\":[{\"result\":\"LESS\",\"key\":\"YQ==\",\"version\":\"1\"}],"
        "\"success\":[{\"request_put\":{\"key\":\"Yg==\",\"lease\":-5,\"prev_kv\":true}},"
        "{\"request_txn\":{\"failure\":[{\"request_range\":{\"limit\":1.0}}]}}],\"x\":\"\\u00e9\"}";
    static const char chars[] = "{}[]\",:\\0123456789.eE+-truefalsnu \n\x01\x80\xff";
    struct fixture *f = *state;
    uint64_t seed = (uint64_t)time(NULL);
    struct prng prng;

    print_message("seed %llu\n", (unsigned long long)seed);
    prng_seed(&prng, seed);
    for (int n = 0; n < 20000; n++) {
        char text[sizeof whole + 8];
        size_t len = sizeof whole - 1;

        memcpy(text, whole, sizeof whole);
        for (size_t k = prng_next(&prng) % 4 + 1; k > 0; k--)
            text[prng_next(&prng) % len] = chars[prng_next(&prng) % (sizeof chars - 1)];
        if (prng_next(&prng) % 4 == 0)
            len = prng_next(&prng) % len;
        (void)parse_bytes(f, TYPE(txn_request), slice_of(text, len));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_message_survives_the_way_there_and_back),
        TEST(message_in_pieces_becomes_the_same_text),
        TEST(message_cut_off_is_refused),
        TEST(answers_look_like_those_of_etcd),
        TEST(zero_member_of_a_oneof_is_written),
        TEST(text_that_is_no_utf8_is_still_json),
        TEST(output_stops_at_its_bound),
        TEST(integers_come_as_numbers_or_strings),
        TEST(numbers_out_of_range_are_refused),
        TEST(what_is_no_integer_is_refused),
        TEST(bytes_come_in_either_base64),
        TEST(bad_base64_is_refused),
        TEST(enums_come_by_name_or_number),
        TEST(repeated_enums_are_a_list),
        TEST(nulls_and_unknown_fields_are_passed_over),
        TEST(fields_answer_to_both_their_names),
        TEST(last_of_equal_names_counts),
        TEST(one_member_of_a_oneof_at_most),
        TEST(wrong_types_are_refused),
        TEST(strings_are_utf8_without_nul),
        TEST(broken_json_is_refused),
        TEST(deep_nesting_is_refused_early),
        TEST(number_of_values_is_bounded),
        TEST(body_is_split_into_its_values),
        TEST(damaged_json_does_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
