/* Pods: what state a pod is in, as people say it. Follows upstream's printer step by step, since
 * scripts match the words. */
#include <string.h>

#include "kube/codec/columns.h"
#include "kube/codec/table.h"

struct pod {
    const struct json *spec;
    const struct json *status;
    const char *reason; /* the cell "Status" */
    int64_t ready, total;
    int64_t restarts;
    const char *restarted_ago; /* NULL: never, or not known when */
};

/* How often containers were started again, and when the last of them ended. */
struct restarts {
    int64_t count;
    int64_t last_s;
    bool known;
};

static const char *copied(struct kube__row *row, const char *before, struct slice text)
{
    size_t len = strlen(before);
    char *out = arena_alloc(row->arena, len + text.len + 1);

    memcpy(out, before, len);
    if (text.len > 0)
        memcpy(out + len, text.data, text.len);
    out[len + text.len] = '\0';
    return out;
}

static const char *numbered(struct kube__row *row, const char *before, int64_t number)
{
    struct json *text = json_new_int(row->arena, number);

    return copied(row, before, json_text(text));
}

static void count_restarts(struct restarts *restarts, const struct json *container)
{
    int64_t ended_s;

    restarts->count += kube__int_at(container, "restartCount");
    if (!kube__seconds_at(container, "lastState.terminated.finishedAt", &ended_s))
        return;
    if (!restarts->known || ended_s > restarts->last_s)
        restarts->last_s = ended_s;
    restarts->known = true;
}

/* A sidecar: an init container that goes on beside the others. */
static bool is_sidecar(const struct json *container)
{
    return json_equals(json_get(container, "restartPolicy"), "Always");
}

static const struct json *named(const struct json *containers, struct slice name)
{
    if (json_is(containers, JSON_ARRAY)) {
        json_each(container, containers)
        {
            if (slice_eq(json_text_at(container, "name"), name))
                return container;
        }
    }
    return NULL;
}

static size_t items(const struct json *array)
{
    return json_is(array, JSON_ARRAY) ? array->count : 0;
}

/* "<before><reason>", "<before>Signal:9" or "<before>ExitCode:1". */
static const char *ended(struct kube__row *row, const char *before, const struct json *terminated)
{
    struct slice reason = json_text_at(terminated, "reason");
    int64_t signal = kube__int_at(terminated, "signal");

    if (reason.len > 0)
        return copied(row, before, reason);
    if (signal != 0)
        return numbered(row, copied(row, before, slice_str("Signal:")), signal);
    return numbered(row, copied(row, before, slice_str("ExitCode:")),
                    kube__int_at(terminated, "exitCode"));
}

/* What an init container that is not done holds the pod up with. place: among its like. */
static const char *init_reason(struct kube__row *row, const struct pod *pod,
                               const struct json *container, size_t place)
{
    const struct json *terminated = json_at(container, "state.terminated");
    struct slice waiting = json_text_at(container, "state.waiting.reason");
    const char *text;

    if (json_is(terminated, JSON_OBJECT))
        return ended(row, "Init:", terminated);
    if (waiting.len > 0 && !slice_eq(waiting, slice_str("PodInitializing")))
        return copied(row, "Init:", waiting);
    text = numbered(row, "Init:", (int64_t)place);
    text = copied(row, text, slice_str("/"));
    return numbered(row, text, (int64_t)items(json_get(pod->spec, "initContainers")));
}

/* True if an init container holds the pod up; pod->reason says which. */
static bool look_at_init(struct kube__row *row, struct pod *pod, struct restarts *all,
                         struct restarts *of_sidecars)
{
    const struct json *statuses = json_get(pod->status, "initContainerStatuses");
    const struct json *containers = json_get(pod->spec, "initContainers");
    size_t place = 0;

