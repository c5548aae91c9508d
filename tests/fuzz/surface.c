/* SPDX-License-Identifier: Apache-2.0
 *
 * The interpreter: which call comes next, and what must hold after it. One thread.
 */
#include "surface.h"

#include "../loop/server_kit.h"
#include "surface_args.h"

#include <stdlib.h>

#define CALLS_MAX 48

static CK_SLOT_ID slot;
static bool is_initialized;
static CK_OBJECT_HANDLE wrapping; /* a key that may wrap */
static CK_BYTE wrapped[128], point[65];
static CK_ULONG wrapped_len;

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_ULONG key_len = 16;
static CK_OBJECT_CLASS data_class = CKO_DATA, secret_class = CKO_SECRET_KEY;
static CK_KEY_TYPE aes_type = CKK_AES, generic_type = CKK_GENERIC_SECRET;
static CK_BYTE key_value[16];
static const CK_ATTRIBUTE of_data[] = {
    {CKA_CLASS, &data_class, sizeof(data_class)}, {CKA_LABEL, "data", 4}, {CKA_VALUE, "value", 5}};
static const CK_ATTRIBUTE of_secret[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)},
                                         {CKA_KEY_TYPE, &aes_type, sizeof(aes_type)},
                                         {CKA_VALUE, key_value, 16},
                                         {CKA_EXTRACTABLE, &yes, 1},
                                         {CKA_ENCRYPT, &yes, 1}};
static const CK_ATTRIBUTE of_made[] = {
    {CKA_VALUE_LEN, &key_len, sizeof(key_len)}, {CKA_ENCRYPT, &yes, 1}, {CKA_EXTRACTABLE, &yes, 1}};
static const CK_ATTRIBUTE of_unwrapped[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)},
                                            {CKA_KEY_TYPE, &generic_type, sizeof(generic_type)}};
static const CK_ATTRIBUTE of_derived[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)},
                                          {CKA_KEY_TYPE, &generic_type, sizeof(generic_type)},
                                          {CKA_VALUE_LEN, &key_len, sizeof(key_len)}};
static const CK_ATTRIBUTE of_pair[] = {{CKA_EC_PARAMS, p256, sizeof(p256)}};
static const CK_ATTRIBUTE of_private[] = {{CKA_SIGN, &yes, 1}, {CKA_TOKEN, &no, 1}};
static const CK_ATTRIBUTE of_change[] = {{CKA_LABEL, "changed", 7}};

static CK_BYTE *text(const char *s)
{
    return (CK_BYTE *)(uintptr_t)s;
}

/* --- what must hold --- */

static CK_RV check_rv(CK_RV rv)
{
    static const CK_RV known[] = {
#define NAME(name) name,
#include "tests/conform/rv.inc"
#undef NAME
    };
    size_t i = 0;

    while (i < COUNT(known) && known[i] != rv)
        i++;
    /* A lying server can name any code below the standard's last one. */
    assert(i < COUNT(known) || (surface_tampers != NULL && rv < CKR_PARAMETER_SET_NOT_SUPPORTED));
    return rv;
}

static void check_made(CK_RV rv, const CK_OBJECT_HANDLE *handle)
{
    assert(rv != CKR_OK || (handle != NULL && *handle != CK_INVALID_HANDLE));
}

static CK_RV find_all(CK_SESSION_HANDLE s, struct attrs t)
{
    CK_ULONG n = 0;
    CK_RV rv = C_FindObjectsInit(s, t.p, t.n);

    if (rv != CKR_OK)
        return rv;
    rv = C_FindObjects(s, objects, OBJECTS / 2, &n);
    assert(rv != CKR_OK || n <= OBJECTS / 2);
    for (CK_ULONG i = 0; rv == CKR_OK && i < n; i++)
        assert(objects[i] != CK_INVALID_HANDLE);
    (void)C_FindObjectsFinal(s);
    return rv;
}

/* --- calls --- */

