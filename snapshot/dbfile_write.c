/* A tree is written from its leaves up, each branch page right behind the last of its children: a
 * page that is full goes out, and its first key and number become an element of the page above,
 * which may be full by that, and so on. So there is one open page per level. The first pass does
 * the same with lengths alone. bbolt does not care where in the file a page stands. */
#include "snapshot/dbfile_write.h"

#include <stdlib.h>

#include "base/codec.h"
#include "base/mem.h"

enum {
    /* With at least two elements in a branch page, and 2^32 pages: far above what can be. */
    LEVELS_MAX = 40,
    BUCKETS_MAX = 16,
    LEAF_MIN = 1,   /* elements of a page, however large they are */
    BRANCH_MIN = 2, /* with one alone a tree of huge keys would never come to its root */
    FIRST_PAGE = DBFILE_META_COUNT,
    TXID = 2, /* a fresh file of bbolt has been through as many; meta 1 is one behind */
};

/* The open page of a level. */
struct level {
    size_t size;          /* what it takes so far, header included */
    uint32_t count;       /* elements */
    size_t first_key_len; /* of its first element */
    uint64_t closed;      /* pages of this level before it, in this bucket */
    struct buf elements;  /* second pass; the place of the data counts from the start of data */
    struct buf data;      /* key, value, key, value, ... */
};

struct dbfile_writer {
    struct level levels[LEVELS_MAX]; /* 0: leaves */
    struct buf *out;                 /* NULL: first pass */
    uint64_t next_page;
    const char *names[BUCKETS_MAX];
    uint64_t roots[BUCKETS_MAX];
    size_t bucket_count; /* begun in this pass; the last one is open */
    uint64_t planned_pages, planned_root;
};

struct dbfile_writer *dbfile_writer_new(void)
{
    struct dbfile_writer *writer = xcalloc(1, sizeof *writer);

    for (size_t i = 0; i < LEVELS_MAX; i++) {
        writer->levels[i].size = DBFILE__PAGE_HEADER;
        buf_init(&writer->levels[i].elements, SIZE_MAX / 2);
        buf_init(&writer->levels[i].data, SIZE_MAX / 2);
    }
    writer->next_page = FIRST_PAGE;
    return writer;
}

void dbfile_writer_free(struct dbfile_writer *writer)
{
    if (writer == NULL)
        return;
    for (size_t i = 0; i < LEVELS_MAX; i++) {
        buf_release(&writer->levels[i].elements);
        buf_release(&writer->levels[i].data);
    }
    free(writer);
}

/* ---- pages ---- */

static void reset_level(struct level *level)
{
    level->size = DBFILE__PAGE_HEADER;
    level->count = 0;
    buf_reset(&level->elements);
    buf_reset(&level->data);
}

/* len more bytes of a buf that has no bound to be met; the caller fills them. */
static uint8_t *grow(struct buf *buf, size_t len)
{
    int rc = buf_reserve(buf, len);

    ASSERT(rc == 0);
    buf->len += len;
    return buf->data + buf->len - len;
}

static void put_page_header(uint8_t *p, uint64_t id, unsigned flags, size_t count, uint64_t extra)
{
    put_le64(p, id);
    put_le16(p + 8, (uint16_t)flags);
    put_le16(p + 10, (uint16_t)count);
    put_le32(p + 12, (uint32_t)extra);
}

static uint64_t pages_of(size_t size)
{
    return ((uint64_t)size + DBFILE_PAGE_SIZE - 1) / DBFILE_PAGE_SIZE;
}

/* An element's place counts from its own first byte. */
static void put_elements(uint8_t *p, const struct level *level, unsigned flags)
{
    size_t at = flags == DBFILE__LEAF ? 4 : 0; /* of pos in an element */

    memcpy(p, level->elements.data, level->elements.len);
    for (size_t i = 0; i < level->count; i++) {
        uint8_t *pos = p + i * DBFILE__ELEMENT + at;

        put_le32(pos, get_le32(pos) + (uint32_t)((level->count - i) * DBFILE__ELEMENT));
    }
}

static void write_page(struct dbfile_writer *writer, const struct level *level, unsigned flags)
{
    uint64_t pages = pages_of(level->size);
    uint8_t *p = grow(writer->out, (size_t)pages * DBFILE_PAGE_SIZE);

    put_page_header(p, writer->next_page, flags, level->count, pages - 1);
    if (level->count > 0) {
        put_elements(p + DBFILE__PAGE_HEADER, level, flags);
        memcpy(p + DBFILE__PAGE_HEADER + level->elements.len, level->data.data, level->data.len);
    }
    memset(p + level->size, 0, (size_t)pages * DBFILE_PAGE_SIZE - level->size);
}

static void add_child(struct dbfile_writer *writer, size_t at, struct slice key, uint64_t id);

/* The open page of a level goes out, and its parent learns of it. */
static uint64_t close_page(struct dbfile_writer *writer, size_t at)
{
    struct level *level = &writer->levels[at];
    uint64_t id = writer->next_page;

    ASSERT(at + 1 < LEVELS_MAX);
    if (writer->out != NULL)
        write_page(writer, level, at == 0 ? DBFILE__LEAF : DBFILE__BRANCH);
    writer->next_page += pages_of(level->size);
    level->closed++;
    if (level->count > 0)
        add_child(writer, at + 1, slice_of(level->data.data, level->first_key_len), id);
    reset_level(level);
    return id;
}

