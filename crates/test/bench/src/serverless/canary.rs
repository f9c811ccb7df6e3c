//! Rolling updates one after the other, a canary from nothing to everything, and a rollback, while requests keep coming.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    function::{Place, host},
    judged,
    rate::Rate,
};
use crate::report;

/// Updates one after the other, at most.
const UPDATES_MAX: usize = 100;
const PER_SECOND: u64 = 2000;
const CONNECTIONS: u64 = 64;
const NAME: &str = "rolled";

pub(super) async fn run(samples: usize) -> Result<Value> {
    let place = Place::start().await?;
    place.apply(NAME, json!({"initial-scale": "1", "min-scale": "1"}), json!({})).await?;
    place.ready(NAME).await?;
    let first = revision(&place).await?;
    place.answers(NAME).await?;
    let load = Rate::start(&place.address(), PER_SECOND, CONNECTIONS, Arc::new(|_| host(NAME)));
    let mut took = Vec::new();
    for update in 0..samples.min(UPDATES_MAX) {
        let began = Instant::now();
        change(&place, &format!("{update}")).await?;
        place.ready(NAME).await?;
        took.push(began.elapsed());
    }
    let before = revision(&place).await?;
    lead(&place, &[(before.as_str(), 100)]).await?;
    change(&place, "canary").await?;
    let canary = loop {
        let latest = revision(&place).await?;
        if latest != before {
            break latest;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    for share in (10..=100).step_by(10) {
        lead(&place, &[(before.as_str(), 100 - share), (canary.as_str(), share)]).await?;
    }
    lead(&place, &[(first.as_str(), 100)]).await?;
    let tally = load.stop().await?;
    let mut result = tally.report();
    result["updates"] = report::summary(&took);
    let met = tally.failed == 0;
    Ok(judged(result, "zero failed requests", met))
}

async fn change(place: &Place, greeting: &str) -> Result<()> {
    let container = json!({"image": place.image, "env": [{"name": "GREETING", "value": greeting}]});
    place.patch(NAME, &json!({"spec": {"template": {"spec": {"containers": [container]}}}})).await.map(drop)
}

async fn lead(place: &Place, shares: &[(&str, u32)]) -> Result<()> {
    let shares = shares.iter().filter(|it| it.1 > 0);
    let traffic: Vec<Value> = shares
        .map(|(name, percent)| json!({"revisionName": name, "percent": percent, "latestRevision": false}))
        .collect();
    place.patch(NAME, &json!({"spec": {"traffic": traffic}})).await?;
    place.ready(NAME).await
}

/// The revision that got ready last.
async fn revision(place: &Place) -> Result<String> {
    let service = place.read(NAME).await?;
    let name = service["status"]["latestReadyRevisionName"].as_str();
    Ok(name.context("no revision is ready")?.to_owned())
}
