/* The lab as JSON: what the page and programs read. */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "lab/internal.h"

typedef struct json_object json;

static void add(json *to, const char *name, json *value)
{
    (void)json_object_object_add(to, name, value);
}

static void add_number(json *to, const char *name, int64_t value)
{
    add(to, name, json_object_new_int64(value));
}

static void add_text(json *to, const char *name, const char *value)
{
    add(to, name, json_object_new_string(value));
}

static void add_bool(json *to, const char *name, bool value)
{
    add(to, name, json_object_new_boolean(value));
}

static void push_number(json *to, int64_t value)
{
    (void)json_object_array_add(to, json_object_new_int64(value));
}

static const char *const event_kinds[] = {[LAB_SAYS] = "says",
                                          [LAB_TOLD] = "told",
                                          [LAB_HAPPENS] = "happens",
                                          [LAB_RIGHT] = "right",
                                          [LAB_WRONG] = "wrong"};

json *lab__event_json(const struct lab_event *event)
{
    json *item = json_object_new_object();

    add_number(item, "t", event->at_ms);
    add_text(item, "kind", event_kinds[event->kind]);
    add_number(item, "member", event->member);
    add_number(item, "term", (int64_t)event->term);
    add_text(item, "text", event->text);
    return item;
}

/* [t, acked, not acked, reads, local reads, stale, then for each member: state, term, last, commit,
 * applied]: short, for there are many. */
json *lab__sample_json(const struct lab *lab, const struct lab_sample *sample)
{
    json *row = json_object_new_array();

    push_number(row, sample->at_ms);
    push_number(row, sample->acked);
    push_number(row, sample->not_acked);
    push_number(row, sample->reads);
    push_number(row, sample->local_reads);
    push_number(row, sample->stale);
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX && lab->members[n].lab != NULL; n++) {
        const struct lab_sample_member *m = &sample->members[n];

        push_number(row, m->state);
        push_number(row, (int64_t)m->term);
        push_number(row, (int64_t)m->last_index);
        push_number(row, (int64_t)m->commit_index);
        push_number(row, (int64_t)m->applied_index);
    }
    return row;
}

static json *tally_json(const struct lab_tally *tally)
{
    json *item = json_object_new_object();

    add_number(item, "ok", (int64_t)tally->ok);
    add_number(item, "failed", (int64_t)tally->failed);
    add_number(item, "unknown", (int64_t)tally->unknown);
    add_number(item, "stale", (int64_t)tally->stale);
    return item;
}

static void add_clients(const struct lab *lab, json *to, unsigned n)
{
    static const char *const names[LAB_TOPICS] = {"writes", "reads", "local_reads"};

    for (size_t i = 0; i < LAB_TOPICS; i++) {
        struct lab_tally tally = lab_load_tally(&lab->load, n, (enum lab_topic)i);

        add(to, names[i], tally_json(&tally));
    }
}

static json *link_json(const struct lab *lab, unsigned from, unsigned to)
{
    json *item = json_object_new_object();

    add_bool(item, "hears", lab__hears(lab, to, from));
    add_bool(item, "cut", lab_relays_is_cut(lab->relays, from, to));
    add_number(item, "delay_ms", (int64_t)lab_relays_delay_of(lab->relays, from, to));
    add_number(item, "bytes_per_second", (int64_t)lab_relays_thin_of(lab->relays, from, to));
    add_number(item, "bytes", (int64_t)lab_relays_bytes(lab->relays, from, to));
    return item;
}

static json *member_json(const struct lab *lab, unsigned n)
{
    const struct lab_member *member = &lab->members[n];
    const struct lab_view *view = &member->observer.view;
    json *item = json_object_new_object(), *from = json_object_new_object();
    char text[24];

    add_number(item, "n", n);
    add_text(item, "state", lab__state_name(lab__state(member)));
    add_bool(item, "learner", member->learner);
    add_bool(item, "running", member->process.pid != 0);
    add_number(item, "pid", member->process.pid);
    add_number(item, "client_port", member->client_port);
    (void)snprintf(text, sizeof text, "%" PRIx64, member->id);
    add_text(item, "id", text);
    add_number(item, "term", (int64_t)view->term);
    add_number(item, "last", (int64_t)view->last_index);
    add_number(item, "stored", (int64_t)view->stored_index);
    add_number(item, "commit", (int64_t)view->commit_index);
    add_number(item, "applied", (int64_t)view->applied_index);
    add_number(item, "revision", view->revision);
    add_number(item, "sync_ms", atomic_load(&member->disk->sync_ms));
    add_bool(item, "disk_full", member->full);
    add_clients(lab, item, n);
    for (unsigned m = 1; m <= LAB_MEMBERS_MAX; m++) {
        if (m == n || !lab->members[m].used)
            continue;
        (void)snprintf(text, sizeof text, "%u", m);
        add(from, text, link_json(lab, m, n));
    }
    add(item, "from", from);
    return item;
}

