/* Rules of pods and of the templates that workloads make pods of, in upstream's order: its
 * complaints come as a list. */
#include <string.h>

#include "kube/check/rows.h"

#define FINITE_SECONDS "must be between 1 and 2147483647, inclusive"

/* ---- small things ---- */

static bool is_port_character(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

/* IANA service names (RFC 6335). */
static unsigned port_name(struct slice text, const char **out)
{
    unsigned count = 0;
    bool only = true, letter = false, doubled = false;

    for (size_t i = 0; i < text.len; i++) {
        only = only && is_port_character(text.data[i]);
        letter = letter || (text.data[i] >= 'a' && text.data[i] <= 'z');
        doubled = doubled || (i > 0 && text.data[i] == '-' && text.data[i - 1] == '-');
    }
    if (text.len > 15)
        out[count++] = "must be no more than 15 bytes";
    if (!only)
        out[count++] = "must contain only alphanumeric characters (a-z, 0-9), and hyphens (-)";
    if (!letter)
        out[count++] = "must contain at least one letter (a-z)";
    if (doubled)
        out[count++] = "must not contain consecutive hyphens";
    if (text.len > 0 && (text.data[0] == '-' || text.data[text.len - 1] == '-'))
        out[count++] = "must not begin or end with a hyphen";
    return count;
}

static unsigned env_name(struct slice text, const char **out)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < 0x20 || text.data[i] > 0x7e || text.data[i] == '=') {
            out[0] = "a valid environment variable name must consist only of printable ASCII "
                     "characters other than '='";
            return 1;
        }
    }
    return 0;
}

/* ---- resources ---- */

/* What may not be promised more often than it is there: all but cpu, memory and the like. */
static bool is_overcommitable(struct slice name)
{
    return memchr(name.data, '/', name.len) == NULL &&
           (name.len < 10 || memcmp(name.data, "hugepages-", 10) != 0);
}

static void check_amounts(struct checker *checker, const struct check__place *place,
                          const struct json *list)
{
    json_each(amount, list)
    {
        struct check__place at = {.parent = place, .key = json_key(amount)};
        int64_t milli = 0;

        check__qualified(checker, place, NULL, json_key(amount));
        (void)kube_quantity_milli(json_text(amount), &milli);
        if (milli < 0)
            check__invalid(checker, &at, NULL, amount, "must be greater than or equal to 0");
        if (!is_overcommitable(json_key(amount)) && milli % 1000 != 0)
            check__invalid(checker, &at, NULL, amount, "must be an integer");
    }
}

static void check_request(struct checker *checker, const struct check__place *requests,
                          const struct check__place *limits, const struct json *request,
                          const struct json *limit)
{
    struct slice name = json_key(request);
    int64_t wanted = 0, most = 0;

    if (limit == NULL) {
        if (!is_overcommitable(name))
            check__required(checker, limits, NULL,
                            "Limit must be set for non overcommitable resources");
        return;
    }
    (void)kube_quantity_milli(json_text(request), &wanted);
    (void)kube_quantity_milli(json_text(limit), &most);
    if (!is_overcommitable(name) && wanted != most)
        check__invalid(checker, requests, NULL, request,
                       check__print(checker->arena, "must be equal to %.*s limit of %.*s",
                                    TEXT(name), TEXT(json_text(limit))));
    else if (wanted > most)
        check__invalid(checker, requests, NULL, request,
                       check__print(checker->arena,
                                    "must be less than or equal to %.*s limit of %.*s", TEXT(name),
                                    TEXT(json_text(limit))));
}

static void check_resources(struct checker *checker, const struct check__place *place,
                            const struct json *resources)
{
    const struct check__place limits = {.parent = place, .name = "limits"};
    const struct check__place requests = {.parent = place, .name = "requests"};
    struct json_index most;

    json_index_init(&most, checker->arena, json_get(resources, "limits"));
    check_amounts(checker, &limits, most.object);
    check_amounts(checker, &requests, json_get(resources, "requests"));
    json_each(request, json_get(resources, "requests")) check_request(
        checker, &requests, &limits, request, json_index_get(&most, json_key(request)));
}

/* ---- containers ---- */

