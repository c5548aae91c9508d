/* SPDX-License-Identifier: Apache-2.0
 *
 * C_InitToken and the PINs (PKCS#11 v2.40 5.5, second half). A PIN goes into its request and nowhere else.
 */
#include "../common/log.h"
#include "guard.h"
#include "login.h"
#include "remote.h"
#include "text.h"

static bool is_of_token(const struct km_object *object, const void *token)
{
    return object->token == token;
}

CK_RV C_InitToken(CK_SLOT_ID slotID, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen, CK_UTF8CHAR_PTR pLabel)
{
    Kmw__TokenInit op = KMW__TOKEN_INIT__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Reply *reply = NULL;
    struct km_token *token = NULL;
    char label[32 + 1];
    bool has_sessions;

    KM_ENTER();
    KM_REQUIRE(pLabel != NULL, CKR_ARGUMENTS_BAD);
    KM_REQUIRE(pPin != NULL, CKR_ARGUMENTS_BAD);
    KM_REQUIRE(ulPinLen <= KM_PIN_SENT_MAX, CKR_PIN_LEN_RANGE);
    KM_TRY(km_token_get(slotID, &token));
    km_lock();
    has_sessions = token->n_sessions > 0;
    km_unlock();
    KM_REQUIRE(!has_sessions, CKR_SESSION_EXISTS);

    km_text_trim(label, pLabel, 32);
    op.slot = slotID;
    op.so_pin = km_bytes(pPin, ulPinLen);
    op.label = label;
    request.op_case = KMW__REQUEST__OP_TOKEN_INIT;
    request.token_init = &op;
    KM_TRY(
        km_remote_call(token->is_free ? NULL : token, &request, KM_CALL_CHANGE, KMW__REPLY__RESULT_TOKEN_INIT, &reply));
    km_reply_free(reply);
    km_lock();
    km_object_drop_if(is_of_token, token);
    km_process.listed_ms = INT64_MIN;
    km_unlock();
    return CKR_OK;
}

CK_RV C_InitPIN(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
    KM_SESSION(session, hSession);
    Kmw__PinInit op = KMW__PIN_INIT__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Reply *reply = NULL;

    KM_REQUIRE(pPin != NULL, CKR_ARGUMENTS_BAD);
    KM_REQUIRE(km_login_user(session->token) == CKU_SO, CKR_USER_NOT_LOGGED_IN);
    KM_REQUIRE(ulPinLen <= KM_PIN_SENT_MAX, CKR_PIN_LEN_RANGE);
    op.pin = km_bytes(pPin, ulPinLen);
    request.op_case = KMW__REQUEST__OP_PIN_INIT;
    request.pin_init = &op;
    KM_TRY(km_remote_call(session->token, &request, KM_CALL_CHANGE, KMW__REPLY__RESULT_DONE, &reply));
    km_reply_free(reply);
    km_lock();
    km_process.listed_ms = INT64_MIN; /* the token's flags are others now */
    km_unlock();
    return CKR_OK;
}

/* A ticket dies with the PIN that it was given for; the program stays logged in, with the ticket that the answer
 * brings. Where that fails, its sessions are public ones; the PIN is changed all the same, so the call has not failed.
 */
static void stay_logged_in(struct km_token *token, CK_USER_TYPE user, const Kmw__Reply *reply, const CK_UTF8CHAR *pin,
                           CK_ULONG pin_len)
{
    CK_RV rv = CKR_OK;

    if (user == KM_LOGIN_NONE)
        return;
    if (reply->result_case == KMW__REPLY__RESULT_LOGIN) {
        km_lock();
        rv = km_login_set(token, user, reply->login);
        km_unlock();
    } else {
        rv = km_login_again(token, user, pin, pin_len);
    }
    if (rv != CKR_OK)
        km_log(KM_LOG_WARN, "the PIN is changed, but logging in with it failed with 0x%lx: log in again", rv);
}

CK_RV C_SetPIN(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pOldPin, CK_ULONG ulOldLen, CK_UTF8CHAR_PTR pNewPin,
               CK_ULONG ulNewLen)
{
    KM_SESSION(session, hSession);
    CK_USER_TYPE user = km_login_user(session->token);
    Kmw__PinSet op = KMW__PIN_SET__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Reply *reply = NULL;
    uint8_t attempt[KM_ATTEMPT_LEN];

    KM_REQUIRE(session->flags & CKF_RW_SESSION, CKR_SESSION_READ_ONLY);
    KM_REQUIRE(pOldPin != NULL && pNewPin != NULL, CKR_ARGUMENTS_BAD);
    KM_REQUIRE(ulOldLen <= KM_PIN_SENT_MAX, CKR_PIN_INCORRECT);
    KM_REQUIRE(ulNewLen <= KM_PIN_SENT_MAX, CKR_PIN_LEN_RANGE);
    KM_TRY(km_login_attempt(attempt));
    op.user_type = user == CKU_SO ? CKU_SO : CKU_USER;
    op.old_pin = km_bytes(pOldPin, ulOldLen);
    op.new_pin = km_bytes(pNewPin, ulNewLen);
    op.attempt = km_bytes(attempt, sizeof(attempt));
    request.op_case = KMW__REQUEST__OP_PIN_SET;
    request.pin_set = &op;
    KM_TRY(km_remote_call(session->token, &request, KM_CALL_CHANGE, KMW__REPLY__RESULT__NOT_SET, &reply));
    stay_logged_in(session->token, user, reply, pNewPin, ulNewLen);
    km_reply_free(reply);
    return CKR_OK;
}
