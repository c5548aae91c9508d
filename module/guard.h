/* SPDX-License-Identifier: Apache-2.0
 *
 * Guards, one rule and one return each, so that a C_ function opens with its refusals in a column.
 */
#ifndef KM_MODULE_GUARD_H
#define KM_MODULE_GUARD_H

#include "handle.h"

/* The library is initialised; the thread is inside until the function returns. */
#define KM_ENTER()                                                                                                     \
    __attribute__((cleanup(km_process_leave))) bool is_inside = false;                                                 \
    do {                                                                                                               \
        CK_RV enter_rv = km_process_enter(&is_inside);                                                                 \
        if (enter_rv != CKR_OK)                                                                                        \
            return enter_rv;                                                                                           \
    } while (0)

/* The same, and declares `session`, locked until the function returns. */
#define KM_SESSION(session, handle)                                                                                    \
    KM_ENTER();                                                                                                        \
    __attribute__((cleanup(km_session_leave))) struct km_session *session = NULL;                                      \
    do {                                                                                                               \
        CK_RV enter_rv = km_session_enter(handle, &session);                                                           \
        if (enter_rv != CKR_OK)                                                                                        \
            return enter_rv;                                                                                           \
    } while (0)

/* And `op`, its active operation of that kind. */
#define KM_OPERATION(session, op, handle, kind_)                                                                       \
    KM_SESSION(session, handle);                                                                                       \
    struct km_operation *op = &session->operations[kind_];                                                             \
    KM_REQUIRE(op->is_active, CKR_OPERATION_NOT_INITIALIZED)

#define KM_REQUIRE(condition, rv)                                                                                      \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            return rv;                                                                                                 \
    } while (0)

/* Passes on any failure. */
#define KM_TRY(call)                                                                                                   \
    do {                                                                                                               \
        CK_RV try_rv = (call);                                                                                         \
        if (try_rv != CKR_OK)                                                                                          \
            return try_rv;                                                                                             \
    } while (0)

/* Bytes that a program passes: NULL is legal with length 0 only. */
#define KM_REQUIRE_BYTES(pointer, len) KM_REQUIRE((pointer) != NULL || (len) == 0, CKR_ARGUMENTS_BAD)

#endif
