#include "lab/words.h"

#include <stdio.h>
#include <string.h>

#include "base/near.h"
#include "base/util.h"

static const char *number_word(unsigned n)
{
    static const char *const words[] = {"no",   "one", "two",   "three", "four",
                                        "five", "six", "seven", "eight", "nine"};

    return n < ARRAY_LEN(words) ? words[n] : "many";
}

static const char *plural(unsigned n)
{
    return n == 1 ? "" : "s";
}

const char *lab_words_quorum(const struct lab_headcount *count, char *out, size_t size)
{
    unsigned needed = count->voters / 2 + 1, spare;
    int at = snprintf(out, size, "%u of %u alive", count->alive, count->voters);

    if (at < 0 || (size_t)at >= size)
        return out;
    if (count->together < count->alive)
        at += snprintf(out + at, size - (size_t)at, ", %u in the largest part", count->together);
    if ((size_t)at >= size)
        return out;
    if (count->together < needed) {
        unsigned missing = needed - count->together;

        at += snprintf(out + at, size - (size_t)at,
                       ": no quorum of %u, writes stop until %s more member%s come%s back", needed,
                       number_word(missing), plural(missing), missing == 1 ? "s" : "");
    } else {
        spare = count->together - needed;
        at += snprintf(out + at, size - (size_t)at, ": writes go on, %s more failure%s stop%s them",
                       number_word(spare + 1), plural(spare + 1), spare == 0 ? "s" : "");
        if (count->leader == 0 && (size_t)at < size)
            at += snprintf(out + at, size - (size_t)at, " (as soon as there is a leader)");
    }
    if (count->learners != 0 && (size_t)at < size)
        (void)snprintf(out + at, size - (size_t)at, "; %s learner%s without a vote",
                       number_word(count->learners), plural(count->learners));
    return out;
}

const char *lab_words_nearest(const char *word, size_t word_len, const char *const *names,
                              size_t len)
{
    const char *best = NULL;
    size_t best_distance = 3;

    for (size_t i = 0; i < len; i++) {
        size_t d = near_distance(word, word_len, names[i], strlen(names[i]));

        /* half of a short word is no likeness */
        if (d < best_distance && d * 2 <= MAX(word_len, strlen(names[i]))) {
            best = names[i];
            best_distance = d;
        }
    }
    return best;
}
