/* SPDX-License-Identifier: Apache-2.0
 *
 * What the families' common rows cannot show: paddings, tags, RSA's length limits, always-authenticated keys, recovery,
 * digests of keys, saved states, dual functions, random numbers (v2.40 5.8 to 5.14, 5.17).
 */
#include "keys.h"

static CK_BBOOL yes = CK_TRUE;
static CK_BYTE iv[16] = "an IV of 16 byte", out[1024], back[1024], message[600] = "message";
static CK_ULONG len, back_len;
static CK_MECHANISM cbc = {CKM_AES_CBC, iv, 16}, padded = {CKM_AES_CBC_PAD, iv, 16}, hash = {CKM_SHA256, NULL, 0},
                    hmac = {CKM_SHA256_HMAC, NULL, 0}, rsa = {CKM_RSA_PKCS, NULL, 0};
static CK_BYTE nonce[12] = "twelve bytes";
static CK_GCM_PARAMS gcm_params = {nonce, 12, 96, nonce, 12, 128};
static CK_MECHANISM gcm = {CKM_AES_GCM, &gcm_params, sizeof(gcm_params)};

static CK_RV encrypt(CK_SESSION_HANDLE s, CK_MECHANISM *mech, CK_OBJECT_HANDLE key, CK_ULONG n)
{
    len = sizeof(out);
    MUST(F->C_EncryptInit(s, mech, key));
    return F->C_Encrypt(s, message, n, out, &len);
}
static CK_RV decrypt(CK_SESSION_HANDLE s, CK_MECHANISM *mech, CK_OBJECT_HANDLE key, CK_ULONG n)
{
    back_len = sizeof(back);
    MUST(F->C_DecryptInit(s, mech, key));
    return F->C_Decrypt(s, out, n, back, &back_len);
}

/* --- paddings and tags --- */

