//! Makes EndpointSlices of Endpoints that somebody wrote by hand for a Service without selector, so that what reads
//! slices finds them too.

use std::sync::Arc;

use eyot_plan::endpoints as plan;
use serde_json::json;

use crate::{
    context::Context,
    names,
    queue::Outcome,
    slices::{self, MANAGED_BY, New, SERVICE_NAME},
    view::{Key, Meta},
};

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// Label with which an Endpoints object asks to be left alone.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Annotation of objects that are locks, not endpoints.
const LOCK: &str = "control-plane.alpha.kubernetes.io/leader";

/// The Endpoints object that a mirroring slice belongs to.
pub(crate) fn mirrored(slice: &Meta) -> Option<Key> {
    slices::service_of(slice, MANAGER)
}

/// One pass over one Endpoints object: read, decide, write.
pub(crate) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let source = context.stores.hand_made.get(&key);
    let present = slices::kept(&context, MANAGER, &key, source.as_ref().map(|it| &it.meta));
    let by_hand = context.stores.services.get(&key).filter(|it| !it.selects() && !it.meta.deleting()).is_some();
    let source = source.filter(|it| by_hand && !it.meta.deleting() && is_meant(&it.meta));
    let wanted = source.as_ref().map_or_else(Vec::new, |it| plan::slices(&it.subsets));
    for (at, slice) in wanted.iter().enumerate() {
        match present.get(at) {
            Some(old) if old.slice == *slice => {}
            Some(old) => slices::update(&context, &old.meta, slice).await?,
            None => {
                if let Some(source) = &source {
                    let meta = &source.meta;
                    let new = New {
                        name: names::stable(&format!("{}-", meta.name), &(&meta.uid, at)),
                        labels: json!({SERVICE_NAME: meta.name, MANAGED_BY: MANAGER}),
                        owner: ("v1", "Endpoints", meta),
                    };
                    slices::create(&context, new, slice).await?;
                }
            }
        }
    }
    for surplus in present.iter().skip(wanted.len()) {
        slices::delete(&context, &surplus.meta).await?;
    }
    Ok(None)
}

fn is_meant(meta: &Meta) -> bool {
    meta.labels.get(SKIP) != Some("true") && meta.annotations.get(LOCK).is_none()
}
