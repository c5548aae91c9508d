/* SPDX-License-Identifier: Apache-2.0
 *
 * The store: each command's success and each of its refusals; that a refusal changes nothing; what readers see.
 */
#include "store_fixture.h"

#include <stdlib.h>
#include <string.h>

static const struct asker nobody = {0};

static int setup(void **state)
{
    struct fixture *f = malloc(sizeof(*f));
    if (!f)
        return -1;
    fixture_init(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture_fini(*state);
    free(*state);
    return 0;
}

static struct km_token token_of(struct fixture *f, uint64_t id)
{
    struct km_token token;
    assert_true(km_store_token(f->store, id_of(id), &token));
    return token;
}

static const struct thing private_key = {.id = 100,
                                         .token = 1,
                                         .instance = 1,
                                         .version = 1,
                                         .class = CKO_PRIVATE_KEY,
                                         .key_type = CKK_EC,
                                         .is_private = true,
                                         .cka_id = "k",
                                         .label = "key",
                                         .seal = "sealed"};
static const struct thing public_key = {.id = 101,
                                        .token = 1,
                                        .instance = 1,
                                        .version = 1,
                                        .class = CKO_PUBLIC_KEY,
                                        .key_type = CKK_EC,
                                        .cka_id = "k",
                                        .label = "key"};

/* --- tokens ---------------------------------------------------------------------------------------------------------
 */

static void a_new_token_takes_the_free_slot(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(km_store_free_slot(f->store), 1);
    Kml__Result *result = token_init(f, 1, 1, 0, nobody);
    assert_int_equal(result->n_ids, 1);
    assert_memory_equal(result->ids[0].data, id_of(1), KM_ID_LEN);
    assert_int_equal(rv_of(result), CKR_OK);
    assert_int_equal(km_store_free_slot(f->store), 2);
    struct km_token token = token_of(f, 1);
    assert_int_equal(token.slot, 1);
    assert_int_equal(token.instance, 1);
    assert_int_equal(token.so_generation, 1);
    assert_int_equal(token.user_generation, 0);
    assert_false(token.has_user_pin);
    assert_string_equal(token.label, "label");
    assert_string_equal(token.serial, "serial");
    assert_string_equal(token.owner, ALICE);
    assert_memory_equal(token.so_verifier, hash_data(0x50).data, 32);
}

static void two_who_race_for_the_free_slot_get_one_token(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rv_of(token_init(f, 1, 1, 0, nobody)), CKR_OK);
    assert_int_equal(rv_of(token_init(f, 2, 1, 0, nobody)), CKR_SLOT_ID_INVALID);
    assert_int_equal(rv_of(token_init(f, 1, 2, 0, nobody)), CKR_ARGUMENTS_BAD); /* an id that is taken */
    assert_int_equal(km_store_free_slot(f->store), 2);
    struct km_token *tokens;
    size_t n;
    assert_int_equal(km_store_tokens(f->store, &tokens, &n), KM_OK);
    assert_int_equal(n, 1);
    free(tokens);
}

static void tokens_are_listed_by_slot(void **state)
{
    struct fixture *f = *state;
    struct km_token *tokens;
    size_t n = 9;
    assert_int_equal(km_store_tokens(f->store, &tokens, &n), KM_OK);
    assert_int_equal(n, 0);
    assert_null(tokens);
    for (uint64_t i = 1; i <= 20; i++)
        assert_int_equal(rv_of(token_init(f, 1000 - i, i, 0, nobody)), CKR_OK);
    assert_int_equal(km_store_tokens(f->store, &tokens, &n), KM_OK);
    assert_int_equal(n, 20);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(tokens[i].slot, i + 1);
    free(tokens);
}

