/* SPDX-License-Identifier: Apache-2.0
 *
 * The token of --dev, made as a client would make it: registered, initialised, the SO logged in, the user's PIN set.
 */
#include "dev.h"

#include "../common/client.h"
#include "service/service.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#define TRIES 100

struct maker {
    struct km_service *service;
    struct km_identity who;
    uint64_t session, number;
    uint8_t token[16];
    char *message;
    unsigned message_len;
};

/* Asks until there is an answer; NULL when there is none, or a refusal. */
static Kmw__Reply *ask(struct maker *maker, Kmw__Request *request, bool is_change)
{
    Kmw__Change change = KMW__CHANGE__INIT;
    request->version = KM_WIRE_VERSION;
    request->program = (char *)(uintptr_t) "keymootd --dev";
    if (is_change) {
        change.session = maker->session;
        change.number = ++maker->number;
        change.acked = change.number - 1;
        request->change = &change;
    }
    size_t len = kmw__request__get_packed_size(request), reply_len;
    uint8_t *packed = malloc(len), *reply_packed;
    Kmw__Reply *reply = NULL;
    if (!packed)
        return NULL;
    kmw__request__pack(request, packed);
    for (unsigned i = 0; i < TRIES; i++) { /* each try waits for the server inside */
        km_service_call(maker->service, &maker->who, packed, len, &reply_packed, &reply_len);
        reply = reply_packed ? kmw__reply__unpack(NULL, reply_len, reply_packed) : NULL;
        free(reply_packed);
        if (!reply || reply->verdict == KMW__REPLY__VERDICT__ANSWER)
            break;
        snprintf(maker->message, maker->message_len, "%s", reply->reason);
        kmw__reply__free_unpacked(reply, NULL);
        reply = NULL;
        nanosleep(&(struct timespec){0, 20000000}, NULL); /* BUSY and ELSEWHERE ask for a pause */
    }
    km_wipe(packed, len);
    free(packed);
    if (reply && reply->rv == CKR_OK)
        return reply;
    if (reply) {
        snprintf(maker->message, maker->message_len, "%s", reply->reason);
        kmw__reply__free_unpacked(reply, NULL);
    }
    return NULL;
}

static bool register_client(struct maker *maker)
{
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__ClientRegister body = KMW__CLIENT_REGISTER__INIT;
    request.op_case = KMW__REQUEST__OP_CLIENT_REGISTER;
    request.client_register = &body;
    Kmw__Reply *reply = ask(maker, &request, false);
    if (!reply)
        return false;
    maker->session = reply->client_register->session;
    kmw__reply__free_unpacked(reply, NULL);
    return true;
}

static bool init_token(struct maker *maker, const char *so_pin)
{
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__TokenList list = KMW__TOKEN_LIST__INIT;
    Kmw__TokenInit body = KMW__TOKEN_INIT__INIT;
    request.op_case = KMW__REQUEST__OP_TOKEN_LIST;
    request.token_list = &list;
    Kmw__Reply *reply = ask(maker, &request, false);
    if (!reply)
        return false;
    body.slot = reply->token_list->free_slot;
    kmw__reply__free_unpacked(reply, NULL);
    body.so_pin = (ProtobufCBinaryData){strlen(so_pin), (uint8_t *)(uintptr_t)so_pin};
    body.label = (char *)(uintptr_t) "dev";
    request.op_case = KMW__REQUEST__OP_TOKEN_INIT;
    request.token_init = &body;
    reply = ask(maker, &request, true);
    if (!reply)
        return false;
    memcpy(maker->token, reply->token_init->token->id.data, sizeof(maker->token));
    kmw__reply__free_unpacked(reply, NULL);
    return true;
}

static bool init_pin(struct maker *maker, const char *so_pin, const char *pin)
{
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Login login = KMW__LOGIN__INIT;
    Kmw__PinInit body = KMW__PIN_INIT__INIT;
    uint8_t attempt[16];
    if (RAND_bytes(attempt, sizeof(attempt)) != 1)
        return false;
    request.token = (ProtobufCBinaryData){sizeof(maker->token), maker->token};
    login.user_type = CKU_SO;
    login.pin = (ProtobufCBinaryData){strlen(so_pin), (uint8_t *)(uintptr_t)so_pin};
    login.attempt = (ProtobufCBinaryData){sizeof(attempt), attempt};
    request.op_case = KMW__REQUEST__OP_LOGIN;
    request.login = &login;
    Kmw__Reply *logged_in = ask(maker, &request, false);
    if (!logged_in)
        return false;
    request.ticket = logged_in->login->ticket;
    body.pin = (ProtobufCBinaryData){strlen(pin), (uint8_t *)(uintptr_t)pin};
    request.op_case = KMW__REQUEST__OP_PIN_INIT;
    request.pin_init = &body;
    Kmw__Reply *reply = ask(maker, &request, true);
    bool is_ok = reply != NULL;
    if (reply)
        kmw__reply__free_unpacked(reply, NULL);
    kmw__reply__free_unpacked(logged_in, NULL);
    return is_ok;
}

enum km_err km_dev_token(struct km_service *service, const char *so_pin, const char *pin, char *ret_message,
                         unsigned message_len)
{
    struct maker maker = {.service = service, .message = ret_message, .message_len = message_len};
    snprintf(ret_message, message_len, "no answer from the server");
    enum km_err err = km_identity_parse("spiffe://" KM_DEV_CLUSTER "/client/app", &maker.who);
    if (err)
        return err;
    return register_client(&maker) && init_token(&maker, so_pin) && init_pin(&maker, so_pin, pin) ? KM_OK
                                                                                                  : KM_ERR_DENIED;
}
