//! ResourceQuotas: admission counts what a namespace uses, and nothing gets past the last unit.
//!
//! Entry points: [`judge`], the step; [`Quotas::changed`], called after every write. Sums are kept in memory for
//! namespaces that have quotas, and for no other: [`ledger`] says how they stay true. [`report`] writes them into the
//! quotas' status, off the way of requests.

mod ledger;
mod report;

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use eyot_model::{
    meta,
    quota::{self, Quota},
    resources::{self, Amounts},
    status::ApiError,
};
use eyot_store::{Key, Page, Scope};
use parking_lot::{Mutex, RwLock};
use serde_json::Value;

use super::{Admitted, Attempt, Operation};
use crate::server::Shared;
use ledger::Ledger;
use report::Reports;

const RESOURCE: &str = "/resourcequotas";

/// The sums of all namespaces that have quotas.
#[derive(Clone)]
pub(crate) struct Quotas(Arc<Inner>);

struct Inner {
    server: Weak<Shared>,
    ledgers: RwLock<HashMap<Arc<str>, Arc<Mutex<Ledger>>>>,
    /// How many ledgers there are: without any, writes need not look.
    count: AtomicUsize,
    reports: Reports,
}

/// Room taken for an object that is about to be written. Dropping it looks whether it was, and gives back the rest.
pub(crate) struct Charge {
    quotas: Quotas,
    key: Key,
    ticket: u64,
}

/// Gives a quota that is written the status that is true then, so that nobody has to wait for it.
pub(super) fn complete(
    server: &Shared,
    attempt: &Attempt<'_>,
    object: &mut Value,
    _: &mut Admitted,
) -> Result<(), ApiError> {
    let written = matches!(attempt.operation, Operation::Create | Operation::Update) && attempt.subresource.is_empty();
    if written && attempt.kind.is("", "ResourceQuota") {
        let quota = Quota::parse(object);
        let used = ledger::count(&server.store, attempt.namespace, &quota);
        meta::as_map(object).insert("status".into(), quota::status(&quota, &used));
    }
    Ok(())
}

/// Refuses what goes beyond a quota, and takes room for what does not.
pub(super) fn judge(
    server: &Shared,
    attempt: &Attempt<'_>,
    object: &Value,
    admitted: &mut Admitted,
) -> Result<(), ApiError> {
    if attempt.namespace.is_empty() || !concerns(attempt) {
        return Ok(());
    }
    let Some(ledger) = server.quotas.ledger(server, attempt.namespace) else { return Ok(()) };
    let resource = attempt.kind.storage.as_str();
    let now = quota::usage(resource, object);
    let before = attempt.old.map(|old| quota::usage(resource, old));
    let mut wanted = now.amounts.clone();
    if let Some(before) = &before {
        resources::subtract(&mut wanted, &before.amounts);
    }
    let pod = (resource == "/pods").then_some(object);
    let key = Key::new(resource, attempt.namespace, attempt.name);
    let taken = ledger.lock().take(&now, wanted, pod);
    let ticket = taken.map_err(|why| ApiError::forbidden(attempt.kind, attempt.name, &why))?;
    admitted.charge = ticket.map(|ticket| Charge { quotas: server.quotas.clone(), key, ticket });
    Ok(())
}

/// Which attempts can use more.
fn concerns(attempt: &Attempt<'_>) -> bool {
    match (attempt.operation, attempt.subresource) {
        (Operation::Create, "") => true,
        (Operation::Update, "") => attempt.kind.is("", "Service") || attempt.kind.is("", "PersistentVolumeClaim"),
        (Operation::Update, "resize") => attempt.kind.is("", "Pod"),
        _ => false,
    }
}

impl Quotas {
    pub(crate) fn new(server: Weak<Shared>) -> Quotas {
        Quotas(Arc::new(Inner {
            server,
            ledgers: RwLock::default(),
            count: AtomicUsize::new(0),
            reports: Reports::default(),
        }))
    }

    /// The sums of a namespace, counted from the store if need be; `None` when it has no quota.
    fn ledger(&self, server: &Shared, namespace: &str) -> Option<Arc<Mutex<Ledger>>> {
        let scope = Scope::namespaced(RESOURCE, namespace);
        // Without an explicit state to read a list cannot fail.
        let entries = server.store.list(&scope, &Page::default()).map_or(Vec::new(), |it| it.entries);
        let known = self.known(namespace);
        if entries.is_empty() {
            if known.is_some() {
                self.forget(namespace);
            }
            return None;
        }
        let ledger = known.unwrap_or_else(|| self.open(namespace));
        // Opened before it counts: what is written from now on is told, what was written before is seen.
        ledger.lock().follow(&server.store, namespace, &entries);
        Some(ledger)
    }

    fn known(&self, namespace: &str) -> Option<Arc<Mutex<Ledger>>> {
        if self.0.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.0.ledgers.read().get(namespace).cloned()
    }

    fn open(&self, namespace: &str) -> Arc<Mutex<Ledger>> {
        let mut ledgers = self.0.ledgers.write();
        let ledger = ledgers.entry(namespace.into()).or_default().clone();
        self.0.count.store(ledgers.len(), Ordering::Release);
        ledger
    }

    fn forget(&self, namespace: &str) {
        let mut ledgers = self.0.ledgers.write();
        ledgers.remove(namespace);
        self.0.count.store(ledgers.len(), Ordering::Release);
    }

    /// Whether the sums of the key's namespace are kept.
    pub(crate) fn counts(&self, key: &Key) -> bool {
        self.0.count.load(Ordering::Acquire) > 0 && self.0.ledgers.read().contains_key(&key.namespace)
    }

    /// Takes note that the object of a key was written or removed.
    pub(crate) fn changed(&self, server: &Shared, key: &Key) {
        if &*key.resource == RESOURCE {
            self.ledger(server, &key.namespace);
            self.report(&key.namespace);
        }
        if let Some(ledger) = self.known(&key.namespace)
            && ledger.lock().refresh(&server.store, key)
        {
            self.report(&key.namespace);
        }
    }

    /// The server they belong to, for writes that outlive their request.
    pub(crate) fn server(&self) -> Option<Arc<Shared>> {
        self.0.server.upgrade()
    }

    /// Has the status of every quota checked, after a start.
    pub(crate) fn resume(&self, server: &Shared) {
        let quotas = server.store.list(&Scope::all(RESOURCE), &Page::default()).map_or(Vec::new(), |it| it.entries);
        quotas.iter().for_each(|it| self.report(&it.key.namespace));
    }

    fn report(&self, namespace: &Arc<str>) {
        self.0.reports.ask(self, namespace.clone());
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let Some(server) = self.quotas.0.server.upgrade() else { return };
        let Some(ledger) = self.quotas.known(&self.key.namespace) else { return };
        let mut ledger = ledger.lock();
        ledger.give_back(self.ticket);
        let changed = ledger.refresh(&server.store, &self.key);
        drop(ledger);
        if changed {
            self.quotas.report(&self.key.namespace);
        }
    }
}

/// The sum of what is used and what is about to be.
fn sum(used: &Amounts, pending: impl Iterator<Item = Amounts>) -> Amounts {
    let mut all = used.clone();
    pending.for_each(|it| resources::add(&mut all, &it));
    all
}
