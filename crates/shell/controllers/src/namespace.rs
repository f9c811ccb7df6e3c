//! Empties namespaces that are being deleted, then lets them go.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use eyot_plan::namespace::{self as plan, Found, Next};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;

use crate::{
    api::{ApiError, DeleteOptions, NAMESPACES, PODS, Resource, Target},
    bounded::bounded,
    context::Context,
    discovery::discover,
    queue::Outcome,
    view::{
        Key, Meta,
        cluster::{MetaView, NamespaceView},
        conditions, conditions_json, now,
    },
};

/// Holds a namespace until it is empty.
const FINALIZER: &str = "kubernetes";
/// Deletions of one namespace under way.
const IN_FLIGHT_MAX: usize = 64;
/// Objects looked at per request.
const PAGE: usize = 500;

/// One pass over one namespace.
pub(crate) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let Some(namespace) = context.stores.namespaces.get(&key) else { return Ok(None) };
    if !namespace.meta.deleting() || !namespace.spec.finalizers.iter().any(|it| it == FINALIZER) {
        return Ok(None);
    }
    let passes = now() - namespace.meta.deletion_timestamp.map_or(0, |it| it.0);
    let found = empty(&context, &namespace.meta.name).await?;
    let old = conditions(&namespace.status.conditions);
    let new = plan::conditions(&found, &old, now());
    match plan::next(&found, u32::try_from(passes).unwrap_or(0)) {
        Next::Finalize => finalize(&context, &namespace).await.map(|()| None),
        Next::Wait { milliseconds } => {
            if new != old {
                let patch = json!({"status": {"conditions": conditions_json(&new, None)}});
                let target = Target::object(&NAMESPACES, "", &namespace.meta.name).sub("status");
                context.api.merge::<IgnoredAny>(target, &patch).await?;
            }
            Ok(Some(Duration::from_millis(milliseconds)))
        }
    }
}

/// Asks for the deletion of everything, pods first, and says what is left.
async fn empty(context: &Context, namespace: &str) -> Result<Found, ApiError> {
    let mut found = Found::default();
    let mut holding = BTreeMap::new();
    found.pods = sweep(context, &PODS, namespace, &mut found.refused, &mut holding).await;
    if found.pods == 0 {
        match discover(&context.api.client).await {
            Ok(discovery) => {
                found.undiscovered = discovery.failed;
                for it in discovery.found.iter().filter(|it| it.resource.namespaced && it.can(&["list", "delete"])) {
                    let left = sweep(context, &it.resource, namespace, &mut found.refused, &mut holding).await;
                    if left > 0 {
                        found.others.push((it.resource.qualified(), left));
                    }
                }
            }
            Err(error) => found.undiscovered.push(error.to_string()),
        }
    }
    found.finalizers = holding.into_iter().collect();
    Ok(found)
}

#[derive(Deserialize)]
struct List {
    #[serde(default, deserialize_with = "crate::view::nullable")]
    items: Vec<MetaView>,
}

/// Deletes what a resource has in the namespace; returns how much was there. What is gone at once counts no more when
/// the next pass looks.
async fn sweep(
    context: &Context,
    resource: &Resource,
    namespace: &str,
    refused: &mut Vec<String>,
    holding: &mut BTreeMap<String, usize>,
) -> usize {
    let mut note = |error: &ApiError| refused.push(format!("{}: {}", resource.qualified(), error.message()));
    let query = format!("limit={PAGE}");
    let list: List = match context.api.get(Target::collection(resource, namespace), &query).await {
        Ok(list) => list,
        Err(error) if error.is_not_found() => return 0,
        Err(error) => {
            note(&error);
            return 0;
        }
    };
    for finalizer in list.items.iter().flat_map(|it| &it.meta.finalizers) {
        *holding.entry(finalizer.to_string()).or_default() += 1;
    }
    let present = list.items.iter().filter(|it| !it.meta.deleting());
    let deletions = present.map(|it| delete(context, resource, namespace, &it.meta)).collect();
    bounded(IN_FLIGHT_MAX, deletions, |deleted| {
        if let Err(error) = deleted {
            note(&error);
        }
        true
    })
    .await;
    list.items.len()
}

async fn delete(context: &Context, resource: &Resource, namespace: &str, meta: &Meta) -> Result<(), ApiError> {
    let options = DeleteOptions { uid: Some(&meta.uid), propagation: Some("Background"), ..DeleteOptions::default() };
    context.api.delete(Target::object(resource, namespace, &meta.name), options).await
}

async fn finalize(context: &Context, namespace: &NamespaceView) -> Result<(), ApiError> {
    let finalizers: Vec<&String> = namespace.spec.finalizers.iter().filter(|it| *it != FINALIZER).collect();
    let body = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": namespace.meta.name, "uid": namespace.meta.uid},
        "spec": {"finalizers": finalizers},
    });
    let target = Target::object(&NAMESPACES, "", &namespace.meta.name).sub("finalize");
    match context.api.replace::<IgnoredAny>(target, &body).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
