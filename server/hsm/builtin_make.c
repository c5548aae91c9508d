/* SPDX-License-Identifier: Apache-2.0
 *
 * The built-in back end's keys from keys: derived, wrapped, unwrapped, encapsulated. Wrapping is encrypting with the
 * mechanism's own code, so a cipher is written once. Plaintext of the keys is in km_secret, or in OpenSSL's heap while
 * it works. Any thread.
 */
#include "builtin.h"

#include "crypto_make.h"
#include "head.h"

#include <openssl/err.h>
#include <openssl/rand.h>

#include <stdlib.h>
#include <string.h>

#define BLOCK 16
#define IV_LEN_MIN 12 /* of IVs that are made here */
#define IV_LEN_MAX 13
#define WRAPPED_MAX 65536

static enum km_backend_result answer(CK_RV rv, CK_RV *ret_rv)
{
    *ret_rv = rv;
    return rv == CKR_OK ? KM_BE_OK : KM_BE_ARG;
}

static void object_clear(Kml__Object *object)
{
    free(object->head.data);
    free(object->seal.data);
    kml__object__init(object);
}

/* --- deriving ------------------------------------------------------------------------------------------------------
 */

/* An AES key that does not say how long takes what comes, if that is a length of AES keys: `describe` sees to it. */
static size_t wish_of(const struct km_derivation *d, const Kml__Head *head)
{
    return head->class_ == CKO_DATA ? d->data_len : km_head_ulong(head, CKA_VALUE_LEN, 0);
}

/* One key (or data) of `value`. */
static enum km_backend_result make_one(struct km_backend *backend, Kml__Head *head, const struct km_secret *value,
                                       Kml__Object *ret, CK_RV *ret_rv)
{
    struct km_secret sealed = KM_SECRET_EMPTY;
    enum km_backend_result result;
    CK_RV rv;

    if (head->class_ == CKO_DATA && (head->is_session || !head->is_private)) { /* the client's, or nobody's secret */
        if (km_head_put(head, CKA_VALUE, value->data, value->len) != KM_OK)
            return answer(CKR_DEVICE_MEMORY, ret_rv);
        return km_builtin_object(backend, head, NULL, ret, ret_rv);
    }
    if (head->class_ == CKO_DATA)
        km_head_drop(head, CKA_VALUE);
    rv = head->class_ == CKO_DATA ? CKR_OK : km_secret_describe(km_builtin_crypto(backend), value, head);
    if (rv == CKR_ATTRIBUTE_VALUE_INVALID && km_head_find(head, CKA_CHECK_VALUE) == NULL)
        rv = CKR_KEY_SIZE_RANGE; /* no key of this type is that long */
    if (rv == CKR_OK)
        rv = km_value_encode(value, &sealed);
    if (rv != CKR_OK)
        return answer(rv, ret_rv);
    result = km_builtin_object(backend, head, &sealed, ret, ret_rv);
    km_secret_free(&sealed);
    return result;
}

/* Hands out `bytes` to the heads, one behind the other. */
static enum km_backend_result share_out(struct km_backend *backend, const struct km_secret *bytes, const size_t *lens,
                                        Kml__Head *const *heads, size_t n, Kml__Object *ret, CK_RV *ret_rv)
{
    enum km_backend_result result = KM_BE_OK;
    struct km_secret value = KM_SECRET_EMPTY;
    size_t at = 0, done = 0;

    for (; done < n && result == KM_BE_OK; done++) {
        size_t len = lens[done] > 0 ? lens[done] : bytes->len;
        if (km_secret_new(&value, len) != KM_OK) {
            result = answer(CKR_DEVICE_MEMORY, ret_rv);
            break;
        }
        memcpy(value.data, bytes->data + at, len);
        at += len;
        kml__object__init(&ret[done]);
        result = make_one(backend, heads[done], &value, &ret[done], ret_rv);
        km_secret_free(&value);
    }
    for (size_t i = 0; i < done && result != KM_BE_OK; i++)
        object_clear(&ret[i]);
    return result;
}

static CK_RV from_password(const struct km_derivation *d, size_t len, struct km_secret *ret)
{
    if (len == 0)
        return CKR_TEMPLATE_INCOMPLETE;
    return km_secret_new(ret, len) == KM_OK ? km_kdf_pbkdf2(d->param, ret) : CKR_DEVICE_MEMORY;
}

