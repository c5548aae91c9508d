/* SPDX-License-Identifier: Apache-2.0
 *
 * Encrypt, Decrypt, Digest, Sign and Verify alike: the order of calls, sizes, NULL pointers, keys (v2.40 5.2, 5.8
 * to 5.13). The five are made one shape here (Verify's signature is input and has no length to ask for), so that each
 * rule is one row.
 */
#include "keys.h"

#define MESSAGE_LEN 32 /* two blocks */
static CK_BYTE message[MESSAGE_LEN] = "thirty-two bytes are two blocks";
static CK_BYTE iv[16] = "an IV of 16 byte";
static CK_MECHANISM cbc = {CKM_AES_CBC, iv, 16}, hash = {CKM_SHA256, NULL, 0}, hmac = {CKM_SHA256_HMAC, NULL, 0};
static CK_BYTE signature[32]; /* of `message` by the HMAC key */

static CK_OBJECT_HANDLE the_key(CK_SESSION_HANDLE s, const CK_MECHANISM *mech)
{
    return mech == &cbc ? aes(s, MAY_ENCRYPT) : aes(s, MAY_SIGN | OF_GENERIC);
}

static void make_signature(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE key)
{
    CK_ULONG len = sizeof(signature);

    MUST(F->C_SignInit(s, &hmac, key));
    MUST(F->C_Sign(s, message, MESSAGE_LEN, signature, &len));
}

/* --- the shape: init, whole, part, last; `out` and `out_len` are not used where there is no output --- */

typedef CK_RV init_fn(CK_SESSION_HANDLE s, CK_MECHANISM *mech, CK_OBJECT_HANDLE key);
typedef CK_RV whole_fn(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len);
typedef CK_RV last_fn(CK_SESSION_HANDLE s, CK_BYTE *out, CK_ULONG *out_len);

struct family {
    init_fn *init;
    whole_fn *whole, *part;
    last_fn *last;
    CK_MECHANISM *mech;
    bool has_key, has_output, has_part_output;
};

#define PASS_ON(name)                                                                                                  \
    static CK_RV name##_whole(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)         \
    {                                                                                                                  \
        return F->C_##name(s, in, len, out, out_len);                                                                  \
    }                                                                                                                  \
    static CK_RV name##_last(CK_SESSION_HANDLE s, CK_BYTE *out, CK_ULONG *out_len)                                     \
    {                                                                                                                  \
        return F->C_##name##Final(s, out, out_len);                                                                    \
    }
#define PASS_ON_PART(name)                                                                                             \
    static CK_RV name##_part(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)          \
    {                                                                                                                  \
        return F->C_##name##Update(s, in, len, out, out_len);                                                          \
    }
#define PASS_ON_SILENT_PART(name)                                                                                      \
    static CK_RV name##_part(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)          \
    {                                                                                                                  \
        (void)out, (void)out_len;                                                                                      \
        return F->C_##name##Update(s, in, len);                                                                        \
    }
#define PASS_ON_INIT(name)                                                                                             \
    static CK_RV name##_init(CK_SESSION_HANDLE s, CK_MECHANISM *mech, CK_OBJECT_HANDLE key)                            \
    {                                                                                                                  \
        return F->C_##name##Init(s, mech, key);                                                                        \
    }
PASS_ON(Encrypt)
PASS_ON_INIT(Encrypt)
PASS_ON_PART(Encrypt)
PASS_ON(Decrypt)
PASS_ON_INIT(Decrypt)
PASS_ON_PART(Decrypt)
PASS_ON(Sign)
PASS_ON_INIT(Sign)
PASS_ON_SILENT_PART(Sign)
PASS_ON(Digest)
PASS_ON_SILENT_PART(Digest)
PASS_ON_SILENT_PART(Verify)
PASS_ON_INIT(Verify)
static CK_RV Digest_init(CK_SESSION_HANDLE s, CK_MECHANISM *mech, CK_OBJECT_HANDLE key)
{
    (void)key;
    return F->C_DigestInit(s, mech);
}
static CK_RV Verify_whole(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
    (void)out, (void)out_len;
    return F->C_Verify(s, in, len, signature, sizeof(signature));
}
static CK_RV Verify_last(CK_SESSION_HANDLE s, CK_BYTE *out, CK_ULONG *out_len)
{
    (void)out, (void)out_len;
    return F->C_VerifyFinal(s, signature, sizeof(signature));
}

