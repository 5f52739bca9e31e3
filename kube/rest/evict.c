/* pods/eviction: a deletion that asks the pod's disruption budget first.
 *
 *   pod read ──▶ budgets listed ──▶ budget written ──▶ deletion
 *      └─ not running: no budget ──────────────────────▲ */
#include <string.h>

#include "kube/rest/delete.h"
#include "kube/rest/special.h"

enum { TRIES_MAX = 5, RETRY_S = 10, DISRUPTED_MAX = 2000 };

struct eviction {
    struct rest_deletion deletion;
    const struct kube_resource *budgets;
    struct json *pod;
    struct json *budget; /* as it will be */
    struct slice bytes;
    unsigned tries;
};

static void list_budgets(struct rest *rest);

/* ---- the end ---- */

static void on_cancel(struct rest *rest)
{
    struct eviction *eviction = rest->state;

    kube_op_cancel(&eviction->deletion.op);
}

static void on_deleted(struct rest_deletion *deletion)
{
    struct rest *rest = deletion->rest;

    rest->on_cancel = NULL;
    if (rest->status.code != 0)
        rest_fail(rest);
    else
        rest_reply_success(rest, 201);
}

static void delete_pod(struct rest *rest)
{
    struct eviction *eviction = rest->state;
    struct rest_deletion *deletion = &eviction->deletion;

    deletion->rest = rest;
    deletion->ns = rest_ns(rest);
    deletion->name = rest->info.name;
    deletion->done = on_deleted;
    rest_deletion_start(deletion, NULL);
}

/* ---- the budget ---- */

static int refuse(struct rest *rest, int retry_after_s, const char *why)
{
    struct kube_cause *cause = arena_calloc(rest->arena, sizeof *cause);

    cause->reason = "DisruptionBudget";
    cause->message = why;
    (void)kube_status_set(&rest->status, rest->arena, 429, "TooManyRequests",
                          "Cannot evict pod as it would violate the pod's disruption budget.");
    rest->status.causes = cause;
    rest->status.retry_after_s = retry_after_s;
    return 429;
}

static int64_t number_at(const struct json *object, const char *path)
{
    int64_t value = 0;

    (void)json_int(json_at(object, path), &value);
    return value;
}

/* Takes one disruption of the budget, if there is one left. */
static int take_disruption(struct rest *rest, struct eviction *eviction)
{
    struct arena *arena = rest->arena;
    struct json *budget = eviction->budget, *status;
    struct slice name = rest_meta(budget, "name");
    int64_t allowed = number_at(budget, "status.disruptionsAllowed");
    const struct json *disrupted = json_at(budget, "status.disruptedPods");

    if (number_at(budget, "metadata.generation") > number_at(budget, "status.observedGeneration"))
        return refuse(rest, RETRY_S,
                      rest_print(arena,
                                 "The disruption budget %.*s is still being processed by the "
                                 "server.",
                                 REST_TEXT(name)));
    if (allowed < 0 || (disrupted != NULL && disrupted->count > DISRUPTED_MAX))
        return kube_status_forbidden(&rest->status, arena, eviction->budgets, name,
                                     allowed < 0 ? "pdb disruptions allowed is negative"
                                                 : "DisruptedPods map too big - too many evictions "
                                                   "not confirmed by PDB controller");
    if (allowed == 0)
        return refuse(rest, 0,
                      rest_print(arena,
                                 "The disruption budget %.*s needs %lld healthy pods and has %lld "
                                 "currently",
                                 REST_TEXT(name),
                                 (long long)number_at(budget, "status.desiredHealthy"),
                                 (long long)number_at(budget, "status.currentHealthy")));
    status = json_set_object(arena, budget, "status");
    (void)json_set(status, "disruptionsAllowed", json_new_int(arena, allowed - 1));
    (void)json_set_slice(json_set_object(arena, status, "disruptedPods"), rest->info.name,
                         json_new_cstring(arena, rest_now(arena)));
    return rest_encode(rest, eviction->budgets, budget, &eviction->budget, &eviction->bytes);
}

static bool covers(struct rest *rest, const struct json *budget, const struct json *pod)
{
    const struct json *selector = json_at(budget, "spec.selector");
    struct kube_selector parsed = {0};
    struct kube_status unused;

    return selector != NULL &&
           kube_label_selector_parse(rest->arena, rest_selector_text(rest->arena, selector),
                                     &parsed, &unused) == 0 &&
           kube_selector_matches(&parsed, &kube_selected_json, pod);
}

