/* SPDX-License-Identifier: Apache-2.0
 *
 * Ordered sets whose links live inside the members (no allocation of their own, so an index costs 16 bytes per
 * member and cannot fail). Private to the store.
 *
 * Threads: none of its own; who changes a tree holds the store's write lock, who reads it the read lock.
 */
#ifndef KM_RAFT_STORE_TREE_H
#define KM_RAFT_STORE_TREE_H

#include <stdbool.h>
#include <stddef.h>

struct km_tree_node {
    struct km_tree_node *left, *right;
};

/* The struct of `type` whose `member` is the node at `ptr`; NULL stays NULL. */
#define KM_TREE_OF(ptr, type, member) ((type *)km_tree_outer((ptr), offsetof(type, member)))
static inline void *km_tree_outer(const struct km_tree_node *node, size_t offset)
{
    return node ? (char *)(size_t)node - offset : NULL;
}

typedef int (*km_tree_cmp)(const struct km_tree_node *a, const struct km_tree_node *b);

/* Adds `node`, which must not compare equal to one that is there. */
void km_tree_insert(struct km_tree_node **root, struct km_tree_node *node, km_tree_cmp cmp);
/* Takes out `node`, which must be there. */
void km_tree_remove(struct km_tree_node **root, struct km_tree_node *node, km_tree_cmp cmp);
/* The member that compares equal to `probe`, or NULL. */
struct km_tree_node *km_tree_find(struct km_tree_node *root, const struct km_tree_node *probe, km_tree_cmp cmp);
/* The first member above `probe` (or equal to it, if `is_inclusive`), or NULL. */
struct km_tree_node *km_tree_above(struct km_tree_node *root, const struct km_tree_node *probe, bool is_inclusive,
                                   km_tree_cmp cmp);
/* The first member, or NULL. */
struct km_tree_node *km_tree_first(struct km_tree_node *root);
/* Calls `each` for every member in order. `each` must not change the tree. */
void km_tree_each(struct km_tree_node *root, void (*each)(void *arg, struct km_tree_node *node), void *arg);
/* Empties the tree, calling `each` (may be NULL) for every former member in order; `each` may free it. */
void km_tree_drain(struct km_tree_node **root, void (*each)(void *arg, struct km_tree_node *node), void *arg);

#endif
