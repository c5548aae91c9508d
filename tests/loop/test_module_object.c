/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects of every class as a program meets them: what a search shows, what another application sees, when session
 * objects die, and what is on the servers' disk.
 */
#define _GNU_SOURCE
#include "loop.h"

#include "../../common/attr.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <ftw.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MARKER "a value that is on no disk: 8f1c6e02d4"
#define LABEL_MARKER "a label that is: 77b0e3a1c9"

static CK_SESSION_HANDLE s;
static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_OBJECT_CLASS data_class = CKO_DATA;

static int setup(void **state)
{
    int rv = loop_setup(state);

    s = loop_login();
    return rv;
}

/* --- another application: the same module as another file, which shares nothing with the first --- */

static CK_FUNCTION_LIST *G;
static CK_SESSION_HANDLE g;

static void copy_file(const char *from, const char *to)
{
    char buffer[65536];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0700);
    ssize_t n;

    assert_true(in >= 0 && out >= 0);
    while ((n = read(in, buffer, sizeof(buffer))) > 0)
        assert_int_equal(write(out, buffer, (size_t)n), n);
    close(in);
    close(out);
}

static int other_opens(void **state)
{
    static char path[] = "/tmp/keymoot-other-XXXXXX";
    CK_RV (*get)(CK_FUNCTION_LIST **);
    void *library;
    (void)state;

    if (G == NULL) {
        close(mkstemp(path));
        copy_file(getenv("KEYMOOT_MODULE"), path);
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        unlink(path);
        assert_non_null(library);
        *(void **)&get = dlsym(library, "C_GetFunctionList");
        assert_int_equal(get(&G), CKR_OK);
        assert_true(G != F);
        assert_int_equal(G->C_Initialize(NULL), CKR_OK);
    }
    assert_int_equal(G->C_OpenSession(loop_slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &g), CKR_OK);
    assert_int_equal(G->C_Login(g, CKU_USER, loop_pin(), loop_pin_len()), CKR_OK);
    return 0;
}

static int other_closes(void **state)
{
    (void)state;
    return G->C_CloseSession(g) == CKR_OK ? 0 : -1;
}

/* --- helpers --- */

static CK_ULONG find(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG n,
                     CK_OBJECT_HANDLE *ret, CK_ULONG max)
{
    CK_ULONG found = 0;

    assert_int_equal(f->C_FindObjectsInit(session, template, n), CKR_OK);
    assert_int_equal(f->C_FindObjects(session, ret, max, &found), CKR_OK);
    assert_int_equal(f->C_FindObjectsFinal(session), CKR_OK);
    return found;
}

static CK_OBJECT_HANDLE find_label(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session, const char *label)
{
    CK_OBJECT_HANDLE h = 0;

    return find(f, session, &(CK_ATTRIBUTE){CKA_LABEL, (void *)label, strlen(label)}, 1, &h, 1) == 1 ? h : 0;
}

static CK_OBJECT_HANDLE data(const char *label, const char *value, bool on_token, bool is_private)
{
    CK_BBOOL token = on_token, private = is_private;
    CK_OBJECT_HANDLE h = 0;
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &data_class, sizeof(data_class)},
                        {CKA_TOKEN, &token, 1},
                        {CKA_PRIVATE, &private, 1},
                        {CKA_LABEL, (void *)label, strlen(label)},
                        {CKA_VALUE, (void *)value, strlen(value)}};

    OK(C_CreateObject(s, t, 5, &h));
    return h;
}

static void has_bytes(CK_OBJECT_HANDLE h, CK_ATTRIBUTE_TYPE type, const char *wanted)
{
    char buffer[256];
    CK_ATTRIBUTE get = {type, NULL, 0};

    OK(C_GetAttributeValue(s, h, &get, 1));
    assert_int_equal(get.ulValueLen, strlen(wanted));
    get.pValue = buffer;
    get.ulValueLen = sizeof(buffer);
    OK(C_GetAttributeValue(s, h, &get, 1));
    assert_memory_equal(buffer, wanted, strlen(wanted));
}

