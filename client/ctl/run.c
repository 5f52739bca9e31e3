/* One command line from words to exit code. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/ctl.h"

int ctl_fail(struct ctl *ctl, int code, const char *fmt, ...)
{
    va_list args;

    fputs("Error: ", ctl->err);
    va_start(args, fmt);
    vfprintf(ctl->err, fmt, args);
    va_end(args);
    fputc('\n', ctl->err);
    return code;
}

int ctl_fail_call(struct ctl *ctl, const struct kv_result *result)
{
    fprintf(ctl->err, "Error: %s\n", result->err.text);
    if (result->err.code == KV_EUNKNOWN)
        fputs("Whether it was carried out is not known: read before you repeat it.\n", ctl->err);
    /* etcdctl logs in when it connects, and gives up as if that had failed. */
    return result->err.code == KV_EAUTHFAILED ? CTL_BAD_CONNECTION : CTL_ERROR;
}

static int check_printable(struct ctl *ctl, const ProtobufCMessageDescriptor *message)
{
    if (message == NULL || output_knows_message(&ctl->output, message))
        return 0;
    return ctl_fail(ctl, CTL_BAD_FEATURE, "%s not supported as output format",
                    ctl->output.format->name);
}

int ctl_connect(struct ctl *ctl, const ProtobufCMessageDescriptor *message, struct kv_client **out)
{
    struct kv_options options;
    struct err err = ERR_INIT;
    int code;

    code = check_printable(ctl, message);
    if (code != 0)
        return code;
    options = ctl_kv_options(ctl);
    options.endpoints = ctl->globals.endpoints.items;
    options.endpoints_len = ctl->globals.endpoints.len;
    if (kv_client_open(NULL, &options, out, &err) != 0)
        return ctl_fail(ctl, CTL_BAD_ARGS, "%s", err.text);
    return 0;
}

const struct slice *ctl_slices(struct ctl *ctl, int argc, char **argv)
{
    struct slice *args = arena_alloc(&ctl->arena, (size_t)(argc + 1) * sizeof *args);
    int i;

    for (i = 0; i < argc; i++)
        args[i] = slice_str(argv[i]);
    return args;
}

int ctl_call_and_print(struct ctl *ctl, const struct kv_method *method,
                       const ProtobufCMessage *request, int flags)
{
    struct kv_call_options options = {.flags = flags};
    struct kv_client *client = NULL;
    struct kv_result result = {.message = NULL};
    int code;

    code = ctl_connect(ctl, method->response, &client);
    if (code != 0)
        return code;
    if (kv_call(client, method, request, &options, &result) == 0)
        output_message(&ctl->output, result.message);
    else
        code = ctl_fail_call(ctl, &result);
    kv_result_release(&result);
    kv_client_free(client);
    return code;
}

/* The words before the first argument of a command: what is left when global flags are skipped.
 * Which flags a command has is only known afterwards, so that these must be global ones. */
static size_t take_words(const struct flag_set *global, char **argv, int argc, char **words,
                         int *at, size_t words_max)
{
    size_t len = 0, set, flag;
    int i;

    for (i = 1; i < argc && len < words_max; i++) {
        const char *arg = argv[i];
        bool found;

        if (arg[0] != '-' || arg[1] == '\0') {
            at[len] = i;
            words[len++] = argv[i];
            continue;
        }
        if (strcmp(arg, "--") == 0)
            break;
        if (arg[1] == '-')
            found = flags_find(global, 1, arg + 2, strlen(arg + 2), &set, &flag);
        else
            found = arg[2] == '\0' && flags_find_letter(global, 1, arg[1], &set, &flag);
        if (found && ctl_global_flags[flag].kind != FLAG_BOOL)
            i++; /* its value */
    }
    return len;
}

static int fail_unknown(struct ctl *ctl, const char *group, const char *word)
{
    const char *near = ctl_suggest(group, word);

    fprintf(ctl->err, "Error: unknown command \"%s\" for \"kvctl%s%s\"\n", word,
            group != NULL ? " " : "", group != NULL ? group : "");
    if (near != NULL)
        fprintf(ctl->err, "\nDid you mean this?\n\t%s\n", near);
    fprintf(ctl->err, "\nRun 'kvctl%s%s --help' for usage.\n", group != NULL ? " " : "",
            group != NULL ? group : "");
    return CTL_ERROR;
}

