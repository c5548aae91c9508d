/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects and keys through the service, over a real replica; and every change asked twice, as after a lost reply.
 */
#include "server_kit.h"

#include <unistd.h>

static struct asker app, friend;

static int setup(void **state)
{
    int rc = kit_setup(state);
    asker_init(&app, "client/app");
    asker_init(&friend, "client/friend");
    make_token(&app, "shared");
    memcpy(friend.token, app.token, 16);
    return rc;
}

static int log_in(void **state)
{
    (void)state;
    return login(&app, CKU_USER, USER_PIN) == CKR_OK && login(&friend, CKU_USER, USER_PIN) == CKR_OK ? 0 : -1;
}

/* An id or a sealed object, kept beyond its reply. */
struct kept {
    ProtobufCBinaryData id, sealed;
    uint8_t id_bytes[16], sealed_bytes[4096];
};

static void keep(struct kept *kept, const Kmw__Reply *reply, size_t i)
{
    assert_int_equal(reply->rv, CKR_OK);
    const Kmw__Object *object = reply->objects->objects[i];
    assert_true(object->id.len == 16 && object->sealed.len <= sizeof(kept->sealed_bytes));
    memcpy(kept->id_bytes, object->id.data, 16);
    if (object->sealed.len > 0)
        memcpy(kept->sealed_bytes, object->sealed.data, object->sealed.len);
    kept->id = (ProtobufCBinaryData){16, kept->id_bytes};
    kept->sealed = (ProtobufCBinaryData){object->sealed.len, kept->sealed_bytes};
}

static void keep_and_free(struct kept *kept, Kmw__Reply *reply, size_t i)
{
    keep(kept, reply, i);
    kmw__reply__free_unpacked(reply, NULL);
}

static Kmw__Template *t_data(bool is_token)
{
    Kmw__Template *t = t_new();
    t_ulong(t, CKA_CLASS, CKO_DATA);
    t_bool(t, CKA_TOKEN, is_token);
    t_bytes(t, CKA_LABEL, "note", 4);
    t_bytes(t, CKA_VALUE, "text", 4);
    return t;
}

static Kmw__Template *t_aes(bool is_token, bool is_open)
{
    Kmw__Template *t = t_new();
    t_bool(t, CKA_TOKEN, is_token);
    t_ulong(t, CKA_VALUE_LEN, 32);
    t_bool(t, CKA_ENCRYPT, true);
    t_bool(t, CKA_DECRYPT, true);
    t_bool(t, CKA_SENSITIVE, !is_open);
    t_bool(t, CKA_EXTRACTABLE, is_open);
    return t;
}

static void make_aes(struct kept *ret, bool is_token, bool is_open)
{
    keep_and_free(ret, ask(&app, req_generate(CKM_AES_KEY_GEN, t_aes(is_token, is_open)), is_token), 0);
    assert_int_equal(ret->sealed.len > 0, !is_token);
}

static void a_key_signs_where_it_may(void **state)
{
    (void)state;
    struct kept public, private;
    Kmw__Reply *pair = make_pair(&app, "signer");
    keep(&public, pair, 0);
    keep_and_free(&private, pair, 1);
    Kmw__Reply *reply = ask(&app, req_sign(&private.id, CKM_ECDSA, NULL), false);
    assert_int_equal(reply->rv, CKR_OK);
    assert_int_equal(reply->use->data.len, 64);
    kmw__reply__free_unpacked(reply, NULL);
    ASK_RV(&friend, req_sign(&private.id, CKM_ECDSA, NULL), false, CKR_OK);
    ASK_RV(&app, req_sign(&private.id, 0x7fff, NULL), false, CKR_MECHANISM_INVALID);
    ASK_RV(&app, req_sign(&private.id, CKM_RSA_PKCS, NULL), false, CKR_KEY_TYPE_INCONSISTENT);
    ASK_RV(&app, req_sign(&public.id, CKM_ECDSA, NULL), false, CKR_KEY_TYPE_INCONSISTENT);
    private.id_bytes[0] ^= 1;
    ASK_RV(&app, req_sign(&private.id, CKM_ECDSA, NULL), false, CKR_KEY_HANDLE_INVALID);
    private.id_bytes[0] ^= 1;
    logout(&app);
    ASK_RV(&app, req_sign(&private.id, CKM_ECDSA, NULL), false, CKR_KEY_HANDLE_INVALID);
    assert_int_equal(login(&app, CKU_SO, SO_PIN), CKR_OK);
    ASK_RV(&app, req_sign(&private.id, CKM_ECDSA, NULL), false, CKR_KEY_HANDLE_INVALID);
    assert_int_equal(log_in(NULL), 0);
    ASK_RV(&app, req_destroy(&private.id), true, CKR_OK);
    ASK_RV(&app, req_sign(&private.id, CKM_ECDSA, NULL), false, CKR_KEY_HANDLE_INVALID);
}