static CK_RV encrypts(CK_OBJECT_HANDLE key)
{
    CK_BYTE iv[16] = {0}, out[16];
    CK_ULONG n = sizeof(out);
    CK_MECHANISM m = {CKM_AES_CBC, iv, sizeof(iv)};
    CK_RV rv = F->C_EncryptInit(s, &m, key);

    return rv != CKR_OK ? rv : F->C_Encrypt(s, (CK_BYTE *)"0123456789abcdef", 16, out, &n);
}

/* --- private data --- */

static const char *sought;
static bool is_seen;

static int look_into(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    size_t size = (size_t)st->st_size;
    FILE *file;
    char *all;
    (void)where;

    if (kind != FTW_F || !S_ISREG(st->st_mode) || size == 0)
        return 0;
    file = fopen(path, "rb");
    all = malloc(size);
    assert_true(file != NULL && all != NULL);
    size = fread(all, 1, size, file);
    is_seen |= memmem(all, size, sought, strlen(sought)) != NULL;
    free(all);
    fclose(file);
    return 0;
}

/* Whether a file of the server holds `text`. */
static bool is_on_disk(const char *text)
{
    char dir[4096];

    snprintf(dir, sizeof(dir), "%s", getenv("KEYMOOT_CONF"));
    *strrchr(dir, '/') = '\0';
    sought = text;
    is_seen = false;
    assert_int_equal(nftw(dir, look_into, 16, FTW_PHYS), 0);
    return is_seen;
}

static void private_data_is_sealed(void **state)
{
    CK_OBJECT_HANDLE h = data(LABEL_MARKER, MARKER, true, true), copy = 0, back = 0;
    CK_ATTRIBUTE set = {CKA_VALUE, MARKER "2", sizeof(MARKER)}, empty = {CKA_VALUE, NULL, 0};
    CK_ATTRIBUTE by_value[] = {{CKA_VALUE, MARKER, sizeof(MARKER) - 1}, {CKA_CLASS, &data_class, sizeof(data_class)}};
    CK_OBJECT_HANDLE found[4];
    (void)state;

    has_bytes(h, CKA_VALUE, MARKER);
    assert_int_equal(find(F, s, by_value, 1, found, 4), 1);
    assert_int_equal(found[0], h);
    assert_int_equal(find(F, s, by_value, 2, found, 4), 1);
    OK(C_SetAttributeValue(s, h, &set, 1));
    has_bytes(h, CKA_VALUE, MARKER "2");
    assert_int_equal(find(F, s, by_value, 1, found, 4), 0);
    OK(C_SetAttributeValue(s, h, &(CK_ATTRIBUTE){CKA_APPLICATION, "x", 1}, 1)); /* keeps the value */
    has_bytes(h, CKA_VALUE, MARKER "2");
    OK(C_CopyObject(s, h, &(CK_ATTRIBUTE){CKA_TOKEN, &no, 1}, 1, &copy));
    has_bytes(copy, CKA_VALUE, MARKER "2");
    OK(C_CopyObject(s, copy, &(CK_ATTRIBUTE){CKA_TOKEN, &yes, 1}, 1, &back));
    has_bytes(back, CKA_VALUE, MARKER "2");
    OK(C_SetAttributeValue(s, h, &empty, 1));
    has_bytes(h, CKA_VALUE, "");
    OK(C_SetAttributeValue(s, h, &set, 1));
    OK(C_DestroyObject(s, back));
    if (is_on_disk(MARKER))
        fail_msg("the value of a private data object is on the disk");
    assert_true(is_on_disk(LABEL_MARKER)); /* the search does find what is there */
    OK(C_DestroyObject(s, h));
}

static void data_made_private_by_a_copy_is_sealed(void **state)
{
    CK_OBJECT_HANDLE h = data("open", "no secret", true, false), copy = 0;
    CK_ATTRIBUTE widen = {CKA_PRIVATE, &no, 1};
    (void)state;

    OK(C_CopyObject(s, h, &(CK_ATTRIBUTE){CKA_PRIVATE, &yes, 1}, 1, &copy));
    has_bytes(copy, CKA_VALUE, "no secret");
    RV(C_CopyObject(s, copy, &widen, 1, &(CK_OBJECT_HANDLE){0}), CKR_ATTRIBUTE_READ_ONLY);
    OK(C_DestroyObject(s, h));
    OK(C_DestroyObject(s, copy));
}

