/* Continue tokens: base64url of {"v":"meta.k8s.io/v1","rv":R,"start":"/name\u0000"}, as upstream's,
 * so that one server's token is good at another. */
#include <inttypes.h>
#include <string.h>

#include "kube/store/internal.h"

enum { TOKEN_MAX = 16384 };

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static int refuse(struct kube_status *status, struct arena *arena, const char *why)
{
    return kube_status_bad_request(status, arena,
                                   "invalid continue token: continue key is not valid: %s", why);
}

/* False: bad holds where it is none, as Go counts. */
static bool decode(struct slice token, uint8_t *out, size_t *len, size_t *bad)
{
    uint32_t bits = 0;
    unsigned have = 0;

    *len = 0;
    for (*bad = 0; *bad < token.len; (*bad)++) {
        const char *digit = token.data[*bad] == '\0' ? NULL : strchr(alphabet, token.data[*bad]);

        if (digit == NULL)
            return false;
        bits = bits << 6 | (uint32_t)(digit - alphabet);
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[(*len)++] = (uint8_t)(bits >> have);
        }
    }
    return token.len % 4 != 1;
}

/* As Go's path.Clean() would leave it: no way out of the list's prefix. */
static bool is_clean(struct slice path)
{
    size_t begin = 0;

    for (size_t i = 0; i <= path.len; i++) {
        struct slice part = slice_of(path.data + begin, i - begin);

        if (i < path.len && path.data[i] != '/')
            continue;
        if (part.len == 0 || slice_eq(part, slice_str(".")) || slice_eq(part, slice_str("..")))
            return false;
        begin = i + 1;
    }
    return true;
}

static int read_members(struct arena *arena, const struct json *token, int64_t *revision,
                        struct slice *start, struct kube_status *status)
{
    struct slice version = json_text_at(token, "v");

    if (!slice_eq(version, slice_str("meta.k8s.io/v1")))
        return kube_status_bad_request(status, arena,
                                       "invalid continue token: continue key is not valid: server "
                                       "does not recognize this encoded version \"%.*s\"",
                                       (int)version.len, (const char *)version.data);
    if (!json_int(json_get(token, "rv"), revision) || *revision == 0 || *revision < -1)
        return refuse(status, arena,
                      "incorrect encoded start resourceVersion (version meta.k8s.io/v1)");
    *start = json_text_at(token, "start");
    if (start->len == 0)
        return refuse(status, arena, "encoded start key empty (version meta.k8s.io/v1)");
    if (start->data[0] == '/')
        *start = slice_of(start->data + 1, start->len - 1);
    if (!is_clean(*start))
        return refuse(status, arena, "encoded start key is no clean path");
    return 0;
}

int kube__token_read(struct arena *arena, struct slice token, int64_t *revision,
                     struct slice *start, struct kube_status *status)
{
    uint8_t *text = arena_alloc(arena, token.len + 1);
    struct json_error error;
    struct json *root;
    size_t len, bad;

    if (token.len > TOKEN_MAX)
        return refuse(status, arena, "it is too long");
    if (!decode(token, text, &len, &bad))
        return kube_status_bad_request(status, arena,
                                       "invalid continue token: continue key is not valid: illegal "
                                       "base64 data at input byte %zu",
                                       bad);
    if (json_parse(arena, slice_of(text, len), NULL, &root, &error) != 0)
        return refuse(status, arena, error.text);
    return read_members(arena, root, revision, start, status);
}

static const char *encode(struct arena *arena, struct slice bytes)
{
    char *out = arena_alloc(arena, bytes.len / 3 * 4 + 5);
    size_t at = 0;

    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = MIN(bytes.len - i, (size_t)3);
        uint32_t bits = (uint32_t)bytes.data[i] << 16;

        bits |= n > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        bits |= n > 2 ? bytes.data[i + 2] : 0;
        for (size_t k = 0; k <= n; k++)
            out[at++] = alphabet[bits >> (18 - 6 * k) & 63];
    }
    out[at] = '\0';
    return out;
}

const char *kube__token_write(struct arena *arena, int64_t revision, struct slice start)
{
    uint8_t *path = arena_alloc(arena, start.len + 1);
    const char *out;
    struct buf json;

    path[0] = '/';
    memcpy(path + 1, start.data, start.len);
    buf_init(&json, TOKEN_MAX + 6 * start.len);
    (void)buf_printf(&json, "{\"v\":\"meta.k8s.io/v1\",\"rv\":%" PRId64 ",\"start\":", revision);
    (void)json_write_string(&json, slice_of(path, start.len + 1));
    (void)buf_append_u8(&json, '}');
    out = encode(arena, buf_slice(&json));
    buf_release(&json);
    return out;
}
