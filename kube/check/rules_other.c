/* Rules of data, storage, nodes and the rest. */
#include <string.h>

#include "kube/check/rows.h"

#define KEY_TEXT                                                                                   \
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "           \
    "'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "                    \
    "'[-._a-zA-Z0-9]+')"
#define FROZEN "field is immutable when `immutable` is set"
#define DATA_MAX (1024 * 1024)

/* ---- config maps and secrets ---- */

static const char *data_key_fault(struct slice key)
{
    if (key.len > 253)
        return "must be no more than 253 bytes";
    if (key.len == 0)
        return KEY_TEXT;
    for (size_t i = 0; i < key.len; i++) {
        uint8_t c = key.data[i] | 0x20;

        if (!((c >= 'a' && c <= 'z') || (key.data[i] >= '0' && key.data[i] <= '9') ||
              key.data[i] == '-' || key.data[i] == '.' || key.data[i] == '_'))
            return KEY_TEXT;
    }
    if (slice_eq(key, slice_str(".")))
        return "must not be '.'";
    if (key.len >= 2 && key.data[0] == '.' && key.data[1] == '.')
        return key.len == 2 ? "must not be '..'" : "must not start with '..'";
    return NULL;
}

/* Keys of data; returns the size of all values. */
static size_t check_data(struct checker *checker, const char *field)
{
    const struct check__place place = {.name = field};
    size_t size = 0;

    json_each(member, json_get(checker->object, field))
    {
        const struct check__place at = {.parent = &place, .key = json_key(member)};
        const char *fault = data_key_fault(json_key(member));

        if (fault != NULL)
            check__invalid_text(checker, &at, NULL, check__quote(checker->arena, json_key(member)),
                                fault);
        size += json_text(member).len;
    }
    return size;
}

static void check_frozen(struct checker *checker, const char *const *fields, size_t count)
{
    if (!check__true(json_get(checker->old, "immutable")))
        return;
    if (!check__true(json_get(checker->object, "immutable")))
        check__forbidden(checker, NULL, "immutable", FROZEN);
    for (size_t i = 0; i < count; i++) {
        if (!check__unchanged(json_get(checker->old, fields[i]),
                              json_get(checker->object, fields[i])))
            check__forbidden(checker, NULL, fields[i], FROZEN);
    }
}

static void too_long(struct checker *checker, const char *field)
{
    kube_issues_add(&checker->issues, checker->arena, "TooLong", field,
                    "Too long: may not be more than %d bytes", DATA_MAX);
}

static void check_config_map(struct checker *checker, const struct check__place *place,
                             const struct json *object)
{
    static const char *const fields[] = {"data", "binaryData"};
    static const struct check__place data = {.name = "data"};
    struct json_index binary;
    size_t size;

    (void)place;
    json_index_init(&binary, checker->arena, json_get(object, "binaryData"));
    check_frozen(checker, fields, ARRAY_LEN(fields));
    size = check_data(checker, "data") + check_data(checker, "binaryData") / 4 * 3;
    json_each(member, json_get(object, "data"))
    {
        const struct check__place at = {.parent = &data, .key = json_key(member)};

        if (json_index_get(&binary, json_key(member)) != NULL)
            check__invalid_text(checker, &at, NULL, check__quote(checker->arena, json_key(member)),
                                "duplicate of key present in binaryData");
    }
    if (size > DATA_MAX)
        too_long(checker, "");
}

struct secret_type {
    const char *type;
    const char *keys; /* that must be there */
};

static const struct secret_type secret_types[] = {
    {"kubernetes.io/dockercfg", ".dockercfg"},
    {"kubernetes.io/dockerconfigjson", ".dockerconfigjson"},
    {"kubernetes.io/ssh-auth", "ssh-privatekey"},
    {"kubernetes.io/tls", "tls.crt tls.key"},
};

static void check_secret_keys(struct checker *checker, const struct json *object, const char *keys)
{
    static const struct check__place data = {.name = "data"};

    while (*keys != '\0') {
        size_t len = strcspn(keys, " ");
        const struct check__place at = {.parent = &data, .key = slice_str(keys)};
        struct check__place one = at;

        one.key.len = len;
        if (json_get_slice(json_get(object, "data"), one.key) == NULL)
            check__required(checker, &one, NULL, NULL);
        keys += len + (keys[len] == ' ');
    }
}