/* --- certificates --- */

static int make_certificate(unsigned char **der, unsigned char **info, int *ret_info_len)
{
    EVP_PKEY *key = EVP_RSA_gen(2048);
    X509 *x509 = X509_new();
    int len;

    X509_set_version(x509, 2);
    X509_gmtime_adj(X509_getm_notBefore(x509), 0);
    X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_ASC, (const unsigned char *)"loop", -1, -1,
                               0);
    X509_set_pubkey(x509, key);
    assert_true(X509_sign(x509, key, EVP_sha256()) > 0);
    len = i2d_X509(x509, der);
    *ret_info_len = i2d_PUBKEY(key, info);
    X509_free(x509);
    EVP_PKEY_free(key);
    assert_true(len > 0 && *ret_info_len > 0);
    return len;
}

static void a_certificate_tells_its_public_key(void **state)
{
    unsigned char *der = NULL, *info = NULL, got[1024], hash[20], check[3];
    CK_OBJECT_CLASS class = CKO_CERTIFICATE;
    CK_CERTIFICATE_TYPE type = CKC_X_509;
    int info_len, len = make_certificate(&der, &info, &info_len);
    CK_OBJECT_HANDLE h = 0;
    CK_BBOOL token;
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &class, sizeof(class)},
                        {CKA_CERTIFICATE_TYPE, &type, sizeof(type)},
                        {CKA_SUBJECT, "s", 1},
                        {CKA_VALUE, der, (CK_ULONG)len},
                        {CKA_TOKEN, &token, 1},
                        {CKA_PUBLIC_KEY_INFO, info, (CK_ULONG)info_len},
                        {CKA_CHECK_VALUE, check, 3}};
    CK_ATTRIBUTE get[] = {{CKA_PUBLIC_KEY_INFO, got, sizeof(got)}, {CKA_CHECK_VALUE, check, 3}};
    (void)state;

    assert_int_equal(EVP_Digest(der, (size_t)len, hash, NULL, EVP_sha1(), NULL), 1);
    for (token = 0; token < 2; token++) {
        OK(C_CreateObject(s, t, 5, &h));
        get[0].ulValueLen = sizeof(got);
        get[1].ulValueLen = 3;
        OK(C_GetAttributeValue(s, h, get, 2));
        assert_int_equal(get[0].ulValueLen, info_len);
        assert_memory_equal(got, info, (size_t)info_len);
        assert_memory_equal(check, hash, 3);
        OK(C_DestroyObject(s, h));
        OK(C_CreateObject(s, t, 7, &h)); /* as it is */
        OK(C_DestroyObject(s, h));
        info[info_len - 1] ^= 1;
        RV(C_CreateObject(s, t, 6, &h), CKR_TEMPLATE_INCONSISTENT);
        info[info_len - 1] ^= 1;
        check[0] ^= 1;
        RV(C_CreateObject(s, t, 7, &h), CKR_ATTRIBUTE_VALUE_INVALID);
        t[6].ulValueLen = 0; /* none wanted */
        OK(C_CreateObject(s, t, 7, &h));
        t[6].ulValueLen = 3;
        OK(C_DestroyObject(s, h));
    }
    OPENSSL_free(der);
    OPENSSL_free(info);
}

/* --- what describes the token --- */

