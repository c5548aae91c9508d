/* SPDX-License-Identifier: Apache-2.0
 *
 * A call: one request from its receipt to its reply, and what the operations share to answer it. Private to
 * server/service. A call is worked on by one thread at a time.
 */
#ifndef KM_SERVICE_CALL_H
#define KM_SERVICE_CALL_H

#include "service.h"

#include "../govern/access.h"
#include "../govern/audit.h"
#include "../govern/limits.h"
#include "../govern/login.h"
#include "arena.h"
#include "pool.h"

#include <stdatomic.h>

#define KM_REASON_MAX 200

/* How an operation goes on. */
enum km_flow {
    KM_FLOW_GO,      /* (helpers) nothing in the way */
    KM_FLOW_ANSWER,  /* call->out is the answer */
    KM_FLOW_COMPUTE, /* too long for this thread: again from the start on a worker */
    KM_FLOW_WAIT,    /* has to wait for something: again from the start on a thread that may */
};

/* What a thread may do: network callbacks neither, workers compute, changers both. */
enum km_patience { KM_PATIENCE_NONE, KM_PATIENCE_COMPUTE, KM_PATIENCE_WAIT };

enum km_op_kind {
    KM_KIND_LOCAL,  /* this server's own knowledge; needs no freshness */
    KM_KIND_READ,   /* answers from a store that is as new as the request */
    KM_KIND_USE,    /* uses keys or logins; fresh before and after, in the callback if it is quick */
    KM_KIND_WAIT,   /* may write to the log, but is not numbered as a change */
    KM_KIND_CHANGE, /* goes to the log exactly once */
};
enum km_op_ticket { KM_TICKET_NONE, KM_TICKET_IF_ANY, KM_TICKET_SO };

struct km_call;
struct km_op_row {
    Kmw__Request__OpCase op;
    const char *name;
    enum km_flow (*run)(struct km_call *call);
    /* KM_KIND_CHANGE: fills the reply from what applying answered, also for a retry that finds the first result. */
    enum km_flow (*reply)(struct km_call *call, const Kml__Result *result);
    unsigned roles; /* bit 1 << enum km_role */
    enum km_op_kind kind;
    bool needs_token;
    enum km_op_ticket ticket;
    bool is_audited;
};

/* A key or object that the request names. Valid as long as the call. */
struct km_held {
    const struct km_object *stored; /* NULL: a session object that the client presented */
    Kml__Object object;             /* as back ends take it */
    Kml__Head *head;
};

struct km_service {
    struct km_service_conf conf;
    struct km_store *store;
    struct km_replica *replica;
    struct km_backend *backend;
    struct km_audit *audit;
    const struct km_access *access;
    struct km_limits *limits;
    struct km_gate *gate;
    struct km_pool *workers, *changers;
    struct km_steward *steward;
    atomic_bool is_backend_ok;
};

struct km_cleanup;
struct km_call {
    struct km_work work; /* first: the pools hand it back */
    struct km_service *service;
    const struct km_op_row *row;
    struct km_front_request *request; /* NULL: km_service_call */
    const struct km_identity *identity;
    size_t request_len;
    bool is_counted; /* in the limits */
    Kmw__Request *in;
    uint64_t deadline_ms; /* CLOCK_MONOTONIC */
    enum km_patience patience;
    bool has_token, has_ticket;
    struct km_token token;
    struct km_ticket ticket;
    uint8_t hash[32]; /* of a change */
    bool is_conflict; /* the last commit met another change of the same thing; nothing was done */
    bool is_audited;
    const struct km_held *used;  /* the key that was used: checked again before the reply */
    const uint8_t *audit_object; /* 16 bytes */
    const char *audit_operation, *audit_mechanism;
    Kmw__Reply out;
    char reason[KM_REASON_MAX];
    struct km_cleanup *cleanups;
    uint8_t *packed; /* km_service_call's */
    size_t packed_len;
    struct km_arena arena;
};

uint64_t km_now_ms(void); /* CLOCK_MONOTONIC */
uint64_t km_utc_ms(void);
/* Milliseconds that are left of the call, at least 1. */
unsigned km_call_left_ms(const struct km_call *call);

/* The answer `rv`, with a line for the client's log (NULL: none; copied). Returns KM_FLOW_ANSWER, as the next four do.
 */
enum km_flow km_call_rv(struct km_call *call, CK_RV rv, const char *reason);
/* No answer: the client asks again, here or elsewhere. */
enum km_flow km_call_verdict(struct km_call *call, Kmw__Reply__Verdict verdict, const char *reason);
/* What `err` of the replica, or of memory, means to the client. */
enum km_flow km_call_err(struct km_call *call, enum km_err err, const char *what);
/* What a back end's result other than KM_BE_OK means to the client. `is_stored`: the record came from the store, not
 * from the client. */
enum km_flow km_call_backend(struct km_call *call, enum km_backend_result result, CK_RV rv, bool is_stored);
/* An empty success. */
enum km_flow km_call_done(struct km_call *call);

/* Brings the store up to the leader's state of now, so that what is not there does not exist. */
enum km_flow km_call_sync(struct km_call *call);

/* Zeroed memory that lives as long as the call. */
void *km_call_alloc(struct km_call *call, size_t n, size_t size);
/* The call wipes and frees malloc'ed memory, frees an unpacked head or secret, or lets go of an object, at its end.
 * False: out of memory, and it was done at once. */
