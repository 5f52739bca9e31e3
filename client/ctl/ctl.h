/* kvctl: a table of commands, each with its flags and a function. This header is what the commands
 * and the dispatcher share; nothing here knows a single command.
 *
 * Whatever is printed goes to the streams in struct ctl, so that tests can read it. */
#ifndef KVD_CLIENT_CTL_CTL_H
#define KVD_CLIENT_CTL_CTL_H

#include <stdbool.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"
#include "client/ctl/flags.h"
#include "client/ctl/output.h"
#include "client/kv.h"

/* etcdctl's. */
enum ctl_exit {
    CTL_OK = 0,
    CTL_ERROR = 1,
    CTL_BAD_CONNECTION = 2,
    CTL_BAD_INPUT = 3,   /* txn */
    CTL_BAD_FEATURE = 4, /* a known flag with a value that is not supported */
    CTL_INTERRUPTED = 5,
    CTL_IO = 6,
    CTL_BAD_ARGS = 128,
};

/* The flags of every command. */
struct ctl_globals {
    struct flag_list endpoints;
    const char *write_out;
    bool hex, debug;
    int64_t dial_timeout_ns, command_timeout_ns;
    int64_t keepalive_time_ns, keepalive_timeout_ns;
    int64_t max_request_bytes, max_recv_bytes;
    bool insecure_transport, insecure_skip_tls_verify, insecure_discovery;
    const char *cert, *key, *cacert;
    const char *user, *password, *auth_jwt_token;
    const char *discovery_srv, *discovery_srv_name;
};

extern const struct flag ctl_global_flags[];

struct ctl {
    FILE *in, *out, *err;
    char **env;         /* NULL-terminated "NAME=value" */
    struct arena arena; /* lives as long as the command */
    struct ctl_globals globals;
    struct flag_set global_set;
    int args_at_dash; /* how many arguments of the command came before "--"; -1: there was none */
    struct output output;
    struct net_tls_options tls_options;
    const struct net_tls_options *tls; /* as kv_options.tls wants it */
    const char *user, *password;       /* of --user and --password; NULL: nobody */
};

struct ctl_command {
    const char *name;         /* "get", "member list" */
    const char *usage;        /* "get [options] <key> [range_end]" */
    const char *brief;        /* one line */
    const char *help;         /* more, or NULL */
    const struct flag *flags; /* NULL: none */
    size_t options_size;      /* of the struct that flags fills */
    bool offline;             /* needs no server and no environment */
    /* Returns an exit code, having said on err what went wrong. */
    int (*run)(struct ctl *ctl, const void *options, int argc, char **argv);
};

/* Runs a whole command line, argv[0] included. Returns the exit code. */
int ctl_run(int argc, char **argv, char **env, FILE *in, FILE *out, FILE *err);

/* ---- for commands ---- */

