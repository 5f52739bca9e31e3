/* completion bash, fish, zsh: scripts that complete commands and flags, made of the table of
 * commands. They ask nobody while they complete, so they are as good without a server. */
#include <string.h>

#include "client/ctl/ctl.h"

static const char formats[] = "fields json protobuf simple table";

/* ---- the table, as scripts need it ---- */

/* Whether commands[i] opens a group: several words, the first of which no command before had. */
static bool opens_group(size_t i, size_t *len)
{
    const char *name = ctl_commands[i]->name;

    *len = strcspn(name, " ");
    return name[*len] == ' ' && (i == 0 || strncmp(ctl_commands[i - 1]->name, name, *len + 1) != 0);
}

static void print_first_words(FILE *out)
{
    for (size_t i = 0; i < ctl_commands_len; i++) {
        const char *name = ctl_commands[i]->name;
        size_t len;

        if (opens_group(i, &len) || name[len] == '\0')
            fprintf(out, "%.*s ", (int)len, name);
    }
}

static void print_second_words(FILE *out, const char *group, size_t len)
{
    for (size_t i = 0; i < ctl_commands_len; i++)
        if (strncmp(ctl_commands[i]->name, group, len + 1) == 0)
            fprintf(out, "%s ", ctl_commands[i]->name + len + 1);
}

static void print_flags(FILE *out, const struct flag *flags, bool only_with_value)
{
    for (; flags != NULL && flags->name != NULL; flags++) {
        if (only_with_value && flags->kind == FLAG_BOOL)
            continue;
        fprintf(out, "--%s ", flags->name);
        if (flags->letter != '\0')
            fprintf(out, "-%c ", flags->letter);
    }
}

/* Flags whose value may be the next word, of all commands. */
static void print_value_flags(FILE *out)
{
    print_flags(out, ctl_global_flags, true);
    for (size_t i = 0; i < ctl_commands_len; i++)
        print_flags(out, ctl_commands[i]->flags, true);
}

/* In single quotes, for all three shells (fish reads \ in them, so there is none). */
static void print_quoted(FILE *out, const char *text)
{
    fputc('\'', out);
    for (; *text != '\0'; text++)
        if (*text != '\'' && *text != '\\')
            fputc(*text, out);
    fputc('\'', out);
}

/* What may follow: words after a group, flags after a command. */
static void print_cases(FILE *out, const char *words)
{
    size_t len;

    fprintf(out, "    \"\") %s=\"", words);
    print_first_words(out);
    fputs("\" ;;\n", out);
    for (size_t i = 0; i < ctl_commands_len; i++) {
        const struct ctl_command *command = ctl_commands[i];

        if (opens_group(i, &len)) {
            fprintf(out, "    \"%.*s\") %s=\"", (int)len, command->name, words);
            print_second_words(out, command->name, len);
            fputs("\" ;;\n", out);
        }
        fprintf(out, "    \"%s\") flags=\"", command->name);
        print_flags(out, command->flags, false);
        fputs("\" ;;\n", out);
    }
    fputs("    esac\n", out);
}

static void print_groups(FILE *out)
{
    size_t len;

    for (size_t i = 0; i < ctl_commands_len; i++)
        if (opens_group(i, &len))
            fprintf(out, "%.*s ", (int)len, ctl_commands[i]->name);
}

static void print_lists(FILE *out)
{
    fputs("    local takes=\" ", out);
    print_value_flags(out);
    fputs("\"\n    local groups=\" ", out);
    print_groups(out);
    fputs("\"\n    local common=\"--help -h ", out);
    print_flags(out, ctl_global_flags, false);
    fputs("\"\n", out);
}

/* ---- bash ---- */

