//! Decision logs in OPA's format: what was asked, what was answered, when, by which policy.
//!
//! [`Logs::note`] only puts a decision into a bounded queue; a request never waits for a log. One thread ([`Logs::run`])
//! masks and writes what is there. When the queue is full decisions are dropped, counted, and the count is logged.

mod file;
mod mask;
mod upload;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use eyot_rego::Value;
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    decider::{DecideError, Decider},
    spec::Log,
    state::Policy,
};
use file::Rotated;

/// Decisions that may wait to be written. Each holds its input: a few KiB.
const QUEUE_MAX: usize = 4096;
/// How often the count of dropped decisions is looked at.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A decision as it was made.
#[derive(Debug)]
pub struct Entry {
    id: uuid::Uuid,
    time: jiff::Timestamp,
    path: String,
    input: Value,
    answer: Result<Value, String>,
}

impl Entry {
    pub(crate) fn new(path: &str, input: &Value, answer: &Result<Value, DecideError>) -> Entry {
        let answer = answer.clone().map_err(|error| error.to_string());
        let (id, time) = (uuid::Uuid::new_v4(), jiff::Timestamp::now());
        Entry { id, time, path: path.to_owned(), input: input.clone(), answer }
    }
}

/// A decision that waits to be written.
struct Waiting {
    entry: Entry,
    policy: String,
    log: Log,
    decider: Option<Arc<Decider>>,
}

/// The log of decisions.
pub struct Logs {
    dir: PathBuf,
    labels: Json,
    queue: mpsc::Sender<Waiting>,
    waiting: Mutex<Option<mpsc::Receiver<Waiting>>>,
    dropped: AtomicU64,
}

impl Logs {
    pub(crate) fn new(dir: PathBuf, node: &str) -> Logs {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let labels = json!({"id": node, "version": env!("CARGO_PKG_VERSION")});
        Logs { dir, labels, queue, waiting: Mutex::new(Some(waiting)), dropped: AtomicU64::new(0) }
    }

    pub(crate) fn note(&self, policy: &Policy, log: &Log, entry: Entry) {
        let decider = policy.decider.as_ref().ok().cloned();
        let waiting = Waiting { entry, policy: policy.name.clone(), log: log.clone(), decider };
        if self.queue.try_send(waiting).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Decisions that were made and not noted.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Writes what is noted until `stop`, and then what is left. May be called once.
    pub async fn run(&self, stop: CancellationToken) {
        let Some(mut waiting) = self.waiting.lock().take() else {
            tracing::error!("the decision log is written already");
            return;
        };
        let mut writer =
            Writer { labels: &self.labels, file: Rotated::new(self.dir.clone()), uploads: upload::Uploads::default() };
        let mut told = 0;
        let mut tick = tokio::time::interval(TELL_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(one) = waiting.recv() => writer.write(&one),
                _ = tick.tick(), if self.dropped() > told => {
                    let dropped = self.dropped();
                    tracing::warn!(decisions = dropped - told, "decisions were not logged: the log is too slow for them");
                    told = dropped;
                }
            }
        }
        while let Ok(one) = waiting.try_recv() {
            writer.write(&one);
        }
        writer.uploads.finish().await;
    }
}

/// Puts records where their policies want them.
struct Writer<'a> {
    labels: &'a Json,
    file: Rotated,
    uploads: upload::Uploads,
}

impl Writer<'_> {
    fn write(&mut self, waiting: &Waiting) {
        let Some(record) = self.record(waiting) else { return };
        if waiting.log.console {
            println!("{record}");
        }
        if waiting.log.file {
            self.file.append(&record.to_string());
        }
        if let Some(url) = &waiting.log.url {
            self.uploads.add(url, waiting.log.token_file.as_deref(), record);
        }
    }

    /// The record of a decision, masked; none where the policy has it dropped.
    fn record(&self, waiting: &Waiting) -> Option<Json> {
        let Entry { id, time, path, input, answer } = &waiting.entry;
        let mut record = json!({
            "labels": self.labels,
            "decision_id": id.to_string(),
            "path": path,
            "input": input.to_json(),
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S%.9fZ").to_string(),
        });
        match answer {
            Ok(value) => record["result"] = value.to_json(),
            Err(error) => record["error"] = json!({"message": error}),
        }
        if let Some(decider) = &waiting.decider {
            record["bundles"][&waiting.policy]["revision"] = decider.revision.as_str().into();
            if mask::is_dropped(decider, &record) {
                return None;
            }
            mask::apply(decider, &mut record);
        }
        mask::erase_secrets(&mut record);
        Some(record)
    }
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logs").field("dir", &self.dir).field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}
