/* SPDX-License-Identifier: Apache-2.0
 *
 * The grains of protobuf that the store reads and writes itself where a whole message would be too large. Private to
 * the store.
 */
#ifndef KM_RAFT_STORE_BYTES_H
#define KM_RAFT_STORE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KM_WIRE_VARINT = 0, KM_WIRE_BYTES = 2 };

static const char km_snapshot_magic[6] __attribute__((unused)) = {'K', 'M', 'S', 'N', 'A', 'P'};

/* Field numbers of kml.Snapshot */
enum km_snapshot_field {
    KM_SNAPSHOT_VERSION_FIELD = 1,
    KM_SNAPSHOT_INDEX,
    KM_SNAPSHOT_TIME_MS,
    KM_SNAPSHOT_FEATURE,
    KM_SNAPSHOT_NEXT_SLOT,
    KM_SNAPSHOT_TOKENS,
    KM_SNAPSHOT_OBJECTS,
    KM_SNAPSHOT_CLIENTS,
    KM_SNAPSHOT_AUDIT_HEADS,
    KM_SNAPSHOT_DIGEST,
};

/* Takes a varint from `*at` on. False if it does not end before `end` or is longer than 64 bits take. */
static inline bool km_take_varint(const uint8_t **at, const uint8_t *end, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = value;
            return true;
        }
    }
    return false;
}

/* Writes a varint and returns its length. */
static inline size_t km_put_varint(uint8_t out[10], uint64_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        out[n++] = (uint8_t)(value | 0x80);
    out[n++] = (uint8_t)value;
    return n;
}

#endif
