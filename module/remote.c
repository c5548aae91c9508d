/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests and what comes back. Invariant of changes: a number is used for one request only, and `acked` passes it when
 * its caller has got an answer or given up, so a server keeps at most a window of results for this process. Any thread;
 * waits without km_lock.
 */
#include "remote.h"

#include "../common/attr.h"
#include "../common/forks.h"
#include "../common/log.h"
#include "guard.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_MAX 256

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t session; /* 0: not registered in this process */
    uint32_t window;
    int64_t ttl_ms, used_ms;
    uint64_t next, acked;
    bool is_registering;
    bool is_done[WINDOW_MAX]; /* of the numbers above `acked`, by number % WINDOW_MAX */
} changes = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

void km_remote_after_fork(void)
{
    memset(&changes, 0, sizeof(changes));
    changes.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    changes.changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
}

void km_reply_free(Kmw__Reply *reply)
{
    if (reply != NULL)
        kmw__reply__free_unpacked(reply, NULL);
}

ProtobufCBinaryData km_bytes(const void *data, size_t len)
{
    return (ProtobufCBinaryData){.len = len, .data = (uint8_t *)data};
}

Kmw__Key km_remote_key(const struct km_view *view)
{
    Kmw__Key key = KMW__KEY__INIT;

    key.id = view->is_alias ? km_bytes(view->origin, KM_ID_LEN) : view->object->id;
    key.sealed = view->object->sealed;
    return key;
}

/* --- one request --- */

/* The refusals that a person should hear of; the others are everyday answers. */
static enum km_log_level level_of(CK_RV rv, bool is_change)
{
    switch (rv) {
    case CKR_FUNCTION_REJECTED: /* a certificate of another role; in a change, a session that a new one replaces */
        return is_change ? KM_LOG_INFO : KM_LOG_WARN;
    case CKR_DEVICE_ERROR:
    case CKR_DEVICE_MEMORY:
    case CKR_FUNCTION_FAILED:
    case CKR_GENERAL_ERROR:
    case CKR_ACTION_PROHIBITED:
    case CKR_PIN_LOCKED:
        return KM_LOG_WARN;
    default:
        return KM_LOG_INFO;
    }
}

static void note_version(struct km_token *token, uint64_t version)
{
    if (token == NULL || version == 0)
        return;
    km_lock();
    if (version >= token->version) {
        token->version = version;
        token->version_ms = km_boot_ms();
    }
    km_unlock();
}

/* A server that is not ours to trust may say what it likes; the program gets what the standard has, and nothing about its own buffers. */
static CK_RV sane_rv(CK_RV rv)
{
    return rv > CKR_PARAMETER_SET_NOT_SUPPORTED || rv == CKR_BUFFER_TOO_SMALL ? CKR_DEVICE_ERROR : rv;
}

/* Sends a complete request. */
static CK_RV send_request(struct km_token *token, Kmw__Request *request, Kmw__Reply__ResultCase expected,
                          Kmw__Reply **ret)
{
    Kmw__Reply *reply = NULL;
    enum km_err err = km_client_call(km_process.client, request, true /* retryable */, &reply);
    CK_RV rv;

    if (err != KM_OK)
        return km_err_rv(err); /* the client has logged why */
    note_version(token, reply->token_version);
    rv = sane_rv(reply->rv);
    if (rv != CKR_OK && reply->reason != NULL && reply->reason[0] != '\0')
        km_log(level_of(rv, request->change != NULL), "refused with 0x%lx: %s", rv, reply->reason);
    if (rv == CKR_OK && expected != KMW__REPLY__RESULT__NOT_SET && reply->result_case != expected) {
        km_log(KM_LOG_ERROR, "a server answered with result %d instead of %d", (int)reply->result_case, (int)expected);
        rv = CKR_DEVICE_ERROR;
    }
    if (rv == CKR_OK)
        *ret = reply;
    else
        km_reply_free(reply);
    return rv;
}

/* --- tickets --- */

