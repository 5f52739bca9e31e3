/* The normal form of objects: what typed decoding and encoding upstream makes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dirent.h>
#include <unistd.h>

#include <cmocka.h>

#include "kube/check/internal.h"
#include "kube/types/tables.h"

static struct arena arena = ARENA_INIT;

static int reset(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static const struct kube_resource *resource(const char *group, const char *version,
                                            const char *kind)
{
    const struct kube_resource *found =
        kube_resource_of_kind(slice_str(group), slice_str(version), slice_str(kind));

    assert_non_null(found);
    return found;
}

static struct json *parsed(const char *text, struct json_duplicate **duplicates)
{
    struct json_parse_options options = {.duplicates = duplicates};
    struct json *value = NULL;

    assert_int_equal(json_parse(&arena, slice_str(text), &options, &value, NULL), 0);
    return value;
}

/* The normal form as text, or the message of the status behind a "!". */
static const char *normal(const struct kube_resource *of, const char *text)
{
    struct kube_status status = {0};
    struct json *out = NULL;

    if (kube_normalise(&arena, of, parsed(text, NULL), NULL, &out, &status) != 0)
        return check__print(&arena, "!%s", status.message);
    return check__json(&arena, out);
}

/* Complaints of a ConfigMap or Pod, comma separated. */
static const char *complaints_of(const struct kube_resource *of, const char *text)
{
    struct kube_complaints complaints = {NULL, 0};
    struct json_duplicate *duplicates = NULL;
    struct kube_status status = {0};
    struct json *out = NULL;
    const char *all = "";

    assert_int_equal(
        kube_normalise(&arena, of, parsed(text, &duplicates), &complaints, &out, &status), 0);
    kube_complain_of_duplicates(&arena, duplicates, &complaints);
    for (size_t i = 0; i < complaints.count; i++)
        all = check__print(&arena, "%s%s%s", all, i == 0 ? "" : ", ", complaints.texts[i]);
    return all;
}

static void empty_values_go_and_structs_stay(void **state)
{
    (void)state;
    assert_string_equal(normal(resource("", "v1", "ConfigMap"),
                               "{\"data\":{},\"metadata\":{\"labels\":null,\"name\":\"\","
                               "\"annotations\":{\"b\":\"\",\"a\":null}}}"),
                        "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":"
                        "{\"annotations\":{\"a\":\"\",\"b\":\"\"}}}");
    assert_string_equal(normal(resource("", "v1", "Pod"),
                               "{\"spec\":{\"hostNetwork\":false,\"containers\":[{\"image\":\"i\","
                               "\"name\":\"c\",\"tty\":false,\"args\":[]}]}}"),
                        "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{},\"spec\":"
                        "{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{}}]},"
                        "\"status\":{}}");
}

static void pointers_keep_what_is_empty(void **state)
{
    (void)state;
    assert_string_equal(
        normal(resource("apps", "v1", "ReplicaSet"), "{\"spec\":{\"replicas\":0,\"selector\":{}}}"),
        "{\"kind\":\"ReplicaSet\",\"apiVersion\":\"apps/v1\",\"metadata\":{},"
        "\"spec\":{\"replicas\":0,\"selector\":{},\"template\":{\"metadata\":{},"
        "\"spec\":{\"containers\":null}}},\"status\":{\"replicas\":0}}");
}

static void what_is_always_written_is_there(void **state)
{
    (void)state;
    assert_string_equal(normal(resource("", "v1", "Event"), "{}"),
                        "{\"kind\":\"Event\",\"apiVersion\":\"v1\",\"metadata\":{},"
                        "\"involvedObject\":{},\"source\":{},\"firstTimestamp\":null,"
                        "\"lastTimestamp\":null,\"eventTime\":null,\"reportingComponent\":\"\","
                        "\"reportingInstance\":\"\"}");
}

static void scalars_become_canonical(void **state)
{
    (void)state;
    assert_string_equal(
        normal(resource("", "v1", "ResourceQuota"),
               "{\"spec\":{\"hard\":{\"pods\":10,\"memory\":\"1024Mi\",\"cpu\":\"0.50\"}}}"),
        "{\"kind\":\"ResourceQuota\",\"apiVersion\":\"v1\",\"metadata\":{},\"spec\":{\"hard\":"
        "{\"cpu\":\"500m\",\"memory\":\"1Gi\",\"pods\":\"10\"}},\"status\":{}}");
    assert_string_equal(normal(resource("", "v1", "Secret"), "{\"data\":{\"a\":\"bW\\nU=\"}}"),
                        "{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{},\"data\":"
                        "{\"a\":\"bWU=\"}}");
    assert_string_equal(
        normal(resource("coordination.k8s.io", "v1", "Lease"),
               "{\"spec\":{\"renewTime\":\"2026-01-01T01:00:00.000000+01:00\"},"
               "\"metadata\":{\"creationTimestamp\":\"2026-01-01T01:00:00+01:00\"}}"),
        "{\"kind\":\"Lease\",\"apiVersion\":\"coordination.k8s.io/v1\",\"metadata\":"
        "{\"creationTimestamp\":\"2026-01-01T00:00:00Z\"},\"spec\":"
        "{\"renewTime\":\"2026-01-01T00:00:00.000000Z\"}}");
}

