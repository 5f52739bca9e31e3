/* Looking into data dirs, and recovering from them. tests/cluster/recover.py does it with those of
 * real members, killed under load. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/disk.h"
#include "offline/recover.h"
#include "tests/lib/machine_text.h"

enum { COMMAND_ENTRY = 1, CLUSTER = 3 };

#define INITIAL "a=http://127.0.0.1:1,b=http://127.0.0.1:2,c=http://127.0.0.1:3"

static const char *const names[CLUSTER] = {"a", "b", "c"};

struct fixture {
    char dir[32];
    struct machine_text text;
    struct recover_dir dirs[CLUSTER];
    struct recover_options options;
    struct inspection *in;
    struct recovery *recovery;
    struct err err;
    unsigned calls, end_at_call; /* of progress; 0: never */
};

static int on_progress(void *ctx, const char *what, uint64_t done, uint64_t total, struct err *err)
{
    struct fixture *f = ctx;

    (void)what;
    (void)done;
    (void)total;
    return ++f->calls == f->end_at_call ? err_set(err, KV_ECANCELED, "enough") : 0;
}

static int go_on(void *ctx, struct err *err)
{
    (void)ctx;
    (void)err;
    return 0;
}

/* A member's dir with the text's state as entry 2, term 1, and an empty log. */
static void make_dir(struct fixture *f, unsigned member, const char *token)
{
    char urls[32];
    const struct target_flags flags = {.name = names[member],
                                       .data_dir = names[member],
                                       .initial_cluster = INITIAL,
                                       .initial_cluster_token = token,
                                       .initial_advertise_peer_urls = urls};
    struct target target;

    (void)snprintf(urls, sizeof urls, "http://127.0.0.1:%u", member + 1);
    assert_int_equal(target_init(&target, &flags, &f->err), 0);
    machine__set_members(f->text.machine, target.boot.members, target.boot.member_count);
    assert_int_equal(target_write(&target, f->text.machine, go_on, NULL, &f->err), 0);
    target_release(&target);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    machine_text_init(&f->text);
    (void)machine_text_run(&f->text, "put before x");
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/kvd-inspect-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(chdir(f->dir), 0);
    for (unsigned i = 0; i < CLUSTER; i++) {
        make_dir(f, i, "token");
        f->dirs[i].data_dir = names[i];
    }
    f->options =
        (struct recover_options){.dirs = f->dirs,
                                 .dir_count = CLUSTER,
                                 .target = {.name = "n",
                                            .data_dir = "new",
                                            .initial_cluster = "n=http://127.0.0.1:9",
                                            .initial_cluster_token = "recovered",
                                            .initial_advertise_peer_urls = "http://127.0.0.1:9"},
                                 .progress = on_progress,
                                 .ctx = f};
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    inspect_close(f->in);
    recover_free(f->recovery);
    machine_text_release(&f->text);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    free(f);
    return 0;
}

/* ---- verbs ---- */

static void append(struct wal *wal, uint64_t index, uint64_t term)
{
    char key[32], value[64];
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct command command = {.origin = 1, .ticket = index, .kind = COMMAND_PUT};
    struct wal_entry entry = {.index = index, .term = term, .type = COMMAND_ENTRY};
    uint8_t body[128];
    struct buf data;

    put.key.len = (size_t)sprintf(key, "key%llu", (unsigned long long)index);
    put.key.data = (uint8_t *)key;
    put.value.len = (size_t)sprintf(value, "term%llu", (unsigned long long)term);
    put.value.data = (uint8_t *)value;
    command.body = slice_of(body, etcdserverpb__put_request__pack(&put, body));
    buf_init(&data, sizeof body * 2);
    assert_int_equal(command_encode(&command, &data), 0);
    entry.data = buf_slice(&data);
    (void)wal_append_entry(wal, &entry);
    buf_release(&data);
}

/* Puts as entries first..last of that term, each flushed by itself, a mark behind them. */
static void write_log(struct fixture *f, unsigned member, uint64_t first, uint64_t last,
                      uint64_t term)
{
    char *dir = xasprintf("%s/wal", names[member]);
    struct identity identity;
    struct wal_options options = {.disk = disk_posix(), .dir = dir};
    struct wal *wal;

    assert_int_equal(identity_read(disk_posix(), names[member], &identity, &f->err), 0);
    options.cluster_id = identity.cluster_id;
    options.member_id = identity.member_id;
    assert_int_equal(wal_open(&options, &wal, &f->err), 0);
    (void)wal_append_hard_state(wal, (struct wal_hard_state){.term = term});
    for (uint64_t i = first; i <= last; i++) {
        append(wal, i, term);
        assert_int_equal(wal_flush_sync(wal, &f->err), 0);
    }
    (void)wal_append_mark(wal);
    assert_int_equal(wal_flush_sync(wal, &f->err), 0);
    wal_close(wal);
    free(dir);
}

