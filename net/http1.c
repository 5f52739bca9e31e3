/* HTTP/1.1: a strict, bounded parser and one request at a time per connection.
 *
 * Strict where lenience lets two parsers disagree on where a request ends (request smuggling): bare
 * LF, folded lines, space before a colon, Content-Length twice or beside Transfer-Encoding, any
 * coding but chunked are all refused. After an error the connection is of no more use and closes.
 *
 *     HEAD ──▶ BODY ───────────────────────▶ SERVICE ──▶ HEAD ...
 *        └───▶ CHUNK_SIZE ◀──▶ CHUNK_DATA     ▲    └───▶ OVER
 *                 └──▶ TRAILERS ──────────────┘ */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/http1_internal.h"

enum {
    INPUT_MAX = 4 * 1024 * 1024, /* never reached: reading stops at INPUT_HIGH */
    INPUT_HIGH = 64 * 1024,
    CHUNK_LINE_MAX = 256,
    BODY_BYTES_PER_MS = 16, /* slower than 16 KiB/s is taken for an attack */
};

/* ---- life ---- */

static void begin_wait(struct h1 *h1)
{
    h1->since_ms = server__now(h1->conn->server);
}

void h1__open(struct net_conn *conn)
{
    struct h1 *h1 = xcalloc(1, sizeof *h1);

    conn->h1 = h1;
    h1->conn = conn;
    buf_init(&h1->in, INPUT_MAX);
    buf_init(&h1->out, SIZE_MAX / 2); /* one answer, and those are the service's to bound */
    http__init(&h1->request, conn, NULL);
    h1->request.fields = h1->fields;
    begin_wait(h1);
}

void h1__close(struct net_conn *conn)
{
    struct h1 *h1 = conn->h1;

    if (h1->state == H1_SERVICE) {
        conn->server->calls--;
        http__cancel(&h1->request);
    }
    h1_socket__free(h1->socket);
    http__release(&h1->request);
    buf_release(&h1->in);
    buf_release(&h1->out);
    free(h1);
    conn->h1 = NULL;
}

size_t h1__unsent(const struct net_conn *conn)
{
    return conn->h1->out.len - conn->h1->out_sent;
}

bool h1__input_full(const struct net_conn *conn)
{
    return conn->h1->state == H1_SERVICE && conn->h1->in.len > INPUT_HIGH;
}

/* In pieces as the kernel takes them: a big answer is not copied as a whole once more. */
void h1__flush(struct net_conn *conn)
{
    struct h1 *h1 = conn->h1;

    while (h1__unsent(conn) > 0 && net_sock_pending(conn->sock) <= SOCK_PENDING_HIGH) {
        size_t n = MIN(h1__unsent(conn), (size_t)SCRATCH_SIZE);

        if (!conn__write(conn, slice_of(h1->out.data + h1->out_sent, n)))
            return;
        h1->out_sent += n;
    }
    if (h1__unsent(conn) > 0)
        return; /* on_drain comes back here */
    if (conn->progress_ms != 0)
        conn->progress_ms = server__now(conn->server);
    h1->out_sent = 0;
    buf_reset(&h1->out);
    if (h1->out.cap > INPUT_HIGH)
        buf_release(&h1->out);
    if (h1->drain_due && net_sock_pending(conn->sock) == 0)
        server__set_due(conn->server, &conn->timed, server__now(conn->server)); /* h1__on_due() */
}

/* ---- input ---- */

const uint8_t *h1__at(const struct h1 *h1)
{
    return h1->pos == 0 ? h1->in.data : h1->in.data + h1->pos;
}

size_t h1__left(const struct h1 *h1)
{
    return h1->in.len - h1->pos;
}

static void skip(struct h1 *h1, size_t len)
{
    h1->pos += len;
}

/* ---- answers ---- */

static void add_field(struct buf *out, struct slice name, struct slice value)
{
    (void)buf_append(out, name.data, name.len); /* out has no bound to hit */
    (void)buf_append(out, ": ", 2);
    (void)buf_append(out, value.data, value.len);
    (void)buf_append(out, "\r\n", 2);
}

static bool has_body(const struct http_request *request, int status)
{
    return strcmp(request->method, "HEAD") != 0 && status != 204 && status != 304;
}

