/* apimachinery's Quantity: a decimal number with a suffix, rewritten so that equal amounts in one
 * format have one text. Digits are kept as digits: any length, no rounding but upstream's. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "kube/check/internal.h"

enum format { DECIMAL_SI, DECIMAL_EXPONENT, BINARY_SI };

/* digits (most significant first, without leading zeros; none: zero) * 10^exponent. */
struct number {
    uint8_t *digits;
    size_t len;
    int64_t exponent;
    bool negative;
    enum format format;
};

struct suffix {
    const char *text;
    enum format format;
    int power; /* of 10 or of 1024 */
};

static const struct suffix suffixes[] = {
    {"", DECIMAL_SI, 0},   {"n", DECIMAL_SI, -9}, {"u", DECIMAL_SI, -6}, {"m", DECIMAL_SI, -3},
    {"k", DECIMAL_SI, 3},  {"M", DECIMAL_SI, 6},  {"G", DECIMAL_SI, 9},  {"T", DECIMAL_SI, 12},
    {"P", DECIMAL_SI, 15}, {"E", DECIMAL_SI, 18}, {"Ki", BINARY_SI, 1},  {"Mi", BINARY_SI, 2},
    {"Gi", BINARY_SI, 3},  {"Ti", BINARY_SI, 4},  {"Pi", BINARY_SI, 5},  {"Ei", BINARY_SI, 6},
};

#define FORMAT_WRONG                                                                               \
    "quantities must match the regular expression "                                                \
    "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
#define SUFFIX_WRONG "unable to parse quantity's suffix"

#define NANO (-9)
/* 1024^6 has 19 digits; one more for each of the two zeros that make an exponent one of 3. */
#define ROOM 24

static size_t run_of(struct slice text, size_t at, const char *set)
{
    size_t began = at;

    while (at < text.len && text.data[at] != '\0' && strchr(set, text.data[at]) != NULL)
        at++;
    return at - began;
}

static const char digits_set[] = "0123456789";

/* "e3", "E-3": the power of ten. */
static bool exponent_of(struct slice suffix, int *power)
{
    char text[16];
    char *end;
    long value;

    if (suffix.len < 2 || suffix.len >= sizeof(text) || (suffix.data[0] | 0x20) != 'e')
        return false;
    memcpy(text, suffix.data + 1, suffix.len - 1);
    text[suffix.len - 1] = '\0';
    value = strtol(text, &end, 10);
    if (*end != '\0' || end == text || value < -100000000 || value > 100000000)
        return false;
    *power = (int)value;
    return true;
}

static bool find_suffix(struct slice text, struct suffix *out)
{
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        if (slice_eq(text, slice_str(suffixes[i].text))) {
            *out = suffixes[i];
            return true;
        }
    }
    out->format = DECIMAL_EXPONENT;
    return exponent_of(text, &out->power);
}

/* Drops leading zeros; what is left without digits is zero. */
static void trim(struct number *number)
{
    while (number->len > 0 && number->digits[0] == 0) {
        number->digits++;
        number->len--;
    }
    if (number->len == 0)
        number->negative = false;
}

static void multiply_1024(struct number *number)
{
    unsigned carry = 0;

    for (size_t i = number->len; i-- > 0;) {
        carry += number->digits[i] * 1024u;
        number->digits[i] = (uint8_t)(carry % 10);
        carry /= 10;
    }
    for (; carry > 0; carry /= 10) { /* read_digits() left room in front */
        *--number->digits = (uint8_t)(carry % 10);
        number->len++;
    }
}

/* Digits of the text behind ROOM free bytes. */
static void read_digits(struct arena *arena, struct number *number, struct slice whole,
                        struct slice part)
{
    number->digits = (uint8_t *)arena_alloc(arena, 2 * ROOM + whole.len + part.len) + ROOM;
    number->len = 0;
    for (size_t i = 0; i < whole.len; i++)
        number->digits[number->len++] = (uint8_t)(whole.data[i] - '0');
    for (size_t i = 0; i < part.len; i++)
        number->digits[number->len++] = (uint8_t)(part.data[i] - '0');
    number->exponent = -(int64_t)part.len;
    trim(number);
}

static void add_one(struct number *number)
{
    for (size_t i = number->len; i-- > 0;) {
        if (++number->digits[i] < 10)
            return;
        number->digits[i] = 0;
    }
    *--number->digits = 1;
    number->len++;
}