static void flip(const char *path, uint64_t offset, uint8_t mask)
{
    int fd = open(path, O_RDWR);
    uint8_t byte;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= mask;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
    assert_int_equal(close(fd), 0);
}

static struct inspection *look(struct fixture *f, unsigned member)
{
    const struct inspect_options options = {
        .data_dir = names[member], .progress = on_progress, .ctx = f};

    inspect_close(f->in);
    f->in = NULL;
    if (inspect_open(&options, &f->in, &f->err) != 0)
        print_error("%s\n", f->err.text);
    assert_non_null(f->in);
    return f->in;
}

static void state_until(struct fixture *f, uint64_t until, struct inspect_state *out)
{
    const struct inspect_options options = {.data_dir = f->in->data_dir};

    assert_int_equal(inspect_load(f->in, until, &options, out, &f->err), 0);
}

static struct recovery *recover(struct fixture *f)
{
    recover_free(f->recovery);
    f->recovery = NULL;
    if (recover_inspect(&f->options, &f->recovery, &f->err) != 0)
        print_error("%s\n", f->err.text);
    assert_non_null(f->recovery);
    return f->recovery;
}

static off_t size_of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

#define CHECKPOINT "/snap/0000000000000002-0000000000000001.ckpt"
#define SEGMENT "/wal/000000000001.wal"

/* ---- inspecting ---- */

static void what_nobody_touched_is_good(void **state)
{
    struct fixture *f = *state;
    struct inspect_state s;

    write_log(f, 0, 3, 7, 4);
    look(f, 0);
    assert_int_equal(f->in->finding_count, 0);
    assert_int_equal(f->in->voter_count, 3);
    assert_int_equal(f->in->hard_state.term, 4);
    assert_int_equal(f->in->end_index, 7);
    assert_int_equal(f->in->end_term, 4);
    state_until(f, UINT64_MAX, &s);
    assert_int_equal(s.index, 7);
    assert_int_equal(s.revision, 2 + 5);
    assert_int_equal(s.keys, 1 + 5);
    inspect_state_release(&s);
}

static void a_state_is_loaded_up_to_the_entry_that_is_asked_for(void **state)
{
    struct fixture *f = *state;
    struct inspect_state s;

    write_log(f, 0, 3, 9, 1);
    look(f, 0);
    for (uint64_t until = 2; until <= 10; until++) {
        state_until(f, until, &s);
        assert_int_equal(s.index, MIN(until, 9));
        assert_int_equal(s.revision, MIN(until, 9));
        inspect_state_release(&s);
    }
}

static void each_bit_of_identity_and_checkpoint_counts(void **state)
{
    static const char *const files[] = {"a/identity", "a" CHECKPOINT};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        for (off_t at = 0; at < size_of(files[i]); at++) {
            uint8_t mask = (uint8_t)(1 << at % 8);

            flip(files[i], (uint64_t)at, mask);
            look(f, 0);
            if (f->in->damages == 0)
                print_error("%s offset %ld\n", files[i], (long)at);
            assert_int_equal(f->in->damages, 1);
            assert_non_null(strstr(f->in->findings[0].what, files[i]));
            assert_non_null(f->in->findings[0].advice);
            flip(files[i], (uint64_t)at, mask);
        }
    }
    assert_int_equal(look(f, 0)->finding_count, 0);
}

static void note_mark(void *ctx, const char *line)
{
    uint64_t *mark = ctx;
    unsigned long long offset;

    if (strstr(line, " mark ") != NULL && sscanf(line, "%*s %llu", &offset) == 1)
        *mark = offset;
}

static void each_bit_of_the_log_counts_up_to_its_mark(void **state)
{
    struct fixture *f = *state;
    uint64_t mark = 0;

    write_log(f, 0, 3, 5, 2);
    assert_int_equal(wal_dump(disk_posix(), "a/wal", note_mark, &mark, &f->err), 0);
    assert_true(mark > 4096);
    for (uint64_t at = 0; at < mark; at += 3) {
        if (at > 51 && at < 4096)
            at = 4096; /* the rest of the header's block has no meaning */
        flip("a" SEGMENT, at, (uint8_t)(1 << at % 8));
        look(f, 0);
        if (f->in->damages == 0)
            print_error("offset %llu\n", (unsigned long long)at);
        assert_true(f->in->damages > 0);
        assert_non_null(strstr(f->in->findings[0].what, "a" SEGMENT));
        flip("a" SEGMENT, at, (uint8_t)(1 << at % 8));
    }
    assert_int_equal(look(f, 0)->finding_count, 0);
}

