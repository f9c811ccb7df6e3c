//! API versions, autoscalers, and policies of engines.

use serde_json::Value;

use super::{Change, Notes, group, kind, list};

/// Versions of built-in kinds that no current server takes.
const REMOVED: &[(&str, &[&str])] = &[
    ("extensions/v1beta1", &["Deployment", "DaemonSet", "ReplicaSet", "Ingress", "NetworkPolicy", "PodSecurityPolicy"]),
    ("apps/v1beta1", &["*"]),
    ("apps/v1beta2", &["*"]),
    ("networking.k8s.io/v1beta1", &["Ingress", "IngressClass"]),
    ("policy/v1beta1", &["PodDisruptionBudget", "PodSecurityPolicy"]),
    ("batch/v1beta1", &["CronJob"]),
    ("autoscaling/v2beta1", &["*"]),
    ("autoscaling/v2beta2", &["*"]),
    ("discovery.k8s.io/v1beta1", &["EndpointSlice"]),
    ("rbac.authorization.k8s.io/v1beta1", &["*"]),
    ("apiextensions.k8s.io/v1beta1", &["*"]),
    ("admissionregistration.k8s.io/v1beta1", &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]),
];
/// Groups of Kubernetes itself that end neither in `.k8s.io` nor are the core.
const OWN_GROUPS: &[&str] = &["apps", "batch", "autoscaling", "policy"];
/// Groups that end in `.k8s.io` and are somebody else's.
const OTHERS: &[&str] = &["gateway.networking.k8s.io", "snapshot.storage.k8s.io", "metrics.k8s.io", "cluster.x-k8s.io"];
/// Built-ins of Rego that a compiled policy cannot call by itself.
const REGO: &[&str] =
    &["http.send", "opa.runtime", "net.lookup_ip_addr", "rego.parse_module", "trace(", "providers.aws"];

pub(super) fn judge(object: &Value, change: &Change<'_>, notes: &mut Notes<'_>) {
    versions(object, change, notes);
    if group(object) == "autoscaling" && change.to_eyot() {
        autoscaler(object, notes);
    }
    engines(object, change, notes);
}

fn versions(object: &Value, change: &Change<'_>, notes: &mut Notes<'_>) {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let kind = kind(object);
    if REMOVED.iter().any(|(removed, kinds)| *removed == version && (kinds.contains(&kind) || kinds == &["*"])) {
        notes.add("removed-api", "apiVersion", &format!("{version} {kind}"));
        return;
    }
    let group = group(object);
    let own = (group.ends_with(".k8s.io") && !OTHERS.contains(&group)) || OWN_GROUPS.contains(&group);
    let alpha = version.rsplit('/').next().is_some_and(|it| it.contains("alpha"));
    if own && alpha && (change.becomes("orchestration", "k3s") || change.to_eyot()) {
        notes.add("alpha-api", "apiVersion", &format!("{version} {kind}"));
    }
}

/// Metrics that Eyot does not count itself.
fn autoscaler(object: &Value, notes: &mut Notes<'_>) {
    const OWN: &[&str] = &["http_requests_per_second", "http_requests_in_flight"];
    for (at, metric) in list(object, "/spec/metrics").iter().enumerate() {
        let name = |path: &str| metric.pointer(path).and_then(Value::as_str);
        let foreign = match metric["type"].as_str().unwrap_or_default() {
            "Pods" => name("/pods/metric/name").filter(|it| !OWN.contains(it)),
            "Object" => name("/object/metric/name"),
            "External" => name("/external/metric/name"),
            _ => None,
        };
        if let Some(foreign) = foreign {
            notes.add("autoscaler-eyot", format!("spec.metrics[{at}]"), foreign);
        }
    }
}

fn engines(object: &Value, change: &Change<'_>, notes: &mut Notes<'_>) {
    let Some(target) = change.to.get("policy") else { return };
    let (group, kind) = (group(object), kind(object));
    let takes_rego = matches!(target, "gatekeeper" | "opa" | "opa-wasm");
    let is_kyverno = matches!(group, "kyverno.io" | "policies.kyverno.io");
    let is_gatekeeper = group.ends_with("gatekeeper.sh");
    if is_kyverno && target != "kyverno" || is_gatekeeper && !takes_rego {
        notes.add("policy-engine", "", &format!("{kind} ({group})"));
    }
    if target != "opa-wasm" || kind != "ConstraintTemplate" {
        return;
    }
    for (at, of) in list(object, "/spec/targets").iter().enumerate() {
        let rego = of["rego"].as_str().unwrap_or_default();
        for word in REGO.iter().filter(|it| rego.contains(**it)) {
            notes.add("rego-builtin", format!("spec.targets[{at}].rego"), word.trim_end_matches('('));
        }
    }
}