static void check_port(struct checker *checker, const struct check__place *place,
                       const struct json *port)
{
    int64_t number = 0;

    (void)json_int(json_get(port, "containerPort"), &number);
    if (number == 0)
        check__required(checker, place, "containerPort", NULL);
}

static const struct check__rule container_port[] = {
    NAME("name", port_name),
    CALL(NULL, check_port),
    RANGE("containerPort", 0, 65535, "must be between 1 and 65535, inclusive"),
    RANGE("hostPort", 0, 65535, "must be between 1 and 65535, inclusive"),
    ONE_OF("protocol", "SCTP TCP UDP"),
    END,
};

static void check_env_source(struct checker *checker, const struct check__place *place,
                             const struct json *env)
{
    const struct check__place source = {.parent = place, .name = "valueFrom"};
    const struct json *from = json_get(env, "valueFrom");

    if (!json_is(from, JSON_OBJECT))
        return;
    if (from->count == 0)
        check__invalid(checker, &source, NULL, NULL,
                       "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or "
                       "`secretKeyRef`");
    else if (!check__missing(json_get(env, "value")))
        check__invalid(checker, &source, NULL, NULL,
                       "may not be specified when `value` is not "
                       "empty");
    else if (from->count > 1)
        check__invalid(checker, &source, NULL, NULL,
                       "may not have more than one field specified at a time");
}

static const struct check__rule field_ref[] = {MUST("fieldPath"), END};
static const struct check__rule key_ref[] = {MUST("key"), END};
static const struct check__rule resource_ref[] = {MUST("resource"), END};
static const struct check__rule env_from[] = {
    IN("fieldRef", field_ref),
    IN("resourceFieldRef", resource_ref),
    IN("configMapKeyRef", key_ref),
    IN("secretKeyRef", key_ref),
    END,
};
static const struct check__rule env[] = {
    MUST("name"), NAME("name", env_name), CALL(NULL, check_env_source), IN("valueFrom", env_from),
    END,
};

static const struct check__rule volume_mount[] = {
    MUST("name"),
    MUST("mountPath"),
    END,
};

static void check_mount_paths(struct checker *checker, const struct check__place *place,
                              const struct json *container)
{
    const struct check__place mounts = {.parent = place, .name = "volumeMounts"};
    struct check__place item = {.parent = &mounts};
    const struct json *list = json_get(container, "volumeMounts");
    struct check__set seen;

    check__set_init(&seen, checker->arena, list == NULL ? 0 : list->count);
    json_each(mount, list)
    {
        const struct json *path = json_get(mount, "mountPath");

        if (!check__missing(path) && !check__set_add(&seen, json_text(path)))
            check__invalid(checker, &item, "mountPath", path, "must be unique");
        item.index++;
    }
}

/* ---- probes and hooks ---- */

static void check_handler(struct checker *checker, const struct check__place *place,
                          const struct json *probe)
{
    static const char *const handlers[] = {"exec", "httpGet", "tcpSocket", "grpc", "sleep"};
    unsigned count = 0;

    for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
        const struct json *handler = json_get(probe, handlers[i]);

        if (!json_is(handler, JSON_OBJECT))
            continue;
        if (count++ > 0)
            check__forbidden(checker, place, handlers[i],
                             "may not specify more than 1 handler type");
    }
    if (count == 0)
        check__required(checker, place, NULL, "must specify a handler type");
}

static const struct check__rule exec_action[] = {MUST("command"), END};
static const struct check__rule http_action[] = {
    MUST("path"),
    PORT("port"),
    ONE_OF("scheme", "HTTP HTTPS"),
    END,
};
static const struct check__rule socket_action[] = {PORT("port"), END};

#define HANDLERS                                                                                   \
    CALL(NULL, check_handler), IN("exec", exec_action), IN("httpGet", http_action),                \
        IN("tcpSocket", socket_action), IN("grpc", socket_action)
#define TIMES                                                                                      \
    NOT_NEGATIVE("initialDelaySeconds"), NOT_NEGATIVE("timeoutSeconds"),                           \
        NOT_NEGATIVE("periodSeconds"), NOT_NEGATIVE("successThreshold"),                           \
        NOT_NEGATIVE("failureThreshold")

