/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests as such, tokens and PINs: every success and every refusal, over a real replica.
 */
#include "server_kit.h"

#include <time.h>

static struct asker app, friend, stranger, ops;

static int setup(void **state)
{
    int rc = kit_setup(state);
    asker_init(&app, "client/app");
    asker_init(&friend, "client/friend");
    asker_init(&stranger, "client/stranger");
    asker_init(&ops, "operator/ops");
    return rc;
}

static size_t tokens_of(struct asker *a, uint64_t *ret_free)
{
    Kmw__Reply *reply = ask(a, req_token_list(), false);
    assert_int_equal(reply->rv, CKR_OK);
    size_t n = reply->token_list->n_tokens;
    *ret_free = reply->token_list->free_slot;
    kmw__reply__free_unpacked(reply, NULL);
    return n;
}

static uint64_t flags_of(struct asker *a, const uint8_t token[16])
{
    uint64_t flags = 0;
    Kmw__Reply *reply = ask(a, req_token_list(), false);
    for (size_t i = 0; i < reply->token_list->n_tokens; i++)
        if (!memcmp(reply->token_list->tokens[i]->id.data, token, 16))
            flags = reply->token_list->tokens[i]->flags;
    kmw__reply__free_unpacked(reply, NULL);
    return flags;
}

static void malformed_and_unknown_requests_are_told_so(void **state)
{
    (void)state;
    Kmw__Request request = KMW__REQUEST__INIT;
    uint8_t packed[256];
    assert_int_equal(rv_of(ask_bytes(&app, (const uint8_t *)"\xff\xff\xff", 3)), CKR_DEVICE_ERROR);
    assert_int_equal(rv_of(ask_bytes(&app, NULL, 0)), CKR_DEVICE_ERROR); /* version 0 */
    request.version = KM_WIRE_VERSION;
    assert_int_equal(rv_of(ask_bytes(&app, packed, kmw__request__pack(&request, packed))), CKR_FUNCTION_NOT_SUPPORTED);
    Kmw__Request *list = req_token_list();
    list->version = 99;
    assert_int_equal(rv_of(ask_bytes(&app, packed, kmw__request__pack(list, packed))), CKR_DEVICE_ERROR);
}

static void the_back_end_tells_what_it_can_do(void **state)
{
    (void)state;
    bool has_gcm = false, has_digest = false;
    Kmw__Reply *reply = ask(&app, req_token_list(), false);
    assert_int_equal(reply->rv, CKR_OK);
    assert_true(reply->token_list->n_mechanisms > 20);
    for (size_t i = 0; i < reply->token_list->n_mechanisms; i++) {
        const Kmw__MechanismInfo *info = reply->token_list->mechanisms[i];
        const struct km_mech *mech = km_mech(info->type);
        assert_non_null(mech);
        assert_int_equal(info->flags, mech->flags);
        has_digest |= info->type == CKM_SHA256;
        if (info->type != CKM_AES_GCM)
            continue;
        has_gcm = true;
        assert_int_equal(info->min, 16);
        assert_int_equal(info->max, 32);
    }
    assert_true(has_gcm && !has_digest);
    kmw__reply__free_unpacked(reply, NULL);
}

static void expired_certificates_and_wrong_roles_are_refused(void **state)
{
    (void)state;
    Kmw__Request status = KMW__REQUEST__INIT;
    Kmw__ClusterStatus body = KMW__CLUSTER_STATUS__INIT;
    struct asker late = app;
    late.who.not_after = (long long)time(NULL) - 1;
    ASK_RV(&late, req_token_list(), false, CKR_DEVICE_ERROR);
    strcpy(late.who.cluster, "other");
    late.who.not_after = 0;
    ASK_RV(&late, req_token_list(), false, CKR_DEVICE_ERROR);
    status.op_case = KMW__REQUEST__OP_CLUSTER_STATUS;
    status.cluster_status = &body;
    ASK_RV(&app, &status, false, CKR_FUNCTION_REJECTED);
    ASK_RV(&ops, &status, false, CKR_OK);
    ASK_RV(&ops, req_pin_init(USER_PIN), true, CKR_FUNCTION_REJECTED);
}