static CK_RV call_general(unsigned which)
{
    static union {
        CK_INFO info;
        CK_SLOT_INFO slot;
        CK_TOKEN_INFO token;
        CK_SESSION_INFO session;
        CK_MECHANISM_INFO mechanism;
        CK_FUNCTION_LIST *list;
        CK_ULONG many[16];
    } ret;
    CK_C_INITIALIZE_ARGS args = {.flags = take_ulong(), .pReserved = odd() ? &ret : NULL};
    CK_SLOT_ID where = odd() ? take_ulong() : slot;
    struct out o = {.len = take_below(COUNT(ret.many))};
    struct in a = data(true);
    CK_RV rv;

    switch (which) {
    case 0:
        return C_GetInfo(odd() ? NULL : &ret.info);
    case 1:
        return C_GetFunctionList(odd() ? NULL : &ret.list);
    case 2:
        return C_GetSlotList(take() & 1, take() & 1 ? NULL : ret.many, len_of(&o));
    case 3:
        return C_GetSlotInfo(where, odd() ? NULL : &ret.slot);
    case 4:
        return C_GetTokenInfo(where, odd() ? NULL : &ret.token);
    case 5:
        return C_GetMechanismList(where, take() & 1 ? NULL : ret.many, len_of(&o));
    case 6:
        return C_GetMechanismInfo(where, take_ulong(), odd() ? NULL : &ret.mechanism);
    case 7:
        return C_GetSessionInfo(session(), odd() ? NULL : &ret.session);
    case 8:
        return C_WaitForSlotEvent(CKF_DONT_BLOCK, odd() ? NULL : &ret.many[0], odd() ? &ret : NULL);
    case 9:
        return C_OpenSession(where, CKF_SERIAL_SESSION | (take() & 3 ? CKF_RW_SESSION : 0) | (odd() ? take_ulong() : 0),
                             NULL, NULL, odd() ? NULL : &sessions[take_below(SESSIONS)]);
    case 10:
        return take() & 7 ? CKR_OK : C_CloseSession(session());
    case 11:
        return odd() && take() & 1 ? C_CloseAllSessions(where) : CKR_OK;
    case 12: /* the right PIN mostly: wrong ones lock it */
        return odd() ? C_Login(session(), take_ulong(), a.p, a.len)
                     : C_Login(session(), odd() ? CKU_CONTEXT_SPECIFIC : CKU_USER, text(USER_PIN), strlen(USER_PIN));
    case 13:
        return odd() ? C_Logout(session()) : CKR_OK;
    case 14:
        return C_InitPIN(session(), a.p, a.len);
    case 15:
        return C_SetPIN(session(), a.p, a.len, a.p, a.len);
    case 16:
        if (!odd() || take() & 1)
            return CKR_OK;
        rv = C_Finalize(odd() ? &ret : NULL);
        is_initialized &= rv != CKR_OK;
        return rv;
    case 17:
        rv = C_Initialize(take() & 1 ? &args : NULL);
        is_initialized |= rv == CKR_OK;
        return rv;
    case 18:
        return C_SeedRandom(session(), a.p, a.len < HUGE ? a.len : 16);
    case 19:
        o = output(NULL);
        return C_GenerateRandom(session(), o.p, o.room);
    case 20:
        return C_GetFunctionStatus(session());
    default:
        return C_CancelFunction(session());
    }
}

static CK_RV call_find(unsigned which)
{
    struct attrs t = odd() ? any_attrs(false, 1) : (struct attrs){NULL, 0};
    CK_ULONG n = 0;

    switch (which) {
    case 0:
        return find_all(session(), t);
    case 1:
        return C_FindObjectsInit(session(), t.p, t.n);
    case 2:
        return C_FindObjects(session(), odd() ? NULL : objects, take_below(OBJECTS), odd() ? NULL : &n);
    default:
        return C_FindObjectsFinal(session());
    }
}

static CK_RV call_object(unsigned which)
{
    CK_OBJECT_HANDLE *made = keep_object();
    struct attrs t;
    CK_ULONG size;
    CK_RV rv;

    switch (which) {
    case 0:
        t = take() & 1 ? MAKING(of_data) : MAKING(of_secret);
        rv = C_CreateObject(session(), t.p, t.n, made);
        check_made(rv, made);
        return rv;
    case 1:
        t = MAKING(of_change);
        rv = C_CopyObject(session(), object(), t.p, t.n, made);
        check_made(rv, made);
        return rv;
    case 2:
        return C_DestroyObject(session(), object());
    case 3:
        return C_GetObjectSize(session(), object(), odd() ? NULL : &size);
    case 4:
        t = any_attrs(true, 2);
        return C_GetAttributeValue(session(), object(), t.p, t.n);
    case 5:
        t = odd() ? any_attrs(false, 2) : MAKING(of_change);
        return C_SetAttributeValue(session(), object(), t.p, t.n);
    default:
        return call_find(which - 6);
    }
}

