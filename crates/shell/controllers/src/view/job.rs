//! Jobs.

use serde::Deserialize;
use serde_json::Value;

use super::{Condition, Meta, Time, View, nullable};

/// A Job.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct JobView {
    #[serde(rename = "metadata")]
    pub(crate) meta: Meta,
    pub(crate) spec: JobSpec,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: JobStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct JobSpec {
    pub(crate) parallelism: Option<i32>,
    pub(crate) completions: Option<i32>,
    pub(crate) backoff_limit: Option<i32>,
    pub(crate) active_deadline_seconds: Option<i64>,
    pub(crate) suspend: Option<bool>,
    pub(crate) completion_mode: Option<String>,
    pub(crate) pod_replacement_policy: Option<String>,
    pub(crate) ttl_seconds_after_finished: Option<i64>,
    pub(crate) managed_by: Option<String>,
    pub(crate) pod_failure_policy: Option<serde::de::IgnoredAny>,
    pub(crate) success_policy: Option<serde::de::IgnoredAny>,
    pub(crate) backoff_limit_per_index: Option<i32>,
    pub(crate) template: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct JobStatus {
    pub(crate) start_time: Option<Time>,
    pub(crate) completion_time: Option<Time>,
    pub(crate) active: i32,
    pub(crate) ready: i32,
    pub(crate) terminating: i32,
    pub(crate) succeeded: i32,
    pub(crate) failed: i32,
    #[serde(deserialize_with = "nullable")]
    pub(crate) completed_indexes: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) uncounted_terminated_pods: Uncounted,
    #[serde(deserialize_with = "nullable")]
    pub(crate) conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Uncounted {
    #[serde(deserialize_with = "nullable")]
    pub(crate) succeeded: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) failed: Vec<String>,
}

impl View for JobView {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}
