/* SPDX-License-Identifier: Apache-2.0
 *
 * explore MODULE LABEL PIN ROUNDS SECONDS: an attacker with the user's login looks for the value of one sensitive key
 * on the token.
 *
 * Nothing that he does takes a possibility away from him (what narrows is done to a copy), so all routes of calls of
 * some depth are covered by doing, round after round, everything that can be done with what there is: round n finds
 * what takes n calls. Objects that are alike in value, birth and attributes count as one. Exit status: 0 no way was
 * found, 1 one was found (the routes are printed), 2 the test did not work.
 */
#include "world.h"

#include <openssl/core_names.h>
#include <openssl/rsa.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const CK_MECHANISM_TYPE aes_mechs[] = {CKM_AES_KEY_WRAP,       CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD,
                                              CKM_AES_KEY_WRAP_PKCS7, CKM_AES_ECB,          CKM_AES_CBC,
                                              CKM_AES_CBC_PAD,        CKM_AES_GCM,          CKM_AES_CCM};
static const CK_MECHANISM_TYPE rsa_mechs[] = {CKM_RSA_PKCS, CKM_RSA_PKCS_OAEP, CKM_RSA_AES_KEY_WRAP};
static const uint8_t my_block[16] = "one chosen block";
static time_t deadline;

#define LEAKS_ENOUGH 20

static bool is_time_over(void)
{
    return time(NULL) >= deadline || n_leaks >= LEAKS_ENOUGH;
}

/* --- one object: what can it be made to do -------------------------------------------------------------------------
 */

static void read_value(struct object *o)
{
    CK_BYTE bytes[512];
    CK_ATTRIBUTE get = {CKA_VALUE, bytes, sizeof(bytes)};

    if (o->was_read || o->is_pair)
        return;
    o->was_read = true;
    n_calls++;
    if (F->C_GetAttributeValue(session, o->handle, &get, 1) == CKR_OK && get.ulValueLen <= sizeof(bytes))
        learn(bytes, get.ulValueLen, o->value, step_add(o->step, -1, "read CKA_VALUE of %s", values[o->value].name));
    if (values[o->value].is_part && o->len <= 3) { /* a MAC or the check value tells which of the few it is */
        CK_ATTRIBUTE check = {CKA_CHECK_VALUE, bytes, sizeof(bytes)};
        n_calls++;
        if ((o->roles & S) ||
            (F->C_GetAttributeValue(session, o->handle, &check, 1) == CKR_OK && check.ulValueLen == 3))
            leak(step_add(o->step, -1, "guess the %lu bytes", o->len), "the secret key can be guessed, byte by byte");
    }
}

/* Attributes that should not widen, on a copy or by C_SetAttributeValue on one; and roles given up, which should not
 * make a key any better. */
static void copy(const struct object *o)
{
    static CK_ATTRIBUTE changes[][4] = {
        {{CKA_SENSITIVE, &no, 1}},
        {{CKA_EXTRACTABLE, &yes, 1}},
        {{CKA_DECRYPT, &yes, 1}},
        {{CKA_WRAP, &yes, 1}},
        {{CKA_UNWRAP, &yes, 1}},
        {{CKA_DERIVE, &yes, 1}},
        {{CKA_TRUSTED, &yes, 1}},
        {{CKA_ENCRYPT, &no, 1}, {CKA_DECRYPT, &no, 1}, {CKA_DERIVE, &no, 1}, {CKA_SIGN, &no, 1}}};
    static const char *const names[] = {"CKA_SENSITIVE false", "CKA_EXTRACTABLE true", "CKA_DECRYPT true",
                                        "CKA_WRAP true",       "CKA_UNWRAP true",      "CKA_DERIVE true",
                                        "CKA_TRUSTED true",    "no roles but wrapping"};

    if (o->is_copy || o->birth == 'D')
        return;
    for (size_t i = 0; i < COUNT(changes); i++)
        for (int on_token = 0; on_token < 2; on_token++) {
            CK_ATTRIBUTE t[5] = {{CKA_TOKEN, on_token ? &yes : &no, 1}};
            CK_ULONG n = i + 1 == COUNT(changes) ? 4 : 1;
            CK_OBJECT_HANDLE key = 0;
            struct object *made = NULL;
            if (on_token && i > 1) /* where it lies matters little */
                continue;
            memcpy(t + 1, changes[i], sizeof(changes[i]));
            n_calls += 3;
            if (F->C_CopyObject(session, o->handle, t, 1 + n, &key) == CKR_OK)
                made = object_add(key, o->value, o->birth,
                                  step_add(o->step, -1, "copy %s with %s", values[o->value].name, names[i]));
            if (made != NULL)
                made->is_copy = true;
            if (F->C_CopyObject(session, o->handle, t, 1, &key) != CKR_OK)
                continue;
            made = NULL;
            if (F->C_SetAttributeValue(session, key, t + 1, n) == CKR_OK)
                made = object_add(key, o->value, o->birth,
                                  step_add(o->step, -1, "set %s in a copy of %s", names[i], values[o->value].name));
            else
                (void)F->C_DestroyObject(session, key);
            if (made != NULL)
                made->is_copy = true;
        }
}

