//! What a value was, laid beside what it is. Entry point: [`aligned`].
//!
//! The order of sets, and of lists whose items have keys, says nothing: Kubernetes holds two of them to be equal that have
//! the same members. Where they do, the value before is put in the order of the one now, so that rules see no difference.

use std::collections::BTreeMap;

use eyot_model::custom::schema::{Additional, ListType, Schema};
use serde_json::Value as Json;

/// The value before, in the order of the one now.
pub(crate) fn aligned(old: &Json, new: &Json, schema: &Schema) -> Json {
    match (old, new) {
        (Json::Object(before), Json::Object(now)) => {
            let field = |(name, old): (&String, &Json)| {
                let (Some(new), Some(schema)) = (now.get(name), schema.property(name)) else {
                    return (name.clone(), old.clone());
                };
                (name.clone(), aligned(old, new, schema))
            };
            Json::Object(before.iter().map(field).collect())
        }
        (Json::Array(before), Json::Array(now)) if before.len() == now.len() => {
            let Some(items) = schema.items.as_deref() else { return old.clone() };
            let each = |pair: (&Json, &Json)| aligned(pair.0, pair.1, items);
            match &schema.list {
                ListType::Set => members(before, now, Json::clone).map_or_else(|| old.clone(), Json::Array),
                ListType::Map(keys) => {
                    let key = |it: &Json| -> Json {
                        keys.iter().map(|key| it.get(key).cloned().unwrap_or_default()).collect()
                    };
                    let ordered = members(before, now, key).unwrap_or_else(|| before.clone());
                    Json::Array(ordered.iter().zip(now).map(each).collect())
                }
                _ => Json::Array(before.iter().zip(now).map(each).collect()),
            }
        }
        _ => old.clone(),
    }
}

/// Items in the order of others with the same keys; `None` where these have other keys, or one twice.
fn members(items: &[Json], others: &[Json], key: impl Fn(&Json) -> Json) -> Option<Vec<Json>> {
    let mut known: BTreeMap<String, &Json> = items.iter().map(|it| (key(it).to_string(), it)).collect();
    if known.len() != items.len() {
        return None;
    }
    others.iter().map(|it| known.remove(&key(it).to_string()).cloned()).collect()
}

/// Whether there is anything in a schema whose order says nothing.
pub(crate) fn has_unordered(schema: &Schema) -> bool {
    matches!(schema.list, ListType::Set | ListType::Map(_))
        || schema.items.as_deref().is_some_and(has_unordered)
        || schema.properties.values().any(has_unordered)
        || matches!(&schema.additional, Additional::Schema(it) if has_unordered(it))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(old: Json, new: Json, expected: Json) {
        let keyed = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "n": {"type": "integer"},
                "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}}}});
        let schema = Schema::parse(&json!({"type": "object", "properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}, "keyed": keyed,
            "plain": {"type": "array", "items": {"type": "string"}}}}));
        assert_eq!(aligned(&old, &new, &schema), expected);
        assert!(has_unordered(&schema));
    }

    #[test]
    fn what_has_no_order_takes_that_of_what_is() {
        check(json!({"set": ["a", "b", "c"]}), json!({"set": ["c", "a", "b"]}), json!({"set": ["c", "a", "b"]}));
        check(json!({"set": ["a", "b"]}), json!({"set": ["b", "c"]}), json!({"set": ["a", "b"]}));
        check(json!({"plain": ["a", "b"]}), json!({"plain": ["b", "a"]}), json!({"plain": ["a", "b"]}));
        check(
            json!({"keyed": [{"k": "a", "n": 1, "tags": ["x", "y"]}, {"k": "b"}]}),
            json!({"keyed": [{"k": "b"}, {"k": "a", "n": 2, "tags": ["y", "x"]}]}),
            json!({"keyed": [{"k": "b"}, {"k": "a", "n": 1, "tags": ["y", "x"]}]}),
        );
        check(
            json!({"keyed": [{"k": "a"}, {"k": "a"}]}),
            json!({"keyed": [{"k": "a"}, {"k": "b"}]}),
            json!({"keyed": [{"k": "a"}, {"k": "a"}]}),
        );
        check(json!({"set": null}), json!({"set": ["a"]}), json!({"set": null}));
    }
}
