/* Times and durations as Go's time package reads and writes them. */
#include <stdio.h>
#include <string.h>

#include "kube/check/internal.h"

#define RFC3339 "2006-01-02T15:04:05Z07:00"
#define RFC3339_MICRO "2006-01-02T15:04:05.000000Z07:00"

struct moment {
    int year, month, day, hour, minute, second, micros;
    int offset_s; /* east of UTC */
};

/* ---- the calendar (proleptic Gregorian) ---- */

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_in(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Years are counted from March, so that the leap day is the last; 400 years are an era. */
static int64_t days_since_1970(int year, int month, int day)
{
    int64_t y = year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

static void date_of(int64_t days, struct moment *out)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t day_of_era = z - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;

    out->day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    out->month = (int)(month < 10 ? month + 3 : month - 9);
    out->year = (int)(year_of_era + era * 400 + (out->month <= 2));
}

static int64_t seconds_of(const struct moment *m)
{
    return days_since_1970(m->year, m->month, m->day) * 86400 + m->hour * 3600 + m->minute * 60 +
           m->second - m->offset_s;
}

/* ---- reading ---- */

struct reader {
    struct slice text;
    size_t at;
    const char *element; /* of the layout, that could not be read */
    const char *range;   /* "month": what was out of range */
};

static bool literal(struct reader *r, char c, const char *element)
{
    r->element = element;
    if (r->at >= r->text.len || r->text.data[r->at] != (uint8_t)c)
        return false;
    r->at++;
    return true;
}

static bool is_digit(const struct reader *r, size_t at)
{
    return at < r->text.len && r->text.data[at] >= '0' && r->text.data[at] <= '9';
}

static bool digits(struct reader *r, size_t count, const char *element, int *out)
{
    r->element = element;
    *out = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_digit(r, r->at + i))
            return false;
        *out = *out * 10 + (r->text.data[r->at + i] - '0');
    }
    r->at += count;
    return true;
}

static bool within(struct reader *r, int value, int low, int high, const char *what)
{
    if (value < low || value > high)
        r->range = what;
    return r->range == NULL;
}

/* Behind the seconds; any number of digits where the layout has none, six where it has six. */
static bool fraction(struct reader *r, bool micro, int *micros)
{
    size_t began = r->at + 1, count = 0;
    bool there = r->at < r->text.len && (r->text.data[r->at] == '.' || r->text.data[r->at] == ',');

    r->element = ".000000";
    *micros = 0;
    while (there && is_digit(r, began + count)) {
        if (count < 6)
            *micros = *micros * 10 + (r->text.data[began + count] - '0');
        count++;
    }
    if (micro && count != 6)
        return false;
    for (size_t i = count; i < 6; i++)
        *micros *= 10;
    if (count > 0)
        r->at = began + count;
    return true;
}

static bool zone(struct reader *r, int *offset_s)
{
    int hours, minutes, sign;

    r->element = "Z07:00";
    *offset_s = 0;
    if (r->at < r->text.len && r->text.data[r->at] == 'Z') {
        r->at++;
        return true;
    }
    if (r->at + 6 > r->text.len || (r->text.data[r->at] != '+' && r->text.data[r->at] != '-') ||
        r->text.data[r->at + 3] != ':')
        return false;
    sign = r->text.data[r->at] == '-' ? -1 : 1;
    for (size_t i = 1; i < 6; i++) {
        if (i != 3 && !is_digit(r, r->at + i))
            return false;
    }
    r->at++;
    (void)digits(r, 2, "Z07:00", &hours);
    r->at++;
    (void)digits(r, 2, "Z07:00", &minutes);
    if (!within(r, hours, 0, 24, "time zone offset hour") ||
        !within(r, minutes, 0, 60, "time zone offset minute"))
        return false;
    *offset_s = sign * (hours * 3600 + minutes * 60);
    return true;
}

static bool read_moment(struct reader *r, bool micro, struct moment *m)
{
    return digits(r, 4, "2006", &m->year) && literal(r, '-', "-") &&
           digits(r, 2, "01", &m->month) && within(r, m->month, 1, 12, "month") &&
           literal(r, '-', "-") && digits(r, 2, "02", &m->day) && literal(r, 'T', "T") &&
           digits(r, 2, "15", &m->hour) && within(r, m->hour, 0, 23, "hour") &&
           literal(r, ':', ":") && digits(r, 2, "04", &m->minute) &&
           within(r, m->minute, 0, 59, "minute") && literal(r, ':', ":") &&
           digits(r, 2, "05", &m->second) && within(r, m->second, 0, 59, "second") &&
           fraction(r, micro, &m->micros) && zone(r, &m->offset_s) &&
           within(r, m->day, 1, days_in(m->year, m->month), "day");
}

