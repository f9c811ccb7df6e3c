//! How fast the number of replicas may change: stabilisation windows and rates.

use super::{Spec, Verdict, verdict};
use crate::Seconds;

/// How fast each direction may go.
#[derive(Clone, Debug)]
pub struct Behavior {
    /// Towards more replicas.
    pub up: Rules,
    /// Towards fewer.
    pub down: Rules,
}

/// How fast one direction may go.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The most cautious recommendation of so many seconds counts.
    pub window: Seconds,
    /// Which of the policies counts.
    pub select: Select,
    /// Bounds of the change.
    pub policies: Vec<Policy>,
}

/// Which policy counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Select {
    /// The one that allows most.
    #[default]
    Max,
    /// The one that allows least.
    Min,
    /// None: this direction is off.
    Disabled,
}

/// One bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What the value counts.
    pub kind: PolicyKind,
    /// So much at most.
    pub value: i32,
    /// Within so many seconds.
    pub period: Seconds,
}

/// What the value of a policy counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind {
    /// Pods.
    Pods,
    /// Percent of the pods at the period's start.
    Percent,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

impl Default for Behavior {
    /// What Kubernetes does unasked: double or add four within 15 seconds; shrink to what five minutes agree on.
    fn default() -> Self {
        let percent = Policy { kind: PolicyKind::Percent, value: 100, period: 15 };
        let pods = Policy { kind: PolicyKind::Pods, value: 4, period: 15 };
        Behavior {
            up: Rules { window: 0, select: Select::Max, policies: vec![pods, percent] },
            down: Rules { window: 300, select: Select::Max, policies: vec![percent] },
        }
    }
}

/// What was recommended and done before, as far as the windows reach.
#[derive(Clone, Debug, Default)]
pub struct History {
    recommended: Vec<(Seconds, i32)>,
    /// Changes of the number of replicas: positive towards more.
    changes: Vec<(Seconds, i32)>,
    begun: bool,
}

impl History {
    /// Forgets what is past all windows, and what a clock that was set back has made the future. What there is when nothing is known yet counts as recommended, so that a restart
    /// shrinks nothing at once.
    pub(super) fn begin(&mut self, current: i32, now: Seconds, behavior: &Behavior) {
        if !self.begun {
            self.recommended.push((now, current));
            self.begun = true;
        }
        let window = behavior.up.window.max(behavior.down.window);
        self.recommended.retain(|it| it.0 > now - window.max(1) && it.0 <= now);
        let periods = behavior.up.policies.iter().chain(&behavior.down.policies).map(|it| it.period);
        let period = periods.max().unwrap_or_default();
        self.changes.retain(|it| it.0 > now - period && it.0 <= now);
    }

    pub(super) fn scaled(&mut self, current: i32, desired: i32, now: Seconds) {
        if desired != current {
            self.changes.push((now, desired - current));
        }
    }

    /// By how much the number changed in a direction since `from`.
    fn changed(&self, direction: Direction, from: Seconds) -> i32 {
        let change = self.changes.iter().filter(|it| it.0 > from).map(|it| it.1);
        match direction {
            Direction::Up => change.filter(|it| *it > 0).sum(),
            Direction::Down => -change.filter(|it| *it < 0).sum::<i32>(),
        }
    }
}

/// Brings a proposal within windows, rates and bounds, and tells how.
pub(super) fn limit(
    spec: &Spec,
    current: i32,
    proposed: i32,
    history: &mut History,
    now: Seconds,
    verdicts: &mut Vec<Verdict>,
) -> i32 {
    let stable = stabilize(&spec.behavior, current, proposed, history, now);
    verdicts.push(match stable.cmp(&proposed) {
        std::cmp::Ordering::Greater => {
            let message =
                "recent recommendations were higher than current one, applying the highest recent recommendation";
            verdict("AbleToScale", true, "ScaleDownStabilized", message)
        }
        std::cmp::Ordering::Less => {
            let message =
                "recent recommendations were lower than current one, applying the lowest recent recommendation";
            verdict("AbleToScale", true, "ScaleUpStabilized", message)
        }
        std::cmp::Ordering::Equal => {
            let message = "recommended size matches current size";
            verdict("AbleToScale", true, "ReadyForNewScale", message)
        }
    });
    let (desired, limited) = bound(spec, current, stable, history, now);
    verdicts.push(limited);
    desired
}

fn stabilize(behavior: &Behavior, current: i32, proposed: i32, history: &mut History, now: Seconds) -> i32 {
    let within = |window: Seconds| history.recommended.iter().filter(move |it| it.0 > now - window).map(|it| it.1);
    let least = within(behavior.up.window).fold(proposed, i32::min);
    let most = within(behavior.down.window).fold(proposed, i32::max);
    history.recommended.push((now, proposed));
    current.max(least).min(most)
}