static void a_token_initialised_again_is_empty(void **state)
{
    struct fixture *f = *state;
    const struct thing things[] = {private_key, public_key};
    const struct km_object *found[4];
    bool more;
    rv_of(token_init(f, 1, 1, 0, nobody));
    rv_of(token_init(f, 2, 2, 0, nobody));
    assert_int_equal(rv_of(object_create(f, things, 2, nobody)), CKR_OK);
    assert_int_equal(rv_of(pin_change(f, 1, CKU_USER, 1, 0)), CKR_OK);
    rv_of(pin_attempt(f, 1, BOB, 7, false, 1));
    assert_int_equal(rv_of(token_init(f, 1, 1, 2, nobody)), CKR_FUNCTION_REJECTED);
    assert_int_equal(rv_of(token_init(f, 3, 1, 1, nobody)), CKR_TOKEN_NOT_PRESENT);
    assert_int_equal(rv_of(token_init(f, 1, 2, 1, nobody)), CKR_SLOT_ID_INVALID);
    assert_int_equal(token_of(f, 1).objects, 2);
    uint64_t version = token_of(f, 1).version;
    assert_int_equal(rv_of(token_init(f, 1, 1, 1, nobody)), CKR_OK);
    struct km_token token = token_of(f, 1);
    assert_int_equal(token.instance, 2);
    assert_int_equal(token.so_generation, 2);
    assert_int_equal(token.user_generation, 2);
    assert_false(token.has_user_pin);
    assert_int_equal(token.objects, 0);
    assert_int_equal(token.slot, 1);
    assert_true(token.version > version);
    uint8_t last[16];
    assert_int_equal(km_store_pin_failed(f->store, id_of(1), CKU_USER, BOB, last), 0);
    assert_null(km_store_object(f->store, id_of(100)));
    assert_int_equal(km_store_find(f->store, id_of(1), NULL, 0, true, NULL, found, 4, &more), 0);
    /* what was meant for the token before finds it gone */
    assert_int_equal(rv_of(object_create(f, things, 2, nobody)), CKR_FUNCTION_REJECTED);
    assert_int_equal(rv_of(pin_change(f, 1, CKU_USER, 1, 2)), CKR_FUNCTION_REJECTED);
}

static void a_token_needs_well_formed_fields(void **state)
{
    struct fixture *f = *state;
    Kml__TokenInit body = KML__TOKEN_INIT__INIT;
    Kml__Pin so = KML__PIN__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    command.body_case = KML__COMMAND__BODY_TOKEN_INIT;
    command.token_init = &body;
    body.id = id_data(1);
    body.slot = 1;
    body.serial = (char[]){"serial"};
    body.owner = (char[]){ALICE};
    assert_int_equal(rv_of(apply(f, &command, nobody)), CKR_PIN_INVALID); /* no verifier at all */
    body.so = &so;
    assert_int_equal(rv_of(apply(f, &command, nobody)), CKR_PIN_INVALID); /* an empty one */
    so.verifier = hash_data(1);
    body.label = (char[]){"123456789012345678901234567890123"};
    assert_int_equal(rv_of(apply(f, &command, nobody)), CKR_ARGUMENTS_BAD);
    body.label = (char[]){"12345678901234567890123456789012"};
    body.serial = (char[]){"12345678901234567"};
    assert_int_equal(rv_of(apply(f, &command, nobody)), CKR_ARGUMENTS_BAD);
    body.serial = (char[]){"1234567890123456"};
    body.owner = (char[]){""};
    assert_int_equal(rv_of(apply(f, &command, nobody)), CKR_ARGUMENTS_BAD);
    body.owner = (char[]){ALICE};
    body.id.len = 15;
    assert_int_equal(rv_of(apply(f, &command, nobody)), CKR_ARGUMENTS_BAD);
    body.id.len = 16;
    assert_int_equal(rv_of(apply(f, &command, nobody)), CKR_OK);
    assert_string_equal(token_of(f, 1).label, body.label);
    assert_string_equal(token_of(f, 1).serial, body.serial);
}

/* --- PINs -----------------------------------------------------------------------------------------------------------
 */

