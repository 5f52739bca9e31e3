/* A machine saved to a checkpoint and loaded again is the same machine, and goes on alike. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/prng.h"
#include "server/state.h"
#include "tests/lib/machine_text.h"
#include "tests/lib/memdisk.h"

struct fixture {
    struct memdisk *memdisk;
    struct disk disk;
    struct machine_text text;
};

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    f->memdisk = memdisk_new(1);
    f->disk = memdisk_disk(f->memdisk);
    assert_int_equal(snapshot_prepare_dir(f->disk, "/snap", NULL), 0);
    machine_text_init(&f->text);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    machine_text_release(&f->text);
    memdisk_free(f->memdisk);
    free(f);
    return 0;
}

static struct snapshot_writer *begin(const struct fixture *f)
{
    struct snapshot_write_options options = {.disk = f->disk, .dir = "/snap"};
    struct snapshot_meta meta = {
        .index = 5, .term = 1, .configuration_index = 1, .configuration = slice_str("c")};
    struct snapshot_writer *writer;

    assert_int_equal(snapshot_writer_open(&options, &meta, &writer, NULL), 0);
    return writer;
}

static void commit(struct snapshot_writer *writer)
{
    assert_int_equal(snapshot_writer_commit(writer, NULL), 0);
    snapshot_writer_close(writer);
}

static void save(const struct fixture *f)
{
    struct snapshot_writer *writer = begin(f);

    assert_int_equal(machine_save(f->text.machine, writer, NULL), 0);
    commit(writer);
}

static int load(const struct fixture *f, struct machine **out, struct err *err)
{
    char *path = snapshot_path("/snap", 5, 1);
    struct snapshot_reader *reader;
    int rc;

    assert_int_equal(snapshot_open(f->disk, path, &reader, NULL), 0);
    rc = machine_load(reader, 77, out, err);
    snapshot_close(reader);
    free(path);
    return rc;
}

/* Saved and loaded; from here on requests go to the copy. */
static void restart(struct fixture *f)
{
    uint64_t digest = machine_digest(f->text.machine);
    struct machine *copy;

    save(f);
    assert_int_equal(load(f, &copy, NULL), 0);
    assert_int_equal(machine_digest(copy), digest);
    assert_true(machine_history(copy) == machine_history(f->text.machine));
    assert_int_equal(mvcc_bytes_in_use(copy->mvcc), mvcc_bytes_in_use(f->text.machine->mvcc));
    machine_free(f->text.machine);
    f->text.machine = copy;
}

static void expect(struct fixture *f, const char *request, const char *answer)
{
    assert_string_equal(machine_text_run(&f->text, request), answer);
}

static void run(struct fixture *f, const char *request)
{
    (void)machine_text_run(&f->text, request);
}

static void an_empty_machine_is_the_same_again(void **state)
{
    struct fixture *f = *state;

    restart(f);
    expect(f, "range a", "revision 1 count 0");
    expect(f, "put a 1", "revision 2");
}

static void keys_leases_alarms_members_and_users_are_the_same_again(void **state)
{
    struct fixture *f = *state;
    char *before;

    run(f, "grant 7 60");
    run(f, "grant 8 10");
    run(f, "checkpoint 8 3000 1");
    run(f, "put a 1 lease=7");
    run(f, "put b 2 lease=8");
    run(f, "put a 3");
    run(f, "put c 4 lease=7");
    run(f, "del b");
    run(f, "put b 5 lease=7");
    run(f, "txn [ then put x 1 then put y 2 then del a then put \\x00 zero ]");
    run(f, "compact 5");
    run(f, "configure 1 http://127.0.0.1:1 voter 2 http://127.0.0.1:2 voter 3 http://c:3 learner");
    run(f, "configure 1 http://127.0.0.1:1 voter 3 http://c:3 learner");
    run(f, "member promote 3");
    run(f, "member add 4 http://d:4");
    run(f, "alarm activate 1 nospace");
    run(f, "odd 1");
    run(f, "alarm activate 2 corrupt");
    run(f, "space raise 2");
    run(f, "downgrade 3.5.0");
    run(f, "publish 2 second http://127.0.0.1:22");
    run(f, "auth user root");
    run(f, "auth user ann none");
    run(f, "auth role r");
    run(f, "auth permit r readwrite a z");
    run(f, "auth grant ann r");
    run(f, "auth grant root root");
    run(f, "auth enable");
    before = xstrdup(machine_text_run(&f->text, "state"));
    restart(f);
    assert_string_equal(machine_text_run(&f->text, "state"), before);
    free(before);
    before = xstrdup(machine_text_run(&f->text, "users"));
    restart(f);
    assert_string_equal(machine_text_run(&f->text, "users"), before);
    free(before);
    run(f, "as root");
    before = xstrdup(machine_text_run(&f->text, "leases"));
    restart(f);
    assert_string_equal(machine_text_run(&f->text, "leases"), before);
    free(before);
    run(f, "alarm deactivate 1 nospace");
    run(f, "space clear 2");
    run(f, "alarm deactivate 2 corrupt");
    expect(f, "range b x rev=4", "etcdserver: mvcc: required revision has been compacted");
    run(f, "revoke 7");
    expect(f, "range a z", "revision 9 count 2\n  x=1 c8 m8 v1\n  y=2 c8 m8 v1");
    run(f, "as ann");
    expect(f, "put zz 1", "etcdserver: permission denied");
    expect(f, "put y 1", "revision 10");
}

