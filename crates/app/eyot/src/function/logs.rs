//! `eyot logs`: what all instances of a function write, line by line.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{ListParams, LogParams},
    runtime::{WatchStreamExt, watcher},
};
use tokio::task::JoinSet;

/// Prints the last `tail` lines of each instance; with `follow` goes on until it is ended.
pub(super) async fn run(client: &Client, namespace: &str, name: &str, follow: bool, tail: i64) -> Result<()> {
    super::services(client, namespace).get(name).await.with_context(|| format!("reading {name}"))?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let selector = format!("{}={name}", eyot_serving::label::SERVICE);
    if !follow {
        let listed = pods.list(&ListParams::default().labels(&selector)).await.context("listing instances")?;
        ensure!(!listed.items.is_empty(), "{name} has no instance now; its logs go with its instances");
        for pod in listed.items {
            print(pods.clone(), pod.metadata.name.unwrap_or_default(), false, tail).await?;
        }
        return Ok(());
    }
    let (mut known, mut streams) = (HashSet::new(), JoinSet::new());
    let mut seen = Box::pin(watcher(pods.clone(), watcher::Config::default().labels(&selector)).applied_objects());
    loop {
        tokio::select! {
            pod = seen.next() => {
                let pod = pod.context("the watch ended")?.context("watching instances")?;
                let runs = pod.status.and_then(|it| it.phase).is_some_and(|it| it != "Pending");
                let pod = pod.metadata.name.unwrap_or_default();
                if runs && known.insert(pod.clone()) {
                    streams.spawn(print(pods.clone(), pod, true, tail));
                }
            }
            Some(ended) = streams.join_next() => {
                if let Ok(Err(error)) = ended {
                    eprintln!("eyot: {}", crate::client::told(&error));
                }
            }
        }
    }
}

async fn print(pods: Api<Pod>, pod: String, follow: bool, tail: i64) -> Result<()> {
    let params = LogParams { follow, tail_lines: Some(tail), ..LogParams::default() };
    let stream = pods.log_stream(&pod, &params).await.with_context(|| format!("reading the log of {pod}"))?;
    let mut lines = stream.lines();
    while let Some(line) = lines.try_next().await.with_context(|| format!("reading the log of {pod}"))? {
        println!("{pod} {line}");
    }
    Ok(())
}
