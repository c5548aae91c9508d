/* SPDX-License-Identifier: Apache-2.0
 *
 * Every cipher with a secret key: known answers in one call and in parts of many sizes, exact lengths, refused lengths
 * and parameters, and that no text is given out before its tag was checked.
 */
#include "loop.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX 256
#define ANY_LEN ((size_t)-1)

static CK_SESSION_HANDLE s;

static int setup(void **state)
{
    int rv = loop_setup(state);

    s = loop_login();
    return rv;
}

/* What an answer is known for; hexadecimal. `bits` is the tag's, the counter's or (ChaCha20) the block counter's
 * length. */
static const struct known {
    const char *source;
    CK_MECHANISM_TYPE type;
    CK_KEY_TYPE key_type;
    const char *key, *iv, *aad, *text, *result;
    unsigned bits;
} known[] = {
    {"SP 800-38A F.1.1", CKM_AES_ECB, CKK_AES, "2b7e151628aed2a6abf7158809cf4f3c", "", "",
     "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
     "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf", 0},
    {"SP 800-38A F.2.1", CKM_AES_CBC, CKK_AES, "2b7e151628aed2a6abf7158809cf4f3c", "000102030405060708090a0b0c0d0e0f",
     "", "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
     "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2", 0},
    {"RFC 3602 4, case 2, and padding", CKM_AES_CBC_PAD, CKK_AES, "c286696d887c9aa0611bbb3e2025a45a",
     "562e17996d093d28ddb3ba695a2e6f58", "", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e", NULL, 0},
    {"SP 800-38A F.5.1", CKM_AES_CTR, CKK_AES, "2b7e151628aed2a6abf7158809cf4f3c", "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
     "", "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e",
     "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffd", 128},
    {"SP 800-38A F.4.1", CKM_AES_OFB, CKK_AES, "2b7e151628aed2a6abf7158809cf4f3c", "000102030405060708090a0b0c0d0e0f",
     "", "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e",
     "3b3fd92eb72dad20333449f8e83cfb4a7789508d16918f03f53c52dac54ed8", 0},
    {"SP 800-38A F.3.13", CKM_AES_CFB128, CKK_AES, "2b7e151628aed2a6abf7158809cf4f3c",
     "000102030405060708090a0b0c0d0e0f", "", "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e",
     "3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce5", 0},
    {"SP 800-38A F.3.7", CKM_AES_CFB8, CKK_AES, "2b7e151628aed2a6abf7158809cf4f3c", "000102030405060708090a0b0c0d0e0f",
     "", "6bc1bee22e409f96e93d7e117393172aae2d", "3b79424c9c0dd436bace9e0ed4586a4f32b9", 0},
    {"RFC 3962 B (CS3), blocks swapped to CS1: 17 bytes", CKM_AES_CTS, CKK_AES, "636869636b656e207465726979616b69",
     "00000000000000000000000000000000", "", "4920776f756c64206c696b652074686520", "97c6353568f2bf8cb4d8a580362da7ff7f",
     0},
    {"RFC 3962 B, 31 bytes", CKM_AES_CTS, CKK_AES, "636869636b656e207465726979616b69",
     "00000000000000000000000000000000", "", "4920776f756c64206c696b65207468652047656e6572616c20476175277320",
     "97687268d6ecccc0c07b25e25ecfe5fc00783e0efdb2c1d445d4c8eff7ed22", 0},
    {"RFC 3962 B, 32 bytes", CKM_AES_CTS, CKK_AES, "636869636b656e207465726979616b69",
     "00000000000000000000000000000000", "", "4920776f756c64206c696b65207468652047656e6572616c2047617527732043",
     "97687268d6ecccc0c07b25e25ecfe58439312523a78662d5be7fcbcc98ebf5a8", 0},
    {"IEEE 1619 B, vector 2", CKM_AES_XTS, CKK_AES_XTS,
     "1111111111111111111111111111111122222222222222222222222222222222", "33333333330000000000000000000000", "",
     "4444444444444444444444444444444444444444444444444444444444444444",
     "c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0", 0},
    {"IEEE 1619 B, vector 15", CKM_AES_XTS, CKK_AES_XTS,
     "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0bfbebdbcbbbab9b8b7b6b5b4b3b2b1b0", "9a785634120000000000000000000000", "",
     "000102030405060708090a0b0c0d0e0f10", "6c1625db4671522d3d7599601de7ca09ed", 0},
    {"GCM specification, case 4", CKM_AES_GCM, CKK_AES, "feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657b"
     "a6"
     "37b39",
     "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973"
     "d5"
     "8e0915bc94fbc3221a5db94fae95ae7121a47",
     128},
    {"GCM specification, case 5: IV of 8 bytes", CKM_AES_GCM, CKK_AES, "feffe9928665731c6d6a8f9467308308",
     "cafebabefacedbad", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657b"
     "a6"
     "37b39",
     "61353b4c2806934a777ff51fa22a4755699b2a714fcdc6f83766e5f97b6c742373806900e49f24b22b097544d4896b424989b5e1ebac0f07c"
     "23"
     "f45983612d2e79e3b0785561be14aaca2fccb",
     128},
    {"GCM specification, case 6: IV of 60 bytes", CKM_AES_GCM, CKK_AES, "feffe9928665731c6d6a8f9467308308",
     "9313225df88406e555909c5aff5269aa6a7a9538534f7da1e4c303d2a318a728c3c0c95156809539fcf0e2429a6b525416aedbf5a0de6a57a"
     "63"
     "7b39b",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657b"
     "a6"
     "37b39",
     "8ce24998625615b603a033aca13fb894be9112a5c3a211a8ba262a3cca7e2ca701e4a9a4fba43c90ccdcb281d48c7c6fd62875d2aca41703"
     "4c34aee5619cc5aefffe0bfa462af43c1699d050",
     128},
    {"GCM specification, case 1: no text", CKM_AES_GCM, CKK_AES, "00000000000000000000000000000000",
     "000000000000000000000000", "", "", "58e2fccefa7e3061367f1d57a4e7455a", 128},
    {"RFC 3610, vector 1", CKM_AES_CCM, CKK_AES, "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf", "00000003020100a0a1a2a3a4a5",
     "0001020304050607", "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e",
     "588c979a61c663d2f066d0c2c0f989806d5f6b61dac38417e8d12cfdf926e0", 64},
    {"RFC 3610, vector 7", CKM_AES_CCM, CKK_AES, "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf", "00000009080706a0a1a2a3a4a5",
     "0001020304050607", "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e",
     "0135d1b2c95f41d5d1d4fec185d166b8094e999dfed96c048c56602c97acbb7490", 80},
    {"SP 800-38C C.1", CKM_AES_CCM, CKK_AES, "404142434445464748494a4b4c4d4e4f", "10111213141516", "0001020304050607",
     "20212223", "7162015b4dac255d", 32},
    {"RFC 8439 2.8.2", CKM_CHACHA20_POLY1305, CKK_CHACHA20,
     "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f", "070000004041424344454647",
     "50515253c0c1c2c3c4c5c6c7",
     "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a204966204920636f756c64206f66666"
     "572"
     "20796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73637265656e20776f756c642062652069742e",
     "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b290"
     "5d6"
     "a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116"
     "1ae10b594f09e26a7e902ecbd0600691",
     0},
    {"RFC 8439 2.4.2", CKM_CHACHA20, CKK_CHACHA20, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
     "01000000000000000000004a00000000", "",
     "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a204966204920636f756c64206f66666"
     "572"
     "20796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73637265656e20776f756c642062652069742e",
     "6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0bf91b65c5524733ab8f593dabcd62b3571639d624e65152ab8"
     "f53"
     "0c359f0861d807ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806818ce91ab77937365af90bbf74a35be6b40b8eedf2785e42874d",
     32},
    {"RFC 3394 4.1", CKM_AES_KEY_WRAP, CKK_AES, "000102030405060708090a0b0c0d0e0f", "", "",
     "00112233445566778899aabbccddeeff", "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5", 0},
    {"RFC 3394 4.6", CKM_AES_KEY_WRAP, CKK_AES, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "",
     "", "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f",
     "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21", 0},
    {"RFC 5649 6, 20 bytes", CKM_AES_KEY_WRAP_KWP, CKK_AES, "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8", "", "",
     "c37b7e6492584340bed12207808941155068f738", "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a", 0},
    {"RFC 5649 6, 7 bytes", CKM_AES_KEY_WRAP_PAD, CKK_AES, "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8", "", "",
     "466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f", 0},
    {"PKCS#7 padding under RFC 3394", CKM_AES_KEY_WRAP_PKCS7, CKK_AES, "000102030405060708090a0b0c0d0e0f", "", "",
     "00112233445566778899aabb", NULL, 0},
};
#define N_KNOWN (sizeof(known) / sizeof(known[0]))

struct scene {
    CK_BYTE key[64], iv[128], aad[64], text[TEXT_MAX], result[TEXT_MAX + 32];
    size_t key_len, iv_len, aad_len, text_len, result_len;
    union {
        CK_GCM_PARAMS gcm;
        CK_CCM_PARAMS ccm;
        CK_AES_CTR_PARAMS ctr;
        CK_CHACHA20_PARAMS chacha;
        CK_SALSA20_CHACHA20_POLY1305_PARAMS poly;
    } p;
    CK_MECHANISM m;
    CK_OBJECT_HANDLE handle;
};

static size_t from_hex(const char *hex, CK_BYTE *ret, size_t max)
{
    size_t len = strlen(hex) / 2;

    assert_true(len <= max);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(sscanf(hex + 2 * i, "%2hhx", &ret[i]), 1);
    return len;
}

static CK_OBJECT_HANDLE import_as(CK_KEY_TYPE type, CK_BYTE *value, size_t len, bool is_sensitive)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_BBOOL sensitive = is_sensitive;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_KEY_TYPE, &type, sizeof(type)},
                               {CKA_VALUE, value, len},
                               {CKA_SENSITIVE, &sensitive, 1}};
    CK_OBJECT_HANDLE key = 0;

    OK(C_CreateObject(s, template, 4, &key));
    return key;
}

