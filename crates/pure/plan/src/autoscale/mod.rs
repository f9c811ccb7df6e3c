//! How many replicas a HorizontalPodAutoscaler wants, as `autoscaling/v2` defines it.
//!
//! Entry points: [`from_pods`] and [`from_total`] turn one metric into a proposal, [`decide`] turns all proposals into a
//! number of replicas and what to tell about it. What was recommended and done before is a [`History`] that the caller
//! keeps. Deliberately absent: scaling to and from zero, which needs somebody who holds requests meanwhile.

mod behavior;
mod replicas;

pub use behavior::{Behavior, History, Policy, PolicyKind, Rules, Select};
pub use replicas::{Pod, Readiness, Sample, Target, Tolerance, from_pods, from_total};

use crate::Seconds;

/// What the user asked for.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Never fewer replicas.
    pub min: i32,
    /// Never more replicas.
    pub max: i32,
    /// How fast it may go.
    pub behavior: Behavior,
}

/// How many replicas one metric asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// So many.
    pub replicas: i32,
    /// The metric as conditions name it.
    pub metric: String,
}

/// Why a metric says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Reason of the condition, such as `FailedGetResourceMetric`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// One condition of the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `AbleToScale`, `ScalingActive` or `ScalingLimited`.
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// Why, in one word.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// How many replicas there shall be; as many as there are where nothing can be said.
    pub desired: i32,
    /// Why it differs from what there is.
    pub why: String,
    /// What to tell.
    pub verdicts: Vec<Verdict>,
}

fn verdict(kind: &'static str, holds: bool, reason: &'static str, message: impl Into<String>) -> Verdict {
    Verdict { kind, holds, reason, message: message.into() }
}

/// Decides between what the metrics propose. `current` is what the target asks for now; the history learns of it.
pub fn decide(
    spec: &Spec,
    current: i32,
    metrics: &[Result<Proposal, Unknown>],
    history: &mut History,
    now: Seconds,
) -> Decision {
    if current == 0 && spec.min != 0 {
        let message = "scaling is disabled since the replica count of the target is zero";
        let off = verdict("ScalingActive", false, "ScalingDisabled", message);
        return Decision { desired: 0, why: String::new(), verdicts: vec![off] };
    }
    history.begin(current, now, &spec.behavior);
    if current > spec.max {
        return outside(spec.max, "Current number of replicas above Spec.MaxReplicas");
    }
    if current < spec.min {
        return outside(spec.min, "Current number of replicas below Spec.MinReplicas");
    }
    let best = metrics.iter().filter_map(|it| it.as_ref().ok()).max_by_key(|it| it.replicas);
    let unknown = metrics.iter().find_map(|it| it.as_ref().err());
    let best = match (best, unknown) {
        (Some(best), None) => best,
        // A metric that is not known may be the one that needs what there is.
        (Some(best), Some(_)) if best.replicas >= current => best,
        (_, Some(unknown)) => {
            let message = format!("the HPA was unable to compute the replica count: {}", unknown.message);
            let inactive = verdict("ScalingActive", false, unknown.reason, message);
            return Decision { desired: current, why: String::new(), verdicts: vec![able(), inactive] };
        }
        (None, None) => {
            let inactive = verdict("ScalingActive", false, "InvalidMetricSourceType", "no metric is specified");
            return Decision { desired: current, why: String::new(), verdicts: vec![able(), inactive] };
        }
    };
    let found = format!("the HPA was able to successfully calculate a replica count from {}", best.metric);
    let mut verdicts = vec![verdict("ScalingActive", true, "ValidMetricFound", found)];
    let desired = behavior::limit(spec, current, best.replicas, history, now, &mut verdicts);
    let why = match desired.cmp(&current) {
        std::cmp::Ordering::Greater => format!("{} above target", best.metric),
        std::cmp::Ordering::Less => "All metrics below target".to_owned(),
        std::cmp::Ordering::Equal => String::new(),
    };
    history.scaled(current, desired, now);
    Decision { desired, why, verdicts }
}

/// The bounds of the spec hold without asking any metric.
fn outside(desired: i32, why: &str) -> Decision {
    Decision { desired, why: why.to_owned(), verdicts: vec![able()] }
}

fn able() -> Verdict {
    verdict("AbleToScale", true, "SucceededGetScale", "the HPA controller was able to get the target's current scale")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(min: i32, max: i32) -> Spec {
        Spec { min, max, behavior: Behavior::default() }
    }

    fn proposes(replicas: i32) -> Result<Proposal, Unknown> {
        Ok(Proposal { replicas, metric: "cpu resource utilization (percentage of request)".into() })
    }

    fn unknown() -> Result<Proposal, Unknown> {
        Err(Unknown { reason: "FailedGetResourceMetric", message: "no metrics".into() })
    }

    fn desired(spec: &Spec, current: i32, metrics: &[Result<Proposal, Unknown>]) -> i32 {
        decide(spec, current, metrics, &mut History::default(), 0).desired
    }

    #[test]
    fn the_metric_that_asks_for_most_wins_within_bounds() {
        assert_eq!(desired(&spec(1, 10), 2, &[proposes(3), proposes(4)]), 4);
        assert_eq!(desired(&spec(1, 3), 2, &[proposes(9)]), 3);
        assert_eq!(desired(&spec(2, 9), 1, &[proposes(1)]), 2, "below the bounds no metric is asked");
        assert_eq!(desired(&spec(2, 9), 12, &[unknown()]), 9, "nor above them");
        assert_eq!(desired(&spec(1, 9), 0, &[proposes(5)]), 0, "zero was meant");
    }

    #[test]
    fn what_is_not_known_never_scales_down() {
        assert_eq!(desired(&spec(1, 10), 4, &[proposes(2), unknown()]), 4);
        assert_eq!(desired(&spec(1, 10), 4, &[proposes(6), unknown()]), 6);
        let decision = decide(&spec(1, 10), 4, &[unknown()], &mut History::default(), 0);
        let inactive = decision.verdicts.iter().find(|it| it.kind == "ScalingActive").expect("told");
        assert_eq!((inactive.holds, inactive.reason), (false, "FailedGetResourceMetric"));
    }
}
