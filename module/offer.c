/* SPDX-License-Identifier: Apache-2.0
 *
 * The intersection of two tables, the module's and the servers'. Digests are the module's alone. Guarded by km_lock.
 */
#include "offer.h"

#include "guard.h"

#include <stdlib.h>

/* What a server is asked for; the flags beside them follow from these. */
#define ASKED                                                                                                          \
    (CKF_ENCRYPT | CKF_DECRYPT | CKF_SIGN | CKF_VERIFY | CKF_SIGN_RECOVER | CKF_VERIFY_RECOVER | CKF_GENERATE |        \
     CKF_GENERATE_KEY_PAIR | CKF_WRAP | CKF_UNWRAP | CKF_DERIVE | CKF_ENCAPSULATE | CKF_DECAPSULATE)
#define MESSAGES (CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT | CKF_MESSAGE_SIGN | CKF_MESSAGE_VERIFY)

static Kmw__MechanismInfo **offers;
static size_t n_offers;

void km_offers_set(Kmw__TokenListReply *list)
{
    for (size_t i = 0; i < n_offers; i++)
        kmw__mechanism_info__free_unpacked(offers[i], NULL);
    free(offers);
    offers = list->mechanisms;
    n_offers = list->n_mechanisms;
    list->mechanisms = NULL;
    list->n_mechanisms = 0;
}

static const Kmw__MechanismInfo *find(CK_MECHANISM_TYPE type)
{
    for (size_t i = 0; i < n_offers; i++)
        if (offers[i]->type == type)
            return offers[i];
    return NULL;
}

/* Many messages are only as possible as one. */
static CK_FLAGS without(CK_FLAGS flags, CK_FLAGS lost)
{
    flags &= ~lost;
    if (lost & CKF_ENCRYPT)
        flags &= ~CKF_MESSAGE_ENCRYPT;
    if (lost & CKF_DECRYPT)
        flags &= ~CKF_MESSAGE_DECRYPT;
    if (lost & CKF_SIGN)
        flags &= ~CKF_MESSAGE_SIGN;
    if (lost & CKF_VERIFY)
        flags &= ~CKF_MESSAGE_VERIFY;
    return flags & MESSAGES ? flags : flags & ~CKF_MULTI_MESSAGE;
}

/* Under km_lock. */
static bool is_offered(const struct km_mech *mech, CK_MECHANISM_INFO *ret)
{
    const Kmw__MechanismInfo *theirs = find(mech->type);

    *ret = (CK_MECHANISM_INFO){.ulMinKeySize = mech->min, .ulMaxKeySize = mech->max, .flags = mech->flags};
    if (n_offers == 0 || (mech->flags & CKF_DIGEST))
        return true;
    if (theirs == NULL)
        return false;
    ret->flags = without(mech->flags, mech->flags & ASKED & ~theirs->flags);
    if (theirs->min > ret->ulMinKeySize)
        ret->ulMinKeySize = theirs->min;
    if (theirs->max < ret->ulMaxKeySize)
        ret->ulMaxKeySize = theirs->max;
    return (ret->flags & ASKED) && ret->ulMinKeySize <= ret->ulMaxKeySize;
}

CK_RV km_offer_info(const struct km_mech *mech, CK_MECHANISM_INFO *ret)
{
    bool is_there;

    km_lock();
    is_there = is_offered(mech, ret);
    km_unlock();
    return is_there ? CKR_OK : CKR_MECHANISM_INVALID;
}

size_t km_offers_list(CK_MECHANISM_TYPE *ret)
{
    CK_MECHANISM_INFO info;
    const struct km_mech *mechs;
    size_t n_mechs, n = 0;

    mechs = km_mechs(&n_mechs);
    km_lock();
    for (size_t i = 0; i < n_mechs; i++)
        if (is_offered(&mechs[i], &info))
            ret[n++] = mechs[i].type;
    km_unlock();
    return n;
}
