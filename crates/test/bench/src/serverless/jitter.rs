//! What a function's answers suffer while another one goes from nothing to five hundred instances and back, again and again.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    function::{Place, host},
    judged,
    rate::Rate,
};
use crate::watch;

const INSTANCES: usize = 500;
const PER_SECOND: u64 = 500;
const CONNECTIONS: u64 = 16;
/// How long the neighbour is measured, alone and beside the other.
const LENGTH: Duration = Duration::from_secs(20);

pub(super) async fn run() -> Result<Value> {
    let place = Place::start().await?;
    place.apply("steady", json!({"initial-scale": "1", "min-scale": "1"}), json!({})).await?;
    place.ready("steady").await?;
    place.answers("steady").await?;
    let deployment = watch::deployment(&place.node, &place.client).await?;
    let address = place.address();
    let load = || Rate::start(&address, PER_SECOND, CONNECTIONS, Arc::new(|_| host("steady")));
    let quiet = load().during(LENGTH).await?;
    let beside = load();
    let (mut rounds, began) = (0, std::time::Instant::now());
    while began.elapsed() < LENGTH {
        watch::replicas(&deployment, INSTANCES).await?;
        ready(&deployment, INSTANCES).await?;
        watch::replicas(&deployment, 0).await?;
        ready(&deployment, 0).await?;
        rounds += 1;
    }
    let beside = beside.stop().await?;
    let times = beside.at(0.999) / quiet.at(0.999).max(0.001);
    let result = json!({
        "quiet": quiet.report(), "beside": beside.report(), "rounds": rounds, "times": (times * 100.0).round() / 100.0,
    });
    let met = times <= 2.0 && quiet.failed + beside.failed == 0;
    Ok(judged(result, "p99.9 at most 2 × the quiet one", met))
}

/// Waits until the Deployment has so many Ready instances. It is looked at now and then, so that looking is no load.
async fn ready(api: &kube::Api<k8s_openapi::api::apps::v1::Deployment>, count: usize) -> Result<()> {
    for _ in 0..3000 {
        let status = api.get_status("bench").await?.status.unwrap_or_default();
        if usize::try_from(status.ready_replicas.unwrap_or(0))? == count {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    anyhow::bail!("the Deployment does not come to {count} instances")
}