/* No command: help was asked for, or a word is wrong. */
static int run_nothing(struct ctl *ctl, char **words, size_t words_len, const char *group)
{
    if (words_len == 0)
        ctl_help_all(ctl->out);
    else if (group == NULL)
        return fail_unknown(ctl, NULL, words[0]);
    else if (words_len == 1)
        ctl_help_group(ctl->out, group);
    else
        return fail_unknown(ctl, group, words[1]);
    return CTL_OK;
}

static int run_command(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
    void *options = arena_calloc(&ctl->arena, MAX(command->options_size, (size_t)1));
    struct flag_set sets[2] = {
        {.flags = command->flags, .options = options},
        ctl->global_set,
    };
    char **args = arena_alloc(&ctl->arena, (size_t)(argc + 1) * sizeof *args);
    struct err err = ERR_INIT;
    bool help = false;
    int args_len, rc;

    flags_init(&sets[0], &ctl->arena);
    rc = flags_parse(sets, ARRAY_LEN(sets), argc, argv, &ctl->arena, args, &args_len, &help, &err);
    ctl->global_set = sets[1];
    ctl->args_at_dash = sets[0].args_at_dash;
    if (help) {
        ctl_help_command(ctl->out, command);
        return CTL_OK;
    }
    if (rc != 0) {
        (void)ctl_fail(ctl, CTL_ERROR, "%s", err.text);
        fprintf(ctl->err, "Run 'kvctl %s --help' for usage.\n", command->name);
        return CTL_ERROR;
    }
    rc = command->offline ? 0 : ctl_prepare(ctl);
    return rc != 0 ? rc : command->run(ctl, options, args_len, args);
}

/* Global flags without a command still have to be right: "kvctl --endpoint x" is no call for help.
 */
static int check_flags_alone(struct ctl *ctl, int argc, char **argv)
{
    char **args = arena_alloc(&ctl->arena, (size_t)(argc + 1) * sizeof *args);
    struct err err = ERR_INIT;
    bool help = false;
    int args_len;

    if (flags_parse(&ctl->global_set, 1, argc, argv, &ctl->arena, args, &args_len, &help, &err) ==
            0 ||
        help)
        return 0;
    (void)ctl_fail(ctl, CTL_ERROR, "%s", err.text);
    fputs("Run 'kvctl --help' for usage.\n", ctl->err);
    return CTL_ERROR;
}

static int dispatch(struct ctl *ctl, int argc, char **argv)
{
    char *words[2];
    int at[2];
    size_t len = take_words(&ctl->global_set, argv, argc, words, at, ARRAY_LEN(words)), used = 0, i;
    const struct ctl_command *command;
    const char *group = NULL;
    char **rest;
    int rest_len = 0, k, code;

    command = ctl_find(words, len, &used, &group);
    if (command == NULL) {
        code = len < 2 ? check_flags_alone(ctl, argc - 1, argv + 1) : 0;
        return code != 0 ? code : run_nothing(ctl, words, len, group);
    }
    rest = arena_alloc(&ctl->arena, (size_t)argc * sizeof *rest);
    for (k = 1; k < argc; k++) {
        bool is_name = false;

        for (i = 0; i < used; i++)
            is_name = is_name || at[i] == k;
        if (!is_name)
            rest[rest_len++] = argv[k];
    }
    return run_command(ctl, command, rest_len, rest);
}

/* errno is of the last write; the one that failed may have been long before. */
static bool reader_is_gone(FILE *out)
{
    struct pollfd poll_fd = {.fd = fileno(out), .events = POLLOUT};

    return errno == EPIPE || (poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLERR) != 0);
}

/* An answer that did not reach its file is no success. A reader that had enough ("| head") needs no
 * message. */
static int finish_output(struct ctl *ctl, int code)
{
    errno = 0;
    if ((fflush(ctl->out) == 0 && !ferror(ctl->out)) || code != CTL_OK)
        return code;
    if (reader_is_gone(ctl->out))
        return CTL_IO;
    return ctl_fail(ctl, CTL_IO, "writing the output: %s",
                    errno != 0 ? strerror(errno) : "some of it was lost");
}

int ctl_run(int argc, char **argv, char **env, FILE *in, FILE *out, FILE *err)
{
    struct ctl ctl = {.in = in, .out = out, .err = err, .env = env, .arena = ARENA_INIT};
    int code;

    ctl.global_set = (struct flag_set){
        .flags = ctl_global_flags,
        .options = &ctl.globals,
    };
    flags_init(&ctl.global_set, &ctl.arena);
    code = dispatch(&ctl, argc, argv);
    code = finish_output(&ctl, code);
    arena_release(&ctl.arena);
    return code;
}
