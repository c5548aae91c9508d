/* SPDX-License-Identifier: Apache-2.0
 *
 * Making, wrapping, unwrapping and deriving keys (v2.40 5.14).
 */
#include "keys.h"

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_ULONG aes_len = 32, bad_len = 17, rsa_bits = 2048, tiny_bits = 17;
static CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY, data_class = CKO_DATA;
static CK_KEY_TYPE aes_type = CKK_AES;
static CK_MECHANISM aes_gen = {CKM_AES_KEY_GEN, NULL, 0}, ec_gen = {CKM_EC_KEY_PAIR_GEN, NULL, 0},
                    rsa_gen = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
static CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};

/* --- C_GenerateKey --- */

static CK_RV generate(CK_SESSION_HANDLE s, CK_MECHANISM *mech, CK_ATTRIBUTE *template, CK_ULONG n)
{
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_RV rv = F->C_GenerateKey(s, mech, template, n, &key);

    if (rv == CKR_OK)
        CHECK(key != CK_INVALID_HANDLE);
    return rv;
}
static CK_RV generate_aes(CK_SESSION_HANDLE s, CK_ATTRIBUTE more)
{
    CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &aes_len, sizeof(aes_len)}, more};

    return generate(s, &aes_gen, template, 2);
}

ROW(C_GenerateKey, CKR_OK, "AES: local, never extractable, always sensitive; mechanism and type are right")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key;
    CK_BBOOL local = 0, always = 0, never = 0;
    CK_KEY_TYPE type = 0;
    CK_MECHANISM_TYPE by = 0;
    CK_ATTRIBUTE template[] = {
        {CKA_VALUE_LEN, &aes_len, sizeof(aes_len)}, {CKA_SENSITIVE, &yes, 1}, {CKA_EXTRACTABLE, &no, 1}};
    CK_ATTRIBUTE read[] = {{CKA_LOCAL, &local, 1},
                           {CKA_ALWAYS_SENSITIVE, &always, 1},
                           {CKA_NEVER_EXTRACTABLE, &never, 1},
                           {CKA_KEY_TYPE, &type, sizeof(type)},
                           {CKA_KEY_GEN_MECHANISM, &by, sizeof(by)}};
    CK_RV rv = F->C_GenerateKey(s, &aes_gen, template, 3, &key);

    MUST(F->C_GetAttributeValue(s, key, read, 5));
    CHECK(local && always && never && type == CKK_AES && by == CKM_AES_KEY_GEN);
    return rv;
}
ROW(C_GenerateKey, CKR_OK, "a class and a type that fit the mechanism")
{
    CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &aes_len, sizeof(aes_len)},
                               {CKA_CLASS, &secret_class, sizeof(secret_class)},
                               {CKA_KEY_TYPE, &aes_type, sizeof(aes_type)}};

    return generate(open_user(), &aes_gen, template, 3);
}
ROW(C_GenerateKey, CKR_MECHANISM_INVALID, "a mechanism that does not exist")
{
    return generate(open_user(), &(CK_MECHANISM){NO_MECHANISM, NULL, 0}, NULL, 0);
}
ROW(C_GenerateKey, CKR_MECHANISM_INVALID, "a mechanism that makes pairs")
{
    return generate(open_user(), &ec_gen, NULL, 0);
}
ROW(C_GenerateKey, CKR_MECHANISM_PARAM_INVALID, "AES with a parameter")
{
    CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &aes_len, sizeof(aes_len)}};

    return generate(open_user(), &(CK_MECHANISM){CKM_AES_KEY_GEN, p256, sizeof(p256)}, template, 1);
}
ROW(C_GenerateKey, CKR_TEMPLATE_INCOMPLETE, "AES without length")
{
    return generate(open_user(), &aes_gen, NULL, 0);
}
ROW_OR(C_GenerateKey, CKR_ATTRIBUTE_VALUE_INVALID, CKR_KEY_SIZE_RANGE, "AES of 17 bytes")
{
    CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &bad_len, sizeof(bad_len)}};

    return generate(open_user(), &aes_gen, template, 1);
}
ROW(C_GenerateKey, CKR_TEMPLATE_INCONSISTENT, "another class")
{
    return generate_aes(open_user(), (CK_ATTRIBUTE){CKA_CLASS, &data_class, sizeof(data_class)});
}
ROW_OR(C_GenerateKey, CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT, "a value")
{
    return generate_aes(open_user(), (CK_ATTRIBUTE){CKA_VALUE, p256, sizeof(p256)});
}
ROW_OR(C_GenerateKey, CKR_ATTRIBUTE_TYPE_INVALID, CKR_TEMPLATE_INCONSISTENT, "an attribute that does not exist")
{
    return generate_aes(open_user(), (CK_ATTRIBUTE){0x0fff0000, p256, 1});
}
ROW_OR(C_GenerateKey, CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT, "a boolean of four bytes")
{
    return generate_aes(open_user(), (CK_ATTRIBUTE){CKA_ENCRYPT, p256, 4});
}
ROW(C_GenerateKey, CKR_SESSION_READ_ONLY, "a token key in a read-only session")
{
    CK_SESSION_HANDLE s = open_ro();

    MUST(F->C_Login(s, CKU_USER, TEXT(user_pin)));
    return generate_aes(s, (CK_ATTRIBUTE){CKA_TOKEN, &yes, 1});
}
ROW(C_GenerateKey, CKR_USER_NOT_LOGGED_IN, "a private key, nobody logged in")
{
    return generate_aes(open_rw(), (CK_ATTRIBUTE){CKA_PRIVATE, &yes, 1});
}
ROW(C_GenerateKey, CKR_ARGUMENTS_BAD, "phKey is NULL")
{
    CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &aes_len, sizeof(aes_len)}};

    return F->C_GenerateKey(open_user(), &aes_gen, template, 1, NULL);
}
ROW(C_GenerateKey, CKR_ARGUMENTS_BAD, "pMechanism is NULL")
{
    CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &aes_len, sizeof(aes_len)}};

    return generate(open_user(), NULL, template, 1);
}
ROW(C_GenerateKey, CKR_ARGUMENTS_BAD, "pTemplate is NULL, ulCount is not 0")
{
    return generate(open_user(), &aes_gen, NULL, 2);
}

