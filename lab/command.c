#include "lab/command.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "lab/words.h"

enum { WORDS_MAX = 24, DAY_MS = 24 * 3600 * 1000 };

/* A line, cut at blanks; '|', '>' and comparisons count as words where they stand alone. */
struct words {
    struct slice at[WORDS_MAX];
    size_t len, next;
};

struct verb_info {
    const char *name;
    enum lab_verb verb;
    int (*parse)(struct words *words, struct lab_command *out, struct err *err);
    const char *usage, *brief;
};

const struct lab_figure_info lab_figures[LAB_FIGURE_COUNT] = {
#define X(id, name, unit, text) {name, LAB_##unit, text},
    LAB_FIGURE_MAP(X)
#undef X
};

/* ---- words ---- */

static bool is(struct slice word, const char *text)
{
    return slice_eq(word, slice_str(text));
}

static struct slice peek(const struct words *words)
{
    return words->next < words->len ? words->at[words->next] : slice_of("", 0);
}

static struct slice take(struct words *words)
{
    struct slice word = peek(words);

    words->next += words->next < words->len;
    return word;
}

static bool take_if(struct words *words, const char *text)
{
    bool found = is(peek(words), text);

    words->next += found;
    return found;
}

#define SHOW(word) (int)(word).len, (const char *)(word).data

static int no_more(const struct words *words, struct err *err)
{
    if (words->next == words->len)
        return 0;
    return err_set(err, KV_EINVAL, "\"%.*s\" is one word too many", SHOW(peek(words)));
}

static int split(struct slice line, struct words *out, struct err *err)
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

static int take_duration(struct words *words, int64_t *out, struct err *err)
{
    struct slice word = take(words);

    if (word.len == 0)
        return err_set(err, KV_EINVAL, "a duration is missing, such as 200ms or 3s");
    if (!lab_duration_parse(word, out))
        return err_set(err, KV_EINVAL,
                       "\"%.*s\" is no duration: write 200ms, 1.5s or 2m (at most "
                       "a day)",
                       SHOW(word));
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
        if (is(word, whos[i].name)) {
            set->who |= (int)whos[i].who;
            return 0;
        }
    }
    near = lab_words_nearest((const char *)word.data, word.len, names, ARRAY_LEN(names));
    return err_set(err, KV_EINVAL,
                   "\"%.*s\" is no member: a number from 1 to 9, leader, old (who led when leader "
                   "was last said), follower, others, all or dead%s%s%s",
                   SHOW(word), near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                   near != NULL ? "\"?" : "");
}

/* "1,leader" */
static int parse_set(struct slice text, struct lab_set *set, struct err *err)
{
    size_t at = 0;
    int rc = 0;

    do {
        size_t begin = at;

        while (at < text.len && text.data[at] != ',')
            at++;
        if (at == begin)
            return err_set(err, KV_EINVAL, "a member is missing in \"%.*s\"", SHOW(text));
        rc = add_member(slice_of(text.data + begin, at - begin), set, err);
    } while (rc == 0 && at++ < text.len);
    return rc;
}

static int take_set(struct words *words, struct lab_command *out, struct err *err)
{
    struct slice word = take(words);

    if (word.len == 0)
        return err_set(err, KV_EINVAL,
                       "which member? A number, leader, follower, old, all or dead");
    out->group_count = 1;
    return parse_set(word, &out->groups[0], err);
}

