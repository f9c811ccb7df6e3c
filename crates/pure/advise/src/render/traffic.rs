//! How requests come in, and who may reach whom.

use serde_json::{Value, json};

use super::Brief;
use crate::layer::Layer;

/// The route on Eyot's own gateway.
pub(super) fn eyot_route(brief: &Brief) -> Value {
    route(brief, json!({ "name": "default", "namespace": "eyot-system" }), &format!("{}.localhost", brief.name))
}

fn route(brief: &Brief, parent: Value, host: &str) -> Value {
    json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": { "name": brief.name, "namespace": brief.name }, "spec": {
            "parentRefs": [parent], "hostnames": [host],
            "rules": [{ "backendRefs": [{ "name": brief.name, "port": 80 }] }] } })
}

/// The way in to a cluster: routes of a Gateway for Kong and Traefik, an Ingress where nothing is chosen.
pub(super) fn cluster_entry(brief: &Brief) -> Vec<Value> {
    let host = format!("{}.example.com", brief.name);
    let metadata = json!({ "name": brief.name, "namespace": brief.name });
    match brief.at(Layer::Gateway) {
        class @ ("kong" | "traefik") => vec![
            json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": metadata, "spec": {
                "gatewayClassName": class,
                "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP", "hostname": host,
                    "allowedRoutes": { "namespaces": { "from": "Same" } } }] } }),
            route(brief, json!({ "name": brief.name }), &host),
        ],
        _ => vec![json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": {
            "rules": [{ "host": host, "http": { "paths": [{ "path": "/", "pathType": "Prefix",
                "backend": { "service": { "name": brief.name, "port": { "number": 80 } } } }] } }] } })],
    }
}

/// Nothing reaches the namespace but what asks for the application's port from inside it or from a gateway.
pub(super) fn network_policies(brief: &Brief) -> Vec<Value> {
    let name = |suffix: &str| json!({ "name": format!("{}-{suffix}", brief.name), "namespace": brief.name });
    vec![
        json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": name("deny"), "spec": {
            "podSelector": {}, "policyTypes": ["Ingress"] } }),
        json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": name("allow"), "spec": {
            "podSelector": { "matchLabels": { "app.kubernetes.io/name": brief.name } },
            "policyTypes": ["Ingress"],
            "ingress": [{
                "from": [{ "podSelector": {} },
                    { "namespaceSelector": { "matchLabels": { "gateway-access": "true" } } }],
                "ports": [{ "protocol": "TCP", "port": "http" }] }] } }),
    ]
}

/// What Cilium alone decides: methods and paths of requests.
pub(super) fn request_policy(brief: &Brief) -> Value {
    json!({ "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
        "metadata": { "name": format!("{}-requests", brief.name), "namespace": brief.name }, "spec": {
            "endpointSelector": { "matchLabels": { "app.kubernetes.io/name": brief.name } },
            "ingress": [{ "toPorts": [{ "ports": [{ "port": "8080", "protocol": "TCP" }],
                "rules": { "http": [{ "method": "GET|HEAD|POST", "path": "/.*" }] } }] }] } })
}