static void a_pin_change_must_know_the_generation(void **state)
{
    struct fixture *f = *state;
    rv_of(token_init(f, 1, 1, 0, nobody));
    assert_int_equal(rv_of(pin_change(f, 2, CKU_USER, 1, 0)), CKR_TOKEN_NOT_PRESENT);
    assert_int_equal(rv_of(pin_change(f, 1, CKU_USER, 2, 0)), CKR_FUNCTION_REJECTED);
    assert_int_equal(rv_of(pin_change(f, 1, CKU_USER, 1, 1)), CKR_FUNCTION_REJECTED);
    assert_int_equal(rv_of(pin_change(f, 1, CKU_CONTEXT_SPECIFIC, 1, 0)), CKR_USER_TYPE_INVALID);
    assert_int_equal(rv_of(pin_change(f, 1, CKU_USER, 1, 0)), CKR_OK);
    assert_int_equal(rv_of(pin_change(f, 1, CKU_USER, 1, 0)), CKR_FUNCTION_REJECTED);
    assert_int_equal(rv_of(pin_change(f, 1, CKU_SO, 1, 1)), CKR_OK);
    struct km_token token = token_of(f, 1);
    assert_true(token.has_user_pin);
    assert_int_equal(token.user_generation, 1);
    assert_int_equal(token.so_generation, 2);
    assert_memory_equal(token.user_verifier, hash_data(0x70).data, 32);
    assert_memory_equal(token.so_verifier, hash_data(0x71).data, 32);
}

static void failed_attempts_count_once_each_and_lock(void **state)
{
    struct fixture *f = *state;
    uint8_t last[16];
    rv_of(token_init(f, 1, 1, 0, nobody));
    rv_of(pin_change(f, 1, CKU_USER, 1, 0));
    Kml__Result *result = pin_attempt(f, 1, BOB, 1, false, 1);
    assert_int_equal(result->failed, 1);
    assert_int_equal(rv_of(result), CKR_PIN_INCORRECT);
    result = pin_attempt(f, 1, BOB, 1, false, 1); /* the reply was lost */
    assert_int_equal(result->failed, 1);
    assert_int_equal(rv_of(result), CKR_PIN_INCORRECT);
    assert_int_equal(km_store_pin_failed(f->store, id_of(1), CKU_USER, BOB, last), 1);
    assert_memory_equal(last, id_of(1), 16);
    assert_int_equal(km_store_pin_failed(f->store, id_of(1), CKU_SO, BOB, last), 0);
    assert_int_equal(km_store_pin_failed(f->store, id_of(1), CKU_USER, ALICE, last), 0);
    for (uint64_t i = 2; i < KM_PIN_TRIES; i++)
        assert_int_equal(rv_of(pin_attempt(f, 1, BOB, i, false, 1)), CKR_PIN_INCORRECT);
    result = pin_attempt(f, 1, BOB, KM_PIN_TRIES, false, 1);
    assert_int_equal(result->failed, KM_PIN_TRIES);
    assert_int_equal(rv_of(result), CKR_PIN_LOCKED);
    assert_int_equal(rv_of(pin_attempt(f, 1, BOB, 99, true, 1)), CKR_PIN_LOCKED);
    assert_int_equal(rv_of(pin_attempt(f, 1, BOB, 98, false, 1)), CKR_PIN_LOCKED);
    assert_int_equal(km_store_pin_failed(f->store, id_of(1), CKU_USER, BOB, last), KM_PIN_TRIES);
    /* a misconfigured program locks out itself, not the token */
    assert_int_equal(rv_of(pin_attempt(f, 1, ALICE, 1, false, 1)), CKR_PIN_INCORRECT);
    assert_int_equal(rv_of(pin_attempt(f, 1, ALICE, 2, true, 1)), CKR_OK);
    assert_int_equal(km_store_pin_failed(f->store, id_of(1), CKU_USER, ALICE, last), 0);
    /* a new PIN unlocks for all */
    rv_of(pin_attempt(f, 1, ALICE, 3, false, 1));
    assert_int_equal(rv_of(pin_change(f, 1, CKU_USER, 1, 1)), CKR_OK);
    assert_int_equal(km_store_pin_failed(f->store, id_of(1), CKU_USER, BOB, last), 0);
    assert_int_equal(km_store_pin_failed(f->store, id_of(1), CKU_USER, ALICE, last), 0);
    assert_int_equal(rv_of(pin_attempt(f, 1, BOB, 100, false, 1)), CKR_FUNCTION_REJECTED); /* at the PIN before */
    assert_int_equal(rv_of(pin_attempt(f, 1, BOB, 100, false, 2)), CKR_PIN_INCORRECT);
}

