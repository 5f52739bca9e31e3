/* The few messages the load needs, written and checked without a protobuf library. */
#include <stdio.h>

#include "base/codec.h"
#include "base/util.h"
#include "bench/bench.h"

enum { WIRE_VARINT = 0, WIRE_BYTES = 2 };

struct writer {
    uint8_t *at;
};

static void write_tag(struct writer *w, unsigned field, unsigned wire)
{
    w->at += put_varint(w->at, field << 3 | wire);
}

static void write_number(struct writer *w, unsigned field, uint64_t value)
{
    write_tag(w, field, WIRE_VARINT);
    w->at += put_varint(w->at, value);
}

static void write_bytes(struct writer *w, unsigned field, struct slice bytes)
{
    write_tag(w, field, WIRE_BYTES);
    w->at += put_varint(w->at, bytes.len);
    memcpy(w->at, bytes.data, bytes.len);
    w->at += bytes.len;
}

static struct slice put_request(const struct bench_options *options, struct slice key,
                                struct prng *prng, uint8_t *space)
{
    uint8_t value[BENCH_MESSAGE_MAX / 2];
    struct writer w = {space};

    /* Different bytes each time, so that nobody gains by comparing with the old value. */
    for (size_t i = 0; i < options->value_size; i += 8) {
        uint8_t word[8];

        put_le64(word, prng_next(prng));
        memcpy(value + i, word, MIN(options->value_size - i, sizeof word));
    }
    write_bytes(&w, 1, key);
    write_bytes(&w, 2, slice_of(value, options->value_size));
    return slice_of(space, (size_t)(w.at - space));
}

/* The shape of a Kubernetes update: Txn{compare mod_revision(key); then put, else range}. The
 * compare is
 * "> -1", which holds for present and absent keys, so that every txn writes. */
static void txn_request(const struct bench_options *options, struct slice key, struct prng *prng,
                        struct writer *w)
{
    static uint8_t inner[BENCH_MESSAGE_MAX], op[BENCH_MESSAGE_MAX];
    struct writer c = {inner};
    struct slice put;

    write_number(&c, 1, 1);            /* result GREATER */
    write_number(&c, 2, 2);            /* target MOD */
    write_bytes(&c, 3, key);           /* key */
    write_number(&c, 6, (uint64_t)-1); /* mod_revision -1 */
    write_bytes(w, 1, slice_of(inner, (size_t)(c.at - inner)));

    put = put_request(options, key, prng, inner);
    c.at = op;
    write_bytes(&c, 2, put); /* request_put */
    write_bytes(w, 2, slice_of(op, (size_t)(c.at - op)));

    c.at = inner;
    write_bytes(&c, 1, key);
    put = slice_of(inner, (size_t)(c.at - inner));
    c.at = op;
    write_bytes(&c, 1, put); /* request_range */
    write_bytes(w, 3, slice_of(op, (size_t)(c.at - op)));
}

void bench_encode(const struct bench_options *options, enum bench_op op, uint64_t key_number,
                  struct prng *prng, struct bench_message *out)
{
    uint8_t text[256];
    struct writer w = {out->bytes};
    struct slice key = slice_of(text, options->key_size);

    (void)snprintf((char *)text, sizeof text, "%0*llu", (int)options->key_size,
                   (unsigned long long)key_number);
    switch (op) {
    case BENCH_PUT:
        out->path = "/etcdserverpb.KV/Put";
        out->len = put_request(options, key, prng, out->bytes).len;
        return;
    case BENCH_TXN:
        out->path = "/etcdserverpb.KV/Txn";
        txn_request(options, key, prng, &w);
        break;
    case BENCH_GET:
    case BENCH_SERIALIZABLE:
    case BENCH_MIXED:
        out->path = "/etcdserverpb.KV/Range";
        write_bytes(&w, 1, key);
        if (op == BENCH_SERIALIZABLE)
            write_number(&w, 7, 1);
        break;
    }
    out->len = (size_t)(w.at - out->bytes);
}

/* Value of a varint field at the top level of a message; 0 if it is not there. */
static uint64_t field_number(struct slice message, unsigned field)
{
    struct reader r = reader_of(message);

    while (r.rest.len != 0 && !r.bad) {
        uint64_t tag = read_varint(&r);
        uint64_t value = read_varint(&r);

        if (tag == (field << 3 | WIRE_VARINT))
            return r.bad ? 0 : value;
        if ((tag & 7) == WIRE_BYTES)
            (void)read_bytes(&r, value);
        else if ((tag & 7) != WIRE_VARINT)
            return 0;
    }
    return 0;
}

bool bench_check(enum bench_op op, struct slice answer)
{
    switch (op) {
    case BENCH_PUT:
        return answer.len != 0; /* a header at least */
    case BENCH_TXN:
        return field_number(answer, 2) == 1; /* succeeded */
    case BENCH_GET:
    case BENCH_SERIALIZABLE:
    case BENCH_MIXED:
        return field_number(answer, 4) == 1; /* count */
    }
    return false;
}
