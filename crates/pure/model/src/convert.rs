//! Conversion between the served versions of a kind and its stored form.
//!
//! Start at [`to_stored`] and [`from_stored`]. Most versions differ in `apiVersion` alone. Those that differ in
//! fields are converted here: events, horizontal pod autoscalers, and the first beta of device claims and slices.

use serde_json::{Map, Value, json};

use crate::{kinds::Kind, meta};

/// Turns an object of a served version into the stored form of its kind.
pub fn to_stored(kind: &Kind, mut object: Value) -> Value {
    match (kind.group.as_str(), kind.version.as_str(), kind.kind.as_str()) {
        ("events.k8s.io", ..) => rename(meta::as_map(&mut object), EVENT, Direction::Forth),
        ("autoscaling", "v1", _) => autoscaler_to_v2(meta::as_map(&mut object)),
        ("resource.k8s.io", "v1beta1", _) => devices(&mut object, Direction::Forth),
        _ => {}
    }
    relabel(&mut object, &kind.stored_as.0, &kind.stored_as.1);
    object
}

/// Turns a stored object into the given version of its kind.
pub fn from_stored(kind: &Kind, mut object: Value) -> Value {
    if let Some(custom) = &kind.custom {
        relabel(&mut object, &kind.api_version(), &kind.kind);
        custom.tidy(&mut object);
        return object;
    }
    match (kind.group.as_str(), kind.version.as_str(), kind.kind.as_str()) {
        ("events.k8s.io", ..) => rename(meta::as_map(&mut object), EVENT, Direction::Back),
        ("autoscaling", "v1", _) => autoscaler_to_v1(meta::as_map(&mut object)),
        ("resource.k8s.io", "v1beta1", _) => devices(&mut object, Direction::Back),
        _ => {}
    }
    relabel(&mut object, &kind.api_version(), &kind.kind);
    object
}

/// Whether the stored form is this version as it is, so that stored bytes can be served unchanged.
pub fn is_stored_form(kind: &Kind) -> bool {
    kind.stored_as.0 == kind.api_version()
}

#[derive(Clone, Copy)]
enum Direction {
    /// Served to stored.
    Forth,
    /// Stored to served.
    Back,
}

fn relabel(object: &mut Value, api_version: &str, kind: &str) {
    let map = meta::as_map(object);
    map.insert("apiVersion".into(), api_version.into());
    map.insert("kind".into(), kind.into());
}

/// Fields of `events.k8s.io/v1` and the fields of `v1` that hold the same.
const EVENT: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

fn rename(object: &mut Map<String, Value>, names: &[(&str, &str)], direction: Direction) {
    for (served, stored) in names {
        let (from, to) = match direction {
            Direction::Forth => (*served, *stored),
            Direction::Back => (*stored, *served),
        };
        if let Some(value) = object.remove(from) {
            object.insert(to.into(), value);
        }
    }
}

/// The CPU target of v1 is one of the metrics of v2.
fn autoscaler_to_v2(object: &mut Map<String, Value>) {
    let metric = |side: &str, values: Value| json!([{"type": "Resource", "resource": {"name": "cpu", side: values}}]);
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
        && let Some(percent) = spec.remove("targetCPUUtilizationPercentage")
    {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        spec.insert("metrics".into(), metric("target", target));
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut)
        && let Some(percent) = status.remove("currentCPUUtilizationPercentage")
    {
        status.insert("currentMetrics".into(), metric("current", json!({"averageUtilization": percent})));
    }
}

/// Metrics that v1 cannot say are left out of it.
fn autoscaler_to_v1(object: &mut Map<String, Value>) {
    let cpu = |metrics: Option<Value>, path: &str| {
        let metrics = metrics?;
        let metrics = meta::list(Some(&metrics)).iter();
        metrics
            .filter(|it| it.pointer("/resource/name") == Some(&"cpu".into()))
            .find_map(|it| it.pointer(path).cloned())
    };
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("behavior");
        if let Some(percent) = cpu(spec.remove("metrics"), "/resource/target/averageUtilization") {
            spec.insert("targetCPUUtilizationPercentage".into(), percent);
        }
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("conditions");
        if let Some(percent) = cpu(status.remove("currentMetrics"), "/resource/current/averageUtilization") {
            status.insert("currentCPUUtilizationPercentage".into(), percent);
        }
        status.entry("currentReplicas").or_insert(0.into());
    }
}

