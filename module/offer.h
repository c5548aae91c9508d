/* SPDX-License-Identifier: Apache-2.0
 *
 * What the servers' back end can do, as it came with the list of tokens, and so which mechanisms a program can use:
 * those that both know, by the smaller ability. A module of one release with servers of another tells the truth.
 */
#ifndef KM_MODULE_OFFER_H
#define KM_MODULE_OFFER_H

#include "process.h"

#include "../common/mech.h"

/* Takes over what a server offers from its list of tokens. A server that tells nothing is taken to know what the module
 * knows. Under km_lock. */
void km_offers_set(Kmw__TokenListReply *list);

/* What a program can do with `mech`. CKR_MECHANISM_INVALID: nothing. Without locks. */
CK_RV km_offer_info(const struct km_mech *mech, CK_MECHANISM_INFO *ret);

/* All of which there is something to tell, into `ret`, which has room for km_mechs. Without locks. */
size_t km_offers_list(CK_MECHANISM_TYPE *ret);

#endif