#define FAMILY(name, mech, has_key, has_output, has_part_output)                                                       \
    static const struct family name = {name##_init, name##_whole, name##_part, name##_last,                            \
                                       mech,        has_key,      has_output,  has_part_output};
FAMILY(Encrypt, &cbc, true, true, true)
FAMILY(Decrypt, &cbc, true, true, true)
FAMILY(Digest, &hash, false, true, false)
FAMILY(Sign, &hmac, true, true, false)
FAMILY(Verify, &hmac, true, false, false)

/* --- what the rows do --- */

static CK_BYTE out[MESSAGE_LEN + 64], again[MESSAGE_LEN + 64];
static CK_ULONG len, again_len;

static CK_SESSION_HANDLE begin(const struct family *f)
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key = f->has_key ? the_key(s, f->mech) : 0;

    if (f == &Verify)
        make_signature(s, key);
    MUST(f->init(s, f->mech, key));
    len = again_len = sizeof(out);
    memset(out, 0, sizeof(out));
    return s;
}

/* After `s`'s operation ended another one begins. */
static void can_begin(const struct family *f, CK_SESSION_HANDLE s)
{
    MUST(f->init(s, f->mech, f->has_key ? the_key(s, f->mech) : 0));
}

static CK_RV init_twice(const struct family *f)
{
    CK_SESSION_HANDLE s = begin(f);
    CK_OBJECT_HANDLE key = f->has_key ? the_key(s, f->mech) : 0;
    CK_RV rv = f->init(s, f->mech, key);

    MUST(f->whole(s, message, MESSAGE_LEN, out, &len)); /* the first goes on */
    return rv;
}
static CK_RV init_with(const struct family *f, CK_MECHANISM mech, CK_ULONG uses)
{
    CK_SESSION_HANDLE s = open_user();

    return f->init(s, &mech, aes(s, uses));
}
static CK_RV whole_twice(const struct family *f)
{
    CK_SESSION_HANDLE s = begin(f);

    MUST(f->whole(s, message, MESSAGE_LEN, out, &len));
    return f->whole(s, message, MESSAGE_LEN, out, &len);
}
static CK_RV whole_in_parts(const struct family *f)
{
    CK_SESSION_HANDLE s = begin(f);
    CK_ULONG at = 0, n;

    MUST(f->whole(s, message, MESSAGE_LEN, out, &len));
    can_begin(f, s);
    for (CK_ULONG i = 0; i < MESSAGE_LEN; i += 5) {
        n = sizeof(again) - at;
        MUST(f->part(s, message + i, MESSAGE_LEN - i < 5 ? MESSAGE_LEN - i : 5, again + at, &n));
        at += f->has_part_output ? n : 0;
    }
    n = sizeof(again) - at;
    CK_RV rv = f->last(s, again + at, &n);
    if (f->has_output)
        CHECK(at + n == len && memcmp(out, again, len) == 0);
    return rv;
}
static CK_RV whole_sized(const struct family *f)
{
    CK_SESSION_HANDLE s = begin(f);
    CK_RV rv;

    again_len = 0;
    MUST(f->whole(s, message, MESSAGE_LEN, NULL, &again_len));
    CHECK(again_len > 0 && again_len <= sizeof(out));
    len = again_len;
    rv = f->whole(s, message, MESSAGE_LEN, out, &len);
    CHECK(len <= again_len);
    return rv;
}
static CK_RV whole_too_small(const struct family *f)
{
    CK_SESSION_HANDLE s = begin(f);
    CK_RV rv;

    again_len = 1;
    rv = f->whole(s, message, MESSAGE_LEN, again, &again_len);
    CHECK(again_len > 1);
    len = again_len;
    MUST(f->whole(s, message, MESSAGE_LEN, out, &len)); /* goes on */
    return rv;
}
static CK_RV whole_no_length(const struct family *f)
{
    CK_SESSION_HANDLE s = begin(f);
    CK_RV rv = f->whole(s, message, MESSAGE_LEN, out, NULL);

    can_begin(f, s); /* an error ends the operation */
    return rv;
}
static CK_RV whole_no_input(const struct family *f)
{
    CK_SESSION_HANDLE s = begin(f);
    CK_RV rv = f->whole(s, NULL, MESSAGE_LEN, out, &len);

    can_begin(f, s);
    return rv;
}
static CK_RV whole_bad_len(const struct family *f)
{
    CK_SESSION_HANDLE s = begin(f);
    CK_RV rv = f->whole(s, message, MESSAGE_LEN - 1, out, &len);

    can_begin(f, s);
    return rv;
}
static CK_RV whole_empty(const struct family *f, CK_BYTE *empty)
{
    CK_SESSION_HANDLE s = begin(f);

    if (f == &Verify) {
        CK_ULONG n = sizeof(signature);
        CK_OBJECT_HANDLE key = the_key(s, f->mech);
        MUST(F->C_SignInit(s, &hmac, key));
        MUST(F->C_Sign(s, empty, 0, signature, &n));
    }
    CK_RV rv = f->whole(s, empty, 0, out, &len);
    if (f->has_part_output)
        CHECK(len == 0);
    return rv;
}
static CK_RV whole_in_place(const struct family *f)
{
    CK_SESSION_HANDLE s = begin(f);
    CK_RV rv;

    memcpy(again, message, MESSAGE_LEN);
    MUST(f->whole(s, message, MESSAGE_LEN, out, &len));
    can_begin(f, s);
    rv = f->whole(s, again, MESSAGE_LEN, again, &again_len);
    CHECK(again_len == len && memcmp(out, again, len) == 0);
    return rv;
}
static CK_RV whole_after_part(const struct family *f)
{
    CK_SESSION_HANDLE s = begin(f);

    MUST(f->part(s, message, 16, out, &len));
    len = sizeof(out);
    return f->whole(s, message, 16, out, &len);
}
static CK_RV part_of_none(const struct family *f)
{
    len = sizeof(out);
    return f->part(open_user(), message, 16, out, &len);
}
static CK_RV part_after_whole(const struct family *f)
{
    CK_SESSION_HANDLE s = begin(f);

    MUST(f->whole(s, message, MESSAGE_LEN, out, &len));
    len = sizeof(out);
    return f->part(s, message, 16, out, &len);
}
static CK_RV part_no_input(const struct family *f)
{
    CK_SESSION_HANDLE s = begin(f);
    CK_RV rv = f->part(s, NULL, 16, out, &len);

    can_begin(f, s);
    return rv;
}
static CK_RV part_no_length(const struct family *f)
{
    CK_SESSION_HANDLE s = begin(f);
    CK_RV rv = f->part(s, message, 16, out, NULL);

    can_begin(f, s);
    return rv;
}
static CK_RV part_empty(const struct family *f)
{
    CK_SESSION_HANDLE s = begin(f);
    CK_RV rv = f->part(s, NULL, 0, out, &len);

    if (f->has_part_output)
        CHECK(len == 0);
    len = sizeof(out);
    MUST(f->part(s, message, MESSAGE_LEN, out, &len));
    again_len = sizeof(again);
    MUST(f->last(s, again, &again_len));
    return rv;
}
static CK_RV part_too_small(const struct family *f)
{
    CK_SESSION_HANDLE s = begin(f);
    CK_RV rv;

    MUST(f->whole(s, message, MESSAGE_LEN, out, &len));
    can_begin(f, s);
    again_len = 1;
    rv = f->part(s, message, MESSAGE_LEN, again, &again_len);
    CHECK(again_len > 1 && again_len <= MESSAGE_LEN);
    MUST(f->part(s, message, MESSAGE_LEN, again, &again_len)); /* nothing was taken */
    CK_ULONG n = sizeof(again) - again_len;
    MUST(f->last(s, again + again_len, &n));
    CHECK(again_len + n == len && memcmp(out, again, len) == 0);
    return rv;
}
static CK_RV last_of_none(const struct family *f)
{
    len = sizeof(out);
    return f->last(open_user(), out, &len);
}
static CK_RV last_twice(const struct family *f)
{
    CK_SESSION_HANDLE s = begin(f);

    MUST(f->part(s, message, MESSAGE_LEN, out, &len));
    len = sizeof(out);
    MUST(f->last(s, out, &len));
    len = sizeof(out);
    return f->last(s, out, &len);
}
static CK_RV last_no_length(const struct family *f)
{
    CK_SESSION_HANDLE s = begin(f);
    CK_RV rv;

    MUST(f->part(s, message, MESSAGE_LEN, out, &len));
    rv = f->last(s, out, NULL);
    can_begin(f, s);
    return rv;
}
static CK_RV last_too_small(const struct family *f)
{
    CK_SESSION_HANDLE s = begin(f);
    CK_RV rv;

    MUST(f->part(s, message, MESSAGE_LEN, out, &len));
    again_len = 0;
    MUST(f->last(s, NULL, &again_len));
    CHECK(again_len > 1);
    again_len = 1;
    rv = f->last(s, again, &again_len);
    CHECK(again_len > 1);
    MUST(f->last(s, again, &again_len));
    return rv;
}
static CK_RV last_bad_len(const struct family *f)
{
    CK_SESSION_HANDLE s = begin(f);
    CK_RV rv;

    MUST(f->part(s, message, MESSAGE_LEN - 1, out, &len));
    len = sizeof(out);
    rv = f->last(s, out, &len);
    can_begin(f, s);
    return rv;
}