/* "A>B" or "A-B", blanks allowed around the sign. */
static int take_link(struct words *words, struct lab_command *out, struct err *err)
{
    char text[64];
    size_t len = 0, sign;
    int rc;

    while (words->next < words->len && len < sizeof text - 1) {
        struct slice word = peek(words);
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
    rc = parse_set(slice_of(text, sign), &out->groups[0], err);
    if (rc == 0)
        rc = parse_set(slice_of(text + sign + 1, len - sign - 1), &out->groups[1], err);
    return rc;
}

/* ---- one function for each way of being written ---- */

static int parse_bare(struct words *words, struct lab_command *out, struct err *err)
{
    (void)words;
    (void)out;
    (void)err;
    return 0;
}

static int parse_up(struct words *words, struct lab_command *out, struct err *err)
{
    struct slice word = take(words);

    if (word.len != 1 || word.data[0] < '1' || word.data[0] > '0' + LAB_MEMBERS_MAX)
        return err_set(err, KV_EINVAL, "how many members? up 3 or up 5 (1 to %d)", LAB_MEMBERS_MAX);
    out->count = (unsigned)(word.data[0] - '0');
    while ((word = take(words)).len != 0) {
        if (memchr(word.data, '=', word.len) == NULL || word.len >= sizeof out->flags[0])
            return err_set(err, KV_EINVAL,
                           "\"%.*s\": a flag of kvd is written name=value, such as "
                           "election-timeout=500",
                           SHOW(word));
        if (out->flag_count == LAB_FLAGS_MAX)
            return err_set(err, KV_EINVAL, "more than %d flags", LAB_FLAGS_MAX);
        memcpy(out->flags[out->flag_count++], word.data, word.len);
    }
    return 0;
}

static int parse_partition(struct words *words, struct lab_command *out, struct err *err)
{
    char text[LAB_TEXT_MAX];
    size_t len = 0, at = 0;
    int rc = 0;

    while (words->next < words->len) { /* "1,2 | 3" reads as "1,2|3" */
        struct slice word = take(words);

        memcpy(text + len, word.data, word.len);
        len += word.len;
    }
    do {
        size_t begin = at;

        while (at < len && text[at] != '|')
            at++;
        if (out->group_count == LAB_GROUPS_MAX)
            return err_set(err, KV_EINVAL, "more than %d parts", LAB_GROUPS_MAX);
        rc = parse_set(slice_of(text + begin, at - begin), &out->groups[out->group_count++], err);
    } while (rc == 0 && at++ < len);
    if (rc == 0 && out->group_count < 2)
        return err_set(err, KV_EINVAL, "a partition has parts: partition 1,2|3,4,5");
    return rc;
}

static int parse_cut(struct words *words, struct lab_command *out, struct err *err)
{
    return take_link(words, out, err);
}

static int parse_heal(struct words *words, struct lab_command *out, struct err *err)
{
    return peek(words).len == 0 ? 0 : take_link(words, out, err);
}

static int parse_delay(struct words *words, struct lab_command *out, struct err *err)
{
    int rc = take_link(words, out, err);

    return rc != 0 ? rc : take_duration(words, &out->ms, err);
}

static int parse_members(struct words *words, struct lab_command *out, struct err *err)
{
    return take_set(words, out, err);
}

static int parse_pause(struct words *words, struct lab_command *out, struct err *err)
{
    int rc = take_set(words, out, err);

    if (rc != 0 || peek(words).len == 0)
        return rc;
    return take_duration(words, &out->ms, err);
}

static int parse_slow_disk(struct words *words, struct lab_command *out, struct err *err)
{
    int rc = take_set(words, out, err);

    return rc != 0 ? rc : take_duration(words, &out->ms, err);
}

static int parse_add(struct words *words, struct lab_command *out, struct err *err)
{
    (void)err;
    out->learner = take_if(words, "learner");
    return 0;
}

static int take_holder(struct words *words, struct lab_command *out, struct err *err)
{
    struct slice word = take(words);

    if (word.len != 1 || word.data[0] < 'A' || word.data[0] > 'C')
        return err_set(err, KV_EINVAL, "\"%.*s\" is no lock client: they are A, B and C",
                       SHOW(word));
    out->holder = (char)word.data[0];
    return 0;
}

static int parse_holder(struct words *words, struct lab_command *out, struct err *err)
{
    return take_holder(words, out, err);
}

static int parse_write(struct words *words, struct lab_command *out, struct err *err)
{
    int rc = take_holder(words, out, err);

    out->unguarded = rc == 0 && take_if(words, "unguarded");
    return rc;
}

static int parse_load(struct words *words, struct lab_command *out, struct err *err)
{
    out->on = take_if(words, "on");
    if (!out->on && !take_if(words, "off"))
        return err_set(err, KV_EINVAL, "load on or load off");
    return 0;
}

static int parse_say(struct words *words, struct lab_command *out, struct err *err)
{
    (void)err;
    words->next = words->len;
    out->rest_at = strcspn(out->text, " \t");
    out->rest_at += strspn(out->text + out->rest_at, " \t");
    return 0;
}

/* ---- wait ---- */

static int take_patience(struct words *words, struct lab_command *out, struct err *err)
{
    (void)take_if(words, "within");
    return peek(words).len == 0 ? 0 : take_duration(words, &out->ms, err);
}

static int parse_wait(struct words *words, struct lab_command *out, struct err *err)
{
    static const char *const names[] = {"leader", "caught-up", "up", "down", "writes", "holder"};
    struct slice word = take(words);
    const char *near;
    int rc = 0;

    if (lab_duration_parse(word, &out->ms)) {
        out->wait = LAB_WAIT_TIME;
        return 0;
    }
    if (is(word, "leader")) {
        out->wait = LAB_WAIT_LEADER;
    } else if (is(word, "writes")) {
        out->wait = LAB_WAIT_WRITES;
    } else if (is(word, "holder")) {
        out->wait = LAB_WAIT_HOLDER;
        rc = take_holder(words, out, err);
    } else if (is(word, "caught-up") || is(word, "up") || is(word, "down")) {
        out->wait = is(word, "up")     ? LAB_WAIT_UP
                    : is(word, "down") ? LAB_WAIT_DOWN
                                       : LAB_WAIT_CAUGHT_UP;
        rc = take_set(words, out, err);
    } else {
        near = lab_words_nearest((const char *)word.data, word.len, names, ARRAY_LEN(names));
        return err_set(err, KV_EINVAL,
                       "wait for what? A duration, leader, writes, up N, down N, caught-up N or "
                       "holder A%s%s%s",
                       near != NULL ? "; did you mean \"wait " : "", near != NULL ? near : "",
                       near != NULL ? "\"?" : "");
    }
    return rc != 0 ? rc : take_patience(words, out, err);
}

/* ---- expect ---- */

static const struct {
    const char *sign;
    enum lab_comparison comparison;
} signs[] = {
    {"<=", LAB_LESS_EQUAL}, {">=", LAB_MORE_EQUAL}, {"!=", LAB_UNEQUAL},
    {"=", LAB_EQUAL},       {"<", LAB_LESS},        {">", LAB_MORE},
};

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

/* "writes go on [at N] [within 5s]", "writes stop [at N] [for 1s]". */
static int parse_flow(struct words *words, struct lab_command *out, enum lab_topic topic,
                      struct err *err)
{
    int rc = 0;

    out->topic = topic;
    if (take_if(words, "go") && take_if(words, "on")) {
        out->expect = LAB_EXPECT_GOES_ON;
    } else if (take_if(words, "stop")) {
        out->expect = LAB_EXPECT_STOPS;
    } else {
        return err_set(err, KV_EINVAL, "they \"go on\" or \"stop\"");
    }
    if (take_if(words, "at"))
        rc = take_set(words, out, err);
    if (rc == 0 && (take_if(words, "within") || take_if(words, "for")))
        rc = take_duration(words, &out->ms, err);
    return rc;
}

static int parse_leader_is(struct words *words, struct lab_command *out, struct err *err)
{
    int rc = 0;

    if (take_if(words, "=") && take_if(words, "none")) {
        out->expect = LAB_EXPECT_NO_LEADER;
    } else {
        out->expect = LAB_EXPECT_LEADER;
        (void)take_if(words, "in");
        rc = take_set(words, out, err);
    }
    return rc != 0 ? rc : take_patience(words, out, err);
}

static int parse_value(struct words *words, struct lab_command *out, struct err *err)
{
    struct slice word = take(words);
    const struct lab_figure_info *info = &lab_figures[out->figure];
    char copy[24], *end;

    if (info->unit == LAB_TIME)
        return lab_duration_parse(word, &out->value)
                   ? 0
                   : err_set(err, KV_EINVAL, "%s is a time: \"%.*s\" is none (200ms, 2s)",
                             info->name, SHOW(word));
    if (word.len == 0 || word.len >= sizeof copy)
        return err_set(err, KV_EINVAL, "%s is a number, and that is missing", info->name);
    memcpy(copy, word.data, word.len);
    copy[word.len] = '\0';
    out->value = strtoll(copy, &end, 10);
    if (*end != '\0' || !isdigit((unsigned char)copy[0]))
        return err_set(err, KV_EINVAL, "%s is a number: \"%s\" is none", info->name, copy);
    return 0;
}

/* "lost = 0", "stale reads > 0", also without the blanks around the sign. */
static int parse_figure(struct words *words, struct lab_command *out, struct err *err)
{
    const char *names[LAB_FIGURE_COUNT + 3], *near;
    char name[32] = "";
    size_t len = 0, i;

    while (peek(words).len != 0 && strchr("<>=!", peek(words).data[0]) == NULL) {
        struct slice word = take(words);

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
                       "reads go on, leader N, same data, down N",
                       name, near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                       near != NULL ? "\"?" : "");
    }
    out->figure = (enum lab_figure)i;
    for (i = 0; i < ARRAY_LEN(signs); i++) {
        if (take_if(words, signs[i].sign)) {
            out->comparison = signs[i].comparison;
            return parse_value(words, out, err);
        }
    }
    return err_set(err, KV_EINVAL, "%s is compared with =, !=, <, <=, > or >=: expect %s = 0", name,
                   name);
}