struct oracle {
    const struct object *object;
    int kind;
};

/* Undoes CBC with the one IV. */
static void xor_iv(uint8_t block[16])
{
    for (int i = 0; i < 16; i++)
        block[i] ^= iv[i];
}

/* Decrypting one block: C_Decrypt; or unwrapping it as a readable key. */
static bool block_decrypt(void *arg, const uint8_t in[16], uint8_t out[16])
{
    const struct oracle *oracle = arg;
    bool is_cbc = oracle->kind % 2 == 1;
    CK_ULONG n = 16, len;
    bool is_good = false;

    if (oracle->kind < 2) {
        is_good = crypt_with(oracle->object, is_cbc ? CKM_AES_CBC : CKM_AES_ECB, false, in, 16, out, &n) && n == 16;
    } else {
        CK_ATTRIBUTE t[16], get = {CKA_VALUE, out, 16};
        CK_ULONG n_t = write_template(&(struct wish){CKK_GENERIC_SECRET, S, OPEN, 0, false}, t, &len);
        CK_OBJECT_HANDLE key;
        t[n_t++] = (CK_ATTRIBUTE){CKA_CLASS, &secret_class, sizeof(secret_class)};
        t[n_t++] = (CK_ATTRIBUTE){CKA_KEY_TYPE, &generic, sizeof(generic)};
        n_calls += 3;
        if (F->C_UnwrapKey(session, mechanism(is_cbc ? CKM_AES_CBC : CKM_AES_ECB), oracle->object->handle,
                           (CK_BYTE *)in, 16, t, n_t, &key) != CKR_OK)
            return false;
        is_good = F->C_GetAttributeValue(session, key, &get, 1) == CKR_OK && get.ulValueLen == 16;
        (void)F->C_DestroyObject(session, key);
    }
    if (is_good && is_cbc)
        xor_iv(out);
    return is_good;
}

/* Encrypting one block: C_Encrypt; or deriving a readable key from it. */
static bool block_encrypt(void *arg, const uint8_t in[16], uint8_t out[16])
{
    const struct oracle *oracle = arg;
    CK_ULONG n = 16, len;
    uint8_t text[16];

    memcpy(text, in, 16);
    if (oracle->kind == 1)
        xor_iv(text);
    if (oracle->kind < 2)
        return crypt_with(oracle->object, oracle->kind == 1 ? CKM_AES_CBC : CKM_AES_ECB, true, text, 16, out, &n) &&
               n == 16;
    CK_KEY_DERIVATION_STRING_DATA data = {text, 16};
    CK_MECHANISM m = {CKM_AES_ECB_ENCRYPT_DATA, &data, sizeof(data)};
    CK_ATTRIBUTE t[16], get = {CKA_VALUE, out, 16};
    CK_ULONG n_t = write_template(&(struct wish){CKK_GENERIC_SECRET, S, OPEN, 16, false}, t, &len);
    CK_OBJECT_HANDLE key;
    t[n_t++] = (CK_ATTRIBUTE){CKA_CLASS, &secret_class, sizeof(secret_class)};
    t[n_t++] = (CK_ATTRIBUTE){CKA_KEY_TYPE, &generic, sizeof(generic)};
    n_calls += 3;
    if (F->C_DeriveKey(session, &m, oracle->object->handle, t, n_t, &key) != CKR_OK)
        return false;
    bool is_good = F->C_GetAttributeValue(session, key, &get, 1) == CKR_OK && get.ulValueLen == 16;
    (void)F->C_DestroyObject(session, key);
    return is_good;
}

