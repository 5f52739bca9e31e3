/* Writer and reader of etcd's database file: what one writes the other reads, damage is found.
 * tests/compat/snapshot.py has the same with files of etcd, and with etcd as the reader. */
#include "tests/unit/snapshot/dbfile_fixture.h"

struct fixture {
    struct memdisk *memdisk;
    struct disk disk;
    struct prng prng;
    struct content content;
    struct buf file;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    f->memdisk = memdisk_new(1);
    f->disk = memdisk_disk(f->memdisk);
    prng_seed(&f->prng, 1);
    buf_init(&f->file, SIZE_MAX / 2);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    content_free(&f->content);
    buf_release(&f->file);
    memdisk_free(f->memdisk);
    free(f);
    return 0;
}

static void write_file(struct fixture *f, bool digest)
{
    buf_release(&f->file);
    encode(&f->content, digest, &f->file);
    store(f->disk, f->file.data, f->file.len);
}

static void expect_damage(struct fixture *f, const char *text)
{
    struct err err;

    store(f->disk, f->file.data, f->file.len);
    assert_int_equal(read_all(f->disk, &err), KV_ECORRUPT);
    if (strstr(err.text, text) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, text);
}

static uint8_t *page(struct fixture *f, uint64_t id)
{
    return f->file.data + id * DBFILE_PAGE_SIZE;
}

static void fix_meta(uint8_t *p)
{
    put_le64(p + 16 + DBFILE__META_CHECKSUM, dbfile__meta_checksum(p + 16));
}

/* One bucket of three levels: leaves from 2 on, branches among them. */
static void make_deep(struct fixture *f)
{
    add_bucket(&f->content, &f->prng, 40000, 20, 40);
    write_file(f, false);
}

/* ---- sound files ---- */

static void what_is_written_is_read_again(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = seed_from_clock(__func__);

    for (unsigned round = 0; round < 60; round++) {
        size_t buckets;

        prng_seed(&f->prng, seed + round);
        content_free(&f->content);
        buckets = 1 + prng_next(&f->prng) % DBFILE_BUCKET_COUNT;
        for (size_t b = 0; b < buckets; b++)
            add_bucket(&f->content, &f->prng,
                       prng_next(&f->prng) % 3 == 0 ? 0 : prng_next(&f->prng) % 400,
                       round % 7 == 0 ? 5000 : 40, round % 5 == 0 ? 20000 : 600);
        write_file(f, round % 2 == 0);
        expect_content(f->disk, &f->content);
    }
}

static void ten_empty_buckets_are_a_file(void **state)
{
    struct fixture *f = *state;

    for (size_t b = 0; b < DBFILE_BUCKET_COUNT; b++)
        add_bucket(&f->content, &f->prng, 0, 1, 0);
    write_file(f, true);
    expect_content(f->disk, &f->content);
    assert_int_equal(f->file.len, (2 + 10 + 1) * DBFILE_PAGE_SIZE + DBFILE_DIGEST_SIZE);
}

static void pages_at_every_fill_are_exact(void **state)
{
    struct fixture *f = *state;

    /* Around the size at which one, two or three items fill a page. */
    for (size_t parts = 1; parts <= 3; parts++) {
        size_t exact = (DBFILE_PAGE_SIZE - 16) / parts - 16 - 4;

        for (size_t value = exact - 3; value <= exact + 3; value++) {
            content_free(&f->content);
            add_bucket(&f->content, &f->prng, 0, 1, 0);
            free(f->content.buckets[0].items);
            f->content.buckets[0].items = xcalloc(9, sizeof(struct item));
            f->content.buckets[0].len = 9;
            for (uint32_t i = 0; i < 9; i++)
                f->content.buckets[0].items[i] = make_item(&f->prng, i, 4, value);
            write_file(f, false);
            expect_content(f->disk, &f->content);
        }
    }
}

static void huge_keys_and_values_take_pages_of_their_own(void **state)
{
    struct fixture *f = *state;

    add_bucket(&f->content, &f->prng, 40, DBFILE_KEY_SIZE_MAX, 3 << 20);
    write_file(f, true);
    expect_content(f->disk, &f->content);
}