static CK_OBJECT_HANDLE import(CK_KEY_TYPE type, CK_BYTE *value, size_t len)
{
    return import_as(type, value, len, false);
}

static void set_param(struct scene *c, unsigned bits)
{
    switch (c->m.mechanism) {
    case CKM_AES_GCM:
        c->p.gcm = (CK_GCM_PARAMS){c->iv, c->iv_len, 8 * c->iv_len, c->aad, c->aad_len, bits};
        c->m.ulParameterLen = sizeof(c->p.gcm);
        break;
    case CKM_AES_CCM:
        c->p.ccm = (CK_CCM_PARAMS){c->text_len, c->iv, c->iv_len, c->aad, c->aad_len, bits / 8};
        c->m.ulParameterLen = sizeof(c->p.ccm);
        break;
    case CKM_AES_CTR:
        c->p.ctr.ulCounterBits = bits;
        memcpy(c->p.ctr.cb, c->iv, 16);
        c->m.ulParameterLen = sizeof(c->p.ctr);
        break;
    case CKM_CHACHA20:
        c->p.chacha = (CK_CHACHA20_PARAMS){c->iv, bits, c->iv + bits / 8, 128 - bits};
        c->m.ulParameterLen = sizeof(c->p.chacha);
        break;
    case CKM_CHACHA20_POLY1305:
        c->p.poly = (CK_SALSA20_CHACHA20_POLY1305_PARAMS){c->iv, c->iv_len, c->aad, c->aad_len};
        c->m.ulParameterLen = sizeof(c->p.poly);
        break;
    default:
        c->m.pParameter = c->iv_len > 0 ? c->iv : NULL;
        c->m.ulParameterLen = c->iv_len;
        return;
    }
    c->m.pParameter = &c->p;
}