static json *figures_json(const int64_t *values)
{
    json *item = json_object_new_object();

    for (size_t i = 0; i < LAB_FIGURE_COUNT; i++) {
        if (values[i] >= 0)
            add_number(item, lab_figures[i].name, values[i]);
        else
            add(item, lab_figures[i].name, NULL);
    }
    return item;
}

static json *experiment_json(const struct lab *lab)
{
    const struct lab_experiment *e = &lab->experiment;
    json *item = json_object_new_object();
    int64_t values[LAB_FIGURE_COUNT];

    for (size_t i = 0; i < LAB_FIGURE_COUNT; i++)
        values[i] = lab__figure(lab, (enum lab_figure)i);
    add_number(item, "began", e->began_ms);
    add_number(item, "fault_at", e->fault_ms);
    add_text(item, "fault", e->fault);
    add(item, "figures", figures_json(values));
    return item;
}

static json *verdicts_json(const struct lab *lab)
{
    json *list = json_object_new_array();

    for (size_t i = 0; i < lab->verdict_count; i++) {
        const struct lab_verdict *v = &lab->verdicts[i];
        json *item = json_object_new_object();

        add_number(item, "began", v->began_ms);
        add_number(item, "ended", v->ended_ms);
        add_text(item, "fault", v->fault);
        add_bool(item, "checked", v->checked);
        add_bool(item, "good", v->good);
        add_text(item, "trouble", v->trouble);
        add(item, "figures", figures_json(v->figures));
        (void)json_object_array_add(list, item);
    }
    return list;
}

static void add_history(const struct lab *lab, json *to)
{
    json *events = json_object_new_array(), *samples = json_object_new_array();

    for (size_t i = 0; i < lab->event_count; i++)
        (void)json_object_array_add(events, lab__event_json(&lab->events[i]));
    for (size_t i = 0; i < lab->sample_count; i++)
        (void)json_object_array_add(samples, lab__sample_json(lab, &lab->samples[i]));
    add(to, "timeline", events);
    add(to, "samples", samples);
}

static json *states_json(void)
{
    static const enum lab_state states[] = {
#define X(id, name) LAB_##id,
        LAB_STATE_MAP(X)
#undef X
    };
    json *list = json_object_new_array();

    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        (void)json_object_array_add(list, json_object_new_string(lab__state_name(states[i])));
    return list;
}

json *lab__state_json(struct lab *lab, bool history)
{
    const struct lab_script *script = lab->options.script;
    json *state = json_object_new_object(), *members = json_object_new_array();
    struct lab_headcount count;
    char words[200];

    lab__headcount(lab, &count);
    add_text(state, "kvd", KVD_VERSION);
    add_number(state, "now", lab__now(lab));
    add_bool(state, "ready", lab->ready);
    add_bool(state, "load", lab->load.on);
    add_text(state, "script", script != NULL ? script->name : "");
    add_text(state, "title", script != NULL ? script->title : "");
    add_text(state, "doing", lab->runner.busy ? lab->runner.current.text : "");
    (void)snprintf(words, sizeof words, "%llu", (unsigned long long)lab->options.seed);
    add_text(state, "seed", words);
    add_text(state, "words", lab_words_quorum(&count, words, sizeof words));
    add_number(state, "voters", count.voters);
    add_number(state, "alive", count.alive);
    add_number(state, "leader", count.leader);
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        if (lab->members[n].used)
            (void)json_object_array_add(members, member_json(lab, n));
    }
    add(state, "members", members);
    add_clients(lab, state, 0);
    add(state, "experiment", experiment_json(lab));
    add(state, "verdicts", verdicts_json(lab));
    add(state, "states", states_json());
    if (history)
        add_history(lab, state);
    return state;
}
