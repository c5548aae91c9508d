/* SPDX-License-Identifier: Apache-2.0
 *
 * [access]: who may create tokens and who sees which; and the limits per identity.
 */
#include "unit.h"

#include "../../server/govern/access.h"
#include "../../server/govern/level.h"
#include "../../server/govern/limits.h"

#include <string.h>

static struct km_identity who(const char *uri)
{
    struct km_identity identity;
    assert_int_equal(km_identity_parse(uri, &identity), KM_OK);
    return identity;
}

static void grants_hold_for_whom_they_name(void **state)
{
    (void)state;
    struct km_access *access = km_access_new();
    struct km_identity app = who("spiffe://c/client/app"), web = who("spiffe://c/client/web"),
                       ops = who("spiffe://c/operator/app");
    assert_null(km_access_add(access, "app", "create , token:one"));
    assert_null(km_access_add(access, "*", "token:two words"));
    assert_true(km_access_may_create(access, &app));
    assert_false(km_access_may_create(access, &web));
    assert_false(km_access_may_create(access, &ops)); /* the same name in another role */
    assert_true(km_access_sees(access, &app, "one", "x"));
    assert_false(km_access_sees(access, &web, "one", "x"));
    assert_true(km_access_sees(access, &web, "two words", "x"));
    assert_true(km_access_sees(access, &web, "three", web.uri)); /* its own */
    assert_false(km_access_sees(access, &ops, "one", "x"));
    assert_null(km_access_add(access, "web", "token:*"));
    assert_true(km_access_sees(access, &web, "one", "x"));
    km_access_free(access);
}

static void what_is_no_grant_is_refused(void **state)
{
    (void)state;
    struct km_access *access = km_access_new();
    assert_non_null(km_access_add(access, "App", "create"));
    assert_non_null(km_access_add(access, "", "create"));
    assert_non_null(km_access_add(access, "app", "crate"));
    assert_non_null(km_access_add(access, "app", "token:"));
    assert_non_null(km_access_add(access, "app", "create,"));
    assert_non_null(km_access_add(access, "app", "token:123456789012345678901234567890123"));
    km_access_free(access);
}

static void a_token_has_its_level_or_the_default(void **state)
{
    (void)state;
    struct km_levels *levels = km_levels_new();
    assert_int_equal(km_levels_of(NULL, "one"), KM_LEVEL_LINEAGE);
    assert_int_equal(km_levels_of(levels, "one"), KM_LEVEL_LINEAGE);
    assert_null(km_levels_add(levels, "one", "off"));
    assert_null(km_levels_add(levels, "default", "strict"));
    assert_int_equal(km_levels_of(levels, "one"), KM_LEVEL_OFF);
    assert_int_equal(km_levels_of(levels, "two"), KM_LEVEL_STRICT);
    assert_non_null(km_levels_add(levels, "one", "none"));
    assert_non_null(km_levels_add(levels, "123456789012345678901234567890123", "off"));
    km_levels_free(levels);
    km_levels_free(NULL);
}

static void one_identity_fills_its_own_share_only(void **state)
{
    (void)state;
    struct km_limits *limits = km_limits_new(2, 100);
    assert_true(km_limits_enter(limits, "a", 60));
    assert_false(km_limits_enter(limits, "a", 60));
    assert_true(km_limits_enter(limits, "a", 40));
    assert_false(km_limits_enter(limits, "a", 0));
    assert_true(km_limits_enter(limits, "b", 100));
    assert_false(km_limits_enter(limits, "c", 101));
    km_limits_leave(limits, "a", 60);
    assert_true(km_limits_enter(limits, "a", 10));
    km_limits_leave(limits, "a", 40);
    km_limits_leave(limits, "a", 10);
    km_limits_leave(limits, "b", 100);
    km_limits_free(limits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grants_hold_for_whom_they_name),
        cmocka_unit_test(what_is_no_grant_is_refused),
        cmocka_unit_test(a_token_has_its_level_or_the_default),
        cmocka_unit_test(one_identity_fills_its_own_share_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
