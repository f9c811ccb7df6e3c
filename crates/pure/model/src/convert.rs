//! Conversion between the served versions of a kind and its stored form.
//!
//! Start at [`to_stored`] and [`from_stored`]. Most versions differ in `apiVersion` alone.

use serde_json::Value;

use crate::{kinds::Kind, meta};

/// Turns an object of a served version into the stored form of its kind.
pub fn to_stored(kind: &Kind, mut object: Value) -> Value {
    relabel(&mut object, &kind.stored_as.0, &kind.stored_as.1);
    object
}

/// Turns a stored object into the given version of its kind.
pub fn from_stored(kind: &Kind, mut object: Value) -> Value {
    relabel(&mut object, &kind.api_version(), &kind.kind);
    object
}

/// Whether the stored form is this version as it is, so that stored bytes can be served unchanged.
pub fn is_stored_form(kind: &Kind) -> bool {
    kind.stored_as.0 == kind.api_version()
}

fn relabel(object: &mut Value, api_version: &str, kind: &str) {
    let map = meta::as_map(object);
    map.insert("apiVersion".into(), api_version.into());
    map.insert("kind".into(), kind.into());
}
