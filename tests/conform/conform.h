/* SPDX-License-Identifier: Apache-2.0
 *
 * The conformance suite: a row for each function and return value of the standard that can be provoked, against any
 * module. A row is a claim and a small function that provokes it:
 *
 *     ROW(C_CloseSession, CKR_OK, "a session")
 *     {
 *         return F->C_CloseSession(open_ro());
 *     }
 *
 * It starts with an initialised library and no session, may leave what it likes behind, and answers the code of the
 * call that it is about. Rows run in a process of their own, so that a module's crash or hang costs one row.
 */
#ifndef KM_TESTS_CONFORM_H
#define KM_TESTS_CONFORM_H

#include "../../common/cryptoki.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct row {
    const char *file;
    int order; /* in the file */
    const char *function, *when;
    CK_RV want, also; /* `also`: the standard leaves a choice, or lists two codes for one mistake */
    CK_RV (*provoke)(void);
};

/* clang-format off */
#define ROW_AS_(id, function_, want_, also_, when_)                                                                    \
    static CK_RV provoke_##id(void);                                                                                   \
    static const struct row row_##id = {__FILE__, __COUNTER__, #function_, when_, want_, also_, provoke_##id};          \
    static const struct row *const row_at_##id __attribute__((used, section("conform_rows"))) = &row_##id;             \
    static CK_RV provoke_##id(void)
#define ROW_AS(id, function_, want_, also_, when_) ROW_AS_(id, function_, want_, also_, when_)
#define ROW_OR(function_, want_, also_, when_) ROW_AS(__LINE__, function_, want_, also_, when_)
#define ROW(function_, want_, when_) ROW_AS(__LINE__, function_, want_, want_, when_)
/* clang-format on */

/* --- what a row uses (stage.c) --- */

extern CK_FUNCTION_LIST *F;
/* The later function lists; the row is skipped where the module has none. */
CK_FUNCTION_LIST_3_0 *list_3_0(void);
CK_FUNCTION_LIST_3_2 *list_3_2(void);
CK_RV get_interface(CK_UTF8CHAR *name, CK_VERSION *version, CK_INTERFACE **ret, CK_FLAGS flags);
#define F30 list_3_0()
#define F32 list_3_2()
extern CK_SLOT_ID the_slot;
extern char *user_pin, *so_pin;

#define TEXT(s) (CK_UTF8CHAR *)(s), strlen(s)
#define TEXT_ONLY(s) (CK_UTF8CHAR *)(s)
#define LEN(array) (sizeof(array) / sizeof((array)[0]))
/* A handle and a slot that nobody gave out. */
#define NO_HANDLE 0x5a5a5a5aUL
#define NO_SLOT 0x5a5a5a5aUL
#define NO_MECHANISM 0x5a5a5a5aUL

/* The row ends here. */
_Noreturn void row_skip(const char *why);
_Noreturn void row_fail(const char *what, CK_RV rv);
/* What must succeed on the way to the call, and what must be true after it. */
#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        CK_RV must_rv = (call);                                                                                        \
        if (must_rv != CKR_OK)                                                                                         \
            row_fail(#call, must_rv);                                                                                  \
    } while (0)
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            row_fail("not true: " #condition, CKR_OK);                                                                 \
    } while (0)

CK_SESSION_HANDLE open_ro(void);
CK_SESSION_HANDLE open_rw(void);
/* A read-write session, and the user or the SO logged in. */
CK_SESSION_HANDLE open_user(void);
CK_SESSION_HANDLE open_so(void);
CK_STATE state_of(CK_SESSION_HANDLE s);

/* A token that may be locked and wiped: made of the uninitialised slot, or of the one that an earlier row made. Its
 * user and SO PIN are SCRATCH_PIN and SCRATCH_SO_PIN, and no session is open. */
#define SCRATCH_PIN "conform user"
#define SCRATCH_SO_PIN "conform so pin"
CK_SLOT_ID scratch_slot(void);
CK_SLOT_ID free_slot(void); /* an uninitialised one, or the row is skipped */
CK_SESSION_HANDLE open_at(CK_SLOT_ID slot, CK_FLAGS more);

/* Runs `work` in a child and returns what it returned. */
CK_RV in_child(CK_RV (*work)(void *), void *argument);

/* --- the run (conform.c) --- */

enum outcome { ROW_NOT_RUN, ROW_PASSED, ROW_FAILED, ROW_SKIPPED };
struct result {
    enum outcome outcome;
    CK_RV got;
    char note[120];
};
struct subject {
    const char *module, *token, *slot, *user_pin, *so_pin;
};
/* Loads the module and finds the slot. Exits with a message when that fails: there is nothing to test then. */
void stage_open(const struct subject *subject);
void stage_close(void);
/* A row by itself, and with the tidying up that the next one needs. */
void stage_try(const struct row *row, struct result *ret);
void stage_run(const struct row *row, struct result *ret);

/* "CKR_OK", or "0x..." of a static buffer. */
const char *rv_name(CK_RV rv);

#endif
