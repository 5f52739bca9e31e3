/* Real sockets on the loopback, ports chosen by the kernel. Events are awaited; a watchdog fails a
 * test that waits in vain. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "net/sock.h"

enum { WATCHDOG_MS = 20000, ENDS_MAX = 8 };

/* One socket with all that happened to it. */
struct end {
    struct fixture *f;
    struct net_sock *sock; /* NULL: none, or closed */
    int connects, connect_status;
    char connect_text[512];
    struct buf got;
    size_t got_total; /* also of what was not kept */
    int ends, end_status, drains, closes;
    bool keep;             /* bytes in got */
    bool echo;             /* bytes are sent back */
    bool close_on_connect; /* from inside the callback */
    bool close_on_read;
    bool close_on_end;
};

struct fixture {
    uv_loop_t loop;
    uv_timer_t watchdog;
    struct net_listener *listener;
    struct net_addr addr;
    struct end ends[ENDS_MAX]; /* accepted ones from the end of the array down */
    int accepted;
    int listener_closes;
    bool close_accepted;           /* at once */
    bool close_listener_on_accept; /* from inside the callback */
    bool echo_accepted, keep_accepted;
    uint64_t turns; /* of the loop */
    uv_prepare_t turn_counter;
};

/* ---- events ---- */

/* Lets the loop turn in which something happened end without waiting for more. */
static void happened(struct end *end)
{
    uv_stop(&end->f->loop);
}

static void on_closed(void *ctx)
{
    struct end *end = ctx;

    end->closes++;
    happened(end);
}

static void close_end(struct end *end)
{
    struct net_sock *sock = end->sock;

    end->sock = NULL;
    if (sock != NULL)
        net_sock_close(sock, on_closed, end);
}

static void on_connect(void *ctx, int status, const struct err *err)
{
    struct end *end = ctx;

    assert_int_equal(end->connects, 0);
    assert_int_equal(end->got_total, 0);
    end->connects++;
    happened(end);
    end->connect_status = status;
    if (status != 0) {
        assert_int_equal(status, KV_ECONN);
        assert_int_equal(err->code, KV_ECONN);
        strcpy(end->connect_text, err->text);
    }
    if (end->close_on_connect)
        close_end(end);
}

static void on_read(void *ctx, struct slice bytes)
{
    struct end *end = ctx;

    assert_non_null(end->sock);
    assert_int_equal(end->ends, 0);
    assert_true(bytes.len > 0);
    end->got_total += bytes.len;
    happened(end);
    if (end->keep)
        assert_int_equal(buf_append(&end->got, bytes.data, bytes.len), 0);
    if (end->echo)
        assert_int_equal(net_sock_write(end->sock, bytes), 0);
    if (end->close_on_read)
        close_end(end);
}

static void on_end(void *ctx, int status)
{
    struct end *end = ctx;

    assert_non_null(end->sock);
    end->ends++;
    happened(end);
    assert_int_equal(end->ends, 1);
    end->end_status = status;
    if (end->close_on_end)
        close_end(end);
}

static void on_drain(void *ctx)
{
    struct end *end = ctx;

    assert_non_null(end->sock);
    assert_int_equal(net_sock_pending(end->sock), 0);
    end->drains++;
    happened(end);
}

static const struct net_sock_events events = {
    .on_connect = on_connect,
    .on_read = on_read,
    .on_end = on_end,
    .on_drain = on_drain,
};

static void on_listener_closed(void *ctx)
{
    struct fixture *f = ctx;

    f->listener_closes++;
    uv_stop(&f->loop);
}

static void close_listener(struct fixture *f)
{
    struct net_listener *listener = f->listener;

    f->listener = NULL;
    if (listener != NULL)
        net_listener_close(listener, on_listener_closed, f);
}

static void on_accept(void *ctx, struct net_sock *sock)
{
    struct fixture *f = ctx;
    struct end *end = &f->ends[ENDS_MAX - 1 - f->accepted % ENDS_MAX];

    assert_non_null(f->listener);
    f->accepted++;
    uv_stop(&f->loop);
    if (f->close_listener_on_accept)
        close_listener(f);
    if (f->close_accepted) {
        net_sock_close(sock, NULL, NULL);
        return;
    }
    end->sock = sock;
    end->echo = f->echo_accepted;
    end->keep = f->keep_accepted;
    net_sock_start(sock, &events, end);
}

