/* SPDX-License-Identifier: Apache-2.0
 *
 * Computations with public data. The library context is the module's own even where OpenSSL is shared with the host, so
 * that a host whose OpenSSL loads this module as a provider cannot recurse into it. Algorithms are fetched once. No
 * state after km_local_init.
 */
#include "local.h"

#include "../common/attr.h"
#include "../common/pubkey.h"
#include "../common/signature.h"
#include "guard.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

static OSSL_LIB_CTX *libctx;
static EVP_MD *hashes[KM_HASHES];

bool km_local_init(void)
{
    if (libctx == NULL)
        libctx = OSSL_LIB_CTX_new();
    if (libctx == NULL)
        return false;
    for (size_t i = 0; i < KM_HASHES; i++) {
        if (hashes[i] == NULL)
            hashes[i] = EVP_MD_fetch(libctx, km_hashes[i].md, NULL);
        if (hashes[i] == NULL)
            return false;
    }
    return true;
}

OSSL_LIB_CTX *km_local_context(void)
{
    return libctx;
}

const struct km_symmetric *km_local_symmetric(void)
{
    static struct km_symmetric ciphers;
    static bool is_open; /* under km_lock; not at C_Initialize, since few programs get here */
    bool is_ready;

    km_lock();
    if (!is_open) {
        is_open = km_symmetric_open(libctx, &ciphers);
        if (!is_open)
            km_symmetric_close(&ciphers);
    }
    is_ready = is_open;
    km_unlock();
    return is_ready ? &ciphers : NULL;
}

bool km_local_computes(const struct km_mech *mech, enum km_operation_kind kind)
{
    return (kind == KM_OP_VERIFY || kind == KM_OP_VERIFY_RECOVER || kind == KM_OP_ENCRYPT) &&
           km_key_type_is_pair(mech->key_type);
}

static const EVP_MD *find_md(const char *name)
{
    for (size_t i = 0; i < KM_HASHES; i++)
        if (name != NULL && strcmp(km_hashes[i].md, name) == 0)
            return hashes[i];
    return NULL;
}

CK_RV km_local_digest(const char *md, EVP_MD_CTX **ret)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    KM_REQUIRE(ctx != NULL, CKR_HOST_MEMORY);
    if (EVP_DigestInit_ex2(ctx, find_md(md), NULL) != 1) {
        EVP_MD_CTX_free(ctx);
        return CKR_FUNCTION_FAILED;
    }
    *ret = ctx;
    return CKR_OK;
}

CK_RV km_local_hash(const char *md, const uint8_t *data, size_t len, uint8_t *ret)
{
    return EVP_Digest(data, len, ret, NULL, find_md(md), NULL) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

size_t km_local_digest_len(const char *md)
{
    return (size_t)EVP_MD_get_size(find_md(md));
}

struct attrs {
    Kmw__Attr *const *attrs;
    size_t n;
};

static const ProtobufCBinaryData *get_attr(const void *object, CK_ATTRIBUTE_TYPE type)
{
    const struct attrs *list = object;
    const Kmw__Attr *attr = km_attr_find(list->attrs, list->n, type);

    return attr != NULL ? &attr->value : NULL;
}

CK_RV km_local_public_key_of(Kmw__Attr *const *attrs, size_t n, EVP_PKEY **ret)
{
    const struct attrs list = {attrs, n};
    CK_KEY_TYPE type = km_attr_ulong(attrs, n, CKA_KEY_TYPE, KM_KEY_TYPE_ANY);

    return km_pubkey_build(libctx, type, &(struct km_attr_source){get_attr, &list}, ret);
}

size_t km_local_block_len(const struct km_view *view)
{
    const struct attrs list = {view->object->attrs, view->object->n_attrs};

    return km_pubkey_block_len(view->key_type, &(struct km_attr_source){get_attr, &list});
}

CK_RV km_local_check_param(const struct km_operation *op)
{
    const struct attrs list = {op->key->object->attrs, op->key->object->n_attrs};
    const struct km_domain *domain = km_domain_of(op->key->key_type, &(struct km_attr_source){get_attr, &list});

    return domain != NULL ? km_signature_check_param(domain, op->mech, op->param) : CKR_KEY_TYPE_INCONSISTENT;
}

CK_RV km_local_public_key(const struct km_view *view, EVP_PKEY **ret)
{
    CK_RV rv = km_local_public_key_of(view->object->attrs, view->object->n_attrs, ret);

    return rv == CKR_OK ? CKR_OK : CKR_KEY_TYPE_INCONSISTENT;
}

CK_RV km_local_public_key_info(EVP_PKEY *key, uint8_t **ret, size_t *ret_len)
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(key, &der);

    KM_REQUIRE(len > 0, CKR_FUNCTION_FAILED);
    *ret = malloc((size_t)len);
    if (*ret != NULL)
        memcpy(*ret, der, (size_t)len);
    OPENSSL_free(der);
    *ret_len = (size_t)len;
    return *ret != NULL ? CKR_OK : CKR_HOST_MEMORY;
}

