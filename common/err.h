/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors: one table. A row is the name, what a person reads, and the CK_RV that a program gets if nothing nearer to
 * the operation chose a better one.
 */
#ifndef KM_COMMON_ERR_H
#define KM_COMMON_ERR_H

#define KM_ERRORS(X)                                                                    \
    X(NOMEM, "out of memory", CKR_HOST_MEMORY)                                          \
    X(ARG, "invalid argument", CKR_ARGUMENTS_BAD)                                       \
    X(CONF, "invalid configuration", CKR_GENERAL_ERROR)                                 \
    X(IO, "input/output error", CKR_DEVICE_ERROR)                                       \
    X(NET, "network error", CKR_DEVICE_ERROR)                                           \
    X(TIMEOUT, "deadline passed", CKR_DEVICE_ERROR)                                     \
    X(PROTO, "malformed message", CKR_DEVICE_ERROR)                                     \
    X(VERSION, "unknown format version", CKR_DEVICE_ERROR)                              \
    X(TLS, "TLS failure", CKR_DEVICE_ERROR)                                             \
    X(IDENTITY, "certificate without a valid keymoot identity", CKR_DEVICE_ERROR)       \
    X(DENIED, "not permitted", CKR_ACTION_PROHIBITED)                                   \
    X(NOT_FOUND, "not found", CKR_OBJECT_HANDLE_INVALID)                                \
    X(EXISTS, "exists already", CKR_FUNCTION_FAILED)                                    \
    X(NOT_LEADER, "no leader known", CKR_DEVICE_ERROR)                                  \
    X(NOT_FRESH, "this server may be out of date", CKR_DEVICE_ERROR)                    \
    X(BUSY, "over a limit, try again", CKR_FUNCTION_FAILED)                             \
    X(UNDECIDED, "proposed, outcome unknown", CKR_DEVICE_ERROR)                         \
    X(CORRUPT, "stored data is damaged", CKR_DEVICE_ERROR)                              \
    X(CRYPTO, "cryptographic failure", CKR_FUNCTION_FAILED)                             \
    X(UNSUPPORTED, "not supported", CKR_MECHANISM_INVALID)                              \
    X(TOO_LARGE, "over the size limit", CKR_DATA_LEN_RANGE)                             \
    X(FULL, "no space left", CKR_DEVICE_MEMORY)                                         \
    X(CLOSED, "closed", CKR_DEVICE_ERROR)

enum km_err {
    KM_OK = 0,
#define KM_ERR_ROW(name, text, rv) KM_ERR_##name,
    KM_ERRORS(KM_ERR_ROW)
#undef KM_ERR_ROW
};

#define KM_CHECKED __attribute__((warn_unused_result))

/* The text of `err`, never NULL; static storage. */
const char *km_err_text(enum km_err err);

/* The CK_RV that stands for `err` where the operation has no better one. */
unsigned long km_err_rv(enum km_err err);

#endif