/* clang-format off */
static const struct check__rule handler[] = {HANDLERS, END};
static const struct check__rule readiness_probe[] = {HANDLERS, TIMES, END};
static const struct check__rule liveness_probe[] = {
    HANDLERS, TIMES,
    RANGE("successThreshold", 1, 1, "must be 1"),
    END,
};
/* clang-format on */

/* ---- containers ---- */

static void check_image(struct checker *checker, const struct check__place *place,
                        const struct json *image)
{
    struct slice text = json_text(image);

    if (text.len == 0)
        check__required(checker, place, NULL, NULL);
    else if (strchr(" \t\r\n", text.data[0]) != NULL ||
             strchr(" \t\r\n", text.data[text.len - 1]) != NULL)
        check__invalid(checker, place, NULL, image, "must not have leading or trailing whitespace");
}

static void check_template_image(struct checker *checker, const struct check__place *place,
                                 const struct json *container)
{
    const struct check__place image = {.parent = place, .name = "image"};

    check_image(checker, &image, json_get(container, "image"));
}

#define CONTAINER                                                                                  \
    MUST("name"), NAME("name", check__label_1123), CALL(NULL, check_template_image),               \
        ONE_OF("terminationMessagePolicy", "FallbackToLogsOnError File"),                          \
        EACH("ports", container_port), UNIQUE("ports", "name"), EACH("env", env),                  \
        EACH("volumeMounts", volume_mount), CALL(NULL, check_mount_paths),                         \
        ONE_OF("imagePullPolicy", "Always IfNotPresent Never"), CALL("resources", check_resources)

/* clang-format off */
static const struct check__rule container[] = {
    CONTAINER,
    IN("lifecycle.postStart", handler),
    IN("lifecycle.preStop", handler),
    IN("livenessProbe", liveness_probe),
    IN("readinessProbe", readiness_probe),
    IN("startupProbe", liveness_probe),
    END,
};
static const struct check__rule init_container[] = {
    CONTAINER,
    ONE_OF("restartPolicy", "Always Never OnFailure"),
    END,
};
/* clang-format on */

/* ---- volumes ---- */

static void check_volume_source(struct checker *checker, const struct check__place *place,
                                const struct json *volume)
{
    unsigned count = 0;

    json_each(source, volume)
    {
        if (slice_eq(json_key(source), slice_str("name")) || !json_is(source, JSON_OBJECT))
            continue;
        if (count++ > 0)
            check__forbidden(checker, place,
                             check__print(checker->arena, "%.*s", TEXT(json_key(source))),
                             "may not specify more than 1 volume type");
    }
    if (count == 0)
        check__required(checker, place, NULL, "must specify a volume type");
}

static const struct check__rule key_to_path[] = {
    MUST("key"),
    MUST("path"),
    END,
};
static const struct check__rule secret_volume[] = {
    MUST("secretName"),
    EACH("items", key_to_path),
    END,
};
static const struct check__rule config_map_volume[] = {
    MUST("name"),
    EACH("items", key_to_path),
    END,
};
static const struct check__rule host_path_volume[] = {MUST("path"), END};
static const struct check__rule claim_volume[] = {MUST("claimName"), END};
static const struct check__rule volume[] = {
    MUST("name"),
    NAME("name", check__label_1123),
    CALL(NULL, check_volume_source),
    IN("secret", secret_volume),
    IN("configMap", config_map_volume),
    IN("hostPath", host_path_volume),
    IN("persistentVolumeClaim", claim_volume),
    END,
};

/* Every mount names a volume of the pod. */
static void check_mounts_of(struct checker *checker, const struct check__place *place,
                            const struct json *spec, const char *which,
                            const struct check__set *volumes)
{
    const struct check__place list = {.parent = place, .name = which};
    struct check__place item = {.parent = &list};
    const struct check__place mounts = {.parent = &item, .name = "volumeMounts"};

    json_each(one, json_get(spec, which))
    {
        struct check__place mount_place = {.parent = &mounts};

        json_each(mount, json_get(one, "volumeMounts"))
        {
            struct slice name = json_text_at(mount, "name");

            if (name.len > 0 && !check__set_has(volumes, name))
                kube_issues_add(&checker->issues, checker->arena, "NotFound",
                                check__path(checker, &mount_place, "name"), "Not found: %s",
                                check__quote(checker->arena, name));
            mount_place.index++;
        }
        item.index++;
    }
}