static CK_ECDH1_DERIVE_PARAMS ecdh = {CKD_NULL, 0, NULL, sizeof(point), point};
static CK_HKDF_PARAMS hkdf = {CK_TRUE, CK_TRUE, CKM_SHA256, CKF_HKDF_SALT_NULL, NULL,
                              0,       0,       key_value,  sizeof(key_value)};
static CK_SP800_108_COUNTER_FORMAT counter = {CK_FALSE, 32};
static CK_PRF_DATA_PARAM kdf_data[] = {{CK_SP800_108_ITERATION_VARIABLE, &counter, sizeof(counter)},
                                       {CK_SP800_108_BYTE_ARRAY, key_value, sizeof(key_value)}};
static CK_SP800_108_KDF_PARAMS kdf = {CKM_SHA256_HMAC, 2, kdf_data, 0, NULL};
static CK_KEY_DERIVATION_STRING_DATA string = {key_value, sizeof(key_value)};
static const CK_MECHANISM derivations[] = {{CKM_ECDH1_DERIVE, &ecdh, sizeof(ecdh)},
                                           {CKM_HKDF_DERIVE, &hkdf, sizeof(hkdf)},
                                           {CKM_SP800_108_COUNTER_KDF, &kdf, sizeof(kdf)},
                                           {CKM_CONCATENATE_BASE_AND_DATA, &string, sizeof(string)},
                                           {CKM_XOR_BASE_AND_DATA, &string, sizeof(string)}};

static CK_RV call_key(unsigned which)
{
    CK_OBJECT_HANDLE *made = keep_object(), *made_too = keep_object(), by = odd() ? object() : wrapping;
    CK_MECHANISM_TYPE wrap = take() & 1 ? CKM_AES_KEY_WRAP : CKM_AES_KEY_WRAP_KWP;
    CK_MECHANISM *mech;
    struct attrs t, u;
    struct out o;
    struct in a;
    CK_RV rv;

    switch (which) {
    case 0:
        mech = mostly((CK_MECHANISM){CKM_AES_KEY_GEN, NULL, 0});
        t = MAKING(of_made);
        rv = C_GenerateKey(session(), mech, t.p, t.n, made);
        break;
    case 1:
        mech = mostly((CK_MECHANISM){CKM_EC_KEY_PAIR_GEN, NULL, 0});
        t = MAKING(of_pair);
        u = MAKING(of_private);
        rv = C_GenerateKeyPair(session(), mech, t.p, t.n, u.p, u.n, made, made_too);
        check_made(rv, made_too);
        break;
    case 2:
        mech = mostly((CK_MECHANISM){wrap, NULL, 0});
        o = output(NULL);
        rv = C_WrapKey(session(), mech, by, object(), o.p, len_of(&o));
        check_out(rv, &o);
        if (rv == CKR_OK && o.p != NULL && o.len <= sizeof(wrapped))
            memcpy(wrapped, o.p, wrapped_len = o.len);
        return rv;
    case 3:
        mech = mostly((CK_MECHANISM){wrap, NULL, 0});
        a = odd() ? data(true) : (struct in){wrapped, wrapped_len};
        t = MAKING(of_unwrapped);
        rv = C_UnwrapKey(session(), mech, by, a.p, a.len, t.p, t.n, made);
        break;
    default:
        mech = mostly(derivations[take_below(COUNT(derivations))]);
        t = MAKING(of_derived);
        by = mech != NULL && mech->mechanism == CKM_ECDH1_DERIVE ? kept[EC_PRIVATE] : kept[SECRET];
        rv = C_DeriveKey(session(), mech, odd() ? object() : by, t.p, t.n, made);
    }
    check_made(rv, made);
    return rv;
}

static CK_RV call_begin(unsigned which)
{
    static CK_RV (*const inits[])(CK_SESSION_HANDLE, CK_MECHANISM *, CK_OBJECT_HANDLE) = {
        C_EncryptInit, C_DecryptInit, C_SignInit, C_VerifyInit, C_SignRecoverInit, C_VerifyRecoverInit};
    static const char letters[] = "EDSVSVG";
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_MECHANISM *mech = fitting(letters[which], &key);

    return which < COUNT(inits) ? inits[which](session(), mech, key) : C_DigestInit(session(), mech);
}

