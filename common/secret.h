/* SPDX-License-Identifier: Apache-2.0
 *
 * Plaintext secrets: locked pages, left out of core dumps, wiped on free, moved and never copied. A secret is heap
 * memory of its own (mmap), so its neighbours are guard pages of nobody else's data.
 */
#ifndef KM_COMMON_SECRET_H
#define KM_COMMON_SECRET_H

#include "err.h"

#include <stddef.h>
#include <stdint.h>

struct km_secret {
    uint8_t *data; /* NULL: empty */
    size_t len;    /* bytes in use */
    size_t cap;    /* private */
};

#define KM_SECRET_EMPTY ((struct km_secret){NULL, 0, 0})

/* Makes `secret` hold `len` zero bytes in locked, undumpable memory. The caller frees with km_secret_free.
 * Errors: KM_ERR_NOMEM (also when the locked-memory limit is reached). */
enum km_err km_secret_new(struct km_secret *secret, size_t len) KM_CHECKED;

/* Shortens `secret` to `len` bytes (`len` <= secret->len) and wipes the rest. */
void km_secret_shrink(struct km_secret *secret, size_t len);

/* Moves the secret out of `from`, which is empty afterwards. */
struct km_secret km_secret_take(struct km_secret *from);

/* Wipes and frees; `secret` is empty afterwards. Freeing an empty secret is fine. */
void km_secret_free(struct km_secret *secret);

/* Wipes `len` bytes at `data` in a way the compiler keeps; for copies that a library forced on us. */
void km_wipe(void *data, size_t len);

#endif
