//! What a ReplicaSet does next to its pods, and what it reports.
//!
//! Entry points: [`plan`] and [`status`], and [`plan_by_number`] for who has counted the pods already.

use std::{cmp::Ordering, collections::HashMap};

use crate::Seconds;

/// Most pods made or removed in one pass, so that the status keeps up with a large change.
pub const BURST: usize = 500;

/// A pod that counts for its ReplicaSet: neither finished nor being deleted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pod<'a> {
    /// Name.
    pub name: &'a str,
    /// Node it is bound to; empty when none.
    pub node: &'a str,
    /// How far it has come.
    pub phase: Phase,
    /// Since when it is ready; `None` when it is not.
    pub ready_since: Option<Seconds>,
    /// Value of the `controller.kubernetes.io/pod-deletion-cost` annotation.
    pub deletion_cost: i32,
    /// Largest restart count of its containers.
    pub restarts: i32,
    /// When it was created.
    pub created: Seconds,
    /// Has all labels of the template.
    pub fully_labeled: bool,
}

/// Phase of a pod that has not finished, least valuable first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not all containers have started.
    #[default]
    Pending,
    /// The node is out of reach.
    Unknown,
    /// Started.
    Running,
}

/// What to do in one pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The count is right.
    Keep,
    /// Create so many.
    Create(usize),
    /// Delete the pods at these indices.
    Delete(Vec<usize>),
}

/// What to do where that follows from how many pods there are and are on their way; `None` when some have to go, which
/// depends on what they are.
pub fn plan_by_number(replicas: i32, present: usize) -> Option<Plan> {
    let wanted = usize::try_from(replicas).unwrap_or(0);
    match present.cmp(&wanted) {
        Ordering::Less => Some(Plan::Create((wanted - present).min(BURST))),
        Ordering::Equal => Some(Plan::Keep),
        Ordering::Greater => None,
    }
}

