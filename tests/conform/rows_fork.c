/* SPDX-License-Identifier: Apache-2.0
 *
 * A process that forks: the child starts with C_Initialize, or goes on where the standard's reading of 2.40 5.4 lets
 * it; the parent notices nothing.
 */
#include "conform.h"

static CK_RV child_initializes(void *unused)
{
    CK_SESSION_HANDLE s = CK_INVALID_HANDLE;
    CK_RV rv = F->C_Initialize(NULL);

    (void)unused;
    if (rv == CKR_OK)
        rv = F->C_OpenSession(the_slot, CKF_SERIAL_SESSION, NULL, NULL, &s);
    if (rv == CKR_OK)
        rv = F->C_Finalize(NULL);
    return rv;
}
ROW(C_Initialize, CKR_OK, "in a child after fork; the parent's session goes on")
{
    CK_SESSION_HANDLE s = open_user();
    CK_RV rv = in_child(child_initializes, NULL);

    CHECK(state_of(s) == CKS_RW_USER_FUNCTIONS);
    return rv;
}

static CK_RV child_asks(void *session)
{
    CK_SESSION_INFO info;

    return F->C_GetSessionInfo(*(CK_SESSION_HANDLE *)session, &info);
}
ROW_OR(C_GetSessionInfo, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_OK, "in a child after fork")
{
    CK_SESSION_HANDLE s = open_user();
    CK_RV rv = in_child(child_asks, &s);

    CHECK(state_of(s) == CKS_RW_USER_FUNCTIONS);
    return rv;
}

static CK_RV child_finalizes(void *unused)
{
    (void)unused;
    return F->C_Finalize(NULL);
}
ROW_OR(C_Finalize, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_OK, "first call of a child after fork; the parent goes on")
{
    CK_SESSION_HANDLE s = open_user();
    CK_RV rv = in_child(child_finalizes, NULL);

    CHECK(state_of(s) == CKS_RW_USER_FUNCTIONS);
    return rv;
}