/* --- blobs: what can be had from them ------------------------------------------------------------------------------
 */

/* With a way to decrypt (or, for key streams, encrypt) blocks under the key that wrapped: at home, or through the
 * token. */
static void open_with(struct blob *b, block_fn *decrypt, block_fn *encrypt, void *arg, int step)
{
    uint8_t out[BYTES_MAX], counter[16] = NONCE;
    size_t len = 0;

    switch (b->mech) {
    case CKM_AES_KEY_WRAP:
    case CKM_AES_KEY_WRAP_PAD:
    case CKM_AES_KEY_WRAP_KWP:
    case CKM_AES_KEY_WRAP_PKCS7:
        len = decrypt != NULL ? kw_open(decrypt, arg, b->bytes, b->len, out) : 0;
        break;
    case CKM_AES_ECB:
    case CKM_AES_CBC:
    case CKM_AES_CBC_PAD:
        for (size_t at = 0; decrypt != NULL && at + 16 <= b->len && at < 64; at += 16, len = at) {
            if (!decrypt(arg, b->bytes + at, out + at))
                return;
            for (int i = 0; i < 16 && b->mech != CKM_AES_ECB; i++)
                out[at + (size_t)i] ^= at == 0 ? iv[i] : b->bytes[at - 16 + (size_t)i];
        }
        break;
    case CKM_AES_GCM: /* the first block of text is under counter 2 */
        counter[15] = 2;
        if (encrypt != NULL && b->len >= 32 && encrypt(arg, counter, out)) {
            for (int i = 0; i < 16; i++)
                out[i] ^= b->bytes[i];
            len = 16;
        }
        break;
    default:
        break;
    }
    if (len > 0) {
        b->was_opened = true;
        learn(out, len, -1, step_add(b->step, step, "take the wrapped key apart, block by block"));
    }
}

/* The same key stream twice: what is known of one text tells the other. */
static void open_with_twin(struct blob *b)
{
    for (int i = 0; i < n_blobs && (b->mech == CKM_AES_GCM || b->mech == CKM_AES_CCM); i++) {
        const struct blob *twin = &blobs[i];
        uint8_t out[16];
        if (twin->with != b->with || twin->mech != b->mech || twin->content < 0 || !values[twin->content].is_known ||
            values[twin->content].len < 16 || b->len < 16)
            continue;
        for (int k = 0; k < 16; k++)
            out[k] = b->bytes[k] ^ twin->bytes[k] ^ values[twin->content].bytes[k];
        learn(out, 16, -1, step_add(b->step, twin->step, "take the other's known text off both"));
    }
}

static void open_at_home(struct blob *b)
{
    uint8_t out[512];
    size_t len = sizeof(out);
    EVP_PKEY_CTX *ctx;

    if (values[b->with].is_known) {
        open_with(b, known_decrypt, known_encrypt, &values[b->with], values[b->with].step);
        return;
    }
    if (strcmp(values[b->with].name, "my pair") != 0 || b->mech == CKM_RSA_AES_KEY_WRAP)
        return;
    ctx = EVP_PKEY_CTX_new(my_pair, NULL);
    b->was_opened = true;
    if (EVP_PKEY_decrypt_init(ctx) == 1 &&
        EVP_PKEY_CTX_set_rsa_padding(ctx, b->mech == CKM_RSA_PKCS ? RSA_PKCS1_PADDING : RSA_PKCS1_OAEP_PADDING) == 1 &&
        EVP_PKEY_decrypt(ctx, out, &len, b->bytes, b->len) == 1)
        learn(out, len, b->content, step_add(b->step, -1, "decrypt it with the private key at home"));
    EVP_PKEY_CTX_free(ctx);
}

