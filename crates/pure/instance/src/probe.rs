//! Counts probe results and says what follows from them.
//!
//! A startup probe holds back the other two until it succeeds. A failed liveness or startup probe restarts the container;
//! a readiness probe only says whether traffic may come.

use std::time::Duration;

use crate::Moment;

/// Which of a container's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Holds back the others until it succeeds once.
    Startup,
    /// Restarts the container when it fails.
    Liveness,
    /// Keeps traffic away while it fails.
    Readiness,
}

/// When a probe runs and how many results make a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// From the start of the container to the first probe.
    pub initial_delay: Duration,
    /// Between two probes.
    pub period: Duration,
    /// Successes in a row that make a success; at least 1.
    pub successes: u32,
    /// Failures in a row that make a failure; at least 1.
    pub failures: u32,
}

/// The probes a container declares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    /// Its startup probe.
    pub startup: Option<Rule>,
    /// Its liveness probe.
    pub liveness: Option<Rule>,
    /// Its readiness probe.
    pub readiness: Option<Rule>,
}

impl RuleSet {
    /// The rule for `kind`.
    pub fn get(&self, kind: ProbeKind) -> Option<&Rule> {
        match kind {
            ProbeKind::Startup => self.startup.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
            ProbeKind::Readiness => self.readiness.as_ref(),
        }
    }
}

/// What follows from a probe result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `started` became true.
    Started,
    /// Readiness changed.
    Ready(bool),
    /// Kill the container; its restart policy says what is next.
    Restart(ProbeKind),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counter {
    run: u32,
    last: Option<bool>,
    due: Moment,
}

/// The probe results of one run of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probing {
    /// Whether the startup probe, if any, has succeeded.
    pub started: bool,
    /// Whether traffic may come.
    pub ready: bool,
    counters: [Counter; 3],
}

const KINDS: [ProbeKind; 3] = [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness];

impl Probing {
    /// The state of a container that started at `now`.
    pub fn begin(rules: &RuleSet, now: Moment) -> Probing {
        let counters = KINDS.map(|kind| Counter {
            due: rules.get(kind).map_or(now, |it| now.plus(it.initial_delay)),
            ..Counter::default()
        });
        let started = rules.startup.is_none();
        Probing { started, ready: started && rules.readiness.is_none(), counters }
    }

    /// The next probe to run and when; `None` when the container has no more to be probed.
    pub fn next(&self, rules: &RuleSet) -> Option<(ProbeKind, Moment)> {
        KINDS
            .into_iter()
            .filter(|kind| rules.get(*kind).is_some())
            .filter(|kind| if *kind == ProbeKind::Startup { !self.started } else { self.started })
            .map(|kind| (kind, self.counters[kind as usize].due))
            .min_by_key(|(kind, due)| (*due, *kind))
    }

    /// Takes the result of a probe that ended at `now`; performs nothing.
    pub fn step(mut self, rules: &RuleSet, kind: ProbeKind, ok: bool, now: Moment) -> (Probing, Option<Action>) {
        let Some(rule) = rules.get(kind) else { return (self, None) };
        let counter = &mut self.counters[kind as usize];
        counter.run = if counter.last == Some(ok) { counter.run.saturating_add(1) } else { 1 };
        counter.last = Some(ok);
        counter.due = now.plus(rule.period);
        let needed = if ok { rule.successes } else { rule.failures };
        if counter.run < needed.max(1) {
            return (self, None);
        }
        let action = match (kind, ok) {
            (ProbeKind::Startup, true) if !self.started => {
                self.started = true;
                self.ready = rules.readiness.is_none();
                Some(Action::Started)
            }
            (ProbeKind::Startup | ProbeKind::Liveness, true) => None,
            (ProbeKind::Startup | ProbeKind::Liveness, false) => Some(Action::Restart(kind)),
            (ProbeKind::Readiness, _) if self.ready == ok => None,
            (ProbeKind::Readiness, _) => {
                self.ready = ok;
                Some(Action::Ready(ok))
            }
        };
        (self, action)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn rule(initial: u64, period: u64, successes: u32, failures: u32) -> Rule {
        Rule { initial_delay: Duration::from_secs(initial), period: Duration::from_secs(period), successes, failures }
    }

    /// Feeds `results` (`+` or `-`) to whichever probe is due next.
    #[track_caller]
    fn check(rules: RuleSet, results: &str, want: Expect) {
        let mut probing = Probing::begin(&rules, Moment(0));
        let mut got = String::new();
        for result in results.chars() {
            let Some((kind, due)) = probing.next(&rules) else {
                got += "nothing to probe\n";
                break;
            };
            let (next, action) = probing.step(&rules, kind, result == '+', due);
            got += &format!("at {} s {kind:?} {result} ready {} {action:?}\n", due.0 / 1000, next.ready);
            probing = next;
        }
        want.assert_eq(&got);
    }

    #[test]
    fn a_container_without_probes_is_ready_and_needs_no_timer() {
        let probing = Probing::begin(&RuleSet::default(), Moment(0));
        assert!(probing.ready && probing.started);
        assert_eq!(probing.next(&RuleSet::default()), None);
    }

    #[test]
    fn startup_holds_back_the_others() {
        check(
            RuleSet {
                startup: Some(rule(1, 1, 1, 3)),
                liveness: Some(rule(0, 5, 1, 2)),
                readiness: Some(rule(2, 3, 2, 1)),
            },
            "--++++-+-",
            expect![[r#"
                at 1 s Startup - ready false None
                at 2 s Startup - ready false None
                at 3 s Startup + ready false Some(Started)
                at 0 s Liveness + ready false None
                at 2 s Readiness + ready false None
                at 5 s Liveness + ready false None
                at 5 s Readiness - ready false None
                at 8 s Readiness + ready false None
                at 10 s Liveness - ready false None
            "#]],
        );
    }

    #[test]
    fn readiness_needs_its_successes_and_liveness_its_failures() {
        check(
            RuleSet { readiness: Some(rule(0, 1, 2, 2)), ..RuleSet::default() },
            "+++-+--",
            expect![[r#"
                at 0 s Readiness + ready false None
                at 1 s Readiness + ready true Some(Ready(true))
                at 2 s Readiness + ready true None
                at 3 s Readiness - ready true None
                at 4 s Readiness + ready true None
                at 5 s Readiness - ready true None
                at 6 s Readiness - ready false Some(Ready(false))
            "#]],
        );
        check(
            RuleSet { liveness: Some(rule(2, 1, 1, 2)), ..RuleSet::default() },
            "-+--",
            expect![[r#"
                at 2 s Liveness - ready true None
                at 3 s Liveness + ready true None
                at 4 s Liveness - ready true None
                at 5 s Liveness - ready true Some(Restart(Liveness))
            "#]],
        );
    }
}
