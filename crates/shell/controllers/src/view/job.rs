//! Jobs.

use eyot_plan::job::{
    indexes::Indexes,
    policy::{Action, Criterion, On, Rule},
};
use serde::Deserialize;
use serde_json::Value;

use super::{Condition, LabelSelector, Meta, Time, View, nullable};

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
    #[serde(deserialize_with = "nullable")]
    pub(crate) selector: LabelSelector,
    #[serde(deserialize_with = "nullable")]
    pub(crate) pod_failure_policy: Rules<FailureRule>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) success_policy: Rules<SuccessRule>,
    pub(crate) backoff_limit_per_index: Option<i32>,
    pub(crate) max_failed_indexes: Option<i32>,
    pub(crate) template: Value,
}

/// A policy: a list of rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub(crate) struct Rules<T> {
    #[serde(default = "Vec::new", deserialize_with = "nullable")]
    pub(crate) rules: Vec<T>,
}

impl<T> Default for Rules<T> {
    fn default() -> Self {
        Self { rules: Vec::new() }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct FailureRule {
    action: String,
    on_exit_codes: Option<ExitCodes>,
    #[serde(deserialize_with = "nullable")]
    on_pod_conditions: Vec<PodCondition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ExitCodes {
    container_name: Option<String>,
    operator: String,
    #[serde(deserialize_with = "nullable")]
    values: Vec<i32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PodCondition {
    #[serde(rename = "type")]
    kind: String,
    status: Option<String>,
}

impl FailureRule {
    /// The rule as the plan takes it; one that asks for nothing matches nothing.
    pub(crate) fn compile(&self) -> Rule {
        let action = match self.action.as_str() {
            "FailJob" => Action::FailJob,
            "FailIndex" => Action::FailIndex,
            "Ignore" => Action::Ignore,
            _ => Action::Count,
        };
        let on = match &self.on_exit_codes {
            Some(it) => On::ExitCodes {
                container: it.container_name.clone(),
                among: it.operator != "NotIn",
                values: it.values.clone(),
            },
            None => {
                let row = |it: &PodCondition| (it.kind.clone(), it.status.clone().unwrap_or_else(|| "True".to_owned()));
                On::Conditions(self.on_pod_conditions.iter().map(row).collect())
            }
        };
        Rule { action, on }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SuccessRule {
    succeeded_indexes: Option<String>,
    succeeded_count: Option<i32>,
}

impl SuccessRule {
    /// The rule as the plan takes it.
    pub(crate) fn compile(&self, completions: i32) -> Criterion {
        let indexes = self.succeeded_indexes.as_deref().map(|it| Indexes::parse(it, completions));
        Criterion { indexes, count: self.succeeded_count }
    }
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
    pub(crate) failed_indexes: String,
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
