/* Who may do what, in which order, through which hooks. */
#include "kube/codec/columns.h"
#include "kube/codec/table.h"

/* ---- bindings of roles ---- */

/* Subjects of the kind that otherwise names. */
static struct json *print_subjects(struct kube__row *row, const struct kube__column *column)
{
    const struct json *subjects = json_at(row->object, column->path);

    kube__begin(row);
    if (!json_is(subjects, JSON_ARRAY))
        return kube__end(row, NULL);
    json_each(subject, subjects)
    {
        struct slice ns = json_text_at(subject, "namespace");

        if (!json_equals(json_get(subject, "kind"), column->otherwise))
            continue;
        kube__add_item(row, ", ", ns);
        if (ns.len > 0)
            kube__add(row, "/");
        kube__add_slice(row, json_text_at(subject, "name"));
    }
    return kube__end(row, NULL);
}

static const struct kube__column binding_columns[] = {
    KUBE__NAME,
    {"Role", "string", 0, kube__reference, "roleRef", NULL},
    KUBE__AGE,
    {"Users", "string", 1, print_subjects, "subjects", "User"},
    {"Groups", "string", 1, print_subjects, "subjects", "Group"},
    {"ServiceAccounts", "string", 1, print_subjects, "subjects", "ServiceAccount"},
};

/* ---- certificates ---- */

static bool has_condition(const struct json *conditions, const char *type)
{
    return kube__condition(conditions, type).data != NULL;
}

static struct json *print_request_state(struct kube__row *row, const struct kube__column *column)
{
    const struct json *conditions = json_at(row->object, column->path);

    kube__begin(row);
    if (has_condition(conditions, "Denied"))
        kube__add(row, "Denied");
    else
        kube__add(row, has_condition(conditions, "Approved") ? "Approved" : "Pending");
    if (has_condition(conditions, "Failed"))
        kube__add(row, ",Failed");
    if (json_text_at(row->object, "status.certificate").len > 0)
        kube__add(row, ",Issued");
    return kube__end(row, NULL);
}

static struct json *print_requested_duration(struct kube__row *row,
                                             const struct kube__column *column)
{
    int64_t seconds;

    if (!json_int(json_at(row->object, column->path), &seconds))
        return kube__string(row, "<none>");
    return kube__string(row, kube_human_duration(row->arena, seconds));
}

static const struct kube__column request_columns[] = {
    KUBE__NAME,
    KUBE__AGE,
    {"SignerName", "string", 0, kube__text, "spec.signerName", "<none>"},
    {"Requestor", "string", 0, kube__text, "spec.username", NULL},
    {"RequestedDuration", "string", 0, print_requested_duration, "spec.expirationSeconds", NULL},
    {"Condition", "string", 0, print_request_state, "status.conditions", NULL},
};

/* ---- classes ---- */

static const struct kube__column priority_columns[] = {
    KUBE__NAME,
    {"Value", "integer", 0, kube__integer, "value", NULL},
    {"Global-Default", "boolean", 0, kube__boolean, "globalDefault", NULL},
    KUBE__AGE,
    {"PreemptionPolicy", "string", 0, kube__text, "preemptionPolicy", NULL},
};

static const struct kube__column runtime_columns[] = {
    KUBE__NAME,
    {"Handler", "string", 0, kube__text, "handler", NULL},
    KUBE__AGE,
};

/* ---- admission ---- */

static const struct kube__column webhook_columns[] = {
    KUBE__NAME,
    {"Webhooks", "integer", 0, kube__count, "webhooks", NULL},
    KUBE__AGE,
};

static struct json *print_param_kind(struct kube__row *row, const struct kube__column *column)
{
    const struct json *kind = json_at(row->object, column->path);

    kube__begin(row);
    if (json_is(kind, JSON_OBJECT)) {
        kube__add_slice(row, json_text_at(kind, "apiVersion"));
        kube__add(row, "/");
        kube__add_slice(row, json_text_at(kind, "kind"));
    }
    return kube__end(row, "<unset>");
}

static struct json *print_param(struct kube__row *row, const struct kube__column *column)
{
    const struct json *param = json_at(row->object, column->path);
    struct slice ns = json_text_at(param, "namespace");
    struct slice name = json_text_at(param, "name");

    kube__begin(row);
    if (ns.len > 0) {
        kube__add_slice(row, ns);
        kube__add(row, "/");
    }
    if (name.len > 0)
        kube__add_slice(row, name);
    else
        kube__add_selector(row, json_get(param, "selector"));
    return kube__end(row, "<unset>");
}

static const struct kube__column validating_columns[] = {
    KUBE__NAME,
    {"Validations", "integer", 0, kube__count, "spec.validations", NULL},
    {"ParamKind", "string", 0, print_param_kind, "spec.paramKind", NULL},
    KUBE__AGE,
};

