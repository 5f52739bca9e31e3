/* A static token file: who each bearer token stands for. */
#ifndef KVD_KUBE_AUTH_TOKEN_FILE_H
#define KVD_KUBE_AUTH_TOKEN_FILE_H

#include "base/err.h"
#include "base/slice.h"

struct token_file;

struct token_user {
    struct slice name, uid;
    struct slice *groups;
    size_t group_count;
};

enum { TOKEN_FILE_MAX = 4 << 20, TOKENS_MAX = 16384 };

/* CSV as kube-apiserver's: token,user,uid and optionally "group1,group2"; lines that begin with #
 * and empty ones are nothing. err names file and line. */
int token_file_read(const char *path, struct token_file **out, struct err *err);
int token_file_parse(struct slice text, const char *name, struct token_file **out, struct err *err);
void token_file_free(struct token_file *file);
/* NULL: no such token. Takes the same time wherever a token that is not there differs. */
const struct token_user *token_file_find(const struct token_file *file, struct slice token);

#endif
