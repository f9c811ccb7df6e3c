//! Merges a patch into an object as kustomize does.
//!
//! Entry point: [`merge`]. Lists whose elements have a merge key are merged by it, those of the patch first; other lists
//! are replaced. `null` removes a field, and `$patch` replaces or deletes what it stands in.

use eyot_model::{
    kinds,
    schema::{PatchStrategy, Shape, root},
};
use serde_json::{Map, Value};

use crate::text;

const DIRECTIVE: &str = "$patch";

/// Puts a patch into an object. Says whether that changed it, where numbers are equal by value.
pub(super) fn merge(object: &mut Value, patch: &Value) -> bool {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let kind = object["kind"].as_str().unwrap_or_default();
    let shape = kinds::builtin().by_api_version(api_version, kind).and_then(|it| root(it)).unwrap_or(Shape::Any);
    match (object, patch) {
        (Value::Object(into), Value::Object(patch)) => merge_map(into, patch, &shape),
        _ => false,
    }
}

fn field(shape: &Shape, name: &str) -> (Shape, PatchStrategy) {
    match shape {
        Shape::Map(value) => ((**value).clone(), PatchStrategy::default()),
        _ => shape.field(name).map_or((Shape::Any, PatchStrategy::default()), |it| (it.shape.clone(), it.patch)),
    }
}

fn merge_map(into: &mut Map<String, Value>, patch: &Map<String, Value>, shape: &Shape) -> bool {
    let replaced = patch.get(DIRECTIVE).is_some_and(|it| it == "replace").then(|| std::mem::take(into));
    let mut changed = false;
    for (name, value) in patch.iter().filter(|it| it.0 != DIRECTIVE) {
        let (shape, strategy) = field(shape, name);
        changed |= match value {
            Value::Null => into.remove(name).is_some(),
            Value::Object(value) if value.get(DIRECTIVE).is_some_and(|it| it == "delete") => {
                into.remove(name).is_some()
            }
            Value::Object(value) => match into.get_mut(name) {
                Some(Value::Object(slot)) => merge_map(slot, value, &shape),
                _ => {
                    let mut made = Map::new();
                    merge_map(&mut made, value, &shape);
                    into.insert(name.clone(), Value::Object(made));
                    true
                }
            },
            Value::Array(value) => {
                let old = into.remove(name);
                let merged = match (&old, strategy.merge) {
                    (Some(Value::Array(old)), true) => merge_list(old.clone(), value, &shape, strategy),
                    _ => value.iter().filter(|it| it.get(DIRECTIVE).is_none()).map(without_nulls).collect(),
                };
                let merged = Value::Array(merged);
                let changes = old.is_none_or(|old| !text::equal(&old, &merged));
                into.insert(name.clone(), merged);
                changes
            }
            other => match into.get_mut(name) {
                Some(held) if text::equal(held, other) => false,
                _ => {
                    into.insert(name.clone(), other.clone());
                    true
                }
            },
        };
    }
    match replaced {
        Some(old) => !text::equal(&Value::Object(old), &Value::Object(into.clone())),
        None => changed,
    }
}

/// New values have nothing that a null could remove.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(all) => {
            let kept = all.iter().filter(|it| !it.1.is_null());
            Value::Object(kept.map(|(key, it)| (key.clone(), without_nulls(it))).collect())
        }
        Value::Array(all) => all.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

fn merge_list(old: Vec<Value>, patch: &[Value], shape: &Shape, strategy: PatchStrategy) -> Vec<Value> {
    let item = match shape {
        Shape::List(item) => (**item).clone(),
        _ => Shape::Any,
    };
    if patch.iter().any(|it| it.get(DIRECTIVE).is_some_and(|it| it == "replace")) {
        return patch.iter().filter(|it| it.get(DIRECTIVE).is_none()).cloned().collect();
    }
    let same = |left: &Value, right: &Value| match strategy.key {
        Some(key) => left.get(key).is_some() && left.get(key) == right.get(key),
        None => left == right,
    };
    let mut rest = old;
    let mut merged: Vec<Value> = Vec::new();
    for element in patch {
        let earlier = merged.iter().position(|it| same(it, element));
        let found = rest.iter().position(|it| same(it, element)).map(|at| rest.remove(at));
        if element.get(DIRECTIVE).is_some_and(|it| it == "delete") {
            continue;
        }
        let mut base = match (earlier, found) {
            (Some(at), _) => std::mem::take(&mut merged[at]),
            (None, Some(found)) => found,
            (None, None) if element.is_object() => Value::Object(Map::new()),
            (None, None) => element.clone(),
        };
        if let (Value::Object(into), Value::Object(patch)) = (&mut base, element) {
            merge_map(into, patch, &item);
        }
        match earlier {
            Some(at) => merged[at] = base,
            None => merged.push(base),
        }
    }
    merged.extend(rest);
    merged
}
