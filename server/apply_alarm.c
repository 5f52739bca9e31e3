/* Alarms as commands (etcd-api.md section 9): raised and cleared by clients, and by the space quota
 * of a member (server/space.h), which clears only what it has raised, as does the comparison of
 * states (server/audit.h). */
#include <stdlib.h>

#include "base/mem.h"
#include "server/machine_internal.h"

/* ---- the list: ascending by type, then member ---- */

static int alarm_order(const struct machine_alarm *a, const struct machine_alarm *b)
{
    if (a->type != b->type)
        return a->type < b->type ? -1 : 1;
    return a->member < b->member ? -1 : a->member > b->member;
}

/* Where the alarm stands, or would. */
static size_t alarm_position(const struct machine *machine, const struct machine_alarm *alarm,
                             bool *there)
{
    size_t i = 0;

    while (i < machine->alarm_count && alarm_order(&machine->alarms[i], alarm) < 0)
        i++;
    *there = i < machine->alarm_count && alarm_order(&machine->alarms[i], alarm) == 0;
    return i;
}

void machine__raise_alarm(struct machine *machine, struct machine_alarm alarm)
{
    bool there;
    size_t at = alarm_position(machine, &alarm, &there);

    if (there) {
        machine->alarms[at].by_quota = machine->alarms[at].by_quota && alarm.by_quota;
        machine->alarms[at].healing = machine->alarms[at].healing && alarm.healing;
        return;
    }
    machine->alarms =
        xrealloc(machine->alarms, (machine->alarm_count + 1) * sizeof *machine->alarms);
    memmove(machine->alarms + at + 1, machine->alarms + at,
            (machine->alarm_count - at) * sizeof *machine->alarms);
    machine->alarms[at] = alarm;
    machine->alarm_count++;
}

/* Whether it was set. */
static bool clear_alarm(struct machine *machine, struct machine_alarm alarm)
{
    bool there;
    size_t at = alarm_position(machine, &alarm, &there);

    if (!there)
        return false;
    machine->alarm_count--;
    memmove(machine->alarms + at, machine->alarms + at + 1,
            (machine->alarm_count - at) * sizeof *machine->alarms);
    return true;
}

void machine__drop_alarms(struct machine *machine, uint64_t member_id)
{
    size_t kept = 0;

    for (size_t i = 0; i < machine->alarm_count; i++)
        if (machine->alarms[i].member != member_id)
            machine->alarms[kept++] = machine->alarms[i];
    machine->alarm_count = kept;
}

bool machine_has_alarm(const struct machine *machine, uint32_t type)
{
    for (size_t i = 0; i < machine->alarm_count; i++)
        if (machine->alarms[i].type == type && !machine->alarms[i].healing)
            return true;
    return false;
}

const struct machine_alarm *machine_alarm(const struct machine *machine, uint64_t member,
                                          uint32_t type)
{
    struct machine_alarm alarm = {.member = member, .type = type};
    bool there;
    size_t at = alarm_position(machine, &alarm, &there);

    return there ? &machine->alarms[at] : NULL;
}

/* ---- commands ---- */

/* The answer names the alarm that was raised or cleared; type NONE does nothing (section 9). */
void machine__apply_alarm(struct machine *machine, const Etcdserverpb__AlarmRequest *request,
                          bool want, struct arena *arena, struct machine_result *out)
{
    struct machine_alarm alarm = {.member = request->memberid, .type = (uint32_t)request->alarm};
    Etcdserverpb__AlarmResponse *response;
    Etcdserverpb__AlarmMember *entry;
    bool named = false;

    if (alarm.type != ETCDSERVERPB__ALARM_TYPE__NONE &&
        request->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE) {
        machine__raise_alarm(machine, alarm);
        named = true;
    }
    if (alarm.type != ETCDSERVERPB__ALARM_TYPE__NONE &&
        request->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE)
        named = clear_alarm(machine, alarm);
    if (!want)
        return;

    response = arena_alloc(arena, sizeof *response);
    etcdserverpb__alarm_response__init(response);
    response->header = machine__header(arena, mvcc_revision(machine->mvcc));
    if (named) {
        entry = arena_alloc(arena, sizeof *entry);
        etcdserverpb__alarm_member__init(entry);
        entry->memberid = alarm.member;
        entry->alarm = request->alarm;
        response->alarms = arena_alloc(arena, sizeof *response->alarms);
        response->alarms[0] = entry;
        response->n_alarms = 1;
    }
    out->response = response;
}

void machine__apply_space(struct machine *machine, const Kvdpb__SpaceAlarm *request,
                          struct machine_result *out)
{
    struct machine_alarm alarm = {
        .member = request->member_id, .type = ETCDSERVERPB__ALARM_TYPE__NOSPACE, .by_quota = true};
    const struct machine_alarm *old = machine_alarm(machine, alarm.member, alarm.type);

    if (request->raised)
        machine__raise_alarm(machine, alarm);
    else if (old != NULL && old->by_quota)
        (void)clear_alarm(machine, alarm); /* it is there */
    out->code = 0;
}

void machine__apply_corrupt(struct machine *machine, const Kvdpb__CorruptAlarm *request,
                            struct machine_result *out)
{
    struct machine_alarm alarm = {.member = request->member_id,
                                  .type = ETCDSERVERPB__ALARM_TYPE__CORRUPT,
                                  .healing = request->healing};
    const struct machine_alarm *old = machine_alarm(machine, alarm.member, alarm.type);

    if (machine_member(machine, alarm.member) == NULL)
        out->code = KV_ENOTFOUND;
    else if (request->raised)
        machine__raise_alarm(machine, alarm);
    if (out->code == 0 && request->raised && request->healing)
        out->odd = alarm.member;
    if (out->code == 0 && !request->raised && old != NULL && old->healing)
        (void)clear_alarm(machine, alarm); /* it is there */
}
