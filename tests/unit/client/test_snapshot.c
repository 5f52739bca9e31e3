/* Snapshots on the client's side: libkv's stream against a gRPC server on the same loop that says
 * what the test tells it, the file that is whole or not there, the line that shows how far it is.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/ctl/part_file.h"
#include "client/ctl/progress.h"
#include "client/kv.h"
#include "net/server.h"

struct fixture {
    uv_loop_t loop;
    struct net_server *net;
    char url[64];
    struct grpc_call *stream; /* the latest; NULL once it has ended */
    size_t requests;
    struct kv_client *client;
    struct kv_snapshot snapshot;
    char got[64]; /* bytes of all pieces */
    uint64_t remaining;
    bool ended, closed, stopped;
    struct err end;
};

/* ---- the server ---- */

static void on_request(struct grpc_call *call, struct slice message)
{
    struct fixture *f = grpc_call_ctx(call);

    assert_int_equal(message.len, 0);
    f->stream = call;
    f->requests++;
}

static void on_gone(struct grpc_call *call)
{
    ((struct fixture *)grpc_call_ctx(call))->stream = NULL;
}

static const struct grpc_method methods[] = {
    {"etcdserverpb.Maintenance", "Snapshot", GRPC_SERVER_STREAM, on_request, NULL, on_gone, NULL},
};

static void send_piece(struct fixture *f, const char *bytes, uint64_t remaining)
{
    Etcdserverpb__SnapshotResponse piece = ETCDSERVERPB__SNAPSHOT_RESPONSE__INIT;

    piece.blob.data = (uint8_t *)(uintptr_t)bytes;
    piece.blob.len = strlen(bytes);
    piece.remaining_bytes = remaining;
    (void)etcdserverpb__snapshot_response__pack(
        &piece,
        grpc_call_message(f->stream, etcdserverpb__snapshot_response__get_packed_size(&piece)));
    grpc_call_send(f->stream);
}

static void end_stream(struct fixture *f, enum grpc_status status, const char *message)
{
    struct grpc_call *stream = f->stream;

    f->stream = NULL;
    grpc_call_finish(stream, status, message);
}

/* ---- the client ---- */

static void turn(struct fixture *f)
{
    if (f->net != NULL)
        net_server_flush(f->net);
    (void)uv_run(&f->loop, UV_RUN_ONCE);
}

static void on_piece(struct kv_snapshot *snapshot, const Etcdserverpb__SnapshotResponse *piece,
                     const struct err *err)
{
    struct fixture *f = CONTAINER_OF(snapshot, struct fixture, snapshot);

    assert_false(f->ended);
    if (piece == NULL) {
        f->ended = true;
        f->end = *err;
        return;
    }
    assert_true(strlen(f->got) + piece->blob.len < sizeof f->got);
    strncat(f->got, (const char *)piece->blob.data, piece->blob.len);
    f->remaining = piece->remaining_bytes;
}

