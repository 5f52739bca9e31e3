/* The relays between members: a cut holds one direction back and loses nothing, a delay keeps the
 * order. Member 2 listens behind its door, member 1 comes with a hello; all in one loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "lab/relay.h"
#include "net/sock.h"
#include "raft/hello.h"

struct side {
    struct net_sock *sock;
    struct buf got;
    bool ended;
};

struct fixture {
    uv_loop_t loop;
    struct lab_relays *relays;
    struct net_listener *listeners[3]; /* of members 1 and 2 */
    uint16_t doors[3];
    struct side one, two; /* member 1 has dialed, member 2 has accepted */
    bool closed;
};

static void on_read(void *ctx, struct slice bytes)
{
    assert_int_equal(buf_append(&((struct side *)ctx)->got, bytes.data, bytes.len), 0);
}

static void on_end(void *ctx, int status)
{
    (void)status;
    ((struct side *)ctx)->ended = true;
}

static void on_connect(void *ctx, int status, const struct err *err)
{
    (void)ctx;
    (void)err;
    assert_int_equal(status, 0);
}

static const struct net_sock_events events = {
    .on_connect = on_connect, .on_read = on_read, .on_end = on_end};

static void on_accept(void *ctx, struct net_sock *sock)
{
    struct fixture *f = ctx;

    assert_null(f->two.sock);
    f->two.sock = sock;
    net_sock_start(sock, &events, &f->two);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct net_addr addr = {.host = "127.0.0.1"};

    assert_int_equal(uv_loop_init(&f->loop), 0);
    buf_init(&f->one.got, 1 << 20);
    buf_init(&f->two.got, 1 << 20);
    f->relays = lab_relays_new(&f->loop);
    for (unsigned n = 1; n <= 2; n++) {
        assert_int_equal(net_listen(&f->loop, &addr, NULL, on_accept, f, &f->listeners[n], NULL),
                         0);
        assert_int_equal(
            lab_relays_add(f->relays, n, net_listener_port(f->listeners[n]), &f->doors[n], NULL),
            0);
    }
    *state = f;
    return 0;
}

static void on_closed(void *ctx)
{
    ((struct fixture *)ctx)->closed = true;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    lab_relays_close(f->relays, on_closed, f);
    for (unsigned n = 1; n <= 2; n++)
        net_listener_close(f->listeners[n], NULL, NULL);
    if (f->one.sock != NULL)
        net_sock_close(f->one.sock, NULL, NULL);
    if (f->two.sock != NULL)
        net_sock_close(f->two.sock, NULL, NULL);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_true(f->closed);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    buf_release(&f->one.got);
    buf_release(&f->two.got);
    free(f);
    return 0;
}

static void say(struct side *side, const char *text)
{
    assert_int_equal(net_sock_write(side->sock, slice_str(text)), 0);
}

/* Member 1 dials the door of member 2 and says who it is. */
static void dial(struct fixture *f)
{
    struct net_addr addr = {.host = "127.0.0.1", .port = f->doors[2]};
    struct hello hello = {.version = HELLO_VERSION, .port = net_listener_port(f->listeners[1])};
    uint8_t bytes[HELLO_SIZE];

    assert_int_equal(net_sock_connect(&f->loop, &addr, NULL, &events, &f->one, &f->one.sock, NULL),
                     0);
    hello_encode(&hello, bytes);
    assert_int_equal(net_sock_write(f->one.sock, slice_of(bytes, sizeof bytes)), 0);
}

static void wait_for_bytes(struct fixture *f, const struct side *side, size_t len)
{
    while (side->got.len < len)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
}

static void wait_for_connection(struct fixture *f)
{
    dial(f);
    while (f->two.sock == NULL)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    wait_for_bytes(f, &f->two, HELLO_SIZE);
    buf_reset(&f->two.got);
}

/* So much has been said and heard the other way that what was not held back would be there. */
static void let_time_pass(struct fixture *f)
{
    for (int i = 0; i < 10; i++) {
        size_t len = f->one.got.len;

        say(&f->two, "tick");
        wait_for_bytes(f, &f->one, len + 4);
    }
}

static void assert_got(const struct side *side, const char *text)
{
    assert_int_equal(side->got.len, strlen(text));
    assert_memory_equal(side->got.data, text, strlen(text));
}

