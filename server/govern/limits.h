/* SPDX-License-Identifier: Apache-2.0
 *
 * Limits: how many requests, and how many bytes of them, one identity may have waiting at this server at once, so that
 * a program gone wild fills its own share and not the server. Any thread.
 */
#ifndef KM_GOVERN_LIMITS_H
#define KM_GOVERN_LIMITS_H

#include <stdbool.h>
#include <stddef.h>

struct km_limits;

/* Per identity: `requests_max` requests and `bytes_max` bytes at once. NULL when out of memory. */
struct km_limits *km_limits_new(unsigned requests_max, size_t bytes_max);
void km_limits_free(struct km_limits *limits);

/* Counts a request of `bytes` bytes of `identity`; false (and nothing counted) when that is over its limit. A single
 * request within bytes_max is always let in when nothing else of the identity waits. */
bool km_limits_enter(struct km_limits *limits, const char *identity, size_t bytes);
/* The request is done. */
void km_limits_leave(struct km_limits *limits, const char *identity, size_t bytes);

#endif
