#include <dirent.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/prng.h"
#include "kube/check/normal.h"
#include "kube/codec/protobuf.h"
#include "kube/types/kinds.h"

static struct arena arena = ARENA_INIT;

static int reset(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static const char *text_of(const struct json *value)
{
    struct buf buf;
    char *out;

    buf_init(&buf, 16 << 20);
    assert_int_equal(json_write(&buf, value), 0);
    out = arena_calloc(&arena, buf.len + 1);
    memcpy(out, buf.data, buf.len);
    buf_release(&buf);
    return out;
}

/* ---- messages by hand ---- */

/* Bytes out of text: "0a 03 'abc 10 01"; a word that begins with ' is itself. */
static struct slice bytes(const char *text)
{
    uint8_t *out = arena_alloc(&arena, strlen(text) + 1);
    size_t len = 0;

    while (*text != '\0') {
        size_t word = strcspn(text, " ");

        if (*text == '\'') {
            memcpy(out + len, text + 1, word - 1);
            len += word - 1;
        } else if (word > 0) {
            out[len++] = (uint8_t)strtoul(text, NULL, 16);
        }
        text += word + (text[word] == ' ');
    }
    return slice_of(out, len);
}

static const char *decoded(const char *package, const char *name, const char *message)
{
    struct json *out = NULL;
    struct err err = ERR_INIT;

    if (kube_protobuf_decode(&arena, kube_struct_find(package, name), bytes(message), &out, &err) !=
        0)
        fail_msg("%s", err.text);
    return text_of(out);
}

static const char *refused(const char *package, const char *name, const char *message)
{
    struct json *out = NULL;
    struct err *err = arena_calloc(&arena, sizeof(*err));

    assert_int_equal(
        kube_protobuf_decode(&arena, kube_struct_find(package, name), bytes(message), &out, err),
        KV_EPROTO);
    return err->text;
}

static void members_come_in_the_order_of_the_tables(void **state)
{
    (void)state;
    assert_string_equal(
        decoded("core/v1", "ContainerPort", "2a 01 'h 22 03 'TCP 18 50 0a 01 'n"),
        "{\"name\":\"n\",\"containerPort\":80,\"protocol\":\"TCP\",\"hostIP\":\"h\"}");
}

static void maps_are_sorted_and_the_last_value_of_a_key_stays(void **state)
{
    (void)state;
    assert_string_equal(decoded("core/v1", "ConfigMap",
                                "12 06 0a 01 'b 12 01 '1 12 06 0a 01 'a 12 01 '2 "
                                "12 06 0a 01 'b 12 01 '3 12 03 0a 01 'c"),
                        "{\"data\":{\"a\":\"2\",\"b\":\"3\",\"c\":\"\"}}");
    assert_string_equal(decoded("core/v1", "ConfigMap", "1a 09 0a 01 'k 12 04 00 01 02 ff"),
                        "{\"binaryData\":{\"k\":\"AAEC/w==\"}}");
}

static void embedded_messages_are_flattened(void **state)
{
    (void)state;
    assert_string_equal(decoded("core/v1", "Volume", "12 02 12 00 0a 01 'v"),
                        "{\"name\":\"v\",\"emptyDir\":{}}");
    /* RuleWithOperations in 2, and in it Rule in 2 */
    assert_string_equal(decoded("admissionregistration/v1", "NamedRuleWithOperations",
                                "12 0b 0a 03 'GET 12 04 0a 02 'v1"),
                        "{\"operations\":[\"GET\"],\"apiGroups\":[\"v1\"]}");
}

static void lists_with_a_name_are_messages(void **state)
{
    (void)state;
    assert_string_equal(decoded("authentication/v1", "UserInfo",
                                "22 0b 0a 01 'k 12 06 0a 01 'a 0a 01 'b 22 03 0a 01 'e"),
                        "{\"extra\":{\"e\":[],\"k\":[\"a\",\"b\"]}}");
}

static void scalars_have_the_forms_of_json(void **state)
{
    (void)state;
    assert_string_equal(decoded("core/v1", "HTTPGetAction", "12 04 08 00 10 50"), "{\"port\":80}");
    assert_string_equal(decoded("core/v1", "HTTPGetAction", "12 07 08 01 10 00 1a 01 'p"),
                        "{\"port\":\"p\"}");
    assert_string_equal(decoded("meta/v1", "ObjectMeta", "42 06 08 80 a2 f9 fa 06"),
                        "{\"creationTimestamp\":\"2029-03-17T14:28:16Z\"}");
    assert_string_equal(decoded("meta/v1", "ObjectMeta", "42 00"), "{\"creationTimestamp\":null}");
    assert_string_equal(decoded("coordination/v1", "LeaseSpec", "1a 09 08 80 94 eb dc 03 10 d0 0f"),
                        "{\"acquireTime\":\"2001-09-09T01:46:40.000002Z\"}");
    assert_string_equal(decoded("meta/v1", "ObjectMeta", "38 ff ff ff ff ff ff ff ff ff 01"),
                        "{\"generation\":-1}");
    assert_string_equal(decoded("core/v1", "EmptyDirVolumeSource", "12 05 0a 03 '1Gi"),
                        "{\"sizeLimit\":\"1Gi\"}");
    assert_string_equal(decoded("apps/v1", "ControllerRevision", "12 09 0a 07 '{\"a\":1} 18 02"),
                        "{\"data\":{\"a\":1},\"revision\":2}");
    /* 0.1, 1e-7, 300 */
    assert_string_equal(
        decoded("apiextensions/v1", "JSONSchemaProps", "49 9a 99 99 99 99 99 b9 3f"),
        "{\"maximum\":0.1}");
    assert_string_equal(
        decoded("apiextensions/v1", "JSONSchemaProps", "49 48 af bc 9a f2 d7 7a 3e"),
        "{\"maximum\":1e-7}");
    assert_string_equal(
        decoded("apiextensions/v1", "JSONSchemaProps", "49 00 00 00 00 00 c0 72 40"),
        "{\"maximum\":300}");
}

static void schemas_may_be_something_else(void **state)
{
    const char *const cases[][2] = {
        {"c2 01 05 0a 03 2a 01 'a", "{\"items\":{\"type\":\"a\"}}"},
        {"c2 01 0a 12 03 2a 01 'a 12 03 2a 01 'b",
         "{\"items\":[{\"type\":\"a\"},{\"type\":\"b\"}]}"},
        {"f2 01 02 08 01", "{\"additionalProperties\":true}"},
        {"f2 01 00", "{\"additionalProperties\":false}"},
        {"f2 01 07 08 01 12 03 2a 01 'a", "{\"additionalProperties\":{\"type\":\"a\"}}"},
        {"82 02 0b 0a 01 'k 12 06 12 01 'x 12 01 'y", "{\"dependencies\":{\"k\":[\"x\",\"y\"]}}"},
        {"82 02 07 0a 01 'k 12 02 0a 00", "{\"dependencies\":{\"k\":{}}}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(decoded("apiextensions/v1", "JSONSchemaProps", cases[i][0]),
                            cases[i][1]);
}

static void unknown_fields_are_skipped(void **state)
{
    (void)state;
    assert_string_equal(
        decoded("core/v1", "ContainerPort",
                "f8 ff ff ff 0f 01 fa 06 02 'ab b9 06 01 02 03 04 05 06 07 08 18 50 bd 06 1 2 3 4"),
        "{\"containerPort\":80}");
}

static void text_that_is_not_utf8_is_replaced(void **state)
{
    (void)state;
    assert_string_equal(decoded("core/v1", "ContainerPort", "0a 03 'a ff 'b"),
                        "{\"name\":\"a\xef\xbf\xbd"
                        "b\"}");
    assert_string_equal(decoded("core/v1", "ConfigMap", "12 07 0a 01 c3 12 02 c3 a4"),
                        "{\"data\":{\"\xef\xbf\xbd\":\"\xc3\xa4\"}}");
}

static void broken_messages_say_what_and_where(void **state)
{
    (void)state;
    assert_string_equal(refused("core/v1", "ContainerPort", "18 50 0a 05 'abc"),
                        "protobuf: a length that leads beyond the message at byte 4");
    assert_string_equal(refused("core/v1", "ContainerPort", "18"),
                        "protobuf: the message ends within a number at byte 1");
    assert_string_equal(refused("core/v1", "ContainerPort", "18 ff ff ff ff ff ff ff ff ff ff 01"),
                        "protobuf: a number of more than ten bytes at byte 1");
    assert_string_equal(
        refused("core/v1", "ContainerPort", "1a 01 'x"),
        "protobuf: containerPort: a wire type that does not fit the field at byte 0");
    assert_string_equal(refused("core/v1", "ContainerPort", "1b"),
                        "protobuf: an unknown wire type at byte 0");
    assert_string_equal(refused("core/v1", "ContainerPort", "00 00"),
                        "protobuf: field number 0 at byte 0");
    assert_string_equal(refused("meta/v1", "ObjectMeta", "42 0a 08 ff ff ff ff ff ff ff ff 7f"),
                        "protobuf: creationTimestamp: a time out of range at byte 2");
    assert_non_null(strstr(refused("apps/v1", "ControllerRevision", "12 04 0a 02 '{a"),
                           "protobuf: data: invalid character"));
}

static void deep_nesting_is_refused(void **state)
{
    const struct kube_struct *type = kube_struct_find("apiextensions/v1", "JSONSchemaProps");
    uint8_t message[4000];
    size_t at = sizeof(message);
    struct json *out;

    (void)state;
    while (at > 8) { /* not: {not: {not: ... */
        size_t len = sizeof(message) - at;

        if (len >= 0x80)
            message[--at] = (uint8_t)(len >> 7);
        message[--at] = (uint8_t)(len >= 0x80 ? len | 0x80 : len);
        message[--at] = 0x01;
        message[--at] = 28 << 3 | 2 | 0x80;
        message[at] = (uint8_t)((28 << 3 | 2) & 0x7f) | 0x80;
    }
    assert_int_equal(kube_protobuf_decode(&arena, type,
                                          slice_of(message + at, sizeof(message) - at), &out, NULL),
                     KV_EPROTO);
}

/* ---- the envelope ---- */

static void envelopes_are_opened(void **state)
{
    struct kube_envelope envelope;
    struct err err = ERR_INIT;

    (void)state;
    assert_true(kube_is_protobuf(bytes("'k8s 00")));
    assert_false(kube_is_protobuf(bytes("'k8s")));
    assert_int_equal(kube_envelope_read(bytes("'k8s 00 0a 09 0a 02 'v1 12 03 'Pod 12 02 'ab 1a 00 "
                                              "22 00"),
                                        &envelope, &err),
                     0);
    assert_memory_equal(envelope.api_version.data, "v1", 2);
    assert_memory_equal(envelope.kind.data, "Pod", 3);
    assert_memory_equal(envelope.raw.data, "ab", 2);
    assert_int_equal(envelope.raw.len, 2);
    assert_int_equal(envelope.content_type.len, 0);
    assert_int_equal(kube_envelope_read(bytes("'k8s 00 1a 04 'gzip"), &envelope, &err), KV_EPROTO);
    assert_string_equal(err.text, "protobuf: the content encoding gzip is not supported");
    assert_int_equal(kube_envelope_read(bytes("'k8s"), &envelope, &err), KV_EPROTO);
    assert_int_equal(kube_envelope_read(bytes("'k8s 00 0a 09"), &envelope, &err), KV_EPROTO);
}

/* ---- upstream's own objects ---- */

static struct slice read_file(const char *folder, const char *name)
{
    char path[1024];
    FILE *file;
    uint8_t *data;
    size_t len;

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "rb");
    assert_non_null(file);
    data = arena_alloc(&arena, 1 << 20);
    len = fread(data, 1, 1 << 20, file);
    (void)fclose(file);
    return slice_of(data, len);
}

static bool ends(const char *text, const char *end)
{
    size_t len = strlen(text), len_end = strlen(end);

    return len >= len_end && strcmp(text + len - len_end, end) == 0;
}

/* The resource of apiVersion and kind, or NULL. */
static const struct kube_resource *resource_of(const struct kube_envelope *envelope)
{
    const uint8_t *slash = envelope->api_version.len == 0
                               ? NULL
                               : memchr(envelope->api_version.data, '/', envelope->api_version.len);
    size_t group = slash == NULL ? 0 : (size_t)(slash - envelope->api_version.data);
    size_t skip = slash == NULL ? 0 : group + 1;

    return kube_resource_of_kind(
        slice_of(envelope->api_version.data, group),
        slice_of(envelope->api_version.data + skip, envelope->api_version.len - skip),
        envelope->kind);
}

static bool same_as_json(const char *folder, const char *name)
{
    struct slice body = read_file(folder, name);
    struct kube_envelope envelope;
    struct err err = ERR_INIT;
    struct kube_status status;
    const struct kube_resource *resource;
    struct json *decoded_tree, *normal, *expected;
    char json_name[512];

    if (kube_envelope_read(body, &envelope, &err) != 0)
        fail_msg("%s: %s", name, err.text);
    resource = resource_of(&envelope);
    if (resource == NULL || resource->type == NULL)
        return false;
    if (kube_protobuf_decode(&arena, resource->type, envelope.raw, &decoded_tree, &err) != 0)
        fail_msg("%s: %s", name, err.text);
    json_set_first(decoded_tree, "apiVersion", json_new_string(&arena, envelope.api_version));
    json_set_first(decoded_tree, "kind", json_new_string(&arena, envelope.kind));
    if (kube_normalise(&arena, resource, decoded_tree, NULL, &normal, &status) != 0)
        fail_msg("%s: %s", name, status.message);
    (void)snprintf(json_name, sizeof(json_name), "%.*s.json", (int)strlen(name) - 3, name);
    assert_int_equal(json_parse(&arena, read_file(folder, json_name), NULL, &expected, NULL), 0);
    if (!json_same(normal, expected))
        fail_msg("%s:\n%s\nshould be\n%s", name, text_of(normal), text_of(expected));
    arena_release(&arena);
    return true;
}

/* ---- what kubectl sends ---- */

/* "rbac.authorization.k8s.io/v1" is in rbac/v1, "v1" in core/v1. */
static const struct kube_struct *struct_of(const struct kube_envelope *envelope)
{
    struct slice version = envelope->api_version;
    const char *slash = version.len == 0 ? NULL : memchr(version.data, '/', version.len);
    char package[64], name[64];

    if (slash == NULL)
        (void)snprintf(package, sizeof(package), "core/%.*s", (int)version.len,
                       (const char *)version.data);
    else
        (void)snprintf(package, sizeof(package), "%.*s%.*s",
                       (int)strcspn((const char *)version.data, "./"), (const char *)version.data,
                       (int)((const char *)version.data + version.len - slash), slash);
    (void)snprintf(name, sizeof(name), "%.*s", (int)envelope->kind.len,
                   (const char *)envelope->kind.data);
    return kube_struct_find(package, name);
}

static struct json *normal(const struct kube_struct *type, const struct json *in)
{
    struct kube_status status;
    struct json *out = NULL;

    if (kube_normalise_struct(&arena, type, type->name, in, NULL, &out, &status) != 0)
        fail_msg("%s: %s", type->name, status.message);
    return out;
}

static struct slice from_base64(const char *text)
{
    size_t len = strlen(text);
    uint8_t *out = arena_alloc(&arena, len + 1);
    int size = EVP_DecodeBlock(out, (const unsigned char *)text, (int)len);

    assert_true(size > 0);
    return slice_of(out, (size_t)size - (text[len - 1] == '=') - (text[len - 2] == '='));
}

/* Method: bodies.tsv has for each command what kubectl 1.31 sent as JSON and what a newer one sent
 * as protobuf (record_bodies.py). */
static void what_kubectl_sends_is_what_it_sent_as_json(void **state)
{
    static char line[1 << 16];
    FILE *file = fopen("tests/unit/kube/bodies.tsv", "r");
    unsigned count = 0;

    (void)state;
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        const char *version = strtok(line, "\t"), *command = strtok(NULL, "\t");
        const char *old = strtok(NULL, "\t"), *new = strtok(NULL, "\t\n");
        struct kube_envelope envelope;
        const struct kube_struct *type;
        struct json *expected, *out;
        struct err err = ERR_INIT;

        assert_int_equal(json_parse(&arena, slice_str(old), NULL, &expected, NULL), 0);
        assert_int_equal(kube_envelope_read(from_base64(new), &envelope, &err), 0);
        type = struct_of(&envelope);
        assert_non_null(type);
        if (kube_protobuf_decode(&arena, type, envelope.raw, &out, &err) != 0)
            fail_msg("%s %s: %s", version, command, err.text);
        json_set_first(out, "apiVersion", json_new_string(&arena, envelope.api_version));
        json_set_first(out, "kind", json_new_string(&arena, envelope.kind));
        assert_string_equal(text_of(normal(type, out)), text_of(normal(type, expected)));
        count++;
    }
    (void)fclose(file);
    assert_true(count >= 20);
}

