//! Policies, Services, Ingresses and what network plugins and meshes define.

use serde_json::Value;

use super::{Change, Notes, group, kind, list};

const PLUGIN_GROUPS: &[&str] = &["crd.projectcalico.org", "projectcalico.org", "cilium.io", "isovalent.com"];
const MESHES: &[(&str, &[&str])] = &[
    ("istio", &["networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io"]),
    ("linkerd", &["policy.linkerd.io", "linkerd.io", "split.smi-spec.io", "multicluster.linkerd.io"]),
];
const PLUGIN_ANNOTATIONS: &[&str] = &[
    "cni.projectcalico.org/",
    "io.cilium",
    "k8s.v1.cni.cncf.io/",
    "kubernetes.io/ingress-bandwidth",
    "kubernetes.io/egress-bandwidth",
];

pub(super) fn judge(object: &Value, change: &Change<'_>, notes: &mut Notes<'_>) {
    match (group(object), kind(object)) {
        ("networking.k8s.io" | "extensions", "NetworkPolicy") => policy(object, change, notes),
        ("", "Service") => service(object, change, notes),
        ("networking.k8s.io" | "extensions", "Ingress") => ingress(object, change, notes),
        (group, kind) if PLUGIN_GROUPS.contains(&group) => {
            if change.to.is("network", "flannel") {
                notes.add("policy-of-plugin", "", kind);
            }
        }
        (group, kind) => mesh(group, kind, change, notes),
    }
    annotations(object, change, notes);
}

fn policy(object: &Value, change: &Change<'_>, notes: &mut Notes<'_>) {
    match change.to.get("orchestration") {
        _ if !change.to.is("network", "flannel") => {}
        Some("eyot") => notes.add("network-policy-eyot", "spec", ""),
        Some("k3s" | "kubeedge") => {
            notes.add("network-policy-k3s", "spec", "");
            parts(object, notes);
        }
        _ => notes.add("network-policy-flannel", "spec", ""),
    }
}

/// What kube-router, K3s' controller, leaves out of a policy.
fn parts(object: &Value, notes: &mut Notes<'_>) {
    for direction in ["ingress", "egress"] {
        for (at, rule) in list(object, &format!("/spec/{direction}")).iter().enumerate() {
            for (port, of) in list(rule, "/ports").iter().enumerate() {
                if of["protocol"] == "SCTP" {
                    notes.add("network-policy-part", format!("spec.{direction}[{at}].ports[{port}]"), "SCTP");
                }
            }
        }
    }
}

fn service(object: &Value, change: &Change<'_>, notes: &mut Notes<'_>) {
    let of = object.pointer("/spec/type").and_then(Value::as_str).unwrap_or("ClusterIP");
    match of {
        "LoadBalancer" if change.to_eyot() => notes.add("load-balancer-eyot", "spec.type", of),
        "LoadBalancer" if change.becomes("orchestration", "k3s") => notes.add("load-balancer", "spec.type", of),
        _ => {}
    }
}

fn ingress(object: &Value, change: &Change<'_>, notes: &mut Notes<'_>) {
    if !change.to_eyot() && !change.becomes("orchestration", "k3s") {
        return;
    }
    let class = object.pointer("/spec/ingressClassName").and_then(Value::as_str);
    if let Some(class) = class.filter(|it| !matches!(*it, "traefik" | "eyot")) {
        notes.add("ingress", "spec.ingressClassName", &format!("ingressClassName {class}"));
    }
    let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
    for name in annotations.into_iter().flat_map(|it| it.keys()) {
        let of = name.split('/').next().unwrap_or_default();
        let foreign =
            ["nginx.ingress", "nginx.org", "alb.ingress", "haproxy", "konghq.com", "ingress.gcp", "ingress.cloud"];
        if foreign.iter().any(|it| of.contains(it)) || name == "kubernetes.io/ingress.class" {
            notes.add("ingress", format!("metadata.annotations[{name}]"), name);
        }
    }
}

fn mesh(group: &str, kind: &str, change: &Change<'_>, notes: &mut Notes<'_>) {
    let target = change.to.get("mesh").unwrap_or("no-mesh");
    for (mesh, groups) in MESHES {
        if groups.contains(&group) && target != *mesh {
            notes.add("mesh-object", "", kind);
        }
    }
}

fn annotations(object: &Value, change: &Change<'_>, notes: &mut Notes<'_>) {
    let leaves = change.leaves("network", "calico") || change.leaves("network", "cilium");
    let places = ["/metadata/annotations", "/spec/template/metadata/annotations"];
    let names = places.iter().filter_map(|it| object.pointer(it)?.as_object()).flat_map(|it| it.keys());
    for name in names.filter(|_| leaves || change.to_eyot()) {
        if PLUGIN_ANNOTATIONS.iter().any(|it| name.starts_with(it)) {
            notes.add("plugin-annotation", "metadata.annotations", name);
        }
    }
}
