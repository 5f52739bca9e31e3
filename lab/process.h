/* Processes of the lab: they die with it, whatever ends it, and their output goes to a file. */
#ifndef KVD_LAB_PROCESS_H
#define KVD_LAB_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct lab_process {
    pid_t pid;       /* 0: does not run */
    bool stopped;    /* SIGSTOP was sent, SIGCONT not yet */
    int wait_status; /* of the last one that ended, as waitpid() tells it */
};

/* Starts argv (argv[0] is a path) with exactly this environment; input is empty, output and errors
 * are appended to the file at log_path. On Linux the child gets SIGKILL when the lab's thread ends.
 * KV_EIO. */
int lab_process_start(struct lab_process *process, char *const *argv, char *const *env,
                      const char *log_path, struct err *err);
/* After a SIGCHLD: true once, when it has ended; pid is 0 then. Never blocks. */
bool lab_process_reap(struct lab_process *process);
/* Harmless if it does not run. SIGSTOP and SIGCONT are remembered in stopped. */
void lab_process_signal(struct lab_process *process, int number);
/* SIGKILL, and waits for the end, which the kernel does not refuse. */
void lab_process_kill(struct lab_process *process);

/* Why the last one ended: "exit code 1", "SIGKILL". Returns out. */
const char *lab_process_outcome(const struct lab_process *process, char *out, size_t size);
/* The last line of a file, at most the last size - 1 bytes of it, without control characters. */
void lab_process_log_tail(const char *log_path, char *out, size_t size);
/* Whether the file has the text somewhere. */
bool lab_process_log_has(const char *log_path, const char *text);

#endif
