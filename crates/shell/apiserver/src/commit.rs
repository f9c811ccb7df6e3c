//! Hands finished objects to the store. Entry points: [`create`], [`replace`], [`remove`].

use std::sync::Arc;

use eyot_model::{
    convert, fields,
    kinds::Kind,
    meta,
    status::{ApiError, Reason},
};
use eyot_store::{Attributes, Entry, Key, Revision, Write, WriteError};
use serde_json::Value;

use crate::{call::table, object, object::Encoded, server::Shared};

/// Labels and selectable fields of stored bytes; pass it to [`eyot_store::Options::new`].
pub fn attributes(resource: &str, value: &[u8]) -> Attributes {
    // A store that this server wrote holds nothing else; what cannot be read matches no selector.
    match (table().by_storage(resource), serde_json::from_slice(value)) {
        (Some(kind), Ok(object)) => attributes_of(kind, &object),
        _ => Attributes::default(),
    }
}

/// Name and namespace are left out: the key has them.
fn attributes_of(kind: &Kind, object: &Value) -> Attributes {
    let fields = fields::of(kind, object).into_iter().filter(|it| !it.0.starts_with("metadata."));
    Attributes::new(meta::labels(object), fields)
}

/// An object in the form in which it is stored.
pub(crate) struct Stored {
    encoded: Encoded,
    attributes: Attributes,
}

impl Stored {
    /// Converts and serialises an object of a served version.
    pub(crate) fn new(kind: &Kind, object: Value) -> Result<Stored, ApiError> {
        let object = if convert::is_stored_form(kind) { object } else { convert::to_stored(kind, object) };
        let stored_kind = table().by_storage(&kind.storage);
        let attributes = attributes_of(stored_kind.map_or(kind, |it| &**it), &object);
        Ok(Stored { encoded: Encoded::new(&object)?, attributes })
    }

    /// The bytes for the answer to a dry run: at the version that is there, or without one.
    pub(crate) fn rehearsed(&self, current: Option<Revision>) -> bytes::Bytes {
        current.map_or_else(|| self.encoded.unversioned(), |it| self.encoded.at(it))
    }
}

/// Creates an object.
pub(crate) async fn create(server: &Shared, key: Key, stored: Stored) -> Result<Arc<Entry>, WriteError> {
    let Stored { encoded, attributes } = stored;
    server.store.write(Write::create(key, move |it| encoded.at(it)).with_attributes(attributes)).await
}

/// Replaces version `expect` of an object.
pub(crate) async fn replace(
    server: &Shared,
    key: Key,
    expect: Revision,
    stored: Stored,
) -> Result<Arc<Entry>, WriteError> {
    let Stored { encoded, attributes } = stored;
    server.store.write(Write::update(key, expect, move |it| encoded.at(it)).with_attributes(attributes)).await
}

/// Removes the given version of an object; watchers see it as `last`, or as it was.
pub(crate) async fn remove(
    server: &Shared,
    entry: &Arc<Entry>,
    last: Option<Stored>,
) -> Result<Arc<Entry>, WriteError> {
    let value = entry.value.clone();
    let produce = move |it| match &last {
        Some(last) => last.encoded.at(it),
        None => object::restamp(&value, it),
    };
    server.store.write(Write::delete(entry.key.clone(), Some(entry.revision), produce)).await
}

/// The answer to a write that failed.
pub(crate) fn error(kind: &Kind, name: &str, error: &WriteError) -> ApiError {
    match error {
        WriteError::Exists { .. } => ApiError::already_exists(kind, name),
        WriteError::NotFound { .. } => ApiError::not_found(kind, name),
        WriteError::Conflict { .. } => ApiError::modified(kind, name),
        WriteError::TooLarge { max, .. } => ApiError::too_large(*max),
        WriteError::DiskFull { .. } => {
            tracing::error!(%error, "store");
            ApiError::new(507, Reason::InternalError, error.to_string())
        }
        WriteError::Closed => ApiError::unavailable("the server is shutting down"),
        WriteError::Value { .. } | WriteError::Disk { .. } | WriteError::Broken { .. } => {
            tracing::error!(%error, "store");
            ApiError::internal(error)
        }
    }
}
