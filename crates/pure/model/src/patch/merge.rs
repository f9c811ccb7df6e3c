//! JSON merge patch, RFC 7386.

use serde_json::Value;

use super::PatchError;

/// Merges objects, deletes what the patch sets to null, and replaces everything else.
pub fn apply(current: &Value, patch: &Value) -> Result<Value, PatchError> {
    if !patch.is_object() {
        let found = super::type_name(patch);
        return Err(PatchError::Malformed(format!(
            "json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
        )));
    }
    let mut patched = current.clone();
    json_patch::merge(&mut patched, patch);
    Ok(patched)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_merge_nulls_delete_and_lists_are_replaced() {
        let current = json!({"a": {"b": 1, "c": 2}, "l": [1, 2]});
        let patched = apply(&current, &json!({"a": {"b": null, "d": 3}, "l": [3]})).expect("applies");
        assert_eq!(patched, json!({"a": {"c": 2, "d": 3}, "l": [3]}));
        assert!(apply(&current, &json!([])).is_err());
    }
}