static const struct kube__column mutating_columns[] = {
    KUBE__NAME,
    {"Mutations", "integer", 0, kube__count, "spec.mutations", NULL},
    {"ParamKind", "string", 0, print_param_kind, "spec.paramKind", NULL},
    KUBE__AGE,
};

static const struct kube__column policy_binding_columns[] = {
    KUBE__NAME,
    {"PolicyName", "string", 0, kube__text, "spec.policyName", NULL},
    {"ParamRef", "string", 0, print_param, "spec.paramRef", NULL},
    KUBE__AGE,
};

/* ---- flow control ---- */

static struct json *print_dangling(struct kube__row *row, const struct kube__column *column)
{
    struct slice dangling = kube__condition(json_at(row->object, column->path), "Dangling");

    return dangling.data == NULL ? kube__string(row, "?") : json_new_string(row->arena, dangling);
}

static const struct kube__column flow_columns[] = {
    KUBE__NAME,
    {"PriorityLevel", "string", 0, kube__text, "spec.priorityLevelConfiguration.name", "<none>"},
    {"MatchingPrecedence", "string", 0, kube__integer, "spec.matchingPrecedence", NULL},
    {"DistinguisherMethod", "string", 0, kube__text, "spec.distinguisherMethod.type", "<none>"},
    KUBE__AGE,
    {"MissingPL", "string", 0, print_dangling, "status.conditions", NULL},
};

/* A number, or "<none>" where the level has no such thing. */
static struct json *print_maybe(struct kube__row *row, const struct kube__column *column)
{
    int64_t number;

    if (json_int(json_at(row->object, column->path), &number))
        return json_new_int(row->arena, number);
    return kube__string(row, "<none>");
}

static const struct kube__column level_columns[] = {
    KUBE__NAME,
    {"Type", "string", 0, kube__text, "spec.type", NULL},
    {"NominalConcurrencyShares", "string", 0, print_maybe, "spec.limited.nominalConcurrencyShares",
     NULL},
    {"Queues", "string", 0, print_maybe, "spec.limited.limitResponse.queuing.queues", NULL},
    {"HandSize", "string", 0, print_maybe, "spec.limited.limitResponse.queuing.handSize", NULL},
    {"QueueLengthLimit", "string", 0, print_maybe,
     "spec.limited.limitResponse.queuing.queueLengthLimit", NULL},
    KUBE__AGE,
};

/* ---- aggregated APIs ---- */

static struct json *print_available(struct kube__row *row, const struct kube__column *column)
{
    const struct json *conditions = json_at(row->object, column->path);

    kube__begin(row);
    if (!json_is(conditions, JSON_ARRAY))
        return kube__end(row, "Unknown");
    json_each(condition, conditions)
    {
        struct slice status = json_text_at(condition, "status");

        if (!json_equals(json_get(condition, "type"), "Available"))
            continue;
        kube__add_slice(row, status);
        if (!slice_eq(status, slice_str("True"))) {
            kube__add(row, " (");
            kube__add_slice(row, json_text_at(condition, "reason"));
            kube__add(row, ")");
        }
        break;
    }
    return kube__end(row, "Unknown");
}

static const struct kube__column apiservice_columns[] = {
    KUBE__NAME,
    {"Service", "string", 0, kube__qualified, "spec.service", "Local"},
    {"Available", "string", 0, print_available, "status.conditions", NULL},
    KUBE__AGE,
};

const struct kube__columns kube__policy_columns[] = {
    KUBE__COLUMNS("RoleBinding", binding_columns),
    KUBE__COLUMNS("ClusterRoleBinding", binding_columns),
    KUBE__COLUMNS("CertificateSigningRequest", request_columns),
    KUBE__COLUMNS("PriorityClass", priority_columns),
    KUBE__COLUMNS("RuntimeClass", runtime_columns),
    KUBE__COLUMNS("MutatingWebhookConfiguration", webhook_columns),
    KUBE__COLUMNS("ValidatingWebhookConfiguration", webhook_columns),
    KUBE__COLUMNS("ValidatingAdmissionPolicy", validating_columns),
    KUBE__COLUMNS("ValidatingAdmissionPolicyBinding", policy_binding_columns),
    KUBE__COLUMNS("MutatingAdmissionPolicy", mutating_columns),
    KUBE__COLUMNS("MutatingAdmissionPolicyBinding", policy_binding_columns),
    KUBE__COLUMNS("FlowSchema", flow_columns),
    KUBE__COLUMNS("PriorityLevelConfiguration", level_columns),
    KUBE__COLUMNS("APIService", apiservice_columns),
};
const size_t kube__policy_columns_count = ARRAY_LEN(kube__policy_columns);