/* Anything below a nano is rounded away from zero: who asks for some gets some. */
static void round_to_nano(struct number *number)
{
    bool rest = false;
    bool negative = number->negative;

    if (number->len == 0 || number->exponent >= NANO)
        return;
    while (number->exponent < NANO && number->len > 0) {
        rest = rest || number->digits[number->len - 1] != 0;
        number->len--;
        number->exponent++;
    }
    number->exponent = NANO;
    if (rest)
        add_one(number);
    number->negative = negative && number->len > 0;
}

static void drop_trailing_zeros(struct number *number)
{
    while (number->len > 0 && number->digits[number->len - 1] == 0) {
        number->len--;
        number->exponent++;
    }
}

/* A whole number with its digits written out; only for exponents that parse as binary. */
static bool is_whole(struct number *number)
{
    drop_trailing_zeros(number);
    if (number->exponent < 0)
        return false;
    while (number->exponent > 0) { /* at most ROOM - 1 that multiply_1024() let in */
        number->digits[number->len++] = 0;
        number->exponent--;
    }
    return true;
}

static int compare_whole(const struct number *number, const char *digits)
{
    size_t len = strlen(digits);

    if (number->len != len)
        return number->len < len ? -1 : 1;
    for (size_t i = 0; i < len; i++) {
        if (number->digits[i] != digits[i] - '0')
            return number->digits[i] < digits[i] - '0' ? -1 : 1;
    }
    return 0;
}

static bool divides_by_1024(const struct number *number)
{
    unsigned rest = 0;

    for (size_t i = 0; i < number->len; i++)
        rest = (rest * 10 + number->digits[i]) % 1024;
    return rest == 0;
}

static void divide_by_1024(struct number *number)
{
    unsigned rest = 0;

    for (size_t i = 0; i < number->len; i++) {
        rest = rest * 10 + number->digits[i];
        number->digits[i] = (uint8_t)(rest / 1024);
        rest %= 1024;
    }
    trim(number);
}

static struct slice print(struct arena *arena, const struct number *number, const char *suffix)
{
    size_t len = strlen(suffix), sign = number->negative ? 1 : 0;
    char *out = arena_alloc(arena, sign + number->len + len + 1);

    out[0] = '-';
    for (size_t i = 0; i < number->len; i++)
        out[sign + i] = (char)('0' + number->digits[i]);
    memcpy(out + sign + number->len, suffix, len + 1);
    return slice_of(out, sign + number->len + len);
}

static struct slice print_decimal(struct arena *arena, struct number *number)
{
    const char *suffix = NULL;

    drop_trailing_zeros(number);
    while (number->exponent % 3 != 0) {
        number->digits[number->len++] = 0;
        number->exponent--;
    }
    if (number->format != DECIMAL_EXPONENT) {
        for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
            if (suffixes[i].format == DECIMAL_SI && suffixes[i].power == number->exponent)
                suffix = suffixes[i].text;
        }
    }
    if (suffix == NULL)
        suffix =
            number->exponent == 0 ? "" : check__print(arena, "e%lld", (long long)number->exponent);
    return print(arena, number, suffix);
}

static struct slice print_binary(struct arena *arena, struct number *number)
{
    const char *suffix = "";

    for (int power = 1; power <= 6 && divides_by_1024(number); power++) {
        divide_by_1024(number);
        suffix = suffixes[9 + power].text;
    }
    return print(arena, number, suffix);
}

/* Binary amounts stay so if they are whole and not small; none is above what an int64 holds. */
static bool stays_binary(struct arena *arena, struct number *number)
{
    static const char largest[] = "9223372036854775807";

    if (number->format != BINARY_SI || !is_whole(number) || compare_whole(number, "1024") < 0)
        return false;
    if (compare_whole(number, largest) > 0) {
        bool negative = number->negative;

        read_digits(arena, number, slice_str(largest), slice_of(NULL, 0));
        number->negative = negative;
    }
    return true;
}