static void set_true(void *ctx)
{
    *(bool *)ctx = true;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct net_server_options options = {
        .loop = &f->loop, .methods = methods, .method_count = ARRAY_LEN(methods), .ctx = f};
    struct net_addr addr = {.host = "127.0.0.1"};
    const char *endpoint = f->url;
    struct kv_options kv = {.endpoints = &endpoint, .endpoints_len = 1, .dial_timeout_ms = 30000};
    struct err err = ERR_INIT;

    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(net_server_new(&options, &f->net, &err), 0);
    assert_int_equal(net_server_listen(f->net, &addr, NULL, &err), 0);
    (void)snprintf(f->url, sizeof f->url, "127.0.0.1:%u", net_server_port(f->net, 0));
    assert_int_equal(kv_client_open(&f->loop, &kv, &f->client, &err), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    kv_snapshot_stop(&f->snapshot);
    kv_client_close(f->client, set_true, &f->closed);
    if (f->net != NULL)
        net_server_close(f->net, set_true, &f->stopped);
    else
        f->stopped = true;
    f->net = NULL;
    while (!f->closed || !f->stopped)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    free(f);
    return 0;
}

static void begin(struct fixture *f)
{
    kv_snapshot_start(f->client, &f->snapshot, on_piece);
    while (f->stream == NULL)
        turn(f);
}

static void pieces_come_in_order_and_then_the_end(void **state)
{
    struct fixture *f = *state;

    begin(f);
    send_piece(f, "abc", 3);
    send_piece(f, "def", 0);
    end_stream(f, GRPC_OK, NULL);
    while (!f->ended)
        turn(f);
    assert_int_equal(f->end.code, 0);
    assert_string_equal(f->got, "abcdef");
    assert_int_equal(f->remaining, 0);
    assert_int_equal(f->requests, 1);
}

static void what_breaks_in_the_middle_is_not_begun_again(void **state)
{
    struct fixture *f = *state;

    begin(f);
    send_piece(f, "abc", 3);
    end_stream(f, GRPC_UNAVAILABLE, "etcdserver: server stopped");
    while (!f->ended)
        turn(f);
    assert_int_not_equal(f->end.code, 0);
    assert_string_equal(f->end.text, "etcdserver: server stopped");
    assert_string_equal(f->got, "abc");
    assert_int_equal(f->requests, 1);
}

static void a_refusal_is_told_in_the_servers_words(void **state)
{
    struct fixture *f = *state;

    begin(f);
    end_stream(f, GRPC_PERMISSION_DENIED, "etcdserver: permission denied");
    while (!f->ended)
        turn(f);
    assert_string_equal(f->end.text, "etcdserver: permission denied");
}

static void a_connection_that_breaks_ends_it(void **state)
{
    struct fixture *f = *state;

    begin(f);
    send_piece(f, "abc", 3);
    while (f->got[0] == '\0')
        turn(f);
    net_server_close(f->net, set_true, &f->stopped);
    f->net = NULL;
    while (!f->ended || !f->stopped)
        turn(f);
    assert_int_not_equal(f->end.code, 0);
    /* which server it was, once */
    assert_memory_equal(f->end.text, f->url, strlen(f->url));
    assert_null(strstr(f->end.text + 1, f->url));
}

static void after_a_stop_nothing_is_heard(void **state)
{
    struct fixture *f = *state;

    begin(f);
    send_piece(f, "abc", 3);
    while (f->got[0] == '\0')
        turn(f);
    kv_snapshot_stop(&f->snapshot);
    while (f->stream != NULL)
        turn(f);
    assert_false(f->ended);
}

/* ---- the file ---- */

static char dir[] = "/tmp/kvd-part-XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    (void)unlink("f");
    (void)unlink("f.part");
    assert_int_equal(chdir("/"), 0);
    return rmdir(dir); /* empty, or the test has left something */
}

static void assert_content(const char *path, const char *expected)
{
    char text[64] = "";
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    (void)!fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    assert_string_equal(text, expected);
}

