//! What every new pod gets from its surroundings: a ServiceAccount, whose image pull secrets it uses unless it names its
//! own, a priority, and tolerations of a node that is lost for a while.
//!
//! A token is mounted unless the pod or its account says otherwise, as in Kubernetes; a server that was given no keys, as a
//! test's, mounts one only where asked. The account `default` need not exist, so that a pod created right after its
//! namespace is not refused; any other must. Mirror pods speak for what runs elsewhere and get nothing.

use eyot_model::{defaults, meta, nodes, status::ApiError};
use eyot_store::Key;
use serde_json::{Value, json};

use crate::{
    admit::{Admitted, Attempt},
    server::Shared,
};

/// Where guests look for their token.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Asked for by Kubernetes' own nodes; they renew it when four fifths are over.
const TOKEN_SECONDS: i64 = 3607;

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
    let is_mirror = meta::annotation(pod, nodes::MIRROR).is_some();
    let has_account = !pod["spec"]["serviceAccountName"].as_str().unwrap_or_default().is_empty();
    defaults::admit(attempt.kind, pod);
    let spec = meta::entry(pod, "spec");
    if is_mirror && !has_account {
        spec.remove("serviceAccountName");
        spec.remove("serviceAccount");
        return Ok(());
    }
    let name = spec.get("serviceAccountName").and_then(Value::as_str).unwrap_or_default().to_owned();
    let account = account(server, attempt, &name)?;
    let field = |field: &str| account.as_ref().and_then(|it| it.get(field));
    if spec.get("imagePullSecrets").is_none_or(|it| meta::list(Some(it)).is_empty())
        && let Some(secrets) = field("imagePullSecrets").filter(|it| !meta::list(Some(it)).is_empty())
    {
        spec.insert("imagePullSecrets".into(), secrets.clone());
    }
    let wanted = spec.get("automountServiceAccountToken").filter(|it| it.is_boolean());
    let wanted = wanted.or(field("automountServiceAccountToken")).and_then(Value::as_bool);
    if wanted.unwrap_or_else(|| server.mounts_tokens()) {
        mount_token(pod);
    }
    Ok(())
}

/// The account, if it says anything that matters to its pods: most say nothing, and are not parsed for every pod.
fn account(server: &Shared, attempt: &Attempt<'_>, name: &str) -> Result<Option<Value>, ApiError> {
    const FIELDS: [&[u8]; 2] = [b"\"imagePullSecrets\"", b"\"automountServiceAccountToken\""];
    let namespace = attempt.namespace;
    let Some(entry) = server.store.get(&Key::new("/serviceaccounts", namespace, name)) else {
        if name == "default" {
            return Ok(None);
        }
        let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        return Err(ApiError::forbidden(attempt.kind, attempt.name, &why));
    };
    let says = |field: &[u8]| entry.value.windows(field.len()).any(|it| it == field);
    Ok(if FIELDS.iter().any(|it| says(it)) { serde_json::from_slice(&entry.value).ok() } else { None })
}

/// Adds a volume with token, CA and namespace, and mounts it in each container that has nothing there yet.
fn mount_token(pod: &mut Value) {
    let volume = eyot_model::prepare::generated_name("kube-api-access-", rand::random());
    let mut mounted = false;
    for list in ["/spec/containers", "/spec/initContainers"] {
        let containers = pod.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for container in containers.filter(|it| it.is_object()) {
            let mounts = meta::as_map(container).entry("volumeMounts").or_insert_with(|| json!([]));
            let Some(mounts) = mounts.as_array_mut() else { continue };
            if mounts.iter().all(|it| it["mountPath"] != TOKEN_PATH) {
                mounts.push(json!({"name": volume, "readOnly": true, "mountPath": TOKEN_PATH}));
                mounted = true;
            }
        }
    }
    if !mounted {
        return;
    }
    let sources = json!([
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
        ]}},
    ]);
    let volumes = meta::entry(pod, "spec").entry("volumes").or_insert_with(|| json!([]));
    if let Some(volumes) = volumes.as_array_mut() {
        volumes.push(json!({"name": volume, "projected": {"defaultMode": 420, "sources": sources}}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_mounted_once_where_nothing_lies() {
        let mut pod = json!({"spec": {
            "containers": [{"name": "a"}, {"name": "b", "volumeMounts": [{"name": "own", "mountPath": TOKEN_PATH}]}],
            "volumes": [{"name": "own", "emptyDir": {}}],
        }});
        mount_token(&mut pod);
        let volume = pod["spec"]["volumes"][1]["name"].clone();
        assert!(volume.as_str().is_some_and(|it| it.starts_with("kube-api-access-")), "{pod}");
        assert_eq!(pod["spec"]["containers"][0]["volumeMounts"][0]["name"], volume);
        assert_eq!(pod["spec"]["containers"][1]["volumeMounts"].as_array().map(Vec::len), Some(1));
        let before = pod.clone();
        mount_token(&mut pod);
        assert_eq!(pod, before);
    }
}
