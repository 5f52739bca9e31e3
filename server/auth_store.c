#include "server/auth_store.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "server/auth_internal.h"

enum { BCRYPT_SIZE_MAX = 128 }; /* of a stored password: bcrypt's has 60 bytes */

/* ---- users and roles by name ---- */

static int cmp_name(struct slice name, const char *with)
{
    return slice_cmp(name, slice_str(with));
}

/* Where the user stands, or would. */
static size_t user_at(const struct auth_store *store, struct slice name, bool *there)
{
    size_t low = 0, high = store->user_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (cmp_name(name, store->users[mid]->name) > 0)
            low = mid + 1;
        else
            high = mid;
    }
    *there = low < store->user_count && cmp_name(name, store->users[low]->name) == 0;
    return low;
}

static size_t role_at(const struct auth_store *store, const char *name, bool *there)
{
    size_t low = 0, high = store->role_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (strcmp(name, store->roles[mid]->name) > 0)
            low = mid + 1;
        else
            high = mid;
    }
    *there = low < store->role_count && strcmp(name, store->roles[low]->name) == 0;
    return low;
}

struct auth_user *auth_store_user(const struct auth_store *store, struct slice name)
{
    bool there;
    size_t at = user_at(store, name, &there);

    return there ? store->users[at] : NULL;
}

static struct auth_role *find_role(const struct auth_store *store, const char *name)
{
    bool there;
    size_t at = role_at(store, name, &there);

    return there ? store->roles[at] : NULL;
}

const struct auth_role *auth_store_role(const struct auth_store *store, const char *name)
{
    return find_role(store, name);
}

struct auth_user *auth__add_user(struct auth_store *store, const char *name)
{
    bool there;
    size_t at = user_at(store, slice_str(name), &there);
    struct auth_user *user = xcalloc(1, sizeof *user);

    ASSERT(!there);
    user->name = xstrdup(name);
    user->password = xstrdup("");
    store->users = xrealloc(store->users, (store->user_count + 1) * sizeof(struct auth_user *));
    memmove(store->users + at + 1, store->users + at,
            (store->user_count - at) * sizeof(struct auth_user *));
    store->users[at] = user;
    store->user_count++;
    return user;
}

struct auth_role *auth__add_role(struct auth_store *store, const char *name)
{
    bool there;
    size_t at = role_at(store, name, &there);
    struct auth_role *role = xcalloc(1, sizeof *role);

    ASSERT(!there);
    role->name = xstrdup(name);
    store->roles = xrealloc(store->roles, (store->role_count + 1) * sizeof(struct auth_role *));
    memmove(store->roles + at + 1, store->roles + at,
            (store->role_count - at) * sizeof(struct auth_role *));
    store->roles[at] = role;
    store->role_count++;
    return role;
}

static void free_user(struct auth_user *user)
{
    auth__free_rights(user->rights);
    for (size_t i = 0; i < user->role_count; i++)
        free(user->roles[i]);
    free(user->roles);
    free(user->password);
    free(user->name);
    free(user);
}

static void release_permission(struct auth_permission *permission)
{
    free((void *)(uintptr_t)permission->key.data); /* both are one piece */
}

static void free_role(struct auth_role *role)
{
    for (size_t i = 0; i < role->permission_count; i++)
        release_permission(&role->permissions[i]);
    free(role->permissions);
    free(role->name);
    free(role);
}

struct auth_store *auth_store_new(void)
{
    struct auth_store *store = xcalloc(1, sizeof *store);

    store->revision = 1;
    return store;
}

void auth_store_free(struct auth_store *store)
{
    if (store == NULL)
        return;
    for (size_t i = 0; i < store->user_count; i++)
        free_user(store->users[i]);
    for (size_t i = 0; i < store->role_count; i++)
        free_role(store->roles[i]);
    free(store->users);
    free(store->roles);
    free(store);
}

/* ---- a user's roles ---- */

