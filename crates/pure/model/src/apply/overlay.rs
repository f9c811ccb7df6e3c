//! Merges a partial object into another, without owners. Entry point: [`overlay`].

use serde_json::Value;

use super::{
    ApplyError,
    fieldset::strict,
    merge::merge,
    types::{Form, Schema, Type},
};
use crate::kinds::Kind;

/// `live` with everything that `config` says, as an apply merges it; nothing is noted about who said it.
///
/// # Errors
/// When the configuration contradicts the schema, or sets part of something that is replaced whole: what it does not
/// mention there would be lost.
pub fn overlay(kind: &Kind, live: &Value, config: &Value) -> Result<Value, ApplyError> {
    let schema = Schema::of(kind);
    let of = schema.root();
    strict(of, config).map_err(ApplyError::Schema)?;
    let mut atomic = Vec::new();
    find_atomic(of, config, "", &mut atomic);
    if !atomic.is_empty() {
        let what = format!("may not mutate atomic arrays, maps or structs: {}", atomic.join(", "));
        return Err(ApplyError::Schema(vec![what]));
    }
    Ok(merge(of, live.clone(), config))
}

/// Collects the paths of lists and maps that are replaced whole.
fn find_atomic(of: Type<'_>, value: &Value, path: &str, found: &mut Vec<String>) {
    match (of.form(value), value) {
        (Some(Form::Leaf), Value::Object(_) | Value::Array(_)) => found.push(path.to_owned()),
        (Some(Form::Map), Value::Object(map)) => {
            for (name, value) in map {
                find_atomic(of.field(name).of, value, &format!("{path}.{name}"), found);
            }
        }
        (Some(Form::List(list)), Value::Array(items)) => {
            for (i, item) in items.iter().enumerate() {
                find_atomic(list.item, item, &format!("{path}[{i}]"), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds;

    #[test]
    fn parts_are_merged_by_key_and_wholes_refused() {
        let pods = kinds::builtin().by_plural("", "v1", "pods").expect("known");
        let pod = |containers: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": containers}});
        let live = pod(json!([{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]));
        let config = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"k": "v"}},
            "spec": {"containers": [{"name": "b", "imagePullPolicy": "Always"}], "initContainers": [{"name": "i", "image": "z"}]}});
        let merged = overlay(pods, &live, &config).expect("merges");
        assert_eq!(
            merged["spec"],
            json!({"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y", "imagePullPolicy": "Always"}],
                "initContainers": [{"name": "i", "image": "z"}]})
        );
        assert_eq!(merged["metadata"], json!({"name": "a", "labels": {"k": "v"}}));
        let config = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a", "args": ["x"]}]}});
        let error = overlay(pods, &live, &config).expect_err("args are one value");
        assert_eq!(error.to_string(), "may not mutate atomic arrays, maps or structs: .spec.containers[0].args");
        let config = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"gone": 1}});
        assert!(overlay(pods, &live, &config).is_err());
    }
}