static const char *why_not(struct arena *arena, const struct reader *r, const char *layout)
{
    const char *text = check__quote(arena, r->text);
    const char *rest = check__quote(arena, slice_of(r->text.data + r->at, r->text.len - r->at));

    if (r->range != NULL)
        return check__print(arena, "parsing time %s: %s out of range", text, r->range);
    if (r->element == NULL)
        return check__print(arena, "parsing time %s: extra text: %s", text, rest);
    return check__print(arena, "parsing time %s as \"%s\": cannot parse %s as \"%s\"", text, layout,
                        rest, r->element);
}

static struct slice print_moment(struct arena *arena, const struct moment *m, bool micro)
{
    if (micro)
        return slice_str(check__print(arena, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", m->year,
                                      m->month, m->day, m->hour, m->minute, m->second, m->micros));
    return slice_str(check__print(arena, "%04d-%02d-%02dT%02d:%02d:%02dZ", m->year, m->month,
                                  m->day, m->hour, m->minute, m->second));
}

const char *check__time(struct arena *arena, struct slice text, bool micro, struct slice *out)
{
    struct reader r = {.text = text};
    struct moment m;
    int64_t seconds, of_day;

    if (!read_moment(&r, micro, &m))
        return why_not(arena, &r, micro ? RFC3339_MICRO : RFC3339);
    r.element = NULL;
    if (r.at != text.len)
        return why_not(arena, &r, RFC3339);
    if (m.offset_s == 0 && text.data[text.len - 1] == 'Z' && text.len == (micro ? 27 : 20) &&
        text.data[19] != ',') {
        *out = text; /* as it is written by everyone */
        return NULL;
    }
    seconds = seconds_of(&m);
    of_day = ((seconds % 86400) + 86400) % 86400;
    date_of((seconds - of_day) / 86400, &m);
    if (m.year < 0 || m.year > 9999)
        return check__print(arena, "parsing time %s: year outside of range [0,9999]",
                            check__quote(arena, text));
    m.hour = (int)(of_day / 3600);
    m.minute = (int)(of_day / 60 % 60);
    m.second = (int)(of_day % 60);
    *out = print_moment(arena, &m, micro);
    return NULL;
}

int kube_time(struct arena *arena, struct slice text, bool micro, struct slice *out)
{
    return check__time(arena, text, micro, out) == NULL ? 0 : KV_EINVAL;
}

bool kube_time_seconds(struct slice text, int64_t *out)
{
    struct reader r = {.text = text};
    struct moment m;

    if (!read_moment(&r, false, &m) || r.at != text.len)
        return false;
    *out = seconds_of(&m);
    return true;
}

/* ---- durations: nanoseconds in an int64 ---- */

struct unit {
    const char *name;
    int64_t ns;
};

static const struct unit units[] = {{"ns", 1},           {"us", 1000},        {"\xc2\xb5s", 1000},
                                    {"\xce\xbcs", 1000}, {"ms", 1000000},     {"s", 1000000000},
                                    {"m", 60000000000},  {"h", 3600000000000}};

static int64_t unit_of(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (slice_eq(name, slice_str(units[i].name)))
            return units[i].ns;
    }
    return 0;
}

enum duration_fault { DURATION_OK, DURATION_INVALID, DURATION_NO_UNIT, DURATION_BAD_UNIT };

static size_t unit_end(struct slice text, size_t at)
{
    while (at < text.len && text.data[at] != '.' && (text.data[at] < '0' || text.data[at] > '9'))
        at++;
    return at;
}

/* One "1.5h" at *at, added to *sum. */
static enum duration_fault read_part(struct slice text, size_t *at, uint64_t *sum,
                                     struct slice *unit)
{
    uint64_t whole = 0, ns;
    double part = 0, scale = 1;
    size_t count = 0;
    struct reader r = {.text = text, .at = *at};

