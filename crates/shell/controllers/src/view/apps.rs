//! StatefulSets, DaemonSets, their revisions, and ReplicationControllers.

use std::collections::BTreeMap;

use eyot_plan::amount::Amount;
use serde::Deserialize;
use serde_json::Value;

use super::{
    LabelSelector, Meta, Packed, Strings, View, nullable,
    workload::{ReplicaSetSpec, ReplicaSetStatus, ReplicaSetView, RollingUpdate},
};

/// A StatefulSet.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StatefulSetView {
    #[serde(rename = "metadata")]
    pub(crate) meta: Meta,
    pub(crate) spec: StatefulSetSpec,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: StatefulSetStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct StatefulSetSpec {
    pub(crate) replicas: Option<i32>,
    pub(crate) selector: LabelSelector,
    pub(crate) template: Value,
    #[serde(deserialize_with = "nullable")]
    pub(crate) service_name: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) pod_management_policy: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) update_strategy: UpdateStrategy,
    #[serde(deserialize_with = "nullable")]
    pub(crate) ordinals: Ordinals,
    #[serde(deserialize_with = "nullable")]
    pub(crate) min_ready_seconds: i32,
    pub(crate) revision_history_limit: Option<i32>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) volume_claim_templates: Vec<Value>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) persistent_volume_claim_retention_policy: Retention,
}

/// `updateStrategy` of both kinds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct UpdateStrategy {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) rolling_update: RollingUpdate,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ordinals {
    #[serde(deserialize_with = "nullable")]
    pub(crate) start: i32,
}

/// What becomes of the claims of a set, and of a pod that is scaled away.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Retention {
    when_deleted: String,
    when_scaled: String,
}

impl Retention {
    /// Claims go with the set.
    pub(crate) fn goes_with_set(&self) -> bool {
        self.when_deleted == "Delete"
    }

    /// Claims go with a pod that is scaled away.
    pub(crate) fn goes_with_pod(&self) -> bool {
        self.when_scaled == "Delete"
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct StatefulSetStatus {
    pub(crate) observed_generation: i64,
    pub(crate) replicas: i32,
    pub(crate) ready_replicas: i32,
    pub(crate) available_replicas: i32,
    pub(crate) current_replicas: i32,
    pub(crate) updated_replicas: i32,
    #[serde(deserialize_with = "nullable")]
    pub(crate) current_revision: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) update_revision: String,
    pub(crate) collision_count: Option<i32>,
}

/// A DaemonSet.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DaemonSetView {
    #[serde(rename = "metadata")]
    pub(crate) meta: Meta,
    pub(crate) spec: DaemonSetSpec,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: DaemonSetStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct DaemonSetSpec {
    pub(crate) selector: LabelSelector,
    pub(crate) template: Value,
    #[serde(deserialize_with = "nullable")]
    pub(crate) update_strategy: UpdateStrategy,
    #[serde(deserialize_with = "nullable")]
    pub(crate) min_ready_seconds: i32,
    pub(crate) revision_history_limit: Option<i32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct DaemonSetStatus {
    pub(crate) observed_generation: i64,
    pub(crate) desired_number_scheduled: i32,
    pub(crate) current_number_scheduled: i32,
    pub(crate) number_misscheduled: i32,
    pub(crate) number_ready: i32,
    pub(crate) updated_number_scheduled: i32,
    pub(crate) number_available: i32,
    pub(crate) number_unavailable: i32,
    pub(crate) collision_count: Option<i32>,
}

/// A ControllerRevision.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RevisionView {
    #[serde(rename = "metadata")]
    pub(crate) meta: Meta,
    /// A patch of the workload that puts its template in place.
    pub(crate) data: Value,
    pub(crate) revision: i64,
}

impl RevisionView {
    /// The template it holds.
    pub(crate) fn template(&self) -> Value {
        let mut template = self.data["spec"]["template"].clone();
        if let Some(template) = template.as_object_mut() {
            template.remove("$patch");
        }
        template
    }
}

/// A ReplicationController: a ReplicaSet that spells its selector differently.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "ReplicationControllerWire")]
pub(crate) struct ReplicationControllerView(pub(crate) ReplicaSetView);

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReplicationControllerWire {
    metadata: Meta,
    spec: ReplicationControllerSpec,
    #[serde(deserialize_with = "nullable")]
    status: ReplicaSetStatus,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ReplicationControllerSpec {
    replicas: Option<i32>,
    #[serde(deserialize_with = "nullable")]
    min_ready_seconds: i32,
    #[serde(deserialize_with = "nullable")]
    selector: Strings,
    template: Packed,
}

impl From<ReplicationControllerWire> for ReplicationControllerView {
    fn from(wire: ReplicationControllerWire) -> Self {
        let ReplicationControllerSpec { replicas, min_ready_seconds, selector, template } = wire.spec;
        let selector = LabelSelector { match_labels: selector, ..LabelSelector::default() };
        let spec = ReplicaSetSpec { replicas, min_ready_seconds, selector, template };
        Self(ReplicaSetView { meta: wire.metadata, spec, status: wire.status })
    }
}

macro_rules! view {
    ($($kind:ty),*) => {$(
        impl View for $kind {
            fn meta(&self) -> &Meta {
                &self.meta
            }
        }
    )*};
}

view!(StatefulSetView, DaemonSetView, RevisionView);

impl View for ReplicationControllerView {
    fn meta(&self) -> &Meta {
        &self.0.meta
    }
}

/// A percentage or a count, as a strategy gives it.
pub(crate) fn or_one(amount: Option<Amount>) -> Amount {
    amount.unwrap_or(Amount::Count(1))
}

/// Labels of a pod template.
pub(crate) fn labels(template: &Value) -> BTreeMap<&str, &Value> {
    template["metadata"]["labels"].as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value)).collect()
}
