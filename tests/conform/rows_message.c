/* SPDX-License-Identifier: Apache-2.0
 *
 * What 3.0 brought: messages, C_LoginUser, C_SessionCancel, and operations that end with a NULL mechanism
 * (v3.2 5.6, 5.9, 5.11, 5.14, 5.16).
 */
#include "keys.h"

static CK_BYTE iv[12] = "twelve bytes", tag[16], aad[8] = "aad aad", text[40] = "a message of forty bytes, or less",
               out[64], back[64], sig[64];
static CK_ULONG len, back_len;
static CK_MECHANISM gcm = {CKM_AES_GCM, NULL, 0}, ecdsa = {CKM_ECDSA_SHA256, NULL, 0}, hash = {CKM_SHA256, NULL, 0},
                    cbc = {CKM_AES_CBC, iv, 12};

static CK_GCM_MESSAGE_PARAMS *params(CK_GENERATOR_FUNCTION generator)
{
    static CK_GCM_MESSAGE_PARAMS p;

    p = (CK_GCM_MESSAGE_PARAMS){iv, sizeof(iv), 0, generator, tag, 128};
    memcpy(iv, "twelve bytes", sizeof(iv));
    return &p;
}
#define PARAMS(generator) params(generator), sizeof(CK_GCM_MESSAGE_PARAMS)

static CK_OBJECT_HANDLE gcm_key;

/* A session with an active message encryption and, in another session, a decryption by the same key. */
static CK_SESSION_HANDLE encrypting(CK_SESSION_HANDLE *ret_decrypting)
{
    NEED(CKM_AES_GCM, CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT);
    CK_SESSION_HANDLE s = open_user(), other = open_ro();

    gcm_key = aes(s, MAY_ENCRYPT);
    MUST(F30->C_MessageEncryptInit(s, &gcm, gcm_key));
    MUST(F30->C_MessageDecryptInit(other, &gcm, gcm_key));
    len = sizeof(out);
    back_len = sizeof(back);
    memset(tag, 0, sizeof(tag));
    if (ret_decrypting != NULL)
        *ret_decrypting = other;
    return s;
}

/* --- encryption --- */

