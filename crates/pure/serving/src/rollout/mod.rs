//! How the newest revision takes over from the one before it: at once or over a time, watched, and back where it fails.
//!
//! Entry points: [`Policy::parse`] for what a Route asks, [`State::step`] for what to do now, [`shares`] for who gets what then.
//! Requests move step by step, a percent at a time, from the last good revision to the newest one. While they do, and for
//! [`PROBATION`] afterwards, what the gateway counted of the newest is judged. A revision that fails gives everything back and is
//! never tried again: another one, of another template, is.
//!
//! Deliberately absent: time, counters, and more than two revisions: one that comes before the last was good takes its place.

mod policy;

use std::time::Duration;

use serde_json::{Value, json};

use crate::Assigned;

pub use policy::Policy;

/// Of the HTTPRoute that is made for a Route: how far its rollout has come.
pub const STATE: &str = "rollout.eyot.io/state";
/// For so long after a revision got everything, it is still judged, and the one before it not forgotten.
pub const PROBATION: Duration = Duration::from_secs(600);
/// Requests that must have ended before the part that succeeded says anything.
pub const REQUESTS_LEAST: u64 = 20;
/// Requests that must have ended before the slowest percent says anything.
pub const LATENCIES_LEAST: u64 = 100;
/// Between two looks at a revision that is judged.
const TICK: Duration = Duration::from_secs(1);

/// A time in seconds since 1970.
pub type Seconds = i64;

/// How far the rollout of a Route has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The last revision that proved good.
    pub good: String,
    /// The one that is to follow it.
    pub next: Option<Next>,
}

/// A revision that has not proved good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// Its name.
    pub revision: String,
    /// When its first request was allowed.
    pub since: Seconds,
    /// Why it was given up, once it was.
    pub rejected: Option<String>,
}

/// What was counted lately of the revision that is on trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Requests that ended.
    pub ended: u64,
    /// Of those, how many failed: 5xx, or no response.
    pub failed: u64,
    /// Requests whose time is known, of a longer span where it takes one to have enough of them.
    pub timed: u64,
    /// 99 % of those took no longer.
    pub p99: Option<Duration>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// To be remembered.
    pub state: State,
    /// Percent of the requests that go to [`Next`]; the rest goes to the good one.
    pub percent: i64,
    /// When to look again; not at all where nothing changes by itself.
    pub again: Option<Duration>,
    /// Whether this step gave a revision up.
    pub rolls_back: bool,
}

impl State {
    /// One in which a revision is good.
    pub fn of(good: impl Into<String>) -> Self {
        Self { good: good.into(), next: None }
    }

    /// Reads what [`State::write`] wrote; `None` for anything else.
    pub fn read(text: &str) -> Option<Self> {
        let json: Value = serde_json::from_str(text).ok()?;
        let text = |it: &Value| it.as_str().filter(|it| !it.is_empty()).map(str::to_owned);
        let next = &json["next"];
        let next = text(&next["revision"]).map(|revision| Next {
            revision,
            since: next["since"].as_i64().unwrap_or_default(),
            rejected: text(&next["rejected"]),
        });
        Some(Self { good: text(&json["good"])?, next })
    }

    /// As an annotation has it.
    pub fn write(&self) -> String {
        let mut json = json!({"good": self.good});
        if let Some(next) = &self.next {
            json["next"] = json!({"revision": next.revision, "since": next.since});
            if let Some(why) = &next.rejected {
                json["next"]["rejected"] = why.as_str().into();
            }
        }
        json.to_string()
    }

    /// Decides how to go on when `latest` is the newest revision that is ready and gets `share` percent of the requests.
    pub fn step(self, policy: &Policy, latest: &str, share: i64, observed: Observed, now: Seconds) -> Step {
        let settled = |state| Step { state, percent: 0, again: None, rolls_back: false };
        if latest == self.good || policy.is_plain() || share <= 1 {
            return settled(State::of(latest));
        }
        let next = match self.next {
            // A clock that was set back has not seen it begin: then it begins now.
            Some(next) if next.revision == latest => Next { since: next.since.min(now), ..next },
            // Whoever comes meanwhile begins anew, against the last good one.
            _ => Next { revision: latest.to_owned(), since: now, rejected: None },
        };
        let state = |next| State { good: self.good.clone(), next: Some(next) };
        if next.rejected.is_some() {
            return settled(state(next));
        }
        if let Some(why) = policy.fails(observed) {
            let next = Next { rejected: Some(why), ..next };
            return Step { rolls_back: true, ..settled(state(next)) };
        }
        let gone = u64::try_from(now - next.since).unwrap_or(0);
        let percent = policy.percent(share, gone);
        let whole = policy.duration.as_secs();
        let end = whole + if policy.judges() { PROBATION.as_secs() } else { 0 };
        if gone >= end {
            return settled(State::of(latest));
        }
        let again = if policy.judges() { TICK } else { policy.until_next(share, gone) };
        Step { state: state(next), percent, again: Some(again), rolls_back: false }
    }