/* --- C_GenerateKeyPair --- */

static CK_RV generate_pair(CK_SESSION_HANDLE s, CK_MECHANISM *mech, CK_ATTRIBUTE public, CK_ATTRIBUTE private)
{
    CK_OBJECT_HANDLE one = CK_INVALID_HANDLE, two = CK_INVALID_HANDLE;
    CK_RV rv =
        F->C_GenerateKeyPair(s, mech, &public, public.type == CKA_VENDOR_DEFINED ? 0 : 1, &private, 1, &one, &two);

    if (rv == CKR_OK)
        CHECK(one != CK_INVALID_HANDLE && two != CK_INVALID_HANDLE && one != two);
    return rv;
}
static CK_ATTRIBUTE curve = {CKA_EC_PARAMS, p256, sizeof(p256)}, sign = {CKA_SIGN, &yes, 1},
                    nothing = {CKA_VENDOR_DEFINED, NULL, 0};

ROW(C_GenerateKeyPair, CKR_OK, "EC P-256; the point can be read, the private value cannot")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE one = 0, two = 0;
    CK_ATTRIBUTE read = {CKA_EC_POINT, NULL, 0}, secret = {CKA_VALUE, NULL, 0};
    CK_ATTRIBUTE sensitive = {CKA_SENSITIVE, &yes, 1};
    CK_RV rv = F->C_GenerateKeyPair(s, &ec_gen, &curve, 1, &sensitive, 1, &one, &two);

    MUST(F->C_GetAttributeValue(s, one, &read, 1));
    CHECK(read.ulValueLen == 67);
    CHECK(F->C_GetAttributeValue(s, two, &secret, 1) == CKR_ATTRIBUTE_SENSITIVE);
    return rv;
}
ROW(C_GenerateKeyPair, CKR_OK, "RSA 2048 without a public exponent: 65537")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE one = 0, two = 0;
    CK_BYTE e[8];
    CK_ATTRIBUTE bits = {CKA_MODULUS_BITS, &rsa_bits, sizeof(rsa_bits)}, read = {CKA_PUBLIC_EXPONENT, e, sizeof(e)};
    CK_RV rv = F->C_GenerateKeyPair(s, &rsa_gen, &bits, 1, &sign, 1, &one, &two);

    if (rv != CKR_OK)
        return rv;
    MUST(F->C_GetAttributeValue(s, one, &read, 1));
    CHECK(read.ulValueLen == 3 && memcmp(e, "\1\0\1", 3) == 0);
    return rv;
}
ROW(C_GenerateKeyPair, CKR_MECHANISM_INVALID, "a mechanism that does not exist")
{
    return generate_pair(open_user(), &(CK_MECHANISM){NO_MECHANISM, NULL, 0}, curve, sign);
}
ROW(C_GenerateKeyPair, CKR_MECHANISM_INVALID, "a mechanism that makes one key")
{
    return generate_pair(open_user(), &aes_gen, curve, sign);
}
ROW(C_GenerateKeyPair, CKR_TEMPLATE_INCOMPLETE, "EC without curve")
{
    return generate_pair(open_user(), &ec_gen, nothing, sign);
}
ROW(C_GenerateKeyPair, CKR_TEMPLATE_INCOMPLETE, "RSA without size")
{
    return generate_pair(open_user(), &rsa_gen, nothing, sign);
}
ROW_OR(C_GenerateKeyPair, CKR_KEY_SIZE_RANGE, CKR_ATTRIBUTE_VALUE_INVALID, "RSA of 17 bits")
{
    return generate_pair(open_user(), &rsa_gen, (CK_ATTRIBUTE){CKA_MODULUS_BITS, &tiny_bits, sizeof(tiny_bits)}, sign);
}
ROW(C_GenerateKeyPair, CKR_CURVE_NOT_SUPPORTED, "EC on a curve that does not exist")
{
    static CK_BYTE oid[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x77};

    return generate_pair(open_user(), &ec_gen, (CK_ATTRIBUTE){CKA_EC_PARAMS, oid, sizeof(oid)}, sign);
}
ROW_OR(C_GenerateKeyPair, CKR_DOMAIN_PARAMS_INVALID, CKR_CURVE_NOT_SUPPORTED, "EC on bytes that are no parameters")
{
    return generate_pair(open_user(), &ec_gen, (CK_ATTRIBUTE){CKA_EC_PARAMS, "\x55\x55", 2}, sign);
}
ROW_OR(C_GenerateKeyPair, CKR_DOMAIN_PARAMS_INVALID, CKR_ATTRIBUTE_VALUE_INVALID, "EC on no bytes")
{
    return generate_pair(open_user(), &ec_gen, (CK_ATTRIBUTE){CKA_EC_PARAMS, NULL, 0}, sign);
}
ROW_OR(C_GenerateKeyPair, CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_VALUE_INVALID, "the private half of another class")
{
    return generate_pair(open_user(), &ec_gen, curve, (CK_ATTRIBUTE){CKA_CLASS, &data_class, sizeof(data_class)});
}
ROW(C_GenerateKeyPair, CKR_SESSION_READ_ONLY, "a token key in a read-only session")
{
    CK_SESSION_HANDLE s = open_ro();

    MUST(F->C_Login(s, CKU_USER, TEXT(user_pin)));
    return generate_pair(s, &ec_gen, curve, (CK_ATTRIBUTE){CKA_TOKEN, &yes, 1});
}
ROW(C_GenerateKeyPair, CKR_USER_NOT_LOGGED_IN, "a private key, nobody logged in")
{
    return generate_pair(open_rw(), &ec_gen, curve, (CK_ATTRIBUTE){CKA_PRIVATE, &yes, 1});
}
ROW(C_GenerateKeyPair, CKR_ARGUMENTS_BAD, "phPrivateKey is NULL")
{
    CK_OBJECT_HANDLE one;

    return F->C_GenerateKeyPair(open_user(), &ec_gen, &curve, 1, &sign, 1, &one, NULL);
}
ROW(C_GenerateKeyPair, CKR_ARGUMENTS_BAD, "phPublicKey is NULL")
{
    CK_OBJECT_HANDLE two;

    return F->C_GenerateKeyPair(open_user(), &ec_gen, &curve, 1, &sign, 1, NULL, &two);
}
ROW(C_GenerateKeyPair, CKR_ARGUMENTS_BAD, "pMechanism is NULL")
{
    return generate_pair(open_user(), NULL, curve, sign);
}

