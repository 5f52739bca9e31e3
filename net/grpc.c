#include "net/grpc.h"

#include <string.h>

#include "base/util.h"
#include "net/server_internal.h"

const char *grpc_status_name(enum grpc_status status)
{
    static const char *const names[GRPC_STATUS_COUNT] = {
        [GRPC_OK] = "OK",
        [GRPC_CANCELLED] = "Canceled",
        [GRPC_UNKNOWN] = "Unknown",
        [GRPC_INVALID_ARGUMENT] = "InvalidArgument",
        [GRPC_DEADLINE_EXCEEDED] = "DeadlineExceeded",
        [GRPC_NOT_FOUND] = "NotFound",
        [GRPC_ALREADY_EXISTS] = "AlreadyExists",
        [GRPC_PERMISSION_DENIED] = "PermissionDenied",
        [GRPC_RESOURCE_EXHAUSTED] = "ResourceExhausted",
        [GRPC_FAILED_PRECONDITION] = "FailedPrecondition",
        [GRPC_ABORTED] = "Aborted",
        [GRPC_OUT_OF_RANGE] = "OutOfRange",
        [GRPC_UNIMPLEMENTED] = "Unimplemented",
        [GRPC_INTERNAL] = "Internal",
        [GRPC_UNAVAILABLE] = "Unavailable",
        [GRPC_DATA_LOSS] = "DataLoss",
        [GRPC_UNAUTHENTICATED] = "Unauthenticated",
    };

    return (size_t)status < ARRAY_LEN(names) ? names[status] : "Unknown";
}

/* Length of the well-formed UTF-8 character at p, 0 if there is none (Unicode table 3-7). */
static size_t utf8_len(const uint8_t *p, size_t left)
{
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

    if (len == 0 || len > left || p[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

static size_t escape_byte(char *out, uint8_t byte)
{
    static const char digits[] = "0123456789ABCDEF";

    if (byte >= 0x20 && byte <= 0x7e && byte != '%') {
        out[0] = (char)byte;
        return 1;
    }
    out[0] = '%';
    out[1] = digits[byte >> 4];
    out[2] = digits[byte & 15];
    return 3;
}

/* gRPC's percent-encoding. What is not UTF-8 becomes U+FFFD: some clients refuse the whole answer
 * otherwise. */
struct slice grpc__escape(struct arena *arena, const char *message)
{
    static const uint8_t replacement[] = {0xef, 0xbf, 0xbd};
    const uint8_t *p = (const uint8_t *)message;
    size_t left = strnlen(message, GRPC_MESSAGE_MAX);
    char *out = arena_alloc(arena, left * 9 + 1); /* worst: every byte replaced by 3 x "%XX" */
    size_t len = 0;

    while (left > 0) {
        size_t n = utf8_len(p, left);
        const uint8_t *from = n != 0 ? p : replacement;
        size_t count = n != 0 ? n : sizeof(replacement);

        for (size_t i = 0; i < count; i++)
            len += escape_byte(out + len, from[i]);
        n = MAX(n, (size_t)1);
        p += n;
        left -= n;
    }
    return slice_of(out, len);
}

int grpc__timeout(struct slice value, uint64_t *out_ms)
{
    static const struct {
        char unit;
        uint64_t mul;
        uint64_t div;
    } units[] = {{'H', 3600000, 1}, {'M', 60000, 1}, {'S', 1000, 1},
                 {'m', 1, 1},       {'u', 1, 1000},  {'n', 1, 1000000}};
    uint64_t number = 0;

    if (value.len < 2 || value.len > 9)
        return KV_EPROTO;
    for (size_t i = 0; i < value.len - 1; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return KV_EPROTO;
        number = number * 10 + (uint64_t)(value.data[i] - '0');
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (value.data[value.len - 1] != (uint8_t)units[i].unit)
            continue;
        /* Rounded up: a deadline that is too early breaks the caller, one too late does not. */
        *out_ms = (number * units[i].mul + units[i].div - 1) / units[i].div;
        return 0;
    }
    return KV_EPROTO;
}

/* https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md: "application/grpc" then nothing,
 * "+subtype" or ";parameters". */
bool grpc__content_type(struct slice value)
{
    static const char base[] = "application/grpc";
    const size_t n = sizeof(base) - 1;

    if (value.len < n || memcmp(value.data, base, n) != 0)
        return false;
    return value.len == n || value.data[n] == '+' || value.data[n] == ';';
}
