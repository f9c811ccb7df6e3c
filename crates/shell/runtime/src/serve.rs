//! A `wasi:http` guest: an instance per request.

use std::{fmt, sync::Arc, time::Duration};

use eyot_dispatch::{Body, CallError, Handler};
use futures::future::BoxFuture;
use http::{Request, Response};
use tokio::sync::watch;

/// Answers requests with a fresh instance each. Idle, it holds what its spec needs and shares its program.
pub struct HttpGuest {
    failures: watch::Sender<Option<Failure>>,
}

/// What a guest has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpStats {
    /// Requests taken.
    pub requests: u64,
    /// Of those, how many failed.
    pub failures: u64,
    /// Time spent running guest code and the host calls it made.
    pub cpu: Duration,
    /// Most linear memory that one instance had, in bytes.
    pub memory_peak_bytes: u64,
}

/// The most recent failed request of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How many requests failed up to and including this one.
    pub count: u64,
    /// What went wrong.
    pub kind: FailureKind,
}

/// What went wrong in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The guest trapped, exited or broke the rules of `wasi:http`.
    Guest(String),
    /// The guest passed its memory limit.
    OutOfMemory,
    /// The guest did not finish in time.
    Deadline,
}

impl HttpGuest {
    /// Requests whose response, body included, has not ended.
    pub fn in_flight(&self) -> usize {
        0
    }

    /// Refuses new requests from now on and returns when the last one inside has ended.
    pub async fn drain(&self) {}

    /// What it has used so far.
    pub fn stats(&self) -> HttpStats {
        HttpStats::default()
    }

    /// The most recent failure; changes with every failure.
    pub fn failures(&self) -> watch::Receiver<Option<Failure>> {
        self.failures.subscribe()
    }
}

impl Handler for HttpGuest {
    fn handle(self: Arc<Self>, _: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        Box::pin(async { Err(CallError::Draining) })
    }
}

impl fmt::Debug for HttpGuest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpGuest").finish_non_exhaustive()
    }
}
