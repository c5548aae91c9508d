/* SPDX-License-Identifier: Apache-2.0
 *
 * Login and PINs (design D13). A right PIN costs no log entry; a wrong one is committed before it is answered, so that
 * no crash, and no other server, gives the guesser a free try.
 */
#include "operations.h"

#include "../../common/log.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>

#define GOOD_WAIT_MS 1000 /* a right PIN waits no longer than this for the failures before it to be forgotten */

static struct km_pin_of pin_of(const struct km_token *token, uint64_t user_type)
{
    return (struct km_pin_of){token->id, token->instance, user_type,
                              user_type == CKU_SO ? token->so_generation : token->user_generation};
}

static enum km_err propose_attempt(struct km_call *call, uint64_t user_type, uint8_t id[KM_ATTEMPT_LEN], bool is_good,
                                   unsigned deadline_ms, Kml__Result **ret)
{
    Kml__PinAttempt body = KML__PIN_ATTEMPT__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    body.token = (ProtobufCBinaryData){KM_ID_LEN, call->token.id};
    body.user_type = user_type;
    body.identity = (char *)(uintptr_t)call->identity->uri;
    body.attempt = (ProtobufCBinaryData){KM_ATTEMPT_LEN, id};
    body.is_good = is_good;
    body.expect_instance = call->token.instance;
    body.expect_generation = pin_of(&call->token, user_type).generation;
    command.body_case = KML__COMMAND__BODY_PIN_ATTEMPT;
    command.pin_attempt = &body;
    return km_change_plain(call->service, &command, deadline_ms, ret);
}

static enum km_flow fail(struct km_call *call, uint64_t user_type, uint8_t id[KM_ATTEMPT_LEN])
{
    Kml__Result *result = NULL;
    enum km_err err = propose_attempt(call, user_type, id, false /* good */, km_call_left_ms(call), &result);
    if (err)
        return km_call_err(call, err, "counting the failed attempt");
    enum km_flow flow = result->rv == CKR_FUNCTION_REJECTED
                            ? km_call_verdict(call, KMW__REPLY__VERDICT__BUSY, result->reason)
                            : km_call_rv(call, result->rv != CKR_OK ? result->rv : CKR_PIN_INCORRECT, result->reason);
    kml__result__free_unpacked(result, NULL);
    return flow;
}

/* A right PIN is right whether or not this can be written; if it cannot, the failures stay counted. */
static void forget_failures(struct km_call *call, uint64_t user_type)
{
    Kml__Result *result = NULL;
    uint8_t id[KM_ATTEMPT_LEN] = {0};
    unsigned left = km_call_left_ms(call);
    enum km_err err =
        propose_attempt(call, user_type, id, true /* good */, left < GOOD_WAIT_MS ? left : GOOD_WAIT_MS, &result);
    if (err)
        km_log(KM_LOG_WARN, "login: failed attempts of %s stay counted: %s", call->identity->uri, km_err_text(err));
    else
        kml__result__free_unpacked(result, NULL);
}

/* Inside the gate: the only attempt of this identity at this token here. */
static enum km_flow prove(struct km_call *call, uint64_t user_type, const ProtobufCBinaryData *pin,
                          const ProtobufCBinaryData *attempt)
{
    struct km_service *service = call->service;
    uint8_t last[KM_ATTEMPT_LEN], id[KM_ATTEMPT_LEN], verifier[32] = {0};
    uint64_t instance = call->token.instance;
    if (!km_store_token(service->store, call->token.id, &call->token) || call->token.instance != instance)
        return km_call_verdict(call, KMW__REPLY__VERDICT__BUSY, "the token was initialised meanwhile");
    if (user_type == CKU_USER && !call->token.has_user_pin)
        return km_call_rv(call, CKR_USER_PIN_NOT_INITIALIZED, "the token has no user PIN yet");
    uint32_t failed = km_store_pin_failed(service->store, call->token.id, user_type, call->identity->uri, last);
    if (failed >= KM_PIN_TRIES)
        return km_call_rv(call, CKR_PIN_LOCKED, "PIN locked for this identity after too many failed attempts");
    struct km_pin_of of = pin_of(&call->token, user_type);
    enum km_err err = km_pin_verifier(service->backend, &of, pin->data, pin->len, verifier);
    bool is_right =
        !err && !CRYPTO_memcmp(verifier, user_type == CKU_SO ? call->token.so_verifier : call->token.user_verifier,
                               sizeof(verifier));
    if (err && err != KM_ERR_TOO_LARGE)
        return km_call_err(call, err, "checking the PIN");
    if (is_right) {
        if (failed > 0)
            forget_failures(call, user_type);
        return KM_FLOW_GO;
    }
    err = km_pin_attempt_id(service->backend, attempt->data, attempt->len, verifier, id);
    km_wipe(verifier, sizeof(verifier));
    if (err)
        return km_call_err(call, err, "checking the PIN");
    if (failed > 0 && !memcmp(last, id, sizeof(id)))
        return km_call_rv(call, CKR_PIN_INCORRECT, "PIN incorrect");
    return fail(call, user_type, id);
}

enum km_flow km_pin_prove(struct km_call *call, uint64_t user_type, const ProtobufCBinaryData *pin,
                          const ProtobufCBinaryData *attempt)
{
    if (call->patience < KM_PATIENCE_WAIT)
        return KM_FLOW_WAIT;
    enum km_err err = km_gate_enter(call->service->gate, call->identity->uri, call->token.id, call->deadline_ms);
    if (err)
        return km_call_err(call, err, "waiting for another attempt of this identity");
    enum km_flow flow = prove(call, user_type, pin, attempt);
    km_gate_leave(call->service->gate, call->identity->uri, call->token.id);
    return flow;
}

