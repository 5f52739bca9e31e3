/* Flags, environment and configuration file: what goes in, and the configuration or the error that
 * comes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/version.h"
#include "server/config.h"
#include "server/config_internal.h"

enum { WORDS_MAX = 24, WARNINGS_MAX = 16 };

struct outcome {
    enum config_action action;
    struct config config;
    struct err err;
    char *warnings[WARNINGS_MAX];
    size_t warning_count;
};

static void keep_warning(void *ctx, const char *text)
{
    struct outcome *outcome = ctx;

    assert_true(outcome->warning_count < WARNINGS_MAX);
    outcome->warnings[outcome->warning_count++] = strdup(text);
}

/* Splits at blanks; words live in copy. */
static int split(char *copy, char **words, int first)
{
    char *word;

    for (word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) {
        assert_true(first < WORDS_MAX - 1);
        words[first++] = word;
    }
    words[first] = NULL;
    return first;
}

static void parse(struct outcome *outcome, const char *flags, const char *env)
{
    char *flag_copy = strdup(flags);
    char *env_copy = strdup(env);
    char *argv[WORDS_MAX] = {(char[]){"kvd"}};
    char *environment[WORDS_MAX];
    int argc = split(flag_copy, argv, 1);

    (void)split(env_copy, environment, 0);
    *outcome = (struct outcome){.err = ERR_INIT};
    outcome->action = config_parse(argc, argv, environment, &outcome->config, keep_warning, outcome,
                                   &outcome->err);
    free(flag_copy);
    free(env_copy);
}

static void release(struct outcome *outcome)
{
    for (size_t i = 0; i < outcome->warning_count; i++)
        free(outcome->warnings[i]);
    config_release(&outcome->config);
}

static void parse_good(struct outcome *outcome, const char *flags, const char *env)
{
    parse(outcome, flags, env);
    if (outcome->action != CONFIG_RUN)
        print_error("%s: %s\n", flags, outcome->err.text);
    assert_int_equal(outcome->action, CONFIG_RUN);
}

static bool warned(const struct outcome *outcome, const char *part)
{
    for (size_t i = 0; i < outcome->warning_count; i++) {
        if (strstr(outcome->warnings[i], part) != NULL)
            return true;
    }
    return false;
}

/* ---- what is understood ---- */

static void without_flags_it_is_etcds_single_member(void **state)
{
    struct outcome o;

    (void)state;
    parse_good(&o, "", "");
    assert_string_equal(o.config.name, "default");
    assert_string_equal(o.config.data_dir, "default.etcd");
    assert_null(o.config.wal_dir);
    assert_int_equal(o.config.listen_client.len, 1);
    assert_string_equal(o.config.listen_client.text[0], "http://localhost:2379");
    assert_int_equal(o.config.listen_client.addr[0].port, 2379);
    assert_string_equal(o.config.advertise_client.text[0], "http://localhost:2379");
    assert_string_equal(o.config.listen_peer.text[0], "http://localhost:2380");
    assert_string_equal(o.config.advertise_peer.text[0], "http://localhost:2380");
    assert_int_equal(o.config.listen_metrics.len, 0);
    assert_int_equal(o.config.initial_cluster_len, 1);
    assert_string_equal(o.config.initial_cluster[0].name, "default");
    assert_string_equal(o.config.initial_cluster[0].urls.text[0], "http://localhost:2380");
    assert_string_equal(o.config.initial_cluster_token, "etcd-cluster");
    assert_false(o.config.initial_cluster_existing);
    assert_int_equal(o.config.heartbeat_ms, 100);
    assert_int_equal(o.config.election_ms, 1000);
    assert_int_equal(o.config.max_txn_ops, 128);
    assert_int_equal(o.config.max_request_bytes, 1572864);
    assert_int_equal(o.config.max_concurrent_streams, UINT32_MAX);
    assert_int_equal(o.config.keepalive_min_ms, 5000);
    assert_int_equal(o.config.keepalive_interval_ms, 7200000);
    assert_int_equal(o.config.keepalive_timeout_ms, 20000);
    assert_int_equal(o.config.quota_backend_bytes, 0);
    assert_int_equal(o.config.log_level, CONFIG_INFO);
    assert_int_equal(o.config.log_outputs_len, 1);
    assert_string_equal(o.config.log_outputs[0], "stderr");
    assert_false(o.config.unsafe_no_fsync);
    assert_true(o.config.pre_vote);
    assert_true(warned(&o, "'data-dir' was empty; using default: default.etcd"));
    release(&o);
}

static void flags_are_taken_in_every_spelling(void **state)
{
    static const char *const spellings[] = {
        "--name=a --heartbeat-interval=50 --pre-vote=false",
        "-name a -heartbeat-interval 50 -pre-vote=f",
        "--name a --pre-vote=0 --heartbeat-interval 50",
        "-name=b --name=a -heartbeat-interval=50 --pre-vote --pre-vote=FALSE",
        "--name=a --heartbeat-interval=50 --pre-vote=False --",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(spellings); i++) {
        struct outcome o;

        parse_good(&o, spellings[i], "");
        assert_string_equal(o.config.name, "a");
        assert_int_equal(o.config.heartbeat_ms, 50);
        assert_false(o.config.pre_vote);
        release(&o);
    }
}

