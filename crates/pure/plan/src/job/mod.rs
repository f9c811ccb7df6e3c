//! What a Job does next to its pods, and what it reports.
//!
//! Entry points: [`plan`], and [`expires_in`] once it is over.
//!
//! A pod that ended is counted exactly once, even if the controller dies in between: its identity is first written to
//! `status.uncountedTerminatedPods`, then its finalizer is removed, then it moves into the count.
//!
pub mod indexes;
pub mod policy;
mod retries;
#[cfg(test)]
mod tests;

use crate::{
    Seconds,
    condition::{self, Condition},
    replicaset::BURST,
};
use indexes::Indexes;
use policy::{Criterion, Exit, Judgement, Rule};

/// What the user asked for.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Pods that may run at once.
    pub parallelism: i32,
    /// Pods that must succeed; `None` when one success ends the work for all.
    pub completions: Option<i32>,
    /// Failures after which the Job gives up.
    pub backoff_limit: i32,
    /// Seconds from start after which it gives up.
    pub active_deadline_seconds: Option<i64>,
    /// No pod may run.
    pub suspend: bool,
    /// Each pod has its own index below `completions`.
    pub indexed: bool,
    /// Pods restart their containers themselves (`restartPolicy: OnFailure`).
    pub restarts_in_place: bool,
    /// A pod is replaced only when it has ended, not already when its deletion began.
    pub await_terminating: bool,
    /// Seconds from the end after which the Job itself goes.
    pub ttl_seconds: Option<i64>,
    /// Failures of one index after which that index is given up, in an indexed Job.
    pub backoff_limit_per_index: Option<i32>,
    /// Indexes that may be given up before the Job fails at once.
    pub max_failed_indexes: Option<i32>,
    /// `podFailurePolicy`.
    pub failure_policy: Vec<Rule>,
    /// `successPolicy`, in an indexed Job.
    pub success_policy: Vec<Criterion>,
}

/// How a pod stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Neither succeeded nor failed.
    #[default]
    Active,
    /// All containers ended well.
    Succeeded,
    /// A container ended badly for good.
    Failed,
}

/// One pod of the Job.
#[derive(Clone, Debug, Default)]
pub struct Pod {
    /// Identity.
    pub uid: String,
    /// Namespace and name, for people.
    pub name: String,
    /// How it stands.
    pub phase: Phase,
    /// Its `Ready` condition is true.
    pub ready: bool,
    /// Being deleted.
    pub deleting: bool,
    /// Still carries the finalizer that keeps it until it is counted.
    pub tracked: bool,
    /// When it ended, if known.
    pub finished: Option<Seconds>,
    /// Restarts of its containers.
    pub restarts: i32,
    /// Its completion index, in an indexed Job.
    pub index: Option<i32>,
    /// How its containers ended, when it failed.
    pub exits: Vec<Exit>,
    /// Types and statuses of its conditions, when it failed.
    pub conditions: Vec<(String, String)>,
    /// Counted failures of its index before it.
    pub failures: i32,
    /// Failures of its index before it that did not count.
    pub ignored: i32,
}

/// A pod to create.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Create {
    /// Its completion index, in an indexed Job.
    pub index: Option<i32>,
    /// Counted failures of its index so far.
    pub failures: i32,
    /// Failures of its index so far that did not count.
    pub ignored: i32,
}

/// `status` of a Job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// When it started, or was resumed.
    pub started: Option<Seconds>,
    /// When it completed.
    pub completed: Option<Seconds>,
    /// Running or pending pods.
    pub active: i32,
    /// Ready ones of those.
    pub ready: i32,
    /// Pods on their way out.
    pub terminating: i32,
    /// Counted successes.
    pub succeeded: i32,
    /// Counted failures.
    pub failed: i32,
    /// Successes noted, their finalizers not known to be gone.
    pub uncounted_succeeded: Vec<String>,
    /// Failures noted, their finalizers not known to be gone.
    pub uncounted_failed: Vec<String>,
    /// Completed indexes of an indexed Job.
    pub completed_indexes: Indexes,
    /// Indexes that were given up.
    pub failed_indexes: Indexes,
    /// Conditions.
    pub conditions: Vec<Condition>,
}

/// What to do in one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The status to write.
    pub status: Status,
    /// Pods to take the finalizer off, by index.
    pub untrack: Vec<usize>,
    /// Pods to delete, by index; any finalizer comes off first, and they count as nothing.
    pub delete: Vec<usize>,
    /// Pods to create.
    pub create: Vec<Create>,
    /// Seconds after which to look again.
    pub wait: Option<Seconds>,
}

