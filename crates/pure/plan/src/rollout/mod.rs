//! What a Deployment does next to its ReplicaSets.
//!
//! Entry points: [`plan`] for the steps and [`status::status`] for the report. Rolling back needs no code here: a
//! template that equals an old ReplicaSet's makes that one the new one again.
//!
//! Deliberately absent: pods. A Deployment only sees the counts its ReplicaSets report.

mod history;
mod rolling;
mod scaling;
pub mod status;
#[cfg(test)]
mod tests;

use crate::{
    Seconds,
    amount::{Amount, fenceposts},
};

/// What the user asked for.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Desired pods.
    pub replicas: i32,
    /// How old pods make room for new ones.
    pub strategy: Strategy,
    /// No new revision is rolled out while set; scaling still works.
    pub paused: bool,
    /// Old ReplicaSets kept for undo.
    pub history_limit: i32,
    /// Seconds without progress after which the rollout counts as stuck; `None` for never.
    pub progress_deadline_seconds: Option<i32>,
    /// `metadata.generation`.
    pub generation: i64,
    /// Being deleted: nothing is done any more, only reported.
    pub deleting: bool,
}

/// How old pods make room for new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// All old pods go before the first new one comes.
    Recreate,
    /// Old and new overlap within bounds.
    RollingUpdate {
        /// Pods allowed above the desired count.
        max_surge: Amount,
        /// Pods that may be missing from the desired count.
        max_unavailable: Amount,
    },
}

/// One ReplicaSet of the Deployment, as last seen.
#[derive(Clone, Debug, Default)]
pub struct ReplicaSet {
    /// Name.
    pub name: String,
    /// When it was created.
    pub created: Seconds,
    /// Its template is the Deployment's present one.
    pub current: bool,
    /// `spec.replicas`.
    pub size: i32,
    /// `status.replicas`.
    pub replicas: i32,
    /// `status.readyReplicas`.
    pub ready: i32,
    /// `status.availableReplicas`.
    pub available: i32,
    /// `status.terminatingReplicas`.
    pub terminating: i32,
    /// Its controller has seen the latest spec.
    pub observed: bool,
    /// Revision from its annotation; 0 when there is none.
    pub revision: i64,
    /// Deployment size when this one was last scaled, from its annotation.
    pub desired: Option<i32>,
    /// Deployment size plus surge at that time, from its annotation.
    pub max: Option<i32>,
    /// Being deleted.
    pub deleting: bool,
    /// Message of its `ReplicaFailure` condition when that is true: reason and message.
    pub failure: Option<(String, String)>,
}

/// One change to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create the ReplicaSet of the present template with this size.
    Create {
        /// Its size.
        size: i32,
    },
    /// Set the size (and the size annotations) of the ReplicaSet at this index.
    Scale {
        /// Index into the given ReplicaSets.
        index: usize,
        /// New size; may be the present one when only annotations are stale.
        size: i32,
    },
    /// Delete the ReplicaSet at this index: history beyond the limit.
    Delete {
        /// Index into the given ReplicaSets.
        index: usize,
    },
}

/// What to do in one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Changes in order.
    pub steps: Vec<Step>,
    /// Revision that the ReplicaSet of the present template has to carry.
    pub revision: i64,
    /// This pass only scales, or the Deployment is paused: progress is not judged.
    pub only_sync: bool,
}

impl Spec {
    /// Pods allowed above the desired count.
    pub fn max_surge(&self) -> i32 {
        match self.strategy {
            Strategy::Recreate => 0,
            Strategy::RollingUpdate { max_surge, max_unavailable } => {
                fenceposts(max_surge, max_unavailable, self.replicas).0
            }
        }
    }

    /// Pods that may be missing from the desired count.
    pub fn max_unavailable(&self) -> i32 {
        match self.strategy {
            Strategy::Recreate => 0,
            Strategy::RollingUpdate { .. } if self.replicas == 0 => 0,
            Strategy::RollingUpdate { max_surge, max_unavailable } => {
                fenceposts(max_surge, max_unavailable, self.replicas).1.min(self.replicas)
            }
        }
    }
}

/// Decides the next steps. `old_pods_run` says whether a pod of an old ReplicaSet still exists that has not finished;
/// only [`Strategy::Recreate`] asks.
pub fn plan(spec: &Spec, sets: &[ReplicaSet], old_pods_run: bool) -> Plan {
    let mut rollout = Rollout::new(spec, sets);
    if spec.deleting {
        return rollout.finish(true);
    }
    let resized = sets.iter().any(|it| it.size > 0 && it.desired.is_some_and(|desired| desired != spec.replicas));
    if spec.paused || resized {
        rollout.scale();
        if spec.paused {
            rollout.trim_history();
        }
        if spec.paused || !rollout.steps.is_empty() {
            return rollout.finish(true);
        }
    }
    match spec.strategy {
        Strategy::Recreate => rollout.recreate(old_pods_run),
        Strategy::RollingUpdate { .. } => rollout.roll(),
    }
    if rollout.steps.is_empty() && rollout.complete() {
        rollout.trim_history();
    }
    rollout.finish(false)
}

/// The pass being planned: the observed sets, their sizes after the steps so far, and those steps.
struct Rollout<'a> {
    spec: &'a Spec,
    sets: &'a [ReplicaSet],
    sizes: Vec<i32>,
    new: Option<usize>,
    steps: Vec<Step>,
}

impl<'a> Rollout<'a> {
    fn new(spec: &'a Spec, sets: &'a [ReplicaSet]) -> Self {
        let sizes = sets.iter().map(|it| it.size).collect();
        Self { spec, sets, sizes, new: current(sets), steps: Vec::new() }
    }

    /// Indices of the old sets, oldest first.
    fn old(&self) -> Vec<usize> {
        let mut old: Vec<usize> = (0..self.sets.len()).filter(|index| Some(*index) != self.new).collect();
        old.sort_by(|a, b| by_age(&self.sets[*a], &self.sets[*b]));
        old
    }

    fn total(&self) -> i32 {
        self.sizes.iter().sum()
    }

    /// Plans a size; nothing happens when it is the present one and the annotations tell it already.
    fn resize(&mut self, index: usize, size: i32) {
        let set = &self.sets[index];
        let wanted = (Some(self.spec.replicas), Some(self.spec.replicas + self.spec.max_surge()));
        if self.sizes[index] != size || (set.desired, set.max) != wanted {
            self.sizes[index] = size;
            self.steps.push(Step::Scale { index, size });
        }
    }

    /// All pods are new and available.
    fn complete(&self) -> bool {
        let sum = |count: fn(&ReplicaSet) -> i32| self.sets.iter().map(count).sum::<i32>();
        self.new.is_some_and(|new| self.sets[new].replicas == self.spec.replicas)
            && sum(|it| it.replicas) == self.spec.replicas
            && sum(|it| it.available) == self.spec.replicas
    }

    fn finish(self, only_sync: bool) -> Plan {
        let newest_old = self.old().iter().map(|index| self.sets[*index].revision).max().unwrap_or(0);
        let present = self.new.map_or(0, |new| self.sets[new].revision);
        Plan { steps: self.steps, revision: present.max(newest_old + 1), only_sync }
    }
}

/// The set of the present template: the oldest, should several have it.
pub fn current(sets: &[ReplicaSet]) -> Option<usize> {
    (0..sets.len()).filter(|index| sets[*index].current).min_by(|a, b| by_age(&sets[*a], &sets[*b]))
}

fn by_age(a: &ReplicaSet, b: &ReplicaSet) -> std::cmp::Ordering {
    a.created.cmp(&b.created).then_with(|| a.name.cmp(&b.name))
}
