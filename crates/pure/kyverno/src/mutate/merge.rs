//! Merges a patch into an object as kustomize does.
//!
//! Entry point: [`merge`]. Lists whose elements have a merge key are merged by it, those of the patch first; other lists
//! are replaced. `null` removes a field, and `$patch` replaces or deletes what it stands in.

use eyot_model::{
    kinds,
    schema::{PatchStrategy, Shape, root},
};
use serde_json::{Map, Value};

const DIRECTIVE: &str = "$patch";

/// The object with the patch in it.
pub(super) fn merge(object: &Value, patch: &Value) -> Value {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let kind = object["kind"].as_str().unwrap_or_default();
    let shape = kinds::builtin().by_api_version(api_version, kind).and_then(|it| root(it)).unwrap_or(Shape::Any);
    let mut merged = object.clone();
    if let (Value::Object(into), Value::Object(patch)) = (&mut merged, patch) {
        merge_map(into, patch, &shape);
    }
    merged
}

fn field(shape: &Shape, name: &str) -> (Shape, PatchStrategy) {
    match shape {
        Shape::Map(value) => ((**value).clone(), PatchStrategy::default()),
        _ => shape.field(name).map_or((Shape::Any, PatchStrategy::default()), |it| (it.shape.clone(), it.patch)),
    }
}

fn merge_map(into: &mut Map<String, Value>, patch: &Map<String, Value>, shape: &Shape) {
    if patch.get(DIRECTIVE).is_some_and(|it| it == "replace") {
        into.clear();
    }
    for (name, value) in patch.iter().filter(|it| it.0 != DIRECTIVE) {
        let (shape, strategy) = field(shape, name);
        match value {
            Value::Null => drop(into.remove(name)),
            Value::Object(value) if value.get(DIRECTIVE).is_some_and(|it| it == "delete") => drop(into.remove(name)),
            Value::Object(value) => {
                let slot = into.entry(name.as_str()).or_insert(Value::Null);
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Value::Object(slot) = slot {
                    merge_map(slot, value, &shape);
                }
            }
            Value::Array(value) => {
                let old = into.remove(name);
                let merged = match (old, strategy.merge) {
                    (Some(Value::Array(old)), true) => merge_list(old, value, &shape, strategy),
                    _ => value.iter().filter(|it| it.get(DIRECTIVE).is_none()).map(without_nulls).collect(),
                };
                into.insert(name.clone(), Value::Array(merged));
            }
            other => drop(into.insert(name.clone(), other.clone())),
        }
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
