/* Defaults of pods: their containers, probes and volumes. */
#include <string.h>

#include "kube/check/defaults.h"

/* ---- containers ---- */

/* True if an image is named without a tag or with "latest", and without a digest. */
static bool is_moving(struct slice image)
{
    const uint8_t *slash, *colon;

    if (memchr(image.data, '@', image.len) != NULL)
        return false;
    slash = memrchr(image.data, '/', image.len);
    colon = memrchr(image.data, ':', image.len);
    if (colon == NULL || (slash != NULL && colon < slash))
        return true;
    return slice_eq(slice_of(colon + 1, image.len - (size_t)(colon + 1 - image.data)),
                    slice_str("latest"));
}

static void default_pull_policy(struct arena *arena, struct json *container)
{
    struct slice image = json_text_at(container, "image");
    bool moving = image.len > 0 && is_moving(image);

    /* No image at all counts as "latest" by upstream's parser of references. */
    check__set_default(arena, container, "imagePullPolicy",
                       moving || image.len == 0 ? "\"Always\"" : "\"IfNotPresent\"");
}

static const struct check__default http_get[] = {
    VALUE("path", "\"/\""),
    VALUE("scheme", "\"HTTP\""),
    END,
};
static const struct check__default probe[] = {
    VALUE("timeoutSeconds", "1"),
    VALUE("periodSeconds", "10"),
    VALUE("successThreshold", "1"),
    VALUE("failureThreshold", "3"),
    IN("httpGet", http_get),
    VALUE("grpc.service", "\"\""),
    END,
};
static const struct check__default container_port[] = {VALUE("protocol", "\"TCP\""), END};
static const struct check__default env[] = {VALUE("valueFrom.fieldRef.apiVersion", "\"v1\""), END};

static const struct check__default container[] = {
    CALL(NULL, default_pull_policy),
    VALUE("terminationMessagePath", "\"/dev/termination-log\""),
    VALUE("terminationMessagePolicy", "\"File\""),
    EACH("ports", container_port),
    EACH("env", env),
    IN("livenessProbe", probe),
    IN("readinessProbe", probe),
    IN("startupProbe", probe),
    IN("lifecycle.postStart.httpGet", http_get),
    IN("lifecycle.preStop.httpGet", http_get),
    END,
};

/* ---- volumes ---- */

static void default_volume_source(struct arena *arena, struct json *volume)
{
    json_each(source, volume)
    {
        if (json_is(source, JSON_OBJECT))
            return;
    }
    (void)json_set(volume, "emptyDir", json_new(arena, JSON_OBJECT));
}

/* Unlike a default that is "", this one is written. */
static void default_host_path_type(struct arena *arena, struct json *source)
{
    if (json_get(source, "type") == NULL)
        (void)json_set(source, "type", json_new_cstring(arena, ""));
}

static void default_image_volume(struct arena *arena, struct json *source)
{
    struct slice image = json_text_at(source, "reference");

    check__set_default(arena, source, "pullPolicy",
                       image.len == 0 || is_moving(image) ? "\"Always\"" : "\"IfNotPresent\"");
}

static const struct check__default downward_file[] = {VALUE("fieldRef.apiVersion", "\"v1\""), END};
static const struct check__default projected_source[] = {
    EACH("downwardAPI.items", downward_file),
    VALUE("serviceAccountToken.expirationSeconds", "3600"),
    END,
};
static const struct check__default projected[] = {
    VALUE("defaultMode", "420"),
    EACH("sources", projected_source),
    END,
};
static const struct check__default downward[] = {
    VALUE("defaultMode", "420"),
    EACH("items", downward_file),
    END,
};

/* What pods' volumes and PersistentVolumes share. */
#define VOLUME_SOURCES                                                                             \
    CALL("hostPath", default_host_path_type), VALUE("iscsi.iscsiInterface", "\"default\""),        \
        VALUE("rbd.pool", "\"rbd\""), VALUE("rbd.user", "\"admin\""),                              \
        VALUE("rbd.keyring", "\"/etc/ceph/keyring\""),                                             \
        VALUE("azureDisk.cachingMode", "\"ReadWrite\""), VALUE("azureDisk.kind", "\"Shared\""),    \
        VALUE("azureDisk.fsType", "\"ext4\""), VALUE("azureDisk.readOnly", "false"),               \
        VALUE("scaleIO.storageMode", "\"ThinProvisioned\""), VALUE("scaleIO.fsType", "\"xfs\"")

