/* SPDX-License-Identifier: Apache-2.0
 *
 * A key's roles are a lineage (design D12): what a key was at its birth stays in its head for its whole life, copies
 * inherit it, and it decides what may be done with other keys' secrets. The rules and why they suffice are in
 * lineage.c. `*ret_reason` is set to a static line when the answer is not CKR_OK. No state; any thread.
 */
#ifndef KM_SERVICE_LINEAGE_H
#define KM_SERVICE_LINEAGE_H

#include "../../common/mech.h"
#include "../../common/wire.pb-c.h"
#include "../govern/level.h"
#include "../hsm/head.h"

/* Bits of Lineage.roles. */
enum km_role_bit {
    KM_ROLE_ENCRYPTS = 1 << 0,
    KM_ROLE_DECRYPTS = 1 << 1,
    KM_ROLE_SIGNS = 1 << 2,
    KM_ROLE_VERIFIES = 1 << 3,
    KM_ROLE_WRAPS = 1 << 4,
    KM_ROLE_UNWRAPS = 1 << 5,
    KM_ROLE_DERIVES = 1 << 6,
    KM_ROLE_ENCAPSULATES = 1 << 7,
    KM_ROLE_DECAPSULATES = 1 << 8,
};

/* The role that an attribute (CKA_SIGN ...) gives, or 0. */
uint32_t km_lineage_role(CK_ATTRIBUTE_TYPE type);
/* Bits of security (SP 800-57 part 1, table 2; SP 800-56B, table 4) of the key that `head` describes; 0: unknown. */
unsigned km_lineage_strength(const Kml__Head *head);

/* Writes the lineage of a new key into its head, from its attributes. Errors: KM_ERR_NOMEM. */
enum km_err km_lineage_begin(Kml__Head *head, Kml__Lineage__Origin origin) KM_CHECKED;
/* Gives both keys of a new pair the lineage of the pair: what either can do. */
void km_lineage_pair(Kml__Head *public_head, Kml__Head *head);
/* May such a key be born? At level strict a key has one role. CKR_TEMPLATE_INCONSISTENT. */
CK_RV km_lineage_may_be(enum km_level level, const Kml__Head *head, const char **ret_reason);

/* May `with` wrap `key`, both heads as stored? CKA_EXTRACTABLE, CKA_WRAP_WITH_TRUSTED and CKA_WRAP_TEMPLATE at every
 * level. CKR_KEY_UNEXTRACTABLE, CKR_KEY_NOT_WRAPPABLE, CKR_KEY_HANDLE_INVALID (the template), CKR_MECHANISM_INVALID,
 * CKR_HOST_MEMORY. */
CK_RV km_lineage_may_wrap(enum km_level level, const Kml__Head *with, const Kml__Head *key, const struct km_mech *mech,
                          const Kmw__Mechanism *param, const char **ret_reason);
/* May `with` unwrap by this mechanism? CKR_KEY_FUNCTION_NOT_PERMITTED. */
CK_RV km_lineage_may_unwrap(enum km_level level, const Kml__Head *with, const struct km_mech *mech,
                            const Kmw__Mechanism *param, const char **ret_reason);
/* May what `with` unwraps become `head`, a new key whose template is complete? `is_open`: the program did not say
 * whether it is sensitive, so it is if it must be. CKR_TEMPLATE_INCONSISTENT, CKR_HOST_MEMORY. */
CK_RV km_lineage_become(enum km_level level, const Kml__Head *with, bool is_open, Kml__Head *head,
                        const char **ret_reason);

/* May `head`, a new key (or data), be derived from `base` and `other` (NULL: none)? Gives it CKA_SENSITIVE,
 * CKA_EXTRACTABLE and their always and never twins as the mechanism asks (PKCS#11 v3.2 6.44).
 * CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_TEMPLATE_INCONSISTENT, CKR_HOST_MEMORY. */
CK_RV km_lineage_derive(enum km_level level, const Kml__Head *base, const Kml__Head *other, const struct km_mech *mech,
                        Kml__Head *head, const char **ret_reason);
/* True if at this level the whole of `base` has to go into what this mechanism derives: a part of it could be guessed.
 */
bool km_lineage_wants_whole(enum km_level level, const Kml__Head *base, const Kml__Head *other,
                            const struct km_mech *mech);

#endif