static void set_scene(const struct known *k, struct scene *c)
{
    *c = (struct scene){.m.mechanism = k->type};
    c->key_len = from_hex(k->key, c->key, sizeof(c->key));
    c->iv_len = from_hex(k->iv, c->iv, sizeof(c->iv));
    c->aad_len = from_hex(k->aad, c->aad, sizeof(c->aad));
    c->text_len = from_hex(k->text, c->text, sizeof(c->text));
    c->result_len = k->result != NULL ? from_hex(k->result, c->result, sizeof(c->result)) : ANY_LEN;
    set_param(c, k->bits);
    c->handle = import(k->key_type, c->key, c->key_len);
}

/* The result in parts of `part` bytes; an AEAD's text must not come before the end. */
static size_t in_parts(struct scene *c, bool encrypt, CK_BYTE *in, size_t len, size_t part, CK_BYTE *out)
{
    bool is_aead =
        c->m.mechanism == CKM_AES_GCM || c->m.mechanism == CKM_AES_CCM || c->m.mechanism == CKM_CHACHA20_POLY1305;
    size_t total = 0;
    CK_ULONG n, asked;

    if (encrypt)
        OK(C_EncryptInit(s, &c->m, c->handle));
    else
        OK(C_DecryptInit(s, &c->m, c->handle));
    for (size_t at = 0; at < len; at += part) {
        size_t step = len - at < part ? len - at : part;
        n = TEXT_MAX + 32 - total;
        if (encrypt)
            OK(C_EncryptUpdate(s, in + at, step, NULL, &asked));
        else
            OK(C_DecryptUpdate(s, in + at, step, NULL, &asked));
        if (encrypt)
            OK(C_EncryptUpdate(s, in + at, step, out + total, &n));
        else
            OK(C_DecryptUpdate(s, in + at, step, out + total, &n));
        assert_int_equal(n, asked);
        assert_true(!is_aead || n == 0);
        total += n;
    }
    n = TEXT_MAX + 32 - total;
    if (encrypt)
        OK(C_EncryptFinal(s, out + total, &n));
    else
        OK(C_DecryptFinal(s, out + total, &n));
    return total + n;
}

