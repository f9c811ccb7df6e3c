//! `pods`: from the POST of a pod to the moment a watcher sees it Ready, one after another, its module in the cache.

use std::time::Instant;

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use crate::{
    report,
    watch::{self, Pods, Seen},
};

/// Pods that come first and are not counted: they compile the module and open connections.
const WARM_UP: usize = 20;

pub(crate) async fn run(samples: usize) -> Result<Value> {
    let node = watch::node().await?;
    let client = node.client().await?;
    let api: Api<Pod> = Api::default_namespaced(client.clone());
    let mut pods = Pods::start(&client).await?;
    let (mut posted, mut ready) = (Vec::new(), Vec::new());
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
        }
    }
    Ok(json!({ "post_answered": report::summary(&posted), "post_to_ready": report::summary(&ready) }))
}
