/* SPDX-License-Identifier: Apache-2.0
 *
 * Active operations: what C_xxxInit decided and what C_xxxUpdate left behind. An operation belongs to its session and
 * is used under the session's lock. Every error but CKR_BUFFER_TOO_SMALL ends it; a size query and CKR_BUFFER_TOO_SMALL
 * do not (PKCS#11 v2.40 5.2).
 */
#ifndef KM_MODULE_OPERATION_H
#define KM_MODULE_OPERATION_H

#include "../common/mech.h"
#include "../common/secret.h"
#include "../common/wire.pb-c.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_BUFFERED_MAX (64u * 1024 * 1024) /* bytes of a message that must be sent whole */

enum km_operation_kind { KM_OP_ENCRYPT, KM_OP_DECRYPT, KM_OP_DIGEST, KM_OP_SIGN, KM_OP_VERIFY, KM_OPERATIONS };

/* Bytes that grow; wiped when freed, since they may be plaintext. */
struct km_buffer {
    uint8_t *data;
    size_t len, cap;
};
/* CKR_HOST_MEMORY leaves the buffer as it was; CKR_DATA_LEN_RANGE when it would pass `max`. */
CK_RV km_buffer_add(struct km_buffer *buffer, const void *data, size_t len, size_t max);
/* Room for `len` bytes more behind `data` + `len`. CKR_HOST_MEMORY. */
CK_RV km_buffer_room(struct km_buffer *buffer, size_t len);
void km_buffer_drop_front(struct km_buffer *buffer, size_t len);
void km_buffer_free(struct km_buffer *buffer);

struct km_view;
struct km_session;

struct km_operation {
    bool is_active;
    bool is_multipart;       /* an Update came */
    bool has_result;         /* `result` did not fit the program's buffer and waits for the next call */
    bool needs_pin, has_pin; /* CKA_ALWAYS_AUTHENTICATE */
    enum km_operation_kind kind;
    const struct km_mech *mech;
    Kmw__Mechanism *param; /* its IV moves on with the parts */
    struct km_view *key;   /* NULL for digests */
    EVP_PKEY *public_key;  /* for what is computed here */
    EVP_MD_CTX *digest;    /* NULL: the message is not hashed here */
    size_t skip;           /* key streams: bytes of the counter's block that are used */
    uint64_t blocks;       /* key streams: whole blocks that are used up */
    struct km_buffer text; /* what waits for more parts */
    struct km_buffer result;
    struct km_secret pin;
};

/* C_xxxInit but C_DigestInit: checks mechanism, key and parameter, and makes the operation active. */
CK_RV km_operation_begin(struct km_session *session, enum km_operation_kind kind, const CK_MECHANISM *mechanism,
                         CK_OBJECT_HANDLE key);

/* The end of each call in an operation: ends it unless `rv` or a size query says that it goes on. Returns `rv`. */
CK_RV km_operation_settle(struct km_operation *op, CK_RV rv, bool goes_on);
void km_operation_end(struct km_operation *op);

/* Hands out `data` by the rules of the standard's section 5.2; `out` NULL: only the length. CKR_BUFFER_TOO_SMALL sets
 * `*out_len` too. */
CK_RV km_hand_out(const uint8_t *data, size_t len, CK_BYTE *out, CK_ULONG *out_len);

/* Bytes of a signature, or of an RSA block, by the key; 0 if the key does not tell. */
size_t km_operation_block_len(const struct km_operation *op);

/* Message bytes into the hash, or into `text` where the message travels whole. */
CK_RV km_message_add(struct km_operation *op, const uint8_t *data, size_t len);
/* What the key is applied to: the finished hash, or the text. `hash` has EVP_MAX_MD_SIZE bytes; `*ret` points there or
 * into the operation. */
CK_RV km_message_finish(struct km_operation *op, uint8_t *hash, const uint8_t **ret, size_t *ret_len);

/* A program's mechanism with parameter in wire form. CKR_MECHANISM_PARAM_INVALID, CKR_HOST_MEMORY. Freed with
 * kmw__mechanism__free_unpacked. */
CK_RV km_mechanism_read(const struct km_mech *mech, const CK_MECHANISM *mechanism, Kmw__Mechanism **ret);

#endif
