/* What each format prints for the same answers, byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "base/prng.h"
#include "client/ctl/json.h"
#include "client/ctl/output.h"
#include "client/ctl/table.h"
#include "tests/unit/client/capture.h"

struct fixture {
    struct arena arena;
    struct capture out, err;
    struct output output;
};

static int set_up(void **state)
{
    static struct fixture f;

    f = (struct fixture){.arena = ARENA_INIT};
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    arena_release(&((struct fixture *)*state)->arena);
    return 0;
}

enum look { PLAIN = 0, HEX = 1, VALUE_ONLY = 2, COUNT_ONLY = 4 };

static void begin(struct fixture *f, const char *format, int look)
{
    capture_open(&f->out);
    capture_open(&f->err);
    f->output = (struct output){
        .format = output_format_named(format),
        .out = f->out.file,
        .err = f->err.file,
        .arena = &f->arena,
        .hex = (look & HEX) != 0,
        .value_only = (look & VALUE_ONLY) != 0,
        .count_only = (look & COUNT_ONLY) != 0,
    };
    assert_non_null(f->output.format);
}

static void end(struct fixture *f, const char *out, const char *err)
{
    assert_string_equal(captured(&f->out), out);
    assert_string_equal(captured(&f->err), err);
    capture_close(&f->out);
    capture_close(&f->err);
}

static void prints(struct fixture *f, const char *format, int look, const ProtobufCMessage *message,
                   const char *expected)
{
    begin(f, format, look);
    assert_true(output_knows_message(&f->output, message->descriptor));
    output_message(&f->output, message);
    end(f, expected, "");
}

static void reports(struct fixture *f, const char *format, enum endpoint_report_kind kind,
                    const struct endpoint_report *list, size_t len, const char *expected,
                    const char *expected_err)
{
    begin(f, format, PLAIN);
    assert_true(output_knows_report(&f->output, kind));
    output_report(&f->output, kind, list, len);
    end(f, expected, expected_err);
}

/* ---- answers ---- */

#define BYTES(text)                                                                                \
    {                                                                                              \
        sizeof(text) - 1, (uint8_t *)(uintptr_t)(text)                                             \
    }
#define KV(key_, value_, lease_)                                                                   \
    {                                                                                              \
        .base = PROTOBUF_C_MESSAGE_INIT(&mvccpb__key_value__descriptor), .key = BYTES(key_),       \
        .create_revision = 2, .mod_revision = 3, .version = 2, .value = BYTES(value_),             \
        .lease = lease_                                                                            \
    }

static Etcdserverpb__ResponseHeader header = {
    .base = PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__response_header__descriptor),
    .cluster_id = 14841639068965178418u, /* beyond 2^63: numbers stay exact */
    .member_id = 10276657743932975437u,
    .revision = 3,
    .raft_term = 2,
};
static Mvccpb__KeyValue kv1 = KV("a", "2", 0), kv2 = KV("\x01\xff", "x\n\"y", 0x7b);
static Mvccpb__KeyValue *kvs[] = {&kv1, &kv2};
static Etcdserverpb__RangeResponse range = {
    .base = PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__range_response__descriptor),
    .header = &header,
    .n_kvs = 2,
    .kvs = kvs,
    .count = 2,
};
static Etcdserverpb__PutResponse put = {
    .base = PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__put_response__descriptor),
    .header = &header,
    .prev_kv = &kv1,
};
static Etcdserverpb__DeleteRangeResponse del = {
    .base = PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__delete_range_response__descriptor),
    .header = &header,
    .deleted = 1,
    .n_prev_kvs = 1,
    .prev_kvs = kvs,
};
static Etcdserverpb__ResponseOp op_range = {
    .base = PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__response_op__descriptor),
    .response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE,
    .response_range = &range,
};
static Etcdserverpb__ResponseOp op_put = {
    .base = PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__response_op__descriptor),
    .response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT,
    .response_put = &put,
};
static Etcdserverpb__ResponseOp *ops[] = {&op_range, &op_put};
static Etcdserverpb__TxnResponse txn = {
    .base = PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__txn_response__descriptor),
    .header = &header,
    .succeeded = 1,
    .n_responses = 2,
    .responses = ops,
};
static char name1[] = "m1", no_name[] = "", url1[] = "http://10.0.0.1:2380",
            url2[] = "http://10.0.0.2:2380", url3[] = "http://10.0.0.1:2379";
