#include "kube/flags.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "base/version.h"

enum kind { TEXT, NUMBER, SWITCH, SECONDS };

struct flag {
    const char *name;
    enum kind kind;
    size_t offset; /* in struct flags */
    const char *standard;
    const char *help;
};

#define AT(member) offsetof(struct flags, member)

/* clang-format off */
static const struct flag flags[] = {
    {"dev", TEXT, AT(dev), NULL, "directory: make CA, certificates, token and kubeconfig there, start a kvd with its data there (unless --etcd-servers is given), and say the one command to try"},
    {"etcd-servers", TEXT, AT(etcd_servers), NULL, "where kvd (or etcd) is, comma-separated: scheme://ip:port"},
    {"etcd-cafile", TEXT, AT(etcd_cafile), NULL, "CA that kvd's certificate is checked with"},
    {"etcd-certfile", TEXT, AT(etcd_certfile), NULL, "certificate that is shown to kvd"},
    {"etcd-keyfile", TEXT, AT(etcd_keyfile), NULL, "its key"},
    {"etcd-prefix", TEXT, AT(etcd_prefix), "/registry", "what all keys begin with"},
    {"etcd-compaction-interval", SECONDS, AT(compaction_interval_s), "5m", "history older than this is compacted; 0: never"},
    {"secure-port", NUMBER, AT(secure_port), "6443", "port for HTTPS; 0: any free one"},
    {"bind-address", TEXT, AT(bind_address), "0.0.0.0", "address it listens at; with --dev 127.0.0.1"},
    {"tls-cert-file", TEXT, AT(tls_cert_file), NULL, "certificate that clients see"},
    {"tls-private-key-file", TEXT, AT(tls_private_key_file), NULL, "its key"},
    {"tls-min-version", TEXT, AT(tls_min_version), NULL, "VersionTLS12 or VersionTLS13"},
    {"tls-cipher-suites", TEXT, AT(tls_cipher_suites), NULL, "of TLS 1.2, by IANA's names, comma-separated"},
    {"client-ca-file", TEXT, AT(client_ca_file), NULL, "clients with a certificate of this CA are its common name, in the groups that its organizations are"},
    {"token-auth-file", TEXT, AT(token_auth_file), NULL, "bearer tokens: lines of token,user,uid,\"group1,group2\""},
    {"anonymous-auth", SWITCH, AT(anonymous_auth), "true", "requests without certificate and token are system:anonymous; false: they are refused"},
    {"authorization-mode", TEXT, AT(authorization_mode), "Masters", "Masters: members of system:masters may do everything, others read discovery and health; AlwaysAllow: everybody everything. RBAC is yet to come"},
    {"insecure-port", NUMBER, AT(insecure_port), "0", "plain HTTP for whoever reaches it, as a member of system:masters; 0: off"},
    {"insecure-bind-address", TEXT, AT(insecure_bind_address), "127.0.0.1", "loopback only"},
    {"advertise-address", TEXT, AT(advertise_address), NULL, "address that discovery tells; default: the one it listens at"},
    {"event-ttl", SECONDS, AT(event_ttl_s), "1h", "how long events are kept"},
    {"request-timeout", SECONDS, AT(request_timeout_s), "1m", "how long a request waits for the store"},
    {"http2-max-streams-per-connection", NUMBER, AT(max_streams), "4096", "requests and watches at once on one connection; 0: any number"},
    {"v", NUMBER, AT(verbosity), "0", "3: a line per request"},
};
/* clang-format on */

/* ---- values ---- */

static int parse_number(const char *name, const char *text, int64_t *out, struct err *err)
{
    char *end;

    errno = 0;
    *out = strtoll(text, &end, 10);
    if (text[0] == '\0' || *end != '\0' || errno != 0 || *out < 0)
        return err_set(err, KV_EINVAL, "--%s=%s: it must be a number", name, text);
    return 0;
}

/* Go's durations of whole seconds: "1h30m", "45s", "0". */
static int parse_seconds(const char *name, const char *text, int64_t *out, struct err *err)
{
    int64_t total = 0;
    const char *at = text;

    if (strcmp(text, "0") == 0) {
        *out = 0;
        return 0;
    }
    while (*at != '\0') {
        char *end;
        long value = strtol(at, &end, 10);
        int64_t unit = *end == 'h' ? 3600 : *end == 'm' ? 60 : *end == 's' ? 1 : 0;

        if (end == at || unit == 0 || value < 0 || value > 1000000)
            return err_set(err, KV_EINVAL, "--%s=%s: it must be a duration such as 1h or 30s", name,
                           text);
        total += value * unit;
        at = end + 1;
    }
    *out = total;
    return at == text ? err_set(err, KV_EINVAL, "--%s: the duration is missing", name) : 0;
}

static int set(const struct flag *flag, const char *text, struct flags *out, struct err *err)
{
    void *to = (char *)out + flag->offset;

    switch (flag->kind) {
    case TEXT:
        *(const char **)to = text;
        return 0;
    case NUMBER:
        return parse_number(flag->name, text, to, err);
    case SECONDS:
        return parse_seconds(flag->name, text, to, err);
    case SWITCH:
        *(bool *)to = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
        if (*(bool *)to || strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
            return 0;
        return err_set(err, KV_EINVAL, "--%s=%s: it must be true or false", flag->name, text);
    }
    return 0;
}

/* ---- names ---- */

static const struct flag *find(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (strlen(flags[i].name) == len && strncmp(flags[i].name, name, len) == 0)
            return &flags[i];
    return NULL;
}

enum { NAME_MAX_LEN = 64 };

/* Levenshtein's distance. */
static size_t distance(const char *a, size_t a_len, const char *b)
{
    size_t row[NAME_MAX_LEN + 1];
    size_t b_len = strlen(b);

    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t corner = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t above = row[j];
            size_t cheapest = MIN(MIN(above, row[j - 1]) + 1, corner + (a[i - 1] != b[j - 1]));

            corner = above;
            row[j] = cheapest;
        }
    }
    return row[b_len];
}