static void answer(struct scene *c)
{
    static const size_t parts[] = {1, 5, 15, 16, 17, 64, 65, 200};
    CK_BYTE out[TEXT_MAX + 32], back[TEXT_MAX + 32];
    CK_ULONG n = 0;
    size_t len;

    OK(C_EncryptInit(s, &c->m, c->handle));
    OK(C_Encrypt(s, c->text, c->text_len, NULL, &n));
    if (c->result_len != ANY_LEN)
        assert_int_equal(n, c->result_len);
    if (n > 0) {
        n--;
        RV(C_Encrypt(s, c->text, c->text_len, out, &n), CKR_BUFFER_TOO_SMALL);
    }
    OK(C_Encrypt(s, c->text, c->text_len, out, &n));
    if (c->result_len == ANY_LEN) {
        c->result_len = n;
        memcpy(c->result, out, n);
    }
    assert_int_equal(n, c->result_len);
    assert_memory_equal(out, c->result, n);
    OK(C_DecryptInit(s, &c->m, c->handle));
    OK(C_Decrypt(s, c->result, c->result_len, NULL, &n));
    assert_true(n >= c->text_len && n <= c->result_len);
    OK(C_Decrypt(s, c->result, c->result_len, back, &n));
    assert_int_equal(n, c->text_len);
    assert_memory_equal(back, c->text, n);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        len = in_parts(c, true, c->text, c->text_len, parts[i], out);
        assert_int_equal(len, c->result_len);
        assert_memory_equal(out, c->result, len);
        len = in_parts(c, false, c->result, c->result_len, parts[i], back);
        assert_int_equal(len, c->text_len);
        assert_memory_equal(back, c->text, len);
    }
}

/* A message that is worth the key's value; what follows within a second is computed in this process (bulk.c). */
static void fetch_value(struct scene *c)
{
    CK_BYTE *text = calloc(2, 8192);
    CK_ULONG n = 8192;

    c->p.ccm.ulDataLen = c->m.mechanism == CKM_AES_CCM ? 4096 : c->p.ccm.ulDataLen;
    OK(C_EncryptInit(s, &c->m, c->handle));
    OK(C_Encrypt(s, text, 4096, text + 8192, &n));
    c->p.ccm.ulDataLen = c->m.mechanism == CKM_AES_CCM ? c->text_len : c->p.ccm.ulDataLen;
    free(text);
}

static void known_answers_come_in_one_call_and_in_parts(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_KNOWN; i++) {
        struct scene c;
        print_message("  %s\n", known[i].source);
        set_scene(&known[i], &c);
        answer(&c);
        fetch_value(&c);
        answer(&c);
        OK(C_DestroyObject(s, c.handle));
    }
}

static bool is_authenticated(CK_MECHANISM_TYPE type)
{
    return type == CKM_AES_GCM || type == CKM_AES_CCM || type == CKM_CHACHA20_POLY1305 || type == CKM_AES_KEY_WRAP ||
           type == CKM_AES_KEY_WRAP_KWP || type == CKM_AES_KEY_WRAP_PAD || type == CKM_AES_KEY_WRAP_PKCS7;
}

static void a_changed_bit_gives_no_text(void **state)
{
    CK_BYTE back[TEXT_MAX + 32];
    CK_ULONG n;
    (void)state;

    for (size_t i = 0; i < N_KNOWN; i++) {
        struct scene c;
        if (!is_authenticated(known[i].type) || known[i].result == NULL)
            continue;
        set_scene(&known[i], &c);
        for (size_t at = 0; at < c.result_len; at += c.result_len / 2) {
            c.result[at] ^= 0x10;
            n = sizeof(back);
            memset(back, 0xee, sizeof(back));
            OK(C_DecryptInit(s, &c.m, c.handle));
            RV(C_Decrypt(s, c.result, c.result_len, back, &n), CKR_ENCRYPTED_DATA_INVALID);
            n = sizeof(back);
            OK(C_DecryptInit(s, &c.m, c.handle));
            OK(C_DecryptUpdate(s, c.result, c.result_len, back, &n));
            assert_int_equal(n, 0);
            n = sizeof(back);
            RV(C_DecryptFinal(s, back, &n), CKR_ENCRYPTED_DATA_INVALID);
            for (size_t k = 0; k < sizeof(back); k++)
                assert_int_equal(back[k], 0xee);
            c.result[at] ^= 0x10;
        }
        OK(C_DestroyObject(s, c.handle));
    }
}

