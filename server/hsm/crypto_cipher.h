/* SPDX-License-Identifier: Apache-2.0
 *
 * One encryption or decryption inside the built-in back end: what the functions for the schemes share.
 */
#ifndef KM_HSM_CRYPTO_CIPHER_H
#define KM_HSM_CRYPTO_CIPHER_H

#include "crypto.h"

#define KM_BLOCK 16
#define KM_CIPHER_LEN_MAX (1u << 30) /* bytes that one call of OpenSSL's takes as an int, with room for tag and padding */

struct km_cipher_job {
    const struct km_crypto *crypto;
    EVP_CIPHER_CTX *ctx;
    const struct km_loaded *key;
    const struct km_mech *mech;
    const Kmw__Mechanism *m;
    ProtobufCBinaryData in;
    bool is_encrypt;
    bool is_part; /* of a padded message, and not its last one */
    uint8_t *out; /* made by km_cipher_room */
    size_t out_len, room;
};

/* The work of one scheme: reads `job`, fills `out` and `out_len`. Errors: the CKR_ of C_Encrypt and C_Decrypt. */
typedef CK_RV km_cipher_fn(struct km_cipher_job *job);
km_cipher_fn km_cipher_ecb, km_cipher_cbc, km_cipher_cts, km_cipher_feedback, km_cipher_xts; /* crypto_aes.c */
km_cipher_fn km_cipher_ctr, km_cipher_chacha20;                                              /* crypto_ctr.c */
km_cipher_fn km_cipher_gcm, km_cipher_ccm, km_cipher_chacha20_poly1305;                      /* crypto_aead.c */
km_cipher_fn km_cipher_wrap;                                                                 /* crypto_wrap.c */

/* CKR_DATA_LEN_RANGE or CKR_ENCRYPTED_DATA_LEN_RANGE. */
CK_RV km_cipher_bad_length(const struct km_cipher_job *job);
/* Memory for `len` bytes of output. CKR_HOST_MEMORY. */
CK_RV km_cipher_room(struct km_cipher_job *job, size_t len);
/* The cipher of `mode` for the key's length; NULL: there is none. */
const EVP_CIPHER *km_cipher_aes(const struct km_cipher_job *job, enum km_aes_mode mode);
/* `len` bytes of text through the context, behind the output so far. */
bool km_cipher_update(struct km_cipher_job *job, const uint8_t *in, size_t len);

#endif
