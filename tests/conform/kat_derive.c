/* SPDX-License-Identifier: Apache-2.0
 *
 * Vectors of key wrapping, key agreement and key derivation.
 */
#include "kat.h"

#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY;
static CK_KEY_TYPE generic = CKK_GENERIC_SECRET;

/* A made secret must be these bytes: read, or where the token keeps it to itself, used. */
static void same_secret(const struct vector *v, CK_OBJECT_HANDLE key, struct bytes want)
{
    struct bytes got = {kat_alloc(4096), 4096}, mac, wanted_mac;
    CK_ATTRIBUTE read = {CKA_VALUE, got.p, got.n};
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    CK_RV rv = F->C_GetAttributeValue(kat_session, key, &read, 1);

    if (rv == CKR_ATTRIBUTE_SENSITIVE) {
        MUST(kat_sign(v, &hmac, key, want, &mac));
        MUST(kat_sign(v, &hmac, kat_secret(CKK_GENERIC_SECRET, want, CKA_SIGN, CKA_VERIFY), want, &wanted_mac));
        kat_same("another key, as its MAC shows", mac, wanted_mac);
        return;
    }
    MUST(rv);
    got.n = read.ulValueLen;
    kat_same("another key", got, want);
}

#define SECRET_TEMPLATE(name, len)                                                                                     \
    CK_ATTRIBUTE name[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)},                                           \
                           {CKA_KEY_TYPE, &generic, sizeof(generic)},                                                  \
                           {CKA_SIGN, &yes, 1},                                                                        \
                           {CKA_SENSITIVE, &no, 1},                                                                    \
                           {CKA_EXTRACTABLE, &yes, 1},                                                                 \
                           {CKA_VALUE_LEN, &(len), sizeof(CK_ULONG)}}

static CK_RV derive(CK_MECHANISM *mech, CK_OBJECT_HANDLE base, CK_ULONG len, CK_OBJECT_HANDLE *ret)
{
    SECRET_TEMPLATE(template, len);
    CK_RV rv = F->C_DeriveKey(kat_session, mech, base, template, 6, ret);

    if (rv == CKR_KEY_SIZE_RANGE || rv == CKR_ATTRIBUTE_VALUE_INVALID)
        row_skip("a key of this size");
    return rv;
}

void kat_wrap(const struct vector *v, const struct kat_file *file)
{
    bool is_botan = kat_has(v, "Output");

    if (!has(file->mechanism, CKF_WRAP | CKF_UNWRAP))
        row_skip("no wrapping");
    CK_MECHANISM mech = {file->mechanism, NULL, 0};
    struct bytes plain = kat_bytes_or_none(v, is_botan ? "Input" : "P"),
                 wrapped = kat_bytes(v, is_botan ? "Output" : "C");
    struct bytes got = {kat_alloc(plain.n + 64), plain.n + 64};
    CK_OBJECT_HANDLE by = kat_secret(CKK_AES, kat_bytes(v, is_botan ? "Key" : "K"), CKA_WRAP, CKA_UNWRAP), key = 0;
    SECRET_TEMPLATE(template, plain.n);
    CK_RV rv = F->C_UnwrapKey(kat_session, &mech, by, wrapped.p, wrapped.n, template, 5, &key);

    if (kat_has(v, "FAIL")) {
        if (rv != CKR_WRAPPED_KEY_INVALID && rv != CKR_WRAPPED_KEY_LEN_RANGE)
            row_fail("a wrong wrapping", rv);
        return;
    }
    if (rv == CKR_KEY_SIZE_RANGE || rv == CKR_WRAPPED_KEY_LEN_RANGE)
        row_skip("a key of this size");
    MUST(rv);
    same_secret(v, key, plain);
    MUST(F->C_WrapKey(kat_session, &mech, by, kat_secret(CKK_GENERIC_SECRET, plain, CKA_SIGN, CKA_VERIFY), got.p,
                      &got.n));
    kat_same("wrapped otherwise", got, wrapped);
}

/* --- agreement --- */

static const struct {
    const char *name;
    CK_BYTE oid[12];
    CK_ULONG oid_len, len;
} curves[] = {
    {"EC", {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}, 10, 32},
    {"ED", {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22}, 7, 48},
    {"EE", {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23}, 7, 66},
    {"brainpoolP256r1", {0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x07}, 11, 32},
    {"brainpoolP384r1", {0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x0b}, 11, 48},
    {"brainpoolP512r1", {0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x0d}, 11, 64},
};

static void put(CK_BYTE *to, struct bytes from, CK_ULONG len)
{
    while (from.n > len)
        from.p++, from.n--;
    memcpy(to + len - from.n, from.p, from.n);
}

static CK_OBJECT_HANDLE private_key(CK_KEY_TYPE type, CK_ATTRIBUTE params, struct bytes value)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_KEY_TYPE, &type, sizeof(type)},
                               params,
                               {CKA_VALUE, value.p, value.n},
                               {CKA_DERIVE, &yes, 1},
                               {CKA_SENSITIVE, &no, 1},
                               {CKA_EXTRACTABLE, &yes, 1}};
    CK_RV rv = F->C_CreateObject(kat_session, template, 7, &key);

    if (rv == CKR_CURVE_NOT_SUPPORTED || rv == CKR_ATTRIBUTE_VALUE_INVALID)
        row_skip("a curve that the token does not have");
    MUST(rv);
    return key;
}

