/* Probes and information pages over a real socket: net's server in front, a fake member behind. The
 * client is a plain socket in the same thread. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "base/version.h"
#include "server/http.h"

enum { ANSWER_MAX = 1 << 20, TURNS_MAX = 1000 };

/* ---- the member: answers reads when the test says so ---- */

struct member {
    struct member_info info;
    struct member_read *reading;
    bool hold; /* reads wait for finish_read() */
};

void member_info(const struct member *member, struct member_info *out)
{
    *out = member->info;
}

bool member_peer(const struct member *member, size_t n, uint64_t *id, struct peer_stats *out)
{
    (void)member;
    (void)n;
    (void)id;
    (void)out;
    return false;
}

static char *fake_urls[] = {(char[]){"http://127.0.0.1:1"}};
static const struct machine_member fake_table[] = {
    {.id = 0xab, .name = (char[]){"a \"quoted\" one"}, .peer_urls = fake_urls, .peer_url_count = 1},
};

const struct machine_member *member_table(const struct member *member, size_t *len)
{
    (void)member;
    *len = ARRAY_LEN(fake_table);
    return fake_table;
}

const struct machine_alarm *member_alarms(const struct member *member, size_t *len)
{
    (void)member;
    *len = 0;
    return NULL;
}

const char *member_name(const struct member *member)
{
    (void)member;
    return "m1";
}

void member_read_start(struct member *member, struct member_read *read)
{
    assert_null(member->reading);
    member->reading = read;
}

void member_read_cancel(struct member *member, struct member_read *read)
{
    assert_ptr_equal(member->reading, read);
    member->reading = NULL;
}

static void finish_read(struct member *member, int status)
{
    struct member_read *read = member->reading;

    assert_non_null(read);
    member->reading = NULL;
    read->cb(read, status);
}

/* ---- the fixture ---- */

static const struct grpc_method methods[] = {
    {.service = "etcdserverpb.KV", .name = "Range", .kind = GRPC_UNARY},
};

struct fixture {
    uv_loop_t loop;
    uv_timer_t guard; /* a hanging test fails instead */
    struct net_server *server;
    struct member member;
    struct metrics metrics;
    struct http *http;
    int cancels;
    int fd;           /* of the client */
    const char *host; /* it asks for */
    char answer[ANSWER_MAX];
    int status;
    char *body;
};

static void on_http(void *ctx, struct http_request *request)
{
    struct fixture *f = ctx;

    http_on_request(f->http, request);
}

static void on_http_cancel(void *ctx, struct http_request *request)
{
    struct fixture *f = ctx;

    f->cancels++;
    http_on_cancel(f->http, request);
}

static void on_guard(uv_timer_t *timer)
{
    (void)timer;
    print_error("nothing happened for ten seconds\n");
    abort();
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct net_server_options options = {
        .loop = &f->loop, .ctx = f, .on_http = on_http, .on_http_cancel = on_http_cancel};
    struct net_addr addr = {.host = "127.0.0.1", .port = 0};
    struct err err = ERR_INIT;

    f->fd = -1;
    f->host = "localhost";
    f->member.info.raft.leader = 1;
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(uv_timer_init(&f->loop, &f->guard), 0);
    assert_int_equal(uv_timer_start(&f->guard, on_guard, 10000, 0), 0);
    metrics_init(&f->metrics, methods, ARRAY_LEN(methods), true);
    f->http = http_new(&f->member, &f->metrics);
    assert_int_equal(net_server_new(&options, &f->server, &err), 0);
    assert_int_equal(net_server_listen(f->server, &addr, NULL, &err), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->fd >= 0)
        (void)close(f->fd);
    net_server_close(f->server, NULL, NULL);
    uv_close((uv_handle_t *)&f->guard, NULL);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    http_free(f->http);
    metrics_release(&f->metrics);
    free(f);
    return 0;
}

/* ---- the client ---- */

