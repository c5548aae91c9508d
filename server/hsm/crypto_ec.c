/* SPDX-License-Identifier: Apache-2.0
 *
 * ECDSA. PKCS#11 writes a signature as r and s side by side, each as long as the order; OpenSSL writes DER.
 */
#include "crypto.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>

#include <stdlib.h>

#define DER_MAX 160
#define KIND_SIGN 1
#define KIND_VERIFY 2

static EVP_PKEY_CTX *get_ctx(struct km_loaded *key, uint64_t kind)
{
    EVP_PKEY_CTX *ctx = km_loaded_take_ctx(key, kind);

    if (ctx != NULL)
        return ctx;
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
    if (ctx != NULL && (kind == KIND_SIGN ? EVP_PKEY_sign_init(ctx) : EVP_PKEY_verify_init(ctx)) == 1)
        return ctx;
    EVP_PKEY_CTX_free(ctx);
    return NULL;
}

static CK_RV sign(struct km_loaded *key, const uint8_t *data, size_t len, uint8_t **ret, size_t *ret_len)
{
    EVP_PKEY_CTX *ctx = get_ctx(key, KIND_SIGN);
    uint8_t der[DER_MAX], *out = malloc(2 * key->len);
    const uint8_t *p = der;
    size_t der_len = sizeof(der);
    ECDSA_SIG *sig = NULL;

    if (ctx == NULL || out == NULL || EVP_PKEY_sign(ctx, der, &der_len, data, len) != 1)
        goto fail;
    sig = d2i_ECDSA_SIG(NULL, &p, (long)der_len);
    if (sig == NULL || BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, (int)key->len) < 0 ||
        BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + key->len, (int)key->len) < 0)
        goto fail;
    ECDSA_SIG_free(sig);
    km_loaded_give_ctx(key, KIND_SIGN, ctx);
    *ret = out;
    *ret_len = 2 * key->len;
    return CKR_OK;
fail:
    ECDSA_SIG_free(sig);
    EVP_PKEY_CTX_free(ctx);
    free(out);
    return CKR_FUNCTION_FAILED;
}

static CK_RV verify(struct km_loaded *key, const uint8_t *data, size_t len, const ProtobufCBinaryData *signature)
{
    EVP_PKEY_CTX *ctx = NULL;
    BIGNUM *r = NULL, *s = NULL;
    ECDSA_SIG *sig = NULL;
    unsigned char *der = NULL;
    int der_len = 0;
    CK_RV rv = CKR_FUNCTION_FAILED;

    if (signature->len == 0 || signature->len % 2 != 0 || signature->len > 2 * key->len) /* PKCS#11 v3.2 6.3.1 */
        return CKR_SIGNATURE_LEN_RANGE;
    sig = ECDSA_SIG_new();
    r = BN_bin2bn(signature->data, (int)(signature->len / 2), NULL);
    s = BN_bin2bn(signature->data + signature->len / 2, (int)(signature->len / 2), NULL);
    if (sig == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(sig, r, s) != 1)
        goto out;
    r = s = NULL;
    der_len = i2d_ECDSA_SIG(sig, &der);
    ctx = get_ctx(key, KIND_VERIFY);
    if (der_len <= 0 || ctx == NULL)
        goto out;
    rv = EVP_PKEY_verify(ctx, der, (size_t)der_len, data, len) == 1 ? CKR_OK : CKR_SIGNATURE_INVALID;
    km_loaded_give_ctx(key, KIND_VERIFY, ctx);
    ctx = NULL;
out:
    EVP_PKEY_CTX_free(ctx);
    OPENSSL_free(der);
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    return rv;
}

CK_RV km_ec_use(const struct km_crypto *crypto, struct km_loaded *key, const struct km_mech *mech, const Kmw__Use *use,
                uint8_t **ret, size_t *ret_len)
{
    static const uint8_t nothing[1];
    uint8_t digest[EVP_MAX_MD_SIZE];
    const uint8_t *data;
    size_t len;
    CK_RV rv = km_crypto_message(crypto, mech, use, digest, &data, &len);

    if (rv != CKR_OK)
        return rv;
    if (data == NULL)
        data = nothing;
    if (len >
        key->len) /* the leftmost bits count (PKCS#11 v3.2 6.3.12); the last bits of P-521's are OpenSSL's to cut */
        len = key->len;
    if (use->operation == KMW__USE__OPERATION__SIGN)
        rv = sign(key, data, len, ret, ret_len);
    else if (use->operation == KMW__USE__OPERATION__VERIFY)
        rv = verify(key, data, len, &use->signature);
    else
        rv = CKR_KEY_FUNCTION_NOT_PERMITTED;
    ERR_clear_error();
    return rv;
}