/* Lengths that a scheme cannot have, to encrypt and to decrypt. */
static void lengths_that_cannot_be_are_refused(void **state)
{
    static const struct {
        CK_MECHANISM_TYPE type;
        size_t encrypt, decrypt; /* ANY_LEN: every one goes */
    } rows[] = {
        {CKM_AES_ECB, 17, 17},           {CKM_AES_CBC, 15, 15},
        {CKM_AES_CBC_PAD, ANY_LEN, 0},   {CKM_AES_CBC_PAD, ANY_LEN, 24},
        {CKM_AES_CTS, 15, 15},           {CKM_AES_XTS, 15, 15},
        {CKM_AES_GCM, ANY_LEN, 15},      {CKM_AES_CCM, 22, 30},
        {CKM_AES_CCM, 24, 32},           {CKM_AES_KEY_WRAP, 8, 16},
        {CKM_AES_KEY_WRAP, 20, 28},      {CKM_AES_KEY_WRAP_KWP, 0, 8},
        {CKM_AES_KEY_WRAP_PKCS7, 7, 16}, {CKM_CHACHA20_POLY1305, ANY_LEN, 15},
    };
    CK_BYTE out[TEXT_MAX + 32];
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct known *k = known;
        struct scene c;
        CK_ULONG n = sizeof(out);
        while (k->type != rows[i].type)
            k++;
        set_scene(k, &c);
        if (rows[i].encrypt != ANY_LEN) {
            OK(C_EncryptInit(s, &c.m, c.handle));
            RV(C_Encrypt(s, c.text, rows[i].encrypt, out, &n), CKR_DATA_LEN_RANGE);
            RV(C_Encrypt(s, c.text, 16, out, &n), CKR_OPERATION_NOT_INITIALIZED);
        }
        n = sizeof(out);
        OK(C_DecryptInit(s, &c.m, c.handle));
        RV(C_Decrypt(s, c.text, rows[i].decrypt, out, &n), CKR_ENCRYPTED_DATA_LEN_RANGE);
        OK(C_DestroyObject(s, c.handle));
    }
}

static void refuse(CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE key, void *p, size_t len)
{
    CK_MECHANISM m = {type, p, len};

    RV(C_EncryptInit(s, &m, key), CKR_MECHANISM_PARAM_INVALID);
}

static void parameters_that_cannot_be_are_refused(void **state)
{
    CK_BYTE iv[256] = {0}, raw[64];
    CK_OBJECT_HANDLE aes, chacha;
    CK_GCM_PARAMS gcm[] = {{iv, 0, 0, NULL, 0, 128},  {NULL, 12, 0, NULL, 0, 128},       {iv, 129, 0, NULL, 0, 128},
                           {iv, 12, 0, NULL, 1, 128}, {iv, 12, 0, NULL, 0, 64},          {iv, 12, 0, NULL, 0, 136},
                           {iv, 12, 0, NULL, 0, 100}, {iv, 12, 0, iv, (CK_ULONG)-1, 128}};
    CK_CCM_PARAMS ccm[] = {{1, iv, 6, NULL, 0, 16},  {1, iv, 14, NULL, 0, 16},     {1, NULL, 12, NULL, 0, 16},
                           {1, iv, 12, NULL, 0, 15}, {1, iv, 12, NULL, 0, 2},      {1, iv, 12, NULL, 0, 18},
                           {1, iv, 12, NULL, 9, 16}, {65536, iv, 13, NULL, 0, 16}, {(CK_ULONG)-1, iv, 7, NULL, 0, 16}};
    CK_AES_CTR_PARAMS ctr[] = {{.ulCounterBits = 0}, {.ulCounterBits = 129}};
    CK_CHACHA20_PARAMS stream[] = {
        {iv, 32, iv, 64}, {iv, 64, iv, 96}, {iv, 31, iv, 97}, {NULL, 32, iv, 96}, {iv, 32, NULL, 96}};
    CK_SALSA20_CHACHA20_POLY1305_PARAMS poly[] = {
        {iv, 8, NULL, 0}, {iv, 24, NULL, 0}, {NULL, 12, NULL, 0}, {iv, 12, NULL, 3}};
    (void)state;

    memset(raw, 7, sizeof(raw));
    aes = import(CKK_AES, raw, 16);
    chacha = import(CKK_CHACHA20, raw, 32);
    for (size_t i = 0; i < sizeof(gcm) / sizeof(gcm[0]); i++)
        refuse(CKM_AES_GCM, aes, &gcm[i], sizeof(gcm[i]));
    for (size_t i = 0; i < sizeof(ccm) / sizeof(ccm[0]); i++)
        refuse(CKM_AES_CCM, aes, &ccm[i], sizeof(ccm[i]));
    for (size_t i = 0; i < sizeof(ctr) / sizeof(ctr[0]); i++)
        refuse(CKM_AES_CTR, aes, &ctr[i], sizeof(ctr[i]));
    for (size_t i = 0; i < sizeof(stream) / sizeof(stream[0]); i++)
        refuse(CKM_CHACHA20, chacha, &stream[i], sizeof(stream[i]));
    for (size_t i = 0; i < sizeof(poly) / sizeof(poly[0]); i++)
        refuse(CKM_CHACHA20_POLY1305, chacha, &poly[i], sizeof(poly[i]));
    refuse(CKM_AES_ECB, aes, iv, 16);
    refuse(CKM_AES_CBC, aes, iv, 15);
    refuse(CKM_AES_CBC, aes, NULL, 16);
    refuse(CKM_AES_KEY_WRAP, aes, iv, 4);
    refuse(CKM_AES_KEY_WRAP_KWP, aes, iv, 8);
    refuse(CKM_AES_KEY_WRAP, aes, NULL, 8);
    refuse(CKM_AES_GCM, aes, &gcm[0], sizeof(gcm[0]) - 8);
    OK(C_DestroyObject(s, aes));
    OK(C_DestroyObject(s, chacha));
}

