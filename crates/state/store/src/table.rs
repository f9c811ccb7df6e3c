//! One resource in memory: its objects in order, its recent history, its watchers.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
    task::Waker,
};

use parking_lot::RwLock;

use crate::{
    Entry, Event, EventKind, HistoryError, Key, Revision, Scope,
    history::{Bounds, Garbage, History},
    key::Place,
    watch::Inbox,
};

/// One resource.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) resource: Arc<str>,
    pub(crate) state: RwLock<State>,
}

/// What a table's lock protects. Objects, history and watchers always agree.
#[derive(Debug, Default)]
pub(crate) struct State {
    objects: BTreeMap<Place, Arc<Entry>>,
    /// How many of them are in which namespace.
    counts: HashMap<Arc<str>, usize>,
    pub(crate) history: History,
    watchers: Vec<Arc<Inbox>>,
    /// The newest change; `objects` are the state as of it.
    pub(crate) latest: Revision,
}

impl Table {
    pub(crate) fn new(resource: Arc<str>) -> Table {
        Table { resource, state: RwLock::default() }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.state.read().objects.get(&key.place()).cloned()
    }
}

impl State {
    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    /// Takes changes in, in revision order, without telling watchers.
    pub(crate) fn apply(&mut self, event: Arc<Event>, bounds: Bounds, garbage: &mut Vec<Garbage>) {
        self.latest = event.revision();
        let place = event.key().place();
        match event.kind {
            EventKind::Deleted => {
                if self.objects.remove(&place).is_some() {
                    self.leave(&place.namespace);
                }
            }
            EventKind::Created | EventKind::Updated => {
                let namespace = place.namespace.clone();
                if self.objects.insert(place, event.entry.clone()).is_none() {
                    *self.counts.entry(namespace).or_default() += 1;
                }
            }
        }
        self.history.push(event, bounds, garbage);
    }

    /// One object less is in the namespace.
    fn leave(&mut self, namespace: &str) {
        if let Some(count) = self.counts.get_mut(namespace) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(namespace);
            }
        }
    }

    /// How many objects a scope has, where that is known without looking at them.
    pub(crate) fn count(&self, scope: &Scope) -> Option<usize> {
        match (&scope.namespace, &scope.name) {
            (None, None) => Some(self.objects.len()),
            (Some(namespace), None) => Some(self.counts.get(namespace).copied().unwrap_or(0)),
            (_, Some(_)) => None,
        }
    }

    /// Takes a change in that was read back. What history had forgotten stays forgotten.
    pub(crate) fn restore(&mut self, event: Event, bounds: Bounds, garbage: &mut Vec<Garbage>) {
        let (event, horizon) = (Arc::new(event), self.history.horizon());
        let forgotten = event.revision() <= horizon;
        // A history of no events forgets this one at once.
        let bounds = if forgotten { Bounds { events: 0, bytes: 0 } } else { bounds };
        self.apply(event, bounds, garbage);
        if forgotten {
            self.history.set_horizon(horizon);
        }
    }

    /// Hands changes to the watchers; the wakers are for after the lock.
    pub(crate) fn publish(&mut self, events: &[Arc<Event>], wakers: &mut Vec<Waker>) {
        self.watchers.retain(|it| it.offer(events, wakers));
    }

    /// Registers a watcher that sees every change after the revision it wants to start from.
    pub(crate) fn subscribe(&mut self, inbox: Arc<Inbox>) -> Result<(), HistoryError> {
        self.check(inbox.from())?;
        inbox.fill(self.history.after(inbox.from()));
        self.watchers.push(inbox);
        Ok(())
    }

    pub(crate) fn unsubscribe(&mut self, inbox: &Arc<Inbox>) {
        self.watchers.retain(|it| !Arc::ptr_eq(it, inbox));
    }

    pub(crate) fn close(&mut self) {
        self.watchers.drain(..).for_each(|it| it.close());
    }

    /// Whether the state as of `revision` can still be told.
    pub(crate) fn check(&self, revision: Revision) -> Result<(), HistoryError> {
        let oldest = self.history.horizon();
        match revision < oldest {
            true => Err(HistoryError::Compacted { requested: revision, oldest }),
            false => Ok(()),
        }
    }

    /// Live objects of a scope after a place, in order.
    pub(crate) fn range<'a>(
        &'a self,
        scope: &'a Scope,
        after: Option<&Place>,
    ) -> impl Iterator<Item = &'a Arc<Entry>> + 'a {
        self.objects
            .range((start(scope, after), Bound::Unbounded))
            .map(|it| it.1)
            .take_while(|it| scope.namespace.as_ref().is_none_or(|ns| *ns == it.key.namespace))
            .filter(|it| scope.admits(&it.key))
    }

    /// Objects of a scope after a place as they were at `revision`, in order: the live ones with later changes undone.
    pub(crate) fn range_at<'a>(
        &'a self,
        scope: &'a Scope,
        after: Option<&Place>,
        revision: Revision,
    ) -> impl Iterator<Item = Arc<Entry>> + 'a {
        let mut undone = BTreeMap::new();
        for event in self.history.after(revision).rev().filter(|it| scope.admits(it.key())) {
            let place = event.key().place();
            if after.is_none_or(|it| place > *it) {
                undone.insert(place, event.previous.clone());
            }
        }
        let mut undone = undone.into_iter().peekable();
        let mut live = self.range(scope, after).peekable();
        std::iter::from_fn(move || {
            loop {
                let Some((place, _)) = undone.peek() else { return live.next().cloned() };
                match live.peek() {
                    Some(entry) if entry.key.place() < *place => return live.next().cloned(),
                    Some(entry) if entry.key.place() == *place => drop(live.next()),
                    _ => {}
                }
                if let Some((_, Some(entry))) = undone.next() {
                    return Some(entry);
                }
            }
        })
    }
}

/// Where a scope's objects begin, given that everything up to `after` was seen.
fn start(scope: &Scope, after: Option<&Place>) -> Bound<Place> {
    let first = scope.namespace.as_ref().map(|ns| Place { namespace: ns.clone(), name: "".into() });
    match (first, after) {
        (Some(first), Some(after)) if first > *after => Bound::Included(first),
        (_, Some(after)) => Bound::Excluded(after.clone()),
        (Some(first), None) => Bound::Included(first),
        (None, None) => Bound::Unbounded,
    }
}
