//! Accessors over the metadata of an object held as a [`Value`].
//!
//! All are total: a missing or mistyped field reads as absent.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// A string at `/metadata/FIELD`.
fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get("metadata")?.get(field)?.as_str().filter(|it| !it.is_empty())
}

/// `metadata.name`.
pub fn name(object: &Value) -> Option<&str> {
    text(object, "name")
}

/// `metadata.generateName`.
pub fn generate_name(object: &Value) -> Option<&str> {
    text(object, "generateName")
}

/// `metadata.namespace`.
pub fn namespace(object: &Value) -> Option<&str> {
    text(object, "namespace")
}

/// `metadata.uid`.
pub fn uid(object: &Value) -> Option<&str> {
    text(object, "uid")
}

/// `metadata.resourceVersion`.
pub fn resource_version(object: &Value) -> Option<&str> {
    text(object, "resourceVersion")
}

/// `metadata.generation`, 0 when absent.
pub fn generation(object: &Value) -> i64 {
    object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0)
}

/// `metadata.creationTimestamp`.
pub fn created(object: &Value) -> Option<Timestamp> {
    time(object.pointer("/metadata/creationTimestamp"))
}

/// `metadata.deletionTimestamp`.
pub fn deleted(object: &Value) -> Option<Timestamp> {
    time(object.pointer("/metadata/deletionTimestamp"))
}

/// `metadata.deletionGracePeriodSeconds`.
pub fn deletion_grace_seconds(object: &Value) -> Option<i64> {
    object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64)
}

/// `metadata.labels`, empty when absent.
pub fn labels(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    strings(object.pointer("/metadata/labels"))
}

/// `metadata.annotations`, empty when absent.
pub fn annotations(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    strings(object.pointer("/metadata/annotations"))
}

/// One annotation.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

/// `metadata.finalizers`, empty when absent.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    list(object.pointer("/metadata/finalizers")).iter().filter_map(Value::as_str)
}

/// `metadata.ownerReferences`, empty when absent.
pub fn owners(object: &Value) -> &[Value] {
    list(object.pointer("/metadata/ownerReferences"))
}

/// The owner with `controller: true`.
pub fn controller(object: &Value) -> Option<&Value> {
    owners(object).iter().find(|it| it.get("controller") == Some(&Value::Bool(true)))
}

/// The metadata as a map, made when absent; a mistyped one is replaced.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    entry(object, "metadata")
}

/// A field of an object as a map, made when absent; a mistyped one is replaced.
pub fn entry<'a>(object: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    as_map(as_map(object).entry(field).or_insert(Value::Null))
}

/// A value as a map, replaced by an empty one when it is none.
pub fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}

/// A list, empty when absent or mistyped.
pub fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The string entries of a map, empty when absent or mistyped.
pub fn strings(value: Option<&Value>) -> impl Iterator<Item = (&str, &str)> {
    value.and_then(Value::as_object).into_iter().flatten().filter_map(|(k, v)| Some((k.as_str(), v.as_str()?)))
}

/// An RFC 3339 time, `None` when absent or malformed.
pub fn time(value: Option<&Value>) -> Option<Timestamp> {
    value?.as_str()?.parse().ok()
}

/// A time as `metav1.Time` writes it: whole seconds in UTC, `2026-01-02T03:04:05Z`.
pub fn format_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time as `metav1.MicroTime` writes it: six decimals, `2026-01-02T03:04:05.000006Z`.
pub fn format_micro_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
