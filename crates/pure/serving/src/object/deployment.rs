//! What runs a Revision: its Deployment, its Service and, where it asks for one, its HorizontalPodAutoscaler.

use serde_json::{Map, Value, json};

use super::{labelled, owned_by, revision, text};
use crate::{Metric, Scaling, default, label};

/// Port of a container that names none.
const PORT: i64 = 8080;
/// Name of that port in the pod.
const PORT_NAME: &str = "user-port";
/// Seconds until a revision without a ready instance counts as failed.
const PROGRESS_SECONDS: i64 = 600;
/// Annotation that says otherwise, as a duration.
const PROGRESS: &str = "serving.knative.dev/progress-deadline";

fn labels(of: &Value) -> Value {
    let name = text(of, "/metadata/name");
    labelled(of, &[("app", name), (label::REVISION, name), (label::REVISION_UID, text(of, "/metadata/uid"))])
}

/// The labels of the object without those that change: a template must not follow a routing state.
fn lasting(mut labels: Value) -> Value {
    if let Some(labels) = labels.as_object_mut() {
        labels.remove(label::ROUTING_STATE);
    }
    labels
}

fn selector(of: &Value) -> Value {
    json!({label::REVISION_UID: of["metadata"]["uid"]})
}

fn owned(of: &Value, name: String, annotations: Map<String, Value>) -> Value {
    let mut metadata = json!({
        "name": name, "namespace": of["metadata"]["namespace"], "labels": lasting(labels(of)),
        "ownerReferences": owned_by("Revision", of),
    });
    if !annotations.is_empty() {
        metadata["annotations"] = Value::Object(annotations);
    }
    metadata
}

fn port(of: &Value) -> (i64, bool) {
    let port = &revision::serving(&of["spec"])["ports"][0];
    (port["containerPort"].as_i64().unwrap_or(PORT), port["name"] == "h2c")
}

/// The Deployment of a revision, with so many replicas.
pub fn deployment(of: &Value, replicas: i32) -> Value {
    let labels = lasting(labels(of));
    let deadline = revision::annotations(of).find(|it| it.0 == PROGRESS);
    let deadline = deadline.and_then(|it| crate::duration::parse(it.1)).map(|it| it.as_secs());
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": owned(of, revision::deployment_name(of), Map::new()),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 0,
            "progressDeadlineSeconds": deadline.map_or(json!(PROGRESS_SECONDS), |it| json!(it)),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
            "selector": {"matchLabels": selector(of)},
            "template": {"metadata": template_metadata(of, labels), "spec": pod(of)},
        },
    })
}

/// Labels and annotations of a revision's pods: those of the revision, but for Knative's annotations, which say nothing about a
/// pod and change while it runs.
fn template_metadata(of: &Value, labels: Value) -> Value {
    let is_knatives = |key: &str| {
        let domain = key.split_once('/').map_or("", |it| it.0);
        domain == "knative.dev" || domain.ends_with(".knative.dev")
    };
    let annotations: Map<String, Value> = revision::annotations(of)
        .filter(|(key, _)| !is_knatives(key))
        .map(|(key, text)| (key.to_owned(), text.into()))
        .collect();
    let mut metadata = json!({"labels": labels});
    if !annotations.is_empty() {
        metadata["annotations"] = annotations.into();
    }
    metadata
}

/// Fields of a revision's spec that a pod does not have.
const OWN: [&str; 4] = ["containerConcurrency", "timeoutSeconds", "responseStartTimeoutSeconds", "idleTimeoutSeconds"];

fn pod(of: &Value) -> Value {
    let mut spec = of["spec"].clone();
    let serving = revision::serving(&spec)["name"].clone();
    let timeout = spec["timeoutSeconds"].as_i64().filter(|it| *it > 0).unwrap_or(default::TIMEOUT_SECONDS);
    let Some(fields) = spec.as_object_mut() else { return spec };
    // An instance that has to go ends the requests inside it, however long those may take; one without any goes at once.
    fields.entry("terminationGracePeriodSeconds").or_insert(timeout.into());
    OWN.iter().for_each(|it| drop(fields.remove(*it)));
    fields.entry("runtimeClassName").or_insert("wasm".into());
    let (port, _) = port(of);
    for container in fields.get_mut("containers").and_then(Value::as_array_mut).into_iter().flatten() {
        if container["name"] == serving {
            serve(container, port, of);
        }
    }
    spec
}

