//! Claims that pods mount: where the volume behind each lies on this machine.
//!
//! Start at [`directories`]. A claim that has no volume yet is told that a pod on this node wants one; the controllers bind it,
//! and what it is bound to was made by [`provision`] or by a person. The content outlives its pods: it lies beside their
//! directories, not in them.

pub(crate) mod provision;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use kube::Client;
use serde_json::json;

use crate::{
    api::{self, ApiError},
    pod::PodKey,
};

/// Where a claim tells which node its first pod is on.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// Directories of claims, by the name of the pod's volume.
pub(crate) type Claimed = BTreeMap<String, PathBuf>;

/// Why a claim cannot be mounted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    #[error("persistentvolumeclaim {0:?} not found")]
    Missing(String),
    #[error("persistentvolumeclaim {0:?} was made for another pod")]
    Foreign(String),
    #[error("persistentvolumeclaim {0:?} is being deleted")]
    Deleting(String),
    #[error("persistentvolumeclaim {0:?} has lost its volume")]
    Lost(String),
    #[error("waiting for persistentvolumeclaim {0:?} to be bound to a volume")]
    Unbound(String),
    #[error("persistentvolumeclaim {claim:?}: persistentvolume {volume:?} {why}")]
    Volume { claim: String, volume: String, why: String },
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl ClaimError {
    /// Whether it is a matter of waiting, and nothing is wrong.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self, ClaimError::Unbound(_))
    }
}

/// The claim that `volume` of the pod stands for, if it does.
pub(crate) fn name(pod: &str, volume: &Volume) -> Option<String> {
    match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(format!("{pod}-{}", volume.name)),
        (None, None) => None,
    }
}

/// The claims of a pod.
pub(crate) fn names(pod: &Pod) -> Vec<String> {
    let own = pod.metadata.name.as_deref().unwrap_or_default();
    pod.spec.iter().flat_map(|it| it.volumes.iter().flatten()).filter_map(|it| name(own, it)).collect()
}

/// The directories of the pod's claims. Claims of `ephemeral` volumes are made, unbound ones are told about this node.
pub(crate) async fn directories(client: &Client, node: &str, key: &PodKey, pod: &Pod) -> Result<Claimed, ClaimError> {
    let mut out = Claimed::new();
    for volume in pod.spec.iter().flat_map(|it| it.volumes.iter().flatten()) {
        let Some(claim) = name(&key.name, volume) else { continue };
        out.insert(volume.name.clone(), one(client, node, key, volume, claim).await?);
    }
    Ok(out)
}

async fn one(client: &Client, node: &str, key: &PodKey, volume: &Volume, name: String) -> Result<PathBuf, ClaimError> {
    let collection = format!("/api/v1/namespaces/{}/persistentvolumeclaims", key.namespace);
    let path = format!("{collection}/{name}");
    let mut found = api::get::<PersistentVolumeClaim>(client, &path).await?;
    if let (None, Some(source)) = (&found, &volume.ephemeral) {
        let mut claim = json!(source.volume_claim_template);
        claim["apiVersion"] = json!("v1");
        claim["kind"] = json!("PersistentVolumeClaim");
        claim["metadata"]["name"] = json!(name);
        claim["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "Pod", "name": &*key.name, "uid": &*key.uid, "controller": true, "blockOwnerDeletion": true,
        }]);
        match api::create(client, &collection, &claim).await {
            Ok(()) | Err(ApiError::Exists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        found = api::get(client, &path).await?;
    }
    let claim = found.ok_or_else(|| ClaimError::Missing(name.clone()))?;
    let owned = claim.metadata.owner_references.iter().flatten().any(|it| *it.uid == *key.uid);
    if volume.ephemeral.is_some() && !owned {
        return Err(ClaimError::Foreign(name));
    }
    if claim.metadata.deletion_timestamp.is_some() {
        return Err(ClaimError::Deleting(name));
    }
    let phase = claim.status.as_ref().and_then(|it| it.phase.as_deref()).unwrap_or_default();
    let bound = claim.spec.as_ref().and_then(|it| it.volume_name.as_deref()).filter(|it| !it.is_empty());
    match (phase, bound) {
        ("Lost", _) => Err(ClaimError::Lost(name)),
        ("Bound", Some(volume)) => {
            let path = format!("/api/v1/persistentvolumes/{volume}");
            let failed = |why: String| ClaimError::Volume { claim: name.clone(), volume: volume.to_owned(), why };
            let object = api::get::<PersistentVolume>(client, &path).await?;
            directory(&object.ok_or_else(|| failed("does not exist".to_owned()))?, node).map_err(failed)
        }
        _ => {
            let selected = claim.metadata.annotations.iter().flatten().any(|(key, _)| key == SELECTED_NODE);
            if !selected {
                let patch =
                    json!({ "metadata": { "uid": claim.metadata.uid, "annotations": { SELECTED_NODE: node } } });
                api::patch(client, &path, api::MERGE, &patch).await?;
            }
            Err(ClaimError::Unbound(name))
        }
    }
}

