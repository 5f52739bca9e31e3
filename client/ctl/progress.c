#include "client/ctl/progress.h"

#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "client/ctl/gotext.h"

enum { BAR_WIDTH = 24, DRAW_EVERY_NS = 100000000 };
static const uint64_t second_ns = 1000000000;

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* does not fail for this clock */
    return (uint64_t)now.tv_sec * second_ns + (uint64_t)now.tv_nsec;
}

void progress_begin(struct progress *progress, FILE *out, const char *what)
{
    *progress = (struct progress){.what = what, .started_ns = now_ns()};
    if (isatty(fileno(out)))
        progress->out = out;
}

static size_t put_bar(char *out, double share)
{
    size_t full = (size_t)(share * BAR_WIDTH), len = 0;

    out[len++] = '[';
    for (size_t i = 0; i < BAR_WIDTH; i++)
        out[len++] = i < full ? '=' : i == full ? '>' : ' ';
    out[len++] = ']';
    out[len] = '\0';
    return len;
}

static void put_time_left(char *out, size_t size, double seconds)
{
    if (seconds < 60)
        (void)snprintf(out, size, "%d s left", (int)(seconds + 0.999));
    else if (seconds < 6000)
        (void)snprintf(out, size, "%d min %02d s left", (int)seconds / 60, (int)seconds % 60);
    else
        (void)snprintf(out, size, "%.0f h left", MIN(seconds / 3600, 9999.0));
}

void progress_format(char out[PROGRESS_TEXT_MAX], const char *what, uint64_t done, uint64_t total,
                     uint64_t elapsed_ns)
{
    char bar[BAR_WIDTH + 3], done_text[GO_TEXT_MAX], total_text[GO_TEXT_MAX], rate[GO_TEXT_MAX];
    double elapsed = (double)MAX(elapsed_ns, (uint64_t)1) / (double)second_ns;
    double share = total == 0 ? 0 : (double)MIN(done, total) / (double)total;
    char left[32] = "";

    go_format_bytes(done, done_text);
    go_format_bytes(total, total_text);
    go_format_bytes((uint64_t)((double)done / elapsed), rate);
    if (total == 0) {
        (void)snprintf(out, PROGRESS_TEXT_MAX, "%s %s, %s/s", what, done_text, rate);
        return;
    }
    (void)put_bar(bar, share);
    if (done > 0 && done < total)
        put_time_left(left, sizeof left, elapsed / (double)done * (double)(total - done));
    (void)snprintf(out, PROGRESS_TEXT_MAX, "%s %s %3d%% %s of %s, %s/s%s%s", what, bar,
                   (int)(share * 100), done_text, total_text, rate, left[0] != '\0' ? ", " : "",
                   left);
}

void progress_show(struct progress *progress, uint64_t done, uint64_t total)
{
    char text[PROGRESS_TEXT_MAX];
    uint64_t now;

    if (progress->out == NULL)
        return;
    now = now_ns();
    if (progress->drawn_ns != 0 && now - progress->drawn_ns < DRAW_EVERY_NS)
        return;
    progress->drawn_ns = now;
    progress_format(text, progress->what, done, total, now - progress->started_ns);
    fprintf(progress->out, "\r%s\033[K", text);
    (void)fflush(progress->out); /* a terminal that is gone is not worth a word */
}

void progress_end(struct progress *progress)
{
    if (progress->out == NULL || progress->drawn_ns == 0)
        return;
    fputs("\r\033[K", progress->out);
    (void)fflush(progress->out); /* as above */
    progress->drawn_ns = 0;
}