static void a_deep_tree_keeps_one_page_per_level_in_memory(void **state)
{
    struct fixture *f = *state;
    struct dbfile_writer *writer = dbfile_writer_new();
    size_t most = 0;
    uint64_t size, drained = 0;
    struct buf out;

    add_bucket(&f->content, &f->prng, 60000, 20, 60);
    buf_init(&out, SIZE_MAX / 2);
    write_pass(writer, &f->content, true);
    size = dbfile_writer_begin(writer, &out);
    dbfile_writer_bucket(writer, f->content.buckets[0].name);
    for (size_t i = 0; i < f->content.buckets[0].len; i++) {
        const struct item *item = &f->content.buckets[0].items[i];

        memcpy(dbfile_writer_add(writer, slice_of(item->key, item->key_len), item->value_len),
               item->value, item->value_len);
        most = MAX(most, out.len);
        drained += out.len;
        buf_reset(&out);
    }
    dbfile_writer_end(writer);
    assert_int_equal(drained + out.len, size);
    assert_true(size > 500 * DBFILE_PAGE_SIZE);
    assert_true(most <= 4 * DBFILE_PAGE_SIZE);
    buf_release(&out);
    dbfile_writer_free(writer);
}

/* As etcd writes small buckets: a leaf page inside the value. Ours has one element, key "k". */
static void make_inline_of(struct fixture *f, size_t page_size, unsigned flags, unsigned count)
{
    uint8_t *leaf, *data;

    buf_release(&f->file);
    buf_init(&f->file, SIZE_MAX / 2);
    assert_int_equal(buf_reserve(&f->file, 3 * page_size), 0);
    f->file.len = 3 * page_size;
    memset(f->file.data, 0, f->file.len);
    for (uint64_t i = 0; i < 2; i++) {
        uint8_t *meta = f->file.data + i * page_size;

        put_le64(meta, i);
        put_le16(meta + 8, DBFILE__META);
        put_le32(meta + 16 + DBFILE__META_MAGIC, DBFILE__MAGIC);
        put_le32(meta + 16 + DBFILE__META_VERSION, 2);
        put_le32(meta + 16 + DBFILE__META_PAGE_SIZE, (uint32_t)page_size);
        put_le64(meta + 16 + DBFILE__META_ROOT, 2);
        put_le64(meta + 16 + DBFILE__META_FREELIST, DBFILE__NO_FREELIST);
        put_le64(meta + 16 + DBFILE__META_PAGES, 3);
        put_le64(meta + 16 + DBFILE__META_TXID, i + 1);
        fix_meta(meta);
    }
    leaf = f->file.data + 2 * page_size;
    put_le64(leaf, 2);
    put_le16(leaf + 8, DBFILE__LEAF);
    put_le16(leaf + 10, 1);
    put_le32(leaf + 16, DBFILE__IS_BUCKET);
    put_le32(leaf + 20, 16);
    put_le32(leaf + 24, 3);
    put_le32(leaf + 28, 16 + 16 + 16 + 2);
    data = leaf + 32;
    memcpy(data, "key", 3);
    data += 3 + 16; /* root 0, sequence 0 */
    put_le16(data + 8, (uint16_t)flags);
    put_le16(data + 10, (uint16_t)count);
    put_le32(data + 20, 16);
    put_le32(data + 24, 1);
    put_le32(data + 28, 1);
    memcpy(data + 32, "kv", 2);
    store(f->disk, f->file.data, f->file.len);
}

static void make_inline(struct fixture *f, unsigned flags, unsigned count)
{
    make_inline_of(f, DBFILE_PAGE_SIZE, flags, count);
}

static void inline_buckets_are_read(void **state)
{
    struct fixture *f = *state;
    struct item item = {
        .key = (uint8_t *)"k", .value = (uint8_t *)"v", .key_len = 1, .value_len = 1};
    struct content expected = {.buckets = {{.name = "key", .items = &item, .len = 1}}, .len = 1};

    make_inline(f, DBFILE__LEAF, 1);
    expect_content(f->disk, &expected);
}