/* Without what proves that it was stored, damage at the end looks as a power cut does. */
static void a_torn_tail_is_a_note(void **state)
{
    struct fixture *f = *state;

    write_log(f, 0, 3, 4, 1);
    flip("a" SEGMENT, 4096 + 72, 1); /* the first record after the head is good no more, ... */
    assert_true(look(f, 0)->damages > 0);
    flip("a" SEGMENT, 4096 + 72, 1);
    for (uint64_t at = 4096 * 2 - 1; at > 4096; at--) { /* ... but of the very last one */
        look(f, 0);
        if (f->in->finding_count > 0)
            break;
        flip("a" SEGMENT, at, 1);
    }
    assert_int_equal(f->in->damages, 0);
    assert_int_equal(f->in->finding_count, 1);
    assert_int_equal(f->in->findings[0].kind, INSPECT_NOTE);
    assert_non_null(strstr(f->in->findings[0].what, "a torn tail"));
    assert_true(f->in->usable);
}

static void what_stands_before_damage_can_be_used(void **state)
{
    struct fixture *f = *state;
    uint64_t last = 0;

    write_log(f, 0, 3, 20, 1);
    /* From the end to the beginning: ever less is left, down to the checkpoint. */
    for (uint64_t at = 4096 + 1200; at > 4096; at -= 40) {
        flip("a" SEGMENT, at, 4);
        look(f, 0);
        assert_true(f->in->damages > 0);
        assert_true(f->in->usable);
        assert_true(last == 0 || f->in->end_index <= last);
        last = f->in->end_index;
    }
    assert_int_equal(last, 2);
}

static void a_log_that_is_gone_is_damage(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(rename("a/wal", "aside"), 0);
    look(f, 0);
    assert_int_equal(f->in->damages, 1);
    assert_non_null(strstr(f->in->findings[0].what, "the log is gone"));
    assert_int_equal(mkdir("a/wal", 0700), 0);
    look(f, 0);
    assert_int_equal(f->in->damages, 1);
    assert_non_null(strstr(f->in->findings[0].what, "the log is gone"));
}

static void a_log_whose_beginning_is_missing_is_damage(void **state)
{
    struct fixture *f = *state;

    write_log(f, 0, 9, 12, 1); /* an empty log takes any index */
    look(f, 0);
    assert_int_equal(f->in->damages, 1);
    assert_non_null(strstr(f->in->findings[0].what, "entries between are missing"));
    assert_int_equal(f->in->end_index, 2);
    assert_int_equal(unlink("a" CHECKPOINT), 0);
    look(f, 0);
    assert_int_equal(f->in->damages, 1);
    assert_false(f->in->usable);
}

static void another_members_log_or_anothers_checkpoint_is_damage(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(rename("a" SEGMENT, "aside"), 0);
    assert_int_equal(rename("b" SEGMENT, "a" SEGMENT), 0);
    look(f, 0);
    assert_int_equal(f->in->damages, 1);
    assert_non_null(strstr(f->in->findings[0].what, "belongs to"));
    assert_int_equal(rename("aside", "a" SEGMENT), 0);
    assert_int_equal(rename("a", "old"), 0);
    make_dir(f, 0, "another token");
    assert_int_equal(rename("old" CHECKPOINT, "a" CHECKPOINT), 0);
    look(f, 0);
    assert_int_equal(f->in->damages, 1);
    assert_non_null(strstr(f->in->findings[0].what, "is of cluster"));
}

static void without_its_identity_the_data_can_be_used(void **state)
{
    struct fixture *f = *state;
    struct inspect_state s;

    write_log(f, 0, 3, 4, 1);
    look(f, 0);
    assert_int_equal(unlink("a/identity"), 0);
    uint64_t member = f->in->identity.member_id;
    look(f, 0);
    assert_int_equal(f->in->damages, 1);
    assert_int_equal(f->in->identity.member_id, member); /* the log knows */
    state_until(f, UINT64_MAX, &s);
    assert_int_equal(s.keys, 3);
    inspect_state_release(&s);
}