static void an_so_pin_change_leaves_attempts_at_the_user_pin(void **state)
{
    struct fixture *f = *state;
    uint8_t last[16];
    rv_of(token_init(f, 1, 1, 0, nobody));
    rv_of(pin_change(f, 1, CKU_USER, 1, 0));
    rv_of(pin_attempt(f, 1, BOB, 1, false, 1));
    assert_int_equal(rv_of(pin_change(f, 1, CKU_SO, 1, 1)), CKR_OK);
    assert_int_equal(km_store_pin_failed(f->store, id_of(1), CKU_USER, BOB, last), 1);
}

/* --- objects --------------------------------------------------------------------------------------------------------
 */

static void an_object_is_created_replaced_and_destroyed(void **state)
{
    struct fixture *f = *state;
    const struct thing things[] = {private_key, public_key};
    rv_of(token_init(f, 1, 1, 0, nobody));
    Kml__Result *result = object_create(f, things, 2, nobody);
    assert_int_equal(result->n_ids, 2);
    assert_memory_equal(result->ids[0].data, id_of(100), KM_ID_LEN);
    assert_memory_equal(result->ids[1].data, id_of(101), KM_ID_LEN);
    assert_int_equal(rv_of(result), CKR_OK);
    assert_int_equal(token_of(f, 1).objects, 2);
    const struct km_object *old = km_store_object(f->store, id_of(100));
    assert_non_null(old);
    assert_int_equal(old->version, 1);
    assert_int_equal(old->class, CKO_PRIVATE_KEY);
    assert_int_equal(old->key_type, CKK_EC);
    assert_true(old->is_private);
    assert_memory_equal(old->token, id_of(1), KM_ID_LEN);
    assert_int_equal(old->seal_len, 6);
    assert_memory_equal(old->seal, "sealed", 6);
    ProtobufCBinaryData head = head_of(&private_key);
    assert_int_equal(old->head_len, head.len);
    assert_memory_equal(old->head, head.data, head.len);
    free(head.data);

    struct thing changed = private_key;
    changed.version = 2;
    changed.label = "other";
    changed.seal = "sealed again";
    uint64_t version = token_of(f, 1).version;
    assert_int_equal(rv_of(object_replace(f, &changed, 1)), CKR_OK);
    assert_true(token_of(f, 1).version > version);
    assert_memory_equal(old->seal, "sealed", 6); /* what a reader holds does not change under it */
    const struct km_object *new = km_store_object(f->store, id_of(100));
    assert_int_equal(new->version, 2);
    assert_int_equal(new->seal_len, 12);

    assert_int_equal(rv_of(object_destroy(f, 1, 100)), CKR_OK);
    assert_null(km_store_object(f->store, id_of(100)));
    assert_int_equal(rv_of(object_destroy(f, 1, 100)), CKR_OBJECT_HANDLE_INVALID);
    assert_memory_equal(new->seal, "sealed again", 12);
    assert_int_equal(token_of(f, 1).objects, 1);
    km_object_unref(old);
    km_object_unref(new);
    km_object_unref(NULL);
}

static void count_wakes(void *arg)
{
    ++*(int *)arg;
}

static void sealed_objects_that_leave_are_handed_out_once(void **state)
{
    struct fixture *f = *state;
    struct thing things[] = {private_key, private_key, public_key};
    const struct km_object *gone[4];
    int n_wakes = 0;
    things[1].id = 200;
    rv_of(token_init(f, 1, 1, 0, nobody));
    assert_int_equal(rv_of(object_create(f, things, 3, nobody)), CKR_OK);
    struct thing changed = private_key;
    changed.version = 2;
    assert_int_equal(rv_of(object_replace(f, &changed, 1)), CKR_OK); /* nobody wants to know */
    assert_int_equal(km_store_take_gone(f->store, gone, 4), 0);
    km_store_watch_gone(f->store, count_wakes, &n_wakes);
    changed.version = 3;
    assert_int_equal(rv_of(object_replace(f, &changed, 2)), CKR_OK);
    assert_int_equal(n_wakes, 1);
    const struct km_object *now = km_store_object(f->store, id_of(100));
    assert_false(km_object_is_gone(now));
    assert_int_equal(rv_of(object_destroy(f, 1, 101)), CKR_OK); /* a public key, not sealed */
    assert_int_equal(km_store_take_gone(f->store, gone, 4), 1);
    assert_int_equal(gone[0]->version, 2);
    km_object_unref(gone[0]);
    assert_int_equal(rv_of(token_init(f, 1, 1, 1, nobody)), CKR_OK);
    assert_true(km_object_is_gone(now));
    assert_int_equal(km_store_take_gone(f->store, gone, 1), 1);
    km_object_unref(gone[0]);
    km_object_unref(now);
    km_store_watch_gone(f->store, NULL, NULL); /* the other one stays with the store */
}