/* Bash takes "--flag=value" apart at the "=". */
static int run_bash(struct ctl *ctl, const void *options, int argc, char **argv)
{
    (void)options;
    (void)argc;
    (void)argv;
    fputs("# bash completion for kvctl: source <(kvctl completion bash)\n"
          "_kvctl()\n{\n"
          "    local cur=\"${COMP_WORDS[COMP_CWORD]}\" flag=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
          "    local command=\"\" words=\"\" flags=\"\" word i\n",
          ctl->out);
    print_lists(ctl->out);
    fputs("    COMPREPLY=()\n"
          "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "        word=\"${COMP_WORDS[i]}\"\n"
          "        if [[ \"$word\" == -* ]]; then\n"
          "            if [[ \"${COMP_WORDS[i+1]}\" == \"=\" ]]; then i=$((i + 2))\n"
          "            elif [[ \"$takes\" == *\" $word \"* ]]; then i=$((i + 1)); fi\n"
          "        elif [[ -z \"$command\" ]]; then command=\"$word\"\n"
          "        elif [[ \"$groups\" == *\" $command \"* ]]; then command=\"$command $word\"\n"
          "        fi\n"
          "    done\n"
          "    if [[ \"$cur\" == \"=\" ]]; then cur=\"\"\n"
          "    elif [[ \"$flag\" == \"=\" ]]; then flag=\"${COMP_WORDS[COMP_CWORD-2]}\"; fi\n"
          "    if [[ \"$flag\" == --write-out || \"$flag\" == -w ]]; then\n        words=\"",
          ctl->out);
    fprintf(ctl->out,
            "%s\"\n"
            "    elif [[ \"$flag\" == -* && \"$takes\" == *\" $flag \"* ]]; then\n"
            "        return # a value: files are what can be guessed\n"
            "    else\n    case \"$command\" in\n",
            formats);
    print_cases(ctl->out, "words");
    fputs("    if [[ \"$cur\" == -* ]]; then words=\"$flags $common\"; fi\n"
          "    fi\n"
          "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
          "}\n"
          "complete -o default -F _kvctl kvctl\n",
          ctl->out);
    return CTL_OK;
}

const struct ctl_command ctl_cmd_completion_bash = {
    .name = "completion bash",
    .usage = "completion bash",
    .brief = "Prints a script that completes kvctl's command line in bash",
    .help = "Now: source <(kvctl completion bash). For every shell to come: write it to\n"
            "~/.local/share/bash-completion/completions/kvctl.\n",
    .offline = true,
    .run = run_bash,
};

/* ---- zsh ---- */

static int run_zsh(struct ctl *ctl, const void *options, int argc, char **argv)
{
    (void)options;
    (void)argc;
    (void)argv;
    fputs("#compdef kvctl\n"
          "_kvctl()\n{\n"
          "    local command=\"\" found=\"\" flags=\"\" cur=\"$PREFIX\" word "
          "flag=\"${words[CURRENT-1]}\"\n"
          "    integer i\n",
          ctl->out);
    print_lists(ctl->out);
    fprintf(ctl->out,
            "    for ((i = 2; i < CURRENT; i++)); do\n"
            "        word=\"${words[i]}\"\n"
            "        if [[ \"$word\" == -* ]]; then\n"
            "            if [[ \"$takes\" == *\" $word \"* ]]; then i=$((i + 1)); fi\n"
            "        elif [[ -z \"$command\" ]]; then command=\"$word\"\n"
            "        elif [[ \"$groups\" == *\" $command \"* ]]; then command=\"$command $word\"\n"
            "        fi\n"
            "    done\n"
            "    if [[ \"$flag\" == --write-out || \"$flag\" == -w ]]; then\n"
            "        compadd -- %s\n"
            "        return\n"
            "    elif [[ \"$flag\" == -* && \"$takes\" == *\" $flag \"* ]]; then\n"
            "        _files\n"
            "        return\n"
            "    fi\n"
            "    case \"$command\" in\n",
            formats);
    print_cases(ctl->out, "found");
    fputs("    if [[ \"$cur\" == -* ]]; then found=\"$flags $common\"; fi\n"
          "    compadd -- ${=found}\n"
          "}\n"
          "if [[ \"${funcstack[1]}\" == _kvctl ]]; then _kvctl \"$@\"; else compdef _kvctl kvctl; "
          "fi\n",
          ctl->out);
    return CTL_OK;
}

