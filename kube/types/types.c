#include <endian.h>
#include <string.h>

#include "base/util.h"
#include "kube/types/tables.h"

const struct kube_struct *kube_struct(uint16_t id)
{
    ASSERT(id < KUBE_STRUCT_COUNT);
    return &kube__structs[id];
}

uint16_t kube_struct_count(void)
{
    return KUBE_STRUCT_COUNT;
}

const struct kube_struct *kube_struct_find(const char *package, const char *name)
{
    size_t low = 0, high = KUBE_STRUCT_COUNT;

    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct kube_struct *type = &kube__structs[middle];
        int order = strcmp(package, type->package);

        if (order == 0)
            order = strcmp(name, type->name);
        if (order == 0)
            return type;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static uint32_t load(const uint8_t *bytes, size_t len)
{
    uint32_t value = 0;

    memcpy(&value, bytes, len < 4 ? len : 4);
    return le32toh(value);
}

/* Tells all names within one struct apart without looking at every byte: the generator checks. */
static uint32_t name_key(struct slice name)
{
    uint32_t first = load(name.data, name.len);
    uint32_t last = name.len < 4 ? first : load(name.data + name.len - 4, 4);

    return first ^ last * 0x85ebca6b ^ (uint32_t)name.len ^
           (uint32_t)name.data[name.len * 2 / 3] << 8;
}

const struct kube_field *kube_field_find(const struct kube_struct *type, struct slice name)
{
    const struct kube_field *field;
    uint32_t slot;
    uint8_t index;

    if (name.len == 0)
        return NULL;
    slot = (name_key(name) * type->seed) >> (32 - type->slot_bits);
    index = kube__slots[type->first_slot + slot];
    if (index == 0)
        return NULL;
    field = &type->fields[index - 1];
    return field->name_len == name.len && memcmp(field->name, name.data, name.len) == 0 ? field
                                                                                        : NULL;
}

const struct kube_field *kube_field_numbered(const struct kube_struct *type, uint16_t inlined_in,
                                             uint16_t number)
{
    for (uint16_t i = 0; number != 0 && i < type->field_count; i++) {
        if (type->fields[i].number == number && type->fields[i].inlined_in == inlined_in)
            return &type->fields[i];
    }
    return NULL;
}
