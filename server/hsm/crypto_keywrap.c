/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys as the bytes that wrapping mechanisms work on, and back. What comes back is as suspect as what a program brings:
 * length, type and the key itself are checked. The mechanisms are those of C_Encrypt and C_Decrypt.
 */
#include "crypto_make.h"

#include "../../common/attr.h"
#include "head.h"
#include "pubkey.h"

#include <openssl/err.h>
#include <openssl/x509.h>

#include <string.h>

CK_RV km_key_export(const struct km_loaded *key, struct km_secret *ret)
{
    PKCS8_PRIV_KEY_INFO *info = NULL;
    unsigned char *der = NULL;
    int len = -1;
    CK_RV rv = CKR_KEY_NOT_WRAPPABLE;

    if (key->class == CKO_SECRET_KEY) {
        if (km_secret_new(ret, key->raw.len) != KM_OK)
            return CKR_DEVICE_MEMORY;
        memcpy(ret->data, key->raw.data, key->raw.len);
        return CKR_OK;
    }
    if (key->class == CKO_PRIVATE_KEY)
        info = EVP_PKEY2PKCS8(key->pkey);
    if (info != NULL)
        len = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
    if (len > 0) {
        rv = km_secret_new(ret, (size_t)len) == KM_OK ? CKR_OK : CKR_DEVICE_MEMORY;
        if (rv == CKR_OK)
            memcpy(ret->data, der, (size_t)len);
        km_wipe(der, (size_t)len);
    }
    OPENSSL_free(der);
    PKCS8_PRIV_KEY_INFO_free(info);
    ERR_clear_error();
    return rv;
}

static CK_RV take_secret(const struct km_crypto *crypto, Kml__Head *head, const struct km_secret *bytes, bool is_padded,
                         struct km_secret *ret_secret)
{
    CK_ULONG wanted = km_head_ulong(head, CKA_VALUE_LEN, bytes->len);
    struct km_secret value = KM_SECRET_EMPTY;
    CK_RV rv;

    if (wanted == 0 || wanted > bytes->len || (wanted < bytes->len && !is_padded))
        return CKR_TEMPLATE_INCONSISTENT;
    if (km_secret_new(&value, wanted) != KM_OK)
        return CKR_DEVICE_MEMORY;
    memcpy(value.data, bytes->data, wanted);
    rv = km_secret_describe(crypto, &value, head);
    if (rv == CKR_ATTRIBUTE_VALUE_INVALID && km_head_find(head, CKA_CHECK_VALUE) == NULL)
        rv = CKR_WRAPPED_KEY_LEN_RANGE; /* no key of this type is that long */
    if (rv == CKR_OK)
        rv = km_value_encode(&value, ret_secret);
    km_secret_free(&value);
    return rv;
}

/* The right type, of a size that is kept here, and consistent in itself. */
static CK_RV check_pair(EVP_PKEY *pkey, const Kml__Head *head)
{
    const struct km_domain *domain = km_domain_of_pkey(pkey);
    bool is_rsa = EVP_PKEY_is_a(pkey, "RSA"), is_good = true;
    EVP_PKEY_CTX *ctx;

    if (!is_rsa && domain == NULL)
        return EVP_PKEY_is_a(pkey, "EC") ? CKR_CURVE_NOT_SUPPORTED : CKR_WRAPPED_KEY_INVALID;
    if ((is_rsa ? CKK_RSA : domain->key_type) != head->key_type)
        return CKR_WRAPPED_KEY_INVALID;
    if (is_rsa && (EVP_PKEY_get_bits(pkey) < 2048 || EVP_PKEY_get_bits(pkey) > 4096))
        return CKR_WRAPPED_KEY_LEN_RANGE;
    if (is_rsa || domain->key_type == CKK_EC) { /* of others the public half was made from the private one just now */
        ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
        is_good = ctx != NULL && EVP_PKEY_check(ctx) == 1;
        EVP_PKEY_CTX_free(ctx);
    }
    return is_good ? CKR_OK : CKR_WRAPPED_KEY_INVALID;
}

/* An outer SEQUENCE says how long PKCS#8 is; ciphers without padding of their own leave zeros behind it. */
static CK_RV take_private(Kml__Head *head, const struct km_secret *bytes, bool is_padded, struct km_secret *ret_secret)
{
    const unsigned char *p = bytes->data;
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &p, (long)bytes->len);
    EVP_PKEY *pkey = info != NULL ? EVP_PKCS82PKEY(info) : NULL;
    CK_RV rv = CKR_WRAPPED_KEY_INVALID;

    if (pkey != NULL && (is_padded || p == bytes->data + bytes->len))
        rv = check_pair(pkey, head);
    if (rv == CKR_OK)
        rv = km_pubkey_describe(pkey, head);
    if (rv == CKR_OK)
        rv = km_key_encode(pkey, ret_secret);
    EVP_PKEY_free(pkey);
    PKCS8_PRIV_KEY_INFO_free(info);
    ERR_clear_error();
    return rv;
}

CK_RV km_key_take(const struct km_crypto *crypto, Kml__Head *head, const struct km_secret *bytes, bool is_padded,
                  struct km_secret *ret_secret)
{
    return head->class_ == CKO_SECRET_KEY ? take_secret(crypto, head, bytes, is_padded, ret_secret)
                                          : take_private(head, bytes, is_padded, ret_secret);
}
