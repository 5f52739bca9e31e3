#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    const char *text;
} table[] = {
#define X(name, text) {#name, text},
    KV_ERROR_MAP(X)
#undef X
};

static int slot_of(int code)
{
    int slot = code - KV_ERROR_BASE - 1;

    return slot >= 0 && (size_t)slot < ARRAY_LEN(table) ? slot : -1;
}

const char *err_text(int code)
{
    int slot = slot_of(code);

    return slot < 0 ? "unknown error" : table[slot].text;
}

const char *err_name(int code)
{
    int slot = slot_of(code);

    return slot < 0 ? NULL : table[slot].name;
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
    va_list args;

    if (err == NULL)
        return code;
    err->code = code;
    va_start(args, fmt);
    (void)vsnprintf(err->text, sizeof err->text, fmt, args); /* cut to fit */
    va_end(args);
    return code;
}

int err_set_errno(struct err *err, int errno_value, const char *fmt, ...)
{
    int code =
        errno_value == ENOSPC || errno_value == EDQUOT || errno_value == EFBIG ? KV_ENOSPC : KV_EIO;
    va_list args;
    size_t len;

    if (err == NULL)
        return code;
    err->code = code;
    va_start(args, fmt);
    (void)vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    len = strlen(err->text);
    (void)snprintf(err->text + len, sizeof err->text - len, ": %s", strerror(errno_value));
    return code;
}

void err_prefix(struct err *err, const char *fmt, ...)
{
    char rest[sizeof err->text];
    va_list args;
    size_t len;

    if (err == NULL)
        return;
    memcpy(rest, err->text, sizeof rest);
    va_start(args, fmt);
    (void)vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    len = strlen(err->text);
    (void)snprintf(err->text + len, sizeof err->text - len, ": %s", rest);
}
