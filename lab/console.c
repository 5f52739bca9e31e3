/* The lab on a terminal, or in a file: one line per thing that happens; on a terminal a panel above
 * them that is drawn anew now and then. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/mem.h"
#include "lab/internal.h"

enum { PANEL_MS = 250, NARROWEST = 60 };

/* ---- the panel ---- */

static void print_cell(const struct lab *lab, FILE *out, unsigned to, unsigned from)
{
    const char *mark = lab__hears(lab, to, from) ? "yes" : "no";

    if (to == from)
        mark = ".";
    else if (!lab__runs(&lab->members[to]) || !lab__runs(&lab->members[from]))
        mark = "-";
    else if (lab_relays_is_cut(lab->relays, from, to))
        mark = "cut";
    else if (lab_relays_is_slow(lab->relays, from, to))
        mark = "slow";
    fprintf(out, " %4s", mark);
}

static const char *plain(const struct lab *lab)
{
    return lab->is_terminal ? "\033[0m" : "";
}

/* Members of one term have one color. */
static const char *term_color(const struct lab *lab, uint64_t term)
{
    static const char *const colors[] = {"\033[34m", "\033[33m", "\033[32m", "\033[35m",
                                         "\033[36m"};

    return lab->is_terminal ? colors[term % ARRAY_LEN(colors)] : "";
}

static void print_member(const struct lab *lab, FILE *out, const char *end, unsigned n)
{
    const struct lab_member *member = &lab->members[n];
    const struct lab_view *view = &member->observer.view;
    struct lab_tally writes = lab_load_tally(&lab->load, n, LAB_WRITES);
    struct lab_tally reads = lab_load_tally(&lab->load, n, LAB_READS);
    struct lab_tally local = lab_load_tally(&lab->load, n, LAB_LOCAL_READS);
    bool known = lab__runs(member) && view->known;

    fprintf(out, "m%u  %-10s", n, lab__state_name(lab__state(member)));
    if (known)
        fprintf(out, "%s%5llu%s %9llu %9llu %9llu", term_color(lab, view->term),
                (unsigned long long)view->term, plain(lab), (unsigned long long)view->last_index,
                (unsigned long long)view->commit_index, (unsigned long long)view->applied_index);
    else
        fprintf(out, "%5s %9s %9s %9s", "-", "-", "-", "-");
    fprintf(out, "  %8llu %6llu %7llu  %8llu %6llu  ", (unsigned long long)writes.ok,
            (unsigned long long)writes.failed, (unsigned long long)writes.unknown,
            (unsigned long long)reads.ok, (unsigned long long)local.stale);
    for (unsigned m = 1; m <= LAB_MEMBERS_MAX; m++) {
        if (lab->members[m].used)
            print_cell(lab, out, n, m);
    }
    if (member->full)
        fputs(" disk full", out);
    else if (member->disk != NULL && atomic_load(&member->disk->sync_ms) != 0)
        fprintf(out, " sync +%u ms", atomic_load(&member->disk->sync_ms));
    fputs(end, out);
}

/* Returns how many lines. end: of each of them. */
static unsigned print_panel(const struct lab *lab, FILE *out, const char *end)
{
    struct lab_headcount count;
    char words[200];
    unsigned lines = 3;

    lab__headcount(lab, &count);
    fputs(lab_words_quorum(&count, words, sizeof words), out);
    if (lab->server != NULL)
        fprintf(out, "   (page: http://127.0.0.1:%u/)", net_server_port(lab->server, 0));
    fputs(end, out);
    fprintf(out, "%-14s%5s %9s %9s %9s  %8s %6s %7s  %8s %6s   hears%s", "", "term", "last",
            "commit", "applied", "acked", "failed", "unknown", "reads", "stale", end);
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        if (!lab->members[n].used)
            continue;
        print_member(lab, out, end, n);
        lines++;
    }
    fputs(end, out);
    return lines;
}

void lab__console_status(struct lab *lab)
{
    (void)print_panel(lab, lab->options.out, "\n");
    fflush(lab->options.out);
}

/* ---- the terminal ---- */

void lab__console_open(struct lab *lab)
{
    int fd = fileno(lab->options.out);
    const char *term = getenv("TERM");

    lab->is_terminal = fd >= 0 && isatty(fd) == 1 && term != NULL && strcmp(term, "dumb") != 0;
}

