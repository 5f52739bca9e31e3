#include "server/encode_range.h"

#include <string.h>

#include "base/util.h"

enum { BATCH = 64 }; /* records between two looks into the store */

size_t range_encoder_measure(const struct mvcc_kv *kvs, size_t len)
{
    size_t size = 0;

    for (size_t i = 0; i < len; i++)
        size += encode_range_kv_size(&kvs[i]);
    return size;
}

void range_encoder_init(struct range_encoder *encoder, struct mvcc_scan *scan,
                        const struct range_encoding *encoding)
{
    const struct encode_header *header = encoding->header;
    uint8_t first[ENCODE_ENDS_MAX], *head = encoder->head, *tail = encoder->tail;
    size_t first_len = 0, body;

    if (header != NULL) {
        first_len = (size_t)(encode_empty(first, header) - first);
        tail = encode_range_end(tail, scan->more, scan->count);
    }
    encoder->tail_len = (size_t)(tail - encoder->tail);
    body = first_len + encoding->kv_bytes + encoder->tail_len;
    if (encoding->in_stream)
        head = encode_stream_head(head, body);
    memcpy(head, first, first_len);
    encoder->head_len = (size_t)(head - encoder->head) + first_len;
    ASSERT(encoder->head_len <= ENCODE_ENDS_MAX);
    encoder->scan = scan;
    encoder->size = encoder->head_len + encoding->kv_bytes + encoder->tail_len;
    encoder->made = 0;
    encoder->kv_made = 0;
    encoder->kv_size = encoding->len > 0 ? encoding->kv_bytes / encoding->len : 0;
}

/* About as many records as n bytes can hold. */
static size_t batch_for(const struct range_encoder *encoder, size_t n)
{
    return MIN(n / MAX(encoder->kv_size, 1) + 1, (size_t)BATCH);
}

/* A batch of records, at most n bytes; the last of them perhaps not whole. Returns how many bytes.
 */
static size_t make_kvs(struct range_encoder *encoder, uint8_t *p, size_t n)
{
    struct mvcc_kv kvs[BATCH];
    size_t len = mvcc_scan_peek(encoder->scan, kvs, batch_for(encoder, n));
    size_t made = 0, taken = 0;

    ASSERT(len > 0);
    while (taken < len && made < n) {
        size_t whole = encode_range_kv_size(&kvs[taken]);
        size_t part = MIN(whole - encoder->kv_made, n - made);

        encode_range_kv_part(p + made, &kvs[taken], encoder->kv_made, part);
        made += part;
        encoder->kv_made += part;
        if (encoder->kv_made < whole)
            break;
        encoder->kv_made = 0;
        taken++;
    }
    mvcc_scan_take(encoder->scan, kvs, taken);
    return made;
}

static size_t make_some(struct range_encoder *encoder, uint8_t *p, size_t n)
{
    size_t at = encoder->made, kvs_end = encoder->size - encoder->tail_len;

    if (at < encoder->head_len) {
        n = MIN(n, encoder->head_len - at);
        memcpy(p, encoder->head + at, n);
        return n;
    }
    if (at < kvs_end)
        return make_kvs(encoder, p, MIN(n, kvs_end - at));
    memcpy(p, encoder->tail + (at - kvs_end), n);
    return n;
}

void range_encoder_make(struct range_encoder *encoder, uint8_t *p, size_t n)
{
    ASSERT(n <= encoder->size - encoder->made);
    while (n > 0) {
        size_t made = make_some(encoder, p, n);

        encoder->made += made;
        p += made;
        n -= made;
    }
}
