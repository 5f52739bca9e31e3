#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "kube/types/kinds.h"
#include "kube/types/tables.h"

/* Upstream has these verbs, no code of ours answers them yet: not declared. */
#define LATER(verbs) 0

#define READ_WRITE (KUBE_GET | KUBE_PATCH | KUBE_UPDATE)
#define PROXY (KUBE_CREATE | KUBE_DELETE | KUBE_GET | KUBE_PATCH | KUBE_UPDATE)
#define STREAM (KUBE_CREATE | KUBE_GET)
#define NO_COLLECTION (KUBE_ALL_VERBS & ~KUBE_DELETECOLLECTION)

#define N KUBE_NAMESPACED
#define STATUS KUBE_HAS_STATUS
#define SCALE KUBE_HAS_SCALE
#define GENERATION KUBE_HAS_GENERATION
#define ANSWERS KUBE_DELETE_ANSWERS_OBJECT
#define UPSERT KUBE_CREATE_ON_UPDATE
#define NEEDS_RV KUBE_RV_REQUIRED
#define ORPHANS KUBE_ORPHAN_DEFAULT
#define NOT_STORED KUBE_NOT_STORED

#define SUBDOMAIN KUBE_NAME_SUBDOMAIN
#define PATH KUBE_NAME_PATH_SEGMENT

/* ---- subresources: in the order of their names ---- */

/* clang-format off */
#define STATUS_OF(kind) {"status", "", "", kind, READ_WRITE}
#define SCALE_OF {"scale", "autoscaling", "v1", "Scale", READ_WRITE}
/* clang-format on */

static const struct kube_subresource of_pods[] = {
    {"attach", "", "", "PodAttachOptions", LATER(STREAM)},
    {"binding", "", "", "Binding", KUBE_CREATE},
    {"ephemeralcontainers", "", "", "Pod", LATER(READ_WRITE)},
    {"eviction", "policy", "v1", "Eviction", KUBE_CREATE},
    {"exec", "", "", "PodExecOptions", LATER(STREAM)},
    {"log", "", "", "Pod", LATER(KUBE_GET)},
    {"portforward", "", "", "PodPortForwardOptions", LATER(STREAM)},
    {"proxy", "", "", "PodProxyOptions", LATER(PROXY)},
    {"resize", "", "", "Pod", LATER(READ_WRITE)},
    STATUS_OF("Pod"),
};
static const struct kube_subresource of_services[] = {
    {"proxy", "", "", "ServiceProxyOptions", LATER(PROXY)},
    STATUS_OF("Service"),
};
static const struct kube_subresource of_nodes[] = {
    {"proxy", "", "", "NodeProxyOptions", LATER(PROXY)},
    STATUS_OF("Node"),
};
static const struct kube_subresource of_namespaces[] = {
    {"finalize", "", "", "Namespace", KUBE_UPDATE},
    STATUS_OF("Namespace"),
};
static const struct kube_subresource of_serviceaccounts[] = {
    {"token", "authentication.k8s.io", "v1", "TokenRequest", LATER(KUBE_CREATE)},
};
static const struct kube_subresource of_certificatesigningrequests[] = {
    {"approval", "", "", "CertificateSigningRequest", LATER(READ_WRITE)},
    STATUS_OF("CertificateSigningRequest"),
};

#define WITH_STATUS(id, kind) static const struct kube_subresource of_##id[] = {STATUS_OF(kind)}
#define WITH_SCALE(id, kind)                                                                       \
    static const struct kube_subresource of_##id[] = {SCALE_OF, STATUS_OF(kind)}

WITH_STATUS(persistentvolumeclaims, "PersistentVolumeClaim");
WITH_STATUS(persistentvolumes, "PersistentVolume");
WITH_SCALE(replicationcontrollers, "ReplicationController");
WITH_STATUS(resourcequotas, "ResourceQuota");
WITH_STATUS(apiservices, "APIService");
WITH_STATUS(daemonsets, "DaemonSet");
WITH_SCALE(deployments, "Deployment");
WITH_SCALE(replicasets, "ReplicaSet");
WITH_SCALE(statefulsets, "StatefulSet");
WITH_STATUS(horizontalpodautoscalers, "HorizontalPodAutoscaler");
WITH_STATUS(cronjobs, "CronJob");
WITH_STATUS(jobs, "Job");
WITH_STATUS(ingresses, "Ingress");
WITH_STATUS(servicecidrs, "ServiceCIDR");
WITH_STATUS(poddisruptionbudgets, "PodDisruptionBudget");
WITH_STATUS(volumeattachments, "VolumeAttachment");
WITH_STATUS(validatingadmissionpolicies, "ValidatingAdmissionPolicy");
WITH_STATUS(customresourcedefinitions, "CustomResourceDefinition");
WITH_STATUS(flowschemas, "FlowSchema");
WITH_STATUS(prioritylevelconfigurations, "PriorityLevelConfiguration");
WITH_STATUS(resourceclaims, "ResourceClaim");

