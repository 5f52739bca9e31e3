#include "lab/command.h"

#include <ctype.h>
#include <string.h>

#include "base/util.h"
#include "lab/command_words.h"
#include "lab/words.h"

struct verb_info {
    const char *name;
    enum lab_verb verb;
    int (*parse)(struct lab_words *words, struct lab_command *out, struct err *err);
    const char *usage, *brief;
};

/* ---- one function for each way of being written ---- */

static int parse_bare(struct lab_words *words, struct lab_command *out, struct err *err)
{
    (void)words;
    (void)out;
    (void)err;
    return 0;
}

static int parse_up(struct lab_words *words, struct lab_command *out, struct err *err)
{
    struct slice word = words__take(words);

    if (word.len != 1 || word.data[0] < '1' || word.data[0] > '0' + LAB_MEMBERS_MAX)
        return err_set(err, KV_EINVAL, "how many members? up 3 or up 5 (1 to %d)", LAB_MEMBERS_MAX);
    out->count = (unsigned)(word.data[0] - '0');
    while ((word = words__take(words)).len != 0) {
        if (memchr(word.data, '=', word.len) == NULL || word.len >= sizeof out->flags[0])
            return err_set(err, KV_EINVAL,
                           "\"%.*s\": a flag of kvd is written name=value, such as "
                           "election-timeout=500",
                           WORDS_SHOW(word));
        if (out->flag_count == LAB_FLAGS_MAX)
            return err_set(err, KV_EINVAL, "more than %d flags", LAB_FLAGS_MAX);
        memcpy(out->flags[out->flag_count++], word.data, word.len);
    }
    return 0;
}

static int parse_partition(struct lab_words *words, struct lab_command *out, struct err *err)
{
    char text[LAB_TEXT_MAX];
    size_t len = 0, at = 0;
    int rc = 0;

    while (words->next < words->len) { /* "1,2 | 3" reads as "1,2|3" */
        struct slice word = words__take(words);

        memcpy(text + len, word.data, word.len);
        len += word.len;
    }
    do {
        size_t begin = at;

        while (at < len && text[at] != '|')
            at++;
        if (out->group_count == LAB_GROUPS_MAX)
            return err_set(err, KV_EINVAL, "more than %d parts", LAB_GROUPS_MAX);
        rc = words__parse_set(slice_of(text + begin, at - begin), &out->groups[out->group_count++],
                              err);
    } while (rc == 0 && at++ < len);
    if (rc == 0 && out->group_count < 2)
        return err_set(err, KV_EINVAL, "a partition has parts: partition 1,2|3,4,5");
    return rc;
}

static int parse_cut(struct lab_words *words, struct lab_command *out, struct err *err)
{
    return words__take_link(words, out, err);
}

static int parse_heal(struct lab_words *words, struct lab_command *out, struct err *err)
{
    return words__peek(words).len == 0 ? 0 : words__take_link(words, out, err);
}

static int parse_delay(struct lab_words *words, struct lab_command *out, struct err *err)
{
    int rc = words__take_link(words, out, err);

    return rc != 0 ? rc : words__take_duration(words, &out->ms, err);
}

static int parse_thin(struct lab_words *words, struct lab_command *out, struct err *err)
{
    int rc = words__take_link(words, out, err);
    struct slice word = words__take(words);

    if (rc != 0 || words__number(word, LAB_THIN_MAX, &out->value))
        return rc;
    return err_set(err, KV_EINVAL,
                   "how many bytes per second? thin leader-3 8000 is 64 kbit/s (at most %d; 0: as "
                   "many as come)",
                   LAB_THIN_MAX);
}

static int parse_members(struct lab_words *words, struct lab_command *out, struct err *err)
{
    return words__take_set(words, out, err);
}

static int parse_pause(struct lab_words *words, struct lab_command *out, struct err *err)
{
    int rc = words__take_set(words, out, err);

    if (rc != 0 || words__peek(words).len == 0)
        return rc;
    return words__take_duration(words, &out->ms, err);
}

static int parse_slow_disk(struct lab_words *words, struct lab_command *out, struct err *err)
{
    int rc = words__take_set(words, out, err);

    return rc != 0 ? rc : words__take_duration(words, &out->ms, err);
}

static int parse_forget(struct lab_words *words, struct lab_command *out, struct err *err)
{
    struct slice word;
    int rc = words__take_set(words, out, err);

    out->value = LAB_FORGET_DEFAULT;
    word = words__peek(words);
    if (rc != 0 || word.len == 0)
        return rc;
    if (!words__number(words__take(words), LAB_FORGET_MAX, &out->value) || out->value == 0)
        return err_set(err, KV_EINVAL, "\"%.*s\" is no number of records: 1 to %d",
                       WORDS_SHOW(word), LAB_FORGET_MAX);
    return 0;
}

static int parse_add(struct lab_words *words, struct lab_command *out, struct err *err)
{
    (void)err;
    out->learner = words__take_if(words, "learner");
    return 0;
}

static int parse_holder(struct lab_words *words, struct lab_command *out, struct err *err)
{
    return words__take_holder(words, out, err);
}

static int parse_write(struct lab_words *words, struct lab_command *out, struct err *err)
{
    int rc = words__take_holder(words, out, err);

    out->unguarded = rc == 0 && words__take_if(words, "unguarded");
    return rc;
}