    /// Why the newest revision gets nothing, where it was given up.
    pub fn refusal(&self) -> Option<String> {
        let next = self.next.as_ref()?;
        let why = next.rejected.as_ref()?;
        Some(format!("Revision {:?} was rolled back to {:?}: {why}.", next.revision, self.good))
    }
}

impl Policy {
    /// The part of the newest revision after so many seconds: a percent at once, and all of it at the end.
    fn percent(&self, share: i64, gone: u64) -> i64 {
        let whole = self.duration.as_secs();
        if gone >= whole {
            return share;
        }
        let part = i128::from(share - 1) * i128::from(gone) / i128::from(whole);
        1 + i64::try_from(part).unwrap_or(share - 1)
    }

    /// Until the part grows next.
    fn until_next(&self, share: i64, gone: u64) -> Duration {
        let now = self.percent(share, gone);
        let whole = self.duration.as_secs();
        let at = (gone + 1..whole).find(|it| self.percent(share, *it) > now).unwrap_or(whole);
        Duration::from_secs((at - gone).max(1))
    }

    fn fails(&self, observed: Observed) -> Option<String> {
        if let Some(least) = self.success_percent.filter(|_| observed.ended >= REQUESTS_LEAST) {
            let succeeded =
                (observed.ended - observed.failed.min(observed.ended)) as f64 / observed.ended as f64 * 100.0;
            if succeeded < least {
                return Some(format!("{succeeded:.1} % of {} requests succeeded, and {least} % must", observed.ended));
            }
        }
        let most = self.p99.filter(|_| observed.timed >= LATENCIES_LEAST)?;
        let p99 = observed.p99.filter(|it| *it > most)?;
        Some(format!("99 % of {} requests took up to {p99:.1?}, and {most:?} is the bound", observed.timed))
    }
}

/// Which of the targets a rollout is about: the one that follows the newest revision, where there is one only.
pub fn followed(assigned: &[Assigned]) -> Option<usize> {
    let mut following = (0..assigned.len()).filter(|at| assigned[*at].is_latest && assigned[*at].percent > Some(0));
    following.next().filter(|_| following.next().is_none())
}

