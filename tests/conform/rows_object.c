/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects: making, copying, reading, changing, finding, destroying (v2.40 5.7, 4.x).
 */
#include "keys.h"

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_OBJECT_CLASS data_class = CKO_DATA, secret_class = CKO_SECRET_KEY, no_class = 0x77777777;
static CK_KEY_TYPE aes_type = CKK_AES;
static CK_BYTE value[32] = "0123456789abcde";

static CK_RV create(CK_SESSION_HANDLE s, CK_ATTRIBUTE *template, CK_ULONG n)
{
    CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
    CK_RV rv = F->C_CreateObject(s, template, n, &object);

    if (rv == CKR_OK)
        CHECK(object != CK_INVALID_HANDLE);
    return rv;
}

/* A session data object with one attribute more. */
static CK_RV create_data(CK_SESSION_HANDLE s, CK_ATTRIBUTE more)
{
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &data_class, sizeof(data_class)}, {CKA_LABEL, "conform", 7}, {CKA_PRIVATE, &no, 1}, more};

    return create(s, template, 4);
}
static CK_RV create_aes(CK_SESSION_HANDLE s, CK_ATTRIBUTE more)
{
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)},
                               {CKA_KEY_TYPE, &aes_type, sizeof(aes_type)},
                               {CKA_VALUE, value, sizeof(value)},
                               {CKA_LABEL, "conform", 7},
                               more};

    return create(s, template, 5);
}

/* --- C_CreateObject --- */

