/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of return values, from the header itself (rv.inc is made of common/cryptoki.h).
 */
#include "conform.h"

#include <stdio.h>

static const struct {
    CK_RV rv;
    const char *name;
} names[] = {
#define NAME(rv) {rv, #rv},
#include "tests/conform/rv.inc"
#undef NAME
};

const char *rv_name(CK_RV rv)
{
    static char number[2 + 16 + 1];

    for (size_t i = 0; i < LEN(names); i++)
        if (names[i].rv == rv)
            return names[i].name;
    snprintf(number, sizeof(number), "0x%lx", rv);
    return number;
}
