/* SPDX-License-Identifier: Apache-2.0
 *
 * Mechanisms: one row of mech.def each. The module answers C_GetMechanismList/Info and decides from it what it does itself; the
 * server checks every use against it.
 */
#ifndef KM_COMMON_MECH_H
#define KM_COMMON_MECH_H

#include "cryptoki.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_GENERIC_SECRET_MAX 512 /* bytes of a CKK_GENERIC_SECRET key */

enum km_mech_param {
    KM_MP_NONE, KM_MP_PSS, KM_MP_OAEP, KM_MP_EDDSA,
    KM_MP_CONTEXT, KM_MP_HASH_CONTEXT, /* CK_SIGN_ADDITIONAL_CONTEXT, may be left out; CK_HASH_SIGN_ADDITIONAL_CONTEXT */
    KM_MP_IV16, KM_MP_IV8, KM_MP_IV4, /* of that many bytes; the last two may be left out */
    KM_MP_CTR, KM_MP_GCM, KM_MP_CCM, KM_MP_CHACHA20, KM_MP_CHACHA20_POLY1305,
    KM_MP_MAC_LEN,                    /* CK_MAC_GENERAL_PARAMS */
    /* keys from keys */
    KM_MP_ECDH, KM_MP_HKDF, KM_MP_SP800, KM_MP_SP800_FEEDBACK, KM_MP_PBKDF2,
    KM_MP_STRING, KM_MP_CBC_DATA,     /* CK_KEY_DERIVATION_STRING_DATA, CK_AES_CBC_ENCRYPT_DATA_PARAMS */
    KM_MP_HANDLE, KM_MP_BIT,          /* CK_OBJECT_HANDLE, CK_EXTRACT_PARAMS */
    KM_MP_RSA_AES,
};

/* What the message is put through before the key: */
enum km_mech_scheme {
    KM_MS_NONE,       /* key generation, digest */
    KM_MS_PKCS1,      /* RSASSA/RSAES PKCS#1 v1.5 */
    KM_MS_PSS, KM_MS_OAEP,
    KM_MS_RAW,        /* RSA: the number itself */
    KM_MS_ECDSA,      /* r || s, each as long as the order */
    KM_MS_MESSAGE,    /* the key takes the whole message: EdDSA, ML-DSA, SLH-DSA (signature.h) */
    KM_MS_PREHASH,    /* HashML-DSA, HashSLH-DSA */
    KM_MS_ECB, KM_MS_CBC, KM_MS_CBC_PAD, KM_MS_CTS, KM_MS_CTR, KM_MS_OFB, KM_MS_CFB8, KM_MS_CFB128, KM_MS_XTS,
    KM_MS_GCM, KM_MS_CCM, KM_MS_CHACHA20, KM_MS_CHACHA20_POLY1305,
    KM_MS_KW, KM_MS_KWP, KM_MS_KW_PKCS7, /* SP 800-38F: whole semiblocks, KWP, PKCS#7 padding before KW */
    KM_MS_HMAC, KM_MS_CMAC, KM_MS_GMAC,
    /* keys from keys: crypto_derive.c, builtin_make.c */
    KM_MS_ECDH, KM_MS_HKDF, KM_MS_SP800_COUNTER, KM_MS_SP800_FEEDBACK, KM_MS_SP800_DOUBLE, KM_MS_PBKDF2,
    KM_MS_CONCAT_KEY, KM_MS_CONCAT_DATA, KM_MS_DATA_CONCAT, KM_MS_XOR, KM_MS_EXTRACT,
    KM_MS_ENCRYPT_DATA, KM_MS_HASH, KM_MS_SHAKE,
    KM_MS_RSA_AES_WRAP, KM_MS_KEM, /* ML-KEM */
    KM_MS_COUNT
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
    const char *md;            /* OpenSSL's name of that hash, of the one inside an HMAC or PREHASH, or NULL */
};

/* The row for `type`, or NULL. */
const struct km_mech *km_mech(CK_MECHANISM_TYPE type);
/* Lets mechanisms that hash with SHA-1 sign too (sha1_signatures = yes). While the configuration is read, before other threads. */
void km_mech_allow_sha1_signatures(void);
/* All rows in the order of the table. */
const struct km_mech *km_mechs(size_t *ret_n);

/* One row of hash.def. */
struct km_hash {
    CK_MECHANISM_TYPE digest;
    CK_RSA_PKCS_MGF_TYPE mgf; /* 0: none */
    const char *md;           /* OpenSSL's name */
    size_t len;               /* bytes */
    uint8_t oid;              /* last octet of 2.16.840.1.101.3.4.2.x; 0: SHA-1 */
};
enum km_hash_index {
#define KM_HASH(digest, mgf, md, len, oid) KM_HASH_##digest,
#include "hash.def"
#undef KM_HASH
    KM_HASHES
};
extern const struct km_hash km_hashes[KM_HASHES];
/* Whether keys of `type` work with the mechanism. */
bool km_mech_takes(const struct km_mech *mech, CK_KEY_TYPE type);
/* Whether a secret key of `type` may be `len` bytes long; false also for types that are none of ours. */
bool km_secret_len_is_good(CK_KEY_TYPE type, size_t len);
/* Whether `type` is one of secret keys that can be kept. */
bool km_secret_type_is_known(CK_KEY_TYPE type);
/* The one length of keys of `type`, or 0: there are several, or none. */
size_t km_secret_len_fixed(CK_KEY_TYPE type);
/* OpenSSL's name ("SHA256") and size (`ret_len` may be NULL) for a digest mechanism CKM_SHA..., or NULL. */
const char *km_mech_md(CK_MECHANISM_TYPE digest, size_t *ret_len);
/* The same for the hash of a mask generation function CKG_MGF1_... */
const char *km_mech_mgf_md(CK_RSA_PKCS_MGF_TYPE mgf, size_t *ret_len);

#endif