ROW(C_Encrypt, CKR_OK, "CBC_PAD of nothing is one block, which decrypts to nothing")
{
    NEED(CKM_AES_CBC_PAD, CKF_ENCRYPT);
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key = aes(s, MAY_ENCRYPT);
    CK_RV rv = encrypt(s, &padded, key, 0);

    CHECK(len == 16);
    MUST(decrypt(s, &padded, key, len));
    CHECK(back_len == 0);
    return rv;
}
ROW(C_Encrypt, CKR_OK, "CBC_PAD of each length to 33 and back")
{
    NEED(CKM_AES_CBC_PAD, CKF_ENCRYPT);
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key = aes(s, MAY_ENCRYPT);

    for (CK_ULONG n = 1; n <= 33; n++) {
        MUST(encrypt(s, &padded, key, n));
        CHECK(len == n / 16 * 16 + 16);
        MUST(decrypt(s, &padded, key, len));
        CHECK(back_len == n && memcmp(back, message, n) == 0);
    }
    return CKR_OK;
}
ROW_OR(C_Decrypt, CKR_ENCRYPTED_DATA_INVALID, CKR_ENCRYPTED_DATA_LEN_RANGE, "CBC_PAD with a wrong padding")
{
    NEED(CKM_AES_CBC_PAD, CKF_DECRYPT);
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key = aes(s, MAY_ENCRYPT);

    MUST(encrypt(s, &cbc, key, 32)); /* its last byte is 0, which is no padding */
    return decrypt(s, &padded, key, len);
}
ROW_OR(C_Decrypt, CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_INVALID, "CBC_PAD of nothing")
{
    NEED(CKM_AES_CBC_PAD, CKF_DECRYPT);
    CK_SESSION_HANDLE s = open_user();

    return decrypt(s, &padded, aes(s, MAY_ENCRYPT), 0);
}
ROW_OR(C_DecryptFinal, CKR_ENCRYPTED_DATA_INVALID, CKR_ENCRYPTED_DATA_LEN_RANGE, "CBC_PAD in parts, a wrong padding")
{
    NEED(CKM_AES_CBC_PAD, CKF_DECRYPT);
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key = aes(s, MAY_ENCRYPT);

    MUST(encrypt(s, &cbc, key, 32));
    MUST(F->C_DecryptInit(s, &padded, key));
    back_len = sizeof(back);
    MUST(F->C_DecryptUpdate(s, out, len, back, &back_len));
    back_len = sizeof(back);
    return F->C_DecryptFinal(s, back, &back_len);
}
ROW(C_Encrypt, CKR_OK, "GCM and back; the tag is part of the output")
{
    NEED(CKM_AES_GCM, CKF_ENCRYPT);
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key = aes(s, MAY_ENCRYPT);
    CK_RV rv = encrypt(s, &gcm, key, 20);

    CHECK(len == 36);
    MUST(decrypt(s, &gcm, key, len));
    CHECK(back_len == 20 && memcmp(back, message, 20) == 0);
    return rv;
}
ROW(C_Decrypt, CKR_ENCRYPTED_DATA_INVALID, "GCM with a wrong tag; nothing comes out")
{
    NEED(CKM_AES_GCM, CKF_DECRYPT);
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key = aes(s, MAY_ENCRYPT);

    MUST(encrypt(s, &gcm, key, 20));
    out[len - 1] ^= 1;
    memset(back, 0, sizeof(back));
    CK_RV rv = decrypt(s, &gcm, key, len);
    for (size_t i = 0; i < 20; i++)
        CHECK(back[i] == 0);
    return rv;
}
ROW_OR(C_Decrypt, CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_INVALID, "GCM of less than a tag")
{
    NEED(CKM_AES_GCM, CKF_DECRYPT);
    CK_SESSION_HANDLE s = open_user();

    return decrypt(s, &gcm, aes(s, MAY_ENCRYPT), 15);
}
ROW(C_EncryptInit, CKR_MECHANISM_PARAM_INVALID, "GCM with a tag of 129 bits")
{
    NEED(CKM_AES_GCM, CKF_ENCRYPT);
    CK_SESSION_HANDLE s = open_user();
    CK_GCM_PARAMS params = gcm_params;
    CK_MECHANISM mech = {CKM_AES_GCM, &params, sizeof(params)};

    params.ulTagBits = 129;
    return F->C_EncryptInit(s, &mech, aes(s, MAY_ENCRYPT));
}
ROW(C_EncryptInit, CKR_MECHANISM_PARAM_INVALID, "GCM with parameters of another size")
{
    NEED(CKM_AES_GCM, CKF_ENCRYPT);
    CK_SESSION_HANDLE s = open_user();
    CK_MECHANISM mech = {CKM_AES_GCM, &gcm_params, 7};

    return F->C_EncryptInit(s, &mech, aes(s, MAY_ENCRYPT));
}
ROW(C_EncryptInit, CKR_MECHANISM_PARAM_INVALID, "GCM with additional data that are NULL, their length is not 0")
{
    NEED(CKM_AES_GCM, CKF_ENCRYPT);
    CK_SESSION_HANDLE s = open_user();
    CK_GCM_PARAMS params = gcm_params;
    CK_MECHANISM mech = {CKM_AES_GCM, &params, sizeof(params)};

    params.pAAD = NULL;
    return F->C_EncryptInit(s, &mech, aes(s, MAY_ENCRYPT));
}
ROW(C_EncryptInit, CKR_MECHANISM_PARAM_INVALID, "CTR with a counter of 129 bits")
{
    NEED(CKM_AES_CTR, CKF_ENCRYPT);
    CK_SESSION_HANDLE s = open_user();
    CK_AES_CTR_PARAMS params = {129, {0}};
    CK_MECHANISM mech = {CKM_AES_CTR, &params, sizeof(params)};

    return F->C_EncryptInit(s, &mech, aes(s, MAY_ENCRYPT));
}

/* --- RSA, ECDSA --- */

