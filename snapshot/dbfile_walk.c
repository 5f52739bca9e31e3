/* The trees of a bbolt file, depth first, every page checked before it is used. A page that is
 * reached is marked; one that is reached twice ends the walk, so a cycle does too. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/codec.h"
#include "base/mem.h"
#include "snapshot/dbfile_internal.h"

enum {
    DEPTH_MAX = 48, /* of a tree: each page of it has at least two children in a sound file */
    COUNT_IN_BODY = 0xffff, /* a free list's count is its first entry */
};

/* A page with its overflow, or one inside a value. */
struct page {
    uint64_t id; /* of the page it is in, for errors */
    unsigned flags;
    size_t count;
    struct slice bytes; /* header included */
};

struct walk {
    struct dbfile *file;
    const struct dbfile_visitor *visitor;
    struct err *err;
    uint8_t *seen; /* one bit per page */
    uint8_t
        *memory[DEPTH_MAX + 2]; /* of the page at each depth: buckets' root, and bucket's trees */
    size_t memory_size[DEPTH_MAX + 2];
    struct slice bucket; /* being walked; empty: the tree of buckets */
};

/* Keys of a subtree: from low on (empty: from the start), below high if there is one. */
struct bounds {
    struct slice low, high;
    bool has_high;
};

PRINTF_LIKE(3, 4)
static int bad_page(const struct walk *walk, uint64_t id, const char *fmt, ...)
{
    enum dbfile_bucket bucket = dbfile_bucket_named(walk->bucket);
    bool named = bucket != DBFILE_BUCKET_COUNT; /* others are not fit to be printed */
    char what[256];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return err_set(walk->err, KV_ECORRUPT, "%s: page %" PRIu64 " (at byte %" PRIu64 "%s%s): %s",
                   walk->file->path, id, id * walk->file->page_size, named ? ", bucket " : "",
                   named ? dbfile_bucket_name(bucket) : "", what);
}

/* ---- pages ---- */

static bool is_seen(const struct walk *walk, uint64_t id)
{
    return (walk->seen[id / 8] >> (id % 8) & 1) != 0;
}

static int mark(struct walk *walk, uint64_t id, uint64_t count)
{
    for (uint64_t i = id; i < id + count; i++) {
        if (is_seen(walk, i))
            return bad_page(walk, i, "is used twice");
        walk->seen[i / 8] |= (uint8_t)(1 << (i % 8));
    }
    return 0;
}

/* Keeps what is in it. */
static uint8_t *memory_at(struct walk *walk, size_t depth, size_t size)
{
    if (walk->memory_size[depth] < size) {
        walk->memory[depth] = xrealloc(walk->memory[depth], size);
        walk->memory_size[depth] = size;
    }
    return walk->memory[depth];
}

/* The pages that the first one says belong to it. */
static int read_overflow(struct walk *walk, uint64_t id, size_t depth, uint64_t pages)
{
    struct dbfile *file = walk->file;
    size_t first = file->page_size, size = (size_t)(pages * first);

    if (pages == 1)
        return 0;
    return dbfile__read(file, (id + 1) * first, memory_at(walk, depth, size) + first, size - first,
                        walk->err);
}

/* Reads a page into the memory of the depth. */
static int read_page(struct walk *walk, uint64_t id, size_t depth, struct page *out)
{
    struct dbfile *file = walk->file;
    uint64_t pages;
    uint8_t *data;
    int rc;

    if (id < DBFILE_META_COUNT || id >= file->pages)
        return bad_page(walk, id, "is outside the file's %" PRIu64 " pages", file->pages);
    data = memory_at(walk, depth, file->page_size);
    rc = dbfile__read(file, id * file->page_size, data, file->page_size, walk->err);
    if (rc != 0)
        return rc;
    pages = (uint64_t)get_le32(data + 12) + 1;
    if (get_le64(data) != id)
        return bad_page(walk, id, "says that it is page %" PRIu64, get_le64(data));
    if (pages > file->pages - id)
        return bad_page(walk, id, "reaches beyond the end of the file");
    rc = mark(walk, id, pages);
    if (rc == 0)
        rc = read_overflow(walk, id, depth, pages);
    data = walk->memory[depth];
    *out = (struct page){.id = id,
                         .flags = get_le16(data + 8),
                         .count = get_le16(data + 10),
                         .bytes = slice_of(data, (size_t)(pages * file->page_size))};
    return rc;
}

/* The element array is inside the page. */
static int check_count(const struct walk *walk, const struct page *page)
{
    if (page->count > (page->bytes.len - DBFILE__PAGE_HEADER) / DBFILE__ELEMENT)
        return bad_page(walk, page->id, "has no room for its %zu elements", page->count);
    return 0;
}

struct element {
    unsigned flags;
    struct slice key, value; /* of a leaf */
    uint64_t child;          /* of a branch */
};