/* Anywhere in memory: the sanitizers see the rest. */
static void a_parameter_may_be_misaligned(void **state)
{
    const struct known *k = known;
    struct scene c;
    CK_BYTE memory[sizeof(CK_GCM_PARAMS) + 1], out[TEXT_MAX + 32];
    CK_ULONG n = sizeof(out);
    (void)state;

    while (k->type != CKM_AES_GCM)
        k++;
    set_scene(k, &c);
    memcpy(memory + 1, c.m.pParameter, c.m.ulParameterLen);
    c.m.pParameter = memory + 1;
    OK(C_EncryptInit(s, &c.m, c.handle));
    OK(C_Encrypt(s, c.text, c.text_len, out, &n));
    assert_memory_equal(out, c.result, c.result_len);
    OK(C_DestroyObject(s, c.handle));
}

/* SunPKCS11 counts ChaCha20-Poly1305's nonce in bytes, the standard in bits. */
static void the_nonce_may_be_counted_in_bits(void **state)
{
    const struct known *k = known;
    struct scene c;
    CK_BYTE out[TEXT_MAX + 32];
    CK_ULONG n = sizeof(out);
    (void)state;

    while (k->type != CKM_CHACHA20_POLY1305)
        k++;
    set_scene(k, &c);
    c.p.poly.ulNonceLen = 96;
    OK(C_EncryptInit(s, &c.m, c.handle));
    OK(C_Encrypt(s, c.text, c.text_len, out, &n));
    assert_memory_equal(out, c.result, c.result_len);
    OK(C_DestroyObject(s, c.handle));
}

/* The same key stream would come twice, in one call or in parts. */
static void a_counter_does_not_come_around(void **state)
{
    CK_BYTE raw[32] = {9}, text[600] = {0}, out[600], iv[16] = {0};
    CK_AES_CTR_PARAMS ctr = {.ulCounterBits = 4, .cb = {[15] = 0x0f}};
    CK_CHACHA20_PARAMS stream = {iv, 32, iv + 4, 96};
    CK_MECHANISM m = {CKM_AES_CTR, &ctr, sizeof(ctr)};
    CK_OBJECT_HANDLE aes = import(CKK_AES, raw, 16), chacha = import(CKK_CHACHA20, raw, 32);
    CK_ULONG n = sizeof(out);
    (void)state;

    OK(C_EncryptInit(s, &m, aes));
    OK(C_Encrypt(s, text, 256, out, &n));
    OK(C_EncryptInit(s, &m, aes));
    n = sizeof(out);
    RV(C_Encrypt(s, text, 257, out, &n), CKR_DATA_LEN_RANGE);
    OK(C_EncryptInit(s, &m, aes));
    for (int i = 0; i < 2; i++) {
        n = sizeof(out);
        OK(C_EncryptUpdate(s, text, 128, out, &n));
    }
    n = sizeof(out);
    RV(C_EncryptUpdate(s, text, 1, out, &n), CKR_DATA_LEN_RANGE);

    m = (CK_MECHANISM){CKM_CHACHA20, &stream, sizeof(stream)};
    memset(iv, 0xff, 4);
    n = sizeof(out);
    OK(C_EncryptInit(s, &m, chacha));
    OK(C_Encrypt(s, text, 64, out, &n));
    OK(C_EncryptInit(s, &m, chacha));
    n = sizeof(out);
    RV(C_Encrypt(s, text, 65, out, &n), CKR_DATA_LEN_RANGE);
    OK(C_EncryptInit(s, &m, chacha));
    n = sizeof(out);
    OK(C_EncryptUpdate(s, text, 60, out, &n));
    n = sizeof(out);
    OK(C_EncryptUpdate(s, text, 4, out, &n));
    n = sizeof(out);
    RV(C_EncryptUpdate(s, text, 1, out, &n), CKR_DATA_LEN_RANGE);
    OK(C_DestroyObject(s, aes));
    OK(C_DestroyObject(s, chacha));
}

/* ChaCha20 as it was published: 64 bits each; the counter's carry goes into its upper half. */
static void chacha20_counts_in_64_bits_too(void **state)
{
    CK_BYTE raw[32] = {1}, text[128] = {0}, whole[128], rest[64];
    CK_BYTE at[8] = {0xff, 0xff, 0xff, 0xff}, next[8] = {0, 0, 0, 0, 1}, nonce[8] = {5};
    CK_CHACHA20_PARAMS p = {at, 64, nonce, 64};
    CK_MECHANISM m = {CKM_CHACHA20, &p, sizeof(p)};
    CK_OBJECT_HANDLE key = import(CKK_CHACHA20, raw, 32);
    CK_ULONG n = sizeof(whole);
    (void)state;

    OK(C_EncryptInit(s, &m, key));
    OK(C_Encrypt(s, text, 128, whole, &n));
    p.pBlockCounter = next;
    n = sizeof(rest);
    OK(C_EncryptInit(s, &m, key));
    OK(C_Encrypt(s, text, 64, rest, &n));
    assert_memory_equal(whole + 64, rest, 64);
    OK(C_DestroyObject(s, key));
}