static void creation_is_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    struct thing things[] = {private_key, public_key};
    rv_of(token_init(f, 1, 1, 0, nobody));
    assert_int_equal(rv_of(object_create(f, things, 0, nobody)), CKR_ARGUMENTS_BAD);
    things[1].version = 2;
    assert_int_equal(rv_of(object_create(f, things, 2, nobody)), CKR_FUNCTION_REJECTED);
    things[1] = public_key;
    things[1].instance = 2;
    assert_int_equal(rv_of(object_create(f, things, 2, nobody)), CKR_FUNCTION_REJECTED);
    things[1] = public_key;
    things[1].token = 9;
    assert_int_equal(rv_of(object_create(f, things, 2, nobody)), CKR_TOKEN_NOT_PRESENT);
    things[1] = public_key;
    things[1].id = private_key.id;
    assert_int_equal(rv_of(object_create(f, things, 2, nobody)), CKR_FUNCTION_REJECTED);
    assert_null(km_store_object(f->store, id_of(100)));
    assert_int_equal(token_of(f, 1).objects, 0);
    assert_int_equal(token_of(f, 1).version, 1);
    things[1] = public_key;
    assert_int_equal(rv_of(object_create(f, things, 1, nobody)), CKR_OK);
    assert_int_equal(rv_of(object_create(f, things, 2, nobody)), CKR_FUNCTION_REJECTED); /* the first id is taken */
    assert_null(km_store_object(f->store, id_of(101)));
}

static void a_replacement_must_follow_the_version_it_knew(void **state)
{
    struct fixture *f = *state;
    struct thing thing = private_key;
    rv_of(token_init(f, 1, 1, 0, nobody));
    rv_of(token_init(f, 2, 2, 0, nobody));
    rv_of(object_create(f, &thing, 1, nobody));
    thing.version = 2;
    assert_int_equal(rv_of(object_replace(f, &thing, 2)), CKR_FUNCTION_REJECTED);
    thing.version = 3;
    assert_int_equal(rv_of(object_replace(f, &thing, 1)), CKR_FUNCTION_REJECTED);
    thing.version = 2;
    thing.class = CKO_SECRET_KEY;
    assert_int_equal(rv_of(object_replace(f, &thing, 1)), CKR_FUNCTION_REJECTED);
    thing = private_key;
    thing.version = 2;
    thing.token = 2;
    assert_int_equal(rv_of(object_replace(f, &thing, 1)), CKR_FUNCTION_REJECTED);
    thing.token = 1;
    thing.id = 7;
    assert_int_equal(rv_of(object_replace(f, &thing, 1)), CKR_OBJECT_HANDLE_INVALID);
    thing.id = 100;
    assert_int_equal(rv_of(object_replace(f, &thing, 1)), CKR_OK);
    assert_int_equal(rv_of(object_replace(f, &thing, 1)), CKR_FUNCTION_REJECTED);
    assert_int_equal(rv_of(object_destroy(f, 2, 100)), CKR_OBJECT_HANDLE_INVALID); /* through another token */
}

/* A head as bytes, given to create as it is. */
static uint64_t create_raw(struct fixture *f, const uint8_t *data, size_t len)
{
    Kml__Object object = KML__OBJECT__INIT, *pointer = &object;
    Kml__ObjectCreate body = KML__OBJECT_CREATE__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    object.head = (ProtobufCBinaryData){len, (uint8_t *)(size_t)data};
    body.objects = &pointer;
    body.n_objects = 1;
    command.body_case = KML__COMMAND__BODY_OBJECT_CREATE;
    command.object_create = &body;
    return rv_of(apply(f, &command, nobody));
}

