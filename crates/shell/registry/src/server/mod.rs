//! The OCI distribution API over a [`Blobs`].
//!
//! Blobs belong to no repository: whoever knows a digest may have the content, from any repository, and a mount is no
//! more than a check that it is here. The endpoint is for the node's own users; it knows no logins.

mod blob;
mod error;
mod listing;
mod manifest;
mod route;
mod upload;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
};
use http::{HeaderName, HeaderValue, Method, StatusCode};

use crate::Blobs;
use error::{Code, Refusal};
use route::Route;

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// The embedded registry.
#[derive(Clone, Debug)]
pub struct Registry {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    blobs: Blobs,
    uploads: upload::Uploads,
}

impl Registry {
    /// A registry whose content is `blobs`.
    pub fn new(blobs: Blobs) -> Registry {
        Registry { shared: Arc::new(Shared { blobs, uploads: upload::Uploads::default() }) }
    }

    /// Its HTTP interface, everything below `/v2/`.
    pub fn router(self) -> Router {
        Router::new().fallback(serve).with_state(self)
    }
}

async fn serve(State(registry): State<Registry>, request: Request) -> Response {
    let answer = registry.shared.answer(request).await;
    let mut response = answer.unwrap_or_else(Refusal::into_response);
    let version =
        (HeaderName::from_static("docker-distribution-api-version"), HeaderValue::from_static("registry/2.0"));
    response.headers_mut().insert(version.0, version.1);
    response
}

impl Shared {
    async fn answer(&self, request: Request) -> Result<Response, Refusal> {
        let (head, body) = request.into_parts();
        let (method, path) = (&head.method, head.uri.path());
        let route = Route::parse(path)?;
        match (method, route) {
            (&Method::GET | &Method::HEAD, Route::Root) => Ok(error::json(StatusCode::OK, &serde_json::json!({}))),
            (&Method::GET, Route::Catalog) => listing::repositories(self, &head),
            (&Method::GET, Route::Tags { repository }) => listing::tags(self, &head, &repository),
            (&Method::GET, Route::Referrers { repository, digest }) => {
                listing::referrers(self, &head, &repository, digest).await
            }
            (&Method::GET | &Method::HEAD, Route::Manifest { repository, reference }) => {
                manifest::get(self, &repository, &reference, method == Method::HEAD).await
            }
            (&Method::PUT, Route::Manifest { repository, reference }) => {
                manifest::put(self, repository, reference, &head, body).await
            }
            (&Method::DELETE, Route::Manifest { repository, reference }) => {
                manifest::delete(self, repository, reference).await
            }
            (&Method::GET | &Method::HEAD, Route::Blob { digest, .. }) => blob::get(self, digest, &head).await,
            (&Method::DELETE, Route::Blob { digest, .. }) => blob::delete(self, digest).await,
            (&Method::POST, Route::Uploads { repository }) => upload::start(self, &repository, &head, body).await,
            (&Method::GET, Route::Upload { repository, id }) => upload::status(self, &repository, id).await,
            (&Method::PATCH, Route::Upload { repository, id }) => {
                upload::append(self, &repository, id, &head, body).await
            }
            (&Method::PUT, Route::Upload { repository, id }) => {
                upload::finish(self, &repository, id, &head, body).await
            }
            (&Method::DELETE, Route::Upload { id, .. }) => upload::cancel(self, id).await,
            _ => Err(Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                Code::Unsupported,
                format!("{method} is not supported for {path}"),
            )),
        }
    }

    /// Runs file work off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Blobs) -> Result<T, crate::BlobError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let blobs = self.blobs.clone();
        match tokio::task::spawn_blocking(move || work(&blobs)).await {
            Ok(result) => result.map_err(Refusal::from),
            Err(error) => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown, error.to_string())),
        }
    }
}
