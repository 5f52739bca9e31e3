/* What the files of the auth store share. */
#ifndef KVD_SERVER_AUTH_INTERNAL_H
#define KVD_SERVER_AUTH_INTERNAL_H

#include "server/auth_store.h"

struct auth_user *auth__add_user(struct auth_store *store, const char *name);
struct auth_role *auth__add_role(struct auth_store *store, const char *name);
/* Copies; behind those of the same key. */
void auth__add_permission(struct auth_role *role, const struct auth_permission *permission);
/* False: the user has it already. */
bool auth__add_user_role(struct auth_user *user, const char *role);

void auth__free_rights(struct auth_rights *rights);

#endif