#define TYPE(id) &kube__structs[KUBE_STRUCT_##id]
#define SUBS(id) of_##id, ARRAY_LEN(of_##id)
#define NO_SUBS NULL, 0

/* Sorted as discovery shows them: groups in upstream's order, a group's preferred version first,
 * resources by name.
 *
 * id, then: group, version, kind
 *   plural, singular, short names, categories, prefix in the store
 *   its struct, verbs, flags, rule for names, subresources
 *   fields for selectors, id of the resource that is stored */
/* clang-format off */
#define RESOURCES(X) \
    X(BINDINGS, "", "v1", "Binding", \
      "bindings", "binding", "", "", "", \
      TYPE(core_v1_Binding), LATER(KUBE_CREATE), N | NOT_STORED, SUBDOMAIN, NO_SUBS, \
      "", BINDINGS) \
    X(COMPONENTSTATUSES, "", "v1", "ComponentStatus", \
      "componentstatuses", "componentstatus", "cs", "", "", \
      TYPE(core_v1_ComponentStatus), KUBE_GET | KUBE_LIST_VERB, NOT_STORED, SUBDOMAIN, NO_SUBS, \
      "", COMPONENTSTATUSES) \
    X(CONFIGMAPS, "", "v1", "ConfigMap", \
      "configmaps", "configmap", "cm", "", "configmaps", \
      TYPE(core_v1_ConfigMap), KUBE_ALL_VERBS, N, SUBDOMAIN, NO_SUBS, \
      "", CONFIGMAPS) \
    X(ENDPOINTS, "", "v1", "Endpoints", \
      "endpoints", "endpoints", "ep", "", "services/endpoints", \
      TYPE(core_v1_Endpoints), KUBE_ALL_VERBS, N | UPSERT, SUBDOMAIN, NO_SUBS, \
      "", ENDPOINTS) \
    X(EVENTS, "", "v1", "Event", \
      "events", "event", "ev", "", "events", \
      TYPE(core_v1_Event), KUBE_ALL_VERBS, N | UPSERT | KUBE_TTL_HOUR, SUBDOMAIN, NO_SUBS, \
      "involvedObject.kind involvedObject.namespace involvedObject.name " \
      "involvedObject.uid involvedObject.apiVersion " \
      "involvedObject.resourceVersion involvedObject.fieldPath reason " \
      "reportingComponent source type", EVENTS) \
    X(LIMITRANGES, "", "v1", "LimitRange", \
      "limitranges", "limitrange", "limits", "", "limitranges", \
      TYPE(core_v1_LimitRange), KUBE_ALL_VERBS, N | UPSERT, SUBDOMAIN, NO_SUBS, \
      "", LIMITRANGES) \
    X(NAMESPACES, "", "v1", "Namespace", \
      "namespaces", "namespace", "ns", "", "namespaces", \
      TYPE(core_v1_Namespace), NO_COLLECTION, STATUS | ANSWERS, KUBE_NAME_LABEL, SUBS(namespaces), \
      "status.phase", NAMESPACES) \
    X(NODES, "", "v1", "Node", \
      "nodes", "node", "no", "", "minions", \
      TYPE(core_v1_Node), KUBE_ALL_VERBS, STATUS, SUBDOMAIN, SUBS(nodes), \
      "spec.unschedulable", NODES) \
    X(PERSISTENTVOLUMECLAIMS, "", "v1", "PersistentVolumeClaim", \
      "persistentvolumeclaims", "persistentvolumeclaim", "pvc", "", "persistentvolumeclaims", \
      TYPE(core_v1_PersistentVolumeClaim), KUBE_ALL_VERBS, N | STATUS | ANSWERS, SUBDOMAIN, SUBS(persistentvolumeclaims), \
      "", PERSISTENTVOLUMECLAIMS) \
    X(PERSISTENTVOLUMES, "", "v1", "PersistentVolume", \
      "persistentvolumes", "persistentvolume", "pv", "", "persistentvolumes", \
      TYPE(core_v1_PersistentVolume), KUBE_ALL_VERBS, STATUS | ANSWERS, SUBDOMAIN, SUBS(persistentvolumes), \
      "", PERSISTENTVOLUMES) \
    X(PODS, "", "v1", "Pod", \
      "pods", "pod", "po", "all", "pods", \
      TYPE(core_v1_Pod), KUBE_ALL_VERBS, N | STATUS | GENERATION | ANSWERS | KUBE_GRACEFUL, SUBDOMAIN, SUBS(pods), \
      "spec.nodeName spec.restartPolicy spec.schedulerName " \
      "spec.serviceAccountName spec.hostNetwork status.phase status.podIP " \
      "status.nominatedNodeName", PODS) \
    X(PODTEMPLATES, "", "v1", "PodTemplate", \
      "podtemplates", "podtemplate", "", "", "podtemplates", \
      TYPE(core_v1_PodTemplate), KUBE_ALL_VERBS, N | GENERATION | ANSWERS, SUBDOMAIN, NO_SUBS, \
      "", PODTEMPLATES) \
    X(REPLICATIONCONTROLLERS, "", "v1", "ReplicationController", \
      "replicationcontrollers", "replicationcontroller", "rc", "all", "controllers", \
      TYPE(core_v1_ReplicationController), KUBE_ALL_VERBS, N | STATUS | SCALE | GENERATION | ORPHANS, SUBDOMAIN, SUBS(replicationcontrollers), \
      "status.replicas", REPLICATIONCONTROLLERS) \
    X(RESOURCEQUOTAS, "", "v1", "ResourceQuota", \
      "resourcequotas", "resourcequota", "quota", "", "resourcequotas", \
      TYPE(core_v1_ResourceQuota), KUBE_ALL_VERBS, N | STATUS | ANSWERS, SUBDOMAIN, SUBS(resourcequotas), \
      "", RESOURCEQUOTAS) \
    X(SECRETS, "", "v1", "Secret", \
      "secrets", "secret", "", "", "secrets", \
      TYPE(core_v1_Secret), KUBE_ALL_VERBS, N, SUBDOMAIN, NO_SUBS, \
      "type", SECRETS) \
    X(SERVICEACCOUNTS, "", "v1", "ServiceAccount", \
      "serviceaccounts", "serviceaccount", "sa", "", "serviceaccounts", \
      TYPE(core_v1_ServiceAccount), KUBE_ALL_VERBS, N | ANSWERS, SUBDOMAIN, SUBS(serviceaccounts), \
      "", SERVICEACCOUNTS) \
    X(SERVICES, "", "v1", "Service", \
      "services", "service", "svc", "all", "services/specs", \
      TYPE(core_v1_Service), KUBE_ALL_VERBS, N | STATUS | ANSWERS | UPSERT, KUBE_NAME_LABEL_1035, SUBS(services), \
      "spec.clusterIP spec.type", SERVICES) \
    X(APISERVICES, "apiregistration.k8s.io", "v1", "APIService", \
      "apiservices", "apiservice", "", "api-extensions", "apiregistration.k8s.io/apiservices", \
      TYPE(apiregistration_v1_APIService), KUBE_ALL_VERBS, STATUS | NEEDS_RV, SUBDOMAIN, SUBS(apiservices), \
      "", APISERVICES) \
    X(CONTROLLERREVISIONS, "apps", "v1", "ControllerRevision", \
      "controllerrevisions", "controllerrevision", "", "", "controllerrevisions", \
      TYPE(apps_v1_ControllerRevision), KUBE_ALL_VERBS, N, SUBDOMAIN, NO_SUBS, \
      "", CONTROLLERREVISIONS) \
    X(DAEMONSETS, "apps", "v1", "DaemonSet", \
      "daemonsets", "daemonset", "ds", "all", "daemonsets", \
      TYPE(apps_v1_DaemonSet), KUBE_ALL_VERBS, N | STATUS | GENERATION, SUBDOMAIN, SUBS(daemonsets), \
      "", DAEMONSETS) \
    X(DEPLOYMENTS, "apps", "v1", "Deployment", \
      "deployments", "deployment", "deploy", "all", "deployments", \
      TYPE(apps_v1_Deployment), KUBE_ALL_VERBS, N | STATUS | SCALE | GENERATION, SUBDOMAIN, SUBS(deployments), \
      "", DEPLOYMENTS) \
    X(REPLICASETS, "apps", "v1", "ReplicaSet", \
      "replicasets", "replicaset", "rs", "all", "replicasets", \
      TYPE(apps_v1_ReplicaSet), KUBE_ALL_VERBS, N | STATUS | SCALE | GENERATION, SUBDOMAIN, SUBS(replicasets), \
      "status.replicas", REPLICASETS) \
    X(STATEFULSETS, "apps", "v1", "StatefulSet", \
      "statefulsets", "statefulset", "sts", "all", "statefulsets", \
      TYPE(apps_v1_StatefulSet), KUBE_ALL_VERBS, N | STATUS | SCALE | GENERATION, SUBDOMAIN, SUBS(statefulsets), \
      "", STATEFULSETS) \
    X(EVENTS_EVENTS, "events.k8s.io", "v1", "Event", \
      "events", "event", "ev", "", "events", \
      TYPE(events_v1_Event), KUBE_ALL_VERBS, N | UPSERT | KUBE_TTL_HOUR | KUBE_ALIAS, SUBDOMAIN, NO_SUBS, \
      "reason regarding.kind regarding.namespace regarding.name regarding.uid " \
      "regarding.apiVersion regarding.resourceVersion regarding.fieldPath " \
      "reportingController type", EVENTS) \
    X(SELFSUBJECTREVIEWS, "authentication.k8s.io", "v1", "SelfSubjectReview", \
      "selfsubjectreviews", "selfsubjectreview", "", "", "", \
      TYPE(authentication_v1_SelfSubjectReview), KUBE_CREATE, NOT_STORED, SUBDOMAIN, NO_SUBS, \
      "", SELFSUBJECTREVIEWS) \
    X(TOKENREVIEWS, "authentication.k8s.io", "v1", "TokenReview", \
      "tokenreviews", "tokenreview", "", "", "", \
      TYPE(authentication_v1_TokenReview), LATER(KUBE_CREATE), NOT_STORED, SUBDOMAIN, NO_SUBS, \
      "", TOKENREVIEWS) \
    X(LOCALSUBJECTACCESSREVIEWS, "authorization.k8s.io", "v1", "LocalSubjectAccessReview", \
      "localsubjectaccessreviews", "localsubjectaccessreview", "", "", "", \
      TYPE(authorization_v1_LocalSubjectAccessReview), KUBE_CREATE, N | NOT_STORED, SUBDOMAIN, NO_SUBS, \
      "", LOCALSUBJECTACCESSREVIEWS) \
    X(SELFSUBJECTACCESSREVIEWS, "authorization.k8s.io", "v1", "SelfSubjectAccessReview", \
      "selfsubjectaccessreviews", "selfsubjectaccessreview", "", "", "", \
      TYPE(authorization_v1_SelfSubjectAccessReview), KUBE_CREATE, NOT_STORED, SUBDOMAIN, NO_SUBS, \
      "", SELFSUBJECTACCESSREVIEWS) \
    X(SELFSUBJECTRULESREVIEWS, "authorization.k8s.io", "v1", "SelfSubjectRulesReview", \
      "selfsubjectrulesreviews", "selfsubjectrulesreview", "", "", "", \
      TYPE(authorization_v1_SelfSubjectRulesReview), LATER(KUBE_CREATE), NOT_STORED, SUBDOMAIN, NO_SUBS, \
      "", SELFSUBJECTRULESREVIEWS) \
    X(SUBJECTACCESSREVIEWS, "authorization.k8s.io", "v1", "SubjectAccessReview", \
      "subjectaccessreviews", "subjectaccessreview", "", "", "", \
      TYPE(authorization_v1_SubjectAccessReview), KUBE_CREATE, NOT_STORED, SUBDOMAIN, NO_SUBS, \
      "", SUBJECTACCESSREVIEWS) \
    X(AUTOSCALING_V2_HORIZONTALPODAUTOSCALERS, "autoscaling", "v2", "HorizontalPodAutoscaler", \
      "horizontalpodautoscalers", "horizontalpodautoscaler", "hpa", "all", "horizontalpodautoscalers", \
      TYPE(autoscaling_v2_HorizontalPodAutoscaler), KUBE_ALL_VERBS, N | STATUS, SUBDOMAIN, SUBS(horizontalpodautoscalers), \
      "", AUTOSCALING_V2_HORIZONTALPODAUTOSCALERS) \
    X(AUTOSCALING_V1_HORIZONTALPODAUTOSCALERS, "autoscaling", "v1", "HorizontalPodAutoscaler", \
      "horizontalpodautoscalers", "horizontalpodautoscaler", "hpa", "all", "horizontalpodautoscalers", \
      TYPE(autoscaling_v1_HorizontalPodAutoscaler), KUBE_ALL_VERBS, N | STATUS | KUBE_ALIAS, SUBDOMAIN, SUBS(horizontalpodautoscalers), \
      "", AUTOSCALING_V2_HORIZONTALPODAUTOSCALERS) \
    X(CRONJOBS, "batch", "v1", "CronJob", \
      "cronjobs", "cronjob", "cj", "all", "cronjobs", \
      TYPE(batch_v1_CronJob), KUBE_ALL_VERBS, N | STATUS | GENERATION, SUBDOMAIN, SUBS(cronjobs), \
      "", CRONJOBS) \
    X(JOBS, "batch", "v1", "Job", \
      "jobs", "job", "", "all", "jobs", \
      TYPE(batch_v1_Job), KUBE_ALL_VERBS, N | STATUS | GENERATION | ORPHANS, SUBDOMAIN, SUBS(jobs), \
      "status.successful", JOBS) \
    X(CERTIFICATESIGNINGREQUESTS, "certificates.k8s.io", "v1", "CertificateSigningRequest", \
      "certificatesigningrequests", "certificatesigningrequest", "csr", "", "certificatesigningrequests", \
      TYPE(certificates_v1_CertificateSigningRequest), KUBE_ALL_VERBS, STATUS, SUBDOMAIN, SUBS(certificatesigningrequests), \
      "spec.signerName", CERTIFICATESIGNINGREQUESTS) \
    X(INGRESSCLASSES, "networking.k8s.io", "v1", "IngressClass", \
      "ingressclasses", "ingressclass", "", "", "ingressclasses", \
      TYPE(networking_v1_IngressClass), KUBE_ALL_VERBS, GENERATION, SUBDOMAIN, NO_SUBS, \
      "", INGRESSCLASSES) \
    X(INGRESSES, "networking.k8s.io", "v1", "Ingress", \
      "ingresses", "ingress", "ing", "", "ingress", \
      TYPE(networking_v1_Ingress), KUBE_ALL_VERBS, N | STATUS | GENERATION, SUBDOMAIN, SUBS(ingresses), \
      "", INGRESSES) \
    X(IPADDRESSES, "networking.k8s.io", "v1", "IPAddress", \
      "ipaddresses", "ipaddress", "ip", "", "ipaddresses", \
      TYPE(networking_v1beta1_IPAddress), KUBE_ALL_VERBS, 0, SUBDOMAIN, NO_SUBS, \
      "", IPADDRESSES) \
    X(NETWORKPOLICIES, "networking.k8s.io", "v1", "NetworkPolicy", \
      "networkpolicies", "networkpolicy", "netpol", "", "networkpolicies", \
      TYPE(networking_v1_NetworkPolicy), KUBE_ALL_VERBS, N | GENERATION, SUBDOMAIN, NO_SUBS, \
      "", NETWORKPOLICIES) \
    X(SERVICECIDRS, "networking.k8s.io", "v1", "ServiceCIDR", \
      "servicecidrs", "servicecidr", "", "", "servicecidrs", \
      TYPE(networking_v1beta1_ServiceCIDR), KUBE_ALL_VERBS, STATUS, SUBDOMAIN, SUBS(servicecidrs), \
      "", SERVICECIDRS) \
    X(PODDISRUPTIONBUDGETS, "policy", "v1", "PodDisruptionBudget", \
      "poddisruptionbudgets", "poddisruptionbudget", "pdb", "", "poddisruptionbudgets", \
      TYPE(policy_v1_PodDisruptionBudget), KUBE_ALL_VERBS, N | STATUS | GENERATION | NEEDS_RV, SUBDOMAIN, SUBS(poddisruptionbudgets), \
      "", PODDISRUPTIONBUDGETS) \
    X(CLUSTERROLEBINDINGS, "rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", \
      "clusterrolebindings", "clusterrolebinding", "", "", "clusterrolebindings", \
      TYPE(rbac_v1_ClusterRoleBinding), KUBE_ALL_VERBS, UPSERT, PATH, NO_SUBS, \
      "", CLUSTERROLEBINDINGS) \
    X(CLUSTERROLES, "rbac.authorization.k8s.io", "v1", "ClusterRole", \
      "clusterroles", "clusterrole", "", "", "clusterroles", \
      TYPE(rbac_v1_ClusterRole), KUBE_ALL_VERBS, UPSERT, PATH, NO_SUBS, \
      "", CLUSTERROLES) \
    X(ROLEBINDINGS, "rbac.authorization.k8s.io", "v1", "RoleBinding", \
      "rolebindings", "rolebinding", "", "", "rolebindings", \
      TYPE(rbac_v1_RoleBinding), KUBE_ALL_VERBS, N | UPSERT, PATH, NO_SUBS, \
      "", ROLEBINDINGS) \
    X(ROLES, "rbac.authorization.k8s.io", "v1", "Role", \
      "roles", "role", "", "", "roles", \
      TYPE(rbac_v1_Role), KUBE_ALL_VERBS, N | UPSERT, PATH, NO_SUBS, \
      "", ROLES) \
    X(CSIDRIVERS, "storage.k8s.io", "v1", "CSIDriver", \
      "csidrivers", "csidriver", "", "", "csidrivers", \
      TYPE(storage_v1_CSIDriver), KUBE_ALL_VERBS, NEEDS_RV, SUBDOMAIN, NO_SUBS, \
      "", CSIDRIVERS) \
    X(CSINODES, "storage.k8s.io", "v1", "CSINode", \
      "csinodes", "csinode", "", "", "csinodes", \
      TYPE(storage_v1_CSINode), KUBE_ALL_VERBS, NEEDS_RV, SUBDOMAIN, NO_SUBS, \
      "", CSINODES) \
    X(CSISTORAGECAPACITIES, "storage.k8s.io", "v1", "CSIStorageCapacity", \
      "csistoragecapacities", "csistoragecapacity", "", "", "csistoragecapacities", \
      TYPE(storage_v1_CSIStorageCapacity), KUBE_ALL_VERBS, N | NEEDS_RV, SUBDOMAIN, NO_SUBS, \
      "", CSISTORAGECAPACITIES) \
    X(STORAGECLASSES, "storage.k8s.io", "v1", "StorageClass", \
      "storageclasses", "storageclass", "sc", "", "storageclasses", \
      TYPE(storage_v1_StorageClass), KUBE_ALL_VERBS, 0, SUBDOMAIN, NO_SUBS, \
      "", STORAGECLASSES) \
    X(VOLUMEATTACHMENTS, "storage.k8s.io", "v1", "VolumeAttachment", \
      "volumeattachments", "volumeattachment", "", "", "volumeattachments", \
      TYPE(storage_v1_VolumeAttachment), KUBE_ALL_VERBS, STATUS | NEEDS_RV, SUBDOMAIN, SUBS(volumeattachments), \
      "", VOLUMEATTACHMENTS) \
    X(VOLUMEATTRIBUTESCLASSES, "storage.k8s.io", "v1", "VolumeAttributesClass", \
      "volumeattributesclasses", "volumeattributesclass", "vac", "", "volumeattributesclasses", \
      TYPE(storage_v1beta1_VolumeAttributesClass), KUBE_ALL_VERBS, 0, SUBDOMAIN, NO_SUBS, \
      "", VOLUMEATTRIBUTESCLASSES) \
    X(MUTATINGADMISSIONPOLICIES, "admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicy", \
      "mutatingadmissionpolicies", "mutatingadmissionpolicy", "", "api-extensions", "mutatingadmissionpolicies", \
      TYPE(admissionregistration_v1alpha1_MutatingAdmissionPolicy), KUBE_ALL_VERBS, GENERATION | NEEDS_RV, SUBDOMAIN, NO_SUBS, \
      "", MUTATINGADMISSIONPOLICIES) \
    X(MUTATINGADMISSIONPOLICYBINDINGS, "admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicyBinding", \
      "mutatingadmissionpolicybindings", "mutatingadmissionpolicybinding", "", "api-extensions", "mutatingadmissionpolicybindings", \
      TYPE(admissionregistration_v1alpha1_MutatingAdmissionPolicyBinding), KUBE_ALL_VERBS, GENERATION | NEEDS_RV, SUBDOMAIN, NO_SUBS, \
      "", MUTATINGADMISSIONPOLICYBINDINGS) \
    X(MUTATINGWEBHOOKCONFIGURATIONS, "admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", \
      "mutatingwebhookconfigurations", "mutatingwebhookconfiguration", "", "api-extensions", "mutatingwebhookconfigurations", \
      TYPE(admissionregistration_v1_MutatingWebhookConfiguration), KUBE_ALL_VERBS, GENERATION | NEEDS_RV, SUBDOMAIN, NO_SUBS, \
      "", MUTATINGWEBHOOKCONFIGURATIONS) \
    X(VALIDATINGADMISSIONPOLICIES, "admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy", \
      "validatingadmissionpolicies", "validatingadmissionpolicy", "", "api-extensions", "validatingadmissionpolicies", \
      TYPE(admissionregistration_v1_ValidatingAdmissionPolicy), KUBE_ALL_VERBS, STATUS | GENERATION | NEEDS_RV, SUBDOMAIN, SUBS(validatingadmissionpolicies), \
      "", VALIDATINGADMISSIONPOLICIES) \
    X(VALIDATINGADMISSIONPOLICYBINDINGS, "admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding", \
      "validatingadmissionpolicybindings", "validatingadmissionpolicybinding", "", "api-extensions", "validatingadmissionpolicybindings", \
      TYPE(admissionregistration_v1_ValidatingAdmissionPolicyBinding), KUBE_ALL_VERBS, GENERATION | NEEDS_RV, SUBDOMAIN, NO_SUBS, \
      "", VALIDATINGADMISSIONPOLICYBINDINGS) \
    X(VALIDATINGWEBHOOKCONFIGURATIONS, "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", \
      "validatingwebhookconfigurations", "validatingwebhookconfiguration", "", "api-extensions", "validatingwebhookconfigurations", \
      TYPE(admissionregistration_v1_ValidatingWebhookConfiguration), KUBE_ALL_VERBS, GENERATION | NEEDS_RV, SUBDOMAIN, NO_SUBS, \
      "", VALIDATINGWEBHOOKCONFIGURATIONS) \
    X(CUSTOMRESOURCEDEFINITIONS, "apiextensions.k8s.io", "v1", "CustomResourceDefinition", \
      "customresourcedefinitions", "customresourcedefinition", "crd,crds", "api-extensions", "apiextensions.k8s.io/customresourcedefinitions", \
      TYPE(apiextensions_v1_CustomResourceDefinition), KUBE_ALL_VERBS, STATUS | GENERATION | NEEDS_RV, SUBDOMAIN, SUBS(customresourcedefinitions), \
      "", CUSTOMRESOURCEDEFINITIONS) \
    X(PRIORITYCLASSES, "scheduling.k8s.io", "v1", "PriorityClass", \
      "priorityclasses", "priorityclass", "pc", "", "priorityclasses", \
      TYPE(scheduling_v1_PriorityClass), KUBE_ALL_VERBS, GENERATION, SUBDOMAIN, NO_SUBS, \
      "", PRIORITYCLASSES) \
    X(LEASES, "coordination.k8s.io", "v1", "Lease", \
      "leases", "lease", "", "", "leases", \
      TYPE(coordination_v1_Lease), KUBE_ALL_VERBS, N | UPSERT | NEEDS_RV, SUBDOMAIN, NO_SUBS, \
      "", LEASES) \
    X(RUNTIMECLASSES, "node.k8s.io", "v1", "RuntimeClass", \
      "runtimeclasses", "runtimeclass", "", "", "runtimeclasses", \
      TYPE(node_v1_RuntimeClass), KUBE_ALL_VERBS, UPSERT | NEEDS_RV, SUBDOMAIN, NO_SUBS, \
      "", RUNTIMECLASSES) \
    X(ENDPOINTSLICES, "discovery.k8s.io", "v1", "EndpointSlice", \
      "endpointslices", "endpointslice", "", "", "endpointslices", \
      TYPE(discovery_v1_EndpointSlice), KUBE_ALL_VERBS, N | GENERATION, SUBDOMAIN, NO_SUBS, \
      "", ENDPOINTSLICES) \
    X(FLOWSCHEMAS, "flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", \
      "flowschemas", "flowschema", "", "", "flowschemas", \
      TYPE(flowcontrol_v1_FlowSchema), KUBE_ALL_VERBS, STATUS | GENERATION, SUBDOMAIN, SUBS(flowschemas), \
      "", FLOWSCHEMAS) \
    X(PRIORITYLEVELCONFIGURATIONS, "flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfiguration", \
      "prioritylevelconfigurations", "prioritylevelconfiguration", "", "", "prioritylevelconfigurations", \
      TYPE(flowcontrol_v1_PriorityLevelConfiguration), KUBE_ALL_VERBS, STATUS | GENERATION, SUBDOMAIN, SUBS(prioritylevelconfigurations), \
      "", PRIORITYLEVELCONFIGURATIONS) \
    X(DEVICECLASSES, "resource.k8s.io", "v1", "DeviceClass", \
      "deviceclasses", "deviceclass", "", "", "deviceclasses", \
      TYPE(resource_v1_DeviceClass), KUBE_ALL_VERBS, GENERATION | ANSWERS, SUBDOMAIN, NO_SUBS, \
      "", DEVICECLASSES) \
    X(RESOURCECLAIMS, "resource.k8s.io", "v1", "ResourceClaim", \
      "resourceclaims", "resourceclaim", "", "", "resourceclaims", \
      TYPE(resource_v1_ResourceClaim), KUBE_ALL_VERBS, N | STATUS | ANSWERS, SUBDOMAIN, SUBS(resourceclaims), \
      "", RESOURCECLAIMS) \
    X(RESOURCECLAIMTEMPLATES, "resource.k8s.io", "v1", "ResourceClaimTemplate", \
      "resourceclaimtemplates", "resourceclaimtemplate", "", "", "resourceclaimtemplates", \
      TYPE(resource_v1_ResourceClaimTemplate), KUBE_ALL_VERBS, N | ANSWERS, SUBDOMAIN, NO_SUBS, \
      "", RESOURCECLAIMTEMPLATES) \
    X(RESOURCESLICES, "resource.k8s.io", "v1", "ResourceSlice", \
      "resourceslices", "resourceslice", "", "", "resourceslices", \
      TYPE(resource_v1_ResourceSlice), KUBE_ALL_VERBS, GENERATION | ANSWERS, SUBDOMAIN, NO_SUBS, \
      "spec.nodeName spec.driver", RESOURCESLICES) \
    X(METRICS_NODES, "metrics.k8s.io", "v1beta1", "NodeMetrics", \
      "nodes", "", "", "", "", \
      TYPE(metrics_v1beta1_NodeMetrics), LATER(KUBE_GET | KUBE_LIST_VERB), NOT_STORED, SUBDOMAIN, NO_SUBS, \
      "", METRICS_NODES) \
    X(METRICS_PODS, "metrics.k8s.io", "v1beta1", "PodMetrics", \
      "pods", "", "", "", "", \
      TYPE(metrics_v1beta1_PodMetrics), LATER(KUBE_GET | KUBE_LIST_VERB), N | NOT_STORED, SUBDOMAIN, NO_SUBS, \
      "", METRICS_PODS)
