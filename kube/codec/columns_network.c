/* Services, their endpoints, and what leads to them. */
#include "kube/codec/columns.h"

/* Of hosts, ports and addresses only so many are shown, and how many more there are. */
#define LIST_SHOWN 3

/* A list that is shown in part. */
struct shown {
    size_t shown, count;
};

static void show(struct kube__row *row, struct shown *list, struct slice text)
{
    list->count++;
    if (list->shown == LIST_SHOWN)
        return;
    list->shown++;
    kube__add_item(row, ",", text);
}

static struct json *end_list(struct kube__row *row, const struct shown *list, const char *otherwise)
{
    if (list->count > list->shown)
        kube__add(row, " + %zu more...", list->count - list->shown);
    return kube__end(row, otherwise);
}

/* ---- services ---- */

static struct json *print_cluster_ip(struct kube__row *row, const struct kube__column *column)
{
    const struct json *ips = json_at(row->object, "spec.clusterIPs");

    if (json_is(ips, JSON_ARRAY) && ips->first != NULL)
        return json_new_string(row->arena, json_text(ips->first));
    return kube__text(row, column);
}

/* Addresses of a load balancer, or its names where it has none. */
static void add_ingress(struct kube__row *row, const struct json *balancer)
{
    const struct json *ingress = json_get(balancer, "ingress");

    if (!json_is(ingress, JSON_ARRAY))
        return;
    json_each(point, ingress)
    {
        struct slice ip = json_text_at(point, "ip");
        struct slice name = json_text_at(point, "hostname");

        if (ip.len > 0 || name.len > 0)
            kube__add_item(row, ",", ip.len > 0 ? ip : name);
    }
}

static void add_external_ips(struct kube__row *row)
{
    const struct json *ips = json_at(row->object, "spec.externalIPs");

    if (json_is(ips, JSON_ARRAY)) {
        json_each(ip, ips) kube__add_item(row, ",", json_text(ip));
    }
}

static struct json *print_external_ip(struct kube__row *row, const struct kube__column *column)
{
    const struct json *type = json_at(row->object, column->path);

    kube__begin(row);
    if (json_equals(type, "ExternalName"))
        return json_new_string(row->arena, json_text_at(row->object, "spec.externalName"));
    if (json_equals(type, "ClusterIP") || json_equals(type, "NodePort")) {
        add_external_ips(row);
        return kube__end(row, "<none>");
    }
    if (!json_equals(type, "LoadBalancer"))
        return kube__string(row, "<unknown>");
    add_ingress(row, json_at(row->object, "status.loadBalancer"));
    add_external_ips(row);
    return kube__end(row, "<pending>");
}

static struct json *print_service_ports(struct kube__row *row, const struct kube__column *column)
{
    const struct json *ports = json_at(row->object, column->path);

    kube__begin(row);
    if (json_is(ports, JSON_ARRAY)) {
        json_each(port, ports)
        {
            int64_t node_port = kube__int_at(port, "nodePort");

            kube__add_item(row, ",", json_text_at(port, "port"));
            if (node_port > 0)
                kube__add(row, ":%lld", (long long)node_port);
            kube__add(row, "/");
            kube__add_slice(row, json_text_at(port, "protocol"));
        }
    }
    return kube__end(row, "<none>");
}

static const struct kube__column service_columns[] = {
    KUBE__NAME,
    {"Type", "string", 0, kube__text, "spec.type", NULL},
    {"Cluster-IP", "string", 0, print_cluster_ip, "spec.clusterIP", "<none>"},
    {"External-IP", "string", 0, print_external_ip, "spec.type", NULL},
    {"Port(s)", "string", 0, print_service_ports, "spec.ports", NULL},
    KUBE__AGE,
    {"Selector", "string", 1, kube__labels, "spec.selector", NULL},
};

/* ---- endpoints ---- */