enum km_backend_result km_builtin_derive(struct km_backend *backend, const struct km_derivation *d,
                                         Kml__Head *const *heads, size_t n, Kml__Object *ret, CK_RV *ret_rv)
{
    struct km_loaded *base = NULL, *other = NULL;
    struct km_secret bytes = KM_SECRET_EMPTY;
    size_t *lens = calloc(n, sizeof(*lens));
    enum km_backend_result result = lens != NULL ? KM_BE_OK : answer(CKR_HOST_MEMORY, ret_rv);

    for (size_t i = 0; i < n && result == KM_BE_OK; i++)
        lens[i] = wish_of(d, heads[i]);
    for (size_t i = 0; i < n && result == KM_BE_OK; i++)
        if (lens[i] > KM_DERIVED_MAX || (lens[i] == 0 && n > 1))
            result = answer(lens[i] == 0 ? CKR_TEMPLATE_INCOMPLETE : CKR_KEY_SIZE_RANGE, ret_rv);
    if (result == KM_BE_OK && d->base == NULL)
        result = answer(from_password(d, lens[0], &bytes), ret_rv);
    if (result == KM_BE_OK && d->base != NULL)
        result = km_builtin_load(backend, d->base, &base, ret_rv);
    if (result == KM_BE_OK && d->other != NULL)
        result = km_builtin_load(backend, d->other, &other, ret_rv);
    if (result == KM_BE_OK && base != NULL)
        result = answer(km_derive(base, other, d->mech, d->param, d->is_whole, lens, n, &bytes), ret_rv);
    if (result == KM_BE_OK)
        result = share_out(backend, &bytes, lens, heads, n, ret, ret_rv);
    km_secret_free(&bytes);
    km_loaded_release(base);
    km_loaded_release(other);
    free(lens);
    return result;
}

/* --- wrapping ------------------------------------------------------------------------------------------------------
 */

/* What C_Encrypt and C_Decrypt say, in the words of C_WrapKey and C_UnwrapKey. RSA's say one thing only (Manger, CRYPTO
 * 2001). */
static CK_RV in_wrapping_words(CK_RV rv)
{
    switch (rv) {
    case CKR_DATA_LEN_RANGE:
        return CKR_KEY_SIZE_RANGE;
    case CKR_ENCRYPTED_DATA_LEN_RANGE:
        return CKR_WRAPPED_KEY_LEN_RANGE;
    case CKR_ENCRYPTED_DATA_INVALID:
    case CKR_AEAD_DECRYPT_FAILED:
        return CKR_WRAPPED_KEY_INVALID;
    default:
        return rv;
    }
}

static bool pads_with_zeros(const struct km_mech *mech)
{
    return mech->scheme == KM_MS_CBC || mech->scheme == KM_MS_ECB;
}

static CK_RV apply(struct km_backend *backend, struct km_loaded *key, const struct km_mech *mech,
                   const Kmw__Mechanism *param, Kmw__Use__Operation operation, const uint8_t *data, size_t len,
                   uint8_t **ret, size_t *ret_len)
{
    Kmw__Use use = KMW__USE__INIT;
    Kmw__Mechanism own = *param;

    if (mech->scheme == KM_MS_CCM) /* nobody can know how long a private key is */
        own.data_len =
            operation == KMW__USE__OPERATION__ENCRYPT || len < param->tag_bits / 8 ? len : len - param->tag_bits / 8;
    use.operation = operation;
    use.mechanism = &own;
    use.data = (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)data};
    return in_wrapping_words(km_builtin_apply(backend, key, mech, &use, ret, ret_len));
}

/* RSA_AES_KEY_WRAP: a fresh AES key under OAEP, the key under that (PKCS#11 v3.2 6.1.23). */
static CK_RV new_temporary(const Kmw__Mechanism *param, struct km_loaded **ret)
{
    struct km_loaded *key = km_loaded_new(CKO_SECRET_KEY, CKK_AES);
    size_t len = param->bits / 8;

    if (key == NULL || km_secret_new(&key->raw, len) != KM_OK || RAND_priv_bytes(key->raw.data, (int)len) != 1) {
        km_loaded_release(key);
        return CKR_DEVICE_MEMORY;
    }
    key->len = len;
    *ret = key;
    return CKR_OK;
}

