//! Writes as Events what is told of policies, apart from requests and never in their way.
//!
//! Entry points: [`recorder`], and [`Recorder::tell`], which never waits. What is told again is counted, not repeated; what
//! is told of one object beyond [`PER_OBJECT_MAX`] becomes a single event that goes on counting. When too much waits, more
//! is dropped: events inform people, nothing depends on them.

use std::{collections::HashMap, time::Duration};

use eyot_kyverno::{Note, Reasons, Reference};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// What may wait to be written. A burst beyond it is a rollout, of which each object tells the same.
const WAITING_MAX: usize = 512;
/// How long the first waits for others, since each flush of the disk holds up whatever else is written.
const GATHER: Duration = Duration::from_millis(100);
/// What is written side by side.
const BATCH_MAX: usize = 32;
/// A rest for each that was written: 25 a second.
const PAUSE: Duration = Duration::from_millis(40);
/// What is remembered to be counted; when there is more, all is forgotten.
const REMEMBERED_MAX: usize = 2048;
/// Different events of one object in [`WINDOW_SECONDS`], before they become one.
const PER_OBJECT_MAX: u32 = 25;
const WINDOW_SECONDS: i64 = 300;
/// Bytes of an event's name that come from its object.
const NAME_MAX: usize = 200;

const COMBINED: &str = "(combined from similar events)";

/// Takes what is told, and forgets what there is no room for.
#[derive(Clone)]
pub(crate) struct Recorder {
    reasons: Reasons,
    waiting: mpsc::Sender<Note>,
}

/// A recorder, and the task that writes.
pub(crate) fn recorder(client: Client, reasons: Reasons) -> (Recorder, impl Future<Output = ()>) {
    let (waiting, inbox) = mpsc::channel(WAITING_MAX);
    (Recorder { reasons, waiting }, run(client, inbox))
}

impl Recorder {
    /// Has something written, if its reason is wanted.
    pub(crate) fn tell(&self, note: Note) {
        if !self.reasons.has(note.reason) || note.about.name.is_empty() {
            return;
        }
        if let Err(error) = self.waiting.try_send(note) {
            tracing::debug!(%error, "an event of a policy is dropped");
        }
    }

    /// The same for several.
    pub(crate) fn tell_all(&self, notes: Vec<Note>) {
        notes.into_iter().for_each(|it| self.tell(it));
    }
}

async fn run(client: Client, mut inbox: mpsc::Receiver<Note>) {
    let mut ledger = Ledger::default();
    while let Some(first) = inbox.recv().await {
        tokio::time::sleep(GATHER).await;
        let more = std::iter::from_fn(|| inbox.try_recv().ok()).take(BATCH_MAX - 1);
        let notes: Vec<Note> = std::iter::once(first).chain(more).collect();
        let writes = ledger.enter(notes, Timestamp::now());
        let pause = PAUSE * u32::try_from(writes.len()).unwrap_or(1);
        let written = join_all(writes.iter().map(|it| perform(&client, it))).await;
        for (write, result) in writes.iter().zip(written) {
            if let Err(error) = result {
                // It has expired, or its namespace is gone: told once more it is new.
                ledger.forget(&write.note);
                tracing::debug!(%error, note = %write.note, "writing an event of a policy");
            }
        }
        tokio::time::sleep(pause).await;
    }
}

async fn perform(client: &Client, write: &Write) -> Result<(), kube::Error> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace(&write.note.about));
    if write.is_new {
        let event: Event = serde_json::from_value(write.event()).map_err(kube::Error::SerdeError)?;
        return api.create(&PostParams::default(), &event).await.map(drop);
    }
    let counted = json!({"count": write.count, "lastTimestamp": write.time()});
    api.patch(&write.name, &PatchParams::default(), &Patch::Merge(counted)).await.map(drop)
}

/// Where an event lies: what has no namespace is told of in `default`.
fn namespace(about: &Reference) -> &str {
    if about.namespace.is_empty() { "default" } else { &about.namespace }
}

/// An event to write.
#[derive(Debug, PartialEq)]
struct Write {
    note: Note,
    name: String,
    count: u32,
    is_new: bool,
    now: Timestamp,
}

impl Write {
    fn time(&self) -> String {
        format!("{:.0}", self.now)
    }

    fn event(&self) -> Value {
        let Write { note, name, count, .. } = self;
        let component = note.component.as_str();
        let mut event = json!({
            "metadata": {"name": name, "namespace": namespace(&note.about)},
            "involvedObject": reference(&note.about),
            "type": note.reason.severity(), "reason": note.reason.as_str(), "action": note.action,
            "message": note.message, "count": count,
            "firstTimestamp": self.time(), "lastTimestamp": self.time(),
            "source": {"component": component},
            "reportingComponent": component, "reportingInstance": "eyot",
        });
        if let Some(related) = &note.related {
            event["related"] = reference(related);
        }
        event
    }
}

fn reference(it: &Reference) -> Value {
    let fields = [
        ("apiVersion", &it.api_version),
        ("kind", &it.kind),
        ("namespace", &it.namespace),
        ("name", &it.name),
        ("uid", &it.uid),
    ];
    let given = fields.into_iter().filter(|it| !it.1.is_empty());
    Value::Object(given.map(|(field, text)| (field.to_owned(), text.as_str().into())).collect())
}

/// What has been written.
#[derive(Default)]
struct Ledger {
    known: HashMap<Note, Known>,
    /// How much was told of an object since when.
    windows: HashMap<Reference, (i64, u32)>,
    /// Tells names of one moment apart.
    names: u64,
}

