//! What a DaemonSet does next to its pods, and what it reports.
//!
//! Entry point: [`plan`]; [`belongs`] says which nodes take its pods. First every node gets its pod and surplus ones go;
//! only a pass that finds nothing of that kind to do goes on with an update.

#[cfg(test)]
mod tests;
mod update;

use crate::{
    Seconds,
    amount::Amount,
    schedule::{self, Effect},
    until_available,
};

/// A failed pod is replaced no sooner than this long after it was made, so that one that cannot run causes no storm.
pub const FAILED_PAUSE: Seconds = 5;

/// What the user asked for.
#[derive(Clone, Debug)]
pub struct Spec {
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
    /// A few nodes at a time.
    RollingUpdate {
        /// Nodes that may be without a pod at once.
        max_unavailable: Amount,
        /// Nodes that may have two pods at once.
        max_surge: Amount,
    },
}

/// Whether a node takes pods of the set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// It should have one.
    pub wanted: bool,
    /// One that is there may stay.
    pub tolerated: bool,
}

/// A node, with the pods of the set that are on it or on their way to it.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Whether it takes them.
    pub place: Place,
    /// Indices of its pods.
    pub pods: Vec<usize>,
    /// A pod was asked for and has not shown up yet.
    pub creating: bool,
}

/// How far a pod has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Neither succeeded nor failed.
    #[default]
    Active,
    /// All containers ended well.
    Succeeded,
    /// It failed for good.
    Failed,
}

/// One pod of the set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pod {
    /// Of the present template.
    pub updated: bool,
    /// How far it has come.
    pub phase: Phase,
    /// Since when it is ready; `None` when it is not.
    pub ready_since: Option<Seconds>,
    /// Being deleted.
    pub deleting: bool,
    /// When it was created.
    pub created: Seconds,
}

/// Why a pod goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It failed, and is made anew.
    Failed,
    /// It ended, and is made anew.
    Succeeded,
    /// The node has another one, or does not want any.
    Surplus,
    /// It is of an old template.
    Outdated,
}

/// What to do in one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Nodes that get a pod, by index.
    pub create: Vec<usize>,
    /// Pods to delete, by index.
    pub delete: Vec<(usize, Why)>,
    /// The status to write.
    pub status: Status,
    /// Seconds after which to look again.
    pub wait: Option<Seconds>,
}

/// `status` of a DaemonSet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Generation this status speaks of.
    pub observed_generation: i64,
    /// Nodes that should have a pod.
    pub desired: i32,
    /// Nodes that should have one and do.
    pub current: i32,
    /// Nodes that have one and should not.
    pub misscheduled: i32,
    /// Nodes whose pod is ready.
    pub ready: i32,
    /// Nodes whose pod is of the present template.
    pub updated: i32,
    /// Nodes whose pod has been ready for `minReadySeconds`.
    pub available: i32,
    /// Nodes that should have an available pod and do not.
    pub unavailable: i32,
    /// How often the name of a new revision was taken by a stranger.
    pub collision_count: Option<i32>,
}

/// Whether `node` takes a pod like this one. How full the node is does not matter: the scheduler sees to that.
pub fn belongs(pod: &schedule::Pod, node: &schedule::Node) -> Place {
    if !schedule::chooses(pod, node) {
        return Place::default();
    }
    let repelled = |it: &&schedule::Taint| !schedule::tolerates(&pod.tolerations, it);
    let hard = |it: &&schedule::Taint| it.effect != Effect::PreferNoSchedule;
    let mut taints = node.taints.iter().filter(hard).filter(repelled).peekable();
    Place { wanted: taints.peek().is_none(), tolerated: !taints.any(|it| it.effect == Effect::NoExecute) }
}

/// Decides one pass.
pub fn plan(spec: &Spec, nodes: &[Node], pods: &[Pod], collisions: Option<i32>, now: Seconds) -> Plan {
    let mut pass = Pass { spec, nodes, pods, now, plan: Plan::default() };
    if !spec.deleting {
        pass.populate();
        if pass.plan.create.is_empty() && pass.plan.delete.is_empty() && nodes.iter().all(|it| !it.creating) {
            pass.update();
        }
    }
    pass.report(collisions);
    pass.plan
}

struct Pass<'a> {
    spec: &'a Spec,
    nodes: &'a [Node],
    pods: &'a [Pod],
    now: Seconds,
    plan: Plan,
}

