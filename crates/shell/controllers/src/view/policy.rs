//! PodDisruptionBudgets.

use std::collections::BTreeMap;

use eyot_plan::{amount::Amount, budget::Wish, selector::Selector};
use serde::Deserialize;

use super::{Condition, LabelSelector, Meta, Time, View, nullable, workload::amount};

/// A PodDisruptionBudget.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct BudgetView {
    #[serde(rename = "metadata")]
    pub(crate) meta: Meta,
    #[serde(deserialize_with = "nullable")]
    pub(crate) spec: BudgetSpec,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: BudgetStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct BudgetSpec {
    /// Without one it selects nothing; an empty one selects everything.
    pub(crate) selector: Option<LabelSelector>,
    #[serde(deserialize_with = "amount")]
    min_available: Option<Amount>,
    #[serde(deserialize_with = "amount")]
    max_unavailable: Option<Amount>,
}

impl BudgetSpec {
    pub(crate) fn wish(&self) -> Wish {
        match (self.max_unavailable, self.min_available) {
            (Some(away), _) => Wish::MaxUnavailable(away),
            (None, stay) => Wish::MinAvailable(stay.unwrap_or(Amount::Count(1))),
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct BudgetStatus {
    pub(crate) observed_generation: i64,
    pub(crate) disruptions_allowed: i32,
    pub(crate) current_healthy: i32,
    pub(crate) desired_healthy: i32,
    pub(crate) expected_pods: i32,
    #[serde(deserialize_with = "nullable")]
    pub(crate) disrupted_pods: BTreeMap<String, Time>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) conditions: Vec<Condition>,
}

impl View for BudgetView {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl BudgetView {
    /// Which pods it selects; none without a selector.
    pub(crate) fn selector(&self) -> Option<Selector> {
        self.spec.selector.as_ref().map(LabelSelector::compile)
    }
}
