/* TLS under sockets (net/tls.h), with certificates that the test makes. Real sockets on the
 * loopback; a watchdog fails a test that waits in vain. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/prng.h"
#include "net/cert.h"
#include "net/sock.h"
#include "net/tls_internal.h"

enum { WATCHDOG_MS = 20000 };

/* One side of a connection with all that happened to it. */
struct end {
    struct fixture *f;
    struct net_sock *sock; /* NULL: closed */
    int connects, connect_status, ends, end_status;
    char text[512];
    struct buf got;
    bool echo, close_on_read;
};

struct fixture {
    char dir[64];
    uv_loop_t loop;
    uv_timer_t watchdog;
    struct net_listener *listener;
    struct net_addr addr;
    struct net_tls *server, *client;
    struct end a, b; /* who connects, who is connected to */
    int accepted;
    int reloads, reload_code;
};

/* ---- files ---- */

static const char *path(const struct fixture *f, const char *name)
{
    static char paths[8][128];
    static int next;

    next = (next + 1) % 8;
    snprintf(paths[next], sizeof paths[next], "%s/%s", f->dir, name);
    return paths[next];
}

static struct cert *make_cert(const struct fixture *f, const char *name, const char *host,
                              const struct cert *issuer)
{
    struct cert_options options = {.common_name = name,
                                   .hosts = &host,
                                   .host_count = host != NULL,
                                   .issuer = issuer,
                                   .is_ca = issuer == NULL};
    struct err err = ERR_INIT;
    char file[64], key[64];
    struct cert *cert;

    if (cert_new(&options, &cert, &err) != 0)
        fail_msg("%s", err.text);
    snprintf(file, sizeof file, "%s.crt", name);
    snprintf(key, sizeof key, "%s.key", name);
    if (cert_write(cert, path(f, file), path(f, key), &err) != 0)
        fail_msg("%s", err.text);
    return cert;
}

/* ca signs: server (for 127.0.0.1), client, named (for example.org), revoked; other-ca signs:
 * other.
 */
static void make_certs(const struct fixture *f)
{
    struct cert *ca = make_cert(f, "ca", NULL, NULL), *other = make_cert(f, "other-ca", NULL, NULL);
    struct cert *revoked = make_cert(f, "revoked", "127.0.0.1", ca);

    cert_free(make_cert(f, "server", "127.0.0.1", ca));
    cert_free(make_cert(f, "client", NULL, ca));
    cert_free(make_cert(f, "named", "example.org", ca));
    cert_free(make_cert(f, "other", "127.0.0.1", other));
    assert_int_equal(
        cert_write_crl(ca, (const struct cert *const *)&revoked, 1, path(f, "crl"), NULL), 0);
    cert_free(revoked);
    cert_free(other);
    cert_free(ca);
}

static void on_reload(void *ctx, const struct err *err)
{
    struct fixture *f = ctx;

    f->reloads++;
    f->reload_code = err != NULL ? err->code : 0;
}

/* Each word is an option, each may be left out: cert=NAME ca=NAME crl name=HOST cn=NAME hosts=LIST
 * require skip min=V max=V ciphers=LIST alpn=h2|both. */
static int try_tls(struct fixture *f, const char *words, struct net_tls **out, struct err *err)
{
    struct net_tls_options options = {.on_reload = on_reload, .ctx = f};
    char copy[256], file[64], *rest = NULL;

    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *value = strchr(word, '=');

        if (value != NULL)
            *value++ = '\0';
        if (strcmp(word, "cert") == 0) {
            snprintf(file, sizeof file, "%s.crt", value);
            options.cert_file = path(f, file);
            snprintf(file, sizeof file, "%s.key", value);
            options.key_file = path(f, file);
        } else if (strcmp(word, "ca") == 0) {
            snprintf(file, sizeof file, "%s.crt", value);
            options.ca_file = path(f, file);
        } else if (strcmp(word, "crl") == 0) {
            options.crl_file = path(f, "crl");
        } else if (strcmp(word, "name") == 0) {
            options.server_name = value;
        } else if (strcmp(word, "cn") == 0) {
            options.allowed_cn = value;
        } else if (strcmp(word, "hosts") == 0) {
            options.allowed_hostnames = value;
        } else if (strcmp(word, "min") == 0) {
            options.version_min = value;
        } else if (strcmp(word, "max") == 0) {
            options.version_max = value;
        } else if (strcmp(word, "ciphers") == 0) {
            options.cipher_suites = value;
        } else if (strcmp(word, "alpn") == 0) {
            options.alpn = strcmp(value, "h2") == 0 ? NET_TLS_H2 : NET_TLS_H2_AND_HTTP1;
        } else {
            options.flags |=
                strcmp(word, "require") == 0 ? NET_TLS_REQUIRE_CERT : NET_TLS_SKIP_VERIFY;
        }
    }
    return net_tls_new(&options, out, err);
}

