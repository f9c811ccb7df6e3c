//! The pods that have to be looked at from time to time although nothing happened to them. Entry points: [`Watched::add`],
//! [`Watched::owners`].
//!
//! Whoever has more to do with a pod than wait says so; that there is nothing any more is found at the next look.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use super::Owner;

/// Owners by the uid of their pod.
#[derive(Default)]
pub(crate) struct Watched(Mutex<HashMap<Box<str>, Weak<Owner>>>);

impl Watched {
    /// From now on the pod is looked at.
    pub(super) fn add(&self, owner: &Arc<Owner>) {
        let mut all = self.0.lock();
        if !all.contains_key(&owner.key.uid) {
            all.insert(owner.key.uid.clone(), Arc::downgrade(owner));
        }
    }

    /// The pods to look at. Those of which nothing is to be seen any more are left out from now on.
    pub(crate) fn owners(&self) -> Vec<Arc<Owner>> {
        let mut owners = Vec::new();
        self.0.lock().retain(|_, it| {
            let Some(owner) = it.upgrade() else { return false };
            let stays = owner.machine.lock().is_watched();
            // Handed out in any case, so that the last hold of a pod is not given up under the lock.
            owners.push(owner);
            stays
        });
        owners
    }
}