static void open_blob(struct blob *b)
{
    const struct value *with = &values[b->with];

    if (!b->was_opened)
        open_at_home(b);
    open_with_twin(b);
    unsigned oracles = (with->can_decrypt ? 1u : 0u) | (with->can_encrypt ? 2u : 0u);
    if (b->was_opened || b->tried == oracles)
        return;
    b->tried = oracles;
    for (int i = 0; i < n_objects && (with->can_decrypt || with->can_encrypt); i++) {
        struct object *o = &objects[i];
        if (o->value != b->with || o->is_pair)
            continue;
        for (int kind = 0; kind < 4 && !b->was_opened; kind++) {
            uint8_t block[16];
            struct oracle oracle = {o, kind};
            bool decrypts = with->can_decrypt && block_decrypt(&oracle, my_block, block);
            bool encrypts = with->can_encrypt && kind < 3 && block_encrypt(&oracle, my_block, block);
            if (decrypts || encrypts)
                open_with(b, decrypts ? block_decrypt : NULL, encrypts ? block_encrypt : NULL, &oracle,
                          decrypts ? with->decrypt_step : with->encrypt_step);
        }
    }
}

/* Whole messages through C_Decrypt, and RSA, which has no blocks. */
static void decrypt(const struct object *o, struct blob *b)
{
    uint8_t out[BYTES_MAX];
    CK_ULONG len = sizeof(out);

    if ((o->roles & D) && crypt_with(o, b->mech, false, b->bytes, b->len, out, &len))
        learn(out, len, b->content,
              step_add(b->step, o->step, "C_Decrypt (%s) with %s, a key that can %s", mech_name(b->mech),
                       values[o->value].name, roles_name(o->roles)));
}

static void find_oracles(const struct object *o)
{
    struct value *v = &values[o->value];
    uint8_t block[16];

    if (o->is_pair || o->type != CKK_AES || v->is_secret)
        return;
    for (int kind = 0; kind < 4; kind++) {
        struct oracle oracle = {o, kind};
        if (!v->can_decrypt && (kind < 2 ? o->roles & D : o->roles & U) && block_decrypt(&oracle, my_block, block)) {
            v->can_decrypt = true;
            v->decrypt_step = step_add(o->step, -1, "%s blocks with %s, a key that can %s",
                                       kind < 2 ? "decrypt" : "unwrap", v->name, roles_name(o->roles));
        }
        if (!v->can_encrypt && kind < 3 && (kind < 2 ? o->roles & E : o->roles & V) &&
            block_encrypt(&oracle, my_block, block)) {
            v->can_encrypt = true;
            v->encrypt_step = step_add(o->step, -1, "%s blocks with %s, a key that can %s",
                                       kind < 2 ? "encrypt" : "derive from", v->name, roles_name(o->roles));
        }
    }
}

/* --- wrap, unwrap, derive ------------------------------------------------------------------------------------------
 */

static void wrap(const struct object *with, const struct object *key)
{
    const CK_MECHANISM_TYPE *mechs = with->is_pair ? rsa_mechs : aes_mechs;
    size_t n = with->is_pair ? COUNT(rsa_mechs) : COUNT(aes_mechs);

    for (size_t i = 0; i < n; i++) {
        uint8_t out[BYTES_MAX];
        CK_ULONG len = sizeof(out);
        struct blob *b;
        int step;
        n_calls++;
        if (F->C_WrapKey(session, mechanism(mechs[i]), with->handle, key->handle, out, &len) != CKR_OK)
            continue;
        step = step_add(with->step, key->step, "wrap (%s) %s with %s, a key that can %s", mech_name(mechs[i]),
                        values[key->value].name, values[with->value].name, roles_name(with->roles));
        b = blob_add(with->value, key->value, mechs[i], out, len, step);
        if (b != NULL && mechs[i] == CKM_RSA_AES_KEY_WRAP && key->class == CKO_SECRET_KEY) { /* two in one */
            CK_ULONG modulus_len = len - (key->len + 7) / 8 * 8 - 8;
            int temporary = value_get("temporary of %s in %s", values[key->value].name, values[with->value].name);
            blob_add(with->value, temporary, CKM_RSA_PKCS_OAEP, out, modulus_len, step);
            blob_add(temporary, key->value, CKM_AES_KEY_WRAP_KWP, out + modulus_len, len - modulus_len, step);
        }
    }
}

static const struct wish rebirths[] = {
    {CKK_AES, ALL, OPEN, 0, false},
    {CKK_AES, DATA, OPEN, 0, false},
    {CKK_AES, DATA, SENSITIVE, 0, false},
    {CKK_AES, ALL, SENSITIVE, 0, false},
    {CKK_AES, DATA, UNSAID, 0, false},
    {CKK_AES, W | U, SENSITIVE, 0, false},
    {CKK_AES, V, SENSITIVE, 0, false},
    {CKK_GENERIC_SECRET, V | S, SENSITIVE, 0, false},
    {CKK_GENERIC_SECRET, S, SENSITIVE, 1, false},
    {CKK_GENERIC_SECRET, S, OPEN, 0, false},
};

