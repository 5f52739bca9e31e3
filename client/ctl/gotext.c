#include "client/ctl/gotext.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/util.h"

size_t utf8_decode(struct slice text, uint32_t *out)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len, i;
    uint32_t rune;

    if (text.len == 0)
        return 0;
    rune = text.data[0];
    len = rune < 0x80 ? 1 : rune >= 0xf0 ? 4 : rune >= 0xe0 ? 3 : 2;
    if ((rune >= 0x80 && rune < 0xc2) || rune > 0xf4 || len > text.len)
        return 0;
    rune &= len == 1 ? 0x7f : 0xffu >> (len + 1);
    for (i = 1; i < len; i++) {
        if ((text.data[i] & 0xc0) != 0x80)
            return 0;
        rune = rune << 6 | (text.data[i] & 0x3f);
    }
    if (rune < least[len] || rune > 0x10ffff || (rune >= 0xd800 && rune <= 0xdfff))
        return 0;
    *out = rune;
    return len;
}

/* unicode.IsPrint, for the code points that are assigned: no controls, no spaces but ASCII's, no
 * format characters, no private use. */
static bool is_print(uint32_t rune)
{
    static const uint32_t hidden[][2] = {
        {0x00, 0x1f},     {0x7f, 0xa0},     {0xad, 0xad},     {0x61c, 0x61c},   {0x1680, 0x1680},
        {0x180e, 0x180e}, {0x2000, 0x200f}, {0x2028, 0x202f}, {0x205f, 0x206f}, {0x3000, 0x3000},
        {0xe000, 0xf8ff}, {0xfeff, 0xfeff}, {0xfff0, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0x10ffff},
    };
    size_t i;

    for (i = 0; i < ARRAY_LEN(hidden); i++) {
        if (rune >= hidden[i][0] && rune <= hidden[i][1])
            return false;
    }
    return true;
}

static const char escape_letter[] = "abfnrtv\\\"";
static const char escape_value[] = "\a\b\f\n\r\t\v\\\"";

static void quote_rune(FILE *out, struct slice bytes, uint32_t rune)
{
    const char *escape = rune != 0 && rune < 0x80 ? strchr(escape_value, (int)rune) : NULL;

    if (escape != NULL)
        fprintf(out, "\\%c", escape_letter[escape - escape_value]);
    else if (is_print(rune))
        fwrite(bytes.data, 1, bytes.len, out);
    else if (rune < 0x80)
        fprintf(out, "\\x%02x", rune);
    else
        fprintf(out, rune > 0xffff ? "\\U%08x" : "\\u%04x", rune);
}

void go_quote(FILE *out, struct slice text)
{
    uint32_t rune = 0;

    fputc('"', out);
    while (text.len != 0) {
        size_t len = utf8_decode(text, &rune);

        if (len == 0) {
            fprintf(out, "\\x%02x", text.data[0]);
            len = 1;
        } else {
            quote_rune(out, slice_of(text.data, len), rune);
        }
        text = slice_of(text.data + len, text.len - len);
    }
    fputc('"', out);
}

