//! Makes responses.

use bytes::Bytes;
use eyot_model::status::ApiError;
use http::{HeaderValue, Response, header};
use serde_json::Value;

use crate::Body;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A response of JSON bytes.
pub(crate) fn bytes(code: u16, bytes: impl Into<Bytes>) -> Response<Body> {
    with_body(code, Body::full(bytes), JSON)
}

/// A response of a JSON body.
pub(crate) fn stream(body: Body) -> Response<Body> {
    with_body(200, body, JSON)
}

/// A response of one JSON value.
pub(crate) fn json(code: u16, value: &Value) -> Response<Body> {
    bytes(code, value.to_string())
}

/// A response of plain text.
pub(crate) fn text(code: u16, text: impl Into<Bytes>) -> Response<Body> {
    with_body(code, Body::full(text), HeaderValue::from_static("text/plain; charset=utf-8"))
}

/// A response of bytes of a media type.
pub(crate) fn typed(bytes: impl Into<Bytes>, media_type: &'static str) -> Response<Body> {
    with_body(200, Body::full(bytes), HeaderValue::from_static(media_type))
}

/// A response of an error as `Status`.
pub(crate) fn error(error: &ApiError) -> Response<Body> {
    let mut response = json(error.code, &error.to_value());
    if let Some(seconds) = error.details.retry_after_seconds {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Lets clients keep the answer for a year.
pub(crate) fn keep(response: &mut Response<Body>) {
    let value = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(header::CACHE_CONTROL, value);
}

/// Adds a `Warning` header, as kubectl prints it.
pub(crate) fn warn(response: &mut Response<Body>, warning: &str) {
    let quoted: String = warning
        .chars()
        .filter(|it| !it.is_control())
        .flat_map(|it| if matches!(it, '"' | '\\') { vec!['\\', it] } else { vec![it] })
        .collect();
    if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
        response.headers_mut().append(header::WARNING, value);
    }
}

fn with_body(code: u16, body: Body, media_type: HeaderValue) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}
