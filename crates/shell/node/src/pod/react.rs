//! What follows from what happens to containers.

use std::sync::Arc;

use eyot_instance::{Action, Effect, Event, ExitKind, Moment, State, Terminated};
use eyot_runtime::{Exit, ExitReason, HttpGuest, Process};
use tokio::task::AbortHandle;

use crate::logs::Log;

use super::{
    machine::{Begun, Ending, Machine, Running},
    message::Message,
    start::Outcome,
};

/// Exit code of what was killed, as Kubernetes has it.
const KILLED: i32 = 137;
/// Exit code of a run whose end nobody saw.
const UNSEEN: i32 = 255;

/// Something a guest did to a request.
pub(super) struct GuestFailure {
    pub(super) container: Box<str>,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// What to say of a container that will wait before it starts again.
fn back_off(effect: Option<Effect>, container: &str) -> Option<String> {
    matches!(effect, Some(Effect::Wake(_))).then(|| format!("Back-off restarting failed container {container}"))
}

impl Machine {
    /// A start ended.
    pub(super) fn started(&mut self, index: usize, outcome: Outcome, now: Moment) -> Begun {
        let resumed = std::mem::take(&mut self.members[index].resumed);
        match outcome {
            Outcome::Running(live) => {
                let member = &mut self.members[index];
                let process = match &live.running {
                    Running::Command(process) => Some(process.clone()),
                    Running::Http { .. } | Running::Not => None,
                };
                member.run = live.run;
                member.running = live.running;
                member.log = Some(live.log);
                member.input = live.input;
                member.message = live.message;
                member.image_id = Some(live.image_id);
                if !resumed {
                    let gated = live.probes.as_ref().map(|it| &it.rules);
                    member.started = gated.is_none_or(|it| it.startup.is_none());
                    member.ready = member.started && gated.is_none_or(|it| it.readiness.is_none());
                    self.step(index, Event::Started, now);
                }
                if let Some(message) = live.hook_failure {
                    // As the kubelet's: a hook that fails ends the container.
                    if let Some(process) = process {
                        process.kill();
                    }
                    let effect = self.end(index, KILLED, ExitKind::Exited, &message, now);
                    let container = self.members[index].name.clone();
                    return Begun::Ended { back_off: back_off(effect, &container), container, message };
                }
                Begun::Running { process, probes: live.probes }
            }
            Outcome::Lost => {
                self.end(index, UNSEEN, ExitKind::Lost, "the node was restarted", now);
                Begun::Nothing
            }
            Outcome::Blocked { reason, event, message } => {
                if resumed {
                    self.end(index, UNSEEN, ExitKind::Lost, "the node was restarted", now);
                    self.members[index].wanted = false;
                }
                self.block(index, reason, &message, now);
                Begun::Blocked { container: self.members[index].name.clone(), event, message }
            }
        }
    }

    /// Where a command left its message, and its log. Once.
    pub(super) fn take_message(&mut self, index: usize, run: u32) -> Option<(Box<Message>, Arc<Log>)> {
        let member = &mut self.members[index];
        let log = member.log.clone().filter(|_| member.run == run)?;
        Some((member.message.take()?, log))
    }

    pub(super) fn set_probes(&mut self, index: usize, run: u32, task: AbortHandle) {
        let member = &mut self.members[index];
        if member.container.is_running() && member.run == run {
            member.probes = Some(task);
        } else {
            task.abort();
        }
    }

    /// A command ended and left a message, maybe an empty one. Returns the container and a message when it will wait before it starts again.
    pub(super) fn exited(
        &mut self,
        index: usize,
        run: u32,
        exit: Exit,
        left: String,
        now: Moment,
    ) -> Option<(Box<str>, String)> {
        let member = &self.members[index];
        if !member.container.is_running() || member.run != run {
            return None;
        }
        let (kind, message) = match exit.reason {
            ExitReason::Completed | ExitReason::Killed => (ExitKind::Exited, String::new()),
            // The whole trace is in the log.
            ExitReason::Trap(trap) => (ExitKind::Exited, trap.lines().next().unwrap_or_default().to_owned()),
            ExitReason::OutOfMemory => (ExitKind::OutOfMemory, String::new()),
        };
        let message = if left.is_empty() { message } else { left };
        let effect = self.end(index, exit.code, kind, &message, now);
        let name = self.members[index].name.clone();
        back_off(effect, &name).map(|message| (name, message))
    }

    /// A probe decided something.
    pub(super) fn probed(&mut self, index: usize, run: u32, action: Action, now: Moment) {
        let member = &mut self.members[index];
        if self.ending != Ending::No || !member.container.is_running() || member.run != run {
            return;
        }
        match action {
            Action::Started => member.started = true,
            Action::Ready(ready) => member.ready = ready,
            Action::Restart(_) => return self.restart(index, "a probe failed", now),
        }
        self.news = true;
    }

