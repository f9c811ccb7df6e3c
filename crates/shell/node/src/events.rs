//! Events about pods, written in the background: losing one is better than slowing a pod.
//!
//! Start at [`Recorder::record`]. Repeated events become one with a count, as kubectl shows them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::Client;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{api, pod::PodKey};

/// Events waiting to be written. More than a person reads; a burst beyond it is a rollout, where each tells the same.
const QUEUE_MAX: usize = 256;
/// Between two events, so that writing them never competes with pods: 50 a second, as the kubelet's default.
const PAUSE: Duration = Duration::from_millis(20);
/// Events remembered to be counted instead of repeated.
const REMEMBERED_MAX: usize = 512;

/// How loud an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Level {
    Normal,
    Warning,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Event {
    pod: Arc<PodKey>,
    container: Option<Box<str>>,
    level: Level,
    reason: &'static str,
    message: String,
}

/// Takes events and forgets those it has no room for.
#[derive(Clone)]
pub(crate) struct Recorder {
    normal: mpsc::Sender<Event>,
    warnings: mpsc::Sender<Event>,
}

impl Recorder {
    /// Starts writing events as `node` until `token` is cancelled.
    pub(crate) fn start(client: Client, node: &str, token: CancellationToken) -> Recorder {
        let (normal, normals) = mpsc::channel(QUEUE_MAX);
        let (warnings, warned) = mpsc::channel(QUEUE_MAX);
        let writer = Writer { client, node: node.to_owned(), known: HashMap::new() };
        tokio::spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = writer.run(warned, normals) => {}
            }
        });
        Recorder { normal, warnings }
    }

    /// Notes something about a pod, or one of its containers.
    pub(crate) fn record(
        &self,
        pod: &Arc<PodKey>,
        container: Option<&str>,
        level: Level,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let queue = match level {
            Level::Normal => &self.normal,
            Level::Warning => &self.warnings,
        };
        let Ok(slot) = queue.try_reserve() else {
            tracing::trace!(pod = %pod, reason, "event dropped");
            return;
        };
        slot.send(Event {
            pod: pod.clone(),
            container: container.map(Into::into),
            level,
            reason,
            message: message.into(),
        });
    }
}

struct Writer {
    client: Client,
    node: String,
    known: HashMap<Event, Known>,
}

struct Known {
    name: String,
    count: u32,
}

impl Writer {
    async fn run(mut self, mut warnings: mpsc::Receiver<Event>, mut normal: mpsc::Receiver<Event>) {
        loop {
            let event = tokio::select! {
                biased;
                Some(event) = warnings.recv() => event,
                Some(event) = normal.recv() => event,
                else => return,
            };
            if let Err(error) = self.write(event).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "writing an event");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn write(&mut self, event: Event) -> Result<(), api::ApiError> {
        let collection = format!("/api/v1/namespaces/{}/events", event.pod.namespace);
        let now = Timestamp::now();
        let seconds = format!("{now:.0}");
        if let Some(known) = self.known.get_mut(&event) {
            known.count += 1;
            let patch = json!({ "count": known.count, "lastTimestamp": seconds });
            match api::patch(&self.client, &format!("{collection}/{}", known.name), api::MERGE, &patch).await {
                // It expired, or somebody deleted it: it is new again.
                Err(api::ApiError::Gone { .. }) => drop(self.known.remove(&event)),
                other => return other,
            }
        }
        let name = format!("{}.{:x}", event.pod.name, now.as_nanosecond());
        let field = event.container.as_ref().map(|it| format!("spec.containers{{{it}}}"));
        let object = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": { "name": name, "namespace": &*event.pod.namespace },
            "involvedObject": {
                "apiVersion": "v1", "kind": "Pod", "namespace": &*event.pod.namespace, "name": &*event.pod.name,
                "uid": &*event.pod.uid, "fieldPath": field,
            },
            "type": match event.level { Level::Normal => "Normal", Level::Warning => "Warning" },
            "reason": event.reason, "message": event.message, "count": 1,
            "firstTimestamp": seconds, "lastTimestamp": seconds,
            "source": { "component": "kubelet", "host": self.node },
            "reportingComponent": "kubelet", "reportingInstance": self.node,
        });
        if self.known.len() >= REMEMBERED_MAX {
            self.known.clear();
        }
        self.known.insert(event, Known { name, count: 1 });
        api::create(&self.client, &collection, &object).await
    }
}
