//! OPA's REST API, for a listener on loopback: data, policies and queries of a workspace in memory, as OPA itself keeps one.
//!
//! Entry point: [`router`]. What the workspace does not define is looked for in the node's `Policy` objects, so that their
//! decisions can be asked as well. Nothing here changes those.
//!
//! Refused by name: partial evaluation (`/v1/compile`), `?explain`, `?instrument`, and what needs OPA's configuration.

mod answer;
mod data;
mod policies;
mod query;
mod workspace;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{any, get, post},
};

use crate::Opa;
use answer::{Failure, refused};
use workspace::Workspace;

/// Largest body of a request.
const BODY_BYTES_MAX: usize = 16 << 20;

/// What handlers share.
#[derive(Clone)]
struct Server {
    opa: Opa,
    workspace: Arc<Workspace>,
}

/// The API over a fresh workspace and the policies of `opa`.
pub fn router(opa: Opa) -> Router {
    let server = Server { opa, workspace: Arc::default() };
    let document = get(data::get).post(data::post).put(data::put).patch(data::patch).delete(data::delete);
    Router::new()
        .route("/", post(data::main))
        .route("/v0/data", post(data::post_v0))
        .route("/v0/data/{*path}", post(data::post_v0))
        .route("/v1/data", document.clone())
        .route("/v1/data/", document.clone())
        .route("/v1/data/{*path}", document)
        .route("/v1/policies", get(policies::list))
        .route("/v1/policies/{*id}", get(policies::get).put(policies::put).delete(policies::delete))
        .route("/v1/query", get(query::get).post(query::post))
        .route("/v1/compile", any(|| refused("partial evaluation (/v1/compile) is not supported")))
        .route("/v1/compile/{*path}", any(|| refused("partial evaluation (/v1/compile) is not supported")))
        .route("/v1/config", any(|| refused("this node has no configuration of OPA's form (/v1/config)")))
        .route("/v1/status", any(|| refused("the status of policies is in their objects (/v1/status)")))
        .route("/health", get(|| async { axum::Json(serde_json::json!({})) }))
        .fallback(|| async { Failure::new(404, "resource_not_found", "there is no such endpoint") })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(server)
}
