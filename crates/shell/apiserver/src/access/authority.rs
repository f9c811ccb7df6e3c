//! Keeps the roles and bindings of the store where they can be asked. Entry point: [`Authority::read`].
//!
//! Nothing runs in the background. Whoever asks first takes in what was written since the last question, so that a
//! question always sees every write that was answered before it; when nothing was written it costs one comparison. The
//! index is made at the first question, not at start.

use std::sync::atomic::{AtomicU64, Ordering};

use eyot_model::rbac::Index;
use eyot_store::{Entry, Event, EventKind, Page, Scope, Store, Watch};
use futures::FutureExt;
use parking_lot::{Mutex, RwLock};

/// Resources as the store names them, with their kinds.
const RESOURCES: [(&str, &str); 4] = [
    ("rbac.authorization.k8s.io/clusterroles", "ClusterRole"),
    ("rbac.authorization.k8s.io/roles", "Role"),
    ("rbac.authorization.k8s.io/clusterrolebindings", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/rolebindings", "RoleBinding"),
];
/// Changes that may wait for the next question; after more the index is made anew.
const WAITING_MAX: usize = 1024;
/// No revision was taken in yet.
const NEVER: u64 = u64::MAX;

/// The roles and bindings of one store.
pub(crate) struct Authority {
    index: RwLock<Index>,
    /// Changes to take in; empty before the first question.
    feed: Mutex<Vec<(&'static str, Watch)>>,
    /// The store's revision when changes were last taken in.
    seen: AtomicU64,
}

impl Default for Authority {
    fn default() -> Self {
        Authority { index: RwLock::default(), feed: Mutex::default(), seen: AtomicU64::new(NEVER) }
    }
}

impl Authority {
    /// Asks the index of everything written so far.
    pub(crate) fn read<T>(&self, store: &Store, ask: impl FnOnce(&Index) -> T) -> T {
        self.catch_up(store);
        ask(&self.index.read())
    }

    fn catch_up(&self, store: &Store) {
        if self.seen.load(Ordering::Acquire) == store.revision().0 {
            return;
        }
        let mut feed = self.feed.lock();
        // Read before the changes are: all up to it are waiting already.
        let revision = store.revision().0;
        if feed.len() < RESOURCES.len() || !self.take_in(&mut feed) {
            self.rebuild(store, &mut feed);
        }
        self.seen.store(revision, Ordering::Release);
    }

    /// Applies waiting changes; false when some were lost.
    fn take_in(&self, feed: &mut [(&'static str, Watch)]) -> bool {
        for (kind, watch) in feed {
            while let Some(next) = watch.next().now_or_never() {
                match next {
                    Some(Ok(event)) => apply(&mut self.index.write(), kind, &event),
                    Some(Err(_)) | None => return false,
                }
            }
        }
        true
    }

    fn rebuild(&self, store: &Store, feed: &mut Vec<(&'static str, Watch)>) {
        feed.clear();
        let mut index = Index::default();
        for (resource, kind) in RESOURCES {
            let scope = Scope::all(resource);
            // Of the newest state there is always a list, and a watch can begin where the list was made.
            let Ok(list) = store.list(&scope, &Page::default()) else { continue };
            list.entries.iter().for_each(|it| put(&mut index, it));
            if let Ok(watch) = store.watch(&scope, list.revision, WAITING_MAX) {
                feed.push((kind, watch));
            }
        }
        *self.index.write() = index;
    }
}

fn apply(index: &mut Index, kind: &str, event: &Event) {
    match event.kind {
        EventKind::Deleted => index.remove(kind, &event.key().namespace, &event.key().name),
        EventKind::Created | EventKind::Updated => put(index, &event.entry),
    }
}

fn put(index: &mut Index, entry: &Entry) {
    match serde_json::from_slice(&entry.value) {
        Ok(object) => index.put(&object),
        Err(error) => tracing::error!(%error, key = %entry.key, "a damaged role or binding counts for nothing"),
    }
}