static void a_server_that_is_behind_the_client_sends_it_elsewhere(void **state)
{
    (void)state;
    Kmw__Request *request = req_token_list();
    request->min_index = km_store_index(kit_store) + 1000000;
    request->deadline_ms = 100;
    Kmw__Reply *reply = ask(&app, request, false);
    assert_int_equal(reply->verdict, KMW__REPLY__VERDICT__ELSEWHERE);
    kmw__reply__free_unpacked(reply, NULL);
}

static void tokens_exist_only_for_those_who_may_see_them(void **state)
{
    (void)state;
    uint64_t free_slot;
    size_t before = tokens_of(&ops, &free_slot);
    assert_int_equal(free_slot, 0);
    make_token(&app, "shared");
    memcpy(friend.token, app.token, 16);
    memcpy(stranger.token, app.token, 16);
    assert_int_equal(tokens_of(&ops, &free_slot), before + 1);
    assert_int_equal(tokens_of(&friend, &free_slot), 1);
    assert_int_equal(free_slot, 0);
    assert_int_equal(tokens_of(&stranger, &free_slot), 0);
    assert_true(tokens_of(&app, &free_slot) > 0 && free_slot == km_store_free_slot(kit_store));
    assert_int_equal(login(&friend, CKU_USER, USER_PIN), CKR_OK);
    assert_int_equal(login(&stranger, CKU_USER, USER_PIN), CKR_TOKEN_NOT_PRESENT);
    ASK_RV(&stranger, req_token_init(free_slot, SO_PIN, "mine"), true, CKR_SLOT_ID_INVALID);
    ASK_RV(&app, req_token_init(free_slot + 1, SO_PIN, "mine"), true, CKR_SLOT_ID_INVALID);
    ASK_RV(&app, req_token_init(free_slot, "abc", "mine"), true, CKR_PIN_LEN_RANGE);
    ASK_RV(&app, req_token_init(free_slot, SO_PIN, "a label of more than thirty-two bytes"), true, CKR_ARGUMENTS_BAD);
}

static uint64_t slot_of(const uint8_t token[16])
{
    struct km_token t;
    assert_true(km_store_token(kit_store, token, &t));
    return t.slot;
}

static void a_token_is_wiped_by_its_SO_pin_only(void **state)
{
    (void)state;
    make_token(&app, "wiped");
    assert_int_equal(login(&app, CKU_USER, USER_PIN), CKR_OK);
    kmw__reply__free_unpacked(make_pair(&app, "k"), NULL);
    uint64_t slot = slot_of(app.token);
    ASK_RV(&app, req_token_init(slot, "wrong pin", "wiped"), true, CKR_PIN_INCORRECT);
    assert_int_equal(count_objects(&app), 2);
    ASK_RV(&stranger, req_token_init(slot, SO_PIN, "wiped"), true, CKR_SLOT_ID_INVALID);
    Kmw__Reply *reply = ask(&app, req_token_init(slot, SO_PIN, "wiped2"), true);
    assert_int_equal(reply->rv, CKR_OK);
    assert_int_equal(reply->token_init->token->instance, 2);
    assert_memory_equal(reply->token_init->token->id.data, app.token, 16);
    kmw__reply__free_unpacked(reply, NULL);
    ASK_RV(&app, req_find(t_new()), false, CKR_USER_NOT_LOGGED_IN); /* the ticket ended with the instance */
    logout(&app);
    assert_int_equal(count_objects(&app), 0);
    assert_int_equal(login(&app, CKU_USER, USER_PIN), CKR_USER_PIN_NOT_INITIALIZED);
    assert_int_equal(login(&app, CKU_SO, SO_PIN), CKR_OK);
    ASK_RV(&app, req_pin_init("new user pin"), true, CKR_OK);
    assert_int_equal(login(&app, CKU_USER, "new user pin"), CKR_OK);
}

