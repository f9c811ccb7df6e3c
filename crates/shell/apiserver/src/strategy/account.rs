//! What every new pod gets from its surroundings: a ServiceAccount, whose image pull secrets it uses unless it names its
//! own, a priority, and tolerations of a node that is lost for a while.
//!
//! No token volume is mounted: tokens are not there yet. The account need not exist, so that a pod created right after
//! its namespace is not refused.

use eyot_model::{defaults, meta, status::ApiError};
use eyot_store::Key;
use serde_json::Value;

use crate::{
    admit::{Admitted, Attempt},
    server::Shared,
};

/// Completes a new pod.
pub(crate) fn complete(
    server: &Shared,
    attempt: &Attempt<'_>,
    pod: &mut Value,
    _: &mut Admitted,
) -> Result<(), ApiError> {
    if !attempt.creates("", "Pod") {
        return Ok(());
    }
    let namespace = meta::namespace(pod).unwrap_or_default().to_owned();
    defaults::admit(attempt.kind, pod);
    let spec = meta::entry(pod, "spec");
    let name = spec.get("serviceAccountName").and_then(Value::as_str).unwrap_or_default().to_owned();
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