static char *peers1[] = {url1, url2}, *peers2[] = {url2}, *clients1[] = {url3};
static Etcdserverpb__Member member1 = {
    .base = PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__member__descriptor),
    .id = 10276657743932975437u,
    .name = name1,
    .n_peerurls = 2,
    .peerurls = peers1,
    .n_clienturls = 1,
    .clienturls = clients1,
};
static Etcdserverpb__Member member2 = {
    .base = PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__member__descriptor),
    .id = 255,
    .name = no_name,
    .n_peerurls = 1,
    .peerurls = peers2,
    .islearner = 1,
};
static Etcdserverpb__Member *members[] = {&member1, &member2};
static Etcdserverpb__ResponseHeader no_revision = {
    .base = PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__response_header__descriptor),
    .cluster_id = 16,
    .member_id = 255,
    .raft_term = 12,
};
static Etcdserverpb__MemberListResponse member_list = {
    .base = PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__member_list_response__descriptor),
    .header = &no_revision,
    .n_members = 2,
    .members = members,
};
static Etcdserverpb__AlarmMember alarm1 = {
    .base = PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__alarm_member__descriptor),
    .memberid = 10276657743932975437u,
    .alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE,
};
static Etcdserverpb__AlarmMember *alarms[] = {&alarm1};
static Etcdserverpb__AlarmResponse alarm_list = {
    .base = PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__alarm_response__descriptor),
    .header = &no_revision,
    .n_alarms = 1,
    .alarms = alarms,
};

#define HEADER_JSON                                                                                \
    "{\"cluster_id\":14841639068965178418,\"member_id\":10276657743932975437,\"revision\":3,"      \
    "\"raft_term\":2}"
#define HEADER_FIELDS                                                                              \
    "\"ClusterID\" : 14841639068965178418\n\"MemberID\" : 10276657743932975437\n\"Revision\" : "   \
    "3\n\"RaftTerm\" : 2\n"
#define KV1_JSON                                                                                   \
    "{\"key\":\"YQ==\",\"create_revision\":2,\"mod_revision\":3,\"version\":2,\"value\":\"Mg==\"}"

/* ---- simple ---- */

static void simple_prints_keys_and_values_on_lines(void **state)
{
    struct fixture *f = *state;

    prints(f, "simple", PLAIN, &range.base, "a\n2\n\x01\xff\nx\n\"y\n");
    prints(f, "simple", VALUE_ONLY, &range.base, "2\nx\n\"y\n");
    prints(f, "simple", HEX, &range.base, "\\x61\n\\x32\n\\x01\\xff\n\\x78\\x0a\\x22\\x79\n");
    prints(f, "simple", PLAIN, &put.base, "OK\na\n2\n");
    prints(f, "simple", PLAIN, &del.base, "1\na\n2\n");
    prints(f, "simple", PLAIN, &txn.base, "SUCCESS\n\na\n2\n\x01\xff\nx\n\"y\n\nOK\na\n2\n");
}

static void simple_prints_a_count_that_was_asked_for(void **state)
{
    struct fixture *f = *state;
    Etcdserverpb__RangeResponse counted = {
        .base = PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__range_response__descriptor),
        .header = &header,
        .count = 12345678901,
    };

    prints(f, "simple", COUNT_ONLY, &counted.base, "12345678901\n");
    counted.count = 0;
    prints(f, "simple", COUNT_ONLY, &counted.base, "0\n");
}

static void simple_prints_members_and_alarms_on_lines(void **state)
{
    struct fixture *f = *state;

    prints(f, "simple", PLAIN, &member_list.base,
           "8e9e05c52164694d, started, m1, http://10.0.0.1:2380,http://10.0.0.2:2380, "
           "http://10.0.0.1:2379, false\n"
           "ff, unstarted, , http://10.0.0.2:2380, , true\n");
    prints(f, "simple", PLAIN, &alarm_list.base, "memberID:10276657743932975437 alarm:NOSPACE \n");
}

/* ---- json ---- */

