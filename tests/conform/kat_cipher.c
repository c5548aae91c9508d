/* SPDX-License-Identifier: Apache-2.0
 *
 * Vectors of ciphers, MACs and digests.
 */
#include "kat.h"

#include <stdio.h>
#include <stdlib.h>

CK_OBJECT_HANDLE kat_secret(CK_KEY_TYPE type, struct bytes value, CK_ATTRIBUTE_TYPE use, CK_ATTRIBUTE_TYPE use_too)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_KEY_TYPE, &type, sizeof(type)},
                               {CKA_VALUE, value.p, value.n},
                               {use, &yes, 1},
                               {use_too, &yes, 1},
                               {CKA_EXTRACTABLE, &yes, 1},
                               {CKA_SENSITIVE, &no, 1}};
    CK_RV rv = F->C_CreateObject(kat_session, template, 7, &key);

    if (rv == CKR_ATTRIBUTE_VALUE_INVALID || rv == CKR_KEY_SIZE_RANGE)
        row_skip("a key of this size");
    MUST(rv);
    return key;
}

void kat_same(const char *what, struct bytes got, struct bytes want)
{
    if (got.n != want.n || (want.n > 0 && memcmp(got.p, want.p, want.n) != 0))
        row_fail(what, CKR_OK);
}

CK_RV kat_crypt(const struct vector *v, bool is_encrypt, CK_MECHANISM *mech, CK_OBJECT_HANDLE key, struct bytes in,
                struct bytes *out)
{
    CK_ULONG room = in.n + 64, n = room, at = 0;
    CK_RV rv = is_encrypt ? F->C_EncryptInit(kat_session, mech, key) : F->C_DecryptInit(kat_session, mech, key);

    if (rv != CKR_OK)
        return rv;
    out->p = kat_alloc(room);
    out->n = 0;
    if (v->index % 2 == 0) {
        rv = is_encrypt ? F->C_Encrypt(kat_session, in.p, in.n, out->p, &n)
                        : F->C_Decrypt(kat_session, in.p, in.n, out->p, &n);
        out->n = rv == CKR_OK ? n : 0;
        return rv;
    }
    for (CK_ULONG i = 0, part; rv == CKR_OK && i < in.n; i += part, at += n) {
        part = in.n - i < 23 ? in.n - i : 23;
        n = room - at;
        rv = is_encrypt ? F->C_EncryptUpdate(kat_session, in.p + i, part, out->p + at, &n)
                        : F->C_DecryptUpdate(kat_session, in.p + i, part, out->p + at, &n);
    }
    n = room - at;
    if (rv == CKR_OK)
        rv = is_encrypt ? F->C_EncryptFinal(kat_session, out->p + at, &n)
                        : F->C_DecryptFinal(kat_session, out->p + at, &n);
    out->n = at + n;
    return rv;
}

CK_RV kat_verify(const struct vector *v, CK_MECHANISM *mech, CK_OBJECT_HANDLE key, struct bytes message,
                 struct bytes signature)
{
    CK_RV rv = F->C_VerifyInit(kat_session, mech, key);

    if (rv != CKR_OK)
        return rv;
    if (v->index % 2 == 0)
        return F->C_Verify(kat_session, message.p, message.n, signature.p, signature.n);
    for (CK_ULONG i = 0; i < message.n; i += 61)
        MUST(F->C_VerifyUpdate(kat_session, message.p + i, message.n - i < 61 ? message.n - i : 61));
    return F->C_VerifyFinal(kat_session, signature.p, signature.n);
}

CK_RV kat_sign(const struct vector *v, CK_MECHANISM *mech, CK_OBJECT_HANDLE key, struct bytes message,
               struct bytes *ret)
{
    CK_RV rv = F->C_SignInit(kat_session, mech, key);

    if (rv != CKR_OK)
        return rv;
    ret->n = 1024;
    ret->p = kat_alloc(ret->n);
    if (v->index % 2 == 0)
        return F->C_Sign(kat_session, message.p, message.n, ret->p, &ret->n);
    for (CK_ULONG i = 0; i < message.n; i += 61)
        MUST(F->C_SignUpdate(kat_session, message.p + i, message.n - i < 61 ? message.n - i : 61));
    return F->C_SignFinal(kat_session, ret->p, &ret->n);
}

/* There and back. */
static void both_ways(const struct vector *v, CK_MECHANISM *mech, CK_OBJECT_HANDLE key, struct bytes plain,
                      struct bytes cipher)
{
    struct bytes got;

    MUST(kat_crypt(v, true, mech, key, plain, &got));
    kat_same("encrypted otherwise", got, cipher);
    MUST(kat_crypt(v, false, mech, key, cipher, &got));
    kat_same("decrypted otherwise", got, plain);
}

