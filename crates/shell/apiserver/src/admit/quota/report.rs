//! Writes what is used into the status of quotas.
//!
//! A task runs while there is something to write and ends by itself; while it writes, what changes meanwhile is
//! gathered. The status is for reading: admission does not look at it.

use std::{collections::BTreeSet, sync::Arc};

use eyot_model::quota;
use eyot_store::{Key, WriteError};
use parking_lot::Mutex;

use super::{Quotas, RESOURCE};
use crate::{
    commit::{self, Stored},
    object,
    server::Shared,
};

/// Namespaces whose quotas are to be looked at.
#[derive(Default)]
pub(super) struct Reports(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    namespaces: BTreeSet<Arc<str>>,
    running: bool,
}

impl Reports {
    /// Has the status of a namespace's quotas written soon.
    pub(super) fn ask(&self, quotas: &Quotas, namespace: Arc<str>) {
        // When the process ends nobody is left to write; the next start looks at every quota.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut waiting = self.0.lock();
        waiting.namespaces.insert(namespace);
        if !std::mem::replace(&mut waiting.running, true) {
            runtime.spawn(run(quotas.clone()));
        }
    }

    /// The next namespace; the task ends when there is none.
    fn next(&self) -> Option<Arc<str>> {
        let mut waiting = self.0.lock();
        let next = waiting.namespaces.pop_first();
        waiting.running = next.is_some();
        next
    }
}

async fn run(quotas: Quotas) {
    while let Some(namespace) = quotas.0.reports.next() {
        let Some(server) = quotas.0.server.upgrade() else { return };
        for (name, status) in statuses(&quotas, &server, &namespace) {
            match write(&server, &namespace, &name, status).await {
                Ok(()) => {}
                // Somebody else wrote it meanwhile, which asked for a look of its own.
                Err(WriteError::Conflict { .. } | WriteError::NotFound { .. }) => {}
                Err(WriteError::Closed) => return,
                Err(error) => tracing::error!(%error, %namespace, name, "writing the status of a quota"),
            }
        }
    }
}

fn statuses(quotas: &Quotas, server: &Shared, namespace: &str) -> Vec<(String, serde_json::Value)> {
    let Some(ledger) = quotas.ledger(server, namespace) else { return Vec::new() };
    let ledger = ledger.lock();
    ledger.quotas().iter().map(|it| (it.quota.name.clone(), quota::status(&it.quota, &it.used))).collect()
}

async fn write(server: &Shared, namespace: &str, name: &str, status: serde_json::Value) -> Result<(), WriteError> {
    let key = Key::new(RESOURCE, namespace, name);
    let Some(entry) = server.store.get(&key) else { return Ok(()) };
    let Ok(mut quota) = object::parse(&entry) else { return Ok(()) };
    if quota["status"] == status {
        return Ok(());
    }
    quota["status"] = status;
    let kind = eyot_model::kinds::builtin().by_plural("", "v1", "resourcequotas");
    let Some(stored) = kind.and_then(|kind| Stored::new(kind, quota).ok()) else { return Ok(()) };
    commit::replace(server, key, entry.revision, stored).await.map(drop)
}