/* ---- the fixture ---- */

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("waited %d ms in vain", WATCHDOG_MS);
}

static void on_turn(uv_prepare_t *handle)
{
    CONTAINER_OF(handle, struct fixture, turn_counter)->turns++;
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    assert_int_equal(uv_loop_init(&f->loop), 0);
    uv_timer_init(&f->loop, &f->watchdog);
    uv_timer_start(&f->watchdog, on_watchdog, WATCHDOG_MS, 0);
    uv_prepare_init(&f->loop, &f->turn_counter);
    uv_prepare_start(&f->turn_counter, on_turn);
    for (int i = 0; i < ENDS_MAX; i++) {
        f->ends[i].f = f;
        buf_init(&f->ends[i].got, 256 << 20);
    }
    *state = f;
    return 0;
}

static void turn(struct fixture *f)
{
    uv_run(&f->loop, UV_RUN_ONCE);
}

#define AWAIT(f, cond)                                                                             \
    while (!(cond))                                                                                \
    turn(f)

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < ENDS_MAX; i++)
        close_end(&f->ends[i]);
    close_listener(f);
    uv_close((uv_handle_t *)&f->watchdog, NULL);
    uv_close((uv_handle_t *)&f->turn_counter, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0); /* nothing was left behind */
    for (int i = 0; i < ENDS_MAX; i++)
        buf_release(&f->ends[i].got);
    free(f);
    return 0;
}

static struct net_addr parse(const char *url)
{
    struct net_addr addr;
    struct err err = ERR_INIT;

    if (net_addr_parse(url, &addr, &err) != 0)
        fail_msg("%s", err.text);
    return addr;
}

static void listen_on(struct fixture *f, const char *url)
{
    struct err err = ERR_INIT;

    f->addr = parse(url);
    if (net_listen(&f->loop, &f->addr, NULL, on_accept, f, &f->listener, &err) != 0)
        fail_msg("%s", err.text);
    if (!f->addr.is_unix)
        f->addr.port = net_listener_port(f->listener);
}

static struct end *dial(struct fixture *f, int slot)
{
    struct end *end = &f->ends[slot];
    struct err err = ERR_INIT;

