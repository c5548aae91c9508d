/* SPDX-License-Identifier: Apache-2.0
 *
 * General purpose functions, slots and what a token tells of itself (v2.40 5.4, 5.5; v3.0 5.4).
 */
#include "conform.h"

#include <pthread.h>
#include <time.h>

static CK_RV make_mutex(void **mutex)
{
    static char one;
    *mutex = &one;
    return CKR_OK;
}
static CK_RV use_mutex(void *mutex)
{
    return mutex != NULL ? CKR_OK : CKR_MUTEX_BAD;
}

static CK_RV initialize(CK_C_INITIALIZE_ARGS args)
{
    MUST(F->C_Finalize(NULL));
    return F->C_Initialize(&args);
}

static bool is_padded(const CK_UTF8CHAR *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] == '\0')
            return false;
    return true;
}

/* --- C_Initialize, C_Finalize --- */

ROW(C_Initialize, CKR_OK, "NULL arguments")
{
    MUST(F->C_Finalize(NULL));
    return F->C_Initialize(NULL);
}
ROW(C_Initialize, CKR_OK, "no flag, no callback")
{
    return initialize((CK_C_INITIALIZE_ARGS){0});
}
ROW(C_Initialize, CKR_OK, "the system's locks allowed")
{
    return initialize((CK_C_INITIALIZE_ARGS){.flags = CKF_OS_LOCKING_OK});
}
ROW(C_Initialize, CKR_OK, "callbacks or the system's locks")
{
    return initialize((CK_C_INITIALIZE_ARGS){make_mutex, use_mutex, use_mutex, use_mutex, CKF_OS_LOCKING_OK, NULL});
}
ROW_OR(C_Initialize, CKR_OK, CKR_CANT_LOCK, "callbacks only")
{
    return initialize((CK_C_INITIALIZE_ARGS){make_mutex, use_mutex, use_mutex, use_mutex, 0, NULL});
}
ROW_OR(C_Initialize, CKR_OK, CKR_NEED_TO_CREATE_THREADS, "threads forbidden")
{
    return initialize((CK_C_INITIALIZE_ARGS){.flags = CKF_LIBRARY_CANT_CREATE_OS_THREADS | CKF_OS_LOCKING_OK});
}
ROW(C_Initialize, CKR_ARGUMENTS_BAD, "one callback missing")
{
    return initialize((CK_C_INITIALIZE_ARGS){make_mutex, use_mutex, use_mutex, NULL, CKF_OS_LOCKING_OK, NULL});
}
ROW(C_Initialize, CKR_ARGUMENTS_BAD, "one callback only")
{
    return initialize((CK_C_INITIALIZE_ARGS){.LockMutex = use_mutex});
}
ROW(C_Initialize, CKR_ARGUMENTS_BAD, "pReserved is not NULL")
{
    return initialize((CK_C_INITIALIZE_ARGS){.pReserved = &the_slot});
}
ROW(C_Initialize, CKR_CRYPTOKI_ALREADY_INITIALIZED, "twice")
{
    return F->C_Initialize(NULL);
}
ROW(C_Initialize, CKR_OK, "ten times after C_Finalize, with a session each")
{
    for (int i = 0; i < 9; i++) {
        (void)open_ro();
        MUST(F->C_Finalize(NULL));
        MUST(F->C_Initialize(NULL));
    }
    MUST(F->C_Finalize(NULL));
    return F->C_Initialize(NULL);
}
ROW(C_Finalize, CKR_OK, "with sessions open, which are gone afterwards")
{
    CK_SESSION_HANDLE s = open_user();
    CK_RV rv = F->C_Finalize(NULL);
    CK_SESSION_INFO info;

    MUST(F->C_Initialize(NULL));
    CHECK(F->C_GetSessionInfo(s, &info) == CKR_SESSION_HANDLE_INVALID);
    CHECK(state_of(open_rw()) == CKS_RW_PUBLIC_SESSION);
    return rv;
}
ROW(C_Finalize, CKR_ARGUMENTS_BAD, "pReserved is not NULL")
{
    return F->C_Finalize(&the_slot);
}

/* --- C_GetInfo, C_GetFunctionList --- */

ROW(C_GetInfo, CKR_OK, "fields are padded with blanks, flags are 0")
{
    CK_INFO info;
    CK_RV rv;

    memset(&info, 0, sizeof(info));
    rv = F->C_GetInfo(&info);
    CHECK(is_padded(info.manufacturerID, 32) && is_padded(info.libraryDescription, 32));
    CHECK(info.flags == 0);
    CHECK(info.cryptokiVersion.major == 2 || info.cryptokiVersion.major == 3);
    return rv;
}
ROW(C_GetInfo, CKR_ARGUMENTS_BAD, "NULL")
{
    return F->C_GetInfo(NULL);
}
ROW(C_GetFunctionList, CKR_OK, "no entry is NULL; needs no C_Initialize")
{
    CK_FUNCTION_LIST *list = NULL;
    CK_RV rv;

    MUST(F->C_Finalize(NULL));
    rv = F->C_GetFunctionList(&list);
    CHECK(list != NULL && list->version.major == 2);
#define KM_FUNC(name, args) CHECK(list->name != NULL);
#include "../../common/cryptoki_funcs.def"
#undef KM_FUNC
    return rv;
}
ROW(C_GetFunctionList, CKR_ARGUMENTS_BAD, "NULL")
{
    return F->C_GetFunctionList(NULL);
}

