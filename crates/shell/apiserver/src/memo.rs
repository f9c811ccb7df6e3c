//! Something read from all objects of a resource, read again when one of them changed. Entry point: [`Memo::get`].
//!
//! The number of objects and the newest of their versions tell whether anything changed: a state that has both in
//! common with another is the same.

use std::sync::Arc;

use eyot_store::{Entry, Page, Revision, Scope, Store};
use parking_lot::Mutex;

/// What was read, as of so many objects and their newest version.
pub(crate) struct Memo<T> {
    resource: Arc<str>,
    known: Mutex<Option<(usize, Revision, Arc<T>)>>,
}

impl<T> Memo<T> {
    pub(crate) fn new(resource: &str) -> Memo<T> {
        Memo { resource: resource.into(), known: Mutex::default() }
    }

    /// What `read` makes of the objects that are stored now.
    pub(crate) fn get(&self, store: &Store, read: impl FnOnce(&[Arc<Entry>]) -> T) -> Arc<T> {
        // The newest state can always be listed.
        let entries =
            store.list(&Scope::all(self.resource.clone()), &Page::default()).map_or(Vec::new(), |it| it.entries);
        let newest = entries.iter().map(|it| it.revision).max().unwrap_or(Revision(0));
        let mut known = self.known.lock();
        if let Some((_, _, value)) = known.as_ref().filter(|it| (it.0, it.1) == (entries.len(), newest)) {
            return value.clone();
        }
        let value = Arc::new(read(&entries));
        *known = Some((entries.len(), newest, value.clone()));
        value
    }
}
