//! `startup`: exec to the ready line, on an empty data directory and on one that holds many running pods.

use std::time::Duration;

use anyhow::Result;
use eyot_testkit::Node;
use serde_json::{Value, json};

use crate::{
    report,
    watch::{self, Pods},
};

const EMPTY_STARTS: usize = 15;
const FULL_STARTS: usize = 7;

pub(crate) async fn run(pods: usize) -> Result<Value> {
    let mut empty = Vec::new();
    for _ in 0..EMPTY_STARTS {
        let mut node = Node::start_with(watch::options()).await?;
        empty.push(node.ready().seen);
        node.kill().await?;
    }
    let (full, served) = full(pods).await?;
    Ok(json!({
        "empty": report::summary(&empty),
        "with_pods": { "pods": pods, "ready_line": report::summary(&full), "all_pods_ready_too": report::summary(&served) },
    }))
}

/// Kills a node that runs `pods` pods and starts it again, several times. The second figure is until a client, too, sees
/// every pod Ready.
async fn full(pods: usize) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let mut node = watch::node().await?;
    let client = node.client().await?;
    let mut watched = Pods::start(&client).await?;
    watch::replicas(&watch::deployment(&node, &client).await?, pods).await?;
    watched.until_ready(pods).await?;
    let (mut ready_line, mut all_ready) = (Vec::new(), Vec::new());
    for _ in 0..FULL_STARTS {
        node.kill().await?;
        let began = std::time::Instant::now();
        node.restart().await?;
        ready_line.push(node.ready().seen);
        Pods::start(&node.client().await?).await?.until_ready(pods).await?;
        all_ready.push(began.elapsed());
    }
    Ok((ready_line, all_ready))
}
