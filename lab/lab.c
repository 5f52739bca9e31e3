#include "lab/lab.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/mem.h"
#include "lab/internal.h"

enum { HEARD_MS = 1500, START_MS = 30000 };

int64_t lab__now(const struct lab *lab)
{
    return (int64_t)(uv_now(&lab->loop) - lab->began_ms);
}

/* ---- what happens ---- */

void lab__say(struct lab *lab, enum lab_event_kind kind, unsigned member, uint64_t term,
              const char *fmt, ...)
{
    struct lab_event *event;
    va_list args;

    if (lab->events == NULL)
        lab->events = xmalloc(EVENTS_MAX * sizeof *lab->events);
    if (lab->event_count == EVENTS_MAX) { /* the older half goes */
        lab->event_count = EVENTS_MAX / 2;
        memmove(lab->events, lab->events + EVENTS_MAX - lab->event_count,
                lab->event_count * sizeof *lab->events);
    }
    event = &lab->events[lab->event_count++];
    *event =
        (struct lab_event){.at_ms = lab__now(lab), .kind = kind, .member = member, .term = term};
    va_start(args, fmt);
    (void)vsnprintf(event->text, sizeof event->text, fmt, args);
    va_end(args);
    lab__console_event(lab, event);
    lab__serve_event(lab, event);
}

void lab__stop(struct lab *lab)
{
    lab->stopping = true;
}

void lab__give_up(struct lab *lab, int code, const char *text)
{
    if (lab->trouble.code == 0)
        (void)err_set(&lab->trouble, code, "%s", text);
    lab__stop(lab);
}

/* ---- who is who ---- */

bool lab__runs(const struct lab_member *member)
{
    return member->used && member->process.pid != 0 && !member->process.stopped;
}

static bool joined(const struct lab *lab, unsigned a, unsigned b)
{
    return !lab_relays_is_cut(lab->relays, a, b) && !lab_relays_is_cut(lab->relays, b, a);
}

/* How many voters run that n reaches and that reach it, itself among them. */
static unsigned company_of(const struct lab *lab, unsigned n)
{
    unsigned count = 0;

    for (unsigned m = 1; m <= LAB_MEMBERS_MAX; m++) {
        const struct lab_member *member = &lab->members[m];

        count += lab__runs(member) && !member->learner && (m == n || joined(lab, n, m));
    }
    return count;
}

static unsigned count_voters(const struct lab *lab)
{
    unsigned voters = 0;

    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++)
        voters += lab->members[n].used && !lab->members[n].learner;
    return voters;
}

/* A minority's leader that does not know yet that it is none does not count. */
unsigned lab__leader(const struct lab *lab)
{
    unsigned voters = count_voters(lab), leader = 0;
    uint64_t term = 0;

    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        const struct lab_member *member = &lab->members[n];
        const struct lab_view *view = &member->observer.view;

        if (lab__runs(member) && view->known && view->role == LAB_LEADER && view->term > term &&
            company_of(lab, n) > voters / 2) {
            leader = n;
            term = view->term;
        }
    }
    return leader;
}

void lab__headcount(const struct lab *lab, struct lab_headcount *out)
{
    *out = (struct lab_headcount){.leader = lab__leader(lab)};
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        const struct lab_member *member = &lab->members[n];

        if (!member->used)
            continue;
        out->learners += member->learner;
        out->voters += !member->learner;
        if (!lab__runs(member) || member->learner)
            continue;
        out->alive++;
        out->together = MAX(out->together, company_of(lab, n));
    }
}

enum lab_state lab__state(const struct lab_member *member)
{
    static const enum lab_state by_role[] = {[LAB_NO_ROLE] = LAB_SILENT,
                                             [LAB_FOLLOWER] = LAB_IS_FOLLOWER,
                                             [LAB_CANDIDATE] = LAB_IS_CANDIDATE,
                                             [LAB_LEADER] = LAB_IS_LEADER};

    if (!member->used)
        return LAB_ABSENT;
    if (member->process.pid == 0)
        return LAB_DOWN;
    if (member->process.stopped)
        return LAB_PAUSED;
    if (!member->observer.view.known)
        return LAB_SILENT;
    return member->learner ? LAB_IS_LEARNER : by_role[member->observer.view.role];
}

