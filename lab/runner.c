/* One command after the other: what takes time is looked at every tick until it is so, or too late.
 */
#include <stdlib.h>
#include <string.h>

#include "lab/internal.h"

enum { EXPECT_WITHIN_MS = 5000, STOPS_FOR_MS = 1000, SETTLED_MS = 1500, CHECK_MS = 30000 };

enum outcome { NOT_YET, HOLDS, FAILS };

static bool has_script(const struct lab *lab)
{
    return lab->options.script != NULL;
}

static const struct lab_view *view_of(const struct lab *lab, unsigned n)
{
    return &lab->members[n].observer.view;
}

/* "name, line 3: " in a script. */
static const char *place(const struct lab *lab, const struct lab_command *command, char *out,
                         size_t size)
{
    out[0] = '\0';
    if (command->line != 0 && has_script(lab))
        (void)snprintf(out, size, "%s, line %u: ", lab->options.script->name, command->line);
    return out;
}

/* ---- the end of a command ---- */

static void succeed(struct lab *lab)
{
    lab->runner.busy = false;
}

/* The command could not be carried out: what was to follow in a script would mean nothing. */
static void abandon(struct lab *lab, const struct lab_command *command, const char *why)
{
    char where[120];

    lab__say(lab, LAB_WRONG, 0, 0, "%s%s: %s", place(lab, command, where, sizeof where),
             command->text, why);
    lab->runner.busy = false;
    lab->runner.failed = true;
    /* who types sees it, and can go on */
    if (has_script(lab) || (lab->input_used && !lab->input_is_terminal))
        lab->exit_code = 1;
}

/* An expectation; a script goes on, and ends with 1. */
static void judge(struct lab *lab, bool holds, const char *detail)
{
    const struct lab_command *command = &lab->runner.current;
    char where[120];

    if (holds) {
        lab__say(lab, LAB_RIGHT, 0, 0, "ok: %s%s%s", command->text, detail[0] != '\0' ? ": " : "",
                 detail);
    } else {
        lab__say(lab, LAB_WRONG, 0, 0, "%sFAILED: %s%s%s", place(lab, command, where, sizeof where),
                 command->text, detail[0] != '\0' ? ": " : "", detail);
        lab->exit_code = 1;
    }
    lab->runner.busy = false;
}

/* ---- wait ---- */

/* Until each of the members is as wanted. */
static enum outcome all_of(struct lab *lab, bool (*wanted)(struct lab *lab, unsigned n), char *why,
                           size_t size)
{
    struct err err = ERR_INIT;
    uint32_t bits;

    if (lab__resolve(lab, &lab->runner.current, 0, &bits, &err) != 0) {
        (void)snprintf(why, size, "%.150s", err.text);
        return NOT_YET; /* who leads may be known in a moment */
    }
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        if (bits & 1u << n && !wanted(lab, n)) {
            (void)snprintf(why, size, "not yet true of m%u (%s)", n,
                           lab__state_name(lab__state(&lab->members[n])));
            return NOT_YET;
        }
    }
    return HOLDS;
}

static bool is_up(struct lab *lab, unsigned n)
{
    return view_of(lab, n)->known;
}

static bool is_down(struct lab *lab, unsigned n)
{
    return lab->members[n].process.pid == 0;
}

static bool has_logged(struct lab *lab, unsigned n)
{
    const struct lab_command *command = &lab->runner.current;

    return lab_process_log_has(lab->members[n].log_path, command->text + command->rest_at);
}

/* Has applied what the leader had committed when this was first asked. */
static bool is_caught_up(struct lab *lab, unsigned n)
{
    unsigned leader = lab__leader(lab);
    uint64_t *mark = &lab->runner.mark[n];

    if (*mark == 0 && leader != 0)
        *mark = view_of(lab, leader)->commit_index;
    return *mark != 0 && is_up(lab, n) && view_of(lab, n)->applied_index >= *mark;
}

