/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys of key pairs from the attributes that a program brings. Nothing is believed: primes that are not given are found
 * from n, e and d; CRT exponents are computed and not taken, since a wrong one leaks the key with its first signature;
 * the whole is checked.
 */
#include "crypto.h"

#include "head.h"
#include "pubkey.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>

#include <stdlib.h>

#define BITS_MIN 2048
#define BITS_MAX 4096
#define EXPONENT_BITS_MAX 64
#define WITNESSES_MAX 100
#define POINT_LEN_MAX (1 + 2 * 66)

struct rsa_numbers {
    BIGNUM *n, *e, *d, *p, *q, *dp, *dq, *qinv;
};

static void numbers_free(struct rsa_numbers *r)
{
    BN_free(r->n);
    BN_free(r->e);
    BN_clear_free(r->d);
    BN_clear_free(r->p);
    BN_clear_free(r->q);
    BN_clear_free(r->dp);
    BN_clear_free(r->dq);
    BN_clear_free(r->qinv);
}

/* Empty ones count as not given. */
static const ProtobufCBinaryData *secret_of(Kml__Attr *const *secrets, size_t n, CK_ATTRIBUTE_TYPE type)
{
    for (size_t i = 0; i < n; i++)
        if (secrets[i]->type == type && secrets[i]->value.len > 0)
            return &secrets[i]->value;
    return NULL;
}

static BIGNUM *secret_number(Kml__Attr *const *secrets, size_t n, CK_ATTRIBUTE_TYPE type)
{
    const ProtobufCBinaryData *value = secret_of(secrets, n, type);
    BIGNUM *number = value != NULL ? BN_secure_new() : NULL;

    if (number == NULL || BN_bin2bn(value->data, (int)value->len, number) == NULL) {
        BN_clear_free(number);
        return NULL;
    }
    BN_set_flags(number, BN_FLG_CONSTTIME);
    return number;
}

static BIGNUM *public_number(const Kml__Head *head, CK_ATTRIBUTE_TYPE type)
{
    const Kml__Attr *attr = km_head_find(head, type);

    return attr != NULL && attr->value.len > 0 ? BN_bin2bn(attr->value.data, (int)attr->value.len, NULL) : NULL;
}

/* SP 800-56B, appendix C.1: n, e, d to p and q. */
static bool find_primes(struct rsa_numbers *r, BN_CTX *ctx)
{
    BIGNUM *k = BN_new(), *g = BN_new(), *x = BN_new(), *y = BN_new(), *minus = BN_new();
    int t = 0;
    bool is_found = false;

    if (k == NULL || g == NULL || x == NULL || y == NULL || minus == NULL || !BN_sub(minus, r->n, BN_value_one()) ||
        !BN_mul(k, r->d, r->e, ctx) || !BN_sub_word(k, 1) || BN_is_odd(k) || BN_is_zero(k) || BN_is_negative(k))
        goto out;
    while (!BN_is_odd(k)) {
        if (!BN_rshift1(k, k))
            goto out;
        t++;
    }
    for (int i = 0; i < WITNESSES_MAX && !is_found; i++) {
        if (!BN_priv_rand_range(g, r->n) || !BN_mod_exp(y, g, k, r->n, ctx))
            goto out;
        if (BN_is_zero(y) || BN_is_one(y) || BN_cmp(y, minus) == 0)
            continue;
        for (int j = 0; j < t; j++) {
            if (!BN_mod_sqr(x, y, r->n, ctx))
                goto out;
            if (BN_is_one(x)) { /* y is a root of one that is neither 1 nor -1 */
                is_found = true;
                break;
            }
            if (BN_cmp(x, minus) == 0 || BN_copy(y, x) == NULL)
                break;
        }
    }
    if (is_found) {
        r->p = BN_secure_new();
        r->q = BN_secure_new();
        is_found = r->p != NULL && r->q != NULL && BN_sub_word(y, 1) && BN_gcd(r->p, y, r->n, ctx) &&
                   BN_div(r->q, NULL, r->n, r->p, ctx);
    }
out:
    BN_clear_free(k);
    BN_clear_free(g);
    BN_clear_free(x);
    BN_clear_free(y);
    BN_free(minus);
    return is_found;
}

