/* SPDX-License-Identifier: Apache-2.0
 *
 * Treaps: search trees by key, heaps by a priority mixed from each node's address, so that nothing need be stored for
 * balance and no order of insertion makes them deep. Their shape differs from server to server, their order does not;
 * nothing but the order can be seen from outside, so the state machine stays deterministic.
 */
#include "store_tree.h"

#include <assert.h>
#include <stdint.h>

static uint64_t priority(const struct km_tree_node *node)
{
    uint64_t x = (uint64_t)(uintptr_t)node;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Parts `tree` into what is below `node` and what is above. */
static void split(struct km_tree_node *tree, const struct km_tree_node *node, km_tree_cmp cmp,
                  struct km_tree_node **below, struct km_tree_node **above)
{
    while (tree) {
        int order = cmp(tree, node);
        assert(order != 0);
        if (order < 0) {
            *below = tree;
            below = &tree->right;
            tree = tree->right;
        } else {
            *above = tree;
            above = &tree->left;
            tree = tree->left;
        }
    }
    *below = NULL;
    *above = NULL;
}

void km_tree_insert(struct km_tree_node **root, struct km_tree_node *node, km_tree_cmp cmp)
{
    uint64_t own = priority(node);
    while (*root && priority(*root) >= own)
        root = cmp(node, *root) < 0 ? &(*root)->left : &(*root)->right;
    split(*root, node, cmp, &node->left, &node->right);
    *root = node;
}

void km_tree_remove(struct km_tree_node **root, struct km_tree_node *node, km_tree_cmp cmp)
{
    while (*root != node) {
        assert(*root);
        root = cmp(node, *root) < 0 ? &(*root)->left : &(*root)->right;
    }
    struct km_tree_node *left = node->left, *right = node->right;
    while (left && right) {
        if (priority(left) > priority(right)) {
            *root = left;
            root = &left->right;
            left = left->right;
        } else {
            *root = right;
            root = &right->left;
            right = right->left;
        }
    }
    *root = left ? left : right;
    node->left = NULL;
    node->right = NULL;
}

struct km_tree_node *km_tree_find(struct km_tree_node *root, const struct km_tree_node *probe, km_tree_cmp cmp)
{
    while (root) {
        int order = cmp(probe, root);
        if (order == 0)
            return root;
        root = order < 0 ? root->left : root->right;
    }
    return NULL;
}

struct km_tree_node *km_tree_above(struct km_tree_node *root, const struct km_tree_node *probe, bool is_inclusive,
                                   km_tree_cmp cmp)
{
    struct km_tree_node *best = NULL;
    while (root) {
        int order = cmp(probe, root);
        if (order < 0 || (order == 0 && is_inclusive)) {
            best = root;
            root = root->left;
        } else {
            root = root->right;
        }
    }
    return best;
}

struct km_tree_node *km_tree_first(struct km_tree_node *root)
{
    while (root && root->left)
        root = root->left;
    return root;
}

void km_tree_each(struct km_tree_node *root, void (*each)(void *arg, struct km_tree_node *node), void *arg)
{
    for (; root; root = root->right) {
        km_tree_each(root->left, each, arg);
        each(arg, root);
    }
}

void km_tree_drain(struct km_tree_node **root, void (*each)(void *arg, struct km_tree_node *node), void *arg)
{
    struct km_tree_node *node = *root;
    *root = NULL;
    while (node) {
        if (node->left) { /* rotate until the smallest is on top: constant memory */
            struct km_tree_node *left = node->left;
            node->left = left->right;
            left->right = node;
            node = left;
        } else {
            struct km_tree_node *next = node->right;
            node->right = NULL;
            if (each)
                each(arg, node);
            node = next;
        }
    }
}