    if (net_sock_connect(&f->loop, &f->addr, NULL, &events, end, &end->sock, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(end->connects, 0); /* never from inside */
    return end;
}

static struct end *accepted(struct fixture *f, int n)
{
    return &f->ends[ENDS_MAX - 1 - n];
}

/* Both ends of a fresh connection, the accepted one as the return value. */
static struct end *connect_pair(struct fixture *f, struct end **client)
{
    int n = f->accepted;

    *client = dial(f, n);
    AWAIT(f, (*client)->connects == 1 && f->accepted == n + 1);
    assert_int_equal((*client)->connect_status, 0);
    return accepted(f, n);
}

/* A port on which nobody listens: bound, never listened on, given back at the end. */
static int reserve_port(uint16_t *port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    *port = ntohs(addr.sin_port);
    return fd;
}

static void fill(uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 31 + (i >> 8) * 7);
}

/* ---- addresses ---- */

static void urls_are_taken_as_etcd_takes_them(void **state)
{
    static const struct {
        const char *url;
        bool tls, is_unix;
        const char *host;
        uint16_t port;
    } cases[] = {
        {"http://127.0.0.1:2379", false, false, "127.0.0.1", 2379},
        {"https://example.org:1", true, false, "example.org", 1},
        {"http://localhost:65535", false, false, "localhost", 65535},
        {"http://[::1]:2380", false, false, "::1", 2380},
        {"http://[fe80::1%eth0]:2380", false, false, "fe80::1%eth0", 2380},
        {"localhost:2379", false, false, "localhost", 2379},
        {"[::]:0", false, false, "::", 0},
        {"my_host-1.local:99", false, false, "my_host-1.local", 99},
        {"unix:///tmp/kvd.sock", false, true, "/tmp/kvd.sock", 0},
        {"unix://localhost:2379", false, true, "localhost:2379", 0},
        {"unixs://rel/path?x", true, true, "rel/path?x", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct net_addr addr = parse(cases[i].url);

        assert_int_equal(addr.tls, cases[i].tls);
        assert_int_equal(addr.is_unix, cases[i].is_unix);
        assert_string_equal(addr.host, cases[i].host);
        assert_int_equal(addr.port, cases[i].port);
    }
}

static void a_bad_url_is_refused_by_name_and_reason(void **state)
{
    static const struct {
        const char *url;
        const char *reason;
    } cases[] = {
        {"", "port is missing"},
        {"http://", "port is missing"},
        {"localhost", "port is missing"},
        {"http://[::1]", "port is missing"},
        {"http://[::1]2379", "port is missing"},
        {"http://[::1:2379", "']' is missing"},
        {"http://::1:2379", "needs brackets"},
        {":2379", "host is missing"},
        {"http://:2379", "host is missing"},
        {"http://[]:2379", "host is missing"},
        {"http://h:2379/", "path"},
        {"http://h:2379/v3", "path"},
        {"http://h:2379?x=1", "query"},
        {"http://h:2379#x", "query"},
        {"http://user:pw@h:2379", "user"},
        {"http://h h:2379", "character"},
        {"http://h\n:2379", "character"},
        {"http://h:", "65535"},
        {"http://h:65536", "65535"},
        {"http://h:99999999999999999999", "65535"},
        {"http://h:-1", "65535"},
        {"http://h:0x10", "65535"},
        {"http://h: 80", "65535"},
        {"ftp://h:21", "scheme"},
        {"HTTP://h:21", "scheme"},
        {"unix://", "path of the socket is missing"},
    };
    char long_host[400], long_path[200];
    struct net_addr addr = {.port = 4711};
    struct err err = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(net_addr_parse(cases[i].url, &addr, &err), KV_EINVAL);
        assert_non_null(strstr(err.text, cases[i].url));
        if (strstr(err.text, cases[i].reason) == NULL)
            fail_msg("%s: not for \"%s\"", err.text, cases[i].reason);
        assert_int_equal(addr.port, 4711); /* untouched */
    }
    memset(long_host, 'a', sizeof long_host);
    strcpy(long_host + sizeof long_host - 6, ":2379");
    assert_int_equal(net_addr_parse(long_host, &addr, &err), KV_EINVAL);
    assert_non_null(strstr(err.text, "host is too long"));
    memset(long_path, 'a', sizeof long_path);
    memcpy(long_path, "unix://", 7);
    long_path[sizeof long_path - 1] = '\0';
    assert_int_equal(net_addr_parse(long_path, &addr, NULL), KV_EINVAL);
}

static void an_address_is_printed_as_it_is_typed(void **state)
{
    char text[64];
    struct net_addr addr;

    (void)state;
    addr = parse("http://127.0.0.1:80");
    assert_string_equal(net_addr_format(&addr, text, sizeof text), "127.0.0.1:80");
    addr = parse("http://[::1]:80");
    assert_string_equal(net_addr_format(&addr, text, sizeof text), "[::1]:80");
    addr = parse("unix:///tmp/x");
    assert_string_equal(net_addr_format(&addr, text, sizeof text), "unix:/tmp/x");
}

/* ---- connecting ---- */

static void bytes_go_both_ways(struct fixture *f)
{
    struct end *client, *server;

    f->echo_accepted = true;
    server = connect_pair(f, &client);
    client->keep = true;
    assert_int_equal(net_sock_write(client->sock, slice_str("hello")), 0);
    AWAIT(f, client->got.len == 5);
    assert_memory_equal(client->got.data, "hello", 5);
    assert_int_equal(server->got_total, 5);
}

static void bytes_go_both_ways_over_ipv4(void **state)
{
    struct fixture *f = *state;
    char text[64];

    listen_on(f, "http://127.0.0.1:0");
    bytes_go_both_ways(f);
    snprintf(text, sizeof text, "127.0.0.1:%u", f->addr.port);
    assert_string_equal(net_sock_peer(f->ends[0].sock), text);
    assert_int_equal(strncmp(net_sock_peer(accepted(f, 0)->sock), "127.0.0.1:", 10), 0);
    assert_string_not_equal(net_sock_peer(accepted(f, 0)->sock), text);
}

static void bytes_go_both_ways_over_ipv6(void **state)
{
    struct fixture *f = *state;

    listen_on(f, "http://[::1]:0");
    bytes_go_both_ways(f);
    assert_int_equal(strncmp(net_sock_peer(accepted(f, 0)->sock), "[::1]:", 6), 0);
}

static void a_name_is_resolved(void **state)
{
    struct fixture *f = *state;

    listen_on(f, "http://localhost:0");
    bytes_go_both_ways(f);
    assert_int_equal(strncmp(net_sock_peer(f->ends[0].sock), "127.0.0.1:", 10), 0);
}

typedef int (*getaddrinfo_fn)(const char *, const char *, const struct addrinfo *,
                              struct addrinfo **);

/* In front of libc's, for libuv too: one more name, with two addresses. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    getaddrinfo_fn next = (getaddrinfo_fn)dlsym(RTLD_NEXT, "getaddrinfo");
    struct addrinfo *first, *last;
    int rc;

    if (node == NULL || strcmp(node, "two.test") != 0)
        return next(node, service, hints, out);
    rc = next("::1", service, hints, &first);
    if (rc != 0)
        return rc;
    for (last = first; last->ai_next != NULL; last = last->ai_next)
        continue;
    *out = first;
    return next("127.0.0.1", service, hints, &last->ai_next);
}

/* Nobody listens at the first one. */
static void all_addresses_of_a_name_are_tried(void **state)
{
    struct fixture *f = *state;

    listen_on(f, "http://127.0.0.1:0");
    strcpy(f->addr.host, "two.test");
    bytes_go_both_ways(f);
    assert_int_equal(strncmp(net_sock_peer(f->ends[0].sock), "127.0.0.1:", 10), 0);
}

static void bytes_go_both_ways_over_a_unix_socket(void **state)
{
    struct fixture *f = *state;
    char dir[] = "/tmp/test_sock.XXXXXX", url[64];

    assert_non_null(mkdtemp(dir));
    snprintf(url, sizeof url, "unix://%s/s", dir);
    listen_on(f, url);
    bytes_go_both_ways(f);
    assert_int_equal(access(url + strlen("unix://"), F_OK), 0);
    close_listener(f);
    assert_int_equal(access(url + strlen("unix://"), F_OK), -1);
    assert_int_equal(rmdir(dir), 0);
}

static void a_refused_connection_is_told_later_with_the_address(void **state)
{
    struct fixture *f = *state;
    struct end *end;
    char text[64];
    int fd = reserve_port(&f->addr.port);

    strcpy(f->addr.host, "127.0.0.1");
    end = dial(f, 0);
    AWAIT(f, end->connects == 1);
    assert_int_equal(end->connect_status, KV_ECONN);
    snprintf(text, sizeof text, "127.0.0.1:%u: Connection refused", f->addr.port);
    assert_non_null(strstr(end->connect_text, text));
    assert_int_equal(net_sock_write(end->sock, slice_str("x")), KV_ECONN);
    close(fd);
}

static void a_unix_socket_that_is_not_there_is_told_later(void **state)
{
    struct fixture *f = *state;
    struct end *end;

    f->addr = parse("unix:///tmp/there/is/no/such.sock");
    end = dial(f, 0);
    AWAIT(f, end->connects == 1);
    assert_int_equal(end->connect_status, KV_ECONN);
    assert_non_null(strstr(end->connect_text, "No such file"));
}

static void a_name_that_nobody_has_is_told_later(void **state)
{
    struct fixture *f = *state;
    struct end *end;

    f->addr = parse("http://no-such-host.invalid:1");
    end = dial(f, 0);
    AWAIT(f, end->connects == 1);
    assert_int_equal(end->connect_status, KV_ECONN);
    assert_non_null(strstr(end->connect_text, "no-such-host.invalid:1"));
}

static void tls_is_refused_at_once(void **state)
{
    struct fixture *f = *state;
    struct net_addr addr = parse("https://127.0.0.1:0");
    struct err err = ERR_INIT;

    assert_int_equal(net_sock_connect(&f->loop, &addr, NULL, &events, f, &f->ends[0].sock, &err),
                     KV_EINVAL);
    assert_int_equal(net_listen(&f->loop, &addr, NULL, on_accept, f, &f->listener, &err),
                     KV_EINVAL);
    assert_non_null(strstr(err.text, "TLS"));
}

static void what_is_written_before_the_connection_stands_arrives(void **state)
{
    struct fixture *f = *state;
    struct end *client, *server = accepted(f, 0);

    listen_on(f, "http://localhost:0");
    f->keep_accepted = true;
    client = dial(f, 0);
    assert_int_equal(net_sock_write(client->sock, slice_str("ear")), 0);
    assert_int_equal(net_sock_write(client->sock, slice_str("ly")), 0);
    assert_int_equal(net_sock_pending(client->sock), 5);
    AWAIT(f, server->got.len == 5 && client->drains == 1);
    assert_memory_equal(server->got.data, "early", 5);
}

/* ---- closing at any moment ---- */

static void closing_while_resolving_and_connecting_calls_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct end *literal, *name;