/* A copy of the token's ticket, so that no lock is held while it travels. `*ret_user` KM_LOGIN_NONE: there is none. */
static CK_RV copy_ticket(struct km_token *token, struct km_buffer *ret, CK_USER_TYPE *ret_user, bool *ret_is_old)
{
    CK_RV rv;

    km_lock();
    *ret_user = token->login.user;
    *ret_is_old = token->login.user != KM_LOGIN_NONE &&
                  km_boot_ms() > token->login.issued_ms + (token->login.expires_ms - token->login.issued_ms) / 2;
    rv = km_buffer_add(ret, token->login.ticket, token->login.ticket_len, SIZE_MAX);
    km_unlock();
    return rv;
}

static bool is_ticket(const struct km_token *token, const struct km_buffer *ticket)
{
    return token->login.user != KM_LOGIN_NONE && token->login.ticket_len == ticket->len &&
           memcmp(token->login.ticket, ticket->data, ticket->len) == 0;
}

/* Asks for a younger ticket. CKR_USER_NOT_LOGGED_IN: the old one is dead, and the login is gone unless there is a new
 * one already. */
static CK_RV renew(struct km_token *token, CK_USER_TYPE user, const struct km_buffer *ticket)
{
    Kmw__TicketRenew op = KMW__TICKET_RENEW__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Reply *reply = NULL;
    CK_RV rv;

    request.op_case = KMW__REQUEST__OP_TICKET_RENEW;
    request.ticket_renew = &op;
    request.token = km_bytes(token->id, KM_ID_LEN);
    request.ticket = km_bytes(ticket->data, ticket->len);
    rv = send_request(token, &request, KMW__REPLY__RESULT_LOGIN, &reply);
    km_lock();
    if (is_ticket(token, ticket)) {
        if (rv == CKR_OK)
            rv = km_login_set(token, user, reply->login);
        else if (rv == CKR_USER_NOT_LOGGED_IN)
            km_login_died(token);
    } else if (rv == CKR_USER_NOT_LOGGED_IN && token->login.user == user) {
        rv = CKR_OK; /* another thread has brought a new one */
    }
    km_unlock();
    km_reply_free(reply);
    return rv;
}

/* Sends with the login's ticket. Asks again with a new ticket when the old one is dead but could be renewed. */
static CK_RV send_logged_in(struct km_token *token, Kmw__Request *request, Kmw__Reply__ResultCase expected,
                            Kmw__Reply **ret)
{
    struct km_buffer ticket = {0};
    CK_USER_TYPE user = KM_LOGIN_NONE;
    bool is_old = false;
    CK_RV rv = copy_ticket(token, &ticket, &user, &is_old);

    if (rv == CKR_OK && is_old && renew(token, user, &ticket) == CKR_OK) {
        km_buffer_free(&ticket);
        rv = copy_ticket(token, &ticket, &user, &is_old);
    }
    if (rv != CKR_OK)
        goto out;
    request->ticket = km_bytes(ticket.data, ticket.len);
    rv = send_request(token, request, expected, ret);
    if (rv != CKR_USER_NOT_LOGGED_IN || user == KM_LOGIN_NONE)
        goto out;
    /* Either the ticket is dead, or this user may not do that. */
    if (renew(token, user, &ticket) != CKR_OK)
        goto out;
    km_buffer_free(&ticket);
    rv = copy_ticket(token, &ticket, &user, &is_old);
    if (rv != CKR_OK)
        goto out;
    request->ticket = km_bytes(ticket.data, ticket.len);
    rv = send_request(token, request, expected, ret);
out:
    request->ticket = km_bytes(NULL, 0);
    km_buffer_free(&ticket);
    return rv;
}

/* --- changes --- */

static CK_RV register_client(struct km_token *token)
{
    Kmw__ClientRegister op = KMW__CLIENT_REGISTER__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Reply *reply = NULL;
    CK_RV rv;

    request.op_case = KMW__REQUEST__OP_CLIENT_REGISTER;
    request.client_register = &op;
    rv = send_request(token, &request, KMW__REPLY__RESULT_CLIENT_REGISTER, &reply);
    pthread_mutex_lock(&changes.lock);
    changes.is_registering = false;
    if (rv == CKR_OK) {
        uint32_t window = reply->client_register->window;
        changes.session = reply->client_register->session;
        changes.window = window < 1 ? 1 : window > WINDOW_MAX ? WINDOW_MAX : window;
        changes.ttl_ms = (int64_t)reply->client_register->ttl_ms;
        changes.used_ms = km_boot_ms();
        changes.next = 1;
        changes.acked = 0;
        memset(changes.is_done, 0, sizeof(changes.is_done));
    }
    pthread_cond_broadcast(&changes.changed);
    pthread_mutex_unlock(&changes.lock);
    km_reply_free(reply);
    return rv;
}