static void json_follows_gos_rules(void **state)
{
    struct fixture *f = *state;

    prints(f, "json", PLAIN, &range.base,
           "{\"header\":" HEADER_JSON ",\"kvs\":[" KV1_JSON
           ",{\"key\":\"Af8=\",\"create_revision\":2,\"mod_revision\":3,\"version\":2,\"value\":"
           "\"eAoieQ==\",\"lease\":123}],\"count\":2}\n");
    prints(f, "json", PLAIN, &put.base, "{\"header\":" HEADER_JSON ",\"prev_kv\":" KV1_JSON "}\n");
    prints(f, "json", PLAIN, &del.base,
           "{\"header\":" HEADER_JSON ",\"deleted\":1,\"prev_kvs\":[" KV1_JSON "]}\n");
    prints(f, "json", PLAIN, &alarm_list.base,
           "{\"header\":{\"cluster_id\":16,\"member_id\":255,\"raft_term\":12},"
           "\"alarms\":[{\"memberID\":10276657743932975437,\"alarm\":1}]}\n");
    prints(f, "json", PLAIN, &member_list.base,
           "{\"header\":{\"cluster_id\":16,\"member_id\":255,\"raft_term\":12},\"members\":[{"
           "\"ID\":10276657743932975437,\"name\":\"m1\",\"peerURLs\":[\"http://10.0.0.1:2380\","
           "\"http://10.0.0.2:2380\"],\"clientURLs\":[\"http://10.0.0.1:2379\"]},{\"ID\":255,"
           "\"peerURLs\":[\"http://10.0.0.2:2380\"],\"isLearner\":true}]}\n");
}

static void json_shows_the_ops_of_a_txn_behind_response(void **state)
{
    Etcdserverpb__ResponseHeader empty = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__TxnResponse nested = ETCDSERVERPB__TXN_RESPONSE__INIT;
    Etcdserverpb__ResponseOp op = ETCDSERVERPB__RESPONSE_OP__INIT, *list[] = {&op_put, &op};
    Etcdserverpb__TxnResponse outer = ETCDSERVERPB__TXN_RESPONSE__INIT;

    nested.header = &empty;
    op.response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN;
    op.response_txn = &nested;
    outer.header = &header;
    outer.n_responses = 2;
    outer.responses = list;
    prints(*state, "json", PLAIN, &outer.base,
           "{\"header\":" HEADER_JSON
           ",\"responses\":[{\"Response\":{\"response_put\":{\"header\":" HEADER_JSON
           ",\"prev_kv\":" KV1_JSON "}}},{\"Response\":{\"response_txn\":{\"header\":{}}}}]}\n");
}

static void hex_json_spells_ids_of_members_in_hex(void **state)
{
    struct fixture *f = *state;

    prints(f, "json", HEX, &member_list.base,
           "{\"header\":{\"cluster_id\":\"10\",\"member_id\":\"ff\",\"raft_term\":12},\"members\":"
           "[{\"ID\":\"8e9e05c52164694d\",\"name\":\"m1\",\"peerURLs\":[\"http://10.0.0.1:2380\","
           "\"http://10.0.0.2:2380\"],\"clientURLs\":[\"http://10.0.0.1:2379\"]},{\"ID\":\"ff\","
           "\"peerURLs\":[\"http://10.0.0.2:2380\"],\"isLearner\":true}]}\n");
    prints(f, "json", HEX, &put.base, "{\"header\":" HEADER_JSON ",\"prev_kv\":" KV1_JSON "}\n");
}

static void json_strings_are_escaped_as_go_escapes_them(void **state)
{
    static const struct {
        const char *text, *json;
    } cases[] = {
        {"plain", "\"plain\""},
        {"a\"b\\c/d", "\"a\\\"b\\\\c/d\""},
        {"\n\r\t\x01\x1f\x7f", "\"\\n\\r\\t\\u0001\\u001f\x7f\""},
        {"<a&b>", "\"\\u003ca\\u0026b\\u003e\""},
        {"\xc3\xa4\xe2\x80\xa8", "\"\xc3\xa4\\u2028\""},
        {"\xff", "\"\\ufffd\""},
    };
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(cases); i++) {
        struct json_object *json = json_of_string(cases[i].text);
        struct capture out;
        char line[64];

        capture_open(&out);
        json_print(out.file, json);
        (void)snprintf(line, sizeof line, "%s\n", cases[i].json);
        assert_string_equal(captured(&out), line);
        capture_close(&out);
        (void)json_object_put(json);
    }
}

