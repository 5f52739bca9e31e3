/* What kvsim is beside the simulation: runs in processes of their own, words of its command line,
 * and the shrinker. One thread. */
#ifndef KVD_TESTS_SIM_TOOL_H
#define KVD_TESTS_SIM_TOOL_H

#include <sys/types.h>

#include "tests/sim/sim.h"

/* worker.c: one run in a process of its own, so that a crash is one failed seed. */
struct worker {
    pid_t pid; /* 0: free */
    int fd;
    uint64_t seed;
};
/* Ends the program if the machine has no process left to give. */
void worker_start(struct worker *w, const struct sim_options *options, uint64_t seed);
/* Waits for its end. A process that died has a violation that says how, and false is returned:
 * the figures of the result are not there. */
bool worker_finish(struct worker *w, struct sim_result *out);

/* words.c: options as words. The parsers return false for what they do not understand. */
const char *words_bug(enum sim_bug bug);
bool words_parse_bug(const char *name, enum sim_bug *out);
/* Names with commas between them; adds to *out. */
bool words_parse_without(const char *names, unsigned *out);
/* Numbers of the only faults that take place, or "none". */
bool words_parse_only(const char *numbers, struct sim_options *out);
/* One line: the command that does this run (how: the option that takes the seed). */
void words_print_command(const char *label, const char *how, const struct sim_options *options);

/* shrink.c: leaves out of a failing run what it can do without and still break the same promise,
 * and prints the command of what stays. 0; 1: the run held all promises. */
int shrink(const struct sim_options *options);

#endif
