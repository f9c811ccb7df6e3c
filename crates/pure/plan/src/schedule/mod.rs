//! Chooses a node for a pod.
//!
//! Entry point: [`place`]: first the filters, each of which names what is wrong with a node, then the scores.
//! Deliberately absent: preemption and volumes.

mod between;
mod ports;
#[cfg(test)]
mod rules_tests;
mod score;
mod spread;

use std::collections::BTreeMap;

pub use between::{Neighbour, PodTerm};
pub use ports::HostPort;
pub use spread::Spread;

use crate::selector::Selector;

/// Amounts of what pods compete for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Pods; 1 for a pod.
    pub pods: u64,
}

impl Resources {
    /// Adds `other`, saturating.
    pub fn add(&mut self, other: Self) {
        self.cpu_milli = self.cpu_milli.saturating_add(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
        self.pods = self.pods.saturating_add(other.pods);
    }

    /// Takes `other` away, stopping at zero.
    pub fn sub(&mut self, other: Self) {
        self.cpu_milli = self.cpu_milli.saturating_sub(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.saturating_sub(other.memory_bytes);
        self.pods = self.pods.saturating_sub(other.pods);
    }
}

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Keeps new ones away.
    NoSchedule,
    /// Keeps new ones away if another node will do.
    PreferNoSchedule,
    /// Keeps new ones away and drives present ones out.
    NoExecute,
}

impl Effect {
    /// Reads the word the API uses.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "NoSchedule" => Self::NoSchedule,
            "PreferNoSchedule" => Self::PreferNoSchedule,
            "NoExecute" => Self::NoExecute,
            _ => return None,
        })
    }
}

/// A mark that keeps pods off a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value, may be empty.
    pub value: String,
    /// What it does.
    pub effect: Effect,
}

/// A pod's consent to a taint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toleration {
    /// Key; empty for any, which only `Exists` allows.
    pub key: String,
    /// Any value will do (`Exists`), or exactly this one (`Equal`).
    pub value: Option<String>,
    /// Only taints of this effect; `None` for any.
    pub effect: Option<Effect>,
}

impl Toleration {
    /// True when it consents to the taint.
    pub fn accepts(&self, taint: &Taint) -> bool {
        self.effect.is_none_or(|it| it == taint.effect)
            && (self.key == taint.key || (self.key.is_empty() && self.value.is_none()))
            && self.value.as_ref().is_none_or(|it| *it == taint.value)
    }
}

/// One term of a node affinity. A term that asks for nothing matches no node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Term {
    /// What the node's labels must be.
    pub labels: Selector,
    /// What its fields must be; `metadata.name` is the only one.
    pub fields: Selector,
}

impl Term {
    /// True when the node is what the term asks for.
    pub fn matches(&self, node: &Node) -> bool {
        let field = |key: &str| (key == "metadata.name").then_some(node.name.as_str());
        let says = !(self.labels.is_empty() && self.fields.is_empty());
        says && self.labels.matches(|key| node.labels.get(key).map(String::as_str)) && self.fields.matches(field)
    }
}

/// What a pod asks of its node.
#[derive(Clone, Debug, Default)]
pub struct Pod {
    /// What it wants; `pods` is 1.
    pub requests: Resources,
    /// `nodeSelector`.
    pub node_selector: Selector,
    /// Required node affinity: any of these terms must match; empty when there is none.
    pub affinity: Vec<Term>,
    /// Tolerations.
    pub tolerations: Vec<Toleration>,
    /// Preferred node affinity, with weights.
    pub preferred: Vec<(Term, i32)>,
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Pods it must be near to.
    pub near: Vec<PodTerm>,
    /// Pods it must be apart from.
    pub apart: Vec<PodTerm>,
    /// Pods it had better be near to, with weights.
    pub near_preferred: Vec<(PodTerm, i32)>,
    /// Pods it had better be apart from, with weights.
    pub apart_preferred: Vec<(PodTerm, i32)>,
    /// `topologySpreadConstraints`.
    pub spread: Vec<Spread>,
    /// Ports of the node that it takes.
    pub ports: Vec<HostPort>,
}

impl Pod {
    /// Which pods are where matters for it.
    pub fn looks_around(&self) -> bool {
        !self.near.is_empty()
            || !self.apart.is_empty()
            || !self.near_preferred.is_empty()
            || !self.apart_preferred.is_empty()
            || !self.spread.is_empty()
    }
}