    listen_on(f, "http://127.0.0.1:0");
    literal = dial(f, 0);
    close_end(literal);
    strcpy(f->addr.host, "localhost");
    name = dial(f, 1);
    close_end(name);
    AWAIT(f, literal->closes == 1 && name->closes == 1);
    assert_int_equal(literal->connects + name->connects, 0);
}

static void closing_inside_on_connect_is_allowed(void **state)
{
    struct fixture *f = *state;
    struct end *client, *refused, *server = accepted(f, 0);
    int fd;

    listen_on(f, "http://127.0.0.1:0");
    client = dial(f, 0);
    client->close_on_connect = true;
    assert_int_equal(net_sock_write(client->sock, slice_str("never sent")), 0);
    AWAIT(f, client->closes == 1 && server->ends == 1);
    assert_int_equal(server->got_total, 0);

    fd = reserve_port(&f->addr.port);
    refused = dial(f, 1);
    refused->close_on_connect = true;
    AWAIT(f, refused->closes == 1);
    assert_int_equal(refused->connect_status, KV_ECONN);
    close(fd);
}

static void closing_inside_on_read_stops_further_bytes(void **state)
{
    struct fixture *f = *state;
    static uint8_t data[1 << 20];
    struct end *client, *server;

    listen_on(f, "http://127.0.0.1:0");
    server = connect_pair(f, &client);
    server->close_on_read = true;
    assert_int_equal(net_sock_write(client->sock, slice_of(data, sizeof data)), 0);
    AWAIT(f, server->closes == 1 && client->ends == 1);
    assert_true(server->got_total <= 64 * 1024);
    assert_int_equal(client->end_status, KV_ECONN); /* unread bytes make it a reset */
}

