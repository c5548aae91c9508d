/* SPDX-License-Identifier: Apache-2.0
 *
 * The mechanism table: found by type, no type twice, each row consistent in itself.
 */
#include "unit.h"

#include "../../common/attr.h"
#include "../../common/mech.h"

#include <openssl/evp.h>
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
    assert_null(km_mech(CKM_RSA_X_509));
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
        bool is_use = (m->flags & (CKF_SIGN | CKF_VERIFY | CKF_ENCRYPT | CKF_DECRYPT)) != 0;
        assert_true(strncmp(m->name, "CKM_", 4) == 0);
        assert_true(m->min <= m->max);
        assert_true(is_use == (m->scheme != KM_MS_NONE));
        assert_true((m->key_type == KM_KEY_TYPE_ANY) == (m->flags == CKF_DIGEST));
        if (m->digest != CK_UNAVAILABLE_INFORMATION)
            assert_string_equal(km_mech_md(m->digest, NULL), m->md);
        else
            assert_true((m->md != NULL) == (m->scheme == KM_MS_HMAC));
        if (m->digest == CKM_SHA_1)
            assert_true((m->flags & CKF_SIGN) == 0);
    }
}

static void hashes_are_openssls(void **state)
{
    static const CK_MECHANISM_TYPE digests[] = {CKM_SHA_1, CKM_SHA224, CKM_SHA256, CKM_SHA384, CKM_SHA512};
    static const CK_RSA_PKCS_MGF_TYPE mgfs[] = {CKG_MGF1_SHA1, CKG_MGF1_SHA224, CKG_MGF1_SHA256, CKG_MGF1_SHA384,
                                                CKG_MGF1_SHA512};
    (void)state;

    for (int i = 0; i < 5; i++) {
        size_t len = 0, mgf_len = 0;
        const EVP_MD *md = EVP_get_digestbyname(km_mech_md(digests[i], &len));
        assert_non_null(md);
        assert_int_equal(EVP_MD_get_size(md), len);
        assert_string_equal(km_mech_mgf_md(mgfs[i], &mgf_len), km_mech_md(digests[i], NULL));
        assert_int_equal(len, mgf_len);
    }
    assert_null(km_mech_md(CKM_ECDSA, NULL));
    assert_null(km_mech_mgf_md(77, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_found_and_there_once),
        cmocka_unit_test(every_row_fits_itself),
        cmocka_unit_test(hashes_are_openssls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
