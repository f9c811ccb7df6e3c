//! Who decides whether a request may be carried at all.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request::Parts};

use crate::Caller;

/// Decides about requests before they are carried. The gateway asks it; policies answer.
///
/// Both calls are made on the thread that serves the request and must not block.
pub trait Authorize: Send + Sync + 'static {
    /// Whether anything here is about requests that go this way: what tells the many that nobody judges from the few.
    fn is_concerned(&self, way: &Way<'_>) -> bool;

    /// Judges one request.
    fn authorize(&self, request: &Asking<'_>) -> Decision;
}

/// Which objects a request goes through. Policies are attached to these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way<'a> {
    /// `namespace/name` of the Gateway.
    pub gateway: Option<&'a str>,
    /// `namespace/name` of the HTTPRoute.
    pub route: Option<&'a str>,
    /// `namespace/name` of the Ingress, in place of Gateway and HTTPRoute.
    pub ingress: Option<&'a str>,
    /// `namespace/name` of the Service.
    pub service: Option<&'a str>,
}

/// A request that waits to be carried.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Where it goes.
    pub way: Way<'a>,
    /// Its head as the client sent it.
    pub head: &'a Parts,
    /// The host asked for, as the client wrote it.
    pub host: &'a str,
    /// Who sent it.
    pub sender: Sender<'a>,
    /// Where it arrived; `None` for what a guest sends, which arrives nowhere.
    pub listener: Option<SocketAddr>,
}

/// Who sent a request.
#[derive(Clone, Copy, Debug)]
pub enum Sender<'a> {
    /// A client, by its address.
    Client(SocketAddr),
    /// A guest on this node.
    Guest(&'a Caller),
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is carried, changed as said.
    Allow(Changes),
    /// It is answered with this instead.
    Deny {
        /// Status code.
        status: StatusCode,
        /// Headers of the answer.
        headers: HeaderMap,
        /// Body of the answer.
        body: Bytes,
    },
}

/// Changes that come with leave to pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Headers set on the request.
    pub request_headers: Vec<(HeaderName, HeaderValue)>,
    /// Headers taken from the request.
    pub request_headers_removed: Vec<HeaderName>,
    /// Headers added to the response.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
}

impl Changes {
    /// Changes a request's headers.
    pub fn apply_to_request(&self, headers: &mut HeaderMap) {
        for name in &self.request_headers_removed {
            headers.remove(name);
        }
        for (name, value) in &self.request_headers {
            headers.insert(name, value.clone());
        }
    }

    /// Adds to a response's headers.
    pub fn apply_to_response(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.response_headers {
            headers.append(name, value.clone());
        }
    }
}
