#include "server/identity.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "base/crc32c.h"
#include "base/mem.h"

enum { IDENTITY_FILE_SIZE_MAX = 4096 };

/* ---- ids ---- */

static uint64_t first_8_bytes(const struct buf *text)
{
    uint8_t digest[SHA_DIGEST_LENGTH];

    SHA1(text->data, text->len, digest);
    return get_be64(digest);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

uint64_t identity_member_id(char *const *peer_urls, size_t count, const char *token)
{
    char **sorted = xmemdup(peer_urls, count * sizeof *sorted);
    struct buf text;
    uint64_t id;

    buf_init(&text, SIZE_MAX);
    qsort(sorted, count, sizeof *sorted, by_text);
    /* Cannot fail: no bound. */
    for (size_t i = 0; i < count; i++)
        (void)buf_append(&text, sorted[i], strlen(sorted[i]));
    (void)buf_append(&text, token, strlen(token));
    id = first_8_bytes(&text);
    buf_release(&text);
    free(sorted);
    return id;
}

uint64_t identity_cluster_id(const uint64_t *member_ids, size_t count)
{
    uint64_t *sorted = xmemdup(member_ids, count * sizeof *sorted);
    struct buf text;
    uint8_t bytes[8];
    uint64_t id;

    buf_init(&text, SIZE_MAX);
    qsort(sorted, count, sizeof *sorted, by_number);
    for (size_t i = 0; i < count; i++) {
        put_be64(bytes, sorted[i]);
        (void)buf_append(&text, bytes, sizeof bytes); /* cannot fail: no bound */
    }
    id = first_8_bytes(&text);
    buf_release(&text);
    free(sorted);
    return id;
}

/* ---- the file ---- */

/* Names are free text; what could break a line is written as %XX. */
static int append_name(struct buf *out, const char *name)
{
    int rc = 0;

    for (const char *c = name; *c != '\0' && rc == 0; c++) {
        if ((unsigned char)*c <= 0x20 || *c == '%' || *c == 0x7f)
            rc = buf_printf(out, "%%%02X", (unsigned char)*c);
        else
            rc = buf_append(out, c, 1);
    }
    return rc;
}

static bool parse_name(const char *text, char *out, size_t size)
{
    size_t len = 0;

    while (*text != '\0' && len + 1 < size) {
        unsigned value;

        if (*text == '%') {
            if (sscanf(text + 1, "%2X", &value) != 1 || value == 0 || text[2] == '\0')
                return false;
            out[len++] = (char)value;
            text += 3;
        } else {
            out[len++] = *text++;
        }
    }
    out[len] = '\0';
    return *text == '\0';
}

int identity_encode(const struct identity *identity, struct buf *out)
{
    size_t start = out->len;
    int rc;

    rc = buf_printf(out, "kvd-identity 1\ncluster %016llx\nmember %016llx\nlog %s\n%s%sname =",
                    (unsigned long long)identity->cluster_id,
                    (unsigned long long)identity->member_id, identity->log_begun ? "begun" : "none",
                    identity->joined ? "began joined\n" : "",
                    identity->distrusted ? "state distrusted\n" : "");
    if (rc == 0)
        rc = append_name(out, identity->name);
    if (rc == 0)
        rc = buf_append_u8(out, '\n');
    if (rc == 0)
        rc =
            buf_printf(out, "crc32c %08x\n", crc32c_extend(0, out->data + start, out->len - start));
    return rc;
}

/* Whether that line is there; without it the rest reads the same. A name has no spaces: it can not
 * look like one. */
static bool take_line(char *text, const char *line)
{
    char *at = strstr(text, line);
    size_t len = strlen(line);

    if (at != NULL)
        memmove(at, at + len - 1, strlen(at) - len + 2);
    return at != NULL;
}

int identity_decode(struct slice text, struct identity *out, struct err *err)
{
    char crc_text[sizeof "crc32c 01234567\n"];
    const size_t crc_line = sizeof crc_text - 1;
    char copy[IDENTITY_FILE_SIZE_MAX + 1];
    char log[8] = "", name[3 * sizeof out->name] = "";
    unsigned long long cluster, member;
    unsigned version;
    bool joined, distrusted;
    struct identity identity;

    if (text.len > IDENTITY_FILE_SIZE_MAX || text.len < crc_line ||
        memchr(text.data, '\0', text.len) != NULL)
        return err_set(err, KV_ECORRUPT, "not an identity file");
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    if (sscanf(copy, "kvd-identity %u\n", &version) != 1)
        return err_set(err, KV_ECORRUPT, "not an identity file");
    if (version != 1)
        return err_set(err, KV_EMISMATCH, "format version %u is not one this kvd knows", version);
    snprintf(crc_text, sizeof crc_text, "crc32c %08x\n",
             crc32c_extend(0, copy, text.len - crc_line));
    if (strcmp(copy + text.len - crc_line, crc_text) != 0)
        return err_set(err, KV_ECORRUPT, "bad checksum");
    copy[text.len - crc_line] = '\0';
    joined = take_line(copy, "\nbegan joined\n");
    distrusted = take_line(copy, "\nstate distrusted\n");
    if (sscanf(copy, "kvd-identity %*u\ncluster %16llx\nmember %16llx\nlog %7s\nname =%767s\n",
               &cluster, &member, log, name) < 3)
        return err_set(err, KV_ECORRUPT, "malformed although its checksum is right");

    identity = (struct identity){.cluster_id = cluster,
                                 .member_id = member,
                                 .log_begun = strcmp(log, "begun") == 0,
                                 .joined = joined,
                                 .distrusted = distrusted};
    if (strstr(copy, "\nname =\n") == NULL &&
        !parse_name(name, identity.name, sizeof identity.name))
        return err_set(err, KV_ECORRUPT, "malformed name although the checksum is right");
    *out = identity;
    return 0;
}

int identity_read(struct disk disk, const char *data_dir, struct identity *out, struct err *err)
{
    char *path = xasprintf("%s/identity", data_dir);
    uint8_t text[IDENTITY_FILE_SIZE_MAX + 1];
    struct disk_file *file = NULL;
    size_t len;
    int rc;

    rc = disk.ops->open(disk.ctx, path, DISK_READ, &file, err);
    if (rc != 0)
        goto out;
    rc = disk.ops->read(disk.ctx, file, 0, text, sizeof text, &len, err);
    if (rc != 0)
        goto out;
    rc = identity_decode(slice_of(text, len), out, err);
    if (rc != 0)
        err_prefix(err, "%s", path);
out:
    if (file != NULL)
        disk.ops->close(disk.ctx, file);
    free(path);
    return rc;
}

static int write_and_sync(struct disk disk, const char *path, struct slice text, struct err *err)
{
    struct disk_file *file;
    int rc;

    rc = disk.ops->open(disk.ctx, path, DISK_WRITE | DISK_CREATE, &file, err);
    if (rc != 0)
        return rc;
    rc = disk.ops->write(disk.ctx, file, 0, text.data, text.len, err);
    if (rc == 0)
        rc = disk.ops->sync(disk.ctx, file, err);
    disk.ops->close(disk.ctx, file);
    return rc;
}

int identity_write(struct disk disk, const char *data_dir, const struct identity *identity,
                   struct err *err)
{
    char *path = xasprintf("%s/identity", data_dir);
    char *temp = xasprintf("%s/identity.tmp", data_dir);
    struct buf text;
    int rc;

    buf_init(&text, IDENTITY_FILE_SIZE_MAX);
    rc = identity_encode(identity, &text);
    ASSERT(rc == 0); /* a name of 255 bytes fits, escaped too */
    /* Left over from a crash, or not there. */
    (void)disk.ops->unlink(disk.ctx, temp, NULL);
    rc = write_and_sync(disk, temp, buf_slice(&text), err);
    if (rc == 0)
        rc = disk.ops->rename(disk.ctx, temp, path, err);
    if (rc == 0)
        rc = disk.ops->sync_dir(disk.ctx, data_dir, err);
    buf_release(&text);
    free(temp);
    free(path);
    return rc;
}

/* ---- claiming a data dir ---- */

static int count_names(struct disk disk, const char *dir, size_t *out, struct err *err)
{
    char **names;
    int rc;

    rc = disk.ops->list(disk.ctx, dir, &names, out, err);
    if (rc == KV_ENOTFOUND) {
        *out = 0;
        return 0;
    }
    if (rc == 0)
        disk_free_names(names, *out);
    return rc;
}

static int claim_new(struct disk disk, const char *data_dir, const char *wal_dir,
                     const struct identity *self, size_t wal_files, struct err *err)
{
    char *etcd_dir = xasprintf("%s/member", data_dir);
    size_t etcd_files = 0;
    int rc;

    rc = count_names(disk, etcd_dir, &etcd_files, err);
    if (rc != 0)
        goto out;
    if (etcd_files != 0) {
        rc = err_set(err, KV_EMISMATCH,
                     "%s is a data dir of etcd, which kvd can not take over in place: give kvd an "
                     "empty --data-dir",
                     data_dir);
        goto out;
    }
    if (wal_files != 0) {
        rc = err_set(err, KV_ECORRUPT,
                     "%s has a log but %s/identity is missing: bring the file back from a copy of "
                     "this member's data dir, or move the log away and start with an empty one",
                     wal_dir, data_dir);
        goto out;
    }
    rc = identity_write(disk, data_dir, self, err);
out:
    free(etcd_dir);
    return rc;
}

static int check_known(const char *data_dir, const char *wal_dir, const struct identity *self,
                       const struct identity *found, size_t wal_files, struct err *err)
{
    if (found->cluster_id != self->cluster_id || found->member_id != self->member_id)
        return err_set(err, KV_EMISMATCH,
                       "%s belongs to member %llx (%s) of cluster %llx, but the configuration "
                       "describes member %llx (%s) of cluster %llx: correct --name, "
                       "--initial-cluster, --initial-cluster-token and "
                       "--initial-advertise-peer-urls, or give another --data-dir",
                       data_dir, (unsigned long long)found->member_id, found->name,
                       (unsigned long long)found->cluster_id, (unsigned long long)self->member_id,
                       self->name, (unsigned long long)self->cluster_id);
    if (found->log_begun && wal_files == 0)
        return err_set(
            err, KV_ECORRUPT,
            "the log of member %llx is gone from %s: a member that lost its log has lost "
            "its votes and acknowledged writes and must not go on. Bring %s back, or "
            "remove the member from the cluster and add it again with an empty data dir",
            (unsigned long long)found->member_id, wal_dir, wal_dir);
    return 0;
}

int identity_claim(struct disk disk, const char *data_dir, const char *wal_dir,
                   const struct identity *self, struct err *err)
{
    struct identity found;
    size_t wal_files = 0;
    int rc;

    rc = count_names(disk, wal_dir, &wal_files, err);
    if (rc != 0)
        return rc;
    rc = identity_read(disk, data_dir, &found, err);
    if (rc == KV_ENOTFOUND)
        return claim_new(disk, data_dir, wal_dir, self, wal_files, err);
    if (rc != 0)
        return rc;
    return check_known(data_dir, wal_dir, self, &found, wal_files, err);
}

int identity_log_begun(struct disk disk, const char *data_dir, struct err *err)
{
    struct identity identity;
    int rc;

    rc = identity_read(disk, data_dir, &identity, err);
    if (rc != 0 || identity.log_begun)
        return rc;
    identity.log_begun = true;
    return identity_write(disk, data_dir, &identity, err);
}

int identity_distrust(struct disk disk, const char *data_dir, bool distrusted, struct err *err)
{
    struct identity identity;
    int rc;

    rc = identity_read(disk, data_dir, &identity, err);
    if (rc != 0 || identity.distrusted == distrusted)
        return rc;
    identity.distrusted = distrusted;
    return identity_write(disk, data_dir, &identity, err);
}