static void wide_modes_and_foreign_files_are_noted(void **state)
{
    struct fixture *f = *state;
    FILE *file = fopen("a/wal/notes.txt", "w");

    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod("a/identity", 0640), 0);
    look(f, 0);
    assert_int_equal(f->in->damages, 0);
    assert_int_equal(f->in->finding_count, 2);
    assert_non_null(strstr(f->in->findings[0].what, "0640"));
    assert_non_null(strstr(f->in->findings[1].what, "no file of kvd"));
}

static void a_dir_in_use_is_refused_and_no_member_starts_meanwhile(void **state)
{
    struct fixture *f = *state;
    const struct inspect_options options = {.data_dir = "a"};
    int fd, other;

    assert_int_equal(disk_lock("a/lock", &fd, &f->err), 0);
    assert_int_equal(inspect_open(&options, &f->in, &f->err), KV_EBUSY);
    assert_non_null(strstr(f->err.text, "in use"));
    disk_unlock(fd);
    look(f, 0);
    assert_int_equal(disk_lock("a/lock", &other, &f->err), KV_EBUSY);
}

/* ---- recovering ---- */

static void the_best_is_by_term_and_then_by_length(void **state)
{
    struct fixture *f = *state;

    write_log(f, 0, 3, 20, 2);
    write_log(f, 1, 3, 5, 2);
    write_log(f, 1, 6, 8, 3);
    assert_int_equal(recover(f)->best, 1);
    write_log(f, 2, 3, 5, 2);
    write_log(f, 2, 6, 9, 3);
    assert_int_equal(recover(f)->best, 2);
}

static void what_is_committed_and_whether_all_is_there_is_known_from_the_dirs(void **state)
{
    struct fixture *f = *state;

    write_log(f, 0, 3, 5, 2);
    write_log(f, 1, 3, 8, 2);
    write_log(f, 2, 3, 12, 2);
    recover(f);
    assert_true(f->recovery->complete);
    assert_int_equal(f->recovery->committed, 8); /* two have it */
    f->options.dir_count = 2;
    recover(f);
    assert_true(f->recovery->complete);
    assert_int_equal(f->recovery->committed, 5);
    f->options.dir_count = 1;
    recover(f);
    assert_false(f->recovery->complete);
    assert_int_equal(f->recovery->committed, 2); /* the checkpoint */
}

/* Raft figure 8: an entry of an older term on a quorum may still be overwritten. */
static void an_older_terms_entry_on_a_quorum_is_not_known_to_be_committed(void **state)
{
    struct fixture *f = *state;

    write_log(f, 0, 3, 5, 2);
    write_log(f, 1, 3, 5, 2);
    write_log(f, 1, 6, 5, 4); /* a vote in term 4, no entry */
    recover(f);
    assert_int_equal(f->recovery->committed, 2);
}

static void a_damaged_dir_proves_nothing(void **state)
{
    struct fixture *f = *state;

    write_log(f, 0, 3, 8, 2);
    write_log(f, 1, 3, 8, 2);
    f->options.dir_count = 2;
    flip("b" SEGMENT, 4096 + 300, 1);
    recover(f);
    assert_int_equal(f->recovery->best, 0);
    assert_false(f->recovery->complete);
    assert_int_equal(f->recovery->committed, 2);
}

static void only_committed_leaves_the_rest_out(void **state)
{
    struct fixture *f = *state;

    write_log(f, 0, 3, 5, 2);
    write_log(f, 1, 3, 8, 2);
    write_log(f, 2, 3, 12, 2);
    f->options.only_committed = true;
    recover(f);
    assert_int_equal(f->recovery->sources[2].state.index, 8);
    assert_int_equal(f->recovery->sources[2].state.revision, 8);
    f->options.only_committed = false;
    recover(f);
    assert_int_equal(f->recovery->sources[2].state.index, 12);
}

static void what_is_made_is_good_and_has_the_state_and_new_ids(void **state)
{
    struct fixture *f = *state;
    const struct inspect_options options = {.data_dir = "new"};
    struct recover_report report;
    struct inspect_state s;

    write_log(f, 0, 3, 5, 2);
    f->options.bump_revision = 100;
    recover(f);
    assert_int_equal(recover_make(f->recovery, &f->options, &report, &f->err), 0);
    assert_int_equal(report.revision, 105);
    assert_int_equal(report.compact_revision, 105);
    assert_int_equal(inspect_open(&options, &f->in, &f->err), 0);
    assert_int_equal(f->in->finding_count, 0);
    assert_int_equal(f->in->identity.cluster_id, report.cluster_id);
    assert_int_not_equal(report.cluster_id, f->recovery->sources[0].in->identity.cluster_id);
    assert_int_equal(f->in->voter_count, 1);
    state_until(f, UINT64_MAX, &s);
    assert_int_equal(s.revision, 105);
    assert_int_equal(s.keys, 4);
    assert_int_equal(s.machine->member_count, 1);
    assert_int_equal(s.machine->members[0].id, report.member_id);
    inspect_state_release(&s);
}

