/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the built-in back end: algorithms fetched once (OpenSSL 3 looks names up under a lock, at a cost near that of a P-256
 * signature), keys loaded into memory, and what can be done with them. Nobody outside server/hsm includes this.
 */
#ifndef KM_HSM_CRYPTO_H
#define KM_HSM_CRYPTO_H

#include "../../common/domain.h"
#include "../../common/mech.h"
#include "../../common/secret.h"
#include "../../common/symmetric.h"
#include "../../common/wire.pb-c.h"
#include "../raft/log.pb-c.h"

#include <openssl/evp.h>
#include <openssl/kdf.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* OSSL_PKEY_PARAM_ML_KEM_SEED and ..._ML_DSA_SEED, which OpenSSL 3.0 does not name */
#define KM_PKEY_PARAM_SEED "seed"
#define KM_IDLE_MAX 16 /* ready OpenSSL contexts that a loaded key keeps */

/* Algorithms. Constant after open; any thread. */
struct km_crypto {
    EVP_MD *md[KM_HASHES];            /* in the order of hash.def */
    EVP_MAC_CTX *hmac[KM_HASHES];     /* ready but for the key: duplicated for each use */
    EVP_MAC_CTX *cmac[KM_AES_SIZES];  /* likewise */
    struct km_symmetric symmetric;
    EVP_KDF *hkdf;
};

/* Errors: KM_ERR_CRYPTO. Closing a half-opened one is fine. */
enum km_err km_crypto_open(struct km_crypto *crypto) KM_CHECKED;
void km_crypto_close(struct km_crypto *crypto);
/* The place of CKM_SHA... in the arrays, or -1. */
int km_crypto_hash(CK_MECHANISM_TYPE digest);
/* The same for OpenSSL's name of it; NULL is fine. */
int km_crypto_md(const char *md);

/* A key in memory. Shared by threads: everything but `idle` is constant once it is loaded. */
struct km_loaded {
    CK_OBJECT_CLASS class;
    CK_KEY_TYPE key_type;
    EVP_PKEY *pkey;                 /* public and private keys */
    const struct km_domain *domain; /* of these, but RSA */
    struct km_secret raw;           /* secret keys */
    size_t len;                     /* RSA: bytes of the modulus; others: of the secret value */

    pthread_mutex_t lock; /* of `idle` */
    struct {
        uint64_t kind;
        EVP_PKEY_CTX *ctx;
    } idle[KM_IDLE_MAX];

    /* the cache's (keycache.c) */
    atomic_uint refs;
    Kml__Object record; /* copies of head and seal, which this key was proved to belong to */
    bool has_ancestors; /* set by who loads it: km_keycache_forget_descendants has to look at it */
    struct km_loaded *next, *newer, *older;
    time_t used;
};

/* A key of nothing yet, one reference. NULL: no memory. */
struct km_loaded *km_loaded_new(CK_OBJECT_CLASS class, CK_KEY_TYPE key_type);
/* Frees when the last reference goes; NULL is fine. */
void km_loaded_release(struct km_loaded *key);
/* A context set up for `kind` that no other thread has, or NULL: the caller makes one. */
EVP_PKEY_CTX *km_loaded_take_ctx(struct km_loaded *key, uint64_t kind);
/* Gives it back; freed when there are enough. */
void km_loaded_give_ctx(struct km_loaded *key, uint64_t kind, EVP_PKEY_CTX *ctx);

/* The message as the key gets it: hashed, if the mechanism hashes and the client did not. `*ret_data` points into `use` or `buffer`.
 * Errors: CKR_DATA_LEN_RANGE, CKR_ARGUMENTS_BAD, CKR_FUNCTION_FAILED. */
CK_RV km_crypto_message(const struct km_crypto *crypto, const struct km_mech *mech, const Kmw__Use *use,
                        uint8_t buffer[EVP_MAX_MD_SIZE], const uint8_t **ret_data, size_t *ret_len);

/* One operation. The result is malloc'ed; VERIFY has none. Errors: the CKR_ of C_Sign, C_Verify, C_Encrypt and C_Decrypt. */
typedef CK_RV km_use_fn(const struct km_crypto *crypto, struct km_loaded *key, const struct km_mech *mech,
                        const Kmw__Use *use, uint8_t **ret, size_t *ret_len);
km_use_fn km_rsa_use, km_ec_use, km_message_use;
/* Secret keys: every ENCRYPT and DECRYPT, every SIGN and VERIFY. */
km_use_fn km_cipher_use, km_mac_use;

/* Makes a key for the heads of a template, or takes one in, and completes the heads with what follows from it. On success `*ret_secret` is
 * what goes into the seal (keyform.c). Errors: the CKR_ of C_GenerateKey(Pair) and C_CreateObject. */
CK_RV km_key_generate(const struct km_crypto *crypto, const struct km_mech *mech, Kml__Head *public_head, Kml__Head *head,
                      struct km_secret *ret_secret);
CK_RV km_key_import(const struct km_crypto *crypto, Kml__Head *head, Kml__Attr *const *secrets, size_t n,
                    struct km_secret *ret_secret);
/* Builds a private key from secret attributes and the head. Errors: CKR_TEMPLATE_INCOMPLETE,
 * CKR_ATTRIBUTE_VALUE_INVALID, CKR_KEY_SIZE_RANGE, CKR_CURVE_NOT_SUPPORTED, CKR_DOMAIN_PARAMS_INVALID,
 * CKR_FUNCTION_FAILED. */
CK_RV km_pair_build(const Kml__Head *head, Kml__Attr *const *secrets, size_t n, EVP_PKEY **ret);
/* The CKK_EC key with the private value `d`; NULL when `d` is not in 1 .. order-1. */
EVP_PKEY *km_ec_from_scalar(const struct km_domain *domain, const BIGNUM *d);
/* Completes a secret key's head: CKA_VALUE_LEN, CKA_CHECK_VALUE. Errors: CKR_ATTRIBUTE_VALUE_INVALID (they are there and disagree), ... */
CK_RV km_secret_describe(const struct km_crypto *crypto, const struct km_secret *value, Kml__Head *head);
/* What goes into the seal: a packed kmw.Template of the secret attributes. Errors: CKR_DEVICE_MEMORY, CKR_FUNCTION_FAILED. */
CK_RV km_key_encode(const EVP_PKEY *pkey, struct km_secret *ret);
CK_RV km_value_encode(const struct km_secret *value, struct km_secret *ret);
/* And back to a key that can be used. Errors: CKR_FUNCTION_FAILED, CKR_HOST_MEMORY. */
CK_RV km_key_load(const Kml__Head *head, const struct km_secret *sealed, struct km_loaded **ret);

#endif
