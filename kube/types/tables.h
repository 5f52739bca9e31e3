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
    KUBE_STRUCT_autoscaling_v1_HorizontalPodAutoscaler = 113,
    KUBE_STRUCT_autoscaling_v1_MetricSpec = 116,
    KUBE_STRUCT_autoscaling_v1_MetricStatus = 117,
    KUBE_STRUCT_autoscaling_v1_Scale = 124,
    KUBE_STRUCT_autoscaling_v2_HorizontalPodAutoscaler = 134,
    KUBE_STRUCT_batch_v1_CronJob = 150,
    KUBE_STRUCT_batch_v1_Job = 153,
    KUBE_STRUCT_certificates_v1_CertificateSigningRequest = 165,
    KUBE_STRUCT_coordination_v1_Lease = 169,
    KUBE_STRUCT_core_v1_Binding = 178,
    KUBE_STRUCT_core_v1_ComponentStatus = 189,
    KUBE_STRUCT_core_v1_ConfigMap = 190,
    KUBE_STRUCT_core_v1_Endpoints = 217,
    KUBE_STRUCT_core_v1_Event = 223,
    KUBE_STRUCT_core_v1_LimitRange = 249,
    KUBE_STRUCT_core_v1_Namespace = 259,
    KUBE_STRUCT_core_v1_Node = 263,
    KUBE_STRUCT_core_v1_PersistentVolume = 283,
    KUBE_STRUCT_core_v1_PersistentVolumeClaim = 284,
    KUBE_STRUCT_core_v1_Pod = 293,
    KUBE_STRUCT_core_v1_PodStatusResult = 312,
    KUBE_STRUCT_core_v1_PodTemplate = 313,
    KUBE_STRUCT_core_v1_RangeAllocation = 323,
    KUBE_STRUCT_core_v1_ReplicationController = 324,
    KUBE_STRUCT_core_v1_ResourceQuota = 331,
    KUBE_STRUCT_core_v1_Secret = 342,
    KUBE_STRUCT_core_v1_SerializedReference = 349,
    KUBE_STRUCT_core_v1_Service = 350,
    KUBE_STRUCT_core_v1_ServiceAccount = 351,
    KUBE_STRUCT_discovery_v1_EndpointSlice = 384,
    KUBE_STRUCT_events_v1_Event = 387,
    KUBE_STRUCT_flowcontrol_v1_FlowSchema = 391,
    KUBE_STRUCT_flowcontrol_v1_PriorityLevelConfiguration = 400,
    KUBE_STRUCT_meta_v1_DeleteOptions = 411,
    KUBE_STRUCT_meta_v1_PartialObjectMetadata = 419,
    KUBE_STRUCT_meta_v1_Status = 421,
    KUBE_STRUCT_metrics_v1beta1_NodeMetrics = 425,
    KUBE_STRUCT_metrics_v1beta1_PodMetrics = 426,
    KUBE_STRUCT_networking_v1_Ingress = 430,
    KUBE_STRUCT_networking_v1_IngressClass = 432,
    KUBE_STRUCT_networking_v1_NetworkPolicy = 443,
    KUBE_STRUCT_networking_v1beta1_IPAddress = 450,
    KUBE_STRUCT_networking_v1beta1_ServiceCIDR = 453,
    KUBE_STRUCT_node_v1_RuntimeClass = 457,
    KUBE_STRUCT_policy_v1_Eviction = 459,
    KUBE_STRUCT_policy_v1_PodDisruptionBudget = 460,
    KUBE_STRUCT_rbac_v1_ClusterRole = 464,
    KUBE_STRUCT_rbac_v1_ClusterRoleBinding = 465,
    KUBE_STRUCT_rbac_v1_Role = 467,
    KUBE_STRUCT_rbac_v1_RoleBinding = 468,
    KUBE_STRUCT_resource_v1_DeviceClass = 486,
    KUBE_STRUCT_resource_v1_ResourceClaim = 501,
    KUBE_STRUCT_resource_v1_ResourceClaimTemplate = 505,
    KUBE_STRUCT_resource_v1_ResourceSlice = 508,
    KUBE_STRUCT_scheduling_v1_PriorityClass = 510,
    KUBE_STRUCT_storage_v1_CSIDriver = 511,
    KUBE_STRUCT_storage_v1_CSINode = 513,
    KUBE_STRUCT_storage_v1_CSIStorageCapacity = 516,
    KUBE_STRUCT_storage_v1_StorageClass = 517,
    KUBE_STRUCT_storage_v1_VolumeAttachment = 519,
    KUBE_STRUCT_storage_v1beta1_VolumeAttributesClass = 525,
    KUBE_STRUCT_COUNT = 526,
    KUBE_FIELDS_MAX = 44 /* of one struct */
};

/* Sorted by package, then name; the index is the id. */
extern const struct kube_struct kube__structs[KUBE_STRUCT_COUNT];
/* How types.c finds a field by its name: per struct 1 << slot_bits entries from first_slot on, each
 * 0 or an index of a field + 1. */
extern const uint8_t kube__slots[];

#endif
