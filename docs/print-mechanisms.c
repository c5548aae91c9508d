/* SPDX-License-Identifier: Apache-2.0
 *
 * Prints docs/mechanisms.md from the mechanism table: `make docs` writes it, `make check` compares it. The table is
 * read as Debian 12's OpenSSL has it and as the newest one has it, whichever this is built with, so that the page is
 * the same everywhere.
 */
#include "../common/attr.h"
#include "../common/mech.h"

#include <openssl/opensslv.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct row {
    CK_MECHANISM_TYPE type;
    const char *name, *key;
    CK_FLAGS flags;
    CK_ULONG min, max;
    const char *param;
};

/* clang-format off: mech.def's own macros live until its end */
#define KM_MECH(type, key_type, flags, min, max, scheme, param, digest, md)                                            \
    {type, #type, #key_type, flags, min, max, #param},
#undef OPENSSL_VERSION_NUMBER
#define OPENSSL_VERSION_NUMBER 0x30000000L
static const struct row old_rows[] = {
#include "../common/mech.def"
};
#undef OPENSSL_VERSION_NUMBER
#define OPENSSL_VERSION_NUMBER 0x7fffffffL
static const struct row rows[] = {
#include "../common/mech.def"
};
#undef KM_MECH
/* clang-format on */

static const struct {
    CK_FLAGS flag;
    const char *text;
} uses[] = {{CKF_GENERATE, "make a key"},
            {CKF_GENERATE_KEY_PAIR, "make a pair"},
            {CKF_ENCRYPT, "encrypt"},
            {CKF_DECRYPT, "decrypt"},
            {CKF_SIGN, "sign"},
            {CKF_VERIFY, "verify"},
            {CKF_SIGN_RECOVER, "sign with recovery"},
            {CKF_VERIFY_RECOVER, "verify with recovery"},
            {CKF_DIGEST, "digest"},
            {CKF_WRAP, "wrap"},
            {CKF_UNWRAP, "unwrap"},
            {CKF_DERIVE, "derive"},
            {CKF_ENCAPSULATE, "encapsulate"},
            {CKF_DECAPSULATE, "decapsulate"},
            {CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_SIGN, "by message"}};

static const struct {
    const char *param, *text;
} params[] = {{"NONE", "–"},
              {"PSS", "CK_RSA_PKCS_PSS_PARAMS"},
              {"OAEP", "CK_RSA_PKCS_OAEP_PARAMS"},
              {"CONTEXT", "CK_SIGN_ADDITIONAL_CONTEXT or none"},
              {"HASH_CONTEXT", "CK_HASH_SIGN_ADDITIONAL_CONTEXT"},
              {"EDDSA", "CK_EDDSA_PARAMS or none"},
              {"IV16", "16 bytes"},
              {"IV8", "8 bytes or none"},
              {"IV4", "4 bytes or none"},
              {"CTR", "CK_AES_CTR_PARAMS"},
              {"GCM", "CK_GCM_PARAMS"},
              {"CCM", "CK_CCM_PARAMS"},
              {"CHACHA20", "CK_CHACHA20_PARAMS"},
              {"CHACHA20_POLY1305", "CK_SALSA20_CHACHA20_POLY1305_PARAMS"},
              {"MAC_LEN", "CK_MAC_GENERAL_PARAMS"},
              {"ECDH", "CK_ECDH1_DERIVE_PARAMS"},
              {"HKDF", "CK_HKDF_PARAMS"},
              {"SP800", "CK_SP800_108_KDF_PARAMS"},
              {"SP800_FEEDBACK", "CK_SP800_108_FEEDBACK_KDF_PARAMS"},
              {"PBKDF2", "CK_PKCS5_PBKD2_PARAMS2"},
              {"STRING", "CK_KEY_DERIVATION_STRING_DATA"},
              {"CBC_DATA", "CK_AES_CBC_ENCRYPT_DATA_PARAMS"},
              {"HANDLE", "CK_OBJECT_HANDLE"},
              {"BIT", "CK_EXTRACT_PARAMS"},
              {"RSA_AES", "CK_RSA_AES_KEY_WRAP_PARAMS"}};

/* Kinds that are not named above are named as the table has them. */
static const char *param_text(const char *param)
{
    for (size_t i = 0; i < COUNT(params); i++)
        if (strcmp(params[i].param, param) == 0)
            return params[i].text;
    return param;
}

static void print_uses(CK_FLAGS flags)
{
    const char *comma = "";

    for (size_t i = 0; i < COUNT(uses); i++) {
        if (!(flags & uses[i].flag))
            continue;
        printf("%s%s", comma, uses[i].text);
        comma = ", ";
    }
}

static void print_sizes(const struct row *row)
{
    if (row->max == 0)
        printf("–");
    else if (row->min == row->max)
        printf("%lu", row->min);
    else
        printf("%lu–%lu", row->min, row->max);
}

static bool is_old(CK_MECHANISM_TYPE type)
{
    for (size_t i = 0; i < COUNT(old_rows); i++)
        if (old_rows[i].type == type)
            return true;
    return false;
}

int main(void)
{
    size_t n_new = COUNT(rows) - COUNT(old_rows);

    printf("# Mechanisms\n\n"
           "Made by `make docs` from [common/mech.def](../common/mech.def); a token tells the same with "
           "C_GetMechanismList and\n"
           "C_GetMechanismInfo. Sizes are in the standard's unit for each mechanism: bits for RSA, EC and generic "
           "secrets, bytes for AES\n"
           "and MAC keys, bytes of the public key for ML-KEM, ML-DSA and SLH-DSA. SHA-1 signatures are verified and not made.\n\n"
           "%zu mechanisms; %zu of them need OpenSSL 3.5 under the servers (Debian 13) and are absent from the list on "
           "Debian 12.\n\n"
           "| mechanism | keys | does | key sizes | parameter | Debian |\n|---|---|---|---|---|---|\n",
           COUNT(rows), n_new);
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct row *row = &rows[i];
        bool is_any = strcmp(row->key, "KM_KEY_TYPE_ANY") == 0;

        printf("| %s | %s | ", row->name, is_any ? "–" : row->key);
        print_uses(row->flags);
        printf(" | ");
        print_sizes(row);
        printf(" | %s | %s |\n", param_text(row->param), is_old(row->type) ? "12, 13" : "13");
    }
    return 0;
}
