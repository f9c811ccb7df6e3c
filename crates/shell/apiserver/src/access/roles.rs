//! Writes the roles that every cluster begins with. Entry point: [`ensure`], at start.
//!
//! What is missing is made, in one write. What is there and says that it wants to be kept up to date gets the rules and
//! subjects that it lacks; whatever an administrator added stays.

use eyot_model::{
    defaults,
    kinds::{self, Kind},
    meta, prepare,
    rbac::{Rule, builtin, cover},
    status::ApiError,
};
use eyot_store::{Entry, Key, Write, WriteError};
use serde_json::Value;

use crate::{
    commit::{self, Stored},
    object,
    server::Shared,
};

const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// Makes and completes the built-in roles and bindings.
///
/// # Errors
/// When the store does not take them.
pub(crate) async fn ensure(server: &Shared) -> Result<(), ApiError> {
    let mut writes: Vec<Write> = Vec::new();
    for object in builtin::objects() {
        writes.extend(write(server, object)?);
    }
    if writes.is_empty() {
        return Ok(());
    }
    match server.store.write_all(writes).await {
        // Somebody else was at it at the same moment; the next start looks again.
        Ok(_) | Err(WriteError::Exists { .. } | WriteError::Conflict { .. }) => Ok(()),
        Err(error) => Err(ApiError::internal(format!("writing the built-in roles: {error}"))),
    }
}

fn write(server: &Shared, mut object: Value) -> Result<Option<Write>, ApiError> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let kind = kinds::builtin().by_api_version(text("apiVersion"), text("kind")).ok_or_else(ApiError::no_such_path)?;
    let (namespace, name) = (meta::namespace(&object).unwrap_or_default(), meta::name(&object).unwrap_or_default());
    let key = Key::new(kind.storage.as_str(), namespace, name);
    if let Some(entry) = server.store.get(&key) {
        return complete(kind, &entry, &object);
    }
    defaults::apply(kind, &mut object);
    prepare::create(kind, &mut object, &uuid::Uuid::new_v4().to_string(), jiff::Timestamp::now());
    Ok(Some(commit::creation(key, Stored::new(kind, object)?)))
}

/// Adds what the stored object lacks.
fn complete(kind: &Kind, entry: &Entry, wanted: &Value) -> Result<Option<Write>, ApiError> {
    let mut stored = object::parse(entry)?;
    if meta::annotation(&stored, AUTO_UPDATE) != Some("true") {
        return Ok(None);
    }
    let additions: Vec<Value> = match kind.kind.as_str() {
        // Gathered from others, which are looked at themselves.
        _ if eyot_model::rbac::aggregate::is_aggregated(&stored) => return Ok(None),
        "Role" | "ClusterRole" => {
            let held = Rule::of_role(&stored);
            let missing = cover::missing(&held.iter().collect::<Vec<_>>(), &Rule::of_role(wanted));
            missing.iter().map(Rule::to_value).collect()
        }
        _ if stored.get("roleRef") != wanted.get("roleRef") => return Ok(None),
        _ => {
            let there = meta::list(stored.get("subjects"));
            meta::list(wanted.get("subjects")).iter().filter(|it| !there.contains(it)).cloned().collect()
        }
    };
    if additions.is_empty() {
        return Ok(None);
    }
    let field = if kind.kind.ends_with("Binding") { "subjects" } else { "rules" };
    let list: Vec<Value> = meta::list(stored.get(field)).iter().cloned().chain(additions).collect();
    stored[field] = list.into();
    Ok(Some(commit::replacement(entry.key.clone(), entry.revision, Stored::new(kind, stored)?)))
}