/* --- C_WrapKey, C_UnwrapKey --- */

static CK_MECHANISM kw = {CKM_AES_KEY_WRAP, NULL, 0};
static CK_BYTE wrapped[64];
static CK_ULONG wrapped_len;

static CK_SESSION_HANDLE need_wrap(void)
{
    NEED(CKM_AES_KEY_WRAP, CKF_WRAP | CKF_UNWRAP);
    wrapped_len = sizeof(wrapped);
    return open_user();
}
static CK_RV unwrap(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE by, CK_ULONG n)
{
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)},
                               {CKA_KEY_TYPE, &aes_type, sizeof(aes_type)},
                               {CKA_EXTRACTABLE, &yes, 1},
                               {CKA_ENCRYPT, &yes, 1}};
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;

    return F->C_UnwrapKey(s, &kw, by, wrapped, n, template, 4, &key);
}

ROW(C_WrapKey, CKR_OK, "AES by AES, unwrapped again: local is false")
{
    CK_SESSION_HANDLE s = need_wrap();
    CK_OBJECT_HANDLE by = aes(s, MAY_WRAP), key = 0;
    CK_RV rv = F->C_WrapKey(s, &kw, by, aes(s, MAY_ENCRYPT), wrapped, &wrapped_len);
    CK_BBOOL local = CK_TRUE;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)},
                               {CKA_KEY_TYPE, &aes_type, sizeof(aes_type)}};
    CK_ATTRIBUTE read = {CKA_LOCAL, &local, 1};

    if (rv != CKR_OK)
        return rv;
    CHECK(wrapped_len == 40);
    MUST(F->C_UnwrapKey(s, &kw, by, wrapped, wrapped_len, template, 2, &key));
    MUST(F->C_GetAttributeValue(s, key, &read, 1));
    CHECK(!local);
    return rv;
}
ROW(C_WrapKey, CKR_OK, "the length first")
{
    CK_SESSION_HANDLE s = need_wrap();
    CK_RV rv = F->C_WrapKey(s, &kw, aes(s, MAY_WRAP), aes(s, MAY_ENCRYPT), NULL, &wrapped_len);

    CHECK(rv != CKR_OK || wrapped_len >= 40);
    return rv;
}
ROW(C_WrapKey, CKR_BUFFER_TOO_SMALL, "room for one byte")
{
    CK_SESSION_HANDLE s = need_wrap();

    wrapped_len = 1;
    return F->C_WrapKey(s, &kw, aes(s, MAY_WRAP), aes(s, MAY_ENCRYPT), wrapped, &wrapped_len);
}
ROW(C_WrapKey, CKR_ARGUMENTS_BAD, "the length is NULL")
{
    CK_SESSION_HANDLE s = need_wrap();

    return F->C_WrapKey(s, &kw, aes(s, MAY_WRAP), aes(s, MAY_ENCRYPT), wrapped, NULL);
}
ROW(C_WrapKey, CKR_ARGUMENTS_BAD, "pMechanism is NULL")
{
    CK_SESSION_HANDLE s = need_wrap();

    return F->C_WrapKey(s, NULL, aes(s, MAY_WRAP), aes(s, MAY_ENCRYPT), wrapped, &wrapped_len);
}
ROW(C_WrapKey, CKR_MECHANISM_INVALID, "a mechanism that does not exist")
{
    CK_SESSION_HANDLE s = need_wrap();

    return F->C_WrapKey(s, &(CK_MECHANISM){NO_MECHANISM, NULL, 0}, aes(s, MAY_WRAP), aes(s, MAY_ENCRYPT), wrapped,
                        &wrapped_len);
}
ROW(C_WrapKey, CKR_WRAPPING_KEY_HANDLE_INVALID, "a wrapping key that does not exist")
{
    CK_SESSION_HANDLE s = need_wrap();

    return F->C_WrapKey(s, &kw, NO_HANDLE, aes(s, MAY_ENCRYPT), wrapped, &wrapped_len);
}
ROW(C_WrapKey, CKR_KEY_HANDLE_INVALID, "a key that does not exist")
{
    CK_SESSION_HANDLE s = need_wrap();

    return F->C_WrapKey(s, &kw, aes(s, MAY_WRAP), NO_HANDLE, wrapped, &wrapped_len);
}
ROW(C_WrapKey, CKR_WRAPPING_KEY_TYPE_INCONSISTENT, "an RSA key for an AES mechanism")
{
    CK_SESSION_HANDLE s = need_wrap();

    return F->C_WrapKey(s, &kw, pair(s, CKK_RSA, CKO_PUBLIC_KEY), aes(s, MAY_ENCRYPT), wrapped, &wrapped_len);
}
ROW(C_WrapKey, CKR_KEY_FUNCTION_NOT_PERMITTED, "a wrapping key that may not")
{
    CK_SESSION_HANDLE s = need_wrap();

    return F->C_WrapKey(s, &kw, aes(s, MAY_ENCRYPT), aes(s, MAY_ENCRYPT), wrapped, &wrapped_len);
}
ROW(C_WrapKey, CKR_KEY_UNEXTRACTABLE, "an unextractable key")
{
    CK_SESSION_HANDLE s = need_wrap();

    return F->C_WrapKey(s, &kw, aes(s, MAY_WRAP), aes(s, MAY_ENCRYPT | IS_KEPT), wrapped, &wrapped_len);
}
ROW_OR(C_WrapKey, CKR_KEY_NOT_WRAPPABLE, CKR_KEY_HANDLE_INVALID, "a public key")
{
    CK_SESSION_HANDLE s = need_wrap();

    return F->C_WrapKey(s, &kw, aes(s, MAY_WRAP), pair(s, CKK_EC, CKO_PUBLIC_KEY), wrapped, &wrapped_len);
}
ROW(C_UnwrapKey, CKR_WRAPPED_KEY_INVALID, "a changed byte")
{
    CK_SESSION_HANDLE s = need_wrap();
    CK_OBJECT_HANDLE by = aes(s, MAY_WRAP);

    MUST(F->C_WrapKey(s, &kw, by, aes(s, MAY_ENCRYPT), wrapped, &wrapped_len));
    wrapped[3] ^= 1;
    return unwrap(s, by, wrapped_len);
}
ROW_OR(C_UnwrapKey, CKR_WRAPPED_KEY_LEN_RANGE, CKR_WRAPPED_KEY_INVALID, "a length that cannot be")
{
    CK_SESSION_HANDLE s = need_wrap();

    return unwrap(s, aes(s, MAY_WRAP), 23);
}
ROW(C_UnwrapKey, CKR_UNWRAPPING_KEY_HANDLE_INVALID, "an unwrapping key that does not exist")
{
    return unwrap(need_wrap(), NO_HANDLE, 24);
}
ROW(C_UnwrapKey, CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT, "an EC key for an AES mechanism")
{
    CK_SESSION_HANDLE s = need_wrap();

    return unwrap(s, pair(s, CKK_EC, CKO_PRIVATE_KEY), 24);
}
ROW(C_UnwrapKey, CKR_KEY_FUNCTION_NOT_PERMITTED, "an unwrapping key that may not")
{
    CK_SESSION_HANDLE s = need_wrap();

    return unwrap(s, aes(s, MAY_ENCRYPT), 24);
}
ROW(C_UnwrapKey, CKR_TEMPLATE_INCOMPLETE, "no class and type")
{
    CK_SESSION_HANDLE s = need_wrap();
    CK_OBJECT_HANDLE by = aes(s, MAY_WRAP), key;

    MUST(F->C_WrapKey(s, &kw, by, aes(s, MAY_ENCRYPT), wrapped, &wrapped_len));
    return F->C_UnwrapKey(s, &kw, by, wrapped, wrapped_len, NULL, 0, &key);
}
ROW(C_UnwrapKey, CKR_MECHANISM_INVALID, "a mechanism that does not exist")
{
    CK_SESSION_HANDLE s = need_wrap();
    CK_OBJECT_HANDLE key;

    return F->C_UnwrapKey(s, &(CK_MECHANISM){NO_MECHANISM, NULL, 0}, aes(s, MAY_WRAP), wrapped, 24, NULL, 0, &key);
}
ROW(C_UnwrapKey, CKR_ARGUMENTS_BAD, "phKey is NULL")
{
    CK_SESSION_HANDLE s = need_wrap();

    return F->C_UnwrapKey(s, &kw, aes(s, MAY_WRAP), wrapped, 24, NULL, 0, NULL);
}
ROW(C_UnwrapKey, CKR_ARGUMENTS_BAD, "the wrapped key is NULL, its length is not 0")
{
    CK_SESSION_HANDLE s = need_wrap();
    CK_OBJECT_HANDLE key;

    return F->C_UnwrapKey(s, &kw, aes(s, MAY_WRAP), NULL, 24, NULL, 0, &key);
}