static void refuse(struct fixture *f, int code, const char *text)
{
    struct recover_report report;
    int rc;

    recover_free(f->recovery);
    f->recovery = NULL;
    f->calls = 0;
    rc = recover_inspect(&f->options, &f->recovery, &f->err);
    if (rc == 0)
        rc = recover_make(f->recovery, &f->options, &report, &f->err);
    if (rc != code || strstr(f->err.text, text) == NULL)
        print_error("%d %s\n", rc, f->err.text);
    assert_int_equal(rc, code);
    assert_non_null(strstr(f->err.text, text));
    assert_int_not_equal(access("new", F_OK), 0);
}

static void dirs_and_flags_that_do_not_fit_are_refused(void **state)
{
    struct fixture *f = *state;

    f->dirs[1].data_dir = "a";
    refuse(f, KV_EINVAL, "of the same member");
    f->dirs[1].data_dir = "nowhere";
    refuse(f, KV_ENOTFOUND, "nowhere");
    f->dirs[1].data_dir = "b";
    f->options.target.name = "a";
    f->options.target.initial_cluster = INITIAL;
    f->options.target.initial_cluster_token = "token";
    f->options.target.initial_advertise_peer_urls = "http://127.0.0.1:1";
    refuse(f, KV_EINVAL, "the ids of the old cluster");
    f->options.target.initial_cluster_token = "new";
    f->options.bump_revision = INT64_MAX / 2;
    refuse(f, KV_EINVAL, "can not be raised");
    assert_int_equal(rename("b", "aside"), 0);
    make_dir(f, 1, "another");
    refuse(f, KV_EINVAL, "of one cluster");
}

static void ended_at_any_moment_nothing_is_left(void **state)
{
    struct fixture *f = *state;
    struct recover_report report;
    unsigned calls;

    write_log(f, 0, 3, 9, 2);
    f->calls = 0;
    recover(f);
    assert_int_equal(recover_make(f->recovery, &f->options, &report, &f->err), 0);
    calls = f->calls;
    assert_int_equal(rename("new", "done"), 0);
    assert_true(calls > 6);
    for (f->end_at_call = 1; f->end_at_call <= calls; f->end_at_call++)
        refuse(f, KV_ECANCELED, "enough");
}

static void a_full_disk_leaves_nothing(void **state)
{
    static const rlim_t limits[] = {1, 4096, 100000};
    struct fixture *f = *state;
    struct rlimit old, small;

    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        small = (struct rlimit){.rlim_cur = limits[i], .rlim_max = old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        refuse(f, KV_ENOSPC, "new/");
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_nobody_touched_is_good),
        TEST(a_state_is_loaded_up_to_the_entry_that_is_asked_for),
        TEST(each_bit_of_identity_and_checkpoint_counts),
        TEST(each_bit_of_the_log_counts_up_to_its_mark),
        TEST(a_torn_tail_is_a_note),
        TEST(what_stands_before_damage_can_be_used),
        TEST(a_log_that_is_gone_is_damage),
        TEST(a_log_whose_beginning_is_missing_is_damage),
        TEST(another_members_log_or_anothers_checkpoint_is_damage),
        TEST(without_its_identity_the_data_can_be_used),
        TEST(wide_modes_and_foreign_files_are_noted),
        TEST(a_dir_in_use_is_refused_and_no_member_starts_meanwhile),
        TEST(the_best_is_by_term_and_then_by_length),
        TEST(what_is_committed_and_whether_all_is_there_is_known_from_the_dirs),
        TEST(an_older_terms_entry_on_a_quorum_is_not_known_to_be_committed),
        TEST(a_damaged_dir_proves_nothing),
        TEST(only_committed_leaves_the_rest_out),
        TEST(what_is_made_is_good_and_has_the_state_and_new_ids),
        TEST(dirs_and_flags_that_do_not_fit_are_refused),
        TEST(ended_at_any_moment_nothing_is_left),
        TEST(a_full_disk_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
