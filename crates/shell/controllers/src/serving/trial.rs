//! Revisions on trial: what the gateway counted of them lately, and what their Route makes of it. Entry point: [`take_over`].

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use eyot_meter::{Reading, Subject};
use eyot_serving::{
    Assigned,
    rollout::{self, LATENCIES_LEAST, Observed, Policy, REQUESTS_LEAST, State, Step},
};
use parking_lot::Mutex;
use serde_json::Value;

use super::Object;
use crate::{
    api::{KNATIVE_ROUTES, KNATIVE_SERVICES},
    context::Context,
    events::Severity,
    view::{Key, now},
};

/// Readings kept of a trial: at one a second two minutes, and always the first.
const READINGS_MAX: usize = 128;

/// Trials under way, by Route.
pub(super) struct Trials {
    by_route: Mutex<HashMap<Key, Trial>>,
    clock: Clock,
}

/// The time, as even as it goes by: the system's clock may be set while a rollout goes on, which must neither begin anew nor be
/// over unseen.
struct Clock {
    began: Instant,
    at: i64,
}

impl Clock {
    /// In seconds since 1970, as far as was known when this process began.
    fn read(&self, at: Instant) -> i64 {
        let gone = at.saturating_duration_since(self.began).as_secs();
        self.at.saturating_add(i64::try_from(gone).unwrap_or(i64::MAX))
    }
}

impl Default for Trials {
    fn default() -> Self {
        Self { by_route: Mutex::default(), clock: Clock { began: Instant::now(), at: now() } }
    }
}

struct Trial {
    revision: Box<str>,
    readings: VecDeque<(Instant, Reading)>,
}

impl Trials {
    pub(super) fn forget(&self, route: &Key) {
        self.by_route.lock().remove(route);
    }

    fn observe(&self, route: &Key, revision: &str, reading: Reading, at: Instant, interval: Duration) -> Observed {
        let mut trials = self.by_route.lock();
        let trial = trials
            .entry(route.clone())
            .or_insert_with(|| Trial { revision: revision.into(), readings: VecDeque::new() });
        if *trial.revision != *revision {
            *trial = Trial { revision: revision.into(), readings: VecDeque::new() };
        }
        let observed = trial.observed(&reading, at, interval);
        if trial.readings.len() >= READINGS_MAX {
            trial.readings.remove(1);
        }
        trial.readings.push_back((at, reading));
        observed
    }
}

impl Trial {
    /// What there was within the interval, or within as much more as it takes to say anything.
    fn observed(&self, now: &Reading, at: Instant, interval: Duration) -> Observed {
        let since = |least: u64| {
            let far = |it: &&(Instant, Reading)| {
                at.duration_since(it.0) >= interval && now.ended().saturating_sub(it.1.ended()) >= least
            };
            self.readings.iter().rev().find(far).or(self.readings.front()).map(|it| &it.1)
        };
        let Some(from) = since(REQUESTS_LEAST) else { return Observed::default() };
        let timed = since(LATENCIES_LEAST).map(|it| now.latencies.since(&it.latencies)).unwrap_or_default();
        Observed {
            ended: now.ended().saturating_sub(from.ended()),
            failed: now.failed().saturating_sub(from.failed()),
            timed: timed.count(),
            p99: timed.quantile(0.99),
        }
    }
}