ROW(C_CreateObject, CKR_OK, "public data in a read-only public session")
{
    return create_data(open_ro(), (CK_ATTRIBUTE){CKA_VALUE, "x", 1});
}
ROW(C_CreateObject, CKR_OK, "an empty value")
{
    return create_data(open_ro(), (CK_ATTRIBUTE){CKA_VALUE, NULL, 0});
}
ROW(C_CreateObject, CKR_OK, "a secret key")
{
    return create_aes(open_user(), (CK_ATTRIBUTE){CKA_ENCRYPT, &yes, 1});
}
ROW(C_CreateObject, CKR_OK, "an X.509 certificate")
{
    CK_OBJECT_CLASS class = CKO_CERTIFICATE;
    CK_CERTIFICATE_TYPE type = CKC_X_509;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_CERTIFICATE_TYPE, &type, sizeof(type)},
                               {CKA_SUBJECT, "\x30\x00", 2},
                               {CKA_VALUE, "\x30\x00", 2},
                               {CKA_PRIVATE, &no, 1}};

    return create(open_rw(), template, 5);
}
ROW(C_CreateObject, CKR_OK, "an RSA public key")
{
    static CK_BYTE modulus[256], e[] = {1, 0, 1};
    CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    CK_KEY_TYPE type = CKK_RSA;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_KEY_TYPE, &type, sizeof(type)},
                               {CKA_MODULUS, modulus, sizeof(modulus)},
                               {CKA_PUBLIC_EXPONENT, e, sizeof(e)},
                               {CKA_VERIFY, &yes, 1}};

    memset(modulus, 0xc3, sizeof(modulus));
    return create(open_user(), template, 5);
}
ROW(C_CreateObject, CKR_TEMPLATE_INCOMPLETE, "no class")
{
    CK_ATTRIBUTE template[] = {{CKA_LABEL, "x", 1}};

    return create(open_user(), template, 1);
}
ROW(C_CreateObject, CKR_TEMPLATE_INCOMPLETE, "an empty template")
{
    return create(open_user(), NULL, 0);
}
ROW(C_CreateObject, CKR_TEMPLATE_INCOMPLETE, "a secret key without type")
{
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)}, {CKA_VALUE, value, sizeof(value)}};

    return create(open_user(), template, 2);
}
ROW(C_CreateObject, CKR_TEMPLATE_INCOMPLETE, "a secret key without value")
{
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)},
                               {CKA_KEY_TYPE, &aes_type, sizeof(aes_type)}};

    return create(open_user(), template, 2);
}
ROW_OR(C_CreateObject, CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT, "a class that does not exist")
{
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &no_class, sizeof(no_class)}};

    return create(open_user(), template, 1);
}
ROW_OR(C_CreateObject, CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT, "a boolean of four bytes")
{
    CK_ULONG one = 1;

    return create_data(open_user(), (CK_ATTRIBUTE){CKA_TOKEN, &one, 4});
}
ROW_OR(C_CreateObject, CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT, "a class of four bytes")
{
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &data_class, 4}};

    return create(open_user(), template, 1);
}
ROW_OR(C_CreateObject, CKR_ATTRIBUTE_VALUE_INVALID, CKR_KEY_SIZE_RANGE, "an AES key of 17 bytes")
{
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)},
                               {CKA_KEY_TYPE, &aes_type, sizeof(aes_type)},
                               {CKA_VALUE, "0123456789abcdefg", 17}};

    return create(open_user(), template, 3);
}
ROW_OR(C_CreateObject, CKR_ATTRIBUTE_VALUE_INVALID, CKR_ARGUMENTS_BAD, "a value is NULL, its length is not 0")
{
    return create_data(open_user(), (CK_ATTRIBUTE){CKA_VALUE, NULL, 5});
}
ROW_OR(C_CreateObject, CKR_ATTRIBUTE_TYPE_INVALID, CKR_TEMPLATE_INCONSISTENT, "a modulus in a data object")
{
    return create_data(open_user(), (CK_ATTRIBUTE){CKA_MODULUS, value, sizeof(value)});
}
ROW(C_CreateObject, CKR_ATTRIBUTE_TYPE_INVALID, "an attribute that does not exist")
{
    return create_data(open_user(), (CK_ATTRIBUTE){0x0fff0000, value, sizeof(value)});
}
ROW_OR(C_CreateObject, CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT, "CKA_LOCAL")
{
    return create_aes(open_user(), (CK_ATTRIBUTE){CKA_LOCAL, &yes, 1});
}
ROW_OR(C_CreateObject, CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT, "CKA_ALWAYS_SENSITIVE")
{
    return create_aes(open_user(), (CK_ATTRIBUTE){CKA_ALWAYS_SENSITIVE, &yes, 1});
}
ROW_OR(C_CreateObject, CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT, "CKA_NEVER_EXTRACTABLE")
{
    return create_aes(open_user(), (CK_ATTRIBUTE){CKA_NEVER_EXTRACTABLE, &yes, 1});
}
ROW_OR(C_CreateObject, CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT, "CKA_TRUSTED by the user")
{
    return create_aes(open_user(), (CK_ATTRIBUTE){CKA_TRUSTED, &yes, 1});
}
ROW(C_CreateObject, CKR_TEMPLATE_INCONSISTENT, "an attribute twice with different values")
{
    return create_data(open_user(), (CK_ATTRIBUTE){CKA_LABEL, "other", 5});
}
ROW(C_CreateObject, CKR_SESSION_READ_ONLY, "a token object in a read-only session")
{
    CK_SESSION_HANDLE s = open_ro();

    MUST(F->C_Login(s, CKU_USER, TEXT(user_pin)));
    return create_data(s, (CK_ATTRIBUTE){CKA_TOKEN, &yes, 1});
}
ROW(C_CreateObject, CKR_USER_NOT_LOGGED_IN, "a private object, nobody logged in")
{
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &data_class, sizeof(data_class)}, {CKA_PRIVATE, &yes, 1}};

    return create(open_rw(), template, 2);
}
ROW(C_CreateObject, CKR_USER_NOT_LOGGED_IN, "a private object by the SO")
{
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &data_class, sizeof(data_class)}, {CKA_PRIVATE, &yes, 1}};

    return create(open_so(), template, 2);
}
ROW(C_CreateObject, CKR_ARGUMENTS_BAD, "pTemplate is NULL, ulCount is not 0")
{
    return create(open_user(), NULL, 3);
}
ROW(C_CreateObject, CKR_ARGUMENTS_BAD, "phObject is NULL")
{
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &data_class, sizeof(data_class)}, {CKA_PRIVATE, &no, 1}};

    return F->C_CreateObject(open_user(), template, 2, NULL);
}

/* --- C_CopyObject --- */

