#include "server/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

enum {
    LINE_SIZE_MAX = 64 << 10, /* a longer line loses its later fields, and says so */
    LINE_RESERVE = 64,        /* for the end of a line that was cut */
};

/* Nothing in here changes after log_open(), so that any thread may write: each line is built on its
 * writer's stack or heap and goes out in one write(). */
struct log {
    enum config_log_level level;
    bool console;
    int *fds;
    size_t fd_count;
};

static const char *level_name(enum config_log_level level)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};

    return names[level];
}

static int open_output(const char *name, int *out, struct err *err)
{
    int fd;

    if (strcmp(name, "stderr") == 0) {
        *out = STDERR_FILENO;
        return 0;
    }
    if (strcmp(name, "stdout") == 0) {
        *out = STDOUT_FILENO;
        return 0;
    }
    /* Appending keeps lines whole when a log rotator truncates the file. */
    fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot open the log output %s", name);
    *out = fd;
    return 0;
}

int log_open(const struct config *config, struct log **out, struct err *err)
{
    struct log *log = xcalloc(1, sizeof *log);
    int rc = 0;

    log->level = config->log_level;
    log->console = config->log_console;
    log->fds = xcalloc(config->log_outputs_len, sizeof *log->fds);
    for (size_t i = 0; rc == 0 && i < config->log_outputs_len; i++) {
        rc = open_output(config->log_outputs[i], &log->fds[i], err);
        if (rc == 0)
            log->fd_count++;
    }
    if (rc != 0) {
        log_close(log);
        return rc;
    }
    *out = log;
    return 0;
}

void log_close(struct log *log)
{
    if (log == NULL)
        return;
    for (size_t i = 0; i < log->fd_count; i++) {
        if (log->fds[i] > STDERR_FILENO)
            (void)close(log->fds[i]); /* nothing is buffered */
    }
    free(log->fds);
    free(log);
}

/* ---- text ---- */

/* Length of the UTF-8 sequence at p (RFC 3629: no overlong forms, surrogates or values above
 * U+10FFFF) and its value; 0 if there is none. */
static size_t utf8_at(const unsigned char *p, uint32_t *value)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xC0 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;

    if (len == 0 || p[0] > 0xF4)
        return 0;
    *value = len == 1 ? p[0] : p[0] & (0x7Fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80) /* also stops at the NUL */
            return 0;
        *value = *value << 6 | (p[i] & 0x3F);
    }
    if (*value < least[len] || *value > 0x10FFFF || (*value >= 0xD800 && *value < 0xE000))
        return 0;
    return len;
}

/* Control characters, also those beyond ASCII and the two line ends of Unicode: what a terminal or
 * a viewer could take for more than text. */
static bool must_escape(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029;
}

/* The inside of a JSON string, without quotes. A byte that is no UTF-8 becomes U+FFFD, as in etcd's
 * logger. KV_ETOOBIG: it did not fit, an unfinished part of it may be there. */
