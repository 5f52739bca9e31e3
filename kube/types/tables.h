/* Made by tools/kube-types from Debian's golang-k8s-api and golang-k8s-apimachinery: do not edit.
 *
 * The facts in here (names, numbers, merge keys) are those of the Kubernetes API, Copyright The
 * Kubernetes Authors, licensed under the Apache License, Version 2.0: see LICENSE. */
#ifndef KVD_KUBE_TYPES_TABLES_H
#define KVD_KUBE_TYPES_TABLES_H

#include "kube/types/types.h"

/* Ids of what can be the body of a request; those of its parts have no name. */
enum {
    KUBE_STRUCT_admissionregistration_v1_MutatingWebhookConfiguration = 5,
    KUBE_STRUCT_admissionregistration_v1_ValidatingAdmissionPolicy = 12,
    KUBE_STRUCT_admissionregistration_v1_ValidatingAdmissionPolicyBinding = 13,
    KUBE_STRUCT_admissionregistration_v1_ValidatingWebhookConfiguration = 18,
    KUBE_STRUCT_admissionregistration_v1alpha1_MutatingAdmissionPolicy = 25,
    KUBE_STRUCT_admissionregistration_v1alpha1_MutatingAdmissionPolicyBinding = 26,
    KUBE_STRUCT_apiextensions_v1_CustomResourceDefinition = 36,
    KUBE_STRUCT_apiregistration_v1_APIService = 53,
    KUBE_STRUCT_apps_v1_ControllerRevision = 58,
    KUBE_STRUCT_apps_v1_DaemonSet = 59,
    KUBE_STRUCT_apps_v1_Deployment = 64,
    KUBE_STRUCT_apps_v1_ReplicaSet = 69,
    KUBE_STRUCT_apps_v1_StatefulSet = 76,
    KUBE_STRUCT_authentication_v1_SelfSubjectReview = 84,
    KUBE_STRUCT_authentication_v1_TokenRequest = 86,
    KUBE_STRUCT_authentication_v1_TokenReview = 89,
    KUBE_STRUCT_authorization_v1_LocalSubjectAccessReview = 95,
    KUBE_STRUCT_authorization_v1_SelfSubjectAccessReview = 100,
    KUBE_STRUCT_authorization_v1_SelfSubjectRulesReview = 102,
    KUBE_STRUCT_authorization_v1_SubjectAccessReview = 104,
    KUBE_STRUCT_autoscaling_v1_HorizontalPodAutoscaler = 109,
    KUBE_STRUCT_autoscaling_v1_Scale = 112,
    KUBE_STRUCT_autoscaling_v2_HorizontalPodAutoscaler = 122,
    KUBE_STRUCT_batch_v1_CronJob = 138,
    KUBE_STRUCT_batch_v1_Job = 141,
    KUBE_STRUCT_certificates_v1_CertificateSigningRequest = 153,
    KUBE_STRUCT_coordination_v1_Lease = 157,
    KUBE_STRUCT_core_v1_Binding = 166,
    KUBE_STRUCT_core_v1_ComponentStatus = 177,
    KUBE_STRUCT_core_v1_ConfigMap = 178,
    KUBE_STRUCT_core_v1_Endpoints = 202,
    KUBE_STRUCT_core_v1_Event = 208,
    KUBE_STRUCT_core_v1_LimitRange = 232,
    KUBE_STRUCT_core_v1_Namespace = 242,
    KUBE_STRUCT_core_v1_Node = 246,
    KUBE_STRUCT_core_v1_PersistentVolume = 264,
    KUBE_STRUCT_core_v1_PersistentVolumeClaim = 265,
    KUBE_STRUCT_core_v1_Pod = 274,
    KUBE_STRUCT_core_v1_PodStatusResult = 290,
    KUBE_STRUCT_core_v1_PodTemplate = 291,
    KUBE_STRUCT_core_v1_RangeAllocation = 301,
    KUBE_STRUCT_core_v1_ReplicationController = 302,
    KUBE_STRUCT_core_v1_ResourceQuota = 309,
    KUBE_STRUCT_core_v1_Secret = 320,
    KUBE_STRUCT_core_v1_SerializedReference = 327,
    KUBE_STRUCT_core_v1_Service = 328,
    KUBE_STRUCT_core_v1_ServiceAccount = 329,
    KUBE_STRUCT_discovery_v1_EndpointSlice = 361,
    KUBE_STRUCT_events_v1_Event = 363,
    KUBE_STRUCT_flowcontrol_v1_FlowSchema = 367,
    KUBE_STRUCT_flowcontrol_v1_PriorityLevelConfiguration = 376,
    KUBE_STRUCT_meta_v1_DeleteOptions = 387,
    KUBE_STRUCT_meta_v1_PartialObjectMetadata = 395,
    KUBE_STRUCT_meta_v1_Status = 397,
    KUBE_STRUCT_metrics_v1beta1_NodeMetrics = 401,
    KUBE_STRUCT_metrics_v1beta1_PodMetrics = 402,
    KUBE_STRUCT_networking_v1_Ingress = 406,
    KUBE_STRUCT_networking_v1_IngressClass = 408,
    KUBE_STRUCT_networking_v1_NetworkPolicy = 419,
    KUBE_STRUCT_networking_v1beta1_IPAddress = 426,
    KUBE_STRUCT_networking_v1beta1_ServiceCIDR = 429,
    KUBE_STRUCT_node_v1_RuntimeClass = 433,
    KUBE_STRUCT_policy_v1_Eviction = 435,
    KUBE_STRUCT_policy_v1_PodDisruptionBudget = 436,
    KUBE_STRUCT_rbac_v1_ClusterRole = 440,
    KUBE_STRUCT_rbac_v1_ClusterRoleBinding = 441,
    KUBE_STRUCT_rbac_v1_Role = 443,
    KUBE_STRUCT_rbac_v1_RoleBinding = 444,
    KUBE_STRUCT_scheduling_v1_PriorityClass = 447,
    KUBE_STRUCT_storage_v1_CSIDriver = 448,
    KUBE_STRUCT_storage_v1_CSINode = 450,
    KUBE_STRUCT_storage_v1_CSIStorageCapacity = 453,
    KUBE_STRUCT_storage_v1_StorageClass = 454,
    KUBE_STRUCT_storage_v1_VolumeAttachment = 456,
    KUBE_STRUCT_storage_v1beta1_VolumeAttributesClass = 462,
    KUBE_STRUCT_COUNT = 463,
    KUBE_FIELDS_MAX = 44 /* of one struct */
};

/* Sorted by package, then name; the index is the id. */
extern const struct kube_struct kube__structs[KUBE_STRUCT_COUNT];
/* How types.c finds a field by its name: per struct 1 << slot_bits entries from first_slot on, each
 * 0 or an index of a field + 1. */
extern const uint8_t kube__slots[];

#endif
