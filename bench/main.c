#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "bench/bench.h"
#include "bench/plot.h"

enum { EXIT_GOOD = 0, EXIT_ERRORS = 1, EXIT_USAGE = 2, EXIT_PARTIAL = 3 };

static int exit_code(const struct bench_result *result)
{
    if (result->partial)
        return EXIT_PARTIAL;
    return result->errors == 0 ? EXIT_GOOD : EXIT_ERRORS;
}

/* One run, printed. */
static int run(const struct bench_options *options, const struct bench_side *side, const char *name,
               unsigned round, struct bench_result *out)
{
    struct err err = ERR_INIT;

    /* What the first round has filled is there in the others. */
    if (bench_run(options, side, round == 1, out, &err) != 0) {
        fprintf(stderr, "kvbench: %s%s%s\n", name != NULL ? name : "", name != NULL ? ": " : "",
                err.text);
        return EXIT_ERRORS;
    }
    result_print(stdout, options, out, name, round);
    if (out->errors != 0)
        fprintf(stderr, "kvbench: %llu errors%s, the first: %s\n", (unsigned long long)out->errors,
                out->partial ? ", the result is partial" : "", out->first_error);
    return exit_code(out);
}

/* All rounds of each side as one; the code of what was measured, or of the picture that failed. */
static int draw(const struct bench_options *options, const struct bench_result *ours,
                const struct bench_result *peers, size_t rounds, int code)
{
    struct histogram *merged;
    struct plot_line lines[PLOT_LINES_MAX] = {{.name = peers != NULL ? "ours" : "server"},
                                              {.name = "peer"}};
    size_t sides = peers != NULL ? 2 : 1;
    struct err err = ERR_INIT;

    if (options->plot == NULL)
        return code;
    merged = xcalloc(PLOT_LINES_MAX, sizeof *merged);
    for (size_t side = 0; side < sides; side++) {
        for (size_t i = 0; i < rounds; i++) {
            const struct bench_result *result = side == 0 ? &ours[i] : &peers[i];

            histogram_merge(&merged[side], &result->latency);
            lines[side].req_s += result_get(result, "req_s") / (double)rounds;
        }
        lines[side].latency = &merged[side];
    }
    if (plot_write(options->plot, options, lines, sides, &err) != 0) {
        fprintf(stderr, "kvbench: %s\n", err.text);
        code = code == EXIT_GOOD ? EXIT_ERRORS : code;
    }
    free(merged);
    return code;
}

/* Ours and the peer alternately; the first run that is not good ends it all. */
static int run_both(const struct bench_options *options)
{
    struct bench_result *ours = xcalloc(2 * options->rounds, sizeof *ours);
    struct bench_result *peers = ours + options->rounds;
    int code = EXIT_GOOD;

    for (uint64_t i = 0; code == EXIT_GOOD && i < options->rounds; i++) {
        code = run(options, &options->side, "ours", (unsigned)i + 1, &ours[i]);
        if (code == EXIT_GOOD)
            code = run(options, &options->versus, "peer", (unsigned)i + 1, &peers[i]);
    }
    if (code == EXIT_GOOD) {
        result_compare(stdout, options, ours, peers, options->rounds);
        code = draw(options, ours, peers, options->rounds, code);
    }
    free(ours);
    return code;
}

int main(int argc, char **argv)
{
    static struct bench_result result;
    struct bench_options options;
    struct err err = ERR_INIT;
    int rc = options_parse(argc, argv, &options, &err);

    if (rc == OPTIONS_HELP) {
        options_help(stdout);
        return EXIT_GOOD;
    }
    if (rc != OPTIONS_OK) {
        fprintf(stderr, "kvbench: %s\nTry kvbench --help.\n", err.text);
        return EXIT_USAGE;
    }
    if (options.versus.endpoint_count != 0)
        return run_both(&options);
    rc = run(&options, &options.side, NULL, 1, &result);
    return result.requests != 0 ? draw(&options, &result, NULL, 1, rc) : rc;
}
