#include "net/cert.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

enum { DAYS = 365, EARLY_S = 3600, SERIAL_BITS = 127, REASON_SIZE = 256 };

struct cert {
    X509 *x509;
    EVP_PKEY *key;
};

static int refuse(struct err *err, const char *what)
{
    char reason[REASON_SIZE];

    ERR_error_string_n(ERR_peek_last_error(), reason, sizeof reason);
    ERR_clear_error();
    return err_set(err, KV_EIO, "making a certificate: %s: %s", what, reason);
}

/* ---- extensions ---- */

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *extension;
    bool ok;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ok = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

static bool is_address(const char *host)
{
    unsigned char bytes[16];

    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

static bool add_hosts(X509 *cert, X509 *issuer, const struct cert_options *options)
{
    struct buf text;
    bool ok;

    if (options->host_count == 0)
        return true;
    buf_init(&text, 1 << 20);
    for (size_t i = 0; i < options->host_count; i++) /* what does not fit is refused below */
        (void)buf_printf(&text, "%s%s:%s", i > 0 ? "," : "",
                         is_address(options->hosts[i]) ? "IP" : "DNS", options->hosts[i]);
    ok = buf_append_u8(&text, '\0') == 0 &&
         add_extension(cert, issuer, NID_subject_alt_name, (char *)text.data);
    buf_release(&text);
    return ok;
}

static bool add_extensions(X509 *cert, X509 *issuer, const struct cert_options *options)
{
    if (options->is_ca)
        return add_extension(cert, issuer, NID_basic_constraints, "critical,CA:TRUE") &&
               add_extension(cert, issuer, NID_key_usage, "critical,keyCertSign,cRLSign") &&
               add_extension(cert, issuer, NID_subject_key_identifier, "hash");
    return add_extension(cert, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(cert, issuer, NID_key_usage, "critical,digitalSignature") &&
           add_extension(cert, issuer, NID_ext_key_usage, "serverAuth,clientAuth") &&
           add_hosts(cert, issuer, options);
}

/* ---- certificates ---- */

static bool add_name(X509_NAME *name, const char *field, const char *value)
{
    return value == NULL ||
           X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)value, -1,
                                      -1, 0) == 1;
}

static bool set_serial(X509 *cert)
{
    BIGNUM *number = BN_new();
    bool ok = number != NULL && BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) &&
              BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;

    BN_free(number);
    return ok;
}

static bool fill(X509 *cert, EVP_PKEY *key, const struct cert_options *options)
{
    long seconds = (options->days != 0 ? options->days : DAYS) * 24L * 3600;
    X509 *issuer = options->issuer != NULL ? options->issuer->x509 : cert;

    return X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
           X509_gmtime_adj(X509_getm_notBefore(cert), -EARLY_S) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(cert), seconds) != NULL &&
           X509_set_pubkey(cert, key) == 1 &&
           add_name(X509_get_subject_name(cert), "O", options->organization) &&
           add_name(X509_get_subject_name(cert), "CN", options->common_name) &&
           X509_set_issuer_name(cert, X509_get_subject_name(issuer)) == 1 &&
           add_extensions(cert, issuer, options);
}

int cert_new(const struct cert_options *options, struct cert **out, struct err *err)
{
    struct cert *cert = xcalloc(1, sizeof *cert);
    EVP_PKEY *signer;
    int rc = 0;

    cert->key = EVP_EC_gen("P-256");
    cert->x509 = X509_new();
    if (cert->key == NULL || cert->x509 == NULL)
        rc = refuse(err, "key");
    else if (!fill(cert->x509, cert->key, options))
        rc = refuse(err, options->common_name);
    signer = options->issuer != NULL ? options->issuer->key : cert->key;
    if (rc == 0 && X509_sign(cert->x509, signer, EVP_sha256()) == 0)
        rc = refuse(err, "signature");
    if (rc != 0)
        cert_free(cert);
    else
        *out = cert;
    return rc;
}

void cert_free(struct cert *cert)
{
    if (cert == NULL)
        return;
    X509_free(cert->x509);
    EVP_PKEY_free(cert->key);
    free(cert);
}

/* ---- files ---- */

/* Written under another name first: who reads it meanwhile sees the old or the new one. */
static int write_file(const char *path, mode_t mode, BIO *content, struct err *err)
{
    char *temporary = xasprintf("%s.tmp", path);
    char *data;
    long len = BIO_get_mem_data(content, &data);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    bool ok =
        fd >= 0 && fchmod(fd, mode) == 0 && write(fd, data, (size_t)len) == len && fsync(fd) == 0;
    int rc = 0;

    if (!ok)
        rc = err_set_errno(err, errno, "writing %s", path);
    if (fd >= 0)
        (void)close(fd); /* it is synced */
    if (rc == 0 && rename(temporary, path) != 0)
        rc = err_set_errno(err, errno, "writing %s", path);
    if (rc != 0)
        (void)unlink(temporary); /* perhaps never there */
    free(temporary);
    return rc;
}

int cert_write(const struct cert *cert, const char *cert_file, const char *key_file,
               struct err *err)
{
    BIO *pem = BIO_new(BIO_s_mem());
    int rc;

    if (pem == NULL || PEM_write_bio_PrivateKey(pem, cert->key, NULL, NULL, 0, NULL, NULL) != 1)
        rc = refuse(err, "key");
    else
        rc = write_file(key_file, 0600, pem, err);
    if (rc == 0) {
        (void)BIO_reset(pem);
        rc = PEM_write_bio_X509(pem, cert->x509) == 1 ? write_file(cert_file, 0644, pem, err)
                                                      : refuse(err, "certificate");
    }
    (void)BIO_free(pem);
    return rc;
}

static bool add_revoked(X509_CRL *crl, X509 *cert)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_TIME *now = X509_gmtime_adj(NULL, -EARLY_S);
    bool ok = entry != NULL && now != NULL &&
              X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(cert)) == 1 &&
              X509_REVOKED_set_revocationDate(entry, now) == 1 &&
              X509_CRL_add0_revoked(crl, entry) == 1;

    if (!ok)
        X509_REVOKED_free(entry);
    ASN1_TIME_free(now);
    return ok;
}

int cert_write_crl(const struct cert *ca, const struct cert *const *revoked, size_t count,
                   const char *path, struct err *err)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *from = X509_gmtime_adj(NULL, -EARLY_S);
    ASN1_TIME *to = X509_gmtime_adj(NULL, DAYS * 24L * 3600);
    BIO *pem = BIO_new(BIO_s_mem());
    bool ok = crl != NULL && from != NULL && to != NULL && pem != NULL &&
              X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 &&
              X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->x509)) == 1 &&
              X509_CRL_set1_lastUpdate(crl, from) == 1 && X509_CRL_set1_nextUpdate(crl, to) == 1;
    int rc;

    for (size_t i = 0; ok && i < count; i++)
        ok = add_revoked(crl, revoked[i]->x509);
    ok = ok && X509_CRL_sort(crl) == 1 && X509_CRL_sign(crl, ca->key, EVP_sha256()) != 0 &&
         PEM_write_bio_X509_CRL(pem, crl) == 1;
    rc = ok ? write_file(path, 0644, pem, err) : refuse(err, "revocation list");
    (void)BIO_free(pem);
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    X509_CRL_free(crl);
    return rc;
}
