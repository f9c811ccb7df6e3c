//! What policies add to a write: dry-run creates of a pod in the governed namespace less those in one that is not.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use eyot_advise::Text;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use super::{Figure, Outcome, nanos, pod, quantile};
use crate::verify::{Bench, taken};

/// Where no rendered policy applies.
const ELSEWHERE: &str = "default";
/// Creates for each sample of what takes longer.
const TIMES: u32 = 4;

pub(in crate::verify) async fn take(bench: &Bench<'_>) -> Result<Outcome> {
    let good = pod(bench, "verify-policy", "policy");
    let mut bad = good.clone();
    bad["spec"]["containers"][0]["image"] = json!("elsewhere.example/not-ours:v1");
    let namespace = &bench.folder.namespace;
    let Err(refused) = dry_run(bench, namespace, &bad).await else {
        return Ok(Outcome::unknown(
            "a pod that breaks the policy is accepted: this server does not enforce what 30-policy.yaml says",
            "违反策略的 Pod 被接受：此服务器未执行 30-policy.yaml",
        ));
    };
    dry_run(bench, namespace, &good).await.context("a pod that keeps the policy is refused")?;
    let (mut governed, mut free) = (Vec::new(), Vec::new());
    // In turn, so that both meet the same machine.
    for _ in 0..bench.flags.samples() * TIMES {
        governed.push(dry_run(bench, namespace, &good).await?);
        free.push(dry_run(bench, ELSEWHERE, &good).await?);
    }
    governed.sort();
    free.sort();
    let share = |share| Some(quantile(&governed, share)?.saturating_sub(quantile(&free, share)?));
    let Some(median) = share(0.5) else { return Ok(Outcome::unknown("no samples", "没有样本")) };
    let count = governed.len();
    let said = match refused.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => status.message.clone(),
        _ => format!("{refused:#}"),
    };
    let how = Text::new(
        format!(
            "median of {count} dry-run creates with the policy less without; a pod that breaks it is refused ({said})"
        ),
        format!("{count} 次 dry-run 创建的中位数之差（有策略减无策略）；违规 Pod 被拒绝（{said}）"),
    );
    Ok(taken(Figure { value: nanos(median), usual: None, how, leaves_open: None }))
}

async fn dry_run(bench: &Bench<'_>, namespace: &str, pod: &Value) -> Result<Duration> {
    let mut pod = pod.clone();
    pod["metadata"]["namespace"] = json!(namespace);
    let api: Api<Pod> = Api::namespaced(bench.client.clone(), namespace);
    let object = serde_json::from_value(pod).context("making a pod")?;
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let began = Instant::now();
    api.create(&params, &object).await?;
    Ok(began.elapsed())
}
