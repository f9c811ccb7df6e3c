//! Rules of placement that look at other pods, as pods write them.

use std::sync::Arc;

use eyot_plan::{
    schedule::{PodTerm, Spread},
    selector::Selector,
};
use serde::Deserialize;

use super::{Expression, LabelSelector, cluster::NamespaceView, compile, nullable};

/// What a pod asks of the pods around it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) near: Vec<TermWire>,
    pub(crate) apart: Vec<TermWire>,
    pub(crate) near_preferred: Vec<WeightedTerm>,
    pub(crate) apart_preferred: Vec<WeightedTerm>,
    pub(crate) spread: Vec<Spread>,
}

impl Rules {
    /// The pod asks for nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.near.is_empty()
            && self.apart.is_empty()
            && self.near_preferred.is_empty()
            && self.apart_preferred.is_empty()
            && self.spread.is_empty()
    }
}

/// `podAffinity` or `podAntiAffinity`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodAffinity {
    #[serde(deserialize_with = "nullable")]
    pub(super) required_during_scheduling_ignored_during_execution: Vec<TermWire>,
    #[serde(deserialize_with = "nullable")]
    pub(super) preferred_during_scheduling_ignored_during_execution: Vec<WeightedTerm>,
}

/// `PodAffinityTerm`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct TermWire {
    label_selector: Option<LabelSelector>,
    #[serde(deserialize_with = "nullable")]
    namespaces: Vec<String>,
    namespace_selector: Option<LabelSelector>,
    topology_key: String,
}

/// `WeightedPodAffinityTerm`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct WeightedTerm {
    pub(crate) weight: i32,
    pub(crate) pod_affinity_term: TermWire,
}

impl TermWire {
    /// The term as the plan takes it, for a pod of `namespace`.
    pub(crate) fn compile(&self, namespace: &str, all: &[Arc<NamespaceView>]) -> PodTerm {
        let named = || self.namespaces.iter().cloned();
        let namespaces = match &self.namespace_selector {
            None if self.namespaces.is_empty() => Some(vec![namespace.to_owned()]),
            None => Some(named().collect()),
            Some(it) => {
                let selector = it.compile();
                let chosen = all.iter().filter(|it| selector.matches(|key| it.meta.labels.get(key)));
                let chosen = chosen.map(|it| it.meta.name.to_string());
                if selector.is_empty() { None } else { Some(chosen.chain(named()).collect()) }
            }
        };
        PodTerm {
            selector: selector(self.label_selector.as_ref()),
            namespaces,
            topology_key: self.topology_key.clone(),
        }
    }
}

/// No selector selects nothing.
fn selector(of: Option<&LabelSelector>) -> Selector {
    of.map_or_else(|| compile(&[Expression::default()]), LabelSelector::compile)
}

/// One of `topologySpreadConstraints`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SpreadWire {
    max_skew: i32,
    topology_key: String,
    when_unsatisfiable: String,
    label_selector: Option<LabelSelector>,
    min_domains: Option<i32>,
}

impl SpreadWire {
    pub(super) fn compile(&self) -> Spread {
        Spread {
            max_skew: self.max_skew,
            topology_key: self.topology_key.clone(),
            required: self.when_unsatisfiable != "ScheduleAnyway",
            selector: selector(self.label_selector.as_ref()),
            min_domains: self.min_domains,
        }
    }
}