/* A call of the topic that began after the command did, and ended well, at that member. */
static bool went_well(const struct lab *lab, enum lab_topic topic, unsigned n)
{
    const struct lab_clients *clients = &lab->load.clients[n];

    return clients->used && clients->workers[topic].ok_began_ms >= lab->runner.began_ms;
}

static bool went_well_anywhere(const struct lab *lab, enum lab_topic topic)
{
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        if (went_well(lab, topic, n))
            return true;
    }
    return false;
}

static enum outcome look_wait(struct lab *lab, char *why, size_t size)
{
    const struct lab_command *command = &lab->runner.current;
    bool late = lab__now(lab) >= lab->runner.deadline_ms;

    switch (command->wait) {
    case LAB_WAIT_TIME:
        return late ? HOLDS : NOT_YET;
    case LAB_WAIT_LEADER:
        (void)snprintf(why, size, "nobody leads that a quorum hears");
        return lab__leader(lab) != 0 ? HOLDS : NOT_YET;
    case LAB_WAIT_CAUGHT_UP:
        return all_of(lab, is_caught_up, why, size);
    case LAB_WAIT_UP:
        return all_of(lab, is_up, why, size);
    case LAB_WAIT_DOWN:
        return all_of(lab, is_down, why, size);
    case LAB_WAIT_WRITES:
        (void)snprintf(why, size, "no write was acknowledged");
        return went_well_anywhere(lab, LAB_WRITES) ? HOLDS : NOT_YET;
    case LAB_WAIT_HOLDER:
        (void)snprintf(why, size, "client %c does not hold the lock", command->holder);
        return lab__holder(lab, command->holder)->holds ? HOLDS : NOT_YET;
    }
    return FAILS;
}

static bool somebody_is_ending(struct lab *lab, const struct lab_command *command)
{
    uint32_t bits;

    if (lab__resolve(lab, command, 0, &bits, NULL) != 0)
        return false;
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        if (bits & 1u << n && lab__is_ending(&lab->members[n]))
            return true;
    }
    return false;
}

/* ---- expect ---- */

static enum outcome look_flow(struct lab *lab, char *why, size_t size)
{
    const struct lab_command *command = &lab->runner.current;
    bool must_go_on = command->expect == LAB_EXPECT_GOES_ON, all = true, any = false;
    struct err err = ERR_INIT;
    uint32_t bits = 0;

    if (command->group_count == 0) {
        any = all = went_well_anywhere(lab, command->topic);
    } else if (lab__resolve(lab, command, 0, &bits, &err) != 0) {
        (void)snprintf(why, size, "%.150s", err.text);
        return NOT_YET;
    }
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        if ((bits & 1u << n) == 0)
            continue;
        all = all && went_well(lab, command->topic, n);
        any = any || went_well(lab, command->topic, n);
    }
    if (must_go_on) {
        (void)snprintf(why, size, "%s", all ? "" : "none that began since then succeeded");
        return all ? HOLDS : NOT_YET;
    }
    (void)snprintf(why, size, "%s", any ? "one that began since then succeeded" : "");
    if (any)
        return FAILS;
    return lab__now(lab) >= lab->runner.deadline_ms ? HOLDS : NOT_YET;
}

static enum outcome look_leader(struct lab *lab, char *why, size_t size)
{
    unsigned leader = lab__leader(lab);
    struct err err = ERR_INIT;
    uint32_t bits;

    if (leader == 0)
        (void)snprintf(why, size, "nobody leads");
    else
        (void)snprintf(why, size, "m%u leads", leader);
    if (lab->runner.current.expect == LAB_EXPECT_NO_LEADER)
        return leader == 0 ? HOLDS : NOT_YET;
    if (leader == 0)
        return NOT_YET;
    if (lab__resolve(lab, &lab->runner.current, 0, &bits, &err) != 0) {
        (void)snprintf(why, size, "%.150s", err.text);
        return NOT_YET;
    }
    return bits & 1u << leader ? HOLDS : NOT_YET;
}

