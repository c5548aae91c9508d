/* SPDX-License-Identifier: Apache-2.0
 *
 * The parameter that comes with each message of C_EncryptMessage and C_DecryptMessage, whatever the mechanism calls its
 * fields. The pointers are the program's.
 */
#ifndef KM_MODULE_MESSAGE_H
#define KM_MODULE_MESSAGE_H

#include "handle.h"

struct km_message_param {
    CK_BYTE *iv;
    size_t iv_len;
    size_t fixed_bits; /* the first bits of the IV, which a generator leaves alone */
    CK_GENERATOR_FUNCTION generator;
    CK_BYTE *tag;
    size_t tag_len;
    size_t data_len; /* CCM: bytes of text */
};

/* Reads and checks it. CKR_MECHANISM_PARAM_INVALID. */
CK_RV km_message_param_read(const struct km_operation *op, const void *param, CK_ULONG param_len,
                            struct km_message_param *ret);

/* Makes the parameter of the request for one message: with the IV, generated where `is_encrypting` and the program
 * wants that, and associated data. The IV that was used is in it. CKR_KEY_EXHAUSTED: the counter has come to its end.
 */
CK_RV km_message_param_use(struct km_operation *op, const struct km_message_param *param, bool is_encrypting,
                           const CK_BYTE *aad, CK_ULONG aad_len, Kmw__Mechanism **ret);

#endif