#define TESTDATA "/usr/share/gocode/src/k8s.io/api/testdata/HEAD"

/* Method: the testdata of Debian's golang-k8s-api-dev, where Go wrote the same objects as JSON and
 * as protobuf. */
static void objects_of_upstream_become_the_json_that_go_writes(void **state)
{
    const char *folder = getenv("KUBE_TESTDATA");
    struct dirent *entry;
    unsigned count = 0;
    DIR *dir;

    (void)state;
    folder = folder == NULL ? TESTDATA : folder;
    dir = opendir(folder);
    if (dir == NULL) {
        print_message("%s is not there (Debian: golang-k8s-api-dev; or set KUBE_TESTDATA)\n",
                      folder);
        skip();
    }
    while ((entry = readdir(dir)) != NULL) {
        if (ends(entry->d_name, ".pb") && same_as_json(folder, entry->d_name))
            count++;
    }
    (void)closedir(dir);
    print_message("%u objects\n", count);
    assert_true(count > 50);
}

/* ---- hostile input ---- */

static void put_bytes(struct buf *out, unsigned number, struct slice content)
{
    (void)buf_append_varint(out, (uint64_t)number << 3 | 2);
    (void)buf_append_varint(out, content.len);
    (void)buf_append(out, content.data, content.len);
}

