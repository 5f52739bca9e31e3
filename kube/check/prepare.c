/* What the server does to an object before it is stored: upstream's PrepareForCreate and
 * PrepareForUpdate, and what its conversions do with write-only fields. */
#include <stdio.h>
#include <string.h>

#include "kube/check/internal.h"

struct preparing {
    struct arena *arena;
    const struct json *old; /* NULL: a create */
    struct json *object;
};

static struct json *set_text(struct preparing *p, struct json *object, const char *key,
                             const char *text)
{
    return json_set(object, key, json_new_cstring(p->arena, text));
}

/* ---- namespaces ---- */

/* Only /finalize and the controllers take a namespace apart. */
static void prepare_namespace(struct preparing *p)
{
    struct json *spec = json_set_object(p->arena, p->object, "spec");
    struct json *finalizers;

    if (p->old != NULL)
        return;
    finalizers = json_get(spec, "finalizers");
    if (!json_is(finalizers, JSON_ARRAY))
        finalizers = json_set(spec, "finalizers", json_new(p->arena, JSON_ARRAY));
    json_each(finalizer, finalizers)
    {
        if (json_equals(finalizer, "kubernetes"))
            return;
    }
    json_append(finalizers, json_new_cstring(p->arena, "kubernetes"));
}

static void begin_namespace(struct preparing *p)
{
    (void)set_text(p, json_set_object(p->arena, p->object, "status"), "phase", "Active");
}

/* ---- secrets ---- */

static void prepare_secret(struct preparing *p)
{
    const struct json *texts = json_get(p->object, "stringData");
    struct json_index index;
    struct json *data;

    if (texts != NULL && texts->count > 0) {
        data = json_set_object(p->arena, p->object, "data");
        json_index_init(&index, p->arena, data);
        json_each(member, texts)
        {
            struct slice value = check__base64_encode(p->arena, json_text(member));
            struct json *known = json_index_get(&index, json_key(member));

            if (known == NULL) {
                known = json_new_string(p->arena, value);
                json_add(data, json_key(member), known);
                json_index_added(&index, known);
            } else {
                known->text = (const char *)value.data;
                known->len = value.len;
            }
        }
    }
    (void)json_remove(p->object, "stringData");
}

/* ---- pods ---- */

enum quality { GUARANTEED, BURSTABLE, BEST_EFFORT };

/* Guaranteed: cpu and memory are limited, and asked for as much. */
static enum quality quality_of(const struct json *container)
{
    static const char *const names[] = {"cpu", "memory"};
    const struct json *resources = json_get(container, "resources");
    bool any = false, all = true;

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct json *request = json_get(json_get(resources, "requests"), names[i]);
        const struct json *limit = json_get(json_get(resources, "limits"), names[i]);
        int64_t wanted = 0, most = 0;

        (void)kube_quantity_milli(json_text(request), &wanted);
        (void)kube_quantity_milli(json_text(limit), &most);
        any = any || wanted > 0 || most > 0;
        all = all && most > 0 && (request == NULL || wanted == most);
    }
    if (!any)
        return BEST_EFFORT;
    return all ? GUARANTEED : BURSTABLE;
}

static const char *quality_of_pod(const struct json *spec)
{
    static const char *const lists[] = {"containers", "initContainers"};
    unsigned counts[3] = {0, 0, 0};

    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        json_each(container, json_get(spec, lists[i])) counts[quality_of(container)]++;
    }
    if (counts[GUARANTEED] == 0 && counts[BURSTABLE] == 0)
        return "BestEffort";
    return counts[BURSTABLE] == 0 && counts[BEST_EFFORT] == 0 ? "Guaranteed" : "Burstable";
}

static bool tolerates(const struct json *tolerations, const char *taint)
{
    json_each(toleration, tolerations)
    {
        const struct json *key = json_get(toleration, "key");
        const struct json *effect = json_get(toleration, "effect");

        if ((check__missing(key) || json_equals(key, taint)) &&
            (check__missing(effect) || json_equals(effect, "NoExecute")))
            return true;
    }
    return false;
}

/* Admission's DefaultTolerationSeconds: a pod outlives its node's silence by five minutes. An
 * update that leaves them out, as every kubectl apply does, gets them again. */
