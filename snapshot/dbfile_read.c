/* The head of the file and its digest; the trees are dbfile_walk.c's. */
#include "snapshot/dbfile_read.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "base/codec.h"
#include "base/mem.h"
#include "snapshot/dbfile_internal.h"

enum {
    PAGE_SIZE_MIN = 1024,
    PAGE_SIZE_MAX = 1024 << 14, /* the largest that bbolt looks for */
    META_TOTAL = DBFILE__PAGE_HEADER + DBFILE__META_SIZE,
    READ_CHUNK = 1 << 20,
};

/* Whole or an error. */
int dbfile__read(struct dbfile *file, uint64_t offset, void *data, size_t len, struct err *err)
{
    size_t got = 0;
    int rc = file->disk.ops->read(file->disk.ctx, file->handle, offset, data, len, &got, err);

    if (rc == 0 && got < len)
        rc = err_set(err, KV_ECORRUPT,
                     "%s: ends at %" PRIu64 ", before the page that begins at %" PRIu64 " does",
                     file->path, offset + got, offset);
    return rc;
}

/* ---- the head ---- */

struct meta {
    uint32_t page_size;
    uint64_t root, freelist, pages, txid;
};

enum meta_state { META_BAD, META_GOOD, META_FOREIGN };

/* big: written on a big-endian machine. */
static enum meta_state parse_meta(const uint8_t *page, struct meta *out, bool *big)
{
    const uint8_t *p = page + DBFILE__PAGE_HEADER;

    *big = *big || get_be32(p + DBFILE__META_MAGIC) == DBFILE__MAGIC;
    if (get_le32(p + DBFILE__META_MAGIC) != DBFILE__MAGIC ||
        get_le64(p + DBFILE__META_CHECKSUM) != dbfile__meta_checksum(p))
        return META_BAD;
    if (get_le32(p + DBFILE__META_VERSION) != DBFILE__VERSION)
        return META_FOREIGN;
    *out = (struct meta){
        .page_size = get_le32(p + DBFILE__META_PAGE_SIZE),
        .root = get_le64(p + DBFILE__META_ROOT),
        .freelist = get_le64(p + DBFILE__META_FREELIST),
        .pages = get_le64(p + DBFILE__META_PAGES),
        .txid = get_le64(p + DBFILE__META_TXID),
    };
    if (out->page_size < PAGE_SIZE_MIN || out->page_size > PAGE_SIZE_MAX ||
        (out->page_size & (out->page_size - 1)) != 0)
        return META_BAD;
    return META_GOOD;
}

/* The head at that place of the file, if there is one. */
static int read_meta(struct dbfile *file, uint64_t offset, struct meta *out, enum meta_state *state,
                     bool *big, struct err *err)
{
    uint8_t page[META_TOTAL];
    int rc;

    *state = META_BAD;
    if (file->disk_size < offset + META_TOTAL)
        return 0;
    rc = dbfile__read(file, offset, page, sizeof page, err);
    if (rc == 0)
        *state = parse_meta(page, out, big);
    return rc;
}

/* The second head stands on the second page: if the first one does not tell how large a page is,
 * every size is tried. */
static int find_metas(struct dbfile *file, struct meta metas[2], enum meta_state states[2],
                      bool *big, struct err *err)
{
    int rc = read_meta(file, 0, &metas[0], &states[0], big, err);

    states[1] = META_BAD;
    if (rc == 0 && states[0] == META_GOOD)
        return read_meta(file, metas[0].page_size, &metas[1], &states[1], big, err);
    for (uint32_t size = PAGE_SIZE_MIN; rc == 0 && size <= PAGE_SIZE_MAX && states[1] == META_BAD;
         size *= 2) {
        rc = read_meta(file, size, &metas[1], &states[1], big, err);
        if (rc == 0 && states[1] == META_GOOD && metas[1].page_size != size)
            states[1] = META_BAD;
    }
    return rc;
}

static int choose_meta(struct dbfile *file, struct meta *out, struct err *err)
{
    struct meta metas[DBFILE_META_COUNT] = {{0}};
    enum meta_state states[DBFILE_META_COUNT] = {META_BAD, META_BAD};
    bool big = false;
    int rc;

    if (file->disk_size == 0)
        return err_set(err, KV_ECORRUPT, "%s: the file is empty", file->path);
    rc = find_metas(file, metas, states, &big, err);
    if (rc != 0)
        return rc;
    if (states[0] != META_GOOD && states[1] != META_GOOD) {
        if (states[0] == META_FOREIGN || states[1] == META_FOREIGN)
            return err_set(err, KV_EMISMATCH, "%s: a bbolt file of a version that is not known",
                           file->path);
        if (big)
            return err_set(err, KV_EMISMATCH,
                           "%s: a bbolt file of a big-endian machine, which can only be read there",
                           file->path);
        return err_set(err, KV_ECORRUPT,
                       "%s: no etcd snapshot or database, or both of its heads are damaged",
                       file->path);
    }
    *out = states[1] == META_GOOD && (states[0] != META_GOOD || metas[1].txid > metas[0].txid)
               ? metas[1]
               : metas[0];
    return 0;
}