static void send_with(struct fixture *f, const char *method, const char *target, const char *fields)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(net_server_port(f->server, 0)),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char request[1024];
    int len = snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", method,
                       target, f->host, fields);

    if (f->fd >= 0)
        (void)close(f->fd);
    f->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(f->fd >= 0);
    assert_int_equal(connect(f->fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(send(f->fd, request, (size_t)len, MSG_NOSIGNAL), len);
}

static void send_request(struct fixture *f, const char *method, const char *target)
{
    send_with(f, method, target, "");
}

/* One loop turn, as a member makes it. */
static void turn(struct fixture *f)
{
    (void)uv_run(&f->loop, UV_RUN_ONCE);
    net_server_flush(f->server);
}

/* Whether the answer so far is whole; then sets status and body. */
static bool is_whole(struct fixture *f, size_t len)
{
    char *end = strstr(f->answer, "\r\n\r\n");
    char *length;
    size_t body;

    if (end == NULL)
        return false;
    length = strcasestr(f->answer, "\r\nContent-Length: ");
    assert_non_null(length);
    assert_true(length < end);
    body = strtoul(length + strlen("\r\nContent-Length: "), NULL, 10);
    if (len < (size_t)(end + 4 - f->answer) + body)
        return false;
    assert_int_equal(len, (size_t)(end + 4 - f->answer) + body);
    f->body = end + 4;
    assert_int_equal(sscanf(f->answer, "HTTP/1.1 %d", &f->status), 1);
    return true;
}

static void read_answer(struct fixture *f)
{
    size_t len = 0;

    f->answer[0] = '\0';
    for (int i = 0; i < TURNS_MAX; i++) {
        ssize_t n = recv(f->fd, f->answer + len, ANSWER_MAX - 1 - len, MSG_DONTWAIT);

        if (n > 0) {
            len += (size_t)n;
            f->answer[len] = '\0';
            if (is_whole(f, len))
                return;
            continue;
        }
        assert_true(n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK));
        if (f->member.reading != NULL && !f->member.hold) {
            finish_read(&f->member, 0);
            net_server_flush(f->server);
        } else {
            turn(f);
        }
    }
    fail_msg("no answer");
}

static void request(struct fixture *f, const char *method, const char *target)
{
    send_request(f, method, target);
    read_answer(f);
}

static void get(struct fixture *f, const char *target)
{
    request(f, "GET", target);
}

static bool has_header(const struct fixture *f, const char *line)
{
    const char *at = strcasestr(f->answer, line);

    return at != NULL && at < f->body && at[-1] == '\n' && at[strlen(line)] == '\r';
}

static size_t count_in_head(const struct fixture *f, const char *part)
{
    size_t count = 0;

    for (const char *at = f->answer; (at = strstr(at, part)) != NULL && at < f->body; at++)
        count++;
    return count;
}

/* Sends a request and makes the member's read point fail. */
static void get_with_failing_read(struct fixture *f, const char *target, int status)
{
    send_request(f, "GET", target);
    for (int i = 0; f->member.reading == NULL && i < TURNS_MAX; i++)
        turn(f);
    finish_read(&f->member, status);
    net_server_flush(f->server);
    read_answer(f);
}

/* ---- /health ---- */

static void health_is_true_after_a_linearizable_read(void **state)
{
    struct fixture *f = *state;

    f->member.hold = true;
    send_request(f, "GET", "/health");
    for (int i = 0; f->member.reading == NULL && i < TURNS_MAX; i++)
        turn(f);
    assert_int_equal(f->metrics.health_success, 0);
    finish_read(&f->member, 0);
    net_server_flush(f->server);
    read_answer(f);
    assert_int_equal(f->status, 200);
    assert_string_equal(f->body, "{\"health\":\"true\",\"reason\":\"\"}");
    assert_true(has_header(f, "Content-Type: text/plain; charset=utf-8"));
    assert_int_equal(f->metrics.health_success, 1);
}

