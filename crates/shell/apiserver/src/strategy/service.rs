//! Services: cluster IPs, kept for the Service's life, ports of the node, and warnings about what this platform does not
//! do.

use std::net::Ipv4Addr;

use eyot_model::{
    kinds::Kind,
    meta,
    status::{ApiError, Cause},
};
use eyot_store::{Page, Scope};
use serde_json::{Map, Value, json};

use super::{Claim, Prepared, addresses::Refusal, node_ports};
use crate::server::Shared;

/// Gives a new Service its addresses.
pub(super) fn create(
    server: &Shared,
    kind: &Kind,
    service: &mut Value,
    prepared: &mut Prepared,
) -> Result<(), ApiError> {
    warn(service, prepared);
    address(server, kind, service, prepared)?;
    prepared.claims.extend(node_ports::settle(server, kind, service, None)?.map(Claim::Ports));
    Ok(())
}

/// Keeps the addresses a Service has; gives it some when it stops being an ExternalName.
pub(super) fn update(
    server: &Shared,
    kind: &Kind,
    new: &mut Value,
    old: &Value,
    prepared: &mut Prepared,
) -> Result<(), ApiError> {
    prepared.claims.extend(node_ports::settle(server, kind, new, Some(old))?.map(Claim::Ports));
    drop_left_over(new, old);
    let was = cluster_ip(old).unwrap_or_default().to_owned();
    if is_external(new) {
        let spec = meta::entry(new, "spec");
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            spec.remove(field);
        }
        return Ok(());
    }
    if was.is_empty() {
        return address(server, kind, new, prepared);
    }
    if cluster_ip(new).is_none_or(str::is_empty) {
        meta::entry(new, "spec").insert("clusterIP".into(), was.as_str().into());
    }
    if cluster_ip(new) != Some(&*was) {
        let cause = Cause::invalid("spec.clusterIPs[0]", &json!(cluster_ip(new)), "may not change once set");
        return Err(ApiError::invalid(kind, meta::name(new).unwrap_or_default(), vec![cause]));
    }
    for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if let Some(value) = old["spec"].get(field).cloned() {
            meta::entry(new, "spec").entry(field).or_insert(value);
        }
    }
    if new["spec"] != old["spec"] {
        warn(new, prepared);
    }
    Ok(())
}

/// What belongs to another type, and nobody has asked for anew, goes with a change of type.
fn drop_left_over(new: &mut Value, old: &Value) {
    let of_type = new.pointer("/spec/type").and_then(Value::as_str).unwrap_or_default();
    let mut gone = Vec::new();
    if !matches!(of_type, "NodePort" | "LoadBalancer") {
        gone.push("externalTrafficPolicy");
    }
    if of_type != "LoadBalancer" {
        gone.push("allocateLoadBalancerNodePorts");
    }
    let spec = meta::entry(new, "spec");
    for field in gone {
        if spec.get(field) == old["spec"].get(field) {
            spec.remove(field);
        }
    }
}

/// Returns the address of a Service that is gone.
pub(super) fn release(server: &Shared, service: &Value) {
    if let Some(ip) = cluster_ip(service).and_then(|it| it.parse().ok()) {
        server.addresses.release(ip);
    }
}

fn address(server: &Shared, kind: &Kind, service: &mut Value, prepared: &mut Prepared) -> Result<(), ApiError> {
    if is_external(service) {
        return Ok(());
    }
    let wanted = cluster_ip(service).unwrap_or_default().to_owned();
    let ip = match wanted.as_str() {
        "None" => "None".to_owned(),
        "" => {
            let (ip, claim) = server.addresses.take_any(|| known(server)).map_err(|it| refused(server, it))?;
            prepared.claims.push(Claim::Address(claim));
            ip.to_string()
        }
        wanted => {
            prepared.claims.push(Claim::Address(claim(server, kind, service, wanted)?));
            wanted.to_owned()
        }
    };
    let spec = meta::entry(service, "spec");
    spec.insert("clusterIPs".into(), json!([ip]));
    spec.insert("clusterIP".into(), ip.into());
    spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
    spec.entry("ipFamilyPolicy").or_insert_with(|| "SingleStack".into());
    Ok(())
}

fn claim(server: &Shared, kind: &Kind, service: &Value, wanted: &str) -> Result<super::addresses::Claim, ApiError> {
    let name = meta::name(service).unwrap_or_default();
    let invalid = |why: &str| {
        let cause = Cause::invalid("spec.clusterIPs", &json!([wanted]), why);
        ApiError::invalid(kind, name, vec![cause])
    };
    let ip: Ipv4Addr = wanted.parse().map_err(|_| invalid("must be an IPv4 address, None or empty"))?;
    server.addresses.take(ip, || known(server)).map_err(|refusal| match refusal {
        Refusal::OutOfRange => {
            let range = server.addresses.range();
            invalid(&format!("failed to allocate IP {ip}: the provided IP is not in the valid range {range}"))
        }
        Refusal::Taken => invalid(&format!("failed to allocate IP {ip}: provided IP is already allocated")),
        Refusal::Exhausted => refused(server, refusal),
    })
}

fn refused(server: &Shared, refusal: Refusal) -> ApiError {
    ApiError::internal(format!("allocating a cluster IP from {}: {refusal:?}", server.addresses.range()))
}

/// The addresses that stored Services hold.
fn known(server: &Shared) -> Vec<Ipv4Addr> {
    let Ok(list) = server.store.list(&Scope::all("/services"), &Page::default()) else { return Vec::new() };
    let services = list.entries.iter().filter_map(|it| serde_json::from_slice::<Value>(&it.value).ok());
    services.filter_map(|it| cluster_ip(&it)?.parse().ok()).collect()
}

fn cluster_ip(service: &Value) -> Option<&str> {
    service.get("spec")?.get("clusterIP")?.as_str()
}

fn is_external(service: &Value) -> bool {
    service.pointer("/spec/type").and_then(Value::as_str) == Some("ExternalName")
}

/// Says what of the Service will not happen here.
fn warn(service: &Value, prepared: &mut Prepared) {
    let empty = Map::new();
    let spec = service.get("spec").and_then(Value::as_object).unwrap_or(&empty);
    if spec.get("type").and_then(Value::as_str) == Some("LoadBalancer") {
        let what =
            "spec.type: LoadBalancer gets no address of its own here; the Service is reachable at its node ports";
        prepared.warnings.push(what.to_owned());
    }
    let ports = meta::list(spec.get("ports"));
    let on_the_node = matches!(spec.get("type").and_then(Value::as_str), Some("NodePort" | "LoadBalancer"));
    if on_the_node && ports.iter().any(|it| it["protocol"].as_str().is_some_and(|it| it != "TCP")) {
        prepared.warnings.push("spec.ports: only TCP ports of the node are opened".to_owned());
    }
    if spec.get("externalIPs").is_some_and(|it| !meta::list(Some(it)).is_empty()) {
        prepared.warnings.push("spec.externalIPs: not served".to_owned());
    }
}
