/* SPDX-License-Identifier: Apache-2.0
 *
 * The mechanism table as an array. Constant once the configuration was read; any thread.
 */
#include "mech.h"

#include "attr.h"

#include <openssl/opensslv.h>

/* clang-format off: the macros of mech.def live until its end, so the array is filled in one go */
static struct km_mech table[] = {
#define KM_MECH(type, key_type, flags, min, max, scheme, param, digest, md) \
    {type, #type, key_type, flags, min, max, KM_MS_##scheme, KM_MP_##param, digest, md},
#include "mech.def"
#undef KM_MECH
};
/* clang-format on */

const struct km_hash km_hashes[KM_HASHES] = {
#define KM_HASH(digest, mgf, md, len, oid) {digest, mgf, md, len, oid},
#include "hash.def"
#undef KM_HASH
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

void km_mech_allow_sha1_signatures(void)
{
    for (size_t i = 0; i < COUNT(table); i++)
        if ((table[i].flags & CKF_VERIFY) && table[i].digest == CKM_SHA_1)
            table[i].flags |= CKF_SIGN;
}

const struct km_mech *km_mech(CK_MECHANISM_TYPE type)
{
    for (size_t i = 0; i < COUNT(table); i++)
        if (table[i].type == type)
            return &table[i];
    return NULL;
}

const struct km_mech *km_mechs(size_t *ret_n)
{
    *ret_n = COUNT(table);
    return table;
}

const char *km_mech_md(CK_MECHANISM_TYPE digest, size_t *ret_len)
{
    for (size_t i = 0; i < KM_HASHES; i++) {
        if (km_hashes[i].digest != digest)
            continue;
        if (ret_len != NULL)
            *ret_len = km_hashes[i].len;
        return km_hashes[i].md;
    }
    return NULL;
}

const char *km_mech_mgf_md(CK_RSA_PKCS_MGF_TYPE mgf, size_t *ret_len)
{
    for (size_t i = 0; i < KM_HASHES; i++) {
        if (mgf == 0 || km_hashes[i].mgf != mgf)
            continue;
        if (ret_len != NULL)
            *ret_len = km_hashes[i].len;
        return km_hashes[i].md;
    }
    return NULL;
}

bool km_mech_takes(const struct km_mech *mech, CK_KEY_TYPE type)
{
    return mech->key_type == type || (mech->scheme == KM_MS_HMAC && type == CKK_GENERIC_SECRET);
}

/* Bytes of secret keys. */
static const struct secret_type {
    CK_KEY_TYPE type;
    size_t min, max, step;
} secret_types[] = {
    {CKK_AES, 16, 32, 8},
    {CKK_AES_XTS, 32, 64, 32},
    {CKK_CHACHA20, 32, 32, 1},
    {CKK_GENERIC_SECRET, 1, KM_GENERIC_SECRET_MAX, 1},
    {CKK_SHA_1_HMAC, 1, KM_GENERIC_SECRET_MAX, 1},
    {CKK_SHA224_HMAC, 1, KM_GENERIC_SECRET_MAX, 1},
    {CKK_SHA256_HMAC, 1, KM_GENERIC_SECRET_MAX, 1},
    {CKK_SHA384_HMAC, 1, KM_GENERIC_SECRET_MAX, 1},
    {CKK_SHA512_HMAC, 1, KM_GENERIC_SECRET_MAX, 1},
    {CKK_SHA512_224_HMAC, 1, KM_GENERIC_SECRET_MAX, 1},
    {CKK_SHA512_256_HMAC, 1, KM_GENERIC_SECRET_MAX, 1},
    {CKK_SHA3_224_HMAC, 1, KM_GENERIC_SECRET_MAX, 1},
    {CKK_SHA3_256_HMAC, 1, KM_GENERIC_SECRET_MAX, 1},
    {CKK_SHA3_384_HMAC, 1, KM_GENERIC_SECRET_MAX, 1},
    {CKK_SHA3_512_HMAC, 1, KM_GENERIC_SECRET_MAX, 1},
    {CKK_HKDF, 1, KM_GENERIC_SECRET_MAX, 1},
};

static const struct secret_type *secret_type(CK_KEY_TYPE type)
{
    for (size_t i = 0; i < COUNT(secret_types); i++)
        if (secret_types[i].type == type)
            return &secret_types[i];
    return NULL;
}

bool km_secret_type_is_known(CK_KEY_TYPE type)
{
    return secret_type(type) != NULL;
}

bool km_secret_len_is_good(CK_KEY_TYPE type, size_t len)
{
    const struct secret_type *row = secret_type(type);

    return row != NULL && len >= row->min && len <= row->max && (len - row->min) % row->step == 0;
}

size_t km_secret_len_fixed(CK_KEY_TYPE type)
{
    const struct secret_type *row = secret_type(type);

    return row != NULL && row->min == row->max ? row->min : 0;
}
