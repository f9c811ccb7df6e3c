//! A fake node: marks pods ready at once, ends those that ask for it, and lets deleted ones go.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, pin_mut};
use http::{Method, Request, header};
use kube::{Client, core::WatchEvent};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};

pub(crate) struct FakeNode {
    pub(crate) seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

/// What the watch of pods showed.
#[derive(Default)]
pub(crate) struct Seen {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Pods by identity: does it count, and is it ready as well.
    pods: HashMap<String, (bool, bool)>,
    count: usize,
    ready: usize,
    most: usize,
    least_ready: usize,
}

impl Seen {
    /// Begins to note extremes from here.
    pub(crate) fn mark(&self) {
        let mut state = self.state.lock().unwrap();
        (state.most, state.least_ready) = (0, usize::MAX);
        state.note();
    }

    /// Most pods at once, and fewest ready ones, since the mark.
    pub(crate) fn extremes(&self) -> (usize, usize) {
        let state = self.state.lock().unwrap();
        (state.most, state.least_ready)
    }

    pub(crate) fn ready(&self) -> usize {
        self.state.lock().unwrap().ready
    }

    pub(crate) fn present(&self) -> usize {
        self.state.lock().unwrap().pods.len()
    }

    fn show(&self, pod: &Value, gone: bool) {
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        let counts = !gone && pod["metadata"].get("deletionTimestamp").is_none();
        let conditions = pod["status"]["conditions"].as_array();
        let ready = conditions.into_iter().flatten().any(|it| it["type"] == "Ready" && it["status"] == "True");
        let new = (counts, counts && ready);
        let mut state = self.state.lock().unwrap();
        let old = if gone { state.pods.remove(uid) } else { state.pods.insert(uid.to_owned(), new) };
        let old = old.unwrap_or_default();
        state.count = state.count + usize::from(new.0) - usize::from(old.0);
        state.ready = state.ready + usize::from(new.1) - usize::from(old.1);
        state.note();
    }
}

impl State {
    fn note(&mut self) {
        self.most = self.most.max(self.count);
        self.least_ready = self.least_ready.min(self.ready);
    }
}

impl FakeNode {
    pub(crate) async fn start(client: Client) -> FakeNode {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "island", "labels": {"kubernetes.io/hostname": "island"}},
            "status": {
                "capacity": {"cpu": "64", "memory": "64Gi", "pods": "20000"},
                "allocatable": {"cpu": "64", "memory": "64Gi", "pods": "20000"},
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            },
        });
        send(&client, Method::POST, "/api/v1/nodes", &node).await;
        send(&client, Method::PATCH, "/api/v1/nodes/island/status", &json!({"status": node["status"]})).await;
        let seen = Arc::new(Seen::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(play(client, seen.clone()));
        FakeNode { seen, _tasks: tasks }
    }
}

async fn play(client: Client, seen: Arc<Seen>) {
    let (permits, mut started) = (Arc::new(Semaphore::new(64)), HashMap::new());
    let mut work = JoinSet::new();
    loop {
        let path = "/api/v1/pods?watch=true&resourceVersion=0&timeoutSeconds=3600";
        let request = Request::get(path).body(Vec::new()).unwrap();
        let Ok(events) = client.request_events::<Value>(request).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        pin_mut!(events);
        while let Some(Ok(event)) = events.next().await {
            match event {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                    seen.show(&pod, false);
                    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
                    let deleting = pod["metadata"].get("deletionTimestamp").is_some();
                    let bound = pod["spec"].get("nodeName").is_some();
                    let stage = (bound, deleting);
                    if started.insert(uid, stage) != Some(stage) && (bound || deleting) {
                        work.spawn(act(client.clone(), pod, permits.clone()));
                    }
                }
                WatchEvent::Deleted(pod) => seen.show(&pod, true),
                _ => {}
            }
            while work.try_join_next().is_some() {}
        }
    }
}

/// What the `eyot.io/fake` annotation asks for: `stuck` never gets ready, `succeed` and `fail` end, `fail-odd` does one or
/// the other by the index in a Job, `fail-once` fails and is restarted in place first; else it runs.
async fn act(client: Client, pod: Value, permits: Arc<Semaphore>) {
    let _permit = permits.acquire_owned().await.unwrap();
    let meta = &pod["metadata"];
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}",
        meta["namespace"].as_str().unwrap_or_default(),
        meta["name"].as_str().unwrap_or_default()
    );
    if meta.get("deletionTimestamp").is_some() {
        // As the kubelet does: who still waits for its end is told of it.
        let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        if meta["finalizers"].as_array().is_some_and(|it| !it.is_empty()) && !ended {
            send(&client, Method::PATCH, &format!("{path}/status"), &json!({"status": {"phase": "Failed"}})).await;
        }
        send(&client, Method::DELETE, &path, &json!({"gracePeriodSeconds": 0})).await;
        return;
    }
    let status = |phase: &str, ready: &str, state: Value| {
        let now = "2026-01-01T00:00:00Z";
        json!({"status": {
            "phase": phase, "podIP": address(meta["uid"].as_str().unwrap_or_default()),
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": now},
                {"type": "Ready", "status": ready, "lastTransitionTime": now},
            ],
            "containerStatuses": [{"name": "main", "ready": ready == "True", "restartCount": 0, "image": "i",
                "imageID": "", "state": state}],
        }})
    };
    let ended = |code: i32| {
        let now = jiff::Timestamp::now();
        json!({"terminated": {"exitCode": code, "finishedAt": now.round(jiff::Unit::Second).unwrap().to_string()}})
    };
    let index = meta["annotations"]["batch.kubernetes.io/job-completion-index"].as_str();
    let odd = index.and_then(|it| it.parse::<u32>().ok()).is_some_and(|it| it % 2 == 1);
    let fake = match meta["annotations"]["eyot.io/fake"].as_str().unwrap_or_default() {
        "fail-odd" if odd => "fail",
        "fail-odd" => "succeed",
        "fail-once" => {
            let mut restarted = status("Running", "True", json!({"running": {}}));
            restarted["status"]["containerStatuses"][0]["restartCount"] = 1.into();
            restarted["status"]["containerStatuses"][0]["lastState"] = ended(1);
            send(&client, Method::PATCH, &format!("{path}/status"), &restarted).await;
            "succeed"
        }
        other => other,
    };
    let status = match fake {
        "stuck" => status("Pending", "False", json!({"waiting": {"reason": "ImagePullBackOff"}})),
        "succeed" => status("Succeeded", "False", ended(0)),
        "fail" => status("Failed", "False", ended(1)),
        _ => status("Running", "True", json!({"running": {}})),
    };
    send(&client, Method::PATCH, &format!("{path}/status"), &status).await;
}

/// An address made of the identity.
fn address(uid: &str) -> String {
    let part = |at: usize| u8::from_str_radix(uid.get(at..at + 2).unwrap_or("1"), 16).unwrap_or(1);
    format!("10.42.{}.{}", part(0), part(2))
}

async fn send(client: &Client, method: Method, path: &str, body: &Value) {
    let content_type = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, content_type);
    // A pod may be gone by now: then there is nothing to do.
    let _ = client.request::<serde::de::IgnoredAny>(request.body(body.to_string().into_bytes()).unwrap()).await;
}
