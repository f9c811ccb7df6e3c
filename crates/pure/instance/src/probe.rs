//! Counts probe results and says what follows from them.
//!
//! A startup probe holds back the other two until it succeeds. A failed liveness or startup probe restarts the container;
//! a readiness probe only says whether traffic may come.
//!
//! Until a startup or readiness probe first succeeds it is tried more often than its period says, so that a guest that begins to
//! listen a moment after its start need not wait for the next period. Such extra tries can succeed but not fail: what counts
//! towards a failure comes once a period, as Kubernetes promises.

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
    /// From when on a failure counts again.
    counts_from: Moment,
    /// Whether it ever succeeded.
    succeeded: bool,
    /// Tries since a failure last counted.
    extras: u32,
}

/// The first extra try comes this long after a failure; each further one waits twice as long.
const EXTRA_FIRST: Duration = Duration::from_millis(50);

/// The probe results of one run of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probing {
    /// Whether the startup probe, if any, has succeeded.
    pub started: bool,
    /// Whether traffic may come.
    pub ready: bool,
    counters: [Counter; 3],
}

impl Counter {
    /// When to try again after a failure at `now`, before any success.
    fn next_try(&self, now: Moment) -> Moment {
        let wait = EXTRA_FIRST.saturating_mul(1 << self.extras.min(20));
        now.plus(wait).min(self.counts_from)
    }
}

const KINDS: [ProbeKind; 3] = [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness];

impl Probing {
    /// The state of a container that started at `now`.
    pub fn begin(rules: &RuleSet, now: Moment) -> Probing {
        let counters = KINDS.map(|kind| {
            let due = rules.get(kind).map_or(now, |it| now.plus(it.initial_delay));
            Counter { due, counts_from: due, ..Counter::default() }
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

    /// Whether a failure of `kind` at `now` would count; otherwise it is an extra try that says nothing.
    pub fn counts(&self, kind: ProbeKind, now: Moment) -> bool {
        now >= self.counters[kind as usize].counts_from
    }

    /// Takes the result of a probe that ended at `now`; performs nothing.
    pub fn step(mut self, rules: &RuleSet, kind: ProbeKind, ok: bool, now: Moment) -> (Probing, Option<Action>) {
        let Some(rule) = rules.get(kind) else { return (self, None) };
        let counter = &mut self.counters[kind as usize];
        if !ok && now < counter.counts_from {
            counter.extras += 1;
            counter.due = counter.next_try(now);
            return (self, None);
        }
        counter.run = if counter.last == Some(ok) { counter.run.saturating_add(1) } else { 1 };
        counter.last = Some(ok);
        counter.counts_from = now.plus(rule.period);
        counter.succeeded |= ok;
        counter.extras = 0;
        let hurries = !counter.succeeded && kind != ProbeKind::Liveness;
        counter.due = if hurries { counter.next_try(now) } else { counter.counts_from };
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
            // Extra tries fail until the next one that counts.
            let (kind, due) = counted(&mut probing, &rules, (kind, due));
            let (next, action) = probing.step(&rules, kind, result == '+', due);
            got += &format!("at {} s {kind:?} {result} ready {} {action:?}\n", due.0 / 1000, next.ready);
            probing = next;
        }
        want.assert_eq(&got);
    }

    /// Lets extra tries fail, up to the next probe that counts.
    fn counted(probing: &mut Probing, rules: &RuleSet, first: (ProbeKind, Moment)) -> (ProbeKind, Moment) {
        let mut next = first;
        while !probing.counts(next.0, next.1) {
            *probing = probing.step(rules, next.0, false, next.1).0;
            next = probing.next(rules).expect("extra tries end nothing");
        }
        next
    }

    #[test]
    fn a_container_without_probes_is_ready_and_needs_no_timer() {
        let probing = Probing::begin(&RuleSet::default(), Moment(0));
        assert!(probing.ready && probing.started);
        assert_eq!(probing.next(&RuleSet::default()), None);
    }

    #[test]
    fn before_the_first_success_tries_come_sooner_and_do_not_count() {
        let rules = RuleSet { startup: Some(rule(0, 1, 1, 2)), ..RuleSet::default() };
        let mut probing = Probing::begin(&rules, Moment(0));
        let mut got = String::new();
        while let Some((kind, due)) = probing.next(&rules) {
            let counts = probing.counts(kind, due);
            let (next, action) = probing.step(&rules, kind, false, due);
            got += &format!("{} ms counts {counts} {action:?}\n", due.0);
            probing = next;
            if action.is_some() {
                break;
            }
        }
        expect![[r#"
            0 ms counts true None
            50 ms counts false None
            150 ms counts false None
            350 ms counts false None
            750 ms counts false None
            1000 ms counts true Some(Restart(Startup))
        "#]]
        .assert_eq(&got);
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
