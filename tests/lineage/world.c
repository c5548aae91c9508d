/* SPDX-License-Identifier: Apache-2.0
 *
 * What the attacker has, and what he can compute without the token.
 */
#include "world.h"

#include <openssl/evp.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

CK_FUNCTION_LIST *F;
CK_SESSION_HANDLE session;
struct step steps[STEPS_MAX];
struct value values[VALUES_MAX];
struct object objects[OBJECTS_MAX];
struct blob blobs[BLOBS_MAX];
int n_steps, n_values, n_objects, n_blobs, n_leaks, round_now;
long n_calls;
uint8_t iv[16] = NONCE;

static uint8_t reference[16];

static void full(const char *what)
{
    fprintf(stderr, "explore: no room for more %s\n", what);
    exit(2);
}

int step_add(int a, int b, const char *format, ...)
{
    struct step *s = &steps[n_steps];
    va_list args;

    if (n_steps == STEPS_MAX)
        full("steps");
    va_start(args, format);
    vsnprintf(s->text, sizeof(s->text), format, args);
    va_end(args);
    s->from[0] = a;
    s->from[1] = b;
    s->depth = 1 + (a >= 0 ? steps[a].depth : 0);
    if (b >= 0 && steps[b].depth >= s->depth)
        s->depth = 1 + steps[b].depth;
    return n_steps++;
}

int value_get(const char *format, ...)
{
    char name[sizeof(values[0].name)];
    va_list args;

    va_start(args, format);
    vsnprintf(name, sizeof(name), format, args);
    va_end(args);
    for (int i = 0; i < n_values; i++)
        if (strcmp(values[i].name, name) == 0)
            return i;
    if (n_values == VALUES_MAX)
        full("values");
    memset(&values[n_values], 0, sizeof(values[0]));
    strcpy(values[n_values].name, name);
    return n_values++;
}

static bool get_bool(CK_OBJECT_HANDLE handle, CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL value = 0;
    CK_ATTRIBUTE get = {type, &value, 1};

    n_calls++;
    return F->C_GetAttributeValue(session, handle, &get, 1) == CKR_OK && value;
}

struct object *object_add(CK_OBJECT_HANDLE handle, int value, char birth, int step)
{
    struct object o = {.handle = handle, .value = value, .birth = birth, .step = step, .round = round_now};
    CK_ATTRIBUTE get[] = {{CKA_CLASS, &o.class, sizeof(o.class)}, {CKA_KEY_TYPE, &o.type, sizeof(o.type)}};
    CK_ATTRIBUTE len = {CKA_VALUE_LEN, &o.len, sizeof(o.len)};
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        unsigned bit;
    } roles[] = {{CKA_ENCRYPT, E}, {CKA_DECRYPT, D}, {CKA_WRAP, W}, {CKA_UNWRAP, U}, {CKA_DERIVE, V}, {CKA_SIGN, S}};

    n_calls += 2;
    if (F->C_GetAttributeValue(session, handle, get, 2) != CKR_OK)
        return NULL;
    (void)F->C_GetAttributeValue(session, handle, &len, 1);
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
        if (get_bool(handle, roles[i].type))
            o.roles |= roles[i].bit;
    o.is_sensitive = get_bool(handle, CKA_SENSITIVE);
    o.is_extractable = get_bool(handle, CKA_EXTRACTABLE);
    o.is_pair = o.class != CKO_SECRET_KEY;
    for (int i = 0; i < n_objects; i++) {
        const struct object *old = &objects[i];
        if (old->value == value && old->birth == birth && old->class == o.class && old->type == o.type &&
            old->roles == o.roles && old->is_sensitive == o.is_sensitive && old->is_extractable == o.is_extractable &&
            old->len == o.len) {
            n_calls++;
            (void)F->C_DestroyObject(session, handle);
            return NULL;
        }
    }
    if (n_objects == OBJECTS_MAX)
        full("objects");
    objects[n_objects] = o;
    return &objects[n_objects++];
}

