#include "kube/dev.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/cert.h"

enum { DAYS = 3650, FILE_MAX = 1 << 20, TOKEN_BYTES = 24, SOCKET_PATH_MAX = 100 };

/* ---- certificates ---- */

static int make_signed(const struct cert *ca, const char *name, const char *organization,
                       const char *const *hosts, size_t host_count, const char *cert_file,
                       const char *key_file, struct err *err)
{
    struct cert_options options = {.common_name = name,
                                   .organization = organization,
                                   .hosts = hosts,
                                   .host_count = host_count,
                                   .days = DAYS,
                                   .issuer = ca};
    struct cert *cert = NULL;
    int rc = cert_new(&options, &cert, err);

    if (rc == 0)
        rc = cert_write(cert, cert_file, key_file, err);
    cert_free(cert);
    return rc;
}

static int make_certificates(const struct dev *dev, const char *advertise, struct err *err)
{
    const struct cert_options ca_options = {
        .common_name = "kvapi-dev-ca", .days = DAYS, .is_ca = true};
    const char *hosts[] = {"localhost",
                           "127.0.0.1",
                           "::1",
                           "10.96.0.1",
                           "kubernetes",
                           "kubernetes.default",
                           "kubernetes.default.svc",
                           "kubernetes.default.svc.cluster.local",
                           advertise};
    size_t host_count = ARRAY_LEN(hosts) - (advertise == NULL);
    struct cert *ca = NULL;
    int rc = cert_new(&ca_options, &ca, err);

    if (rc == 0)
        rc = make_signed(ca, "kube-apiserver", NULL, hosts, host_count, dev->cert, dev->key, err);
    if (rc == 0)
        rc = make_signed(ca, "kubernetes-admin", "system:masters", NULL, 0, dev->admin_cert,
                         dev->admin_key, err);
    if (rc == 0)
        rc = cert_write(ca, dev->ca, dev->ca_key, err); /* last: it says that all are there */
    cert_free(ca);
    return rc;
}

/* ---- files ---- */

static int write_file(const char *path, const char *text, struct err *err)
{
    char *temporary = xasprintf("%s.tmp", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t len = strlen(text);
    int rc = 0;

    if (fd < 0 || write(fd, text, len) != (ssize_t)len || close(fd) != 0 ||
        rename(temporary, path) != 0)
        rc = err_set_errno(err, errno, "writing %s", path);
    free(temporary);
    return rc;
}

static int make_token(const struct dev *dev, struct err *err)
{
    unsigned char bytes[TOKEN_BYTES];
    char hex[2 * TOKEN_BYTES + 1];
    char *line;
    int rc;

    if (RAND_bytes(bytes, sizeof bytes) != 1)
        return err_set(err, KV_EIO, "no random bytes for a token");
    for (size_t i = 0; i < sizeof bytes; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    line = xasprintf("%s,admin,admin,\"system:masters\"\n", hex);
    rc = write_file(dev->tokens, line, err);
    free(line);
    return rc;
}

/* The content as base64, as a kubeconfig carries it; heap. NULL: err says why. */
static char *read_base64(const char *path, struct err *err)
{
    FILE *file = fopen(path, "re");
    unsigned char *text;
    char *out = NULL;
    size_t len;

    if (file == NULL) {
        (void)err_set_errno(err, errno, "reading %s", path);
        return NULL;
    }
    text = xmalloc(FILE_MAX);
    len = fread(text, 1, FILE_MAX, file);
    if (ferror(file) != 0 || len == 0) {
        (void)err_set_errno(err, errno, "reading %s", path);
    } else {
        out = xmalloc(4 * ((len + 2) / 3) + 1);
        (void)EVP_EncodeBlock((unsigned char *)out, text, (int)len); /* the length is known */
    }
    free(text);
    (void)fclose(file); /* was only read */
    return out;
}

static bool exists(const char *path)
{
    return access(path, R_OK) == 0;
}

static bool has_certificates(const struct dev *dev)
{
    return exists(dev->ca) && exists(dev->cert) && exists(dev->key) && exists(dev->admin_cert) &&
           exists(dev->admin_key);
}

int dev_open(const char *dir, const char *advertise, struct dev *out, struct err *err)
{
    int rc = 0;

    *out = (struct dev){
        .dir = dir,
        .ca = xasprintf("%s/ca.crt", dir),
        .ca_key = xasprintf("%s/ca.key", dir),
        .cert = xasprintf("%s/apiserver.crt", dir),
        .key = xasprintf("%s/apiserver.key", dir),
        .admin_cert = xasprintf("%s/admin.crt", dir),
        .admin_key = xasprintf("%s/admin.key", dir),
        .tokens = xasprintf("%s/tokens.csv", dir),
        .kubeconfig = xasprintf("%s/kubeconfig", dir),
        .kvd_url = xasprintf("unix://%s/kvd.sock", dir),
    };
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        rc = err_set_errno(err, errno, "making the directory %s", dir);
    if (rc == 0 && !has_certificates(out))
        rc = make_certificates(out, advertise, err);
    if (rc == 0 && !exists(out->tokens))
        rc = make_token(out, err);
    if (rc != 0)
        dev_release(out);
    return rc;
}

int dev_write_kubeconfig(const struct dev *dev, const char *server, struct err *err)
{
    char *ca = read_base64(dev->ca, err);
    char *cert = ca == NULL ? NULL : read_base64(dev->admin_cert, err);
    char *key = cert == NULL ? NULL : read_base64(dev->admin_key, err);
    int rc = KV_EIO;

    if (key != NULL) {
        char *text = xasprintf("apiVersion: v1\n"
                               "kind: Config\n"
                               "clusters:\n"
                               "- name: kvapi\n"
                               "  cluster:\n"
                               "    server: %s\n"
                               "    certificate-authority-data: %s\n"
                               "users:\n"
                               "- name: admin\n"
                               "  user:\n"
                               "    client-certificate-data: %s\n"
                               "    client-key-data: %s\n"
                               "contexts:\n"
                               "- name: kvapi\n"
                               "  context:\n"
                               "    cluster: kvapi\n"
                               "    user: admin\n"
                               "current-context: kvapi\n",
                               server, ca, cert, key);

        rc = write_file(dev->kubeconfig, text, err);
        free(text);
    }
    free(ca);
    free(cert);
    free(key);
    return rc;
}

/* ---- kvd ---- */

static char *kvd_program(void)
{
    char path[4096];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    char *slash;

    if (len <= 0)
        return xstrdup("kvd");
    path[len] = '\0';
    slash = strrchr(path, '/');
    *slash = '\0';
    return xasprintf("%s/kvd", path);
}

/* Never returns. Between fork and exec only calls that are safe there. */
static void become_kvd(char *const *argv, int log, pid_t parent)
{
    sigset_t none;

    (void)setpgid(0, 0); /* Ctrl-C is for us: kvd stops when we tell it */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent)
        _exit(126);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)dup2(log, STDOUT_FILENO);
    (void)dup2(log, STDERR_FILENO);
    (void)execv(argv[0], argv);
    _exit(127);
}

