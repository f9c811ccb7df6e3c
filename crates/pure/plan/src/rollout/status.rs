//! What a Deployment reports: counts, and the conditions `Available`, `Progressing` and `ReplicaFailure`.

use super::{ReplicaSet, Spec, current};
use crate::{
    Seconds,
    condition::{self, Condition},
};

/// `status` of a Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Generation this status speaks of.
    pub observed_generation: i64,
    /// Pods that exist.
    pub replicas: i32,
    /// Pods of the present template.
    pub updated: i32,
    /// Ready pods.
    pub ready: i32,
    /// Pods ready for at least `minReadySeconds`.
    pub available: i32,
    /// Pods missing for full availability.
    pub unavailable: i32,
    /// How often the name of a new ReplicaSet was taken by a stranger.
    pub collision_count: Option<i32>,
    /// Conditions, in the order they were last set.
    pub conditions: Vec<Condition>,
}

/// Where the ReplicaSet of the present template came from in this pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewSet<'a> {
    /// There is none yet.
    None,
    /// It was there.
    Found(&'a str),
    /// This pass created it.
    Created(&'a str),
}

impl<'a> NewSet<'a> {
    fn name(self) -> Option<&'a str> {
        match self {
            NewSet::None => None,
            NewSet::Found(name) | NewSet::Created(name) => Some(name),
        }
    }
}

const PROGRESSING: &str = "Progressing";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const SUCCEEDED: &str = "NewReplicaSetAvailable";

/// Computes the next status, and in how many seconds to look again for a missed progress deadline.
///
/// `judge` is false while the pass only scaled or the Deployment is paused: progress is then left as it is.
pub fn status(
    spec: &Spec,
    sets: &[ReplicaSet],
    new_set: NewSet<'_>,
    old: &Status,
    judge: bool,
    now: Seconds,
) -> (Status, Option<Seconds>) {
    let mut next = counts(spec, sets, old);
    set_available(spec, &mut next, now);
    if spec.deleting {
        return (next, None);
    }
    if spec.progress_deadline_seconds.is_some() {
        set_paused(spec, &mut next.conditions, now);
        set_origin(new_set, &mut next.conditions, now);
    }
    if judge {
        match spec.progress_deadline_seconds {
            None => condition::remove(&mut next.conditions, PROGRESSING),
            Some(deadline) => set_progress(spec, new_set.name(), old, &mut next, deadline, now),
        }
    }
    set_failure(sets, &mut next.conditions, now);
    let wait = spec.progress_deadline_seconds.filter(|_| judge && !complete(spec, &next)).and_then(|deadline| {
        let progressing = condition::get(&next.conditions, PROGRESSING)?;
        let open = progressing.reason != TIMED_OUT && progressing.reason != SUCCEEDED;
        open.then(|| (progressing.updated + i64::from(deadline) - now + 1).max(1))
    });
    (next, wait)
}

fn counts(spec: &Spec, sets: &[ReplicaSet], old: &Status) -> Status {
    let sum = |count: fn(&ReplicaSet) -> i32| sets.iter().map(count).sum::<i32>();
    let available = sum(|it| it.available);
    Status {
        observed_generation: spec.generation,
        replicas: sum(|it| it.replicas),
        updated: current(sets).map_or(0, |new| sets[new].replicas),
        ready: sum(|it| it.ready),
        available,
        unavailable: (sum(|it| it.size) - available).max(0),
        collision_count: old.collision_count,
        conditions: old.conditions.clone(),
    }
}

fn set_available(spec: &Spec, next: &mut Status, now: Seconds) {
    let new = if next.available >= spec.replicas - spec.max_unavailable() {
        let message = "Deployment has minimum availability.";
        Condition::new("Available", "True", "MinimumReplicasAvailable", message, now)
    } else {
        let message = "Deployment does not have minimum availability.";
        Condition::new("Available", "False", "MinimumReplicasUnavailable", message, now)
    };
    condition::set(&mut next.conditions, new);
}

fn set_paused(spec: &Spec, conditions: &mut Vec<Condition>, now: Seconds) {
    let reason = condition::get(conditions, PROGRESSING).map(|it| it.reason.as_str());
    if reason == Some(TIMED_OUT) {
        return;
    }
    let was_paused = reason == Some("DeploymentPaused");
    if spec.paused && !was_paused {
        let new = Condition::new(PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused", now);
        condition::set(conditions, new);
    } else if !spec.paused && was_paused {
        let new = Condition::new(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed", now);
        condition::set(conditions, new);
    }
}

fn set_origin(new_set: NewSet<'_>, conditions: &mut Vec<Condition>, now: Seconds) {
    let new = match new_set {
        NewSet::Created(name) => Condition::new(
            PROGRESSING,
            "True",
            "NewReplicaSetCreated",
            format!("Created new replica set {name:?}"),
            now,
        ),
        NewSet::Found(name) if condition::get(conditions, PROGRESSING).is_none() => {
            Condition::new(PROGRESSING, "True", "FoundNewReplicaSet", format!("Found new replica set {name:?}"), now)
        }
        NewSet::Found(_) | NewSet::None => return,
    };
    condition::set(conditions, new);
}

fn set_progress(spec: &Spec, name: Option<&str>, old: &Status, next: &mut Status, deadline: i32, now: Seconds) {
    let present = condition::get(&next.conditions, PROGRESSING);
    let done_before = present.is_some_and(|it| it.reason == SUCCEEDED) && next.replicas == next.updated;
    if done_before {
        return;
    }
    let message = |verb: &str| match name {
        Some(name) => format!("ReplicaSet {name:?} {verb}"),
        None => format!("Deployment {verb}"),
    };
    if complete(spec, next) {
        let new = Condition::new(PROGRESSING, "True", SUCCEEDED, message("has successfully progressed."), now);
        condition::set(&mut next.conditions, new);
    } else if moved(old, next) {
        let new = Condition::new(PROGRESSING, "True", "ReplicaSetUpdated", message("is progressing."), now);
        condition::replace(&mut next.conditions, new);
    } else if timed_out(present, deadline, now) {
        let new = Condition::new(PROGRESSING, "False", TIMED_OUT, message("has timed out progressing."), now);
        condition::set(&mut next.conditions, new);
    }
}

fn complete(spec: &Spec, status: &Status) -> bool {
    status.updated == spec.replicas
        && status.replicas == spec.replicas
        && status.available == spec.replicas
        && status.observed_generation >= spec.generation
}

fn moved(old: &Status, next: &Status) -> bool {
    next.updated > old.updated
        || next.replicas - next.updated < old.replicas - old.updated
        || next.ready > old.ready
        || next.available > old.available
}

fn timed_out(progressing: Option<&Condition>, deadline: i32, now: Seconds) -> bool {
    progressing
        .is_some_and(|it| it.reason == TIMED_OUT || (it.reason != SUCCEEDED && it.updated + i64::from(deadline) < now))
}

fn set_failure(sets: &[ReplicaSet], conditions: &mut Vec<Condition>, now: Seconds) {
    let new = current(sets).and_then(|new| sets[new].failure.as_ref());
    match new.or_else(|| sets.iter().find_map(|it| it.failure.as_ref())) {
        Some((reason, message)) => {
            condition::set(conditions, Condition::new("ReplicaFailure", "True", reason, message.clone(), now));
        }
        None => condition::remove(conditions, "ReplicaFailure"),
    }
}
