/* What a leader's lessor writes to the log: the first entry of its term, ends of leases,
 * checkpoints, and clears of checkpoints.
 *
 * All of it is paced, so that clients' writes go between: a bounded number in one entry, the next
 * ones when these have been applied. */
#include <stdlib.h>

#include "base/mem.h"
#include "proto/command.pb-c.h"
#include "server/lessor_internal.h"

enum {
    EXPIRE_BATCH = 128,        /* leases ended by one entry ... */
    EXPIRE_BATCH_KEYS = 1024,  /* ... or so many keys: about a millisecond of every member's time */
    EXPIRE_AGAIN_MS = 3000,    /* as etcd */
    CHECKPOINT_BATCH = 1000,   /* in one command: some 25 KB, less than half a millisecond */
    CHECKPOINT_PAUSE_MS = 100, /* between two commands of checkpoints: those in between share one */
    CLEAR_AGAIN_MS = 100,      /* after one that was refused */
    OPEN_AGAIN_MS = 100,       /* likewise */
    REMAINING_SIZE_MAX = 2 + 11 + 11 + 11, /* encoded: head and three numbers with their tags */
    CHECKPOINT_HEAD_SIZE_MAX = 64,         /* the term, and what is put around a body */
};

enum command_purpose { PURPOSE_OPEN, PURPOSE_END, PURPOSE_CHECKPOINT, PURPOSE_CLEAR };

struct lessor_command {
    enum command_purpose purpose;
    uint64_t term;
    size_t count;
    struct lease_checkpoint leases[];
};

static struct lessor_command *new_command(const struct lessor *lessor, enum command_purpose purpose,
                                          size_t room)
{
    struct lessor_command *command = xmalloc(sizeof *command + room * sizeof command->leases[0]);

    *command = (struct lessor_command){.purpose = purpose, .term = lessor->term};
    return command;
}

static bool propose(struct lessor *lessor, enum command_kind kind, const ProtobufCMessage *message,
                    struct lessor_command *command)
{
    const struct lessor_env *env = &lessor->options.env;
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *body = xmalloc(len);
    bool proposed;

    (void)protobuf_c_message_pack(message, body); /* writes len bytes */
    proposed = env->propose(env->ctx, kind, slice_of(body, len), command);
    free(body);
    return proposed;
}

/* ---- the end ---- */

static bool propose_end(struct lessor *lessor, const struct lease_checkpoint *lease)
{
    struct lessor_command *command = new_command(lessor, PURPOSE_END, 1);
    Kvdpb__LeaseExpire message = KVDPB__LEASE_EXPIRE__INIT;

    message.term = lessor->lead_term;
    message.id = lease->id;
    message.grant = lease->grant;
    command->leases[command->count++] = *lease;
    if (!propose(lessor, COMMAND_LEASE_EXPIRE, &message.base, command)) {
        free(command);
        return false;
    }
    lessor->expiring++;
    return true;
}

void lessor__end_due(struct lessor *lessor, uint64_t now_ms)
{
    struct lease_checkpoint lease;
    size_t keys = 0;

    if (lessor->expiring > 0)
        return;
    for (int i = 0; i < EXPIRE_BATCH && keys < EXPIRE_BATCH_KEYS; i++) {
        if (!leases_take_due(lessor->leases, now_ms, &lease))
            return;
        keys += leases_key_count(lessor->leases, lease.id);
        if (!propose_end(lessor, &lease)) {
            leases_put_back(lessor->leases, lease.id, now_ms + EXPIRE_AGAIN_MS);
            return;
        }
    }
}

/* ---- checkpoints and clears ---- */

static size_t batch_max(const struct lessor *lessor)
{
    size_t room = lessor->options.command_size_max;

    room = room > CHECKPOINT_HEAD_SIZE_MAX ? room - CHECKPOINT_HEAD_SIZE_MAX : 0;
    return MAX(MIN(room / REMAINING_SIZE_MAX, (size_t)CHECKPOINT_BATCH), (size_t)1);
}

static bool propose_checkpoint(struct lessor *lessor, struct lessor_command *command)
{
    Kvdpb__LeaseCheckpoint message = KVDPB__LEASE_CHECKPOINT__INIT;
    Kvdpb__LeaseRemaining *each = xcalloc(command->count, sizeof *each);
    bool proposed;

    message.term = command->term;
    message.leases = xcalloc(command->count, sizeof(Kvdpb__LeaseRemaining *));
    message.n_leases = command->count;
    for (size_t i = 0; i < command->count; i++) {
        kvdpb__lease_remaining__init(&each[i]);
        each[i].id = command->leases[i].id;
        each[i].grant = command->leases[i].grant;
        each[i].remaining_ms = command->leases[i].remaining_ms;
        message.leases[i] = &each[i];
    }
    proposed = propose(lessor, COMMAND_LEASE_CHECKPOINT, &message.base, command);
    free(message.leases);
    free(each);
    return proposed;
}