static bool find_crt(struct rsa_numbers *r, BN_CTX *ctx)
{
    BIGNUM *minus = BN_secure_new();
    bool is_found;

    r->dp = BN_secure_new();
    r->dq = BN_secure_new();
    is_found = minus != NULL && r->dp != NULL && r->dq != NULL && BN_sub(minus, r->p, BN_value_one()) &&
               !BN_is_zero(minus) && BN_mod(r->dp, r->d, minus, ctx) && BN_sub(minus, r->q, BN_value_one()) &&
               !BN_is_zero(minus) && BN_mod(r->dq, r->d, minus, ctx);
    if (is_found)
        r->qinv = BN_mod_inverse(NULL, r->q, r->p, ctx);
    BN_clear_free(minus);
    return is_found && r->qinv != NULL;
}

static bool is_product(const struct rsa_numbers *r, BN_CTX *ctx)
{
    BIGNUM *product = BN_new();
    bool is_one = product != NULL && BN_mul(product, r->p, r->q, ctx) && BN_cmp(product, r->n) == 0;

    BN_clear_free(product);
    return is_one;
}

static EVP_PKEY *rsa_from(const struct rsa_numbers *r)
{
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    EVP_PKEY *pkey = NULL;

    if (bld != NULL && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, r->n) &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, r->e) &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_D, r->d) &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_FACTOR1, r->p) &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_FACTOR2, r->q) &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_EXPONENT1, r->dp) &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_EXPONENT2, r->dq) &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_COEFFICIENT1, r->qinv))
        pkey = km_pkey_from(NULL, "RSA", EVP_PKEY_KEYPAIR, bld);
    OSSL_PARAM_BLD_free(bld);
    return pkey;
}

/* Whole check of the pair: for RSA that the factors are primes, for EC that the point belongs to the scalar. */
static bool is_sound(EVP_PKEY *pkey)
{
    EVP_PKEY_CTX *ctx = pkey != NULL ? EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL) : NULL;
    bool is_good = ctx != NULL && EVP_PKEY_check(ctx) == 1;

    EVP_PKEY_CTX_free(ctx);
    return is_good;
}

static CK_RV build_rsa(const Kml__Head *head, Kml__Attr *const *secrets, size_t n, EVP_PKEY **ret)
{
    struct rsa_numbers r = {0};
    BN_CTX *ctx = BN_CTX_secure_new();
    EVP_PKEY *pkey = NULL;
    CK_RV rv = CKR_OK;

    r.n = public_number(head, CKA_MODULUS);
    r.e = public_number(head, CKA_PUBLIC_EXPONENT);
    r.d = secret_number(secrets, n, CKA_PRIVATE_EXPONENT);
    r.p = secret_number(secrets, n, CKA_PRIME_1);
    r.q = secret_number(secrets, n, CKA_PRIME_2);
    if (ctx == NULL || r.n == NULL || r.e == NULL || r.d == NULL) {
        rv = ctx == NULL ? CKR_HOST_MEMORY : CKR_TEMPLATE_INCOMPLETE;
        goto out;
    }
    if (BN_num_bits(r.n) < BITS_MIN || BN_num_bits(r.n) > BITS_MAX) {
        rv = CKR_KEY_SIZE_RANGE;
        goto out;
    }
    rv = CKR_ATTRIBUTE_VALUE_INVALID;
    if (!BN_is_odd(r.n) || !BN_is_odd(r.e) || BN_is_one(r.e) || BN_num_bits(r.e) > EXPONENT_BITS_MAX ||
        BN_cmp(r.d, r.n) >= 0)
        goto out;
    if (r.p == NULL || r.q == NULL) {
        BN_clear_free(r.p);
        BN_clear_free(r.q);
        r.p = r.q = NULL;
        if (!find_primes(&r, ctx))
            goto out;
    }
    if (!is_product(&r, ctx) || !find_crt(&r, ctx))
        goto out;
    pkey = rsa_from(&r);
    if (!is_sound(pkey))
        goto out;
    *ret = pkey;
    pkey = NULL;
    rv = CKR_OK;
out:
    EVP_PKEY_free(pkey);
    numbers_free(&r);
    BN_CTX_free(ctx);
    return rv;
}

/* --- keys over domain parameters -----------------------------------------------------------------------------------
 */

/* The point of a scalar; NULL when the scalar is not in 1 .. order-1. */
static bool point_of(const struct km_domain *domain, const BIGNUM *d, uint8_t point[POINT_LEN_MAX])
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(OBJ_sn2nid(domain->name));
    EC_POINT *q = group != NULL ? EC_POINT_new(group) : NULL;
    bool is_done =
        q != NULL && !BN_is_zero(d) && BN_cmp(d, EC_GROUP_get0_order(group)) < 0 &&
        EC_POINT_mul(group, q, d, NULL, NULL, NULL) == 1 &&
        EC_POINT_point2oct(group, q, POINT_CONVERSION_UNCOMPRESSED, point, POINT_LEN_MAX, NULL) == domain->public_len;

    EC_POINT_free(q);
    EC_GROUP_free(group);
    return is_done;
}

