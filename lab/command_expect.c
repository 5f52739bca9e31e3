/* "wait ..." and "expect ...". */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "lab/command_words.h"
#include "lab/words.h"

const struct lab_figure_info lab_figures[LAB_FIGURE_COUNT] = {
#define X(id, name, unit, text) {name, LAB_##unit, text},
    LAB_FIGURE_MAP(X)
#undef X
};

/* ---- wait ---- */

int words__parse_wait(struct lab_words *words, struct lab_command *out, struct err *err)
{
    static const char *const names[] = {"leader", "caught-up", "up", "down", "writes", "holder"};
    struct slice word = words__take(words);
    const char *near;
    int rc = 0;

    if (lab_duration_parse(word, &out->ms)) {
        out->wait = LAB_WAIT_TIME;
        return 0;
    }
    if (words__is(word, "leader")) {
        out->wait = LAB_WAIT_LEADER;
    } else if (words__is(word, "writes")) {
        out->wait = LAB_WAIT_WRITES;
    } else if (words__is(word, "holder")) {
        out->wait = LAB_WAIT_HOLDER;
        rc = words__take_holder(words, out, err);
    } else if (words__is(word, "caught-up") || words__is(word, "up") || words__is(word, "down")) {
        out->wait = words__is(word, "up")     ? LAB_WAIT_UP
                    : words__is(word, "down") ? LAB_WAIT_DOWN
                                              : LAB_WAIT_CAUGHT_UP;
        rc = words__take_set(words, out, err);
    } else {
        near = lab_words_nearest((const char *)word.data, word.len, names, ARRAY_LEN(names));
        return err_set(err, KV_EINVAL,
                       "wait for what? A duration, leader, writes, up N, down N, caught-up N or "
                       "holder A%s%s%s",
                       near != NULL ? "; did you mean \"wait " : "", near != NULL ? near : "",
                       near != NULL ? "\"?" : "");
    }
    return rc != 0 ? rc : words__take_patience(words, out, err);
}

/* ---- expect ---- */

static const struct {
    const char *sign;
    enum lab_comparison comparison;
} signs[] = {
    {"<=", LAB_LESS_EQUAL}, {">=", LAB_MORE_EQUAL}, {"!=", LAB_UNEQUAL},
    {"=", LAB_EQUAL},       {"<", LAB_LESS},        {">", LAB_MORE},
};

/* "writes go on [at N] [within 5s]", "writes stop [at N] [for 1s]". */
static int parse_flow(struct lab_words *words, struct lab_command *out, enum lab_topic topic,
                      struct err *err)
{
    int rc = 0;

    out->topic = topic;
    if (words__take_if(words, "go") && words__take_if(words, "on")) {
        out->expect = LAB_EXPECT_GOES_ON;
    } else if (words__take_if(words, "stop")) {
        out->expect = LAB_EXPECT_STOPS;
    } else {
        return err_set(err, KV_EINVAL, "they \"go on\" or \"stop\"");
    }
    if (words__take_if(words, "at"))
        rc = words__take_set(words, out, err);
    if (rc == 0 && (words__take_if(words, "within") || words__take_if(words, "for")))
        rc = words__take_duration(words, &out->ms, err);
    return rc;
}

static int parse_leader_is(struct lab_words *words, struct lab_command *out, struct err *err)
{
    int rc = 0;

    if (words__take_if(words, "=") && words__take_if(words, "none")) {
        out->expect = LAB_EXPECT_NO_LEADER;
    } else {
        out->expect = LAB_EXPECT_LEADER;
        (void)words__take_if(words, "in");
        rc = words__take_set(words, out, err);
    }
    return rc != 0 ? rc : words__take_patience(words, out, err);
}

static int parse_value(struct lab_words *words, struct lab_command *out, struct err *err)
{
    struct slice word = words__take(words);
    const struct lab_figure_info *info = &lab_figures[out->figure];

    if (info->unit == LAB_TIME)
        return lab_duration_parse(word, &out->value)
                   ? 0
                   : err_set(err, KV_EINVAL, "%s is a time: \"%.*s\" is none (200ms, 2s)",
                             info->name, WORDS_SHOW(word));
    if (!words__number(word, INT64_MAX, &out->value))
        return err_set(err, KV_EINVAL, "%s is a number: \"%.*s\" is none", info->name,
                       WORDS_SHOW(word));
    return 0;
}