static struct net_tls *tls(struct fixture *f, const char *words)
{
    struct err err = ERR_INIT;
    struct net_tls *made;

    if (try_tls(f, words, &made, &err) != 0)
        fail_msg("%s", err.text);
    return made;
}

/* ---- life ---- */

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("nothing happens any more");
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    snprintf(f->dir, sizeof f->dir, "/tmp/kvd-tls-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    make_certs(f);
    uv_loop_init(&f->loop);
    uv_timer_init(&f->loop, &f->watchdog);
    uv_timer_start(&f->watchdog, on_watchdog, WATCHDOG_MS, 0);
    uv_unref((uv_handle_t *)&f->watchdog);
    f->a.f = f->b.f = f;
    buf_init(&f->a.got, SIZE_MAX / 2);
    buf_init(&f->b.got, SIZE_MAX / 2);
    *state = f;
    return 0;
}

static void close_end(struct end *end)
{
    if (end->sock != NULL)
        net_sock_close(end->sock, NULL, NULL);
    end->sock = NULL;
}

static void hang_up(struct fixture *f)
{
    close_end(&f->a);
    close_end(&f->b);
    if (f->listener != NULL)
        net_listener_close(f->listener, NULL, NULL);
    f->listener = NULL;
    uv_run(&f->loop, UV_RUN_DEFAULT);
    net_tls_unref(f->server);
    net_tls_unref(f->client);
    f->server = f->client = NULL;
    buf_release(&f->a.got);
    buf_release(&f->b.got);
    f->accepted = 0;
    f->a = (struct end){.f = f, .got.size_max = SIZE_MAX / 2};
    f->b = (struct end){.f = f, .got.size_max = SIZE_MAX / 2};
}

