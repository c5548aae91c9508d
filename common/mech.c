/* SPDX-License-Identifier: Apache-2.0
 *
 * The mechanism table as an array. Constant; any thread.
 */
#include "mech.h"

#include "attr.h"

/* clang-format off: the macros of mech.def live until its end, so the array is filled in one go */
static const struct km_mech table[] = {
#define KM_MECH(type, key_type, flags, min, max, scheme, param, digest, md) \
    {type, #type, key_type, flags, min, max, KM_MS_##scheme, KM_MP_##param, digest, md},
#include "mech.def"
#undef KM_MECH
};
/* clang-format on */

static const struct {
    CK_MECHANISM_TYPE digest;
    CK_RSA_PKCS_MGF_TYPE mgf;
    const char *md;
    size_t len;
} hashes[] = {
    {CKM_SHA_1, CKG_MGF1_SHA1, "SHA1", 20},       {CKM_SHA224, CKG_MGF1_SHA224, "SHA224", 28},
    {CKM_SHA256, CKG_MGF1_SHA256, "SHA256", 32},  {CKM_SHA384, CKG_MGF1_SHA384, "SHA384", 48},
    {CKM_SHA512, CKG_MGF1_SHA512, "SHA512", 64},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

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
    for (size_t i = 0; i < COUNT(hashes); i++) {
        if (hashes[i].digest != digest)
            continue;
        if (ret_len != NULL)
            *ret_len = hashes[i].len;
        return hashes[i].md;
    }
    return NULL;
}

const char *km_mech_mgf_md(CK_RSA_PKCS_MGF_TYPE mgf, size_t *ret_len)
{
    for (size_t i = 0; i < COUNT(hashes); i++) {
        if (hashes[i].mgf != mgf)
            continue;
        if (ret_len != NULL)
            *ret_len = hashes[i].len;
        return hashes[i].md;
    }
    return NULL;
}
