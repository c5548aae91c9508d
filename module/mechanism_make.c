/* SPDX-License-Identifier: Apache-2.0
 *
 * Parameters of the mechanisms that make keys from keys, or from a password. Handles in them are resolved by the
 * caller, who has the session. No state; any thread.
 */
#include "mechanism.h"

#include "guard.h"

#include <stdlib.h>
#include <string.h>

#define POINT_MAX 512
#define DATA_MAX 65536 /* bytes of shared data, info, salt */
#define PARTS_MAX 64   /* data parameters of SP 800-108 */
#define PASSWORD_MAX 4096

/* Optional bytes of a program's. */
static CK_RV read_bytes(const void *data, CK_ULONG len, size_t max, ProtobufCBinaryData *ret)
{
    KM_REQUIRE(data != NULL || len == 0, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(len <= max, CKR_MECHANISM_PARAM_INVALID);
    return km_param_bytes(ret, data, len) ? CKR_OK : CKR_HOST_MEMORY;
}

CK_RV km_read_ecdh(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    const CK_ECDH1_DERIVE_PARAMS *ecdh = p;

    (void)mech;
    KM_REQUIRE(ecdh->pPublicData != NULL && ecdh->ulPublicDataLen > 0, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(ecdh->kdf != CKD_NULL || ecdh->ulSharedDataLen == 0, CKR_MECHANISM_PARAM_INVALID);
    param->kdf = ecdh->kdf;
    KM_TRY(read_bytes(ecdh->pPublicData, ecdh->ulPublicDataLen, POINT_MAX, &param->public_data));
    return read_bytes(ecdh->pSharedData, ecdh->ulSharedDataLen, DATA_MAX, &param->shared_data);
}

CK_RV km_read_hkdf(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    const CK_HKDF_PARAMS *hkdf = p;
    bool has_salt = hkdf->ulSaltType == CKF_HKDF_SALT_DATA;

    (void)mech;
    KM_REQUIRE(hkdf->bExtract || hkdf->bExpand, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(!hkdf->bExtract || has_salt || hkdf->ulSaltType == CKF_HKDF_SALT_NULL ||
                   hkdf->ulSaltType == CKF_HKDF_SALT_KEY,
               CKR_MECHANISM_PARAM_INVALID);
    param->hash = hkdf->prfHashMechanism;
    param->extracts = hkdf->bExtract;
    param->expands = hkdf->bExpand;
    if (hkdf->bExtract && has_salt)
        KM_TRY(read_bytes(hkdf->pSalt, hkdf->ulSaltLen, DATA_MAX, &param->salt));
    return hkdf->bExpand ? read_bytes(hkdf->pInfo, hkdf->ulInfoLen, DATA_MAX, &param->shared_data) : CKR_OK;
}

static CK_RV read_part(const CK_PRF_DATA_PARAM *from, Kmw__KdfPart *to)
{
    const CK_SP800_108_COUNTER_FORMAT *counter = from->pValue;
    const CK_SP800_108_DKM_LENGTH_FORMAT *length = from->pValue;

    to->type = from->type;
    switch (from->type) {
    case CK_SP800_108_BYTE_ARRAY:
        return read_bytes(from->pValue, from->ulValueLen, DATA_MAX, &to->data);
    case CK_SP800_108_DKM_LENGTH:
        KM_REQUIRE(length != NULL && from->ulValueLen == sizeof(*length), CKR_MECHANISM_PARAM_INVALID);
        KM_REQUIRE(length->ulWidthInBits <= 64, CKR_MECHANISM_PARAM_INVALID);
        to->bits = length->ulWidthInBits;
        to->is_little_endian = length->bLittleEndian;
        to->method = length->dkmLengthMethod;
        return to->method == CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS ||
                       to->method == CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS
                   ? CKR_OK
                   : CKR_MECHANISM_PARAM_INVALID;
    case CK_SP800_108_ITERATION_VARIABLE:
        if (from->pValue == NULL && from->ulValueLen == 0)
            return CKR_OK; /* feedback and double pipeline: the block before */
        break;
    case CK_SP800_108_COUNTER:
        break;
    default:
        return CKR_MECHANISM_PARAM_INVALID;
    }
    KM_REQUIRE(counter != NULL && from->ulValueLen == sizeof(*counter), CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(counter->ulWidthInBits <= 64, CKR_MECHANISM_PARAM_INVALID);
    to->bits = counter->ulWidthInBits;
    to->is_little_endian = counter->bLittleEndian;
    return CKR_OK;
}

static CK_RV read_parts(const CK_PRF_DATA_PARAM *parts, CK_ULONG n, Kmw__Mechanism *param)
{
    KM_REQUIRE(parts != NULL && n >= 1 && n <= PARTS_MAX, CKR_MECHANISM_PARAM_INVALID);
    param->parts = calloc(n, sizeof(param->parts[0]));
    KM_REQUIRE(param->parts != NULL, CKR_HOST_MEMORY);
    for (CK_ULONG i = 0; i < n; i++) {
        Kmw__KdfPart *part = malloc(sizeof(*part));
        KM_REQUIRE(part != NULL, CKR_HOST_MEMORY);
        kmw__kdf_part__init(part);
        param->parts[param->n_parts++] = part;
        KM_TRY(read_part(&parts[i], part));
    }
    return CKR_OK;
}

CK_RV km_read_sp800(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    const CK_SP800_108_KDF_PARAMS *kdf = p;

    (void)mech;
    param->kdf = kdf->prfType;
    return read_parts(kdf->pDataParams, kdf->ulNumberOfDataParams, param);
}

CK_RV km_read_sp800_feedback(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    const CK_SP800_108_FEEDBACK_KDF_PARAMS *kdf = p;

    (void)mech;
    param->kdf = kdf->prfType;
    KM_TRY(read_bytes(kdf->pIV, kdf->ulIVLen, DATA_MAX, &param->salt));
    return read_parts(kdf->pDataParams, kdf->ulNumberOfDataParams, param);
}

/* Version 2.40 has the password's length behind a pointer, by a mistake; later versions have the length itself in the
 * same place. No pointer is that small. */
CK_RV km_read_pbkdf2(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    const CK_PKCS5_PBKD2_PARAMS2 *kdf = p;
    CK_ULONG len = kdf->ulPasswordLen;

    (void)mech;
    if (len > PASSWORD_MAX)
        len = *((const CK_PKCS5_PBKD2_PARAMS *)p)->ulPasswordLen;
    KM_REQUIRE(kdf->saltSource == CKZ_SALT_SPECIFIED && kdf->iterations > 0, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(kdf->pPrfData == NULL && kdf->ulPrfDataLen == 0, CKR_MECHANISM_PARAM_INVALID);
    param->kdf = kdf->prf;
    param->iterations = kdf->iterations;
    KM_TRY(read_bytes(kdf->pSaltSourceData, kdf->ulSaltSourceDataLen, DATA_MAX, &param->salt));
    return read_bytes(kdf->pPassword, len, PASSWORD_MAX, &param->password);
}

CK_RV km_read_string(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    const CK_KEY_DERIVATION_STRING_DATA *string = p;

    (void)mech;
    return read_bytes(string->pData, string->ulLen, DATA_MAX, &param->shared_data);
}

CK_RV km_read_cbc_data(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    const CK_AES_CBC_ENCRYPT_DATA_PARAMS *data = p;

    (void)mech;
    KM_TRY(read_bytes(data->iv, sizeof(data->iv), sizeof(data->iv), &param->iv));
    return read_bytes(data->pData, data->length, DATA_MAX, &param->shared_data);
}

CK_RV km_read_bit(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    (void)mech;
    param->bits = *(const CK_EXTRACT_PARAMS *)p;
    return CKR_OK;
}

CK_RV km_read_rsa_aes(const struct km_mech *mech, const void *p, Kmw__Mechanism *param)
{
    const CK_RSA_AES_KEY_WRAP_PARAMS *wrap = p;

    KM_REQUIRE(wrap->ulAESKeyBits == 128 || wrap->ulAESKeyBits == 192 || wrap->ulAESKeyBits == 256,
               CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(wrap->pOAEPParams != NULL, CKR_MECHANISM_PARAM_INVALID);
    param->bits = wrap->ulAESKeyBits;
    return km_read_oaep(mech, wrap->pOAEPParams, param);
}
