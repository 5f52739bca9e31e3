#include "lab/command_words.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "lab/words.h"

enum { DAY_MS = 24 * 3600 * 1000 };

/* ---- words ---- */

bool words__is(struct slice word, const char *text)
{
    return slice_eq(word, slice_str(text));
}

struct slice words__peek(const struct lab_words *words)
{
    return words->next < words->len ? words->at[words->next] : slice_of("", 0);
}

struct slice words__take(struct lab_words *words)
{
    struct slice word = words__peek(words);

    words->next += words->next < words->len;
    return word;
}

bool words__take_if(struct lab_words *words, const char *text)
{
    bool found = words__is(words__peek(words), text);

    words->next += found;
    return found;
}

int words__no_more(const struct lab_words *words, struct err *err)
{
    if (words->next == words->len)
        return 0;
    return err_set(err, KV_EINVAL, "\"%.*s\" is one word too many", WORDS_SHOW(words__peek(words)));
}

int words__split(struct slice line, struct lab_words *out, struct err *err)
{
    size_t at = 0;

    while (at < line.len) {
        size_t begin;

        while (at < line.len && isspace(line.data[at]))
            at++;
        begin = at;
        while (at < line.len && !isspace(line.data[at]))
            at++;
        if (at == begin)
            break;
        if (out->len == WORDS_MAX)
            return err_set(err, KV_EINVAL, "more than %d words", WORDS_MAX);
        out->at[out->len++] = slice_of(line.data + begin, at - begin);
    }
    return 0;
}

bool words__number(struct slice word, int64_t max, int64_t *out)
{
    int64_t value = 0;

    for (size_t i = 0; i < word.len; i++) {
        if (!isdigit(word.data[i]) || i == 15)
            return false;
        value = value * 10 + (word.data[i] - '0');
    }
    *out = value;
    return word.len != 0 && value <= max;
}

/* ---- durations ---- */

bool lab_duration_parse(struct slice text, int64_t *out_ms)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"min", 60000}, {"h", 3600000}};
    char copy[24], *end;
    double value;

    if (text.len == 0 || text.len >= sizeof copy || !isdigit(text.data[0]))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    if (copy[0] == '0' && (copy[1] == 'x' || copy[1] == 'X'))
        return false;
    value = strtod(copy, &end);
    if (strcmp(copy, "0") == 0) {
        *out_ms = 0;
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (strcmp(end, units[i].name) != 0)
            continue;
        value *= units[i].ms;
        if (!(value >= 0 && value <= DAY_MS))
            return false;
        *out_ms = llround(value);
        return true;
    }
    return false;
}

const char *lab_duration_format(int64_t ms, char *out, size_t size)
{
    if (ms < 0)
        (void)snprintf(out, size, "never");
    else if (ms < 1000)
        (void)snprintf(out, size, "%lld ms", (long long)ms);
    else
        (void)snprintf(out, size, "%.2f s", (double)ms / 1000);
    return out;
}

int words__take_duration(struct lab_words *words, int64_t *out, struct err *err)
{
    struct slice word = words__take(words);

    if (word.len == 0)
        return err_set(err, KV_EINVAL, "a duration is missing, such as 200ms or 3s");
    if (!lab_duration_parse(word, out))
        return err_set(err, KV_EINVAL,
                       "\"%.*s\" is no duration: write 200ms, 1.5s or 2m (at most "
                       "a day)",
                       WORDS_SHOW(word));
    return 0;
}

/* ---- members ---- */

static const struct {
    const char *name;
    enum lab_who who;
} whos[] = {
    {"leader", LAB_WHO_LEADER}, {"old", LAB_WHO_OLD}, {"follower", LAB_WHO_FOLLOWER},
    {"others", LAB_WHO_OTHERS}, {"all", LAB_WHO_ALL}, {"dead", LAB_WHO_DEAD},
};

static int add_member(struct slice word, struct lab_set *set, struct err *err)
{
    const char *names[ARRAY_LEN(whos)], *near;

    if (word.len >= 2 && word.data[0] == 'm' && isdigit(word.data[1]))
        word = slice_of(word.data + 1, word.len - 1);
    if (word.len == 1 && word.data[0] >= '1' && word.data[0] <= '9') {
        set->numbers |= 1u << (word.data[0] - '0');
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(whos); i++) {
        names[i] = whos[i].name;
        if (words__is(word, whos[i].name)) {
            set->who |= (int)whos[i].who;
            return 0;
        }
    }
    near = lab_words_nearest((const char *)word.data, word.len, names, ARRAY_LEN(names));
    return err_set(err, KV_EINVAL,
                   "\"%.*s\" is no member: a number from 1 to 9, leader, old (who led when leader "
                   "was last said), follower, others, all or dead%s%s%s",
                   WORDS_SHOW(word), near != NULL ? "; did you mean \"" : "",
                   near != NULL ? near : "", near != NULL ? "\"?" : "");
}

/* "1,leader" */
int words__parse_set(struct slice text, struct lab_set *set, struct err *err)
{
    size_t at = 0;
    int rc = 0;

    do {
        size_t begin = at;

        while (at < text.len && text.data[at] != ',')
            at++;
        if (at == begin)
            return err_set(err, KV_EINVAL, "a member is missing in \"%.*s\"", WORDS_SHOW(text));
        rc = add_member(slice_of(text.data + begin, at - begin), set, err);
    } while (rc == 0 && at++ < text.len);
    return rc;
}

int words__take_set(struct lab_words *words, struct lab_command *out, struct err *err)
{
    struct slice word = words__take(words);

    if (word.len == 0)
        return err_set(err, KV_EINVAL,
                       "which member? A number, leader, follower, old, all or dead");
    out->group_count = 1;
    return words__parse_set(word, &out->groups[0], err);
}

/* "A>B" or "A-B", blanks allowed around the sign. */
int words__take_link(struct lab_words *words, struct lab_command *out, struct err *err)
{
    char text[64];
    size_t len = 0, sign;
    int rc;

    while (words->next < words->len && len < sizeof text - 1) {
        struct slice word = words__peek(words);
        bool joins = len == 0 || text[len - 1] == '>' || text[len - 1] == '-' ||
                     word.data[0] == '>' || word.data[0] == '-';

        if (!joins || len + word.len >= sizeof text)
            break;
        memcpy(text + len, word.data, word.len);
        len += word.len;
        words->next++;
    }
    text[len] = '\0';
    sign = strcspn(text, ">-");
    if (text[sign] == '\0' || sign == 0 || sign + 1 == len)
        return err_set(err, KV_EINVAL,
                       "\"%s\" is no link: A>B is what A sends to B, A-B is both ways", text);
    out->both_ways = text[sign] == '-';
    out->group_count = 2;
    rc = words__parse_set(slice_of(text, sign), &out->groups[0], err);
    if (rc == 0)
        rc = words__parse_set(slice_of(text + sign + 1, len - sign - 1), &out->groups[1], err);
    return rc;
}

int words__take_holder(struct lab_words *words, struct lab_command *out, struct err *err)
{
    struct slice word = words__take(words);

    if (word.len != 1 || word.data[0] < 'A' || word.data[0] > 'C')
        return err_set(err, KV_EINVAL, "\"%.*s\" is no lock client: they are A, B and C",
                       WORDS_SHOW(word));
    out->holder = (char)word.data[0];
    return 0;
}

int words__take_patience(struct lab_words *words, struct lab_command *out, struct err *err)
{
    (void)words__take_if(words, "within");
    return words__peek(words).len == 0 ? 0 : words__take_duration(words, &out->ms, err);
}