static void private_objects_are_the_users(void **state)
{
    (void)state;
    Kmw__Template *secret = t_data(true), *set = t_new();
    struct kept kept;
    size_t all = count_objects(&app);
    keep_and_free(&kept, ask(&app, req_create(t_data(true)), true), 0);
    t_bool(secret, CKA_PRIVATE, true);
    ASK_RV(&app, req_create(secret), true, CKR_OK);
    assert_int_equal(count_objects(&app), all + 2);
    struct asker nobody = app, so = app;
    logout(&nobody);
    assert_int_equal(login(&so, CKU_SO, SO_PIN), CKR_OK);
    nobody.number = so.number = app.number;
    size_t open = count_objects(&nobody);
    assert_true(open < all + 2);
    assert_int_equal(count_objects(&so), open);
    t_bytes(set, CKA_LABEL, "renamed", 7);
    ASK_RV(&nobody, req_set(&kept.id, set), true, CKR_OK); /* a public object */
    app.number = nobody.number;
    secret = t_data(true);
    t_bool(secret, CKA_PRIVATE, true);
    ASK_RV(&nobody, req_create(secret), true, CKR_USER_NOT_LOGGED_IN);
    app.number = nobody.number;
    Kmw__Reply *reply = ask(&app, req_get(&kept.id, NULL, false), false);
    assert_int_equal(reply->objects->objects[0]->version, 2);
    const Kmw__Attr *label =
        km_attr_find(reply->objects->objects[0]->attrs, reply->objects->objects[0]->n_attrs, CKA_LABEL);
    assert_true(label && label->value.len == 7);
    kmw__reply__free_unpacked(reply, NULL);
}

static void found_by_what_they_carry(void **state)
{
    (void)state;
    Kmw__Template *t = t_data(true), *by_label = t_new(), *too_long = t_new();
    t_bytes(t, CKA_APPLICATION, "finder", 6);
    ASK_RV(&app, req_create(t), true, CKR_OK);
    t_bytes(by_label, CKA_APPLICATION, "finder", 6);
    Kmw__Reply *reply = ask(&app, req_find(by_label), false);
    assert_int_equal(reply->objects->n_objects, 1);
    assert_false(reply->objects->more);
    kmw__reply__free_unpacked(reply, NULL);
    t_bytes(too_long, CKA_APPLICATION, "nobody", 6);
    reply = ask(&app, req_find(too_long), false);
    assert_int_equal(reply->objects->n_objects, 0);
    kmw__reply__free_unpacked(reply, NULL);
}

static void session_keys_work_for_one_login_of_one_identity(void **state)
{
    (void)state;
    struct kept key;
    make_aes(&key, false, true);
    ASK_RV(&app, req_crypt(KMW__USE__OPERATION__ENCRYPT, NULL, &key.sealed), false, CKR_OK);
    struct asker thief = friend;
    ASK_RV(&thief, req_crypt(KMW__USE__OPERATION__ENCRYPT, NULL, &key.sealed), false, CKR_KEY_HANDLE_INVALID);
    struct asker again = app;
    assert_int_equal(login(&again, CKU_USER, USER_PIN), CKR_OK);
    ASK_RV(&again, req_crypt(KMW__USE__OPERATION__ENCRYPT, NULL, &key.sealed), false, CKR_KEY_HANDLE_INVALID);
    logout(&again);
    ASK_RV(&again, req_crypt(KMW__USE__OPERATION__ENCRYPT, NULL, &key.sealed), false, CKR_KEY_HANDLE_INVALID);
    unsigned accepted = 0;
    for (size_t i = 0; i < key.sealed.len; i++) {
        key.sealed.data[i] ^= 4;
        accepted += rv_of(ask(&app, req_crypt(KMW__USE__OPERATION__ENCRYPT, NULL, &key.sealed), false)) == CKR_OK;
        key.sealed.data[i] ^= 4;
    }
    assert_int_equal(accepted, 0);
    ASK_RV(&app, req_create(t_data(false)), false, CKR_TEMPLATE_INCONSISTENT); /* nothing secret: the module's own */
}