static void check_mounts(struct checker *checker, const struct check__place *place,
                         const struct json *spec)
{
    struct check__set volumes;

    check__set_init_names(&volumes, checker->arena, json_get(spec, "volumes"), "name");
    check_mounts_of(checker, place, spec, "initContainers", &volumes);
    check_mounts_of(checker, place, spec, "containers", &volumes);
}

/* Names of containers are unique over both lists. */
static void check_init_names(struct checker *checker, const struct check__place *place,
                             const struct json *spec)
{
    const struct check__place list = {.parent = place, .name = "initContainers"};
    struct check__place item = {.parent = &list};
    struct check__set names;

    check__set_init_names(&names, checker->arena, json_get(spec, "containers"), "name");
    json_each(init, json_get(spec, "initContainers"))
    {
        struct slice name = json_text_at(init, "name");

        if (name.len > 0 && check__set_has(&names, name))
            check__duplicate(checker, &item, "name", json_get(init, "name"));
        item.index++;
    }
}

/* ---- the rest of the spec ---- */

static void check_toleration(struct checker *checker, const struct check__place *place,
                             const struct json *toleration)
{
    const struct json *op = json_get(toleration, "operator");
    const struct json *effect = json_get(toleration, "effect");
    const struct json *key = json_get(toleration, "key");

    if (!check__missing(key))
        check__qualified(checker, place, "key", json_text(key));
    else if (!json_equals(op, "Exists"))
        check__invalid(checker, place, "operator", op,
                       "operator must be Exists when `key` is empty, which means \"match all "
                       "values and all keys\"");
    if (json_get(toleration, "tolerationSeconds") != NULL && !json_equals(effect, "NoExecute"))
        check__invalid(checker, place, "effect", effect,
                       "effect must be 'NoExecute' when `tolerationSeconds` is set");
    if (json_equals(op, "Exists")) {
        if (!check__missing(json_get(toleration, "value")))
            check__invalid(checker, place, "operator", toleration,
                           "value must be empty when `operator` is 'Exists'");
    } else if (check__missing(op) || json_equals(op, "Equal")) {
        const char *texts[CHECK_NAME_COMPLAINTS_MAX];

        if (check__label_value(json_text_at(toleration, "value"), texts) > 0)
            check__invalid(checker, place, "operator", json_get(toleration, "value"), texts[0]);
    } else {
        check__unsupported(checker, place, "operator", op, "Equal Exists");
    }
}

static const struct check__rule toleration[] = {
    CALL(NULL, check_toleration),
    ONE_OF("effect", "NoSchedule PreferNoSchedule NoExecute"),
    END,
};

static void check_dns(struct checker *checker, const struct check__place *place,
                      const struct json *spec)
{
    const struct check__place config = {.parent = place, .name = "dnsConfig"};
    const struct json *servers = json_at(spec, "dnsConfig.nameservers");

    if (!json_equals(json_get(spec, "dnsPolicy"), "None"))
        return;
    if (json_get(spec, "dnsConfig") == NULL)
        check__required(checker, place, "dnsConfig",
                        "must provide `dnsConfig` when `dnsPolicy` is None");
    else if (servers == NULL || servers->count == 0)
        check__required(checker, &config, "nameservers",
                        "must provide at least one DNS nameserver when `dnsPolicy` is None");
}

static const struct check__rule spread[] = {
    RANGE("maxSkew", 1, INT64_MAX, "must be greater than zero"),
    MUST_SAYING("topologyKey", "can not be empty"),
    ONE_OF("whenUnsatisfiable", "DoNotSchedule ScheduleAnyway"),
    SELECTOR("labelSelector"),
    END,
};

