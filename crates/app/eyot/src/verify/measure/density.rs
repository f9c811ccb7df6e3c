//! As many ready pods at once as were promised, or as the sample allows.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use eyot_advise::{Text, render::Promise};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{Figure, Outcome, labels};
use crate::verify::{Bench, taken};

const NAME: &str = "verify-density";
const LOOK: Duration = Duration::from_millis(50);
/// How often somebody who waits is told how far it is.
const TELL: Duration = Duration::from_secs(2);
/// Once all are made, and none of them became ready for so long, none will.
const STALLED: Duration = Duration::from_secs(10);

pub(in crate::verify) async fn take(bench: &Bench<'_>, promise: &Promise) -> Result<Outcome> {
    let promised = promise.amount().unwrap_or(1);
    let wanted = i32::try_from(promised).unwrap_or(i32::MAX).min(bench.flags.density());
    let sample = Sample::start(bench, wanted).await?;
    let took = sample.began.elapsed();
    let reached = sample.reached;
    let held_up = if reached < wanted { held_up(bench).await? } else { String::new() };
    sample.end(bench).await?;
    let seconds = took.as_secs_f64();
    let how = Text::new(
        format!("{reached} of {wanted} pods ready at once after {seconds:.1} s{held_up}"),
        format!("{seconds:.1} 秒后 {wanted} 个 Pod 中有 {reached} 个同时就绪{held_up}"),
    );
    let in_part = reached == wanted && i64::from(wanted) < promised;
    let leaves_open = in_part.then(|| {
        Text::new(
            format!("a sample of {wanted}: --density {promised} starts all"),
            format!("仅抽样 {wanted} 个：--density {promised} 可全部启动"),
        )
    });
    Ok(taken(Figure { value: i64::from(reached), usual: None, how, leaves_open }))
}

/// What one of the pods that are not ready says about itself.
async fn held_up(bench: &Bench<'_>) -> Result<String> {
    let pending = ListParams::default().labels("eyot.io/verify=density").fields("status.phase=Pending").limit(1);
    let pods = pods(bench).list(&pending).await.context("looking for what holds the density sample up")?;
    let conditions = pods.items.into_iter().filter_map(|it| it.status?.conditions).flatten();
    let said = conditions.filter(|it| it.status != "True").find_map(|it| it.message).filter(|it| !it.is_empty());
    Ok(said.map_or_else(String::new, |it| format!(": {it}")))
}

/// Many pods of one Deployment.
pub(super) struct Sample {
    began: Instant,
    pub(super) reached: i32,
}

impl Sample {
    /// Starts that many pods and waits until all are available, or the time is up.
    pub(super) async fn start(bench: &Bench<'_>, wanted: i32) -> Result<Self> {
        let api = api(bench);
        let template = &bench.folder.deployment()["spec"]["template"]["spec"];
        let deployment = json!({ "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": NAME, "labels": labels("density") },
            "spec": { "replicas": wanted, "selector": { "matchLabels": labels("density") },
                "template": { "metadata": { "labels": labels("density") }, "spec": template } } });
        let deployment: Deployment = serde_json::from_value(deployment).context("making a Deployment")?;
        let began = Instant::now();
        api.create(&PostParams::default(), &deployment).await.context("creating the density sample")?;
        let reached = reach(bench, wanted, began).await?;
        Ok(Self { began, reached })
    }

    /// Changes how many there are, and waits for that.
    pub(super) async fn scale(&mut self, bench: &Bench<'_>, wanted: i32) -> Result<()> {
        let change = Patch::Merge(json!({ "spec": { "replicas": wanted } }));
        api(bench).patch(NAME, &PatchParams::default(), &change).await.context("scaling the density sample")?;
        self.reached = reach(bench, wanted, Instant::now()).await?;
        Ok(())
    }

    /// Removes them, and waits until the pods are gone: what ends meanwhile would be measured with what comes next.
    pub(super) async fn end(self, bench: &Bench<'_>) -> Result<()> {
        api(bench).delete(NAME, &DeleteParams::background()).await.context("removing the density sample")?;
        let pods = pods(bench);
        let left = ListParams::default().labels("eyot.io/verify=density").limit(1);
        let began = Instant::now();
        while began.elapsed() < bench.flags.timeout() {
            if pods.list_metadata(&left).await.context("looking for pods of the density sample")?.items.is_empty() {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

fn api(bench: &Bench<'_>) -> Api<Deployment> {
    Api::namespaced(bench.client.clone(), &bench.folder.namespace)
}

fn pods(bench: &Bench<'_>) -> Api<Pod> {
    Api::namespaced(bench.client.clone(), &bench.folder.namespace)
}

async fn reach(bench: &Bench<'_>, wanted: i32, began: Instant) -> Result<i32> {
    let api = api(bench);
    let (mut told, mut moved, mut last) = (Instant::now(), Instant::now(), (0, 0));
    loop {
        let status = api.get_status(NAME).await.context("reading the density sample")?.status.unwrap_or_default();
        let (total, ready) = (status.replicas.unwrap_or(0), status.available_replicas.unwrap_or(0));
        let is_reached = ready == wanted && total == wanted;
        if (total, ready) != last {
            (moved, last) = (Instant::now(), (total, ready));
        }
        if is_reached || began.elapsed() > bench.flags.timeout() || total == wanted && moved.elapsed() > STALLED {
            return Ok(ready);
        }
        if told.elapsed() > TELL {
            eprintln!("  {ready}/{wanted}");
            told = Instant::now();
        }
        tokio::time::sleep(LOOK).await;
    }
}
