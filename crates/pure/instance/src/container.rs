//! One container: waiting, running, terminated, and when to start it again.

use std::{fmt, time::Duration};

use crate::{Moment, Schedule};

/// Whether a container that ended starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// After any exit.
    Always,
    /// After an exit code other than zero.
    OnFailure,
    /// Not at all.
    Never,
}

impl RestartPolicy {
    /// Whether a container that left with `code` starts again.
    pub fn restarts(self, code: i32) -> bool {
        match self {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => code != 0,
            RestartPolicy::Never => false,
        }
    }
}

/// What a container lives by. Shared by all its states, and so not kept in any.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What follows an exit.
    pub policy: RestartPolicy,
    /// How long restarts and retries wait.
    pub schedule: Schedule,
}

/// Why a container does not run yet. Displayed as Kubernetes spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingReason {
    /// An init container comes first.
    PodInitializing,
    /// Its start is under way.
    ContainerCreating,
    /// The image could not be pulled.
    ErrImagePull,
    /// The image could not be pulled more than once.
    ImagePullBackOff,
    /// The image reference is malformed.
    InvalidImageName,
    /// The image is absent and may not be pulled.
    ErrImageNeverPull,
    /// The registry did not answer.
    RegistryUnavailable,
    /// A ConfigMap, Secret or other reference cannot be resolved.
    CreateContainerConfigError,
    /// What the container needs on the host could not be made.
    CreateContainerError,
    /// The guest could not be started.
    RunContainerError,
    /// It ended again and again.
    CrashLoopBackOff,
    /// The pod asks for something this node does not offer; waiting will not help.
    UnsupportedField,
}

impl fmt::Display for WaitingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// How a guest left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitKind {
    /// By itself; the exit code tells whether well.
    Exited,
    /// It passed its memory limit.
    OutOfMemory,
    /// It was gone when the node came back.
    Lost,
}

/// A state that lasts until something happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not started, or between two runs.
    Waiting(Waiting),
    /// Started and not yet ended.
    Running {
        /// When it started.
        started: Moment,
    },
    /// Ended for good.
    Terminated(Box<Terminated>),
}

/// Why, and until when, a container waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Shown in the STATUS column.
    pub reason: WaitingReason,
    /// For people.
    pub message: Box<str>,
    /// When to try again; `None` when only an event helps.
    pub until: Option<Moment>,
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminated {
    /// Exit code; 137 when killed.
    pub code: i32,
    /// How it left.
    pub kind: ExitKind,
    /// For people; empty when there is nothing to say.
    pub message: Box<str>,
    /// When the run began.
    pub started: Moment,
    /// When it ended.
    pub finished: Moment,
}

impl Terminated {
    /// The reason Kubernetes gives: Completed, Error, OOMKilled or Unknown.
    pub fn reason(&self) -> &'static str {
        match self.kind {
            ExitKind::OutOfMemory => "OOMKilled",
            ExitKind::Lost => "Unknown",
            ExitKind::Exited if self.code == 0 => "Completed",
            ExitKind::Exited => "Error",
        }
    }
}

/// What happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A step before the start failed.
    Blocked {
        /// Which kind of step.
        reason: WaitingReason,
        /// What was wrong.
        message: Box<str>,
    },
    /// The guest runs.
    Started,
    /// The guest left.
    Exited {
        /// Its exit code.
        code: i32,
        /// How it left.
        kind: ExitKind,
        /// What it left behind for people.
        message: Box<str>,
    },
    /// The time to try again has come, or what was missing has appeared.
    Due,
    /// The pod is over: nothing starts any more.
    Stopped,
}

/// What the driver must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start the guest now.
    Start,
    /// Send [`Event::Due`] at this moment.
    Wake(Moment),
}

/// One container's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Where it is.
    pub state: State,
    /// How often it was started again.
    pub restarts: u32,
    /// The run before the present one.
    pub last: Option<Box<Terminated>>,
    /// Failures in a row, of starting or of running.
    failures: u32,
}

impl Default for Container {
    fn default() -> Self {
        Container::new()
    }
}

impl Container {
    /// A container that was never started.
    pub fn new() -> Container {
        Container::resume(
            State::Waiting(Waiting { reason: WaitingReason::ContainerCreating, message: "".into(), until: None }),
            0,
            None,
        )
    }

    /// A container as its status remembers it.
    pub fn resume(state: State, restarts: u32, last: Option<Box<Terminated>>) -> Container {
        Container { state, restarts, last, failures: 0 }
    }

