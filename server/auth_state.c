/* The auth store to and from a checkpoint, and as one number. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/util.h"
#include "server/auth_internal.h"

enum { ITEMS_PER_PART = 4096 }; /* users, roles and what they hold: a part has to stay decodable */

/* ---- saving ---- */

struct saving {
    auth_emit emit;
    void *ctx;
    Kvdpb__StateAuth part;
    size_t items;
    struct arena arena;
};

static int flush(struct saving *saving)
{
    int rc = saving->emit(saving->ctx, &saving->part);

    saving->part.n_users = 0;
    saving->part.n_roles = 0;
    saving->items = 0;
    arena_reset(&saving->arena);
    return rc;
}

static ProtobufCBinaryData bytes_of(struct slice bytes)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)bytes.data, .len = bytes.len};
}

/* At most `count` of the user's roles from `first` on. */
static Authpb__User *user_message(struct arena *arena, const struct auth_user *user, size_t first,
                                  size_t count)
{
    Authpb__User *out = arena_alloc(arena, sizeof *out);
    Authpb__UserAddOptions *options = arena_alloc(arena, sizeof *options);

    authpb__user__init(out);
    authpb__user_add_options__init(options);
    options->no_password = user->no_password;
    out->name = bytes_of(slice_str(user->name));
    out->password = bytes_of(slice_str(user->password));
    out->options = options;
    out->roles = user->roles + first;
    out->n_roles = count;
    return out;
}

static Authpb__Role *role_message(struct arena *arena, const struct auth_role *role, size_t first,
                                  size_t count)
{
    Authpb__Role *out = arena_alloc(arena, sizeof *out);

    authpb__role__init(out);
    out->name = bytes_of(slice_str(role->name));
    out->keypermission = arena_alloc(arena, (count + 1) * sizeof *out->keypermission);
    for (size_t i = 0; i < count; i++) {
        const struct auth_permission *from = &role->permissions[first + i];
        Authpb__Permission *to = arena_alloc(arena, sizeof *to);

        authpb__permission__init(to);
        to->permtype = (Authpb__Permission__Type)from->type;
        to->key = bytes_of(from->key);
        to->range_end = bytes_of(from->range_end);
        out->keypermission[i] = to;
    }
    out->n_keypermission = count;
    return out;
}

struct slice auth_user_pack(const struct auth_user *user, struct arena *arena)
{
    const Authpb__User *message = user_message(arena, user, 0, user->role_count);
    uint8_t *bytes = arena_alloc(arena, authpb__user__get_packed_size(message));

    return slice_of(bytes, authpb__user__pack(message, bytes));
}

struct slice auth_role_pack(const struct auth_role *role, struct arena *arena)
{
    const Authpb__Role *message = role_message(arena, role, 0, role->permission_count);
    uint8_t *bytes = arena_alloc(arena, authpb__role__get_packed_size(message));

    return slice_of(bytes, authpb__role__pack(message, bytes));
}

static void put_user(struct saving *saving, const struct auth_user *user, size_t first,
                     size_t count)
{
    saving->part.users[saving->part.n_users++] = user_message(&saving->arena, user, first, count);
    saving->items += 1 + count;
}

static void put_role(struct saving *saving, const struct auth_role *role, size_t first,
                     size_t count)
{
    saving->part.roles[saving->part.n_roles++] = role_message(&saving->arena, role, first, count);
    saving->items += 1 + count;
}

static int save_user(struct saving *saving, const struct auth_user *user)
{
    size_t first = 0;
    int rc = 0;

    do {
        size_t count = MIN(user->role_count - first, (size_t)ITEMS_PER_PART - 1);

        if (saving->items + 1 + count > ITEMS_PER_PART)
            rc = flush(saving);
        put_user(saving, user, first, count);
        first += count;
    } while (rc == 0 && first < user->role_count);
    return rc;
}

static int save_role(struct saving *saving, const struct auth_role *role)
{
    size_t first = 0;
    int rc = 0;

    do {
        size_t count = MIN(role->permission_count - first, (size_t)ITEMS_PER_PART - 1);

        if (saving->items + 1 + count > ITEMS_PER_PART)
            rc = flush(saving);
        put_role(saving, role, first, count);
        first += count;
    } while (rc == 0 && first < role->permission_count);
    return rc;
}

