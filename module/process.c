/* SPDX-License-Identifier: Apache-2.0
 *
 * Process state. A fork happens only while no thread is inside the module but those that wait for a socket or for each
 * other (forks.h), so a child inherits consistent tables and free locks, and goes on with a copy. A child of a clone
 * without handlers is noticed by its pid all the same. Invariant: who waits for a lock that may be held during a round
 * trip (a session's, `starting`, `listing`) waits outside. No thread of its own.
 */
#include "config.h"

#include "process.h"

#include "../common/forks.h"
#include "../common/log.h"
#include "handle.h"
#include "local.h"
#include "offer.h"
#include "remote.h"

#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CONF_DEFAULT "/etc/keymoot/client.conf"
#define ADOPTING -1
#define LOG_NAME "keymoot-pkcs11"

struct km_process km_process = {.listed_ms = INT64_MIN};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER; /* one thread initialises or finalises */
static pthread_mutex_t listing = PTHREAD_MUTEX_INITIALIZER;  /* one thread fetches the list of tokens */
static atomic_int pid_seen;                                  /* whose state this is; 0: nobody's yet */
static atomic_bool is_started;                               /* changed under `starting` */
static atomic_uint_fast64_t n_starts;                        /* likewise */
static struct {                                              /* for who waits for the end */
    pthread_mutex_t lock;
    pthread_cond_t over;
} waiting = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER};
static bool is_inherited;                                    /* guarded by `starting` */
static bool is_prepared;

void km_lock(void)
{
    pthread_mutex_lock(&lock);
}

void km_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

int64_t km_boot_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The first call in a child. Its other threads, if it has any already, wait until the locks are made anew. */
static void adopt(int from, int pid)
{
    if (!atomic_compare_exchange_strong(&pid_seen, &from, ADOPTING)) {
        while (atomic_load(&pid_seen) == ADOPTING)
            sched_yield();
        return;
    }
    if (from != 0) {
        km_forks_reset();
        lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
        starting = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
        listing = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
        waiting.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
        waiting.over = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
        is_inherited = is_started;
        km_handles_after_fork();
        km_remote_after_fork();
    }
    atomic_store(&pid_seen, pid);
}

static void notice_fork(void)
{
    int pid = getpid(), seen;

    while ((seen = atomic_load(&pid_seen)) != pid) {
        if (seen == ADOPTING)
            sched_yield();
        else
            adopt(seen, pid);
    }
}

CK_RV km_process_enter(bool *ret_is_inside)
{
    notice_fork();
    if (!is_started)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    km_forks_enter();
    *ret_is_inside = true;
    return CKR_OK;
}

void km_process_leave(bool *is_inside)
{
    if (*is_inside)
        km_forks_leave();
}

void km_lock_outside(pthread_mutex_t *mutex)
{
    if (pthread_mutex_trylock(mutex) == 0)
        return;
    km_forks_wait();
    pthread_mutex_lock(mutex);
    km_forks_resume();
}

/* Once per process image: OpenSSL is told to leave the host's exit and configuration alone, and the configuration is
 * read. */
static CK_RV prepare(void)
{
    struct km_client_conf conf;
    const char *path = secure_getenv("KEYMOOT_CONF");
    char message[512] = "";
    enum km_err err;

    if (!is_prepared) {
        if (!OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT | OPENSSL_INIT_NO_LOAD_CONFIG, NULL) || !km_local_init())
            return CKR_HOST_MEMORY;
        if (pthread_atfork(km_forks_hold, km_forks_release, notice_fork) != 0)
            return CKR_HOST_MEMORY;
        is_prepared = true;
    }
    if (km_process.client != NULL)
        return CKR_OK;
    if (path == NULL || path[0] == '\0')
        path = CONF_DEFAULT;
    err = km_log_open(LOG_NAME, "stderr", KM_LOG_WARN);
    if (err != KM_OK)
        goto out;
    err = km_client_conf_read(path, &conf, message, sizeof(message));
    if (err != KM_OK)
        goto out;
    if (conf.sha1_signatures)
        km_mech_allow_sha1_signatures();
    err = km_log_open(LOG_NAME, conf.log != NULL ? conf.log : "stderr", conf.log_level);
    if (err == KM_OK)
        err = km_client_new(&conf, &km_process.client, message, sizeof(message));
    if (err != KM_OK)
        km_client_conf_fini(&conf);
