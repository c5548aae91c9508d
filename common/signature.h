/* SPDX-License-Identifier: Apache-2.0
 *
 * Signatures by keys that take the whole message (KM_MS_MESSAGE) or a marked hash of it (KM_MS_PREHASH): made by the
 * server, checked by the module. What the variants of one scheme are called in a mechanism's parameter and to OpenSSL
 * is known here only. No state; any thread.
 */
#ifndef KM_COMMON_SIGNATURE_H
#define KM_COMMON_SIGNATURE_H

#include "domain.h"
#include "mech.h"

#define KM_CONTEXT_MAX 255 /* bytes (RFC 8032, FIPS 204, FIPS 205) */

/* Whether keys of `domain` sign with such a parameter here. CKR_OK or CKR_MECHANISM_PARAM_INVALID; variants that this
 * OpenSSL does not know are the latter. */
CK_RV km_signature_check_param(const struct km_domain *domain, const struct km_mech *mech, const Kmw__Mechanism *param);
/* A malloc'ed signature over `data`: the hash of the message where `mech` has a digest or the parameter names one, else
 * the message. Errors: km_signature_check_param's, CKR_DATA_LEN_RANGE, CKR_HOST_MEMORY, CKR_FUNCTION_FAILED. */
CK_RV km_signature_make(EVP_PKEY *pkey, const struct km_domain *domain, const struct km_mech *mech,
                        const Kmw__Mechanism *param, const uint8_t *data, size_t len, uint8_t **ret, size_t *ret_len);
/* CKR_OK, CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE or km_signature_make's. `libctx` NULL: the default. */
CK_RV km_signature_check(OSSL_LIB_CTX *libctx, EVP_PKEY *pkey, const struct km_domain *domain,
                         const struct km_mech *mech, const Kmw__Mechanism *param, const uint8_t *data, size_t len,
                         const uint8_t *signature, size_t signature_len);

#endif
