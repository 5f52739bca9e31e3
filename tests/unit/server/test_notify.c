/* The readiness protocol, seen from the manager's side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/notify.h"

/* Listens at name, '@' standing for the abstract namespace, and points NOTIFY_SOCKET at it. */
static int listen_at(const char *name)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    memcpy(addr.sun_path, name, len);
    if (name[0] == '@')
        addr.sun_path[0] = '\0';
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
                     0);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    return fd;
}

static void assert_heard(int fd, const char *text)
{
    char heard[64];
    ssize_t len = recv(fd, heard, sizeof heard, MSG_DONTWAIT);

    assert_int_equal(len, (ssize_t)strlen(text));
    assert_memory_equal(heard, text, strlen(text));
}

static void the_manager_hears_at_a_path_and_at_an_abstract_name(void **state)
{
    char dir[] = "/tmp/kvd-test-notify-XXXXXX";
    char path[64], name[64];
    int fd;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/socket", dir);
    fd = listen_at(path);
    notify_manager("READY=1");
    assert_heard(fd, "READY=1");
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);

    (void)snprintf(name, sizeof name, "@kvd-test-notify-%d", (int)getpid());
    fd = listen_at(name);
    notify_manager("STOPPING=1");
    assert_heard(fd, "STOPPING=1");
    assert_int_equal(close(fd), 0);
}

static void without_a_manager_nothing_happens(void **state)
{
    static const char *const names[] = {"", "relative", "/nonexistent/socket"};
    char *long_name = malloc(4096);

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(setenv("NOTIFY_SOCKET", names[i], 1), 0);
        notify_manager("READY=1");
    }
    memset(long_name, '/', 4095);
    long_name[4095] = '\0';
    assert_int_equal(setenv("NOTIFY_SOCKET", long_name, 1), 0);
    notify_manager("READY=1");
    assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
    notify_manager("READY=1");
    free(long_name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_manager_hears_at_a_path_and_at_an_abstract_name),
        cmocka_unit_test(without_a_manager_nothing_happens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
