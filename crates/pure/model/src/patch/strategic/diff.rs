//! Makes strategic merge patches as kubectl does, to test that they apply.
//!
//! A reference for tests alone: the patch that turns one object into another, with the directives kubectl uses for
//! lists that merge (`$setElementOrder`, `$patch: delete`, `$deleteFromPrimitiveList`, `$retainKeys`).

use serde_json::{Map, Value, json};

use super::{DELETE_PRIMITIVES, ELEMENT_ORDER, field};
use crate::schema::{PatchStrategy, Shape};

pub(super) fn diff(from: &Map<String, Value>, to: &Map<String, Value>, shape: &Shape) -> Map<String, Value> {
    let mut patch = Map::new();
    for name in from.keys().filter(|it| !to.contains_key(*it)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, new) in to {
        let (shape, strategy) = field(shape, name);
        match (from.get(name), new) {
            (Some(old), new) if old == new => {}
            (Some(Value::Object(old)), Value::Object(new)) => {
                let mut inner = diff(old, new, &shape);
                if strategy.retain_keys {
                    inner.insert("$retainKeys".into(), keys(new));
                }
                patch.insert(name.clone(), Value::Object(inner));
            }
            (Some(Value::Array(old)), Value::Array(new)) if strategy.merge => {
                list(&mut patch, name, (old, new), &shape, strategy);
            }
            (_, new) => drop(patch.insert(name.clone(), new.clone())),
        }
    }
    patch
}

fn list(
    patch: &mut Map<String, Value>,
    name: &str,
    (old, new): (&[Value], &[Value]),
    shape: &Shape,
    strategy: PatchStrategy,
) {
    let Some(key) = strategy.key else {
        let gone: Vec<Value> = old.iter().filter(|it| !new.contains(it)).cloned().collect();
        let added: Vec<Value> = new.iter().filter(|it| !old.contains(it)).cloned().collect();
        patch.insert(format!("{ELEMENT_ORDER}{name}"), json!(new));
        patch.insert(format!("{DELETE_PRIMITIVES}{name}"), json!(gone));
        patch.insert(name.into(), json!(added));
        return;
    };
    let item = if let Shape::List(item) = shape { item } else { shape };
    let mut changes = Vec::new();
    for element in new {
        match old.iter().find(|it| it[key] == element[key]) {
            Some(before) if before == element => {}
            before => {
                let empty = Map::new();
                let before = before.and_then(Value::as_object).unwrap_or(&empty);
                let after = element.as_object().expect("an object");
                let mut change = diff(before, after, item);
                change.insert(key.into(), element[key].clone());
                if strategy.retain_keys {
                    change.insert("$retainKeys".into(), keys(after));
                }
                changes.push(Value::Object(change));
            }
        }
    }
    for gone in old.iter().filter(|it| !new.iter().any(|new| new[key] == it[key])) {
        changes.push(json!({key: gone[key], "$patch": "delete"}));
    }
    let order: Vec<Value> = new.iter().map(|it| json!({key: it[key]})).collect();
    patch.insert(format!("{ELEMENT_ORDER}{name}"), json!(order));
    patch.insert(name.into(), json!(changes));
}

fn keys(object: &Map<String, Value>) -> Value {
    object.keys().map(|it| Value::from(it.as_str())).collect()
}