/* Lines scroll below the panel only. */
static void make_room(struct lab *lab, unsigned lines, unsigned rows)
{
    FILE *out = lab->options.out;

    if (lab->panel_lines == 0)
        fprintf(out, "\033[2J");
    lab->panel_lines = lines;
    fprintf(out, "\033[%u;%ur\033[%u;1H", lines + 1, rows, rows);
}

void lab__console_tick(struct lab *lab)
{
    struct winsize size;
    unsigned lines = 3;

    if (!lab->is_terminal || !lab->ready || lab__now(lab) - lab->panel_ms < PANEL_MS)
        return;
    lab->panel_ms = lab__now(lab);
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++)
        lines += lab->members[n].used;
    if (ioctl(fileno(lab->options.out), TIOCGWINSZ, &size) != 0 || size.ws_col < NARROWEST ||
        size.ws_row < lines + 5)
        return; /* no room: lines only */
    if (lab->panel_lines != lines)
        make_room(lab, lines, size.ws_row);
    /* no wrapping while it is drawn: on a narrow terminal a line is cut off */
    fputs("\0337\033[?7l\033[1;1H", lab->options.out);
    (void)print_panel(lab, lab->options.out, "\033[K\r\n");
    fputs("\033[?7h\0338", lab->options.out);
    fflush(lab->options.out);
}

void lab__console_close(struct lab *lab)
{
    if (lab->panel_lines != 0)
        fputs("\033[r\033[999;1H\n", lab->options.out);
    lab->panel_lines = 0;
    fflush(lab->options.out);
}

static const char *color_of(const struct lab *lab, enum lab_event_kind kind)
{
    static const char *const colors[] = {[LAB_SAYS] = "\033[1m",
                                         [LAB_TOLD] = "\033[36m",
                                         [LAB_HAPPENS] = "",
                                         [LAB_RIGHT] = "\033[32m",
                                         [LAB_WRONG] = "\033[31m"};

    return lab->is_terminal ? colors[kind] : "";
}

void lab__console_event(struct lab *lab, const struct lab_event *event)
{
    fprintf(lab->options.out, "%s[%8.3f] %s%s\n", color_of(lab, event->kind),
            (double)event->at_ms / 1000, event->text, plain(lab));
    fflush(lab->options.out);
}

/* ---- verdicts ---- */

static void print_reads(FILE *out, const struct lab_verdict *v)
{
    char age[32];

    fprintf(out, "  serializable reads that were stale: %lld",
            (long long)v->figures[LAB_STALE_READS]);
    if (v->figures[LAB_STALE_READS] > 0)
        fprintf(out, ", up to %s old",
                lab_duration_format(v->figures[LAB_STALE_AGE], age, sizeof age));
    fputc('\n', out);
}

static void print_locks(FILE *out, const struct lab_verdict *v)
{
    if (v->figures[LAB_FENCED] + v->figures[LAB_SLIPPED] != 0)
        fprintf(out, "  writes by who no longer held the lock: %lld refused, %lld got through\n",
                (long long)v->figures[LAB_FENCED], (long long)v->figures[LAB_SLIPPED]);
    if (v->figures[LAB_ROLLED_BACK] != 0)
        fprintf(out, "  acknowledged writes that the restore gave up: %lld\n",
                (long long)v->figures[LAB_ROLLED_BACK]);
}

void lab__console_verdict(struct lab *lab, const struct lab_verdict *v)
{
    FILE *out = lab->options.out;
    char a[32], b[32];

    if (!v->checked)
        lab__say(lab, LAB_WRONG, 0, 0, "verdict on \"%s\": not checked", v->fault);
    else if (v->good)
        lab__say(lab, LAB_RIGHT, 0, 0,
                 "verdict on \"%s\": nothing acknowledged was lost, no linearizable read was wrong",
                 v->fault);
    else
        lab__say(lab, LAB_WRONG, 0, 0,
                 "verdict on \"%s\": %lld acknowledged writes LOST, %lld wrong "
                 "reads",
                 v->fault, (long long)v->figures[LAB_LOST], (long long)v->figures[LAB_WRONG_READS]);
    if (v->figures[LAB_FAILOVER] >= 0)
        fprintf(out, "  new leader after %s; ",
                lab_duration_format(v->figures[LAB_FAILOVER], a, sizeof a));
    else
        fputs("  no other leader; ", out);
    fprintf(out, "elections: %lld, terms used up: %lld\n", (long long)v->figures[LAB_ELECTIONS],
            (long long)v->figures[LAB_TERMS]);
    fprintf(out, "  longest time without a write: %s, without a linearizable read: %s\n",
            lab_duration_format(v->figures[LAB_WRITE_GAP], a, sizeof a),
            lab_duration_format(v->figures[LAB_READ_GAP], b, sizeof b));
    fprintf(out, "  writes: %lld acknowledged, %lld failed, %lld unknown",
            (long long)v->figures[LAB_ACKNOWLEDGED], (long long)v->figures[LAB_FAILED],
            (long long)v->figures[LAB_UNKNOWN]);
    if (v->checked)
        fprintf(out, "; acknowledged and lost: %lld; wrong reads: %lld",
                (long long)v->figures[LAB_LOST], (long long)v->figures[LAB_WRONG_READS]);
    fputc('\n', out);
    print_reads(out, v);
    print_locks(out, v);
    if (v->trouble[0] != '\0')
        fprintf(out, "  %s: %s\n", v->checked ? "smallest history that shows it" : "because",
                v->trouble);
    fflush(out);
}

