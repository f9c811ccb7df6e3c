//! `custom.metrics.k8s.io`: what is counted about objects. Entry point: [`answer`].
//!
//! Pods count their requests themselves; those to Services, routes and functions are counted by the gateway. An object that
//! was never asked anything has zero of it, so that whoever scales by it scales down.

use std::sync::Arc;

use eyot_meter::{Reading, Subject};
use eyot_model::{
    kinds::Kind,
    selector::LabelSelector,
    status::{ApiError, Reason},
};
use eyot_store::{Entry, Scope};
use http::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    list_of,
    names::{self, Measure, milli},
    pods, summary,
};
use crate::{Body, call::Call, respond, select::Selection, verbs::list};

/// Kind of the answers.
const VALUES: &str = "MetricValueList";
/// The resource that stands for the namespace itself.
const OF_NAMESPACE: &str = "metrics";
/// Of the Services of a function's revisions: whose they are.
const OF_FUNCTION: &str = "serving.knative.dev/service";

/// One answer, before it is rendered.
pub(super) struct Measured {
    /// `kind`, `apiVersion`, `namespace` and `name` of what it is about.
    pub(super) about: Value,
    pub(super) value: f64,
    pub(super) window_seconds: u64,
}

/// Answers for one object, or for those that a selector picks when `name` is `*`.
pub(super) async fn answer(
    mut call: Call,
    name: Option<&str>,
    metric: Option<&str>,
) -> Result<Response<Body>, ApiError> {
    let asked = call.kind.clone();
    let (name, metric) = match (asked.plural.as_str(), name, metric) {
        (OF_NAMESPACE, Some(metric), None) => (None, metric),
        (OF_NAMESPACE, ..) | (_, None, _) | (_, _, None) => return Err(ApiError::no_such_path()),
        (_, Some(name), Some(metric)) => (Some(name), metric),
    };
    let (measure, of_pods) = (Measure::named(metric), names::of_pods(metric));
    if !call.query.metric_label_selector.is_empty() {
        let wanted = &call.query.metric_label_selector;
        let message =
            format!("metrics here have no labels of their own: metricLabelSelector {wanted:?} selects nothing");
        return Err(ApiError::new(404, Reason::NotFound, message));
    }
    let measured = match (asked.plural.as_str(), name, measure, of_pods) {
        ("pods", Some(name), _, Some(counted)) => {
            let entries = objects(&mut call, &asked, name).await?;
            let looks = summary::look(call.shared()).await?;
            pods::values(&entries, &looks, counted)
        }
        (OF_NAMESPACE, _, Some(measure), _) | (_, None, Some(measure), _) => vec![of_namespace(&call, measure)],
        (plural, Some(name), Some(measure), _) if plural != "pods" => {
            let entries = objects(&mut call, &asked, name).await?;
            entries.iter().filter_map(|it| of_object(&call, it, measure)).collect()
        }
        _ => Vec::new(),
    };
    if measured.is_empty() {
        return Err(unknown(&asked, &call, metric));
    }
    let at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let items = measured.iter().map(|it| item(&asked.version, metric, it, &at)).collect();
    Ok(respond::json(200, &list_of(&asked, VALUES.to_owned(), items)))
}

fn item(version: &str, metric: &str, measured: &Measured, at: &str) -> Value {
    let mut item = json!({
        "describedObject": measured.about, "timestamp": at,
        "windowSeconds": measured.window_seconds, "value": milli(measured.value),
    });
    match version {
        "v1beta1" => item["metricName"] = metric.into(),
        _ => item["metric"] = json!({"name": metric}),
    }
    item
}

fn unknown(asked: &Kind, call: &Call, metric: &str) -> ApiError {
    let namespace = call.namespace.as_deref().unwrap_or_default();
    let message =
        format!("the server could not find the metric {metric} for {} in namespace {namespace}", asked.plural);
    ApiError::new(404, Reason::NotFound, message)
}

/// The objects that are asked about; the call is then about them.
async fn objects(call: &mut Call, asked: &Kind, name: &str) -> Result<Vec<Arc<Entry>>, ApiError> {
    let (plural, group) = asked.plural.split_once('.').unwrap_or((&asked.plural, ""));
    let kinds = call.server.kinds();
    let kind = kinds.iter().find(|it| it.group == group && it.plural == plural);
    call.kind = kind.ok_or_else(ApiError::no_such_path)?.clone();
    (call.query.limit, call.query.continue_token) = (None, String::new());
    match name {
        "*" => Ok(list::find(call, &Selection::parse(&call.kind, &call.query)?).await?.entries),
        name => Ok(vec![call.get(name).map_err(|_| ApiError::not_found(asked, name))?]),
    }
}

fn of_object(call: &Call, entry: &Entry, measure: Measure) -> Option<Measured> {
    let kind = &call.kind;
    let name = format!("{}/{}", entry.key.namespace, entry.key.name);
    let of = |subject| vec![read(call, subject, &name)];
    let readings = match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Service") | (_, "Revision") => of(Subject::Service),
        (_, "HTTPRoute" | "Route") => of(Subject::Route),
        (_, "Ingress") => of(Subject::Ingress),
        // A function is all of its revisions, whichever way requests came to them.
        (_, "Service") => of_function(call, entry),
        _ => return None,
    };
    Some(Measured {
        about: json!({
            "kind": kind.kind, "apiVersion": kind.api_version(),
            "namespace": &*entry.key.namespace, "name": &*entry.key.name,
        }),
        value: readings.iter().map(|it| measure.of(it)).sum(),
        window_seconds: measure.window().into(),
    })
}

fn of_function(call: &Call, entry: &Entry) -> Vec<Reading> {
    let services = services(call, &entry.key.namespace);
    let ours = services.iter().filter(|it| it.attributes().label(OF_FUNCTION) == Some(&*entry.key.name));
    ours.map(|it| read(call, Subject::Service, &format!("{}/{}", it.key.namespace, it.key.name))).collect()
}

fn of_namespace(call: &Call, measure: Measure) -> Measured {
    let namespace = call.namespace.clone().unwrap_or_default();
    let services = services(call, &namespace);
    let each = services.iter().map(|it| read(call, Subject::Service, &format!("{namespace}/{}", it.key.name)));
    Measured {
        value: each.map(|it| measure.of(&it)).sum(),
        about: json!({"kind": "Namespace", "apiVersion": "v1", "name": namespace}),
        window_seconds: measure.window().into(),
    }
}

/// What the gateway counted; nothing where it was never asked.
pub(super) fn read(call: &Call, subject: Subject, name: &str) -> Reading {
    call.shared().meters().get(subject, name).map_or_else(Reading::default, |it| it.read())
}

/// The Services of a namespace.
pub(super) fn services(call: &Call, namespace: &str) -> Vec<Arc<Entry>> {
    of_kind(call, "/services", namespace)
}

/// The objects that are stored in a namespace as this kind.
pub(super) fn of_kind(call: &Call, storage: &str, namespace: &str) -> Vec<Arc<Entry>> {
    let scope = Scope::namespaced(storage, namespace);
    call.shared().store.list(&scope, &eyot_store::Page::default()).map(|it| it.entries).unwrap_or_default()
}

/// Whether a selector speaks of a label.
pub(super) fn mentions(selector: &LabelSelector, label: &str) -> bool {
    selector.requirements().iter().any(|it| it.key == label)
}