/* A registration that might expire while a request is being retried is given up before it is used. */
static bool is_registered(void)
{
    return changes.session != 0 && (changes.ttl_ms == 0 || km_boot_ms() - changes.used_ms < changes.ttl_ms / 2);
}

/* Waits under changes.lock for something to happen. Comes back inside before it locks again: a fork that waits for
 * those inside must not wait for somebody who waits for this lock. */
static void wait_for_change(void)
{
    km_forks_wait();
    pthread_cond_wait(&changes.changed, &changes.lock);
    pthread_mutex_unlock(&changes.lock);
    km_forks_resume();
    pthread_mutex_lock(&changes.lock);
}

/* The next number, waiting while the window is full. */
static CK_RV begin_change(Kmw__Change *change)
{
    CK_RV rv;

    pthread_mutex_lock(&changes.lock);
    for (;;) {
        if (changes.is_registering) {
            wait_for_change();
        } else if (!is_registered()) {
            changes.is_registering = true;
            pthread_mutex_unlock(&changes.lock);
            rv = register_client(NULL);
            if (rv != CKR_OK)
                return rv;
            pthread_mutex_lock(&changes.lock);
        } else if (changes.next - changes.acked > changes.window) {
            wait_for_change();
        } else {
            break;
        }
    }
    change->session = changes.session;
    change->number = changes.next++;
    change->acked = changes.acked;
    changes.used_ms = km_boot_ms();
    pthread_mutex_unlock(&changes.lock);
    return CKR_OK;
}

static void end_change(const Kmw__Change *change, CK_RV rv)
{
    pthread_mutex_lock(&changes.lock);
    if (change->session == changes.session) {
        changes.is_done[change->number % WINDOW_MAX] = true;
        while (changes.acked + 1 < changes.next && changes.is_done[(changes.acked + 1) % WINDOW_MAX])
            changes.is_done[++changes.acked % WINDOW_MAX] = false;
        if (rv == CKR_FUNCTION_REJECTED)
            changes.session = 0;
    }
    pthread_cond_broadcast(&changes.changed);
    pthread_mutex_unlock(&changes.lock);
}

static CK_RV send_change(struct km_token *token, Kmw__Request *request, Kmw__Reply__ResultCase expected,
                         Kmw__Reply **ret)
{
    Kmw__Change change = KMW__CHANGE__INIT;
    CK_RV rv = CKR_FUNCTION_REJECTED;

    for (int attempt = 0; attempt < 2 && rv == CKR_FUNCTION_REJECTED; attempt++) {
        KM_TRY(begin_change(&change));
        request->change = &change;
        rv = token != NULL ? send_logged_in(token, request, expected, ret) : send_request(NULL, request, expected, ret);
        request->change = NULL;
        end_change(&change, rv);
    }
    return rv == CKR_FUNCTION_REJECTED ? CKR_DEVICE_ERROR : rv;
}

CK_RV km_remote_call(struct km_token *token, Kmw__Request *request, enum km_call_kind kind,
                     Kmw__Reply__ResultCase expected, Kmw__Reply **ret)
{
    if (token != NULL)
        request->token = km_bytes(token->id, KM_ID_LEN);
    switch (kind) {
    case KM_CALL_CHANGE:
        return send_change(token, request, expected, ret);
    case KM_CALL_READ:
        return send_logged_in(token, request, expected, ret);
    case KM_CALL_BARE:
        break;
    }
    return send_request(token, request, expected, ret);
}

/* --- operations that more than one chapter needs --- */

CK_RV km_remote_token_list(Kmw__Reply **ret)
{
    Kmw__TokenList op = KMW__TOKEN_LIST__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;

    request.op_case = KMW__REQUEST__OP_TOKEN_LIST;
    request.token_list = &op;
    return km_remote_call(NULL, &request, KM_CALL_BARE, KMW__REPLY__RESULT_TOKEN_LIST, ret);
}

