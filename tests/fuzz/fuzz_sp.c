/* SPDX-License-Identifier: Apache-2.0
 *
 * A stranger's bytes on the module's socket, before any TLS: the greeting and frames of SP. The first byte says in
 * which state the connection is; the rest is what the other end sends before it closes.
 */
#include "fuzz.h"

#include "../../common/sp.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPLY_MAX 4096

static const uint8_t greeting[] = {0, 'S', 'P', 0, 0, KM_SP_PROTO_REP, 0, 0};

void fuzz_seeds(void (*add)(const void *data, size_t len))
{
    uint8_t seed[64] = {1, 0, 0, 0, 0, 0, 0, 0, 14, 0x80, 0, 0, 1, 'k', 'e', 'y', 'm', 'o', 'o', 't'};

    add(seed, 20);
    seed[0] = 0;
    memcpy(seed + 1, greeting, sizeof(greeting));
    add(seed, 1 + sizeof(greeting));
    memset(seed + 1, 0xff, 8); /* as long as can be */
    seed[0] = 1;
    add(seed, 20);
    memset(seed + 1, 0, 8); /* nothing in it */
    add(seed, 9);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const uint8_t *reply = NULL;
    size_t reply_len = 0;
    bool is_sent = false;
    enum km_err err = KM_OK;
    int ends[2];

    if (len == 0)
        return 0;
    assert(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    struct km_sp sp = {.fd = ends[0], .state = data[0] & 1 ? KM_SP_OPEN : KM_SP_GREETING};
    len = len - 1 < 65536 ? len - 1 : 65536;
    assert(len == 0 || write(ends[1], data + 1, len) == (ssize_t)len);
    assert(shutdown(ends[1], SHUT_WR) == 0);
    for (int i = 0; i < 9 && err == KM_OK && sp.state == KM_SP_GREETING; i++)
        err = km_sp_advance(&sp);
    if (err == KM_OK && sp.state == KM_SP_OPEN)
        err = km_sp_exchange(&sp, greeting, sizeof(greeting), REPLY_MAX, km_monotonic_ms() + 1000, &reply, &reply_len,
                             &is_sent);
    if (err == KM_OK && reply != NULL) {
        assert(reply_len <= REPLY_MAX && is_sent);
        for (size_t i = 0; i < reply_len; i++) /* all of it can be read */
            assert(reply[i] <= 255);
    }
    km_sp_close(&sp);
    close(ends[1]);
    return 0;
}
