/* SPDX-License-Identifier: Apache-2.0
 *
 * Vectors of RSA, ECDSA and EdDSA.
 */
#include "kat.h"

#include <stdio.h>
#include <stdlib.h>

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

/* --- which mechanism a hash's name means --- */

static const struct {
    const char *name;
    unsigned bits;
    CK_MECHANISM_TYPE digest, pkcs, pss, ecdsa;
    CK_RSA_PKCS_MGF_TYPE mgf;
} hashes[] = {
    {"SHA1", 1, CKM_SHA_1, CKM_SHA1_RSA_PKCS, CKM_SHA1_RSA_PKCS_PSS, CKM_ECDSA_SHA1, CKG_MGF1_SHA1},
    {"SHA224", 224, CKM_SHA224, CKM_SHA224_RSA_PKCS, CKM_SHA224_RSA_PKCS_PSS, CKM_ECDSA_SHA224, CKG_MGF1_SHA224},
    {"SHA256", 256, CKM_SHA256, CKM_SHA256_RSA_PKCS, CKM_SHA256_RSA_PKCS_PSS, CKM_ECDSA_SHA256, CKG_MGF1_SHA256},
    {"SHA384", 384, CKM_SHA384, CKM_SHA384_RSA_PKCS, CKM_SHA384_RSA_PKCS_PSS, CKM_ECDSA_SHA384, CKG_MGF1_SHA384},
    {"SHA512", 512, CKM_SHA512, CKM_SHA512_RSA_PKCS, CKM_SHA512_RSA_PKCS_PSS, CKM_ECDSA_SHA512, CKG_MGF1_SHA512},
    {"SHA3-224", 3224, CKM_SHA3_224, CKM_SHA3_224_RSA_PKCS, CKM_SHA3_224_RSA_PKCS_PSS, CKM_ECDSA_SHA3_224,
     CKG_MGF1_SHA3_224},
    {"SHA3-256", 3256, CKM_SHA3_256, CKM_SHA3_256_RSA_PKCS, CKM_SHA3_256_RSA_PKCS_PSS, CKM_ECDSA_SHA3_256,
     CKG_MGF1_SHA3_256},
    {"SHA3-384", 3384, CKM_SHA3_384, CKM_SHA3_384_RSA_PKCS, CKM_SHA3_384_RSA_PKCS_PSS, CKM_ECDSA_SHA3_384,
     CKG_MGF1_SHA3_384},
    {"SHA3-512", 3512, CKM_SHA3_512, CKM_SHA3_512_RSA_PKCS, CKM_SHA3_512_RSA_PKCS_PSS, CKM_ECDSA_SHA3_512,
     CKG_MGF1_SHA3_512},
};

static size_t hash_by_name(const char *name)
{
    for (size_t i = 0; name != NULL && i < LEN(hashes); i++)
        if (strcmp(name, hashes[i].name) == 0)
            return i;
    row_skip("another hash");
}

static size_t hash_by_bits(CK_ULONG bits)
{
    for (size_t i = 0; i < LEN(hashes); i++)
        if (hashes[i].bits == bits)
            return i;
    row_skip("another hash");
}

/* --- keys --- */

static struct bytes number(struct bytes b) /* without leading zeros */
{
    while (b.n > 1 && b.p[0] == 0)
        b.p++, b.n--;
    return b;
}

static CK_OBJECT_HANDLE rsa_public(struct bytes modulus, struct bytes exponent)
{
    CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    CK_KEY_TYPE type = CKK_RSA;
    struct bytes n = number(modulus), e = number(exponent);
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_KEY_TYPE, &type, sizeof(type)},
                               {CKA_MODULUS, n.p, n.n},
                               {CKA_PUBLIC_EXPONENT, e.p, e.n},
                               {CKA_VERIFY, &yes, 1}};
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_RV rv = F->C_CreateObject(kat_session, template, 5, &key);

    if (rv == CKR_ATTRIBUTE_VALUE_INVALID || rv == CKR_KEY_SIZE_RANGE)
        row_skip("a key of this size");
    MUST(rv);
    return key;
}

