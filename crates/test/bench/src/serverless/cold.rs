//! Functions at zero: what they cost, the first request to each, a burst on one.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{
    figure,
    function::{Place, host},
    judged,
};
use crate::{http::Connection, memory, report};

/// Requests at once to a function at zero.
const BURST: usize = 1000;
/// For what follows a burst of deployments to come to rest.
const REST: Duration = Duration::from_secs(3);

/// The first request to each of `count` functions.
pub(super) async fn first(count: usize) -> Result<Value> {
    let place = Place::start().await?;
    let names = place.many("f", count).await?;
    tokio::time::sleep(REST).await;
    let mut connection = Connection::to(&place.address()).await?;
    connection.get(&host("warm")).await?;
    let mut first = Vec::new();
    for name in &names {
        let host = host(name);
        let began = Instant::now();
        let status = connection.get(&host).await?;
        first.push(began.elapsed());
        ensure!(status == 200, "{name}: {status}");
    }
    let result = report::summary(&first);
    let met = figure(&result, "p50_ms") <= 0.3 && figure(&result, "p99_ms") <= 1.0;
    Ok(judged(result, "p50 0.3 ms, p99 1 ms", met))
}

/// Requests to one function, all at once.
pub(super) async fn burst() -> Result<Value> {
    let place = Place::start().await?;
    place.many("burst", 1).await?;
    tokio::time::sleep(REST).await;
    let (address, host) = (place.address(), host("burst-0"));
    let mut connections = Vec::new();
    for _ in 0..BURST {
        connections.push(Connection::to(&address).await?);
    }
    let calls = connections.into_iter().map(|mut connection| {
        let host = host.clone();
        tokio::spawn(async move {
            let began = Instant::now();
            let status = connection.get(&host).await;
            (began.elapsed(), status.is_ok_and(|it| it == 200))
        })
    });
    let calls: Vec<_> = calls.collect();
    let (mut took, mut failed) = (Vec::new(), 0);
    for call in calls {
        let (elapsed, is_good) = call.await?;
        took.push(elapsed);
        failed += usize::from(!is_good);
    }
    let mut result = report::summary(&took);
    result["failed"] = failed.into();
    let met = failed == 0 && figure(&result, "p99_ms") <= 50.0;
    Ok(judged(result, "none failed, p99 50 ms", met))
}

/// What `count` functions at zero take, and how fast they are made.
pub(super) async fn many(count: usize) -> Result<Value> {
    let place = Place::start().await?;
    let resident = || memory::resident_mib(&Vec::from_iter(place.node.pid())).as_f64().unwrap_or_default();
    tokio::time::sleep(REST).await;
    let before = resident();
    let began = Instant::now();
    place.many("many", count).await?;
    let took = began.elapsed();
    tokio::time::sleep(REST).await;
    let after = resident();
    let each = (after - before) * 1024.0 / count as f64;
    let round = |it: f64| (it * 10.0).round() / 10.0;
    let with_ten_thousand = before + each * 10_000.0 / 1024.0;
    let result = json!({
        "functions": count,
        "deployed_per_second": (count as f64 / took.as_secs_f64()).round(),
        "node_before_mib": before,
        "node_mib": after,
        "per_function_kib": round(each),
        "ten_thousand_at_this_rate_mib": round(with_ten_thousand),
    });
    // 400 MB are 381 MiB.
    let met = if count >= 10_000 { after < 381.0 } else { with_ten_thousand < 381.0 };
    Ok(judged(result, "10,000 under 400 MB", met))
}