/* --- slots --- */

ROW(C_GetSlotList, CKR_OK, "the number, then as many")
{
    CK_SLOT_ID slots[256];
    CK_ULONG n = 0, room = LEN(slots);
    bool is_there = false;

    MUST(F->C_GetSlotList(CK_FALSE, NULL, &n));
    CHECK(n >= 1 && n <= room);
    CK_RV rv = F->C_GetSlotList(CK_FALSE, slots, &room);
    CHECK(room == n);
    for (CK_ULONG i = 0; i < n; i++)
        is_there |= slots[i] == the_slot;
    CHECK(is_there);
    return rv;
}
ROW(C_GetSlotList, CKR_OK, "with tokens only: each of them has one")
{
    CK_SLOT_ID slots[256];
    CK_SLOT_INFO info;
    CK_ULONG n = LEN(slots);
    CK_RV rv = F->C_GetSlotList(CK_TRUE, slots, &n);

    for (CK_ULONG i = 0; rv == CKR_OK && i < n; i++) {
        MUST(F->C_GetSlotInfo(slots[i], &info));
        CHECK(info.flags & CKF_TOKEN_PRESENT);
    }
    return rv;
}
ROW(C_GetSlotList, CKR_BUFFER_TOO_SMALL, "room for none; the number comes back")
{
    CK_SLOT_ID slots[1] = {NO_SLOT};
    CK_ULONG n = 0, all = 0;
    CK_RV rv;

    MUST(F->C_GetSlotList(CK_FALSE, NULL, &all));
    rv = F->C_GetSlotList(CK_FALSE, slots, &n);
    CHECK(n == all && slots[0] == NO_SLOT);
    return rv;
}
ROW(C_GetSlotList, CKR_ARGUMENTS_BAD, "pulCount is NULL")
{
    return F->C_GetSlotList(CK_FALSE, NULL, NULL);
}
ROW(C_GetSlotInfo, CKR_OK, "padded; a token is present")
{
    CK_SLOT_INFO info;
    CK_RV rv;

    memset(&info, 0, sizeof(info));
    rv = F->C_GetSlotInfo(the_slot, &info);
    CHECK(is_padded(info.slotDescription, 64) && is_padded(info.manufacturerID, 32));
    CHECK(info.flags & CKF_TOKEN_PRESENT);
    return rv;
}
ROW(C_GetSlotInfo, CKR_SLOT_ID_INVALID, "a slot that does not exist")
{
    CK_SLOT_INFO info;

    return F->C_GetSlotInfo(NO_SLOT, &info);
}
ROW(C_GetSlotInfo, CKR_ARGUMENTS_BAD, "NULL")
{
    return F->C_GetSlotInfo(the_slot, NULL);
}
ROW(C_GetTokenInfo, CKR_OK, "padded; initialised, with a user PIN; lengths that make sense")
{
    CK_TOKEN_INFO info;
    CK_RV rv;

    memset(&info, 0, sizeof(info));
    rv = F->C_GetTokenInfo(the_slot, &info);
    CHECK(is_padded(info.label, 32) && is_padded(info.manufacturerID, 32) && is_padded(info.model, 16));
    CHECK(is_padded(info.serialNumber, 16));
    CHECK((info.flags & CKF_TOKEN_INITIALIZED) && (info.flags & CKF_USER_PIN_INITIALIZED));
    CHECK(info.ulMinPinLen <= strlen(user_pin) && info.ulMaxPinLen >= strlen(user_pin));
    return rv;
}
ROW(C_GetTokenInfo, CKR_OK, "sessions are counted")
{
    CK_TOKEN_INFO before, after;

    MUST(F->C_GetTokenInfo(the_slot, &before));
    (void)open_ro();
    (void)open_rw();
    CK_RV rv = F->C_GetTokenInfo(the_slot, &after);
    CHECK(after.ulSessionCount == CK_UNAVAILABLE_INFORMATION || after.ulSessionCount == before.ulSessionCount + 2);
    CHECK(after.ulRwSessionCount == CK_UNAVAILABLE_INFORMATION ||
          after.ulRwSessionCount == before.ulRwSessionCount + 1);
    return rv;
}
ROW(C_GetTokenInfo, CKR_SLOT_ID_INVALID, "a slot that does not exist")
{
    CK_TOKEN_INFO info;

    return F->C_GetTokenInfo(NO_SLOT, &info);
}
ROW(C_GetTokenInfo, CKR_ARGUMENTS_BAD, "NULL")
{
    return F->C_GetTokenInfo(the_slot, NULL);
}