out:
    if (err == KM_OK)
        return CKR_OK;
    km_log(KM_LOG_ERROR, "C_Initialize: %s", message[0] != '\0' ? message : km_err_text(err));
    return err == KM_ERR_NOMEM ? CKR_HOST_MEMORY : CKR_GENERAL_ERROR;
}

static bool is_any(const struct km_object *object, const void *arg)
{
    (void)object;
    (void)arg;
    return true;
}

/* Under `lock`. */
static void forget_events(void)
{
    for (size_t i = 0; i < km_process.n_tokens; i++)
        km_process.tokens[i]->has_event = false;
}

static void forget_sessions(void)
{
    km_session_close_all(NULL);
    km_object_drop_if(is_any, NULL);
    for (size_t i = 0; i < km_process.n_tokens; i++)
        km_login_drop(km_process.tokens[i]);
}

/* Between these two, this thread is the only one that starts or stops the module. */
static void begin_start(void)
{
    notice_fork();
    km_lock_outside(&starting);
    km_forks_enter();
}

static void end_start(void)
{
    km_forks_leave();
    pthread_mutex_unlock(&starting);
}

static CK_RV start(void)
{
    CK_RV rv;

    if (is_started && !is_inherited)
        return CKR_CRYPTOKI_ALREADY_INITIALIZED;
    rv = prepare();
    if (rv != CKR_OK)
        return rv;
    km_lock();
    forget_events();
    forget_sessions(); /* a child that initialises wants to begin anew */
    km_unlock();
    is_inherited = false;
    n_starts++;
    is_started = true;
    return CKR_OK;
}

CK_RV km_process_start(void)
{
    CK_RV rv;

    begin_start();
    rv = start();
    end_start();
    return rv;
}

static CK_RV stop(void)
{
    if (!is_started)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    pthread_mutex_lock(&waiting.lock);
    is_started = false;
    pthread_cond_broadcast(&waiting.over);
    pthread_mutex_unlock(&waiting.lock);
    is_inherited = false;
    km_lock();
    forget_sessions();
    km_process.listed_ms = INT64_MIN;
    km_unlock();
    km_client_disconnect(km_process.client);
    return CKR_OK;
}

CK_RV km_process_stop(void)
{
    CK_RV rv;

    begin_start();
    rv = stop();
    end_start();
    return rv;
}

uint64_t km_process_started(void)
{
    return is_started ? n_starts : 0;
}

void km_process_wait(uint64_t start, unsigned ms)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    km_forks_wait();
    pthread_mutex_lock(&waiting.lock);
    while (km_process_started() == start && pthread_cond_timedwait(&waiting.over, &waiting.lock, &until) == 0)
        ;
    pthread_mutex_unlock(&waiting.lock);
    km_forks_resume();
}

void km_login_drop(struct km_token *token)
{
    if (token->login.ticket != NULL)
        km_wipe(token->login.ticket, token->login.ticket_len);
    free(token->login.ticket);
    token->login = (struct km_login){.user = KM_LOGIN_NONE};
}

static bool is_of_login(const struct km_object *object, const void *token)
{
    return object->session != 0 && object->token == token && object->is_private;
}

void km_login_died(struct km_token *token)
{
    km_login_drop(token);
    km_object_drop_if(is_of_login, token);
}

CK_RV km_login_set(struct km_token *token, CK_USER_TYPE user, const Kmw__LoginReply *reply)
{
    uint8_t *ticket = malloc(reply->ticket.len + 1);

    if (ticket == NULL)
        return CKR_HOST_MEMORY;
    memcpy(ticket, reply->ticket.data, reply->ticket.len);
    km_login_drop(token);
    token->login = (struct km_login){
        .user = user,
        .ticket = ticket,
        .ticket_len = reply->ticket.len,
        .issued_ms = km_boot_ms(),
        .expires_ms = km_boot_ms() + (int64_t)reply->expires_ms,
    };
    return CKR_OK;
}

void km_token_session_ended(struct km_token *token, bool is_read_write)
{
    token->n_sessions--;
    if (is_read_write)
        token->n_read_write--;
    if (token->n_sessions == 0)
        km_login_drop(token);
}

static int compare_tokens(const void *a, const void *b)
{
    const struct km_token *x = *(struct km_token *const *)a, *y = *(struct km_token *const *)b;

    if (x->is_free != y->is_free)
        return x->is_free ? 1 : -1;
    return x->slot < y->slot ? -1 : x->slot > y->slot;
}