static enum outcome look_holder(struct lab *lab, char *why, size_t size)
{
    char name = lab->runner.current.holder;
    const char *who = "nobody";
    bool right = name == '\0';

    for (char c = 'A'; c <= 'C'; c++) {
        const struct lab_holder *holder = lab__holder(lab, c);

        if (!holder->holds || holder->asleep)
            continue;
        who = c == 'A' ? "A" : c == 'B' ? "B" : "C";
        right = c == name;
        if (right)
            break;
    }
    (void)snprintf(why, size, "%s holds it", who);
    return right ? HOLDS : NOT_YET;
}

static bool needs_check(const struct lab_command *command)
{
    return command->verb == LAB_VERDICT ||
           (command->verb == LAB_EXPECT && command->expect == LAB_EXPECT_FIGURE &&
            (command->figure == LAB_LOST || command->figure == LAB_WRONG_READS));
}

static enum outcome look_figure(struct lab *lab, char *why, size_t size)
{
    const struct lab_command *command = &lab->runner.current;
    int64_t value = lab__figure(lab, command->figure);
    char text[32];

    if (needs_check(command))
        lab->experiment.judged = true;
    if (needs_check(command) && value < 0) {
        (void)snprintf(why, size, "the history could not be checked: %.150s", lab->job.err.text);
        return FAILS;
    }
    if (value < 0) {
        (void)snprintf(why, size, "no leader of a later term was seen");
        return FAILS;
    }
    if (lab_figures[command->figure].unit == LAB_TIME)
        (void)snprintf(why, size, "it is %s", lab_duration_format(value, text, sizeof text));
    else
        (void)snprintf(why, size, "it is %lld", (long long)value);
    return lab_command_holds(command, value) ? HOLDS : FAILS;
}

static enum outcome look_expect(struct lab *lab, char *why, size_t size)
{
    switch (lab->runner.current.expect) {
    case LAB_EXPECT_FIGURE:
        return look_figure(lab, why, size);
    case LAB_EXPECT_GOES_ON:
    case LAB_EXPECT_STOPS:
        return look_flow(lab, why, size);
    case LAB_EXPECT_LEADER:
    case LAB_EXPECT_NO_LEADER:
        return look_leader(lab, why, size);
    case LAB_EXPECT_SAME_DATA:
        (void)snprintf(why, size, "%.150s", lab->job.err.text);
        return lab->job.err.code == 0 ? HOLDS : FAILS;
    case LAB_EXPECT_HOLDER:
        return look_holder(lab, why, size);
    case LAB_EXPECT_DOWN:
        return all_of(lab, is_down, why, size);
    case LAB_EXPECT_LOG:
        return all_of(lab, has_logged, why, size);
    }
    return FAILS;
}

/* ---- jobs ---- */

static enum lab_job_kind job_of(const struct lab_command *command)
{
    if (needs_check(command))
        return LAB_JOB_CHECK;
    switch (command->verb) {
    case LAB_EXPECT:
        return command->expect == LAB_EXPECT_SAME_DATA ? LAB_JOB_SAME_DATA : LAB_NO_JOB;
    case LAB_ADD:
        return command->learner ? LAB_JOB_ADD_LEARNER : LAB_JOB_ADD;
    case LAB_PROMOTE:
        return LAB_JOB_PROMOTE;
    case LAB_REMOVE:
        return LAB_JOB_REMOVE;
    case LAB_SNAPSHOT:
        return LAB_JOB_SNAPSHOT;
    case LAB_RESTORE:
        return LAB_JOB_RESTORE;
    default:
        return LAB_NO_JOB;
    }
}

