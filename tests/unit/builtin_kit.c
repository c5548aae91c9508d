/* SPDX-License-Identifier: Apache-2.0 */
#include "builtin_kit.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>

struct km_backend *backend;

struct km_backend *open_with(uint8_t byte)
{
    struct km_secret master = KM_SECRET_EMPTY;
    struct km_backend *b = NULL;

    assert_int_equal(km_secret_new(&master, 32), KM_OK);
    memset(master.data, byte, 32);
    assert_int_equal(km_builtin_open(&master, &b), KM_OK);
    assert_null(master.data);
    return b;
}

void object_free(Kml__Object *object)
{
    free(object->head.data);
    free(object->seal.data);
    kml__object__init(object);
}

Kml__Head *head_of(const Kml__Object *object)
{
    Kml__Head *head = kml__head__unpack(NULL, object->head.len, object->head.data);

    assert_non_null(head);
    return head;
}

void make_pair(CK_MECHANISM_TYPE type, Kmw__Template *public_template, Kml__Object *public, Kml__Object *private)
{
    Kml__Head *public_head = NULL, *head = NULL;
    CK_RV rv = CKR_OK;

    assert_int_equal(generate(public_template, type, CKO_PUBLIC_KEY, &public_head), CKR_OK);
    assert_int_equal(generate(TMPL(A_STR(CKA_LABEL, "key"), A_BOOL(CKA_TOKEN, 1)), type, CKO_PRIVATE_KEY, &head),
                     CKR_OK);
    assert_int_equal(backend->ops->generate(backend, km_mech(type), public_head, head, public, private, &rv), KM_BE_OK);
    kml__head__free_unpacked(public_head, NULL);
    kml__head__free_unpacked(head, NULL);
    assert_int_equal(public->seal.len, 0);
    assert_true(private->seal.len > 49);
}

void make_ec(const char *oid, size_t len, Kml__Object *public, Kml__Object *private)
{
    make_pair(CKM_EC_KEY_PAIR_GEN, TMPL(A_BYTES(CKA_EC_PARAMS, oid, len)), public, private);
}

void make_rsa(CK_ULONG bits, Kml__Object *public, Kml__Object *private)
{
    make_pair(CKM_RSA_PKCS_KEY_PAIR_GEN, TMPL(A_ULONG(CKA_MODULUS_BITS, bits)), public, private);
}

CK_RV import(Kmw__Template *t, Kml__Object *ret)
{
    Kml__Head *head = NULL;
    Kml__Attr **secrets = NULL;
    size_t n = 0;
    CK_RV rv = new_head(t, KM_TP_CREATE, 0, 0, &head, &secrets, &n);
    enum km_backend_result result;

    if (rv != CKR_OK)
        return rv;
    result = backend->ops->import(backend, head, secrets, n, ret, &rv);
    assert_true(result == (rv == CKR_OK ? KM_BE_OK : KM_BE_ARG));
    km_template_secrets_free(secrets, n);
    kml__head__free_unpacked(head, NULL);
    return rv;
}

CK_RV use_key(const Kml__Object *object, struct call *c)
{
    Kmw__Use use = KMW__USE__INIT;
    enum km_backend_result result;
    CK_RV rv = CKR_GENERAL_ERROR;

    c->mechanism.base.descriptor = &kmw__mechanism__descriptor;
    c->mechanism.type = c->type;
    use.operation = c->op;
    use.mechanism = &c->mechanism;
    use.data = c->data;
    use.signature = c->signature;
    use.data_is_digest = c->data_is_digest;
    use.is_part = c->is_part;
    c->out = NULL;
    c->out_len = 0;
    result = backend->ops->use(backend, object, km_mech(c->type), &use, &c->out, &c->out_len, &rv);
    if (result == KM_BE_BAD_RECORD)
        return CKR_DEVICE_ERROR;
    assert_true(result == (rv == CKR_OK ? KM_BE_OK : KM_BE_ARG));
    return rv;
}