/* "10.0.0.1:80", "[fd00::1]:80". */
static struct slice host_port(struct kube__row *row, struct slice ip, struct slice port)
{
    bool v6 = ip.len > 0 && memchr(ip.data, ':', ip.len) != NULL;
    char *text = arena_alloc(row->arena, ip.len + port.len + 3);
    size_t len = 0;

    if (v6)
        text[len++] = '[';
    if (ip.len > 0)
        memcpy(text + len, ip.data, ip.len);
    len += ip.len;
    if (v6)
        text[len++] = ']';
    text[len++] = ':';
    if (port.len > 0)
        memcpy(text + len, port.data, port.len);
    return slice_of(text, len + port.len);
}

/* port NULL: addresses without one. */
static void show_addresses(struct kube__row *row, struct shown *list, const struct json *subset,
                           const struct json *port)
{
    const struct json *addresses = json_get(subset, "addresses");

    if (!json_is(addresses, JSON_ARRAY))
        return;
    json_each(address, addresses)
    {
        struct slice ip = json_text_at(address, "ip");

        show(row, list, port == NULL ? ip : host_port(row, ip, json_text_at(port, "port")));
    }
}

static struct json *print_endpoints(struct kube__row *row, const struct kube__column *column)
{
    const struct json *subsets = json_at(row->object, column->path);
    struct shown list = {0};

    kube__begin(row);
    if (!json_is(subsets, JSON_ARRAY))
        return kube__end(row, "<none>");
    json_each(subset, subsets)
    {
        const struct json *ports = json_get(subset, "ports");

        if (!json_is(ports, JSON_ARRAY) || ports->count == 0)
            show_addresses(row, &list, subset, NULL);
        else
            json_each(port, ports) show_addresses(row, &list, subset, port);
    }
    return end_list(row, &list, "<none>");
}

static const struct kube__column endpoints_columns[] = {
    KUBE__NAME,
    {"Endpoints", "string", 0, print_endpoints, "subsets", NULL},
    KUBE__AGE,
};

static struct json *print_slice_ports(struct kube__row *row, const struct kube__column *column)
{
    const struct json *ports = json_at(row->object, column->path);
    struct shown list = {0};

    kube__begin(row);
    if (json_is(ports, JSON_ARRAY)) {
        json_each(port, ports)
        {
            struct slice number = json_text_at(port, "port");

            show(row, &list, number.len > 0 ? number : slice_str("*"));
        }
    }
    return end_list(row, &list, "<unset>");
}

static struct json *print_slice_endpoints(struct kube__row *row, const struct kube__column *column)
{
    const struct json *endpoints = json_at(row->object, column->path);
    struct shown list = {0};

    kube__begin(row);
    if (json_is(endpoints, JSON_ARRAY)) {
        json_each(endpoint, endpoints)
        {
            const struct json *addresses = json_get(endpoint, "addresses");

            if (json_is(addresses, JSON_ARRAY)) {
                json_each(address, addresses) show(row, &list, json_text(address));
            }
        }
    }
    return end_list(row, &list, "<unset>");
}

static const struct kube__column endpointslice_columns[] = {
    KUBE__NAME,
    {"AddressType", "string", 0, kube__text, "addressType", NULL},
    {"Ports", "string", 0, print_slice_ports, "ports", NULL},
    {"Endpoints", "string", 0, print_slice_endpoints, "endpoints", NULL},
    KUBE__AGE,
};

/* ---- ingresses ---- */

static struct json *print_hosts(struct kube__row *row, const struct kube__column *column)
{
    const struct json *rules = json_at(row->object, column->path);
    struct shown list = {0};

    kube__begin(row);
    if (json_is(rules, JSON_ARRAY)) {
        json_each(rule, rules)
        {
            struct slice host = json_text_at(rule, "host");

            if (host.len > 0)
                show(row, &list, host);
        }
    }
    return end_list(row, &list, "*");
}

