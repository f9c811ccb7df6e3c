//! `external.metrics.k8s.io`: the gateway's counts by label. Entry point: [`answer`].
//!
//! Each Service is one value, under its own labels and `service: NAME`. A selector that speaks of `httproute` or `ingress` is
//! about those instead, as one request is counted at its route and at its Service.

use eyot_meter::Subject;
use eyot_model::{
    selector::LabelSelector,
    status::{ApiError, Reason},
};
use http::Response;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    custom::{mentions, of_kind, read},
    list_of,
    names::{Measure, milli},
};
use crate::{Body, call::Call, respond};

/// What is asked about: the label that names it, where it is stored, and what counts it.
const ABOUT: [(&str, &str, Subject); 3] = [
    ("httproute", "gateway.networking.k8s.io/httproutes", Subject::Route),
    ("ingress", "networking.k8s.io/ingresses", Subject::Ingress),
    ("service", "/services", Subject::Service),
];

/// Answers for all that a selector picks in a namespace.
pub(super) fn answer(call: &Call, name: Option<&str>) -> Result<Response<Body>, ApiError> {
    let metric = &call.kind.plural;
    let (None, Some(measure)) = (name, Measure::named(metric)) else { return Err(ApiError::no_such_path()) };
    let selector = LabelSelector::parse(&call.query.label_selector);
    let selector = selector.map_err(|it| ApiError::bad_request(it.to_string()))?;
    let about = ABOUT.iter().find(|it| mentions(&selector, it.0)).unwrap_or(&ABOUT[2]);
    let (label, storage, subject) = *about;
    let namespace = call.namespace.clone().unwrap_or_default();
    let at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut items = Vec::new();
    for entry in of_kind(call, storage, &namespace) {
        let name = &*entry.key.name;
        let fits = selector.matches(|key| if key == label { Some(name) } else { entry.attributes().label(key) });
        if !fits {
            continue;
        }
        // Those that the selector spoke of tell one value from another.
        let spoken =
            selector.requirements().iter().filter_map(|it| Some((&it.key, entry.attributes().label(&it.key)?)));
        let mut labels: Map<String, Value> = spoken.map(|(key, value)| (key.clone(), value.into())).collect();
        labels.insert(label.to_owned(), name.into());
        let value = measure.of(&read(call, subject, &format!("{namespace}/{name}")));
        items.push(json!({
            "metricName": metric, "metricLabels": labels, "timestamp": at,
            "windowSeconds": measure.window(), "value": milli(value),
        }));
    }
    if items.is_empty() {
        let message = format!("no {label} of namespace {namespace} is selected by {:?}", call.query.label_selector);
        return Err(ApiError::new(404, Reason::NotFound, message));
    }
    Ok(respond::json(200, &list_of(&call.kind, "ExternalMetricValueList".to_owned(), items)))
}
