//! Merges a partial object into another, without owners. Entry points: [`overlay`], and [`overlay_onto`] in place.

use serde_json::Value;

use super::{
    ApplyError,
    fieldset::strict,
    merge::merge_onto,
    types::{Form, Schema, Type},
};
use crate::kinds::Kind;

/// `live` with everything that `config` says, as an apply merges it; nothing is noted about who said it.
///
/// # Errors
/// When the configuration contradicts the schema, or sets part of something that is replaced whole: what it does not
/// mention there would be lost.
pub fn overlay(kind: &Kind, live: &Value, config: &Value) -> Result<Value, ApplyError> {
    let mut merged = live.clone();
    overlay_onto(kind, &mut merged, config)?;
    Ok(merged)
}

/// The same in place. Says whether that changed anything; on an error nothing did.
///
/// # Errors
/// As [`overlay`].
pub fn overlay_onto(kind: &Kind, live: &mut Value, config: &Value) -> Result<bool, ApplyError> {
    let schema = Schema::of(kind);
    let of = schema.root();
    strict(of, config).map_err(ApplyError::Schema)?;
    let mut atomic = Vec::new();
    find_atomic(of, config, &mut String::new(), &mut atomic);
    if !atomic.is_empty() {
        let what = format!("may not mutate atomic arrays, maps or structs: {}", atomic.join(", "));
        return Err(ApplyError::Schema(vec![what]));
    }
    Ok(merge_onto(of, live, config))
}

/// Collects the paths of lists and maps that are replaced whole.
fn find_atomic(of: Type<'_>, value: &Value, path: &mut String, found: &mut Vec<String>) {
    let here = path.len();
    match (of.form(value), value) {
        (Some(Form::Leaf), Value::Object(_) | Value::Array(_)) => found.push(path.clone()),
        (Some(Form::Map), Value::Object(map)) => {
            for (name, value) in map {
                path.push('.');
                path.push_str(name);
                find_atomic(of.field(name).of, value, path, found);
                path.truncate(here);
            }
        }
        (Some(Form::List(list)), Value::Array(items)) => {
            for (i, item) in items.iter().enumerate() {
                path.push_str(&format!("[{i}]"));
                find_atomic(list.item, item, path, found);
                path.truncate(here);
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
        let mut again = merged.clone();
        assert_eq!(overlay_onto(pods, &mut again, &config), Ok(false), "it says all of that already");
        assert_eq!(again, merged);
        let reversed = pod(json!([{"name": "b"}, {"name": "a"}]));
        assert_eq!(overlay_onto(pods, &mut again, &reversed), Ok(true), "items have an order");
        assert_eq!(again, overlay(pods, &merged, &reversed).expect("merges"));
        let config = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a", "args": ["x"]}]}});
        let error = overlay(pods, &live, &config).expect_err("args are one value");
        assert_eq!(error.to_string(), "may not mutate atomic arrays, maps or structs: .spec.containers[0].args");
        let config = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"gone": 1}});
        assert!(overlay(pods, &live, &config).is_err());
    }
}
