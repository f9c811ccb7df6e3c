//! Which handler answers at which pod address.

use std::{fmt, net::SocketAddr, sync::Arc};

use crate::Handler;

/// The handlers of the pods on this node, by pod IP and port. Reads take no lock.
#[derive(Default)]
pub struct Endpoints {
    by_address: papaya::HashMap<SocketAddr, Arc<dyn Handler>>,
}

impl Endpoints {
    /// Returns an empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// The handler at `address`, if a pod of this node answers there.
    pub fn get(&self, address: &SocketAddr) -> Option<Arc<dyn Handler>> {
        self.by_address.pin().get(address).cloned()
    }

    /// Publishes `handler` at `address`, in place of whatever was there.
    pub fn insert(&self, address: SocketAddr, handler: Arc<dyn Handler>) {
        self.by_address.pin().insert(address, handler);
    }

    /// Withdraws what is at `address`. Requests already inside it go on.
    pub fn remove(&self, address: &SocketAddr) {
        self.by_address.pin().remove(address);
    }

    /// How many addresses are published.
    pub fn len(&self) -> usize {
        self.by_address.len()
    }

    /// Whether no address is published.
    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints").field("len", &self.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;
    use http::{Request, Response};

    use super::*;
    use crate::{Body, CallError, empty};

    struct Fixed(u16);

    impl Handler for Fixed {
        fn handle(self: Arc<Self>, _: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
            Box::pin(async move { Ok(Response::builder().status(self.0).body(empty()).unwrap()) })
        }
    }

    #[tokio::test]
    async fn the_last_handler_published_answers_until_it_is_withdrawn() {
        let endpoints = Endpoints::new();
        let address: SocketAddr = "10.42.0.7:8080".parse().unwrap();
        endpoints.insert(address, Arc::new(Fixed(200)));
        endpoints.insert(address, Arc::new(Fixed(204)));
        let handler = endpoints.get(&address).unwrap();
        endpoints.remove(&address);
        assert!(endpoints.get(&address).is_none());
        let response = handler.handle(Request::new(empty())).await.unwrap();
        assert_eq!(response.status(), 204, "a handler taken before withdrawal still answers");
    }
}
