//! Where a webhook that is named by its Service answers: the ready addresses behind it. Entry point: [`addresses`].

use std::net::{IpAddr, SocketAddr};

use eyot_model::meta;
use eyot_store::{Key, Page, Scope};
use serde_json::Value;

use crate::{object, server::Shared};

/// The addresses behind a port of a Service. They are those of pods, which can be reached on this node, or whatever an
/// administrator wrote into an EndpointSlice.
pub(super) fn addresses(server: &Shared, namespace: &str, name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let service = server.store.get(&Key::new("/services", namespace, name));
    let service =
        service.and_then(|it| object::parse(&it).ok()).ok_or_else(|| format!("service {name:?} not found"))?;
    let ports = meta::list(service.pointer("/spec/ports"));
    let found = ports.iter().find(|it| it["port"] == port);
    let found = found.ok_or_else(|| format!("service {name:?} has no port {port}"))?;
    let port_name = found["name"].as_str().unwrap_or_default();
    let slices = Scope::namespaced("discovery.k8s.io/endpointslices", namespace);
    let slices = server.store.list(&slices, &Page::default()).map_err(|it| it.to_string())?;
    let of_service =
        |it: &&std::sync::Arc<eyot_store::Entry>| it.attributes().label("kubernetes.io/service-name") == Some(name);
    let mut found = Vec::new();
    for slice in slices.entries.iter().filter(of_service).filter_map(|it| object::parse(it).ok()) {
        found.extend(ready(&slice, port_name));
    }
    if found.is_empty() {
        return Err(format!("no endpoints available for service {name:?}"));
    }
    Ok(found)
}

fn ready(slice: &Value, port_name: &str) -> Vec<SocketAddr> {
    let ports = meta::list(slice.get("ports")).iter();
    let mut port = ports.filter(|it| it["name"].as_str().unwrap_or_default() == port_name);
    let Some(port) = port.find_map(|it| u16::try_from(it["port"].as_u64()?).ok()) else { return Vec::new() };
    let endpoints = meta::list(slice.get("endpoints")).iter().filter(|it| it["conditions"]["ready"] != false);
    let addresses = endpoints.flat_map(|it| meta::list(it.get("addresses"))).filter_map(Value::as_str);
    addresses.filter_map(|it| it.parse::<IpAddr>().ok()).map(|it| SocketAddr::new(it, port)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ready_addresses_at_the_ports_number() {
        let slice = json!({
            "ports": [{"name": "https", "port": 8443}, {"name": "other", "port": 1}],
            "endpoints": [
                {"addresses": ["10.42.0.7"], "conditions": {"ready": true}},
                {"addresses": ["10.42.0.8"], "conditions": {"ready": false}},
            ],
        });
        assert_eq!(ready(&slice, "https"), ["10.42.0.7:8443".parse().unwrap()]);
        assert_eq!(ready(&slice, "none"), []);
    }
}
