/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates for tests: an array of CK_ATTRIBUTEs to a wire template and to a head, in one line each.
 */
#ifndef KM_TESTS_TMPL_H
#define KM_TESTS_TMPL_H

#include "../../common/attr.h"
#include "../../server/hsm/head.h"
#include "../../server/service/template.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

#define A_BOOL(type, v)                                                                                                \
    {                                                                                                                  \
        type, &(CK_BBOOL){v}, 1                                                                                        \
    }
#define A_ULONG(type, v)                                                                                               \
    {                                                                                                                  \
        type, &(CK_ULONG){v}, sizeof(CK_ULONG)                                                                         \
    }
#define A_BYTES(type, p, n)                                                                                            \
    {                                                                                                                  \
        type, (void *)(p), n                                                                                           \
    }
#define A_STR(type, s)                                                                                                 \
    {                                                                                                                  \
        type, (void *)(s), sizeof(s) - 1                                                                               \
    }

#define P256_OID "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
#define P384_OID "\x06\x05\x2b\x81\x04\x00\x22"
#define K256_OID "\x06\x05\x2b\x81\x04\x00\x0a"
#define B256_OID "\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01\x07"
#define B384_OID "\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01\x0b"
#define B512_OID "\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01\x0d"
#define ED25519_OID "\x06\x03\x2b\x65\x70"
#define ED448_OID "\x06\x03\x2b\x65\x71"
#define X25519_OID "\x06\x03\x2b\x65\x6e"
#define X448_OID "\x06\x03\x2b\x65\x6f"
#define P521_OID "\x06\x05\x2b\x81\x04\x00\x23"

#define TMPL(...)                                                                                                      \
    tmpl((const CK_ATTRIBUTE[]){__VA_ARGS__}, sizeof((const CK_ATTRIBUTE[]){__VA_ARGS__}) / sizeof(CK_ATTRIBUTE))

static inline Kmw__Template *tmpl(const CK_ATTRIBUTE *attrs, size_t n)
{
    CK_RV rv = CKR_OK;
    Kmw__Template *t = km_template_from_ck(attrs, n, &rv);

    assert_non_null(t);
    return t;
}

/* What km_template_new answers; the head in `*ret_head` if it is not NULL. Frees the template. */
static inline CK_RV new_head(Kmw__Template *t, enum km_template_phase phase, CK_MECHANISM_TYPE mech,
                             CK_OBJECT_CLASS class, Kml__Head **ret_head, Kml__Attr ***ret_secrets, size_t *ret_n)
{
    Kml__Head *head = NULL;
    Kml__Attr **secrets = NULL;
    const char *reason = NULL;
    size_t n = 0;
    CK_RV rv = km_template_new(t, phase, km_mech(mech), class, false, &head, &secrets, &n, &reason);

    kmw__template__free_unpacked(t, NULL);
    if (rv != CKR_OK) {
        assert_non_null(reason);
        assert_null(head);
        return rv;
    }
    if (ret_secrets != NULL) {
        *ret_secrets = secrets;
        *ret_n = n;
    } else {
        km_template_secrets_free(secrets, n);
    }
    if (ret_head != NULL)
        *ret_head = head;
    else
        kml__head__free_unpacked(head, NULL);
    return rv;
}

static inline CK_RV create(Kmw__Template *t, Kml__Head **ret_head)
{
    return new_head(t, KM_TP_CREATE, 0, 0, ret_head, NULL, NULL);
}

static inline CK_RV generate(Kmw__Template *t, CK_MECHANISM_TYPE mech, CK_OBJECT_CLASS class, Kml__Head **ret_head)
{
    return new_head(t, KM_TP_GENERATE, mech, class, ret_head, NULL, NULL);
}

#endif