/* "lost = 0", "stale reads > 0", also without the blanks around the sign. */
static int parse_figure(struct lab_words *words, struct lab_command *out, struct err *err)
{
    const char *names[LAB_FIGURE_COUNT + 3], *near;
    char name[32] = "";
    size_t len = 0, i;

    while (words__peek(words).len != 0 && strchr("<>=!", words__peek(words).data[0]) == NULL) {
        struct slice word = words__take(words);

        if (len + word.len + 2 >= sizeof name)
            break;
        if (len != 0)
            name[len++] = '-';
        memcpy(name + len, word.data, word.len);
        len += word.len;
        name[len] = '\0';
    }
    for (i = 0; i < LAB_FIGURE_COUNT && strcmp(lab_figures[i].name, name) != 0; i++)
        names[i] = lab_figures[i].name;
    if (i == LAB_FIGURE_COUNT) {
        names[i++] = "writes";
        names[i++] = "reads";
        names[i++] = "leader";
        near = lab_words_nearest(name, len, names, i);
        return err_set(err, KV_EINVAL,
                       "\"%s\" is nothing that can be expected%s%s%s; there are lost, wrong-reads, "
                       "stale-reads, failover, write-gap, ... (help), writes go on, writes stop, "
                       "reads go on, leader N, same data, down N, log N has TEXT",
                       name, near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                       near != NULL ? "\"?" : "");
    }
    out->figure = (enum lab_figure)i;
    for (i = 0; i < ARRAY_LEN(signs); i++) {
        if (words__take_if(words, signs[i].sign)) {
            out->comparison = signs[i].comparison;
            return parse_value(words, out, err);
        }
    }
    return err_set(err, KV_EINVAL, "%s is compared with =, !=, <, <=, > or >=: expect %s = 0", name,
                   name);
}

/* "log N has TEXT": the text is all that follows. */
static int parse_log(struct lab_words *words, struct lab_command *out, struct err *err)
{
    const char *has;
    int rc = words__take_set(words, out, err);

    if (rc != 0)
        return rc;
    has = strstr(out->text, " has ");
    if (!words__take_if(words, "has") || has == NULL || words__peek(words).len == 0)
        return err_set(err, KV_EINVAL, "expect log N has TEXT");
    words->next = words->len;
    out->expect = LAB_EXPECT_LOG;
    out->rest_at = (size_t)(has - out->text) + strlen(" has ");
    return 0;
}

int words__parse_expect(struct lab_words *words, struct lab_command *out, struct err *err)
{
    size_t begin = words->next;
    struct slice word = words__take(words), next = words__peek(words);
    bool flows = words__is(next, "go") || words__is(next, "stop");

    if (words__is(word, "writes"))
        return parse_flow(words, out, LAB_WRITES, err);
    if (words__is(word, "reads"))
        return parse_flow(words, out, LAB_READS, err);
    if (words__is(word, "serializable") && words__is(next, "reads")) {
        words->next++;
        return parse_flow(words, out, LAB_LOCAL_READS, err);
    }
    if (words__is(word, "leader") && !flows)
        return parse_leader_is(words, out, err);
    if (words__is(word, "no") && words__take_if(words, "leader")) {
        out->expect = LAB_EXPECT_NO_LEADER;
        return words__take_patience(words, out, err);
    }
    if (words__is(word, "same") && words__take_if(words, "data")) {
        out->expect = LAB_EXPECT_SAME_DATA;
        return words__take_patience(words, out, err);
    }
    if (words__is(word, "log"))
        return parse_log(words, out, err);
    if (words__is(word, "down")) {
        int rc = words__take_set(words, out, err);

        out->expect = LAB_EXPECT_DOWN;
        return rc != 0 ? rc : words__take_patience(words, out, err);
    }
    if (words__is(word, "holder")) {
        out->expect = LAB_EXPECT_HOLDER;
        (void)words__take_if(words, "=");
        return words__take_if(words, "none") ? 0 : words__take_holder(words, out, err);
    }
    words->next = begin;
    out->expect = LAB_EXPECT_FIGURE;
    return parse_figure(words, out, err);
}

bool lab_command_holds(const struct lab_command *command, int64_t value)
{
    switch (command->comparison) {
    case LAB_EQUAL:
        return value == command->value;
    case LAB_UNEQUAL:
        return value != command->value;
    case LAB_LESS:
        return value < command->value;
    case LAB_LESS_EQUAL:
        return value <= command->value;
    case LAB_MORE:
        return value > command->value;
    case LAB_MORE_EQUAL:
        break;
    }
    return value >= command->value;
}
