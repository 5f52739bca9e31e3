/* What inspect.c (the whole), inspect_log.c, inspect_files.c and inspect_load.c share. */
#ifndef KVD_OFFLINE_INSPECT_INTERNAL_H
#define KVD_OFFLINE_INSPECT_INTERNAL_H

#include "offline/inspect.h"

/* Takes the texts, which were made for it; advice may be NULL. */
void inspect__add(struct inspection *in, enum inspect_kind kind, char *what, char *advice);
int inspect__progress(const struct inspect_options *options, const char *what, uint64_t done,
                      uint64_t total, struct err *err);

/* inspect_files.c: modes, and files that are nobody's. */
void inspect__files(struct inspection *in);
/* inspect_log.c: opens the log and finds all its damage. */
void inspect__log(struct inspection *in);
/* inspect_load.c: all checkpoints are read, loaded and dropped again. */
int inspect__checkpoints(struct inspection *in, const struct inspect_options *options,
                         struct err *err);
/* Which of them the log goes on from, and how far. */
void inspect__fit(struct inspection *in);

#endif