static void a_session_copy_ends_with_its_original(void **state)
{
    (void)state;
    struct kept key, copy, sensitive, on_token;
    Kmw__Template *to_session = t_new(), *to_token = t_new();
    t_bool(to_session, CKA_TOKEN, false);
    t_bool(to_token, CKA_TOKEN, true);
    make_aes(&sensitive, true, false);
    ASK_RV(&app, req_copy(&sensitive.id, NULL, to_session), false, CKR_ACTION_PROHIBITED);
    make_aes(&key, true, true);
    keep_and_free(&copy, ask(&app, req_copy(&key.id, NULL, to_session), false), 0);
    ASK_RV(&app, req_crypt(KMW__USE__OPERATION__ENCRYPT, NULL, &copy.sealed), false, CKR_OK);
    keep_and_free(&on_token, ask(&app, req_copy(NULL, &copy.sealed, to_token), true), 0);
    ASK_RV(&app, req_destroy(&key.id), true, CKR_OK);
    ASK_RV(&app, req_crypt(KMW__USE__OPERATION__ENCRYPT, NULL, &copy.sealed), false, CKR_KEY_HANDLE_INVALID);
    ASK_RV(&app, req_crypt(KMW__USE__OPERATION__ENCRYPT, &on_token.id, NULL), false, CKR_OK);
}

static bool shows_value(const ProtobufCBinaryData *id)
{
    Kmw__Reply *reply = ask(&app, req_get(id, NULL, true), false);
    assert_int_equal(reply->rv, CKR_OK);
    const Kmw__Attr *value =
        km_attr_find(reply->objects->objects[0]->attrs, reply->objects->objects[0]->n_attrs, CKA_VALUE);
    bool shows = value && value->value.len == 32;
    kmw__reply__free_unpacked(reply, NULL);
    return shows;
}

static void sensitive_values_stay_inside(void **state)
{
    (void)state;
    struct kept open, sensitive;
    Kmw__Template *close = t_new();
    make_aes(&open, true, true);
    make_aes(&sensitive, true, false);
    assert_true(shows_value(&open.id));
    assert_false(shows_value(&sensitive.id));
    t_bool(close, CKA_SENSITIVE, true);
    ASK_RV(&app, req_set(&open.id, close), true, CKR_OK);
    assert_false(shows_value(&open.id));
    close = t_new();
    t_bool(close, CKA_SENSITIVE, false);
    ASK_RV(&app, req_set(&open.id, close), true, CKR_ATTRIBUTE_READ_ONLY);
}

static void a_key_that_always_asks_gets_the_pin_with_each_use(void **state)
{
    (void)state;
    static const uint8_t p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    Kmw__Template *public = t_new(), *private = t_new();
    struct kept key;
    t_bytes(public, CKA_EC_PARAMS, p256, sizeof(p256));
    t_bool(public, CKA_TOKEN, true);
    t_bool(private, CKA_TOKEN, true);
    t_bool(private, CKA_SIGN, true);
    t_bool(private, CKA_ALWAYS_AUTHENTICATE, true);
    keep_and_free(&key, ask(&app, req_pair(public, private), true), 1);
    ASK_RV(&app, req_sign(&key.id, CKM_ECDSA, NULL), false, CKR_USER_NOT_LOGGED_IN);
    ASK_RV(&app, req_sign(&key.id, CKM_ECDSA, "wrong"), false, CKR_PIN_INCORRECT);
    ASK_RV(&app, req_sign(&key.id, CKM_ECDSA, USER_PIN), false, CKR_OK);
}

/* --- exactly once ---------------------------------------------------------------------------------------------------
 */

