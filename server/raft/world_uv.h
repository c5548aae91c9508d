/* SPDX-License-Identifier: Apache-2.0
 *
 * struct km_world of a real server: CLOCK_BOOTTIME, the system's clock and getrandom; timer and wake-up over libuv.
 *
 * Thread: new, free, set_timer and set_wake on the loop thread; the others on any.
 */
#ifndef KM_RAFT_WORLD_UV_H
#define KM_RAFT_WORLD_UV_H

#include "replica.h"

#include <uv.h>

/* Errors: KM_ERR_NOMEM, KM_ERR_IO. */
enum km_err km_world_uv_new(uv_loop_t *loop, struct km_world **ret) KM_CHECKED;

/* Stops timer and wake-up. The memory goes once the loop has closed the handles (run it until uv_loop_close succeeds).
 * No thread may call wake any more. NULL is fine. */
void km_world_uv_free(struct km_world *world);

#endif
