//! The seam between whoever carries a request and whoever answers it, without a socket in between.
//!
//! `runtime` implements [`Handler`] for a guest, `node` publishes it in [`Endpoints`] under the pod's address, and
//! `gateway` looks it up there. In the other direction a guest's outgoing requests leave through [`Outbound`], which
//! `gateway` implements, as it does [`Names`], which tells what the cluster calls things. [`Authorize`] decides whether a
//! request is carried at all. [`Front`] answers beside functions on a listener of its own.
//! Other names both have looked up by [`Lookups`], a few at a time for each pod.
//! [`Unstalled`] ends what waits for clients that read nothing.
//! [`Loads`] counts what is asked of what scales, and [`Early`] answers for it while it is at zero.
//!
//! Invariant: this crate knows neither wasmtime nor Kubernetes.

mod authorize;
mod body;
mod early;
mod endpoints;
mod front;
mod load;
mod lookups;
mod names;
mod port;
pub mod serving;
mod stall;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use http::{Request, Response};

pub use authorize::{Asking, Authorize, Changes, Decision, Sender, Way};
pub use body::{Body, BoxError, empty, full};
pub use early::Early;
pub use endpoints::Endpoints;
pub use front::{Front, Passing};
pub use load::{Load, LoadReading, Loads, Using};
pub use lookups::{Lookups, Turn};
pub use names::{Announced, AnnouncedPort, Names, Transport};
pub use port::port;
pub use stall::Unstalled;

/// Answers HTTP requests in process.
///
/// Dropping the returned future cancels the request. Dropping the response body cancels what is left of it.
pub trait Handler: Send + Sync + 'static {
    /// Handles one request. The returned future resolves when the response head is known; its body streams after.
    fn handle(self: Arc<Self>, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>>;
}

/// Why a handler gave no response. The carrier turns it into a status code.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The handler takes no more work; nothing of the request was consumed by a guest.
    #[error("overloaded: {0}")]
    Overloaded(String),
    /// The handler is going away and took nothing of the request.
    #[error("draining")]
    Draining,
    /// The guest trapped, exited, or returned without a response.
    #[error("guest failed: {0}")]
    Guest(String),
    /// The guest passed its memory limit.
    #[error("guest out of memory")]
    OutOfMemory,
    /// The guest did not answer in time.
    #[error("deadline exceeded")]
    Deadline,
    /// The caller may not ask that host for anything.
    #[error("denied: {0}")]
    Denied(String),
    /// The caller may not connect to that address.
    #[error("prohibited: {0}")]
    Prohibited(String),
    /// The next hop could not be reached.
    #[error("connecting: {0}")]
    Connect(String),
    /// The next hop's name has no address.
    #[error("looking up: {0}")]
    Lookup(String),
    /// There was no connection in the time there was for one.
    #[error("connecting took too long: {0}")]
    ConnectTimeout(String),
    /// The next hop's certificate is not one to trust.
    #[error("certificate refused: {0}")]
    Certificate(String),
    /// The next hop and this one agree on no TLS.
    #[error("securing the connection: {0}")]
    Tls(String),
    /// What the next hop sent is no HTTP, or ended before it was a response.
    #[error("not HTTP: {0}")]
    Protocol(String),
    /// The exchange broke after it began.
    #[error("exchange broke: {0}")]
    Broken(String),
}

impl CallError {
    /// Whether no part of the request reached a guest, so that another endpoint may be tried.
    pub fn is_untouched(&self) -> bool {
        match self {
            CallError::Overloaded(_) | CallError::Draining => true,
            CallError::Denied(_) | CallError::Prohibited(_) => true,
            CallError::Connect(_) | CallError::Lookup(_) | CallError::ConnectTimeout(_) => true,
            CallError::Certificate(_) | CallError::Tls(_) => true,
            CallError::Guest(_) | CallError::OutOfMemory | CallError::Deadline => false,
            CallError::Protocol(_) | CallError::Broken(_) => false,
        }
    }

    /// The status code a gateway answers with: 502, 503 or 504.
    pub fn status(&self) -> http::StatusCode {
        match self {
            CallError::Overloaded(_) | CallError::Draining => http::StatusCode::SERVICE_UNAVAILABLE,
            CallError::Deadline => http::StatusCode::GATEWAY_TIMEOUT,
            CallError::Denied(_) | CallError::Prohibited(_) => http::StatusCode::FORBIDDEN,
            CallError::ConnectTimeout(_) => http::StatusCode::GATEWAY_TIMEOUT,
            CallError::Guest(_) | CallError::OutOfMemory | CallError::Protocol(_) | CallError::Broken(_) => {
                http::StatusCode::BAD_GATEWAY
            }
            CallError::Connect(_) | CallError::Lookup(_) | CallError::Certificate(_) | CallError::Tls(_) => {
                http::StatusCode::BAD_GATEWAY
            }
        }
    }
}

/// An extension of an outgoing request: the longest time that connecting may take, where its guest says one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectWithin(pub Duration);

/// Who sends an outgoing request: the pod whose guest made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Namespace of the pod; short Service names resolve in it.
    pub namespace: Arc<str>,
    /// Name of the pod.
    pub pod: Arc<str>,
}

/// Carries requests that leave a guest.
///
/// The request's URI is absolute. `http://name`, `http://name.namespace` and `http://name.namespace.svc.cluster.local`
/// reach Services, a Service's or pod's address reaches it directly, anything else leaves the node.
pub trait Outbound: Send + Sync + 'static {
    /// Sends one request on behalf of `caller`.
    fn send(
        self: Arc<Self>,
        caller: Caller,
        request: Request<Body>,
    ) -> BoxFuture<'static, Result<Response<Body>, CallError>>;
}
