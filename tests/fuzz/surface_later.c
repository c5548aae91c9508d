/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls of the functions that came with 3.0 and 3.2.
 */
#include "surface_args.h"

static CK_GCM_MESSAGE_PARAMS gcm;
static CK_BYTE iv[16], tag[16];

/* The parameter of one message: as it should be for AES-GCM, none, or of another length. */
static struct in message_parameter(void)
{
    gcm = (CK_GCM_MESSAGE_PARAMS){iv, 12, odd() ? take_ulong() : 0, take_below(5), tag, 128};
    if (odd())
        gcm.pTag = NULL;
    if (odd())
        gcm.ulIvLen = take_ulong() % (sizeof(iv) + 1);
    if (odd())
        return data(false);
    return (struct in){(CK_BYTE *)&gcm, odd() ? take_below(sizeof(gcm)) : sizeof(gcm)};
}

static CK_RV encrypt_message(unsigned which)
{
    struct in p = message_parameter(), aad = data(true), a = data(false);
    struct out o = output(&a);
    CK_FLAGS flags = take() & 1 ? CKF_END_OF_MESSAGE : odd() ? take_ulong() : 0;
    CK_OBJECT_HANDLE key = odd() ? object() : kept[AES];
    CK_MECHANISM *mech = mostly((CK_MECHANISM){CKM_AES_GCM, NULL, 0});
    CK_RV rv;

    switch (which) {
    case 0:
        return C_MessageEncryptInit(session(), mech, key);
    case 1:
        rv = C_EncryptMessage(session(), p.p, p.len, aad.p, aad.len, a.p, a.len, o.p, len_of(&o));
        break;
    case 2:
        return C_EncryptMessageBegin(session(), p.p, p.len, aad.p, aad.len);
    case 3:
        rv = C_EncryptMessageNext(session(), p.p, p.len, a.p, a.len, o.p, len_of(&o), flags);
        break;
    case 4:
        return C_MessageEncryptFinal(session());
    case 5:
        return C_MessageDecryptInit(session(), mech, key);
    case 6:
        rv = C_DecryptMessage(session(), p.p, p.len, aad.p, aad.len, a.p, a.len, o.p, len_of(&o));
        break;
    case 7:
        return C_DecryptMessageBegin(session(), p.p, p.len, aad.p, aad.len);
    case 8:
        rv = C_DecryptMessageNext(session(), p.p, p.len, a.p, a.len, o.p, len_of(&o), flags);
        break;
    default:
        return C_MessageDecryptFinal(session());
    }
    check_out(rv, &o);
    return rv;
}

static CK_RV sign_message(unsigned which)
{
    struct in p = odd() ? data(false) : (struct in){NULL, 0}, a = data(false), b = data(true);
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_MECHANISM *mech = fitting(which < 5 ? 'S' : 'V', &key);
    struct out o = output(&a);
    CK_RV rv;

    switch (which) {
    case 0:
        return C_MessageSignInit(session(), mech, key);
    case 1:
        rv = C_SignMessage(session(), p.p, p.len, a.p, a.len, o.p, len_of(&o));
        break;
    case 2:
        return C_SignMessageBegin(session(), p.p, p.len);
    case 3:
        rv = C_SignMessageNext(session(), p.p, p.len, a.p, a.len, o.p, take() & 1 ? NULL : len_of(&o));
        break;
    case 4:
        return C_MessageSignFinal(session());
    case 5:
        return C_MessageVerifyInit(session(), mech, key);
    case 6:
        return C_VerifyMessage(session(), p.p, p.len, a.p, a.len, b.p, b.len);
    case 7:
        return C_VerifyMessageBegin(session(), p.p, p.len);
    case 8:
        return C_VerifyMessageNext(session(), p.p, p.len, a.p, a.len, b.p, b.len);
    default:
        return C_MessageVerifyFinal(session());
    }
    check_out(rv, &o);
    return rv;
}

CK_RV call_message(unsigned which)
{
    return which < 10 ? encrypt_message(which) : sign_message(which - 10);
}

/* Begun, some messages, whole or in parts, its end. */
CK_RV call_messages(unsigned which)
{
    unsigned first = 5 * which;
    CK_RV rv = call_message(first);

    for (size_t n = take_below(6); n > 0 && !args_are_full(); n--)
        rv = call_message(first + 1 + (unsigned)take_below(3));
    return take() & 1 ? call_message(first + 4) : rv;
}