static void closing_inside_on_end_is_allowed(void **state)
{
    struct fixture *f = *state;
    struct end *client, *server;

    listen_on(f, "http://127.0.0.1:0");
    server = connect_pair(f, &client);
    server->close_on_end = true;
    close_end(client);
    AWAIT(f, server->closes == 1);
    assert_int_equal(server->end_status, 0);
}

static void a_listener_may_be_closed_inside_on_accept(void **state)
{
    struct fixture *f = *state;
    struct end *client;

    listen_on(f, "http://127.0.0.1:0");
    f->close_listener_on_accept = true;
    client = dial(f, 0);
    AWAIT(f, client->connects == 1 && f->listener_closes == 1);
    assert_int_equal(f->accepted, 1);
}

static void accepted_sockets_may_be_closed_at_once(void **state)
{
    struct fixture *f = *state;
    struct end *client;

    listen_on(f, "http://127.0.0.1:0");
    f->close_accepted = true;
    client = dial(f, 0);
    AWAIT(f, client->ends == 1);
    assert_int_equal(client->end_status, 0);
}

/* ---- writing and back-pressure ---- */

/* 32 MiB to a reader that has paused: most of it waits here, and all of it arrives in order. */
static void a_paused_reader_holds_up_the_writer_and_loses_nothing(void **state)
{
    const size_t size = 32 << 20;
    struct fixture *f = *state;
    uint8_t *data = xmalloc(size);
    struct end *client, *server;

    listen_on(f, "http://127.0.0.1:0");
    server = connect_pair(f, &client);
    server->keep = true;
    net_sock_pause(server->sock);
    fill(data, size);
    for (size_t at = 0; at < size; at += size / 64)
        assert_int_equal(net_sock_write(client->sock, slice_of(data + at, size / 64)), 0);
    assert_true(net_sock_pending(client->sock) > size / 4);
    assert_int_equal(client->drains, 0);

    net_sock_resume(server->sock);
    AWAIT(f, server->got.len == size && client->drains == 1);
    assert_int_equal(net_sock_pending(client->sock), 0);
    assert_memory_equal(server->got.data, data, size);
    free(data);
}

