/* One run for people and for programs. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "bench/result.h"
#include "bench/workload.h"

void result_add(struct bench_result *result, const char *name, const char *label, double value,
                int decimals, enum better better)
{
    struct figure *figure;

    ASSERT(result->figure_count < FIGURES_MAX);
    figure = &result->figures[result->figure_count++];
    *figure = (struct figure){.value = value, .decimals = decimals, .better = better};
    ASSERT(strlen(name) < sizeof figure->name);
    (void)snprintf(figure->name, sizeof figure->name, "%s", name);
    (void)snprintf(figure->label, sizeof figure->label, "%s", label != NULL ? label : "");
}

static void add_latency(struct bench_result *result, const char *prefix, const char *label,
                        const char *what, const char *unit, double value, enum better better)
{
    char name[sizeof result->figures[0].name], text[sizeof result->figures[0].label];

    (void)snprintf(name, sizeof name, "%s_%s%s", prefix, what, unit[0] != 0 ? "_us" : "");
    (void)snprintf(text, sizeof text, "%s, %s%s", label, what, unit);
    result_add(result, name, text, value, 0, better);
}

void result_add_latency(struct bench_result *result, const char *prefix, const char *label,
                        const struct histogram *histogram)
{
    add_latency(result, prefix, label, "count", "", (double)histogram->count, NEITHER);
    add_latency(result, prefix, label, "p50", " us", (double)histogram_at(histogram, 0.5), LOWER);
    add_latency(result, prefix, label, "p99", " us", (double)histogram_at(histogram, 0.99), LOWER);
    add_latency(result, prefix, label, "max", " us", (double)histogram->max_us, LOWER);
}

/* NULL: it was not measured. */
static const struct figure *find(const struct bench_result *result, const char *name)
{
    for (size_t i = 0; i < result->figure_count; i++) {
        if (strcmp(result->figures[i].name, name) == 0)
            return &result->figures[i];
    }
    return NULL;
}

double result_get(const struct bench_result *result, const char *name)
{
    const struct figure *figure = find(result, name);

    return figure != NULL ? figure->value : 0;
}

/* ---- JSON ---- */

static void print_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (const unsigned char *p = (const unsigned char *)text; *p != 0; p++) {
        if (*p == '"' || *p == '\\')
            fprintf(out, "\\%c", *p);
        else if (*p < 0x20 || *p >= 0x7f)
            fprintf(out, "\\u%04x", *p); /* bytes as they are, whatever they were meant to be */
        else
            fputc(*p, out);
    }
    fputc('"', out);
}

static void print_json(FILE *out, const struct bench_options *options, const struct bench_result *r,
                       const char *side, unsigned round)
{
    fprintf(out, "{\"op\":\"%s\",", options->workload->name);
    if (side != NULL)
        fprintf(out, "\"side\":\"%s\",\"round\":%u,", side, round);
    fprintf(out,
            "\"clients\":%llu,\"connections\":%llu,\"streams\":%llu,\"requests\":%llu,"
            "\"errors\":%llu,\"partial\":%s",
            (unsigned long long)options->clients, (unsigned long long)options->connections,
            (unsigned long long)options->streams, (unsigned long long)r->requests,
            (unsigned long long)r->errors, r->partial ? "true" : "false");
    if (r->errors != 0) {
        fputs(",\"first_error\":", out);
        print_string(out, r->first_error);
    }
    for (size_t i = 0; i < r->figure_count; i++)
        fprintf(out, ",\"%s\":%.*f", r->figures[i].name, r->figures[i].decimals,
                r->figures[i].value);
    fputs("}\n", out);
}

/* ---- text ---- */

static void print_head(FILE *out, const struct bench_options *options, const struct bench_result *r)
{
    bool streams = options->streams != 0;
    double rate = result_get(r, "req_s");

    fprintf(out,
            "%s, %llu %s on %llu connections: %llu requests in %.2f s, %llu errors, %.*f req/s%s\n",
            options->workload->name,
            (unsigned long long)(streams ? options->streams : options->clients),
            streams ? "streams" : "clients", (unsigned long long)options->connections,
            (unsigned long long)r->requests, result_get(r, "seconds"),
            (unsigned long long)r->errors, rate < 100 ? 1 : 0, rate,
            r->partial ? "  (PARTIAL)" : "");
    fprintf(out, "  latency us: p50 %.0f  p90 %.0f  p99 %.0f  p99.9 %.0f  max %.0f\n",
            result_get(r, "p50_us"), result_get(r, "p90_us"), result_get(r, "p99_us"),
            result_get(r, "p999_us"), result_get(r, "max_us"));
}

/* Only what was measured: without pids nothing is known of the server. */
static void print_costs(FILE *out, const struct bench_result *r)
{
    const struct {
        const char *name, *format;
    } parts[] = {{"server_cpu_us", "server CPU %.2f us per request; "},
                 {"server_cpu_percent", "server %.0f %% of a core; "},
                 {"server_rss_mib", "server memory %.1f MiB"},
                 {"server_anon_mib", " (%.1f anonymous); "},
                 {"own_cpu_us", "generator CPU %.2f us per request; "},
                 {"load", "load average %.2f\n"}};

    fputs("  ", out);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        const struct figure *figure = find(r, parts[i].name);

        if (figure != NULL)
            fprintf(out, parts[i].format, figure->value);
    }
}

static void print_text(FILE *out, const struct bench_options *options, const struct bench_result *r,
                       const char *side, unsigned round)
{
    if (side != NULL)
        fprintf(out, "%s, round %u: ", side, round);
    print_head(out, options, r);
    print_costs(out, r);
    for (size_t i = 0; i < r->figure_count; i++) {
        const struct figure *f = &r->figures[i];

        if (f->label[0] != 0)
            fprintf(out, "  %s: %.*f\n", f->label, f->decimals, f->value);
    }
}

void result_print(FILE *out, const struct bench_options *options, const struct bench_result *result,
                  const char *side, unsigned round)
{
    if (options->json)
        print_json(out, options, result, side, round);
    else
        print_text(out, options, result, side, round);
    (void)fflush(out); /* each run is seen when it is done; a broken pipe ends us anyway */
}