    if (!json_is(statuses, JSON_ARRAY))
        return false;
    json_each(container, statuses)
    {
        const struct json *terminated = json_at(container, "state.terminated");
        bool sidecar = is_sidecar(named(containers, json_text_at(container, "name")));

        count_restarts(all, container);
        if (sidecar)
            count_restarts(of_sidecars, container);
        if (json_is(terminated, JSON_OBJECT) && kube__int_at(terminated, "exitCode") == 0) {
            place++;
            continue;
        }
        if (sidecar && kube__true_at(container, "started")) {
            pod->ready += kube__true_at(container, "ready");
            place++;
            continue;
        }
        pod->reason = init_reason(row, pod, container, place);
        return true;
    }
    return false;
}

/* The reason of the first container that has one stays; true if one runs and is ready. */
static bool look_at_container(struct kube__row *row, struct pod *pod, const struct json *container,
                              bool *decided)
{
    const struct json *terminated = json_at(container, "state.terminated");
    struct slice waiting = json_text_at(container, "state.waiting.reason");

    if (waiting.len > 0 || json_is(terminated, JSON_OBJECT)) {
        if (!*decided)
            pod->reason = waiting.len > 0 ? copied(row, "", waiting) : ended(row, "", terminated);
        *decided = true;
        return false;
    }
    if (!kube__true_at(container, "ready") ||
        !json_is(json_at(container, "state.running"), JSON_OBJECT))
        return false;
    pod->ready++;
    return true;
}

static void look_at_containers(struct kube__row *row, struct pod *pod, struct restarts *restarts)
{
    const struct json *statuses = json_get(pod->status, "containerStatuses");
    const struct json *conditions = json_get(pod->status, "conditions");
    bool running = false;
    bool decided = false;

    if (json_is(statuses, JSON_ARRAY)) {
        json_each(container, statuses)
        {
            count_restarts(restarts, container);
            if (look_at_container(row, pod, container, &decided))
                running = true;
        }
    }
    /* One of several containers is done: the pod is not. */
    if (running && strcmp(pod->reason, "Completed") == 0)
        pod->reason = kube__condition_true(conditions, "Ready") ? "Running" : "NotReady";
}

static const char *phase_or_reason(struct kube__row *row, const struct json *status)
{
    const struct json *conditions = json_get(status, "conditions");
    struct slice reason = json_text_at(status, "reason");

    if (json_is(conditions, JSON_ARRAY)) {
        json_each(condition, conditions)
        {
            if (json_equals(json_get(condition, "type"), "PodScheduled") &&
                json_equals(json_get(condition, "reason"), "SchedulingGated"))
                return "SchedulingGated";
        }
    }
    return copied(row, "", reason.len > 0 ? reason : json_text_at(status, "phase"));
}

static bool is_over(const struct json *status)
{
    const struct json *phase = json_get(status, "phase");

    return json_equals(phase, "Succeeded") || json_equals(phase, "Failed");
}

static int64_t count_containers(const struct json *spec)
{
    const struct json *init = json_get(spec, "initContainers");
    int64_t total = (int64_t)items(json_get(spec, "containers"));

    if (json_is(init, JSON_ARRAY)) {
        json_each(container, init) total += is_sidecar(container);
    }
    return total;
}

static struct pod *look(struct kube__row *row)
{
    struct pod *pod = arena_calloc(row->arena, sizeof(*pod));
    struct restarts all = {0};
    struct restarts of_sidecars = {0};

    pod->spec = json_get(row->object, "spec");
    pod->status = json_get(row->object, "status");
    pod->total = count_containers(pod->spec);
    pod->reason = phase_or_reason(row, pod->status);
    if (!look_at_init(row, pod, &all, &of_sidecars) ||
        kube__condition_true(json_get(pod->status, "conditions"), "Initialized")) {
        /* Those of init containers that are done are history. */
        all = of_sidecars;
        look_at_containers(row, pod, &all);
    }
    if (kube__is_deleted(row)) {
        if (json_equals(json_get(pod->status, "reason"), "NodeLost"))
            pod->reason = "Unknown";
        else if (!is_over(pod->status))
            pod->reason = "Terminating";
    }
    pod->restarts = all.count;
    if (all.known)
        pod->restarted_ago =
            copied(row, "", slice_str(kube_human_duration(row->arena, row->now_s - all.last_s)));
    return pod;
}