static int take_element(const struct walk *walk, const struct page *page, size_t at,
                        struct element *out)
{
    size_t offset = DBFILE__PAGE_HEADER + at * DBFILE__ELEMENT;
    const uint8_t *p = page->bytes.data + offset;
    bool leaf = page->flags == DBFILE__LEAF;
    uint64_t pos = get_le32(leaf ? p + 4 : p), key_len = get_le32(leaf ? p + 8 : p + 4);
    uint64_t value_len = leaf ? get_le32(p + 12) : 0;

    if (offset + pos + key_len + value_len > page->bytes.len ||
        pos < (page->count - at) * DBFILE__ELEMENT)
        return bad_page(walk, page->id, "element %zu is not inside its page", at);
    if (key_len == 0 || key_len > DBFILE_KEY_SIZE_MAX)
        return bad_page(walk, page->id, "the key of element %zu has %" PRIu64 " bytes", at,
                        key_len);
    *out = (struct element){
        .flags = leaf ? get_le32(p) : 0,
        .key = slice_of(p + pos, (size_t)key_len),
        .value = slice_of(p + pos + key_len, (size_t)value_len),
        .child = leaf ? 0 : get_le64(p + 8),
    };
    return 0;
}

/* Above the key before it and inside what the pages above promise. */
static int check_order(const struct walk *walk, const struct page *page, size_t at,
                       const struct element *element, const struct element *before,
                       const struct bounds *bounds)
{
    if (at > 0 && slice_cmp(element->key, before->key) <= 0)
        return bad_page(walk, page->id, "the key of element %zu is not above the one before", at);
    if (slice_cmp(element->key, bounds->low) < 0)
        return bad_page(walk, page->id, "the key of element %zu is below its subtree", at);
    if (bounds->has_high && slice_cmp(element->key, bounds->high) >= 0)
        return bad_page(walk, page->id, "the key of element %zu is above its subtree", at);
    return 0;
}

/* ---- trees ---- */

static int walk_bucket(struct walk *walk, const struct page *page, const struct element *element,
                       size_t depth);
static int walk_tree(struct walk *walk, uint64_t id, size_t depth, const struct bounds *bounds);

static int visit_item(struct walk *walk, const struct page *page, size_t at,
                      const struct element *element, size_t depth)
{
    bool is_bucket = (element->flags & DBFILE__IS_BUCKET) != 0;

    if ((element->flags & ~(unsigned)DBFILE__IS_BUCKET) != 0)
        return bad_page(walk, page->id, "element %zu has unknown flags %x", at, element->flags);
    if (walk->bucket.len == 0) {
        if (!is_bucket)
            return bad_page(walk, page->id, "element %zu is in no bucket", at);
        return walk_bucket(walk, page, element, depth);
    }
    if (is_bucket)
        return bad_page(walk, page->id,
                        "element %zu is a bucket in a bucket, which etcd does not have", at);
    return walk->visitor->item(walk->visitor->ctx, element->key, element->value);
}

static int walk_leaf(struct walk *walk, const struct page *page, size_t depth,
                     const struct bounds *bounds)
{
    struct element element = {0}, before = {0};
    int rc = check_count(walk, page);

    for (size_t i = 0; i < page->count && rc == 0; i++) {
        rc = take_element(walk, page, i, &element);
        if (rc == 0)
            rc = check_order(walk, page, i, &element, &before, bounds);
        if (rc == 0)
            rc = visit_item(walk, page, i, &element, depth);
        before = element;
    }
    return rc;
}

/* What the children may hold: from their own key to the next one's. */
static int walk_children(struct walk *walk, const struct page *page, size_t depth,
                         const struct bounds *bounds)
{
    struct element element, next;
    int rc = take_element(walk, page, 0, &element);

    for (size_t i = 0; i < page->count && rc == 0; i++) {
        struct bounds inside = {
            .low = element.key, .high = bounds->high, .has_high = bounds->has_high};

        if (i + 1 < page->count) {
            rc = take_element(walk, page, i + 1, &next);
            inside.high = next.key;
            inside.has_high = true;
        }
        if (rc == 0)
            rc = walk_tree(walk, element.child, depth + 1, &inside);
        element = next;
    }
    return rc;
}

static int walk_branch(struct walk *walk, const struct page *page, size_t depth,
                       const struct bounds *bounds)
{
    struct element element = {0}, before = {0};
    int rc = check_count(walk, page);

    if (rc == 0 && page->count == 0)
        rc = bad_page(walk, page->id, "is a branch without children");
    for (size_t i = 0; i < page->count && rc == 0; i++) {
        rc = take_element(walk, page, i, &element);
        if (rc == 0)
            rc = check_order(walk, page, i, &element, &before, bounds);
        before = element;
    }
    return rc == 0 ? walk_children(walk, page, depth, bounds) : rc;
}

