/* SPDX-License-Identifier: Apache-2.0
 *
 * One-line messages to a person: to stderr, syslog or a file. Never a secret; bytes from the network are printed with
 * control characters replaced. Thread-safe, and safe to use in a child after fork.
 */
#ifndef KM_COMMON_LOG_H
#define KM_COMMON_LOG_H

#include "err.h"

enum km_log_level { KM_LOG_ERROR, KM_LOG_WARN, KM_LOG_INFO, KM_LOG_DEBUG };

/* Sends messages up to `level` to `target`: "stderr" (the default), "syslog", "none" or an absolute file name (opened for each
 * message with O_APPEND, so that it can be rotated and no descriptor is held in a host process). `program` prefixes
 * each line. Both strings are copied. Errors: KM_ERR_ARG when the target or the level is unknown. */
enum km_err km_log_open(const char *program, const char *target, enum km_log_level level) KM_CHECKED;

/* Changes the level only (SIGHUP). */
void km_log_set_level(enum km_log_level level);

/* "error", "warn", "info" or "debug" to its level. Errors: KM_ERR_ARG. */
enum km_err km_log_level_parse(const char *text, enum km_log_level *ret_level) KM_CHECKED;

/* Writes one line. A message above the level costs one comparison. */
void km_log(enum km_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
