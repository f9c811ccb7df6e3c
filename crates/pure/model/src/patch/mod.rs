//! The three patches of the Kubernetes API. Start at [`apply`].
//!
//! Server-side apply is [`crate::apply`]: it needs field ownership.

pub mod json;
pub mod merge;
pub mod strategic;

use serde_json::Value;

use crate::{
    kinds::Kind,
    status::{ApiError, Cause, CauseReason, Reason},
};

/// How a patch body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// RFC 6902, `application/json-patch+json`.
    Json,
    /// RFC 7386, `application/merge-patch+json`.
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
}

/// Why a patch does not apply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself makes no sense: 400.
    #[error("{0}")]
    Malformed(String),
    /// The patch does not fit the object: 422.
    #[error("{0}")]
    Unprocessable(String),
    /// The patch is larger than the limit: 413.
    #[error("The allowed maximum operations in a JSON patch is {limit}, got {got}")]
    TooLarge {
        /// Operations allowed.
        limit: usize,
        /// Operations asked for.
        got: usize,
    },
    /// The patch's copies add more than the limit: 413.
    #[error(
        "Unable to complete the copy, the accumulated size increase of copy operations exceeds the limit of {limit} bytes"
    )]
    CopiesTooMuch {
        /// Bytes allowed.
        limit: usize,
    },
}

impl PatchType {
    /// The patch type of a `Content-Type`, parameters ignored.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase().as_str() {
            "application/json-patch+json" => Some(Self::Json),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            _ => None,
        }
    }
}

/// Applies a patch to an object of that kind.
pub fn apply(kind: &Kind, patch_type: PatchType, current: &Value, patch: &Value) -> Result<Value, PatchError> {
    match patch_type {
        PatchType::Json => json::apply(current, patch),
        PatchType::Merge => merge::apply(current, patch),
        PatchType::Strategic => strategic::apply(kind, current, patch),
    }
}

impl PatchError {
    /// The answer a client gets.
    pub fn status(&self, kind: &Kind, name: &str) -> ApiError {
        match self {
            Self::Malformed(message) => ApiError::bad_request(message.clone()),
            // As a cause, since of an invalid object clients print the causes alone.
            Self::Unprocessable(message) => {
                let (reason, message) = (CauseReason::FieldValueInvalid, message.clone());
                ApiError::invalid(kind, name, vec![Cause { reason, message, field: "patch".into() }])
            }
            Self::TooLarge { .. } | Self::CopiesTooMuch { .. } => {
                ApiError::new(413, Reason::RequestEntityTooLarge, self.to_string())
            }
        }
    }
}

/// What Go's JSON decoder calls a value.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart_by_code() {
        let kind = crate::kinds::builtin().by_plural("apps", "v1", "deployments").expect("known");
        let status = |error: PatchError| error.status(kind, "x");
        assert_eq!(status(PatchError::Malformed("m".into())).code, 400);
        assert_eq!(status(PatchError::TooLarge { limit: 1, got: 2 }).code, 413);
        let misfit = status(PatchError::Unprocessable("does not fit".into()));
        assert_eq!(misfit.to_string(), r#"Deployment.apps "x" is invalid: patch: does not fit"#);
    }

    #[test]
    fn content_types_name_patches() {
        let of = PatchType::from_content_type;
        assert_eq!(of("application/strategic-merge-patch+json; charset=utf-8"), Some(PatchType::Strategic));
        assert_eq!(of("application/json"), None);
    }
}