ROW(C_Encrypt, CKR_OK, "RSA PKCS#1 and back")
{
    NEED(CKM_RSA_PKCS, CKF_ENCRYPT | CKF_DECRYPT);
    CK_SESSION_HANDLE s = open_user();
    CK_RV rv = encrypt(s, &rsa, pair(s, CKK_RSA, CKO_PUBLIC_KEY), 100);

    CHECK(len == 256);
    MUST(decrypt(s, &rsa, pair(s, CKK_RSA, CKO_PRIVATE_KEY), len));
    CHECK(back_len == 100 && memcmp(back, message, 100) == 0);
    return rv;
}
ROW(C_Encrypt, CKR_DATA_LEN_RANGE, "RSA PKCS#1 of more than fits")
{
    NEED(CKM_RSA_PKCS, CKF_ENCRYPT);
    CK_SESSION_HANDLE s = open_user();

    return encrypt(s, &rsa, pair(s, CKK_RSA, CKO_PUBLIC_KEY), 246);
}
ROW_OR(C_Decrypt, CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_INVALID,
       "RSA PKCS#1 of another length than the modulus'")
{
    NEED(CKM_RSA_PKCS, CKF_DECRYPT);
    CK_SESSION_HANDLE s = open_user();

    return decrypt(s, &rsa, pair(s, CKK_RSA, CKO_PRIVATE_KEY), 255);
}
ROW(C_EncryptInit, CKR_KEY_TYPE_INCONSISTENT, "RSA PKCS#1 with an AES key")
{
    NEED(CKM_RSA_PKCS, CKF_ENCRYPT);
    CK_SESSION_HANDLE s = open_user();

    return F->C_EncryptInit(s, &rsa, aes(s, MAY_ENCRYPT));
}
ROW_OR(C_DecryptInit, CKR_KEY_TYPE_INCONSISTENT, CKR_KEY_FUNCTION_NOT_PERMITTED, "RSA PKCS#1 with the public key")
{
    NEED(CKM_RSA_PKCS, CKF_DECRYPT);
    CK_SESSION_HANDLE s = open_user();

    return F->C_DecryptInit(s, &rsa, pair(s, CKK_RSA, CKO_PUBLIC_KEY));
}
static CK_RV sign_verify(CK_MECHANISM *mech, CK_KEY_TYPE type, CK_ULONG n)
{
    CK_SESSION_HANDLE s = open_user();

    len = sizeof(out);
    MUST(F->C_SignInit(s, mech, pair(s, type, CKO_PRIVATE_KEY)));
    MUST(F->C_Sign(s, message, n, out, &len));
    MUST(F->C_VerifyInit(s, mech, pair(s, type, CKO_PUBLIC_KEY)));
    return F->C_Verify(s, message, n, out, len);
}
ROW(C_Sign, CKR_OK, "ECDSA of a digest, verified")
{
    NEED(CKM_ECDSA, CKF_SIGN | CKF_VERIFY);
    return sign_verify(&(CK_MECHANISM){CKM_ECDSA, NULL, 0}, CKK_EC, 32);
}
ROW(C_Sign, CKR_OK, "ECDSA of a digest that is longer than the order, verified")
{
    NEED(CKM_ECDSA, CKF_SIGN | CKF_VERIFY);
    return sign_verify(&(CK_MECHANISM){CKM_ECDSA, NULL, 0}, CKK_EC, 64);
}
ROW(C_Sign, CKR_OK, "RSA PKCS#1 of 245 bytes, verified")
{
    NEED(CKM_RSA_PKCS, CKF_SIGN | CKF_VERIFY);
    return sign_verify(&rsa, CKK_RSA, 245);
}
ROW(C_Sign, CKR_OK, "RSA PKCS#1 with SHA-256, verified")
{
    NEED(CKM_SHA256_RSA_PKCS, CKF_SIGN | CKF_VERIFY);
    return sign_verify(&(CK_MECHANISM){CKM_SHA256_RSA_PKCS, NULL, 0}, CKK_RSA, 600);
}
ROW(C_Sign, CKR_DATA_LEN_RANGE, "RSA PKCS#1 of more than fits")
{
    NEED(CKM_RSA_PKCS, CKF_SIGN);
    CK_SESSION_HANDLE s = open_user();

    MUST(F->C_SignInit(s, &rsa, pair(s, CKK_RSA, CKO_PRIVATE_KEY)));
    len = sizeof(out);
    return F->C_Sign(s, message, 246, out, &len);
}
ROW(C_SignInit, CKR_MECHANISM_PARAM_INVALID, "PSS without parameters")
{
    NEED(CKM_SHA256_RSA_PKCS_PSS, CKF_SIGN);
    CK_SESSION_HANDLE s = open_user();

    return F->C_SignInit(s, &(CK_MECHANISM){CKM_SHA256_RSA_PKCS_PSS, NULL, 0}, pair(s, CKK_RSA, CKO_PRIVATE_KEY));
}
ROW(C_SignInit, CKR_MECHANISM_PARAM_INVALID, "PSS with SHA-256 whose parameters say SHA-512")
{
    NEED(CKM_SHA256_RSA_PKCS_PSS, CKF_SIGN);
    CK_SESSION_HANDLE s = open_user();
    CK_RSA_PKCS_PSS_PARAMS pss = {CKM_SHA512, CKG_MGF1_SHA512, 64};

    return F->C_SignInit(s, &(CK_MECHANISM){CKM_SHA256_RSA_PKCS_PSS, &pss, sizeof(pss)},
                         pair(s, CKK_RSA, CKO_PRIVATE_KEY));
}
ROW_OR(C_SignInit, CKR_KEY_TYPE_INCONSISTENT, CKR_KEY_FUNCTION_NOT_PERMITTED, "the public key")
{
    CK_SESSION_HANDLE s = open_user();

    return F->C_SignInit(s, &(CK_MECHANISM){CKM_ECDSA, NULL, 0}, pair(s, CKK_EC, CKO_PUBLIC_KEY));
}
ROW(C_Verify, CKR_SIGNATURE_LEN_RANGE, "ECDSA with 63 bytes")
{
    CK_SESSION_HANDLE s = open_user();

    MUST(F->C_VerifyInit(s, &(CK_MECHANISM){CKM_ECDSA, NULL, 0}, pair(s, CKK_EC, CKO_PUBLIC_KEY)));
    return F->C_Verify(s, message, 32, out, 63);
}
ROW_OR(C_Verify, CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE, "ECDSA with a signature of zeros")
{
    CK_SESSION_HANDLE s = open_user();

    memset(out, 0, 64);
    MUST(F->C_VerifyInit(s, &(CK_MECHANISM){CKM_ECDSA, NULL, 0}, pair(s, CKK_EC, CKO_PUBLIC_KEY)));
    return F->C_Verify(s, message, 32, out, 64);
}

