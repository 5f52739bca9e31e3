/* Simple tokens: whom a member's clients have shown to be (etcd-api.md section 10).
 *
 * A token is 16 random letters, a dot and the index of the log entry that assigned it. Members keep
 * and write down only the SHA-256 of the letters, so a token can be read nowhere but at its
 * owner's. Held in memory by every member for a while after it was last used there; none survives a
 * restart, and which there are decides nothing that is replicated. Loop thread only. */
#ifndef KVD_SERVER_AUTH_TOKENS_H
#define KVD_SERVER_AUTH_TOKENS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum { AUTH_TOKEN_LETTERS = 16, AUTH_TOKEN_HASH_SIZE = 32 };

struct auth_tokens;

/* now_ms tells the time: monotonic. */
struct auth_tokens *auth_tokens_new(uint64_t ttl_ms, uint64_t (*now_ms)(void *ctx), void *ctx);
/* Accepts NULL. */
void auth_tokens_free(struct auth_tokens *tokens);

/* What is assigned from here on counts. Before, while a member replays its log after a start, it
 * does not: those tokens' time may long be over. */
void auth_tokens_open(struct auth_tokens *tokens);

/* Fresh letters, from the system's randomness; and what is to be written down of them. */
void auth_tokens_make(char letters[AUTH_TOKEN_LETTERS + 1]);
void auth_tokens_hash(const char *letters, uint8_t hash[AUTH_TOKEN_HASH_SIZE]);

void auth_tokens_assign(struct auth_tokens *tokens, const uint8_t hash[AUTH_TOKEN_HASH_SIZE],
                        uint64_t index, const char *user);
/* The log entry that assigned it, if it looks like a token at all. */
bool auth_token_index(struct slice token, uint64_t *index);
/* The user whose token it is, which lives on for the whole time again; false: it is nobody's, or
 * its time is over. The name is valid until tokens are forgotten. */
bool auth_tokens_find(struct auth_tokens *tokens, struct slice token, struct slice *user);
void auth_tokens_forget_user(struct auth_tokens *tokens, const char *user);
void auth_tokens_forget_all(struct auth_tokens *tokens);
size_t auth_tokens_count(const struct auth_tokens *tokens);

#endif