static CK_OBJECT_HANDLE rsa_private(const struct vector *v, CK_ATTRIBUTE_TYPE use)
{
    static const struct {
        const char *name;
        CK_ATTRIBUTE_TYPE type;
    } parts[] = {{"Modulus", CKA_MODULUS},
                 {"Public exponent", CKA_PUBLIC_EXPONENT},
                 {"Exponent", CKA_PRIVATE_EXPONENT},
                 {"Prime 1", CKA_PRIME_1},
                 {"Prime 2", CKA_PRIME_2},
                 {"Prime exponent 1", CKA_EXPONENT_1},
                 {"Prime exponent 2", CKA_EXPONENT_2},
                 {"Coefficient", CKA_COEFFICIENT}};
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_KEY_TYPE type = CKK_RSA;
    CK_ATTRIBUTE template[12] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)}, {use, &yes, 1}, {CKA_TOKEN, &no, 1}};
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_RV rv;

    for (size_t i = 0; i < LEN(parts); i++) {
        struct bytes b = number(kat_bytes(v, parts[i].name));
        template[4 + i] = (CK_ATTRIBUTE){parts[i].type, b.p, b.n};
    }
    rv = F->C_CreateObject(kat_session, template, 12, &key);
    if (rv == CKR_ATTRIBUTE_VALUE_INVALID || rv == CKR_KEY_SIZE_RANGE)
        row_skip("a key of this size");
    MUST(rv);
    return key;
}

/* --- verdicts --- */

static bool is_good(const struct vector *v)
{
    const char *result = kat_text(v, "Result");

    return result == NULL || result[0] == 'P';
}

static void expect(CK_RV rv, bool is_right)
{
    if (rv == CKR_KEY_SIZE_RANGE)
        row_skip("a key of this size");
    if (is_right)
        MUST(rv);
    else if (rv != CKR_SIGNATURE_INVALID && rv != CKR_SIGNATURE_LEN_RANGE)
        row_fail("a wrong signature", rv);
}

/* A mechanism that the token does not list is not tested by this vector. */
static void need_verify(CK_MECHANISM_TYPE type)
{
    if (!has(type, CKF_VERIFY))
        row_skip("a hash that the token does not verify with");
}

void kat_rsa_verify(const struct vector *v, const struct kat_file *file)
{
    CK_MECHANISM mech = {hashes[hash_by_name(kat_text(v, "SHAAlg"))].pkcs, NULL, 0};
    CK_OBJECT_HANDLE key;

    (void)file;
    need_verify(mech.mechanism);
    key = rsa_public(kat_bytes(v, "n"), kat_bytes(v, "e"));
    expect(kat_verify(v, &mech, key, kat_bytes(v, "Msg"), kat_bytes(v, "S")), is_good(v));
}

/* `extra`: the salt's length. */
void kat_pss_verify(const struct vector *v, const struct kat_file *file)
{
    size_t h = hash_by_name(kat_text(v, "SHAAlg"));
    CK_RSA_PKCS_PSS_PARAMS params = {hashes[h].digest, hashes[h].mgf, file->extra};
    CK_MECHANISM mech = {hashes[h].pss, &params, sizeof(params)};
    CK_OBJECT_HANDLE key;

    need_verify(mech.mechanism);
    key = rsa_public(kat_bytes(v, "n"), kat_bytes(v, "e"));
    expect(kat_verify(v, &mech, key, kat_bytes(v, "Msg"), kat_bytes(v, "S")), is_good(v));
}

/* RSA Laboratories' own: SHA-1; `extra` is PSS's salt's length. */
void kat_rsa_signature(const struct vector *v, const struct kat_file *file)
{
    CK_RSA_PKCS_PSS_PARAMS params = {CKM_SHA_1, CKG_MGF1_SHA1, file->extra};
    CK_MECHANISM mech = {file->mechanism, NULL, 0};

    if (file->extra != 0)
        mech = (CK_MECHANISM){file->mechanism, &params, sizeof(params)};
    expect(kat_verify(v, &mech, rsa_public(kat_bytes(v, "Modulus"), kat_bytes(v, "Public exponent")),
                      kat_bytes(v, "Message"), kat_bytes(v, "Signature")),
           true);
}

