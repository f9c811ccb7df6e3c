//! What one namespace uses of its quotas.
//!
//! The store is the truth. The ledger counts it once and then follows: after each write it is told a key and looks up
//! what is there now, so that telling twice, or late, or out of order makes no difference. Room for objects that are
//! admitted but not yet written is kept apart until their write is over.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use eyot_model::{
    quota::{self, Quota, Use},
    resources::{self, Amounts},
};
use eyot_store::{Entry, Key, Page, Revision, Scope, Store};
use serde_json::Value;

use crate::object;

/// The sums of one namespace.
#[derive(Default)]
pub(super) struct Ledger {
    quotas: Vec<Counted>,
    /// By resource and name: everything that a quota counts.
    objects: HashMap<(Arc<str>, Arc<str>), Use>,
    pending: HashMap<u64, (Use, Amounts)>,
    next_ticket: u64,
}

/// A quota and what is used of it.
pub(super) struct Counted {
    revision: Revision,
    pub(super) quota: Quota,
    pub(super) used: Amounts,
    /// What it counts objects of, as `group/plural`.
    resources: BTreeSet<String>,
}

impl Ledger {
    /// Makes the quotas those that are stored now. Counts everything again when a limit or scope changed.
    pub(super) fn follow(&mut self, store: &Store, namespace: &str, entries: &[Arc<Entry>]) {
        let same = |(known, entry): (&Counted, &Arc<Entry>)| known.revision == entry.revision;
        if self.quotas.len() == entries.len() && self.quotas.iter().zip(entries).all(same) {
            return;
        }
        let read = |entry: &Arc<Entry>| {
            let object = object::parse(entry).unwrap_or_default();
            let quota = Quota::parse(&object);
            Counted { revision: entry.revision, resources: quota.resources(), quota, used: Amounts::new() }
        };
        let quotas: Vec<Counted> = entries.iter().map(read).collect();
        // A status that was written changes the version and nothing else.
        if quotas.len() == self.quotas.len() && quotas.iter().zip(&self.quotas).all(|(a, b)| a.quota == b.quota) {
            self.quotas.iter_mut().zip(quotas).for_each(|(known, now)| known.revision = now.revision);
            return;
        }
        self.quotas = quotas;
        self.objects.clear();
        let resources: BTreeSet<String> = self.quotas.iter().flat_map(|it| it.resources.clone()).collect();
        for resource in resources {
            let scope = Scope::namespaced(resource.as_str(), namespace);
            let found = store.list(&scope, &Page::default()).map_or(Vec::new(), |it| it.entries);
            for entry in &found {
                self.set(&entry.key, read_use(entry));
            }
        }
    }

    /// Takes room for an object that would use `now`, `wanted` of it more than before.
    ///
    /// # Errors
    /// Says which quota is in the way.
    pub(super) fn take(&mut self, now: &Use, wanted: Amounts, pod: Option<&Value>) -> Result<Option<u64>, String> {
        let mut counted = false;
        for Counted { quota, used, .. } in self.quotas.iter().filter(|it| it.quota.counts(now)) {
            if let Some(why) = pod.and_then(|it| quota.missing(it)) {
                return Err(why);
            }
            counted = true;
            let pending = self.pending.values().filter(|(it, _)| quota.counts(it)).map(|it| it.1.clone());
            if let Some(why) = quota.exceeded(&wanted, &super::sum(used, pending)) {
                return Err(why);
            }
        }
        if !counted {
            return Ok(None);
        }
        self.next_ticket += 1;
        self.pending.insert(self.next_ticket, (now.clone(), wanted));
        Ok(Some(self.next_ticket))
    }

    /// Gives back the room of a ticket.
    pub(super) fn give_back(&mut self, ticket: u64) {
        self.pending.remove(&ticket);
    }

    /// Looks up what a key uses now, and says whether that changed.
    pub(super) fn refresh(&mut self, store: &Store, key: &Key) -> bool {
        let resource = &*key.resource;
        if !self.quotas.iter().any(|it| it.resources.contains(resource)) {
            return false;
        }
        self.set(key, store.get(key).map_or_else(Use::default, |it| read_use(&it)))
    }

    /// The quotas and what is used of them.
    pub(super) fn quotas(&self) -> &[Counted] {
        &self.quotas
    }

    fn set(&mut self, key: &Key, now: Use) -> bool {
        let id = (key.resource.clone(), key.name.clone());
        let before = self.objects.get(&id);
        if before.map_or(now.amounts.is_empty(), |it| *it == now) {
            return false;
        }
        for Counted { quota, used, .. } in &mut self.quotas {
            if let Some(before) = before {
                resources::subtract(used, &quota.part(before));
            }
            resources::add(used, &quota.part(&now));
        }
        match now.amounts.is_empty() {
            true => self.objects.remove(&id),
            false => self.objects.insert(id, now),
        };
        true
    }
}

/// What a namespace uses of a quota, counted from the store.
pub(super) fn count(store: &Store, namespace: &str, quota: &Quota) -> Amounts {
    let mut used = Amounts::new();
    for resource in quota.resources() {
        let scope = Scope::namespaced(resource.as_str(), namespace);
        for entry in store.list(&scope, &Page::default()).map_or(Vec::new(), |it| it.entries) {
            resources::add(&mut used, &quota.part(&read_use(&entry)));
        }
    }
    used
}

fn read_use(entry: &Entry) -> Use {
    // What cannot be read counts as one of its kind.
    quota::usage(&entry.key.resource, &object::parse(entry).unwrap_or_default())
}