/* A queue that is never empty: the echo keeps both directions full for a while. */
static void an_echo_of_many_small_writes_keeps_their_order(void **state)
{
    enum { COUNT = 20000, SIZE = 100 };
    struct fixture *f = *state;
    static uint8_t data[COUNT * SIZE];
    struct end *client;

    f->echo_accepted = true;
    listen_on(f, "http://127.0.0.1:0");
    connect_pair(f, &client);
    client->keep = true;
    fill(data, sizeof data);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(net_sock_write(client->sock, slice_of(data + i * SIZE, SIZE)), 0);
    AWAIT(f, client->got.len == sizeof data);
    assert_memory_equal(client->got.data, data, sizeof data);
}

static void a_write_past_the_bound_is_refused_whole(void **state)
{
    struct fixture *f = *state;
    static uint8_t data[4 << 20];
    struct end *client, *server;
    size_t taken = 0;
    int rc;

    listen_on(f, "http://127.0.0.1:0");
    server = connect_pair(f, &client);
    net_sock_pause(server->sock);
    net_sock_set_pending_max(client->sock, sizeof data);
    while ((rc = net_sock_write(client->sock, slice_of(data, sizeof data))) == 0)
        taken += sizeof data;
    assert_int_equal(rc, KV_ETOOBIG);
    assert_true(net_sock_pending(client->sock) <= sizeof data);
    net_sock_resume(server->sock);
    AWAIT(f, client->drains == 1 && server->got_total == taken);
    assert_int_equal(net_sock_write(client->sock, slice_of(data, 1)), 0);
    AWAIT(f, server->got_total == taken + 1);
}

static void a_peer_that_closes_in_the_middle_of_a_write_ends_the_socket(void **state)
{
    struct fixture *f = *state;
    static uint8_t data[8 << 20];
    struct end *client, *server;

    listen_on(f, "http://127.0.0.1:0");
    server = connect_pair(f, &client);
    net_sock_pause(server->sock);
    assert_int_equal(net_sock_write(client->sock, slice_of(data, sizeof data)), 0);
    assert_true(net_sock_pending(client->sock) > 0);
    close_end(server);
    AWAIT(f, client->ends == 1);
    assert_int_equal(client->end_status, KV_ECONN);
    assert_int_equal(client->drains, 0);
    assert_int_equal(net_sock_write(client->sock, slice_str("x")), KV_ECONN);
}

/* Nobody reads, so only the failing write can notice. */
static void a_paused_socket_still_learns_that_its_connection_broke(void **state)
{
    struct fixture *f = *state;
    struct end *client, *server;
    int rc = 0;

    listen_on(f, "http://127.0.0.1:0");
    server = connect_pair(f, &client);
    net_sock_pause(client->sock);
    assert_int_equal(net_sock_write(server->sock, slice_str("unread")), 0);
    close_end(server);
    AWAIT(f, server->closes == 1);
    while (rc == 0) {
        rc = net_sock_write(client->sock, slice_str("x"));
        assert_int_equal(client->ends, 0); /* never from inside */
    }
    assert_int_equal(rc, KV_ECONN);
    AWAIT(f, client->ends == 1);
    assert_int_equal(client->end_status, KV_ECONN);
}

