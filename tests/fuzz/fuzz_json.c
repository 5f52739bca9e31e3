/* What json_parse() accepts comes through writing and reading unchanged, with and without a look at
 * duplicates. */
#include <stdlib.h>

#include "kube/json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct json_duplicate *duplicates = NULL;
    struct json_parse_options options = {.duplicates = &duplicates};
    struct json *value, *plain, *again;
    struct json_error error;
    struct buf buf;

    buf_init(&buf, 64u << 20);
    if (json_parse(&arena, slice_of(data, size), &options, &value, &error) == 0) {
        ASSERT(json_parse(&arena, slice_of(data, size), NULL, &plain, NULL) == 0);
        ASSERT(json_same(value, plain));
        ASSERT(json_write(&buf, value) == 0);
        ASSERT(json_parse(&arena, buf_slice(&buf), NULL, &again, NULL) == 0);
        ASSERT(json_same(value, again));
        ASSERT(json_same(value, json_copy(&arena, again)));
    } else {
        ASSERT(error.offset <= size);
        ASSERT(error.text[0] != '\0');
    }
    buf_release(&buf);
    arena_release(&arena);
    return 0;
}