static struct km_token *find_slot(CK_SLOT_ID slot)
{
    for (size_t i = 0; i < km_process.n_tokens; i++)
        if (km_process.tokens[i]->slot == slot)
            return km_process.tokens[i];
    return NULL;
}

/* The entry for `slot`, made if there is none. */
static struct km_token *put_slot(CK_SLOT_ID slot)
{
    struct km_token *token = find_slot(slot), **grown;

    if (token != NULL)
        return token;
    grown = reallocarray(km_process.tokens, km_process.n_tokens + 1, sizeof(struct km_token *));
    if (grown == NULL)
        return NULL;
    km_process.tokens = grown;
    token = calloc(1, sizeof(*token));
    if (token == NULL)
        return NULL;
    token->slot = slot;
    token->login.user = KM_LOGIN_NONE;
    km_process.tokens[km_process.n_tokens++] = token;
    return token;
}

/* Marks the tokens that came or went; `was_known`: there was a list before. A slot is there as long as its token. */
static void mark_events(bool was_known)
{
    for (size_t i = 0; i < km_process.n_tokens && was_known; i++) {
        struct km_token *token = km_process.tokens[i];
        bool is_there = token->is_listed && !token->is_free;
        token->has_event |= is_there != token->was_there;
    }
    for (size_t i = 0; i < km_process.n_tokens; i++)
        km_process.tokens[i]->was_there = km_process.tokens[i]->is_listed && !km_process.tokens[i]->is_free;
}

/* Takes over what a server said about its tokens. Under `lock`. */
static CK_RV merge(Kmw__TokenListReply *list)
{
    bool was_known = km_process.listed_by == n_starts;
    struct km_token *token;

    for (size_t i = 0; i < list->n_tokens; i++)
        if (list->tokens[i]->id.len != KM_ID_LEN)
            return CKR_DEVICE_ERROR;
    for (size_t i = 0; i < km_process.n_tokens; i++)
        km_process.tokens[i]->is_listed = false;
    for (size_t i = 0; i < list->n_tokens; i++) {
        Kmw__TokenInfo *info = list->tokens[i];
        token = put_slot(info->slot);
        if (token == NULL)
            return CKR_HOST_MEMORY;
        memcpy(token->id, info->id.data, KM_ID_LEN);
        token->is_free = false;
        token->is_listed = true;
        if (token->info != NULL)
            kmw__token_info__free_unpacked(token->info, NULL);
        token->info = info;
        list->tokens[i] = NULL; /* taken; protobuf-c frees NULL entries gladly */
    }
    if (list->free_slot != 0) {
        token = put_slot(list->free_slot);
        if (token == NULL)
            return CKR_HOST_MEMORY;
        token->is_free = token->info == NULL;
        token->is_listed = true;
    }
    qsort(km_process.tokens, km_process.n_tokens, sizeof(struct km_token *), compare_tokens);
    km_process.listed_ms = km_boot_ms();
    mark_events(was_known);
    km_offers_set(list);
    km_process.listed_by = n_starts;
    return CKR_OK;
}

static bool is_listed_since(int64_t age_ms)
{
    bool is_young;

    km_lock();
    is_young = km_process.listed_ms != INT64_MIN && km_boot_ms() - km_process.listed_ms < age_ms;
    km_unlock();
    return is_young;
}

CK_RV km_token_refresh(int64_t age_ms)
{
    Kmw__Reply *reply = NULL;
    CK_RV rv = CKR_OK;

    km_lock_outside(&listing);
    if (!is_listed_since(age_ms)) {
        rv = km_remote_token_list(&reply);
        if (rv == CKR_OK) {
            km_lock();
            rv = merge(reply->token_list);
            km_unlock();
        }
        km_reply_free(reply);
    }
    pthread_mutex_unlock(&listing);
    return rv;
}

CK_RV km_token_get(CK_SLOT_ID slot, struct km_token **ret)
{
    struct km_token *token;
    bool is_listed;

    km_lock();
    token = find_slot(slot);
    is_listed = km_process.listed_ms != INT64_MIN;
    km_unlock();
    if (token == NULL || !is_listed) { /* what was known before C_Finalize is asked for again */
        CK_RV rv = km_token_refresh(0);
        if (rv != CKR_OK && token == NULL)
            return rv;
        km_lock();
        token = find_slot(slot);
        km_unlock();
    }
    if (token == NULL)
        return CKR_SLOT_ID_INVALID;
    *ret = token;
    return CKR_OK;
}
