//! The tower service: one per identity, cheap to clone.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};

use crate::{ApiServer, Body, BoxError, Identity};

/// Answers Kubernetes API requests as one identity, or as whoever shows a token. It is always ready and never fails: errors are `Status` objects.
#[derive(Clone)]
pub struct ApiService {
    server: ApiServer,
    identity: Option<Arc<Identity>>,
}

impl ApiService {
    pub(crate) fn new(server: ApiServer, identity: Option<Identity>) -> Self {
        ApiService { server, identity: identity.map(Arc::new) }
    }
}

impl<B> tower_service::Service<Request<B>> for ApiService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.server.clone();
        let identity = self.identity.clone();
        let request = request.map(Body::new);
        Box::pin(async move { Ok(crate::handle::handle(server, identity, request).await) })
    }
}
