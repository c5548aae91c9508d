/* SPDX-License-Identifier: Apache-2.0
 *
 * Known answers: vectors that others published, read from their files and put through a module.
 */
#ifndef KM_TESTS_CONFORM_KAT_H
#define KM_TESTS_CONFORM_KAT_H

#include "keys.h"

#define KAT_FIELDS_MAX 64

/* One vector: the fields of its block, and those of the blocks and sections above that hold for it. */
struct vector {
    struct {
        char name[48];
        char *value; /* NULL: the name stood alone ("FAIL", "[ENCRYPT]") */
        bool is_kept;
    } fields[KAT_FIELDS_MAX];
    size_t n, index;
};

struct bytes {
    CK_BYTE *p;
    CK_ULONG n;
};

enum kat_format {
    NIST,  /* "Name = value", [Section = value]; blocks end with an empty line */
    PKCS,  /* "# Name:", then lines of hexadecimal digits */
    COLON, /* one vector a line, four values between colons, called 0 to 3 */
};

struct kat_file {
    const char *path;
    enum kat_format format;
    const char *last; /* a field that only a whole vector has */
    void (*run)(const struct vector *v, const struct kat_file *file);
    CK_MECHANISM_TYPE mechanism;
    const char *mechanism_name;
    CK_ULONG extra; /* what the handler makes of it */
};

/* Calls `found` for each vector of the file; false if there is no such file. */
bool kat_read(const char *path, const struct kat_file *file, void (*found)(const struct vector *v, void *context),
              void *context);

/* The text of a field, or NULL. */
const char *kat_text(const struct vector *v, const char *name);
bool kat_has(const struct vector *v, const char *name);
/* Hexadecimal digits, or a text in quotes; the row fails when there is none. Memory of the vector's turn. */
struct bytes kat_bytes(const struct vector *v, const char *name);
/* The same, empty when it is missing. */
struct bytes kat_bytes_or_none(const struct vector *v, const char *name);
CK_ULONG kat_number(const struct vector *v, const char *name);
/* Frees what kat_bytes gave out. */
void kat_forget(void);
CK_BYTE *kat_alloc(size_t len);

extern CK_SESSION_HANDLE kat_session; /* the user is logged in */

/* Handlers: kat_cipher.c, kat_sign.c, kat_derive.c. */
#define KAT(path, format, last, run, mechanism, extra) void run(const struct vector *v, const struct kat_file *file);
#include "kat.def"
#undef KAT

/* What the handlers share (kat_cipher.c). A secret key of this type with all uses that go together. */
CK_OBJECT_HANDLE kat_secret(CK_KEY_TYPE type, struct bytes value, CK_ATTRIBUTE_TYPE use, CK_ATTRIBUTE_TYPE use_too);
void kat_same(const char *what, struct bytes got, struct bytes want);
/* A whole operation; odd vectors go in parts. */
CK_RV kat_crypt(const struct vector *v, bool is_encrypt, CK_MECHANISM *mech, CK_OBJECT_HANDLE key, struct bytes in,
                struct bytes *out);
CK_RV kat_verify(const struct vector *v, CK_MECHANISM *mech, CK_OBJECT_HANDLE key, struct bytes message,
                 struct bytes signature);
CK_RV kat_sign(const struct vector *v, CK_MECHANISM *mech, CK_OBJECT_HANDLE key, struct bytes message,
               struct bytes *ret);

#endif
