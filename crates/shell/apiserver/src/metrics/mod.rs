//! `metrics.k8s.io`: what pods and nodes use now. `custom.metrics.k8s.io` and `external.metrics.k8s.io`: what is asked of them.
//! Entry point: [`answer`]; [`expose`] is the same for Prometheus.
//!
//! Nothing is gathered until somebody asks. Then the nodes are asked what was used so far, and a rate comes from two such
//! answers: this one, and one that an earlier question left behind or, where there is none of late, one of a moment ago.

mod custom;
pub(crate) mod expose;
mod external;
mod names;
mod pods;
mod summary;

use std::{collections::HashMap, time::Duration};

use eyot_model::{kinds::Kind, status::ApiError};
use eyot_store::Entry;
use http::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{Body, call::Call, respond, select::Selection, verbs::list};

pub(crate) use summary::Usages;
use summary::{Counted, Look};

/// Answers `GET` of what is measured. `metric` is the path's last part, where it names one.
pub(crate) async fn answer(call: Call, name: Option<&str>, metric: Option<&str>) -> Result<Response<Body>, ApiError> {
    match (call.kind.group.as_str(), metric) {
        ("custom.metrics.k8s.io", _) => custom::answer(call, name, metric).await,
        ("external.metrics.k8s.io", None) => external::answer(&call, name),
        (_, None) => used(call, name).await,
        _ => Err(ApiError::no_such_path()),
    }
}

/// Answers with one object's usage, or with that of a collection.
async fn used(mut call: Call, name: Option<&str>) -> Result<Response<Body>, ApiError> {
    let measured = call.kind.clone();
    let kinds = call.server.kinds();
    call.kind = kinds.by_plural("", "v1", &measured.plural).ok_or_else(ApiError::no_such_path)?.clone();
    (call.query.limit, call.query.continue_token) = (None, String::new());
    let entries = match name {
        Some(name) => vec![call.get(name).map_err(|_| ApiError::not_found(&measured, name))?],
        None => list::find(&call, &Selection::parse(&call.kind, &call.query)?).await?.entries,
    };
    let looks = summary::look(call.shared()).await?;
    let at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
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