void lessor__open(struct lessor *lessor, uint64_t now_ms)
{
    struct lessor_command *command;

    if (lessor->opening_term == lessor->term || lessor->open_ms > now_ms)
        return;
    command = new_command(lessor, PURPOSE_OPEN, 0);
    if (propose_checkpoint(lessor, command)) {
        lessor->opening_term = lessor->term;
        return;
    }
    lessor->open_ms = now_ms + OPEN_AGAIN_MS;
    free(command);
}

void lessor__write_checkpoints(struct lessor *lessor, uint64_t now_ms)
{
    struct lessor_command *command;
    size_t max = batch_max(lessor);

    if (lessor->checkpointing || lessor->checkpoint_ms > now_ms ||
        leases_next_checkpoint(lessor->leases) > now_ms)
        return;
    command = new_command(lessor, PURPOSE_CHECKPOINT, max);
    while (command->count < max &&
           leases_take_checkpoint(lessor->leases, now_ms, &command->leases[command->count]))
        command->count++;
    lessor->checkpoint_ms = now_ms + CHECKPOINT_PAUSE_MS;
    /* Refused: the leases get their next one in time. */
    lessor->checkpointing = command->count > 0 && propose_checkpoint(lessor, command);
    if (!lessor->checkpointing)
        free(command);
}

static void put_back_clears(struct lessor *lessor, const struct lessor_command *command)
{
    for (size_t i = 0; i < command->count; i++)
        leases_put_back_clear(lessor->leases, &command->leases[i]);
}

void lessor__write_clears(struct lessor *lessor, uint64_t now_ms)
{
    struct lessor_command *command;
    size_t max = batch_max(lessor);

    if (lessor->clearing || lessor->clear_ms > now_ms || list_empty(&lessor->held))
        return;
    command = new_command(lessor, PURPOSE_CLEAR, max);
    while (command->count < max &&
           leases_take_clear(lessor->leases, &command->leases[command->count]))
        command->count++;
    lessor->clearing = command->count > 0 && propose_checkpoint(lessor, command);
    if (lessor->clearing)
        return;
    if (command->count == 0)
        lessor__release_held(lessor); /* their leases are gone */
    else
        lessor->clear_ms = now_ms + CLEAR_AGAIN_MS;
    put_back_clears(lessor, command);
    free(command);
}

/* ---- how it went ---- */

/* From inside apply: nothing may be proposed here. What belongs to an earlier time of leading is
 * void, or else will be. */
void lessor__command_done(struct lessor *lessor, struct lessor_command *command, bool applied)
{
    bool current = lessor__leads(lessor) && command->term == lessor->lead_term;

    if (command->purpose == PURPOSE_OPEN) {
        if (command->term == lessor->opening_term)
            lessor->opening_term = 0;
        if (applied && command->term == lessor->term)
            lessor->open_term = command->term;
    } else if (current && command->purpose == PURPOSE_END) {
        lessor->expiring--;
        lessor->expired += applied;
        if (!applied) /* harmless if it is gone */
            leases_put_back(lessor->leases, command->leases[0].id,
                            lessor__now_ms(lessor) + EXPIRE_AGAIN_MS);
    } else if (current && command->purpose == PURPOSE_CHECKPOINT) {
        lessor->checkpointing = false;
    } else if (current) {
        lessor->clearing = false;
        if (!applied)
            put_back_clears(lessor, command);
        lessor__release_held(lessor);
    }
    free(command);
}

void lessor__command_follow(struct lessor *lessor)
{
    lessor->expiring = 0;
    lessor->checkpointing = lessor->clearing = false;
    lessor->checkpoint_ms = lessor->clear_ms = 0;
}

uint64_t lessor__command_next_ms(const struct lessor *lessor)
{
    uint64_t at_ms = UINT64_MAX, next_ms;

    if (!lessor__is_open(lessor))
        return lessor->opening_term == lessor->term ? UINT64_MAX : lessor->open_ms;
    if (!lessor__leads(lessor))
        return UINT64_MAX;
    if (lessor->expiring == 0 && !lessor->confirming)
        at_ms = leases_next_due(lessor->leases);
    next_ms = leases_next_checkpoint(lessor->leases);
    if (!lessor->checkpointing && next_ms != UINT64_MAX)
        at_ms = MIN(at_ms, MAX(next_ms, lessor->checkpoint_ms));
    if (!lessor->clearing && !list_empty(&lessor->held))
        at_ms = MIN(at_ms, lessor->clear_ms);
    return at_ms;
}
