/* The arguments and flags of get, put and del as request messages. Shared by the commands and by
 * txn, whose lines are the same commands. */
#ifndef KVD_CLIENT_CTL_KVOP_H
#define KVD_CLIENT_CTL_KVOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"
#include "client/ctl/flags.h"
#include "proto/rpc.pb-c.h"

struct get_options {
    const char *consistency, *order, *sort_by;
    int64_t limit, rev;
    int64_t min_create_rev, max_create_rev, min_mod_rev, max_mod_rev;
    bool prefix, from_key, keys_only, count_only, print_value_only, stream;
};

struct put_options {
    const char *lease;
    bool prev_kv, ignore_value, ignore_lease;
};

struct del_options {
    bool prefix, from_key, prev_kv, range;
};

extern const struct flag get_flags[], put_flags[], del_flags[];

/* Each fills *out, whose bytes live in args and arena, and returns 0, or etcdctl's exit code with
 * its text in err. */
int kvop_get(const struct get_options *options, const struct slice *args, size_t args_len,
             struct arena *arena, Etcdserverpb__RangeRequest *out, struct err *err);
/* in: where a value comes from that is not among the arguments; NULL: it has to be. */
int kvop_put(const struct put_options *options, const struct slice *args, size_t args_len, FILE *in,
             struct arena *arena, Etcdserverpb__PutRequest *out, struct err *err);
int kvop_del(const struct del_options *options, const struct slice *args, size_t args_len,
             struct arena *arena, Etcdserverpb__DeleteRangeRequest *out, struct err *err);

/* "l" or "s". */
int kvop_consistency(const char *text, bool *serializable, struct err *err);

#endif