int dev_start_kvd(struct dev *dev, struct err *err)
{
    char *program = kvd_program();
    char *data = xasprintf("%s/kvd", dev->dir);
    char *log_file = xasprintf("%s/kvd.log", dev->dir);
    char *peer = xasprintf("unix://%s/kvd-peer.sock", dev->dir);
    char *cluster = xasprintf("dev=%s", peer);
    char *argv[] = {program,      "--name",
                    "dev",        "--data-dir",
                    data,         "--listen-client-urls",
                    dev->kvd_url, "--advertise-client-urls",
                    dev->kvd_url, "--listen-peer-urls",
                    peer,         "--initial-advertise-peer-urls",
                    peer,         "--initial-cluster",
                    cluster,      NULL};
    pid_t self = getpid();
    int log = -1, rc = 0;

    if (strlen(peer) > SOCKET_PATH_MAX)
        rc = err_set(err, KV_EINVAL, "--dev: the path %s is too long for a socket in it", dev->dir);
    else if (access(program, X_OK) != 0)
        rc = err_set_errno(
            err, errno, "--dev starts the kvd beside kvapi (or give --etcd-servers): %s", program);
    if (rc == 0) {
        log = open(log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (log < 0)
            rc = err_set_errno(err, errno, "opening %s", log_file);
    }
    if (rc == 0) {
        dev->kvd = fork();
        if (dev->kvd == 0)
            become_kvd(argv, log, self);
        if (dev->kvd < 0) {
            rc = err_set_errno(err, errno, "starting %s", program);
            dev->kvd = 0;
        }
    }
    if (log >= 0)
        (void)close(log);
    free(program);
    free(data);
    free(log_file);
    free(peer);
    free(cluster);
    return rc;
}

void dev_stop_kvd(const struct dev *dev)
{
    if (dev->kvd > 0)
        (void)kill(dev->kvd, SIGTERM); /* gone already is as good */
}

void dev_release(struct dev *dev)
{
    char *const texts[] = {dev->ca,     dev->ca_key,     dev->cert,
                           dev->key,    dev->admin_cert, dev->admin_key,
                           dev->tokens, dev->kubeconfig, dev->kvd_url};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        free(texts[i]);
    *dev = (struct dev){0};
}