static int refuse_unknown(const char *name, size_t len, struct err *err)
{
    const char *best = NULL;
    size_t best_distance = MAX(len / 3, (size_t)2) + 1;

    for (size_t i = 0; i < ARRAY_LEN(flags) && len <= NAME_MAX_LEN; i++) {
        size_t d = distance(name, len, flags[i].name);

        if (d < best_distance) {
            best_distance = d;
            best = flags[i].name;
        }
    }
    if (best != NULL)
        return err_set(err, KV_EINVAL, "unknown flag --%.*s; is --%s meant?", (int)len, name, best);
    return err_set(err, KV_EINVAL, "unknown flag --%.*s", (int)len, name);
}

static void print_help(void)
{
    printf("kvapi: a Kubernetes-style API server on kvd\n\n"
           "  kvapi --dev DIR                              everything on this machine, to try it\n"
           "  kvapi --etcd-servers URL --tls-cert-file F --tls-private-key-file F ...\n\n");
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        printf("  --%s%s\n      %s", flags[i].name,
               flags[i].kind == NUMBER    ? " N"
               : flags[i].kind == SWITCH  ? "[=true|false]"
               : flags[i].kind == SECONDS ? " DURATION"
                                          : " TEXT",
               flags[i].help);
        if (flags[i].standard != NULL)
            printf(" (default %s)", flags[i].standard);
        printf("\n");
    }
    printf("  --version, --help\n");
}

/* ---- the whole ---- */

static void set_defaults(struct flags *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (flags[i].standard != NULL)
            (void)set(&flags[i], flags[i].standard, out, NULL); /* ours are well formed */
    out->bind_address = NULL;
    out->secure_port = -1;
}

/* One flag, with its value in the same argument or the next. */
static int parse_one(int argc, char **argv, int *i, struct flags *out, struct err *err)
{
    const char *name = argv[*i] + (argv[*i][1] == '-' ? 2 : 1);
    size_t len = strcspn(name, "=");
    const struct flag *flag = find(name, len);

    if (flag == NULL)
        return refuse_unknown(name, len, err);
    if (name[len] == '=')
        return set(flag, name + len + 1, out, err);
    if (flag->kind == SWITCH)
        return set(flag, "true", out, err);
    if (++*i == argc)
        return err_set(err, KV_EINVAL, "--%s: the value is missing", flag->name);
    return set(flag, argv[*i], out, err);
}

static int check(const struct flags *out, struct err *err)
{
    if (out->etcd_servers == NULL && out->dev == NULL)
        return err_set(err, KV_EINVAL, "--etcd-servers is missing: where is kvd? Or try --dev DIR");
    if ((out->tls_cert_file == NULL) != (out->tls_private_key_file == NULL))
        return err_set(err, KV_EINVAL,
                       "--tls-cert-file and --tls-private-key-file go together: one is missing");
    if (out->tls_cert_file == NULL && out->dev == NULL && out->insecure_port == 0)
        return err_set(err, KV_EINVAL,
                       "there is no way in: give --tls-cert-file and --tls-private-key-file, or "
                       "--insecure-port for plain HTTP on loopback, or --dev DIR");
    if (out->secure_port > 65535 || out->insecure_port > 65535)
        return err_set(err, KV_EINVAL, "a port is at most 65535");
    if (out->max_streams > INT32_MAX)
        return err_set(err, KV_EINVAL, "--http2-max-streams-per-connection is at most %d",
                       INT32_MAX);
    if (strcmp(out->authorization_mode, "Masters") != 0 &&
        strcmp(out->authorization_mode, "AlwaysAllow") != 0)
        return err_set(err, KV_EINVAL,
                       "--authorization-mode=%s: only Masters and AlwaysAllow are there yet",
                       out->authorization_mode);
    if (strncmp(out->insecure_bind_address, "127.", 4) != 0 &&
        strcmp(out->insecure_bind_address, "::1") != 0 &&
        strcmp(out->insecure_bind_address, "localhost") != 0)
        return err_set(err, KV_EINVAL,
                       "--insecure-bind-address=%s: whoever reaches it may do everything, so it "
                       "must be an address of loopback",
                       out->insecure_bind_address);
    return 0;
}

enum flags_result flags_parse(int argc, char **argv, struct flags *out, struct err *err)
{
    set_defaults(out);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help();
            return FLAGS_EXIT_OK;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("kvapi %s\n", KVD_VERSION);
            return FLAGS_EXIT_OK;
        }
        if (argv[i][0] != '-') {
            (void)err_set(err, KV_EINVAL, "unexpected argument %s", argv[i]);
            return FLAGS_EXIT_BAD;
        }
        if (parse_one(argc, argv, &i, out, err) != 0)
            return FLAGS_EXIT_BAD;
    }
    return check(out, err) == 0 ? FLAGS_RUN : FLAGS_EXIT_BAD;
}
