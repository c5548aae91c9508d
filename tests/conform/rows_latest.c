/* SPDX-License-Identifier: Apache-2.0
 *
 * What 3.2 brought: signatures that are known before the data, authenticated wrapping, encapsulation, validation flags,
 * calls that complete later (v3.2 5.15, 5.18, 5.21, 5.22).
 */
#include "keys.h"

static CK_BBOOL yes = CK_TRUE;
static CK_BYTE text[40] = "a message of forty bytes, or less", sig[64], wrapped[128], iv[12];
static CK_ULONG len;
static CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY;
static CK_KEY_TYPE aes_type = CKK_AES;
static CK_MECHANISM ecdsa = {CKM_ECDSA_SHA256, NULL, 0};

/* --- C_VerifySignature --- */

static CK_SESSION_HANDLE with_signature(void)
{
    CK_SESSION_HANDLE s = open_user();

    (void)F32;
    len = sizeof(sig);
    MUST(F->C_SignInit(s, &ecdsa, pair(s, CKK_EC, CKO_PRIVATE_KEY)));
    MUST(F->C_Sign(s, text, 40, sig, &len));
    return s;
}
static CK_RV begin(CK_SESSION_HANDLE s)
{
    return F32->C_VerifySignatureInit(s, &ecdsa, pair(s, CKK_EC, CKO_PUBLIC_KEY), sig, len);
}
ROW(C_VerifySignature, CKR_OK, "a good one")
{
    CK_SESSION_HANDLE s = with_signature();

    MUST(begin(s));
    return F32->C_VerifySignature(s, text, 40);
}
ROW(C_VerifySignature, CKR_SIGNATURE_INVALID, "a wrong one; it is over")
{
    CK_SESSION_HANDLE s = with_signature();
    CK_RV rv;

    sig[40] ^= 1;
    MUST(begin(s));
    rv = F32->C_VerifySignature(s, text, 40);
    MUST(begin(s));
    return rv;
}
ROW(C_VerifySignature, CKR_OPERATION_NOT_INITIALIZED, "no operation is active")
{
    return F32->C_VerifySignature(open_user(), text, 40);
}
ROW(C_VerifySignature, CKR_ARGUMENTS_BAD, "the data are NULL, their length is not 0")
{
    CK_SESSION_HANDLE s = with_signature();

    MUST(begin(s));
    return F32->C_VerifySignature(s, NULL, 40);
}
ROW(C_VerifySignatureInit, CKR_OPERATION_ACTIVE, "twice")
{
    CK_SESSION_HANDLE s = with_signature();

    MUST(begin(s));
    return begin(s);
}
ROW(C_VerifySignatureInit, CKR_SIGNATURE_LEN_RANGE, "a signature that is too short, said now or at the end")
{
    CK_SESSION_HANDLE s = with_signature();
    CK_RV rv;

    len = 63;
    rv = begin(s);
    return rv != CKR_OK ? rv : F32->C_VerifySignature(s, text, 40);
}
ROW(C_VerifySignatureInit, CKR_KEY_HANDLE_INVALID, "a key that does not exist")
{
    return F32->C_VerifySignatureInit(open_user(), &ecdsa, NO_HANDLE, sig, 64);
}
ROW(C_VerifySignatureInit, CKR_MECHANISM_INVALID, "a mechanism that does not exist")
{
    CK_SESSION_HANDLE s = open_user();

    return F32->C_VerifySignatureInit(s, &(CK_MECHANISM){NO_MECHANISM, NULL, 0}, pair(s, CKK_EC, CKO_PUBLIC_KEY), sig,
                                      64);
}
ROW(C_VerifySignatureInit, CKR_ARGUMENTS_BAD, "the signature is NULL, its length is not 0")
{
    CK_SESSION_HANDLE s = open_user();

    return F32->C_VerifySignatureInit(s, &ecdsa, pair(s, CKK_EC, CKO_PUBLIC_KEY), NULL, 64);
}
ROW(C_VerifySignatureFinal, CKR_OK, "in parts")
{
    CK_SESSION_HANDLE s = with_signature();

    MUST(begin(s));
    MUST(F32->C_VerifySignatureUpdate(s, text, 15));
    MUST(F32->C_VerifySignatureUpdate(s, text + 15, 25));
    return F32->C_VerifySignatureFinal(s);
}
ROW(C_VerifySignatureFinal, CKR_SIGNATURE_INVALID, "in parts, one of them another")
{
    CK_SESSION_HANDLE s = with_signature();

    MUST(begin(s));
    MUST(F32->C_VerifySignatureUpdate(s, text, 39));
    return F32->C_VerifySignatureFinal(s);
}
ROW(C_VerifySignatureFinal, CKR_OPERATION_NOT_INITIALIZED, "no operation is active")
{
    return F32->C_VerifySignatureFinal(open_user());
}
ROW(C_VerifySignatureUpdate, CKR_OPERATION_NOT_INITIALIZED, "no operation is active")
{
    return F32->C_VerifySignatureUpdate(open_user(), text, 40);
}
ROW(C_VerifySignatureUpdate, CKR_ARGUMENTS_BAD, "the part is NULL, its length is not 0")
{
    CK_SESSION_HANDLE s = with_signature();

    MUST(begin(s));
    return F32->C_VerifySignatureUpdate(s, NULL, 40);
}

