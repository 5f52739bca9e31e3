#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "bench/bench.h"

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
    if (code == EXIT_GOOD)
        result_compare(stdout, options, ours, peers, options->rounds);
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
    return run(&options, &options.side, NULL, 1, &result);
}