const struct ctl_command ctl_cmd_completion_zsh = {
    .name = "completion zsh",
    .usage = "completion zsh",
    .brief = "Prints a script that completes kvctl's command line in zsh",
    .help = "Now: source <(kvctl completion zsh). For every shell to come: write it to a file\n"
            "_kvctl in a folder of $fpath.\n",
    .offline = true,
    .run = run_zsh,
};

/* ---- fish ---- */

static void fish_flags(FILE *out, const struct flag *flags, const char *command)
{
    for (; flags != NULL && flags->name != NULL; flags++) {
        fputs("complete -c kvctl", out);
        if (command != NULL)
            fprintf(out, " -n '__kvctl_in %s'", command);
        fprintf(out, " -l %s", flags->name);
        if (flags->letter != '\0')
            fprintf(out, " -s %c", flags->letter);
        if (strcmp(flags->name, "write-out") == 0)
            fprintf(out, " -xa '%s'", formats);
        else if (flags->kind != FLAG_BOOL)
            fputs(" -r", out);
        fputs(" -d ", out);
        print_quoted(out, flags->help);
        fputc('\n', out);
    }
}

static void fish_command(FILE *out, size_t i)
{
    const struct ctl_command *command = ctl_commands[i];
    size_t len;

    if (opens_group(i, &len))
        fprintf(out, "complete -c kvctl -f -n '__kvctl_in' -a %.*s\n", (int)len, command->name);
    else
        len = strcspn(command->name, " ");
    if (command->name[len] == ' ')
        fprintf(out, "complete -c kvctl -f -n '__kvctl_in %.*s' -a %s -d ", (int)len, command->name,
                command->name + len + 1);
    else
        fprintf(out, "complete -c kvctl -f -n '__kvctl_in' -a %s -d ", command->name);
    print_quoted(out, command->brief);
    fputc('\n', out);
    fish_flags(out, command->flags, command->name);
}

static int run_fish(struct ctl *ctl, const void *options, int argc, char **argv)
{
    (void)options;
    (void)argc;
    (void)argv;
    fputs("# fish completion for kvctl: kvctl completion fish | source\n"
          "function __kvctl_in --description 'Whether the command so far is just this'\n"
          "    set -l takes ",
          ctl->out);
    print_value_flags(ctl->out);
    fputs("\n    set -l groups ", ctl->out);
    print_groups(ctl->out);
    fputs("\n    set -l command\n"
          "    set -l skip 0\n"
          "    for word in (commandline -opc)[2..-1]\n"
          "        if test $skip = 1\n"
          "            set skip 0\n"
          "        else if string match -q -- '-*' $word\n"
          "            contains -- $word $takes; and set skip 1\n"
          "        else if test (count $command) = 0; or begin\n"
          "                test (count $command) = 1; and contains -- $command $groups\n"
          "            end\n"
          "            set -a command $word\n"
          "        end\n"
          "    end\n"
          "    test \"$command\" = \"$argv\"\n"
          "end\n",
          ctl->out);
    fish_flags(ctl->out, ctl_global_flags, NULL);
    for (size_t i = 0; i < ctl_commands_len; i++)
        fish_command(ctl->out, i);
    return CTL_OK;
}

const struct ctl_command ctl_cmd_completion_fish = {
    .name = "completion fish",
    .usage = "completion fish",
    .brief = "Prints a script that completes kvctl's command line in fish",
    .help = "Now: kvctl completion fish | source. For every shell to come: write it to\n"
            "~/.config/fish/completions/kvctl.fish.\n",
    .offline = true,
    .run = run_fish,
};