static size_t user_role_at(const struct auth_user *user, const char *role, bool *there)
{
    size_t at = 0;

    while (at < user->role_count && strcmp(user->roles[at], role) < 0)
        at++;
    *there = at < user->role_count && strcmp(user->roles[at], role) == 0;
    return at;
}

bool auth_user_has_role(const struct auth_user *user, const char *role)
{
    bool there;

    (void)user_role_at(user, role, &there);
    return there;
}

bool auth__add_user_role(struct auth_user *user, const char *role)
{
    bool there;
    size_t at = user_role_at(user, role, &there);

    if (there)
        return false;
    user->roles = xrealloc(user->roles, (user->role_count + 1) * sizeof *user->roles);
    memmove(user->roles + at + 1, user->roles + at, (user->role_count - at) * sizeof *user->roles);
    user->roles[at] = xstrdup(role);
    user->role_count++;
    return true;
}

static bool remove_user_role(struct auth_user *user, const char *role)
{
    bool there;
    size_t at = user_role_at(user, role, &there);

    if (!there)
        return false;
    free(user->roles[at]);
    user->role_count--;
    memmove(user->roles + at, user->roles + at + 1, (user->role_count - at) * sizeof *user->roles);
    return true;
}

/* ---- a role's permissions ---- */

void auth__add_permission(struct auth_role *role, const struct auth_permission *permission)
{
    size_t key_len = permission->key.len, end_len = permission->range_end.len;
    uint8_t *bytes = xmalloc(key_len + end_len + 1);
    size_t at = role->permission_count;

    if (key_len > 0)
        memcpy(bytes, permission->key.data, key_len);
    if (end_len > 0)
        memcpy(bytes + key_len, permission->range_end.data, end_len);
    while (at > 0 && slice_cmp(role->permissions[at - 1].key, permission->key) > 0)
        at--;
    role->permissions =
        xrealloc(role->permissions, (role->permission_count + 1) * sizeof *role->permissions);
    memmove(role->permissions + at + 1, role->permissions + at,
            (role->permission_count - at) * sizeof *role->permissions);
    role->permissions[at] =
        (struct auth_permission){.type = permission->type,
                                 .key = slice_of(bytes, key_len),
                                 .range_end = slice_of(bytes + key_len, end_len)};
    role->permission_count++;
}

static struct auth_permission *find_permission(const struct auth_role *role, struct slice key,
                                               struct slice range_end)
{
    for (size_t i = 0; i < role->permission_count; i++)
        if (slice_eq(role->permissions[i].key, key) &&
            slice_eq(role->permissions[i].range_end, range_end))
            return &role->permissions[i];
    return NULL;
}

static void remove_permission(struct auth_role *role, struct auth_permission *permission)
{
    size_t at = (size_t)(permission - role->permissions);

    release_permission(permission);
    role->permission_count--;
    memmove(permission, permission + 1, (role->permission_count - at) * sizeof *permission);
}

/* A key, an interval that is not empty, or everything from a key on. */
static bool is_range(struct slice key, struct slice range_end)
{
    if (key.len == 0)
        return false;
    return range_end.len == 0 || slice_eq(range_end, slice_of("", 1)) ||
           slice_cmp(key, range_end) < 0;
}

/* ---- changes: each is checked before anything is touched ---- */

static int enable(struct auth_store *store)
{
    const struct auth_user *root;

    if (store->enabled)
        return 0;
    root = auth_store_user(store, slice_str(AUTH_ROOT));
    if (root == NULL)
        return KV_EROOTUSERNOTEXIST;
    if (!auth_user_has_role(root, AUTH_ROOT))
        return KV_EROOTROLENOTEXIST;
    store->enabled = true;
    return 0;
}

static int disable(struct auth_store *store)
{
    if (!store->enabled)
        return 0;
    store->enabled = false;
    store->revision++;
    return 0;
}

static uint8_t base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c == '\0' ? NULL : strchr(digits, c);

    return at != NULL ? (uint8_t)(at - digits) : 64;
}