static void profiles_are_found_and_mechanisms_if_asked_for(void **state)
{
    static const CK_OBJECT_CLASS none[] = {CKO_HW_FEATURE, CKO_DOMAIN_PARAMETERS, CKO_VALIDATION, CKO_VENDOR_DEFINED};
    CK_OBJECT_CLASS class = CKO_PROFILE;
    CK_ATTRIBUTE by_class = {CKA_CLASS, &class, sizeof(class)};
    CK_OBJECT_HANDLE found[512], again[512], other = 0;
    CK_MECHANISM_TYPE listed[512], type = 0;
    CK_PROFILE_ID profile = 0;
    CK_ULONG n, n_listed = 512;
    (void)state;

    assert_int_equal(find(F, s, &by_class, 1, found, 512), 2);
    for (CK_ULONG i = 0; i < 2; i++) {
        CK_ATTRIBUTE get = {CKA_PROFILE_ID, &profile, sizeof(profile)};
        OK(C_GetAttributeValue(s, found[i], &get, 1));
        assert_int_equal(profile, i == 0 ? CKP_BASELINE_PROVIDER : CKP_EXTENDED_PROVIDER);
        RV(C_SetAttributeValue(s, found[i], &(CK_ATTRIBUTE){CKA_LABEL, "x", 1}, 1), CKR_ACTION_PROHIBITED);
        RV(C_CopyObject(s, found[i], NULL, 0, &other), CKR_ACTION_PROHIBITED);
        RV(C_DestroyObject(s, found[i]), CKR_ACTION_PROHIBITED);
    }
    assert_int_equal(find(F, s, &by_class, 1, again, 512), 2);
    assert_memory_equal(found, again, 2 * sizeof(found[0]));
    profile = CKP_EXTENDED_PROVIDER;
    assert_int_equal(find(F, s, &(CK_ATTRIBUTE){CKA_PROFILE_ID, &profile, sizeof(profile)}, 1, again, 512), 1);
    assert_int_equal(again[0], found[1]);

    class = CKO_MECHANISM;
    n = find(F, s, &by_class, 1, found, 512);
    OK(C_GetMechanismList(loop_slot, listed, &n_listed));
    assert_int_equal(n, n_listed);
    for (CK_ULONG i = 0; i < n; i++) {
        CK_ATTRIBUTE get = {CKA_MECHANISM_TYPE, &type, sizeof(type)};
        OK(C_GetAttributeValue(s, found[i], &get, 1));
        assert_int_equal(type, listed[i]);
    }
    type = CKM_AES_GCM; /* the class is not asked for */
    assert_int_equal(find(F, s, &(CK_ATTRIBUTE){CKA_MECHANISM_TYPE, &type, sizeof(type)}, 1, again, 512), 0);
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        class = none[i];
        assert_int_equal(find(F, s, &by_class, 1, found, 512), 0);
        RV(C_CreateObject(s, &by_class, 1, &other), CKR_ATTRIBUTE_VALUE_INVALID);
    }
}

/* --- searches --- */

static void a_search_follows_its_template(void **state)
{
    CK_ATTRIBUTE inner[] = {{CKA_EXTRACTABLE, &yes, 1}, {CKA_LABEL, "in", 2}}, turned[] = {inner[1], inner[0]};
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_BYTE small[3] = {0};
    CK_OBJECT_HANDLE h = 0, found[8];
    CK_ATTRIBUTE key[] = {{CKA_CLASS, &class, sizeof(class)},
                          {CKA_KEY_TYPE, &type, sizeof(type)},
                          {CKA_VALUE, "0123456789abcdef", 16},
                          {CKA_TOKEN, &yes, 1},
                          {CKA_WRAP_TEMPLATE, inner, sizeof(inner)}};
    CK_ATTRIBUTE nested[] = {{CKA_WRAP_TEMPLATE, inner, sizeof(inner)}, {CKA_WRAP_TEMPLATE, turned, sizeof(turned)}};
    CK_ATTRIBUTE bad[] = {{CKA_CLASS, small, 3},
                          {CKA_TOKEN, &yes, 0},
                          {CKA_START_DATE, "20250229", 8},
                          {CKA_LABEL, NULL, 1},
                          {CKA_WRAP_TEMPLATE, inner, 5}};
    CK_ATTRIBUTE vendor = {CKA_VENDOR_DEFINED | 77, "x", 1};
    CK_ULONG n;
    (void)state;

    OK(C_CreateObject(s, key, 5, &h));
    for (int i = 0; i < 2; i++) { /* in whatever order */
        assert_int_equal(find(F, s, &nested[i], 1, found, 8), 1);
        assert_int_equal(found[0], h);
    }
    assert_int_equal(find(F, s, &(CK_ATTRIBUTE){CKA_WRAP_TEMPLATE, inner, sizeof(inner[0])}, 1, found, 8), 0);
    assert_int_equal(find(F, s, &key[2], 1, found, 8), 0); /* secrets match nothing */
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        RV(C_FindObjectsInit(s, &bad[i], 1), CKR_ATTRIBUTE_VALUE_INVALID);
        RV(C_FindObjects(s, found, 8, &n), CKR_OPERATION_NOT_INITIALIZED);
    }
    RV(C_FindObjectsInit(s, &vendor, KM_ATTRS_MAX + 1), CKR_ARGUMENTS_BAD);
    assert_int_equal(find(F, s, &vendor, 1, found, 8), 0);
    assert_int_equal(
        find(F, s, (CK_ATTRIBUTE[]){{CKA_LABEL, NULL, 0}, {CKA_WRAP_TEMPLATE, inner, sizeof(inner)}}, 2, found, 8), 1);
    OK(C_DestroyObject(s, h));
    assert_int_equal(find(F, s, nested, 1, found, 8), 0);
}

