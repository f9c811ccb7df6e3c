//! Helm values of what a cluster installs. Entry point: [`all`].
//!
//! Only values that the scenario decides; the rest are the charts' own defaults. The catalogue's `charts` vouch for every key;
//! a file with another one is not written.

use serde_json::{Value, json};

use super::Brief;
use crate::layer::Layer;

/// Name of the file, what to do with it, and the values.
pub(super) fn all(brief: &Brief) -> Vec<(&'static str, &'static str, Value)> {
    let several = if brief.nodes >= 3 { 3 } else { 1 };
    let mut values = Vec::new();
    match brief.at(Layer::Network) {
        "calico" | "flannel+calico" => values.push((
            "calico",
            "helm install calico projectcalico/tigera-operator -n tigera-operator --create-namespace -f values/calico.yaml",
            json!({ "installation": { "calicoNetwork": { "ipPools": [{ "cidr": "10.42.0.0/16", "encapsulation": "VXLAN" }] } } }),
        )),
        "cilium" => values.push((
            "cilium",
            "helm install cilium cilium/cilium -n kube-system -f values/cilium.yaml",
            json!({
                "operator": { "replicas": several.min(2) },
                "hubble": { "relay": { "enabled": true }, "ui": { "enabled": brief.at(Layer::Monitoring).contains("grafana") } },
                "envoy": { "enabled": brief.network_policy == "l7" || brief.at(Layer::Mesh) == "cilium-mesh" },
                // Cilium's gateway needs its own load balancing in place of kube-proxy.
                "gatewayAPI": { "enabled": brief.at(Layer::Mesh) == "cilium-mesh" },
                "kubeProxyReplacement": brief.at(Layer::Mesh) == "cilium-mesh",
            }),
        )),
        _ => {}
    }
    match brief.at(Layer::Mesh) {
        "istio-ambient" => {
            let about = "for chart in base istiod cni ztunnel: helm install istio-$chart istio/$chart -n istio-system --create-namespace -f values/istio.yaml";
            values.push(("istio", about, json!({ "profile": "ambient" })));
        }
        "istio" | "istio-multicluster" => values.push((
            "istio",
            "helm install istio-base istio/base -n istio-system --create-namespace; helm install istiod istio/istiod -n istio-system -f values/istio.yaml",
            json!({ "autoscaleMin": several, "meshConfig": { "enableTracing": brief.at(Layer::Monitoring).contains("jaeger") } }),
        )),
        "linkerd" => values.push((
            "linkerd",
            "linkerd install --crds | kubectl apply -f -; helm install linkerd linkerd/linkerd-control-plane -n linkerd -f values/linkerd.yaml (with certificates of your own)",
            json!({ "controllerReplicas": several, "enablePodAntiAffinity": several > 1 }),
        )),
        _ => {}
    }
    match brief.at(Layer::Policy) {
        "gatekeeper" | "opa-wasm" => values.push((
            "gatekeeper",
            "helm install gatekeeper gatekeeper/gatekeeper -n gatekeeper-system --create-namespace -f values/gatekeeper.yaml",
            json!({ "replicas": several, "auditInterval": 60 }),
        )),
        "kyverno" => values.push((
            "kyverno",
            "helm install kyverno kyverno/kyverno -n kyverno --create-namespace -f values/kyverno.yaml",
            json!({ "admissionController": { "replicas": several } }),
        )),
        _ => {}
    }
    match brief.at(Layer::Gateway) {
        "kong" => values.push((
            "kong",
            "helm install kong kong/ingress -n kong --create-namespace -f values/kong.yaml",
            json!({ "gateway": { "replicaCount": several } }),
        )),
        "traefik" => values.push((
            "traefik",
            "helm install traefik traefik/traefik -n traefik --create-namespace -f values/traefik.yaml",
            json!({ "deployment": { "replicas": several }, "providers": { "kubernetesGateway": { "enabled": true } } }),
        )),
        _ => {}
    }
    monitoring(brief, &mut values);
    if brief.at(Layer::Gpu) == "gpu-plugin" || brief.at(Layer::Gpu) == "gpu-passthrough" {
        values.push((
            "gpu-operator",
            "helm install gpu-operator nvidia/gpu-operator -n gpu-operator --create-namespace -f values/gpu-operator.yaml",
            json!({ "driver": { "enabled": true }, "toolkit": { "enabled": true } }),
        ));
    }
    values
}

fn monitoring(brief: &Brief, values: &mut Vec<(&'static str, &'static str, Value)>) {
    let monitoring = brief.at(Layer::Monitoring);
    if !monitoring.contains("prometheus") {
        return;
    }
    let light = monitoring.contains("light");
    values.push((
        "prometheus",
        "helm install monitoring prometheus-community/kube-prometheus-stack -n monitoring --create-namespace -f values/prometheus.yaml",
        json!({
            "prometheus": { "prometheusSpec": { "retention": if light { "1d" } else { "15d" } } },
            "alertmanager": { "enabled": !light },
            "grafana": { "enabled": monitoring.contains("grafana") },
        }),
    ));
    if monitoring.contains("jaeger") {
        values.push((
            "jaeger",
            "helm install jaeger jaegertracing/jaeger -n monitoring -f values/jaeger.yaml (kept in memory: replace for production)",
            json!({ "jaeger": { "replicas": 1 } }),
        ));
    }
}
