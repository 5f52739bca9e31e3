/* kvsim: runs seeds; says how to replay and shrink what failed; shows with planted bugs that the
 * checks bite. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/sim/tool.h"

static const char usage[] =
    "kvsim [--seeds N] [--first N]       run seeds (500 from 1), two at a time\n"
    "kvsim --seed N [--verbose]          replay one seed\n"
    "  --members 3|5                     instead of drawing it from the seed\n"
    "  --bug NAME                        plant a bug: skip-sync stale-read double-apply "
    "forget-vote\n"
    "                                    early-expiry stale-checkpoint sleepy-renewal "
    "lost-checkpoint old-term old-grant\n"
    "                                    early-drop ahead unnamed-file\n"
    "                                    drop-event repeat-event split-revision progress-ahead\n"
    "                                    false-refusal state-flip early-start\n"
    "                                    old-configuration early-vote untold id-comes-back\n"
    "  --guards-off MASK                 switch guards of raft/guards.h off\n"
    "  --fault-ms N, --clients N, --only N,N,...|none, --without "
    "loss,slow,stall,flips,checkpoints,churn\n"
    "                                    less of what the seed draws, as --shrink prints it\n"
    "kvsim --shrink N                    leave out what a failing seed does not need to fail\n"
    "kvsim --bites                       each planted bug must be found\n";

enum {
    WORKERS = 2,
    BITE_SEEDS = 3000,
    MEMBER_BITE_SEEDS = 50 /* every seed changes members */,
    FAILURES_SHOWN_MAX = 10
};

struct tally {
    uint64_t seeds, failed;
    struct sim_result sum;
};

static void finish_worker(struct worker *w, const struct sim_options *options, struct tally *tally,
                          bool quiet)
{
    struct sim_result result;
    bool ok = worker_finish(w, &result);

    tally->seeds++;
    if (ok) {
        tally->sum.virtual_ms += result.virtual_ms;
        tally->sum.acked += result.acked;
        tally->sum.unknown += result.unknown;
        tally->sum.never_left += result.never_left;
        tally->sum.reads += result.reads;
        tally->sum.elections += result.elections;
        tally->sum.crashes += result.crashes;
        tally->sum.cuts += result.cuts;
        tally->sum.pauses += result.pauses;
        tally->sum.applied += result.applied;
        tally->sum.grants += result.grants;
        tally->sum.renewals += result.renewals;
        tally->sum.expired += result.expired;
        tally->sum.lease_checkpoints += result.lease_checkpoints;
        tally->sum.clears += result.clears;
        tally->sum.checkpoints += result.checkpoints;
        tally->sum.installs += result.installs;
        tally->sum.flips += result.flips;
        tally->sum.restates += result.restates;
        tally->sum.added += result.added;
        tally->sum.removed += result.removed;
        tally->sum.voted += result.voted;
        tally->sum.moved += result.moved;
        tally->sum.refused += result.refused;
        tally->sum.retired += result.retired;
        tally->sum.joined_far += result.joined_far;
        tally->sum.watch_creates += result.watch_creates;
        tally->sum.watch_events += result.watch_events;
        tally->sum.watch_progress += result.watch_progress;
        tally->sum.watch_compacted += result.watch_compacted;
    }
    if (result.violation[0] == 0)
        return;
    tally->failed++;
    if (!quiet && tally->failed <= FAILURES_SHOWN_MAX) {
        struct sim_options failed = *options;

        failed.seed = w->seed;
        printf("seed %llu: %s\n", (unsigned long long)w->seed, result.violation);
        words_print_command("replay:", "--verbose --seed", &failed);
        words_print_command("shrink:", "--shrink", &failed);
    }
}

static void run_seeds(const struct sim_options *options, uint64_t first, uint64_t count,
                      bool stop_at_failure, bool quiet, struct tally *tally)
{
    struct worker workers[WORKERS] = {{0}};
    uint64_t next = first;

    *tally = (struct tally){0};
    for (;;) {
        bool busy = false;

        for (size_t i = 0; i < WORKERS; i++) {
            if (workers[i].pid != 0)
                finish_worker(&workers[i], options, tally, quiet);
            if (next < first + count && !(stop_at_failure && tally->failed != 0))
                worker_start(&workers[i], options, next++);
            busy = busy || workers[i].pid != 0;
        }
        if (!busy)
            return;
    }
}