struct blob *blob_add(int with, int content, CK_MECHANISM_TYPE mech, const uint8_t *bytes, size_t len, int step)
{
    for (int i = 0; i < n_blobs; i++)
        if (blobs[i].with == with && blobs[i].content == content && blobs[i].mech == mech)
            return NULL;
    if (n_blobs == BLOBS_MAX)
        full("blobs");
    if (len > BYTES_MAX)
        return NULL;
    blobs[n_blobs] =
        (struct blob){.with = with, .content = content, .mech = mech, .len = len, .step = step, .round = round_now};
    memcpy(blobs[n_blobs].bytes, bytes, len);
    return &blobs[n_blobs++];
}

/* --- the secret key ------------------------------------------------------------------------------------------------
 */

static bool block(const uint8_t *key, size_t len, bool encrypts, const uint8_t in[16], uint8_t out[16])
{
    const EVP_CIPHER *cipher = len == 16 ? EVP_aes_128_ecb() : len == 24 ? EVP_aes_192_ecb() : EVP_aes_256_ecb();
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;
    bool is_good = (len == 16 || len == 24 || len == 32) &&
                   EVP_CipherInit_ex(ctx, cipher, NULL, key, NULL, encrypts) == 1 &&
                   EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 && EVP_CipherUpdate(ctx, out, &n, in, 16) == 1 && n == 16;

    EVP_CIPHER_CTX_free(ctx);
    return is_good;
}

void secret_set(const uint8_t zeros_encrypted[16])
{
    memcpy(reference, zeros_encrypted, 16);
}

bool is_secret(const uint8_t key[16])
{
    static const uint8_t zeros[16];
    uint8_t out[16];

    return block(key, 16, true, zeros, out) && memcmp(out, reference, 16) == 0;
}

static void print_route(int step, char *seen)
{
    if (step < 0 || seen[step])
        return;
    seen[step] = 1;
    print_route(steps[step].from[0], seen);
    print_route(steps[step].from[1], seen);
    printf("      %s\n", steps[step].text);
}

void leak(int step, const char *how)
{
    static char seen[STEPS_MAX];

    n_leaks++;
    memset(seen, 0, sizeof(seen));
    printf("LEAK %d, %d calls deep: %s\n", n_leaks, steps[step].depth, how);
    print_route(step, seen);
    fflush(stdout);
}

void learn(const uint8_t *bytes, size_t len, int of, int step)
{
    static const char xored[] = "XXXXXXXXXXXXXXXX"; /* what CKM_XOR_BASE_AND_DATA is asked with */
    uint8_t other[16];

    if (of >= 0 && !values[of].is_known && len <= sizeof(values[of].bytes)) {
        values[of].is_known = true;
        memcpy(values[of].bytes, bytes, len);
        values[of].len = len;
        values[of].step = step;
    }
    for (size_t at = 0; at + 16 <= len; at++) {
        for (int i = 0; i < 16; i++)
            other[i] = bytes[at + (size_t)i] ^ (uint8_t)xored[i];
        if (is_secret(bytes + at) || is_secret(other)) {
            leak(step, "the secret key is readable");
            return;
        }
    }
}

/* --- AES key wrap, with whatever enciphers a block -----------------------------------------------------------------
 */

bool known_decrypt(void *arg, const uint8_t in[16], uint8_t out[16])
{
    const struct value *v = arg;

    return block(v->bytes, v->len, false, in, out);
}

bool known_encrypt(void *arg, const uint8_t in[16], uint8_t out[16])
{
    const struct value *v = arg;

    return block(v->bytes, v->len, true, in, out);
}

size_t kw_open(block_fn *decrypt, void *arg, const uint8_t *in, size_t len, uint8_t *out)
{
    size_t n = len / 8 - 1;
    uint8_t b[16];

    if (len < 24 || len % 8 != 0 || len > 80)
        return 0;
    memcpy(b, in, 8);
    memcpy(out, in + 8, len - 8);
    for (int j = 5; j >= 0; j--) {
        for (size_t i = n; i >= 1; i--) {
            b[7] ^= (uint8_t)(n * (size_t)j + i);
            memcpy(b + 8, out + 8 * (i - 1), 8);
            if (!decrypt(arg, b, b))
                return 0;
            memcpy(out + 8 * (i - 1), b + 8, 8);
        }
    }
    return len - 8; /* whatever the check value is: KW, KWP and padding differ in that only */
}