/* --- the rows --- */

#define R(name, id, function, want, also, when, call)                                                                  \
    ROW_AS(name##_##id, function, want, also, when)                                                                    \
    {                                                                                                                  \
        return call;                                                                                                   \
    }
#define R1(name, id, function, want, when, call) R(name, id, function, want, want, when, call)

#define EVERY_FAMILY(name)                                                                                             \
    R1(name, twice, C_##name##Init, CKR_OPERATION_ACTIVE, "twice", init_twice(&name))                                  \
    R1(name, none, C_##name##Init, CKR_MECHANISM_INVALID, "a mechanism that does not exist",                           \
       init_with(&name, (CK_MECHANISM){NO_MECHANISM, NULL, 0}, MAY_ENCRYPT))                                           \
    R1(name, other, C_##name##Init, CKR_MECHANISM_INVALID, "a mechanism that makes keys",                              \
       init_with(&name, (CK_MECHANISM){CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0}, MAY_ENCRYPT))                              \
    R1(name, whole, C_##name, CKR_OK, "the same as in parts of five bytes", whole_in_parts(&name))                     \
    R1(name, whole_none, C_##name, CKR_OPERATION_NOT_INITIALIZED, "no operation is active",                            \
       name.whole(open_user(), message, MESSAGE_LEN, out, &len))                                                       \
    R1(name, whole_twice, C_##name, CKR_OPERATION_NOT_INITIALIZED, "twice", whole_twice(&name))                        \
    R1(name, whole_no_input, C_##name, CKR_ARGUMENTS_BAD, "the data are NULL, their length is not 0; it is over",      \
       whole_no_input(&name))                                                                                          \
    R1(name, whole_empty, C_##name, CKR_OK, "no data", whole_empty(&name, message))                                    \
    R1(name, whole_null, C_##name, CKR_OK, "no data, and NULL", whole_empty(&name, NULL))                              \
    R(name, mixed, C_##name, CKR_OPERATION_ACTIVE, CKR_OPERATION_NOT_INITIALIZED, "after a part",                      \
      whole_after_part(&name))                                                                                         \
    R1(name, part_none, C_##name##Update, CKR_OPERATION_NOT_INITIALIZED, "no operation is active",                     \
       part_of_none(&name))                                                                                            \
    R1(name, part_late, C_##name##Update, CKR_OPERATION_NOT_INITIALIZED, "after the whole", part_after_whole(&name))   \
    R1(name, part_no_input, C_##name##Update, CKR_ARGUMENTS_BAD, "the part is NULL, its length is not 0; it is over",  \
       part_no_input(&name))                                                                                           \
    R1(name, part_empty, C_##name##Update, CKR_OK, "an empty part that is NULL", part_empty(&name))                    \
    R1(name, last_none, C_##name##Final, CKR_OPERATION_NOT_INITIALIZED, "no operation is active", last_of_none(&name)) \
    R1(name, last_twice, C_##name##Final, CKR_OPERATION_NOT_INITIALIZED, "twice", last_twice(&name))
EVERY_FAMILY(Encrypt)
EVERY_FAMILY(Decrypt)
EVERY_FAMILY(Digest)
EVERY_FAMILY(Sign)
EVERY_FAMILY(Verify)

#define WITH_OUTPUT(name)                                                                                              \
    R1(name, sized, C_##name, CKR_OK, "the length first", whole_sized(&name))                                          \
    R1(name, small, C_##name, CKR_BUFFER_TOO_SMALL, "room for one byte; then with enough", whole_too_small(&name))     \
    R1(name, no_length, C_##name, CKR_ARGUMENTS_BAD, "the output's length is NULL; it is over",                        \
       whole_no_length(&name))                                                                                         \
    R1(name, last_no_length, C_##name##Final, CKR_ARGUMENTS_BAD, "the output's length is NULL; it is over",            \
       last_no_length(&name))
WITH_OUTPUT(Encrypt)
WITH_OUTPUT(Decrypt)
WITH_OUTPUT(Digest)
WITH_OUTPUT(Sign)
R1(Digest, last_small, C_DigestFinal, CKR_BUFFER_TOO_SMALL, "the length first, room for one byte, then enough",
   last_too_small(&Digest))
R1(Sign, last_small, C_SignFinal, CKR_BUFFER_TOO_SMALL, "the length first, room for one byte, then enough",
   last_too_small(&Sign))

#define CIPHER(name)                                                                                                   \
    R1(name, bad_len, C_##name, name##_bad, "a block that is not whole; it is over", whole_bad_len(&name))             \
    R1(name, last_bad_len, C_##name##Final, name##_bad, "a block that is not whole; it is over", last_bad_len(&name))  \
    R1(name, in_place, C_##name, CKR_OK, "output over the input", whole_in_place(&name))                               \
    R1(name, part_no_length, C_##name##Update, CKR_ARGUMENTS_BAD, "the output's length is NULL; it is over",           \
       part_no_length(&name))                                                                                          \
    R1(name, part_small, C_##name##Update, CKR_BUFFER_TOO_SMALL, "room for one byte; then with enough",                \
       part_too_small(&name))
#define Encrypt_bad CKR_DATA_LEN_RANGE
#define Decrypt_bad CKR_ENCRYPTED_DATA_LEN_RANGE
CIPHER(Encrypt)
CIPHER(Decrypt)

static CK_RV init_logged_out(const struct family *f)
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE key = f->mech == &cbc ? aes(s, MAY_ENCRYPT | ON_TOKEN) : aes(s, MAY_SIGN | OF_GENERIC | ON_TOKEN);

    MUST(F->C_Logout(s));
    return f->init(s, f->mech, key);
}
static CK_RV init_with_data(const struct family *f)
{
    CK_SESSION_HANDLE s = open_user();

    return f->init(s, f->mech, data_object(s, false, true));
}
static CK_RV init_wrong_type(const struct family *f)
{
    CK_SESSION_HANDLE s = open_user();

    return f->init(s, f->mech, pair(s, CKK_EC, CKO_PRIVATE_KEY));
}

#define KEYED(name, no_use)                                                                                            \
    R1(name, no_key, C_##name##Init, CKR_KEY_HANDLE_INVALID, "a key that does not exist",                              \
       name.init(open_user(), name.mech, NO_HANDLE))                                                                   \
    R1(name, zero_key, C_##name##Init, CKR_KEY_HANDLE_INVALID, "key handle 0", name.init(open_user(), name.mech, 0))   \
    R1(name, data_key, C_##name##Init, CKR_KEY_HANDLE_INVALID, "a data object", init_with_data(&name))                 \
    R(name, logged_out, C_##name##Init, CKR_KEY_HANDLE_INVALID, CKR_USER_NOT_LOGGED_IN,                                \
      "a private key after C_Logout", init_logged_out(&name))                                                          \
    R1(name, type, C_##name##Init, CKR_KEY_TYPE_INCONSISTENT, "an EC key", init_wrong_type(&name))                     \
    R1(name, use, C_##name##Init, CKR_KEY_FUNCTION_NOT_PERMITTED, "a key that may not",                                \
       init_with(&name, *name.mech, no_use))                                                                           \
    R1(name, digest, C_##name##Init, CKR_MECHANISM_INVALID, "a digest mechanism",                                      \
       init_with(&name, (CK_MECHANISM){CKM_SHA256, NULL, 0}, MAY_ENCRYPT))
KEYED(Encrypt, MAY_SIGN)
KEYED(Decrypt, MAY_SIGN)
KEYED(Sign, MAY_DERIVE | OF_GENERIC)
KEYED(Verify, MAY_DERIVE | OF_GENERIC)

#define CBC_PARAMETER(name)                                                                                            \
    R1(name, no_iv, C_##name##Init, CKR_MECHANISM_PARAM_INVALID, "CBC without IV",                                     \
       init_with(&name, (CK_MECHANISM){CKM_AES_CBC, NULL, 0}, MAY_ENCRYPT))                                            \
    R1(name, short_iv, C_##name##Init, CKR_MECHANISM_PARAM_INVALID, "CBC with an IV of 15 bytes",                      \
       init_with(&name, (CK_MECHANISM){CKM_AES_CBC, iv, 15}, MAY_ENCRYPT))                                             \
    R(name, null_iv, C_##name##Init, CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD,                                   \
      "CBC with an IV that is NULL, its length is not 0",                                                              \
      init_with(&name, (CK_MECHANISM){CKM_AES_CBC, NULL, 16}, MAY_ENCRYPT))
CBC_PARAMETER(Encrypt)
CBC_PARAMETER(Decrypt)

/* 3.0: a NULL mechanism ends an active operation; 2.40: CKR_ARGUMENTS_BAD. */
#define CANCEL(name)                                                                                                   \
    R(name, null, C_##name##Init, CKR_ARGUMENTS_BAD, CKR_OPERATION_NOT_INITIALIZED, "NULL mechanism, nothing active",  \
      name.init(open_user(), NULL, 0))
CANCEL(Encrypt)
CANCEL(Decrypt)
CANCEL(Digest)
CANCEL(Sign)
CANCEL(Verify)

/* --- what is Verify's own --- */

static CK_RV verify(CK_BYTE *bytes, CK_ULONG n, bool in_parts)
{
    CK_SESSION_HANDLE s = begin(&Verify);
    CK_RV rv;

    if (bytes == signature)
        bytes[0] ^= 1;
    if (in_parts)
        MUST(F->C_VerifyUpdate(s, message, MESSAGE_LEN));
    rv = in_parts ? F->C_VerifyFinal(s, bytes, n) : F->C_Verify(s, message, MESSAGE_LEN, bytes, n);
    if (bytes == signature)
        bytes[0] ^= 1;
    can_begin(&Verify, s);
    return rv;
}
ROW(C_Verify, CKR_SIGNATURE_INVALID, "a wrong signature; it is over")
{
    return verify(signature, sizeof(signature), false);
}
ROW(C_Verify, CKR_SIGNATURE_LEN_RANGE, "a signature that is too short; it is over")
{
    return verify(signature, sizeof(signature) - 1, false);
}
ROW(C_Verify, CKR_ARGUMENTS_BAD, "the signature is NULL, its length is not 0; it is over")
{
    return verify(NULL, sizeof(signature), false);
}
ROW(C_VerifyFinal, CKR_SIGNATURE_INVALID, "a wrong signature; it is over")
{
    return verify(signature, sizeof(signature), true);
}
ROW(C_VerifyFinal, CKR_SIGNATURE_LEN_RANGE, "a signature that is too short; it is over")
{
    return verify(signature, sizeof(signature) - 1, true);
}
ROW(C_VerifyFinal, CKR_ARGUMENTS_BAD, "the signature is NULL, its length is not 0; it is over")
{
    return verify(NULL, sizeof(signature), true);
}