static void pages_of_any_size_are_read_with_either_head(void **state)
{
    struct fixture *f = *state;
    struct item item = {
        .key = (uint8_t *)"k", .value = (uint8_t *)"v", .key_len = 1, .value_len = 1};
    struct content expected = {.buckets = {{.name = "key", .items = &item, .len = 1}}, .len = 1};

    for (size_t page_size = 1024; page_size <= 1 << 20; page_size *= 4) {
        for (int head = 0; head < 2; head++) {
            make_inline_of(f, page_size, DBFILE__LEAF, 1);
            expect_content(f->disk, &expected);
            f->file.data[(size_t)head * page_size + 20] ^= 0xff;
            store(f->disk, f->file.data, f->file.len);
            expect_content(f->disk, &expected);
        }
        f->file.data[20] ^= 0xff;
        expect_damage(f, "both of its heads are damaged");
    }
}

static void an_inline_bucket_is_checked_as_a_page_is(void **state)
{
    struct fixture *f = *state;

    make_inline(f, DBFILE__BRANCH, 1);
    expect_damage(f, "inline that is no leaf");
    make_inline(f, DBFILE__LEAF, 9);
    expect_damage(f, "no room for its 9 elements");
    make_inline(f, DBFILE__LEAF, 1);
    put_le32(page(f, 2) + 28, 20);
    expect_damage(f, "inline that is cut short");
    make_inline(f, DBFILE__LEAF, 1);
    put_le32(page(f, 2) + 32 + 3 + 16 + 28, 2); /* the value's length */
    expect_damage(f, "not inside its page");
}

static void unused_space_behind_the_database_is_no_harm(void **state)
{
    struct fixture *f = *state;

    add_bucket(&f->content, &f->prng, 100, 20, 100);
    write_file(f, false);
    assert_int_equal(buf_reserve(&f->file, 64 << 10), 0);
    memset(f->file.data + f->file.len, 0xab, 64 << 10);
    f->file.len += 64 << 10;
    store(f->disk, f->file.data, f->file.len);
    expect_content(f->disk, &f->content);
}

static void one_damaged_head_is_no_harm(void **state)
{
    struct fixture *f = *state;

    add_bucket(&f->content, &f->prng, 100, 20, 100);
    for (uint64_t head = 0; head < 2; head++) {
        write_file(f, false);
        page(f, head)[40] ^= 1;
        store(f->disk, f->file.data, f->file.len);
        expect_content(f->disk, &f->content);
    }
}

static void the_head_of_the_later_transaction_counts(void **state)
{
    struct fixture *f = *state;

    add_bucket(&f->content, &f->prng, 100, 20, 100);
    write_file(f, false);
    put_le64(page(f, 1) + 16 + DBFILE__META_ROOT, 2); /* the first leaf: no tree of buckets */
    fix_meta(page(f, 1));
    store(f->disk, f->file.data, f->file.len);
    expect_content(f->disk, &f->content);
    put_le64(page(f, 1) + 16 + DBFILE__META_TXID, 99);
    fix_meta(page(f, 1));
    expect_damage(f, "in no bucket");
}

/* ---- free lists ---- */

/* A page more than the trees have, which is the list of free pages; n of them are free. */
static void add_freelist(struct fixture *f, uint64_t n, bool count_in_body)
{
    uint64_t pages = f->file.len / DBFILE_PAGE_SIZE, id = pages + n;
    uint8_t *p, *ids;

    assert_int_equal(buf_reserve(&f->file, (n + 1) * DBFILE_PAGE_SIZE), 0);
    memset(f->file.data + f->file.len, 0, (n + 1) * DBFILE_PAGE_SIZE);
    f->file.len += (n + 1) * DBFILE_PAGE_SIZE;
    p = page(f, id);
    put_le64(p, id);
    put_le16(p + 8, DBFILE__FREELIST);
    put_le16(p + 10, count_in_body ? 0xffff : (uint16_t)n);
    ids = p + 16;
    if (count_in_body) {
        put_le64(ids, n);
        ids += 8;
    }
    for (uint64_t i = 0; i < n; i++)
        put_le64(ids + 8 * i, pages + i);
    for (uint64_t i = 0; i < 2; i++) {
        put_le64(page(f, i) + 16 + DBFILE__META_FREELIST, id);
        put_le64(page(f, i) + 16 + DBFILE__META_PAGES, id + 1);
        fix_meta(page(f, i));
    }
    store(f->disk, f->file.data, f->file.len);
}