/// Who gets which part of a Route's requests now, and the step that says so; none where nothing is asked of a rollout.
/// `http_route` is what was made for the Route.
pub(super) fn take_over(
    context: &Context,
    route: &Object,
    http_route: Option<&Object>,
    assigned: Vec<Assigned>,
) -> (Vec<Assigned>, Option<Step>) {
    // What is stored was validated when it was written.
    let json = route.json();
    let policy = Policy::parse(&json).unwrap_or_default();
    let (key, parts) = (route.meta.key(), &context.serving);
    let written = http_route.and_then(|it| State::read(it.meta.annotations.get(rollout::STATE)?));
    let followed = rollout::followed(&assigned).filter(|_| !policy.is_plain() || written.is_some());
    let Some(at) = followed else {
        parts.trials.forget(&key);
        return (assigned, None);
    };
    let latest = assigned[at].revision.clone();
    let before = written.or_else(|| serving_now(&json).map(State::of)).unwrap_or_else(|| State::of(latest.as_str()));
    let observed = match before.good == latest || !policy.judges() {
        true => Observed::default(),
        false => {
            let meter = context.config.meters.get(Subject::Service, &format!("{}/{latest}", key.namespace));
            let reading = meter.map(|it| it.read()).unwrap_or_default();
            parts.trials.observe(&key, &latest, reading, Instant::now(), policy.interval)
        }
    };
    let now = parts.trials.clock.read(Instant::now());
    let step = before.step(&policy, &latest, assigned[at].percent.unwrap_or(0), observed, now);
    if step.rolls_back {
        tell(context, route, &step);
    }
    if step.again.is_none() {
        parts.trials.forget(&key);
    }
    (rollout::shares(assigned, at, &step), Some(step))
}

/// The revision that was the newest when the status was written.
fn serving_now(route: &Value) -> Option<&str> {
    let rows = route["status"]["traffic"].as_array()?;
    rows.iter().find(|it| it["latestRevision"] == true)?["revisionName"].as_str()
}

fn tell(context: &Context, route: &Object, step: &Step) {
    let Some(why) = step.state.refusal() else { return };
    tracing::warn!(route = %route.meta.key(), why, "rolled back");
    context.config.meters.scales.rolled_back(&route.meta.key().to_string());
    let recorder = context.recorder.of("route-controller");
    recorder.record(&KNATIVE_ROUTES, &route.meta, Severity::Warning, "RolledBack", why.as_str());
    let owner = route.meta.controller().filter(|it| &*it.kind == "Service");
    let service: Option<Arc<Object>> =
        owner.and_then(|it| context.serving.services.get(&Key::new(&route.meta.namespace, &it.name)));
    if let Some(service) = service {
        recorder.record(&KNATIVE_SERVICES, &service.meta, Severity::Warning, "RolledBack", why);
    }
}

#[cfg(test)]
mod tests {
    use eyot_meter::Meters;

    use super::*;

    #[test]
    fn the_time_of_rollouts_goes_on_whatever_the_systems_clock_says() {
        let clock = Clock { began: Instant::now(), at: 1000 };
        assert_eq!(clock.read(clock.began), 1000);
        assert_eq!(clock.read(clock.began + Duration::from_millis(90_500)), 1090);
    }

    #[test]
    fn what_is_judged_is_what_came_lately_or_enough_to_say_anything() {
        let (trials, route, meters) = (Trials::default(), Key::new("ns", "web"), Meters::default());
        let meter = meters.of(Subject::Service, "ns/web-2");
        let (began, interval) = (Instant::now(), Duration::from_secs(10));
        let answer = |count: usize, status: u16| (0..count).for_each(|_| meter.begin().answered(status));
        let at = |seconds: u64| {
            let observed =
                trials.observe(&route, "web-2", meter.read(), began + Duration::from_secs(seconds), interval);
            (observed.ended, observed.failed, observed.timed)
        };
        answer(500, 200);
        assert_eq!(at(0), (0, 0, 0), "what was before the trial is not of it");
        answer(10, 500);
        assert_eq!(at(1), (10, 10, 10), "all there is, while it is young");
        answer(200, 200);
        assert_eq!(at(5), (210, 10, 210));
        answer(30, 200);
        assert_eq!(at(16), (30, 0, 230), "of thirty the slowest says nothing: that goes farther back");
        assert_eq!(at(17), (30, 0, 230), "as far as it takes");
        let other = trials.observe(&route, "web-3", Reading::default(), began, interval);
        assert_eq!(other, Observed::default());
    }
}
