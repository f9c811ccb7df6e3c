//! Drops what a schema does not know. Entry point: [`prune`]. Pruning twice changes nothing more.

use serde_json::Value;

use super::schema::{Additional, Schema};

/// Fields that every object has, whatever its schema says.
pub(super) const META: [&str; 3] = ["apiVersion", "kind", "metadata"];
/// Most paths of unknown fields that are told.
const PATHS_MAX: usize = 100;

/// Removes the fields of a custom object that its schema does not know, and tells their paths in order.
pub fn prune(object: &mut Value, schema: &Schema) -> Vec<String> {
    let mut walk = Walk { path: String::new(), unknown: Vec::new() };
    walk.map(object, Some(schema), schema.preserve_unknown, true);
    walk.unknown.sort();
    walk.unknown
}

/// [`prune`] for a value inside of an object.
pub fn prune_within(value: &mut Value, schema: &Schema) -> Vec<String> {
    let mut walk = Walk { path: String::new(), unknown: Vec::new() };
    walk.value(value, Some(schema), false);
    walk.unknown.sort();
    walk.unknown
}

/// Visits the metadata of an object, and of objects embedded in it, with their paths; ends at the first error.
pub(crate) fn each_metadata<E>(
    object: &mut Value,
    schema: &Schema,
    visit: &mut dyn FnMut(String, &mut Value) -> Result<(), E>,
) -> Result<(), E> {
    if let Some(metadata) = object.get_mut("metadata").filter(|it| !it.is_null()) {
        visit("metadata".to_owned(), metadata)?;
    }
    embedded(object, schema, "", visit)
}

fn embedded<E>(
    value: &mut Value,
    schema: &Schema,
    path: &str,
    visit: &mut dyn FnMut(String, &mut Value) -> Result<(), E>,
) -> Result<(), E> {
    match value {
        Value::Object(map) => {
            let dot = if path.is_empty() { "" } else { "." };
            for (name, value) in map {
                let path = format!("{path}{dot}{name}");
                if schema.embedded && name == "metadata" && !dot.is_empty() && !value.is_null() {
                    visit(path, value)?;
                } else if let Some(property) = schema.property(name) {
                    embedded(value, property, &path, visit)?;
                }
            }
            Ok(())
        }
        Value::Array(list) => {
            let Some(items) = schema.items.as_deref() else { return Ok(()) };
            let items = |(i, item): (usize, &mut Value)| embedded(item, items, &format!("{path}[{i}]"), visit);
            list.iter_mut().enumerate().try_for_each(items)
        }
        _ => Ok(()),
    }
}

struct Walk {
    path: String,
    unknown: Vec<String>,
}

impl Walk {
    fn value(&mut self, value: &mut Value, schema: Option<&Schema>, keep: bool) {
        let keep = keep || schema.is_some_and(|it| it.preserve_unknown);
        match value {
            Value::Object(_) => self.map(value, schema, keep, schema.is_some_and(|it| it.embedded)),
            Value::Array(list) => {
                let items = schema.and_then(|it| it.items.as_deref());
                for (i, item) in list.iter_mut().enumerate() {
                    self.child(&format!("[{i}]"), |walk| walk.value(item, items, keep));
                }
            }
            _ => {}
        }
    }

    fn map(&mut self, value: &mut Value, schema: Option<&Schema>, keep: bool, resource: bool) {
        let Value::Object(map) = value else { return };
        map.retain(|name, value| {
            if resource && META.contains(&name.as_str()) {
                return true;
            }
            let known = schema.and_then(|it| it.properties.get(name));
            let dot = if self.path.is_empty() { "" } else { "." };
            let segment = format!("{dot}{name}");
            match (known, schema.map(|it| &it.additional)) {
                (Some(known), _) => self.child(&segment, |walk| walk.value(value, Some(known), false)),
                (None, Some(Additional::Schema(schema))) => {
                    self.child(&segment, |walk| walk.value(value, Some(schema), false));
                }
                (None, Some(Additional::Bool(true))) => {}
                _ if keep => {}
                _ => {
                    if self.unknown.len() < PATHS_MAX {
                        self.unknown.push(format!("{}{segment}", self.path));
                    }
                    return false;
                }
            }
            true
        });
    }

    fn child(&mut self, segment: &str, visit: impl FnOnce(&mut Walk)) {
        let length = self.path.len();
        self.path.push_str(segment);
        visit(self);
        self.path.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: Value, mut object: Value, expected: Value, unknown: &[&str]) {
        let schema = Schema::parse(&schema);
        assert_eq!(prune(&mut object, &schema), unknown);
        assert_eq!(object, expected);
        assert!(prune(&mut object, &schema).is_empty());
        assert_eq!(object, expected);
    }

    #[test]
    fn unknown_fields_go_and_are_told() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "a": {"type": "string"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"x": {}}}},
        }}}});
        check(
            schema,
            json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "n", "odd": 1}, "status": {}, "spec": {
                "a": "1", "b": 2, "list": [{"x": 1, "y": 2}], "map": {"k": {"x": 1, "y": 1}},
            }}),
            json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "n", "odd": 1}, "spec": {
                "a": "1", "list": [{"x": 1}], "map": {"k": {"x": 1}},
            }}),
            &["spec.b", "spec.list[0].y", "spec.map.k.y", "status"],
        );
    }

    #[test]
    fn preserved_places_keep_what_no_schema_names() {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
            "spec": {"type": "object", "properties": {"open": {"x-kubernetes-preserve-unknown-fields": true}}},
        }});
        check(
            schema,
            json!({"any": {"thing": [1, {"x": 2}]}, "spec": {"open": {"a": {"b": 1}}, "shut": 1}}),
            json!({"any": {"thing": [1, {"x": 2}]}, "spec": {"open": {"a": {"b": 1}}}}),
            &["spec.shut"],
        );
    }

    #[test]
    fn embedded_objects_keep_their_metadata() {
        let schema = json!({"type": "object", "properties": {
            "it": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
        }});
        let inner = json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}});
        check(
            schema,
            json!({"it": {"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, "x": 1}}),
            json!({"it": inner}),
            &["it.x"],
        );
    }
}