    for (; is_digit(&r, r.at); r.at++, count++) {
        if (whole > (1ull << 63) / 10)
            return DURATION_INVALID;
        whole = whole * 10 + (text.data[r.at] - '0');
    }
    if (r.at < text.len && text.data[r.at] == '.') {
        for (r.at++; is_digit(&r, r.at); r.at++, count++) {
            part = part * 10 + (text.data[r.at] - '0');
            scale *= 10;
        }
    }
    if (count == 0)
        return DURATION_INVALID;
    *at = unit_end(text, r.at);
    *unit = slice_of(text.data + r.at, *at - r.at);
    if (unit->len == 0)
        return DURATION_NO_UNIT;
    ns = (uint64_t)unit_of(*unit);
    if (ns == 0)
        return DURATION_BAD_UNIT;
    if (whole > (1ull << 63) / ns)
        return DURATION_INVALID;
    whole *= ns;
    if (part > 0)
        whole += (uint64_t)(part * ((double)ns / scale));
    *sum += whole;
    return whole > 1ull << 63 || *sum > 1ull << 63 ? DURATION_INVALID : DURATION_OK;
}

static const char *duration_error(struct arena *arena, enum duration_fault fault, struct slice text,
                                  struct slice unit)
{
    const char *quoted = check__quote(arena, text);

    switch (fault) {
    case DURATION_NO_UNIT:
        return check__print(arena, "time: missing unit in duration %s", quoted);
    case DURATION_BAD_UNIT:
        return check__print(arena, "time: unknown unit %s in duration %s",
                            check__quote(arena, unit), quoted);
    default:
        return check__print(arena, "time: invalid duration %s", quoted);
    }
}

/* Fraction of a unit without its trailing zeros: ".5", "". */
static void print_fraction(char *out, uint64_t rest, int digits_of_unit)
{
    int len = sprintf(out, ".%0*llu", digits_of_unit, (unsigned long long)rest);

    while (len > 0 && (out[len - 1] == '0' || out[len - 1] == '.'))
        out[--len] = '\0';
}

static struct slice print_duration(struct arena *arena, uint64_t ns, bool negative)
{
    const char *sign = negative ? "-" : "";
    char rest[32] = "";
    uint64_t s = ns / 1000000000;

    if (ns == 0)
        return slice_str("0s");
    if (ns < 1000)
        return slice_str(check__print(arena, "%s%lluns", sign, (unsigned long long)ns));
    if (ns < 1000000) {
        print_fraction(rest, ns % 1000, 3);
        return slice_str(
            check__print(arena, "%s%llu%s\xc2\xb5s", sign, (unsigned long long)ns / 1000, rest));
    }
    if (ns < 1000000000) {
        print_fraction(rest, ns % 1000000, 6);
        return slice_str(
            check__print(arena, "%s%llu%sms", sign, (unsigned long long)ns / 1000000, rest));
    }
    print_fraction(rest, ns % 1000000000, 9);
    if (s < 60)
        return slice_str(check__print(arena, "%s%llu%ss", sign, (unsigned long long)s, rest));
    if (s < 3600)
        return slice_str(check__print(arena, "%s%llum%llu%ss", sign, (unsigned long long)s / 60,
                                      (unsigned long long)s % 60, rest));
    return slice_str(check__print(arena, "%s%lluh%llum%llu%ss", sign, (unsigned long long)s / 3600,
                                  (unsigned long long)s / 60 % 60, (unsigned long long)s % 60,
                                  rest));
}

const char *check__duration(struct arena *arena, struct slice text, struct slice *out)
{
    struct slice unit = {NULL, 0};
    enum duration_fault fault = DURATION_OK;
    bool negative = text.len > 0 && text.data[0] == '-';
    size_t at = text.len > 0 && (text.data[0] == '-' || text.data[0] == '+') ? 1 : 0;
    uint64_t sum = 0;

    if (at == text.len)
        return duration_error(arena, DURATION_INVALID, text, unit);
    if (text.len - at == 1 && text.data[at] == '0') {
        *out = slice_str("0s");
        return NULL;
    }
    while (fault == DURATION_OK && at < text.len)
        fault = read_part(text, &at, &sum, &unit);
    if (fault == DURATION_OK && sum > (negative ? 1ull << 63 : (1ull << 63) - 1))
        fault = DURATION_INVALID;
    if (fault != DURATION_OK)
        return duration_error(arena, fault, text, unit);
    *out = print_duration(arena, sum, negative);
    return NULL;
}

int kube_duration(struct arena *arena, struct slice text, struct slice *out)
{
    return check__duration(arena, text, out) == NULL ? 0 : KV_EINVAL;
}
