//! Topology spread: as many pods in one place as in another, give or take.
//!
//! Entry points: [`Spread::obstacle`] for what must hold, [`Spread::crowd`] for what had better.

use std::collections::BTreeMap;

use super::{Neighbour, Node, Pod, chooses};
use crate::selector::Selector;

/// One of a pod's `topologySpreadConstraints`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many pods a place may have more than the emptiest one.
    pub max_skew: i32,
    /// Nodes that share the value of this label count as one place.
    pub topology_key: String,
    /// It must hold (`DoNotSchedule`), or had better.
    pub required: bool,
    /// The pods that are counted.
    pub selector: Selector,
    /// With fewer places than this, a place without pods is imagined.
    pub min_domains: Option<i32>,
}

impl Spread {
    fn counts(&self, namespace: &str, pod: &Neighbour) -> bool {
        let labels = |key: &str| pod.labels.get(key).map(String::as_str);
        pod.namespace == namespace && !pod.deleting && self.selector.matches(labels)
    }

    /// Pods by place, of the nodes that the pod could choose.
    fn places<'a>(&self, pod: &Pod, nodes: &'a [Node], around: &[Neighbour]) -> BTreeMap<&'a str, i32> {
        let mut places: BTreeMap<&str, i32> = BTreeMap::new();
        for node in nodes.iter().filter(|it| chooses(pod, it)) {
            let Some(place) = node.labels.get(&self.topology_key) else { continue };
            let here = around.iter().filter(|it| it.node == node.name && self.counts(&pod.namespace, it)).count();
            *places.entry(place.as_str()).or_default() += i32::try_from(here).unwrap_or(i32::MAX);
        }
        places
    }

    /// Why the node will not do.
    pub(super) fn obstacle(
        &self,
        pod: &Pod,
        node: &Node,
        nodes: &[Node],
        around: &[Neighbour],
    ) -> Option<&'static str> {
        let Some(place) = node.labels.get(&self.topology_key) else {
            return Some("node(s) didn't match pod topology spread constraints (missing required label)");
        };
        let places = self.places(pod, nodes, around);
        let few = self.min_domains.is_some_and(|it| places.len() < usize::try_from(it).unwrap_or(0));
        let least = if few { 0 } else { places.values().copied().min().unwrap_or(0) };
        let own = i32::from(self.selector.matches(|key| pod.labels.get(key).map(String::as_str)));
        let skew = places.get(place.as_str()).copied().unwrap_or(0) + own - least;
        (skew > self.max_skew).then_some("node(s) didn't match pod topology spread constraints")
    }

    /// Pods in the node's place; a node without the label is as crowded as can be.
    pub(super) fn crowd(&self, pod: &Pod, node: &Node, nodes: &[Node], around: &[Neighbour]) -> i64 {
        let place = node.labels.get(&self.topology_key);
        let counted = place.and_then(|it| self.places(pod, nodes, around).get(it.as_str()).copied());
        counted.map_or(i64::from(i32::MAX), i64::from)
    }
}
