#include "server/auth_jwt.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/codec.h"
#include "base/idmap.h"
#include "base/mem.h"
#include "base/util.h"
#include "server/config_internal.h"

enum {
    KEY_FILE_MAX = 64 << 10,
    TTL_DEFAULT_S = 5 * 60,
    SIGNATURE_MAX = 2048,
    TOKEN_MAX = 16 << 10,
    KNOWN_MAX = 4096, /* tokens remembered; then all are forgotten */
};

#define NS_PER_S UINT64_C(1000000000)

enum family { FAMILY_RSA, FAMILY_PSS, FAMILY_ECDSA, FAMILY_EDDSA, FAMILY_HMAC };

struct method {
    const char *name;
    enum family family;
    const char *digest; /* OpenSSL's name; NULL: none of its own */
    size_t half;        /* of an ECDSA signature: bytes of r and of s */
};

static const struct method methods[] = {
    {"RS256", FAMILY_RSA, "SHA256", 0},    {"RS384", FAMILY_RSA, "SHA384", 0},
    {"RS512", FAMILY_RSA, "SHA512", 0},    {"PS256", FAMILY_PSS, "SHA256", 0},
    {"PS384", FAMILY_PSS, "SHA384", 0},    {"PS512", FAMILY_PSS, "SHA512", 0},
    {"ES256", FAMILY_ECDSA, "SHA256", 32}, {"ES384", FAMILY_ECDSA, "SHA384", 48},
    {"ES512", FAMILY_ECDSA, "SHA512", 66}, {"EdDSA", FAMILY_EDDSA, NULL, 0},
    {"HS256", FAMILY_HMAC, "SHA256", 0},   {"HS384", FAMILY_HMAC, "SHA384", 0},
    {"HS512", FAMILY_HMAC, "SHA512", 0},
};

/* A token that was found good. */
struct known {
    uint8_t hash[SHA256_DIGEST_LENGTH];
    int64_t expires_s;
    uint64_t revision;
    char user[];
};

struct auth_jwt {
    const struct method *method;
    EVP_PKEY *private_key, *public_key; /* NULL: none */
    struct buf secret;                  /* HS */
    int64_t ttl_s;
    struct idmap known; /* by the first eight bytes of the hash */
};

/* ---- options ---- */

static int read_file(const char *option, const char *path, struct buf *out, struct err *err)
{
    FILE *file = fopen(path, "rb");
    uint8_t chunk[4096];
    size_t len;
    int rc = 0;

    if (file == NULL)
        return err_set(err, errno == ENOENT ? KV_ENOTFOUND : KV_EIO, "--auth-token: %s=%s: %s",
                       option, path, strerror(errno));
    while (rc == 0 && (len = fread(chunk, 1, sizeof chunk, file)) > 0)
        rc = buf_append(out, chunk, len);
    if (rc == 0 && (ferror(file) || out->len == 0))
        rc = KV_EIO;
    (void)fclose(file); /* only read */
    return rc == 0 ? 0
                   : err_set(err, KV_EINVAL, "--auth-token: %s=%s: empty, too large or unreadable",
                             option, path);
}

/* A PEM key of the kind that the method wants. */
static int take_key(const struct auth_jwt *jwt, const char *option, const char *path,
                    bool is_private, EVP_PKEY **out, struct err *err)
{
    static const int types[] = {[FAMILY_RSA] = EVP_PKEY_RSA,
                                [FAMILY_PSS] = EVP_PKEY_RSA,
                                [FAMILY_ECDSA] = EVP_PKEY_EC,
                                [FAMILY_EDDSA] = EVP_PKEY_ED25519};
    struct buf bytes;
    BIO *bio;
    int rc;

    buf_init(&bytes, KEY_FILE_MAX);
    rc = read_file(option, path, &bytes, err);
    if (rc == 0) {
        bio = BIO_new_mem_buf(bytes.data, (int)bytes.len);
        *out = is_private ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL)
                          : PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
        (void)BIO_free(bio);
        if (*out == NULL)
            rc = err_set(err, KV_EINVAL, "--auth-token: %s=%s is no PEM file with a %s key", option,
                         path, is_private ? "private" : "public");
        else if (EVP_PKEY_base_id(*out) != types[jwt->method->family])
            rc = err_set(err, KV_EINVAL, "--auth-token: the key in %s=%s does not fit %s", option,
                         path, jwt->method->name);
    }
    if (bytes.data != NULL)
        OPENSSL_cleanse(bytes.data, bytes.len);
    buf_release(&bytes);
    return rc;
}

struct options {
    const char *method, *public_key, *private_key, *ttl;
};

