/* SPDX-License-Identifier: Apache-2.0
 *
 * Audit: this server's append-only log of who did what, each record chained to the one before by a SHA-256 (design
 * D14). JSON lines in files of data_dir/audit, named after the sequence number of their first record; PROTOCOL.md gives
 * the format. One writer thread commits groups. Never a PIN, a secret or a plaintext: an event has no field for one.
 *
 * Threads: all functions on any thread; open and close on one.
 */
#ifndef KM_GOVERN_AUDIT_H
#define KM_GOVERN_AUDIT_H

#include "../../common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_AUDIT_HASH_LEN 32
#define KM_AUDIT_FILE_MAX (16u * 1024 * 1024) /* a file that has grown beyond this is followed by a new one */
#define KM_AUDIT_STUCK_MS 1500                /* a record that is not durable after this takes the log out of service */
#define KM_AUDIT_DENIALS_PER_S 10 /* refusals of one kind that are written out; more are counted in one record */

enum km_audit_class {
    KM_AUDIT_BATCHED, /* a power loss may take the last 10 ms */
    KM_AUDIT_EACH,    /* durable before the reply */
};

/* One thing that was asked. Strings and ids are borrowed for the call; NULL: not known. */
struct km_audit_event {
    uint64_t utc_ms;
    const char *who;       /* identity from the certificate */
    const char *program;   /* claimed */
    uint32_t uid;          /* claimed */
    const char *operation; /* "use.sign" */
    const uint8_t *token;  /* 16 bytes */
    const char *user;      /* "user", "so" or NULL */
    const uint8_t *object; /* 16 bytes */
    const char *mechanism;
    uint64_t session, number; /* of the change; 0: none */
    const char *outcome;      /* "answer", "elsewhere", "undecided", "busy" */
    uint64_t rv;
    const char *reason;
};

struct km_audit;

/* Opens (or begins) the log in folder `dir`, which it makes if need be, and verifies its newest file. A torn tail, as a
 * power loss leaves one, is moved aside to FILE.torn and noted as a record of its own. Errors: KM_ERR_IO,
 * KM_ERR_CORRUPT, KM_ERR_NOMEM with `ret_message`. */
enum km_err km_audit_open(const char *dir, uint64_t server_id, enum km_audit_class class, struct km_audit **ret,
                          char *ret_message, size_t message_len) KM_CHECKED;
/* Writes what waits, then frees. */
void km_audit_close(struct km_audit *audit);

/* True if record writing must wait for the disk (class each): not in a network callback. */
bool km_audit_is_each(const struct km_audit *audit);

/* False within 2 s of the log having become unwritable; then no key may be used here. A few loads. */
bool km_audit_is_ok(const struct km_audit *audit);

/* Takes one record; with class each, waits until it is durable. Refusals (outcome answer with an rv other than CKR_OK,
 * or another outcome) of one kind beyond KM_AUDIT_DENIALS_PER_S are only counted; the count is written as one record
 * each second. Errors: KM_ERR_IO (the log is out of service), KM_ERR_BUSY (too much waits already). */
enum km_err km_audit_write(struct km_audit *audit, const struct km_audit_event *event) KM_CHECKED;

/* The last durable record: its number (0: none) and hash. */
void km_audit_head(struct km_audit *audit, uint64_t *ret_sequence, uint8_t ret_hash[KM_AUDIT_HASH_LEN]);

/* Verifies every file in folder `dir`: chain, numbers, hashes. `ret_sequence` and `ret_hash` are those of the last
 * record. Errors: KM_ERR_IO, KM_ERR_CORRUPT with `ret_message` ("FILE: record 17: ..."). */
enum km_err km_audit_verify(const char *dir, uint64_t *ret_sequence, uint8_t ret_hash[KM_AUDIT_HASH_LEN],
                            char *ret_message, size_t message_len) KM_CHECKED;

#endif