/* --- C_DeriveKey --- */

static CK_BYTE point[80];

/* ECDH with our own public key. */
static CK_RV derive(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE base, CK_ECDH1_DERIVE_PARAMS params, CK_ATTRIBUTE more)
{
    CK_ULONG n = 32;
    CK_MECHANISM mech = {CKM_ECDH1_DERIVE, &params, sizeof(params)};
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)},
                               {CKA_KEY_TYPE, &aes_type, sizeof(aes_type)},
                               {CKA_VALUE_LEN, &n, sizeof(n)},
                               {CKA_PRIVATE, &no, 1},
                               more};
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;

    return F->C_DeriveKey(s, &mech, base, template, 5, &key);
}
static CK_ECDH1_DERIVE_PARAMS own_point(CK_SESSION_HANDLE s)
{
    CK_ATTRIBUTE read = {CKA_EC_POINT, point, sizeof(point)};

    MUST(F->C_GetAttributeValue(s, pair(s, CKK_EC, CKO_PUBLIC_KEY), &read, 1));
    return (CK_ECDH1_DERIVE_PARAMS){CKD_NULL, 0, NULL, read.ulValueLen - 2, point + 2};
}
static CK_SESSION_HANDLE need_ecdh(void)
{
    NEED(CKM_ECDH1_DERIVE, CKF_DERIVE);
    return open_user();
}
static CK_ATTRIBUTE may_encrypt = {CKA_ENCRYPT, &yes, 1};