static CK_RV verify_signature(unsigned which)
{
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_MECHANISM *mech = fitting('V', &key);
    struct in a = data(false), b = data(true);

    switch (which) {
    case 0:
        return C_VerifySignatureInit(session(), mech, key, b.p, b.len);
    case 1:
        return C_VerifySignature(session(), a.p, a.len);
    case 2:
        return C_VerifySignatureUpdate(session(), a.p, a.len);
    default:
        return C_VerifySignatureFinal(session());
    }
}

static CK_RV wrap_authenticated(unsigned which, CK_OBJECT_HANDLE by)
{
    static CK_BYTE wrapped[128];
    static CK_ULONG wrapped_len;
    CK_GCM_WRAP_PARAMS p = {iv, 12, 0, odd() ? take_below(5) : CKG_NO_GENERATE, NULL, 0, 128};
    CK_MECHANISM *mech = mostly((CK_MECHANISM){CKM_AES_GCM, &p, odd() ? take_below(sizeof(p)) : sizeof(p)});
    struct in aad = odd() ? data(true) : (struct in){iv, 16},
              a = odd() ? data(true) : (struct in){wrapped, wrapped_len};
    struct attrs t = any_attrs(false, 1);
    struct out o = output(NULL);
    CK_OBJECT_HANDLE *made = keep_object();
    CK_RV rv;

    if (which == 1)
        return C_UnwrapKeyAuthenticated(session(), mech, by, a.p, a.len, t.p, t.n, aad.p, aad.len, made);
    rv = C_WrapKeyAuthenticated(session(), mech, by, object(), aad.p, aad.len, o.p, len_of(&o));
    check_out(rv, &o);
    if (rv == CKR_OK && o.p != NULL && o.len <= sizeof(wrapped))
        memcpy(wrapped, o.p, wrapped_len = o.len);
    return rv;
}

CK_RV call_later(unsigned which, CK_OBJECT_HANDLE wrapping)
{
    static CK_INTERFACE interfaces[8], *found;
    CK_VERSION version = {(CK_BYTE)take_below(4), take()};
    CK_ASYNC_DATA async = {0};
    CK_FLAGS flags;
    struct in a = data(true);
    struct attrs t;
    struct out o = {.len = take_below(COUNT(interfaces) + 1)};
    CK_RV rv;

    if (which < 4)
        return verify_signature(which);
    if (which < 6)
        return wrap_authenticated(which - 4, odd() ? object() : wrapping);
    switch (which) {
    case 6:
        return C_GetInterfaceList(take() & 1 ? NULL : interfaces, len_of(&o));
    case 7:
        return C_GetInterface(take() & 1 ? NULL : (CK_UTF8CHAR *)(uintptr_t) "PKCS 11", take() & 1 ? NULL : &version,
                              odd() ? NULL : &found, odd() ? take_ulong() : 0);
    case 8:
        return C_LoginUser(session(), CKU_USER, odd() ? a.p : iv, odd() ? a.len : 0, odd() ? iv : NULL, odd() ? 4 : 0);
    case 9:
        return C_SessionCancel(session(), take_ulong());
    case 10:
        return C_GetSessionValidationFlags(session(), take_below(3), odd() ? NULL : &flags);
    case 11:
        return C_AsyncComplete(session(), odd() ? NULL : (CK_UTF8CHAR *)(uintptr_t) "C_Sign", &async);
    case 12:
        return C_AsyncGetID(session(), odd() ? NULL : (CK_UTF8CHAR *)(uintptr_t) "C_Sign", len_of(&o));
    case 13:
        return C_AsyncJoin(session(), odd() ? NULL : (CK_UTF8CHAR *)(uintptr_t) "C_Sign", take_ulong(), a.p, a.len);
    case 14:
        o = output(NULL);
        t = any_attrs(false, 1);
        rv = C_EncapsulateKey(session(), any_mechanism(), object(), t.p, t.n, o.p, len_of(&o), keep_object());
        check_out(rv, &o);
        return rv;
    default:
        t = any_attrs(false, 1);
        return C_DecapsulateKey(session(), any_mechanism(), object(), t.p, t.n, a.p, a.len, keep_object());
    }
}
