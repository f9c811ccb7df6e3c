//! One version of one object, and the change that made it.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use crate::{Attributes, AttributesFn, Key, Revision};

/// One version of one object; immutable, shared by reference count.
pub struct Entry {
    /// Whose version.
    pub key: Key,
    /// The change that made this version.
    pub revision: Revision,
    /// The change that created the object.
    pub created: Revision,
    /// As written, with its resource version inside.
    pub value: Bytes,
    attributes: OnceLock<Attributes>,
    extract: AttributesFn,
}

impl Entry {
    pub(crate) fn new(key: Key, revision: Revision, created: Revision, value: Bytes, extract: AttributesFn) -> Entry {
        Entry { key, revision, created, value, attributes: OnceLock::new(), extract }
    }

    pub(crate) fn set_attributes(&self, attributes: Attributes) {
        // Set once, right after construction; a second value would be the same one.
        let _ = self.attributes.set(attributes);
    }

    /// Labels and selectable fields; extracted from the value at the first call.
    pub fn attributes(&self) -> &Attributes {
        self.attributes.get_or_init(|| (self.extract)(&self.key.resource, &self.value))
    }
}

impl fmt::Debug for Entry {
    /// Leaves the value out: it may be a Secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({} @{} of {}, {} B)", self.key, self.revision, self.created, self.value.len())
    }
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The object came to be.
    Created,
    /// The object was replaced by a new version.
    Updated,
    /// The object is gone; the entry holds its last value under the revision of the deletion.
    Deleted,
}

/// One change.
#[derive(Debug)]
pub struct Event {
    /// What it did.
    pub kind: EventKind,
    /// The version it made.
    pub entry: Arc<Entry>,
    /// The version it replaced or deleted; `None` exactly when created.
    pub previous: Option<Arc<Entry>>,
}

impl Event {
    /// When it happened.
    pub fn revision(&self) -> Revision {
        self.entry.revision
    }

    /// Whose change.
    pub fn key(&self) -> &Key {
        &self.entry.key
    }
}