/* NIST's files have pairs of ours (IUT) and the peer's (CAVS); the RFC's have A and B. */
void kat_ecdh(const struct vector *v, const struct kat_file *file)
{
    bool is_rfc = kat_has(v, "x_Z");
    const char *curve = kat_text(v, "curve"), *result = kat_text(v, "Result");
    struct bytes secret = kat_bytes(v, is_rfc ? "x_Z" : "Z");
    CK_BYTE point[1 + 2 * 66] = {0x04}, value[66] = {0};
    CK_OBJECT_HANDLE base, key = CK_INVALID_HANDLE;
    size_t c = 0;
    CK_ULONG len;

    if (curve == NULL && is_rfc)
        row_fail("no curve", CKR_OK);
    if (!is_rfc) /* [EC - SHA256] */
        for (size_t i = 0; i < v->n; i++)
            if (strlen(v->fields[i].name) > 5 && strncmp(v->fields[i].name + 2, " - SHA", 6) == 0)
                curve = v->fields[i].name;
    while (c < LEN(curves) && curve != NULL && strncmp(curve, curves[c].name, strlen(curves[c].name)) != 0)
        c++;
    if (curve == NULL || c == LEN(curves))
        row_skip("a curve that nobody needs");
    len = curves[c].len;
    put(point + 1, kat_bytes(v, is_rfc ? "x_qB" : "QsCAVSx"), len);
    put(point + 1 + len, kat_bytes(v, is_rfc ? "y_qB" : "QsCAVSy"), len);
    put(value, kat_bytes(v, is_rfc ? "dA" : "dsIUT"), len);
    CK_ECDH1_DERIVE_PARAMS params = {CKD_NULL, 0, NULL, 1 + 2 * len, point};
    CK_MECHANISM mech = {file->mechanism, &params, sizeof(params)};
    base = private_key(CKK_EC, (CK_ATTRIBUTE){CKA_EC_PARAMS, (void *)curves[c].oid, curves[c].oid_len},
                       (struct bytes){value, len});
    CK_RV rv = derive(&mech, base, len, &key);
    if (result != NULL && result[0] == 'F') { /* a point that is none, or a Z that is another */
        CK_BYTE got[66];
        CK_ATTRIBUTE read = {CKA_VALUE, got, sizeof(got)};
        if (rv == CKR_OK && F->C_GetAttributeValue(kat_session, key, &read, 1) == CKR_OK &&
            memcmp(got, secret.p, secret.n) == 0 && strstr(result, "(0") == NULL && strstr(result, "Z") != NULL)
            row_fail("a wrong Z came out", rv);
        return;
    }
    MUST(rv);
    same_secret(v, key, secret);
}

/* X25519, X448 (`extra` 1). */
void kat_montgomery(const struct vector *v, const struct kat_file *file)
{
    static CK_BYTE x25519[] = {0x06, 0x03, 0x2b, 0x65, 0x6e}, x448[] = {0x06, 0x03, 0x2b, 0x65, 0x6f};
    struct bytes point = kat_bytes(v, "INPUT_U"), want = kat_bytes(v, "OUTPUT_U");
    CK_ECDH1_DERIVE_PARAMS params = {CKD_NULL, 0, NULL, point.n, point.p};
    CK_MECHANISM mech = {file->mechanism, &params, sizeof(params)};
    CK_MECHANISM_INFO info;
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;

    if (F->C_GetMechanismInfo(the_slot, CKM_EC_MONTGOMERY_KEY_PAIR_GEN, &info) != CKR_OK)
        row_skip("no CKM_EC_MONTGOMERY_KEY_PAIR_GEN");
    MUST(derive(&mech,
                private_key(CKK_EC_MONTGOMERY, (CK_ATTRIBUTE){CKA_EC_PARAMS, file->extra == 1 ? x448 : x25519, 5},
                            kat_bytes(v, "INPUT_SCALAR")),
                want.n, &key));
    same_secret(v, key, want);
}

/* --- derivation --- */

/* `extra` 0: SHA-1, 1: SHA-256. */
void kat_hkdf(const struct vector *v, const struct kat_file *file)
{
    struct bytes salt = kat_bytes_or_none(v, "salt"), info = kat_bytes_or_none(v, "info"), want = kat_bytes(v, "OKM");
    CK_HKDF_PARAMS params = {CK_TRUE,
                             CK_TRUE,
                             file->extra == 1 ? CKM_SHA256 : CKM_SHA_1,
                             salt.n > 0 ? CKF_HKDF_SALT_DATA : CKF_HKDF_SALT_NULL,
                             salt.p,
                             salt.n,
                             0,
                             info.p,
                             info.n};
    CK_MECHANISM mech = {file->mechanism, &params, sizeof(params)};
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;

    MUST(derive(&mech, kat_secret(CKK_GENERIC_SECRET, kat_bytes(v, "IKM"), CKA_DERIVE, CKA_DERIVE), want.n, &key));
    same_secret(v, key, want);
}

