//! `/stats/summary`: what this node and its pods have used so far, in the words of the kubelet's Summary API.
//!
//! Everything is counted since a start that is told beside it; whoever wants a rate asks twice. Requests of guests that
//! answer HTTP are shown as user-defined metrics, and so are bytes of bodies, whose sum over a pod is its network. Deliberately
//! absent: file systems, what goes over sockets of guests, and what the kubelet has for containers of the host only.

use axum::{Json, extract::State};
use eyot_instance::Moment;
use serde_json::{Value, json};

use super::Context;
use crate::{
    pod::{PodKey, Usage, now, time},
    pods::Pods,
};

/// Ticks a second in which Linux tells processor time to programs.
const TICKS: u64 = 100;

/// Answers one request for it.
pub(super) async fn summary(State(context): State<Context>) -> Json<Value> {
    let at = time(now());
    let pods: Vec<Value> = context.pods.usage().iter().map(|(key, used)| pod(key, used, &at)).collect();
    let mut node = machine(&at);
    node["nodeName"] = context.shared.config.name.as_str().into();
    Json(json!({ "node": node, "pods": pods }))
}

fn pod(key: &PodKey, used: &[Usage], at: &str) -> Value {
    let cpu: u128 = used.iter().map(|it| it.cpu.as_nanos()).sum();
    let memory: u64 = used.iter().map(|it| it.memory).sum();
    let started = used.iter().map(|it| it.started.0).min().unwrap_or_default();
    json!({
        "podRef": { "name": &*key.name, "namespace": &*key.namespace, "uid": &*key.uid },
        "startTime": time(Moment(started)),
        "containers": used.iter().map(|it| container(it, at)).collect::<Vec<_>>(),
        "cpu": processor(at, cpu),
        "memory": { "time": at, "workingSetBytes": memory },
        "network": {
            "time": at,
            "rxBytes": used.iter().map(|it| it.received).sum::<u64>(),
            "txBytes": used.iter().map(|it| it.sent).sum::<u64>(),
        },
    })
}

fn container(used: &Usage, at: &str) -> Value {
    let metric = |name: &str, kind: &str, units: &str, value: u64| json!({ "name": name, "type": kind, "units": units, "time": at, "value": value });
    let mut metrics = Vec::new();
    if let Some(requests) = &used.requests {
        metrics.push(metric("http_requests", "cumulative", "requests", requests.taken));
        metrics.push(metric("http_requests_in_flight", "gauge", "requests", requests.in_flight));
    }
    if used.requests.is_some() || used.received + used.sent > 0 {
        metrics.push(metric("http_received_bytes", "cumulative", "bytes", used.received));
        metrics.push(metric("http_sent_bytes", "cumulative", "bytes", used.sent));
    }
    json!({
        "name": &*used.container,
        "startTime": time(used.started),
        "cpu": processor(at, used.cpu.as_nanos()),
        "memory": { "time": at, "workingSetBytes": used.memory },
        "userDefinedMetrics": metrics,
    })
}

fn processor(at: &str, nanos: u128) -> Value {
    json!({ "time": at, "usageCoreNanoSeconds": u64::try_from(nanos).unwrap_or(u64::MAX) })
}

/// What the whole machine uses: it is the node.
fn machine(at: &str) -> Value {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let (busy, booted) = processors(&read("/proc/stat"));
    json!({
        "startTime": time(Moment(booted * 1000)),
        "cpu": { "time": at, "usageCoreNanoSeconds": busy * (1_000_000_000 / TICKS) },
        "memory": memory(&read("/proc/meminfo"), at),
    })
}

/// Ticks during which some processor did something, and when the machine started, in seconds.
fn processors(stat: &str) -> (u64, u64) {
    let words = |name: &str| stat.lines().find_map(|it| it.strip_prefix(name)).unwrap_or_default().split_whitespace();
    let ticks: Vec<u64> = words("cpu ").map_while(|it| it.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; what guests use is part of the first two.
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    let busy = ticks.iter().take(8).sum::<u64>() - idle;
    (busy, words("btime ").next().and_then(|it| it.parse().ok()).unwrap_or_default())
}

fn memory(meminfo: &str, at: &str) -> Value {
    let bytes = |name: &str| {
        let line = meminfo.lines().find_map(|it| it.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().and_then(|it| it.parse::<u64>().ok()).unwrap_or_default() << 10
    };
    let (total, available) = (bytes("MemTotal:"), bytes("MemAvailable:"));
    json!({ "time": at, "availableBytes": available, "workingSetBytes": total.saturating_sub(available) })
}

impl Pods {
    /// What each pod with a running container has used.
    fn usage(&self) -> Vec<(std::sync::Arc<PodKey>, Vec<Usage>)> {
        let used = self.owners().into_iter().map(|it| (it.key.clone(), it.usage()));
        used.filter(|it| !it.1.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_busy_when_it_is_not_idle() {
        let stat = "cpu  10 1 5 900 50 2 3 4 7 0\ncpu0 10 1 5 900 50 2 3 4 7 0\nbtime 1700000000\n";
        assert_eq!(processors(stat), (25, 1_700_000_000));
        assert_eq!(processors(""), (0, 0));
        let meminfo = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    400 kB\n";
        assert_eq!(memory(meminfo, "t")["workingSetBytes"], 600 << 10);
    }
}
