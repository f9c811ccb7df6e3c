//! A Service: its Configuration, its Route, and what they tell of it.

use serde_json::{Value, json};

use super::{labelled, owned_by, passed_on, text};
use crate::{API_VERSION, Conditions, Told, Truth, label, traffic};

/// The Configuration of a Service.
pub fn configuration(service: &Value) -> Value {
    child(service, "Configuration", json!({"template": service["spec"]["template"]}))
}

/// The Route of a Service.
pub fn route(service: &Value) -> Value {
    let name = text(service, "/metadata/name");
    let mut targets = traffic::targets(&service["spec"]);
    for target in &mut targets {
        if target["revisionName"].as_str().is_none_or(str::is_empty) {
            target["configurationName"] = name.into();
            target["latestRevision"] = true.into();
        }
    }
    child(service, "Route", json!({"traffic": targets}))
}

fn child(service: &Value, kind: &str, spec: Value) -> Value {
    let metadata = &service["metadata"];
    json!({
        "apiVersion": API_VERSION, "kind": kind,
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"],
            "labels": labelled(service, &[(label::SERVICE, text(service, "/metadata/name"))]),
            "annotations": passed_on(service),
            "ownerReferences": owned_by("Service", service),
        },
        "spec": spec,
    })
}

/// The status of a Service, from its Configuration and Route as they are (null where there is none yet). `now` in RFC 3339.
pub fn status(service: &Value, configuration: &Value, route: &Value, now: &str) -> Value {
    let mut conditions = Conditions::new(&service["status"], now);
    conditions.must("ConfigurationsReady", repeated(service, configuration, "Configuration"));
    let mut routed = repeated(service, route, "Route");
    let (created, latest) =
        (&configuration["status"]["latestCreatedRevisionName"], &configuration["status"]["latestReadyRevisionName"]);
    if routed.truth == Truth::True && !follows(route, latest.as_str()) {
        let message = "Traffic is not yet migrated to the latest revision.";
        routed = Told::new(Truth::Unknown, "TrafficNotMigrated", message);
    }
    conditions.must("RoutesReady", routed);
    let mut status = json!({
        "observedGeneration": service["metadata"]["generation"],
        "conditions": conditions.finish(),
    });
    for (field, value) in [
        ("latestCreatedRevisionName", created),
        ("latestReadyRevisionName", latest),
        ("url", &route["status"]["url"]),
        ("address", &route["status"]["address"]),
        ("traffic", &route["status"]["traffic"]),
    ] {
        if !value.is_null() {
            status[field] = value.clone();
        }
    }
    status
}

/// What a child says of itself; nothing yet, while it has not seen its newest spec.
fn repeated(service: &Value, child: &Value, kind: &str) -> Told {
    if child.is_null() {
        return Told::unknown();
    }
    let uid = &service["metadata"]["uid"];
    let ours =
        child["metadata"]["ownerReferences"].as_array().is_some_and(|all| all.iter().any(|it| it["uid"] == *uid));
    if !ours {
        let name = text(child, "/metadata/name");
        let message = format!("There is an existing {kind} {name:?} that we do not own.");
        return Told::new(Truth::False, "NotOwned", message);
    }
    if child["status"]["observedGeneration"] != child["metadata"]["generation"] {
        let message = "The controller has not observed the latest generation.";
        return Told::new(Truth::Unknown, "OutOfDate", message);
    }
    Told::of(&child["status"], "Ready")
}

/// Whether what goes to the latest revision really goes there.
fn follows(route: &Value, latest: Option<&str>) -> bool {
    let assigned = route["status"]["traffic"].as_array().into_iter().flatten();
    assigned.filter(|it| it["latestRevision"] == true).all(|it| it["revisionName"].as_str() == latest)
}