/// What the first beta says in a request itself, v1 says in `exactly`; the same goes for `basic` of a device.
fn devices(object: &mut Value, direction: Direction) {
    let claims = ["/spec/devices/requests", "/spec/spec/devices/requests"];
    for path in claims {
        for request in object.pointer_mut(path).and_then(Value::as_array_mut).into_iter().flatten() {
            let keep = ["name", "firstAvailable"];
            nest(meta::as_map(request), "exactly", &keep, direction);
        }
    }
    for device in object.pointer_mut("/spec/devices").and_then(Value::as_array_mut).into_iter().flatten() {
        match direction {
            Direction::Forth => nest(meta::as_map(device), "basic", &["name"], Direction::Back),
            Direction::Back => nest(meta::as_map(device), "basic", &["name"], Direction::Forth),
        }
    }
}

/// Moves all fields but some into a field of their own, or out of it.
fn nest(map: &mut Map<String, Value>, field: &str, keep: &[&str], direction: Direction) {
    match direction {
        Direction::Forth => {
            let names: Vec<String> = map.keys().filter(|it| !keep.contains(&it.as_str())).cloned().collect();
            let inner: Map<String, Value> =
                names.into_iter().filter_map(|it| map.remove(&it).map(|value| (it, value))).collect();
            if !inner.is_empty() {
                map.insert(field.into(), Value::Object(inner));
            }
        }
        Direction::Back => {
            if let Some(Value::Object(inner)) = map.remove(field) {
                map.extend(inner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::builtin;

    fn check(group: &str, version: &str, plural: &str, served: Value, stored: Value) {
        let kind = builtin().by_plural(group, version, plural).expect("known");
        assert_eq!(to_stored(kind, served.clone()), stored);
        assert_eq!(from_stored(kind, stored), served);
    }

    #[test]
    fn events_of_both_groups_are_one() {
        let served = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "note": "n", "regarding": {"name": "p"}, "reason": "r"});
        let stored = json!({"apiVersion": "v1", "kind": "Event", "message": "n", "involvedObject": {"name": "p"}, "reason": "r"});
        check("events.k8s.io", "v1", "events", served, stored);
    }

    #[test]
    fn autoscalers_of_both_versions_are_one() {
        let served = json!({
            "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
            "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 80},
        });
        let metric = json!({"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80},
        }});
        let stored = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "spec": {"maxReplicas": 3, "metrics": [metric]},
        });
        check("autoscaling", "v1", "horizontalpodautoscalers", served, stored);
    }

    #[test]
    fn device_requests_and_devices_change_their_nesting() {
        let served = json!({"apiVersion": "resource.k8s.io/v1beta1", "kind": "ResourceClaim", "spec": {"devices": {"requests": [{"name": "a", "count": 1}]}}});
        let stored = json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "spec": {"devices": {"requests": [{"name": "a", "exactly": {"count": 1}}]}}});
        check("resource.k8s.io", "v1beta1", "resourceclaims", served, stored);
        let served = json!({"apiVersion": "resource.k8s.io/v1beta1", "kind": "ResourceSlice", "spec": {"devices": [{"name": "a", "basic": {"capacity": {}}}]}});
        let stored = json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "spec": {"devices": [{"name": "a", "capacity": {}}]}});
        check("resource.k8s.io", "v1beta1", "resourceslices", served, stored);
    }

    #[test]
    fn other_versions_differ_in_name_alone() {
        let kind = builtin().by_plural("gateway.networking.k8s.io", "v1beta1", "httproutes").expect("known");
        assert!(!is_stored_form(kind));
        assert_eq!(to_stored(kind, json!({"spec": 1}))["apiVersion"], "gateway.networking.k8s.io/v1");
    }
}
