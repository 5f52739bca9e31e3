/* snapshot save: one server's state into a file. */
#include <openssl/evp.h>
#include <signal.h>
#include <string.h>

#include "base/buf.h"
#include "client/ctl/ctl.h"
#include "client/ctl/part_file.h"
#include "client/ctl/progress.h"

enum {
    DIGEST_SIZE = 32,  /* SHA-256 of all bytes before it */
    SECTOR_SIZE = 512, /* of which the bytes before it are a multiple */
};

struct save {
    struct ctl *ctl;
    struct kv_client *client;
    struct kv_snapshot snapshot;
    struct part_file file;
    struct progress progress;
    uv_signal_t signals[3];
    uv_timer_t timer;
    EVP_MD_CTX *md;
    uint8_t tail[DIGEST_SIZE]; /* the last bytes so far: the digest, if nothing follows */
    size_t tail_len;
    char version[64]; /* of the server's storage; "": it does not say */
    bool is_over;
    struct err err; /* code 0: all is well so far */
};

static void stop(struct save *save)
{
    kv_snapshot_stop(&save->snapshot);
    save->is_over = true;
}

/* ---- bytes ---- */

static void hash(struct save *save, const uint8_t *data, size_t len)
{
    if (save->err.code == 0 && EVP_DigestUpdate(save->md, data, len) != 1)
        (void)err_set(&save->err, KV_EIO, "SHA-256 failed");
}

/* All but the last bytes so far are part of the database. */
static void hash_all_but_tail(struct save *save, struct slice bytes)
{
    size_t gone; /* bytes that leave the tail */

    if (bytes.len >= DIGEST_SIZE) {
        hash(save, save->tail, save->tail_len);
        hash(save, bytes.data, bytes.len - DIGEST_SIZE);
        memcpy(save->tail, bytes.data + bytes.len - DIGEST_SIZE, DIGEST_SIZE);
        save->tail_len = DIGEST_SIZE;
        return;
    }
    gone = save->tail_len + bytes.len > DIGEST_SIZE ? save->tail_len + bytes.len - DIGEST_SIZE : 0;
    hash(save, save->tail, gone);
    memmove(save->tail, save->tail + gone, save->tail_len - gone);
    save->tail_len -= gone;
    if (bytes.len > 0)
        memcpy(save->tail + save->tail_len, bytes.data, bytes.len);
    save->tail_len += bytes.len;
}

static void take_piece(struct save *save, const Etcdserverpb__SnapshotResponse *piece)
{
    struct slice bytes = slice_of(piece->blob.data, piece->blob.len);

    (void)snprintf(save->version, sizeof save->version, "%s", piece->version);
    hash_all_but_tail(save, bytes);
    if (save->err.code == 0)
        (void)part_file_write(&save->file, bytes, &save->err);
    if (save->err.code != 0)
        stop(save);
    progress_show(&save->progress, save->file.len, save->file.len + piece->remaining_bytes);
}

static void on_piece(struct kv_snapshot *snapshot, const Etcdserverpb__SnapshotResponse *piece,
                     const struct err *err)
{
    struct save *save = CONTAINER_OF(snapshot, struct save, snapshot);

    if (piece != NULL) {
        take_piece(save, piece);
        return;
    }
    save->err = *err;
    save->is_over = true;
}

/* ---- the end ---- */

static void on_signal(uv_signal_t *handle, int number)
{
    struct save *save = handle->data;

    (void)number;
    if (save->is_over)
        return;
    (void)err_set(&save->err, KV_ECANCELED, "interrupted: nothing was saved");
    stop(save);
}

static void on_timeout(uv_timer_t *timer)
{
    struct save *save = timer->data;

    if (save->is_over)
        return;
    (void)err_set(&save->err, KV_ETIMEDOUT, "context deadline exceeded");
    stop(save);
}

static int check_digest(struct save *save)
{
    uint8_t sum[EVP_MAX_MD_SIZE];

    if (save->file.len % SECTOR_SIZE != DIGEST_SIZE)
        return err_set(&save->err, KV_ECORRUPT, "sha256 checksum not found [bytes: %llu]",
                       (unsigned long long)save->file.len);
    if (EVP_DigestFinal_ex(save->md, sum, NULL) != 1)
        return err_set(&save->err, KV_EIO, "SHA-256 failed");
    if (memcmp(sum, save->tail, DIGEST_SIZE) != 0)
        return err_set(&save->err, KV_ECORRUPT,
                       "what arrived is not what the server's SHA-256 says: the snapshot was "
                       "damaged on its way; nothing was saved");
    return 0;
}