/* Asks, throws the reply away, asks again: same answer, and the log has grown by nothing. */
static Kmw__Reply *ask_twice(struct asker *a, Kmw__Request *request)
{
    Kmw__Reply *first = ask(a, request, true);
    uint64_t version = first->token_version;
    assert_int_equal(first->rv, CKR_OK);
    Kmw__Reply *second = ask_again(a);
    assert_int_equal(second->verdict, KMW__REPLY__VERDICT__ANSWER);
    assert_int_equal(second->rv, CKR_OK);
    assert_int_equal(second->token_version, version);
    assert_int_equal(second->result_case, first->result_case);
    if (first->result_case == KMW__REPLY__RESULT_OBJECTS) {
        assert_int_equal(second->objects->n_objects, first->objects->n_objects);
        for (size_t i = 0; i < first->objects->n_objects; i++) {
            assert_memory_equal(second->objects->objects[i]->id.data, first->objects->objects[i]->id.data, 16);
            assert_int_equal(second->objects->objects[i]->version, first->objects->objects[i]->version);
            assert_int_equal(second->objects->objects[i]->n_attrs, first->objects->objects[i]->n_attrs);
        }
    }
    kmw__reply__free_unpacked(first, NULL);
    return second;
}

/* Either half of a pair may be a session object, which the log does not keep: the retry gets it all the same. */
static void halves_of_a_pair_may_live_apart(void **state)
{
    (void)state;
    for (int is_private_stored = 0; is_private_stored < 2; is_private_stored++) {
        Kmw__Template *public = t_new(), *private = t_new();
        t_bytes(public, CKA_EC_PARAMS, "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 10);
        t_bool(public, CKA_TOKEN, !is_private_stored);
        t_bool(private, CKA_TOKEN, is_private_stored);
        Kmw__Reply *first = ask(&app, req_pair(public, private), true), *second = ask_again(&app);
        assert_int_equal(first->rv, CKR_OK);
        assert_int_equal(second->rv, CKR_OK);
        assert_int_equal(first->objects->n_objects, 2);
        assert_int_equal(second->objects->n_objects, 2);
        assert_int_equal(first->token_version, second->token_version);
        for (int i = 0; i < 2; i++) {
            const Kmw__Object *a = first->objects->objects[i], *b = second->objects->objects[i];
            bool is_sealed = i == 1 && !is_private_stored;
            assert_int_equal(km_attr_ulong(a->attrs, a->n_attrs, CKA_CLASS, 99),
                             i == 0 ? CKO_PUBLIC_KEY : CKO_PRIVATE_KEY);
            assert_memory_equal(a->id.data, b->id.data, 16);
            assert_true((a->sealed.len > 0) == is_sealed);
            assert_int_equal(a->sealed.len, b->sealed.len);
            assert_true(a->sealed.len == 0 || memcmp(a->sealed.data, b->sealed.data, a->sealed.len) == 0);
        }
        kmw__reply__free_unpacked(first, NULL);
        kmw__reply__free_unpacked(second, NULL);
    }
}

static void forgotten_within_a_second(int n)
{
    for (int i = 0; i < 100 && atomic_load(&kit_forgotten) < n; i++)
        usleep(10000);
    assert_true(atomic_load(&kit_forgotten) >= n);
}

static void a_key_that_left_is_not_kept_in_memory(void **state)
{
    (void)state;
    struct kept key;
    make_aes(&key, true, false);
    ASK_RV(&app, req_crypt(KMW__USE__OPERATION__ENCRYPT, &key.id, NULL), false, CKR_OK);
    forgotten_within_a_second(atomic_load(&kit_forgotten));
    int before = atomic_load(&kit_forgotten);
    Kmw__Template *label = t_new();
    t_bytes(label, CKA_LABEL, "other", 5);
    ASK_RV(&app, req_set(&key.id, label), true, CKR_OK);
    forgotten_within_a_second(before + 2); /* by the steward, and by the change itself, which held the old version */
    ASK_RV(&app, req_crypt(KMW__USE__OPERATION__ENCRYPT, &key.id, NULL), false, CKR_OK);
    ASK_RV(&app, req_destroy(&key.id), true, CKR_OK);
    forgotten_within_a_second(before + 4);
}

static void every_change_happens_once(void **state)
{
    (void)state;
    struct kept object, copy;
    struct asker own;
    Kmw__Template *label = t_new();
    asker_init(&own, "client/app");
    Kmw__Reply *reply = ask_twice(&own, req_token_init(km_store_free_slot(kit_store), SO_PIN, "once"));
    memcpy(own.token, reply->token_init->token->id.data, 16);
    uint64_t slot = reply->token_init->token->slot;
    kmw__reply__free_unpacked(reply, NULL);
    assert_int_equal(login(&own, CKU_SO, SO_PIN), CKR_OK);
    kmw__reply__free_unpacked(ask_twice(&own, req_pin_init(USER_PIN)), NULL);
    assert_int_equal(login(&own, CKU_USER, USER_PIN), CKR_OK);
    keep_and_free(&object, ask_twice(&own, req_create(t_data(true))), 0);
    keep_and_free(&copy, ask_twice(&own, req_copy(&object.id, NULL, t_new())), 0);
    t_bytes(label, CKA_LABEL, "other", 5);
    kmw__reply__free_unpacked(ask_twice(&own, req_set(&copy.id, label)), NULL);
    kmw__reply__free_unpacked(ask_twice(&own, req_destroy(&copy.id)), NULL);
    kmw__reply__free_unpacked(ask_twice(&own, req_generate(CKM_AES_KEY_GEN, t_aes(true, false))), NULL);
    assert_int_equal(count_objects(&own), 2);
    kmw__reply__free_unpacked(make_pair(&own, "pair"), NULL);
    assert_int_equal(rv_of(ask_again(&own)), CKR_OK);
    assert_int_equal(count_objects(&own), 4);
    reply = ask_twice(&own, req_pin_set(CKU_USER, USER_PIN, "next pin", 1));
    assert_int_equal(reply->result_case, KMW__REPLY__RESULT_LOGIN);
    kmw__reply__free_unpacked(reply, NULL);
    reply = ask_twice(&own, req_token_init(slot, SO_PIN, "again"));
    assert_int_equal(reply->token_init->token->instance, 2);
    kmw__reply__free_unpacked(reply, NULL);
}

static void a_number_names_one_change_of_one_session(void **state)
{
    (void)state;
    struct asker own = app;
    Kmw__Request *create = req_create(t_data(true));
    size_t before = count_objects(&own);
    ASK_RV(&own, create, true, CKR_OK);
    app.number = own.number;
    Kmw__Template *other = t_data(true);
    t_bytes(other, CKA_APPLICATION, "x", 1);
    own.number--;
    ASK_RV(&own, req_create(other), true, CKR_FUNCTION_REJECTED);
    own.session = 999999;
    ASK_RV(&own, req_create(t_data(true)), true, CKR_FUNCTION_REJECTED);
    own = friend;
    own.session = app.session; /* another identity's */
    own.number = app.number;
    ASK_RV(&own, req_create(t_data(true)), true, CKR_FUNCTION_REJECTED);
    ASK_RV(&app, req_create(t_data(true)), false, CKR_ARGUMENTS_BAD); /* without a number */
    assert_int_equal(count_objects(&app), before + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_key_signs_where_it_may, log_in),
        cmocka_unit_test_setup(private_objects_are_the_users, log_in),
        cmocka_unit_test_setup(found_by_what_they_carry, log_in),
        cmocka_unit_test_setup(session_keys_work_for_one_login_of_one_identity, log_in),
        cmocka_unit_test_setup(a_session_copy_ends_with_its_original, log_in),
        cmocka_unit_test_setup(sensitive_values_stay_inside, log_in),
        cmocka_unit_test_setup(a_key_that_always_asks_gets_the_pin_with_each_use, log_in),
        cmocka_unit_test_setup(halves_of_a_pair_may_live_apart, log_in),
        cmocka_unit_test_setup(a_key_that_left_is_not_kept_in_memory, log_in),
        cmocka_unit_test_setup(every_change_happens_once, log_in),
        cmocka_unit_test_setup(a_number_names_one_change_of_one_session, log_in),
    };
    return cmocka_run_group_tests(tests, setup, kit_teardown);
}
