/* What each format prints for answers about watches and leases, byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "client/ctl/output.h"
#include "tests/unit/client/capture.h"

#define BYTES(text)                                                                                \
    {                                                                                              \
        sizeof(text) - 1, (uint8_t *)(uintptr_t)(text)                                             \
    }

static Etcdserverpb__ResponseHeader header = {
    .base = PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__response_header__descriptor),
    .cluster_id = 14841639068965178418u,
    .member_id = 10276657743932975437u,
    .revision = 3,
    .raft_term = 2,
};

enum look { PLAIN = 0, HEX = 1, LEASE_KEYS = 2 };

static void prints(const char *format, int look, const ProtobufCMessage *message,
                   const char *expected)
{
    struct arena arena = ARENA_INIT;
    struct capture out;
    struct output output;

    capture_open(&out);
    output = (struct output){
        .format = output_format_named(format),
        .out = out.file,
        .err = out.file,
        .arena = &arena,
        .hex = (look & HEX) != 0,
        .lease_keys = (look & LEASE_KEYS) != 0,
        .lease = 0x1234,
    };
    assert_true(output_knows_message(&output, message->descriptor));
    output_message(&output, message);
    assert_string_equal(captured(&out), expected);
    capture_close(&out);
    arena_release(&arena);
}

#define JSON_HEADER                                                                                \
    "\"cluster_id\":14841639068965178418,\"member_id\":10276657743932975437,\"revision\":3,"       \
    "\"raft_term\":2"
#define FIELDS_HEADER                                                                              \
    "\"ClusterID\" : 14841639068965178418\n\"MemberID\" : 10276657743932975437\n"                  \
    "\"Revision\" : 3\n\"RaftTerm\" : 2\n"

static void a_deletion_shows_the_key_and_what_it_was(void **state)
{
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT, prev = MVCCPB__KEY_VALUE__INIT;
    Mvccpb__Event event = MVCCPB__EVENT__INIT, *events[] = {&event};
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;

    (void)state;
    kv.key = prev.key = (ProtobufCBinaryData)BYTES("k");
    prev.value = (ProtobufCBinaryData)BYTES("v");
    kv.mod_revision = 3;
    prev.create_revision = prev.mod_revision = 2;
    prev.version = 1;
    event.type = MVCCPB__EVENT__EVENT_TYPE__DELETE;
    event.kv = &kv;
    event.prev_kv = &prev;
    response.header = &header;
    response.events = events;
    response.n_events = 1;
    prints("simple", PLAIN, &response.base, "DELETE\nk\nv\nk\n\n");
    prints("simple", HEX, &response.base, "DELETE\n\\x6b\n\\x76\n\\x6b\n\n");
    prints("json", PLAIN, &response.base,
           "{\"Header\":{" JSON_HEADER "},\"Events\":[{\"type\":1,\"kv\":{\"key\":\"aw==\","
           "\"mod_revision\":3},\"prev_kv\":{\"key\":\"aw==\",\"create_revision\":2,"
           "\"mod_revision\":2,\"version\":1,\"value\":\"dg==\"}}],\"CompactRevision\":0,"
           "\"Canceled\":false,\"Created\":false}\n");
    prints("fields", PLAIN, &response.base,
           FIELDS_HEADER "\"Type\" : DELETE\n\"PrevKey\" : \"k\"\n\"PrevCreateRevision\" : 2\n"
                         "\"PrevModRevision\" : 2\n\"PrevVersion\" : 1\n\"PrevValue\" : \"v\"\n"
                         "\"PrevLease\" : 0\n\"Key\" : \"k\"\n\"CreateRevision\" : 0\n"
                         "\"ModRevision\" : 3\n\"Version\" : 0\n\"Value\" : \"\"\n\"Lease\" : 0\n");
}

static void a_watch_answer_without_header_and_events_prints(void **state)
{
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;

    (void)state;
    response.canceled = true;
    response.compact_revision = 20;
    prints("simple", PLAIN, &response.base, "");
    prints("fields", PLAIN, &response.base, "");
    prints("json", PLAIN, &response.base,
           "{\"Header\":{},\"Events\":[],\"CompactRevision\":20,\"Canceled\":true,"
           "\"Created\":false}\n");
}

static void a_granted_lease_has_sixteen_digits(void **state)
{
    Etcdserverpb__LeaseGrantResponse response = ETCDSERVERPB__LEASE_GRANT_RESPONSE__INIT;

    (void)state;
    response.header = &header;
    response.id = 0x1234;
    response.ttl = 100;
    prints("simple", PLAIN, &response.base, "lease 0000000000001234 granted with TTL(100s)\n");
    prints("fields", PLAIN, &response.base, FIELDS_HEADER "\"ID\" : 4660\n\"TTL\" : 100\n");
    prints("json", PLAIN, &response.base,
           "{" JSON_HEADER ",\"ID\":4660,\"TTL\":100,\"Error\":\"\"}\n");
    response.id = -1; /* ids are 64 bits, whatever their sign */
    prints("simple", PLAIN, &response.base, "lease ffffffffffffffff granted with TTL(100s)\n");
}