static void both_forms_of_free_lists_are_read(void **state)
{
    struct fixture *f = *state;

    add_bucket(&f->content, &f->prng, 100, 20, 100);
    for (int count_in_body = 0; count_in_body < 2; count_in_body++) {
        write_file(f, false);
        add_freelist(f, 3, count_in_body != 0);
        expect_content(f->disk, &f->content);
    }
}

static void a_page_is_used_or_free_but_never_both_or_neither(void **state)
{
    struct fixture *f = *state;
    uint64_t list;

    add_bucket(&f->content, &f->prng, 100, 20, 100);
    write_file(f, false);
    add_freelist(f, 3, false);
    list = f->file.len / DBFILE_PAGE_SIZE - 1;
    put_le64(page(f, list) + 16, 2);
    expect_damage(f, "is used twice");
    put_le64(page(f, list) + 16, list - 3);
    put_le16(page(f, list) + 10, 2);
    expect_damage(f, "neither used nor free");
    put_le16(page(f, list) + 10, 600);
    expect_damage(f, "no room for its 600 free pages");
    put_le16(page(f, list) + 10, 3);
    put_le64(page(f, list) + 16 + 16, list - 3);
    expect_damage(f, "where it can not stand");
}

/* ---- damage with a name ---- */

static void files_that_are_none_are_refused(void **state)
{
    struct fixture *f = *state;
    struct err err;

    expect_damage(f, "the file is empty");
    assert_int_equal(buf_append(&f->file, "# a shell script", 16), 0);
    expect_damage(f, "no etcd snapshot or database");
    (void)f->disk.ops->unlink(f->disk.ctx, FILE_PATH, NULL);
    assert_int_equal(read_all(f->disk, &err), KV_ENOTFOUND);
    assert_non_null(strstr(err.text, FILE_PATH));
}

static void a_file_of_another_machine_or_time_is_told_from_damage(void **state)
{
    struct fixture *f = *state;
    struct err err;

    add_bucket(&f->content, &f->prng, 10, 20, 100);
    write_file(f, false);
    for (uint64_t i = 0; i < 2; i++) {
        put_le32(page(f, i) + 16 + DBFILE__META_VERSION, 3);
        fix_meta(page(f, i));
    }
    store(f->disk, f->file.data, f->file.len);
    assert_int_equal(read_all(f->disk, &err), KV_EMISMATCH);
    for (uint64_t i = 0; i < 2; i++)
        put_be32(page(f, i) + 16, DBFILE__MAGIC);
    store(f->disk, f->file.data, f->file.len);
    assert_int_equal(read_all(f->disk, &err), KV_EMISMATCH);
    assert_non_null(strstr(err.text, "big-endian"));
}

static void a_cycle_ends(void **state)
{
    struct fixture *f = *state;
    uint64_t root;

    make_deep(f);
    root = f->file.len / DBFILE_PAGE_SIZE - 2; /* of the bucket; the last page is the buckets' */
    assert_int_equal(get_le16(page(f, root) + 8), DBFILE__BRANCH);
    put_le64(page(f, root) + 16 + 8, root);
    expect_damage(f, "is used twice");
}