/// Compares the wish with the pods there. `creating` pods were asked for and have not shown up yet.
pub fn plan(replicas: i32, pods: &[Pod<'_>], creating: usize, now: Seconds) -> Plan {
    let wanted = usize::try_from(replicas).unwrap_or(0);
    let present = pods.len() + creating;
    if let Some(plan) = plan_by_number(replicas, present) {
        return plan;
    }
    // Pods that are on their way are not known yet, so only known ones can go.
    let surplus = (present - wanted).min(pods.len()).min(BURST);
    if surplus == 0 { Plan::Keep } else { Plan::Delete(least_valuable(pods, surplus, now)) }
}

/// Indices of the `count` pods that Kubernetes would delete first.
fn least_valuable(pods: &[Pod<'_>], count: usize, now: Seconds) -> Vec<usize> {
    let mut per_node: HashMap<&str, usize> = HashMap::new();
    for pod in pods {
        *per_node.entry(pod.node).or_default() += 1;
    }
    let mut order: Vec<usize> = (0..pods.len()).collect();
    if count < order.len() {
        let compare = |a: &usize, b: &usize| by_value(&pods[*a], &pods[*b], &per_node, now);
        order.select_nth_unstable_by(count, compare);
        order.truncate(count);
    }
    order
}

/// Less means: goes first.
fn by_value(a: &Pod<'_>, b: &Pod<'_>, per_node: &HashMap<&str, usize>, now: Seconds) -> Ordering {
    let crowd = |pod: &Pod<'_>| if pod.node.is_empty() { 0 } else { per_node[pod.node] };
    (!a.node.is_empty())
        .cmp(&!b.node.is_empty())
        .then_with(|| a.phase.cmp(&b.phase))
        .then_with(|| a.ready_since.is_some().cmp(&b.ready_since.is_some()))
        .then_with(|| a.deletion_cost.cmp(&b.deletion_cost))
        .then_with(|| crowd(b).cmp(&crowd(a)))
        .then_with(|| magnitude(now, a.ready_since).cmp(&magnitude(now, b.ready_since)))
        .then_with(|| b.restarts.cmp(&a.restarts))
        .then_with(|| magnitude(now, Some(a.created)).cmp(&magnitude(now, Some(b.created))))
        .then_with(|| a.name.cmp(b.name))
}

/// Ages count by powers of two, so that pods of much the same age go in no particular order.
fn magnitude(now: Seconds, since: Option<Seconds>) -> u32 {
    since.map_or(0, |since| u64::try_from(now - since).unwrap_or(0).checked_ilog2().map_or(0, |log| log + 1))
}

/// Counts in a ReplicaSet's `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pods that count.
    pub replicas: i32,
    /// Those with all labels of the template.
    pub fully_labeled: i32,
    /// Ready pods.
    pub ready: i32,
    /// Pods ready for at least `minReadySeconds`.
    pub available: i32,
}

/// Counts pods, and says in how many seconds the next ready one becomes available.
pub fn status(pods: &[Pod<'_>], min_ready_seconds: i32, now: Seconds) -> (Counts, Option<Seconds>) {
    let mut counts = Counts::default();
    let mut wait: Option<Seconds> = None;
    for pod in pods {
        counts.replicas += 1;
        counts.fully_labeled += i32::from(pod.fully_labeled);
        let Some(since) = pod.ready_since else { continue };
        counts.ready += 1;
        let left = since + i64::from(min_ready_seconds) - now;
        if min_ready_seconds == 0 || left <= 0 {
            counts.available += 1;
        } else {
            wait = Some(wait.map_or(left, |wait| wait.min(left)));
        }
    }
    (counts, wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(name: &'static str) -> Pod<'static> {
        Pod { name, node: "n", phase: Phase::Running, ready_since: Some(0), ..Pod::default() }
    }

    #[test]
    fn counts_what_is_on_its_way_before_creating_more() {
        let pods = [running("a")];
        assert_eq!(plan(3, &pods, 0, 0), Plan::Create(2));
        assert_eq!(plan(3, &pods, 2, 0), Plan::Keep);
        assert_eq!(plan(1, &pods, 2, 0), Plan::Delete(vec![0]));
        assert_eq!(plan(0, &[], 2, 0), Plan::Keep);
        assert_eq!(plan(3000, &[], 0, 0), Plan::Create(BURST));
        assert_eq!(plan(-1, &[], 0, 0), Plan::Keep);
    }

    #[test]
    fn least_valuable_goes_first() {
        let now = 1000;
        let steady = running("steady");
        let worse = [
            ("unassigned", Pod { node: "", ..steady }),
            ("pending", Pod { phase: Phase::Pending, ..steady }),
            ("unknown", Pod { phase: Phase::Unknown, ..steady }),
            ("not ready", Pod { ready_since: None, ..steady }),
            ("cheap", Pod { deletion_cost: -1, ..steady }),
            ("ready for less long", Pod { ready_since: Some(900), ..steady }),
            ("restarted", Pod { restarts: 1, ..steady }),
            ("younger", Pod { created: 900, ..steady }),
        ];
        for (what, pod) in worse {
            assert_eq!(plan(1, &[steady, pod], 0, now), Plan::Delete(vec![1]), "{what}");
            assert_eq!(plan(1, &[pod, steady], 0, now), Plan::Delete(vec![0]), "{what}");
        }
    }

    #[test]
    fn crowded_nodes_lose_pods_first() {
        let lonely = Pod { node: "b", ..running("z") };
        let pods = [lonely, running("x"), running("y")];
        assert_eq!(plan(2, &pods, 0, 9), Plan::Delete(vec![1]));
    }

    #[test]
    fn availability_waits_for_min_ready_seconds() {
        let pods =
            [running("a"), Pod { ready_since: Some(95), ..running("b") }, Pod { ready_since: None, ..running("c") }];
        let (counts, wait) = status(&pods, 10, 100);
        assert_eq!(counts, Counts { replicas: 3, fully_labeled: 0, ready: 2, available: 1 });
        assert_eq!(wait, Some(5));
        assert_eq!(status(&pods, 0, 95).0.available, 2);
    }

    proptest::proptest! {
        #[test]
        fn a_pass_moves_towards_the_wish_and_never_past_it(
            wanted in 0i32..40, ready in proptest::collection::vec(proptest::bool::ANY, 0..40), creating in 0usize..10,
        ) {
            let pods: Vec<Pod<'_>> =
                ready.iter().map(|it| Pod { ready_since: it.then_some(0), ..running("p") }).collect();
            let present = pods.len() + creating;
            let after = match plan(wanted, &pods, creating, 100) {
                Plan::Keep => present,
                Plan::Create(count) => present + count,
                Plan::Delete(mut indices) => {
                    let count = indices.len();
                    indices.sort_unstable();
                    indices.dedup();
                    proptest::prop_assert_eq!(indices.len(), count);
                    let worst_kept = (0..pods.len()).filter(|it| !indices.contains(it)).any(|it| pods[it].ready_since.is_none());
                    let best_gone = indices.iter().any(|it| pods[*it].ready_since.is_some());
                    proptest::prop_assert!(!(worst_kept && best_gone));
                    present - count
                }
            };
            let wanted = wanted as usize;
            proptest::prop_assert!(after == wanted || (creating > 0 && after > wanted && after == creating.max(wanted)));
        }
    }
}
