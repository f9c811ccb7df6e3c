//! Rows of kinds that administrators and drivers keep: storage drivers, admission policies, fairness, devices.

use jiff::Timestamp;
use serde_json::Value;

use super::format::{NONE, age, condition, joined, list, number, text, text_or_none, truth};
use crate::meta;

const UNSET: &str = "<unset>";

pub(super) fn csi_driver(object: &Value, now: Timestamp) -> Vec<Value> {
    let attach = object.pointer("/spec/attachRequired").and_then(Value::as_bool).unwrap_or(true);
    let audiences = list(object, "/spec/tokenRequests").iter().map(|it| text(it, "/audience"));
    let audiences = match object.pointer("/spec/tokenRequests") {
        Some(Value::Array(_)) => audiences.collect::<Vec<_>>().join(","),
        _ => UNSET.to_owned(),
    };
    let modes = list(object, "/spec/volumeLifecycleModes").iter().filter_map(Value::as_str);
    vec![
        meta::name(object).into(),
        attach.into(),
        truth(object, "/spec/podInfoOnMount").into(),
        truth(object, "/spec/storageCapacity").into(),
        audiences.into(),
        truth(object, "/spec/requiresRepublish").into(),
        joined(modes).into(),
        age(object, now).into(),
    ]
}

pub(super) fn storage_capacity(object: &Value, _now: Timestamp) -> Vec<Value> {
    vec![meta::name(object).into(), text(object, "/storageClassName").into(), text(object, "/capacity").into()]
}

pub(super) fn volume_attachment(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(object).into(),
        text(object, "/spec/attacher").into(),
        text(object, "/spec/source/persistentVolumeName").into(),
        text(object, "/spec/nodeName").into(),
        truth(object, "/status/attached").into(),
        age(object, now).into(),
    ]
}

pub(super) fn attributes_class(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![meta::name(object).into(), text(object, "/driverName").into(), age(object, now).into()]
}

/// What an address belongs to: `services.group/namespace/name`, as far as it is given.
pub(super) fn ip_address(object: &Value, now: Timestamp) -> Vec<Value> {
    let part = |field: &str| text(object, &format!("/spec/parentRef/{field}"));
    let dot = if part("group").is_empty() { "" } else { "." };
    let resource = format!("{}{dot}{}", part("resource"), part("group"));
    let parts = [resource.as_str(), part("namespace"), part("name")].into_iter().filter(|it| !it.is_empty());
    let parent = match part("name") {
        "" => NONE.to_owned(),
        _ => parts.collect::<Vec<_>>().join("/"),
    };
    vec![meta::name(object).into(), parent.into(), age(object, now).into()]
}

pub(super) fn flow_schema(object: &Value, now: Timestamp) -> Vec<Value> {
    let dangling = condition(object, "Dangling").map_or("?", |it| text(it, "/status"));
    vec![
        meta::name(object).into(),
        text_or_none(object, "/spec/priorityLevelConfiguration/name").into(),
        number(object, "/spec/matchingPrecedence").into(),
        text_or_none(object, "/spec/distinguisherMethod/type").into(),
        age(object, now).into(),
        dangling.into(),
    ]
}

pub(super) fn priority_level(object: &Value, now: Timestamp) -> Vec<Value> {
    let at = |pointer: &str| match object.pointer(pointer).and_then(Value::as_i64) {
        Some(number) => Value::from(number),
        None => NONE.into(),
    };
    let queuing = "/spec/limited/limitResponse/queuing";
    vec![
        meta::name(object).into(),
        text(object, "/spec/type").into(),
        at("/spec/limited/nominalConcurrencyShares"),
        at(&format!("{queuing}/queues")),
        at(&format!("{queuing}/handSize")),
        at(&format!("{queuing}/queueLengthLimit")),
        age(object, now).into(),
    ]
}

/// An admission policy: how much it does, and what parameters it takes.
fn policy(object: &Value, now: Timestamp, work: &str) -> Vec<Value> {
    let parameters = match text(object, "/spec/paramKind/kind") {
        "" => UNSET.to_owned(),
        kind => format!("{}/{kind}", text(object, "/spec/paramKind/apiVersion")),
    };
    vec![meta::name(object).into(), list(object, work).len().into(), parameters.into(), age(object, now).into()]
}

pub(super) fn validating_policy(object: &Value, now: Timestamp) -> Vec<Value> {
    policy(object, now, "/spec/validations")
}

pub(super) fn mutating_policy(object: &Value, now: Timestamp) -> Vec<Value> {
    policy(object, now, "/spec/mutations")
}

pub(super) fn policy_binding(object: &Value, now: Timestamp) -> Vec<Value> {
    let parameters = match object.pointer("/spec/paramRef") {
        Some(Value::Object(_)) if !text(object, "/spec/paramRef/name").is_empty() => {
            match text(object, "/spec/paramRef/namespace") {
                "" => format!("*/{}", text(object, "/spec/paramRef/name")),
                namespace => format!("{namespace}/{}", text(object, "/spec/paramRef/name")),
            }
        }
        Some(Value::Object(_)) => super::format::selector(object, "/spec/paramRef/selector"),
        _ => UNSET.to_owned(),
    };
    vec![meta::name(object).into(), text(object, "/spec/policyName").into(), parameters.into(), age(object, now).into()]
}

pub(super) fn trust_bundle(object: &Value, _now: Timestamp) -> Vec<Value> {
    vec![meta::name(object).into(), text_or_none(object, "/spec/signerName").into()]
}

pub(super) fn certificate_request(object: &Value, _now: Timestamp) -> Vec<Value> {
    let settled = ["Denied", "Failed", "Issued"].into_iter().find(|it| super::format::holds(object, it));
    vec![
        meta::name(object).into(),
        text(object, "/spec/podName").into(),
        text(object, "/spec/serviceAccountName").into(),
        text(object, "/spec/nodeName").into(),
        text(object, "/spec/signerName").into(),
        settled.unwrap_or("Pending").into(),
    ]
}

pub(super) fn lease_candidate(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(object).into(),
        text(object, "/spec/leaseName").into(),
        text(object, "/spec/binaryVersion").into(),
        text(object, "/spec/emulationVersion").into(),
        text(object, "/spec/strategy").into(),
        age(object, now).into(),
    ]
}

pub(super) fn resource_claim(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut states = Vec::new();
    if meta::deleted(object).is_some() {
        states.push("deleted");
    }
    match object.pointer("/status/allocation") {
        Some(Value::Object(_)) => states.push("allocated"),
        _ if states.is_empty() => states.push("pending"),
        _ => {}
    }
    if !list(object, "/status/reservedFor").is_empty() {
        states.push("reserved");
    }
    vec![meta::name(object).into(), states.join(",").into(), age(object, now).into()]
}

pub(super) fn resource_slice(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(object).into(),
        text_or_none(object, "/spec/nodeName").into(),
        text(object, "/spec/driver").into(),
        text(object, "/spec/pool/name").into(),
        age(object, now).into(),
    ]
}

pub(super) fn component_status(object: &Value, _now: Timestamp) -> Vec<Value> {
    let healthy = list(object, "/conditions").iter().find(|it| it["type"] == "Healthy");
    let of = |field: &str| healthy.map_or("", |it| text(it, field));
    let status = match of("/status") {
        "True" => "Healthy",
        "False" => "Unhealthy",
        _ => "Unknown",
    };
    vec![meta::name(object).into(), status.into(), of("/message").into(), of("/error").into()]
}
