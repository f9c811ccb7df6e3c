//! Hands finished objects to the store. Entry points: [`create`], [`replace`], [`remove`].

use std::sync::Arc;

use eyot_model::{
    convert, fields,
    kinds::{self, Kind},
    meta,
    status::{ApiError, Reason},
};
use eyot_store::{Attributes, Entry, Key, Revision, Write, WriteError};
use serde_json::Value;

use crate::{definitions, object, object::Encoded, server::Shared};

/// Labels and selectable fields of stored bytes; pass it to [`eyot_store::Options::new`].
pub fn attributes(resource: &str, value: &[u8]) -> Attributes {
    // What cannot be read matches no selector.
    let Ok(object) = serde_json::from_slice(value) else { return Attributes::default() };
    match kinds::builtin().by_storage(resource) {
        Some(kind) => attributes_of(kind, &object),
        None => labels_of(&object),
    }
}

/// Custom kinds have labels only: which of their fields can be selected by changes with their definition, so that
/// selectors look into the objects.
fn labels_of(object: &Value) -> Attributes {
    Attributes::new(meta::labels(object), std::iter::empty::<(&str, &str)>())
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
        let attributes = match kinds::builtin().by_storage(&kind.storage) {
            Some(stored) => attributes_of(stored, &object),
            None => labels_of(&object),
        };
        Ok(Stored { encoded: Encoded::new(&object)?, attributes })
    }

    /// The bytes for the answer to a dry run: at the version that is there, or without one.
    pub(crate) fn rehearsed(&self, current: Option<Revision>) -> bytes::Bytes {
        current.map_or_else(|| self.encoded.unversioned(), |it| self.encoded.at(it))
    }
}

/// The write that creates an object.
pub(crate) fn creation(key: Key, stored: Stored) -> Write {
    let Stored { encoded, attributes } = stored;
    Write::create(key, move |it| encoded.at(it)).with_attributes(attributes)
}

/// The write that replaces version `expect` of an object.
pub(crate) fn replacement(key: Key, expect: Revision, stored: Stored) -> Write {
    let Stored { encoded, attributes } = stored;
    Write::update(key, expect, move |it| encoded.at(it)).with_attributes(attributes)
}

/// Creates an object.
pub(crate) async fn create(server: &Shared, key: Key, stored: Stored) -> Result<Arc<Entry>, WriteError> {
    let written = server.store.write(creation(key, stored)).await;
    followed(server, written).await
}

/// A definition that was written changes what is served, before its writer hears of it.
async fn followed(server: &Shared, written: Result<Arc<Entry>, WriteError>) -> Result<Arc<Entry>, WriteError> {
    if let Ok(entry) = &written
        && &*entry.key.resource == definitions::STORAGE
    {
        definitions::follow(server, &entry.key.name).await;
    }
    written
}

/// Replaces version `expect` of an object.
pub(crate) async fn replace(
    server: &Shared,
    key: Key,
    expect: Revision,
    stored: Stored,
) -> Result<Arc<Entry>, WriteError> {
    let written = server.store.write(replacement(key, expect, stored)).await;
    followed(server, written).await
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
    let write = Write::delete(entry.key.clone(), Some(entry.revision), produce);
    followed(server, server.store.write(write).await).await
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