static CK_RV copy(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE change)
{
    CK_OBJECT_HANDLE twin = CK_INVALID_HANDLE;
    CK_RV rv = F->C_CopyObject(s, object, &change, 1, &twin);

    if (rv == CKR_OK)
        CHECK(twin != CK_INVALID_HANDLE && twin != object);
    return rv;
}
static CK_OBJECT_HANDLE data_with(CK_SESSION_HANDLE s, CK_ATTRIBUTE more)
{
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &data_class, sizeof(data_class)}, {CKA_LABEL, "conform", 7}, {CKA_PRIVATE, &no, 1}, more};
    CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;

    MUST(F->C_CreateObject(s, template, 4, &object));
    return object;
}

ROW(C_CopyObject, CKR_OK, "another label; the value is the same, the first keeps its label")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE object = data_object(s, false, true), twin = 0;
    CK_ATTRIBUTE change = {CKA_LABEL, "copy", 4};
    CK_BYTE label[16], bytes[16];
    CK_ATTRIBUTE read[] = {{CKA_LABEL, label, 16}, {CKA_VALUE, bytes, 16}};
    CK_RV rv = F->C_CopyObject(s, object, &change, 1, &twin);

    MUST(F->C_GetAttributeValue(s, twin, read, 2));
    CHECK(read[0].ulValueLen == 4 && memcmp(label, "copy", 4) == 0);
    CHECK(read[1].ulValueLen == 5 && memcmp(bytes, "value", 5) == 0);
    read[0].ulValueLen = 16;
    MUST(F->C_GetAttributeValue(s, object, read, 1));
    CHECK(read[0].ulValueLen == 7 && memcmp(label, "conform", 7) == 0);
    return rv;
}
ROW(C_CopyObject, CKR_OK, "no change")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE twin;

    return F->C_CopyObject(s, data_object(s, false, true), NULL, 0, &twin);
}
ROW(C_CopyObject, CKR_OK, "from the session to the token")
{
    CK_SESSION_HANDLE s = open_user();

    return copy(s, data_object(s, false, true), (CK_ATTRIBUTE){CKA_TOKEN, &yes, 1});
}
ROW(C_CopyObject, CKR_OK, "a secret key, then sensitive")
{
    CK_SESSION_HANDLE s = open_user();

    return copy(s, aes(s, MAY_ENCRYPT), (CK_ATTRIBUTE){CKA_SENSITIVE, &yes, 1});
}
ROW_OR(C_CopyObject, CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT, "a sensitive key, then not")
{
    CK_SESSION_HANDLE s = open_user();

    return copy(s, aes(s, MAY_ENCRYPT | IS_SENSITIVE), (CK_ATTRIBUTE){CKA_SENSITIVE, &no, 1});
}
ROW_OR(C_CopyObject, CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT, "an unextractable key, then extractable")
{
    CK_SESSION_HANDLE s = open_user();

    return copy(s, aes(s, MAY_ENCRYPT | IS_KEPT), (CK_ATTRIBUTE){CKA_EXTRACTABLE, &yes, 1});
}
ROW_OR(C_CopyObject, CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT, "another class")
{
    CK_SESSION_HANDLE s = open_user();

    return copy(s, data_object(s, false, true), (CK_ATTRIBUTE){CKA_CLASS, &secret_class, sizeof(secret_class)});
}
ROW(C_CopyObject, CKR_ACTION_PROHIBITED, "CKA_COPYABLE is false")
{
    CK_SESSION_HANDLE s = open_user();

    return copy(s, data_with(s, (CK_ATTRIBUTE){CKA_COPYABLE, &no, 1}), (CK_ATTRIBUTE){CKA_LABEL, "copy", 4});
}
ROW(C_CopyObject, CKR_SESSION_READ_ONLY, "to the token in a read-only session")
{
    CK_SESSION_HANDLE s = open_ro();

    return copy(s, data_object(s, false, false), (CK_ATTRIBUTE){CKA_TOKEN, &yes, 1});
}
ROW(C_CopyObject, CKR_USER_NOT_LOGGED_IN, "to a private object, nobody logged in")
{
    CK_SESSION_HANDLE s = open_rw();

    return copy(s, data_object(s, false, false), (CK_ATTRIBUTE){CKA_PRIVATE, &yes, 1});
}
ROW(C_CopyObject, CKR_OBJECT_HANDLE_INVALID, "an object that does not exist")
{
    return copy(open_user(), NO_HANDLE, (CK_ATTRIBUTE){CKA_LABEL, "copy", 4});
}
ROW(C_CopyObject, CKR_ARGUMENTS_BAD, "phNewObject is NULL")
{
    CK_SESSION_HANDLE s = open_user();
    CK_ATTRIBUTE change = {CKA_LABEL, "copy", 4};

    return F->C_CopyObject(s, data_object(s, false, true), &change, 1, NULL);
}
ROW(C_CopyObject, CKR_ARGUMENTS_BAD, "pTemplate is NULL, ulCount is not 0")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE twin;

    return F->C_CopyObject(s, data_object(s, false, true), NULL, 1, &twin);
}