/* The last words of a peer are read although writing to it fails already. */
static void bytes_sent_before_the_peer_closed_are_delivered(void **state)
{
    struct fixture *f = *state;
    static uint8_t data[300000];
    struct end *client, *server;

    listen_on(f, "http://127.0.0.1:0");
    server = connect_pair(f, &client);
    assert_int_equal(net_sock_write(server->sock, slice_of(data, sizeof data)), 0);
    AWAIT(f, net_sock_pending(server->sock) == 0);
    close_end(server);
    AWAIT(f, client->ends == 1);
    assert_int_equal(client->end_status, 0);
    assert_int_equal(client->got_total, sizeof data);
}

/* ---- listening ---- */

static void a_port_in_use_is_named(void **state)
{
    struct fixture *f = *state;
    struct net_listener *second = NULL;
    struct err err = ERR_INIT;
    char port[16];

    listen_on(f, "http://127.0.0.1:0");
    assert_int_equal(net_listen(&f->loop, &f->addr, NULL, on_accept, f, &second, &err), KV_EBUSY);
    snprintf(port, sizeof port, "port %u", f->addr.port);
    assert_non_null(strstr(err.text, port));
    assert_null(second);
}

static void a_foreign_address_is_refused(void **state)
{
    struct fixture *f = *state;
    struct net_addr addr = parse("http://192.0.2.1:0");
    struct err err = ERR_INIT;

    assert_int_equal(net_listen(&f->loop, &addr, NULL, on_accept, f, &f->listener, &err),
                     KV_EINVAL);
    assert_non_null(strstr(err.text, "not an address of this machine"));
}

/* A killed process leaves the file; a living one keeps it. */
static void a_stale_unix_socket_is_replaced_and_a_live_one_is_not(void **state)
{
    struct fixture *f = *state;
    char dir[] = "/tmp/test_sock.XXXXXX", url[64];
    struct net_listener *second = NULL;
    struct err err = ERR_INIT;
    struct end *client;
    char stale[64];

    assert_non_null(mkdtemp(dir));
    snprintf(url, sizeof url, "unix://%s/s", dir);
    snprintf(stale, sizeof stale, "%s/kept", dir);
    listen_on(f, url);
    assert_int_equal(link(f->addr.host, stale), 0);
    close_listener(f);
    assert_int_equal(rename(stale, f->addr.host), 0);

    listen_on(f, url);
    assert_int_equal(net_listen(&f->loop, &f->addr, NULL, on_accept, f, &second, &err), KV_EBUSY);
    client = dial(f, 0);
    AWAIT(f, client->connects == 1 && f->accepted == 2); /* the other one was the question */
    assert_int_equal(client->connect_status, 0);
    close_listener(f);
    assert_int_equal(rmdir(dir), 0);
}

static void a_file_that_is_no_socket_is_never_removed(void **state)
{
    struct fixture *f = *state;
    char path[] = "/tmp/test_sock.XXXXXX", url[64];
    struct err err = ERR_INIT;
    int fd = mkstemp(path);

    snprintf(url, sizeof url, "unix://%s", path);
    f->addr = parse(url);
    assert_int_equal(net_listen(&f->loop, &f->addr, NULL, on_accept, f, &f->listener, &err),
                     KV_EBUSY);
    assert_int_equal(access(path, F_OK), 0);
    close(fd);
    unlink(path);
}

static void a_storm_of_connections_is_accepted_whole(void **state)
{
    enum { STORM = 500 };
    struct fixture *f = *state;
    static struct end storm[STORM];

    listen_on(f, "http://127.0.0.1:0");
    f->close_accepted = true;
    memset(storm, 0, sizeof storm);
    for (int i = 0; i < STORM; i++) {
        struct err err = ERR_INIT;

        storm[i].f = f;
        storm[i].close_on_end = true;
        assert_int_equal(
            net_sock_connect(&f->loop, &f->addr, NULL, &events, &storm[i], &storm[i].sock, &err),
            0);
    }
    AWAIT(f, f->accepted == STORM);
    for (int i = 0; i < STORM; i++)
        AWAIT(f, storm[i].closes == 1);
}

static int connect_blocking(uint16_t port)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