ROW(C_DeriveKey, CKR_OK, "ECDH")
{
    CK_SESSION_HANDLE s = need_ecdh();

    return derive(s, pair(s, CKK_EC, CKO_PRIVATE_KEY), own_point(s), may_encrypt);
}
ROW(C_DeriveKey, CKR_MECHANISM_INVALID, "a mechanism that does not exist")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key;

    return F->C_DeriveKey(s, &(CK_MECHANISM){NO_MECHANISM, NULL, 0}, aes(s, MAY_DERIVE), NULL, 0, &key);
}
ROW(C_DeriveKey, CKR_MECHANISM_PARAM_INVALID, "ECDH without parameters")
{
    CK_SESSION_HANDLE s = need_ecdh();
    CK_OBJECT_HANDLE key;

    return F->C_DeriveKey(s, &(CK_MECHANISM){CKM_ECDH1_DERIVE, NULL, 0}, pair(s, CKK_EC, CKO_PRIVATE_KEY), NULL, 0,
                          &key);
}
ROW(C_DeriveKey, CKR_MECHANISM_PARAM_INVALID, "ECDH with a point that is not on the curve")
{
    CK_SESSION_HANDLE s = need_ecdh();
    CK_ECDH1_DERIVE_PARAMS params = own_point(s);

    point[10] ^= 1;
    return derive(s, pair(s, CKK_EC, CKO_PRIVATE_KEY), params, may_encrypt);
}
ROW_OR(C_DeriveKey, CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID, "a base key that does not exist")
{
    CK_SESSION_HANDLE s = need_ecdh();

    return derive(s, NO_HANDLE, own_point(s), may_encrypt);
}
ROW(C_DeriveKey, CKR_KEY_TYPE_INCONSISTENT, "ECDH with an AES key")
{
    CK_SESSION_HANDLE s = need_ecdh();

    return derive(s, aes(s, MAY_DERIVE), own_point(s), may_encrypt);
}
ROW(C_DeriveKey, CKR_KEY_FUNCTION_NOT_PERMITTED, "a base key that may not")
{
    CK_SESSION_HANDLE s = need_ecdh();
    CK_OBJECT_HANDLE one, two;

    MUST(F->C_GenerateKeyPair(s, &ec_gen, &curve, 1, &sign, 1, &one, &two));
    return derive(s, two, own_point(s), may_encrypt);
}
ROW_OR(C_DeriveKey, CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT, "a boolean of four bytes")
{
    CK_SESSION_HANDLE s = need_ecdh();

    return derive(s, pair(s, CKK_EC, CKO_PRIVATE_KEY), own_point(s), (CK_ATTRIBUTE){CKA_ENCRYPT, p256, 4});
}
ROW(C_DeriveKey, CKR_SESSION_READ_ONLY, "a token key in a read-only session")
{
    CK_SESSION_HANDLE s = need_ecdh();

    return derive(open_ro(), pair(s, CKK_EC, CKO_PRIVATE_KEY), own_point(s), (CK_ATTRIBUTE){CKA_TOKEN, &yes, 1});
}
ROW(C_DeriveKey, CKR_ARGUMENTS_BAD, "pMechanism is NULL")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key;

    return F->C_DeriveKey(s, NULL, aes(s, MAY_DERIVE), NULL, 0, &key);
}