static void unwrap(const struct object *with, const struct blob *b)
{
    const CK_MECHANISM_TYPE *mechs = with->is_pair ? rsa_mechs : aes_mechs;
    size_t n_mechs = with->is_pair ? COUNT(rsa_mechs) : COUNT(aes_mechs);

    for (size_t i = 0; i < n_mechs; i++)
        for (size_t k = 0; k < COUNT(rebirths); k++) {
            const struct wish *wish = &rebirths[k];
            bool is_same = mechs[i] == b->mech, is_cut = wish->len > 0;
            CK_ATTRIBUTE t[16];
            CK_ULONG len, n = write_template(wish, t, &len);
            CK_OBJECT_HANDLE key;
            int value;
            if (!is_same && values[b->content].is_secret == false && !is_cut)
                continue; /* what comes of that is noise */
            t[n++] = (CK_ATTRIBUTE){CKA_CLASS, &secret_class, sizeof(secret_class)};
            t[n++] = (CK_ATTRIBUTE){CKA_KEY_TYPE, (void *)&wish->type, sizeof(wish->type)};
            n_calls++;
            if (F->C_UnwrapKey(session, mechanism(mechs[i]), with->handle, (CK_BYTE *)b->bytes, b->len, t, n, &key) !=
                CKR_OK)
                continue;
            value = is_same && !is_cut ? b->content
                                       : value_get("%s%s of the wrapped %s by %s", is_cut ? "a byte" : "noise",
                                                   is_same ? "" : " by another mechanism", values[b->content].name,
                                                   mech_name(mechs[i]));
            values[value].is_part |= is_same && is_cut && values[b->content].is_secret;
            object_add(key, value, 'U',
                       step_add(b->step, with->step, "unwrap (%s) it with %s as a key that can %s%s",
                                mech_name(mechs[i]), values[with->value].name, roles_name(wish->roles),
                                wish->sensitive == SENSITIVE ? ", sensitive"
                                : wish->sensitive == OPEN    ? ", not sensitive"
                                                             : ""));
        }
}

/* A value of the attacker's choice as a key of the token that looks like an unwrapped one. */
static void inject(struct object *with)
{
    uint8_t blob[512];
    size_t len = sizeof(blob);
    CK_MECHANISM_TYPE mech = with->is_pair ? CKM_RSA_PKCS_OAEP : CKM_AES_KEY_WRAP;
    struct oracle oracle = {with, 0};

    if (with->is_pair) {
        EVP_PKEY *public = NULL;
        CK_BYTE n[512], e[8];
        CK_ATTRIBUTE get[] = {{CKA_MODULUS, n, sizeof(n)}, {CKA_PUBLIC_EXPONENT, e, sizeof(e)}};
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
        OSSL_PARAM params[3];
        n_calls++;
        if (F->C_GetAttributeValue(session, with->handle, get, 2) != CKR_OK)
            return;
        for (CK_ULONG i = 0; i < get[0].ulValueLen / 2; i++) { /* OSSL_PARAM wants the machine's order */
            CK_BYTE swap = n[i];
            n[i] = n[get[0].ulValueLen - 1 - i];
            n[get[0].ulValueLen - 1 - i] = swap;
        }
        params[0] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_N, n, get[0].ulValueLen);
        params[1] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_E, e, get[1].ulValueLen); /* 01 00 01 either way */
        params[2] = OSSL_PARAM_construct_end();
        if (EVP_PKEY_fromdata_init(ctx) == 1 && EVP_PKEY_fromdata(ctx, &public, EVP_PKEY_PUBLIC_KEY, params) == 1) {
            EVP_PKEY_CTX *use = EVP_PKEY_CTX_new(public, NULL);
            if (EVP_PKEY_encrypt_init(use) != 1 || EVP_PKEY_CTX_set_rsa_padding(use, RSA_PKCS1_OAEP_PADDING) != 1 ||
                EVP_PKEY_encrypt(use, blob, &len, my_key, 16) != 1)
                len = 0;
            EVP_PKEY_CTX_free(use);
        }
        EVP_PKEY_free(public);
        EVP_PKEY_CTX_free(ctx);
    } else if (values[with->value].is_known) {
        len = kw_seal(known_encrypt, &values[with->value], my_key, 16, blob);
    } else if (values[with->value].can_encrypt) {
        uint8_t block[16];
        for (oracle.kind = 0; oracle.kind < 3; oracle.kind++)
            if (block_encrypt(&oracle, my_block, block))
                break;
        len = oracle.kind < 3 ? kw_seal(block_encrypt, &oracle, my_key, 16, blob) : 0;
    } else {
        len = 0;
    }
    with->was_injected = len > 0;
    if (len > 0)
        blob_add(with->value, value_get("my key"), mech, blob, len,
                 step_add(with->step, values[with->value].encrypt_step > 0 ? values[with->value].encrypt_step : -1,
                          "wrap a known key outside, for %s", values[with->value].name));
}

