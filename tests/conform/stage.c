/* SPDX-License-Identifier: Apache-2.0
 *
 * What the rows stand on: the loaded module, its slot, sessions, a token to spoil. One thread, in a process that
 * belongs to the rows.
 */
#include "keys.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

CK_FUNCTION_LIST *F;
CK_SLOT_ID the_slot;
char *user_pin, *so_pin;

#define SCRATCH_LABEL "conform scratch"
#define SLOTS_MAX 256

static void *library;
static jmp_buf row_end;
static struct result *current;

/* --- a row's end --- */

void row_skip(const char *why)
{
    current->outcome = ROW_SKIPPED;
    snprintf(current->note, sizeof(current->note), "%s", why);
    longjmp(row_end, 1);
}

void row_fail(const char *what, CK_RV rv)
{
    current->outcome = ROW_FAILED;
    current->got = rv;
    snprintf(current->note, sizeof(current->note), "%s", what);
    longjmp(row_end, 1);
}

/* Whatever the row did: initialised, and no session. */
static void tidy(void)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG n = SLOTS_MAX;
    CK_INFO info;

    if (F->C_GetInfo(&info) == CKR_CRYPTOKI_NOT_INITIALIZED && F->C_Initialize(NULL) != CKR_OK)
        abort();
    if (F->C_GetSlotList(CK_TRUE, slots, &n) == CKR_OK)
        for (CK_ULONG i = 0; i < n; i++)
            (void)F->C_CloseAllSessions(slots[i]);
}

void stage_try(const struct row *row, struct result *ret)
{
    struct result result = {0};

    current = &result;
    if (setjmp(row_end) == 0) {
        CK_RV got = row->provoke();

        current->got = got;
        current->outcome = got == row->want || got == row->also ? ROW_PASSED : ROW_FAILED;
    }
    *ret = *current;
}

void stage_run(const struct row *row, struct result *ret)
{
    struct result result;

    stage_try(row, &result);
    tidy();
    *ret = result;
}

/* --- the module --- */

static _Noreturn void give_up(const char *what, const char *why)
{
    fprintf(stderr, "conform: %s: %s\n", what, why);
    exit(2);
}

static bool has_label(CK_SLOT_ID slot, const char *label)
{
    CK_TOKEN_INFO info;
    char padded[33];

    snprintf(padded, sizeof(padded), "%-32.32s", label);
    return F->C_GetTokenInfo(slot, &info) == CKR_OK && (info.flags & CKF_TOKEN_INITIALIZED) &&
           memcmp(info.label, padded, 32) == 0;
}

static bool find_label(const char *label, CK_SLOT_ID *ret)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG n = 0;

    if (F->C_GetSlotList(CK_TRUE, NULL, &n) != CKR_OK) /* asking for the number makes the list anew (v2.40 5.5) */
        return false;
    n = SLOTS_MAX;
    if (F->C_GetSlotList(CK_TRUE, slots, &n) != CKR_OK)
        return false;
    for (CK_ULONG i = 0; i < n; i++)
        if (has_label(slots[i], label)) {
            *ret = slots[i];
            return true;
        }
    return false;
}

/* --- later interfaces --- */

CK_RV get_interface(CK_UTF8CHAR *name, CK_VERSION *version, CK_INTERFACE **ret, CK_FLAGS flags)
{
    static CK_RV (*get)(CK_UTF8CHAR *, CK_VERSION *, CK_INTERFACE **, CK_FLAGS);

    if (get == NULL)
        *(void **)&get = dlsym(library, "C_GetInterface");
    if (get == NULL)
        row_skip("no C_GetInterface");
    return get(name, version, ret, flags);
}

static void *list_of(CK_BYTE minor)
{
    CK_VERSION version = {3, minor};
    CK_INTERFACE *found = NULL;

    if (get_interface(TEXT_ONLY("PKCS 11"), &version, &found, 0) != CKR_OK || found == NULL)
        row_skip(minor == 0 ? "no interface 3.0" : "no interface 3.2");
    return found->pFunctionList;
}

CK_FUNCTION_LIST_3_0 *list_3_0(void)
{
    return list_of(0);
}

CK_FUNCTION_LIST_3_2 *list_3_2(void)
{
    return list_of(2);
}

