/* SPDX-License-Identifier: Apache-2.0
 *
 * A program of any C_* calls, read from bytes: each call draws its arguments from them, good ones and hostile ones.
 * What is behind the module is the harness's: an honest server in this process (fuzz_module), or one that lies
 * (fuzz_hostile).
 */
#ifndef KM_TESTS_FUZZ_SURFACE_H
#define KM_TESTS_FUZZ_SURFACE_H

#include "fuzz.h"

#include "../../common/client.h"
#include "../../common/cryptoki.h"

/* Starts the server with a token, and the module; makes keys. Once. */
void surface_start(void);
/* Runs the calls that `data` means, checks what must hold after each, and tidies up. */
void surface_run(const uint8_t *data, size_t len);
/* Programs that make sense, to start from. */
void surface_seeds(void (*add)(const void *data, size_t len));

/* What a harness does to a packed reply: changes it in place or hands out another one (malloc). */
typedef void surface_tamper(uint8_t **packed, size_t *len);
extern surface_tamper *surface_tampers;

#endif
