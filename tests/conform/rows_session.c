/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions, login and PINs: states and their transitions (v2.40 5.5 C_InitToken ff., 5.6; PKCS #11 usage guide 2.6).
 */
#include "conform.h"

#include <stdio.h>

/* --- C_OpenSession, C_CloseSession, C_CloseAllSessions, C_GetSessionInfo --- */

ROW(C_OpenSession, CKR_OK, "read-only")
{
    CK_SESSION_HANDLE s = CK_INVALID_HANDLE;
    CK_RV rv = F->C_OpenSession(the_slot, CKF_SERIAL_SESSION, NULL, NULL, &s);

    CHECK(s != CK_INVALID_HANDLE && state_of(s) == CKS_RO_PUBLIC_SESSION);
    return rv;
}
ROW(C_OpenSession, CKR_OK, "read-write, with application data and callback")
{
    CK_SESSION_HANDLE s = CK_INVALID_HANDLE;
    CK_RV rv = F->C_OpenSession(the_slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, &the_slot, NULL, &s);

    CHECK(state_of(s) == CKS_RW_PUBLIC_SESSION);
    return rv;
}
ROW(C_OpenSession, CKR_OK, "takes over the user's login")
{
    (void)open_user();
    CHECK(state_of(open_rw()) == CKS_RW_USER_FUNCTIONS);
    CHECK(state_of(open_ro()) == CKS_RO_USER_FUNCTIONS);
    return CKR_OK;
}
ROW(C_OpenSession, CKR_OK, "a thousand at once")
{
    CK_SESSION_HANDLE s[1000];

    for (size_t i = 0; i < LEN(s); i++)
        s[i] = open_ro();
    CHECK(state_of(s[0]) == CKS_RO_PUBLIC_SESSION && state_of(s[999]) == CKS_RO_PUBLIC_SESSION && s[0] != s[999]);
    return CKR_OK;
}
ROW(C_OpenSession, CKR_SESSION_PARALLEL_NOT_SUPPORTED, "without CKF_SERIAL_SESSION")
{
    CK_SESSION_HANDLE s;

    return F->C_OpenSession(the_slot, CKF_RW_SESSION, NULL, NULL, &s);
}
ROW(C_OpenSession, CKR_SLOT_ID_INVALID, "a slot that does not exist")
{
    CK_SESSION_HANDLE s;

    return F->C_OpenSession(NO_SLOT, CKF_SERIAL_SESSION, NULL, NULL, &s);
}
ROW(C_OpenSession, CKR_ARGUMENTS_BAD, "phSession is NULL")
{
    return F->C_OpenSession(the_slot, CKF_SERIAL_SESSION, NULL, NULL, NULL);
}
ROW(C_OpenSession, CKR_TOKEN_NOT_RECOGNIZED, "a token that is not initialised")
{
    CK_SESSION_HANDLE s;

    return F->C_OpenSession(free_slot(), CKF_SERIAL_SESSION, NULL, NULL, &s);
}
ROW(C_OpenSession, CKR_SESSION_READ_WRITE_SO_EXISTS, "read-only while the SO is logged in")
{
    CK_SESSION_HANDLE s;

    (void)open_so();
    return F->C_OpenSession(the_slot, CKF_SERIAL_SESSION, NULL, NULL, &s);
}
ROW(C_CloseSession, CKR_OK, "a session; the other goes on")
{
    CK_SESSION_HANDLE s = open_ro(), other = open_ro();
    CK_RV rv = F->C_CloseSession(s);

    CHECK(state_of(other) == CKS_RO_PUBLIC_SESSION);
    return rv;
}
ROW(C_CloseSession, CKR_OK, "the last one: the login ends")
{
    CK_SESSION_HANDLE s = open_user();
    CK_RV rv = F->C_CloseSession(s);

    CHECK(state_of(open_rw()) == CKS_RW_PUBLIC_SESSION);
    return rv;
}
ROW(C_CloseSession, CKR_OK, "not the last one: the login stays")
{
    CK_SESSION_HANDLE s = open_user(), other = open_ro();
    CK_RV rv = F->C_CloseSession(s);

    CHECK(state_of(other) == CKS_RO_USER_FUNCTIONS);
    return rv;
}
ROW(C_CloseAllSessions, CKR_OK, "several sessions: handles are dead, the login ends")
{
    CK_SESSION_HANDLE s = open_user(), other = open_ro();
    CK_SESSION_INFO info;
    CK_RV rv = F->C_CloseAllSessions(the_slot);

    CHECK(F->C_GetSessionInfo(s, &info) == CKR_SESSION_HANDLE_INVALID);
    CHECK(F->C_GetSessionInfo(other, &info) == CKR_SESSION_HANDLE_INVALID);
    CHECK(state_of(open_rw()) == CKS_RW_PUBLIC_SESSION);
    return rv;
}
ROW(C_CloseAllSessions, CKR_OK, "no session is open")
{
    return F->C_CloseAllSessions(the_slot);
}
ROW(C_CloseAllSessions, CKR_SLOT_ID_INVALID, "a slot that does not exist")
{
    return F->C_CloseAllSessions(NO_SLOT);
}
ROW(C_GetSessionInfo, CKR_OK, "slot, state and flags")
{
    CK_SESSION_INFO info;
    CK_RV rv = F->C_GetSessionInfo(open_rw(), &info);

    CHECK(info.slotID == the_slot && info.state == CKS_RW_PUBLIC_SESSION);
    CHECK(info.flags == (CKF_SERIAL_SESSION | CKF_RW_SESSION));
    return rv;
}
ROW(C_GetSessionInfo, CKR_ARGUMENTS_BAD, "NULL")
{
    return F->C_GetSessionInfo(open_ro(), NULL);
}

/* --- C_Login, C_Logout --- */

ROW(C_Login, CKR_OK, "the user: all sessions change, read-only ones too")
{
    CK_SESSION_HANDLE ro = open_ro(), rw = open_rw();
    CK_RV rv = F->C_Login(ro, CKU_USER, TEXT(user_pin));

    CHECK(state_of(ro) == CKS_RO_USER_FUNCTIONS && state_of(rw) == CKS_RW_USER_FUNCTIONS);
    return rv;
}
ROW(C_Login, CKR_OK, "the SO")
{
    CK_SESSION_HANDLE rw = open_rw();
    CK_RV rv = F->C_Login(rw, CKU_SO, TEXT(so_pin));

    CHECK(state_of(rw) == CKS_RW_SO_FUNCTIONS);
    return rv;
}
ROW(C_Login, CKR_OK, "again after C_Logout, as the other one")
{
    CK_SESSION_HANDLE s = open_user();

    MUST(F->C_Logout(s));
    MUST(F->C_Login(s, CKU_SO, TEXT(so_pin)));
    MUST(F->C_Logout(s));
    return F->C_Login(s, CKU_USER, TEXT(user_pin));
}
ROW(C_Login, CKR_USER_ALREADY_LOGGED_IN, "the user twice")
{
    return F->C_Login(open_user(), CKU_USER, TEXT(user_pin));
}
ROW(C_Login, CKR_USER_ALREADY_LOGGED_IN, "the user twice, through another session")
{
    (void)open_user();
    return F->C_Login(open_ro(), CKU_USER, TEXT(user_pin));
}
ROW(C_Login, CKR_USER_ALREADY_LOGGED_IN, "the SO twice")
{
    return F->C_Login(open_so(), CKU_SO, TEXT(so_pin));
}
ROW(C_Login, CKR_USER_ANOTHER_ALREADY_LOGGED_IN, "the SO while the user is")
{
    return F->C_Login(open_user(), CKU_SO, TEXT(so_pin));
}
ROW(C_Login, CKR_USER_ANOTHER_ALREADY_LOGGED_IN, "the user while the SO is")
{
    return F->C_Login(open_so(), CKU_USER, TEXT(user_pin));
}
ROW(C_Login, CKR_SESSION_READ_ONLY_EXISTS, "the SO while a read-only session is open")
{
    CK_SESSION_HANDLE rw = open_rw();

    (void)open_ro();
    return F->C_Login(rw, CKU_SO, TEXT(so_pin));
}
ROW(C_Login, CKR_USER_TYPE_INVALID, "a user type that does not exist")
{
    return F->C_Login(open_rw(), 77, TEXT(user_pin));
}
ROW(C_Login, CKR_OPERATION_NOT_INITIALIZED, "context-specific, and no operation waits for it")
{
    return F->C_Login(open_user(), CKU_CONTEXT_SPECIFIC, TEXT(user_pin));
}
ROW_OR(C_Login, CKR_ARGUMENTS_BAD, CKR_PIN_INCORRECT, "pPin is NULL, its length is not 0")
{
    return F->C_Login(open_rw(), CKU_USER, NULL, 8);
}
ROW(C_Login, CKR_PIN_INCORRECT, "a wrong user PIN; the right one works afterwards")
{
    CK_SESSION_HANDLE s = open_at(scratch_slot(), CKF_RW_SESSION);
    CK_RV rv = F->C_Login(s, CKU_USER, TEXT("not this one"));

    MUST(F->C_Login(s, CKU_USER, TEXT(SCRATCH_PIN)));
    return rv;
}
ROW(C_Login, CKR_PIN_INCORRECT, "a wrong SO PIN; the right one works afterwards")
{
    CK_SESSION_HANDLE s = open_at(scratch_slot(), CKF_RW_SESSION);
    CK_RV rv = F->C_Login(s, CKU_SO, TEXT("not this one"));

    MUST(F->C_Login(s, CKU_SO, TEXT(SCRATCH_SO_PIN)));
    return rv;
}
ROW_OR(C_Login, CKR_PIN_INCORRECT, CKR_PIN_LEN_RANGE, "an empty PIN")
{
    return F->C_Login(open_at(scratch_slot(), CKF_RW_SESSION), CKU_USER, TEXT(""));
}
ROW(C_Login, CKR_USER_PIN_NOT_INITIALIZED, "a token without user PIN")
{
    CK_SLOT_ID slot = scratch_slot();
    CK_UTF8CHAR label[33];

    snprintf((char *)label, sizeof(label), "%-32s", "conform scratch");
    MUST(F->C_InitToken(slot, TEXT(SCRATCH_SO_PIN), label));
    return F->C_Login(open_at(slot, CKF_RW_SESSION), CKU_USER, TEXT(SCRATCH_PIN));
}
ROW(C_Login, CKR_PIN_LOCKED, "after wrong PINs without end, even with the right one; the SO unlocks it")
{
    CK_SLOT_ID slot = scratch_slot();
    CK_SESSION_HANDLE s = open_at(slot, CKF_RW_SESSION);
    CK_TOKEN_INFO info;
    CK_RV rv = CKR_PIN_INCORRECT;

    for (int i = 0; i < 30 && rv == CKR_PIN_INCORRECT; i++)
        rv = F->C_Login(s, CKU_USER, TEXT("not this one"));
    rv = F->C_Login(s, CKU_USER, TEXT(SCRATCH_PIN));
    if (rv != CKR_PIN_LOCKED)
        return rv;
    MUST(F->C_GetTokenInfo(slot, &info));
    CHECK(info.flags & CKF_USER_PIN_LOCKED);
    MUST(F->C_Login(s, CKU_SO, TEXT(SCRATCH_SO_PIN)));
    MUST(F->C_InitPIN(s, TEXT(SCRATCH_PIN)));
    MUST(F->C_Logout(s));
    MUST(F->C_Login(s, CKU_USER, TEXT(SCRATCH_PIN)));
    return rv;
}
ROW(C_Logout, CKR_OK, "the user: all sessions change")
{
    CK_SESSION_HANDLE rw = open_user(), ro = open_ro();
    CK_RV rv = F->C_Logout(ro);

    CHECK(state_of(ro) == CKS_RO_PUBLIC_SESSION && state_of(rw) == CKS_RW_PUBLIC_SESSION);
    return rv;
}
ROW(C_Logout, CKR_OK, "the SO")
{
    CK_SESSION_HANDLE s = open_so();
    CK_RV rv = F->C_Logout(s);

    CHECK(state_of(s) == CKS_RW_PUBLIC_SESSION);
    return rv;
}
ROW(C_Logout, CKR_USER_NOT_LOGGED_IN, "nobody is logged in")
{
    return F->C_Logout(open_ro());
}

/* --- C_InitToken, C_InitPIN, C_SetPIN --- */

static CK_UTF8CHAR *scratch_label(void)
{
    static CK_UTF8CHAR label[33];

    snprintf((char *)label, sizeof(label), "%-32s", "conform scratch");
    return label;
}

ROW(C_InitToken, CKR_OK, "again: objects and user PIN are gone, the label is there")
{
    CK_SLOT_ID slot = scratch_slot();
    CK_SESSION_HANDLE s = open_at(slot, CKF_RW_SESSION);
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE data[] = {{CKA_CLASS, &class, sizeof(class)}, {CKA_TOKEN, &yes, 1}, {CKA_PRIVATE, &no, 1}};
    CK_OBJECT_HANDLE object;
    CK_TOKEN_INFO info;
    CK_ULONG n = 0;

    MUST(F->C_Login(s, CKU_USER, TEXT(SCRATCH_PIN)));
    MUST(F->C_CreateObject(s, data, 3, &object));
    MUST(F->C_CloseSession(s));
    CK_RV rv = F->C_InitToken(slot, TEXT(SCRATCH_SO_PIN), scratch_label());
    MUST(F->C_GetTokenInfo(slot, &info));
    CHECK(memcmp(info.label, scratch_label(), 32) == 0);
    CHECK(!(info.flags & CKF_USER_PIN_INITIALIZED));
    s = open_at(slot, 0);
    MUST(F->C_FindObjectsInit(s, data, 1));
    MUST(F->C_FindObjects(s, &object, 1, &n));
    CHECK(n == 0);
    return rv;
}
ROW(C_InitToken, CKR_PIN_INCORRECT, "again with a wrong SO PIN")
{
    return F->C_InitToken(scratch_slot(), TEXT("not this one"), scratch_label());
}
ROW(C_InitToken, CKR_SESSION_EXISTS, "while a session is open")
{
    CK_SLOT_ID slot = scratch_slot();

    (void)open_at(slot, 0);
    return F->C_InitToken(slot, TEXT(SCRATCH_SO_PIN), scratch_label());
}
ROW(C_InitToken, CKR_SLOT_ID_INVALID, "a slot that does not exist")
{
    return F->C_InitToken(NO_SLOT, TEXT(SCRATCH_SO_PIN), scratch_label());
}
ROW(C_InitToken, CKR_ARGUMENTS_BAD, "no label")
{
    return F->C_InitToken(scratch_slot(), TEXT(SCRATCH_SO_PIN), NULL);
}
ROW_OR(C_InitToken, CKR_ARGUMENTS_BAD, CKR_PIN_INCORRECT, "pPin is NULL, its length is not 0")
{
    return F->C_InitToken(scratch_slot(), NULL, 8, scratch_label());
}
ROW_OR(C_InitToken, CKR_PIN_LEN_RANGE, CKR_PIN_INCORRECT, "a new token with a PIN that is too short")
{
    return F->C_InitToken(free_slot(), TEXT("1"), scratch_label());
}
ROW(C_InitPIN, CKR_OK, "a new PIN, with which the user logs in")
{
    CK_SESSION_HANDLE s = open_at(scratch_slot(), CKF_RW_SESSION);

    MUST(F->C_Login(s, CKU_SO, TEXT(SCRATCH_SO_PIN)));
    CK_RV rv = F->C_InitPIN(s, TEXT("another one"));
    MUST(F->C_Logout(s));
    CHECK(F->C_Login(s, CKU_USER, TEXT(SCRATCH_PIN)) == CKR_PIN_INCORRECT);
    MUST(F->C_Login(s, CKU_USER, TEXT("another one")));
    return rv;
}
ROW(C_InitPIN, CKR_USER_NOT_LOGGED_IN, "nobody is logged in")
{
    return F->C_InitPIN(open_rw(), TEXT("another one"));
}
ROW(C_InitPIN, CKR_USER_NOT_LOGGED_IN, "the user is logged in")
{
    return F->C_InitPIN(open_user(), TEXT("another one"));
}
ROW(C_InitPIN, CKR_PIN_LEN_RANGE, "a PIN that is too short")
{
    CK_SESSION_HANDLE s = open_at(scratch_slot(), CKF_RW_SESSION);

    MUST(F->C_Login(s, CKU_SO, TEXT(SCRATCH_SO_PIN)));
    return F->C_InitPIN(s, TEXT("1"));
}
ROW(C_InitPIN, CKR_PIN_LEN_RANGE, "a PIN that is too long")
{
    static CK_UTF8CHAR pin[100000];
    CK_SESSION_HANDLE s = open_at(scratch_slot(), CKF_RW_SESSION);

    memset(pin, '1', sizeof(pin));
    MUST(F->C_Login(s, CKU_SO, TEXT(SCRATCH_SO_PIN)));
    return F->C_InitPIN(s, pin, sizeof(pin));
}
ROW(C_InitPIN, CKR_ARGUMENTS_BAD, "pPin is NULL, its length is not 0")
{
    CK_SESSION_HANDLE s = open_at(scratch_slot(), CKF_RW_SESSION);

    MUST(F->C_Login(s, CKU_SO, TEXT(SCRATCH_SO_PIN)));
    return F->C_InitPIN(s, NULL, 8);
}
ROW(C_SetPIN, CKR_OK, "the user's")
{
    CK_SESSION_HANDLE s = open_at(scratch_slot(), CKF_RW_SESSION);

    MUST(F->C_Login(s, CKU_USER, TEXT(SCRATCH_PIN)));
    CK_RV rv = F->C_SetPIN(s, TEXT(SCRATCH_PIN), TEXT("another one"));
    CHECK(state_of(s) == CKS_RW_USER_FUNCTIONS);
    MUST(F->C_Logout(s));
    CHECK(F->C_Login(s, CKU_USER, TEXT(SCRATCH_PIN)) == CKR_PIN_INCORRECT);
    MUST(F->C_Login(s, CKU_USER, TEXT("another one")));
    return rv;
}
ROW(C_SetPIN, CKR_OK, "nobody is logged in: the user's")
{
    CK_SESSION_HANDLE s = open_at(scratch_slot(), CKF_RW_SESSION);
    CK_RV rv = F->C_SetPIN(s, TEXT(SCRATCH_PIN), TEXT("another one"));

    MUST(F->C_Login(s, CKU_USER, TEXT("another one")));
    return rv;
}
ROW(C_SetPIN, CKR_OK, "the SO's")
{
    CK_SESSION_HANDLE s = open_at(scratch_slot(), CKF_RW_SESSION);

    MUST(F->C_Login(s, CKU_SO, TEXT(SCRATCH_SO_PIN)));
    CK_RV rv = F->C_SetPIN(s, TEXT(SCRATCH_SO_PIN), TEXT("another one"));
    MUST(F->C_Logout(s));
    CHECK(F->C_Login(s, CKU_SO, TEXT(SCRATCH_SO_PIN)) == CKR_PIN_INCORRECT);
    MUST(F->C_Login(s, CKU_SO, TEXT("another one")));
    MUST(F->C_SetPIN(s, TEXT("another one"), TEXT(SCRATCH_SO_PIN)));
    return rv;
}
ROW(C_SetPIN, CKR_PIN_INCORRECT, "a wrong old PIN")
{
    CK_SESSION_HANDLE s = open_at(scratch_slot(), CKF_RW_SESSION);

    MUST(F->C_Login(s, CKU_USER, TEXT(SCRATCH_PIN)));
    return F->C_SetPIN(s, TEXT("not this one"), TEXT("another one"));
}
ROW(C_SetPIN, CKR_PIN_LEN_RANGE, "a new PIN that is too short")
{
    CK_SESSION_HANDLE s = open_at(scratch_slot(), CKF_RW_SESSION);

    MUST(F->C_Login(s, CKU_USER, TEXT(SCRATCH_PIN)));
    return F->C_SetPIN(s, TEXT(SCRATCH_PIN), TEXT("1"));
}
ROW(C_SetPIN, CKR_SESSION_READ_ONLY, "a read-only session")
{
    CK_SESSION_HANDLE s = open_at(scratch_slot(), 0);

    return F->C_SetPIN(s, TEXT(SCRATCH_PIN), TEXT("another one"));
}
ROW(C_SetPIN, CKR_SESSION_READ_ONLY, "a read-only session, the user logged in")
{
    CK_SESSION_HANDLE s = open_at(scratch_slot(), 0);

    MUST(F->C_Login(s, CKU_USER, TEXT(SCRATCH_PIN)));
    return F->C_SetPIN(s, TEXT(SCRATCH_PIN), TEXT("another one"));
}
ROW(C_SetPIN, CKR_ARGUMENTS_BAD, "pNewPin is NULL, its length is not 0")
{
    CK_SESSION_HANDLE s = open_at(scratch_slot(), CKF_RW_SESSION);

    return F->C_SetPIN(s, TEXT(SCRATCH_PIN), NULL, 8);
}