/// A node as the scheduler sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Its `Ready` condition is true.
    pub ready: bool,
    /// Cordoned.
    pub unschedulable: bool,
    /// Taints.
    pub taints: Vec<Taint>,
    /// What it offers to pods.
    pub allocatable: Resources,
    /// What the pods on it asked for, those being bound included.
    pub requested: Resources,
    /// Its ports that they have taken.
    pub ports: Vec<HostPort>,
}

/// The taint that cordoning means.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Index of the best node for `pod`. `around` are the pods that are on nodes; they may be left out when the pod does not
/// look around and none of them wants to be apart from others.
///
/// # Errors
///
/// The message of the `FailedScheduling` event when no node will do.
pub fn place(pod: &Pod, nodes: &[Node], around: &[Neighbour]) -> Result<usize, String> {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut fitting = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let obstacles = obstacles(pod, node, nodes, around);
        if obstacles.is_empty() {
            fitting.push(index);
        }
        for reason in obstacles {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    score::best(pod, nodes, &fitting, around).ok_or_else(|| unschedulable(nodes.len(), &reasons))
}

fn unschedulable(nodes: usize, reasons: &BTreeMap<String, usize>) -> String {
    if nodes == 0 {
        return "no nodes available to schedule pods".into();
    }
    let mut rows: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    rows.sort();
    format!(
        "0/{nodes} nodes are available: {}. preemption: 0/{nodes} nodes are available: {nodes} Preemption is not helpful \
         for scheduling.",
        rows.join(", ")
    )
}

/// True when the pod's node selector and required node affinity allow the node.
pub fn chooses(pod: &Pod, node: &Node) -> bool {
    let lookup = |key: &str| node.labels.get(key).map(String::as_str);
    let wanted = pod.affinity.is_empty() || pod.affinity.iter().any(|it| it.matches(node));
    wanted && pod.node_selector.matches(lookup)
}

/// True when any of the tolerations accepts the taint.
pub fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|it| it.accepts(taint))
}

/// Why the node will not do; empty when it will. Only the first failing filter speaks, except that every resource that
/// falls short is named.
fn obstacles(pod: &Pod, node: &Node, nodes: &[Node], around: &[Neighbour]) -> Vec<String> {
    let cordon = Taint { key: UNSCHEDULABLE.into(), value: String::new(), effect: Effect::NoSchedule };
    let tolerated = |taint: &Taint| tolerates(&pod.tolerations, taint);
    if node.unschedulable && !tolerated(&cordon) {
        return vec!["node(s) were unschedulable".into()];
    }
    if let Some(taint) = node.taints.iter().find(|it| it.effect != Effect::PreferNoSchedule && !tolerated(it)) {
        return vec![format!("node(s) had untolerated taint {{{}: {}}}", taint.key, taint.value)];
    }
    if !node.ready {
        return vec!["node(s) were not ready".into()];
    }
    if !chooses(pod, node) {
        return vec!["node(s) didn't match Pod's node affinity/selector".into()];
    }
    if let Some(taken) = ports::obstacle(pod, node) {
        return vec![taken.into()];
    }
    let shortages = shortages(pod, node);
    if !shortages.is_empty() {
        return shortages;
    }
    let spread = pod.spread.iter().filter(|it| it.required).find_map(|it| it.obstacle(pod, node, nodes, around));
    spread.or_else(|| between::obstacle(pod, node, nodes, around)).map(str::to_owned).into_iter().collect()
}

