//! Objects as the watches last showed them, found by name, by controller and by namespace.
//!
//! Entry points: [`Store::get`] and its kin to read; a watch fills it through [`crate::reflect::Sink`].

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use parking_lot::RwLock;

use crate::{
    reflect::Sink,
    view::{Key, View},
};

/// What a watch changed: the object before and after.
pub(crate) struct Change<T> {
    pub(crate) old: Option<Arc<T>>,
    pub(crate) new: Option<Arc<T>>,
}

impl<T: View> Change<T> {
    /// The object as it is, or as it last was.
    pub(crate) fn latest(&self) -> Option<&Arc<T>> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

type Listener<T> = Box<dyn Fn(&Change<T>) + Send + Sync>;

/// A cache of one kind.
pub(crate) struct Store<T> {
    inner: RwLock<Inner<T>>,
    /// Told about every change, after it is visible.
    listener: std::sync::OnceLock<Listener<T>>,
}

struct Inner<T> {
    objects: HashMap<Key, Arc<T>>,
    by_controller: HashMap<Box<str>, HashSet<Key>>,
    by_namespace: HashMap<Arc<str>, Members>,
}

/// Objects of one namespace.
#[derive(Default)]
struct Members {
    all: HashSet<Key>,
    /// Those without controller.
    free: HashSet<Key>,
}

impl<T: View> Store<T> {
    pub(crate) fn new() -> Arc<Self> {
        let inner = Inner { objects: HashMap::new(), by_controller: HashMap::new(), by_namespace: HashMap::new() };
        Arc::new(Self { inner: RwLock::new(inner), listener: std::sync::OnceLock::new() })
    }

    /// Sets who is told about changes; only the first call counts.
    pub(crate) fn listen(&self, listener: impl Fn(&Change<T>) + Send + Sync + 'static) {
        let _ = self.listener.set(Box::new(listener));
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<T>> {
        self.inner.read().objects.get(key).cloned()
    }

    /// Objects whose controller has this identity.
    pub(crate) fn controlled_by(&self, uid: &str) -> Vec<Arc<T>> {
        let inner = self.inner.read();
        inner.collect(inner.by_controller.get(uid))
    }

    /// Objects of the namespace that have no controller.
    pub(crate) fn free_in(&self, namespace: &str) -> Vec<Arc<T>> {
        let inner = self.inner.read();
        inner.collect(inner.by_namespace.get(namespace).map(|it| &it.free))
    }

    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        let inner = self.inner.read();
        inner.collect(inner.by_namespace.get(namespace).map(|it| &it.all))
    }

    pub(crate) fn len(&self) -> usize {
        self.inner.read().objects.len()
    }

    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        self.inner.read().objects.values().cloned().collect()
    }

    /// Takes in the answer to a write, so that the next pass does not work on what it replaced. Only a newer version of
    /// an object that is still here counts: the watch may be further already.
    pub(crate) fn absorb(&self, object: T) {
        let key = object.meta().key();
        let new = Arc::new(object);
        let old = {
            let mut inner = self.inner.write();
            let Some(present) = inner.objects.get(&key) else { return };
            if new.meta().uid != present.meta().uid || outdated(new.as_ref(), present) {
                return;
            }
            inner.insert(key, new.clone())
        };
        // The watch will bring this version again and be ignored, so its readers hear of it now.
        self.tell(Change { old, new: Some(new) });
    }

    fn put(&self, object: T) {
        let key = object.meta().key();
        let new = Arc::new(object);
        let old = {
            let mut inner = self.inner.write();
            if inner.objects.get(&key).is_some_and(|it| outdated(new.as_ref(), it)) {
                return;
            }
            inner.insert(key, new.clone())
        };
        self.tell(Change { old, new: Some(new) });
    }

    fn take(&self, key: &Key, uid: &str) {
        let old = {
            let mut inner = self.inner.write();
            if inner.objects.get(key).is_none_or(|it| &*it.meta().uid != uid) {
                return;
            }
            inner.remove(key)
        };
        self.tell(Change { old, new: None });
    }

    fn tell(&self, change: Change<T>) {
        if let Some(listener) = self.listener.get() {
            listener(&change);
        }
    }
}

/// The cache got this version or a later one from the answer to a write.
fn outdated<T: View>(new: &T, present: &T) -> bool {
    new.meta().uid == present.meta().uid
        && new.meta().version().zip(present.meta().version()).is_some_and(|(new, old)| new <= old)
}

