/* SPDX-License-Identifier: Apache-2.0
 *
 * Readers of mechanisms' parameters that have files of their own; mechanism.c has the table. Each checks every pointer,
 * length and value before anything is sent. CKR_MECHANISM_PARAM_INVALID, CKR_HOST_MEMORY.
 */
#ifndef KM_MODULE_MECHANISM_H
#define KM_MODULE_MECHANISM_H

#include "operation.h"

typedef CK_RV km_param_reader(const struct km_mech *mech, const void *p, Kmw__Mechanism *param);

/* mechanism.c */
km_param_reader km_read_oaep;
/* A copy of a program's bytes; false: out of memory. */
bool km_param_bytes(ProtobufCBinaryData *to, const void *data, size_t len);

/* mechanism_make.c: keys from keys */
km_param_reader km_read_ecdh, km_read_hkdf, km_read_sp800, km_read_sp800_feedback, km_read_pbkdf2, km_read_string,
    km_read_cbc_data, km_read_bit, km_read_rsa_aes;

#endif