/* clang-format on */

enum {
#define X(id, ...) id,
    RESOURCES(X) RESOURCE_COUNT
#undef X
};

static const struct kube_resource resources[] = {
#define X(id, group_, version_, kind_, plural_, singular_, short_, categories_, prefix_, type_,    \
          verbs_, flags_, rule_, subs_, selectable_, stored_)                                      \
    {                                                                                              \
        .group = group_,                                                                           \
        .version = version_,                                                                       \
        .kind = kind_,                                                                             \
        .plural = plural_,                                                                         \
        .singular = singular_,                                                                     \
        .short_names = short_,                                                                     \
        .categories = categories_,                                                                 \
        .prefix = prefix_,                                                                         \
        .type = type_,                                                                             \
        .verbs = verbs_,                                                                           \
        .flags = flags_,                                                                           \
        .name_rule = rule_,                                                                        \
        .subresources = subs_, /* and their count */                                               \
        .selectable = selectable_,                                                                 \
        .stored_as = &resources[stored_],                                                          \
    },
    RESOURCES(X)
#undef X
};

/* Lengths of plurals and kinds, so that a lookup looks at few of the names. */
static const uint8_t plural_lens[] = {
#define X(id, group_, version_, kind_, plural_, ...) sizeof(plural_) - 1,
    RESOURCES(X)
#undef X
};
static const uint8_t kind_lens[] = {
#define X(id, group_, version_, kind_, ...) sizeof(kind_) - 1,
    RESOURCES(X)
#undef X
};

