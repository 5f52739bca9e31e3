/* What a command does at once: to links, processes and disks. */
#include <signal.h>

#include "lab/internal.h"

/* ---- who is meant ---- */

static uint32_t all_members(const struct lab *lab)
{
    uint32_t bits = 0;

    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++)
        bits |= lab->members[n].used ? 1u << n : 0;
    return bits;
}

static int add_word(struct lab *lab, int who, uint32_t *bits, struct err *err)
{
    unsigned leader = lab__leader(lab);

    if (who & (LAB_WHO_LEADER | LAB_WHO_FOLLOWER) && leader == 0)
        return err_set(err, KV_ENOLEADER,
                       "nobody leads at the moment: wait leader comes before it");
    if (who & LAB_WHO_LEADER) {
        *bits |= 1u << leader;
        lab->old_leader = leader;
    }
    if (who & LAB_WHO_OLD && lab->old_leader == 0)
        return err_set(err, KV_EINVAL,
                       "\"old\" is who was meant by the last \"leader\", and nobody has said that "
                       "yet");
    if (who & LAB_WHO_OLD)
        *bits |= 1u << lab->old_leader;
    if (who & LAB_WHO_ALL)
        *bits |= all_members(lab);
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        const struct lab_member *member = &lab->members[n];

        if (who & LAB_WHO_DEAD && member->used && member->process.pid == 0)
            *bits |= 1u << n;
    }
    if ((who & LAB_WHO_FOLLOWER) == 0)
        return 0;
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        if (n != leader && lab__runs(&lab->members[n]) && !lab->members[n].learner &&
            (*bits & 1u << n) == 0) {
            *bits |= 1u << n;
            return 0;
        }
    }
    return err_set(err, KV_ENOTFOUND, "no follower runs");
}

int lab__resolve(struct lab *lab, const struct lab_command *command, size_t group, uint32_t *out,
                 struct err *err)
{
    uint32_t named = 0, bits = 0, missing;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < command->group_count; i++) {
        uint32_t these = command->groups[i].numbers;

        rc = add_word(lab, command->groups[i].who & ~LAB_WHO_OTHERS, &these, err);
        named |= these;
        if (i == group)
            bits = these;
    }
    if (rc != 0)
        return rc;
    if (command->group_count == 1 && named == 0 && lab->old_leader != 0)
        named = 1u << lab->old_leader; /* alone: all but who led */
    if (command->groups[group].who & LAB_WHO_OTHERS)
        bits |= all_members(lab) & ~named;
    missing = bits & ~all_members(lab);
    if (missing != 0)
        return err_set(err, KV_ENOTFOUND, "there is no member %d", __builtin_ctz(missing));
    if (bits == 0 && (command->groups[group].who & LAB_WHO_DEAD) == 0)
        return err_set(err, KV_ENOTFOUND, "no member is left for that");
    *out = bits;
    return 0;
}

/* "m1, m3" */
static const char *names_of(uint32_t bits, char *out, size_t size)
{
    size_t at = 0;

    out[0] = '\0';
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        if (bits & 1u << n && at + 5 < size)
            at += (size_t)snprintf(out + at, size - at, "%sm%u", at != 0 ? ", " : "", n);
    }
    return out;
}

/* ---- links ---- */

static void cut_between(struct lab *lab, uint32_t from, uint32_t to)
{
    for (unsigned a = 1; a <= LAB_MEMBERS_MAX; a++) {
        for (unsigned b = 1; b <= LAB_MEMBERS_MAX; b++) {
            if (a != b && from & 1u << a && to & 1u << b)
                lab_relays_cut(lab->relays, a, b, true);
        }
    }
}

static void delay_between(struct lab *lab, uint32_t from, uint32_t to, int64_t ms)
{
    for (unsigned a = 1; a <= LAB_MEMBERS_MAX; a++) {
        for (unsigned b = 1; b <= LAB_MEMBERS_MAX; b++) {
            if (a != b && from & 1u << a && to & 1u << b)
                lab_relays_delay(lab->relays, a, b, (uint64_t)ms);
        }
    }
}

static void thin_between(struct lab *lab, uint32_t from, uint32_t to, int64_t bytes_per_second)
{
    for (unsigned a = 1; a <= LAB_MEMBERS_MAX; a++) {
        for (unsigned b = 1; b <= LAB_MEMBERS_MAX; b++) {
            if (a != b && from & 1u << a && to & 1u << b)
                lab_relays_thin(lab->relays, a, b, (uint64_t)bytes_per_second);
        }
    }
}