static void heads_are_checked(void **state)
{
    struct fixture *f = *state;
    rv_of(token_init(f, 1, 1, 0, nobody));
    ProtobufCBinaryData good = head_of(&private_key);
    Kml__Head *head = kml__head__unpack(NULL, good.len, good.data);
    uint8_t *bytes = malloc(good.len + 64);
    assert_int_equal(create_raw(f, NULL, 0), CKR_FUNCTION_REJECTED);
    assert_int_equal(create_raw(f, good.data, good.len - 1), CKR_FUNCTION_REJECTED);

    memcpy(bytes, good.data, good.len);
    memcpy(bytes + good.len, "\x28\x03", 2); /* class said twice: another reader might take the first */
    assert_int_equal(create_raw(f, bytes, good.len + 2), CKR_FUNCTION_REJECTED);

    memcpy(bytes, good.data + 18, good.len - 18);
    memcpy(bytes + good.len - 18, good.data, 18); /* the id last: the same size, another order */
    assert_int_equal(create_raw(f, bytes, good.len), CKR_FUNCTION_REJECTED);

    Kml__Attr *swap = head->attrs[0];
    head->attrs[0] = head->attrs[1];
    head->attrs[1] = swap;
    assert_int_equal(create_raw(f, bytes, kml__head__pack(head, bytes)), CKR_FUNCTION_REJECTED);
    head->attrs[1] = head->attrs[0];
    head->attrs[0] = swap;

    head->class_ = CKO_SECRET_KEY;
    assert_int_equal(create_raw(f, bytes, kml__head__pack(head, bytes)), CKR_FUNCTION_REJECTED);
    head->class_ = CKO_PRIVATE_KEY;
    head->key_type = CKK_RSA;
    assert_int_equal(create_raw(f, bytes, kml__head__pack(head, bytes)), CKR_FUNCTION_REJECTED);
    head->key_type = CKK_EC;
    head->is_private = false;
    assert_int_equal(create_raw(f, bytes, kml__head__pack(head, bytes)), CKR_FUNCTION_REJECTED);
    head->is_private = true;
    head->is_session = true;
    assert_int_equal(create_raw(f, bytes, kml__head__pack(head, bytes)), CKR_FUNCTION_REJECTED);
    head->is_session = false;
    assert_int_equal(create_raw(f, bytes, kml__head__pack(head, bytes)), CKR_OK);
    kml__head__free_unpacked(head, NULL);
    free(good.data);
    free(bytes);
}

/* --- the cluster's own records, versions ----------------------------------------------------------------------------
 */

static Kml__Result *audit_head(struct fixture *f, uint64_t server, uint64_t sequence)
{
    Kml__AuditHead body = KML__AUDIT_HEAD__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    body.server = server;
    body.sequence = sequence;
    body.hash = hash_data((uint8_t)sequence);
    command.body_case = KML__COMMAND__BODY_AUDIT_HEAD;
    command.audit_head = &body;
    return apply(f, &command, nobody);
}

static void audit_heads_only_go_forward(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rv_of(audit_head(f, 2, 5)), CKR_OK);
    assert_int_equal(rv_of(audit_head(f, 1, 1)), CKR_OK);
    assert_int_equal(rv_of(audit_head(f, 2, 5)), CKR_FUNCTION_REJECTED);
    assert_int_equal(rv_of(audit_head(f, 2, 4)), CKR_FUNCTION_REJECTED);
    assert_int_equal(rv_of(audit_head(f, 2, 6)), CKR_OK);
}

static void the_feature_level_is_bounded(void **state)
{
    struct fixture *f = *state;
    Kml__FeatureLevel body = KML__FEATURE_LEVEL__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    command.body_case = KML__COMMAND__BODY_FEATURE_LEVEL;
    command.feature_level = &body;
    body.level = KM_FEATURE_LEVEL;
    assert_int_equal(rv_of(apply(f, &command, nobody)), CKR_OK);
    body.level = 0;
    assert_int_equal(rv_of(apply(f, &command, nobody)), CKR_FUNCTION_REJECTED);
    body.level = KM_FEATURE_LEVEL + 1;
    assert_int_equal(apply_error(f, &command), KM_ERR_VERSION);
    assert_int_equal(km_store_feature_level(f->store), KM_FEATURE_LEVEL);
}

static enum km_err apply_raw(struct fixture *f, const char *bytes, size_t len)
{
    Kml__Result *result = NULL;
    enum km_err err = km_store_apply(f->store, ++f->index, (const uint8_t *)bytes, len, &result);
    if (!err)
        kml__result__free_unpacked(result, NULL);
    return err;
}