static void a_unique_id_finds_its_object(void **state)
{
    CK_OBJECT_HANDLE one = data("unique", "v", true, true), two = data("unique", "v", true, false),
                     session = data("unique", "v", false, false), made[] = {one, two, session}, found[8];
    char id[64];
    (void)state;

    for (int i = 0; i < 3; i++) {
        CK_ATTRIBUTE unique = {CKA_UNIQUE_ID, id, sizeof(id)}, both[2];
        OK(C_GetAttributeValue(s, made[i], &unique, 1));
        assert_int_equal(find(F, s, &unique, 1, found, 8), 1);
        assert_int_equal(found[0], made[i]);
        both[0] = unique;
        both[1] = (CK_ATTRIBUTE){CKA_LABEL, "other", 5};
        assert_int_equal(find(F, s, both, 2, found, 8), 0);
        id[0] = id[0] == 'a' ? 'b' : 'a';
        assert_int_equal(find(F, s, &unique, 1, found, 8), 0);
        unique.ulValueLen--;
        assert_int_equal(find(F, s, &unique, 1, found, 8), 0);
        OK(C_DestroyObject(s, made[i]));
    }
}

static void many_attributes_are_read_in_one_call(void **state)
{
    CK_OBJECT_HANDLE h = loop_aes(s, "107 attributes", true);
    CK_BYTE values[107][64];
    CK_ATTRIBUTE get[107];
    CK_RV rv;
    (void)state;

    for (CK_ULONG i = 0; i < 107; i++)
        get[i] = (CK_ATTRIBUTE){i == 50   ? CKA_LABEL
                                : i == 51 ? CKA_VALUE
                                : i == 52 ? CKA_WRAP_TEMPLATE
                                          : CKA_VENDOR_DEFINED | i,
                                values[i], sizeof(values[i])};
    rv = F->C_GetAttributeValue(s, h, get, 107);
    assert_true(rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE);
    assert_int_equal(get[50].ulValueLen, 14);
    assert_memory_equal(values[50], "107 attributes", 14);
    for (CK_ULONG i = 0; i < 107; i++)
        assert_true(i == 50 || get[i].ulValueLen == CK_UNAVAILABLE_INFORMATION);
    OK(C_DestroyObject(s, h));
}

static void private_objects_are_hidden_before_the_login(void **state)
{
    CK_OBJECT_HANDLE token = data("hidden", "v", true, true), session = data("hidden", "v", false, true),
                     open = data("hidden", "v", false, false), found[8];
    CK_ATTRIBUTE by_label = {CKA_LABEL, "hidden", 6};
    CK_ULONG size;
    (void)state;

    assert_int_equal(find(F, s, &by_label, 1, found, 8), 3);
    OK(C_Logout(s));
    assert_int_equal(find(F, s, &by_label, 1, found, 8), 1);
    assert_int_equal(found[0], open);
    RV(C_GetObjectSize(s, token, &size), CKR_OBJECT_HANDLE_INVALID);
    OK(C_Login(s, CKU_USER, loop_pin(), loop_pin_len()));
    assert_int_equal(find(F, s, &by_label, 1, found, 8), 2); /* the session's went with the logout */
    RV(C_GetObjectSize(s, session, &size), CKR_OBJECT_HANDLE_INVALID);
    for (int i = 0; i < 2; i++)
        OK(C_DestroyObject(s, found[i]));
}

