/* What a person may tell the lab: one line, typed, in a script, or behind a button of the page.
 *
 * Text only: nothing here knows a member, a process or a clock. Who "leader" is, is found out when
 * the command is carried out. */
#ifndef KVD_LAB_COMMAND_H
#define KVD_LAB_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/slice.h"

enum {
    LAB_MEMBERS_MAX = 9,
    LAB_GROUPS_MAX = 4,
    LAB_TEXT_MAX = 240,
    LAB_FLAGS_MAX = 8,
    LAB_VALUE_SIZE_MAX = 65536,
    LAB_FORGET_DEFAULT = 20,
    LAB_FORGET_MAX = 1000,
    LAB_THIN_MAX = 1000000000,
};

enum lab_verb {
    LAB_NOTHING, /* an empty line, or only a comment */
    LAB_UP,
    LAB_CUT,
    LAB_PARTITION,
    LAB_HEAL,
    LAB_DELAY,
    LAB_THIN,
    LAB_KILL,
    LAB_STOP,
    LAB_RESTART,
    LAB_PAUSE,
    LAB_RESUME,
    LAB_SLOW_DISK,
    LAB_DISK_FULL,
    LAB_DISK_OK,
    LAB_TORN,
    LAB_FORGET,
    LAB_ADD,
    LAB_PROMOTE,
    LAB_REMOVE,
    LAB_SNAPSHOT,
    LAB_RESTORE,
    LAB_LOCK,
    LAB_SLEEP,
    LAB_WAKE,
    LAB_WRITE,
    LAB_LOAD,
    LAB_WAIT,
    LAB_EXPECT,
    LAB_SAY,
    LAB_VERDICT,
    LAB_STATUS,
    LAB_HELP,
    LAB_QUIT,
};

/* Members by number, and by what they are at that moment. */
enum lab_who {
    LAB_WHO_LEADER = 1 << 0,
    LAB_WHO_OLD = 1 << 1,      /* who was meant by the last "leader" */
    LAB_WHO_FOLLOWER = 1 << 2, /* one: the lowest number that runs and does not lead */
    LAB_WHO_OTHERS =
        1 << 3, /* all that the rest of the command does not name; alone: all but old */
    LAB_WHO_ALL = 1 << 4,
    LAB_WHO_DEAD = 1 << 5, /* whose process does not run */
};

struct lab_set {
    uint32_t numbers; /* bit n: member n, from 1 on */
    int who;          /* enum lab_who */
};

enum lab_topic { LAB_WRITES, LAB_READS, LAB_LOCAL_READS };

enum lab_wait_kind {
    LAB_WAIT_TIME,
    LAB_WAIT_LEADER,
    LAB_WAIT_CAUGHT_UP,
    LAB_WAIT_UP,
    LAB_WAIT_DOWN,
    LAB_WAIT_WRITES,
    LAB_WAIT_HOLDER,
};

enum lab_expect_kind {
    LAB_EXPECT_FIGURE,
    LAB_EXPECT_GOES_ON,
    LAB_EXPECT_STOPS,
    LAB_EXPECT_LEADER,
    LAB_EXPECT_NO_LEADER,
    LAB_EXPECT_SAME_DATA,
    LAB_EXPECT_HOLDER,
    LAB_EXPECT_DOWN,
    LAB_EXPECT_LOG,
};

