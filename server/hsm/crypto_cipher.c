/* SPDX-License-Identifier: Apache-2.0
 *
 * Encryption with the secret keys of the back end. What is made on the way is wiped unless it is handed out, so that no
 * text leaves whose tag or padding was wrong.
 */
#include "crypto.h"

#include <stdlib.h>

CK_RV km_cipher_use(const struct km_crypto *crypto, struct km_loaded *key, const struct km_mech *mech,
                    const Kmw__Use *use, uint8_t **ret, size_t *ret_len)
{
    struct km_symmetric_job job = {.algorithms = &crypto->symmetric,
                                   .mech = mech,
                                   .m = use->mechanism,
                                   .key = key->raw.data,
                                   .key_len = key->raw.len,
                                   .in = use->data.data,
                                   .len = use->data.len,
                                   .is_encrypt = use->operation == KMW__USE__OPERATION__ENCRYPT,
                                   .is_part = use->is_part};
    size_t room = job.len + KM_SYMMETRIC_GROWTH;
    CK_RV rv;

    if (!job.is_encrypt && use->operation != KMW__USE__OPERATION__DECRYPT)
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    job.out = malloc(room);
    if (job.out == NULL)
        return CKR_HOST_MEMORY;
    rv = km_symmetric_run(&job);
    if (rv == CKR_OK) {
        *ret = job.out;
        *ret_len = job.out_len;
        return CKR_OK;
    }
    km_wipe(job.out, room);
    free(job.out);
    return rv;
}
