#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/tool.h"

void worker_start(struct worker *w, const struct sim_options *options, uint64_t seed)
{
    int fds[2];

    if (pipe(fds) != 0) {
        perror("kvsim: pipe");
        exit(2);
    }
    (void)fflush(stdout); /* or the child would print it again */
    w->seed = seed;
    w->fd = fds[0];
    w->pid = fork();
    if (w->pid < 0) {
        perror("kvsim: fork");
        exit(2);
    }
    if (w->pid == 0) {
        struct sim_options mine = *options;
        struct sim_result result;
        ssize_t n;

        mine.seed = seed;
        sim_run(&mine, &result);
        n = write(fds[1], &result, sizeof result);
        _exit(n == (ssize_t)sizeof result ? 0 : 3);
    }
    (void)close(fds[1]); /* the child's end */
}

bool worker_finish(struct worker *w, struct sim_result *out)
{
    int status = 0;
    bool ok = read(w->fd, out, sizeof *out) == (ssize_t)sizeof *out;

    (void)close(w->fd);                /* read only */
    (void)waitpid(w->pid, &status, 0); /* our own child */
    w->pid = 0;
    if (!ok) {
        *out = (struct sim_result){.trace = 0};
        (void)snprintf(out->violation, sizeof out->violation, "%s",
                       WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "ended early");
    }
    return ok;
}
