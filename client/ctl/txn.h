/* The text of a transaction: three blocks of lines, each ended by an empty line: compares, requests
 * on success, requests on failure. */
#ifndef KVD_CLIENT_CTL_TXN_H
#define KVD_CLIENT_CTL_TXN_H

#include <stdio.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"
#include "proto/rpc.pb-c.h"

/* Splits a line into words as etcdctl does: "double quoted" with Go's escapes, 'single quoted' as
 * it is, or a run without blanks. Words end with a NUL that is not counted; words with bytes 0
 * inside are possible. Returns an exit code. */
int txn_words(struct slice line, struct arena *arena, struct slice **out, size_t *out_len,
              struct err *err);

/* mod("key") > "5" */
int txn_parse_compare(struct slice line, struct arena *arena, Etcdserverpb__Compare **out,
                      struct err *err);
/* put key value */
int txn_parse_request(struct slice line, struct arena *arena, Etcdserverpb__RequestOp **out,
                      struct err *err);

/* Reads all three blocks; before each, its name goes to prompt (NULL: silent). *out and all it
 * points to live in the arena. 0 or an exit code with its text in err. */
int txn_read(FILE *in, FILE *prompt, struct arena *arena, Etcdserverpb__TxnRequest *out,
             struct err *err);

#endif
