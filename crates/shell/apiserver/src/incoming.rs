//! Checks an object that a client sent against the request that carries it. Entry points: [`object`], [`settle`].

use bytes::Bytes;
use eyot_model::{meta, schema, status::ApiError};
use serde_json::Value;

use crate::{
    call::Call,
    request::{
        accept::{self, Syntax},
        decode::Decoded,
    },
};

/// Decodes the object in a request's body: its kind must be the request's, its fields the kind's.
pub(crate) fn object(call: &mut Call, body: &Bytes) -> Result<Value, ApiError> {
    if body.is_empty() {
        return Err(ApiError::bad_request("the request has no body, and an object is required"));
    }
    let Decoded { mut value, duplicates } = call.decode(body)?;
    check_kind(call, &mut value)?;
    let source = (accept::syntax(&call.headers)? == Syntax::Json).then_some(&**body);
    checked(call, value, duplicates, source)
}

/// Checks field types and unknown fields as `fieldValidation` says.
pub(crate) fn fields(call: &mut Call, value: Value, duplicates: Vec<String>) -> Result<Value, ApiError> {
    checked(call, value, duplicates, None)
}

/// [`fields`] of an object that came as the JSON in `source`.
fn checked(call: &mut Call, value: Value, duplicates: Vec<String>, source: Option<&[u8]>) -> Result<Value, ApiError> {
    let decoded = schema::decode_source(&call.kind, value, duplicates, call.query.field_validation, source)?;
    call.warnings.extend(decoded.warnings);
    Ok(decoded.object)
}

/// The object's kind and version must be those of the URL; kubectl and others may leave them out.
fn check_kind(call: &Call, object: &mut Value) -> Result<(), ApiError> {
    let kind = &call.kind;
    let Value::Object(map) = object else {
        return Err(ApiError::bad_request(format!("the body of the request is not a {} object", kind.kind)));
    };
    let api_version = kind.api_version();
    for (field, wanted) in [("apiVersion", &api_version), ("kind", &kind.kind)] {
        match map.get(field) {
            None | Some(Value::Null) => {
                map.insert(field.to_owned(), wanted.as_str().into());
            }
            Some(Value::String(text)) if text.is_empty() => {
                map.insert(field.to_owned(), wanted.as_str().into());
            }
            Some(found) if found == wanted => {}
            Some(found) => {
                let found = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
                let message =
                    format!("the {field} in the data ({found}) does not match the expected {field} ({wanted})");
                return Err(ApiError::bad_request(message));
            }
        }
    }
    if map.get("metadata").is_some_and(|it| !it.is_object() && !it.is_null()) {
        return Err(ApiError::bad_request("metadata is not an object"));
    }
    Ok(())
}

/// Makes the object's name and namespace those of the URL, which it must not contradict.
pub(crate) fn settle(call: &Call, object: &mut Value, name: Option<&str>) -> Result<(), ApiError> {
    if let (Some(url), Some(found)) = (name, meta::name(object))
        && url != found
    {
        let message = format!("the name of the object ({found}) does not match the name on the URL ({url})");
        return Err(ApiError::bad_request(message));
    }
    let namespace = call.namespace.as_deref().filter(|_| call.kind.namespaced);
    if let (Some(url), Some(found)) = (namespace, meta::namespace(object))
        && url != found
    {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let metadata = meta::metadata_mut(object);
    match namespace {
        Some(namespace) => metadata.insert("namespace".into(), namespace.into()),
        None => metadata.remove("namespace"),
    };
    if let Some(name) = name {
        metadata.insert("name".into(), name.into());
    }
    Ok(())
}
