//! What an update may not change.

use serde_json::{Value, json};

use super::at::At;
use crate::{kinds::Kind, status::Cause};

const IMMUTABLE: &str = "field is immutable";

pub(super) fn check(kind: &Kind, new: &At<'_>, old: &At<'_>, causes: &mut Vec<Cause>) {
    for field in fields(kind) {
        if *field == "spec.completions" && elastic(new, old) {
            continue;
        }
        let at = new.at(field);
        if at.value != old.at(field).value {
            causes.push(at.invalid(IMMUTABLE));
        }
    }
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => pod(new, old, causes),
        ("batch", "Job") => job_template(new, old, causes),
        ("apps", "StatefulSet") => stateful_set(&new.get("spec"), &old.get("spec"), causes),
        ("", "Service") => service(&new.get("spec"), &old.get("spec"), causes),
        ("", "Secret" | "ConfigMap") => frozen(new, old, causes),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            let at = new.get("roleRef");
            if at.value != old.get("roleRef").value {
                causes.push(at.invalid("cannot change roleRef"));
            }
        }
        ("", "PersistentVolumeClaim") => claim(new, old, causes),
        ("", "PersistentVolume") => super::storage::same_source(&new.get("spec"), &old.get("spec"), causes),
        _ => {}
    }
}

/// Fields that keep the value they were created with.
fn fields(kind: &Kind) -> &'static [&'static str] {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet") => &["spec.selector"],
        ("apps", "ControllerRevision") => &["data"],
        ("batch", "Job") => &[
            "spec.completions",
            "spec.selector",
            "spec.completionMode",
            "spec.podFailurePolicy",
            "spec.backoffLimitPerIndex",
            "spec.managedBy",
            "spec.successPolicy",
        ],
        ("", "Secret") => &["type"],
        ("discovery.k8s.io", "EndpointSlice") => &["addressType"],
        ("node.k8s.io", "RuntimeClass") => &["handler"],
        ("networking.k8s.io", "IngressClass") => &["spec.controller"],
        ("scheduling.k8s.io", "PriorityClass") => &["value", "preemptionPolicy"],
        ("storage.k8s.io", "StorageClass") => &["provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"],
        ("storage.k8s.io", "CSIDriver") => &["spec.attachRequired", "spec.fsGroupPolicy", "spec.volumeLifecycleModes"],
        ("storage.k8s.io", "CSIStorageCapacity") => &["nodeTopology", "storageClassName"],
        ("storage.k8s.io", "VolumeAttachment") => &["spec"],
        ("storage.k8s.io", "VolumeAttributesClass") => &["driverName", "parameters"],
        ("networking.k8s.io", "IPAddress") => &["spec"],
        ("resource.k8s.io", "ResourceClaim" | "ResourceClaimTemplate") => &["spec"],
        ("certificates.k8s.io", "ClusterTrustBundle") => &["spec.signerName"],
        ("gateway.networking.k8s.io", "GatewayClass") => &["spec.controllerName"],
        _ => &[],
    }
}

/// An indexed Job may change its completions together with its parallelism.
fn elastic(new: &At<'_>, old: &At<'_>) -> bool {
    let (wanted, lanes) = (new.at("spec.completions"), new.at("spec.parallelism"));
    old.at("spec.completionMode").text() == "Indexed" && !wanted.is_absent() && wanted.value == lanes.value
}

/// A Job's template stands, but for where its pods may go while it is suspended and has not started.
fn job_template(new: &At<'_>, old: &At<'_>, causes: &mut Vec<Cause>) {
    let at = new.at("spec.template");
    let (mut ours, mut theirs) = (at.value.clone(), old.at("spec.template").value.clone());
    if old.at("spec.suspend").truth() && old.at("status.startTime").is_absent() {
        for template in [&mut ours, &mut theirs] {
            for field in ["nodeSelector", "affinity", "tolerations", "schedulingGates"] {
                remove(template.get_mut("spec"), field);
            }
            for field in ["labels", "annotations"] {
                remove(template.get_mut("metadata"), field);
            }
        }
    }
    if ours != theirs {
        causes.push(at.invalid(IMMUTABLE));
    }
}

fn remove(object: Option<&mut Value>, field: &str) {
    if let Some(map) = object.and_then(Value::as_object_mut) {
        map.remove(field);
    }
}

