//! What an answer about the server itself depends on, beside its path.

use http::{HeaderMap, Method, Request, Response, StatusCode, header};

use crate::{ApiServer, Body, request::query, serve::Closing};

/// A request that names no objects.
pub(crate) struct Ask {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    query: String,
    /// Whether the store takes writes.
    pub(super) store_open: bool,
    /// Whether the server was told to stop.
    pub(super) stopping: bool,
}

impl Ask {
    pub(crate) fn new<B>(server: &ApiServer, request: &Request<B>) -> Ask {
        Ask {
            method: request.method().clone(),
            headers: request.headers().clone(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            store_open: server.0.store.is_open(),
            stopping: request.extensions().get::<Closing>().is_some_and(|it| it.0.is_cancelled()),
        }
    }

    /// The values of a query option, in order.
    pub(super) fn options(&self, key: &str) -> Vec<String> {
        query::pairs(&self.query).filter(|it| it.0 == key).map(|it| it.1).collect()
    }

    /// Gives an answer its tag, or says that the client has it already.
    pub(super) fn tagged(&self, mut response: Response<Body>, hash: &str) -> Response<Body> {
        let tag = format!("\"{hash}\"");
        if self.has(&tag) {
            *response.body_mut() = Body::empty();
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().remove(header::CONTENT_TYPE);
        }
        let headers = [(header::ETAG, tag.as_str()), (header::VARY, "Accept")];
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value.parse().ok()?)));
        response.headers_mut().extend(headers);
        response
    }

    /// Whether the client said that it keeps what bears this tag.
    fn has(&self, tag: &str) -> bool {
        let kept = self.headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|it| it.to_str().ok());
        kept.flat_map(|it| it.split(',')).any(|it| it.trim().trim_start_matches("W/") == tag)
    }
}