static int parse_expect(struct words *words, struct lab_command *out, struct err *err)
{
    size_t begin = words->next;
    struct slice word = take(words), next = peek(words);
    bool flows = is(next, "go") || is(next, "stop");

    if (is(word, "writes"))
        return parse_flow(words, out, LAB_WRITES, err);
    if (is(word, "reads"))
        return parse_flow(words, out, LAB_READS, err);
    if (is(word, "serializable") && is(next, "reads")) {
        words->next++;
        return parse_flow(words, out, LAB_LOCAL_READS, err);
    }
    if (is(word, "leader") && !flows)
        return parse_leader_is(words, out, err);
    if (is(word, "no") && take_if(words, "leader")) {
        out->expect = LAB_EXPECT_NO_LEADER;
        return take_patience(words, out, err);
    }
    if (is(word, "same") && take_if(words, "data")) {
        out->expect = LAB_EXPECT_SAME_DATA;
        return take_patience(words, out, err);
    }
    if (is(word, "down")) {
        int rc = take_set(words, out, err);

        out->expect = LAB_EXPECT_DOWN;
        return rc != 0 ? rc : take_patience(words, out, err);
    }
    if (is(word, "holder")) {
        out->expect = LAB_EXPECT_HOLDER;
        (void)take_if(words, "=");
        return take_if(words, "none") ? 0 : take_holder(words, out, err);
    }
    words->next = begin;
    out->expect = LAB_EXPECT_FIGURE;
    return parse_figure(words, out, err);
}

