//! What a pod refers to, and so lets its node see.

use serde_json::Value;

use crate::meta;

/// How an object has to do with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Related {
    /// A Secret that a pod of the node refers to.
    Secret,
    /// A ConfigMap that a pod of the node refers to.
    ConfigMap,
    /// A PersistentVolumeClaim that a pod of the node mounts.
    Claim,
    /// A PersistentVolume whose claim a pod of the node mounts.
    Volume,
    /// A ResourceClaim of a pod of the node.
    ResourceClaim,
    /// A VolumeAttachment to the node.
    Attachment,
    /// The ServiceAccount of a pod of the node.
    Account,
    /// A pod of the node.
    Pod,
    /// A ResourceSlice of the node.
    Slice,
}

/// Whether a pod refers to the object called `name` of its namespace. Of kinds that pods do not refer to: no.
pub fn uses(pod: &Value, related: Related, name: &str) -> bool {
    refers(pod, related, &|it| it == name)
}

/// Whether a pod refers to an object whose name `is` one of those meant.
pub(super) fn refers(pod: &Value, related: Related, is: &dyn Fn(&str) -> bool) -> bool {
    let spec = &pod["spec"];
    let names = |value: &Value, field: &str| value[field].as_str().is_some_and(is);
    match related {
        Related::Secret => any(spec, &|key, value| match key {
            "secret" => names(value, "secretName") || names(value, "name"),
            "azureFile" => names(value, "secretName"),
            "imagePullSecrets" => meta::list(Some(value)).iter().any(|it| names(it, "name")),
            // Those of variables and of volume drivers.
            "secretKeyRef" | "secretRef" | "nodePublishSecretRef" => names(value, "name"),
            _ => false,
        }),
        Related::ConfigMap => any(spec, &|key, value| {
            matches!(key, "configMap" | "configMapRef" | "configMapKeyRef") && names(value, "name")
        }),
        Related::Claim => meta::list(spec.get("volumes")).iter().any(|volume| {
            let name = |it: &Value| it["name"].as_str().unwrap_or_default().to_owned();
            names(&volume["persistentVolumeClaim"], "claimName")
                || (volume["ephemeral"].is_object() && is(&format!("{}-{}", name(&pod["metadata"]), name(volume))))
        }),
        Related::ResourceClaim => {
            let named = |list: Option<&Value>| meta::list(list).iter().any(|it| names(it, "resourceClaimName"));
            named(spec.get("resourceClaims")) || named(pod.pointer("/status/resourceClaimStatuses"))
        }
        Related::Account => names(spec, "serviceAccountName"),
        Related::Pod => names(&pod["metadata"], "name"),
        Related::Volume | Related::Attachment | Related::Slice => false,
    }
}

/// Whether a field at any depth is as asked for.
fn any(value: &Value, test: &dyn Fn(&str, &Value) -> bool) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(key, value)| test(key, value) || any(value, test)),
        Value::Array(list) => list.iter().any(|it| any(it, test)),
        _ => false,
    }
}