/* Takes every descriptor there is, except the one that the client needs. */
static size_t use_up_descriptors(int *held, size_t max)
{
    size_t count = 0;

    while (count < max && (held[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        count++;
    assert_int_equal(errno, EMFILE);
    return count;
}

/* The connection is turned away, the loop sleeps meanwhile, and service goes on afterwards. */
static void running_out_of_descriptors_sheds_without_spinning(void **state)
{
    struct fixture *f = *state;
    struct rlimit before, few;
    static int held[256];
    size_t count;
    int client, again;
    uint64_t turns;
    char byte;
    ssize_t n;

    listen_on(f, "http://127.0.0.1:0");
    assert_int_equal(uv_run(&f->loop, UV_RUN_NOWAIT), 1);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 200;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    client = connect_blocking(f->addr.port);
    assert_int_equal(fcntl(client, F_SETFL, O_NONBLOCK), 0);
    count = use_up_descriptors(held, ARRAY_LEN(held));

    turns = f->turns;
    do {
        turn(f);
        n = recv(client, &byte, 1, 0);
    } while (n < 0 && errno == EAGAIN);
    assert_int_equal(n, 0);
    assert_int_equal(f->accepted, 0);
    assert_true(f->turns - turns < 10);

    close(client);
    for (size_t i = 0; i < count; i++)
        close(held[i]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    again = connect_blocking(f->addr.port);
    AWAIT(f, f->accepted == 1);
    assert_true(f->turns - turns < 20);
    close(again);
}

/* Not even the spare one can be opened again: who waits stays in the backlog, the loop sleeps, and
 * all are served once there is room. */
static void without_any_descriptor_the_loop_sleeps_until_there_is_one(void **state)
{
    struct fixture *f = *state;
    struct rlimit before, none;
    struct timespec start, now;
    uint64_t turns;
    int client;

    listen_on(f, "http://127.0.0.1:0");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    client = connect_blocking(f->addr.port);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    turns = f->turns;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do { /* a few of the listener's pauses */
        turn(f);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < 350);
    assert_true(f->turns - turns < 20);
    assert_int_equal(f->accepted, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    AWAIT(f, f->accepted == 1);
    close(client);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_taken_as_etcd_takes_them),
        cmocka_unit_test(a_bad_url_is_refused_by_name_and_reason),
        cmocka_unit_test(an_address_is_printed_as_it_is_typed),
        TEST(bytes_go_both_ways_over_ipv4),
        TEST(bytes_go_both_ways_over_ipv6),
        TEST(bytes_go_both_ways_over_a_unix_socket),
        TEST(a_name_is_resolved),
        TEST(all_addresses_of_a_name_are_tried),
        TEST(a_refused_connection_is_told_later_with_the_address),
        TEST(a_unix_socket_that_is_not_there_is_told_later),
        TEST(a_name_that_nobody_has_is_told_later),
        TEST(tls_is_refused_at_once),
        TEST(what_is_written_before_the_connection_stands_arrives),
        TEST(closing_while_resolving_and_connecting_calls_nothing_else),
        TEST(closing_inside_on_connect_is_allowed),
        TEST(closing_inside_on_read_stops_further_bytes),
        TEST(closing_inside_on_end_is_allowed),
        TEST(a_listener_may_be_closed_inside_on_accept),
        TEST(accepted_sockets_may_be_closed_at_once),
        TEST(a_paused_reader_holds_up_the_writer_and_loses_nothing),
        TEST(an_echo_of_many_small_writes_keeps_their_order),
        TEST(a_write_past_the_bound_is_refused_whole),
        TEST(a_peer_that_closes_in_the_middle_of_a_write_ends_the_socket),
        TEST(a_paused_socket_still_learns_that_its_connection_broke),
        TEST(bytes_sent_before_the_peer_closed_are_delivered),
        TEST(a_port_in_use_is_named),
        TEST(a_foreign_address_is_refused),
        TEST(a_stale_unix_socket_is_replaced_and_a_live_one_is_not),
        TEST(a_file_that_is_no_socket_is_never_removed),
        TEST(a_storm_of_connections_is_accepted_whole),
        TEST(running_out_of_descriptors_sheds_without_spinning),
        TEST(without_any_descriptor_the_loop_sleeps_until_there_is_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
