/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys from nothing, from their seal and back into attributes. Big numbers on the way are OpenSSL's heap memory, wiped
 * when freed; what is kept is in km_secret. No state; any thread; generating RSA takes a second.
 */
#include "crypto.h"

#include "../../common/attr.h"
#include "head.h"
#include "pubkey.h"

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include <stdlib.h>
#include <string.h>

/* --- generating ----------------------------------------------------------------------------------------------------
 */

static EVP_PKEY *generate_rsa(const Kml__Head *head)
{
    const Kml__Attr *exponent = km_head_find(head, CKA_PUBLIC_EXPONENT);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    BIGNUM *e = exponent != NULL ? BN_bin2bn(exponent->value.data, (int)exponent->value.len, NULL) : NULL;
    EVP_PKEY *pkey = NULL;

    if (ctx == NULL || e == NULL || EVP_PKEY_keygen_init(ctx) != 1 ||
        EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, (int)km_head_ulong(head, CKA_MODULUS_BITS, 0)) != 1 ||
        EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e) != 1 || EVP_PKEY_generate(ctx, &pkey) != 1)
        pkey = NULL;
    BN_free(e);
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

static EVP_PKEY *generate_named(const char *type, const char *group)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *pkey = NULL;

    if (ctx == NULL || EVP_PKEY_keygen_init(ctx) != 1 ||
        (group != NULL && EVP_PKEY_CTX_set_group_name(ctx, group) != 1) || EVP_PKEY_generate(ctx, &pkey) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

/* FIPS 186-5 A.2.1: a random number 64 bits longer than the order n, modulo n-1, plus 1. */
static EVP_PKEY *generate_with_extra_bits(const struct km_domain *domain)
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(OBJ_sn2nid(domain->name));
    BIGNUM *c = BN_secure_new(), *d = BN_secure_new(), *n = BN_new();
    BN_CTX *ctx = BN_CTX_secure_new();
    EVP_PKEY *pkey = NULL;

    if (group != NULL && c != NULL && d != NULL && n != NULL && ctx != NULL && EC_GROUP_get_order(group, n, ctx) == 1 &&
        BN_priv_rand(c, BN_num_bits(n) + 64, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 && BN_sub_word(n, 1) == 1) {
        BN_set_flags(c, BN_FLG_CONSTTIME);
        if (BN_mod(d, c, n, ctx) == 1 && BN_add_word(d, 1) == 1)
            pkey = km_ec_from_scalar(domain, d);
    }
    BN_CTX_free(ctx);
    BN_free(n);
    BN_clear_free(d);
    BN_clear_free(c);
    EC_GROUP_free(group);
    return pkey;
}

static EVP_PKEY *generate_by_mech(const struct km_mech *mech, const Kml__Head *public_head)
{
    const struct km_domain *domain = km_head_domain(public_head);

    if (mech->key_type == CKK_RSA)
        return generate_rsa(public_head);
    if (domain == NULL)
        return NULL;
    if (mech->type == CKM_EC_KEY_PAIR_GEN_W_EXTRA_BITS)
        return generate_with_extra_bits(domain);
    return mech->key_type == CKK_EC ? generate_named("EC", domain->name) : generate_named(domain->name, NULL);
}

/* The private key names its curve as its public key does, which has the name from the program. */
static CK_RV share_domain(const Kml__Head *public_head, Kml__Head *head)
{
    CK_ATTRIBUTE_TYPE type = km_domain_attr(head->key_type);
    const Kml__Attr *from = km_head_find(public_head, type), *there = km_head_find(head, type);

    if (from == NULL || (there != NULL && there->value.len > 0))
        return CKR_OK;
    return km_head_put(head, type, from->value.data, from->value.len) == KM_OK ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV generate_pair(const struct km_mech *mech, Kml__Head *public_head, Kml__Head *head,
                           struct km_secret *ret_secret)
{
    EVP_PKEY *pkey = generate_by_mech(mech, public_head);
    CK_RV rv = CKR_FUNCTION_FAILED;

    if (pkey != NULL)
        rv = km_pubkey_describe(pkey, public_head);
    if (rv == CKR_OK)
        rv = share_domain(public_head, head);
    if (rv == CKR_OK)
        rv = km_pubkey_describe(pkey, head);
    if (rv == CKR_OK)
        rv = km_key_encode(pkey, ret_secret);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return rv;
}

CK_RV km_key_generate(const struct km_crypto *crypto, const struct km_mech *mech, Kml__Head *public_head,
                      Kml__Head *head, struct km_secret *ret_secret)
{
    struct km_secret value = KM_SECRET_EMPTY;
    CK_ULONG len;
    CK_RV rv;

    if ((mech->flags & CKF_GENERATE_KEY_PAIR) != 0)
        return public_head != NULL ? generate_pair(mech, public_head, head, ret_secret) : CKR_TEMPLATE_INCOMPLETE;
    len = km_head_ulong(head, CKA_VALUE_LEN, 0);
    if ((mech->flags & CKF_GENERATE) == 0 || len == 0 || len > KM_GENERIC_SECRET_MAX)
        return CKR_MECHANISM_INVALID;
    if (km_secret_new(&value, len) != KM_OK)
        return CKR_DEVICE_MEMORY;
    rv = RAND_priv_bytes(value.data, (int)len) == 1 ? km_secret_describe(crypto, &value, head) : CKR_FUNCTION_FAILED;
    if (rv == CKR_OK)
        rv = km_value_encode(&value, ret_secret);
    km_secret_free(&value);
    return rv;
}

/* --- taking in -----------------------------------------------------------------------------------------------------
 */

/* PKCS#11 v3.2 4.10.2: AES: of a block of zeros; everything else: SHA-1. */
static bool check_value_of(const struct km_crypto *crypto, const struct km_secret *value, CK_KEY_TYPE type,
                           uint8_t ret[3])
{
    static const uint8_t zeros[16];
    uint8_t out[EVP_MAX_MD_SIZE + 16];
    EVP_CIPHER_CTX *ctx = NULL;
    int n = 0;
    bool is_done;

    if (type == CKK_AES) {
        ctx = EVP_CIPHER_CTX_new();
        is_done = ctx != NULL &&
                  EVP_CipherInit_ex2(ctx, crypto->symmetric.aes[KM_AES_ECB][value->len / 8 - 2], value->data, NULL, 1, NULL) == 1 &&
                  EVP_CipherUpdate(ctx, out, &n, zeros, 16) == 1 && n == 16;
        EVP_CIPHER_CTX_free(ctx);
    } else {
        is_done = EVP_Digest(value->data, value->len, out, NULL, crypto->md[0], NULL) == 1;
    }
    if (is_done)
        memcpy(ret, out, 3);
    km_wipe(out, sizeof(out));
    return is_done;
}

CK_RV km_secret_describe(const struct km_crypto *crypto, const struct km_secret *value, Kml__Head *head)
{
    const Kml__Attr *given = km_head_find(head, CKA_CHECK_VALUE);
    uint8_t kcv[3];

    if (!km_secret_len_is_good(head->key_type, value->len))
        return CKR_ATTRIBUTE_VALUE_INVALID;
    if (head->key_type == CKK_AES_XTS && CRYPTO_memcmp(value->data, value->data + value->len / 2, value->len / 2) == 0)
        return CKR_ATTRIBUTE_VALUE_INVALID; /* XTS with equal halves is not secure (SP 800-38E, FIPS 140 IG C.I) */
    if (km_head_ulong(head, CKA_VALUE_LEN, value->len) != value->len)
        return CKR_TEMPLATE_INCONSISTENT;
    if (km_head_put_ulong(head, CKA_VALUE_LEN, value->len) != KM_OK)
        return CKR_DEVICE_MEMORY;
    if (given != NULL && given->value.len == 0) { /* none wanted */
        km_head_drop(head, CKA_CHECK_VALUE);
        return CKR_OK;
    }
    if (!check_value_of(crypto, value, head->key_type, kcv))
        return CKR_FUNCTION_FAILED;
    if (given != NULL && (given->value.len != 3 || memcmp(given->value.data, kcv, 3) != 0))
        return CKR_ATTRIBUTE_VALUE_INVALID;
    return km_head_put(head, CKA_CHECK_VALUE, kcv, 3) == KM_OK ? CKR_OK : CKR_DEVICE_MEMORY;
}

static const Kml__Attr *given_value(Kml__Attr *const *secrets, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (secrets[i]->type == CKA_VALUE)
            return secrets[i];
    return NULL;
}

/* The value of a private data object: bytes, whatever they are. */
static CK_RV import_data(Kml__Attr *const *secrets, size_t n, struct km_secret *ret_secret)
{
    const Kml__Attr *given = given_value(secrets, n);
    struct km_secret value = KM_SECRET_EMPTY;
    CK_RV rv;

    if (given == NULL || given->value.len == 0 || given->value.len > KM_ATTR_VALUE_MAX)
        return given == NULL ? CKR_TEMPLATE_INCOMPLETE : CKR_ATTRIBUTE_VALUE_INVALID;
    if (km_secret_new(&value, given->value.len) != KM_OK)
        return CKR_DEVICE_MEMORY;
    memcpy(value.data, given->value.data, given->value.len);
    rv = km_value_encode(&value, ret_secret);
    km_secret_free(&value);
    return rv;
}

static CK_RV import_secret(const struct km_crypto *crypto, Kml__Head *head, Kml__Attr *const *secrets, size_t n,
                           struct km_secret *ret_secret)
{
    const Kml__Attr *given = given_value(secrets, n);
    struct km_secret value = KM_SECRET_EMPTY;
    CK_RV rv;

    if (given == NULL)
        return CKR_TEMPLATE_INCOMPLETE;
    if (given->value.len == 0 || given->value.len > KM_GENERIC_SECRET_MAX)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    if (km_secret_new(&value, given->value.len) != KM_OK)
        return CKR_DEVICE_MEMORY;
    memcpy(value.data, given->value.data, given->value.len);
    rv = km_secret_describe(crypto, &value, head);
    if (rv == CKR_OK)
        rv = km_value_encode(&value, ret_secret);
    km_secret_free(&value);
    return rv;
}

CK_RV km_key_import(const struct km_crypto *crypto, Kml__Head *head, Kml__Attr *const *secrets, size_t n,
                    struct km_secret *ret_secret)
{
    EVP_PKEY *pkey = NULL;
    CK_RV rv;

    if (head->class_ == CKO_DATA)
        return import_data(secrets, n, ret_secret);
    if (head->class_ == CKO_SECRET_KEY)
        return import_secret(crypto, head, secrets, n, ret_secret);
    if (head->class_ != CKO_PRIVATE_KEY)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    rv = km_pair_build(head, secrets, n, &pkey);
    if (rv == CKR_OK)
        rv = km_pubkey_describe(pkey, head);
    if (rv == CKR_OK)
        rv = km_key_encode(pkey, ret_secret);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return rv;
}
