/* The answer to one call: headers, messages, trailers, and what they mean together. Everything here
 * was sent by somebody else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "net/client_internal.h"

enum {
    KEEP_SIZE = 4096,     /* larger buffers are not kept for the next call */
    TEXT_SIZE_MAX = 8192, /* of grpc-message; the rest is cut */
    OUT_SIZE_MAX = INT32_MAX,
};

static void buf_empty(struct buf *buf, size_t size_max)
{
    if (buf->cap > KEEP_SIZE)
        buf_release(buf);
    buf->len = 0;
    buf->size_max = size_max;
}

void grpc__stream_reset(struct grpc_stream *stream, size_t message_size_max)
{
    struct buf out = stream->out, in = stream->in, text = stream->text;

    buf_empty(&out, OUT_SIZE_MAX);
    buf_empty(&in, message_size_max + GRPC_FRAME_HEADER_SIZE);
    buf_empty(&text, TEXT_SIZE_MAX);
    memset(stream, 0, sizeof *stream);
    list_init(&stream->link);
    stream->status = -1;
    stream->out = out;
    stream->in = in;
    stream->text = text;
}

void grpc__stream_release(struct grpc_stream *stream)
{
    buf_release(&stream->out);
    buf_release(&stream->in);
    buf_release(&stream->text);
    if (stream->held != NULL) {
        for (size_t i = 0; i < stream->held->metadata_count; i++) {
            free((char *)stream->held->metadata[i].name);
            free((char *)stream->held->metadata[i].value);
        }
        free(stream->held->path);
        free(stream->held);
        stream->held = NULL;
    }
}

/* ---- headers ---- */

/* A decimal of at most three digits, or -1. */
static int small_number(struct slice text)
{
    int value = 0;

    if (text.len == 0 || text.len > 3)
        return -1;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return -1;
        value = value * 10 + (text.data[i] - '0');
    }
    return value;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* gRPC over HTTP/2, "Percent-Encoded": a wrong sequence is passed on as it is, never an error. */
static void decode_message(struct buf *out, struct slice value)
{
    buf_reset(out);
    for (size_t i = 0; i < value.len && out->len < TEXT_SIZE_MAX - 1; i++) {
        uint8_t c = value.data[i];

        if (c == '%' && i + 2 < value.len && hex_digit(value.data[i + 1]) >= 0 &&
            hex_digit(value.data[i + 2]) >= 0) {
            c = (uint8_t)(hex_digit(value.data[i + 1]) * 16 + hex_digit(value.data[i + 2]));
            i += 2;
        }
        (void)buf_append_u8(out, c); /* within the bound by the loop's condition */
    }
    (void)buf_append_u8(out, '\0');
}

static bool is_grpc_type(struct slice value)
{
    static const char type[] = "application/grpc";
    size_t len = sizeof type - 1;

    return value.len >= len && memcmp(value.data, type, len) == 0 &&
           (value.len == len || value.data[len] == '+' || value.data[len] == ';');
}

void grpc__stream_header(struct grpc_stream *stream, struct slice name, struct slice value)
{
    if (slice_eq(name, slice_str(":status"))) {
        stream->http_status = small_number(value);
    } else if (slice_eq(name, slice_str("content-type"))) {
        stream->is_grpc = is_grpc_type(value);
    } else if (slice_eq(name, slice_str("grpc-status"))) {
        int status = small_number(value);

        stream->status = status >= 0 && status < GRPC_STATUS_COUNT ? status : GRPC_UNKNOWN;
    } else if (slice_eq(name, slice_str("grpc-message"))) {
        decode_message(&stream->text, value);
    }
}

/* ---- messages ---- */

/* Checks the frame header at p; *size is that of the whole frame. */
static enum grpc_status check_frame(const struct grpc_stream *stream, const uint8_t *p,
                                    size_t *size, const char **why)
{
    if (p[0] != 0) {
        *why = "the server sent a compressed message although none was asked for";
        return GRPC_INTERNAL;
    }
    *size = GRPC_FRAME_HEADER_SIZE + (size_t)get_be32(p + 1);
    if (*size > stream->in.size_max) {
        *why = "the server sent a message larger than the limit";
        return GRPC_RESOURCE_EXHAUSTED;
    }
    return GRPC_OK;
}

static void deliver(struct grpc_stream *stream, const uint8_t *frame, size_t size)
{
    if (stream->events->on_message != NULL)
        stream->events->on_message(
            stream->ctx, slice_of(frame + GRPC_FRAME_HEADER_SIZE, size - GRPC_FRAME_HEADER_SIZE));
}

/* Takes from bytes what the incomplete message lacks: first its header, then the rest. */
static enum grpc_status complete(struct grpc_stream *stream, struct slice *bytes, const char **why)
{
    size_t size = GRPC_FRAME_HEADER_SIZE;
    enum grpc_status status;
    size_t take;

    if (stream->in.len >= GRPC_FRAME_HEADER_SIZE) {
        status = check_frame(stream, stream->in.data, &size, why);
        if (status != GRPC_OK)
            return status;
    }
    take = MIN(size - stream->in.len, bytes->len);
    ASSERT(buf_append(&stream->in, bytes->data, take) == 0); /* checked against its bound */
    *bytes = slice_of(bytes->data + take, bytes->len - take);
    if (stream->in.len < GRPC_FRAME_HEADER_SIZE)
        return GRPC_OK;
    status = check_frame(stream, stream->in.data, &size, why);
    if (status == GRPC_OK && stream->in.len == size) {
        deliver(stream, stream->in.data, size);
        buf_empty(&stream->in, stream->in.size_max);
    }
    return status;
}