static void what_this_program_does_not_know_stops_it(void **state)
{
    struct fixture *f = *state;
    uint8_t digest[32];
    memcpy(digest, digest_of(f), 32);
    assert_int_equal(apply_raw(f, "\x08\x02\xca\x01\x00", 5), KM_ERR_VERSION);                 /* version 2 */
    assert_int_equal(apply_raw(f, "\x08\x01\x82\x04\x00", 5), KM_ERR_VERSION);                 /* body 64 */
    assert_int_equal(apply_raw(f, "\x08\x01\xca\x01\x02\x78\x01", 7), KM_ERR_VERSION);         /* field 15 in a tick */
    assert_int_equal(apply_raw(f, "\x08\x01\x1a\x02\x78\x01\xca\x01\x00", 9), KM_ERR_VERSION); /* in the origin */
    assert_int_equal(apply_raw(f, "\x08\x01", 2), KM_ERR_CORRUPT);                             /* nothing to do */
    assert_int_equal(apply_raw(f, "", 0), KM_ERR_VERSION);
    assert_int_equal(apply_raw(f, "\xff\xff\xff", 3), KM_ERR_CORRUPT);
    assert_memory_equal(digest, digest_of(f), 32);
    assert_int_equal(apply_raw(f, "\x08\x01\xca\x01\x00", 5), KM_OK);
}

static void a_head_with_unknown_fields_stops_it(void **state)
{
    struct fixture *f = *state;
    Kml__Object object = KML__OBJECT__INIT, *pointer = &object;
    Kml__ObjectCreate body = KML__OBJECT_CREATE__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    uint8_t bytes[256];
    rv_of(token_init(f, 1, 1, 0, nobody));
    ProtobufCBinaryData head = head_of(&private_key);
    memcpy(bytes, head.data, head.len);
    memcpy(bytes + head.len, "\xf8\x07\x01", 3);
    object.head = (ProtobufCBinaryData){head.len + 3, bytes};
    body.objects = &pointer;
    body.n_objects = 1;
    command.body_case = KML__COMMAND__BODY_OBJECT_CREATE;
    command.object_create = &body;
    assert_int_equal(apply_error(f, &command), KM_ERR_VERSION);
    assert_null(km_store_object(f->store, id_of(100)));
    free(head.data);
}

static void an_index_is_applied_once(void **state)
{
    struct fixture *f = *state;
    rv_of(tick(f));
    f->index--;
    assert_int_equal(apply_raw(f, "\x08\x01\xca\x01\x00", 5), KM_ERR_CORRUPT);
    f->index += 10; /* entries that are not ours (barriers, configurations) lie between */
    assert_int_equal(apply_raw(f, "\x08\x01\xca\x01\x00", 5), KM_OK);
}

static void time_never_goes_back(void **state)
{
    struct fixture *f = *state;
    rv_of(tick(f));
    assert_int_equal(km_store_time_ms(f->store), 1000000);
    f->time_ms = 5;
    rv_of(tick(f));
    assert_int_equal(km_store_time_ms(f->store), 1000000);
    f->time_ms = 1000001;
    rv_of(tick(f));
    assert_int_equal(km_store_time_ms(f->store), 1000001);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_token_takes_the_free_slot),
        TEST(two_who_race_for_the_free_slot_get_one_token),
        TEST(tokens_are_listed_by_slot),
        TEST(a_token_initialised_again_is_empty),
        TEST(a_token_needs_well_formed_fields),
        TEST(a_pin_change_must_know_the_generation),
        TEST(failed_attempts_count_once_each_and_lock),
        TEST(an_so_pin_change_leaves_attempts_at_the_user_pin),
        TEST(an_object_is_created_replaced_and_destroyed),
        TEST(sealed_objects_that_leave_are_handed_out_once),
        TEST(creation_is_all_or_nothing),
        TEST(a_replacement_must_follow_the_version_it_knew),
        TEST(heads_are_checked),
        TEST(audit_heads_only_go_forward),
        TEST(the_feature_level_is_bounded),
        TEST(what_this_program_does_not_know_stops_it),
        TEST(a_head_with_unknown_fields_stops_it),
        TEST(an_index_is_applied_once),
        TEST(time_never_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
