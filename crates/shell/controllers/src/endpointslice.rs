//! Keeps each Service's EndpointSlices.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use eyot_plan::endpointslice::{self as plan, Slice};
use serde_json::json;

use crate::{
    api::ApiError,
    context::Context,
    names,
    queue::Outcome,
    selected::Kind,
    slices::{self, MANAGED_BY, New, SERVICE_NAME},
    view::{Key, Meta, network::ServiceView, pod::PodView},
};

const MANAGER: &str = "endpointslice-controller.k8s.io";
/// Label of nodes.
const ZONE: &str = "topology.kubernetes.io/zone";
pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";

/// The Service that a slice of ours belongs to.
pub(crate) fn service_of(slice: &Meta) -> Option<Key> {
    slices::service_of(slice, MANAGER)
}

/// Nothing that a slice tells differs between the two.
pub(crate) fn looks_same(old: &PodView, new: &PodView) -> bool {
    old.meta.uid == new.meta.uid
        && old.ip == new.ip
        && old.node == new.node
        && old.ready_since.is_some() == new.ready_since.is_some()
        && old.meta.deleting() == new.meta.deleting()
        && old.unfinished() == new.unfinished()
        && old.meta.labels == new.meta.labels
}

/// One pass over one Service: read, decide, write.
pub(crate) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    // The collector removes the slices of a Service that is gone.
    let Some(service) = context.stores.services.get(&key).filter(|it| !it.meta.deleting()) else { return Ok(None) };
    let present = slices::kept(&context, MANAGER, &key, Some(&service.meta));
    if !service.selects() {
        for slice in &present {
            slices::delete(&context, &slice.meta).await?;
        }
        return Ok(None);
    }
    let pods = rows(&context, &service);
    if present.is_empty() && is_untouched(&service, &pods) {
        return Ok(None);
    }
    let old: Vec<Slice> = present.iter().map(|it| it.slice.clone()).collect();
    let plan = plan::plan(&service.ports(), service.spec.publish_not_ready_addresses, &pods, &old);
    for slice in &plan.create {
        create(&context, &service, slice).await?;
    }
    for (index, slice) in &plan.update {
        slices::update(&context, &present[*index].meta, slice).await?;
    }
    for index in &plan.delete {
        slices::delete(&context, &present[*index].meta).await?;
    }
    // What was created is in the cache only after the watch brought it, which wakes this pass again; a name that
    // depends on the content keeps a pass in between from creating it twice.
    Ok(None)
}

/// The Service of a revision without instances: what tells of its endpoints is made with the first.
pub(crate) fn is_untouched(service: &ServiceView, pods: &[plan::Pod]) -> bool {
    pods.is_empty() && service.meta.is_of_revision()
}

/// The pods that the Service selects.
pub(crate) fn rows(context: &Context, service: &ServiceView) -> Vec<plan::Pod> {
    let all = || context.stores.pods.in_namespace(&service.meta.namespace);
    let pods = context.selected.pods(Kind::Service, &service.meta.key(), &service.selector()).unwrap_or_else(all);
    let nodes = context.stores.nodes.all();
    let zones: HashMap<&str, &str> =
        nodes.iter().filter_map(|it| Some((&*it.meta.name, it.meta.labels.get(ZONE)?))).collect();
    let row =
        |it: &Arc<PodView>| plan::Pod { zone: zones.get(&*it.node).map(|it| (*it).to_owned()), ..row(it, service) };
    pods.iter().filter(|it| service.matches(&it.meta.labels)).map(row).collect()
}

fn row(pod: &PodView, service: &ServiceView) -> plan::Pod {
    let host = pod.host.as_deref().filter(|it| *it.1 == *service.meta.name);
    plan::Pod {
        uid: pod.meta.uid.to_string(),
        name: pod.meta.name.to_string(),
        ip: pod.ip.to_string(),
        node: pod.node.to_string(),
        hostname: host.map(|it| it.0.clone()),
        zone: None,
        ready: pod.ready_since.is_some(),
        terminating: pod.meta.deleting(),
        finished: !pod.unfinished(),
        named_ports: pod
            .named_ports
            .iter()
            .map(|it| (it.name.to_string(), it.protocol.to_string(), it.number))
            .collect(),
    }
}

async fn create(context: &Context, service: &ServiceView, slice: &Slice) -> Result<(), ApiError> {
    let mut labels: BTreeMap<&str, &str> = service.meta.labels.iter().collect();
    labels.extend([(SERVICE_NAME, &*service.meta.name), (MANAGED_BY, MANAGER)]);
    if service.headless() {
        labels.insert(HEADLESS, "");
    }
    let new = New {
        name: names::stable(&format!("{}-", service.meta.name), &(&service.meta.uid, key_of(slice))),
        labels: json!(labels),
        owner: ("v1", "Service", &service.meta),
    };
    slices::create(context, new, slice).await
}

/// What a slice's name is made of: its ports and its first endpoint.
fn key_of(slice: &Slice) -> (Vec<(String, u16)>, Option<String>) {
    let ports = slice.ports.iter().map(|it| (it.name.clone(), it.port)).collect();
    (ports, slice.endpoints.first().map(|it| it.uid.clone()))
}