/* Random writes; the machine and its copy stay equal through compactions and more writes. */
static void random_machines_are_the_same_again(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = (uint64_t)time(NULL);
    struct prng prng;
    char line[200];

    print_message("seed %llu\n", (unsigned long long)seed);
    prng_seed(&prng, seed);
    for (int i = 0; i < 3000; i++) {
        unsigned n = (unsigned)prng_between(&prng, 0, 40);
        int64_t now = mvcc_revision(f->text.machine->mvcc);
        int what = (int)prng_between(&prng, 0, 99);

        if (what < 60)
            snprintf(line, sizeof line, "put k%02u v%d%s", n, i, n % 3 == 0 ? " lease=3" : "");
        else if (what < 80)
            snprintf(line, sizeof line, "del k%02u k%02u", n, n + 2);
        else if (what < 90)
            snprintf(line, sizeof line, "txn [ then put k%02u a then put k%02u b then del k%02u ]",
                     n, n + 1, n + 2);
        else if (what < 93)
            snprintf(line, sizeof line, what == 92 ? "revoke 3" : "grant 3 60");
        else if (what < 95)
            snprintf(line, sizeof line, "compact %lld",
                     (long long)prng_between(&prng, 1, (uint64_t)now));
        else if (what < 97)
            snprintf(line, sizeof line, "sweep");
        else {
            restart(f);
            continue;
        }
        run(f, line);
    }
    restart(f);
}

/* Regression R7: the process ends between two steps of a compaction. The revision does not fall,
 * though its own record is among what goes, and what was read before is read after. */
static void r7_an_end_between_steps_of_a_compaction_keeps_the_revision(void **state)
{
    struct fixture *f = *state;
    char line[100];
    bool more = true;
    int steps = 0;

    for (int i = 0; i < 50; i++) {
        snprintf(line, sizeof line, "put k%02d v", i);
        run(f, line);
        snprintf(line, sizeof line, "del k%02d", i);
        run(f, line);
    }
    expect(f, "compact 101", "revision 101"); /* the last change, a deletion */
    while (more) {
        struct machine_text text;

        more = mvcc_compact_step(f->text.machine->mvcc, 7);
        steps++;
        save(f);
        machine_text_init(&text);
        machine_free(text.machine);
        assert_int_equal(load(f, &text.machine, NULL), 0);
        assert_string_equal(machine_text_run(&text, "range a z rev=101"), "revision 101 count 0");
        assert_string_equal(machine_text_run(&text, "range a z rev=100"),
                            "etcdserver: mvcc: required revision has been compacted");
        assert_string_equal(machine_text_run(&text, "put k00 w"), "revision 102");
        machine_text_release(&text);
    }
    assert_true(steps > 3);
    restart(f);
    expect(f, "put k00 w", "revision 102");
}

/* Regression R9: members whose compactions stand at different places answer a txn that reads a
 * given or a compacted revision the same way, and a refused one has written nothing on any. */
