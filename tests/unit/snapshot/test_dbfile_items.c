/* Items of etcd's buckets, against bytes that etcd wrote (etcd-db-format.md section 2). */
#include "tests/unit/snapshot/dbfile_fixture.h"

static struct slice bytes(const char *data, size_t len)
{
    return slice_of(data, len);
}
#define BYTES(literal) bytes(literal, sizeof(literal) - 1)

static void assert_bytes(const uint8_t *data, size_t len, struct slice expected)
{
    assert_true(slice_eq(slice_of(data, len), expected));
}

static void a_put_is_what_etcd_stores(void **state)
{
    struct dbfile_record record = {.main = 340,
                                   .key = slice_str("a"),
                                   .value = slice_str("b"),
                                   .create_revision = 2,
                                   .version = 4};
    uint8_t key[DBFILE_RECORD_KEY_SIZE], value[64];
    size_t len = dbfile_record_key(&record, key);

    (void)state;
    assert_bytes(key, len, BYTES("\0\0\0\0\0\0\x01\x54\x5f\0\0\0\0\0\0\0\0"));
    len = dbfile_record_value_size(&record);
    dbfile_record_value(&record, value);
    assert_bytes(value, len, BYTES("\x0a\x01\x61\x10\x02\x18\xd4\x02\x20\x04\x2a\x01\x62"));
}

static void a_lease_is_what_etcd_stores(void **state)
{
    struct dbfile_lease lease = {.id = 777, .ttl = 1000}, parsed;
    uint8_t value[DBFILE_LEASE_SIZE_MAX];

    (void)state;
    assert_bytes(value, dbfile_lease_value(&lease, value), BYTES("\x08\x89\x06\x10\xe8\x07"));
    assert_int_equal(dbfile_lease_parse(BYTES("\0\0\0\0\0\0\x03\x09"),
                                        BYTES("\x08\x89\x06\x10\xe8\x07\x18\x07"), &parsed),
                     0);
    assert_int_equal(parsed.id, 777);
    assert_int_equal(parsed.ttl, 1000);
    assert_int_equal(parsed.remaining_ttl, 7);
}

static void records_come_back_as_they_were(void **state)
{
    struct prng prng;
    uint64_t seed = seed_from_clock(__func__);

    (void)state;
    prng_seed(&prng, seed);
    for (unsigned round = 0; round < 2000; round++) {
        uint8_t key[40], content[300], id[DBFILE_RECORD_KEY_SIZE], value[600];
        struct dbfile_record parsed,
            record = {
                .main = (int64_t)(prng_next(&prng) >> (1 + prng_next(&prng) % 63)),
                .sub = prng_next(&prng) % 3,
                .is_tombstone = prng_next(&prng) % 4 == 0,
                .key = slice_of(key, 1 + prng_next(&prng) % sizeof key),
            };

        fill_random(&prng, key, sizeof key);
        fill_random(&prng, content, sizeof content);
        if (!record.is_tombstone) {
            record.value = slice_of(content, prng_next(&prng) % sizeof content);
            record.create_revision = (int64_t)(prng_next(&prng) >> 1);
            record.version = (int64_t)(prng_next(&prng) >> (1 + prng_next(&prng) % 63));
            record.lease = (int64_t)prng_next(&prng); /* ids may be negative */
        }
        dbfile_record_value(&record, value);
        assert_int_equal(dbfile_record_parse(slice_of(id, dbfile_record_key(&record, id)),
                                             slice_of(value, dbfile_record_value_size(&record)),
                                             &parsed),
                         0);
        assert_true(slice_eq(parsed.key, record.key));
        assert_true(slice_eq(parsed.value, record.value));
        assert_int_equal(parsed.main, record.main);
        assert_int_equal(parsed.sub, record.sub);
        assert_int_equal(parsed.is_tombstone, record.is_tombstone);
        assert_int_equal(parsed.create_revision, record.create_revision);
        assert_int_equal(parsed.version, record.version);
        assert_int_equal(parsed.lease, record.lease);
    }
}

static void alarms_come_back_as_they_were(void **state)
{
    struct dbfile_alarm alarm = {.member = UINT64_MAX - 5, .type = 2}, parsed;
    uint8_t key[DBFILE_ALARM_SIZE_MAX];

    (void)state;
    assert_int_equal(dbfile_alarm_parse(slice_of(key, dbfile_alarm_key(&alarm, key)), &parsed), 0);
    assert_true(parsed.member == alarm.member);
    assert_int_equal(parsed.type, 2);
}

static void bytes_that_are_no_items_are_refused(void **state)
{
    const struct slice id = BYTES("\0\0\0\0\0\0\x01\x54\x5f\0\0\0\0\0\0\0\0");
    struct dbfile_record record;
    struct dbfile_lease lease;
    struct dbfile_alarm alarm;

    (void)state;
    assert_int_equal(dbfile_record_parse(id, BYTES("\x0a\x01\x61\x18\xd4\x02"), &record), 0);
    /* the revision is another one */
    assert_int_equal(dbfile_record_parse(id, BYTES("\x0a\x01\x61\x18\xd5\x02"), &record),
                     KV_ECORRUPT);
    /* a string that is longer than the rest, a number for a key, a group, a cut varint */
    assert_int_equal(dbfile_record_parse(id, BYTES("\x18\xd4\x02\x0a\x7f\x61"), &record),
                     KV_ECORRUPT);
    assert_int_equal(dbfile_record_parse(id, BYTES("\x18\xd4\x02\x08\x01"), &record), KV_ECORRUPT);
    assert_int_equal(dbfile_record_parse(id, BYTES("\x18\xd4\x02\x0b"), &record), KV_ECORRUPT);
    assert_int_equal(dbfile_record_parse(id, BYTES("\x18\xd4"), &record), KV_ECORRUPT);
    assert_int_equal(dbfile_record_parse(BYTES("short"), BYTES(""), &record), KV_ECORRUPT);
    assert_int_equal(
        dbfile_record_parse(BYTES("\0\0\0\0\0\0\x01\x54\x2e\0\0\0\0\0\0\0\0"), BYTES(""), &record),
        KV_ECORRUPT);
    assert_int_equal(dbfile_record_parse(BYTES("\0\0\0\0\0\0\x01\x54\x5f\0\0\0\0\0\0\0\0x"),
                                         BYTES("\x0a\x01\x61"), &record),
                     KV_ECORRUPT);
    assert_int_equal(
        dbfile_lease_parse(BYTES("\0\0\0\0\0\0\x03\x08"), BYTES("\x08\x89\x06"), &lease),
        KV_ECORRUPT);
    assert_int_equal(dbfile_alarm_parse(BYTES("\x08"), &alarm), KV_ECORRUPT);
}

static void fields_of_a_later_etcd_are_passed_over(void **state)
{
    struct dbfile_record record;

    (void)state;
    assert_int_equal(dbfile_record_parse(BYTES("\0\0\0\0\0\0\x01\x54\x5f\0\0\0\0\0\0\0\0"),
                                         BYTES("\x0a\x01\x61\x18\xd4\x02\x5d\1\2\3\4\x59\1\2\3\4\5"
                                               "\6\7\x08\x62\x02zz\x68\x05"),
                                         &record),
                     0);
    assert_true(slice_eq(record.key, slice_str("a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_put_is_what_etcd_stores),
        cmocka_unit_test(a_lease_is_what_etcd_stores),
        cmocka_unit_test(records_come_back_as_they_were),
        cmocka_unit_test(alarms_come_back_as_they_were),
        cmocka_unit_test(bytes_that_are_no_items_are_refused),
        cmocka_unit_test(fields_of_a_later_etcd_are_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