static void put_message(struct prng *prng, const struct kube_struct *type, unsigned depth,
                        struct buf *out);

/* A value of the field's kind, as it would lie behind its tag. */
static void put_value(struct prng *prng, const struct kube_field *field, unsigned number,
                      unsigned depth, struct buf *out)
{
    struct buf inner;

    if (field->kind == KUBE_BOOL || field->kind == KUBE_INT32 || field->kind == KUBE_INT64) {
        (void)buf_append_varint(out, (uint64_t)number << 3);
        (void)buf_append_varint(out, prng_next(prng) >> prng_next(prng) % 64);
        return;
    }
    if (field->kind == KUBE_DOUBLE) {
        (void)buf_append_varint(out, (uint64_t)number << 3 | 1);
        (void)buf_append_le64(out, prng_next(prng));
        return;
    }
    buf_init(&inner, 1 << 20);
    if (field->kind == KUBE_STRUCT && depth < 5)
        put_message(prng, kube_struct(field->type), depth + 1, &inner);
    else if (field->kind == KUBE_RAW || field->kind == KUBE_FIELDS_V1)
        put_bytes(&inner, 1, slice_str("{\"a\":[1]}"));
    else if (field->kind == KUBE_QUANTITY)
        put_bytes(&inner, 1, slice_str("1Gi"));
    else
        (void)buf_append(&inner, "\x08\x01", prng_next(prng) % 3); /* a number, or text */
    put_bytes(out, number, buf_slice(&inner));
    buf_release(&inner);
}