/* --- C_WrapKeyAuthenticated --- */

static CK_GCM_WRAP_PARAMS *params(void)
{
    static CK_GCM_WRAP_PARAMS p;

    p = (CK_GCM_WRAP_PARAMS){iv, sizeof(iv), 0, CKG_NO_GENERATE, NULL, 0, 128};
    return &p;
}
static CK_RV wrap(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE by, CK_OBJECT_HANDLE key)
{
    CK_MECHANISM mech = {CKM_AES_GCM, params(), sizeof(CK_GCM_WRAP_PARAMS)};

    NEED(CKM_AES_GCM, CKF_WRAP | CKF_UNWRAP);
    len = sizeof(wrapped);
    return F32->C_WrapKeyAuthenticated(s, &mech, by, key, text, 8, wrapped, &len);
}
static CK_RV unwrap(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE by, CK_ULONG aad_len)
{
    CK_MECHANISM mech = {CKM_AES_GCM, params(), sizeof(CK_GCM_WRAP_PARAMS)};
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)},
                               {CKA_KEY_TYPE, &aes_type, sizeof(aes_type)},
                               {CKA_ENCRYPT, &yes, 1}};
    CK_OBJECT_HANDLE key;

    return F32->C_UnwrapKeyAuthenticated(s, &mech, by, wrapped, len, template, 3, text, aad_len, &key);
}
ROW(C_WrapKeyAuthenticated, CKR_OK, "GCM; unwrapped again")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE by = aes(s, MAY_WRAP);
    CK_RV rv = wrap(s, by, aes(s, MAY_ENCRYPT));

    if (rv == CKR_OK)
        MUST(unwrap(s, by, 8));
    return rv;
}
ROW(C_WrapKeyAuthenticated, CKR_KEY_UNEXTRACTABLE, "an unextractable key")
{
    CK_SESSION_HANDLE s = open_user();

    return wrap(s, aes(s, MAY_WRAP), aes(s, MAY_ENCRYPT | IS_KEPT));
}
ROW(C_WrapKeyAuthenticated, CKR_KEY_FUNCTION_NOT_PERMITTED, "a wrapping key that may not")
{
    CK_SESSION_HANDLE s = open_user();

    return wrap(s, aes(s, MAY_ENCRYPT), aes(s, MAY_ENCRYPT));
}
ROW(C_WrapKeyAuthenticated, CKR_WRAPPING_KEY_HANDLE_INVALID, "a wrapping key that does not exist")
{
    CK_SESSION_HANDLE s = open_user();

    return wrap(s, NO_HANDLE, aes(s, MAY_ENCRYPT));
}
ROW(C_WrapKeyAuthenticated, CKR_KEY_HANDLE_INVALID, "a key that does not exist")
{
    CK_SESSION_HANDLE s = open_user();

    return wrap(s, aes(s, MAY_WRAP), NO_HANDLE);
}
ROW(C_WrapKeyAuthenticated, CKR_MECHANISM_INVALID, "a mechanism that does not authenticate")
{
    CK_SESSION_HANDLE s = open_user();

    len = sizeof(wrapped);
    return F32->C_WrapKeyAuthenticated(s, &(CK_MECHANISM){CKM_AES_KEY_WRAP, NULL, 0}, aes(s, MAY_WRAP),
                                       aes(s, MAY_ENCRYPT), text, 8, wrapped, &len);
}
ROW_OR(C_UnwrapKeyAuthenticated, CKR_AEAD_DECRYPT_FAILED, CKR_WRAPPED_KEY_INVALID, "other associated data")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE by = aes(s, MAY_WRAP);

    MUST(wrap(s, by, aes(s, MAY_ENCRYPT)));
    return unwrap(s, by, 7);
}
ROW_OR(C_UnwrapKeyAuthenticated, CKR_AEAD_DECRYPT_FAILED, CKR_WRAPPED_KEY_INVALID, "a changed byte")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE by = aes(s, MAY_WRAP);

    MUST(wrap(s, by, aes(s, MAY_ENCRYPT)));
    wrapped[5] ^= 1;
    return unwrap(s, by, 8);
}
ROW(C_UnwrapKeyAuthenticated, CKR_UNWRAPPING_KEY_HANDLE_INVALID, "an unwrapping key that does not exist")
{
    CK_SESSION_HANDLE s = open_user();

    len = 48;
    return unwrap(s, NO_HANDLE, 8);
}