/* --- C_DestroyObject --- */

ROW(C_DestroyObject, CKR_OK, "a session object")
{
    CK_SESSION_HANDLE s = open_user();

    return F->C_DestroyObject(s, data_object(s, false, true));
}
ROW(C_DestroyObject, CKR_OK, "a session object in a read-only session")
{
    CK_SESSION_HANDLE s = open_ro();

    return F->C_DestroyObject(s, data_object(s, false, false));
}
ROW(C_DestroyObject, CKR_OK, "a token object")
{
    CK_SESSION_HANDLE s = open_user();

    return F->C_DestroyObject(s, data_object(s, true, true));
}
ROW(C_DestroyObject, CKR_OBJECT_HANDLE_INVALID, "an object that does not exist")
{
    return F->C_DestroyObject(open_user(), NO_HANDLE);
}
ROW(C_DestroyObject, CKR_OBJECT_HANDLE_INVALID, "twice")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE object = data_object(s, true, true);

    MUST(F->C_DestroyObject(s, object));
    return F->C_DestroyObject(s, object);
}
ROW(C_DestroyObject, CKR_OBJECT_HANDLE_INVALID, "a session object whose session is closed")
{
    CK_SESSION_HANDLE s = open_user(), other = open_rw();
    CK_OBJECT_HANDLE object = data_object(other, false, true);

    MUST(F->C_CloseSession(other));
    return F->C_DestroyObject(s, object);
}
ROW_OR(C_DestroyObject, CKR_OBJECT_HANDLE_INVALID, CKR_USER_NOT_LOGGED_IN, "a private object after C_Logout")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE object = data_object(s, true, true);

    MUST(F->C_Logout(s));
    return F->C_DestroyObject(s, object);
}
ROW(C_DestroyObject, CKR_ACTION_PROHIBITED, "CKA_DESTROYABLE is false")
{
    CK_SESSION_HANDLE s = open_user();

    return F->C_DestroyObject(s, data_with(s, (CK_ATTRIBUTE){CKA_DESTROYABLE, &no, 1}));
}
ROW(C_DestroyObject, CKR_SESSION_READ_ONLY, "a token object in a read-only session")
{
    CK_SESSION_HANDLE s = open_user();

    return F->C_DestroyObject(open_ro(), data_object(s, true, true));
}

/* --- C_GetObjectSize --- */

ROW_OR(C_GetObjectSize, CKR_OK, CKR_INFORMATION_SENSITIVE, "a data object")
{
    CK_SESSION_HANDLE s = open_user();
    CK_ULONG size = 0;

    return F->C_GetObjectSize(s, data_object(s, false, true), &size);
}
ROW(C_GetObjectSize, CKR_OBJECT_HANDLE_INVALID, "an object that does not exist")
{
    CK_ULONG size = 0;

    return F->C_GetObjectSize(open_user(), NO_HANDLE, &size);
}
ROW(C_GetObjectSize, CKR_ARGUMENTS_BAD, "pulSize is NULL")
{
    CK_SESSION_HANDLE s = open_user();

    return F->C_GetObjectSize(s, data_object(s, false, true), NULL);
}

/* --- C_GetAttributeValue --- */