static double seconds_now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* always there */
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void print_tally(const struct tally *t, double took)
{
    printf(
        "report: %llu seeds, %llu failed; %.1f seeds/s, %.0f simulated s/s (%.0f s in %.1f s)\n"
        "writes acknowledged %llu, unknown %llu, never left %llu; reads %llu; entries applied "
        "%llu; "
        "elections %llu, crashes %llu, cuts %llu, pauses %llu, checkpoints %llu, installed %llu\n"
        "leases granted %llu, ended by time %llu, renewals %llu, checkpoints %llu, cleared %llu\n",
        (unsigned long long)t->seeds, (unsigned long long)t->failed, (double)t->seeds / took,
        (double)t->sum.virtual_ms / 1000 / took, (double)t->sum.virtual_ms / 1000, took,
        (unsigned long long)t->sum.acked, (unsigned long long)t->sum.unknown,
        (unsigned long long)t->sum.refused, (unsigned long long)t->sum.reads,
        (unsigned long long)t->sum.applied, (unsigned long long)t->sum.elections,
        (unsigned long long)t->sum.crashes, (unsigned long long)t->sum.cuts,
        (unsigned long long)t->sum.pauses, (unsigned long long)t->sum.checkpoints,
        (unsigned long long)t->sum.installs, (unsigned long long)t->sum.grants,
        (unsigned long long)t->sum.expired, (unsigned long long)t->sum.renewals,
        (unsigned long long)t->sum.lease_checkpoints, (unsigned long long)t->sum.clears);
    printf("states that changed by themselves %llu, taken over from others %llu\n",
           (unsigned long long)t->sum.flips, (unsigned long long)t->sum.restates);
    printf(
        "members added %llu (of a checkpoint %llu), removed %llu (stopped %llu), given votes %llu, "
        "moved %llu; requests refused %llu\n",
        (unsigned long long)t->sum.added, (unsigned long long)t->sum.joined_far,
        (unsigned long long)t->sum.removed, (unsigned long long)t->sum.retired,
        (unsigned long long)t->sum.voted, (unsigned long long)t->sum.moved,
        (unsigned long long)t->sum.refused);
    printf("watchers created %llu, events %llu, progress %llu, ended by compaction %llu\n",
           (unsigned long long)t->sum.watch_creates, (unsigned long long)t->sum.watch_events,
           (unsigned long long)t->sum.watch_progress, (unsigned long long)t->sum.watch_compacted);
}

static int replay(const struct sim_options *options)
{
    struct sim_result result, again;
    struct sim_options quiet = *options;

    sim_run(options, &result);
    quiet.verbose = false;
    sim_run(&quiet, &again);
    printf("seed %llu: %s; trace %016llx, %llu virtual ms, %llu writes, %llu reads\n",
           (unsigned long long)options->seed,
           result.violation[0] != 0 ? result.violation : "all promises held",
           (unsigned long long)result.trace, (unsigned long long)result.virtual_ms,
           (unsigned long long)result.acked, (unsigned long long)result.reads);
    if (again.trace != result.trace) {
        printf("NOT DETERMINISTIC: the second run has trace %016llx\n",
               (unsigned long long)again.trace);
        return 1;
    }
    return result.violation[0] != 0;
}

/* Every planted bug must be found, and without one the same seeds must be clean. */
static int bites(void)
{
    int missed = 0;

    for (int bug = SIM_BUG_NONE + 1; bug < SIM_BUGS; bug++) {
        struct sim_options options = {.bug = (enum sim_bug)bug};
        struct tally tally;

        run_seeds(&options, 1, bug >= SIM_BUG_OLD_CONFIGURATION ? MEMBER_BITE_SEEDS : BITE_SEEDS,
                  true, true, &tally);
        printf("%-18s %s after %llu seeds\n", words_bug((enum sim_bug)bug),
               tally.failed != 0 ? "found" : "NOT FOUND", (unsigned long long)tally.seeds);
        missed += tally.failed == 0;
    }
    return missed != 0;
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {{"seeds", required_argument, NULL, 'n'},
                                                 {"first", required_argument, NULL, 'f'},
                                                 {"seed", required_argument, NULL, 's'},
                                                 {"verbose", no_argument, NULL, 'v'},
                                                 {"members", required_argument, NULL, 'm'},
                                                 {"bug", required_argument, NULL, 'b'},
                                                 {"guards-off", required_argument, NULL, 'g'},
                                                 {"fault-ms", required_argument, NULL, 't'},
                                                 {"clients", required_argument, NULL, 'c'},
                                                 {"only", required_argument, NULL, 'o'},
                                                 {"without", required_argument, NULL, 'w'},
                                                 {"shrink", required_argument, NULL, 'S'},
                                                 {"bites", no_argument, NULL, 'B'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    struct sim_options options = {0};
    uint64_t seeds = 500, first = 1;
    bool one = false, bite = false, smaller = false, wrong = false;
    struct tally tally;
    double began;
    int which;

    while ((which = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (which) {
        case 'n':
            seeds = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            first = strtoull(optarg, NULL, 10);
            break;
        case 's':
            options.seed = strtoull(optarg, NULL, 10);
            one = true;
            break;
        case 'v':
            options.verbose = true;
            break;
        case 'm':
            options.members = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'g':
            options.guards_off = (unsigned)strtoul(optarg, NULL, 0);
            break;
        case 't':
            options.fault_ms = strtoull(optarg, NULL, 10);
            wrong = wrong || options.fault_ms == 0 || options.fault_ms > SIM_FAULT_MS_MAX;
            break;
        case 'c':
            options.clients = (unsigned)strtoul(optarg, NULL, 10);
            wrong = wrong || options.clients == 0 || options.clients > SIM_CLIENTS;
            break;
        case 'o':
            wrong = wrong || !words_parse_only(optarg, &options);
            break;
        case 'w':
            wrong = wrong || !words_parse_without(optarg, &options.without);
            break;
        case 'b':
            wrong = wrong || !words_parse_bug(optarg, &options.bug);
            break;
        case 'S':
            options.seed = strtoull(optarg, NULL, 10);
            smaller = true;
            break;
        case 'B':
            bite = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            wrong = true;
        }
    }
    if (wrong || (options.members != 0 && options.members != 3 && options.members != 5)) {
        fputs(usage, stderr);
        return 2;
    }
    if (smaller)
        return shrink(&options);
    if (one)
        return replay(&options);
    if (bite)
        return bites();

    began = seconds_now();
    run_seeds(&options, first, seeds, false, false, &tally);
    print_tally(&tally, seconds_now() - began);
    options.seed = first;
    if (tally.failed == 0 && replay(&options) != 0)
        return 1;
    return tally.failed != 0 || tally.seeds == 0;
}