/* --- tickets -------------------------------------------------------------------------------------------------------
 */

/* Answers with a ticket for `user_type` of the call's token. */
static enum km_flow reply_ticket(struct km_call *call, uint64_t user_type, uint64_t epoch)
{
    struct km_ticket ticket = {0};
    size_t len = 0;
    Kmw__LoginReply *out = km_call_alloc(call, 1, sizeof(*out));
    uint8_t *data = km_call_alloc(call, KM_TICKET_MAX, 1);
    if (!out || !data)
        return km_call_err(call, KM_ERR_NOMEM, "making the ticket");
    struct km_pin_of of = pin_of(&call->token, user_type);
    memcpy(ticket.token, of.token, KM_ID_LEN);
    ticket.instance = of.instance;
    ticket.generation = of.generation;
    ticket.user_type = user_type;
    ticket.issued_ms = km_utc_ms();
    ticket.expires_ms = ticket.issued_ms + call->service->conf.login_max_age_ms;
    ticket.epoch = epoch;
    strcpy(ticket.identity, call->identity->uri);
    enum km_err err = km_ticket_mint(call->service->backend, &ticket, data, &len);
    if (err)
        return km_call_err(call, err, "making the ticket");
    kmw__login_reply__init(out);
    out->ticket = (ProtobufCBinaryData){len, data};
    out->expires_ms = call->service->conf.login_max_age_ms;
    call->out.result_case = KMW__REPLY__RESULT_LOGIN;
    call->out.login = out;
    return km_call_rv(call, CKR_OK, NULL);
}

enum km_flow km_op_login(struct km_call *call)
{
    const Kmw__Login *in = call->in->login;
    uint64_t epoch = 0;
    if (in->user_type != CKU_USER && in->user_type != CKU_SO)
        return km_call_rv(call, CKR_USER_TYPE_INVALID, "a login is the user's or the SO's");
    call->audit_operation = in->user_type == CKU_SO ? "login.so" : "login.user";
    enum km_flow flow = km_pin_prove(call, in->user_type, &in->pin, &in->attempt);
    if (flow != KM_FLOW_GO)
        return flow;
    while (epoch == 0) /* 0 stands for no login */
        if (RAND_bytes((unsigned char *)&epoch, sizeof(epoch)) != 1)
            return km_call_err(call, KM_ERR_CRYPTO, "making the ticket");
    return reply_ticket(call, in->user_type, epoch);
}

enum km_flow km_op_ticket_renew(struct km_call *call)
{
    if (!call->has_ticket)
        return km_call_rv(call, CKR_USER_NOT_LOGGED_IN, "no ticket to renew");
    return reply_ticket(call, call->ticket.user_type, call->ticket.epoch);
}

/* --- PINs ----------------------------------------------------------------------------------------------------------
 */

static enum km_flow change_pin(struct km_call *call, uint64_t user_type, const ProtobufCBinaryData *pin)
{
    Kml__PinChange body = KML__PIN_CHANGE__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    uint8_t verifier[32];
    struct km_pin_of of = pin_of(&call->token, user_type);
    if (pin->len < KM_PIN_LEN_MIN || pin->len > KM_PIN_LEN_MAX)
        return km_call_rv(call, CKR_PIN_LEN_RANGE, "a PIN has 4 to 255 bytes");
    body.expect_instance = of.instance;
    body.expect_generation = of.generation++;
    enum km_err err = km_pin_verifier(call->service->backend, &of, pin->data, pin->len, verifier);
    if (err)
        return km_call_err(call, err, "changing the PIN");
    body.token = (ProtobufCBinaryData){KM_ID_LEN, call->token.id};
    body.user_type = user_type;
    body.verifier = (ProtobufCBinaryData){sizeof(verifier), verifier};
    command.body_case = KML__COMMAND__BODY_PIN_CHANGE;
    command.pin_change = &body;
    return km_change_commit(call, &command);
}

enum km_flow km_op_pin_init(struct km_call *call)
{
    return change_pin(call, CKU_USER, &call->in->pin_init->pin);
}

enum km_flow km_op_pin_set(struct km_call *call)
{
    const Kmw__PinSet *in = call->in->pin_set;
    if (in->user_type != CKU_USER && in->user_type != CKU_SO)
        return km_call_rv(call, CKR_USER_TYPE_INVALID, "a PIN is the user's or the SO's");
    if (in->new_pin.len < KM_PIN_LEN_MIN || in->new_pin.len > KM_PIN_LEN_MAX)
        return km_call_rv(call, CKR_PIN_LEN_RANGE, "a PIN has 4 to 255 bytes");
    enum km_flow flow = km_pin_prove(call, in->user_type, &in->old_pin, &in->attempt);
    return flow == KM_FLOW_GO ? change_pin(call, in->user_type, &in->new_pin) : flow;
}

/* The login that changed its own PIN goes on: its ticket ended with the old PIN, so it gets one for the new. */
enum km_flow km_reply_pin(struct km_call *call, const Kml__Result *result)
{
    const ProtobufCBinaryData *data = &call->in->ticket;
    struct km_ticket old;
    (void)result;
    if (call->in->op_case != KMW__REQUEST__OP_PIN_SET ||
        !km_store_token(call->service->store, call->token.id, &call->token) ||
        km_ticket_open(call->service->backend, data->data, data->len, &old))
        return km_call_done(call);
    struct km_pin_of of = pin_of(&call->token, call->in->pin_set->user_type);
    if (memcmp(old.token, of.token, KM_ID_LEN) || strcmp(old.identity, call->identity->uri) ||
        old.instance != of.instance || old.user_type != of.user_type || old.generation + 1 != of.generation ||
        km_utc_ms() >= old.expires_ms)
        return km_call_done(call);
    return reply_ticket(call, of.user_type, old.epoch);
}
