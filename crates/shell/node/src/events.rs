//! Events about pods, written in the background: losing one is better than slowing a pod.
//!
//! Start at [`Recorder::record`]. Repeated events become one with a count, as kubectl shows them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::future::join_all;
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{api, pod::PodKey};

/// Events waiting to be written. More than a person reads; a burst beyond it is a rollout, where each tells the same.
const QUEUE_MAX: usize = 256;
/// A rest for each event written, so that writing them never competes with pods: 50 a second, as the kubelet's default.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the first event waits for others, since each flush of the disk holds up whatever else is written.
const GATHER: Duration = Duration::from_millis(40);
/// Events written side by side.
const BATCH_MAX: usize = 32;
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

/// One request.
enum Write {
    Create { collection: String, object: Value },
    Count { event: Event, path: String, patch: Value },
}

impl Writer {
    async fn run(mut self, mut warnings: mpsc::Receiver<Event>, mut normal: mpsc::Receiver<Event>) {
        loop {
            let first = tokio::select! {
                biased;
                Some(event) = warnings.recv() => event,
                Some(event) = normal.recv() => event,
                else => return,
            };
            tokio::time::sleep(GATHER).await;
            let mut batch = vec![(first, 1)];
            let more = std::iter::from_fn(|| warnings.try_recv().or_else(|_| normal.try_recv()).ok());
            for event in more.take(BATCH_MAX - 1) {
                match batch.iter_mut().find(|it| it.0 == event) {
                    Some(same) => same.1 += 1,
                    None => batch.push((event, 1)),
                }
            }
            let pause = PAUSE * u32::try_from(batch.len()).unwrap_or(1);
            self.write(batch).await;
            tokio::time::sleep(pause).await;
        }
    }

    /// Writes events, each with how often it happened, side by side: they share the disk's flush.
    async fn write(&mut self, batch: Vec<(Event, u32)>) {
        let writes: Vec<Write> = batch.into_iter().map(|(event, times)| self.plan(event, times)).collect();
        let results = join_all(writes.iter().map(|it| perform(&self.client, it))).await;
        let mut again = Vec::new();
        for (write, result) in writes.into_iter().zip(results) {
            match (write, result) {
                (_, Ok(())) => {}
                // It expired, or somebody deleted it: it is new again.
                (Write::Count { event, .. }, Err(api::ApiError::Gone { .. })) => {
                    self.known.remove(&event);
                    again.push(self.plan(event, 1));
                }
                (_, Err(error)) => failed(&error),
            }
        }
        for result in join_all(again.iter().map(|it| perform(&self.client, it))).await {
            result.unwrap_or_else(|error| failed(&error));
        }
    }

    fn plan(&mut self, event: Event, times: u32) -> Write {
        let collection = format!("/api/v1/namespaces/{}/events", event.pod.namespace);
        let now = Timestamp::now();
        let seconds = format!("{now:.0}");
        if let Some(known) = self.known.get_mut(&event) {
            known.count = known.count.saturating_add(times);
            let patch = json!({ "count": known.count, "lastTimestamp": seconds });
            return Write::Count { path: format!("{collection}/{}", known.name), event, patch };
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
            "reason": event.reason, "message": event.message, "count": times,
            "firstTimestamp": seconds, "lastTimestamp": seconds,
            "source": { "component": "kubelet", "host": self.node },
            "reportingComponent": "kubelet", "reportingInstance": self.node,
        });
        if self.known.len() >= REMEMBERED_MAX {
            self.known.clear();
        }
        self.known.insert(event, Known { name, count: times });
        Write::Create { collection, object }
    }
}

async fn perform(client: &Client, write: &Write) -> Result<(), api::ApiError> {
    match write {
        Write::Create { collection, object } => api::create(client, collection, object).await,
        Write::Count { path, patch, .. } => api::patch(client, path, api::MERGE, patch).await,
    }
}

fn failed(error: &api::ApiError) {
    tracing::debug!(error = error as &dyn std::error::Error, "writing an event");
}
