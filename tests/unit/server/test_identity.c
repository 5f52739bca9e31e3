/* Ids as etcd computes them, what the configuration makes of a cluster, and whose data dir it is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "server/bootstrap.h"
#include "server/identity.h"

/* ---- ids ---- */

/* The ids that every etcd with default settings has. */
static void lone_default_member_has_the_ids_of_a_default_etcd(void **state)
{
    char *urls[] = {"http://localhost:2380"};
    uint64_t id = identity_member_id(urls, 1, "etcd-cluster");

    (void)state;
    assert_true(id == 0x8e9e05c52164694du);
    assert_true(identity_cluster_id(&id, 1) == 0xcdf818194e3a8c32u);
}

/* Values by an independent computation of the formula in etcd-api.md section 8. */
static void ids_of_three_members_follow_the_formula(void **state)
{
    char *urls[] = {"http://127.0.0.1:12380", "http://127.0.0.1:22380", "http://127.0.0.1:32380"};
    uint64_t ids[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        ids[i] = identity_member_id(&urls[i], 1, "etcd-cluster");
    assert_true(ids[0] == 0xddd67b312462fd7bu);
    assert_true(ids[1] == 0x9e737febb6b99eeeu);
    assert_true(ids[2] == 0x0628170c800dbceeu);
    assert_true(identity_cluster_id(ids, 3) == 0x73841b4a9097c907u);
}

static void order_of_urls_and_of_members_does_not_matter(void **state)
{
    char *one[] = {"http://b:1", "http://a:2"}, *other[] = {"http://a:2", "http://b:1"};
    uint64_t ids[] = {3, 1, 2}, sorted[] = {1, 2, 3};

    (void)state;
    assert_true(identity_member_id(one, 2, "tok") == 0x238f506dec709944u);
    assert_true(identity_member_id(other, 2, "tok") == 0x238f506dec709944u);
    assert_true(identity_cluster_id(ids, 3) == identity_cluster_id(sorted, 3));
    assert_true(ids[0] == 3); /* the caller's array is its own */
}

/* ---- configuration ---- */

struct cluster {
    char *urls[3][1];
    struct net_addr addrs[3];
    struct config_peer peers[3];
    struct config config;
};

static void init_cluster(struct cluster *c)
{
    static char *names[] = {"m1", "m2", "m3"};
    static char *urls[] = {"http://127.0.0.1:12380", "http://127.0.0.1:22380",
                           "http://127.0.0.1:32380"};

    *c = (struct cluster){0};
    for (int i = 0; i < 3; i++) {
        c->urls[i][0] = urls[i];
        c->addrs[i].port = (uint16_t)(12380 + 10000 * i);
        c->peers[i] = (struct config_peer){
            .name = names[i], .urls = {.text = c->urls[i], .addr = &c->addrs[i], .len = 1}};
    }
    c->config = (struct config){.name = "m2",
                                .initial_cluster = c->peers,
                                .initial_cluster_len = 3,
                                .initial_cluster_token = "etcd-cluster",
                                .advertise_peer = c->peers[1].urls};
}

static void bootstrap_lists_members_by_id_and_the_others_as_peers(void **state)
{
    struct bootstrap boot;
    struct cluster c;

    (void)state;
    init_cluster(&c);
    assert_int_equal(bootstrap_from_config(&c.config, &boot, NULL), 0);
    assert_true(boot.cluster_id == 0x73841b4a9097c907u);
    assert_true(boot.member_id == 0x9e737febb6b99eeeu);
    assert_int_equal(boot.member_count, 3);
    assert_true(boot.voters[0] == 0x0628170c800dbceeu);
    assert_true(boot.members[1].id == boot.member_id && boot.voters[1] == boot.member_id);
    assert_int_equal(boot.peer_count, 2);
    assert_int_equal(boot.peers[0].addr.port, 12380);
    assert_int_equal(boot.peers[1].addr.port, 32380);
    bootstrap_release(&boot);
}

static void refuse(struct cluster *c, const char *text)
{
    struct bootstrap boot;
    struct err err = ERR_INIT;

    assert_int_equal(bootstrap_from_config(&c->config, &boot, &err), KV_EINVAL);
    assert_non_null(strstr(err.text, text));
}

static void name_that_is_not_in_the_initial_cluster_is_refused_as_etcd_does(void **state)
{
    struct cluster c;

    (void)state;
    init_cluster(&c);
    c.config.name = "m4";
    refuse(&c, "couldn't find local name \"m4\" in the initial cluster configuration");
}

static void advertised_urls_other_than_those_in_the_list_are_refused(void **state)
{
    struct cluster c;

    (void)state;
    init_cluster(&c);
    c.config.advertise_peer = c.peers[0].urls;
    refuse(&c, "--initial-cluster has m2=http://127.0.0.1:22380 but missing from "
               "--initial-advertise-peer-urls");
}

static void two_members_with_the_same_urls_are_refused(void **state)
{
    struct cluster c;

    (void)state;
    init_cluster(&c);
    c.peers[2].urls = c.peers[0].urls;
    refuse(&c, "same peer URLs");
}

/* ---- data dir ---- */

struct dir {
    char path[64];
    char *wal;
};

static int setup(void **state)
{
    struct dir *dir = xcalloc(1, sizeof *dir);

    snprintf(dir->path, sizeof dir->path, "/tmp/kvd-identity-XXXXXX");
    if (mkdtemp(dir->path) == NULL)
        return -1;
    dir->wal = xasprintf("%s/wal", dir->path);
    *state = dir;
    return 0;
}

static void remove_at(const char *dir, const char *name)
{
    char *path = xasprintf("%s/%s", dir, name);

    if (unlink(path) != 0)
        (void)rmdir(path); /* may not be there */
    free(path);
}

static int teardown(void **state)
{
    static const char *const names[] = {"identity", "identity.tmp", "wal/0001",
                                        "wal",      "member/wal",   "member"};
    struct dir *dir = *state;

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        remove_at(dir->path, names[i]);
    (void)rmdir(dir->path); /* empty now */
    free(dir->wal);
    free(dir);
    return 0;
}

static void make_file(const struct dir *dir, const char *name, const char *text)
{
    char *path = xasprintf("%s/%s", dir->path, name);
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    free(path);
}

static void make_dir(const struct dir *dir, const char *name)
{
    struct disk disk = disk_posix();
    char *path = xasprintf("%s/%s", dir->path, name);

    assert_int_equal(disk.ops->mkdir(disk.ctx, path, NULL), 0);
    free(path);
}

static const struct identity self = {.cluster_id = 0xc1, .member_id = 0x11, .name = "m 1%\xc3\xa9"};

static int claim(const struct dir *dir, const struct identity *identity, struct err *err)
{
    return identity_claim(disk_posix(), dir->path, dir->wal, identity, err);
}

static void new_dir_is_claimed_and_claimed_again(void **state)
{
    struct identity found;

    assert_int_equal(claim(*state, &self, NULL), 0);
    assert_int_equal(identity_read(disk_posix(), ((struct dir *)*state)->path, &found, NULL), 0);
    assert_true(found.cluster_id == 0xc1 && found.member_id == 0x11 && !found.log_begun);
    assert_string_equal(found.name, self.name);
    assert_int_equal(claim(*state, &self, NULL), 0);
}

static void dir_of_another_member_or_cluster_is_refused_and_both_are_named(void **state)
{
    struct identity other = {.cluster_id = 0xc2, .member_id = 0x22, .name = "m2"};
    struct err err = ERR_INIT;

    assert_int_equal(claim(*state, &self, NULL), 0);
    assert_int_equal(claim(*state, &other, &err), KV_EMISMATCH);
    assert_non_null(strstr(err.text, "member 11 ("));
    assert_non_null(strstr(err.text, "of cluster c1"));
    assert_non_null(strstr(err.text, "member 22 (m2) of cluster c2"));
    other.cluster_id = 0xc1;
    assert_int_equal(claim(*state, &other, &err), KV_EMISMATCH);
}

/* A member that lost its log would vote a second time (faults.md D8). */
static void log_that_is_gone_is_refused_once_it_had_begun(void **state)
{
    const struct dir *dir = *state;
    struct err err = ERR_INIT;

    assert_int_equal(claim(dir, &self, NULL), 0);
    make_dir(dir, "wal");
    make_file(dir, "wal/0001", "x");
    assert_int_equal(identity_log_begun(disk_posix(), dir->path, NULL), 0);
    assert_int_equal(claim(dir, &self, NULL), 0);
    remove_at(dir->path, "wal/0001");
    assert_int_equal(claim(dir, &self, &err), KV_ECORRUPT);
    assert_non_null(strstr(err.text, "must not go on"));
}

static void log_without_identity_is_refused(void **state)
{
    struct err err = ERR_INIT;

    make_dir(*state, "wal");
    make_file(*state, "wal/0001", "x");
    assert_int_equal(claim(*state, &self, &err), KV_ECORRUPT);
    assert_non_null(strstr(err.text, "identity is missing"));
}

static void data_dir_of_etcd_is_refused(void **state)
{
    struct err err = ERR_INIT;

    make_dir(*state, "member");
    make_dir(*state, "member/wal");
    assert_int_equal(claim(*state, &self, &err), KV_EMISMATCH);
    assert_non_null(strstr(err.text, "data dir of etcd"));
}

static void leftover_of_a_crash_does_not_matter(void **state)
{
    make_file(*state, "identity.tmp", "half");
    make_dir(*state, "wal");
    assert_int_equal(claim(*state, &self, NULL), 0);
}

static void any_changed_byte_of_the_file_is_noticed(void **state)
{
    struct identity out;
    struct buf text;

    (void)state;
    buf_init(&text, 4096);
    assert_int_equal(identity_encode(&self, &text), 0);
    assert_int_equal(identity_decode(buf_slice(&text), &out, NULL), 0);
    for (size_t i = 0; i < text.len; i++) {
        text.data[i] ^= 4;
        assert_int_not_equal(identity_decode(buf_slice(&text), &out, NULL), 0);
        text.data[i] ^= 4;
    }
    for (size_t len = 0; len < text.len; len++)
        assert_int_not_equal(identity_decode(slice_of(text.data, len), &out, NULL), 0);
    buf_release(&text);
}

static void member_that_joined_is_one_again(void **state)
{
    struct identity joined = {
        .cluster_id = 1, .member_id = 2, .joined = true, .name = "began joined"};
    struct identity back;
    struct buf text;

    (void)state;
    buf_init(&text, 4096);
    assert_int_equal(identity_encode(&joined, &text), 0);
    assert_int_equal(identity_decode(buf_slice(&text), &back, NULL), 0);
    assert_true(back.joined && back.cluster_id == 1 && back.member_id == 2 && !back.log_begun);
    assert_string_equal(back.name, joined.name);
    buf_reset(&text);
    joined.joined = false;
    joined.log_begun = true;
    assert_int_equal(identity_encode(&joined, &text), 0);
    assert_int_equal(identity_decode(buf_slice(&text), &back, NULL), 0);
    assert_true(!back.joined && back.log_begun);
    assert_string_equal(back.name, joined.name);
    buf_release(&text);
}

static void a_state_is_distrusted_until_it_is_not(void **state)
{
    struct dir *dir = *state;
    struct identity identity = {
        .cluster_id = 0xc1, .member_id = 0x11, .joined = true, .name = "state distrusted"};
    struct identity found;

    assert_int_equal(identity_write(disk_posix(), dir->path, &identity, NULL), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(identity_distrust(disk_posix(), dir->path, i < 2, NULL), 0);
        assert_int_equal(identity_read(disk_posix(), dir->path, &found, NULL), 0);
        assert_int_equal(found.distrusted, i < 2);
        assert_true(found.joined && found.member_id == 0x11 && !found.log_begun);
        assert_string_equal(found.name, identity.name);
    }
}

static void empty_and_longest_names_come_back(void **state)
{
    struct identity in = {.member_id = 1}, out;
    struct buf text;

    (void)state;
    buf_init(&text, 4096);
    assert_int_equal(identity_encode(&in, &text), 0);
    assert_int_equal(identity_decode(buf_slice(&text), &out, NULL), 0);
    assert_string_equal(out.name, "");
    memset(in.name, '\n', sizeof in.name - 1);
    buf_reset(&text);
    assert_int_equal(identity_encode(&in, &text), 0);
    assert_int_equal(identity_decode(buf_slice(&text), &out, NULL), 0);
    assert_string_equal(out.name, in.name);
    buf_release(&text);
}

/* ---- a crash at any step ---- */

/* The real disk until a countdown ends; from then on every call fails. */
struct dying_disk {
    struct disk real;
    int steps_left;
};

static bool dead(struct dying_disk *d)
{
    return d->steps_left-- <= 0;
}

static int dying_open(void *ctx, const char *path, int flags, struct disk_file **out,
                      struct err *err)
{
    struct dying_disk *d = ctx;

    return dead(d) ? KV_EIO : d->real.ops->open(d->real.ctx, path, flags, out, err);
}

static void dying_close(void *ctx, struct disk_file *file)
{
    struct dying_disk *d = ctx;

    d->real.ops->close(d->real.ctx, file);
}

static int dying_read(void *ctx, struct disk_file *file, uint64_t offset, void *data, size_t len,
                      size_t *out_len, struct err *err)
{
    struct dying_disk *d = ctx;

    return dead(d) ? KV_EIO : d->real.ops->read(d->real.ctx, file, offset, data, len, out_len, err);
}

static int dying_write(void *ctx, struct disk_file *file, uint64_t offset, const void *data,
                       size_t len, struct err *err)
{
    struct dying_disk *d = ctx;

    if (!dead(d))
        return d->real.ops->write(d->real.ctx, file, offset, data, len, err);
    /* A write that fails may have written a part; how that goes is of no interest. */
    (void)d->real.ops->write(d->real.ctx, file, offset, data, len / 2, err);
    return KV_EIO;
}

static int dying_sync(void *ctx, struct disk_file *file, struct err *err)
{
    struct dying_disk *d = ctx;

    return dead(d) ? KV_EIO : d->real.ops->sync(d->real.ctx, file, err);
}

static int dying_rename(void *ctx, const char *from, const char *to, struct err *err)
{
    struct dying_disk *d = ctx;

    return dead(d) ? KV_EIO : d->real.ops->rename(d->real.ctx, from, to, err);
}

static int dying_unlink(void *ctx, const char *path, struct err *err)
{
    struct dying_disk *d = ctx;

    return dead(d) ? KV_EIO : d->real.ops->unlink(d->real.ctx, path, err);
}

static int dying_sync_dir(void *ctx, const char *path, struct err *err)
{
    struct dying_disk *d = ctx;

    return dead(d) ? KV_EIO : d->real.ops->sync_dir(d->real.ctx, path, err);
}

static const struct disk_ops dying_ops = {.open = dying_open,
                                          .close = dying_close,
                                          .read = dying_read,
                                          .write = dying_write,
                                          .sync = dying_sync,
                                          .rename = dying_rename,
                                          .unlink = dying_unlink,
                                          .sync_dir = dying_sync_dir};

/* Fails the rewrite at its first, second, ... call until it succeeds. */
static void crash_while_writing_leaves_the_old_file_or_the_new(void **state)
{
    const struct dir *dir = *state;
    struct dying_disk dying = {.real = disk_posix()};
    struct disk disk = {.ops = &dying_ops, .ctx = &dying};
    int failures = 0;
    struct identity found;
    int rc;

    assert_int_equal(claim(dir, &self, NULL), 0);
    do {
        dying.steps_left = failures;
        rc = identity_log_begun(disk, dir->path, NULL);
        assert_int_equal(identity_read(disk_posix(), dir->path, &found, NULL), 0);
        assert_true(found.member_id == self.member_id);
        if (found.log_begun && rc != 0) /* the new one is there, only its safety was not said */
            assert_int_equal(identity_write(disk_posix(), dir->path, &self, NULL), 0);
        failures++;
    } while (rc != 0);
    assert_true(found.log_begun);
    assert_true(failures > 6); /* read (2), unlink, create, write, sync, rename, sync of the dir */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lone_default_member_has_the_ids_of_a_default_etcd),
        cmocka_unit_test(ids_of_three_members_follow_the_formula),
        cmocka_unit_test(order_of_urls_and_of_members_does_not_matter),
        cmocka_unit_test(bootstrap_lists_members_by_id_and_the_others_as_peers),
        cmocka_unit_test(name_that_is_not_in_the_initial_cluster_is_refused_as_etcd_does),
        cmocka_unit_test(advertised_urls_other_than_those_in_the_list_are_refused),
        cmocka_unit_test(two_members_with_the_same_urls_are_refused),
        cmocka_unit_test(any_changed_byte_of_the_file_is_noticed),
        TEST(a_state_is_distrusted_until_it_is_not),
        cmocka_unit_test(member_that_joined_is_one_again),
        cmocka_unit_test(empty_and_longest_names_come_back),
        TEST(new_dir_is_claimed_and_claimed_again),
        TEST(dir_of_another_member_or_cluster_is_refused_and_both_are_named),
        TEST(log_that_is_gone_is_refused_once_it_had_begun),
        TEST(log_without_identity_is_refused),
        TEST(data_dir_of_etcd_is_refused),
        TEST(leftover_of_a_crash_does_not_matter),
        TEST(crash_while_writing_leaves_the_old_file_or_the_new),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
