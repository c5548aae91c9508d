/* SPDX-License-Identifier: Apache-2.0
 *
 * The standard's strings: of fixed length, padded with blanks, without an end.
 */
#ifndef KM_MODULE_TEXT_H
#define KM_MODULE_TEXT_H

#include "../common/cryptoki.h"

#include <string.h>

/* Fills `field` with `text`, cut at a character's border if it is too long (UTF-8). */
static inline void km_text_pad(CK_UTF8CHAR *field, size_t size, const char *text)
{
    size_t len = strlen(text);

    if (len > size) {
        len = size;
        while (len > 0 && (text[len] & 0xc0) == 0x80)
            len--;
    }
    memset(field, ' ', size);
    memcpy(field, text, len);
}

/* Copies `field` without its padding into `ret`, which has room for `size` + 1. */
static inline void km_text_trim(char *ret, const CK_UTF8CHAR *field, size_t size)
{
    while (size > 0 && (field[size - 1] == ' ' || field[size - 1] == '\0'))
        size--;
    memcpy(ret, field, size);
    ret[size] = '\0';
}

#endif