static void tolerate_lost_nodes(struct preparing *p, struct json *spec)
{
    const struct json *old = json_at(p->old, "spec.tolerations");
    static const char *const taints[] = {"node.kubernetes.io/not-ready",
                                         "node.kubernetes.io/unreachable"};
    struct json *tolerations = json_get(spec, "tolerations"), *one;

    for (size_t i = 0; i < ARRAY_LEN(taints); i++) {
        if (tolerates(tolerations, taints[i]) || (p->old != NULL && !tolerates(old, taints[i])))
            continue;
        if (!json_is(tolerations, JSON_ARRAY))
            tolerations = json_set(spec, "tolerations", json_new(p->arena, JSON_ARRAY));
        one = json_new(p->arena, JSON_OBJECT);
        (void)set_text(p, one, "key", taints[i]);
        (void)set_text(p, one, "operator", "Exists");
        (void)set_text(p, one, "effect", "NoExecute");
        (void)json_set(one, "tolerationSeconds", json_new_int(p->arena, 300));
        json_append(tolerations, one);
    }
}

/* Admission's Priority, as far as it needs no PriorityClass: whose name is given needs a look at
 * the store, but for the two that are always there. */
static void set_priority(struct preparing *p, struct json *spec)
{
    const struct json *class = json_get(spec, "priorityClassName");
    int64_t priority = 0;

    if (json_equals(class, "system-node-critical"))
        priority = 2000001000;
    else if (json_equals(class, "system-cluster-critical"))
        priority = 2000000000;
    else if (!check__missing(class))
        return;
    if (json_get(spec, "priority") == NULL)
        (void)json_set(spec, "priority", json_new_int(p->arena, priority));
    if (check__missing(json_get(spec, "preemptionPolicy")))
        (void)set_text(p, spec, "preemptionPolicy", "PreemptLowerPriority");
}

static void prepare_pod(struct preparing *p)
{
    struct json *spec = json_set_object(p->arena, p->object, "spec");

    tolerate_lost_nodes(p, spec);
    if (p->old == NULL || json_at(p->old, "spec.priority") != NULL)
        set_priority(p, spec);
}

static void begin_pod(struct preparing *p)
{
    struct json *status = json_set_object(p->arena, p->object, "status");
    struct json *spec = json_set_object(p->arena, p->object, "spec");
    const struct json *gates = json_get(spec, "schedulingGates");

    (void)set_text(p, status, "phase", "Pending");
    (void)set_text(p, status, "qosClass", quality_of_pod(spec));
    if (gates != NULL && gates->count > 0) {
        struct json *conditions = json_new(p->arena, JSON_ARRAY);
        struct json *condition = json_new(p->arena, JSON_OBJECT);

        (void)set_text(p, condition, "type", "PodScheduled");
        (void)set_text(p, condition, "status", "False");
        (void)set_text(p, condition, "reason", "SchedulingGated");
        (void)set_text(p, condition, "message",
                       "Scheduling is blocked due to non-empty scheduling gates");
        json_append(conditions, condition);
        (void)json_set(status, "conditions", conditions);
    }
}

/* ---- jobs ---- */

static void label_job(struct preparing *p, struct json *labels, struct slice uid, struct slice name)
{
    (void)json_set(labels, "batch.kubernetes.io/controller-uid", json_new_string(p->arena, uid));
    (void)json_set(labels, "batch.kubernetes.io/job-name", json_new_string(p->arena, name));
    (void)json_set(labels, "controller-uid", json_new_string(p->arena, uid));
    (void)json_set(labels, "job-name", json_new_string(p->arena, name));
}

/* A job finds its pods by its uid, unless its author takes care of that. */
static void begin_job(struct preparing *p)
{
    struct json *spec = json_set_object(p->arena, p->object, "spec");
    struct json *metadata = json_set_object(p->arena, p->object, "metadata");
    struct slice uid = json_text_at(metadata, "uid"), name = json_text_at(metadata, "name");
    struct json *template_metadata, *labels, *own;

    if (check__true(json_get(spec, "manualSelector")) || uid.len == 0)
        return;
    template_metadata =
        json_set_object(p->arena, json_set_object(p->arena, spec, "template"), "metadata");
    labels = json_set_object(p->arena, template_metadata, "labels");
    label_job(p, labels, uid, name);
    (void)json_set(
        json_set_object(p->arena, json_set_object(p->arena, spec, "selector"), "matchLabels"),
        "batch.kubernetes.io/controller-uid", json_new_string(p->arena, uid));
    /* Upstream's defaults, which run again on what was stored, copy the template's labels. */
    own = json_set_object(p->arena, metadata, "labels");
    if (own->count == 0)
        (void)json_set(metadata, "labels", json_copy(p->arena, labels));
}

/* ---- services ---- */

/* Addresses are given by whoever allocates them; what follows from those that the client chose is
 * filled in here. */