ROW(C_MessageEncryptInit, CKR_OPERATION_ACTIVE, "twice")
{
    return F30->C_MessageEncryptInit(encrypting(NULL), &gcm, gcm_key);
}
ROW(C_MessageEncryptInit, CKR_MECHANISM_INVALID, "a mechanism that does not exist")
{
    CK_SESSION_HANDLE s = open_user();

    return F30->C_MessageEncryptInit(s, &(CK_MECHANISM){NO_MECHANISM, NULL, 0}, aes(s, MAY_ENCRYPT));
}
ROW(C_MessageEncryptInit, CKR_MECHANISM_INVALID, "a mechanism without messages")
{
    CK_SESSION_HANDLE s = open_user();

    return F30->C_MessageEncryptInit(s, &hash, aes(s, MAY_ENCRYPT));
}
ROW(C_MessageEncryptInit, CKR_KEY_HANDLE_INVALID, "a key that does not exist")
{
    return F30->C_MessageEncryptInit(open_user(), &gcm, NO_HANDLE);
}
ROW(C_MessageEncryptInit, CKR_KEY_TYPE_INCONSISTENT, "an EC key")
{
    CK_SESSION_HANDLE s = open_user();

    return F30->C_MessageEncryptInit(s, &gcm, pair(s, CKK_EC, CKO_PRIVATE_KEY));
}
ROW(C_MessageEncryptInit, CKR_KEY_FUNCTION_NOT_PERMITTED, "a key that may not")
{
    CK_SESSION_HANDLE s = open_user();

    return F30->C_MessageEncryptInit(s, &gcm, aes(s, MAY_SIGN));
}
ROW(C_EncryptMessage, CKR_OK, "three messages, each decrypted")
{
    CK_SESSION_HANDLE other, s = encrypting(&other);

    for (CK_BYTE i = 0; i < 3; i++) {
        text[0] = i;
        len = sizeof(out), back_len = sizeof(back);
        MUST(F30->C_EncryptMessage(s, PARAMS(CKG_NO_GENERATE), aad, 8, text, 40, out, &len));
        CHECK(len == 40);
        MUST(F30->C_DecryptMessage(other, PARAMS(CKG_NO_GENERATE), aad, 8, out, len, back, &back_len));
        CHECK(back_len == 40 && memcmp(back, text, 40) == 0);
    }
    return CKR_OK;
}
ROW(C_EncryptMessage, CKR_OK, "the token makes the IV, another one each time")
{
    CK_SESSION_HANDLE other, s = encrypting(&other);
    CK_BYTE first[12];
    CK_GCM_MESSAGE_PARAMS p = *params(CKG_GENERATE_RANDOM);

    MUST(F30->C_EncryptMessage(s, &p, sizeof(p), NULL, 0, text, 40, out, &len));
    memcpy(first, iv, 12);
    len = sizeof(out);
    MUST(F30->C_EncryptMessage(s, &p, sizeof(p), NULL, 0, text, 40, out, &len));
    CHECK(memcmp(first, iv, 12) != 0);
    p.ivGenerator = CKG_NO_GENERATE;
    return F30->C_DecryptMessage(other, &p, sizeof(p), NULL, 0, out, len, back, &back_len);
}
ROW(C_EncryptMessage, CKR_OK, "the length first")
{
    CK_SESSION_HANDLE s = encrypting(NULL);

    MUST(F30->C_EncryptMessage(s, PARAMS(CKG_NO_GENERATE), aad, 8, text, 40, NULL, &len));
    CHECK(len >= 40);
    return F30->C_EncryptMessage(s, PARAMS(CKG_NO_GENERATE), aad, 8, text, 40, out, &len);
}
ROW(C_EncryptMessage, CKR_BUFFER_TOO_SMALL, "room for one byte; then with enough")
{
    CK_SESSION_HANDLE s = encrypting(NULL);
    CK_RV rv;

    len = 1;
    rv = F30->C_EncryptMessage(s, PARAMS(CKG_NO_GENERATE), aad, 8, text, 40, out, &len);
    CHECK(len >= 40);
    MUST(F30->C_EncryptMessage(s, PARAMS(CKG_NO_GENERATE), aad, 8, text, 40, out, &len));
    return rv;
}
ROW(C_EncryptMessage, CKR_OK, "nothing, and NULL")
{
    CK_SESSION_HANDLE s = encrypting(NULL);
    CK_RV rv = F30->C_EncryptMessage(s, PARAMS(CKG_NO_GENERATE), NULL, 0, NULL, 0, out, &len);

    CHECK(len == 0);
    return rv;
}
ROW(C_EncryptMessage, CKR_OPERATION_NOT_INITIALIZED, "no operation is active")
{
    return F30->C_EncryptMessage(open_user(), PARAMS(CKG_NO_GENERATE), aad, 8, text, 40, out, &len);
}
ROW_OR(C_EncryptMessage, CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD, "parameters of another size")
{
    return F30->C_EncryptMessage(encrypting(NULL), params(CKG_NO_GENERATE), 7, aad, 8, text, 40, out, &len);
}
ROW(C_EncryptMessage, CKR_ARGUMENTS_BAD, "the output's length is NULL")
{
    return F30->C_EncryptMessage(encrypting(NULL), PARAMS(CKG_NO_GENERATE), aad, 8, text, 40, out, NULL);
}
ROW(C_EncryptMessage, CKR_ARGUMENTS_BAD, "the data are NULL, their length is not 0")
{
    return F30->C_EncryptMessage(encrypting(NULL), PARAMS(CKG_NO_GENERATE), aad, 8, NULL, 40, out, &len);
}
ROW(C_EncryptMessageNext, CKR_OK, "parts: as the whole")
{
    CK_SESSION_HANDLE other, s = encrypting(&other);
    CK_ULONG n = sizeof(out), at;

    MUST(F30->C_EncryptMessageBegin(s, PARAMS(CKG_NO_GENERATE), aad, 8));
    MUST(F30->C_EncryptMessageNext(s, PARAMS(CKG_NO_GENERATE), text, 15, out, &n, 0));
    at = n;
    n = sizeof(out) - at;
    CK_RV rv = F30->C_EncryptMessageNext(s, PARAMS(CKG_NO_GENERATE), text + 15, 25, out + at, &n, CKF_END_OF_MESSAGE);
    CHECK(at + n == 40);
    MUST(F30->C_DecryptMessage(other, PARAMS(CKG_NO_GENERATE), aad, 8, out, 40, back, &back_len));
    CHECK(memcmp(back, text, 40) == 0);
    return rv;
}
ROW(C_EncryptMessageNext, CKR_OPERATION_NOT_INITIALIZED, "without C_EncryptMessageBegin")
{
    return F30->C_EncryptMessageNext(encrypting(NULL), PARAMS(CKG_NO_GENERATE), text, 15, out, &len, 0);
}
ROW(C_EncryptMessageBegin, CKR_OPERATION_NOT_INITIALIZED, "no operation is active")
{
    return F30->C_EncryptMessageBegin(open_user(), PARAMS(CKG_NO_GENERATE), aad, 8);
}
ROW(C_EncryptMessageBegin, CKR_OPERATION_ACTIVE, "twice")
{
    CK_SESSION_HANDLE s = encrypting(NULL);

    MUST(F30->C_EncryptMessageBegin(s, PARAMS(CKG_NO_GENERATE), aad, 8));
    return F30->C_EncryptMessageBegin(s, PARAMS(CKG_NO_GENERATE), aad, 8);
}
ROW(C_MessageEncryptFinal, CKR_OK, "after a message; then another operation begins")
{
    CK_SESSION_HANDLE s = encrypting(NULL);
    CK_RV rv;

    MUST(F30->C_EncryptMessage(s, PARAMS(CKG_NO_GENERATE), aad, 8, text, 40, out, &len));
    rv = F30->C_MessageEncryptFinal(s);
    MUST(F30->C_MessageEncryptInit(s, &gcm, gcm_key));
    return rv;
}
ROW(C_MessageEncryptFinal, CKR_OPERATION_NOT_INITIALIZED, "no operation is active")
{
    return F30->C_MessageEncryptFinal(open_user());
}

