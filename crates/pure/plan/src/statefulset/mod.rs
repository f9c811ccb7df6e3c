//! What a StatefulSet does next to its pods, and what it reports.
//!
//! Entry point: [`plan`]. One pass goes as far as the order of the pods allows: what it must wait for ends it.
//!
//! Deliberately absent: volume claims; the executor makes them before it makes a pod.

mod status;
#[cfg(test)]
mod tests;

use crate::{
    Seconds,
    amount::{Amount, Rounding},
    until_available,
};
pub use status::Status;

/// What the user asked for.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Pods wanted.
    pub replicas: i32,
    /// Ordinal of the first one (`ordinals.start`).
    pub start: i32,
    /// All pods at once (`Parallel`), or one after the other (`OrderedReady`).
    pub parallel: bool,
    /// How pods of an old template are replaced.
    pub strategy: Strategy,
    /// Seconds a pod has to be ready before it counts as available.
    pub min_ready_seconds: i32,
    /// Generation of this wish.
    pub generation: i64,
    /// The set itself is being deleted.
    pub deleting: bool,
}

/// How pods of an old template are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// When the user deletes them.
    OnDelete,
    /// From the last to the first.
    RollingUpdate {
        /// The first so many pods stay as they are.
        partition: i32,
        /// Pods that may be away at once; `None` for one.
        max_unavailable: Option<Amount>,
    },
}

/// How far a pod has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not started.
    #[default]
    Pending,
    /// Started.
    Running,
    /// Ended for good, well or badly.
    Ended,
}

/// One pod of the set.
#[derive(Clone, Debug, Default)]
pub struct Pod {
    /// The number in its name.
    pub ordinal: i32,
    /// Name of its revision.
    pub revision: String,
    /// How far it has come.
    pub phase: Phase,
    /// Since when it is ready; `None` when it is not.
    pub ready_since: Option<Seconds>,
    /// Being deleted.
    pub deleting: bool,
}

/// Names of the revisions in play.
#[derive(Clone, Copy, Debug)]
pub struct Revisions<'a> {
    /// The one that pods had before the update under way.
    pub current: &'a str,
    /// The present template's.
    pub update: &'a str,
}

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create the pod of this ordinal.
    Create {
        /// Number of the pod.
        ordinal: i32,
        /// From the present template, or else from the one before.
        updated: bool,
    },
    /// Delete the pod at this index, to have it made anew.
    Replace(usize),
    /// Delete the pod at this index, for good.
    Remove(usize),
}

/// What to do in one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Changes, in this order.
    pub steps: Vec<Step>,
    /// The status to write.
    pub status: Status,
    /// Seconds after which a ready pod becomes available.
    pub wait: Option<Seconds>,
}

/// Decides one pass. Pods in `creating` (by ordinal) were asked for and have not shown up yet.
pub fn plan(spec: &Spec, revisions: Revisions<'_>, old: &Status, pods: &[Pod], creating: &[i32], now: Seconds) -> Plan {
    let mut pass = Pass { spec, revisions, old, pods, creating, now, steps: Vec::new() };
    if !spec.deleting {
        // Each stage goes on only when the one before has nothing to wait for.
        let _ = pass.fill() && pass.shrink() && pass.update();
    }
    let steps = std::mem::take(&mut pass.steps);
    Plan { status: pass.status(&steps), wait: pass.wait(), steps }
}

struct Pass<'a> {
    spec: &'a Spec,
    revisions: Revisions<'a>,
    old: &'a Status,
    pods: &'a [Pod],
    creating: &'a [i32],
    now: Seconds,
    steps: Vec<Step>,
}

