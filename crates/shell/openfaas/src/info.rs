//! `/system/info` and `/healthz`.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::Inner;

/// Who answers here.
pub(crate) async fn info(State(inner): State<Arc<Inner>>) -> Json<Value> {
    let version = json!({ "sha": "", "release": inner.config.version });
    Json(json!({
        "provider": { "provider": "eyot", "orchestration": "kubernetes", "version": version },
        "version": version,
        "arch": std::env::consts::ARCH,
    }))
}

/// Whether anybody answers.
pub(crate) async fn health() -> &'static str {
    "OK"
}
