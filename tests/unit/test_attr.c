/* SPDX-License-Identifier: Apache-2.0
 *
 * Attributes between a program's memory and the wire.
 */
#include "unit.h"

#include "../../common/attr.h"

#include <string.h>

static CK_RV from_ck(const CK_ATTRIBUTE *attrs, CK_ULONG n, Kmw__Template **ret)
{
    CK_RV rv = CKR_OK;

    *ret = km_template_from_ck(attrs, n, &rv);
    assert_true((*ret == NULL) == (rv != CKR_OK));
    return rv;
}

static void rows_depend_on_class_and_key_type(void **state)
{
    (void)state;
    assert_true((km_attr_row(CKA_VALUE, CKO_PRIVATE_KEY, CKK_EC)->flags & KM_AF_SECRET) != 0);
    assert_null(km_attr_row(CKA_VALUE, CKO_PRIVATE_KEY, CKK_RSA));
    assert_true((km_attr_row(CKA_VALUE, CKO_DATA, 0)->flags & KM_AF_SECRET) == 0);
    assert_null(km_attr_row(CKA_MODULUS, CKO_PUBLIC_KEY, CKK_EC));
    assert_int_equal(km_attr_row(CKA_DECRYPT, CKO_PRIVATE_KEY, CKK_RSA)->init, 1);
    assert_int_equal(km_attr_row(CKA_DECRYPT, CKO_PRIVATE_KEY, CKK_EC)->init, 0);
    assert_int_equal(km_attr_row(CKA_PRIVATE, CKO_SECRET_KEY, CKK_AES)->init, 1);
    assert_int_equal(km_attr_row(CKA_PRIVATE, CKO_PUBLIC_KEY, CKK_RSA)->init, 0);
    assert_null(km_attr_row(CKA_LABEL, CKO_MECHANISM, 0));
    assert_null(km_attr_row(CKA_VENDOR_DEFINED | 1, CKO_DATA, 0));
}

static void one_type_has_one_kind(void **state)
{
    const struct km_attr_row *rows;
    size_t n;
    (void)state;

    rows = km_attr_rows(&n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(km_attr_kind(rows[i].type), rows[i].kind);
        if (rows[i].flags & (KM_AF_UP | KM_AF_DOWN | KM_AF_SO))
            assert_int_equal(rows[i].kind, KM_ATTR_BOOL);
        if (rows[i].flags & KM_AF_SECRET)
            assert_true((rows[i].flags & (KM_AF_SET | KM_AF_COPY | KM_AF_GENERATE)) == 0);
    }
    assert_int_equal(km_attr_kind(CKA_VENDOR_DEFINED | 1), KM_ATTR_BYTES);
}

static void values_come_back_as_they_went(void **state)
{
    CK_ULONG class = CKO_SECRET_KEY, mechs[3] = {CKM_ECDSA, CKM_AES_GCM, 0x123456789abUL}, got_class = 0, got_mechs[3];
    CK_BBOOL yes = CK_TRUE, got = 7;
    char label[6];
    CK_ATTRIBUTE attrs[] = {{CKA_CLASS, &class, sizeof(class)},
                            {CKA_TOKEN, &yes, 1},
                            {CKA_LABEL, "hello", 5},
                            {CKA_ALLOWED_MECHANISMS, mechs, sizeof(mechs)},
                            {CKA_ID, NULL, 0}};
    CK_ATTRIBUTE out;
    Kmw__Template *t;
    (void)state;

    assert_int_equal(from_ck(attrs, 5, &t), CKR_OK);
    assert_int_equal(t->n_attrs, 5);
    assert_int_equal(km_attr_ulong(t->attrs, 5, CKA_CLASS, 0), CKO_SECRET_KEY);
    assert_true(km_attr_bool(t->attrs, 5, CKA_TOKEN, false));
    assert_true(km_attr_bool(t->attrs, 5, CKA_PRIVATE, true));
    assert_null(km_attr_find(t->attrs, 5, CKA_MODULUS));
    out = (CK_ATTRIBUTE){CKA_CLASS, &got_class, sizeof(got_class)};
    assert_int_equal(km_attr_to_ck(t->attrs[0], &out), CKR_OK);
    assert_int_equal(got_class, CKO_SECRET_KEY);
    out = (CK_ATTRIBUTE){CKA_TOKEN, &got, 1};
    assert_int_equal(km_attr_to_ck(t->attrs[1], &out), CKR_OK);
    assert_int_equal(got, 1);
    out = (CK_ATTRIBUTE){CKA_LABEL, label, sizeof(label)};
    assert_int_equal(km_attr_to_ck(t->attrs[2], &out), CKR_OK);
    assert_int_equal(out.ulValueLen, 5);
    assert_memory_equal(label, "hello", 5);
    out = (CK_ATTRIBUTE){CKA_ALLOWED_MECHANISMS, got_mechs, sizeof(got_mechs)};
    assert_int_equal(km_attr_to_ck(t->attrs[3], &out), CKR_OK);
    assert_memory_equal(got_mechs, mechs, sizeof(mechs));
    out = (CK_ATTRIBUTE){CKA_ID, label, sizeof(label)};
    assert_int_equal(km_attr_to_ck(t->attrs[4], &out), CKR_OK);
    assert_int_equal(out.ulValueLen, 0);
    kmw__template__free_unpacked(t, NULL);
}

