/* Users, roles and permissions, and whether they count (etcd-api.md section 10). Replicated: what a
 * change does follows from earlier changes alone, so it is the same on all members. Owns copies of
 * everything. Knows no tokens, no passwords in plain and no clock. One thread, no I/O.
 *
 * What a user may do is kept as merged intervals, made when first asked for and void with the next
 * auth revision; so a check is a binary search. */
#ifndef KVD_SERVER_AUTH_STORE_H
#define KVD_SERVER_AUTH_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/slice.h"
#include "proto/command.pb-c.h"
#include "proto/state.pb-c.h"

#define AUTH_ROOT "root" /* the name of the user that must exist, and of the role that may all */

struct auth_permission {
    int type; /* Authpb__Permission__Type */
    struct slice key, range_end;
};

struct auth_role {
    char *name;
    struct auth_permission *permissions; /* ascending by key; of one key in the order of granting */
    size_t permission_count;
};

struct auth_user {
    char *name;
    char *password; /* as bcrypt gives it; "" if there is none */
    char **roles;   /* ascending */
    size_t role_count;
    bool no_password;
    struct auth_rights *rights; /* NULL: to be made */
    uint64_t rights_revision;   /* of the store when they were */
};

struct auth_store {
    bool enabled;
    uint64_t revision;        /* from 1; grows with every change but that of being enabled */
    struct auth_user **users; /* ascending by name */
    size_t user_count;
    struct auth_role **roles; /* ascending by name */
    size_t role_count;
};

struct auth_store *auth_store_new(void);
/* Accepts NULL. */
void auth_store_free(struct auth_store *store);

/* Carries a change out, or leaves everything as it was and returns the code that etcd's error has:
 * KV_EUSERNOTFOUND and its like; KV_EPROTO: a change of an unknown kind. */
int auth_store_change(struct auth_store *store, const Kvdpb__AuthChange *change);

/* NULL: there is none. Valid until the next change. */
struct auth_user *auth_store_user(const struct auth_store *store, struct slice name);
const struct auth_role *auth_store_role(const struct auth_store *store, const char *name);
bool auth_user_has_role(const struct auth_user *user, const char *role);

enum auth_access { AUTH_READ, AUTH_WRITE };

/* Whether the user has the role root, or whether the union of what the roles give covers all keys
 * that key and range_end name (section 4: empty, one zero byte, or the end). An inverted range,
 * which names no key, counts as its key, as in etcd. */
bool auth_user_may(const struct auth_store *store, struct auth_user *user, enum auth_access access,
                   struct slice key, struct slice range_end);

/* Equal for stores that are equal in all that is replicated. */
uint64_t auth_store_digest(const struct auth_store *store);

/* The store as messages of bounded size, for checkpoints. Stops at the first non-zero return of
 * emit, which is returned. */
typedef int (*auth_emit)(void *ctx, const Kvdpb__StateAuth *part);
int auth_store_save(const struct auth_store *store, auth_emit emit, void *ctx);
/* Takes them in the same order, into a new store. False: the state makes no sense. */
bool auth_store_load(struct auth_store *store, const Kvdpb__StateAuth *part);

/* One user or role as etcd keeps it in its db file: authpb.User, authpb.Role; packed in the arena.
 * Taken into a store that does not have it. False: it can not be. */
struct slice auth_user_pack(const struct auth_user *user, struct arena *arena);
struct slice auth_role_pack(const struct auth_role *role, struct arena *arena);
bool auth_user_unpack(struct auth_store *store, struct slice bytes);
bool auth_role_unpack(struct auth_store *store, struct slice bytes);

#endif