/// Where a volume lies, or why it cannot be had here.
fn directory(volume: &PersistentVolume, node: &str) -> Result<PathBuf, String> {
    let spec = volume.spec.as_ref().ok_or("has no spec")?;
    if spec.volume_mode.as_deref() == Some("Block") {
        return Err("is a device, and guests have none".to_owned());
    }
    let (path, create) = match (&spec.local, &spec.host_path) {
        (Some(local), _) => (&local.path, false),
        (None, Some(host)) => (&host.path, host.type_.as_deref() == Some("DirectoryOrCreate")),
        (None, None) => return Err("is of a kind that this node cannot mount: only local and hostPath".to_owned()),
    };
    if !is_reachable(volume, node) {
        return Err(format!("is not reachable from node {node}"));
    }
    let path = PathBuf::from(path);
    if create && let Err(error) = std::fs::create_dir_all(&path) {
        return Err(format!("lies at {}, which cannot be made: {error}", path.display()));
    }
    check(&path).map(|()| path)
}

fn check(path: &Path) -> Result<(), String> {
    if path.is_dir() { Ok(()) } else { Err(format!("lies at {}, which is no directory", path.display())) }
}

/// Whether the volume's node affinity, as far as it names hosts, lets this node have it.
fn is_reachable(volume: &PersistentVolume, node: &str) -> bool {
    let required = volume.spec.as_ref().and_then(|it| it.node_affinity.as_ref()).and_then(|it| it.required.as_ref());
    let Some(required) = required else { return true };
    required.node_selector_terms.iter().any(|term| {
        term.match_expressions.iter().flatten().all(|it| {
            it.key != "kubernetes.io/hostname"
                || it.operator != "In"
                || it.values.iter().flatten().any(|value| value == node)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_of_this_node_are_mounted() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().to_str().unwrap();
        let affinity = |host: &str| {
            json!({ "required": { "nodeSelectorTerms": [{ "matchExpressions": [
                { "key": "kubernetes.io/hostname", "operator": "In", "values": [host] }] }] } })
        };
        let of = |spec: serde_json::Value| {
            let volume: PersistentVolume =
                serde_json::from_value(json!({ "metadata": { "name": "v" }, "spec": spec })).unwrap();
            match directory(&volume, "edge") {
                Ok(path) => path.display().to_string(),
                Err(why) => why,
            }
            .replace(path, "ROOT")
        };
        let got = [
            of(json!({ "local": { "path": path }, "nodeAffinity": affinity("edge") })),
            of(json!({ "local": { "path": path }, "nodeAffinity": affinity("other") })),
            of(json!({ "hostPath": { "path": format!("{path}/none") } })),
            of(json!({ "hostPath": { "path": format!("{path}/made"), "type": "DirectoryOrCreate" } })),
            of(json!({ "nfs": { "server": "s", "path": "/" } })),
            of(json!({ "local": { "path": path }, "volumeMode": "Block" })),
        ];
        expect_test::expect![[r#"
            ROOT
            is not reachable from node edge
            lies at ROOT/none, which is no directory
            ROOT/made
            is of a kind that this node cannot mount: only local and hostPath
            is a device, and guests have none"#]]
        .assert_eq(&got.join("\n"));
    }
}