/* A server says that it is gone, or good for nothing any more: a session object whose ancestor is. */
static void forget_object(struct km_token *token, const struct km_view *view)
{
    struct km_object *object;

    km_lock();
    object = km_object_by_id(token, view->object->id.data);
    if (object != NULL)
        km_object_drop(object);
    km_unlock();
}

CK_RV km_remote_use(struct km_session *session, struct km_operation *op, const uint8_t *data, size_t len,
                    bool is_digest, bool is_part, const uint8_t *signature, size_t signature_len, Kmw__Reply **ret)
{
    static const Kmw__Use__Operation operations[KM_OPERATIONS] = {
        [KM_OP_ENCRYPT] = KMW__USE__OPERATION__ENCRYPT,
        [KM_OP_DECRYPT] = KMW__USE__OPERATION__DECRYPT,
        [KM_OP_SIGN] = KMW__USE__OPERATION__SIGN,
        [KM_OP_VERIFY] = KMW__USE__OPERATION__VERIFY,
        [KM_OP_SIGN_RECOVER] = KMW__USE__OPERATION__SIGN_RECOVER,
    };
    Kmw__Key key = km_remote_key(op->key);
    Kmw__Use use = KMW__USE__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    CK_RV rv;

    KM_REQUIRE(!op->needs_pin || op->has_pin, CKR_USER_NOT_LOGGED_IN);
    use.operation = operations[km_operation_deed(op)];
    use.key = &key;
    use.mechanism = op->param;
    use.data = km_bytes(data, len);
    use.data_is_digest = is_digest;
    use.is_part = is_part;
    use.signature = km_bytes(signature, signature_len);
    use.context_pin = km_bytes(op->pin.data, op->pin.len);
    request.deadline_ms = op->kind == KM_OP_SIGN && op->mech->key_type == CKK_SLH_DSA ? KM_SLOW_MS : 0;
    request.op_case = KMW__REQUEST__OP_USE;
    request.use = &use;
    rv = km_remote_call(session->token, &request, KM_CALL_READ, KMW__REPLY__RESULT_USE, ret);
    if (rv == CKR_OBJECT_HANDLE_INVALID || rv == CKR_KEY_HANDLE_INVALID)
        forget_object(session->token, op->key);
    return rv == CKR_OBJECT_HANDLE_INVALID ? CKR_KEY_HANDLE_INVALID : rv;
}

/* Remembers what an ObjectGet brought. */
static CK_RV keep_view(struct km_token *token, CK_OBJECT_HANDLE handle, Kmw__Reply *reply, struct km_view **ret)
{
    struct km_object *object;
    struct km_view *view;

    if (reply->objects->n_objects != 1 || reply->objects->objects[0]->id.len != KM_ID_LEN)
        return CKR_DEVICE_ERROR;
    view = km_view_new(reply->objects->objects[0], reply->token_version);
    reply->objects->objects[0] = NULL;
    if (view == NULL)
        return CKR_HOST_MEMORY;
    km_lock();
    object = km_object_get(handle);
    if (object != NULL && object->token == token)
        km_object_set_view(object, view);
    km_unlock();
    *ret = view;
    return CKR_OK;
}

static CK_RV fetch_view(struct km_token *token, CK_OBJECT_HANDLE handle, const uint8_t id[KM_ID_LEN],
                        struct km_view **ret)
{
    Kmw__Key key = KMW__KEY__INIT;
    Kmw__ObjectGet op = KMW__OBJECT_GET__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Reply *reply = NULL;
    struct km_object *object;
    CK_RV rv;

    key.id = km_bytes(id, KM_ID_LEN);
    op.key = &key;
    request.op_case = KMW__REQUEST__OP_OBJECT_GET;
    request.object_get = &op;
    rv = km_remote_call(token, &request, KM_CALL_READ, KMW__REPLY__RESULT_OBJECTS, &reply);
    if (rv == CKR_OK)
        rv = keep_view(token, handle, reply, ret);
    km_reply_free(reply);
    if (rv == CKR_OBJECT_HANDLE_INVALID) {
        km_lock();
        object = km_object_get(handle);
        if (object != NULL)
            km_object_drop(object);
        km_unlock();
    }
    return rv;
}

/* How old what is kept may be. */
enum age { AGE_ANY, AGE_KNOWN_THERE, AGE_SAME_VERSION, AGE_NONE };

