/* SPDX-License-Identifier: Apache-2.0
 *
 * Verifiers and tickets: fixed layouts under an HMAC of the back end. Everything that is compared with something secret
 * is compared in constant time.
 */
#include "login.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <string.h>

#define TICKET_VERSION 1
#define MAC_LEN 32
#define TICKET_HEAD (1 + KM_ID_LEN + 6 * 8 + 1) /* version, token, six numbers, length of the identity */

static uint8_t *put_u64(uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        *at++ = (uint8_t)(value >> (8 * i));
    return at;
}

static uint64_t get_u64(const uint8_t **at)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value |= (uint64_t) * (*at)++ << (8 * i);
    return value;
}

static enum km_err mac(struct km_backend *backend, const char *purpose, const uint8_t *data, size_t len,
                       uint8_t ret[MAC_LEN])
{
    return backend->ops->mac(backend, purpose, data, len, ret) == KM_BE_OK ? KM_OK : KM_ERR_CLOSED;
}

enum km_err km_pin_verifier(struct km_backend *backend, const struct km_pin_of *of, const uint8_t *pin, size_t pin_len,
                            uint8_t ret[32])
{
    uint8_t data[1 + KM_ID_LEN + 3 * 8 + KM_PIN_LEN_MAX], *at = data;
    if (pin_len > KM_PIN_LEN_MAX)
        return KM_ERR_TOO_LARGE;
    *at++ = 'V';
    memcpy(at, of->token, KM_ID_LEN);
    at = put_u64(at + KM_ID_LEN, of->instance);
    at = put_u64(at, of->user_type);
    at = put_u64(at, of->generation);
    if (pin_len > 0)
        memcpy(at, pin, pin_len);
    enum km_err err = mac(backend, "pin", data, (size_t)(at - data) + pin_len, ret);
    km_wipe(data, sizeof(data));
    return err;
}

enum km_err km_pin_attempt_id(struct km_backend *backend, const uint8_t *attempt, size_t attempt_len,
                              const uint8_t verifier[32], uint8_t ret[KM_ATTEMPT_LEN])
{
    uint8_t data[1 + KM_ATTEMPT_LEN + 32] = {'A'}, full[MAC_LEN];
    if (attempt_len > 0)
        memcpy(data + 1, attempt, attempt_len < KM_ATTEMPT_LEN ? attempt_len : KM_ATTEMPT_LEN);
    memcpy(data + 1 + KM_ATTEMPT_LEN, verifier, 32);
    enum km_err err = mac(backend, "pin", data, sizeof(data), full);
    if (!err)
        memcpy(ret, full, KM_ATTEMPT_LEN);
    return err;
}

enum km_err km_ticket_mint(struct km_backend *backend, const struct km_ticket *ticket, uint8_t *ret, size_t *ret_len)
{
    size_t identity_len = strlen(ticket->identity);
    assert(identity_len <= 0xff && TICKET_HEAD + identity_len + MAC_LEN <= KM_TICKET_MAX);
    uint8_t *at = ret;
    *at++ = TICKET_VERSION;
    memcpy(at, ticket->token, KM_ID_LEN);
    at = put_u64(at + KM_ID_LEN, ticket->instance);
    at = put_u64(at, ticket->generation);
    at = put_u64(at, ticket->user_type);
    at = put_u64(at, ticket->issued_ms);
    at = put_u64(at, ticket->expires_ms);
    at = put_u64(at, ticket->epoch);
    *at++ = (uint8_t)identity_len;
    memcpy(at, ticket->identity, identity_len);
    at += identity_len;
    enum km_err err = mac(backend, "ticket", ret, (size_t)(at - ret), at);
    if (!err)
        *ret_len = (size_t)(at - ret) + MAC_LEN;
    return err;
}

enum km_err km_ticket_open(struct km_backend *backend, const uint8_t *data, size_t len, struct km_ticket *ret)
{
    uint8_t expected[MAC_LEN];
    if (len < TICKET_HEAD + MAC_LEN || len > KM_TICKET_MAX || data[0] != TICKET_VERSION)
        return KM_ERR_DENIED;
    size_t identity_len = data[TICKET_HEAD - 1];
    if (len != TICKET_HEAD + identity_len + MAC_LEN || identity_len >= sizeof(ret->identity))
        return KM_ERR_DENIED;
    enum km_err err = mac(backend, "ticket", data, len - MAC_LEN, expected);
    if (err)
        return err;
    if (CRYPTO_memcmp(expected, data + len - MAC_LEN, MAC_LEN))
        return KM_ERR_DENIED;
    const uint8_t *at = data + 1;
    memset(ret, 0, sizeof(*ret));
    memcpy(ret->token, at, KM_ID_LEN);
    at += KM_ID_LEN;
    ret->instance = get_u64(&at);
    ret->generation = get_u64(&at);
    ret->user_type = get_u64(&at);
    ret->issued_ms = get_u64(&at);
    ret->expires_ms = get_u64(&at);
    ret->epoch = get_u64(&at);
    memcpy(ret->identity, at + 1, identity_len);
    return KM_OK;
}

const char *km_ticket_check(const struct km_ticket *ticket, const struct km_token *token, const char *identity,
                            uint64_t utc_ms, bool *ret_is_ahead)
{
    uint64_t generation = ticket->user_type == CKU_SO ? token->so_generation : token->user_generation;
    *ret_is_ahead = false;
    if (memcmp(ticket->token, token->id, KM_ID_LEN))
        return "the login is for another token";
    if (strcmp(ticket->identity, identity))
        return "the login is another identity's";
    if (ticket->instance != token->instance) {
        *ret_is_ahead = ticket->instance > token->instance;
        return "the token was initialised again after the login";
    }
    if (ticket->generation != generation) {
        *ret_is_ahead = ticket->generation > generation;
        return "the PIN was changed after the login";
    }
    if (ticket->user_type == CKU_USER && !token->has_user_pin)
        return "the token has no user PIN";
    if (utc_ms >= ticket->expires_ms)
        return "the login has expired";
    return NULL;
}