static struct json *print_ingress_address(struct kube__row *row, const struct kube__column *column)
{
    kube__begin(row);
    add_ingress(row, json_at(row->object, column->path));
    return kube__end(row, NULL);
}

static struct json *print_ingress_ports(struct kube__row *row, const struct kube__column *column)
{
    const struct json *tls = json_at(row->object, column->path);

    return kube__string(row, json_is(tls, JSON_ARRAY) && tls->count > 0 ? "80, 443" : "80");
}

static const struct kube__column ingress_columns[] = {
    KUBE__NAME,
    {"Class", "string", 0, kube__text, "spec.ingressClassName", "<none>"},
    {"Hosts", "string", 0, print_hosts, "spec.rules", NULL},
    {"Address", "string", 0, print_ingress_address, "status.loadBalancer", NULL},
    {"Ports", "string", 0, print_ingress_ports, "spec.tls", NULL},
    KUBE__AGE,
};

static struct json *print_parameters(struct kube__row *row, const struct kube__column *column)
{
    const struct json *parameters = json_at(row->object, column->path);
    struct slice group = json_text_at(parameters, "apiGroup");

    kube__begin(row);
    if (!json_is(parameters, JSON_OBJECT))
        return kube__end(row, "<none>");
    kube__add_slice(row, json_text_at(parameters, "kind"));
    if (group.len > 0) {
        kube__add(row, ".");
        kube__add_slice(row, group);
    }
    kube__add(row, "/");
    kube__add_slice(row, json_text_at(parameters, "name"));
    return kube__end(row, NULL);
}

static const struct kube__column ingressclass_columns[] = {
    KUBE__NAME,
    {"Controller", "string", 0, kube__text, "spec.controller", NULL},
    {"Parameters", "string", 0, print_parameters, "spec.parameters", NULL},
    KUBE__AGE,
};

static const struct kube__column networkpolicy_columns[] = {
    KUBE__NAME,
    {"Pod-Selector", "string", 0, kube__selector, "spec.podSelector", "<none>"},
    KUBE__AGE,
};

/* ---- addresses ---- */

/* "services/default/kubernetes". */
static struct json *print_parent(struct kube__row *row, const struct kube__column *column)
{
    const struct json *parent = json_at(row->object, column->path);
    struct slice group = json_text_at(parent, "group");
    struct slice ns = json_text_at(parent, "namespace");

    kube__begin(row);
    if (!json_is(parent, JSON_OBJECT))
        return kube__end(row, "<none>");
    kube__add_slice(row, json_text_at(parent, "resource"));
    if (group.len > 0) {
        kube__add(row, ".");
        kube__add_slice(row, group);
    }
    kube__add(row, "/");
    if (ns.len > 0) {
        kube__add_slice(row, ns);
        kube__add(row, "/");
    }
    kube__add_slice(row, json_text_at(parent, "name"));
    return kube__end(row, NULL);
}

static const struct kube__column ipaddress_columns[] = {
    KUBE__NAME,
    {"ParentRef", "string", 0, print_parent, "spec.parentRef", NULL},
    KUBE__AGE,
};

static const struct kube__column servicecidr_columns[] = {
    KUBE__NAME,
    {"CIDRs", "string", 0, kube__joined, "spec.cidrs", NULL},
    KUBE__AGE,
};

const struct kube__columns kube__network_columns[] = {
    KUBE__COLUMNS("Service", service_columns),
    KUBE__COLUMNS("Endpoints", endpoints_columns),
    KUBE__COLUMNS("EndpointSlice", endpointslice_columns),
    KUBE__COLUMNS("Ingress", ingress_columns),
    KUBE__COLUMNS("IngressClass", ingressclass_columns),
    KUBE__COLUMNS("NetworkPolicy", networkpolicy_columns),
    KUBE__COLUMNS("IPAddress", ipaddress_columns),
    KUBE__COLUMNS("ServiceCIDR", servicecidr_columns),
};
const size_t kube__network_columns_count = ARRAY_LEN(kube__network_columns);