static int begin_job(struct lab *lab, enum lab_job_kind kind, struct err *err)
{
    const struct lab_command *command = &lab->runner.current;
    uint32_t bits = 0;

    if (kind == LAB_JOB_PROMOTE || kind == LAB_JOB_REMOVE) {
        int rc = lab__resolve(lab, command, 0, &bits, err);

        if (rc != 0)
            return rc;
        if (__builtin_popcount(bits) != 1)
            return err_set(err, KV_EINVAL, "one member at a time");
    }
    lab__job_begin(lab, kind, bits != 0 ? (unsigned)__builtin_ctz(bits) : 0,
                   command->ms > 0 ? command->ms : CHECK_MS);
    return 0;
}

/* The job of the current command has ended. */
static void take_job(struct lab *lab)
{
    const struct lab_command *command = &lab->runner.current;
    struct err err = lab->job.err;
    char why[200] = "";

    lab__job_end(lab);
    if (command->verb == LAB_VERDICT) {
        lab__verdict(lab, &err);
        succeed(lab);
    } else if (command->verb == LAB_EXPECT) {
        bool holds = look_expect(lab, why, sizeof why) == HOLDS;

        judge(lab, holds, why);
    } else if (err.code != 0) {
        abandon(lab, command, err.text);
    } else {
        succeed(lab);
    }
}

/* ---- one command ---- */

static int64_t patience(const struct lab_command *command)
{
    if (command->ms >= 0)
        return command->ms;
    if (command->verb == LAB_WAIT || command->verb == LAB_RESTART)
        return PATIENCE_DEFAULT_MS;
    return command->verb == LAB_EXPECT && command->expect == LAB_EXPECT_STOPS ? STOPS_FOR_MS
                                                                              : EXPECT_WITHIN_MS;
}

static void begin(struct lab *lab, const struct lab_command *command)
{
    struct lab_runner *runner = &lab->runner;
    enum lab_job_kind kind = job_of(command);
    bool waits = lab_command_waits(command);
    struct err err = ERR_INIT;
    int rc = 0;

    runner->current = *command;
    runner->began_ms = lab__now(lab);
    runner->deadline_ms = runner->began_ms + patience(command);
    memset(runner->mark, 0, sizeof runner->mark);
    runner->busy = waits || (command->verb == LAB_RESTART && somebody_is_ending(lab, command));
    if (waits && command->verb != LAB_EXPECT && command->verb != LAB_VERDICT)
        lab__say(lab, LAB_TOLD, 0, 0, "> %s", command->text);
    if (kind != LAB_NO_JOB)
        rc = begin_job(lab, kind, &err);
    else if (command->verb == LAB_WRITE)
        rc = lab__holder_write(lab__holder(lab, command->holder), command->unguarded, &err);
    else if (!runner->busy)
        rc = lab__do(lab, command, &err);
    if (rc != 0)
        abandon(lab, command, err.text);
}

/* A stop that goes on is waited for. */
static void look_restart(struct lab *lab, bool late)
{
    const struct lab_command *command = &lab->runner.current;
    struct err err = ERR_INIT;

    if (somebody_is_ending(lab, command) && !late)
        return;
    if (lab__do(lab, command, &err) == 0)
        succeed(lab);
    else
        abandon(lab, command, err.text);
}

static void look(struct lab *lab)
{
    struct lab_runner *runner = &lab->runner;
    const struct lab_command *command = &runner->current;
    bool late = lab__now(lab) >= runner->deadline_ms;
    enum outcome outcome;
    char why[200] = "";

    if (lab->job.kind != LAB_NO_JOB) {
        if (lab->job.done)
            take_job(lab);
        return;
    }
    if (command->verb == LAB_WRITE) {
        runner->busy = lab__holder(lab, command->holder)->writes;
        return;
    }
    if (command->verb == LAB_RESTART) {
        look_restart(lab, late);
        return;
    }
    outcome = command->verb == LAB_WAIT ? look_wait(lab, why, sizeof why)
                                        : look_expect(lab, why, sizeof why);
    if (outcome == NOT_YET && late)
        outcome = FAILS;
    if (outcome == NOT_YET)
        return;
    if (command->verb == LAB_EXPECT)
        judge(lab, outcome == HOLDS, why);
    else if (outcome == HOLDS)
        succeed(lab);
    else
        abandon(lab, command, why);
}

