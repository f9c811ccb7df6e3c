//! Match conditions of hooks.
//!
//! They are not evaluated yet: a hook that has any counts as one whose conditions failed, as its failure policy says.

use eyot_model::status::ApiError;
use serde_json::Value;

use super::{super::Attempt, hook::Hook, rules::Wanted};

/// One condition.
pub(super) struct Condition {
    name: String,
}

impl Condition {
    pub(super) fn read(condition: &Value) -> Condition {
        Condition { name: condition["name"].as_str().unwrap_or_default().to_owned() }
    }
}

/// Whether all conditions hold.
pub(super) fn hold(hook: &Hook, _: &Wanted, attempt: &Attempt<'_>, _: &Value) -> Result<bool, ApiError> {
    let Some(condition) = hook.conditions.first() else { return Ok(true) };
    if hook.ignores_failures {
        return Ok(false);
    }
    let why = format!("webhook {:?}: match condition {:?} cannot be evaluated", hook.name, condition.name);
    Err(ApiError::forbidden(attempt.kind, attempt.name, &why))
}