static void only_the_SO_sets_the_users_first_pin(void **state)
{
    (void)state;
    make_token(&app, "pins");
    logout(&app);
    ASK_RV(&app, req_pin_init("abcdef"), true, CKR_USER_NOT_LOGGED_IN);
    assert_int_equal(login(&app, CKU_USER, USER_PIN), CKR_OK);
    ASK_RV(&app, req_pin_init("abcdef"), true, CKR_USER_NOT_LOGGED_IN);
    assert_int_equal(login(&app, CKU_SO, SO_PIN), CKR_OK);
    ASK_RV(&app, req_pin_init("abc"), true, CKR_PIN_LEN_RANGE);
    ASK_RV(&app, req_pin_init("abcdef"), true, CKR_OK);
    assert_int_equal(login(&app, CKU_CONTEXT_SPECIFIC, "abcdef"), CKR_USER_TYPE_INVALID);
    assert_int_equal(login(&app, CKU_USER, USER_PIN), CKR_PIN_INCORRECT);
    assert_int_equal(login(&app, CKU_USER, "abcdef"), CKR_OK);
}

static uint32_t failed(struct asker *a)
{
    uint8_t last[16];
    return km_store_pin_failed(kit_store, a->token, CKU_USER, a->who.uri, last);
}

static void an_attempt_counts_once_and_another_pin_counts_again(void **state)
{
    (void)state;
    make_token(&app, "shared");
    memcpy(friend.token, app.token, 16);
    assert_int_equal(login_attempt(&app, CKU_USER, "wrong 1", 1), CKR_PIN_INCORRECT);
    assert_int_equal(rv_of(ask_again(&app)), CKR_PIN_INCORRECT);
    assert_int_equal(failed(&app), 1);
    assert_int_equal(login_attempt(&app, CKU_USER, "wrong 2", 1),
                     CKR_PIN_INCORRECT); /* the same id for another guess */
    assert_int_equal(failed(&app), 2);
    assert_true(flags_of(&app, app.token) & CKF_USER_PIN_COUNT_LOW);
    assert_int_equal(login(&app, CKU_USER, USER_PIN), CKR_OK);
    assert_int_equal(failed(&app), 0);
    for (unsigned i = 0; i < KM_PIN_TRIES - 1; i++)
        assert_int_equal(login(&app, CKU_USER, "wrong"), CKR_PIN_INCORRECT);
    assert_true(flags_of(&app, app.token) & CKF_USER_PIN_FINAL_TRY);
    assert_int_equal(login(&app, CKU_USER, "wrong"), CKR_PIN_LOCKED);
    assert_int_equal(login(&app, CKU_USER, USER_PIN), CKR_PIN_LOCKED);
    assert_true(flags_of(&app, app.token) & CKF_USER_PIN_LOCKED);
    assert_int_equal(login(&friend, CKU_USER, USER_PIN), CKR_OK); /* the token itself is not locked */
    assert_int_equal(login(&app, CKU_SO, SO_PIN), CKR_OK);
    ASK_RV(&app, req_pin_init("unlocked"), true, CKR_OK);
    assert_int_equal(login(&app, CKU_USER, "unlocked"), CKR_OK);
    ASK_RV(&friend, req_find(t_new()), false, CKR_USER_NOT_LOGGED_IN); /* with the PIN that was changed */
}

