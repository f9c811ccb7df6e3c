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
    by_controller: HashMap<Box<str>, Group<T>>,
    by_namespace: HashMap<Arc<str>, Members>,
}

/// Objects of one controller.
struct Group<T> {
    keys: HashSet<Key>,
    /// What is counted of them, once somebody asked.
    tally: Option<Tally<T>>,
}

/// How many objects of a controller are each of a few things; which things is the measure's to say.
pub(crate) type Sums = [i32; 4];

/// What one object adds to the sums. It must be a matter of the object alone.
pub(crate) type Measure<T> = Box<dyn Fn(&T) -> Sums + Send + Sync>;

/// Sums that follow every change, so that a controller of many objects need not look at each in every pass.
struct Tally<T> {
    /// Tells one measure from another.
    version: Box<str>,
    measure: Measure<T>,
    sums: Sums,
}

/// Objects of one namespace.
#[derive(Default)]
struct Members {
    all: HashSet<Key>,
    /// Those without controller.
    free: HashSet<Key>,
    /// Those that are to go.
    going: HashSet<Key>,
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
        inner.collect(inner.by_controller.get(uid).map(|it| &it.keys))
    }

    /// The sums over the objects whose controller has this identity, and how many of `wished` are not among those objects: both
    /// as of one moment. All are counted at the first call and when `version`, which stands for the measure, is another.
    pub(crate) fn tally(
        &self,
        uid: &str,
        version: &str,
        measure: impl FnOnce() -> Measure<T>,
        wished: &[Key],
    ) -> (Sums, usize) {
        let known = |inner: &Inner<T>| {
            let Some(group) = inner.by_controller.get(uid) else { return Some((Sums::default(), wished.len())) };
            let tally = group.tally.as_ref().filter(|it| *it.version == *version)?;
            Some((tally.sums, wished.iter().filter(|it| !group.keys.contains(it)).count()))
        };
        if let Some(known) = known(&self.inner.read()) {
            return known;
        }
        let mut inner = self.inner.write();
        inner.count(uid, version, measure());
        // Counted a moment ago, under the same lock.
        known(&inner).unwrap_or_default()
    }

    /// Objects of the namespace that have no controller.
    pub(crate) fn free_in(&self, namespace: &str) -> Vec<Arc<T>> {
        let inner = self.inner.read();
        inner.collect(inner.by_namespace.get(namespace).map(|it| &it.free))
    }

    /// Objects of the namespace that are to go.
    pub(crate) fn going_in(&self, namespace: &str) -> Vec<Arc<T>> {
        let inner = self.inner.read();
        inner.collect(inner.by_namespace.get(namespace).map(|it| &it.going))
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

/// The identity of an object's controller.
fn owner<T: View>(object: &Arc<T>) -> Option<&str> {
    object.meta().controller().map(|it| &*it.uid)
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

    /// Counts the objects of a controller by a new measure.
    fn count(&mut self, uid: &str, version: &str, measure: Measure<T>) {
        let Some(group) = self.by_controller.get_mut(uid) else { return };
        let mut tally = Tally { version: version.into(), measure, sums: Sums::default() };
        group.keys.iter().filter_map(|it| self.objects.get(it)).for_each(|it| tally.add(it));
        group.tally = Some(tally);
    }

    fn insert(&mut self, key: Key, object: Arc<T>) -> Option<Arc<T>> {
        // What most changes are: nothing moves from one index to another.
        if let Some(present) = self.objects.get_mut(&key)
            && owner(present) == owner(&object)
            && present.meta().deleting() == object.meta().deleting()
        {
            if let Some(owner) = owner(&object)
                && let Some(tally) = self.by_controller.get_mut(owner).and_then(|it| it.tally.as_mut())
            {
                tally.take(present);
                tally.add(&object);
            }
            return Some(std::mem::replace(present, object));
        }
        let old = self.remove(&key);
        let members = self.by_namespace.entry(key.namespace.clone()).or_default();
        members.all.insert(key.clone());
        if object.meta().deleting() {
            members.going.insert(key.clone());
        }
        match object.meta().controller() {
            Some(owner) => {
                let group = self.by_controller.entry(owner.uid.clone()).or_default();
                group.keys.insert(key.clone());
                if let Some(tally) = &mut group.tally {
                    tally.add(&object);
                }
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
            && let Some(group) = self.by_controller.get_mut(&owner.uid)
        {
            group.keys.remove(key);
            if let Some(tally) = &mut group.tally {
                tally.take(&old);
            }
            if group.keys.is_empty() {
                self.by_controller.remove(&owner.uid);
            }
        }
        if let Some(members) = self.by_namespace.get_mut(&key.namespace) {
            members.all.remove(key);
            members.free.remove(key);
            members.going.remove(key);
            if members.all.is_empty() {
                self.by_namespace.remove(&key.namespace);
            }
        }
        Some(old)
    }
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self { keys: HashSet::new(), tally: None }
    }
}

impl<T> Tally<T> {
    fn add(&mut self, object: &T) {
        let more = (self.measure)(object);
        self.sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    }

    fn take(&mut self, object: &T) {
        let less = (self.measure)(object);
        self.sums.iter_mut().zip(less).for_each(|(sum, less)| *sum -= less);
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use serde_json::json;

    use super::*;
    use crate::{
        dice::Dice,
        view::{Time, cluster::MetaView},
    };

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
        assert_eq!(store.get(&Key::new("ns", "b")).unwrap().meta.version(), Some(3));
        let mut going = object("b", "2", 4, "owner");
        going.meta.deletion_timestamp = Some(Time(7));
        store.apply(going);
        assert_eq!((store.going_in("ns").len(), store.controlled_by("owner").len()), (1, 1));
        store.apply(object("b", "3", 5, ""));
        assert_eq!((store.going_in("ns").len(), store.free_in("ns").len()), (0, 1), "another one of that name");
        store.remove(object("b", "3", 6, ""));
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

    /// Ones, even versions, versions beyond a bound, and nothing.
    fn measured(bound: u64) -> Measure<MetaView> {
        Box::new(move |it| {
            let version = it.meta.version().unwrap();
            [1, i32::from(version & 1 == 0), i32::from(version > bound), 0]
        })
    }

    #[test]
    fn sums_that_follow_changes_are_those_of_counting_anew() {
        let store: Arc<Store<MetaView>> = Store::new();
        let mut dice = Dice::new(42);
        let mut next = |below| dice.roll(below);
        for step in 1..3000u64 {
            let (name, owner) = (format!("p{}", next(12)), ["", "one", "two"][next(3) as usize]);
            let uid = next(3).to_string();
            match next(8) {
                0 => store.remove(object(&name, &uid, step, owner)),
                1 => store.absorb(object(&name, &uid, step, owner)),
                2 => store.replace((0..next(6)).map(|it| object(&format!("p{it}"), &uid, step + it, owner)).collect()),
                _ => store.apply(object(&name, &uid, step, owner)),
            }
            let bound = step / 700;
            for owner in ["one", "two"] {
                let wished = [Key::new("ns", "p1"), Key::new("ns", "p2"), Key::new("ns", "none")];
                let kept = store.tally(owner, &bound.to_string(), || measured(bound * 700), &wished);
                let all = store.controlled_by(owner);
                let mut sums = Sums::default();
                for it in all.iter().map(|it| measured(bound * 700)(it)) {
                    sums.iter_mut().zip(it).for_each(|(sum, it)| *sum += it);
                }
                let unseen = wished.iter().filter(|key| all.iter().all(|it| it.meta.key() != **key)).count();
                assert_eq!(kept, (sums, unseen), "step {step}, {owner}");
            }
        }
    }
}
