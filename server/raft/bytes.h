/* SPDX-License-Identifier: Apache-2.0
 *
 * Little-endian numbers and counted bytes: one writer and one reader for codec.c and peer.c. The writer either counts (data NULL) or
 * fills room that was counted before; the reader never reads past its end and remembers the first error, so callers check once.
 */
#ifndef KM_RAFT_BYTES_H
#define KM_RAFT_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct km_writer {
    uint8_t *data; /* NULL: count only */
    size_t len;
};

static inline void km_put(struct km_writer *w, const void *data, size_t len)
{
    if (w->data != NULL && len > 0)
        memcpy(w->data + w->len, data, len);
    w->len += len;
}

static inline void km_put_uint(struct km_writer *w, uint64_t value, unsigned width)
{
    uint8_t bytes[8];

    for (unsigned i = 0; i < width; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    km_put(w, bytes, width);
}

struct km_reader {
    const uint8_t *data;
    size_t len;
    bool is_bad;
};

/* The next `len` bytes, borrowed, or NULL. */
static inline const uint8_t *km_get(struct km_reader *r, size_t len)
{
    const uint8_t *at = r->data;

    if (r->is_bad || len > r->len) {
        r->is_bad = true;
        return NULL;
    }
    r->data += len;
    r->len -= len;
    return at;
}

static inline uint64_t km_get_uint(struct km_reader *r, unsigned width)
{
    const uint8_t *bytes = km_get(r, width);
    uint64_t value = 0;

    for (unsigned i = 0; bytes != NULL && i < width; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

/* A number that must not be above `max`. */
static inline uint64_t km_get_bounded(struct km_reader *r, unsigned width, uint64_t max)
{
    uint64_t value = km_get_uint(r, width);

    if (value > max)
        r->is_bad = true;
    return r->is_bad ? 0 : value;
}

#endif
