/* SPDX-License-Identifier: Apache-2.0
 *
 * The error table spelled out: texts and CK_RVs by number. No state.
 */
#include "err.h"

#include "cryptoki.h"

static const struct {
    const char *text;
    CK_RV rv;
} table[] = {
    [KM_OK] = {"success", CKR_OK},
#define KM_ERR_ROW(name, text, rv) [KM_ERR_##name] = {text, rv},
    KM_ERRORS(KM_ERR_ROW)
#undef KM_ERR_ROW
};

const char *km_err_text(enum km_err err)
{
    return (unsigned)err < sizeof(table) / sizeof(table[0]) ? table[err].text : "unknown error";
}

unsigned long km_err_rv(enum km_err err)
{
    return (unsigned)err < sizeof(table) / sizeof(table[0]) ? table[err].rv : CKR_GENERAL_ERROR;
}
