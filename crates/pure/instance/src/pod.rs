//! A pod's phase and conditions, derived from its containers.

use std::fmt;

use crate::{Container, RestartPolicy, State};

/// A pod's phase. Displayed as Kubernetes spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Some container has not run yet.
    Pending,
    /// Every container has run, and one runs or will run again.
    Running,
    /// Every container ended well and none starts again.
    Succeeded,
    /// Every container ended, one of them badly, and none starts again.
    Failed,
}

impl Phase {
    /// Whether nothing of the pod will run again.
    pub fn is_final(self) -> bool {
        matches!(self, Phase::Succeeded | Phase::Failed)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What the pod as a whole is made of, for one derivation.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Its life.
    pub container: &'a Container,
    /// Whether its probes let traffic come; meaningless unless it runs.
    pub ready: bool,
    /// Whether its startup probe has succeeded; meaningless unless it runs.
    pub started: bool,
    /// Where it comes in the pod.
    pub role: Role,
}

/// The part a container plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs to completion before the next init container.
    Init,
    /// An init container that keeps running beside the main ones.
    Sidecar,
    /// A main container.
    Main,
    /// Joined the pod later, to look at it: decides nothing about it.
    Ephemeral,
}

impl Member<'_> {
    /// Whether an init container has done what the next one waits for.
    pub fn is_past(&self) -> bool {
        match self.role {
            Role::Init => self.container.ended().is_some_and(|it| it.code == 0),
            Role::Sidecar => self.container.is_running() && self.started,
            Role::Main | Role::Ephemeral => true,
        }
    }
}

/// Whether every init container has done its part.
pub fn is_initialized(members: &[Member<'_>]) -> bool {
    members.iter().all(|it| it.is_past() || (it.role == Role::Sidecar && it.container.restarts > 0))
}

/// Whether every container that should run is ready.
pub fn are_ready(members: &[Member<'_>]) -> bool {
    members
        .iter()
        .filter(|it| matches!(it.role, Role::Sidecar | Role::Main))
        .all(|it| it.container.is_running() && it.ready)
}

/// The pod's phase.
pub fn phase(members: &[Member<'_>], policy: RestartPolicy) -> Phase {
    let failed_init = members
        .iter()
        .filter(|it| it.role == Role::Init)
        .any(|it| it.container.ended().is_some_and(|end| end.code != 0 && policy == RestartPolicy::Never));
    if failed_init {
        return Phase::Failed;
    }
    if !is_initialized(members) && !has_run(members) {
        return Phase::Pending;
    }
    let main = || members.iter().filter(|it| it.role == Role::Main).map(|it| it.container);
    if main().all(|it| it.ended().is_some()) {
        let well = main().all(|it| it.ended().is_some_and(|end| end.code == 0));
        return if well { Phase::Succeeded } else { Phase::Failed };
    }
    if main().any(|it| matches!(it.state, State::Waiting(_)) && it.last.is_none()) {
        Phase::Pending
    } else {
        Phase::Running
    }
}

/// Whether some main container has run: what came before it must then have succeeded.
fn has_run(members: &[Member<'_>]) -> bool {
    members.iter().any(|it| {
        it.role == Role::Main
            && (it.container.is_running() || it.container.ended().is_some() || it.container.last.is_some())
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::{ExitKind, Moment, Terminated, Waiting, WaitingReason};

    fn end(code: i32) -> Box<Terminated> {
        Box::new(Terminated {
            code,
            kind: ExitKind::Exited,
            message: "".into(),
            started: Moment(0),
            finished: Moment(1),
        })
    }

    fn container(word: &str) -> Container {
        let waiting = |reason| State::Waiting(Waiting { reason, message: "".into(), until: None });
        match word {
            "new" => Container::new(),
            "run" | "unready" => Container::resume(State::Running { started: Moment(0) }, 0, None),
            "loop" => Container::resume(waiting(WaitingReason::CrashLoopBackOff), 1, Some(end(1))),
            code => Container::resume(State::Terminated(end(code.parse().unwrap())), 0, None),
        }
    }

    /// Rows of `policy role:state…`.
    #[track_caller]
    fn check(rows: &str, want: Expect) {
        let mut got = String::new();
        for row in rows.lines().map(str::trim) {
            let (policy, rest) = row.split_once(' ').unwrap();
            let policy = match policy {
                "Always" => RestartPolicy::Always,
                "OnFailure" => RestartPolicy::OnFailure,
                _ => RestartPolicy::Never,
            };
            let parsed: Vec<(Role, &str, Container)> = rest
                .split(' ')
                .map(|it| match it.split_once(':').unwrap() {
                    ("init", word) => (Role::Init, word, container(word)),
                    ("side", word) => (Role::Sidecar, word, container(word)),
                    (_, word) => (Role::Main, word, container(word)),
                })
                .collect();
            let members: Vec<Member<'_>> = parsed
                .iter()
                .map(|(role, word, container)| Member { container, ready: *word == "run", started: true, role: *role })
                .collect();
            got += &format!(
                "{row} -> {} initialized {} ready {}\n",
                phase(&members, policy),
                is_initialized(&members),
                are_ready(&members)
            );
        }
        want.assert_eq(&got);
    }

    #[test]
    fn phase_and_conditions_follow_from_the_containers() {
        check(
            "Always main:new\nAlways main:run\nAlways main:unready\nAlways main:run main:new\nAlways main:loop\nNever main:0\nNever main:0 main:3
             OnFailure main:0 main:run\nAlways init:new main:new\nAlways init:0 main:run\nNever init:1 main:new\nAlways init:loop main:new
             Never init:0 side:run main:0\nAlways side:unready main:run",
            expect![[r#"
                Always main:new -> Pending initialized true ready false
                Always main:run -> Running initialized true ready true
                Always main:unready -> Running initialized true ready false
                Always main:run main:new -> Pending initialized true ready false
                Always main:loop -> Running initialized true ready false
                Never main:0 -> Succeeded initialized true ready false
                Never main:0 main:3 -> Failed initialized true ready false
                OnFailure main:0 main:run -> Running initialized true ready false
                Always init:new main:new -> Pending initialized false ready false
                Always init:0 main:run -> Running initialized true ready true
                Never init:1 main:new -> Failed initialized false ready false
                Always init:loop main:new -> Pending initialized false ready false
                Never init:0 side:run main:0 -> Succeeded initialized true ready false
                Always side:unready main:run -> Running initialized true ready false
            "#]],
        );
    }
}
