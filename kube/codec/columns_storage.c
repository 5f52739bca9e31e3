/* Volumes, their classes and drivers; devices. */
#include "kube/codec/columns.h"

static const struct {
    const char *mode, *letters;
} access_modes[] = {
    {"ReadWriteOnce", "RWO"},
    {"ReadOnlyMany", "ROX"},
    {"ReadWriteMany", "RWX"},
    {"ReadWriteOncePod", "RWOP"},
};

/* In this order, whatever the object's is; each once. */
static struct json *print_access_modes(struct kube__row *row, const struct kube__column *column)
{
    const struct json *modes = json_at(row->object, column->path);

    kube__begin(row);
    for (size_t i = 0; i < ARRAY_LEN(access_modes) && json_is(modes, JSON_ARRAY); i++) {
        json_each(mode, modes)
        {
            if (json_equals(mode, access_modes[i].mode)) {
                kube__add_item(row, ",", slice_str(access_modes[i].letters));
                break;
            }
        }
    }
    return kube__end(row, NULL);
}

static struct json *print_phase(struct kube__row *row, const struct kube__column *column)
{
    return kube__is_deleted(row) ? kube__string(row, "Terminating") : kube__text(row, column);
}

/* The annotation was there before the field, and still counts more. */
static struct json *print_class(struct kube__row *row, const struct kube__column *column)
{
    const struct json *annotations = json_at(row->object, "metadata.annotations");
    const struct json *old = json_get(annotations, "volume.beta.kubernetes.io/storage-class");

    return old != NULL ? json_new_string(row->arena, json_text(old)) : kube__text(row, column);
}

static const struct kube__column volume_columns[] = {
    KUBE__NAME,
    {"Capacity", "string", 0, kube__text, "spec.capacity.storage", "0"},
    {"Access Modes", "string", 0, print_access_modes, "spec.accessModes", NULL},
    {"Reclaim Policy", "string", 0, kube__text, "spec.persistentVolumeReclaimPolicy", NULL},
    {"Status", "string", 0, print_phase, "status.phase", NULL},
    {"Claim", "string", 0, kube__qualified, "spec.claimRef", NULL},
    {"StorageClass", "string", 0, print_class, "spec.storageClassName", NULL},
    {"VolumeAttributesClass", "string", 0, kube__text, "spec.volumeAttributesClassName", "<unset>"},
    {"Reason", "string", 0, kube__text, "status.reason", NULL},
    KUBE__AGE,
    {"VolumeMode", "string", 1, kube__text, "spec.volumeMode", "<unset>"},
};

/* What a claim has is its volume's; until it has one there is nothing to show. */
static bool is_bound(const struct kube__row *row)
{
    return json_text_at(row->object, "spec.volumeName").len > 0;
}

static struct json *print_claimed_capacity(struct kube__row *row, const struct kube__column *column)
{
    return is_bound(row) ? kube__text(row, column) : kube__string(row, "");
}

static struct json *print_claimed_modes(struct kube__row *row, const struct kube__column *column)
{
    return is_bound(row) ? print_access_modes(row, column) : kube__string(row, "");
}

static const struct kube__column claim_columns[] = {
    KUBE__NAME,
    {"Status", "string", 0, print_phase, "status.phase", NULL},
    {"Volume", "string", 0, kube__text, "spec.volumeName", NULL},
    {"Capacity", "string", 0, print_claimed_capacity, "status.capacity.storage", "0"},
    {"Access Modes", "string", 0, print_claimed_modes, "status.accessModes", NULL},
    {"StorageClass", "string", 0, print_class, "spec.storageClassName", NULL},
    {"VolumeAttributesClass", "string", 0, kube__text, "spec.volumeAttributesClassName", "<unset>"},
    KUBE__AGE,
    {"VolumeMode", "string", 1, kube__text, "spec.volumeMode", "<unset>"},
};

/* The name, and whether it is what claims get that name none. path and otherwise are the
 * annotations that say so. */
static struct json *print_class_name(struct kube__row *row, const struct kube__column *column)
{
    const struct json *annotations = json_at(row->object, "metadata.annotations");
    bool standard = json_equals(json_get(annotations, column->path), "true") ||
                    json_equals(json_get(annotations, column->otherwise), "true");

    kube__begin(row);
    kube__add_slice(row, json_text_at(row->object, "metadata.name"));
    if (standard)
        kube__add(row, " (default)");
    return kube__end(row, NULL);
}

#define CLASS_NAME                                                                                 \
    {                                                                                              \
        "Name", "string", 0, print_class_name, "storageclass.kubernetes.io/is-default-class",      \
            "storageclass.beta.kubernetes.io/is-default-class"                                     \
    }