/* Under km_lock. */
static bool is_young(const struct km_token *token, const struct km_view *view, enum age age)
{
    int64_t now = km_boot_ms();
    bool is_confirmed = view->token_version == token->version && now - token->version_ms < KM_VIEW_FRESH_MS;

    switch (age) {
    case AGE_ANY:
        return true;
    case AGE_KNOWN_THERE:
        return is_confirmed || now - view->read_ms < KM_VIEW_FRESH_MS;
    case AGE_SAME_VERSION:
        return is_confirmed;
    case AGE_NONE:
        break;
    }
    return false;
}

static CK_RV view_of(struct km_session *session, CK_OBJECT_HANDLE handle, enum age age, struct km_view **ret)
{
    struct km_token *token = session->token;
    struct km_object *object;
    uint8_t id[KM_ID_LEN];
    bool is_hidden;

    km_lock();
    object = km_object_get(handle);
    if (object == NULL || object->token != token) {
        km_unlock();
        return CKR_OBJECT_HANDLE_INVALID;
    }
    is_hidden = object->is_private && token->login.user != CKU_USER;
    if (!is_hidden && object->view != NULL && (object->session != 0 || is_young(token, object->view, age))) {
        *ret = km_view_ref(object->view);
        km_unlock();
        return CKR_OK;
    }
    memcpy(id, object->id, KM_ID_LEN);
    km_unlock();
    KM_REQUIRE(!is_hidden, CKR_USER_NOT_LOGGED_IN);
    return fetch_view(token, handle, id, ret);
}

CK_RV km_remote_view(struct km_session *session, CK_OBJECT_HANDLE handle, bool may_be_stale, struct km_view **ret)
{
    return view_of(session, handle, may_be_stale ? AGE_ANY : AGE_SAME_VERSION, ret);
}

CK_RV km_remote_read(struct km_session *session, CK_OBJECT_HANDLE handle, bool is_exact, struct km_view **ret)
{
    return view_of(session, handle, is_exact ? AGE_NONE : AGE_KNOWN_THERE, ret);
}

CK_RV km_remote_reveal(struct km_session *session, const struct km_view *view, Kmw__Reply **ret)
{
    Kmw__Key key = km_remote_key(view);
    Kmw__ObjectGet op = KMW__OBJECT_GET__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;

    op.key = &key;
    op.with_secrets = true;
    request.op_case = KMW__REQUEST__OP_OBJECT_GET;
    request.object_get = &op;
    KM_TRY(km_remote_call(session->token, &request, KM_CALL_READ, KMW__REPLY__RESULT_OBJECTS, ret));
    if ((*ret)->objects->n_objects == 1)
        return CKR_OK;
    km_reply_free_secret(*ret);
    *ret = NULL;
    return CKR_DEVICE_ERROR;
}

void km_reply_free_secret(Kmw__Reply *reply)
{
    for (size_t i = 0; i < reply->objects->n_objects; i++)
        for (size_t k = 0; k < reply->objects->objects[i]->n_attrs; k++) {
            ProtobufCBinaryData *value = &reply->objects->objects[i]->attrs[k]->value;
            km_wipe(value->data, value->len);
        }
    km_reply_free(reply);
}

CK_RV km_remote_objects(struct km_session *session, Kmw__Reply *reply, size_t n, CK_OBJECT_HANDLE *const *ret)
{
    if (reply->objects->n_objects != n)
        return CKR_DEVICE_ERROR;
    for (size_t i = 0; i < n; i++) {
        Kmw__Object *object = reply->objects->objects[i];
        struct km_view *view;
        if (object->id.len != KM_ID_LEN)
            return CKR_DEVICE_ERROR;
        reply->objects->objects[i] = NULL;
        view = km_view_new(object, reply->token_version);
        if (view == NULL)
            return CKR_HOST_MEMORY;
        km_lock();
        session->has_objects |= !view->is_token;
        *ret[i] = km_object_put(session->token, view->is_token ? 0 : session->handle, view);
        km_unlock();
        km_view_unref(view);
        if (*ret[i] == CK_INVALID_HANDLE)
            return CKR_HOST_MEMORY;
    }
    return CKR_OK;
}