impl<T: View> Sink<T> for Arc<Store<T>> {
    fn apply(&self, object: T) {
        self.put(object);
    }

    fn remove(&self, object: T) {
        self.take(&object.meta().key(), &object.meta().uid);
    }

    fn replace(&self, all: Vec<T>) {
        let present: HashSet<Key> = all.iter().map(|it| it.meta().key()).collect();
        let gone: Vec<Arc<T>> =
            self.inner.read().objects.iter().filter(|(key, _)| !present.contains(key)).map(|it| it.1.clone()).collect();
        for object in gone {
            self.take(&object.meta().key(), &object.meta().uid);
        }
        for object in all {
            let same = |it: &Arc<T>| it.meta().resource_version == object.meta().resource_version;
            if !self.get(&object.meta().key()).as_ref().is_some_and(same) {
                self.put(object);
            }
        }
    }
}

impl<T: View> Inner<T> {
    fn collect(&self, keys: Option<&HashSet<Key>>) -> Vec<Arc<T>> {
        keys.into_iter().flatten().filter_map(|key| self.objects.get(key).cloned()).collect()
    }

    fn insert(&mut self, key: Key, object: Arc<T>) -> Option<Arc<T>> {
        let old = self.remove(&key);
        let members = self.by_namespace.entry(key.namespace.clone()).or_default();
        members.all.insert(key.clone());
        match object.meta().controller() {
            Some(owner) => {
                self.by_controller.entry(owner.uid.clone()).or_default().insert(key.clone());
            }
            None => {
                members.free.insert(key.clone());
            }
        }
        self.objects.insert(key, object);
        old
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<T>> {
        let old = self.objects.remove(key)?;
        if let Some(owner) = old.meta().controller()
            && let Some(keys) = self.by_controller.get_mut(&owner.uid)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.by_controller.remove(&owner.uid);
            }
        }
        if let Some(members) = self.by_namespace.get_mut(&key.namespace) {
            members.all.remove(key);
            members.free.remove(key);
            if members.all.is_empty() {
                self.by_namespace.remove(&key.namespace);
            }
        }
        Some(old)
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use serde_json::json;

    use super::*;
    use crate::view::cluster::MetaView;

    fn object(name: &str, uid: &str, version: u64, controller: &str) -> MetaView {
        let owners = if controller.is_empty() { json!([]) } else { json!([{"uid": controller, "controller": true}]) };
        let meta = json!({"name": name, "namespace": "ns", "uid": uid, "resourceVersion": version.to_string(),
            "ownerReferences": owners});
        serde_json::from_value(json!({"metadata": meta})).unwrap()
    }

    #[test]
    fn indexes_follow_the_objects() {
        let store: Arc<Store<MetaView>> = Store::new();
        store.apply(object("a", "1", 1, "owner"));
        store.apply(object("b", "2", 2, ""));
        assert_eq!((store.controlled_by("owner").len(), store.free_in("ns").len()), (1, 1));
        store.apply(object("b", "2", 3, "owner"));
        assert_eq!((store.controlled_by("owner").len(), store.free_in("ns").len()), (2, 0));
        store.replace(vec![object("b", "2", 3, "owner")]);
        assert_eq!((store.controlled_by("owner").len(), store.in_namespace("ns").len()), (1, 1));
        store.remove(object("b", "2", 4, "owner"));
        assert!(store.inner.read().by_controller.is_empty() && store.inner.read().by_namespace.is_empty());
    }

    #[test]
    fn answers_to_writes_are_neither_undone_by_late_events_nor_bring_back_the_dead() {
        let store: Arc<Store<MetaView>> = Store::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        store.listen(move |it| log.lock().push(it.latest().unwrap().meta.version().unwrap()));
        store.apply(object("a", "1", 1, ""));
        store.absorb(object("a", "1", 5, ""));
        store.apply(object("a", "1", 4, ""));
        assert_eq!(store.get(&Key::new("ns", "a")).unwrap().meta().version(), Some(5));
        store.remove(object("a", "other", 6, ""));
        assert!(store.get(&Key::new("ns", "a")).is_some(), "a deletion of an earlier object of that name");
        store.remove(object("a", "1", 7, ""));
        store.absorb(object("a", "1", 6, ""));
        assert!(store.get(&Key::new("ns", "a")).is_none());
        assert_eq!(*seen.lock(), [1, 5, 5]);
    }
}