static void prepare_service(struct preparing *p)
{
    struct json *spec = json_set_object(p->arena, p->object, "spec"), *list;
    const struct json *old = json_get(p->old, "spec");
    struct slice ip;

    if (json_equals(json_get(spec, "type"), "ExternalName"))
        return;
    if (check__missing(json_get(spec, "clusterIP")) &&
        !check__missing(json_get(old, "clusterIP"))) {
        (void)json_set(spec, "clusterIP", json_copy(p->arena, json_get(old, "clusterIP")));
        if (json_get(spec, "clusterIPs") == NULL && json_get(old, "clusterIPs") != NULL)
            (void)json_set(spec, "clusterIPs", json_copy(p->arena, json_get(old, "clusterIPs")));
    }
    ip = json_text_at(spec, "clusterIP");
    if (ip.len > 0 && json_get(spec, "clusterIPs") == NULL) {
        list = json_set(spec, "clusterIPs", json_new(p->arena, JSON_ARRAY));
        json_append(list, json_new_string(p->arena, ip));
    }
    if (json_get(spec, "ipFamilies") == NULL) {
        bool six = ip.len > 0 && memchr(ip.data, ':', ip.len) != NULL;

        list = json_set(spec, "ipFamilies", json_new(p->arena, JSON_ARRAY));
        json_append(list, json_new_cstring(p->arena, six ? "IPv6" : "IPv4"));
    }
    if (check__missing(json_get(spec, "ipFamilyPolicy")))
        (void)set_text(p, spec, "ipFamilyPolicy", "SingleStack");
}

/* ---- nodes ---- */

/* Admission's TaintNodesByCondition: a node is not ready until something says so. */
static void begin_node(struct preparing *p)
{
    static const char key[] = "node.kubernetes.io/not-ready";
    struct json *spec = json_set_object(p->arena, p->object, "spec");
    struct json *taints = json_get(spec, "taints"), *taint;

    json_each(other, taints)
    {
        if (json_equals(json_get(other, "key"), key) &&
            json_equals(json_get(other, "effect"), "NoSchedule"))
            return;
    }
    if (!json_is(taints, JSON_ARRAY))
        taints = json_set(spec, "taints", json_new(p->arena, JSON_ARRAY));
    taint = json_new(p->arena, JSON_OBJECT);
    (void)set_text(p, taint, "key", key);
    (void)set_text(p, taint, "effect", "NoSchedule");
    json_append(taints, taint);
}

/* ---- volumes ---- */

static void begin_pending(struct preparing *p)
{
    (void)set_text(p, json_set_object(p->arena, p->object, "status"), "phase", "Pending");
}

/* ---- custom resource definitions ---- */

/* Objects exist so far in the version that is stored. */
static void begin_definition(struct preparing *p)
{
    struct json *status = json_set_object(p->arena, p->object, "status");
    struct json *stored = json_new(p->arena, JSON_ARRAY);

    json_each(version, json_at(p->object, "spec.versions"))
    {
        if (check__true(json_get(version, "storage")))
            json_append(stored, json_copy(p->arena, json_get(version, "name")));
    }
    (void)json_set(status, "storedVersions", stored);
}

/* ---- which kind gets what ---- */

enum prepare_flags { KEEPS_STATUS = 1 << 0 /* a create may bring its status along */ };

struct kind_prepare {
    const char *group, *kind;
    void (*always)(struct preparing *p);
    void (*begin)(struct preparing *p); /* on create, after the status was emptied */
    unsigned flags;                     /* enum prepare_flags */
};

static const struct kind_prepare kinds[] = {
    {"", "Namespace", prepare_namespace, begin_namespace, 0},
    {"", "Node", NULL, begin_node, KEEPS_STATUS},
    {"", "PersistentVolume", NULL, begin_pending, 0},
    {"", "PersistentVolumeClaim", NULL, begin_pending, 0},
    {"", "Pod", prepare_pod, begin_pod, 0},
    {"", "Secret", prepare_secret, NULL, 0},
    {"", "Service", prepare_service, NULL, 0},
    {"apiextensions.k8s.io", "CustomResourceDefinition", NULL, begin_definition, 0},
    {"batch", "Job", NULL, begin_job, 0},
};

static const struct kind_prepare *find(const struct kube_resource *resource)
{
    static const struct kind_prepare nothing = {"", "", NULL, NULL, 0};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i].kind, resource->kind) == 0 &&
            strcmp(kinds[i].group, resource->group) == 0)
            return &kinds[i];
    }
    return &nothing;
}

void kube_prepare(struct arena *arena, const struct kube_resource *resource, const struct json *old,
                  struct json *object)
{
    struct preparing p = {.arena = arena, .old = old, .object = object};
    const struct kind_prepare *kind = find(resource);

    if (kind->always != NULL)
        kind->always(&p);
    if (old != NULL)
        return;
    if ((resource->flags & KUBE_HAS_STATUS) != 0 && (kind->flags & KEEPS_STATUS) == 0)
        (void)json_remove(object, "status");
    if (kind->begin != NULL)
        kind->begin(&p);
}