const char *lab__state_name(enum lab_state state)
{
    static const char *const names[] = {
#define X(id, name) name,
        LAB_STATE_MAP(X)
#undef X
    };

    return names[state];
}

bool lab__hears(const struct lab *lab, unsigned to, unsigned from)
{
    uint64_t heard = lab_relays_heard_at(lab->relays, from, to);

    return lab__runs(&lab->members[to]) && lab__runs(&lab->members[from]) && heard != 0 &&
           uv_now(&lab->loop) - heard < HEARD_MS;
}

/* ---- samples, for plots ---- */

static uint32_t since(uint64_t now, uint64_t *before)
{
    uint32_t more = (uint32_t)(now - *before);

    *before = now;
    return more;
}

static void take_counts(struct lab *lab, struct lab_sample *sample)
{
    struct lab_tally writes = lab_load_tally(&lab->load, 0, LAB_WRITES);
    struct lab_tally reads = lab_load_tally(&lab->load, 0, LAB_READS);
    struct lab_tally local = lab_load_tally(&lab->load, 0, LAB_LOCAL_READS);

    sample->acked = since(writes.ok, &lab->sampled[LAB_WRITES].ok);
    sample->not_acked = since(writes.failed + writes.unknown, &lab->sampled[LAB_WRITES].failed);
    sample->reads = since(reads.ok, &lab->sampled[LAB_READS].ok);
    sample->local_reads = since(local.ok, &lab->sampled[LAB_LOCAL_READS].ok);
    sample->stale = since(local.stale, &lab->sampled[LAB_LOCAL_READS].stale);
}

static void take_sample(struct lab *lab)
{
    struct lab_sample *sample;

    if (lab->samples == NULL)
        lab->samples = xmalloc(SAMPLES_MAX * sizeof *lab->samples);
    if (lab->sample_count == SAMPLES_MAX) {
        lab->sample_count = SAMPLES_MAX / 2;
        memmove(lab->samples, lab->samples + SAMPLES_MAX - lab->sample_count,
                lab->sample_count * sizeof *lab->samples);
    }
    sample = &lab->samples[lab->sample_count++];
    *sample = (struct lab_sample){.at_ms = lab__now(lab)};
    take_counts(lab, sample);
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        const struct lab_view *view = &lab->members[n].observer.view;

        sample->members[n] = (struct lab_sample_member){
            .term = view->term,
            .last_index = view->last_index,
            .commit_index = view->commit_index,
            .applied_index = view->applied_index,
            .state = (uint8_t)lab__state(&lab->members[n]),
        };
    }
    lab__serve_state(lab, sample);
}

static void on_call_done(void *ctx, unsigned member, enum lab_topic topic, int how, int64_t age_ms)
{
    (void)member;
    if (how == LAB_OK)
        lab__experiment_answer(ctx, topic, age_ms);
}

/* ---- processes that end ---- */

static void on_member_ended(struct lab *lab, struct lab_member *member)
{
    char outcome[40], tail[300], text[400];

    lab_observer_forget(&member->observer);
    member->resume_at_ms = -1;
    (void)lab_process_outcome(&member->process, outcome, sizeof outcome);
    if (!member->expected) {
        lab__say(lab, LAB_HAPPENS, member->n, 0, "m%u has ended: %s", member->n, outcome);
        return;
    }
    member->expected = false;
    lab_process_log_tail(member->log_path, tail, sizeof tail);
    lab__say(lab, LAB_HAPPENS, member->n, 0, "m%u ended by itself: %s; its log ends with: %s",
             member->n, outcome, tail);
    if (lab->ready)
        return;
    (void)snprintf(text, sizeof text, "m%u did not start: %s (%s)", member->n, outcome, tail);
    lab__give_up(lab, KV_EIO, text);
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct lab *lab = signal->data;

    if (number != SIGCHLD) {
        lab__say(lab, LAB_SAYS, 0, 0, "told to end");
        lab__stop(lab);
        return;
    }
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        if (lab->members[n].used && lab_process_reap(&lab->members[n].process))
            on_member_ended(lab, &lab->members[n]);
    }
}

/* ---- the loop ---- */