static size_t utf8_encode(uint32_t rune, uint8_t *out)
{
    if (rune < 0x80) {
        out[0] = (uint8_t)rune;
        return 1;
    }
    if (rune < 0x800) {
        out[0] = (uint8_t)(0xc0 | rune >> 6);
        out[1] = (uint8_t)(0x80 | (rune & 0x3f));
        return 2;
    }
    if (rune < 0x10000) {
        out[0] = (uint8_t)(0xe0 | rune >> 12);
        out[1] = (uint8_t)(0x80 | (rune >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (rune & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | rune >> 18);
    out[1] = (uint8_t)(0x80 | (rune >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (rune >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (rune & 0x3f));
    return 4;
}

static int digit_of(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

/* digits digits of a base at the front of *text; false if there are fewer. */
static bool take_number(struct slice *text, size_t digits, uint32_t base, uint32_t *out)
{
    size_t i;

    if (text->len < digits)
        return false;
    *out = 0;
    for (i = 0; i < digits; i++) {
        int digit = digit_of(text->data[i]);

        if ((uint32_t)digit >= base)
            return false;
        *out = *out * base + (uint32_t)digit;
    }
    *text = slice_of(text->data + digits, text->len - digits);
    return true;
}

/* What follows a backslash; writes at most 4 bytes to out. 0: no such escape. */
static size_t take_escape(struct slice *text, uint8_t *out)
{
    const char *letter;
    uint32_t value = 0;
    uint8_t c;

    if (text->len == 0)
        return 0;
    c = text->data[0];
    if (c >= '0' && c <= '7') {
        if (!take_number(text, 3, 8, &value) || value > 0xff)
            return 0;
        out[0] = (uint8_t)value;
        return 1;
    }
    *text = slice_of(text->data + 1, text->len - 1);
    letter = c != 0 ? strchr(escape_letter, c) : NULL;
    if (letter != NULL) {
        out[0] = (uint8_t)escape_value[letter - escape_letter];
        return 1;
    }
    if (c == 'x' && take_number(text, 2, 16, &value)) {
        out[0] = (uint8_t)value;
        return 1;
    }
    if ((c == 'u' && take_number(text, 4, 16, &value)) ||
        (c == 'U' && take_number(text, 8, 16, &value)))
        return value <= 0x10ffff && (value < 0xd800 || value > 0xdfff) ? utf8_encode(value, out)
                                                                       : 0;
    return 0;
}

static bool unquote_raw(struct slice *text, struct slice *out)
{
    const uint8_t *end = memchr(text->data + 1, '`', text->len - 1);

    if (end == NULL)
        return false;
    *out = slice_of(text->data + 1, (size_t)(end - text->data) - 1);
    *text = slice_of(end + 1, text->len - out->len - 2);
    return true;
}

bool go_unquote(struct slice *text, struct arena *arena, struct slice *out)
{
    struct slice rest = *text;
    uint8_t *bytes;
    size_t len = 0, n;

    if (rest.len < 2 || (rest.data[0] != '"' && rest.data[0] != '`'))
        return false;
    if (rest.data[0] == '`')
        return unquote_raw(text, out);

    bytes = arena_alloc(arena, rest.len); /* no escape is shorter than what it stands for */
    rest = slice_of(rest.data + 1, rest.len - 1);
    while (rest.len != 0 && rest.data[0] != '"') {
        uint8_t c = rest.data[0];

        if (c == '\n')
            return false;
        rest = slice_of(rest.data + 1, rest.len - 1);
        n = 1;
        if (c != '\\')
            bytes[len] = c;
        else
            n = take_escape(&rest, bytes + len);
        if (n == 0)
            return false;
        len += n;
    }
    if (rest.len == 0)
        return false;
    *text = slice_of(rest.data + 1, rest.len - 1);
    *out = slice_of(bytes, len);
    return true;
}

static const struct {
    const char *name;
    int64_t ns;
} units[] = {
    {"ns", 1},       {"us", 1000},      {"\xc2\xb5s", 1000}, {"\xce\xbcs", 1000},
    {"ms", 1000000}, {"s", 1000000000}, {"m", 60000000000},  {"h", 3600000000000},
};

/* The unit at the front of text: letters up to the next digit or dot. */
static int64_t take_unit(const char **text)
{
    size_t len = strcspn(*text, ".0123456789"), i;

    for (i = 0; i < ARRAY_LEN(units); i++) {
        if (strlen(units[i].name) == len && memcmp(units[i].name, *text, len) == 0) {
            *text += len;
            return units[i].ns;
        }
    }
    return 0;
}

bool go_parse_duration(const char *text, int64_t *out_ns)
{
    const char *at = text;
    double total = 0;
    bool negative = *at == '-';
    int64_t unit;
    char *end;

    if (*at == '-' || *at == '+')
        at++;
    if (strcmp(at, "0") == 0) {
        *out_ns = 0;
        return true;
    }
    do {
        double value;

        /* strtod() alone would also take signs, "inf" and "0x1p3" */
        if (strspn(at, ".0123456789") == 0)
            return false;
        value = strtod(at, &end);
        if (end != at + strspn(at, ".0123456789"))
            return false;
        at = end;
        unit = take_unit(&at);
        if (unit == 0)
            return false;
        total += value * (double)unit;
    } while (*at != '\0');
    if (total > 9.2e18)
        return false;
    *out_ns = (int64_t)(negative ? -total : total);
    return true;
}

/* value / unit with at most digits decimals and no zeros at the end. */
static void format_fraction(char *out, size_t size, uint64_t value, uint64_t unit, int digits,
                            const char *suffix)
{
    char decimals[24];
    int len;

    (void)snprintf(decimals, sizeof decimals, "%0*" PRIu64, digits, value % unit);
    len = digits;
    while (len > 0 && decimals[len - 1] == '0')
        len--;
    (void)snprintf(out, size, "%" PRIu64 "%s%.*s%s", value / unit, len > 0 ? "." : "", len,
                   decimals, suffix);
}

void go_format_duration(int64_t ns, char out[GO_TEXT_MAX])
{
    uint64_t value = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;
    uint64_t minutes = value / 60000000000;
    char *at = out;

    if (ns < 0)
        *at++ = '-';
    if (value == 0)
        (void)snprintf(at, 3, "0s");
    else if (value < 1000)
        (void)snprintf(at, 24, "%" PRIu64 "ns", value);
    else if (value < 1000000)
        format_fraction(at, 24, value, 1000, 3, "\xc2\xb5s");
    else if (value < 1000000000)
        format_fraction(at, 24, value, 1000000, 6, "ms");
    else {
        if (minutes >= 60)
            at += snprintf(at, 16, "%" PRIu64 "h", minutes / 60);
        if (minutes > 0)
            at += snprintf(at, 8, "%" PRIu64 "m", minutes % 60);
        format_fraction(at, 20, value % 60000000000, 1000000000, 9, "s");
    }
}

bool go_parse_bool(const char *text, bool *out)
{
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
    static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};
    size_t i;

    for (i = 0; i < ARRAY_LEN(yes); i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *out = strcmp(text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

bool go_parse_int(const char *text, int base, int64_t *out)
{
    const char *digits = text + (*text == '-' || *text == '+');
    const char *allowed = base == 16 ? "0123456789abcdefABCDEF" : "0123456789";
    long long value;

    if (*digits == '\0' || digits[strspn(digits, allowed)] != '\0')
        return false;
    errno = 0;
    value = strtoll(text, NULL, base);
    if (errno != 0)
        return false;
    *out = value;
    return true;
}

void go_format_bytes(uint64_t bytes, char out[GO_TEXT_MAX])
{
    static const char *const names[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes;
    size_t unit = 0;

    if (bytes < 10) {
        (void)snprintf(out, GO_TEXT_MAX, "%" PRIu64 " B", bytes);
        return;
    }
    while (value >= 1000 && unit + 1 < ARRAY_LEN(names)) {
        value /= 1000;
        unit++;
    }
    value = (double)(uint64_t)(value * 10 + 0.5) / 10;
    (void)snprintf(out, GO_TEXT_MAX, value < 10 ? "%.1f %s" : "%.0f %s", value, names[unit]);
}