static void check_secret(struct checker *checker, const struct check__place *place,
                         const struct json *object)
{
    static const char *const fields[] = {"data"};
    const struct json *data = json_get(object, "data"), *type = json_get(object, "type");

    (void)place;
    check_frozen(checker, fields, ARRAY_LEN(fields));
    if (check_data(checker, "data") / 4 * 3 > DATA_MAX)
        too_long(checker, "data");
    for (size_t i = 0; i < ARRAY_LEN(secret_types); i++) {
        if (json_equals(type, secret_types[i].type))
            check_secret_keys(checker, object, secret_types[i].keys);
    }
    if (json_equals(type, "kubernetes.io/basic-auth") && json_get(data, "username") == NULL &&
        json_get(data, "password") == NULL) {
        kube_issues_add(&checker->issues, checker->arena, "Required", "data[username]",
                        "Required value");
        kube_issues_add(&checker->issues, checker->arena, "Required", "data[password]",
                        "Required value");
    }
    if (json_equals(type, "kubernetes.io/service-account-token") &&
        check__missing(json_get(json_at(object, "metadata.annotations"),
                                "kubernetes.io/service-account.name")))
        kube_issues_add(&checker->issues, checker->arena, "Required",
                        "metadata.annotations[kubernetes.io/service-account.name]",
                        "Required value");
}

static const struct check__rule config_map[] = {CALL(NULL, check_config_map), END};
static const struct check__rule secret[] = {
    IMMUTABLE("type"),
    CALL(NULL, check_secret),
    END,
};

/* ---- storage ---- */

static void check_claim_spec(struct checker *checker, const struct check__place *place,
                             const struct json *spec)
{
    static const char *const fields[] = {"accessModes", "selector",   "storageClassName",
                                         "volumeMode",  "dataSource", "dataSourceRef"};
    const struct check__place resources = {.parent = place, .name = "resources"};
    const struct check__place storage = {.parent = &resources, .key = slice_str("storage")};
    const struct json *old = json_get(checker->old, "spec");

    if (check__missing(json_get(spec, "accessModes")))
        check__required(checker, place, "accessModes", "at least 1 access mode is required");
    if (json_get(json_at(spec, "resources.requests"), "storage") == NULL)
        check__required(checker, &storage, NULL, NULL);
    for (size_t i = 0; old != NULL && i < ARRAY_LEN(fields); i++) {
        if (!check__unchanged(json_get(old, fields[i]), json_get(spec, fields[i]))) {
            check__forbidden(checker, place, NULL,
                             "spec is immutable after creation except resources.requests and "
                             "volumeAttributesClassName for bound claims");
            return;
        }
    }
}

static const struct check__rule volume_claim[] = {
    CALL("spec", check_claim_spec),
    SELECTOR("spec.selector"),
    ONE_OF("spec.volumeMode", "Block Filesystem"),
    END,
};
static const struct check__rule persistent_volume[] = {
    MUST("spec.accessModes"),
    MUST("spec.capacity"),
    ONE_OF("spec.persistentVolumeReclaimPolicy", "Delete Recycle Retain"),
    ONE_OF("spec.volumeMode", "Block Filesystem"),
    END,
};
static const struct check__rule storage_class[] = {
    MUST("provisioner"),
    ONE_OF("reclaimPolicy", "Delete Retain"),
    ONE_OF("volumeBindingMode", "Immediate WaitForFirstConsumer"),
    IMMUTABLE_SAYING("parameters", "updates to parameters are forbidden."),
    IMMUTABLE_SAYING("provisioner", "updates to provisioner are forbidden."),
    IMMUTABLE_SAYING("reclaimPolicy", "updates to reclaimPolicy are forbidden."),
    IMMUTABLE("volumeBindingMode"),
    END,
};

/* ---- nodes and the rest ---- */

static const struct check__rule taint[] = {
    MUST("key"),
    MUST("effect"),
    ONE_OF("effect", "NoSchedule PreferNoSchedule NoExecute"),
    END,
};

static void check_taints(struct checker *checker, const struct check__place *place,
                         const struct json *taints)
{
    struct check__place item = {.parent = place};
    struct check__set seen;

    check__set_init(&seen, checker->arena, taints == NULL ? 0 : taints->count);
    json_each(one, taints)
    {
        const char *text =
            check__print(checker->arena, "%.*s:%.*s", TEXT(json_text_at(one, "effect")),
                         TEXT(json_text_at(one, "key")));

        if (!check__set_add(&seen, slice_str(text)))
            check__duplicate(checker, &item, NULL, one);
        item.index++;
    }
}

static const struct check__rule node[] = {
    EACH("spec.taints", taint),
    CALL("spec.taints", check_taints),
    END,
};

static const struct check__rule lease[] = {
    RANGE("spec.leaseDurationSeconds", 1, INT64_MAX, "must be greater than 0"),
    NOT_NEGATIVE("spec.leaseTransitions"),
    END,
};

