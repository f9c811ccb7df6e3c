//! Defaults of built-in kinds, with the values of Kubernetes.
//!
//! Start at [`apply`], for every write, and [`admit`], for what a new pod gets from admission. Applying either twice
//! changes nothing more. Kinds not listed here have no defaults that matter to this server's users.

mod config;
mod fill;
mod network;
mod pod;
mod workload;

use serde_json::Value;

use crate::{kinds::Kind, meta};
use fill::{make, set, set_text};

/// Fills in what the writer left out.
pub fn apply(kind: &Kind, object: &mut Value) {
    if let Some(custom) = &kind.custom {
        custom.tidy(object);
        return;
    }
    let object = meta::as_map(object);
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => {
            let spec = make(object, "spec");
            pod::spec(spec);
            pod::pod(spec);
        }
        ("", "PodTemplate") => workload::pod_template(object),
        ("", "ReplicationController") => workload::replication_controller(object),
        ("apps", "Deployment") => workload::deployment(make(object, "spec")),
        ("apps", "ReplicaSet") => workload::replica_set(make(object, "spec")),
        ("apps", "StatefulSet") => workload::stateful_set(make(object, "spec")),
        ("apps", "DaemonSet") => workload::daemon_set(make(object, "spec")),
        ("batch", "Job") => workload::job(object),
        ("batch", "CronJob") => workload::cron_job(make(object, "spec")),
        ("autoscaling", "HorizontalPodAutoscaler") if kind.version == "v2" => {
            workload::autoscaler(make(object, "spec"))
        }
        ("autoscaling", "HorizontalPodAutoscaler") => {
            let spec = make(object, "spec");
            set(spec, "minReplicas", 1);
            set(spec, "targetCPUUtilizationPercentage", 80);
        }
        ("", "Service") => network::service(object),
        ("", "Endpoints") => network::endpoints(object),
        ("discovery.k8s.io", "EndpointSlice") => network::endpoint_slice(object),
        ("networking.k8s.io", "NetworkPolicy") => network::network_policy(make(object, "spec")),
        ("networking.k8s.io", "IngressClass") => network::ingress_class(make(object, "spec")),
        ("gateway.networking.k8s.io", "Gateway") => network::gateway(make(object, "spec")),
        ("gateway.networking.k8s.io", "HTTPRoute") => network::http_route(make(object, "spec")),
        ("gateway.networking.k8s.io", "GRPCRoute") => network::grpc_route(make(object, "spec")),
        ("", "Secret") => config::secret(object),
        ("", "Namespace") => config::namespace(object),
        ("", "LimitRange") => config::limit_range(make(object, "spec")),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => config::flow_schema(make(object, "spec")),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => {
            config::priority_level(make(object, "spec"));
        }
        ("", "Node") => config::node(object),
        ("", "PersistentVolume") => {
            let spec = make(object, "spec");
            set_text(spec, "persistentVolumeReclaimPolicy", "Retain");
            set_text(spec, "volumeMode", "Filesystem");
        }
        ("", "PersistentVolumeClaim") => set_text(make(object, "spec"), "volumeMode", "Filesystem"),
        ("storage.k8s.io", "StorageClass") => {
            set(object, "reclaimPolicy", "Delete");
            set(object, "volumeBindingMode", "Immediate");
        }
        ("storage.k8s.io", "CSIDriver") => config::csi_driver(make(object, "spec")),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy") => {
            config::admission_policy(make(object, "spec"));
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding") => {
            config::matched(make(object, "spec"), "matchResources")
        }
        ("apiregistration.k8s.io", "APIService") => {
            if let Some(service) = make(object, "spec").get_mut("service").and_then(Value::as_object_mut) {
                set(service, "port", 443);
            }
        }
        ("scheduling.k8s.io", "PriorityClass") => set(object, "preemptionPolicy", "PreemptLowerPriority"),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => config::role_binding(object),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration") => {
            config::webhooks(object, kind.kind == "MutatingWebhookConfiguration");
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => config::definition(make(object, "spec")),
        _ => {}
    }
}

/// Fills in what admission gives a new pod: service account, priority, tolerations of a lost node. Other kinds get
/// nothing. Runs after [`apply`].
pub fn admit(kind: &Kind, object: &mut Value) {
    if kind.is("", "Pod") {
        pod::admit(make(meta::as_map(object), "spec"));
    }
}

#[cfg(test)]
mod tests;
