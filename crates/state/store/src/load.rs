//! Reads the log back into memory at start.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    Entry, Event, EventKind, Key, OpenError, Revision,
    batch::Names,
    disk::{Disk, Row},
    history::Garbage,
    store::Shared,
};

/// What the writer continues from.
pub(crate) struct Loaded {
    pub(crate) last: Revision,
    /// How many there are.
    pub(crate) objects: u64,
    pub(crate) garbage: Vec<(Arc<str>, Garbage)>,
}

/// Fills the tables, their history included, so that watchers resume across a restart.
pub(crate) fn load(disk: &Disk, shared: &Shared, names: &mut Names) -> Result<Loaded, OpenError> {
    let mut loaded = Loaded { last: Revision(0), objects: 0, garbage: Vec::new() };
    disk.horizons(|resource, horizon| {
        loaded.last = loaded.last.max(horizon);
        shared.table(&names.intern(resource)).state.write().history.set_horizon(horizon);
    })?;
    let (mut rows, mut newest) = (Vec::new(), Revision(0));
    disk.load(|row| {
        if row.revision <= newest {
            return Err(format!("row {} follows row {newest}", row.revision));
        }
        newest = row.revision;
        loaded.objects = row.objects;
        loaded.last = loaded.last.max(row.revision);
        let resource = names.intern(row.resource);
        let table = shared.table(&resource);
        let key = Key { resource, namespace: names.intern(row.namespace), name: row.name.into() };
        let event = event(row, key, &table, shared)?;
        table.state.write().restore(event, shared.options.history(), &mut rows);
        loaded.garbage.extend(rows.drain(..).map(|it| (table.resource.clone(), it)));
        Ok(())
    })?;
    let found: usize = shared.tables().iter().map(|it| it.state.read().len()).sum();
    match found as u64 == loaded.objects {
        true => Ok(loaded),
        false => Err(disk.damaged(format!("{found} objects are left of {}", loaded.objects))),
    }
}

/// The change that a row records; fails when what it builds on is missing.
fn event(row: Row<'_>, key: Key, table: &crate::table::Table, shared: &Shared) -> Result<Event, String> {
    let previous = table.get(&key);
    let forgotten = row.revision <= table.state.read().history.horizon();
    let kind = match (row.deleted, &previous) {
        (true, _) => EventKind::Deleted,
        (false, Some(_)) => EventKind::Updated,
        (false, None) => EventKind::Created,
    };
    let complete = match kind {
        EventKind::Created => row.created == row.revision,
        EventKind::Updated | EventKind::Deleted => previous.as_ref().is_some_and(|it| it.created == row.created),
    };
    if !complete && !forgotten {
        return Err(format!("row {} changes {key}, whose earlier version is missing", row.revision));
    }
    let key = previous.as_ref().map_or(key, |it| it.key.clone());
    let value = Bytes::copy_from_slice(row.value);
    let entry = Entry::new(key, row.revision, row.created, value, shared.options.attributes);
    Ok(Event { kind, entry: Arc::new(entry), previous })
}