/* The status line and all fields but those that say where the body ends. */
static void write_head(struct h1 *h1, int status, const char *content_type)
{
    struct http_field fields[HTTP_ANSWER_FIELDS_MAX];
    size_t count = http__answer_fields(&h1->request, fields);
    const struct http_request *request = &h1->request;

    (void)buf_printf(&h1->out, "HTTP/1.1 %d %s\r\n", status, http__reason(status));
    for (size_t i = 0; i < count; i++)
        add_field(&h1->out, fields[i].name, fields[i].value);
    add_field(&h1->out, slice_str("Date"), slice_str(server__date(h1->conn->server)));
    if (content_type != NULL)
        add_field(&h1->out, slice_str("Content-Type"), slice_str(content_type));
    if (!request->keep_alive)
        add_field(&h1->out, slice_str("Connection"), slice_str("close"));
    else if (request->minor_0)
        add_field(&h1->out, slice_str("Connection"), slice_str("keep-alive"));
}

static void write_answer(struct h1 *h1, int status, const char *content_type, struct slice body)
{
    write_head(h1, status, content_type);
    if (status != 204 && status != 304)
        (void)buf_printf(&h1->out, "Content-Length: %zu\r\n", body.len);
    (void)buf_append(&h1->out, "\r\n", 2);
    if (has_body(&h1->request, status))
        (void)buf_append(&h1->out, body.data, body.len);
    conn__mark_dirty(h1->conn);
}

/* The input cannot be trusted to hold another request. */
static void fail(struct h1 *h1, int status, const char *text)
{
    const struct net_server_options *options = &h1->conn->server->options;
    char body[128];

    h1->request.keep_alive = false;
    (void)snprintf(body, sizeof body, "%d %s: %s\n", status, http__reason(status), text);
    if (status == 413 && options->too_large_body != NULL)
        write_answer(h1, status, options->too_large_type, slice_str(options->too_large_body));
    else
        write_answer(h1, status, "text/plain; charset=utf-8", slice_str(body));
    h1->state = H1_OVER;
    conn__linger(h1->conn, true);
}

void h1__end_over(struct h1 *h1, bool input_unread)
{
    h1->conn->server->calls--;
    h1->drain_due = false;
    h1->state = H1_OVER;
    conn__linger(h1->conn, input_unread);
}

/* The answer is written; makes ready for the next request or for the end. */
static void end_request(struct h1 *h1)
{
    struct http_request *request = &h1->request;
    struct net_conn *conn = h1->conn;

    if (!request->keep_alive) {
        h1__end_over(h1, h1__left(h1) > 0 || conn->paused);
        return;
    }
    conn->server->calls--;
    h1->drain_due = false;
    http__reset(request);
    h1->state = H1_HEAD;
    h1->scanned = h1->line_start = 0;
    begin_wait(h1);
    if (h1->parsing)
        return; /* the loop below us goes on */
    if (h1->in.len > 0)
        server__set_due(conn->server, &conn->timed, server__now(conn->server)); /* pipelined */
    else
        conn__rearm(conn);
}

void h1__reply(struct http_request *request, int status, const char *content_type,
               struct slice body)
{
    struct h1 *h1 = CONTAINER_OF(request, struct h1, request);

    ASSERT(h1->state == H1_SERVICE);
    if (h1->conn->server->draining)
        request->keep_alive = false;
    write_answer(h1, status, content_type, body);
    end_request(h1);
}

/* HTTP/1.0 knows no chunks: there the body ends with the connection. */
void h1__reply_begin(struct http_request *request, int status, const char *content_type, size_t len)
{
    struct h1 *h1 = CONTAINER_OF(request, struct h1, request);

    ASSERT(h1->state == H1_SERVICE);
    ASSERT(has_body(request, status));
    if (h1->conn->server->draining || (request->minor_0 && !request->sized))
        request->keep_alive = false;
    write_head(h1, status, content_type);
    if (request->sized)
        (void)buf_printf(&h1->out, "Content-Length: %zu\r\n", len);
    else if (!request->minor_0)
        add_field(&h1->out, slice_str("Transfer-Encoding"), slice_str("chunked"));
    (void)buf_append(&h1->out, "\r\n", 2);
    h1->drain_due = true; /* who looks at http_reply_queued() now waits for it */
    conn__mark_dirty(h1->conn);
}

uint8_t *h1__reply_space(struct http_request *request, size_t len)
{
    struct h1 *h1 = CONTAINER_OF(request, struct h1, request);

    (void)buf_reserve(&h1->out, len); /* out has no bound to hit */
    return h1->out.data + h1->out.len;
}

