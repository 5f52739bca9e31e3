/* Users and roles: what a user may is what the union of the permissions says, for any permissions;
 * and the store comes back from a checkpoint as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/prng.h"
#include "base/util.h"
#include "server/auth_store.h"
#include "server/scan.h"

enum { KEYS = 12, ROUNDS = 3000 };

static uint64_t start_seed(void)
{
    const char *given = getenv("KVD_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);

    print_message("KVD_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

/* ---- changes ---- */

static char hash[] = "JDJhJA==";

static void add_user(struct auth_store *store, char *name)
{
    Etcdserverpb__AuthUserAddRequest request = ETCDSERVERPB__AUTH_USER_ADD_REQUEST__INIT;
    Kvdpb__AuthChange change = KVDPB__AUTH_CHANGE__INIT;

    request.name = name;
    request.hashedpassword = hash;
    change.change_case = KVDPB__AUTH_CHANGE__CHANGE_USER_ADD;
    change.user_add = &request;
    assert_int_equal(auth_store_change(store, &change), 0);
}

static void add_role(struct auth_store *store, char *name)
{
    Etcdserverpb__AuthRoleAddRequest request = ETCDSERVERPB__AUTH_ROLE_ADD_REQUEST__INIT;
    Kvdpb__AuthChange change = KVDPB__AUTH_CHANGE__INIT;

    request.name = name;
    change.change_case = KVDPB__AUTH_CHANGE__CHANGE_ROLE_ADD;
    change.role_add = &request;
    assert_int_equal(auth_store_change(store, &change), 0);
}

static void grant_role(struct auth_store *store, char *user, char *role)
{
    Etcdserverpb__AuthUserGrantRoleRequest request =
        ETCDSERVERPB__AUTH_USER_GRANT_ROLE_REQUEST__INIT;
    Kvdpb__AuthChange change = KVDPB__AUTH_CHANGE__INIT;

    request.user = user;
    request.role = role;
    change.change_case = KVDPB__AUTH_CHANGE__CHANGE_USER_GRANT_ROLE;
    change.user_grant_role = &request;
    assert_int_equal(auth_store_change(store, &change), 0);
}

static ProtobufCBinaryData bytes_of(struct slice bytes)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)bytes.data, .len = bytes.len};
}

static int permit(struct auth_store *store, char *role, int type, struct slice key,
                  struct slice range_end)
{
    Etcdserverpb__AuthRoleGrantPermissionRequest request =
        ETCDSERVERPB__AUTH_ROLE_GRANT_PERMISSION_REQUEST__INIT;
    Authpb__Permission permission = AUTHPB__PERMISSION__INIT;
    Kvdpb__AuthChange change = KVDPB__AUTH_CHANGE__INIT;

    permission.permtype = (Authpb__Permission__Type)type;
    permission.key = bytes_of(key);
    permission.range_end = bytes_of(range_end);
    request.name = role;
    request.perm = &permission;
    change.change_case = KVDPB__AUTH_CHANGE__CHANGE_ROLE_GRANT_PERMISSION;
    change.role_grant_permission = &request;
    return auth_store_change(store, &change);
}

/* ---- rights ---- */

static char user_name[] = "u", role_name[] = "r", other_name[] = "s";

/* Keys 0..KEYS-1 are "a", "a\0", "b", "b\0", ...: neighbours, so that the end of a single key is
 * the beginning of the next. range_end: a key, "" or all. */
static struct slice key_of(size_t i)
{
    static uint8_t keys[KEYS + 1][2];

    keys[i][0] = (uint8_t)('a' + i / 2);
    keys[i][1] = 0;
    return slice_of(keys[i], 1 + i % 2);
}

struct range {
    size_t begin, end; /* end KEYS: all that follows */
    struct slice key, range_end;
};

static struct range random_range(struct prng *prng)
{
    struct range range;

    range.begin = (size_t)prng_between(prng, 0, KEYS - 1);
    range.end = (size_t)prng_between(prng, range.begin + 1, KEYS);
    range.key = key_of(range.begin);
    range.range_end = range.end == KEYS ? slice_of("", 1) : key_of(range.end);
    if (prng_chance(prng, 300000)) {
        range.end = range.begin + 1;
        range.range_end = slice_of(NULL, 0);
    }
    return range;
}

/* The keys between two neighbours do not exist here but do in fact; as a key stands for itself and
 * those up to the next, only single odd keys ("a\0" to "b") differ: they are left out as points. */
static bool is_exact(const struct range *range)
{
    return range->range_end.len > 0 || range->begin % 2 == 0;
}

