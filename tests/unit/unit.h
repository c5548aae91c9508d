/* SPDX-License-Identifier: Apache-2.0
 *
 * cmocka, with the headers that it wants included before it.
 */
#ifndef KM_TESTS_UNIT_H
#define KM_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