static int split(char *text, struct options *out, struct err *err)
{
    char *rest = NULL;

    for (char *word = strtok_r(text, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
        char *value = strchr(word, '=');

        if (value == NULL)
            return err_set(err, KV_EINVAL, "--auth-token: %s has no value", word);
        *value++ = '\0';
        if (strcmp(word, "sign-method") == 0)
            out->method = value;
        else if (strcmp(word, "pub-key") == 0)
            out->public_key = value;
        else if (strcmp(word, "priv-key") == 0)
            out->private_key = value;
        else if (strcmp(word, "ttl") == 0)
            out->ttl = value;
        else
            return err_set(err, KV_EINVAL,
                           "--auth-token: %s is none of sign-method, pub-key, priv-key, ttl", word);
    }
    return 0;
}

static int take_keys(struct auth_jwt *jwt, const struct options *options, struct err *err)
{
    int rc = 0;

    if (jwt->method->family == FAMILY_HMAC) {
        if (options->private_key == NULL)
            return err_set(err, KV_EINVAL, "--auth-token: %s needs priv-key=FILE",
                           jwt->method->name);
        return read_file("priv-key", options->private_key, &jwt->secret, err);
    }
    if (options->private_key == NULL && options->public_key == NULL)
        return err_set(err, KV_EINVAL, "--auth-token: %s needs priv-key=FILE or pub-key=FILE",
                       jwt->method->name);
    if (options->private_key != NULL)
        rc = take_key(jwt, "priv-key", options->private_key, true, &jwt->private_key, err);
    if (rc == 0 && options->public_key != NULL)
        rc = take_key(jwt, "pub-key", options->public_key, false, &jwt->public_key, err);
    return rc;
}

static int set_up(struct auth_jwt *jwt, const struct options *options, struct err *err)
{
    uint64_t ttl_ns = TTL_DEFAULT_S * NS_PER_S;

    if (options->method == NULL)
        return err_set(err, KV_EINVAL, "--auth-token: jwt needs sign-method=, for instance RS256");
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (strcmp(methods[i].name, options->method) == 0)
            jwt->method = &methods[i];
    if (jwt->method == NULL)
        return err_set(err, KV_EINVAL, "--auth-token: sign-method=%s is not known",
                       options->method);
    if (options->ttl != NULL &&
        (config__parse_duration(options->ttl, &ttl_ns, err) != 0 || ttl_ns < NS_PER_S))
        return err_set(err, KV_EINVAL, "--auth-token: ttl=%s is no duration of a second or more",
                       options->ttl);
    jwt->ttl_s = (int64_t)(ttl_ns / NS_PER_S);
    return take_keys(jwt, options, err);
}

int auth_jwt_new(const char *spec, struct auth_jwt **out, struct err *err)
{
    struct auth_jwt *jwt = xcalloc(1, sizeof *jwt);
    struct options options = {0};
    char *text = xstrdup(spec);
    int rc;

    buf_init(&jwt->secret, KEY_FILE_MAX);
    idmap_init(&jwt->known);
    rc = split(text, &options, err);
    if (rc == 0)
        rc = set_up(jwt, &options, err);
    free(text);
    if (rc != 0) {
        auth_jwt_free(jwt);
        return rc;
    }
    *out = jwt;
    return 0;
}

static void forget_known(struct auth_jwt *jwt)
{
    struct known *known;
    size_t cursor = 0;

    while ((known = idmap_next(&jwt->known, &cursor)) != NULL)
        free(known);
    idmap_release(&jwt->known);
    idmap_init(&jwt->known);
}

void auth_jwt_free(struct auth_jwt *jwt)
{
    if (jwt == NULL)
        return;
    forget_known(jwt);
    EVP_PKEY_free(jwt->private_key);
    EVP_PKEY_free(jwt->public_key);
    if (jwt->secret.data != NULL)
        OPENSSL_cleanse(jwt->secret.data, jwt->secret.len);
    buf_release(&jwt->secret);
    free(jwt);
}

/* ---- base64url without padding (RFC 7515, appendix C) ---- */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(struct buf *out, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i += 3) {
        size_t left = MIN(len - i, (size_t)3);
        uint32_t bits = (uint32_t)bytes[i] << 16;

        bits |= left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
        bits |= left > 2 ? bytes[i + 2] : 0;
        for (size_t n = 0; n <= left; n++) /* a token is far below the bound of its buf */
            (void)buf_append_u8(out, (uint8_t)digits[bits >> (18 - 6 * n) & 63]);
    }
}

/* out has room for the text. False: it is none. */
static bool decode(struct slice text, uint8_t *out, size_t *len)
{
    uint32_t bits = 0;
    unsigned have = 0;

    *len = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *at = text.data[i] == 0 ? NULL : strchr(digits, text.data[i]);

        if (at == NULL)
            return false;
        bits = bits << 6 | (uint32_t)(at - digits);
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[(*len)++] = (uint8_t)(bits >> have);
        }
    }
    return true;
}

