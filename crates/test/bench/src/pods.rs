//! `pods`: from the POST of a pod to the moment a watcher sees it Ready, one after another, its module in the cache.
//! Beside each, what the disk alone takes to keep a page: a pod on its way waits for that twice.

use std::{
    fs::File,
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use crate::{
    report,
    watch::{self, Pods, Seen},
};

/// Pods that come first and are not counted: they compile the module and open connections.
const WARM_UP: usize = 20;
/// What a small write adds to the store's log: the changed page, and one that points to it.
const PAGES: [u8; 8192] = [0x5a; 8192];

pub(crate) async fn run(samples: usize) -> Result<Value> {
    let node = watch::node().await?;
    let client = node.client().await?;
    let api: Api<Pod> = Api::default_namespaced(client.clone());
    let mut pods = Pods::start(&client).await?;
    let mut beside = File::create(node.data_dir().join("flush")).context("creating a file beside the store")?;
    let (mut posted, mut ready, mut flushed) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..WARM_UP + samples {
        let name = format!("bench-{index}");
        let pod = watch::hello(&node, &name)?;
        let began = Instant::now();
        api.create(&PostParams::default(), &pod).await?;
        let answered = began.elapsed();
        loop {
            if let Seen::Ready(seen) = pods.next().await?
                && seen == name
            {
                break;
            }
        }
        if index >= WARM_UP {
            posted.push(answered);
            ready.push(began.elapsed());
            flushed.push(flush(&mut beside).context("flushing a file beside the store")?);
        }
    }
    Ok(json!({
        "post_answered": report::summary(&posted),
        "post_to_ready": report::summary(&ready),
        "disk_flush": report::summary(&flushed),
    }))
}

/// How long the disk takes to keep what a small write adds.
fn flush(file: &mut File) -> std::io::Result<Duration> {
    let began = Instant::now();
    file.write_all(&PAGES)?;
    file.sync_data()?;
    Ok(began.elapsed())
}
