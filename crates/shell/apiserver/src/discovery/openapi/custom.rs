//! Schemas of custom kinds, as their definitions state them. Entry points: [`name`], [`schema`].
//!
//! Version 3 publishes what is stored. Version 2 cannot say everything: where anything may stand it says nothing, since
//! its clients would refuse what it does not mention.

use eyot_model::{custom::Custom, kinds::Kind};
use serde_json::{Map, Value};

use super::schemas::Dialect;

/// The name of a custom kind's schema: the group backwards, version and kind.
pub(super) fn name(kind: &Kind) -> String {
    let mut group: Vec<&str> = kind.group.split('.').collect();
    group.reverse();
    format!("{}.{}.{}", group.join("."), kind.version, kind.kind)
}

/// The schema of a custom kind; `metadata` is what objects have under that name.
pub(super) fn schema(custom: &Custom, dialect: Dialect, metadata: &Value) -> Value {
    let version: Value = serde_json::from_slice(custom.version().text()).unwrap_or_default();
    let mut schema = version.pointer("/schema/openAPIV3Schema").cloned().unwrap_or_default();
    if !schema.is_object() {
        schema = Value::Object(Map::new());
    }
    if dialect == Dialect::V2 {
        simplify(&mut schema, true);
    }
    embed(&mut schema, metadata);
    if let Some(map) = schema.as_object_mut() {
        map.insert("type".into(), "object".into());
        meta(map, metadata);
    }
    schema
}

/// Gives objects within objects their metadata.
fn embed(schema: &mut Value, metadata: &Value) {
    each(schema, &mut |it| embed(it, metadata));
    if let Some(map) =
        schema.as_object_mut().filter(|it| it.get("x-kubernetes-embedded-resource") == Some(&true.into()))
    {
        meta(map, metadata);
    }
}

fn meta(schema: &mut Map<String, Value>, metadata: &Value) {
    const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object.";
    const KIND: &str = "Kind is a string value representing the REST resource this object represents.";
    let properties = schema.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    let Some(properties) = properties.as_object_mut() else { return };
    for (name, text) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        properties.entry(name).or_insert_with(|| serde_json::json!({"type": "string", "description": text}));
    }
    properties.insert("metadata".into(), metadata.clone());
}

/// Leaves out what version 2 cannot say.
fn simplify(schema: &mut Value, root: bool) {
    each(schema, &mut |it| simplify(it, false));
    let Some(map) = schema.as_object_mut() else { return };
    let flag = |map: &Map<String, Value>, name: &str| map.get(name) == Some(&Value::Bool(true));
    for name in ["oneOf", "anyOf", "allOf", "not", "default"] {
        map.remove(name);
    }
    let open = flag(map, "x-kubernetes-preserve-unknown-fields") || flag(map, "nullable");
    if open || flag(map, "x-kubernetes-int-or-string") {
        map.remove("items");
        map.remove("properties");
        map.remove("additionalProperties");
        if !root {
            map.remove("type");
        }
    }
    map.remove("nullable");
}

/// Visits the schemas right below one.
fn each(schema: &mut Value, visit: &mut dyn FnMut(&mut Value)) {
    let Some(map) = schema.as_object_mut() else { return };
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(&mut *visit);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(name).filter(|it| it.is_object()) {
            visit(inner);
        }
    }
}
