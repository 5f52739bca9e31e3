#include "kube/codec/yaml_scalar.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* ---- words ---- */

static bool resolve_word(struct slice text, struct kube_scalar *out)
{
    static const struct {
        const char *words;
        enum kube_scalar_kind kind;
        bool boolean;
    } table[] = {
        {"y Y yes Yes YES true True TRUE on On ON", KUBE_SCALAR_BOOL, true},
        {"n N no No NO false False FALSE off Off OFF", KUBE_SCALAR_BOOL, false},
        {"~ null Null NULL", KUBE_SCALAR_NULL, false},
        {".nan .NaN .NAN .inf .Inf .INF +.inf +.Inf +.INF -.inf -.Inf -.INF",
         KUBE_SCALAR_NOT_FINITE, false},
        {"<<", KUBE_SCALAR_MERGE, false},
    };

    if (text.len == 0) {
        out->kind = KUBE_SCALAR_NULL;
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        for (const char *word = table[i].words; *word != '\0';) {
            size_t len = strcspn(word, " ");

            if (slice_eq(slice_of(word, len), text)) {
                out->kind = table[i].kind;
                out->boolean = table[i].boolean;
                return true;
            }
            word += len + (word[len] == ' ');
        }
    }
    return false;
}

/* ---- timestamps: the four forms that go-yaml knows ---- */

/* A number of min to max digits. */
static bool take_digits(const char **at, int min, int max, int *out)
{
    int count = 0;

    *out = 0;
    for (; count < max && is_digit((uint8_t) * *at); count++, (*at)++)
        *out = *out * 10 + (**at - '0');
    return count >= min;
}

static bool take_char(const char **at, const char *any)
{
    if (**at == '\0' || strchr(any, **at) == NULL)
        return false;
    (*at)++;
    return true;
}

static int days_in(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

static bool take_date(const char **at)
{
    int year, month, day;

    return take_digits(at, 4, 4, &year) && take_char(at, "-") && take_digits(at, 1, 2, &month) &&
           take_char(at, "-") && take_digits(at, 1, 2, &day) && month >= 1 && month <= 12 &&
           day >= 1 && day <= days_in(year, month);
}

static bool take_clock(const char **at)
{
    int hour, minute, second, fraction;

    if (!take_digits(at, 1, 2, &hour) || !take_char(at, ":") || !take_digits(at, 1, 2, &minute) ||
        !take_char(at, ":") || !take_digits(at, 1, 2, &second))
        return false;
    if (hour > 23 || minute > 59 || second > 59)
        return false;
    return !take_char(at, ".,") || take_digits(at, 1, 9, &fraction);
}

static bool is_timestamp(const char *at)
{
    int hours, minutes;

    if (!take_date(&at))
        return false;
    if (*at == '\0')
        return true;
    if (take_char(&at, " "))
        return take_clock(&at) && *at == '\0';
    if (!take_char(&at, "Tt") || !take_clock(&at))
        return false;
    if (take_char(&at, "Z"))
        return *at == '\0';
    return take_char(&at, "+-") && take_digits(&at, 2, 2, &hours) && take_char(&at, ":") &&
           take_digits(&at, 2, 2, &minutes) && hours <= 24 && minutes < 60 && *at == '\0';
}

/* ---- numbers ---- */

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return 99;
}

/* Go's ParseInt and ParseUint with base 0: 0x, 0o, 0b, and 0 for octal. */
static bool resolve_int(const char *text, struct kube_scalar *out)
{
    bool negative = *text == '-', is_signed = negative || *text == '+';
    uint64_t value = 0;
    int base = 10;

    text += is_signed;
    if (*text == '\0')
        return false;
    if (*text == '0') {
        int prefix = text[1] == '\0' || text[2] == '\0' ? '\0' : text[1] | 0x20;

        base = prefix == 'x' ? 16 : prefix == 'b' ? 2 : 8;
        text += prefix == 'x' || prefix == 'b' || prefix == 'o' ? 2 : 1;
    }
    for (; *text != '\0'; text++) {
        int digit = digit_value(*text);

        if (digit >= base || __builtin_mul_overflow(value, (uint64_t)base, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value))
            return false;
    }
    if (is_signed && value > (uint64_t)INT64_MAX + negative)
        return false;
    out->kind = KUBE_SCALAR_INT;
    (void)snprintf(out->text, sizeof(out->text), "%s%llu", negative && value > 0 ? "-" : "",
                   (unsigned long long)value);
    return true;
}

/* [-+]? (\.[0-9]+ | [0-9]+(\.[0-9]*)?) ([eE][-+]?[0-9]+)? */
static bool looks_like_float(const char *text)
{
    size_t whole, fraction = 0;

    text += *text == '-' || *text == '+';
    whole = strspn(text, "0123456789");
    text += whole;
    if (*text == '.') {
        fraction = strspn(text + 1, "0123456789");
        text += 1 + fraction;
    }
    if (whole + fraction == 0)
        return false;
    if ((*text | 0x20) == 'e') {
        text++;
        text += *text == '-' || *text == '+';
        if (!is_digit((uint8_t)*text))
            return false;
        text += strspn(text, "0123456789");
    }
    return *text == '\0';
}

