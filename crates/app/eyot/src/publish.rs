//! What the node tells its users about itself, in the places where tools look for it.

use anyhow::{Context, Result};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::json;

use crate::apply;

/// Publishes the registry's address in `kube-public/local-registry-hosting` (KEP-1755), where build tools look for it.
pub(crate) async fn registry(client: &Client, host: &str) -> Result<()> {
    let hosting = format!("host: \"{host}\"\nhelp: \"eyot push FILE {host}/NAME:TAG\"\n");
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "local-registry-hosting", "namespace": "kube-public" },
        "data": { "localRegistryHosting.v1": hosting },
    });
    apply::apply(client, map).await.context("publishing the registry's address")?;
    Ok(())
}

/// Publishes the address of OpenFaaS' API, where `eyot invoke --async` looks for it.
pub(crate) async fn openfaas(client: &Client, url: &str) -> Result<()> {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "gateway", "namespace": "openfaas" },
        "data": { "url": url },
    });
    apply::apply(client, map).await.context("publishing the address of OpenFaaS' API")?;
    Ok(())
}

/// The Gateways of the Gateway API in the namespace of the default one.
pub(crate) fn gateways(client: &Client) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "Gateway");
    let resource = ApiResource::from_gvk_with_plural(&gvk, "gateways");
    Api::namespaced_with(client.clone(), eyot_gateway::DEFAULT_GATEWAY_NAMESPACE, &resource)
}

/// Says in the default Gateway on which port it really listens. An administrator's other listeners stay.
pub(crate) async fn gateway(client: &Client, port: u16) -> Result<()> {
    let step = || format!("publishing port {port} of the default Gateway");
    let gateways = gateways(client);
    let Some(gateway) = gateways.get_opt(eyot_gateway::DEFAULT_GATEWAY_NAME).await.with_context(step)? else {
        // An administrator deleted it; that is theirs to do.
        return Ok(());
    };
    let mut listeners = gateway.data.pointer("/spec/listeners").cloned().unwrap_or_default();
    match listeners.pointer_mut("/0/port") {
        Some(named) if *named != json!(port) => *named = json!(port),
        _ => return Ok(()),
    }
    let change = Patch::Merge(json!({ "spec": { "listeners": listeners } }));
    let name = eyot_gateway::DEFAULT_GATEWAY_NAME;
    gateways.patch(name, &PatchParams::default(), &change).await.with_context(step)?;
    Ok(())
}