/* ---- the table ---- */

/* clang-format off */
static const struct verb_info verbs[] = {
    {"up", LAB_UP, parse_up, "up 3 [name=value...]", "start that many members; name=value are flags of kvd"},
    {"cut", LAB_CUT, parse_cut, "cut A>B | cut A-B", "what A sends no longer reaches B; -: both ways"},
    {"partition", LAB_PARTITION, parse_partition, "partition 1,2|3,4,5", "cut all links between the parts"},
    {"heal", LAB_HEAL, parse_heal, "heal [A>B]", "no cuts and no delays any more"},
    {"delay", LAB_DELAY, parse_delay, "delay A>B 200ms", "what A sends to B arrives later; 0: as before"},
    {"kill", LAB_KILL, parse_members, "kill N|leader", "SIGKILL"},
    {"stop", LAB_STOP, parse_members, "stop N|leader", "SIGTERM: an orderly stop, a leader hands over first"},
    {"restart", LAB_RESTART, parse_members, "restart N|dead", "start it again on its data"},
    {"pause", LAB_PAUSE, parse_pause, "pause N [3s]", "SIGSTOP, and SIGCONT after that time"},
    {"resume", LAB_RESUME, parse_members, "resume N", "SIGCONT"},
    {"slow-disk", LAB_SLOW_DISK, parse_slow_disk, "slow-disk N 200ms", "each sync takes so much longer; 0: as before"},
    {"disk-full", LAB_DISK_FULL, parse_members, "disk-full N", "every write to its disk fails: no space left"},
    {"disk-ok", LAB_DISK_OK, parse_members, "disk-ok N", "the disk is fast and has room again"},
    {"torn", LAB_TORN, parse_members, "torn N", "while it is down: half a record behind the end of its log, as when the power went"},
    {"add", LAB_ADD, parse_add, "add [learner]", "one more member (or learner), started empty"},
    {"promote", LAB_PROMOTE, parse_members, "promote N", "a learner becomes a voter"},
    {"remove", LAB_REMOVE, parse_members, "remove N", "takes it out of the cluster"},
    {"snapshot", LAB_SNAPSHOT, parse_bare, "snapshot", "saves a snapshot file (kvctl snapshot save)"},
    {"restore", LAB_RESTORE, parse_bare, "restore", "all members anew from the last snapshot (kvctl snapshot restore)"},
    {"lock", LAB_LOCK, parse_holder, "lock A", "client A, B or C queues up for a lock with a lease of 2 s"},
    {"sleep", LAB_SLEEP, parse_holder, "sleep A", "that client is paused: its lease is not renewed"},
    {"wake", LAB_WAKE, parse_holder, "wake A", "and goes on, believing that it still holds the lock"},
    {"write", LAB_WRITE, parse_write, "write A [unguarded]", "it writes, guarded by its fencing token, or not"},
    {"load", LAB_LOAD, parse_load, "load on|off", "the clients"},
    {"wait", LAB_WAIT, parse_wait, "wait 2s | leader | writes | up N | down N | caught-up N | holder A [30s]", "until it is so"},
    {"expect", LAB_EXPECT, parse_expect, "expect lost = 0 | failover <= 2s | writes go on | ...", "an assertion; a script with one that fails ends with 1"},
    {"say", LAB_SAY, parse_say, "say TEXT", "a line for who looks on"},
    {"verdict", LAB_VERDICT, parse_bare, "verdict", "checks the history, says what the experiment showed, begins another"},
    {"status", LAB_STATUS, parse_bare, "status", "who is there, who leads, who hears whom"},
    {"help", LAB_HELP, parse_bare, "help", "this"},
    {"quit", LAB_QUIT, parse_bare, "quit", "ends the lab, and all it has started"},
};
/* clang-format on */

