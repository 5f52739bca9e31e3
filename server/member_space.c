/* The space quota at work: refuses what does not fit, has the alarm raised through the log, and
 * cleared when space is back; says in the log what is going on and what to do.
 *
 * Limit and use are this member's own (its flag, its memory), so every member raises and clears its
 * own alarm only. */
#include "base/mem.h"
#include "proto/command.pb-c.h"
#include "server/machine_internal.h"
#include "server/member_internal.h"
#include "server/scan.h"

enum {
    NOSPACE = ETCDSERVERPB__ALARM_TYPE__NOSPACE,
    BODY_SIZE = 16, /* a packed SpaceAlarm: an id and a flag */
};

/* A call that has been refused and is told so once all members will refuse as well: when the alarm
 * stands in the log. Lives in the call's arena. */
struct refused_call {
    struct waiter waiter;
    struct list link;
    struct grpc_call *call;
};

void member__space_init(struct member *member)
{
    space_init(&member->space.quota, member->config->quota_backend_bytes);
    list_init(&member->space.refused);
}

void member__space_start(const struct member *member)
{
    int64_t quota = member->space.quota.quota;

    if (quota < 0)
        log_info(member->log, "disabled backend quota", LOG_INT("quota-size-bytes", quota));
    else
        log_info(member->log, "enabled backend quota", LOG_INT("quota-size-bytes", quota));
}

static const struct machine_alarm *own_alarm(const struct member *member)
{
    return machine_alarm(member->machine, member->boot.member_id, NOSPACE);
}

/* ---- the alarm's way through the log ---- */

static void answer_refused(struct member *member, enum status status)
{
    struct list *refused = &member->space.refused;

    while (!list_empty(refused)) {
        struct refused_call *wait = LIST_FIRST(refused, struct refused_call, link);

        list_remove(&wait->link);
        grpc_call_set_data(wait->call, NULL);
        grpc_call_finish(wait->call, status_line(status)->code, status_line(status)->text);
    }
}

/* Inside apply, where nothing may be proposed. A refusal is final even if the alarm could not be
 * raised: as in etcd. */
static void on_alarm(struct member *member, struct grpc_call *call, const void *request,
                     enum status status, const struct machine_result *result)
{
    struct space_guard *guard = &member->space;

    (void)call; /* none: nobody asked */
    (void)request;
    (void)result;
    guard->proposing = false;
    /* It was on its way to be cleared when something did not fit. */
    if (!list_empty(&guard->refused) && status == STATUS_OK && own_alarm(member) == NULL)
        guard->overrun = true;
    answer_refused(member, status == STATUS_STOPPED ? status : STATUS_NO_SPACE);
}

static enum status propose_alarm(struct member *member, bool raised)
{
    Kvdpb__SpaceAlarm message = KVDPB__SPACE_ALARM__INIT;
    uint8_t body[BODY_SIZE];
    enum status status;
    size_t len;

    message.member_id = member->boot.member_id;
    message.raised = raised;
    len = kvdpb__space_alarm__get_packed_size(&message);
    ASSERT(len <= sizeof body);
    (void)kvdpb__space_alarm__pack(&message, body); /* writes len bytes */
    status = member__write(member, NULL, NULL, COMMAND_SPACE, slice_of(body, len), on_alarm);
    member->space.proposing = status == STATUS_OK;
    return status;
}

/* ---- requests ---- */

static void cancel_refused(struct waiter *waiter)
{
    struct refused_call *wait = CONTAINER_OF(waiter, struct refused_call, waiter);

    list_remove(&wait->link);
}

static void refuse(struct member *member, struct grpc_call *call)
{
    struct space_guard *guard = &member->space;
    enum status status = STATUS_NO_SPACE;
    struct refused_call *wait;

    if (!guard->proposing && own_alarm(member) == NULL)
        status = propose_alarm(member, true);
    if (!guard->proposing) {
        grpc_call_finish(call, status_line(status)->code, status_line(status)->text);
        return;
    }
    wait = arena_alloc(grpc_call_arena(call), sizeof *wait);
    *wait = (struct refused_call){.waiter.cancel = cancel_refused, .call = call};
    list_push_back(&guard->refused, &wait->link);
    grpc_call_set_data(call, &wait->waiter);
}

