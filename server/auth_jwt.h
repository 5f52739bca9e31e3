/* JSON Web Tokens (RFC 7519, signed as RFC 7515) as etcd makes and takes them: --auth-token
 * jwt,sign-method=...,pub-key=...,priv-key=...,ttl=... A token says who it is for, at which auth
 * revision it was made and when it ends; nothing is kept about it, so it outlives a restart, and
 * any change of users or roles makes it stale. */
#ifndef KVD_SERVER_AUTH_JWT_H
#define KVD_SERVER_AUTH_JWT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct auth_jwt;

/* spec is what follows "jwt,". Methods RS, PS and ES with 256, 384 or 512, EdDSA, HS with the same.
 * RS, PS, ES, EdDSA: PEM files; without the private key tokens are only checked, without the public
 * one it is taken from the private. HS: the private key is the file's bytes. ttl is 5m unless
 * given. KV_EINVAL, KV_ENOTFOUND, KV_EIO: err says what is wrong with which option. */
int auth_jwt_new(const char *spec, struct auth_jwt **out, struct err *err);
/* Accepts NULL. */
void auth_jwt_free(struct auth_jwt *jwt);

/* Any thread; blocks for a millisecond or more. NULL: there is no private key. The caller's to
 * free. now_s: Unix time. */
char *auth_jwt_sign(const struct auth_jwt *jwt, const char *user, uint64_t revision, int64_t now_s);

/* False: not signed by us with this method, or its time is over. *user is valid until the next
 * call. What was found good is remembered for a while: checking a signature costs more than a read.
 * Loop thread only. */
bool auth_jwt_verify(struct auth_jwt *jwt, struct slice token, int64_t now_s, struct slice *user,
                     uint64_t *revision);

#endif
