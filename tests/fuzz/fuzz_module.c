/* SPDX-License-Identifier: Apache-2.0
 *
 * The module through its C_* functions, with a whole server in this process behind it: no call may crash, leak, write
 * past what it was given, or answer a code that does not exist.
 */
#include "surface.h"

void fuzz_seeds(void (*add)(const void *data, size_t len))
{
    surface_seeds(add);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    surface_start();
    surface_run(data, len);
    return 0;
}
