//! Wakes an autoscaler before its period is over when the gateway's own counters pass its target.
//!
//! Entry points: [`Alarms::set`] after each pass, [`follow`] for the task that wakes. After a pass the counters of the Services
//! and routes that the metrics are about get an alarm: when all requests have come that a period at the target may bring, or
//! more are under way than the target allows. What the pass then decides is bound by windows and rates as at any other time.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use eyot_meter::{Alarm, Meter, Subject};
use eyot_plan::selector::Selector;
use parking_lot::Mutex;

use super::PERIOD;
use crate::{
    context::Context,
    selected::Kind,
    view::{
        Key,
        autoscale::{AutoscalerView, Metric, Source},
    },
};

/// Least time between two passes that alarms ask for: overload costs two passes a second.
const REST: Duration = Duration::from_millis(500);
/// How much more than at the last pass must be under way before that alone is news.
const GROWTH: f64 = 1.2;

/// Which autoscalers wait for which meters.
#[derive(Default)]
pub(crate) struct Alarms(Mutex<HashMap<Box<str>, HashSet<Key>>>);

/// What the target may have of a metric.
enum Bound {
    PerSecond(f64),
    AtOnce(f64),
}

impl Alarms {
    /// Sets the alarms of an autoscaler whose target has so many replicas. None where it could not have more of them.
    pub(super) fn set(&self, context: &Context, it: &AutoscalerView, selector: &Selector, replicas: i32) {
        if replicas >= it.spec.max_replicas {
            return;
        }
        let above = 1.0 + it.spec.tolerance().up;
        for metric in &it.spec.metrics {
            let Some((bound, meters)) = about(context, it, metric, selector, replicas) else { continue };
            for meter in meters {
                self.0.lock().entry(meter.name().into()).or_default().insert(it.meta.key());
                meter.set_alarm(match bound {
                    Bound::PerSecond(each) => {
                        Alarm { requests: whole(each * above * PERIOD.as_secs_f64()), ..Alarm::default() }
                    }
                    Bound::AtOnce(all) => {
                        let now = f64::from(meter.read().in_flight) * GROWTH;
                        let in_flight = u32::try_from(whole((all * above).max(now)) + 1).unwrap_or(u32::MAX);
                        Alarm { in_flight, ..Alarm::default() }
                    }
                });
            }
        }
    }

    /// The autoscalers that wait for a meter; they do no longer.
    fn take(&self, meter: &str) -> HashSet<Key> {
        self.0.lock().remove(meter).unwrap_or_default()
    }
}

/// Wakes autoscalers for ever.
pub(crate) async fn follow(context: Arc<Context>) {
    loop {
        let meter = context.config.meters.raised().await;
        for key in context.alarms.take(meter.name()) {
            context.queues.autoscalers.add_after(key, REST);
        }
    }
}

/// What of a metric so many replicas may have together, and who counts it here; `None` where nobody does.
fn about(
    context: &Context,
    it: &AutoscalerView,
    metric: &Metric,
    selector: &Selector,
    replicas: i32,
) -> Option<(Bound, Vec<Arc<Meter>>)> {
    let namespace = &*it.meta.namespace;
    let meters = &context.config.meters;
    let one = |subject, name: &str| meters.get(subject, &format!("{namespace}/{name}")).into_iter().collect();
    let (source, found): (&Source, Vec<Arc<Meter>>) = match (metric.kind.as_str(), metric) {
        ("Pods", Metric { pods: Some(source), .. }) => (source, of_pods(context, it, selector)),
        ("Object", Metric { object: Some(source), .. }) => {
            let name = &source.described_object.name;
            let subject = match source.described_object.kind.as_str() {
                "Service" | "Revision" => Subject::Service,
                "HTTPRoute" | "Route" => Subject::Route,
                "Ingress" => Subject::Ingress,
                _ => return None,
            };
            (source, one(subject, name))
        }
        ("External", Metric { external: Some(source), .. }) => {
            let labels = &source.metric.selector.as_ref()?.match_labels;
            (source, one(Subject::Service, labels.get("service")?))
        }
        _ => return None,
    };
    let target = match (source.target.average_value.0, source.target.value.0) {
        (Some(each), _) => each * f64::from(replicas.max(1)),
        (None, value) => value?,
    };
    let bound = match source.metric.name.as_str() {
        "http_requests_per_second" | "requests-per-second" | "requests_per_second" => Bound::PerSecond(target),
        "http_requests_in_flight" | "concurrency" | "http_requests_waiting" | "queue_depth" => Bound::AtOnce(target),
        _ => return None,
    };
    Some((bound, found))
}

/// The Services that lead to the pods that an autoscaler's selector picks.
fn of_pods(context: &Context, it: &AutoscalerView, selector: &Selector) -> Vec<Arc<Meter>> {
    // All of them are made by one template.
    let key = it.meta.key();
    let Some(pod) = context.selected.one_pod(Kind::Autoscaler, &key, selector) else { return Vec::new() };
    let services = context.selected.selecting(Kind::Service, [&pod]);
    let services = services.iter().filter_map(|it| context.stores.services.get(it));
    let leading = services.filter(|it| it.selects() && it.matches(&pod.meta.labels));
    let meter = |name: &str| context.config.meters.get(Subject::Service, &format!("{}/{name}", key.namespace));
    leading.filter_map(|it| meter(&it.meta.name)).collect()
}

fn whole(number: f64) -> u64 {
    number.ceil().clamp(1.0, 1e18) as u64
}