/* clang-format off */
const struct check__default check__volume_source_defaults[] = {VOLUME_SOURCES, END};

static const struct check__default volume[] = {
    CALL(NULL, default_volume_source),
    VALUE("secret.defaultMode", "420"),
    VALUE("configMap.defaultMode", "420"),
    IN("downwardAPI", downward),
    IN("projected", projected),
    VALUE("ephemeral.volumeClaimTemplate.spec.volumeMode", "\"Filesystem\""),
    CALL("image", default_image_volume),
    VOLUME_SOURCES,
    END,
};
/* clang-format on */

/* ---- pods ---- */

static void copy_host_ports(struct arena *arena, struct json *spec, const char *which)
{
    json_each(one, json_get(spec, which))
    {
        json_each(port, json_get(one, "ports"))
        {
            const struct json *number = json_get(port, "containerPort");

            if (number != NULL && check__missing(json_get(port, "hostPort")))
                (void)json_set(port, "hostPort", json_copy(arena, number));
        }
    }
}

/* Not in templates: a Deployment's stays as it was written. */
static void default_host_ports(struct arena *arena, struct json *spec)
{
    if (!check__true(json_get(spec, "hostNetwork")))
        return;
    copy_host_ports(arena, spec, "containers");
    copy_host_ports(arena, spec, "initContainers");
}

/* Two names of one field: whoever writes one, sees both. */
static void default_service_account(struct arena *arena, struct json *spec)
{
    struct json *name = json_get(spec, "serviceAccountName");
    struct json *old_name = json_get(spec, "serviceAccount");

    if (!check__missing(name))
        (void)json_set(spec, "serviceAccount", json_copy(arena, name));
    else if (!check__missing(old_name))
        (void)json_set(spec, "serviceAccountName", json_copy(arena, old_name));
}

const struct check__default check__pod_spec_defaults[] = {
    EACH("volumes", volume),
    EACH("initContainers", container),
    EACH("containers", container),
    EACH("ephemeralContainers", container),
    VALUE("restartPolicy", "\"Always\""),
    VALUE("terminationGracePeriodSeconds", "30"),
    VALUE("dnsPolicy", "\"ClusterFirst\""),
    VALUE("securityContext", "{}"),
    VALUE("schedulerName", "\"default-scheduler\""),
    CALL(NULL, default_service_account),
    END,
};
const struct check__default check__template_defaults[] = {IN("spec", check__pod_spec_defaults),
                                                          END};

/* A container that limits a resource and does not ask for it asks for the limit. */
static void default_requests(struct arena *arena, struct json *container_object)
{
    check__copy_missing(arena, json_get(container_object, "resources"), "limits", "requests");
}

/* podIP and podIPs[0].ip are one field in two places. */
static void default_pod_ips(struct arena *arena, struct json *status)
{
    struct json *ip = json_get(status, "podIP"), *ips = json_get(status, "podIPs"), *item;
    bool listed = json_is(ips, JSON_ARRAY) && ips->count > 0;

    if (check__missing(ip)) {
        if (listed && !check__missing(json_get(ips->first, "ip")))
            (void)json_set(status, "podIP", json_copy(arena, json_get(ips->first, "ip")));
        return;
    }
    if (listed && slice_eq(json_text(ip), json_text_at(ips->first, "ip")))
        return;
    item = json_new(arena, JSON_OBJECT);
    (void)json_set(item, "ip", json_copy(arena, ip));
    ips = json_new(arena, JSON_ARRAY);
    json_append(ips, item);
    (void)json_set(status, "podIPs", ips);
}

static const struct check__default requests[] = {CALL(NULL, default_requests), END};
const struct check__default check__pod_defaults[] = {
    EACH("spec.containers", requests),
    EACH("spec.initContainers", requests),
    VALUE("spec.enableServiceLinks", "true"),
    IN("spec", check__pod_spec_defaults),
    CALL("spec", default_host_ports),
    CALL("status", default_pod_ips),
    END,
};
