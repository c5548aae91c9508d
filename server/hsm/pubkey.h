/* SPDX-License-Identifier: Apache-2.0
 *
 * Public keys between heads and OpenSSL: what attributes follow from a key, which key a head describes. Nothing secret
 * here. No state; any thread.
 */
#ifndef KM_HSM_PUBKEY_H
#define KM_HSM_PUBKEY_H

#include "../../common/domain.h"
#include "../../common/pubkey.h"
#include "../raft/log.pb-c.h"

/* The curve or parameter set that the head names, or NULL. */
const struct km_domain *km_head_domain(const Kml__Head *head);

/* The public key that the head of a public (or private) key describes, checked to be valid. The caller frees. Errors:
 * km_pubkey_build's, CKR_KEY_TYPE_INCONSISTENT. */
CK_RV km_pubkey_load(const Kml__Head *head, EVP_PKEY **ret);
/* Writes what follows from the public part of `pkey` into the head: CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_MODULUS_BITS
 * (public keys), CKA_EC_PARAMS (if it is not there: another name for the same curve stays), CKA_EC_POINT (a DER OCTET
 * STRING for each kind of curve: so it is for CKK_EC, and programs that know the bare form of the others take both),
 * CKA_PARAMETER_SET, public CKA_VALUE and CKA_PUBLIC_KEY_INFO. Values that are there and disagree are an error:
 * CKR_TEMPLATE_INCONSISTENT, CKR_HOST_MEMORY. */
CK_RV km_pubkey_describe(const EVP_PKEY *pkey, Kml__Head *head);
/* For a public key that a program created: load, then describe. */
CK_RV km_pubkey_complete(Kml__Head *head);

#endif