/* Input and output at once; then output; then input; then the rest. call_operation knows the order. */
static CK_RV call_use(unsigned which)
{
    static CK_RV (*const whole[12])(CK_SESSION_HANDLE, CK_BYTE *, CK_ULONG, CK_BYTE *,
                                    CK_ULONG *) = {C_Encrypt,
                                                   C_Decrypt,
                                                   C_Digest,
                                                   C_Sign,
                                                   C_SignRecover,
                                                   C_VerifyRecover,
                                                   C_EncryptUpdate,
                                                   C_DecryptUpdate,
                                                   C_DigestEncryptUpdate,
                                                   C_DecryptDigestUpdate,
                                                   C_SignEncryptUpdate,
                                                   C_DecryptVerifyUpdate};
    static CK_RV (*const last[5])(CK_SESSION_HANDLE, CK_BYTE *, CK_ULONG *) = {
        C_EncryptFinal, C_DecryptFinal, C_DigestFinal, C_SignFinal, C_GetOperationState};
    static CK_RV (*const part[3])(CK_SESSION_HANDLE, CK_BYTE *, CK_ULONG) = {C_DigestUpdate, C_SignUpdate,
                                                                             C_VerifyUpdate};
    struct in a = data(false), b = data(true);
    struct out o = output(&a);
    CK_RV rv;

    if (which < 17) {
        rv = which < 12 ? whole[which](session(), a.p, a.len, o.p, len_of(&o))
                        : last[which - 12](session(), o.p, len_of(&o));
        check_out(rv, &o);
        return rv;
    }
    if (which < 20)
        return part[which - 17](session(), a.p, a.len);
    switch (which) {
    case 20:
        return C_Verify(session(), a.p, a.len, b.p, b.len);
    case 21:
        return C_VerifyFinal(session(), b.p, b.len);
    case 22:
        return C_DigestKey(session(), object());
    default:
        return C_SetOperationState(session(), b.p, b.len, object(), object());
    }
}

/* One operation: begun, some parts, its end. */
static CK_RV call_operation(unsigned which)
{
    static const struct {
        uint8_t init, whole, part, last;
    } operations[] = {{0, 0, 6, 12}, {1, 1, 7, 13}, {6, 2, 17, 14}, {2, 3, 18, 15}, {3, 20, 19, 21}};

    (void)check_rv(call_begin(operations[which].init));
    for (size_t n = take_below(5); n > 0 && !args_are_full(); n--)
        (void)check_rv(call_use(operations[which].part));
    return call_use(take() & 1 ? operations[which].whole : operations[which].last);
}

static CK_RV call_later_with(unsigned which)
{
    return call_later(which, wrapping);
}

static const struct group {
    CK_RV (*call)(unsigned which);
    unsigned n;
} groups[] = {{call_general, 22},  {call_object, 10},  {call_key, 5},      {call_begin, 7},      {call_use, 24},
              {call_operation, 5}, {call_message, 20}, {call_messages, 4}, {call_later_with, 16}};

/* What comes of them, for whoever changes the draws: SURFACE_STATS=1 prints it. */
static unsigned counts[COUNT(groups)][24][2];

static void call(void)
{
    static const uint8_t draws[] = {0, 1, 1, 2, 2, 3, 4, 5, 5, 5, 5, 6, 7, 7, 8};
    size_t g = draws[take_below(COUNT(draws))], which = take_below(groups[g].n);
    CK_RV rv = check_rv(groups[g].call((unsigned)which));

    counts[g][which][rv == CKR_OK]++;
    args_end();
}

static void print_counts(void)
{
    for (size_t g = 0; g < COUNT(groups); g++)
        for (size_t i = 0; i < groups[g].n; i++)
            fprintf(stderr, "%zu.%zu: %u succeeded, %u refused\n", g, i, counts[g][i][1], counts[g][i][0]);
}

/* --- a run --- */

