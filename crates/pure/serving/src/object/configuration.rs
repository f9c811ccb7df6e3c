//! A Configuration: the revision that its template asks for, and which of its revisions serves.

use serde_json::{Value, json};

use super::{labelled, owned_by, text};
use crate::{API_VERSION, Conditions, Told, Truth, default, label};

/// The name of the revision that the template asks for.
pub fn revision_name(configuration: &Value) -> String {
    match text(configuration, "/spec/template/metadata/name") {
        "" => {
            let generation = configuration["metadata"]["generation"].as_i64().unwrap_or(1);
            format!("{}-{generation:05}", text(configuration, "/metadata/name"))
        }
        name => name.to_owned(),
    }
}

/// That revision. `now` in RFC 3339.
pub fn revision(configuration: &Value, now: &str) -> Value {
    let metadata = &configuration["metadata"];
    let template = default::filled(configuration["spec"]["template"].clone());
    let generation = metadata["generation"].as_i64().unwrap_or(1).to_string();
    let labels = [
        (label::CONFIGURATION, text(configuration, "/metadata/name")),
        (label::GENERATION, &generation),
        ("serving.knative.dev/configurationUID", text(configuration, "/metadata/uid")),
        (label::SERVICE, metadata["labels"][label::SERVICE].as_str().unwrap_or_default()),
        (label::ROUTING_STATE, "pending"),
    ];
    let mut annotations = template["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    annotations.insert(label::ROUTING_MODIFIED.to_owned(), now.into());
    if let Some(creator) = metadata["annotations"][label::CREATOR].as_str() {
        annotations.insert(label::CREATOR.to_owned(), creator.into());
    }
    json!({
        "apiVersion": API_VERSION, "kind": "Revision",
        "metadata": {
            "name": revision_name(configuration), "namespace": metadata["namespace"],
            "labels": labelled(&template, &labels), "annotations": annotations,
            "ownerReferences": owned_by("Configuration", configuration),
        },
        "spec": template["spec"],
    })
}

/// A revision's place in its Configuration's history.
fn generation(revision: &Value) -> i64 {
    revision["metadata"]["labels"][label::GENERATION].as_str().and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// The name of the newest revision that is ready.
pub fn latest_ready(revisions: &[Value]) -> Option<&str> {
    let ready = revisions.iter().filter(|it| Told::of(&it["status"], "Ready").truth == Truth::True);
    ready.max_by_key(|it| generation(it)).map(|it| text(it, "/metadata/name"))
}

/// The status of a Configuration with these revisions. A newest one that fails leaves the one before it the latest that is
/// ready. `now` in RFC 3339.
pub fn status(configuration: &Value, revisions: &[Value], now: &str) -> Value {
    let name = revision_name(configuration);
    let created = revisions.iter().find(|it| it["metadata"]["name"] == name.as_str());
    let told = match created {
        None => Told::unknown(),
        Some(revision) => match Told::of(&revision["status"], "Ready") {
            Told { truth: Truth::False, message, .. } => {
                let message = format!("Revision {name:?} failed with message: {message}.");
                Told::new(Truth::False, "RevisionFailed", message)
            }
            Told { truth: Truth::Unknown, .. } => Told::unknown(),
            ready => ready,
        },
    };
    let mut conditions = Conditions::new(&configuration["status"], now);
    conditions.must("RevisionReady", told);
    // The one condition of a Configuration is the sum itself.
    let rows: Vec<Value> =
        conditions.finish().as_array().into_iter().flatten().filter(|it| it["type"] == "Ready").cloned().collect();
    let mut status = json!({"observedGeneration": configuration["metadata"]["generation"], "conditions": rows});
    if created.is_some() {
        status["latestCreatedRevisionName"] = name.into();
    }
    let before = configuration["status"]["latestReadyRevisionName"].as_str();
    if let Some(latest) = latest_ready(revisions).or(before) {
        status["latestReadyRevisionName"] = latest.into();
    }
    status
}