impl Pass<'_> {
    fn available(&self, pod: &Pod) -> bool {
        pod.phase == Phase::Active && pod.ready_since.is_some() && self.left(pod).is_none()
    }

    /// Seconds until a ready pod is available; `None` when it is, or is not ready.
    fn left(&self, pod: &Pod) -> Option<Seconds> {
        until_available(pod.ready_since?, self.spec.min_ready_seconds, self.now)
    }

    fn look_again(&mut self, left: Seconds) {
        self.plan.wait = Some(self.plan.wait.map_or(left, |it| it.min(left)));
    }

    /// The largest number of surge pods; 0 unless updates surge.
    fn surge(&self) -> i32 {
        match self.spec.strategy {
            Strategy::RollingUpdate { max_surge, .. } => max_surge.of(self.desired(), crate::amount::Rounding::Up),
            Strategy::OnDelete => 0,
        }
    }

    fn desired(&self) -> i32 {
        count(self.nodes.iter().filter(|it| it.place.wanted))
    }

    /// Gives every node its pod, and takes away what should not be there.
    fn populate(&mut self) {
        let surges = self.surge() > 0;
        for (at, node) in self.nodes.iter().enumerate() {
            if node.place.wanted && node.pods.is_empty() && !node.creating {
                self.plan.create.push(at);
            }
            let staying: Vec<usize> = node.pods.iter().copied().filter(|it| !self.pods[*it].deleting).collect();
            if !node.place.tolerated {
                self.plan.delete.extend(staying.into_iter().map(|it| (it, Why::Surplus)));
                continue;
            }
            let active = self.drop_ended(&staying);
            if surges {
                self.thin_out_surge(&active);
            } else {
                let mut rest = active;
                rest.sort_by_key(|it| self.by_worth(*it));
                self.plan.delete.extend(rest.into_iter().skip(1).map(|it| (it, Why::Surplus)));
            }
        }
    }

    /// Ended pods go; the others are returned.
    fn drop_ended(&mut self, pods: &[usize]) -> Vec<usize> {
        let mut active = Vec::with_capacity(pods.len());
        for &at in pods {
            let pod = &self.pods[at];
            match pod.phase {
                Phase::Active => active.push(at),
                Phase::Succeeded => self.plan.delete.push((at, Why::Succeeded)),
                Phase::Failed => match pod.created + FAILED_PAUSE - self.now {
                    left if left > 0 => self.look_again(left),
                    _ => self.plan.delete.push((at, Why::Failed)),
                },
            }
        }
        active
    }

    /// Which of several pods of a node stays: a ready one, then the oldest.
    fn by_worth(&self, at: usize) -> (bool, Seconds, usize) {
        let pod = &self.pods[at];
        (pod.ready_since.is_none(), pod.created, at)
    }

    /// While an update surges, a node keeps one pod of the present template and one of an old.
    fn thin_out_surge(&mut self, active: &[usize]) {
        let (mut new, mut old): (Vec<usize>, Vec<usize>) = active.iter().partition(|at| self.pods[**at].updated);
        new.sort_by_key(|it| self.by_worth(*it));
        old.sort_by_key(|it| self.by_worth(*it));
        let surplus = new.iter().skip(1).chain(old.iter().skip(1));
        self.plan.delete.extend(surplus.map(|it| (*it, Why::Surplus)));
        let (Some(new), Some(old)) = (new.first(), old.first()) else { return };
        if self.pods[*old].ready_since.is_none() || self.available(&self.pods[*new]) {
            self.plan.delete.push((*old, Why::Outdated));
        }
    }

    fn report(&mut self, collisions: Option<i32>) {
        let mut status = Status {
            observed_generation: self.spec.generation,
            desired: self.desired(),
            collision_count: collisions,
            ..Status::default()
        };
        let mut next: Option<Seconds> = None;
        for node in self.nodes {
            let has = !node.pods.is_empty();
            if !node.place.wanted {
                status.misscheduled += i32::from(has);
                continue;
            }
            status.current += i32::from(has);
            let pods = || node.pods.iter().map(|it| &self.pods[*it]);
            // Where an update surges, either pod serves.
            let serving = pods().filter(|it| it.phase == Phase::Active && it.ready_since.is_some());
            status.ready += i32::from(serving.clone().next().is_some());
            status.available += i32::from(pods().any(|it| self.available(it)));
            status.updated += i32::from(pods().any(|it| it.updated && !it.deleting));
            next = next.into_iter().chain(serving.filter_map(|it| self.left(it))).min();
        }
        status.unavailable = (status.desired - status.available).max(0);
        self.plan.status = status;
        if let Some(left) = next {
            self.look_again(left);
        }
    }
}

fn count<T>(all: impl Iterator<Item = T>) -> i32 {
    i32::try_from(all.count()).unwrap_or(i32::MAX)
}
