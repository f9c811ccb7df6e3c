//! Keeps the rules of aggregated ClusterRoles what their parts say. Entry point: [`settle`], after each write of a
//! ClusterRole and at start.

use eyot_model::{kinds, meta, rbac::aggregate};
use eyot_store::{Page, Scope, WriteError};
use serde_json::Value;

use crate::{
    commit::{self, Stored},
    object,
    server::Shared,
};

/// Rounds against concurrent writers; whoever writes last settles too.
const ROUNDS_MAX: usize = 8;

/// Writes the rules that aggregated ClusterRoles should have, where they differ. One that gathers from another needs a
/// round for each step.
pub(crate) async fn settle(server: &Shared) {
    for _ in 0..ROUNDS_MAX {
        match round(server).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return tracing::error!(%error, "aggregating ClusterRoles"),
        }
    }
}

/// Whether anything was written or is to be tried again.
async fn round(server: &Shared) -> Result<bool, WriteError> {
    let Some(kind) = kinds::builtin().by_kind(eyot_model::rbac::GROUP, "v1", "ClusterRole") else { return Ok(false) };
    let Ok(list) = server.store.list(&Scope::all(kind.storage.as_str()), &Page::default()) else { return Ok(false) };
    let gathers = |value: &[u8]| value.windows(17).any(|it| it == b"\"aggregationRule\"");
    if !list.entries.iter().any(|it| gathers(&it.value)) {
        return Ok(false);
    }
    let roles: Vec<Value> = list.entries.iter().map(|it| object::parse(it).unwrap_or_default()).collect();
    let mut changed = false;
    for (entry, role) in list.entries.iter().zip(&roles).filter(|it| aggregate::is_aggregated(it.1)) {
        let rules = aggregate::gathered(role, &roles);
        if meta::list(role.get("rules")) == rules {
            continue;
        }
        let mut new = role.clone();
        new["rules"] = rules.into();
        let Ok(stored) = Stored::new(kind, new) else { continue };
        match commit::replace(server, entry.key.clone(), entry.revision, stored).await {
            Ok(_) | Err(WriteError::Conflict { .. } | WriteError::NotFound { .. }) => changed = true,
            Err(error) => return Err(error),
        }
    }
    Ok(changed)
}
