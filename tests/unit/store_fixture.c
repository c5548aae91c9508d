/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands for tests of the store, packed as the service packs them.
 */
#include "store_fixture.h"

#include <stdlib.h>
#include <string.h>

void fixture_init(struct fixture *f)
{
    *f = (struct fixture){.store = km_store_new(), .index = 0, .time_ms = 1000000};
    assert_non_null(f->store);
}

void fixture_fini(struct fixture *f)
{
    km_store_free(f->store);
}

uint8_t *id_of(uint64_t n)
{
    static _Thread_local uint8_t ids[8][KM_ID_LEN];
    static _Thread_local unsigned next;
    uint8_t *id = ids[next++ % 8];
    memset(id, 0x5a, KM_ID_LEN);
    for (int i = 0; i < 8; i++)
        id[i] = (uint8_t)(n >> (8 * (7 - i)));
    return id;
}

ProtobufCBinaryData id_data(uint64_t n)
{
    return (ProtobufCBinaryData){KM_ID_LEN, id_of(n)};
}

ProtobufCBinaryData hash_data(uint8_t fill)
{
    static uint8_t hashes[8][32];
    static unsigned next;
    uint8_t *hash = hashes[next++ % 8];
    memset(hash, fill, 32);
    return (ProtobufCBinaryData){32, hash};
}

static enum km_err apply_packed(struct fixture *f, Kml__Command *command, Kml__Result **ret)
{
    if (!command->version)
        command->version = KM_LOG_VERSION;
    if (!command->time_ms)
        command->time_ms = f->time_ms;
    size_t len = kml__command__get_packed_size(command);
    uint8_t *packed = malloc(len + 1);
    assert_non_null(packed);
    kml__command__pack(command, packed);
    enum km_err err = km_store_apply(f->store, ++f->index, packed, len, ret);
    free(packed);
    return err;
}

Kml__Result *apply(struct fixture *f, Kml__Command *command, struct asker asker)
{
    Kml__Origin origin = KML__ORIGIN__INIT;
    Kml__Result *result = NULL;
    if (asker.identity) {
        origin.session = asker.session;
        origin.number = asker.number;
        origin.acked = asker.acked;
        origin.hash = hash_data(asker.hash);
        origin.identity = (char *)(size_t)asker.identity;
        command->origin = &origin;
    }
    assert_int_equal(apply_packed(f, command, &result), KM_OK);
    assert_non_null(result);
    assert_int_equal(km_store_index(f->store), f->index);
    command->origin = NULL;
    return result;
}

enum km_err apply_error(struct fixture *f, Kml__Command *command)
{
    Kml__Result *result = NULL;
    enum km_err err = apply_packed(f, command, &result);
    assert_int_not_equal(err, KM_OK);
    assert_null(result);
    return err;
}

uint64_t rv_of(Kml__Result *result)
{
    uint64_t rv = result->rv;
    assert_true((rv == CKR_OK) == (result->reason[0] == 0));
    kml__result__free_unpacked(result, NULL);
    return rv;
}

uint64_t client_register(struct fixture *f, const char *identity)
{
    Kml__ClientRegister body = KML__CLIENT_REGISTER__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    body.identity = (char *)(size_t)identity;
    command.body_case = KML__COMMAND__BODY_CLIENT_REGISTER;
    command.client_register = &body;
    Kml__Result *result = apply(f, &command, (struct asker){0});
    uint64_t session = result->session;
    assert_int_equal(rv_of(result), CKR_OK);
    assert_int_not_equal(session, 0);
    return session;
}

Kml__Result *token_init(struct fixture *f, uint64_t id, uint64_t slot, uint64_t expect_instance, struct asker asker)
{
    Kml__TokenInit body = KML__TOKEN_INIT__INIT;
    Kml__Pin so = KML__PIN__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    so.verifier = hash_data(0x50);
    body.id = id_data(id);
    body.slot = slot;
    body.label = (char[]){"label"};
    body.serial = (char[]){"serial"};
    body.owner = (char[]){ALICE};
    body.so = &so;
    body.expect_instance = expect_instance;
    command.body_case = KML__COMMAND__BODY_TOKEN_INIT;
    command.token_init = &body;
    return apply(f, &command, asker);
}

Kml__Result *pin_change(struct fixture *f, uint64_t token, uint64_t user_type, uint64_t instance, uint64_t generation)
{
    Kml__PinChange body = KML__PIN_CHANGE__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    body.token = id_data(token);
    body.user_type = user_type;
    body.verifier = hash_data((uint8_t)(0x70 + generation));
    body.expect_instance = instance;
    body.expect_generation = generation;
    command.body_case = KML__COMMAND__BODY_PIN_CHANGE;
    command.pin_change = &body;
    return apply(f, &command, (struct asker){0});
}