static int teardown(void **state)
{
    static const char *const names[] = {"ca",     "other-ca", "revoked", "server",
                                        "client", "named",    "other",   "shown"};
    struct fixture *f = *state;
    char file[64];

    hang_up(f);
    uv_close((uv_handle_t *)&f->watchdog, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(file, sizeof file, "%s.crt", names[i]);
        (void)unlink(path(f, file));
        snprintf(file, sizeof file, "%s.key", names[i]);
        (void)unlink(path(f, file));
    }
    (void)unlink(path(f, "crl"));
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

/* ---- connections ---- */

static void on_connect(void *ctx, int status, const struct err *err)
{
    struct end *end = ctx;

    end->connects++;
    end->connect_status = status;
    if (status != 0)
        snprintf(end->text, sizeof end->text, "%s", err->text);
}

static void on_read(void *ctx, struct slice bytes)
{
    struct end *end = ctx;

    if (end->echo)
        assert_int_equal(net_sock_write(end->sock, bytes), 0);
    else
        assert_int_equal(buf_append(&end->got, bytes.data, bytes.len), 0);
    if (end->close_on_read)
        close_end(end);
}

static void on_end(void *ctx, int status)
{
    struct end *end = ctx;

    end->ends++;
    end->end_status = status;
    snprintf(end->text, sizeof end->text, "%s", net_sock_trouble(end->sock));
}

static const struct net_sock_events events = {
    .on_connect = on_connect, .on_read = on_read, .on_end = on_end};

static void on_accept(void *ctx, struct net_sock *sock)
{
    struct fixture *f = ctx;

    f->accepted++;
    close_end(&f->b);
    f->b.sock = sock;
    net_sock_start(sock, &events, &f->b);
}

#define AWAIT(f, condition)                                                                        \
    while (!(condition))                                                                           \
    uv_run(&(f)->loop, UV_RUN_ONCE)

static void listen_and_dial(struct fixture *f, const char *server, const char *client)
{
    struct err err = ERR_INIT;
    struct net_addr addr;

    f->server = server != NULL ? tls(f, server) : NULL;
    f->client = client != NULL ? tls(f, client) : NULL;
    assert_int_equal(
        net_addr_parse(server != NULL ? "https://127.0.0.1:0" : "http://127.0.0.1:0", &addr, &err),
        0);
    if (net_listen(&f->loop, &addr, f->server, on_accept, f, &f->listener, &err) != 0)
        fail_msg("%s", err.text);
    f->addr = addr;
    f->addr.port = net_listener_port(f->listener);
    addr = f->addr;
    addr.tls = client != NULL;
    if (net_sock_connect(&f->loop, &addr, f->client, &events, &f->a, &f->a.sock, &err) != 0)
        fail_msg("%s", err.text);
}

static void connect_pair(struct fixture *f, const char *server, const char *client)
{
    listen_and_dial(f, server, client);
    AWAIT(f, f->a.connects == 1 && f->accepted == 1);
    if (f->a.connect_status != 0)
        fail_msg("%s", f->a.text);
}

static void send_text(struct end *end, const char *text)
{
    assert_int_equal(net_sock_write(end->sock, slice_str(text)), 0);
}

static bool has(const struct end *end, const char *text)
{
    return slice_eq(buf_slice(&end->got), slice_str(text));
}

/* ---- bytes ---- */

static void bytes_go_both_ways(void **state)
{
    struct fixture *f = *state;

    connect_pair(f, "cert=server", "ca=ca");
    send_text(&f->a, "from the client");
    AWAIT(f, has(&f->b, "from the client"));
    send_text(&f->b, "from the server");
    AWAIT(f, has(&f->a, "from the server"));
}

static void what_is_written_before_the_handshake_is_sent_after_it(void **state)
{
    struct fixture *f = *state;

    listen_and_dial(f, "cert=server", "ca=ca");
    send_text(&f->a, "ear");
    send_text(&f->a, "ly");
    assert_int_equal(net_sock_pending(f->a.sock), 5);
    AWAIT(f, has(&f->b, "early"));
    assert_int_equal(net_sock_pending(f->a.sock), 0);
}

/* More than any buffer takes at once, through an echo, with pauses on the way. */
static void a_long_stream_comes_back_whole(void **state)
{
    enum { TOTAL = 24 << 20 };
    struct fixture *f = *state;
    uint8_t *data = xmalloc(TOTAL);
    struct prng prng;
    size_t sent = 0;
    bool paused = false;

    prng_seed(&prng, 5);
    for (size_t i = 0; i < TOTAL; i += 8) {
        uint64_t word = prng_next(&prng);

        memcpy(data + i, &word, 8);
    }
    connect_pair(f, "cert=server", "ca=ca");
    f->b.echo = true;
    while (f->a.got.len < TOTAL) {
        size_t n = (size_t)prng_between(&prng, 1, 300000);

        n = MIN(n, TOTAL - sent);
        if (net_sock_pending(f->a.sock) < 1 << 20 && n > 0) {
            assert_int_equal(net_sock_write(f->a.sock, slice_of(data + sent, n)), 0);
            sent += n;
        }
        if (paused)
            net_sock_resume(f->a.sock);
        else if (prng_chance(&prng, 300000))
            net_sock_pause(f->a.sock);
        paused = !paused && f->a.got.len < TOTAL && sent < TOTAL;
        if (!paused)
            net_sock_resume(f->a.sock);
        uv_run(&f->loop, paused ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    }
    assert_memory_equal(f->a.got.data, data, TOTAL);
    free(data);
}

static void an_orderly_end_is_told_from_a_cut(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd;

    connect_pair(f, "cert=server", "ca=ca");
    send_text(&f->a, "bye");
    AWAIT(f, has(&f->b, "bye"));
    close_end(&f->a);
    AWAIT(f, f->b.ends == 1);
    assert_int_equal(f->b.end_status, 0);

    /* A socket that says nothing and goes. */
    f->b.ends = 0;
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    to.sin_port = htons(f->addr.port);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    close(fd);
    AWAIT(f, f->b.ends == 1);
    assert_int_equal(f->b.end_status, KV_ECONN);
    assert_non_null(strstr(f->b.text, "closed the connection during the handshake"));
}

static void an_end_may_close_while_it_reads(void **state)
{
    struct fixture *f = *state;

    connect_pair(f, "cert=server", "ca=ca");
    f->b.close_on_read = true;
    for (int i = 0; i < 50; i++)
        send_text(&f->a, "many records in one read");
    AWAIT(f, f->a.ends == 1);
    assert_true(f->b.got.len <= strlen("many records in one read"));
}

/* ---- who is let in, and to whom we talk ---- */

static void good_pairs_connect(void **state)
{
    static const struct {
        const char *server, *client;
    } pairs[] = {
        {"cert=server ca=ca require", "cert=client ca=ca"},
        {"cert=server ca=ca", "cert=client ca=ca"},
        {"cert=server", "cert=other ca=ca"}, /* not asked for */
        {"cert=named", "ca=ca name=example.org"},
        {"cert=other", "skip"},
        {"cert=named", "skip"},
        {"cert=server ca=ca require crl", "cert=client ca=ca crl"},
        {"cert=server ca=ca require cn=client", "cert=client ca=ca"},
        {"cert=server ca=ca require hosts=example.net,example.org", "cert=named ca=ca"},
        {"cert=server min=TLS1.3", "ca=ca"},
        {"cert=server max=TLS1.2", "ca=ca"},
        {"cert=server max=TLS1.2 ciphers=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ca=ca"},
        {"cert=server alpn=both", "ca=ca alpn=h2"},
        {"cert=server alpn=both", "ca=ca"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        connect_pair(f, pairs[i].server, pairs[i].client);
        send_text(&f->a, "x");
        AWAIT(f, has(&f->b, "x"));
        hang_up(f);
    }
}

/* The client says what it does not like. */
static void a_client_refuses_servers_that_are_not_who_they_should_be(void **state)
{
    static const struct {
        const char *server, *client, *text;
    } pairs[] = {
        {"cert=other", "ca=ca", "unable to get local issuer certificate"},
        {"cert=named", "ca=ca", "IP address mismatch"},
        {"cert=server", "ca=ca name=example.org", "hostname mismatch"},
        {"cert=revoked", "ca=ca crl", "certificate revoked"},
        {"cert=server", "ca=ca cn=somebody", "common name"},
        {"cert=server", "ca=ca hosts=example.org", "allowed host names"},
        {"cert=server", "", "unable to get local issuer certificate"},
        {"cert=server min=TLS1.3", "ca=ca max=TLS1.2", "protocol version"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        listen_and_dial(f, pairs[i].server, pairs[i].client);
        AWAIT(f, f->a.connects == 1);
        assert_int_equal(f->a.connect_status, KV_ECONN);
        if (strstr(f->a.text, pairs[i].text) == NULL || strstr(f->a.text, "127.0.0.1:") == NULL)
            fail_msg("%s", f->a.text);
        close_end(&f->a);
        AWAIT(f, f->b.ends == 1);
        assert_int_equal(f->b.end_status, KV_ECONN);
        hang_up(f);
    }
}

/* With TLS 1.3 the client learns of it only after its own side of the handshake. */
static void a_server_turns_away_clients_without_the_right_certificate(void **state)
{
    static const struct {
        const char *server, *client, *text, *client_text;
    } pairs[] = {
        {"cert=server ca=ca require", "ca=ca", "peer did not return a certificate",
         "certificate required"},
        {"cert=server ca=ca require", "cert=other ca=ca", "refused: unable to get", "unknown ca"},
        {"cert=server ca=ca require crl", "cert=revoked ca=ca", "certificate revoked",
         "certificate revoked"},
        {"cert=server ca=ca require cn=client", "cert=named ca=ca", "common name", ""},
        {"cert=server ca=ca require hosts=a.b", "cert=named ca=ca", "allowed host names", ""},
        {"cert=server max=TLS1.2", "ca=ca min=TLS1.3", "unsupported protocol", NULL},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        listen_and_dial(f, pairs[i].server, pairs[i].client);
        AWAIT(f, f->b.ends == 1);
        assert_int_equal(f->b.end_status, KV_ECONN);
        if (strstr(f->b.text, pairs[i].text) == NULL)
            fail_msg("%s", f->b.text);
        close_end(&f->b);
        AWAIT(f, f->a.connects == 1 && (f->a.connect_status != 0 || f->a.ends == 1));
        if (pairs[i].client_text != NULL) {
            assert_int_equal(f->a.end_status, KV_ECONN);
            if (strstr(f->a.text, pairs[i].client_text) == NULL)
                fail_msg("%s", f->a.text);
        }
        hang_up(f);
    }
}

static void two_that_speak_differently_find_out(void **state)
{
    struct fixture *f = *state;

    /* TLS to a plain port, which answers something else. */
    listen_and_dial(f, NULL, "ca=ca");
    AWAIT(f, f->accepted == 1 && f->b.got.len > 0);
    send_text(&f->b, "HTTP/1.1 400 Bad Request\r\n\r\n");
    AWAIT(f, f->a.connects == 1);
    assert_int_equal(f->a.connect_status, KV_ECONN);
    assert_non_null(strstr(f->a.text, "wrong version number"));
    hang_up(f);

    /* Plain to a TLS port. */
    listen_and_dial(f, "cert=server", NULL);
    send_text(&f->a, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    AWAIT(f, f->b.ends == 1);
    assert_int_equal(f->b.end_status, KV_ECONN);
    assert_non_null(strstr(f->b.text, "http request"));
}

static void the_other_sides_names_can_be_asked_for(void **state)
{
    struct fixture *f = *state;
    char name[64];

    connect_pair(f, "cert=server ca=ca require", "cert=named ca=ca");
    send_text(&f->a, "x");
    AWAIT(f, has(&f->b, "x"));
    assert_true(net_sock_peer_is_host(f->b.sock, "example.org"));
    assert_false(net_sock_peer_is_host(f->b.sock, "example.com"));
    assert_false(net_sock_peer_is_host(f->b.sock, "127.0.0.1"));
    assert_true(net_sock_peer_is_host(f->a.sock, "127.0.0.1"));
    assert_true(net_sock_peer_common_name(f->b.sock, name, sizeof name));
    assert_string_equal(name, "named");
    assert_false(net_sock_peer_common_name(f->b.sock, name, 3));
    hang_up(f);

    connect_pair(f, "cert=server", "ca=ca");
    send_text(&f->a, "x");
    AWAIT(f, has(&f->b, "x"));
    assert_false(net_sock_peer_common_name(f->b.sock, name, sizeof name));
    assert_false(net_sock_peer_is_host(f->b.sock, "example.org"));
}

/* ---- configuration ---- */

static void bad_configurations_are_explained(void **state)
{
    static const struct {
        const char *words, *text;
        int code;
    } cases[] = {
        {"cert=missing", "missing.crt: no such file", KV_ENOTFOUND},
        {"ca=missing", "missing.crt: no such file", KV_ENOTFOUND},
        {"min=TLS1.1", "\"TLS1.1\" is not one of", KV_EINVAL},
        {"min=TLS1.3 max=TLS1.2", "lowest version is above", KV_EINVAL},
        {"ciphers=TLS_WITH_NONSENSE", "\"TLS_WITH_NONSENSE\" is not known", KV_EINVAL},
        {"cn=a hosts=b", "exclude each other", KV_EINVAL},
    };
    struct fixture *f = *state;
    struct net_tls_options options = {.cert_file = path(f, "server.crt")};
    struct net_addr addr;
    struct net_tls *made;
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        err = (struct err)ERR_INIT;
        assert_int_equal(try_tls(f, cases[i].words, &made, &err), cases[i].code);
        if (strstr(err.text, cases[i].text) == NULL)
            fail_msg("%s", err.text);
    }
    assert_int_equal(net_tls_new(&options, &made, &err), KV_EINVAL);
    assert_non_null(strstr(err.text, "without a key"));
    options.key_file = path(f, "client.key");
    assert_int_equal(net_tls_new(&options, &made, &err), KV_EINVAL);
    assert_non_null(strstr(err.text, "key values mismatch"));
    options.cert_file = path(f, "server.key");
    assert_int_equal(net_tls_new(&options, &made, &err), KV_EINVAL);
    assert_non_null(strstr(err.text, "certificate /tmp/"));

    assert_int_equal(net_addr_parse("https://127.0.0.1:0", &addr, &err), 0);
    assert_int_equal(net_listen(&f->loop, &addr, NULL, on_accept, f, &f->listener, &err),
                     KV_EINVAL);
    assert_non_null(strstr(err.text, "wants TLS"));
    assert_int_equal(net_sock_connect(&f->loop, &addr, NULL, &events, &f->a, &f->a.sock, &err),
                     KV_EINVAL);
}

static void show(struct fixture *f, const char *name)
{
    char from[64];

    snprintf(from, sizeof from, "%s.crt", name);
    (void)unlink(path(f, "shown.crt"));
    assert_int_equal(link(path(f, from), path(f, "shown.crt")), 0);
    snprintf(from, sizeof from, "%s.key", name);
    (void)unlink(path(f, "shown.key"));
    assert_int_equal(link(path(f, from), path(f, "shown.key")), 0);
}

static void dial_and_see(struct fixture *f, char *name, size_t size)
{
    close_end(&f->a);
    f->a.connects = 0;
    assert_int_equal(
        net_sock_connect(&f->loop, &f->addr, f->client, &events, &f->a, &f->a.sock, NULL), 0);
    AWAIT(f, f->a.connects == 1);
    assert_int_equal(f->a.connect_status, 0);
    assert_true(net_sock_peer_common_name(f->a.sock, name, size));
}

/* Files are looked at once a second: connections are made until it happens. */
static void new_files_are_taken_without_a_restart_and_bad_ones_are_not(void **state)
{
    struct fixture *f = *state;
    char name[64] = "";

    show(f, "server");
    connect_pair(f, "cert=shown", "skip");
    show(f, "named");
    while (strcmp(name, "named") != 0)
        dial_and_see(f, name, sizeof name);
    assert_int_equal(f->reloads, 1);
    assert_int_equal(f->reload_code, 0);

    (void)unlink(path(f, "shown.key"));
    assert_int_equal(link(path(f, "server.key"), path(f, "shown.key")), 0);
    while (f->reloads == 1) {
        dial_and_see(f, name, sizeof name);
        assert_string_equal(name, "named");
    }
    assert_int_equal(f->reload_code, KV_EINVAL);

    show(f, "server");
    while (strcmp(name, "server") != 0)
        dial_and_see(f, name, sizeof name);
    assert_int_equal(f->reload_code, 0);
}

static void a_key_file_is_private(void **state)
{
    struct fixture *f = *state;
    struct stat info;

    assert_int_equal(stat(path(f, "server.key"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

/* ---- the filter by itself ---- */

/* Moves bytes from one session to the other, at most `step` at a time. */
static enum tls_result shake(struct tls_session *session, struct buf *in, struct buf *out,
                             size_t step)
{
    enum tls_result result = TLS_MORE;
    size_t n;

    do {
        n = MIN(step, in->len);
        tls_session__feed(session, slice_of(in->data, n));
        result = tls_session__handshake(session, out, NULL);
        buf_consume(in, n);
    } while (result == TLS_MORE && in->len > 0);
    return result;
}

/* One byte at a time, and every other size. */
static void a_session_takes_any_split(void **state)
{
    struct fixture *f = *state;

    f->server = tls(f, "cert=server ca=ca require");
    f->client = tls(f, "cert=client ca=ca");
    for (size_t step = 1; step < 40; step++) {
        struct tls_session *client = tls_session__new(f->client, TLS_CONNECTS, "127.0.0.1");
        struct tls_session *server = tls_session__new(f->server, TLS_ACCEPTS, NULL);
        enum tls_result at_client = TLS_MORE, at_server = TLS_MORE;
        struct buf up = {.size_max = SIZE_MAX / 2}, down = {.size_max = SIZE_MAX / 2};
        char text[6] = "";
        size_t got = 0, n;

        while (at_client == TLS_MORE || at_server == TLS_MORE) {
            if (at_client == TLS_MORE)
                at_client = shake(client, &down, &up, step);
            if (at_server == TLS_MORE)
                at_server = shake(server, &up, &down, step);
        }
        assert_int_equal(at_client, TLS_DONE);
        assert_int_equal(at_server, TLS_DONE);
        assert_int_equal(tls_session__write(client, slice_str("hello"), &up), TLS_DONE);
        while (got < 5) {
            size_t len = MIN(step, up.len);

            tls_session__feed(server, slice_of(up.data, len));
            while (tls_session__read(server, (uint8_t *)text + got, 5 - got, &n, &down, NULL) ==
                   TLS_DONE) {
                got += n;
                if (got == 5)
                    break;
            }
            buf_consume(&up, len);
        }
        assert_string_equal(text, "hello");
        buf_release(&up);
        buf_release(&down);
        tls_session__free(client);
        tls_session__free(server);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_go_both_ways),
        TEST(what_is_written_before_the_handshake_is_sent_after_it),
        TEST(a_long_stream_comes_back_whole),
        TEST(an_orderly_end_is_told_from_a_cut),
        TEST(an_end_may_close_while_it_reads),
        TEST(good_pairs_connect),
        TEST(a_client_refuses_servers_that_are_not_who_they_should_be),
        TEST(a_server_turns_away_clients_without_the_right_certificate),
        TEST(two_that_speak_differently_find_out),
        TEST(the_other_sides_names_can_be_asked_for),
        TEST(bad_configurations_are_explained),
        TEST(new_files_are_taken_without_a_restart_and_bad_ones_are_not),
        TEST(a_key_file_is_private),
        TEST(a_session_takes_any_split),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