struct wrong {
    const char *text, *message;
};

static void wrong_types_are_reported_as_go_does(void **state)
{
    static const struct wrong cases[] = {
        {"{\"spec\":{\"containers\":[{\"image\":5}]}}",
         "json: cannot unmarshal number into Go struct field Container.spec.containers.image of "
         "type string"},
        {"{\"spec\":{\"containers\":{}}}",
         "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type "
         "[]v1.Container"},
        {"{\"spec\":[]}",
         "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec"},
        {"{\"metadata\":{\"labels\":{\"a\":true}}}",
         "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type "
         "string"},
        {"{\"metadata\":{\"labels\":[]}}",
         "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type "
         "map[string]string"},
        {"{\"spec\":{\"priority\":1.5}}",
         "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.priority of type "
         "int32"},
        {"{\"spec\":{\"priority\":2147483648}}",
         "json: cannot unmarshal number 2147483648 into Go struct field PodSpec.spec.priority of "
         "type int32"},
        {"{\"spec\":{\"activeDeadlineSeconds\":9223372036854775808}}",
         "json: cannot unmarshal number 9223372036854775808 into Go struct field "
         "PodSpec.spec.activeDeadlineSeconds of type int64"},
        {"{\"spec\":{\"hostNetwork\":\"true\"}}",
         "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type "
         "bool"},
        {"{\"metadata\":{\"creationTimestamp\":5}}",
         "json: cannot unmarshal number into Go value of type string"},
        {"{\"spec\":{\"containers\":[{\"readinessProbe\":{\"httpGet\":{\"port\":1.5}}}]}}",
         "json: cannot unmarshal number 1.5 into Go value of type int32"},
        {"[]", "json: cannot unmarshal array into Go value of type v1.Pod"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(normal(resource("", "v1", "Pod"), cases[i].text),
                            check__print(&arena,
                                         "!Pod in version \"v1\" cannot be handled as a Pod: %s",
                                         cases[i].message));
}

static void unknown_and_duplicate_fields_have_paths(void **state)
{
    (void)state;
    assert_string_equal(
        complaints_of(resource("", "v1", "Pod"),
                      "{\"x\":1,\"spec\":{\"containers\":[{\"name\":\"a\"},{\"foo\":{},"
                      "\"env\":[{\"valu\":\"\"}],\"name\":\"b\",\"name\":\"c\"}]},"
                      "\"metadata\":{\"labels\":{\"any\":\"\"},\"Name\":\"a\"}}"),
        "unknown field \"x\", unknown field \"spec.containers[1].foo\", "
        "unknown field \"spec.containers[1].env[0].valu\", unknown field \"metadata.Name\", "
        "duplicate field \"spec.containers[1].name\"");
}

/* Method: more unknown fields than are reported. */
static void complaints_have_a_maximum(void **state)
{
    const char *text = "{\"a\":0";
    struct kube_complaints complaints = {NULL, 0};
    struct kube_status status = {0};
    struct json *out = NULL;

    (void)state;
    for (int i = 0; i < 300; i++)
        text = check__print(&arena, "%s,\"f%d\":0", text, i);
    text = check__print(&arena, "%s}", text);
    assert_int_equal(kube_normalise(&arena, resource("", "v1", "Pod"), parsed(text, NULL),
                                    &complaints, &out, &status),
                     0);
    assert_int_equal(complaints.count, 100);
    assert_string_equal(complaints.texts[99], "unknown field \"f98\"");
}

/* Kinds that are newer than the tables keep what they do not know. */
static void opaque_kinds_keep_what_they_have(void **state)
{
    struct kube_resource opaque = *resource("", "v1", "Pod");

    (void)state;
    opaque.type = NULL;
    opaque.flags |= KUBE_OPAQUE;
    assert_string_equal(normal(&opaque,
                               "{\"status\":{\"b\":[null]},\"zz\":1,\"spec\":{\"a\":null,\"c\":0},"
                               "\"metadata\":{\"foo\":1,\"name\":\"n\"},\"kind\":\"Pod\"}"),
                        "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"n\"},"
                        "\"spec\":{\"c\":0},\"zz\":1,\"status\":{\"b\":[null]}}");
}

/* Method: a schema of schemas, as deep as JSON may be. */
static void nesting_has_a_limit(void **state)
{
    const char *const begin = "{\"spec\":{\"versions\":[{\"schema\":{\"openAPIV3Schema\":";
    const unsigned depth = 9900;
    char *text = arena_calloc(&arena, 200 + 9 * depth), *at = text + sprintf(text, "%s", begin);

    (void)state;
    for (unsigned i = 0; i < depth; i++)
        at += sprintf(at, "{\"not\":");
    at += sprintf(at, "{}");
    memset(at, '}', depth);
    (void)strcpy(at + depth, "}}]}}");
    assert_string_equal(
        normal(resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition"), text),
        "!CustomResourceDefinition in version \"v1\" cannot be handled as a "
        "CustomResourceDefinition: exceeded max depth");
}

static void types_that_are_no_resources_work_too(void **state)
{
    const struct kube_struct *type = kube_struct_find("meta/v1", "DeleteOptions");
    struct kube_status status = {0};
    struct json *out = NULL;

    (void)state;
    assert_int_equal(
        kube_normalise_struct(&arena, type, "DeleteOptions",
                              parsed("{\"gracePeriodSeconds\":0,\"orphanDependents\":null}", NULL),
                              NULL, &out, &status),
        0);
    assert_string_equal(check__json(&arena, out), "{\"gracePeriodSeconds\":0}");
    assert_int_equal(kube_normalise_struct(&arena, type, "DeleteOptions",
                                           parsed("{\"gracePeriodSeconds\":\"0\"}", NULL), NULL,
                                           &out, &status),
                     400);
    assert_string_equal(status.message,
                        "DeleteOptions in version \"v1\" cannot be handled as a DeleteOptions: "
                        "json: cannot unmarshal string into Go struct field "
                        "DeleteOptions.gracePeriodSeconds of type int64");
}

/* ---- upstream's own objects ---- */

#define TESTDATA "/usr/share/gocode/src/k8s.io/api/testdata/HEAD"

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text;
    long size;

    assert_non_null(file);
    (void)fseek(file, 0, SEEK_END);
    size = ftell(file);
    rewind(file);
    text = arena_alloc(&arena, (size_t)size + 1);
    assert_int_equal(fread(text, 1, (size_t)size, file), size);
    text[size] = '\0';
    (void)fclose(file);
    return text;
}

/* "apps.v1.Deployment.json": ours, or NULL. */
static const struct kube_resource *resource_of_file(const char *name)
{
    for (size_t i = 0; i < kube_resource_count(); i++) {
        const struct kube_resource *of = kube_resource_at(i);
        const char *file =
            check__print(&arena, "%s.%s.%s.json", of->group[0] == '\0' ? "core" : of->group,
                         of->version, of->kind);

        if (strcmp(file, name) == 0)
            return of;
    }
    return NULL;
}

/* Every field of every kind is set in these files: their normal form is what they are. */
static void upstreams_objects_stay_as_they_are(void **state)
{
    const char *path = getenv("KUBE_TESTDATA");
    unsigned count = 0, failed = 0;
    struct dirent *entry;
    DIR *dir;

    (void)state;
    path = path == NULL ? TESTDATA : path;
    dir = opendir(path);
    if (dir == NULL) {
        print_message("%s is not there (Debian: golang-k8s-api-dev; or set KUBE_TESTDATA)\n", path);
        skip();
    }
    while ((entry = readdir(dir)) != NULL) {
        const struct kube_resource *of = resource_of_file(entry->d_name);
        const char *text, *wanted, *got;

        if (of == NULL || of->type == NULL)
            continue;
        text = read_file(check__print(&arena, "%s/%s", path, entry->d_name));
        wanted = check__json(&arena, parsed(text, NULL));
        got = normal(of, text);
        if (strcmp(wanted, got) != 0) {
            size_t at = 0;

            while (wanted[at] == got[at])
                at++;
            at = at < 60 ? 0 : at - 60;
            print_message("%s:\n  %.160s\n  %.160s\n", entry->d_name, wanted + at, got + at);
            failed++;
        }
        count++;
        arena_reset(&arena);
    }
    (void)closedir(dir);
    print_message("%u objects\n", count);
    assert_int_equal(failed, 0);
    assert_true(count > 40);
}

/* ---- anything at all ---- */

static struct json *random_value(unsigned *seed, const struct kube_struct *type, unsigned depth);

/* Mostly a name that the struct has. */
static struct slice random_key(unsigned *seed, const struct kube_struct *type)
{
    const struct kube_field *field;

    if (type == NULL || type->field_count == 0 || rand_r(seed) % 8 == 0)
        return slice_str(check__print(&arena, "k%d", rand_r(seed) % 4));
    field = &type->fields[(unsigned)rand_r(seed) % type->field_count];
    return slice_of(field->name, field->name_len);
}

static struct json *random_object(unsigned *seed, const struct kube_struct *type, unsigned depth)
{
    struct json *object = json_new(&arena, JSON_OBJECT);
    unsigned count = (unsigned)rand_r(seed) % 6;

    for (unsigned i = 0; i < count; i++) {
        struct slice key = random_key(seed, type);
        const struct kube_field *field = type == NULL ? NULL : kube_field_find(type, key);
        const struct kube_struct *below =
            field != NULL && field->kind == KUBE_STRUCT ? kube_struct(field->type) : NULL;
        struct json *value = random_value(seed, below, depth + 1);

        if (field != NULL && field->shape == KUBE_LIST && rand_r(seed) % 8 != 0) {
            struct json *list = json_new(&arena, JSON_ARRAY);

            json_append(list, value);
            value = list;
        }
        (void)json_set_slice(object, key, value);
    }
    return object;
}

static struct json *random_value(unsigned *seed, const struct kube_struct *type, unsigned depth)
{
    static const char *const texts[] = {"", "a", "5", "1Gi", "AA==", "2026-01-01T00:00:00Z", "1h"};
    static const char *const numbers[] = {"0", "-0", "5", "1e400", "2147483648", "0.1", "-7"};
    const char *text;

    if (depth < 8 && rand_r(seed) % 16 < (type != NULL ? 15 : 4))
        return random_object(seed, type, depth);
    switch (rand_r(seed) % 5) {
    case 0:
        return json_new(&arena, JSON_NULL);
    case 1:
        return json_new_bool(&arena, rand_r(seed) % 2 == 0);
    case 2:
        text = numbers[(unsigned)rand_r(seed) % ARRAY_LEN(numbers)];
        return parsed(text, NULL);
    case 3:
        return parsed("[null,{},[]]", NULL);
    default:
        return json_new_cstring(&arena, texts[(unsigned)rand_r(seed) % ARRAY_LEN(texts)]);
    }
}

/* Method: random trees along the tables. What is taken must come out the same a second time, and
 * defaults, preparation and validation must survive it. */
static void random_objects_become_normal_once_and_for_all(void **state)
{
    const char *given = getenv("KVD_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)getpid();
    unsigned taken = 0;

    (void)state;
    print_message("seed %u\n", seed);
    for (unsigned i = 0; i < 40000; i++) {
        const struct kube_resource *of =
            kube_resource_at((unsigned)rand_r(&seed) % kube_resource_count());
        struct kube_complaints complaints = {NULL, 0};
        struct kube_status status = {0};
        struct json *in = random_object(&seed, of->type, 0), *once = NULL, *twice = NULL;
        int rc = kube_normalise(&arena, of, in, &complaints, &once, &status);

        if (rc == 0) {
            taken++;
            assert_int_equal(kube_normalise(&arena, of, once, &complaints, &twice, &status), 0);
            assert_string_equal(check__json(&arena, once), check__json(&arena, twice));
            kube_defaults(&arena, of, twice);
            kube_prepare(&arena, of, NULL, twice);
            (void)kube_validate(&arena, of, NULL, twice, &status);
            kube_prepare(&arena, of, once, twice);
            (void)kube_validate(&arena, of, once, twice, &status);
        } else {
            assert_int_equal(rc, 400);
            assert_non_null(status.message);
        }
        arena_reset(&arena);
    }
    print_message("%u taken\n", taken);
    assert_true(taken > 4000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(empty_values_go_and_structs_stay, reset),
        cmocka_unit_test_teardown(pointers_keep_what_is_empty, reset),
        cmocka_unit_test_teardown(what_is_always_written_is_there, reset),
        cmocka_unit_test_teardown(scalars_become_canonical, reset),
        cmocka_unit_test_teardown(wrong_types_are_reported_as_go_does, reset),
        cmocka_unit_test_teardown(unknown_and_duplicate_fields_have_paths, reset),
        cmocka_unit_test_teardown(complaints_have_a_maximum, reset),
        cmocka_unit_test_teardown(opaque_kinds_keep_what_they_have, reset),
        cmocka_unit_test_teardown(nesting_has_a_limit, reset),
        cmocka_unit_test_teardown(types_that_are_no_resources_work_too, reset),
        cmocka_unit_test_teardown(upstreams_objects_stay_as_they_are, reset),
        cmocka_unit_test_teardown(random_objects_become_normal_once_and_for_all, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
