#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "kube/codec/media.h"

#define EVERY_VIEW                                                                                 \
    (1u << KUBE_VIEW_TABLE | 1u << KUBE_VIEW_METADATA | 1u << KUBE_VIEW_GROUP_DISCOVERY)

static void expect(const char *header, unsigned views, enum kube_format format, enum kube_view view,
                   const char *version)
{
    struct kube_accept accept;

    if (!kube_accept_parse(slice_str(header), views, &accept))
        fail_msg("nothing will do: %s", header);
    if (accept.format != format || accept.view != view || strcmp(accept.version, version) != 0)
        fail_msg("%s: format %d view %d %s", header, accept.format, accept.view, accept.version);
}

static void refuses(const char *header, unsigned views)
{
    struct kube_accept accept;

    if (kube_accept_parse(slice_str(header), views, &accept))
        fail_msg("accepted: %s", header);
}

static void an_empty_header_and_wildcards_are_json(void **state)
{
    (void)state;
    expect("", 0, KUBE_JSON, KUBE_VIEW_OBJECT, "v1");
    expect("*/*", 0, KUBE_JSON, KUBE_VIEW_OBJECT, "v1");
    expect("text/html, application/*;q=0.5", 0, KUBE_JSON, KUBE_VIEW_OBJECT, "v1");
    expect("application/vnd.kubernetes.protobuf,application/json", 0, KUBE_JSON, KUBE_VIEW_OBJECT,
           "v1");
}

static void kubectl_gets_its_table_in_the_first_version_it_names(void **state)
{
    static const char header[] = "application/json;as=Table;v=v1;g=meta.k8s.io,"
                                 "application/json;as=Table;v=v1beta1;g=meta.k8s.io,"
                                 "application/json";

    (void)state;
    expect(header, EVERY_VIEW, KUBE_JSON, KUBE_VIEW_TABLE, "v1");
    expect(header + sizeof("application/json;as=Table;v=v1;g=meta.k8s.io,") - 1, EVERY_VIEW,
           KUBE_JSON, KUBE_VIEW_TABLE, "v1beta1");
    expect(header, 0, KUBE_JSON, KUBE_VIEW_OBJECT, "v1");
}

static void discovery_and_metadata_are_views_too(void **state)
{
    (void)state;
    expect("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", EVERY_VIEW,
           KUBE_JSON, KUBE_VIEW_GROUP_DISCOVERY, "v2");
    expect("application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,"
           "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
           EVERY_VIEW, KUBE_JSON, KUBE_VIEW_METADATA, "v1");
}

static void quality_decides_before_place(void **state)
{
    (void)state;
    expect("application/json;q=0.5, application/yaml", 0, KUBE_YAML, KUBE_VIEW_OBJECT, "v1");
    expect("application/json;q=0.5, application/yaml;q=0.501", 0, KUBE_YAML, KUBE_VIEW_OBJECT,
           "v1");
    expect("*/*, application/yaml", 0, KUBE_YAML, KUBE_VIEW_OBJECT, "v1");
    refuses("application/json;q=0", 0);
}

static void what_we_do_not_write_is_refused(void **state)
{
    (void)state;
    refuses("text/csv", 0);
    refuses("application/vnd.kubernetes.protobuf", 0);
    refuses("application/json;as=Table;v=v1;g=meta.k8s.io", 0);
    refuses("application/json;as=Table;v=v3;g=meta.k8s.io", EVERY_VIEW);
    refuses("application/json;stream=other", 0);
    expect("application/json;stream=watch", 0, KUBE_JSON, KUBE_VIEW_OBJECT, "v1");
}

static void oddly_written_headers_are_read(void **state)
{
    (void)state;
    expect("Application/JSON ; Q=\"0.2\" ; pretty=1 ,", 0, KUBE_JSON, KUBE_VIEW_OBJECT, "v1");
    expect("text/x;a=\"1,2;\\\"3\",application/yaml", 0, KUBE_YAML, KUBE_VIEW_OBJECT, "v1");
    refuses(",;=;,;\"", 0);
}

static void content_types_name_bodies(void **state)
{
    (void)state;
    assert_int_equal(kube_body_type(slice_str("")), KUBE_BODY_JSON);
    assert_int_equal(kube_body_type(slice_str("application/JSON; charset=utf-8")), KUBE_BODY_JSON);
    assert_int_equal(kube_body_type(slice_str("application/yaml")), KUBE_BODY_YAML);
    assert_int_equal(kube_body_type(slice_str("application/vnd.kubernetes.protobuf")),
                     KUBE_BODY_PROTOBUF);
    assert_int_equal(kube_body_type(slice_str("application/json-patch+json")),
                     KUBE_BODY_JSON_PATCH);
    assert_int_equal(kube_body_type(slice_str("application/merge-patch+json")),
                     KUBE_BODY_MERGE_PATCH);
    assert_int_equal(kube_body_type(slice_str("application/strategic-merge-patch+json")),
                     KUBE_BODY_STRATEGIC_PATCH);
    assert_int_equal(kube_body_type(slice_str("application/apply-patch+yaml")),
                     KUBE_BODY_APPLY_YAML);
    assert_int_equal(kube_body_type(slice_str("text/plain")), KUBE_BODY_UNKNOWN);
    assert_int_equal(kube_body_type(slice_str(";")), KUBE_BODY_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_header_and_wildcards_are_json),
        cmocka_unit_test(kubectl_gets_its_table_in_the_first_version_it_names),
        cmocka_unit_test(discovery_and_metadata_are_views_too),
        cmocka_unit_test(quality_decides_before_place),
        cmocka_unit_test(what_we_do_not_write_is_refused),
        cmocka_unit_test(oddly_written_headers_are_read),
        cmocka_unit_test(content_types_name_bodies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