/* The password as bcrypt has it, from its base64. False: it is none. */
static bool decode_password(const char *text, char out[BCRYPT_SIZE_MAX])
{
    size_t len = strlen(text), n = 0;
    uint32_t bits = 0;
    unsigned have = 0;

    while (len > 0 && text[len - 1] == '=')
        len--;
    for (size_t i = 0; i < len; i++) {
        uint8_t value = base64_value(text[i]);

        if (value == 64 || n + 1 >= BCRYPT_SIZE_MAX)
            return false;
        bits = bits << 6 | value;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (char)(bits >> have & 0xff);
        }
    }
    out[n] = '\0';
    return n > 0 && strlen(out) == n;
}

static void set_password(struct auth_user *user, const char *password)
{
    free(user->password);
    user->password = xstrdup(password);
}

static int user_add(struct auth_store *store, const Etcdserverpb__AuthUserAddRequest *request)
{
    bool no_password = request->options != NULL && request->options->no_password;
    char password[BCRYPT_SIZE_MAX] = "";
    struct auth_user *user;

    if (request->name[0] == '\0')
        return KV_EUSEREMPTY;
    if (auth_store_user(store, slice_str(request->name)) != NULL)
        return KV_EUSEREXISTS;
    if (!no_password && !decode_password(request->hashedpassword, password))
        return KV_ENOPASSWORDUSER;
    user = auth__add_user(store, request->name);
    user->no_password = no_password;
    set_password(user, password);
    store->revision++;
    return 0;
}

static int user_delete(struct auth_store *store, const char *name)
{
    bool there;
    size_t at;

    if (store->enabled && strcmp(name, AUTH_ROOT) == 0)
        return KV_EAUTHMANAGEMENT;
    at = user_at(store, slice_str(name), &there);
    if (!there)
        return KV_EUSERNOTFOUND;
    free_user(store->users[at]);
    store->user_count--;
    memmove(store->users + at, store->users + at + 1,
            (store->user_count - at) * sizeof(struct auth_user *));
    store->revision++;
    return 0;
}

/* Somebody who has no password gets none. */
static int user_change_password(struct auth_store *store,
                                const Etcdserverpb__AuthUserChangePasswordRequest *request)
{
    struct auth_user *user = auth_store_user(store, slice_str(request->name));
    char password[BCRYPT_SIZE_MAX] = "";

    if (user == NULL)
        return KV_EUSERNOTFOUND;
    if (!user->no_password && !decode_password(request->hashedpassword, password))
        return KV_ENOPASSWORDUSER;
    set_password(user, password);
    store->revision++;
    return 0;
}

/* The role root needs no record. */
static int user_grant_role(struct auth_store *store, const char *name, const char *role)
{
    struct auth_user *user = auth_store_user(store, slice_str(name));

    if (user == NULL)
        return KV_EUSERNOTFOUND;
    if (strcmp(role, AUTH_ROOT) != 0 && find_role(store, role) == NULL)
        return KV_EROLENOTFOUND;
    if (auth__add_user_role(user, role))
        store->revision++;
    return 0;
}

static int user_revoke_role(struct auth_store *store, const char *name, const char *role)
{
    struct auth_user *user;

    if (store->enabled && strcmp(name, AUTH_ROOT) == 0 && strcmp(role, AUTH_ROOT) == 0)
        return KV_EAUTHMANAGEMENT;
    user = auth_store_user(store, slice_str(name));
    if (user == NULL)
        return KV_EUSERNOTFOUND;
    if (!remove_user_role(user, role))
        return KV_EROLENOTGRANTED;
    store->revision++;
    return 0;
}

static int role_add(struct auth_store *store, const char *name)
{
    if (name[0] == '\0')
        return KV_EROLEEMPTY;
    if (find_role(store, name) != NULL)
        return KV_EROLEEXISTS;
    (void)auth__add_role(store, name);
    store->revision++;
    return 0;
}

