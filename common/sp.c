/* SPDX-License-Identifier: Apache-2.0
 *
 * The module lives in other people's processes, which fork and exit as they like; libnng may not be used there. So
 * this is the little that a client needs of the SP protocols: one socket, one request in flight. Small messages cost one
 * send and one receive call. Invariant: between two exchanges no byte of the other end is unread. Thread: the caller's.
 */
#include "sp.h"

#include "forks.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define LEN_SIZE 8u           /* the length before each message */
#define ID_SIZE 4u            /* the request id at the start of the payload */
#define BUF_MIN 4096u         /* room for a usual reply, so that one recv fetches it */
#define SLACK_MS 20u
#define ID_LAST 0x80000000u   /* sp-request-reply: set in the last id of the stack of ids, ours is the only one */

int64_t km_monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static enum km_err net_failure(struct km_sp *sp, int sys_errno)
{
    sp->sys_errno = sys_errno;
    return KM_ERR_NET;
}

enum km_err km_sp_dial(struct km_sp *sp, const struct sockaddr *addr, socklen_t addr_len)
{
    const int on = 1;
    *sp = KM_SP_CLOSED;
    sp->fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (sp->fd < 0)
        return net_failure(sp, errno);
    /* Failure of this one costs speed, nothing else. */
    (void)setsockopt(sp->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(sp->fd, addr, addr_len) != 0 && errno != EINPROGRESS && errno != EINTR) {
        int sys_errno = errno;
        km_sp_close(sp);
        return net_failure(sp, sys_errno);
    }
    sp->state = KM_SP_DIALING;
    sp->request_id = (uint32_t)km_monotonic_ms();
    return KM_OK;
}

short km_sp_events(const struct km_sp *sp)
{
    return sp->state == KM_SP_DIALING ? POLLOUT : POLLIN;
}

static enum km_err send_greeting(struct km_sp *sp)
{
    static const uint8_t greeting[KM_SP_GREETING_LEN] = {0, 'S', 'P', 0, 0, KM_SP_PROTO_REQ, 0, 0};
    int sys_errno = 0;
    socklen_t len = sizeof(sys_errno);
    if (getsockopt(sp->fd, SOL_SOCKET, SO_ERROR, &sys_errno, &len) != 0)
        return net_failure(sp, errno);
    if (sys_errno != 0)
        return net_failure(sp, sys_errno);
    ssize_t n = send(sp->fd, greeting, sizeof(greeting), MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN))
        return KM_OK;
    if (n != (ssize_t)sizeof(greeting)) /* a fresh socket always has room for 8 bytes */
        return net_failure(sp, n < 0 ? errno : EIO);
    sp->state = KM_SP_GREETING;
    return KM_OK;
}

static enum km_err take_greeting(struct km_sp *sp)
{
    ssize_t n = recv(sp->fd, sp->greeting + sp->n_greeting, KM_SP_GREETING_LEN - sp->n_greeting, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return KM_OK;
    if (n <= 0)
        return net_failure(sp, n < 0 ? errno : 0);
    sp->n_greeting += (size_t)n;
    if (sp->n_greeting < KM_SP_GREETING_LEN)
        return KM_OK;
    static const uint8_t expected[KM_SP_GREETING_LEN] = {0, 'S', 'P', 0, 0, KM_SP_PROTO_REP, 0, 0};
    if (memcmp(sp->greeting, expected, sizeof(expected)) != 0)
        return KM_ERR_PROTO;
    int flags = fcntl(sp->fd, F_GETFL);
    if (flags < 0 || fcntl(sp->fd, F_SETFL, flags & ~O_NONBLOCK) != 0)
        return net_failure(sp, errno);
    sp->state = KM_SP_OPEN;
    return KM_OK;
}

enum km_err km_sp_advance(struct km_sp *sp)
{
    assert(sp->fd >= 0);
    switch (sp->state) {
    case KM_SP_DIALING:
        return send_greeting(sp);
    case KM_SP_GREETING:
        return take_greeting(sp);
    case KM_SP_OPEN:
        break;
    }
    return KM_OK;
}

/* Bounds the next system call by `deadline`. Usual exchanges all ask for about the same, and find it set already; a wait that ends early is
 * found out by the caller, who comes back, and one that ends SLACK_MS late does no harm. */
static enum km_err bound_by(struct km_sp *sp, int64_t deadline)
{
    int64_t left = deadline - km_monotonic_ms();
    if (left <= 0)
        return KM_ERR_TIMEOUT;
    if (left > INT_MAX)
        left = INT_MAX;
    unsigned wanted = (unsigned)left;
    if (sp->timeout_ms != 0 && sp->timeout_ms <= wanted + SLACK_MS && wanted <= sp->timeout_ms + sp->timeout_ms / 4 + SLACK_MS)
        return KM_OK;
    struct timeval tv = {.tv_sec = wanted / 1000, .tv_usec = (suseconds_t)(wanted % 1000) * 1000};
    if (setsockopt(sp->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) != 0 ||
        setsockopt(sp->fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) != 0)
        return net_failure(sp, errno);
    sp->timeout_ms = wanted;
    return KM_OK;
}

static enum km_err send_all(struct km_sp *sp, struct iovec *iov, size_t n_iov, int64_t deadline)
{
    while (n_iov > 0) {
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n_iov};
        enum km_err err = bound_by(sp, deadline);
        if (err != KM_OK)
            return err;
        km_forks_wait();
        ssize_t n = sendmsg(sp->fd, &msg, MSG_NOSIGNAL);
        km_forks_resume();
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return net_failure(sp, errno);
        for (size_t sent = (size_t)n; n_iov > 0;) {
            size_t part = sent < iov->iov_len ? sent : iov->iov_len;
            iov->iov_base = (uint8_t *)iov->iov_base + part;
            iov->iov_len -= part;
            sent -= part;
            if (iov->iov_len > 0)
                break;
            iov++;
            n_iov--;
        }
    }
    return KM_OK;
}

