//! The nodes' HTTP services, to which logs, port-forwards and sessions are handed.

use std::{collections::HashMap, sync::Arc};

use futures::future::BoxFuture;
use http::{Request, Response};
use parking_lot::RwLock;
use tower::ServiceExt;

use crate::{ApiServer, Body, BoxError};

type Kubelet = Arc<dyn Fn(Request<Body>) -> BoxFuture<'static, Result<Response<Body>, BoxError>> + Send + Sync>;

/// Kubelet services by node name.
#[derive(Default)]
pub(crate) struct Kubelets(RwLock<HashMap<String, Kubelet>>);

impl Kubelets {
    pub(crate) fn get(&self, node: &str) -> Option<Kubelet> {
        self.0.read().get(node).cloned()
    }

    /// The nodes that are connected.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.read().keys().cloned().collect()
    }
}

impl ApiServer {
    /// Hands requests about pods of `node` (logs, port-forward, exec, attach) to `kubelet`, an axum `Router` or any
    /// other service that speaks the kubelet's HTTP API.
    ///
    /// It gets the caller's whole request with the path rewritten, including the extension by which hyper upgrades
    /// connections, and its answer is streamed back.
    pub fn set_kubelet<S, B>(&self, node: &str, kubelet: S)
    where
        S: tower_service::Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let call = move |request| {
            let kubelet = kubelet.clone();
            let answer: BoxFuture<'static, _> = Box::pin(async move {
                let response = kubelet.oneshot(request).await.map_err(Into::into)?;
                Ok(response.map(Body::new))
            });
            answer
        };
        self.0.kubelets.0.write().insert(node.to_owned(), Arc::new(call));
    }
}