static int check_meta(struct dbfile *file, const struct meta *meta, struct err *err)
{
    file->page_size = meta->page_size;
    file->root = meta->root;
    file->freelist = meta->freelist;
    file->pages = meta->pages;
    if (meta->pages < DBFILE_META_COUNT + 1 || meta->pages > INT64_MAX / meta->page_size)
        return err_set(err, KV_ECORRUPT, "%s: its head counts %" PRIu64 " pages", file->path,
                       meta->pages);
    if (dbfile_size(file) > file->disk_size)
        return err_set(err, KV_ECORRUPT,
                       "%s: cut short: it has %" PRIu64 " bytes of at least %" PRIu64, file->path,
                       file->disk_size, dbfile_size(file));
    return 0;
}

/* ---- open and close ---- */

int dbfile_open(struct disk disk, const char *path, struct dbfile **out, struct err *err)
{
    struct dbfile *file = xcalloc(1, sizeof *file);
    struct meta meta = {0};
    int rc;

    file->disk = disk;
    file->path = xstrdup(path);
    rc = disk.ops->open(disk.ctx, path, DISK_READ, &file->handle, err);
    if (rc == 0)
        rc = disk.ops->size(disk.ctx, file->handle, &file->disk_size, err);
    if (rc == 0)
        rc = choose_meta(file, &meta, err);
    if (rc == 0)
        rc = check_meta(file, &meta, err);
    if (rc == 0)
        *out = file;
    else
        dbfile_close(file);
    return rc;
}

void dbfile_close(struct dbfile *file)
{
    if (file == NULL)
        return;
    if (file->handle != NULL)
        file->disk.ops->close(file->disk.ctx, file->handle);
    free(file->path);
    free(file);
}

uint64_t dbfile_size(const struct dbfile *file)
{
    return file->pages * file->page_size;
}

uint32_t dbfile_page_size(const struct dbfile *file)
{
    return file->page_size;
}

/* ---- digest ---- */

bool dbfile_has_digest(const struct dbfile *file)
{
    return file->disk_size % DBFILE_SECTOR_SIZE == DBFILE_DIGEST_SIZE;
}

static int digest_file(struct dbfile *file, EVP_MD_CTX *md, uint64_t total,
                       dbfile_progress progress, void *ctx, struct err *err)
{
    uint8_t *chunk = xmalloc(READ_CHUNK);
    int rc = 0;

    for (uint64_t at = 0; at < total && rc == 0;) {
        size_t len = (size_t)MIN(total - at, (uint64_t)READ_CHUNK);

        rc = dbfile__read(file, at, chunk, len, err);
        if (rc == 0 && EVP_DigestUpdate(md, chunk, len) != 1)
            rc = err_set(err, KV_EIO, "SHA-256 failed");
        at += len;
        if (rc == 0 && progress != NULL)
            progress(ctx, at, total);
    }
    free(chunk);
    return rc;
}

/* As Go prints a byte slice: "[12 255 0]". */
static void format_digest(const uint8_t *digest, char *out, size_t size)
{
    size_t len = 0;

    for (size_t i = 0; i < DBFILE_DIGEST_SIZE; i++)
        len += (size_t)snprintf(out + len, size - len, "%c%u", i == 0 ? '[' : ' ', digest[i]);
    (void)snprintf(out + len, size - len, "]");
}

static int compare_digests(const uint8_t *expected, const uint8_t *got, struct err *err)
{
    enum { TEXT_SIZE = DBFILE_DIGEST_SIZE * 4 + 2 };
    char expected_text[TEXT_SIZE], got_text[TEXT_SIZE];

    if (memcmp(expected, got, DBFILE_DIGEST_SIZE) == 0)
        return 0;
    format_digest(expected, expected_text, sizeof expected_text);
    format_digest(got, got_text, sizeof got_text);
    return err_set(err, KV_ECORRUPT, "expected sha256 %s, got %s", expected_text, got_text);
}

int dbfile_check_digest(struct dbfile *file, dbfile_progress progress, void *ctx, struct err *err)
{
    uint64_t total = file->disk_size - DBFILE_DIGEST_SIZE;
    uint8_t expected[DBFILE_DIGEST_SIZE], got[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *md;
    int rc;

    if (!dbfile_has_digest(file))
        return err_set(err, KV_ENOTFOUND, "%s: has no SHA-256 at its end", file->path);
    md = EVP_MD_CTX_new();
    if (md == NULL || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(md);
        return err_set(err, KV_EIO, "SHA-256 is not available from this OpenSSL");
    }
    rc = dbfile__read(file, total, expected, sizeof expected, err);
    if (rc == 0)
        rc = digest_file(file, md, total, progress, ctx, err);
    if (rc == 0 && EVP_DigestFinal_ex(md, got, NULL) != 1)
        rc = err_set(err, KV_EIO, "SHA-256 failed");
    if (rc == 0)
        rc = compare_digests(expected, got, err);
    EVP_MD_CTX_free(md);
    return rc;
}