/* --- decryption --- */

static CK_SESSION_HANDLE decrypting(void)
{
    CK_SESSION_HANDLE other, s = encrypting(&other);

    MUST(F30->C_EncryptMessage(s, PARAMS(CKG_NO_GENERATE), aad, 8, text, 40, out, &len));
    return other;
}
ROW(C_MessageDecryptInit, CKR_OPERATION_ACTIVE, "twice")
{
    return F30->C_MessageDecryptInit(decrypting(), &gcm, gcm_key);
}
ROW(C_MessageDecryptInit, CKR_KEY_HANDLE_INVALID, "a key that does not exist")
{
    return F30->C_MessageDecryptInit(open_user(), &gcm, NO_HANDLE);
}
ROW(C_MessageDecryptInit, CKR_KEY_FUNCTION_NOT_PERMITTED, "a key that may not")
{
    CK_SESSION_HANDLE s = open_user();

    return F30->C_MessageDecryptInit(s, &gcm, aes(s, MAY_SIGN));
}
ROW_OR(C_DecryptMessage, CKR_AEAD_DECRYPT_FAILED, CKR_ENCRYPTED_DATA_INVALID,
       "a wrong tag; nothing comes out, the next message does")
{
    CK_SESSION_HANDLE s = decrypting();
    CK_RV rv;

    memset(back, 0, sizeof(back));
    tag[0] ^= 1;
    rv = F30->C_DecryptMessage(s, PARAMS(CKG_NO_GENERATE), aad, 8, out, 40, back, &back_len);
    for (size_t i = 0; i < 40; i++)
        CHECK(back[i] == 0);
    tag[0] ^= 1;
    back_len = sizeof(back);
    MUST(F30->C_DecryptMessage(s, PARAMS(CKG_NO_GENERATE), aad, 8, out, 40, back, &back_len));
    return rv;
}
ROW_OR(C_DecryptMessage, CKR_AEAD_DECRYPT_FAILED, CKR_ENCRYPTED_DATA_INVALID, "other associated data")
{
    return F30->C_DecryptMessage(decrypting(), PARAMS(CKG_NO_GENERATE), aad, 7, out, 40, back, &back_len);
}
ROW(C_DecryptMessage, CKR_BUFFER_TOO_SMALL, "room for one byte")
{
    CK_SESSION_HANDLE s = decrypting();

    back_len = 1;
    return F30->C_DecryptMessage(s, PARAMS(CKG_NO_GENERATE), aad, 8, out, 40, back, &back_len);
}
ROW(C_DecryptMessage, CKR_OPERATION_NOT_INITIALIZED, "no operation is active")
{
    return F30->C_DecryptMessage(open_user(), PARAMS(CKG_NO_GENERATE), aad, 8, out, 40, back, &back_len);
}
ROW(C_DecryptMessage, CKR_ARGUMENTS_BAD, "the output's length is NULL")
{
    return F30->C_DecryptMessage(decrypting(), PARAMS(CKG_NO_GENERATE), aad, 8, out, 40, back, NULL);
}
ROW(C_DecryptMessageNext, CKR_OK, "parts: as the whole")
{
    CK_SESSION_HANDLE s = decrypting();
    CK_ULONG n = sizeof(back), at;

    MUST(F30->C_DecryptMessageBegin(s, PARAMS(CKG_NO_GENERATE), aad, 8));
    MUST(F30->C_DecryptMessageNext(s, PARAMS(CKG_NO_GENERATE), out, 15, back, &n, 0));
    at = n;
    n = sizeof(back) - at;
    CK_RV rv = F30->C_DecryptMessageNext(s, PARAMS(CKG_NO_GENERATE), out + 15, 25, back + at, &n, CKF_END_OF_MESSAGE);
    CHECK(at + n == 40 && memcmp(back, text, 40) == 0);
    return rv;
}
ROW_OR(C_DecryptMessageNext, CKR_AEAD_DECRYPT_FAILED, CKR_ENCRYPTED_DATA_INVALID, "the last part, a wrong tag")
{
    CK_SESSION_HANDLE s = decrypting();

    tag[0] ^= 1;
    MUST(F30->C_DecryptMessageBegin(s, PARAMS(CKG_NO_GENERATE), aad, 8));
    return F30->C_DecryptMessageNext(s, PARAMS(CKG_NO_GENERATE), out, 40, back, &back_len, CKF_END_OF_MESSAGE);
}
ROW(C_DecryptMessageNext, CKR_OPERATION_NOT_INITIALIZED, "without C_DecryptMessageBegin")
{
    return F30->C_DecryptMessageNext(decrypting(), PARAMS(CKG_NO_GENERATE), out, 40, back, &back_len, 0);
}
ROW(C_DecryptMessageBegin, CKR_OPERATION_NOT_INITIALIZED, "no operation is active")
{
    return F30->C_DecryptMessageBegin(open_user(), PARAMS(CKG_NO_GENERATE), aad, 8);
}
ROW(C_DecryptMessageBegin, CKR_OPERATION_ACTIVE, "twice")
{
    CK_SESSION_HANDLE s = decrypting();

    MUST(F30->C_DecryptMessageBegin(s, PARAMS(CKG_NO_GENERATE), aad, 8));
    return F30->C_DecryptMessageBegin(s, PARAMS(CKG_NO_GENERATE), aad, 8);
}
ROW(C_MessageDecryptFinal, CKR_OK, "at once")
{
    return F30->C_MessageDecryptFinal(decrypting());
}
ROW(C_MessageDecryptFinal, CKR_OPERATION_NOT_INITIALIZED, "no operation is active")
{
    return F30->C_MessageDecryptFinal(open_user());
}

