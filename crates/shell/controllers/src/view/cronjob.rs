//! CronJobs.

use serde::Deserialize;
use serde_json::Value;

use super::{Meta, Time, View, nullable};

/// A CronJob.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CronJobView {
    #[serde(rename = "metadata")]
    pub(crate) meta: Meta,
    pub(crate) spec: CronJobSpec,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: CronJobStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct CronJobSpec {
    pub(crate) schedule: String,
    pub(crate) time_zone: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) suspend: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) concurrency_policy: String,
    pub(crate) starting_deadline_seconds: Option<i64>,
    pub(crate) successful_jobs_history_limit: Option<i32>,
    pub(crate) failed_jobs_history_limit: Option<i32>,
    pub(crate) job_template: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct CronJobStatus {
    #[serde(deserialize_with = "nullable")]
    pub(crate) active: Vec<JobReference>,
    pub(crate) last_schedule_time: Option<Time>,
    pub(crate) last_successful_time: Option<Time>,
}

/// One entry of `status.active`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct JobReference {
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl View for CronJobView {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}
