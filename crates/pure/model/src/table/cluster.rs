//! Rows of nodes, namespaces, configuration, storage, roles and registration kinds.

use jiff::Timestamp;
use serde_json::Value;

use super::format::{
    NONE, access_modes, age, condition, entries, holds, joined, list, number, since, text, text_or_none, truth,
};
use crate::meta;

pub(super) fn node(object: &Value, now: Timestamp) -> Vec<Value> {
    let ready = condition(object, "Ready").map(|it| if it["status"] == "True" { "Ready" } else { "NotReady" });
    let cordoned = if truth(object, "/spec/unschedulable") { ",SchedulingDisabled" } else { "" };
    let address = |of_type: &str| {
        let found = list(object, "/status/addresses").iter().find(|it| it["type"] == of_type);
        found.map_or(NONE, |it| text(it, "/address"))
    };
    let unknown = |pointer: &str| match text(object, pointer) {
        "" => "<unknown>",
        known => known,
    };
    vec![
        meta::name(object).into(),
        format!("{}{cordoned}", ready.unwrap_or("Unknown")).into(),
        roles(object).into(),
        age(object, now).into(),
        text(object, "/status/nodeInfo/kubeletVersion").into(),
        address("InternalIP").into(),
        address("ExternalIP").into(),
        unknown("/status/nodeInfo/osImage").into(),
        unknown("/status/nodeInfo/kernelVersion").into(),
        unknown("/status/nodeInfo/containerRuntimeVersion").into(),
    ]
}

fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = meta::labels(node)
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None => Some(value).filter(|_| key == "kubernetes.io/role"),
        })
        .collect();
    roles.sort_unstable();
    roles.dedup();
    joined(roles)
}

pub(super) fn namespace(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![meta::name(object).into(), text(object, "/status/phase").into(), age(object, now).into()]
}

pub(super) fn config_map(object: &Value, now: Timestamp) -> Vec<Value> {
    let count = entries(object, "/data") + entries(object, "/binaryData");
    vec![meta::name(object).into(), count.into(), age(object, now).into()]
}

pub(super) fn secret(object: &Value, now: Timestamp) -> Vec<Value> {
    let of_type = text(object, "/type");
    vec![meta::name(object).into(), of_type.into(), entries(object, "/data").into(), age(object, now).into()]
}

pub(super) fn service_account(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![meta::name(object).into(), list(object, "/secrets").len().into(), age(object, now).into()]
}

pub(super) fn event(object: &Value, now: Timestamp) -> Vec<Value> {
    let time = |pointer: &str| meta::time(object.pointer(pointer));
    let first = time("/firstTimestamp").or_else(|| time("/eventTime"));
    let last = time("/series/lastObservedTime").or_else(|| time("/lastTimestamp")).or(first);
    // The same event under its two groups.
    let either = |old: &str, new: &str| {
        let (old, new) = (text(object, old), text(object, new));
        if old.is_empty() { new.to_owned() } else { old.to_owned() }
    };
    let count = match number(object, "/series/count") {
        0 => number(object, "/count").max(number(object, "/deprecatedCount")).max(1),
        series => series,
    };
    let kind = either("/involvedObject/kind", "/regarding/kind").to_lowercase();
    let source = match text(object, "/source/host") {
        "" => either("/source/component", "/reportingController"),
        host => format!("{}, {host}", text(object, "/source/component")),
    };
    let source = if source.is_empty() { text(object, "/reportingComponent").to_owned() } else { source };
    vec![
        since(last, now).into(),
        text(object, "/type").into(),
        text(object, "/reason").into(),
        format!("{kind}/{}", either("/involvedObject/name", "/regarding/name")).into(),
        either("/involvedObject/fieldPath", "/regarding/fieldPath").into(),
        source.into(),
        either("/message", "/note").trim().into(),
        since(first, now).into(),
        count.into(),
        meta::name(object).into(),
    ]
}

pub(super) fn lease(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![meta::name(object).into(), text(object, "/spec/holderIdentity").into(), age(object, now).into()]
}

pub(super) fn runtime_class(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![meta::name(object).into(), text(object, "/handler").into(), age(object, now).into()]
}

pub(super) fn storage_class(object: &Value, now: Timestamp) -> Vec<Value> {
    let name = meta::name(object).unwrap_or("");
    let default = meta::annotation(object, "storageclass.kubernetes.io/is-default-class") == Some("true");
    vec![
        format!("{name}{}", if default { " (default)" } else { "" }).into(),
        text(object, "/provisioner").into(),
        text(object, "/reclaimPolicy").into(),
        text(object, "/volumeBindingMode").into(),
        truth(object, "/allowVolumeExpansion").into(),
        age(object, now).into(),
    ]
}