static void sizes_are_told_and_short_buffers_refused(void **state)
{
    CK_ATTRIBUTE in = {CKA_LABEL, "hello", 5}, out = {CKA_LABEL, NULL, 99};
    Kmw__Template *t;
    char small[4];
    (void)state;

    assert_int_equal(from_ck(&in, 1, &t), CKR_OK);
    assert_int_equal(km_attr_to_ck(t->attrs[0], &out), CKR_OK);
    assert_int_equal(out.ulValueLen, 5);
    out = (CK_ATTRIBUTE){CKA_LABEL, small, sizeof(small)};
    assert_int_equal(km_attr_to_ck(t->attrs[0], &out), CKR_BUFFER_TOO_SMALL);
    assert_true(out.ulValueLen == CK_UNAVAILABLE_INFORMATION);
    kmw__template__free_unpacked(t, NULL);
}

static void malformed_values_are_refused(void **state)
{
    CK_BBOOL two = 2;
    CK_ULONG v = 0;
    char date[] = "2026112x";
    CK_ATTRIBUTE bad[] = {
        {CKA_TOKEN, &two, 1},
        {CKA_TOKEN, &v, sizeof(v)},
        {CKA_CLASS, &v, 4},
        {CKA_CLASS, NULL, 8},
        {CKA_LABEL, NULL, 3},
        {CKA_LABEL, "x", CK_UNAVAILABLE_INFORMATION},
        {CKA_LABEL, "x", KM_ATTR_VALUE_MAX + 1},
        {CKA_START_DATE, date, 8},
        {CKA_START_DATE, date, 7},
        {CKA_ALLOWED_MECHANISMS, &v, 7},
        {CKA_WRAP_TEMPLATE, &v, 7},
    };
    Kmw__Template *t;
    (void)state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(from_ck(&bad[i], 1, &t), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(from_ck(NULL, 1, &t), CKR_ARGUMENTS_BAD);
    assert_int_equal(from_ck(bad, KM_ATTRS_MAX + 1, &t), CKR_ARGUMENTS_BAD);
    assert_int_equal(from_ck(NULL, 0, &t), CKR_OK);
    kmw__template__free_unpacked(t, NULL);
}

static void templates_nest(void **state)
{
    CK_BBOOL yes = 1, got = 0;
    CK_ULONG type = CKK_AES, got_type = 0;
    CK_ATTRIBUTE inner[] = {{CKA_SENSITIVE, &yes, 1}, {CKA_KEY_TYPE, &type, sizeof(type)}};
    CK_ATTRIBUTE outer = {CKA_UNWRAP_TEMPLATE, inner, sizeof(inner)}, out, into[2],
                 deep = {CKA_WRAP_TEMPLATE, &outer, sizeof(outer)}, deeper;
    Kmw__Template *t, *other;
    (void)state;

    assert_int_equal(from_ck(&outer, 1, &t), CKR_OK);
    out = (CK_ATTRIBUTE){CKA_UNWRAP_TEMPLATE, NULL, 0};
    assert_int_equal(km_attr_to_ck(t->attrs[0], &out), CKR_OK);
    assert_int_equal(out.ulValueLen, 2 * sizeof(CK_ATTRIBUTE));
    memset(into, 0, sizeof(into));
    out.pValue = into;
    assert_int_equal(km_attr_to_ck(t->attrs[0], &out), CKR_OK);                          /* sizes inside */
    assert_true(into[0].type == CKA_KEY_TYPE && into[0].ulValueLen == sizeof(CK_ULONG)); /* sorted by type */
    assert_true(into[1].type == CKA_SENSITIVE && into[1].ulValueLen == 1);
    into[0].pValue = &got_type;
    into[1].pValue = &got;
    assert_int_equal(km_attr_to_ck(t->attrs[0], &out), CKR_OK);
    assert_true(got == 1 && got_type == CKK_AES);
    into[0].ulValueLen = 3;
    assert_int_equal(km_attr_to_ck(t->attrs[0], &out), CKR_BUFFER_TOO_SMALL);
    kmw__template__free_unpacked(t, NULL);
    deeper = (CK_ATTRIBUTE){CKA_WRAP_TEMPLATE, &deep, sizeof(deep)};
    assert_int_equal(from_ck(&deeper, 1, &other), CKR_ATTRIBUTE_VALUE_INVALID);
}

static void templates_may_lie_anywhere(void **state)
{
    CK_BBOOL yes = 1;
    CK_ULONG type = CKK_AES;
    CK_ATTRIBUTE inner[] = {{CKA_SENSITIVE, &yes, 1}, {CKA_KEY_TYPE, &type, sizeof(type)}}, into[2];
    uint8_t odd[1 + sizeof(inner)], odder[1 + sizeof(CK_ATTRIBUTE)];
    CK_ATTRIBUTE outer = {CKA_UNWRAP_TEMPLATE, odd + 1, sizeof(inner)},
                 out = {CKA_UNWRAP_TEMPLATE, odd + 1, sizeof(inner)};
    Kmw__Template *t;
    (void)state;

    memcpy(odd + 1, inner, sizeof(inner));
    memcpy(odder + 1, &outer, sizeof(outer));
    assert_int_equal(from_ck((CK_ATTRIBUTE *)(void *)(odder + 1), 1, &t), CKR_OK);
    memset(odd, 0, sizeof(odd));
    assert_int_equal(km_attr_to_ck(t->attrs[0], &out), CKR_OK);
    memcpy(into, odd + 1, sizeof(into));
    assert_true(into[0].type == CKA_KEY_TYPE && into[1].type == CKA_SENSITIVE);
    /* The buffer for the first value is the second entry. */
    memset(into, 0, sizeof(into));
    into[0] = (CK_ATTRIBUTE){0, &into[1], sizeof(CK_ATTRIBUTE)};
    into[1] = (CK_ATTRIBUTE){0, &yes, 1};
    out.pValue = into;
    assert_int_equal(km_attr_to_ck(t->attrs[0], &out), CKR_OK);
    assert_true(into[1].type == CKA_SENSITIVE && into[1].pValue == &yes);
    kmw__template__free_unpacked(t, NULL);
}

static void days_are_of_the_calendar(void **state)
{
    static const char *const good[] = {"20240229", "20000229", "20261231", "00010101", "20260430"};
    static const char *const bad[] = {"20250229", "19000229", "20261301", "20260001", "20260100",
                                      "20260431", "20260132", "2026013a", "        "};
    ProtobufCBinaryData start = {8, (uint8_t *)"20261122"}, end = {8, (uint8_t *)"20261123"}, none = {0, NULL};
    uint64_t day = 86400000, first = UINT64_C(1795305600) * 1000;
    (void)state;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(km_attr_is_valid(CKA_START_DATE, (const uint8_t *)good[i], 8));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(km_attr_is_valid(CKA_END_DATE, (const uint8_t *)bad[i], 8));
    assert_true(km_attr_is_within(&none, NULL, 0, true));
    assert_false(km_attr_is_within(&start, &end, first - 1, true));
    assert_true(km_attr_is_within(&start, &end, first, true));
    assert_true(km_attr_is_within(&start, &end, first + 2 * day - 1, true));
    assert_false(km_attr_is_within(&start, &end, first + 2 * day, true));
    assert_true(km_attr_is_within(&start, &end, first + 2 * day, false));
}

static void a_server_that_lies_about_lengths_is_no_danger(void **state)
{
    uint8_t three[3] = {1, 2, 3};
    Kmw__Attr attr = KMW__ATTR__INIT;
    CK_ULONG v = 0;
    CK_ATTRIBUTE out = {CKA_CLASS, &v, sizeof(v)};
    (void)state;

    attr.value = (ProtobufCBinaryData){3, three};
    attr.type = CKA_CLASS;
    assert_int_equal(km_attr_to_ck(&attr, &out), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_true(out.ulValueLen == CK_UNAVAILABLE_INFORMATION);
    attr.type = CKA_WRAP_TEMPLATE;
    attr.value.len = 2;
    out = (CK_ATTRIBUTE){CKA_WRAP_TEMPLATE, NULL, 0};
    assert_int_equal(km_attr_to_ck(&attr, &out), CKR_ATTRIBUTE_VALUE_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_depend_on_class_and_key_type),
        cmocka_unit_test(one_type_has_one_kind),
        cmocka_unit_test(values_come_back_as_they_went),
        cmocka_unit_test(sizes_are_told_and_short_buffers_refused),
        cmocka_unit_test(malformed_values_are_refused),
        cmocka_unit_test(templates_nest),
        cmocka_unit_test(templates_may_lie_anywhere),
        cmocka_unit_test(days_are_of_the_calendar),
        cmocka_unit_test(a_server_that_lies_about_lengths_is_no_danger),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