/* The shortest decimal digits that read back as number, and where the point is: 0.d1d2... *
 * 10^point.
 */
static void shortest(double number, bool single, char *digits, int *point)
{
    char text[KUBE_SCALAR_SIZE];
    size_t count = 0;

    for (int precision = 0; precision <= 17; precision++) {
        (void)snprintf(text, sizeof(text), "%.*e", precision, number);
        if (single ? strtof(text, NULL) == (float)number : strtod(text, NULL) == number)
            break;
    }
    for (const char *at = text; *at != 'e'; at++) {
        if (is_digit((uint8_t)*at))
            digits[count++] = *at;
    }
    digits[count] = '\0';
    *point = atoi(strchr(text, 'e') + 1) + 1;
}

/* Go's layouts: with an exponent outside of [low, high), else all digits. */
static void format_float(double number, bool single, int low, int high, int exponent_width,
                         char *out)
{
    char digits[KUBE_SCALAR_SIZE];
    int point, count;
    bool negative = signbit(number);

    shortest(fabs(number), single, digits, &point);
    count = (int)strlen(digits);
    if (number == 0)
        (void)snprintf(out, KUBE_SCALAR_SIZE, "%s0", negative ? "-" : "");
    else if (point - 1 < low || point - 1 >= high)
        (void)snprintf(out, KUBE_SCALAR_SIZE, "%s%c%s%.20se%c%0*d", negative ? "-" : "", digits[0],
                       count > 1 ? "." : "", digits + 1, point - 1 < 0 ? '-' : '+', exponent_width,
                       abs(point - 1) % 1000);
    else if (point <= 0)
        (void)snprintf(out, KUBE_SCALAR_SIZE, "%s0.%.*s%.20s", negative ? "-" : "", -point,
                       "0000000000", digits);
    else if (count <= point)
        (void)snprintf(out, KUBE_SCALAR_SIZE, "%s%.20s%.*s", negative ? "-" : "", digits,
                       point - count, "00000000000000000000000");
    else
        (void)snprintf(out, KUBE_SCALAR_SIZE, "%s%.*s.%.20s", negative ? "-" : "", MIN(point, 20),
                       digits, digits + point);
}

static bool resolve_float(const char *text, struct kube_scalar *out)
{
    if (!looks_like_float(text))
        return false;
    out->number = strtod(text, NULL);
    if (!isfinite(out->number))
        return false;
    out->kind = KUBE_SCALAR_FLOAT;
    /* encoding/json: exponents below 1e-6 and from 1e21 on. */
    format_float(out->number, false, -6, 21, 1, out->text);
    return true;
}

void kube_scalar_float_key(double number, char *out)
{
    format_float(number, true, -4, 6, 2, out);
}

/* Longer texts are no numbers. */
#define NUMBER_LEN_MAX 400

struct kube_scalar kube_scalar_resolve(struct slice plain)
{
    struct kube_scalar out = {.kind = KUBE_SCALAR_STRING};
    char text[NUMBER_LEN_MAX + 1];
    size_t len = 0;

    if (resolve_word(plain, &out))
        return out;
    if (plain.len > NUMBER_LEN_MAX || memchr(plain.data, '\0', plain.len) != NULL)
        return out;
    if (plain.data[0] != '.' && plain.data[0] != '+' && plain.data[0] != '-' &&
        !is_digit(plain.data[0]))
        return out;
    memcpy(text, plain.data, plain.len);
    text[plain.len] = '\0';
    if (is_timestamp(text)) {
        out.kind = KUBE_SCALAR_TIMESTAMP;
        return out;
    }
    for (size_t i = 0; i < plain.len; i++) {
        /* 1_000 is a thousand; ._5 is nothing. */
        if (plain.data[i] != '_' || plain.data[0] == '.')
            text[len++] = (char)plain.data[i];
    }
    text[len] = '\0';
    if (plain.data[0] == '.' || !resolve_int(text, &out))
        (void)resolve_float(text, &out);
    return out;
}

/* [-+]? [0-9][0-9_]* (:[0-5]?[0-9])+ (\.[0-9_]*)? */
bool kube_scalar_is_base60(struct slice text)
{
    size_t i = text.len > 0 && (text.data[0] == '-' || text.data[0] == '+');
    unsigned parts = 0;

    if (i >= text.len || !is_digit(text.data[i]))
        return false;
    while (i < text.len && (is_digit(text.data[i]) || text.data[i] == '_'))
        i++;
    for (; i + 1 < text.len && text.data[i] == ':' && is_digit(text.data[i + 1]); parts++) {
        i += 2;
        if (i < text.len && is_digit(text.data[i])) {
            if (text.data[i - 1] > '5')
                return false;
            i++;
        }
    }
    if (parts > 0 && i < text.len && text.data[i] == '.') {
        for (i++; i < text.len && (is_digit(text.data[i]) || text.data[i] == '_');)
            i++;
    }
    return parts > 0 && i == text.len;
}