/* --- two applications --- */

static void a_change_is_seen_at_once(void **state)
{
    CK_OBJECT_HANDLE mine = data("change 0", "v", true, false), theirs = find_label(G, g, "change 0");
    char label[32], got[32];
    CK_ATTRIBUTE get = {CKA_LABEL, got, sizeof(got)}, set = {CKA_LABEL, label, 0};
    (void)state;

    assert_true(theirs != 0);
    for (int i = 1; i < 50; i++) {
        snprintf(label, sizeof(label), "change %d", i);
        set.ulValueLen = strlen(label);
        OK(C_SetAttributeValue(s, mine, &set, 1));
        get = (CK_ATTRIBUTE){CKA_LABEL, got, sizeof(got)};
        assert_int_equal(G->C_GetAttributeValue(g, theirs, &get, 1), CKR_OK);
        assert_int_equal(get.ulValueLen, set.ulValueLen);
        assert_memory_equal(got, label, set.ulValueLen);
    }
    OK(C_DestroyObject(s, mine));
    get = (CK_ATTRIBUTE){CKA_LABEL, got, sizeof(got)};
    assert_int_equal(G->C_GetAttributeValue(g, theirs, &get, 1), CKR_OBJECT_HANDLE_INVALID);
}

static void session_objects_are_the_applications_own(void **state)
{
    CK_OBJECT_HANDLE mine = data("only mine", "v", false, false), key = loop_aes(s, "only mine", false);
    (void)state;

    assert_int_equal(loop_count(s, "only mine"), 2);
    assert_int_equal(find_label(G, g, "only mine"), 0);
    OK(C_DestroyObject(s, mine));
    OK(C_DestroyObject(s, key));
}

/* --- how session keys die --- */

