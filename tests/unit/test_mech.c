/* SPDX-License-Identifier: Apache-2.0
 *
 * The mechanism table: found by type, no type twice, each row consistent in itself.
 */
#include "unit.h"

#include "../../common/attr.h"
#include "../../common/mech.h"

#include <openssl/evp.h>
#include <openssl/objects.h>
#include <string.h>

static void every_row_is_found_and_there_once(void **state)
{
    const struct km_mech *rows;
    size_t n;
    (void)state;

    rows = km_mechs(&n);
    assert_true(n > 30);
    for (size_t i = 0; i < n; i++)
        assert_ptr_equal(km_mech(rows[i].type), &rows[i]);
    assert_null(km_mech(CKM_DES3_ECB));
    assert_null(km_mech(CKM_RSA_9796));
    assert_null(km_mech(CK_UNAVAILABLE_INFORMATION));
}

static void every_row_fits_itself(void **state)
{
    const struct km_mech *rows;
    size_t n;
    (void)state;

    rows = km_mechs(&n);
    for (size_t i = 0; i < n; i++) {
        const struct km_mech *m = &rows[i];
        bool makes_key = (m->flags & (CKF_DERIVE | CKF_WRAP | CKF_ENCAPSULATE)) != 0 || m->type == CKM_PKCS5_PBKD2;
        bool is_use = makes_key || (m->flags & (CKF_SIGN | CKF_VERIFY | CKF_ENCRYPT | CKF_DECRYPT)) != 0;
        assert_true(strncmp(m->name, "CKM_", 4) == 0);
        assert_true(m->min <= m->max);
        assert_true(is_use == (m->scheme != KM_MS_NONE));
        assert_true((m->key_type == KM_KEY_TYPE_ANY) == (m->flags == CKF_DIGEST) || (m->flags & CKF_DERIVE) != 0);
        if (m->digest != CK_UNAVAILABLE_INFORMATION)
            assert_string_equal(km_mech_md(m->digest, NULL), m->md);
        else
            assert_true((m->md != NULL) ==
                        (m->scheme == KM_MS_HMAC || (m->scheme == KM_MS_PREHASH && m->param == KM_MP_CONTEXT)));
        if (m->digest == CKM_SHA_1)
            assert_true((m->flags & CKF_SIGN) == 0);
    }
}

static void hashes_are_openssls(void **state)
{
    (void)state;

    for (int i = 0; i < KM_HASHES; i++) {
        const struct km_hash *h = &km_hashes[i];
        size_t len = 0;
        EVP_MD *md = EVP_MD_fetch(NULL, h->md, NULL);
        assert_non_null(md);
        assert_int_equal(EVP_MD_get_size(md), h->len);
        assert_string_equal(km_mech_md(h->digest, &len), h->md);
        assert_int_equal(len, h->len);
        if (h->mgf != 0)
            assert_string_equal(km_mech_mgf_md(h->mgf, NULL), h->md);
        if (h->oid != 0) { /* OpenSSL knows the same number */
            uint8_t der[] = {0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, h->oid};
            ASN1_OBJECT *oid = d2i_ASN1_OBJECT(NULL, &(const unsigned char *){der}, sizeof(der));
            assert_true(EVP_MD_is_a(md, OBJ_nid2sn(OBJ_obj2nid(oid))));
            ASN1_OBJECT_free(oid);
        }
        EVP_MD_free(md);
    }
    assert_null(km_mech_mgf_md(0, NULL));
    assert_null(km_mech_md(CKM_ECDSA, NULL));
    assert_null(km_mech_mgf_md(77, NULL));
}

/* Last: it stays so. */
static void sha1_signs_where_it_is_allowed(void **state)
{
    (void)state;

    assert_int_equal(km_mech(CKM_ECDSA_SHA1)->flags & (CKF_SIGN | CKF_VERIFY), CKF_VERIFY);
    km_mech_allow_sha1_signatures();
    assert_true(km_mech(CKM_ECDSA_SHA1)->flags & km_mech(CKM_SHA1_RSA_PKCS)->flags &
                km_mech(CKM_SHA1_RSA_PKCS_PSS)->flags & CKF_SIGN);
    assert_false(km_mech(CKM_SHA_1)->flags & CKF_SIGN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_found_and_there_once),
        cmocka_unit_test(every_row_fits_itself),
        cmocka_unit_test(hashes_are_openssls),
        cmocka_unit_test(sha1_signs_where_it_is_allowed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