/* --- C_EncapsulateKey, C_DecapsulateKey --- */

#define DERIVED                                                                                                        \
    {                                                                                                                  \
        {CKA_CLASS, &secret_class, sizeof(secret_class)}, {CKA_KEY_TYPE, &aes_type, sizeof(aes_type)},                 \
            {CKA_VALUE_LEN, &value_len, sizeof(value_len)}, {CKA_ENCRYPT, &yes, 1},                                    \
    }
ROW(C_EncapsulateKey, CKR_OK, "ML-KEM: both ends have the same key")
{
    CK_MECHANISM gen = {CKM_ML_KEM_KEY_PAIR_GEN, NULL, 0}, kem = {CKM_ML_KEM, NULL, 0}, ecb = {CKM_AES_ECB, NULL, 0};
    CK_ML_KEM_PARAMETER_SET_TYPE set = CKP_ML_KEM_768;
    CK_ATTRIBUTE of_public[] = {{CKA_PARAMETER_SET, &set, sizeof(set)}, {CKA_ENCAPSULATE, &yes, 1}};
    CK_ATTRIBUTE of_private[] = {{CKA_DECAPSULATE, &yes, 1}};
    CK_ULONG value_len = 32, n = 16, m = 16, cipher_len = 4096;
    CK_ATTRIBUTE template[] = DERIVED;
    CK_BYTE cipher[4096], one[16], two[16];
    CK_OBJECT_HANDLE public, private, ours = 0, theirs = 0;

    NEED(CKM_ML_KEM, CKF_ENCAPSULATE | CKF_DECAPSULATE);
    CK_SESSION_HANDLE s = open_user();
    MUST(F->C_GenerateKeyPair(s, &gen, of_public, 2, of_private, 1, &public, &private));
    CK_RV rv = F32->C_EncapsulateKey(s, &kem, public, template, 4, cipher, &cipher_len, &ours);
    CHECK(cipher_len == 1088);
    MUST(F32->C_DecapsulateKey(s, &kem, private, template, 4, cipher, cipher_len, &theirs));
    MUST(F->C_EncryptInit(s, &ecb, ours));
    MUST(F->C_Encrypt(s, text, 16, one, &n));
    MUST(F->C_EncryptInit(s, &ecb, theirs));
    MUST(F->C_Encrypt(s, text, 16, two, &m));
    CHECK(memcmp(one, two, 16) == 0);
    return rv;
}
ROW(C_EncapsulateKey, CKR_MECHANISM_INVALID, "a mechanism that does not exist")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key;

    len = sizeof(wrapped);
    return F32->C_EncapsulateKey(s, &(CK_MECHANISM){NO_MECHANISM, NULL, 0}, pair(s, CKK_EC, CKO_PUBLIC_KEY), NULL, 0,
                                 wrapped, &len, &key);
}
ROW(C_DecapsulateKey, CKR_MECHANISM_INVALID, "a mechanism that does not exist")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key;

    return F32->C_DecapsulateKey(s, &(CK_MECHANISM){NO_MECHANISM, NULL, 0}, pair(s, CKK_EC, CKO_PRIVATE_KEY), NULL, 0,
                                 wrapped, 64, &key);
}
ROW(C_EncapsulateKey, CKR_ARGUMENTS_BAD, "pMechanism is NULL")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key;

    len = sizeof(wrapped);
    return F32->C_EncapsulateKey(s, NULL, pair(s, CKK_EC, CKO_PUBLIC_KEY), NULL, 0, wrapped, &len, &key);
}
ROW(C_DecapsulateKey, CKR_ARGUMENTS_BAD, "pMechanism is NULL")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key;

    return F32->C_DecapsulateKey(s, NULL, pair(s, CKK_EC, CKO_PRIVATE_KEY), NULL, 0, wrapped, 64, &key);
}