static void a_chain_of_single_children_ends(void **state)
{
    struct fixture *f = *state;
    uint64_t pages, root;

    make_deep(f);
    pages = f->file.len / DBFILE_PAGE_SIZE;
    root = pages - 2;
    for (uint64_t id = 2; id < root; id++) {
        uint8_t *p = page(f, id);

        memset(p, 0, DBFILE_PAGE_SIZE);
        put_le64(p, id);
        put_le16(p + 8, DBFILE__BRANCH);
        put_le16(p + 10, 1);
        put_le32(p + 16, 16);
        put_le32(p + 20, 4);
        put_le64(p + 24, id + 1);
    }
    put_le16(page(f, root) + 10, 1);
    put_le32(page(f, root) + 16, 16);
    put_le32(page(f, root) + 20, 4);
    put_le64(page(f, root) + 24, 2);
    memset(page(f, root) + 32, 0, 4); /* the key, as the others' */
    expect_damage(f, "lies deeper than");
}

static void pages_are_held_to_their_header(void **state)
{
    struct fixture *f = *state;

    make_deep(f);
    put_le64(page(f, 5), 6);
    expect_damage(f, "page 5 (at byte 20480, bucket alarm): says that it is page 6");
    put_le64(page(f, 5), 5);
    put_le16(page(f, 5) + 8, 3);
    expect_damage(f, "neither branch nor leaf");
    put_le16(page(f, 5) + 8, DBFILE__LEAF);
    put_le32(page(f, 5) + 12, 1 << 30);
    expect_damage(f, "beyond the end of the file");
    put_le32(page(f, 5) + 12, 1);
    expect_damage(f, "is used twice"); /* its overflow is a leaf of its own */
    put_le32(page(f, 5) + 12, 0);
    put_le16(page(f, 5) + 10, 5000);
    expect_damage(f, "no room for its 5000 elements");
}

static void elements_are_held_to_their_page_and_order(void **state)
{
    struct fixture *f = *state;
    uint8_t *element, *key;

    make_deep(f);
    element = page(f, 5) + 16 + 2 * 16;
    key = element + get_le32(element + 4);
    key[3] += 1; /* now as the next one */
    key[4] = 0xff;
    expect_damage(f, "not above the one before");
    key[0] = 0xff;
    put_le16(page(f, 5) + 10, 3);
    expect_damage(f, "above its subtree");
    element = page(f, 5) + 16;
    key = element + get_le32(element + 4);
    memset(key, 0, 4);
    expect_damage(f, "below its subtree");
    put_le32(element + 4, 8); /* inside the array of elements */
    expect_damage(f, "not inside its page");
    put_le32(element + 4, 4090);
    expect_damage(f, "not inside its page");
    put_le32(element + 4, 48);
    put_le32(element + 8, 0);
    expect_damage(f, "has 0 bytes");
    put_le32(element, 2);
    put_le32(element + 8, 4);
    expect_damage(f, "below its subtree");
}

static void a_digest_is_compared(void **state)
{
    struct fixture *f = *state;
    struct dbfile *file;
    struct err err = ERR_INIT;

    add_bucket(&f->content, &f->prng, 10, 20, 100);
    write_file(f, true);
    assert_int_equal(read_all(f->disk, &err), 0);
    f->file.data[f->file.len - 1] ^= 1;
    expect_damage(f, "expected sha256 [");
    store(f->disk, f->file.data, f->file.len - DBFILE_DIGEST_SIZE);
    assert_int_equal(dbfile_open(f->disk, FILE_PATH, &file, &err), 0);
    assert_false(dbfile_has_digest(file));
    assert_int_equal(dbfile_check_digest(file, NULL, NULL, &err), KV_ENOTFOUND);
    dbfile_close(file);
}

/* ---- damage without a name ---- */

static void make_mixed(struct fixture *f)
{
    content_free(&f->content);
    for (size_t b = 0; b < DBFILE_BUCKET_COUNT; b++)
        add_bucket(&f->content, &f->prng, b == DBFILE_KEY ? 900 : b % 3 * 4, 20,
                   b == DBFILE_META ? 9000 : 200);
}

