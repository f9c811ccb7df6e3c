//! Deployments and ReplicaSets. Templates stay as they came, so that no field is lost when one is copied.

use eyot_plan::amount::Amount;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Condition, LabelSelector, Meta, Packed, View, nullable};

/// A Deployment.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DeploymentView {
    #[serde(rename = "metadata")]
    pub(crate) meta: Meta,
    pub(crate) spec: DeploymentSpec,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: DeploymentStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct DeploymentSpec {
    pub(crate) replicas: Option<i32>,
    pub(crate) selector: LabelSelector,
    pub(crate) template: Packed,
    #[serde(deserialize_with = "nullable")]
    pub(crate) strategy: Strategy,
    pub(crate) paused: bool,
    pub(crate) min_ready_seconds: i32,
    pub(crate) revision_history_limit: Option<i32>,
    pub(crate) progress_deadline_seconds: Option<i32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Strategy {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) rolling_update: RollingUpdate,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct RollingUpdate {
    #[serde(deserialize_with = "amount")]
    pub(crate) max_surge: Option<Amount>,
    #[serde(deserialize_with = "amount")]
    pub(crate) max_unavailable: Option<Amount>,
    /// Of StatefulSets only.
    #[serde(deserialize_with = "nullable")]
    pub(crate) partition: i32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct DeploymentStatus {
    pub(crate) observed_generation: i64,
    pub(crate) replicas: i32,
    pub(crate) updated_replicas: i32,
    pub(crate) ready_replicas: i32,
    pub(crate) available_replicas: i32,
    pub(crate) unavailable_replicas: i32,
    pub(crate) collision_count: Option<i32>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) conditions: Vec<Condition>,
}

/// A ReplicaSet.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ReplicaSetView {
    #[serde(rename = "metadata")]
    pub(crate) meta: Meta,
    pub(crate) spec: ReplicaSetSpec,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: ReplicaSetStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ReplicaSetSpec {
    pub(crate) replicas: Option<i32>,
    pub(crate) min_ready_seconds: i32,
    pub(crate) selector: LabelSelector,
    pub(crate) template: Packed,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ReplicaSetStatus {
    pub(crate) replicas: i32,
    pub(crate) fully_labeled_replicas: i32,
    pub(crate) ready_replicas: i32,
    pub(crate) available_replicas: i32,
    pub(crate) terminating_replicas: i32,
    pub(crate) observed_generation: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) conditions: Vec<Condition>,
}

impl View for DeploymentView {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl View for ReplicaSetView {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

pub(super) fn amount<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Amount>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(text) => Amount::parse(&text),
        Value::Number(number) => Amount::parse(&number.to_string()),
        _ => None,
    })
}