/* A second opinion: json-c reads back what was written, for random keys and values. */
static void json_of_any_bytes_is_json(void **state)
{
    const uint64_t seed = 99;
    struct fixture *f = *state;
    struct prng prng;
    int round;

    print_message("seed %llu\n", (unsigned long long)seed);
    prng_seed(&prng, seed);
    for (round = 0; round < 500; round++) {
        Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT, *list[] = {&kv};
        Etcdserverpb__RangeResponse response = ETCDSERVERPB__RANGE_RESPONSE__INIT;
        struct json_object *parsed, *member = NULL;
        uint8_t bytes[64];
        size_t i;

        for (i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)prng_next(&prng);
        kv.key = (ProtobufCBinaryData){.data = bytes, .len = prng_between(&prng, 1, sizeof bytes)};
        kv.mod_revision = (int64_t)prng_next(&prng);
        response.kvs = list;
        response.n_kvs = 1;
        begin(f, "json", PLAIN);
        output_message(&f->output, &response.base);
        parsed = json_tokener_parse(captured(&f->out));
        assert_non_null(parsed);
        assert_true(json_object_object_get_ex(parsed, "kvs", &member));
        member = json_object_array_get_idx(member, 0);
        assert_int_equal(json_object_get_int64(json_object_object_get(member, "mod_revision")),
                         kv.mod_revision);
        assert_int_equal(json_object_get_string_len(json_object_object_get(member, "key")),
                         (kv.key.len + 2) / 3 * 4);
        (void)json_object_put(parsed);
        capture_close(&f->out);
        capture_close(&f->err);
    }
}

/* ---- fields, protobuf ---- */

static void fields_name_every_member(void **state)
{
    struct fixture *f = *state;

    prints(f, "fields", PLAIN, &range.base,
           HEADER_FIELDS "\"Key\" : \"a\"\n\"CreateRevision\" : 2\n\"ModRevision\" : 3\n"
                         "\"Version\" : 2\n\"Value\" : \"2\"\n\"Lease\" : 0\n"
                         "\"Key\" : \"\\x01\\xff\"\n\"CreateRevision\" : 2\n\"ModRevision\" : 3\n"
                         "\"Version\" : 2\n\"Value\" : \"x\\n\\\"y\"\n\"Lease\" : 123\n"
                         "\"More\" : false\n\"Count\" : 2\n");
    prints(f, "fields", PLAIN, &del.base,
           HEADER_FIELDS "\"Deleted\" : 1\n\"PrevKey\" : \"a\"\n\"PrevCreateRevision\" : 2\n"
                         "\"PrevModRevision\" : 3\n\"PrevVersion\" : 2\n\"PrevValue\" : \"2\"\n"
                         "\"PrevLease\" : 0\n");
    prints(f, "fields", HEX, &put.base,
           "\"ClusterID\" : cdf818194e3a8c32\n\"MemberID\" : 8e9e05c52164694d\n\"Revision\" : 3\n"
           "\"RaftTerm\" : 2\n\"PrevKey\" : \"a\"\n\"PrevCreateRevision\" : 2\n"
           "\"PrevModRevision\" : 3\n\"PrevVersion\" : 2\n\"PrevValue\" : \"2\"\n"
           "\"PrevLease\" : 0000000000000000\n");
    prints(f, "fields", PLAIN, &alarm_list.base,
           "\"ClusterID\" : 16\n\"MemberID\" : 255\n\"RaftTerm\" : 12\n"
           "\"MemberID\" : 10276657743932975437\n\"AlarmType\" : NOSPACE\n\n");
    prints(f, "fields", HEX, &member_list.base,
           "\"ClusterID\" : 10\n\"MemberID\" : ff\n\"RaftTerm\" : 12\n"
           "\"ID\" : 8e9e05c52164694d\n\"Name\" : \"m1\"\n\"PeerURL\" : \"http://10.0.0.1:2380\"\n"
           "\"PeerURL\" : \"http://10.0.0.2:2380\"\n\"ClientURL\" : \"http://10.0.0.1:2379\"\n"
           "\"IsLearner\" : false\n\n"
           "\"ID\" : ff\n\"Name\" : \"\"\n\"PeerURL\" : \"http://10.0.0.2:2380\"\n"
           "\"IsLearner\" : true\n\n");
}

