/* SPDX-License-Identifier: Apache-2.0
 *
 * Random number generation (PKCS#11 v2.40 5.16): the servers' back end makes the bytes.
 */
#include "guard.h"
#include "remote.h"

#define CHUNK (32u * 1024)

CK_RV C_SeedRandom(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSeed, CK_ULONG ulSeedLen)
{
    KM_SESSION(session, hSession);
    (void)session;
    KM_REQUIRE_BYTES(pSeed, ulSeedLen);
    return CKR_RANDOM_SEED_NOT_SUPPORTED;
}

static CK_RV fill(struct km_session *session, CK_BYTE *out, size_t len)
{
    Kmw__Random op = KMW__RANDOM__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Reply *reply = NULL;
    CK_RV rv = CKR_DEVICE_ERROR;

    op.len = (uint32_t)len;
    request.op_case = KMW__REQUEST__OP_RANDOM;
    request.random = &op;
    KM_TRY(km_remote_call(session->token, &request, KM_CALL_READ, KMW__REPLY__RESULT_RANDOM, &reply));
    if (reply->random->data.len == len) {
        memcpy(out, reply->random->data.data, len);
        km_wipe(reply->random->data.data, len);
        rv = CKR_OK;
    }
    km_reply_free(reply);
    return rv;
}

CK_RV C_GenerateRandom(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pRandomData, CK_ULONG ulRandomLen)
{
    KM_SESSION(session, hSession);
    KM_REQUIRE_BYTES(pRandomData, ulRandomLen);
    while (ulRandomLen > 0) {
        size_t len = ulRandomLen < CHUNK ? ulRandomLen : CHUNK;
        KM_TRY(fill(session, pRandomData, len));
        pRandomData += len;
        ulRandomLen -= len;
    }
    return CKR_OK;
}
