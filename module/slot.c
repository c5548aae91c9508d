/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots and tokens (PKCS#11 v2.40 5.5, first half): what the servers said in their newest list. A slot's number is the
 * server's, so it is the same everywhere and for ever.
 */
#include "guard.h"
#include "offer.h"
#include "text.h"

#include "../common/mech.h"

#include <stdlib.h>

#define LIST_AGE_MS 1000 /* how old the list may be where a program reads one slot after the other */
#define PIN_LEN_MIN 4    /* of the token to be, in the free slot */
#define PIN_LEN_MAX 255

CK_RV C_GetSlotList(CK_BBOOL tokenPresent, CK_SLOT_ID_PTR pSlotList, CK_ULONG_PTR pulCount)
{
    CK_ULONG n = 0, room;

    KM_ENTER();
    (void)tokenPresent; /* there is one in every slot */
    KM_REQUIRE(pulCount != NULL, CKR_ARGUMENTS_BAD);
    KM_TRY(km_token_refresh(pSlotList == NULL ? 0 : LIST_AGE_MS));
    room = *pulCount;
    km_lock();
    for (size_t i = 0; i < km_process.n_tokens; i++) {
        if (!km_process.tokens[i]->is_listed)
            continue;
        if (pSlotList != NULL && n < room)
            pSlotList[n] = km_process.tokens[i]->slot;
        n++;
    }
    km_unlock();
    *pulCount = n;
    return pSlotList != NULL && room < n ? CKR_BUFFER_TOO_SMALL : CKR_OK;
}

CK_RV C_GetSlotInfo(CK_SLOT_ID slotID, CK_SLOT_INFO *pInfo)
{
    struct km_token *token = NULL;

    KM_ENTER();
    KM_REQUIRE(pInfo != NULL, CKR_ARGUMENTS_BAD);
    KM_TRY(km_token_get(slotID, &token));
    memset(pInfo, 0, sizeof(*pInfo));
    km_text_pad(pInfo->slotDescription, sizeof(pInfo->slotDescription), "keymoot cluster");
    km_text_pad(pInfo->manufacturerID, sizeof(pInfo->manufacturerID), "keymoot");
    pInfo->flags = CKF_TOKEN_PRESENT;
    return CKR_OK;
}

/* Under km_lock. */
static void fill_token_info(const struct km_token *token, CK_TOKEN_INFO *info)
{
    const Kmw__TokenInfo *known = token->info;

    memset(info, 0, sizeof(*info));
    km_text_pad(info->label, sizeof(info->label), known != NULL ? known->label : "");
    km_text_pad(info->manufacturerID, sizeof(info->manufacturerID), "keymoot");
    km_text_pad(info->model, sizeof(info->model), known != NULL && known->model[0] != '\0' ? known->model : "keymoot");
    km_text_pad(info->serialNumber, sizeof(info->serialNumber), known != NULL ? known->serial : "");
    info->flags = known != NULL ? known->flags : CKF_RNG | CKF_LOGIN_REQUIRED;
    info->ulMaxSessionCount = info->ulMaxRwSessionCount = CK_EFFECTIVELY_INFINITE;
    info->ulSessionCount = token->n_sessions;
    info->ulRwSessionCount = token->n_read_write;
    info->ulMinPinLen = known != NULL && known->pin_len_max != 0 ? known->pin_len_min : PIN_LEN_MIN;
    info->ulMaxPinLen = known != NULL && known->pin_len_max != 0 ? known->pin_len_max : PIN_LEN_MAX;
    info->ulTotalPublicMemory = info->ulFreePublicMemory = CK_UNAVAILABLE_INFORMATION;
    info->ulTotalPrivateMemory = info->ulFreePrivateMemory = CK_UNAVAILABLE_INFORMATION;
    memset(info->utcTime, ' ', sizeof(info->utcTime)); /* no CKF_CLOCK_ON_TOKEN */
}

CK_RV C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO *pInfo)
{
    struct km_token *token = NULL;

    KM_ENTER();
    KM_REQUIRE(pInfo != NULL, CKR_ARGUMENTS_BAD);
    KM_TRY(km_token_refresh(LIST_AGE_MS));
    KM_TRY(km_token_get(slotID, &token));
    km_lock();
    fill_token_info(token, pInfo);
    km_unlock();
    return CKR_OK;
}

CK_RV C_GetMechanismList(CK_SLOT_ID slotID, CK_MECHANISM_TYPE_PTR pMechanismList, CK_ULONG_PTR pulCount)
{
    struct km_token *token = NULL;
    CK_MECHANISM_TYPE *types;
    size_t n;
    CK_RV rv = CKR_OK;

    KM_ENTER();
    KM_REQUIRE(pulCount != NULL, CKR_ARGUMENTS_BAD);
    KM_TRY(km_token_get(slotID, &token));
    km_mechs(&n);
    types = calloc(n, sizeof(*types));
    KM_REQUIRE(types != NULL, CKR_HOST_MEMORY);
    n = km_offers_list(types);
    if (pMechanismList != NULL && *pulCount < n)
        rv = CKR_BUFFER_TOO_SMALL;
    else if (pMechanismList != NULL)
        memcpy(pMechanismList, types, n * sizeof(*types));
    *pulCount = n;
    free(types);
    return rv;
}

CK_RV C_GetMechanismInfo(CK_SLOT_ID slotID, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *pInfo)
{
    struct km_token *token = NULL;
    const struct km_mech *mech = km_mech(type);
    CK_MECHANISM_INFO info;

    KM_ENTER();
    KM_REQUIRE(pInfo != NULL, CKR_ARGUMENTS_BAD);
    KM_TRY(km_token_get(slotID, &token));
    KM_REQUIRE(mech != NULL, CKR_MECHANISM_INVALID);
    KM_TRY(km_offer_info(mech, &info));
    *pInfo = info;
    return CKR_OK;
}
