//! Claims and volumes.

use eyot_model::quantity::Quantity;
use eyot_plan::storage::{Claim, Owner, Volume};
use serde::Deserialize;

use super::{LabelSelector, Meta, Strings, View, nullable};

/// Where a claim tells which node its first pod is on.
pub(crate) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ClaimView {
    #[serde(rename = "metadata")]
    pub(crate) meta: Meta,
    #[serde(deserialize_with = "nullable")]
    pub(crate) spec: ClaimSpec,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: Phase,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ClaimSpec {
    /// Absent where the default class is wanted, empty where none is.
    pub(crate) storage_class_name: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) volume_name: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) volume_mode: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) access_modes: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) resources: Requests,
    pub(crate) selector: Option<LabelSelector>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Requests {
    #[serde(deserialize_with = "nullable")]
    pub(crate) requests: Strings,
}

/// What of a status matters.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Phase {
    #[serde(deserialize_with = "nullable")]
    pub(crate) phase: String,
}

/// A PersistentVolume.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct VolumeView {
    #[serde(rename = "metadata")]
    pub(crate) meta: Meta,
    #[serde(deserialize_with = "nullable")]
    pub(crate) spec: VolumeSpec,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: Phase,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct VolumeSpec {
    #[serde(deserialize_with = "nullable")]
    pub(crate) storage_class_name: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) volume_mode: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) access_modes: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) capacity: Strings,
    pub(crate) claim_ref: Option<ClaimRef>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ClaimRef {
    pub(crate) namespace: String,
    pub(crate) name: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) uid: String,
}

/// A StorageClass.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ClassView {
    #[serde(rename = "metadata")]
    pub(crate) meta: Meta,
    pub(crate) provisioner: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) volume_binding_mode: String,
}

impl View for ClaimView {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl View for VolumeView {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// Bytes of the entry `storage`.
fn storage(list: &Strings) -> u64 {
    let quantity = list.get("storage").and_then(|it| it.parse::<Quantity>().ok());
    quantity.and_then(|it| u64::try_from(it.units()).ok()).unwrap_or(0)
}

impl ClaimView {
    /// Name of its class; empty for none.
    pub(crate) fn class(&self) -> &str {
        self.spec.storage_class_name.as_deref().unwrap_or_default()
    }

    /// The claim as the plan takes it.
    pub(crate) fn plan(&self) -> Claim<'_> {
        Claim {
            namespace: &self.meta.namespace,
            name: &self.meta.name,
            uid: &self.meta.uid,
            class: self.class(),
            volume: &self.spec.volume_name,
            modes: &self.spec.access_modes,
            bytes: storage(&self.spec.resources.requests),
            block: self.spec.volume_mode == "Block",
            selector: self.spec.selector.as_ref().map(LabelSelector::compile),
            bound: matches!(self.status.phase.as_str(), "Bound" | "Lost"),
            node: self.meta.annotations.get(SELECTED_NODE).unwrap_or_default(),
        }
    }
}

impl VolumeView {
    /// The volume as the plan takes it.
    pub(crate) fn plan(&self) -> Volume<'_> {
        let owner = self.spec.claim_ref.as_ref();
        Volume {
            name: &self.meta.name,
            class: &self.spec.storage_class_name,
            modes: &self.spec.access_modes,
            bytes: storage(&self.spec.capacity),
            block: self.spec.volume_mode == "Block",
            labels: self.meta.labels.iter().collect(),
            owner: owner.map(|it| Owner { namespace: &it.namespace, name: &it.name, uid: &it.uid }),
            deleting: self.meta.deleting(),
        }
    }
}