/* The one budget that covers the pod; *out NULL: none does. */
static int find_budget(struct rest *rest, struct eviction *eviction, struct kube_object **out)
{
    eviction->budget = NULL;
    *out = NULL;
    for (size_t i = 0; i < rest->list.count; i++) {
        struct json *budget = kube_object_json(rest->arena, rest->list.objects[i]);

        if (!covers(rest, budget, eviction->pod))
            continue;
        if (*out != NULL)
            return kube_status_internal(&rest->status, rest->arena,
                                        "This pod has more than one PodDisruptionBudget, which "
                                        "the eviction subresource does not support.");
        eviction->budget = budget;
        *out = rest->list.objects[i];
    }
    return 0;
}

static void on_budget_written(struct kube_op *op)
{
    struct rest *rest = CONTAINER_OF(op, struct rest, op);
    struct eviction *eviction = rest->state;

    rest_hold(rest, op->object);
    if (op->status.code == 0) {
        delete_pod(rest);
    } else if (op->status.code == 409 && ++eviction->tries < TRIES_MAX) {
        list_budgets(rest);
    } else {
        rest_fail_status(rest, &op->status);
    }
}

static void on_budgets(struct kube_list *list)
{
    struct rest *rest = CONTAINER_OF(list, struct rest, list);
    struct eviction *eviction = rest->state;
    struct kube_object *object;

    if (list->status.code != 0) {
        rest_fail_status(rest, &list->status);
    } else if (find_budget(rest, eviction, &object) != 0) {
        rest_fail(rest);
    } else if (object == NULL) {
        delete_pod(rest);
    } else if (take_disruption(rest, eviction) != 0) {
        rest_fail(rest);
    } else if (rest->dry_run) {
        delete_pod(rest);
    } else {
        kube_update(rest->api->store, &rest->op, rest->arena, eviction->budgets, rest_ns(rest),
                    kube_object_name(object), kube_object_revision(object), eviction->bytes,
                    on_budget_written);
    }
}

static void list_budgets(struct rest *rest)
{
    struct eviction *eviction = rest->state;
    const struct kube_list_options options = {.ns = rest_ns(rest), .freshness = KUBE_NEWEST};

    kube_list_release(&rest->list); /* of the try before */
    kube_list(rest->api->store, &rest->list, rest->arena, eviction->budgets, &options, on_budgets);
}

/* ---- the pod ---- */

/* A pod that does no work yet, or no more, is no disruption. */
static bool needs_no_budget(const struct json *pod)
{
    static const char *const phases[] = {"Pending", "Succeeded", "Failed"};

    for (size_t i = 0; i < ARRAY_LEN(phases); i++)
        if (json_equals(json_at(pod, "status.phase"), phases[i]))
            return true;
    return rest_is_deleting(pod);
}

static void on_pod(struct kube_op *op)
{
    struct rest *rest = CONTAINER_OF(op, struct rest, op);
    struct eviction *eviction = rest->state;

    rest_hold(rest, op->object);
    if (op->status.code != 0) {
        rest_fail_status(rest, &op->status);
        return;
    }
    eviction->pod = rest_object_json(rest->arena, rest->resource, op->object);
    if (needs_no_budget(eviction->pod))
        delete_pod(rest);
    else
        list_budgets(rest);
}

void rest_evict(struct rest *rest)
{
    struct eviction *eviction = arena_calloc(rest->arena, sizeof *eviction);
    enum rest_validation validation;
    struct json *body = NULL;
    int code = rest_write_options(rest, "CreateOptions", &validation);

    if (code == 0)
        code = rest_read_struct(rest, "policy/v1", "Eviction", &body);
    if (code == 0 && !slice_eq(rest_meta(body, "name"), rest->info.name))
        code = kube_status_bad_request(&rest->status, rest->arena,
                                       "name in URL does not match name in Eviction object");
    if (code == 0)
        code = rest_delete_options_of(rest, json_get(body, "deleteOptions"),
                                      &eviction->deletion.options);
    if (code != 0) {
        rest_fail(rest);
        return;
    }
    eviction->budgets =
        kube_resource_find(slice_str("policy"), slice_str("v1"), slice_str("poddisruptionbudgets"));
    rest->state = eviction;
    rest->on_cancel = on_cancel;
    kube_get(rest->api->store, &rest->op, rest->arena, rest->resource, rest_ns(rest),
             rest->info.name, KUBE_NEWEST, 0, on_pod);
}
