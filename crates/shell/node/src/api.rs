//! The few calls a node makes, by path.
//!
//! Paths instead of typed `Api`s because most answers are not needed: a status write need not parse a whole pod.

use kube::Client;
use serde::de::DeserializeOwned;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The object is not there, or another object now has its name.
    #[error("{path}: gone")]
    Gone {
        /// What was asked for.
        path: String,
    },
    /// An object of that name exists.
    #[error("{path}: exists")]
    Exists {
        /// What was to be made.
        path: String,
    },
    /// The server refused, or could not be asked.
    #[error("{method} {path}")]
    Call {
        /// HTTP method.
        method: http::Method,
        /// What was asked for.
        path: String,
        /// Cause.
        #[source]
        source: Box<kube::Error>,
    },
}

pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const STRATEGIC: &str = "application/strategic-merge-patch+json";

async fn call(
    client: &Client,
    method: http::Method,
    path: &str,
    kind: &str,
    body: Vec<u8>,
) -> Result<String, ApiError> {
    let failed = |source: kube::Error| match &source {
        kube::Error::Api(status) if status.code == 404 => ApiError::Gone { path: path.to_owned() },
        kube::Error::Api(status) if status.code == 409 && method == http::Method::POST => {
            ApiError::Exists { path: path.to_owned() }
        }
        // A node sends no resource versions, only uids: a conflict means that the name has a new owner.
        kube::Error::Api(status) if status.code == 409 => ApiError::Gone { path: path.to_owned() },
        _ => ApiError::Call { method: method.clone(), path: path.to_owned(), source: Box::new(source) },
    };
    let mut request = http::Request::builder().method(method.clone()).uri(path);
    if !body.is_empty() {
        request = request.header(http::header::CONTENT_TYPE, kind);
    }
    let request = request.body(body).map_err(|error| failed(kube::Error::HttpError(error)))?;
    client.request_text(request).await.map_err(failed)
}

/// A value as a body, written without the detour of formatting: each pod has its status written.
fn bytes(value: &serde_json::Value) -> Vec<u8> {
    // Only keys that are no texts cannot be written, which a value does not have.
    serde_json::to_vec(value).unwrap_or_default()
}

/// The object at `path`, or `None`.
pub(crate) async fn get<T: DeserializeOwned>(client: &Client, path: &str) -> Result<Option<T>, ApiError> {
    let text = match call(client, http::Method::GET, path, "", Vec::new()).await {
        Ok(text) => text,
        Err(ApiError::Gone { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    serde_json::from_str(&text).map(Some).map_err(|error| ApiError::Call {
        method: http::Method::GET,
        path: path.to_owned(),
        source: Box::new(kube::Error::SerdeError(error)),
    })
}

/// Patches what is at `path`.
pub(crate) async fn patch(client: &Client, path: &str, kind: &str, patch: &serde_json::Value) -> Result<(), ApiError> {
    call(client, http::Method::PATCH, path, kind, bytes(patch)).await.map(drop)
}

/// Posts `object` to `path` and reads the answer.
pub(crate) async fn post<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    object: &serde_json::Value,
) -> Result<T, ApiError> {
    let method = http::Method::POST;
    let text = call(client, method.clone(), path, "application/json", bytes(object)).await?;
    serde_json::from_str(&text).map_err(|error| ApiError::Call {
        method,
        path: path.to_owned(),
        source: Box::new(kube::Error::SerdeError(error)),
    })
}

/// Creates an object in the collection at `path`.
pub(crate) async fn create(client: &Client, path: &str, object: &serde_json::Value) -> Result<(), ApiError> {
    call(client, http::Method::POST, path, "application/json", bytes(object)).await.map(drop)
}

/// Deletes the object at `path` at once, if it still has `uid`.
pub(crate) async fn delete_now(client: &Client, path: &str, uid: &str) -> Result<(), ApiError> {
    let options = serde_json::json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": { "uid": uid },
    });
    match call(client, http::Method::DELETE, path, "application/json", options.to_string().into_bytes()).await {
        Ok(_) | Err(ApiError::Gone { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