    /// Whether it runs now.
    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// How it ended, when it ended for good.
    pub fn ended(&self) -> Option<&Terminated> {
        match &self.state {
            State::Terminated(end) => Some(end),
            State::Waiting(_) | State::Running { .. } => None,
        }
    }

    /// Returns the next state and what the driver must do; performs nothing.
    pub fn step(self, event: Event, rules: &Rules, now: Moment) -> (Container, Option<Effect>) {
        match (self.state.clone(), event) {
            (State::Waiting(_), Event::Started) => (self.with(State::Running { started: now }), None),
            (State::Waiting(was), Event::Blocked { reason, message }) => {
                self.blocked(was.reason, reason, message, rules, now)
            }
            (State::Waiting(_), Event::Due) => (self, Some(Effect::Start)),
            (State::Running { started }, Event::Exited { code, kind, message }) => {
                self.exited(Terminated { code, kind, message, started, finished: now }, rules)
            }
            (State::Waiting(_), Event::Stopped) => {
                // A container between two runs ends as its last run did; one that never ran has no exit to report.
                match self.last.clone() {
                    Some(last) => (self.with(State::Terminated(last)), None),
                    None => (self, None),
                }
            }
            (State::Running { .. }, Event::Started | Event::Due | Event::Blocked { .. } | Event::Stopped)
            | (State::Waiting(_), Event::Exited { .. })
            | (State::Terminated(_), _) => (self, None),
        }
    }

    fn with(self, state: State) -> Container {
        Container { state, ..self }
    }

    fn blocked(
        mut self,
        was: WaitingReason,
        reason: WaitingReason,
        message: Box<str>,
        rules: &Rules,
        now: Moment,
    ) -> (Container, Option<Effect>) {
        use WaitingReason::{ErrImagePull, ImagePullBackOff, RegistryUnavailable, UnsupportedField};
        let reason = match (was, reason) {
            (ErrImagePull | ImagePullBackOff | RegistryUnavailable, ErrImagePull | RegistryUnavailable) => {
                ImagePullBackOff
            }
            _ => reason,
        };
        self.failures = self.failures.saturating_add(1);
        let until = (reason != UnsupportedField).then(|| now.plus(rules.schedule.delay(self.failures)));
        (self.with(State::Waiting(Waiting { reason, message, until })), until.map(Effect::Wake))
    }