/* ---- signatures ---- */

static bool set_padding(const struct method *method, EVP_PKEY_CTX *key)
{
    return method->family != FAMILY_PSS ||
           (EVP_PKEY_CTX_set_rsa_padding(key, RSA_PKCS1_PSS_PADDING) == 1 &&
            EVP_PKEY_CTX_set_rsa_pss_saltlen(key, RSA_PSS_SALTLEN_DIGEST) == 1);
}

static const EVP_MD *digest_of(const struct method *method)
{
    return method->digest != NULL ? EVP_get_digestbyname(method->digest) : NULL;
}

/* JWS has r and s side by side, OpenSSL a DER sequence (RFC 7518, section 3.4). */
static bool plain_of_der(const struct method *method, uint8_t *bytes, size_t *len)
{
    const uint8_t *at = bytes;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)*len);
    uint8_t plain[2 * 66];
    bool ok = sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), plain, (int)method->half) >= 0 &&
              BN_bn2binpad(ECDSA_SIG_get0_s(sig), plain + method->half, (int)method->half) >= 0;

    ECDSA_SIG_free(sig);
    if (ok) {
        *len = 2 * method->half;
        memcpy(bytes, plain, *len);
    }
    return ok;
}

static bool der_of_plain(const struct method *method, uint8_t *bytes, size_t *len)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    uint8_t *at = bytes;
    BIGNUM *r, *s;
    bool ok = *len == 2 * method->half;

    if (ok) {
        r = BN_bin2bn(bytes, (int)method->half, NULL);
        s = BN_bin2bn(bytes + method->half, (int)method->half, NULL);
        ok = ECDSA_SIG_set0(sig, r, s) == 1; /* which owns them now */
    }
    if (ok)
        *len = (size_t)i2d_ECDSA_SIG(sig, &at);
    ECDSA_SIG_free(sig);
    return ok;
}

static bool hmac(const struct auth_jwt *jwt, struct slice text, uint8_t *out, size_t *len)
{
    unsigned written = 0;

    if (HMAC(digest_of(jwt->method), jwt->secret.data, (int)jwt->secret.len, text.data, text.len,
             out, &written) == NULL)
        return false;
    *len = written;
    return true;
}

