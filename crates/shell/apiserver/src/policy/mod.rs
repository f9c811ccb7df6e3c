//! Engines of policy inside the server. What they are is told by [`eyot_policy::Engine`].
//!
//! Entry points: [`step`] asks them about each attempt, [`follow`] tells them what was written, [`Policies::load`] what was
//! there before. An engine hears of a write before its writer does, of each object's versions in their order, and at start
//! of everything before anybody is answered: there is no moment at which a policy is acknowledged and not in force.

mod accompany;
pub(crate) mod doubt;
mod live;
mod recent;
pub(crate) mod step;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
};

use eyot_model::{kinds::Kind, status::ApiError};
use eyot_policy::Engine;
use eyot_store::{Entry, Key, Page, Scope};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value;

pub(crate) use live::Live;

use crate::{object, server::Shared};

/// The engines.
pub(crate) struct Policies {
    engines: Vec<Arc<dyn Engine>>,
    server: Weak<Shared>,
    /// Held while engines are told of a stored object, so that the newest version is the last they hear of.
    order: Mutex<()>,
    recent: recent::Recent,
    /// What is wrong with stored policies, until it is told.
    doubts: Mutex<Vec<doubt::Doubt>>,
}

impl Policies {
    pub(crate) fn new(engines: Vec<Arc<dyn Engine>>, server: Weak<Shared>) -> Policies {
        let (order, recent, doubts) = Default::default();
        Policies { engines, server, order, recent, doubts }
    }

    /// Puts everything that is stored in force, and tells what an earlier version took and this one would not.
    pub(crate) fn load(&self, server: &Shared) {
        if self.engines.is_empty() {
            return;
        }
        let (store, kinds) = (&server.store, server.definitions.table());
        for (resource, _) in store.resources() {
            let Some(kind) = kinds.by_storage(&resource).filter(|it| self.governs(it)) else { continue };
            // The newest state can always be listed.
            let entries = store.list(&Scope::all(resource), &Page::default()).map_or(Vec::new(), |it| it.entries);
            for entry in &entries {
                if let Some(stored) = self.put(kind, entry) {
                    self.doubt(server, kind, &entry.key, &stored);
                }
            }
        }
    }

    /// Tells in the log what is wrong with a stored policy, which may not be in force then, and keeps it for [`doubt::tell`].
    fn doubt(&self, server: &Shared, kind: &Kind, key: &Key, stored: &Value) {
        for engine in self.of(kind) {
            let checked = guarded(engine, || engine.check(&mut stored.clone(), Some(stored), &Live(server)));
            match checked {
                Ok(Err(causes)) => {
                    let status = guarded(engine, || engine.doubted(stored, &causes)).unwrap_or_default();
                    let causes: Vec<String> = causes.iter().map(ToString::to_string).collect();
                    let causes = causes.join("; ");
                    tracing::error!(policy = %key, causes, "a stored policy would be refused now, and may not be in force");
                    self.doubts.lock().push(doubt::Doubt { key: key.clone(), stored: stored.clone(), status, causes });
                }
                Ok(Ok(warnings)) => {
                    for warning in warnings {
                        tracing::warn!(policy = %key, warning, "a stored policy");
                    }
                }
                Err(_) => {}
            }
        }
    }

    /// The definitions that engines need.
    pub(crate) fn definitions(&self) -> Vec<Value> {
        self.engines.iter().flat_map(|it| it.definitions()).collect()
    }

    /// Whether objects of a kind are policies.
    pub(crate) fn governs(&self, kind: &Kind) -> bool {
        self.engines.iter().any(|it| it.governs(&kind.group, &kind.kind))
    }

    /// Whether what is stored there is a policy.
    pub(crate) fn follows(&self, server: &Shared, key: &Key) -> bool {
        !self.engines.is_empty()
            && server.definitions.table().by_storage(&key.resource).is_some_and(|it| self.governs(it))
    }

    fn of<'a>(&'a self, kind: &'a Kind) -> impl Iterator<Item = &'a Arc<dyn Engine>> {
        self.engines.iter().filter(|it| it.governs(&kind.group, &kind.kind))
    }

    fn put(&self, kind: &Kind, entry: &Entry) -> Option<Value> {
        let stored = object::parse(entry);
        let stored = stored.map_err(|error| tracing::error!(%error, "a stored policy is left out")).ok()?;
        for engine in self.of(kind) {
            let put = guarded(engine, || engine.put(&stored));
            if let Err(error) = put {
                tracing::error!(%error, policy = %entry.key, "putting a policy in force");
            }
        }
        Some(stored)
    }
}

/// Tells the engines what became of an object that was written. What a policy brings along is made before this is done.
pub(crate) fn follow<'a>(server: &'a Shared, key: &'a Key) -> Option<BoxFuture<'a, ()>> {
    let policies = &server.policies;
    if policies.engines.is_empty() {
        return None;
    }
    let table = server.definitions.table();
    let kind = table.by_storage(&key.resource).filter(|it| policies.governs(it))?;
    let _order = policies.order.lock();
    match server.store.get(key) {
        Some(entry) => {
            let stored = policies.put(kind, &entry)?;
            let companions: Vec<Value> = policies.of(kind).flat_map(|it| it.companions(&stored)).collect();
            let server = policies.server.upgrade().filter(|_| !companions.is_empty())?;
            Some(accompany::accompany(server, stored, companions))
        }
        None => {
            for engine in policies.of(kind) {
                let removed = guarded(engine, || engine.remove(&kind.group, &kind.kind, &key.namespace, &key.name));
                if let Err(error) = removed {
                    tracing::error!(%error, policy = %key, "taking a policy out of force");
                }
            }
            None
        }
    }
}

/// Runs an engine; one that gives up in the hardest way takes only this request with it.
fn guarded<T>(engine: &Arc<dyn Engine>, run: impl FnOnce() -> T) -> Result<T, ApiError> {
    catch_unwind(AssertUnwindSafe(run))
        .map_err(|_| ApiError::internal(format!("the policy engine {} gave up", engine.name())))
}
