//! Who owns what after a write that is no apply. Entry point: [`track`].

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Map, Value};

use super::{
    Writer,
    compare::{Comparison, compare},
    managed::{self, Entry, ManagedError, Operation},
    reset::{self, Ignored},
    versions::Versions,
};
use crate::{
    kinds::{Kind, Table},
    meta,
};

/// Sets `metadata.managedFields` of an object about to be written. `old` is what it replaces, `None` for a creation;
/// what `new` says itself counts: a client may set the list, forget it with one empty entry, or leave it out.
///
/// As in Kubernetes an object without owners stays so when it is updated, until somebody applies to it. Run this
/// after defaults and before the server's own decisions, which nobody owns.
///
/// # Errors
/// What was wrong with a list that was sent; it counts as left out, and the write may go on.
pub fn track(
    table: &Table,
    kind: &Kind,
    writer: &Writer<'_>,
    old: Option<&Value>,
    new: &mut Value,
) -> Result<(), ManagedError> {
    let sent = meta::metadata_mut(new).remove("managedFields");
    let held = old.and_then(|it| it.pointer("/metadata/managedFields"));
    let (entries, problem) = match base(writer, held, sent.as_ref()) {
        Ok(base) => (base, Ok(())),
        Err(error) => (Base::Held, Err(error)),
    };
    let is_new = old.is_none();
    let is_tracked = match &entries {
        Base::Held => is_new || !meta::list(held).is_empty(),
        Base::Sent(entries) => is_new || !entries.is_empty(),
    };
    if !is_tracked {
        return problem;
    }
    let versions = Versions::new(table, kind);
    let ignored = Ignored::of(kind, writer.subresource);
    let nothing = Value::Object(Map::new());
    let old = old.unwrap_or(&nothing);
    let mut changes = Changes::new(&versions, &ignored, old, new);
    let list = match entries {
        // The common case: nothing changed, and nothing has to be read.
        Base::Held if changes.own().is_empty() => held.cloned(),
        entries => {
            let mut entries = match entries {
                Base::Held => managed::decode(held).unwrap_or_default(),
                Base::Sent(entries) => entries,
            };
            settle(&versions, &mut entries);
            record(writer, &mut changes, &mut entries);
            Some(managed::encode(entries))
        }
    };
    if let Some(list) = list.filter(|it| !meta::list(Some(it)).is_empty()) {
        meta::metadata_mut(new).insert("managedFields".into(), list);
    }
    problem
}

/// The entries that a write begins with.
enum Base {
    /// Those of the stored object.
    Held,
    /// Those that came with the write.
    Sent(Vec<Entry>),
}

fn base(writer: &Writer<'_>, held: Option<&Value>, sent: Option<&Value>) -> Result<Base, ManagedError> {
    if !writer.subresource.is_empty() || sent == held {
        return Ok(Base::Held);
    }
    if managed::is_reset(sent) {
        return Ok(Base::Sent(Vec::new()));
    }
    let entries = managed::decode(sent)?;
    // A client that does not know the field must not wipe it out.
    Ok(if entries.is_empty() { Base::Held } else { Base::Sent(entries) })
}

/// Brings entries in line with a schema that has changed since they were written.
pub(super) fn settle(versions: &Versions<'_>, entries: &mut [Entry]) {
    for entry in entries {
        if let Some(schema) = versions.schema(&entry.api_version) {
            entry.fields.settle(schema.root());
        }
    }
}

/// Counts the changes as the writer's, and takes them from everybody else.
pub(super) fn record(writer: &Writer<'_>, changes: &mut Changes<'_>, entries: &mut Vec<Entry>) {
    disown(changes, entries);
    let mut fields = changes.own().written();
    fields.subtract(&reset::UNOWNED);
    if fields.is_empty() {
        return;
    }
    let entry = Entry { fields, ..writer.entry(Operation::Update, changes.versions.own()) };
    match entries.iter_mut().find(|it| it.is_of(&entry)) {
        Some(same) => {
            same.fields.union(entry.fields);
            same.time = entry.time;
        }
        None => entries.push(entry),
    }
    managed::cap(entries);
}

/// Takes from all owners what changed or went. Owners who speak of a version that is gone are forgotten.
pub(super) fn disown(changes: &mut Changes<'_>, entries: &mut Vec<Entry>) {
    entries.retain_mut(|entry| {
        let Some(change) = changes.at(&entry.api_version) else { return false };
        for set in [&change.added, &change.modified, &change.removed] {
            entry.fields.subtract(set);
        }
        !entry.fields.is_empty()
    });
}

/// What changed between two objects, in the terms of each version that somebody asks for.
pub(super) struct Changes<'a> {
    pub(super) versions: &'a Versions<'a>,
    ignored: &'a Ignored,
    old: &'a Value,
    new: &'a Value,
    own: Comparison,
    others: BTreeMap<String, Option<Comparison>>,
}

impl<'a> Changes<'a> {
    pub(super) fn new(versions: &'a Versions<'a>, ignored: &'a Ignored, old: &'a Value, new: &'a Value) -> Self {
        let own = compare(versions.own_schema().root(), old, new).without(ignored);
        Self { versions, ignored, old, new, own, others: BTreeMap::new() }
    }

    /// In terms of the request's version.
    pub(super) fn own(&self) -> &Comparison {
        &self.own
    }

    /// In terms of a version; `None` when it is not served any more.
    pub(super) fn at(&mut self, api_version: &str) -> Option<&Comparison> {
        if api_version == self.versions.own() {
            return Some(&self.own);
        }
        if !self.others.contains_key(api_version) {
            let found = self.find(api_version);
            self.others.insert(api_version.to_owned(), found);
        }
        self.others.get(api_version)?.as_ref()
    }

    fn find(&self, api_version: &str) -> Option<Comparison> {
        let schema = self.versions.schema(api_version)?;
        let own = self.versions.own();
        let old = self.versions.convert(Cow::Borrowed(self.old), own, api_version)?;
        let new = self.versions.convert(Cow::Borrowed(self.new), own, api_version)?;
        Some(compare(schema.root(), &old, &new).without(self.ignored))
    }
}