static void wake_paused(struct lab *lab)
{
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        struct lab_member *member = &lab->members[n];

        if (!member->used || member->resume_at_ms < 0 || lab__now(lab) < member->resume_at_ms)
            continue;
        member->resume_at_ms = -1;
        lab_process_signal(&member->process, SIGCONT);
        lab__say(lab, LAB_HAPPENS, n, 0, "m%u goes on", n);
    }
}

static void get_ready(struct lab *lab)
{
    struct lab_headcount count;
    char words[200];

    if (lab__leader(lab) == 0) {
        if (lab__now(lab) > START_MS)
            lab__give_up(lab, KV_ETIMEDOUT,
                         "the members have no leader after 30 s; run with --keep and look at "
                         "their logs");
        return;
    }
    lab->ready = true;
    lab_load_set(&lab->load, true);
    lab__experiment_begin(lab);
    lab__headcount(lab, &count);
    lab__say(lab, LAB_SAYS, 0, 0, "%s", lab_words_quorum(&count, words, sizeof words));
    if (lab->options.script != NULL)
        lab->runner.at = 1; /* its first command, up, is done */
}

static void on_tick(uv_timer_t *timer)
{
    struct lab *lab = timer->data;

    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        if (lab__runs(&lab->members[n]))
            lab_observer_tick(&lab->members[n].observer);
    }
    for (size_t i = 0; i < ARRAY_LEN(lab->holders); i++)
        lab__holder_tick(&lab->holders[i]);
    wake_paused(lab);
    if (!lab->ready)
        get_ready(lab);
    else
        lab__run_tick(lab);
    if (lab__now(lab) - lab->sampled_ms >= SAMPLE_MS) {
        lab->sampled_ms = lab__now(lab);
        take_sample(lab);
    }
    if (lab->load.full && lab->load.on) {
        lab__say(lab, LAB_WRONG, 0, 0, "the history is full: the clients stop; start the lab anew");
        lab_load_set(&lab->load, false);
    }
    lab__console_tick(lab);
    if (ferror(lab->options.out))
        lab__give_up(lab, KV_EIO, "the lab's output cannot be written any more");
    if (lab->stopping)
        uv_stop(&lab->loop);
}

/* ---- beginning and end ---- */

/* A program beside this one, or in PATH. */
static char *find_program(const char *name, const char *self)
{
    const char *slash = strrchr(self, '/'), *path = getenv("PATH");
    char *found = xasprintf("%.*s/%s", (int)(slash - self), self, name);

    while (access(found, X_OK) != 0) {
        size_t len;

        free(found);
        if (path == NULL || path[0] == '\0')
            return NULL;
        len = strcspn(path, ":");
        found = xasprintf("%.*s/%s", (int)len, path, name);
        path += len + (path[len] == ':');
    }
    return found;
}

static int find_programs(struct lab *lab, struct err *err)
{
    char self[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

    if (len <= 0)
        return err_set_errno(err, errno, "reading /proc/self/exe");
    self[len] = '\0';
    lab->kvctl = xstrdup(self);
    if (lab->options.kvd != NULL)
        lab->kvd = xstrdup(lab->options.kvd);
    else
        lab->kvd = find_program("kvd", self);
    if (lab->kvd == NULL)
        return err_set(err, KV_ENOTFOUND,
                       "there is no kvd beside %s and none in PATH: --kvd names one", self);
    if (access(lab->kvd, X_OK) != 0)
        return err_set_errno(err, errno, "%s cannot be run", lab->kvd);
    return 0;
}

static int start_members(struct lab *lab, struct err *err)
{
    unsigned size =
        lab->options.script != NULL ? lab->options.script->commands[0].count : lab->options.members;
    int rc = 0;

    for (unsigned n = 1; rc == 0 && n <= size; n++) {
        rc = lab__member_add(lab, n, err);
        if (rc == 0)
            rc = lab__member_admit(&lab->members[n], err);
    }
    for (unsigned n = 1; rc == 0 && n <= size; n++)
        rc = lab__member_start(&lab->members[n], err);
    return rc;
}

static void watch_signals(struct lab *lab)
{
    static const int numbers[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP};

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        (void)uv_signal_init(&lab->loop, &lab->signals[i]); /* these two do not fail here */
        lab->signals[i].data = lab;
        (void)uv_signal_start(&lab->signals[i], on_signal, numbers[i]);
    }
}

