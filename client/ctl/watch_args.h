/* What a watch command names: from the command line, from a line of interactive mode, from the
 * environment. */
#ifndef KVD_CLIENT_CTL_WATCH_ARGS_H
#define KVD_CLIENT_CTL_WATCH_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "client/ctl/flags.h"
#include "client/kv.h"

struct watch_options {
    bool interactive, prefix, prev_kv, progress_notify;
    int64_t rev;
};

extern const struct flag watch_flags[];

/* Where arguments come from when the command line has none; NULL: not set. */
struct watch_env {
    const char *key, *range_end;
};

struct watch_spec {
    struct kv_watch_options watch;
    char **command; /* NULL-terminated; NULL: none */
};

/* args_at_dash: how many of args stood before "--"; -1: there was none. The spec lives in args and
 * arena. 0, or an exit code with etcdctl's text in err. */
int watch_parse_args(const struct watch_options *options, char **args, int args_len,
                     int args_at_dash, const struct watch_env *env, struct arena *arena,
                     struct watch_spec *out, struct err *err);

enum watch_verb { WATCH_VERB_WATCH, WATCH_VERB_PROGRESS };

/* A line of interactive mode, without its newline. On failure err says what is wrong behind
 * "Invalid command: <line> ". */
int watch_parse_line(struct slice line, const struct watch_env *env, struct arena *arena,
                     enum watch_verb *verb, struct watch_spec *out, struct err *err);

#endif