static void a_revoked_lease_is_named_although_the_answer_does_not(void **state)
{
    Etcdserverpb__LeaseRevokeResponse response = ETCDSERVERPB__LEASE_REVOKE_RESPONSE__INIT;

    (void)state;
    response.header = &header;
    prints("simple", PLAIN, &response.base, "lease 0000000000001234 revoked\n");
    prints("fields", PLAIN, &response.base, FIELDS_HEADER);
    prints("json", PLAIN, &response.base, "{\"header\":{" JSON_HEADER "}}\n");
}

static void a_renewed_lease_shows_its_life(void **state)
{
    Etcdserverpb__LeaseKeepAliveResponse response = ETCDSERVERPB__LEASE_KEEP_ALIVE_RESPONSE__INIT;

    (void)state;
    response.header = &header;
    response.id = 0x1234;
    response.ttl = 100;
    prints("simple", PLAIN, &response.base, "lease 0000000000001234 keepalived with TTL(100)\n");
    prints("fields", PLAIN, &response.base, FIELDS_HEADER "\"ID\" : 4660\n\"TTL\" : 100\n");
    prints("fields", HEX, &response.base,
           "\"ClusterID\" : cdf818194e3a8c32\n\"MemberID\" : 8e9e05c52164694d\n"
           "\"Revision\" : 3\n\"RaftTerm\" : 2\n\"ID\" : 0000000000001234\n\"TTL\" : 100\n");
    prints("json", PLAIN, &response.base, "{" JSON_HEADER ",\"ID\":4660,\"TTL\":100}\n");
}

static void the_rest_of_a_lease_shows_its_keys_when_asked(void **state)
{
    Etcdserverpb__LeaseTimeToLiveResponse response =
        ETCDSERVERPB__LEASE_TIME_TO_LIVE_RESPONSE__INIT;
    ProtobufCBinaryData keys[] = {BYTES("a"), BYTES("b\"")};

    (void)state;
    response.header = &header;
    response.id = 0x1234;
    response.ttl = 99;
    response.grantedttl = 100;
    prints("simple", PLAIN, &response.base,
           "lease 0000000000001234 granted with TTL(100s), remaining(99s)\n");
    prints("simple", LEASE_KEYS, &response.base,
           "lease 0000000000001234 granted with TTL(100s), remaining(99s), attached keys([])\n");
    prints("json", LEASE_KEYS, &response.base,
           "{" JSON_HEADER ",\"id\":4660,\"ttl\":99,\"granted-ttl\":100,\"keys\":null}\n");
    response.keys = keys;
    response.n_keys = 2;
    prints(
        "simple", LEASE_KEYS, &response.base,
        "lease 0000000000001234 granted with TTL(100s), remaining(99s), attached keys([a b\"])\n");
    prints("fields", LEASE_KEYS, &response.base,
           FIELDS_HEADER "\"ID\" : 4660\n\"TTL\" : 99\n\"GrantedTTL\" : 100\n\"Key\" : \"a\"\n"
                         "\"Key\" : \"b\\\"\"\n");
    prints("json", LEASE_KEYS, &response.base,
           "{" JSON_HEADER
           ",\"id\":4660,\"ttl\":99,\"granted-ttl\":100,\"keys\":[\"YQ==\",\"YiI=\"]}\n");
}

static void a_lease_that_is_gone_has_expired(void **state)
{
    Etcdserverpb__LeaseTimeToLiveResponse response =
        ETCDSERVERPB__LEASE_TIME_TO_LIVE_RESPONSE__INIT;

    (void)state;
    response.header = &header;
    response.id = 0x1234;
    response.ttl = -1;
    prints("simple", LEASE_KEYS, &response.base, "lease 0000000000001234 already expired\n");
    prints("json", PLAIN, &response.base,
           "{" JSON_HEADER ",\"id\":4660,\"ttl\":-1,\"granted-ttl\":0,\"keys\":null}\n");
}

static void leases_are_listed_a_line_each(void **state)
{
    Etcdserverpb__LeaseStatus one = ETCDSERVERPB__LEASE_STATUS__INIT,
                              two = ETCDSERVERPB__LEASE_STATUS__INIT, *leases[] = {&one, &two};
    Etcdserverpb__LeaseLeasesResponse response = ETCDSERVERPB__LEASE_LEASES_RESPONSE__INIT;

    (void)state;
    one.id = 1;
    two.id = 2;
    response.header = &header;
    prints("simple", PLAIN, &response.base, "found 0 leases\n");
    prints("json", PLAIN, &response.base, "{" JSON_HEADER ",\"leases\":[]}\n");
    response.leases = leases;
    response.n_leases = 2;
    prints("simple", PLAIN, &response.base, "found 2 leases\n0000000000000001\n0000000000000002\n");
    prints("fields", PLAIN, &response.base, FIELDS_HEADER "\"ID\" : 1\n\"ID\" : 2\n");
    prints("json", PLAIN, &response.base, "{" JSON_HEADER ",\"leases\":[{\"id\":1},{\"id\":2}]}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deletion_shows_the_key_and_what_it_was),
        cmocka_unit_test(a_watch_answer_without_header_and_events_prints),
        cmocka_unit_test(a_granted_lease_has_sixteen_digits),
        cmocka_unit_test(a_revoked_lease_is_named_although_the_answer_does_not),
        cmocka_unit_test(a_renewed_lease_shows_its_life),
        cmocka_unit_test(the_rest_of_a_lease_shows_its_keys_when_asked),
        cmocka_unit_test(a_lease_that_is_gone_has_expired),
        cmocka_unit_test(leases_are_listed_a_line_each),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
