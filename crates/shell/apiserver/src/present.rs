//! Turns stored objects into the form that a client asked for: whole, metadata only, or as a table.

use bytes::Bytes;
use eyot_model::{
    status::ApiError,
    table::{self, Include, Options},
};
use http::Response;
use serde_json::Value;

use crate::{Body, call::Call, object, request::accept::Form, respond};

/// The response for one object, given its stored bytes.
pub(crate) fn respond(call: &Call, code: u16, stored: &Bytes) -> Result<Response<Body>, ApiError> {
    Ok(respond::bytes(code, one(call, stored, true)?))
}

/// One object in the form asked for. Watches leave the headers of a table out after the first.
pub(crate) fn one(call: &Call, stored: &Bytes, headers: bool) -> Result<Bytes, ApiError> {
    match call.form {
        Form::Object | Form::Discovery(_) => call.bytes(stored),
        Form::Partial(version) => partial(stored, version),
        Form::Table(version) => {
            let value = parse(call, stored)?;
            let mut table = rows(call, &[&value], headers)?;
            table["apiVersion"] = format!("meta.k8s.io/{version}").into();
            if let Some(revision) = value.pointer("/metadata/resourceVersion") {
                table["metadata"]["resourceVersion"] = revision.clone();
            }
            Ok(Bytes::from(table.to_string()))
        }
    }
}

/// `PartialObjectMetadata` of stored bytes.
pub(crate) fn partial(stored: &[u8], version: &str) -> Result<Bytes, ApiError> {
    let metadata = object::metadata(stored).ok_or_else(|| ApiError::internal("a stored object has no metadata"))?;
    let head = format!(r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/{version}","metadata":"#);
    Ok(Bytes::from([head.as_bytes(), metadata.as_bytes(), b"}"].concat()))
}

/// A table of parsed objects.
pub(crate) fn rows(call: &Call, items: &[&Value], headers: bool) -> Result<Value, ApiError> {
    let include = match call.query.include_object.as_deref() {
        None | Some("" | "Metadata") => Include::Metadata,
        Some("None") => Include::None,
        Some("Object") => Include::Object,
        Some(other) => {
            let message = format!("query option includeObject: {other:?} is not one of None, Metadata, Object");
            return Err(ApiError::bad_request(message));
        }
    };
    let options = Options { include, no_headers: !headers };
    Ok(table::render(&call.kind, items, jiff::Timestamp::now(), options))
}

/// Parses stored bytes into the version of the request.
pub(crate) fn parse(call: &Call, stored: &Bytes) -> Result<Value, ApiError> {
    let bytes = call.bytes(stored)?;
    serde_json::from_slice(&bytes).map_err(|it| ApiError::internal(format!("damaged object: {it}")))
}
