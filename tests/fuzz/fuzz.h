/* SPDX-License-Identifier: Apache-2.0
 *
 * A harness for one decoder: seeds, and one function that must survive any bytes. fuzz_main.c turns it into a program
 * for `make check`; with -DKM_LIBFUZZER and clang -fsanitize=fuzzer it is a libFuzzer target as it stands.
 */
#ifndef KM_TESTS_FUZZ_H
#define KM_TESTS_FUZZ_H

#undef NDEBUG
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Hands well-formed (and nearly well-formed) inputs to `add`, which copies them. Called once. */
void fuzz_seeds(void (*add)(const void *data, size_t len));

#endif