static void put_field(struct prng *prng, const struct kube_field *field, unsigned depth,
                      struct buf *out)
{
    struct buf value, embedded;

    buf_init(&value, 1 << 20);
    buf_init(&embedded, 1 << 20);
    if (field->shape == KUBE_MAP) {
        struct buf entry;

        buf_init(&entry, 1 << 20);
        put_bytes(&entry, 1, slice_of("key", prng_next(prng) % 4));
        put_value(prng, field, 2, depth, &entry);
        put_bytes(&value, field->number, buf_slice(&entry));
        buf_release(&entry);
    } else {
        put_value(prng, field, field->number, depth, &value);
    }
    for (unsigned path = field->inlined_in; path != 0; path >>= 8) {
        buf_reset(&embedded);
        put_bytes(&embedded, path & 0xff, buf_slice(&value));
        buf_reset(&value);
        (void)buf_append(&value, embedded.data, embedded.len);
    }
    (void)buf_append(out, value.data, value.len);
    buf_release(&embedded);
    buf_release(&value);
}

static void put_message(struct prng *prng, const struct kube_struct *type, unsigned depth,
                        struct buf *out)
{
    for (uint16_t i = 0; i < type->field_count; i++) {
        if (type->fields[i].number != 0 && prng_chance(prng, 400000))
            put_field(prng, &type->fields[i], depth, out);
    }
}

