//! Which of the nodes that will do is best: Kubernetes' default scores and weights.
//!
//! Each score is brought into 0 to 100 over the nodes that are compared, then weighed.

use super::{Effect, Neighbour, Node, Pod, between, tolerates};

const BEST: i64 = 100;

/// The index of the best of these nodes.
pub(super) fn best(pod: &Pod, nodes: &[Node], fitting: &[usize], around: &[Neighbour]) -> Option<usize> {
    if fitting.len() < 2 {
        return fitting.first().copied();
    }
    let each = |score: &dyn Fn(&Node) -> i64| -> Vec<i64> { fitting.iter().map(|at| score(&nodes[*at])).collect() };
    let weighed: [(i64, Vec<i64>); 6] = [
        (3, reversed(each(&|node| disliked(pod, node)))),
        (2, scaled(each(&|node| liked(pod, node)))),
        (2, reversed(each(&|node| crowd(pod, node, nodes, around)))),
        (2, spanned(each(&|node| between::score(pod, node, nodes, around)))),
        (1, each(&|node| free(pod, node))),
        (1, each(&|node| balance(pod, node))),
    ];
    let total = |at: usize| weighed.iter().map(|(weight, scores)| weight * scores[at]).sum::<i64>();
    // The first of equals, so that the choice does not depend on chance.
    let best = (0..fitting.len()).max_by_key(|at| (total(*at), std::cmp::Reverse(*at)))?;
    Some(fitting[best])
}

/// The largest becomes 100.
fn scaled(raw: Vec<i64>) -> Vec<i64> {
    let top = raw.iter().copied().max().unwrap_or(0);
    raw.into_iter().map(|it| if top > 0 { it.saturating_mul(BEST) / top } else { 0 }).collect()
}

/// The smallest is the best.
fn reversed(raw: Vec<i64>) -> Vec<i64> {
    let top = raw.iter().copied().max().unwrap_or(0);
    raw.into_iter().map(|it| if top > 0 { BEST - it.saturating_mul(BEST) / top } else { BEST }).collect()
}

/// The smallest becomes 0, the largest 100.
fn spanned(raw: Vec<i64>) -> Vec<i64> {
    let (low, high) = (raw.iter().copied().min().unwrap_or(0), raw.iter().copied().max().unwrap_or(0));
    raw.into_iter().map(|it| if high > low { (it - low).saturating_mul(BEST) / (high - low) } else { 0 }).collect()
}

/// Taints that would rather not have the pod.
fn disliked(pod: &Pod, node: &Node) -> i64 {
    let soft = node.taints.iter().filter(|it| it.effect == Effect::PreferNoSchedule);
    i64::try_from(soft.filter(|it| !tolerates(&pod.tolerations, it)).count()).unwrap_or(i64::MAX)
}

/// Weights of the preferred terms that the node meets.
fn liked(pod: &Pod, node: &Node) -> i64 {
    pod.preferred.iter().filter(|it| it.0.matches(node)).map(|it| i64::from(it.1)).sum()
}

fn crowd(pod: &Pod, node: &Node, nodes: &[Node], around: &[Neighbour]) -> i64 {
    let soft = pod.spread.iter().filter(|it| !it.required);
    soft.map(|it| it.crowd(pod, node, nodes, around)).fold(0, i64::saturating_add)
}

/// Per cent of cpu and memory that would be left.
fn free(pod: &Pod, node: &Node) -> i64 {
    let [cpu, memory] = used(pod, node);
    (BEST - cpu + BEST - memory) / 2
}

/// Nodes whose cpu and memory are used alike are better.
fn balance(pod: &Pod, node: &Node) -> i64 {
    let [cpu, memory] = used(pod, node);
    BEST - (cpu - memory).abs() / 2
}

/// Per cent of cpu and of memory that would be taken.
fn used(pod: &Pod, node: &Node) -> [i64; 2] {
    let share = |wanted: u64, used: u64, total: u64| -> i64 {
        let taken = u128::from(wanted) + u128::from(used);
        // Never above 100, so it fits.
        if total == 0 { BEST } else { (taken * 100 / u128::from(total)).min(100) as i64 }
    };
    let (want, used, total) = (pod.requests, node.requested, node.allocatable);
    [
        share(want.cpu_milli, used.cpu_milli, total.cpu_milli),
        share(want.memory_bytes, used.memory_bytes, total.memory_bytes),
    ]
}
