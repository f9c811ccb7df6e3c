//! JSON patch, RFC 6902.

use serde_json::Value;

use super::PatchError;

/// Most operations in one patch, as in Kubernetes: each may copy part of the object.
pub const OPERATIONS_MAX: usize = 10_000;

/// Applies a list of operations. Either all of them apply, or none.
pub fn apply(current: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Some(operations) = patch.as_array() else {
        return Err(PatchError::Malformed(format!(
            "json: cannot unmarshal {} into Go value of type jsonpatch.Patch",
            super::type_name(patch)
        )));
    };
    if operations.len() > OPERATIONS_MAX {
        return Err(PatchError::TooLarge { limit: OPERATIONS_MAX, got: operations.len() });
    }
    let patch: json_patch::Patch =
        serde_json::from_value(patch.clone()).map_err(|e| PatchError::Malformed(e.to_string()))?;
    let mut patched = current.clone();
    json_patch::patch(&mut patched, &patch).map_err(|e| {
        PatchError::Unprocessable(format!("the server rejected our request due to an error in our request: {e}"))
    })?;
    Ok(patched)
}
