/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC-32C by the processor's own instruction where there is one, else by eight tables. Both give the same bytes; a test
 * compares them. Any thread.
 */
#include "crc32c.h"

#include <endian.h>
#include <pthread.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* reflected */

static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void table_init(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        table[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++)
            table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 0xff];
}

static uint32_t update_by_table(uint32_t crc, const uint8_t *data, size_t len)
{
    pthread_once(&table_once, table_init);
    for (; len >= 8; len -= 8, data += 8) {
        uint64_t word;
        memcpy(&word, data, sizeof(word));
        word = le64toh(word) ^ crc;
        crc = table[7][word & 0xff] ^ table[6][word >> 8 & 0xff] ^ table[5][word >> 16 & 0xff] ^
              table[4][word >> 24 & 0xff] ^ table[3][word >> 32 & 0xff] ^ table[2][word >> 40 & 0xff] ^
              table[1][word >> 48 & 0xff] ^ table[0][word >> 56];
    }
    for (; len > 0; len--)
        crc = crc >> 8 ^ table[0][(crc ^ *data++) & 0xff];
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t update_by_processor(uint32_t crc, const uint8_t *data, size_t len)
{
    uint64_t wide = crc;
    for (; len >= 8; len -= 8, data += 8) {
        uint64_t word;
        memcpy(&word, data, sizeof(word));
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; len > 0; len--)
        crc = __builtin_ia32_crc32qi(crc, *data++);
    return crc;
}
#endif

uint32_t km_crc32c(uint32_t crc, const void *data, size_t len)
{
    if (len == 0)
        return crc;
#if defined(__x86_64__)
    /* Short pieces by the tables too, so that a wrong table would not go unnoticed on machines that have the
     * instruction. */
    if (len >= 16 && __builtin_cpu_supports("sse4.2"))
        return ~update_by_processor(~crc, data, len);
#endif
    return ~update_by_table(~crc, data, len);
}

uint32_t km_crc32c_u64(uint32_t crc, uint64_t number)
{
    uint64_t bytes = htole64(number);
    return km_crc32c(crc, &bytes, sizeof(bytes));
}
