//! Refusals in the form that the distribution spec gives them.

use axum::{body::Body, response::Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::BlobError;

/// The spec's error codes that are used here.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Denied,
    Unsupported,
    TooManyRequests,
    Unknown,
}

impl Code {
    fn text(self) -> &'static str {
        match self {
            Code::BlobUnknown => "BLOB_UNKNOWN",
            Code::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Code::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Code::DigestInvalid => "DIGEST_INVALID",
            Code::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Code::ManifestInvalid => "MANIFEST_INVALID",
            Code::ManifestUnknown => "MANIFEST_UNKNOWN",
            Code::NameInvalid => "NAME_INVALID",
            Code::NameUnknown => "NAME_UNKNOWN",
            Code::SizeInvalid => "SIZE_INVALID",
            Code::Denied => "DENIED",
            Code::Unsupported => "UNSUPPORTED",
            Code::TooManyRequests => "TOOMANYREQUESTS",
            Code::Unknown => "UNKNOWN",
        }
    }
}

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: Code,
    message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into() }
    }

    pub(crate) fn not_found(code: Code, message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(crate) fn bad(code: Code, message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn into_response(self) -> Response {
        if self.status.is_server_error() {
            tracing::error!(status = %self.status, message = self.message, "registry request failed");
        }
        let body = json!({"errors": [{"code": self.code.text(), "message": self.message, "detail": null}]});
        let mut response = json(self.status, &body);
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<BlobError> for Refusal {
    fn from(error: BlobError) -> Refusal {
        let message = error.to_string();
        match error {
            BlobError::Absent(_) | BlobError::Damaged { .. } => Refusal::not_found(Code::BlobUnknown, message),
            BlobError::Mismatch { .. } => Refusal::bad(Code::DigestInvalid, message),
            BlobError::TooLarge { .. } => Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid, message),
            BlobError::NoUpload(_) => Refusal::not_found(Code::BlobUploadUnknown, message),
            BlobError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Refusal::new(StatusCode::INSUFFICIENT_STORAGE, Code::Unknown, message)
            }
            BlobError::Io { .. } => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown, message),
        }
    }
}

pub(crate) fn json(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A response without a body; headers that are no valid header values are left out.
pub(crate) fn empty(status: StatusCode, headers: &[(http::HeaderName, String)]) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
