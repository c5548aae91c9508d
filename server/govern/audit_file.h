/* SPDX-License-Identifier: Apache-2.0
 *
 * The audit log's files: one record is one line, {"seq":N,"prev":"HASH OF N-1",...,"hash":"SHA-256 of the line before
 * this comma"}. Stateless functions; any thread.
 */
#ifndef KM_GOVERN_AUDIT_FILE_H
#define KM_GOVERN_AUDIT_FILE_H

#include "audit.h"

#include <stdio.h>

#define KM_AUDIT_LINE_MAX 4096 /* bytes of one line at most */

/* The end of a chain so far. Zeroed: before the first record. */
struct km_audit_chain {
    uint64_t sequence;
    uint8_t hash[KM_AUDIT_HASH_LEN];
};

/* Writes the next line of `chain` with the fields in `body` (JSON without braces) to `line` (KM_AUDIT_LINE_MAX bytes)
 * and moves the chain on. Returns the line's length with its end. */
size_t km_audit_line(struct km_audit_chain *chain, const char *body, size_t body_len, char *line);

/* Reads `file` from the start and follows the chain as far as it holds. `is_first_known` says that `chain` is the
 * record before the file's first; otherwise the first record is taken at its word. `ret_good` is the length of the part
 * that holds. Returns true if that is all of it; otherwise `ret_message` says which record does not. */
bool km_audit_follow(FILE *file, struct km_audit_chain *chain, bool is_first_known, long *ret_good, char *ret_message,
                     size_t message_len);

/* The log's files in `dir` in order, as numbers (their first records), malloc'ed. Errors: KM_ERR_IO, KM_ERR_NOMEM. */
enum km_err km_audit_files(const char *dir, uint64_t **ret, size_t *ret_n) KM_CHECKED;
/* The name of the file that begins with record `first`. */
void km_audit_file_name(const char *dir, uint64_t first, char *ret, size_t ret_len);

#endif