static CK_OBJECT_HANDLE open_aes(bool on_token)
{
    CK_BBOOL token = on_token;
    CK_ULONG len = 32;
    CK_MECHANISM m = {CKM_AES_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE h = 0;
    CK_ATTRIBUTE t[] = {{CKA_VALUE_LEN, &len, sizeof(len)},
                        {CKA_TOKEN, &token, 1},
                        {CKA_SENSITIVE, &no, 1},
                        {CKA_EXTRACTABLE, &yes, 1},
                        {CKA_LABEL, on_token ? "ancestor" : "session key", on_token ? 8 : 11}};

    OK(C_GenerateKey(s, &m, t, 5, &h));
    return h;
}

static void a_session_key_ends_with_the_login(void **state)
{
    CK_OBJECT_HANDLE key = open_aes(false), public = 0;
    CK_ULONG size;
    (void)state;

    OK(C_CopyObject(s, key, NULL, 0, &public));
    assert_int_equal(encrypts(key), CKR_OK);
    OK(C_Logout(s));
    OK(C_Login(s, CKU_USER, loop_pin(), loop_pin_len()));
    assert_int_equal(encrypts(key), CKR_KEY_HANDLE_INVALID);
    RV(C_GetObjectSize(s, key, &size), CKR_OBJECT_HANDLE_INVALID);
    assert_int_equal(encrypts(public), CKR_KEY_HANDLE_INVALID); /* private as its original */
}

static void a_session_key_ends_with_its_session(void **state)
{
    CK_SESSION_HANDLE own = loop_open(CKF_RW_SESSION), first = s;
    CK_OBJECT_HANDLE key;
    (void)state;

    s = own;
    key = open_aes(false);
    s = first;
    assert_int_equal(encrypts(key), CKR_OK);
    OK(C_CloseSession(own));
    assert_int_equal(encrypts(key), CKR_KEY_HANDLE_INVALID);
}

static void a_session_key_ends_with_a_change_of_the_pin(void **state)
{
    CK_OBJECT_HANDLE key = open_aes(false), stored = open_aes(true);
    CK_UTF8CHAR pin[] = "another PIN";
    CK_ULONG size;
    (void)state;

    assert_int_equal(encrypts(key), CKR_OK);
    assert_int_equal(G->C_SetPIN(g, loop_pin(), loop_pin_len(), pin, strlen((char *)pin)), CKR_OK);
    assert_int_equal(encrypts(key), CKR_USER_NOT_LOGGED_IN);
    assert_int_equal(G->C_SetPIN(g, pin, strlen((char *)pin), loop_pin(), loop_pin_len()), CKR_OK);
    OK(C_Login(s, CKU_USER, loop_pin(), loop_pin_len()));
    assert_int_equal(encrypts(key), CKR_KEY_HANDLE_INVALID);
    RV(C_GetObjectSize(s, key, &size), CKR_OBJECT_HANDLE_INVALID);
    assert_int_equal(encrypts(stored), CKR_OK);
    OK(C_DestroyObject(s, stored));
}

static void a_session_copy_ends_with_its_ancestor(void **state)
{
    CK_OBJECT_HANDLE ancestor = open_aes(true), theirs = find_label(G, g, "ancestor"), copy = 0, second = 0, stored = 0;
    CK_ULONG size;
    (void)state;

    OK(C_CopyObject(s, ancestor, &(CK_ATTRIBUTE){CKA_TOKEN, &no, 1}, 1, &copy));
    OK(C_CopyObject(s, copy, NULL, 0, &second));
    OK(C_CopyObject(s, copy, &(CK_ATTRIBUTE){CKA_TOKEN, &yes, 1}, 1, &stored));
    assert_int_equal(encrypts(copy), CKR_OK);
    assert_int_equal(encrypts(second), CKR_OK);
    assert_int_equal(G->C_DestroyObject(g, theirs), CKR_OK);
    assert_int_equal(encrypts(copy), CKR_KEY_HANDLE_INVALID);
    assert_int_equal(encrypts(second), CKR_KEY_HANDLE_INVALID);
    RV(C_GetObjectSize(s, copy, &size), CKR_OBJECT_HANDLE_INVALID);
    assert_int_equal(encrypts(stored), CKR_OK); /* it has a life of its own */
    OK(C_DestroyObject(s, stored));
}

/* It is another handle of the key, and no second secret. */
static void a_session_copy_of_a_sensitive_key_ends_with_it(void **state)
{
    CK_OBJECT_HANDLE key = loop_aes(s, "sensitive", true), copy = 0, stored = 0;
    (void)state;

    OK(C_CopyObject(s, key, &(CK_ATTRIBUTE){CKA_TOKEN, &no, 1}, 1, &copy));
    OK(C_CopyObject(s, key, NULL, 0, &stored));
    assert_int_equal(encrypts(copy), CKR_OK);
    OK(C_DestroyObject(s, key));
    assert_int_equal(encrypts(copy), CKR_KEY_HANDLE_INVALID);
    assert_int_equal(encrypts(stored), CKR_OK);
    OK(C_DestroyObject(s, stored));
}

/* --- dates --- */

static void dates_bound_public_keys_too(void **state)
{
    static const struct {
        const char *start, *end;
        CK_RV encrypting, verifying;
    } rows[] = {
        {"20240101", "20990101", CKR_OK, CKR_OK},
        {"20240101", "20240229", CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_OK},
        {"20980101", "20990101", CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_FUNCTION_NOT_PERMITTED},
    };
    CK_OBJECT_HANDLE public, private;
    CK_MECHANISM m = {CKM_RSA_PKCS, NULL, 0};
    (void)state;

    loop_rsa_pair(s, "dates", false, &public, &private);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CK_ATTRIBUTE dates[] = {{CKA_START_DATE, (void *)rows[i].start, 8}, {CKA_END_DATE, (void *)rows[i].end, 8}};
        OK(C_SetAttributeValue(s, public, dates, 2));
        OK(C_SetAttributeValue(s, private, dates, 2));
        RV(C_EncryptInit(s, &m, public), rows[i].encrypting);
        RV(C_VerifyInit(s, &m, public), rows[i].verifying);
        if (rows[i].encrypting == CKR_OK)
            OK(C_Encrypt(s, BYTES("x"), (CK_BYTE[512]){0}, &(CK_ULONG){512}));
        if (rows[i].verifying == CKR_OK)
            RV(C_Verify(s, BYTES("x"), (CK_BYTE[256]){0}, 256), CKR_SIGNATURE_INVALID);
        OK(C_SignInit(s, &m, private));
        RV(C_Sign(s, BYTES("x"), (CK_BYTE[512]){0}, &(CK_ULONG){512}), rows[i].encrypting); /* a server looks */
    }
    RV(C_SetAttributeValue(s, public, &(CK_ATTRIBUTE){CKA_END_DATE, "20200101", 8}, 1), CKR_TEMPLATE_INCONSISTENT);
    RV(C_SetAttributeValue(s, private, &(CK_ATTRIBUTE){CKA_END_DATE, "20200101", 8}, 1), CKR_TEMPLATE_INCONSISTENT);
}