fn shortages(pod: &Pod, node: &Node) -> Vec<String> {
    let short = |wanted: u64, used: u64, total: u64| wanted > 0 && wanted > total.saturating_sub(used);
    let (want, used, total) = (pod.requests, node.requested, node.allocatable);
    let mut reasons = Vec::new();
    if short(want.pods, used.pods, total.pods) {
        reasons.push("Too many pods".into());
    }
    if short(want.cpu_milli, used.cpu_milli, total.cpu_milli) {
        reasons.push("Insufficient cpu".into());
    }
    if short(want.memory_bytes, used.memory_bytes, total.memory_bytes) {
        reasons.push("Insufficient memory".into());
    }
    reasons
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn node(name: &str) -> Node {
        Node {
            name: name.into(),
            labels: [("disk".to_owned(), "ssd".to_owned())].into(),
            ready: true,
            allocatable: Resources { cpu_milli: 2000, memory_bytes: 1 << 30, pods: 10 },
            ..Node::default()
        }
    }

    fn pod(cpu_milli: u64, memory_bytes: u64) -> Pod {
        Pod { requests: Resources { cpu_milli, memory_bytes, pods: 1 }, ..Pod::default() }
    }

    fn taint(key: &str, effect: Effect) -> Taint {
        Taint { key: key.into(), value: "v".into(), effect }
    }

    #[test]
    fn message_counts_the_reasons_as_kubernetes_words_them() {
        let mut got = String::new();
        let small = Node { requested: Resources { cpu_milli: 1900, pods: 10, ..Resources::default() }, ..node("a") };
        let cordoned = Node { unschedulable: true, ..node("b") };
        let tainted = Node { taints: vec![taint("k", Effect::NoExecute)], ..node("c") };
        let away = Node { ready: false, ..node("d") };
        let elsewhere = Node { labels: BTreeMap::new(), ..node("e") };
        let picky = Pod { node_selector: Selector::equals([("disk", "ssd")]), ..pod(500, 0) };
        for nodes in [vec![], vec![small.clone()], vec![small.clone(), small, cordoned, tainted, away, elsewhere]] {
            got += &place(&picky, &nodes, &[]).unwrap_err();
            got += "\n";
        }
        expect![[r#"
            no nodes available to schedule pods
            0/1 nodes are available: 1 Insufficient cpu, 1 Too many pods. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
            0/6 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint {k: v}, 1 node(s) were not ready, 1 node(s) were unschedulable, 2 Insufficient cpu, 2 Too many pods. preemption: 0/6 nodes are available: 6 Preemption is not helpful for scheduling.
        "#]]
        .assert_eq(&got);
    }

    #[test]
    fn least_allocated_node_wins_and_soft_taints_repel() {
        let busy = Node { requested: Resources { cpu_milli: 1000, ..Resources::default() }, ..node("busy") };
        assert_eq!(place(&pod(100, 0), &[busy.clone(), node("free")], &[]), Ok(1));
        let soft = Node { taints: vec![taint("k", Effect::PreferNoSchedule)], ..node("soft") };
        assert_eq!(place(&pod(100, 0), &[soft.clone(), busy], &[]), Ok(1));
        assert_eq!(place(&pod(100, 0), &[soft], &[]), Ok(0));
    }

    #[test]
    fn tolerations_match_by_key_value_and_effect() {
        let nodes = [Node { taints: vec![taint("k", Effect::NoSchedule)], ..node("a") }];
        let with = |key: &str, value: Option<&str>, effect| Pod {
            tolerations: vec![Toleration { key: key.into(), value: value.map(Into::into), effect }],
            ..pod(0, 0)
        };
        for (fits, pod) in [
            (true, with("", None, None)),
            (true, with("k", None, None)),
            (true, with("k", Some("v"), Some(Effect::NoSchedule))),
            (false, with("k", Some("w"), None)),
            (false, with("k", None, Some(Effect::NoExecute))),
            (false, with("other", None, None)),
        ] {
            assert_eq!(place(&pod, &nodes, &[]).is_ok(), fits, "{pod:?}");
        }
    }

    #[test]
    fn any_affinity_term_will_do() {
        let term = |value: &str| Term { labels: Selector::equals([("disk", value)]), ..Term::default() };
        let (ssd, tape) = (term("ssd"), term("tape"));
        assert!(place(&Pod { affinity: vec![tape.clone(), ssd], ..pod(0, 0) }, &[node("a")], &[]).is_ok());
        assert!(place(&Pod { affinity: vec![tape], ..pod(0, 0) }, &[node("a")], &[]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_overcommits(wants in proptest::collection::vec((0u64..900, 0u64..(1 << 28)), 1..60)) {
            let mut nodes = vec![node("a"), node("b")];
            for (cpu, memory) in wants {
                let pod = pod(cpu, memory);
                if let Ok(index) = place(&pod, &nodes, &[]) {
                    nodes[index].requested.add(pod.requests);
                }
            }
            for node in nodes {
                proptest::prop_assert!(node.requested.cpu_milli <= node.allocatable.cpu_milli);
                proptest::prop_assert!(node.requested.memory_bytes <= node.allocatable.memory_bytes);
                proptest::prop_assert!(node.requested.pods <= node.allocatable.pods);
            }
        }
    }
}
