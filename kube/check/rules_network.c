/* Rules of services, networks and access. */
#include <string.h>

#include "kube/check/rows.h"

/* ---- services and networks ---- */

static const struct check__rule service_port[] = {
    NAME("name", check__label_1123),
    PORT("port"),
    ONE_OF("protocol", "SCTP TCP UDP"),
    PORT("targetPort"),
    RANGE("nodePort", 0, 65535, "must be between 0 and 65535, inclusive"),
    END,
};

static void check_ports(struct checker *checker, const struct check__place *place,
                        const struct json *spec)
{
    const struct check__place at = {.parent = place, .name = "ports"};
    struct check__place item = {.parent = &at};
    const struct json *ports = json_get(spec, "ports");

    if (check__missing(ports) && !json_equals(json_get(spec, "clusterIP"), "None") &&
        !json_equals(json_get(spec, "type"), "ExternalName"))
        check__required(checker, &at, NULL, NULL);
    json_each(port, ports)
    {
        if (ports->count > 1 && check__missing(json_get(port, "name")))
            check__required(checker, &item, "name", NULL);
        item.index++;
    }
}

/* A service keeps the address it was given, unless it becomes one of another type. */
static void check_cluster_ip(struct checker *checker, const struct check__place *place,
                             const struct json *spec)
{
    const struct json *old = json_at(checker->old, "spec.clusterIPs");
    const struct json *ips = json_get(spec, "clusterIPs");

    if (check__missing(old) || check__missing(ips) ||
        json_equals(json_get(spec, "type"), "ExternalName") ||
        json_equals(json_at(checker->old, "spec.type"), "ExternalName"))
        return;
    if (!json_same(old->first, ips->first))
        check__invalid(checker, place, "clusterIPs[0]", ips, "may not change once set");
}

static void check_external_name(struct checker *checker, const struct check__place *place,
                                const struct json *spec)
{
    const char *texts[CHECK_NAME_COMPLAINTS_MAX];
    const struct json *name = json_get(spec, "externalName");
    struct slice text = json_text(name);

    if (!json_equals(json_get(spec, "type"), "ExternalName"))
        return;
    if (text.len > 0 && text.data[text.len - 1] == '.')
        text.len--;
    if (text.len == 0)
        check__required(checker, place, "externalName", NULL);
    else if (check__subdomain(text, texts) > 0)
        check__invalid(checker, place, "externalName", name, texts[0]);
}

static const struct check__rule service[] = {
    CALL("spec", check_cluster_ip),
    CALL("spec", check_ports),
    EACH("spec.ports", service_port),
    UNIQUE("spec.ports", "name"),
    LABELS("spec.selector"),
    ONE_OF("spec.sessionAffinity", "ClientIP None"),
    ONE_OF("spec.type", "ClusterIP ExternalName LoadBalancer NodePort"),
    CALL("spec", check_external_name),
    ONE_OF("spec.externalTrafficPolicy", "Cluster Local"),
    ONE_OF("spec.internalTrafficPolicy", "Cluster Local"),
    END,
};

static const struct check__rule endpoint_slice[] = {
    MUST("addressType"),
    ONE_OF("addressType", "FQDN IPv4 IPv6"),
    IMMUTABLE("addressType"),
    END,
};

static void check_ingress_spec(struct checker *checker, const struct check__place *place,
                               const struct json *spec)
{
    if (check__missing(json_get(spec, "rules")) && json_get(spec, "defaultBackend") == NULL)
        check__invalid(checker, place, NULL, spec,
                       "either `defaultBackend` or `rules` must be specified");
}

static void check_ingress_path(struct checker *checker, const struct check__place *place,
                               const struct json *path)
{
    const struct json *type = json_get(path, "pathType");
    struct slice text = json_text_at(path, "path");

    if (check__missing(type)) {
        check__required(checker, place, "pathType", "pathType must be specified");
        return;
    }
    if (!json_equals(type, "ImplementationSpecific") && (text.len == 0 || text.data[0] != '/'))
        check__invalid(checker, place, "path", json_get(path, "path"), "must be an absolute path");
}