/* --- mechanisms --- */

ROW(C_GetMechanismList, CKR_OK, "the number, then as many, none twice")
{
    CK_MECHANISM_TYPE types[512];
    CK_ULONG n = 0, room = LEN(types);

    MUST(F->C_GetMechanismList(the_slot, NULL, &n));
    CHECK(n >= 1 && n <= room);
    CK_RV rv = F->C_GetMechanismList(the_slot, types, &room);
    CHECK(room == n);
    for (CK_ULONG i = 0; i < n; i++)
        for (CK_ULONG k = i + 1; k < n; k++)
            CHECK(types[i] != types[k]);
    return rv;
}
ROW(C_GetMechanismList, CKR_BUFFER_TOO_SMALL, "room for one; the number comes back")
{
    CK_MECHANISM_TYPE types[1];
    CK_ULONG n = 1, all = 0;
    CK_RV rv;

    MUST(F->C_GetMechanismList(the_slot, NULL, &all));
    rv = F->C_GetMechanismList(the_slot, types, &n);
    CHECK(n == all);
    return rv;
}
ROW(C_GetMechanismList, CKR_ARGUMENTS_BAD, "pulCount is NULL")
{
    return F->C_GetMechanismList(the_slot, NULL, NULL);
}
ROW(C_GetMechanismList, CKR_SLOT_ID_INVALID, "a slot that does not exist")
{
    CK_ULONG n = 0;

    return F->C_GetMechanismList(NO_SLOT, NULL, &n);
}
ROW(C_GetMechanismInfo, CKR_OK, "of each that is listed: it does something; sizes are in order")
{
    CK_MECHANISM_TYPE types[512];
    CK_MECHANISM_INFO info;
    CK_ULONG n = LEN(types);

    MUST(F->C_GetMechanismList(the_slot, types, &n));
    for (CK_ULONG i = 0; i < n; i++) {
        MUST(F->C_GetMechanismInfo(the_slot, types[i], &info));
        CHECK((info.flags & ~(CKF_HW | CKF_EC_F_P | CKF_EC_NAMEDCURVE | CKF_EC_UNCOMPRESS)) != 0);
        CHECK(info.ulMinKeySize <= info.ulMaxKeySize);
    }
    return CKR_OK;
}
ROW(C_GetMechanismInfo, CKR_MECHANISM_INVALID, "a mechanism that does not exist")
{
    CK_MECHANISM_INFO info;

    return F->C_GetMechanismInfo(the_slot, NO_MECHANISM, &info);
}
ROW(C_GetMechanismInfo, CKR_SLOT_ID_INVALID, "a slot that does not exist")
{
    CK_MECHANISM_INFO info;

    return F->C_GetMechanismInfo(NO_SLOT, CKM_SHA256, &info);
}
ROW(C_GetMechanismInfo, CKR_ARGUMENTS_BAD, "NULL")
{
    return F->C_GetMechanismInfo(the_slot, CKM_SHA256, NULL);
}

/* --- slot events --- */

ROW(C_WaitForSlotEvent, CKR_NO_EVENT, "not waiting, and nothing happened")
{
    CK_SLOT_ID slot;

    while (F->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL) == CKR_OK) {
    } /* what earlier rows caused */
    return F->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL);
}
ROW(C_WaitForSlotEvent, CKR_ARGUMENTS_BAD, "pSlot is NULL")
{
    return F->C_WaitForSlotEvent(CKF_DONT_BLOCK, NULL, NULL);
}
ROW(C_WaitForSlotEvent, CKR_ARGUMENTS_BAD, "pReserved is not NULL")
{
    CK_SLOT_ID slot;

    return F->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, &slot);
}
static void *finalize_later(void *unused)
{
    struct timespec delay = {0, 100 * 1000 * 1000};

    (void)unused;
    nanosleep(&delay, NULL);
    (void)F->C_Finalize(NULL);
    return NULL;
}
ROW(C_WaitForSlotEvent, CKR_CRYPTOKI_NOT_INITIALIZED, "waiting while another thread calls C_Finalize")
{
    CK_SLOT_ID slot;
    pthread_t thread;
    CK_RV rv;

    while (F->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL) == CKR_OK) {
    }
    if (pthread_create(&thread, NULL, finalize_later, NULL) != 0)
        row_skip("no thread");
    rv = F->C_WaitForSlotEvent(0, &slot, NULL);
    pthread_join(thread, NULL);
    return rv;
}
