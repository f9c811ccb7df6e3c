//! Writes EndpointSlices, for whoever has decided what is in them.
//!
//! Entry points: [`kept`], [`create`], [`update`], [`delete`].

use std::sync::Arc;

use eyot_plan::endpointslice::{Endpoint, Slice};
use serde_json::{Map, Value, json};

use crate::{
    api::{ApiError, DeleteOptions, ENDPOINT_SLICES, Target},
    context::Context,
    view::{Key, Meta, count, network::SliceView},
};

/// Label that names the Service of a slice.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Label that names who keeps a slice.
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// A slice that does not exist yet.
pub(crate) struct New<'a> {
    pub(crate) name: String,
    pub(crate) labels: Value,
    /// `apiVersion`, kind and metadata of what it is made for, whose name is that of the Service.
    pub(crate) owner: (&'static str, &'static str, &'a Meta),
}

/// The Service that a slice belongs to, if `manager` keeps it.
pub(crate) fn service_of(slice: &Meta, manager: &str) -> Option<Key> {
    let ours = slice.labels.get(MANAGED_BY) == Some(manager);
    slice.labels.get(SERVICE_NAME).filter(|_| ours).map(|name| Key::new(&slice.namespace, name))
}

/// The slices that `manager` keeps for the Service of this name, by name; `owner` is what they are made for. Those of an
/// owner that is gone are left to the collector.
pub(crate) fn kept(context: &Context, manager: &str, key: &Key, owner: Option<&Meta>) -> Vec<Arc<SliceView>> {
    let slices = &context.stores.slices;
    let mut kept = owner.map_or_else(Vec::new, |it| slices.controlled_by(&it.uid));
    kept.extend(slices.free_in(&key.namespace));
    kept.retain(|it| {
        let label = |name| it.meta.labels.get(name);
        label(SERVICE_NAME) == Some(&key.name) && label(MANAGED_BY) == Some(manager)
    });
    kept.sort_by(|a, b| a.meta.name.cmp(&b.meta.name));
    kept
}

/// Creates a slice. One that is there already was made by an earlier pass; where the namespace is on its way out none is
/// needed.
pub(crate) async fn create(context: &Context, new: New<'_>, slice: &Slice) -> Result<(), ApiError> {
    let (api_version, kind, owner) = new.owner;
    let v6 = slice.endpoints.first().is_some_and(|it| it.ip.contains(':'));
    let mut body = content(slice, &owner.namespace);
    body.insert("apiVersion".into(), "discovery.k8s.io/v1".into());
    body.insert("kind".into(), "EndpointSlice".into());
    body.insert("addressType".into(), if v6 { "IPv6" } else { "IPv4" }.into());
    let metadata = json!({
        "name": new.name,
        "generateName": format!("{}-", owner.name),
        "namespace": owner.namespace,
        "labels": new.labels,
        "ownerReferences": [{
            "apiVersion": api_version, "kind": kind, "name": owner.name, "uid": owner.uid,
            "controller": true, "blockOwnerDeletion": true,
        }],
    });
    body.insert("metadata".into(), metadata);
    let target = Target::collection(&ENDPOINT_SLICES, &owner.namespace);
    match context.api.create(target, Value::Object(body).to_string().into_bytes()).await {
        Err(error) if error.exists() || error.is_forbidden() => Ok(()),
        other => other.map(drop),
    }
}

/// Replaces what a slice holds, if it still is as last seen.
pub(crate) async fn update(context: &Context, meta: &Meta, slice: &Slice) -> Result<(), ApiError> {
    let mut patch = content(slice, &meta.namespace);
    patch.insert("metadata".into(), json!({"resourceVersion": meta.resource_version}));
    let target = Target::object(&ENDPOINT_SLICES, &meta.namespace, &meta.name);
    match context.api.merge::<SliceView>(target, &Value::Object(patch)).await {
        Ok(written) => context.stores.slices.absorb(written),
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Deletes a slice.
pub(crate) async fn delete(context: &Context, meta: &Meta) -> Result<(), ApiError> {
    let target = Target::object(&ENDPOINT_SLICES, &meta.namespace, &meta.name);
    context.api.delete(target, DeleteOptions { uid: Some(&meta.uid), ..DeleteOptions::default() }).await
}

fn content(slice: &Slice, namespace: &str) -> Map<String, Value> {
    let ports = slice.ports.iter().map(|it| {
        let mut port = json!({"name": it.name, "protocol": it.protocol, "port": count(it.port.into())});
        if let Some(app_protocol) = &it.app_protocol {
            port["appProtocol"] = app_protocol.as_str().into();
        }
        port
    });
    let ports = ("ports".to_owned(), ports.collect());
    let endpoints = ("endpoints".to_owned(), slice.endpoints.iter().map(|it| endpoint(it, namespace)).collect());
    [ports, endpoints].into_iter().collect()
}

fn endpoint(it: &Endpoint, namespace: &str) -> Value {
    let mut endpoint = json!({
        "addresses": [it.ip],
        "conditions": {"ready": it.ready, "serving": it.serving, "terminating": it.terminating},
    });
    if !it.name.is_empty() {
        endpoint["targetRef"] = json!({"kind": "Pod", "namespace": namespace, "name": it.name, "uid": it.uid});
    }
    if !it.node.is_empty() {
        endpoint["nodeName"] = it.node.as_str().into();
    }
    if let Some(zone) = &it.zone {
        endpoint["zone"] = zone.as_str().into();
    }
    if let Some(hostname) = &it.hostname {
        endpoint["hostname"] = hostname.as_str().into();
    }
    endpoint
}
