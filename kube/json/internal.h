/* What the files of kube/json share. */
#ifndef KVD_KUBE_JSON_INTERNAL_H
#define KVD_KUBE_JSON_INTERNAL_H

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/util.h"
#include "kube/json/json.h"

/* An object or array that is open. */
struct json_level {
    struct json_level *parent;
    struct json_level *spare; /* one level down, for the next value that opens there */
    struct json *value;
    struct json_index index; /* of an object */
    struct slice key;        /* of the member that is being read */
};

struct json_parser {
    struct arena *arena;
    const uint8_t *text;
    size_t len;
    size_t at;
    unsigned depth;
    struct json_level *level;           /* the innermost; NULL: none is open */
    struct json_level *outermost;       /* NULL: none was opened yet */
    struct json *nodes;                 /* the next of a run of unused nodes */
    size_t nodes_left;                  /* in the run */
    size_t nodes_next;                  /* how many the next run has */
    struct json_duplicate **duplicates; /* NULL: not wanted */
    struct json_error *error;
};

/* KV_EPROTO, with the offset p->at. */
int json__fail(struct json_parser *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "invalid character 'x' <where>", or that the text ended. */
int json__fail_at(struct json_parser *p, const char *where);

/* The string that begins at p->at; p->at is behind it then. Borrows from the text if it can. */
int json__read_string(struct json_parser *p, struct slice *out);

/* Length of the valid UTF-8 sequence at s, 0 if there is none (RFC 3629). len: at least 1. */
size_t json__utf8_len(const uint8_t *s, size_t len);

/* How many bytes at text are ASCII, printable, and neither a quote nor a backslash. */
static inline size_t json__plain_len(const uint8_t *text, size_t len)
{
    size_t i = 0;

#ifdef __SSE2__
    for (; len - i >= 16; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(text + i));
        /* As signed bytes, all beyond ASCII are less than a space too. */
        __m128i special = _mm_or_si128(_mm_cmplt_epi8(bytes, _mm_set1_epi8(' ')),
                                       _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')),
                                                    _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))));
        unsigned mask = (unsigned)_mm_movemask_epi8(special);

        if (mask != 0)
            return i + (size_t)__builtin_ctz(mask);
    }
#endif
    while (i < len && text[i] >= ' ' && text[i] < 0x80 && text[i] != '"' && text[i] != '\\')
        i++;
    return i;
}

#endif
