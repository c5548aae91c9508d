/* SPDX-License-Identifier: Apache-2.0
 *
 * The arena: a piece of memory inside the call for what is small, a list of blocks for the rest. Invariant: bytes
 * beyond `used` are zero, since pieces are never given back before the end.
 */
#include "arena.h"

#include "../../common/secret.h"

#include <stdint.h>
#include <stdlib.h>

#define BLOCK 16384
#define ALIGN 16

struct km_arena_block {
    struct km_arena_block *next;
    size_t size;
    _Alignas(ALIGN) unsigned char data[];
};

static void *allocate(void *arena, size_t size)
{
    return km_arena_alloc(arena, size);
}

static void keep(void *arena, void *piece)
{
    (void)arena;
    (void)piece;
}

void km_arena_init(struct km_arena *arena)
{
    *arena = (struct km_arena){.allocator = {.alloc = allocate, .free = keep, .allocator_data = arena}};
}

void km_arena_fini(struct km_arena *arena)
{
    size_t used = arena->used;
    for (struct km_arena_block *block = arena->blocks, *next; block; block = next, used = SIZE_MAX) {
        next = block->next;
        km_wipe(block->data, used < block->size ? used : block->size);
        free(block);
    }
    km_wipe(arena->first, arena->blocks ? sizeof(arena->first) : used);
    arena->blocks = NULL;
    arena->used = 0;
}

void *km_arena_alloc(struct km_arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    unsigned char *data = arena->blocks ? arena->blocks->data : arena->first;
    size_t room = (arena->blocks ? arena->blocks->size : sizeof(arena->first)) - arena->used;
    if (size > room) {
        size_t want = size > BLOCK / 2 ? size : BLOCK;
        struct km_arena_block *block = calloc(1, sizeof(*block) + want);
        if (!block)
            return NULL;
        block->size = want;
        block->next = arena->blocks;
        arena->blocks = block;
        arena->used = 0;
        data = block->data;
    }
    void *piece = data + arena->used;
    arena->used += size;
    return piece;
}

void *km_arena_array(struct km_arena *arena, size_t n, size_t size)
{
    return size > 0 && n > SIZE_MAX / size ? NULL : km_arena_alloc(arena, n * size);
}
