/* The words of a command, one after the other: what command.c and command_expect.c read with. */
#ifndef KVD_LAB_COMMAND_WORDS_H
#define KVD_LAB_COMMAND_WORDS_H

#include "lab/command.h"

enum { WORDS_MAX = LAB_TEXT_MAX / 2 };

struct lab_words {
    struct slice at[WORDS_MAX];
    size_t len, next;
};

/* For "%.*s". */
#define WORDS_SHOW(word) (int)(word).len, (const char *)(word).data

/* Cuts the line at blanks. KV_EINVAL: more words than any command has. */
int words__split(struct slice line, struct lab_words *out, struct err *err);
bool words__is(struct slice word, const char *text);
/* The next word, empty at the end; take goes on behind it. */
struct slice words__peek(const struct lab_words *words);
struct slice words__take(struct lab_words *words);
bool words__take_if(struct lab_words *words, const char *text);
/* A whole number from 0 to max; false: it is none. */
bool words__number(struct slice word, int64_t max, int64_t *out);
/* KV_EINVAL if there is one more. */
int words__no_more(const struct lab_words *words, struct err *err);

/* Each takes what it is named after, or says what is missing or wrong (KV_EINVAL). */
int words__take_duration(struct lab_words *words, int64_t *out, struct err *err);
int words__take_set(struct lab_words *words, struct lab_command *out, struct err *err);
int words__parse_set(struct slice text, struct lab_set *set, struct err *err);
int words__take_link(struct lab_words *words, struct lab_command *out, struct err *err);
int words__take_holder(struct lab_words *words, struct lab_command *out, struct err *err);
/* "within 5s", "5s" or nothing. */
int words__take_patience(struct lab_words *words, struct lab_command *out, struct err *err);

int words__parse_wait(struct lab_words *words, struct lab_command *out, struct err *err);
int words__parse_expect(struct lab_words *words, struct lab_command *out, struct err *err);

#endif
