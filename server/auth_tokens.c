#include "server/auth_tokens.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "base/idmap.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/util.h"

enum {
    TOKENS_MAX = 1 << 20, /* the one unused for longest goes first */
};

struct token {
    struct list link;                   /* least recently used first */
    struct token *next;                 /* of the same id */
    uint8_t hash[AUTH_TOKEN_HASH_SIZE]; /* of the letters */
    uint64_t index;
    uint64_t used_ms;
    char user[];
};

struct auth_tokens {
    uint64_t ttl_ms;
    uint64_t (*now_ms)(void *ctx);
    void *ctx;
    struct idmap by_id; /* the first eight bytes of the hash: to a token, and its next */
    struct list all;
    bool open;
};

struct auth_tokens *auth_tokens_new(uint64_t ttl_ms, uint64_t (*now_ms)(void *ctx), void *ctx)
{
    struct auth_tokens *tokens = xcalloc(1, sizeof *tokens);

    tokens->ttl_ms = ttl_ms;
    tokens->now_ms = now_ms;
    tokens->ctx = ctx;
    idmap_init(&tokens->by_id);
    list_init(&tokens->all);
    return tokens;
}

void auth_tokens_free(struct auth_tokens *tokens)
{
    if (tokens == NULL)
        return;
    auth_tokens_forget_all(tokens);
    idmap_release(&tokens->by_id);
    free(tokens);
}

void auth_tokens_open(struct auth_tokens *tokens)
{
    tokens->open = true;
}

/* ---- letters ---- */

/* Each of 52 letters is equally likely: bytes beyond the last whole multiple are thrown away. */
void auth_tokens_make(char letters[AUTH_TOKEN_LETTERS + 1])
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t count = sizeof alphabet - 1, len = 0;
    uint8_t bytes[64];

    while (len < AUTH_TOKEN_LETTERS) {
        int rc = RAND_bytes(bytes, sizeof bytes);

        ASSERT(rc == 1); /* fails only if the system has no randomness: then nothing is safe */
        for (size_t i = 0; i < sizeof bytes && len < AUTH_TOKEN_LETTERS; i++)
            if (bytes[i] < 256 / count * count)
                letters[len++] = alphabet[bytes[i] % count];
    }
    letters[len] = '\0';
    OPENSSL_cleanse(bytes, sizeof bytes);
}

static void hash_of(struct slice letters, uint8_t hash[AUTH_TOKEN_HASH_SIZE])
{
    (void)SHA256(letters.data, letters.len, hash); /* returns hash */
}

void auth_tokens_hash(const char *letters, uint8_t hash[AUTH_TOKEN_HASH_SIZE])
{
    hash_of(slice_str(letters), hash);
}

/* ---- the table ---- */

static void forget(struct auth_tokens *tokens, struct token *token)
{
    uint64_t id = get_le64(token->hash);
    struct token *first = idmap_get(&tokens->by_id, id);
    struct token **at = &first;

    while (*at != token)
        at = &(*at)->next;
    *at = token->next;
    if (first != NULL)
        (void)idmap_put(&tokens->by_id, id, first); /* returns the old one, which we have */
    else
        (void)idmap_remove(&tokens->by_id, id);
    list_remove(&token->link);
    free(token);
}

static bool is_over(const struct auth_tokens *tokens, const struct token *token, uint64_t now_ms)
{
    return now_ms - token->used_ms >= tokens->ttl_ms;
}

/* The list is in the order of the times of use, so the front ends first. */
static void expire(struct auth_tokens *tokens, uint64_t now_ms)
{
    while (!list_empty(&tokens->all)) {
        struct token *oldest = LIST_FIRST(&tokens->all, struct token, link);

        if (!is_over(tokens, oldest, now_ms) && tokens->by_id.count < TOKENS_MAX)
            return;
        forget(tokens, oldest);
    }
}

void auth_tokens_assign(struct auth_tokens *tokens, const uint8_t hash[AUTH_TOKEN_HASH_SIZE],
                        uint64_t index, const char *user)
{
    uint64_t now_ms = tokens->now_ms(tokens->ctx), id = get_le64(hash);
    struct token *token;

    expire(tokens, now_ms);
    if (!tokens->open)
        return;
    token = xcalloc(1, sizeof *token + strlen(user) + 1);
    memcpy(token->hash, hash, AUTH_TOKEN_HASH_SIZE);
    token->index = index;
    token->used_ms = now_ms;
    memcpy(token->user, user, strlen(user) + 1);
    token->next = idmap_put(&tokens->by_id, id, token);
    list_push_back(&tokens->all, &token->link);
}

/* Letters, a dot and digits; anything else is no token. */
static bool parse(struct slice text, struct slice *letters, uint64_t *index)
{
    const uint8_t *dot = text.len > 0 ? memchr(text.data, '.', text.len) : NULL;
    size_t at;

    if (dot == NULL)
        return false;
    at = (size_t)(dot - text.data);
    *letters = slice_of(text.data, at);
    *index = 0;
    if (at != AUTH_TOKEN_LETTERS || at + 1 == text.len || text.len - at - 1 > 19)
        return false;
    for (size_t i = at + 1; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        *index = *index * 10 + (uint64_t)(text.data[i] - '0');
    }
    return true;
}

bool auth_token_index(struct slice token, uint64_t *index)
{
    struct slice letters;

    return parse(token, &letters, index);
}

/* What is compared is a hash: nothing about a token can be learnt from how long it takes. */
bool auth_tokens_find(struct auth_tokens *tokens, struct slice text, struct slice *user)
{
    uint64_t now_ms = tokens->now_ms(tokens->ctx), index;
    uint8_t hash[AUTH_TOKEN_HASH_SIZE];
    struct slice letters;
    struct token *token;

    if (!parse(text, &letters, &index))
        return false;
    hash_of(letters, hash);
    token = idmap_get(&tokens->by_id, get_le64(hash));
    while (token != NULL &&
           (CRYPTO_memcmp(token->hash, hash, sizeof hash) != 0 || token->index != index))
        token = token->next;
    if (token == NULL || is_over(tokens, token, now_ms))
        return false;
    token->used_ms = now_ms;
    list_remove(&token->link);
    list_push_back(&tokens->all, &token->link);
    *user = slice_str(token->user);
    return true;
}

void auth_tokens_forget_user(struct auth_tokens *tokens, const char *user)
{
    LIST_EACH_SAFE (node, &tokens->all) {
        struct token *token = LIST_ENTRY(node, struct token, link);

        if (strcmp(token->user, user) == 0)
            forget(tokens, token);
    }
}

void auth_tokens_forget_all(struct auth_tokens *tokens)
{
    while (!list_empty(&tokens->all))
        forget(tokens, LIST_FIRST(&tokens->all, struct token, link));
}

size_t auth_tokens_count(const struct auth_tokens *tokens)
{
    size_t count = 0;

    LIST_EACH (node, &tokens->all)
        count++;
    return count;
}