static void health_without_a_leader_is_false_at_once(void **state)
{
    struct fixture *f = *state;

    f->member.hold = true;
    f->member.info.raft.leader = 0;
    get(f, "/health");
    assert_int_equal(f->status, 503);
    assert_string_equal(f->body, "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n");
    assert_true(has_header(f, "X-Content-Type-Options: nosniff"));
    assert_int_equal(f->metrics.health_failures, 1);
}

static void serializable_health_needs_no_leader(void **state)
{
    struct fixture *f = *state;

    f->member.hold = true;
    f->member.info.raft.leader = 0;
    get(f, "/health?exclude=x&serializable=true");
    assert_int_equal(f->status, 200);
}

static void health_names_the_alarm_unless_it_is_excluded(void **state)
{
    struct fixture *f = *state;

    f->member.info.alarm_nospace = true;
    get(f, "/health");
    assert_int_equal(f->status, 503);
    assert_string_equal(f->body, "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n");
    get(f, "/health?exclude=NOSPACE&serializable=true");
    assert_int_equal(f->status, 200);
    get(f, "/health?exclude=%4eOSPACE");
    assert_int_equal(f->status, 200);
    get(f, "/health?exclude=NOSPAC&exclude=NOSPACEX&exclude=%4");
    assert_int_equal(f->status, 503);
    f->member.info.alarm_corrupt = true;
    get(f, "/health?exclude=NOSPACE");
    assert_string_equal(f->body, "{\"health\":\"false\",\"reason\":\"ALARM CORRUPT\"}\n");
    get(f, "/health?exclude=NOSPACE&exclude=CORRUPT");
    assert_int_equal(f->status, 200);
}

static void a_failed_read_makes_health_false_with_etcds_text(void **state)
{
    struct fixture *f = *state;

    get_with_failing_read(f, "/health", KV_ETIMEDOUT);
    assert_int_equal(f->status, 503);
    assert_string_equal(f->body, "{\"health\":\"false\",\"reason\":\"RANGE ERROR:etcdserver: "
                                 "request timed out\"}\n");
    get_with_failing_read(f, "/health", KV_ELEADERCHANGED);
    assert_string_equal(f->body, "{\"health\":\"false\",\"reason\":\"RANGE ERROR:etcdserver: "
                                 "leader changed\"}\n");
}

/* ---- /livez and /readyz ---- */

static void livez_asks_this_process_only(void **state)
{
    struct fixture *f = *state;

    f->member.hold = true;
    f->member.info.raft.leader = 0;
    f->member.info.alarm_nospace = f->member.info.alarm_corrupt = true;
    get(f, "/livez");
    assert_int_equal(f->status, 200);
    assert_string_equal(f->body, "ok\n");
    assert_true(has_header(f, "Content-Type: text/plain; charset=utf-8"));
    assert_true(has_header(f, "X-Content-Type-Options: nosniff"));
    get(f, "/livez?verbose");
    assert_string_equal(f->body, "[+]serializable_read ok\nok\n");
    assert_int_equal(f->metrics.checks[METRICS_LIVEZ_SERIALIZABLE_READ].success, 2);
}

static void readyz_lists_its_checks_in_order(void **state)
{
    struct fixture *f = *state;

    f->member.info.alarm_nospace = true; /* does not count here */
    get(f, "/readyz");
    assert_int_equal(f->status, 200);
    assert_string_equal(f->body, "ok\n");
    get(f, "/readyz?verbose=1");
    assert_string_equal(f->body, "[+]non_learner ok\n[+]data_corruption ok\n"
                                 "[+]serializable_read ok\n[+]linearizable_read ok\nok\n");
}