/* The IV of key wrap that a program brings is the one that must come out. */
static void key_wrap_takes_another_iv(void **state)
{
    CK_BYTE raw[16] = {3}, text[16] = {1, 2, 3}, out[32], back[32], iv[8] = {8, 7, 6, 5, 4, 3, 2, 1};
    CK_OBJECT_HANDLE key = import(CKK_AES, raw, 16);
    (void)state;

    for (int i = 0; i < 2; i++) {
        CK_MECHANISM m = {i == 0 ? CKM_AES_KEY_WRAP : CKM_AES_KEY_WRAP_KWP, iv, i == 0 ? 8 : 4},
                     plain = {m.mechanism, NULL, 0};
        CK_ULONG n = sizeof(out), k = sizeof(back);
        OK(C_EncryptInit(s, &m, key));
        OK(C_Encrypt(s, text, 16, out, &n));
        OK(C_DecryptInit(s, &m, key));
        OK(C_Decrypt(s, out, n, back, &k));
        assert_int_equal(k, 16);
        assert_memory_equal(back, text, 16);
        k = sizeof(back);
        OK(C_DecryptInit(s, &plain, key));
        RV(C_Decrypt(s, out, n, back, &k), CKR_ENCRYPTED_DATA_INVALID);
    }
    OK(C_DestroyObject(s, key));
}

/* What plain OpenSSL makes of `len` bytes more. */
static void openssl_more(EVP_CIPHER_CTX *ctx, const CK_BYTE *in, size_t len, CK_BYTE *out)
{
    int n = 0;

    assert_int_equal(EVP_CipherUpdate(ctx, out, &n, in, (int)len), 1);
    assert_int_equal(n, len);
}

static void a_stream_may_be_longer_than_what_is_buffered(void **state)
{
    static const struct {
        CK_MECHANISM_TYPE type;
        const char *name;
    } rows[] = {{CKM_AES_CBC, "AES-256-CBC"}, {CKM_AES_ECB, "AES-256-ECB"}, {CKM_AES_CTR, "AES-256-CTR"}};
    static CK_BYTE iv[16];
    const size_t part = 3u << 20, parts = 23; /* 69 MiB */
    CK_BYTE raw[32] = {6}, *in = calloc(1, part), *out = malloc(part), *expected = malloc(part);
    CK_AES_CTR_PARAMS ctr = {.ulCounterBits = 128};
    CK_OBJECT_HANDLE key = import_as(CKK_AES, raw, 32, true /* sensitive: at the server */);
    (void)state;

    for (size_t i = 0; i < 3; i++) {
        EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
        CK_MECHANISM m = {rows[i].type, iv, rows[i].type == CKM_AES_ECB ? 0 : 16};
        CK_ULONG n = part;
        if (rows[i].type == CKM_AES_CTR)
            m = (CK_MECHANISM){CKM_AES_CTR, &ctr, sizeof(ctr)};
        if (m.ulParameterLen == 0)
            m.pParameter = NULL;
        assert_int_equal(EVP_EncryptInit_ex2(ctx, EVP_get_cipherbyname(rows[i].name), raw, iv, NULL), 1);
        EVP_CIPHER_CTX_set_padding(ctx, 0);
        OK(C_EncryptInit(s, &m, key));
        for (size_t k = 0; k < parts; k++) {
            in[k] = (CK_BYTE)k;
            n = part;
            OK(C_EncryptUpdate(s, in, part, out, &n));
            assert_int_equal(n, part);
            openssl_more(ctx, in, part, expected);
            assert_true(memcmp(out, expected, part) == 0);
        }
        n = part;
        OK(C_EncryptFinal(s, out, &n));
        assert_int_equal(n, 0);
        EVP_CIPHER_CTX_free(ctx);
    }
    OK(C_DestroyObject(s, key));
    free(in);
    free(out);
    free(expected);
}

