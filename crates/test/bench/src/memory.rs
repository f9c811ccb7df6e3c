//! `memory`: what an idle node takes, what each further idle pod adds, and how much processor time many idle pods take.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use eyot_testkit::{Node, eventually};
use serde_json::{Value, json};

use crate::{
    peer,
    report::{self, Aim},
    watch::{self, Pods},
};

/// Time for what follows a change to come to rest.
const SETTLE: Duration = Duration::from_secs(5);
/// Time over which idle processor use is taken.
const IDLE: Duration = Duration::from_secs(15);

/// Aims: memory of a further idle pod, and pods that become Ready in a second.
const PER_POD_KIB: f64 = 64.0;
const READY_PER_SECOND: f64 = 1500.0;

/// A way from clients to all pods: their endpoints are kept in slices, and in the table of the gateway.
const ROUTE: &str = "
apiVersion: v1
kind: Service
metadata: {name: bench}
spec: {selector: {app: bench}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: bench}
spec:
  parentRefs: [{name: default, namespace: eyot-system}]
  hostnames: [bench.localhost]
  rules: [{backendRefs: [{name: bench, port: 80}]}]
";

/// Longest wait until all pods are behind the route.
const ROUTED: Duration = Duration::from_secs(60);

/// Measures so many pods, behind a Service and a route if they are to be `routed`.
pub(crate) async fn run(pods: usize, routed: bool) -> Result<Value> {
    let node = watch::node_for(pods).await?;
    if routed {
        node.apply_text(ROUTE).await?;
    }
    tokio::time::sleep(SETTLE).await;
    let idle = Usage::of(&node)?;
    let client = node.client().await?;
    let deployment = watch::deployment(&node, &client).await?;
    // One pod first: what a loaded module costs is no pod's share.
    Pods::start(&client).await?.ready_at(&deployment, 1).await?;
    tokio::time::sleep(SETTLE).await;
    let one = Usage::of(&node)?;
    let ready = Pods::start(&client).await?.ready_at(&deployment, pods).await?;
    if routed {
        until_routed(&client, pods).await?;
        peer::answers(node.gateway(), "bench.localhost").await?;
    }
    tokio::time::sleep(SETTLE).await;
    let before = Usage::of(&node)?;
    tokio::time::sleep(IDLE).await;
    let many = Usage::of(&node)?;
    let per_pod = |one: u64, many: u64| (many as f64 - one as f64) / (pods - 1).max(1) as f64;
    let all_told = per_pod(one.resident_kib + one.page_tables_kib, many.resident_kib + many.page_tables_kib);
    let per_second = (pods - 1) as f64 / ready.as_secs_f64();
    Ok(json!({
        "aims": {
            "per_further_pod_with_page_tables_kib": report::verdict(all_told, Aim::AtMost(PER_POD_KIB)),
            "ready_per_second": report::verdict(per_second, Aim::AtLeast(READY_PER_SECOND)),
        },
        "all_ready_seconds": round(ready.as_secs_f64()),
        "open_files": many.open_files,
        "idle_node_mib": mib(idle.resident_kib),
        "with_one_pod_mib": mib(one.resident_kib),
        "with_many_pods_mib": mib(many.resident_kib),
        "pods": pods,
        "routed": routed,
        "per_further_pod_kib": round(per_pod(one.resident_kib, many.resident_kib)),
        "page_tables_per_further_pod_kib": round(per_pod(one.page_tables_kib, many.page_tables_kib)),
        "per_further_pod_with_page_tables_kib": round(all_told),
        "threads": many.threads,
        "idle_cpu_percent_of_a_core": round((many.cpu_seconds - before.cpu_seconds) / IDLE.as_secs_f64() * 100.0),
    }))
}

/// Waits until slices have an endpoint for each of so many pods.
async fn until_routed(client: &kube::Client, pods: usize) -> Result<()> {
    let slices: kube::Api<k8s_openapi::api::discovery::v1::EndpointSlice> =
        kube::Api::default_namespaced(client.clone());
    let ours = kube::api::ListParams::default().labels("kubernetes.io/service-name=bench");
    eventually("all pods are behind the Service", ROUTED, async || {
        let found: usize =
            slices.list(&ours).await?.items.iter().map(|it| it.endpoints.as_ref().map_or(0, Vec::len)).sum();
        ensure!(found == pods, "{found} of {pods} endpoints");
        Ok(())
    })
    .await
}

impl Pods {
    /// Scales, and says how long it took until all were Ready.
    async fn ready_at(
        mut self,
        api: &kube::Api<k8s_openapi::api::apps::v1::Deployment>,
        count: usize,
    ) -> Result<Duration> {
        let began = watch::replicas(api, count).await?;
        self.until_ready(count).await?;
        Ok(began.elapsed())
    }
}

/// Resident memory of processes together, in MiB; null when none of them can be asked.
pub(crate) fn resident_mib(pids: &[u32]) -> Value {
    let status = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/status")).ok();
    let resident = |status: String| status.lines().find_map(|line| number(line.strip_prefix("VmRSS:")?));
    let known: Vec<u64> = pids.iter().filter_map(status).filter_map(resident).collect();
    if known.is_empty() { Value::Null } else { mib(known.iter().sum()).into() }
}

/// Resident memory of a process with its page tables, in MiB.
pub(crate) fn with_page_tables_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("reading its status")?;
    let field = |name: &str| status.lines().find_map(|line| number(line.strip_prefix(name)?));
    let (resident, tables) = field("VmRSS:").zip(field("VmPTE:")).context("its status has no memory")?;
    Ok(mib(resident + tables))
}

/// What the kernel says of a process.
struct Usage {
    resident_kib: u64,
    page_tables_kib: u64,
    threads: u64,
    open_files: usize,
    cpu_seconds: f64,
}

impl Usage {
    fn of(node: &Node) -> Result<Self> {
        let pid = node.pid().context("the node has ended")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("reading its status")?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("reading its times")?;
        let field = |name: &str| status.lines().find_map(|line| number(line.strip_prefix(name)?)).unwrap_or(0);
        Ok(Usage {
            resident_kib: field("VmRSS:"),
            page_tables_kib: field("VmPTE:"),
            threads: field("Threads:"),
            open_files: fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count),
            cpu_seconds: cpu_seconds(&stat),
        })
    }
}

/// Processor time of a process, user's and kernel's, by its `/proc/PID/stat`.
fn cpu_seconds(stat: &str) -> f64 {
    // Fields 14 and 15, in clock ticks of 10 ms; the name in field 2 may hold spaces.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

/// Processor time that a process took so far, in seconds.
pub(crate) fn cpu_seconds_of(pid: u32) -> Result<f64> {
    Ok(cpu_seconds(&fs::read_to_string(format!("/proc/{pid}/stat")).context("reading a process's times")?))
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
