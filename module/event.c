/* SPDX-License-Identifier: Apache-2.0
 *
 * C_WaitForSlotEvent (PKCS#11 v3.2 5.5): a token that came or went since the program last saw the list. The servers are
 * asked, so who waits asks again every POLL_MS, outside (forks.h). Each event is told once. No thread of its own.
 */
#include "guard.h"

#include "../common/forks.h"

#define POLL_MS 2000

/* The slot of an event that was not told yet. */
static bool take_event(CK_SLOT_ID *ret)
{
    bool is_found = false;

    km_lock();
    for (size_t i = 0; i < km_process.n_tokens && !is_found; i++) {
        struct km_token *token = km_process.tokens[i];
        is_found = token->has_event;
        token->has_event = false;
        if (is_found)
            *ret = token->slot;
    }
    km_unlock();
    return is_found;
}

CK_RV C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID_PTR pSlot, CK_VOID_PTR pReserved)
{
    uint64_t start;

    KM_ENTER();
    KM_REQUIRE(pSlot != NULL && pReserved == NULL, CKR_ARGUMENTS_BAD);
    start = km_process_started();
    for (;;) {
        CK_RV rv = km_token_refresh(0);
        KM_REQUIRE(km_process_started() == start, CKR_CRYPTOKI_NOT_INITIALIZED);
        if (take_event(pSlot))
            return CKR_OK;
        if (flags & CKF_DONT_BLOCK) /* that servers cannot be reached is no event, but nothing else is known either */
            return rv == CKR_OK ? CKR_NO_EVENT : CKR_FUNCTION_FAILED;
        km_process_wait(start, POLL_MS);
        KM_REQUIRE(km_process_started() == start, CKR_CRYPTOKI_NOT_INITIALIZED);
    }
}