Kml__Result *pin_attempt(struct fixture *f, uint64_t token, const char *identity, uint64_t attempt, bool is_good,
                         uint64_t generation)
{
    Kml__PinAttempt body = KML__PIN_ATTEMPT__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    body.token = id_data(token);
    body.user_type = CKU_USER;
    body.identity = (char *)(size_t)identity;
    body.attempt = id_data(attempt);
    body.is_good = is_good;
    body.expect_instance = 1;
    body.expect_generation = generation;
    command.body_case = KML__COMMAND__BODY_PIN_ATTEMPT;
    command.pin_attempt = &body;
    return apply(f, &command, (struct asker){0});
}

Kml__Result *tick(struct fixture *f)
{
    Kml__Tick body = KML__TICK__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    command.body_case = KML__COMMAND__BODY_TICK;
    command.tick = &body;
    return apply(f, &command, (struct asker){0});
}

static void put_ulong(Kml__Attr *attr, uint64_t type, uint64_t value, uint8_t bytes[8])
{
    kml__attr__init(attr);
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    attr->type = type;
    attr->value = (ProtobufCBinaryData){8, bytes};
}

static void put_bytes(Kml__Attr *attr, uint64_t type, const void *data, size_t len)
{
    kml__attr__init(attr);
    attr->type = type;
    attr->value = (ProtobufCBinaryData){len, (uint8_t *)(size_t)data};
}

ProtobufCBinaryData head_of(const struct thing *thing)
{
    Kml__Head head = KML__HEAD__INIT;
    Kml__Attr attrs[6], *pointers[6];
    uint8_t class[8], key_type[8], is_private = thing->is_private;
    size_t n = 0;
    head.id = id_data(thing->id);
    head.token = id_data(thing->token);
    head.token_instance = thing->instance;
    head.version = thing->version;
    head.class_ = thing->class;
    head.key_type = thing->key_type;
    head.is_private = thing->is_private;
    head.owner = (char[]){ALICE};
    head.backend = (char[]){"builtin"};
    put_ulong(&attrs[n++], CKA_CLASS, thing->class, class);
    put_bytes(&attrs[n++], CKA_PRIVATE, &is_private, 1);
    if (thing->label)
        put_bytes(&attrs[n++], CKA_LABEL, thing->label, strlen(thing->label));
    put_ulong(&attrs[n++], CKA_KEY_TYPE, thing->key_type, key_type);
    if (thing->cka_id)
        put_bytes(&attrs[n++], CKA_ID, thing->cka_id, strlen(thing->cka_id));
    for (size_t i = 0; i < n; i++)
        pointers[i] = &attrs[i];
    head.attrs = pointers;
    head.n_attrs = n;
    ProtobufCBinaryData packed = {kml__head__get_packed_size(&head), NULL};
    packed.data = malloc(packed.len);
    assert_non_null(packed.data);
    kml__head__pack(&head, packed.data);
    return packed;
}

static void fill_object(Kml__Object *object, const struct thing *thing)
{
    kml__object__init(object);
    object->head = head_of(thing);
    if (thing->seal)
        object->seal = (ProtobufCBinaryData){strlen(thing->seal), (uint8_t *)(size_t)thing->seal};
}

Kml__Result *object_create(struct fixture *f, const struct thing *things, size_t n, struct asker asker)
{
    Kml__ObjectCreate body = KML__OBJECT_CREATE__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    Kml__Object *objects = calloc(n + 1, sizeof(*objects)), **pointers = calloc(n + 1, sizeof(*pointers));
    for (size_t i = 0; i < n; i++) {
        fill_object(&objects[i], &things[i]);
        pointers[i] = &objects[i];
    }
    body.objects = pointers;
    body.n_objects = n;
    command.body_case = KML__COMMAND__BODY_OBJECT_CREATE;
    command.object_create = &body;
    Kml__Result *result = apply(f, &command, asker);
    for (size_t i = 0; i < n; i++)
        free(objects[i].head.data);
    free(objects);
    free(pointers);
    return result;
}

Kml__Result *object_replace(struct fixture *f, const struct thing *thing, uint64_t expect_version)
{
    Kml__ObjectReplace body = KML__OBJECT_REPLACE__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    Kml__Object object;
    fill_object(&object, thing);
    body.object = &object;
    body.expect_version = expect_version;
    command.body_case = KML__COMMAND__BODY_OBJECT_REPLACE;
    command.object_replace = &body;
    Kml__Result *result = apply(f, &command, (struct asker){0});
    free(object.head.data);
    return result;
}

Kml__Result *object_destroy(struct fixture *f, uint64_t token, uint64_t id)
{
    Kml__ObjectDestroy body = KML__OBJECT_DESTROY__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    body.token = id_data(token);
    body.id = id_data(id);
    command.body_case = KML__COMMAND__BODY_OBJECT_DESTROY;
    command.object_destroy = &body;
    return apply(f, &command, (struct asker){0});
}

const uint8_t *digest_of(const struct fixture *f)
{
    static uint8_t digests[4][32];
    static unsigned next;
    uint8_t *digest = digests[next++ % 4];
    uint64_t index;
    km_store_digest(f->store, digest, &index);
    assert_int_equal(index, km_store_index(f->store));
    return digest;
}
