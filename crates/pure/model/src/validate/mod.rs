//! Validation of whole objects, with the reasons, field paths and messages of Kubernetes.
//!
//! Start at [`check`]. It runs on objects that were decoded (so types are right), defaulted and prepared. `metadata`
//! checks what all kinds share, `required` what the field tables know, `immutable` what an update may not change, and
//! the other modules what their kinds ask for. Admission and references to other objects are not checked here.

mod addresses;
mod admission;
pub(crate) mod at;
mod config;
mod container;
mod event;
mod immutable;
mod limits;
mod metadata;
pub mod names;
mod network;
mod pod;
mod policy;
mod rbac;
mod required;
mod route;
mod storage;
mod volume;
mod workload;

use serde_json::Value;

use crate::{
    custom::{self, Custom},
    kinds::Kind,
    pod_part, prepare,
    status::{Cause, CauseReason},
};
use at::At;

/// Everything wrong with `new`, given the stored object it replaces. Empty when nothing is.
pub fn check(kind: &Kind, new: &Value, old: Option<&Value>) -> Vec<Cause> {
    if let Some(custom) = &kind.custom {
        return defined(kind, custom, new, old);
    }
    let found = pass(kind, new, old, false);
    if found.is_empty() { found } else { once(pass(kind, new, old, true)) }
}

/// Everything wrong with a custom object; its rules in CEL aside.
fn defined(kind: &Kind, custom: &Custom, new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let before = old.map(|it| At::root(it, true));
    metadata::check(kind, &At::root(new, true), before.as_ref(), &mut causes);
    causes.extend(custom::value::check(new, old, custom.schema()));
    causes
}

/// One pass of all checks. Causes say where they are only if `named`.
fn pass(kind: &Kind, new: &Value, old: Option<&Value>, named: bool) -> Vec<Cause> {
    let mut causes = Vec::new();
    let object = At::root(new, named);
    let before = old.map(|it| At::root(it, named));
    metadata::check(kind, &object, before.as_ref(), &mut causes);
    // What stands unchanged was judged before; most updates are of status or metadata.
    if old.is_none_or(|old| prepare::changed(new, old)) {
        own(kind, &object, &mut causes);
        if kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
            custom::check::definition(&object, before.as_ref(), &mut causes);
        }
        required::check(kind, new, named, &mut causes);
        if let Some(before) = before {
            immutable::check(kind, &object, &before, &mut causes);
        }
    }
    causes
}

/// Drops repetitions: a missing field may be noticed by its kind's check, which says more, and by the field tables.
fn once(causes: Vec<Cause>) -> Vec<Cause> {
    let mut seen = std::collections::HashSet::new();
    let id = |it: &Cause| {
        let message = if it.reason == CauseReason::FieldValueRequired { "" } else { &it.message };
        (it.field.clone(), it.reason.as_str(), message.to_owned())
    };
    causes.into_iter().filter(|it| seen.insert(id(it))).collect()
}

/// Everything wrong with a change of a pod through a subresource that changes a part of its spec.
pub fn check_part(kind: &Kind, subresource: &str, new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let object = At::root(new, true);
    metadata::check(kind, &object, Some(&At::root(old, true)), &mut causes);
    own(kind, &object, &mut causes);
    required::check(kind, new, true, &mut causes);
    causes.extend(pod_part::check(subresource, new, old));
    once(causes)
}

/// What a write to `/status` must not break: metadata, and what a definition says of versions in the store. What a status
/// says otherwise is the writer's word.
pub fn check_status(kind: &Kind, new: &Value, old: &Value) -> Vec<Cause> {
    if let Some(custom) = &kind.custom {
        return defined(kind, custom, new, Some(old));
    }
    let pass = |named: bool| {
        let mut causes = Vec::new();
        metadata::check(kind, &At::root(new, named), Some(&At::root(old, named)), &mut causes);
        if kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
            custom::check::stored_versions(&At::root(new, named), &mut causes);
        }
        causes
    };
    let found = pass(false);
    if found.is_empty() { found } else { pass(true) }
}

