/* Answers that are written by hand are what protobuf-c would write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "proto/rpc.pb-c.h"
#include "server/encode.h"

static const struct encode_header headers[] = {
    {0},
    {.cluster_id = UINT64_MAX, .member_id = 1, .revision = INT64_MAX, .raft_term = 127},
    {.cluster_id = 1, .member_id = UINT64_MAX, .revision = 128, .raft_term = UINT64_MAX},
};

static void expect_same(const struct encode_header *header, int64_t id, int64_t ttl)
{
    Etcdserverpb__ResponseHeader wanted_header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__LeaseKeepAliveResponse wanted = ETCDSERVERPB__LEASE_KEEP_ALIVE_RESPONSE__INIT;
    uint8_t want[128], got[128];
    size_t size = encode_keep_alive_size(header, id, ttl);

    wanted_header.cluster_id = header->cluster_id;
    wanted_header.member_id = header->member_id;
    wanted_header.revision = header->revision;
    wanted_header.raft_term = header->raft_term;
    wanted.header = &wanted_header;
    wanted.id = id;
    wanted.ttl = ttl;
    assert_int_equal(size, protobuf_c_message_get_packed_size(&wanted.base));
    assert_ptr_equal(encode_keep_alive(got, header, id, ttl), got + size);
    (void)protobuf_c_message_pack(&wanted.base, want);
    assert_memory_equal(got, want, size);
}

static void a_keep_alive_is_as_protobuf_writes_it(void **state)
{
    static const int64_t ids[] = {0, 1, 127, 128, -1, INT64_MIN, INT64_MAX};
    static const int64_t ttls[] = {0, 1, 60, 9000000000};

    (void)state;
    for (size_t h = 0; h < ARRAY_LEN(headers); h++)
        for (size_t i = 0; i < ARRAY_LEN(ids); i++)
            for (size_t t = 0; t < ARRAY_LEN(ttls); t++)
                expect_same(&headers[h], ids[i], ttls[t]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_keep_alive_is_as_protobuf_writes_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