ROW(C_GetAttributeValue, CKR_OK, "lengths, then values")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE object = data_object(s, false, true);
    CK_BYTE bytes[5];
    CK_OBJECT_CLASS class = 0;
    CK_ATTRIBUTE read[] = {{CKA_VALUE, NULL, 0}, {CKA_CLASS, NULL, 0}};

    MUST(F->C_GetAttributeValue(s, object, read, 2));
    CHECK(read[0].ulValueLen == 5 && read[1].ulValueLen == sizeof(class));
    read[0].pValue = bytes;
    read[1].pValue = &class;
    CK_RV rv = F->C_GetAttributeValue(s, object, read, 2);
    CHECK(class == CKO_DATA && memcmp(bytes, "value", 5) == 0);
    return rv;
}
ROW(C_GetAttributeValue, CKR_OK, "a public object's, nobody logged in")
{
    CK_SESSION_HANDLE s = open_ro();
    CK_ATTRIBUTE read = {CKA_VALUE, NULL, 0};

    return F->C_GetAttributeValue(s, data_object(s, false, false), &read, 1);
}
ROW(C_GetAttributeValue, CKR_BUFFER_TOO_SMALL, "one has no room; the others are read")
{
    CK_SESSION_HANDLE s = open_user();
    CK_BYTE bytes[5], label[16];
    CK_ATTRIBUTE read[] = {{CKA_VALUE, bytes, 4}, {CKA_LABEL, label, 16}};
    CK_RV rv = F->C_GetAttributeValue(s, data_object(s, false, true), read, 2);

    CHECK(read[0].ulValueLen == CK_UNAVAILABLE_INFORMATION && read[1].ulValueLen == 7);
    return rv;
}
ROW(C_GetAttributeValue, CKR_ATTRIBUTE_TYPE_INVALID, "one does not exist; the others are read")
{
    CK_SESSION_HANDLE s = open_user();
    CK_BYTE bytes[16], label[16];
    CK_ATTRIBUTE read[] = {{CKA_MODULUS, bytes, 16}, {CKA_LABEL, label, 16}};
    CK_RV rv = F->C_GetAttributeValue(s, data_object(s, false, true), read, 2);

    CHECK(read[0].ulValueLen == CK_UNAVAILABLE_INFORMATION && read[1].ulValueLen == 7);
    return rv;
}
ROW(C_GetAttributeValue, CKR_ATTRIBUTE_SENSITIVE, "a sensitive key's value; the others are read")
{
    CK_SESSION_HANDLE s = open_user();
    CK_BYTE bytes[16] = {0}, label[16];
    CK_ATTRIBUTE read[] = {{CKA_VALUE, bytes, 16}, {CKA_LABEL, label, 16}};
    CK_RV rv = F->C_GetAttributeValue(s, aes(s, MAY_ENCRYPT | IS_SENSITIVE), read, 2);

    CHECK(read[0].ulValueLen == CK_UNAVAILABLE_INFORMATION && read[1].ulValueLen == 7 && bytes[0] == 0);
    return rv;
}
ROW(C_GetAttributeValue, CKR_ATTRIBUTE_SENSITIVE, "an unextractable key's value")
{
    CK_SESSION_HANDLE s = open_user();
    CK_BYTE bytes[16];
    CK_ATTRIBUTE read = {CKA_VALUE, bytes, 16};

    return F->C_GetAttributeValue(s, aes(s, MAY_ENCRYPT | IS_KEPT), &read, 1);
}
ROW(C_GetAttributeValue, CKR_ATTRIBUTE_SENSITIVE, "the length of a sensitive key's value")
{
    CK_SESSION_HANDLE s = open_user();
    CK_ATTRIBUTE read = {CKA_VALUE, NULL, 0};

    return F->C_GetAttributeValue(s, aes(s, MAY_ENCRYPT | IS_SENSITIVE), &read, 1);
}
ROW(C_GetAttributeValue, CKR_OK, "the value of a key that is neither sensitive nor unextractable")
{
    CK_SESSION_HANDLE s = open_user();
    CK_BYTE bytes[64];
    CK_ATTRIBUTE read = {CKA_VALUE, bytes, 64};
    CK_RV rv = F->C_GetAttributeValue(s, aes(s, MAY_ENCRYPT), &read, 1);

    CHECK(read.ulValueLen == 32 && memcmp(bytes, value, 32) == 0);
    return rv;
}
ROW(C_GetAttributeValue, CKR_OBJECT_HANDLE_INVALID, "an object that does not exist")
{
    CK_ATTRIBUTE read = {CKA_VALUE, NULL, 0};

    return F->C_GetAttributeValue(open_user(), NO_HANDLE, &read, 1);
}
ROW(C_GetAttributeValue, CKR_OBJECT_HANDLE_INVALID, "a private object after C_Logout")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE object = data_object(s, true, true);
    CK_ATTRIBUTE read = {CKA_VALUE, NULL, 0};

    MUST(F->C_Logout(s));
    return F->C_GetAttributeValue(s, object, &read, 1);
}
ROW(C_GetAttributeValue, CKR_ARGUMENTS_BAD, "pTemplate is NULL, ulCount is not 0")
{
    CK_SESSION_HANDLE s = open_user();

    return F->C_GetAttributeValue(s, data_object(s, false, true), NULL, 1);
}

