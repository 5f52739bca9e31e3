/* The replicated state machine: applies committed commands to the keyspace, the leases, the alarms
 * and the members table. Deterministic: everything it decides follows from earlier commands. Used
 * by the member and by the simulator. One thread, no I/O. */
#ifndef KVD_SERVER_MACHINE_H
#define KVD_SERVER_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "mvcc/lease.h"
#include "mvcc/mvcc.h"
#include "raft/replica.h"

/* A command as it stands in the log: varint length of the rest, then origin member (le64), ticket
 * (le64), kind (6 bits) and kind of author (2 bits), for an author who is a user the auth revision
 * (varint) and the name (with its length as varint before it), and the bytes of a protobuf message.
 * Entries hold commands back to back. */
enum command_kind {
    COMMAND_PUT = 1,               /* etcdserverpb.PutRequest, as the client sent it */
    COMMAND_DELETE = 2,            /* DeleteRangeRequest */
    COMMAND_TXN = 3,               /* TxnRequest */
    COMMAND_COMPACT = 4,           /* CompactionRequest */
    COMMAND_ALARM = 5,             /* AlarmRequest with ACTIVATE or DEACTIVATE */
    COMMAND_PUBLISH = 6,           /* kvdpb.Publish */
    COMMAND_LEASE_GRANT = 7,       /* LeaseGrantRequest; id and TTL are final */
    COMMAND_LEASE_REVOKE = 8,      /* LeaseRevokeRequest */
    COMMAND_LEASE_EXPIRE = 9,      /* kvdpb.LeaseExpire, proposed by the leader only */
    COMMAND_LEASE_CHECKPOINT = 10, /* kvdpb.LeaseCheckpoint, the same */
    COMMAND_SPACE = 20,            /* kvdpb.SpaceAlarm, proposed by a member's own quota */
    COMMAND_DOWNGRADE = 21,        /* kvdpb.Downgrade */
    COMMAND_MEMBER = 22,           /* kvdpb.MemberChange */
    COMMAND_MEMBER_DROP = 23,      /* kvdpb.MemberDrop, proposed by the leader only */
    COMMAND_CORRUPT = 24,          /* kvdpb.CorruptAlarm, proposed by the leader (server/audit.h) */
    COMMAND_AUTH = 30,             /* kvdpb.AuthChange */
    COMMAND_AUTHENTICATE = 31,     /* kvdpb.Authenticate */
    COMMAND_KIND_MAX = 63,
};

/* Who wants something, as far as authentication knows. */
enum author_kind {
    AUTHOR_NOBODY = 0, /* a client that was not asked who it is, for auth was off, or did not say */
    AUTHOR_USER = 1,
    AUTHOR_MEMBER = 2, /* a member of itself: may all */
};

struct author {
    enum author_kind kind;
    struct slice user;
    uint64_t revision; /* auth revision at which the user was taken for that one */
};

struct command {
    uint64_t origin; /* member that took the request */
    uint64_t ticket; /* unique there, across restarts too */
    enum command_kind kind;
    struct slice body;
    struct author author;
    /* Of the entry it stands in: not encoded, set by whoever applies it. */
    uint64_t term, index;
};

int command_encode(const struct command *command, struct buf *out);
/* Takes the first command off *rest. KV_EPROTO: the bytes are no command. */
int command_decode(struct slice *rest, struct command *out);

struct auth_store;
struct auth_tokens;

struct machine_alarm {
    uint64_t member;
    uint32_t type; /* etcdserverpb.AlarmType */
    bool by_quota; /* raised by the member's space quota, which may clear it; not by a client */
    bool healing;  /* CORRUPT: its state differs from what a majority has, and it gets theirs; the
                      others go on, and clear it when it has */
};

struct machine_member {
    uint64_t id;
    char *name; /* "" until published */
    char **peer_urls;
    size_t peer_url_count;
    char **client_urls;
    size_t client_url_count;
    bool learner;
};

/* A wish that waits in the queue: (origin, ticket) is the command that brought it. */
struct machine_change {
    uint64_t origin, ticket;
    uint32_t kind; /* Kvdpb__MemberChange__Kind */
    uint64_t id;
    char **urls; /* sorted */
    size_t url_count;
    bool learner;
};

