/* SPDX-License-Identifier: Apache-2.0
 *
 * C_Login and C_Logout (PKCS#11 v2.40 5.6). A login belongs to the application and the token: one ticket, used by all
 * its sessions, gone with the last of them. A context-specific login keeps the PIN for the one use that it permits
 * (design D13).
 */
#include "login.h"

#include "guard.h"
#include "local.h"
#include "remote.h"

CK_USER_TYPE km_login_user(const struct km_token *token)
{
    CK_USER_TYPE user;

    km_lock();
    user = token->login.user;
    km_unlock();
    return user;
}

CK_RV km_login_attempt(uint8_t ret[KM_ATTEMPT_LEN])
{
    return km_local_random(ret, KM_ATTEMPT_LEN) ? CKR_OK : CKR_FUNCTION_FAILED;
}

static CK_RV ask(struct km_token *token, CK_USER_TYPE user, const CK_UTF8CHAR *pin, CK_ULONG pin_len, Kmw__Reply **ret)
{
    Kmw__Login op = KMW__LOGIN__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    uint8_t attempt[KM_ATTEMPT_LEN];
    CK_RV rv;

    KM_TRY(km_login_attempt(attempt));
    op.user_type = user;
    op.pin = km_bytes(pin, pin_len);
    op.attempt = km_bytes(attempt, sizeof(attempt));
    request.op_case = KMW__REQUEST__OP_LOGIN;
    request.login = &op;
    rv = km_remote_call(token, &request, KM_CALL_BARE, KMW__REPLY__RESULT_LOGIN, ret);
    if (rv == CKR_PIN_INCORRECT || rv == CKR_PIN_LOCKED) {
        km_lock();
        km_process.listed_ms = INT64_MIN; /* the token's flags tell of it */
        km_unlock();
    }
    return rv;
}

CK_RV km_login_again(struct km_token *token, CK_USER_TYPE user, const CK_UTF8CHAR *pin, CK_ULONG pin_len)
{
    Kmw__Reply *reply = NULL;
    CK_RV rv = ask(token, user, pin, pin_len, &reply);

    km_lock();
    if (rv == CKR_OK)
        rv = km_login_set(token, user, reply->login);
    else
        km_login_drop(token);
    km_unlock();
    km_reply_free(reply);
    return rv;
}

/* What can be refused without asking. Under km_lock. */
static CK_RV check(const struct km_token *token, CK_USER_TYPE user)
{
    KM_REQUIRE(token->login.user != user, CKR_USER_ALREADY_LOGGED_IN);
    KM_REQUIRE(token->login.user == KM_LOGIN_NONE, CKR_USER_ANOTHER_ALREADY_LOGGED_IN);
    KM_REQUIRE(user != CKU_SO || token->n_sessions == token->n_read_write, CKR_SESSION_READ_ONLY_EXISTS);
    return CKR_OK;
}

static CK_RV log_in(struct km_token *token, CK_USER_TYPE user, const CK_UTF8CHAR *pin, CK_ULONG pin_len)
{
    Kmw__Reply *reply = NULL;
    CK_RV rv;

    km_lock();
    rv = check(token, user);
    km_unlock();
    KM_TRY(rv);
    KM_TRY(ask(token, user, pin, pin_len, &reply));
    km_lock();
    rv = check(token, user); /* another thread may have been quicker */
    if (rv == CKR_OK && token->n_sessions > 0)
        rv = km_login_set(token, user, reply->login);
    km_unlock();
    km_reply_free(reply);
    return rv;
}

static struct km_operation *waits_for_pin(struct km_session *session)
{
    for (int i = 0; i < KM_OPERATIONS; i++)
        if (session->operations[i].is_active && session->operations[i].needs_pin && !session->operations[i].has_pin)
            return &session->operations[i];
    return NULL;
}

/* A server says now whether the PIN is right, since that is what C_Login answers; it proves the use later by itself,
 * and the ticket that comes with the answer is not kept. */
static CK_RV log_in_for_use(struct km_session *session, const CK_UTF8CHAR *pin, CK_ULONG pin_len)
{
    struct km_operation *op = waits_for_pin(session);
    Kmw__Reply *reply = NULL;

    KM_REQUIRE(op != NULL, CKR_OPERATION_NOT_INITIALIZED);
    KM_TRY(ask(session->token, CKU_USER, pin, pin_len, &reply));
    km_wipe(reply->login->ticket.data, reply->login->ticket.len);
    km_reply_free(reply);
    KM_REQUIRE(km_secret_new(&op->pin, pin_len > 0 ? pin_len : 1) == KM_OK, CKR_HOST_MEMORY);
    memcpy(op->pin.data, pin, pin_len);
    km_secret_shrink(&op->pin, pin_len);
    op->has_pin = true;
    return CKR_OK;
}

CK_RV C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
    KM_SESSION(session, hSession);
    KM_REQUIRE(userType <= CKU_CONTEXT_SPECIFIC, CKR_USER_TYPE_INVALID);
    KM_REQUIRE(pPin != NULL, CKR_ARGUMENTS_BAD); /* no protected authentication path */
    KM_REQUIRE(ulPinLen <= KM_PIN_SENT_MAX, CKR_PIN_INCORRECT);
    if (userType == CKU_CONTEXT_SPECIFIC)
        return log_in_for_use(session, pPin, ulPinLen);
    return log_in(session->token, userType, pPin, ulPinLen);
}

/* Tokens have two users and no names for them (PKCS#11 v3.2 5.6.10). */
CK_RV C_LoginUser(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen,
                  CK_UTF8CHAR_PTR pUsername, CK_ULONG ulUsernameLen)
{
    (void)pUsername;
    if (ulUsernameLen != 0) {
        KM_SESSION(session, hSession); /* its own mistakes come first */
        (void)session;
        return CKR_ARGUMENTS_BAD;
    }
    return C_Login(hSession, userType, pPin, ulPinLen);
}

static bool is_private_of(const struct km_object *object, const void *token)
{
    return object->token == token && object->is_private;
}

CK_RV C_Logout(CK_SESSION_HANDLE hSession)
{
    KM_SESSION(session, hSession);
    struct km_token *token = session->token;
    bool was_logged_in;

    km_lock();
    was_logged_in = token->login.user != KM_LOGIN_NONE;
    if (was_logged_in) {
        km_login_drop(token);
        km_object_drop_if(is_private_of, token);
    }
    km_unlock();
    return was_logged_in ? CKR_OK : CKR_USER_NOT_LOGGED_IN;
}
