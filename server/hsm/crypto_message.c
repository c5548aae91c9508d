/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys that sign a message as a whole (EdDSA, ML-DSA, SLH-DSA): the schemes are common/signature.c's.
 */
#include "crypto.h"

#include "../../common/signature.h"

CK_RV km_message_use(const struct km_crypto *crypto, struct km_loaded *key, const struct km_mech *mech,
                     const Kmw__Use *use, uint8_t **ret, size_t *ret_len)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    const uint8_t *data;
    size_t len;
    CK_RV rv = km_crypto_message(crypto, mech, use, digest, &data, &len);

    if (rv != CKR_OK)
        return rv;
    if (use->operation == KMW__USE__OPERATION__SIGN)
        return km_signature_make(key->pkey, key->domain, mech, use->mechanism, data, len, ret, ret_len);
    if (use->operation == KMW__USE__OPERATION__VERIFY)
        return km_signature_check(NULL, key->pkey, key->domain, mech, use->mechanism, data, len, use->signature.data,
                                  use->signature.len);
    return CKR_KEY_FUNCTION_NOT_PERMITTED;
}
