/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC-32C (Castagnoli, RFC 3720 12.1), the checksum of everything on disk: it finds every flip of up to three bits in a
 * row of our sizes and every burst of up to 32 bits. It guards against damage, not against an attacker, who could
 * compute it.
 */
#ifndef KM_RAFT_CRC32C_H
#define KM_RAFT_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of what gave `crc` (0: nothing) followed by `data`. */
uint32_t km_crc32c(uint32_t crc, const void *data, size_t len);

/* Followed by one number as 8 bytes, little-endian. */
uint32_t km_crc32c_u64(uint32_t crc, uint64_t number);

#endif