static void readyz_lists_failures_unasked(void **state)
{
    struct fixture *f = *state;

    f->member.info.is_learner = f->member.info.alarm_corrupt = true;
    get_with_failing_read(f, "/readyz", KV_ETIMEDOUT);
    assert_int_equal(f->status, 503);
    assert_string_equal(f->body, "[-]non_learner failed: not supported for learner\n"
                                 "[-]data_corruption failed: alarm activated: CORRUPT\n"
                                 "[+]serializable_read ok\n"
                                 "[-]linearizable_read failed: etcdserver: request timed out\n\n");
    assert_int_equal(f->metrics.checks[METRICS_READYZ_LINEARIZABLE_READ].error, 1);
    assert_int_equal(f->metrics.checks[METRICS_READYZ_SERIALIZABLE_READ].success, 1);
}

static void checks_can_be_excluded_and_asked_singly(void **state)
{
    struct fixture *f = *state;

    f->member.hold = true;
    f->member.info.alarm_corrupt = true;
    get(f, "/readyz?verbose&exclude=linearizable_read&exclude=data_corruption&exclude=nosuch");
    assert_int_equal(f->status, 200);
    assert_string_equal(f->body, "[+]non_learner ok\n[+]serializable_read ok\nok\n");
    get(f, "/readyz/data_corruption");
    assert_int_equal(f->status, 503);
    assert_string_equal(f->body, "[-]data_corruption failed: alarm activated: CORRUPT\n\n");
    get(f, "/readyz/serializable_read?verbose");
    assert_string_equal(f->body, "[+]serializable_read ok\nok\n");
    f->member.hold = false;
    get(f, "/readyz/linearizable_read");
    assert_string_equal(f->body, "ok\n");
}

static void a_client_that_leaves_takes_its_read_with_it(void **state)
{
    static const char *const targets[] = {"/health", "/readyz?verbose"};
    struct fixture *f = *state;

    f->member.hold = true;
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        send_request(f, "GET", targets[i]);
        for (int n = 0; f->member.reading == NULL && n < TURNS_MAX; n++)
            turn(f);
        assert_non_null(f->member.reading);
        assert_int_equal(close(f->fd), 0);
        f->fd = -1;
        for (int n = 0; f->member.reading != NULL && n < TURNS_MAX; n++)
            turn(f);
        assert_null(f->member.reading);
        assert_int_equal(f->cancels, (int)i + 1);
    }
}

static void closing_the_server_takes_waiting_reads_with_it(void **state)
{
    struct fixture *f = *state;

    f->member.hold = true;
    send_request(f, "GET", "/health");
    for (int n = 0; f->member.reading == NULL && n < TURNS_MAX; n++)
        turn(f);
    assert_int_equal(teardown(state), 0); /* ASan sees what is left */
    assert_int_equal(setup(state), 0);
}

/* ---- the rest ---- */

static void version_is_etcds_json_with_our_own_added(void **state)
{
    struct fixture *f = *state;

    get(f, "/version");
    assert_int_equal(f->status, 200);
    assert_true(has_header(f, "Content-Type: application/json"));
    assert_string_equal(
        f->body, "{\"etcdserver\":\"" ETCD_API_VERSION "\",\"etcdcluster\":\"" ETCD_CLUSTER_VERSION
                 "\",\"storage\":\"" ETCD_CLUSTER_VERSION "\",\"kvd\":\"" KVD_VERSION "\"}");
}

static void metrics_are_prometheus_text(void **state)
{
    struct fixture *f = *state;

    get(f, "/metrics");
    assert_int_equal(f->status, 200);
    assert_true(has_header(f, "Content-Type: text/plain; version=0.0.4; charset=utf-8"));
    assert_non_null(strstr(f->body, "\netcd_server_has_leader 1\n"));
    assert_non_null(strstr(f->body, "\nprocess_open_fds "));
}

static void the_root_names_us_and_the_endpoints(void **state)
{
    struct fixture *f = *state;

    get(f, "/");
    assert_int_equal(f->status, 200);
    assert_memory_equal(f->body, "kvd " KVD_VERSION, strlen("kvd " KVD_VERSION));
    assert_non_null(strstr(f->body, "/health"));
}