/* --- C_SetAttributeValue --- */

static CK_RV set(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE change)
{
    return F->C_SetAttributeValue(s, object, &change, 1);
}

ROW(C_SetAttributeValue, CKR_OK, "a label of a session object")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE object = data_object(s, false, true);
    CK_BYTE label[16];
    CK_ATTRIBUTE read = {CKA_LABEL, label, 16};
    CK_RV rv = set(s, object, (CK_ATTRIBUTE){CKA_LABEL, "other", 5});

    MUST(F->C_GetAttributeValue(s, object, &read, 1));
    CHECK(read.ulValueLen == 5 && memcmp(label, "other", 5) == 0);
    return rv;
}
ROW(C_SetAttributeValue, CKR_OK, "the value of a token object")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE object = data_object(s, true, true);
    CK_ATTRIBUTE read = {CKA_VALUE, NULL, 0};
    CK_RV rv = set(s, object, (CK_ATTRIBUTE){CKA_VALUE, "longer value", 12});

    MUST(F->C_GetAttributeValue(s, object, &read, 1));
    CHECK(read.ulValueLen == 12);
    return rv;
}
ROW(C_SetAttributeValue, CKR_OK, "CKA_SENSITIVE from false to true")
{
    CK_SESSION_HANDLE s = open_user();

    return set(s, aes(s, MAY_ENCRYPT), (CK_ATTRIBUTE){CKA_SENSITIVE, &yes, 1});
}
ROW(C_SetAttributeValue, CKR_OK, "CKA_EXTRACTABLE from true to false")
{
    CK_SESSION_HANDLE s = open_user();

    return set(s, aes(s, MAY_ENCRYPT), (CK_ATTRIBUTE){CKA_EXTRACTABLE, &no, 1});
}
ROW(C_SetAttributeValue, CKR_ATTRIBUTE_READ_ONLY, "CKA_SENSITIVE from true to false")
{
    CK_SESSION_HANDLE s = open_user();

    return set(s, aes(s, MAY_ENCRYPT | IS_SENSITIVE), (CK_ATTRIBUTE){CKA_SENSITIVE, &no, 1});
}
ROW(C_SetAttributeValue, CKR_ATTRIBUTE_READ_ONLY, "CKA_EXTRACTABLE from false to true")
{
    CK_SESSION_HANDLE s = open_user();

    return set(s, aes(s, MAY_ENCRYPT | IS_KEPT), (CK_ATTRIBUTE){CKA_EXTRACTABLE, &yes, 1});
}
ROW(C_SetAttributeValue, CKR_ATTRIBUTE_READ_ONLY, "CKA_CLASS")
{
    CK_SESSION_HANDLE s = open_user();

    return set(s, data_object(s, false, true), (CK_ATTRIBUTE){CKA_CLASS, &data_class, sizeof(data_class)});
}
ROW(C_SetAttributeValue, CKR_ATTRIBUTE_READ_ONLY, "CKA_KEY_TYPE")
{
    CK_SESSION_HANDLE s = open_user();

    return set(s, aes(s, MAY_ENCRYPT), (CK_ATTRIBUTE){CKA_KEY_TYPE, &aes_type, sizeof(aes_type)});
}
ROW(C_SetAttributeValue, CKR_ATTRIBUTE_READ_ONLY, "CKA_VALUE of a key")
{
    CK_SESSION_HANDLE s = open_user();

    return set(s, aes(s, MAY_ENCRYPT), (CK_ATTRIBUTE){CKA_VALUE, value, sizeof(value)});
}
ROW(C_SetAttributeValue, CKR_ATTRIBUTE_READ_ONLY, "CKA_TOKEN")
{
    CK_SESSION_HANDLE s = open_user();

    return set(s, data_object(s, false, true), (CK_ATTRIBUTE){CKA_TOKEN, &yes, 1});
}
ROW(C_SetAttributeValue, CKR_ATTRIBUTE_READ_ONLY, "CKA_LOCAL")
{
    CK_SESSION_HANDLE s = open_user();

    return set(s, aes(s, MAY_ENCRYPT), (CK_ATTRIBUTE){CKA_LOCAL, &yes, 1});
}
ROW_OR(C_SetAttributeValue, CKR_ACTION_PROHIBITED, CKR_ATTRIBUTE_READ_ONLY, "CKA_MODIFIABLE is false")
{
    CK_SESSION_HANDLE s = open_user();

    return set(s, data_with(s, (CK_ATTRIBUTE){CKA_MODIFIABLE, &no, 1}), (CK_ATTRIBUTE){CKA_LABEL, "other", 5});
}
ROW_OR(C_SetAttributeValue, CKR_ATTRIBUTE_TYPE_INVALID, CKR_TEMPLATE_INCONSISTENT, "an attribute that does not exist")
{
    CK_SESSION_HANDLE s = open_user();

    return set(s, data_object(s, false, true), (CK_ATTRIBUTE){0x0fff0000, value, 1});
}
ROW_OR(C_SetAttributeValue, CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT, "a boolean of two bytes")
{
    CK_SESSION_HANDLE s = open_user();

    return set(s, aes(s, MAY_ENCRYPT), (CK_ATTRIBUTE){CKA_ENCRYPT, value, 2});
}
ROW(C_SetAttributeValue, CKR_SESSION_READ_ONLY, "a token object in a read-only session")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE object = data_object(s, true, true);

    return set(open_ro(), object, (CK_ATTRIBUTE){CKA_LABEL, "other", 5});
}
ROW(C_SetAttributeValue, CKR_OBJECT_HANDLE_INVALID, "an object that does not exist")
{
    return set(open_user(), NO_HANDLE, (CK_ATTRIBUTE){CKA_LABEL, "other", 5});
}
ROW(C_SetAttributeValue, CKR_ARGUMENTS_BAD, "pTemplate is NULL, ulCount is not 0")
{
    CK_SESSION_HANDLE s = open_user();

    return F->C_SetAttributeValue(s, data_object(s, false, true), NULL, 1);
}