/// The targets with what a step makes of the one `at` that follows the newest revision.
pub fn shares(mut assigned: Vec<Assigned>, at: usize, step: &Step) -> Vec<Assigned> {
    let Some(next) = &step.state.next else { return assigned };
    let whole = assigned[at].percent.unwrap_or(0);
    let good = Assigned {
        revision: step.state.good.clone(),
        percent: Some(whole - step.percent),
        tag: None,
        is_latest: false,
    };
    if next.rejected.is_some() {
        // The tag stays where it is: who wants to look at what failed still can.
        assigned[at].percent = assigned[at].tag.is_some().then_some(0);
        assigned.insert(at, good);
        assigned.retain(|it| it.percent.is_some() || it.tag.is_some());
        return assigned;
    }
    assigned[at].percent = Some(step.percent);
    if step.percent < whole {
        assigned.insert(at, good);
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy { success_percent: Some(99.0), p99: Some(Duration::from_millis(200)), ..Policy::default() }
    }

    fn saw(ended: u64, failed: u64, millis: u64) -> Observed {
        Observed { ended, failed, timed: ended, p99: Some(Duration::from_millis(millis)) }
    }

    #[test]
    fn without_a_word_the_newest_takes_over_at_once() {
        let step = State::of("a").step(&Policy::default(), "b", 100, Observed::default(), 0);
        assert_eq!((step.state, step.again), (State::of("b"), None));
    }

    #[test]
    fn requests_move_over_a_time_a_percent_at_a_time() {
        let policy = Policy { duration: Duration::from_secs(200), ..Policy::default() };
        let mut state = State::of("a");
        let mut seen = Vec::new();
        for now in [1000, 1001, 1002, 1003, 1100, 1199, 1200] {
            let step = state.step(&policy, "b", 100, Observed::default(), now);
            seen.push((step.percent, step.again.map(|it| it.as_secs())));
            state = step.state;
        }
        assert_eq!(
            seen,
            [(1, Some(3)), (1, Some(2)), (1, Some(1)), (2, Some(2)), (50, Some(2)), (99, Some(1)), (0, None)]
        );
        assert_eq!(state, State::of("b"));
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_hold_a_rollout_up() {
        let policy = Policy { duration: Duration::from_secs(100), ..Policy::default() };
        let step = State::of("a").step(&policy, "b", 100, Observed::default(), 1_000_000);
        let step = step.state.step(&policy, "b", 100, Observed::default(), 50);
        assert_eq!(step.percent, 1, "it begins anew");
        let step = step.state.step(&policy, "b", 100, Observed::default(), 100);
        assert_eq!(step.percent, 50);
        let step = step.state.step(&policy, "b", 100, Observed::default(), 150);
        assert_eq!(step.state, State::of("b"));
    }

    #[test]
    fn one_that_fails_gives_everything_back_and_is_not_tried_again() {
        let step = State::of("a").step(&policy(), "b", 100, Observed::default(), 10);
        assert_eq!((step.percent, step.again), (100, Some(TICK)));
        let step = step.state.step(&policy(), "b", 100, saw(19, 19, 1), 11);
        assert!(!step.rolls_back, "too few to judge");
        let step = step.state.step(&policy(), "b", 100, saw(40, 1, 1), 12);
        assert!(step.rolls_back);
        assert_eq!(
            step.state.refusal().unwrap(),
            "Revision \"b\" was rolled back to \"a\": 97.5 % of 40 requests succeeded, and 99 % must."
        );
        let step = step.state.step(&policy(), "b", 100, saw(1000, 0, 1), 13);
        assert_eq!((step.percent, step.rolls_back, step.again), (0, false, None), "told once, and for good");
        let step = step.state.step(&policy(), "c", 100, Observed::default(), 14);
        assert_eq!((step.state.good.as_str(), step.percent), ("a", 100), "another template has another chance");
        let step = step.state.step(&policy(), "c", 100, saw(100, 0, 1), 14 + 600);
        assert_eq!(step.state, State::of("c"));
    }

    #[test]
    fn one_that_is_slow_is_given_up_once_there_is_enough_to_tell() {
        let state = || State { good: "a".into(), next: Some(Next { revision: "b".into(), since: 0, rejected: None }) };
        assert!(!state().step(&policy(), "b", 100, saw(99, 0, 900), 1).rolls_back);
        assert!(!state().step(&policy(), "b", 100, saw(500, 0, 200), 1).rolls_back);
        let step = state().step(&policy(), "b", 100, saw(500, 0, 900), 1);
        assert_eq!(
            step.state.next.unwrap().rejected.unwrap(),
            "99 % of 500 requests took up to 900.0ms, and 200ms is the bound"
        );
    }

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let next =
            |rejected: Option<&str>| Some(Next { revision: "b".into(), since: 7, rejected: rejected.map(Into::into) });
        for state in [
            State::of("a"),
            State { good: "a".into(), next: next(None) },
            State { good: "a".into(), next: next(Some("it \"failed\"")) },
        ] {
            assert_eq!(State::read(&state.write()), Some(state));
        }
        assert_eq!((State::read("nonsense"), State::read("{}")), (None, None));
    }

    #[test]
    fn shares_are_those_of_two_revisions_and_tags_stay() {
        let one = |revision: &str, percent, tag: Option<&str>, is_latest| Assigned {
            revision: revision.into(),
            percent,
            tag: tag.map(Into::into),
            is_latest,
        };
        let assigned = vec![one("x", Some(20), None, false), one("b", Some(80), Some("new"), true)];
        assert_eq!(followed(&assigned), Some(1));
        let rows = |step: &Step| -> Vec<String> {
            let shares = shares(assigned.clone(), 1, step);
            assert_eq!(shares.iter().filter_map(|it| it.percent).sum::<i64>(), 100);
            shares.iter().map(|it| format!("{}={:?} {:?}", it.revision, it.percent, it.tag)).collect()
        };
        let next = |rejected: Option<&str>| Next { revision: "b".into(), since: 0, rejected: rejected.map(Into::into) };
        let step =
            |next, percent| Step { state: State { good: "a".into(), next }, percent, again: None, rolls_back: false };
        assert_eq!(
            rows(&step(Some(next(None)), 30)),
            ["x=Some(20) None", "a=Some(50) None", "b=Some(30) Some(\"new\")"]
        );
        assert_eq!(rows(&step(Some(next(None)), 80)), ["x=Some(20) None", "b=Some(80) Some(\"new\")"]);
        assert_eq!(
            rows(&step(Some(next(Some("no"))), 0)),
            ["x=Some(20) None", "a=Some(80) None", "b=Some(0) Some(\"new\")"]
        );
        assert_eq!(rows(&step(None, 0)), ["x=Some(20) None", "b=Some(80) Some(\"new\")"]);
    }
}