static void a_browser_gets_a_page_at_the_root(void **state)
{
    struct fixture *f = *state;

    send_with(f, "GET", "/", "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n");
    read_answer(f);
    assert_int_equal(f->status, 200);
    assert_true(has_header(f, "Content-Type: text/html; charset=utf-8"));
    assert_non_null(strstr(f->body, "<html"));
    assert_non_null(strstr(f->body, "</html>"));
}

static void the_status_is_json_whatever_names_members_have(void **state)
{
    struct fixture *f = *state;
    struct json_object *status, *value;

    f->member.info.member_id = UINT64_MAX;
    f->member.info.raft.commit_index = 12;
    get(f, "/kvd/status");
    assert_int_equal(f->status, 200);
    assert_true(has_header(f, "Content-Type: application/json"));
    status = json_tokener_parse(f->body);
    assert_non_null(status);
    assert_true(json_object_object_get_ex(status, "member_id", &value));
    assert_string_equal(json_object_get_string(value), "ffffffffffffffff");
    assert_true(json_object_object_get_ex(status, "commit_index", &value));
    assert_int_equal(json_object_get_int64(value), 12);
    assert_true(json_object_object_get_ex(status, "members", &value));
    value = json_object_array_get_idx(value, 0);
    assert_true(json_object_object_get_ex(value, "name", &value));
    assert_string_equal(json_object_get_string(value), "a \"quoted\" one");
    assert_int_equal(json_object_put(status), 1);
}

static void unknown_paths_are_not_found(void **state)
{
    static const char *const targets[] = {
        "/nosuch",       "/health/", "/readyz/nosuch",     "/livez/linearizable_read",
        "/readyz/",      "/Health",  "/debug/pprof/",      "/livezserializable_read",
        "/readyz/a%00b", "//",       "/metrics/x?verbose", "/livez/serializable_read/",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        get(f, targets[i]);
        /* A NUL in a path may also be refused as malformed. */
        if (strstr(targets[i], "%00") != NULL && f->status == 400)
            continue;
        assert_int_equal(f->status, 404);
        assert_string_equal(f->body, "404 page not found\n");
        assert_true(has_header(f, "Content-Type: text/plain; charset=utf-8"));
    }
}

static void only_get_is_allowed(void **state)
{
    static const char *const targets[] = {"/health", "/livez", "/readyz", "/version",
                                          "/readyz/non_learner"};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        request(f, "PUT", targets[i]);
        assert_int_equal(f->status, 405);
        assert_true(has_header(f, "Allow: GET"));
        assert_string_equal(f->body, "Method Not Allowed\n");
    }
}

static void every_answer_allows_other_origins(void **state)
{
    static const struct {
        const char *method, *target;
        int status;
    } rows[] = {
        {"GET", "/version", 200}, {"GET", "/nosuch", 404},     {"DELETE", "/health", 405},
        {"GET", "/livez", 200},   {"OPTIONS", "/health", 200}, {"OPTIONS", "/v3/kv/range", 200},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        request(f, rows[i].method, rows[i].target);
        assert_int_equal(f->status, rows[i].status);
        assert_true(has_header(f, "Access-Control-Allow-Origin: *"));
        assert_true(has_header(f, "Access-Control-Allow-Methods: POST, GET, OPTIONS, PUT, DELETE"));
        assert_true(
            has_header(f, "Access-Control-Allow-Headers: accept, content-type, authorization"));
        /* A browser refuses an answer that says it twice. */
        assert_int_equal(count_in_head(f, "Access-Control-Allow-"), 3);
        if (strcmp(rows[i].method, "OPTIONS") == 0)
            assert_string_equal(f->body, "");
    }
}

static void without_metrics_only_their_page_is_missing(void **state)
{
    struct fixture *f = *state;

    http_free(f->http);
    f->http = http_new(&f->member, NULL);
    get(f, "/health");
    assert_int_equal(f->status, 200);
    get(f, "/readyz");
    assert_int_equal(f->status, 200);
    f->member.info.alarm_corrupt = true;
    get(f, "/health");
    assert_int_equal(f->status, 503);
    get(f, "/metrics");
    assert_int_equal(f->status, 404);
}