/* --- C_FindObjectsInit, C_FindObjects, C_FindObjectsFinal --- */

static CK_ULONG count(CK_SESSION_HANDLE s, const char *label)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *)label, strlen(label)};
    CK_OBJECT_HANDLE found[16];
    CK_ULONG n = 0, all = 0;

    MUST(F->C_FindObjectsInit(s, &template, 1));
    do {
        MUST(F->C_FindObjects(s, found, 2, &n));
        CHECK(n <= 2);
        all += n;
    } while (n > 0);
    MUST(F->C_FindObjectsFinal(s));
    return all;
}
static CK_OBJECT_HANDLE labelled(CK_SESSION_HANDLE s, const char *label, CK_BBOOL is_private)
{
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &data_class, sizeof(data_class)},
                               {CKA_LABEL, (void *)label, strlen(label)},
                               {CKA_PRIVATE, &is_private, 1}};
    CK_OBJECT_HANDLE object;

    MUST(F->C_CreateObject(s, template, 3, &object));
    return object;
}

ROW(C_FindObjects, CKR_OK, "five objects, two at a time, then none")
{
    CK_SESSION_HANDLE s = open_user();

    for (int i = 0; i < 5; i++)
        (void)labelled(s, "conform five", CK_FALSE);
    CHECK(count(s, "conform five") == 5);
    return CKR_OK;
}
ROW(C_FindObjects, CKR_OK, "private objects are found only while the user is logged in")
{
    CK_SESSION_HANDLE s = open_user();

    (void)labelled(s, "conform seen", CK_TRUE);
    (void)labelled(s, "conform seen", CK_FALSE);
    CHECK(count(s, "conform seen") == 2);
    MUST(F->C_Logout(s));
    CHECK(count(s, "conform seen") == 1);
    return CKR_OK;
}
ROW(C_FindObjects, CKR_OK, "session objects are found from another session of the program")
{
    CK_SESSION_HANDLE s = open_user();

    (void)labelled(s, "conform shared", CK_TRUE);
    CHECK(count(open_ro(), "conform shared") == 1);
    return CKR_OK;
}
ROW(C_FindObjects, CKR_OK, "room for none")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE found;
    CK_ULONG n = 1;

    MUST(F->C_FindObjectsInit(s, NULL, 0));
    CK_RV rv = F->C_FindObjects(s, &found, 0, &n);
    CHECK(n == 0);
    return rv;
}
ROW(C_FindObjects, CKR_OK, "an attribute that no object has finds nothing")
{
    CK_SESSION_HANDLE s = open_user();
    CK_ATTRIBUTE template = {CKA_APPLICATION, "nobody has this", 15};
    CK_OBJECT_HANDLE found;
    CK_ULONG n = 1;

    MUST(F->C_FindObjectsInit(s, &template, 1));
    CK_RV rv = F->C_FindObjects(s, &found, 1, &n);
    CHECK(n == 0);
    return rv;
}
ROW(C_FindObjects, CKR_OPERATION_NOT_INITIALIZED, "no search is active")
{
    CK_OBJECT_HANDLE found;
    CK_ULONG n;

    return F->C_FindObjects(open_user(), &found, 1, &n);
}
ROW(C_FindObjects, CKR_ARGUMENTS_BAD, "phObject is NULL")
{
    CK_SESSION_HANDLE s = open_user();
    CK_ULONG n;

    MUST(F->C_FindObjectsInit(s, NULL, 0));
    return F->C_FindObjects(s, NULL, 1, &n);
}
ROW(C_FindObjects, CKR_ARGUMENTS_BAD, "pulObjectCount is NULL")
{
    CK_SESSION_HANDLE s = open_user();
    CK_OBJECT_HANDLE found;

    MUST(F->C_FindObjectsInit(s, NULL, 0));
    return F->C_FindObjects(s, &found, 1, NULL);
}
ROW(C_FindObjectsInit, CKR_OK, "all objects")
{
    return F->C_FindObjectsInit(open_user(), NULL, 0);
}
ROW(C_FindObjectsInit, CKR_OPERATION_ACTIVE, "twice")
{
    CK_SESSION_HANDLE s = open_user();

    MUST(F->C_FindObjectsInit(s, NULL, 0));
    return F->C_FindObjectsInit(s, NULL, 0);
}
ROW(C_FindObjectsInit, CKR_ARGUMENTS_BAD, "pTemplate is NULL, ulCount is not 0")
{
    return F->C_FindObjectsInit(open_user(), NULL, 1);
}
ROW_OR(C_FindObjectsInit, CKR_ATTRIBUTE_VALUE_INVALID, CKR_OK, "a class of four bytes")
{
    CK_ATTRIBUTE template = {CKA_CLASS, &data_class, 4};

    return F->C_FindObjectsInit(open_user(), &template, 1);
}
ROW(C_FindObjectsFinal, CKR_OK, "before the end of the search")
{
    CK_SESSION_HANDLE s = open_user();

    MUST(F->C_FindObjectsInit(s, NULL, 0));
    return F->C_FindObjectsFinal(s);
}
ROW(C_FindObjectsFinal, CKR_OPERATION_NOT_INITIALIZED, "no search is active")
{
    return F->C_FindObjectsFinal(open_user());
}
ROW(C_FindObjectsFinal, CKR_OPERATION_NOT_INITIALIZED, "twice")
{
    CK_SESSION_HANDLE s = open_user();

    MUST(F->C_FindObjectsInit(s, NULL, 0));
    MUST(F->C_FindObjectsFinal(s));
    return F->C_FindObjectsFinal(s);
}