void h1__reply_space_send(struct http_request *request)
{
    struct h1 *h1 = CONTAINER_OF(request, struct h1, request);

    h1->out.len += request->space;
    h1->drain_due = true;
    conn__mark_dirty(h1->conn);
}

/* The length was told, or the end of the connection will tell it. */
static bool is_framed(const struct http_request *request)
{
    return !request->sized && !request->minor_0;
}

void h1__reply_chunk(struct http_request *request, struct slice bytes)
{
    struct h1 *h1 = CONTAINER_OF(request, struct h1, request);

    if (is_framed(request))
        (void)buf_printf(&h1->out, "%zx\r\n", bytes.len);
    (void)buf_append(&h1->out, bytes.data, bytes.len);
    if (is_framed(request))
        (void)buf_append(&h1->out, "\r\n", 2);
    h1->drain_due = true;
    conn__mark_dirty(h1->conn);
}

void h1__reply_end(struct http_request *request)
{
    struct h1 *h1 = CONTAINER_OF(request, struct h1, request);

    if (is_framed(request))
        (void)buf_append(&h1->out, "0\r\n\r\n", 5);
    if (h1->conn->server->draining)
        request->keep_alive = false; /* too late to say so, but not to do it */
    conn__mark_dirty(h1->conn);
    end_request(h1);
}

/* ---- heads ---- */

static bool is_token_char(uint8_t c)
{
    return isalnum(c) != 0 || (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!is_token_char(text.data[i]))
            return false;
    return text.len > 0;
}

static bool equals_nocase(struct slice value, const char *text)
{
    return value.len == strlen(text) && strncasecmp((const char *)value.data, text, value.len) == 0;
}

/* One of a comma-separated list. */
bool h1__has_item(struct slice list, const char *item)
{
    size_t start = 0;

    for (size_t i = 0; i <= list.len; i++) {
        size_t a = start, b = i;

        if (i < list.len && list.data[i] != ',')
            continue;
        while (a < b && (list.data[a] == ' ' || list.data[a] == '\t'))
            a++;
        while (b > a && (list.data[b - 1] == ' ' || list.data[b - 1] == '\t'))
            b--;
        if (equals_nocase(slice_of(list.data + a, b - a), item))
            return true;
        start = i + 1;
    }
    return false;
}

/* Returns an HTTP status to fail with, or 0. line is without its CRLF. */
static int parse_request_line(struct http_request *request, char *line, size_t len)
{
    char *target = memchr(line, ' ', len);
    char *version = target != NULL ? memrchr(line, ' ', len) : NULL;
    struct slice method;

    if (target == NULL || version == target)
        return 400;
    method = slice_of(line, (size_t)(target - line));
    if (!is_token(method) || method.len > 32)
        return 400;
    *target++ = '\0';
    *version++ = '\0';
    request->method = line;
    if (strncmp(version, "HTTP/", 5) != 0 || isdigit((unsigned char)version[5]) == 0)
        return 400;
    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
        return 505;
    request->minor_0 = version[7] == '0';
    if (http__set_target(request, slice_of(target, (size_t)(version - 1 - target))) != 0)
        return 400;
    if (strcmp(request->path, "*") == 0 && strcmp(request->method, "OPTIONS") != 0)
        return 400;
    return 0;
}

static int parse_field(char *line, size_t len, struct http_field *out)
{
    char *colon = memchr(line, ':', len);
    size_t a, b = len;

    if (colon == NULL || !is_token(slice_of(line, (size_t)(colon - line))))
        return 400; /* also a folded line: those start with a space */
    a = (size_t)(colon - line) + 1;
    while (a < b && (line[a] == ' ' || line[a] == '\t'))
        a++;
    while (b > a && (line[b - 1] == ' ' || line[b - 1] == '\t'))
        b--;
    for (size_t i = a; i < b; i++)
        if (((unsigned char)line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f)
            return 400;
    for (char *c = line; c < colon; c++)
        *c = (char)tolower((unsigned char)*c);
    out->name = slice_of(line, (size_t)(colon - line));
    out->value = slice_of(line + a, b - a);
    return 0;
}

/* head is in the request's arena and ends with an empty line. */
static int parse_head(struct http_request *request, char *head, size_t len)
{
    char *end = head + len;
    char *line = head;
    int status = 0;

    for (bool first = true; status == 0; first = false) {
        char *cr = memchr(line, '\n', (size_t)(end - line)) - 1;

        if (cr == line)
            return 0;
        if (first) {
            *cr = '\0';
            status = parse_request_line(request, line, (size_t)(cr - line));
        } else if (request->field_count == HEADER_FIELDS_MAX) {
            status = 431;
        } else {
            status =
                parse_field(line, (size_t)(cr - line), &request->fields[request->field_count++]);
        }
        line = cr + 2;
    }
    return status;
}

static int parse_length(struct slice value, uint64_t *out)
{
    uint64_t length = 0;

    if (value.len == 0)
        return 400;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return 400;
        if (length > UINT64_MAX / 100)
            return 413;
        length = length * 10 + (uint64_t)(value.data[i] - '0');
    }
    *out = length;
    return 0;
}

