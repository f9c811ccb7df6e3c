//! The built-in kinds, a row each, in discovery order.
//!
//! Facts of Kubernetes 1.37 and of Gateway API 1. A version's row precedes those of less preferred versions. Alpha
//! and beta kinds are served too; their stored form is the most preferred version.

use super::{Kind, Subresource, api_version};

const CLUSTER: bool = false;
const NAMESPACED: bool = true;

const FULL: &str = "create delete deletecollection get list patch update watch";
const NO_COLLECTION: &str = "create delete get list patch update watch";
const READ: &str = "get list";
const CREATE: &str = "create";

/// Name, `apiVersion` and kind it carries (empty for the parent's), verbs.
type Sub = (&'static str, &'static str, &'static str, &'static str);

const WRITE: &str = "get patch update";
const PROXY: &str = "create delete get patch update";
const STATUS_SUB: Sub = ("status", "", "", WRITE);
const SCALE_SUB: Sub = ("scale", "autoscaling/v1", "Scale", WRITE);

const NONE: &[Sub] = &[];
const STATUS: &[Sub] = &[STATUS_SUB];
const SCALE: &[Sub] = &[SCALE_SUB, STATUS_SUB];
const APPROVAL: &[Sub] = &[("approval", "", "", WRITE), STATUS_SUB];
const NAMESPACE: &[Sub] = &[("finalize", "", "", "update"), STATUS_SUB];
const NODE: &[Sub] = &[("proxy", "v1", "NodeProxyOptions", PROXY), STATUS_SUB];
const SERVICE: &[Sub] = &[("proxy", "v1", "ServiceProxyOptions", PROXY), STATUS_SUB];
const SERVICE_ACCOUNT: &[Sub] = &[("token", "authentication.k8s.io/v1", "TokenRequest", "create")];
const POD: &[Sub] = &[
    ("attach", "v1", "PodAttachOptions", "create get"),
    ("binding", "v1", "Binding", "create"),
    ("ephemeralcontainers", "", "", WRITE),
    ("eviction", "policy/v1", "Eviction", "create"),
    ("exec", "v1", "PodExecOptions", "create get"),
    ("log", "", "", "get"),
    ("portforward", "v1", "PodPortForwardOptions", "create get"),
    ("proxy", "v1", "PodProxyOptions", PROXY),
    ("resize", "", "", WRITE),
    STATUS_SUB,
];

const GET: &str = "get";
/// Of what has subresources only.
const NO_VERBS: &str = "";

/// What pods that answer HTTP count about their requests.
const OF_PODS: &[Sub] = &[
    ("concurrency", "", "", GET),
    ("http_requests_in_flight", "", "", GET),
    ("http_requests_per_second", "", "", GET),
    ("http_requests_total", "", "", GET),
    ("requests-per-second", "", "", GET),
    ("requests_per_second", "", "", GET),
];

/// What the gateway counts about requests to a Service or by a route.
const OF_REQUESTS: &[Sub] = &[
    ("concurrency", "", "", GET),
    ("http_errors_per_second", "", "", GET),
    ("http_requests_in_flight", "", "", GET),
    ("http_requests_per_second", "", "", GET),
    ("http_requests_total", "", "", GET),
    ("http_requests_waiting", "", "", GET),
    ("queue_depth", "", "", GET),
    ("requests-per-second", "", "", GET),
    ("requests_per_second", "", "", GET),
];

struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short_names: &'static str,
    categories: &'static str,
    namespaced: bool,
    verbs: &'static str,
    subresources: &'static [Sub],
}

#[allow(clippy::too_many_arguments, reason = "a row of a table")]
const fn row(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short_names: &'static str,
    categories: &'static str,
    namespaced: bool,
    verbs: &'static str,
    subresources: &'static [Sub],
) -> Row {
    Row { group, version, kind, plural, short_names, categories, namespaced, verbs, subresources }
}

/// Every built-in kind.
pub(super) fn kinds() -> impl Iterator<Item = Kind> {
    ROWS.iter().map(Row::kind)
}

