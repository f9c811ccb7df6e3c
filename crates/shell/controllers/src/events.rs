//! Events: what `kubectl describe` tells about an object's past.
//!
//! Entry point: [`Recorder::record`], which never waits. Events are counted, not repeated, and dropped when too many
//! wait or one object causes too many: they inform people, nothing depends on them.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    api::{Api, EVENTS, Resource, Target},
    names,
    view::{Meta, now, rfc3339},
};

/// Events that may wait to be written.
const WAITING_MAX: usize = 1024;
/// Waiting events that still count as calm.
const CALM: usize = 8;
/// Events remembered for counting; when there are more, all are forgotten.
const REMEMBERED_MAX: usize = 2048;
/// Different events one object may cause in [`WINDOW_SECONDS`].
const PER_OBJECT_MAX: u32 = 25;
const WINDOW_SECONDS: i64 = 300;

/// Whether an event is worrying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Normal,
    Warning,
}

struct Event {
    regarding: Value,
    namespace: String,
    name: String,
    uid: String,
    severity: Severity,
    component: &'static str,
    reason: &'static str,
    message: String,
}

/// Accepts events and writes them in the background.
#[derive(Clone)]
pub(crate) struct Recorder {
    component: &'static str,
    waiting: mpsc::Sender<Event>,
}

/// Makes a recorder, and the task that writes.
pub(crate) fn recorder(api: Api) -> (Recorder, impl Future<Output = ()>) {
    let (waiting, events) = mpsc::channel(WAITING_MAX);
    (Recorder { component: "eyot", waiting }, write(api, events))
}

impl Recorder {
    /// The same recorder speaking as another component.
    pub(crate) fn of(&self, component: &'static str) -> Self {
        Self { component, waiting: self.waiting.clone() }
    }

    pub(crate) fn record(
        &self,
        resource: &Resource,
        meta: &Meta,
        severity: Severity,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let namespace = if meta.namespace.is_empty() { "default" } else { &meta.namespace };
        let regarding = json!({
            "apiVersion": resource.api_version, "kind": resource.kind, "name": meta.name,
            "namespace": meta.namespace, "uid": meta.uid, "resourceVersion": meta.resource_version,
        });
        let event = Event {
            regarding,
            namespace: namespace.to_owned(),
            name: meta.name.to_string(),
            uid: meta.uid.to_string(),
            severity,
            component: self.component,
            reason,
            message: message.into(),
        };
        if self.waiting.try_send(event).is_err() {
            debug!(reason, object = %meta.key(), "too many events wait, dropping one");
        }
    }
}

impl Recorder {
    /// Hardly anything waits to be written: an event that thousands of objects would repeat is affordable.
    pub(crate) fn is_calm(&self) -> bool {
        self.waiting.capacity() + CALM >= WAITING_MAX
    }
}

/// What has been written about.
#[derive(Default)]
struct Memory {
    written: HashMap<(String, &'static str, String), (String, u32)>,
    windows: HashMap<String, (i64, u32)>,
}

impl Memory {
    /// One more of this object is fine.
    fn admits(&mut self, uid: &str, now: i64) -> bool {
        if self.windows.len() > REMEMBERED_MAX {
            self.windows.clear();
        }
        let window = self.windows.entry(uid.to_owned()).or_insert((now, 0));
        if now - window.0 > WINDOW_SECONDS {
            *window = (now, 0);
        }
        window.1 += 1;
        window.1 <= PER_OBJECT_MAX
    }
}

async fn write(api: Api, mut events: mpsc::Receiver<Event>) {
    let mut memory = Memory::default();
    while let Some(event) = events.recv().await {
        if let Err(error) = write_one(&api, &mut memory, event).await {
            debug!(%error, cause = error.message(), "event not written");
        }
    }
}

#[derive(Deserialize)]
struct Nothing {}

async fn write_one(api: &Api, memory: &mut Memory, event: Event) -> Result<(), crate::api::ApiError> {
    let now = now();
    let key = (event.uid.clone(), event.reason, event.message.clone());
    if let Some((name, count)) = memory.written.get_mut(&key) {
        *count += 1;
        let patch = json!({"count": *count, "lastTimestamp": rfc3339(now)});
        let target = Target::object(&EVENTS, &event.namespace, name);
        match api.merge::<Nothing>(target, &patch).await {
            // It has expired or was deleted: write it anew below.
            Err(error) if error.is_not_found() => {}
            other => return other.map(|_| ()),
        }
    } else if !memory.admits(&event.uid, now) {
        return Ok(());
    }
    if memory.written.len() >= REMEMBERED_MAX {
        memory.written.clear();
    }
    let name = names::event(&event.name);
    let severity = match event.severity {
        Severity::Normal => "Normal",
        Severity::Warning => "Warning",
    };
    let body = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": name, "namespace": event.namespace},
        "involvedObject": event.regarding, "type": severity, "reason": event.reason, "message": event.message,
        "source": {"component": event.component}, "reportingComponent": event.component, "reportingInstance": "",
        "firstTimestamp": rfc3339(now), "lastTimestamp": rfc3339(now), "count": 1,
    });
    memory.written.insert(key, (name, 1));
    api.create(Target::collection(&EVENTS, &event.namespace), body.to_string().into_bytes()).await.map(|_| ())
}

/// Runs the writer until `token` is cancelled.
pub(crate) async fn until(token: CancellationToken, writer: impl Future<Output = ()>) {
    tokio::select! {
        () = token.cancelled() => {}
        () = writer => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_cannot_flood() {
        let mut memory = Memory::default();
        let admitted = (0..100).filter(|_| memory.admits("uid", 1000)).count();
        assert_eq!(admitted, PER_OBJECT_MAX as usize);
        assert!(memory.admits("another", 1000));
        assert!(memory.admits("uid", 1000 + WINDOW_SECONDS + 1));
    }
}