static void a_bare_switch_is_true(void **state)
{
    struct outcome o;

    (void)state;
    parse_good(&o, "--unsafe-no-fsync --name x", "");
    assert_true(o.config.unsafe_no_fsync);
    assert_true(warned(&o, "--unsafe-no-fsync"));
    assert_string_equal(o.config.initial_cluster[0].name, "x");
    assert_string_equal(o.config.data_dir, "x.etcd");
    release(&o);
}

static void numbers_and_durations_reach_their_fields(void **state)
{
    struct outcome o;

    (void)state;
    parse_good(&o,
               "--election-timeout 5000 --max-txn-ops 1 --max-request-bytes 10485760 "
               "--quota-backend-bytes -1 --max-concurrent-streams 7 --grpc-keepalive-min-time "
               "1m30s --grpc-keepalive-interval=0 --grpc-keepalive-timeout 1.5s --data-dir /d "
               "--wal-dir /w --log-level=warn --log-format=console --log-outputs=stdout,/x/y",
               "");
    assert_int_equal(o.config.election_ms, 5000);
    assert_int_equal(o.config.max_txn_ops, 1);
    assert_int_equal(o.config.max_request_bytes, 10485760);
    assert_int_equal(o.config.quota_backend_bytes, -1);
    assert_int_equal(o.config.max_concurrent_streams, 7);
    assert_int_equal(o.config.keepalive_min_ms, 90000);
    assert_int_equal(o.config.keepalive_interval_ms, 0);
    assert_int_equal(o.config.keepalive_timeout_ms, 1500);
    assert_string_equal(o.config.data_dir, "/d");
    assert_string_equal(o.config.wal_dir, "/w");
    assert_int_equal(o.config.log_level, CONFIG_WARN);
    assert_true(o.config.log_console);
    assert_int_equal(o.config.log_outputs_len, 2);
    assert_string_equal(o.config.log_outputs[1], "/x/y");
    assert_int_equal(o.warning_count, 0);
    release(&o);
}

static void the_initial_cluster_keeps_its_order_and_sorts_each_members_urls(void **state)
{
    struct outcome o;

    (void)state;
    parse_good(&o,
               "--name b --initial-advertise-peer-urls http://127.0.0.2:1,http://127.0.0.1:1 "
               "--initial-cluster "
               "c=http://[::1]:5,b=http://127.0.0.2:1,b=http://127.0.0.1:1,a=http://h.example:9",
               "");
    assert_int_equal(o.config.initial_cluster_len, 3);
    assert_string_equal(o.config.initial_cluster[0].name, "c");
    assert_string_equal(o.config.initial_cluster[0].urls.addr[0].host, "::1");
    assert_string_equal(o.config.initial_cluster[1].name, "b");
    assert_int_equal(o.config.initial_cluster[1].urls.len, 2);
    assert_string_equal(o.config.initial_cluster[1].urls.text[0], "http://127.0.0.1:1");
    assert_string_equal(o.config.initial_cluster[1].urls.addr[0].host, "127.0.0.1");
    assert_string_equal(o.config.initial_cluster[1].urls.text[1], "http://127.0.0.2:1");
    assert_string_equal(o.config.initial_cluster[2].urls.addr[0].host, "h.example");
    release(&o);
}

/* As etcd: the name and the address that it stands for are the same place. */
static void an_advertised_name_matches_its_address(void **state)
{
    struct outcome o;

    (void)state;
    parse_good(&o, "--initial-cluster default=http://127.0.0.1:2380", "");
    assert_string_equal(o.config.initial_cluster[0].urls.text[0], "http://127.0.0.1:2380");
    release(&o);
}

static void repeated_urls_count_once(void **state)
{
    struct outcome o;

    (void)state;
    parse_good(&o,
               "--listen-client-urls http://127.0.0.1:2,http://127.0.0.1:1,http://127.0.0.1:2 "
               "--advertise-client-urls http://127.0.0.1:1 --listen-metrics-urls http://0.0.0.0:3",
               "");
    assert_int_equal(o.config.listen_client.len, 2);
    assert_string_equal(o.config.listen_client.text[0], "http://127.0.0.1:1");
    assert_int_equal(o.config.listen_client.addr[1].port, 2);
    assert_string_equal(o.config.listen_metrics.text[0], "http://0.0.0.0:3");
    release(&o);
}

/* Runs parse() with stdout going to a file, and returns what came. */
static void parse_and_read(struct outcome *outcome, const char *flags, char *text, size_t size)
{
    FILE *file = tmpfile();
    int saved = dup(STDOUT_FILENO);
    ssize_t len;

    assert_non_null(file);
    assert_int_equal(fflush(stdout), 0);
    assert_int_equal(dup2(fileno(file), STDOUT_FILENO), STDOUT_FILENO);
    parse(outcome, flags, "");
    assert_int_equal(fflush(stdout), 0);
    assert_int_equal(dup2(saved, STDOUT_FILENO), STDOUT_FILENO);
    len = pread(fileno(file), text, size - 1, 0);
    assert_true(len >= 0);
    text[len] = '\0';
    assert_int_equal(close(saved), 0);
    assert_int_equal(fclose(file), 0);
}