static void decrypt(const struct vector *v, CK_MECHANISM *mech)
{
    struct bytes cipher = kat_bytes(v, "Encryption"), got = {kat_alloc(1024), 1024};
    CK_RV rv = F->C_DecryptInit(kat_session, mech, rsa_private(v, CKA_DECRYPT));

    if (rv == CKR_KEY_SIZE_RANGE)
        row_skip("a key of this size");
    MUST(rv);
    MUST(F->C_Decrypt(kat_session, cipher.p, cipher.n, got.p, &got.n));
    kat_same("decrypted otherwise", got, kat_bytes(v, "Message"));
}

void kat_rsa_decrypt(const struct vector *v, const struct kat_file *file)
{
    decrypt(v, &(CK_MECHANISM){file->mechanism, NULL, 0});
}

/* `extra`: the bits of the hash, and 1000 times those of the mask's hash; as the files are named: mask first. */
void kat_oaep(const struct vector *v, const struct kat_file *file)
{
    size_t hash = hash_by_bits(file->extra % 1000), mask = hash_by_bits(file->extra / 1000);
    CK_RSA_PKCS_OAEP_PARAMS params = {hashes[mask].digest, hashes[hash].mgf, CKZ_DATA_SPECIFIED, NULL, 0};

    decrypt(v, &(CK_MECHANISM){file->mechanism, &params, sizeof(params)});
}

/* --- elliptic curves --- */

static const struct {
    const char *name;
    CK_BYTE oid[12];
    CK_ULONG oid_len, len; /* len: bytes of a coordinate */
} curves[] = {
    {"P-256", {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}, 10, 32},
    {"P-384", {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22}, 7, 48},
    {"P-521", {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23}, 7, 66},
    {"K-256", {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a}, 7, 32},
};

static void pad(CK_BYTE *to, struct bytes from, CK_ULONG len)
{
    from = number(from);
    if (from.n > len)
        row_fail("a coordinate that is too long", CKR_OK);
    memset(to, 0, len);
    memcpy(to + len - from.n, from.p, from.n);
}

void kat_ecdsa(const struct vector *v, const struct kat_file *file)
{
    const char *section = kat_text(v, "curve"), *hash = section == NULL ? NULL : strchr(section, ',');
    CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    CK_KEY_TYPE type = CKK_EC;
    CK_BYTE point[3 + 1 + 2 * 66], *p = point, sig[2 * 66];
    char name[16] = "";
    size_t c = 0;
    CK_ULONG len;
    CK_RV rv;

    (void)file;
    section = section == NULL ? kat_text(v, "curve") : section;
    if (hash == NULL)
        row_fail("no curve", CKR_OK);
    while (c < LEN(curves) && strncmp(section, curves[c].name, strlen(curves[c].name)) != 0)
        c++;
    if (c == LEN(curves))
        row_skip("a curve that nobody needs");
    /* ",SHA-256" is SHA256, ",SHA3-256" stays */
    snprintf(name, sizeof(name), "%s%s", strncmp(hash + 1, "SHA-", 4) == 0 ? "SHA" : "",
             hash + (strncmp(hash + 1, "SHA-", 4) == 0 ? 5 : 1));
    CK_MECHANISM mech = {hashes[hash_by_name(name)].ecdsa, NULL, 0};
    need_verify(mech.mechanism);
    len = curves[c].len;
    *p++ = 0x04;
    if (1 + 2 * len > 127)
        *p++ = 0x81;
    *p++ = (CK_BYTE)(1 + 2 * len);
    *p++ = 0x04;
    pad(p, kat_bytes(v, "Qx"), len);
    pad(p + len, kat_bytes(v, "Qy"), len);
    pad(sig, kat_bytes(v, "R"), len);
    pad(sig + len, kat_bytes(v, "S"), len);
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_KEY_TYPE, &type, sizeof(type)},
                               {CKA_EC_PARAMS, (void *)curves[c].oid, curves[c].oid_len},
                               {CKA_EC_POINT, point, (CK_ULONG)(p - point) + 2 * len},
                               {CKA_VERIFY, &yes, 1}};
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    rv = F->C_CreateObject(kat_session, template, 5, &key);
    if (rv != CKR_OK && !is_good(v))
        return; /* the vector's key may be no point */
    if (rv == CKR_CURVE_NOT_SUPPORTED || rv == CKR_ATTRIBUTE_VALUE_INVALID)
        row_skip("a curve that the token does not have");
    MUST(rv);
    rv = kat_verify(v, &mech, key, kat_bytes(v, "Msg"), (struct bytes){sig, 2 * len});
    if (is_good(v))
        MUST(rv);
    else if (rv == CKR_OK)
        row_fail("a wrong signature", rv);
}

