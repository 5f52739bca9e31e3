/* What a member is told at start: etcd's flags, ETCD_* (or KVD_*) environment and YAML config file.
 * Strings and lists belong to the config. */
#ifndef KVD_SERVER_CONFIG_H
#define KVD_SERVER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/sock.h"
#include "server/autocompact.h"

struct config_urls {
    char **text; /* as given */
    struct net_addr *addr;
    size_t len;
};

struct config_peer {
    char *name;
    struct config_urls urls; /* sorted by text, as the member id needs it */
};

/* Certificates of one kind of listener, and of its clients. A string that is NULL or "" was not
 * given. */
struct config_tls {
    char *cert_file, *key_file;
    char *client_cert_file, *client_key_file; /* shown where we connect; peers only */
    char *ca_file, *crl_file;
    char *allowed_cn, *allowed_hostname;
    bool client_cert_auth;
    bool auto_tls;       /* make a certificate if there is none */
    bool skip_san_check; /* peers only */
};

enum config_log_level { CONFIG_DEBUG, CONFIG_INFO, CONFIG_WARN, CONFIG_ERROR };

struct config {
    char *name;
    char *data_dir;
    char *wal_dir; /* NULL: data_dir/wal */
    struct config_urls listen_client, advertise_client;
    struct config_urls listen_client_http; /* given: HTTP is here, and listen_client gRPC only */
    struct config_urls listen_peer, advertise_peer;
    struct config_urls listen_metrics;
    struct config_peer *initial_cluster;
    size_t initial_cluster_len;
    char *initial_cluster_token;
    bool initial_cluster_existing; /* --initial-cluster-state existing */
    bool strict_reconfig_check;
    uint32_t max_learners;
    bool initial_corrupt_check;
    uint64_t corrupt_check_ms; /* 0: the default */
    uint32_t heartbeat_ms, election_ms;
    uint32_t max_txn_ops;
    uint64_t max_request_bytes;
    uint32_t max_concurrent_streams;
    uint64_t watch_progress_notify_ms; /* 0: the default */
    uint64_t keepalive_min_ms, keepalive_interval_ms, keepalive_timeout_ms;
    uint64_t checkpoint_log_bytes; /* of log between two checkpoints, at least */
    int64_t quota_backend_bytes;   /* as given: 0 default, negative off */
    enum autocompact_mode auto_compaction_mode;
    uint64_t auto_compaction_retention; /* milliseconds or revisions; 0: off */
    enum config_log_level log_level;
    bool log_console;       /* human-readable instead of JSON */
    bool metrics_extensive; /* a histogram for each method */
    char **log_outputs;     /* stderr, stdout or paths */
    size_t log_outputs_len;
    char *cors;           /* origins, comma-separated; NULL, "" or "*": all */
    char *host_whitelist; /* as cors */
    char *auth_token;     /* "simple", or "jwt," and its options */
    uint32_t auth_token_ttl_s;
    uint32_t bcrypt_cost;
    struct config_tls client_tls, peer_tls;
    char *tls_version_min, *tls_version_max, *cipher_suites;
    uint32_t self_signed_years;
    bool grpc_gateway;
    bool unsafe_no_fsync;
    bool force_new_cluster;
    bool pre_vote;
};

enum config_action {
    CONFIG_RUN,
    CONFIG_EXIT_OK,      /* --help or --version: printed on stdout */
    CONFIG_EXIT_BAD,     /* bad flags: exit code 2, err says which and what to do */
    CONFIG_EXIT_INVALID, /* well-formed, but they contradict each other or kvd cannot follow them:
                            exit code 1, as etcd; err explains */
};

static inline bool config_is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* Reads argv, environ-style env (NULL-terminated) and, if named, the config file. Warnings (unknown
 * ETCD_* variables and the like) go to warn, which may be NULL. */
enum config_action config_parse(int argc, char **argv, char **env, struct config *out,
                                void (*warn)(void *ctx, const char *text), void *warn_ctx,
                                struct err *err);
void config_release(struct config *config);

#endif
