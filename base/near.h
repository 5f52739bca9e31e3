/* How far one word is from another, for "did you mean". */
#ifndef KVD_BASE_NEAR_H
#define KVD_BASE_NEAR_H

#include <stddef.h>

/* Levenshtein's distance; 32 if one of them is longer than that. */
size_t near_distance(const char *a, size_t a_len, const char *b, size_t b_len);

#endif