static void protobuf_is_the_message_itself(void **state)
{
    struct fixture *f = *state;
    Etcdserverpb__RangeResponse *back;

    begin(f, "protobuf", PLAIN);
    output_message(&f->output, &range.base);
    (void)captured(&f->out);
    back = etcdserverpb__range_response__unpack(NULL, f->out.len, (uint8_t *)f->out.text);
    assert_non_null(back);
    assert_int_equal(back->n_kvs, 2);
    assert_int_equal(back->kvs[1]->lease, 0x7b);
    etcdserverpb__range_response__free_unpacked(back, NULL);
    capture_close(&f->out);
    capture_close(&f->err);
}

/* ---- reports ---- */

static char version[] = "3.6.14", storage[] = "3.6.0", no_leader[] = "etcdserver: no leader",
            none[] = "";
static char *errors[] = {no_leader};
static Etcdserverpb__DowngradeInfo downgrade = {
    .base = PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__downgrade_info__descriptor),
    .targetversion = none,
};
static Etcdserverpb__StatusResponse status1 = {
    .base = PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__status_response__descriptor),
    .header = &header,
    .version = version,
    .dbsize = 20480,
    .leader = 10276657743932975437u,
    .raftindex = 9,
    .raftterm = 2,
    .raftappliedindex = 8,
    .n_errors = 1,
    .errors = errors,
    .dbsizeinuse = 16384,
    .storageversion = storage,
    .dbsizequota = 2147483648,
    .downgradeinfo = &downgrade,
};
static Etcdserverpb__HashKVResponse hash1 = {
    .base = PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__hash_kvresponse__descriptor),
    .header = &header,
    .hash = 4084519789u,
    .compact_revision = -1,
    .hash_revision = 3,
};
static const struct endpoint_report status_reports[] = {
    {.endpoint = "127.0.0.1:2379", .message = &status1.base},
};
static const struct endpoint_report hash_reports[] = {
    {.endpoint = "127.0.0.1:2379", .message = &hash1.base},
};
static const struct endpoint_report health_reports[] = {
    {.endpoint = "a:1", .healthy = true, .took = "3.4ms", .error = ""},
    {.endpoint = "b:2",
     .took = "2s",
     .error = "connecting to b:2: Connection refused; is kvd "
              "running there?"},
};

static void status_is_printed_in_each_format(void **state)
{
    struct fixture *f = *state;

    reports(f, "simple", REPORT_STATUS, status_reports, 1,
            "127.0.0.1:2379, 8e9e05c52164694d, 3.6.14, 3.6.0, 20 kB, 16 kB, 20%, 2.1 GB, true, "
            "false, 2, 9, 8, etcdserver: no leader, , false\n",
            "");
    reports(f, "json", REPORT_STATUS, status_reports, 1,
            "[{\"Endpoint\":\"127.0.0.1:2379\",\"Status\":{\"header\":" HEADER_JSON
            ",\"version\":\"3.6.14\",\"dbSize\":20480,\"leader\":10276657743932975437,"
            "\"raftIndex\":9,\"raftTerm\":2,\"raftAppliedIndex\":8,\"errors\":[\"etcdserver: no "
            "leader\"],\"dbSizeInUse\":16384,\"storageVersion\":\"3.6.0\",\"dbSizeQuota\":"
            "2147483648,\"downgradeInfo\":{}}}]\n",
            "");
    reports(f, "fields", REPORT_STATUS, status_reports, 1,
            HEADER_FIELDS
            "\"Version\" : \"3.6.14\"\n\"StorageVersion\" : \"3.6.0\"\n\"DBSize\" : 20480\n"
            "\"DBSizeInUse\" : 16384\n\"DBSizeQuota\" : 2147483648\n"
            "\"Leader\" : 10276657743932975437\n\"IsLearner\" : false\n\"RaftIndex\" : 9\n"
            "\"RaftTerm\" : 2\n\"RaftAppliedIndex\" : 8\n\"Errors\" : [etcdserver: no leader]\n"
            "\"Endpoint\" : \"127.0.0.1:2379\"\n\"DowngradeTargetVersion\" : \"\"\n"
            "\"DowngradeEnabled\" : false\n\n",
            "");
}

