/* SPDX-License-Identifier: Apache-2.0
 *
 * A program's mechanism in wire form: one reader for each kind of parameter (enum km_mech_param), each of which checks
 * every pointer, length and value before anything is sent. No state; any thread.
 */
#include "operation.h"

#include "guard.h"

#include <stdlib.h>
#include <string.h>

static bool copy_bytes(ProtobufCBinaryData *to, const void *data, size_t len)
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

static CK_RV read_gcm(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    const CK_GCM_PARAMS *gcm = p;

    (void)mech;
    KM_REQUIRE(gcm->pIv != NULL && gcm->ulIvLen >= 1 && gcm->ulIvLen <= 256, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(gcm->pAAD != NULL || gcm->ulAADLen == 0, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(gcm->ulAADLen <= KM_BUFFERED_MAX / 64, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(gcm->ulTagBits >= 32 && gcm->ulTagBits <= 128 && gcm->ulTagBits % 8 == 0, CKR_MECHANISM_PARAM_INVALID);
    param->tag_bits = gcm->ulTagBits;
    if (!copy_bytes(&param->iv, gcm->pIv, gcm->ulIvLen) || !copy_bytes(&param->aad, gcm->pAAD, gcm->ulAADLen))
        return CKR_HOST_MEMORY;
    return CKR_OK;
}

static CK_RV read_ctr(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    const CK_AES_CTR_PARAMS *ctr = p;

    (void)mech;
    KM_REQUIRE(ctr->ulCounterBits >= 1 && ctr->ulCounterBits <= 128, CKR_MECHANISM_PARAM_INVALID);
    param->counter_bits = ctr->ulCounterBits;
    return copy_bytes(&param->iv, ctr->cb, sizeof(ctr->cb)) ? CKR_OK : CKR_HOST_MEMORY;
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

static CK_RV read_oaep(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
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
    return copy_bytes(&param->label, oaep->pSourceData, oaep->ulSourceDataLen) ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV read_iv16(const struct km_mech *mech, const void *iv, Kmw__Mechanism *param)
{
    (void)mech;
    return copy_bytes(&param->iv, iv, 16) ? CKR_OK : CKR_HOST_MEMORY;
}

/* The parameter's size and its reader; a kind without a reader takes none. */
static const struct reader {
    size_t len;
    CK_RV (*read)(const struct km_mech *mech, const void *p, Kmw__Mechanism *param);
} readers[] = {
    [KM_MP_NONE] = {0, NULL},
    [KM_MP_IV16] = {16, read_iv16},
    [KM_MP_CTR] = {sizeof(CK_AES_CTR_PARAMS), read_ctr},
    [KM_MP_GCM] = {sizeof(CK_GCM_PARAMS), read_gcm},
    [KM_MP_PSS] = {sizeof(CK_RSA_PKCS_PSS_PARAMS), read_pss},
    [KM_MP_OAEP] = {sizeof(CK_RSA_PKCS_OAEP_PARAMS), read_oaep},
};

static CK_RV read_param(const struct km_mech *mech, const CK_MECHANISM *mechanism, Kmw__Mechanism *param)
{
    const struct reader *reader = &readers[mech->param];

    KM_REQUIRE(mechanism->ulParameterLen == reader->len, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(mechanism->pParameter != NULL || reader->len == 0, CKR_MECHANISM_PARAM_INVALID);
    return reader->read == NULL ? CKR_OK : reader->read(mech, mechanism->pParameter, param);
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
