#include "mvcc/lease_keys.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/util.h"

/* Ordered by key from left to right; no child has a higher priority than its parent. So the depth
 * is about 2 log n whatever the keys are, and recursion is safe. */
struct lease_key {
    struct lease_key *left, *right;
    uint32_t priority;
    uint32_t len;
    uint8_t bytes[];
};

static struct slice key_of(const struct lease_key *node)
{
    return slice_of(node->bytes, node->len);
}

/* Cuts a tree into the keys below key and those above; key itself is not in it. */
static void split(struct lease_key *node, struct slice key, struct lease_key **below,
                  struct lease_key **above)
{
    while (node != NULL) {
        if (slice_cmp(key_of(node), key) < 0) {
            *below = node;
            below = &node->right;
            node = node->right;
        } else {
            *above = node;
            above = &node->left;
            node = node->left;
        }
    }
    *below = *above = NULL;
}

/* Every key of left is below every key of right. */
static struct lease_key *join(struct lease_key *left, struct lease_key *right)
{
    struct lease_key *root = NULL, **at = &root;

    while (left != NULL && right != NULL) {
        if (left->priority >= right->priority) {
            *at = left;
            at = &left->right;
            left = left->right;
        } else {
            *at = right;
            at = &right->left;
            right = right->left;
        }
    }
    *at = left != NULL ? left : right;
    return root;
}

/* The link that points to the key, or to NULL where the search ends. */
static struct lease_key **find(struct lease_keys *keys, struct slice key)
{
    struct lease_key **at = &keys->root;

    while (*at != NULL) {
        int order = slice_cmp(key, key_of(*at));

        if (order == 0)
            return at;
        at = order < 0 ? &(*at)->left : &(*at)->right;
    }
    return at;
}

bool lease_keys__add(struct lease_keys *keys, struct prng *prng, struct slice key)
{
    struct lease_key **at = &keys->root;
    struct lease_key *node;

    if (*find(keys, key) != NULL)
        return false;
    node = xmalloc(sizeof *node + key.len);
    node->priority = (uint32_t)prng_next(prng);
    node->len = (uint32_t)key.len;
    memcpy(node->bytes, key.data, key.len);

    while (*at != NULL && (*at)->priority >= node->priority)
        at = slice_cmp(key, key_of(*at)) < 0 ? &(*at)->left : &(*at)->right;
    split(*at, key, &node->left, &node->right);
    *at = node;
    keys->count++;
    return true;
}

bool lease_keys__remove(struct lease_keys *keys, struct slice key)
{
    struct lease_key **at = find(keys, key);
    struct lease_key *node = *at;

    if (node == NULL)
        return false;
    *at = join(node->left, node->right);
    free(node);
    keys->count--;
    return true;
}

static void release(struct lease_key *node)
{
    if (node == NULL)
        return;
    release(node->left);
    release(node->right);
    free(node);
}

void lease_keys__release(struct lease_keys *keys)
{
    release(keys->root);
    *keys = (struct lease_keys){0};
}

static void each(const struct lease_key *node, lease_keys_visit visit, void *ctx)
{
    if (node == NULL)
        return;
    each(node->left, visit, ctx);
    visit(ctx, key_of(node));
    each(node->right, visit, ctx);
}

void lease_keys__each(const struct lease_keys *keys, lease_keys_visit visit, void *ctx)
{
    each(keys->root, visit, ctx);
}
