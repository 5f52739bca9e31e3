/* Selectors end in a selector or in a 400 with a reason, and match without a fault. */
#include "kube/check/selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void match(struct arena *arena, const struct kube_selector *selector)
{
    static const char text[] = "{\"metadata\":{\"name\":\"a\",\"labels\":{\"a\":\"1\",\"b\":\"\"}},"
                               "\"spec\":{\"nodeName\":\"b\",\"unschedulable\":true}}";
    struct json *object;

    ASSERT(json_parse(arena, slice_str(text), NULL, &object, NULL) == 0);
    (void)kube_selector_matches(selector, &kube_selected_json, object);
    (void)kube_selector_pins(selector, "metadata.name");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct slice text = slice_of(data, size);
    struct kube_selector selector = {NULL, NULL};
    struct kube_status status;
    const struct kube_resource *pods =
        kube_resource_find(slice_str(""), slice_str("v1"), slice_str("pods"));

    ASSERT(pods != NULL);
    if (kube_label_selector_parse(&arena, text, &selector, &status) != 0)
        ASSERT(status.code == 400 && status.message[0] != '\0');
    else
        match(&arena, &selector);
    selector = (struct kube_selector){NULL, NULL};
    if (kube_field_selector_parse(&arena, pods, text, &selector, &status) != 0)
        ASSERT(status.code == 400 && status.message[0] != '\0');
    else
        match(&arena, &selector);
    arena_release(&arena);
    return 0;
}
