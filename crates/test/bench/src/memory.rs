//! `memory`: what an idle node takes, what each further idle pod adds, and how much processor time many idle pods take.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use eyot_testkit::Node;
use serde_json::{Value, json};

use crate::watch::{self, Pods};

/// Time for what follows a change to come to rest.
const SETTLE: Duration = Duration::from_secs(5);
/// Time over which idle processor use is taken.
const IDLE: Duration = Duration::from_secs(15);

pub(crate) async fn run(pods: usize) -> Result<Value> {
    let node = watch::node().await?;
    tokio::time::sleep(SETTLE).await;
    let idle = Usage::of(&node)?;
    let client = node.client().await?;
    let deployment = watch::deployment(&node, &client).await?;
    // One pod first: what a loaded module costs is no pod's share.
    Pods::start(&client).await?.ready_at(&deployment, 1).await?;
    tokio::time::sleep(SETTLE).await;
    let one = Usage::of(&node)?;
    Pods::start(&client).await?.ready_at(&deployment, pods).await?;
    tokio::time::sleep(SETTLE).await;
    let before = Usage::of(&node)?;
    tokio::time::sleep(IDLE).await;
    let many = Usage::of(&node)?;
    let per_pod = |one: u64, many: u64| (many as f64 - one as f64) / (pods - 1).max(1) as f64;
    Ok(json!({
        "idle_node_mib": mib(idle.resident_kib),
        "with_one_pod_mib": mib(one.resident_kib),
        "with_many_pods_mib": mib(many.resident_kib),
        "pods": pods,
        "per_further_pod_kib": round(per_pod(one.resident_kib, many.resident_kib)),
        "page_tables_per_further_pod_kib": round(per_pod(one.page_tables_kib, many.page_tables_kib)),
        "per_further_pod_with_page_tables_kib": round(
            per_pod(one.resident_kib + one.page_tables_kib, many.resident_kib + many.page_tables_kib),
        ),
        "threads": many.threads,
        "idle_cpu_percent_of_a_core": round((many.cpu_seconds - before.cpu_seconds) / IDLE.as_secs_f64() * 100.0),
    }))
}

impl Pods {
    async fn ready_at(mut self, api: &kube::Api<k8s_openapi::api::apps::v1::Deployment>, count: usize) -> Result<()> {
        watch::replicas(api, count).await?;
        self.until_ready(count).await
    }
}

/// Resident memory of processes together, in MiB; null when none of them can be asked.
pub(crate) fn resident_mib(pids: &[u32]) -> Value {
    let status = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/status")).ok();
    let resident = |status: String| status.lines().find_map(|line| number(line.strip_prefix("VmRSS:")?));
    let known: Vec<u64> = pids.iter().filter_map(status).filter_map(resident).collect();
    if known.is_empty() { Value::Null } else { mib(known.iter().sum()).into() }
}

/// What the kernel says of a process.
struct Usage {
    resident_kib: u64,
    page_tables_kib: u64,
    threads: u64,
    cpu_seconds: f64,
}

impl Usage {
    fn of(node: &Node) -> Result<Self> {
        let pid = node.pid().context("the node has ended")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("reading its status")?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("reading its times")?;
        let field = |name: &str| status.lines().find_map(|line| number(line.strip_prefix(name)?)).unwrap_or(0);
        // Fields 14 and 15, in clock ticks of 10 ms; the name in field 2 may hold spaces.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
        Ok(Usage {
            resident_kib: field("VmRSS:"),
            page_tables_kib: field("VmPTE:"),
            threads: field("Threads:"),
            cpu_seconds: ticks as f64 / 100.0,
        })
    }
}

fn number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

fn mib(kib: u64) -> f64 {
    round(kib as f64 / 1024.0)
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