/* ---- what comes next ---- */

int lab__run_command(struct lab *lab, const struct lab_command *command, struct err *err)
{
    struct lab_runner *runner = &lab->runner;

    if (runner->queue_len == QUEUE_MAX)
        return err_set(err, KV_EBUSY, "%d commands wait for their turn already", QUEUE_MAX);
    runner->queue[runner->queue_len++] = *command;
    return 0;
}

static bool take_queued(struct lab *lab, struct lab_command *out)
{
    struct lab_runner *runner = &lab->runner;

    if (runner->queue_len == 0)
        return false;
    *out = runner->queue[0];
    memmove(runner->queue, runner->queue + 1, --runner->queue_len * sizeof *runner->queue);
    return true;
}

/* A verdict, unless there was nothing since the last one; then the end, or the page goes on. */
static bool after_script(struct lab *lab, struct lab_command *out)
{
    struct lab_runner *runner = &lab->runner;

    if (!runner->has_concluded) {
        runner->has_concluded = true;
        if (lab->verdict_count == 0 || lab->experiment.fault_ms >= 0)
            return lab_command_parse(slice_str("verdict"), out, NULL) == 0;
    }
    if (!lab->options.stay)
        lab__stop(lab);
    return false;
}

static bool next(struct lab *lab, struct lab_command *out)
{
    const struct lab_script *script = lab->options.script;

    if (script != NULL && lab->runner.at < script->len && !lab->runner.failed) {
        *out = script->commands[lab->runner.at++];
        return true;
    }
    if (take_queued(lab, out))
        return true;
    return script != NULL && after_script(lab, out);
}

/* Everybody runs, hears everybody and takes writes. */
static bool all_is_well(const struct lab *lab)
{
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        const struct lab_member *member = &lab->members[n];

        if (!member->used)
            continue;
        if (!lab__runs(member) || member->full || atomic_load(&member->disk->sync_ms) != 0)
            return false;
        for (unsigned m = 1; m <= LAB_MEMBERS_MAX; m++) {
            if (lab_relays_is_cut(lab->relays, n, m) || lab_relays_is_slow(lab->relays, n, m))
                return false;
        }
        if (!member->learner &&
            lab->load.clients[n].workers[LAB_WRITES].ok_began_ms < lab__now(lab) - SETTLED_MS)
            return false;
    }
    return lab__leader(lab) != 0;
}

/* Who types gets a verdict when the dust has settled. */
static void notice_end_of_experiment(struct lab *lab)
{
    struct lab_command verdict;

    if (has_script(lab) || lab->experiment.fault_ms < 0 || !all_is_well(lab) ||
        lab->runner.queue_len != 0) {
        lab->quiet_since_ms = -1;
        return;
    }
    if (lab->quiet_since_ms < 0)
        lab->quiet_since_ms = lab__now(lab);
    if (lab__now(lab) - lab->quiet_since_ms < SETTLED_MS)
        return;
    lab->quiet_since_ms = -1;
    if (lab_command_parse(slice_str("verdict"), &verdict, NULL) == 0)
        (void)lab__run_command(lab, &verdict, NULL); /* the queue is empty */
}

void lab__run_tick(struct lab *lab)
{
    struct lab_command command;

    lab__job_tick(lab);
    if (lab->runner.busy)
        look(lab);
    while (!lab->stopping && !lab->runner.busy && next(lab, &command))
        begin(lab, &command);
    if (!lab->runner.busy && !lab->stopping)
        notice_end_of_experiment(lab);
}
