/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets in memory of their own: whole pages between two pages that nobody may touch, locked, left out of core dumps,
 * wiped before they are unmapped. Not MADV_WIPEONFORK or MADV_DONTFORK: the module keeps its TLS key in one of these
 * and a forked child of its host goes on using it (nginx, PostgreSQL); locks are not inherited, so there it may be
 * swapped out. Any thread; one secret belongs to one thread at a time.
 */
#include "secret.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <sys/mman.h>
#include <unistd.h>

#define SECRET_MAX (1u << 30)

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

enum km_err km_secret_new(struct km_secret *secret, size_t len)
{
    if (len > SECRET_MAX)
        return KM_ERR_NOMEM;
    size_t page = page_size();
    size_t cap = len == 0 ? page : (len + page - 1) / page * page;

    uint8_t *map = mmap(NULL, cap + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return KM_ERR_NOMEM;
    uint8_t *data = map + page;
    if (mprotect(data, cap, PROT_READ | PROT_WRITE) != 0 || madvise(data, cap, MADV_DONTDUMP) != 0 ||
        mlock(data, cap) != 0) {
        munmap(map, cap + 2 * page);
        return KM_ERR_NOMEM;
    }
    *secret = (struct km_secret){data, len, cap};
    return KM_OK;
}

void km_secret_shrink(struct km_secret *secret, size_t len)
{
    assert(len <= secret->len);
    if (secret->data != NULL)
        OPENSSL_cleanse(secret->data + len, secret->len - len);
    secret->len = len;
}

struct km_secret km_secret_take(struct km_secret *from)
{
    struct km_secret taken = *from;
    *from = KM_SECRET_EMPTY;
    return taken;
}

void km_secret_free(struct km_secret *secret)
{
    if (secret->data == NULL)
        return;
    size_t page = page_size();
    OPENSSL_cleanse(secret->data, secret->cap);
    munmap(secret->data - page, secret->cap + 2 * page);
    *secret = KM_SECRET_EMPTY;
}

void km_wipe(void *data, size_t len)
{
    if (data != NULL)
        OPENSSL_cleanse(data, len);
}