/* --- operations --- */

static bool set_padding(EVP_PKEY_CTX *ctx, const struct km_operation *op)
{
    const Kmw__Mechanism *param = op->param;

    switch (op->mech->scheme) {
    case KM_MS_PKCS1:
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
               (op->mech->md == NULL || EVP_PKEY_CTX_set_signature_md(ctx, find_md(op->mech->md)) == 1);
    case KM_MS_PSS:
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
               EVP_PKEY_CTX_set_signature_md(ctx, find_md(km_mech_md(param->hash, NULL))) == 1 &&
               EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, find_md(km_mech_mgf_md(param->mgf, NULL))) == 1 &&
               EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, (int)param->salt_len) == 1;
    case KM_MS_OAEP:
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
               EVP_PKEY_CTX_set_rsa_oaep_md(ctx, find_md(km_mech_md(param->hash, NULL))) == 1 &&
               EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, find_md(km_mech_mgf_md(param->mgf, NULL))) == 1;
    case KM_MS_RAW:
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) == 1;
    default: /* ECDSA */
        return true;
    }
}

/* r || s to the DER that OpenSSL wants; malloc'ed by OpenSSL. */
static int ecdsa_to_der(const uint8_t *signature, size_t len, unsigned char **ret)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(signature, (int)(len / 2), NULL);
    BIGNUM *s = BN_bin2bn(signature + len / 2, (int)(len / 2), NULL);
    int der_len = -1;

    if (sig != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) == 1) {
        r = s = NULL;
        der_len = i2d_ECDSA_SIG(sig, ret);
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    return der_len;
}

static CK_RV check_verify_lens(const struct km_operation *op, size_t len, size_t signature_len)
{
    size_t hash_len = 0;

    size_t block_len = km_operation_block_len(op);

    if (op->mech->scheme == KM_MS_ECDSA) /* PKCS#11 v3.2 6.3.1: r and s may be without their leading zeros */
        KM_REQUIRE(signature_len > 0 && signature_len % 2 == 0 && signature_len <= block_len, CKR_SIGNATURE_LEN_RANGE);
    else
        KM_REQUIRE(signature_len == block_len, CKR_SIGNATURE_LEN_RANGE);
    if (op->mech->scheme == KM_MS_RAW)
        KM_REQUIRE(len <= block_len, CKR_DATA_LEN_RANGE);
    if (op->mech->scheme == KM_MS_PSS)
        KM_REQUIRE(km_mech_md(op->param->hash, &hash_len) != NULL && len == hash_len, CKR_DATA_LEN_RANGE);
    return CKR_OK;
}

/* For CKM_RSA_X_509: the number as long as the modulus, malloc'ed. NULL for others, whose data is what it is. */
static CK_RV stretch(const struct km_operation *op, const uint8_t *data, size_t len, uint8_t **ret)
{
    size_t block_len = km_operation_block_len(op);

    if (op->mech->scheme != KM_MS_RAW)
        return CKR_OK;
    KM_REQUIRE(len <= block_len, CKR_DATA_LEN_RANGE);
    *ret = calloc(1, block_len + 1);
    KM_REQUIRE(*ret != NULL, CKR_HOST_MEMORY);
    if (len > 0)
        memcpy(*ret + block_len - len, data, len);
    return CKR_OK;
}