static void hashes_are_printed_in_each_format(void **state)
{
    struct fixture *f = *state;

    reports(f, "simple", REPORT_HASH_KV, hash_reports, 1, "127.0.0.1:2379, 4084519789, 3\n", "");
    reports(f, "json", REPORT_HASH_KV, hash_reports, 1,
            "[{\"Endpoint\":\"127.0.0.1:2379\",\"HashKV\":{\"header\":" HEADER_JSON
            ",\"hash\":4084519789,\"compact_revision\":-1,\"hash_revision\":3}}]\n",
            "");
    reports(f, "fields", REPORT_HASH_KV, hash_reports, 1,
            HEADER_FIELDS "\"Endpoint\" : \"127.0.0.1:2379\"\n\"Hash\" : 4084519789\n"
                          "\"HashRevision\" : 3\n\n",
            "");
    reports(f, "table", REPORT_HASH_KV, hash_reports, 1,
            "+----------------+------------+---------------+\n"
            "|    ENDPOINT    |    HASH    | HASH REVISION |\n"
            "+----------------+------------+---------------+\n"
            "| 127.0.0.1:2379 | 4084519789 |             3 |\n"
            "+----------------+------------+---------------+\n",
            "");
}

static void health_is_printed_in_each_format(void **state)
{
    struct fixture *f = *state;

    reports(f, "simple", REPORT_HEALTH, health_reports, 2,
            "a:1 is healthy: successfully committed proposal: took = 3.4ms\n",
            "b:2 is unhealthy: failed to commit proposal: connecting to b:2: Connection refused; "
            "is kvd running there?\n");
    reports(f, "json", REPORT_HEALTH, health_reports, 2,
            "[{\"endpoint\":\"a:1\",\"health\":true,\"took\":\"3.4ms\"},{\"endpoint\":\"b:2\","
            "\"health\":false,\"took\":\"2s\",\"error\":\"connecting to b:2: Connection refused; "
            "is kvd running there?\"}]\n",
            "");
    reports(f, "fields", REPORT_HEALTH, health_reports, 1,
            "\"Endpoint\" : \"a:1\"\n\"Health\" : true\n\"Took\" : 3.4ms\n\"Error\" : \n\n", "");
    reports(f, "table", REPORT_HEALTH, health_reports, 2,
            "+----------+--------+-------+--------------------------------+\n"
            "| ENDPOINT | HEALTH | TOOK  |             ERROR              |\n"
            "+----------+--------+-------+--------------------------------+\n"
            "|      a:1 |   true | 3.4ms |                                |\n"
            "|      b:2 |  false |    2s |  connecting to b:2: Connection |\n"
            "|          |        |       | refused; is kvd running there? |\n"
            "+----------+--------+-------+--------------------------------+\n",
            "");
}

static void no_reports_are_null_in_json_and_nothing_elsewhere(void **state)
{
    struct fixture *f = *state;

    reports(f, "json", REPORT_STATUS, status_reports, 0, "null\n", "");
    reports(f, "simple", REPORT_STATUS, status_reports, 0, "", "");
    reports(f, "fields", REPORT_STATUS, status_reports, 0, "", "");
    reports(f, "table", REPORT_HEALTH, health_reports, 0,
            "+----------+--------+------+-------+\n"
            "| ENDPOINT | HEALTH | TOOK | ERROR |\n"
            "+----------+--------+------+-------+\n"
            "+----------+--------+------+-------+\n",
            "");
}

/* A 3.4 server sends no quota, no storage version, no downgrade info; a fresh one may say size 0.
 */
static void a_status_with_holes_is_printed(void **state)
{
    Etcdserverpb__StatusResponse bare = ETCDSERVERPB__STATUS_RESPONSE__INIT;
    const struct endpoint_report report = {.endpoint = "e", .message = &bare.base};

    reports(*state, "simple", REPORT_STATUS, &report, 1,
            "e, 0, , , 0 B, 0 B, 0%, 0 B, true, false, 0, 0, 0, , , false\n", "");
}

/* ---- tables ---- */

