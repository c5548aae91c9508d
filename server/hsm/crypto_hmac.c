/* SPDX-License-Identifier: Apache-2.0
 *
 * HMAC with generic secrets.
 */
#include "crypto.h"

#include <openssl/crypto.h>
#include <openssl/err.h>

#include <stdlib.h>
#include <string.h>

static int hash_of(const struct km_mech *mech)
{
    static const CK_MECHANISM_TYPE hmacs[KM_HASHES] = {CKM_SHA_1_HMAC, CKM_SHA224_HMAC, CKM_SHA256_HMAC,
                                                       CKM_SHA384_HMAC, CKM_SHA512_HMAC};

    for (int i = 0; i < KM_HASHES; i++)
        if (hmacs[i] == mech->type)
            return i;
    return -1;
}

static bool compute(EVP_MAC_CTX *ready, const struct km_loaded *key, const ProtobufCBinaryData *data,
                    uint8_t mac[EVP_MAX_MD_SIZE], size_t *ret_len)
{
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(ready);
    bool is_done = ctx != NULL && EVP_MAC_init(ctx, key->raw.data, key->raw.len, NULL) == 1 &&
                   (data->len == 0 || EVP_MAC_update(ctx, data->data, data->len) == 1) &&
                   EVP_MAC_final(ctx, mac, ret_len, EVP_MAX_MD_SIZE) == 1;

    EVP_MAC_CTX_free(ctx);
    return is_done;
}

CK_RV km_hmac_use(const struct km_crypto *crypto, struct km_loaded *key, const struct km_mech *mech,
                  const Kmw__Use *use, uint8_t **ret, size_t *ret_len)
{
    int hash = hash_of(mech);
    uint8_t mac[EVP_MAX_MD_SIZE];
    size_t len = 0;
    CK_RV rv = CKR_OK;

    if (hash < 0 || use->data_is_digest)
        return CKR_ARGUMENTS_BAD;
    if (use->operation != KMW__USE__OPERATION__SIGN && use->operation != KMW__USE__OPERATION__VERIFY)
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    if (!compute(crypto->hmac[hash], key, &use->data, mac, &len)) {
        ERR_clear_error();
        return CKR_FUNCTION_FAILED;
    }
    if (use->operation == KMW__USE__OPERATION__VERIFY) {
        if (use->signature.len != len)
            rv = CKR_SIGNATURE_LEN_RANGE;
        else if (CRYPTO_memcmp(use->signature.data, mac, len) != 0)
            rv = CKR_SIGNATURE_INVALID;
    } else {
        *ret = malloc(len);
        *ret_len = len;
        if (*ret == NULL)
            rv = CKR_HOST_MEMORY;
        else
            memcpy(*ret, mac, len);
    }
    km_wipe(mac, sizeof(mac));
    return rv;
}