bool km_call_own(struct km_call *call, void *data, size_t len);
bool km_call_own_head(struct km_call *call, Kml__Head *head);
bool km_call_keep(struct km_call *call, const struct km_object *object);
/* Has the back end wipe the key of an object that has left the store. */
void km_forget_gone(struct km_service *service, const struct km_object *object);

/* Runs and forgets all of these; for the end of the call and before it is tried again. */
void km_call_clean(struct km_call *call);

/* Whether a user is logged in, as the ticket says. */
bool km_call_is_user(const struct km_call *call);
bool km_call_is_so(const struct km_call *call);

/* Reads the request's token into call->token, and says so if this identity has no such token. */
enum km_flow km_call_find_token(struct km_call *call);
/* Opens and checks the request's ticket. */
enum km_flow km_call_check_ticket(struct km_call *call);

/* --- change.c: what is written to the log -------------------------------------------------------------------- */

/* The keyed hash that names the content of this request, for exactly-once. Keyed, since a plain hash of a request with
 * a PIN in the log would let readers of the log guess PINs. */
enum km_flow km_change_hash(struct km_call *call);
/* KM_FLOW_GO if the change was not done yet; otherwise the answer of the first time, or the refusal. */
enum km_flow km_change_replay(struct km_call *call);
/* Proposes `command` as this call's change, waits for it, and answers through row->reply. */
enum km_flow km_change_commit(struct km_call *call, Kml__Command *command);
/* Proposes a command that is no numbered change; the result is the caller's (kml__result__free_unpacked). */
enum km_err km_change_plain(struct km_service *service, Kml__Command *command, unsigned deadline_ms,
                            Kml__Result **ret) KM_CHECKED;

/* --- held.c: objects -------------------------------------------------------------------------------------------- */

/* Finds what `key` names, in the store or sealed in the request, as far as this login may see it; `missing` is the
 * CK_RV when it does not. */
enum km_flow km_held_get(struct km_call *call, const Kmw__Key *key, CK_RV missing, struct km_held *ret);
/* The same where a public session object may come as its attributes. */
enum km_flow km_held_get_public(struct km_call *call, const Kmw__Key *key, CK_RV missing, struct km_held *ret);
/* NULL while `held` is what it was when it was taken; otherwise why it is not. `*ret_rv` CKR_OK: it was changed and can
 * be tried again. */
const char *km_held_check(struct km_call *call, const struct km_held *held, CK_RV *ret_rv);
/* Objects for the reply: room for `n`, then one by one. `sealed` NULL: none. Heads and bytes must live as long as the
 * call. */
enum km_flow km_reply_objects(struct km_call *call, size_t n);
enum km_flow km_reply_object(struct km_call *call, const Kml__Head *head, const ProtobufCBinaryData *sealed,
                             const Kmw__Template *secrets);
/* The stored object of this id for the reply; one that is gone again is left out. */
enum km_flow km_reply_stored(struct km_call *call, const ProtobufCBinaryData *id);
/* A reply with the stored objects that `result` names; one that is gone again is left out. A km_op_row's `reply`. */
enum km_flow km_reply_result(struct km_call *call, const Kml__Result *result);
/* Fills in what the service knows of a new head: token, owner, time, back end; for session objects login and expiry
 * and, if `from` is not NULL, ancestors. */
enum km_flow km_head_complete(struct km_call *call, Kml__Head *head, const struct km_held *from);
/* A new session object dies with `from`, or with what that was made from. Token objects live by themselves. */
enum km_flow km_head_descend(struct km_call *call, Kml__Head *head, const struct km_held *from);
/* The object packed as the client keeps it; the memory is the call's. */
enum km_flow km_seal_pack(struct km_call *call, const Kml__Object *object, ProtobufCBinaryData *ret);
/* Unpacks a head into the call's memory; NULL when it is damaged or memory is short. */
Kml__Head *km_head_unpack(struct km_call *call, const uint8_t *data, size_t len);

/* --- op_token.c --------------------------------------------------------------------------------------------------- */

/* Proves that the request knows the PIN of `user_type`: one attempt at a time, a wrong one is committed before it is
 * answered. KM_FLOW_GO: right. */
enum km_flow km_pin_prove(struct km_call *call, uint64_t user_type, const ProtobufCBinaryData *pin,
                          const ProtobufCBinaryData *attempt);

/* --- dispatch.c --------------------------------------------------------------------------------------------------- */

/* Works on a call as far as its patience goes; KM_FLOW_ANSWER: call->out is complete. */
enum km_flow km_dispatch(struct km_call *call);
/* Decodes; false: call->out says what is wrong with the request. */
bool km_dispatch_decode(struct km_call *call, const uint8_t *data, size_t len);
/* What comes between the outcome and the reply: audit, freshness and key state again, index and version. */
void km_dispatch_finish(struct km_call *call);

/* --- steward.c: what a server does by itself each second ---------------------------------------------------------- */

struct km_steward;
/* Starts a thread that probes the back end, commits the audit log's head, and as leader moves the cluster's time on in
 * idle times. Errors: KM_ERR_NOMEM. */
enum km_err km_steward_start(struct km_service *service, struct km_steward **ret) KM_CHECKED;
/* Ends it. NULL is fine. */
void km_steward_stop(struct km_steward *steward);

#endif