/* What can be counted or measured in an experiment: name, unit, what it says. */
#define LAB_FIGURE_MAP(X)                                                                          \
    X(LOST, "lost", COUNT, "writes that were acknowledged and are not there")                      \
    X(WRONG_READS, "wrong-reads", COUNT, "linearizable reads that were stale, or what never was")  \
    X(STALE_READS, "stale-reads", COUNT, "serializable reads behind what was acknowledged")        \
    X(STALE_AGE, "stale-age", TIME, "how far behind the oldest of them was")                       \
    X(FAILOVER, "failover", TIME, "from the first fault to a leader of a later term")              \
    X(WRITE_GAP, "write-gap", TIME, "longest time without an acknowledged write")                  \
    X(READ_GAP, "read-gap", TIME, "longest time without a linearizable read")                      \
    X(ELECTIONS, "elections", COUNT, "leaders that were elected")                                  \
    X(TERMS, "terms", COUNT, "terms used up")                                                      \
    X(ACKNOWLEDGED, "acknowledged", COUNT, "writes")                                               \
    X(FAILED, "failed", COUNT, "writes that certainly were not made")                              \
    X(UNKNOWN, "unknown", COUNT, "writes that may have been made or not")                          \
    X(ALIVE, "alive", COUNT, "voters that run, now")                                               \
    X(ROLLED_BACK, "rolled-back", COUNT, "acknowledged writes that a restore gave up")             \
    X(FENCED, "fenced", COUNT, "writes of lock holders that were refused")                         \
    X(SLIPPED, "slipped", COUNT, "writes of lock holders that were no longer it and got through")

enum lab_figure {
#define X(id, name, unit, text) LAB_##id,
    LAB_FIGURE_MAP(X)
#undef X
        LAB_FIGURE_COUNT
};
enum lab_unit { LAB_COUNT, LAB_TIME };
extern const struct lab_figure_info {
    const char *name;
    enum lab_unit unit;
    const char *text;
} lab_figures[LAB_FIGURE_COUNT];

enum lab_comparison { LAB_EQUAL, LAB_UNEQUAL, LAB_LESS, LAB_LESS_EQUAL, LAB_MORE, LAB_MORE_EQUAL };

struct lab_command {
    enum lab_verb verb;
    unsigned line;           /* of the script; 0: typed */
    char text[LAB_TEXT_MAX]; /* as it was given, without blanks around it and without comment */
    struct lab_set groups[LAB_GROUPS_MAX]; /* of a partition; else [0]: the members meant; of a link
                                            * [0] is from and [1] is to */
    size_t group_count;
    bool both_ways; /* A-B instead of A>B */
    bool learner;   /* add learner */
    bool unguarded; /* write A unguarded */
    bool on;        /* load */
    int64_t ms;     /* a duration; -1: none was given */
    unsigned count; /* up: members */
    char holder;    /* 'A' to 'C'; '\0': nobody */
    size_t rest_at; /* say: where in text it begins */
    enum lab_wait_kind wait;
    enum lab_expect_kind expect;
    enum lab_topic topic;
    enum lab_figure figure;
    enum lab_comparison comparison;
    int64_t value; /* of the figure: count or milliseconds; thin: bytes per second */
    char flags[LAB_FLAGS_MAX][64]; /* up: "name=value" for kvd */
    size_t flag_count;
};

/* One line, without its newline. KV_EINVAL: err says what was understood and what is near. */
int lab_command_parse(struct slice line, struct lab_command *out, struct err *err);
/* Whether it may take time, so that what follows it has to wait. */
bool lab_command_waits(const struct lab_command *command);
/* The highest member number that it names; 0: none. */
unsigned lab_command_highest(const struct lab_command *command);
/* Whether the figure's value is what the expectation wants. */
bool lab_command_holds(const struct lab_command *command, int64_t value);
/* All commands, one line each. */
void lab_command_help(FILE *out);

/* ---- scripts ---- */

struct lab_script {
    char *name;
    char *title; /* the first comment, or "" */
    struct lab_command *commands;
    size_t len;
};

/* A whole file. Its first command is "up"; members that are never there are refused. KV_EINVAL with
 * name and line, KV_ETOOBIG. On success the caller releases it. */
int lab_script_parse(const char *name, struct slice text, struct lab_script *out, struct err *err);
void lab_script_release(struct lab_script *script);

/* "1.5s", "200ms", "2m" as milliseconds, at most a day; false: it is none. */
bool lab_duration_parse(struct slice text, int64_t *out_ms);
/* The same backwards; returns out. */
const char *lab_duration_format(int64_t ms, char *out, size_t size);

#endif
