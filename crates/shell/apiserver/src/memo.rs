//! Something read from all objects of a resource, read again when one of them changed. Entry point: [`Memo::get`].

use std::sync::Arc;

use eyot_store::{Entry, Page, Revision, Scope, Store};
use parking_lot::Mutex;

/// What was read, as of a change of the resource.
pub(crate) struct Memo<T> {
    resource: Arc<str>,
    known: Mutex<Option<(Revision, Arc<T>)>>,
}

impl<T> Memo<T> {
    pub(crate) fn new(resource: &str) -> Memo<T> {
        Memo { resource: resource.into(), known: Mutex::default() }
    }

    /// What `read` makes of the objects that are stored now.
    pub(crate) fn get(&self, store: &Store, read: impl FnOnce(&[Arc<Entry>]) -> T) -> Arc<T> {
        let mut known = self.known.lock();
        // Asked before the objects are listed: what changes in between is read once more, and never missed.
        let changed = store.changed(&self.resource);
        if let Some((_, value)) = known.as_ref().filter(|it| it.0 == changed) {
            return value.clone();
        }
        // The newest state can always be listed.
        let list = store.list(&Scope::all(self.resource.clone()), &Page::default());
        let value = Arc::new(read(&list.map_or(Vec::new(), |it| it.entries)));
        *known = Some((changed, value.clone()));
        value
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use eyot_store::{Key, Options, Write};

    use super::*;

    #[tokio::test]
    async fn reads_again_only_after_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::new(crate::attributes)).unwrap();
        let memo = Memo::new("g/things");
        let count = || memo.get(&store, <[_]>::len);
        let none = count();
        assert!(Arc::ptr_eq(&none, &count()) && *none == 0);
        let write = |name: &str| store.write(Write::create(Key::new("g/things", "", name), |_| Bytes::from("{}")));
        write("a").await.unwrap();
        write("b").await.unwrap();
        let two = count();
        assert!(Arc::ptr_eq(&two, &count()) && *two == 2);
        store.write(Write::delete(Key::new("g/things", "", "a"), None, |_| Bytes::from("{}"))).await.unwrap();
        assert_eq!(*count(), 1);
    }
}
