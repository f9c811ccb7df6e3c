//! What 0, 10 and 100 policies of all engines add to the create of a pod. Entry point: [`run`].
//!
//! Pods are posted one after another, with and without being stored (`dryRun`), to one node that gets more policies from
//! row to row; `added` is the difference to the row without any.

use std::time::Instant;

use anyhow::{Context, Result};
use eyot_testkit::Node;
use http::Method;
use kube::Client;
use serde_json::{Value, json};

use super::{
    PODS, Progress,
    mixed::{MIXED, collection},
    pod, send,
};
use crate::{memory, report};

/// How many policies there are in each row.
const ROWS: [usize; 3] = [0, 10, 100];
/// Pods that come first and are not counted.
const WARM_UP: usize = 50;

pub(super) async fn run(samples: usize, progress: &Progress) -> Result<Value> {
    let mut node = Node::start().await?;
    let pid = node.pid().context("the node has ended")?;
    let client = node.client().await?;
    let mut rows = json!({});
    let (mut there, mut bare) = (0, json!({}));
    for count in ROWS {
        progress.tell(&format!("creating pods under {count} policies"));
        for at in there..count {
            for object in MIXED[at % MIXED.len()].1(at) {
                create(&client, &object).await.with_context(|| format!("policy {at}"))?;
            }
        }
        there = count;
        let mut row = json!({
            "stored": pods(&client, &format!("stored-{count}"), "", samples).await?,
            "dry_run": pods(&client, &format!("dry-{count}"), "?dryRun=All", samples).await?,
            "resident_mib": memory::resident_mib(&[pid]),
        });
        if count == 0 {
            bare = row.clone();
        }
        for how in ["stored", "dry_run"] {
            for figure in ["p50_ms", "p99_ms"] {
                let both = row[how][figure].as_f64().zip(bare[how][figure].as_f64());
                let added = both.map(|(with, without)| ((with - without) * 1e3).round() / 1e3);
                row[how][format!("added_{figure}")] = json!(added);
            }
        }
        rows[format!("with_{count}_policies")] = row;
    }
    node.stop().await?;
    Ok(rows)
}

/// Creates an object that is no pod.
pub(super) async fn create(client: &Client, object: &Value) -> Result<()> {
    let uri = collection(object).context("an object of an unknown kind")?;
    send(client, Method::POST, &uri, object).await.with_context(|| format!("creating {uri}"))?;
    Ok(())
}

/// Posts pods that no node takes.
async fn pods(client: &Client, name: &str, query: &str, samples: usize) -> Result<Value> {
    let mut took = Vec::with_capacity(samples);
    for at in 0..WARM_UP + samples {
        let pod = pod(&format!("{name}-{at}"));
        let began = Instant::now();
        send(client, Method::POST, &format!("{PODS}{query}"), &pod)
            .await
            .with_context(|| format!("pod {name}-{at}"))?;
        if at >= WARM_UP {
            took.push(began.elapsed());
        }
    }
    Ok(report::summary(&took))
}