/* --- recovery --- */

ROW_OR(C_SignRecoverInit, CKR_MECHANISM_INVALID, CKR_KEY_TYPE_INCONSISTENT, "a mechanism without recovery")
{
    CK_SESSION_HANDLE s = open_user();

    return F->C_SignRecoverInit(s, &hmac, aes(s, MAY_SIGN | OF_GENERIC));
}
ROW_OR(C_VerifyRecoverInit, CKR_MECHANISM_INVALID, CKR_KEY_TYPE_INCONSISTENT, "a mechanism without recovery")
{
    CK_SESSION_HANDLE s = open_user();

    return F->C_VerifyRecoverInit(s, &hmac, aes(s, MAY_SIGN | OF_GENERIC));
}
ROW_OR(C_SignRecover, CKR_OPERATION_NOT_INITIALIZED, CKR_OPERATION_NOT_INITIALIZED, "no operation is active")
{
    len = sizeof(out);
    return F->C_SignRecover(open_user(), message, 16, out, &len);
}
ROW(C_VerifyRecover, CKR_OPERATION_NOT_INITIALIZED, "no operation is active")
{
    len = sizeof(out);
    return F->C_VerifyRecover(open_user(), message, 16, out, &len);
}

/* --- C_DigestKey --- */

ROW(C_DigestKey, CKR_OK, "an extractable key: as its value")
{
    CK_SESSION_HANDLE s = open_user();
    CK_RV rv;

    MUST(F->C_DigestInit(s, &hash));
    rv = F->C_DigestKey(s, aes(s, OF_GENERIC));
    if (rv != CKR_OK)
        return rv;
    len = back_len = sizeof(out);
    MUST(F->C_DigestFinal(s, out, &len));
    MUST(F->C_DigestInit(s, &hash));
    MUST(F->C_Digest(s, (CK_BYTE[32]){"0123456789abcde"}, 32, back, &back_len));
    CHECK(len == 32 && memcmp(out, back, 32) == 0);
    return rv;
}
ROW(C_DigestKey, CKR_OPERATION_NOT_INITIALIZED, "no operation is active")
{
    CK_SESSION_HANDLE s = open_user();

    return F->C_DigestKey(s, aes(s, OF_GENERIC));
}
ROW(C_DigestKey, CKR_KEY_HANDLE_INVALID, "a key that does not exist")
{
    CK_SESSION_HANDLE s = open_user();

    MUST(F->C_DigestInit(s, &hash));
    return F->C_DigestKey(s, NO_HANDLE);
}
ROW_OR(C_DigestKey, CKR_KEY_INDIGESTIBLE, CKR_KEY_HANDLE_INVALID, "an EC key")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key = pair(s, CKK_EC, CKO_PRIVATE_KEY);

    MUST(F->C_DigestInit(s, &hash));
    return F->C_DigestKey(s, key);
}

