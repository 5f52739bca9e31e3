#include "client/ctl/child.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/ctl/gotext.h"

static bool same_name(const char *a, const char *b)
{
    size_t len = strcspn(a, "=");

    return strncmp(a, b, len) == 0 && b[len] == '=';
}

/* The array is the caller's to free; watch needs one per event. */
static char **join_env(struct ctl *ctl, const char *const *extra)
{
    size_t ours = 0, theirs = 0, len = 0, i, j;
    char **env;

    while (ctl->env[ours] != NULL)
        ours++;
    while (extra[theirs] != NULL)
        theirs++;
    env = xmalloc((ours + theirs + 1) * sizeof *env);
    for (i = 0; i < ours; i++) {
        for (j = 0; j < theirs && !same_name(extra[j], ctl->env[i]); j++)
            ;
        if (j == theirs)
            env[len++] = ctl->env[i];
    }
    for (j = 0; j < theirs; j++)
        env[len++] = (char *)(uintptr_t)extra[j];
    env[len] = NULL;
    return env;
}

static void on_closed(uv_handle_t *handle)
{
    struct child *child = CONTAINER_OF(handle, struct child, process);

    child->cb(child); /* last: child may be gone after it */
}

static void on_exit_(uv_process_t *process, int64_t status, int signal)
{
    struct child *child = CONTAINER_OF(process, struct child, process);

    child->status = status;
    child->signal = signal;
    uv_close((uv_handle_t *)process, on_closed);
}

static void explain(struct child *child, const char *name, int code)
{
    if (code == UV_ENOENT)
        (void)err_set(&child->err, KV_ENOTFOUND, "exec: \"%s\": executable file not found in $PATH",
                      name);
    else
        (void)err_set(&child->err, KV_EIO, "exec: \"%s\": %s", name, uv_strerror(code));
}

void child_start(struct ctl *ctl, uv_loop_t *loop, struct child *child, char **argv,
                 const char *const *extra, void (*cb)(struct child *child))
{
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = fileno(ctl->out)},
        {.flags = UV_INHERIT_FD, .data.fd = fileno(ctl->err)},
    };
    uv_process_options_t options = {
        .exit_cb = on_exit_,
        .file = argv[0],
        .args = argv,
        .stdio_count = ARRAY_LEN(stdio),
        .stdio = stdio,
    };
    int rc;

    options.env = join_env(ctl, extra);
    (void)fflush(ctl->out); /* what was printed before comes before what it prints */
    (void)fflush(ctl->err);
    *child = (struct child){.cb = cb};
    rc = uv_spawn(loop, &child->process, &options);
    free(options.env);
    if (rc == 0)
        return;
    explain(child, argv[0], rc);
    uv_close((uv_handle_t *)&child->process, on_closed);
}

const char *child_outcome(struct ctl *ctl, const struct child *child)
{
    enum { TEXT_SIZE = 64 };
    char *text, *at;

    if (child->err.code != 0)
        return child->err.text;
    if (child->signal == 0 && child->status == 0)
        return "";
    text = arena_alloc(&ctl->arena, TEXT_SIZE);
    if (child->signal == 0) {
        (void)snprintf(text, TEXT_SIZE, "exit status %lld", (long long)child->status);
        return text;
    }
    (void)snprintf(text, TEXT_SIZE, "signal: %s", strsignal(child->signal));
    for (at = text; *at != '\0'; at++) /* Go writes them small */
        *at = *at >= 'A' && *at <= 'Z' ? (char)(*at - 'A' + 'a') : *at;
    return text;
}

int child_exit_code(const struct child *child)
{
    if (child->err.code != 0)
        return CTL_ERROR;
    return child->signal != 0 ? 255 : (int)(child->status & 0xff);
}

void child_print_argv(FILE *out, char *const *argv)
{
    size_t i;

    fputc('[', out);
    for (i = 0; argv[i] != NULL; i++) {
        if (i != 0)
            fputc(' ', out);
        go_quote(out, slice_str(argv[i]));
    }
    fputc(']', out);
}