size_t kw_seal(block_fn *encrypt, void *arg, const uint8_t *in, size_t len, uint8_t *out)
{
    size_t n = len / 8;
    uint8_t b[16];

    memset(b, 0xa6, 8);
    memcpy(out + 8, in, len);
    for (size_t j = 0; j < 6; j++) {
        for (size_t i = 1; i <= n; i++) {
            memcpy(b + 8, out + 8 * i, 8);
            if (!encrypt(arg, b, b))
                return 0;
            memcpy(out + 8 * i, b + 8, 8);
            b[7] ^= (uint8_t)(n * j + i);
        }
    }
    memcpy(out, b, 8);
    return len + 8;
}

/* --- mechanisms ----------------------------------------------------------------------------------------------------
 */

CK_MECHANISM *mechanism(CK_MECHANISM_TYPE type)
{
    static CK_RSA_PKCS_OAEP_PARAMS oaep = {CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, NULL, 0};
    static CK_RSA_AES_KEY_WRAP_PARAMS rsa_aes = {256, &oaep};
    static CK_GCM_PARAMS gcm = {(CK_BYTE *)NONCE, 12, 96, NULL, 0, 128};
    static CK_CCM_PARAMS ccm = {16, (CK_BYTE *)NONCE, 12, NULL, 0, 16};
    static CK_MECHANISM m;

    m = (CK_MECHANISM){type, NULL, 0};
    switch (type) {
    case CKM_AES_CBC:
    case CKM_AES_CBC_PAD:
        m.pParameter = iv;
        m.ulParameterLen = sizeof(iv);
        break;
    case CKM_AES_GCM:
        m.pParameter = &gcm;
        m.ulParameterLen = sizeof(gcm);
        break;
    case CKM_AES_CCM:
        m.pParameter = &ccm;
        m.ulParameterLen = sizeof(ccm);
        break;
    case CKM_RSA_PKCS_OAEP:
        m.pParameter = &oaep;
        m.ulParameterLen = sizeof(oaep);
        break;
    case CKM_RSA_AES_KEY_WRAP:
        m.pParameter = &rsa_aes;
        m.ulParameterLen = sizeof(rsa_aes);
        break;
    default:
        break;
    }
    return &m;
}

const char *mech_name(CK_MECHANISM_TYPE type)
{
    static const struct {
        CK_MECHANISM_TYPE type;
        const char *name;
    } names[] = {{CKM_AES_KEY_WRAP, "KW"},      {CKM_AES_KEY_WRAP_PAD, "KW_PAD"},
                 {CKM_AES_KEY_WRAP_KWP, "KWP"}, {CKM_AES_KEY_WRAP_PKCS7, "KW_PKCS7"},
                 {CKM_AES_ECB, "ECB"},          {CKM_AES_CBC, "CBC"},
                 {CKM_AES_CBC_PAD, "CBC_PAD"},  {CKM_AES_GCM, "GCM"},
                 {CKM_AES_CCM, "CCM"},          {CKM_RSA_PKCS, "RSA"},
                 {CKM_RSA_PKCS_OAEP, "OAEP"},   {CKM_RSA_AES_KEY_WRAP, "RSA_AES"}};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].type == type)
            return names[i].name;
    return "?";
}

const char *roles_name(unsigned roles)
{
    static const char *const words[] = {"ENCRYPT", "DECRYPT", "WRAP", "UNWRAP", "DERIVE", "SIGN"};
    static char texts[4][64];
    static int turn;
    char *text = texts[turn++ % 4];

    text[0] = '\0';
    for (int i = 0; i < 6; i++) {
        if ((roles & 1u << i) == 0)
            continue;
        if (text[0] != '\0')
            strcat(text, "+");
        strcat(text, words[i]);
    }
    return text[0] != '\0' ? text : "nothing";
}