/* out has SIGNATURE_MAX bytes. */
static bool make_signature(const struct auth_jwt *jwt, struct slice text, uint8_t *out, size_t *len)
{
    EVP_MD_CTX *ctx;
    EVP_PKEY_CTX *key;
    bool ok;

    if (jwt->method->family == FAMILY_HMAC)
        return hmac(jwt, text, out, len);
    if (jwt->private_key == NULL)
        return false;
    ctx = EVP_MD_CTX_new();
    *len = SIGNATURE_MAX;
    ok = EVP_DigestSignInit(ctx, &key, digest_of(jwt->method), NULL, jwt->private_key) == 1 &&
         set_padding(jwt->method, key) && EVP_DigestSign(ctx, out, len, text.data, text.len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok && (jwt->method->family != FAMILY_ECDSA || plain_of_der(jwt->method, out, len));
}

/* signature has SIGNATURE_MAX bytes of room, and may be changed. */
static bool check_signature(const struct auth_jwt *jwt, struct slice text, uint8_t *signature,
                            size_t len)
{
    EVP_PKEY *public_key = jwt->public_key != NULL ? jwt->public_key : jwt->private_key;
    uint8_t expected[EVP_MAX_MD_SIZE];
    size_t expected_len;
    EVP_MD_CTX *ctx;
    EVP_PKEY_CTX *key;
    bool ok;

    if (jwt->method->family == FAMILY_HMAC)
        return hmac(jwt, text, expected, &expected_len) && expected_len == len &&
               CRYPTO_memcmp(expected, signature, len) == 0;
    if (jwt->method->family == FAMILY_ECDSA && !der_of_plain(jwt->method, signature, &len))
        return false;
    ctx = EVP_MD_CTX_new();
    ok = EVP_DigestVerifyInit(ctx, &key, digest_of(jwt->method), NULL, public_key) == 1 &&
         set_padding(jwt->method, key) &&
         EVP_DigestVerify(ctx, signature, len, text.data, text.len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

/* ---- tokens ---- */

char *auth_jwt_sign(const struct auth_jwt *jwt, const char *user, uint64_t revision, int64_t now_s)
{
    struct json_object *claims = json_object_new_object();
    uint8_t signature[SIGNATURE_MAX];
    char head[64];
    const char *body;
    struct buf out;
    size_t len;

    buf_init(&out, 1 << 20);
    (void)snprintf(head, sizeof head, "{\"alg\":\"%s\",\"typ\":\"JWT\"}", jwt->method->name);
    (void)json_object_object_add(claims, "exp", json_object_new_int64(now_s + jwt->ttl_s));
    (void)json_object_object_add(claims, "revision", json_object_new_uint64(revision));
    (void)json_object_object_add(claims, "username", json_object_new_string(user));
    body = json_object_to_json_string_ext(claims, JSON_C_TO_STRING_PLAIN);
    encode(&out, (const uint8_t *)head, strlen(head));
    (void)buf_append_u8(&out, '.');
    encode(&out, (const uint8_t *)body, strlen(body));
    (void)json_object_put(claims);
    if (!make_signature(jwt, buf_slice(&out), signature, &len)) {
        buf_release(&out);
        return NULL;
    }
    (void)buf_append_u8(&out, '.');
    encode(&out, signature, len);
    (void)buf_append_u8(&out, '\0');
    return (char *)out.data; /* a buf's memory is malloc's */
}

static struct json_object *parse_part(struct slice part)
{
    uint8_t *text = xmalloc(part.len + 1);
    struct json_object *object = NULL;
    size_t len;

    if (decode(part, text, &len)) {
        text[len] = '\0';
        object = json_tokener_parse((const char *)text);
    }
    free(text);
    if (object != NULL && !json_object_is_type(object, json_type_object)) {
        (void)json_object_put(object);
        object = NULL;
    }
    return object;
}

/* The method must be ours: never what the token would like ("none", HS with a public key). */
static bool check_head(const struct auth_jwt *jwt, struct slice part)
{
    struct json_object *head = parse_part(part), *alg = NULL;
    bool ok = head != NULL && json_object_object_get_ex(head, "alg", &alg) &&
              json_object_is_type(alg, json_type_string) &&
              strcmp(json_object_get_string(alg), jwt->method->name) == 0;

    (void)json_object_put(head);
    return ok;
}

static struct known *take_claims(struct slice part)
{
    struct json_object *claims = parse_part(part), *user = NULL, *revision = NULL, *exp = NULL;
    struct known *known = NULL;

    if (claims != NULL && json_object_object_get_ex(claims, "username", &user) &&
        json_object_object_get_ex(claims, "revision", &revision) &&
        json_object_object_get_ex(claims, "exp", &exp) &&
        json_object_is_type(user, json_type_string)) {
        const char *name = json_object_get_string(user);

        known = xcalloc(1, sizeof *known + strlen(name) + 1);
        memcpy(known->user, name, strlen(name) + 1);
        known->revision = json_object_get_uint64(revision);
        known->expires_s = json_object_get_int64(exp);
    }
    (void)json_object_put(claims);
    return known;
}

static struct known *verify(const struct auth_jwt *jwt, struct slice token)
{
    const uint8_t *one = memchr(token.data, '.', token.len);
    const uint8_t *two = memrchr(token.data, '.', token.len);
    uint8_t signature[SIGNATURE_MAX];
    struct slice head, body, tail;
    size_t len;

    if (one == NULL || one == two)
        return NULL;
    head = slice_of(token.data, (size_t)(one - token.data));
    body = slice_of(one + 1, (size_t)(two - one - 1));
    tail = slice_of(two + 1, token.len - (size_t)(two + 1 - token.data));
    /* Room for what ECDSA makes of it, too. */
    if (tail.len > SIGNATURE_MAX - 64 || !decode(tail, signature, &len) || !check_head(jwt, head) ||
        !check_signature(jwt, slice_of(token.data, (size_t)(two - token.data)), signature, len))
        return NULL;
    return take_claims(body);
}

static struct known *remember(struct auth_jwt *jwt, struct known *known)
{
    if (jwt->known.count >= KNOWN_MAX)
        forget_known(jwt);
    free(idmap_put(&jwt->known, get_le64(known->hash), known));
    return known;
}

bool auth_jwt_verify(struct auth_jwt *jwt, struct slice token, int64_t now_s, struct slice *user,
                     uint64_t *revision)
{
    uint8_t hash[SHA256_DIGEST_LENGTH];
    struct known *known;

    if (token.len == 0 || token.len > TOKEN_MAX)
        return false;
    (void)SHA256(token.data, token.len, hash); /* returns hash */
    known = idmap_get(&jwt->known, get_le64(hash));
    if (known == NULL || CRYPTO_memcmp(known->hash, hash, sizeof hash) != 0) {
        known = verify(jwt, token);
        if (known == NULL)
            return false;
        memcpy(known->hash, hash, sizeof hash);
        known = remember(jwt, known);
    }
    if (known->expires_s <= now_s)
        return false;
    *user = slice_str(known->user);
    *revision = known->revision;
    return true;
}