/* --- validation flags, calls that complete later --- */

ROW(C_GetSessionValidationFlags, CKR_OK, "the last validation")
{
    CK_FLAGS flags = 1;

    return F32->C_GetSessionValidationFlags(open_ro(), CKS_LAST_VALIDATION_OK, &flags);
}
ROW(C_GetSessionValidationFlags, CKR_ARGUMENTS_BAD, "pFlags is NULL")
{
    return F32->C_GetSessionValidationFlags(open_ro(), CKS_LAST_VALIDATION_OK, NULL);
}
ROW_OR(C_OpenSession, CKR_SESSION_ASYNC_NOT_SUPPORTED, CKR_OK, "calls that complete later (3.2)")
{
    CK_SESSION_HANDLE s;

    (void)F32;
    return F->C_OpenSession(the_slot, CKF_SERIAL_SESSION | CKF_ASYNC_SESSION, NULL, NULL, &s);
}
ROW_OR(C_AsyncComplete, CKR_OPERATION_NOT_INITIALIZED, CKR_SESSION_ASYNC_NOT_SUPPORTED, "nothing goes on")
{
    CK_ASYNC_DATA data;

    memset(&data, 0, sizeof(data));
    return F32->C_AsyncComplete(open_ro(), TEXT_ONLY("C_Sign"), &data);
}
ROW_OR(C_AsyncGetID, CKR_OPERATION_NOT_INITIALIZED, CKR_SESSION_ASYNC_NOT_SUPPORTED, "nothing goes on")
{
    return F32->C_AsyncGetID(open_ro(), TEXT_ONLY("C_Sign"), &len);
}
ROW_OR(C_AsyncJoin, CKR_SAVED_STATE_INVALID, CKR_SESSION_ASYNC_NOT_SUPPORTED, "an ID that nobody gave out")
{
    return F32->C_AsyncJoin(open_ro(), TEXT_ONLY("C_Sign"), 77, wrapped, sizeof(wrapped));
}
ROW(C_AsyncComplete, CKR_ARGUMENTS_BAD, "pFunctionName is NULL")
{
    return F32->C_AsyncComplete(open_ro(), NULL, NULL);
}
ROW(C_AsyncGetID, CKR_ARGUMENTS_BAD, "pulID is NULL")
{
    return F32->C_AsyncGetID(open_ro(), TEXT_ONLY("C_Sign"), NULL);
}
ROW(C_AsyncJoin, CKR_ARGUMENTS_BAD, "pFunctionName is NULL")
{
    return F32->C_AsyncJoin(open_ro(), NULL, 1, wrapped, sizeof(wrapped));
}