impl Pass<'_> {
    /// Ordinals that should exist.
    fn wanted(&self) -> std::ops::Range<i32> {
        self.spec.start..self.spec.start.saturating_add(self.spec.replicas)
    }

    fn at(&self, ordinal: i32) -> Option<usize> {
        self.pods.iter().position(|it| it.ordinal == ordinal)
    }

    fn ready(&self, pod: &Pod) -> bool {
        pod.phase == Phase::Running && pod.ready_since.is_some()
    }

    fn available(&self, pod: &Pod) -> bool {
        self.ready(pod) && self.left(pod).is_none()
    }

    /// Seconds until a ready pod is available; `None` when it is, or is not ready.
    fn left(&self, pod: &Pod) -> Option<Seconds> {
        let since = pod.ready_since.filter(|_| pod.phase == Phase::Running)?;
        until_available(since, self.spec.min_ready_seconds, self.now)
    }

    fn healthy(&self, pod: &Pod) -> bool {
        self.available(pod) && !pod.deleting
    }

    /// Creates what is missing, from the first to the last. False when the order says to wait.
    fn fill(&mut self) -> bool {
        for ordinal in self.wanted() {
            let Some(at) = self.at(ordinal) else {
                if !self.creating.contains(&ordinal) {
                    self.steps.push(Step::Create { ordinal, updated: self.wants_update(ordinal) });
                }
                if self.spec.parallel {
                    continue;
                }
                return false;
            };
            let pod = &self.pods[at];
            if pod.phase == Phase::Ended && !pod.deleting {
                self.steps.push(Step::Replace(at));
                if !self.spec.parallel {
                    return false;
                }
            } else if !self.spec.parallel && !self.healthy(pod) {
                return false;
            }
        }
        true
    }

    /// A missing pod below the partition comes back as it was.
    fn wants_update(&self, ordinal: i32) -> bool {
        match self.spec.strategy {
            Strategy::RollingUpdate { partition, .. } if self.revisions.current != self.revisions.update => {
                ordinal >= self.spec.start.saturating_add(partition)
            }
            _ => true,
        }
    }

    /// Removes surplus pods, from the last to the first. False when the order says to wait.
    fn shrink(&mut self) -> bool {
        let wanted = self.wanted();
        let mut surplus: Vec<usize> =
            (0..self.pods.len()).filter(|at| !wanted.contains(&self.pods[*at].ordinal)).collect();
        surplus.sort_by_key(|at| std::cmp::Reverse(self.pods[*at].ordinal));
        // The first pod in bad health may go: nobody would wait for it to recover.
        let first_bad = surplus.iter().rev().copied().find(|at| !self.healthy(&self.pods[*at]));
        for at in surplus {
            let pod = &self.pods[at];
            if self.spec.parallel {
                if !pod.deleting {
                    self.steps.push(Step::Remove(at));
                }
                continue;
            }
            let waits = pod.deleting || (!self.available(pod) && first_bad != Some(at));
            if !waits {
                self.steps.push(Step::Remove(at));
            }
            return false;
        }
        true
    }

    /// Replaces pods of old templates, from the last to the first.
    fn update(&mut self) -> bool {
        let Strategy::RollingUpdate { partition, max_unavailable } = self.spec.strategy else { return true };
        let lowest = self.spec.start.saturating_add(partition);
        let targets: Vec<usize> = self.wanted().rev().filter_map(|it| self.at(it)).collect();
        let away = max_unavailable.map_or(1, |it| it.of(self.spec.replicas, Rounding::Down).max(1));
        let stale = |pod: &Pod| pod.revision != self.revisions.update && !pod.deleting;
        if away == 1 {
            for at in targets.into_iter().filter(|at| self.pods[*at].ordinal >= lowest) {
                let pod = &self.pods[at];
                if stale(pod) {
                    self.steps.push(Step::Replace(at));
                    return false;
                }
                if !self.healthy(pod) {
                    return false;
                }
            }
            return true;
        }
        let missing = self.wanted().count() - targets.len();
        let bad = missing + targets.iter().filter(|at| !self.healthy(&self.pods[**at])).count();
        let room = usize::try_from(away).unwrap_or(0).saturating_sub(bad);
        let next: Vec<usize> = targets
            .into_iter()
            .filter(|at| self.pods[*at].ordinal >= lowest && stale(&self.pods[*at]))
            .take(room)
            .collect();
        self.steps.extend(next.into_iter().map(Step::Replace));
        false
    }

    fn wait(&self) -> Option<Seconds> {
        self.pods.iter().filter_map(|it| self.left(it)).min()
    }
}

/// Name of the pod of this number.
pub fn name(set: &str, ordinal: i32) -> String {
    format!("{set}-{ordinal}")
}