static int parse_load(struct lab_words *words, struct lab_command *out, struct err *err)
{
    struct slice word;

    out->on = words__take_if(words, "on");
    if (!out->on && !words__take_if(words, "off"))
        return err_set(err, KV_EINVAL, "load on or load off");
    word = words__peek(words);
    if (!out->on || word.len == 0)
        return 0;
    if (!words__number(words__take(words), LAB_VALUE_SIZE_MAX, &out->value))
        return err_set(err, KV_EINVAL, "\"%.*s\" is no size of values: 0 to %d bytes",
                       WORDS_SHOW(word), LAB_VALUE_SIZE_MAX);
    return 0;
}

static int parse_say(struct lab_words *words, struct lab_command *out, struct err *err)
{
    (void)err;
    words->next = words->len;
    out->rest_at = strcspn(out->text, " \t");
    out->rest_at += strspn(out->text + out->rest_at, " \t");
    return 0;
}

/* ---- the table ---- */

/* clang-format off */
static const struct verb_info verbs[] = {
    {"up", LAB_UP, parse_up, "up 3 [name=value...]", "start that many members; name=value are flags of kvd"},
    {"cut", LAB_CUT, parse_cut, "cut A>B | cut A-B", "what A sends no longer reaches B; -: both ways"},
    {"partition", LAB_PARTITION, parse_partition, "partition 1,2|3,4,5", "cut all links between the parts"},
    {"heal", LAB_HEAL, parse_heal, "heal [A>B]", "no link is cut or slow any more"},
    {"delay", LAB_DELAY, parse_delay, "delay A>B 200ms", "what A sends to B arrives later; 0: as before"},
    {"thin", LAB_THIN, parse_thin, "thin A-B 8000", "no more than so many bytes per second from A to B; 0: as before"},
    {"kill", LAB_KILL, parse_members, "kill N|leader", "SIGKILL"},
    {"stop", LAB_STOP, parse_members, "stop N|leader", "SIGTERM: an orderly stop, a leader hands over first"},
    {"restart", LAB_RESTART, parse_members, "restart N|dead", "start it again on its data; a stop that goes on is waited for"},
    {"pause", LAB_PAUSE, parse_pause, "pause N [3s]", "SIGSTOP, and SIGCONT after that time"},
    {"resume", LAB_RESUME, parse_members, "resume N", "SIGCONT"},
    {"slow-disk", LAB_SLOW_DISK, parse_slow_disk, "slow-disk N 200ms", "each sync takes so much longer; 0: as before"},
    {"disk-full", LAB_DISK_FULL, parse_members, "disk-full N", "every write to its disk fails: no space left"},
    {"disk-ok", LAB_DISK_OK, parse_members, "disk-ok N", "the disk is fast and has room again"},
    {"torn", LAB_TORN, parse_members, "torn N", "while it is down: half a record behind the end of its log, as when the power went"},
    {"forget", LAB_FORGET, parse_forget, "forget N [RECORDS]", "while it is down: its disk has lied, the last 20 records (or so many) were never written"},
    {"add", LAB_ADD, parse_add, "add [learner]", "one more member (or learner), started empty"},
    {"promote", LAB_PROMOTE, parse_members, "promote N", "a learner becomes a voter"},
    {"remove", LAB_REMOVE, parse_members, "remove N", "takes it out of the cluster"},
    {"snapshot", LAB_SNAPSHOT, parse_bare, "snapshot", "saves a snapshot file (kvctl snapshot save)"},
    {"restore", LAB_RESTORE, parse_bare, "restore", "all members anew from the last snapshot (kvctl snapshot restore)"},
    {"lock", LAB_LOCK, parse_holder, "lock A", "client A, B or C queues up for a lock with a lease of 2 s"},
    {"sleep", LAB_SLEEP, parse_holder, "sleep A", "that client is paused: its lease is not renewed"},
    {"wake", LAB_WAKE, parse_holder, "wake A", "and goes on, believing that it still holds the lock"},
    {"write", LAB_WRITE, parse_write, "write A [unguarded]", "it writes, guarded by its fencing token, or not"},
    {"load", LAB_LOAD, parse_load, "load on [BYTES]|off", "the clients; BYTES: how long their values are"},
    {"wait", LAB_WAIT, words__parse_wait, "wait 2s | leader | writes | up N | down N | caught-up N | holder A [30s]", "until it is so"},
    {"expect", LAB_EXPECT, words__parse_expect, "expect lost = 0 | failover <= 2s | writes go on | ...", "an assertion; a script with one that fails ends with 1"},
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
          "1s], leader N, no leader, same data, down N, holder A, log N has TEXT.\n",
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
    struct lab_words words = {.len = 0};
    char spaced[LAB_TEXT_MAX];
    struct slice verb;
    int rc;

    *out = (struct lab_command){.ms = -1};
    line = trim(line);
    rc = space_out(line, false, out->text, err);
    if (rc == 0)
        rc = space_out(line, line.len > 6 && memcmp(line.data, "expect", 6) == 0, spaced, err);
    if (rc == 0)
        rc = words__split(slice_str(spaced), &words, err);
    if (rc != 0 || words.len == 0)
        return rc;
    verb = words__take(&words);
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (!words__is(verb, verbs[i].name))
            continue;
        out->verb = verbs[i].verb;
        rc = verbs[i].parse(&words, out, err);
        if (rc == 0)
            rc = words__no_more(&words, err);
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