const struct kube_resource *kube_resource_at(size_t index)
{
    ASSERT(index < RESOURCE_COUNT);
    return &resources[index];
}

size_t kube_resource_count(void)
{
    return RESOURCE_COUNT;
}

static bool is(struct slice text, const char *name)
{
    if (text.len == 0)
        return name[0] == '\0';
    return (char)text.data[0] == name[0] && strlen(name) == text.len &&
           memcmp(text.data, name, text.len) == 0;
}

const struct kube_resource *kube_resource_find(struct slice group, struct slice version,
                                               struct slice plural)
{
    for (size_t i = 0; i < RESOURCE_COUNT; i++) {
        const struct kube_resource *resource = &resources[i];

        if (plural_lens[i] == plural.len && is(plural, resource->plural) &&
            is(group, resource->group) && is(version, resource->version))
            return resource;
    }
    return NULL;
}

const struct kube_resource *kube_resource_of_kind(struct slice group, struct slice version,
                                                  struct slice kind)
{
    for (size_t i = 0; i < RESOURCE_COUNT; i++) {
        const struct kube_resource *resource = &resources[i];

        if (kind_lens[i] == kind.len && is(kind, resource->kind) && is(group, resource->group) &&
            is(version, resource->version))
            return resource;
    }
    return NULL;
}

