#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "kube/types/kinds.h"

static const struct kube_resource *find(const char *group, const char *version, const char *plural)
{
    return kube_resource_find(slice_str(group), slice_str(version), slice_str(plural));
}

static const char *api_version(const struct kube_resource *resource)
{
    static char text[KUBE_API_VERSION_SIZE];

    return kube_api_version(resource, text);
}

/* Method: every line of the table through both lookups. */
static void each_resource_is_found_by_its_names(void **state)
{
    (void)state;
    assert_int_equal(kube_resource_count(), 70); /* 68 of the stable groups, 2 of metrics.k8s.io */
    for (size_t i = 0; i < kube_resource_count(); i++) {
        const struct kube_resource *resource = kube_resource_at(i);

        assert_ptr_equal(find(resource->group, resource->version, resource->plural), resource);
        assert_ptr_equal(kube_resource_of_kind(slice_str(resource->group),
                                               slice_str(resource->version),
                                               slice_str(resource->kind)),
                         resource);
    }
}

static void what_is_not_served_is_not_found(void **state)
{
    (void)state;
    assert_null(find("", "v1", "pod"));
    assert_null(find("", "v2", "pods"));
    assert_null(find("apps", "v1", "pods"));
    assert_null(find("", "v1", ""));
    assert_null(kube_resource_find(slice_str(""), slice_str("v1"), slice_of("pods\0\0", 6)));
    assert_false(kube_group_version_known(slice_str("apps"), slice_str("v2")));
    assert_false(kube_group_version_known(slice_str("nope"), slice_str("")));
    assert_true(kube_group_version_known(slice_str("apps"), slice_str("")));
    assert_true(kube_group_version_known(slice_str(""), slice_str("v1")));
}

/* Discovery, and so kubectl's choice between groups, depends on it. */
static void versions_are_together_and_sorted_by_name(void **state)
{
    (void)state;
    for (size_t i = 1; i < kube_resource_count(); i++) {
        const struct kube_resource *last = kube_resource_at(i - 1), *next = kube_resource_at(i);

        if (strcmp(last->group, next->group) == 0 && strcmp(last->version, next->version) == 0) {
            if (strcmp(last->plural, next->plural) >= 0)
                fail_msg("%s comes after %s", last->plural, next->plural);
            continue;
        }
        for (size_t j = 0; j < i; j++) {
            const struct kube_resource *earlier = kube_resource_at(j);

            assert_false(strcmp(earlier->group, next->group) == 0 &&
                         strcmp(earlier->version, next->version) == 0);
        }
    }
}

static void views_lead_to_what_is_stored(void **state)
{
    (void)state;
    assert_ptr_equal(find("events.k8s.io", "v1", "events")->stored_as, find("", "v1", "events"));
    assert_ptr_equal(find("autoscaling", "v1", "horizontalpodautoscalers")->stored_as,
                     find("autoscaling", "v2", "horizontalpodautoscalers"));
    for (size_t i = 0; i < kube_resource_count(); i++) {
        const struct kube_resource *resource = kube_resource_at(i);

        assert_int_equal((resource->flags & KUBE_ALIAS) != 0, resource->stored_as != resource);
        assert_string_equal(resource->prefix, resource->stored_as->prefix);
        assert_int_equal((resource->flags & KUBE_NOT_STORED) != 0, resource->prefix[0] == '\0');
    }
}

static void stored_prefixes_do_not_meet(void **state)
{
    (void)state;
    for (size_t i = 0; i < kube_resource_count(); i++) {
        for (size_t j = 0; j < kube_resource_count(); j++) {
            const struct kube_resource *a = kube_resource_at(i), *b = kube_resource_at(j);
            size_t len = strlen(a->prefix);

            if (i == j || len == 0 || a->stored_as == b->stored_as)
                continue;
            assert_false(strncmp(a->prefix, b->prefix, len) == 0 &&
                         (b->prefix[len] == '\0' || b->prefix[len] == '/'));
        }
    }
    assert_string_equal(find("", "v1", "services")->prefix, "services/specs");
    assert_string_equal(find("", "v1", "nodes")->prefix, "minions");
}

static void flags_and_subresources_say_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < kube_resource_count(); i++) {
        const struct kube_resource *resource = kube_resource_at(i);
        const struct kube_subresource *status =
            kube_subresource_find(resource, slice_str("status"));
        const struct kube_subresource *scale = kube_subresource_find(resource, slice_str("scale"));

        assert_int_equal((resource->flags & KUBE_HAS_STATUS) != 0, status != NULL);
        assert_int_equal((resource->flags & KUBE_HAS_SCALE) != 0, scale != NULL);
        if (status != NULL)
            assert_string_equal(status->kind, resource->kind);
        for (size_t k = 1; k < resource->subresource_count; k++)
            assert_true(strcmp(resource->subresources[k - 1].name, resource->subresources[k].name) <
                        0);
    }
    assert_null(kube_subresource_find(find("", "v1", "pods"), slice_str("statu")));
    assert_string_equal(kube_subresource_find(find("", "v1", "pods"), slice_str("eviction"))->group,
                        "policy");
}

static void api_versions_leave_out_the_core_group(void **state)
{
    (void)state;
    assert_string_equal(api_version(find("", "v1", "pods")), "v1");
    assert_string_equal(api_version(find("apps", "v1", "deployments")), "apps/v1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_resource_is_found_by_its_names),
        cmocka_unit_test(what_is_not_served_is_not_found),
        cmocka_unit_test(versions_are_together_and_sorted_by_name),
        cmocka_unit_test(views_lead_to_what_is_stored),
        cmocka_unit_test(stored_prefixes_do_not_meet),
        cmocka_unit_test(flags_and_subresources_say_the_same),
        cmocka_unit_test(api_versions_leave_out_the_core_group),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
