//! Keeps the Endpoints object of each Service that selects pods: the older form of its EndpointSlices, which some
//! clients still read.
//!
//! Nothing is cached: an object is asked for when its Service or its pods change, and not more than twice a second.

use std::{collections::BTreeMap, sync::Arc};

use eyot_plan::{
    endpoints::{self as plan, Subset},
    endpointslice::Endpoint,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    api::{ApiError, DeleteOptions, ENDPOINTS, Target},
    context::Context,
    endpointslice::{HEADLESS, is_untouched, rows},
    queue::Outcome,
    view::{Key, Meta, network::ServiceView},
};

/// Label of objects that are written here; all others were made by hand.
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
/// Annotation that says that addresses were left out.
const CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

#[derive(Default, Deserialize)]
#[serde(default)]
struct Present {
    metadata: Meta,
    subsets: Value,
}

/// One pass over one Service: read, decide, write.
pub(crate) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let target = Target::object(&ENDPOINTS, &key.namespace, &key.name);
    let Some(service) = context.stores.services.get(&key).filter(|it| !it.meta.deleting()) else {
        let options = DeleteOptions::default();
        return context.api.delete(target, options).await.map(|()| None);
    };
    if !service.selects() {
        return Ok(None);
    }
    let pods = rows(&context, &service);
    let (subsets, left_out) = plan::subsets(&service.ports(), service.spec.publish_not_ready_addresses, &pods);
    let subsets: Value = subsets.iter().map(|it| subset(it, &key.namespace)).collect();
    match context.api.get::<Present>(target, "").await {
        Ok(present) => {
            let same = present.subsets == subsets || (present.subsets.is_null() && subsets == json!([]));
            let told = present.metadata.annotations.get(CAPACITY).is_some();
            if same && told == left_out && present.metadata.labels.get(MANAGED_BY) == Some(MANAGER) {
                return Ok(None);
            }
            replace(&context, &service, &present.metadata, subsets, left_out).await.map(|()| None)
        }
        Err(error) if error.is_not_found() && is_untouched(&service, &pods) => Ok(None),
        Err(error) if error.is_not_found() => create(&context, &service, subsets, left_out).await.map(|()| None),
        Err(error) => Err(error),
    }
}

fn labels(service: &ServiceView) -> BTreeMap<&str, &str> {
    let mut labels: BTreeMap<&str, &str> = service.meta.labels.iter().collect();
    labels.insert(MANAGED_BY, MANAGER);
    if service.headless() {
        labels.insert(HEADLESS, "");
    }
    labels
}

fn annotations(left_out: bool) -> Value {
    // Taken out by a merge patch when everything fits.
    json!({CAPACITY: if left_out { json!("truncated") } else { Value::Null }})
}

async fn create(context: &Context, service: &ServiceView, subsets: Value, left_out: bool) -> Result<(), ApiError> {
    let meta = &service.meta;
    let mut body = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": meta.name, "namespace": meta.namespace, "labels": labels(service)},
        "subsets": subsets,
    });
    if left_out {
        body["metadata"]["annotations"] = annotations(true);
    }
    let target = Target::collection(&ENDPOINTS, &meta.namespace);
    match context.api.create(target, body.to_string().into_bytes()).await {
        // The namespace is on its way out.
        Err(error) if error.is_forbidden() => Ok(()),
        other => other.map(drop),
    }
}

async fn replace(
    context: &Context,
    service: &ServiceView,
    present: &Meta,
    subsets: Value,
    left_out: bool,
) -> Result<(), ApiError> {
    let patch = json!({
        "metadata": {
            "resourceVersion": present.resource_version, "labels": labels(service),
            "annotations": annotations(left_out),
        },
        "subsets": subsets,
    });
    let target = Target::object(&ENDPOINTS, &present.namespace, &present.name);
    context.api.merge::<serde::de::IgnoredAny>(target, &patch).await.map(drop)
}

fn subset(subset: &Subset, namespace: &str) -> Value {
    let mut json = json!({});
    for (field, all) in [("addresses", &subset.ready), ("notReadyAddresses", &subset.waiting)] {
        if !all.is_empty() {
            json[field] = all.iter().map(|it| address(it, namespace)).collect();
        }
    }
    if !subset.ports.is_empty() {
        json["ports"] = subset
            .ports
            .iter()
            .map(|it| {
                let mut port = json!({"port": it.port, "protocol": it.protocol});
                if !it.name.is_empty() {
                    port["name"] = it.name.as_str().into();
                }
                if let Some(app_protocol) = &it.app_protocol {
                    port["appProtocol"] = app_protocol.as_str().into();
                }
                port
            })
            .collect();
    }
    json
}

fn address(it: &Endpoint, namespace: &str) -> Value {
    let mut address = json!({
        "ip": it.ip,
        "targetRef": {"kind": "Pod", "namespace": namespace, "name": it.name, "uid": it.uid},
    });
    if !it.node.is_empty() {
        address["nodeName"] = it.node.as_str().into();
    }
    if let Some(hostname) = &it.hostname {
        address["hostname"] = hostname.as_str().into();
    }
    address
}
