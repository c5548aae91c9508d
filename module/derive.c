/* SPDX-License-Identifier: Apache-2.0
 *
 * C_DeriveKey (PKCS#11 v3.2 5.18.6). Handles inside a parameter are resolved here; SP 800-108 may ask for more keys
 * than one, each with a template and a place for its handle inside the parameter.
 */
#include "guard.h"
#include "make.h"
#include "remote.h"

#include "../common/attr.h"

#define KEYS_MAX 16

struct derivation {
    const struct km_mech *mech;
    const CK_MECHANISM *mechanism;
    Kmw__Template *templates[KEYS_MAX];
    CK_OBJECT_HANDLE *handles[KEYS_MAX];
    size_t n;
    Kmw__Mechanism *param;
};

/* The handle that the parameter names, or CK_INVALID_HANDLE. */
static CK_OBJECT_HANDLE other_handle(const struct derivation *d)
{
    const CK_HKDF_PARAMS *hkdf = d->mechanism->pParameter;

    if (d->mech->param == KM_MP_HANDLE)
        return *(const CK_OBJECT_HANDLE *)d->mechanism->pParameter;
    if (d->mech->param == KM_MP_HKDF && hkdf->bExtract && hkdf->ulSaltType == CKF_HKDF_SALT_KEY)
        return hkdf->hSaltKey;
    return CK_INVALID_HANDLE;
}

static bool needs_other(const struct derivation *d)
{
    return d->mech->param == KM_MP_HANDLE || other_handle(d) != CK_INVALID_HANDLE;
}

static CK_RV add_key(struct derivation *d, const CK_ATTRIBUTE *template, CK_ULONG n, CK_OBJECT_HANDLE *handle)
{
    CK_RV rv = CKR_OK;

    KM_REQUIRE(template != NULL || n == 0, CKR_ARGUMENTS_BAD);
    KM_REQUIRE(handle != NULL, CKR_ARGUMENTS_BAD);
    KM_REQUIRE(d->n < KEYS_MAX, CKR_MECHANISM_PARAM_INVALID);
    d->templates[d->n] = km_template_from_ck(template, n, &rv);
    KM_REQUIRE(d->templates[d->n] != NULL, rv);
    d->handles[d->n++] = handle;
    return CKR_OK;
}

/* The further keys of SP 800-108. */
static CK_RV add_more(struct derivation *d)
{
    const CK_SP800_108_KDF_PARAMS *kdf = d->mechanism->pParameter;
    const CK_SP800_108_FEEDBACK_KDF_PARAMS *feedback = d->mechanism->pParameter;
    const CK_DERIVED_KEY *more = NULL;
    CK_ULONG n = 0;

    if (d->mech->param == KM_MP_SP800) {
        more = kdf->pAdditionalDerivedKeys;
        n = kdf->ulAdditionalDerivedKeys;
    } else if (d->mech->param == KM_MP_SP800_FEEDBACK) {
        more = feedback->pAdditionalDerivedKeys;
        n = feedback->ulAdditionalDerivedKeys;
    }
    KM_REQUIRE(more != NULL || n == 0, CKR_MECHANISM_PARAM_INVALID);
    for (CK_ULONG i = 0; i < n; i++)
        KM_TRY(add_key(d, more[i].pTemplate, more[i].ulAttributeCount, more[i].phKey));
    return CKR_OK;
}

static CK_RV derive(struct km_session *session, struct derivation *d, CK_OBJECT_HANDLE base_handle)
{
    struct km_make_key base = {0}, other = {0};
    Kmw__KeyDerive op = KMW__KEY_DERIVE__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    bool is_on_token = false;
    CK_RV rv = km_make_key_init(session, base_handle, CKR_KEY_HANDLE_INVALID, CKA_DERIVE, &base);

    if (rv == CKR_OK)
        rv = km_make_place(session, d->templates[0], &is_on_token);
    if (rv == CKR_OK && needs_other(d))
        rv = km_make_key_init(session, other_handle(d), CKR_KEY_HANDLE_INVALID, CKA_DERIVE, &other);
    if (rv == CKR_OK) {
        op.base_key = &base.key;
        op.mechanism = d->param;
        op.templates = d->templates;
        op.n_templates = d->n;
        if (other.view != NULL)
            op.mechanism->other = &other.key;
        request.op_case = KMW__REQUEST__OP_KEY_DERIVE;
        request.key_derive = &op;
        rv = km_make_call(session, &request, is_on_token, CKR_KEY_HANDLE_INVALID, d->n, d->handles);
        op.mechanism->other = NULL; /* borrowed */
    }
    km_make_key_fini(&other);
    km_make_key_fini(&base);
    return rv;
}

CK_RV C_DeriveKey(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hBaseKey,
                  CK_ATTRIBUTE *pTemplate, CK_ULONG ulAttributeCount, CK_OBJECT_HANDLE_PTR phKey)
{
    KM_SESSION(session, hSession);
    struct derivation d = {.mechanism = pMechanism};
    CK_RV rv;

    KM_TRY(km_maker_mech(pMechanism, CKF_DERIVE, &d.mech));
    KM_TRY(km_mechanism_read(d.mech, pMechanism, &d.param)); /* before anything else looks into it */
    rv = add_key(&d, pTemplate, ulAttributeCount, phKey);
    if (rv == CKR_OK)
        rv = add_more(&d);
    if (rv == CKR_OK)
        rv = derive(session, &d, hBaseKey);
    for (size_t i = 0; i < d.n; i++)
        kmw__template__free_unpacked(d.templates[i], NULL);
    kmw__mechanism__free_unpacked(d.param, NULL);
    return rv;
}