/* --- saved states --- */

ROW(C_GetOperationState, CKR_OK, "a digest in the middle, gone on with in another session")
{
    CK_SESSION_HANDLE s = open_user(), other = open_ro();
    CK_BYTE state[1024];
    CK_ULONG n = 0;
    CK_RV rv;

    MUST(F->C_DigestInit(s, &hash));
    MUST(F->C_DigestUpdate(s, message, 100));
    rv = F->C_GetOperationState(s, NULL, &n);
    if (rv != CKR_OK)
        return rv;
    CHECK(n > 0 && n <= sizeof(state));
    MUST(F->C_GetOperationState(s, state, &n));
    MUST(F->C_DigestUpdate(s, message + 100, 50));
    len = back_len = sizeof(out);
    MUST(F->C_DigestFinal(s, out, &len));
    MUST(F->C_SetOperationState(other, state, n, 0, 0));
    MUST(F->C_DigestUpdate(other, message + 100, 50));
    MUST(F->C_DigestFinal(other, back, &back_len));
    CHECK(len == back_len && memcmp(out, back, len) == 0);
    return CKR_OK;
}
ROW(C_GetOperationState, CKR_BUFFER_TOO_SMALL, "room for one byte")
{
    CK_SESSION_HANDLE s = open_user();
    CK_ULONG n = 1;

    MUST(F->C_DigestInit(s, &hash));
    MUST(F->C_DigestUpdate(s, message, 100));
    return F->C_GetOperationState(s, out, &n);
}
ROW(C_GetOperationState, CKR_ARGUMENTS_BAD, "the length is NULL")
{
    CK_SESSION_HANDLE s = open_user();

    MUST(F->C_DigestInit(s, &hash));
    return F->C_GetOperationState(s, out, NULL);
}
ROW(C_GetOperationState, CKR_OPERATION_NOT_INITIALIZED, "no operation is active")
{
    CK_ULONG n = sizeof(out);

    return F->C_GetOperationState(open_user(), out, &n);
}
ROW(C_SetOperationState, CKR_SAVED_STATE_INVALID, "bytes that are no state")
{
    return F->C_SetOperationState(open_user(), message, 100, 0, 0);
}
ROW_OR(C_SetOperationState, CKR_ARGUMENTS_BAD, CKR_SAVED_STATE_INVALID, "NULL, its length is not 0")
{
    return F->C_SetOperationState(open_user(), NULL, 100, 0, 0);
}
ROW(C_SetOperationState, CKR_KEY_NOT_NEEDED, "a digest's state with a key")
{
    CK_SESSION_HANDLE s = open_user(), other = open_ro();
    CK_ULONG n = sizeof(out);

    MUST(F->C_DigestInit(s, &hash));
    MUST(F->C_DigestUpdate(s, message, 100));
    MUST(F->C_GetOperationState(s, out, &n));
    return F->C_SetOperationState(other, out, n, aes(s, MAY_ENCRYPT), 0);
}

/* --- dual functions --- */