static void check_priority(struct checker *checker, const struct check__place *place,
                           const struct json *object)
{
    static const char *const fixed[] = {"value", "preemptionPolicy"};
    struct slice name = json_text_at(object, "metadata.name");
    bool system = name.len >= 7 && memcmp(name.data, "system-", 7) == 0;
    int64_t value = 0;

    (void)json_int(json_get(object, "value"), &value);
    if (checker->old == NULL && !system && value > 1000000000)
        check__forbidden(checker, place, "value",
                         "maximum allowed value of a user defined priority is 1000000000");
    for (size_t i = 0; checker->old != NULL && i < ARRAY_LEN(fixed); i++) {
        if (!check__unchanged(json_get(checker->old, fixed[i]), json_get(object, fixed[i])))
            check__forbidden(checker, place, fixed[i], "may not be changed in an update.");
    }
}

static const struct check__rule priority_class[] = {
    CALL(NULL, check_priority),
    ONE_OF("preemptionPolicy", "Never PreemptLowerPriority"),
    END,
};

static void check_event_namespace(struct checker *checker, const struct check__place *place,
                                  const struct json *space)
{
    struct slice own = json_text_at(checker->object, "metadata.namespace");

    if (check__missing(space) ? !slice_eq(own, slice_str("default"))
                              : !slice_eq(own, json_text(space)))
        check__invalid(checker, place, NULL, space, "does not match event.namespace");
}

static const struct check__rule event[] = {
    CALL("involvedObject.namespace", check_event_namespace),
    END,
};
static const struct check__rule signing_request[] = {
    MUST("spec.request"),
    MUST("spec.signerName"),
    MUST_SAYING("spec.usages", "usages must be specified"),
    END,
};
static const struct check__rule runtime_class[] = {
    MUST("handler"),
    NAME("handler", check__label_1123),
    IMMUTABLE("handler"),
    END,
};

/* What may not change in a pod is said first and alone: it would be said again of the fields. */
static void check_pod(struct checker *checker, const struct check__place *place,
                      const struct json *object)
{
    if (checker->old != NULL)
        check__pod_update(checker);
    else
        check__run(checker, check__pod, place, object, NULL);
}

static const struct check__rule pod[] = {CALL(NULL, check_pod), END};

/* ---- custom resource definitions ---- */

static void check_definition(struct checker *checker, const struct check__place *place,
                             const struct json *object)
{
    const struct json *name = json_at(object, "metadata.name");
    const char *wanted =
        check__print(checker->arena, "%.*s.%.*s", TEXT(json_text_at(object, "spec.names.plural")),
                     TEXT(json_text_at(object, "spec.group")));
    unsigned stored = 0;

    json_each(version, json_at(object, "spec.versions")) stored +=
        check__true(json_get(version, "storage"));
    if (!json_equals(name, wanted))
        check__invalid(checker, place, "metadata.name", name,
                       "must be spec.names.plural+\".\"+spec.group");
    if (stored != 1)
        check__invalid(checker, place, "spec.versions", json_at(object, "spec.versions"),
                       "must have exactly one version marked as storage version");
}

static void check_schema(struct checker *checker, const struct check__place *place,
                         const struct json *version)
{
    if (json_at(version, "schema.openAPIV3Schema") == NULL)
        check__required(checker, place, "schema.openAPIV3Schema", NULL);
}

static const struct check__rule definition_version[] = {
    MUST("name"),
    NAME("name", check__label_1035),
    CALL(NULL, check_schema),
    END,
};
static const struct check__rule definition[] = {
    CALL(NULL, check_definition),
    MUST("spec.group"),
    NAME("spec.group", check__subdomain),
    MUST("spec.scope"),
    ONE_OF("spec.scope", "Cluster Namespaced"),
    MUST("spec.versions"),
    EACH("spec.versions", definition_version),
    UNIQUE("spec.versions", "name"),
    MUST("spec.names.plural"),
    MUST("spec.names.kind"),
    IMMUTABLE("spec.group"),
    IMMUTABLE("spec.scope"),
    IMMUTABLE("spec.names.kind"),
    END,
};

/* ---- which kind has which ---- */

const struct check__kind_rules check__other_kinds[] = {
    {"", "ConfigMap", config_map},
    {"", "Secret", secret},
    {"", "Event", event},
    {"", "Node", node},
    {"", "PersistentVolume", persistent_volume},
    {"", "PersistentVolumeClaim", volume_claim},
    {"", "Pod", pod},
    {"certificates.k8s.io", "CertificateSigningRequest", signing_request},
    {"coordination.k8s.io", "Lease", lease},
    {"node.k8s.io", "RuntimeClass", runtime_class},
    {"scheduling.k8s.io", "PriorityClass", priority_class},
    {"storage.k8s.io", "StorageClass", storage_class},
    {"apiextensions.k8s.io", "CustomResourceDefinition", definition},
    {NULL, NULL, NULL},
};