static size_t count_fields(const struct http_request *request, const char *name)
{
    size_t count = 0;

    for (size_t i = 0; i < request->field_count; i++)
        if (slice_eq(request->fields[i].name, slice_str(name)))
            count++;
    return count;
}

/* RFC 9112 section 6.3, without its allowances. */
static int find_body(struct h1 *h1)
{
    const struct http_request *request = &h1->request;
    size_t lengths = count_fields(request, "content-length");
    size_t codings = count_fields(request, "transfer-encoding");
    int status;

    h1->owed = 0;
    h1->state = H1_BODY;
    if (codings == 0 && lengths == 0)
        return 0;
    if (codings + lengths > 1)
        return 400;
    if (codings == 1) {
        if (request->minor_0)
            return 400;
        if (!equals_nocase(http_header(request, "transfer-encoding"), "chunked"))
            return 501;
        h1->state = H1_CHUNK_SIZE;
        return 0;
    }
    status = parse_length(http_header(request, "content-length"), &h1->owed);
    if (status == 0 && h1->owed > request->body.size_max)
        return 413;
    return status;
}

static int check_fields(struct h1 *h1)
{
    struct http_request *request = &h1->request;
    struct slice connection = http_header(request, "connection");
    struct slice expect = http_header(request, "expect");
    size_t hosts = count_fields(request, "host");

    if (hosts > 1 || (hosts == 0 && !request->minor_0))
        return 400;
    request->keep_alive = request->minor_0 ? h1__has_item(connection, "keep-alive")
                                           : !h1__has_item(connection, "close");
    if (expect.data != NULL && !equals_nocase(expect, "100-continue"))
        return 417;
    return 0;
}

static void fail_status(struct h1 *h1, int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {{400, "malformed request"},
                 {413, "body is too large"},
                 {417, "only 100-continue can be expected"},
                 {431, "more than 128 header fields or 16384 bytes"},
                 {501, "only chunked transfer encoding is known"},
                 {505, "only HTTP/1.0 and HTTP/1.1 are spoken here"}};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].status == status)
            fail(h1, status, texts[i].text);
}

/* Where the head ends in the input; 0: not yet; SIZE_MAX: it cannot be one. */
static size_t find_head_end(struct h1 *h1)
{
    for (;;) {
        const uint8_t *lf = h1->scanned < h1__left(h1)
                                ? memchr(h1__at(h1) + h1->scanned, '\n', h1__left(h1) - h1->scanned)
                                : NULL;
        size_t end;

        if (lf == NULL) {
            h1->scanned = h1__left(h1);
            return 0;
        }
        end = (size_t)(lf - h1__at(h1));
        if (end == 0 || h1__at(h1)[end - 1] != '\r')
            return SIZE_MAX;
        h1->scanned = end + 1;
        if (end - h1->line_start == 1)
            return end + 1;
        h1->line_start = end + 1;
    }
}

