//! The node's HTTP API, in the kubelet's words. The API server passes requests on to it whole.

mod forward;
mod logs;

use std::sync::Arc;

use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use serde_json::json;

use crate::{pod::Shared, pods::Pods};

/// What requests are answered from.
#[derive(Clone)]
struct Context {
    pods: Arc<Pods>,
    shared: Arc<Shared>,
}

/// The routes.
pub(crate) fn router(pods: Arc<Pods>, shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs::serve))
        .route("/portForward/{namespace}/{pod}", any(forward::serve))
        .route("/exec/{namespace}/{pod}/{container}", any(unsupported))
        .route("/attach/{namespace}/{pod}/{container}", any(unsupported))
        .route("/run/{namespace}/{pod}/{container}", any(unsupported))
        .route("/healthz", get(async || "ok"))
        .with_state(Context { pods, shared })
}

async fn unsupported() -> Failure {
    Failure {
        code: StatusCode::NOT_IMPLEMENTED,
        reason: "MethodNotAllowed",
        message: "a WebAssembly guest runs one program: nothing can be executed in it or attached to it".to_owned(),
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