static const struct pod *pod_of(struct kube__row *row)
{
    if (row->memo == NULL)
        row->memo = look(row);
    return row->memo;
}

static struct json *print_ready(struct kube__row *row, const struct kube__column *column UNUSED)
{
    const struct pod *pod = pod_of(row);

    kube__begin(row);
    kube__add(row, "%lld/%lld", (long long)pod->ready, (long long)pod->total);
    return kube__end(row, NULL);
}

static struct json *print_status(struct kube__row *row, const struct kube__column *column UNUSED)
{
    return kube__string(row, pod_of(row)->reason);
}

static struct json *print_restarts(struct kube__row *row, const struct kube__column *column UNUSED)
{
    const struct pod *pod = pod_of(row);

    kube__begin(row);
    kube__add(row, "%lld", (long long)pod->restarts);
    if (pod->restarts != 0 && pod->restarted_ago != NULL)
        kube__add(row, " (%s ago)", pod->restarted_ago);
    return kube__end(row, NULL);
}

static struct json *print_ip(struct kube__row *row, const struct kube__column *column)
{
    const struct json *ips = json_at(row->object, "status.podIPs");
    struct slice first = {0};

    if (items(ips) > 0)
        first = json_text_at(ips->first, "ip");
    return first.len > 0 ? json_new_string(row->arena, first) : kube__text(row, column);
}

static struct json *print_gates(struct kube__row *row, const struct kube__column *column)
{
    const struct json *gates = json_at(row->object, column->path);
    const struct json *conditions = json_at(row->object, "status.conditions");
    int64_t open = 0;

    if (items(gates) == 0)
        return kube__string(row, "<none>");
    json_each(gate, gates)
    {
        const char *type = copied(row, "", json_text_at(gate, "conditionType"));

        open += kube__condition_true(conditions, type);
    }
    kube__begin(row);
    kube__add(row, "%lld/%zu", (long long)open, gates->count);
    return kube__end(row, NULL);
}

/* kubectl tells by these which rows are of pods that are done. */
static struct json *done_conditions(struct kube__row *row)
{
    const struct json *phase = json_at(row->object, "status.phase");
    bool succeeded = json_equals(phase, "Succeeded");
    struct json *conditions;
    struct json *condition;

    if (!succeeded && !json_equals(phase, "Failed"))
        return NULL;
    conditions = json_new(row->arena, JSON_ARRAY);
    condition = json_new(row->arena, JSON_OBJECT);
    json_set(condition, "type", kube__string(row, "Completed"));
    json_set(condition, "status", kube__string(row, "True"));
    json_set(condition, "reason", kube__string(row, succeeded ? "Succeeded" : "Failed"));
    json_set(
        condition, "message",
        kube__string(row, succeeded ? "The pod has completed successfully." : "The pod failed."));
    json_append(conditions, condition);
    return conditions;
}

static const struct kube__column pod_columns[] = {
    KUBE__NAME,
    {"Ready", "string", 0, print_ready, NULL, NULL},
    {"Status", "string", 0, print_status, NULL, NULL},
    {"Restarts", "string", 0, print_restarts, NULL, NULL},
    KUBE__AGE,
    {"IP", "string", 1, print_ip, "status.podIP", "<none>"},
    {"Node", "string", 1, kube__text, "spec.nodeName", "<none>"},
    {"Nominated Node", "string", 1, kube__text, "status.nominatedNodeName", "<none>"},
    {"Readiness Gates", "string", 1, print_gates, "spec.readinessGates", NULL},
};

const struct kube__columns kube__pod_columns = {"Pod", pod_columns, ARRAY_LEN(pod_columns),
                                                done_conditions};
