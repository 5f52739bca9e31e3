/* The table of commands, how a word finds its command, and help. */
#include <string.h>

#include "base/near.h"
#include "base/version.h"
#include "client/ctl/ctl.h"

const struct ctl_command *const ctl_commands[] = {
    &ctl_cmd_alarm_disarm,
    &ctl_cmd_alarm_list,
    &ctl_cmd_auth_disable,
    &ctl_cmd_auth_enable,
    &ctl_cmd_auth_status,
    &ctl_cmd_check_datascale,
    &ctl_cmd_check_perf,
    &ctl_cmd_compaction,
    &ctl_cmd_completion_bash,
    &ctl_cmd_completion_fish,
    &ctl_cmd_completion_zsh,
    &ctl_cmd_defrag,
    &ctl_cmd_del,
    &ctl_cmd_downgrade_cancel,
    &ctl_cmd_downgrade_enable,
    &ctl_cmd_downgrade_validate,
    &ctl_cmd_elect,
    &ctl_cmd_endpoint_hashkv,
    &ctl_cmd_endpoint_health,
    &ctl_cmd_endpoint_status,
    &ctl_cmd_get,
    &ctl_cmd_help,
    &ctl_cmd_lab_commands,
    &ctl_cmd_lab_lessons,
    &ctl_cmd_lab_run,
    &ctl_cmd_lab_up,
    &ctl_cmd_lease_grant,
    &ctl_cmd_lease_keep_alive,
    &ctl_cmd_lease_list,
    &ctl_cmd_lease_revoke,
    &ctl_cmd_lease_timetolive,
    &ctl_cmd_lock,
    &ctl_cmd_make_mirror,
    &ctl_cmd_member_add,
    &ctl_cmd_member_list,
    &ctl_cmd_member_promote,
    &ctl_cmd_member_remove,
    &ctl_cmd_member_replace,
    &ctl_cmd_member_update,
    &ctl_cmd_move_leader,
    &ctl_cmd_put,
    &ctl_cmd_recover,
    &ctl_cmd_role_add,
    &ctl_cmd_role_delete,
    &ctl_cmd_role_get,
    &ctl_cmd_role_grant_permission,
    &ctl_cmd_role_list,
    &ctl_cmd_role_revoke_permission,
    &ctl_cmd_snapshot_restore,
    &ctl_cmd_snapshot_save,
    &ctl_cmd_snapshot_status,
    &ctl_cmd_txn,
    &ctl_cmd_user_add,
    &ctl_cmd_user_delete,
    &ctl_cmd_user_get,
    &ctl_cmd_user_grant_role,
    &ctl_cmd_user_list,
    &ctl_cmd_user_passwd,
    &ctl_cmd_user_revoke_role,
    &ctl_cmd_verify,
    &ctl_cmd_version,
    &ctl_cmd_wal_dump,
    &ctl_cmd_watch,
};
const size_t ctl_commands_len = ARRAY_LEN(ctl_commands);

/* The first or second word of a command's name; NULL if it has no such word. */
static const char *word_of(const struct ctl_command *command, int n, size_t *len)
{
    const char *word = command->name;

    *len = strcspn(word, " ");
    if (n == 0)
        return word;
    if (word[*len] == '\0')
        return NULL;
    word += *len + 1;
    *len = strlen(word);
    return word;
}

static bool in_group(const struct ctl_command *command, const char *group, size_t group_len)
{
    return strncmp(command->name, group, group_len) == 0 && command->name[group_len] == ' ';
}

static bool begins_with(const char *word, size_t len, const char *prefix)
{
    return strlen(prefix) <= len && memcmp(word, prefix, strlen(prefix)) == 0;
}

/* The n-th word, among the commands of group (NULL: all), that typed is, or alone begins. */
static const char *complete(const char *group, int n, const char *typed, size_t *out_len)
{
    const char *found = NULL;
    size_t i, len, found_len = 0;

    for (i = 0; i < ctl_commands_len; i++) {
        const char *word = word_of(ctl_commands[i], n, &len);

        if (word == NULL || (group != NULL && !in_group(ctl_commands[i], group, strlen(group))) ||
            !begins_with(word, len, typed))
            continue;
        if (strlen(typed) == len) {
            *out_len = len;
            return word;
        }
        /* commands of one group share their first word */
        if (found != NULL && (found_len != len || memcmp(found, word, len) != 0))
            return NULL;
        found = word;
        found_len = len;
    }
    *out_len = found_len;
    return found;
}