void lab_command_help(FILE *out)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        fprintf(out, "  %-30s %s\n", verbs[i].usage, verbs[i].brief);
    fputs(
        "N, A, B are a number, leader, old (who led when leader was last said), follower, others, "
        "all, dead, or several with commas.\nFigures for expect:\n",
        out);
    for (size_t i = 0; i < LAB_FIGURE_COUNT; i++)
        fprintf(out, "  %-30s %s%s\n", lab_figures[i].name, lab_figures[i].text,
                lab_figures[i].unit == LAB_TIME ? " (a time)" : "");
    fputs("Also: writes|reads|serializable reads go on [at N] [within 5s], ... stop [at N] [for "
          "1s], leader N, no leader, same data, down N, holder A.\n",
          out);
}

static int fail_unknown(struct slice word, struct err *err)
{
    const char *names[ARRAY_LEN(verbs)], *near;

    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        names[i] = verbs[i].name;
    near = lab_words_nearest((const char *)word.data, word.len, names, ARRAY_LEN(names));
    if (near != NULL)
        return err_set(err, KV_EINVAL, "\"%.*s\" is no command; did you mean \"%s\"?",
                       (int)MIN(word.len, (size_t)40), (const char *)word.data, near);
    return err_set(err, KV_EINVAL, "\"%.*s\" is no command; help lists what there is",
                   (int)MIN(word.len, (size_t)40), (const char *)word.data);
}