/* Method: a set of keys per right, built from the same permissions one by one. */
static void union_of_permissions_decides(void **state)
{
    struct prng prng;

    (void)state;
    prng_seed(&prng, start_seed());
    for (int round = 0; round < ROUNDS; round++) {
        struct auth_store *store = auth_store_new();
        struct auth_user *user;
        bool may[2][KEYS + 1] = {{false}};

        add_user(store, user_name);
        add_role(store, role_name);
        add_role(store, other_name);
        grant_role(store, user_name, role_name);
        grant_role(store, user_name, other_name);
        for (size_t n = (size_t)prng_between(&prng, 0, 5); n > 0; n--) {
            struct range range = random_range(&prng);
            char *role = prng_chance(&prng, 500000) ? role_name : other_name;
            int type = (int)prng_between(&prng, 0, 2);
            bool again = false;

            if (!is_exact(&range))
                continue;
            for (size_t i = 0; i < store->role_count; i++) /* it would replace the kind */
                for (size_t j = 0; j < store->roles[i]->permission_count; j++)
                    again = again || slice_eq(store->roles[i]->permissions[j].key, range.key);
            if (again)
                continue;
            assert_int_equal(permit(store, role, type, range.key, range.range_end), 0);
            for (size_t i = range.begin; i < range.end; i++) {
                may[AUTH_READ][i] = may[AUTH_READ][i] || type != AUTHPB__PERMISSION__TYPE__WRITE;
                may[AUTH_WRITE][i] = may[AUTH_WRITE][i] || type != AUTHPB__PERMISSION__TYPE__READ;
            }
            /* "all that follows" reaches beyond the last key, an end does not */
            if (range.end == KEYS) {
                may[AUTH_READ][KEYS] =
                    may[AUTH_READ][KEYS] || type != AUTHPB__PERMISSION__TYPE__WRITE;
                may[AUTH_WRITE][KEYS] =
                    may[AUTH_WRITE][KEYS] || type != AUTHPB__PERMISSION__TYPE__READ;
            }
        }
        user = auth_store_user(store, slice_str(user_name));
        for (int n = 0; n < 20; n++) {
            struct range range = random_range(&prng);
            int access = (int)prng_between(&prng, 0, 1);
            bool expected = range.end < KEYS || may[access][KEYS];

            if (!is_exact(&range))
                continue;
            for (size_t i = range.begin; i < range.end; i++)
                expected = expected && may[access][i];
            assert_int_equal(
                auth_user_may(store, user, (enum auth_access)access, range.key, range.range_end),
                expected);
        }
        auth_store_free(store);
    }
}

static void rights_change_with_the_revision(void **state)
{
    struct auth_store *store = auth_store_new();
    struct slice key = slice_str("k"), none = slice_of(NULL, 0);
    struct auth_user *user;

    (void)state;
    add_user(store, user_name);
    add_role(store, role_name);
    grant_role(store, user_name, role_name);
    user = auth_store_user(store, slice_str(user_name));
    assert_false(auth_user_may(store, user, AUTH_READ, key, none));
    assert_int_equal(permit(store, role_name, AUTHPB__PERMISSION__TYPE__READ, key, none), 0);
    assert_true(auth_user_may(store, user, AUTH_READ, key, none));
    assert_false(auth_user_may(store, user, AUTH_WRITE, key, none));
    assert_false(auth_user_may(store, user, AUTH_READ, slice_str("k2"), none));
    assert_int_equal(permit(store, role_name, AUTHPB__PERMISSION__TYPE__WRITE, key, none), 0);
    assert_false(auth_user_may(store, user, AUTH_READ, key, none));
    assert_true(auth_user_may(store, user, AUTH_WRITE, key, none));
    auth_store_free(store);
}

/* ---- checkpoints ---- */

struct copying {
    struct auth_store *to;
    size_t parts;
};

/* Through bytes, with the limits that loading has. */
static int copy_part(void *ctx, const Kvdpb__StateAuth *part)
{
    struct copying *copying = ctx;
    size_t len = kvdpb__state_auth__get_packed_size(part);
    struct arena arena = ARENA_INIT;
    uint8_t *bytes = arena_alloc(&arena, len);
    ProtobufCMessage *message;

    (void)kvdpb__state_auth__pack(part, bytes);
    assert_int_equal(
        scan_unpack(&kvdpb__state_auth__descriptor, slice_of(bytes, len), &arena, &message), 0);
    assert_true(auth_store_load(copying->to, (const Kvdpb__StateAuth *)message));
    copying->parts++;
    arena_release(&arena);
    return 0;
}

/* More permissions in one role, more roles of one user and more users than a part holds. */
static void large_store_comes_back_in_parts(void **state)
{
    struct auth_store *store = auth_store_new();
    struct copying copying = {.to = auth_store_new()};
    char name[16];

    (void)state;
    add_role(store, role_name);
    for (int i = 0; i < 9000; i++) {
        (void)snprintf(name, sizeof name, "%05d", (i * 7919) % 9000);
        assert_int_equal(permit(store, role_name, i % 3, slice_str(name),
                                i % 2 == 0 ? slice_of(NULL, 0) : slice_of("", 1)),
                         0);
    }
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(name, sizeof name, "n%d", i);
        add_user(store, name);
        add_role(store, name);
        grant_role(store, name, role_name);
    }
    (void)snprintf(name, sizeof name, "all");
    add_user(store, name);
    for (int i = 0; i < 5000; i++) {
        char role[16];

        (void)snprintf(role, sizeof role, "n%d", i);
        grant_role(store, name, role);
    }
    store->enabled = true;
    assert_int_equal(auth_store_save(store, copy_part, &copying), 0);
    assert_true(copying.parts > 5);
    assert_true(copying.to->revision == store->revision && copying.to->enabled);
    assert_true(auth_store_digest(copying.to) == auth_store_digest(store));
    ((struct auth_role *)(uintptr_t)auth_store_role(copying.to, role_name))->permissions[0].type ^=
        1;
    assert_true(auth_store_digest(copying.to) != auth_store_digest(store));
    auth_store_free(copying.to);
    auth_store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(union_of_permissions_decides),
        cmocka_unit_test(rights_change_with_the_revision),
        cmocka_unit_test(large_store_comes_back_in_parts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
