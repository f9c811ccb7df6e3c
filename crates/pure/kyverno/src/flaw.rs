//! What is wrong with a policy, and where. Entry points: [`Flaw`], [`read`].

use serde::de::DeserializeOwned;
use serde_json::Value;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Flaw {
    /// The field: `spec.rules[0].validate`.
    pub path: String,
    /// Why.
    pub message: String,
}

impl Flaw {
    /// A flaw at a field.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Flaw {
        Flaw { path: path.into(), message: message.into() }
    }

    /// The same flaw in a larger object.
    pub(crate) fn below(self, path: &str) -> Flaw {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        Flaw { path: format!("{path}{dot}{}", self.path), message: self.message }
    }
}

/// Reads a value into a type, strictly.
pub(crate) fn read<T: DeserializeOwned>(value: Value, path: &str) -> Result<T, Flaw> {
    serde_path_to_error::deserialize(value).map_err(|it| {
        let inner = it.path().to_string();
        let inner = if inner == "." { String::new() } else { inner };
        Flaw::new(inner, it.into_inner().to_string()).below(path)
    })
}