bool member__space_admit(struct member *member, struct grpc_call *call, uint64_t cost)
{
    if (space_fits(&member->space.quota, machine_space(member->machine), cost))
        return true;
    refuse(member, call);
    return false;
}

/* Only asked when space is short: a txn is unpacked once more. */
static bool takes_space(const struct command *command)
{
    struct arena arena = ARENA_INIT;
    ProtobufCMessage *txn;
    bool puts;

    if (command->kind != COMMAND_TXN)
        return command->kind == COMMAND_PUT || command->kind == COMMAND_LEASE_GRANT;
    puts = scan_unpack(&etcdserverpb__txn_request__descriptor, command->body, &arena, &txn) == 0 &&
           machine__txn_puts((const Etcdserverpb__TxnRequest *)txn);
    arena_release(&arena);
    return puts;
}

void member__space_applied(struct member *member, const struct command *command)
{
    struct space_guard *guard = &member->space;

    if (member->ready && !guard->overrun &&
        space_is_short(&guard->quota, machine_space(member->machine)))
        guard->overrun = takes_space(command);
}

/* ---- the turn ---- */

/* What gives space back depends on what takes it. */
static const char *advice(const struct member *member)
{
    const struct mvcc *mvcc = member->machine->mvcc;
    size_t held = mvcc_bytes_held(mvcc);

    if (held - mvcc_bytes_in_use(mvcc) > held / 4)
        return "much of it is old revisions: remove them with 'kvctl compaction REVISION', or set "
               "--auto-compaction-retention";
    return "nearly all of it is live keys: delete some ('kvctl del') and compact ('kvctl "
           "compaction REVISION'), or restart the members with a larger --quota-backend-bytes";
}

static void log_space(const struct member *member, const char *msg, uint64_t used)
{
    const struct mvcc *mvcc = member->machine->mvcc;
    int64_t quota = member->space.quota.quota;

    log_warn(member->log, msg, LOG_UINT("percent", used * 100 / MAX((uint64_t)quota, UINT64_C(1))),
             LOG_UINT("used-bytes", used), LOG_INT("quota-size-bytes", quota),
             LOG_UINT("old-revisions-bytes", mvcc_bytes_held(mvcc) - mvcc_bytes_in_use(mvcc)),
             LOG_INT("revision", mvcc_revision(mvcc)),
             LOG_INT("compact-revision", mvcc_compact_revision(mvcc)),
             LOG_STR("what-to-do", advice(member)));
}

/* Says what has become of this member's alarm, whoever did it. */
static void note_alarm(struct member *member, bool alarmed, uint64_t used)
{
    struct space_guard *guard = &member->space;

    if (alarmed == guard->alarmed)
        return;
    guard->alarmed = alarmed;
    if (!alarmed) {
        guard->quota.wanted = 0;
        log_info(member->log, "alarm NOSPACE of this member is cleared",
                 LOG_UINT("used-bytes", used), LOG_INT("quota-size-bytes", guard->quota.quota));
    } else if (own_alarm(member)->by_quota) {
        log_space(
            member,
            "alarm NOSPACE is raised: all members refuse writes that need space, until enough "
            "of it is free again; deletes and compaction work",
            used);
    } else {
        log_warn(member->log, "alarm NOSPACE of this member was activated by a client: all members "
                              "refuse writes that need space until 'kvctl alarm disarm'");
    }
}

void member__space_turn(struct member *member)
{
    struct space_guard *guard = &member->space;
    uint64_t used = machine_space(member->machine);
    const struct machine_alarm *alarm = own_alarm(member);

    if (!member->ready || member->state >= MEMBER_DRAINING)
        return;
    if (space_crossed(&guard->quota, used) != 0)
        log_space(
            member,
            "the space quota is being used up; when it is, writes that need space are refused",
            used);
    note_alarm(member, alarm != NULL, used);
    if (guard->proposing)
        return;
    /* What can not be proposed now is tried again in a later turn. */
    if (alarm == NULL && guard->overrun)
        guard->overrun = propose_alarm(member, true) != STATUS_OK;
    else if (alarm != NULL && alarm->by_quota && space_is_back(&guard->quota, used))
        (void)propose_alarm(member, false);
    else
        guard->overrun = false;
}
