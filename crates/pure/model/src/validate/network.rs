//! Checks of services, endpoints, ingresses and network policies.

use std::collections::HashSet;

use super::{addresses, at::At, names, workload::label_selector};
use crate::status::Cause;

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

pub(super) fn service(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let kind = spec.get("type").text();
    spec.get("type").one_of(&["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], causes);
    spec.get("sessionAffinity").one_of(&["ClientIP", "None"], causes);
    spec.get("internalTrafficPolicy").one_of(&["Cluster", "Local"], causes);
    spec.get("externalTrafficPolicy").one_of(&["Cluster", "Local"], causes);
    spec.get("ipFamilyPolicy").one_of(&["PreferDualStack", "RequireDualStack", "SingleStack"], causes);
    let (ports, address) = (spec.get("ports"), spec.get("clusterIP"));
    let headless = address.text() == "None";
    if ports.is_empty() && !headless && kind != "ExternalName" {
        causes.push(ports.required(""));
    }
    if kind == "ExternalName" {
        external_name(spec, causes);
    } else if !headless {
        address.grammar(names::ip, causes);
    }
    if headless && matches!(kind, "NodePort" | "LoadBalancer") {
        causes.push(address.invalid(&format!("may not be set to 'None' for {kind} services")));
    }
    service_ports(&ports, causes);
    spec.get("externalIPs").items().for_each(|it| it.grammar(names::ip, causes));
    for (key, value) in spec.get("selector").entries() {
        let at = spec.get("selector").path;
        if let Err(why) = names::qualified_name(key) {
            causes.push(Cause::invalid(&at, &key.into(), &why));
        }
        if let Err(why) = names::label_value(value.text()) {
            causes.push(Cause::invalid(&at, value.value, &why));
        }
    }
}

fn external_name(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let (name, address) = (spec.get("externalName"), spec.get("clusterIP"));
    match name.text().trim_end_matches('.') {
        "" => causes.push(name.required("")),
        text => {
            if let Err(why) = names::dns1123_subdomain(text) {
                causes.push(name.invalid(&why));
            }
        }
    }
    if !address.is_empty() {
        causes.push(address.forbidden("may not be set for ExternalName services"));
    }
}

fn service_ports(ports: &At<'_>, causes: &mut Vec<Cause>) {
    let many = ports.items().count() > 1;
    let (mut seen, mut node_ports) = (HashSet::new(), HashSet::new());
    for port in ports.items() {
        if many && port.get("name").is_empty() {
            causes.push(port.get("name").required(""));
        }
        port.get("name").grammar(names::dns1123_label, causes);
        port.get("protocol").one_of(PROTOCOLS, causes);
        port.get("port").port(causes);
        port.get("targetPort").port(causes);
        port.get("targetPort").grammar(names::port_name, causes);
        let protocol = port.get("protocol").text();
        if !seen.insert((protocol, port.get("port").number())) {
            causes.push(port.duplicate());
        }
        let node_port = port.get("nodePort");
        if node_port.number().is_some_and(|it| it != 0) {
            node_port.port(causes);
            if !node_ports.insert((protocol, node_port.number())) {
                causes.push(node_port.duplicate());
            }
        }
    }
    ports.unique("name", causes);
}

pub(super) fn endpoints(object: &At<'_>, causes: &mut Vec<Cause>) {
    for subset in object.get("subsets").items() {
        for list in ["addresses", "notReadyAddresses"] {
            subset.get(list).items().for_each(|it| it.get("ip").grammar(names::endpoint_ip, causes));
        }
        for port in subset.get("ports").items() {
            port.get("port").port(causes);
            port.get("protocol").one_of(PROTOCOLS, causes);
        }
    }
}

pub(super) fn endpoint_slice(object: &At<'_>, causes: &mut Vec<Cause>) {
    const ENDPOINTS_MAX: usize = 1000;
    object.get("addressType").one_of(&["FQDN", "IPv4", "IPv6"], causes);
    let endpoints = object.get("endpoints");
    let count = endpoints.items().count();
    if count > ENDPOINTS_MAX {
        causes.push(Cause::too_many(&endpoints.path, count, ENDPOINTS_MAX));
    }
    for endpoint in endpoints.items() {
        let addresses = endpoint.get("addresses");
        if addresses.is_empty() {
            causes.push(addresses.required("must contain at least 1 address"));
        }
        const ADDRESSES_MAX: usize = 100;
        let given = addresses.items().count();
        if given > ADDRESSES_MAX {
            causes.push(Cause::too_many(&addresses.path, given, ADDRESSES_MAX));
        }
        endpoint.get("hostname").grammar(names::dns1123_label, causes);
        endpoint.get("nodeName").grammar(names::dns1123_subdomain, causes);
        let is_name = object.get("addressType").text() == "FQDN";
        let check = if is_name { names::dns1123_subdomain } else { names::endpoint_ip };
        addresses.items().for_each(|it| it.grammar(check, causes));
    }
    for port in object.get("ports").items() {
        port.get("port").port(causes);
        port.get("protocol").one_of(PROTOCOLS, causes);
        port.get("name").grammar(names::dns1123_label, causes);
    }
    let mut seen = HashSet::new();
    for name in object.get("ports").items().map(|it| it.get("name")) {
        if !seen.insert(name.text()) {
            causes.push(name.duplicate());
        }
    }
}

pub(super) fn ingress(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let default = spec.get("defaultBackend");
    if spec.get("rules").is_empty() && default.is_absent() {
        causes.push(spec.invalid("either `defaultBackend` or `rules` must be specified"));
    }
    if !default.is_absent() {
        backend(&default, causes);
    }
    for rule in spec.get("rules").items() {
        rule.get("host").grammar(names::wildcard_subdomain, causes);
        for path in rule.at("http.paths").items() {
            let of_type = path.get("pathType");
            match of_type.text() {
                "" => causes.push(of_type.required("pathType must be specified")),
                "Exact" | "Prefix" if !path.get("path").text().starts_with('/') => {
                    causes.push(path.get("path").invalid("must be an absolute path"));
                }
                _ => of_type.one_of(&["Exact", "ImplementationSpecific", "Prefix"], causes),
            }
            backend(&path.get("backend"), causes);
        }
    }
    for tls in spec.get("tls").items() {
        tls.get("hosts").items().for_each(|it| it.grammar(names::wildcard_subdomain, causes));
        tls.get("secretName").grammar(names::dns1123_subdomain, causes);
    }
    spec.get("ingressClassName").grammar(names::dns1123_subdomain, causes);
}

pub(super) fn ingress_class(spec: &At<'_>, causes: &mut Vec<Cause>) {
    const CONTROLLER_MAX: usize = 250;
    let controller = spec.get("controller");
    if controller.text().len() > CONTROLLER_MAX {
        causes.push(Cause::too_long(&controller.path, CONTROLLER_MAX));
    }
    controller.grammar(domain_path, causes);
    let parameters = spec.get("parameters");
    if parameters.is_absent() {
        return;
    }
    parameters.get("apiGroup").grammar(names::dns1123_subdomain, causes);
    parameters.get("scope").one_of(&["Cluster", "Namespace"], causes);
    let namespace = parameters.get("namespace");
    match parameters.get("scope").text() {
        "Namespace" if namespace.is_empty() => {
            causes.push(namespace.required("`parameters.scope` is set to 'Namespace'"));
        }
        "Cluster" if !namespace.is_absent() => {
            causes.push(namespace.forbidden("`parameters.scope` is set to 'Cluster'"));
        }
        _ => namespace.grammar(names::dns1123_label, causes),
    }
}

/// A controller's name: a domain, a slash, and a path.
fn domain_path(text: &str) -> names::Check {
    let Some((domain, path)) = text.split_once('/') else {
        return Err("must be a domain-prefixed path (such as \"acme.io/foo\")".into());
    };
    names::dns1123_subdomain(domain)?;
    if path.is_empty() { Err("must specify a path".into()) } else { Ok(()) }
}

fn backend(backend: &At<'_>, causes: &mut Vec<Cause>) {
    let (service, resource) = (backend.get("service"), backend.get("resource"));
    match (service.is_absent(), resource.is_absent()) {
        (true, true) => causes.push(backend.required("resource or service backend is required")),
        (false, false) => causes.push(backend.invalid("cannot set both resource and service backends")),
        (true, false) => {}
        (false, true) => {
            if service.get("name").is_empty() {
                causes.push(service.get("name").required(""));
            }
            let port = service.get("port");
            match (port.get("name").is_empty(), port.get("number").number().unwrap_or(0) == 0) {
                (true, true) => causes.push(port.required("port name or number is required")),
                (false, false) => causes.push(port.invalid("cannot set both port name & port number")),
                _ => port.get("number").port(causes),
            }
        }
    }
}

pub(super) fn network_policy(spec: &At<'_>, causes: &mut Vec<Cause>) {
    label_selector(&spec.get("podSelector"), causes);
    spec.get("policyTypes").items().for_each(|it| it.one_of(&["Egress", "Ingress"], causes));
    for (list, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.get(list).items() {
            for port in rule.get("ports").items() {
                port.get("protocol").one_of(PROTOCOLS, causes);
                port.get("port").port(causes);
                port.get("port").grammar(names::port_name, causes);
                range(&port, causes);
            }
            for peer in rule.get(peers).items() {
                if peer.is_empty() {
                    causes.push(peer.required("must specify a peer"));
                }
                label_selector(&peer.get("podSelector"), causes);
                label_selector(&peer.get("namespaceSelector"), causes);
                let block = peer.get("ipBlock");
                if block.is_absent() {
                    continue;
                }
                addresses::block(&block, causes);
                if peer.entries().count() > 1 {
                    causes.push(peer.forbidden("may not specify more than 1 from type"));
                }
            }
        }
    }
}

/// A range of ports needs a number to begin with.
fn range(port: &At<'_>, causes: &mut Vec<Cause>) {
    let (first, last) = (port.get("port"), port.get("endPort"));
    let Some(end) = last.number() else { return };
    match first.number() {
        None if first.is_absent() => causes.push(last.required("may not be specified when `port` is not specified")),
        None => causes.push(last.invalid("may not be specified when `port` is non-numeric")),
        Some(begin) if end < begin => causes.push(last.invalid("must be greater than or equal to `port`")),
        Some(_) => last.port(causes),
    }
}