static void derive_one(const struct object *o, CK_MECHANISM_TYPE type, void *param, CK_ULONG param_len,
                       const char *name, const struct wish *wish, bool keeps, int other_step)
{
    CK_MECHANISM m = {type, param, param_len};
    CK_ATTRIBUTE t[16];
    CK_ULONG len, n = write_template(wish, t, &len);
    CK_OBJECT_HANDLE key;
    bool is_secret_part = keeps && values[o->value].is_secret && wish->len > 0 && wish->len < 16;
    int value;

    t[n++] = (CK_ATTRIBUTE){CKA_CLASS, &secret_class, sizeof(secret_class)};
    t[n++] = (CK_ATTRIBUTE){CKA_KEY_TYPE, (void *)&wish->type, sizeof(wish->type)};
    n_calls++;
    if (F->C_DeriveKey(session, &m, o->handle, t, n, &key) != CKR_OK)
        return;
    value = value_get("%s(%s)%lu", name, values[o->value].name, wish->len);
    values[value].is_part |= is_secret_part;
    object_add(key, value, 'D',
               step_add(o->step, other_step, "derive (%s) %lu bytes from %s%s", name, wish->len, values[o->value].name,
                        wish->sensitive == OPEN ? ", not sensitive" : ""));
}

static void derive(const struct object *o)
{
    static const struct wish wishes[] = {{CKK_GENERIC_SECRET, S | V, OPEN, 0, false},
                                         {CKK_GENERIC_SECRET, S, OPEN, 1, false},
                                         {CKK_GENERIC_SECRET, S | V, SENSITIVE, 0, false},
                                         {CKK_GENERIC_SECRET, S, SENSITIVE, 1, false},
                                         {CKK_AES, ALL, SENSITIVE, 16, false},
                                         {CKK_GENERIC_SECRET, S, SENSITIVE, 16, false}};
    CK_KEY_DERIVATION_STRING_DATA data = {(CK_BYTE *)"XXXXXXXXXXXXXXXX", 16}, one = {(CK_BYTE *)"X", 1},
                                  fifteen = {(CK_BYTE *)"XXXXXXXXXXXXXXX", 15};
    CK_EXTRACT_PARAMS bit = 0;

    for (size_t i = 0; i < COUNT(wishes); i++) {
        derive_one(o, CKM_CONCATENATE_BASE_AND_DATA, &data, sizeof(data), "base+data", &wishes[i], true, -1);
        derive_one(o, CKM_CONCATENATE_DATA_AND_BASE, &data, sizeof(data), "data+base", &wishes[i], true, -1);
        derive_one(o, CKM_CONCATENATE_DATA_AND_BASE, &fifteen, sizeof(fifteen), "15 bytes+base", &wishes[i], true, -1);
        derive_one(o, CKM_XOR_BASE_AND_DATA, &data, sizeof(data), "xor", &wishes[i], true, -1);
        derive_one(o, CKM_XOR_BASE_AND_DATA, &one, sizeof(one), "xor of a byte", &wishes[i], true, -1);
        derive_one(o, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof(bit), "extract", &wishes[i], true, -1);
        derive_one(o, CKM_AES_ECB_ENCRYPT_DATA, &data, sizeof(data), "encrypt", &wishes[i], false, -1);
        derive_one(o, CKM_SHA256_KEY_DERIVATION, NULL, 0, "hash", &wishes[i], false, -1);
    }
    for (int i = 0; i < n_objects; i++)
        if (values[objects[i].value].is_known && (objects[i].roles & V) && !objects[i].is_pair) {
            CK_OBJECT_HANDLE other = objects[i].handle;
            derive_one(o, CKM_CONCATENATE_BASE_AND_KEY, &other, sizeof(other), "base+key", &wishes[0], true,
                       objects[i].step);
            derive_one(o, CKM_CONCATENATE_BASE_AND_KEY, &other, sizeof(other), "base+key", &wishes[1], true,
                       objects[i].step);
            break;
        }
}