static const struct check__rule pod_spec[] = {
    EACH("volumes", volume),
    UNIQUE("volumes", "name"),
    MUST("containers"),
    EACH("containers", container),
    UNIQUE("containers", "name"),
    EACH("initContainers", init_container),
    UNIQUE("initContainers", "name"),
    CALL(NULL, check_init_names),
    CALL(NULL, check_mounts),
    ONE_OF("restartPolicy", "Always OnFailure Never"),
    ONE_OF("dnsPolicy", "ClusterFirstWithHostNet ClusterFirst Default None"),
    LABELS("nodeSelector"),
    CALL(NULL, check_dns),
    EACH("topologySpreadConstraints", spread),
    NAME("serviceAccountName", check__subdomain),
    NAME("nodeName", check__subdomain),
    RANGE("activeDeadlineSeconds", 1, INT32_MAX, FINITE_SECONDS),
    NAME("hostname", check__label_1123),
    NAME("subdomain", check__label_1123),
    EACH("tolerations", toleration),
    NAME("priorityClassName", check__subdomain),
    NAME("runtimeClassName", check__subdomain),
    ONE_OF("preemptionPolicy", "Never PreemptLowerPriority"),
    END,
};

const struct check__rule check__pod[] = {IN("spec", pod_spec), END};

const struct check__rule check__pod_template[] = {
    LABELS("metadata.labels"),
    IN("spec", pod_spec),
    END,
};

/* ---- updates ---- */

#define POD_UPDATE_TEXT                                                                            \
    "pod updates may not change fields other than `spec.containers[*].image`,"                     \
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "        \
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set " \
    "to 1 if it was previously negative)"

/* Gives the containers of spec the images of the other. */
static void take_images(struct json *spec, const struct json *other, const char *which)
{
    const struct json *from = json_get(other, which);
    const struct json *next = from == NULL ? NULL : from->first;

    json_each(one, json_get(spec, which))
    {
        struct json *image = json_get(one, "image");

        if (next == NULL)
            return;
        if (image != NULL && json_get(next, "image") != NULL)
            json_become(image, json_get(next, "image"));
        next = next->next;
    }
}

static bool keeps_tolerations(struct arena *arena, const struct json *old, const struct json *spec)
{
    const struct json *list = json_get(spec, "tolerations");
    struct check__set kept;

    check__set_init(&kept, arena, list == NULL ? 0 : list->count);
    json_each(toleration_kept, list)(void)
        check__set_add(&kept, slice_str(check__json(arena, toleration_kept)));
    json_each(before, json_get(old, "tolerations"))
    {
        if (!check__set_has(&kept, slice_str(check__json(arena, before))))
            return false;
    }
    return true;
}

static bool deadline_may_become(const struct json *old, const struct json *spec)
{
    int64_t before, after;

    if (!json_int(json_get(old, "activeDeadlineSeconds"), &before))
        return true;
    return json_int(json_get(spec, "activeDeadlineSeconds"), &after) && after <= before;
}

void check__pod_update(struct checker *checker)
{
    const struct json *old = json_get(checker->old, "spec");
    struct json *rest = json_copy(checker->arena, json_get(checker->object, "spec"));
    static const char *const free_fields[] = {"activeDeadlineSeconds", "tolerations"};
    int64_t grace, was;

    if (old == NULL || rest == NULL || json_same(old, rest))
        return;
    if (!deadline_may_become(old, rest))
        check__invalid(checker, NULL, "spec.activeDeadlineSeconds",
                       json_get(rest, "activeDeadlineSeconds"),
                       json_get(rest, "activeDeadlineSeconds") == NULL
                           ? "must not update from a positive integer to nil value"
                           : "must be less than or equal to previous value");
    take_images(rest, old, "containers");
    take_images(rest, old, "initContainers");
    if (json_int(json_get(old, "terminationGracePeriodSeconds"), &was) && was < 0 &&
        json_int(json_get(rest, "terminationGracePeriodSeconds"), &grace) && grace == 1)
        (void)json_set(rest, "terminationGracePeriodSeconds", json_new_int(checker->arena, was));
    if (keeps_tolerations(checker->arena, old, rest)) {
        struct json *copy = json_copy(checker->arena, old);

        for (size_t i = 0; i < ARRAY_LEN(free_fields); i++) {
            (void)json_remove(copy, free_fields[i]);
            (void)json_remove(rest, free_fields[i]);
        }
        if (json_same(copy, rest))
            return;
    }
    check__forbidden(checker, NULL, "spec", POD_UPDATE_TEXT);
}
