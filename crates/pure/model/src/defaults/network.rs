//! Defaults of services, endpoints, ingresses, policies and Gateway API's kinds.

use serde_json::{Value, json};

use super::fill::{Object, each, has, make, set, set_text, sub, text};

pub(super) fn service(object: &mut Object) {
    let spec = make(object, "spec");
    set_text(spec, "type", "ClusterIP");
    set_text(spec, "sessionAffinity", "None");
    match text(spec, "sessionAffinity") {
        "ClientIP" => set(make(make(spec, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds", 10_800),
        _ => drop(spec.remove("sessionAffinityConfig")),
    }
    each(spec, "ports", |port| {
        set_text(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or(Value::Null);
        if matches!(port.get("targetPort").and_then(Value::as_str), Some(""))
            || port.get("targetPort") == Some(&0.into())
        {
            port.remove("targetPort");
        }
        set(port, "targetPort", number);
    });
    let kind = text(spec, "type").to_owned();
    if kind != "ExternalName" {
        set_text(spec, "internalTrafficPolicy", "Cluster");
        families(spec);
    }
    if kind == "NodePort" || kind == "LoadBalancer" {
        set_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", true);
    }
    set(make(object, "status"), "loadBalancer", json!({}));
}

/// One IPv4 address, in both of the fields that hold it.
fn families(spec: &mut Object) {
    set_text(spec, "ipFamilyPolicy", "SingleStack");
    if spec.get("ipFamilies").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        spec.insert("ipFamilies".into(), json!(["IPv4"]));
    }
    let first = spec.get("clusterIPs").and_then(|it| it.get(0)).and_then(Value::as_str).unwrap_or("").to_owned();
    match (text(spec, "clusterIP").to_owned(), first) {
        (one, list) if !one.is_empty() && list.is_empty() => drop(spec.insert("clusterIPs".into(), json!([one]))),
        (one, list) if one.is_empty() && !list.is_empty() => drop(spec.insert("clusterIP".into(), list.into())),
        _ => {}
    }
}

pub(super) fn endpoints(object: &mut Object) {
    each(object, "subsets", |subset| each(subset, "ports", |port| set_text(port, "protocol", "TCP")));
}

pub(super) fn endpoint_slice(object: &mut Object) {
    each(object, "ports", |port| {
        set(port, "name", "");
        set(port, "protocol", "TCP");
    });
}

pub(super) fn network_policy(spec: &mut Object) {
    for list in ["ingress", "egress"] {
        each(spec, list, |rule| each(rule, "ports", |port| set(port, "protocol", "TCP")));
    }
    let egress = spec.get("egress").and_then(Value::as_array).is_some_and(|it| !it.is_empty());
    set(spec, "policyTypes", if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
}

pub(super) fn ingress_class(spec: &mut Object) {
    if let Some(parameters) = sub(spec, "parameters") {
        set(parameters, "scope", "Cluster");
    }
}

pub(super) fn gateway(spec: &mut Object) {
    each(spec, "addresses", |it| set(it, "type", "IPAddress"));
    each(spec, "listeners", |listener| {
        set(make(make(listener, "allowedRoutes"), "namespaces"), "from", "Same");
        if let Some(tls) = sub(listener, "tls") {
            set(tls, "mode", "Terminate");
            each(tls, "certificateRefs", |it| {
                set(it, "group", "");
                set(it, "kind", "Secret");
            });
        }
    });
}

pub(super) fn http_route(spec: &mut Object) {
    parents(spec);
    let everything = json!([{"path": {"type": "PathPrefix", "value": "/"}}]);
    set(spec, "rules", json!([{"matches": everything}]));
    each(spec, "rules", |rule| {
        set(rule, "matches", everything.clone());
        each(rule, "matches", |it| {
            let path = make(it, "path");
            set(path, "type", "PathPrefix");
            set(path, "value", "/");
            ["headers", "queryParams"].iter().for_each(|list| each(it, list, |it| set(it, "type", "Exact")));
        });
        filters(rule);
        each(rule, "backendRefs", backend);
    });
}

pub(super) fn grpc_route(spec: &mut Object) {
    parents(spec);
    each(spec, "rules", |rule| {
        each(rule, "matches", |it| {
            if let Some(method) = sub(it, "method") {
                set(method, "type", "Exact");
            }
            each(it, "headers", |it| set(it, "type", "Exact"));
        });
        filters(rule);
        each(rule, "backendRefs", backend);
    });
}

fn parents(spec: &mut Object) {
    each(spec, "parentRefs", |it| {
        set(it, "group", "gateway.networking.k8s.io");
        set(it, "kind", "Gateway");
    });
}

fn backend(backend: &mut Object) {
    target(backend);
    set(backend, "weight", 1);
    filters(backend);
}

fn target(reference: &mut Object) {
    set(reference, "group", "");
    set(reference, "kind", "Service");
}

fn filters(owner: &mut Object) {
    each(owner, "filters", |filter| {
        if let Some(it) = sub(filter, "requestRedirect") {
            set(it, "statusCode", 302);
        }
        if let Some(it) = sub(filter, "requestMirror") {
            target(make(it, "backendRef"));
            if let Some(fraction) = sub(it, "fraction").filter(|it| has(it, "numerator")) {
                set(fraction, "denominator", 100);
            }
        }
        if let Some(it) = sub(filter, "cors") {
            set(it, "maxAge", 5);
        }
    });
}
