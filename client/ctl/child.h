/* Running the commands that watch and lock are given. */
#ifndef KVD_CLIENT_CTL_CHILD_H
#define KVD_CLIENT_CTL_CHILD_H

#include <uv.h>

#include "client/ctl/ctl.h"

struct child {
    uv_process_t process; /* an open handle until cb was called */
    void (*cb)(struct child *child);
    int64_t status; /* exit code, unless signal */
    int signal;     /* that ended it, or 0 */
    struct err err; /* why it could not be started, as Go says it; code 0: it was */
};

/* Starts argv (NULL-terminated; looked for in $PATH) with our environment and extra ("NAME=value",
 * NULL-terminated), which counts before it. It shares our output and has no input. cb fires once,
 * from the loop, when the command has ended or could not be started; child may go then. */
void child_start(struct ctl *ctl, uv_loop_t *loop, struct child *child, char **argv,
                 const char *const *extra, void (*cb)(struct child *child));

/* "exit status 3", "signal: killed", or why it did not start; "" for success. */
const char *child_outcome(struct ctl *ctl, const struct child *child);
/* What etcdctl exits with after it: 255 for a signal, 1 if it did not start. */
int child_exit_code(const struct child *child);

/* Go's %q of argv: ["sh" "-c" "exit 1"]. */
void child_print_argv(FILE *out, char *const *argv);

#endif
