//! The node's HTTP API, in the kubelet's words. The API server passes requests on to it whole.

mod forward;
mod logs;
mod proxy;
mod queued;
mod session;
mod spdy;
mod stats;
mod upgrade;

use std::sync::Arc;

use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{pod::Shared, pods::Pods};

/// What requests are answered from.
#[derive(Clone)]
struct Context {
    pods: Arc<Pods>,
    shared: Arc<Shared>,
    /// Places for clients of `exec`, `attach` and `portForward`.
    sessions: Arc<Semaphore>,
    /// Places for requests that are passed on to pods.
    proxied: Arc<Semaphore>,
}

/// Clients of `exec`, `attach` and `portForward` at once; each has what it sent and is to see in memory, some MiB at most.
const SESSIONS_MAX: usize = 256;

/// Requests passed on to pods at once: it is a way for people and tools, not for traffic.
const PROXIED_MAX: usize = 512;

/// The routes.
pub(crate) fn router(pods: Arc<Pods>, shared: Arc<Shared>) -> Router {
    let (sessions, proxied) = (Arc::new(Semaphore::new(SESSIONS_MAX)), Arc::new(Semaphore::new(PROXIED_MAX)));
    Router::new()
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs::serve))
        .route("/portForward/{namespace}/{pod}", any(forward::serve))
        .route("/exec/{namespace}/{pod}/{container}", any(session::exec))
        .route("/attach/{namespace}/{pod}/{container}", any(session::attach))
        .route("/podProxy/{*path}", any(proxy::serve))
        .route("/stats/summary", get(stats::summary))
        .route("/healthz", get(async || "ok"))
        .with_state(Context { pods, shared, sessions, proxied })
}

impl Context {
    /// A place for one more session.
    fn session(&self) -> Result<OwnedSemaphorePermit, Failure> {
        self.sessions.clone().try_acquire_owned().map_err(|_| Failure {
            code: StatusCode::TOO_MANY_REQUESTS,
            reason: "TooManyRequests",
            message: format!("{SESSIONS_MAX} sessions are open on this node already"),
        })
    }
}

/// An error as a Kubernetes `Status`.
#[derive(Debug)]
struct Failure {
    code: StatusCode,
    reason: &'static str,
    message: String,
}

impl Failure {
    fn not_found(message: impl Into<String>) -> Failure {
        Failure { code: StatusCode::NOT_FOUND, reason: "NotFound", message: message.into() }
    }

    fn bad_request(message: impl Into<String>) -> Failure {
        Failure { code: StatusCode::BAD_REQUEST, reason: "BadRequest", message: message.into() }
    }

    fn internal(message: impl Into<String>) -> Failure {
        Failure { code: StatusCode::INTERNAL_SERVER_ERROR, reason: "InternalError", message: message.into() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = json!({
            "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code.as_u16(),
        });
        (self.code, axum::Json(status)).into_response()
    }
}
