//! `policy`: what policies add to a write and to a request, how soon a changed one is in force, what they take in memory,
//! and how long an audit of many objects takes.
//!
//! Entry point: [`run`]. Each part says on standard error when it begins, is bounded in counts or in time, and needs
//! nothing but the node and its sample guests: `create` the cost of a write under [`mixed`] policies, [`decide`] decisions
//! in this process, [`changes`] policies that change while clients ask, [`gateway`] requests, [`audit`] memory and audits.

mod audit;
mod changes;
mod create;
mod decide;
mod gateway;

use std::time::Instant;

use anyhow::Result;
use eyot_mixture::policies::{self as mixed, pod};
use http::Method;
use kube::Client;
use serde_json::{Value, json};

/// Measures everything. Nobody else needs to be quiet for the parts that run in this process, so they come first.
pub(crate) async fn run(samples: usize, audited: usize) -> Result<Value> {
    let progress = Progress(Instant::now());
    progress.tell("decisions in this process");
    let decisions = tokio::task::spawn_blocking(move || decide::run(samples)).await??;
    let create = create::run(samples, &progress).await?;
    // Policies of the rows above are not there any more: the node is another one.
    let changes = changes::run(samples, &progress).await?;
    let gateway = gateway::run(&progress).await?;
    let audit = audit::run(audited, &progress).await?;
    Ok(json!({
        "decision": decisions, "pod_create": create, "change_to_enforced": changes, "gateway": gateway,
        "memory_and_audit": audit,
        "seconds_altogether": progress.0.elapsed().as_secs(),
    }))
}

/// Tells how far the benchmark is.
struct Progress(Instant);

impl Progress {
    fn tell(&self, what: &str) {
        eprintln!("  {:>4} s  {what}", self.0.elapsed().as_secs());
    }
}

const JSON: &str = "application/json";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn send(client: &Client, method: Method, uri: &str, body: &Value) -> Result<String, kube::Error> {
    let media_type = if method == Method::PATCH { "application/merge-patch+json" } else { JSON };
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = http::Request::builder().method(method).uri(uri).header(http::header::CONTENT_TYPE, media_type);
    client.request_text(request.body(bytes).map_err(kube::Error::HttpError)?).await
}

/// A number with one decimal.
fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
