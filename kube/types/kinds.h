/* The resources that kvapi serves: one line each in kinds.c. A new built-in is one more line.
 *
 * Constant data; any thread. */
#ifndef KVD_KUBE_TYPES_KINDS_H
#define KVD_KUBE_TYPES_KINDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/version.h"
#include "kube/types/types.h"

/* The Kubernetes version that we answer as. */
#define KUBE_MAJOR "1"
#define KUBE_MINOR "32"
#define KUBE_GIT_VERSION "v" KUBE_MAJOR "." KUBE_MINOR ".0+kv." KVD_VERSION

enum kube_verb {
    KUBE_CREATE = 1 << 0,
    KUBE_DELETE = 1 << 1,
    KUBE_DELETECOLLECTION = 1 << 2,
    KUBE_GET = 1 << 3,
    KUBE_LIST_VERB = 1 << 4,
    KUBE_PATCH = 1 << 5,
    KUBE_UPDATE = 1 << 6,
    KUBE_WATCH = 1 << 7,
    KUBE_ALL_VERBS = 0xff
};

enum kube_resource_flags {
    KUBE_NAMESPACED = 1 << 0,
    KUBE_HAS_STATUS = 1 << 1,     /* /status; the object's own writes keep the stored status */
    KUBE_HAS_SCALE = 1 << 2,      /* /scale */
    KUBE_HAS_GENERATION = 1 << 3, /* metadata.generation counts changes of spec */
    KUBE_DELETE_ANSWERS_OBJECT = 1 << 4, /* DELETE answers the object, not a Status */
    KUBE_CREATE_ON_UPDATE = 1 << 5,      /* PUT of a missing object creates it */
    KUBE_RV_REQUIRED = 1 << 6,           /* an update without resourceVersion is refused with 422 */
    KUBE_GRACEFUL = 1 << 7,              /* pods: deleted with a grace period */
    KUBE_NOT_STORED = 1 << 8,      /* answered by code: reviews, componentstatuses, bindings */
    KUBE_TTL_HOUR = 1 << 9,        /* events */
    KUBE_ORPHAN_DEFAULT = 1 << 10, /* no propagation policy given: orphan */
    KUBE_OPAQUE = 1 << 11,         /* no field table beyond metadata: unknown fields are kept */
    KUBE_ALIAS = 1 << 12 /* another version's view of a resource that is stored as `stored_as` */
};

/* How names of objects are checked (apimachinery's validation). */
enum kube_name_rule {
    KUBE_NAME_SUBDOMAIN,    /* RFC 1123 subdomain */
    KUBE_NAME_LABEL,        /* RFC 1123 label: namespaces, ... */
    KUBE_NAME_LABEL_1035,   /* RFC 1035 label: services */
    KUBE_NAME_PATH_SEGMENT, /* roles and bindings */
};

/* "status", with the verbs and the kind that discovery shows; group and version "" where they are
 * the parent's. */
struct kube_subresource {
    const char *name;
    const char *group, *version, *kind;
    unsigned verbs; /* enum kube_verb; 0: upstream has it, we do not answer it yet */
};

struct kube_resource {
    const char *group;   /* "" for core */
    const char *version; /* "v1" */
    const char *kind;    /* "Deployment" */
    const char *plural;  /* "deployments" */
    const char *singular;
    const char *short_names; /* comma-separated, "" if none */
    const char *categories;  /* the same */
    const char *prefix;      /* below the store's prefix, without slashes at its ends */
    unsigned verbs;          /* enum kube_verb; 0: as for a subresource */
    unsigned flags;          /* enum kube_resource_flags */
    enum kube_name_rule name_rule;
    const struct kube_subresource *subresources;
    size_t subresource_count;
    /* Paths that field selectors may name beyond metadata.name and metadata.namespace, space
     * separated. */
    const char *selectable;
    const struct kube_resource *stored_as; /* itself, or for an alias the resource stored */
    const struct kube_struct *type;        /* NULL only if KUBE_OPAQUE */
};

/* In the order in which discovery lists groups, the preferred version of a group first; all of a
 * group version together, by name. */
const struct kube_resource *kube_resource_at(size_t index);
size_t kube_resource_count(void);
/* NULL: there is none. */
const struct kube_resource *kube_resource_find(struct slice group, struct slice version,
                                               struct slice plural);
const struct kube_resource *kube_resource_of_kind(struct slice group, struct slice version,
                                                  struct slice kind);
/* True if a resource that is answered has this group and version; version empty: the group. */
bool kube_group_version_known(struct slice group, struct slice version);
/* Something of it is answered: discovery shows it. */
bool kube_resource_served(const struct kube_resource *resource);
/* True if next begins another group version than last; last may be NULL. */
bool kube_group_version_begins(const struct kube_resource *last, const struct kube_resource *next);
const struct kube_subresource *kube_subresource_find(const struct kube_resource *resource,
                                                     struct slice name);
#define KUBE_API_VERSION_SIZE 128
/* "apps/v1", or "v1" for core: into out, which has room for KUBE_API_VERSION_SIZE bytes. */
const char *kube_api_version(const struct kube_resource *resource, char *out);

#endif