/* How one ended: 0, or why not. */
struct machine_change_end {
    uint64_t origin, ticket; /* origin 0: none did */
    int code;
};

struct machine {
    struct mvcc *mvcc;
    struct leases *leases;
    uint64_t lease_now_ms; /* the clock of leases, set by who applies; only a leader needs it, and
                              nothing replicated depends on it */
    struct machine_alarm *alarms;
    size_t alarm_count;
    char *downgrade_target;         /* "3.5.0"; NULL: no downgrade is enabled */
    struct machine_member *members; /* ascending by id */
    size_t member_count;
    uint64_t *removed; /* ids of members that were, ascending: they never come back */
    size_t removed_count;
    struct machine_change *changes; /* of the members, first in first out */
    size_t change_count;
    struct machine_change_end ended; /* by the last command or configuration; not replicated */
    uint64_t history;                /* see machine_history() */
    struct auth_store *auth;
    struct auth_tokens *tokens; /* the member's own, told of what concerns it; NULL: there are none.
                                   Nothing replicated depends on it */
};

/* Takes copies of the initial members' ids and peer URLs. */
struct machine *machine_new(uint64_t seed, const struct machine_member *members, size_t count);
void machine_free(struct machine *machine);

/* What a command did. The response is the packed protobuf answer with an incomplete header:
 * cluster_id, member_id and raft_term are filled in by who answers. */
struct machine_result {
    int code;         /* 0 or KV_E...: then the command had no effect */
    int64_t revision; /* of the store afterwards: the header's revision */
    uint64_t index;   /* of the entry the command stood in */
    int64_t ttl;      /* COMMAND_LEASE_GRANT, if it had an effect: in seconds */
    void *response;   /* unpacked protobuf-c message in the arena, borrowing from the keyspace; NULL
                         on   error or if not wanted */
    bool too_large;   /* a txn: done, but its ranges would give more than the most records, so
                         there is no response */
    uint64_t odd; /* COMMAND_CORRUPT: that member's state is not what the others have; 0: none */
};

/* Of all ranges in one txn: some 200 bytes each while the answer is made. */
enum { MACHINE_TXN_RECORDS_MAX = 4 << 20 };

/* want_response: only the origin builds the answer; the effect is the same. An undecodable command
 * is KV_EPROTO without effect, on every member alike. */
void machine_apply(struct machine *machine, const struct command *command, bool want_response,
                   struct arena *arena, struct machine_result *out);

/* A configuration of the log is applied: the members table follows it, and the first change in the
 * queue ends if that has made it. An address is peer URLs, joined by commas; without "://" it says
 * nothing about where a member is. */
void machine_configure(struct machine *machine, const struct replica_member *members, size_t count);

/* A txn of ranges only, evaluated against the state as it is; not a command, changes nothing. The
 * type is etcdserverpb.TxnRequest, as unpacked. */
struct Etcdserverpb__TxnRequest;
void machine_read_txn(const struct machine *machine, const struct Etcdserverpb__TxnRequest *request,
                      struct arena *arena, struct machine_result *out);

/* One that counts: a CORRUPT alarm of a member that is healing is that member's affair. */
bool machine_has_alarm(const struct machine *machine, uint32_t type);
/* That member's alarm of that type, or NULL. Valid until the next command. */
const struct machine_alarm *machine_alarm(const struct machine *machine, uint64_t member,
                                          uint32_t type);
/* What the space quota counts: the keyspace with its history, and the leases. O(1). */
size_t machine_space(const struct machine *machine);
/* The member with that id, or NULL. */
const struct machine_member *machine_member(const struct machine *machine, uint64_t id);
/* Whether it was a member and is none any more. */
bool machine_was_removed(const struct machine *machine, uint64_t id);

/* The running hash of what all commands and configurations so far have done: which changes of which
 * keys, with which outcome. Equal on members that applied the same entries with the same effect,
 * through checkpoints and transfers; once it differs it stays so. 0: not known, the state began
 * with a checkpoint of a version that did not have it. O(1). */
uint64_t machine_history(const struct machine *machine);

/* One number for everything the machine holds at this point: equal on members that applied the same
 * entries. Cost grows with the store: tests and the simulator. */
uint64_t machine_digest(const struct machine *machine);

#endif