/* Two operations at once in `s` and, separately, in `other`; what comes out is the same. */
ROW(C_DigestEncryptUpdate, CKR_OK, "as both one by one")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key = aes(s, MAY_ENCRYPT);
    CK_BYTE digest[2][32];
    CK_ULONG n = 32, m = 32;

    MUST(F->C_EncryptInit(s, &cbc, key));
    MUST(F->C_DigestInit(s, &hash));
    len = sizeof(out);
    CK_RV rv = F->C_DigestEncryptUpdate(s, message, 64, out, &len);
    if (rv != CKR_OK)
        return rv;
    MUST(F->C_DigestFinal(s, digest[0], &n));
    MUST(F->C_DigestInit(s, &hash));
    MUST(F->C_Digest(s, message, 64, digest[1], &m));
    CHECK(n == 32 && m == 32 && memcmp(digest[0], digest[1], 32) == 0);
    n = sizeof(out) - len;
    MUST(F->C_EncryptFinal(s, out + len, &n));
    MUST(decrypt(s, &cbc, key, len + n));
    CHECK(back_len == 64 && memcmp(back, message, 64) == 0);
    return rv;
}
ROW(C_DecryptDigestUpdate, CKR_OK, "as both one by one")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key = aes(s, MAY_ENCRYPT);
    CK_BYTE digest[2][32];
    CK_ULONG n = 32, m = 32, tail;

    MUST(encrypt(s, &cbc, key, 64));
    MUST(F->C_DecryptInit(s, &cbc, key));
    MUST(F->C_DigestInit(s, &hash));
    back_len = sizeof(back);
    CK_RV rv = F->C_DecryptDigestUpdate(s, out, 64, back, &back_len);
    if (rv != CKR_OK)
        return rv;
    tail = sizeof(back) - back_len;
    MUST(F->C_DecryptFinal(s, back + back_len, &tail));
    CHECK(back_len + tail == 64 && memcmp(back, message, 64) == 0);
    MUST(F->C_DigestFinal(s, digest[0], &n));
    MUST(F->C_DigestInit(s, &hash));
    MUST(F->C_Digest(s, message, back_len, digest[1], &m)); /* what Update gave out was digested */
    CHECK(memcmp(digest[0], digest[1], 32) == 0);
    return rv;
}
ROW(C_SignEncryptUpdate, CKR_OK, "as both one by one")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key = aes(s, MAY_ENCRYPT), mac = aes(s, MAY_SIGN | OF_GENERIC);
    CK_BYTE tag[32];
    CK_ULONG n = 32;

    MUST(F->C_EncryptInit(s, &cbc, key));
    MUST(F->C_SignInit(s, &hmac, mac));
    len = sizeof(out);
    CK_RV rv = F->C_SignEncryptUpdate(s, message, 64, out, &len);
    if (rv != CKR_OK)
        return rv;
    MUST(F->C_SignFinal(s, tag, &n));
    MUST(F->C_VerifyInit(s, &hmac, mac));
    MUST(F->C_Verify(s, message, 64, tag, n));
    return rv;
}
ROW(C_DecryptVerifyUpdate, CKR_OK, "as both one by one")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key = aes(s, MAY_ENCRYPT), mac = aes(s, MAY_SIGN | OF_GENERIC);
    CK_MECHANISM ctr = {CKM_AES_CTR, &(CK_AES_CTR_PARAMS){128, {0}}, sizeof(CK_AES_CTR_PARAMS)};
    CK_BYTE tag[32];
    CK_ULONG n = 32;

    NEED(CKM_AES_CTR, CKF_DECRYPT);
    MUST(encrypt(s, &ctr, key, 64));
    MUST(F->C_SignInit(s, &hmac, mac));
    MUST(F->C_Sign(s, message, 64, tag, &n));
    MUST(F->C_DecryptInit(s, &ctr, key));
    MUST(F->C_VerifyInit(s, &hmac, mac));
    back_len = sizeof(back);
    CK_RV rv = F->C_DecryptVerifyUpdate(s, out, 64, back, &back_len);
    if (rv != CKR_OK)
        return rv;
    CHECK(back_len == 64 && memcmp(back, message, 64) == 0);
    MUST(F->C_VerifyFinal(s, tag, n));
    return rv;
}
/* One of the two is missing. */
ROW(C_DigestEncryptUpdate, CKR_OPERATION_NOT_INITIALIZED, "only the digest is active")
{
    CK_SESSION_HANDLE s = open_user();

    MUST(F->C_DigestInit(s, &hash));
    len = sizeof(out);
    return F->C_DigestEncryptUpdate(s, message, 16, out, &len);
}
ROW(C_DigestEncryptUpdate, CKR_OPERATION_NOT_INITIALIZED, "only the encryption is active")
{
    CK_SESSION_HANDLE s = open_user();

    MUST(F->C_EncryptInit(s, &cbc, aes(s, MAY_ENCRYPT)));
    len = sizeof(out);
    return F->C_DigestEncryptUpdate(s, message, 16, out, &len);
}
ROW(C_DecryptDigestUpdate, CKR_OPERATION_NOT_INITIALIZED, "only the digest is active")
{
    CK_SESSION_HANDLE s = open_user();

    MUST(F->C_DigestInit(s, &hash));
    len = sizeof(out);
    return F->C_DecryptDigestUpdate(s, message, 16, out, &len);
}
ROW(C_SignEncryptUpdate, CKR_OPERATION_NOT_INITIALIZED, "only the encryption is active")
{
    CK_SESSION_HANDLE s = open_user();

    MUST(F->C_EncryptInit(s, &cbc, aes(s, MAY_ENCRYPT)));
    len = sizeof(out);
    return F->C_SignEncryptUpdate(s, message, 16, out, &len);
}
ROW(C_DecryptVerifyUpdate, CKR_OPERATION_NOT_INITIALIZED, "nothing is active")
{
    len = sizeof(out);
    return F->C_DecryptVerifyUpdate(open_user(), message, 16, out, &len);
}
ROW(C_DigestEncryptUpdate, CKR_BUFFER_TOO_SMALL, "room for one byte; then with enough, nothing is digested twice")
{
    CK_SESSION_HANDLE s = open_user();
    CK_BYTE digest[2][32];
    CK_ULONG n = 32, m = 32;
    CK_RV rv;

    MUST(F->C_EncryptInit(s, &cbc, aes(s, MAY_ENCRYPT)));
    MUST(F->C_DigestInit(s, &hash));
    len = 1;
    rv = F->C_DigestEncryptUpdate(s, message, 64, out, &len);
    if (rv != CKR_BUFFER_TOO_SMALL)
        return rv;
    CHECK(len > 1 && len <= 64);
    MUST(F->C_DigestEncryptUpdate(s, message, 64, out, &len));
    MUST(F->C_DigestFinal(s, digest[0], &n));
    MUST(F->C_DigestInit(s, &hash));
    MUST(F->C_Digest(s, message, 64, digest[1], &m));
    CHECK(memcmp(digest[0], digest[1], 32) == 0);
    return rv;
}

