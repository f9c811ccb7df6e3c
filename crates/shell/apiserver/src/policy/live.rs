//! The store as engines see it. Entry point: [`Live`].

use std::sync::Arc;

use eyot_model::{
    convert,
    kinds::{Kind, Table},
    rbac::Ask,
};
use eyot_policy::{Authorizer, Data, DataError, Decision, Look};
use eyot_store::{Entry, Key, Page, Scope};
use serde_json::Value;

use super::recent::Listed;
use crate::{ApiServer, Identity, access, server::Shared};

/// Objects that one listing may have: each is parsed while a request waits.
const OBJECTS_MAX: usize = 20_000;

/// The store at this moment: what was answered as written is seen. Lists are parsed again only when something changed.
pub(crate) struct Live<'a>(pub(crate) &'a Shared);

impl Data for Live<'_> {
    fn kinds(&self) -> Arc<Table> {
        self.0.definitions.table()
    }

    fn object(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Option<Arc<Value>>, DataError> {
        let key = Key::new(kind.storage.as_str(), if kind.namespaced { namespace } else { "" }, name);
        self.0.store.get(&key).map(|it| read(kind, &it)).transpose()
    }

    fn objects(&self, kind: &Kind, namespace: Option<&str>) -> Result<Vec<Arc<Value>>, DataError> {
        let scope = match namespace {
            Some(namespace) => Scope::namespaced(kind.storage.as_str(), namespace),
            None => Scope::all(kind.storage.as_str()),
        };
        let listed = Listed {
            storage: kind.storage.clone(),
            api_version: kind.api_version(),
            namespace: namespace.map(str::to_owned),
            // Asked before the objects are listed: what changes in between is read once more, and never missed.
            changed: self.0.store.changed(&kind.storage),
            definition: kind.custom.as_ref().map_or(0, |it| it.definition().revision),
        };
        self.0.policies.recent.get(listed, || {
            let page = Page { limit: Some(OBJECTS_MAX), ..Page::default() };
            let too_many = || DataError::TooMany { kind: kind.kind.clone(), max: OBJECTS_MAX };
            let list = self.0.store.list(&scope, &page).map_err(|_| too_many())?;
            if list.remaining > 0 {
                return Err(too_many());
            }
            list.entries.iter().map(|it| read(kind, it)).collect()
        })
    }

    fn kept(&self) -> Option<Arc<dyn Data>> {
        Some(Arc::new(Kept(self.0.quotas.server()?)))
    }

    fn authorizer(&self) -> Arc<dyn Authorizer> {
        Arc::new(Roles(self.0.quotas.server()))
    }
}

/// The same for those who keep it.
struct Kept(Arc<Shared>);

impl Data for Kept {
    fn kinds(&self) -> Arc<Table> {
        Live(&self.0).kinds()
    }

    fn object(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Option<Arc<Value>>, DataError> {
        Live(&self.0).object(kind, namespace, name)
    }

    fn objects(&self, kind: &Kind, namespace: Option<&str>) -> Result<Vec<Arc<Value>>, DataError> {
        Live(&self.0).objects(kind, namespace)
    }

    fn kept(&self) -> Option<Arc<dyn Data>> {
        Live(&self.0).kept()
    }

    fn authorizer(&self) -> Arc<dyn Authorizer> {
        Live(&self.0).authorizer()
    }
}

fn read(kind: &Kind, entry: &Entry) -> Result<Arc<Value>, DataError> {
    let damaged = |_| DataError::Damaged { object: entry.key.to_string() };
    let stored: Value = serde_json::from_slice(&entry.value).map_err(damaged)?;
    let as_it_is = kind.custom.is_none() && convert::is_stored_form(kind);
    Ok(Arc::new(if as_it_is { stored } else { convert::from_stored(kind, stored) }))
}

impl Look for ApiServer {
    fn look(&self, run: &mut dyn FnMut(&dyn Data)) {
        run(&Live(&self.0));
    }
}

struct Roles(Option<Arc<Shared>>);

impl Authorizer for Roles {
    fn decide(&self, user: &str, groups: &[String], ask: &Ask<'_>) -> Decision {
        let Some(server) = &self.0 else {
            return Decision { allowed: false, reason: "the server is shutting down".to_owned() };
        };
        let identity = Identity { user: user.to_owned(), groups: groups.to_vec(), ..Identity::default() };
        let verdict = access::decide(server, &identity, ask);
        Decision { allowed: verdict.allowed, reason: verdict.reason }
    }
}