static void tickets_hold_for_one_identity_and_one_token(void **state)
{
    (void)state;
    uint8_t other[16];
    make_token(&app, "shared");
    memcpy(other, app.token, 16);
    make_token(&app, "shared");
    assert_int_equal(login(&app, CKU_USER, USER_PIN), CKR_OK);
    struct asker thief = friend, forger = app, wrong_token = app;
    memcpy(thief.token, app.token, 16);
    memcpy(thief.ticket, app.ticket, thief.ticket_len = app.ticket_len);
    ASK_RV(&thief, req_find(t_new()), false, CKR_USER_NOT_LOGGED_IN);
    for (size_t i = 0; i < app.ticket_len; i += 7) {
        forger.ticket[i] ^= 1;
        ASK_RV(&forger, req_find(t_new()), false, CKR_USER_NOT_LOGGED_IN);
        forger.ticket[i] ^= 1;
    }
    memcpy(wrong_token.token, other, 16);
    ASK_RV(&wrong_token, req_find(t_new()), false, CKR_USER_NOT_LOGGED_IN);
    ASK_RV(&app, req_find(t_new()), false, CKR_OK);
    Kmw__Request renew = KMW__REQUEST__INIT;
    Kmw__TicketRenew body = KMW__TICKET_RENEW__INIT;
    renew.op_case = KMW__REQUEST__OP_TICKET_RENEW;
    renew.ticket_renew = &body;
    Kmw__Reply *reply = ask(&app, &renew, false);
    assert_int_equal(reply->rv, CKR_OK);
    memcpy(app.ticket, reply->login->ticket.data, app.ticket_len = reply->login->ticket.len);
    kmw__reply__free_unpacked(reply, NULL);
    ASK_RV(&app, req_find(t_new()), false, CKR_OK);
    logout(&app);
    ASK_RV(&app, &renew, false, CKR_USER_NOT_LOGGED_IN);
}

static void who_changes_its_pin_stays_logged_in(void **state)
{
    (void)state;
    make_token(&app, "shared");
    assert_int_equal(login(&app, CKU_USER, USER_PIN), CKR_OK);
    ASK_RV(&app, req_pin_set(CKU_USER, "wrong", "next pin", 1), true, CKR_PIN_INCORRECT);
    assert_int_equal(failed(&app), 1);
    ASK_RV(&app, req_pin_set(CKU_USER, USER_PIN, "abc", 2), true, CKR_PIN_LEN_RANGE);
    ASK_RV(&app, req_pin_set(CKU_CONTEXT_SPECIFIC, USER_PIN, "next pin", 2), true, CKR_USER_TYPE_INVALID);
    Kmw__Reply *reply = ask(&app, req_pin_set(CKU_USER, USER_PIN, "next pin", 3), true);
    assert_int_equal(reply->rv, CKR_OK);
    assert_int_equal(reply->result_case, KMW__REPLY__RESULT_LOGIN);
    struct asker old = app;
    memcpy(app.ticket, reply->login->ticket.data, app.ticket_len = reply->login->ticket.len);
    kmw__reply__free_unpacked(reply, NULL);
    ASK_RV(&app, req_find(t_new()), false, CKR_OK);
    ASK_RV(&old, req_find(t_new()), false, CKR_USER_NOT_LOGGED_IN);
    ASK_RV(&app, req_pin_set(CKU_SO, SO_PIN, "next so pin", 4), true, CKR_OK);
    assert_int_equal(login(&app, CKU_SO, SO_PIN), CKR_PIN_INCORRECT);
    assert_int_equal(login(&app, CKU_SO, "next so pin"), CKR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_and_unknown_requests_are_told_so),
        cmocka_unit_test(the_back_end_tells_what_it_can_do),
        cmocka_unit_test(expired_certificates_and_wrong_roles_are_refused),
        cmocka_unit_test(a_server_that_is_behind_the_client_sends_it_elsewhere),
        cmocka_unit_test(tokens_exist_only_for_those_who_may_see_them),
        cmocka_unit_test(a_token_is_wiped_by_its_SO_pin_only),
        cmocka_unit_test(only_the_SO_sets_the_users_first_pin),
        cmocka_unit_test(an_attempt_counts_once_and_another_pin_counts_again),
        cmocka_unit_test(tickets_hold_for_one_identity_and_one_token),
        cmocka_unit_test(who_changes_its_pin_stays_logged_in),
    };
    return cmocka_run_group_tests(tests, setup, kit_teardown);
}
