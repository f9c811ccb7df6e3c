//! How many pods a PodDisruptionBudget lets evictions take.
//!
//! Entry point: [`plan`]. The API server takes one off the count with each eviction and notes the pod; here the count is
//! made anew, and a noted pod counts as gone until it is, or until nobody believes it any more.

use std::collections::BTreeMap;

use crate::{
    Seconds,
    amount::{Amount, Rounding},
    condition::{self, Condition},
};

/// An eviction that has not removed its pod by then has failed.
pub const DISRUPTION_SECONDS: Seconds = 120;

/// What the user asked for.
#[derive(Clone, Copy, Debug)]
pub enum Wish {
    /// So many pods stay healthy.
    MinAvailable(Amount),
    /// So many pods may be away.
    MaxUnavailable(Amount),
}

/// A pod that the budget selects.
#[derive(Clone, Copy, Debug)]
pub struct Pod {
    /// Its `Ready` condition is true.
    pub ready: bool,
    /// Being deleted.
    pub deleting: bool,
}

impl Pod {
    /// Ready and there to stay.
    pub fn healthy(&self) -> bool {
        self.ready && !self.deleting
    }
}

/// The pods that the budget selects, by number.
#[derive(Clone, Copy, Debug)]
pub struct Pods<F> {
    /// All of them.
    pub present: i32,
    /// The [healthy](Pod::healthy) ones.
    pub healthy: i32,
    /// Finds one by its name: only pods that an eviction noted are looked at.
    pub find: F,
}

/// How many pods there should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scale {
    /// What the controllers of the pods want, together.
    Known(i32),
    /// A controller cannot tell; the reason, for people.
    Unknown(String),
}

/// `status` of a PodDisruptionBudget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Generation this status speaks of.
    pub observed_generation: i64,
    /// Pods that evictions may take now.
    pub allowed: i32,
    /// Healthy pods.
    pub healthy: i32,
    /// Healthy pods that must stay.
    pub desired: i32,
    /// Pods there should be.
    pub expected: i32,
    /// Pods on their way out, and since when.
    pub disrupted: BTreeMap<String, Seconds>,
    /// Conditions.
    pub conditions: Vec<Condition>,
}