/* True if there is more to do with what is there; so all the steps below. */
static bool step_head(struct h1 *h1)
{
    struct http_request *request = &h1->request;
    size_t end;
    char *head;
    int status;

    if (h1->scanned == 0 && h1__left(h1) >= 2 && memcmp(h1__at(h1), "\r\n", 2) == 0) {
        skip(h1, 2); /* RFC 9112 section 2.2: some clients end a body with one */
        return h1__left(h1) > 0;
    }
    if (h1__left(h1) > 0 && h1__at(h1)[0] != '\r' && !is_token_char(h1__at(h1)[0])) {
        fail_status(h1, 400); /* TLS on a plain port, most likely: answer now, not by timeout */
        return false;
    }
    end = find_head_end(h1);
    if (end == SIZE_MAX) {
        fail_status(h1, 400);
        return false;
    }
    if (end > HEADER_BYTES_MAX || (end == 0 && h1__left(h1) > HEADER_BYTES_MAX)) {
        fail_status(h1, 431);
        return false;
    }
    if (end == 0)
        return false;
    head = memcpy(arena_alloc(request->arena, end), h1__at(h1), end);
    skip(h1, end);
    h1->scanned = 0;
    status = parse_head(request, head, end);
    if (status == 0)
        status = check_fields(h1);
    if (status == 0)
        status = find_body(h1);
    if (status != 0) {
        fail_status(h1, status);
        return false;
    }
    begin_wait(h1);
    if (http_header(request, "expect").data != NULL && !request->minor_0 && h1__left(h1) == 0 &&
        (h1->owed > 0 || h1->state == H1_CHUNK_SIZE)) {
        (void)buf_printf(&h1->out, "HTTP/1.1 100 Continue\r\n\r\n");
        conn__mark_dirty(h1->conn);
    }
    return true;
}

/* ---- bodies ---- */

static void serve(struct h1 *h1)
{
    h1->state = H1_SERVICE;
    h1->conn->server->calls++;
    http__dispatch(&h1->request);
}

static bool step_body(struct h1 *h1)
{
    size_t n = MIN(h1__left(h1), (size_t)h1->owed);

    if (buf_append(&h1->request.body, h1__at(h1), n) != 0) {
        fail_status(h1, 413);
        return false;
    }
    skip(h1, n);
    h1->owed -= n;
    if (h1->owed > 0)
        return false;
    serve(h1);
    return h1->state == H1_HEAD || h1->socket != NULL;
}

/* A line that ends with CRLF, at the start of the input; false if it is not there yet or wrong. */
static bool take_line(struct h1 *h1, size_t len_max, size_t *len)
{
    const uint8_t *lf = h1__left(h1) > 0 ? memchr(h1__at(h1), '\n', h1__left(h1)) : NULL;
    size_t end = lf != NULL ? (size_t)(lf - h1__at(h1)) : h1__left(h1);

    if (end > len_max || (lf != NULL && (end == 0 || lf[-1] != '\r'))) {
        fail_status(h1, 400);
        return false;
    }
    *len = end - 1;
    return lf != NULL;
}

/* chunk-size [ ";" extension ]: hexadecimal digits and nothing clever. */
static int parse_chunk_size(const uint8_t *line, size_t len, uint64_t *out)
{
    uint64_t size = 0;
    size_t i = 0;

    for (; i < len && isxdigit(line[i]) != 0; i++) {
        if (i == 8)
            return 413;
        size = size << 4 |
               (uint64_t)(isdigit(line[i]) != 0 ? line[i] - '0' : (line[i] | 0x20) - 'a' + 10);
    }
    if (i == 0 || (i < len && line[i] != ';'))
        return 400;
    for (; i < len; i++)
        if (line[i] < 0x20 || line[i] >= 0x7f)
            return 400;
    *out = size;
    return 0;
}

static bool step_chunk_size(struct h1 *h1)
{
    size_t len;
    uint64_t size;
    int status;

    if (!take_line(h1, CHUNK_LINE_MAX, &len))
        return false;
    status = parse_chunk_size(h1__at(h1), len, &size);
    if (status == 0 && size > h1->request.body.size_max - h1->request.body.len)
        status = 413;
    if (status != 0) {
        fail_status(h1, status);
        return false;
    }
    skip(h1, len + 2);
    h1->owed = size + 2;
    h1->trailer_bytes = 0;
    h1->state = size > 0 ? H1_CHUNK_DATA : H1_TRAILERS;
    return true;
}

static bool step_chunk_data(struct h1 *h1)
{
    if (h1->owed > 2) {
        size_t n = MIN(h1__left(h1), (size_t)h1->owed - 2);

        (void)buf_append(&h1->request.body, h1__at(h1), n); /* fits: checked with the size */
        skip(h1, n);
        h1->owed -= n;
    }
    if (h1->owed > 2 || h1__left(h1) < 2)
        return false;
    if (memcmp(h1__at(h1), "\r\n", 2) != 0) {
        fail_status(h1, 400);
        return false;
    }
    skip(h1, 2);
    h1->state = H1_CHUNK_SIZE;
    return true;
}

