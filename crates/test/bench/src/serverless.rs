//! `serverless`: functions deployed at zero, the first request to each, and a burst on one that is at zero.
//!
//! Times are a client's on this machine, over a kept connection; a function's first instance includes everything that is
//! written for it. The module is compiled before anything is measured.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use eyot_testkit::Node;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::{memory, report, watch};

/// Requests at once to a function at zero.
const BURST: usize = 1000;
/// Functions made at once.
const DEPLOYERS: usize = 16;
/// Longest that the routes of all functions may take.
const ROUTED: Duration = Duration::from_secs(120);

pub(crate) async fn run(functions: usize) -> Result<Value> {
    let node = watch::node().await?;
    node.push("hello").await?;
    let client = node.client().await?;
    let image = node.localized("localhost:5000/hello:v1");
    apply(&client, &image, "warm", "1").await?;
    routed(&node, "warm").await?;
    let began = Instant::now();
    let names: Vec<String> = (0..functions).map(|it| format!("f{it}")).collect();
    let deployed = stream::iter(&names).map(|it| apply(&client, &image, it, "0"));
    deployed.buffer_unordered(DEPLOYERS).try_collect::<()>().await?;
    apply(&client, &image, "burst", "0").await?;
    let last = names.last().context("no function")?;
    ready(&client, last).await?;
    ready(&client, "burst").await?;
    let deployed = began.elapsed();
    let resident = memory::resident_mib(&Vec::from_iter(node.pid()));
    let mut first = Vec::new();
    for name in &names {
        let began = Instant::now();
        let answer = node.get(&host(name), "/").await?;
        ensure!(answer.status == 200, "{name}: {} {}", answer.status, answer.text());
        first.push(began.elapsed());
    }
    let calls = (0..BURST).map(|_| async {
        let began = Instant::now();
        let answer = node.get(&host("burst"), "/").await;
        (began.elapsed(), answer.is_ok_and(|it| it.status == 200))
    });
    let burst = futures::future::join_all(calls).await;
    let failed = burst.iter().filter(|it| !it.1).count();
    let burst: Vec<Duration> = burst.into_iter().map(|it| it.0).collect();
    Ok(json!({
        "functions": functions,
        "deployed_per_second": (functions as f64 / deployed.as_secs_f64()).round(),
        "resident_at_zero_mib": resident,
        "first_request_at_zero": report::summary(&first),
        "burst_at_zero": report::summary(&burst),
        "burst_failed": failed,
    }))
}

fn host(name: &str) -> String {
    format!("{name}.default.localhost")
}

async fn apply(client: &kube::Client, image: &str, name: &str, initial: &str) -> Result<()> {
    let service = json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"template": {
            "metadata": {"annotations": {"autoscaling.knative.dev/initial-scale": initial}},
            "spec": {"containers": [{"image": image}]},
        }},
    });
    let request = http::Request::post("/apis/serving.knative.dev/v1/namespaces/default/services")
        .header("content-type", "application/json")
        .body(service.to_string().into_bytes())?;
    client.request::<Value>(request).await.with_context(|| format!("making {name}"))?;
    Ok(())
}

async fn ready(client: &kube::Client, name: &str) -> Result<()> {
    eyot_testkit::eventually("the last function is ready", ROUTED, async || {
        let path = format!("/apis/serving.knative.dev/v1/namespaces/default/services/{name}");
        let service: Value = client.request(http::Request::get(path).body(Vec::new())?).await?;
        let rows = service["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
        ensure!(rows.iter().any(|it| it["type"] == "Ready" && it["status"] == "True"), "{}", service["status"]);
        Ok(())
    })
    .await
}

async fn routed(node: &Node, name: &str) -> Result<()> {
    eyot_testkit::eventually("a function answers", ROUTED, async || {
        let answer = node.get(&host(name), "/").await?;
        ensure!(answer.status == 200, "{}", answer.status);
        Ok(())
    })
    .await
}
