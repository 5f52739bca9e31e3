/* Shared by the config_*.c files: the table of flags and the configuration while it is being put
 * together. */
#ifndef KVD_SERVER_CONFIG_INTERNAL_H
#define KVD_SERVER_CONFIG_INTERNAL_H

#include "server/config.h"

enum flag_kind {
    FLAG_STRING,
    FLAG_BOOL,
    FLAG_U32,
    FLAG_U64,
    FLAG_I64,
    FLAG_DURATION, /* Go's notation; kept in milliseconds */
    FLAG_URLS,     /* comma list, kept sorted and without repetitions as etcd does */
    FLAG_LIST,     /* comma list of words */
    FLAG_LEVEL,
    FLAG_FORMAT,  /* json or console */
    FLAG_METRICS, /* basic or extensive */
    FLAG_STATE,   /* new or existing */
};

enum flag_use {
    FLAG_SET,     /* honoured: goes to its field */
    FLAG_QUIET,   /* etcd's; kvd has nothing to tune there, any value is fine */
    FLAG_NOTED,   /* etcd's; a value other than the default draws a warning */
    FLAG_REFUSED, /* etcd's; ignoring a value other than the default would hurt, so it is an error
                   */
};

enum flag_group {
    GROUP_MEMBER,
    GROUP_CLUSTER,
    GROUP_LIMITS,
    GROUP_LOGGING,
    GROUP_SECURITY,
    GROUP_UNSAFE,
    GROUP_OTHER,
};

struct flag {
    enum flag_group group;
    const char *name;
    enum flag_kind kind;
    enum flag_use use;
    size_t field;        /* offset in struct draft; FLAG_SET only */
    const char *initial; /* the default; after '|' other spellings that mean the same */
    const char *help;    /* FLAG_REFUSED: what it would need, "... is not supported by kvd yet" */
};

extern const struct flag config__flags[];
extern const size_t config__flag_count;

/* The configuration while it is being put together. */
struct draft {
    struct config config;
    char *compaction_mode, *compaction_retention; /* as given */
    char *initial_cluster; /* as given; NULL: made from name and advertised peer URLs */
    char *config_file;     /* "": none */
    bool help, version;
    char **given; /* [flag]: the text it was set to, NULL if not set */
    void (*warn)(void *ctx, const char *text);
    void *warn_ctx;
};

/* Fills in the defaults. */
void config__draft_init(struct draft *draft);
void config__draft_release(struct draft *draft);
void config__warn(const struct draft *draft, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* By name without dashes, an "experimental-" before it included where etcd once had it; NULL if
 * unknown. */
const struct flag *config__find(const char *name);
/* The known flag nearest to a misspelt one, or NULL if none is near. */
const char *config__nearest(const char *name);
bool config__given(const struct draft *draft, const char *name);
/* Sets flag from text. KV_EINVAL: err says what is wrong with the value, without naming the flag.
 */
int config__set(struct draft *draft, const struct flag *flag, const char *text, struct err *err);
/* Refuses what must not be ignored, warns of what is. */
int config__check_unsupported(const struct draft *draft, struct err *err);

/* As Go's time.ParseDuration without the sign: "1h30m", "1.5s", "0"; nanoseconds. */
int config__parse_duration(const char *text, uint64_t *out_ns, struct err *err);
/* http://localhost:2379 and friends, comma-separated; *out is replaced on success only. */
int config__parse_urls(const char *text, struct config_urls *out, struct err *err);
void config__urls_release(struct config_urls *urls);

/* Reads the YAML or JSON file into draft. */
int config__load_file(struct draft *draft, const char *path, struct err *err);
int config__check_compaction(struct draft *draft, struct err *err);
/* What depends on several flags: defaults made of others, etcd's rules between them. */
int config__finish(struct draft *draft, struct err *err);

void config__print_help(void);
void config__print_version(void);

#endif
