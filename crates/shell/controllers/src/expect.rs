//! Pods asked for or sent away that the watch has not shown yet, so that no pass asks twice.
//!
//! Names are chosen here before a pod is created, so the watch may be earlier or later than the answer to the request.
//! Readers must look here first and at the cache second: a pod moves from here to there, and is then seen in both.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

/// After this long without a sign the wish counts as lost: the watch had a gap in which the pod came and went.
const LOST: Duration = Duration::from_secs(60);

/// Wishes by the identity of the controller.
pub(crate) struct Expectations {
    by_owner: Mutex<HashMap<Box<str>, Pending>>,
    lost: Duration,
}

impl Default for Expectations {
    fn default() -> Self {
        Self { by_owner: Mutex::default(), lost: LOST }
    }
}

#[derive(Default)]
struct Pending {
    creates: HashMap<String, (Option<i32>, Instant)>,
    deletes: HashMap<String, Instant>,
}

/// The wishes of one controller at one moment.
#[derive(Default)]
pub(crate) struct Snapshot {
    /// Names of pods asked for, with their completion index if they have one.
    pub(crate) creates: HashMap<String, Option<i32>>,
    /// Identities of pods sent away: another pod may have the name by now.
    pub(crate) deletes: HashSet<String>,
}

impl Expectations {
    pub(crate) fn snapshot(&self, owner: &str) -> Snapshot {
        let mut all = self.by_owner.lock();
        let Some(pending) = all.get_mut(owner) else { return Snapshot::default() };
        pending.creates.retain(|_, it| it.1.elapsed() < self.lost);
        pending.deletes.retain(|_, it| it.elapsed() < self.lost);
        let snapshot = Snapshot {
            creates: pending.creates.iter().map(|(name, it)| (name.clone(), it.0)).collect(),
            deletes: pending.deletes.keys().cloned().collect(),
        };
        if pending.is_empty() {
            all.remove(owner);
        }
        snapshot
    }

    /// Call before the request.
    pub(crate) fn creating(&self, owner: &str, name: &str, index: Option<i32>) {
        let mut all = self.by_owner.lock();
        all.entry(owner.into()).or_default().creates.insert(name.into(), (index, Instant::now()));
    }

    /// Call before the request.
    pub(crate) fn deleting(&self, owner: &str, uid: &str) {
        self.by_owner.lock().entry(owner.into()).or_default().deletes.insert(uid.into(), Instant::now());
    }

    /// The watch showed the pod, or its creation failed.
    pub(crate) fn created(&self, owner: &str, name: &str) {
        self.settle(owner, |it| it.creates.remove(name).is_some());
    }

    /// The watch showed that the pod goes or is gone, or its deletion failed.
    pub(crate) fn deleted(&self, owner: &str, uid: &str) {
        self.settle(owner, |it| it.deletes.remove(uid).is_some());
    }

    fn settle(&self, owner: &str, change: impl FnOnce(&mut Pending) -> bool) {
        let mut all = self.by_owner.lock();
        if let Some(pending) = all.get_mut(owner)
            && change(pending)
            && pending.is_empty()
        {
            all.remove(owner);
        }
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.creates.is_empty() && self.deletes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_end_when_seen_or_lost() {
        let expectations = Expectations { lost: Duration::from_millis(50), ..Expectations::default() };
        expectations.creating("rs", "a", None);
        expectations.creating("rs", "b", Some(3));
        expectations.deleting("rs", "c");
        expectations.created("rs", "a");
        expectations.created("rs", "never asked for");
        let now = expectations.snapshot("rs");
        assert_eq!((now.creates.len(), now.creates["b"], now.deletes.contains("c")), (1, Some(3), true));
        std::thread::sleep(Duration::from_millis(60));
        let now = expectations.snapshot("rs");
        assert!(now.creates.is_empty() && now.deletes.is_empty());
        assert!(expectations.by_owner.lock().is_empty());
    }
}
