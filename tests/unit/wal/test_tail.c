/* The table that tells an end from a torn tail from damage. */
#include "tests/unit/wal/fixture.h"

static unsigned rows_for(const struct wal__look *look, enum wal__later later)
{
    unsigned n = 0;

    for (size_t i = 0; i < wal__tail_table_len; i++) {
        const struct wal__tail_row *row = &wal__tail_table[i];

        n += (row->zero >> look->zero & 1) != 0 && (row->header_ok >> look->header_ok & 1) != 0 &&
             (row->body_ok >> look->body_ok & 1) != 0 && (row->later & later) != 0;
    }
    return n;
}

static void every_input_matches_exactly_one_row(void **state)
{
    unsigned inputs = 0;

    (void)state;
    for (unsigned bits = 0; bits < 8; bits++) {
        for (unsigned later = WAL__LATER_NONE; later <= WAL__LATER_SYNCED; later *= 2) {
            struct wal__look look = {
                .zero = bits & 1, .header_ok = (bits & 2) != 0, .body_ok = (bits & 4) != 0};

            assert_int_equal(rows_for(&look, (enum wal__later)later), 1);
            inputs++;
        }
    }
    assert_int_equal(inputs, 24);
}

static void every_row_is_reached(void **state)
{
    (void)state;
    for (size_t i = 0; i < wal__tail_table_len; i++) {
        bool reached = false;

        for (unsigned n = 0; n < 24 && !reached; n++) {
            struct wal__look look = {
                .zero = n & 1, .header_ok = (n & 2) != 0, .body_ok = (n & 4) != 0};

            reached = wal__tail_row(&look, (enum wal__later)(1u << (n / 8))) == &wal__tail_table[i];
        }
        assert_true(reached);
    }
}

static void what_had_been_synced_is_never_cut(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 8; bits++) {
        struct wal__look look = {
            .zero = bits & 1, .header_ok = (bits & 2) != 0, .body_ok = (bits & 4) != 0};
        enum wal__verdict verdict = wal__tail_row(&look, WAL__LATER_SYNCED)->verdict;

        assert_true(verdict == WAL__FAIL || verdict == WAL__NEXT);
    }
}

static void only_a_whole_record_is_gone_over(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 24; n++) {
        struct wal__look look = {.zero = n & 1, .header_ok = (n & 2) != 0, .body_ok = (n & 4) != 0};
        enum wal__verdict verdict = wal__tail_row(&look, (enum wal__later)(1u << (n / 8)))->verdict;

        assert_int_equal(verdict == WAL__NEXT, !look.zero && look.header_ok && look.body_ok);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_input_matches_exactly_one_row),
        cmocka_unit_test(every_row_is_reached),
        cmocka_unit_test(what_had_been_synced_is_never_cut),
        cmocka_unit_test(only_a_whole_record_is_gone_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