/* --- the search ----------------------------------------------------------------------------------------------------
 */

/* Worth wrapping: the secret, other wrapping keys, and a known key. */
static bool is_worth(const struct object *with, const struct object *key)
{
    bool is_kek = (key->roles & (W | U)) != 0 && key->birth == 'G' && !key->is_copy;
    bool is_mine = key->birth == 'C' && key->roles == (W | U) && !key->is_copy;

    return !key->is_pair && (values[key->value].is_secret || ((is_kek || is_mine) && with->birth != 'D'));
}

static bool is_new(int round)
{
    return round == round_now - 1;
}

/* Twice derived is enough, and what has nothing of the secret key in it once. */
static bool is_derivable(int value)
{
    const char *name = values[value].name, *open = strchr(name, '(');

    if (open == NULL)
        return true;
    return strstr(name, "the secret key") != NULL && strchr(open + 1, '(') == NULL;
}

static bool work(int had_objects, int had_blobs)
{
    for (int i = 0; i < had_objects && !is_time_over(); i++) {
        if (is_new(objects[i].round)) {
            read_value(&objects[i]);
            copy(&objects[i]);
            find_oracles(&objects[i]);
            if ((objects[i].roles & V) && !objects[i].is_pair && !objects[i].is_copy && is_derivable(objects[i].value))
                derive(&objects[i]);
        }
        if ((objects[i].roles & U) && !objects[i].was_injected)
            inject(&objects[i]);
    }
    for (int i = 0; i < had_objects; i++)
        for (int k = 0; k < had_objects && (objects[i].roles & W) && !is_time_over(); k++)
            if ((is_new(objects[i].round) || is_new(objects[k].round)) && is_worth(&objects[i], &objects[k]) && k != i)
                wrap(&objects[i], &objects[k]);
    for (int i = 0; i < had_blobs && !is_time_over(); i++) {
        open_blob(&blobs[i]);
        for (int k = 0; k < had_objects; k++) {
            if (objects[k].value != blobs[i].with || objects[k].class == CKO_PUBLIC_KEY || blobs[i].content < 0)
                continue;
            if (!is_new(objects[k].round) && !is_new(blobs[i].round))
                continue;
            decrypt(&objects[k], &blobs[i]);
            if (objects[k].roles & U)
                unwrap(&objects[k], &blobs[i]);
        }
    }
    return !is_time_over();
}

int main(int argc, char **argv)
{
    int rounds, done = 0;
    time_t start = time(NULL);

    if (argc != 6) {
        fprintf(stderr, "usage: explore MODULE LABEL PIN ROUNDS SECONDS\n");
        return 2;
    }
    rounds = atoi(argv[4]);
    deadline = start + atoi(argv[5]);
    log_in(argv[1], argv[2], argv[3]);
    make_secret();
    make_keys();
    while (done < rounds - 1) { /* making keys was the first */
        int had_objects = n_objects, had_blobs = n_blobs;
        round_now++;
        if (!work(had_objects, had_blobs))
            break;
        done++;
        if (n_objects == had_objects && n_blobs == had_blobs) {
            printf("nothing new after %d calls of depth\n", done + 1);
            done = rounds - 1;
        }
    }
    printf("%s: all routes to depth %d, %ld calls in %ld s: %d objects, %d wrapped keys, %d ways to the secret key\n",
           argv[2], done + 1, n_calls, (long)(time(NULL) - start), n_objects, n_blobs, n_leaks);
    for (int i = 0; i < n_objects; i++) /* token objects, so that a second run begins as this one did */
        (void)F->C_DestroyObject(session, objects[i].handle);
    (void)F->C_Finalize(NULL);
    EVP_PKEY_free(my_pair);
    return n_leaks > 0 ? 1 : done + 1 < 4 ? 2 : 0;
}
