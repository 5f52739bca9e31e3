/* The shrinker: smaller and smaller runs of one seed, as long as they break the promise that the
 * whole run broke. Greedy: what was left out stays out. Faults go in halves, quarters and so on
 * (delta debugging), until none can go alone. Every run is another one from its first difference
 * on, so a failure that depends on chance may need more faults than its cause does. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "tests/sim/tool.h"

struct shrink {
    struct sim_options best;
    struct sim_result failure; /* of best */
    unsigned runs;
};

static bool is_skipped(const struct sim_options *options, uint64_t number)
{
    return (options->skip[number / 64] >> number % 64 & 1) != 0;
}

static void skip(struct sim_options *options, uint64_t number)
{
    options->skip[number / 64] |= UINT64_C(1) << number % 64;
}

/* Violations say up to the colon which promise was broken, some of them which member ("m2 ...")
 * broke it: another one breaks it as well. */
static bool same_promise(const char *a, const char *b)
{
    size_t len;

    if (a[0] == 'm' && b[0] == 'm') {
        a += strcspn(a, " ");
        b += strcspn(b, " ");
    }
    len = strcspn(a, ":");
    return len == strcspn(b, ":") && strncmp(a, b, len) == 0;
}

/* Takes the run over if it fails as the whole one did. */
static bool try(struct shrink *s, const struct sim_options *options)
{
    struct worker worker = {.pid = 0};
    struct sim_result result;

    worker_start(&worker, options, options->seed);
    (void)worker_finish(&worker, &result); /* who died has a violation too */
    s->runs++;
    if (s->runs != 1 && !same_promise(result.violation, s->failure.violation))
        return false; /* the first is the whole run */
    s->best = *options;
    s->failure = result;
    return true;
}

static bool try_figures(struct shrink *s)
{
    static const unsigned clients[] = {1, 2, 3, 6};
    bool smaller = false;
    struct sim_options options;

    for (unsigned i = 0; i < SIM_WITHOUTS; i++) {
        options = s->best;
        options.without |= 1u << i;
        if (options.without != s->best.without)
            smaller = try(s, &options) || smaller;
    }
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        options = s->best;
        options.clients = clients[i];
        if (s->best.clients != 0 && s->best.clients <= clients[i])
            break;
        if (try(s, &options)) {
            smaller = true;
            break;
        }
    }
    options = s->best;
    options.members = 3;
    if (s->best.members != 3)
        smaller = try(s, &options) || smaller;
    return smaller;
}

/* Faults end earlier: at a half, and so on, of the time that is known to be enough. */
static bool try_time(struct shrink *s)
{
    uint64_t enough = s->best.fault_ms != 0 ? s->best.fault_ms : SIM_FAULT_MS_MAX;
    bool smaller = false;

    for (uint64_t step = enough / 2; step >= 250; step /= 2) {
        struct sim_options options = s->best;

        options.fault_ms = enough - step;
        if (try(s, &options)) {
            smaller = true;
            enough -= step;
        }
    }
    return smaller;
}

/* Every stretch of so many of the faults that still take place is left out in turn. */
static bool try_stretches(struct shrink *s, uint64_t stretch)
{
    bool smaller = false;
    uint64_t number = 0, end = SIM_FAULTS_MAX;

    while (number < end) {
        struct sim_options options = s->best;
        uint64_t left_out = 0;

        for (; number < end && left_out < stretch; number++) {
            if (is_skipped(&options, number))
                continue;
            skip(&options, number);
            left_out++;
        }
        if (left_out != 0)
            smaller = try(s, &options) || smaller;
    }
    return smaller;
}

static unsigned faults_left(const struct sim_options *options)
{
    unsigned left = 0;

    for (uint64_t number = 0; number < SIM_FAULTS_MAX; number++)
        left += !is_skipped(options, number);
    return left;
}

static bool try_faults(struct shrink *s)
{
    bool smaller = false;

    for (uint64_t stretch = faults_left(&s->best); stretch != 0; stretch /= 2)
        smaller = try_stretches(s, stretch) || smaller;
    return smaller;
}

/* What the whole run never came to does not count as taking place. */
static void skip_what_never_was(struct shrink *s)
{
    struct sim_options options = s->best;

    for (uint64_t number = s->failure.faults; number < SIM_FAULTS_MAX; number++)
        skip(&options, number);
    (void)try(s, &options); /* a run that died does not say how far it came: then all stay */
}

int shrink(const struct sim_options *options)
{
    struct shrink s = {.best = *options};
    bool smaller;

    (void)try(&s, options);
    if (s.failure.violation[0] == 0) {
        printf("seed %llu: all promises held, nothing to shrink\n",
               (unsigned long long)options->seed);
        return 1;
    }
    printf("seed %llu: %s\n", (unsigned long long)options->seed, s.failure.violation);
    skip_what_never_was(&s);
    do {
        smaller = try_figures(&s);
        smaller = try_time(&s) || smaller;
        smaller = try_faults(&s) || smaller;
    } while (smaller);
    s.best.verbose = true;
    printf("after %u runs, with %u faults, %.3f s: %s\n", s.runs, faults_left(&s.best),
           (double)s.failure.virtual_ms / 1000, s.failure.violation);
    words_print_command("smallest:", "--verbose --seed", &s.best);
    return 0;
}