struct Known {
    name: String,
    count: u32,
}

impl Ledger {
    /// What is to be written: equal notes are one.
    fn enter(&mut self, notes: Vec<Note>, now: Timestamp) -> Vec<Write> {
        let mut writes: Vec<Write> = Vec::new();
        for note in notes {
            let note = self.folded(note, now);
            if let Some(same) = writes.iter_mut().find(|it| it.note == note) {
                same.count = self.counted(&note);
                continue;
            }
            let is_new = !self.known.contains_key(&note);
            if is_new {
                self.remember(note.clone(), now);
            }
            let count = self.counted(&note);
            let name = self.known.get(&note).map_or_else(String::new, |it| it.name.clone());
            writes.push(Write { note, name, count, is_new, now });
        }
        writes
    }

    /// The note, or the one that stands for all further ones of its object.
    fn folded(&mut self, note: Note, now: Timestamp) -> Note {
        if self.known.contains_key(&note) {
            return note;
        }
        if self.windows.len() >= REMEMBERED_MAX {
            self.windows.clear();
        }
        let window = self.windows.entry(note.about.clone()).or_insert((now.as_second(), 0));
        if now.as_second() - window.0 > WINDOW_SECONDS {
            *window = (now.as_second(), 0);
        }
        window.1 += 1;
        match window.1 > PER_OBJECT_MAX {
            true => Note { related: None, message: COMBINED.to_owned(), ..note },
            false => note,
        }
    }

    fn remember(&mut self, note: Note, now: Timestamp) {
        if self.known.len() >= REMEMBERED_MAX {
            self.known.clear();
        }
        self.names += 1;
        let name = format!("{}.{:x}{:x}", stem(&note.about.name), now.as_nanosecond(), self.names);
        self.known.insert(note, Known { name, count: 0 });
    }

    fn counted(&mut self, note: &Note) -> u32 {
        self.known.get_mut(note).map_or(1, |it| {
            it.count = it.count.saturating_add(1);
            it.count
        })
    }

    fn forget(&mut self, note: &Note) {
        self.known.remove(note);
    }
}

/// What of an object's name may begin an event's: roles have names with colons.
fn stem(name: &str) -> String {
    let plain = name.to_lowercase();
    let plain = plain.chars().map(|it| if it.is_ascii_alphanumeric() || it == '.' { it } else { '-' });
    let plain: String = plain.take(NAME_MAX).collect();
    let plain = plain.trim_matches(['.', '-']);
    if plain.is_empty() { "object".to_owned() } else { plain.to_owned() }
}

#[cfg(test)]
mod tests {
    use eyot_kyverno::{Component, Reason};

    use super::*;

    fn note(about: &str, message: &str) -> Note {
        Note {
            about: Reference { kind: "ClusterPolicy".into(), name: about.into(), ..Reference::default() },
            related: Some(Reference { kind: "Pod".into(), name: "p".into(), ..Reference::default() }),
            reason: Reason::Violation,
            action: "Resource Passed",
            component: Component::Scan,
            message: message.into(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_is_told_again_is_counted() {
        let mut ledger = Ledger::default();
        let first = ledger.enter(vec![note("a", "x"), note("a", "x"), note("a", "y")], at(1));
        let counts: Vec<(u32, bool)> = first.iter().map(|it| (it.count, it.is_new)).collect();
        assert_eq!(counts, [(2, true), (1, true)]);
        assert_ne!(first[0].name, first[1].name);
        let again = ledger.enter(vec![note("a", "x")], at(2));
        assert_eq!((again[0].count, again[0].is_new, &again[0].name), (3, false, &first[0].name));
        ledger.forget(&again[0].note);
        assert!(ledger.enter(vec![note("a", "x")], at(3))[0].is_new);
    }

    #[test]
    fn an_object_with_much_to_tell_ends_in_one_event() {
        let mut ledger = Ledger::default();
        let mut all = Vec::new();
        for at_a_time in 0..10 {
            let notes = (0..10).map(|it| note("a", &format!("{at_a_time}-{it}"))).collect();
            all.extend(ledger.enter(notes, at(at_a_time)));
        }
        assert_eq!(all.iter().filter(|it| it.is_new).count(), PER_OBJECT_MAX as usize + 1);
        let last = all.last().unwrap();
        assert_eq!((last.count, last.note.message.as_str()), (100 - PER_OBJECT_MAX, COMBINED));
        // Others, and later times, are told of as before.
        assert!(ledger.enter(vec![note("b", "x")], at(9))[0].is_new);
        assert_eq!(ledger.enter(vec![note("a", "later")], at(400))[0].note.message, "later");
    }

    #[test]
    fn an_event_is_as_the_api_wants_it() {
        let write = &Ledger::default().enter(vec![note("system:A.", "x")], at(0))[0];
        assert!(write.name.starts_with("system-a."), "{}", write.name);
        let event = write.event();
        assert_eq!((&event["type"], &event["reason"]), (&json!("Warning"), &json!("PolicyViolation")));
        assert_eq!(event["metadata"]["namespace"], "default");
        assert_eq!(event["involvedObject"], json!({"kind": "ClusterPolicy", "name": "system:A."}));
        assert_eq!(event["related"]["name"], "p");
        assert_eq!(event["lastTimestamp"], "1970-01-01T00:00:00Z");
        assert!(serde_json::from_value::<Event>(event).is_ok());
    }
}