    /// Ends the present run of a container as if it had been killed; its policy says what is next.
    pub(super) fn restart(&mut self, index: usize, why: &str, now: Moment) {
        match &self.members[index].running {
            // Its end is told by the task that waits for it.
            Running::Command(process) => process.kill(),
            Running::Http { .. } => {
                self.end(index, KILLED, ExitKind::Exited, why, now);
            }
            Running::Not => {}
        }
        self.news = true;
    }

    fn end(&mut self, index: usize, code: i32, kind: ExitKind, message: &str, now: Moment) -> Option<Effect> {
        self.members[index].release();
        let effect = self.step(index, Event::Exited { code, kind, message: message.into() }, now);
        if effect == Some(Effect::Start) {
            self.members[index].wanted = true;
        }
        effect
    }

    /// Time has come for what was to wait until `now`.
    pub(super) fn due(&mut self, now: Moment) {
        for index in 0..self.members.len() {
            let is_due = match &self.members[index].container.state {
                State::Waiting(it) => it.until.is_some_and(|until| until <= now),
                _ => false,
            };
            if is_due && !self.members[index].wanted {
                self.members[index].wanted = true;
            }
        }
        if self.deadline.is_some_and(|it| it <= now) {
            self.deadline = None;
            let message = "Pod was active on the node longer than the specified deadline".to_owned();
            self.fail("DeadlineExceeded", message, now);
        }
    }

    /// Ends the whole pod as failed.
    pub(super) fn fail(&mut self, reason: &'static str, message: String, now: Moment) {
        for process in self.release_all(now) {
            process.kill();
        }
        self.failure = Some(Box::new((reason, message)));
        self.news = true;
    }

    /// Lets every guest go, and ends every container. Returns the processes, which their holders must kill.
    pub(super) fn release_all(&mut self, now: Moment) -> Vec<Arc<Process>> {
        let mut processes = Vec::new();
        for member in &mut self.members {
            if let Running::Command(process) = &member.running {
                processes.push(process.clone());
            }
            member.wanted = false;
            member.release();
            if let State::Running { started } = member.container.state {
                let end =
                    Terminated { code: KILLED, kind: ExitKind::Exited, message: "".into(), started, finished: now };
                member.container.state = State::Terminated(Box::new(end));
            }
        }
        processes
    }

    /// The guests that answer requests.
    pub(super) fn http_guests(&self) -> Vec<Arc<HttpGuest>> {
        let guests = self.members.iter().filter_map(|it| match &it.running {
            Running::Http { guest, .. } => Some(guest.clone()),
            _ => None,
        });
        guests.collect()
    }

    /// The containers that run, and whether any is a process.
    pub(super) fn running(&self) -> (Vec<Box<str>>, bool) {
        let running = self.members.iter().filter(|it| it.container.is_running());
        let any_process = self.members.iter().any(|it| matches!(it.running, Running::Command(_)));
        (running.map(|it| it.name.clone()).collect(), any_process)
    }

    /// What failed inside guests since the last look, by kind. Requests that passed the memory limit count as one restart of
    /// their container, whatever its policy and though no other request noticed: their instances ended as a process would have.
    pub(super) fn inspect_guests(&mut self, now: Moment) -> Vec<GuestFailure> {
        let mut out = Vec::new();
        for member in &mut self.members {
            let Running::Http { guest, failures_seen, .. } = &mut member.running else { continue };
            if guest.stats().failures == failures_seen.iter().sum::<u64>() {
                continue;
            }
            let failures = guest.failures().borrow().clone();
            let counts = [failures.out_of_memory, failures.guest, failures.deadline];
            let seen = std::mem::replace(failures_seen, counts);
            let broken = failures.message.lines().next().unwrap_or_default();
            let kinds = [
                ("OOMKilled", "a request passed the memory limit"),
                ("RequestFailed", broken),
                ("RequestFailed", "a request was not answered in time"),
            ];
            for ((reason, what), fresh) in kinds.into_iter().zip(counts.iter().zip(seen).map(|(now, old)| now - old)) {
                if fresh > 0 {
                    let message = format!("{what} ({fresh} failed requests since the last report)");
                    out.push(GuestFailure { container: member.name.clone(), reason, message });
                }
            }
            if let (true, State::Running { started }) = (counts[0] > seen[0], &mut member.container.state) {
                let end = Terminated {
                    code: KILLED,
                    kind: ExitKind::OutOfMemory,
                    message: "".into(),
                    started: *started,
                    finished: now,
                };
                *started = now;
                member.container.last = Some(Box::new(end));
                member.container.restarts = member.container.restarts.saturating_add(1);
                self.news = true;
            }
        }
        out
    }
}
