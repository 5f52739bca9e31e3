/* Whole scripts: every line is understood, and possible, before the first one is carried out. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/util.h"
#include "lab/command.h"

enum { SCRIPT_SIZE_MAX = 1 << 20, SCRIPT_LINES_MAX = 10000 };

/* The first line, if it is a comment, says what the script is about. */
static char *title_of(struct slice text)
{
    const uint8_t *end = memchr(text.data, '\n', text.len);
    size_t len = end != NULL ? (size_t)(end - text.data) : text.len, at = 0;
    char *title;

    if (len == 0 || text.data[0] != '#')
        return xstrdup("");
    while (at < len && (text.data[at] == '#' || text.data[at] == ' '))
        at++;
    title = xmalloc(len - at + 1);
    memcpy(title, text.data + at, len - at);
    title[len - at] = '\0';
    return title;
}

/* What the line needs of the lines before it. members: how many there have been. */
static int check_possible(const struct lab_command *command, bool first, unsigned *members,
                          struct err *err)
{
    unsigned highest = lab_command_highest(command);

    if (first && command->verb != LAB_UP)
        return err_set(err, KV_EINVAL, "a script begins with up, such as up 3");
    if (!first && command->verb == LAB_UP)
        return err_set(err, KV_EINVAL, "the members are up already; add starts one more");
    if (command->verb == LAB_UP)
        *members = command->count;
    if (command->verb == LAB_ADD && ++*members > LAB_MEMBERS_MAX)
        return err_set(err, KV_EINVAL, "more than %d members", LAB_MEMBERS_MAX);
    if (highest > *members)
        return err_set(err, KV_EINVAL, "there is no member %u: they are 1 to %u", highest,
                       *members);
    return 0;
}

static int parse_line(struct lab_script *script, struct slice line, unsigned number,
                      unsigned *members, struct err *err)
{
    struct lab_command *command = &script->commands[script->len];
    int rc = lab_command_parse(line, command, err);

    command->line = number;
    if (rc == 0 && command->verb == LAB_NOTHING)
        return 0;
    if (rc == 0)
        rc = check_possible(command, script->len == 0, members, err);
    if (rc != 0) {
        err_prefix(err, "%s, line %u: %.*s", script->name, number, (int)MIN(line.len, (size_t)80),
                   (const char *)line.data);
        return rc;
    }
    script->len++;
    return 0;
}

int lab_script_parse(const char *name, struct slice text, struct lab_script *out, struct err *err)
{
    struct lab_script script = {.name = xstrdup(name), .title = title_of(text)};
    unsigned number = 0, members = 0;
    size_t at = 0, cap = 0;
    int rc = 0;

    if (text.len > SCRIPT_SIZE_MAX)
        rc = err_set(err, KV_ETOOBIG, "%s: longer than 1 MiB", name);
    while (rc == 0 && at < text.len) {
        const uint8_t *end = memchr(text.data + at, '\n', text.len - at);
        size_t len = end != NULL ? (size_t)(end - text.data) - at : text.len - at;

        if (++number > SCRIPT_LINES_MAX) {
            rc = err_set(err, KV_ETOOBIG, "%s: more than %d lines", name, SCRIPT_LINES_MAX);
            break;
        }
        if (script.len == cap) {
            cap = MAX(cap * 2, (size_t)64);
            script.commands = xrealloc(script.commands, cap * sizeof *script.commands);
        }
        rc = parse_line(&script, slice_of(text.data + at, len), number, &members, err);
        at += len + 1;
    }
    if (rc == 0 && script.len == 0)
        rc = err_set(err, KV_EINVAL, "%s: there is no command in it", name);
    if (rc != 0) {
        lab_script_release(&script);
        return rc;
    }
    *out = script;
    return 0;
}

void lab_script_release(struct lab_script *script)
{
    free(script->name);
    free(script->title);
    free(script->commands);
    *script = (struct lab_script){.name = NULL};
}