/// Prepares the container that takes the requests.
fn serve(container: &mut Value, port: i64, of: &Value) {
    container["ports"] = json!([{"name": PORT_NAME, "containerPort": port, "protocol": "TCP"}]);
    let label = |key: &str| of["metadata"]["labels"][key].as_str().unwrap_or_default().to_owned();
    let added = [
        ("PORT", port.to_string()),
        ("K_REVISION", text(of, "/metadata/name").to_owned()),
        ("K_CONFIGURATION", label(label::CONFIGURATION)),
        ("K_SERVICE", label(label::SERVICE)),
    ];
    let mut env = container["env"].as_array().cloned().unwrap_or_default();
    env.extend(added.iter().map(|(name, value)| json!({"name": name, "value": value})));
    container["env"] = env.into();
    for probe in ["readinessProbe", "livenessProbe", "startupProbe"] {
        aim(container, probe, port);
    }
}

/// Aims a probe that names no port at the container's. The one that is there by default goes: a guest that is published
/// answers, and thousands of instances without a timer each are cheaper.
fn aim(container: &mut Value, probe: &str, port: i64) {
    let it = &mut container[probe];
    let Some(fields) = it.as_object_mut() else {
        if let Some(container) = container.as_object_mut() {
            container.remove(probe);
        }
        return;
    };
    if fields.get("tcpSocket").is_some_and(|it| it["port"] == 0) && probe == "readinessProbe" {
        if let Some(container) = container.as_object_mut() {
            container.remove(probe);
        }
        return;
    }
    for way in ["httpGet", "tcpSocket", "grpc"] {
        if let Some(way) = fields.get_mut(way).filter(|it| it["port"].is_null() || it["port"] == 0) {
            way["port"] = port.into();
        }
    }
}

/// The Service by which the gateway reaches the instances of a revision. Its annotations tell how requests are held.
pub fn service(of: &Value) -> Value {
    let (port, h2c) = port(of);
    let mut annotations = Map::new();
    for (key, field) in [
        (label::CONCURRENCY, "containerConcurrency"),
        (label::TIMEOUT, "timeoutSeconds"),
        (label::START_TIMEOUT, "responseStartTimeoutSeconds"),
    ] {
        if let Some(number) = of["spec"][field].as_i64().filter(|it| *it > 0 || field == "containerConcurrency") {
            annotations.insert(key.to_owned(), number.to_string().into());
        }
    }
    let mut entry = json!({"name": "http", "port": 80, "targetPort": port, "protocol": "TCP"});
    if h2c {
        (entry["name"], entry["appProtocol"]) = ("http2".into(), "kubernetes.io/h2c".into());
    }
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": owned(of, text(of, "/metadata/name").to_owned(), annotations),
        "spec": {"type": "ClusterIP", "selector": selector(of), "ports": [entry]},
    })
}

/// The HorizontalPodAutoscaler of a revision of that class.
pub fn autoscaler(of: &Value, scaling: &Scaling) -> Value {
    let resource =
        |name: &str, target: Value| json!({"type": "Resource", "resource": {"name": name, "target": target}});
    let metric = match (scaling.metric, &scaling.named) {
        (Metric::Memory, _) => {
            let bytes = format!("{}Mi", scaling.target.unwrap_or(100.0).ceil());
            resource("memory", json!({"type": "AverageValue", "averageValue": bytes}))
        }
        (Metric::Named, Some(name)) => {
            let value = format!("{}m", (scaling.target.unwrap_or(100.0) * 1000.0).round());
            let target = json!({"type": "AverageValue", "averageValue": value});
            json!({"type": "Pods", "pods": {"metric": {"name": name}, "target": target}})
        }
        _ => {
            let percent = scaling.target.unwrap_or(80.0).ceil() as i64;
            resource("cpu", json!({"type": "Utilization", "averageUtilization": percent}))
        }
    };
    let mut autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": owned(of, text(of, "/metadata/name").to_owned(), Map::new()),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": revision::deployment_name(of)},
            "minReplicas": scaling.min.max(1),
            "maxReplicas": if scaling.max == 0 { i32::MAX } else { scaling.max },
            "metrics": [metric],
        },
    });
    // What was said of a window is how long fewer, or more, must have been right.
    if revision::annotations(of).any(|it| it.0 == "autoscaling.knative.dev/window") {
        let rules = json!({"stabilizationWindowSeconds": scaling.window.as_secs()});
        autoscaler["spec"]["behavior"] = json!({"scaleDown": rules, "scaleUp": rules});
    }
    autoscaler
}