static void heal_between(struct lab *lab, uint32_t from, uint32_t to)
{
    delay_between(lab, from, to, 0);
    thin_between(lab, from, to, 0);
    for (unsigned a = 1; a <= LAB_MEMBERS_MAX; a++) {
        for (unsigned b = 1; b <= LAB_MEMBERS_MAX; b++) {
            if (a != b && from & 1u << a && to & 1u << b)
                lab_relays_cut(lab->relays, a, b, false);
        }
    }
}

void lab__heal_all(struct lab *lab)
{
    heal_between(lab, ~0u, ~0u);
}

static int do_link(struct lab *lab, const struct lab_command *command, struct err *err)
{
    uint32_t from = ~0u, to = ~0u;
    int rc = 0;

    if (command->group_count != 0)
        rc = lab__resolve(lab, command, 0, &from, err);
    if (rc == 0 && command->group_count != 0)
        rc = lab__resolve(lab, command, 1, &to, err);
    if (rc != 0)
        return rc;
    if (command->group_count != 0 && from == to && __builtin_popcount(from) == 1)
        return err_set(err, KV_EINVAL, "a member has no link to itself");
    for (int way = 0; way <= (int)command->both_ways; way++) {
        if (command->verb == LAB_CUT)
            cut_between(lab, way ? to : from, way ? from : to);
        else if (command->verb == LAB_DELAY)
            delay_between(lab, way ? to : from, way ? from : to, command->ms);
        else if (command->verb == LAB_THIN)
            thin_between(lab, way ? to : from, way ? from : to, command->value);
        else
            heal_between(lab, way ? to : from, way ? from : to);
    }
    return 0;
}

static int do_partition(struct lab *lab, const struct lab_command *command, struct err *err)
{
    uint32_t parts[LAB_GROUPS_MAX], seen = 0;
    char names[64];

    for (size_t i = 0; i < command->group_count; i++) {
        int rc = lab__resolve(lab, command, i, &parts[i], err);

        if (rc != 0)
            return rc;
        if (seen & parts[i])
            return err_set(err, KV_EINVAL, "%s cannot be in two parts",
                           names_of(seen & parts[i], names, sizeof names));
        seen |= parts[i];
    }
    if ((all_members(lab) & ~seen) != 0)
        return err_set(err, KV_EINVAL, "in which part is %s? (\"others\" stands for the rest)",
                       names_of(all_members(lab) & ~seen, names, sizeof names));
    lab__heal_all(lab); /* a partition replaces the one before */
    for (size_t i = 0; i < command->group_count; i++)
        cut_between(lab, parts[i], seen & ~parts[i]);
    return 0;
}

/* ---- processes ---- */

static int need_running(const struct lab_member *member, struct err *err)
{
    if (member->process.pid != 0)
        return 0;
    return err_set(err, KV_ENOTFOUND, "m%u does not run: restart %u starts it", member->n,
                   member->n);
}

static int pause_member(struct lab_member *member, int64_t ms)
{
    lab_process_signal(&member->process, SIGSTOP);
    member->resume_at_ms = ms < 0 ? -1 : lab__now(member->lab) + ms;
    return 0;
}

static int do_process(struct lab_member *member, const struct lab_command *command, struct err *err)
{
    int rc;

    if (command->verb == LAB_RESTART)
        return lab__member_start(member, err);
    rc = need_running(member, err);
    if (rc != 0)
        return rc;
    switch (command->verb) {
    case LAB_KILL:
        lab__member_kill(member);
        return 0;
    case LAB_STOP:
        member->expected = false;
        lab_process_signal(&member->process, SIGCONT);
        lab_process_signal(&member->process, SIGTERM);
        return 0;
    case LAB_PAUSE:
        return pause_member(member, command->ms);
    default:
        member->resume_at_ms = -1;
        lab_process_signal(&member->process, SIGCONT);
        return 0;
    }
}

/* ---- disks ---- */