void stage_open(const struct subject *subject)
{
    CK_RV (*get)(CK_FUNCTION_LIST **) = NULL;
    CK_RV rv;

    library = dlopen(subject->module, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        give_up("the module does not load", dlerror());
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    if (get == NULL || get(&F) != CKR_OK)
        give_up(subject->module, "has no C_GetFunctionList");
    rv = F->C_Initialize(NULL);
    if (rv != CKR_OK)
        give_up("C_Initialize", rv_name(rv));
    if (subject->slot != NULL)
        the_slot = strtoul(subject->slot, NULL, 0);
    else if (!find_label(subject->token, &the_slot))
        give_up(subject->token, "no token has this label");
    user_pin = (char *)subject->user_pin;
    so_pin = (char *)subject->so_pin;
}

void stage_close(void)
{
    CK_SESSION_HANDLE s;
    CK_RV rv;

    if (F->C_OpenSession(the_slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s) == CKR_OK &&
        F->C_Login(s, CKU_USER, TEXT(user_pin)) == CKR_OK)
        keys_destroy(s);
    rv = F->C_Finalize(NULL);
    if (rv != CKR_OK)
        give_up("C_Finalize at the end", rv_name(rv));
    dlclose(library);
}

/* --- sessions --- */

CK_SESSION_HANDLE open_at(CK_SLOT_ID slot, CK_FLAGS more)
{
    CK_SESSION_HANDLE s = CK_INVALID_HANDLE;

    MUST(F->C_OpenSession(slot, CKF_SERIAL_SESSION | more, NULL, NULL, &s));
    return s;
}

CK_SESSION_HANDLE open_ro(void)
{
    return open_at(the_slot, 0);
}

CK_SESSION_HANDLE open_rw(void)
{
    return open_at(the_slot, CKF_RW_SESSION);
}

CK_SESSION_HANDLE open_user(void)
{
    CK_SESSION_HANDLE s = open_rw();

    MUST(F->C_Login(s, CKU_USER, TEXT(user_pin)));
    return s;
}

CK_SESSION_HANDLE open_so(void)
{
    CK_SESSION_HANDLE s = open_rw();

    MUST(F->C_Login(s, CKU_SO, TEXT(so_pin)));
    return s;
}

CK_STATE state_of(CK_SESSION_HANDLE s)
{
    CK_SESSION_INFO info;

    MUST(F->C_GetSessionInfo(s, &info));
    return info.state;
}

CK_SLOT_ID free_slot(void)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG n = SLOTS_MAX;
    CK_TOKEN_INFO info;

    MUST(F->C_GetSlotList(CK_TRUE, slots, &n));
    for (CK_ULONG i = n; i > 0; i--)
        if (F->C_GetTokenInfo(slots[i - 1], &info) == CKR_OK && !(info.flags & CKF_TOKEN_INITIALIZED))
            return slots[i - 1];
    row_skip("no slot with an uninitialised token");
}

CK_SLOT_ID scratch_slot(void)
{
    CK_UTF8CHAR label[33];
    CK_SLOT_ID slot;
    CK_SESSION_HANDLE s;

    if (!find_label(SCRATCH_LABEL, &slot))
        slot = free_slot();
    snprintf((char *)label, sizeof(label), "%-32.32s", SCRATCH_LABEL);
    MUST(F->C_InitToken(slot, TEXT(SCRATCH_SO_PIN), label));
    if (!find_label(SCRATCH_LABEL, &slot)) /* SoftHSM renumbers */
        row_skip("the new token is in no slot");
    s = open_at(slot, CKF_RW_SESSION);
    MUST(F->C_Login(s, CKU_SO, TEXT(SCRATCH_SO_PIN)));
    MUST(F->C_InitPIN(s, TEXT(SCRATCH_PIN)));
    MUST(F->C_CloseSession(s));
    return slot;
}

/* --- children --- */

CK_RV in_child(CK_RV (*work)(void *), void *argument)
{
    CK_RV rv = CKR_GENERAL_ERROR;
    int ends[2], status = 0;
    pid_t pid;

    if (pipe(ends) != 0)
        row_skip("no pipe");
    pid = fork();
    if (pid < 0)
        row_skip("no fork");
    if (pid == 0) {
        alarm(10);
        current = &(struct result){0};
        rv = setjmp(row_end) == 0 ? work(argument) : current->got != CKR_OK ? current->got : CKR_GENERAL_ERROR;
        _exit(write(ends[1], &rv, sizeof(rv)) == (ssize_t)sizeof(rv) ? 0 : 1);
    }
    close(ends[1]);
    bool is_answered = read(ends[0], &rv, sizeof(rv)) == (ssize_t)sizeof(rv);
    close(ends[0]);
    (void)waitpid(pid, &status, 0);
    if (!is_answered)
        row_fail(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "the child hung" : "the child died",
                 CKR_GENERAL_ERROR);
    return rv;
}
