/* etcd's configuration file: YAML, or JSON as a part of it. Keys are flag names; TLS has two
 * mappings of its own; durations are nanoseconds. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/buf.h"
#include "base/mem.h"
#include "server/config_internal.h"

enum { FILE_TEXT_MAX = 1 << 20 };

struct file_reader {
    struct draft *draft;
    const char *path;
    yaml_document_t document;
};

static bool is_null(const yaml_node_t *node)
{
    const char *text = (const char *)node->data.scalar.value;

    return node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static int fail(const struct file_reader *reader, const yaml_node_t *node, const char *key,
                const char *why, struct err *err)
{
    return err_set(err, KV_EINVAL, "%s:%zu: %s: %s", reader->path, node->start_mark.line + 1, key,
                   why);
}

/* YAML 1.1 has more words for booleans than Go's flags. */
static const char *plain_bool(const char *text)
{
    static const char *const yes[] = {"yes", "Yes", "YES", "on", "On", "ON"};
    static const char *const no[] = {"no", "No", "NO", "off", "Off", "OFF"};

    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (strcmp(text, yes[i]) == 0)
            return "true";
        if (strcmp(text, no[i]) == 0)
            return "false";
    }
    return text;
}

/* The text that the same setting would have as a flag. */
static int value_text(struct file_reader *reader, const struct flag *flag, const yaml_node_t *node,
                      struct buf *out)
{
    const char *text = (const char *)node->data.scalar.value;

    if (node->type == YAML_SEQUENCE_NODE) {
        for (yaml_node_item_t *item = node->data.sequence.items.start;
             item < node->data.sequence.items.top; item++) {
            const yaml_node_t *element = yaml_document_get_node(&reader->document, *item);

            if (element->type != YAML_SCALAR_NODE)
                return KV_EINVAL;
            (void)buf_printf(out, "%s%s", out->len != 0 ? "," : "",
                             (const char *)element->data.scalar.value);
        }
    } else if (node->type != YAML_SCALAR_NODE) {
        return KV_EINVAL;
    } else if (flag->kind == FLAG_DURATION && text[0] != '\0' &&
               text[strspn(text, "0123456789")] == '\0') {
        (void)buf_printf(out, "%sns", text);
    } else {
        (void)buf_printf(out, "%s", flag->kind == FLAG_BOOL ? plain_bool(text) : text);
    }
    return buf_append_u8(out, '\0');
}

static int set_key(struct file_reader *reader, const struct flag *flag, const char *key,
                   const yaml_node_t *node, struct err *err)
{
    struct err why = ERR_INIT;
    struct buf text;
    int rc;

    if (is_null(node))
        return 0;
    if (config__given(reader->draft, flag->name))
        return fail(reader, node, key, "is given twice", err);
    buf_init(&text, FILE_TEXT_MAX);
    if (value_text(reader, flag, node, &text) != 0) {
        rc = fail(reader, node, key, "must be a plain value or a list of plain values", err);
    } else if (flag->initial == NULL && text.len == 1) {
        rc = 0; /* "" is as good as not there */
    } else {
        rc = config__set(reader->draft, flag, (const char *)text.data, &why);
        if (rc != 0)
            rc = fail(reader, node, key, why.text, err);
    }
    buf_release(&text);
    return rc;
}

/* client-transport-security and peer-transport-security: their keys are flags under other names. */
static const struct flag *transport_flag(bool peer, const char *key)
{
    static const struct {
        const char *key, *client, *peer;
    } renamed[] = {
        {"allowed-cn", NULL, "peer-cert-allowed-cn"},
        {"allowed-hostname", "client-cert-allowed-hostname", "peer-cert-allowed-hostname"},
        {"crl-file", "client-crl-file", "peer-crl-file"},
    };
    char name[128];

    for (size_t i = 0; i < ARRAY_LEN(renamed); i++) {
        const char *flag = peer ? renamed[i].peer : renamed[i].client;

        if (strcmp(key, renamed[i].key) == 0)
            return flag != NULL ? config__find(flag) : NULL;
    }
    (void)snprintf(name, sizeof name, "%s%s", peer ? "peer-" : "", key); /* cut: not found */
    return config__find(name);
}

typedef const struct flag *(*find_flag)(const char *key);

static const struct flag *find_client_tls(const char *key)
{
    return transport_flag(false, key);
}

static const struct flag *find_peer_tls(const char *key)
{
    return transport_flag(true, key);
}

static int read_mapping(struct file_reader *reader, const yaml_node_t *node, find_flag find,
                        struct err *err);

static int read_pair(struct file_reader *reader, const char *key, const yaml_node_t *value,
                     find_flag find, struct err *err)
{
    const struct flag *flag;
    const char *near;

    if (find == config__find && strcmp(key, "client-transport-security") == 0)
        return is_null(value) ? 0 : read_mapping(reader, value, find_client_tls, err);
    if (find == config__find && strcmp(key, "peer-transport-security") == 0)
        return is_null(value) ? 0 : read_mapping(reader, value, find_peer_tls, err);
    flag = find(key);
    if (flag != NULL)
        return set_key(reader, flag, key, value, err);
    near = config__nearest(key);
    config__warn(reader->draft, "%s:%zu: unknown key %s is ignored%s%s%s", reader->path,
                 value->start_mark.line + 1, key, near != NULL ? " (did you mean " : "",
                 near != NULL ? near : "", near != NULL ? "?)" : "");
    return 0;
}

static int read_mapping(struct file_reader *reader, const yaml_node_t *node, find_flag find,
                        struct err *err)
{
    if (node->type != YAML_MAPPING_NODE)
        return err_set(err, KV_EINVAL, "%s:%zu: expected 'name: value' lines", reader->path,
                       node->start_mark.line + 1);
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(&reader->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(&reader->document, pair->value);
        int rc;

        if (key->type != YAML_SCALAR_NODE)
            return err_set(err, KV_EINVAL, "%s:%zu: a key must be a plain word", reader->path,
                           key->start_mark.line + 1);
        rc = read_pair(reader, (const char *)key->data.scalar.value, value, find, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int read_document(struct draft *draft, const char *path, yaml_parser_t *parser,
                         struct err *err)
{
    struct file_reader reader = {.draft = draft, .path = path};
    yaml_node_t *root;
    int rc = 0;

    if (!yaml_parser_load(parser, &reader.document))
        return err_set(err, KV_EINVAL, "%s:%zu: %s", path, parser->problem_mark.line + 1,
                       parser->problem != NULL ? parser->problem : "not YAML");
    root = yaml_document_get_root_node(&reader.document);
    if (root != NULL && !is_null(root)) /* an empty file leaves the defaults */
        rc = read_mapping(&reader, root, config__find, err);
    yaml_document_delete(&reader.document);
    return rc;
}

int config__load_file(struct draft *draft, const char *path, struct err *err)
{
    FILE *file = fopen(path, "re");
    yaml_parser_t parser;
    int rc;

    if (file == NULL)
        return err_set_errno(err, errno, "cannot read the configuration file %s", path);
    if (!yaml_parser_initialize(&parser)) {
        (void)fclose(file); /* only read */
        return err_set(err, KV_EINVAL, "cannot start the YAML parser");
    }
    yaml_parser_set_input_file(&parser, file);
    rc = read_document(draft, path, &parser, err);
    yaml_parser_delete(&parser);
    (void)fclose(file); /* only read */
    return rc;
}