pub(super) fn volume(object: &Value, now: Timestamp) -> Vec<Value> {
    let claim = match text(object, "/spec/claimRef/name") {
        "" => String::new(),
        name => format!("{}/{name}", text(object, "/spec/claimRef/namespace")),
    };
    let phase = text(object, "/status/phase");
    vec![
        meta::name(object).into(),
        text(object, "/spec/capacity/storage").into(),
        access_modes(object, "/spec/accessModes").into(),
        text(object, "/spec/persistentVolumeReclaimPolicy").into(),
        if meta::deleted(object).is_some() { "Terminating" } else { phase }.into(),
        claim.into(),
        text(object, "/spec/storageClassName").into(),
        unset(object, "/spec/volumeAttributesClassName").into(),
        text(object, "/status/reason").into(),
        age(object, now).into(),
        unset(object, "/spec/volumeMode").into(),
    ]
}

pub(super) fn volume_claim(object: &Value, now: Timestamp) -> Vec<Value> {
    let phase = text(object, "/status/phase");
    vec![
        meta::name(object).into(),
        if meta::deleted(object).is_some() { "Terminating" } else { phase }.into(),
        text(object, "/spec/volumeName").into(),
        text(object, "/status/capacity/storage").into(),
        access_modes(object, "/status/accessModes").into(),
        text(object, "/spec/storageClassName").into(),
        unset(object, "/spec/volumeAttributesClassName").into(),
        age(object, now).into(),
        unset(object, "/spec/volumeMode").into(),
    ]
}

fn unset<'a>(object: &'a Value, pointer: &str) -> &'a str {
    Some(text(object, pointer)).filter(|it| !it.is_empty()).unwrap_or("<unset>")
}

/// Kinds whose row is a name and when it was made.
pub(super) fn created_at(object: &Value, _now: Timestamp) -> Vec<Value> {
    vec![meta::name(object).into(), text(object, "/metadata/creationTimestamp").into()]
}

pub(super) fn role_binding(object: &Value, now: Timestamp) -> Vec<Value> {
    let of_kind = |kind: &str| {
        let subjects = list(object, "/subjects").iter().filter(|it| it["kind"] == kind);
        let names = subjects.map(|it| match text(it, "/namespace") {
            namespace if kind == "ServiceAccount" => format!("{namespace}/{}", text(it, "/name")),
            _ => text(it, "/name").to_owned(),
        });
        names.collect::<Vec<_>>().join(", ")
    };
    vec![
        meta::name(object).into(),
        format!("{}/{}", text(object, "/roleRef/kind"), text(object, "/roleRef/name")).into(),
        age(object, now).into(),
        of_kind("User").into(),
        of_kind("Group").into(),
        of_kind("ServiceAccount").into(),
    ]
}

pub(super) fn resource_quota(object: &Value, now: Timestamp) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (name, hard) in meta::strings(object.pointer("/status/hard")) {
        let used = object.pointer("/status/used").and_then(|it| it.get(name)).and_then(Value::as_str).unwrap_or("0");
        let list = if name.starts_with("limits") { &mut limits } else { &mut requests };
        list.push(format!("{name}: {used}/{hard}"));
    }
    let (requests, limits) = (requests.join(", "), limits.join(", "));
    vec![meta::name(object).into(), requests.into(), limits.into(), age(object, now).into()]
}

pub(super) fn priority_class(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(object).into(),
        number(object, "/value").into(),
        truth(object, "/globalDefault").into(),
        age(object, now).into(),
        text(object, "/preemptionPolicy").into(),
    ]
}

pub(super) fn api_service(object: &Value, now: Timestamp) -> Vec<Value> {
    let service = match text(object, "/spec/service/name") {
        "" => "Local".into(),
        name => format!("{}/{name}", text(object, "/spec/service/namespace")),
    };
    let available = condition(object, "Available").map_or("Unknown".into(), |it| match it["status"].as_str() {
        Some("True") => "True".into(),
        other => format!("{} ({})", other.unwrap_or("Unknown"), text(it, "/reason")),
    });
    vec![meta::name(object).into(), service.into(), available.into(), age(object, now).into()]
}

pub(super) fn signing_request(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut state = match (holds(object, "Approved"), holds(object, "Denied")) {
        (_, true) => "Denied",
        (true, _) => "Approved",
        _ => "Pending",
    }
    .to_owned();
    if holds(object, "Failed") {
        state += ",Failed";
    }
    if !text(object, "/status/certificate").is_empty() {
        state += ",Issued";
    }
    let duration = object.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
    vec![
        meta::name(object).into(),
        age(object, now).into(),
        text_or_none(object, "/spec/signerName").into(),
        text(object, "/spec/username").into(),
        duration.map_or_else(|| NONE.into(), super::format::human_duration).into(),
        state.into(),
    ]
}

pub(super) fn webhooks(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![meta::name(object).into(), list(object, "/webhooks").len().into(), age(object, now).into()]
}

pub(super) fn csi_node(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![meta::name(object).into(), list(object, "/spec/drivers").len().into(), age(object, now).into()]
}

/// Kinds whose row is a name and an age.
pub(super) fn plain(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![meta::name(object).into(), age(object, now).into()]
}