/* --- sessions --- */

static size_t resident(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long all = 0, now = 0;

    assert_int_equal(fscanf(file, "%lu %lu", &all, &now), 2);
    fclose(file);
    return now * (size_t)sysconf(_SC_PAGESIZE);
}

static void a_hundred_thousand_sessions_cost_little(void **state)
{
    enum { SESSIONS = 100000 };
    CK_SESSION_HANDLE *all = calloc(SESSIONS, sizeof(*all));
    size_t before = resident(), cost;
    CK_SESSION_INFO info;
    (void)state;

    for (int i = 0; i < SESSIONS; i++)
        all[i] = loop_open(0);
    for (int i = 0; i < SESSIONS; i++) { /* used, too */
        OK(C_FindObjectsInit(all[i], &(CK_ATTRIBUTE){CKA_TOKEN, &no, 1}, 1));
        OK(C_FindObjectsFinal(all[i]));
        OK(C_GetSessionInfo(all[i], &info));
        assert_int_equal(info.state, CKS_RO_USER_FUNCTIONS);
    }
    cost = resident() - before;
    for (int i = 0; i < SESSIONS; i++)
        OK(C_CloseSession(all[i]));
    free(all);
    printf("100,000 sessions: %zu KiB\n", cost / 1024);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* whose allocator takes more */
    if (cost > 100u * 1000 * 1000)
        fail_msg("100,000 sessions cost %zu bytes", cost);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(private_data_is_sealed),
        cmocka_unit_test(data_made_private_by_a_copy_is_sealed),
        cmocka_unit_test(a_certificate_tells_its_public_key),
        cmocka_unit_test(profiles_are_found_and_mechanisms_if_asked_for),
        cmocka_unit_test(a_search_follows_its_template),
        cmocka_unit_test(a_unique_id_finds_its_object),
        cmocka_unit_test(many_attributes_are_read_in_one_call),
        cmocka_unit_test(private_objects_are_hidden_before_the_login),
        cmocka_unit_test_setup_teardown(a_change_is_seen_at_once, other_opens, other_closes),
        cmocka_unit_test_setup_teardown(session_objects_are_the_applications_own, other_opens, other_closes),
        cmocka_unit_test(a_session_key_ends_with_the_login),
        cmocka_unit_test(a_session_key_ends_with_its_session),
        cmocka_unit_test_setup_teardown(a_session_key_ends_with_a_change_of_the_pin, other_opens, other_closes),
        cmocka_unit_test_setup_teardown(a_session_copy_ends_with_its_ancestor, other_opens, other_closes),
        cmocka_unit_test(a_session_copy_of_a_sensitive_key_ends_with_it),
        cmocka_unit_test(dates_bound_public_keys_too),
        cmocka_unit_test(a_hundred_thousand_sessions_cost_little),
    };
    return cmocka_run_group_tests(tests, setup, loop_teardown);
}
