//! Defaults of pod specs, in pods and in templates.

use serde_json::{Value, json};

use super::fill::{Object, each, has, make, set, set_text, sub, text};

/// Mode of files in Secret, ConfigMap and similar volumes: 0644.
const FILE_MODE: i64 = 0o644;

/// Fills in a pod spec.
pub(super) fn spec(spec: &mut Object) {
    set_text(spec, "restartPolicy", "Always");
    set_text(spec, "dnsPolicy", "ClusterFirst");
    set_text(spec, "schedulerName", "default-scheduler");
    set(spec, "terminationGracePeriodSeconds", 30);
    set(spec, "securityContext", json!({}));
    mirror_service_account(spec);
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        each(spec, list, |it| container(it, host_network && list != "ephemeralContainers"));
    }
    each(spec, "volumes", volume);
}

/// Fills in what a pod itself has beyond its spec's defaults, as a template does not.
pub(super) fn pod(spec: &mut Object) {
    set(spec, "enableServiceLinks", true);
    for list in ["initContainers", "containers"] {
        each(spec, list, |it| requests_from_limits(make(it, "resources")));
    }
}

/// Fills in what admission gives a pod at creation: service account, priority, tolerations of a lost node.
pub(super) fn admit(spec: &mut Object) {
    set_text(spec, "serviceAccountName", "default");
    mirror_service_account(spec);
    set(spec, "priority", 0);
    set_text(spec, "preemptionPolicy", "PreemptLowerPriority");
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    let Some(tolerations) = tolerations.as_array_mut() else { return };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let effect = |it: &Value| matches!(it["effect"].as_str(), None | Some("" | "NoExecute"));
        let tolerated = |it: &Value| matches!(it["key"].as_str(), None | Some("")) || it["key"] == key;
        if !tolerations.iter().any(|it| tolerated(it) && effect(it)) {
            let seconds = 300;
            let toleration =
                json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
            tolerations.push(toleration);
        }
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`; clients see both.
fn mirror_service_account(spec: &mut Object) {
    let name = match (text(spec, "serviceAccountName"), text(spec, "serviceAccount")) {
        ("", old) => old.to_owned(),
        (new, _) => new.to_owned(),
    };
    if !name.is_empty() {
        spec.insert("serviceAccountName".into(), name.as_str().into());
        spec.insert("serviceAccount".into(), name.into());
    }
}

fn container(container: &mut Object, host_network: bool) {
    let policy = pull_policy(text(container, "image"));
    set_text(container, "imagePullPolicy", policy);
    set_text(container, "terminationMessagePath", "/dev/termination-log");
    set_text(container, "terminationMessagePolicy", "File");
    set(container, "resources", json!({}));
    each(container, "ports", |port| {
        set_text(port, "protocol", "TCP");
        if host_network {
            let number = port.get("containerPort").cloned().unwrap_or(Value::Null);
            set(port, "hostPort", number);
        }
    });
    each(container, "env", |it| {
        if let Some(source) = sub(it, "valueFrom") {
            downward(source);
        }
    });
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(it) = sub(container, name) {
            probe(it);
        }
    }
    for name in ["postStart", "preStop"] {
        if let Some(it) = sub(container, "lifecycle").and_then(|it| sub(it, name)) {
            http_get(it);
        }
    }
}

/// `Always` for an image whose content may change under its name: no tag and no digest, or `latest`.
fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

fn probe(probe: &mut Object) {
    set(probe, "timeoutSeconds", 1);
    set(probe, "periodSeconds", 10);
    set(probe, "successThreshold", 1);
    set(probe, "failureThreshold", 3);
    http_get(probe);
    if let Some(grpc) = sub(probe, "grpc") {
        set(grpc, "service", "");
    }
}

fn http_get(handler: &mut Object) {
    if let Some(get) = sub(handler, "httpGet") {
        set_text(get, "path", "/");
        set_text(get, "scheme", "HTTP");
    }
}

fn downward(source: &mut Object) {
    if let Some(it) = sub(source, "fieldRef") {
        set_text(it, "apiVersion", "v1");
    }
    if let Some(it) = sub(source, "resourceFieldRef") {
        set(it, "divisor", "0");
    }
}

fn volume(volume: &mut Object) {
    if !volume.iter().any(|(field, source)| field != "name" && !source.is_null()) {
        volume.insert("emptyDir".into(), json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(it) = sub(volume, source) {
            set(it, "defaultMode", FILE_MODE);
        }
    }
    if let Some(it) = sub(volume, "hostPath") {
        set(it, "type", "");
    }
    if let Some(it) = sub(volume, "downwardAPI") {
        each(it, "items", downward);
    }
    if let Some(projected) = sub(volume, "projected") {
        each(projected, "sources", |source| {
            if let Some(it) = sub(source, "serviceAccountToken") {
                set(it, "expirationSeconds", 3600);
            }
            if let Some(it) = sub(source, "downwardAPI") {
                each(it, "items", downward);
            }
        });
    }
    if let Some(it) = sub(volume, "image") {
        let policy = pull_policy(text(it, "reference"));
        set_text(it, "pullPolicy", policy);
    }
    if let Some(it) = sub(volume, "ephemeral").and_then(|it| sub(it, "volumeClaimTemplate")) {
        set_text(make(it, "spec"), "volumeMode", "Filesystem");
    }
}

fn requests_from_limits(resources: &mut Object) {
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    let requests = make(resources, "requests");
    limits.into_iter().filter(|(_, limit)| !limit.is_null()).for_each(|(name, limit)| {
        if !has(requests, &name) {
            requests.insert(name, limit);
        }
    });
}
