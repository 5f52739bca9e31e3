/* What kube_yaml_parse() makes of a text is JSON, and comes through writing and reading unchanged.
 */
#include "kube/codec/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* U+FEFF and the like are written by libyaml in ways it does not read back: no matter here. */
static bool is_ordinary(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] >= 0x80 || text.data[i] == '\r')
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct json_duplicate *duplicates = NULL;
    struct err err = ERR_INIT;
    struct json *value, *again;
    struct buf json, yaml;

    buf_init(&json, 64u << 20);
    buf_init(&yaml, 64u << 20);
    if (kube_yaml_parse(&arena, slice_of(data, size), &duplicates, &value, &err) != 0) {
        ASSERT(err.text[0] != '\0');
    } else {
        ASSERT(json_write(&json, value) == 0);
        ASSERT(json_parse(&arena, buf_slice(&json), NULL, &again, NULL) == 0);
        ASSERT(json_same(value, again));
        if (kube_yaml_write(&yaml, value) == 0 && is_ordinary(buf_slice(&json)) &&
            is_ordinary(slice_of(data, size))) {
            ASSERT(kube_yaml_parse(&arena, buf_slice(&yaml), NULL, &again, &err) == 0);
            /* -0 of -0.0 becomes 0. */
            ASSERT(json_same(value, again) || memmem(json.data, json.len, "-0", 2) != NULL);
        }
    }
    buf_release(&json);
    buf_release(&yaml);
    arena_release(&arena);
    return 0;
}