static CK_RV wrap_rsa_aes(struct km_backend *backend, struct km_loaded *with, const Kmw__Mechanism *param,
                          const struct km_secret *bytes, uint8_t **ret, size_t *ret_len)
{
    static const Kmw__Mechanism none = KMW__MECHANISM__INIT;
    struct km_loaded *temporary = NULL;
    uint8_t *head = NULL, *tail = NULL, *both = NULL;
    size_t head_len = 0, tail_len = 0;
    CK_RV rv = new_temporary(param, &temporary);

    if (rv == CKR_OK)
        rv = apply(backend, with, km_mech(CKM_RSA_PKCS_OAEP), param, KMW__USE__OPERATION__ENCRYPT, temporary->raw.data,
                   temporary->len, &head, &head_len);
    if (rv == CKR_OK)
        rv = apply(backend, temporary, km_mech(CKM_AES_KEY_WRAP_KWP), &none, KMW__USE__OPERATION__ENCRYPT, bytes->data,
                   bytes->len, &tail, &tail_len);
    if (rv == CKR_OK)
        rv = (both = malloc(head_len + tail_len)) != NULL ? CKR_OK : CKR_HOST_MEMORY;
    if (rv == CKR_OK) {
        memcpy(both, head, head_len);
        memcpy(both + head_len, tail, tail_len);
        *ret = both;
        *ret_len = head_len + tail_len;
    }
    free(head);
    free(tail);
    km_loaded_release(temporary);
    return rv;
}

