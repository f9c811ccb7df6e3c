//! Rows of services, endpoints, ingresses and Gateway API's kinds.

use jiff::Timestamp;
use serde_json::Value;

use super::format::{NONE, age, condition, first_three, joined, labels, list, number, selector, text, text_or_none};
use crate::meta;

pub(super) fn service(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(object).into(),
        text(object, "/spec/type").into(),
        text_or_none(object, "/spec/clusterIP").into(),
        external(object).into(),
        service_ports(object).into(),
        age(object, now).into(),
        labels(object, "/spec/selector").into(),
    ]
}

fn external(service: &Value) -> String {
    let own = list(service, "/spec/externalIPs").iter().filter_map(Value::as_str);
    match text(service, "/spec/type") {
        "ExternalName" => text(service, "/spec/externalName").into(),
        "LoadBalancer" => {
            let given = list(service, "/status/loadBalancer/ingress").iter().map(address);
            let all = joined(given.chain(own));
            if all == NONE { "<pending>".into() } else { all }
        }
        _ => joined(own),
    }
}

/// The IP or else the host name of a load balancer's point of entry.
fn address(ingress: &Value) -> &str {
    Some(text(ingress, "/ip")).filter(|it| !it.is_empty()).unwrap_or_else(|| text(ingress, "/hostname"))
}

fn service_ports(service: &Value) -> String {
    let port = |it: &Value| {
        let (number, node_port, protocol) = (number(it, "/port"), number(it, "/nodePort"), text(it, "/protocol"));
        if node_port > 0 { format!("{number}:{node_port}/{protocol}") } else { format!("{number}/{protocol}") }
    };
    let ports: Vec<String> = list(service, "/spec/ports").iter().map(port).collect();
    joined(ports.iter().map(String::as_str))
}

pub(super) fn endpoints(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in list(object, "/subsets") {
        let ports = list(subset, "/ports");
        for address in list(subset, "/addresses") {
            let ip = text(address, "/ip");
            match ports {
                [] => all.push(ip.to_owned()),
                ports => all.extend(ports.iter().map(|it| format!("{ip}:{}", number(it, "/port")))),
            }
        }
    }
    vec![meta::name(object).into(), first_three(&all, NONE).into(), age(object, now).into()]
}

pub(super) fn endpoint_slice(object: &Value, now: Timestamp) -> Vec<Value> {
    let port = |it: &Value| match (it.get("port").and_then(Value::as_i64), text(it, "/name")) {
        (Some(number), _) => number.to_string(),
        (None, "") => "*".into(),
        (None, name) => name.into(),
    };
    let ports: Vec<String> = list(object, "/ports").iter().map(port).collect();
    let addresses = list(object, "/endpoints").iter().flat_map(|it| list(it, "/addresses"));
    let addresses: Vec<String> = addresses.filter_map(Value::as_str).map(Into::into).collect();
    vec![
        meta::name(object).into(),
        text(object, "/addressType").into(),
        first_three(&ports, "<unset>").into(),
        first_three(&addresses, "<unset>").into(),
        age(object, now).into(),
    ]
}

pub(super) fn ingress(object: &Value, now: Timestamp) -> Vec<Value> {
    let class = match text(object, "/spec/ingressClassName") {
        "" => meta::annotation(object, "kubernetes.io/ingress.class").unwrap_or(NONE),
        class => class,
    };
    let hosts = list(object, "/spec/rules").iter().map(|it| text(it, "/host")).filter(|it| !it.is_empty());
    let hosts: Vec<String> = hosts.map(Into::into).collect();
    let entries = list(object, "/status/loadBalancer/ingress").iter().map(address);
    vec![
        meta::name(object).into(),
        class.into(),
        first_three(&hosts, "*").into(),
        entries.collect::<Vec<_>>().join(",").into(),
        if list(object, "/spec/tls").is_empty() { "80" } else { "80, 443" }.into(),
        age(object, now).into(),
    ]
}

pub(super) fn ingress_class(object: &Value, now: Timestamp) -> Vec<Value> {
    let parameters = match text(object, "/spec/parameters/kind") {
        "" => NONE.into(),
        kind => {
            let group = text(object, "/spec/parameters/apiGroup");
            let dot = if group.is_empty() { "" } else { "." };
            format!("{kind}{dot}{group}/{}", text(object, "/spec/parameters/name"))
        }
    };
    let controller = text(object, "/spec/controller");
    vec![meta::name(object).into(), controller.into(), parameters.into(), age(object, now).into()]
}

pub(super) fn network_policy(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![meta::name(object).into(), selector(object, "/spec/podSelector").into(), age(object, now).into()]
}

pub(super) fn gateway(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(object).into(),
        text(object, "/spec/gatewayClassName").into(),
        text(object, "/status/addresses/0/value").into(),
        condition_status(object, "Programmed").into(),
        age(object, now).into(),
    ]
}

pub(super) fn gateway_class(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(object).into(),
        text(object, "/spec/controllerName").into(),
        condition_status(object, "Accepted").into(),
        age(object, now).into(),
        text(object, "/spec/description").into(),
    ]
}

pub(super) fn route(object: &Value, now: Timestamp) -> Vec<Value> {
    let hostnames = object.pointer("/spec/hostnames").map_or_else(String::new, Value::to_string);
    vec![meta::name(object).into(), hostnames.into(), age(object, now).into()]
}

fn condition_status<'a>(object: &'a Value, of_type: &str) -> &'a str {
    condition(object, of_type).map_or("", |it| text(it, "/status"))
}

pub(super) fn service_cidr(object: &Value, now: Timestamp) -> Vec<Value> {
    let ranges = list(object, "/spec/cidrs").iter().filter_map(Value::as_str);
    vec![meta::name(object).into(), joined(ranges).into(), age(object, now).into()]
}
