/* Database files in a disk in memory: written by our writer from generated items, then damaged and
 * read. The including file has cmocka. */
#ifndef KVD_TESTS_UNIT_SNAPSHOT_DBFILE_FIXTURE_H
#define KVD_TESTS_UNIT_SNAPSHOT_DBFILE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <openssl/sha.h>

#include "base/codec.h"
#include "base/mem.h"
#include "base/prng.h"
#include "snapshot/dbfile_items.h"
#include "snapshot/dbfile_read.h"
#include "snapshot/dbfile_write.h"
#include "tests/lib/memdisk.h"

#define FILE_PATH "snap.db"

struct item {
    uint8_t *key, *value;
    size_t key_len, value_len;
};

struct bucket {
    const char *name;
    struct item *items;
    size_t len;
};

struct content {
    struct bucket buckets[DBFILE_BUCKET_COUNT];
    size_t len;
};

static inline void content_free(struct content *content)
{
    for (size_t b = 0; b < content->len; b++) {
        for (size_t i = 0; i < content->buckets[b].len; i++) {
            free(content->buckets[b].items[i].key);
            free(content->buckets[b].items[i].value);
        }
        free(content->buckets[b].items);
    }
    content->len = 0;
}

static inline void fill_random(struct prng *prng, uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)prng_next(prng);
}

/* Keys that ascend: a counter, big-endian, then bytes of any kind. */
static inline struct item make_item(struct prng *prng, uint32_t number, size_t key_len,
                                    size_t value_len)
{
    struct item item = {.key_len = MAX(key_len, (size_t)4), .value_len = value_len};

    item.key = xmalloc(item.key_len);
    item.value = xmalloc(value_len + 1);
    fill_random(prng, item.key, item.key_len);
    fill_random(prng, item.value, value_len);
    put_be32(item.key, number);
    return item;
}

static inline void add_bucket(struct content *content, struct prng *prng, size_t len,
                              size_t key_max, size_t value_max)
{
    struct bucket *bucket = &content->buckets[content->len];

    *bucket = (struct bucket){.name = dbfile_bucket_name((enum dbfile_bucket)content->len),
                              .items = xcalloc(len + 1, sizeof *bucket->items),
                              .len = len};
    for (size_t i = 0; i < len; i++)
        bucket->items[i] = make_item(prng, (uint32_t)i, prng_next(prng) % key_max,
                                     prng_next(prng) % (value_max + 1));
    content->len++;
}

static inline void write_pass(struct dbfile_writer *writer, const struct content *content,
                              bool sizes_only)
{
    for (size_t b = 0; b < content->len; b++) {
        const struct bucket *bucket = &content->buckets[b];

        dbfile_writer_bucket(writer, bucket->name);
        for (size_t i = 0; i < bucket->len; i++) {
            const struct item *item = &bucket->items[i];
            uint8_t *p = dbfile_writer_add(
                writer, slice_of(sizes_only ? NULL : item->key, item->key_len), item->value_len);

            assert_true((p == NULL) == sizes_only);
            if (p != NULL)
                memcpy(p, item->value, item->value_len);
        }
    }
}

static inline void store(struct disk disk, const uint8_t *data, size_t len)
{
    struct disk_file *file;

    (void)disk.ops->unlink(disk.ctx, FILE_PATH, NULL);
    assert_int_equal(disk.ops->open(disk.ctx, FILE_PATH, DISK_WRITE | DISK_CREATE, &file, NULL), 0);
    if (len > 0)
        assert_int_equal(disk.ops->write(disk.ctx, file, 0, data, len, NULL), 0);
    disk.ops->close(disk.ctx, file);
}

/* The file's bytes; digest: with the SHA-256 behind them. */
static inline void encode(const struct content *content, bool digest, struct buf *out)
{
    struct dbfile_writer *writer = dbfile_writer_new();
    uint8_t sum[SHA256_DIGEST_LENGTH];
    uint64_t size;

    buf_init(out, SIZE_MAX / 2);
    write_pass(writer, content, true);
    size = dbfile_writer_begin(writer, out);
    write_pass(writer, content, false);
    dbfile_writer_end(writer);
    dbfile_writer_free(writer);
    assert_int_equal(out->len, size);
    SHA256(out->data, out->len, sum);
    if (digest)
        assert_int_equal(buf_append(out, sum, sizeof sum), 0);
}

/* ---- reading back ---- */

struct compare {
    const struct content *content;
    size_t bucket, item; /* the next ones; bucket counts from 1 once begun */
};

static inline int compare_bucket(void *ctx, struct slice name)
{
    struct compare *compare = ctx;

    if (compare->bucket > 0)
        assert_int_equal(compare->item, compare->content->buckets[compare->bucket - 1].len);
    assert_true(compare->bucket < compare->content->len);
    assert_true(slice_eq(name, slice_str(compare->content->buckets[compare->bucket].name)));
    compare->bucket++;
    compare->item = 0;
    return 0;
}

static inline int compare_item(void *ctx, struct slice key, struct slice value)
{
    struct compare *compare = ctx;
    const struct bucket *bucket = &compare->content->buckets[compare->bucket - 1];
    const struct item *item;

    assert_true(compare->item < bucket->len);
    item = &bucket->items[compare->item++];
    assert_true(slice_eq(key, slice_of(item->key, item->key_len)));
    assert_true(slice_eq(value, slice_of(item->value, item->value_len)));
    return 0;
}

static inline void expect_content(struct disk disk, const struct content *content)
{
    struct compare compare = {.content = content};
    const struct dbfile_visitor visitor = {
        .bucket = compare_bucket, .item = compare_item, .ctx = &compare};
    struct err err = ERR_INIT;
    struct dbfile *file;

    if (dbfile_open(disk, FILE_PATH, &file, &err) != 0)
        fail_msg("%s", err.text);
    if (dbfile_walk(file, &visitor, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(compare.bucket, content->len);
    assert_int_equal(compare.item, content->buckets[content->len - 1].len);
    dbfile_close(file);
}

static inline int ignore_item(void *ctx, struct slice key, struct slice value)
{
    size_t *bytes = ctx;

    /* All of both must be there to be read. */
    for (size_t i = 0; i < key.len; i++)
        *bytes += key.data[i];
    for (size_t i = 0; i < value.len; i++)
        *bytes += value.data[i];
    return 0;
}

/* Opens and walks, whatever is in the file; err tells what is wrong with it. */
static inline int read_all(struct disk disk, struct err *err)
{
    size_t bytes = 0;
    const struct dbfile_visitor visitor = {.item = ignore_item, .ctx = &bytes};
    struct dbfile *file;
    int rc;

    *err = (struct err)ERR_INIT;
    rc = dbfile_open(disk, FILE_PATH, &file, err);
    if (rc != 0)
        return rc;
    rc = dbfile_walk(file, &visitor, err);
    if (rc == 0 && dbfile_has_digest(file))
        rc = dbfile_check_digest(file, NULL, NULL, err);
    dbfile_close(file);
    return rc;
}

static inline uint64_t seed_from_clock(const char *test)
{
    const char *given = getenv("SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);

    printf("%s: SEED=%llu\n", test, (unsigned long long)seed);
    return seed;
}

#endif