/* A page whose own name was made to point here asks for that name. */
static void only_listed_hosts_are_answered(void **state)
{
    static const struct {
        const char *list, *host;
        int status;
    } rows[] = {
        {"", "evil.example", 200},
        {"*", "evil.example", 200},
        {"a.example,*", "evil.example", 200},
        {"a.example", "a.example", 200},
        {"a.example", "A.example:2379", 200},
        {"b.example, a.example", "a.example", 200},
        {"a.example,::1", "[::1]:2379", 200},
        {"a.example,::1", "[::1]", 200},
        {"a.example", "evil.example", 421},
        {"a.example", "a.example.evil:1", 421},
        {"a.example", "[a.example", 421},
        {"a.example", "", 421},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        http_configure(f->http, NULL, rows[i].list, true);
        f->host = rows[i].host;
        get(f, "/version");
        if (f->status != rows[i].status)
            fail_msg("'%s' with '%s': %d", rows[i].host, rows[i].list, f->status);
    }
}

static void list_of_origins_is_split_for_the_server(void **state)
{
    struct fixture *f = *state;

    assert_null(http_cors_origins(f->http));
    http_configure(f->http, "*", NULL, true);
    assert_null(http_cors_origins(f->http));
    http_configure(f->http, "http://a.example,http://b.example:1", NULL, true);
    assert_string_equal(http_cors_origins(f->http)[0], "http://a.example");
    assert_string_equal(http_cors_origins(f->http)[1], "http://b.example:1");
    assert_null(http_cors_origins(f->http)[2]);
}

static void gateway_can_be_switched_off(void **state)
{
    struct fixture *f = *state;

    get(f, "/v3/nothing");
    assert_string_equal(f->body, "{\"code\":5,\"message\":\"Not Found\"}");
    http_configure(f->http, NULL, NULL, false);
    get(f, "/v3/nothing");
    assert_int_equal(f->status, 404);
    assert_string_equal(f->body, "404 page not found\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(health_is_true_after_a_linearizable_read, setup, teardown),
        cmocka_unit_test_setup_teardown(health_without_a_leader_is_false_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(serializable_health_needs_no_leader, setup, teardown),
        cmocka_unit_test_setup_teardown(health_names_the_alarm_unless_it_is_excluded, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_failed_read_makes_health_false_with_etcds_text, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(livez_asks_this_process_only, setup, teardown),
        cmocka_unit_test_setup_teardown(readyz_lists_its_checks_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(readyz_lists_failures_unasked, setup, teardown),
        cmocka_unit_test_setup_teardown(checks_can_be_excluded_and_asked_singly, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_leaves_takes_its_read_with_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(closing_the_server_takes_waiting_reads_with_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(version_is_etcds_json_with_our_own_added, setup, teardown),
        cmocka_unit_test_setup_teardown(metrics_are_prometheus_text, setup, teardown),
        cmocka_unit_test_setup_teardown(the_root_names_us_and_the_endpoints, setup, teardown),
        cmocka_unit_test_setup_teardown(a_browser_gets_a_page_at_the_root, setup, teardown),
        cmocka_unit_test_setup_teardown(the_status_is_json_whatever_names_members_have, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(unknown_paths_are_not_found, setup, teardown),
        cmocka_unit_test_setup_teardown(only_get_is_allowed, setup, teardown),
        cmocka_unit_test_setup_teardown(every_answer_allows_other_origins, setup, teardown),
        cmocka_unit_test_setup_teardown(without_metrics_only_their_page_is_missing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(only_listed_hosts_are_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(list_of_origins_is_split_for_the_server, setup, teardown),
        cmocka_unit_test_setup_teardown(gateway_can_be_switched_off, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
