/* SPDX-License-Identifier: Apache-2.0
 *
 * A program's mechanism in wire form: one reader for each kind of parameter (enum km_mech_param), each of which checks
 * every pointer, length and value before anything is sent. No state; any thread.
 */
#include "mechanism.h"

#include "../common/signature.h"
#include "guard.h"
#include "local.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define PARAM_MAX 256          /* bytes of the largest parameter's structure, and room for more */
#define NONCE_MAX 128          /* bytes: what OpenSSL takes for GCM */
#define AAD_MAX (1024u * 1024) /* bytes of associated data */

bool km_param_bytes(ProtobufCBinaryData *to, const void *data, size_t len)
{
    if (len == 0)
        return true;
    to->data = malloc(len);
    if (to->data == NULL)
        return false;
    memcpy(to->data, data, len);
    to->len = len;
    return true;
}

/* Nonce and associated data of every AEAD. */
static CK_RV read_aead(const void *nonce, CK_ULONG nonce_len, const void *aad, CK_ULONG aad_len, Kmw__Mechanism *param)
{
    KM_REQUIRE(nonce != NULL && nonce_len >= 1 && nonce_len <= NONCE_MAX, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(aad != NULL || aad_len == 0, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(aad_len <= AAD_MAX, CKR_MECHANISM_PARAM_INVALID);
    if (!km_param_bytes(&param->iv, nonce, nonce_len) || !km_param_bytes(&param->aad, aad, aad_len))
        return CKR_HOST_MEMORY;
    return CKR_OK;
}

static CK_RV read_gcm(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    const CK_GCM_PARAMS *gcm = p;

    /* SP 800-38D 5.2.1.2; shorter tags let forgers find the authentication key. */
    KM_REQUIRE(gcm->ulTagBits >= 96 && gcm->ulTagBits <= 128 && gcm->ulTagBits % 8 == 0, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(mech->scheme != KM_MS_GMAC || gcm->ulAADLen == 0, CKR_MECHANISM_PARAM_INVALID); /* it is the data */
    param->tag_bits = gcm->ulTagBits;
    return read_aead(gcm->pIv, gcm->ulIvLen, gcm->pAAD, gcm->ulAADLen, param);
}

static CK_RV read_ccm(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    const CK_CCM_PARAMS *ccm = p;

    (void)mech;
    KM_REQUIRE(ccm->ulNonceLen >= 7 && ccm->ulNonceLen <= 13, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(ccm->ulMACLen >= 4 && ccm->ulMACLen <= 16 && ccm->ulMACLen % 2 == 0, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(ccm->ulDataLen <= KM_BUFFERED_MAX, CKR_MECHANISM_PARAM_INVALID);
    /* RFC 3610 2.1: the length is told in 15 - nonce bytes */
    KM_REQUIRE(ccm->ulDataLen >> (8 * (15 - ccm->ulNonceLen) - 1) >> 1 == 0, CKR_MECHANISM_PARAM_INVALID);
    param->tag_bits = 8 * ccm->ulMACLen;
    param->data_len = ccm->ulDataLen;
    return read_aead(ccm->pNonce, ccm->ulNonceLen, ccm->pAAD, ccm->ulAADLen, param);
}

static CK_RV read_chacha20_poly1305(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    const CK_SALSA20_CHACHA20_POLY1305_PARAMS *chacha = p;

    (void)mech;
    /* The standard counts this nonce in bits, programs (SunPKCS11, NSS) in bytes. */
    KM_REQUIRE(chacha->ulNonceLen == 12 || chacha->ulNonceLen == 96, CKR_MECHANISM_PARAM_INVALID);
    param->tag_bits = 128;
    return read_aead(chacha->pNonce, 12, chacha->pAAD, chacha->ulAADLen, param);
}

/* OpenSSL's IV: the counter, little endian, then the nonce; 16 bytes in both forms (RFC 8439, and as published). */
static CK_RV read_chacha20(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    const CK_CHACHA20_PARAMS *chacha = p;
    uint8_t iv[16];

    (void)mech;
    KM_REQUIRE(chacha->pBlockCounter != NULL && chacha->pNonce != NULL, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE((chacha->blockCounterBits == 32 && chacha->ulNonceBits == 96) ||
                   (chacha->blockCounterBits == 64 && chacha->ulNonceBits == 64),
               CKR_MECHANISM_PARAM_INVALID);
    memcpy(iv, chacha->pBlockCounter, chacha->blockCounterBits / 8);
    memcpy(iv + chacha->blockCounterBits / 8, chacha->pNonce, chacha->ulNonceBits / 8);
    param->counter_bits = chacha->blockCounterBits;
    return km_param_bytes(&param->iv, iv, sizeof(iv)) ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV read_mac_len(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    CK_MAC_GENERAL_PARAMS len = *(const CK_MAC_GENERAL_PARAMS *)p;
    size_t full = mech->md != NULL ? km_local_digest_len(mech->md) : 16;

    KM_REQUIRE(len >= 1 && len <= full, CKR_MECHANISM_PARAM_INVALID);
    param->mac_len = len;
    return CKR_OK;
}

static CK_RV read_ctr(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    const CK_AES_CTR_PARAMS *ctr = p;

    (void)mech;
    KM_REQUIRE(ctr->ulCounterBits >= 1 && ctr->ulCounterBits <= 128, CKR_MECHANISM_PARAM_INVALID);
    param->counter_bits = ctr->ulCounterBits;
    return km_param_bytes(&param->iv, ctr->cb, sizeof(ctr->cb)) ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV read_pss(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    const CK_RSA_PKCS_PSS_PARAMS *pss = p;

    KM_REQUIRE(km_mech_md(pss->hashAlg, NULL) != NULL, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(km_mech_mgf_md(pss->mgf, NULL) != NULL, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(mech->md == NULL || mech->digest == pss->hashAlg, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(pss->sLen <= 512, CKR_MECHANISM_PARAM_INVALID);
    param->hash = pss->hashAlg;
    param->mgf = pss->mgf;
    param->salt_len = pss->sLen;
    return CKR_OK;
}

CK_RV km_read_oaep(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    const CK_RSA_PKCS_OAEP_PARAMS *oaep = p;

    (void)mech;
    /* pkcs11-provider 1.0 leaves both 0 when its user names no hash, meaning the defaults of RFC 8017 A.2.1. */
    bool is_default = oaep->hashAlg == 0 && oaep->mgf == 0;
    CK_MECHANISM_TYPE hash = is_default ? CKM_SHA_1 : oaep->hashAlg;
    CK_RSA_PKCS_MGF_TYPE mgf = is_default ? CKG_MGF1_SHA1 : oaep->mgf;
    KM_REQUIRE(km_mech_md(hash, NULL) != NULL, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(km_mech_mgf_md(mgf, NULL) != NULL, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(oaep->source == CKZ_DATA_SPECIFIED || (oaep->source == 0 && oaep->ulSourceDataLen == 0),
               CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(oaep->pSourceData != NULL || oaep->ulSourceDataLen == 0, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(oaep->ulSourceDataLen <= 65536, CKR_MECHANISM_PARAM_INVALID);
    param->hash = hash;
    param->mgf = mgf;
    return km_param_bytes(&param->label, oaep->pSourceData, oaep->ulSourceDataLen) ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV read_iv(const struct km_mech *mech, const void *iv, Kmw__Mechanism *param)
{
    size_t len = mech->param == KM_MP_IV16 ? 16 : mech->param == KM_MP_IV8 ? 8 : 4;

    return km_param_bytes(&param->iv, iv, len) ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV read_eddsa(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    const CK_EDDSA_PARAMS *eddsa = p;

    (void)mech;
    KM_REQUIRE(eddsa->phFlag == CK_FALSE || eddsa->phFlag == CK_TRUE, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(eddsa->ulContextDataLen <= KM_CONTEXT_MAX, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(eddsa->pContextData != NULL || eddsa->ulContextDataLen == 0, CKR_MECHANISM_PARAM_INVALID);
    param->is_prehashed = eddsa->phFlag;
    return km_param_bytes(&param->context, eddsa->pContextData, eddsa->ulContextDataLen) ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV read_context(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    const CK_SIGN_ADDITIONAL_CONTEXT *context = p; /* CK_HASH_SIGN_ADDITIONAL_CONTEXT begins like it */

    KM_REQUIRE(context->hedgeVariant <= CKH_DETERMINISTIC_REQUIRED, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(context->ulContextLen <= KM_CONTEXT_MAX, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(context->pContext != NULL || context->ulContextLen == 0, CKR_MECHANISM_PARAM_INVALID);
    param->hedge = context->hedgeVariant;
    if (mech->param == KM_MP_HASH_CONTEXT)
        param->hash = ((const CK_HASH_SIGN_ADDITIONAL_CONTEXT *)p)->hash;
    return km_param_bytes(&param->context, context->pContext, context->ulContextLen) ? CKR_OK : CKR_HOST_MEMORY;
}

/* The parameter's size and its reader; a kind without a reader takes none. */
static const struct reader {
    size_t len;
    CK_RV (*read)(const struct km_mech *mech, const void *p, Kmw__Mechanism *param);
    bool is_optional;
} readers[] = {
    [KM_MP_NONE] = {0, NULL},
    [KM_MP_IV16] = {16, read_iv},
    [KM_MP_IV8] = {8, read_iv, true},
    [KM_MP_IV4] = {4, read_iv, true},
    [KM_MP_MAC_LEN] = {sizeof(CK_MAC_GENERAL_PARAMS), read_mac_len},
    [KM_MP_CCM] = {sizeof(CK_CCM_PARAMS), read_ccm},
    [KM_MP_CHACHA20] = {sizeof(CK_CHACHA20_PARAMS), read_chacha20},
    [KM_MP_CHACHA20_POLY1305] = {sizeof(CK_SALSA20_CHACHA20_POLY1305_PARAMS), read_chacha20_poly1305},
    [KM_MP_CTR] = {sizeof(CK_AES_CTR_PARAMS), read_ctr},
    [KM_MP_GCM] = {sizeof(CK_GCM_PARAMS), read_gcm},
    [KM_MP_PSS] = {sizeof(CK_RSA_PKCS_PSS_PARAMS), read_pss},
    [KM_MP_OAEP] = {sizeof(CK_RSA_PKCS_OAEP_PARAMS), km_read_oaep},
    [KM_MP_CONTEXT] = {sizeof(CK_SIGN_ADDITIONAL_CONTEXT), read_context, .is_optional = true},
    [KM_MP_HASH_CONTEXT] = {sizeof(CK_HASH_SIGN_ADDITIONAL_CONTEXT), read_context},
    [KM_MP_EDDSA] = {sizeof(CK_EDDSA_PARAMS), read_eddsa, .is_optional = true},
    [KM_MP_ECDH] = {sizeof(CK_ECDH1_DERIVE_PARAMS), km_read_ecdh},
    [KM_MP_HKDF] = {sizeof(CK_HKDF_PARAMS), km_read_hkdf},
    [KM_MP_SP800] = {sizeof(CK_SP800_108_KDF_PARAMS), km_read_sp800},
    [KM_MP_SP800_FEEDBACK] = {sizeof(CK_SP800_108_FEEDBACK_KDF_PARAMS), km_read_sp800_feedback},
    [KM_MP_PBKDF2] = {sizeof(CK_PKCS5_PBKD2_PARAMS2), km_read_pbkdf2},
    [KM_MP_STRING] = {sizeof(CK_KEY_DERIVATION_STRING_DATA), km_read_string},
    [KM_MP_CBC_DATA] = {sizeof(CK_AES_CBC_ENCRYPT_DATA_PARAMS), km_read_cbc_data},
    [KM_MP_HANDLE] = {sizeof(CK_OBJECT_HANDLE), NULL},
    [KM_MP_BIT] = {sizeof(CK_EXTRACT_PARAMS), km_read_bit},
    [KM_MP_RSA_AES] = {sizeof(CK_RSA_AES_KEY_WRAP_PARAMS), km_read_rsa_aes},
};

static CK_RV read_param(const struct km_mech *mech, const CK_MECHANISM *mechanism, Kmw__Mechanism *param)
{
    const struct reader *reader = &readers[mech->param];
    _Alignas(max_align_t) uint8_t aligned[PARAM_MAX]; /* a program's structure may lie anywhere */

    if (reader->is_optional && mechanism->ulParameterLen == 0 && mechanism->pParameter == NULL)
        return CKR_OK;
    KM_REQUIRE(mechanism->ulParameterLen == reader->len, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(mechanism->pParameter != NULL || reader->len == 0, CKR_MECHANISM_PARAM_INVALID);
    if (reader->read == NULL)
        return CKR_OK;
    assert(reader->len <= sizeof(aligned));
    memcpy(aligned, mechanism->pParameter, reader->len);
    return reader->read(mech, aligned, param);
}

CK_RV km_mechanism_read(const struct km_mech *mech, const CK_MECHANISM *mechanism, Kmw__Mechanism **ret)
{
    Kmw__Mechanism *param = malloc(sizeof(*param));
    CK_RV rv;

    if (param == NULL)
        return CKR_HOST_MEMORY;
    kmw__mechanism__init(param);
    param->type = mech->type;
    rv = read_param(mech, mechanism, param);
    if (rv == CKR_OK)
        *ret = param;
    else
        kmw__mechanism__free_unpacked(param, NULL);
    return rv;
}
