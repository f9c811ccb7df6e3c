//! Decides which writes of a batch succeed, against memory and what the batch changed before; performs nothing.

use std::{
    collections::{HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;

use crate::{AttributesFn, Entry, Event, EventKind, Key, Operation, Revision, Write, WriteError};

/// Changes that will be one transaction.
pub(crate) struct Batch<'a> {
    rules: &'a Rules,
    /// Newest version of a key before the batch.
    committed: &'a dyn Fn(&Key) -> Option<Arc<Entry>>,
    names: &'a mut Names,
    overlay: HashMap<Key, Option<Arc<Entry>>>,
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) bytes: usize,
    last: Revision,
}

/// What every write must keep.
pub(crate) struct Rules {
    pub(crate) attributes: AttributesFn,
    pub(crate) value_bytes_max: usize,
}

/// One copy of each resource and namespace name.
#[derive(Default)]
pub(crate) struct Names(HashSet<Arc<str>>);

impl Names {
    /// The shared copy of `name`.
    pub(crate) fn intern(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        if self.0.len() == self.0.capacity() {
            self.0.retain(|it| Arc::strong_count(it) > 1);
        }
        let name: Arc<str> = name.into();
        self.0.insert(name.clone());
        name
    }
}

impl<'a> Batch<'a> {
    pub(crate) fn new(
        rules: &'a Rules,
        names: &'a mut Names,
        committed: &'a dyn Fn(&Key) -> Option<Arc<Entry>>,
        last: Revision,
    ) -> Batch<'a> {
        Batch { rules, committed, names, overlay: HashMap::new(), events: Vec::new(), bytes: 0, last }
    }

    /// The revision after which the batch ends.
    pub(crate) fn last(&self) -> Revision {
        self.last
    }

    /// Adds writes that stand or fall together; on failure the batch is as it was.
    pub(crate) fn add(&mut self, writes: Vec<Write>) -> Result<Vec<Arc<Entry>>, WriteError> {
        let (mark, bytes, last) = (self.events.len(), self.bytes, self.last);
        let mut entries = Vec::with_capacity(writes.len());
        for write in writes {
            match self.change(write) {
                Ok(event) => {
                    entries.push(event.entry.clone());
                    self.stage(event);
                }
                Err(error) => {
                    self.undo_to(mark);
                    (self.bytes, self.last) = (bytes, last);
                    return Err(error);
                }
            }
        }
        Ok(entries)
    }

    fn newest(&self, key: &Key) -> Option<Arc<Entry>> {
        self.overlay.get(key).cloned().unwrap_or_else(|| (self.committed)(key))
    }

    fn change(&mut self, write: Write) -> Result<Event, WriteError> {
        let previous = self.newest(&write.key);
        let kind = permit(&write, previous.as_ref())?;
        let revision = Revision(self.last.0 + 1);
        let value = self.produce(&write.key, write.produce, revision)?;
        let key = match &previous {
            Some(previous) => previous.key.clone(),
            None => Key {
                resource: self.names.intern(&write.key.resource),
                namespace: self.names.intern(&write.key.namespace),
                name: write.key.name,
            },
        };
        let created = previous.as_ref().map_or(revision, |it| it.created);
        let entry = Entry::new(key, revision, created, value, self.rules.attributes);
        if let Some(attributes) = write.attributes {
            entry.set_attributes(attributes);
        }
        Ok(Event { kind, entry: Arc::new(entry), previous })
    }

    fn produce(&self, key: &Key, produce: crate::Produce, revision: Revision) -> Result<Bytes, WriteError> {
        let value =
            catch_unwind(AssertUnwindSafe(|| produce(revision))).map_err(|_| WriteError::Value { key: key.clone() })?;
        let max = self.rules.value_bytes_max;
        if value.len() > max {
            return Err(WriteError::TooLarge { key: key.clone(), bytes: value.len(), max });
        }
        // A copy of its own: a serialiser's spare capacity, or the request body it is a slice of, must not live as long
        // as the object.
        Ok(Bytes::copy_from_slice(&value))
    }

    fn stage(&mut self, event: Event) {
        self.last = event.revision();
        self.bytes += event.entry.value.len();
        let newest = (event.kind != EventKind::Deleted).then(|| event.entry.clone());
        self.overlay.insert(event.key().clone(), newest);
        self.events.push(Arc::new(event));
    }

    fn undo_to(&mut self, mark: usize) {
        for event in self.events.drain(mark..).rev() {
            self.overlay.insert(event.key().clone(), event.previous.clone());
        }
    }
}

/// Whether the operation fits the newest version, and what it does then.
fn permit(write: &Write, newest: Option<&Arc<Entry>>) -> Result<EventKind, WriteError> {
    let (expected, kind) = match (write.operation, newest) {
        (Operation::Create, None) => return Ok(EventKind::Created),
        (Operation::Create, Some(current)) => return Err(WriteError::Exists { current: current.clone() }),
        (Operation::Update { expect }, _) => (Some(expect), EventKind::Updated),
        (Operation::Delete { expect }, _) => (expect, EventKind::Deleted),
    };
    match (newest, expected) {
        (None, _) => Err(WriteError::NotFound { key: write.key.clone() }),
        (Some(current), Some(expected)) if current.revision != expected => {
            Err(WriteError::Conflict { current: current.clone(), expected })
        }
        (Some(_), _) => Ok(kind),
    }
}
