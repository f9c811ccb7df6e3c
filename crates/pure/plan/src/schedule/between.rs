//! Affinity between pods: near some, apart from others.
//!
//! Entry points: [`obstacle`] for what is required, [`score`] for what is preferred.

use std::collections::BTreeMap;

use super::{Node, Pod};
use crate::selector::Selector;

/// Pods to be near to, or apart from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodTerm {
    /// What the labels of those pods are.
    pub selector: Selector,
    /// Their namespaces; `None` for all.
    pub namespaces: Option<Vec<String>>,
    /// Nodes that share the value of this label count as one place.
    pub topology_key: String,
}

/// A pod that is on a node, or about to be.
#[derive(Clone, Debug, Default)]
pub struct Neighbour {
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Name of its node.
    pub node: String,
    /// Being deleted.
    pub deleting: bool,
    /// Pods it must be apart from.
    pub apart: Vec<PodTerm>,
}

impl PodTerm {
    fn selects(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        let here = self.namespaces.as_ref().is_none_or(|all| all.iter().any(|it| it == namespace));
        here && self.selector.matches(|key| labels.get(key).map(String::as_str))
    }

    /// The neighbour is one of those pods, and in the same place as the node.
    fn meets(&self, it: &Neighbour, node: &Node, nodes: &[Node]) -> bool {
        self.selects(&it.namespace, &it.labels) && self.shares(node, &it.node, nodes)
    }

    fn shares(&self, node: &Node, other: &str, nodes: &[Node]) -> bool {
        let Some(place) = node.labels.get(&self.topology_key) else { return false };
        let other = nodes.iter().find(|it| it.name == other);
        other.and_then(|it| it.labels.get(&self.topology_key)) == Some(place)
    }
}

/// Why the node will not do for its neighbours' sake.
pub(super) fn obstacle(pod: &Pod, node: &Node, nodes: &[Node], around: &[Neighbour]) -> Option<&'static str> {
    let near = |term: &PodTerm| {
        node.labels.contains_key(&term.topology_key)
            && (around.iter().any(|it| term.meets(it, node, nodes)) || is_first(term, pod, around))
    };
    if !pod.near.iter().all(near) {
        return Some("node(s) didn't match pod affinity rules");
    }
    if pod.apart.iter().any(|term| around.iter().any(|it| term.meets(it, node, nodes))) {
        return Some("node(s) didn't match pod anti-affinity rules");
    }
    let unwelcome = |it: &Neighbour| {
        it.apart.iter().any(|term| term.selects(&pod.namespace, &pod.labels) && term.shares(node, &it.node, nodes))
    };
    around.iter().any(unwelcome).then_some("node(s) didn't satisfy existing pods anti-affinity rules")
}

/// The first of pods that want to be near each other has nobody to be near to.
fn is_first(term: &PodTerm, pod: &Pod, around: &[Neighbour]) -> bool {
    term.selects(&pod.namespace, &pod.labels) && !around.iter().any(|it| term.selects(&it.namespace, &it.labels))
}

/// How much the neighbours speak for the node; not yet in any range.
pub(super) fn score(pod: &Pod, node: &Node, nodes: &[Node], around: &[Neighbour]) -> i64 {
    let sum = |all: &[(PodTerm, i32)]| -> i64 {
        let of = |(term, weight): &(PodTerm, i32)| {
            let met = around.iter().filter(|it| term.meets(it, node, nodes)).count();
            i64::from(*weight).saturating_mul(i64::try_from(met).unwrap_or(i64::MAX))
        };
        all.iter().map(of).fold(0, i64::saturating_add)
    };
    sum(&pod.near_preferred).saturating_sub(sum(&pod.apart_preferred))
}