/* Passes on what there is of a message, after its header. */
static enum grpc_status pass_on(struct grpc_stream *stream, struct slice *bytes, const char **why)
{
    size_t take, size;
    enum grpc_status status;

    if (stream->part_left == 0) {
        take = MIN(GRPC_FRAME_HEADER_SIZE - stream->in.len, bytes->len);
        ASSERT(buf_append(&stream->in, bytes->data, take) == 0); /* below its bound */
        *bytes = slice_of(bytes->data + take, bytes->len - take);
        if (stream->in.len < GRPC_FRAME_HEADER_SIZE)
            return GRPC_OK;
        status = check_frame(stream, stream->in.data, &size, why);
        if (status != GRPC_OK)
            return status;
        buf_reset(&stream->in);
        stream->part_left = size - GRPC_FRAME_HEADER_SIZE;
        if (stream->part_left > 0)
            return GRPC_OK;
    }
    take = MIN(stream->part_left, bytes->len);
    stream->part_left -= take;
    stream->events->on_part(stream->ctx, slice_of(bytes->data, take), stream->part_left);
    *bytes = slice_of(bytes->data + take, bytes->len - take);
    return GRPC_OK;
}

enum grpc_status grpc__stream_body(struct grpc_stream *stream, struct slice bytes, const char **why)
{
    /* The body of an error page is not for us. */
    if (stream->http_status != 200 || !stream->is_grpc)
        return GRPC_OK;
    while (bytes.len > 0 && !stream->gone) {
        enum grpc_status status = GRPC_OK;
        size_t size = SIZE_MAX;

        if (stream->events->on_part != NULL) {
            status = pass_on(stream, &bytes, why);
            if (status != GRPC_OK)
                return status;
            continue;
        }
        if (stream->in.len == 0 && bytes.len >= GRPC_FRAME_HEADER_SIZE)
            status = check_frame(stream, bytes.data, &size, why);
        if (status == GRPC_OK && size <= bytes.len) {
            deliver(stream, bytes.data, size); /* whole: no copy */
            bytes = slice_of(bytes.data + size, bytes.len - size);
        } else if (status == GRPC_OK) {
            status = complete(stream, &bytes, why);
        }
        if (status != GRPC_OK)
            return status;
    }
    return GRPC_OK;
}

/* ---- the outcome ---- */

/* doc/http-grpc-status-mapping.md */
static enum grpc_status status_of_http(int http_status)
{
    switch (http_status) {
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_UNKNOWN;
    }
}

/* doc/PROTOCOL-HTTP2.md, "Errors". */
static enum grpc_status status_of_reset(uint32_t error, const char **message)
{
    switch (error) {
    case NGHTTP2_REFUSED_STREAM:
        *message = "the server refused the call before doing anything";
        return GRPC_UNAVAILABLE;
    case NGHTTP2_CANCEL:
        *message = "the server cancelled the call";
        return GRPC_CANCELLED;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        *message = "the server asks for fewer requests";
        return GRPC_RESOURCE_EXHAUSTED;
    case NGHTTP2_INADEQUATE_SECURITY:
        *message = "the server asks for better encryption";
        return GRPC_PERMISSION_DENIED;
    case NGHTTP2_STREAM_CLOSED:
        *message = "the server reset the call as closed already";
        return GRPC_UNKNOWN;
    default:
        *message = "the call was reset by an HTTP/2 error";
        return GRPC_INTERNAL;
    }
}

enum grpc_status grpc__stream_outcome(const struct grpc_stream *stream, uint32_t http2_error,
                                      const char **message)
{
    if (stream->status == GRPC_OK && (stream->in.len > 0 || stream->part_left > 0)) {
        *message = "the server ended the call in the middle of a message";
        return GRPC_INTERNAL;
    }
    if (stream->status >= 0) {
        *message = stream->text.len > 0 ? (const char *)stream->text.data : "";
        return (enum grpc_status)stream->status;
    }
    if (http2_error != NGHTTP2_NO_ERROR)
        return status_of_reset(http2_error, message);
    if (stream->http_status != 200) {
        *message = "the answer is no gRPC: its HTTP status is not 200";
        return status_of_http(stream->http_status);
    }
    *message = stream->is_grpc ? "the server ended the call without a status"
                               : "the answer is no gRPC: its content-type is another";
    return GRPC_UNKNOWN;
}

void grpc__timeout_format(uint64_t ms, char out[GRPC__TIMEOUT_SIZE])
{
    static const struct {
        char unit;
        uint64_t ms;
    } units[] = {{'m', 1}, {'S', 1000}, {'M', 60000}, {'H', 3600000}};
    const uint64_t number_max = 99999999;
    size_t i = 0;

    while (i + 1 < ARRAY_LEN(units) && ms / units[i].ms >= number_max)
        i++;
    /* Rounded up: the server must not give up before the caller does. */
    ms = MIN(ms / units[i].ms + (ms % units[i].ms != 0), number_max);
    (void)snprintf(out, GRPC__TIMEOUT_SIZE, "%u%c", (unsigned)ms, units[i].unit);
}