static enum km_err reserve(struct km_sp *sp, size_t size)
{
    if (size <= sp->cap)
        return KM_OK;
    uint8_t *buf = realloc(sp->buf, size);
    if (buf == NULL)
        return KM_ERR_NOMEM;
    sp->buf = buf;
    sp->cap = size;
    return KM_OK;
}

static uint64_t get_u64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

static void put_be(uint8_t *p, uint64_t v, int n)
{
    for (int i = n - 1; i >= 0; i--, v >>= 8)
        p[i] = (uint8_t)v;
}

/* Reads until `*have` >= `want`. */
static enum km_err receive_until(struct km_sp *sp, size_t want, size_t *have, int64_t deadline)
{
    while (*have < want) {
        enum km_err err = bound_by(sp, deadline);
        if (err != KM_OK)
            return err;
        km_forks_wait();
        ssize_t n = recv(sp->fd, sp->buf + *have, sp->cap - *have, 0);
        km_forks_resume();
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return net_failure(sp, n < 0 ? errno : 0);
        *have += (size_t)n;
    }
    return KM_OK;
}

static enum km_err receive(struct km_sp *sp, size_t reply_max, int64_t deadline, size_t *ret_len)
{
    size_t have = 0;
    enum km_err err = reserve(sp, BUF_MIN);
    if (err != KM_OK)
        return err;
    err = receive_until(sp, LEN_SIZE, &have, deadline);
    if (err != KM_OK)
        return err;
    uint64_t len = get_u64(sp->buf);
    if (len < ID_SIZE || len > ID_SIZE + reply_max)
        return KM_ERR_PROTO;
    size_t whole = LEN_SIZE + (size_t)len;
    err = reserve(sp, whole);
    if (err != KM_OK)
        return err;
    err = receive_until(sp, whole, &have, deadline);
    if (err != KM_OK)
        return err;
    if (have != whole) /* more than the one reply that we asked for */
        return KM_ERR_PROTO;
    *ret_len = (size_t)len - ID_SIZE;
    return KM_OK;
}

enum km_err km_sp_exchange(struct km_sp *sp, const uint8_t *data, size_t len, size_t reply_max, int64_t deadline,
                           const uint8_t **ret, size_t *ret_len, bool *ret_is_sent)
{
    assert(sp->state == KM_SP_OPEN);
    uint8_t head[LEN_SIZE + ID_SIZE];
    uint32_t id = ++sp->request_id | ID_LAST;
    put_be(head, ID_SIZE + len, LEN_SIZE);
    put_be(head + LEN_SIZE, id, ID_SIZE);
    struct iovec iov[2] = {{head, sizeof(head)}, {(void *)(uintptr_t)data, len}};
    *ret_is_sent = true; /* whatever happens from here on: the kernel may have taken all of it */
    enum km_err err = send_all(sp, iov, len > 0 ? 2 : 1, deadline);
    if (err != KM_OK)
        return err;

    size_t reply_len;
    err = receive(sp, reply_max, deadline, &reply_len);
    if (err != KM_OK)
        return err;
    if (memcmp(sp->buf + LEN_SIZE, head + LEN_SIZE, ID_SIZE) != 0)
        return KM_ERR_PROTO;
    *ret = sp->buf + LEN_SIZE + ID_SIZE;
    *ret_len = reply_len;
    return KM_OK;
}

bool km_sp_is_quiet(const struct km_sp *sp)
{
    uint8_t byte;
    return sp->fd >= 0 && recv(sp->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EINTR);
}

void km_sp_close(struct km_sp *sp)
{
    if (sp->fd >= 0)
        close(sp->fd);
    free(sp->buf);
    *sp = KM_SP_CLOSED;
}
