//! Recent changes of one resource, bounded by count and by the bytes that only history keeps alive.

use std::{collections::VecDeque, sync::Arc};

use crate::{Event, EventKind, Revision};

/// How much one resource may remember.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

/// A row that nothing refers to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Garbage {
    /// Revision of the row.
    pub(crate) row: Revision,
    /// The forgotten change: the resource's horizon must reach it before the row goes.
    pub(crate) horizon: Revision,
}

/// Changes after `horizon`, all of them, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    horizon: Revision,
}

impl History {
    /// The newest forgotten revision: any later one can be served.
    pub(crate) fn horizon(&self) -> Revision {
        self.horizon
    }

    pub(crate) fn set_horizon(&mut self, horizon: Revision) {
        self.horizon = horizon;
    }

    /// Changes after `revision`, oldest first.
    pub(crate) fn after(&self, revision: Revision) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        let start = self.events.partition_point(|it| it.revision() <= revision);
        self.events.range(start..)
    }

    /// Remembers a change, and forgets the oldest ones over the bounds.
    pub(crate) fn push(&mut self, event: Arc<Event>, bounds: Bounds, garbage: &mut Vec<Garbage>) {
        self.bytes += held(&event);
        self.events.push_back(event);
        while self.events.len() > bounds.events || self.bytes > bounds.bytes {
            self.forget_oldest(garbage);
        }
    }

    /// Forgets changes up to and including `revision`.
    pub(crate) fn forget_through(&mut self, revision: Revision, garbage: &mut Vec<Garbage>) {
        while self.events.front().is_some_and(|it| it.revision() <= revision) {
            self.forget_oldest(garbage);
        }
        if self.events.is_empty() {
            self.events.shrink_to_fit();
        }
    }

    fn forget_oldest(&mut self, garbage: &mut Vec<Garbage>) {
        let Some(event) = self.events.pop_front() else { return };
        self.bytes -= held(&event);
        let horizon = event.revision();
        self.horizon = horizon;
        garbage.extend(event.previous.as_ref().map(|it| Garbage { row: it.revision, horizon }));
        if event.kind == EventKind::Deleted {
            garbage.push(Garbage { row: horizon, horizon });
        }
    }
}

/// Bytes that would be free if the event were forgotten, about.
fn held(event: &Event) -> usize {
    const OVERHEAD: usize = 200;
    let tombstone = if event.kind == EventKind::Deleted { event.entry.value.len() } else { 0 };
    OVERHEAD + tombstone + event.previous.as_ref().map_or(0, |it| it.value.len())
}