static const struct check__rule ingress_service[] = {MUST("name"), END};
static const struct check__rule ingress_path[] = {
    CALL(NULL, check_ingress_path),
    ONE_OF("pathType", "Exact ImplementationSpecific Prefix"),
    IN("backend.service", ingress_service),
    END,
};
static const struct check__rule ingress_http[] = {
    MUST("paths"),
    EACH("paths", ingress_path),
    END,
};
static const struct check__rule ingress_rule[] = {
    IN("http", ingress_http),
    END,
};
static const struct check__rule ingress[] = {
    CALL("spec", check_ingress_spec),
    EACH("spec.rules", ingress_rule),
    END,
};

static const struct check__rule network_policy[] = {
    SELECTOR("spec.podSelector"),
    END,
};
static const struct check__rule ingress_class[] = {
    MUST("spec.controller"),
    IMMUTABLE("spec.controller"),
    END,
};

/* ---- access ---- */

static const struct check__rule policy_rule[] = {
    MUST_SAYING("verbs", "verbs must contain at least one value"),
    END,
};

static void check_policy_rule(struct checker *checker, const struct check__place *place,
                              const struct json *rule)
{
    check__run(checker, policy_rule, place, rule, NULL);
    if (!check__missing(json_get(rule, "nonResourceURLs"))) {
        if ((checker->resource->flags & KUBE_NAMESPACED) != 0)
            check__invalid(checker, place, "nonResourceURLs", json_get(rule, "nonResourceURLs"),
                           "namespaced rules cannot apply to non-resource URLs");
        return;
    }
    if (check__missing(json_get(rule, "apiGroups")))
        check__required(checker, place, "apiGroups",
                        "resource rules must supply at least one api group");
    if (check__missing(json_get(rule, "resources")))
        check__required(checker, place, "resources",
                        "resource rules must supply at least one resource");
}

static const struct check__rule each_policy_rule[] = {
    CALL(NULL, check_policy_rule),
    END,
};
static const struct check__rule role[] = {
    EACH("rules", each_policy_rule),
    END,
};

static void check_subject(struct checker *checker, const struct check__place *place,
                          const struct json *subject)
{
    if (check__missing(json_get(subject, "name")))
        check__required(checker, place, "name", NULL);
    if (json_equals(json_get(subject, "kind"), "ServiceAccount") &&
        check__missing(json_get(subject, "namespace")))
        check__required(checker, place, "namespace", NULL);
}

static const struct check__rule subject[] = {
    CALL(NULL, check_subject),
    ONE_OF("kind", "Group ServiceAccount User"),
    END,
};

/* Upstream shows its internal type here, with capital names. */
static void check_role_ref(struct checker *checker, const struct check__place *place,
                           const struct json *ref)
{
    const struct json *old = json_get(checker->old, "roleRef");

    if (old == NULL || json_same(old, ref))
        return;
    check__invalid_text(checker, place, NULL,
                        check__print(checker->arena, "{\"APIGroup\":%s,\"Kind\":%s,\"Name\":%s}",
                                     check__json(checker->arena, json_get(ref, "apiGroup")),
                                     check__json(checker->arena, json_get(ref, "kind")),
                                     check__json(checker->arena, json_get(ref, "name"))),
                        "cannot change roleRef");
}

#define ROLE_BINDING(kinds)                                                                        \
    ONE_OF("roleRef.apiGroup", "rbac.authorization.k8s.io"), ONE_OF("roleRef.kind", kinds),        \
        MUST("roleRef.name"), EACH("subjects", subject), CALL("roleRef", check_role_ref)

/* clang-format off */
static const struct check__rule role_binding[] = {ROLE_BINDING("ClusterRole Role"), END};
static const struct check__rule cluster_role_binding[] = {ROLE_BINDING("ClusterRole"), END};
/* clang-format on */

/* ---- which kind has which ---- */

const struct check__kind_rules check__network_kinds[] = {
    {"", "Service", service},
    {"discovery.k8s.io", "EndpointSlice", endpoint_slice},
    {"networking.k8s.io", "Ingress", ingress},
    {"networking.k8s.io", "IngressClass", ingress_class},
    {"networking.k8s.io", "NetworkPolicy", network_policy},
    {"rbac.authorization.k8s.io", "ClusterRole", role},
    {"rbac.authorization.k8s.io", "ClusterRoleBinding", cluster_role_binding},
    {"rbac.authorization.k8s.io", "Role", role},
    {"rbac.authorization.k8s.io", "RoleBinding", role_binding},
    {NULL, NULL, NULL},
};