static void r9_a_txn_at_a_revision_is_the_same_wherever_removal_stands(void **state)
{
    static const struct {
        const char *request, *answer;
    } txns[] = {
        {"txn [ then put w 1 then range a rev=3 ]",
         "etcdserver: mvcc: required revision has been compacted"},
        {"txn [ then range a rev=4 then put w 1 ]",
         "revision 6 succeeded\n  range revision 5 count 1\n    a=3 c2 m4 v3\n  put revision 6"},
        {"txn [ if value a = 4 then put w 2 then range a rev=9 else put w 3 ]",
         "etcdserver: mvcc: required revision is a future revision"},
        {"txn [ if value a = 3 then range a rev=2 else range w rev=6 ]",
         "revision 6 failed\n  range revision 6 count 1\n    w=1 c6 m6 v1"},
    };
    struct fixture *f = *state;
    struct machine_text swept, loaded;

    machine_text_init(&swept);
    machine_text_init(&loaded);
    for (int i = 1; i <= 4; i++) {
        char line[32];

        snprintf(line, sizeof line, "put a %d", i);
        run(f, line);
        (void)machine_text_run(&swept, line);
    }
    run(f, "compact 4");
    (void)machine_text_run(&swept, "compact 4");
    (void)machine_text_run(&swept, "sweep");
    save(f);
    machine_free(loaded.machine);
    assert_int_equal(load(f, &loaded.machine, NULL), 0);

    for (size_t i = 0; i < ARRAY_LEN(txns); i++) {
        expect(f, txns[i].request, txns[i].answer);
        assert_string_equal(machine_text_run(&swept, txns[i].request), txns[i].answer);
        assert_string_equal(machine_text_run(&loaded, txns[i].request), txns[i].answer);
        assert_int_equal(machine_digest(swept.machine), machine_digest(f->text.machine));
        assert_int_equal(machine_digest(loaded.machine), machine_digest(f->text.machine));
    }
    machine_text_release(&swept);
    machine_text_release(&loaded);
}

static void large_values_and_many_leases_take_many_blocks(void **state)
{
    struct fixture *f = *state;
    static char value[1500001], line[1500100];

    memset(value, 'v', sizeof value - 1);
    for (int i = 0; i < 5; i++) {
        snprintf(line, sizeof line, "put big%d %s", i, value);
        run(f, line);
    }
    for (int i = 1; i <= 20000; i++)
        assert_int_equal(
            leases_grant(f->text.machine->leases, i * INT64_C(1000003), 5 + i % 100, 0), 0);
    restart(f);
    assert_int_equal(leases_count(f->text.machine->leases), 20000);
}

/* A file whose checksums are all right and whose content is not: somebody made it. */
static void refuse(void **state, const char *what, uint8_t kind, struct slice payload,
                   uint32_t items)
{
    struct fixture *f = *state;
    struct snapshot_writer *writer = begin(f);
    struct err err = ERR_INIT;
    struct machine *machine;

    assert_int_equal(snapshot_writer_add(writer, kind, payload, items, NULL), 0);
    commit(writer);
    assert_true(load(f, &machine, &err) < 0);
    assert_non_null(strstr(err.text, what));
}

static void content_that_makes_no_sense_is_refused(void **state)
{
    /* deletion at revision 2, sub 0, key "a"; then the same again */
    static const uint8_t twice[] = {1, 2, 0, 1, 'a', 1, 0, 0, 1, 'a'};
    static const uint8_t cut[] = {0, 2, 0, 200, 'a'};
    static const uint8_t no_key[] = {1, 2, 0, 0};
    static const uint8_t garbage[] = {0x0b, 0xff, 0xff};

    refuse(state, "contradicts those before", STATE_CHANGES, slice_of(twice, sizeof twice), 2);
    refuse(state, "can not be decoded", STATE_CHANGES, slice_of(cut, sizeof cut), 1);
    refuse(state, "contradicts", STATE_CHANGES, slice_of(no_key, sizeof no_key), 1);
    refuse(state, "left over", STATE_CHANGES, slice_of(twice, sizeof twice), 1);
    refuse(state, "can not be decoded", STATE_SMALL, slice_of(garbage, sizeof garbage), 1);
    refuse(state, "newer one", 9, slice_of(garbage, 0), 1);
    refuse(state, "missing", STATE_CHANGES, slice_of(twice, 5), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        T(an_empty_machine_is_the_same_again),
        T(keys_leases_alarms_members_and_users_are_the_same_again),
        T(random_machines_are_the_same_again),
        T(r7_an_end_between_steps_of_a_compaction_keeps_the_revision),
        T(r9_a_txn_at_a_revision_is_the_same_wherever_removal_stands),
        T(large_values_and_many_leases_take_many_blocks),
        T(content_that_makes_no_sense_is_refused),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