/* No deadline unless one is asked for: a large store takes its time. As etcdctl. */
static void arm_timeout(struct save *save)
{
    const struct flag_set *set = &save->ctl->global_set;
    size_t at, ignored;
    bool found = flags_find(set, 1, "command-timeout", strlen("command-timeout"), &ignored, &at);

    (void)uv_timer_init(kv_client_loop(save->client), &save->timer);
    save->timer.data = save;
    if (found && (set->changed >> at & 1) != 0)
        (void)uv_timer_start(&save->timer, on_timeout,
                             (uint64_t)MAX(save->ctl->globals.command_timeout_ns / 1000000, 0), 0);
}

static void open_ears(struct save *save)
{
    static const int numbers[ARRAY_LEN(save->signals)] = {SIGINT, SIGTERM, SIGHUP};

    for (size_t i = 0; i < ARRAY_LEN(save->signals); i++) {
        (void)uv_signal_init(kv_client_loop(save->client), &save->signals[i]);
        save->signals[i].data = save;
        (void)uv_signal_start(&save->signals[i], on_signal, numbers[i]);
    }
    arm_timeout(save);
}

static void close_ears(struct save *save)
{
    for (size_t i = 0; i < ARRAY_LEN(save->signals); i++)
        uv_close((uv_handle_t *)&save->signals[i], NULL);
    uv_close((uv_handle_t *)&save->timer, NULL);
}

/* The stream into the part file, checked; then the file gets its name. */
static int receive(struct save *save)
{
    open_ears(save);
    progress_begin(&save->progress, save->ctl->err, "saving");
    kv_snapshot_start(save->client, &save->snapshot, on_piece);
    while (!save->is_over)
        (void)uv_run(kv_client_loop(save->client), UV_RUN_ONCE);
    if (save->err.code == 0 && check_digest(save) == 0)
        (void)part_file_commit(&save->file, &save->err);
    progress_end(&save->progress);
    close_ears(save);
    return save->err.code;
}

static int save_to(struct save *save, const char *path)
{
    int rc = part_file_open(&save->file, path, &save->err);

    if (rc != 0)
        return rc;
    save->md = EVP_MD_CTX_new();
    if (save->md == NULL || EVP_DigestInit_ex(save->md, EVP_sha256(), NULL) != 1)
        rc = err_set(&save->err, KV_EIO, "SHA-256 is not available from this OpenSSL");
    if (rc == 0)
        rc = receive(save);
    EVP_MD_CTX_free(save->md);
    part_file_close(&save->file);
    return rc;
}

static int refuse_endpoints(struct ctl *ctl)
{
    const struct flag_list *endpoints = &ctl->globals.endpoints;
    struct buf list;

    buf_init(&list, SIZE_MAX / 2);
    for (size_t i = 0; i < endpoints->len; i++)
        (void)buf_printf(&list, "%s%s", i == 0 ? "" : " ", endpoints->items[i]); /* no bound */
    (void)ctl_fail(ctl, CTL_INTERRUPTED,
                   "snapshot must be requested to one selected node, not multiple [%.*s]",
                   (int)list.len, (const char *)list.data);
    buf_release(&list);
    return CTL_INTERRUPTED;
}

static int run_save(struct ctl *ctl, const void *options, int argc, char **argv)
{
    struct save save = {.ctl = ctl};
    int code;

    (void)options;
    if (argc != 1)
        return ctl_fail(ctl, CTL_BAD_ARGS, "snapshot save expects one argument");
    if (ctl->globals.endpoints.len != 1)
        return refuse_endpoints(ctl);
    code = ctl_connect(ctl, NULL, &save.client);
    if (code != 0)
        return code;
    if (save_to(&save, argv[0]) != 0)
        code = ctl_fail(ctl, CTL_INTERRUPTED, "%s", save.err.text);
    else
        fprintf(ctl->out, "Snapshot saved at %s\n", argv[0]);
    if (code == 0 && save.version[0] != '\0')
        fprintf(ctl->out, "Server version %s\n", save.version);
    kv_client_free(save.client);
    return code;
}

const struct ctl_command ctl_cmd_snapshot_save = {
    .name = "snapshot save",
    .usage = "snapshot save <filename>",
    .brief = "Stores an etcd node backend snapshot to a given file",
    .help = "Asks exactly one endpoint. The file is written as <filename>.part, checked against\n"
            "the server's SHA-256, synced and renamed: <filename> is whole or not there. Without\n"
            "--command-timeout it may take as long as it takes.\n",
    .run = run_save,
};
