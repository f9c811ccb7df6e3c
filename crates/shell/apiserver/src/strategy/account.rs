//! Pods get a ServiceAccount: its name, and its image pull secrets unless they name their own.
//!
//! No token volume is mounted: tokens are not there yet. The account need not exist, so that a pod created right after
//! its namespace is not refused.

use eyot_model::{meta, status::ApiError};
use eyot_store::Key;
use serde_json::Value;

use crate::{
    admit::{Attempt, Operation},
    server::Shared,
};

/// Completes a new pod.
pub(crate) fn complete(server: &Shared, attempt: &Attempt<'_>, pod: &mut Value) -> Result<(), ApiError> {
    if attempt.operation != Operation::Create || !attempt.kind.is("", "Pod") {
        return Ok(());
    }
    let namespace = meta::namespace(pod).unwrap_or_default().to_owned();
    let spec = meta::entry(pod, "spec");
    let named = ["serviceAccountName", "serviceAccount"].iter().find_map(|it| spec.get(*it)?.as_str());
    let name = named.filter(|it| !it.is_empty()).unwrap_or("default").to_owned();
    spec.insert("serviceAccountName".into(), name.as_str().into());
    spec.insert("serviceAccount".into(), name.as_str().into());
    if spec.get("imagePullSecrets").is_none_or(|it| meta::list(Some(it)).is_empty())
        && let Some(secrets) = pull_secrets(server, &namespace, &name)
    {
        spec.insert("imagePullSecrets".into(), secrets);
    }
    Ok(())
}

fn pull_secrets(server: &Shared, namespace: &str, account: &str) -> Option<Value> {
    const FIELD: &[u8] = b"\"imagePullSecrets\"";
    let entry = server.store.get(&Key::new("/serviceaccounts", namespace, account))?;
    // Most accounts name none: looking for the field spares parsing them for every pod.
    entry.value.windows(FIELD.len()).find(|it| *it == FIELD)?;
    let mut account: Value = serde_json::from_slice(&entry.value).ok()?;
    Some(account.get_mut("imagePullSecrets")?.take()).filter(|it| !meta::list(Some(it)).is_empty())
}