static void a_table_shows_members(void **state)
{
    prints(*state, "table", PLAIN, &member_list.base,
           "+------------------+-----------+------+-------------------------------------------+----"
           "------------------+------------+\n"
           "|        ID        |  STATUS   | NAME |                PEER ADDRS                 |    "
           " CLIENT ADDRS     | IS LEARNER |\n"
           "+------------------+-----------+------+-------------------------------------------+----"
           "------------------+------------+\n"
           "| 8e9e05c52164694d |   started |   m1 | http://10.0.0.1:2380,http://10.0.0.2:2380 | "
           "http://10.0.0.1:2379 |      false |\n"
           "|               ff | unstarted |      |                      http://10.0.0.2:2380 |    "
           "                  |       true |\n"
           "+------------------+-----------+------+-------------------------------------------+----"
           "------------------+------------+\n");
}

static void cells_count_characters_and_not_bytes(void **state)
{
    static const char *const headings[] = {"name", "x"};
    struct fixture *f = *state;
    struct capture out;
    struct table table;

    table_init(&table, &f->arena, headings, 2);
    table_cell(&table, "%s", "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc");
    table_cell(&table, "%d", 5);
    capture_open(&out);
    table_print(&table, out.file);
    assert_string_equal(captured(&out), "+--------+---+\n"
                                        "|  NAME  | X |\n"
                                        "+--------+---+\n"
                                        "| \xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc | 5 |\n"
                                        "+--------+---+\n");
    capture_close(&out);
}

static void formats_know_what_they_cannot_print(void **state)
{
    struct fixture *f = *state;

    begin(f, "table", PLAIN);
    assert_false(output_knows_message(&f->output, range.base.descriptor));
    assert_false(output_knows_message(&f->output, alarm_list.base.descriptor));
    end(f, "", "");
    begin(f, "protobuf", PLAIN);
    assert_false(output_knows_report(&f->output, REPORT_STATUS));
    end(f, "", "");
    assert_null(output_format_named("xml"));
    assert_null(output_format_named(""));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* etcdctl 3.6's; it has no fields for this. */
static void a_downgrade_is_told_with_its_verb(void **state)
{
    static char line[] = "3.6";
    static Etcdserverpb__DowngradeResponse response = {
        .base = PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__downgrade_response__descriptor),
        .header = &header,
        .version = line,
    };
    struct fixture *f = *state;

    begin(f, "simple", PLAIN);
    f->output.verb = "validate";
    output_message(&f->output, &response.base);
    end(f, "Downgrade validate success, cluster version 3.6\n", "");
    prints(f, "json", PLAIN, &response.base,
           "{\"header\":{\"cluster_id\":14841639068965178418,\"member_id\":10276657743932975437,"
           "\"revision\":3,\"raft_term\":2},\"version\":\"3.6\"}\n");
    prints(f, "fields", PLAIN, &response.base,
           "\"ClusterID\" : 14841639068965178418\n\"MemberID\" : 10276657743932975437\n"
           "\"Revision\" : 3\n\"RaftTerm\" : 2\n\"Version\" : \"3.6\"\n");
    f->output.format = output_format_named("table");
    assert_false(output_knows_message(&f->output, response.base.descriptor));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(simple_prints_keys_and_values_on_lines),
        TEST(simple_prints_a_count_that_was_asked_for),
        TEST(simple_prints_members_and_alarms_on_lines),
        TEST(a_downgrade_is_told_with_its_verb),
        TEST(json_follows_gos_rules),
        TEST(json_shows_the_ops_of_a_txn_behind_response),
        TEST(hex_json_spells_ids_of_members_in_hex),
        TEST(json_strings_are_escaped_as_go_escapes_them),
        TEST(json_of_any_bytes_is_json),
        TEST(fields_name_every_member),
        TEST(protobuf_is_the_message_itself),
        TEST(status_is_printed_in_each_format),
        TEST(hashes_are_printed_in_each_format),
        TEST(health_is_printed_in_each_format),
        TEST(no_reports_are_null_in_json_and_nothing_elsewhere),
        TEST(a_status_with_holes_is_printed),
        TEST(a_table_shows_members),
        TEST(cells_count_characters_and_not_bytes),
        TEST(formats_know_what_they_cannot_print),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
