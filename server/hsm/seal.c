/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealing and unsealing; the format is in seal.h. The derived key lives on the stack for one call and is wiped. No
 * state; any thread.
 */
#include "seal.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <stdlib.h>
#include <string.h>

#define FORMAT 1
#define TAG_LEN 16
#define KEY_LEN 32
#define IV_LEN 12
#define SECRET_MAX (65536 + 64) /* the longest value, packed */

enum km_err km_seal_derive(const struct km_crypto *crypto, const struct km_secret *master_key, const void *salt,
                           size_t salt_len, const char *info, uint8_t *ret, size_t len)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, master_key->data, master_key->len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (char *)info, strlen(info)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)salt, salt_len),
        OSSL_PARAM_construct_end(),
    };
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(crypto->hkdf);
    bool is_done = ctx != NULL && EVP_KDF_derive(ctx, ret, len, params) == 1;

    EVP_KDF_CTX_free(ctx);
    return is_done ? KM_OK : KM_ERR_CRYPTO;
}

/* A GCM context keyed for this salt that has seen the associated data. */
static EVP_CIPHER_CTX *start(const struct km_crypto *crypto, const struct km_secret *master_key, const uint8_t *salt,
                             const ProtobufCBinaryData *head, bool is_seal)
{
    static const uint8_t format = FORMAT;
    uint8_t derived[KEY_LEN + IV_LEN];
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n;
    bool is_ready = ctx != NULL && head->len > 0 && head->len <= INT32_MAX &&
                    km_seal_derive(crypto, master_key, salt, KM_SEAL_SALT_LEN, "keymoot seal v1", derived,
                                   sizeof(derived)) == KM_OK &&
                    EVP_CipherInit_ex2(ctx, crypto->symmetric.aes[KM_AES_GCM][2], derived, derived + KEY_LEN, is_seal, NULL) == 1 &&
                    EVP_CipherUpdate(ctx, NULL, &n, &format, 1) == 1 &&
                    EVP_CipherUpdate(ctx, NULL, &n, head->data, (int)head->len) == 1;

    km_wipe(derived, sizeof(derived));
    if (is_ready)
        return ctx;
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

enum km_err km_seal(const struct km_crypto *crypto, const struct km_secret *master_key, const ProtobufCBinaryData *head,
                    const struct km_secret *secret, ProtobufCBinaryData *ret)
{
    size_t len = KM_SEAL_OVERHEAD + secret->len;
    uint8_t *seal = malloc(len), *text;
    EVP_CIPHER_CTX *ctx = NULL;
    int n = 0, last = 0;
    enum km_err err = KM_ERR_CRYPTO;

    if (seal == NULL)
        return KM_ERR_NOMEM;
    seal[0] = FORMAT;
    text = seal + 1 + KM_SEAL_SALT_LEN;
    if (secret->len == 0 || secret->len > SECRET_MAX || RAND_bytes(seal + 1, KM_SEAL_SALT_LEN) != 1)
        goto out;
    ctx = start(crypto, master_key, seal + 1, head, true);
    if (ctx == NULL || EVP_CipherUpdate(ctx, text, &n, secret->data, (int)secret->len) != 1 ||
        EVP_CipherFinal_ex(ctx, text + n, &last) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, text + secret->len) != 1)
        goto out;
    ret->data = seal;
    ret->len = len;
    seal = NULL;
    err = KM_OK;
out:
    EVP_CIPHER_CTX_free(ctx);
    ERR_clear_error();
    free(seal);
    return err;
}

enum km_err km_unseal(const struct km_crypto *crypto, const struct km_secret *master_key,
                      const ProtobufCBinaryData *head, const ProtobufCBinaryData *seal, struct km_secret *ret)
{
    struct km_secret secret = KM_SECRET_EMPTY;
    EVP_CIPHER_CTX *ctx = NULL;
    uint8_t *text;
    size_t len;
    int n = 0, last = 0;
    enum km_err err = KM_OK;

    if (seal->len <= KM_SEAL_OVERHEAD || seal->len > KM_SEAL_OVERHEAD + SECRET_MAX || seal->data[0] != FORMAT ||
        head->len == 0)
        return KM_ERR_CORRUPT;
    text = seal->data + 1 + KM_SEAL_SALT_LEN;
    len = seal->len - KM_SEAL_OVERHEAD;
    err = km_secret_new(&secret, len);
    if (err != KM_OK)
        return err;
    ctx = start(crypto, master_key, seal->data + 1, head, false);
    if (ctx == NULL || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, text + len) != 1 ||
        EVP_CipherUpdate(ctx, secret.data, &n, text, (int)len) != 1)
        err = KM_ERR_CRYPTO;
    else if (EVP_CipherFinal_ex(ctx, secret.data + n, &last) != 1)
        err = KM_ERR_CORRUPT;
    EVP_CIPHER_CTX_free(ctx);
    ERR_clear_error();
    if (err == KM_OK)
        *ret = km_secret_take(&secret);
    km_secret_free(&secret);
    return err;
}