static const struct ctl_command *named(const char *first, size_t first_len, const char *second)
{
    size_t i, len;

    for (i = 0; i < ctl_commands_len; i++) {
        const char *name = ctl_commands[i]->name;
        const char *rest = word_of(ctl_commands[i], 1, &len);

        if (strncmp(name, first, first_len) != 0 ||
            (name[first_len] != ' ' && name[first_len] != '\0'))
            continue;
        if (second == NULL ? rest == NULL : rest != NULL && strcmp(rest, second) == 0)
            return ctl_commands[i];
    }
    return NULL;
}

/* The group of that name, as a string of its own: groups are few and known. */
static const char *group_named(const char *first, size_t len)
{
    static const char *const groups[] = {"alarm",    "auth", "check", "completion", "downgrade",
                                         "endpoint", "lab",  "lease", "member",     "role",
                                         "snapshot", "user", "wal"};
    size_t i;

    for (i = 0; i < ARRAY_LEN(groups); i++) {
        if (strlen(groups[i]) == len && memcmp(groups[i], first, len) == 0)
            return groups[i];
    }
    return NULL;
}

const struct ctl_command *ctl_find(char *const *words, size_t len, size_t *used, const char **group)
{
    const char *first, *second;
    size_t first_len, second_len;

    *group = NULL;
    if (len == 0)
        return NULL;
    first = complete(NULL, 0, words[0], &first_len);
    if (first == NULL)
        return NULL;
    *group = group_named(first, first_len);
    *used = 1;
    if (*group == NULL)
        return named(first, first_len, NULL);
    if (len < 2)
        return NULL;
    *used = 2;
    second = complete(*group, 1, words[1], &second_len);
    return second != NULL ? named(first, first_len, second) : NULL;
}

const char *ctl_suggest(const char *group, const char *word)
{
    const char *best = NULL, *name;
    size_t best_distance = 3, i, len, d; /* two slips of the finger at most */

    for (i = 0; i < ctl_commands_len; i++) {
        if (group != NULL && !in_group(ctl_commands[i], group, strlen(group)))
            continue;
        name = word_of(ctl_commands[i], group != NULL, &len);
        d = near_distance(word, strlen(word), name, len);
        if (d < best_distance) {
            best_distance = d;
            best = ctl_commands[i]->name;
        }
    }
    return best;
}

/* ---- help ---- */

static void list_commands(FILE *out, const char *group)
{
    size_t i;

    fputs("\nCOMMANDS:\n", out);
    for (i = 0; i < ctl_commands_len; i++) {
        if (group == NULL || in_group(ctl_commands[i], group, strlen(group)))
            fprintf(out, "  %-24s%s\n", ctl_commands[i]->name, ctl_commands[i]->brief);
    }
}

void ctl_help_all(FILE *out)
{
    fputs("NAME:\n  kvctl - command line client for kvd and etcd v3\n\n"
          "USAGE:\n  kvctl [flags] <command>\n\n"
          "VERSION:\n  " KVD_VERSION ", API version " ETCD_API_LINE "\n",
          out);
    list_commands(out, NULL);
    fputs("\nOPTIONS:\n", out);
    flags_print(out, ctl_global_flags);
    fputs("\nEach option is also an environment variable: KVCTL_ENDPOINTS or ETCDCTL_ENDPOINTS for "
          "--endpoints.\n"
          "Names of commands may be shortened: 'kvctl en st'.\n"
          "'kvctl <command> --help' explains one command.\n",
          out);
}

void ctl_help_group(FILE *out, const char *group)
{
    fprintf(out, "USAGE:\n  kvctl %s <subcommand> [flags]\n", group);
    list_commands(out, group);
    fprintf(out, "\n'kvctl %s <subcommand> --help' explains one of them.\n", group);
}

void ctl_help_command(FILE *out, const struct ctl_command *command)
{
    fprintf(out, "NAME:\n  %s - %s\n\nUSAGE:\n  kvctl %s\n", command->name, command->brief,
            command->usage);
    if (command->help != NULL)
        fprintf(out, "\n%s", command->help);
    if (command->flags != NULL) {
        fputs("\nOPTIONS:\n", out);
        flags_print(out, command->flags);
    }
    fputs("\nGLOBAL OPTIONS:\n", out);
    flags_print(out, ctl_global_flags);
}
