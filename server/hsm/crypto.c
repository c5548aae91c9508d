/* SPDX-License-Identifier: Apache-2.0
 *
 * Algorithms fetched once, loaded keys and their ready contexts. A context that is set up (padding, hash) costs as much
 * again as a P-256 signature, so each key keeps a few between uses; the lock around them is held for a scan of sixteen
 * entries.
 */
#include "crypto.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include <stdlib.h>
#include <string.h>

int km_crypto_hash(CK_MECHANISM_TYPE digest)
{
    for (int i = 0; i < KM_HASHES; i++)
        if (km_hashes[i].digest == digest)
            return i;
    return -1;
}

int km_crypto_md(const char *md)
{
    for (int i = 0; i < KM_HASHES && md != NULL; i++)
        if (strcmp(km_hashes[i].md, md) == 0)
            return i;
    return -1;
}

/* A context of `mac` with `param` set to `name`. */
static EVP_MAC_CTX *mac_ready(EVP_MAC *mac, const char *param, const char *name, size_t key_len)
{
    static const uint8_t no_key[32];
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(param, (char *)name, 0), OSSL_PARAM_construct_end()};
    EVP_MAC_CTX *ctx = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;

    /* A key, since OpenSSL 3.0 cannot duplicate a context that never had one. Each use sets its own. */
    if (ctx == NULL || EVP_MAC_init(ctx, no_key, key_len, params) != 1) {
        EVP_MAC_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

enum km_err km_crypto_open(struct km_crypto *crypto)
{
    static const char *const cbc[KM_AES_SIZES] = {"AES-128-CBC", "AES-192-CBC", "AES-256-CBC"};
    EVP_MAC *cmac = EVP_MAC_fetch(NULL, "CMAC", NULL);
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    bool is_complete = mac != NULL;

    memset(crypto, 0, sizeof(*crypto));
    crypto->hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    is_complete = is_complete && crypto->hkdf != NULL && km_symmetric_open(NULL, &crypto->symmetric);
    for (int size = 0; size < KM_AES_SIZES && is_complete; size++) {
        crypto->cmac[size] = mac_ready(cmac, OSSL_MAC_PARAM_CIPHER, cbc[size], 16 + 8 * (size_t)size);
        is_complete = crypto->cmac[size] != NULL;
    }
    for (int i = 0; i < KM_HASHES && mac != NULL; i++) {
        crypto->md[i] = EVP_MD_fetch(NULL, km_hashes[i].md, NULL);
        crypto->hmac[i] = mac_ready(mac, OSSL_MAC_PARAM_DIGEST, km_hashes[i].md, 1);
        is_complete = is_complete && crypto->md[i] != NULL && crypto->hmac[i] != NULL;
    }
    EVP_MAC_free(mac);
    EVP_MAC_free(cmac);
    if (is_complete)
        return KM_OK;
    km_crypto_close(crypto);
    return KM_ERR_CRYPTO;
}

void km_crypto_close(struct km_crypto *crypto)
{
    for (int i = 0; i < KM_HASHES; i++) {
        EVP_MD_free(crypto->md[i]);
        EVP_MAC_CTX_free(crypto->hmac[i]);
    }
    for (int size = 0; size < KM_AES_SIZES; size++)
        EVP_MAC_CTX_free(crypto->cmac[size]);
    km_symmetric_close(&crypto->symmetric);
    EVP_KDF_free(crypto->hkdf);
    memset(crypto, 0, sizeof(*crypto));
}

struct km_loaded *km_loaded_new(CK_OBJECT_CLASS class, CK_KEY_TYPE key_type)
{
    struct km_loaded *key = calloc(1, sizeof(*key));

    if (key == NULL)
        return NULL;
    if (pthread_mutex_init(&key->lock, NULL) != 0) {
        free(key);
        return NULL;
    }
    key->class = class;
    key->key_type = key_type;
    kml__object__init(&key->record);
    atomic_init(&key->refs, 1);
    return key;
}

void km_loaded_release(struct km_loaded *key)
{
    if (key == NULL || atomic_fetch_sub(&key->refs, 1) != 1)
        return;
    for (int i = 0; i < KM_IDLE_MAX; i++)
        EVP_PKEY_CTX_free(key->idle[i].ctx);
    EVP_PKEY_free(key->pkey);
    km_secret_free(&key->raw);
    free(key->record.head.data);
    free(key->record.seal.data);
    pthread_mutex_destroy(&key->lock);
    free(key);
}

EVP_PKEY_CTX *km_loaded_take_ctx(struct km_loaded *key, uint64_t kind)
{
    EVP_PKEY_CTX *ctx = NULL;

    pthread_mutex_lock(&key->lock);
    for (int i = 0; i < KM_IDLE_MAX; i++) {
        if (key->idle[i].ctx == NULL || key->idle[i].kind != kind)
            continue;
        ctx = key->idle[i].ctx;
        key->idle[i].ctx = NULL;
        break;
    }
    pthread_mutex_unlock(&key->lock);
    return ctx;
}

void km_loaded_give_ctx(struct km_loaded *key, uint64_t kind, EVP_PKEY_CTX *ctx)
{
    pthread_mutex_lock(&key->lock);
    for (int i = 0; i < KM_IDLE_MAX && ctx != NULL; i++) {
        if (key->idle[i].ctx != NULL)
            continue;
        key->idle[i].ctx = ctx;
        key->idle[i].kind = kind;
        ctx = NULL;
    }
    pthread_mutex_unlock(&key->lock);
    EVP_PKEY_CTX_free(ctx);
}

CK_RV km_crypto_message(const struct km_crypto *crypto, const struct km_mech *mech, const Kmw__Use *use,
                        uint8_t buffer[EVP_MAX_MD_SIZE], const uint8_t **ret_data, size_t *ret_len)
{
    unsigned len = 0;
    size_t digest_len = 0;

    *ret_data = use->data.data;
    *ret_len = use->data.len;
    if (mech->digest == CK_UNAVAILABLE_INFORMATION)
        return use->data_is_digest ? CKR_ARGUMENTS_BAD : CKR_OK;
    if (use->data_is_digest) {
        km_mech_md(mech->digest, &digest_len);
        return use->data.len == digest_len ? CKR_OK : CKR_DATA_LEN_RANGE;
    }
    if (EVP_Digest(use->data.data, use->data.len, buffer, &len, crypto->md[km_crypto_hash(mech->digest)], NULL) != 1)
        return CKR_FUNCTION_FAILED;
    *ret_data = buffer;
    *ret_len = len;
    return CKR_OK;
}