/* Trailer fields are checked, counted and thrown away: none of them is known here. */
static bool step_trailers(struct h1 *h1)
{
    struct http_field field;
    size_t len;

    if (!take_line(h1, HEADER_BYTES_MAX - h1->trailer_bytes, &len))
        return false;
    h1->trailer_bytes = MIN(h1->trailer_bytes + len + 2, (size_t)HEADER_BYTES_MAX);
    if (len > 0 && parse_field((char *)h1->in.data + h1->pos, len, &field) != 0) {
        fail_status(h1, 400);
        return false;
    }
    skip(h1, len + 2);
    if (len > 0)
        return true;
    serve(h1);
    return h1->state == H1_HEAD || h1->socket != NULL;
}

static bool step(struct h1 *h1)
{
    switch (h1->state) {
    case H1_HEAD:
        return h1__left(h1) > 0 && step_head(h1);
    case H1_BODY:
        return step_body(h1);
    case H1_CHUNK_SIZE:
        return step_chunk_size(h1);
    case H1_CHUNK_DATA:
        return step_chunk_data(h1);
    case H1_TRAILERS:
        return step_trailers(h1);
    case H1_SERVICE:
        return h1->socket != NULL && h1_socket__step(h1);
    case H1_OVER:
        break;
    }
    return false;
}

static void parse(struct h1 *h1)
{
    h1->parsing = true;
    while (step(h1))
        continue;
    h1->parsing = false;
    buf_consume(&h1->in, h1->pos);
    h1->pos = 0;
    if (h1->in.len == 0 && h1->in.cap > INPUT_HIGH)
        buf_release(&h1->in);
    if (h1__input_full(h1->conn))
        conn__mark_dirty(h1->conn); /* where reading is held back */
    if (h1->state != H1_OVER)
        conn__rearm(h1->conn);
}

void h1__read(struct net_conn *conn, struct slice bytes)
{
    struct h1 *h1 = conn->h1;

    if (h1->state == H1_HEAD && h1->in.len == 0)
        begin_wait(h1); /* the clock of a head starts with its first byte */
    if (buf_append(&h1->in, bytes.data, bytes.len) != 0) {
        conn__doom(conn);
        return;
    }
    parse(h1);
}

/* ---- deadlines ---- */

static bool all_out(const struct h1 *h1)
{
    return h1__unsent(h1->conn) == 0 && net_sock_pending(h1->conn->sock) == 0;
}

uint64_t h1__next_due(const struct net_conn *conn)
{
    const struct h1 *h1 = conn->h1;
    uint64_t timeout = conn->server->options.preface_timeout_ms;

    switch (h1->state) {
    case H1_HEAD:
        return h1->since_ms + timeout;
    case H1_BODY:
    case H1_CHUNK_SIZE:
    case H1_CHUNK_DATA:
    case H1_TRAILERS:
        return h1->since_ms + timeout + h1->request.body.len / BODY_BYTES_PER_MS;
    case H1_SERVICE:
        if (all_out(h1) && h1->drain_due)
            return server__now(conn->server);
        break;
    case H1_OVER:
        break;
    }
    return UINT64_MAX;
}

void h1__on_due(struct net_conn *conn)
{
    struct h1 *h1 = conn->h1;

    if (h1->state == H1_HEAD && h1->in.len > 0 && h1->scanned == 0) {
        parse(h1); /* pipelined behind an answer that came late */
        return;
    }
    if (h1->drain_due && all_out(h1)) {
        h1->drain_due = false;
        inner__on_drain(&h1->request);
        if (h1->socket != NULL && h1->state == H1_SERVICE && h1->in.len > 0)
            parse(h1);          /* it was held back */
        conn__mark_dirty(conn); /* and reading with it */
        return;
    }
    if (server__now(conn->server) < h1__next_due(conn))
        return;
    if (h1->state == H1_HEAD && h1->in.len == 0)
        conn__doom(conn); /* idle */
    else
        fail(h1, 408, "the request came too slowly");
}

void h1__drain(struct net_conn *conn)
{
    if (conn->h1->state == H1_HEAD && conn->h1->in.len == 0)
        conn__linger(conn, false);
}