static void a_file_cut_anywhere_is_refused(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = seed_from_clock(__func__);
    struct err err;

    prng_seed(&f->prng, seed);
    make_mixed(f);
    write_file(f, true);
    for (unsigned round = 0; round < 400; round++) {
        size_t len = prng_next(&f->prng) % f->file.len;

        store(f->disk, f->file.data, len);
        /* Without the digest, and the rest whole, it is a plain database. */
        if (len == f->file.len - DBFILE_DIGEST_SIZE)
            continue;
        if (len > f->file.len - DBFILE_DIGEST_SIZE) {
            (void)read_all(f->disk, &err);
            continue;
        }
        assert_int_equal(read_all(f->disk, &err), KV_ECORRUPT);
        assert_true(strlen(err.text) > strlen(FILE_PATH));
    }
}

/* The digest is right, so the trees have to notice or give what stands there. */
static void damage_anywhere_never_crashes_and_always_has_a_text(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = seed_from_clock(__func__);
    unsigned refused = 0;
    struct err err;

    prng_seed(&f->prng, seed);
    make_mixed(f);
    for (unsigned round = 0; round < 3000; round++) {
        unsigned flips = 1 + (unsigned)(prng_next(&f->prng) % 8);
        int rc;

        if (round % 50 == 0) {
            write_file(f, false);
            if (round % 100 == 0)
                add_freelist(f, 2, round % 200 == 0);
        }
        for (unsigned i = 0; i < flips; i++) {
            /* Mostly where pages and elements are described. */
            size_t at = prng_next(&f->prng) % f->file.len;

            if (prng_next(&f->prng) % 4 != 0)
                at = at / DBFILE_PAGE_SIZE * DBFILE_PAGE_SIZE + at % 96;
            f->file.data[at] ^= (uint8_t)(1 << prng_next(&f->prng) % 8);
            if (at < 2 * DBFILE_PAGE_SIZE && prng_next(&f->prng) % 2 == 0) {
                fix_meta(page(f, 0));
                fix_meta(page(f, 1));
            }
        }
        store(f->disk, f->file.data, f->file.len);
        rc = read_all(f->disk, &err);
        assert_true(rc == 0 || rc == KV_ECORRUPT || rc == KV_EMISMATCH);
        assert_true((rc != 0) == (err.text[0] != '\0'));
        refused += rc != 0;
    }
    assert_true(refused > 1000);
}

static void a_flipped_bit_in_a_snapshot_is_always_found(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = seed_from_clock(__func__);
    struct err err;

    prng_seed(&f->prng, seed);
    make_mixed(f);
    write_file(f, true);
    for (unsigned round = 0; round < 500; round++) {
        size_t at = prng_next(&f->prng) % f->file.len;
        uint8_t bit = (uint8_t)(1 << prng_next(&f->prng) % 8);

        f->file.data[at] ^= bit;
        store(f->disk, f->file.data, f->file.len);
        assert_int_equal(read_all(f->disk, &err), KV_ECORRUPT);
        f->file.data[at] ^= bit;
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_is_read_again),
        TEST(ten_empty_buckets_are_a_file),
        TEST(pages_at_every_fill_are_exact),
        TEST(huge_keys_and_values_take_pages_of_their_own),
        TEST(a_deep_tree_keeps_one_page_per_level_in_memory),
        TEST(inline_buckets_are_read),
        TEST(pages_of_any_size_are_read_with_either_head),
        TEST(an_inline_bucket_is_checked_as_a_page_is),
        TEST(unused_space_behind_the_database_is_no_harm),
        TEST(one_damaged_head_is_no_harm),
        TEST(the_head_of_the_later_transaction_counts),
        TEST(both_forms_of_free_lists_are_read),
        TEST(a_page_is_used_or_free_but_never_both_or_neither),
        TEST(files_that_are_none_are_refused),
        TEST(a_file_of_another_machine_or_time_is_told_from_damage),
        TEST(a_cycle_ends),
        TEST(a_chain_of_single_children_ends),
        TEST(pages_are_held_to_their_header),
        TEST(elements_are_held_to_their_page_and_order),
        TEST(a_digest_is_compared),
        TEST(a_file_cut_anywhere_is_refused),
        TEST(damage_anywhere_never_crashes_and_always_has_a_text),
        TEST(a_flipped_bit_in_a_snapshot_is_always_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
