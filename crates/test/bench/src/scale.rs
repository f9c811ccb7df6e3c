//! `scale`: a Deployment from 0 to many replicas until a watcher has seen each Ready, and back until none is left.

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    report,
    watch::{self, Pods},
};

const ROUNDS: usize = 5;

pub(crate) async fn run(pods: usize) -> Result<Value> {
    let node = watch::node().await?;
    let client = node.client().await?;
    let mut watched = Pods::start(&client).await?;
    let deployment = watch::deployment(&node, &client).await?;
    // Once with one pod: the module is compiled.
    watch::replicas(&deployment, 1).await?;
    watched.until_ready(1).await?;
    watch::replicas(&deployment, 0).await?;
    watched.until_gone().await?;
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = watch::replicas(&deployment, pods).await?;
        watched.until_ready(pods).await?;
        up.push(began.elapsed());
        let began = watch::replicas(&deployment, 0).await?;
        watched.until_gone().await?;
        down.push(began.elapsed());
    }
    Ok(json!({ "pods": pods, "up": report::summary(&up), "down": report::summary(&down) }))
}
