/* SPDX-License-Identifier: Apache-2.0
 *
 * Administration of the cluster, for operators: who is a member. The replica does the work.
 */
#include "operations.h"

#include <raft.h>
#include <string.h>

#define MEMBERS_MAX 32

static const char *role_text(int role)
{
    return role == RAFT_VOTER ? "voter" : role == RAFT_STANDBY ? "standby" : "spare";
}

static void put_member(Kmw__Server *server, struct km_member *member)
{
    kmw__server__init(server);
    server->id = member->id;
    server->name = member->name;
    server->zone = member->zone;
    server->address = member->address;
    server->peer_address = member->peer_address;
    server->role = (char *)(uintptr_t)role_text(member->role);
    server->is_leader = member->is_leader;
    server->is_up = member->is_up;
    server->applied = member->applied;
}

enum km_flow km_op_cluster_status(struct km_call *call)
{
    struct km_service *service = call->service;
    struct km_replica_status status;
    uint64_t digest_index;
    Kmw__ClusterStatusReply *out = km_call_alloc(call, 1, sizeof(*out));
    struct km_member *members = km_call_alloc(call, MEMBERS_MAX, sizeof(*members));
    Kmw__Server *servers = km_call_alloc(call, MEMBERS_MAX, sizeof(*servers));
    Kmw__Server **list = km_call_alloc(call, MEMBERS_MAX, sizeof(*list));
    uint8_t *digest = km_call_alloc(call, 32, 1);
    if (!out || !members || !servers || !list || !digest)
        return km_call_err(call, KM_ERR_NOMEM, "reading the state");
    km_replica_status(service->replica, &status, members, MEMBERS_MAX);
    km_store_digest(service->store, digest, &digest_index);
    kmw__cluster_status_reply__init(out);
    out->cluster = (char *)(uintptr_t)service->conf.cluster;
    out->term = status.term;
    out->commit_index = status.commit_index;
    out->leader = status.leader;
    out->answered_by = service->conf.server_id;
    out->is_fresh = status.is_fresh;
    out->feature_level = km_store_feature_level(service->store);
    out->digest = (ProtobufCBinaryData){32, digest};
    out->servers = list;
    out->n_servers = status.n_members < MEMBERS_MAX ? status.n_members : MEMBERS_MAX;
    for (size_t i = 0; i < out->n_servers; i++) {
        list[i] = &servers[i];
        put_member(&servers[i], &members[i]);
    }
    call->out.result_case = KMW__REPLY__RESULT_CLUSTER_STATUS;
    call->out.cluster_status = out;
    return km_call_rv(call, CKR_OK, NULL);
}

/* The operator's words for what went wrong; the verdicts of km_call_err for what may be tried again. */
static enum km_flow member_result(struct km_call *call, enum km_err err, const char *what)
{
    switch (err) {
    case KM_OK:
        return km_call_done(call);
    case KM_ERR_EXISTS:
        return km_call_rv(call, CKR_ARGUMENTS_BAD, "a server of this id is a member already");
    case KM_ERR_NOT_FOUND:
        return km_call_rv(call, CKR_ARGUMENTS_BAD, "no server of this id is a member");
    case KM_ERR_TIMEOUT:
        return km_call_rv(call, CKR_DEVICE_ERROR, "not finished in time; ask for the status and try again");
    default:
        return km_call_err(call, err, what);
    }
}

static bool copy_text(char *to, size_t size, const char *from)
{
    size_t len = strlen(from);
    if (len >= size)
        return false;
    memcpy(to, from, len + 1);
    return true;
}

enum km_flow km_op_cluster_add(struct km_call *call)
{
    const Kmw__Server *server = call->in->cluster_add->server;
    struct km_member member = {0};
    char packed[KM_MEMBER_PACKED_MAX];
    if (!server || server->id == 0 || !copy_text(member.name, sizeof(member.name), server->name) ||
        !copy_text(member.zone, sizeof(member.zone), server->zone) ||
        !copy_text(member.address, sizeof(member.address), server->address) ||
        !copy_text(member.peer_address, sizeof(member.peer_address), server->peer_address))
        return km_call_rv(call, CKR_ARGUMENTS_BAD, "a server needs an id, a name, a zone and two addresses");
    member.id = server->id;
    if (km_member_pack(&member, packed))
        return km_call_rv(call, CKR_ARGUMENTS_BAD, "a server's name, zone or address is empty or has a ';'");
    return member_result(call, km_replica_add(call->service->replica, &member, km_call_left_ms(call)),
                         "adding the server");
}

enum km_flow km_op_cluster_remove(struct km_call *call)
{
    return member_result(call,
                         km_replica_remove(call->service->replica, call->in->cluster_remove->id, km_call_left_ms(call)),
                         "removing the server");
}