/* ---- what is typed ---- */

static void take_line(struct lab *lab, struct slice line)
{
    struct lab_command command;
    struct err err = ERR_INIT;
    int rc = lab_command_parse(line, &command, &err);

    if (rc == 0 && command.verb == LAB_NOTHING)
        return;
    lab->input_used = true;
    if (rc == 0)
        rc = lab__run_command(lab, &command, &err);
    if (rc == 0)
        return;
    lab__say(lab, LAB_WRONG, 0, 0, "%.220s", err.text);
    if (!lab->input_is_terminal)
        lab->exit_code = 1; /* nobody sees it who could type it again */
}

static void take_lines(struct lab *lab)
{
    struct buf *bytes = &lab->input_bytes;
    const uint8_t *end;

    while (bytes->len != 0 && (end = memchr(bytes->data, '\n', bytes->len)) != NULL) {
        size_t len = (size_t)(end - bytes->data);

        take_line(lab, slice_of(bytes->data, len));
        buf_consume(bytes, len + 1);
    }
}

static void run_words(struct lab *lab, const char *words)
{
    struct lab_command command;

    if (lab_command_parse(slice_str(words), &command, NULL) != 0 ||
        lab__run_command(lab, &command, NULL) != 0)
        lab__stop(lab); /* too many wait: nobody will come to end it */
}

/* After commands the end of input is the end of the lab; without any (</dev/null) it goes on, for
 * the page. */
static void take_end(struct lab *lab)
{
    if (lab->input_bytes.len != 0)
        take_line(lab, buf_slice(&lab->input_bytes));
    buf_reset(&lab->input_bytes);
    if (!lab->input_used && !lab->input_is_terminal)
        return;
    if (!lab->input_is_terminal)
        run_words(lab, "verdict");
    run_words(lab, "quit");
}

/* False: there is no more. */
static bool read_some(struct lab *lab)
{
    char bytes[4096];
    ssize_t n = read(fileno(lab->options.in), bytes, sizeof bytes);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (n <= 0)
        return false;
    if (buf_append(&lab->input_bytes, bytes, (size_t)n) != 0) {
        lab__say(lab, LAB_WRONG, 0, 0, "a line of more than 64 KiB is no command");
        buf_reset(&lab->input_bytes);
    }
    take_lines(lab);
    return true;
}

static void on_input(uv_poll_t *poll, int status, int events)
{
    struct lab *lab = CONTAINER_OF(poll, struct lab, input);

    (void)events;
    if (status == 0 && read_some(lab))
        return;
    (void)uv_poll_stop(poll); /* cannot fail */
    take_end(lab);
}

int lab__console_read(struct lab *lab, struct err *err)
{
    int fd = fileno(lab->options.in);
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0)
        return err_set_errno(err, errno, "the lab's input");
    lab->input_is_terminal = isatty(fd) == 1;
    if (uv_poll_init(&lab->loop, &lab->input, fd) == 0) {
        lab->input_open = true;
        /* libuv has made it non-blocking, and with it, on a terminal, our output and the shell */
        (void)fcntl(fd, F_SETFL, flags);
        if (uv_poll_start(&lab->input, UV_READABLE, on_input) == 0)
            return 0;
    }
    /* a file, which is always readable: all of it at once */
    while (read_some(lab))
        ;
    take_end(lab);
    return 0;
}
