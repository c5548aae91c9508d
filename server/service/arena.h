/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of one request: handed out piece by piece, wiped and given back all at once, since requests carry PINs and
 * plaintext. One thread at a time.
 */
#ifndef KM_SERVICE_ARENA_H
#define KM_SERVICE_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

#define KM_ARENA_FIRST 4096 /* bytes that need no allocation */

struct km_arena_block;
struct km_arena {
    ProtobufCAllocator allocator; /* for protobuf-c's unpack: free does nothing */
    struct km_arena_block *blocks;
    size_t used; /* of `first`, or of the newest block */
    _Alignas(16) unsigned char first[KM_ARENA_FIRST];
};

void km_arena_init(struct km_arena *arena);
/* Wipes and frees everything. */
void km_arena_fini(struct km_arena *arena);
/* `size` bytes, zeroed, or NULL when out of memory. */
void *km_arena_alloc(struct km_arena *arena, size_t size);
/* The same for `n` pieces of `size` bytes, without overflow. */
void *km_arena_array(struct km_arena *arena, size_t n, size_t size);

#endif