/* A tag that is wrong: whatever comes out is not taken. */
static void must_not_decrypt(const struct vector *v, CK_MECHANISM *mech, CK_OBJECT_HANDLE key, struct bytes cipher)
{
    struct bytes got;
    CK_RV rv = kat_crypt(v, false, mech, key, cipher, &got);

    if (rv != CKR_ENCRYPTED_DATA_INVALID && rv != CKR_AEAD_DECRYPT_FAILED)
        row_fail("a wrong tag", rv);
}

static struct bytes join(struct bytes a, struct bytes b)
{
    struct bytes both = {kat_alloc(a.n + b.n), a.n + b.n};

    if (a.n > 0)
        memcpy(both.p, a.p, a.n);
    if (b.n > 0)
        memcpy(both.p + a.n, b.p, b.n);
    return both;
}

/* The modes whose parameter is an IV, and CTR. */
void kat_aes(const struct vector *v, const struct kat_file *file)
{
    struct bytes iv = kat_bytes_or_none(v, "IV");
    CK_AES_CTR_PARAMS ctr = {128, {0}};
    CK_MECHANISM mech = {file->mechanism, iv.p, iv.n};
    CK_OBJECT_HANDLE key = kat_secret(CKK_AES, kat_bytes(v, "KEY"), CKA_ENCRYPT, CKA_DECRYPT);

    if (file->mechanism == CKM_AES_CTR) {
        memcpy(ctr.cb, iv.p, 16);
        mech = (CK_MECHANISM){CKM_AES_CTR, &ctr, sizeof(ctr)};
    }
    both_ways(v, &mech, key, kat_bytes(v, "PLAINTEXT"), kat_bytes(v, "CIPHERTEXT"));
}

static bool takes(CK_MECHANISM *mech, CK_OBJECT_HANDLE key)
{
    CK_SESSION_HANDLE s = open_rw();
    CK_RV rv = F->C_EncryptInit(s, mech, key);

    MUST(F->C_CloseSession(s));
    return rv != CKR_MECHANISM_PARAM_INVALID;
}

void kat_gcm(const struct vector *v, const struct kat_file *file)
{
    struct bytes iv = kat_bytes(v, "IV"), aad = kat_bytes_or_none(v, "AAD"), tag = kat_bytes(v, "Tag");
    CK_GCM_PARAMS params = {iv.p, iv.n, iv.n * 8, aad.p, aad.n, tag.n * 8};
    CK_MECHANISM mech = {file->mechanism, &params, sizeof(params)};
    CK_OBJECT_HANDLE key = kat_secret(CKK_AES, kat_bytes(v, "Key"), CKA_ENCRYPT, CKA_DECRYPT);
    struct bytes cipher = join(kat_bytes_or_none(v, "CT"), tag);

    if (tag.n < 12 && !takes(&mech, key))
        row_skip("a tag shorter than SP 800-38D 5.2.1.2 recommends");
    if (kat_has(v, "FAIL"))
        must_not_decrypt(v, &mech, key, cipher);
    else
        both_ways(v, &mech, key, kat_bytes_or_none(v, "PT"), cipher);
}

/* GCM's vectors without text: what is authenticated is the message. */
void kat_gmac(const struct vector *v, const struct kat_file *file)
{
    struct bytes iv = kat_bytes(v, "IV"), message = kat_bytes(v, "AAD"), want = kat_bytes(v, "Tag"), got;
    CK_GCM_PARAMS params = {iv.p, iv.n, iv.n * 8, NULL, 0, 128};
    CK_MECHANISM mech = {file->mechanism, &params, sizeof(params)};
    CK_OBJECT_HANDLE key = kat_secret(CKK_AES, kat_bytes(v, "Key"), CKA_SIGN, CKA_VERIFY);

    MUST(kat_sign(v, &mech, key, message, &got));
    kat_same("another MAC", got, want);
    MUST(kat_verify(v, &mech, key, message, want));
}

/* The counter has 32 bits beside the RFC's nonce; newer editions of the file split the 16 bytes in halves. */
void kat_chacha20(const struct vector *v, const struct kat_file *file)
{
    struct bytes nonce = kat_bytes(v, "NONCE");
    CK_ULONG number = kat_number(v, "INITIAL_BLOCK_COUNTER");
    CK_BYTE counter[8];
    CK_CHACHA20_PARAMS params = {counter, nonce.n == 8 ? 64 : 32, nonce.p, nonce.n * 8};

    for (size_t i = 0; i < sizeof(counter); i++)
        counter[i] = (CK_BYTE)(number >> (8 * i));
    CK_MECHANISM mech = {file->mechanism, &params, sizeof(params)};

    both_ways(v, &mech, kat_secret(CKK_CHACHA20, kat_bytes(v, "KEY"), CKA_ENCRYPT, CKA_DECRYPT),
              kat_bytes(v, "PLAINTEXT"), kat_bytes(v, "CIPHERTEXT"));
}

