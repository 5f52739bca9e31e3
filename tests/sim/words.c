#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/tool.h"

static const char *const bug_names[SIM_BUGS] = {
    "none",         "skip-sync",         "stale-read",     "double-apply",    "forget-vote",
    "early-expiry", "stale-checkpoint",  "sleepy-renewal", "lost-checkpoint", "old-term",
    "old-grant",    "early-drop",        "ahead",          "unnamed-file",    "drop-event",
    "repeat-event", "split-revision",    "progress-ahead", "false-refusal",   "state-flip",
    "early-start",  "old-configuration", "early-vote",     "untold",          "id-comes-back"};

static const char *const without_names[SIM_WITHOUTS] = {"loss",  "slow",        "stall",
                                                        "flips", "checkpoints", "churn"};

const char *words_bug(enum sim_bug bug)
{
    return bug_names[bug];
}

bool words_parse_bug(const char *name, enum sim_bug *out)
{
    for (int bug = 0; bug < SIM_BUGS; bug++) {
        if (strcmp(name, bug_names[bug]) == 0) {
            *out = (enum sim_bug)bug;
            return true;
        }
    }
    return false;
}

bool words_parse_without(const char *names, unsigned *out)
{
    for (;;) {
        size_t len = strcspn(names, ",");
        size_t i = 0;

        while (i < SIM_WITHOUTS &&
               (strlen(without_names[i]) != len || strncmp(without_names[i], names, len) != 0))
            i++;
        if (i == SIM_WITHOUTS)
            return false;
        *out |= 1u << i;
        if (names[len] == 0)
            return true;
        names += len + 1;
    }
}

bool words_parse_only(const char *numbers, struct sim_options *out)
{
    memset(out->skip, 0xff, sizeof out->skip);
    if (strcmp(numbers, "none") == 0)
        return true;
    for (;;) {
        char *end;
        unsigned long number;

        if (*numbers < '0' || *numbers > '9')
            return false;
        number = strtoul(numbers, &end, 10);
        if (number >= SIM_FAULTS_MAX || (*end != ',' && *end != 0))
            return false;
        out->skip[number / 64] &= ~(UINT64_C(1) << number % 64);
        if (*end == 0)
            return true;
        numbers = end + 1;
    }
}

static void print_only(const struct sim_options *options)
{
    const char *before = " --only ";
    uint64_t skipped = 0;

    for (unsigned i = 0; i < SIM_FAULTS_MAX / 64; i++)
        skipped |= options->skip[i];
    if (skipped == 0)
        return;
    for (unsigned number = 0; number < SIM_FAULTS_MAX; number++) {
        if ((options->skip[number / 64] >> number % 64 & 1) != 0)
            continue;
        printf("%s%u", before, number);
        before = ",";
    }
    if (*before != ',')
        printf("%snone", before);
}

void words_print_command(const char *label, const char *how, const struct sim_options *options)
{
    const char *before = " --without ";

    printf("%s %s %s %llu", label, program_invocation_name, how, (unsigned long long)options->seed);
    if (options->members != 0)
        printf(" --members %u", options->members);
    if (options->bug != SIM_BUG_NONE)
        printf(" --bug %s", bug_names[options->bug]);
    if (options->guards_off != 0)
        printf(" --guards-off %u", options->guards_off);
    if (options->fault_ms != 0)
        printf(" --fault-ms %llu", (unsigned long long)options->fault_ms);
    if (options->clients != 0)
        printf(" --clients %u", options->clients);
    for (unsigned i = 0; i < SIM_WITHOUTS; i++) {
        if ((options->without >> i & 1) == 0)
            continue;
        printf("%s%s", before, without_names[i]);
        before = ",";
    }
    print_only(options);
    putchar('\n');
}