/* --- signing, verifying --- */

static CK_SESSION_HANDLE signing(void)
{
    NEED(CKM_ECDSA_SHA256, CKF_MESSAGE_SIGN | CKF_MESSAGE_VERIFY);
    CK_SESSION_HANDLE s = open_user();

    MUST(F30->C_MessageSignInit(s, &ecdsa, pair(s, CKK_EC, CKO_PRIVATE_KEY)));
    len = sizeof(sig);
    return s;
}
static CK_SESSION_HANDLE verifying(void)
{
    CK_SESSION_HANDLE s = signing();

    MUST(F30->C_SignMessage(s, NULL, 0, text, 40, sig, &len));
    MUST(F30->C_MessageVerifyInit(s, &ecdsa, pair(s, CKK_EC, CKO_PUBLIC_KEY)));
    return s;
}
ROW(C_MessageSignInit, CKR_OPERATION_ACTIVE, "twice")
{
    CK_SESSION_HANDLE s = signing();

    return F30->C_MessageSignInit(s, &ecdsa, pair(s, CKK_EC, CKO_PRIVATE_KEY));
}
ROW(C_MessageSignInit, CKR_KEY_HANDLE_INVALID, "a key that does not exist")
{
    return F30->C_MessageSignInit(open_user(), &ecdsa, NO_HANDLE);
}
ROW(C_MessageSignInit, CKR_MECHANISM_INVALID, "a mechanism that does not sign")
{
    CK_SESSION_HANDLE s = open_user();

    return F30->C_MessageSignInit(s, &hash, pair(s, CKK_EC, CKO_PRIVATE_KEY));
}
ROW(C_SignMessage, CKR_OK, "three messages, each verified")
{
    CK_SESSION_HANDLE s = verifying();

    for (CK_BYTE i = 0; i < 3; i++) {
        text[0] = i;
        len = sizeof(sig);
        MUST(F30->C_SignMessage(s, NULL, 0, text, 40, sig, &len));
        MUST(F30->C_VerifyMessage(s, NULL, 0, text, 40, sig, len));
    }
    return CKR_OK;
}
ROW(C_SignMessage, CKR_OK, "the length first")
{
    CK_SESSION_HANDLE s = signing();

    MUST(F30->C_SignMessage(s, NULL, 0, text, 40, NULL, &len));
    CHECK(len == 64);
    return F30->C_SignMessage(s, NULL, 0, text, 40, sig, &len);
}
ROW(C_SignMessage, CKR_BUFFER_TOO_SMALL, "room for one byte")
{
    CK_SESSION_HANDLE s = signing();

    len = 1;
    return F30->C_SignMessage(s, NULL, 0, text, 40, sig, &len);
}
ROW(C_SignMessage, CKR_OPERATION_NOT_INITIALIZED, "no operation is active")
{
    return F30->C_SignMessage(open_user(), NULL, 0, text, 40, sig, &len);
}
ROW(C_SignMessage, CKR_ARGUMENTS_BAD, "the signature's length is NULL")
{
    return F30->C_SignMessage(signing(), NULL, 0, text, 40, sig, NULL);
}
ROW(C_SignMessageNext, CKR_OK, "parts, verified in parts")
{
    CK_SESSION_HANDLE s = verifying();

    len = sizeof(sig);
    MUST(F30->C_SignMessageBegin(s, NULL, 0));
    MUST(F30->C_SignMessageNext(s, NULL, 0, text, 15, NULL, NULL));
    CK_RV rv = F30->C_SignMessageNext(s, NULL, 0, text + 15, 25, sig, &len);
    MUST(F30->C_VerifyMessageBegin(s, NULL, 0));
    MUST(F30->C_VerifyMessageNext(s, NULL, 0, text, 30, NULL, 0));
    MUST(F30->C_VerifyMessageNext(s, NULL, 0, text + 30, 10, sig, len));
    return rv;
}
ROW(C_SignMessageNext, CKR_OPERATION_NOT_INITIALIZED, "without C_SignMessageBegin")
{
    return F30->C_SignMessageNext(signing(), NULL, 0, text, 40, sig, &len);
}
ROW(C_SignMessageBegin, CKR_OPERATION_NOT_INITIALIZED, "no operation is active")
{
    return F30->C_SignMessageBegin(open_user(), NULL, 0);
}
ROW(C_MessageSignFinal, CKR_OK, "at once")
{
    return F30->C_MessageSignFinal(signing());
}
ROW(C_MessageSignFinal, CKR_OPERATION_NOT_INITIALIZED, "no operation is active")
{
    return F30->C_MessageSignFinal(open_user());
}
ROW(C_MessageVerifyInit, CKR_OPERATION_ACTIVE, "twice")
{
    CK_SESSION_HANDLE s = verifying();

    return F30->C_MessageVerifyInit(s, &ecdsa, pair(s, CKK_EC, CKO_PUBLIC_KEY));
}
ROW(C_VerifyMessage, CKR_OK, "a good signature")
{
    return F30->C_VerifyMessage(verifying(), NULL, 0, text, 40, sig, 64);
}
ROW(C_VerifyMessage, CKR_SIGNATURE_INVALID, "a wrong signature; the next message can be verified")
{
    CK_SESSION_HANDLE s = verifying();
    CK_RV rv;

    sig[40] ^= 1;
    rv = F30->C_VerifyMessage(s, NULL, 0, text, 40, sig, 64);
    sig[40] ^= 1;
    MUST(F30->C_VerifyMessage(s, NULL, 0, text, 40, sig, 64));
    return rv;
}
ROW(C_VerifyMessage, CKR_SIGNATURE_LEN_RANGE, "a signature that is too short")
{
    return F30->C_VerifyMessage(verifying(), NULL, 0, text, 40, sig, 63);
}
ROW(C_VerifyMessage, CKR_OPERATION_NOT_INITIALIZED, "no operation is active")
{
    return F30->C_VerifyMessage(open_user(), NULL, 0, text, 40, sig, 64);
}
ROW(C_VerifyMessageBegin, CKR_OPERATION_NOT_INITIALIZED, "no operation is active")
{
    return F30->C_VerifyMessageBegin(open_user(), NULL, 0);
}
ROW(C_VerifyMessageNext, CKR_OPERATION_NOT_INITIALIZED, "without C_VerifyMessageBegin")
{
    return F30->C_VerifyMessageNext(verifying(), NULL, 0, text, 40, sig, 64);
}
ROW(C_VerifyMessageNext, CKR_SIGNATURE_INVALID, "a wrong signature")
{
    CK_SESSION_HANDLE s = verifying();

    sig[40] ^= 1;
    MUST(F30->C_VerifyMessageBegin(s, NULL, 0));
    return F30->C_VerifyMessageNext(s, NULL, 0, text, 40, sig, 64);
}
ROW(C_MessageVerifyFinal, CKR_OK, "at once")
{
    return F30->C_MessageVerifyFinal(verifying());
}
ROW(C_MessageVerifyFinal, CKR_OPERATION_NOT_INITIALIZED, "no operation is active")
{
    return F30->C_MessageVerifyFinal(open_user());
}