/* Method: messages made from the tables, some bytes changed, into every struct; nothing may be read
 * out of bounds (ASan), and what comes out can be written. Unchanged ones are accepted but for
 * times and numbers out of range. */
static void noise_is_decoded_or_refused(void **state)
{
    const char *given = getenv("KVD_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    unsigned accepted = 0, rounds = 0;
    struct prng prng;
    struct buf message;

    (void)state;
    print_message("KVD_SEED=%" PRIu64 "\n", seed);
    prng_seed(&prng, seed);
    buf_init(&message, 1 << 20);
    for (uint16_t id = 0; id < kube_struct_count(); id++) {
        for (unsigned round = 0; round < 10; round++) {
            struct json *out;

            buf_reset(&message);
            put_message(&prng, kube_struct(id), 0, &message);
            for (unsigned i = 0; i < round && message.len > 0; i++)
                message.data[prng_next(&prng) % message.len] = (uint8_t)prng_next(&prng);
            rounds++;
            if (kube_protobuf_decode(&arena, kube_struct(id), buf_slice(&message), &out, NULL) ==
                0) {
                (void)text_of(out);
                accepted++;
            }
            arena_reset(&arena);
        }
    }
    buf_release(&message);
    print_message("%u of %u accepted\n", accepted, rounds);
    assert_in_range(accepted, kube_struct_count() / 2, rounds - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(members_come_in_the_order_of_the_tables, reset),
        cmocka_unit_test_teardown(maps_are_sorted_and_the_last_value_of_a_key_stays, reset),
        cmocka_unit_test_teardown(embedded_messages_are_flattened, reset),
        cmocka_unit_test_teardown(lists_with_a_name_are_messages, reset),
        cmocka_unit_test_teardown(scalars_have_the_forms_of_json, reset),
        cmocka_unit_test_teardown(schemas_may_be_something_else, reset),
        cmocka_unit_test_teardown(unknown_fields_are_skipped, reset),
        cmocka_unit_test_teardown(text_that_is_not_utf8_is_replaced, reset),
        cmocka_unit_test_teardown(broken_messages_say_what_and_where, reset),
        cmocka_unit_test_teardown(deep_nesting_is_refused, reset),
        cmocka_unit_test_teardown(envelopes_are_opened, reset),
        cmocka_unit_test_teardown(what_kubectl_sends_is_what_it_sent_as_json, reset),
        cmocka_unit_test_teardown(objects_of_upstream_become_the_json_that_go_writes, reset),
        cmocka_unit_test_teardown(noise_is_decoded_or_refused, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
