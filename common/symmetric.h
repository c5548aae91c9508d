/* SPDX-License-Identifier: Apache-2.0
 *
 * Encryption with secret keys: AES and ChaCha20 in every scheme of the mechanism table. The back end uses it with the keys that it
 * unseals, the module with session keys that its program may read anyway.
 */
#ifndef KM_COMMON_SYMMETRIC_H
#define KM_COMMON_SYMMETRIC_H

#include "err.h"
#include "mech.h"
#include "wire.pb-c.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_BLOCK 16
#define KM_AES_SIZES 3                  /* 128, 192, 256 bits */
#define KM_SYMMETRIC_LEN_MAX (1u << 30) /* bytes of one call */
#define KM_SYMMETRIC_GROWTH 32          /* bytes that a result may be longer than its input */

enum km_aes_mode {
    KM_AES_ECB, KM_AES_CBC, KM_AES_CTS, KM_AES_CTR, KM_AES_OFB, KM_AES_CFB8, KM_AES_CFB128,
    KM_AES_XTS, /* none with 192 bits */
    KM_AES_GCM, KM_AES_CCM, KM_AES_KW, KM_AES_KWP,
    KM_AES_MODES
};

/* Algorithms, fetched once. Constant after open; any thread. */
struct km_symmetric {
    EVP_CIPHER *aes[KM_AES_MODES][KM_AES_SIZES];
    EVP_CIPHER *chacha20, *chacha20_poly1305;
};

/* `libctx` NULL: the default one. False: something is missing; close what is there. */
bool km_symmetric_open(OSSL_LIB_CTX *libctx, struct km_symmetric *ret);
void km_symmetric_close(struct km_symmetric *algorithms);

/* One encryption or decryption. The caller fills everything down to `out`, and wipes what a failure left there. */
struct km_symmetric_job {
    const struct km_symmetric *algorithms;
    const struct km_mech *mech;
    const Kmw__Mechanism *m;
    const uint8_t *key;
    size_t key_len;
    const uint8_t *in;
    size_t len;
    bool is_encrypt;
    bool is_part; /* of a padded message, and not its last one */
    uint8_t *out; /* room for `len` + KM_SYMMETRIC_GROWTH bytes; schemes that neither pad nor wrap need their result only. `in` or apart */
    size_t out_len;
    EVP_CIPHER_CTX *ctx; /* private */
};

/* Does it. Errors: the CKR_ of C_Encrypt and C_Decrypt; CKR_MECHANISM_INVALID for a scheme that is none of these. */
CK_RV km_symmetric_run(struct km_symmetric_job *job);

/* --- between the files of this folder --- */

/* The work of one scheme. */
typedef CK_RV km_symmetric_fn(struct km_symmetric_job *job);
km_symmetric_fn km_symmetric_ecb, km_symmetric_cbc, km_symmetric_cts, km_symmetric_feedback, km_symmetric_xts;
km_symmetric_fn km_symmetric_ctr, km_symmetric_chacha20;
km_symmetric_fn km_symmetric_gcm, km_symmetric_ccm, km_symmetric_chacha20_poly1305;
km_symmetric_fn km_symmetric_wrap;

/* CKR_DATA_LEN_RANGE or CKR_ENCRYPTED_DATA_LEN_RANGE. */
CK_RV km_symmetric_bad_length(const struct km_symmetric_job *job);
/* The cipher of `mode` for the key's length; NULL: there is none. */
const EVP_CIPHER *km_symmetric_aes(const struct km_symmetric_job *job, enum km_aes_mode mode);
/* `len` bytes of text through the context, behind the output so far. */
bool km_symmetric_update(struct km_symmetric_job *job, const uint8_t *in, size_t len);

#endif