/* Without comment and blanks at the ends. A '#' inside a word is no comment. */
static struct slice trim(struct slice line)
{
    for (size_t i = 0; i < line.len; i++) {
        if (line.data[i] == '#' && (i == 0 || isspace(line.data[i - 1])))
            line.len = i;
    }
    while (line.len != 0 && isspace(line.data[line.len - 1]))
        line.len--;
    while (line.len != 0 && isspace(line.data[0]))
        line = slice_of(line.data + 1, line.len - 1);
    return line;
}

/* Comparisons and separators in the middle of a word stand for themselves: "lost=0". */
static int space_out(struct slice line, bool signs_too, char *out, struct err *err)
{
    size_t len = 0;

    for (size_t i = 0; i < line.len; i++) {
        bool sign = signs_too && strchr("<>=!", line.data[i]) != NULL;
        bool after = i > 0 && strchr("<>=!", line.data[i - 1]) != NULL;

        if (line.data[i] < 0x20 && line.data[i] != '\t')
            return err_set(err, KV_EINVAL, "the line has bytes that are no text");
        if (len + 4 >= LAB_TEXT_MAX)
            return err_set(err, KV_EINVAL, "longer than %d characters", LAB_TEXT_MAX - 4);
        if (sign && !after)
            out[len++] = ' ';
        if (signs_too && !sign && after)
            out[len++] = ' ';
        out[len++] = (char)line.data[i];
    }
    out[len] = '\0';
    return 0;
}

int lab_command_parse(struct slice line, struct lab_command *out, struct err *err)
{
    struct words words = {.len = 0};
    char spaced[LAB_TEXT_MAX];
    struct slice verb;
    int rc;

    *out = (struct lab_command){.ms = -1};
    line = trim(line);
    rc = space_out(line, false, out->text, err);
    if (rc == 0)
        rc = space_out(line, line.len > 6 && memcmp(line.data, "expect", 6) == 0, spaced, err);
    if (rc == 0)
        rc = split(slice_str(spaced), &words, err);
    if (rc != 0 || words.len == 0)
        return rc;
    verb = take(&words);
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (!is(verb, verbs[i].name))
            continue;
        out->verb = verbs[i].verb;
        rc = verbs[i].parse(&words, out, err);
        if (rc == 0)
            rc = no_more(&words, err);
        if (rc != 0 && err != NULL && strstr(err->text, verbs[i].usage) == NULL) {
            char why[sizeof err->text];

            (void)snprintf(why, sizeof why, "%s", err->text);
            (void)err_set(err, rc, "%.380s (usage: %s)", why, verbs[i].usage);
        }
        return rc;
    }
    return fail_unknown(verb, err);
}

bool lab_command_waits(const struct lab_command *command)
{
    switch (command->verb) {
    case LAB_WAIT:
    case LAB_EXPECT:
    case LAB_VERDICT:
    case LAB_ADD:
    case LAB_PROMOTE:
    case LAB_REMOVE:
    case LAB_SNAPSHOT:
    case LAB_RESTORE:
    case LAB_WRITE:
        return true;
    default:
        return false;
    }
}

unsigned lab_command_highest(const struct lab_command *command)
{
    unsigned highest = 0;

    for (size_t i = 0; i < command->group_count; i++) {
        for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
            if (command->groups[i].numbers & 1u << n)
                highest = MAX(highest, n);
        }
    }
    return highest;
}
