/* A line on a terminal that says how far long work is: bar, rate, time left. Nothing at all is
 * written where nobody looks: to a file or a pipe. */
#ifndef KVD_CLIENT_CTL_PROGRESS_H
#define KVD_CLIENT_CTL_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct progress {
    FILE *out; /* NULL: not a terminal */
    const char *what;
    uint64_t started_ns, drawn_ns;
};

/* what: "saving", "checking"; static. */
void progress_begin(struct progress *progress, FILE *out, const char *what);
/* Draws at most ten times a second. total 0: not known. */
void progress_show(struct progress *progress, uint64_t done, uint64_t total);
/* Clears the line. */
void progress_end(struct progress *progress);

enum { PROGRESS_TEXT_MAX = 256 };
/* The text of the line. */
void progress_format(char out[PROGRESS_TEXT_MAX], const char *what, uint64_t done, uint64_t total,
                     uint64_t elapsed_ns);

#endif
