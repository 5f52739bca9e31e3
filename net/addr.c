#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "net/sock_internal.h"

static const struct {
    const char *prefix;
    bool tls;
    bool is_unix;
} schemes[] = {
    {"http://", false, false},
    {"https://", true, false},
    {"unix://", false, true},
    {"unixs://", true, true},
};

static int refuse(struct err *err, const char *url, const char *why)
{
    return err_set(err, KV_EINVAL, "URL \"%.200s\": %s", url, why);
}

/* Returns what follows the scheme, or NULL for a scheme that is not ours. */
static const char *parse_scheme(const char *url, struct net_addr *out)
{
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t len = strlen(schemes[i].prefix);

        if (strncmp(url, schemes[i].prefix, len) == 0) {
            out->tls = schemes[i].tls;
            out->is_unix = schemes[i].is_unix;
            return url + len;
        }
    }
    return strstr(url, "://") == NULL ? url : NULL;
}

static int parse_unix_path(const char *url, const char *path, struct net_addr *out, struct err *err)
{
    size_t len = strlen(path);

    if (len == 0)
        return refuse(err, url, "the path of the socket is missing");
    if (len >= sizeof((struct sockaddr_un *)NULL)->sun_path)
        return refuse(err, url, "the path of the socket is longer than the system allows");
    memcpy(out->host, path, len + 1);
    return 0;
}

static bool parse_port(const char *text, uint16_t *out)
{
    unsigned long value = 0;

    for (const char *p = text; *p != '\0'; p++) {
        if (!isdigit((unsigned char)*p) || p - text >= 5)
            return false;
        value = value * 10 + (unsigned long)(*p - '0');
    }
    if (*text == '\0' || value > UINT16_MAX)
        return false;
    *out = (uint16_t)value;
    return true;
}

/* Cuts rest into host and port; IPv6 addresses stand in brackets. */
static const char *split_host_port(const char *rest, const char **host, size_t *host_len,
                                   const char **port)
{
    const char *colon = strrchr(rest, ':');

    if (*rest == '[') {
        const char *end = strchr(rest, ']');

        if (end == NULL)
            return "']' is missing";
        *host = rest + 1;
        *host_len = (size_t)(end - *host);
        if (end[1] != ':')
            return "the port is missing";
        *port = end + 2;
        return NULL;
    }
    if (colon == NULL)
        return "the port is missing";
    if (memchr(rest, ':', (size_t)(colon - rest)) != NULL)
        return "an IPv6 address needs brackets, as in [::1]:2379";
    *host = rest;
    *host_len = (size_t)(colon - rest);
    *port = colon + 1;
    return NULL;
}

static bool host_is_valid(const char *host, size_t len, bool bracketed)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)host[i];

        if (isalnum(c) || c == '.' || c == '-' || c == '_')
            continue;
        if (!bracketed || (c != ':' && c != '%'))
            return false;
    }
    return true;
}

int net_addr_parse(const char *url, struct net_addr *out, struct err *err)
{
    struct net_addr addr = {.tls = false};
    const char *rest = parse_scheme(url, &addr);
    const char *host = NULL, *port = NULL, *why;
    size_t host_len = 0;

    if (rest == NULL)
        return refuse(err, url, "the scheme is not http, https, unix or unixs");
    if (addr.is_unix) {
        int rc = parse_unix_path(url, rest, &addr, err);

        if (rc == 0)
            *out = addr;
        return rc;
    }
    if (strpbrk(rest, "?#") != NULL)
        return refuse(err, url, "a query is not allowed");
    if (strchr(rest, '/') != NULL)
        return refuse(err, url, "a path is not allowed");
    if (strchr(rest, '@') != NULL)
        return refuse(err, url, "user and password are not allowed");
    why = split_host_port(rest, &host, &host_len, &port);
    if (why != NULL)
        return refuse(err, url, why);
    if (host_len == 0)
        return refuse(err, url, "the host is missing");
    if (host_len >= sizeof addr.host)
        return refuse(err, url, "the host is too long");
    if (!host_is_valid(host, host_len, *rest == '['))
        return refuse(err, url, "the host has a character that no host name has");
    if (!parse_port(port, &addr.port))
        return refuse(err, url, "the port is not a number from 1 to 65535");
    memcpy(addr.host, host, host_len);
    *out = addr;
    return 0;
}

const char *net_addr_format(const struct net_addr *addr, char *out, size_t size)
{
    const char *fmt = strchr(addr->host, ':') == NULL ? "%s:%u" : "[%s]:%u";

    if (addr->is_unix)
        (void)snprintf(out, size, "unix:%s", addr->host); /* cut to fit */
    else
        (void)snprintf(out, size, fmt, addr->host, addr->port);
    return out;
}

bool net__addr_literal(const struct net_addr *addr, struct sockaddr_storage *out, socklen_t *len)
{
    memset(out, 0, sizeof *out);
    if (addr->is_unix) {
        struct sockaddr_un *un = (struct sockaddr_un *)out;
        size_t path_len = strlen(addr->host);

        if (path_len >= sizeof un->sun_path) /* not from net_addr_parse(); cannot exist */
            path_len = sizeof un->sun_path - 1;
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, addr->host, path_len);
        *len = sizeof *un;
        return true;
    }
    if (uv_ip4_addr(addr->host, addr->port, (struct sockaddr_in *)out) == 0) {
        *len = sizeof(struct sockaddr_in);
        return true;
    }
    if (uv_ip6_addr(addr->host, addr->port, (struct sockaddr_in6 *)out) == 0) {
        *len = sizeof(struct sockaddr_in6);
        return true;
    }
    return false;
}

const char *net__sockaddr_format(const struct sockaddr *addr, char *out, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (addr->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)addr;

        (void)uv_ip4_name(in, host, sizeof host); /* fits */
        (void)snprintf(out, size, "%s:%u", host, ntohs(in->sin_port));
    } else if (addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;

        (void)uv_ip6_name(in6, host, sizeof host); /* fits */
        (void)snprintf(out, size, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else {
        /* The connecting end of a Unix socket has no name. */
        const struct sockaddr_un *un = (const struct sockaddr_un *)addr;

        (void)snprintf(out, size, "unix:%.*s", (int)sizeof un->sun_path, un->sun_path);
    }
    return out;
}