EVP_PKEY *km_ec_from_scalar(const struct km_domain *domain, const BIGNUM *d)
{
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    EVP_PKEY *pkey = NULL;
    uint8_t point[POINT_LEN_MAX];

    if (bld != NULL && point_of(domain, d, point) &&
        OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, domain->name, 0) &&
        OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, domain->public_len) &&
        OSSL_PARAM_BLD_push_BN_pad(bld, OSSL_PKEY_PARAM_PRIV_KEY, d, domain->secret_len))
        pkey = km_pkey_from(NULL, "EC", EVP_PKEY_KEYPAIR, bld);
    OSSL_PARAM_BLD_free(bld);
    return pkey;
}

static CK_RV build_ec(const struct km_domain *domain, Kml__Attr *const *secrets, size_t n, EVP_PKEY **ret)
{
    BIGNUM *d = secret_number(secrets, n, CKA_VALUE);
    EVP_PKEY *pkey;

    if (d == NULL)
        return CKR_TEMPLATE_INCOMPLETE;
    pkey = km_ec_from_scalar(domain, d);
    BN_clear_free(d);
    if (!is_sound(pkey)) {
        EVP_PKEY_free(pkey);
        return CKR_ATTRIBUTE_VALUE_INVALID;
    }
    *ret = pkey;
    return CKR_OK;
}

/* ML-KEM and ML-DSA keys follow from their seed; a value that comes with it must be the same key's. */
static EVP_PKEY *build_from_seed(const struct km_domain *domain, const ProtobufCBinaryData *seed,
                                 const ProtobufCBinaryData *value)
{
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    EVP_PKEY *pkey = NULL;
    struct km_secret own = KM_SECRET_EMPTY;
    size_t len = domain->secret_len;
    bool is_same = value == NULL;

    if (bld != NULL && seed->len == domain->seed_len &&
        OSSL_PARAM_BLD_push_octet_string(bld, KM_PKEY_PARAM_SEED, seed->data, seed->len))
        pkey = km_pkey_from(NULL, domain->name, EVP_PKEY_KEYPAIR, bld);
    if (pkey != NULL && !is_same && value->len == len && km_secret_new(&own, len) == KM_OK)
        is_same = EVP_PKEY_get_raw_private_key(pkey, own.data, &len) == 1 && len == value->len &&
                  CRYPTO_memcmp(own.data, value->data, len) == 0;
    if (!is_same) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    km_secret_free(&own);
    OSSL_PARAM_BLD_free(bld);
    return pkey;
}

/* The public part follows from the secret one. */
static CK_RV build_raw(const struct km_domain *domain, Kml__Attr *const *secrets, size_t n, EVP_PKEY **ret)
{
    const ProtobufCBinaryData *value = secret_of(secrets, n, CKA_VALUE), *seed = secret_of(secrets, n, CKA_SEED);

    if (value == NULL && seed == NULL)
        return CKR_TEMPLATE_INCOMPLETE;
    if (seed != NULL)
        *ret = build_from_seed(domain, seed, value);
    else if (value->len == domain->secret_len)
        *ret = EVP_PKEY_new_raw_private_key_ex(NULL, domain->name, NULL, value->data, value->len);
    return *ret != NULL ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
}

CK_RV km_pair_build(const Kml__Head *head, Kml__Attr *const *secrets, size_t n, EVP_PKEY **ret)
{
    const struct km_domain *domain = km_head_domain(head);
    const Kml__Attr *named = km_head_find(head, km_domain_attr(head->key_type));

    if (!km_key_type_is_pair(head->key_type))
        return CKR_ATTRIBUTE_VALUE_INVALID;
    if (head->key_type == CKK_RSA)
        return build_rsa(head, secrets, n, ret);
    if (named == NULL)
        return CKR_TEMPLATE_INCOMPLETE;
    if (domain == NULL)
        return km_domain_check(head->key_type, named->value.data, named->value.len);
    if (head->key_type == CKK_EC)
        return build_ec(domain, secrets, n, ret);
    return build_raw(domain, secrets, n, ret);
}