impl Row {
    fn kind(&self) -> Kind {
        let stored = ROWS.iter().find(|it| (it.group, it.kind) == self.storage()).unwrap_or(self);
        Kind {
            group: self.group.into(),
            version: self.version.into(),
            kind: self.kind.into(),
            plural: self.plural.into(),
            singular: self.kind.to_lowercase(),
            short_names: words(self.short_names),
            categories: words(self.categories),
            namespaced: self.namespaced,
            verbs: words(self.verbs),
            subresources: self.subresources.iter().map(|it| self.subresource(it)).collect(),
            storage: format!("{}/{}", stored.group, stored.plural),
            stored_as: (api_version(stored.group, stored.version), stored.kind.into()),
            custom: None,
        }
    }

    /// Group and kind whose storage it uses: its own, but for events, which two groups serve.
    fn storage(&self) -> (&'static str, &'static str) {
        if self.group == "events.k8s.io" { ("", self.kind) } else { (self.group, self.kind) }
    }

    fn subresource(&self, &(name, carried, kind, verbs): &Sub) -> Subresource {
        let (group, version) =
            if kind.is_empty() { (self.group, self.version) } else { super::split_api_version(carried) };
        Subresource {
            name: name.into(),
            group: group.into(),
            version: version.into(),
            kind: if kind.is_empty() { self.kind } else { kind }.into(),
            verbs: words(verbs),
        }
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(Into::into).collect()
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // v1
    row("", "v1", "Binding", "bindings", "", "", NAMESPACED, CREATE, NONE),
    row("", "v1", "ComponentStatus", "componentstatuses", "cs", "", CLUSTER, READ, NONE),
    row("", "v1", "ConfigMap", "configmaps", "cm", "", NAMESPACED, FULL, NONE),
    row("", "v1", "Endpoints", "endpoints", "ep", "", NAMESPACED, FULL, NONE),
    row("", "v1", "Event", "events", "ev", "", NAMESPACED, FULL, NONE),
    row("", "v1", "LimitRange", "limitranges", "limits", "", NAMESPACED, FULL, NONE),
    row("", "v1", "Namespace", "namespaces", "ns", "", CLUSTER, NO_COLLECTION, NAMESPACE),
    row("", "v1", "Node", "nodes", "no", "", CLUSTER, FULL, NODE),
    row("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", "pvc", "", NAMESPACED, FULL, STATUS),
    row("", "v1", "PersistentVolume", "persistentvolumes", "pv", "", CLUSTER, FULL, STATUS),
    row("", "v1", "Pod", "pods", "po", "all", NAMESPACED, FULL, POD),
    row("", "v1", "PodTemplate", "podtemplates", "", "", NAMESPACED, FULL, NONE),
    row("", "v1", "ReplicationController", "replicationcontrollers", "rc", "all", NAMESPACED, FULL, SCALE),
    row("", "v1", "ResourceQuota", "resourcequotas", "quota", "", NAMESPACED, FULL, STATUS),
    row("", "v1", "Secret", "secrets", "", "", NAMESPACED, FULL, NONE),
    row("", "v1", "ServiceAccount", "serviceaccounts", "sa", "", NAMESPACED, FULL, SERVICE_ACCOUNT),
    row("", "v1", "Service", "services", "svc", "all", NAMESPACED, FULL, SERVICE),
    // apiregistration.k8s.io/v1
    row("apiregistration.k8s.io", "v1", "APIService", "apiservices", "", "api-extensions", CLUSTER, FULL, STATUS),
    // apps/v1
    row("apps", "v1", "ControllerRevision", "controllerrevisions", "", "", NAMESPACED, FULL, NONE),
    row("apps", "v1", "DaemonSet", "daemonsets", "ds", "all", NAMESPACED, FULL, STATUS),
    row("apps", "v1", "Deployment", "deployments", "deploy", "all", NAMESPACED, FULL, SCALE),
    row("apps", "v1", "ReplicaSet", "replicasets", "rs", "all", NAMESPACED, FULL, SCALE),
    row("apps", "v1", "StatefulSet", "statefulsets", "sts", "all", NAMESPACED, FULL, SCALE),
    // events.k8s.io/v1
    row("events.k8s.io", "v1", "Event", "events", "ev", "", NAMESPACED, FULL, NONE),
    // authentication.k8s.io/v1
    row("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", "", "", CLUSTER, CREATE, NONE),
    row("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", "", "", CLUSTER, CREATE, NONE),
    // authorization.k8s.io/v1
    row("authorization.k8s.io", "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", "", "", NAMESPACED, CREATE, NONE),
    row("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", "", "", CLUSTER, CREATE, NONE),
    row("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", "", "", CLUSTER, CREATE, NONE),
    row("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", "", "", CLUSTER, CREATE, NONE),
    // autoscaling/v2
    row("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "hpa", "all", NAMESPACED, FULL, STATUS),
    // autoscaling/v1
    row("autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "hpa", "all", NAMESPACED, FULL, STATUS),
    // batch/v1
    row("batch", "v1", "CronJob", "cronjobs", "cj", "all", NAMESPACED, FULL, STATUS),
    row("batch", "v1", "Job", "jobs", "", "all", NAMESPACED, FULL, STATUS),
    // certificates.k8s.io/v1
    row("certificates.k8s.io", "v1", "CertificateSigningRequest", "certificatesigningrequests", "csr", "", CLUSTER, FULL, APPROVAL),
    row("certificates.k8s.io", "v1", "ClusterTrustBundle", "clustertrustbundles", "", "", CLUSTER, FULL, NONE),
    row("certificates.k8s.io", "v1", "PodCertificateRequest", "podcertificaterequests", "", "", NAMESPACED, FULL, STATUS),
    // certificates.k8s.io/v1beta1
    row("certificates.k8s.io", "v1beta1", "ClusterTrustBundle", "clustertrustbundles", "", "", CLUSTER, FULL, NONE),
    row("certificates.k8s.io", "v1beta1", "PodCertificateRequest", "podcertificaterequests", "", "", NAMESPACED, FULL, STATUS),
    // networking.k8s.io/v1
    row("networking.k8s.io", "v1", "IngressClass", "ingressclasses", "", "", CLUSTER, FULL, NONE),
    row("networking.k8s.io", "v1", "Ingress", "ingresses", "ing", "", NAMESPACED, FULL, STATUS),
    row("networking.k8s.io", "v1", "IPAddress", "ipaddresses", "ip", "", CLUSTER, FULL, NONE),
    row("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", "netpol", "", NAMESPACED, FULL, NONE),
    row("networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs", "", "", CLUSTER, FULL, STATUS),
    // policy/v1
    row("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", "pdb", "", NAMESPACED, FULL, STATUS),
    // rbac.authorization.k8s.io/v1
    row("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", "", "", CLUSTER, FULL, NONE),
    row("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", "", "", CLUSTER, FULL, NONE),
    row("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", "", "", NAMESPACED, FULL, NONE),
    row("rbac.authorization.k8s.io", "v1", "Role", "roles", "", "", NAMESPACED, FULL, NONE),
    // storage.k8s.io/v1
    row("storage.k8s.io", "v1", "CSIDriver", "csidrivers", "", "", CLUSTER, FULL, NONE),
    row("storage.k8s.io", "v1", "CSINode", "csinodes", "", "", CLUSTER, FULL, STATUS),
    row("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities", "", "", NAMESPACED, FULL, NONE),
    row("storage.k8s.io", "v1", "StorageClass", "storageclasses", "sc", "", CLUSTER, FULL, NONE),
    row("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", "", "", CLUSTER, FULL, STATUS),
    row("storage.k8s.io", "v1", "VolumeAttributesClass", "volumeattributesclasses", "vac", "", CLUSTER, FULL, NONE),
    // admissionregistration.k8s.io/v1
    row("admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicy", "mutatingadmissionpolicies", "", "api-extensions", CLUSTER, FULL, NONE),
    row("admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", "", "api-extensions", CLUSTER, FULL, NONE),
    row("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", "", "api-extensions", CLUSTER, FULL, NONE),
    row("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", "", "api-extensions", CLUSTER, FULL, STATUS),
    row("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", "", "api-extensions", CLUSTER, FULL, NONE),
    row("admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", "", "api-extensions", CLUSTER, FULL, NONE),
    // admissionregistration.k8s.io/v1beta1
    row("admissionregistration.k8s.io", "v1beta1", "MutatingAdmissionPolicy", "mutatingadmissionpolicies", "", "api-extensions", CLUSTER, FULL, NONE),
    row("admissionregistration.k8s.io", "v1beta1", "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", "", "api-extensions", CLUSTER, FULL, NONE),
    // admissionregistration.k8s.io/v1alpha1
    row("admissionregistration.k8s.io", "v1alpha1", "MutatingAdmissionPolicy", "mutatingadmissionpolicies", "", "api-extensions", CLUSTER, FULL, NONE),
    row("admissionregistration.k8s.io", "v1alpha1", "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", "", "api-extensions", CLUSTER, FULL, NONE),
    // apiextensions.k8s.io/v1
    row("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", "crd crds", "api-extensions", CLUSTER, FULL, STATUS),
    // scheduling.k8s.io/v1
    row("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", "pc", "", CLUSTER, FULL, NONE),
    // scheduling.k8s.io/v1beta1
    row("scheduling.k8s.io", "v1beta1", "PodGroup", "podgroups", "", "", NAMESPACED, FULL, STATUS),
    row("scheduling.k8s.io", "v1beta1", "Workload", "workloads", "", "", NAMESPACED, FULL, NONE),
    // scheduling.k8s.io/v1alpha3
    row("scheduling.k8s.io", "v1alpha3", "CompositePodGroup", "compositepodgroups", "", "", NAMESPACED, FULL, STATUS),
    row("scheduling.k8s.io", "v1alpha3", "PodGroup", "podgroups", "", "", NAMESPACED, FULL, STATUS),
    row("scheduling.k8s.io", "v1alpha3", "Workload", "workloads", "", "", NAMESPACED, FULL, NONE),
    // coordination.k8s.io/v1
    row("coordination.k8s.io", "v1", "Lease", "leases", "", "", NAMESPACED, FULL, NONE),
    // coordination.k8s.io/v1beta1
    row("coordination.k8s.io", "v1beta1", "LeaseCandidate", "leasecandidates", "", "", NAMESPACED, FULL, NONE),
    // coordination.k8s.io/v1alpha2
    row("coordination.k8s.io", "v1alpha2", "LeaseCandidate", "leasecandidates", "", "", NAMESPACED, FULL, NONE),
    // node.k8s.io/v1
    row("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", "", "", CLUSTER, FULL, NONE),
    // discovery.k8s.io/v1
    row("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", "", "", NAMESPACED, FULL, NONE),
    // resource.k8s.io/v1
    row("resource.k8s.io", "v1", "DeviceClass", "deviceclasses", "", "", CLUSTER, FULL, NONE),
    row("resource.k8s.io", "v1", "DeviceTaintRule", "devicetaintrules", "", "", CLUSTER, FULL, STATUS),
    row("resource.k8s.io", "v1", "ResourceClaim", "resourceclaims", "", "", NAMESPACED, FULL, STATUS),
    row("resource.k8s.io", "v1", "ResourceClaimTemplate", "resourceclaimtemplates", "", "", NAMESPACED, FULL, NONE),
    row("resource.k8s.io", "v1", "ResourceSlice", "resourceslices", "", "", CLUSTER, FULL, NONE),
    // resource.k8s.io/v1beta2
    row("resource.k8s.io", "v1beta2", "DeviceClass", "deviceclasses", "", "", CLUSTER, FULL, NONE),
    row("resource.k8s.io", "v1beta2", "DeviceTaintRule", "devicetaintrules", "", "", CLUSTER, FULL, STATUS),
    row("resource.k8s.io", "v1beta2", "ResourceClaim", "resourceclaims", "", "", NAMESPACED, FULL, STATUS),
    row("resource.k8s.io", "v1beta2", "ResourceClaimTemplate", "resourceclaimtemplates", "", "", NAMESPACED, FULL, NONE),
    row("resource.k8s.io", "v1beta2", "ResourceSlice", "resourceslices", "", "", CLUSTER, FULL, NONE),
    // resource.k8s.io/v1beta1
    row("resource.k8s.io", "v1beta1", "DeviceClass", "deviceclasses", "", "", CLUSTER, FULL, NONE),
    row("resource.k8s.io", "v1beta1", "ResourceClaim", "resourceclaims", "", "", NAMESPACED, FULL, STATUS),
    row("resource.k8s.io", "v1beta1", "ResourceClaimTemplate", "resourceclaimtemplates", "", "", NAMESPACED, FULL, NONE),
    row("resource.k8s.io", "v1beta1", "ResourceSlice", "resourceslices", "", "", CLUSTER, FULL, NONE),
    // resource.k8s.io/v1alpha3
    row("resource.k8s.io", "v1alpha3", "DeviceTaintRule", "devicetaintrules", "", "", CLUSTER, FULL, STATUS),
    row("resource.k8s.io", "v1alpha3", "ResourcePoolStatusRequest", "resourcepoolstatusrequests", "", "", CLUSTER, FULL, STATUS),
    // flowcontrol.apiserver.k8s.io/v1
    row("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "flowschemas", "", "", CLUSTER, FULL, STATUS),
    row("flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfiguration", "prioritylevelconfigurations", "", "", CLUSTER, FULL, STATUS),
    // lifecycle.k8s.io/v1alpha1
    row("lifecycle.k8s.io", "v1alpha1", "EvictionRequest", "evictionrequests", "", "", NAMESPACED, FULL, STATUS),
    row("lifecycle.k8s.io", "v1alpha1", "Eviction", "evictions", "", "", NAMESPACED, FULL, STATUS),
    // storagemigration.k8s.io/v1
    row("storagemigration.k8s.io", "v1", "StorageVersionMigration", "storageversionmigrations", "", "", CLUSTER, FULL, STATUS),
    // storagemigration.k8s.io/v1beta1
    row("storagemigration.k8s.io", "v1beta1", "StorageVersionMigration", "storageversionmigrations", "", "", CLUSTER, FULL, STATUS),
    // internal.apiserver.k8s.io/v1alpha1
    row("internal.apiserver.k8s.io", "v1alpha1", "StorageVersion", "storageversions", "", "", CLUSTER, FULL, STATUS),
    // gateway.networking.k8s.io/v1
    row("gateway.networking.k8s.io", "v1", "GatewayClass", "gatewayclasses", "gc", "gateway-api", CLUSTER, FULL, STATUS),
    row("gateway.networking.k8s.io", "v1", "Gateway", "gateways", "gtw", "gateway-api", NAMESPACED, FULL, STATUS),
    row("gateway.networking.k8s.io", "v1", "GRPCRoute", "grpcroutes", "", "gateway-api", NAMESPACED, FULL, STATUS),
    row("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes", "", "gateway-api", NAMESPACED, FULL, STATUS),
    row("gateway.networking.k8s.io", "v1", "ReferenceGrant", "referencegrants", "refgrant", "gateway-api", NAMESPACED, FULL, NONE),
    // gateway.networking.k8s.io/v1beta1
    row("gateway.networking.k8s.io", "v1beta1", "GatewayClass", "gatewayclasses", "gc", "gateway-api", CLUSTER, FULL, STATUS),
    row("gateway.networking.k8s.io", "v1beta1", "Gateway", "gateways", "gtw", "gateway-api", NAMESPACED, FULL, STATUS),
    row("gateway.networking.k8s.io", "v1beta1", "HTTPRoute", "httproutes", "", "gateway-api", NAMESPACED, FULL, STATUS),
    row("gateway.networking.k8s.io", "v1beta1", "ReferenceGrant", "referencegrants", "refgrant", "gateway-api", NAMESPACED, FULL, NONE),
    // metrics.k8s.io/v1beta1: measured when asked for, never stored
    row("metrics.k8s.io", "v1beta1", "NodeMetrics", "nodes", "", "", CLUSTER, READ, NONE),
    row("metrics.k8s.io", "v1beta1", "PodMetrics", "pods", "", "", NAMESPACED, READ, NONE),
    // custom.metrics.k8s.io/v1beta2
    row("custom.metrics.k8s.io", "v1beta2", "MetricValueList", "pods", "", "", NAMESPACED, NO_VERBS, OF_PODS),
    row("custom.metrics.k8s.io", "v1beta2", "MetricValueList", "services", "", "", NAMESPACED, NO_VERBS, OF_REQUESTS),
    row("custom.metrics.k8s.io", "v1beta2", "MetricValueList", "ingresses.networking.k8s.io", "", "", NAMESPACED, NO_VERBS, OF_REQUESTS),
    row("custom.metrics.k8s.io", "v1beta2", "MetricValueList", "httproutes.gateway.networking.k8s.io", "", "", NAMESPACED, NO_VERBS, OF_REQUESTS),
    row("custom.metrics.k8s.io", "v1beta2", "MetricValueList", "services.serving.knative.dev", "", "", NAMESPACED, NO_VERBS, OF_REQUESTS),
    row("custom.metrics.k8s.io", "v1beta2", "MetricValueList", "revisions.serving.knative.dev", "", "", NAMESPACED, NO_VERBS, OF_REQUESTS),
    row("custom.metrics.k8s.io", "v1beta2", "MetricValueList", "routes.serving.knative.dev", "", "", NAMESPACED, NO_VERBS, OF_REQUESTS),
    row("custom.metrics.k8s.io", "v1beta2", "MetricValueList", "metrics", "", "", NAMESPACED, GET, NONE),
    // custom.metrics.k8s.io/v1beta1
    row("custom.metrics.k8s.io", "v1beta1", "MetricValueList", "pods", "", "", NAMESPACED, NO_VERBS, OF_PODS),
    row("custom.metrics.k8s.io", "v1beta1", "MetricValueList", "services", "", "", NAMESPACED, NO_VERBS, OF_REQUESTS),
    row("custom.metrics.k8s.io", "v1beta1", "MetricValueList", "ingresses.networking.k8s.io", "", "", NAMESPACED, NO_VERBS, OF_REQUESTS),
    row("custom.metrics.k8s.io", "v1beta1", "MetricValueList", "httproutes.gateway.networking.k8s.io", "", "", NAMESPACED, NO_VERBS, OF_REQUESTS),
    row("custom.metrics.k8s.io", "v1beta1", "MetricValueList", "services.serving.knative.dev", "", "", NAMESPACED, NO_VERBS, OF_REQUESTS),
    row("custom.metrics.k8s.io", "v1beta1", "MetricValueList", "revisions.serving.knative.dev", "", "", NAMESPACED, NO_VERBS, OF_REQUESTS),
    row("custom.metrics.k8s.io", "v1beta1", "MetricValueList", "routes.serving.knative.dev", "", "", NAMESPACED, NO_VERBS, OF_REQUESTS),
    row("custom.metrics.k8s.io", "v1beta1", "MetricValueList", "metrics", "", "", NAMESPACED, GET, NONE),
    // external.metrics.k8s.io/v1beta1
    row("external.metrics.k8s.io", "v1beta1", "ExternalMetricValueList", "http_requests_per_second", "", "", NAMESPACED, GET, NONE),
    row("external.metrics.k8s.io", "v1beta1", "ExternalMetricValueList", "http_errors_per_second", "", "", NAMESPACED, GET, NONE),
    row("external.metrics.k8s.io", "v1beta1", "ExternalMetricValueList", "http_requests_in_flight", "", "", NAMESPACED, GET, NONE),
    row("external.metrics.k8s.io", "v1beta1", "ExternalMetricValueList", "http_requests_waiting", "", "", NAMESPACED, GET, NONE),
    row("external.metrics.k8s.io", "v1beta1", "ExternalMetricValueList", "http_requests_total", "", "", NAMESPACED, GET, NONE),
    row("external.metrics.k8s.io", "v1beta1", "ExternalMetricValueList", "requests-per-second", "", "", NAMESPACED, GET, NONE),
    row("external.metrics.k8s.io", "v1beta1", "ExternalMetricValueList", "requests_per_second", "", "", NAMESPACED, GET, NONE),
    row("external.metrics.k8s.io", "v1beta1", "ExternalMetricValueList", "concurrency", "", "", NAMESPACED, GET, NONE),
    row("external.metrics.k8s.io", "v1beta1", "ExternalMetricValueList", "queue_depth", "", "", NAMESPACED, GET, NONE),
];
