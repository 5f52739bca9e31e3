/* The lab: a cluster of real kvd processes on loopback whose network and disks can be broken on
 * purpose, with clients, a checker of what they were told, and somebody who watches.
 *
 * Owns one event loop, the processes, a folder for their data, and the HTTP port of its page.
 * Whatever ends it, the processes end too. */
#ifndef KVD_LAB_LAB_H
#define KVD_LAB_LAB_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "lab/command.h"

struct lab_options {
    FILE *in, *out; /* commands (unless there is a script), and what happens */
    char **env;
    const char *kvd;  /* NULL: beside this program, else in PATH */
    const char *dir;  /* NULL: a new folder in TMPDIR, which is removed in the end */
    const char *html; /* NULL: no report is written */
    bool keep;        /* data and logs stay */
    bool stay;        /* a script: go on with the page when it has ended */
    bool no_page;     /* and no port */
    uint16_t port;    /* of the page; 0: any */
    uint64_t seed;    /* of the clients' keys; 0: drawn */
    uint64_t pace_ms; /* of each client; 0: 20 */
    /* NULL: members is how many to start, and commands come from in. */
    const struct lab_script *script;
    unsigned members;
};

/* Runs until it is told to end. Returns 0, 1 if an expectation failed or something acknowledged was
 * lost, or a negative code if the lab itself could not go on: err says why. */
int lab_run(const struct lab_options *options, struct err *err);

/* ---- lessons: scripts that come with the program ---- */

struct lab_lesson {
    const char *name;
    struct slice text;
};
/* The nth, or NULL. */
const struct lab_lesson *lab_lesson_at(size_t n);
const struct lab_lesson *lab_lesson_named(const char *name);

#endif
