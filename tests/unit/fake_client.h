/* SPDX-License-Identifier: Apache-2.0
 *
 * A courier without a network for tests of the module: km_client_* answered by a token in this process, with an AES key
 * and an EC P-256 pair, so that what the module does with parts, tickets, numbers and failures can be seen request by
 * request.
 */
#ifndef KM_TESTS_FAKE_CLIENT_H
#define KM_TESTS_FAKE_CLIENT_H

#include "unit.h"

#include "../../common/attr.h"
#include "../../common/client.h"

#define FAKE_SLOT 7
#define FAKE_FREE_SLOT 9
#define FAKE_PIN "1234"

struct fake {
    unsigned calls[64]; /* by Kmw__Request__OpCase */
    unsigned n_calls, n_disconnects;
    enum km_err failure; /* the next call fails like this, once */
    CK_RV refusal;       /* the next call is answered like this, once */
    bool is_down;        /* every call fails with KM_ERR_TIMEOUT */
    uint64_t ticket;     /* the ticket that is good; a renewal gives the next one */
    uint64_t expires_ms;
    bool is_renewable;
    uint64_t token_version;
    uint64_t session; /* the registration that is good */
    Kmw__Change last_change;
    size_t use_len_max; /* the longest data in one Use */
    unsigned n_offers;  /* of the mechanisms that the token has; 0: it does not tell */
    Kmw__MechanismInfo offers[4];
    unsigned n_tokens;  /* in the list, from FAKE_SLOT on */
};
extern struct fake fake;

/* C_Initialize with a fresh fake. */
void fake_start(void);
void fake_stop(void);
CK_SESSION_HANDLE fake_open(bool is_read_write);
void fake_login(CK_SESSION_HANDLE session);
/* The only object of `class`. */
CK_OBJECT_HANDLE fake_find(CK_SESSION_HANDLE session, CK_OBJECT_CLASS class);

/* AES-256 with the fake's key by OpenSSL directly; returns the length. */
size_t fake_aes(const char *cipher, bool encrypt, bool pad, const uint8_t iv[16], const uint8_t *in, size_t len,
                uint8_t *out);

#endif
