/* SPDX-License-Identifier: Apache-2.0
 *
 * Files that a command makes. All functions log their own errors.
 */
#ifndef KM_CLI_FILE_H
#define KM_CLI_FILE_H

#include "../common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Errors: KM_ERR_EXISTS when `path` is there. */
enum km_err cli_file_absent(const char *path) KM_CHECKED;

/* Writes the whole file `path` durably, with `mode`. Replaces an old one only if `is_forced`. Errors: KM_ERR_EXISTS,
 * KM_ERR_IO. */
enum km_err cli_file_write(const char *path, mode_t mode, const void *data, size_t len, bool is_forced) KM_CHECKED;

/* Makes the folder `path` (0700) unless it is there. Its parent must be. Errors: KM_ERR_IO. */
enum km_err cli_folder_make(const char *path) KM_CHECKED;

#endif