EVP_PKEY *public_of(const Kml__Object *object)
{
    Kml__Head *head = head_of(object);
    const Kml__Attr *info = km_head_find(head, CKA_PUBLIC_KEY_INFO);
    const unsigned char *p;
    EVP_PKEY *pkey;

    assert_non_null(info);
    p = info->value.data;
    pkey = d2i_PUBKEY(NULL, &p, (long)info->value.len);
    assert_non_null(pkey);
    kml__head__free_unpacked(head, NULL);
    return pkey;
}

bool openssl_verifies(const Kml__Object *object, const char *md, const char *message, const uint8_t *sig, size_t len,
                      int pss_salt)
{
    EVP_PKEY *pkey = public_of(object);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    unsigned char *der = NULL;
    bool is_good;

    assert_int_equal(EVP_DigestVerifyInit_ex(ctx, &pctx, md, NULL, NULL, pkey, NULL), 1);
    if (pss_salt >= 0) {
        EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, pss_salt);
    }
    if (EVP_PKEY_is_a(pkey, "EC")) {
        ECDSA_SIG *parsed = ECDSA_SIG_new();
        ECDSA_SIG_set0(parsed, BN_bin2bn(sig, (int)len / 2, NULL), BN_bin2bn(sig + len / 2, (int)len / 2, NULL));
        len = (size_t)i2d_ECDSA_SIG(parsed, &der);
        sig = der;
        ECDSA_SIG_free(parsed);
    }
    is_good = EVP_DigestVerify(ctx, sig, len, (const unsigned char *)message, strlen(message)) == 1;
    OPENSSL_free(der);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    return is_good;
}

void check_signature(const Kml__Object *public, const Kml__Object *private, CK_MECHANISM_TYPE type,
                     CK_MECHANISM_TYPE hash, CK_ULONG mgf, int salt)
{
    struct call c = {.type = type, .op = SIGN, .data = TEXT("attack at dawn")}, v;
    uint8_t digest[64];
    size_t len = 0;

    c.mechanism.hash = hash;
    c.mechanism.mgf = mgf;
    c.mechanism.salt_len = salt > 0 ? (unsigned)salt : 0;
    assert_int_equal(use_key(private, &c), CKR_OK);
    assert_true(openssl_verifies(public, km_mech(type)->md, "attack at dawn", c.out, c.out_len, salt));
    v = c;
    v.op = VERIFY;
    v.signature = BYTES(c.out, c.out_len);
    assert_int_equal(use_key(public, &v), CKR_OK);
    v.data = TEXT("attack at noon");
    assert_int_equal(use_key(public, &v), CKR_SIGNATURE_INVALID);
    v.signature.len--;
    assert_int_equal(use_key(public, &v), CKR_SIGNATURE_LEN_RANGE);
    v.signature.len++;
    /* the same with the hash made by the client */
    assert_int_equal(EVP_Q_digest(NULL, km_mech(type)->md, NULL, "attack at dawn", 14, digest, &len), 1);
    v.data = BYTES(digest, len);
    v.data_is_digest = true;
    assert_int_equal(use_key(public, &v), CKR_OK);
    v.data.len--;
    assert_int_equal(use_key(public, &v), CKR_DATA_LEN_RANGE);
    free(c.out);
}

CK_RV bring_public(Kmw__Template *t, Kml__Object *ret)
{
    Kml__Head *head = NULL;
    CK_RV rv = create(t, &head);

    if (rv != CKR_OK)
        return rv;
    assert_int_equal(km_head_pack(head, &ret->head), KM_OK);
    kml__head__free_unpacked(head, NULL);
    return CKR_OK;
}

size_t unhex(const char *hex, uint8_t *to)
{
    size_t n = strlen(hex) / 2;

    for (size_t i = 0; i < n; i++) {
        unsigned byte = 0;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        to[i] = (uint8_t)byte;
    }
    return n;
}

int kit_set_up(void **state)
{
    (void)state;
    backend = open_with(7);
    return 0;
}

int kit_tear_down(void **state)
{
    (void)state;
    backend->ops->close(backend);
    return 0;
}
