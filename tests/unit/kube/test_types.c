#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kube/types/kinds.h"
#include "kube/types/tables.h"

static const struct kube_struct *type_of(const char *package, const char *name)
{
    const struct kube_struct *type = kube_struct_find(package, name);

    assert_non_null(type);
    return type;
}

static const struct kube_field *field_of(const struct kube_struct *type, const char *name)
{
    const struct kube_field *field = kube_field_find(type, slice_str(name));

    assert_non_null(field);
    return field;
}

/* Method: all structs by their name, all fields by theirs, and names that differ by a byte. */
static void every_name_is_found_and_no_other(void **state)
{
    (void)state;
    for (uint16_t id = 0; id < kube_struct_count(); id++) {
        const struct kube_struct *type = kube_struct(id);

        assert_ptr_equal(kube_struct_find(type->package, type->name), type);
        for (uint16_t i = 0; i < type->field_count; i++) {
            const struct kube_field *field = &type->fields[i];
            char text[256];

            assert_int_equal(strlen(field->name), field->name_len);
            assert_ptr_equal(kube_field_find(type, slice_of(field->name, field->name_len)), field);
            for (uint8_t at = 0; at < field->name_len; at++) {
                memcpy(text, field->name, field->name_len);
                text[at] ^= 0x20; /* the other case, too */
                assert_null(kube_field_find(type, slice_of(text, field->name_len)));
            }
            (void)snprintf(text, sizeof(text), "%s", field->name);
            assert_null(kube_field_find(type, slice_of(text, field->name_len + 1u)));
        }
        assert_null(kube_field_find(type, slice_str("")));
        assert_null(kube_field_find(type, slice_str("nope")));
    }
    assert_null(kube_struct_find("core/v1", "Nope"));
    assert_null(kube_struct_find("nope/v1", "Pod"));
}

static void protobuf_numbers_lead_to_one_field(void **state)
{
    (void)state;
    for (uint16_t id = 0; id < kube_struct_count(); id++) {
        const struct kube_struct *type = kube_struct(id);

        for (uint16_t i = 0; i < type->field_count; i++) {
            const struct kube_field *field = &type->fields[i];

            if (field->number != 0)
                assert_ptr_equal(kube_field_numbered(type, field->inlined_in, field->number),
                                 field);
        }
        assert_null(kube_field_numbered(type, 0, 0));
    }
}

static void parts_are_known_and_lists_have_their_keys(void **state)
{
    (void)state;
    for (uint16_t id = 0; id < kube_struct_count(); id++) {
        const struct kube_struct *type = kube_struct(id);

        for (uint16_t i = 0; i < type->field_count; i++) {
            const struct kube_field *field = &type->fields[i];

            if (field->kind == KUBE_STRUCT)
                assert_true(field->type < kube_struct_count());
            if (field->merge_key != NULL && field->kind == KUBE_STRUCT)
                assert_non_null(
                    kube_field_find(kube_struct(field->type), slice_str(field->merge_key)));
            assert_int_equal(field->list_type == KUBE_LIST_MAP, field->list_keys != NULL);
            assert_int_equal(field->list_type == KUBE_GRANULAR && field->shape == KUBE_LIST, 0);
        }
    }
}

static void every_stored_resource_has_a_table_or_says_opaque(void **state)
{
    (void)state;
    for (size_t i = 0; i < kube_resource_count(); i++) {
        const struct kube_resource *resource = kube_resource_at(i);

        assert_int_equal((resource->flags & KUBE_OPAQUE) != 0, resource->type == NULL);
        if (resource->type == NULL)
            continue;
        assert_string_equal(resource->type->name, resource->kind);
        assert_string_equal(resource->type->fields[0].name, "kind");
        assert_string_equal(resource->type->fields[1].name, "apiVersion");
        assert_string_equal(kube_struct(field_of(resource->type, "metadata")->type)->name,
                            "ObjectMeta");
        assert_int_equal((resource->flags & KUBE_HAS_STATUS) == 0 ||
                             kube_field_find(resource->type, slice_str("status")) != NULL,
                         true);
    }
}

static void fields_are_as_in_the_api(void **state)
{
    const struct kube_struct *pod = type_of("core/v1", "PodSpec");
    const struct kube_struct *volume = type_of("core/v1", "Volume");
    const struct kube_struct *rule = type_of("admissionregistration/v1", "NamedRuleWithOperations");
    const struct kube_field *field;

    (void)state;
    field = field_of(pod, "containers");
    assert_int_equal(field->shape, KUBE_LIST);
    assert_int_equal(field->flags, KUBE_MERGE);
    assert_string_equal(field->merge_key, "name");
    assert_string_equal(field->list_keys, "name");
    assert_int_equal(field->number, 2);
    assert_string_equal(kube_struct(field->type)->name, "Container");

    assert_int_equal(field_of(pod, "volumes")->flags,
                     KUBE_OMITEMPTY | KUBE_MERGE | KUBE_RETAIN_KEYS);
    assert_int_equal(field_of(pod, "terminationGracePeriodSeconds")->flags,
                     KUBE_OMITEMPTY | KUBE_POINTER);
    assert_int_equal(field_of(pod, "nodeSelector")->list_type, KUBE_ATOMIC);
    assert_string_equal(field_of(type_of("core/v1", "Container"), "ports")->list_keys,
                        "containerPort,protocol");
    assert_string_equal(field_of(type_of("core/v1", "Container"), "ports")->merge_key,
                        "containerPort");

    assert_int_equal(field_of(volume, "name")->inlined_in, 0);
    assert_int_equal(field_of(volume, "emptyDir")->inlined_in, 2);
    assert_int_equal(field_of(rule, "operations")->inlined_in, 2);
    assert_int_equal(field_of(rule, "apiGroups")->inlined_in, 2 << 8 | 2);
    assert_int_equal(field_of(type_of("core/v1", "Secret"), "data")->kind, KUBE_BYTES);
    assert_int_equal(field_of(type_of("core/v1", "Secret"), "data")->shape, KUBE_MAP);
    field = field_of(type_of("authentication/v1", "UserInfo"), "extra");
    assert_int_equal(field->shape, KUBE_MAP);
    assert_int_equal(field->flags, KUBE_OMITEMPTY | KUBE_LIST_ITEMS);
    assert_int_equal(field_of(type_of("core/v1", "Service"), "kind")->number, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_is_found_and_no_other),
        cmocka_unit_test(protobuf_numbers_lead_to_one_field),
        cmocka_unit_test(parts_are_known_and_lists_have_their_keys),
        cmocka_unit_test(every_stored_resource_has_a_table_or_says_opaque),
        cmocka_unit_test(fields_are_as_in_the_api),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
