//! From the POST of a pod to the moment a watcher sees it Ready, one after another, its module compiled.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use eyot_advise::Text;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};

use super::{Figure, Outcome, pod};
use crate::verify::{Bench, taken};

/// Pods that come first and are not counted.
const WARM_UP: u32 = 3;
const READY_MAX: Duration = Duration::from_secs(30);

pub(in crate::verify) async fn take(bench: &Bench<'_>) -> Result<Outcome> {
    let pods: Api<Pod> = Api::namespaced(bench.client.clone(), &bench.folder.namespace);
    let config = watcher::Config::default().labels("eyot.io/verify=cold");
    let mut seen = Box::pin(watcher(pods.clone(), config).applied_objects());
    let mut samples = Vec::new();
    for index in 0..WARM_UP + bench.flags.samples() {
        let name = format!("verify-cold-{index}");
        let object = serde_json::from_value(pod(bench, &name, "cold")).context("making a pod")?;
        let began = Instant::now();
        pods.create(&PostParams::default(), &object).await.context("creating a pod")?;
        let ready = async {
            while let Some(pod) = seen.next().await {
                let pod = pod.context("watching pods")?;
                if pod.metadata.name.as_deref() == Some(&name) && is_ready(&pod) {
                    return Ok(began.elapsed());
                }
            }
            bail!("the watch ended")
        };
        let took =
            tokio::time::timeout(READY_MAX, ready).await.with_context(|| format!("{name} is not ready in time"))??;
        if index >= WARM_UP {
            samples.push(took);
        }
    }
    let selected = ListParams::default().labels("eyot.io/verify=cold");
    pods.delete_collection(&DeleteParams::default().grace_period(0), &selected).await.context("removing the pods")?;
    let count = samples.len();
    let how = Text::new(
        format!("p99 of {count} pods, POST to Ready seen by a watcher, module compiled"),
        format!("{count} 个 Pod 的 p99：从 POST 到观察者看到 Ready，模块已编译"),
    );
    Ok(Figure::of_durations(samples, how).map_or_else(|| Outcome::unknown("no samples", "没有样本"), taken))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|it| it.conditions.as_ref());
    conditions.into_iter().flatten().any(|it| it.type_ == "Ready" && it.status == "True")
}