void kat_kbkdf(const struct vector *v, const struct kat_file *file)
{
    static const struct {
        const char *name;
        CK_MECHANISM_TYPE prf;
        CK_KEY_TYPE key;
    } prfs[] = {{"CMAC_AES", CKM_AES_CMAC, CKK_AES},
                {"HMAC_SHA1", CKM_SHA_1_HMAC, CKK_GENERIC_SECRET},
                {"HMAC_SHA224", CKM_SHA224_HMAC, CKK_GENERIC_SECRET},
                {"HMAC_SHA256", CKM_SHA256_HMAC, CKK_GENERIC_SECRET},
                {"HMAC_SHA384", CKM_SHA384_HMAC, CKK_GENERIC_SECRET},
                {"HMAC_SHA512", CKM_SHA512_HMAC, CKK_GENERIC_SECRET}};
    const char *prf = kat_text(v, "PRF"), *where = kat_text(v, "CTRLOCATION");
    CK_SP800_108_COUNTER_FORMAT counter = {CK_FALSE, kat_number(v, "RLEN")};
    struct bytes want = kat_bytes(v, "KO"), before = {NULL, 0}, after = {NULL, 0};
    CK_PRF_DATA_PARAM data[3];
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_ULONG n = 0;
    size_t p = 0;

    while (p < LEN(prfs) && prf != NULL && strncmp(prf, prfs[p].name, strlen(prfs[p].name)) != 0)
        p++;
    if (prf == NULL || p == LEN(prfs))
        row_skip("a PRF with triple DES");
    if (where != NULL && strcmp(where, "MIDDLE_FIXED") == 0) {
        before = kat_bytes(v, "DataBeforeCtrData");
        after = kat_bytes(v, "DataAfterCtrData");
    } else if (where != NULL && strcmp(where, "AFTER_FIXED") == 0) {
        before = kat_bytes(v, "FixedInputData");
    } else {
        after = kat_bytes(v, "FixedInputData");
    }
    if (before.n > 0)
        data[n++] = (CK_PRF_DATA_PARAM){CK_SP800_108_BYTE_ARRAY, before.p, before.n};
    data[n++] = (CK_PRF_DATA_PARAM){CK_SP800_108_ITERATION_VARIABLE, &counter, sizeof(counter)};
    if (after.n > 0)
        data[n++] = (CK_PRF_DATA_PARAM){CK_SP800_108_BYTE_ARRAY, after.p, after.n};
    CK_SP800_108_KDF_PARAMS params = {prfs[p].prf, n, data, 0, NULL};
    CK_MECHANISM mech = {file->mechanism, &params, sizeof(params)};
    CK_RV rv = derive(&mech, kat_secret(prfs[p].key, kat_bytes(v, "KI"), CKA_DERIVE, CKA_DERIVE), want.n, &key);
    MUST(rv);
    same_secret(v, key, want);
}

static struct bytes text_bytes(const char *text)
{
    struct bytes b = {kat_alloc(text == NULL ? 0 : strlen(text)), 0};

    for (; text != NULL && *text != '\0'; text++) {
        bool is_zero = text[0] == '\\' && text[1] == '0';
        b.p[b.n++] = is_zero ? 0 : (CK_BYTE)*text;
        text += is_zero;
    }
    return b;
}

void kat_pbkdf2(const struct vector *v, const struct kat_file *file)
{
    struct bytes password = text_bytes(kat_text(v, "PASSWORD")), salt = text_bytes(kat_text(v, "SALT")),
                 want = kat_bytes(v, "DERIVED_KEY");
    static const struct {
        const char *name;
        CK_PKCS5_PBKD2_PSEUDO_RANDOM_FUNCTION_TYPE prf;
    } prfs[] = {{"SHA1", CKP_PKCS5_PBKD2_HMAC_SHA1},
                {"SHA224", CKP_PKCS5_PBKD2_HMAC_SHA224},
                {"SHA256", CKP_PKCS5_PBKD2_HMAC_SHA256},
                {"SHA384", CKP_PKCS5_PBKD2_HMAC_SHA384},
                {"SHA512", CKP_PKCS5_PBKD2_HMAC_SHA512}};
    const char *prf = kat_has(v, "PRF") ? kat_text(v, "PRF") : "SHA1";
    CK_PKCS5_PBKD2_PARAMS2 params = {
        CKZ_SALT_SPECIFIED, salt.p,    salt.n, kat_number(v, "ITERATIONS"), CKP_PKCS5_PBKD2_HMAC_SHA1, NULL, 0,
        password.p,         password.n};
    CK_MECHANISM mech = {file->mechanism, &params, sizeof(params)};
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    SECRET_TEMPLATE(template, want.n);

    for (size_t i = 0; i < LEN(prfs); i++)
        if (strcmp(prf, prfs[i].name) == 0)
            params.prf = prfs[i].prf;
    if (params.iterations > 1000000)
        row_skip("too many iterations");
    MUST(F->C_GenerateKey(kat_session, &mech, template, 6, &key));
    same_secret(v, key, want);
}