/// A pod's spec stands, but for images, deadline, further tolerations, and lifted scheduling gates.
fn pod(new: &At<'_>, old: &At<'_>, causes: &mut Vec<Cause>) {
    const WHY: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
    let (spec, was) = (new.get("spec"), old.get("spec"));
    if spec.value == was.value {
        return;
    }
    for list in ["containers", "initContainers"] {
        let (ours, theirs) = (spec.get(list).items().count(), was.get(list).items().count());
        if ours != theirs {
            causes.push(spec.get(list).forbidden("pod updates may not add or remove containers"));
            return;
        }
    }
    let kept = was.get("tolerations").items().all(|it| spec.get("tolerations").items().any(|ours| same(&ours, &it)));
    if !kept {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        causes.push(spec.get("tolerations").forbidden(why));
    }
    let gates = spec.get("schedulingGates");
    if gates.items().any(|it| !was.get("schedulingGates").items().any(|old| old.value == it.value)) {
        causes.push(gates.forbidden("only deletion is allowed, but found new scheduling gates"));
    }
    let (deadline, before) = (spec.get("activeDeadlineSeconds"), was.get("activeDeadlineSeconds"));
    match (deadline.number(), before.number()) {
        (None, Some(_)) => causes.push(deadline.invalid("must not update from a positive integer to nil value")),
        (Some(now), Some(then)) if now > then => {
            causes.push(deadline.invalid(&format!("must be less than or equal to previous value: {then}")));
        }
        _ => {}
    }
    if skeleton(spec.value) != skeleton(was.value) {
        causes.push(spec.forbidden(WHY));
    }
}

/// Whether a toleration is the other one, its seconds aside.
fn same(one: &At<'_>, other: &At<'_>) -> bool {
    ["key", "operator", "value", "effect"].iter().all(|it| one.get(it).value == other.get(it).value)
}

/// A pod spec without what updates may change.
fn skeleton(spec: &Value) -> Value {
    let mut spec = spec.clone();
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            container["image"] = Value::Null;
        }
    }
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        remove(Some(&mut spec), field);
    }
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|it| it < 0) {
        spec["terminationGracePeriodSeconds"] = json!(1);
    }
    spec
}

fn stateful_set(new: &At<'_>, old: &At<'_>, causes: &mut Vec<Cause>) {
    const CHANGEABLE: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let rest = |spec: &At<'_>| {
        let mut spec = spec.value.clone();
        CHANGEABLE.iter().for_each(|it| remove(Some(&mut spec), it));
        spec
    };
    if rest(new) != rest(old) {
        causes.push(new.forbidden("updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"));
    }
}

/// The address of a service stays, unless its type comes from or goes to one without address.
fn service(new: &At<'_>, old: &At<'_>, causes: &mut Vec<Cause>) {
    let external = |spec: &At<'_>| spec.get("type").text() == "ExternalName";
    if external(new) || external(old) || old.get("clusterIP").is_empty() {
        return;
    }
    if new.get("clusterIP").value != old.get("clusterIP").value {
        let at = new.get("clusterIPs");
        causes.push(Cause::invalid(format!("{}[0]", at.path), at.value, "may not change once set"));
    }
}

/// Secrets and ConfigMaps marked immutable.
fn frozen(new: &At<'_>, old: &At<'_>, causes: &mut Vec<Cause>) {
    const WHY: &str = "field is immutable when `immutable` is set";
    if !old.get("immutable").truth() {
        return;
    }
    for field in ["immutable", "data", "binaryData"] {
        let at = new.get(field);
        if at.value != old.get(field).value {
            causes.push(at.forbidden(WHY));
        }
    }
}

/// A claim's spec stands once made, but for its size, its volume while it has none, its attributes class, and the default
/// class where it named none.
fn claim(new: &At<'_>, old: &At<'_>, causes: &mut Vec<Cause>) {
    let rest = |object: &At<'_>| {
        let mut spec = object.get("spec").value.clone();
        ["resources", "volumeAttributesClassName"].iter().for_each(|it| remove(Some(&mut spec), it));
        if old.at("spec.volumeName").is_empty() {
            remove(Some(&mut spec), "volumeName");
        }
        if old.at("spec.storageClassName").is_absent() {
            remove(Some(&mut spec), "storageClassName");
        }
        spec
    };
    if rest(new) != rest(old) {
        let why =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        causes.push(new.get("spec").forbidden(why));
    }
}
