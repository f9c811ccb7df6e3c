//! The ready endpoints behind a Service, read from its EndpointSlices. Entry points: [`service`], [`behind`].
//!
//! Nothing is cached: what asks (webhooks that are named by a Service, the proxy) asks rarely.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use eyot_model::{meta, status::ApiError};
use eyot_store::{Entry, Key, Page, Scope};
use serde_json::Value;

use crate::{object, server::Shared};

/// One ready endpoint.
#[derive(Debug, PartialEq)]
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    /// The pod that it is, and its node; `None` when somebody wrote the address by hand.
    pub(crate) pod: Option<(String, String)>,
}

/// A Service as it is stored.
pub(crate) fn service(server: &Shared, namespace: &str, name: &str) -> Option<Value> {
    server.store.get(&Key::new("/services", namespace, name)).and_then(|it| object::parse(&it).ok())
}

/// The ready endpoints behind the port of that name.
pub(crate) fn behind(server: &Shared, namespace: &str, name: &str, port: &str) -> Result<Vec<Backend>, ApiError> {
    let slices = Scope::namespaced("discovery.k8s.io/endpointslices", namespace);
    let slices = server.store.list(&slices, &Page::default()).map_err(ApiError::internal)?;
    let of_service = |it: &&Arc<Entry>| it.attributes().label("kubernetes.io/service-name") == Some(name);
    let slices = slices.entries.iter().filter(of_service).filter_map(|it| object::parse(it).ok());
    Ok(slices.flat_map(|it| ready(&it, port)).collect())
}

fn ready(slice: &Value, port_name: &str) -> Vec<Backend> {
    let ports = meta::list(slice.get("ports")).iter();
    let mut port = ports.filter(|it| it["name"].as_str().unwrap_or_default() == port_name);
    let Some(port) = port.find_map(|it| u16::try_from(it["port"].as_u64()?).ok()) else { return Vec::new() };
    let endpoints = meta::list(slice.get("endpoints")).iter().filter(|it| it["conditions"]["ready"] != false);
    let backends = endpoints.flat_map(|endpoint| {
        let addresses =
            meta::list(endpoint.get("addresses")).iter().filter_map(|it| it.as_str()?.parse::<IpAddr>().ok());
        addresses.map(|ip| Backend { address: SocketAddr::new(ip, port), pod: pod(endpoint) })
    });
    backends.collect()
}

fn pod(endpoint: &Value) -> Option<(String, String)> {
    let target = endpoint.get("targetRef").filter(|it| it["kind"] == "Pod")?;
    Some((target["name"].as_str()?.to_owned(), endpoint["nodeName"].as_str()?.to_owned()))
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
                {"addresses": ["10.42.0.7"], "conditions": {"ready": true}, "nodeName": "n",
                    "targetRef": {"kind": "Pod", "name": "p"}},
                {"addresses": ["10.42.0.8"], "conditions": {"ready": false}},
                {"addresses": ["192.0.2.1"]},
            ],
        });
        let found = ready(&slice, "https");
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(found.len(), 2);
        let by_hand = Backend { address: address("192.0.2.1:8443"), pod: None };
        assert_eq!(found[0], Backend { address: address("10.42.0.7:8443"), pod: Some(("p".into(), "n".into())) });
        assert_eq!(found[1], by_hand);
        assert_eq!(ready(&slice, "none"), []);
    }
}
