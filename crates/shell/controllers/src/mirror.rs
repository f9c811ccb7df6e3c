//! Makes EndpointSlices of Endpoints that somebody wrote by hand for a Service without selector, so that what reads
//! slices finds them too.

use std::sync::Arc;

use eyot_plan::{endpoints as plan, endpointslice::Slice};
use serde_json::{Value, json};

use crate::{
    api::{ApiError, DeleteOptions, ENDPOINT_SLICES, Target},
    context::Context,
    endpointslice::{MANAGED_BY, SERVICE_NAME, content},
    names,
    queue::Outcome,
    view::{
        Key, Meta,
        network::{EndpointsView, SliceView},
    },
};

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// Label with which an Endpoints object asks to be left alone.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Annotation of objects that are locks, not endpoints.
const LOCK: &str = "control-plane.alpha.kubernetes.io/leader";

/// The Endpoints object that a mirroring slice belongs to.
pub(crate) fn mirrored(slice: &Meta) -> Option<Key> {
    let ours = slice.labels.get(MANAGED_BY) == Some(MANAGER);
    slice.labels.get(SERVICE_NAME).filter(|_| ours).map(|name| Key::new(&slice.namespace, name))
}

/// One pass over one Endpoints object: read, decide, write.
pub(crate) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let mut present: Vec<Arc<SliceView>> = context.stores.slices.in_namespace(&key.namespace);
    present.retain(|it| mirrored(&it.meta).is_some_and(|it| it == key));
    present.sort_by(|a, b| a.meta.name.cmp(&b.meta.name));
    let by_hand = context.stores.services.get(&key).filter(|it| !it.selects() && !it.meta.deleting()).is_some();
    let source = context.stores.hand_made.get(&key).filter(|it| by_hand && !it.meta.deleting() && is_meant(&it.meta));
    let wanted = source.as_ref().map_or_else(Vec::new, |it| plan::slices(&it.subsets));
    for (at, slice) in wanted.iter().enumerate() {
        match present.get(at) {
            Some(old) if old.slice == *slice => {}
            Some(old) => update(&context, &old.meta, slice).await?,
            None => {
                if let Some(source) = &source {
                    create(&context, source, slice, at).await?;
                }
            }
        }
    }
    for surplus in present.iter().skip(wanted.len()) {
        let meta = &surplus.meta;
        let options = DeleteOptions { uid: Some(&meta.uid), ..DeleteOptions::default() };
        context.api.delete(Target::object(&ENDPOINT_SLICES, &meta.namespace, &meta.name), options).await?;
    }
    Ok(None)
}

fn is_meant(meta: &Meta) -> bool {
    meta.labels.get(SKIP) != Some("true") && meta.annotations.get(LOCK).is_none()
}

async fn create(context: &Context, source: &EndpointsView, slice: &Slice, at: usize) -> Result<(), ApiError> {
    let meta = &source.meta;
    let mut body = content(slice, &meta.namespace);
    body.insert("apiVersion".into(), "discovery.k8s.io/v1".into());
    body.insert("kind".into(), "EndpointSlice".into());
    body.insert("addressType".into(), if is_v6(slice) { "IPv6" } else { "IPv4" }.into());
    body.insert(
        "metadata".into(),
        json!({
            "name": names::stable(&format!("{}-", meta.name), &(&meta.uid, at)),
            "generateName": format!("{}-", meta.name),
            "namespace": meta.namespace,
            "labels": {SERVICE_NAME: meta.name, MANAGED_BY: MANAGER},
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Endpoints", "name": meta.name, "uid": meta.uid,
                "controller": true, "blockOwnerDeletion": true,
            }],
        }),
    );
    let target = Target::collection(&ENDPOINT_SLICES, &meta.namespace);
    match context.api.create(target, Value::Object(body).to_string().into_bytes()).await {
        Err(error) if error.exists() || error.is_forbidden() => Ok(()),
        other => other.map(drop),
    }
}

fn is_v6(slice: &Slice) -> bool {
    slice.endpoints.first().is_some_and(|it| it.ip.contains(':'))
}

async fn update(context: &Context, meta: &Meta, slice: &Slice) -> Result<(), ApiError> {
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