static void help_and_version_are_printed_and_end_well(void **state)
{
    static const struct {
        const char *flags, *part;
    } rows[] = {
        {"--help", "\n  --election-timeout '1000'\n"},
        {"-h", "Usage:\n"},
        {"-help", "kvd [flags]"},
        {"--version", "kvd Version: " KVD_VERSION "\netcd Version: " ETCD_API_VERSION "\n"},
        {"--name x --version", "\netcd Version: " ETCD_API_VERSION "\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        static char text[32 << 10];
        struct outcome o;

        parse_and_read(&o, rows[i].flags, text, sizeof text);
        assert_int_equal(o.action, CONFIG_EXIT_OK);
        assert_non_null(strstr(text, rows[i].part));
        release(&o);
    }
}

/* ---- what is not ---- */

static void bad_flags_are_named(void **state)
{
    static const struct {
        const char *flags;
        enum config_action action;
        const char *text;
    } rows[] = {
        {"--nosuch", CONFIG_EXIT_BAD, "flag provided but not defined: -nosuch"},
        {"--listen-client-url=x", CONFIG_EXIT_BAD,
         "flag provided but not defined: -listen-client-url (did you mean --listen-client-urls?)"},
        {"--experimental-name=x", CONFIG_EXIT_BAD,
         "flag provided but not defined: -experimental-name"},
        {"---name", CONFIG_EXIT_BAD, "bad flag syntax: ---name"},
        {"--=x", CONFIG_EXIT_BAD, "bad flag syntax: --=x"},
        {"--name", CONFIG_EXIT_BAD, "flag needs an argument: -name"},
        {"--election-timeout abc", CONFIG_EXIT_BAD,
         "invalid value \"abc\" for flag -election-timeout: parse error"},
        {"--election-timeout=-5", CONFIG_EXIT_BAD,
         "invalid value \"-5\" for flag -election-timeout: parse error"},
        {"--election-timeout=4294967296", CONFIG_EXIT_BAD,
         "invalid value \"4294967296\" for flag -election-timeout: value out of range"},
        {"--quota-backend-bytes=9223372036854775808", CONFIG_EXIT_BAD,
         "invalid value \"9223372036854775808\" for flag -quota-backend-bytes: value out of range"},
        {"--pre-vote=maybe", CONFIG_EXIT_BAD,
         "invalid boolean value \"maybe\" for -pre-vote: parse error"},
        {"--grpc-keepalive-timeout=5", CONFIG_EXIT_BAD,
         "invalid value \"5\" for flag -grpc-keepalive-timeout: parse error"},
        {"--grpc-keepalive-timeout=5x", CONFIG_EXIT_BAD,
         "invalid value \"5x\" for flag -grpc-keepalive-timeout: parse error"},
        {"--snapshot-count=many", CONFIG_EXIT_BAD,
         "invalid value \"many\" for flag -snapshot-count: parse error"},
        {"--initial-cluster-state bad", CONFIG_EXIT_BAD,
         "invalid value \"bad\" for flag -initial-cluster-state: invalid value"},
        {"--log-level loud", CONFIG_EXIT_BAD,
         "invalid value \"loud\" for flag -log-level: unknown log level \"loud\""},
        {"--metrics all", CONFIG_EXIT_BAD,
         "invalid value \"all\" for flag -metrics: unknown kind of metrics \"all\", must be basic "
         "or "
         "extensive"},
        {"--log-format xml", CONFIG_EXIT_BAD,
         "invalid value \"xml\" for flag -log-format: unknown log format \"xml\", must be json or "
         "console"},
        {"--listen-peer-urls bad", CONFIG_EXIT_BAD,
         "invalid value \"bad\" for flag -listen-peer-urls: URL scheme must be http, https, unix, "
         "or unixs: bad"},
        {"--listen-client-urls http://127.0.0.1", CONFIG_EXIT_BAD,
         "invalid value \"http://127.0.0.1\" for flag -listen-client-urls: URL address does not "
         "have the form \"host:port\": http://127.0.0.1"},
        {"--listen-client-urls http://127.0.0.1:1/x", CONFIG_EXIT_BAD,
         "invalid value \"http://127.0.0.1:1/x\" for flag -listen-client-urls: URL must not "
         "contain a path: http://127.0.0.1:1/x"},
        {"--pre-vote false", CONFIG_EXIT_INVALID, "'false' is not a valid flag"},
        {"gateway", CONFIG_EXIT_INVALID, "'gateway' is not a valid flag"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct outcome o;

        parse(&o, rows[i].flags, "");
        assert_string_equal(o.err.text, rows[i].text);
        assert_int_equal(o.action, rows[i].action);
        release(&o);
    }
}

static void contradictions_are_refused_in_etcds_words(void **state)
{
    static const struct {
        const char *flags, *text;
    } rows[] = {
        {"--election-timeout 200", "--election-timeout[200ms] should be at least as 5 times as "
                                   "--heartbeat-interval[100ms]"},
        {"--election-timeout 60000",
         "--election-timeout[60000ms] is too long, and should be set less than 50000ms"},
        {"--heartbeat-interval 0", "--heartbeat-interval must be >0 (set to 0ms)"},
        {"--listen-client-urls http://0.0.0.0:23790",
         "--advertise-client-urls is required when --listen-client-urls is set explicitly"},
        {"--listen-client-urls http://foo:1", "expected IP in URL for binding (http://foo:1)"},
        {"--listen-peer-urls http://foo:1", "expected IP in URL for binding (http://foo:1)"},
        {"--listen-client-http-urls http://foo:1", "expected IP in URL for binding (http://foo:1)"},
        {"--listen-client-http-urls http://localhost:2379",
         "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url "
         "http://localhost:2379"},
        {"--listen-client-http-urls https://127.0.0.1:1",
         "cannot listen on TLS for https://127.0.0.1:1: --cert-file and --key-file are not "
         "presented"},
        {"--listen-metrics-urls http://:1", "expected IP in URL for binding (http://:1)"},
        {"--initial-advertise-peer-urls http://:2380",
         "--initial-advertise-peer-urls \"http://:2380\" must be \"host:port\" (unexpected empty "
         "host (http://:2380))"},
        {"--initial-cluster foo=http://localhost:2380",
         "couldn't find local name \"default\" in the initial cluster configuration"},
        {"--initial-cluster default=http://localhost:2381",
         "--initial-cluster has default=http://localhost:2381 but missing from "
         "--initial-advertise-peer-urls=http://localhost:2380"},
        {"--initial-advertise-peer-urls http://localhost:2380,http://localhost:1 --initial-cluster "
         "default=http://localhost:2380",
         "--initial-advertise-peer-urls has http://localhost:1 but missing from "
         "--initial-cluster=default=http://localhost:2380"},
        {"--initial-cluster default=http://localhost:2380,b=http://localhost:2380",
         "initial cluster default=http://localhost:2380,b=http://localhost:2380 has duplicate url"},
        {"--initial-cluster foo", "error setting up initial cluster: URL scheme must be http, "
                                  "https, unix, or unixs: "},
        {"--initial-cluster default=http://localhost:2380,b=http://:1",
         "error setting up initial cluster: unexpected empty host (http://:1)"},
        {"--max-request-bytes 999999999",
         "--max-request-bytes=999999999 must be between 1 and 15728640"},
        {"--checkpoint-log-bytes 1", "--checkpoint-log-bytes=1 must be at least 65536"},
        {"--max-txn-ops 0", "--max-txn-ops must be >0"},
        {"--name=a,b", "--name=a,b must not contain '=' or ','"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct outcome o;

        parse(&o, rows[i].flags, "");
        assert_string_equal(o.err.text, rows[i].text);
        assert_int_equal(o.action, CONFIG_EXIT_INVALID);
        release(&o);
    }
}

static void compaction_retention_is_hours_a_duration_or_revisions(void **state)
{
    static const struct {
        const char *flags;
        enum autocompact_mode mode;
        uint64_t retention;
    } rows[] = {
        {"", AUTOCOMPACT_PERIODIC, 0},
        {"--auto-compaction-retention=0", AUTOCOMPACT_PERIODIC, 0},
        {"--auto-compaction-retention=0s", AUTOCOMPACT_PERIODIC, 0},
        {"--auto-compaction-retention=", AUTOCOMPACT_PERIODIC, 0},
        {"--auto-compaction-retention=1", AUTOCOMPACT_PERIODIC, 3600000},
        {"--auto-compaction-retention=024", AUTOCOMPACT_PERIODIC, 86400000},
        {"--auto-compaction-retention=1h30m", AUTOCOMPACT_PERIODIC, 5400000},
        {"--auto-compaction-retention=1.5s", AUTOCOMPACT_PERIODIC, 1500},
        {"--auto-compaction-retention=1us", AUTOCOMPACT_PERIODIC, 1},
        {"--auto-compaction-mode=periodic --auto-compaction-retention=5m", AUTOCOMPACT_PERIODIC,
         300000},
        {"--auto-compaction-mode=revision --auto-compaction-retention=1000", AUTOCOMPACT_REVISION,
         1000},
        {"--auto-compaction-mode=revision", AUTOCOMPACT_REVISION, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct outcome o;

        parse_good(&o, rows[i].flags, "");
        assert_int_equal(o.config.auto_compaction_mode, rows[i].mode);
        assert_true(o.config.auto_compaction_retention == rows[i].retention);
        release(&o);
    }
}

static void wrong_compaction_settings_are_explained(void **state)
{
    static const char duration[] = "must be a number of hours, or a duration like 30m or 1h30m";
    static const char revisions[] = "must be a number of revisions";
    static const struct {
        const char *flags, *text;
    } rows[] = {
        {"--auto-compaction-mode=", "undefined auto-compaction-mode"},
        {"--auto-compaction-mode=hourly", "unknown auto-compaction-mode \"hourly\""},
        {"--auto-compaction-retention=-1", duration},
        {"--auto-compaction-retention=-1h", duration},
        {"--auto-compaction-retention=soon", duration},
        {"--auto-compaction-retention=1d", duration},
        {"--auto-compaction-retention=99999999999999999999", duration},
        {"--auto-compaction-mode=revision --auto-compaction-retention=5m", revisions},
        {"--auto-compaction-mode=revision --auto-compaction-retention=-5", revisions},
        {"--auto-compaction-mode=revision --auto-compaction-retention=9223372036854775808",
         revisions},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct outcome o;

        parse(&o, rows[i].flags, "");
        assert_int_equal(o.action, CONFIG_EXIT_INVALID);
        assert_non_null(strstr(o.err.text, rows[i].text));
        release(&o);
    }
}

static void what_must_not_be_ignored_is_refused(void **state)
{
    static const struct {
        const char *flags, *text;
    } rows[] = {
        {"--ca-file=/c", "--ca-file=/c: ca-file, of etcd 2 (use trusted-ca-file) is not supported "
                         "by kvd yet"},
        {"--discovery-srv example.com",
         "--discovery-srv=example.com: cluster discovery is not supported by kvd yet"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct outcome o;

        parse(&o, rows[i].flags, "");
        assert_string_equal(o.err.text, rows[i].text);
        assert_int_equal(o.action, CONFIG_EXIT_INVALID);
        release(&o);
    }
}

static void https_without_a_certificate_is_refused(void **state)
{
    static const struct {
        const char *flags, *text;
    } rows[] = {
        {"--listen-client-urls https://127.0.0.1:1 --advertise-client-urls https://127.0.0.1:1",
         "cannot listen on TLS for https://127.0.0.1:1: --cert-file and --key-file are not "
         "presented"},
        {"--listen-peer-urls https://127.0.0.1:1 --cert-file=/c --key-file=/k",
         "cannot listen on TLS for https://127.0.0.1:1: --peer-cert-file and --peer-key-file are "
         "not presented"},
        {"--peer-cert-allowed-cn a --peer-cert-allowed-hostname b",
         "--peer-cert-allowed-cn and --peer-cert-allowed-hostname are mutually exclusive (cn=a, "
         "hostname=b)"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct outcome o;

        parse(&o, rows[i].flags, "");
        assert_string_equal(o.err.text, rows[i].text);
        assert_int_equal(o.action, CONFIG_EXIT_INVALID);
        release(&o);
    }
}

static void tls_flags_go_to_their_fields(void **state)
{
    struct outcome o;

    (void)state;
    parse(&o,
          "--listen-client-urls https://127.0.0.1:1 --advertise-client-urls https://127.0.0.1:1 "
          "--cert-file=/c --key-file /k --trusted-ca-file=/ca --client-cert-auth "
          "--client-crl-file=/crl --peer-auto-tls --peer-trusted-ca-file=/pca "
          "--experimental-peer-skip-client-san-verification --tls-min-version TLS1.3 "
          "--peer-client-cert-file=/pc --peer-client-key-file=/pk --self-signed-cert-validity 3",
          "");
    assert_string_equal(o.err.text, "");
    assert_int_equal(o.action, CONFIG_RUN);
    assert_true(o.config.listen_client.addr[0].tls);
    assert_string_equal(o.config.client_tls.cert_file, "/c");
    assert_string_equal(o.config.client_tls.key_file, "/k");
    assert_string_equal(o.config.client_tls.ca_file, "/ca");
    assert_string_equal(o.config.client_tls.crl_file, "/crl");
    assert_true(o.config.client_tls.client_cert_auth);
    assert_false(o.config.client_tls.auto_tls);
    assert_true(o.config.peer_tls.auto_tls);
    assert_true(o.config.peer_tls.skip_san_check);
    assert_string_equal(o.config.peer_tls.ca_file, "/pca");
    assert_string_equal(o.config.peer_tls.client_cert_file, "/pc");
    assert_string_equal(o.config.peer_tls.client_key_file, "/pk");
    assert_string_equal(o.config.tls_version_min, "TLS1.3");
    assert_int_equal(o.config.self_signed_years, 3);
    release(&o);
}

static void defaults_of_refused_flags_are_no_error_and_no_warning(void **state)
{
    struct outcome o;

    (void)state;
    parse_good(&o,
               "--data-dir d --auto-compaction-retention=0 --auto-compaction-mode=revision "
               "--force-new-cluster=false --cert-file= --cors=* --host-whitelist=* "
               "--initial-cluster-state=new --enable-v2=false --logger=zap --enable-pprof=false "
               "--snapshot-count=5 --max-wals=0 --backend-batch-interval=1s --auth-token simple "
               "--experimental-corrupt-check-time=0 --experimental-warning-apply-duration=0.1s",
               "");
    assert_int_equal(o.warning_count, 0);
    release(&o);
}

/* As etcd: a cost that bcrypt does not know is said and replaced, no time to live is the usual one.
 */
static void odd_auth_settings_become_the_usual_ones(void **state)
{
    struct outcome o;

    (void)state;
    parse_good(&o, "--data-dir d --bcrypt-cost=3 --auth-token-ttl=0", "");
    assert_int_equal(o.config.bcrypt_cost, 10);
    assert_int_equal(o.config.auth_token_ttl_s, 300);
    assert_true(warned(&o, "--bcrypt-cost=3 is not between 4 and 31; using 10"));
    release(&o);
    parse_good(&o, "--data-dir d --bcrypt-cost=4 --auth-token-ttl=7 --auth-token=jwt,x=y", "");
    assert_int_equal(o.warning_count, 0);
    assert_int_equal(o.config.bcrypt_cost, 4);
    assert_int_equal(o.config.auth_token_ttl_s, 7);
    assert_string_equal(o.config.auth_token, "jwt,x=y");
    release(&o);
}

/* etcd had it as an experiment first; both spellings are about. */
static void the_progress_interval_has_two_names(void **state)
{
    static const char *const rows[] = {"--watch-progress-notify-interval=90s",
                                       "--experimental-watch-progress-notify-interval 1m30s"};
    struct outcome o;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char flags[128];

        snprintf(flags, sizeof flags, "--data-dir d %s", rows[i]);
        parse_good(&o, flags, "");
        assert_int_equal(o.config.watch_progress_notify_ms, 90000);
        assert_int_equal(o.warning_count, 0);
        release(&o);
    }
}

/* Both spellings of etcd; that compactions are compared too is true anyway. */
static void comparisons_of_the_members_are_set(void **state)
{
    struct outcome o;

    (void)state;
    parse_good(
        &o,
        "--data-dir d --experimental-initial-corrupt-check --experimental-corrupt-check-time "
        "3m --experimental-compact-hash-check-enabled --compact-hash-check-time=2m",
        "");
    assert_true(o.config.initial_corrupt_check);
    assert_int_equal(o.config.corrupt_check_ms, 180000);
    assert_int_equal(o.warning_count, 0);
    release(&o);
    parse_good(&o, "--data-dir d --initial-corrupt-check=false --corrupt-check-time=0", "");
    assert_false(o.config.initial_corrupt_check);
    assert_int_equal(o.config.corrupt_check_ms, 0);
    release(&o);
}

static void what_is_ignored_is_said(void **state)
{
    struct outcome o;

    (void)state;
    parse_good(&o, "--data-dir d --enable-pprof --set-member-localaddr=true", "");
    assert_int_equal(o.warning_count, 2);
    assert_true(warned(&o, "--enable-pprof=true has no effect in kvd"));
    assert_true(warned(&o, "--set-member-localaddr=true has no effect in kvd"));
    release(&o);
}

static void metrics_are_basic_or_extensive(void **state)
{
    struct outcome o;

    (void)state;
    parse_good(&o, "--data-dir d", "");
    assert_false(o.config.metrics_extensive);
    release(&o);
    parse_good(&o, "--data-dir d --metrics=extensive", "");
    assert_true(o.config.metrics_extensive);
    assert_int_equal(o.warning_count, 0);
    release(&o);
}

/* Every flag's default, given explicitly, is accepted without a word but the data-dir's. */
static void every_flag_accepts_its_own_default(void **state)
{
    (void)state;
    for (size_t i = 0; i < config__flag_count; i++) {
        const struct flag *flag = &config__flags[i];
        struct outcome o;
        char text[256];

        if (flag->initial == NULL || strcmp(flag->name, "listen-client-urls") == 0)
            continue;
        (void)snprintf(text, sizeof text, "--data-dir=d --%s=%.*s", flag->name,
                       (int)strcspn(flag->initial, "|"), flag->initial);
        parse_good(&o, text, "");
        assert_int_equal(o.warning_count, 0);
        release(&o);
    }
}

static void flags_are_unique_and_refused_ones_say_why(void **state)
{
    (void)state;
    for (size_t i = 0; i < config__flag_count; i++) {
        assert_ptr_equal(config__find(config__flags[i].name), &config__flags[i]);
        if (config__flags[i].use == FLAG_REFUSED || config__flags[i].use == FLAG_SET)
            assert_non_null(config__flags[i].help);
    }
}

/* ---- environment ---- */

static void variables_stand_for_flags(void **state)
{
    struct outcome o;

    (void)state;
    parse_good(&o, "--data-dir=d",
               "ETCD_NAME=e KVD_ELECTION_TIMEOUT=2000 HOME=/x ETCDCTL_API=3 ETCD_WAL_DIR= "
               "ETCD_VERSION=v3.5 ETCD_EXPERIMENTAL_COMPACTION_BATCH_LIMIT=5 "
               "ETCD_QUOTA_BACKEND_BYTES=9000000000 ETCD_AUTO_COMPACTION_MODE=revision "
               "ETCD_AUTO_COMPACTION_RETENTION=1000");
    assert_string_equal(o.config.name, "e");
    assert_int_equal(o.config.election_ms, 2000);
    assert_null(o.config.wal_dir);
    assert_true(o.config.quota_backend_bytes == INT64_C(9000000000));
    assert_int_equal(o.config.auto_compaction_mode, AUTOCOMPACT_REVISION);
    assert_int_equal(o.config.auto_compaction_retention, 1000);
    assert_int_equal(o.warning_count, 1);
    assert_true(warned(&o, "exceeds 8 GiB"));
    release(&o);
}

static void a_flag_and_its_variable_together_are_refused(void **state)
{
    struct outcome o;

    (void)state;
    parse(&o, "--name=a", "ETCD_NAME=a");
    assert_int_equal(o.action, CONFIG_EXIT_INVALID);
    assert_string_equal(o.err.text,
                        "conflicting environment variable is shadowed by corresponding "
                        "command-line flag (either unset environment variable or disable flag): "
                        "ETCD_NAME");
    release(&o);
}

static void bad_variables_are_named(void **state)
{
    struct outcome o;

    (void)state;
    parse(&o, "", "KVD_ELECTION_TIMEOUT=soon");
    assert_int_equal(o.action, CONFIG_EXIT_INVALID);
    assert_string_equal(o.err.text, "invalid value \"soon\" for KVD_ELECTION_TIMEOUT: parse error");
    release(&o);
}

static void unknown_variables_are_named_without_their_values(void **state)
{
    struct outcome o;

    (void)state;
    parse_good(&o, "--data-dir=d", "ETCD_ROOT_PASSWORD=secret KVD_PORT=tcp://10.0.0.1:80");
    assert_int_equal(o.warning_count, 2);
    assert_string_equal(o.warnings[0], "unrecognized environment variable: ETCD_ROOT_PASSWORD");
    assert_string_equal(o.warnings[1], "unrecognized environment variable: KVD_PORT");
    release(&o);
}

/* ---- file ---- */

struct file {
    char path[64];
};

static int setup_file(void **state)
{
    struct file *file = calloc(1, sizeof *file);
    int fd;

    (void)snprintf(file->path, sizeof file->path, "/tmp/kvd-test-config-XXXXXX");
    fd = mkstemp(file->path);
    if (fd < 0)
        return -1;
    (void)close(fd);
    *state = file;
    return 0;
}

static int teardown_file(void **state)
{
    struct file *file = *state;

    (void)unlink(file->path);
    free(file);
    return 0;
}

static void write_text(const struct file *file, const char *text)
{
    FILE *out = fopen(file->path, "w");

    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static void parse_file(struct outcome *outcome, const struct file *file, const char *text,
                       const char *flags, const char *env)
{
    char line[256];

    write_text(file, text);
    (void)snprintf(line, sizeof line, "%s --config-file %s", flags, file->path);
    parse(outcome, line, env);
}

/* A shortened version of the sample that etcd ships. */
static const char sample[] = "# This is the configuration file for the etcd server.\n"
                             "name: 'm1'\n"
                             "data-dir: /var/lib/x\n"
                             "wal-dir:\n"
                             "snapshot-count: 10000\n"
                             "heartbeat-interval: 200\n"
                             "election-timeout: 2000\n"
                             "quota-backend-bytes: 123456789\n"
                             "listen-peer-urls: http://localhost:2380\n"
                             "listen-client-urls: http://localhost:2379,http://127.0.0.1:4001\n"
                             "max-snapshots: 5\n"
                             "max-wals: 5\n"
                             "cors:\n"
                             "initial-advertise-peer-urls: http://localhost:2380\n"
                             "advertise-client-urls: http://localhost:2379\n"
                             "discovery:\n"
                             "discovery-fallback: 'proxy'\n"
                             "discovery-proxy:\n"
                             "discovery-srv:\n"
                             "initial-cluster:\n"
                             "initial-cluster-token: 'etcd-cluster'\n"
                             "initial-cluster-state: 'new'\n"
                             "strict-reconfig-check: false\n"
                             "enable-pprof: false\n"
                             "proxy: 'off'\n"
                             "proxy-failure-wait: 5000\n"
                             "client-transport-security:\n"
                             "  cert-file:\n"
                             "  key-file:\n"
                             "  client-cert-auth: false\n"
                             "  trusted-ca-file:\n"
                             "  auto-tls: false\n"
                             "peer-transport-security:\n"
                             "  cert-file:\n"
                             "  client-cert-auth: no\n"
                             "  allowed-cn:\n"
                             "  allowed-hostname:\n"
                             "self-signed-cert-validity: 1\n"
                             "log-level: debug\n"
                             "logger: zap\n"
                             "log-outputs: [stderr, /tmp/l]\n"
                             "force-new-cluster: false\n"
                             "auto-compaction-mode: periodic\n"
                             "auto-compaction-retention: \"12\"\n"
                             "cipher-suites: [\n  TLS_A,\n  TLS_B\n]\n"
                             "tls-min-version: 'TLS1.2'\n"
                             "grpc-keepalive-min-time: 7000000000\n"
                             "grpc-keepalive-timeout: 3s\n";

static void etcds_sample_file_is_understood(void **state)
{
    struct outcome o;

    parse_file(&o, *state, sample, "", "");
    assert_string_equal(o.err.text, "");
    assert_int_equal(o.action, CONFIG_RUN);
    assert_string_equal(o.config.name, "m1");
    assert_string_equal(o.config.data_dir, "/var/lib/x");
    assert_null(o.config.wal_dir);
    assert_int_equal(o.config.heartbeat_ms, 200);
    assert_int_equal(o.config.listen_client.len, 2);
    assert_int_equal(o.config.initial_cluster_len, 1);
    assert_string_equal(o.config.initial_cluster[0].name, "m1");
    assert_int_equal(o.config.log_level, CONFIG_DEBUG);
    assert_int_equal(o.config.log_outputs_len, 2);
    assert_string_equal(o.config.log_outputs[1], "/tmp/l");
    assert_int_equal(o.config.keepalive_min_ms, 7000);
    assert_int_equal(o.config.keepalive_timeout_ms, 3000);
    assert_int_equal(o.config.auto_compaction_mode, AUTOCOMPACT_PERIODIC);
    assert_int_equal(o.config.auto_compaction_retention, 12 * 3600000);
    assert_int_equal(o.config.quota_backend_bytes, 123456789);
    assert_int_equal(o.warning_count, 0);
    release(&o);
}

static void json_is_a_file_too(void **state)
{
    struct outcome o;

    parse_file(&o, *state,
               "{\"name\": \"j\", \"data-dir\": \"d\", \"election-timeout\": 3000,\n"
               " \"pre-vote\": false, \"log-outputs\": [\"stdout\"]}\n",
               "", "");
    assert_int_equal(o.action, CONFIG_RUN);
    assert_string_equal(o.config.name, "j");
    assert_int_equal(o.config.election_ms, 3000);
    assert_false(o.config.pre_vote);
    assert_string_equal(o.config.log_outputs[0], "stdout");
    release(&o);
}

static void a_file_replaces_flags_and_variables(void **state)
{
    struct outcome o;

    parse_file(&o, *state, "data-dir: d\n", "--name=flag --cert-file=/c",
               "ETCD_ELECTION_TIMEOUT=9000 ETCD_NAME=conflict");
    assert_int_equal(o.action, CONFIG_RUN);
    assert_string_equal(o.config.name, "default");
    assert_int_equal(o.config.election_ms, 1000);
    assert_int_equal(o.warning_count, 1);
    assert_true(warned(&o, "other flags and environment variables are ignored"));
    release(&o);
}

static void the_file_can_be_named_by_a_variable(void **state)
{
    struct file *file = *state;
    struct outcome o;
    char variable[128];

    write_text(file, "name: v\ndata-dir: d\n");
    (void)snprintf(variable, sizeof variable, "ETCD_CONFIG_FILE=%s", file->path);
    parse_good(&o, "", variable);
    assert_string_equal(o.config.name, "v");
    release(&o);
}

static void bad_files_are_explained_with_the_line(void **state)
{
    static const struct {
        const char *text, *error; /* after the path */
    } rows[] = {
        {"name: a\nelection-timeout: soon\n", ":2: election-timeout: parse error"},
        {"name: a\nname: b\n", ":2: name: is given twice"},
        {"- a\n- b\n", ":1: expected 'name: value' lines"},
        {"name: {a: b}\n", ":1: name: must be a plain value or a list of plain values"},
        {"client-transport-security: yes\n", ":1: expected 'name: value' lines"},
        {"name: [a\n", ":2: did not find expected ',' or ']'"},
    };
    struct file *file = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct outcome o;

        parse_file(&o, file, rows[i].text, "", "");
        assert_int_equal(o.action, CONFIG_EXIT_INVALID);
        assert_memory_equal(o.err.text, file->path, strlen(file->path));
        assert_string_equal(o.err.text + strlen(file->path), rows[i].error);
        release(&o);
    }
}

static void tls_in_a_file_has_names_of_its_own(void **state)
{
    struct outcome o;

    parse_file(&o, *state,
               "client-transport-security: {cert-file: /c, key-file: /k, client-cert-auth: true}\n"
               "peer-transport-security:\n  allowed-cn: x\n  client-cert-file: /pc\n",
               "", "");
    assert_string_equal(o.err.text, "");
    assert_string_equal(o.config.client_tls.cert_file, "/c");
    assert_true(o.config.client_tls.client_cert_auth);
    assert_string_equal(o.config.peer_tls.allowed_cn, "x");
    assert_string_equal(o.config.peer_tls.client_cert_file, "/pc");
    release(&o);
}

static void unknown_keys_draw_a_warning_with_a_guess(void **state)
{
    struct outcome o;

    parse_file(&o, *state, "data-dir: d\nelection-timeuot: 5\n", "", "");
    assert_int_equal(o.action, CONFIG_RUN);
    assert_true(warned(&o, ":2: unknown key election-timeuot is ignored (did you mean "
                           "election-timeout?)"));
    release(&o);
}

static void a_missing_file_is_an_error(void **state)
{
    struct outcome o;

    (void)state;
    parse(&o, "--config-file /nonexistent/kvd.yaml", "");
    assert_int_equal(o.action, CONFIG_EXIT_INVALID);
    assert_string_equal(o.err.text, "cannot read the configuration file /nonexistent/kvd.yaml: No "
                                    "such file or directory");
    release(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_flags_it_is_etcds_single_member),
        cmocka_unit_test(flags_are_taken_in_every_spelling),
        cmocka_unit_test(a_bare_switch_is_true),
        cmocka_unit_test(numbers_and_durations_reach_their_fields),
        cmocka_unit_test(the_initial_cluster_keeps_its_order_and_sorts_each_members_urls),
        cmocka_unit_test(an_advertised_name_matches_its_address),
        cmocka_unit_test(repeated_urls_count_once),
        cmocka_unit_test(help_and_version_are_printed_and_end_well),
        cmocka_unit_test(bad_flags_are_named),
        cmocka_unit_test(contradictions_are_refused_in_etcds_words),
        cmocka_unit_test(compaction_retention_is_hours_a_duration_or_revisions),
        cmocka_unit_test(wrong_compaction_settings_are_explained),
        cmocka_unit_test(what_must_not_be_ignored_is_refused),
        cmocka_unit_test(https_without_a_certificate_is_refused),
        cmocka_unit_test(tls_flags_go_to_their_fields),
        cmocka_unit_test(defaults_of_refused_flags_are_no_error_and_no_warning),
        cmocka_unit_test(odd_auth_settings_become_the_usual_ones),
        cmocka_unit_test(the_progress_interval_has_two_names),
        cmocka_unit_test(comparisons_of_the_members_are_set),
        cmocka_unit_test(what_is_ignored_is_said),
        cmocka_unit_test(metrics_are_basic_or_extensive),
        cmocka_unit_test(every_flag_accepts_its_own_default),
        cmocka_unit_test(flags_are_unique_and_refused_ones_say_why),
        cmocka_unit_test(variables_stand_for_flags),
        cmocka_unit_test(a_flag_and_its_variable_together_are_refused),
        cmocka_unit_test(bad_variables_are_named),
        cmocka_unit_test(unknown_variables_are_named_without_their_values),
        cmocka_unit_test_setup_teardown(etcds_sample_file_is_understood, setup_file, teardown_file),
        cmocka_unit_test_setup_teardown(json_is_a_file_too, setup_file, teardown_file),
        cmocka_unit_test_setup_teardown(a_file_replaces_flags_and_variables, setup_file,
                                        teardown_file),
        cmocka_unit_test_setup_teardown(the_file_can_be_named_by_a_variable, setup_file,
                                        teardown_file),
        cmocka_unit_test_setup_teardown(bad_files_are_explained_with_the_line, setup_file,
                                        teardown_file),
        cmocka_unit_test_setup_teardown(tls_in_a_file_has_names_of_its_own, setup_file,
                                        teardown_file),
        cmocka_unit_test_setup_teardown(unknown_keys_draw_a_warning_with_a_guess, setup_file,
                                        teardown_file),
        cmocka_unit_test(a_missing_file_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
