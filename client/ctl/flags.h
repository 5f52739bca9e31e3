/* Command line flags by table, with the rules of pflag, which etcdctl uses: "--name value",
 * "--name=value", "-n value", "-nvalue"; a bool takes a value only with "="; flags and arguments
 * may be mixed; "--" ends the flags.
 *
 * A table describes members of a struct by their offset; the parser knows nothing else of it. */
#ifndef KVD_CLIENT_CTL_FLAGS_H
#define KVD_CLIENT_CTL_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/err.h"

enum flag_kind {
    FLAG_BOOL,     /* bool */
    FLAG_STRING,   /* const char * */
    FLAG_INT,      /* int64_t */
    FLAG_DURATION, /* int64_t, nanoseconds */
    FLAG_LIST,     /* struct flag_list; values add up, the default goes with the first one */
};

struct flag_list {
    const char **items;
    size_t len;
};

struct flag {
    const char *name;
    char letter; /* 0: none */
    enum flag_kind kind;
    size_t offset;    /* of the member in the options struct */
    const char *init; /* the default, as it would be given */
    const char *help;
};

/* A table, ended by a NULL name, together with the struct it fills. */
struct flag_set {
    const struct flag *flags; /* NULL: none */
    size_t len;               /* flags_init() counts; at most 64 */
    void *options;
    uint64_t changed; /* bit i: flags[i] was given */
    int args_at_dash; /* in the first set: how many arguments came before "--"; -1: there was none
                       */
};

/* Counts the table and sets the defaults; values live in the arena. */
void flags_init(struct flag_set *set, struct arena *arena);

/* Parses argv[0..argc) against sets (the first that knows a name has it). What is no flag goes to
 * args, which has room for argc, in order. KV_EINVAL with pflag's text. "--help" and "-h" set *help
 * unless a set knows them. */
int flags_parse(struct flag_set *sets, size_t sets_len, int argc, char **argv, struct arena *arena,
                char **args, int *args_len, bool *help, struct err *err);

/* Sets one flag from text; changed is left alone. KV_EINVAL. */
int flag_set_value(struct flag_set *set, size_t at, const char *text, struct arena *arena,
                   struct err *err);

/* Index of a name in sets; false: there is none. */
bool flags_find(const struct flag_set *sets, size_t sets_len, const char *name, size_t name_len,
                size_t *out_set, size_t *out_at);
bool flags_find_letter(const struct flag_set *sets, size_t sets_len, char letter, size_t *out_set,
                       size_t *out_at);

/* One line per flag, in the order of the table, aligned. */
void flags_print(FILE *out, const struct flag *flags);
/* The value a flag has now. */
void flag_print_value(FILE *out, const struct flag_set *set, size_t at);

#endif
