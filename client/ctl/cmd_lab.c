/* The lab on the command line. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/near.h"
#include "client/ctl/ctl.h"
#include "lab/lab.h"

#define LESSON_PREFIX "lesson:"

enum { SCRIPT_SIZE_MAX = 1 << 20 };

struct lab_flags {
    const char *dir, *kvd, *html;
    int64_t port, seed, pace_ns;
    bool keep, stay, no_page;
};

static int64_t ms_of(int64_t ns)
{
    return ns / 1000000;
}

static int take_options(struct ctl *ctl, const struct lab_flags *flags, struct lab_options *out)
{
    if (flags->port < 0 || flags->port > 65535)
        return ctl_fail(ctl, CTL_BAD_ARGS, "--port is from 0 (any) to 65535");
    if (flags->pace_ns < 1000000 || ms_of(flags->pace_ns) > 60000)
        return ctl_fail(ctl, CTL_BAD_ARGS, "--pace is from 1ms to 1m");
    *out = (struct lab_options){
        .in = ctl->in,
        .out = ctl->out,
        .env = ctl->env,
        .kvd = flags->kvd[0] != '\0' ? flags->kvd : NULL,
        .dir = flags->dir[0] != '\0' ? flags->dir : NULL,
        .html = flags->html[0] != '\0' ? flags->html : NULL,
        .keep = flags->keep,
        .stay = flags->stay,
        .no_page = flags->no_page,
        .port = (uint16_t)flags->port,
        .seed = (uint64_t)flags->seed,
        .pace_ms = (uint64_t)ms_of(flags->pace_ns),
    };
    return 0;
}

static int run(struct ctl *ctl, const struct lab_options *options)
{
    struct err err = ERR_INIT;
    int rc = lab_run(options, &err);

    if (rc >= 0)
        return rc == 0 ? CTL_OK : CTL_ERROR;
    return ctl_fail(ctl, CTL_ERROR, "%s", err.text);
}

/* ---- up ---- */

static int run_up(struct ctl *ctl, const void *flags, int argc, char **argv)
{
    struct lab_options options;
    int code = take_options(ctl, flags, &options);

    if (code != 0)
        return code;
    options.members = 3;
    if (argc > 1)
        return ctl_fail(ctl, CTL_BAD_ARGS, "lab up needs at most one argument, how many members");
    if (argc == 1) {
        if (strlen(argv[0]) != 1 || argv[0][0] < '1' || argv[0][0] > '0' + LAB_MEMBERS_MAX)
            return ctl_fail(ctl, CTL_BAD_ARGS, "\"%s\" members: 1 to %d, best 3 or 5", argv[0],
                            LAB_MEMBERS_MAX);
        options.members = (unsigned)(argv[0][0] - '0');
    }
    return run(ctl, &options);
}

/* ---- run ---- */

static const char *nearest_lesson(const char *name)
{
    const struct lab_lesson *lesson;
    const char *best = NULL;
    size_t best_distance = 6;

    for (size_t n = 0; (lesson = lab_lesson_at(n)) != NULL; n++) {
        size_t d = near_distance(name, strlen(name), lesson->name, strlen(lesson->name));

        if (d < best_distance) {
            best = lesson->name;
            best_distance = d;
        }
    }
    return best;
}

static int find_lesson(struct ctl *ctl, const char *name, struct slice *out)
{
    const struct lab_lesson *lesson = lab_lesson_named(name);
    const char *near;

    if (lesson != NULL) {
        *out = lesson->text;
        return 0;
    }
    near = nearest_lesson(name);
    return ctl_fail(ctl, CTL_BAD_ARGS,
                    "there is no lesson \"%s\"%s%s%s; 'kvctl lab lessons' lists them", name,
                    near != NULL ? ", did you mean \"" : "", near != NULL ? near : "",
                    near != NULL ? "\"?" : "");
}

/* The whole file, in the arena. */
static int read_script(struct ctl *ctl, const char *path, struct slice *out)
{
    uint8_t *text = arena_alloc(&ctl->arena, SCRIPT_SIZE_MAX + 1);
    int fd = strcmp(path, "-") == 0 ? dup(fileno(ctl->in)) : open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t n = 1;

    while (fd >= 0 && n > 0 && len <= SCRIPT_SIZE_MAX) {
        n = read(fd, text + len, SCRIPT_SIZE_MAX + 1 - len);
        len += n > 0 ? (size_t)n : 0;
    }
    if (fd < 0 || n < 0) {
        int saved = errno;

        if (fd >= 0)
            (void)close(fd); /* only read */
        return ctl_fail(ctl, CTL_IO, "reading the script %s: %s", path, strerror(saved));
    }
    (void)close(fd); /* only read */
    *out = slice_of(text, len);
    return 0;
}

static int run_run(struct ctl *ctl, const void *flags, int argc, char **argv)
{
    struct lab_options options;
    struct lab_script script;
    struct err err = ERR_INIT;
    struct slice text;
    int code = take_options(ctl, flags, &options);

    if (code != 0)
        return code;
    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS,
                        "lab run needs one argument: a script, - for what comes in, or "
                        "lesson:NAME");
    if (strncmp(argv[0], LESSON_PREFIX, strlen(LESSON_PREFIX)) == 0)
        code = find_lesson(ctl, argv[0] + strlen(LESSON_PREFIX), &text);
    else
        code = read_script(ctl, argv[0], &text);
    if (code != 0)
        return code;
    if (lab_script_parse(argv[0], text, &script, &err) != 0)
        return ctl_fail(ctl, CTL_BAD_INPUT, "%s", err.text);
    options.script = &script;
    code = run(ctl, &options);
    lab_script_release(&script);
    return code;
}