bool kube_resource_served(const struct kube_resource *resource)
{
    unsigned verbs = resource->verbs;

    for (size_t i = 0; i < resource->subresource_count; i++)
        verbs |= resource->subresources[i].verbs;
    return verbs != 0;
}

bool kube_group_version_known(struct slice group, struct slice version)
{
    for (size_t i = 0; i < RESOURCE_COUNT; i++) {
        const struct kube_resource *resource = &resources[i];

        if (is(group, resource->group) && (version.len == 0 || is(version, resource->version)) &&
            kube_resource_served(resource))
            return true;
    }
    return false;
}

bool kube_group_version_begins(const struct kube_resource *last, const struct kube_resource *next)
{
    return last == NULL || strcmp(last->group, next->group) != 0 ||
           strcmp(last->version, next->version) != 0;
}

const struct kube_subresource *kube_subresource_find(const struct kube_resource *resource,
                                                     struct slice name)
{
    for (size_t i = 0; i < resource->subresource_count; i++) {
        if (is(name, resource->subresources[i].name))
            return &resource->subresources[i];
    }
    return NULL;
}

const char *kube_api_version(const struct kube_resource *resource, char *out)
{
    (void)snprintf(out, KUBE_API_VERSION_SIZE, "%s%s%s", resource->group,
                   resource->group[0] == '\0' ? "" : "/", resource->version);
    return out;
}
