/* SPDX-License-Identifier: Apache-2.0
 *
 * What strangers make us say: log lines that come at most a few per second, the rest counted, so that nobody can fill the disk.
 */
#ifndef KM_NET_QUIET_H
#define KM_NET_QUIET_H

#include "../../common/log.h"

#include <nng/nng.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define KM_QUIET_LINES 5 /* a second */

struct km_quiet {
    pthread_mutex_t lock;
    int64_t second;
    unsigned n_lines, n_held;
};

void km_quiet_init(struct km_quiet *quiet);
void km_quiet_fini(struct km_quiet *quiet);

/* Logs, or counts. Any thread. */
void km_quiet_log(struct km_quiet *quiet, enum km_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Says how many were held back, if the second is over. Call it now and then. */
void km_quiet_flush(struct km_quiet *quiet);

/* Where a pipe comes from: for comparing (an IPv4 address, an IPv6 /64) and, with the port, for printing. */
struct km_source {
    uint8_t bytes[9];
};
#define KM_SOURCE_TEXT_MAX 64
void km_source_of(nng_pipe pipe, struct km_source *ret, char ret_text[KM_SOURCE_TEXT_MAX]);
void km_source_of_address(const nng_sockaddr *address, struct km_source *ret, char ret_text[KM_SOURCE_TEXT_MAX]);

#endif
