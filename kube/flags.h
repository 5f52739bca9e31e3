/* kvapi's command line: kube-apiserver's names where it has them. */
#ifndef KVD_KUBE_FLAGS_H
#define KVD_KUBE_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum { FLAGS_SERVERS_MAX = 64 };

/* Texts borrow from argv or are static. */
struct flags {
    const char *etcd_servers; /* comma-separated */
    const char *etcd_cafile, *etcd_certfile, *etcd_keyfile, *etcd_prefix;
    const char *bind_address, *insecure_bind_address;
    int64_t secure_port, insecure_port; /* -1: not given; 0: secure: any free one; insecure: off */
    const char *tls_cert_file, *tls_private_key_file, *client_ca_file;
    const char *tls_min_version, *tls_cipher_suites;
    const char *token_auth_file, *authorization_mode, *advertise_address;
    bool anonymous_auth;
    int64_t event_ttl_s, request_timeout_s, compaction_interval_s;
    const char *dev;     /* directory; NULL: not asked for */
    int64_t max_streams; /* per connection of HTTP/2 */
    int64_t verbosity;
};

enum flags_result { FLAGS_RUN, FLAGS_EXIT_OK, FLAGS_EXIT_BAD };

/* FLAGS_EXIT_OK: --help or --version has been printed. FLAGS_EXIT_BAD: err says what is wrong and,
 * for an unknown flag, which one was perhaps meant. */
enum flags_result flags_parse(int argc, char **argv, struct flags *out, struct err *err);

#endif
