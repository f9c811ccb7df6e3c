//! Gives each namespace its `default` ServiceAccount and, when the CA is known, its `kube-root-ca.crt` ConfigMap.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    api::{ApiError, CONFIG_MAPS, Resource, SERVICE_ACCOUNTS, Target},
    context::Context,
    queue::Outcome,
    view::Key,
};

/// Name of the account that pods use which name none.
pub(crate) const DEFAULT: &str = "default";
/// Name of the ConfigMap with the CA.
pub(crate) const CA: &str = "kube-root-ca.crt";

/// One pass over one namespace.
pub(crate) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let Some(namespace) = context.stores.namespaces.get(&key).filter(|it| !it.meta.deleting()) else { return Ok(None) };
    let name = &namespace.meta.name;
    if context.stores.service_accounts.get(&Key::new(name, DEFAULT)).is_none() {
        let body =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": DEFAULT, "namespace": name}});
        ensure(&context, &SERVICE_ACCOUNTS, name, &body).await?;
    }
    if let Some(ca) = &context.config.cluster_ca
        && context.stores.ca_maps.get(&Key::new(name, CA)).is_none()
    {
        let metadata = json!({"name": CA, "namespace": name, "annotations": {
            "kubernetes.io/description": "Contains a CA bundle that can be used to verify the API server.",
        }});
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": ca}});
        ensure(&context, &CONFIG_MAPS, name, &body).await?;
    }
    Ok(None)
}

async fn ensure(context: &Context, resource: &Resource, namespace: &str, body: &Value) -> Result<(), ApiError> {
    let target = Target::collection(resource, namespace);
    match context.api.create(target, body.to_string().into_bytes()).await {
        // A namespace that has just begun to go takes nothing new; one that is gone needs nothing.
        Err(error) if error.exists() || error.is_forbidden() || error.is_not_found() => Ok(()),
        other => other.map(|_| ()),
    }
}
