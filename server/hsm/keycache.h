/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys that were unsealed, kept for their next use. A key is found by its seal's salt, which no other seal has, and is given out only if
 * head and seal are byte for byte those that it was unsealed with, so a hit proves as much as unsealing again. Any thread: sixteen
 * shards, each with a lock that is held for a lookup.
 */
#ifndef KM_HSM_KEYCACHE_H
#define KM_HSM_KEYCACHE_H

#include "crypto.h"

struct km_keycache;

/* About `capacity` keys; of secret keys, which take a locked page each, an eighth of it. NULL: no memory. */
struct km_keycache *km_keycache_new(size_t capacity);
void km_keycache_free(struct km_keycache *cache);
/* A reference to the key of this record, or NULL. */
struct km_loaded *km_keycache_get(struct km_keycache *cache, const Kml__Object *object);
/* Remembers `key`, which was unsealed from `object`; the cache takes its own reference. Without memory for it, it is just not kept. */
void km_keycache_put(struct km_keycache *cache, const Kml__Object *object, struct km_loaded *key);
/* Drops the key of this record, if it is there. */
void km_keycache_forget(struct km_keycache *cache, const Kml__Object *object);
/* Drops every key whose record names the object `id` (16 bytes) as an ancestor: session keys, which have no record in the store. */
void km_keycache_forget_descendants(struct km_keycache *cache, const uint8_t *id);
/* Drops keys that nobody used for `seconds`; 0: all. */
void km_keycache_age(struct km_keycache *cache, unsigned seconds);
/* How many are kept now. */
size_t km_keycache_count(struct km_keycache *cache);

#endif