static int put_text(struct buf *line, const char *text)
{
    int rc = 0;

    for (const unsigned char *p = (const unsigned char *)text; rc == 0 && *p != '\0';) {
        uint32_t c;
        size_t len = utf8_at(p, &c);

        if (len == 0)
            rc = buf_printf(line, "\\ufffd");
        else if (c == '"' || c == '\\')
            rc = buf_printf(line, "\\%c", (int)c);
        else if (c == '\n' || c == '\r' || c == '\t')
            rc = buf_printf(line, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (must_escape(c))
            rc = buf_printf(line, "\\u%04x", c);
        else
            rc = buf_append(line, p, len);
        p += len != 0 ? len : 1;
    }
    return rc;
}

/* With quotes. One line it stays, whatever it holds. */
static int put_string(struct buf *line, const char *text)
{
    int rc = buf_append_u8(line, '"');

    if (rc == 0)
        rc = put_text(line, text != NULL ? text : "");
    if (rc == 0)
        rc = buf_append_u8(line, '"');
    return rc;
}

static int put_field(struct buf *line, const struct log_field *field, bool first)
{
    int rc = first ? 0 : buf_append_u8(line, ',');

    if (rc == 0)
        rc = put_string(line, field->name);
    if (rc == 0)
        rc = buf_append_u8(line, ':');
    if (rc != 0)
        return rc;
    switch (field->kind) {
    case LOG_FIELD_STR:
        return put_string(line, field->str);
    case LOG_FIELD_INT:
        return buf_printf(line, "%lld", (long long)field->i);
    case LOG_FIELD_UINT:
        return buf_printf(line, "%llu", (unsigned long long)field->u);
    case LOG_FIELD_HEX:
        return buf_printf(line, "\"%llx\"", (unsigned long long)field->u);
    case LOG_FIELD_BOOL:
        return buf_printf(line, "%s", field->u != 0 ? "true" : "false");
    }
    ASSERT(false);
}

/* All fields that fit; the rest is replaced by "truncated":true. */
static void put_fields(struct buf *line, const struct log_field *fields, size_t count, bool first)
{
    for (size_t i = 0; i < count; i++) {
        size_t before = line->len;

        if (put_field(line, &fields[i], first) != 0) {
            line->len = before;
            line->size_max += LINE_RESERVE;
            (void)buf_printf(line, "%s\"truncated\":true", first ? "" : ",");
            return;
        }
        first = false;
    }
}

/* RFC 3339, UTC, microseconds: as etcd writes it. */
static void put_time(struct buf *line)
{
    struct timespec now;
    struct tm tm;
    char text[32];

    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
    (void)gmtime_r(&now.tv_sec, &tm);
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)buf_printf(line, "%s.%06ldZ", text, now.tv_nsec / 1000);
}

static void put_msg(struct buf *line, const char *msg)
{
    size_t before = line->len;

    if (put_text(line, msg) != 0)
        line->len = before; /* messages are constants of ours: such a one is not worth saving */
}

static void build_json(struct buf *line, enum config_log_level level, const char *caller,
                       const char *msg, const struct log_field *fields, size_t count)
{
    (void)buf_printf(line, "{\"level\":\"%s\",\"ts\":\"", level_name(level));
    put_time(line);
    (void)buf_printf(line, "\",\"caller\":\"%s\",\"msg\":\"", caller);
    put_msg(line, msg);
    (void)buf_append_u8(line, '"');
    put_fields(line, fields, count, false);
    line->size_max += LINE_RESERVE;
    (void)buf_append(line, "}\n", 2);
}

/* Columns apart by tabs, as etcd's console format: time, level, caller, message, fields. */
static void build_console(struct buf *line, enum config_log_level level, const char *caller,
                          const char *msg, const struct log_field *fields, size_t count)
{
    put_time(line);
    (void)buf_printf(line, "\t%s\t%s\t", level_name(level), caller);
    put_msg(line, msg);
    if (count != 0) {
        (void)buf_append(line, "\t{", 2);
        put_fields(line, fields, count, true);
        line->size_max += LINE_RESERVE;
        (void)buf_append_u8(line, '}');
    }
    line->size_max += LINE_RESERVE;
    (void)buf_append_u8(line, '\n');
}

/* Errors have nowhere to go: a full disk under the log must not stop the member. */
static void write_line(int fd, const struct buf *line)
{
    size_t done = 0;

    while (done < line->len) {
        ssize_t n = write(fd, line->data + done, line->len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        done += (size_t)n;
    }
}

void log_write(struct log *log, enum config_log_level level, const char *caller, const char *msg,
               const struct log_field *fields, size_t count)
{
    struct buf line;
    int saved = errno;

    if (log == NULL || level < log->level)
        return;
    buf_init(&line, LINE_SIZE_MAX);
    if (log->console)
        build_console(&line, level, caller, msg, fields, count);
    else
        build_json(&line, level, caller, msg, fields, count);
    for (size_t i = 0; i < log->fd_count; i++)
        write_line(log->fds[i], &line);
    buf_release(&line);
    errno = saved; /* callers log between a failed call and the look at errno */
}