/* Whoever had it has it no more. */
static int role_delete(struct auth_store *store, const char *name)
{
    bool there;
    size_t at;

    if (store->enabled && strcmp(name, AUTH_ROOT) == 0)
        return KV_EAUTHMANAGEMENT;
    at = role_at(store, name, &there);
    if (!there)
        return KV_EROLENOTFOUND;
    for (size_t i = 0; i < store->user_count; i++)
        (void)remove_user_role(store->users[i], name);
    free_role(store->roles[at]);
    store->role_count--;
    memmove(store->roles + at, store->roles + at + 1,
            (store->role_count - at) * sizeof(struct auth_role *));
    store->revision++;
    return 0;
}

static struct slice slice_of_bytes(ProtobufCBinaryData bytes)
{
    return slice_of(bytes.data, bytes.len);
}

static int role_grant(struct auth_store *store,
                      const Etcdserverpb__AuthRoleGrantPermissionRequest *request)
{
    struct auth_permission permission, *old;
    struct auth_role *role;

    if (request->perm == NULL)
        return KV_EPERMISSIONNOTGIVEN;
    permission = (struct auth_permission){.type = (int)request->perm->permtype,
                                          .key = slice_of_bytes(request->perm->key),
                                          .range_end = slice_of_bytes(request->perm->range_end)};
    if (!is_range(permission.key, permission.range_end))
        return KV_EAUTHMANAGEMENT;
    role = find_role(store, request->name);
    if (role == NULL)
        return KV_EROLENOTFOUND;
    old = find_permission(role, permission.key, permission.range_end);
    if (old != NULL)
        old->type = permission.type;
    else
        auth__add_permission(role, &permission);
    store->revision++;
    return 0;
}

static int role_revoke(struct auth_store *store,
                       const Etcdserverpb__AuthRoleRevokePermissionRequest *request)
{
    struct auth_role *role = find_role(store, request->role);
    struct auth_permission *permission;

    if (role == NULL)
        return KV_EROLENOTFOUND;
    permission =
        find_permission(role, slice_of_bytes(request->key), slice_of_bytes(request->range_end));
    if (permission == NULL)
        return KV_EPERMISSIONNOTGRANTED;
    remove_permission(role, permission);
    store->revision++;
    return 0;
}

int auth_store_change(struct auth_store *store, const Kvdpb__AuthChange *change)
{
    switch (change->change_case) {
    case KVDPB__AUTH_CHANGE__CHANGE_ENABLE:
        return enable(store);
    case KVDPB__AUTH_CHANGE__CHANGE_DISABLE:
        return disable(store);
    case KVDPB__AUTH_CHANGE__CHANGE_USER_ADD:
        return user_add(store, change->user_add);
    case KVDPB__AUTH_CHANGE__CHANGE_USER_DELETE:
        return user_delete(store, change->user_delete->name);
    case KVDPB__AUTH_CHANGE__CHANGE_USER_CHANGE_PASSWORD:
        return user_change_password(store, change->user_change_password);
    case KVDPB__AUTH_CHANGE__CHANGE_USER_GRANT_ROLE:
        return user_grant_role(store, change->user_grant_role->user, change->user_grant_role->role);
    case KVDPB__AUTH_CHANGE__CHANGE_USER_REVOKE_ROLE:
        return user_revoke_role(store, change->user_revoke_role->name,
                                change->user_revoke_role->role);
    case KVDPB__AUTH_CHANGE__CHANGE_ROLE_ADD:
        return role_add(store, change->role_add->name);
    case KVDPB__AUTH_CHANGE__CHANGE_ROLE_DELETE:
        return role_delete(store, change->role_delete->role);
    case KVDPB__AUTH_CHANGE__CHANGE_ROLE_GRANT_PERMISSION:
        return role_grant(store, change->role_grant_permission);
    case KVDPB__AUTH_CHANGE__CHANGE_ROLE_REVOKE_PERMISSION:
        return role_revoke(store, change->role_revoke_permission);
    default:
        return KV_EPROTO;
    }
}
