#include <stdlib.h>

#include "base/mem.h"
#include "net/server_internal.h"

/* FNV-1a: the paths are ours, so nobody can choose colliding keys; lookups of foreign paths walk
 * at most one cluster. */
static size_t hash(const void *data, size_t len)
{
    const uint8_t *bytes = data;
    uint64_t value = 14695981039346656037u;

    for (size_t i = 0; i < len; i++)
        value = (value ^ bytes[i]) * 1099511628211u;
    return (size_t)(value ^ (value >> 32));
}

void method_table__init(struct method_table *table, const struct grpc_method *methods, size_t count)
{
    size_t cap = 16;

    while (cap < count * 4)
        cap *= 2;
    table->slots = xcalloc(cap, sizeof *table->slots);
    table->mask = cap - 1;
    for (size_t i = 0; i < count; i++) {
        char *path = xasprintf("/%s/%s", methods[i].service, methods[i].name);
        size_t at = hash(path, strlen(path)) & table->mask;

        ASSERT(methods[i].on_message != NULL);
        while (table->slots[at].method != NULL) {
            ASSERT(strcmp(table->slots[at].path, path) != 0);
            at = (at + 1) & table->mask;
        }
        table->slots[at] =
            (struct method_slot){.method = &methods[i], .path = path, .path_len = strlen(path)};
    }
}

void method_table__release(struct method_table *table)
{
    if (table->slots == NULL)
        return;
    for (size_t i = 0; i <= table->mask; i++)
        free(table->slots[i].path);
    free(table->slots);
    table->slots = NULL;
}

const struct grpc_method *method_table__find(const struct method_table *table, struct slice path)
{
    size_t at = hash(path.data, path.len) & table->mask;

    for (; table->slots[at].method != NULL; at = (at + 1) & table->mask) {
        const struct method_slot *slot = &table->slots[at];

        if (slot->path_len == path.len && memcmp(slot->path, path.data, path.len) == 0)
            return slot->method;
    }
    return NULL;
}

bool method_table__has_service(const struct method_table *table, struct slice service)
{
    for (size_t i = 0; i <= table->mask; i++)
        if (table->slots[i].method != NULL &&
            slice_eq(slice_str(table->slots[i].method->service), service))
            return true;
    return false;
}