/* The same IV never comes twice, and nobody outside knows it before: at least 96 random bits (SP 800-38D 8.2.2). */
static CK_RV wrap_with_new_iv(struct km_backend *backend, struct km_loaded *with, const struct km_mech *mech,
                              const Kmw__Mechanism *param, const struct km_secret *bytes, uint8_t **ret,
                              size_t *ret_len)
{
    Kmw__Mechanism with_iv = *param;
    uint8_t iv[IV_LEN_MAX], *text = NULL, *both;
    size_t iv_len = param->iv.len, len = 0;
    CK_RV rv;

    if (iv_len < IV_LEN_MIN || iv_len > IV_LEN_MAX)
        return CKR_MECHANISM_PARAM_INVALID;
    if (RAND_bytes(iv, (int)iv_len) != 1)
        return CKR_FUNCTION_FAILED;
    with_iv.iv = (ProtobufCBinaryData){iv_len, iv};
    rv = apply(backend, with, mech, &with_iv, KMW__USE__OPERATION__ENCRYPT, bytes->data, bytes->len, &text, &len);
    if (rv != CKR_OK)
        return rv;
    both = malloc(iv_len + len);
    if (both != NULL) {
        memcpy(both, iv, iv_len);
        memcpy(both + iv_len, text, len);
        *ret = both;
        *ret_len = iv_len + len;
    }
    free(text);
    return both != NULL ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV wrap(struct km_backend *backend, struct km_loaded *with, struct km_loaded *key, const struct km_mech *mech,
                  const Kmw__Mechanism *param, uint8_t **ret, size_t *ret_len)
{
    struct km_secret bytes = KM_SECRET_EMPTY, padded = KM_SECRET_EMPTY;
    CK_RV rv = km_key_export(key, &bytes);

    if (rv == CKR_OK && pads_with_zeros(mech) && bytes.len % BLOCK != 0) {
        rv = km_secret_new(&padded, bytes.len + BLOCK - bytes.len % BLOCK) == KM_OK ? CKR_OK : CKR_DEVICE_MEMORY;
        if (rv == CKR_OK)
            memcpy(padded.data, bytes.data, bytes.len);
        km_secret_free(&bytes);
        bytes = km_secret_take(&padded);
    }
    if (rv == CKR_OK && mech->scheme == KM_MS_RSA_AES_WRAP)
        rv = wrap_rsa_aes(backend, with, param, &bytes, ret, ret_len);
    else if (rv == CKR_OK && param->makes_iv)
        rv = wrap_with_new_iv(backend, with, mech, param, &bytes, ret, ret_len);
    else if (rv == CKR_OK)
        rv = apply(backend, with, mech, param, KMW__USE__OPERATION__ENCRYPT, bytes.data, bytes.len, ret, ret_len);
    km_secret_free(&bytes);
    return rv;
}

enum km_backend_result km_builtin_wrap(struct km_backend *backend, const Kml__Object *with, const Kml__Object *key,
                                       const struct km_mech *mech, const Kmw__Mechanism *param, uint8_t **ret,
                                       size_t *ret_len, CK_RV *ret_rv)
{
    struct km_loaded *wrapping = NULL, *target = NULL;
    enum km_backend_result result = km_builtin_load(backend, with, &wrapping, ret_rv);

    if (result == KM_BE_OK)
        result = km_builtin_load(backend, key, &target, ret_rv);
    if (result == KM_BE_OK)
        result = answer(wrap(backend, wrapping, target, mech, param, ret, ret_len), ret_rv);
    km_loaded_release(wrapping);
    km_loaded_release(target);
    return result;
}

/* --- unwrapping ----------------------------------------------------------------------------------------------------
 */

/* Moves what a cipher made into a secret. */
static CK_RV guard(uint8_t *text, size_t len, struct km_secret *ret)
{
    CK_RV rv = len == 0 ? CKR_WRAPPED_KEY_INVALID : km_secret_new(ret, len) == KM_OK ? CKR_OK : CKR_DEVICE_MEMORY;

    if (rv == CKR_OK)
        memcpy(ret->data, text, len);
    km_wipe(text, len);
    free(text);
    return rv;
}

static CK_RV decrypt(struct km_backend *backend, struct km_loaded *with, const struct km_mech *mech,
                     const Kmw__Mechanism *param, const uint8_t *data, size_t len, struct km_secret *ret)
{
    uint8_t *text = NULL;
    size_t text_len = 0;
    CK_RV rv = apply(backend, with, mech, param, KMW__USE__OPERATION__DECRYPT, data, len, &text, &text_len);

    return rv == CKR_OK ? guard(text, text_len, ret) : rv;
}

static CK_RV unwrap_rsa_aes(struct km_backend *backend, struct km_loaded *with, const Kmw__Mechanism *param,
                            const ProtobufCBinaryData *wrapped, struct km_secret *ret)
{
    static const Kmw__Mechanism none = KMW__MECHANISM__INIT;
    struct km_loaded *temporary = km_loaded_new(CKO_SECRET_KEY, CKK_AES);
    CK_RV rv = temporary == NULL ? CKR_HOST_MEMORY : wrapped->len > with->len ? CKR_OK : CKR_WRAPPED_KEY_LEN_RANGE;

    if (rv == CKR_OK)
        rv = decrypt(backend, with, km_mech(CKM_RSA_PKCS_OAEP), param, wrapped->data, with->len, &temporary->raw);
    if (rv == CKR_OK && temporary->raw.len != param->bits / 8)
        rv = CKR_WRAPPED_KEY_INVALID;
    if (rv == CKR_OK) {
        temporary->len = temporary->raw.len;
        rv = decrypt(backend, temporary, km_mech(CKM_AES_KEY_WRAP_KWP), &none, wrapped->data + with->len,
                     wrapped->len - with->len, ret);
    }
    km_loaded_release(temporary);
    return rv;
}

enum km_backend_result km_builtin_unwrap(struct km_backend *backend, const Kml__Object *with,
                                         const struct km_mech *mech, const Kmw__Mechanism *param,
                                         const ProtobufCBinaryData *wrapped, Kml__Head *head, Kml__Object *ret,
                                         CK_RV *ret_rv)
{
    struct km_secret bytes = KM_SECRET_EMPTY, sealed = KM_SECRET_EMPTY;
    struct km_loaded *key = NULL;
    enum km_backend_result result;
    CK_RV rv;

    if (wrapped->len == 0 || wrapped->len > WRAPPED_MAX)
        return answer(CKR_WRAPPED_KEY_LEN_RANGE, ret_rv);
    result = km_builtin_load(backend, with, &key, ret_rv);
    if (result != KM_BE_OK)
        return result;
    if (mech->scheme == KM_MS_RSA_AES_WRAP)
        rv = unwrap_rsa_aes(backend, key, param, wrapped, &bytes);
    else
        rv = decrypt(backend, key, mech, param, wrapped->data, wrapped->len, &bytes);
    if (rv == CKR_OK)
        rv = km_key_take(km_builtin_crypto(backend), head, &bytes, pads_with_zeros(mech), &sealed);
    result = rv == CKR_OK ? km_builtin_object(backend, head, &sealed, ret, ret_rv) : answer(rv, ret_rv);
    km_secret_free(&sealed);
    km_secret_free(&bytes);
    km_loaded_release(key);
    return result;
}

/* --- encapsulating -------------------------------------------------------------------------------------------------
 */

/* The shared secret becomes a key; ML-KEM's has 32 bytes. */
static enum km_backend_result make_shared(struct km_backend *backend, struct km_secret *secret, Kml__Head *head,
                                          Kml__Object *ret, CK_RV *ret_rv)
{
    CK_ULONG wish = km_head_ulong(head, CKA_VALUE_LEN, secret->len);

    if (wish == 0 || wish > secret->len)
        return answer(CKR_KEY_SIZE_RANGE, ret_rv);
    km_secret_shrink(secret, wish);
    return make_one(backend, head, secret, ret, ret_rv);
}

enum km_backend_result km_builtin_encapsulate(struct km_backend *backend, const Kml__Object *public_key,
                                              const struct km_mech *mech, const Kmw__Mechanism *param, Kml__Head *head,
                                              Kml__Object *ret, uint8_t **ret_ciphertext, size_t *ret_len,
                                              CK_RV *ret_rv)
{
    struct km_secret secret = KM_SECRET_EMPTY;
    struct km_loaded *key = NULL;
    EVP_PKEY_CTX *ctx = NULL;
    size_t len = 0, secret_len = 0;
    uint8_t *ciphertext = NULL;
    enum km_backend_result result = km_builtin_load(backend, public_key, &key, ret_rv);

    (void)mech;
    (void)param;
    if (result != KM_BE_OK)
        return result;
    result = answer(CKR_FUNCTION_FAILED, ret_rv);
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
    if (ctx == NULL || EVP_PKEY_encapsulate_init(ctx, NULL) != 1 ||
        EVP_PKEY_encapsulate(ctx, NULL, &len, NULL, &secret_len) != 1)
        goto out;
    ciphertext = malloc(len);
    if (ciphertext == NULL || km_secret_new(&secret, secret_len) != KM_OK ||
        EVP_PKEY_encapsulate(ctx, ciphertext, &len, secret.data, &secret_len) != 1)
        goto out;
    result = make_shared(backend, &secret, head, ret, ret_rv);
    if (result == KM_BE_OK) {
        *ret_ciphertext = ciphertext;
        *ret_len = len;
        ciphertext = NULL;
    }
out:
    free(ciphertext);
    km_secret_free(&secret);
    EVP_PKEY_CTX_free(ctx);
    km_loaded_release(key);
    ERR_clear_error();
    return result;
}

enum km_backend_result km_builtin_decapsulate(struct km_backend *backend, const Kml__Object *private_key,
                                              const struct km_mech *mech, const Kmw__Mechanism *param,
                                              const ProtobufCBinaryData *ciphertext, Kml__Head *head, Kml__Object *ret,
                                              CK_RV *ret_rv)
{
    struct km_secret secret = KM_SECRET_EMPTY;
    struct km_loaded *key = NULL;
    EVP_PKEY_CTX *ctx = NULL;
    size_t len = 0;
    enum km_backend_result result = km_builtin_load(backend, private_key, &key, ret_rv);

    (void)mech;
    (void)param;
    if (result != KM_BE_OK)
        return result;
    result = answer(CKR_WRAPPED_KEY_INVALID, ret_rv);
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
    if (ctx == NULL || EVP_PKEY_decapsulate_init(ctx, NULL) != 1 ||
        EVP_PKEY_decapsulate(ctx, NULL, &len, ciphertext->data, ciphertext->len) != 1 ||
        km_secret_new(&secret, len) != KM_OK ||
        EVP_PKEY_decapsulate(ctx, secret.data, &len, ciphertext->data, ciphertext->len) != 1)
        goto out;
    result = make_shared(backend, &secret, head, ret, ret_rv);
out:
    km_secret_free(&secret);
    EVP_PKEY_CTX_free(ctx);
    km_loaded_release(key);
    ERR_clear_error();
    return result;
}