const BACKOFF_BASE_SECONDS: Seconds = 10;
const BACKOFF_MAX_SECONDS: Seconds = 600;

/// True once the Job is `Complete` or `Failed`.
pub fn is_over(conditions: &[Condition]) -> bool {
    condition::is_true(conditions, "Complete") || condition::is_true(conditions, "Failed")
}

/// Seconds until a finished Job is to be deleted; 0 or less when that is due, `None` when it stays.
pub fn expires_in(spec: &Spec, status: &Status, now: Seconds) -> Option<Seconds> {
    let end = ["Complete", "Failed"].iter().find_map(|kind| {
        condition::get(&status.conditions, kind).filter(|it| it.status == "True").map(|it| it.transitioned)
    })?;
    Some(end + spec.ttl_seconds? - now)
}

/// Decides one pass. `creating` are the pods asked for that have not shown up yet.
pub fn plan(spec: &Spec, old: &Status, pods: &[Pod], creating: &[Option<i32>], now: Seconds) -> Plan {
    let mut pass = Pass { spec, old, pods, creating, now, plan: Plan { status: old.clone(), ..Plan::default() } };
    if is_over(&old.conditions) {
        pass.plan.untrack = (0..pods.len()).filter(|at| pods[*at].tracked && pass.ended(*at)).collect();
        pass.plan.wait = expires_in(spec, old, now).map(|it| it.max(0));
        return pass.plan;
    }
    pass.start();
    pass.fail_indexes();
    pass.count();
    match pass.verdict() {
        Some(verdict) => pass.wind_down(verdict),
        None if spec.suspend => pass.suspend(),
        None => pass.run(),
    }
    pass.report();
    pass.plan
}

/// How a Job ends.
struct Verdict {
    /// Announces the end while pods are still going.
    interim: &'static str,
    /// Seals it.
    last: &'static str,
    reason: String,
    message: String,
}

struct Pass<'a> {
    spec: &'a Spec,
    old: &'a Status,
    pods: &'a [Pod],
    creating: &'a [Option<i32>],
    now: Seconds,
    plan: Plan,
}