    fn exited(mut self, end: Terminated, rules: &Rules) -> (Container, Option<Effect>) {
        if !rules.policy.restarts(end.code) {
            return (self.with(State::Terminated(Box::new(end))), None);
        }
        if end.finished.since(end.started) >= rules.schedule.reset {
            self.failures = 0;
        }
        // The first restart is immediate, as the kubelet's.
        let delay = rules.schedule.delay(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.restarts = self.restarts.saturating_add(1);
        let finished = end.finished;
        self.last = Some(Box::new(end));
        if delay == Duration::ZERO {
            let waiting = Waiting { reason: WaitingReason::ContainerCreating, message: "".into(), until: None };
            return (self.with(State::Waiting(waiting)), Some(Effect::Start));
        }
        let until = finished.plus(delay);
        let waiting = Waiting {
            reason: WaitingReason::CrashLoopBackOff,
            message: format!("back-off {}s restarting failed container", delay.as_secs()).into(),
            until: Some(until),
        };
        (self.with(State::Waiting(waiting)), Some(Effect::Wake(until)))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn summary(container: &Container) -> String {
        let state = match &container.state {
            State::Waiting(it) => format!("waiting {} until {:?}", it.reason, it.until.map(|it| it.0 / 1000)),
            State::Running { started } => format!("running since {}", started.0 / 1000),
            State::Terminated(it) => format!("terminated {} {}", it.code, it.reason()),
        };
        let last = container.last.as_ref().map(|it| format!("{} {}", it.code, it.reason()));
        format!("{state}; restarts {}; last {last:?}", container.restarts)
    }

    /// Rows of `second event`; prints the state and effect after each.
    #[track_caller]
    fn check(policy: RestartPolicy, rows: &str, want: Expect) {
        let rules = Rules { policy, schedule: Schedule::default() };
        let mut container = Container::new();
        let mut got = String::new();
        for row in rows.lines() {
            let (second, event) = row.trim().split_once(' ').unwrap();
            let event = match event.split_once(' ').unwrap_or((event, "")) {
                ("start", _) => Event::Started,
                ("due", _) => Event::Due,
                ("stop", _) => Event::Stopped,
                ("pull", _) => Event::Blocked { reason: WaitingReason::ErrImagePull, message: "no".into() },
                ("config", _) => {
                    Event::Blocked { reason: WaitingReason::CreateContainerConfigError, message: "no".into() }
                }
                ("refuse", _) => Event::Blocked { reason: WaitingReason::UnsupportedField, message: "no".into() },
                ("oom", _) => Event::Exited { code: 137, kind: ExitKind::OutOfMemory, message: "".into() },
                ("lost", _) => Event::Exited { code: 255, kind: ExitKind::Lost, message: "".into() },
                ("exit", code) => {
                    Event::Exited { code: code.parse().unwrap(), kind: ExitKind::Exited, message: "".into() }
                }
                other => panic!("{other:?}"),
            };
            let now = Moment(second.parse::<u64>().unwrap() * 1000);
            let (next, effect) = container.step(event, &rules, now);
            let effect = effect.map(|it| match it {
                Effect::Start => "start".to_owned(),
                Effect::Wake(at) => format!("wake at {}", at.0 / 1000),
            });
            got += &format!("{:<10} {} -> {}\n", row.trim(), summary(&next), effect.unwrap_or_default());
            container = next;
        }
        want.assert_eq(&got);
    }

    #[test]
    fn always_restarts_at_once_then_ever_later_and_forgets_after_a_long_run() {
        check(
            RestartPolicy::Always,
            "0 start\n1 exit 1\n1 start\n2 exit 0\n12 due\n12 start\n13 oom\n33 due\n33 start\n700 exit 1",
            expect![[r#"
                0 start    running since 0; restarts 0; last None -> 
                1 exit 1   waiting ContainerCreating until None; restarts 1; last Some("1 Error") -> start
                1 start    running since 1; restarts 1; last Some("1 Error") -> 
                2 exit 0   waiting CrashLoopBackOff until Some(12); restarts 2; last Some("0 Completed") -> wake at 12
                12 due     waiting CrashLoopBackOff until Some(12); restarts 2; last Some("0 Completed") -> start
                12 start   running since 12; restarts 2; last Some("0 Completed") -> 
                13 oom     waiting CrashLoopBackOff until Some(33); restarts 3; last Some("137 OOMKilled") -> wake at 33
                33 due     waiting CrashLoopBackOff until Some(33); restarts 3; last Some("137 OOMKilled") -> start
                33 start   running since 33; restarts 3; last Some("137 OOMKilled") -> 
                700 exit 1 waiting ContainerCreating until None; restarts 4; last Some("1 Error") -> start
            "#]],
        );
    }

    #[test]
    fn on_failure_ends_with_success_and_never_ends_with_anything() {
        check(
            RestartPolicy::OnFailure,
            "0 start\n1 exit 3\n1 start\n2 exit 0\n3 due",
            expect![[r#"
                0 start    running since 0; restarts 0; last None -> 
                1 exit 3   waiting ContainerCreating until None; restarts 1; last Some("3 Error") -> start
                1 start    running since 1; restarts 1; last Some("3 Error") -> 
                2 exit 0   terminated 0 Completed; restarts 1; last Some("3 Error") -> 
                3 due      terminated 0 Completed; restarts 1; last Some("3 Error") -> 
            "#]],
        );
        check(
            RestartPolicy::Never,
            "0 start\n1 lost\n1 start",
            expect![[r#"
                0 start    running since 0; restarts 0; last None -> 
                1 lost     terminated 255 Unknown; restarts 0; last None -> 
                1 start    terminated 255 Unknown; restarts 0; last None -> 
            "#]],
        );
    }

    #[test]
    fn a_failed_start_is_retried_ever_later_and_a_refused_one_never() {
        check(
            RestartPolicy::Always,
            "0 pull\n10 pull\n30 config\n70 due\n70 start",
            expect![[r#"
                0 pull     waiting ErrImagePull until Some(10); restarts 0; last None -> wake at 10
                10 pull    waiting ImagePullBackOff until Some(30); restarts 0; last None -> wake at 30
                30 config  waiting CreateContainerConfigError until Some(70); restarts 0; last None -> wake at 70
                70 due     waiting CreateContainerConfigError until Some(70); restarts 0; last None -> start
                70 start   running since 70; restarts 0; last None -> 
            "#]],
        );
        check(
            RestartPolicy::Always,
            "0 refuse\n0 stop",
            expect![[r#"
                0 refuse   waiting UnsupportedField until None; restarts 0; last None -> 
                0 stop     waiting UnsupportedField until None; restarts 0; last None -> 
            "#]],
        );
    }
}