static CK_OBJECT_HANDLE find_kept(CK_OBJECT_CLASS class, CK_KEY_TYPE type)
{
    CK_ATTRIBUTE t[] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)}, {CKA_LABEL, "kept", 4}};
    CK_OBJECT_HANDLE found = CK_INVALID_HANDLE;
    CK_ULONG n = 0;

    assert(C_FindObjectsInit(sessions[0], t, 3) == CKR_OK);
    assert(C_FindObjects(sessions[0], &found, 1, &n) == CKR_OK && n == 1);
    assert(C_FindObjectsFinal(sessions[0]) == CKR_OK);
    return found;
}

/* What earlier runs left on the token; the kept keys cannot be destroyed. */
static void clear_token(void)
{
    CK_OBJECT_HANDLE found[64];
    CK_ULONG n = 0;

    assert(C_FindObjectsInit(sessions[0], NULL, 0) == CKR_OK && C_FindObjects(sessions[0], found, 64, &n) == CKR_OK);
    assert(C_FindObjectsFinal(sessions[0]) == CKR_OK);
    while (n > 0)
        (void)C_DestroyObject(sessions[0], found[--n]);
}

static CK_RV open_all(void)
{
    CK_RV rv = CKR_OK;

    for (size_t i = 0; rv == CKR_OK && i < SESSIONS; i++)
        rv = C_OpenSession(slot, CKF_SERIAL_SESSION | (i != 1 ? CKF_RW_SESSION : 0), NULL, NULL, &sessions[i]);
    return rv == CKR_OK ? C_Login(sessions[0], CKU_USER, text(USER_PIN), strlen(USER_PIN)) : rv;
}

/* Sessions, the user logged in, the kept keys; without lies, so that a run begins in order. */
static void begin(void)
{
    static unsigned runs;
    CK_ATTRIBUTE t[] = {{CKA_VALUE_LEN, &key_len, sizeof(key_len)}, {CKA_WRAP, &yes, 1}, {CKA_UNWRAP, &yes, 1}};
    surface_tamper *tampers = surface_tampers;

    surface_tampers = NULL;
    if (open_all() != CKR_OK) { /* what lies have left behind goes with C_Finalize at the latest */
        assert(tampers != NULL && C_Finalize(NULL) == CKR_OK && C_Initialize(NULL) == CKR_OK);
        assert(open_all() == CKR_OK);
    }
    kept[AES] = find_kept(CKO_SECRET_KEY, CKK_AES);
    kept[SECRET] = find_kept(CKO_SECRET_KEY, CKK_GENERIC_SECRET);
    kept[EC_PUBLIC] = find_kept(CKO_PUBLIC_KEY, CKK_EC);
    kept[EC_PRIVATE] = find_kept(CKO_PRIVATE_KEY, CKK_EC);
    kept[RSA_PUBLIC] = find_kept(CKO_PUBLIC_KEY, CKK_RSA);
    kept[RSA_PRIVATE] = find_kept(CKO_PRIVATE_KEY, CKK_RSA);
    if (runs++ % 8 == 7)
        clear_token();
    memset(objects, 0, sizeof(objects));
    for (size_t i = 0; i < OBJECTS / 2; i++)
        objects[i] = kept[i % KEPT];
    assert(C_GenerateKey(sessions[0], &(CK_MECHANISM){CKM_AES_KEY_GEN, NULL, 0}, t, 3, &wrapping) == CKR_OK);
    surface_tampers = tampers;
}

static void tidy(void)
{
    surface_tamper *tampers = surface_tampers;

    surface_tampers = NULL;
    if (!is_initialized)
        assert(C_Initialize(NULL) == CKR_OK);
    is_initialized = true;
    (void)C_CloseAllSessions(slot);
    surface_tampers = tampers;
}

void surface_run(const uint8_t *data_, size_t len)
{
    args_begin(data_, len);
    begin();
    the_session = take_below(SESSIONS);
    for (unsigned i = 0; i < CALLS_MAX && args_left(); i++)
        call();
    tidy();
}

/* --- the token --- */

static void at_exit(void)
{
    if (getenv("SURFACE_STATS") != NULL)
        print_counts();
    (void)C_Finalize(NULL);
    (void)kit_teardown(NULL);
}