static const char *parse(struct arena *arena, struct slice text, struct number *out)
{
    struct slice whole, part = {NULL, 0};
    struct suffix suffix;
    size_t at = 0, began;

    if (text.len == 0)
        return FORMAT_WRONG;
    out->negative = text.data[0] == '-';
    at += text.data[0] == '-' || text.data[0] == '+';
    whole = slice_of(text.data + at, run_of(text, at, digits_set));
    at += whole.len;
    if (at < text.len && text.data[at] == '.') {
        part = slice_of(text.data + at + 1, run_of(text, at + 1, digits_set));
        at += 1 + part.len;
    }
    began = at;
    at += run_of(text, at, "eEinumkKMGTP");
    at += at < text.len && (text.data[at] == '+' || text.data[at] == '-');
    at += run_of(text, at, digits_set);
    if (at != text.len)
        return FORMAT_WRONG;
    if (!find_suffix(slice_of(text.data + began, at - began), &suffix))
        return SUFFIX_WRONG;
    read_digits(arena, out, whole, part);
    out->format = suffix.format;
    if (suffix.format != BINARY_SI)
        out->exponent += suffix.power;
    for (int i = 0; suffix.format == BINARY_SI && i < suffix.power; i++)
        multiply_1024(out);
    round_to_nano(out);
    return NULL;
}

static struct slice trimmed(struct slice text)
{
    while (text.len > 0 && strchr(" \t\r\n\v\f", text.data[0]) != NULL && text.data[0] != '\0') {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && text.data[text.len - 1] != '\0' &&
           strchr(" \t\r\n\v\f", text.data[text.len - 1]) != NULL)
        text.len--;
    return text;
}

/* Most quantities are a few digits, perhaps with m or Mi, and already canonical. */
static bool is_canonical(struct slice text)
{
    size_t digits = run_of(text, 0, digits_set);

    if (digits == 0 || digits > 3 || (text.data[0] == '0' && text.len > 1))
        return false;
    if (digits == text.len)
        return true;
    return text.len == digits + 1 && text.data[digits] == 'm';
}

const char *check__quantity(struct arena *arena, struct slice text, struct slice *out)
{
    struct number number = {NULL, 0, 0, false, DECIMAL_SI};
    const char *why;

    text = trimmed(text);
    if (is_canonical(text)) {
        *out = text;
        return NULL;
    }
    why = parse(arena, text, &number);
    if (why != NULL)
        return why;
    if (number.len == 0)
        *out = slice_str("0");
    else if (stays_binary(arena, &number))
        *out = print_binary(arena, &number);
    else
        *out = print_decimal(arena, &number);
    return NULL;
}

int kube_quantity(struct arena *arena, struct slice text, struct slice *out)
{
    return check__quantity(arena, text, out) == NULL ? 0 : KV_EINVAL;
}

/* Digits with one of the common suffixes, without memory of its own. */
static bool read_plain(struct slice text, int64_t *out)
{
    struct suffix suffix;
    size_t digits = run_of(text, 0, digits_set);
    int64_t value = 0, factor = 1000;

    if (digits == 0 || digits > 12 ||
        !find_suffix(slice_of(text.data + digits, text.len - digits), &suffix))
        return false;
    for (size_t i = 0; i < digits; i++)
        value = value * 10 + (text.data[i] - '0');
    if (suffix.format == DECIMAL_EXPONENT || suffix.power < -3 || suffix.power > 12)
        return false;
    if (suffix.format == DECIMAL_SI && suffix.power < 0)
        factor = 1;
    for (int i = 0; i < suffix.power; i++) {
        if (__builtin_mul_overflow(factor, suffix.format == BINARY_SI ? 1024 : 10, &factor))
            return false;
    }
    return !__builtin_mul_overflow(value, factor, out);
}

/* In thousandths, rounded away from zero as Quantity.MilliValue() does. */
static int64_t milli_of(struct number *number)
{
    int64_t value = 0;
    bool rest = false, saturated = false;

    number->exponent += 3;
    for (; number->exponent < 0 && number->len > 0; number->exponent++)
        rest = number->digits[--number->len] != 0 || rest;
    for (size_t i = 0; i < number->len && !saturated; i++)
        saturated = __builtin_mul_overflow(value, 10, &value) ||
                    __builtin_add_overflow(value, number->digits[i], &value);
    for (; number->exponent > 0 && value != 0 && !saturated; number->exponent--)
        saturated = __builtin_mul_overflow(value, 10, &value);
    if (saturated)
        value = INT64_MAX;
    else if (rest && value < INT64_MAX)
        value++;
    return number->negative ? -value : value;
}

bool kube_quantity_milli(struct slice text, int64_t *out)
{
    struct arena arena = ARENA_INIT;
    struct number number = {NULL, 0, 0, false, DECIMAL_SI};
    bool ok;

    if (read_plain(text, out))
        return true;
    ok = parse(&arena, trimmed(text), &number) == NULL;
    if (ok)
        *out = milli_of(&number);
    arena_release(&arena);
    return ok;
}
