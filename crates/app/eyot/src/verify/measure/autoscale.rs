//! From the first request of a load to a further replica.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use eyot_advise::{Text, render::Promise};
use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler};
use kube::Api;
use tokio::task::JoinSet;

use super::{Figure, Outcome, nanos};
use crate::{
    deploy,
    verify::{Bench, http::Connection, taken},
};

/// Clients that ask without pause.
const CLIENTS: usize = 4;
/// Waited beyond what was promised, to tell a late reaction from none.
const GRACE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

pub(in crate::verify) async fn take(bench: &Bench<'_>, promise: &Promise) -> Result<Outcome> {
    let Some(autoscaler) = bench.folder.of_kind("HorizontalPodAutoscaler") else {
        return Ok(Outcome::unknown("the folder has no autoscaler", "目录中没有自动扩缩容对象"));
    };
    if bench.own.is_some()
        && let Some(why) = only_stored(autoscaler)
    {
        return Ok(Outcome::unknown(why, "本版本 Eyot 仅存储自动扩缩容对象，不据此扩缩"));
    }
    looked_at(bench).await?;
    let limit = Duration::from_nanos(u64::try_from(promise.amount().unwrap_or(0)).unwrap_or(0)) + GRACE;
    let api: Api<Deployment> = Api::namespaced(bench.client.clone(), &bench.folder.namespace);
    let before = replicas(&api, &bench.folder.name).await?;
    let address = deploy::gateway(&bench.client).await?;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let mut connection = Connection::open(&address, &bench.folder.host).await?;
        clients.spawn(async move { while connection.get().await.is_ok() {} });
    }
    let began = Instant::now();
    while began.elapsed() < limit {
        if replicas(&api, &bench.folder.name).await? > before {
            let how = Text::new(
                format!("load of {CLIENTS} clients until a further replica was asked for"),
                format!("{CLIENTS} 个客户端持续请求，直到副本数增加"),
            );
            return Ok(taken(Figure { value: nanos(began.elapsed()), usual: None, how, leaves_open: None }));
        }
        tokio::time::sleep(LOOK).await;
    }
    let seconds = limit.as_secs();
    Ok(Outcome::unknown(
        format!("no further replica within {seconds} s of load; the metric may have no source here"),
        format!("持续负载 {seconds} 秒内未增加副本；可能没有指标来源"),
    ))
}

/// Waits until the autoscaler was looked at once: its first look comes with its creation, and would flatter every later one.
async fn looked_at(bench: &Bench<'_>) -> Result<()> {
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(bench.client.clone(), &bench.folder.namespace);
    let began = Instant::now();
    while began.elapsed() < GRACE {
        let seen = api.get(&bench.folder.name).await.context("reading the autoscaler")?;
        if seen.status.and_then(|it| it.conditions).is_some_and(|it| !it.is_empty()) {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Why nothing acts on an object here.
fn only_stored(object: &serde_json::Value) -> Option<String> {
    let (version, kind) = (object["apiVersion"].as_str()?, object["kind"].as_str()?);
    eyot_model::inert::warning(eyot_model::kinds::builtin().by_api_version(version, kind)?)
}

async fn replicas(api: &Api<Deployment>, name: &str) -> Result<i32> {
    let deployment = api.get(name).await.context("reading the Deployment")?;
    Ok(deployment.spec.replicas.unwrap_or(1))
}
