//! One request about objects of one kind: what every verb needs to know.

use std::sync::Arc;

use bytes::Bytes;
use eyot_model::{convert, kinds::Kind, status::ApiError};
use eyot_store::{Entry, Key, Revision};
use http::HeaderMap;
use serde_json::Value;

use crate::{
    ApiServer, Identity,
    definitions::conversion::{self, Converted},
    object,
    request::{
        accept::{self, Form},
        decode::{self, Decoded},
        query::Query,
    },
    serve::Closing,
    server::Shared,
};

/// One request about objects of one kind.
pub(crate) struct Call {
    pub(crate) server: ApiServer,
    pub(crate) identity: Arc<Identity>,
    pub(crate) kind: Arc<Kind>,
    /// As authorization names it: `get`, `create`, `patch` and so on.
    pub(crate) verb: &'static str,
    /// Empty for the object itself.
    pub(crate) subresource: String,
    /// `None` for all namespaces, and for kinds without.
    pub(crate) namespace: Option<String>,
    pub(crate) query: Query,
    pub(crate) form: Form,
    pub(crate) headers: HeaderMap,
    /// Set when the request came over a connection that can be asked to wind down.
    pub(crate) closing: Option<Closing>,
    /// Become `Warning` headers.
    pub(crate) warnings: Vec<String>,
    /// What webhooks made of stored objects.
    pub(crate) converted: Converted,
}

impl Call {
    pub(crate) fn shared(&self) -> &Shared {
        &self.server.0
    }

    /// Where an object of this kind and namespace is stored.
    pub(crate) fn key(&self, name: &str) -> Key {
        Key::new(self.kind.storage.as_str(), self.namespace.as_deref().unwrap_or_default(), name)
    }

    /// The stored object of that name.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Entry>, ApiError> {
        self.shared().store.get(&self.key(name)).ok_or_else(|| ApiError::not_found(&self.kind, name))
    }

    /// Decodes the request's body, an object or options.
    pub(crate) fn decode(&self, body: &Bytes) -> Result<Decoded, ApiError> {
        decode::decode(body, accept::syntax(&self.headers)?)
    }

    /// Makes stored objects readable in the version of this request, where a webhook must convert them. Costs nothing
    /// where none must.
    pub(crate) async fn prepare(&self, stored: impl IntoIterator<Item = &Bytes>) -> Result<(), ApiError> {
        match self.form {
            Form::Partial(_) => Ok(()),
            _ => self.converted.prepare(self.shared(), &self.kind, stored).await,
        }
    }

    /// Whether stored bytes need [`Call::prepare`] before they can be read.
    pub(crate) fn needs_preparing(&self, stored: &Bytes) -> bool {
        let wanted = !matches!(self.form, Form::Partial(_)) && conversion::is_wanted(&self.kind, stored);
        wanted && self.converted.get(stored).is_none()
    }

    /// Whether writing the object again would store other bytes although nothing changes: another version, or fields
    /// that its definition has dropped or given defaults since.
    pub(crate) fn is_outdated(&self, stored: &[u8]) -> bool {
        let Some(custom) = &self.kind.custom else { return false };
        let head = object::head(stored).filter(|it| it.api_version == self.kind.stored_as.0);
        head.is_none_or(|it| it.revision <= custom.definition().revision)
    }

    /// A stored object in the version of this request.
    pub(crate) fn parse(&self, entry: &Entry) -> Result<Value, ApiError> {
        if let Some(converted) = self.converted.get(&entry.value) {
            return serde_json::from_slice(&converted).map_err(ApiError::internal);
        }
        let stored = object::parse(entry)?;
        Ok(if self.is_as_stored(&entry.value) { stored } else { convert::from_stored(&self.kind, stored) })
    }

    /// Whether stored bytes are what this request's version looks like.
    ///
    /// A custom object may be stored in any version that its definition ever stored, and what was written before the
    /// definition last changed may lack its new defaults, or hold fields that it dropped.
    pub(crate) fn is_as_stored(&self, stored: &[u8]) -> bool {
        let Some(custom) = &self.kind.custom else { return convert::is_stored_form(&self.kind) };
        let head = object::head(stored).filter(|it| it.api_version == self.kind.api_version());
        head.is_some_and(|it| it.revision > custom.definition().revision)
    }

    /// Stored bytes in the version of this request: unchanged, unless it is an older version of the kind.
    pub(crate) fn bytes(&self, stored: &Bytes) -> Result<Bytes, ApiError> {
        if self.is_as_stored(stored) {
            return Ok(stored.clone());
        }
        if let Some(converted) = self.converted.get(stored) {
            return Ok(converted);
        }
        let value = serde_json::from_slice(stored).map_err(|it| ApiError::internal(format!("damaged object: {it}")))?;
        Ok(Bytes::from(convert::from_stored(&self.kind, value).to_string()))
    }
}

/// Parses a resource version; empty and `0` mean any, and are `None`.
pub(crate) fn revision(text: &str) -> Result<Option<Revision>, ApiError> {
    match text {
        "" | "0" => Ok(None),
        text => match text.parse() {
            Ok(number) => Ok(Some(Revision(number))),
            Err(_) => Err(ApiError::bad_request(format!("invalid resource version {text:?}: not a number"))),
        },
    }
}