/* --- always authenticated keys --- */

static CK_OBJECT_HANDLE careful_key(CK_SESSION_HANDLE s)
{
    static CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    CK_MECHANISM gen = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE of_public[] = {{CKA_EC_PARAMS, p256, sizeof(p256)}};
    CK_ATTRIBUTE of_private[] = {{CKA_SIGN, &yes, 1}, {CKA_PRIVATE, &yes, 1}, {CKA_ALWAYS_AUTHENTICATE, &yes, 1}};
    CK_OBJECT_HANDLE public, private;

    MUST(F->C_GenerateKeyPair(s, &gen, of_public, 1, of_private, 3, &public, &private));
    return private;
}
ROW(C_Sign, CKR_USER_NOT_LOGGED_IN, "an always authenticated key, without the PIN")
{
    CK_SESSION_HANDLE s = open_user();

    MUST(F->C_SignInit(s, &(CK_MECHANISM){CKM_ECDSA, NULL, 0}, careful_key(s)));
    len = sizeof(out);
    return F->C_Sign(s, message, 32, out, &len);
}
ROW(C_Login, CKR_OK, "context-specific, for one signature with an always authenticated key")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key = careful_key(s);
    CK_MECHANISM ecdsa = {CKM_ECDSA, NULL, 0};
    CK_RV rv;

    MUST(F->C_SignInit(s, &ecdsa, key));
    rv = F->C_Login(s, CKU_CONTEXT_SPECIFIC, TEXT(user_pin));
    len = sizeof(out);
    MUST(F->C_Sign(s, message, 32, out, &len));
    MUST(F->C_SignInit(s, &ecdsa, key));
    len = sizeof(out);
    CHECK(F->C_Sign(s, message, 32, out, &len) == CKR_USER_NOT_LOGGED_IN);
    return rv;
}

/* --- random numbers --- */

ROW(C_GenerateRandom, CKR_OK, "different each time")
{
    CK_SESSION_HANDLE s = open_ro();

    MUST(F->C_GenerateRandom(s, out, 32));
    CK_RV rv = F->C_GenerateRandom(s, back, 32);
    CHECK(memcmp(out, back, 32) != 0);
    return rv;
}
ROW(C_GenerateRandom, CKR_OK, "no bytes")
{
    return F->C_GenerateRandom(open_ro(), out, 0);
}
ROW(C_GenerateRandom, CKR_ARGUMENTS_BAD, "NULL, its length is not 0")
{
    return F->C_GenerateRandom(open_ro(), NULL, 8);
}
ROW_OR(C_SeedRandom, CKR_OK, CKR_RANDOM_SEED_NOT_SUPPORTED, "a seed")
{
    return F->C_SeedRandom(open_ro(), message, 32);
}
ROW_OR(C_SeedRandom, CKR_ARGUMENTS_BAD, CKR_RANDOM_SEED_NOT_SUPPORTED, "NULL, its length is not 0")
{
    return F->C_SeedRandom(open_ro(), NULL, 32);
}
