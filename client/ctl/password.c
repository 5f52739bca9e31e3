#include "client/ctl/password.h"

#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* A line of the input without its end; NULL: there is none. In the arena. */
static const char *read_line(struct ctl *ctl)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len = getline(&line, &cap, ctl->in);
    struct slice copy;
    char *out = NULL;

    if (len >= 0) {
        copy = slice_of(line, strcspn(line, "\r\n"));
        out = arena_calloc(&ctl->arena, copy.len + 1);
        if (copy.len > 0)
            memcpy(out, copy.data, copy.len);
        explicit_bzero(line, cap);
    }
    free(line);
    return out;
}

int password_ask(struct ctl *ctl, const char *prompt, const char **out)
{
    int fd = fileno(ctl->in);
    bool terminal = fd >= 0 && isatty(fd);
    struct termios before, quiet;

    fputs(prompt, ctl->err);
    (void)fflush(ctl->err); /* a prompt that is lost is seen by nobody anyway */
    if (terminal && tcgetattr(fd, &before) == 0) {
        quiet = before;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        (void)tcsetattr(fd, TCSAFLUSH, &quiet); /* then it is echoed: better than no way in */
        *out = read_line(ctl);
        (void)tcsetattr(fd, TCSAFLUSH, &before); /* as it was */
        fputc('\n', ctl->err);
    } else {
        *out = read_line(ctl);
    }
    if (*out == NULL)
        return ctl_fail(ctl, CTL_BAD_ARGS, "failed to ask password: EOF");
    return 0;
}

static int ask_twice(struct ctl *ctl, const char *user, const char **out)
{
    size_t size = strlen(user) + 64;
    char *prompt = arena_alloc(&ctl->arena, size);
    const char *again;
    int code;

    (void)snprintf(prompt, size, "Password of %s: ", user);
    code = password_ask(ctl, prompt, out);
    if (code != 0)
        return code;
    if ((*out)[0] == '\0')
        return ctl_fail(ctl, CTL_BAD_ARGS, "empty password");
    (void)snprintf(prompt, size, "Type password of %s again for confirmation: ", user);
    code = password_ask(ctl, prompt, &again);
    if (code != 0)
        return code;
    if (strcmp(*out, again) != 0)
        return ctl_fail(ctl, CTL_BAD_ARGS, "given passwords are different.");
    return 0;
}

/* As etcdctl: the first word of a line, which may be none. */
static const char *read_word(struct ctl *ctl)
{
    const char *line = read_line(ctl);
    struct slice word;
    char *out;

    if (line == NULL)
        return "";
    line += strspn(line, " \t");
    word = slice_of(line, strcspn(line, " \t"));
    out = arena_calloc(&ctl->arena, word.len + 1);
    if (word.len > 0)
        memcpy(out, word.data, word.len);
    return out;
}

int password_new(struct ctl *ctl, const char *user, bool interactive, const char **out)
{
    if (interactive)
        return ask_twice(ctl, user, out);
    *out = read_word(ctl);
    return 0;
}

int password_of_flags(struct ctl *ctl, const char *user_flag, const char *password_flag,
                      const char **user, const char **password)
{
    const char *colon = strchr(user_flag, ':');
    char *name;

    *user = NULL;
    *password = NULL;
    if (user_flag[0] == '\0')
        return 0;
    *user = user_flag;
    *password = password_flag;
    if (password_flag[0] != '\0')
        return 0;
    if (colon == NULL)
        return password_ask(ctl, "Password: ", password);
    name = arena_calloc(&ctl->arena, (size_t)(colon - user_flag) + 1);
    memcpy(name, user_flag, (size_t)(colon - user_flag));
    *user = name;
    *password = colon + 1;
    return 0;
}
