//! Where a webhook that is named by its Service answers: the ready addresses behind it. Entry point: [`addresses`].

use std::net::SocketAddr;

use eyot_model::meta;

use crate::{backends, server::Shared};

/// The addresses behind a port of a Service. They are those of pods, which can be reached on this node, or whatever an
/// administrator wrote into an EndpointSlice.
pub(super) fn addresses(server: &Shared, namespace: &str, name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let service = backends::service(server, namespace, name).ok_or_else(|| format!("service {name:?} not found"))?;
    let ports = meta::list(service.pointer("/spec/ports"));
    let found = ports.iter().find(|it| it["port"] == port);
    let found = found.ok_or_else(|| format!("service {name:?} has no port {port}"))?;
    let port_name = found["name"].as_str().unwrap_or_default();
    let found = backends::behind(server, namespace, name, port_name).map_err(|it| it.message)?;
    if found.is_empty() {
        return Err(format!("no endpoints available for service {name:?}"));
    }
    Ok(found.into_iter().map(|it| it.address).collect())
}
