//! JSON merge patch, RFC 7386.

use serde_json::Value;

use super::PatchError;

/// Merges objects, deletes what the patch sets to null, and replaces everything else.
pub fn apply(current: &Value, patch: &Value) -> Result<Value, PatchError> {
    if !patch.is_object() {
        return Err(PatchError::Malformed(format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            super::type_name(patch)
        )));
    }
    let mut patched = current.clone();
    json_patch::merge(&mut patched, patch);
    Ok(patched)
}
