//! The workload itself, its namespace and its bounds.

use serde_json::{Value, json};

use super::{Brief, Promised};

/// The image that Eyot's manifests name; the page tells how it gets there.
pub(super) const EYOT_REGISTRY: &str = "localhost:5000";
/// Where a cluster's images come from, until somebody writes their own.
pub(super) const CLUSTER_REGISTRY: &str = "registry.example.com";
const PORT: u16 = 8080;
/// What an idle guest on Eyot asks of a node. Memory up to the limit is taken while a request lasts, and without a request
/// of its own a pod would reserve its limit: some hundred pods fill a node that carries thousands.
const IDLE: &str = "256Ki";

pub(super) fn namespace(brief: &Brief) -> Value {
    // Wasm guests have no privileges to give up; baseline holds whatever else is put here.
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": brief.name, "labels": {
        "pod-security.kubernetes.io/enforce": "baseline" } } })
}

/// The Deployment and its Service. `class` is the RuntimeClass, where there is one.
pub(super) fn workload(brief: &Brief, image: &str, class: Option<&str>, on_eyot: bool) -> Vec<Value> {
    let name = &brief.name;
    let labels = json!({ "app.kubernetes.io/name": name });
    let memory = memory_limit(brief, on_eyot);
    let mut container = json!({
        "name": "app", "image": image,
        "ports": [{ "name": "http", "containerPort": PORT }],
        "readinessProbe": { "httpGet": { "path": "/", "port": "http" } },
        "resources": { "limits": { "memory": memory } },
    });
    container["resources"]["requests"] =
        if on_eyot { json!({ "memory": IDLE }) } else { json!({ "cpu": "50m", "memory": memory }) };
    let mut pod = json!({ "containers": [container] });
    if let Some(class) = class {
        pod["runtimeClassName"] = json!(class);
    }
    if brief.gpu && !on_eyot {
        pod["nodeSelector"] = json!({ "gpu": "enabled" });
    }
    if brief.high_availability && !on_eyot {
        pod["topologySpreadConstraints"] = json!([{ "maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": { "matchLabels": labels } }]);
    }
    let metadata = json!({ "name": name, "namespace": name, "labels": labels });
    vec![
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {
            "replicas": brief.replicas(),
            "selector": { "matchLabels": labels },
            // A new version is up before an old one goes (edge-serverless §11.5.2).
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
            "template": { "metadata": { "labels": labels }, "spec": pod } } }),
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {
            "selector": labels, "ports": [{ "name": "http", "port": 80, "targetPort": "http" }] } }),
    ]
}

/// What every pod of the namespace gets when it says nothing, how many there may be, and how many must stay.
pub(super) fn bounds(brief: &Brief, on_eyot: bool) -> Vec<Value> {
    let metadata = json!({ "name": brief.name, "namespace": brief.name });
    let mut limits = json!({ "type": "Container", "default": { "memory": memory_limit(brief, on_eyot) } });
    if on_eyot {
        limits["defaultRequest"] = json!({ "memory": IDLE });
    }
    let mut objects = vec![json!({ "apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": {
        "limits": [limits] } })];
    if let Some(density) = brief.density {
        // Beside the scenario's pods, those of a rolling update and of a trial.
        let pods = density.saturating_mul(if on_eyot { 1 } else { brief.nodes }).saturating_add(density / 4 + 10);
        objects.push(json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {
            "hard": { "pods": pods.to_string() } } }));
    }
    if brief.replicas() > 1 {
        objects.push(json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": {
            "maxUnavailable": 1, "selector": { "matchLabels": { "app.kubernetes.io/name": brief.name } } } }));
    }
    objects
}

/// Replicas follow what was asked for. Eyot's own server counts requests; it has no processor shares to compare with,
/// since its pods ask for none.
pub(super) fn autoscaler(brief: &Brief, on_eyot: bool) -> Value {
    let metadata = json!({ "name": brief.name, "namespace": brief.name });
    let most = brief.density.unwrap_or(100).clamp(10, 1000);
    let of_pods = |name: &str, each: &str| {
        json!({ "type": "Pods", "pods": { "metric": { "name": name },
            "target": { "type": "AverageValue", "averageValue": each } } })
    };
    let metric = match brief.autoscaling.as_str() {
        "qps" => of_pods("http_requests_per_second", "100"),
        "events" if !on_eyot => of_pods("queue_messages_ready", "100"),
        _ if on_eyot => of_pods("http_requests_in_flight", "2"),
        _ => json!({ "type": "Resource", "resource": { "name": "cpu",
            "target": { "type": "Utilization", "averageUtilization": 70 } } }),
    };
    json!({ "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": {
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": brief.name },
        "minReplicas": brief.replicas(), "maxReplicas": most, "metrics": [metric],
        "behavior": { "scaleUp": { "stabilizationWindowSeconds": 0 } } } })
}

/// The scenario's limit where it promises one; else what the documents give such a pod.
fn memory_limit(brief: &Brief, on_eyot: bool) -> String {
    const MIB: i64 = 1 << 20;
    let promised = brief.promises.iter().find(|it| it.promised() == Some(Promised::PodMemory));
    let bytes = promised.and_then(|it| it.amount().ok()).unwrap_or(if on_eyot { 48 * MIB } else { 256 * MIB });
    format!("{}Mi", (bytes / MIB).clamp(8, 4096))
}
