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
    KUBE_STRUCT_core_v1_Endpoints = 214,
    KUBE_STRUCT_core_v1_Event = 220,
    KUBE_STRUCT_core_v1_LimitRange = 244,
    KUBE_STRUCT_core_v1_Namespace = 254,
    KUBE_STRUCT_core_v1_Node = 258,
    KUBE_STRUCT_core_v1_PersistentVolume = 276,
    KUBE_STRUCT_core_v1_PersistentVolumeClaim = 277,
    KUBE_STRUCT_core_v1_Pod = 286,
    KUBE_STRUCT_core_v1_PodStatusResult = 302,
    KUBE_STRUCT_core_v1_PodTemplate = 303,
    KUBE_STRUCT_core_v1_RangeAllocation = 313,
    KUBE_STRUCT_core_v1_ReplicationController = 314,
    KUBE_STRUCT_core_v1_ResourceQuota = 321,
    KUBE_STRUCT_core_v1_Secret = 332,
    KUBE_STRUCT_core_v1_SerializedReference = 339,
    KUBE_STRUCT_core_v1_Service = 340,
    KUBE_STRUCT_core_v1_ServiceAccount = 341,
    KUBE_STRUCT_discovery_v1_EndpointSlice = 373,
    KUBE_STRUCT_events_v1_Event = 375,
    KUBE_STRUCT_flowcontrol_v1_FlowSchema = 379,
    KUBE_STRUCT_flowcontrol_v1_PriorityLevelConfiguration = 388,
    KUBE_STRUCT_meta_v1_DeleteOptions = 399,
    KUBE_STRUCT_meta_v1_PartialObjectMetadata = 407,
    KUBE_STRUCT_meta_v1_Status = 409,
    KUBE_STRUCT_metrics_v1beta1_NodeMetrics = 413,
    KUBE_STRUCT_metrics_v1beta1_PodMetrics = 414,
    KUBE_STRUCT_networking_v1_Ingress = 418,
    KUBE_STRUCT_networking_v1_IngressClass = 420,
    KUBE_STRUCT_networking_v1_NetworkPolicy = 431,
    KUBE_STRUCT_networking_v1beta1_IPAddress = 438,
    KUBE_STRUCT_networking_v1beta1_ServiceCIDR = 441,
    KUBE_STRUCT_node_v1_RuntimeClass = 445,
    KUBE_STRUCT_policy_v1_Eviction = 447,
    KUBE_STRUCT_policy_v1_PodDisruptionBudget = 448,
    KUBE_STRUCT_rbac_v1_ClusterRole = 452,
    KUBE_STRUCT_rbac_v1_ClusterRoleBinding = 453,
    KUBE_STRUCT_rbac_v1_Role = 455,
    KUBE_STRUCT_rbac_v1_RoleBinding = 456,
    KUBE_STRUCT_scheduling_v1_PriorityClass = 459,
    KUBE_STRUCT_storage_v1_CSIDriver = 460,
    KUBE_STRUCT_storage_v1_CSINode = 462,
    KUBE_STRUCT_storage_v1_CSIStorageCapacity = 465,
    KUBE_STRUCT_storage_v1_StorageClass = 466,
    KUBE_STRUCT_storage_v1_VolumeAttachment = 468,
    KUBE_STRUCT_storage_v1beta1_VolumeAttributesClass = 474,
    KUBE_STRUCT_COUNT = 475,
    KUBE_FIELDS_MAX = 44 /* of one struct */
};

/* Sorted by package, then name; the index is the id. */
extern const struct kube_struct kube__structs[KUBE_STRUCT_COUNT];
/* How types.c finds a field by its name: per struct 1 << slot_bits entries from first_slot on, each
 * 0 or an index of a field + 1. */
extern const uint8_t kube__slots[];

#endif
