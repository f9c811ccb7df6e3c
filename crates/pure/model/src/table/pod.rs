//! The row of a pod, whose status column sums up its containers.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::format::{NONE, age, condition, holds, human_duration, list, number, text, text_or_none, truth};
use crate::meta;

pub(super) fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = summarise(pod);
    let restarts = match summary.last_restart {
        Some(at) if summary.restarts != 0 => {
            format!("{} ({} ago)", summary.restarts, human_duration(now.duration_since(at).as_secs()))
        }
        _ => summary.restarts.to_string(),
    };
    vec![
        meta::name(pod).into(),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.into(),
        restarts.into(),
        age(pod, now).into(),
        text_or_none(pod, "/status/podIPs/0/ip").into(),
        text_or_none(pod, "/spec/nodeName").into(),
        text_or_none(pod, "/status/nominatedNodeName").into(),
        readiness_gates(pod).into(),
    ]
}

/// Row conditions, by which clients tell finished pods.
pub(super) fn conditions(pod: &Value) -> Option<Value> {
    let (reason, message) = match text(pod, "/status/phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

struct Summary {
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
    reason: String,
}

/// Restarts so far, and when the last of them began.
#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count += number(status, "/restartCount");
        self.last = self.last.max(meta::time(status.pointer("/lastState/terminated/finishedAt")));
    }
}

fn summarise(pod: &Value) -> Summary {
    let sidecars: Vec<&str> = list(pod, "/spec/initContainers")
        .iter()
        .filter(|it| it["restartPolicy"] == "Always")
        .filter_map(|it| it["name"].as_str())
        .collect();
    let mut summary = Summary {
        ready: 0,
        total: list(pod, "/spec/containers").len() + sidecars.len(),
        restarts: 0,
        last_restart: None,
        reason: own_reason(pod),
    };
    let init = initialising(pod, &sidecars, &mut summary);
    let mut restarts = init.all;
    if !init.unfinished || holds(pod, "Initialized") {
        restarts = init.sidecars;
        running(pod, &mut restarts, &mut summary);
    }
    (summary.restarts, summary.last_restart) = (restarts.count, restarts.last);
    let terminal = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
    if meta::deleted(pod).is_some() {
        if text(pod, "/status/reason") == "NodeLost" {
            summary.reason = "Unknown".into();
        } else if !terminal {
            summary.reason = "Terminating".into();
        }
    }
    summary
}

/// What the pod as a whole says of itself.
fn own_reason(pod: &Value) -> String {
    let gated = condition(pod, "PodScheduled").is_some_and(|it| it["reason"] == "SchedulingGated");
    match (gated, text(pod, "/status/reason")) {
        (true, _) => "SchedulingGated".into(),
        (false, "") => text(pod, "/status/phase").into(),
        (false, reason) => reason.into(),
    }
}

struct Init {
    unfinished: bool,
    all: Restarts,
    sidecars: Restarts,
}

/// Looks at init containers up to the first that is not done.
fn initialising(pod: &Value, sidecars: &[&str], summary: &mut Summary) -> Init {
    let mut init = Init { unfinished: false, all: Restarts::default(), sidecars: Restarts::default() };
    for (i, status) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
        let sidecar = status["name"].as_str().is_some_and(|it| sidecars.contains(&it));
        init.all.add(status);
        if sidecar {
            init.sidecars.add(status);
        }
        let terminated = status.pointer("/state/terminated");
        if terminated.is_some_and(|it| number(it, "/exitCode") == 0) {
            continue;
        }
        if sidecar && truth(status, "/started") {
            summary.ready += usize::from(truth(status, "/ready"));
            continue;
        }
        summary.reason = match (terminated, text(status, "/state/waiting/reason")) {
            (Some(terminated), _) => format!("Init:{}", exit(terminated)),
            (None, "" | "PodInitializing") => format!("Init:{i}/{}", list(pod, "/spec/initContainers").len()),
            (None, waiting) => format!("Init:{waiting}"),
        };
        init.unfinished = true;
        break;
    }
    init
}

