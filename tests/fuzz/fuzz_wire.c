/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests and replies as protobuf-c reads them: whatever is accepted packs, and what that reads to packs to the same
 * bytes.
 */
#include "fuzz.h"

#include "wire.pb-c.h"

#include <stdlib.h>
#include <string.h>

static void add_message(void (*add)(const void *data, size_t len), const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *data = malloc(len + 1);
    assert(data != NULL && protobuf_c_message_pack(message, data) == len);
    add(data, len);
    free(data);
}

void fuzz_seeds(void (*add)(const void *data, size_t len))
{
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Reply reply = KMW__REPLY__INIT;
    Kmw__Change change = KMW__CHANGE__INIT;
    Kmw__Attr attr = KMW__ATTR__INIT, *attrs[] = {&attr, &attr, &attr};
    Kmw__Template template = KMW__TEMPLATE__INIT;
    Kmw__Mechanism mechanism = KMW__MECHANISM__INIT;
    Kmw__Key key = KMW__KEY__INIT;
    Kmw__Use use = KMW__USE__INIT;
    Kmw__ObjectFind find = KMW__OBJECT_FIND__INIT;
    Kmw__KeyPairGenerate generate = KMW__KEY_PAIR_GENERATE__INIT;
    Kmw__Login login = KMW__LOGIN__INIT;
    Kmw__Object object = KMW__OBJECT__INIT, *objects[] = {&object, &object};
    Kmw__ObjectsReply found = KMW__OBJECTS_REPLY__INIT;
    uint8_t bytes[32];
    memset(bytes, 0xa5, sizeof(bytes));
    const ProtobufCBinaryData id = {16, bytes}, text = {32, bytes};

    attr.type = 0x103;
    attr.value = text;
    template.n_attrs = 3;
    template.attrs = attrs;
    mechanism.type = 0x1041;
    mechanism.iv = id;
    key.id = id;
    change.session = 1;
    change.number = 1ULL << 40;
    request.version = 1;
    request.token = id;
    request.ticket = text;
    request.change = &change;
    request.program = (char *)"nginx";
    request.op_case = KMW__REQUEST__OP_USE;
    request.use = &use;
    use.key = &key;
    use.mechanism = &mechanism;
    use.data = text;
    add_message(add, &request.base);
    request.op_case = KMW__REQUEST__OP_OBJECT_FIND;
    request.object_find = &find;
    find.template_ = &template;
    find.after = id;
    add_message(add, &request.base);
    request.op_case = KMW__REQUEST__OP_KEY_PAIR_GENERATE;
    request.key_pair_generate = &generate;
    generate.mechanism = &mechanism;
    generate.public_template = generate.private_template = &template;
    add_message(add, &request.base);
    request.op_case = KMW__REQUEST__OP_LOGIN;
    request.login = &login;
    login.pin = id;
    login.attempt = id;
    add_message(add, &request.base);

    object.id = id;
    object.n_attrs = 3;
    object.attrs = attrs;
    object.sealed = text;
    found.n_objects = 2;
    found.objects = objects;
    reply.version = 1;
    reply.reason = (char *)"why";
    reply.result_case = KMW__REPLY__RESULT_OBJECTS;
    reply.objects = &found;
    add_message(add, &reply.base);
    add("", 0);
}

/* Not to the first bytes: unknown fields move behind known ones, and numbers have more than one spelling. */
static void check(const ProtobufCMessageDescriptor *kind, const uint8_t *data, size_t len)
{
    ProtobufCMessage *first = protobuf_c_message_unpack(kind, NULL, len, data);
    if (first == NULL)
        return;
    size_t packed_len = protobuf_c_message_get_packed_size(first);
    uint8_t *packed = malloc(packed_len + 1), *again = malloc(packed_len + 1);
    assert(packed != NULL && again != NULL && protobuf_c_message_pack(first, packed) == packed_len);
    ProtobufCMessage *second = protobuf_c_message_unpack(kind, NULL, packed_len, packed);
    /* protobuf-c reads an unknown field numbered 0 if its tag is spelled in five bytes, and refuses the one byte that
     * it packs it to. */
    if (second != NULL) {
        assert(protobuf_c_message_get_packed_size(second) == packed_len);
        assert(protobuf_c_message_pack(second, again) == packed_len && memcmp(packed, again, packed_len) == 0);
        protobuf_c_message_free_unpacked(second, NULL);
    }
    protobuf_c_message_free_unpacked(first, NULL);
    free(packed);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    check(&kmw__request__descriptor, data, len);
    check(&kmw__reply__descriptor, data, len);
    return 0;
}