static void a_file_has_its_name_only_once_it_is_whole(void **state)
{
    struct part_file file;
    struct err err = ERR_INIT;
    struct stat st;

    (void)state;
    assert_int_equal(part_file_open(&file, "f", &err), 0);
    assert_int_equal(part_file_write(&file, slice_str("hello"), &err), 0);
    assert_int_not_equal(access("f", F_OK), 0);
    assert_int_equal(stat("f.part", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(part_file_commit(&file, &err), 0);
    part_file_close(&file);
    assert_content("f", "hello");
    assert_int_not_equal(access("f.part", F_OK), 0);
}

static void given_up_it_leaves_what_was_there_before(void **state)
{
    struct part_file file;
    struct err err = ERR_INIT;

    (void)state;
    a_file_has_its_name_only_once_it_is_whole(state);
    assert_int_equal(part_file_open(&file, "f", &err), 0);
    assert_int_equal(part_file_write(&file, slice_str("other"), &err), 0);
    part_file_close(&file);
    assert_content("f", "hello");
    assert_int_not_equal(access("f.part", F_OK), 0);
}

static void two_at_once_do_not_mix(void **state)
{
    struct part_file file, other;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(part_file_open(&file, "f", &err), 0);
    assert_int_equal(part_file_open(&other, "f", &err), KV_EBUSY);
    assert_int_equal(part_file_write(&file, slice_str("hello"), &err), 0);
    assert_int_equal(part_file_commit(&file, &err), 0);
    part_file_close(&file);
    assert_content("f", "hello");
}

static void what_a_killed_save_left_is_overwritten(void **state)
{
    struct part_file file;
    struct err err = ERR_INIT;
    FILE *old = fopen("f.part", "w");

    (void)state;
    assert_non_null(old);
    (void)fputs("a longer rest", old);
    assert_int_equal(fclose(old), 0);
    assert_int_equal(part_file_open(&file, "f", &err), 0);
    assert_int_equal(part_file_write(&file, slice_str("new"), &err), 0);
    assert_int_equal(part_file_commit(&file, &err), 0);
    part_file_close(&file);
    assert_content("f", "new");
}

/* A file system that takes no more, by the limit for files. */
static void a_full_disk_is_an_error_and_leaves_nothing(void **state)
{
    struct rlimit old, small;
    struct part_file file;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){.rlim_cur = 4, .rlim_max = old.rlim_max};
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    assert_int_equal(part_file_open(&file, "f", &err), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_not_equal(part_file_write(&file, slice_str("hello"), &err), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_non_null(strstr(err.text, "could not write f.part"));
    part_file_close(&file);
    assert_int_not_equal(access("f", F_OK), 0);
    assert_int_not_equal(access("f.part", F_OK), 0);
}

static void directories_and_missing_folders_are_refused(void **state)
{
    struct part_file file;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(part_file_open(&file, "/tmp", &err), KV_EEXIST);
    assert_int_not_equal(part_file_open(&file, "missing/f", &err), 0);
    assert_non_null(strstr(err.text, "could not open missing/f.part"));
}

/* ---- the line ---- */

static void progress_has_bar_rate_and_time_left(void **state)
{
    char text[PROGRESS_TEXT_MAX];

    (void)state;
    progress_format(text, "saving", 90 << 20, 360 << 20, UINT64_C(1000000000));
    assert_string_equal(
        text, "saving [======>                 ]  25% 94 MB of 378 MB, 94 MB/s, 3 s left");
    progress_format(text, "saving", 360 << 20, 360 << 20, UINT64_C(2000000000));
    assert_string_equal(text, "saving [========================] 100% 378 MB of 378 MB, 189 MB/s");
    progress_format(text, "saving", 1000, 1000000, UINT64_C(1000000000));
    assert_string_equal(text, "saving [>                       ]   0% 1.0 kB of 1.0 MB, 1.0 kB/s, "
                              "16 min 39 s left");
    progress_format(text, "saving", 1000, 0, 0);
    assert_non_null(strstr(text, "saving 1.0 kB"));
}

static void progress_is_silent_where_nobody_looks(void **state)
{
    char text[16] = "";
    FILE *out = fmemopen(text, sizeof text, "w");
    FILE *file = tmpfile();
    struct progress progress;

    (void)state;
    assert_non_null(file);
    progress_begin(&progress, file, "saving");
    progress_show(&progress, 1, 2);
    progress_end(&progress);
    assert_int_equal(ftell(file), 0);
    progress_begin(&progress, out, "saving"); /* no file at all */
    progress_show(&progress, 1, 2);
    progress_end(&progress);
    (void)fclose(out);
    (void)fclose(file);
    assert_string_equal(text, "");
}

int main(void)
{
#define STREAM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define PART(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)
    const struct CMUnitTest tests[] = {
        STREAM(pieces_come_in_order_and_then_the_end),
        STREAM(what_breaks_in_the_middle_is_not_begun_again),
        STREAM(a_refusal_is_told_in_the_servers_words),
        STREAM(a_connection_that_breaks_ends_it),
        STREAM(after_a_stop_nothing_is_heard),
        PART(a_file_has_its_name_only_once_it_is_whole),
        PART(given_up_it_leaves_what_was_there_before),
        PART(two_at_once_do_not_mix),
        PART(what_a_killed_save_left_is_overwritten),
        PART(a_full_disk_is_an_error_and_leaves_nothing),
        PART(directories_and_missing_folders_are_refused),
        cmocka_unit_test(progress_has_bar_rate_and_time_left),
        cmocka_unit_test(progress_is_silent_where_nobody_looks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
