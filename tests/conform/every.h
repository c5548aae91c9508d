/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows that every function has: before C_Initialize, and with a session handle that is none. The order of checks is
 * part of them: these come before any other mistake in the arguments (v2.40 5.1).
 */
#ifndef KM_TESTS_CONFORM_EVERY_H
#define KM_TESTS_CONFORM_EVERY_H

#include "conform.h"

static CK_SESSION_HANDLE s;
static CK_SLOT_ID slot;

static void set_closed(void)
{
    CK_SESSION_HANDLE other;

    s = open_ro();
    other = open_ro(); /* so that the library's last session is not the closed one */
    MUST(F->C_CloseSession(s));
    CHECK(other != s);
}

#define EVERY_IN(list, function, args)                                                                                 \
    ROW_AS(function##_init, function, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_CRYPTOKI_NOT_INITIALIZED,                      \
           "the library is not initialised")                                                                           \
    {                                                                                                                  \
        s = 1;                                                                                                         \
        slot = the_slot;                                                                                               \
        (void)(list);                                                                                                  \
        MUST(F->C_Finalize(NULL));                                                                                     \
        return (list)->function args;                                                                                  \
    }
#define EVERY_SESSION_IN(list, function, args)                                                                         \
    EVERY_IN(list, function, args)                                                                                     \
    ROW_AS(function##_zero, function, CKR_SESSION_HANDLE_INVALID, CKR_SESSION_HANDLE_INVALID, "session handle 0")      \
    {                                                                                                                  \
        s = CK_INVALID_HANDLE;                                                                                         \
        return (list)->function args;                                                                                  \
    }                                                                                                                  \
    ROW_AS(function##_none, function, CKR_SESSION_HANDLE_INVALID, CKR_SESSION_HANDLE_INVALID,                          \
           "a session handle that nobody gave out")                                                                    \
    {                                                                                                                  \
        s = NO_HANDLE;                                                                                                 \
        return (list)->function args;                                                                                  \
    }                                                                                                                  \
    ROW_AS(function##_closed, function, CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED, "a closed session's handle")   \
    {                                                                                                                  \
        set_closed();                                                                                                  \
        return (list)->function args;                                                                                  \
    }

#endif
