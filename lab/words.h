/* Sentences for people: how many members there are and what that means. */
#ifndef KVD_LAB_WORDS_H
#define KVD_LAB_WORDS_H

#include <stdbool.h>
#include <stddef.h>

struct lab_headcount {
    unsigned voters;
    unsigned alive;    /* of the voters: their process runs and is not paused */
    unsigned together; /* the largest number of those that all hear each other both ways */
    unsigned learners; /* do not count, but are there */
    unsigned leader;   /* member number; 0: none is known */
};

/* "3 of 5 alive: writes go on, one more failure stops them." Returns out. */
const char *lab_words_quorum(const struct lab_headcount *count, char *out, size_t size);

/* The nearest of names (len of them) to the word, at most two slips of the finger away; NULL. */
const char *lab_words_nearest(const char *word, size_t word_len, const char *const *names,
                              size_t len);

#endif
