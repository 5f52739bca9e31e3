/* What the files of the state machine share: machine.c (members, the switch), apply_kv.c (put,
 * delete, range, compact), apply_txn.c, apply_lease.c, apply_alarm.c, apply_member.c and
 * apply_auth.c. */
#ifndef KVD_SERVER_MACHINE_INTERNAL_H
#define KVD_SERVER_MACHINE_INTERNAL_H

#include "proto/command.pb-c.h"
#include "proto/rpc.pb-c.h"
#include "server/machine.h"

static inline struct slice slice_of_pb(ProtobufCBinaryData data)
{
    return slice_of(data.data, data.len);
}

/* protobuf-c's type has no const; nobody writes through it. */
static inline ProtobufCBinaryData pb_of_slice(struct slice bytes)
{
    return (ProtobufCBinaryData){.len = bytes.len, .data = (uint8_t *)(uintptr_t)bytes.data};
}

/* For a state that is being loaded too. The member is not there yet; it is copied. */
void machine__add_member(struct machine *machine, const struct machine_member *member);
/* These are all members there are, and were. For a state that gets a new cluster. */
void machine__set_members(struct machine *machine, const struct machine_member *members,
                          size_t count);
void machine__remove_member(struct machine *machine, uint64_t id);
struct machine_member *machine__find_member(const struct machine *machine, uint64_t id);
char **machine__copy_texts(char *const *texts, size_t count);
void machine__free_texts(char **texts, size_t count);
void machine__add_removed(struct machine *machine, uint64_t id);
/* At the end of the queue; it is copied. */
void machine__add_change(struct machine *machine, const struct machine_change *change);
void machine__free_changes(struct machine *machine);
/* For machine_digest(). */
uint64_t machine__mix_text(uint64_t hash, const char *text);
uint64_t machine__mix_changes(uint64_t hash, const struct machine *machine);
/* One that is there belongs to a client from the moment a client activates it too. */
void machine__raise_alarm(struct machine *machine, struct machine_alarm alarm);
/* All of a member that is gone: nobody is left who could end them by itself. */
void machine__drop_alarms(struct machine *machine, uint64_t member_id);

/* A request as the keyspace takes it; false: sort order or target outside the enum. */
bool machine__range_of(const Etcdserverpb__RangeRequest *request, struct mvcc_range *out);

/* Messages for an answer, in the arena, bytes borrowed from the keyspace. */
Etcdserverpb__ResponseHeader *machine__header(struct arena *arena, int64_t revision);
Mvccpb__KeyValue *machine__kv(struct arena *arena, const struct mvcc_kv *kv);
Mvccpb__KeyValue **machine__kvs(struct arena *arena, const struct mvcc_kv *kvs, size_t len);
Etcdserverpb__RangeResponse *machine__range_response(struct arena *arena,
                                                     const struct mvcc_range_result *result,
                                                     int64_t revision);

/* Whether the request may be executed in the state as it is: 0 or the code. */
int machine__check_put(const struct machine *machine, const Etcdserverpb__PutRequest *request);

/* One change inside a transaction, checked before; leases follow it. The answer, with a header that
 * has only the revision, or NULL if not wanted. */
Etcdserverpb__PutResponse *machine__put(struct mvcc_txn *txn, struct leases *leases,
                                        const Etcdserverpb__PutRequest *request, bool want,
                                        struct arena *arena);
Etcdserverpb__DeleteRangeResponse *machine__delete(struct mvcc_txn *txn, struct leases *leases,
                                                   const Etcdserverpb__DeleteRangeRequest *request,
                                                   bool want, struct arena *arena);

/* Whole commands. */
void machine__apply_put(struct machine *machine, const Etcdserverpb__PutRequest *request, bool want,
                        struct arena *arena, struct machine_result *out);
void machine__apply_delete(struct machine *machine, const Etcdserverpb__DeleteRangeRequest *request,
                           bool want, struct arena *arena, struct machine_result *out);
void machine__apply_compact(struct machine *machine, const Etcdserverpb__CompactionRequest *request,
                            bool want, struct arena *arena, struct machine_result *out);
void machine__apply_txn(struct machine *machine, const Etcdserverpb__TxnRequest *request, bool want,
                        struct arena *arena, struct machine_result *out);
void machine__apply_lease_grant(struct machine *machine,
                                const Etcdserverpb__LeaseGrantRequest *request, bool want,
                                struct arena *arena, struct machine_result *out);
void machine__apply_lease_revoke(struct machine *machine,
                                 const Etcdserverpb__LeaseRevokeRequest *request, bool want,
                                 struct arena *arena, struct machine_result *out);
void machine__apply_lease_expire(struct machine *machine, const Kvdpb__LeaseExpire *request,
                                 uint64_t term, struct arena *arena, struct machine_result *out);
void machine__apply_lease_checkpoint(struct machine *machine, const Kvdpb__LeaseCheckpoint *request,
                                     uint64_t term, struct machine_result *out);

void machine__apply_alarm(struct machine *machine, const Etcdserverpb__AlarmRequest *request,
                          bool want, struct arena *arena, struct machine_result *out);
void machine__apply_space(struct machine *machine, const Kvdpb__SpaceAlarm *request,
                          struct machine_result *out);
void machine__apply_corrupt(struct machine *machine, const Kvdpb__CorruptAlarm *request,
                            struct machine_result *out);

void machine__apply_member(struct machine *machine, const struct command *command,
                           const Kvdpb__MemberChange *request, struct machine_result *out);
void machine__apply_member_drop(struct machine *machine, const Kvdpb__MemberDrop *request,
                                uint64_t term, struct machine_result *out);
void machine__apply_auth(struct machine *machine, const Kvdpb__AuthChange *change, bool want,
                         struct arena *arena, struct machine_result *out);
/* index: of the entry it stands in. KV_EAUTHOLDREVISION: the password is to be checked again. */
void machine__apply_authenticate(struct machine *machine, const Kvdpb__Authenticate *request,
                                 uint64_t index, struct machine_result *out);

/* Whether any put stands in the txn, in any branch at any depth: what costs space. */
bool machine__txn_puts(const Etcdserverpb__TxnRequest *request);

#endif
