#include "kube/auth/token_file.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"

/* Tokens are kept and looked for by their hash: what a comparison's time tells is of the hash. */
struct token {
    uint8_t hash[SHA256_DIGEST_LENGTH];
    struct token_user user;
};

struct token_file {
    struct arena arena;
    struct token *tokens; /* sorted by hash */
    size_t count, cap;
};

enum { COLUMNS_MAX = 4 };

/* One line's columns, quotes taken off. Returns how many; 0: badly quoted or too many. */
static size_t split(struct arena *arena, struct slice line, struct slice out[COLUMNS_MAX])
{
    size_t count = 0, i = 0;

    for (;;) {
        uint8_t *text = arena_alloc(arena, line.len + 1);
        size_t len = 0;
        bool quoted = i < line.len && line.data[i] == '"';

        if (count == COLUMNS_MAX)
            return 0;
        for (i += quoted; i < line.len; i++) {
            if (quoted && line.data[i] == '"') {
                if (i + 1 >= line.len || line.data[i + 1] != '"')
                    break;
                i++; /* "" within quotes is one quote */
            } else if (!quoted && line.data[i] == ',') {
                break;
            }
            text[len++] = line.data[i];
        }
        if (quoted && (i >= line.len || (i + 1 < line.len && line.data[i + 1] != ',')))
            return 0;
        i += quoted;
        out[count++] = slice_of(text, len);
        if (i >= line.len)
            return count;
        i++;
    }
}

static void split_groups(struct arena *arena, struct slice text, struct token_user *user)
{
    size_t start = 0;

    user->groups = arena_alloc(arena, (text.len + 1) * sizeof *user->groups);
    for (size_t i = 0; i <= text.len; i++) {
        if (i < text.len && text.data[i] != ',')
            continue;
        if (i > start)
            user->groups[user->group_count++] = slice_of(text.data + start, i - start);
        start = i + 1;
    }
}

static void add(struct token_file *file, const struct slice *columns, size_t count)
{
    struct token *token;

    if (file->count == file->cap) {
        file->cap = file->cap == 0 ? 16 : file->cap * 2;
        file->tokens = xrealloc(file->tokens, file->cap * sizeof *file->tokens);
    }
    token = &file->tokens[file->count++];
    memset(token, 0, sizeof *token);
    (void)SHA256(columns[0].data, columns[0].len, token->hash);
    token->user.name = columns[1];
    token->user.uid = columns[2];
    if (count > 3)
        split_groups(&file->arena, columns[3], &token->user);
}

static int compare(const void *a, const void *b)
{
    return memcmp(((const struct token *)a)->hash, ((const struct token *)b)->hash,
                  SHA256_DIGEST_LENGTH);
}

static int parse_line(struct token_file *file, struct slice line, const char *name, unsigned number,
                      struct err *err)
{
    struct slice columns[COLUMNS_MAX];
    size_t count;

    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    if (line.len == 0 || line.data[0] == '#')
        return 0;
    count = split(&file->arena, line, columns);
    if (count < 3)
        return err_set(err, KV_EINVAL,
                       "token file %s, line %u: must have the columns token,user,uid and may have "
                       "\"group1,group2\"",
                       name, number);
    if (columns[0].len == 0)
        return err_set(err, KV_EINVAL, "token file %s, line %u: the token is empty", name, number);
    if (file->count == TOKENS_MAX)
        return err_set(err, KV_ETOOBIG, "token file %s has more than %d tokens", name, TOKENS_MAX);
    add(file, columns, count);
    return 0;
}

int token_file_parse(struct slice text, const char *name, struct token_file **out, struct err *err)
{
    struct token_file *file = xcalloc(1, sizeof *file);
    unsigned number = 0;
    int rc = 0;

    arena_init(&file->arena);
    while (text.len > 0 && rc == 0) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.data);

        rc = parse_line(file, slice_of(text.data, len), name, ++number, err);
        len += end != NULL;
        text = slice_of(text.data + len, text.len - len);
    }
    if (rc != 0) {
        token_file_free(file);
        return rc;
    }
    if (file->count > 0)
        qsort(file->tokens, file->count, sizeof *file->tokens, compare);
    *out = file;
    return 0;
}

int token_file_read(const char *path, struct token_file **out, struct err *err)
{
    FILE *stream = fopen(path, "re");
    char *text;
    size_t len;
    int rc;

    if (stream == NULL)
        return errno == ENOENT ? err_set(err, KV_ENOTFOUND, "token file %s: no such file", path)
                               : err_set_errno(err, errno, "opening the token file %s", path);
    text = xmalloc(TOKEN_FILE_MAX + 1);
    len = fread(text, 1, TOKEN_FILE_MAX + 1, stream);
    if (ferror(stream) != 0)
        rc = err_set_errno(err, errno, "reading the token file %s", path);
    else if (len > TOKEN_FILE_MAX)
        rc = err_set(err, KV_ETOOBIG, "token file %s is larger than 4 MiB", path);
    else
        rc = token_file_parse(slice_of(text, len), path, out, err);
    OPENSSL_cleanse(text, len);
    free(text);
    (void)fclose(stream); /* was only read */
    return rc;
}

void token_file_free(struct token_file *file)
{
    if (file == NULL)
        return;
    free(file->tokens);
    arena_release(&file->arena);
    free(file);
}

const struct token_user *token_file_find(const struct token_file *file, struct slice token)
{
    struct token wanted;
    const struct token *found;

    if (file->count == 0)
        return NULL;
    (void)SHA256(token.data, token.len, wanted.hash);
    found = bsearch(&wanted, file->tokens, file->count, sizeof *file->tokens, compare);
    return found == NULL ? NULL : &found->user;
}