void kat_ccm(const struct vector *v, const struct kat_file *file)
{
    struct bytes nonce = kat_bytes(v, "Nonce"), aad = kat_bytes(v, "Adata"), cipher = kat_bytes(v, "CT"),
                 plain = kat_bytes_or_none(v, "Payload");
    CK_ULONG tag_len = kat_number(v, "Tlen");
    const char *result = kat_text(v, "Result");
    bool is_wrong = result != NULL && strncmp(result, "Fail", 4) == 0;
    CK_CCM_PARAMS params = {cipher.n - tag_len, nonce.p, nonce.n, aad.p, aad.n, tag_len};
    CK_MECHANISM mech = {file->mechanism, &params, sizeof(params)};
    CK_OBJECT_HANDLE key = kat_secret(CKK_AES, kat_bytes(v, "Key"), CKA_ENCRYPT, CKA_DECRYPT);

    if (kat_number(v, "Alen") == 0)
        params.ulAADLen = 0; /* the file says 00 */
    plain.n = kat_number(v, "Plen") == 0 ? 0 : plain.n;
    if (is_wrong)
        must_not_decrypt(v, &mech, key, cipher);
    else
        both_ways(v, &mech, key, plain, cipher);
}

void kat_xts(const struct vector *v, const struct kat_file *file)
{
    struct bytes tweak = kat_bytes(v, "i");
    CK_MECHANISM mech = {file->mechanism, tweak.p, tweak.n};

    if (kat_number(v, "DataUnitLen") % 8 != 0)
        row_skip("a length in bits");
    both_ways(v, &mech, kat_secret(CKK_AES_XTS, kat_bytes(v, "Key"), CKA_ENCRYPT, CKA_DECRYPT), kat_bytes(v, "PT"),
              kat_bytes(v, "CT"));
}

void kat_chacha(const struct vector *v, const struct kat_file *file)
{
    bool is_openssl = kat_has(v, "Ciphertext");
    struct bytes nonce = kat_bytes(v, is_openssl ? "IV" : "NONCE"),
                 aad = kat_bytes_or_none(v, is_openssl ? "AAD" : "AD"),
                 cipher = join(kat_bytes(v, is_openssl ? "Ciphertext" : "CT"), kat_bytes(v, "Tag"));
    CK_SALSA20_CHACHA20_POLY1305_PARAMS params = {nonce.p, nonce.n, aad.p, aad.n};
    CK_MECHANISM mech = {file->mechanism, &params, sizeof(params)};
    CK_OBJECT_HANDLE key = kat_secret(CKK_CHACHA20, kat_bytes(v, "Key"), CKA_ENCRYPT, CKA_DECRYPT);

    if (nonce.n != 12)
        row_skip("a nonce of another length than 12");
    if (kat_has(v, "Result"))
        must_not_decrypt(v, &mech, key, cipher);
    else
        both_ways(v, &mech, key, kat_bytes(v, is_openssl ? "Plaintext" : "IN"), cipher);
}

/* HMAC and CMAC; `extra` is the key's type. */
void kat_mac(const struct vector *v, const struct kat_file *file)
{
    CK_MECHANISM mech = {file->mechanism, NULL, 0};
    struct bytes message = kat_bytes(v, kat_has(v, "Msg") ? "Msg" : "MESSAGE"),
                 want = kat_bytes(v, kat_has(v, "MD") ? "MD" : "OUTPUT"), got;
    CK_OBJECT_HANDLE key = kat_secret(file->extra, kat_bytes(v, "Key"), CKA_SIGN, CKA_VERIFY);

    CK_RV rv = kat_sign(v, &mech, key, message, &got);
    if (rv == CKR_KEY_SIZE_RANGE)
        row_skip("a key of this size");
    MUST(rv);
    kat_same("another MAC", got, want);
    MUST(kat_verify(v, &mech, key, message, want));
    want.p[0] ^= 1;
    CHECK(kat_verify(v, &mech, key, message, want) == CKR_SIGNATURE_INVALID);
}

void kat_digest(const struct vector *v, const struct kat_file *file)
{
    CK_MECHANISM mech = {file->mechanism, NULL, 0};
    struct bytes message = kat_bytes(v, "Msg"), got = {kat_alloc(128), 128};
    CK_ULONG part = v->index * 31 % 200 + 1;

    message.n = kat_number(v, "Len") / 8;
    MUST(F->C_DigestInit(kat_session, &mech));
    if (v->index % 2 == 0) {
        MUST(F->C_Digest(kat_session, message.p, message.n, got.p, &got.n));
    } else {
        for (CK_ULONG i = 0; i < message.n; i += part)
            MUST(F->C_DigestUpdate(kat_session, message.p + i, message.n - i < part ? message.n - i : part));
        MUST(F->C_DigestFinal(kat_session, got.p, &got.n));
    }
    kat_same("another digest", got, kat_bytes(v, "MD"));
}