impl Pass<'_> {
    fn start(&mut self) {
        let status = &mut self.plan.status;
        let suspended = condition::is_true(&status.conditions, "Suspended");
        if self.spec.suspend {
            let new = Condition::new("Suspended", "True", "JobSuspended", "Job suspended", self.now);
            condition::set(&mut status.conditions, new);
        } else if suspended {
            let new = Condition::new("Suspended", "False", "JobResumed", "Job resumed", self.now);
            condition::set(&mut status.conditions, new);
            status.started = Some(self.now);
        } else if status.started.is_none() {
            status.started = Some(self.now);
        }
    }

    /// Moves pods through: ended, noted in the status, finalizer gone, counted.
    fn count(&mut self) {
        let tracked = |uid: &String| self.pods.iter().any(|it| it.uid == *uid && it.tracked);
        let status = &mut self.plan.status;
        let before = status.uncounted_succeeded.len() + status.uncounted_failed.len();
        status.uncounted_succeeded.retain(tracked);
        let left = status.uncounted_succeeded.len();
        let gone = self.old.uncounted_succeeded.len() - left;
        status.uncounted_failed.retain(tracked);
        status.succeeded += i32::try_from(gone).unwrap_or(i32::MAX);
        status.failed += i32::try_from(before - gone - left - status.uncounted_failed.len()).unwrap_or(i32::MAX);
        let counts = |at: &usize| {
            let pod = &self.pods[*at];
            pod.tracked && self.ended(*at) && !self.held(pod)
        };
        for at in (0..self.pods.len()).filter(counts).collect::<Vec<_>>() {
            self.note(at);
        }
        if self.spec.indexed {
            self.plan.status.succeeded = self.plan.status.completed_indexes.len();
        }
    }

    /// A pod that was sent away before it succeeded has failed, whatever it still says.
    fn ended(&self, at: usize) -> bool {
        self.pods[at].phase != Phase::Active || (self.pods[at].deleting && !self.spec.await_terminating)
    }

    fn note(&mut self, at: usize) {
        if self.pods[at].phase == Phase::Failed && self.judge(&self.pods[at]) == Judgement::Ignore {
            self.plan.untrack.push(at);
            return;
        }
        let (pod, status) = (&self.pods[at], &mut self.plan.status);
        let (noted, list) = match (pod.phase, pod.index) {
            (Phase::Succeeded, Some(index)) if self.spec.indexed => {
                if self.old.completed_indexes.contains(index) {
                    self.plan.untrack.push(at);
                } else if (0..self.spec.completions.unwrap_or(0)).contains(&index) {
                    status.completed_indexes.insert(index);
                } else {
                    self.plan.untrack.push(at);
                }
                return;
            }
            (Phase::Succeeded, _) => (&self.old.uncounted_succeeded, &mut status.uncounted_succeeded),
            _ => (&self.old.uncounted_failed, &mut status.uncounted_failed),
        };
        if noted.contains(&pod.uid) {
            self.plan.untrack.push(at);
        } else if noted.len() + list.len() < 2 * BURST {
            list.push(pod.uid.clone());
        }
    }

    fn judge(&self, pod: &Pod) -> Judgement {
        policy::judge(&self.spec.failure_policy, pod)
    }

    /// The end is announced, and only pods are waited for.
    fn ending(&self) -> bool {
        ["FailureTarget", "SuccessCriteriaMet"].iter().any(|it| condition::is_true(&self.old.conditions, it))
    }

    fn succeeded(&self) -> i32 {
        let status = &self.plan.status;
        status.succeeded + i32::try_from(status.uncounted_succeeded.len()).unwrap_or(i32::MAX)
    }

    fn failed(&self) -> i32 {
        let status = &self.plan.status;
        status.failed + i32::try_from(status.uncounted_failed.len()).unwrap_or(i32::MAX)
    }

    /// Pods that run or will.
    fn active(&self) -> Vec<usize> {
        (0..self.pods.len()).filter(|at| self.pods[*at].phase == Phase::Active && !self.pods[*at].deleting).collect()
    }

    fn verdict(&self) -> Option<Verdict> {
        let failure = |reason: &str, message: &str| {
            Some(Verdict { interim: "FailureTarget", last: "Failed", reason: reason.into(), message: message.into() })
        };
        let conditions = &self.plan.status.conditions;
        for (interim, last) in [("FailureTarget", "Failed"), ("SuccessCriteriaMet", "Complete")] {
            if let Some(it) = condition::get(conditions, interim).filter(|it| it.status == "True") {
                return Some(Verdict { interim, last, reason: it.reason.clone(), message: it.message.clone() });
            }
        }
        let failed = self.pods.iter().filter(|it| it.phase == Phase::Failed);
        if let Some(Judgement::FailJob(message)) =
            failed.map(|it| self.judge(it)).find(|it| matches!(it, Judgement::FailJob(_)))
        {
            return failure("PodFailurePolicy", &message);
        }
        if self.out_of_retries() {
            return failure("BackoffLimitExceeded", "Job has reached the specified backoff limit");
        }
        if self.deadline_left().is_some_and(|it| it <= 0) {
            return failure("DeadlineExceeded", "Job was active longer than specified deadline");
        }
        let status = &self.plan.status;
        let (given_up, completed) = (status.failed_indexes.len(), status.completed_indexes.len());
        if self.spec.max_failed_indexes.is_some_and(|it| given_up > it) {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            return failure("MaxFailedIndexesExceeded", message);
        }
        if let Some(rule) = policy::met(&self.spec.success_policy, &status.completed_indexes) {
            return Some(Verdict {
                interim: "SuccessCriteriaMet",
                last: "Complete",
                reason: "SuccessPolicy".into(),
                message: format!("Matched rules at index {rule}"),
            });
        }
        if given_up > 0 && self.spec.completions.is_some_and(|it| given_up + completed >= it) {
            return failure("FailedIndexes", "Job has failed indexes");
        }
        let done = match self.spec.completions {
            Some(completions) => self.succeeded() >= completions,
            None => self.succeeded() > 0 && self.active().is_empty() && self.creating.is_empty(),
        };
        done.then(|| Verdict {
            interim: "SuccessCriteriaMet",
            last: "Complete",
            reason: "CompletionsReached".into(),
            message: "Reached expected number of succeeded pods".into(),
        })
    }

    fn out_of_retries(&self) -> bool {
        if self.failed() > self.spec.backoff_limit {
            return true;
        }
        if !self.spec.restarts_in_place {
            return false;
        }
        let restarts: i32 = self.active().iter().map(|at| self.pods[*at].restarts).sum();
        restarts > 0 && restarts >= self.spec.backoff_limit
    }

    /// Seconds left until the deadline.
    fn deadline_left(&self) -> Option<Seconds> {
        let deadline = self.spec.active_deadline_seconds.filter(|_| !self.spec.suspend)?;
        Some(self.plan.status.started? + deadline - self.now)
    }

    /// Ends what still runs; the last word comes when every pod is gone or counted.
    fn wind_down(&mut self, verdict: Verdict) {
        let Verdict { interim, last, reason, message } = verdict;
        let new = Condition::new(interim, "True", &reason, message.clone(), self.now);
        condition::set(&mut self.plan.status.conditions, new);
        self.plan.delete = self.active();
        let running = self.pods.iter().any(|it| it.phase == Phase::Active) || !self.creating.is_empty();
        let status = &mut self.plan.status;
        let settled = status.uncounted_failed.is_empty()
            && status.uncounted_succeeded.is_empty()
            && !self.pods.iter().any(|it| it.tracked && it.phase != Phase::Active);
        if running || !settled {
            return;
        }
        condition::set(&mut status.conditions, Condition::new(last, "True", &reason, message, self.now));
        if last == "Complete" {
            status.completed = Some(self.now);
        }
        self.plan.wait = expires_in(self.spec, &self.plan.status, self.now).map(|it| it.max(0));
    }

    fn suspend(&mut self) {
        self.plan.delete = self.active();
    }

    /// Brings the number of pods to what parallelism and completions want.
    fn run(&mut self) {
        self.plan.wait = self.deadline_left();
        let mut active = self.active();
        let going = self.pods.iter().filter(|it| it.phase == Phase::Active && it.deleting).count();
        let present = active.len() + self.creating.len() + if self.spec.await_terminating { going } else { 0 };
        let wanted = match self.spec.completions {
            None if self.succeeded() > 0 => self.spec.parallelism.min(i32::try_from(present).unwrap_or(i32::MAX)),
            None => self.spec.parallelism,
            Some(completions) => {
                let over = self.succeeded() + self.plan.status.failed_indexes.len();
                self.spec.parallelism.min(completions - over)
            }
        };
        let wanted = usize::try_from(wanted).unwrap_or(0);
        if present > wanted {
            // The least far goes first.
            active.sort_by_key(|at| self.pods[*at].ready);
            active.truncate(present - wanted);
            self.plan.delete = active;
        } else if present < wanted && self.spec.backoff_limit_per_index.is_some() {
            self.create_indexes((wanted - present).min(BURST));
        } else if present < wanted {
            match self.backoff_left() {
                Some(left) => self.plan.wait = Some(self.plan.wait.map_or(left, |it| it.min(left))),
                None => self.create((wanted - present).min(BURST)),
            }
        }
    }

    fn create(&mut self, count: usize) {
        if !self.spec.indexed {
            self.plan.create = vec![Create::default(); count];
            return;
        }
        let free = self.free_indexes();
        self.plan.create =
            free.into_iter().take(count).map(|it| Create { index: Some(it), ..Create::default() }).collect();
    }

    /// Indexes that are neither over nor have a pod, from the lowest.
    fn free_indexes(&self) -> Vec<i32> {
        let taken: Vec<i32> = self
            .pods
            .iter()
            .filter(|it| it.phase == Phase::Active && (!it.deleting || self.spec.await_terminating))
            .filter_map(|it| it.index)
            .chain(self.creating.iter().flatten().copied())
            .collect();
        let over =
            |it: i32| self.plan.status.completed_indexes.contains(it) || self.plan.status.failed_indexes.contains(it);
        (0..self.spec.completions.unwrap_or(0)).filter(|it| !over(*it) && !taken.contains(it)).collect()
    }

    /// Seconds until failed pods may be replaced: doubling with each failure since the last success.
    fn backoff_left(&self) -> Option<Seconds> {
        let ends = |phase: Phase| self.pods.iter().filter(move |it| it.phase == phase).filter_map(|it| it.finished);
        let last_success = ends(Phase::Succeeded).max().unwrap_or(Seconds::MIN);
        let failures: Vec<Seconds> = ends(Phase::Failed).filter(|it| *it > last_success).collect();
        let last = failures.iter().max()?;
        let doublings = u32::try_from(failures.len() - 1).unwrap_or(u32::MAX).min(10);
        let delay = (BACKOFF_BASE_SECONDS << doublings).min(BACKOFF_MAX_SECONDS);
        Some(last + delay - self.now).filter(|it| *it > 0)
    }

    fn report(&mut self) {
        let leaving = &self.plan.delete;
        let staying = self.active().into_iter().filter(|at| !leaving.contains(at));
        let (mut active, mut ready) = (0, 0);
        for at in staying {
            active += 1;
            ready += i32::from(self.pods[at].ready);
        }
        let on_the_way = self.creating.len() + self.plan.create.len();
        let going = self.pods.iter().filter(|it| it.phase == Phase::Active && it.deleting).count() + leaving.len();
        let status = &mut self.plan.status;
        status.active = active + i32::try_from(on_the_way).unwrap_or(i32::MAX);
        status.ready = ready;
        status.terminating = i32::try_from(going).unwrap_or(i32::MAX);
    }
}