static void make_keys(CK_SESSION_HANDLE s)
{
    CK_ULONG bits = 2048, len = 32;
    CK_OBJECT_HANDLE one, two;
    CK_MECHANISM ec = {CKM_EC_KEY_PAIR_GEN, NULL, 0}, rsa = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0},
                 aes = {CKM_AES_KEY_GEN, NULL, 0}, generic = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE label = {CKA_LABEL, "kept", 4}, token = {CKA_TOKEN, &yes, 1}, sign = {CKA_SIGN, &yes, 1},
                 verify = {CKA_VERIFY, &yes, 1}, encrypt = {CKA_ENCRYPT, &yes, 1}, decrypt = {CKA_DECRYPT, &yes, 1},
                 stays = {CKA_DESTROYABLE, &no, 1}, fixed = {CKA_MODIFIABLE, &no, 1},
                 size = {CKA_VALUE_LEN, &len, sizeof(len)};
    CK_ATTRIBUTE ec_public[] = {label, token, stays, fixed, verify, {CKA_EC_PARAMS, p256, sizeof(p256)}};
    CK_ATTRIBUTE rsa_public[] = {label, token, stays, fixed, verify, encrypt, {CKA_MODULUS_BITS, &bits, sizeof(bits)}};
    CK_ATTRIBUTE ec_private[] = {label, token, stays, fixed, sign, {CKA_DERIVE, &yes, 1}},
                 rsa_private[] = {label, token, stays, fixed, sign, decrypt};
    CK_ATTRIBUTE cipher[] = {label, token, stays, fixed, encrypt, decrypt, sign, verify, size},
                 mac[] = {label, token, stays, fixed, sign, verify, {CKA_DERIVE, &yes, 1}, size};
    CK_RV rv = CKR_FUNCTION_FAILED;
    CK_BYTE der[67];
    CK_ATTRIBUTE read = {CKA_EC_POINT, der, sizeof(der)};

    for (int i = 0; i < 10 && rv != CKR_OK; i++) /* takes longer than the service's deadline now and then */
        rv = C_GenerateKeyPair(s, &rsa, rsa_public, COUNT(rsa_public), rsa_private, COUNT(rsa_private), &one, &two);
    assert(rv == CKR_OK);
    assert(C_GenerateKey(s, &aes, cipher, COUNT(cipher), &one) == CKR_OK);
    assert(C_GenerateKey(s, &generic, mac, COUNT(mac), &one) == CKR_OK);
    assert(C_GenerateKeyPair(s, &ec, ec_public, COUNT(ec_public), ec_private, COUNT(ec_private), &one, &two) == CKR_OK);
    assert(C_GetAttributeValue(s, one, &read, 1) == CKR_OK && read.ulValueLen == sizeof(der));
    memcpy(point, der + 2, sizeof(point));
}

void surface_start(void)
{
    CK_UTF8CHAR label[32];
    CK_SLOT_ID slots[4];
    CK_ULONG n = COUNT(slots);
    CK_SESSION_HANDLE s;

    if (is_initialized)
        return;
    assert(kit_setup(NULL) == 0);
    assert(atexit(at_exit) == 0);
    assert(C_Initialize(NULL) == CKR_OK);
    is_initialized = true;
    memset(label, ' ', sizeof(label));
    memcpy(label, "fuzzed", 6);
    assert(C_GetSlotList(CK_TRUE, slots, &n) == CKR_OK && n == 1);
    slot = slots[0];
    assert(C_InitToken(slot, text(SO_PIN), strlen(SO_PIN), label) == CKR_OK);
    assert(C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s) == CKR_OK);
    assert(C_Login(s, CKU_SO, text(SO_PIN), strlen(SO_PIN)) == CKR_OK);
    assert(C_InitPIN(s, text(USER_PIN), strlen(USER_PIN)) == CKR_OK);
    assert(C_Logout(s) == CKR_OK);
    assert(C_Login(s, CKU_USER, text(USER_PIN), strlen(USER_PIN)) == CKR_OK);
    make_keys(s);
    assert(C_CloseSession(s) == CKR_OK);
}

/* What bytes mean depends on the draws before them, so the seeds are simply different, and long enough for all calls of
 * a run. */
void surface_seeds(void (*add)(const void *data, size_t len))
{
    static uint8_t seed[8192];
    uint32_t x = 12345;

    for (unsigned i = 0; i < 32; i++) {
        for (size_t k = 0; k < sizeof(seed); k++) {
            x = x * 1664525u + 1013904223u;
            seed[k] = (uint8_t)(x >> 24);
        }
        add(seed, sizeof(seed));
    }
}