/// What rates and bounds leave of a number, and which of them did.
fn bound(spec: &Spec, current: i32, wanted: i32, history: &History, now: Seconds) -> (i32, Verdict) {
    let limited = |reason, message: &str| verdict("ScalingLimited", true, reason, message);
    if wanted > current {
        let limit = allowed(&spec.behavior.up, Direction::Up, current, history, now).max(current);
        if wanted > limit.min(spec.max) {
            return match limit < spec.max {
                true => (
                    limit,
                    limited(
                        "ScaleUpLimit",
                        "the desired replica count is increasing faster than the maximum scale rate",
                    ),
                ),
                false => (
                    spec.max,
                    limited("TooManyReplicas", "the desired replica count is more than the maximum replica count"),
                ),
            };
        }
    }
    if wanted < current {
        let limit = allowed(&spec.behavior.down, Direction::Down, current, history, now).min(current);
        if wanted < limit.max(spec.min) {
            return match limit > spec.min {
                true => (
                    limit,
                    limited(
                        "ScaleDownLimit",
                        "the desired replica count is decreasing faster than the maximum scale rate",
                    ),
                ),
                false => (
                    spec.min,
                    limited("TooFewReplicas", "the desired replica count is less than the minimum replica count"),
                ),
            };
        }
    }
    (wanted, verdict("ScalingLimited", false, "DesiredWithinRange", "the desired count is within the acceptable range"))
}

/// How far the policies of a direction let the number go.
fn allowed(rules: &Rules, direction: Direction, current: i32, history: &History, now: Seconds) -> i32 {
    let each = rules.policies.iter().map(|policy| {
        let from = now - policy.period;
        let start = current - history.changed(Direction::Up, from) + history.changed(Direction::Down, from);
        let share = f64::from(start) * f64::from(policy.value) / 100.0;
        match (direction, policy.kind) {
            (Direction::Up, PolicyKind::Pods) => start.saturating_add(policy.value),
            (Direction::Up, PolicyKind::Percent) => (f64::from(start) + share).ceil() as i32,
            (Direction::Down, PolicyKind::Pods) => start.saturating_sub(policy.value),
            (Direction::Down, PolicyKind::Percent) => (f64::from(start) - share) as i32,
        }
    });
    // The policy that allows most goes up farthest, and down farthest.
    let farthest = match (rules.select, direction) {
        (Select::Disabled, _) => return current,
        (Select::Max, Direction::Up) | (Select::Min, Direction::Down) => each.max(),
        (Select::Min, Direction::Up) | (Select::Max, Direction::Down) => each.min(),
    };
    farthest.unwrap_or(current)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoscale::{Decision, Proposal, decide};

    fn at(spec: &Spec, current: i32, proposed: i32, history: &mut History, now: Seconds) -> Decision {
        decide(spec, current, &[Ok(Proposal { replicas: proposed, metric: "m".into() })], history, now)
    }

    fn spec() -> Spec {
        Spec { min: 1, max: 100, behavior: Behavior::default() }
    }

    fn reason(decision: &Decision, kind: &str) -> &'static str {
        decision.verdicts.iter().find(|it| it.kind == kind).expect("told").reason
    }

    #[test]
    fn growth_is_at_most_double_or_four_more() {
        let (spec, mut history) = (spec(), History::default());
        let first = at(&spec, 1, 90, &mut history, 0);
        assert_eq!((first.desired, reason(&first, "ScalingLimited")), (5, "ScaleUpLimit"));
        assert_eq!(at(&spec, 5, 90, &mut history, 5).desired, 5, "the period is not over");
        assert_eq!(at(&spec, 5, 90, &mut history, 16).desired, 10);
        assert_eq!(at(&spec, 10, 90, &mut history, 32).desired, 20);
    }

    #[test]
    fn shrinking_waits_until_five_minutes_agree() {
        let (spec, mut history) = (spec(), History::default());
        let waits = at(&spec, 8, 2, &mut history, 0);
        assert_eq!((waits.desired, reason(&waits, "AbleToScale")), (8, "ScaleDownStabilized"));
        assert_eq!(at(&spec, 8, 3, &mut history, 150).desired, 8);
        assert_eq!(at(&spec, 8, 2, &mut history, 301).desired, 3, "the highest of the last five minutes");
        assert_eq!(at(&spec, 3, 2, &mut history, 451).desired, 2);
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nothing_up() {
        let (spec, mut history) = (spec(), History::default());
        assert_eq!(at(&spec, 8, 8, &mut history, 100_000).desired, 8);
        assert_eq!(at(&spec, 8, 2, &mut history, 1_000).desired, 2, "what was said in the future counts no more");
    }

    #[test]
    fn rules_of_ones_own_bound_each_direction() {
        let mut spec = spec();
        spec.behavior.down = Rules {
            window: 0,
            select: Select::Min,
            policies: vec![
                Policy { kind: PolicyKind::Pods, value: 4, period: 60 },
                Policy { kind: PolicyKind::Percent, value: 10, period: 60 },
            ],
        };
        let mut history = History::default();
        assert_eq!(at(&spec, 80, 10, &mut history, 0).desired, 76, "four pods are less than ten percent");
        assert_eq!(at(&spec, 76, 10, &mut history, 30).desired, 76);
        assert_eq!(at(&spec, 76, 10, &mut history, 61).desired, 72);
        spec.behavior.up.select = Select::Disabled;
        assert_eq!(at(&spec, 72, 90, &mut history, 62).desired, 72);
    }

    #[test]
    fn bounds_are_told() {
        let mut spec = spec();
        spec.max = 4;
        let decision = at(&spec, 3, 50, &mut History::default(), 0);
        assert_eq!((decision.desired, reason(&decision, "ScalingLimited")), (4, "TooManyReplicas"));
        let decision = at(&spec, 3, 3, &mut History::default(), 0);
        assert_eq!(reason(&decision, "ScalingLimited"), "DesiredWithinRange");
        assert_eq!(reason(&decision, "AbleToScale"), "ReadyForNewScale");
    }
}
