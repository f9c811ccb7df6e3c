//! What pods count about their requests themselves. Entry point: [`values`].

use std::{collections::HashMap, sync::Arc, time::Duration};

use eyot_store::Entry;
use serde_json::json;

use super::{
    custom::Measured,
    summary::{Counted, Look},
};

/// What a metric's name ends with when it is the rate of a count.
const RATE: &str = "_per_second";

/// What each of these pods counts under a name. Pods that count nothing are left out.
pub(super) fn values(entries: &[Arc<Entry>], looks: &HashMap<String, Look>, metric: &str) -> Vec<Measured> {
    let (counted, per_second) = metric.strip_suffix(RATE).map_or((metric, false), |it| (it, true));
    let one = |entry: &Arc<Entry>| {
        let (namespace, name) = (&*entry.key.namespace, &*entry.key.name);
        let (look, pod) = looks.values().find_map(|it| it.pod(namespace, name).map(|pod| (it, pod)))?;
        let counting = pod.containers.iter().filter(|it| it.metric(counted).is_some());
        let shown = counting.map(|it| match per_second {
            true => look.rate(pod, it, Counted::Metric(counted)),
            false => (it.metric(counted).unwrap_or_default(), Duration::ZERO),
        });
        let (value, window) = shown.reduce(|a, b| (a.0 + b.0, a.1.min(b.1)))?;
        let about = json!({ "kind": "Pod", "apiVersion": "v1", "namespace": namespace, "name": name });
        Some(Measured { about, value, window_seconds: window.as_secs() })
    };
    entries.iter().filter_map(one).collect()
}