static void bytes_go_both_ways_and_are_counted_by_pair(void **state)
{
    struct fixture *f = *state;

    wait_for_connection(f);
    say(&f->one, "there");
    wait_for_bytes(f, &f->two, 5);
    say(&f->two, "back");
    wait_for_bytes(f, &f->one, 4);
    assert_got(&f->two, "there");
    assert_got(&f->one, "back");
    assert_int_equal(lab_relays_bytes(f->relays, 1, 2), HELLO_SIZE + 5);
    assert_int_equal(lab_relays_bytes(f->relays, 2, 1), 4);
    assert_true(lab_relays_heard_at(f->relays, 1, 2) != 0);
}

static void a_cut_holds_one_direction_back_and_loses_nothing(void **state)
{
    struct fixture *f = *state;

    wait_for_connection(f);
    lab_relays_cut(f->relays, 1, 2, true);
    say(&f->one, "held ");
    say(&f->one, "back");
    let_time_pass(f);
    assert_int_equal(f->two.got.len, 0);
    assert_true(lab_relays_is_cut(f->relays, 1, 2));
    lab_relays_cut(f->relays, 1, 2, false);
    wait_for_bytes(f, &f->two, 9);
    assert_got(&f->two, "held back");
}

static void the_end_of_a_connection_does_not_pass_a_cut(void **state)
{
    struct fixture *f = *state;

    wait_for_connection(f);
    lab_relays_cut(f->relays, 1, 2, true);
    say(&f->one, "last words");
    net_sock_close(f->one.sock, NULL, NULL);
    f->one.sock = NULL;
    for (int i = 0; i < 50; i++)
        (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_false(f->two.ended);
    lab_relays_cut(f->relays, 1, 2, false);
    while (!f->two.ended)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
}

static void no_connection_comes_about_while_a_direction_is_cut(void **state)
{
    struct fixture *f = *state;

    lab_relays_cut(f->relays, 2, 1, true);
    dial(f);
    for (int i = 0; i < 50; i++)
        (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_null(f->two.sock);
    lab_relays_cut(f->relays, 2, 1, false);
    while (f->two.sock == NULL)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    wait_for_bytes(f, &f->two, HELLO_SIZE);
}

static void a_delay_keeps_the_order(void **state)
{
    struct fixture *f = *state;
    uint64_t began;

    wait_for_connection(f);
    lab_relays_delay(f->relays, 1, 2, 30);
    uv_update_time(&f->loop);
    began = uv_now(&f->loop);
    say(&f->one, "slow");
    let_time_pass(f);
    lab_relays_delay(f->relays, 1, 2, 0);
    say(&f->one, "fast");
    wait_for_bytes(f, &f->two, 8);
    assert_got(&f->two, "slowfast");
    assert_true(uv_now(&f->loop) - began >= 30);
}

static void a_thin_link_delivers_so_much_and_takes_no_more(void **state)
{
    struct fixture *f = *state;
    char text[2001];
    uint64_t began;

    wait_for_connection(f);
    lab_relays_thin(f->relays, 1, 2, 10000);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    uv_update_time(&f->loop);
    began = uv_now(&f->loop);
    say(&f->one, text);
    say(&f->two, "back");
    wait_for_bytes(f, &f->one, 4); /* the other way is as it was */
    wait_for_bytes(f, &f->two, 2000);
    assert_got(&f->two, text);
    assert_true(uv_now(&f->loop) - began >= 180); /* all but the last piece had to get through */
    buf_reset(&f->two.got);
    lab_relays_thin(f->relays, 1, 2, 1);
    say(&f->one, text);
    let_time_pass(f);
    assert_true(lab_relays_bytes(f->relays, 1, 2) <= HELLO_SIZE + 2001);
    lab_relays_thin(f->relays, 1, 2, 0); /* what waited comes at once */
    wait_for_bytes(f, &f->two, 2000);
    assert_got(&f->two, text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(bytes_go_both_ways_and_are_counted_by_pair),
        TEST(a_cut_holds_one_direction_back_and_loses_nothing),
        TEST(the_end_of_a_connection_does_not_pass_a_cut),
        TEST(no_connection_comes_about_while_a_direction_is_cut),
        TEST(a_delay_keeps_the_order),
        TEST(a_thin_link_delivers_so_much_and_takes_no_more),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