static const struct kube__column class_columns[] = {
    CLASS_NAME,
    {"Provisioner", "string", 0, kube__text, "provisioner", NULL},
    {"ReclaimPolicy", "string", 0, kube__text, "reclaimPolicy", "Delete"},
    {"VolumeBindingMode", "string", 0, kube__text, "volumeBindingMode", "Immediate"},
    {"AllowVolumeExpansion", "string", 0, kube__boolean, "allowVolumeExpansion", NULL},
    KUBE__AGE,
};

static const struct kube__column attributes_class_columns[] = {
    CLASS_NAME,
    {"DriverName", "string", 0, kube__text, "driverName", NULL},
    KUBE__AGE,
};

static const struct kube__column attachment_columns[] = {
    KUBE__NAME,
    {"Attacher", "string", 0, kube__text, "spec.attacher", NULL},
    {"PV", "string", 0, kube__text, "spec.source.persistentVolumeName", NULL},
    {"Node", "string", 0, kube__text, "spec.nodeName", NULL},
    {"Attached", "boolean", 0, kube__boolean, "status.attached", NULL},
    KUBE__AGE,
};

static struct json *print_token_requests(struct kube__row *row, const struct kube__column *column)
{
    const struct json *requests = json_at(row->object, column->path);

    kube__begin(row);
    if (json_is(requests, JSON_ARRAY)) {
        json_each(request, requests) kube__add_item(row, ",", json_text_at(request, "audience"));
    }
    return kube__end(row, "<unset>");
}

static const struct kube__column driver_columns[] = {
    KUBE__NAME,
    {"AttachRequired", "boolean", 0, kube__boolean, "spec.attachRequired", "true"},
    {"PodInfoOnMount", "boolean", 0, kube__boolean, "spec.podInfoOnMount", NULL},
    {"StorageCapacity", "boolean", 0, kube__boolean, "spec.storageCapacity", NULL},
    {"TokenRequests", "string", 0, print_token_requests, "spec.tokenRequests", NULL},
    {"RequiresRepublish", "boolean", 0, kube__boolean, "spec.requiresRepublish", NULL},
    {"Modes", "string", 0, kube__joined, "spec.volumeLifecycleModes", "<none>"},
    KUBE__AGE,
};

static const struct kube__column csinode_columns[] = {
    KUBE__NAME,
    {"Drivers", "integer", 0, kube__count, "spec.drivers", NULL},
    KUBE__AGE,
};

static const struct kube__column capacity_columns[] = {
    KUBE__NAME,
    {"StorageClassName", "string", 0, kube__text, "storageClassName", NULL},
    {"Capacity", "string", 0, kube__text, "capacity", "<unset>"},
};

/* ---- devices ---- */

/* "pending", "allocated", "allocated,reserved", "deleted". */
static struct json *print_resource_claim(struct kube__row *row, const struct kube__column *column)
{
    const struct json *reserved = json_at(row->object, "status.reservedFor");

    kube__begin(row);
    if (kube__is_deleted(row))
        kube__add(row, "deleted");
    if (json_is(json_at(row->object, column->path), JSON_OBJECT))
        kube__add_item(row, ",", slice_str("allocated"));
    else if (!kube__is_deleted(row))
        kube__add(row, "pending");
    if (json_is(reserved, JSON_ARRAY) && reserved->count > 0)
        kube__add_item(row, ",", slice_str("reserved"));
    return kube__end(row, NULL);
}

static const struct kube__column resource_claim_columns[] = {
    KUBE__NAME,
    {"State", "string", 0, print_resource_claim, "status.allocation", NULL},
    KUBE__AGE,
};

static const struct kube__column resource_slice_columns[] = {
    KUBE__NAME,
    {"Node", "string", 0, kube__text, "spec.nodeName", "<unset>"},
    {"Driver", "string", 0, kube__text, "spec.driver", NULL},
    {"Pool", "string", 0, kube__text, "spec.pool.name", NULL},
    KUBE__AGE,
};

static const struct kube__column name_age_columns[] = {
    KUBE__NAME,
    KUBE__AGE,
};

const struct kube__columns kube__storage_columns[] = {
    KUBE__COLUMNS("PersistentVolume", volume_columns),
    KUBE__COLUMNS("PersistentVolumeClaim", claim_columns),
    KUBE__COLUMNS("StorageClass", class_columns),
    KUBE__COLUMNS("VolumeAttributesClass", attributes_class_columns),
    KUBE__COLUMNS("VolumeAttachment", attachment_columns),
    KUBE__COLUMNS("CSIDriver", driver_columns),
    KUBE__COLUMNS("CSINode", csinode_columns),
    KUBE__COLUMNS("CSIStorageCapacity", capacity_columns),
    KUBE__COLUMNS("ResourceClaim", resource_claim_columns),
    KUBE__COLUMNS("ResourceSlice", resource_slice_columns),
    KUBE__COLUMNS("ResourceClaimTemplate", name_age_columns),
    KUBE__COLUMNS("DeviceClass", name_age_columns),
};
const size_t kube__storage_columns_count = ARRAY_LEN(kube__storage_columns);