/// Looks at the main containers; the first one's trouble wins.
fn running(pod: &Value, restarts: &mut Restarts, summary: &mut Summary) {
    let mut any_running = false;
    for status in list(pod, "/status/containerStatuses").iter().rev() {
        restarts.add(status);
        let waiting = text(status, "/state/waiting/reason");
        if !waiting.is_empty() {
            summary.reason = waiting.into();
        } else if let Some(terminated) = status.pointer("/state/terminated") {
            summary.reason = exit(terminated);
        } else if truth(status, "/ready") && status.pointer("/state/running").is_some() {
            any_running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" && any_running {
        summary.reason = if holds(pod, "Ready") { "Running" } else { "NotReady" }.into();
    }
}

fn exit(terminated: &Value) -> String {
    match (text(terminated, "/reason"), number(terminated, "/signal")) {
        ("", 0) => format!("ExitCode:{}", number(terminated, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.into(),
    }
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return NONE.into();
    }
    let open = gates.iter().filter(|it| it["conditionType"].as_str().is_some_and(|it| holds(pod, it))).count();
    format!("{open}/{}", gates.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ready, status and restarts of a pod with these spec and status.
    fn check(spec: Value, status: Value, expected: [&str; 3]) {
        let pod = json!({"metadata": {"name": "p"}, "spec": spec, "status": status});
        let cells = cells(&pod, "2026-01-01T00:10:00Z".parse().expect("a time"));
        assert_eq!([&cells[1], &cells[2], &cells[3]].map(|it| it.as_str().unwrap_or("")), expected, "{pod}");
    }

    fn one() -> Value {
        json!({"containers": [{"name": "a"}]})
    }

    #[test]
    fn status_sums_up_containers() {
        check(one(), json!({"phase": "Pending"}), ["0/1", "Pending", "0"]);
        let running = json!({"ready": true, "state": {"running": {}}});
        check(one(), json!({"phase": "Running", "containerStatuses": [running]}), ["1/1", "Running", "0"]);
        let waiting = json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 3,
            "lastState": {"terminated": {"finishedAt": "2026-01-01T00:05:00Z"}}});
        check(
            one(),
            json!({"phase": "Running", "containerStatuses": [waiting]}),
            ["0/1", "CrashLoopBackOff", "3 (5m ago)"],
        );
        let done = json!({"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
        check(one(), json!({"phase": "Succeeded", "containerStatuses": [done]}), ["0/1", "Completed", "0"]);
        let both = json!({"phase": "Running", "containerStatuses": [done, running]});
        check(json!({"containers": [{}, {}]}), both, ["1/2", "NotReady", "0"]);
        let exit = json!({"state": {"terminated": {"exitCode": 7}}});
        check(one(), json!({"phase": "Failed", "containerStatuses": [exit]}), ["0/1", "ExitCode:7", "0"]);
        let killed = json!({"state": {"terminated": {"exitCode": 137, "signal": 9}}});
        check(one(), json!({"phase": "Failed", "containerStatuses": [killed]}), ["0/1", "Signal:9", "0"]);
        check(one(), json!({"phase": "Failed", "reason": "Evicted"}), ["0/1", "Evicted", "0"]);
        let gated = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]});
        check(one(), gated, ["0/1", "SchedulingGated", "0"]);
    }

    #[test]
    fn status_counts_init_containers() {
        let spec = json!({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]});
        let done = json!({"name": "i", "state": {"terminated": {"exitCode": 0}}});
        let init = |second: Value| json!({"phase": "Pending", "initContainerStatuses": [done.clone(), second]});
        check(spec.clone(), init(json!({"name": "j", "state": {"running": {}}})), ["0/1", "Init:1/2", "0"]);
        let failed =
            json!({"name": "j", "restartCount": 2, "state": {"terminated": {"exitCode": 1, "reason": "Error"}}});
        check(spec.clone(), init(failed), ["0/1", "Init:Error", "2"]);
        let waiting = json!({"name": "j", "state": {"waiting": {"reason": "ErrImagePull"}}});
        check(spec, init(waiting), ["0/1", "Init:ErrImagePull", "0"]);
        let sidecar =
            json!({"containers": [{"name": "a"}], "initContainers": [{"name": "s", "restartPolicy": "Always"}]});
        let statuses =
            json!([{"name": "s", "started": true, "ready": true, "restartCount": 1, "state": {"running": {}}}]);
        let main = json!([{"name": "a", "ready": true, "state": {"running": {}}}]);
        let status = json!({"phase": "Running", "initContainerStatuses": statuses, "containerStatuses": main});
        check(sidecar, status, ["2/2", "Running", "1"]);
    }

    #[test]
    fn deleted_pods_terminate_unless_they_are_done() {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let pod = |phase: &str| json!({"metadata": {"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": phase}});
        assert_eq!(cells(&pod("Running"), now)[2], "Terminating");
        assert_eq!(cells(&pod("Succeeded"), now)[2], "Succeeded");
    }
}
