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

use crate::{admit::Charge, definitions, flow, object, object::Encoded, policy, server::Shared};

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
    charge: Option<Charge>,
}

impl Stored {
    /// Converts and serialises an object of a served version.
    pub(crate) fn new(kind: &Kind, object: Value) -> Result<Stored, ApiError> {
        let object = if convert::is_stored_form(kind) { object } else { convert::to_stored(kind, object) };
        let attributes = match kinds::builtin().by_storage(&kind.storage) {
            Some(stored) => attributes_of(stored, &object),
            None => labels_of(&object),
        };
        Ok(Stored { encoded: Encoded::new(&object)?, attributes, charge: None })
    }

    /// Takes along the room that admission took for the object, until it is written.
    pub(crate) fn charged(self, charge: Option<Charge>) -> Stored {
        Stored { charge, ..self }
    }

    /// The bytes for the answer to a dry run: at the version that is there, or without one.
    pub(crate) fn rehearsed(&self, current: Option<Revision>) -> bytes::Bytes {
        current.map_or_else(|| self.encoded.unversioned(), |it| self.encoded.at(it))
    }
}

/// The write that creates an object.
pub(crate) fn creation(key: Key, stored: Stored) -> Write {
    let Stored { encoded, attributes, .. } = stored;
    Write::create(key, move |it| encoded.at(it)).with_attributes(attributes)
}

/// The write that replaces version `expect` of an object.
pub(crate) fn replacement(key: Key, expect: Revision, stored: Stored) -> Write {
    let Stored { encoded, attributes, .. } = stored;
    Write::update(key, expect, move |it| encoded.at(it)).with_attributes(attributes)
}

/// Creates an object.
pub(crate) async fn create(server: &Shared, key: Key, mut stored: Stored) -> Result<Arc<Entry>, WriteError> {
    let charge = stored.charge.take();
    write(server, creation(key, stored), charge).await
}

/// Creates an object that is there from the beginning: nobody has to hear of it.
pub(crate) async fn found(server: &Shared, key: Key, stored: Stored) -> Result<Arc<Entry>, WriteError> {
    let Stored { encoded, attributes, .. } = stored;
    server.store.write(Write::create(key, move |it| encoded.at(it)).with_attributes(attributes)).await
}

/// Replaces version `expect` of an object.
pub(crate) async fn replace(
    server: &Shared,
    key: Key,
    expect: Revision,
    mut stored: Stored,
) -> Result<Arc<Entry>, WriteError> {
    let charge = stored.charge.take();
    write(server, replacement(key, expect, stored), charge).await
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
    write(server, Write::delete(entry.key.clone(), Some(entry.revision), produce), None).await
}

/// Hands a write to the store and tells those who follow what is stored.
async fn write(server: &Shared, write: Write, charge: Option<Charge>) -> Result<Arc<Entry>, WriteError> {
    let key = write.key.clone();
    let consequences = &*key.resource == definitions::STORAGE || server.policies.follows(server, &key);
    if charge.is_none() && !consequences && !server.quotas.counts(&key) {
        let written = server.store.write(write).await?;
        follow(server, &key).await;
        return Ok(written);
    }
    // Where it counts, a client that goes away must not take the accounting with it, nor what follows from a policy.
    let server = server.quotas.server().ok_or(WriteError::Closed)?;
    let task = tokio::spawn(async move {
        let written = server.store.write(write).await;
        follow(&server, &key).await;
        drop(charge);
        written
    });
    task.await.unwrap_or(Err(WriteError::Closed))
}

async fn follow(server: &Shared, key: &Key) {
    server.quotas.changed(server, key);
    flow::follow(server, key);
    // A definition changes what is served, before its writer hears of it.
    if &*key.resource == definitions::STORAGE {
        definitions::follow(server, &key.name).await;
    }
    // So does a policy change what is allowed.
    if let Some(companions) = policy::follow(server, key) {
        companions.await;
    }
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