static int walk_tree(struct walk *walk, uint64_t id, size_t depth, const struct bounds *bounds)
{
    struct page page;
    int rc;

    if (depth > DEPTH_MAX)
        return bad_page(walk, id, "lies deeper than %d pages", DEPTH_MAX);
    rc = read_page(walk, id, depth, &page);
    if (rc != 0)
        return rc;
    if (page.flags == DBFILE__LEAF)
        return walk_leaf(walk, &page, depth, bounds);
    if (page.flags == DBFILE__BRANCH)
        return walk_branch(walk, &page, depth, bounds);
    return bad_page(walk, id, "is neither branch nor leaf (flags %x)", page.flags);
}

/* ---- buckets ---- */

/* A small bucket: a leaf page inside the value. Nothing in it is aligned. */
static int walk_inline(struct walk *walk, const struct page *holder, struct slice bytes,
                       size_t depth, const struct bounds *all)
{
    struct page page = {.id = holder->id, .bytes = bytes};

    if (bytes.len < DBFILE__PAGE_HEADER)
        return bad_page(walk, holder->id, "holds a bucket inline that is cut short");
    page.flags = get_le16(bytes.data + 8);
    page.count = get_le16(bytes.data + 10);
    if (page.flags != DBFILE__LEAF)
        return bad_page(walk, holder->id, "holds a bucket inline that is no leaf");
    return walk_leaf(walk, &page, depth, all);
}

static int walk_bucket(struct walk *walk, const struct page *page, const struct element *element,
                       size_t depth)
{
    const struct bounds all = {.has_high = false};
    struct slice value = element->value;
    uint64_t root;
    int rc = 0;

    if (value.len < DBFILE__BUCKET_SIZE)
        return bad_page(walk, page->id, "has a bucket of %zu bytes", value.len);
    root = get_le64(value.data);
    walk->bucket = element->key;
    if (walk->visitor->bucket != NULL)
        rc = walk->visitor->bucket(walk->visitor->ctx, element->key);
    if (rc == 0 && root != 0)
        rc = walk_tree(walk, root, depth + 1, &all);
    else if (rc == 0)
        rc = walk_inline(
            walk, page, slice_of(value.data + DBFILE__BUCKET_SIZE, value.len - DBFILE__BUCKET_SIZE),
            depth, &all);
    walk->bucket = slice_of(NULL, 0);
    return rc;
}

/* ---- free pages ---- */

static int mark_free(struct walk *walk, const struct page *page)
{
    struct slice ids =
        slice_of(page->bytes.data + DBFILE__PAGE_HEADER, page->bytes.len - DBFILE__PAGE_HEADER);
    uint64_t count = page->count, before = 0;
    int rc = 0;

    if (count == COUNT_IN_BODY) {
        count = get_le64(ids.data);
        ids = slice_of(ids.data + sizeof count, ids.len - sizeof count);
    }
    if (count > ids.len / sizeof count)
        return bad_page(walk, page->id, "has no room for its %" PRIu64 " free pages", count);
    for (uint64_t i = 0; i < count && rc == 0; i++) {
        uint64_t id = get_le64(ids.data + i * sizeof id);

        if (id < DBFILE_META_COUNT || id >= walk->file->pages || id <= before)
            return bad_page(walk, page->id, "lists page %" PRIu64 " where it can not stand", id);
        rc = mark(walk, id, 1);
        before = id;
    }
    return rc;
}

/* Where free pages are listed, there is no page that is neither free nor used. */
static int check_free(struct walk *walk)
{
    struct page page;
    int rc;

    if (walk->file->freelist == DBFILE__NO_FREELIST)
        return 0;
    rc = read_page(walk, walk->file->freelist, 0, &page);
    if (rc == 0 && page.flags != DBFILE__FREELIST)
        rc = bad_page(walk, page.id, "is not the list of free pages (flags %x)", page.flags);
    if (rc == 0)
        rc = mark_free(walk, &page);
    for (uint64_t id = DBFILE_META_COUNT; rc == 0 && id < walk->file->pages; id++)
        if (!is_seen(walk, id))
            rc = bad_page(walk, id, "is neither used nor free");
    return rc;
}

int dbfile_walk(struct dbfile *file, const struct dbfile_visitor *visitor, struct err *err)
{
    const struct bounds all = {.has_high = false};
    struct walk walk = {.file = file, .visitor = visitor, .err = err};
    int rc;

    walk.seen = xcalloc(1, (size_t)(file->pages / 8 + 1));
    rc = walk_tree(&walk, file->root, 0, &all);
    if (rc == 0)
        rc = check_free(&walk);
    for (size_t i = 0; i < ARRAY_LEN(walk.memory); i++)
        free(walk.memory[i]);
    free(walk.seen);
    return rc;
}