/// What the kind itself asks for.
fn own(kind: &Kind, object: &At<'_>, causes: &mut Vec<Cause>) {
    let spec = object.get("spec");
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => pod::pod(&spec, causes),
        ("", "PodTemplate") => pod::template(&object.get("template"), causes),
        ("", "ReplicationController") => workload::replication_controller(&spec, causes),
        ("apps", "Deployment") => workload::deployment(&spec, causes),
        ("apps", "ReplicaSet") => workload::replica_set(&spec, causes),
        ("apps", "StatefulSet") => workload::stateful_set(&spec, causes),
        ("apps", "DaemonSet") => workload::daemon_set(&spec, causes),
        ("batch", "Job") => workload::job(&spec, causes),
        ("batch", "CronJob") => workload::cron_job(object, causes),
        ("autoscaling", "HorizontalPodAutoscaler") => workload::autoscaler(&spec, causes),
        ("policy", "PodDisruptionBudget") => workload::disruption_budget(&spec, causes),
        ("", "Service") => network::service(&spec, causes),
        ("", "Endpoints") => network::endpoints(object, causes),
        ("discovery.k8s.io", "EndpointSlice") => network::endpoint_slice(object, causes),
        ("networking.k8s.io", "Ingress") => network::ingress(&spec, causes),
        ("networking.k8s.io", "NetworkPolicy") => network::network_policy(&spec, causes),
        ("networking.k8s.io", "IngressClass") => network::ingress_class(&spec, causes),
        ("networking.k8s.io", "IPAddress") => addresses::ip_address(object, causes),
        ("networking.k8s.io", "ServiceCIDR") => addresses::service_cidr(&spec, causes),
        ("gateway.networking.k8s.io", "Gateway") => route::gateway(&spec, causes),
        ("gateway.networking.k8s.io", "HTTPRoute") => route::http_route(&spec, causes),
        ("gateway.networking.k8s.io", "GRPCRoute") => route::grpc_route(&spec, causes),
        ("", "Secret") => config::secret(object, causes),
        ("", "ConfigMap") => config::config_map(object, causes),
        ("coordination.k8s.io", "Lease") => config::lease(&spec, causes),
        ("node.k8s.io", "RuntimeClass") => config::runtime_class(object, causes),
        ("" | "events.k8s.io", "Event") => event::event(kind, object, causes),
        ("apps", "ControllerRevision") => config::controller_revision(object, causes),
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => rbac::role(kind, object, causes),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => rbac::binding(kind, object, causes),
        ("", "PersistentVolumeClaim") => config::volume_claim(&spec, causes),
        ("", "PersistentVolume") => storage::volume(&spec, causes),
        ("storage.k8s.io", "StorageClass") => storage::class(object, causes),
        ("storage.k8s.io", "CSIDriver") => storage::csi_driver(object, causes),
        ("storage.k8s.io", "CSINode") => storage::csi_node(object, causes),
        ("storage.k8s.io", "CSIStorageCapacity") => storage::storage_capacity(object, causes),
        ("storage.k8s.io", "VolumeAttachment") => storage::attachment(&spec, causes),
        ("storage.k8s.io", "VolumeAttributesClass") => storage::attributes_class(object, causes),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => policy::validating(&spec, causes),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => policy::mutating(&spec, causes),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => policy::binding(&spec, true, causes),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding") => policy::binding(&spec, false, causes),
        ("", "LimitRange") => limits::limit_range(&spec, causes),
        ("", "ResourceQuota") => limits::resource_quota(&spec, causes),
        ("scheduling.k8s.io", "PriorityClass") => limits::priority_class(object, causes),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => admission::webhooks(object, true, causes),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => {
            admission::webhooks(object, false, causes);
        }
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => admission::flow_schema(&spec, causes),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => admission::priority_level(&spec, causes),
        _ => {}
    }
}

#[cfg(test)]
mod kinds_tests;
#[cfg(test)]
mod tests;
