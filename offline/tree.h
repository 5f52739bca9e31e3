/* Folders that are made and can be unmade. Blocks. */
#ifndef KVD_OFFLINE_TREE_H
#define KVD_OFFLINE_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct tree {
    char *path; /* NULL: none */
    char *made; /* the topmost folder of the path that was not there before; NULL: all were */
};

/* Nothing there, or an empty folder. False also if it cannot be read. */
bool tree_is_empty(const char *path);
/* Makes the folder, mode 0700, and its missing parents, durably; one that is there is used. On
 * failure nothing is left that was not there. */
int tree_make(const char *path, struct tree *out, struct err *err);
/* Removes all that is in the folder, and what was made. Does what it can. */
void tree_undo(const struct tree *tree);
void tree_release(struct tree *tree);

#endif