/// Computes the status, and in how many seconds an eviction that did not happen is forgotten.
pub fn plan(
    wish: Wish,
    generation: i64,
    old: &Status,
    pods: &Pods<impl Fn(&str) -> Option<Pod>>,
    scale: &Scale,
    now: Seconds,
) -> (Status, Option<Seconds>) {
    let mut disrupted = old.disrupted.clone();
    disrupted.retain(|name, since| {
        let waits = (pods.find)(name).is_some_and(|it| !it.deleting);
        waits && *since + DISRUPTION_SECONDS > now
    });
    let wait = disrupted.values().map(|since| since + DISRUPTION_SECONDS - now).min();
    let leaving = disrupted.keys().filter(|name| (pods.find)(name).is_some_and(|it| it.healthy())).count();
    let healthy = pods.healthy.saturating_sub(i32::try_from(leaving).unwrap_or(i32::MAX)).max(0);
    let mut status = Status {
        observed_generation: generation,
        healthy,
        disrupted,
        conditions: old.conditions.clone(),
        ..Status::default()
    };
    let failure = match (wish, scale) {
        (Wish::MinAvailable(Amount::Count(count)), _) => {
            (status.expected, status.desired) = (pods.present, count);
            None
        }
        (_, Scale::Unknown(why)) => Some(why),
        (Wish::MinAvailable(share), Scale::Known(expected)) => {
            (status.expected, status.desired) = (*expected, share.of(*expected, Rounding::Up));
            None
        }
        (Wish::MaxUnavailable(away), Scale::Known(expected)) => {
            let away = away.of(*expected, Rounding::Up);
            (status.expected, status.desired) = (*expected, (expected - away).max(0));
            None
        }
    };
    if failure.is_none() && status.expected > 0 {
        status.allowed = (healthy - status.desired).max(0);
    }
    let (value, reason) = match (failure, status.allowed) {
        (Some(_), _) => ("False", "SyncFailed"),
        (None, 0) => ("False", "InsufficientPods"),
        (None, _) => ("True", "SufficientPods"),
    };
    let message = failure.map_or("", String::as_str);
    condition::set(&mut status.conditions, Condition::new("DisruptionAllowed", value, reason, message, now));
    (status, wait)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    const PODS: [(&str, Pod); 4] = [
        ("a", Pod { ready: true, deleting: false }),
        ("b", Pod { ready: true, deleting: false }),
        ("c", Pod { ready: false, deleting: false }),
        ("d", Pod { ready: true, deleting: true }),
    ];

    fn pods() -> Pods<impl Fn(&str) -> Option<Pod>> {
        let healthy = PODS.iter().filter(|it| it.1.healthy()).count() as i32;
        let find = |name: &str| PODS.iter().find(|it| it.0 == name).map(|it| it.1);
        Pods { present: PODS.len() as i32, healthy, find }
    }

    #[test]
    fn budgets_count_healthy_pods_against_what_must_stay() {
        let known = Scale::Known(4);
        let mut got = String::new();
        for (wish, scale) in [
            (Wish::MinAvailable(Amount::Count(1)), &Scale::Unknown("x".into())),
            (Wish::MinAvailable(Amount::Count(2)), &known),
            (Wish::MinAvailable(Amount::Percent(30)), &known),
            (Wish::MaxUnavailable(Amount::Count(3)), &known),
            (Wish::MaxUnavailable(Amount::Percent(10)), &known),
            (Wish::MaxUnavailable(Amount::Count(9)), &known),
            (Wish::MaxUnavailable(Amount::Count(1)), &Scale::Unknown("no controllers".into())),
        ] {
            let (it, _) = plan(wish, 1, &Status::default(), &pods(), scale, 100);
            let condition = &it.conditions[0];
            got += &format!(
                "{wish:?}: {} healthy, {} must stay of {}, {} allowed, {}={} {}\n",
                it.healthy, it.desired, it.expected, it.allowed, condition.status, condition.reason, condition.message
            );
        }
        expect![[r#"
            MinAvailable(Count(1)): 2 healthy, 1 must stay of 4, 1 allowed, True=SufficientPods 
            MinAvailable(Count(2)): 2 healthy, 2 must stay of 4, 0 allowed, False=InsufficientPods 
            MinAvailable(Percent(30)): 2 healthy, 2 must stay of 4, 0 allowed, False=InsufficientPods 
            MaxUnavailable(Count(3)): 2 healthy, 1 must stay of 4, 1 allowed, True=SufficientPods 
            MaxUnavailable(Percent(10)): 2 healthy, 3 must stay of 4, 0 allowed, False=InsufficientPods 
            MaxUnavailable(Count(9)): 2 healthy, 0 must stay of 4, 2 allowed, True=SufficientPods 
            MaxUnavailable(Count(1)): 2 healthy, 0 must stay of 0, 0 allowed, False=SyncFailed no controllers
        "#]]
        .assert_eq(&got);
    }

    #[test]
    fn an_evicted_pod_counts_as_gone_until_it_is_or_was_not() {
        let disrupted = [("a".to_owned(), 90), ("d".to_owned(), 90), ("gone".to_owned(), 90)].into();
        let old = Status { disrupted, ..Status::default() };
        let wish = Wish::MinAvailable(Amount::Count(1));
        let (soon, wait) = plan(wish, 1, &old, &pods(), &Scale::Known(4), 100);
        assert_eq!((soon.healthy, soon.allowed, soon.disrupted.len(), wait), (1, 0, 1, Some(110)));
        let (late, wait) = plan(wish, 1, &old, &pods(), &Scale::Known(4), 210);
        assert_eq!((late.healthy, late.allowed, late.disrupted.len(), wait), (2, 1, 0, None));
    }
}