/* --- C_LoginUser --- */

ROW(C_LoginUser, CKR_OK, "the user, without a name")
{
    CK_SESSION_HANDLE s = open_rw();
    CK_RV rv = F30->C_LoginUser(s, CKU_USER, TEXT(user_pin), NULL, 0);

    CHECK(rv != CKR_OK || state_of(s) == CKS_RW_USER_FUNCTIONS);
    return rv;
}
ROW(C_LoginUser, CKR_USER_ALREADY_LOGGED_IN, "twice")
{
    return F30->C_LoginUser(open_user(), CKU_USER, TEXT(user_pin), NULL, 0);
}
ROW(C_LoginUser, CKR_PIN_INCORRECT, "a wrong PIN")
{
    return F30->C_LoginUser(open_at(scratch_slot(), CKF_RW_SESSION), CKU_USER, TEXT("not this one"), NULL, 0);
}
ROW(C_LoginUser, CKR_USER_TYPE_INVALID, "a user type that does not exist")
{
    return F30->C_LoginUser(open_rw(), 77, TEXT(user_pin), NULL, 0);
}

/* --- C_SessionCancel, NULL mechanisms --- */

ROW(C_SessionCancel, CKR_OK, "an encryption; the digest goes on")
{
    CK_SESSION_HANDLE s = open_user();
    CK_MECHANISM ecb = {CKM_AES_ECB, NULL, 0};
    CK_RV rv;

    NEED(CKM_AES_ECB, CKF_ENCRYPT);
    (void)F30;
    MUST(F->C_EncryptInit(s, &ecb, aes(s, MAY_ENCRYPT)));
    MUST(F->C_DigestInit(s, &hash));
    rv = F30->C_SessionCancel(s, CKF_ENCRYPT);
    MUST(F->C_DigestUpdate(s, text, 40));
    len = sizeof(out);
    CHECK(F->C_Encrypt(s, text, 16, out, &len) == CKR_OPERATION_NOT_INITIALIZED);
    return rv;
}
ROW(C_SessionCancel, CKR_OK, "everything at once")
{
    CK_SESSION_HANDLE s = verifying();
    CK_RV rv;

    MUST(F->C_FindObjectsInit(s, NULL, 0));
    MUST(F->C_DigestInit(s, &hash));
    rv = F30->C_SessionCancel(s, CKF_FIND_OBJECTS | CKF_DIGEST | CKF_MESSAGE_SIGN | CKF_MESSAGE_VERIFY);
    MUST(F->C_FindObjectsInit(s, NULL, 0));
    MUST(F->C_DigestInit(s, &hash));
    CHECK(F30->C_MessageSignFinal(s) == CKR_OPERATION_NOT_INITIALIZED);
    CHECK(F30->C_MessageVerifyFinal(s) == CKR_OPERATION_NOT_INITIALIZED);
    return rv;
}
ROW(C_SessionCancel, CKR_OK, "nothing is active")
{
    return F30->C_SessionCancel(open_ro(), CKF_ENCRYPT | CKF_SIGN);
}
ROW(C_SessionCancel, CKR_OK, "no flags: nothing ends")
{
    CK_SESSION_HANDLE s = open_ro();
    CK_RV rv;

    MUST(F->C_DigestInit(s, &hash));
    rv = F30->C_SessionCancel(s, 0);
    MUST(F->C_DigestUpdate(s, text, 40));
    return rv;
}
ROW(C_DigestInit, CKR_OK, "NULL mechanism ends an active operation (3.0)")
{
    CK_SESSION_HANDLE s = open_ro();
    CK_RV rv;

    (void)F30;
    MUST(F->C_DigestInit(s, &hash));
    rv = F->C_DigestInit(s, NULL);
    CHECK(F->C_DigestUpdate(s, text, 40) == CKR_OPERATION_NOT_INITIALIZED);
    return rv;
}
ROW(C_SignInit, CKR_OK, "NULL mechanism ends an active operation (3.0)")
{
    CK_SESSION_HANDLE s = open_user();
    CK_RV rv;

    (void)F30;
    MUST(F->C_SignInit(s, &ecdsa, pair(s, CKK_EC, CKO_PRIVATE_KEY)));
    rv = F->C_SignInit(s, NULL, 0);
    CHECK(F->C_SignUpdate(s, text, 40) == CKR_OPERATION_NOT_INITIALIZED);
    return rv;
}
ROW(C_EncryptInit, CKR_OK, "NULL mechanism ends an active operation (3.0)")
{
    CK_SESSION_HANDLE s = open_user();
    CK_BYTE whole_iv[16] = {0};
    CK_RV rv;

    (void)F30;
    cbc = (CK_MECHANISM){CKM_AES_CBC, whole_iv, 16};
    MUST(F->C_EncryptInit(s, &cbc, aes(s, MAY_ENCRYPT)));
    rv = F->C_EncryptInit(s, NULL, 0);
    len = sizeof(out);
    CHECK(F->C_EncryptUpdate(s, text, 16, out, &len) == CKR_OPERATION_NOT_INITIALIZED);
    return rv;
}
