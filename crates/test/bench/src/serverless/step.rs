//! Ten times the load from one moment to the next: when the instances for it serve, and how many too many there are.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    function::{Place, host},
    judged,
};
use crate::http::Connection;

/// Requests under way at once for each instance.
const TARGET: usize = 10;
/// Requests under way before and after the step: one instance, and ten.
const BEFORE: usize = 10;
const AFTER: usize = 100;
/// How long the guest takes for an answer.
const NAP_NANOS: u64 = 50_000_000;
/// How long the load before lasts, and that after it.
const QUIET: Duration = Duration::from_secs(8);
const RUSH: Duration = Duration::from_secs(10);
/// Between two looks at the number of instances.
const LOOK: Duration = Duration::from_millis(2);

pub(super) async fn run() -> Result<Value> {
    let place = Place::start().await?;
    place.node.push_bytes(&napper()?, "nap:v1").await?;
    let image = place.node.localized("localhost:5000/nap:v1");
    let annotations =
        json!({"target": TARGET.to_string(), "target-utilization-percentage": "100", "initial-scale": "1"});
    place.apply_image("nap", &image, annotations, json!({})).await?;
    place.ready("nap").await?;
    place.answers("nap").await?;
    let mut clients = JoinSet::new();
    let until = Instant::now() + QUIET + RUSH;
    let (few, many) = (connections(&place, BEFORE).await?, connections(&place, AFTER - BEFORE).await?);
    hold(&mut clients, few, until);
    tokio::time::sleep(QUIET).await;
    let began = Instant::now();
    hold(&mut clients, many, until);
    let (mut reacted, mut most) = (None, 0);
    while Instant::now() < until {
        let ready = instances(&place).await?;
        most = most.max(ready);
        if ready >= AFTER / TARGET && reacted.is_none() {
            reacted = Some(began.elapsed());
        }
        let pause = if reacted.is_some() { Duration::from_millis(50) } else { LOOK };
        tokio::time::sleep(pause).await;
    }
    let mut failed = 0;
    while let Some(ended) = clients.join_next().await {
        failed += ended?;
    }
    let wanted = AFTER / TARGET;
    let reacted = reacted.map(|it| it.as_secs_f64() * 1e3);
    let overshoot = most as f64 / wanted as f64 - 1.0;
    let result = json!({
        "reaction_ms": reacted, "instances_wanted": wanted, "instances_most": most, "failed": failed,
        "overshoot_percent": (overshoot * 100.0).round(),
    });
    let met = reacted.is_some_and(|it| it <= 100.0) && overshoot <= 0.2 && failed == 0;
    Ok(judged(result, "serving within 100 ms, overshoot 20 % at most", met))
}

async fn connections(place: &Place, count: usize) -> Result<Vec<Connection>> {
    let mut connections = Vec::new();
    for _ in 0..count {
        connections.push(Connection::to(&place.address()).await?);
    }
    Ok(connections)
}

/// Keeps a request under way on each connection until then. Each task comes to how many failed.
fn hold(clients: &mut JoinSet<usize>, connections: Vec<Connection>, until: Instant) {
    for mut connection in connections {
        clients.spawn(async move {
            let mut failed = 0;
            while Instant::now() < until {
                match connection.get(&host("nap")).await {
                    Ok(200) => {}
                    Ok(_) => failed += 1,
                    Err(_) => return failed + 1,
                }
            }
            failed
        });
    }
}

async fn instances(place: &Place) -> Result<usize> {
    let path = "/apis/apps/v1/namespaces/default/deployments/nap-00001-deployment";
    let ready = place.get(path).await?["status"]["readyReplicas"].as_u64().unwrap_or(0);
    Ok(usize::try_from(ready)?)
}

/// A component that waits a moment before it answers.
fn napper() -> Result<Vec<u8>> {
    let source = include_str!("../../../../shell/runtime/tests/guests/http.wat");
    let handle = format!("(call $nap (i64.const {NAP_NANOS})) (call $hello (local.get $outparam))");
    Ok(wat::parse_str(source.replace(";;HANDLE;;", &handle))?)
}
