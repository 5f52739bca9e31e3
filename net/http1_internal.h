/* A connection of HTTP/1.1, for http1.c (requests and answers) and http1_socket.c (what follows an
 * upgrade to WebSocket). */
#ifndef KVD_NET_HTTP1_INTERNAL_H
#define KVD_NET_HTTP1_INTERNAL_H

#include "net/server_internal.h"

struct h1_socket;

enum h1_state { H1_HEAD, H1_BODY, H1_CHUNK_SIZE, H1_CHUNK_DATA, H1_TRAILERS, H1_SERVICE, H1_OVER };

struct h1 {
    struct net_conn *conn;
    enum h1_state state;
    struct buf in;
    size_t pos;     /* input before it is used up; moved away once per parse, not once per chunk */
    size_t scanned; /* bytes of in without the line end that is looked for */
    size_t line_start; /* of the line that is looked at, in HEAD and TRAILERS */
    uint64_t owed;     /* bytes of the body or chunk still to come, with its CRLF */
    size_t trailer_bytes;
    uint64_t since_ms; /* start of the wait for head or body */
    struct buf out;
    size_t out_sent;          /* of out, so far */
    bool parsing;             /* on the stack: a reply must not start another parse */
    bool drain_due;           /* who answers in pieces wants to know when they have gone out */
    struct h1_socket *socket; /* in SERVICE, after an upgrade to WebSocket */
    struct http_request request;
    struct http_field fields[HEADER_FIELDS_MAX]; /* the request's */
};

/* Input before pos is used up. */
const uint8_t *h1__at(const struct h1 *h1);
size_t h1__left(const struct h1 *h1);
/* One of a comma-separated list. */
bool h1__has_item(struct slice list, const char *item);
/* The request is over, and the connection with it once what is queued has gone out. */
void h1__end_over(struct h1 *h1, bool input_unread);

/* ---- http1_socket.c ---- */

/* Takes what it can of the input; false: nothing more to do with what is there. */
bool h1_socket__step(struct h1 *h1);
/* So much waits for the client that it is heard no more for now. */
bool h1_socket__is_held_back(const struct h1 *h1);
void h1_socket__free(struct h1_socket *socket);

#endif