/* "Error: ..." on err; returns code. */
int ctl_fail(struct ctl *ctl, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same for a call that failed. */
int ctl_fail_call(struct ctl *ctl, const struct kv_result *result);

/* Checks that message (NULL: none) can be printed, and opens a client for all endpoints. 0 or an
 * exit code. */
int ctl_connect(struct ctl *ctl, const ProtobufCMessageDescriptor *message, struct kv_client **out);
/* What the flags of that kind mean for kv_options.tls; returns out or NULL. */
const struct net_tls_options *ctl_tls_options(const char *cacert, const char *cert, const char *key,
                                              bool insecure, bool skip_verify,
                                              struct net_tls_options *out);
/* Connection options from the flags, without endpoints. */
struct kv_options ctl_kv_options(const struct ctl *ctl);

/* Connects, calls and prints the answer. flags: enum kv_call_flags. 0 or an exit code. */
int ctl_call_and_print(struct ctl *ctl, const struct kv_method *method,
                       const ProtobufCMessage *request, int flags);

/* The value of ETCDCTL_<name>, or of KVCTL_<name>, which counts before it; NULL: neither is set. */
const char *ctl_env(const struct ctl *ctl, const char *name);

/* A member's id, which is hexadecimal on the command line. 0 or an exit code, having said why. */
int ctl_member_id(struct ctl *ctl, const char *text, uint64_t *out);
/* The words of text between commas, in the arena. */
char **ctl_split(struct ctl *ctl, const char *text, size_t *count);
/* What the environment or the flags of a member that was added must be, as etcdctl prints it. */
void ctl_print_new_member(struct ctl *ctl, const char *name, const char *peer_urls, uint64_t id,
                          Etcdserverpb__Member *const *members, size_t count);
/* What --bump-revision ("": not given) and --mark-compacted mean. 0 or an exit code. */
int ctl_take_bump(struct ctl *ctl, const char *text, bool mark_compacted, int64_t *out);

/* argv as slices, in the arena. */
const struct slice *ctl_slices(struct ctl *ctl, int argc, char **argv);

/* ---- for the dispatcher ---- */

/* Takes the environment into account, chooses the output format and refuses what is not there yet.
 * 0 or an exit code. */
int ctl_prepare(struct ctl *ctl);

/* All commands, sorted by name. */
extern const struct ctl_command *const ctl_commands[];
extern const size_t ctl_commands_len;

/* The command that words begin with; exact names or unique prefixes of them. *used is how many of
 * the words are its name. NULL: none; then *group is the group the first word names, or NULL. */
const struct ctl_command *ctl_find(char *const *words, size_t len, size_t *used,
                                   const char **group);
/* The command or group name nearest to word, or NULL. */
const char *ctl_suggest(const char *group, const char *word);

void ctl_help_all(FILE *out);
void ctl_help_group(FILE *out, const char *group);
void ctl_help_command(FILE *out, const struct ctl_command *command);

extern const struct ctl_command ctl_cmd_check_datascale, ctl_cmd_check_perf, ctl_cmd_elect,
    ctl_cmd_lease_grant, ctl_cmd_lease_keep_alive, ctl_cmd_lease_list, ctl_cmd_lease_revoke,
    ctl_cmd_lease_timetolive, ctl_cmd_lock, ctl_cmd_make_mirror, ctl_cmd_watch;
extern const struct ctl_command ctl_cmd_lab_commands, ctl_cmd_lab_lessons, ctl_cmd_lab_run,
    ctl_cmd_lab_up;
extern const struct ctl_command ctl_cmd_auth_disable, ctl_cmd_auth_enable, ctl_cmd_auth_status,
    ctl_cmd_role_add, ctl_cmd_role_delete, ctl_cmd_role_get, ctl_cmd_role_grant_permission,
    ctl_cmd_role_list, ctl_cmd_role_revoke_permission, ctl_cmd_user_add, ctl_cmd_user_delete,
    ctl_cmd_user_get, ctl_cmd_user_grant_role, ctl_cmd_user_list, ctl_cmd_user_passwd,
    ctl_cmd_user_revoke_role;
extern const struct ctl_command ctl_cmd_defrag, ctl_cmd_downgrade_cancel, ctl_cmd_downgrade_enable,
    ctl_cmd_downgrade_validate;
extern const struct ctl_command ctl_cmd_member_add, ctl_cmd_member_promote, ctl_cmd_member_remove,
    ctl_cmd_member_replace, ctl_cmd_member_update;
extern const struct ctl_command ctl_cmd_alarm_disarm, ctl_cmd_alarm_list, ctl_cmd_compaction,
    ctl_cmd_completion_bash, ctl_cmd_completion_fish, ctl_cmd_completion_zsh, ctl_cmd_del,
    ctl_cmd_endpoint_hashkv, ctl_cmd_endpoint_health, ctl_cmd_endpoint_status, ctl_cmd_get,
    ctl_cmd_help, ctl_cmd_member_list, ctl_cmd_move_leader, ctl_cmd_put, ctl_cmd_recover,
    ctl_cmd_snapshot_restore, ctl_cmd_snapshot_save, ctl_cmd_snapshot_status, ctl_cmd_txn,
    ctl_cmd_verify, ctl_cmd_version, ctl_cmd_wal_dump;

#endif