/* `extra`: 0 Ed25519 (value, public, message, signature || message), 1 Ed448. */
void kat_eddsa(const struct vector *v, const struct kat_file *file)
{
    static CK_BYTE ed25519[] = {0x06, 0x03, 0x2b, 0x65, 0x70}, ed448[] = {0x06, 0x03, 0x2b, 0x65, 0x71};
    bool is_448 = file->extra == 1;
    struct bytes value = kat_bytes(v, is_448 ? "SECRET" : "0"), public = kat_bytes(v, is_448 ? "PUBLIC" : "1"),
                 message = kat_bytes(v, is_448 ? "MESSAGE" : "2"), signature = kat_bytes(v, is_448 ? "SIGNATURE" : "3"),
                 context = kat_bytes_or_none(v, "CONTEXT"), got;
    CK_OBJECT_CLASS class = CKO_PUBLIC_KEY, private_class = CKO_PRIVATE_KEY;
    CK_KEY_TYPE type = CKK_EC_EDWARDS;
    CK_BYTE point[2 + 57] = {0x04, (CK_BYTE) public.n};
    CK_EDDSA_PARAMS params = {CK_FALSE, context.n, context.p};
    CK_MECHANISM mech = {CKM_EDDSA, NULL, 0};
    CK_ATTRIBUTE curve = {CKA_EC_PARAMS, is_448 ? ed448 : ed25519, sizeof(ed448)};
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    struct vector whole = *v;

    v = &whole;
    whole.index = 0; /* the mechanism knows no parts */
    if (is_448)
        mech = (CK_MECHANISM){CKM_EDDSA, &params, sizeof(params)};
    else
        signature.n = 64;
    value.n = is_448 ? 57 : 32;
    memcpy(point + 2, public.p, public.n);
    CK_ATTRIBUTE of_public[] = {{CKA_CLASS, &class, sizeof(class)},
                                {CKA_KEY_TYPE, &type, sizeof(type)},
                                curve,
                                {CKA_EC_POINT, point, 2 + public.n},
                                {CKA_VERIFY, &yes, 1}};
    CK_ATTRIBUTE of_private[] = {{CKA_CLASS, &private_class, sizeof(class)},
                                 {CKA_KEY_TYPE, &type, sizeof(type)},
                                 curve,
                                 {CKA_VALUE, value.p, value.n},
                                 {CKA_SIGN, &yes, 1}};
    MUST(F->C_CreateObject(kat_session, of_public, 5, &key));
    CK_RV rv = kat_verify(v, &mech, key, message, signature);
    if (context.n > 0 && rv == CKR_MECHANISM_PARAM_INVALID)
        row_skip("a context, which the token's OpenSSL cannot");
    MUST(rv);
    signature.p[3] ^= 1;
    CHECK(kat_verify(v, &mech, key, message, signature) == CKR_SIGNATURE_INVALID);
    signature.p[3] ^= 1;
    rv = F->C_CreateObject(kat_session, of_private, 5, &key);
    MUST(rv);
    MUST(kat_sign(v, &mech, key, message, &got));
    kat_same("another signature", got, signature);
}