static uint64_t draw_seed(void)
{
    uint64_t seed = 0;

    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = (uint64_t)getpid();
    return seed != 0 ? seed : 1;
}

static int begin(struct lab *lab, struct err *err)
{
    struct lab_load_options load = {.loop = &lab->loop,
                                    .check = lab->check,
                                    .pace_ms = lab->options.pace_ms,
                                    .began_ms = lab->began_ms,
                                    .on_done = on_call_done,
                                    .ctx = lab};
    int rc = find_programs(lab, err);

    if (rc == 0)
        rc = lab__folder_open(lab, err);
    if (rc != 0)
        return rc;
    if (lab->options.seed == 0)
        lab->options.seed = draw_seed();
    load.seed = lab->options.seed;
    (void)snprintf(lab->token, sizeof lab->token, "kvlab-%llx", (unsigned long long)draw_seed());
    lab_load_init(&lab->load, &load);
    watch_signals(lab);
    rc = start_members(lab, err);
    if (rc == 0 && !lab->options.no_page)
        rc = lab__serve(lab, err);
    if (rc == 0 && lab->options.script == NULL)
        rc = lab__console_read(lab, err);
    if (rc == 0)
        (void)uv_timer_start(&lab->timer, on_tick, TICK_MS, TICK_MS);
    return rc;
}

static void on_relays_closed(void *ctx)
{
    (void)ctx;
}

static void end(struct lab *lab)
{
    if (lab->options.keep && lab->dir != NULL)
        lab__say(lab, LAB_SAYS, 0, 0, "data and logs are kept in %s", lab->dir);
    lab__job_end(lab);
    for (size_t i = 0; i < ARRAY_LEN(lab->holders); i++)
        lab__holder_release(&lab->holders[i]);
    lab_load_close(&lab->load);
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++)
        lab__member_release(&lab->members[n]);
    lab__serve_close(lab);
    lab_relays_close(lab->relays, on_relays_closed, NULL);
    if (lab->input_open)
        uv_close((uv_handle_t *)&lab->input, NULL);
    for (size_t i = 0; i < ARRAY_LEN(lab->signals); i++) {
        if (lab->signals[i].data != NULL)
            uv_close((uv_handle_t *)&lab->signals[i], NULL);
    }
    uv_close((uv_handle_t *)&lab->timer, NULL);
    (void)uv_run(&lab->loop, UV_RUN_DEFAULT); /* until all is closed */
    (void)uv_loop_close(&lab->loop);
    lab__folder_close(lab);
    lab__console_close(lab);
    lab_check_free(lab->check);
    buf_release(&lab->input_bytes);
    free(lab->kvd);
    free(lab->kvctl);
    free(lab->preload_path);
    free(lab->events);
    free(lab->samples);
    free(lab->verdicts);
}

int lab_run(const struct lab_options *options, struct err *err)
{
    struct lab *lab = xcalloc(1, sizeof *lab);
    int rc;

    lab->options = *options;
    lab->lock_fd = -1;
    lab->quiet_since_ms = -1;
    if (uv_loop_init(&lab->loop) != 0) {
        free(lab);
        return err_set(err, KV_EIO, "no event loop: too many open files?");
    }
    lab->began_ms = uv_now(&lab->loop);
    lab->relays = lab_relays_new(&lab->loop);
    lab->check = lab_check_new();
    (void)uv_timer_init(&lab->loop, &lab->timer); /* cannot fail */
    lab->timer.data = lab;
    buf_init(&lab->input_bytes, 64 << 10);
    lab__console_open(lab);
    rc = begin(lab, err);
    if (rc == 0)
        (void)uv_run(&lab->loop, UV_RUN_DEFAULT);
    if (rc == 0 && lab->trouble.code != 0)
        rc = err_set(err, lab->trouble.code, "%s", lab->trouble.text);
    if (rc == 0 && options->html != NULL)
        rc = lab__report(lab, options->html, err);
    if (rc == 0)
        rc = lab->exit_code;
    end(lab);
    free(lab);
    return rc;
}
