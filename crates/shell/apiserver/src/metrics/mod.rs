//! `metrics.k8s.io` and `custom.metrics.k8s.io`: what pods and nodes use now. Entry point: [`answer`].
//!
//! Nothing is gathered until somebody asks. Then the nodes are asked what was used so far, and a rate comes from two such
//! answers: this one, and one that an earlier question left behind or, where there is none of late, one of a moment ago.

mod summary;

use std::{collections::HashMap, sync::Arc, time::Duration};

use eyot_model::{
    kinds::Kind,
    status::{ApiError, Reason},
};
use eyot_store::Entry;
use http::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{Body, call::Call, respond, select::Selection, verbs::list};

pub(crate) use summary::Usages;
use summary::{Counted, Look};

/// Kind of the answers about requests and other things that containers count themselves.
const VALUES: &str = "MetricValueList";
/// What a metric's name ends with when it is the rate of a count.
const RATE: &str = "_per_second";

/// Answers `GET` of one object's usage, or of a collection's. `metric` is the path's last part, where it names one.
pub(crate) async fn answer(
    mut call: Call,
    name: Option<&str>,
    metric: Option<&str>,
) -> Result<Response<Body>, ApiError> {
    let measured = call.kind.clone();
    if metric.is_some() != (measured.kind == VALUES) {
        return Err(ApiError::no_such_path());
    }
    let kinds = call.server.kinds();
    call.kind = kinds.by_plural("", "v1", &measured.plural).ok_or_else(ApiError::no_such_path)?.clone();
    (call.query.limit, call.query.continue_token) = (None, String::new());
    let everything = name.is_none_or(|it| it == "*");
    let entries = match name {
        Some(name) if !everything => vec![call.get(name).map_err(|_| ApiError::not_found(&measured, name))?],
        _ => list::find(&call, &Selection::parse(&call.kind, &call.query)?).await?.entries,
    };
    let looks = summary::look(call.shared()).await?;
    let at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    if let Some(metric) = metric {
        return Ok(respond::json(200, &values(&measured, &call, &entries, &looks, metric, &at)?));
    }
    let mut items = entries.iter().filter_map(|entry| match measured.plural.as_str() {
        "nodes" => node(&measured, entry, &looks, &at),
        _ => pod(&measured, entry, &looks, &at),
    });
    if let Some(name) = name {
        let item = items.next().ok_or_else(|| ApiError::not_found(&measured, name))?;
        return Ok(respond::json(200, &item));
    }
    let items: Vec<Value> = items.collect();
    Ok(respond::json(200, &list_of(&measured, measured.list_kind(), items)))
}

fn list_of(kind: &Kind, list_kind: String, items: Vec<Value>) -> Value {
    json!({ "kind": list_kind, "apiVersion": kind.api_version(), "metadata": {}, "items": items })
}

fn node(kind: &Kind, entry: &Entry, looks: &HashMap<String, Look>, at: &str) -> Option<Value> {
    let look = looks.get(&*entry.key.name)?;
    let (cores, window) = look.node_rate();
    let mut object = measured(kind, entry, at, window);
    object["usage"] = usage(cores, look.node().memory.working_set_bytes);
    Some(object)
}

fn pod(kind: &Kind, entry: &Entry, looks: &HashMap<String, Look>, at: &str) -> Option<Value> {
    let (look, stats) =
        looks.values().find_map(|it| it.pod(&entry.key.namespace, &entry.key.name).map(|pod| (it, pod)))?;
    let mut shortest = Duration::MAX;
    let containers: Vec<Value> = stats
        .containers
        .iter()
        .map(|it| {
            let (cores, window) = look.rate(stats, it, Counted::Cpu);
            shortest = shortest.min(window);
            json!({ "name": it.name, "usage": usage(cores, it.memory.working_set_bytes) })
        })
        .collect();
    let mut object = measured(kind, entry, at, shortest);
    object["containers"] = containers.into();
    Some(object)
}

/// The part that all measurements share.
fn measured(kind: &Kind, entry: &Entry, at: &str, window: Duration) -> Value {
    let stored: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    let mut metadata = json!({ "name": &*entry.key.name, "creationTimestamp": at });
    if kind.namespaced {
        metadata["namespace"] = (&*entry.key.namespace).into();
    }
    if let Some(labels) = stored.pointer("/metadata/labels") {
        metadata["labels"] = labels.clone();
    }
    json!({
        "kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata,
        "timestamp": at, "window": format!("{:.3}s", window.as_secs_f64()),
    })
}

/// Cores and bytes as quantities.
fn usage(cores: f64, memory: u64) -> Value {
    json!({ "cpu": format!("{}n", (cores * 1e9).round()), "memory": format!("{}Ki", memory >> 10) })
}

/// What each pod counts under a name.
fn values(
    kind: &Kind,
    call: &Call,
    entries: &[Arc<Entry>],
    looks: &HashMap<String, Look>,
    metric: &str,
    at: &str,
) -> Result<Value, ApiError> {
    let (counted, per_second) = metric.strip_suffix(RATE).map_or((metric, false), |it| (it, true));
    let items: Vec<Value> = entries
        .iter()
        .filter_map(|entry| {
            let (namespace, name) = (&*entry.key.namespace, &*entry.key.name);
            let (look, pod) = looks.values().find_map(|it| it.pod(namespace, name).map(|pod| (it, pod)))?;
            let counting = pod.containers.iter().filter(|it| it.metric(counted).is_some());
            let shown = counting.map(|it| match per_second {
                true => look.rate(pod, it, Counted::Metric(counted)),
                false => (it.metric(counted).unwrap_or_default(), Duration::ZERO),
            });
            let (value, window) = shown.reduce(|a, b| (a.0 + b.0, a.1.min(b.1)))?;
            Some(json!({
                "describedObject": { "kind": "Pod", "apiVersion": "v1", "namespace": namespace, "name": name },
                "metric": { "name": metric, "selector": null },
                "timestamp": at, "windowSeconds": window.as_secs(),
                "value": format!("{}m", (value * 1000.0).round()),
            }))
        })
        .collect();
    if items.is_empty() {
        let namespace = call.namespace.as_deref().unwrap_or_default();
        let message = format!("the server could not find the metric {metric} for pods in namespace {namespace}");
        return Err(ApiError::new(404, Reason::NotFound, message));
    }
    Ok(list_of(kind, VALUES.to_owned(), items))
}
