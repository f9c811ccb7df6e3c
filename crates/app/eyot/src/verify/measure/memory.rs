//! Resident memory: of the node as it starts, and of one more pod.

use std::time::Duration;

use anyhow::Result;
use eyot_advise::Text;

use super::{Figure, Outcome, density::Sample};
use crate::verify::{Bench, node::Own, taken};

/// How many pods share the figure of one.
const PODS: i32 = 500;
/// Time for what follows a change to come to rest.
const SETTLE: Duration = Duration::from_secs(2);

pub(in crate::verify) fn of_the_node(bench: &Bench<'_>) -> Outcome {
    let Some(value) = bench.idle else { return not_ours() };
    let how = Text::new("resident memory of the node before anything was deployed", "部署任何对象之前节点的常驻内存");
    taken(Figure { value, usual: None, how, leaves_open: None })
}

pub(in crate::verify) async fn of_a_pod(bench: &Bench<'_>) -> Result<Outcome> {
    let resident = || bench.own.as_ref().and_then(Own::resident_bytes);
    if resident().is_none() {
        return Ok(not_ours());
    }
    let many = PODS.min(bench.flags.density());
    // One pod first: what a loaded module costs is no pod's share.
    let mut sample = Sample::start(bench, 1).await?;
    tokio::time::sleep(SETTLE).await;
    let one = resident();
    sample.scale(bench, many).await?;
    tokio::time::sleep(SETTLE).await;
    let all = resident();
    let reached = sample.reached;
    sample.end(bench).await?;
    let (Some(one), Some(all)) = (one, all) else { return Ok(not_ours()) };
    if reached < 2 {
        return Ok(Outcome::unknown("the pods of the sample did not become ready", "抽样的 Pod 没有就绪"));
    }
    let value = (all - one).max(0) / i64::from(reached - 1);
    let how = Text::new(
        format!(
            "growth of the node from 1 to {reached} idle pods, for each; a request takes an instance's memory while it lasts"
        ),
        format!("从 1 个到 {reached} 个空闲 Pod 时节点内存的平均增长；请求期间另占一个实例的内存"),
    );
    Ok(taken(Figure { value, usual: None, how, leaves_open: None }))
}

fn not_ours() -> Outcome {
    Outcome::unknown(
        "the node's process is not ours to look at (--kubeconfig)",
        "节点进程不归本命令所有（--kubeconfig）",
    )
}