int auth_store_save(const struct auth_store *store, auth_emit emit, void *ctx)
{
    struct saving saving = {.emit = emit, .ctx = ctx, .part = KVDPB__STATE_AUTH__INIT};
    int rc = 0;

    arena_init(&saving.arena);
    saving.part.enabled = store->enabled;
    saving.part.revision = store->revision;
    saving.part.users = xcalloc(ITEMS_PER_PART + 1, sizeof *saving.part.users);
    saving.part.roles = xcalloc(ITEMS_PER_PART + 1, sizeof *saving.part.roles);
    for (size_t i = 0; i < store->user_count && rc == 0; i++)
        rc = save_user(&saving, store->users[i]);
    for (size_t i = 0; i < store->role_count && rc == 0; i++)
        rc = save_role(&saving, store->roles[i]);
    if (rc == 0)
        rc = flush(&saving);
    free(saving.part.users);
    free(saving.part.roles);
    arena_release(&saving.arena);
    return rc;
}

/* ---- loading ---- */

static char *text_of(ProtobufCBinaryData bytes)
{
    char *text = xmalloc(bytes.len + 1);

    if (bytes.len > 0)
        memcpy(text, bytes.data, bytes.len);
    text[bytes.len] = '\0';
    return text;
}

static bool load_user(struct auth_store *store, const Authpb__User *from)
{
    char *name = text_of(from->name);
    struct auth_user *user = auth_store_user(store, slice_str(name));
    bool ok = name[0] != '\0';

    if (user == NULL && ok) {
        user = auth__add_user(store, name);
        free(user->password);
        user->password = text_of(from->password);
        user->no_password = from->options != NULL && from->options->no_password;
    }
    for (size_t i = 0; i < from->n_roles && ok; i++)
        ok = auth__add_user_role(user, from->roles[i]);
    free(name);
    return ok;
}

static bool load_role(struct auth_store *store, const Authpb__Role *from)
{
    char *name = text_of(from->name);
    bool ok = name[0] != '\0';
    struct auth_role *role =
        ok ? (struct auth_role *)(uintptr_t)auth_store_role(store, name) : NULL;

    if (role == NULL && ok)
        role = auth__add_role(store, name);
    for (size_t i = 0; i < from->n_keypermission && ok; i++) {
        const Authpb__Permission *each = from->keypermission[i];
        struct auth_permission permission = {
            .type = (int)each->permtype,
            .key = slice_of(each->key.data, each->key.len),
            .range_end = slice_of(each->range_end.data, each->range_end.len)};

        auth__add_permission(role, &permission);
    }
    free(name);
    return ok;
}

bool auth_store_load(struct auth_store *store, const Kvdpb__StateAuth *part)
{
    bool ok = part->revision > 0;

    store->enabled = part->enabled;
    store->revision = part->revision;
    for (size_t i = 0; i < part->n_users && ok; i++)
        ok = load_user(store, part->users[i]);
    for (size_t i = 0; i < part->n_roles && ok; i++)
        ok = load_role(store, part->roles[i]);
    return ok;
}

bool auth_user_unpack(struct auth_store *store, struct slice bytes)
{
    Authpb__User *user = authpb__user__unpack(NULL, bytes.len, bytes.data);
    bool ok = user != NULL && load_user(store, user);

    authpb__user__free_unpacked(user, NULL);
    return ok;
}

bool auth_role_unpack(struct auth_store *store, struct slice bytes)
{
    Authpb__Role *role = authpb__role__unpack(NULL, bytes.len, bytes.data);
    bool ok = role != NULL && load_role(store, role);

    authpb__role__free_unpacked(role, NULL);
    return ok;
}

/* ---- digest ---- */

static uint32_t add(uint32_t hash, struct slice bytes)
{
    uint64_t len = bytes.len;

    hash = crc32c_extend(hash, &len, sizeof len);
    return crc32c_extend(hash, bytes.data, bytes.len);
}

uint64_t auth_store_digest(const struct auth_store *store)
{
    uint64_t head[3] = {store->enabled, store->user_count, store->role_count};
    uint32_t hash = crc32c_extend(0, head, sizeof head);

    for (size_t i = 0; i < store->user_count; i++) {
        const struct auth_user *user = store->users[i];

        hash = add(add(hash, slice_str(user->name)), slice_str(user->password));
        hash = add(hash, slice_of(&user->no_password, 1));
        for (size_t j = 0; j < user->role_count; j++)
            hash = add(hash, slice_str(user->roles[j]));
    }
    for (size_t i = 0; i < store->role_count; i++) {
        const struct auth_role *role = store->roles[i];

        hash = add(hash, slice_str(role->name));
        for (size_t j = 0; j < role->permission_count; j++) {
            hash = add(hash, slice_of(&role->permissions[j].type, sizeof(int)));
            hash = add(add(hash, role->permissions[j].key), role->permissions[j].range_end);
        }
    }
    return store->revision << 32 ^ hash;
}
