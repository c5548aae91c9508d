/* SPDX-License-Identifier: Apache-2.0
 *
 * Message authentication codes: HMAC, CMAC, GMAC, whole or cut to their first bytes (the _GENERAL mechanisms). They are
 * compared in constant time.
 */
#include "crypto.h"

#include <openssl/crypto.h>
#include <openssl/err.h>

#include <stdlib.h>
#include <string.h>

static CK_RV compute(EVP_MAC_CTX *ready, const struct km_loaded *key, const ProtobufCBinaryData *data,
                     uint8_t mac[EVP_MAX_MD_SIZE], size_t *ret_len)
{
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(ready);
    bool is_done = ctx != NULL && EVP_MAC_init(ctx, key->raw.data, key->raw.len, NULL) == 1 &&
                   (data->len == 0 || EVP_MAC_update(ctx, data->data, data->len) == 1) &&
                   EVP_MAC_final(ctx, mac, ret_len, EVP_MAX_MD_SIZE) == 1;

    EVP_MAC_CTX_free(ctx);
    return is_done ? CKR_OK : CKR_FUNCTION_FAILED;
}

/* GMAC is the tag of an empty text whose associated data is the message (SP 800-38D 3). */
static CK_RV gmac(const struct km_crypto *crypto, const struct km_loaded *key, const Kmw__Use *use,
                  uint8_t mac[EVP_MAX_MD_SIZE], size_t *ret_len)
{
    Kmw__Mechanism m = *use->mechanism;
    struct km_symmetric_job job = {.algorithms = &crypto->symmetric,
                                   .mech = km_mech(CKM_AES_GCM),
                                   .m = &m,
                                   .key = key->raw.data,
                                   .key_len = key->raw.len,
                                   .is_encrypt = true,
                                   .out = mac};
    CK_RV rv;

    if (m.aad.len != 0)
        return CKR_MECHANISM_PARAM_INVALID;
    m.aad = use->data;
    rv = km_symmetric_run(&job);
    *ret_len = job.out_len;
    return rv;
}

static CK_RV compute_any(const struct km_crypto *crypto, const struct km_loaded *key, const struct km_mech *mech,
                         const Kmw__Use *use, uint8_t mac[EVP_MAX_MD_SIZE], size_t *ret_len)
{
    int hash = km_crypto_md(mech->md);

    switch (mech->scheme) {
    case KM_MS_HMAC:
        return hash < 0 ? CKR_MECHANISM_INVALID : compute(crypto->hmac[hash], key, &use->data, mac, ret_len);
    case KM_MS_CMAC:
        if (key->len != 16 && key->len != 24 && key->len != 32)
            return CKR_KEY_SIZE_RANGE;
        return compute(crypto->cmac[key->len / 8 - 2], key, &use->data, mac, ret_len);
    case KM_MS_GMAC:
        return gmac(crypto, key, use, mac, ret_len);
    default:
        return CKR_MECHANISM_INVALID;
    }
}

/* The length that the mechanism's parameter asks for. */
static CK_RV cut(const struct km_mech *mech, const Kmw__Use *use, size_t *len)
{
    size_t wanted = use->mechanism->mac_len;

    if (mech->param != KM_MP_MAC_LEN)
        return CKR_OK;
    if (wanted == 0 || wanted > *len)
        return CKR_MECHANISM_PARAM_INVALID;
    *len = wanted;
    return CKR_OK;
}

static CK_RV compare(const uint8_t *mac, size_t len, const ProtobufCBinaryData *signature)
{
    if (signature->len != len)
        return CKR_SIGNATURE_LEN_RANGE;
    return CRYPTO_memcmp(signature->data, mac, len) == 0 ? CKR_OK : CKR_SIGNATURE_INVALID;
}

CK_RV km_mac_use(const struct km_crypto *crypto, struct km_loaded *key, const struct km_mech *mech, const Kmw__Use *use,
                 uint8_t **ret, size_t *ret_len)
{
    uint8_t mac[EVP_MAX_MD_SIZE];
    size_t len = 0;
    CK_RV rv;

    if (use->data_is_digest)
        return CKR_ARGUMENTS_BAD;
    if (use->operation != KMW__USE__OPERATION__SIGN && use->operation != KMW__USE__OPERATION__VERIFY)
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    rv = compute_any(crypto, key, mech, use, mac, &len);
    if (rv == CKR_OK)
        rv = cut(mech, use, &len);
    if (rv == CKR_OK && use->operation == KMW__USE__OPERATION__VERIFY) {
        rv = compare(mac, len, &use->signature);
    } else if (rv == CKR_OK) {
        *ret = malloc(len);
        *ret_len = len;
        if (*ret == NULL)
            rv = CKR_HOST_MEMORY;
        else
            memcpy(*ret, mac, len);
    }
    km_wipe(mac, sizeof(mac));
    ERR_clear_error();
    return rv;
}