/* Room for an element in the open page, or in the one after it. */
static struct level *begin_element(struct dbfile_writer *writer, size_t at, size_t key_len,
                                   size_t value_len)
{
    struct level *level = &writer->levels[at];
    size_t size = DBFILE__ELEMENT + key_len + value_len;

    if (level->count >= (at == 0 ? LEAF_MIN : BRANCH_MIN) && level->size + size > DBFILE_PAGE_SIZE)
        (void)close_page(writer, at);
    if (level->count == 0)
        level->first_key_len = key_len;
    level->count++;
    level->size += size;
    return level;
}

static void add_child(struct dbfile_writer *writer, size_t at, struct slice key, uint64_t id)
{
    struct level *level = begin_element(writer, at, key.len, 0);
    uint8_t *element;

    if (writer->out == NULL)
        return;
    element = grow(&level->elements, DBFILE__ELEMENT);
    put_le32(element, (uint32_t)level->data.len);
    put_le32(element + 4, (uint32_t)key.len);
    put_le64(element + 8, id);
    memcpy(grow(&level->data, key.len), key.data, key.len);
}

/* ---- buckets ---- */

static uint8_t *add_item(struct dbfile_writer *writer, struct slice key, size_t value_len,
                         uint32_t flags)
{
    struct level *level = begin_element(writer, 0, key.len, value_len);
    uint8_t *element, *data;

    if (writer->out == NULL)
        return NULL;
    element = grow(&level->elements, DBFILE__ELEMENT);
    put_le32(element, flags);
    put_le32(element + 4, (uint32_t)level->data.len);
    put_le32(element + 8, (uint32_t)key.len);
    put_le32(element + 12, (uint32_t)value_len);
    data = grow(&level->data, key.len + value_len);
    memcpy(data, key.data, key.len);
    return data + key.len;
}

uint8_t *dbfile_writer_add(struct dbfile_writer *writer, struct slice key, size_t value_len)
{
    ASSERT(writer->bucket_count > 0);
    ASSERT(key.len > 0 && key.len <= DBFILE_KEY_SIZE_MAX);
    ASSERT(value_len <= DBFILE_VALUE_SIZE_MAX);
    return add_item(writer, key, value_len, 0);
}

/* Closes what is open from the leaves up to the one page that holds all: the root. A bucket without
 * items is an empty leaf page. */
static uint64_t close_tree(struct dbfile_writer *writer)
{
    uint64_t root = close_page(writer, 0);
    size_t at;

    for (at = 1; writer->levels[at - 1].closed > 1; at++)
        root = close_page(writer, at);
    for (size_t i = 0; i <= at; i++) {
        reset_level(&writer->levels[i]);
        writer->levels[i].closed = 0;
    }
    return root;
}

static void close_bucket(struct dbfile_writer *writer)
{
    if (writer->bucket_count > 0)
        writer->roots[writer->bucket_count - 1] = close_tree(writer);
}

void dbfile_writer_bucket(struct dbfile_writer *writer, const char *name)
{
    close_bucket(writer);
    ASSERT(writer->bucket_count < BUCKETS_MAX);
    ASSERT(writer->bucket_count == 0 || strcmp(name, writer->names[writer->bucket_count - 1]) > 0);
    writer->names[writer->bucket_count++] = name;
}

/* ---- passes ---- */

/* The tree of buckets; its root is the last page of the file. */
static uint64_t close_file(struct dbfile_writer *writer)
{
    close_bucket(writer);
    for (size_t i = 0; i < writer->bucket_count; i++) {
        uint8_t *value =
            add_item(writer, slice_str(writer->names[i]), DBFILE__BUCKET_SIZE, DBFILE__IS_BUCKET);

        if (value != NULL) {
            put_le64(value, writer->roots[i]);
            put_le64(value + 8, 0); /* etcd makes no use of sequences */
        }
    }
    return close_tree(writer);
}

static void write_meta(struct dbfile_writer *writer, uint64_t id, uint64_t txid)
{
    uint8_t *p = grow(writer->out, DBFILE_PAGE_SIZE), *meta = p + DBFILE__PAGE_HEADER;

    memset(p, 0, DBFILE_PAGE_SIZE);
    put_page_header(p, id, DBFILE__META, 0, 0);
    put_le32(meta + DBFILE__META_MAGIC, DBFILE__MAGIC);
    put_le32(meta + DBFILE__META_VERSION, DBFILE__VERSION);
    put_le32(meta + DBFILE__META_PAGE_SIZE, DBFILE_PAGE_SIZE);
    put_le64(meta + DBFILE__META_ROOT, writer->planned_root);
    put_le64(meta + DBFILE__META_FREELIST, DBFILE__NO_FREELIST);
    put_le64(meta + DBFILE__META_PAGES, writer->planned_pages);
    put_le64(meta + DBFILE__META_TXID, txid);
    put_le64(meta + DBFILE__META_CHECKSUM, dbfile__meta_checksum(meta));
}

uint64_t dbfile_writer_begin(struct dbfile_writer *writer, struct buf *out)
{
    ASSERT(writer->out == NULL);
    writer->planned_root = close_file(writer);
    writer->planned_pages = writer->next_page;
    writer->next_page = FIRST_PAGE;
    writer->bucket_count = 0;
    writer->out = out;
    write_meta(writer, 0, TXID);
    write_meta(writer, 1, TXID - 1);
    return writer->planned_pages * DBFILE_PAGE_SIZE;
}

void dbfile_writer_end(struct dbfile_writer *writer)
{
    uint64_t root = close_file(writer);

    ASSERT(root == writer->planned_root);
    ASSERT(writer->next_page == writer->planned_pages);
}