/* ---- lessons ---- */

static int run_lessons(struct ctl *ctl, const void *options, int argc, char **argv)
{
    const struct lab_lesson *lesson;
    struct slice text = {.len = 0};

    (void)options;
    if (argc > 1)
        return ctl_fail(ctl, CTL_BAD_ARGS,
                        "lab lessons needs at most one argument, a lesson's name");
    if (argc == 1) {
        int code = find_lesson(ctl, argv[0], &text);

        if (code == 0)
            (void)fwrite(text.data, 1, text.len, ctl->out); /* ctl_run() looks at ferror() */
        return code;
    }
    for (size_t n = 0; (lesson = lab_lesson_at(n)) != NULL; n++) {
        struct lab_script script;
        struct err err = ERR_INIT;

        if (lab_script_parse(lesson->name, lesson->text, &script, &err) != 0)
            return ctl_fail(ctl, CTL_BAD_INPUT, "%s", err.text);
        fprintf(ctl->out, "%-20s %s\n", lesson->name, script.title);
        lab_script_release(&script);
    }
    fputs("\n'kvctl lab run lesson:NAME' runs one, 'kvctl lab lessons NAME' shows its script.\n",
          ctl->out);
    return CTL_OK;
}

static int run_help(struct ctl *ctl, const void *options, int argc, char **argv)
{
    (void)options;
    (void)argv;
    if (argc != 0)
        return ctl_fail(ctl, CTL_BAD_ARGS, "lab commands takes no argument");
    lab_command_help(ctl->out);
    return CTL_OK;
}

/* ---- what they are called ---- */

/* clang-format off */
#define COMMON_FLAGS \
    {"dir", 0, FLAG_STRING, offsetof(struct lab_flags, dir), "", "folder for data and logs (a new one in TMPDIR unless given)"}, \
    {"html", 0, FLAG_STRING, offsetof(struct lab_flags, html), "", "write a report with plots to this file in the end"}, \
    {"keep", 0, FLAG_BOOL, offsetof(struct lab_flags, keep), "false", "leave data and logs where they are"}, \
    {"kvd", 0, FLAG_STRING, offsetof(struct lab_flags, kvd), "", "the kvd to start (the one beside kvctl, or in PATH, unless given)"}, \
    {"no-page", 0, FLAG_BOOL, offsetof(struct lab_flags, no_page), "false", "no web page, no port"}, \
    {"pace", 0, FLAG_DURATION, offsetof(struct lab_flags, pace_ns), "20ms", "pause of each client between an answer and the next request"}, \
    {"port", 0, FLAG_INT, offsetof(struct lab_flags, port), "0", "port of the web page on 127.0.0.1 (0: any)"}, \
    {"seed", 0, FLAG_INT, offsetof(struct lab_flags, seed), "0", "of the keys that clients choose (0: drawn)"}

static const struct flag up_flags[] = {
    COMMON_FLAGS,
    {.name = NULL},
};
static const struct flag run_flags[] = {
    COMMON_FLAGS,
    {"stay", 0, FLAG_BOOL, offsetof(struct lab_flags, stay), "false", "go on when the script has ended, for the page"},
    {.name = NULL},
};
/* clang-format on */

const struct ctl_command ctl_cmd_lab_up = {
    .name = "lab up",
    .usage = "lab up [members] [options]",
    .brief = "Starts a cluster to break: faults are typed, or clicked on a web page",
    .help =
        "Starts members on loopback (3 unless said otherwise) with a relay between every two "
        "of\n"
        "them, clients, and a checker of what clients were told. Needs no root. Commands are\n"
        "read from the input: help lists them; quit, or the end of the input, ends the lab and\n"
        "all it has started (with no input at all, </dev/null, it goes on until it is told).\n",
    .flags = up_flags,
    .options_size = sizeof(struct lab_flags),
    .offline = true,
    .run = run_up,
};

const struct ctl_command ctl_cmd_lab_run = {
    .name = "lab run",
    .usage = "lab run <script>|-|lesson:NAME [options]",
    .brief = "Runs an experiment from a script, and says whether it went as expected",
    .help = "One command a line; the first one is up, such as up 3. 'kvctl lab commands' lists "
            "them.\n"
            "Exit code: 0 if all expectations held and nothing that was acknowledged was lost, 1 "
            "if\n"
            "not, 3 if the script has a mistake (then nothing was started).\n",
    .flags = run_flags,
    .options_size = sizeof(struct lab_flags),
    .offline = true,
    .run = run_run,
};

const struct ctl_command ctl_cmd_lab_lessons = {
    .name = "lab lessons",
    .usage = "lab lessons [name]",
    .brief = "Lists the experiments that come with kvctl",
    .offline = true,
    .run = run_lessons,
};

const struct ctl_command ctl_cmd_lab_commands = {
    .name = "lab commands",
    .usage = "lab commands",
    .brief = "Lists what the lab can be told, in scripts and while it runs",
    .offline = true,
    .run = run_help,
};