CK_RV km_local_verify(const struct km_operation *op, const uint8_t *data, size_t len, const uint8_t *signature,
                      size_t signature_len)
{
    EVP_PKEY_CTX *ctx = NULL;
    unsigned char *der = NULL;
    uint8_t *number = NULL;
    int der_len = 0, good = -1;

    KM_TRY(check_verify_lens(op, len, signature_len));
    if (op->mech->scheme == KM_MS_MESSAGE || op->mech->scheme == KM_MS_PREHASH)
        return km_signature_check(libctx, op->public_key, km_domain_of_pkey(op->public_key), op->mech, op->param, data,
                                  len, signature, signature_len);
    KM_TRY(stretch(op, data, len, &number));
    if (number != NULL) {
        data = number;
        len = km_operation_block_len(op);
    }
    if (op->mech->scheme == KM_MS_ECDSA)
        der_len = ecdsa_to_der(signature, signature_len, &der);
    ctx = EVP_PKEY_CTX_new_from_pkey(libctx, op->public_key, NULL);
    if (ctx != NULL && der_len >= 0 && EVP_PKEY_verify_init(ctx) == 1 && set_padding(ctx, op))
        good = EVP_PKEY_verify(ctx, der != NULL ? der : signature, der != NULL ? (size_t)der_len : signature_len,
                               data != NULL ? data : (const uint8_t *)"", len);
    free(number);
    OPENSSL_free(der);
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return good == 1 ? CKR_OK : CKR_SIGNATURE_INVALID;
}

CK_RV km_local_recover(const struct km_operation *op, const uint8_t *signature, size_t len, struct km_buffer *ret)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, op->public_key, NULL);
    size_t out_len = km_operation_block_len(op);
    uint8_t *out = malloc(out_len + 1);
    CK_RV rv = CKR_HOST_MEMORY;

    if (ctx == NULL || out == NULL)
        goto out;
    rv = CKR_SIGNATURE_INVALID;
    if (EVP_PKEY_verify_recover_init(ctx) == 1 && set_padding(ctx, op) &&
        EVP_PKEY_verify_recover(ctx, out, &out_len, signature, len) == 1)
        rv = km_buffer_add(ret, out, out_len, SIZE_MAX);
out:
    free(out);
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return rv;
}

CK_RV km_local_encrypt(const struct km_operation *op, const uint8_t *data, size_t len, struct km_buffer *ret)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, op->public_key, NULL);
    size_t out_len = km_operation_block_len(op);
    uint8_t *out = malloc(out_len + 1), *label = NULL, *number = NULL;
    CK_RV rv = CKR_HOST_MEMORY;

    if (ctx == NULL || out == NULL)
        goto out;
    rv = stretch(op, data, len, &number);
    if (rv != CKR_OK)
        goto out;
    if (number != NULL) {
        data = number;
        len = out_len;
    }
    rv = CKR_FUNCTION_FAILED;
    if (EVP_PKEY_encrypt_init(ctx) != 1 || !set_padding(ctx, op))
        goto out;
    if (op->param->label.len > 0) {
        label = OPENSSL_memdup(op->param->label.data, op->param->label.len);
        if (label == NULL || EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, label, (int)op->param->label.len) != 1)
            goto out;
        label = NULL; /* the context's now */
    }
    rv = number != NULL ? CKR_DATA_INVALID /* not less than the modulus */ : CKR_DATA_LEN_RANGE;
    if (EVP_PKEY_encrypt(ctx, out, &out_len, data != NULL ? data : (const uint8_t *)"", len) != 1)
        goto out;
    rv = km_buffer_add(ret, out, out_len, SIZE_MAX);
out:
    if (number != NULL)
        km_wipe(number, km_operation_block_len(op));
    free(number);
    OPENSSL_free(label);
    free(out);
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return rv;
}

bool km_local_random(uint8_t *ret, size_t len)
{
    return RAND_bytes_ex(libctx, ret, len, 0) == 1;
}