static void a_message_that_must_be_whole_has_a_limit(void **state)
{
#ifdef __SANITIZE_THREAD__
    skip(); /* 64 MiB take longer than a call may */
#endif
    const size_t max = 64u << 20;
    CK_BYTE raw[32] = {6}, iv[12] = {0}, *in = calloc(1, max + 1), *out = malloc(max + 16);
    CK_GCM_PARAMS gcm = {iv, 12, 0, NULL, 0, 128};
    CK_MECHANISM m = {CKM_AES_GCM, &gcm, sizeof(gcm)};
    CK_OBJECT_HANDLE key = import_as(CKK_AES, raw, 32, true /* sensitive: at the server */);
    CK_ULONG n = max + 16;
    (void)state;

    OK(C_EncryptInit(s, &m, key));
    OK(C_Encrypt(s, in, max, out, &n));
    assert_int_equal(n, max + 16);
    OK(C_EncryptInit(s, &m, key));
    RV(C_Encrypt(s, in, max + 1, out, &n), CKR_DATA_LEN_RANGE);
    n = 0;
    OK(C_EncryptInit(s, &m, key));
    OK(C_EncryptUpdate(s, in, max, out, &n));
    assert_int_equal(n, 0);
    RV(C_EncryptUpdate(s, in, max, out, &n), CKR_DATA_LEN_RANGE);
    RV(C_EncryptFinal(s, out, &n), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_DestroyObject(s, key));
    free(in);
    free(out);
}

static void check_generated(CK_MECHANISM_TYPE type, CK_ULONG asked, CK_RV expected, CK_ULONG len)
{
    CK_MECHANISM m = {type, NULL, 0};
    CK_ATTRIBUTE ask = {CKA_VALUE_LEN, &asked, sizeof(asked)};
    CK_ULONG got = 0;
    CK_BBOOL encrypts = CK_FALSE;
    CK_ATTRIBUTE get[] = {{CKA_VALUE_LEN, &got, sizeof(got)}, {CKA_ENCRYPT, &encrypts, 1}};
    CK_OBJECT_HANDLE key = 0;

    RV(C_GenerateKey(s, &m, &ask, asked != 0, &key), expected);
    if (expected != CKR_OK)
        return;
    OK(C_GetAttributeValue(s, key, get, 2));
    assert_int_equal(got, len);
    assert_int_equal(encrypts, CK_TRUE);
    OK(C_DestroyObject(s, key));
}

static void cipher_keys_are_generated_in_their_lengths(void **state)
{
    CK_BYTE twice[32];
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES_XTS;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)}, {CKA_VALUE, twice, 32}};
    CK_OBJECT_HANDLE key = 0;
    (void)state;

    check_generated(CKM_AES_XTS_KEY_GEN, 32, CKR_OK, 32);
    check_generated(CKM_AES_XTS_KEY_GEN, 64, CKR_OK, 64);
    check_generated(CKM_AES_XTS_KEY_GEN, 48, CKR_KEY_SIZE_RANGE, 0);
    check_generated(CKM_AES_XTS_KEY_GEN, 0, CKR_TEMPLATE_INCOMPLETE, 0);
    check_generated(CKM_CHACHA20_KEY_GEN, 0, CKR_OK, 32);
    check_generated(CKM_CHACHA20_KEY_GEN, 32, CKR_OK, 32);
    check_generated(CKM_CHACHA20_KEY_GEN, 16, CKR_KEY_SIZE_RANGE, 0);
    memset(twice, 4, sizeof(twice)); /* XTS with equal halves */
    RV(C_CreateObject(s, template, 3, &key), CKR_ATTRIBUTE_VALUE_INVALID);
}

static void a_key_is_for_the_mechanisms_of_its_type(void **state)
{
    CK_BYTE raw[32], iv[16] = {0};
    CK_MECHANISM xts = {CKM_AES_XTS, iv, 16}, cbc = {CKM_AES_CBC, iv, 16};
    CK_OBJECT_HANDLE aes, x;
    (void)state;

    for (size_t i = 0; i < sizeof(raw); i++)
        raw[i] = (CK_BYTE)i;
    aes = import(CKK_AES, raw, 32);
    x = import(CKK_AES_XTS, raw, 32);
    RV(C_EncryptInit(s, &xts, aes), CKR_KEY_TYPE_INCONSISTENT);
    RV(C_EncryptInit(s, &cbc, x), CKR_KEY_TYPE_INCONSISTENT);
    OK(C_DestroyObject(s, aes));
    OK(C_DestroyObject(s, x));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers_come_in_one_call_and_in_parts),
        cmocka_unit_test(a_changed_bit_gives_no_text),
        cmocka_unit_test(lengths_that_cannot_be_are_refused),
        cmocka_unit_test(parameters_that_cannot_be_are_refused),
        cmocka_unit_test(a_parameter_may_be_misaligned),
        cmocka_unit_test(the_nonce_may_be_counted_in_bits),
        cmocka_unit_test(a_counter_does_not_come_around),
        cmocka_unit_test(chacha20_counts_in_64_bits_too),
        cmocka_unit_test(key_wrap_takes_another_iv),
        cmocka_unit_test(a_stream_may_be_longer_than_what_is_buffered),
        cmocka_unit_test(a_message_that_must_be_whole_has_a_limit),
        cmocka_unit_test(cipher_keys_are_generated_in_their_lengths),
        cmocka_unit_test(a_key_is_for_the_mechanisms_of_its_type),
    };
    return cmocka_run_group_tests(tests, setup, loop_teardown);
}