static int do_disk(struct lab_member *member, const struct lab_command *command, struct err *err)
{
    /* One that has not answered yet may still have to load it, and then finds what is set here. */
    if (member->observer.view.known && atomic_load(&member->disk->loaded) == 0)
        return err_set(err, KV_EINVAL,
                       "m%u's disk cannot be reached: its kvd runs without %s (is %s on a file "
                       "system mounted noexec, or kvd linked statically?)",
                       member->n, member->lab->preload_path, member->lab->dir);
    switch (command->verb) {
    case LAB_SLOW_DISK:
        atomic_store(&member->disk->sync_ms, (uint32_t)command->ms);
        return 0;
    case LAB_DISK_FULL:
        member->full = true;
        atomic_store(&member->disk->full, 1);
        return 0;
    default:
        member->full = false;
        atomic_store(&member->disk->full, 0);
        atomic_store(&member->disk->sync_ms, 0);
        return 0;
    }
}

/* ---- commands ---- */

static bool is_fault(enum lab_verb verb)
{
    switch (verb) {
    case LAB_CUT:
    case LAB_PARTITION:
    case LAB_DELAY:
    case LAB_THIN:
    case LAB_KILL:
    case LAB_STOP:
    case LAB_PAUSE:
    case LAB_SLOW_DISK:
    case LAB_DISK_FULL:
        return true;
    default:
        return false;
    }
}

static int do_members(struct lab *lab, const struct lab_command *command, struct err *err)
{
    uint32_t bits = 0;
    int rc = lab__resolve(lab, command, 0, &bits, err);

    if (rc == 0 && bits == 0)
        return err_set(err, KV_ENOTFOUND, "no member is dead");
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        struct lab_member *member = &lab->members[n];

        if (rc != 0 || (bits & 1u << n) == 0)
            continue;
        if (command->verb == LAB_TORN)
            rc = lab__tear_log(member, err);
        else if (command->verb == LAB_FORGET)
            rc = lab__shorten_log(member, (size_t)command->value, err);
        else if (command->verb == LAB_SLOW_DISK || command->verb == LAB_DISK_FULL ||
                 command->verb == LAB_DISK_OK)
            rc = do_disk(member, command, err);
        else
            rc = do_process(member, command, err);
    }
    return rc;
}

static int do_lock_client(struct lab *lab, const struct lab_command *command, struct err *err)
{
    struct lab_holder *holder = lab__holder(lab, command->holder);

    if (command->verb == LAB_LOCK)
        return lab__holder_lock(holder, err);
    return command->verb == LAB_SLEEP ? lab__holder_sleep(holder, err)
                                      : lab__holder_wake(holder, err);
}

/* What was said, with the names that its words stand for: "kill leader" becomes clear. */
static void announce(struct lab *lab, const struct lab_command *command)
{
    char names[64] = "";
    uint32_t bits;

    if (command->verb == LAB_SAY) {
        lab__say(lab, LAB_SAYS, 0, 0, "%s", command->text + command->rest_at);
        return;
    }
    if (command->group_count != 0 && command->groups[0].who != 0 &&
        lab__resolve(lab, command, 0, &bits, NULL) == 0)
        (void)names_of(bits, names, sizeof names);
    if (names[0] != '\0')
        lab__say(lab, LAB_TOLD, 0, 0, "> %s (%s)", command->text, names);
    else
        lab__say(lab, LAB_TOLD, 0, 0, "> %s", command->text);
}

static int carry_out(struct lab *lab, const struct lab_command *command, struct err *err)
{
    switch (command->verb) {
    case LAB_CUT:
    case LAB_HEAL:
    case LAB_DELAY:
    case LAB_THIN:
        return do_link(lab, command, err);
    case LAB_PARTITION:
        return do_partition(lab, command, err);
    case LAB_LOCK:
    case LAB_SLEEP:
    case LAB_WAKE:
        return do_lock_client(lab, command, err);
    case LAB_LOAD:
        lab->load.value_size = (size_t)command->value;
        lab_load_set(&lab->load, command->on);
        return 0;
    case LAB_STATUS:
        lab__console_status(lab);
        return 0;
    case LAB_HELP:
        lab_command_help(lab->options.out);
        return 0;
    case LAB_QUIT:
        lab__stop(lab);
        return 0;
    case LAB_UP:
        return err_set(err, KV_EBUSY, "the members are up already; add starts one more");
    case LAB_SAY:
    case LAB_NOTHING:
        return 0;
    default:
        return do_members(lab, command, err);
    }
}

int lab__do(struct lab *lab, const struct lab_command *command, struct err *err)
{
    int rc;

    if (command->verb != LAB_STATUS && command->verb != LAB_HELP)
        announce(lab, command);
    rc = carry_out(lab, command, err);
    if (rc == 0 && is_fault(command->verb))
        lab__experiment_fault(lab, command);
    return rc;
}
