/* SPDX-License-Identifier: Apache-2.0
 *
 * Mechanisms: one row of mech.def each. The module answers C_GetMechanismList/Info and decides from it what it does itself; the
 * server checks every use against it.
 */
#ifndef KM_COMMON_MECH_H
#define KM_COMMON_MECH_H

#include "cryptoki.h"

#include <stddef.h>

#define KM_GENERIC_SECRET_MAX 512 /* bytes of a CKK_GENERIC_SECRET key */

enum km_mech_param { KM_MP_NONE, KM_MP_IV16, KM_MP_CTR, KM_MP_GCM, KM_MP_PSS, KM_MP_OAEP };

/* What the message is put through before the key: */
enum km_mech_scheme {
    KM_MS_NONE,       /* key generation, digest */
    KM_MS_PKCS1,      /* RSASSA/RSAES PKCS#1 v1.5 */
    KM_MS_PSS, KM_MS_OAEP,
    KM_MS_ECDSA,      /* r || s, each as long as the order */
    KM_MS_CBC, KM_MS_CBC_PAD, KM_MS_CTR, KM_MS_GCM, KM_MS_ECB,
    KM_MS_HMAC,
};

struct km_mech {
    CK_MECHANISM_TYPE type;
    const char *name;          /* "CKM_ECDSA_SHA256" */
    CK_KEY_TYPE key_type;      /* KM_KEY_TYPE_ANY (attr.h) for digests */
    CK_FLAGS flags;            /* CKF_SIGN, ... as C_GetMechanismInfo tells */
    CK_ULONG min, max;         /* key size in the standard's unit for this mechanism */
    enum km_mech_scheme scheme;
    enum km_mech_param param;
    CK_MECHANISM_TYPE digest;  /* hash applied to the message first (a digest mechanism: itself), or CK_UNAVAILABLE_INFORMATION */
    const char *md;            /* OpenSSL's name of that hash, of the hash inside an HMAC, or NULL */
};

/* The row for `type`, or NULL. */
const struct km_mech *km_mech(CK_MECHANISM_TYPE type);
/* All rows in the order of the table. */
const struct km_mech *km_mechs(size_t *ret_n);
/* OpenSSL's name ("SHA256") and size (`ret_len` may be NULL) for a digest mechanism CKM_SHA..., or NULL. */
const char *km_mech_md(CK_MECHANISM_TYPE digest, size_t *ret_len);
/* The same for the hash of a mask generation function CKG_MGF1_... */
const char *km_mech_mgf_md(CK_RSA_PKCS_MGF_TYPE mgf, size_t *ret_len);

#endif
