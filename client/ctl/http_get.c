#include "client/ctl/http_get.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/sock.h"

struct get {
    uv_loop_t loop;
    uv_timer_t timer;
    struct net_sock *sock;
    struct buf *out;
    struct err *err;
    int rc;
    bool over;
};

static void finish(struct get *get, int rc)
{
    if (!get->over)
        get->rc = rc;
    get->over = true;
    uv_stop(&get->loop);
}

static void on_connect(void *ctx, int status, const struct err *err)
{
    struct get *get = ctx;

    if (status != 0)
        finish(get, err_set(get->err, status, "%s", err->text));
}

static void on_read(void *ctx, struct slice bytes)
{
    struct get *get = ctx;

    if (buf_append(get->out, bytes.data, bytes.len) != 0)
        finish(get, err_set(get->err, KV_ETOOBIG, "the answer is too large"));
}

/* An answer of HTTP/1.0 is over when the connection is. Some close TLS without a word; that the
 * headers are whole is checked by who reads them. */
static void on_end(void *ctx, int status)
{
    struct get *get = ctx;

    if (status != 0 && get->out->len == 0)
        finish(get, err_set(get->err, KV_ECONN, "the connection broke before there was an answer"));
    else
        finish(get, 0);
}

static void on_timeout(uv_timer_t *timer)
{
    finish(timer->data,
           err_set(((struct get *)timer->data)->err, KV_ETIMEDOUT, "no answer in time"));
}

static int ask(struct get *get, const struct net_addr *addr, struct net_tls *tls, const char *path,
               uint64_t timeout_ms)
{
    static const struct net_sock_events events = {
        .on_connect = on_connect, .on_read = on_read, .on_end = on_end};
    char host[300];
    char *head;
    int rc = net_sock_connect(&get->loop, addr, tls, &events, get, &get->sock, get->err);

    if (rc != 0)
        return rc;
    /* 1.0: nothing comes in chunks */
    head = xasprintf("GET %s HTTP/1.0\r\nHost: %s\r\nUser-Agent: kvctl\r\n\r\n", path,
                     net_addr_format(addr, host, sizeof host));
    rc = net_sock_write(get->sock, slice_str(head));
    free(head);
    if (rc != 0)
        return err_set(get->err, rc, "sending the request failed");
    (void)uv_timer_init(&get->loop, &get->timer);
    get->timer.data = get;
    (void)uv_timer_start(&get->timer, on_timeout, timeout_ms, 0);
    if (!get->over)
        (void)uv_run(&get->loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&get->timer, NULL);
    return get->rc;
}

/* Leaves the body alone in out. */
static int strip_head(struct buf *out, struct err *err)
{
    const uint8_t *end = memmem(out->data, out->len, "\r\n\r\n", 4);
    size_t head;

    if (end == NULL || out->len < 12 || memcmp(out->data, "HTTP/1.", 7) != 0)
        return err_set(err, KV_EPROTO, "the answer is not HTTP");
    if (memcmp(out->data + 8, " 200", 4) != 0)
        return err_set(err, KV_EPROTO, "the server answered %.*s",
                       (int)strcspn((const char *)out->data, "\r"), (const char *)out->data);
    head = (size_t)(end - out->data) + 4;
    memmove(out->data, out->data + head, out->len - head);
    out->len -= head;
    return 0;
}

int http_get(const char *endpoint, const char *path, const struct net_tls_options *tls_options,
             uint64_t timeout_ms, struct buf *out, struct err *err)
{
    struct get get = {.out = out, .err = err};
    struct net_tls_options options = {.cert_file = NULL};
    struct net_tls *tls = NULL;
    struct net_addr addr;
    int rc = net_addr_parse(endpoint, &addr, err);

    if (rc != 0)
        return rc;
    if (tls_options != NULL)
        options = *tls_options;
    if (tls_options != NULL && strstr(endpoint, "://") == NULL)
        addr.tls = true;
    options.alpn = NET_TLS_NO_ALPN;
    if (addr.tls)
        rc = net_tls_new(&options, &tls, err);
    if (rc != 0)
        return rc;
    if (uv_loop_init(&get.loop) != 0) {
        rc = err_set(err, KV_EIO, "no event loop: too many open files?");
        goto out;
    }
    rc = ask(&get, &addr, tls, path, timeout_ms);
    if (get.sock != NULL)
        net_sock_close(get.sock, NULL, NULL);
    (void)uv_run(&get.loop, UV_RUN_DEFAULT); /* until all is closed */
    (void)uv_loop_close(&get.loop);
    if (rc == 0)
        rc = strip_head(out, err);
out:
    net_tls_unref(tls);
    return rc;
}
